"""exp, log, sqrt, pow, sin, asin, … of a complex number, each as two expressions in its real and imaginary part.

Branch cuts, signed zeros, infinities and NaN are those of C99's Annex G (as in NumPy). Everything is computed in f64,
where c64 has no overflow on the way and is rounded once; f64 itself is scaled where squares would leave its range.
Circular functions are the hyperbolic ones of iz, so that each pair is defined once. W. Kahan, "Branch cuts for complex
elementary functions", 1987, has the formulas of the inverse functions.
Imports `ir.expr` alone. Read next: `complex.py` (who asks), `functions/` (what the real functions here are made of).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from . import expr as E
from .expr import DTYPES, Expr, bitcast, cast, const, eq, fma, isnan, ne, node, postorder, rebuild, where

Pair = tuple[Expr, Expr]
INFINITY, NAN = const(math.inf, "f64"), const(math.nan, "f64")
ZERO, ONE, HALF_PI = const(0.0, "f64"), const(1.0, "f64"), const(math.pi / 2, "f64")
# exp of more than STEP is taken in two factors; squares of what is within 1/BIG … BIG neither overflow nor vanish.
STEP, BIG = 700.0, 2.0**500


def copysign(x: Expr, y: Expr) -> Expr:
    return where(bitcast(y, "i64") < 0, -abs(x), abs(x))


def infinite(x: Expr) -> Expr:
    return eq(abs(x), math.inf)


def unbounded(x: Expr) -> Expr:
    """Whether x is infinite or NaN."""
    return ne(x - x, 0.0)


def product(x: Pair, y: Pair) -> Pair:
    (a, b), (c, d) = x, y
    return a * c - b * d, a * d + b * c


def quotient(x: Pair, y: Pair) -> Pair:
    """(a + bi) / (c + di) by Smith's algorithm, which never squares the divisor; division by 0 as NumPy has it."""
    (a, b), (c, d) = x, y
    swap = abs(c) < abs(d)
    big, small = where(swap, d, c), where(swap, c, d)
    zero = eq(big, 0.0)
    ratio = where(zero, 0.0, small / big)
    below = where(zero, abs(big), big + small * ratio)
    first, second = where(swap, b, a), where(swap, a, b)
    imag = where(swap, b * ratio - a, b - a * ratio)
    return (first + second * ratio) / below, imag / below


def scale(a: Expr, b: Expr) -> Expr:
    """A power of 4 that moves both to where their squares are safe."""
    large = (abs(a) > BIG) | (abs(b) > BIG)
    small = (abs(a) < 1 / BIG) & (abs(b) < 1 / BIG)
    return where(large, const(2.0**-600, "f64"), where(small, const(2.0**600, "f64"), ONE))


def turn(e: Expr, factor: Expr, a: Expr, angle: Expr) -> Pair:
    """e · factor · (cos angle, sin angle), where e · factor is the exponential of a."""
    lost = unbounded(angle)
    real = e * E.cos(angle) * factor
    imag = e * E.sin(angle) * factor
    real = where(eq(angle, 0.0), e * factor, where(lost & infinite(a), where(a > 0, INFINITY, ZERO), real))
    return real, where(eq(angle, 0.0), angle, where(lost & eq(a, -math.inf), 0.0, imag))


def exp(a: Expr, b: Expr) -> Pair:
    far = a > STEP
    return turn(E.exp(where(far, a - STEP, a)), where(far, math.exp(STEP), ONE), a, b)


def exp2(a: Expr, b: Expr) -> Pair:
    far = a > 1000.0
    return turn(E.exp2(where(far, a - 1000.0, a)), where(far, 2.0**1000, ONE), a, b * math.log(2))


def expm1(a: Expr, b: Expr) -> Pair:
    real, imag = exp(a, b)
    half = E.sin(b * 0.5)
    near = E.expm1(a) * E.cos(b) - 2.0 * half * half
    return where(eq(b, 0.0), E.expm1(a), where(abs(a) < 1.0, near, real - 1.0)), imag


def log_size(a: Expr, b: Expr) -> Expr:
    """log |a + bi|; near the unit circle |z|² − 1 is summed before it is rounded."""
    swap = abs(a) < abs(b)
    m, n = where(swap, b, a), where(swap, a, b)
    squares = m * m, n * n
    near = (squares[0] - 1.0) + squares[1] + (fma(m, m, -squares[0]) + fma(n, n, -squares[1]))
    k = scale(a, b)
    shift = where(k > 1.0, const(-600 * math.log(2), "f64"), where(k < 1.0, 600 * math.log(2), ZERO))
    x, y = a * k, b * k
    far = 0.5 * E.log(fma(x, x, y * y)) + shift
    size = where((squares[0] > 0.25) & (squares[0] < 4.0), 0.5 * E.log1p(near), far)
    return where(infinite(a) | infinite(b), INFINITY, size)


def log(a: Expr, b: Expr) -> Pair:
    return log_size(a, b), E.atan2(b, a)


def log2(a: Expr, b: Expr) -> Pair:
    real, imag = log(a, b)
    return real * (1 / math.log(2)), imag * (1 / math.log(2))


def log10(a: Expr, b: Expr) -> Pair:
    real, imag = log(a, b)
    return real * (1 / math.log(10)), imag * (1 / math.log(10))


def log1p(a: Expr, b: Expr) -> Pair:
    near = 0.5 * E.log1p(fma(a, a, fma(b, b, 2.0 * a)))
    small = (abs(a) < 0.5) & (abs(b) < 0.5)
    return where(eq(b, 0.0) & (a > -1.0), E.log1p(a), where(small, near, log_size(a + 1.0, b))), E.atan2(b, a + 1.0)


def sqrt(a: Expr, b: Expr) -> Pair:
    k = scale(a, b)
    x, y = a * k, b * k
    back = where(k > 1.0, const(2.0**-300, "f64"), where(k < 1.0, 2.0**300, ONE))
    size = where(infinite(a) | infinite(b), INFINITY, E.sqrt(fma(x, x, y * y)))
    larger = E.sqrt(0.5 * (abs(x) + size)) * back
    smaller = where(eq(larger, 0.0), abs(b), abs(b) / (2.0 * larger))
    left = a < 0
    real = where(left, smaller, larger)
    imag = copysign(where(left, larger, smaller), b)
    return where(infinite(b), INFINITY, real), where(infinite(b), b, where(isnan(b) & ~left, b, imag))


def rsqrt(a: Expr, b: Expr) -> Pair:
    return quotient((ONE, ZERO), sqrt(a, b))


def whole_power(a: Expr, b: Expr, n: Expr) -> Pair:
    """(a + bi)ⁿ for whole |n| < 128 by squaring, so that (1 + 2i)² is −3 + 4i."""
    bits = cast(where(abs(n) < 128.0, abs(n), 0.0), "i64")
    result, power = (ONE, ZERO), (a, b)
    for bit in range(7):
        if bit:
            power = product(power, power)
        taken = ne(bits & (1 << bit), 0)
        first = bits & ((1 << bit) - 1)
        # The first factor is taken as it is: times 1 + 0i would turn an infinity's other part into NaN.
        further = tuple(where(eq(first, 0), p, q) for p, q in zip(power, product(result, power), strict=True))
        result = where(taken, further[0], result[0]), where(taken, further[1], result[1])
    inverse = quotient((ONE, ZERO), result)
    return where(n < 0, inverse[0], result[0]), where(n < 0, inverse[1], result[1])


def pow(a: Expr, b: Expr, c: Expr, d: Expr) -> Pair:
    size, angle = log(a, b)
    general = exp(c * size - where(eq(d, 0.0), 0.0, d * angle), c * angle + where(eq(d, 0.0), 0.0, d * size))
    whole = eq(d, 0.0) & eq(c, E.trunc(c)) & (abs(c) < 128.0)
    zero = eq(a, 0.0) & eq(b, 0.0)
    at_zero = where(c > 0, ZERO, where(c < 0, INFINITY, NAN)), where(c > 0, ZERO, NAN)
    (p, q), (r, s) = whole_power(a, b, c), general
    return where(whole, p, where(zero, at_zero[0], r)), where(whole, q, where(zero, at_zero[1], s))


def stretched(a: Expr) -> tuple[Expr, Expr, Expr]:
    """c, s and f with cosh a = c · f and sinh a = s · f, where cosh a itself may overflow."""
    far = abs(a) > STEP
    half = 0.5 * E.exp(abs(a) - STEP)
    return (
        where(far, half, E.cosh(a)),
        where(far, copysign(half, a), E.sinh(a)),
        where(far, math.exp(STEP), ONE),
    )


def sinh(a: Expr, b: Expr) -> Pair:
    even, odd, factor = stretched(a)
    flat = (eq(a, 0.0) | infinite(a)) & unbounded(b)
    return where(flat, a, odd * E.cos(b) * factor), where(eq(b, 0.0), b, even * E.sin(b) * factor)


def cosh(a: Expr, b: Expr) -> Pair:
    even, odd, factor = stretched(a)
    real = where(infinite(a) & unbounded(b), INFINITY, even * E.cos(b) * factor)
    axis = where(eq(b, 0.0), copysign(ONE, a) * b, a)
    flat = eq(b, 0.0) | (eq(a, 0.0) & unbounded(b))
    return real, where(flat, axis, odd * E.sin(b) * factor)


def tanh(a: Expr, b: Expr) -> Pair:
    t = E.tan(b)
    even, odd = E.cosh(a), E.sinh(a)
    slope = fma(t, t, ONE)
    below = fma(slope * odd, odd, ONE)
    far = abs(a) > 20.0
    vanishing = 4.0 * E.sin(b) * E.cos(b) * E.exp(-2.0 * abs(a))
    limit = where(unbounded(b) & ~infinite(a), NAN, copysign(ONE, a))
    real = where(far, limit, where(eq(a, 0.0), a, slope * even * odd / below))
    vanishing = where(infinite(a) & unbounded(b), 0.0, vanishing)
    return real, where(eq(b, 0.0), b, where(far, vanishing, t / below))


def asinh(a: Expr, b: Expr) -> Pair:
    x, y = abs(a), abs(b)
    (p, q), (r, s) = sqrt(y + 1.0, -x), sqrt(1.0 - y, x)
    far = (x > 2.0**1000) | (y > 2.0**1000)
    real = where(far, log_size(x, y) + math.log(2), E.asinh(p * s - r * q))
    imag = where(far, E.atan2(y, x), E.atan2(y, p * r - q * s))
    return copysign(real, a), where(eq(b, 0.0), b, copysign(imag, b))


def acosh(a: Expr, b: Expr) -> Pair:
    y = abs(b)
    (p, q), (r, s) = sqrt(a - 1.0, y), sqrt(a + 1.0, y)
    far = (abs(a) > 2.0**1000) | (y > 2.0**1000)
    real = where(far, log_size(a, y) + math.log(2), E.asinh(p * r + q * s))
    imag = where(far, E.atan2(y, a), 2.0 * E.atan2(q, r))
    return real, copysign(where(eq(a, 0.0) & isnan(b), HALF_PI, imag), b)


def acos(a: Expr, b: Expr) -> Pair:
    """acosh turned by ∓i; its real part keeps its last digits near 1, where the angle is small."""
    y = abs(b)
    (p, q), (r, s) = sqrt(1.0 - a, -y), sqrt(a + 1.0, y)
    far = (abs(a) > 2.0**1000) | (y > 2.0**1000)
    real = where(far, E.atan2(y, a), 2.0 * E.atan2(p, r))
    imag = where(far, log_size(a, y) + math.log(2), E.asinh(s * p - r * q))
    return where(eq(a, 0.0) & isnan(b), HALF_PI, real), copysign(imag, -b)


def atanh(a: Expr, b: Expr) -> Pair:
    x, y = abs(a), abs(b)
    far = (x > BIG) | (y > BIG)
    h = 1.0 - x
    near = 0.25 * E.log1p(4.0 * x / fma(h, h, y * y))
    # Beside the pole at 1, where y² would vanish.
    near = where(eq(x, 1.0) & (y < 1 / BIG), 0.5 * (math.log(2) - E.log(y)), near)
    u, v = x * 2.0**-600, y * 2.0**-600
    away = where(infinite(a) | infinite(b), 0.0, u / fma(u, u, v * v) * 2.0**-600)
    right = where(isnan(b) | (isnan(a) & (y < math.inf)), NAN, HALF_PI)
    imag = where(far, right, 0.5 * E.atan2(2.0 * y, h * (x + 1.0) - y * y))
    real = where(far, away, where(eq(x, 0.0), 0.0, near))
    return copysign(real, a), where(eq(b, 0.0) & (x <= 1.0), b, copysign(imag, b))


def circular(hyperbolic: Callable[[Expr, Expr], Pair]) -> Callable[[Expr, Expr], Pair]:
    """f(z) = −i F(iz): sin of sinh, tan of tanh, and their inverses."""

    def f(a: Expr, b: Expr) -> Pair:
        real, imag = hyperbolic(-b, a)
        return imag, -real

    return f


def cos(a: Expr, b: Expr) -> Pair:
    return cosh(-b, a)


FUNCTIONS: dict[str, Callable[..., Pair]] = {
    "exp": exp, "exp2": exp2, "expm1": expm1, "log": log, "log2": log2, "log10": log10, "log1p": log1p,
    "sqrt": sqrt, "rsqrt": rsqrt, "pow": pow,
    "sinh": sinh, "cosh": cosh, "tanh": tanh, "asinh": asinh, "acosh": acosh, "atanh": atanh,
    "sin": circular(sinh), "cos": cos, "tan": circular(tanh),
    "asin": circular(asinh), "acos": acos, "atan": circular(atanh),
}  # fmt: skip


def lower(roots: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """The same expressions, where complex numbers go into arithmetic only; shared subexpressions stay shared."""
    done: dict[Expr, Expr] = {}
    for x in postorder(*roots):
        args = tuple(done[a] for a in x.args)
        known = x.op in FUNCTIONS and DTYPES[x.dtype].kind == "c"
        done[x] = _define(x, args) if known else rebuild(x, args)
    return tuple(done[r] for r in roots)


def _define(x: Expr, args: tuple[Expr, ...]) -> Expr:
    part = "f32" if x.dtype == "c64" else "f64"
    parts = [cast(node(which, part, (a,)), "f64") for a in args for which in ("real", "imag")]
    real, imag = FUNCTIONS[x.op](*parts)
    return node("complex", x.dtype, (cast(real, part), cast(imag, part)))
