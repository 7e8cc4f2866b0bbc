"""Elements moved within a tensor: flip, roll, rot90, repeat. Copies by plain strided moves.

Imports core, ir and neighbours in ops. Read next: `shape.py` (views), `joining.py`, `triangles.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor, launch, new_empty, plain_copy
from ..ir.expr import const, load, var
from ..ir.kernel import Buffer, For, Kernel, Scalar, Store
from .arguments import wrap
from .gather import index_select
from .indirect import BITS
from .masks import columns
from .primitive import generated, primitive
from .ranges import arange
from .recall import recalled

__all__ = [
    "flip", "fliplr", "flipud", "repeat_interleave", "roll", "rot90", "tile",
    "unravel_index",
]  # fmt: skip

INT64 = DTYPES[5]
GRAIN = 32768


def dims_of(name: str, x: Tensor, dims: Any) -> tuple[int, ...]:
    found = tuple(wrap(d, x.ndim) for d in ((dims,) if isinstance(dims, int) else dims))
    if len(set(found)) < len(found):
        raise RuntimeError(f"{name}: a dimension appears twice in {dims}")
    return found


# ---- reversed, rolled, rotated
def flip_vjp(ctx: Any, g: Tensor) -> Tensor:
    return flipped(g, ctx.dims)


@generated
def reverse_kernel(dtype: str) -> Kernel:
    """Each row of n elements in reverse."""
    t, i, n = var("t"), var("i"), var("n")
    row = For(i, const(0, "i64"), n, (Store("y", t * n + i, load("x", dtype, t * n + n - 1 - i)),), vector=True)
    params = (Buffer("y", dtype, "w"), Buffer("x", dtype), Scalar("n"), Scalar("rows"))
    return Kernel("reverse", params, (For(t, const(0, "i64"), var("rows"), (row,), parallel=True),))


@primitive(flip_vjp, name="flip")
def flipped(ctx, x, dims):
    """The elements in reverse order along some dimensions."""
    ctx.dims = dims
    if not x.numel() or not x.ndim:
        return _core.clone_contiguous(x)
    n, outer = x.shape[-1], [d for d in dims if d != x.ndim - 1]
    reverses = len(outer) < len(dims) and n > 1
    if outer or not reverses:
        y = new_empty(x.shape, x.dtype)
        plain_copy(y, _core.turned(x, outer))
        x = y
    if reverses:
        x = x.contiguous()
        y = new_empty(x.shape, x.dtype)
        rows = x.numel() // n
        launch(reverse_kernel(BITS[x.itemsize]), (y, x, n, rows), rows, max(1, GRAIN // n), x.numel())
    return y


@recalled
def flip(input: Tensor, *dims: Any) -> Tensor:
    """A copy with the order of elements reversed along dimensions.

    >>> fb.flip(fb.tensor([[1, 2], [3, 4]]), (1,))
    tensor([[2, 1],
            [4, 3]])
    """
    return flipped(input, dims_of("flip", input, dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims))


def fliplr(input: Tensor) -> Tensor:
    """flip along dimension 1.

    >>> fb.fliplr(fb.arange(4).reshape(2, 2))
    tensor([[1, 0],
            [3, 2]])
    """
    if input.ndim < 2:
        raise RuntimeError(f"fliplr: at least 2 dimensions are needed, got shape {list(input.shape)}")
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """flip along dimension 0.

    >>> fb.flipud(fb.arange(4).reshape(2, 2))
    tensor([[2, 3],
            [0, 1]])
    """
    if input.ndim < 1:
        raise RuntimeError("flipud: at least 1 dimension is needed, got a number")
    return flip(input, 0)


def roll_vjp(ctx: Any, g: Tensor) -> Tensor:
    return rolled(g, tuple(-s for s in ctx.shifts), ctx.dims)


@primitive(roll_vjp, name="roll")
def rolled(ctx, x, shifts, dims):
    """Elements shifted along dimensions, those pushed out at one end entering at the other."""
    ctx.shifts, ctx.dims = shifts, dims
    y = new_empty(x.shape, x.dtype)
    if not x.numel():
        return y
    total: dict[int, int] = {}
    for shift, d in zip(shifts, dims, strict=True):
        total[d] = (total.get(d, 0) + shift) % x.shape[d]
    cuts = [[(0, s, x.shape[d] - s), (x.shape[d] - s, 0, s)] for d, s in total.items()]
    for choice in itertools.product(*cuts):
        source, target = x, y
        for d, (start, to, length) in zip(total, choice, strict=True):
            source, target = source.narrow(d, start, length), target.narrow(d, to, length)
        if source.numel():
            plain_copy(target, source)
    return y


@recalled
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """A copy with elements shifted along dimensions, those pushed out at one end entering at the other.

    >>> fb.roll(fb.tensor([1, 2, 3, 4]), 1, 0)
    tensor([4, 1, 2, 3])
    """
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        if not isinstance(shifts, int) and len(shifts) != 1:
            raise RuntimeError(f"roll: as many dimensions as shifts are needed, got shifts {shifts} and no dims")
        return roll(input.reshape(-1), shifts, 0).reshape(input.shape)
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(shifts) != len(dims):
        raise RuntimeError(f"roll: as many dimensions as shifts are needed, got shifts {shifts} and dims {dims}")
    return rolled(input, shifts, tuple(wrap(d, input.ndim) for d in dims))


@recalled
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """A copy turned by k quarters in the plane of two dimensions, from the first towards the second.

    >>> fb.rot90(fb.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    if len(dims) != 2 or input.ndim < 2 or wrap(dims[0], input.ndim) == wrap(dims[1], input.ndim):
        raise RuntimeError(
            f"rot90: two different dimensions are needed, got {list(dims)} for shape {list(input.shape)}"
        )
    a, b = dims
    if k % 4 == 0:
        return input.clone()
    if k % 4 == 2:
        return flip(input, a, b)
    return flip(input, b).transpose(a, b) if k % 4 == 1 else flip(input.transpose(a, b), b)


# ---- padded
# ---- repeated
@recalled
def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """x repeated along each dimension; more numbers than dimensions add dimensions in front.

    >>> fb.tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    times = tuple(repeats[0]) if len(repeats) == 1 and not isinstance(repeats[0], int) else repeats
    lead = len(times) - input.ndim
    if lead < 0 or any(r < 0 for r in times):
        raise RuntimeError(
            f"repeat: a non-negative number for each dimension of {list(input.shape)} is needed, got {list(times)}"
        )
    shape = (1,) * lead + tuple(input.shape)
    pairs = input.reshape([m for n in shape for m in (1, n)]).expand(
        [m for r, n in zip(times, shape, strict=True) for m in (r, n)]
    )
    # Not reshape alone: with a single repetition it would be a view of x.
    return pairs.clone(memory_format="contiguous_format").reshape([r * n for r, n in zip(times, shape, strict=True)])


@recalled
def tile(input: Tensor, *dims: Any) -> Tensor:
    """repeat, with ones put before too few numbers.

    >>> fb.tile(fb.tensor([[1], [2]]), (2,))
    tensor([[1, 1],
            [2, 2]])
    """
    times = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else dims
    return repeat(input, *(1,) * (input.ndim - len(times)), *times)


@recalled
def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each place of a dimension (of the flattened tensor by default) repeated in place; `repeats` says how often.

    Given `repeats` alone, the places themselves.

    >>> fb.repeat_interleave(fb.tensor([1, 2]), 2)
    tensor([1, 1, 2, 2])
    >>> fb.repeat_interleave(fb.tensor([5, 6, 7]), fb.tensor([1, 0, 2]))
    tensor([5, 7, 7])
    """
    if repeats is None:
        return spread_places(input)
    if dim is None:
        input, dim = input.reshape(-1), 0
    dim = wrap(dim, input.ndim)
    if isinstance(repeats, Tensor) and repeats.numel() == 1:
        repeats = repeats.item()
    if isinstance(repeats, int):
        if repeats < 0:
            raise RuntimeError(f"repeat_interleave: repeats can't be negative, got {repeats}")
        shape = [*input.shape[: dim + 1], repeats, *input.shape[dim + 1 :]]
        joined = [n * repeats if d == dim else n for d, n in enumerate(input.shape)]
        return input.unsqueeze(dim + 1).expand(shape).clone(memory_format="contiguous_format").reshape(joined)
    if repeats.ndim != 1 or repeats.shape[0] != input.shape[dim]:
        raise RuntimeError(
            f"repeat_interleave: a number for each of {input.shape[dim]} places of dimension {dim} is needed, got "
            f"repeats of shape {list(repeats.shape)}"
        )
    return index_select(input, dim, spread_places(repeats))


def spread_places(repeats: Tensor) -> Tensor:
    """Place i repeats[i] times."""
    from .scan import cumsum
    from .search import searchsorted

    if repeats.ndim != 1 or repeats.dtype not in (DTYPES[4], INT64):
        raise RuntimeError(
            f"repeat_interleave: repeats must be a vector of int32 or int64, got {repeats.dtype} {list(repeats.shape)}"
        )
    if repeats.numel() == 0:
        return new_empty((0,), INT64)
    if repeats.min().item() < 0:
        raise RuntimeError(f"repeat_interleave: repeats can't be negative, got {repeats.min().item()}")
    ends = cumsum(repeats.detach(), 0)
    return searchsorted(ends, arange(ends[-1].item()), right=True)


def unravel_index(indices: Tensor, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """The index in each dimension of positions in the flattened form of `shape`.

    >>> fb.unravel_index(fb.tensor([5, 7]), (3, 4))
    (tensor([1, 1]), tensor([1, 3]))
    """
    return columns(indices, (shape,) if isinstance(shape, int) else tuple(shape))


for _function in (
    flip, fliplr, flipud, roll, rot90, repeat, tile, repeat_interleave,
):  # fmt: skip
    setattr(Tensor, _function.__name__, _function)
