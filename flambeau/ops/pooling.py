"""Pooling over the last two dimensions: maxima with their places, and means. Imports core, ir and neighbours in ops.

Kernels are specialised by the window's geometry, never by sizes. Backward passes write plane by plane in the order of
the outputs, so results don't depend on threads.
"""

from __future__ import annotations

import math
from typing import Any

from ..core._core import DTYPES, Plan, Step, Tensor
from ..ir.expr import DTYPES as IR
from ..ir.expr import Expr, as_expr, cast, const, idiv, irem, isnan, load, maximum, minimum, var, where
from ..ir.kernel import Accumulator, Buffer, For, Kernel, Let, Reduce, Scalar, Statement, Store
from .arguments import ntuple, remembered
from .gather import gather
from .matmul import matmul
from .primitive import generated, planned, primitive
from .ranges import arange
from .reduce import mean
from .typed import computation

INT32 = DTYPES[4]
PLANES, H, W, OH, OW = (var(n) for n in ("planes", "h", "w", "oh", "ow"))
SIZES = tuple(Scalar(n) for n in ("planes", "h", "w", "oh", "ow"))
WORK = 16384


def window_loop(name: str, buffers: tuple[Buffer, ...], cell: Any) -> Kernel:
    """A kernel over output rows, vectorised along them; cell(plane, oh, ow, place) gives one output's statements."""
    t, i, plane, row = var("t"), var("i"), var("plane"), var("row")
    body = For(i, const(0, "i64"), OW, cell(plane, row, i, t * OW + i), vector=True)
    outer = For(t, const(0, "i64"), PLANES * OH, (Let(plane, idiv(t, OH)), Let(row, irem(t, OH)), body), parallel=True)
    return Kernel(name, (*buffers, *SIZES), (outer,))


def taps(geometry: tuple, row: Expr, col: Expr) -> list[tuple[Expr, Expr, Expr]]:
    """For each element of a window: whether it is inside, and its row and column, clamped so that a load is safe."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = geometry
    found = []
    for a in range(kh):
        y = row * sh + (a * dh - ph)
        for b in range(kw):
            x = col * sw + (b * dw - pw)
            inside = (y >= 0) & (y < H) & (x >= 0) & (x < W)
            found.append((inside, maximum(minimum(y, H - 1), 0), maximum(minimum(x, W - 1), 0)))
    return found


def unpadded(geometry: tuple, ceil_mode: bool) -> bool:
    """Whether every window lies inside whatever the sizes."""
    return geometry[2] == (0, 0) and not ceil_mode


@generated
def max_kernel(dtype: str, geometry: tuple, ceil_mode: bool) -> Kernel:
    """y = max over a window, at = its place in the plane (the first of equals; NaN wins)."""
    inner = computation(dtype)
    start = -float("inf") if IR[inner].kind == "f" else -(2 ** (8 * IR[inner].size - 1)) if IR[inner].kind == "i" else 0
    safe = unpadded(geometry, ceil_mode)

    def cell(plane: Expr, row: Expr, col: Expr, place: Expr) -> tuple[Statement, ...]:
        best: Expr = const(start, inner)
        at: Expr = const(-1, "i32")
        for k, (inside, y, x) in enumerate(taps(geometry, row, col)):
            flat = y * W + x
            if safe:
                (_, kw), (sh, sw), _, (dh, dw) = geometry
                flat = (row * sh + k // kw * dh) * W + (col * sw + k % kw * dw)
            value = cast(load("x", dtype, plane * (H * W) + flat), inner)
            wins = (value > best) | isnan(value) if IR[inner].kind == "f" else value > best
            first = at < 0
            takes = (wins | first) if safe else inside & (wins | first)
            best, at = where(takes, value, best), where(takes, cast(flat, "i32"), at)
        return Store("y", place, cast(best, dtype)), Store("at", place, at)

    return window_loop("max_pool", (Buffer("x", dtype), Buffer("y", dtype, "w"), Buffer("at", "i32", "w")), cell)


@generated
def unpool_kernel(dtype: str) -> Kernel:
    """x = 0, then x[at[o]] += g[o] in the order of o, plane by plane."""
    inner = computation(dtype)
    p, i, o = var("p"), var("i"), var("o")
    place = p * (H * W) + cast(load("at", "i32", p * (OH * OW) + o), "i64")
    total = cast(cast(load("x", dtype, place), inner) + cast(load("g", dtype, p * (OH * OW) + o), inner), dtype)
    body = (
        For(i, const(0, "i64"), H * W, (Store("x", p * (H * W) + i, cast(const(0, inner), dtype)),), vector=True),
        For(o, const(0, "i64"), OH * OW, (Store("x", place, total),)),
    )
    buffers = Buffer("g", dtype), Buffer("at", "i32"), Buffer("x", dtype, "rw")
    return Kernel("max_unpool", (*buffers, *SIZES), (For(p, const(0, "i64"), PLANES, body, parallel=True),))


def count_of(geometry: tuple, row: Expr, col: Expr, include_pad: bool, dtype: str) -> Expr:
    """How many elements a mean divides by: those inside, or those within the padding too."""
    (kh, kw), (sh, sw), (ph, pw), _ = geometry
    y, x = row * sh - ph, col * sw - pw
    y1, x1 = minimum(y + kh, H + ph), minimum(x + kw, W + pw)
    if not include_pad:
        y, x, y1, x1 = maximum(y, 0), maximum(x, 0), minimum(y1, H), minimum(x1, W)
    return cast((y1 - y) * (x1 - x), dtype)


@generated
def mean_kernel(dtype: str, geometry: tuple, include_pad: bool, divisor: int | None) -> Kernel:
    """y = the sum over a window / how many."""
    inner = computation(dtype)

    def cell(plane: Expr, row: Expr, col: Expr, place: Expr) -> tuple[Statement, ...]:
        total: Expr = const(0, inner)
        for inside, y, x in taps(geometry, row, col):
            value = cast(load("x", dtype, plane * (H * W) + y * W + x), inner)
            total = total + where(inside, value, const(0, inner))
        count = const(divisor, inner) if divisor else count_of(geometry, row, col, include_pad, inner)
        return (Store("y", place, cast(total / count, dtype)),)

    return window_loop("avg_pool", (Buffer("x", dtype), Buffer("y", dtype, "w")), cell)


@generated
def mean_back_kernel(dtype: str, geometry: tuple, include_pad: bool, divisor: int | None) -> Kernel:
    """x[h, w] = Σ g / count over the windows that hold (h, w), in the order of the windows."""
    (kh, kw), (sh, sw), (ph, pw), _ = geometry
    inner = computation(dtype)
    t, i, plane, row, r, total = var("t"), var("i"), var("plane"), var("row"), var("r"), var("total", inner)
    # Windows a with a · s - p <= h < a · s - p + k.
    first_row = idiv(maximum(row + (ph - kh + sh), 0), as_expr(sh))
    last_row = minimum(idiv(row + ph, as_expr(sh)) + 1, OH)
    wide = -(-kw // sw)
    first_col = idiv(maximum(i + (pw - kw + sw), 0), as_expr(sw))
    value: Expr = const(0, inner)
    for k in range(wide):
        col = first_col + k
        inside = (col * sw - pw <= i) & (i < col * sw - pw + kw) & (col < OW)
        count = const(divisor, inner) if divisor else count_of(geometry, r, col, include_pad, inner)
        g = cast(load("g", dtype, (plane * OH + r) * OW + minimum(col, OW - 1)), inner)
        value = value + where(inside, g / count, const(0, inner))
    rows = Reduce(r, first_row, last_row, (Accumulator(total, const(0, inner)),), (total + value,), lanes=1)
    inner_loop = For(i, const(0, "i64"), W, (rows, Store("x", t * W + i, cast(total, dtype))), vector=True)
    outer = For(
        t, const(0, "i64"), PLANES * H, (Let(plane, idiv(t, H)), Let(row, irem(t, H)), inner_loop), parallel=True
    )
    return Kernel("avg_pool_backward", (Buffer("g", dtype), Buffer("x", dtype, "w"), *SIZES), (outer,))


def sizes_of(x: Tensor, out: tuple[int, int]) -> tuple[int, int, int, int, int]:
    h, w = x.shape[-2:]
    return x.numel() // max(1, h * w), h, w, *out


def pool_step(address: int, tensors: tuple[int, ...], sizes: tuple, rows: int, work: int) -> Step:
    return Step(address, tensors, sizes, rows if work else 0, max(1, WORK * rows // max(1, work)), work)


@planned()
def unpool_planned(g: Tensor, at: Tensor, plane: tuple[int, int]) -> Plan:
    shape = (*g.shape[:-2], *plane)
    planes = math.prod(shape[:-2])
    work = (math.prod(shape) + 8 * g.numel()) if math.prod(shape) else 0
    step = pool_step(unpool_kernel(g.dtype.ir), (0, 1, 2), (planes, *plane, *g.shape[-2:]), planes, work)
    return Plan([(shape, g.dtype)], step)


@planned()
def max_planned(x: Tensor, geometry: tuple, out: tuple[int, int], ceil_mode: bool) -> Plan:
    shape, sizes = (*x.shape[:-2], *out), sizes_of(x, out)
    work = math.prod(shape) * geometry[0][0] * geometry[0][1]
    step = pool_step(max_kernel(x.dtype.ir, geometry, ceil_mode), (0, 1, 2), sizes, sizes[0] * out[0], work)
    return Plan([(shape, x.dtype), (shape, INT32)], step)


@planned()
def mean_planned(x: Tensor, out: tuple[int, int], geometry: tuple, include_pad: bool, divisor: int | None) -> Plan:
    shape, sizes = (*x.shape[:-2], *out), sizes_of(x, out)
    work = math.prod(shape) * geometry[0][0] * geometry[0][1]
    address = mean_kernel(x.dtype.ir, geometry, include_pad, divisor)
    return Plan([(shape, x.dtype)], pool_step(address, (0, 1), sizes, sizes[0] * out[0], work))


@planned()
def mean_back_planned(
    g: Tensor, plane: tuple[int, int], geometry: tuple, include_pad: bool, divisor: int | None
) -> Plan:
    shape = (*g.shape[:-2], *plane)
    planes = math.prod(shape[:-2])
    address = mean_back_kernel(g.dtype.ir, geometry, include_pad, divisor)
    step = pool_step(address, (0, 1), (planes, *plane, *g.shape[-2:]), planes * plane[0], 4 * math.prod(shape))
    return Plan([(shape, g.dtype)], step)


def unpool_vjp(ctx: Any, g: Tensor) -> Tensor:
    (at,) = ctx.saved
    flat = gather(g.reshape((*g.shape[:-2], -1)), -1, at.reshape((*at.shape[:-2], -1)).long())
    return flat.reshape(at.shape), None


@primitive(unpool_vjp, name="max_unpool")
def unpool(ctx, g, at, plane):
    """g written back to the places that maxima came from; several in one place add up."""
    ctx.save(at)
    return unpool_planned(g, at, plane)


def max_vjp(ctx: Any, g: Tensor, _: Any = None) -> Tensor:
    (at,) = ctx.saved
    return unpool(g, at, tuple(ctx.shape[-2:]))


@primitive(max_vjp, name="max_pool2d_with_indices")
def max_pool(ctx, x, geometry, out, ceil_mode):
    """Maxima of windows, and their places as int32."""
    y, at = max_planned(x, geometry, out, ceil_mode)
    ctx.shape = x.shape
    ctx.save(at)
    return y, at


def mean_vjp(ctx: Any, g: Tensor) -> Tensor:
    return mean_back(g, tuple(ctx.shape[-2:]), ctx.geometry, ctx.include_pad, ctx.divisor)


@primitive(mean_vjp, name="avg_pool2d_windows")
def mean_pool(ctx, x, out, geometry, include_pad, divisor):
    """Means of windows."""
    ctx.shape, ctx.geometry, ctx.include_pad, ctx.divisor = x.shape, geometry, include_pad, divisor
    return mean_planned(x, out, geometry, include_pad, divisor)


def mean_back_vjp(ctx: Any, g: Tensor) -> Tensor:
    return mean_pool(g, tuple(ctx.shape[-2:]), ctx.geometry, ctx.include_pad, ctx.divisor)


@primitive(mean_back_vjp, name="avg_pool2d_backward")
def mean_back(ctx, g, plane, geometry, include_pad, divisor):
    """The transpose of taking means of windows."""
    ctx.shape, ctx.geometry, ctx.include_pad, ctx.divisor = g.shape, geometry, include_pad, divisor
    return mean_back_planned(g, plane, geometry, include_pad, divisor)


@remembered
def windows(
    name: str, shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[tuple, tuple[int, int]]:
    """(geometry, output size) of a pooling, checked."""
    if len(shape) not in (3, 4):
        raise RuntimeError(f"{name}: expected (C, H, W) or (N, C, H, W), got shape {list(shape)}")
    kernel = ntuple(kernel_size, 2, f"{name}: kernel_size")
    strides = kernel if stride is None or stride in ([], ()) else ntuple(stride, 2, f"{name}: stride")
    pads, dilations = ntuple(padding, 2, f"{name}: padding"), ntuple(dilation, 2, f"{name}: dilation")
    if any(v < 1 for v in (*kernel, *strides, *dilations)):
        raise RuntimeError(
            f"{name}: kernel_size, stride and dilation must be positive, got {kernel}, {strides}, {dilations}"
        )
    out = []
    for size, k, s, p, d in zip(shape[-2:], kernel, strides, pads, dilations, strict=True):
        if p < 0 or p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"{name}: pad should be at most half of effective kernel size, but got pad={p}, kernel={k}"
            )
        room = size + 2 * p - d * (k - 1) - 1
        n = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (n - 1) * s >= size + p:
            n -= 1
        if n < 1:
            raise RuntimeError(f"{name}: a window of {d * (k - 1) + 1} doesn't fit into size {size} padded by {p}")
        out.append(n)
    return (kernel, strides, pads, dilations), (out[0], out[1])


def max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False) -> Any:
    """y = the largest element of each window of (N, C, H, W) or (C, H, W); padding counts as -inf.

    >>> fb.ops.max_pool2d(fb.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2)
    tensor([[[4.]]])
    """
    geometry, out = windows("max_pool2d", input.shape, kernel_size, stride, padding, dilation, ceil_mode)
    if input.numel() >= 2**31 and input.shape[-1] * input.shape[-2] >= 2**31:
        raise RuntimeError("max_pool2d: planes of 2^31 elements or more can't be pooled")
    y, at = max_pool(input, geometry, out, ceil_mode)
    return (y, at.long()) if return_indices else y


def avg_pool2d(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
) -> Tensor:
    """y = the mean of each window of (N, C, H, W) or (C, H, W).

    >>> fb.ops.avg_pool2d(fb.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2)
    tensor([[[2.5000]]])
    """
    if divisor_override == 0:
        raise RuntimeError("avg_pool2d: divisor_override must not be zero")
    geometry, out = windows("avg_pool2d", input.shape, kernel_size, stride, padding, 1, ceil_mode)
    return mean_pool(input, out, geometry, bool(count_include_pad), divisor_override)


def averaging(n: int, size: int, like: Tensor) -> Tensor:
    """The (size, n) matrix whose row i takes the mean from ⌊i n / size⌋ to ⌈(i + 1) n / size⌉."""
    at, row = arange(n), arange(size).reshape(-1, 1)
    start, stop = row * n // size, -(-(row + 1) * n // size)
    return ((at >= start) & (at < stop)).to(like.dtype) / (stop - start).to(like.dtype)


def adaptive_avg_pool2d(input, output_size) -> Tensor:
    """Means over `output_size` windows that cover the last two dimensions: from ⌊i H / n⌋ to ⌈(i + 1) H / n⌉.

    >>> fb.ops.adaptive_avg_pool2d(fb.ones(1, 4, 4), 1)
    tensor([[[1.]]])
    """
    if input.ndim not in (3, 4):
        raise RuntimeError(f"adaptive_avg_pool2d: expected (C, H, W) or (N, C, H, W), got shape {list(input.shape)}")
    given = (output_size, output_size) if output_size is None or isinstance(output_size, int) else tuple(output_size)
    h, w = input.shape[-2:]
    oh, ow = h if given[0] is None else given[0], w if given[1] is None else given[1]
    if 0 in input.shape[-3:] or oh < 0 or ow < 0:
        raise RuntimeError(
            f"adaptive_avg_pool2d: channels, height and width can't be empty and output sizes not negative, got shape "
            f"{list(input.shape)} and {(oh, ow)}"
        )
    if (oh, ow) == (1, 1):
        return mean(input, (-2, -1), True)
    if oh and ow and h % oh == 0 and w % ow == 0:
        return avg_pool2d(input, (h // oh, w // ow))
    return matmul(matmul(averaging(h, oh, input), input), averaging(w, ow, input).t())


__all__ = ["adaptive_avg_pool2d", "avg_pool2d", "max_pool2d"]
