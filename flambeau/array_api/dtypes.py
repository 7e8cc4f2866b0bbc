"""Data types as the array API standard has them: what promotes to what, casting, limits, kinds.

Two rules differ from flambeau's own, which are PyTorch's: 0-dimensional arrays promote like all others, and Python
numbers never widen an array. Imports core and ops. Read next: `elementwise.py`, which computes by these rules.
Source: https://data-apis.org/array-api/2024.12/API_specification/type_promotion.html.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from .. import ops, types
from ..core._core import DTYPES, DType, Tensor, get_default_dtype, promote_types

bool_, uint8, int8, int16, int32, int64, _, _, float32, float64, complex64, complex128, uint16, uint32, uint64 = DTYPES

KINDS = {
    "bool": (bool_,),
    "signed integer": (int8, int16, int32, int64),
    "unsigned integer": (uint8, uint16, uint32, uint64),
    "real floating": (float32, float64),
    "complex floating": (complex64, complex128),
}
KINDS["integral"] = KINDS["signed integer"] + KINDS["unsigned integer"]
KINDS["numeric"] = KINDS["integral"] + KINDS["real floating"] + KINDS["complex floating"]
EVERY = KINDS["bool"] + KINDS["numeric"]


def default_complex() -> DType:
    return get_default_dtype().to_complex()


def category(dtype: DType) -> int:
    """0 for bool, 1 for integers, 2 for real and 3 for complex floating dtypes."""
    return 3 if dtype.is_complex else 2 if dtype.is_floating_point else int(dtype is not bool_)


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype that arrays, dtypes and Python numbers promote to; numbers take part by their kind alone.

    Raises ValueError where there are only Python numbers.

    >>> from flambeau import array_api as xp
    >>> xp.result_type(xp.float32, xp.asarray(1.0, dtype=xp.float64), 2), xp.result_type(xp.float32, 1j)
    (flambeau.float64, flambeau.complex64)
    """
    dtypes = [x.dtype if isinstance(x, Tensor) else x for x in arrays_and_dtypes if isinstance(x, Tensor | DType)]
    if not dtypes:
        raise ValueError(f"result_type: at least one array or dtype is needed, got {arrays_and_dtypes}")
    found = functools.reduce(promote_types, dtypes)
    for x in arrays_and_dtypes:
        if isinstance(x, Tensor | DType):
            continue
        if not isinstance(x, complex | float | int):
            raise TypeError(f"result_type: an array, dtype or Python number is needed, got {type(x).__name__}")
        kind = 0 if isinstance(x, bool) else 1 if isinstance(x, int) else 2 if isinstance(x, float) else 3
        if kind > category(found):
            found = int64 if kind == 1 else get_default_dtype() if kind == 2 else found.to_complex()
    return found


def promoted(*xs: Any) -> list[Any]:
    """Operands as arrays of their common dtype."""
    first = xs[0]
    if isinstance(first, Tensor) and all(isinstance(x, Tensor) and x.dtype is first.dtype for x in xs):
        return list(xs)
    dtype = result_type(*xs)
    return [x.to(dtype) if isinstance(x, Tensor) else ops.full((), x, dtype=dtype) for x in xs]


def astype(x: Tensor, dtype: DType, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """x converted to a dtype; x itself where it has that dtype and copy is False.

    Raises TypeError for complex numbers as real ones.
    """
    if x.dtype.is_complex and not dtype.is_complex:
        raise TypeError(f"astype: {x.dtype} can't become {dtype}; use real(x) or abs(x)")
    return x.to(device=device, dtype=dtype, copy=copy)


def can_cast(from_: DType | Tensor, to: DType, /) -> bool:
    """Whether every value of the first dtype has a place in the second, by the promotion rules.

    >>> from flambeau import array_api as xp
    >>> xp.can_cast(xp.int8, xp.int16), xp.can_cast(xp.float32, xp.int64)
    (True, False)
    """
    dtype = from_.dtype if isinstance(from_, Tensor) else from_
    if dtype is not to and (category(to) < 2 or category(dtype) < 2) and category(dtype) != category(to):
        return False  # the standard mixes real and complex numbers alone
    try:
        return promote_types(dtype, to) is to
    except RuntimeError:
        return False  # uint64 and signed integers have no common dtype


@dataclass(frozen=True, slots=True)
class finfo_object:
    """Limits of a floating dtype."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


@dataclass(frozen=True, slots=True)
class iinfo_object:
    """Limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: DType


def finfo(type: DType | Tensor, /) -> finfo_object:
    """Limits of a floating dtype; for a complex one, those of its parts.

    >>> from flambeau import array_api as xp
    >>> xp.finfo(xp.complex64).eps == 2**-23
    True
    """
    dtype = (type.dtype if isinstance(type, Tensor) else type).to_real()
    f = types.finfo(dtype)
    return finfo_object(f.bits, f.eps, f.max, f.min, f.smallest_normal, dtype)


def iinfo(type: DType | Tensor, /) -> iinfo_object:
    """Limits of an integer dtype.

    >>> from flambeau import array_api as xp
    >>> xp.iinfo(xp.int8).max
    127
    """
    dtype = type.dtype if isinstance(type, Tensor) else type
    i = types.iinfo(dtype)
    return iinfo_object(i.bits, i.max, i.min, dtype)


def isdtype(dtype: DType, kind: DType | str | tuple[DType | str, ...]) -> bool:
    """Whether a dtype is one of those named: a dtype, a kind such as "real floating", or a tuple of both.

    >>> from flambeau import array_api as xp
    >>> xp.isdtype(xp.int8, ("bool", "signed integer")), xp.isdtype(xp.float32, "integral")
    (True, False)
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, DType):
        return dtype is kind
    if kind not in KINDS:
        raise ValueError(f"isdtype: kind must be a dtype or one of {sorted(KINDS)}, got {kind!r}")
    if kind == "real floating":
        return dtype.is_floating_point  # float16 and bfloat16 too, which the standard doesn't name
    return dtype in KINDS[kind] or (kind == "numeric" and dtype.is_floating_point)
