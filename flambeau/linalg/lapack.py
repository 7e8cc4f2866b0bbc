"""The bridge from tensors to LAPACK as NumPy and SciPy wrap it: checks, conversions, and loops over batches.

Everything here works off the tape; derivatives stand beside each primitive of the neighbouring files. NumPy and SciPy
are imported when first used. Imports core and ops. Read next: `solving.py`, `factors.py`, `spectra.py`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor
from ..ops.arguments import out_of as out_of
from ..ops.matmul import conj, matrix_product
from ..ops.table import TABLE
from .routines import alone

INT32, INT64 = DTYPES[4], DTYPES[5]
SUPPORTED = (DTYPES[8], DTYPES[9], DTYPES[10], DTYPES[11])


class LinAlgError(RuntimeError):
    """A decomposition failed: the matrix is singular, not positive definite, or an iteration didn't converge.

    >>> try:
    ...     fb.linalg.inv(fb.zeros(2, 2))
    ... except fb.linalg.LinAlgError as error:
    ...     print(error)
    inv: a matrix is singular (its LU decomposition has a 0 on the diagonal); pinv and lstsq take such matrices
    """


def check(name: str, x: Tensor, square: bool = False, least: int = 2) -> None:
    """Raises unless x is a batch of floating matrices, square ones if asked."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: takes tensors, got {type(x).__name__}")
    if x.ndim < least:
        raise RuntimeError(f"{name}: the input must have at least {least} dimensions, got shape {tuple(x.shape)}")
    if x.dtype not in SUPPORTED:
        error = NotImplementedError if x.is_floating_point() else RuntimeError
        raise error(f"{name}: takes float32, float64, complex64 or complex128, got {x.dtype}; use x.float()")
    if square and x.shape[-1] != x.shape[-2]:
        raise RuntimeError(f"{name}: the matrices must be square, got shape {tuple(x.shape)}")


def same_dtype(name: str, a: Tensor, b: Tensor) -> None:
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"{name}: both arguments must have one dtype, got {a.dtype} and {b.dtype}; convert one with .to()"
        )


def array(x: Tensor) -> Any:
    """x as a NumPy array over the same memory."""
    return x.detach().numpy()


def tensor(a: Any, dtype: Any = None) -> Tensor:
    """An array that nobody else holds as a tensor."""
    import numpy as np

    a = np.ascontiguousarray(a) if a.ndim else a
    if not a.size:
        from ..ops.factories import empty, from_numpy

        return empty(a.shape, dtype=dtype or from_numpy(np.empty(1, a.dtype)).dtype)
    x = _core.from_buffer(a)[0] if a.ndim else _core.from_buffer(a.reshape(1))[0].reshape(())
    return x if dtype is None or x.dtype is dtype else x.to(dtype)


@contextmanager
def failures(name: str, why: str) -> Iterator[None]:
    """NumPy's LinAlgError becomes ours, which says which matrix is at fault where `why` knows no better."""
    import numpy as np

    try:
        with alone:
            yield
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"{name}: {why}") from error


def each(f: Callable[..., Any], *arrays: Any) -> tuple[Any, ...]:
    """f over the matrices of a batch; what it returns is stacked along the batch dimensions."""
    import numpy as np

    batch = arrays[0].shape[:-2]
    with alone:
        if not batch:
            return tuple(np.asarray(part) for part in f(*arrays))
        found = [f(*(a[index] for a in arrays)) for index in itertools.product(*map(range, batch))]
    if not found:
        # An empty batch: the shapes are those for any matrix of this size.
        blank = f(*(np.eye(*a.shape[-2:], dtype=a.dtype) for a in arrays))
        return tuple(np.empty((*batch, *np.shape(part)), np.asarray(part).dtype) for part in blank)
    return tuple(
        np.stack([np.asarray(p) for p in part]).reshape(*batch, *np.shape(part[0])) for part in zip(*found, strict=True)
    )


def routine(name: str, *arrays: Any) -> Any:
    """LAPACK's function of that name for the arrays' dtype."""
    from scipy.linalg import get_lapack_funcs

    return get_lapack_funcs((name,), arrays)[0]


def H(x: Tensor) -> Tensor:
    """The conjugate transpose of matrices."""
    return conj(x.mT)


def diagonals(x: Tensor) -> Tensor:
    return x.diagonal(0, -2, -1)


def mm(*matrices: Tensor) -> Tensor:
    return functools.reduce(matrix_product, matrices)


def identity(n: int, like: Tensor) -> Tensor:
    from ..ops.ranges import eye

    return eye(n, dtype=like.dtype)


def real(x: Tensor) -> Tensor:
    return TABLE["real"](x) if x.is_complex() else x


def as_complex(x: Tensor) -> Tensor:
    return x if x.is_complex() else x.to(DTYPES[11] if x.dtype is DTYPES[9] else DTYPES[10])
