"""Exponentials, logarithms, the logistic function, the error function and the gamma function.

The functions themselves are expanded in `ir/functions`; here stand the ops, and the derivatives that are shorter by
hand, most of them in terms of the result. May import ir only. Read next: `pointwise_trigonometric.py`.
"""

from __future__ import annotations

import math

from ..ir import expr as E
from ..ir.expr import Expr
from .define import pointwise, positive, uniform
from .pointwise_arithmetic import abs, kind, parts


@pointwise(samples=uniform(-3, 3), domain="any", promote="float", inplace=True, grad=lambda g, out, x: (g * out,))
def exp(x):
    """eˣ.

    >>> fb.exp(fb.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return E.exp(x)


@pointwise(
    samples=uniform(-3, 3),
    domain="any",
    promote="float",
    inplace=True,
    aliases=("special.exp2",),
    grad=lambda g, out, x: (g * out * math.log(2),),
)
def exp2(x):
    """2ˣ.

    >>> fb.exp2(fb.tensor([0.0, 3.0]))
    tensor([1., 8.])
    """
    return E.exp2(x)


@pointwise(
    samples=uniform(-3, 3),
    domain="any",
    promote="float",
    inplace=True,
    aliases=("special.expm1",),
    grad=lambda g, out, x: (g * (out + 1),),
)
def expm1(x):
    """eˣ − 1, accurate near 0.

    >>> fb.expm1(fb.tensor([0.0, 1.0]))
    tensor([0.0000, 1.7183])
    """
    return E.expm1(x)


@pointwise(samples=positive(4), domain="any", promote="float", inplace=True, grad=lambda g, out, x: (g / x,))
def log(x):
    """The natural logarithm of x; −∞ at 0, NaN below.

    >>> fb.log(fb.tensor([1.0, 0.0]))
    tensor([0., -inf])
    """
    return E.log(x)


@pointwise(
    samples=positive(4), domain="any", promote="float", inplace=True, grad=lambda g, out, x: (g / (x * math.log(2)),)
)
def log2(x):
    """The logarithm of x to base 2.

    >>> fb.log2(fb.tensor([1.0, 8.0]))
    tensor([0., 3.])
    """
    return E.log2(x)


@pointwise(
    samples=positive(4), domain="any", promote="float", inplace=True, grad=lambda g, out, x: (g / (x * math.log(10)),)
)
def log10(x):
    """The logarithm of x to base 10.

    >>> fb.log10(fb.tensor([1.0, 1000.0]))
    tensor([0., 3.])
    """
    return E.log10(x)


@pointwise(
    samples=positive(4),
    domain="any",
    promote="float",
    inplace=True,
    aliases=("special.log1p",),
    grad=lambda g, out, x: (g / (x + 1),),
)
def log1p(x):
    """log(1 + x), accurate near 0.

    >>> fb.log1p(fb.tensor([0.0, 1.0]))
    tensor([0.0000, 0.6931])
    """
    return E.log1p(x)


def _logaddexp_grad(g: Expr, out: Expr, x: Expr, y: Expr) -> tuple[Expr, Expr]:
    return g / (1 + E.exp(y - x)), g / (1 + E.exp(x - y))


@pointwise(samples=uniform(-3, 3), domain="float+complex", method=True, grad=_logaddexp_grad)
def logaddexp(x, y):
    """log(eˣ + eʸ), without overflow; of complex numbers the larger one (by real part) plus log1p of e to the rest.

    >>> fb.logaddexp(fb.tensor([0.0]), fb.tensor([0.0]))
    tensor([0.6931])
    """
    if kind(x) != "c":
        return _larger_plus(x, y, lambda d: E.log1p(E.exp(-d)))
    a, b = parts(x)[0], parts(y)[0]
    larger, smaller = E.where(a >= b, x, y), E.where(a >= b, y, x)
    same_infinity = E.eq(a, b) & E.eq(abs(a), math.inf)
    both = E.where(a < 0, smaller, E.log(E.exp(x) + E.exp(y)))
    return E.where(same_infinity, both, larger + E.log1p(E.exp(smaller - larger)))


def _logaddexp2_grad(g: Expr, out: Expr, x: Expr, y: Expr) -> tuple[Expr, Expr]:
    return g / (1 + E.exp2(y - x)), g / (1 + E.exp2(x - y))


@pointwise(samples=uniform(-3, 3), domain="float", method=True, grad=_logaddexp2_grad)
def logaddexp2(x, y):
    """log₂(2ˣ + 2ʸ), without overflow.

    >>> fb.logaddexp2(fb.tensor([3.0]), fb.tensor([3.0]))
    tensor([4.])
    """
    return _larger_plus(x, y, lambda d: E.log1p(E.exp2(-d)) * (1 / math.log(2)))


def _larger_plus(x: Expr, y: Expr, rest) -> Expr:
    same_infinity = E.eq(x, y) & E.eq(abs(x), math.inf)
    return E.where(same_infinity, x, E.maximum(x, y) + rest(abs(x - y)))


def _xlogy_grad(g: Expr, out: Expr, x: Expr, y: Expr) -> tuple[Expr, Expr]:
    return E.where(E.eq(x, 0) & (y <= 0), 0.0, xlogy(g, y)), g * x / y


@pointwise(
    samples=(uniform(-3, 3), positive(4)),
    promote="float",
    inplace=True,
    aliases=("special.xlogy",),
    grad=_xlogy_grad,
)
def xlogy(x, y):
    """x log y, and 0 where x is 0 unless y is NaN.

    >>> fb.xlogy(fb.tensor([0.0, 2.0]), fb.tensor([0.0, 1.0]))
    tensor([0., 0.])
    """
    return E.where(E.isnan(y), y, E.where(E.eq(x, 0), 0.0, x * E.log(y)))


@pointwise(
    samples=uniform(-3, 3),
    domain="any",
    promote="float",
    inplace=True,
    aliases=("special.expit",),
    grad=lambda g, out, x: (g * (out * (1 - out)),),
)
def sigmoid(x):
    """1 / (1 + e⁻ˣ): the logistic function.

    >>> fb.sigmoid(fb.tensor([0.0, 2.0]))
    tensor([0.5000, 0.8808])
    """
    if kind(x) != "c":
        return 1 / (1 + E.exp(-x))
    # Left of the axis eˣ is the small one: e⁻ˣ would make ∞/∞ of its two parts.
    left = parts(x)[0] < 0
    e = E.exp(E.where(left, x, -x))
    return E.where(left, e, 1.0) / (1 + e)


def _logit_grad(g: Expr, out: Expr, x: Expr, eps: Expr | None) -> tuple[Expr]:
    low = 0.0 if eps is None else eps
    outside = math.nan if eps is None else 0.0
    return (E.where((x < low) | (x > 1.0 - low), outside, g / (x * (1 - x))),)


@pointwise(
    samples=uniform(0.1, 0.9),
    promote="float",
    inplace=True,
    aliases=("special.logit",),
    grad=_logit_grad,
)
def logit(x, eps=None):
    """log(x / (1 − x)), the inverse of the sigmoid; with `eps`, of x clamped to [eps, 1 − eps].

    >>> fb.logit(fb.tensor([0.5, 1.0]), eps=1e-3)
    tensor([0.0000, 6.9068])
    """
    z = x if eps is None else E.where(x < eps, eps, E.where(x > 1.0 - eps, 1.0 - eps, x))
    return E.log(z / (1 - z))


@pointwise(
    samples=uniform(-2, 2),
    promote="float",
    inplace=True,
    aliases=("special.erf",),
    grad=lambda g, out, x: (g * (2 / math.sqrt(math.pi) * E.exp(-(x * x))),),
)
def erf(x):
    """The error function: 2/√π ∫₀ˣ e^(−t²) dt.

    >>> fb.erf(fb.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8427])
    """
    return E.erf(x)


@pointwise(
    samples=uniform(-2, 2),
    promote="float",
    inplace=True,
    aliases=("special.erfc",),
    grad=lambda g, out, x: (g * (-2 / math.sqrt(math.pi) * E.exp(-(x * x))),),
)
def erfc(x):
    """1 − erf(x), accurate where that is small.

    >>> fb.erfc(fb.tensor([0.0, 1.0]))
    tensor([1.0000, 0.1573])
    """
    return E.erfc(x)


@pointwise(
    samples=uniform(-0.9, 0.9),
    promote="float",
    inplace=True,
    aliases=("special.erfinv",),
    grad=lambda g, out, x: (g * (math.sqrt(math.pi) / 2 * E.exp(out * out)),),
)
def erfinv(x):
    """The number whose error function is x; infinite at ±1, NaN outside.

    >>> fb.erfinv(fb.tensor([0.0, 0.5]))
    tensor([0.0000, 0.4769])
    """
    return E.erfinv(x)


@pointwise(
    samples=positive(4),
    promote="float",
    inplace=True,
    aliases=("special.gammaln",),
    grad=lambda g, out, x: (g * E.digamma(x),),
)
def lgamma(x):
    """log |Γ(x)|; infinite at 0 and the negative whole numbers.

    >>> fb.lgamma(fb.tensor([1.0, 5.0]))
    tensor([0.0000, 3.1781])
    """
    return E.lgamma(x)


@pointwise(samples=positive(4), promote="float", inplace=True, aliases=("special.digamma", "special.psi"))
def digamma(x):
    """Γ′(x) / Γ(x): the derivative of lgamma; NaN at negative whole numbers, −∞ at +0.

    >>> fb.digamma(fb.tensor([1.0]))
    tensor([-0.5772])
    """
    return E.digamma(x)
