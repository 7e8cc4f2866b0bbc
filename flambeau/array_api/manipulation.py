"""Shapes, joining, indexing, searching, sorting and sets, as the array API standard has them.

Imports ops and its neighbours here. Read next: `statistics.py`.
Source: https://data-apis.org/array-api/2024.12/API_specification/manipulation_functions.html and the pages beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import ops
from ..core._core import Tensor, broadcast_shapes
from .dtypes import int64, promoted

Axes = int | tuple[int, ...] | None


def wrapped(name: str, axis: int, ndim: int) -> int:
    """The axis counted from 0; IndexError where there is none."""
    if not -ndim <= axis < ndim:
        raise IndexError(f"{name}: axis {axis} is out of range for {ndim} dimensions")
    return axis % ndim


# ---- shapes
def broadcast_arrays(*arrays: Tensor) -> list[Tensor]:
    """Arrays stretched to their common shape."""
    return list(ops.broadcast_tensors(*arrays)) if arrays else []


def broadcast_to(x: Tensor, /, shape: tuple[int, ...]) -> Tensor:
    """x stretched to a shape."""
    return ops.broadcast_to(x, shape)


def expand_dims(x: Tensor, /, axis: int = 0) -> Tensor:
    """A dimension of length 1 inserted."""
    return x.unsqueeze(wrapped("expand_dims", axis, x.ndim + 1))


def flip(x: Tensor, /, *, axis: Axes = None) -> Tensor:
    """The order of elements reversed along some axes, or all."""
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    return ops.flip(x, axes)


def matrix_transpose(x: Tensor, /) -> Tensor:
    """The last two dimensions exchanged."""
    return x.mT


def moveaxis(x: Tensor, source: int | tuple[int, ...], destination: int | tuple[int, ...], /) -> Tensor:
    """Axes moved to other places."""
    return ops.moveaxis(x, source, destination)


def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    """The dimensions in another order."""
    return x.permute(tuple(axes))


def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: bool | None = None) -> Tensor:
    """The same elements under another shape; copy=False raises ValueError where a view isn't possible."""
    if copy is False:
        try:
            return x.view(tuple(shape))
        except RuntimeError as error:
            raise ValueError(f"reshape: {error}; or pass copy=None") from None
    return (x.clone() if copy else x).reshape(tuple(shape))


def roll(x: Tensor, /, shift: int | tuple[int, ...], *, axis: Axes = None) -> Tensor:
    """Elements shifted along axes, from the end to the beginning; without axes, as if flattened."""
    if isinstance(shift, int) and isinstance(axis, tuple):
        shift = (shift,) * len(axis)
    return ops.roll(x, shift, axis)


def squeeze(x: Tensor, /, axis: int | tuple[int, ...]) -> Tensor:
    """Axes of length 1 dropped; raises ValueError where one is longer."""
    axes = tuple(wrapped("squeeze", a, x.ndim) for a in ((axis,) if isinstance(axis, int) else axis))
    for a in axes:
        if x.shape[a] != 1:
            raise ValueError(f"squeeze: axis {a} has length {x.shape[a]}, so it can't be dropped; got {x.shape}")
    return x.squeeze(axes)


# ---- joining and repeating
def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """Arrays joined along an axis at their common dtype; axis=None joins them flattened."""
    xs = promoted(*arrays)
    return ops.cat([x.reshape(-1) for x in xs]) if axis is None else ops.cat(xs, axis)


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """Arrays joined along a new axis at their common dtype."""
    return ops.stack(promoted(*arrays), axis)


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis."""
    return tuple(ops.unbind(x, axis))


def repeat(x: Tensor, repeats: int | Tensor, /, *, axis: int | None = None) -> Tensor:
    """Each element, or slice along an axis, repeated."""
    if isinstance(repeats, Tensor):
        n = x.numel() if axis is None else x.shape[axis]
        repeats = repeats.to(int64)
        repeats = repeats.expand(n) if repeats.numel() == 1 else repeats
    return ops.repeat_interleave(x, repeats, axis)


def tile(x: Tensor, repetitions: tuple[int, ...], /) -> Tensor:
    """The array itself repeated along each axis."""
    return ops.tile(x, tuple(repetitions))


# ---- indexing
def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """Elements, or slices along an axis, at 1-dimensional indices; the axis may be absent for a vector.

    >>> from flambeau import array_api as xp
    >>> xp.take(xp.arange(10, 15), xp.asarray([0, -1]))
    tensor([10, 14])
    """
    if axis is None and x.ndim != 1:
        raise ValueError(f"take: the axis must be given for {x.ndim} dimensions")
    axis = 0 if axis is None else wrapped("take", axis, x.ndim)
    return ops.index_select(x, axis, forward(indices, x.shape[axis]))


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """Elements at indices that go along one axis; the other axes broadcast."""
    axis = wrapped("take_along_axis", axis, x.ndim)
    return ops.take_along_dim(x, forward(indices, x.shape[axis]), axis)


def forward(indices: Tensor, n: int) -> Tensor:
    """Indices counted from the beginning, as int64."""
    indices = indices.to(int64)
    return ops.where(indices < 0, indices + n, indices)


# ---- searching
def whole(name: str, op: Any, x: Tensor, axis: int | None, keepdims: bool) -> Tensor:
    """An op that takes one axis or, of the flattened array, none."""
    if axis is not None:
        return op(x, wrapped(name, axis, x.ndim), keepdims)
    found = op(x.reshape(-1), 0)
    return found.reshape((1,) * x.ndim) if keepdims else found


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Indices of the largest elements, the first of equals."""
    return whole("argmax", ops.argmax, x, axis, keepdims)


def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Indices of the smallest elements, the first of equals."""
    return whole("argmin", ops.argmin, x, axis, keepdims)


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """Indices of the elements that aren't 0, one array an axis."""
    if x.ndim == 0:
        raise ValueError("nonzero: at least 1 dimension is needed, got 0; use reshape(x, (1,))")
    return tuple(ops.nonzero(x, as_tuple=True))


def searchsorted(x1: Tensor, x2: Tensor, /, *, side: str = "left", sorter: Tensor | None = None) -> Tensor:
    """Where the elements of x2 would have to be put into x1, which is sorted or made so by `sorter`."""
    x1, x2 = promoted(x1, x2)
    return ops.searchsorted(x1 if sorter is None else x1[sorter.to(int64)], x2, side=side)


def where(condition: Tensor, x1: Tensor | complex, x2: Tensor | complex, /) -> Tensor:
    """Elements of x1 where the condition holds, else those of x2."""
    return ops.where(condition, *promoted(x1, x2))


# ---- sorting
def argsort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort x along an axis."""
    return ops.argsort(x, axis, descending, stable)


def sort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """x sorted along an axis."""
    return ops.sort(x, axis, descending, stable).values


# ---- sets
class unique_all_result(NamedTuple):
    """Each value once: where it first occurs, which one each element is, and how often each occurs."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class unique_counts_result(NamedTuple):
    """Each value once, and how often it occurs."""

    values: Tensor
    counts: Tensor


class unique_inverse_result(NamedTuple):
    """Each value once, and which one each element is."""

    values: Tensor
    inverse_indices: Tensor


def ascending(x: Tensor) -> Tensor:
    """Indices that bring a vector's equal elements together in their order; complex numbers by their parts."""
    if not x.dtype.is_complex:
        return ops.argsort(x, stable=True)
    order = ops.argsort(x.imag, stable=True)
    return order[ops.argsort(x.real[order], stable=True)]


def unique_all(x: Tensor, /) -> unique_all_result:
    """Each value of x once, sorted; every NaN is a value of its own.

    >>> from flambeau import array_api as xp
    >>> found = xp.unique_all(xp.asarray([3, 1, 3]))
    >>> found.values, found.indices, found.inverse_indices, found.counts
    (tensor([1, 3]), tensor([1, 0]), tensor([1, 0, 1]), tensor([1, 2]))
    """
    flat = x.reshape(-1)
    order = ascending(flat)
    elements = flat[order]
    first = ops.ones_like(order, dtype=ops.eq(order, order).dtype)
    first[1:] = ops.ne(elements[1:], elements[:-1])
    inverse = ops.empty_like(order)
    inverse[order] = ops.cumsum(first, 0) - 1
    starts = ops.nonzero(first).reshape(-1)
    counts = ops.diff(starts, append=ops.full((1,), flat.numel(), dtype=int64))
    return unique_all_result(elements[first], order[first], inverse.reshape(x.shape), counts)


def unique_counts(x: Tensor, /) -> unique_counts_result:
    """Each value of x once, and how often it occurs."""
    found = unique_all(x)
    return unique_counts_result(found.values, found.counts)


def unique_inverse(x: Tensor, /) -> unique_inverse_result:
    """Each value of x once, and which one each element is."""
    found = unique_all(x)
    return unique_inverse_result(found.values, found.inverse_indices)


def unique_values(x: Tensor, /) -> Tensor:
    """Each value of x once."""
    return unique_all(x).values


def common_shape(*xs: Tensor) -> tuple[int, ...]:
    return tuple(broadcast_shapes(*(x.shape for x in xs)))
