"""asin, acos, atan and atan2: an odd polynomial on |t| <= 1/2, and angles added where the argument was folded into it.

Imports `build`, `trigonometric` (pi) and `ir.expr`. Read next: `hyperbolic.py`.
"""

from __future__ import annotations

from ..expr import Expr, as_expr, const, eq, fma, ne, sqrt, where
from .build import INF, bits, expansion, horner, with_sign

# (asin t - t) / t³ and (atan t - t) / t³ in z = t². Errors 2^-31.7 in f32, 2^-59.8 and 2^-57.8 in f64.
ASIN = {
    "f32": (0.166666597, 0.0750051737, 0.0445148535, 0.0318228118, 0.014388171, 0.0375803448),
    "f64": (
        0.1666666666666676, 0.07499999999970844, 0.044642857174598545, 0.03038194270740259, 0.02237221502157061,
        0.01735161105012035, 0.013980835834630865, 0.0113987595828824, 0.01078125000612612, 0.0037021451908946556,
        0.02171895359264869, -0.021016860291881233, 0.03264065427240201,
    ),
}  # fmt: skip
ATAN = {
    "f32": (-0.333333284, 0.199995533, -0.142730653, 0.109480016, -0.0800738707, 0.0390170999),
    "f64": (
        -0.3333333333333298, 0.19999999999902984, -0.1428571427636926, 0.11111110658768857, -0.09090896220562301,
        0.07692073506139599, -0.06663806247940793, 0.0585826817658731, -0.05121864873416531, 0.04186098844008395,
        -0.02742830171504134, 0.010112110478264899,
    ),
}  # fmt: skip
# pi/2 in two parts; pi and pi/4 are exact multiples.
HALF_PI = {"f32": (1.5707963705062866, -4.371138828673793e-08), "f64": (1.5707963267948966, 6.123233995736766e-17)}


def fold_asin(x: Expr, inner: Expr) -> tuple[Expr, Expr, Expr]:
    """(outside, s, t): asin(s) = s + t, s being sqrt((1-|x|)/2) outside |x| <= 1/2, and `inner` inside."""
    a = abs(x)
    outside = a > 0.5
    z = where(outside, fma(a, -0.5, 0.5), a * a)
    s = where(outside, sqrt(z), inner)
    return outside, s, s * z * horner(z, *ASIN[x.dtype])


@expansion("asin")
def asin(x: Expr) -> Expr:
    high, low = HALF_PI[x.dtype]
    outside, s, t = fold_asin(x, abs(x))
    y = fma(s, -2.0, high)
    y_low = fma(s, -2.0, high - y)
    return with_sign(where(outside, y - (fma(t, 2.0, -low) - y_low), s + t), x)


@expansion("acos")
def acos(x: Expr) -> Expr:
    """pi/2 - asin(x), or twice asin(s), or pi minus that: all of them angle - (k s + k t)."""
    high, low = HALF_PI[x.dtype]
    outside, s, t = fold_asin(x, x)
    left = x < 0.0
    zero = as_expr(0.0, x.dtype)
    k = where(outside, where(left, as_expr(2.0, x.dtype), -2.0), 1.0)
    angle = where(outside, where(left, as_expr(2 * high, x.dtype), 0.0), high)
    angle_low = where(outside, where(left, zero + 2 * low, 0.0), low)
    return angle - fma(s, k, fma(t, k, -angle_low))


def first_quadrant(a: Expr, b: Expr) -> Expr:
    """atan(a/b) for a, b >= 0, b not 0 unless a is greater: atan t, pi/4 + atan t or pi/2 + atan t."""
    high, low = HALF_PI[a.dtype]
    middle, steep = a > b * 0.5, a > b * 2.0
    t = where(steep, -b, where(middle, a - b, a)) / where(steep, a, where(middle, a + b, b))
    angle = where(steep, as_expr(high, a.dtype), where(middle, as_expr(high / 2, a.dtype), 0.0))
    angle_low = where(steep, as_expr(low, a.dtype), where(middle, as_expr(low / 2, a.dtype), 0.0))
    z = t * t
    return angle + (t + fma(t * z, horner(z, *ATAN[a.dtype]), angle_low))


@expansion("atan")
def atan(x: Expr) -> Expr:
    return with_sign(first_quadrant(abs(x), as_expr(1.0, x.dtype)), x)


@expansion("atan2")
def atan2(y: Expr, x: Expr) -> Expr:
    high, low = HALF_PI[x.dtype]
    a, b = abs(y), abs(x)
    # Infinities stand for each other's equals, 0/0 for 0/1; what would overflow in a + b is scaled.
    diagonal = eq(a, INF) & eq(b, INF)
    a = where(diagonal, 1.0, a)
    b = where(diagonal | (eq(a, 0.0) & eq(b, 0.0)), 1.0, b)
    scale = where((a > 2.0**100) | (b > 2.0**100), as_expr(0.25, x.dtype), 1.0)
    angle = first_quadrant(a * scale, b * scale)
    behind = bits(x) < const(0, bits(x).dtype)
    return where(ne(x, x) | ne(y, y), x + y, with_sign(where(behind, 2 * high - (angle - 2 * low), angle), y))
