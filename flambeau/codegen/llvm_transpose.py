"""Loops over rows and columns where some operand lies the other way round: squares are turned in registers.

In two nested vector loops a load (or store) whose index moves by 1 in the outer variable and by a pitch in the inner
one would be a gather over as many cache lines as lanes. So the nest is rewritten to go by bands of LANES rows: each
such operand's part of the band is first turned into local memory, 16 by 16 elements at a time, and the loops then
read that as it lies; what is stored crosswise is turned on its way out. Data only moves, so no bit changes.
Imports ir and its neighbours. Read next: `llvm.py`, which renders what is made here; `schedule.py` (tile sizes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from ..ir.expr import DTYPES, Expr, binary, const, idiv, load, minimum, node, postorder, substitute, var
from ..ir.kernel import LANES, Buffer, For, If, Let, Statement, Store, expressions
from .llvm_prefetch import hint
from .llvm_scope import Scope, picks
from .statements import Prefetch

# What the turned operands of a band take at most: half of the smallest level-one cache in use.
BAND_BYTES = 16384
# How many bands ahead memory is asked for: each is another cache line of every column.
AHEAD = 3
ZERO, SIDE = const(0, "i64"), const(LANES, "i64")


@dataclass(frozen=True, slots=True)
class Transpose:
    """target[to + r * width + c] = source[at + c * pitch + r] for r and c below LANES; a statement of this renderer.

    Where `ahead` isn't 0, source that many elements further in each column is prefetched.
    """

    source: str
    at: Expr
    pitch: Expr
    target: str
    to: Expr
    width: Expr
    ahead: int = 0

    @property
    def stores(self) -> tuple[str, ...]:
        return (self.target,)


@dataclass(frozen=True, slots=True)
class Bands:
    """The statements in place of a nest, and the local buffers of `size` elements they use."""

    buffers: tuple[Buffer, ...]
    size: int
    body: tuple[Statement, ...]


def nest(s: For) -> For | None:
    """The inner loop of two whose iterations are all independent."""
    inner = s.body[0] if s.vector and len(s.body) == 1 else None
    return inner if isinstance(inner, For) and inner.vector else None


def slope(x: Expr, v: Expr, varying: set[Expr]) -> Expr | None:
    """How far x moves when v does by 1; None where that differs from place to place."""
    if x is v:
        return const(1, "i64")
    if v not in postorder(x):
        return ZERO
    if x.op not in ("add", "sub", "mul"):
        return None
    a, b = (slope(y, v, varying) for y in x.args)
    if a is None or b is None:
        return None
    if x.op != "mul":
        return binary(x.op, a, b)
    factor, part = (x.args[0], b) if a is ZERO else (x.args[1], a)
    return None if varying.intersection(postorder(factor)) else factor * part


def by_bands(outer: For, inner: For, dtypes: dict[str, str], k: int) -> Bands | None:
    """The nest with crosswise operands turned; None where there is none, or what is read is also written."""
    row, col = outer.var, inner.var
    written = {s.buffer for s in inner.body if isinstance(s, Store)}
    varying = {row, col, *(s.var for s in inner.body if isinstance(s, Let))}
    loads = [x for x in postorder(*expressions(inner.body)) if x.op == "load"]
    if not all(isinstance(s, Let | Store) for s in inner.body) or written & {str(x.attr) for x in loads}:
        return None

    def pitch(index: Expr) -> Expr | None:
        down, along = slope(index, row, varying), slope(index, col, varying)
        crosswise = down is const(1, "i64") and along is not None and along.op != "const"
        return along if crosswise else None

    crossed = {x: p for x in loads if (p := pitch(x.args[0])) is not None}
    out = {s: p for s in inner.body if isinstance(s, Store) and (p := pitch(s.index)) is not None}
    if not crossed and not out:
        return None

    # Names with a dot are not identifiers, so none of these can be the kernel's own.
    size = sum(DTYPES[x.dtype].size for x in crossed) + sum(DTYPES[dtypes[s.buffer]].size for s in out)
    width = max(LANES, BAND_BYTES // LANES // size // LANES * LANES)
    pitch_here = const(width, "i64")
    part, start, stop = var(f"part.{k}"), var(f"start.{k}"), var(f"stop.{k}")
    band, top, bottom = var(f"band.{k}"), var(f"top.{k}"), var(f"bottom.{k}")
    square, left = var(f"square.{k}"), var(f"left.{k}")
    here = (row - top) * width + (col - start)
    buffers: list[Buffer] = []
    before: list[Statement] = []
    after: list[Statement] = []

    def squares(turn: Transpose, one: Store) -> For:
        """Every square of the band: turned where it is whole, else element by element."""
        whole = node("and", "bool", (top + LANES <= bottom, left + LANES <= stop))
        each = For(row, top, bottom, (For(col, left, minimum(left + LANES, stop), (one,)),))
        body = (Let(left, start + square * LANES), If(whole, (cast(Statement, turn),)), If(~whole, (each,)))
        return For(square, ZERO, idiv(stop - start + (LANES - 1), SIDE), body)

    corner = {row: top, col: left}
    replaced: dict[Expr, Expr] = {}
    for j, (x, p) in enumerate(crossed.items()):
        local = Buffer(f"{x.attr}.{k}.{j}", x.dtype, "rw")
        buffers.append(local)
        at, to = substitute((x.args[0], here), corner)
        turn = Transpose(str(x.attr), at, p, local.name, to, pitch_here, AHEAD * LANES)
        before.append(squares(turn, Store(local.name, here, x)))
        replaced[x] = load(local.name, x.dtype, here)
    body: list[Statement] = []
    for j, s in enumerate(inner.body):
        if isinstance(s, Let):
            body.append(Let(s.var, substitute((s.value,), replaced)[0]))
            continue
        assert isinstance(s, Store)
        (value,) = substitute((s.value,), replaced)
        if s not in out:
            body.append(Store(s.buffer, s.index, value, s.stream))
            continue
        local = Buffer(f"{s.buffer}.{k}.{j}", dtypes[s.buffer], "rw")
        buffers.append(local)
        body.append(Store(local.name, here, value))
        at, to = substitute((here, s.index), corner)
        turn = Transpose(local.name, at, pitch_here, s.buffer, to, out[s])
        after.append(squares(turn, Store(s.buffer, s.index, load(local.name, local.dtype, here))))

    lines = [
        Prefetch(str(x.attr), substitute(x.args, {row: row + LANES * AHEAD})[0])
        for x in loads
        if x not in crossed and slope(x.args[0], col, varying) is const(1, "i64")
    ]
    wanted = (*(cast(Statement, p) for p in lines), *body)
    rows = For(row, top, bottom, (For(col, start, stop, wanted, vector=True),))
    bands = For(band, ZERO, idiv(outer.stop - outer.start + (LANES - 1), SIDE), (
        Let(top, outer.start + band * LANES),
        Let(bottom, minimum(top + LANES, outer.stop)),
        *before, rows, *after,
    ))  # fmt: skip
    parts = For(part, ZERO, idiv(inner.stop - inner.start + (width - 1), const(width, "i64")), (
        Let(start, inner.start + part * width),
        Let(stop, minimum(start + width, inner.stop)),
        bands,
    ))  # fmt: skip
    return Bands(tuple(buffers), LANES * width, (parts,))


def turn(scope: Scope, kind: str, size: int, source: str, pitch: str, target: str, width: str, ahead: int) -> None:
    """Emits a Transpose of elements of an LLVM type: LANES loads, four rounds of shuffles, LANES stores.

    Round by round pairs of rows are merged by the shuffles that cost one cycle where elements are 32 bits: within
    128 bits, then of 128 bits whole.
    """
    t = f"<{LANES} x {kind}>"
    rows = []
    for k in range(LANES):
        rows.append(scope.emit(f"load {t}, ptr {source}, align {size}"))
        if ahead:
            hint(scope, source, ahead * size)
        if k < LANES - 1:
            source = scope.emit(f"getelementptr {kind}, ptr {source}, i64 {pitch}")
    for distance, low, high in ROUNDS:
        for k in range(LANES):
            if not k & distance:
                a, b = rows[k], rows[k + distance]
                rows[k] = scope.emit(f"shufflevector {t} {a}, {t} {b}, {low}")
                rows[k + distance] = scope.emit(f"shufflevector {t} {a}, {t} {b}, {high}")
    for k in range(LANES):
        # The first two rounds leave rows 1 and 2 of every four in each other's place.
        row = rows[k & ~3 | (k & 1) << 1 | (k & 2) >> 1]
        scope.do(f"store {t} {row}, ptr {target}, align {size}")
        if k < LANES - 1:
            target = scope.emit(f"getelementptr {kind}, ptr {target}, i64 {width}")


def both(*lanes: int) -> list[int]:
    """These lanes of the first row and of the second, then the same of every following four."""
    return [four + k for four in range(0, LANES, 4) for k in lanes]


def fours(*quarters: int) -> list[int]:
    return [4 * q + k for q in quarters for k in range(4)]


# Distance of the rows of a pair, and which lanes of the two make each of the rows that replace them.
ROUNDS = [
    (1, picks(both(0, 16, 1, 17)), picks(both(2, 18, 3, 19))),
    (2, picks(both(0, 1, 16, 17)), picks(both(2, 3, 18, 19))),
    (4, picks(fours(0, 2, 4, 6)), picks(fours(1, 3, 5, 7))),
    (8, picks(fours(0, 2, 4, 6)), picks(fours(1, 3, 5, 7))),
]
