"""A second loop order for reductions side by side: rows outside, a tile of columns inside, accumulators in memory.

Down the columns of a matrix each row is another page, and 16 columns are one cache line of it. So a vector loop around
a Reduce is rewritten to go over a tile of columns row by row, which reads memory as it lies; what each column adds to
which lane in what order is the same, hence every bit. Imports ir and statements. Read next: `llvm.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from ..ir.expr import DTYPES, Expr, const, idiv, load, minimum, node, postorder, substitute, var, where
from ..ir.kernel import LANES, Buffer, For, Let, Reduce, Statement, Store, expressions
from .statements import Prefetch

# Columns of a tile, and what its accumulators take at most: about a page of each row, so that no page is looked up
# twice, and half of the smallest level-two cache in use.
COLUMNS, TILE_BYTES = 1024, 131072
# Rows of a lane that are added in one pass, so that its accumulators are read and written less often, where a step has
# at most so many nodes.
ROWS, SHORT = 4, 32
FAR = 16384
ZERO = const(0, "i64")


@dataclass(frozen=True, slots=True)
class Tiles:
    """Statements in place of a loop from `first` to `last`, and the local buffers of `size` elements they use."""

    first: Expr
    last: Expr
    buffers: tuple[Buffer, ...]
    size: int
    body: tuple[Statement, ...]


def by_tiles(loop: For, k: int) -> Tiles | None:
    """The loop with its first Reduce in the second order; None where it isn't Lets, such a Reduce, and the rest."""
    at = next((j for j, s in enumerate(loop.body) if not isinstance(s, Let)), len(loop.body))
    if at == len(loop.body):
        return None
    r = loop.body[at]
    if not isinstance(r, Reduce):
        return None
    steps = [s for s in r.body if isinstance(s, Let | Store)]
    # Lanes, or a scan; what only folds one value after the other does that best in registers.
    scans = any(isinstance(s, Store) for s in steps)
    if len(steps) < len(r.body) or r.lanes != (1 if scans else LANES):
        return None
    lets, rest = loop.body[:at], loop.body[at + 1 :]
    # Names with a dot are not identifiers, so none of these can be the kernel's own.
    size = sum(DTYPES[a.var.dtype].size for a in r.accumulators)
    width = min(COLUMNS, TILE_BYTES // r.lanes // size // LANES * LANES)
    # The same column's lanes would share few sets of the cache without some space between them.
    apart = width + LANES
    first, last, tile = var(f"first.{k}"), var(f"last.{k}"), var(f"tile.{k}")
    start, stop, row, cell = var(f"start.{k}"), var(f"stop.{k}"), var(f"row.{k}"), var(f"cell.{k}")
    buffers = tuple(Buffer(f"{a.var.attr}.{k}", a.var.dtype, "rw") for a in r.accumulators)

    own = tuple(a.var for a in r.accumulators)
    roots = expressions((*r.body, r.step))
    apiece = [x for x in postorder(*roots) if x.op == "load" and {r.var, loop.var} <= set(postorder(*x.args))]

    def fold(rows: list[Expr], lane: Expr) -> For:
        """One pass over the tile that adds these rows, all of one lane, in order."""
        place = lane * apart + (loop.var - start)
        lines = [Prefetch(str(x.attr), substitute(x.args, {r.var: row + ahead})[0]) for row in rows for x in apiece]
        done: list[Statement] = [cast(Statement, p) for p in lines]
        done += lets
        done += [Let(a, load(b.name, b.dtype, place)) for a, b in zip(own, buffers, strict=True)]
        values = own
        for n, row in enumerate(rows):
            known = {r.var: row} | dict(zip(own, values, strict=True))
            for s in steps:
                (value,) = substitute((s.value,), known)
                if isinstance(s, Let):
                    known[s.var] = var(f"{s.var.attr}.{n}", s.var.dtype)
                    done.append(Let(known[s.var], value))
                else:
                    done.append(Store(s.buffer, substitute((s.index,), known)[0], value, s.stream))
            values = tuple(var(f"{a.attr}.next{n}", a.dtype) for a in own)
            done += map(Let, values, substitute(r.step, known))
        # Every step is taken before the first of them is stored.
        done += [Store(b.name, place, v) for b, v in zip(buffers, values, strict=True)]
        return For(loop.var, start, stop, tuple(done), vector=True)

    rows = ROWS if len(postorder(*roots)) <= SHORT else 1
    group, lane, past = var(f"group.{k}"), var(f"lane.{k}"), var(f"past.{k}")
    groups = idiv(r.stop - r.start, const(rows * r.lanes, "i64"))
    at_once = [r.start + group * (rows * r.lanes) + lane + n * r.lanes for n in range(rows)]
    # The rows of the next pass; where rows are short, as many as lie FAR elements on, for passes of LANES such rows run
    # to and fro too closely for the processor to see where they go.
    near = const(1 if r.lanes > 1 else rows, "i64")
    ahead = where(stop - start < COLUMNS // 2, idiv(const(FAR, "i64"), stop - start), near)
    folds: tuple[Statement, ...] = (
        For(group, ZERO, groups, (For(lane, ZERO, const(r.lanes, "i64"), (fold(at_once, lane),)),)),
        Let(past, r.start + groups * (rows * r.lanes)),
        For(r.var, past, r.stop, (fold([r.var], node("and", "i64", (r.var - r.start, const(r.lanes - 1, "i64")))),)),
    )

    lanes = [tuple(var(f"{a.var.attr}.lane{x}", a.var.dtype) for a in r.accumulators) for x in range(r.lanes)]
    merging: list[Statement] = [
        Let(v, load(b.name, b.dtype, loop.var - start + x * apart))
        for x in range(r.lanes)
        for v, b in zip(lanes[x], buffers, strict=True)
    ]
    values: list[tuple[Expr, ...]] = list(lanes)
    while len(values) > 1:
        half = len(values) // 2
        pairs = [(*values[x], *values[x + half]) for x in range(half)]
        values = [substitute(r.merge, dict(zip((*own, *r.others), pair, strict=True))) for pair in pairs]
    merging += map(Let, own, values[0])

    body = (
        Let(start, first + tile * width),
        Let(stop, minimum(start + width, last)),
        For(row, ZERO, const(r.lanes, "i64"), (For(cell, row * apart, row * apart + (stop - start), tuple(
            Store(b.name, cell, a.init) for a, b in zip(r.accumulators, buffers, strict=True)), vector=True),)),
        *folds,
        For(loop.var, start, stop, (*lets, *merging, *rest), vector=True),
    )  # fmt: skip
    count = idiv(last - first + (width - 1), const(width, "i64"))
    return Tiles(first, last, buffers, r.lanes * apart, (For(tile, ZERO, count, body),))
