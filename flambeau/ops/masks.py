"""Masks: the places of true elements, the elements at those places, and elements put back there.

Blocks of a mask are counted first; then each block knows where its first true element goes, and all run at once.
Imports core, ir and neighbours in ops. Read next: `indexing.py` (who asks).
"""

from __future__ import annotations

from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor, launch, new_empty, plain_copy
from ..ir.expr import Expr, as_expr, cast, const, load, maximum, minimum, var, where
from ..ir.kernel import Accumulator, Buffer, For, If, Kernel, Let, Reduce, Scalar, Store
from .basic import sum_to, zeros_like_shape
from .indirect import BITS
from .primitive import generated, primitive
from .table import TABLE

BOOL, INT64 = DTYPES[0], DTYPES[5]
BLOCK = 4096
ZERO = const(0, "i64")

__all__ = ["argwhere", "masked_scatter", "masked_select", "nonzero", "nonzero_static"]


def block(n: Expr, t: Expr) -> tuple[Let, Let]:
    return Let(var("start"), t * BLOCK), Let(var("stop"), minimum(n, var("start") + BLOCK))


@generated
def count_kernel() -> Kernel:
    """counts[t] = how many elements of block t are true."""
    t, k, total, other = var("t"), var("k"), var("total"), var("other")
    step = total + cast(load("mask", "bool", k), "i64")
    fold = Reduce(k, var("start"), var("stop"), (Accumulator(total, ZERO),), (step,), (total + other,), (other,))
    body = (*block(var("n"), t), fold, Store("counts", t, total))
    params = (Buffer("counts", "i64", "w"), Buffer("mask", "bool"), Scalar("n"), Scalar("blocks"))
    return Kernel("count_true", params, (For(t, ZERO, var("blocks"), body, parallel=True),))


@generated
def single_kernel() -> Kernel:
    """Both of the kernels beside this one where there is one block."""
    once, k, total, other = var("once"), var("k"), var("total"), var("other")
    step = total + cast(load("mask", "bool", k), "i64")
    fold = Reduce(k, ZERO, var("n"), (Accumulator(total, ZERO),), (step,), (total + other,), (other,))
    body = (fold, Store("offsets", ZERO, ZERO), Store("offsets", as_expr(1), total))
    params = (Buffer("offsets", "i64", "w"), Buffer("mask", "bool"), Scalar("n"))
    return Kernel("count_single", params, (For(once, ZERO, as_expr(1), body, parallel=True),))


@generated
def offsets_kernel() -> Kernel:
    """offsets[t] = the sum of counts before t, one more of them than there are blocks."""
    once, k, total = var("once"), var("k"), var("total")
    fold = Reduce(
        k, ZERO, var("blocks"), (Accumulator(total, ZERO),), (total + load("counts", "i64", k),), lanes=1,
        body=(Store("offsets", k, total),),
    )  # fmt: skip
    params = (Buffer("offsets", "i64", "w"), Buffer("counts", "i64"), Scalar("blocks"))
    body = (fold, Store("offsets", var("blocks"), total))
    return Kernel("offsets", params, (For(once, ZERO, as_expr(1), body, parallel=True),))


@generated
def compact_kernel(dtype: str | None) -> Kernel:
    """The true places in order or, given a dtype, the source's elements there."""
    t, k, seen = var("t"), var("k"), var("seen")
    value = k if dtype is None else load("source", dtype, k)
    # Stored at every step while the block has elements to come, so that no branch hangs on the mask's next bit.
    fold = Reduce(
        k, var("start"), var("stop"), (Accumulator(seen, ZERO),), (seen + cast(load("mask", "bool", k), "i64"),),
        lanes=1, body=(If(seen < var("count"), (Store("result", var("base") + seen, value),)),),
    )  # fmt: skip
    lets = (
        Let(var("base"), load("offsets", "i64", t)),
        Let(var("count"), load("offsets", "i64", t + 1) - var("base")),
    )
    source = () if dtype is None else (Buffer("source", dtype),)
    params = (
        Buffer("result", dtype or "i64", "w"), Buffer("mask", "bool"), Buffer("offsets", "i64"), *source,
        Scalar("n"), Scalar("blocks"),
    )  # fmt: skip
    return Kernel("compact", params, (For(t, ZERO, var("blocks"), (*block(var("n"), t), *lets, fold), parallel=True),))


@generated
def spread_kernel(dtype: str) -> Kernel:
    """target at true places = the source's elements in order."""
    t, k, seen = var("t"), var("k"), var("seen")
    bit = load("mask", "bool", k)
    last = maximum(load("offsets", "i64", var("blocks")) - 1, ZERO)
    new = where(bit, load("source", dtype, minimum(var("base") + seen, last)), load("target", dtype, k))
    fold = Reduce(
        k, var("start"), var("stop"), (Accumulator(seen, ZERO),), (seen + cast(bit, "i64"),), lanes=1,
        body=(Store("target", k, new),),
    )  # fmt: skip
    params = (
        Buffer("target", dtype, "rw"), Buffer("mask", "bool"), Buffer("offsets", "i64"), Buffer("source", dtype),
        Scalar("n"), Scalar("blocks"),
    )  # fmt: skip
    body = (*block(var("n"), t), Let(var("base"), load("offsets", "i64", t)), fold)
    return Kernel("spread", params, (For(t, ZERO, var("blocks"), body, parallel=True),))


def offsets_of(mask: Tensor) -> tuple[Tensor, int, int]:
    """Where each block's true elements begin among all of them, the number of blocks, and how many are true."""
    n = mask.numel()
    blocks = -(-n // BLOCK)
    offsets = new_empty((blocks + 1,), INT64)
    if blocks == 1:
        launch(single_kernel(), (offsets, mask, n), 1, 1, n)
    else:
        counts = new_empty((blocks,), INT64)
        launch(count_kernel(), (counts, mask, n, blocks), blocks, 8, n)
        launch(offsets_kernel(), (offsets, counts, blocks), 1)
    return offsets, blocks, offsets.select(0, blocks).item()


def count_true(mask: Tensor) -> int:
    return offsets_of(mask.contiguous())[2]


def as_mask(name: str, mask: Any) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype is not BOOL:
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise RuntimeError(f"{name}: the mask must be a boolean tensor, got {got}; use mask.bool()")
    return mask.detach()


@primitive()
def true_places(ctx, mask):
    """The positions of a mask's true elements in its flattened form; off the tape."""
    mask = mask.contiguous()
    small = _core.nonzero_small(mask, True)
    if small is not None:
        return small
    offsets, blocks, total = offsets_of(mask)
    result = new_empty((total,), INT64)
    if total:
        launch(compact_kernel(None), [result, mask, offsets, mask.numel(), blocks], blocks, 8, mask.numel())
    return result


def compact(source: Tensor, mask: Tensor) -> Tensor:
    """The elements of source where mask, of the same shape, is true; off the tape."""
    small = _core.compacted(source, mask)
    if small is not None:
        return small
    source, mask = source.contiguous(), mask.contiguous()
    offsets, blocks, total = offsets_of(mask)
    result = new_empty((total,), source.dtype)
    if total:
        args = [result, mask, offsets, source, mask.numel(), blocks]
        launch(compact_kernel(BITS[source.itemsize]), args, blocks, 8, mask.numel())
    return result


def spread(target: Tensor, mask: Tensor, source: Tensor) -> None:
    """Writes the first elements of source, in order, where mask is true in target; off the tape."""
    mask, source = mask.contiguous(), source.contiguous()
    offsets, blocks, total = offsets_of(mask)
    if total > source.numel():
        raise RuntimeError(f"masked_scatter: the mask has {total} true elements, the source only {source.numel()}")
    if total == 0:
        return
    whole = target if target.is_contiguous() else _core.clone_contiguous(target)
    args = [whole, mask, offsets, source, mask.numel(), blocks]
    launch(spread_kernel(BITS[target.itemsize]), args, blocks, 8, mask.numel())
    if whole is not target:
        plain_copy(target, whole)


def both(x: Tensor, mask: Tensor) -> tuple[int, ...]:
    return tuple(_core.broadcast_shapes(x.shape, mask.shape))


def masked_select_vjp(ctx: Any, g: Tensor) -> tuple:
    (mask,) = ctx.saved
    return sum_to(put_masked(g, mask), ctx.shape, "masked_select"), None


@primitive(masked_select_vjp, method=True)
def masked_select(ctx, input, mask):
    """The elements of x where mask is true, in order, as a vector; x and mask broadcast.

    >>> x = fb.tensor([1.0, -2.0, 3.0])
    >>> fb.masked_select(x, x > 0)
    tensor([1., 3.])
    """
    mask = as_mask("masked_select", mask)
    ctx.shape = input.shape
    if mask.shape != input.shape:
        shape = both(input, mask)
        mask, input = mask.expand(shape), input.detach().expand(shape)
    ctx.save(mask)
    return compact(input, mask)


def put_masked_vjp(ctx: Any, g: Tensor) -> tuple:
    (mask,) = ctx.saved
    return masked_select(g, mask), None


@primitive(put_masked_vjp)
def put_masked(ctx, values, mask):
    """Zeros of mask's shape with `values` in order where it is true: the transpose of masked_select."""
    ctx.save(mask)
    out = zeros_like_shape(values, mask.shape, values.dtype)
    spread(out, mask, values)
    return out


def masked_scatter_vjp(ctx: Any, g: Tensor) -> tuple:
    (mask,) = ctx.saved
    taken = masked_select(g, mask)
    missing = ctx.source_numel - taken.numel()
    if missing:
        from .joining import cat

        taken = cat([taken, zeros_like_shape(taken, (missing,), taken.dtype)])
    return TABLE["masked_fill"](g, mask, 0), None, taken.reshape(ctx.source_shape)


def scatter_masked(ctx: Any, x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    mask = as_mask("masked_scatter", mask).expand(x.shape)
    if source.dtype is not x.dtype:
        raise RuntimeError(f"masked_scatter: x is {x.dtype} and the source {source.dtype}; use source.to({x.dtype})")
    ctx.source_numel, ctx.source_shape = source.numel(), source.shape
    ctx.save(mask)
    spread(x, mask, source.detach())
    return x


@primitive(masked_scatter_vjp, method=True)
def masked_scatter(ctx, input, mask, source):
    """x with the elements of source, in order, where mask is true.

    >>> fb.zeros(3).masked_scatter(fb.tensor([True, False, True]), fb.tensor([5.0, 6.0]))
    tensor([5., 0., 6.])
    """
    shape = both(input, mask)
    if tuple(input.shape) != shape:
        raise RuntimeError(f"masked_scatter: mask {list(mask.shape)} doesn't broadcast to x {list(input.shape)}")
    return scatter_masked(ctx, _core.clone_contiguous(input), mask, source)


@primitive(masked_scatter_vjp, method=True, writes=True)
def masked_scatter_(ctx, input, mask, source):
    """In-place form of :func:`masked_scatter`.

    >>> fb.zeros(3).masked_scatter_(fb.tensor([True, False, True]), fb.tensor([5.0, 6.0]))
    tensor([5., 0., 6.])
    """
    return scatter_masked(ctx, input, mask, source)


def truth(x: Tensor) -> Tensor:
    if x.is_complex():
        pairs = _core.raw_view(
            x, x.dtype.to_real(), (*x.shape, 2), [*(2 * s for s in x.stride()), 1], 2 * x.storage_offset()
        )
        return truth(pairs.select(-1, 0)) | truth(pairs.select(-1, 1))
    return x.detach() if x.dtype is BOOL else TABLE["ne"](x.detach(), 0)


def columns(flat: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    """The index in each dimension of positions in the flattened form of `shape`."""
    found: list[Tensor] = []
    for n in reversed(shape[1:]):
        found.append(TABLE["remainder"](flat, n))
        flat = TABLE["floor_divide"](flat, n)
    return (flat, *reversed(found)) if shape else ()


@primitive(method=True)
def nonzero(ctx, input, *, as_tuple=False):
    """The indices of the elements that aren't zero: one row for each or, `as_tuple`, one tensor for each dimension.

    >>> fb.tensor([[0, 3], [4, 0]]).nonzero()
    tensor([[0, 1],
            [1, 0]])
    """
    small = None if as_tuple else _core.nonzero_small(input, False)
    if small is not None:
        return small
    if as_tuple:
        shape = tuple(input.shape) or (1,)
        return columns(true_places(truth(input)), shape)
    flat = true_places(truth(input))
    result = new_empty((flat.numel(), input.ndim), INT64)
    for d, column in enumerate(columns(flat, tuple(input.shape))):
        plain_copy(result.select(1, d), column)
    return result


def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The first `size` rows of :func:`nonzero`, further rows filled with `fill_value`: a shape known beforehand.

    >>> fb.nonzero_static(fb.tensor([0, 3, 4]), size=3)
    tensor([[ 1],
            [ 2],
            [-1]])
    """
    if size < 0:
        raise RuntimeError(f"nonzero_static: size must be a non-negative integer, got {size}")
    found = nonzero(input)
    result = input.new_full((size, input.ndim), fill_value, dtype=INT64)
    count = min(size, found.shape[0])
    if count and input.ndim:
        plain_copy(result.narrow(0, 0, count), found.narrow(0, 0, count))
    return result


def argwhere(input: Tensor) -> Tensor:
    """The indices of the elements that aren't zero, one row for each.

    >>> fb.argwhere(fb.tensor([0.0, 2.0, 3.0]))
    tensor([[1],
            [2]])
    """
    return nonzero(input)


Tensor.argwhere, Tensor.nonzero_static = argwhere, nonzero_static
