"""sinh, cosh, tanh and their inverses.

Imports `build`, `exponential` and `ir.expr`. Read next: `erf.py`.
"""

from __future__ import annotations

import math

from ..expr import Expr, as_expr, fma, sqrt, where
from .build import NAN, at_most, expansion, horner, round_and_power, with_sign
from .exponential import EXP, LN2, LOG2_E, log1p

# (e^2r - 1 - 2r) / (2r²) on |r| <= ln(2)/4. Error relative to e^2r - 1: 2^-31 and 2^-55.5.
TANH = {
    "f32": (1.0, 0.666666627, 0.333331913, 0.133336753, 0.044584807, 0.012647219),
    "f64": (
        1.000000000000001, 0.6666666666666641, 0.33333333333258625, 0.13333333333410674, 0.04444444458421036,
        0.012698412631116252, 0.0031745925313676564, 0.0007054692341824233, 0.00014144750948070364,
        2.566026630110147e-05,
    ),
}  # fmt: skip
# (sinh x - x) / x³ in z = x² on |x| <= 1: errors 2^-31.6 and 2^-61.7 of sinh.
SINH = {
    "f32": (0.166666672, 0.00833331142, 0.000198426176, 2.78411721e-06),
    "f64": (
        0.16666666666666669, 0.008333333333332919, 0.00019841269841584523, 2.755731911047843e-06,
        2.5052130302594034e-08, 1.6056719345298395e-10, 7.774641268479065e-13,
    ),
}  # fmt: skip
# From here on x² + 1 is x², and x² doesn't overflow before.
LARGE = 2.0**60


def half_exp(a: Expr) -> tuple[Expr, Expr]:
    """e^a / 2 for a >= 0 as an unevaluated sum high + low; overflows only where the result does."""
    a = at_most(a, {"f32": 90.0, "f64": 711.0}[a.dtype])
    n, power = round_and_power(a, 0.5 * LOG2_E)
    ln2, ln2_low = LN2[a.dtype]
    start = fma(n, -2 * ln2, a)
    r = fma(n, -2 * ln2_low, start)
    r_low = fma(n, -2 * ln2_low, start - r)
    one = r + 1.0
    rest = fma(r * r, horner(r, *EXP[a.dtype]), (r - (one - 1.0)) + r_low)
    half = power * 0.5
    return one * half * power, rest * half * power


@expansion("sinh")
def sinh(x: Expr) -> Expr:
    a = abs(x)
    z = a * a
    inner = fma(a * z, horner(z, *SINH[x.dtype]), a)
    high, low = half_exp(a)
    return with_sign(where(a < 1.0, inner, (high - 0.25 / (high + low)) + low), x)


@expansion("cosh")
def cosh(x: Expr) -> Expr:
    high, low = half_exp(abs(x))
    return (high + 0.25 / (high + low)) + low


@expansion("tanh")
def tanh(x: Expr) -> Expr:
    """h / (h + 1) with h = (e^2a - 1) / 2, a = |x| up to where the result rounds to 1."""
    a = at_most(abs(x), {"f32": 9.1, "f64": 19.1}[x.dtype])
    n, s = round_and_power(a, 2 * LOG2_E)
    r = fma(n, -0.5 * LN2[x.dtype][0], a)
    h = fma(fma(r * r, horner(r, *TANH[x.dtype]), r), s, fma(s, 0.5, -0.5))
    t = h / (h + 1.0)
    # h - h t is the same number; where t is small it hides the rounding of t.
    return with_sign(where(a < 0.4, fma(-h, t, h), t), x)


@expansion("asinh", in_f64=True)
def asinh(x: Expr) -> Expr:
    """log(a + sqrt(a² + 1)), as log1p of a sum of positive terms."""
    a = abs(x)
    large = a > LARGE
    z = a * a
    rest = where(large, 0.0, z / (sqrt(z + 1.0) + 1.0))
    return with_sign(log1p(a + rest) + where(large, as_expr(math.log(2), x.dtype), 0.0), x)


@expansion("acosh", in_f64=True)
def acosh(x: Expr) -> Expr:
    large = x > LARGE
    t = x - 1.0
    y = log1p(t + where(large, 0.0, sqrt(t * (t + 2.0)))) + where(large, as_expr(math.log(2), x.dtype), 0.0)
    return where(x < 1.0, NAN, y)


@expansion("atanh", in_f64=True)
def atanh(x: Expr) -> Expr:
    """log((1 + a) / (1 - a)) / 2."""
    a = abs(x)
    return with_sign(log1p((a + a) / (1.0 - a)) * 0.5, x)
