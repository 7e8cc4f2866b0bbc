"""The LLVM renderer against the reference interpreter, bit for bit, on every target this machine runs."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from contractions import guarded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernels import REAL, SPECIAL, ZERO, I, K, M, N, callable_image, exprs, pointwise, row_reduce, same, sample

from flambeau.codegen import elf, native
from flambeau.codegen.llvm import render
from flambeau.codegen.target import AVX2, AVX512, NEON, host
from flambeau.ir import expr as E
from flambeau.ir.expr import DTYPES, cast, const, load, node, var, where
from flambeau.ir.interpret import MEMORY, encode, evaluate, run
from flambeau.ir.kernel import Accumulator, Buffer, For, If, Kernel, Let, Reduce, Scalar, Store
from flambeau.ir.verify import verify

RUNNABLE = [t for t in (AVX512, AVX2) if host() in (AVX512, t)] or [host()]
slow = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@functools.cache
def compiled(kernel: Kernel, target):
    verify(kernel)
    return callable_image(native.build(kernel, target))


def check(kernel: Kernel, arrays: dict[str, np.ndarray], numbers: dict[str, int], begin: int, end: int) -> None:
    """Runs interpreter and every runnable target on copies; all buffers must end up the same."""
    want = {name: a.copy() for name, a in arrays.items()}
    run(kernel, [want.get(p.name, numbers.get(p.name)) for p in kernel.params], begin, end)
    for target in RUNNABLE:
        got = {name: a.copy() for name, a in arrays.items()}
        compiled(kernel, target)([got.get(p.name, numbers.get(p.name)) for p in kernel.params], begin, end)
        for name, b in kernel.buffers.items():
            assert same(got[name], want[name], b.dtype), (target.name, name, got[name], want[name])


@pytest.mark.parametrize("dtype", REAL)
@slow
@given(data=st.data())
def test_random_exprs(dtype, data):
    inputs = {f"x{k}": data.draw(st.sampled_from(REAL)) for k in range(3)} | {"x3": dtype}
    leaves: dict = {}
    for name, d in inputs.items():
        leaves.setdefault(d, []).append(load(name, d, I))
    value = data.draw(exprs(leaves, dtype, 8))
    n = data.draw(st.integers(0, 40))
    arrays = {name: sample(d, n, 7 + k) for k, (name, d) in enumerate(inputs.items())}
    with np.errstate(all="ignore"):
        want = encode(evaluate(value, arrays | {"i": np.arange(n)}), dtype)
    want = np.broadcast_to(want, n).astype(MEMORY[dtype])
    for target in RUNNABLE:
        got = np.empty(n, MEMORY[dtype])
        compiled(pointwise(value, inputs), target)([*arrays.values(), got, n], 0, n)
        assert same(got, want, dtype), (target.name, got, want)


def corners(dtype: str) -> np.ndarray:
    """Values at and beside every limit a conversion from dtype has: ties, ranges, NaNs with awkward bits."""
    if DTYPES[dtype].kind != "f":
        return sample(dtype, 200, 5)
    limits = [2.0**k for k in (7, 8, 15, 16, 31, 32, 63, 64)] + [2.0**k - 1 for k in (7, 8, 15, 16, 31, 32)]
    ties = [
        1 + 2**-8,
        1 + 3 * 2**-8,
        1 + 2**-11,
        1 + 3 * 2**-11,
        65519.99,
        65520.0,
        3.3961775e38,
        2.0**-25,
        3 * 2.0**-25,
    ]
    whole = np.array([*limits, *ties, *SPECIAL["f"], 0.5, 1.5, 2.5])
    beside = np.concatenate([whole, np.nextafter(whole, np.inf), np.nextafter(whole, 0), whole + 0.5, whole + 1])
    if dtype == "f64":
        return np.concatenate([beside, -beside])
    with np.errstate(all="ignore"):
        single = beside.astype(np.float32)
        single = np.concatenate([single, np.nextafter(single, np.float32(np.inf)), np.nextafter(single, np.float32(0))])
    bits = np.array([0x7FFFFFFF, 0x7F800001, 0xFFFFFFFF, 0x7FC00000, 0x7F7FFFFF, 0x7F7F8000, 0x7F7F7FFF], np.uint32)
    single = np.concatenate([single, -single, bits.view(np.float32)])
    if dtype == "bf16":
        return (single.view(np.uint32) >> 16).astype(np.uint16)
    with np.errstate(all="ignore"):
        return single if dtype == "f32" else single.astype(np.float16).view(np.uint16)


@pytest.mark.parametrize("source", REAL)
def test_every_conversion_at_its_limits(source):
    x = corners(source)
    for dtype in REAL:
        if dtype != source:
            kernel = pointwise(cast(load("x", source, I), dtype), {"x": source})
            want = encode(evaluate(cast(load("x", source, I), dtype), {"x": x, "i": np.arange(len(x))}), dtype)
            for target in RUNNABLE:
                got = np.empty(len(x), MEMORY[dtype])
                compiled(kernel, target)([x, got, len(x)], 0, len(x))
                assert same(got, want, dtype), (target.name, source, dtype)


LENGTHS = [*range(41), 63, 64, 65, 100]
FOLDS = {
    "sum": (lambda a, x: a + x, lambda a, b: a + b, 0.0),
    "max": (E.maximum, E.maximum, float("-inf")),
    "sum of squares": (lambda a, x: E.fma(x, x, a), lambda a, b: a + b, 0.0),
}


@pytest.mark.parametrize("lanes", [16, 1, 4])
@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_row_reductions_of_every_length(dtype, fold, lanes):
    kernel = row_reduce(*FOLDS[fold], dtype, lanes)
    for m in LENGTHS:
        arrays = {"x": sample(dtype, 3 * m, m), "out": np.zeros(3, MEMORY[dtype])}
        if fold == "sum":
            arrays["x"] = np.random.default_rng(m).standard_normal(3 * m).astype(MEMORY[dtype])
        check(kernel, arrays, {"m": m, "n": 3}, 0, 3)


def test_integer_and_boolean_reductions():
    for dtype, step, init in (
        ("i64", lambda a, b: a + b, 0),
        ("u8", E.maximum, 0),
        ("bool", lambda a, b: a | b, False),
    ):
        kernel = row_reduce(step, step, init, dtype)
        for m in (0, 1, 15, 16, 17, 40):
            check(kernel, {"x": sample(dtype, 3 * m, m), "out": np.zeros(3, MEMORY[dtype])}, {"m": m, "n": 3}, 0, 3)


def argmax(column: bool) -> Kernel:
    """The first index of the greatest element: two accumulators, order of lanes and of merging both matter."""
    best, other = (var("best", "f32"), var("at")), (var("best2", "f32"), var("at2"))
    x = load("x", "f32", K * N + I if column else I * M + K)

    def better(v, i, w, j):
        later = node("lt", "bool", (w, v)) | (E.eq(w, v) & (i < j))
        return where(later, v, w), where(later, i, j)

    fold = Reduce(
        K, ZERO, M, (Accumulator(best[0], const(float("-inf"), "f32")), Accumulator(best[1], const(0, "i64"))),
        better(x, K, *best), better(*other, *best), other,
    )  # fmt: skip
    loop = For(I, ZERO, N, (fold, Store("out", I, best[1]), Store("top", I, best[0])), True, column)
    params = (Buffer("x", "f32"), Buffer("out", "i64", "w"), Buffer("top", "f32", "w"), Scalar("m"), Scalar("n"))
    return Kernel("argmax", params, (loop,))


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("lanes", [16, 4])
def test_order_of_merging(column, lanes):
    """A merge that tells left from right: every lane's turn shows in the result."""
    acc, other = var("acc", "f32"), var("acc2", "f32")
    x = load("x", "f32", K * N + I if column else I * M + K)
    fold = Reduce(
        K, ZERO, M, (Accumulator(acc, const(1.0, "f32")),), (acc * 0.5 + x,), (acc - other * 0.25,), (other,), lanes
    )
    loop = For(I, ZERO, N, (fold, Store("out", I, acc)), True, column)
    kernel = Kernel("order", (Buffer("x", "f32"), Buffer("out", "f32", "w"), Scalar("m"), Scalar("n")), (loop,))
    for m in (0, 3, 16, 33):
        x = np.random.default_rng(m).standard_normal(m * 19).astype(np.float32)
        check(kernel, {"x": x, "out": np.zeros(19, np.float32)}, {"m": m, "n": 19}, 0, 19)


@pytest.mark.parametrize("column", [False, True])
def test_two_accumulators(column):
    for m in (0, 1, 5, 16, 17, 33, 70):
        for n in (1, 16, 19):
            x = np.random.default_rng(m).integers(0, 9, m * n).astype(np.float32)
            arrays = {"x": x, "out": np.zeros(n, np.int64), "top": np.zeros(n, np.float32)}
            check(argmax(column), arrays, {"m": m, "n": n}, 0, n)


@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "f16"])
def test_column_sums(dtype):
    acc, other = var("acc", "f32"), var("acc2", "f32")
    x = cast(load("x", dtype, K * N + I), "f32")
    fold = Reduce(K, ZERO, M, (Accumulator(acc, const(0.0, "f32")),), (acc + E.exp(x),), (acc + other,), (other,))
    loop = For(I, ZERO, N, (fold, Store("out", I, cast(acc, dtype))), True, True)
    kernel = Kernel("columns", (Buffer("x", dtype), Buffer("out", dtype, "w"), Scalar("m"), Scalar("n")), (loop,))
    for m in (0, 1, 15, 16, 17, 40):
        for n in (1, 16, 21):
            arrays = {"x": sample(dtype, m * n, 3), "out": np.zeros(n, MEMORY[dtype])}
            check(kernel, arrays, {"m": m, "n": n}, 0, n)


def moments() -> Kernel:
    """Mean and variance of columns in two passes: Lets before, between and after two Reduces side by side."""
    total, total2, square, square2 = (var(name, "f32") for name in ("total", "total2", "square", "square2"))
    at, count, mean, k2 = var("at"), var("count", "f32"), var("mean", "f32"), var("k2")
    off = load("x", "f32", at + k2 * N) - mean
    body = (
        Let(at, I + 0 * N),
        Let(count, cast(M, "f32")),
        Reduce(K, ZERO, M, (Accumulator(total, const(0.0, "f32")),), (total + load("x", "f32", at + K * N),),
               (total + total2,), (total2,)),
        Let(mean, total / count),
        Reduce(k2, ZERO, M, (Accumulator(square, const(0.0, "f32")),), (E.fma(off, off, square),),
               (square + square2,), (square2,)),
        Store("out", I, square / count, True),
        Store("average", I, mean),
    )  # fmt: skip
    params = (Buffer("x", "f32"), Buffer("out", "f32", "w"), Buffer("average", "f32", "w"), Scalar("m"), Scalar("n"))
    return Kernel("moments", params, (For(I, ZERO, N, body, True, True),))


def test_columns_in_several_tiles_and_passes():
    """More columns than a tile has, begun in the middle; accumulators of 4 and of 12 bytes have tiles of their own."""
    n, m = 600, 19
    x = np.random.default_rng(0).standard_normal(m * n).astype(np.float32)
    numbers = {"m": m, "n": n}
    for begin, end in ((0, n), (37, 550)):
        arrays = {"x": x, "out": np.zeros(n, np.float32), "average": np.zeros(n, np.float32)}
        check(moments(), arrays, numbers, begin, end)
    arrays = {"x": np.round(x), "out": np.zeros(n, np.int64), "top": np.zeros(n, np.float32)}
    check(argmax(True), arrays, numbers, 5, 333)


def test_softmax_and_layer_norm_rows():
    """Two reductions and a vector loop in each row, Lets between them, in place."""
    at = I * M + K
    high, high2, total, total2, j = (
        var("high", "f32"),
        var("high2", "f32"),
        var("total", "f32"),
        var("total2", "f32"),
        var("j"),
    )
    scale = var("scale", "f32")
    rows = For(I, ZERO, N, (
        Reduce(K, ZERO, M, (Accumulator(high, const(float("-inf"), "f32")),), (E.maximum(high, load("x", "f32", at)),),
               (E.maximum(high, high2),), (high2,)),
        Reduce(var("k2"), ZERO, M, (Accumulator(total, const(0.0, "f32")),),
               (total + E.exp(load("x", "f32", I * M + var("k2")) - high),), (total + total2,), (total2,)),
        Let(scale, 1.0 / total),
        For(j, ZERO, M, (Store("x", I * M + j, E.exp(load("x", "f32", I * M + j) - high) * scale, True),), vector=True),
    ), True)  # fmt: skip
    kernel = Kernel("softmax", (Buffer("x", "f32", "rw"), Scalar("m"), Scalar("n")), (rows,))
    for m in (0, 1, 7, 16, 37, 64):
        check(kernel, {"x": np.random.default_rng(m).standard_normal(m * 4).astype(np.float32)}, {"m": m, "n": 4}, 0, 4)


def test_scans_in_rows_and_columns():
    acc = var("acc", "f32")
    for column in (False, True):
        at = K * N + I if column else I * M + K
        fold = Reduce(
            K,
            ZERO,
            M,
            (Accumulator(acc, const(0.0, "f32")),),
            (var("next", "f32"),),
            lanes=1,
            body=(Let(var("next", "f32"), acc + load("x", "f32", at)), Store("out", at, var("next", "f32"))),
        )
        kernel = Kernel(
            "cumsum",
            (Buffer("x", "f32"), Buffer("out", "f32", "w"), Scalar("m"), Scalar("n")),
            (For(I, ZERO, N, (fold,), True, column),),
        )
        for m in (0, 1, 5, 20):
            arrays = {
                "x": np.random.default_rng(1).standard_normal(m * 19).astype(np.float32),
                "out": np.zeros(m * 19, np.float32),
            }
            check(kernel, arrays, {"m": m, "n": 19}, 0, 19)


@pytest.mark.parametrize("dtype", ["f32", "f64", "i64", "u8", "bool", "bf16"])
@pytest.mark.parametrize("index", ["i + 3", "n - 1 - i", "2 i", "s i", "constant", "i // 3", "gather"])
def test_ways_of_reading(dtype, index):
    n, s = 37, var("s")
    at = {
        "i + 3": I + 3,
        "n - 1 - i": N - 1 - I,
        "2 i": I * 2,
        "s i": I * s,
        "constant": const(5, "i64"),
        "i // 3": E.idiv(I, const(3, "i64")),
        "gather": load("where", "i64", I),
    }[index]
    params = (Buffer("x", dtype), Buffer("where", "i64"), Buffer("out", dtype, "w"), Scalar("n"), Scalar("s"))
    kernel = Kernel("read", params, (For(I, ZERO, N, (Store("out", I, load("x", dtype, at)),), True, True),))
    arrays = {
        "x": sample(dtype, 5 * n, 1),
        "where": np.random.default_rng(0).integers(0, n, n),
        "out": np.zeros(n, MEMORY[dtype]),
    }
    for begin, end in ((0, n), (0, 16), (5, 9), (1, 36)):
        check(kernel, arrays, {"n": n, "s": 4}, begin, end)


@pytest.mark.parametrize("dtype", ["f32", "f64", "i64", "u8", "bf16"])
def test_reading_every_second_element_stops_at_the_last(dtype):
    params = (Buffer("x", dtype), Buffer("out", dtype, "w"), Scalar("n"))
    kernel = Kernel("read", params, (For(I, ZERO, N, (Store("out", I, load("x", dtype, I * 2)),), True, True),))
    for n in (1, 2, 15, 16, 17, 31, 32, 33):
        x = guarded(sample(dtype, 2 * n - 1, n))
        for target in RUNNABLE:
            out = np.zeros(n, x.dtype)
            compiled(kernel, target)([x, out, n], 0, n)
            assert out.tobytes() == x[::2].tobytes(), (target.name, n)


@pytest.mark.parametrize("dtype", ["f32", "u8", "bool"])
def test_ways_of_writing(dtype):
    n = 37
    for at in (N - 1 - I, I * 2, load("where", "i64", I)):
        params = (Buffer("x", dtype), Buffer("where", "i64"), Buffer("out", dtype, "w"), Scalar("n"))
        kernel = Kernel("write", params, (For(I, ZERO, N, (Store("out", at, load("x", dtype, I)),), True, True),))
        arrays = {
            "x": sample(dtype, n, 1),
            "where": np.random.default_rng(0).permutation(n),
            "out": np.zeros(2 * n, MEMORY[dtype]),
        }
        check(kernel, arrays, {"n": n}, 3, n)


@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "u8"])
def test_stream_stores_at_every_alignment(dtype):
    x = load("x", dtype, I)
    kernel = pointwise(x, {"x": dtype}, stream=True)
    for n in (0, 1, 3, 16, 17, 50, 200):
        for shift in (0, 1, 5, 15):
            for target in RUNNABLE:
                a, memory = sample(dtype, n, 1), np.zeros(n + 40, MEMORY[dtype])
                compiled(kernel, target)([a, memory[shift:], n], 0, n)
                assert same(memory[shift : shift + n], a, dtype)
                assert not memory[:shift].any() and not memory[shift + n :].any()


def test_conditions():
    """A uniform If is a branch, a varying one a mask; what stands behind a false one is never read."""
    x, value = load("x", "f32", I), var("value", "f32")
    for condition in (I < N - 5, E.eq(var("flag"), 1), x < 0.0):
        body = (If(condition, (Let(value, load("y", "f32", I) + load("one", "f32", ZERO)), Store("out", I, value))),)
        params = (
            Buffer("x", "f32"),
            Buffer("y", "f32"),
            Buffer("one", "f32"),
            Buffer("out", "f32", "w"),
            Scalar("n"),
            Scalar("flag"),
        )
        for vector in (False, True):
            kernel = Kernel("where", params, (For(I, ZERO, N, body, True, vector),))
            arrays = {name: sample("f32", 37, k) for k, name in enumerate(("x", "y", "one", "out"))}
            for flag in (0, 1):
                check(kernel, arrays, {"n": 37, "flag": flag}, 0, 37)
    null = [np.full(37, 1.0, np.float32), 0, 0, np.zeros(37, np.float32), 37, 0]
    for target in RUNNABLE:
        compiled(kernel, target)(null, 0, 37)


def test_loads_follow_stores_of_the_same_buffer():
    x, before, after = load("x", "f32", I), var("before", "f32"), var("after", "f32")
    body = (
        Let(before, x),
        Store("x", I, x * 2.0),
        Let(after, x),
        Store("out", I, after - before),
        Store("x", I, x + after),
    )
    kernel = Kernel(
        "reread",
        (Buffer("x", "f32", "rw"), Buffer("out", "f32", "w"), Scalar("n")),
        (For(I, ZERO, N, body, True, True),),
    )
    check(kernel, {"x": np.arange(20, dtype=np.float32), "out": np.zeros(20, np.float32)}, {"n": 20}, 0, 20)
    j, cell = var("j"), load("x", "f32", I)
    loop = For(j, ZERO, N, (Store("x", I, cell * 0.5 + load("y", "f32", j)),))
    kernel = Kernel(
        "recurrence",
        (Buffer("x", "f32", "rw"), Buffer("y", "f32"), Buffer("out", "f32", "w"), Scalar("n")),
        (For(I, ZERO, N, (Store("out", I, cell), loop, Store("out", I, cell + load("x", "f32", I))), True, True),),
    )
    arrays = {"x": sample("f32", 20, 0), "y": np.arange(20, dtype=np.float32), "out": np.zeros(20, np.float32)}
    check(kernel, arrays, {"n": 20}, 0, 20)


def test_reductions_of_reductions_and_loops_a_lane_decides():
    inner, inner2, outer, outer2 = (var(name, "f64") for name in ("p", "p2", "q", "q2"))
    add = lambda a, b: a + b
    block = Reduce(
        var("k2"),
        K * 20,
        K * 20 + 20,
        (Accumulator(inner, const(0.0, "f64")),),
        (add(inner, load("x", "f64", I * M + var("k2"))),),
        (add(inner, inner2),),
        (inner2,),
    )
    whole = Reduce(
        K,
        ZERO,
        E.idiv(M, const(20, "i64")),
        (Accumulator(outer, const(0.0, "f64")),),
        (add(outer, inner),),
        (add(outer, outer2),),
        (outer2,),
        body=(block,),
    )
    params = (Buffer("x", "f64"), Buffer("out", "f64", "w"), Scalar("m"), Scalar("n"))
    kernel = Kernel("blocks", params, (For(I, ZERO, N, (whole, Store("out", I, outer)), True),))
    for m in (0, 20, 400):
        x = np.random.default_rng(m).standard_normal(2 * m)
        check(kernel, {"x": x, "out": np.zeros(2)}, {"m": m, "n": 2}, 0, 2)
    triangle = Reduce(
        K,
        ZERO,
        I + 1,
        (Accumulator(outer, const(0.0, "f64")),),
        (outer + load("x", "f64", K),),
        (add(outer, outer2),),
        (outer2,),
    )
    kernel = Kernel("triangle", params, (For(I, ZERO, N, (triangle, Store("out", I, outer)), True, True),))
    check(kernel, {"x": np.random.default_rng(0).standard_normal(40), "out": np.zeros(40)}, {"m": 40, "n": 40}, 0, 40)


def test_scalar_parameters_of_every_dtype():
    for dtype in REAL:
        if dtype in ("f16", "bf16"):
            continue
        value = sample(dtype, 1, 3)[0]
        params = (Buffer("out", dtype, "w"), Scalar("s", dtype), Scalar("n"))
        kernel = Kernel("fill", params, (For(I, ZERO, N, (Store("out", I, var("s", dtype)),), True, True),))
        check(kernel, {"out": np.zeros(19, MEMORY[dtype])}, {"s": value, "n": 19}, 0, 19)


@pytest.mark.parametrize("dtype", ["c64", "c128"])
def test_complex_arithmetic(dtype):
    part = "f32" if dtype == "c64" else "f64"
    x, y = load("x", dtype, I), load("y", dtype, I)
    real, imag = node("real", part, (x,)), node("imag", part, (x,))
    conjugate = node("complex", dtype, (real, -imag))
    numbers = np.concatenate([sample(part, 30, 0).clip(-1e18, 1e18), np.zeros(6, MEMORY[part])]).view(MEMORY[dtype])
    for value in (
        x + y,
        x * y - conjugate,
        x / y,
        -x,
        where(real < imag, x, y),
        cast(real, dtype) * const(1 + 2j, dtype),
    ):
        kernel = pointwise(value, {"x": dtype, "y": dtype})
        check(kernel, {"x": numbers, "y": numbers[::-1].copy(), "out": np.zeros_like(numbers)}, {"n": 18}, 0, 18)
    for value in (E.eq(x, y), cast(x, "bool")):
        kernel = pointwise(value, {"x": dtype, "y": dtype})
        check(kernel, {"x": numbers, "y": numbers[::-1].copy(), "out": np.zeros(18, bool)}, {"n": 18}, 0, 18)
    inplace = For(I, ZERO, N, (Store("x", I, load("x", dtype, I) * load("x", dtype, I)),), True, True)
    check(Kernel("square", (Buffer("x", dtype, "rw"), Scalar("n")), (inplace,)), {"x": numbers}, {"n": 18}, 0, 18)
    acc, other = var("acc", dtype), var("acc2", dtype)
    fold = Reduce(
        K, ZERO, N, (Accumulator(acc, const(1, dtype)),), (acc * load("x", dtype, K),), (acc * other,), (other,)
    )
    kernel = Kernel(
        "prod",
        (Buffer("x", dtype), Buffer("out", dtype, "w"), Scalar("n")),
        (For(I, ZERO, const(1, "i64"), (fold, Store("out", I, acc)), True),),
    )
    check(kernel, {"x": numbers, "out": np.zeros(1, MEMORY[dtype])}, {"n": 18}, 0, 1)


def samples_of_kernels() -> list[Kernel]:
    x, y = load("x", "f32", I), load("y", "f32", I)
    return [
        pointwise(E.exp(x) / (1.0 + E.erf(y)), {"x": "f32", "y": "f32"}),
        pointwise(cast(load("x", "bf16", I), "f32") * 2.0, {"x": "bf16"}),
        pointwise(E.floor(E.sqrt(load("x", "f16", I))), {"x": "f16"}),
        pointwise(E.cast(load("x", "f64", I), "u64"), {"x": "f64"}),
        pointwise(E.irem(load("x", "i64", I), load("y", "i64", I)), {"x": "i64", "y": "i64"}),
        row_reduce(*FOLDS["max"]), argmax(True),
    ]  # fmt: skip


@pytest.mark.parametrize("target", [AVX512, AVX2, NEON], ids=lambda t: t.name)
def test_objects_call_nothing_and_flatten(target):
    """No libm, no memset: an object that needs anything from outside can't be a kernel."""
    for kernel in samples_of_kernels():
        text = render(kernel, target)
        data = native.object_code(text, target)
        assert elf.undefined(data) == []
        assert len(elf.flatten(data)) > 64


def test_products_and_sums_stay_apart_unless_fma_is_asked_for():
    x, y = load("x", "f32", I), load("y", "f32", I)
    for target, word in ((AVX512, "vfm"), (AVX2, "vfm"), (NEON, "fmla")):
        apart = native.assembly(render(pointwise(x * y + x, {"x": "f32", "y": "f32"}), target), target)
        together = native.assembly(render(pointwise(E.fma(x, y, x), {"x": "f32", "y": "f32"}), target), target)
        assert word not in apart and word in together


def test_an_object_with_an_outside_call_is_refused():
    text = "declare float @expf(float)\ndefine float @k(float %x) {\n  %y = call float @expf(float %x)\n"
    text += "  ret float %y\n}\n"
    with pytest.raises(ValueError, match="expf"):
        native.compile(text, AVX2)
