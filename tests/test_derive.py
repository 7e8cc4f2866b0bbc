"""Symbolic derivatives: every rule against mpmath, both directions, second and third order, kinks, branches not taken.

`python tests/test_derive.py` rewrites golden/derivatives.txt, the derivative of every pointwise op as a formula; what
changed there is for a reviewer to read.
"""

from __future__ import annotations

import math
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flambeau.ir import expr as E
from flambeau.ir.derive import ALWAYS, MOST_TERMS, RULES, add, derivative, either, forward, saved
from flambeau.ir.expr import FUNCTIONS, PRIMITIVES, Expr, cast, const, node, postorder, var, where
from flambeau.ir.interpret import evaluate
from flambeau.ops.pointwise import OPS

GOLDEN = Path(__file__).parent / "golden" / "derivatives.txt"
INF, NAN = math.inf, math.nan
X, Y, G = var("x", "f64"), var("y", "f64"), var("g", "f64")


def slope(body: Expr, x: float, wrt: Expr = X, **env: float) -> float:
    """∂body/∂wrt at x, in reverse and in forward mode, which must agree bit for bit or both be NaN."""
    (gradient,) = derivative(body, (wrt,), const(1.0, body.dtype))
    tangent = forward(body, (wrt,), (const(1.0, wrt.dtype),))
    if gradient is None:
        assert tangent is None
        return 0.0
    values = {"x": np.float64(x)} | {k: np.float64(v) for k, v in env.items()}
    backwards, forwards = float(evaluate(gradient, values)), float(evaluate(tangent, values))
    assert backwards == pytest.approx(forwards, rel=1e-13, abs=1e-300, nan_ok=True)
    return backwards


REFERENCE = {
    "exp2": lambda x: mp.mpf(2) ** x,
    "log2": lambda x: mp.log(x) / mp.log(2),
    "log10": lambda x: mp.log(x) / mp.log(10),
    "rsqrt": lambda x: 1 / mp.sqrt(x),
    "lgamma": lambda x: mp.loggamma(x),
    "ndtri": lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1),
    "i0": lambda x: mp.besseli(0, x),
    "i1": lambda x: mp.besseli(1, x),
    "i0e": lambda x: mp.besseli(0, x) * mp.exp(-abs(x)),
    "i1e": lambda x: mp.besseli(1, x) * mp.exp(-abs(x)),
    "abs": abs,
    "neg": lambda x: -x,
}
POINTS = dict.fromkeys(["log", "log2", "log10", "lgamma", "digamma", "rsqrt", "sqrt"], (0.3, 1.7, 9.1))
POINTS |= dict.fromkeys(["asin", "acos", "atanh", "erfinv", "log1p"], (-0.8, 0.1, 0.6))
POINTS |= {"acosh": (1.2, 2.3, 40.0), "ndtri": (0.01, 0.4, 0.9), "tan": (-1.1, 0.4, 2.0)}
ONE_ARGUMENT = [name for name, count in {**FUNCTIONS, "sqrt": 1, "neg": 1, "abs": 1}.items() if count == 1]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_rules_against_mpmath(name, order):
    reference = REFERENCE.get(name, getattr(mp, name, None))
    body = node(name, "f64", (X,))
    for _ in range(order - 1):
        (body,) = derivative(body, (X,), const(1.0, "f64"))
        if body is None:
            assert name in ("abs", "neg"), "only what is linear by parts ends here"
            return
    for x in POINTS.get(name, (-1.3, 0.4, 2.1)):
        with mp.workdps(40):
            want = float(mp.diff(reference, mp.mpf(x), order))
        assert slope(body, x) == pytest.approx(want, rel=1e-11, abs=1e-13), x


TWO_ARGUMENTS = {
    "add": (lambda a, b: a + b, (0.7, -1.2)),
    "sub": (lambda a, b: a - b, (0.7, -1.2)),
    "mul": (lambda a, b: a * b, (0.7, -1.2)),
    "div": (lambda a, b: a / b, (0.7, -1.2)),
    "pow": (lambda a, b: a**b, (0.7, -1.2)),
    "atan2": (mp.atan2, (0.7, -1.2)),
    "min": (min, (0.7, -1.2)),
    "max": (max, (0.7, -1.2)),
    "fma": (lambda a, b: a * b + 3, (0.7, -1.2)),
}


@pytest.mark.parametrize("name", TWO_ARGUMENTS)
def test_rules_of_two_arguments(name):
    reference, (a, b) = TWO_ARGUMENTS[name]
    body = E.fma(X, Y, 3.0) if name == "fma" else node(name, "f64", (X, Y))
    for wrt, orders in ((X, (1, 0)), (Y, (0, 1))):
        want = float(mp.diff(reference, (mp.mpf(a), mp.mpf(b)), orders))
        assert slope(body, a, wrt, y=b) == pytest.approx(want, rel=1e-12)
        (other,) = derivative(body, (wrt,), const(1.0, "f64"))
        mixed = float(mp.diff(reference, (mp.mpf(a), mp.mpf(b)), (1, 1)))
        assert slope(other, a, Y if wrt is X else X, y=b) == pytest.approx(mixed, rel=1e-9, abs=1e-9)


def test_rules_of_zeta_and_polygamma():
    with mp.workdps(40):
        assert slope(E.zeta(Y, X), 1.7, y=2.5) == pytest.approx(-2.5 * float(mp.zeta(3.5, 1.7)))
        assert slope(E.polygamma(const(2.0, "f64"), X), 1.7) == pytest.approx(float(mp.polygamma(3, 1.7)))
        assert slope(derivative(E.lgamma(X), (X,), const(1.0, "f64"))[0], 1.7) == pytest.approx(float(mp.psi(1, 1.7)))


def test_every_differentiable_op_has_a_rule():
    without = set(PRIMITIVES) | set(FUNCTIONS)
    without -= set(RULES) | {"cast", "complex", "real", "imag"}
    assert without == {
        "const", "var", "load", "idiv", "irem", "floor", "ceil", "trunc", "round", "and", "or", "xor", "not", "shl",
        "shr", "lt", "le", "eq", "ne", "bitcast",
    }  # fmt: skip


# Rows of docs/reference/kinks.md: body, point, derivative there.
KINKS = [
    (abs(X), 0.0, 0.0),
    (abs(X), -0.0, 0.0),
    (E.maximum(X, 1.0), 1.0, 0.5),
    (E.maximum(X, 1.0), 2.0, 1.0),
    (E.maximum(X, 1.0), 0.0, 0.0),
    (E.minimum(X, 1.0), 1.0, 0.5),
    (E.maximum(X, 0.0), -0.0, 0.5),
    (E.maximum(X, X), 3.0, 1.0),
    (where(X < -1.0, -1.0, where(X > 1.0, 1.0, X)), 1.0, 1.0),
    (where(X < -1.0, -1.0, where(X > 1.0, 1.0, X)), -1.5, 0.0),
    (where(X > 0, X, 0.0), 0.0, 0.0),
    (E.floor(X) * X, 2.0, 2.0),
    (E.sqrt(X), 0.0, INF),
    (E.pow(X, 0.0), 0.0, 0.0),
    (E.pow(X, 1.0), 0.0, 1.0),
    (E.pow(X, 2.0), 0.0, 0.0),
    (E.pow(X, 0.5), 0.0, INF),
    (E.pow(const(0.0, "f64"), X), 2.0, 0.0),
    (E.pow(const(0.0, "f64"), X), 0.0, 0.0),
    (E.atan2(X, const(0.0, "f64")), 0.0, 0.0),
    (E.i1(X), 0.0, 0.5),
    (E.i1e(X), 0.0, 0.5),
    (E.i0e(X), 0.0, 0.0),
]


@pytest.mark.parametrize("row", range(len(KINKS)))
def test_kinks_and_ties(row):
    body, x, want = KINKS[row]
    assert slope(body, x) == want


def test_nan_wins_ties_for_both():
    for op in (E.maximum, E.minimum):
        assert slope(op(X, Y), NAN, y=1.0) == 1.0
        assert slope(op(X, Y), NAN, Y, y=1.0) == 1.0


# Body, point, derivative: what is not taken would be infinite or NaN.
BRANCHES = [
    (where(X > 0, E.log(X), 0.0), 0.0, 0.0),
    (where(X > 0, E.log(X), 0.0), -1.0, 0.0),
    (where(X > 0, E.log(X), X * 3.0), -1.0, 3.0),
    (where(X > 0, E.sqrt(X), -E.sqrt(-X)), 0.0, -INF),
    (where(E.eq(X, 0.0), 1.0, E.sin(X) / X), 0.0, 0.0),
    (where(E.eq(X, 0.0), 1.0, E.sin(X) / X), INF, NAN),
    (E.sqrt(where(X > 0, X, 0.0)), 0.0, 0.0),
    (E.log(where(X > 0, X, 0.0)), -2.0, 0.0),
    (where(X > 0, where(X > 1, E.log(X - 1.0), E.log(1.0 - X)), 1.0 / X), 0.0, -INF),
    (where(X > 0, where(X > 1, E.log(X - 1.0), E.log(1.0 - X)), 2.0), 0.0, 0.0),
    (where(X > 0, E.log(X), 0.0) + where(X > 1, 2.0 * E.log(X), 0.0), 0.0, 0.0),
    (where(X > 0, E.log(X), 0.0) + where(X > 1, 2.0 * E.log(X), 0.0), 0.5, 2.0),
    (where(X > 0, E.log(X), 0.0) + where(X > 1, 2.0 * E.log(X), 0.0), 2.0, 1.5),
    (where(X > 20, X, E.log1p(E.exp(X))), 1000.0, 1.0),
    (where(X > 0, X, E.expm1(X)), 1000.0, 1.0),
    (where(X > 0, E.exp(-X) * 1.0, E.exp(X) * 1.0), 0.0, 1.0),
]


@pytest.mark.parametrize("row", range(len(BRANCHES)))
def test_branches_not_taken_leave_no_trace(row):
    body, x, want = BRANCHES[row]
    assert slope(body, x) == pytest.approx(want, nan_ok=True)
    if math.isfinite(want):
        (first,) = derivative(body, (X,), const(1.0, "f64"))
        assert math.isfinite(slope(first, x)), "second order"


def test_shared_work_of_two_branches_is_masked_once():
    shared = E.exp(X * 2.0)
    (found,) = derivative(where(X > 0, shared, 3.0 * shared), (X,), G)
    assert sum(y.op == "select" for y in postorder(found)) == 1


def test_complementary_masks_become_one_select():
    (found,) = derivative(where(X > 0, X * 2.0, X * 3.0), (X,), G)
    assert found is where(X > 0, G * 2.0, G * 3.0)
    zero = const(0.0, "f64")
    assert add(zero, G) is G and add(G, zero) is G


def test_a_guard_that_grows_is_given_up():
    conditions = [(float(k) < X, True) for k in range(MOST_TERMS + 1)]
    p, q = conditions[0], conditions[1]
    assert either(((p,),), ((p[0], False),) and (((p[0], False),),)) == ALWAYS
    assert either(((p,),), ((p, q),)) == ((p,),)
    assert either(((p, q),), ((p, (q[0], False)),)) == ((p,),)
    assert either(tuple((c,) for c in conditions[:-1]), ((conditions[-1],),)) == ALWAYS


def test_a_long_chain_of_selects_stays_linear():
    body: Expr = X
    for k in range(60):
        body = where(body > float(k), E.tanh(body), E.sin(body))
    (found,) = derivative(body, (X,), G)
    assert len(postorder(found)) < 60 * 30


def test_what_is_not_differentiable_gives_none():
    i = var("i", "i64")
    for body, wrt in [
        (E.floor(X), X), (E.round_even(X), X), (E.ceil(X) + Y, X), (cast(X, "i32"), X), (X > 0, X),
        (X * Y, var("z", "f64")), (cast(i, "f64") * X, i), (E.bitcast(X, "i64"), X), (where(X > 0, 1.0, 2.0), X),
        (E.pow(X, 0.0), X),
    ]:  # fmt: skip
        assert derivative(body, (wrt,), const(1, body.dtype)) == (None,), body


def test_gradients_have_the_dtype_of_what_they_belong_to():
    half, single = var("h", "f16"), var("s", "f32")
    body = cast(half, "f64") * cast(single, "f64")
    dh, ds = derivative(body, (half, single), G)
    assert (dh.dtype, ds.dtype) == ("f16", "f32")
    assert ds is cast(G * cast(half, "f64"), "f32")
    assert forward(body, (single,), (var("t", "f32"),)).dtype == "f64"


def test_several_variables_at_once():
    body = X * E.exp(Y) + Y
    dx, dy = derivative(body, (X, Y), G)
    assert dx is G * E.exp(Y)
    env = {"x": np.float64(0.3), "y": np.float64(-0.7), "g": np.float64(2), "s": np.float64(5), "t": np.float64(7)}
    tangent = forward(body, (X, Y), (var("s", "f64"), var("t", "f64")))
    ones = env | {"g": np.float64(1)}
    assert evaluate(tangent, env) == pytest.approx(5 * evaluate(dx, ones) + 7 * evaluate(dy, ones))


def test_a_variable_is_its_own_gradient():
    assert derivative(X, (X,), G) == (G,)
    assert derivative(X, (Y,), G) == (None,)
    assert forward(X, (X,), (G,)) is G


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (E.tanh(X), G * (1.0 - var("out", "f64") * var("out", "f64"))),
        (E.exp(X), G * var("out", "f64")),
        (E.sqrt(X), G * 0.5 / var("out", "f64")),
        (E.exp(2.0 * X), G * var("out", "f64") * 2.0),
        (X * X, None),
        (E.sin(X), None),
        (E.exp(X) * X, None),
    ],
)
def test_saved_prefers_the_output_where_that_is_shorter(body, want):
    out = var("out", "f64")
    grads = derivative(body, (X,), G)
    assert saved(body, grads, out) == (grads if want is None else (want,))


def test_saved_keeps_absent_gradients_in_place():
    assert saved(E.exp(X), (None, *derivative(E.exp(X), (X,), G)), var("out", "f64"))[0] is None


Z, W = var("z", "c128"), var("w", "c128")


@pytest.mark.parametrize("body", [Z * W, Z / W, Z * Z - W, (Z + W) * Z / W], ids=str)
def test_complex_gradients_are_pytorchs(body):
    """For L = Re(conj(g) f(z)), the gradient is ∂L/∂re + i ∂L/∂im; the tangent is f'(z) t."""
    g = var("g", "c128")
    env = {"z": np.complex128(0.7 - 0.4j), "w": np.complex128(-1.1 + 0.3j), "g": np.complex128(0.5 + 2j)}
    loss = lambda v: (np.conj(env["g"]) * evaluate(body, env | {"z": v})).real
    h = 1e-6
    by_re = (loss(env["z"] + h) - loss(env["z"] - h)) / (2 * h)
    by_im = (loss(env["z"] + 1j * h) - loss(env["z"] - 1j * h)) / (2 * h)
    (found,) = derivative(body, (Z,), g)
    assert evaluate(found, env) == pytest.approx(by_re + 1j * by_im, rel=1e-8)
    tangent = evaluate(forward(body, (Z,), (var("t", "c128"),)), env | {"t": np.complex128(1)})
    assert tangent == pytest.approx((evaluate(body, env | {"z": env["z"] + h}) - evaluate(body, env)) / h, rel=1e-5)


def test_gradients_through_complex_parts():
    z = node("complex", "c128", (X, Y))
    square = node("real", "f64", (z * z,))  # x² - y²
    assert slope(square, 3.0, y=2.0) == 6.0
    assert slope(square, 3.0, Y, y=2.0) == -4.0
    assert slope(node("imag", "f64", (z * z,)), 3.0, y=2.0) == 4.0


FINITE = st.floats(-2, 2).map(lambda v: round(v, 3))
UNARY = ["exp", "tanh", "sin", "cos", "atan", "erf", "asinh", "neg", "abs"]
BINARY = ["add", "sub", "mul", "min", "max", "select"]


@st.composite
def bodies(draw, depth: int = 4) -> Expr:
    if depth == 0 or draw(st.booleans()) and depth < 3:
        return draw(st.sampled_from([X, Y, const(0.75, "f64")]))
    op = draw(st.sampled_from(UNARY + BINARY))
    a = draw(bodies(depth=depth - 1))
    if op in UNARY:
        return E.unary(op, a) if op in ("neg", "abs") else E.function(op, a)
    b = draw(bodies(depth=depth - 1))
    return where(a > b, E.sin(a), a * b) if op == "select" else E.binary(op, a, b)


def kinks(body: Expr) -> list[Expr]:
    """What is zero where body has a kink or a jump."""
    found = [y.args[0] for y in postorder(body) if y.op == "abs"]
    found += [y.args[0] - y.args[1] for y in postorder(body) if y.op in ("min", "max", "lt")]
    return [y for y in found if y.op not in ("const",)]


@settings(max_examples=150, deadline=None)
@given(body=bodies(), x=FINITE, y=FINITE)
def test_random_bodies_against_differences(body, x, y):
    env = {"x": np.float64(x), "y": np.float64(y)}
    assume(all(abs(evaluate(k, env)) > 1e-3 for k in kinks(body)))
    h = 1e-6
    above, below = (float(evaluate(body, env | {"x": np.float64(v)})) for v in (x + h, x - h))
    assume(abs(above) < 1e4)
    assert slope(body, x, y=y) == pytest.approx((above - below) / (2 * h), rel=1e-4, abs=1e-5)


def formula(x: Expr) -> list[str]:
    """x as text in usual notation, shared parts named t1, t2, … on lines before it."""
    symbols = {"add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "eq": "==", "ne": "!=",
               "and": "&", "or": "|", "xor": "^"}  # fmt: skip
    order = postorder(x)
    uses = {y: sum(y in z.args for z in order) for y in order}
    lines: list[str] = []
    names: dict[Expr, str] = {}
    for y in order:
        args = [names[a] for a in y.args]
        if y.op == "const":
            text = repr(y.attr)
        elif y.op == "var":
            text = str(y.attr)
        elif y.op in symbols:
            text = f"({args[0]} {symbols[y.op]} {args[1]})"
        elif y.op in ("neg", "not"):
            text = ("-" if y.op == "neg" else "~") + args[0]
        else:
            name = {"select": "where", "cast": y.dtype, "bitcast": f"bits_{y.dtype}"}.get(y.op, y.op)
            text = f"{name}({', '.join(args)})"
        if y.args and uses[y] > 1 and len(text) > 8:
            lines.append(f"t{len(lines) + 1} = {text}")
            text = f"t{len(lines)}"
        names[y] = text
    last = names[x]
    return [*lines, last[1:-1] if last[0] == "(" and last[-1] == ")" and x.op in symbols else last]


def golden() -> str:
    """Every differentiable op at f32, attributes at their defaults; `g` is the gradient, `out` the result."""
    sections = ["# Generated by `python tests/test_derive.py`: read what changed before committing it.\n"]
    for name in sorted(OPS):
        op = OPS[name]
        dtype = "c64" if op.domain == "complex" else "f32"
        if op.domain not in ("any", "real", "number", "float", "complex", "number+complex", "float+complex"):
            continue
        xs = tuple(var(n, "bool" if n in op.kept else dtype) for n in op.operands)
        attributes = list(op.attributes.values())
        results = op.body(*xs, *attributes)
        for k, body in enumerate(results if isinstance(results, tuple) else (results,)):
            body = E.as_expr(body, dtype)
            if E.DTYPES[body.dtype].kind not in "fc":
                continue
            g, out = var("g", body.dtype), var("out", body.dtype)
            found = op.grad(g, out, *xs, *attributes) if op.grad else saved(body, derivative(body, xs, g), out)
            head = (
                f"{name}({', '.join(op.operands)})" + (f" result {k}" if k else "") + (", by hand" if op.grad else "")
            )
            lines = [head]
            for x, d in zip(op.operands, found if isinstance(found, tuple) else (found,), strict=False):
                if d is not None:
                    *shared, last = formula(E.as_expr(d, dtype))
                    lines += [f"    {line}" for line in shared] + [f"  d{x} = {last}"]
            if len(lines) > 1:
                sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


def test_derivatives_are_as_reviewed():
    assert golden() == GOLDEN.read_text(), "changed: run `python tests/test_derive.py`, read the difference"


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(golden())
