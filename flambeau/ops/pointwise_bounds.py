"""Rounding, bounds and selection: floor … round, minimum, clamp, where, and what works on the bits of a number.

Where a maximum has two winners the gradient is shared equally; a clamp passes it on at its bounds. May import ir only.
Read next: `pointwise_logic.py` (comparisons and bits), `pointwise_arithmetic.py` (shared helpers).
"""

from __future__ import annotations

import math
import sys

from ..ir import expr as E
from ..ir.expr import DTYPES, Expr
from .define import booleans, nonzero, pointwise, uniform
from .pointwise_arithmetic import abs, kind, parts
from .pointwise_logic import signbit

# Largest finite number of each floating dtype.
LARGEST = {"f16": 65504.0, "bf16": 2.0**128 - 2.0**120, "f32": 2.0**128 - 2.0**104, "f64": sys.float_info.max}


@pointwise(samples=uniform(-3, 3), domain="number", inplace=True)
def floor(x):
    """The largest whole number not above x.

    >>> fb.floor(fb.tensor([1.5, -1.5]))
    tensor([ 1., -2.])
    """
    return E.floor(x)


@pointwise(samples=uniform(-3, 3), domain="number", inplace=True)
def ceil(x):
    """The smallest whole number not below x.

    >>> fb.ceil(fb.tensor([1.5, -1.5]))
    tensor([ 2., -1.])
    """
    return E.ceil(x)


@pointwise(samples=uniform(-3, 3), domain="number", inplace=True, aliases=("fix",))
def trunc(x):
    """x without its fraction: rounded towards zero.

    >>> fb.trunc(fb.tensor([1.5, -1.5]))
    tensor([ 1., -1.])
    """
    return E.trunc(x)


@pointwise(samples=uniform(-3, 3), domain="number", inplace=True, aliases=("special.round",))
def round(x, decimals: int = 0):
    """x rounded to `decimals` digits after the point (before it, if negative); halves go to the even neighbour.

    >>> fb.round(fb.tensor([0.5, 1.5, -2.5]))
    tensor([ 0.,  2., -2.])
    """
    if decimals == 0 or kind(x) != "f":
        return E.round_even(x)
    ten = 10.0 ** (decimals if decimals > 0 else -decimals)
    return E.round_even(x * ten) / ten if decimals > 0 else E.round_even(x / ten) * ten


@pointwise(samples=uniform(-3, 3), domain="float", inplace=True)
def frac(x):
    """x − trunc(x): the fraction, with the sign of x.

    >>> fb.frac(fb.tensor([1.5, -2.25]))
    tensor([ 0.5000, -0.2500])
    """
    return x - E.trunc(x)


def _shared(g: Expr, x: Expr, y: Expr, wins: Expr, loses: Expr) -> tuple[Expr, Expr]:
    g = E.where(E.eq(x, y), g * 0.5, g)
    return E.where(loses, 0.0, g), E.where(wins, 0.0, g)


@pointwise(samples=uniform(-3, 3), method=True, grad=lambda g, out, x, y: _shared(g, x, y, x > y, x < y))
def maximum(x, y):
    """The larger of x and y; NaN if either is.

    >>> fb.maximum(fb.tensor([1.0, 5.0]), fb.tensor([3.0, 2.0]))
    tensor([3., 5.])
    """
    return x | y if kind(x) == "b" else E.maximum(x, y)


@pointwise(samples=uniform(-3, 3), method=True, grad=lambda g, out, x, y: _shared(g, x, y, x < y, x > y))
def minimum(x, y):
    """The smaller of x and y; NaN if either is.

    >>> fb.minimum(fb.tensor([1.0, 5.0]), fb.tensor([3.0, 2.0]))
    tensor([1., 2.])
    """
    return x & y if kind(x) == "b" else E.minimum(x, y)


def _one_side(g: Expr, to_x: Expr) -> tuple[Expr, Expr]:
    return E.where(to_x, g, 0.0), E.where(to_x, 0.0, g)


@pointwise(samples=uniform(-3, 3), method=True, grad=lambda g, out, x, y: _one_side(g, (x >= y) | E.isnan(y)))
def fmax(x, y):
    """The larger of x and y, a NaN giving way to a number.

    >>> fb.fmax(fb.tensor([1.0, float("nan")]), fb.tensor([3.0, 2.0]))
    tensor([3., 2.])
    """
    return E.where((x >= y) | E.isnan(y), x, y) if kind(x) == "f" else maximum(x, y)


@pointwise(samples=uniform(-3, 3), method=True, grad=lambda g, out, x, y: _one_side(g, (x <= y) | E.isnan(y)))
def fmin(x, y):
    """The smaller of x and y, a NaN giving way to a number.

    >>> fb.fmin(fb.tensor([1.0, float("nan")]), fb.tensor([3.0, 2.0]))
    tensor([1., 2.])
    """
    return E.where((x <= y) | E.isnan(y), x, y) if kind(x) == "f" else minimum(x, y)


def _clamp_grad(g: Expr, out: Expr, x: Expr, min: Expr, max: Expr) -> tuple[Expr, Expr, Expr]:
    return (
        E.where((x >= min) & (x <= max), g, 0.0),
        E.where((min < max) & (x < min), g, 0.0),
        E.where((x > max) | (max < min), g, 0.0),
    )


@pointwise(
    samples=(uniform(-3, 3), uniform(-2, -1), uniform(1, 2)),
    domain="number",
    inplace=True,
    aliases=("clip",),
    grad=_clamp_grad,
)
def clamp(x, min, max):
    """min(max(x, min), max): x within bounds, and `max` where the bounds cross. NaN if any of the three is.

    >>> fb.clamp(fb.tensor([-2.0, 0.5, 2.0]), -1, 1)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    return E.minimum(E.maximum(x, min), max)


def _clamp_min_grad(g: Expr, out: Expr, x: Expr, min: Expr) -> tuple[Expr, Expr]:
    return E.where(x >= min, g, 0.0), E.where(x < min, g, 0.0)


@pointwise(samples=uniform(-3, 3), domain="number", inplace=True, grad=_clamp_min_grad)
def clamp_min(x, min):
    """The larger of x and a lower bound.

    >>> fb.clamp_min(fb.tensor([-2.0, 0.5]), 0)
    tensor([0.0000, 0.5000])
    """
    return E.maximum(x, min)


def _clamp_max_grad(g: Expr, out: Expr, x: Expr, max: Expr) -> tuple[Expr, Expr]:
    return E.where(x <= max, g, 0.0), E.where(x > max, g, 0.0)


@pointwise(samples=uniform(-3, 3), domain="number", inplace=True, grad=_clamp_max_grad)
def clamp_max(x, max):
    """The smaller of x and an upper bound.

    >>> fb.clamp_max(fb.tensor([0.5, 2.0]), 1)
    tensor([0.5000, 1.0000])
    """
    return E.minimum(x, max)


@pointwise(samples=(booleans(), uniform(-3, 3), uniform(-3, 3)), domain="any", method=True)
def where(condition: bool, x, y):
    """x where the condition holds, y elsewhere. The side not taken gets a zero gradient, whatever its value.

    >>> fb.where(fb.tensor([True, False]), 1.0, 2.0)
    tensor([1., 2.])
    """
    return E.where(condition, x, y)


@pointwise(
    samples=(uniform(-3, 3), booleans(), uniform(-3, 3)), like="torch.Tensor.masked_fill", domain="any", inplace=True
)
def masked_fill(x, mask: bool, value):
    """`value` where the mask holds, x elsewhere.

    >>> fb.tensor([1.0, 2.0]).masked_fill(fb.tensor([True, False]), 0)
    tensor([0., 2.])
    """
    return E.where(mask, value, x)


@pointwise(samples=(nonzero(0.1, 3), uniform(0, 1)), inplace=True, grad=lambda g, out, x, values: (None, None))
def heaviside(x, values):
    """0 for negative x (and NaN), 1 for positive x, `values` at 0.

    >>> fb.heaviside(fb.tensor([-1.0, 0.0, 2.0]), fb.tensor([0.5]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    zero, one = E.const(0, x.dtype), E.const(1, x.dtype)
    return E.where(E.eq(x, zero), values, E.where(zero < x, one, zero))


def _copysign_grad(g: Expr, out: Expr, x: Expr, y: Expr) -> tuple[Expr, None]:
    return E.where(E.eq(x, 0), 0.0, E.where(E.eq(out, x), g, -g)), None


@pointwise(samples=nonzero(0.1, 3), promote="float", inplace=True, grad=_copysign_grad)
def copysign(x, y):
    """|x| with the sign of y, that of −0.0 included.

    >>> fb.copysign(fb.tensor([1.0, 2.0]), fb.tensor([-0.0, 3.0]))
    tensor([-1.,  2.])
    """
    return E.where(signbit(y), -abs(x), abs(x))


@pointwise(
    samples=uniform(-3, 3), domain="float", promote="exact", inplace=True, grad=lambda g, out, x, y: (None, None)
)
def nextafter(x, y):
    """The neighbour of x in direction of y, in their own dtype; y where they are equal.

    >>> fb.nextafter(fb.tensor([0.0]), fb.tensor([1.0]))
    tensor([1.4013e-45])
    """
    integer = f"i{DTYPES[x.dtype].size * 8}"
    bits = E.bitcast(x, integer)
    # Floats of one sign are ordered as their bits are: one step away from zero, or one towards it.
    stepped = E.bitcast(E.where(E.eq(x < y, bits >= 0), bits + 1, bits - 1), x.dtype)
    smallest = E.bitcast(E.const(1, integer), x.dtype)
    stepped = E.where(E.eq(x, 0), E.where(y > 0, smallest, -smallest), stepped)
    return E.where(E.isnan(x) | E.isnan(y), x + y, E.where(E.eq(x, y), y, stepped))


def _nan_to_num_grad(g: Expr, out: Expr, x: Expr, nan: object, posinf: object, neginf: object) -> tuple[Expr]:
    if kind(x) == "c":
        pairs = zip(parts(g), parts(x), strict=True)
        real, imag = (E.where(abs(part) < math.inf, p, 0.0) for p, part in pairs)
        return (E.node("complex", x.dtype, (real, imag)),)
    return (E.where(abs(x) < math.inf, g, 0.0),)


@pointwise(samples=uniform(-3, 3), domain="any", promote="exact", inplace=True, grad=_nan_to_num_grad)
def nan_to_num(x, nan=0.0, posinf=None, neginf=None):
    """x with NaN and the infinities replaced, by default by 0 and the dtype's largest and smallest numbers.

    In complex x each part is.

    >>> fb.nan_to_num(fb.tensor([float("nan"), float("inf")]), posinf=9.0)
    tensor([0., 9.])
    """
    if kind(x) == "c":
        replaced = (nan_to_num(part, nan, posinf, neginf) for part in parts(x))
        return E.node("complex", x.dtype, tuple(replaced))
    if kind(x) != "f":
        return x
    high = LARGEST[x.dtype] if posinf is None else posinf
    low = -LARGEST[x.dtype] if neginf is None else neginf
    return E.where(E.isnan(x), nan, E.where(E.eq(x, math.inf), high, E.where(E.eq(x, -math.inf), low, x)))
