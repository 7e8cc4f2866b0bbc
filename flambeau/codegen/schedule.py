"""Schedules: from what an op computes to the loops that compute it.

Every choice of loop order, splitting and block length that kernels of pointwise ops and reductions make stands here.
May import ir only. Read next: `ir/kernel.py` (what is built), `eager/` (who asks), `llvm.py` (what becomes of it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir.expr import Expr, as_expr, cast, const, idiv, irem, load, minimum, substitute, var
from ..ir.kernel import LANES, REDUCE_BLOCK, Accumulator, Buffer, For, Kernel, Let, Reduce, Scalar, Statement, Store

# As in core/op.pxi, which launches what is built here.
CHUNK = 16384
TILE, BAND = 64, 1024
BROADCAST, CONTIGUOUS, STRIDED, CROSSWISE = 0, 1, 2, 3
SINGLE, PARTIAL, FINAL = 0, 1, 2

INDEX = var("index", "i64")  # the element's number, for ops that depend on it (random numbers)


def pointwise(
    name: str,
    exprs: tuple[Expr, ...],
    inputs: tuple[Expr | None, ...],
    is_number: tuple[bool, ...],
    out_dtypes: tuple[str, ...],
    classes: tuple[int, ...],
    dims: int,
    stream: bool,
) -> Kernel:
    """One loop over elements, or `dims` of them.

    `classes` says how each operand and output steps along the innermost dimension; CROSSWISE is contiguous along the
    one before it. Parameters: operands, outputs,
    sizes, and unless all is contiguous or broadcast, the strides of each tensor.
    """
    params: list[Buffer | Scalar] = []
    tensors: list[tuple[str, str, int]] = []
    for x, number, step in zip(inputs, is_number, classes, strict=False):
        if x is None:
            continue
        params.append(Scalar(str(x.attr), x.dtype) if number else Buffer(str(x.attr), x.dtype))
        if not number:
            tensors.append((str(x.attr), x.dtype, step))
    for j, dtype in enumerate(out_dtypes):
        params.append(Buffer(f"y{j}", dtype, "w"))
        tensors.append((f"y{j}", dtype, classes[len(inputs) + j]))
    sizes = [var(f"n{d}") for d in range(dims)]
    params += [Scalar(f"n{d}") for d in range(dims)]
    strides: dict[str, list[Expr]] = {}
    crosswise = STRIDED in classes or CROSSWISE in classes
    if dims > 1 or crosswise:
        for buffer, _, _ in tensors:
            strides[buffer] = [var(f"{buffer}_s{d}") for d in range(dims)]
            params += [Scalar(f"{buffer}_s{d}") for d in range(dims)]
    i = var("i")
    lets: list[Statement] = []
    base: dict[str, Expr] = {}
    # Rows that some operand crosses column by column are done in tiles, so that its cache lines are used up. Tiles are
    # high: that operand is then read in long stretches, of few enough columns for the level-one cache.
    tiled = dims > 1 and crosswise
    width = TILE if tiled else CHUNK
    t, row = var("t"), var("row")
    if dims > 1:
        chunks = idiv(sizes[-1] + (width - 1), width)
        rest = var("rest")
        lets.append(Let(rest, idiv(t, chunks)))
        bands = idiv(sizes[-2] + (BAND - 1), BAND) if tiled else sizes[-2]
        lets.append(Let(var("band"), irem(rest, bands)))
        places: list[Expr] = [] if tiled else [var("band")]
        rest = idiv(rest, bands)
        for d in range(dims - 3, -1, -1):
            place = var(f"p{d}")
            lets.append(Let(place, irem(rest, sizes[d]) if d else rest))
            lets.append(Let(var(f"r{d}"), idiv(rest, sizes[d])))
            rest = var(f"r{d}")
            places.insert(0, place)
        for buffer, _, _ in tensors:
            offset: Expr = as_expr(0)
            for place, stride in zip(places, strides[buffer], strict=False):
                offset = offset + place * stride
            base[buffer] = var(f"{buffer}_at")
            lets.append(Let(base[buffer], offset))

    def at(buffer: str, step: int) -> Expr:
        inner = as_expr(0) if step == BROADCAST else i if step == CONTIGUOUS else i * strides[buffer][-1]
        if dims == 1:
            return inner
        down = row if step == CROSSWISE else row * strides[buffer][-2]
        return base[buffer] + down + inner if tiled else base[buffer] + inner

    reads: dict[Expr, Expr] = {var(b, dtype): load(b, dtype, at(b, step)) for b, dtype, step in tensors}
    if dims == 1:
        reads[INDEX] = i
    values = substitute(exprs, reads)
    # An output may share memory with an operand: every value is there before the first store.
    named = tuple(Let(var(f"v{j}", e.dtype), e) for j, e in enumerate(values)) if len(values) > 1 else ()
    stores = named + tuple(
        Store(f"y{j}", at(f"y{j}", classes[len(inputs) + j]), cast(named[j].var if named else value, dtype), stream)
        for j, (value, dtype) in enumerate(zip(values, out_dtypes, strict=True))
    )
    if dims == 1:
        loop = For(i, const(0, "i64"), sizes[0], stores, parallel=True, vector=True)
        return Kernel(name, tuple(params), (loop,))
    start = var("start")
    columns = For(i, start, minimum(sizes[-1], start + width), stores, vector=True)
    body: tuple[Statement, ...] = (*lets, Let(start, irem(t, chunks) * width), columns)
    if tiled:
        top = var("top")
        rows_of_tile = For(row, top, minimum(sizes[-2], top + BAND), (columns,), vector=True)
        body = (*lets, Let(start, irem(t, chunks) * width), Let(top, var("band") * BAND), rows_of_tile)
    extent = bands * chunks
    for s in sizes[:-2]:
        extent = extent * s
    return Kernel(name, tuple(params), (For(t, const(0, "i64"), extent, body, parallel=True),))


def reduction(
    name: str,
    fold: Any,
    dtype: str,
    out_dtypes: Callable[[tuple[Expr, ...]], tuple[str, ...]],
    column: bool,
    stage: int,
) -> tuple[Kernel, tuple[str, ...]]:
    """A fold over the middle dimension of (outer, length, inner), and the dtypes it writes.

    `fold` offers element(x, index), initial, merge(a, b), step(a, element), finish(a, n) and its parameters.
    Stages: SINGLE folds at most REDUCE_BLOCK elements; PARTIAL writes accumulators for each block; FINAL folds those.
    Parameters: inputs, outputs, length (or number of blocks), (total length | blocks), inner, chunks, numbers.
    """
    t, r, i = var("t"), var("r"), var("i")
    length, second, inner, chunks = var("length"), var("second"), var("inner"), var("chunks")
    initial = fold.initial()
    inside = tuple(e.dtype for e in initial)
    accs = tuple(var(f"a{c}", d) for c, d in enumerate(inside))
    others = tuple(var(f"b{c}", d) for c, d in enumerate(inside))
    buffers = [Buffer(f"x{c}", d) for c, d in enumerate(inside)] if stage == FINAL else [Buffer("x0", dtype)]
    # t counts (outer, block, chunk of columns), fastest last.
    lets: list[Statement] = []
    rest: Expr = t
    if column:
        lets += [Let(var("chunk"), irem(t, chunks)), Let(var("tile"), idiv(t, chunks))]
        rest = var("tile")
    start: Expr = const(0, "i64")
    stop: Expr = length
    outer = rest
    if stage == PARTIAL:
        lets += [Let(var("outer"), idiv(rest, second)), Let(var("start"), irem(rest, second) * REDUCE_BLOCK)]
        lets += [Let(var("stop"), minimum(length, var("start") + REDUCE_BLOCK))]
        outer, start, stop = var("outer"), var("start"), var("stop")
    place = (outer * length + r) * inner + i if column else outer * length + r
    loads = tuple(load(b.name, b.dtype, place) for b in buffers)
    element = loads if stage == FINAL else fold.element(loads[0], r)
    entering = fold.merge(accs, element) if stage == FINAL else fold.step(accs, element)
    step = tuple(cast(e, d) for e, d in zip(entering, inside, strict=True))
    merge = tuple(cast(e, d) for e, d in zip(fold.merge(accs, others), inside, strict=True))
    reduce = Reduce(
        r, start, stop,
        tuple(Accumulator(a, e) for a, e in zip(accs, initial, strict=True)),
        step, merge, others, LANES,
    )  # fmt: skip
    total = second if stage == FINAL else length
    results = accs if stage == PARTIAL else fold.finish(accs, total)
    written = inside if stage == PARTIAL else out_dtypes(results)
    target = rest * inner + i if column else rest
    stores = tuple(Store(f"y{c}", target, cast(e, d)) for c, (e, d) in enumerate(zip(results, written, strict=True)))
    params: list[Buffer | Scalar] = [*buffers, *(Buffer(f"y{c}", d, "w") for c, d in enumerate(written))]
    params += [Scalar("length"), Scalar("second"), Scalar("inner"), Scalar("chunks"), *fold.parameters()]
    if column:
        first = var("first")
        lets += [Let(first, var("chunk") * width_of(inner, chunks))]
        columns = For(i, first, minimum(inner, first + width_of(inner, chunks)), (reduce, *stores), vector=True)
        body: tuple[Statement, ...] = (*lets, columns)
    else:
        body = (*lets, reduce, *stores)
    extent = var("extent")
    params.append(Scalar("extent"))
    return Kernel(name, tuple(params), (For(t, const(0, "i64"), extent, body, parallel=True),)), written


def width_of(columns: Expr, chunks: Expr) -> Expr:
    """How many columns each chunk has: whole vectors, so that only the last one ends in a masked one."""
    return idiv(columns + (chunks * LANES - 1), chunks * LANES) * LANES
