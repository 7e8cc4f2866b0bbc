"""Norms of vectors and matrices, and condition numbers.

Imports core, ops and neighbours. Read next: `spectra.py`.
"""

from __future__ import annotations

import math
from typing import Any

from ..core._core import Tensor
from ..ops.recall import recalled
from ..ops.reduce import amax, amin
from ..ops.reduce import norm as p_norm
from ..ops.table import TABLE
from .lapack import check, out_of
from .solving import safely
from .spectra import svdvals

INF = math.inf


def floating(name: str, x: Tensor, dtype: Any) -> Tensor:
    """x in dtype; integers have no norm here, as in PyTorch."""
    if not (x.is_floating_point() or x.is_complex()):
        raise RuntimeError(f"{name}: takes floating or complex tensors, got {x.dtype}; use x.float()")
    return x if dtype is None else x.to(dtype)


@recalled
@out_of
def vector_norm(x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """(Σ |x|^ord)^(1/ord) over `dim` (all dimensions by default); ord may be 0, inf and -inf, its limits.

    >>> fb.linalg.vector_norm(fb.tensor([3.0, -4.0]), 1)
    tensor(7.)
    """
    x = floating("vector_norm", x, dtype)
    if x.is_complex():
        x = TABLE["abs"](x)
    if isinstance(dim, (tuple, list)) and not dim:
        dim = None
    if x.ndim == 0:
        dim = None
    if ord in (INF, -INF) and x.numel() == 0:
        dims = range(x.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
        if any(x.shape[d] == 0 for d in dims) and ord == -INF:
            raise RuntimeError(f"vector_norm: -inf needs at least one element, got shape {tuple(x.shape)}")
        if any(x.shape[d] == 0 for d in dims):
            return x.sum(dim, keepdim)
    return p_norm(x, ord, dim, keepdim)


def pair(name: str, x: Tensor, dim: Any) -> tuple[int, int]:
    dims = tuple(d % x.ndim for d in dim) if x.ndim > 1 else ()
    if len(dims) != 2 or dims[0] == dims[1]:
        raise RuntimeError(
            f"{name}: dim names two different dimensions of a matrix, got {list(dim)} for shape {tuple(x.shape)}"
        )
    return dims


@recalled
@out_of
def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """A norm of the matrices in two dimensions: "fro", "nuc" (Σ S), 2 and -2 (largest and smallest singular value),
    1 and -1 (of the columns' sums of absolute values), inf and -inf (of the rows').

    >>> fb.linalg.matrix_norm(fb.tensor([[3.0, 0.0], [0.0, 4.0]]), "nuc")
    tensor(7.)
    """
    A = floating("matrix_norm", A, dtype)
    rows, columns = pair("matrix_norm", A, dim)
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim)
    if ord in ("nuc", 2, -2):
        from ..ops.shape import movedim

        S = svdvals(movedim(A, (rows, columns), (-2, -1)))
        y = S.sum(-1) if ord == "nuc" else amax(S, -1) if ord == 2 else amin(S, -1)
        return y.unsqueeze(min(rows, columns)).unsqueeze(max(rows, columns)) if keepdim else y
    if ord in (1, -1, INF, -INF):
        first, then = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = TABLE["abs"](A).sum(first, True)
        y = amax(sums, then, True) if ord > 0 else amin(sums, then, True)
        return y if keepdim else y.squeeze((rows, columns))
    raise RuntimeError(f"matrix_norm: ord is 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, got {ord!r}")


@recalled
@out_of
def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """A vector norm, or a matrix norm where `dim` names two dimensions or `ord` is given for a matrix.

    >>> fb.linalg.norm(fb.tensor([[3.0, 4.0]]))
    tensor(5.)
    """
    if dim is None:
        if ord is None:
            A = floating("norm", A, dtype)
            y = vector_norm(A.reshape(-1), 2)
            return y.reshape([1] * A.ndim) if keepdim else y
        if A.ndim > 2:
            raise RuntimeError(
                f"norm: with ord and no dim the input is a vector or a matrix, got shape {tuple(A.shape)}; pass dim"
            )
        dim = tuple(range(A.ndim))
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if len(dims) == 2 and ord is not None:
        return matrix_norm(A, ord, dims, keepdim, dtype=dtype)
    return vector_norm(A, 2 if ord is None else ord, dims if dims else None, keepdim, dtype=dtype)


@out_of
def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number ‖A‖ ‖A⁻¹‖ in the matrix norm p, by default the ratio of extreme singular values.

    >>> fb.linalg.cond(fb.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor(2.)
    """
    check("cond", A, square=p not in (None, 2, -2))
    if p in (None, 2, -2):
        S = svdvals(A)
        if not S.shape[-1]:
            return S.sum(-1)
        return S[..., 0] / S[..., -1] if p != -2 else S[..., -1] / S[..., 0]
    from .solving import inverse

    Y, info = safely(A, "cond", False, inverse)
    y = matrix_norm(A, p) * matrix_norm(Y, p)
    return y.masked_fill(info != 0, INF)
