"""Where values belong among sorted ones, and how many fall into each bin: searchsorted, bucketize, histc, isin.

Imports core, ir and neighbours in ops. Read next: `sorting.py`.
"""

from __future__ import annotations

from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor, launch, new_empty
from ..ir.expr import Expr, as_expr, const, idiv, load, maximum, minimum, node, var, where
from ..ir.kernel import Accumulator, Buffer, For, Kernel, Let, Reduce, Scalar, Statement, Store
from .arguments import out_of, return_type, to
from .basic import IDENTITY, zeros_like_shape
from .gather import take_along_dim
from .indirect import along, write
from .masks import masked_select
from .primitive import generated, primitive
from .ranges import arange
from .recall import recalled
from .reduce import amax, amin
from .table import TABLE
from .unique import unique

INT32, INT64, FLOAT64 = DTYPES[4], DTYPES[5], DTYPES[9]
GRAIN = 4096
COMPUTED = {DTYPES[0]: DTYPES[1], DTYPES[6]: DTYPES[8], DTYPES[7]: DTYPES[8]}

__all__ = ["bucketize", "histc", "histogram", "isin", "searchsorted"]

histogram_result = return_type("histogram", "hist bin_edges")


@generated
def search_kernel(dtype: str, rows: bool, right: bool) -> Kernel:
    """How many of a sorted row's elements come before each value: bits of the answer from the highest down."""
    i, b, found = var("i"), var("b"), var("found")
    n = var("n")
    start: Expr = idiv(i, var("width")) * n if rows else as_expr(0)
    one = const(1, "i64")
    more = found + node("shl", "i64", (one, var("bits") - 1 - b))
    value = load("values", dtype, i)
    element = load("sorted", dtype, var("row") + maximum(minimum(more, n) - 1, const(0, "i64")))
    # Not "comes before": of NaN neither holds, and it belongs at the end.
    stays = (value < element) if right else (value <= element)
    step = where((more <= n) & ~stays, more, found)
    search = Reduce(b, const(0, "i64"), var("bits"), (Accumulator(found, const(0, "i64")),), (step,), lanes=1)
    body: tuple[Statement, ...] = (Let(var("row"), start), search, Store("y", i, found))
    params = (
        Buffer("y", "i64", "w"), Buffer("sorted", dtype), Buffer("values", dtype), Scalar("n"), Scalar("width"),
        Scalar("bits"), Scalar("extent"),
    )  # fmt: skip
    return Kernel("searchsorted", params, (For(i, const(0, "i64"), var("extent"), body, parallel=True, vector=True),))


@recalled
@out_of
def searchsorted(
    sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The place in a sorted vector, or row, before which each value can be inserted to keep it sorted.

    Of equal elements it is before the first or, with `right`, after the last. `sorter` sorts the sequence first.

    >>> fb.searchsorted(fb.tensor([1, 3, 5]), fb.tensor([0, 3, 6]))
    tensor([0, 1, 3])
    """
    if side is not None and (side not in ("left", "right") or right and side == "left"):
        raise RuntimeError(
            f"searchsorted: side must be 'left' or 'right' and agree with right, got {side!r} and {right}"
        )
    number = not isinstance(input, Tensor)
    values = _core.from_nested([input]).reshape(()) if number else input.detach()
    rows = sorted_sequence.detach()
    if rows.ndim != 1 and (values.ndim != rows.ndim or values.shape[:-1] != rows.shape[:-1]):
        raise RuntimeError(
            f"searchsorted: the sequence must be a vector, or rows for values of the same leading shape, got "
            f"{list(rows.shape)} and {list(values.shape)}"
        )
    if sorter is not None:
        if sorter.shape != rows.shape or sorter.dtype is not INT64:
            raise RuntimeError(
                f"searchsorted: the sorter must be int64 of shape {list(rows.shape)}, got {sorter.dtype} "
                f"{list(sorter.shape)}"
            )
        rows = take_along_dim(rows, sorter, -1)
    dtype = _core.promote_types(rows.dtype, values.dtype) if values.ndim or not number else rows.dtype
    if number and isinstance(input, float) and not rows.is_floating_point():
        dtype = values.dtype
    dtype = COMPUTED.get(dtype, dtype)
    rows, values = to(rows, dtype).contiguous(), to(values, dtype).contiguous()
    y = bounds(rows, values, right or side == "right")
    return to(y, INT32) if out_int32 else y


@primitive(name="sorted_bounds")
def bounds(ctx, rows, values, right):
    """searchsorted of contiguous tensors of one dtype."""
    rows, values = rows.contiguous(), values.contiguous()
    y = new_empty(values.shape, INT64)
    n = rows.shape[-1]
    if n == 0:
        IDENTITY.into((y,), 0)
    elif values.numel():
        args = [y, rows, values, n, values.shape[-1] if values.ndim else 1, n.bit_length(), values.numel()]
        launch(
            search_kernel(rows.dtype.ir, rows.ndim > 1, right),
            args,
            values.numel(),
            GRAIN,
            values.numel() * 8,
        )
    return y


@recalled
@out_of
def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The bucket between sorted boundaries that each value falls into; searchsorted with its arguments exchanged.

    >>> fb.bucketize(fb.tensor([0, 3, 6]), fb.tensor([1, 3, 5]))
    tensor([0, 1, 3])
    """
    if boundaries.ndim != 1:
        raise RuntimeError(f"bucketize: the boundaries must be a vector, got shape {list(boundaries.shape)}")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def span(name: str, x: Tensor, low: float, high: float) -> tuple[float, float]:
    """The range of bins: that of the elements where it isn't given, widened where it is a point."""
    if low == high and x.numel():
        low, high = amin(x).item(), amax(x).item()
    if low == high:
        low, high = low - 0.5, high + 0.5
    if not (-float("inf") < low and high < float("inf")):
        raise RuntimeError(f"{name}: the range [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f"{name}: max must not be smaller than min, got {low} and {high}")
    return low, high


@recalled
def binned(x: Tensor, weights: Tensor, bins: int, low: float, high: float) -> Tensor:
    """The sum of weights in each of `bins` equal bins; what lies outside counts nothing, in the first."""
    inside = (x >= low) & (x <= high)
    place = TABLE["where"](inside, (x - low) * (bins / (high - low)), 0.0)
    place = TABLE["clamp_max"](to(place, INT64), bins - 1)
    y = zeros_like_shape(x, (bins,), weights.dtype)
    write(y, along(place.shape, 0), (place,), TABLE["where"](inside, weights, 0.0), "sum")
    return y


def ones(x: Tensor) -> Tensor:
    one = new_empty((), x.dtype)
    IDENTITY.into((one,), 1)
    return one


@out_of
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements fall into each of `bins` equal bins between min and max, both at 0 for the elements' own range.

    >>> fb.histc(fb.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
    tensor([0., 2., 1., 0.])
    """
    if not input.is_floating_point():
        raise RuntimeError(f"histc: a floating tensor is needed, got {input.dtype}; use x.float()")
    if bins < 1:
        raise RuntimeError(f"histc: the number of bins must be positive, got {bins}")
    x = input.detach().reshape(-1)
    if input.dtype in COMPUTED:
        return to(histc(to(x, COMPUTED[input.dtype]), bins, min, max), input.dtype)
    return binned(x, ones(x), bins, *span("histc", x, min, max))


def histogram(
    input: Tensor, bins: Any, *, range: Any = None, weight: Tensor | None = None, density: bool = False
) -> Any:
    """(hist, bin_edges): the number, or weight, of elements in each bin; `bins` is a number of equal bins or the edges.

    >>> fb.histogram(fb.tensor([1.0, 2.0, 3.0]), 2).hist
    tensor([1., 2.])
    """
    if not input.is_floating_point():
        raise RuntimeError(f"histogram: a floating tensor is needed, got {input.dtype}; use x.float()")
    x = input.detach().reshape(-1)
    weights = ones(x) if weight is None else weight.detach().reshape(-1)
    if isinstance(bins, Tensor):
        edges, count = bins.detach(), bins.numel() - 1
        inside = (x >= edges[0]) & (x <= edges[-1])
        chosen = masked_select(x, inside)
        place = TABLE["clamp_max"](searchsorted(edges, chosen, right=True) - 1, count - 1)
        hist = zeros_like_shape(x, (count,), x.dtype)
        write(hist, along(place.shape, 0), (place,), masked_select(weights.expand(x.shape), inside), "sum")
    else:
        low, high = span("histogram", x, *(range or (0, 0)))
        hist = binned(x, weights, bins, low, high)
        edges = to(to(arange(bins + 1), FLOAT64) * ((high - low) / bins) + low, x.dtype)
    if density:
        hist = hist / (hist.sum() * (edges[1:] - edges[:-1]))
    return histogram_result(hist, edges)


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element is among others.

    >>> fb.isin(fb.tensor([1, 2, 3]), fb.tensor([2, 5]))
    tensor([False,  True, False])
    """
    elements, test_elements = (x if isinstance(x, Tensor) else _core.from_nested(x) for x in (elements, test_elements))
    if test_elements.numel() == 0:
        return zeros_like_shape(elements, elements.shape, DTYPES[0]) ^ invert
    among = unique(test_elements)
    place = TABLE["clamp_max"](searchsorted(among, elements), among.numel() - 1)
    found = TABLE["eq"](among[place], elements)
    return ~found if invert else found


Tensor.histc, Tensor.bucketize, Tensor.isin = histc, bucketize, isin
Tensor.histogram = histogram
