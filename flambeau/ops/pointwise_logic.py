"""Comparisons, tests of a number, boolean logic, and bits: ops whose results are exact and have no derivative.

May import ir only. Read next: `pointwise_bounds.py` (minimum, clamp, where), `pointwise_transcendental.py`.
"""

from __future__ import annotations

import math

from ..ir import expr as E
from ..ir.expr import DTYPES, Expr
from .define import booleans, integers, pointwise, uniform
from .pointwise_arithmetic import abs, kind, parts

FALSE, TRUE = E.const(False, "bool"), E.const(True, "bool")


@pointwise(samples=integers(-2, 2), domain="any", inplace=True)
def eq(x, y):
    """x = y, as booleans; NaN equals nothing.

    >>> fb.eq(fb.tensor([1, 2]), 2)
    tensor([False,  True])
    """
    return E.eq(x, y)


@pointwise(samples=integers(-2, 2), domain="any", inplace=True, aliases=("not_equal",))
def ne(x, y):
    """x ≠ y, as booleans.

    >>> fb.ne(fb.tensor([1, 2]), 2)
    tensor([ True, False])
    """
    return E.ne(x, y)


@pointwise(samples=integers(-2, 2), inplace=True, aliases=("less",))
def lt(x, y):
    """x < y, as booleans.

    >>> fb.lt(fb.tensor([1, 2, 3]), 2)
    tensor([ True, False, False])
    """
    return x < y


@pointwise(samples=integers(-2, 2), inplace=True, aliases=("less_equal",))
def le(x, y):
    """x ≤ y, as booleans.

    >>> fb.le(fb.tensor([1, 2, 3]), 2)
    tensor([ True,  True, False])
    """
    return x <= y


@pointwise(samples=integers(-2, 2), inplace=True, aliases=("greater",))
def gt(x, y):
    """x > y, as booleans.

    >>> fb.gt(fb.tensor([1, 2, 3]), 2)
    tensor([False, False,  True])
    """
    return x > y


@pointwise(samples=integers(-2, 2), inplace=True, aliases=("greater_equal",))
def ge(x, y):
    """x ≥ y, as booleans.

    >>> fb.ge(fb.tensor([1, 2, 3]), 2)
    tensor([False,  True,  True])
    """
    return x >= y


@pointwise(samples=uniform(-3, 3), domain="any", method=True)
def isclose(x, y, rtol=1e-5, atol=1e-8, equal_nan=False):
    """x = y, or both finite and |x − y| ≤ atol + rtol |y|.

    >>> fb.isclose(fb.tensor([1.0, 2.0]), fb.tensor([1.0 + 1e-7, 2.1]))
    tensor([ True, False])
    """
    close = E.eq(x, y)
    x, y = E.floating(x), E.floating(y)
    if equal_nan:
        close = close | E.isnan(x) & E.isnan(y)
    distance, bound = abs(x - y), atol + rtol * abs(y)
    return close | (distance < math.inf) & (distance <= bound)


@pointwise(samples=uniform(-3, 3), domain="any", method=True)
def isnan(x):
    """Whether x is not a number.

    >>> fb.isnan(fb.tensor([1.0, float("nan")]))
    tensor([False,  True])
    """
    return E.isnan(x) if kind(x) in "fc" else FALSE


@pointwise(samples=uniform(-3, 3), domain="any", method=True)
def isinf(x):
    """Whether x is +∞ or −∞ (for complex x: whether either part is).

    >>> fb.isinf(fb.tensor([1.0, -float("inf")]))
    tensor([False,  True])
    """
    if kind(x) == "c":
        real, imag = parts(x)
        return isinf(real) | isinf(imag)
    return E.eq(E.unary("abs", x), math.inf) if kind(x) == "f" else FALSE


@pointwise(samples=uniform(-3, 3), domain="any", method=True)
def isfinite(x):
    """Whether x is neither infinite nor NaN.

    >>> fb.isfinite(fb.tensor([1.0, float("inf"), float("nan")]))
    tensor([ True, False, False])
    """
    if kind(x) == "c":
        real, imag = parts(x)
        return isfinite(real) & isfinite(imag)
    return E.unary("abs", x) < math.inf if kind(x) == "f" else TRUE


@pointwise(samples=uniform(-3, 3), method=True)
def isposinf(x):
    """Whether x is +∞.

    >>> fb.isposinf(fb.tensor([1.0, float("inf")]))
    tensor([False,  True])
    """
    return E.eq(x, math.inf) if kind(x) == "f" else FALSE


@pointwise(samples=uniform(-3, 3), method=True)
def isneginf(x):
    """Whether x is −∞.

    >>> fb.isneginf(fb.tensor([1.0, -float("inf")]))
    tensor([False,  True])
    """
    return E.eq(x, -math.inf) if kind(x) == "f" else FALSE


@pointwise(samples=uniform(-3, 3), domain="any", method=True)
def isreal(x):
    """Whether x has no imaginary part.

    >>> fb.isreal(fb.tensor([1.0, 2.0]))
    tensor([True, True])
    """
    return E.eq(parts(x)[1], 0) if kind(x) == "c" else TRUE


@pointwise(samples=uniform(-3, 3), method=True)
def signbit(x):
    """Whether x is negative, −0.0 and NaN with a sign included.

    >>> fb.signbit(fb.tensor([1.0, -0.0]))
    tensor([False,  True])
    """
    if kind(x) == "f":
        return E.bitcast(x, f"i{DTYPES[x.dtype].size * 8}") < 0
    return x < 0 if kind(x) == "i" else FALSE


def truth(x: Expr) -> Expr:
    """Whether x is anything but zero."""
    return x if kind(x) == "b" else E.ne(x, 0)


@pointwise(samples=booleans(), domain="any", inplace=True)
def logical_and(x, y):
    """Whether both are other than zero.

    >>> fb.logical_and(fb.tensor([0, 2]), fb.tensor([1, 1]))
    tensor([False,  True])
    """
    return truth(x) & truth(y)


@pointwise(samples=booleans(), domain="any", inplace=True)
def logical_or(x, y):
    """Whether either is other than zero.

    >>> fb.logical_or(fb.tensor([0, 2]), fb.tensor([0, 0]))
    tensor([False,  True])
    """
    return truth(x) | truth(y)


@pointwise(samples=booleans(), domain="any", inplace=True)
def logical_xor(x, y):
    """Whether exactly one of the two is other than zero.

    >>> fb.logical_xor(fb.tensor([0, 2]), fb.tensor([1, 1]))
    tensor([ True, False])
    """
    return truth(x) ^ truth(y)


@pointwise(samples=booleans(), domain="any", inplace=True)
def logical_not(x):
    """Whether x is zero.

    >>> fb.logical_not(fb.tensor([0, 2]))
    tensor([ True, False])
    """
    return ~truth(x)


@pointwise(samples=integers(0, 100), domain="int", inplace=True)
def bitwise_and(x, y):
    """The bits set in both.

    >>> fb.bitwise_and(fb.tensor([6]), fb.tensor([3]))
    tensor([2])
    """
    return x & y


@pointwise(samples=integers(0, 100), domain="int", inplace=True)
def bitwise_or(x, y):
    """The bits set in either.

    >>> fb.bitwise_or(fb.tensor([6]), fb.tensor([3]))
    tensor([7])
    """
    return x | y


@pointwise(samples=integers(0, 100), domain="int", inplace=True)
def bitwise_xor(x, y):
    """The bits set in one of the two.

    >>> fb.bitwise_xor(fb.tensor([6]), fb.tensor([3]))
    tensor([5])
    """
    return x ^ y


@pointwise(samples=integers(0, 100), domain="int", inplace=True)
def bitwise_not(x):
    """The bits that are not set: −x − 1 for signed integers, not for booleans.

    >>> fb.bitwise_not(fb.tensor([0, 5]))
    tensor([-1, -6])
    """
    return ~x


@pointwise(samples=(integers(0, 100), integers(0, 7)), domain="integer", inplace=True)
def bitwise_left_shift(x, y):
    """x 2^y by shifting; 0 when y is negative or not below the width.

    >>> fb.bitwise_left_shift(fb.tensor([1, 3]), 2)
    tensor([ 4, 12])
    """
    return E.where((y < 0) | (y >= DTYPES[x.dtype].size * 8), 0, x << y)


@pointwise(samples=(integers(0, 100), integers(0, 7)), domain="integer", inplace=True)
def bitwise_right_shift(x, y):
    """x / 2^y rounded down, by shifting; only the sign is left when y is negative or not below the width.

    >>> fb.bitwise_right_shift(fb.tensor([12, -1]), 2)
    tensor([ 3, -1])
    """
    width = DTYPES[x.dtype].size * 8
    outside = E.const(0, x.dtype) if kind(x) == "u" else x >> (width - 1)
    return E.where((y < 0) | (y >= width), outside, x >> y)
