"""Reductions along axes, running sums and differences, as the array API standard has them.

An empty tuple of axes reduces nothing, and None all: PyTorch's functions take both for all. Imports ops and neighbours.
Source: https://data-apis.org/array-api/2024.12/API_specification/statistical_functions.html.
"""

from __future__ import annotations

from typing import Any

from .. import ops
from ..core._core import DType, Tensor
from .dtypes import KINDS, bool_, category, int64, promoted, uint64
from .manipulation import Axes, wrapped


def reduced(name: str, op: Any, x: Tensor, axis: Axes, keepdims: bool, **options: Any) -> Tensor:
    """The reduction over an axis, several, or all; over none, each element is reduced on its own."""
    if axis == ():
        return op(x.unsqueeze(-1), -1, keepdim=False, **options)
    if axis is None:
        axis = tuple(range(x.ndim))
    axes = (axis,) if isinstance(axis, int) else axis
    axes = tuple(wrapped(name, a, x.ndim) for a in axes)
    if not axes:
        return op(x.reshape(1), 0, keepdim=False, **options)
    if len(axes) == 1:
        return op(x, axes[0], keepdim=keepdims, **options)
    kept = [d for d in range(x.ndim) if d not in axes]
    flat = x.permute((*kept, *axes)).reshape(*(x.shape[d] for d in kept), product(x.shape[d] for d in axes))
    out = op(flat, -1, keepdim=False, **options)
    return out.reshape([1 if d in axes else n for d, n in enumerate(x.shape)]) if keepdims else out


def product(numbers: Any) -> int:
    n = 1
    for m in numbers:
        n *= m
    return n


def accumulator(x: Tensor, dtype: DType | None) -> DType:
    """What sums and products are made in: the widest of their kind for integers, else the array's own dtype."""
    return dtype or (x.dtype if category(x.dtype) > 1 else uint64 if x.dtype in KINDS["unsigned integer"] else int64)


# ---- statistics
def sum(x: Tensor, /, *, axis: Axes = None, dtype: DType | None = None, keepdims: bool = False) -> Tensor:
    """The sum over axes."""
    return reduced("sum", ops.sum, x, axis, keepdims, dtype=accumulator(x, dtype))


def prod(x: Tensor, /, *, axis: Axes = None, dtype: DType | None = None, keepdims: bool = False) -> Tensor:
    """The product over axes."""
    return reduced("prod", ops.prod, x, axis, keepdims, dtype=accumulator(x, dtype))


def max(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The largest element over axes; NaN where there is one."""
    return reduced("max", ops.amax, x, axis, keepdims)


def min(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The smallest element over axes; NaN where there is one."""
    return reduced("min", ops.amin, x, axis, keepdims)


def mean(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The arithmetic mean over axes."""
    return reduced("mean", ops.mean, x, axis, keepdims)


def var(x: Tensor, /, *, axis: Axes = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The variance over axes, divided by n − correction."""
    return reduced("var", ops.var, x, axis, keepdims, correction=correction)


def std(x: Tensor, /, *, axis: Axes = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The standard deviation over axes: the root of `var`."""
    return reduced("std", ops.std, x, axis, keepdims, correction=correction)


# ---- running sums and products
def cumulative(
    name: str, op: Any, start: int, x: Tensor, axis: int | None, dtype: DType | None, include_initial: bool
) -> Tensor:
    if axis is None:
        if x.ndim > 1:
            raise ValueError(f"{name}: the axis must be given for {x.ndim} dimensions")
        axis = 0
    x = x.reshape(1) if x.ndim == 0 else x
    axis = wrapped(name, axis, x.ndim)
    out = op(x, axis, dtype=accumulator(x, dtype))
    if not include_initial:
        return out
    shape = [1 if d == axis else n for d, n in enumerate(x.shape)]
    return ops.cat([ops.full(shape, start, dtype=out.dtype), out], axis)


def cumulative_sum(
    x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Tensor:
    """Sums of the elements so far along an axis; include_initial puts a 0 before them.

    >>> from flambeau import array_api as xp
    >>> xp.cumulative_sum(xp.arange(1, 4), include_initial=True)
    tensor([0, 1, 3, 6])
    """
    return cumulative("cumulative_sum", ops.cumsum, 0, x, axis, dtype, include_initial)


def cumulative_prod(
    x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Tensor:
    """Products of the elements so far along an axis; include_initial puts a 1 before them."""
    return cumulative("cumulative_prod", ops.cumprod, 1, x, axis, dtype, include_initial)


# ---- utility
def all(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Whether all elements over axes are other than 0."""
    return reduced("all", ops.all, x.to(bool_), axis, keepdims)


def any(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Whether an element over axes is other than 0."""
    return reduced("any", ops.any, x.to(bool_), axis, keepdims)


def count_nonzero(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """How many elements over axes are other than 0."""
    return reduced("count_nonzero", ops.sum, x.to(bool_), axis, keepdims, dtype=int64)


def diff(
    x: Tensor, /, *, axis: int = -1, n: int = 1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """The n-th differences of neighbours along an axis, of x between `prepend` and `append`."""
    axis = wrapped("diff", axis, x.ndim)
    x = ops.cat(promoted(*(part for part in (prepend, x, append) if part is not None)), axis)
    return ops.diff(x, n, axis)
