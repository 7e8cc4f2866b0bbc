"""Indirect reads and writes: elements whose places are read from index tensors, and the two kernels that move them.

`read` copies from such places and `write` stores or accumulates there; the rules of indexing, gather, scatter and
embedding are all a choice of `Places`. Writes that meet the same element happen in the order of the index, whatever the
number of threads. Imports core, ir and neighbours in ops. Read next: `gather.py`, `indexing.py` (who asks).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..core import _core
from ..core._core import DTYPES, Op, Plan, Reduction, Step, Tensor, new_empty, plain_copy, surely_within
from ..ir import expr as E
from ..ir.expr import Expr, as_expr, cast, const, idiv, irem, load, minimum, var, where
from ..ir.kernel import Buffer, For, If, Kernel, Let, Scalar, Statement, Store
from .arguments import Ints
from .basic import contiguous_strides
from .define import PointwiseDef
from .primitive import generated, planned
from .reductions import Fold, ReductionDef, highest, lowest

INT32, INT64 = DTYPES[4], DTYPES[5]
# Elements of a row that one iteration of a read takes, and columns that one of a write takes.
CHUNK = 16384
COLUMNS = 256
# Reads whose rows are shorter than this run along the index instead.
SHORT = 8
# Ranges of destinations among which a write of few columns is divided.
PARTS = 8
GRAIN = 32768
# How many choices of places are remembered, so that small reads and writes don't think twice.
PLANS = 4096
# Data are moved as bits, so one kernel serves all dtypes of a size.
BITS = {1: "u8", 2: "i16", 4: "i32", 8: "i64", 16: "c128"}

COMBINE: dict[str, Callable[[Expr, Expr], Expr]] = {
    "set": lambda old, new: new,
    "sum": lambda old, new: old + new,
    "prod": lambda old, new: old * new,
    "amax": E.maximum,
    "amin": E.minimum,
}


class Places(NamedTuple):
    """Where the elements of a result stand in a source.

    shape   of the result
    source  for each dimension of the result, the dimension of the source it runs along, or -1
    indices for each dimension of the result, the dimension of the index tensors it runs along, or -1
    dims    for each index tensor, the dimension of the source it chooses places in
    """

    shape: tuple[int, ...]
    source: tuple[int, ...]
    indices: tuple[int, ...]
    dims: tuple[int, ...]


@functools.lru_cache(maxsize=PLANS)
def along(shape: Ints, dim: int) -> Places:
    """One index tensor of the result's `shape`, as gather and scatter have it."""
    source = tuple(-1 if d == dim else d for d in range(len(shape)))
    return Places(tuple(shape), source, tuple(range(len(shape))), (dim,))


@functools.lru_cache(maxsize=PLANS)
def inserted(shape: Ints, index_shape: Ints, dims: Ints, at: int) -> Places:
    """Index tensors of `index_shape` for `dims` of a source, whose other dimensions stand around dimension `at`."""
    kept = [d for d in range(len(shape)) if d not in dims]
    before, after = kept[:at], kept[at:]
    k = len(index_shape)
    return Places(
        (*(shape[d] for d in before), *index_shape, *(shape[d] for d in after)),
        (*before, *(-1,) * k, *after),
        (*(-1,) * len(before), *range(k), *(-1,) * len(after)),
        dims,
    )


# ---- indices
def whole_range(x: Expr) -> Fold:
    """The smallest and the largest element."""
    return Fold(
        (const(highest(x.dtype), x.dtype), const(lowest(x.dtype), x.dtype)), (x, x),
        lambda a, b: (E.minimum(a[0], b[0]), E.maximum(a[1], b[1])), lambda a, n: a,
    )  # fmt: skip


def step_index(index: Expr, before: Expr, size: Expr, stride: Expr) -> Expr:
    """Elements to go for one more index, which wraps where it is negative."""
    return before + where(index < 0, index + size, index) * stride


RANGE = Reduction("index_range", ReductionDef("index_range", whole_range, ()), 2)
STEP = Op("step_index", 2, ("index", "before", "size", "stride"), 1, PointwiseDef(
    "step_index", step_index, ("index", "before"), {"size": 0, "stride": 1}, (), "", "", False, False, (), "integer",
    "default", None,
))  # fmt: skip


def as_index(name: str, index: Any) -> Tensor:
    """An index tensor as int64."""
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}: the index must be a tensor of integers, got {type(index).__name__}")
    if index.dtype is INT64:
        return index
    if index.dtype is not INT32:
        raise IndexError(f"{name}: the index must be int32 or int64, got {index.dtype}; use index.long()")
    wide = new_empty(index.shape, INT64)
    plain_copy(wide, index)
    return wide


def extent(index: Tensor) -> tuple[int, int]:
    """The smallest and the largest index; 0 and -1 where there are none."""
    small = _core.extent_small(index)
    if small is not None:
        return small
    if index.numel() == 0:
        return 0, -1
    if 0 in index.stride():
        # Expanded dimensions say the same over and over.
        for d, step in enumerate(index.stride()):
            index = index.narrow(d, 0, 1) if step == 0 else index
    low, high = RANGE(index)
    return low.item(), high.item()


def check_range(index: Tensor, size: int, dim: int, wraps: bool = True) -> None:
    """Raises IndexError unless every index is a place of a dimension of length `size`."""
    if surely_within(index, -size if wraps else 0, size):
        return
    low, high = extent(index)
    if low < (-size if wraps else 0) or high >= size:
        raise IndexError(f"index {high if high >= size else low} is out of bounds for dimension {dim} with size {size}")


def steps(indices: Sequence[Tensor], source: Tensor, dims: Ints) -> tuple[Tensor, int, int, int]:
    """Index tensors that broadcast, as one: (index, size, stride, span).

    An index i stands for i (+ size if negative) times stride elements of the source; i reaches to span - 1.
    """
    if len(indices) == 1:
        size = source.size(dims[0])
        return indices[0], size, source.stride(dims[0]), size
    total: Any = 0
    span = 1
    for index, d in zip(indices, dims, strict=True):
        size, stride = source.size(d), source.stride(d)
        total = STEP(index, total, size, stride)
        span += (size - 1) * stride
    return total, 0, 1, span


# ---- geometry
class Dim(NamedTuple):
    """One loop: its length, and the strides of result, source and indices; `fixed`: the source moves by index alone."""

    size: int
    result: int
    source: int
    indices: int
    fixed: bool


def loops(places: Places, result: Ints, source: Ints, index: Ints) -> list[Dim]:
    """The dimensions of a result, given all strides; those of length 1 are dropped, neighbours that run on merged."""
    found: list[Dim] = []
    for n, r, s, i in zip(places.shape, result, places.source, places.indices, strict=True):
        if n == 1:
            continue
        d = Dim(n, r, 0 if s < 0 else source[s], 0 if i < 0 else index[i], s < 0)
        if found:
            last = found[-1]
            steps_on = (last.result, last.source, last.indices) == (d.result * n, d.source * n, d.indices * n)
            if last.fixed == d.fixed and steps_on:
                found[-1] = d._replace(size=last.size * n)
                continue
        found.append(d)
    return found


def step_class(stride: int) -> int:
    return min(stride, 2)


def strided(place: Expr, stride: Expr, kind: int = 2) -> Expr:
    return as_expr(0) if kind == 0 else place if kind == 1 else place * stride


def unravel(rest: Expr, names: Sequence[str], sizes: Sequence[Expr], lets: list[Statement]) -> list[Expr]:
    """The indices that number `rest` stands for, the last running fastest; what is needed is added to `lets`."""
    places: list[Expr] = []
    for name, size in reversed(list(zip(names[1:], sizes[1:], strict=True))):
        place, above = var(f"p_{name}"), var(f"q_{name}")
        lets += [Let(place, irem(rest, size)), Let(above, idiv(rest, size))]
        places.append(place)
        rest = above
    return [rest, *reversed(places)] if names else []


def parameters(dims: int) -> tuple[Scalar, ...]:
    return tuple(Scalar(f"{name}{d}") for name in ("n", "r", "s", "i") for d in range(dims)) + (
        Scalar("size"),
        Scalar("stride"),
    )


def numbers(dims: Sequence[Dim], size: int, stride: int) -> tuple[int, ...]:
    return (*(d[field] for field in range(4) for d in dims), size, stride)


def offset(places: Sequence[Expr], prefix: str, first: int = 0) -> Expr:
    total: Expr = as_expr(0)
    for d, place in enumerate(places):
        total = total + place * var(f"{prefix}{first + d}")
    return total


def wrapped(index: Expr) -> Expr:
    return where(index < 0, index + var("size"), index)


# ---- reading
@generated
def read_kernel(dtype: str, dims: int, classes: tuple[int, int, int], unit: bool) -> Kernel:
    """result[p] = source[p·strides + index[p·strides] · stride], over `dims` loops; `unit`: the stride is 1."""
    t, k = var("t"), var("k")
    last = dims - 1
    sizes = [var(f"n{d}") for d in range(dims)]
    chunks = idiv(sizes[last] + (CHUNK - 1), CHUNK)
    lets: list[Statement] = [Let(var("row"), idiv(t, chunks)), Let(var("first"), irem(t, chunks) * CHUNK)]
    outer = unravel(var("row"), [str(d) for d in range(last)], sizes[:last], lets)
    for prefix in "rsi":
        lets.append(Let(var(f"{prefix}_at"), offset(outer, prefix)))
    at = {
        prefix: var(f"{prefix}_at") + strided(k, var(f"{prefix}{last}"), kind)
        for prefix, kind in zip("rsi", classes, strict=True)
    }
    index = wrapped(load("index", "i64", at["i"]))
    store = Store("result", at["r"], load("source", dtype, at["s"] + (index if unit else index * var("stride"))))
    rows: Expr = chunks
    for n in sizes[:last]:
        rows = rows * n
    columns = For(k, var("first"), minimum(sizes[last], var("first") + CHUNK), (store,), vector=True)
    params: tuple[Buffer | Scalar, ...] = (
        Buffer("result", dtype, "w"), Buffer("source", dtype), Buffer("index", "i64"), *parameters(dims),
    )  # fmt: skip
    return Kernel("read", params, (For(t, const(0, "i64"), rows, (*lets, columns), parallel=True),))


@planned(strided=True)
def read_planned(source: Tensor, index: Tensor, places: Places, size: int, stride: int) -> Plan:
    """The elements of `source` at places, given what `steps` says of the index."""
    dims = loops(places, contiguous_strides(places.shape), source.stride(), index.stride()) or [Dim(1, 1, 0, 0, False)]
    if len(dims) > 1 and dims[-1].size < SHORT <= dims[-2].size:
        dims[-2:] = dims[:-3:-1]
    inner = dims[-1]
    classes = (step_class(inner.result), step_class(inner.source), step_class(inner.indices))
    units = -(-inner.size // CHUNK)
    for d in dims[:-1]:
        units *= d.size
    kernel = read_kernel(BITS[source.itemsize], len(dims), classes, stride == 1)
    count = math.prod(places.shape)
    grain = max(1, GRAIN // max(1, min(inner.size, CHUNK)))
    step = Step(kernel, (2, 0, 1), numbers(dims, size, stride), units if count else 0, grain, count)
    return Plan([(places.shape, source.dtype)], step)


def read(source: Tensor, places: Places, indices: Sequence[Tensor]) -> Tensor:
    """The elements of `source` that index tensors, already checked, choose; off the tape."""
    index, size, stride, _ = steps(indices, source, places.dims)
    return read_planned(source, index, places, size, stride)


# ---- writing
@generated
def write_kernel(
    dtype: str, combine: str, free: int, fixed: int, columns: bool, parted: bool, classes: tuple[int, int, int]
) -> Kernel:
    """target[p·strides + index · stride] combined with values[p·strides].

    Loops are numbered free ones first. Where there are `columns` the last free loop is innermost and vectorised; the
    `fixed` loops, which may meet an element again, run in order. `parted` kernels write a range of destinations each.
    """
    t, k = var("t"), var("k")
    sizes = [var(f"n{d}") for d in range(free + fixed)]
    lets: list[Statement] = []
    rest: Expr = t
    if parted:
        lets += [Let(var("part"), irem(t, var("parts"))), Let(var("unit"), idiv(t, var("parts")))]
        lets += [Let(var("low"), idiv(var("part") * var("span"), var("parts")))]
        lets += [Let(var("high"), idiv((var("part") + 1) * var("span"), var("parts")))]
        rest = var("unit")
    rows = free
    if columns:
        rows, width = free - 1, sizes[free - 1]
        chunks = idiv(width + (COLUMNS - 1), COLUMNS)
        lets += [Let(var("first"), irem(rest, chunks) * COLUMNS), Let(var("row"), idiv(rest, chunks))]
        rest = var("row")
    outer = unravel(rest, [str(d) for d in range(rows)], sizes[:rows], lets)
    inner = [var(f"f{d}") for d in range(fixed)]
    varies = columns and classes[2] != 0
    base = {p: offset(outer, p) + offset(inner, p, free) for p in "rsi"}
    at = {
        p: base[p] + (strided(k, var(f"{p}{free - 1}"), c) if columns else as_expr(0))
        for p, c in zip("rsi", classes, strict=True)
    }
    body: list[Statement] = []
    place: Expr = wrapped(load("index", "i64", at["i"]))
    if not varies:
        body.append(Let(var("place"), place))
        place = var("place")
    to = at["s"] + place * var("stride")
    value = cast(COMBINE[combine](load("target", dtype, to), load("values", dtype, at["r"])), dtype)
    store: tuple[Statement, ...] = (Store("target", to, value),)
    if columns:
        store = (For(k, var("first"), minimum(width, var("first") + COLUMNS), store, vector=True),)
    if parted:
        store = (If((var("low") <= place) & (place < var("high")), store),)
    statements: tuple[Statement, ...] = (*body, *store)
    for d in reversed(range(fixed)):
        statements = (For(inner[d], const(0, "i64"), sizes[free + d], statements),)
    params: tuple[Buffer | Scalar, ...] = (
        Buffer("target", dtype, "rw"), Buffer("values", dtype), Buffer("index", "i64"), *parameters(free + fixed),
        Scalar("span"), Scalar("parts"), Scalar("extent"),
    )  # fmt: skip
    return Kernel(
        f"write_{combine}", params, (For(t, const(0, "i64"), var("extent"), (*lets, *statements), parallel=True),)
    )


@planned(strided=True)
def write_planned(
    target: Tensor, values: Tensor, index: Tensor, places: Places, combine: str, size: int, stride: int, span: int
) -> Plan:
    """`values` combined into elements of `target`, given what `steps` says of the index."""
    count = math.prod(places.shape)
    dims = loops(places, values.stride(), target.stride(), index.stride())
    free, fixed = [d for d in dims if not d.fixed], [d for d in dims if d.fixed]
    columns = bool(free) and (free[-1].source == 1 or not fixed)
    inner = free[-1] if columns else Dim(1, 0, 0, 0, False)
    classes = (step_class(inner.result), step_class(inner.source), step_class(inner.indices)) if columns else (0, 0, 0)
    units = -(-inner.size // COLUMNS)
    for d in free[: len(free) - columns]:
        units *= d.size
    # Each range reads the whole index: that pays where a row is long and there are few other things to divide.
    moves = all(d.indices == 0 for d in free)
    parts = PARTS if moves and inner.size >= 32 and units < PARTS and count >= 2 * GRAIN else 1
    dtype = BITS[target.itemsize] if combine == "set" else target.dtype.ir
    kernel = write_kernel(dtype, combine, len(free), len(fixed), columns, parts > 1, classes)
    rest = (*numbers([*free, *fixed], size, stride), span, parts, units * parts)
    grain = max(1, GRAIN * units // count) if parts == 1 else 1
    return Plan((), Step(kernel, (0, 1, 2), rest, units * parts, grain, count))


def write(target: Tensor, places: Places, indices: Sequence[Tensor], values: Tensor, combine: str = "set") -> None:
    """Combines `values`, which have the places' shape, into elements of `target`; indices are checked already."""
    if values.numel() == 0:
        return
    if values.untyped_storage() is target.untyped_storage():
        own = new_empty(values.shape, values.dtype)
        plain_copy(own, values)
        values = own
    index, size, stride, span = steps(indices, target, places.dims)
    write_planned(target, values, index, places, combine, size, stride, span)
