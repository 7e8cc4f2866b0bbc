"""Circular and hyperbolic functions and their inverses, angles, and sinc.

May import ir only. Read next: `pointwise_transcendental.py` (exponentials and logarithms), `pointwise_special.py`.
"""

from __future__ import annotations

import math

from ..ir import expr as E
from ..ir.expr import Expr
from .define import nonzero, pointwise, uniform


@pointwise(samples=nonzero(0.1, 3), domain="any", promote="float", inplace=True, grad=lambda g, out, x: (g * E.cos(x),))
def sin(x):
    """The sine of x in radians.

    >>> fb.sin(fb.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8415])
    """
    return E.sin(x)


@pointwise(
    samples=nonzero(0.1, 3), domain="any", promote="float", inplace=True, grad=lambda g, out, x: (g * -E.sin(x),)
)
def cos(x):
    """The cosine of x in radians.

    >>> fb.cos(fb.tensor([0.0, 1.0]))
    tensor([1.0000, 0.5403])
    """
    return E.cos(x)


@pointwise(
    samples=uniform(-1.2, 1.2),
    domain="any",
    promote="float",
    inplace=True,
    grad=lambda g, out, x: (g * (1 + out * out),),
)
def tan(x):
    """The tangent of x in radians.

    >>> fb.tan(fb.tensor([0.0, 1.0]))
    tensor([0.0000, 1.5574])
    """
    return E.tan(x)


@pointwise(
    samples=uniform(-0.9, 0.9),
    domain="any",
    promote="float",
    inplace=True,
    aliases=("arcsin",),
    grad=lambda g, out, x: (g / E.sqrt(1 - x * x),),
)
def asin(x):
    """The angle in [−π/2, π/2] whose sine is x; NaN outside [−1, 1].

    >>> fb.asin(fb.tensor([0.0, 1.0]))
    tensor([0.0000, 1.5708])
    """
    return E.asin(x)


@pointwise(
    samples=uniform(-0.9, 0.9),
    domain="any",
    promote="float",
    inplace=True,
    aliases=("arccos",),
    grad=lambda g, out, x: (-g / E.sqrt(1 - x * x),),
)
def acos(x):
    """The angle in [0, π] whose cosine is x; NaN outside [−1, 1].

    >>> fb.acos(fb.tensor([1.0, 0.0]))
    tensor([0.0000, 1.5708])
    """
    return E.acos(x)


@pointwise(
    samples=uniform(-3, 3),
    domain="any",
    promote="float",
    inplace=True,
    aliases=("arctan",),
    grad=lambda g, out, x: (g / (x * x + 1),),
)
def atan(x):
    """The angle in [−π/2, π/2] whose tangent is x.

    >>> fb.atan(fb.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7854])
    """
    return E.atan(x)


def _atan2_grad(g: Expr, out: Expr, x: Expr, y: Expr) -> tuple[Expr, Expr]:
    square = x * x + y * y
    inverse = E.where(E.eq(square, 0), 0.0, g / square)
    return inverse * y, -inverse * x


@pointwise(samples=nonzero(0.2, 3), promote="float", inplace=True, aliases=("arctan2",), grad=_atan2_grad)
def atan2(x, y):
    """The angle in [−π, π] of the point with ordinate x and abscissa y.

    >>> fb.atan2(fb.tensor([1.0]), fb.tensor([-1.0]))
    tensor([2.3562])
    """
    return E.atan2(x, y)


@pointwise(samples=uniform(-3, 3), domain="any", promote="float", inplace=True, grad=lambda g, out, x: (g * E.cosh(x),))
def sinh(x):
    """The hyperbolic sine of x: (eˣ − e⁻ˣ) / 2.

    >>> fb.sinh(fb.tensor([0.0, 1.0]))
    tensor([0.0000, 1.1752])
    """
    return E.sinh(x)


@pointwise(samples=uniform(-3, 3), domain="any", promote="float", inplace=True, grad=lambda g, out, x: (g * E.sinh(x),))
def cosh(x):
    """The hyperbolic cosine of x: (eˣ + e⁻ˣ) / 2.

    >>> fb.cosh(fb.tensor([0.0, 1.0]))
    tensor([1.0000, 1.5431])
    """
    return E.cosh(x)


@pointwise(
    samples=uniform(-3, 3), domain="any", promote="float", inplace=True, grad=lambda g, out, x: (g * (1 - out * out),)
)
def tanh(x):
    """The hyperbolic tangent of x.

    >>> fb.tanh(fb.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """
    return E.tanh(x)


@pointwise(
    samples=uniform(-3, 3),
    domain="any",
    promote="float",
    inplace=True,
    aliases=("arcsinh",),
    grad=lambda g, out, x: (g / E.sqrt(x * x + 1),),
)
def asinh(x):
    """The number whose hyperbolic sine is x.

    >>> fb.asinh(fb.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8814])
    """
    return E.asinh(x)


@pointwise(
    samples=uniform(1.2, 4),
    domain="any",
    promote="float",
    inplace=True,
    aliases=("arccosh",),
    grad=lambda g, out, x: (g / (E.sqrt(x - 1) * E.sqrt(x + 1)),),
)
def acosh(x):
    """The number not below 0 whose hyperbolic cosine is x; NaN for x below 1.

    >>> fb.acosh(fb.tensor([1.0, 2.0]))
    tensor([0.0000, 1.3170])
    """
    return E.acosh(x)


@pointwise(
    samples=uniform(-0.9, 0.9),
    domain="any",
    promote="float",
    inplace=True,
    aliases=("arctanh",),
    grad=lambda g, out, x: (g / (1 - x * x),),
)
def atanh(x):
    """The number whose hyperbolic tangent is x; infinite at ±1, NaN outside.

    >>> fb.atanh(fb.tensor([0.0, 0.5]))
    tensor([0.0000, 0.5493])
    """
    return E.atanh(x)


def _sinc_grad(g: Expr, out: Expr, x: Expr) -> tuple[Expr]:
    angle, square = x * math.pi, x * x * math.pi
    return (E.where(E.eq(square, 0), 0.0, g * ((angle * E.cos(angle) - E.sin(angle)) / square)),)


@pointwise(
    samples=nonzero(0.1, 3), domain="any", promote="float", inplace=True, aliases=("special.sinc",), grad=_sinc_grad
)
def sinc(x):
    """sin(πx) / (πx), and 1 at 0.

    >>> fb.sinc(fb.tensor([0.0, 0.5]))
    tensor([1.0000, 0.6366])
    """
    angle = x * math.pi
    return E.where(E.eq(x, 0), 1.0, E.sin(angle) / angle)


@pointwise(samples=uniform(-180, 180), promote="float", inplace=True)
def deg2rad(x):
    """x degrees as radians: x π/180.

    >>> fb.deg2rad(fb.tensor([180.0]))
    tensor([3.1416])
    """
    return x * (math.pi / 180)


@pointwise(samples=uniform(-3, 3), promote="float", inplace=True)
def rad2deg(x):
    """x radians as degrees: x 180/π.

    >>> fb.rad2deg(fb.tensor([1.0]))
    tensor([57.2958])
    """
    return x * (180 / math.pi)
