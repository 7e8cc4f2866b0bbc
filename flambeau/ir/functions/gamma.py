"""lgamma, digamma, polygamma and Hurwitz's zeta.

The first two have a rational near their zeros, Stirling's series refitted to start at 3 (at 2 for digamma), and
reflection for negative arguments; the others sum a few terms and let Euler and Maclaurin do the rest. Near the zeros of
lgamma and digamma at negative arguments the error is absolute, about 1e-15, not relative. All are computed in f64.
Imports `build`, `exponential`, `trigonometric` and `ir.expr`.
"""

from __future__ import annotations

import math

from ..expr import Expr, const, eq, floor, fma, ne, round_even, where
from .build import INF, NAN, at_most, expansion, horner
from .exponential import exp, log
from .trigonometric import COS, SIN

# lgamma(y) / ((y-1)(y-2)) in t = y - 1 on [0, 2], error 2^-54.8.
LGAMMA_INNER = (
    (0.5772156649015329, 1.839335941974645, 2.3032920441090274, 1.4405234385278634, 0.47314627349251076,
     0.07866247734788506, 0.005818335828993464, 0.00013848523751379592, 2.258071128600275e-07),
    (1.0, 3.6114531140675723, 5.2555254149985355, 3.955629337134461, 1.6458118450360157, 0.3756250061631449,
     0.04389542632027298, 0.002238591928042662, 3.367173081527355e-05),
)  # fmt: skip
# x (lgamma(x) - (x - 1/2) log x + x - log(2 pi)/2) in 1/x² for x >= 3, error 2^-58 of lgamma.
LGAMMA_OUTER = (
    0.08333333333333313, -0.0027777777776087018, 0.0007936507512826249, -0.0005952331624169058, 0.0008414272591361249,
    -0.001904240905673972, 0.006045175515451445, -0.02247924537447237, 0.07747888608686095, -0.19181720232190066,
    0.23582085973387207,
)  # fmt: skip
# digamma(y) / (y - ROOT) in t = y - 1 on [0, 1], error 2^-54.
DIGAMMA_INNER = (
    (1.2503801375034054, 1.8700000813960802, 0.9743346690614513, 0.21767945349815498, 0.020179153696587192,
     0.000591204608683508, 1.1202853188783458e-06),
    (1.0, 2.179092069902979, 1.6669506004944796, 0.573628858460257, 0.0918240628172478, 0.006176449366275943,
     0.00012271711419823436),
)  # fmt: skip
ROOT = (1.4616321449683622, 9.549995429965697e-17)
# x² (log x - 1/(2x) - digamma(x)) in 1/x² for x >= 2, error 2^-58 of digamma.
DIGAMMA_OUTER = (
    (0.08333333333333132, 1.2707465409160912, 5.933487370999349, 10.062441473580797, 5.6240323408886805,
     0.6296538021865322, -0.011189004490444365),
    (1.0, 15.348958490982444, 72.68912525510581, 127.3373072946896, 77.43727693971142, 11.727895624951449),
)  # fmt: skip
# Bernoulli numbers B_2j / (2j)!, j = 1 … 8.
BERNOULLI = (
    0.08333333333333333, -0.001388888888888889, 3.306878306878307e-05, -8.267195767195768e-07, 2.08767569878681e-08,
    -5.284190138687493e-10, 1.3382536530684679e-11, -3.3896802963225827e-13,
)  # fmt: skip
TERMS = 10


def ratio(x: Expr, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> Expr:
    return horner(x, *coefficients[0]) / horner(x, *coefficients[1])


def half_turn(a: Expr) -> tuple[Expr, Expr]:
    """(sin, cos) of pi f for f = a - round(a); the cosine is never negative."""
    f = a - round_even(a)
    fold = abs(f) > 0.25
    r = where(fold, 0.5 - abs(f), abs(f)) * math.pi
    z = r * r
    sine = fma(r * z, horner(z, *SIN["f64"]), r)
    cosine = fma(z, horner(z, -0.5, *COS["f64"]), 1.0)
    y = where(fold, cosine, sine)
    return where(f < 0.0, -y, y), where(fold, sine, cosine)


@expansion("lgamma", in_f64=True)
def lgamma(x: Expr) -> Expr:
    """For x = -a: log(pi / |sin(pi a)|) - lgamma(1 + a)."""
    a = abs(x)
    negative = x < 0.0
    w = where(negative, a + 1.0, a)
    low = w < 1.0
    t = where(low, w, w - 1.0)
    log_w = log(w)
    inner = where(low, -log_w, 0.0) + t * (t - 1.0) * ratio(t, LGAMMA_INNER)
    outer = fma(w - 0.5, log_w - 1.0, math.log(2 * math.pi) / 2 - 0.5 + horner(1.0 / (w * w), *LGAMMA_OUTER) / w)
    right = where(w < 3.0, inner, outer)
    sine, _ = half_turn(a)
    left = -log(where(a < 2.0**-60, a, abs(sine) * (1 / math.pi))) - right
    return where(eq(a, INF), INF, where(negative, left, right))


@expansion("digamma", in_f64=True)
def digamma(x: Expr) -> Expr:
    """For x = -a: digamma(1 + a) + pi / tan(pi a)."""
    a = abs(x)
    negative = x < 0.0
    w = where(negative, a + 1.0, a)
    low = w < 1.0
    t = where(low, w, w - 1.0)
    inverse = 1.0 / w
    inner = (t - (ROOT[0] - 1.0) - ROOT[1]) * ratio(t, DIGAMMA_INNER) - where(low, inverse, 0.0)
    z = inverse * inverse
    outer = log(w) - fma(z, ratio(z, DIGAMMA_OUTER), inverse * 0.5)
    right = where(w < 2.0, inner, outer)
    sine, cosine = half_turn(a)
    left = where(eq(sine, 0.0), NAN, right + math.pi * cosine / sine)
    return where(eq(x, 0.0), -1.0 / x, where(negative, left, right))


def euler_maclaurin(s: Expr, a: Expr, power: Expr) -> Expr:
    """Σ (a + k)^-s over k = 0, 1, …, given power = a^(1-s), for a of 10 and more."""
    inverse = 1.0 / a
    z = inverse * inverse
    tail = fma(inverse, 0.5, 1.0 / (s - 1.0))
    rising = s * z
    for j, b in enumerate(BERNOULLI):
        tail = fma(rising, b, tail)
        rising = rising * (s + (2.0 * j + 1.0)) * (s + (2.0 * j + 2.0)) * z
    return power * tail


@expansion("zeta", in_f64=True)
def zeta(s: Expr, q: Expr) -> Expr:
    """NaN for s < 1 and for negative q; infinite for s = 1 and for q = 0, -1, -2, …"""
    # Beyond this the first term is all there is, and powers of s would overflow.
    s = at_most(s, 1e15)
    total = const(0.0, "f64")
    for k in range(TERMS):
        total = total + exp(-s * log(q + float(k)))
    a = q + float(TERMS)
    total = total + euler_maclaurin(s, a, exp((1.0 - s) * log(a)))
    pole = eq(s, 1.0) | (eq(floor(q), q) & (q <= 0.0))
    return where((s < 1.0) | ne(s, s) | ne(q, q), NAN, where(pole, INF, where(eq(q, INF), 0.0, total)))


@expansion("polygamma", in_f64=True)
def polygamma(n: Expr, x: Expr) -> Expr:
    """(-1)^(n+1) n! Σ (x + k)^-(n+1); for x = -a, reflected to 1 + a."""
    given = n
    while given.op == "cast":
        given = given.args[0]
    if not isinstance(given.attr, float) or given.attr < 0 or given.attr != int(given.attr):
        raise TypeError(f"polygamma: the order is a whole number known when the kernel is built, got {given}")
    order = int(given.attr)
    if order == 0:
        return digamma(x)
    a = abs(x)
    negative = x < 0.0
    w = where(negative, a + 1.0, a)
    total = const(0.0, "f64")
    for k in range(TERMS):
        total = total + integer_power(1.0 / (w + float(k)), order + 1)
    far = w + float(TERMS)
    total = total + euler_maclaurin(const(order + 1.0, "f64"), far, integer_power(1.0 / far, order))
    sign = -1.0 if order % 2 == 0 else 1.0
    right = where(eq(w, INF), 0.0, total) * (sign * math.factorial(order))
    # psi_n(x) = (-1)^n psi_n(1 - x) - pi (d/dx)^n cot(pi x), the latter a polynomial in cot.
    sine, cosine = half_turn(a)
    left = horner(-cosine / sine, *(-math.pi * c for c in cotangent_derivative(order))) - sign * right
    return where(negative, left, right)


def integer_power(x: Expr, n: int) -> Expr:
    half = integer_power(x, n // 2) if n > 1 else x
    return x if n == 1 else half * half * x if n % 2 else half * half


def cotangent_derivative(n: int) -> list[float]:
    """(d/dx)^n cot(pi x) as coefficients of powers of c = cot(pi x); d/dx c = -pi (1 + c²)."""
    p = [0.0, 1.0]
    for _ in range(n):
        slope = [-math.pi * k * c for k, c in enumerate(p)][1:]
        p = [u + v for u, v in zip([*slope, 0.0, 0.0], [0.0, 0.0, *slope], strict=True)]
    return p
