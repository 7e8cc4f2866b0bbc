"""Making arrays, as the array API standard has it. Imports ops, dlpack and `dtypes.py`. Read next: `manipulation.py`.

Source: https://data-apis.org/array-api/2024.12/API_specification/creation_functions.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import dlpack, ops
from ..core._core import DType, Tensor, get_default_dtype
from .dtypes import category, default_complex, int64, uint64

Shape = int | Sequence[int]


def sizes(shape: Shape) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def arange(
    start: float, /, stop: float | None = None, step: float = 1, *, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """Numbers from start up to stop, which is left out; none where the step leads away from stop.

    >>> from flambeau import array_api as xp
    >>> xp.arange(3), xp.arange(3, 0, 1).shape
    (tensor([0, 1, 2]), flambeau.Size([0]))
    """
    if stop is None:
        start, stop = 0, start
    if step != 0 and (stop - start) / step < 0:
        start, stop = 0 * start, 0 * stop  # none, of the dtype that the numbers' types ask for
    return ops.arange(start, stop, step, dtype=dtype, device=device)


def asarray(obj: Any, /, *, dtype: DType | None = None, device: Any = None, copy: bool | None = None) -> Tensor:
    """Numbers, nested sequences, buffers and other libraries' arrays as an array; copy=False never copies."""
    if isinstance(obj, int) and not -(2**63) <= obj < (2**64 if dtype is uint64 else 2**63):
        raise OverflowError(f"asarray: {obj} doesn't fit {dtype or f'the default integer, {int64}'}")
    return ops.asarray(obj, dtype=dtype, device=device, copy=copy)


def empty(shape: Shape, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array of that shape, its values undetermined."""
    return ops.empty(sizes(shape), dtype=dtype, device=device)


def empty_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array shaped as x, its values undetermined."""
    return ops.empty_like(x, dtype=dtype, device=device)


def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """Ones on the k-th diagonal, zeros elsewhere.

    >>> from flambeau import array_api as xp
    >>> xp.eye(2, 3, k=1)
    tensor([[0., 1., 0.],
            [0., 0., 1.]])
    """
    made = zeros((n_rows, n_rows if n_cols is None else n_cols), dtype=dtype, device=device)
    if -made.shape[0] < k < made.shape[1]:
        made.diagonal(k).fill_(1)
    return made


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """An array over another library's memory."""
    return dlpack.from_dlpack(x, device=device, copy=copy)


def full(shape: Shape, fill_value: complex, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array of one value; without a dtype, of the default dtype of the value's kind."""
    return ops.full(sizes(shape), fill_value, dtype=dtype, device=device)


def full_like(x: Tensor, /, fill_value: complex, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array of one value, shaped as x."""
    return ops.full_like(x, fill_value, dtype=dtype, device=device)


def linspace(
    start: complex,
    stop: complex,
    /,
    num: int,
    *,
    dtype: DType | None = None,
    device: Any = None,
    endpoint: bool = True,
) -> Tensor:
    """`num` evenly spaced numbers from start to stop, which endpoint=False leaves out.

    >>> from flambeau import array_api as xp
    >>> xp.linspace(0, 1, 4, endpoint=False)
    tensor([0.0000, 0.2500, 0.5000, 0.7500])
    """
    if isinstance(start, complex) or isinstance(stop, complex):
        dtype = default_complex() if dtype is None else dtype
        a, b = complex(start), complex(stop)
        parts = (linspace(p, q, num, dtype=dtype.to_real(), endpoint=endpoint)
                 for p, q in ((a.real, b.real), (a.imag, b.imag)))  # fmt: skip
        return ops.complex(*parts)
    dtype = get_default_dtype() if dtype is None else dtype
    if category(dtype) == 3:
        return linspace(complex(start), stop, num, dtype=dtype, device=device, endpoint=endpoint)
    if endpoint:
        return ops.linspace(start, stop, num, dtype=dtype, device=device)
    return ops.linspace(start, stop, num + 1, dtype=dtype, device=device)[:-1]


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> list[Tensor]:
    """Coordinate matrices of coordinate vectors; "xy" exchanges the first two dimensions, "ij" doesn't."""
    return list(ops.meshgrid(*arrays, indexing=indexing)) if arrays else []


def ones(shape: Shape, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Ones of that shape."""
    return ops.ones(sizes(shape), dtype=dtype, device=device)


def ones_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Ones, shaped as x."""
    return ops.ones_like(x, dtype=dtype, device=device)


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """What is on and below the k-th diagonal; zeros above."""
    return ops.tril(x, k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """What is on and above the k-th diagonal; zeros below."""
    return ops.triu(x, k)


def zeros(shape: Shape, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Zeros of that shape."""
    return ops.zeros(sizes(shape), dtype=dtype, device=device)


def zeros_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Zeros, shaped as x."""
    return ops.zeros_like(x, dtype=dtype, device=device)
