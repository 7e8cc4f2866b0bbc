"""Facts about dtypes (finfo, iinfo) and the legacy constructors named after them. Imports core and ops."""

from __future__ import annotations

import math
from typing import Any

from .core._core import DTYPES, DType, Tensor, get_default_dtype
from .ops.factories import legacy_constructor

# (bits, eps, largest, smallest normal, decimal digits)
_FLOATS = {
    "float16": (16, 2.0**-10, 65504.0, 2.0**-14, 3),
    "bfloat16": (16, 2.0**-7, (2 - 2.0**-7) * 2.0**127, 2.0**-126, 2),
    "float32": (32, 2.0**-23, (2 - 2.0**-23) * 2.0**127, 2.0**-126, 6),
    "float8_e4m3fn": (8, 0.125, 448.0, 2.0**-6, 1),
    "float8_e4m3fnuz": (8, 0.125, 240.0, 2.0**-7, 1),
    "float8_e5m2": (8, 0.25, 57344.0, 2.0**-14, 1),
    "float8_e5m2fnuz": (8, 0.25, 57344.0, 2.0**-15, 1),
    "float64": (64, 2.0**-52, (2 - 2.0**-52) * 2.0**1023, 2.0**-1022, 15),
}


class finfo:
    """The limits of a floating dtype: bits, eps, max, min, tiny, smallest_normal, resolution.

    >>> fb.finfo(fb.float32).eps
    1.1920928955078125e-07
    """

    def __init__(self, type: DType | None = None) -> None:
        dtype = get_default_dtype() if type is None else type
        if not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(f"finfo: a floating dtype is needed, got {dtype}; use iinfo for integers")
        self.dtype = dtype.to_real().name
        self.bits, self.eps, self.max, self.tiny, digits = _FLOATS[self.dtype]
        self.min, self.smallest_normal, self.resolution = -self.max, self.tiny, 10.0**-digits

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:
    """The limits of an integer dtype: bits, min, max.

    >>> fb.iinfo(fb.int8).max
    127
    """

    def __init__(self, type: DType) -> None:
        if type.is_floating_point or type.is_complex or type.name == "bool":
            raise TypeError(f"iinfo: an integer dtype is needed, got {type}; use finfo for floating ones")
        self.dtype, self.bits = type.name, 8 * type.itemsize
        half: int = 2 ** (self.bits - 1)
        self.min, self.max = (-half, half - 1) if type.is_signed else (0, 2 * half - 1)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


class Typed(type):
    """The metaclass of FloatTensor and its kin: isinstance asks for the dtype."""

    dtype: DType

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, Tensor) and x.dtype is cls.dtype

    def __call__(cls, *args: Any) -> Tensor:
        return legacy_constructor(args, cls.dtype)


def constructor(name: str, dtype: DType) -> Typed:
    doc = f"""{name}(sizes…) or {name}(data): a tensor of {dtype.name}.

    >>> x = fb.{name}([0, 1])
    >>> x.dtype, isinstance(x, fb.{name}), tuple(fb.{name}(2, 3).shape)
    (flambeau.{dtype.name}, True, (2, 3))
    """
    return Typed(name, (), {"dtype": dtype, "__doc__": doc})


FloatTensor, DoubleTensor, HalfTensor, BFloat16Tensor = (
    constructor(n, DTYPES[c])
    for n, c in (("FloatTensor", 8), ("DoubleTensor", 9), ("HalfTensor", 6), ("BFloat16Tensor", 7))
)
LongTensor, IntTensor, ShortTensor, CharTensor, ByteTensor, BoolTensor = (
    constructor(n, DTYPES[c])
    for n, c in (
        ("LongTensor", 5),
        ("IntTensor", 4),
        ("ShortTensor", 3),
        ("CharTensor", 2),
        ("ByteTensor", 1),
        ("BoolTensor", 0),
    )
)

inf, nan, pi, e = math.inf, math.nan, math.pi, math.e
