"""Schedules of row programs: rows in parallel, one pass over a row for each round of sums, one more to write.

Sums over rows ('col' outputs) are kernels of their own, in blocks of rows, columns side by side. May import ir only.
Read next: `ops/rows.py` (what a program is), `schedule.py` (the same for reductions), `ir/kernel.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.expr import (
    FUNCTIONS,
    Expr,
    as_expr,
    cast,
    const,
    idiv,
    irem,
    load,
    maximum,
    minimum,
    postorder,
    rebuild,
    substitute,
    var,
)  # fmt: skip
from ..ir.kernel import REDUCE_BLOCK, Accumulator, Buffer, For, Kernel, Let, Reduce, Scalar, Statement, Store
from .schedule import width_of

ROW, COL, ROWS, COLS, CHANNELS = var("row"), var("col"), var("rows"), var("cols"), var("channels")
MERGE = {"sum": lambda a, b: a + b, "max": maximum}


def start_of(kind: str, dtype: str) -> Expr:
    return const(0 if kind == "sum" else -float("inf"), dtype)


def place(extent: str, row: Expr, col: Expr) -> Expr:
    return {"full": row * COLS + col, "row": row, "col": col, "channel": irem(row, CHANNELS)}[extent]


def inputs_of(program: Any) -> list[Buffer | Scalar]:
    return [Scalar(i.name, i.dtype) if i.extent == "number" else Buffer(i.name, i.dtype) for i in program.inputs]


def sizes_of(program: Any, *names: str) -> list[Buffer | Scalar]:
    """Sizes come after the buffers; how many channels there are, where there are any, after them."""
    channels = ("channels",) if any(i.extent == "channel" for i in program.inputs) else ()
    return [Scalar(n) for n in (*names, *channels)]


def parameters(program: Any, outputs: Sequence[tuple]) -> tuple[Buffer | Scalar, ...]:
    written = [Buffer(f"y{j}", dtype, "rw") for j, (_, _, dtype) in enumerate(outputs)]
    return (*inputs_of(program), *written, *sizes_of(program, "rows", "cols"))


def loaded(program: Any, roots: Sequence[Expr], row: Expr, col: Expr) -> tuple[Expr, ...]:
    """The roots with inputs as loads, and `take` as a load at another column."""
    by_name = {i.name: i for i in program.inputs}
    done: dict[Expr, Expr] = {}
    for x in postorder(*roots):
        if x.op == "var":
            i = by_name.get(str(x.attr))
            if x.attr == "column":
                done[x] = col
            elif i is None or i.extent == "number":
                done[x] = x
            else:
                done[x] = load(i.name, i.dtype, place(i.extent, row, col))
        elif x.op == "take":
            source, index = x.args
            i = by_name[str((source.args[0] if source.op == "cast" else source).attr)]
            done[x] = cast(load(i.name, i.dtype, place(i.extent, row, done[index])), x.dtype)
        else:
            done[x] = rebuild(x, tuple(done[a] for a in x.args))
    return tuple(done[r] for r in roots)


def rounds(roots: Sequence[Expr]) -> list[list[Expr]]:
    """The folds below the roots by depth: those of a round need only earlier rounds."""
    depth: dict[Expr, int] = {}
    levels: list[list[Expr]] = []
    for x in postorder(*roots):
        d = max((depth[a] for a in x.args), default=0)
        if x.op == "fold":
            if d == len(levels):
                levels.append([])
            levels[d].append(x)
            d += 1
        depth[x] = d
    return levels


def worth_keeping(x: Expr) -> bool:
    """Whether computing x again costs more than reading it back from the cache."""
    return any(n.op in FUNCTIONS and n.op != "rsqrt" for n in postorder(x))


def by_rows(program: Any, outputs: Sequence[tuple[Expr, str, str]], stream: bool = False) -> Kernel:
    """One parallel iteration a row: folds round by round, then 'row' outputs, then 'full' ones, past caches or not.

    What the last fold and an output share is kept in the output; past caches in a buffer `scratch`, in which `share`
    rows that run one after the other have one row between them.
    """
    roots = tuple(e for e, _, _ in outputs)
    folds: dict[Expr, Expr] = {}
    statements: list[Statement] = []
    kept: dict[Expr, Expr] = {}
    levels = rounds(roots)
    full = [(j, e, d) for j, (e, x, d) in enumerate(outputs) if x == "full"]
    scratch: tuple[Buffer | Scalar, ...] = ()
    for number, level in enumerate(levels):
        stores: tuple[Statement, ...] = ()
        # What the last round's sum is over is often what is written: keep it in the output on the way.
        if number == len(levels) - 1 and len(full) == 1 and full[0][2] == level[0].dtype:
            for f in level:
                body = f.args[0]
                if worth_keeping(body) and body in postorder(full[0][1]) and not kept:
                    (value,) = substitute(loaded(program, (substitute((body,), folds)[0],), ROW, COL), {})
                    name, at = f"y{full[0][0]}", place("full", ROW, COL)
                    if stream:
                        name, at = "scratch", place("full", idiv(ROW, var("share")), COL)
                        scratch = (Buffer(name, body.dtype, "rw"), Scalar("share"))
                    stores = (Store(name, at, value),)
                    kept[body] = load(name, body.dtype, at)
        statements += fold_round(program, level, number, folds, stores)
    final: dict[Expr, Expr] = {**folds, **kept}
    values = loaded(program, substitute(roots, final), ROW, COL)
    loop = []
    for j, ((_, extent, dtype), value) in enumerate(zip(outputs, values, strict=True)):
        target = Store(f"y{j}", place(extent, ROW, COL), cast(value, dtype), stream and extent == "full")
        if extent == "full":
            loop.append(target)
        else:
            statements.append(target)
    if loop:
        statements.append(For(COL, const(0, "i64"), COLS, tuple(loop), vector=True))
    outer = For(ROW, const(0, "i64"), ROWS, tuple(statements), parallel=True)
    return Kernel(program.name, (*parameters(program, outputs), *scratch), (outer,))


def fold_round(
    program: Any, level: list[Expr], number: int, folds: dict[Expr, Expr], stores: tuple[Statement, ...]
) -> list[Statement]:
    """Folds that can run in one pass over the row, block by block; fills `folds` with their results."""
    elements = loaded(program, substitute(tuple(f.args[0] for f in level), folds), ROW, COL)
    start, stop = var(f"start{number}"), var(f"stop{number}")
    block = var(f"block{number}")
    inner = tuple(var(f"f{number}_{k}", f.dtype) for k, f in enumerate(level))
    total = tuple(var(f"t{number}_{k}", f.dtype) for k, f in enumerate(level))
    others = tuple(var(f"o{number}_{k}", f.dtype) for k, f in enumerate(level))
    merges = [MERGE[str(f.attr)] for f in level]
    starts = [start_of(str(f.attr), f.dtype) for f in level]
    one = Reduce(
        COL, start, stop,
        tuple(Accumulator(a, s) for a, s in zip(inner, starts, strict=True)),
        tuple(m(a, e) for m, a, e in zip(merges, inner, elements, strict=True)),
        tuple(m(a, b) for m, a, b in zip(merges, inner, others, strict=True)),
        others, body=stores,
    )  # fmt: skip
    whole = Reduce(
        block, const(0, "i64"), idiv(COLS + (REDUCE_BLOCK - 1), as_expr(REDUCE_BLOCK)),
        tuple(Accumulator(a, s) for a, s in zip(total, starts, strict=True)),
        tuple(m(a, e) for m, a, e in zip(merges, total, inner, strict=True)),
        lanes=1,
        body=(Let(start, block * REDUCE_BLOCK), Let(stop, minimum(COLS, start + REDUCE_BLOCK)), one),
    )  # fmt: skip
    folds.update(zip(level, total, strict=True))
    return [whole]


def by_columns(program: Any, outputs: Sequence[tuple[Expr, str, str]], final: bool) -> Kernel:
    """Sums over rows: one iteration a block of rows and chunk of columns; `final` sums the blocks' results."""
    t, block, chunk, first, chunks = var("t"), var("block"), var("chunk"), var("first"), var("chunks")
    width = width_of(COLS, chunks)
    start, stop = var("start"), var("stop")
    accs = tuple(var(f"a{k}", e.dtype) for k, (e, _, _) in enumerate(outputs))
    others = tuple(var(f"b{k}", e.dtype) for k, (e, _, _) in enumerate(outputs))
    if final:
        elements = tuple(load(f"p{k}", a.dtype, ROW * COLS + COL) for k, a in enumerate(accs))
        params: list[Buffer | Scalar] = [Buffer(f"p{k}", a.dtype) for k, a in enumerate(accs)]
        params += [Buffer(f"y{k}", d, "w") for k, (_, _, d) in enumerate(outputs)]
        params += [Scalar("rows"), Scalar("cols"), Scalar("chunks")]
        written = [(f"y{k}", COL, d) for k, (_, _, d) in enumerate(outputs)]
    else:
        elements = loaded(program, tuple(e.args[0] for e, _, _ in outputs), ROW, COL)
        params = inputs_of(program) + [Buffer(f"p{k}", a.dtype, "w") for k, a in enumerate(accs)]
        params += sizes_of(program, "rows", "cols", "chunks")
        written = [(f"p{k}", block * COLS + COL, a.dtype) for k, a in enumerate(accs)]
    reduce = Reduce(
        ROW, start, stop,
        tuple(Accumulator(a, const(0, a.dtype)) for a in accs),
        tuple(a + e for a, e in zip(accs, elements, strict=True)),
        tuple(a + b for a, b in zip(accs, others, strict=True)),
        others,
    )  # fmt: skip
    stores = tuple(Store(b, at, cast(a, d)) for (b, at, d), a in zip(written, accs, strict=True))
    body: tuple[Statement, ...] = (
        Let(chunk, irem(t, chunks)),
        Let(block, idiv(t, chunks)),
        Let(first, chunk * width),
        Let(start, const(0, "i64") if final else block * REDUCE_BLOCK),
        Let(stop, ROWS if final else minimum(ROWS, block * REDUCE_BLOCK + REDUCE_BLOCK)),
        For(COL, first, minimum(COLS, first + width), (reduce, *stores), vector=True),
    )
    blocks = as_expr(1) if final else idiv(ROWS + (REDUCE_BLOCK - 1), as_expr(REDUCE_BLOCK))
    return Kernel(
        program.name + ("_final" if final else "_columns"), tuple(params),
        (For(t, const(0, "i64"), blocks * chunks, body, parallel=True),),
    )  # fmt: skip
