"""Tensors joined (cat, stack and their kin) and taken apart (split, chunk, unbind): copies one way, views the other.

Imports core and neighbours in ops. Read next: `shape.py` (views), `rearrange.py` (elements moved within a tensor).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from ..core import _core
from ..core._core import Tensor, is_grad_enabled, new_empty, plain_copy, promote_types
from .arguments import into_out, to, wrap
from .basic import zeros_like_shape
from .primitive import primitive
from .recall import recalled

__all__ = [
    "block_diag", "cat", "chunk", "column_stack", "concat", "concatenate", "dsplit", "dstack", "hsplit",
    "hstack", "row_stack", "split", "stack", "tensor_split", "unbind", "vsplit", "vstack",
]  # fmt: skip

Tensors = Sequence[Tensor]


def common_dtype(dtypes: Sequence[Any]) -> Any:
    dtype = dtypes[0]
    for d in dtypes[1:]:
        if d is not dtype:
            dtype = promote_types(dtype, d)
    return dtype


def tensor_list(name: str, tensors: Any) -> list[Tensor]:
    tensors = list(tensors)
    if not tensors:
        raise RuntimeError(f"{name}: expects a non-empty list of tensors")
    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}: expects tensors, got {type(t).__name__} at position {i}")
    return tensors


# ---- joining
class Join(NamedTuple):
    """How tensors of certain shapes are joined: their lengths along `dim`, None for those that count for nothing."""

    dim: int
    shape: tuple[int, ...]
    lengths: tuple[int | None, ...]


@functools.lru_cache(maxsize=4096)
def join_of(shapes: tuple[tuple[int, ...], ...], dim: int) -> Join:
    """How to join tensors of these shapes. Raises RuntimeError where they don't fit."""
    # Vectors of length 0 go with anything, as they always have.
    kept = [i for i, s in enumerate(shapes) if len(s) != 1 or s[0]] or [0]
    expected = list(shapes[kept[0]])
    for i in kept:
        if not shapes[i]:
            raise RuntimeError(f"cat: the tensor at position {i} has no dimension to join along; use stack()")
    dim = wrap(dim, len(expected))
    for i in kept:
        got = list(shapes[i])
        if len(got) != len(expected) or got[:dim] + got[dim + 1 :] != expected[:dim] + expected[dim + 1 :]:
            raise RuntimeError(
                f"cat: lengths must agree except in dimension {dim}, got {got} at position {i} after {expected}"
            )
    places = set(kept)
    lengths = tuple(s[dim] if i in places else None for i, s in enumerate(shapes))
    return Join(dim, (*expected[:dim], sum(n or 0 for n in lengths), *expected[dim + 1 :]), lengths)


def cat_vjp(ctx: Any, g: Tensor) -> tuple:
    dim, lengths, dtypes = ctx.parts
    starts = accumulate([n or 0 for n in lengths], initial=0)
    return tuple(
        [None if n is None else to(g.narrow(dim, a, n), d) for a, n, d in zip(starts, lengths, dtypes, strict=False)]
    )


@primitive(cat_vjp, name="cat")
def joined(ctx, tensors, dim):
    """Tensors one after the other along an existing dimension."""
    out = _core.join_small(ctx, tensors, dim, False)
    if out is not None:
        return out
    if not len(tensors):
        raise ValueError("cat: expects a non-empty list of tensors")
    given = tensor_list("cat", tensors)
    join = join_of(tuple([t.shape for t in given]), dim)
    dtypes = [t.dtype for t in given]
    ctx.parts = join.dim, join.lengths, dtypes
    out, at = new_empty(join.shape, common_dtype(dtypes)), 0
    for t, n in zip(given, join.lengths, strict=True):
        if t.numel():
            plain_copy(out.narrow(join.dim, at, n), t)
            at += n
    return out


@recalled
def cat(tensors: Tensors, dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Tensors one after the other along an existing dimension; their other lengths must agree, dtypes promote.

    >>> fb.cat([fb.tensor([1, 2]), fb.tensor([3])])
    tensor([1, 2, 3])
    """
    result = joined(tensors, dim)
    return result if out is None else into_out(out, result)


def stack_vjp(ctx: Any, g: Tensor) -> tuple:
    dim, _, dtypes = ctx.parts
    return tuple([to(part, dtype) for part, dtype in zip(unbind(g, dim), dtypes, strict=True)])


@primitive(stack_vjp, name="stack")
def stacked(ctx, tensors, dim):
    """Tensors side by side along a new dimension."""
    out = _core.join_small(ctx, tensors, dim, True)
    if out is not None:
        return out
    given = tensor_list("stack", tensors)
    first = given[0].shape
    for i, t in enumerate(given):
        if t.shape != first:
            raise RuntimeError(
                f"stack: expects tensors of one shape, got {list(first)} at position 0 and {list(t.shape)} at "
                f"position {i}"
            )
    dim, dtypes = wrap(dim, len(first) + 1), [t.dtype for t in given]
    ctx.parts = dim, (), dtypes
    out = new_empty((*first[:dim], len(given), *first[dim:]), common_dtype(dtypes))
    for i, t in enumerate(given):
        plain_copy(out.select(dim, i), t)
    return out


@recalled
def stack(tensors: Tensors, dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Tensors of one shape side by side along a new dimension.

    >>> fb.stack([fb.tensor([1, 2]), fb.tensor([3, 4])], dim=1)
    tensor([[1, 3],
            [2, 4]])
    """
    result = stacked(tensors, dim)
    return result if out is None else into_out(out, result)


@recalled
def hstack(tensors: Tensors, *, out: Tensor | None = None) -> Tensor:
    """Tensors joined along dimension 1, vectors along 0.

    >>> fb.hstack([fb.tensor([1]), fb.tensor([2, 3])])
    tensor([1, 2, 3])
    """
    from .shape import atleast_1d

    given = [atleast_1d(t) for t in tensor_list("hstack", tensors)]
    return cat(given, 0 if given[0].ndim == 1 else 1, out=out)


@recalled
def vstack(tensors: Tensors, *, out: Tensor | None = None) -> Tensor:
    """Tensors joined along dimension 0, vectors as rows.

    >>> fb.vstack([fb.tensor([1, 2]), fb.tensor([3, 4])])
    tensor([[1, 2],
            [3, 4]])
    """
    from .shape import atleast_2d

    return cat([atleast_2d(t) for t in tensor_list("vstack", tensors)], 0, out=out)


@recalled
def dstack(tensors: Tensors, *, out: Tensor | None = None) -> Tensor:
    """Tensors joined along dimension 2, after atleast_3d.

    >>> fb.dstack([fb.tensor([1, 2]), fb.tensor([3, 4])])
    tensor([[[1, 3],
             [2, 4]]])
    """
    from .shape import atleast_3d

    return cat([atleast_3d(t) for t in tensor_list("dstack", tensors)], 2, out=out)


@recalled
def column_stack(tensors: Tensors, *, out: Tensor | None = None) -> Tensor:
    """Tensors joined along dimension 1, numbers and vectors as columns.

    >>> fb.column_stack([fb.tensor([1, 2]), fb.tensor([3, 4])])
    tensor([[1, 3],
            [2, 4]])
    """
    given = tensor_list("column_stack", tensors)
    return cat([t.reshape(t.numel(), 1) if t.ndim < 2 else t for t in given], 1, out=out)


@recalled
def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of a matrix that is zero elsewhere.

    >>> fb.block_diag(fb.tensor([[1, 2]]), fb.tensor([[3]]))
    tensor([[1, 2, 0],
            [0, 0, 3]])
    """
    from .padding import pad
    from .shape import atleast_2d

    if any(t.ndim > 2 for t in tensors):
        raise RuntimeError(f"block_diag: tensors have at most 2 dimensions, got {[list(t.shape) for t in tensors]}")
    blocks = [atleast_2d(t) for t in tensor_list("block_diag", tensors)]
    width, at, rows = sum(b.shape[1] for b in blocks), 0, []
    for b in blocks:
        rows.append(pad(b, (at, width - at - b.shape[1])))
        at += b.shape[1]
    return cat(rows)


# ---- taking apart
def split_vjp(ctx: Any, *grads: Tensor | None) -> Tensor:
    shapes = [[n if d == ctx.dim else s for d, s in enumerate(ctx.shape)] for n in ctx.sizes]
    return cat([filled(g, shape, grads) for g, shape in zip(grads, shapes, strict=True)], ctx.dim)


def filled(g: Tensor | None, shape: Any, grads: Sequence[Tensor | None]) -> Tensor:
    """g, or zeros where nothing came back."""
    some = next(x for x in grads if x is not None)
    return g if g is not None else zeros_like_shape(some, shape, some.dtype)


@primitive(split_vjp, name="split")
def parted(ctx, x, *, dim, sizes, views):
    """One place on the tape for views of consecutive parts, so that going back joins them once."""
    ctx.shape, ctx.dim, ctx.sizes = x.shape, dim, sizes
    return tuple(views)


def unbind_vjp(ctx: Any, *grads: Tensor | None) -> Tensor:
    shape = [s for d, s in enumerate(ctx.shape) if d != ctx.dim]
    return stacked([filled(g, shape, grads) for g in grads], ctx.dim)


@primitive(unbind_vjp, name="unbind")
def unbound(ctx, x, *, dim, views):
    """One place on the tape for views of all indices of a dimension."""
    ctx.shape, ctx.dim = x.shape, dim
    return tuple(views)


def recorded(x: Tensor, parts: int) -> bool:
    return parts > 1 and is_grad_enabled() and x.requires_grad


@recalled
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of each index of a dimension.

    >>> fb.unbind(fb.tensor([[1, 2], [3, 4]]))
    (tensor([1, 2]), tensor([3, 4]))
    """
    if input.ndim == 0:
        raise IndexError("unbind: a 0-dimensional tensor has no dimension to unbind")
    dim = wrap(dim, input.ndim)
    views = tuple([input.select(dim, i) for i in range(input.shape[dim])])
    return unbound(input, dim=dim, views=views) if recorded(input, len(views)) else views


def parts(x: Tensor, dim: int, cuts: list[int]) -> tuple[Tensor, ...]:
    """Views of a dimension from each cut to the next, none where that comes before it."""
    together = recorded(x, len(cuts) - 1) and cuts[-1] == x.shape[dim] and cuts == sorted(cuts)
    views = _core.parts_view(x, dim, cuts, together and not _core.interpreting())
    return parted(x, dim=dim, sizes=[b - a for a, b in pairwise(cuts)], views=views) if together else views


@recalled
def split(input: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive parts of a dimension: of one length, the last perhaps shorter, or of the lengths given.

    >>> fb.split(fb.tensor([1, 2, 3, 4, 5]), 2)
    (tensor([1, 2]), tensor([3, 4]), tensor([5]))
    """
    dim = wrap(dim, input.ndim)
    if input.ndim == 0:
        raise RuntimeError("split: a 0-dimensional tensor has no dimension to split")
    n, size = input.size(dim), split_size_or_sections
    if isinstance(size, int):
        if size < 0 or (size == 0 and n):
            raise RuntimeError(
                f"split: the length of a part must be positive, got {size} for a dimension of length {n}"
            )
        return parts(input, dim, [*range(0, n or 1, size or 1), n])
    sizes = [int(s) for s in size]
    if sum(sizes) != n or any(s < 0 for s in sizes):
        raise RuntimeError(
            f"split: lengths must be non-negative and sum to {n}, the length of dimension {dim}, got {sizes}"
        )
    return parts(input, dim, [*accumulate(sizes, initial=0)])


@recalled
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of at most `chunks` consecutive parts of a dimension, all but the last of one length.

    >>> fb.chunk(fb.tensor([1, 2, 3, 4, 5]), 2)
    (tensor([1, 2, 3]), tensor([4, 5]))
    """
    if chunks < 1:
        raise RuntimeError(f"chunk: the number of chunks must be positive, got {chunks}")
    n = input.size(dim) if input.ndim else 0
    return split(input, -(-n // chunks), dim) if n else split(input, [0] * chunks, dim)


@recalled
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of parts of a dimension, as equal as they can be, or cut at the indices given.

    >>> fb.tensor_split(fb.tensor([1, 2, 3, 4, 5]), 3)
    (tensor([1, 2]), tensor([3, 4]), tensor([5]))
    """
    if input.ndim == 0:
        raise RuntimeError("tensor_split: a 0-dimensional tensor has no dimension to split")
    dim = wrap(dim, input.ndim)
    n, at = input.size(dim), indices_or_sections
    if isinstance(at, Tensor):
        at = at.tolist()
    if isinstance(at, int):
        if at < 1:
            raise RuntimeError(f"tensor_split: the number of sections must be positive, got {at}")
        longer = n % at
        return parts(input, dim, [i * (n // at) + min(i, longer) for i in range(at + 1)])
    return parts(input, dim, [0, *[slice(None, i).indices(n)[1] for i in at], n])


def equal_parts(name: str, x: Tensor, at: Any, dim: int, least: int) -> tuple[Tensor, ...]:
    if x.ndim < least:
        raise RuntimeError(f"{name}: at least {least} dimensions are needed, got shape {list(x.shape)}")
    if isinstance(at, int) and (at < 1 or x.shape[dim] % at):
        raise RuntimeError(f"{name}: dimension {dim} of length {x.shape[dim]} can't be split into {at} equal parts")
    return tensor_split(x, at, dim)


def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """tensor_split along dimension 1 (0 for vectors), into equal parts.

    >>> fb.hsplit(fb.arange(4).reshape(2, 2), 2)
    (tensor([[0],
            [2]]), tensor([[1],
            [3]]))
    """
    return equal_parts("hsplit", input, indices_or_sections, 0 if input.ndim == 1 else 1, 1)


def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """tensor_split along dimension 0 of a matrix, into equal parts.

    >>> fb.vsplit(fb.arange(4).reshape(2, 2), 2)
    (tensor([[0, 1]]), tensor([[2, 3]]))
    """
    return equal_parts("vsplit", input, indices_or_sections, 0, 2)


def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """tensor_split along dimension 2, into equal parts.

    >>> [part.shape for part in fb.dsplit(fb.zeros(2, 3, 4), 2)]
    [flambeau.Size([2, 3, 2]), flambeau.Size([2, 3, 2])]
    """
    return equal_parts("dsplit", input, indices_or_sections, 2, 3)


concat = concatenate = cat
row_stack = vstack
_core.set_hook("unbind", unbind)
for _function in (unbind, split, chunk, tensor_split, hsplit, vsplit, dsplit):
    setattr(Tensor, _function.__name__, _function)
