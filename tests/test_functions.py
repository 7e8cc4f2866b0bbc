"""exp, sin, pow, lgamma, …: their error in units of the last place, special values, and what expansion keeps.

Values come from kernels compiled for this machine, which the renderer's tests hold equal to the reference interpreter
bit for bit. References: NumPy and SciPy in float64 for f32, mpmath for f64.
"""

from __future__ import annotations

import functools

import mpmath as mp
import numpy as np
import pytest
import scipy.special as sp
from kernels import I, callable_image, pointwise

from flambeau.codegen import native
from flambeau.codegen.target import host
from flambeau.ir import expr as E
from flambeau.ir.expr import DTYPES, FUNCTIONS, PRIMITIVES, Expr, const, load, postorder, var
from flambeau.ir.functions import EXPANSIONS, expand
from flambeau.ir.interpret import evaluate
from flambeau.ir.verify import EXPR_RULES

NUMPY = {"f32": np.float32, "f64": np.float64}
INF, NAN = np.inf, np.nan
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

# Function: (reference in float64, limit in f32 ulp, limit in f64 ulp, where f64 is drawn from).
# The f32 limits hold over all 2^32 arguments: docs/design/0003-functions.md has what was found there.
ELEMENTARY = {
    "exp": (np.exp, 1.5, 1.5, (-745, 709)),
    "exp2": (np.exp2, 1.2, 1.5, (-1074, 1023)),
    "expm1": (np.expm1, 1.5, 1.5, (-40, 709)),
    "log": (np.log, 1.0, 1.0, (1e-300, 1e3)),
    "log2": (np.log2, 1.1, 1.0, (1e-300, 1e3)),
    "log10": (np.log10, 1.1, 1.0, (1e-300, 1e3)),
    "log1p": (np.log1p, 1.6, 1.5, (-1, 3)),
    "sin": (np.sin, 1.6, 1.0, (-1e3, 1e3)),
    "cos": (np.cos, 1.6, 1.0, (-1e3, 1e3)),
    "tan": (np.tan, 2.0, 2.5, (-1e3, 1e3)),
    "asin": (np.arcsin, 1.2, 1.5, (-1, 1)),
    "acos": (np.arccos, 1.2, 1.5, (-1, 1)),
    "atan": (np.arctan, 1.5, 1.5, (-9, 9)),
    "sinh": (np.sinh, 1.8, 2.0, (-30, 30)),
    "cosh": (np.cosh, 1.5, 2.0, (-30, 30)),
    "tanh": (np.tanh, 2.0, 2.0, (-20, 20)),
    "asinh": (np.arcsinh, 0.51, 2.0, (-9, 9)),
    "acosh": (np.arccosh, 0.51, 2.0, (1, 99)),
    "atanh": (np.arctanh, 0.51, 2.0, (-1, 1)),
    "erf": (sp.erf, 1.8, 1.5, (-6, 6)),
    "erfc": (sp.erfc, 0.51, 4.0, (-5, 26)),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1.6, 1.6, (0, 9)),
}  # fmt: skip
# Function: (reference in float64, relative error in f64 where it has no zero nearby, sample range).
SPECIAL = {
    "erfinv": (sp.erfinv, 2e-15, (-1, 1)),
    "ndtri": (sp.ndtri, 4e-15, (0, 1)),
    "lgamma": (sp.gammaln, 2e-15, (0.01, 40)),
    "digamma": (sp.digamma, 4e-15, (0.01, 40)),
    "i0": (sp.i0, 4e-15, (-40, 40)),
    "i0e": (sp.i0e, 4e-15, (-40, 40)),
    "i1": (sp.i1, 4e-15, (-40, 40)),
    "i1e": (sp.i1e, 4e-15, (-40, 40)),
}
EXACT = {
    "exp2": lambda x: mp.mpf(2) ** x,
    "log2": lambda x: mp.log(x) / mp.log(2),
    "rsqrt": lambda x: 1 / mp.sqrt(x),
    "ndtri": lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1),
    "lgamma": lambda x: mp.re(mp.loggamma(x)),
    "i0": lambda x: mp.besseli(0, x),
    "i1": lambda x: mp.besseli(1, x),
    "i0e": lambda x: mp.besseli(0, x) * mp.exp(-abs(x)),
    "i1e": lambda x: mp.besseli(1, x) * mp.exp(-abs(x)),
}


@functools.cache
def compiled(name: str, dtype: str):
    count = FUNCTIONS[name]
    operands = [load(f"x{k}", dtype, I) for k in range(count)]
    kernel = pointwise(E.function(name, *operands), {f"x{k}": dtype for k in range(count)})
    return callable_image(native.build(kernel, host()))


def call(name: str, dtype: str, *xs) -> np.ndarray:
    arrays = [
        np.ascontiguousarray(np.broadcast_to(x, np.broadcast_shapes(*map(np.shape, xs))), NUMPY[dtype]) for x in xs
    ]
    out = np.empty(arrays[0].shape, NUMPY[dtype])
    compiled(name, dtype)([*arrays, out, out.size], 0, out.size)
    return out


def ulps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """|got - want| in spacings of f32 at want; 0 where both are NaN, the same infinity, or both overflow."""
    want = want.astype(np.float64)
    spacing = np.ldexp(1.0, np.maximum(np.frexp(want)[1] - 24, -149))
    error = np.abs(got - want) / spacing
    with np.errstate(over="ignore"):
        same = (got == want.astype(np.float32)) & ~np.isfinite(want.astype(np.float32)) | np.isnan(got) & np.isnan(want)
    return np.where(same, 0, np.where(np.isnan(error), INF, error))


def bits(step: int) -> np.ndarray:
    """f32 values of every exponent and both signs: each step-th of all bit patterns, and the special ones."""
    usual = np.arange(0, 2**32, step, dtype=np.uint64).astype(np.uint32).view(np.float32)
    special = [0.0, -0.0, 1.0, -1.0, 0.5, INF, -INF, NAN, 1e-45, -1e-45, 2.0**-126, 3.4028235e38, -3.4028235e38,
               88.72284, 88.72, -87.34, -103.97, 127.99999, -149.0]  # fmt: skip
    return np.concatenate([usual, np.array(special, np.float32)])


@pytest.mark.parametrize("name", ELEMENTARY)
def test_f32_error_over_all_exponents(name):
    reference, limit, _, _ = ELEMENTARY[name]
    x = bits(20011)
    error = ulps(call(name, "f32", x), reference(x.astype(np.float64)))
    worst = error.argmax()
    assert error[worst] <= limit, (x[worst], error[worst])


@pytest.mark.parametrize("name", ELEMENTARY)
def test_f32_error_where_it_matters(name):
    reference, limit, _, (low, high) = ELEMENTARY[name]
    x = np.random.default_rng(1).uniform(max(low, -90), min(high, 90), 200_000).astype(np.float32)
    assert ulps(call(name, "f32", x), reference(x.astype(np.float64))).max() <= limit
    near_one = (1 + np.random.default_rng(2).uniform(-1e-2, 1e-2, 50_000)).astype(np.float32)
    assert ulps(call(name, "f32", near_one), reference(near_one.astype(np.float64))).max() <= limit


def exact(name: str, x: float) -> mp.mpf:
    return EXACT.get(name, getattr(mp, name, None))(mp.mpf(x))


@pytest.mark.parametrize("name", ELEMENTARY)
def test_f64_error(name):
    _, _, limit, (low, high) = ELEMENTARY[name]
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.uniform(low, high, 150), low + (high - low) * 2.0 ** -rng.uniform(1, 50, 50)])
    if low < 0:
        x = np.concatenate([x, 2.0 ** -rng.uniform(1, 60, 50)])
    with mp.workdps(40):
        for given, got in zip(x.tolist(), call(name, "f64", x).tolist(), strict=True):
            want = exact(name, given)
            spacing = float(np.spacing(abs(float(want))))
            assert abs(float(got - want)) <= limit * spacing, (given, got, want)


@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions(name):
    reference, limit, (low, high) = SPECIAL[name]
    rng = np.random.default_rng(4)
    x = rng.uniform(low, high, 40)
    with mp.workdps(40):
        for given, got in zip(x.tolist(), call(name, "f64", x).tolist(), strict=True):
            want = exact(name, given)
            assert abs(got - want) <= limit * abs(want) + 1e-17, (given, got, want)
    single = rng.uniform(low, high, 20_000).astype(np.float32)
    assert ulps(call(name, "f32", single), reference(single.astype(np.float64))).max() <= 0.51


@pytest.mark.parametrize("name", ["lgamma", "digamma"])
def test_gamma_family_everywhere(name):
    # Relative to the larger of |value| and 1: both have zeros at negative arguments.
    x = np.concatenate(
        [np.linspace(-30.3, 0, 301)[:-1], 10.0 ** np.linspace(-300, 300, 61), [1 + 1e-9, 2 - 1e-9, 1.4616]]
    )
    with mp.workdps(40):
        for given, got in zip(x.tolist(), call(name, "f64", x).tolist(), strict=True):
            want = exact(name, given)
            assert abs(got - want) <= 4e-14 * max(1, abs(want)), (given, got, want)
    near = np.array([1 + 1e-9, 1 - 1e-9, 2 + 1e-9, 2 - 1e-9])
    with mp.workdps(40):
        for given, got in zip(near.tolist(), call("lgamma", "f64", near).tolist(), strict=True):
            assert abs(got / exact("lgamma", given) - 1) < 1e-14


def test_normal_quantile_in_the_far_tail():
    p = np.array([1e-300, 1e-100, 1e-20, 1e-5, 0.074, 0.076, 0.924, 0.926])
    got = call("ndtri", "f64", p)
    assert np.allclose(sp.log_ndtr(got), np.log(p), rtol=1e-14)
    assert np.array_equal(call("ndtri", "f64", 1 - p[4:6]), -call("ndtri", "f64", 1 - (1 - p[4:6])))
    assert np.array_equal(call("ndtri", "f64", [0, 1, 0.5]), [-INF, INF, 0])
    assert np.isnan(call("ndtri", "f64", [-0.1, 1.1, NAN])).all()


def test_zeta():
    rng = np.random.default_rng(5)
    s, q = rng.uniform(1.01, 25, 60), 10.0 ** rng.uniform(-2, 3, 60)
    with mp.workdps(90):
        for a, b, got in zip(s.tolist(), q.tolist(), call("zeta", "f64", s, q).tolist(), strict=True):
            assert abs(got / mp.zeta(mp.mpf(a), mp.mpf(b)) - 1) < 1e-13, (a, b)
    got = call("zeta", "f64", [1, 0.5, 2, 2, 2, NAN], [1, 1, 0, -1, INF, 1])
    assert np.array_equal(got, [INF, NAN, INF, INF, 0, NAN], equal_nan=True)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 6])
def test_polygamma(n):
    x = np.array([1e-3, 0.5, 1, 3.7, 20, 1e5, -0.3, -1.5, -7.9])
    got = evaluate(E.polygamma(const(float(n), "f64"), var("x", "f64")), {"x": x})
    with mp.workdps(40):
        for given, value in zip(x.tolist(), got.tolist(), strict=True):
            want = mp.digamma(given) if n == 0 else mp.polygamma(n, mp.mpf(given))
            assert abs(value / want - 1) < 1e-13, (given, value, want)


def test_polygamma_wants_a_known_order():
    with pytest.raises(TypeError, match="polygamma: the order is a whole number known when the kernel is built"):
        expand(E.polygamma(var("n", "f64"), var("x", "f64")))


SPECIAL_VALUES = [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 2.0, -2.0, 0.5, -0.5]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", ELEMENTARY)
def test_special_values_and_signs_of_zero(name, dtype):
    x = np.array([*SPECIAL_VALUES, np.finfo(NUMPY[dtype]).smallest_subnormal, np.finfo(NUMPY[dtype]).max], NUMPY[dtype])
    got, want = call(name, dtype, x), ELEMENTARY[name][0](x.astype(np.float64)).astype(NUMPY[dtype])
    assert np.array_equal(np.isnan(got), np.isnan(want)), (x, got, want)
    plain = ~np.isnan(want)
    assert np.allclose(got[plain], want[plain], rtol=4 * np.finfo(NUMPY[dtype]).eps, atol=0)
    zero = plain & (want == 0)
    assert np.array_equal(np.signbit(got[zero]), np.signbit(want[zero])), (x[zero], got[zero])


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(("name", "reference"), [("pow", np.power), ("atan2", np.arctan2)])
def test_special_pairs(name, reference, dtype):
    limits = np.finfo(NUMPY[dtype])
    one = np.array([0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 1.5, INF, -INF, NAN, limits.max, -limits.max,
                    limits.tiny, limits.smallest_subnormal, 2 / limits.eps + 2, 1e30], NUMPY[dtype])  # fmt: skip
    x, y = (a.ravel() for a in np.meshgrid(one, one))
    got, want = call(name, dtype, x, y), reference(x, y)
    same = (got == want) | np.isnan(got) & np.isnan(want) | np.isclose(got, want, rtol=3 * limits.eps, atol=0)
    same &= np.isnan(want) | (np.signbit(got) == np.signbit(want))
    assert same.all(), [(a, b, g, w) for a, b, g, w, ok in zip(x, y, got, want, same, strict=True) if not ok]


def test_pow_error():
    rng = np.random.default_rng(6)
    x = np.abs(rng.integers(1, 0x7F800000, 100_000, dtype=np.uint32).view(np.float32))
    y = (rng.uniform(-150, 128, x.size) / np.log2(x.astype(np.float64))).astype(np.float32)
    assert ulps(call("pow", "f32", x, y), np.power(x.astype(np.longdouble), y).astype(np.float64)).max() <= 0.51
    x, y = (
        np.concatenate([2.0 ** rng.uniform(-1000, 1000, 200), 1 + rng.uniform(-1e-3, 1e-3, 100)]),
        rng.uniform(-1, 1, 300),
    )
    y = np.where(np.abs(np.log2(x)) > 1, y, y * 1e5)
    with mp.workdps(40):
        for a, b, got in zip(x.tolist(), y.tolist(), call("pow", "f64", x, y).tolist(), strict=True):
            want = mp.mpf(a) ** mp.mpf(b)
            assert abs(float(got - want)) <= 2 * float(np.spacing(float(want))), (a, b)


def test_atan2_error():
    rng = np.random.default_rng(7)
    y, x = rng.standard_normal((2, 100_000)).astype(np.float32) * np.exp2(rng.uniform(-30, 30, (2, 100_000))).astype(
        np.float32
    )
    assert ulps(call("atan2", "f32", y, x), np.arctan2(y.astype(np.float64), x)).max() <= 2
    got, want = call("atan2", "f64", y, x), np.arctan2(y.astype(np.longdouble), x.astype(np.longdouble))
    assert (np.abs(got - want) <= 2 * np.spacing(np.abs(want).astype(np.float64))).all()


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_angles_of_any_size(name):
    rng = np.random.default_rng(8)
    huge = 2.0 ** rng.uniform(20, 1023, 200) * rng.choice([-1, 1], 200)
    # The double closest to a multiple of pi/2, and its double.
    worst = 5319372648326541.0 * 2.0 ** np.array([255.0, 256.0])
    with mp.workdps(400):
        for dtype, x in (("f64", np.concatenate([huge, worst])), ("f32", huge[np.abs(huge) < 3e38].astype(np.float32))):
            got = call(name, dtype, x)
            want = np.array([float(getattr(mp, name)(mp.mpf(float(v)))) for v in x])
            limit = 2.5 * np.finfo(NUMPY[dtype]).eps
            assert (np.abs(got - want) <= limit * np.abs(want)).all(), x[np.abs(got - want) > limit * np.abs(want)]


def test_powers_come_out_exact():
    k = np.arange(-149, 128)
    assert np.array_equal(call("exp2", "f32", k), np.ldexp(np.float32(1), k))
    assert np.array_equal(call("log2", "f32", np.ldexp(np.float32(1), k)), k)
    k = np.arange(-1074, 1024)
    assert np.array_equal(call("exp2", "f64", k), np.ldexp(1.0, k))
    assert np.array_equal(call("log2", "f64", np.ldexp(1.0, k)), k)
    assert np.array_equal(call("log10", "f64", 10.0 ** np.arange(16)), np.arange(16))
    x = np.random.default_rng(9).standard_normal(1000).astype(np.float32)
    assert np.array_equal(call("pow", "f32", x, 2.0), x * x)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_shapes_hold(dtype):
    x = np.linspace(-12, 12, 20_001).astype(NUMPY[dtype])
    for name in ("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "erf", "erfinv", "i1"):
        assert np.array_equal(call(name, dtype, -x), -call(name, dtype, x), equal_nan=True), name
    for name in ("cos", "cosh", "i0", "i0e"):
        assert np.array_equal(call(name, dtype, -x), call(name, dtype, x)), name
    for name in ("tanh", "erf", "sin", "cos"):
        assert np.abs(call(name, dtype, x)).max() <= 1, name
    assert call("exp", dtype, x).min() > 0


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32", "f64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_expansions_are_well_formed_primitives(name, dtype):
    xs = [const(2.0, dtype) if name == "polygamma" and k == 0 else var(f"x{k}", dtype) for k in range(FUNCTIONS[name])]
    root = expand(E.function(name, *xs))
    assert root.dtype == dtype
    for x in postorder(root):
        assert x.op in PRIMITIVES
        assert all(holds(x) for _, holds in EXPR_RULES), x
        if dtype in ("f16", "bf16"):
            assert x.op in ("var", "cast", "const") or x.dtype not in ("f16", "bf16"), "computes in f32"
    assert expand(root) is root


def test_expand_keeps_what_is_shared():
    x = var("x", "f32")
    e = E.exp(x)
    alone, both, untouched = expand((e, e * E.log(e), x + 1.0))
    assert both.args[0] is alone is expand(e)
    assert untouched is x + 1.0
    chain: Expr = x
    for _ in range(200):
        chain = E.exp(chain) + chain
    assert len(postorder(expand(chain))) < 200 * 25


def test_complex_functions_are_refused():
    with pytest.raises(TypeError, match="exp: computes in f32 or f64, got c64"):
        expand(E.exp(var("z", "c64")))


def test_every_function_is_defined_once():
    assert set(EXPANSIONS) == set(FUNCTIONS)


@pytest.mark.parametrize(
    ("name", "most"), [("exp", 22), ("tanh", 30), ("erf", 36), ("log", 35), ("expm1", 32), ("sin", 47), ("cos", 47)]
)
def test_the_hot_ones_stay_short(name, most):
    nodes = postorder(expand(E.function(name, var("x", "f32"))))
    assert sum(x.op not in ("const", "var") for x in nodes) <= most
    assert all(DTYPES[x.dtype].size == 4 for x in nodes if x.dtype != "bool") or name in ("sin", "cos")
