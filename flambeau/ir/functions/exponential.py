"""exp, expm1, exp2 and log, log1p, log2, log10.

Exponentials: x = n ln 2 + r with n even and |r| <= ln 2, so that 2**n = s · s with s = 2**(n/2) always a normal number:
overflow and denormals then come out of the last multiplication, rounded once. Logarithms: x = m 2**e with m around 1.
Coefficients are minimax fits of our own (Remez-like, each rounded in turn to the format while the others are refitted).
Imports `build` and `ir.expr`. Read next: `hyperbolic.py`, `power.py`.
"""

from __future__ import annotations

from ..expr import Expr, as_expr, bitcast, cast, eq, fma, where
from .build import (
    FORMATS,
    INF,
    NAN,
    at_least,
    at_most,
    expansion,
    horner,
    round_and_power,
    split_exponent,
    split_positive,
    with_sign,
)

LOG2_E = 1.4426950408889634
# Constants in two parts, to half an ulp of the second.
LN2 = {"f32": (0.6931471824645996, -1.9046542121259336e-09), "f64": (0.6931471805599453, 2.3190468138462996e-17)}

PER_LN2 = {"f32": (1.4426950216293335, 1.925963033500011e-08), "f64": (1.4426950408889634, 2.0355273740931033e-17)}
PER_LN10 = {"f32": (0.4342944920063019, -1.0103049952192578e-08), "f64": (0.4342944819032518, 1.098319650216765e-17)}
LOG10_2 = {"f32": (0.3010300099849701, -1.432098883924482e-08), "f64": (0.3010299956639812, -2.8037281277851704e-18)}

# (e^r - 1 - r) / r² on |r| <= ln 2. Error relative to e^r: 2^-30.2 and 2^-56.4.
EXP = {
    "f32": (0.5, 0.166666716, 0.0416666009, 0.00833265297, 0.00138921628, 0.000200932045, 2.45279261e-05),
    "f64": (
        0.4999999999999993, 0.16666666666666943, 0.04166666666670243, 0.0083333333332686, 0.001388888888352409,
        0.00019841269893672856, 2.4801590859132497e-05, 2.7557300390830486e-06, 2.755615128418911e-07,
        2.5055065064260352e-08, 2.1062890362006065e-09, 1.5934439277158393e-10,
    ),
}  # fmt: skip
# The same with the error relative to e^r - 1: 2^-29.3 and 2^-60.4.
EXPM1 = {
    "f32": (0.5, 0.166666716, 0.0416666418, 0.00833265949, 0.00138899602, 0.000200917231, 2.48125307e-05),
    "f64": (
        0.5, 0.1666666666666666, 0.041666666666666755, 0.00833333333333617, 0.001388888888886919,
        0.00019841269837282308, 2.4801587316767535e-05, 2.7557321760819106e-06, 2.7557314174880993e-07,
        2.5051299503489943e-08, 2.087741291916052e-09, 1.6185190035381245e-10, 1.1472591858347891e-11,
    ),
}  # fmt: skip
# (2^r - 1) / r on |r| <= 1. Error relative to 2^r: 2^-30 and 2^-56.5.
EXP2 = {
    "f32": (
        0.693147182, 0.240226507, 0.0555041134, 0.00961811189, 0.00133326789, 0.00015407613, 1.54351601e-05,
        1.30416686e-06,
    ),
    "f64": (
        0.6931471805599453, 0.2402265069591003, 0.05550410866482284, 0.009618129107637416, 0.0013333558146308266,
        0.00015403530387161563, 1.525273384811157e-05, 1.321548873394019e-06, 1.0178078621006908e-07,
        7.0546086512555695e-09, 4.4460873131732685e-10, 2.5908607776942733e-11, 1.3579890014205538e-12,
    ),
}  # fmt: skip


def reduce(x: Expr) -> tuple[Expr, Expr, Expr]:
    """(h, r, s) with x = 2 h ln 2 + r and s = 2**h."""
    high, low = LN2[x.dtype]
    h, s = round_and_power(x, 0.5 * LOG2_E)
    return h, fma(h, -2 * low, fma(h, -2 * high, x)), s


@expansion("exp")
def exp(x: Expr) -> Expr:
    low, high = {"f32": (-104.0, 89.0), "f64": (-746.0, 710.0)}[x.dtype]
    _, r, s = reduce(at_least(at_most(x, high), low))
    return horner(r, 1.0, 1.0, *EXP[x.dtype]) * s * s


@expansion("exp2")
def exp2(x: Expr) -> Expr:
    low, high = {"f32": (-151.0, 129.0), "f64": (-1076.0, 1025.0)}[x.dtype]
    bounded = at_least(at_most(x, high), low)
    h, s = round_and_power(bounded, 0.5)
    r = fma(h, -2.0, bounded)
    return fma(r, horner(r, *EXP2[x.dtype]), 1.0) * s * s


@expansion("expm1")
def expm1(x: Expr) -> Expr:
    low, high = {"f32": (-18.0, 89.0), "f64": (-38.0, 710.0)}[x.dtype]
    h, r, s = reduce(at_least(at_most(x, high), low))
    p = fma(r * r, horner(r, *EXPM1[x.dtype]), r)
    # Half of the result first: 2**n alone may overflow where 2**n · e^r doesn't.
    half = s * 0.5 * s
    y = fma(p, half, half - 0.5)
    return with_sign(where(eq(h, 0.0), p, y + y), x)


# (log(1+f) - f) / f² on sqrt(1/2) <= 1+f <= sqrt(2). Error relative to log: 2^-27.3.
LOG_F32 = (
    -0.5, 0.333333313, -0.250008225, 0.20001246, -0.166233256, 0.142014906, -0.131602809, 0.127626926, -0.0763501823,
)  # fmt: skip
# (2 atanh(s) - 2s) / s³ in z = s² on the same range, s = f / (2+f). Error relative to log: 2^-59.5.
LOG_F64 = (
    0.6666666666666735, 0.3999999999940987, 0.2857142874347807, 0.22222198458123835, 0.1818357050479749,
    0.15313886852828498, 0.14797646958913596,
)  # fmt: skip


def log_tail(f: Expr) -> Expr:
    """log(1+f) - f."""
    if f.dtype == "f32":
        return f * f * horner(f, *LOG_F32)
    s = f / (f + 2.0)
    z = s * s
    half = f * f * 0.5
    # 2s = f - s f and s f = f²/2 - s f²/2: so only small terms are rounded.
    return fma(s, fma(z, horner(z, *LOG_F64), half), -half)


def log_about_one(f: Expr, e: Expr) -> Expr:
    """log(1+f) + e ln 2."""
    high, low = LN2[f.dtype]
    return fma(e, high, f + fma(e, low, log_tail(f)))


@expansion("log")
def log(x: Expr) -> Expr:
    e, m = split_positive(x)
    return log_or_special(x, log_about_one(m - 1.0, e))


def log_in_base(x: Expr, base: dict[str, tuple[float, float]], two: dict[str, tuple[float, float]]) -> Expr:
    """log(x) / log(base), given 1 / log(base) and log(2) / log(base), each in two parts."""
    e, m = split_positive(x)
    f = m - 1.0
    high, low = base[x.dtype]
    two_high, two_low = two[x.dtype]
    small = fma(f, low, log_tail(f) * high)
    return log_or_special(x, fma(e, two_high, fma(f, high, fma(e, two_low, small))))


@expansion("log2")
def log2(x: Expr) -> Expr:
    return log_in_base(x, PER_LN2, {"f32": (1.0, 0.0), "f64": (1.0, 0.0)})


@expansion("log10")
def log10(x: Expr) -> Expr:
    return log_in_base(x, PER_LN10, LOG10_2)


def log_or_special(x: Expr, y: Expr) -> Expr:
    """y where x is positive and finite, else what any logarithm gives."""
    special = where(x < 0.0, NAN, where(eq(x, 0.0), -INF, x))
    return where((x > 0.0) & (x < INF), y, special)


@expansion("log1p")
def log1p(x: Expr) -> Expr:
    f = FORMATS[x.dtype]
    e, _ = split_exponent(x + 1.0)
    # 2**(2-e) x/4 + (2**-e - 1): exact scaling, one rounding; the factor 4 keeps 2**-e a normal number.
    scale = bitcast(as_expr(f.one + (2 << f.mantissa), f.integer) - (e << f.mantissa), x.dtype)
    y = log_about_one(fma(x * 0.25, scale, fma(scale, 0.25, -1.0)), cast(e, x.dtype))
    special = where(x < -1.0, NAN, where(eq(x, -1.0), -INF, x))
    # log(1+x) rounds to x below epsilon/4, which keeps -0.0 and the denormals that x/4 would lose.
    return where((x > -1.0) & (x < INF) & (abs(x) > f.epsilon * 0.25), y, special)
