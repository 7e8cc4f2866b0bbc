"""Symbolic derivatives of Exprs, from one table: `derivative` (reverse mode) and `forward`.

A rule maps (g, y, *args) to g · ∂y/∂arg for each argument; y is the node itself, so a derivative may use its result.
What comes out consists of ops that are in the table again, hence second and third order. Values at kinks and ties are
listed in docs/reference/kinks.md.

The branch of a `select` that is not taken may compute anything, infinity and NaN included; a gradient is therefore
masked where it *leaves* a branch, after the last product that could have met 0 · inf (see `Guard`).
Imports `ir.expr` alone. Read next: `functions/` (how the functions here are computed), `autograd` (who asks).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from .expr import (
    DTYPES,
    Expr,
    as_expr,
    binary,
    cast,
    const,
    cos,
    cosh,
    digamma,
    eq,
    exp,
    function,
    i0,
    i0e,
    i1,
    i1e,
    log,
    node,
    polygamma,
    postorder,
    rsqrt,
    sin,
    sinh,
    substitute,
    var,
    where,
    zeta,
)

Contributions = tuple[Expr | None, ...]


def sign(x: Expr) -> Expr:
    return where(x > 0, as_expr(1.0, x.dtype), where(x < 0, as_expr(-1.0, x.dtype), as_expr(0.0, x.dtype)))


def zero(x: Expr) -> Expr:
    return const(0, x.dtype)


def power(a: Expr, b: Expr) -> Expr:
    """a**b, spelled out for the exponents that derivatives of polynomials bring."""
    if b.op == "const" and b.attr in (0, 1, 2):
        return (as_expr(1.0, a.dtype), a, a * a)[int(b.attr.real)]  # type: ignore[union-attr]
    return function("pow", a, b)


def power_by_base(g: Expr, a: Expr, b: Expr) -> Expr | None:
    if b.op == "const":
        return None if b.attr == 0 else g * (b * power(a, const(b.attr - 1, b.dtype)))  # type: ignore[operator]
    return where(eq(b, 0.0), zero(g), g * (b * power(a, b - 1.0)))


def power_by_exponent(g: Expr, y: Expr, a: Expr, b: Expr) -> Expr:
    # 0**b is constant for b >= 0: without the mask it would be 0 · log 0.
    rising = (real(b) if DTYPES[b.dtype].kind == "c" else b) >= 0.0
    return where(eq(a, 0.0) & rising, zero(g), g * (y * log(a)))


def next_order(n: Expr) -> Expr:
    return const(n.attr + 1, n.dtype) if n.op == "const" else n + 1.0  # type: ignore[operator]


def tie(g: Expr, loses: Expr, a: Expr, b: Expr) -> Expr:
    """The gradient of whichever wins; half for each when equal."""
    return where(loses, zero(g), where(eq(a, b), g * 0.5, g))


RULES: dict[str, Callable[..., Contributions]] = {
    "add": lambda g, y, a, b: (g, g),
    "sub": lambda g, y, a, b: (g, -g),
    "mul": lambda g, y, a, b: (g * b, g * a),
    "div": lambda g, y, a, b: (g / b, -(g / b) * y),
    "neg": lambda g, y, x: (-g,),
    "abs": lambda g, y, x: (where(x > 0, g, where(x < 0, -g, zero(g))),),
    "min": lambda g, y, a, b: (tie(g, a > b, a, b), tie(g, b > a, a, b)),
    "max": lambda g, y, a, b: (tie(g, a < b, a, b), tie(g, b < a, a, b)),
    "fma": lambda g, y, a, b, c: (g * b, g * a, g),
    "sqrt": lambda g, y, x: (g * 0.5 / y,),
    "rsqrt": lambda g, y, x: (g * -0.5 * (y * y * y),),
    "pow": lambda g, y, a, b: (power_by_base(g, a, b), power_by_exponent(g, y, a, b)),
    "exp": lambda g, y, x: (g * y,),
    "exp2": lambda g, y, x: (g * (y * math.log(2)),),
    "expm1": lambda g, y, x: (g * exp(x),),
    "log": lambda g, y, x: (g / x,),
    "log2": lambda g, y, x: (g / (x * math.log(2)),),
    "log10": lambda g, y, x: (g / (x * math.log(10)),),
    "log1p": lambda g, y, x: (g / (x + 1.0),),
    "sin": lambda g, y, x: (g * cos(x),),
    "cos": lambda g, y, x: (-g * sin(x),),
    "tan": lambda g, y, x: (g * (y * y + 1.0),),
    "asin": lambda g, y, x: (g * rsqrt((1.0 - x) * (1.0 + x)),),
    "acos": lambda g, y, x: (-g * rsqrt((1.0 - x) * (1.0 + x)),),
    "atan": lambda g, y, x: (g / (x * x + 1.0),),
    "atan2": lambda g, y, a, b: (over(g * b, a * a + b * b), over(-g * a, a * a + b * b)),
    "sinh": lambda g, y, x: (g * cosh(x),),
    "cosh": lambda g, y, x: (g * sinh(x),),
    "tanh": lambda g, y, x: (g * (1.0 - y * y),),
    "asinh": lambda g, y, x: (g * rsqrt(x * x + 1.0),),
    "acosh": lambda g, y, x: (g * (rsqrt(x - 1.0) * rsqrt(x + 1.0)),),
    "atanh": lambda g, y, x: (g / ((1.0 - x) * (1.0 + x)),),
    "erf": lambda g, y, x: (g * (exp(-(x * x)) * (2 / math.sqrt(math.pi))),),
    "erfc": lambda g, y, x: (g * (exp(-(x * x)) * (-2 / math.sqrt(math.pi))),),
    "erfinv": lambda g, y, x: (g * (exp(y * y) * (math.sqrt(math.pi) / 2)),),
    "ndtri": lambda g, y, x: (g * (exp(y * y * 0.5) * math.sqrt(2 * math.pi)),),
    "lgamma": lambda g, y, x: (g * digamma(x),),
    "digamma": lambda g, y, x: (g * polygamma(const(1.0, x.dtype), x),),
    "polygamma": lambda g, y, n, x: (None, g * polygamma(next_order(n), x)),
    "zeta": lambda g, y, s, q: (None, g * (-s * zeta(s + 1.0, q))),
    "i0": lambda g, y, x: (g * i1(x),),
    "i0e": lambda g, y, x: (g * (i1e(x) - sign(x) * y),),
    "i1": lambda g, y, x: (g * where(eq(x, 0.0), 0.5, i0(x) - y / x),),
    "i1e": lambda g, y, x: (g * where(eq(x, 0.0), 0.5, i0e(x) - y * (sign(x) + 1.0 / x)),),
    # Not masked here but where the gradient leaves the branch.
    "select": lambda g, y, c, a, b: (None, g, g),
}  # fmt: skip


def over(a: Expr, b: Expr) -> Expr:
    """a / b, and 0 where b is 0."""
    return where(eq(b, 0.0), zero(a), a / b)


# A literal is a select's condition and the side taken; a term is literals that all hold, outermost first; a guard is
# the terms under any of which a node's value reaches the result. ((),) is "always", () is "never".
Literal = tuple[Expr, bool]
Guard = tuple[tuple[Literal, ...], ...]
ALWAYS: Guard = ((),)
# A guard that would grow beyond this is given up for ALWAYS, which is right wherever no 0 · inf lurks.
MOST_TERMS = 8


def either(a: Guard, b: Guard) -> Guard:
    """a or b, with (p and c) or (p and not c) = p, and p or (p and c) = p."""
    terms = list(dict.fromkeys(a + b))
    changed = True
    while changed:
        changed = False
        for i, t in enumerate(terms):
            for u in terms[i + 1 :]:
                differ = set(t) ^ set(u)
                if set(t) <= set(u) or set(u) <= set(t):
                    merged = t if len(t) <= len(u) else u
                elif len(differ) == 2 and len({c for c, _ in differ}) == 1:
                    merged = tuple(x for x in t if x not in differ)
                else:
                    continue
                terms = [v for v in terms if v not in (t, u)] + [merged]
                changed = True
                break
            if changed:
                break
    return tuple(terms) if len(terms) <= MOST_TERMS else ALWAYS


def mask(g: Expr, source: Guard, target: Guard) -> Expr:
    """g where `source` holds, else 0, given that nobody looks where `target` doesn't hold."""
    if source == target:
        return g
    known = set(target[0]).intersection(*target[1:])
    terms = [tuple(x for x in t if x not in known) for t in source]
    if len(terms) > 1:
        condition = _any(_all(t) for t in terms)
        return where(condition, g, zero(g))
    for condition, side in reversed(terms[0]):
        g = where(condition, g, zero(g)) if side else where(condition, zero(g), g)
    return g


def _all(term: tuple[Literal, ...]) -> Expr:
    literals = [c if side else ~c for c, side in term]
    total = literals[0]
    for x in literals[1:]:
        total = total & x
    return total


def _any(conditions: Iterable[Expr]) -> Expr:
    total, *rest = conditions
    for x in rest:
        total = total | x
    return total


def is_zero(x: Expr) -> bool:
    return x.op == "const" and x.attr == 0


def add(a: Expr, b: Expr) -> Expr:
    """a + b where zeros cost nothing and complementary masks become one select."""
    if is_zero(a) or is_zero(b):
        return b if is_zero(a) else a
    if a.op == b.op == "select" and a.args[0] is b.args[0] and any(map(is_zero, a.args[1:] + b.args[1:])):
        condition, p, q = a.args
        return where(condition, add(p, b.args[1]), add(q, b.args[2]))
    return binary("add", a, b)


def is_floating(x: Expr) -> bool:
    return DTYPES[x.dtype].kind in "fc"


def active(body: Expr, wrt: Sequence[Expr]) -> set[Expr]:
    """The nodes that depend on a variable of wrt through floating-point values alone."""
    found = {v for v in wrt if is_floating(v)}
    for x in postorder(body):
        if is_floating(x) and (x.op in RULES or x.op in STRUCTURAL) and any(a in found for a in x.args):
            found.add(x)
    return found


def real(z: Expr) -> Expr:
    return z.args[0] if z.op == "complex" else node("real", _component(z), (z,))


def imag(z: Expr) -> Expr:
    return z.args[1] if z.op == "complex" else node("imag", _component(z), (z,))


def complex_of(a: Expr, b: Expr) -> Expr:
    return node("complex", "c64" if a.dtype == "f32" else "c128", (a, b))


def conj(z: Expr) -> Expr:
    return complex_of(real(z), -imag(z)) if DTYPES[z.dtype].kind == "c" else z


def _component(z: Expr) -> str:
    return "f32" if z.dtype == "c64" else "f64"


def convert(g: Expr, dtype: str) -> Expr:
    """cast, with the real part taken explicitly."""
    return cast(real(g) if DTYPES[g.dtype].kind == "c" and DTYPES[dtype].kind != "c" else g, dtype)


# Ops whose argument and result differ in type, so that a rule needs no y. Gradients of complex numbers are PyTorch's,
# ∂/∂re + i ∂/∂im.
STRUCTURAL: dict[str, Callable[..., Contributions]] = {
    "cast": lambda g, x: (convert(g, x.dtype),),
    "complex": lambda g, a, b: (real(g), imag(g)),
    "real": lambda g, z: (complex_of(g, zero(g)),),
    "imag": lambda g, z: (complex_of(zero(g), g),),
}


def contributions(g: Expr, y: Expr) -> Contributions:
    """What y's gradient g gives to each argument of y."""
    if y.op in STRUCTURAL:
        return STRUCTURAL[y.op](g, *y.args)
    if DTYPES[y.dtype].kind != "c" or y.op == "select":
        return RULES[y.op](g, y, *y.args)
    # The chain rule of a holomorphic function is g · conj(f'), and a rule gives conj(g) · f'.
    return tuple(c if c is None else conj(c) for c in RULES[y.op](conj(g), y, *y.args))


def derivative(body: Expr, wrt: tuple[Expr, ...], seed: Expr) -> Contributions:
    """seed · ∂body/∂v for each variable v of wrt; None where body doesn't depend on v in a differentiable way.

    >>> from flambeau.ir.expr import var, where, function
    >>> x, g = var("x", "f32"), var("g", "f32")
    >>> derivative(where(x > 0, function("log", x), 0.0), (x,), g)[0] is where(x > 0, g / x, 0.0)
    True
    """
    useful = active(body, wrt)
    leaves = set(wrt)
    arriving: dict[Expr, list[tuple[Guard, Expr]]] = {body: [(ALWAYS, seed)]}
    result: dict[Expr, Expr] = {}
    for y in reversed(postorder(body)):
        if y not in arriving or y not in useful:
            continue
        guard: Guard = ()
        for source, _ in arriving[y]:
            guard = either(guard, source)
        # Whoever receives a variable's gradient looks at all of it.
        guard = ALWAYS if y in leaves else guard
        g, *others = (mask(part, source, guard) for source, part in arriving.pop(y))
        for part in others:
            g = add(g, part)
        if y in leaves:
            result[y] = g
            continue
        for position, (x, given) in enumerate(zip(y.args, contributions(g, y), strict=True)):
            if given is not None and x in useful:
                edge = tuple((*t, (y.args[0], position == 1)) for t in guard) if y.op == "select" else guard
                arriving.setdefault(x, []).append((edge, given))
    return tuple(result.get(v) for v in wrt)


def forward(body: Expr, wrt: tuple[Expr, ...], tangents: tuple[Expr, ...]) -> Expr | None:
    """The tangent of body for a tangent of each variable of wrt; None where it is zero everywhere.

    The gradient is linear in its seed, and the transpose of that linear map is the tangent: so forward mode is as safe
    in branches not taken as reverse mode is, and needs no table of its own.
    """
    seed = var("seed of forward", body.dtype)
    total: Expr | None = None
    part: Expr | None
    for v, tangent in zip(wrt, tangents, strict=True):
        (gradient,) = derivative(body, (v,), seed)
        if gradient is not None:
            (part,) = derivative(gradient, (seed,), tangent)
            if part is not None:
                total = part if total is None else add(total, part)
    return total


def saved(body: Expr, grads: Contributions, output: Expr) -> Contributions:
    """grads with body replaced by the variable `output` where that needs no more variables and fewer operations.

    tanh: g (1 - tanh(x)²) becomes g (1 - out²), so that x need not be kept.
    """
    present = tuple(g for g in grads if g is not None)
    shorter = substitute(present, {body: output})
    before, after = postorder(*present), postorder(*shorter)
    count = [sum(x.op == "var" for x in nodes) for nodes in (before, after)]
    if shorter == present or count[1] > count[0] or len(after) > len(before):
        return grads
    remaining = iter(shorter)
    return tuple(None if g is None else next(remaining) for g in grads)
