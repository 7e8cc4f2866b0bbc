"""Complex numbers by their parts: made from two reals, taken apart again, conjugated; and what these mean for a real.

May import ir only. Read next: `pointwise_arithmetic.py`.
"""

from __future__ import annotations

import math

from ..ir import expr as E
from ..ir.expr import Expr
from .define import nonzero, pointwise, uniform
from .pointwise_arithmetic import kind, parts


def make(real: Expr, imag: Expr) -> Expr:
    return E.node("complex", "c128" if real.dtype == "f64" else "c64", (real, imag))


@pointwise(samples=uniform(-3, 3), domain="float")
def complex(real, imag):
    """real + i · imag.

    >>> fb.complex(fb.tensor([1.0]), fb.tensor([2.0]))
    tensor([1.+2.j])
    """
    return make(real, imag)


@pointwise(samples=(uniform(0, 3), uniform(-3, 3)), domain="float")
def polar(abs, angle):
    """abs · e^(i angle).

    >>> fb.polar(fb.tensor([2.0]), fb.tensor([0.0]))
    tensor([2.+0.j])
    """
    return make(abs * E.cos(angle), abs * E.sin(angle))


@pointwise(samples=uniform(-3, 3), domain="any", inplace=True)
def conj_physical(x):
    """The complex conjugate; a real x itself.

    >>> fb.conj_physical(fb.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    if kind(x) != "c":
        return x
    real, imag = parts(x)
    return make(real, -imag)


@pointwise(samples=uniform(-3, 3), domain="any")
def real(x):
    """The real part; a real x itself.

    >>> fb.real(fb.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    return parts(x)[0] if kind(x) == "c" else x


@pointwise(samples=uniform(-3, 3), domain="complex")
def imag(x):
    """The imaginary part.

    >>> fb.imag(fb.tensor([1 + 2j]))
    tensor([2.])
    """
    return parts(x)[1]


def _angle_grad(g: Expr, out: Expr, x: Expr) -> tuple[Expr | None]:
    if kind(x) != "c":
        return (None,)
    re, im = parts(x)
    square = re * re + im * im
    inverse = E.where(E.eq(square, 0), 0.0, g / square)
    return (make(-inverse * im, inverse * re),)


@pointwise(samples=nonzero(0.1, 3), domain="any", promote="float", method=True, grad=_angle_grad)
def angle(x):
    """The angle of x in the complex plane: for a real x, 0 or π, or NaN.

    >>> fb.angle(fb.tensor([1.0, -1.0]))
    tensor([0.0000, 3.1416])
    """
    if kind(x) == "c":
        re, im = parts(x)
        return E.atan2(im, re)
    return E.where(x < 0, math.pi, E.where(E.isnan(x), x, E.const(0.0, x.dtype)))
