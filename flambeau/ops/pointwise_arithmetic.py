"""Pointwise arithmetic: sums, products, quotients and remainders, powers and roots, and the fused forms of them.

Bodies see operands of one computation dtype; division and the roots make integers floating. May import ir only.
Read next: `pointwise_bounds.py` (rounding, minimum, clamp, where), `define.py` (what the decorator's arguments mean).
"""

from __future__ import annotations

import math
from typing import Any

from ..ir import expr as E
from ..ir.expr import DTYPES, Expr
from .define import integers, nonzero, pointwise, uniform
from .define import positive as above_zero


def kind(x: Expr) -> str:
    """'b', 'u', 'i', 'f' or 'c': the class of x's dtype."""
    return DTYPES[x.dtype].kind


def parts(x: Expr) -> tuple[Expr, Expr]:
    """The real and the imaginary part of a complex Expr."""
    dtype = "f64" if x.dtype == "c128" else "f32"
    return E.node("real", dtype, (x,)), E.node("imag", dtype, (x,))


def plus_multiple(x: Expr, factor: Expr | float, y: Expr) -> Expr:
    """x + factor · y, rounded once."""
    if not isinstance(factor, Expr) and factor in (1, -1):
        return x + y if factor == 1 else x - y
    return E.fma(factor, y, x) if kind(x) == "f" else x + factor * y


def rounded_from_f64(body, *xs: Expr) -> Expr:
    """body of the xs in f64, rounded to their own dtype: where f32's intermediate steps would not be exact."""
    return E.cast(body(*(E.cast(x, "f64") for x in xs)), xs[0].dtype)


@pointwise(samples=uniform(-3, 3), domain="any", inplace=True)
def add(x, y, alpha=1):
    """x + alpha y; for booleans, or.

    >>> fb.add(fb.tensor([1.0, 2.0]), 10, alpha=2)
    tensor([21., 22.])
    """
    return x | y if kind(x) == "b" else plus_multiple(x, alpha, y)


@pointwise(samples=uniform(-3, 3), domain="number+complex", inplace=True, aliases=("subtract",))
def sub(x, y, alpha=1):
    """x − alpha y.

    >>> fb.sub(fb.tensor([1.0, 2.0]), 0.5)
    tensor([0.5000, 1.5000])
    """
    return plus_multiple(x, -alpha, y)


@pointwise(samples=uniform(-3, 3), domain="number+complex")
def rsub(x, y, alpha=1):
    """y − alpha x: subtraction with its arguments exchanged.

    >>> fb.rsub(fb.tensor([1.0, 2.0]), 5)
    tensor([4., 3.])
    """
    return plus_multiple(y, -alpha, x)


@pointwise(samples=uniform(-3, 3), domain="any", inplace=True, aliases=("multiply",))
def mul(x, y):
    """x y; for booleans, and.

    >>> fb.mul(fb.tensor([1, 2]), fb.tensor([3, 4]))
    tensor([3, 8])
    """
    return x * y


@pointwise(
    samples=(uniform(-3, 3), nonzero(0.5, 3)),
    domain="any",
    promote="float",
    inplace=True,
    aliases=("divide", "true_divide"),
)
def div(x, y):
    """x / y, floating also for integers.

    >>> fb.div(fb.tensor([1.0, 2.0]), fb.tensor([3.0, 4.0]))
    tensor([0.3333, 0.5000])
    >>> fb.div(fb.tensor([1, 2]), 4)
    tensor([0.2500, 0.5000])
    """
    return x / y


def whole_divisor(name: str, x: Any, y: Any) -> None:
    """Raises if the divisor of integers has a zero."""
    if not (y.detach().all() if hasattr(y, "detach") else y):
        raise RuntimeError(
            f"{name}: ZeroDivisionError: an integer was divided by zero; floats give inf or nan there, as in "
            "x.double(), and where(y == 0, 1, y) divides by what isn't zero"
        )


def whole_power(name: str, x: Any, exponent: Any) -> None:
    """Raises if integers are raised to a power that is a negative number."""
    if isinstance(exponent, int) and exponent < 0:
        raise RuntimeError(
            f"{name}: integers to negative integer powers are not allowed, got exponent {exponent}; use x.double()"
        )


@pointwise(
    samples=(uniform(-9, 9), nonzero(0.5, 3)),
    like="torch.div(rounding_mode='trunc')",
    domain="number",
    refuse=whole_divisor,
)
def div_trunc(x, y):
    """x / y rounded towards zero.

    >>> fb.div(fb.tensor([-7, 7]), 2, rounding_mode="trunc")
    tensor([-3,  3])
    """
    return E.trunc(x / y) if kind(x) == "f" else E.idiv(x, y)


@pointwise(samples=(uniform(-9, 9), nonzero(0.5, 3)), domain="number", inplace=True, refuse=whole_divisor)
def floor_divide(x, y):
    """x / y rounded towards −∞; exact, not the floor of a rounded quotient.

    >>> fb.floor_divide(fb.tensor([-7, 7]), 2)
    tensor([-4,  3])
    """
    if kind(x) == "f":
        return rounded_from_f64(_float_floor_divide, x, y)
    quotient = E.idiv(x, y)
    if kind(x) == "u":
        return quotient
    rest = E.irem(x, y)
    return E.where(E.ne(rest, 0) & E.ne(rest < 0, y < 0), quotient - 1, quotient)


def _float_floor_divide(x: Expr, y: Expr) -> Expr:
    quotient = E.floor(x / y)
    # A quotient rounded up to a whole number shows in the sign of the remainder; a quotient that is 0 has remainder x.
    rest = E.where(E.eq(quotient, 0), x, E.fma(-quotient, y, x))
    quotient = E.where(E.ne(rest, 0) & E.ne(rest < 0, y < 0), quotient - 1, quotient)
    # x - x is NaN for infinite x, and subtracting +0 keeps the sign of a zero.
    return E.where(E.eq(y, 0), x / y, quotient - (x - x))


@pointwise(
    samples=(uniform(-9, 9), nonzero(0.5, 3)),
    domain="number",
    inplace=True,
    grad=lambda g, out, x, y: (g, -g * div_trunc(x, y)),
    refuse=whole_divisor,
)
def fmod(x, y):
    """The remainder of x / y with the sign of x, as C's fmod.

    Exact while |x / y| < 2¹⁵⁰; NaN where the quotient is so large that it isn't found.

    >>> fb.fmod(fb.tensor([-7.0, 7.0]), 3)
    tensor([-1.,  1.])
    """
    return rounded_from_f64(_float_fmod, x, y) if kind(x) == "f" else E.irem(x, y)


def _float_fmod(x: Expr, y: Expr) -> Expr:
    """Long division in three digits of 50 bits: each step is exact, as x and y have a last bit in common."""
    rest, divisor = abs(x), abs(y)
    for digit in (2.0**100, 2.0**50, 1.0):
        multiple = divisor * digit
        quotient = E.trunc(rest / multiple)
        rest = E.where(E.eq(quotient, 0), rest, E.fma(-quotient, multiple, rest))
    rest = E.where(rest < 0, rest + divisor, rest)
    rest = E.where(rest >= divisor, rest - divisor, rest)
    found = (rest >= 0) & (rest < divisor)
    return E.where(found, E.where(E.bitcast(x, "i64") < 0, -rest, rest), math.nan)


@pointwise(
    samples=(uniform(-9, 9), nonzero(0.5, 3)),
    domain="number",
    inplace=True,
    grad=lambda g, out, x, y: (g, -g * floor_divide(x, y)),
    refuse=whole_divisor,
)
def remainder(x, y):
    """The remainder of x / y with the sign of y, as Python's %: x − y floor(x / y).

    >>> fb.remainder(fb.tensor([-7, 7]), 3)
    tensor([2, 1])
    """
    rest = fmod(x, y)
    return rest if kind(x) == "u" else E.where(E.ne(rest, 0) & E.ne(rest < 0, y < 0), rest + y, rest)


def _pow_grad(g: Expr, out: Expr, x: Expr, y: Expr) -> tuple[Expr, Expr]:
    to_base = E.where(E.eq(y, 0), 0.0, g * (y * E.pow(x, y - 1)))
    flat = E.eq(x, 0) & ((parts(y)[0] if kind(y) == "c" else y) >= 0)
    return to_base, E.where(flat, 0.0, g * (out * E.log(E.where(flat, 1.0, x))))


@pointwise(
    samples=(above_zero(3), uniform(-2, 2)),
    domain="number+complex",
    inplace=True,
    grad=_pow_grad,
    refuse=whole_power,
)
def pow(x, exponent):
    """x to the power of exponent. Integers wrap around on overflow; negative powers in a tensor give 0 but for ±1.

    >>> fb.pow(fb.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])
    """
    return E.pow(x, exponent) if kind(x) in "fc" else _integer_pow(x, exponent)


def _integer_pow(x: Expr, n: Expr) -> Expr:
    """By squaring, over the low ten bits of n. Beyond them every result but that of ±1 has left the integers' range."""
    result, power = E.const(1, x.dtype), x
    bits = min(10, DTYPES[x.dtype].size * 8 - (kind(x) == "i"))
    for bit in range(bits):
        result = E.where(E.ne(n & (1 << bit), 0), result * power, result)
        power = power * power
    result = E.where((n >= 64) & E.eq(x & 1, 0), 0, result)
    if kind(x) == "u":
        return result
    sign = E.where(E.eq(n & 1, 0), 1, x)
    return E.where(n < 0, E.where(E.eq(x, 1) | E.eq(x, -1), sign, 0), result)


@pointwise(samples=(above_zero(3), uniform(-2, 2)), domain="any", inplace=True)
def float_power(x, exponent):
    """x to the power of exponent, computed and returned in float64 or complex128.

    >>> fb.float_power(fb.tensor([9.0], dtype=fb.float64), 0.5)
    tensor([3.], dtype=flambeau.float64)
    >>> fb.float_power(fb.tensor([2, 4]), -1)
    tensor([0.5000, 0.2500], dtype=flambeau.float64)
    """
    wide = "c128" if kind(x) == "c" else "f64"
    return E.pow(E.cast(x, wide), E.cast(exponent, wide))


@pointwise(samples=uniform(-3, 3), domain="number+complex", inplace=True, aliases=("negative",))
def neg(x):
    """−x; unsigned integers wrap around.

    >>> fb.neg(fb.tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """
    return -x


@pointwise(samples=uniform(-3, 3), domain="number+complex", method=True, name="positive")
def identity(x):
    """x itself.

    >>> fb.positive(fb.tensor([1.0, -2.0]))
    tensor([ 1., -2.])
    """
    return x


@pointwise(
    samples=nonzero(0.1, 3),
    domain="number+complex",
    inplace=True,
    aliases=("absolute",),
    grad=lambda g, out, x: (g * sgn(x),),
)
def abs(x):
    """|x|: the distance from zero, real for complex x. The derivative at 0 is 0.

    >>> fb.abs(fb.tensor([1, -2]))
    tensor([1, 2])
    """
    return hypot(*parts(x)) if kind(x) == "c" else E.unary("abs", x)


@pointwise(samples=nonzero(0.1, 3), inplace=True, grad=lambda g, out, x: (None,))
def sign(x):
    """−1, 0 or 1 as x is negative, zero (or NaN) or positive.

    >>> fb.sign(fb.tensor([0.5, 0.0, -2.0]))
    tensor([ 1.,  0., -1.])
    """
    if kind(x) == "b":
        return x
    below = E.where(x < 0, E.const(-1, x.dtype), 0) if kind(x) != "u" else E.const(0, x.dtype)
    return E.where(x > 0, 1, below)


@pointwise(samples=nonzero(0.1, 3), domain="any", inplace=True)
def sgn(x):
    """sign(x); for complex x the direction x / |x|, and 0 at 0.

    >>> fb.sgn(fb.tensor([0.5, 0.0, -2.0]))
    tensor([ 1.,  0., -1.])
    """
    if kind(x) != "c":
        return sign(x)
    size = abs(x)
    real, imag = (E.where(E.eq(size, 0), 0.0, part / size) for part in parts(x))
    return E.node("complex", x.dtype, (real, imag))


@pointwise(
    samples=nonzero(0.5, 3), domain="any", promote="float", inplace=True, grad=lambda g, out, x: (-g * (out * out),)
)
def reciprocal(x):
    """1 / x.

    >>> fb.reciprocal(fb.tensor([2.0, 4.0]))
    tensor([0.5000, 0.2500])
    """
    return 1 / x


@pointwise(samples=above_zero(4), domain="any", promote="float", inplace=True, grad=lambda g, out, x: (g / (2 * out),))
def sqrt(x):
    """The square root of x; NaN for negative x, and the root to the right of the imaginary axis for complex x.

    >>> fb.sqrt(fb.tensor([4.0, 9.0]))
    tensor([2., 3.])
    """
    return E.sqrt(x)


@pointwise(
    samples=above_zero(4),
    domain="any",
    promote="float",
    inplace=True,
    grad=lambda g, out, x: (-0.5 * g * (out * out * out),),
)
def rsqrt(x):
    """1 / √x.

    >>> fb.rsqrt(fb.tensor([4.0, 16.0]))
    tensor([0.5000, 0.2500])
    """
    return 1 / E.sqrt(x)


@pointwise(samples=uniform(-3, 3), domain="number+complex", inplace=True)
def square(x):
    """x².

    >>> fb.square(fb.tensor([3.0, -4.0]))
    tensor([ 9., 16.])
    """
    return x * x


def _hypot_grad(g: Expr, out: Expr, x: Expr, y: Expr) -> tuple[Expr, Expr]:
    return g * (x / out), g * (y / out)


@pointwise(samples=nonzero(0.1, 3), domain="float", inplace=True, grad=_hypot_grad)
def hypot(x, y):
    """√(x² + y²) without overflow or underflow on the way; infinite if either is, even beside NaN.

    >>> fb.hypot(fb.tensor([3.0]), fb.tensor([4.0]))
    tensor([5.])
    """
    length = rounded_from_f64(_root_of_squares, x, y) if x.dtype == "f32" else _scaled_hypot(x, y)
    return E.where(E.eq(abs(x), math.inf) | E.eq(abs(y), math.inf), math.inf, length)


def _root_of_squares(x: Expr, y: Expr) -> Expr:
    return E.sqrt(E.fma(x, x, y * y))


def _scaled_hypot(x: Expr, y: Expr) -> Expr:
    """With both moved by a power of two to where squares neither overflow nor vanish; f32's never do so in f64."""
    large = E.maximum(abs(x), abs(y))
    scale = E.where(large > 2.0**500, 2.0**-600, E.where(large < 2.0**-500, E.const(2.0**600, x.dtype), 1.0))
    return _root_of_squares(x * scale, y * scale) / scale


def _lerp_grad(g: Expr, out: Expr, x: Expr, end: Expr, weight: Expr) -> tuple[Expr, Expr, Expr]:
    return g * (1 - weight), g * weight, g * (end - x)


@pointwise(
    samples=(uniform(-3, 3), uniform(-3, 3), uniform(0, 1)), domain="float+complex", inplace=True, grad=_lerp_grad
)
def lerp(x, end, weight):
    """x + weight (end − x), computed from the nearer end, so that weight 1 gives `end` itself.

    >>> fb.lerp(fb.tensor([0.0]), fb.tensor([10.0]), 0.25)
    tensor([2.5000])
    """
    step = end - x
    near = abs(weight) < 0.5
    return E.where(near, x + weight * step, end - step * (1 - weight))


@pointwise(samples=uniform(-3, 3), domain="number+complex", inplace=True)
def addcmul(x, tensor1, tensor2, value=1):
    """x + value tensor1 tensor2.

    >>> fb.addcmul(fb.tensor([1.0]), fb.tensor([2.0]), fb.tensor([3.0]), value=0.5)
    tensor([4.])
    """
    return plus_multiple(x, value * tensor1, tensor2)


@pointwise(samples=(uniform(-3, 3), uniform(-3, 3), nonzero(0.5, 3)), domain="float+complex", inplace=True)
def addcdiv(x, tensor1, tensor2, value=1):
    """x + value tensor1 / tensor2.

    >>> fb.addcdiv(fb.tensor([1.0]), fb.tensor([2.0]), fb.tensor([4.0]), value=2)
    tensor([2.])
    """
    return x + value * (tensor1 / tensor2)


@pointwise(samples=(uniform(-3, 3), integers(-4, 4)), domain="any", promote="float", inplace=True)
def ldexp(x, y):
    """x 2^y.

    >>> fb.ldexp(fb.tensor([1.5]), fb.tensor([4]))
    tensor([24.])
    """
    return x * E.exp2(y)


@pointwise(samples=uniform(-3, 3), like="torch.clone", domain="any", promote="exact", name="identity")
def same(x):
    """x itself, at another place: what clone, contiguous and copy_ run.

    >>> fb.ops.identity(fb.tensor([1.0]))
    tensor([1.])
    """
    return x
