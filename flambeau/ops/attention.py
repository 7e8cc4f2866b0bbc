"""Attention: softmax(q kᵀ scale + mask) v as one op, whose weights are never in memory all at once.

Here are the kernels that the driver in C runs on a block of scores, and the op with its gradient. Imports core, ir and
neighbours in ops. Read next: `runtime/attention.h` (the blocks, and what fixes the bits).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Resolution, Tensor
from ..ir.expr import Expr, as_expr, cast, const, eq, function, load, maximum, minimum, var, where
from ..ir.kernel import Accumulator, Buffer, For, Kernel, Let, Reduce, Scalar, Statement, Store
from .arguments import to
from .factories import ones
from .matmul import matmul
from .primitive import generated, primitive
from .random import current_generator, drop, philox, uniform01
from .reduce import sum
from .softmax import softmax
from .table import TABLE
from .triangles import tril

BOOL, FLOAT32 = DTYPES[0], DTYPES[8]
ROW, COL = var("row"), var("col")
N, LIMIT, PITCH, MASK_ROW, WIDTH = (var(name) for name in ("n", "limit", "pitch", "mask_row", "width"))
Y_ROW, G_ROW = var("y_row"), var("g_row")
DRAW = ("element", "element_row", "seed", "call")
NUMBERS = (Scalar("scale", "f64"), Scalar("p", "f64"))


def start(dtype: str, mask: str | None) -> tuple[list[Statement], Expr, Expr]:
    """How many keys a row sees, as Lets before its loops; the end of those; and its scores, scaled and masked."""
    stop = var("stop")
    lets: list[Statement] = [Let(stop, maximum(as_expr(0), minimum(N, LIMIT + ROW)))]
    x = load("s", dtype, ROW * PITCH + COL) * cast(var("scale", "f64"), dtype)
    if mask is not None:
        hidden = load("mask", mask, ROW * MASK_ROW + COL)
        x = where(hidden, x, const(-math.inf, dtype)) if mask == "bool" else x + hidden
    return lets, stop, x


def kept(x: Expr, dtype: str, dropout: bool) -> Expr:
    """x where the draw keeps it, divided by 1 - p; 0 elsewhere."""
    if not dropout:
        return x
    p = cast(var("p", "f64"), dtype)
    words = philox(var("seed"), var("call"), var("element") + ROW * var("element_row") + COL)
    return where(uniform01(words, dtype) >= p, x / (const(1, dtype) - p), const(0, dtype))


def finite(x: Expr, dtype: str) -> Expr:
    """x, or 0 where it is -∞: what is subtracted from rows in which every key is hidden."""
    return where(eq(x, const(-math.inf, dtype)), const(0, dtype), x)


def fold(name: str, dtype: str, stop: Expr, init: float, step: Any, element: Expr, body: tuple = ()) -> Reduce:
    acc, other = var(name, dtype), var(name + "_other", dtype)
    found = Accumulator(acc, const(init, dtype))
    return Reduce(COL, as_expr(0), stop, (found,), (step(acc, element),), (step(acc, other),), (other,), body=body)


def add(a: Expr, b: Expr) -> Expr:
    return a + b


@generated
def scores_kernel(dtype: str, mask: str | None, dropout: bool) -> Kernel:
    """The block's part in each row's softmax: see `scores` in runtime/attention.h."""
    lets, stop, x = start(dtype, mask)
    before, weight = var("before", dtype), var("weight", dtype)
    highest, shift, again = var("highest", dtype), var("shift", dtype), var("again", dtype)
    at = ROW * PITCH + COL
    rows: tuple[Statement, ...] = (
        *lets,
        Let(before, load("most", dtype, ROW)),
        fold("block", dtype, stop, -math.inf, maximum, x),
        Let(highest, maximum(before, var("block", dtype))),
        Let(shift, finite(highest, dtype)),
        fold("part", dtype, stop, 0.0, add, weight, (
            Let(weight, function("exp", x - shift)), Store("s", at, kept(weight, dtype, dropout)))),
        For(COL, stop, N, (Store("s", at, const(0, dtype)),), vector=True),
        Let(again, function("exp", before - shift)),
        Store("most", ROW, highest),
        Store("total", ROW, load("total", dtype, ROW) * again + var("part", dtype)),
        For(COL, as_expr(0), WIDTH, (
            Store("sums", ROW * WIDTH + COL, load("sums", dtype, ROW * WIDTH + COL) * again),), vector=True),
    )  # fmt: skip
    buffers = [Buffer("s", dtype, "rw"), Buffer("mask", mask or dtype)]
    buffers += [Buffer(name, dtype, "rw") for name in ("most", "total", "sums")]
    scalars = [Scalar(name) for name in ("n", "limit", "pitch", "mask_row", "width", *DRAW)]
    loop = For(ROW, as_expr(0), var("rows"), rows, parallel=True)
    return Kernel("attention_scores", (*buffers, *scalars, *NUMBERS, Scalar("rows")), (loop,))


@generated
def finish_kernel(dtype: str) -> Kernel:
    """y = sums / total and lse = most + log(total); 0 and -∞ for a row in which every key is hidden."""
    total = load("total", dtype, ROW)
    empty, share = eq(total, const(0, dtype)), var("share", dtype)
    rows: tuple[Statement, ...] = (
        Let(share, where(empty, const(1, dtype), total)),
        Store("lse", ROW, load("most", dtype, ROW) + function("log", share)),
        For(COL, as_expr(0), WIDTH, (
            Store("y", ROW * Y_ROW + COL, load("sums", dtype, ROW * WIDTH + COL) / share),), vector=True),
    )  # fmt: skip
    buffers = [Buffer(name, dtype) for name in ("sums", "most", "total")]
    buffers += [Buffer(name, dtype, "w") for name in ("y", "lse")]
    loop = For(ROW, as_expr(0), var("rows"), rows, parallel=True)
    return Kernel("attention_finish", (*buffers, Scalar("width"), Scalar("y_row"), Scalar("rows")), (loop,))


@generated
def deltas_kernel(dtype: str) -> Kernel:
    """delta = Σ g y of each row."""
    own = load("g", dtype, ROW * G_ROW + COL) * load("y", dtype, ROW * Y_ROW + COL)
    rows = fold("total", dtype, WIDTH, 0.0, add, own), Store("delta", ROW, var("total", dtype))
    buffers = Buffer("g", dtype), Buffer("y", dtype), Buffer("delta", dtype, "w")
    scalars = [Scalar(name) for name in ("width", "g_row", "y_row", "rows")]
    return Kernel("attention_deltas", (*buffers, *scalars), (For(ROW, as_expr(0), var("rows"), rows, parallel=True),))


@generated
def gradients_kernel(dtype: str, mask: str | None, dropout: bool) -> Kernel:
    """Weights again from scores, and scores' gradients: see `gradients` in runtime/attention.h."""
    lets, stop, x = start(dtype, mask)
    shift, weight, own = var("shift", dtype), var("weight", dtype), var("own", dtype)
    at, zero = ROW * PITCH + COL, const(0, dtype)
    scale = cast(var("scale", "f64"), dtype)
    rows: tuple[Statement, ...] = (
        *lets,
        Let(shift, finite(load("lse", dtype, ROW), dtype)),
        For(COL, as_expr(0), stop, (
            Let(weight, function("exp", x - shift)),
            Let(own, weight * (kept(load("g", dtype, at), dtype, dropout) - load("delta", dtype, ROW)) * scale),
            Store("s", at, kept(weight, dtype, dropout)),
            Store("g", at, own),
        ), vector=True),
        For(COL, stop, N, (Store("s", at, zero), Store("g", at, zero)), vector=True),
    )  # fmt: skip
    buffers = [Buffer("s", dtype, "rw"), Buffer("g", dtype, "rw"), Buffer("mask", mask or dtype)]
    buffers += [Buffer("lse", dtype), Buffer("delta", dtype)]
    scalars = [Scalar(name) for name in ("n", "limit", "pitch", "mask_row", *DRAW)]
    loop = For(ROW, as_expr(0), var("rows"), rows, parallel=True)
    return Kernel("attention_gradients", (*buffers, *scalars, *NUMBERS, Scalar("rows")), (loop,))


@functools.cache
def kernels(dtype: str, mask: str | None, dropout: bool, backward: bool) -> tuple[int, ...]:
    if backward:
        return 0, 0, deltas_kernel(dtype), gradients_kernel(dtype, mask, dropout)
    return scores_kernel(dtype, mask, dropout), finish_kernel(dtype), 0, 0


def attention_vjp(ctx: Any, g: Tensor, _: Any) -> tuple:
    q, k, v, y, lse = ctx.saved
    mask, causal, scale, p, seed, call = ctx.how
    rest = () if mask is None else (None,)
    if mask is not None:
        mask = as_four(mask, (*q.shape[:-1], k.shape[2]))
    if _core.is_grad_enabled():
        return *composed_vjp(g, q, k, v, mask, *ctx.how[1:]), *rest
    found = kernels(q.dtype.ir, None if mask is None else mask.dtype.ir, p > 0, True)
    return *_core.attention(found, (q, k, v, mask, g, y, lse), causal, seed, call, scale, p), *rest


@primitive(attention_vjp, name="attention")
def attention(ctx, q, k, v, mask, causal, scale, p, seed, call):
    """(y, lse): y = softmax(q kᵀ scale + mask) v and the logarithm of each row's sum of exponentials.

    q (B, H, L, E), k (B, G, S, E), v (B, G, S, Ev), H a multiple of G; mask (B, H, L, S), or what broadcasts to it, of
    bool or of q's dtype. f32 or f64. Dropped weights are a function of (seed, call, element).
    """
    kind = None
    ctx.how = mask, causal, scale, p, seed, call
    if mask is not None:
        mask, kind = as_four(mask, (*q.shape[:-1], k.shape[2])), mask.dtype.ir
    found = kernels(q.dtype.ir, kind, p > 0, False)
    y, lse = _core.attention(found, (q, k, v, mask, None, None, None), causal, seed, call, scale, p)
    ctx.save(q, k, v, y, lse)
    return y, lse


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, scale: float, p: float, groups: bool
) -> Tensor | Resolution:
    """softmax(q kᵀ scale + mask) v over the last two dimensions, weights dropped with probability p.

    Dimensions before the heads broadcast; with `groups`, key and value may have fewer heads. f16 and bf16 are computed
    in f32. A mask that requires a gradient is given one through weights in memory.
    """
    check(query, key, value, mask, p, groups)
    dtype = query.dtype
    inner = FLOAT32 if dtype.itemsize == 2 else dtype
    learnt = mask is not None and mask.requires_grad and _core.is_grad_enabled()
    plain = mask is None or mask.dtype is BOOL or mask.dtype is inner
    if dtype is inner and plain and not (p or learnt) and is_four(query, key, value):
        return Resolution(attention, query, key, value, mask, causal, scale, 0.0, 0, 0, pick=0)
    lead, (q, k, v) = in_four(*(to(x, inner) for x in (query, key, value)))
    how = (causal, scale, p, *(current_generator().draw() if p else (0, 0)))
    if mask is not None:
        mask = mask if mask.dtype is BOOL else to(mask, inner)
        mask = as_four(mask, (*lead, q.shape[2], k.shape[2]))
    y = composed(q, k, v, mask, *how) if learnt else attention(q, k, v, mask, *how)[0]
    return to(y if len(lead) == 2 else y.reshape((*lead, *y.shape[2:])), dtype)


def is_four(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether all are (batch, heads, length, width) with one batch and heads that need no broadcasting."""
    return (
        q.ndim == k.ndim == v.ndim == 4
        and q.shape[0] == k.shape[0] == v.shape[0]
        and k.shape[1] == v.shape[1] > 0
        and q.shape[1] % k.shape[1] == 0
        and (q.shape[1] > 1 or k.shape[1] == 1)
    )


def check(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float, groups: bool) -> None:
    name, shapes = "scaled_dot_product_attention", f"{list(q.shape)}, {list(k.shape)} and {list(v.shape)}"
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise RuntimeError(f"{name}: query, key and value need at least 2 dimensions, got {shapes}")
    if q.shape[-1] != k.shape[-1]:
        raise RuntimeError(f"{name}: query and key must have one width, the last size; got {shapes}")
    if k.shape[-2] != v.shape[-2]:
        raise RuntimeError(f"{name}: there must be as many keys as values, the last size but one; got {shapes}")
    heads, own, others = (x.shape[-3] if x.ndim > 2 else 1 for x in (q, k, v))
    if own != others or (heads != own and 1 not in (heads, own) and (not groups or heads % own)):
        raise RuntimeError(
            f"{name}: {heads} heads of queries need as many of keys and values or, with enable_gqa=True, of which they "
            f"are a multiple; got {shapes}"
        )
    if mask is not None:
        whole = (*q.shape[:-1], k.shape[-2])
        fits = zip(reversed(mask.shape), reversed(whole), strict=False)
        if mask.ndim > max(len(whole), 4) or any(a not in (1, b) for a, b in fits):
            raise RuntimeError(f"{name}: the mask's shape {list(mask.shape)} doesn't broadcast to {list(whole)}")
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: dropout_p is a probability, got {p}")


def in_four(*tensors: Tensor) -> tuple[tuple[int, ...], list[Tensor]]:
    """The sizes before queries, and queries, keys and values as (batch, heads, length, width) with one batch."""
    heads = [x.shape[-3] if x.ndim > 2 else 1 for x in tensors]
    lead = _core.broadcast_shapes(*(x.shape[:-3] for x in tensors))
    found = []
    for x, own in zip(tensors, heads, strict=True):
        whole = (*lead, heads[1] if x is tensors[0] and own == 1 else own, *x.shape[-2:])
        x = x if tuple(x.shape) == whole else x.expand(whole)
        found.append(x if x.ndim == 4 else x.reshape((-1, *whole[-3:])))
    lead = () if max(x.ndim for x in tensors) == 2 else (*lead, found[0].shape[1])
    return lead, found


def as_four(mask: Tensor, shape: Sequence[int]) -> Tensor:
    """A mask that broadcasts to `shape`, expanded to (batch, heads, queries, keys) with keys side by side."""
    if mask.shape == shape and mask.ndim == 4 and mask.stride(-1) == 1:
        return mask
    if mask.ndim == 0 or mask.shape[-1] != shape[-1] or mask.stride(-1) != 1:
        mask = mask.expand((*mask.shape[:-1], shape[-1])).contiguous()
    mask = mask.expand(shape)
    return mask if len(shape) == 4 else mask.reshape((-1, shape[-3] if len(shape) > 2 else 1, *shape[-2:]))


# ---- the same in terms of other ops, for higher derivatives and for masks that are learnt
def per_query_head(x: Tensor, heads: int) -> Tensor:
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], 1)


def weights(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    """softmax(q kᵀ scale + mask), 0 in rows in which every key is hidden."""
    x = matmul(q * scale, k.mT)
    if causal:
        mask = tril(ones(q.shape[-2], k.shape[-2], dtype=BOOL))
    if mask is None:
        return softmax(x, -1)
    x = TABLE["where"](mask, x, -math.inf) if mask.dtype is BOOL else x + mask
    hidden = TABLE["eq"](x.detach().amax(-1, True), -math.inf)
    return TABLE["where"](hidden, 0.0, softmax(TABLE["where"](hidden, 0.0, x), -1))


def composed(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float, p: float, seed: int, call: int
) -> Tensor:
    k, v = per_query_head(k, q.shape[1]), per_query_head(v, q.shape[1])
    shares = weights(q, k, mask, causal, scale)
    return matmul(drop(shares, p, seed, call) if p else shares, v)


def composed_vjp(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float, p: float, seed: int,
    call: int,
) -> tuple:  # fmt: skip
    keys, values = per_query_head(k, q.shape[1]), per_query_head(v, q.shape[1])
    shares = weights(q, keys, mask, causal, scale)

    def dropped(x: Tensor) -> Tensor:
        return drop(x, p, seed, call) if p else x

    own = dropped(matmul(g, values.mT))
    scores = shares * (own - sum(shares * own, -1, True)) * scale

    def summed(x: Tensor, like: Tensor) -> Tensor:
        return x if x.shape == like.shape else sum(x.unflatten(1, (like.shape[1], -1)), 2)

    return (
        matmul(scores, keys), summed(matmul(scores.mT, q), k), summed(matmul(dropped(shares).mT, g), v),
    )  # fmt: skip
