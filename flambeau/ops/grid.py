"""grid_sample: the values of an image, or a volume, at positions given one by one.

A table of each position's neighbours and their weights is made first, then every channel is a sum by that table. The
formulas for positions and weights work on symbols, for kernels, and on tensors, for higher derivatives. Imports core,
ir and neighbours in ops. Read next: `separable.py`, where tables follow from geometry alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Plan, Resolution, Step, Tensor
from ..ir import expr as E
from ..ir.expr import Expr, cast, const, eq, idiv, irem, load, maximum, minimum, var
from ..ir.kernel import Accumulator, Buffer, For, Kernel, Let, Reduce, Scalar, Statement, Store
from .gather import gather, scatter_add
from .joining import stack
from .primitive import generated, planned_primitive, resolved
from .reduce import sum
from .resampling import keys_far, keys_near
from .rows import choose
from .table import TABLE
from .typed import computation

INT32, FLOAT32 = DTYPES[4], DTYPES[8]
ZERO = const(0, "i64")
CHUNK = 4096  # positions that a parallel iteration does
GRAIN = 16384
MODES, PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")


# ---- formulas: of positions, for one dimension
def floor(x: Any) -> Any:
    return E.floor(x) if isinstance(x, Expr) else TABLE["floor"](x)


def absolute(x: Any) -> Any:
    return choose(x < 0, -x, x)


def reflected(p: Any, size: Any, align: bool) -> tuple[Any, Any]:
    """p mirrored at both ends as often as it takes, and ∂ by p."""
    low, span = (0.0, size - 1.0) if align else (-0.5, size)
    away = absolute(p - low)
    turns = floor(away / choose(span == 0 if not isinstance(span, Expr) else eq(span, 0.0), 1.0, span))
    rest = away - turns * span
    even = turns - 2.0 * floor(turns / 2.0) < 0.5
    sign = choose(p < low, -1.0, 1.0)
    return choose(even, rest + low, span - rest + low), choose(even, sign, -sign)


def inside_of(p: Any, size: Any, padding: str, align: bool) -> tuple[Any, Any]:
    """A position brought to where there are elements, and its ∂ by p; with zeros as it is."""
    slope: Any = 1.0
    if padding == "reflection":
        p, slope = reflected(p, size, align)
    if padding != "zeros":
        last = size - 1.0
        slope = choose((p > 0) & (p < last), slope, 0.0)
        p = choose(p < last, p, last)
        p = choose(p > 0, p, 0.0)
    return p, slope


def unscaled(x: Any, size: Any, align: bool) -> tuple[Any, Any]:
    """From -1 … 1 to 0 … size - 1, and ∂ by x."""
    return ((x + 1.0) * ((size - 1.0) / 2), (size - 1.0) / 2) if align else ((x + 1.0) * (size / 2) - 0.5, size / 2)


def neighbours(x: Any, size: Any, mode: str, padding: str, align: bool) -> tuple[list[tuple[Any, Any, Any]], Any]:
    """[(place, weight, ∂weight by position), …] along a dimension, and ∂position by x. Places may lie outside."""
    p, step = unscaled(x, size, align)
    if mode == "bicubic":
        low = floor(held(p))
        f = p - low
        weights = keys_far(f + 1.0), keys_near(f), keys_near(1.0 - f), keys_far(2.0 - f)
        slopes = keys_far(f + 1.0, True), keys_near(f, True), -keys_near(1.0 - f, True), -keys_far(2.0 - f, True)
        places = [inside_of(low + (k - 1.0), size, padding, align)[0] for k in range(4)]
        return list(zip(places, weights, slopes, strict=True)), step
    p, slope = inside_of(p, size, padding, align)
    if mode == "nearest":
        nearest = E.round_even(p) if isinstance(p, Expr) else TABLE["round"](held(p))
        return [(nearest, 1.0, 0.0)], 0.0
    low = floor(held(p))
    f = p - low
    return [(low, 1.0 - f, -1.0), (low + 1.0, f, 1.0)], slope * step


def held(x: Any) -> Any:
    """x as what no gradient passes through."""
    return x if isinstance(x, Expr) else x.detach()


def product(factors: Sequence[Any]) -> Any:
    found = factors[0]
    for factor in factors[1:]:
        found = factor if isinstance(found, float) and found == 1.0 else found * factor
    return found


def taps_of(along: Sequence[list[tuple[Any, Any, Any]]]) -> list[tuple[list[Any], Any, list[Any]]]:
    """For each combination of neighbours: places, the weight, and its derivative by the position in each dimension."""
    found = []
    for chosen in itertools.product(*along):
        weights = [weight for _, weight, _ in chosen]
        slopes = [product([*weights[:d], slope, *weights[d + 1 :]]) for d, (_, _, slope) in enumerate(chosen)]
        found.append(([place for place, _, _ in chosen], product(weights), slopes))
    return found


# ---- kernels
def over_chunks(name: str, buffers: Sequence[Buffer], scalars: Sequence[str], parts: Expr, cell: Any) -> Kernel:
    """cell(part, i): the statements of position i; parallel over parts and chunks of positions."""
    t, i, part, first, chunks, count = var("t"), var("i"), var("part"), var("first"), var("chunks"), var("count")
    body = For(i, first, minimum(first + CHUNK, count), cell(part, i), vector=True)
    lets = Let(part, idiv(t, chunks)), Let(first, irem(t, chunks) * CHUNK)
    names = [Scalar(n) for n in (*scalars, "count", "chunks", "parts")]
    return Kernel(name, (*buffers, *names), (For(t, ZERO, parts * chunks, (*lets, body), parallel=True),))


@generated
def table_kernel(dtype: str, n: int, mode: str, padding: str, align: bool, slopes: bool) -> Kernel:
    """For each position of each sample: its taps' places, -1 outside, and weights; and derivatives by the grid."""
    inner = computation(dtype)
    sizes = [var(f"size{d}") for d in range(n)]

    def cell(part: Expr, i: Expr) -> tuple[Statement, ...]:
        along, steps = [], []
        for d, size in enumerate(sizes):
            x = cast(load("grid", dtype, (part * var("count") + i) * n + (n - 1 - d)), inner)
            found, step = neighbours(x, cast(size, inner), mode, padding, align)
            along.append(found)
            steps.append(step)
        taps = taps_of(along)
        stores: list[Statement] = []
        for k, (places, weight, slope) in enumerate(taps):
            flat: Expr = ZERO
            within: Expr | None = None
            for place, size in zip(places, sizes, strict=True):
                here = (place >= 0) & (place <= cast(size - 1, inner))
                within = here if within is None else within & here
                flat = flat * size + maximum(minimum(cast(place, "i64"), size - 1), 0)
            at = (part * len(taps) + k) * var("count") + i
            assert within is not None
            stores.append(Store("places", at, cast(E.where(within, flat, const(-1, "i64")), "i32")))
            stores.append(Store("weights", at, as_dtype(weight, inner)))
            if slopes:
                for d in range(n):
                    at = ((part * n + d) * len(taps) + k) * var("count") + i
                    stores.append(Store("slopes", at, as_dtype(slope[d] * steps[d], inner)))
        return tuple(stores)

    buffers = [Buffer("grid", dtype), Buffer("places", "i32", "w"), Buffer("weights", inner, "w")]
    buffers += [Buffer("slopes", inner, "w")] * slopes
    return over_chunks("grid_table", buffers, [f"size{d}" for d in range(n)], var("parts"), cell)


def as_dtype(x: Any, dtype: str) -> Expr:
    return x if isinstance(x, Expr) else const(x, dtype)


def tap(k: int, taps: int, sample: Expr, plane: Expr, i: Expr, dtype: str) -> tuple[Expr, Expr]:
    """Where tap k of position i stands in its table, and its element in a plane; 0 outside."""
    inner = computation(dtype)
    at = (sample * taps + k) * var("count") + i
    place = cast(load("places", "i32", at), "i64")
    value = cast(load("x", dtype, plane * var("size") + maximum(place, 0)), inner)
    return at, E.where(place >= 0, value, const(0, inner))


@generated
def sample_kernel(dtype: str, taps: int) -> Kernel:
    """y[o] = Σ_k w[k, o] x[place[k, o]], plane by plane."""
    inner = computation(dtype)

    def cell(plane: Expr, i: Expr) -> tuple[Statement, ...]:
        total: Expr = const(0, inner)
        for k in range(taps):
            at, value = tap(k, taps, idiv(plane, var("channels")), plane, i, dtype)
            total = total + load("weights", inner, at) * value
        return (Store("y", plane * var("count") + i, cast(total, dtype)),)

    buffers = Buffer("x", dtype), Buffer("y", dtype, "w"), Buffer("places", "i32"), Buffer("weights", inner)
    return over_chunks("grid_sample", buffers, ("size", "channels"), var("parts"), cell)


@generated
def spread_kernel(dtype: str, taps: int) -> Kernel:
    """x = 0, then x[place[k, o]] += w[k, o] g[o] in the order of o and k, plane by plane."""
    inner = computation(dtype)
    p, i, o, k, size, count = var("p"), var("i"), var("o"), var("k"), var("size"), var("count")
    at = (idiv(p, var("channels")) * taps + k) * count + o
    place = cast(load("places", "i32", at), "i64")
    target = p * size + maximum(place, 0)
    added = load("weights", inner, at) * cast(load("g", dtype, p * count + o), inner)
    added = E.where(place >= 0, added, const(0, inner))
    body = (
        For(i, ZERO, size, (Store("dx", p * size + i, const(0, inner)),), vector=True),
        For(o, ZERO, count, (
            For(k, ZERO, const(taps, "i64"), (Store("dx", target, load("dx", inner, target) + added),)),
        )),
    )  # fmt: skip
    buffers = Buffer("g", dtype), Buffer("dx", inner, "rw"), Buffer("places", "i32"), Buffer("weights", inner)
    scalars = tuple(Scalar(name) for name in ("size", "channels", "count", "parts"))
    return Kernel("grid_spread", (*buffers, *scalars), (For(p, ZERO, var("parts"), body, parallel=True),))


@generated
def slope_kernel(dtype: str, taps: int, n: int) -> Kernel:
    """∂grid[o, d] = Σ_c g[c, o] Σ_k slope[d, k, o] x[c, place[k, o]], sample by sample."""
    inner = computation(dtype)

    def cell(sample: Expr, i: Expr) -> tuple[Statement, ...]:
        c, count = var("c"), var("count")
        plane = sample * var("channels") + c
        g = cast(load("g", dtype, plane * count + i), inner)
        values = [tap(k, taps, sample, plane, i, dtype)[1] for k in range(taps)]
        accumulators, steps = [], []
        for d in range(n):
            total = var(f"total{d}", inner)
            change: Expr = const(0, inner)
            for k, value in enumerate(values):
                change = change + load("slopes", inner, ((sample * n + d) * taps + k) * count + i) * value
            accumulators.append(Accumulator(total, const(0, inner)))
            steps.append(total + g * change)
        fold = Reduce(c, ZERO, var("channels"), tuple(accumulators), tuple(steps), lanes=1)
        stores = [
            Store("dgrid", (sample * count + i) * n + (n - 1 - d), cast(accumulators[d].var, dtype)) for d in range(n)
        ]
        return fold, *stores

    buffers = [Buffer("g", dtype), Buffer("x", dtype), Buffer("dgrid", dtype, "w"), Buffer("places", "i32")]
    return over_chunks("grid_slope", [*buffers, Buffer("slopes", inner)], ("size", "channels"), var("parts"), cell)


# ---- ops
def geometry(x: Tensor, grid: Tensor, mode: str) -> tuple[int, int, int, int, int, int, Any]:
    """Dimensions, taps, samples, channels, elements of a plane, positions, and the dtype of tables."""
    n = x.ndim - 2
    taps = {"nearest": 1, "bilinear": 2, "bicubic": 4}[mode] ** n
    count, size = math.prod(grid.shape[1:-1]), math.prod(x.shape[2:])
    return n, taps, x.shape[0], x.shape[1], size, count, FLOAT32 if x.dtype.itemsize == 2 else x.dtype


def chunked(address: int, tensors: tuple[int, ...], numbers: tuple, parts: int, count: int, work: int) -> Step:
    chunks = -(-count // CHUNK)
    rows = parts * chunks
    grain = max(1, GRAIN * rows // max(1, parts * count * work))
    return Step(address, tensors, (*numbers, count, chunks, parts), rows, grain, parts * count * work)


def grid_sample_vjp(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
    x, grid = ctx.saved
    if _core.is_grad_enabled():
        return composed_vjp(g, x, grid, *ctx.note)
    return grid_sample_backward(g, x, grid, *ctx.note)


@planned_primitive(grid_sample_vjp, name="grid_sampler")
def sampled(x, grid, mode, padding, align):
    """x (N, C, …) at the positions grid (N, …, dimensions)."""
    n, taps, samples, channels, size, count, wide = geometry(x, grid, mode)
    sizes, dtype = tuple(x.shape[2:]), x.dtype.ir
    shape = (samples, channels, *grid.shape[1:-1])
    made = [(shape, x.dtype), ((samples, taps, count), INT32), ((samples, taps, count), wide)]
    table = table_kernel(dtype, n, mode, padding, align, False)
    first = chunked(table, (1, 3, 4), sizes, samples, count, 8 * taps)
    second = chunked(sample_kernel(dtype, taps), (0, 2, 3, 4), (size, channels), samples * channels, count, taps)
    return Plan(made, first, second, keep=1, saves=(0, 1), note=(mode, padding, align))


@planned_primitive(name="grid_sampler_backward")
def grid_sample_backward(g, x, grid, mode, padding, align):
    """Gradients of x and of the grid."""
    n, taps, samples, channels, size, count, wide = geometry(x, grid, mode)
    dtype, planes, cells = x.dtype.ir, samples * channels, (samples, taps, count)
    made = [(x.shape, wide), (grid.shape, grid.dtype), (cells, INT32), (cells, wide), ((n, *cells), wide)]
    address = table_kernel(dtype, n, mode, padding, align, True)
    table = chunked(address, (2, 5, 6, 7), tuple(x.shape[2:]), samples, count, 8 * taps)
    work = planes * (size + 8 * taps * count)
    spread = Step(
        spread_kernel(dtype, taps), (0, 3, 5, 6), (size, channels, count, planes), planes,
        max(1, GRAIN * planes // max(1, work)), work,
    )  # fmt: skip
    numbers = (size, channels)
    slope = chunked(slope_kernel(dtype, taps, n), (0, 1, 4, 5, 7), numbers, samples, count, taps * channels)
    return Plan(made, table, spread, slope, keep=2)


def composed_vjp(g: Tensor, x: Tensor, grid: Tensor, mode: str, padding: str, align: bool) -> tuple[Tensor, Tensor]:
    """The same in terms of other ops."""
    sizes = x.shape[2:]
    found = [neighbours(grid[..., -1 - d], float(size), mode, padding, align) for d, size in enumerate(sizes)]
    flat, g = x.reshape((*x.shape[:2], -1)), g.reshape((*g.shape[:2], -1))
    dx, slopes = flat * 0, [grid[..., 0].reshape((grid.shape[0], -1)) * 0 for _ in sizes]
    for places, weight, changes in taps_of([along for along, _ in found]):
        index, within = 0, None
        for place, size in zip(places, sizes, strict=True):
            here = (place >= 0) & (place <= size - 1)
            within = here if within is None else within & here
            index = index * size + TABLE["clamp"](place, 0, size - 1).detach().long()
        index = index.reshape((x.shape[0], 1, -1)).expand((*flat.shape[:2], -1))
        share = within.to(x.dtype).reshape((x.shape[0], 1, -1))
        moved = g * share
        whole = weight if isinstance(weight, Tensor) else share * 0 + weight
        dx = scatter_add(dx, 2, index, moved * whole.reshape((x.shape[0], 1, -1)))
        values = sum(moved * gather(flat, 2, index), 1)
        for d, change in enumerate(changes):
            change = change.reshape((x.shape[0], -1)) if isinstance(change, Tensor) else change
            slopes[d] = slopes[d] + values * change
    steps = [step.reshape((grid.shape[0], -1)) if isinstance(step, Tensor) else step for _, step in found]
    parts = [(slope * step).reshape(grid.shape[:-1]) for slope, step in zip(slopes, steps, strict=True)]
    return dx.reshape(x.shape), stack(parts[::-1], -1)


@resolved
def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Any:
    """The values of (N, C, H, W) at the positions (N, H′, W′, 2) of `grid`, x before y, both from -1 to 1; or in 3-d.

    Args:
        mode: bilinear, nearest, or, in 2-d, bicubic.
        padding_mode: what lies outside: zeros, border, or reflection.

    >>> x = fb.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> fb.nn.functional.grid_sample(x, fb.tensor([[[[0.0, 0.0], [1.0, -1.0]]]]), align_corners=True)
    tensor([[[[2.5000, 2.0000]]]])
    """
    if mode not in MODES or padding_mode not in PADDINGS:
        raise ValueError(
            "grid_sample: expected mode bilinear, nearest or bicubic, and padding zeros, border or reflection; got "
            f"{mode}, {padding_mode}"
        )
    n = input.ndim - 2
    if n not in (2, 3) or grid.ndim != n + 2 or grid.shape[0] != input.shape[0] or grid.shape[-1] != n:
        raise RuntimeError(
            "grid_sample: expected an input (N, C, H, W) and a grid (N, H′, W′, 2), or (N, C, D, H, W) and "
            f"(N, D′, H′, W′, 3), got {list(input.shape)} and {list(grid.shape)}"
        )
    if mode == "bicubic" and n == 3:
        raise RuntimeError("grid_sample: bicubic is for images, got a volume; use bilinear")
    if 0 in input.shape[2:]:
        raise RuntimeError(f"grid_sample: there is nothing to sample in an input of shape {list(input.shape)}")
    if input.dtype is not grid.dtype or not input.is_floating_point():
        raise RuntimeError(
            f"grid_sample: expected input and grid of one floating dtype, got {input.dtype} and {grid.dtype}"
        )
    return Resolution(sampled, input, grid, mode, padding_mode, bool(align_corners))
