"""The place that sorting would give to one rank of each row, without sorting: by the bytes of keys, the highest first.

Counting how often each byte occurs tells which one the element of that rank begins with; among those that begin so the
next byte is counted, and so on. Source: the selection that goes with radix sort (Knuth, The Art of Computer
Programming 3, 5.2.5). Imports core, ir and neighbours in ops. Read next: `ranking.py` (keys), `sorting.py` (who asks).
"""

from __future__ import annotations

from ..core._core import launch, new_empty
from ..ir.expr import DTYPES as TYPES
from ..ir.expr import Expr, as_expr, cast, const, eq, load, node, var, where
from ..ir.kernel import Accumulator, Buffer, For, If, Kernel, Let, Reduce, Scalar, Statement, Store
from .indirect import along
from .picking import pick
from .primitive import generated, primitive
from .ranking import DIGITS, GRAIN, INT64, SHORT, ZERO, keys_of, short_places


def shifted(x: Expr, bits: int) -> Expr:
    return node("shr", x.dtype, (x, const(bits, x.dtype))) if bits else x


@generated
def select_kernel(dtype: str) -> Kernel:
    """places[t] = where the element of ranks[t] (counted from 0) stands in row t of n keys; equals keep their order."""
    t, i, d, n = var("t"), var("i"), var("d"), var("n")
    size = TYPES[dtype].size
    key, counts = load("keys", dtype, var("base") + i), var("counts_at")
    count = load("counts", "i64", counts + d)
    rank, prefix = var("rank0"), var("prefix0", dtype)
    body: list[Statement] = [
        Let(var("base"), t * n), Let(counts, t * DIGITS), Let(rank, load("ranks", "i64", t)),
        Let(prefix, const(0, dtype)),
    ]  # fmt: skip
    for p in range(size):
        shift = 8 * (size - 1 - p)
        at, total, digit, below = (var(f"{name}{p}") for name in ("at", "total", "digit", "below"))
        tally: tuple[Statement, ...] = (
            Let(at, counts + cast(shifted(key, shift) & (DIGITS - 1), "i64")),
            Store("counts", at, load("counts", "i64", at) + 1),
        )
        if p:
            tally = (If(eq(shifted(key, shift + 8), prefix), tally),)
        here = (total <= rank) & (rank < total + count)
        accumulators = tuple(Accumulator(a, ZERO) for a in (total, digit, below))
        body += [
            For(d, ZERO, as_expr(DIGITS), (Store("counts", counts + d, ZERO),), vector=True),
            For(i, ZERO, n, tally),
            Reduce(d, ZERO, as_expr(DIGITS), accumulators,
                   (total + count, where(here, d, digit), where(here, total, below)), lanes=1),
        ]  # fmt: skip
        longer, less = var(f"prefix{p + 1}", dtype), var(f"rank{p + 1}")
        body += [Let(longer, prefix * DIGITS | cast(digit, dtype)), Let(less, rank - below)]
        rank, prefix = less, longer
    seen, found = var("seen"), var("found")
    same = eq(key, prefix)
    step = seen + cast(same, "i64"), where(same & eq(seen, rank), i, found)
    body += [
        Reduce(i, ZERO, n, (Accumulator(seen, ZERO), Accumulator(found, ZERO)), step, lanes=1),
        Store("places", t, found),
    ]
    params = (
        Buffer("places", "i64", "w"), Buffer("counts", "i64", "rw"), Buffer("keys", dtype), Buffer("ranks", "i64"),
        Scalar("n"), Scalar("rows"),
    )  # fmt: skip
    return Kernel("select", params, (For(t, ZERO, var("rows"), tuple(body), parallel=True),))


@primitive()
def places_at(ctx, name, x, ranks):
    """`sorting_places(name, x)` at ranks (…, 1), one for each row; off the tape."""
    keys, ranks = keys_of(name, x), ranks.expand(*x.shape[:-1], 1).contiguous()
    n, rows = x.shape[-1], ranks.numel()
    if n <= SHORT:
        return pick(short_places(keys), places=along(ranks.shape, ranks.ndim - 1), indices=(ranks,))
    places = new_empty(ranks.shape, INT64)
    if rows:
        counts = new_empty((rows, DIGITS), INT64)
        kernel = select_kernel("u64" if keys.dtype is INT64 else "u32")
        launch(kernel, (places, counts, keys, ranks, n, rows), rows, max(1, GRAIN // (n * 4)), x.numel() * 4)
    return places
