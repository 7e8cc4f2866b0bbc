"""Elements moved within a tensor: flip, roll, pad, repeat, triangles and diagonals. Copies by plain strided moves.

Imports core, ir and neighbours in ops. Read next: `shape.py` (views), `joining.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor, launch, new_empty, plain_copy
from ..ir.expr import Expr, const, irem, load, var, where
from ..ir.kernel import Buffer, For, Kernel, Scalar, Store
from .basic import IDENTITY, zeros_like_shape
from .factories import arange
from .gather import index_select
from .indirect import BITS
from .joining import stack, wrap
from .masks import columns, true_places
from .primitive import generated, primitive
from .shape import diagonal

__all__ = [
    "diag", "diag_embed", "diagflat", "flip", "fliplr", "flipud", "pad", "repeat_interleave", "roll", "rot90", "tile",
    "tril", "tril_indices", "triu", "triu_indices", "unravel_index",
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


def backwards(x: Tensor, dims: Sequence[int]) -> Tensor:
    """x read from its last element in some dimensions: negative strides, for a copy and nothing else; off the tape."""
    strides = [-s if d in dims else s for d, s in enumerate(x.stride())]
    at = sum((x.shape[d] - 1) * x.stride(d) for d in dims)
    return _core.from_pointer(x.data_ptr() + at * x.itemsize, x.shape, strides, x.dtype, x)


@primitive(flip_vjp, name="flip")
def flipped(ctx, x, dims):
    """The elements in reverse order along some dimensions."""
    ctx.dims = dims
    y = new_empty(x.shape, x.dtype)
    if x.numel():
        plain_copy(y, backwards(x, [d for d in dims if x.ndim]))
    return y


def flip(x: Tensor, *dims: Any) -> Tensor:
    """A copy with the order of elements reversed along dimensions.

    >>> fb.flip(fb.tensor([[1, 2], [3, 4]]), (1,))
    tensor([[2, 1],
            [4, 3]])
    """
    return flipped(x, dims_of("flip", x, dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims))


def fliplr(x: Tensor) -> Tensor:
    """flip along dimension 1."""
    if x.ndim < 2:
        raise RuntimeError(f"fliplr: at least 2 dimensions are needed, got shape {list(x.shape)}")
    return flip(x, 1)


def flipud(x: Tensor) -> Tensor:
    """flip along dimension 0."""
    if x.ndim < 1:
        raise RuntimeError("flipud: at least 1 dimension is needed, got a number")
    return flip(x, 0)


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


def roll(x: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """A copy with elements shifted along dimensions, those pushed out at one end entering at the other.

    >>> fb.roll(fb.tensor([1, 2, 3, 4]), 1, 0)
    tensor([4, 1, 2, 3])
    """
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        if not isinstance(shifts, int) and len(shifts) != 1:
            raise RuntimeError(f"roll: as many dimensions as shifts are needed, got shifts {shifts} and no dims")
        return roll(x.reshape(-1), shifts, 0).reshape(x.shape)
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(shifts) != len(dims):
        raise RuntimeError(f"roll: as many dimensions as shifts are needed, got shifts {shifts} and dims {dims}")
    return rolled(x, shifts, tuple(wrap(d, x.ndim) for d in dims))


def rot90(x: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """A copy turned by k quarters in the plane of two dimensions, from the first towards the second.

    >>> fb.rot90(fb.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    if len(dims) != 2 or x.ndim < 2 or wrap(dims[0], x.ndim) == wrap(dims[1], x.ndim):
        raise RuntimeError(f"rot90: two different dimensions are needed, got {list(dims)} for shape {list(x.shape)}")
    a, b = dims
    if k % 4 == 0:
        return x.clone()
    if k % 4 == 2:
        return flip(x, a, b)
    return flip(x, b).transpose(a, b) if k % 4 == 1 else flip(x.transpose(a, b), b)


# ---- padded
def pad_vjp(ctx: Any, g: Tensor) -> Tensor:
    return constant_pad(g, tuple(-p for p in ctx.padding), 0)


@primitive(pad_vjp, name="constant_pad_nd")
def constant_pad(ctx, x, padding, value):
    """x with `padding` (before, after) of the last dimension, the one before it, …: values added, elements cropped."""
    ctx.padding = padding
    pairs = [(0, 0)] * (x.ndim - len(padding) // 2) + list(zip(padding[::2], padding[1::2], strict=True))[::-1]
    shape = [n + a + b for n, (a, b) in zip(x.shape, pairs, strict=True)]
    if any(n < 0 for n in shape):
        raise RuntimeError(f"pad: padding {list(padding)} of shape {list(x.shape)} gives the negative shape {shape}")
    y = new_empty(shape, x.dtype)
    inside = y
    for d, (a, b) in enumerate(pairs):
        # What lies before and after along this dimension, within what is left of those before it.
        before, after, n = max(a, 0), max(b, 0), shape[d]
        for start, length in ((0, min(before, n)), (max(n - after, 0), min(after, n))):
            part = inside.narrow(d, start, length)
            if part.numel():
                IDENTITY.into((part,), value)
        inside = inside.narrow(d, min(before, n), max(n - before - after, 0))
        x = x.narrow(d, min(max(-a, 0), x.shape[d]), max(x.shape[d] - max(-a, 0) - max(-b, 0), 0))
    if inside.numel() and x.numel():
        plain_copy(inside, x)
    return y


def source_places(mode: str, n: int, before: int, after: int) -> list[int]:
    """Which of n places each place of a padded dimension shows."""
    places = range(-before, n + after)
    if mode == "replicate":
        return [min(max(p, 0), n - 1) for p in places]
    if mode == "circular":
        return [p % n for p in places]
    return [n - 1 - abs(n - 1 - abs(p)) for p in places]


def pad(x: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Tensor:
    """x enlarged by pad = (before, after) of the last dimension, then of the one before it, …; negative numbers crop.

    Modes: 'constant' (`value`, 0 by default), 'reflect' (mirrored without the edge), 'replicate', 'circular'.

    >>> fb.pad(fb.tensor([[1, 2, 3]]), (1, 2))
    tensor([[0, 1, 2, 3, 0, 0]])
    >>> fb.pad(fb.tensor([[1, 2, 3]]), (2, 1), mode="reflect")
    tensor([[3, 2, 1, 2, 3, 2]])
    """
    padding = tuple(int(p) for p in pad)
    if len(padding) % 2 or len(padding) > 2 * x.ndim:
        raise RuntimeError(f"pad: a pair of numbers for each of at most {x.ndim} dimensions is needed, got {padding}")
    if mode == "constant":
        return constant_pad(x, padding, 0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got {mode!r}")
    if value:
        raise RuntimeError(f"pad: mode {mode!r} takes no value, got {value}")
    if len(padding) // 2 not in (x.ndim - 1, x.ndim - 2):
        raise NotImplementedError(
            f"pad: mode {mode!r} pads all dimensions but the first one or two, got {len(padding)} numbers for shape "
            f"{list(x.shape)}"
        )
    for k in range(len(padding) // 2):
        d, before, after = x.ndim - 1 - k, padding[2 * k], padding[2 * k + 1]
        n = x.shape[d]
        if (
            max(before, after) > {"reflect": n - 1, "circular": n}.get(mode, max(before, after))
            or n + before + after < 0
        ):
            raise RuntimeError(
                f"pad: padding {(before, after)} is too large for dimension {d} of length {n}, mode {mode!r}"
            )
        if n == 0 and before + after > 0:
            raise RuntimeError(f"pad: dimension {d} of length 0 has no elements to repeat")
        if before or after:
            x = index_select(x, d, _core.from_nested(source_places(mode, n, before, after), INT64))
    return x


# ---- repeated
def repeat(x: Tensor, *repeats: Any) -> Tensor:
    """x repeated along each dimension; more numbers than dimensions add dimensions in front.

    >>> fb.tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    times = tuple(repeats[0]) if len(repeats) == 1 and not isinstance(repeats[0], int) else repeats
    lead = len(times) - x.ndim
    if lead < 0 or any(r < 0 for r in times):
        raise RuntimeError(
            f"repeat: a non-negative number for each dimension of {list(x.shape)} is needed, got {list(times)}"
        )
    shape = (1,) * lead + tuple(x.shape)
    pairs = x.reshape([m for n in shape for m in (1, n)]).expand(
        [m for r, n in zip(times, shape, strict=True) for m in (r, n)]
    )
    # Not reshape alone: with a single repetition it would be a view of x.
    return pairs.clone(memory_format="contiguous_format").reshape([r * n for r, n in zip(times, shape, strict=True)])


def tile(x: Tensor, *dims: Any) -> Tensor:
    """repeat, with ones put before too few numbers.

    >>> fb.tile(fb.tensor([[1], [2]]), (2,))
    tensor([[1, 1],
            [2, 2]])
    """
    times = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else dims
    return repeat(x, *(1,) * (x.ndim - len(times)), *times)


def repeat_interleave(
    x: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each place of a dimension (of the flattened tensor by default) repeated in place; `repeats` says how often.

    Given `repeats` alone, the places themselves.

    >>> fb.repeat_interleave(fb.tensor([1, 2]), 2)
    tensor([1, 1, 2, 2])
    >>> fb.repeat_interleave(fb.tensor([5, 6, 7]), fb.tensor([1, 0, 2]))
    tensor([5, 7, 7])
    """
    if repeats is None:
        return spread_places(x)
    if dim is None:
        x, dim = x.reshape(-1), 0
    dim = wrap(dim, x.ndim)
    if isinstance(repeats, Tensor) and repeats.numel() == 1:
        repeats = repeats.item()
    if isinstance(repeats, int):
        if repeats < 0:
            raise RuntimeError(f"repeat_interleave: repeats can't be negative, got {repeats}")
        shape = [*x.shape[: dim + 1], repeats, *x.shape[dim + 1 :]]
        joined = [n * repeats if d == dim else n for d, n in enumerate(x.shape)]
        return x.unsqueeze(dim + 1).expand(shape).clone(memory_format="contiguous_format").reshape(joined)
    if repeats.ndim != 1 or repeats.shape[0] != x.shape[dim]:
        raise RuntimeError(
            f"repeat_interleave: a number for each of {x.shape[dim]} places of dimension {dim} is needed, got repeats "
            f"of shape {list(repeats.shape)}"
        )
    return index_select(x, dim, spread_places(repeats))


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


# ---- triangles and diagonals
@generated
def triangle_kernel(dtype: str, lower: bool) -> Kernel:
    """y = x on and below (above) a diagonal of each matrix, 0 elsewhere."""
    t, j = var("t"), var("j")
    place = t * var("cols") + j
    reach = irem(t, var("rows")) + var("diagonal")
    kept: Expr = j <= reach if lower else j >= reach
    zero = const(0, dtype)
    row = For(
        j, const(0, "i64"), var("cols"), (Store("y", place, where(kept, load("x", dtype, place), zero)),), vector=True
    )
    params = (Buffer("y", dtype, "w"), Buffer("x", dtype), *(Scalar(n) for n in ("rows", "cols", "diagonal", "extent")))
    return Kernel("triangle", params, (For(t, const(0, "i64"), var("extent"), (row,), parallel=True),))


def triangle_vjp(ctx: Any, g: Tensor) -> Tensor:
    return triangle(g, ctx.diagonal, ctx.lower)


@primitive(triangle_vjp, name="triangle")
def triangle(ctx, x, diagonal, lower):
    """The lower or upper triangle of matrices; zeros elsewhere."""
    ctx.diagonal, ctx.lower = diagonal, lower
    if x.ndim < 2:
        raise RuntimeError(
            f"{'tril' if lower else 'triu'}: at least 2 dimensions are needed, got shape {list(x.shape)}"
        )
    x, y = x.contiguous(), new_empty(x.shape, x.dtype)
    rows, cols = x.shape[-2:]
    if x.numel():
        extent = x.numel() // cols
        args = [y, x, rows, cols, max(-rows, min(diagonal, cols)), extent]
        launch(triangle_kernel(BITS[x.itemsize], lower), args, extent, max(1, GRAIN // cols), x.numel())
    return y


def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """The elements on and below a diagonal of matrices; zeros elsewhere.

    >>> fb.tril(fb.tensor([[1, 2], [3, 4]]))
    tensor([[1, 0],
            [3, 4]])
    """
    return triangle(x, diagonal, True)


def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """The elements on and above a diagonal of matrices; zeros elsewhere.

    >>> fb.triu(fb.tensor([[1, 2], [3, 4]]))
    tensor([[1, 2],
            [0, 4]])
    """
    return triangle(x, diagonal, False)


def tril_(x: Tensor, diagonal: int = 0) -> Tensor:
    """In-place form of :func:`tril`."""
    return x.copy_(tril(x, diagonal))


def triu_(x: Tensor, diagonal: int = 0) -> Tensor:
    """In-place form of :func:`triu`."""
    return x.copy_(triu(x, diagonal))


def triangle_indices(row: int, col: int, offset: int, lower: bool, dtype: Any) -> Tensor:
    if row < 0 or col < 0:
        raise RuntimeError(
            f"tril_indices, triu_indices: numbers of rows and columns can't be negative, got {row} and {col}"
        )
    ones = new_empty((row, col), DTYPES[0])
    IDENTITY.into((ones,), True)
    found = stack(columns(true_places(triangle(ones, offset, lower)), (row, col)))
    return found if dtype is None else found.to(dtype)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Row and column indices of the lower triangle of a matrix, in a tensor of two rows.

    >>> fb.tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """
    return triangle_indices(row, col, offset, True, dtype)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Row and column indices of the upper triangle of a matrix, in a tensor of two rows.

    >>> fb.triu_indices(2, 2)
    tensor([[0, 0, 1],
            [0, 1, 1]])
    """
    return triangle_indices(row, col, offset, False, dtype)


def diag_embed_vjp(ctx: Any, g: Tensor) -> Tensor:
    return diagonal(g, *ctx.where)


@primitive(diag_embed_vjp, method=True)
def diag_embed(ctx, x, offset=0, dim1=-2, dim2=-1):
    """Zeros with the last dimension of x on a diagonal of the plane of dim1 and dim2.

    >>> fb.diag_embed(fb.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    a, b = wrap(dim1, x.ndim + 1), wrap(dim2, x.ndim + 1)
    if a == b:
        raise RuntimeError(f"diag_embed: two different dimensions are needed, got {dim1} and {dim2}")
    ctx.where = (offset, a, b)
    n = x.shape[-1] + abs(offset)
    rest = iter(x.shape[:-1])
    y = zeros_like_shape(x, [n if d in (a, b) else next(rest) for d in range(x.ndim + 1)], x.dtype)
    plain_copy(diagonal(y, offset, a, b), x)
    return y


def diag(x: Tensor, diagonal: int = 0) -> Tensor:
    """The matrix with a vector on a diagonal, or a copy of a matrix's diagonal.

    >>> fb.diag(fb.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    if x.ndim not in (1, 2):
        raise RuntimeError(
            f"diag: a vector or a matrix is needed, got shape {list(x.shape)}; use diagonal() or diag_embed()"
        )
    return diag_embed(x, diagonal) if x.ndim == 1 else x.diagonal(diagonal).clone()


def diagflat(x: Tensor, offset: int = 0) -> Tensor:
    """The matrix with the flattened x on a diagonal.

    >>> fb.diagflat(fb.tensor([[1], [2]]))
    tensor([[1, 0],
            [0, 2]])
    """
    return diag_embed(x.reshape(-1), offset)


def unravel_index(indices: Tensor, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """The index in each dimension of positions in the flattened form of `shape`.

    >>> fb.unravel_index(fb.tensor([5, 7]), (3, 4))
    (tensor([1, 1]), tensor([1, 3]))
    """
    return columns(indices, (shape,) if isinstance(shape, int) else tuple(shape))


for _function in (
    flip, fliplr, flipud, roll, rot90, repeat, tile, repeat_interleave, tril, triu, tril_, triu_, diag, diagflat,
):  # fmt: skip
    setattr(Tensor, _function.__name__, _function)
