"""Separable maps: each position along a dimension takes a few of the positions there were, one dimension after another.

Resampling, padding by repetition and pooling by box are such maps, and so is the transpose of each, which is how they
go backward. A Map names a kind and what its table follows from; the table is built once. Imports core, ir and
neighbours in ops. Read next: `resampling.py` and `pooling.py`, which say what is taken.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..core._core import DTYPES, Plan, Step, Tensor
from ..ir.expr import DTYPES as IR
from ..ir.expr import Expr, cast, const, idiv, irem, isnan, load, maximum, var, where
from ..ir.kernel import Accumulator, Buffer, For, Kernel, Let, Reduce, Scalar, Statement, Store
from .factories import tensor
from .gather import gather
from .primitive import generated, planned_primitive
from .typed import computation

INT32, FLOAT64 = DTYPES[4], DTYPES[9]
BITS = {1: "u8", 2: "i16", 4: "i32", 8: "i64"}
WORK = 16384
UNROLLED = 8  # taps up to this many are written out
# Last dimensions shorter than this, of so many positions altogether, are gone through with those before them.
SHORT, FEW = 16, 512
MOST = 1 << 27  # positions along a dimension
ZERO = const(0, "i64")
SIZES = tuple(Scalar(name) for name in ("outer", "n", "m", "inner", "taps"))


class Map(NamedTuple):
    """How m positions come from n: `kind` names a function of (position, n, m, *parameters), see `kind`."""

    kind: str
    n: int
    m: int
    parameters: tuple = ()


class Taken(NamedTuple):
    """For m positions: places (taps, m), -1 for none; weights alike, or None for ones; divisors (m), or None."""

    places: Any
    weights: Any = None
    divisors: Any = None


KINDS: dict[str, Callable[..., Taken]] = {}


def kind(rule: Callable[..., Taken]) -> Callable[..., Taken]:
    """Registers rule(i, n, m, *parameters) -> Taken, of NumPy arrays: position i is Σ weight x[place] / divisor."""
    KINDS[rule.__name__] = rule
    return rule


class Table(NamedTuple):
    """For each of m positions: places (taps, m), -1 for none; weights alike, or None for ones; divisors, or None."""

    taps: int
    places: Tensor
    weights: Tensor | None
    divisors: Tensor | None
    ragged: bool


def taken(map: Map, transposed: bool) -> Taken:
    import numpy as np

    if max(map.n, map.m) > MOST:
        raise RuntimeError(f"{map.kind}: at most {MOST} positions along a dimension, got {map.n} and {map.m}")
    found = KINDS[map.kind](np.arange(map.m), map.n, map.m, *map.parameters)
    if not transposed:
        return found
    # Entries by the place they were taken from, in the order of the positions that take them.
    places, weights = found.places.T, np.ones(found.places.shape) if found.weights is None else found.weights
    shares = (weights if found.divisors is None else weights / found.divisors).T
    inside = places >= 0
    by = np.argsort(places[inside], kind="stable")
    to, share = places[inside][by], shares[inside][by]
    position = np.broadcast_to(np.arange(map.m)[:, None], places.shape)[inside][by]
    counts = np.bincount(to, minlength=map.n)
    slot = np.arange(len(to)) - np.repeat(np.cumsum(counts) - counts, counts)
    size = (max(1, int(counts.max(initial=0))), map.n)
    back, weights = np.full(size, -1), np.zeros(size)
    back[slot, to], weights[slot, to] = position, share
    return Taken(back, None if found.weights is None and found.divisors is None else weights)


def joint(maps: Sequence[Map], transposed: bool) -> Taken:
    """The same of several dimensions at once, their positions counted through in order."""
    import numpy as np

    found = taken(maps[0], transposed)
    for map in maps[1:]:
        more, length = taken(map, transposed), map.m if transposed else map.n
        a, b = found.places[:, None, :, None], more.places[None, :, None, :]
        places = np.where((a >= 0) & (b >= 0), a * length + b, -1)
        places = places.reshape(-1, a.shape[2] * b.shape[3])
        weights = divisors = None
        if not (found.weights is None and more.weights is None):
            v, w = (np.ones(t.places.shape) if t.weights is None else t.weights for t in (found, more))
            weights = (v[:, None, :, None] * w[None, :, None, :]).reshape(places.shape)
        if not (found.divisors is None and more.divisors is None):
            d, e = (np.ones(t.places.shape[1]) if t.divisors is None else t.divisors for t in (found, more))
            divisors = np.outer(d, e).reshape(-1)
        found = Taken(places, weights, divisors)
    return found


@functools.lru_cache(1024)
def table(maps: tuple[Map, ...], transposed: bool, dtype: Any) -> Table:
    """The table of some neighbouring dimensions' maps, or of their transposes, its numbers in `dtype`."""
    found = joint(maps, transposed)
    weights, divisors = (None if x is None else tensor(x, dtype=dtype).reshape(-1) for x in found[1:])
    places = tensor(found.places, dtype=INT32).reshape(-1)
    return Table(len(found.places), places, weights, divisors, bool((found.places < 0).any()))


def lengths(maps: Sequence[Map], transposed: bool) -> tuple[int, ...]:
    return tuple(map.n if transposed else map.m for map in maps)


# ---- one dimension: x is (outer, n, inner), y (outer, m, inner)
def over_positions(
    name: str, buffers: tuple[Buffer, ...], last: bool, cell: Callable[..., tuple[Statement, ...]]
) -> Kernel:
    """cell(o, start, step, at): what a result is, by its position, where x[…, 0, …] is, a position's step, its place.

    Of the last dimension positions are run through at once, of others what lies within a position.
    """
    t, i, n, m, inner = var("t"), var("i"), var("n"), var("m"), var("inner")
    if last:
        body = For(i, ZERO, m, cell(i, t * n, None, t * m + i), vector=True)
        outer = For(t, ZERO, var("outer"), (body,), parallel=True)
    else:
        o, b = var("o"), var("b")
        body = For(i, ZERO, inner, cell(o, b * n * inner + i, inner, t * inner + i), vector=True)
        lets = Let(b, idiv(t, m)), Let(o, irem(t, m))
        outer = For(t, ZERO, var("outer") * m, (*lets, body), parallel=True)
    return Kernel(name, (*buffers, *SIZES), (outer,))


def place_of(k: Expr, o: Expr) -> Expr:
    return cast(load("places", "i32", k * var("m") + o), "i64")


@generated
def sum_kernel(
    source: str, result: str, inner: str, last: bool, taps: int, weighted: bool, divided: bool, ragged: bool
) -> Kernel:
    """y[o] = Σ_k w[k, o] x[places[k, o]] / d[o]; `taps` 0: as many as a parameter says."""

    def element(k: Expr, o: Expr, start: Expr, step: Expr | None) -> Expr:
        place = place_of(k, o)
        inside = maximum(place, 0) if ragged else place
        value = cast(load("x", source, start + (inside if step is None else inside * step)), inner)
        if weighted:
            value = load("weights", inner, k * var("m") + o) * value
        return where(place >= 0, value, const(0, inner)) if ragged else value

    def cell(o: Expr, start: Expr, step: Expr | None, at: Expr) -> tuple[Statement, ...]:
        k, total = var("k"), var("total", inner)
        before: tuple[Statement, ...] = ()
        if taps:
            found = element(ZERO, o, start, step)
            for tap in range(1, taps):
                found = found + element(const(tap, "i64"), o, start, step)
        else:
            added = total + element(k, o, start, step)
            before = (Reduce(k, ZERO, var("taps"), (Accumulator(total, const(0, inner)),), (added,), lanes=1),)
            found = total
        found = found / load("divisors", inner, o) if divided else found
        return *before, Store("y", at, cast(found, result))

    buffers = [Buffer("x", source), Buffer("y", result, "w"), Buffer("places", "i32")]
    buffers += [Buffer("weights", inner)] * weighted + [Buffer("divisors", inner)] * divided
    return over_positions("separable", tuple(buffers), last, cell)


@generated
def max_kernel(dtype: str, last: bool, first: bool) -> Kernel:
    """y[o] = max_k x[places[k, o]] and where that was (the first of equals; NaN wins); `first`: of x itself."""
    inner = computation(dtype)
    floats, signed = IR[inner].kind == "f", IR[inner].kind == "i"
    lowest = -math.inf if floats else -(2 ** (8 * IR[inner].size - 1)) if signed else 0

    def cell(o: Expr, start: Expr, step: Expr | None, at: Expr) -> tuple[Statement, ...]:
        k, best, found = var("k"), var("best", inner), var("found", "i32")
        place = place_of(k, o)
        source = start + (maximum(place, 0) if step is None else maximum(place, 0) * step)
        value = cast(load("x", dtype, source), inner)
        beats = (value > best) | isnan(value) if floats else value > best
        takes = (place >= 0) & (beats | (found < 0))
        here = cast(place * var("stride"), "i32")
        here = here if first else here + load("was", "i32", source)
        accumulators = Accumulator(best, const(lowest, inner)), Accumulator(found, const(-1, "i32"))
        steps = where(takes, value, best), where(takes, here, found)
        fold = Reduce(k, ZERO, var("taps"), accumulators, steps, lanes=1)
        return fold, Store("y", at, cast(best, dtype)), Store("at", at, found)

    buffers = [Buffer("x", dtype), Buffer("y", dtype, "w"), Buffer("at", "i32", "w")]
    buffers += [] if first else [Buffer("was", "i32")]
    kernel = over_positions("separable_max", (*buffers, Buffer("places", "i32")), last, cell)
    return Kernel(kernel.name, (*kernel.params, Scalar("stride")), kernel.body)


# ---- all dimensions, from the last
class Pass(NamedTuple):
    """The maps of neighbouring dimensions that are gone through at once, the first of them, and the shapes."""

    maps: tuple[Map, ...]
    at: int
    before: tuple[int, ...]
    after: tuple[int, ...]


def short(before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether dimensions are best gone through at once: vectors would be short, and the table isn't long."""
    return after[-1] < SHORT and math.prod(after) <= FEW and math.prod(before) <= 8 * FEW


def passes(
    shape: Sequence[int], maps: Sequence[Map | None], transposed: bool, order: Sequence[int] | None = None
) -> list[Pass]:
    """What is gone through one after the other: the dimensions in order, from the last, or all at once if short."""
    now, found, lead = tuple(shape), [], len(shape) - len(maps)
    given = [map for map in maps if map is not None]
    after = (*now[:lead], *lengths(given, transposed))
    if len(given) == len(maps) > 1 and short(now[lead:], after[lead:]):
        return [Pass(tuple(given), lead, (*now[:lead], math.prod(now[lead:])), after)]
    for d in reversed(range(len(maps))) if order is None else order:
        map = maps[d]
        if map is not None:
            at = lead + d
            after = (*now[:at], map.n if transposed else map.m, *now[at + 1 :])
            found.append(Pass((map,), at, now, after))
            now = after
    return found


def order_of(maps: Sequence[Map | None], transposed: bool) -> Sequence[int]:
    """The last dimension, whose elements are gathered one by one, comes while the others are at their shortest."""
    shrink = math.prod((m.n / m.m if transposed else m.m / m.n) if m.n and m.m else 1.0 for m in maps[:-1] if m) < 1
    return range(len(maps)) if shrink else range(len(maps))[::-1]


def numbers(part: Pass, tail: int, taps: int) -> tuple[int, ...]:
    at, now, after = part.at, part.before, part.after
    m = math.prod(after[at : at + len(part.maps)])
    return math.prod(now[:at]), now[at], m, math.prod(now[at + 1 :]) * tail, taps


def step(address: int, tensors: tuple[int, ...], addresses: list[int], sizes: tuple, rest: tuple, last: bool) -> Step:
    outer, _, m, inner, taps = sizes
    rows, work = outer * (1 if last else m), outer * m * inner * taps
    grain = max(1, WORK * rows // max(1, work))
    return Step(address, tensors, (*addresses, *sizes, *rest), rows if work else 0, grain, work)


def separable_vjp(ctx: Any, g: Tensor) -> Tensor:
    maps, transposed = ctx.note
    return separable(g, maps, not transposed)


@planned_primitive(separable_vjp)
def separable(x, maps, transposed):
    """The last dimensions of x mapped, those whose map is None left out; or through the maps' transposes."""
    todo = passes(x.shape, maps, transposed, order_of(maps, transposed))
    tail = 2 if x.is_complex() else 1
    dtype = {"c64": "f32", "c128": "f64"}.get(x.dtype.ir, x.dtype.ir)
    inner = computation(dtype)
    made: list[tuple[Any, Any]] = [(todo[-1].after, x.dtype)]
    steps, held = [], []
    read, source = 0, dtype
    for number, part in enumerate(todo):
        ends = number == len(todo) - 1
        found = table(part.maps, transposed, DTYPES[9] if inner == "f64" else DTYPES[8])
        copies = found.taps == 1 and not (found.ragged or found.weights is not None or found.divisors is not None)
        place, kept = (1, dtype) if ends else (1 + len(made), inner if not copies else source)
        if not ends:
            made.append((part.after, x.dtype if tail == 2 or kept == dtype else DTYPES[8]))
        sizes = numbers(part, tail, found.taps)
        last = sizes[3] == 1
        if copies and source == kept:
            bits = BITS[IR[source].size]
            address = sum_kernel(bits, bits, bits, last, 1, False, False, False)
        else:
            taps = found.taps if found.taps <= UNROLLED else 0
            how = found.weights is not None, found.divisors is not None, found.ragged
            address = sum_kernel(source, kept, inner, last, taps, *how)
        tensors = [t for t in found[1:4] if t is not None]
        held += tensors
        steps.append(step(address, (read, place), [t.data_ptr() for t in tensors], sizes, (), last))
        read, source = place, kept
    return Plan(made, *steps, keep=1, note=(maps, transposed), held=tuple(held))


# ---- maxima
def places_back_vjp(ctx: Any, g: Tensor) -> Any:
    (at,) = ctx.saved
    lead = at.shape[: at.ndim - ctx.note]
    return gather(g.reshape((*lead, -1)), -1, at.reshape((*lead, -1)).long()).reshape(at.shape), None


@generated
def places_back_kernel(dtype: str) -> Kernel:
    """x = 0, then x[at[o]] += g[o] in the order of o, part by part."""
    inner = computation(dtype)
    p, i, o, size, count = var("p"), var("i"), var("o"), var("size"), var("count")
    place = p * size + cast(load("at", "i32", p * count + o), "i64")
    total = cast(cast(load("x", dtype, place), inner) + cast(load("g", dtype, p * count + o), inner), dtype)
    body = (
        For(i, ZERO, size, (Store("x", p * size + i, cast(const(0, inner), dtype)),), vector=True),
        For(o, ZERO, count, (Store("x", place, total),)),
    )
    buffers = Buffer("g", dtype), Buffer("at", "i32"), Buffer("x", dtype, "rw")
    sizes = Scalar("parts"), Scalar("size"), Scalar("count")
    return Kernel("max_unpool", (*buffers, *sizes), (For(p, ZERO, var("parts"), body, parallel=True),))


@planned_primitive(places_back_vjp, name="max_unpool")
def places_back(g, at, sizes):
    """g written back to the places that maxima of the last dimensions came from; several in one place add up."""
    lead = tuple(g.shape[: g.ndim - len(sizes)])
    parts, size = math.prod(lead), math.prod(sizes)
    count = g.numel() // max(1, parts)
    work = parts * (size + 8 * count)
    grain = max(1, WORK * parts // max(1, work))
    launch = Step(places_back_kernel(g.dtype.ir), (0, 1, 2), (parts, size, count), parts if size else 0, grain, work)
    return Plan([((*lead, *sizes), g.dtype)], launch, saves=(1,), note=len(sizes))


def maxima_vjp(ctx: Any, g: Tensor, _: Any = None) -> Tensor:
    (at,) = ctx.saved
    return places_back(g, at, ctx.note)


@planned_primitive(maxima_vjp)
def maxima(x, maps):
    """The largest element of each box of the last dimensions, and its place among the elements of those, as int32."""
    todo = passes(x.shape, maps, False)
    shape = todo[-1].after
    made: list[tuple[Any, Any]] = [(shape, x.dtype), (shape, INT32)]
    steps, held = [], []
    read: tuple[int, ...] = (0,)
    for number, part in enumerate(todo):
        found = table(part.maps, False, FLOAT64)
        held.append(found.places)
        write = 1, 2
        if number < len(todo) - 1:
            write = 1 + len(made), 2 + len(made)
            made += [(part.after, x.dtype), (part.after, INT32)]
        sizes = numbers(part, 1, found.taps)
        address = max_kernel(x.dtype.ir, sizes[3] == 1, number == 0)
        below = math.prod(x.shape[part.at + len(part.maps) :])
        tensors = (read[0], *write, *read[1:])
        steps.append(step(address, tensors, [found.places.data_ptr()], sizes, (below,), sizes[3] == 1))
        read = write
    return Plan(made, *steps, keep=2, saves=(2,), note=tuple(x.shape[x.ndim - len(maps) :]), held=tuple(held))
