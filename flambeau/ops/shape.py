"""Views: the same memory under other dimensions, as functions and, where the core has none, as methods.

Imports core and neighbours in ops.
Read next: `core/tensor.pxi` (view, permute, expand, …), `joining.py`, `rearrange.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor, raw_view
from .arguments import wrap
from .basic import as_strided
from .joining import stack
from .primitive import primitive
from .recall import recalled
from .table import TABLE

Ints = int | Sequence[int]

__all__ = [
    "adjoint", "as_strided", "as_strided_scatter", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_tensors",
    "broadcast_to",
    "cartesian_prod", "combinations", "diagonal", "diagonal_scatter", "flatten", "meshgrid", "moveaxis",
    "movedim", "narrow", "narrow_copy", "permute", "ravel", "reshape", "select", "select_scatter",
    "slice_scatter", "squeeze", "swapaxes", "swapdims", "t", "transpose", "unflatten", "unsqueeze",
    "view_as_complex", "view_as_real", "real", "imag",
]  # fmt: skip


# ---- methods of the core as functions
def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """The same elements under another shape; a view where the strides allow, a copy where they don't.

    >>> fb.reshape(fb.tensor([1, 2, 3, 4]), (2, -1))
    tensor([[1, 2],
            [3, 4]])
    """
    return input.reshape(shape)


def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """The dimensions in another order.

    >>> fb.permute(fb.tensor([[1, 2]]), (1, 0))
    tensor([[1],
            [2]])
    """
    return input.permute(dims)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged.

    >>> fb.transpose(fb.tensor([[1, 2]]), 0, 1)
    tensor([[1],
            [2]])
    """
    return input.transpose(dim0, dim1)


def t(input: Tensor) -> Tensor:
    """A matrix transposed; a vector or number as it is.

    >>> fb.t(fb.tensor([[1, 2], [3, 4]]))
    tensor([[1, 3],
            [2, 4]])
    """
    return input.t()


def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions exchanged, complex numbers conjugated.

    >>> fb.adjoint(fb.tensor([[1 + 1j, 2], [3, 4]]))
    tensor([[1.-1.j, 3.-0.j],
            [2.-0.j, 4.-0.j]])
    """
    return TABLE["conj_physical"](input.mT) if input.is_complex() else input.mT


def squeeze(input: Tensor, dim: Ints | None = None) -> Tensor:
    """Dimensions of length 1 dropped: all of them, or those named.

    >>> fb.squeeze(fb.tensor([[1, 2]]))
    tensor([1, 2])
    """
    return input.squeeze() if dim is None else input.squeeze(dim)


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A dimension of length 1 inserted.

    >>> fb.unsqueeze(fb.tensor([1, 2]), 1)
    tensor([[1],
            [2]])
    """
    return input.unsqueeze(dim)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions start_dim … end_dim joined into one.

    >>> fb.flatten(fb.tensor([[1, 2], [3, 4]]))
    tensor([1, 2, 3, 4])
    """
    return input.flatten(start_dim, end_dim)


def ravel(input: Tensor) -> Tensor:
    """All elements as a vector; a view where the strides allow.

    >>> fb.ravel(fb.tensor([[1, 2], [3, 4]]))
    tensor([1, 2, 3, 4])
    """
    return input.reshape(-1)


def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """`length` indices of a dimension from `start` on, as a view.

    >>> fb.narrow(fb.tensor([1, 2, 3, 4]), 0, 1, 2)
    tensor([2, 3])
    """
    return input.narrow(dim, int(start), length)


def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """narrow, as a copy.

    >>> x = fb.arange(4)
    >>> y = fb.narrow_copy(x, 0, 1, 2)
    >>> y.zero_(), x
    (tensor([0, 0]), tensor([0, 1, 2, 3]))
    """
    return input.narrow(dim, start, length).clone()


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """One index of a dimension, which is dropped; a view.

    >>> fb.select(fb.tensor([[1, 2], [3, 4]]), 1, 0)
    tensor([1, 3])
    """
    return input.select(dim, index)


def broadcast_to(input: Tensor, shape: Sequence[int]) -> Tensor:
    """Dimensions of length 1 stretched to `shape` without copying.

    >>> fb.broadcast_to(fb.tensor([1, 2]), (2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    return input.expand(tuple(shape))


# ---- dimensions moved, split and added
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Two dimensions exchanged; another name of transpose.

    >>> fb.swapaxes(fb.tensor([[1, 2], [3, 4]]), 0, 1)
    tensor([[1, 3],
            [2, 4]])
    """
    return input.transpose(axis0, axis1)


def movedim(input: Tensor, source: Ints, destination: Ints) -> Tensor:
    """Dimensions moved to new positions; the others keep their order.

    >>> fb.movedim(fb.empty(2, 3, 4), 0, -1).shape
    flambeau.Size([3, 4, 2])
    """
    return _core.moved_dims(input, source, destination)


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One dimension split into several, whose lengths multiply to its own; one may be -1.

    >>> fb.unflatten(fb.empty(3, 4), 1, (2, -1)).shape
    flambeau.Size([3, 2, 2])
    """
    dim, sizes = wrap(dim, input.ndim), tuple(sizes)
    known = math.prod(s for s in sizes if s != -1)
    n = input.shape[dim]
    if sizes.count(-1) > 1 or (n % known if -1 in sizes and known else known != n):
        raise RuntimeError(f"unflatten: sizes {list(sizes)} don't multiply to {n}, the length of dimension {dim}")
    sizes = tuple(n // known if s == -1 else s for s in sizes)
    return input.reshape((*input.shape[:dim], *sizes, *input.shape[dim + 1 :]))


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors expanded to their common shape.

    >>> a, b = fb.broadcast_tensors(fb.tensor([1, 2]), fb.tensor([[3], [4]]))
    >>> a.shape, b.shape
    (flambeau.Size([2, 2]), flambeau.Size([2, 2]))
    """
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors
    shape = _core.broadcast_shapes(*(x.shape for x in given))
    return tuple(x.expand(shape) for x in given)


def each(tensors: tuple, f: Any) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return f(tensors[0])
    return tuple(f(x) for x in (tensors[0] if len(tensors) == 1 else tensors))


def atleast_1d(*tensors: Any) -> Any:
    """A number as a vector; other tensors as they are.

    >>> fb.atleast_1d(fb.tensor(1))
    tensor([1])
    """
    return each(tensors, lambda x: x.reshape(1) if x.ndim == 0 else x)


def atleast_2d(*tensors: Any) -> Any:
    """A number or vector as a matrix of one row; other tensors as they are.

    >>> fb.atleast_2d(fb.tensor([1, 2]))
    tensor([[1, 2]])
    """
    return each(tensors, lambda x: x.reshape(1, -1) if x.ndim < 2 else x)


def atleast_3d(*tensors: Any) -> Any:
    """At least three dimensions: a vector's stands in the middle, a matrix's in front.

    >>> fb.atleast_3d(fb.tensor([1, 2])).shape
    flambeau.Size([1, 2, 1])
    """
    return each(tensors, lambda x: x.reshape(1, -1, 1) if x.ndim < 2 else x.unsqueeze(-1) if x.ndim == 2 else x)


@recalled
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Vectors spread over a grid that has one dimension for each; 'xy' exchanges the first two.

    >>> x, y = fb.meshgrid(fb.tensor([1, 2]), fb.tensor([3, 4, 5]), indexing="ij")
    >>> x
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    given = list(tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors)
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"meshgrid: indexing must be 'ij' or 'xy', got {indexing!r}")
    if not given or any(x.ndim > 1 or x.dtype is not given[0].dtype for x in given):
        raise RuntimeError(
            f"meshgrid: vectors of one dtype are needed, got {[(list(x.shape), x.dtype) for x in given]}"
        )
    swap = indexing == "xy" and len(given) > 1
    if swap:
        given[:2] = given[1::-1]
    shape = [x.numel() for x in given]
    grids = [x.reshape([-1 if e == d else 1 for e in range(len(given))]).expand(shape) for d, x in enumerate(given)]
    if swap:
        grids[:2] = grids[1::-1]
    return tuple(grids)


@recalled
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of one element from each vector, one in each row.

    >>> fb.cartesian_prod(fb.tensor([1, 2]), fb.tensor([3, 4]))
    tensor([[1, 3],
            [1, 4],
            [2, 3],
            [2, 4]])
    """
    if len(tensors) == 1:
        return tensors[0]
    return stack([g.reshape(-1) for g in meshgrid(*tensors)], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector, in order, one in each row.

    >>> fb.combinations(fb.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    if input.ndim != 1 or r < 0:
        raise RuntimeError(f"combinations: a vector and r >= 0 are needed, got shape {list(input.shape)} and r = {r}")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(input.shape[0]), r))
    return input[_core.from_nested(rows)] if rows and r else input.new_empty((0, r) if r else (0,))


# ---- views with strides of their own
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The view of elements with index i in dim1 and i + offset in dim2; it is the last dimension.

    >>> fb.diagonal(fb.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    return _core.diagonal(input, offset, dim1, dim2)


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """The view of all windows of `size` elements along a dimension, `step` apart; windows are the last dimension.

    >>> fb.tensor([1, 2, 3, 4]).unfold(0, 2, 1)
    tensor([[1, 2],
            [2, 3],
            [3, 4]])
    """
    return _core.unfolded(input, dimension, size, step)


def view_as_complex_vjp(ctx: Any, g: Tensor) -> Tensor:
    return view_as_real(g)


@primitive(view_as_complex_vjp, name="view_as_complex")
def pairs_as_complex(ctx, input):
    if input.dtype not in (DTYPES[8], DTYPES[9]) or not input.ndim or input.shape[-1] != 2:
        raise RuntimeError(
            f"view_as_complex: float32 or float64 of shape (…, 2) is needed, got {input.dtype} {list(input.shape)}"
        )
    if input.stride(-1) != 1 or any(s % 2 for s in input.stride()[:-1]) or input.storage_offset() % 2:
        raise RuntimeError(
            f"view_as_complex: strides {list(input.stride())} don't keep pairs together; use contiguous() first"
        )
    strides = [s // 2 for s in input.stride()[:-1]]
    return raw_view(input, input.dtype.to_complex(), input.shape[:-1], strides, input.storage_offset() // 2)


def view_as_complex(input: Tensor) -> Tensor:
    """Pairs of floats in the last dimension as complex numbers, over the same memory.

    >>> fb.view_as_complex(fb.tensor([[1.0, 2.0]]))
    tensor([1.+2.j])
    """
    return _core.shown_by(pairs_as_complex(input), input)


def view_as_real_vjp(ctx: Any, g: Tensor) -> Tensor:
    return view_as_complex(g.contiguous())


@primitive(view_as_real_vjp, name="view_as_real")
def complex_as_pairs(ctx, input):
    if not input.is_complex():
        raise RuntimeError(f"view_as_real: a complex tensor is needed, got {input.dtype}")
    strides = [*(2 * s for s in input.stride()), 1]
    return raw_view(input, input.dtype.to_real(), (*input.shape, 2), strides, 2 * input.storage_offset())


def view_as_real(input: Tensor) -> Tensor:
    """Complex numbers as pairs of floats in a new last dimension, over the same memory.

    >>> fb.view_as_real(fb.tensor([1 + 2j]))
    tensor([[1., 2.]])
    """
    return _core.shown_by(complex_as_pairs(input), input)


def real(input: Tensor) -> Tensor:
    """The real part, as a view; a real tensor itself.

    >>> z = fb.tensor([1 + 2j])
    >>> _ = z.real.mul_(3)
    >>> z
    tensor([3.+2.j])
    """
    return view_as_real(input).select(-1, 0) if input.is_complex() else input


def imag(input: Tensor) -> Tensor:
    """The imaginary part of a complex tensor, as a view.

    >>> fb.imag(fb.tensor([1 + 2j]))
    tensor([2.])
    """
    if not input.is_complex():
        raise RuntimeError(f"imag: a complex tensor is needed, got {input.dtype}; a real one has no imaginary part")
    return view_as_real(input).select(-1, 1)


def set_part(index: int) -> Any:
    def write(self: Tensor, value: Any) -> None:
        part = (real, imag)[index](self)
        part.copy_(value) if isinstance(value, Tensor) else part.fill_(value)

    return write


# ---- a view written in a copy
def written_view(x: Tensor, src: Tensor, name: str, *args: Any) -> Tensor:
    y = x.clone()
    view = getattr(y, name)(*args)
    if view.shape != src.shape:
        raise RuntimeError(
            f"{name.strip('_')}_scatter: src must have the shape of what it replaces, {list(view.shape)}, got "
            f"{list(src.shape)}"
        )
    view.copy_(src)
    return y


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """x with src at one index of a dimension.

    >>> fb.select_scatter(fb.zeros(2, 2), fb.tensor([1.0, 2.0]), 0, 1)
    tensor([[0., 0.],
            [1., 2.]])
    """
    return written_view(input, src, "select", dim, index)


def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """x with src at start:end:step of a dimension.

    >>> fb.slice_scatter(fb.zeros(5), fb.tensor([1.0, 2.0]), start=1, end=5, step=2)
    tensor([0., 1., 0., 2., 0.])
    """
    return written_view(input, src, "_slice", dim, start, end, step)


def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """x with src on a diagonal.

    >>> fb.diagonal_scatter(fb.zeros(2, 2), fb.tensor([1.0, 2.0]))
    tensor([[1., 0.],
            [0., 2.]])
    """
    return written_view(input, src, "diagonal", offset, dim1, dim2)


def as_strided_scatter(
    input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """A copy of x whose `as_strided(size, stride, storage_offset)` is src. x has to be dense.

    >>> fb.as_strided_scatter(fb.zeros(2, 3), fb.tensor([1.0, 2.0]), (2,), (2,))
    tensor([[1., 0., 2.],
            [0., 0., 0.]])
    """
    at = 0 if storage_offset is None else storage_offset - input.storage_offset()
    if input.clone().stride() != input.stride():
        raise RuntimeError(
            f"as_strided_scatter: x must be dense, got shape {list(input.shape)} with strides "
            f"{list(input.stride())}; use x.contiguous()"
        )
    return written_view(input, src, "as_strided", tuple(size), tuple(stride), at)


moveaxis, swapdims = movedim, swapaxes
for _function in (
    swapaxes, movedim, unflatten, ravel, narrow_copy, broadcast_to, diagonal, unfold, adjoint, select_scatter,
    slice_scatter, diagonal_scatter, as_strided_scatter,
):  # fmt: skip
    setattr(Tensor, _function.__name__, _function)
Tensor.moveaxis, Tensor.swapdims = movedim, swapaxes
Tensor.mH = property(adjoint)
Tensor.real, Tensor.imag = property(real, set_part(0)), property(imag, set_part(1))
Tensor.H = property(adjoint)
