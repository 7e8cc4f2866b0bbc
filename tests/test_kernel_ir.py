"""Text that reads back, the interpreter against independent arithmetic, and every rule of the verifier."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import REAL, ZERO, I, K, M, N, exprs, pointwise, row_reduce

from flambeau.ir import expr as E
from flambeau.ir.complex import split
from flambeau.ir.expr import DTYPES, const, load, node, var
from flambeau.ir.interpret import convert, encode, evaluate, fma, run
from flambeau.ir.kernel import Accumulator, Buffer, For, If, Kernel, Let, Reduce, Scalar, Store
from flambeau.ir.text import format_expr, format_kernel, parse_expr, parse_kernel
from flambeau.ir.verify import EXPR_RULES, KERNEL_RULES, RULES, verify, verify_expr

LEAVES = {d: [load(f"b_{d}", d, I), load(f"b_{d}", d, I * M + 3), var(f"v_{d}", d)] for d in REAL}
floats = st.floats(width=32)


@pytest.fixture(autouse=True)
def quiet():
    """Overflow and NaN are part of what is tested."""
    with np.errstate(all="ignore"):
        yield


# Text.


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_expr_text_reads_back(data):
    x = data.draw(exprs(LEAVES, data.draw(st.sampled_from(REAL)), 20))
    assert parse_expr(format_expr(x)) is x


@settings(max_examples=100, deadline=None)
@given(st.floats() | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.complex_numbers(), st.data())
def test_constants_read_back(value, data):
    kinds = {bool: "b", int: "i", float: "f", complex: "c"}[type(value)]
    dtype = data.draw(st.sampled_from([d for d in DTYPES if DTYPES[d].kind == kinds]))
    x = const(value, dtype)
    assert parse_expr(format_expr(x)) is x


@st.composite
def kernels(draw) -> Kernel:
    """A kernel with every statement, over random Exprs."""

    def value(dtype: str, *variables):
        return draw(exprs({**LEAVES, "i64": [I, N, *variables]}, dtype, 6))

    t, acc, other, flag = var("t", "f32"), var("acc", "f64"), var("other", "f64"), draw(st.booleans())
    fold = Reduce(
        K,
        ZERO,
        value("i64"),
        (Accumulator(acc, const(0.5, "f64")),),
        (value("f64") + acc,),
        (acc + other,),
        (other,),
        draw(st.sampled_from([16, 4])),
        (Store("out", K, value("f32")),),
    )
    scan = Reduce(var("s"), ZERO, N, (Accumulator(var("run", "f32"), const(1.0, "f32")),), (value("f32"),), lanes=1)
    inner = For(var("j"), value("i64"), value("i64"), (Store("out", var("j"), t, flag),), vector=flag)
    body = (Let(t, value("f32")), If(value("bool"), (fold, Store("out", I, value("f32")))), inner, scan)
    params = (
        Buffer("out", "f32", "rw"),
        *(Buffer(f"b_{d}", d) for d in REAL),
        *(Scalar(f"v_{d}", d) for d in REAL),
        Scalar("n"),
    )
    return Kernel("random", params, (Let(M, value("i64")), For(I, ZERO, N, body, True, flag)))


@settings(max_examples=60, deadline=None)
@given(kernels())
def test_kernel_text_reads_back(kernel):
    text = format_kernel(kernel)
    assert parse_kernel(text) == kernel
    assert format_kernel(parse_kernel(text)) == text


def test_bounds_may_be_variables():
    """`i .. n` is no operation i with a dtype after it."""
    loop = For(K, I, N, (Store("out", K, const(1.0, "f32")),), vector=True)
    kernel = Kernel("k", (Buffer("out", "f32", "w"), Scalar("n")), (For(I, ZERO, N, (loop,), True),))
    assert parse_kernel(format_kernel(kernel)) == kernel


def test_text_is_linear_in_the_dag_and_unbounded_in_depth():
    x = var("x", "f32")
    for _ in range(200):
        x = x * x
    assert len(format_expr(x)) < 200 * 30
    y = var("x", "f32")
    for _ in range(5000):
        y = node("neg", "f32", (node("sqrt", "f32", (y,)),))
    assert len(format_expr(y)) < 5000 * 20
    assert parse_expr(format_expr(y)) is y


def test_text_as_people_read_it():
    kernel = row_reduce(lambda a, x: a + x * x, lambda a, b: a + b, 0.0)
    assert str(kernel) == (
        "kernel rows(x: r f32, out: w f32, m: i64, n: i64)\n"
        "  %0 = x[add(mul(i, m), k)]:f32\n"
        "  for i in 0 .. n parallel\n"
        "    reduce k in 0 .. m lanes 16\n"
        "      carry acc:f32 = 0.0:f32\n"
        "      step add(acc:f32, mul(%0, %0))\n"
        "      other other:f32\n"
        "      merge add(acc:f32, other:f32)\n"
        "    store out[i] = acc:f32\n"
    )


@pytest.mark.parametrize(
    "text", ["", "add(1)", "add(1, 2", "%0", "x:f31", "nosuch(1)", "1 2", "cast(1)", "x[1]", "mul(1,"]
)
def test_malformed_text_is_refused(text):
    with pytest.raises((SyntaxError, ValueError)):
        parse_expr(text)


@pytest.mark.parametrize(
    "text", ["add(x)", "kernel k()\n  leap", "kernel k()\n  step 1", "kernel k(x: r f32)\n  store x[0 = 1"]
)
def test_malformed_kernels_are_refused(text):
    with pytest.raises(SyntaxError):
        parse_kernel(text)


# Meaning.


@settings(max_examples=400, deadline=None)
@given(floats, floats, floats)
def test_fma_rounds_once(a, b, c):
    got = fma(np.float32(a), np.float32(b), np.float32(c))
    if not all(map(math.isfinite, (a, b, c))):
        want = np.float64(a) * np.float64(b) + np.float64(c)
        assert got == want or np.isnan(got) and np.isnan(want)
        return
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if np.isinf(got):
        assert abs(exact) >= Fraction(2) ** 128 - Fraction(2) ** 103
        return
    gap = abs(exact - Fraction(float(got)))
    for neighbour in (np.nextafter(got, np.float32(np.inf)), np.nextafter(got, np.float32(-np.inf))):
        if np.isfinite(neighbour):
            assert gap <= abs(exact - Fraction(float(neighbour)))


def test_fma_on_a_hard_case_and_in_double():
    # In double arithmetic the sum rounds to the midpoint of two floats and then goes the wrong way.
    a, b, c = np.float32(1 + 2**-12), np.float32(1 + 2**-12), np.float32(2**-80)
    assert fma(a, b, c) == np.float32(1 + 2**-11 + 2**-23)
    x = 1 + 2.0**-30
    assert fma(x, x, -1.0 - 2.0**-29) == 2.0**-60
    assert math.isnan(fma(np.inf, 0.0, 1.0)) and fma(1e308, 10.0, 0.0) == np.inf


@settings(max_examples=300, deadline=None)
@given(st.integers(-128, 127), st.integers(-128, 127))
def test_integer_division(a, b):
    x, y = var("x", "i8"), var("y", "i8")
    env = {"x": np.int8(a), "y": np.int8(b)}
    quotient = 0 if b == 0 else -128 if (a, b) == (-128, -1) else int(Fraction(a, b))
    assert evaluate(E.idiv(x, y), env) == quotient
    remainder = a if b == 0 else 0 if (a, b) == (-128, -1) else math.fmod(a, b)
    assert evaluate(E.irem(x, y), env) == remainder


def test_rounding_to_bf16_is_to_nearest_even_everywhere():
    """Against the nearest of the two neighbours, found by search, for random floats and all midpoints of a binade."""
    table = np.sort((np.arange(0, 0x7F80, dtype=np.uint32) << 16).view(np.float32).astype(np.float64))
    rng = np.random.default_rng(0)
    x = np.concatenate([
        np.abs(rng.standard_normal(4000)) * 10.0 ** rng.uniform(-40, 38, 4000),
        (table[:-1] + table[1:])[16000:16300] / 2,
    ]).astype(np.float32)  # fmt: skip
    x = x[x < table[-1]]
    high = np.searchsorted(table, x.astype(np.float64))
    low = np.maximum(high - 1, 0)
    down, up = x - table[low], table[high] - x
    nearest = np.where(down < up, low, np.where(up < down, high, np.where(low % 2 == 0, low, high)))
    assert (convert(x, "f32", "bf16") == table[nearest].astype(np.float32)).all()
    assert np.isinf(convert(np.float32(3.4e38), "f32", "bf16")) and np.isnan(convert(np.float32(np.nan), "f32", "bf16"))
    # A constant rounds once: this one lies just above a midpoint, by less than single precision can tell.
    assert encode(evaluate(const(1 + 2**-8 + 2**-40, "bf16"), {}), "bf16") == 0x3F81


@pytest.mark.parametrize(
    ("value", "dtype", "want"),
    [(2.9, "i32", 2), (-2.9, "i32", -2), (-0.9, "u8", 0), (-1.0, "u8", 0), (255.9, "u8", 255), (256.0, "u8", 0),
     (128.0, "i8", -128), (-128.9, "i8", -128), (-129.0, "i8", -128), (math.nan, "i64", -(2**63)),
     (math.inf, "i16", -(2**15)),
     (2.0**63, "i64", -(2**63)), (-(2.0**63), "i64", -(2**63)), (1.8e19, "u64", 18 * 10**18), (math.nan, "u32", 0),
     (math.nan, "bool", True), (-0.0, "bool", False)],
)  # fmt: skip
def test_floats_become_integers(value, dtype, want):
    assert convert(np.float64(value), "f64", dtype) == want


def test_min_and_max_of_zeros_and_nan():
    x, y = var("x", "f32"), var("y", "f32")
    for a, b in ((0.0, -0.0), (-0.0, 0.0)):
        env = {"x": np.float32(a), "y": np.float32(b)}
        assert np.signbit(evaluate(E.minimum(x, y), env)) and not np.signbit(evaluate(E.maximum(x, y), env))
    for a, b in ((np.nan, 1.0), (1.0, np.nan)):
        env = {"x": np.float32(a), "y": np.float32(b)}
        assert np.isnan(evaluate(E.minimum(x, y), env)) and np.isnan(evaluate(E.maximum(x, y), env))


def test_a_reduction_runs_over_sixteen_lanes_and_a_tree():
    """The order, spelled out by a sum in which each order gives another result."""
    x = np.random.default_rng(0).standard_normal(100).astype(np.float32) ** 5
    lanes = [np.float32(0)] * 16
    for k, value in enumerate(x):
        lanes[k % 16] += value
    for half in (8, 4, 2, 1):
        lanes = [lanes[k] + lanes[k + half] for k in range(half)]
    out = np.zeros(1, np.float32)
    run(row_reduce(lambda a, v: a + v, lambda a, b: a + b, 0.0), [x, out, 100, 1], 0, 1)
    assert out[0] == lanes[0]
    assert out[0] != np.cumsum(x)[-1]


def test_splitting_complex_numbers():
    kernel = pointwise(load("x", "c64", I) * load("x", "c64", I), {"x": "c64"})
    real = split(kernel)
    verify(real)
    assert all(x.dtype in ("f32", "i64") for s in real.body[0].body for x in (s.value,))
    assert split(real) is real
    with pytest.raises(TypeError, match="work on real and imag"):
        split(pointwise(node("erf", "c64", (load("x", "c64", I),)), {"x": "c64"}))


# Verifier: one breach of every rule.

X, ACC, OTHER = load("x", "f32", I), var("acc", "f32"), var("other", "f32")
F, B = const(1.0, "f32"), const(True, "bool")
BAD_EXPRS = {
    "its operation is a primitive or a named function": node("frobnicate", "f32", (F,)),
    "its dtype is one of DTYPES": node("neg", "f99", (F,)),
    "it has as many arguments as its operation takes": node("add", "f32", (F,)),
    "its arguments have one dtype, and arithmetic keeps it": node("add", "f32", (F, const(1, "i32"))),
    "a comparison is bool": node("lt", "i32", (F, F)),
    "a select's condition is bool": node("select", "f32", (F, F, F)),
    "its operation is defined for the dtype": node("div", "i32", (const(1, "i32"), const(1, "i32"))),
    "a named function is floating": node("exp", "i32", (const(1, "i32"),)),
    "a constant is a Python number its dtype holds": node("const", "u8", (), 256),
    "a bitcast keeps the size": node("bitcast", "f64", (F,)),
    "complex numbers consist of floats of half their size": node("complex", "c128", (F, F)),
    "a load's index is i64": node("load", "f32", (F,), "x"),
    "a variable or load has a name": var("a b"),
}


@pytest.mark.parametrize("rule", [name for name, _ in EXPR_RULES])
def test_every_rule_of_exprs_is_held(rule):
    with pytest.raises(TypeError) as error:
        verify_expr(BAD_EXPRS[rule])
    assert rule in str(error.value)


def kernel_of(*body, params=(Buffer("x", "f32"), Buffer("out", "f32", "w"), Scalar("n")), **loop) -> Kernel:
    return Kernel("k", params, (For(I, ZERO, N, body, **({"parallel": True} | loop)),))


def fold_of(**changes) -> Kernel:
    parts = dict(var=K, start=ZERO, stop=N, accumulators=(Accumulator(ACC, F),), step=(ACC + F,), merge=(ACC + OTHER,),
                 others=(OTHER,), lanes=16)  # fmt: skip
    return kernel_of(Reduce(**parts | changes))


BAD_KERNELS = {
    "its variable is new in this scope": kernel_of(Let(N, ZERO)),
    "its value has the variable's dtype": kernel_of(Let(var("t", "f64"), F)),
    "its buffer is a parameter that may be written": kernel_of(Store("x", I, F)),
    "its value has the buffer's dtype": kernel_of(Store("out", I, ZERO)),
    "its index is i64": kernel_of(Store("out", const(0, "i32"), F)),
    "its condition is bool": kernel_of(If(F, ())),
    "its variable is new in this scope, and i64": kernel_of(For(I, ZERO, N, ())),
    "its bounds are i64": kernel_of(For(K, F, N, ())),
    "only the outermost loop is parallel": kernel_of(For(K, ZERO, N, (), parallel=True)),
    "its variables are new in this scope": fold_of(others=(ACC,)),
    "its variable and bounds are i64": fold_of(stop=F),
    "it has accumulators, and a step for each": fold_of(step=()),
    "each accumulator begins with a constant of its dtype": fold_of(accumulators=(Accumulator(ACC, ZERO),)),
    "each step has its accumulator's dtype": fold_of(step=(ZERO,)),
    "its lanes are a power of two": fold_of(lanes=12),
    "with lanes it merges each accumulator with another of its dtype": fold_of(merge=()),
    "names of parameters differ": kernel_of(params=(Scalar("n"), Scalar("n"))),
    "parameters have names and known dtypes": kernel_of(params=(Scalar("n"), Buffer("x", "f31"))),
    "buffers are 'r', 'w' or 'rw'": kernel_of(params=(Scalar("n"), Buffer("x", "f32", "x"))),
    "scalar parameters fit a slot": kernel_of(params=(Scalar("n"), Scalar("z", "c128"))),
    "its body is Lets and one parallel For": kernel_of(parallel=False),
}


@pytest.mark.parametrize("rule", [name for rules in (*RULES.values(), KERNEL_RULES) for name, _ in rules])
def test_every_rule_of_kernels_is_held(rule):
    with pytest.raises(TypeError) as error:
        verify(BAD_KERNELS[rule])
    assert rule in str(error.value) and "kernel k" in str(error.value)


@pytest.mark.parametrize(
    ("kernel", "words"),
    [(kernel_of(Store("out", I, var("t", "f32"))), "t is in scope"),
     (kernel_of(Store("out", I, load("out", "f32", I))), "out is a readable buffer"),
     (kernel_of(If(B, (Let(var("t", "f32"), F),)), Store("out", I, var("t", "f32"))), "t is in scope"),
     (kernel_of(For(K, ZERO, N, ()), Store("out", K, F)), "k is in scope"),
     (kernel_of(Store("out", I, node("add", "f32", (F, ZERO)))), "arithmetic keeps it")],
)  # fmt: skip
def test_what_is_out_of_scope_or_wrong_inside_a_statement(kernel, words):
    with pytest.raises(TypeError, match=words):
        verify(kernel)


def test_good_kernels_pass():
    verify(kernel_of(Let(var("t", "f32"), X), Store("out", I, var("t", "f32"))))
    verify(fold_of())
    # The same name in two blocks, one after the other.
    verify(kernel_of(For(K, ZERO, N, (Store("out", K, F),)), For(K, ZERO, N, (Store("out", K, F),))))
