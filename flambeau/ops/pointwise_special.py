"""torch.special: Bessel functions, the normal distribution, entropy, polygamma and zeta.

May import ir only. Read next: `pointwise_transcendental.py` (exp, log, erf, lgamma), `define.py`.
"""

from __future__ import annotations

import math

from ..ir import expr as E
from ..ir.expr import Expr, where
from .define import nonzero, pointwise, positive, uniform
from .pointwise_arithmetic import abs, rounded_from_f64, sign
from .pointwise_transcendental import digamma

S = "torch.special."
ROOT_HALF, ROOT_PI = math.sqrt(0.5), math.sqrt(math.pi)
# (1 + 2x) erfcx(x) for x >= 0 as a polynomial in (x - 3) / (x + 3), interpolated at Chebyshev's points; error 1e-16.
ERFCX = (
    1.2530080582697296, -0.1356211061245812, -0.04756229435344912, 0.12964515870276316, -0.11927366341538978,
    0.06830802734389313, -0.023770514917107986, 0.0025293918173706497, 0.0018886903443894542, -0.0007798322831260387,
    -0.00010515971612176149, 0.00012509940933306624, 4.949184182276066e-06, -2.010075903780886e-05,
    -7.307985940695724e-07, 3.4728430145951554e-06, 3.5571413343395913e-07, -6.172971639709339e-07,
    -1.4042772727671948e-07, 1.0252159854733823e-07, 4.1031674722876435e-08, -1.3744637271614611e-08,
    -8.205287217548862e-09, 1.1435381719942424e-09, 8.373239801913565e-10, -2.5208846559132343e-11,
)  # fmt: skip


@pointwise(
    samples=positive(3),
    like=S + "entr",
    name="special.entr",
    promote="float",
    grad=lambda g, out, x: (-g * (1 + E.log(x)),),
)
def entr(x):
    """−x log x: the entropy's summand; 0 at 0 and −∞ below.

    >>> fb.special.entr(fb.tensor([0.0, 1.0, -1.0]))
    tensor([0., -0., -inf])
    """
    return where(x > 0, -x * E.log(x), where(E.eq(x, 0), 0.0, where(x < 0, -math.inf, x)))


def _xlog1py_grad(g: Expr, out: Expr, x: Expr, y: Expr) -> tuple[Expr, Expr]:
    return where(E.eq(x, 0) & (y <= -1), 0.0, g * E.log1p(y)), g * x / (y + 1)


@pointwise(
    samples=(uniform(-3, 3), positive(3)),
    like=S + "xlog1py",
    name="special.xlog1py",
    promote="float",
    grad=_xlog1py_grad,
)
def xlog1py(x, y):
    """x log(1 + y), and 0 where x is 0 unless y is NaN.

    >>> fb.special.xlog1py(fb.tensor([0.0, 2.0]), fb.tensor([-1.0, 0.0]))
    tensor([0., 0.])
    """
    return where(E.isnan(y), y, where(E.eq(x, 0), 0.0, x * E.log1p(y)))


def _density(x: Expr) -> Expr:
    return E.exp(-0.5 * (x * x)) * (1 / math.sqrt(2 * math.pi))


@pointwise(
    samples=uniform(-3, 3),
    like=S + "ndtr",
    name="special.ndtr",
    promote="float",
    grad=lambda g, out, x: (g * _density(x),),
)
def ndtr(x):
    """Φ(x): the distribution function of the standard normal, accurate in the left tail.

    >>> fb.special.ndtr(fb.tensor([0.0, 1.0]))
    tensor([0.5000, 0.8413])
    """
    return 0.5 * E.erfc(x * -ROOT_HALF)


@pointwise(
    samples=uniform(0.05, 0.95),
    like=S + "ndtri",
    name="special.ndtri",
    promote="float",
    grad=lambda g, out, x: (g * (math.sqrt(2 * math.pi) * E.exp(0.5 * (out * out))),),
)
def ndtri(x):
    """The number whose normal distribution function is x; infinite at 0 and 1, NaN outside.

    >>> fb.special.ndtri(fb.tensor([0.5, 0.8413]))
    tensor([0.0000, 0.9998])
    """
    return E.ndtri(x)


def _log_ndtr_grad(g: Expr, out: Expr, x: Expr) -> tuple[Expr]:
    return (g * (math.sqrt(2 / math.pi) / erfcx(x * -ROOT_HALF)),)


@pointwise(samples=uniform(-5, 3), like=S + "log_ndtr", name="special.log_ndtr", promote="float", grad=_log_ndtr_grad)
def log_ndtr(x):
    """log Φ(x), also where Φ(x) itself would underflow.

    >>> fb.special.log_ndtr(fb.tensor([0.0, -20.0]))
    tensor([  -0.6931, -203.9172])
    """
    t = x * ROOT_HALF
    return where(x < -1, E.log(erfcx(-t) * 0.5) - t * t, E.log1p(E.erfc(t) * -0.5))


@pointwise(
    samples=uniform(-2, 3),
    like=S + "erfcx",
    name="special.erfcx",
    promote="float",
    grad=lambda g, out, x: (g * (2 * x * out - 2 / ROOT_PI),),
)
def erfcx(x):
    """e^(x²) erfc(x): the error function's complement, scaled so that it doesn't underflow.

    >>> fb.special.erfcx(fb.tensor([0.0, 100.0]))
    tensor([1.0000, 0.0056])
    """
    return rounded_from_f64(_erfcx, x)


def _erfcx(x: Expr) -> Expr:
    size = abs(x)
    t = 1 - 6 / (size + 3)
    total = E.const(ERFCX[-1], "f64")
    for c in reversed(ERFCX[:-1]):
        total = E.fma(total, t, c)
    right = total / (1 + 2 * size)
    square = x * x
    # x² to twice the precision, for exp multiplies the error of its argument by the argument.
    left = 2 * (E.exp(square) * (1 + E.fma(x, x, -square))) - right
    return where(x < 0, where(x < -27, math.inf, left), right)


@pointwise(
    samples=uniform(-3, 3),
    promote="float",
    inplace=True,
    aliases=("special.i0", "special.modified_bessel_i0"),
    grad=lambda g, out, x: (g * E.i1(x),),
)
def i0(x):
    """The modified Bessel function of the first kind of order 0.

    >>> fb.i0(fb.tensor([0.0, 1.0]))
    tensor([1.0000, 1.2661])
    """
    return E.i0(x)


@pointwise(
    samples=nonzero(0.1, 3),
    like=S + "i0e",
    name="special.i0e",
    promote="float",
    grad=lambda g, out, x: (g * (E.i1e(x) - sign(x) * out),),
)
def i0e(x):
    """e^−|x| i0(x): without overflow.

    >>> fb.special.i0e(fb.tensor([0.0, 1.0]))
    tensor([1.0000, 0.4658])
    """
    return E.i0e(x)


def _i1_grad(g: Expr, out: Expr, x: Expr) -> tuple[Expr]:
    return (g * where(abs(x) < 1e-8, 0.5, E.i0(x) - out / x),)


@pointwise(
    samples=nonzero(0.1, 3),
    like=S + "i1",
    name="special.i1",
    promote="float",
    aliases=("special.modified_bessel_i1",),
    grad=_i1_grad,
)
def i1(x):
    """The modified Bessel function of the first kind of order 1.

    >>> fb.special.i1(fb.tensor([0.0, 1.0]))
    tensor([0.0000, 0.5652])
    """
    return E.i1(x)


def _i1e_grad(g: Expr, out: Expr, x: Expr) -> tuple[Expr]:
    return (g * where(abs(x) < 1e-8, 0.5, E.i0e(x) - out * (sign(x) + 1 / x)),)


@pointwise(samples=nonzero(0.1, 3), like=S + "i1e", name="special.i1e", promote="float", grad=_i1e_grad)
def i1e(x):
    """e^−|x| i1(x): without overflow.

    >>> fb.special.i1e(fb.tensor([0.0, 1.0]))
    tensor([0.0000, 0.2079])
    """
    return E.i1e(x)


@pointwise(samples=nonzero(0.1, 9), like=S + "spherical_bessel_j0", name="special.spherical_bessel_j0", promote="float")
def spherical_bessel_j0(x):
    """sin(x) / x, and 1 at 0: the spherical Bessel function of the first kind of order 0.

    >>> fb.special.spherical_bessel_j0(fb.tensor([0.0, 1.0]))
    tensor([1.0000, 0.8415])
    """
    return where(E.eq(x, 0), 1.0, where(E.eq(abs(x), math.inf), 0.0, E.sin(x) / x))


@pointwise(
    samples=positive(4),
    promote="float",
    inplace=True,
    aliases=("special.polygamma",),
    grad=lambda g, out, x, n: (g * polygamma(x, n + 1),),
)
def polygamma(x, n: int = 0):
    """The n-th derivative of digamma, n ≥ 0. PyTorch's function takes n first.

    >>> fb.tensor([1.0]).polygamma(1)
    tensor([1.6449])
    """
    if n < 0:
        raise ValueError(f"polygamma: n is not negative, got {n}")
    if n > 170:
        raise ValueError(f"polygamma: n is at most 170, beyond which n! is no floating number, got {n}")
    return digamma(x) if n == 0 else E.polygamma(float(n), x)


@pointwise(
    samples=(uniform(1.5, 4), positive(4)),
    like=S + "zeta",
    name="special.zeta",
    promote="float",
    grad=lambda g, out, x, y: (None, g * (-x * E.zeta(x + 1, y))),
)
def zeta(x, y):
    """Hurwitz's zeta function: Σ (y + k)^−x over k = 0, 1, 2, …

    >>> fb.special.zeta(fb.tensor([2.0]), fb.tensor([1.0]))
    tensor([1.6449])
    """
    return E.zeta(x, y)


@pointwise(
    samples=uniform(2.5, 5),
    like="torch.mvlgamma",
    name="mvlgamma",
    promote="float",
    inplace=True,
    aliases=("special.multigammaln",),
)
def multigammaln(x, p: int = 1):
    """The logarithm of the multivariate gamma function: p (p − 1)/4 log π + Σ lgamma(x − j/2) over j < p.

    >>> fb.mvlgamma(fb.tensor([3.0]), 2)
    tensor([1.5502])
    """
    if p < 1:
        raise ValueError(f"mvlgamma: p is at least 1, got {p}")
    total = E.lgamma(x)
    for j in range(1, p):
        total = total + E.lgamma(x - 0.5 * j)
    return total + 0.25 * p * (p - 1) * math.log(math.pi)
