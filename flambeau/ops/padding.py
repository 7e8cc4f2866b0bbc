"""pad: a tensor enlarged, or cropped, at the ends of its last dimensions, by a number or by repeating what it has.

One kernel over the rows of the result: whole rows outside are the number, the others margin, copy, margin. Imports
core, ir and neighbours in ops. Read next: `separable.py`, which takes a repetition back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Plan, Resolution, Step, Tensor
from ..ir.expr import Expr, as_expr, cast, idiv, irem, load, minimum, var
from ..ir.kernel import Buffer, For, If, Kernel, Let, Scalar, Statement, Store
from .basic import fill_, storable
from .factories import tensor, zeros
from .gather import index_add
from .indirect import BITS
from .primitive import generated, planned_primitive, resolved
from .separable import Map, Taken, kind, separable, short, taken

__all__ = ["pad"]

INT32 = DTYPES[4]
ZERO = as_expr(0)
GRAIN = 32768
FEW = 4096  # places added at one end of a dimension
# How much longer than a dimension the padding of a mode may be, and why.
LONGEST = {"reflect": (-1, "reflection leaves out the edge"), "circular": (0, "it can go round once only")}


@generated
def pad_kernel(bits: str, dims: int, filled: bool) -> Kernel:
    """Rows of y from those of x: `dims` dimensions before the last have tables of places, where -1 is outside.

    Outside and in the margins of a row stands the number, unless there is none: then margins have a table too.
    """
    t, i, row, inside = var("t"), var("i"), var("row"), var("inside")
    start, before, middle, after = var("start"), var("before"), var("middle"), var("after")
    lets: list[Statement] = []
    rest: Expr = t
    source: Expr = ZERO
    for d in reversed(range(dims)):
        place = var(f"place{d}")
        lets.append(Let(place, cast(load(f"table{d}", "i32", irem(rest, var(f"m{d}"))), "i64")))
        source = source + place * var(f"stride{d}")
        rest = idiv(rest, var(f"m{d}"))
    lets.append(Let(row, source + rest * var("outer")))
    width = before + middle + after

    def run(first: Expr, count: Expr, margin: bool) -> Statement:
        if margin:
            place = ZERO if filled else cast(load("edges", "i32", first + i), "i64")
            value = load("value", bits, place) if filled else load("x", bits, row + place)
        else:
            value = load("x", bits, row + start + i)
        return For(i, ZERO, count, (Store("y", t * width + first + i, value),), vector=True)

    shown = run(ZERO, before, True), run(before, middle, False), run(before + middle, after, True)
    body: tuple[Statement, ...] = shown
    if filled and dims:
        lowest: Expr = var("place0")
        for d in range(1, dims):
            lowest = minimum(lowest, var(f"place{d}"))
        lets.append(Let(inside, lowest))
        body = If(inside >= 0, shown), If(inside < 0, (run(ZERO, width, True),))
    buffers = [Buffer("x", bits), Buffer("y", bits, "w"), Buffer("value", bits) if filled else Buffer("edges", "i32")]
    buffers += [Buffer(f"table{d}", "i32") for d in range(dims)]
    sizes = [Scalar(f"{name}{d}") for d in range(dims) for name in ("m", "stride")]
    ends = [Scalar(n) for n in ("outer", "start", "before", "middle", "after", "rows")]
    return Kernel("pad", (*buffers, *sizes, *ends), (For(t, ZERO, var("rows"), (*lets, *body), parallel=True),))


@kind
def padded(i: Any, n: int, m: int, mode: str, before: int, after: int) -> Taken:
    """The place that position i of a padded dimension shows."""
    import numpy as np

    place = i - before
    if mode == "constant":
        return Taken(np.where((place >= 0) & (place < n), place, -1)[None])
    if mode == "replicate":
        return Taken(np.clip(place, 0, n - 1)[None])
    if mode == "circular":
        # What negative padding crops doesn't come round again.
        first, last = max(-before, 0), n - max(-after, 0)
        return Taken(((place - first) % max(last - first, 1) + first)[None])
    return Taken((n - 1 - np.abs(n - 1 - np.abs(place)))[None])


def padding_maps(shape: Sequence[int], padding: Sequence[int], mode: str) -> tuple[Map, ...]:
    """A map for each of the dimensions that `padding` names."""
    pairs = list(zip(padding[-2::-2], padding[::-2], strict=True))
    sizes = shape[len(shape) - len(pairs) :]
    return tuple(Map("padded", n, n + a + b, (mode, a, b)) for n, (a, b) in zip(sizes, pairs, strict=True))


def pad_plan(x: Tensor, padding: tuple[int, ...], mode: str, value: Any, note: Any) -> Plan:
    maps = list(padding_maps(x.shape, padding, mode))
    lead = x.ndim - len(maps)
    shape = (*x.shape[:lead], *(map.m for map in maps))
    tail, filled = 1, mode == "constant"
    while filled and maps and maps[-1].parameters[1:] == (0, 0):
        tail *= maps.pop().n  # what isn't padded, after what is, is moved with it
    last = maps.pop() if maps else Map("padded", 1, 1, (mode, 0, 0))
    before, after = max(last.parameters[1], 0), max(last.parameters[2], 0)
    middle, start = last.m - before - after, max(-last.parameters[1], 0)
    held = [places(map) for map in maps]
    if filled:
        held.insert(0, _core.new_empty((1,), x.dtype))
        fill_(held[0], storable(value, x))
    else:
        held.insert(0, places(last))
    sizes: list[int] = []
    stride = last.n * tail
    for map in reversed(maps):
        sizes[:0] = [map.m, stride]
        stride *= map.n
    ends = [stride, *(v * tail for v in (start, before, middle, after))]
    count = math.prod(shape)
    rows = count // max(1, last.m * tail)
    address = pad_kernel(BITS[x.dtype.itemsize], len(maps), filled)
    addresses = [t.data_ptr() for t in held]
    grain = max(1, GRAIN // max(1, last.m * tail))
    step = Step(address, (0, 1), (*addresses, *sizes, *ends, rows), rows if count else 0, grain, count)
    return Plan([(shape, x.dtype)], step, note=note, held=tuple(held))


def places(map: Map) -> Tensor:
    return tensor(taken(map, False).places[0], dtype=INT32)


def constant_pad_vjp(ctx: Any, g: Tensor) -> Tensor:
    return constant_pad(g, tuple(-p for p in ctx.note), 0)


@planned_primitive(constant_pad_vjp, name="constant_pad_nd")
def constant_pad(x, padding, value):
    """x with `padding` (before, after) of the last dimension, the one before it, …: values added, elements cropped."""
    return pad_plan(x, padding, "constant", value, padding)


def repeated_pad_vjp(ctx: Any, g: Tensor) -> Tensor:
    maps = ctx.note
    if max(abs(p) for map in maps if map is not None for p in map.parameters[1:]) <= FEW:
        return separable(g, maps, True)
    # An edge repeated very often would make a table as long for every place.
    for d, map in enumerate(maps, g.ndim - len(maps)):
        if map is not None:
            g = index_add(zeros((*g.shape[:d], map.n, *g.shape[d + 1 :]), dtype=g.dtype), d, places(map).long(), g)
    return g


@planned_primitive(repeated_pad_vjp)
def repeated_pad(x, padding, mode):
    """x with some of its own elements at the ends of its last dimensions."""
    maps = padding_maps(x.shape, padding, mode)
    return pad_plan(x, padding, mode, None, tuple(m if any(m.parameters[1:]) else None for m in maps))


def checked(shape: Sequence[int], padding: tuple[int, ...]) -> None:
    """Raises RuntimeError where `padding` makes no shape of a shape."""
    if len(padding) % 2 or len(padding) > 2 * len(shape):
        raise RuntimeError(
            f"pad: an even number of sizes is needed, a pair of numbers for each of at most {len(shape)} dimensions, "
            f"got {padding}"
        )
    pairs = ((0, 0),) * (len(shape) - len(padding) // 2) + tuple(zip(padding[-2::-2], padding[::-2], strict=True))
    for d, (n, (a, b)) in enumerate(zip(shape, pairs, strict=True)):
        if min(n + a, n + b, n + a + b) < 0 or n + a + b >= 2**63:
            what = "too large a" if n + a + b >= 2**63 else "a negative"
            raise RuntimeError(f"pad: dimension {d} of size {n} can't be padded by {a} and {b}: that is {what} shape")


@resolved
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Any:
    """x enlarged by pad = (before, after) of the last dimension, then of the one before it, …; negative numbers crop.

    Modes: 'constant' (`value`, 0 by default), 'reflect' (mirrored without the edge), 'replicate', 'circular'.

    >>> fb.pad(fb.tensor([[1, 2, 3]]), (1, 2))
    tensor([[0, 1, 2, 3, 0, 0]])
    >>> fb.pad(fb.tensor([[1, 2, 3]]), (2, 1), mode="reflect")
    tensor([[3, 2, 1, 2, 3, 2]])
    """
    padding = (*map(int, pad),)
    checked(input.shape, padding)
    if mode == "constant":
        number = value.item() if isinstance(value, Tensor) else value
        return Resolution(constant_pad, input, padding, 0 if number is None else number)
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got {mode!r}")
    if value:
        raise RuntimeError(f"pad: mode {mode!r} takes no value, got {value}")
    if len(padding) // 2 not in (input.ndim - 1, input.ndim - 2):
        raise NotImplementedError(
            f"pad: mode {mode!r} pads all dimensions but the first one or two, got {len(padding)} numbers for shape "
            f"{list(input.shape)}"
        )
    for k in range(len(padding) // 2):
        d, before, after = input.ndim - 1 - k, padding[2 * k], padding[2 * k + 1]
        n = input.shape[d]
        limit, why = LONGEST.get(mode, (max(before, after) - n, ""))
        if max(before, after) > n + limit:
            raise RuntimeError(
                f"pad: padding {(before, after)} is too large for dimension {d} of length {n}, mode {mode!r}: {why}"
            )
        if n == 0 and before + after > 0:
            raise RuntimeError(f"pad: dimension {d} of length 0 has no elements to repeat")
    maps = padding_maps(input.shape, padding, mode)
    if not any(padding):
        return input
    if short([map.n for map in maps], [map.m for map in maps]):
        return Resolution(separable, input, maps, False)
    return Resolution(repeated_pad, input, padding, mode)
