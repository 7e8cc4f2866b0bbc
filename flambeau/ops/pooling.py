"""Pooling: maxima with their places, and means, over windows of the last dimensions.

Windows of one or two dimensions have kernels specialised by the window's geometry, never by sizes; the others are
separable. Backward passes write plane by plane in the order of the outputs, so results don't depend on threads.
Imports core, ir and neighbours in ops. Read next: `separable.py`, `adaptive.py`.
"""

from __future__ import annotations

import math
from typing import Any

from ..core._core import DTYPES, Plan, Resolution, Step, Tensor
from ..ir.expr import DTYPES as IR
from ..ir.expr import Expr, as_expr, cast, const, idiv, irem, isnan, load, maximum, minimum, var, where
from ..ir.kernel import Accumulator, Buffer, For, Kernel, Let, Reduce, Scalar, Statement, Store
from .arguments import Ints, Size, ntuple
from .primitive import generated, planned_primitive, resolved
from .separable import Map, Taken, kind, maxima, maxima_vjp, separable, short
from .typed import computation

INT32 = DTYPES[4]
PLANES, H, W, OH, OW = (var(n) for n in ("planes", "h", "w", "oh", "ow"))
SIZES = tuple(Scalar(n) for n in ("planes", "h", "w", "oh", "ow"))
WORK = 16384


def window_loop(name: str, buffers: tuple[Buffer, ...], geometry: tuple, edges: bool, cell: Any) -> Kernel:
    """A kernel over output rows; cell(plane, oh, ow, place, edge) gives one output's statements.

    With `edges`, which windows reach over, it is vectorised along those outputs whose windows lie inside from left to
    right; the few beside them are taken one by one, as `edge`.
    """
    t, i, plane, row, zero = var("t"), var("i"), var("plane"), var("row"), const(0, "i64")

    def along(start: Expr, stop: Expr, edge: bool) -> For:
        return For(i, start, stop, cell(plane, row, i, t * OW + i, edge), vector=not edge)

    if not edges:
        loops: tuple[For, ...] = (along(zero, OW, False),)
    else:
        (_, kw), (_, sw), (_, pw), (_, dw) = geometry
        first = minimum(const(-(-pw // sw), "i64"), OW)
        last = minimum(maximum(idiv(W + (pw - (kw - 1) * dw - 1 + sw), as_expr(sw)), first), OW)
        loops = along(zero, first, True), along(first, last, False), along(last, OW, True)
    outer = For(t, zero, PLANES * OH, (Let(plane, idiv(t, OH)), Let(row, irem(t, OH)), *loops), parallel=True)
    return Kernel(name, (*buffers, *SIZES), (outer,))


def taps(geometry: tuple, edges: bool, row: Expr, col: Expr, edge: bool) -> list[tuple[Expr | None, Expr, Expr]]:
    """For each element of a window: whether it is inside, None for always, and its row and column, safe to load from.

    Without `edges` all are known to be inside, without `edge` its columns.
    """
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = geometry
    found: list[tuple[Expr | None, Expr, Expr]] = []
    for a in range(kh):
        y = row * sh + (a * dh - ph)
        above = (y >= 0) & (y < H) if edges else None
        y = y if above is None else maximum(minimum(y, H - 1), 0)
        for b in range(kw):
            x = col * sw + (b * dw - pw)
            if edge and above is not None:
                found.append((above & (x >= 0) & (x < W), y, maximum(minimum(x, W - 1), 0)))
            else:
                found.append((above, y, x))
    return found


def has_edges(geometry: tuple, sizes: tuple, out: tuple) -> bool:
    """Whether some window reaches over an edge."""
    ends = zip(*geometry, sizes, out, strict=True)
    return any(p > 0 or (count - 1) * s + (k - 1) * d >= size for k, s, p, d, size, count in ends)


@generated
def max_kernel(dtype: str, geometry: tuple, edges: bool) -> Kernel:
    """y = max over a window, at = its place in the plane (the first of equals; NaN wins)."""
    inner = computation(dtype)
    start = -float("inf") if IR[inner].kind == "f" else -(2 ** (8 * IR[inner].size - 1)) if IR[inner].kind == "i" else 0

    def cell(plane: Expr, row: Expr, col: Expr, place: Expr, edge: bool) -> tuple[Statement, ...]:
        best: Expr = const(start, inner)
        at: Expr = const(-1, "i32")
        for k, (inside, y, x) in enumerate(taps(geometry, edges, row, col, edge)):
            value = cast(load("x", dtype, (plane * H + y) * W + x), inner)
            here = cast(y * W, "i32") + cast(x, "i32")
            if inside is None and k == 0:
                best, at = value, here
                continue
            takes = (value > best) | isnan(value) if IR[inner].kind == "f" else value > best
            takes = takes if inside is None else inside & (takes | (at < 0))
            best, at = where(takes, value, best), where(takes, here, at)
        return Store("y", place, cast(best, dtype)), Store("at", place, at)

    buffers = Buffer("x", dtype), Buffer("y", dtype, "w"), Buffer("at", "i32", "w")
    return window_loop("max_pool", buffers, geometry, edges, cell)


def count_of(geometry: tuple, row: Expr, col: Expr, include_pad: bool, dtype: str) -> Expr:
    """How many elements a mean divides by: those inside, or those within the padding too."""
    (kh, kw), (sh, sw), (ph, pw), _ = geometry
    y, x = row * sh - ph, col * sw - pw
    y1, x1 = minimum(y + kh, H + ph), minimum(x + kw, W + pw)
    if not include_pad:
        y, x, y1, x1 = maximum(y, 0), maximum(x, 0), minimum(y1, H), minimum(x1, W)
    return cast((y1 - y) * (x1 - x), dtype)


@generated
def mean_kernel(dtype: str, geometry: tuple, edges: bool, include_pad: bool, divisor: int | None) -> Kernel:
    """y = the sum over a window / how many."""
    inner = computation(dtype)

    def cell(plane: Expr, row: Expr, col: Expr, place: Expr, edge: bool) -> tuple[Statement, ...]:
        total: Expr = const(0, inner)
        for inside, y, x in taps(geometry, edges, row, col, edge):
            value = cast(load("x", dtype, (plane * H + y) * W + x), inner)
            total = total + (value if inside is None else where(inside, value, const(0, inner)))
        count = const(divisor, inner) if divisor else count_of(geometry, row, col, include_pad, inner)
        return (Store("y", place, cast(total / count, dtype)),)

    buffers = Buffer("x", dtype), Buffer("y", dtype, "w")
    return window_loop("avg_pool", buffers, geometry, edges, cell)


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


def pool_step(address: int, tensors: tuple[int, ...], sizes: tuple, rows: int, work: int) -> Step:
    return Step(address, tensors, sizes, rows if work else 0, max(1, WORK * rows // max(1, work)), work)


def flat(geometry: tuple, *shapes: Any) -> tuple:
    """Geometry and sizes of one dimension as those of two, of which the first is 1."""
    if len(geometry[0]) == 2:
        return geometry, *map(tuple, shapes)
    return tuple((n, *g) for n, g in zip((1, 1, 0, 1), geometry, strict=True)), *((1, *s) for s in shapes)


@planned_primitive(maxima_vjp, name="max_pool2d_with_indices")
def max_pool(x, geometry, out):
    """Maxima of windows over one or two dimensions, and their places as int32."""
    lead, sizes = x.shape[: x.ndim - len(out)], tuple(x.shape[x.ndim - len(out) :])
    shape, planes = (*lead, *out), math.prod(lead)
    geometry, plane, found = flat(geometry, sizes, out)
    work = math.prod(shape) * geometry[0][0] * geometry[0][1]
    address = max_kernel(x.dtype.ir, geometry, has_edges(geometry, plane, found))
    launch = pool_step(address, (0, 1, 2), (planes, *plane, *found), planes * found[0], work)
    return Plan([(shape, x.dtype), (shape, INT32)], launch, saves=(2,), note=sizes)


def mean_vjp(ctx: Any, g: Tensor) -> Tensor:
    return mean_back(g, *ctx.note)


@planned_primitive(mean_vjp, name="avg_pool2d_windows")
def mean_pool(x, out, geometry, include_pad, divisor):
    """Means of windows over one or two dimensions."""
    lead, sizes = x.shape[: x.ndim - len(out)], tuple(x.shape[x.ndim - len(out) :])
    shape, planes = (*lead, *out), math.prod(lead)
    wide, plane, found = flat(geometry, sizes, out)
    address = mean_kernel(x.dtype.ir, wide, has_edges(wide, plane, found), include_pad, divisor)
    work = math.prod(shape) * wide[0][0] * wide[0][1]
    launch = pool_step(address, (0, 1), (planes, *plane, *found), planes * found[0], work)
    return Plan([(shape, x.dtype)], launch, note=(sizes, geometry, include_pad, divisor))


def mean_back_vjp(ctx: Any, g: Tensor) -> Tensor:
    return mean_pool(g, *ctx.note)


@planned_primitive(mean_back_vjp, name="avg_pool2d_backward")
def mean_back(g, sizes, geometry, include_pad, divisor):
    """The transpose of taking means of windows."""
    lead, out = g.shape[: g.ndim - len(sizes)], tuple(g.shape[g.ndim - len(sizes) :])
    shape, planes = (*lead, *sizes), math.prod(lead)
    wide, plane, found = flat(geometry, sizes, out)
    address = mean_back_kernel(g.dtype.ir, wide, include_pad, divisor)
    launch = pool_step(address, (0, 1), (planes, *plane, *found), planes * plane[0], 4 * math.prod(shape))
    return Plan([(shape, g.dtype)], launch, note=(out, geometry, include_pad, divisor))


@kind
def window(i: Any, n: int, m: int, k: int, s: int, p: int, d: int) -> Taken:
    import numpy as np

    places = i * s - p + d * np.arange(k)[:, None]
    return Taken(np.where((places >= 0) & (places < n), places, -1))


@kind
def window_mean(i: Any, n: int, m: int, k: int, s: int, p: int, include_pad: bool, divisor: int | None) -> Taken:
    import numpy as np

    places = window(i, n, m, k, s, p, 1).places
    count = np.minimum(i * s - p + k, n + p) - (i * s - p) if include_pad else (places >= 0).sum(0)
    return Taken(places, None, count * 1.0 if divisor is None else np.full(m, float(divisor)))


LAYOUTS = {1: "(C, L) or (N, C, L)", 2: "(C, H, W) or (N, C, H, W)", 3: "(C, D, H, W) or (N, C, D, H, W)"}


def windows(
    name: str, n: int, shape: Ints, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[tuple, Ints]:
    """(geometry, output size) of a pooling over n dimensions, checked."""
    if len(shape) not in (n + 1, n + 2):
        raise RuntimeError(f"{name}: expected {LAYOUTS[n]}, got shape {list(shape)}")
    kernel = ntuple(kernel_size, n, f"{name}: kernel_size")
    strides = kernel if stride is None or stride in ([], ()) else ntuple(stride, n, f"{name}: stride")
    pads, dilations = ntuple(padding, n, f"{name}: padding"), ntuple(dilation, n, f"{name}: dilation")
    if any(v < 1 for v in (*kernel, *strides, *dilations)):
        raise RuntimeError(
            f"{name}: kernel_size, stride and dilation must be positive, got {kernel}, {strides}, {dilations}"
        )
    out = []
    for size, k, s, p, d in zip(shape[-n:], kernel, strides, pads, dilations, strict=True):
        if p < 0 or p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"{name}: pad should be at most half of effective kernel size, but got pad={p}, kernel={k}"
            )
        room = size + 2 * p - d * (k - 1) - 1
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= size + p:
            count -= 1
        if count < 1:
            raise RuntimeError(f"{name}: a window of {d * (k - 1) + 1} doesn't fit into size {size} padded by {p}")
        out.append(count)
    return (kernel, strides, pads, dilations), tuple(out)


def indexed(op: Any, return_indices: bool, *args: Any) -> Resolution:
    """Maxima alone, or with their places as int64."""
    return Resolution(op, *args, then=with_int64) if return_indices else Resolution(op, *args, pick=0)


def with_int64(found: tuple[Tensor, Tensor], *_: Any) -> tuple[Tensor, Tensor]:
    return found[0], found[1].long()


def expect_places(name: str, shape: Ints, n: int) -> None:
    if math.prod(shape[-n:]) >= 2**31:
        raise RuntimeError(f"{name}: planes of 2^31 elements or more can't be pooled")


def max_pool_of(name: str, n: int, input: Tensor, *how: Any, return_indices: bool) -> Resolution:
    geometry, out = windows(name, n, input.shape, *how)
    expect_places(name, input.shape, n)
    if n < 3 and not short(input.shape[-n:], out):
        return indexed(max_pool, return_indices, input, geometry, out)
    sizes = zip(input.shape[-n:], out, zip(*geometry, strict=True), strict=True)
    return indexed(maxima, return_indices, input, tuple(Map("window", a, b, g) for a, b, g in sizes))


def avg_pool_of(
    name: str, n: int, input: Tensor, kernel_size: Size, stride: Size | None, padding: Size, ceil_mode: bool,
    include_pad: bool, divisor: int | None = None,
) -> Resolution:  # fmt: skip
    if divisor == 0:
        raise RuntimeError(f"{name}: divisor_override must not be zero")
    geometry, out = windows(name, n, input.shape, kernel_size, stride, padding, 1, ceil_mode)
    if n < 3 and not short(input.shape[-n:], out):
        return Resolution(mean_pool, input, out, geometry, bool(include_pad), divisor)
    divisors = [divisor, *[None if divisor is None else 1] * (n - 1)]
    sizes = zip(input.shape[-n:], out, *geometry[:3], divisors, strict=True)
    maps = tuple(Map("window_mean", a, b, (k, s, p, bool(include_pad), d)) for a, b, k, s, p, d in sizes)
    return Resolution(separable, input, maps, False)


@resolved
def max_pool1d(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """Maxima of sliding windows over (N, C, L) or (C, L); with `return_indices` also where they were.

    >>> fb.nn.functional.max_pool1d(fb.tensor([[1.0, 5.0, 2.0, 3.0]]), 2)
    tensor([[5., 3.]])
    """
    how = kernel_size, stride, padding, dilation, ceil_mode
    return max_pool_of("max_pool1d", 1, input, *how, return_indices=return_indices)


@resolved
def max_pool2d(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """y = the largest element of each window of (N, C, H, W) or (C, H, W); padding counts as -inf.

    >>> fb.ops.max_pool2d(fb.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2)
    tensor([[[4.]]])
    """
    how = kernel_size, stride, padding, dilation, ceil_mode
    return max_pool_of("max_pool2d", 2, input, *how, return_indices=return_indices)


@resolved
def max_pool3d(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """Maxima of sliding windows over (N, C, D, H, W) or (C, D, H, W); with `return_indices` also where, flat.

    >>> fb.nn.functional.max_pool3d(fb.arange(8.0).view(1, 2, 2, 2), 2)
    tensor([[[[7.]]]])
    """
    how = kernel_size, stride, padding, dilation, ceil_mode
    return max_pool_of("max_pool3d", 3, input, *how, return_indices=return_indices)


@resolved
def avg_pool1d(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:  # fmt: skip
    """Means of sliding windows over (N, C, L) or (C, L); `count_include_pad` counts the padding zeros.

    >>> fb.nn.functional.avg_pool1d(fb.tensor([[1.0, 5.0, 2.0, 4.0]]), 2)
    tensor([[3., 3.]])
    """
    return avg_pool_of("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


@resolved
def avg_pool2d(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """y = the mean of each window of (N, C, H, W) or (C, H, W).

    >>> fb.ops.avg_pool2d(fb.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2)
    tensor([[[2.5000]]])
    """
    how = kernel_size, stride, padding, ceil_mode
    return avg_pool_of("avg_pool2d", 2, input, *how, count_include_pad, divisor_override)


@resolved
def avg_pool3d(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """Means of sliding windows over (N, C, D, H, W) or (C, D, H, W); `divisor_override` replaces the count.

    >>> fb.nn.functional.avg_pool3d(fb.arange(8.0).view(1, 2, 2, 2), 2)
    tensor([[[[3.5000]]]])
    """
    how = kernel_size, stride, padding, ceil_mode
    return avg_pool_of("avg_pool3d", 3, input, *how, count_include_pad, divisor_override)


__all__ = ["avg_pool2d", "max_pool2d"]
