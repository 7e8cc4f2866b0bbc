"""The order of elements: unsigned keys that compare as the elements do, and the places that sort each row of them.

Short rows count for each element how many come before it; longer ones are sorted by their bytes, least significant
first (Knuth, The Art of Computer Programming 3, 5.2.5), in blocks that run at once. Both are stable, so the answer is
unique. Imports core, ir and neighbours in ops. Read next: `sorting.py` (who asks).
"""

from __future__ import annotations

from ..core._core import DTYPES, Plan, Step, Tensor, launch, new_empty
from ..ir.expr import DTYPES as TYPES
from ..ir.expr import (
    Expr,
    as_expr,
    bitcast,
    cast,
    const,
    eq,
    idiv,
    irem,
    isnan,
    load,
    minimum,
    node,
    var,
    where,
)
from ..ir.kernel import LANES, Accumulator, Buffer, For, Kernel, Let, Reduce, Scalar, Statement, Store
from .primitive import generated, planned, primitive

INT32, INT64 = DTYPES[4], DTYPES[5]
# Rows up to this length are ranked by comparing all pairs.
SHORT = 64
BLOCK = 65536
DIGITS = 256
# So many of the best are found one by one, each time in a stretch of this length, unless they are a large share: one
# takes about as long as sorting ten.
FEW, SHARE = 256, 10
STRETCH = 128
GRAIN = 32768
ZERO = const(0, "i64")


def key_dtype(dtype: str) -> str:
    return "u64" if TYPES[dtype].size == 8 else "u32"


def key_of(x: Expr) -> Expr:
    """Bits that order as numbers do: -0.0 as 0.0, NaN above all."""
    kind, unsigned = TYPES[x.dtype].kind, key_dtype(x.dtype)
    sign = const(1 << (8 * TYPES[unsigned].size - 1), unsigned)
    if kind in "bu":
        return cast(x, unsigned)
    if kind == "i":
        if TYPES[x.dtype].size < 4:
            return cast(cast(x, "i32") + (1 << (8 * TYPES[x.dtype].size - 1)), unsigned)
        return bitcast(x, unsigned) ^ sign
    x = cast(x, "f64" if unsigned == "u64" else "f32")
    bits = bitcast(where(eq(x, 0.0), 0.0, x), unsigned)
    ordered = where(bits < sign, bits | sign, ~bits)
    return where(isnan(x), const((1 << (8 * TYPES[unsigned].size)) - 1, unsigned), ordered)


@generated
def keys_kernel(dtype: str, descending: bool) -> Kernel:
    i = var("i")
    key = key_of(load("x", dtype, i))
    params = (Buffer("keys", key.dtype, "w"), Buffer("x", dtype), Scalar("n"))
    body = (Store("keys", i, ~key if descending else key),)
    return Kernel("order_keys", params, (For(i, ZERO, var("n"), body, parallel=True, vector=True),))


@generated
def rank_kernel(dtype: str) -> Kernel:
    """places[rank of i] = i in each row of n keys."""
    t, i, j, rank = var("t"), var("i"), var("j"), var("rank")
    n = var("n")
    mine, other = load("keys", dtype, t * n + i), load("keys", dtype, t * n + j)
    before = where(j < i, other <= mine, other < mine)
    count = Reduce(j, ZERO, n, (Accumulator(rank, ZERO),), (rank + cast(before, "i64"),), lanes=1)
    row = For(i, ZERO, n, (count, Store("places", t * n + rank, i)), vector=True)
    params = (Buffer("places", "i64", "w"), Buffer("keys", dtype), Scalar("n"), Scalar("rows"))
    return Kernel("rank", params, (For(t, ZERO, var("rows"), (row,), parallel=True),))


@generated
def best_kernel(dtype: str) -> Kernel:
    """places[t, j] = where the j-th smallest of row t's n keys stands.

    spots[t, p] is where the best of stretch p stands that hasn't been taken: one is taken from the best of those, and
    its stretch is looked through again.
    """
    t, j, i, p = var("t"), var("j"), var("i"), var("p")
    n, k, stretches = var("n"), var("k"), var("stretches")
    worst = const((1 << 8 * TYPES[dtype].size) - 1, dtype), as_expr(2**62)

    def best(names: str, over: Expr, start: Expr, stop: Expr, element: tuple[Expr, Expr], lanes: int) -> tuple:
        """A fold, and the smallest key and its place: of equal keys the first one."""
        found, others = ((var(f"key_{names}{end}", dtype), var(f"place_{names}{end}")) for end in ("", "_b"))

        def merge(a: tuple[Expr, Expr], b: tuple[Expr, Expr]) -> tuple[Expr, Expr]:
            takes = (b[0] < a[0]) | (eq(b[0], a[0]) & (b[1] < a[1]))
            return where(takes, b[0], a[0]), where(takes, b[1], a[1])

        accumulators = tuple(map(Accumulator, found, worst))
        if lanes == 1:
            return Reduce(over, start, stop, accumulators, merge(found, element), lanes=1), found
        return Reduce(over, start, stop, accumulators, merge(found, element), merge(found, others), others), found

    x, start = load("keys", dtype, t * n + i), p * STRETCH
    first, (_, spot) = best("first", i, start, minimum(n, start + STRETCH), (x, i), LANES)
    look = For(p, ZERO, stretches, (first, Store("spots", t * stretches + p, spot)))
    at = load("spots", "i64", t * stretches + p)
    left = at < worst[1]
    leader = where(left, load("keys", dtype, t * n + where(left, at, ZERO)), worst[0]), at
    choose, (key, place) = best("best", p, ZERO, stretches, leader, 1)
    begin = idiv(place, as_expr(STRETCH)) * STRETCH
    # What comes after the one taken: a larger key, or the same one further on.
    after = (key < x) | (eq(key, x) & (place < i))
    element = where(after, x, worst[0]), where(after, i, worst[1])
    again, (_, following) = best("next", i, begin, minimum(n, begin + STRETCH), element, LANES)
    take = (
        choose,
        Store("places", t * k + j, place),
        again,
        Store("spots", t * stretches + idiv(place, as_expr(STRETCH)), following),
    )
    sizes = [Scalar(name) for name in ("n", "k", "stretches", "rows")]
    params: tuple[Buffer | Scalar, ...] = (
        Buffer("places", "i64", "w"), Buffer("spots", "i64", "rw"), Buffer("keys", dtype), *sizes,
    )  # fmt: skip
    return Kernel("few_best", params, (For(t, ZERO, var("rows"), (look, For(j, ZERO, k, take)), parallel=True),))


def digit(buffer: str, dtype: str, index: Expr) -> Expr:
    shifted = node("shr", dtype, (load(buffer, dtype, index), cast(var("shift"), dtype)))
    return cast(shifted & (DIGITS - 1), "i64")


def block() -> tuple[Statement, ...]:
    """t counts (row, block): the keys of a row from `start` to `stop`, which begins at `base`."""
    t, n, blocks = var("t"), var("n"), var("blocks")
    return (
        Let(var("base"), idiv(t, blocks) * n),
        Let(var("start"), irem(t, blocks) * BLOCK),
        Let(var("stop"), minimum(n, var("start") + BLOCK)),
    )


SIZES = (Scalar("n"), Scalar("blocks"), Scalar("shift"), Scalar("extent"))


@generated
def count_kernel(dtype: str) -> Kernel:
    """counts[t, d] = how many keys of block t have digit d."""
    t, i, d = var("t"), var("i"), var("d")
    at = t * DIGITS + digit("keys", dtype, var("base") + i)
    clear = For(d, ZERO, as_expr(DIGITS), (Store("counts", t * DIGITS + d, ZERO),), vector=True)
    add = For(
        i,
        var("start"),
        var("stop"),
        (Let(var("at"), at), Store("counts", var("at"), load("counts", "i64", var("at")) + 1)),
    )
    params = (Buffer("counts", "i64", "rw"), Buffer("keys", dtype), *SIZES)
    return Kernel("count_digits", params, (For(t, ZERO, var("extent"), (*block(), clear, add), parallel=True),))


@generated
def offsets_kernel(single: bool) -> Kernel:
    """offsets[row, block, d] = how many keys of the row have a smaller digit, or the same one in an earlier block."""
    t, k, total = var("t"), var("k"), var("total")
    blocks = var("blocks")
    at = t * DIGITS + k if single else (t * blocks + irem(k, blocks)) * DIGITS + idiv(k, blocks)
    fold = Reduce(
        k, ZERO, blocks * DIGITS, (Accumulator(total, ZERO),), (total + load("counts", "i64", at),), lanes=1,
        body=(Store("offsets", at, total),),
    )  # fmt: skip
    params = (Buffer("offsets", "i64", "w"), Buffer("counts", "i64"), Scalar("blocks"), Scalar("rows"))
    return Kernel("digit_offsets", params, (For(t, ZERO, var("rows"), (fold,), parallel=True),))


@generated
def move_kernel(dtype: str, first: bool) -> Kernel:
    """Keys and places go where their digit says; `first`: places aren't read, they are 0, 1, 2, …."""
    t, i = var("t"), var("i")
    base = var("base")
    slot = t * DIGITS + digit("keys", dtype, base + i)
    place = i if first else load("places", "i64", base + i)
    body = (
        Let(var("slot"), slot),
        Let(var("to"), load("offsets", "i64", var("slot"))),
        Store("offsets", var("slot"), var("to") + 1),
        Store("keys_out", base + var("to"), load("keys", dtype, base + i)),
        Store("places_out", base + var("to"), place),
    )
    source = () if first else (Buffer("places", "i64"),)
    params = (
        Buffer("keys_out", dtype, "w"), Buffer("places_out", "i64", "w"), Buffer("offsets", "i64", "rw"),
        Buffer("keys", dtype), *source, *SIZES,
    )  # fmt: skip
    move = For(i, var("start"), var("stop"), body)
    return Kernel("move_digits", params, (For(t, ZERO, var("extent"), (*block(), move), parallel=True),))


@planned()
def keys_planned(x: Tensor, descending: bool) -> Plan:
    count, dtype = x.numel(), INT64 if key_dtype(x.dtype.ir) == "u64" else INT32
    step = Step(keys_kernel(x.dtype.ir, descending), (1, 0), (count,), count, GRAIN, count)
    return Plan([(x.shape, dtype)], step)


def ordered_keys(name: str, x: Tensor, descending: bool) -> Tensor:
    """The bits of unsigned keys of x, in an int32 or int64 tensor of its shape; off the tape."""
    if x.is_complex():
        raise RuntimeError(f"{name}: complex numbers have no order; sort their abs() or parts")
    return keys_planned(x.detach(), descending)


@primitive()
def keys_of(ctx, name, x, descending=False):
    """`ordered_keys` as an op."""
    return ordered_keys(name, x, descending)


@planned()
def short_places(keys: Tensor) -> Plan:
    """The places that sort rows of up to SHORT keys."""
    n, count = keys.shape[-1], keys.numel()
    rows = count // max(1, n)
    kernel = rank_kernel("u64" if keys.dtype is INT64 else "u32")
    step = Step(kernel, (1, 0), (n, rows), rows, max(1, GRAIN // max(1, n * n)), count * n)
    return Plan([(keys.shape, INT64)], step)


def places_of(keys: Tensor, size: int) -> Tensor:
    """The places along the last dimension that sort keys, whose lowest `size` bytes differ; off the tape."""
    n, count = keys.shape[-1], keys.numel()
    if n <= SHORT or not count:
        return short_places(keys)
    places = new_empty(keys.shape, INT64)
    rows, dtype = count // n, "u64" if keys.dtype is INT64 else "u32"
    blocks = -(-n // BLOCK)
    units = rows * blocks
    grain = max(1, GRAIN * units // count)
    counts, offsets = new_empty((units, DIGITS), INT64), new_empty((units, DIGITS), INT64)
    spare = new_empty(keys.shape, keys.dtype), new_empty(keys.shape, INT64)
    target = new_empty(keys.shape, keys.dtype), places
    if size % 2 == 0:
        target, spare = spare, target
    source: tuple[Tensor, ...] = (keys,)
    for k in range(size):
        sizes = (n, blocks, 8 * k, units)
        launch(count_kernel(dtype), (counts, source[0], *sizes), units, grain, count)
        launch(
            offsets_kernel(blocks == 1),
            (offsets, counts, blocks, rows),
            rows,
            max(1, GRAIN // (DIGITS * blocks)),
            units * DIGITS,
        )
        launch(move_kernel(dtype, k == 0), (*target, offsets, *source, *sizes), units, grain, count)
        source, target, spare = target, spare, target
    return source[1]


@primitive()
def sorting_places(ctx, name, x, descending=False):
    """The places along the last dimension in sorted order, equal elements in their own; off the tape."""
    size = 4 if x.dtype.is_floating_point and x.itemsize < 4 else x.itemsize
    return places_of(ordered_keys(name, x, descending), size)


def first_places(name: str, x: Tensor, k: int, descending: bool = False) -> Tensor:
    """The first k of `sorting_places`; off the tape."""
    n = x.shape[-1]
    if not 0 < k <= min(FEW, n // SHARE) or n <= SHORT:
        return sorting_places(name, x, descending).narrow(-1, 0, k)
    keys = ordered_keys(name, x, descending)
    places = new_empty((*x.shape[:-1], k), INT64)
    rows = x.numel() // n if n else 0
    stretches = -(-n // STRETCH)
    spots = new_empty((rows, stretches), INT64)
    kernel = best_kernel("u64" if keys.dtype is INT64 else "u32")
    launch(kernel, (places, spots, keys, n, k, stretches, rows), rows, max(1, GRAIN // n), x.numel() * 2)
    return places
