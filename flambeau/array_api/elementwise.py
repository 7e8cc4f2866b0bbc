"""Elementwise functions of the array API standard: flambeau's ops under the standard's promotion and signatures.

Imports ops and `dtypes.py`. Read next: `statistics.py`.
Source: https://data-apis.org/array-api/2024.12/API_specification/elementwise_functions.html.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..core._core import Tensor
from ..ops.conjugate import conj as conjugate
from .dtypes import category, promoted

# The standard's name -> flambeau's, where they differ.
RENAMED = {"bitwise_invert": "bitwise_not", "equal": "eq"}
UNARY = (
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bitwise_invert", "ceil", "cos", "cosh", "exp", "expm1",
    "floor", "isfinite", "isinf", "isnan", "log", "log1p", "log2", "log10", "logical_not", "negative", "positive",
    "reciprocal", "signbit", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc",
)  # fmt: skip
BINARY = (
    "add", "atan2", "bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "copysign",
    "divide", "equal", "floor_divide", "greater", "greater_equal", "hypot", "less", "less_equal", "logaddexp",
    "logical_and", "logical_or", "logical_xor", "maximum", "minimum", "multiply", "nextafter", "not_equal", "pow",
    "subtract",
)  # fmt: skip


def unary(name: str, op: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    def function(x: Tensor, /) -> Tensor:
        return op(x)

    return described(function, name, op)


def binary(name: str, op: Callable[..., Tensor]) -> Callable[[Any, Any], Tensor]:
    def function(x1: Tensor | complex, x2: Tensor | complex, /) -> Tensor:
        return op(*promoted(x1, x2))

    return described(function, name, op)


def described(function: Any, name: str, op: Any) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"As :func:`flambeau.{op.name}`, under the array API standard's promotion rules."
    return function


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    name: make(name, getattr(ops, RENAMED.get(name, name)))
    for names, make in ((UNARY, unary), (BINARY, binary))
    for name in names
}
maximum, minimum = FUNCTIONS["maximum"], FUNCTIONS["minimum"]


def sign(x: Tensor, /) -> Tensor:
    """-1, 0 or 1; x / |x| of a complex number; NaN stays NaN.

    >>> from flambeau import array_api as xp
    >>> xp.sign(xp.asarray([-2.0, 0.0, float("nan")]))
    tensor([-1.,  0., nan])
    """
    nan = complex("nan+nanj") if category(x.dtype) == 3 else float("nan")
    return ops.where(ops.isnan(x), nan, ops.sgn(x)) if category(x.dtype) > 1 else ops.sgn(x)


def conj(x: Tensor, /) -> Tensor:
    """The complex conjugate; a real array as it is."""
    return conjugate(x)


def real(x: Tensor, /) -> Tensor:
    """The real part; a real array as it is."""
    return ops.real(x)


def imag(x: Tensor, /) -> Tensor:
    """The imaginary part; zeros for a real array."""
    return ops.imag(x) if x.dtype.is_complex else ops.zeros_like(x)


def round(x: Tensor, /) -> Tensor:
    """The nearest whole number, halves to the even one; of complex numbers, both parts."""
    return ops.complex(ops.round(x.real), ops.round(x.imag)) if x.dtype.is_complex else ops.round(x)


def clip(x: Tensor, /, min: Tensor | float | None = None, max: Tensor | float | None = None) -> Tensor:
    """x kept between min and max, either of which may be absent; the dtype stays that of x.

    >>> from flambeau import array_api as xp
    >>> xp.clip(xp.arange(5), 1, xp.asarray(3))
    tensor([1, 1, 2, 3, 3])
    """
    out = x.clone() if min is None and max is None else x
    for bound, choose in ((min, maximum), (max, minimum)):
        if bound is not None:
            if category(x.dtype) < 2 and isinstance(bound, float):
                raise TypeError(f"clip: bounds of an array of {x.dtype} must be integers, got {bound!r}")
            out = choose(out, bound.to(x.dtype) if isinstance(bound, Tensor) else bound)
    return out


def remainder(x1: Tensor | complex, x2: Tensor | complex, /) -> Tensor:
    """What is left of x1 after whole multiples of x2, with the sign of x2, zeros included."""
    x1, x2 = promoted(x1, x2)
    left = ops.remainder(x1, x2)
    return ops.where(left == 0, ops.copysign(left, x2), left) if category(left.dtype) == 2 else left


FUNCTIONS |= {f.__name__: f for f in (sign, conj, real, imag, round, clip, remainder)}
