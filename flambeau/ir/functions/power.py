"""pow, with the special cases of C99 annex F, and rsqrt.

pow(x, y) = 2^(y log2 x): log2 needs as many more bits as the exponent range has, so f32 works in f64 and f64 in pairs
of f64 (an unevaluated sum high + low). Imports `build`, `exponential` (constants) and `ir.expr`.
"""

from __future__ import annotations

from ..expr import Expr, cast, eq, fma, ne, sqrt, trunc, where
from .build import INF, NAN, at_least, at_most, either_nan, expansion, horner, round_and_power, split_positive
from .exponential import EXP, LN2, PER_LN2

# 2 atanh(s) / (s ln 2) in z = s² for (1+s)/(1-s) in [sqrt(1/2), sqrt(2)]; error 2^-45.
LOG2_SHORT = (
    2.8853900817778495, 0.9617966941142635, 0.5770779420778647, 0.4122092833146654, 0.3199043515710582,
    0.2829204267662696,
)  # fmt: skip
# (2^r - 1) / r on |r| <= 1/2; error 2^-34.
EXP2_SHORT = (
    0.6931471807070899, 0.24022651071270212, 0.05550410359364007, 0.009618037380062169, 0.0013333939319081637,
    0.0001546701440006516, 1.5195491226493985e-05,
)  # fmt: skip
# (2 atanh(s) - 2s - 2/3 s³) / s⁵ in z = s² on the same range; error 2^-66 of the logarithm.
LOG_TAIL = (
    0.4000000000000227, 0.2857142857009131, 0.22222222521449078, 0.18181784229334327, 0.15386763863810463,
    0.13256661546187565, 0.13197814307835556,
)  # fmt: skip
TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)


def power_in_f64(a: Expr, y: Expr) -> Expr:
    """a**y for f64 copies of f32 arguments, a > 0, to 2^-33."""
    e, m = split_positive(a)
    s = (m - 1.0) / (m + 1.0)
    log2 = fma(s, horner(s * s, *LOG2_SHORT), e)
    u = at_least(at_most(power_exponent(a, y, log2), 200.0), -200.0)
    n, scale = round_and_power(u, 1.0)
    r = u - n
    return fma(r, horner(r, *EXP2_SHORT), 1.0) * scale


def power_exponent(a: Expr, y: Expr, log2: Expr) -> Expr:
    """y log2(a), given log2 for finite positive a: infinite at 0 and infinity, 0 at 1 even for infinite y."""
    return where(eq(a, 1.0), 0.0, y * where(eq(a, 0.0), -INF, where(eq(a, INF), INF, log2)))


def power_in_pairs(a: Expr, y: Expr) -> Expr:
    """a**y for f64, a > 0; log2(a) is carried to about 2^-65."""
    e, m = split_positive(a)
    f = m - 1.0
    g = m + 1.0
    g_low = m - (g - 1.0)
    inverse = 1.0 / g
    s = f * inverse
    s_low = (fma(-s, g, f) - s * g_low) * inverse
    z = s * s
    z_low = fma(s, s, -z) + 2.0 * s * s_low
    w = s * z
    w_low = fma(s, z, -w) + fma(s, z_low, s_low * z)
    tail = z * horner(z, *LOG_TAIL)
    c = tail + TWO_THIRDS[0]
    c_low = (TWO_THIRDS[0] - c) + tail + TWO_THIRDS[1]
    p = w * c
    p_low = fma(w, c, -p) + fma(w, c_low, w_low * c)
    ln = 2.0 * s + p
    ln_low = (2.0 * s - ln) + p + (2.0 * s_low + p_low)
    q = ln * PER_LN2["f64"][0]
    q_low = fma(ln, PER_LN2["f64"][0], -q) + fma(ln, PER_LN2["f64"][1], ln_low * PER_LN2["f64"][0])
    log2 = e + q
    log2_low = (e - log2) + q + q_low
    u = power_exponent(a, y, log2)
    u_low = fma(y, log2, -u) + y * log2_low
    inside = abs(u) < 1100.0
    u = where(inside, u, where(u > 0.0, 1100.0, where(u < 0.0, -1100.0, u)))
    n, scale = round_and_power(u, 0.5)
    t = fma(n, -2.0, u) + where(inside & ne(a, 1.0), u_low, 0.0)
    r = t * LN2["f64"][0]
    return horner(r, 1.0, 1.0, *EXP["f64"]) * scale * scale


@expansion("pow")
def pow(x: Expr, y: Expr) -> Expr:
    a = abs(x)
    if x.dtype == "f32":
        magnitude = cast(power_in_f64(cast(a, "f64"), cast(y, "f64")), "f32")
    else:
        magnitude = power_in_pairs(a, y)
    integer = eq(trunc(y), y)
    odd = integer & ne(trunc(y * 0.5), y * 0.5)
    # 1/x tells -0.0 from 0.0 where x < 0 can't.
    negative = (x < 0.0) | (eq(x, 0.0) & (1.0 / x < 0.0))
    signed = where(negative & odd, -magnitude, magnitude)
    real = where((x < 0.0) & ~integer & (x > -INF), NAN, signed)
    return where(eq(x, 1.0) | eq(y, 0.0), 1.0, where(either_nan(x, y), NAN, real))


@expansion("rsqrt")
def rsqrt(x: Expr) -> Expr:
    return 1.0 / sqrt(x)
