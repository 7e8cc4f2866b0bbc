"""pick, put and written: differentiable reads and writes at places that index tensors choose.

`put` is the transpose of `pick`; `written` changes what is there. Indexing, gather, scatter and embedding are all made
of these. Imports core and neighbours in ops. Read next: `indirect.py` (places and kernels), `gather.py` (who asks).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor, new_empty, plain_copy
from .basic import IDENTITY, sum_to, zeros_like_shape
from .indirect import Places, along, write
from .indirect import read as read_places
from .primitive import primitive
from .table import TABLE

BOOL, FLOAT16, BFLOAT16, FLOAT32 = DTYPES[0], DTYPES[6], DTYPES[7], DTYPES[8]


def pick_vjp(ctx: Any, g: Tensor) -> Tensor:
    return put(g, shape=ctx.shape, places=ctx.places, indices=ctx.saved)


@primitive(pick_vjp)
def pick(ctx, x, *, places, indices):
    """The elements of x at the places that index tensors choose."""
    ctx.shape, ctx.places = x.shape, places
    ctx.save(*indices)
    return read_places(x, places, indices)


def put_vjp(ctx: Any, g: Tensor) -> Tensor:
    return pick(g, places=ctx.places, indices=ctx.saved)


@primitive(put_vjp)
def put(ctx, values, *, shape, places, indices):
    """Zeros of `shape` with `values` added at places, in the order of the index: the transpose of pick."""
    ctx.places = places
    ctx.save(*indices)
    out = zeros_like_shape(values, shape, values.dtype)
    combine(out, places, indices, values, "sum")
    return out


def combine(x: Tensor, places: Places, indices: Sequence[Tensor], values: Tensor, how: str) -> None:
    """Writes off the tape; 16-bit floats are accumulated in float32 and rounded once."""
    if how == "set" or x.dtype not in (FLOAT16, BFLOAT16):
        write(x, places, indices, values, how)
        return
    wide, wide_values = new_empty(x.shape, FLOAT32), new_empty(values.shape, FLOAT32)
    plain_copy(wide, x)
    plain_copy(wide_values, values)
    write(wide, places, indices, wide_values, how)
    plain_copy(x, wide)


def written_vjp(ctx: Any, g: Tensor) -> tuple:
    at = {"places": ctx.places, "indices": ctx.saved}
    needs_x, needs_values = ctx.needs_input_grad
    gx, values = g, None
    if needs_x and ctx.how == "set":
        gx = written(g, zeros_like_shape(g, (), g.dtype), **at, how="set", name=ctx.op_name)
    if needs_values and ctx.how == "set" and not ctx.values_shape:
        # One value for all: a place that is named twice counts once.
        hit = zeros_like_shape(g, g.shape, BOOL)
        write(hit, ctx.places, ctx.saved, ones((), BOOL).expand(ctx.places.shape))
        values = sum_to(TABLE["where"](hit, g, 0.0), (), ctx.op_name)
    elif needs_values:
        values = sum_to(pick(g, **at), ctx.values_shape, ctx.op_name)
    return gx, values


def ones(shape: tuple[int, ...], dtype: Any) -> Tensor:
    out = new_empty(shape, dtype)
    IDENTITY.into((out,), 1)
    return out


def write_values(ctx: Any, x: Tensor, values: Tensor, places: Places, indices: Any, how: str, name: str) -> Tensor:
    if values.dtype is not x.dtype:
        raise RuntimeError(f"{name}: x is {x.dtype} and what is written {values.dtype}; use values.to({x.dtype})")
    ctx.places, ctx.how, ctx.op_name, ctx.values_shape = places, how, name, values.shape
    ctx.save(*indices)
    combine(x, places, indices, values if values.shape == places.shape else values.expand(places.shape), how)
    return x


@primitive(written_vjp)
def written(ctx, x, values, *, places, indices, how, name):
    """x with `values` stored ('set') or added ('sum') at places; of those that meet, the last in order stays."""
    return write_values(ctx, _core.clone_contiguous(x), values, places, indices, how, name)


@primitive(written_vjp, writes=True)
def written_(ctx, x, values, *, places, indices, how, name):
    """In-place form of `written`."""
    return write_values(ctx, x, values, places, indices, how, name)


def scatter_into_zeros(g: Tensor, dim: int, indices: Tensor, shape: Any) -> Tensor:
    """Zeros of `shape` with g added along `dim` at indices of g's shape; differentiable."""
    if not len(shape):
        return g.reshape(shape)
    return put(g, shape=tuple(shape), places=along(indices.shape, dim), indices=(indices,))
