"""What the definitions of named functions are written with: the table they register in, number formats, polynomials.

Imports `ir.expr` alone. Every body is called with arguments of one dtype, f32 or f64, and returns that dtype.
Read next: `exponential.py`, the plainest use of all of this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..expr import DTYPES, Expr, as_expr, bitcast, cast, fma, ne, where

INF = float("inf")
NAN = float("nan")

Body = Callable[..., Expr]
EXPANSIONS: dict[str, Body] = {}


def expansion(name: str, in_f64: bool = False) -> Callable[[Body], Body]:
    """Registers a function as the definition of `name` on every target; with `in_f64`, f32 is computed in f64."""

    def register(body: Body) -> Body:
        if name in EXPANSIONS:
            raise ValueError(f"expansion: {name} is defined twice")

        def rounded(*xs: Expr) -> Expr:
            return cast(body(*(cast(x, "f64") for x in xs)), xs[0].dtype)

        EXPANSIONS[name] = rounded if in_f64 else body
        return body

    return register


class Format(NamedTuple):
    """An IEEE 754 format as integer bits: integer type, mantissa bits, exponent bias, 1.0 and sqrt(1/2) as bits."""

    integer: str
    mantissa: int
    bias: int
    one: int
    sqrt_half: int
    tiny: float  # smallest normal number
    epsilon: float  # spacing at 1


FORMATS = {
    "f32": Format("i32", 23, 127, 0x3F800000, 0x3F3504F3, 2.0**-126, 2.0**-23),
    "f64": Format("i64", 52, 1023, 0x3FF0000000000000, 0x3FE6A09E667F3BCD, 2.0**-1022, 2.0**-52),
}


def horner(x: Expr, *coefficients: Expr | float) -> Expr:
    """c0 + c1 x + c2 x² + …, one fma per degree."""
    total = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        total = fma(x, total, c)
    return as_expr(total, x.dtype)


def bits(x: Expr) -> Expr:
    return bitcast(x, FORMATS[x.dtype].integer)


def at_most(x: Expr, high: float) -> Expr:
    """min(x, high), NaN kept; unlike `minimum` one instruction everywhere, as signs of zero play no part."""
    return where(x > high, high, x)


def at_least(x: Expr, low: float) -> Expr:
    return where(x < low, low, x)


def sign_mask(x: Expr) -> int:
    """The sign bit of x's format, as the signed integer it is."""
    return -(1 << (DTYPES[x.dtype].size * 8 - 1))


def with_sign(y: Expr, x: Expr) -> Expr:
    """y with its sign bit set where x's is: |y| takes the sign of x, and -0.0 that arithmetic lost comes back."""
    return bitcast(bits(y) | (bits(x) & sign_mask(x)), x.dtype)


def round_and_power(x: Expr, per_unit: float) -> tuple[Expr, Expr]:
    """n = round(x · per_unit) as a float, and 2**n, for n within the normal exponents.

    Adding 1.5 · 2**mantissa leaves the rounded integer in the low bits of the sum; adding the exponent's bias as well
    makes those bits, shifted up, the number 2**n.
    """
    f = FORMATS[x.dtype]
    magic = 1.5 * 2.0**f.mantissa + f.bias
    shifted = fma(x, per_unit, magic)
    return shifted - magic, bitcast(bits(shifted) << f.mantissa, x.dtype)


def split_exponent(x: Expr) -> tuple[Expr, Expr]:
    """(e, m) with x = m · 2**e, m in [sqrt(1/2), sqrt(2)), e an integer Expr; x positive and normal."""
    f = FORMATS[x.dtype]
    e = (bits(x) - f.sqrt_half) >> f.mantissa
    return e, bitcast(bits(x) - (e << f.mantissa), x.dtype)


def split_positive(x: Expr) -> tuple[Expr, Expr]:
    """`split_exponent` for denormals too, with e as a float."""
    f = FORMATS[x.dtype]
    small = x < f.tiny
    e, m = split_exponent(where(small, x * 2.0**f.mantissa, x))
    return cast(e, x.dtype) - where(small, float(f.mantissa), as_expr(0.0, x.dtype)), m


def either_nan(x: Expr, y: Expr) -> Expr:
    return ne(x, x) | ne(y, y)
