"""sinh, cosh, tanh and their inverses.

Imports `build`, `exponential` and `ir.expr`. Read next: `erf.py`.
"""

from __future__ import annotations

import math

from ..expr import Expr, as_expr, fma, sqrt, where
from .build import NAN, at_most, expansion, horner, round_and_power, with_sign
from .exponential import EXP, LN2, LOG2_E, log1p, reduce

# (e^r - 1 - r) / r² on |r| <= ln(2)/2. Error relative to e^r - 1: 2^-31 and 2^-55.5.
EXPM1_NARROW = {
    "f32": (0.5, 0.166666657, 0.0416664891, 0.00833354704, 0.00139327522, 0.000197612797),
    "f64": (
        0.5000000000000006, 0.16666666666666602, 0.04166666666657328, 0.008333333333381671, 0.0013888888932565738,
        0.00019841269736119144, 2.4801504151309816e-05, 2.755739196025091e-06, 2.762646669544993e-07,
        2.5058853809669403e-08,
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


def half_exp(a: Expr) -> Expr:
    """e^a / 2 for a >= 0, overflowing only where the result does."""
    _, r, s = reduce(at_most(a, {"f32": 90.0, "f64": 711.0}[a.dtype]))
    return horner(r, 1.0, 1.0, *EXP[a.dtype]) * (s * 0.5) * s


@expansion("sinh")
def sinh(x: Expr) -> Expr:
    a = abs(x)
    z = a * a
    inner = fma(a * z, horner(z, *SINH[x.dtype]), a)
    h = half_exp(a)
    return with_sign(where(a < 1.0, inner, h - 0.25 / h), x)


@expansion("cosh")
def cosh(x: Expr) -> Expr:
    h = half_exp(abs(x))
    return h + 0.25 / h


@expansion("tanh")
def tanh(x: Expr) -> Expr:
    """(e^2a - 1) / (e^2a + 1) for a = |x|, up to where it rounds to 1."""
    a = at_most(abs(x), {"f32": 9.1, "f64": 19.1}[x.dtype])
    high, low = LN2[x.dtype]
    a2 = a + a
    n, s = round_and_power(a2, LOG2_E)
    r = fma(n, -low, fma(n, -high, a2))
    q = fma(fma(r * r, horner(r, *EXPM1_NARROW[x.dtype]), r), s, s - 1.0)
    t = q / (q + 2.0)
    # q/2 - q/2 t is the same number; where t is small it hides the rounding of t.
    half = q * 0.5
    return with_sign(where(a < 0.4, fma(-half, t, half), t), x)


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
