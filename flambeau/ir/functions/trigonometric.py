"""sin, cos and tan of any finite number, reduced to |r| <= pi/4 in quarter turns.

x = (n + t) quarter turns needs 2/pi to as many bits as x has before its point. f32 takes three digits of 2/pi in f64,
picked by the size of x. f64 subtracts n pi/2 in three parts while x is below 2^28, and above multiplies x as an integer
by the 192 bits of 2/pi that matter (Payne & Hanek, 1983). Both ways are computed and one selected.
Imports `build` and `ir.expr`. Read next: `arc.py`.
"""

from __future__ import annotations

from ..expr import Expr, bitcast, cast, const, fma, ne, where
from .build import INF, bits, expansion, horner, sign_mask

# (sin r - r) / r³, (cos r - 1 + r²/2) / r⁴ and (tan r - r) / r³ in z = r². Errors 2^-32.5, 2^-32.9 and 2^-29.5 in f32,
# 2^-57.9 and 2^-63.8 in f64.
SIN = {
    "f32": (-0.166666672, 0.0083333794, -0.000198530484, 2.83219288e-06),
    "f64": (
        -0.1666666666666663, 0.008333333333321822, -0.00019841269829334323, 2.755731352798581e-06,
        -2.505073248887168e-08, 1.5895311451890806e-10,
    ),
}  # fmt: skip
COS = {
    "f32": (0.0416666456, -0.00138873071, 2.44318817e-05),
    "f64": (
        0.04166666666666659, -0.0013888888888872253, 2.4801587288367953e-05, -2.755731404290391e-07,
        2.0875682606183417e-09, -1.135760277783215e-11,
    ),
}  # fmt: skip
TAN = (0.333333492, 0.133326665, 0.0540605038, 0.0212759767, 0.0108578838, 5.56779451e-05, 0.0043953401)

HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
MAGIC = 1.5 * 2.0**52
TWO_OVER_PI = (0.6366197723675814, -3.935735335036497e-17)
# Two f64 digits of 2/pi without the bits that make multiples of 4 of every f32 from this size on; a span of 2^20 keeps
# the rounding error of the first product, which is added back later, below 1/16 turn.
TWO_OVER_PI_FROM = {
    2.0**48: (8.528719804229428e-08, 6.074026489649846e-24),
    2.0**68: (1.4504564269239186e-14, -5.321602079519459e-31),
    2.0**88: (1.0760572810738749e-19, -1.690193447800753e-36),
    2.0**108: (7.696704864039572e-26, 4.420676015940119e-42),
}
# The bits of 2/pi after the point, 64 at a time, behind 64 zeros.
WORDS = (
    0x0000000000000000, 0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561,
    0xB7246E3A424DD2E0, 0x06492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484, 0xE99C7026B45F7E41,
    0x3991D639835339F4, 0x9C845F8BBDF9283B, 0x1FF897FFDE05980F, 0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7,
    0x4F463F669E5FEA2D, 0x7527BAC7EBE5F17B, 0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB,
)  # fmt: skip
HUGE = 2.0**28


def reduce_f32(a: Expr) -> tuple[Expr, Expr]:
    """(n as an i32, r in f64) with a = n pi/2 + r, n modulo 4, for f32 a >= 0."""
    high, low = (const(d, "f64") for d in TWO_OVER_PI)
    for size, digits in TWO_OVER_PI_FROM.items():
        high, low = (
            where(a >= size, d, x) if size else const(d, "f64") for d, x in zip(digits, (high, low), strict=True)
        )
    wide = cast(a, "f64")
    turns = wide * high
    shifted = turns + MAGIC
    rest = (turns - (shifted - MAGIC)) + fma(wide, high, -turns)
    return cast(bits(shifted), "i32"), fma(wide, low, rest) * HALF_PI[0]


def reduce_f64(a: Expr) -> tuple[Expr, Expr, Expr]:
    """(n as an i64, r, correction of r) with a = n pi/2 + r, n modulo 4, for f64 a >= 0."""
    shifted = fma(a, TWO_OVER_PI[0], MAGIC)
    n = shifted - MAGIC
    start = fma(n, -HALF_PI[0], a)
    r = fma(n, -HALF_PI[1], start)
    r_low = fma(n, -HALF_PI[2], fma(n, -HALF_PI[1], start - r))
    n_huge, r_huge, r_low_huge = reduce_huge(a)
    huge = (a >= HUGE) & (a < INF)
    return where(huge, n_huge, bits(shifted)), where(huge, r_huge, r), where(huge, r_low_huge, r_low)


def reduce_huge(a: Expr) -> tuple[Expr, Expr, Expr]:
    """`reduce_f64` for finite a >= HUGE, a = m 2^(e-52): the turns are m times 2/pi shifted by e, modulo 1."""
    raw = bitcast(a, "u64")
    m = (raw & (2**52 - 1)) | 2**52
    offset = (raw >> 52) - (1023 - 10)
    window = [const(w, "u64") for w in WORDS]
    for bit in (16, 8, 4, 2, 1):
        far = ne((offset >> 6) & bit, 0)
        kept = 3 + bit  # words that later steps can still reach
        window = [where(far, window[i + bit], w) if i + bit < len(window) else w for i, w in enumerate(window[:kept])]
    shift = offset & 63
    w0, w1, w2 = ((window[i] << shift) | ((window[i + 1] >> 1) >> (63 - shift)) for i in range(3))
    product = m * w1
    low = product + multiply_high(m, w2)
    high = m * w0 + multiply_high(m, w1) + cast(low < product, "u64")
    n = (high + 2**61) >> 62
    rest = cast(high - (n << 62), "i64")
    leading = cast(rest, "f64")
    trailing = cast(rest - cast(leading, "i64"), "f64") + cast(low, "f64") * 2.0**-64
    t = leading + trailing
    t_low = (leading - t) + trailing
    quarter = HALF_PI[0] * 2.0**-62
    r = t * quarter
    r_low = fma(t, quarter, -r) + fma(t, HALF_PI[1] * 2.0**-62, t_low * quarter)
    return cast(n, "i64"), r, r_low


def multiply_high(m: Expr, w: Expr) -> Expr:
    """The upper 64 bits of m w, m below 2^53."""
    half = 2**32 - 1
    m1, m0, w1, w0 = m >> 32, m & half, w >> 32, w & half
    u = m1 * w0 + ((m0 * w0) >> 32)
    v = m0 * w1 + (u & half)
    return m1 * w1 + (u >> 32) + (v >> 32)


def reduce(x: Expr) -> tuple[Expr, Expr, Expr]:
    """(n, sine of r, cosine of r) with |x| = n pi/2 + r."""
    if x.dtype == "f32":
        n, wide = reduce_f32(abs(x))
        r = cast(wide, "f32")
        z = r * r
        return n, fma(r * z, horner(z, *SIN["f32"]), r), fma(z, horner(z, -0.5, *COS["f32"]), 1.0)
    n, r, low = reduce_f64(abs(x))
    z = r * r
    half = z * 0.5
    near_one = 1.0 - half
    sine = r + fma(r * z, horner(z, *SIN["f64"]), low * near_one)
    cosine = near_one + (((1.0 - near_one) - half) + fma(z * z, horner(z, *COS["f64"]), -(r * low)))
    return n, sine, cosine


def with_turn(y: Expr, n: Expr, sign: Expr | int = 0) -> Expr:
    """y, negated where n has bit 1 and where `sign` is set."""
    width = 32 if y.dtype == "f32" else 64
    return bitcast(bits(y) ^ (((n << (width - 2)) ^ sign) & sign_mask(y)), y.dtype)


@expansion("sin")
def sin(x: Expr) -> Expr:
    n, sine, cosine = reduce(x)
    return with_turn(where(ne(n & 1, 0), cosine, sine), n, bits(x))


@expansion("cos")
def cos(x: Expr) -> Expr:
    n, sine, cosine = reduce(x)
    return with_turn(where(ne(n & 1, 0), sine, cosine), n + (n & 1))


@expansion("tan")
def tan(x: Expr) -> Expr:
    if x.dtype == "f32":
        n, wide = reduce_f32(abs(x))
        r = cast(wide, "f32")
        z = r * r
        # f64 where roundings would add up: r itself, the sum, the reciprocal.
        t = wide + cast(r * z * horner(z, *TAN), "f64")
        y = cast(where(ne(n & 1, 0), -1.0 / t, t), "f32")
    else:
        n, sine, cosine = reduce(x)
        odd = ne(n & 1, 0)
        y = where(odd, -cosine, sine) / where(odd, sine, cosine)
    return bitcast(bits(y) ^ (bits(x) & sign_mask(x)), x.dtype)
