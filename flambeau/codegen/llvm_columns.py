"""A second loop order for reductions side by side: rows outside, a tile of columns inside, accumulators in memory.

Down the columns of a matrix each row is another page, and 16 columns are one cache line of it. So a vector loop around
a Reduce is rewritten to go over a tile of columns row by row, which reads memory as it lies; what each column adds to
which lane in what order is the same, hence every bit. Imports ir only. Read next: `llvm.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.expr import DTYPES, Expr, const, load, minimum, node, substitute, var
from ..ir.kernel import LANES, Buffer, For, Let, Reduce, Statement, Store

# What the accumulators of a tile take at most: half of the smallest level-one cache in use.
TILE_BYTES = 16384
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
    """The loop with its first Reduce in the second order; None where it isn't Lets, a Reduce in lanes, and the rest."""
    at = next((j for j, s in enumerate(loop.body) if not isinstance(s, Let)), len(loop.body))
    if at == len(loop.body):
        return None
    r = loop.body[at]
    if not isinstance(r, Reduce) or r.lanes != LANES or not all(isinstance(s, Let) for s in r.body):
        return None
    lets, rest = loop.body[:at], loop.body[at + 1 :]
    # Names with a dot are not identifiers, so none of these can be the kernel's own.
    width = TILE_BYTES // LANES // sum(DTYPES[a.var.dtype].size for a in r.accumulators) // LANES * LANES
    first, last, tile = var(f"first.{k}"), var(f"last.{k}"), var(f"tile.{k}")
    start, stop, cell = var(f"start.{k}"), var(f"stop.{k}"), var(f"cell.{k}")
    buffers = tuple(Buffer(f"{a.var.attr}.{k}", a.var.dtype, "rw") for a in r.accumulators)

    # Every step is taken before the first of them is stored.
    lane = node("and", "i64", (r.var - r.start, const(LANES - 1, "i64")))
    place = lane * width + (loop.var - start)
    old = tuple(Let(a.var, load(b.name, b.dtype, place)) for a, b in zip(r.accumulators, buffers, strict=True))
    new = tuple(var(f"{a.var.attr}.next", a.var.dtype) for a in r.accumulators)
    fold = (
        *lets,
        *old,
        *r.body,
        *map(Let, new, r.step),
        *(Store(b.name, place, v) for b, v in zip(buffers, new, strict=True)),
    )

    lanes = [tuple(var(f"{a.var.attr}.lane{x}", a.var.dtype) for a in r.accumulators) for x in range(LANES)]
    merging: list[Statement] = [
        Let(v, load(b.name, b.dtype, loop.var - start + x * width))
        for x in range(LANES)
        for v, b in zip(lanes[x], buffers, strict=True)
    ]
    values: list[tuple[Expr, ...]] = list(lanes)
    own = tuple(a.var for a in r.accumulators)
    while len(values) > 1:
        half = len(values) // 2
        pairs = [(*values[x], *values[x + half]) for x in range(half)]
        values = [substitute(r.merge, dict(zip((*own, *r.others), pair, strict=True))) for pair in pairs]
    merging += map(Let, own, values[0])

    body = (
        Let(start, first + tile * width),
        Let(stop, minimum(start + width, last)),
        For(cell, ZERO, const(LANES * width, "i64"), tuple(
            Store(b.name, cell, a.init) for a, b in zip(r.accumulators, buffers, strict=True)), vector=True),
        For(r.var, r.start, r.stop, (For(loop.var, start, stop, fold, vector=True),)),
        For(loop.var, start, stop, (*lets, *merging, *rest), vector=True),
    )  # fmt: skip
    count = node("idiv", "i64", (last - first + (width - 1), const(width, "i64")))
    return Tiles(first, last, buffers, LANES * width, (For(tile, ZERO, count, body),))
