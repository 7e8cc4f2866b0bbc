"""scatter_reduce and index_reduce: sum, product, mean, largest or smallest of what meets at a place.

Imports core and neighbours in ops. Read next: `gather.py`.
"""

from __future__ import annotations

from typing import Any

from ..core import _core
from ..core._core import Tensor, new_empty
from .gather import as_shaped, flat_at_least, number, source_for, vector_index, whole_index
from .indirect import inserted
from .picking import combine, pick, written
from .primitive import primitive
from .reductions import highest, lowest
from .table import TABLE

__all__ = ["index_reduce", "scatter_reduce"]

where, eq = TABLE["where"], TABLE["eq"]
REDUCE = {"sum": "sum", "mean": "sum", "prod": "prod", "amax": "amax", "amin": "amin"}


def identity(how: str, dtype: Any) -> Any:
    """What doesn't change the result of a reduction."""
    return {"prod": 1, "amax": lowest(dtype.ir), "amin": highest(dtype.ir)}.get(how, 0)


def counts_of(x: Tensor, places: Any, indices: Any, include_self: bool) -> Tensor:
    """How many elements meet at each place of x, at least one."""
    counts = new_empty(x.shape, x.dtype)
    TABLE["identity"].into((counts,), 1 if include_self else 0)
    combine(counts, places, indices, number(1, x).expand(places.shape), "sum")
    return counts if include_self else TABLE["clamp_min"](counts, 1)


def reduced_vjp(ctx: Any, g: Tensor) -> tuple:
    x, src, y, *indices = ctx.saved
    at = {"places": ctx.places, "indices": tuple(indices)}
    how = ctx.how
    if how == "sum":
        gx, gs = g, pick(g, **at)
    elif how == "mean":
        gx = g / counts_of(x.detach(), **at, include_self=ctx.include_self)
        gs = pick(gx, **at)
    elif how == "prod":
        gx, gs = product_gradients(g, x, src, at, ctx.include_self)
    else:
        ones = eq(x, y).to(g.dtype)
        if not ctx.include_self:
            ones = written(ones, number(0, ones), **at, how="set", name="scatter_reduce")
        best = eq(src, pick(y, **at)).to(g.dtype)
        share = g / written(ones, best, **at, how="sum", name="scatter_reduce")
        gx, gs = where(ones.to(_core.DTYPES[0]), share, 0.0), where(eq(best, 1), pick(share, **at), 0.0)
    if not ctx.include_self:
        gx = written(gx, number(0, gx), **at, how="set", name="scatter_reduce")
    return gx, gs


def product_gradients(g: Tensor, x: Tensor, src: Tensor, at: dict[str, Any], include_self: bool) -> tuple:
    """Gradients of products: the product of all factors but the zeros, times what the zeros make of it.

    The other zeros, where there are few, enter as themselves, so that derivatives of this are right too.
    """
    own_zero, src_zero = eq(x, 0), eq(src, 0)
    if not include_self:
        own_zero = written(own_zero, number(False, own_zero), **at, how="set", name="scatter_reduce")
    zeros = written(own_zero.to(g.dtype), src_zero.to(g.dtype), **at, how="sum", name="scatter_reduce").detach()
    safe_x, safe_src = where(own_zero, 1.0, x), where(src_zero, 1.0, src)
    others = reduced(safe_x, safe_src, **at, how="prod", include_self=include_self)
    rest = written(where(own_zero, x, 0.0), where(src_zero, src, 0.0), **at, how="sum", name="scatter_reduce")
    gx = g * others / safe_x * factor(own_zero, zeros, x, rest)
    gs = pick(g * others, **at) / safe_src * factor(src_zero, pick(zeros, **at), src, pick(rest, **at))
    return gx, gs


def factor(is_zero: Tensor, zeros: Tensor, x: Tensor, rest: Tensor) -> Tensor:
    """The product of the zeros beside an element, given how many there are and their sum with it."""
    with_one = where(is_zero, 1.0, rest)
    with_two = where(is_zero, rest - x, 0.0)
    return where(eq(zeros, 0), 1.0, where(eq(zeros, 1), with_one, where(eq(zeros, 2), with_two, 0.0)))


@primitive(reduced_vjp)
def reduced(ctx, x, src, *, places, indices, how, include_self):
    """x with what index tensors bring to each place of it reduced there."""
    ctx.places, ctx.how, ctx.include_self = places, how, include_self
    y = _core.clone_contiguous(x)
    if not include_self:
        combine(y, places, indices, number(identity(how, y.dtype), y).expand(places.shape), "set")
    combine(y, places, indices, src.detach(), REDUCE[how])
    if how == "mean":
        counts = counts_of(y, places, indices, include_self)
        y = y / counts if y.dtype.is_floating_point or y.dtype.is_complex else TABLE["floor_divide"](y, counts)
    ctx.save(x, src, y, *indices)
    return y


def checked(name: str, how: str, x: Tensor, src: Tensor) -> None:
    if how not in REDUCE:
        raise RuntimeError(f"{name}: reduce must be one of {', '.join(REDUCE)}, got {how!r}")
    if (x.is_complex() and how in ("amax", "amin")) or (x.dtype is _core.DTYPES[0] and how == "mean"):
        raise RuntimeError(f"{name}: {how!r} has no meaning for {x.dtype}")
    if src.dtype is not x.dtype:
        raise RuntimeError(f"{name}: x is {x.dtype} and src {src.dtype}; use src.to({x.dtype})")


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The 'sum', 'prod', 'mean', 'amax' or 'amin' of what scatter brings to each place, and of x unless told otherwise.

    Elements that share an extreme share its gradient evenly.

    >>> fb.zeros(2).scatter_reduce(0, fb.tensor([0, 0, 1]), fb.tensor([1.0, 3.0, 2.0]), "amax")
    tensor([3., 2.])
    """
    checked("scatter_reduce", reduce, input, src)
    places, index = whole_index("scatter_reduce", input, dim, index)
    src = source_for("scatter_reduce", input, src, index)
    y = reduced(flat_at_least(input), src, places=places, indices=(index,), how=reduce, include_self=include_self)
    return as_shaped(y, input)


def multiplied(x: Tensor, dim: int, index: Tensor, src: Any) -> Tensor:
    """scatter with reduce='multiply'."""
    places, index = whole_index("scatter", x, dim, index)
    src = source_for("scatter", x, src, index).expand(index.shape)
    y = reduced(flat_at_least(x), src, places=places, indices=(index,), how="prod", include_self=True)
    return as_shaped(y, x)


def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The 'prod', 'mean', 'amax' or 'amin' of the parts of source that index brings to each place of `dim`.

    >>> fb.ones(2).index_reduce(0, fb.tensor([0, 0]), fb.tensor([2.0, 3.0]), "prod")
    tensor([6., 1.])
    """
    checked("index_reduce", reduce, input, source)
    dim, index = vector_index("index_reduce", input, dim, index)
    whole = flat_at_least(input)
    places = inserted(whole.shape, index.shape, (dim,), dim)
    if tuple(flat_at_least(source).shape) != places.shape:
        raise RuntimeError(f"index_reduce: the source must have shape {list(places.shape)}, got {list(source.shape)}")
    y = reduced(whole, flat_at_least(source), places=places, indices=(index,), how=reduce, include_self=include_self)
    return as_shaped(y, input)


def scatter_reduce_(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """In-place form of :func:`scatter_reduce`.

    >>> fb.zeros(2).scatter_reduce_(0, fb.tensor([0, 0, 1]), fb.tensor([1.0, 5.0, 2.0]), "amax")
    tensor([5., 2.])
    """
    return input.copy_(scatter_reduce(input, dim, index, src, reduce, include_self=include_self))


def index_reduce_(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """In-place form of :func:`index_reduce`.

    >>> fb.ones(2).index_reduce_(0, fb.tensor([0, 0, 1]), fb.tensor([2.0, 5.0, 3.0]), "prod")
    tensor([10.,  3.])
    """
    return input.copy_(index_reduce(input, dim, index, source, reduce, include_self=include_self))


for _function in (scatter_reduce, scatter_reduce_, index_reduce, index_reduce_):
    setattr(Tensor, _function.__name__, _function)
