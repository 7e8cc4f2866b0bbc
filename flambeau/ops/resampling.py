"""Where the positions of a resampled dimension lie among those it is sampled from: nearest, and pairs with a weight.

One kernel each. Imports core, ir and neighbours in ops. Read next: `nn/functional/vision.py`, who asks.
"""

from __future__ import annotations

from typing import Any

from ..core._core import DTYPES, Tensor, launch, new_empty
from ..ir.expr import cast, const, floor, maximum, minimum, var
from ..ir.kernel import Buffer, For, Kernel, Let, Scalar, Store
from .arguments import to
from .primitive import generated

INT64, FLOAT32, FLOAT64 = DTYPES[5], DTYPES[8], DTYPES[9]
GRAIN = 16384
ZERO = const(0, "i64")


@generated
def nearest_kernel() -> Kernel:
    """places[i] = ⌊(i + offset) step⌋ in float32, at most size - 1."""
    i = var("i")
    at = (cast(i, "f32") + cast(var("offset", "f64"), "f32")) * cast(var("step", "f64"), "f32")
    place = minimum(cast(floor(at), "i64"), var("size") - 1)
    loop = For(i, ZERO, var("n"), (Store("places", i, place),), parallel=True, vector=True)
    numbers = (Scalar("offset", "f64"), Scalar("step", "f64"), Scalar("size"), Scalar("n"))
    return Kernel("nearest", (Buffer("places", "i64", "w"), *numbers), (loop,))


@generated
def linear_kernel(dtype: str) -> Kernel:
    """The places before and after max(0, (i + offset) step - offset), and how far from one to the other it lies."""
    i, at, low = var("i"), var("at", "f64"), var("low_place")
    offset, last = var("offset", "f64"), var("size") - 1
    part = minimum(maximum(at - cast(low, "f64"), const(0.0, "f64")), const(1.0, "f64"))
    body = (
        Let(at, maximum((cast(i, "f64") + offset) * var("step", "f64") - offset, const(0.0, "f64"))),
        Let(low, minimum(cast(floor(at), "i64"), last)),
        Store("low", i, low), Store("high", i, minimum(low + 1, last)), Store("part", i, cast(part, dtype)),
    )  # fmt: skip
    outputs = (Buffer("low", "i64", "w"), Buffer("high", "i64", "w"), Buffer("part", dtype, "w"))
    numbers = (Scalar("offset", "f64"), Scalar("step", "f64"), Scalar("size"), Scalar("n"))
    return Kernel("between", (*outputs, *numbers), (For(i, ZERO, var("n"), body, parallel=True, vector=True),))


def nearest_places(n: int, size: int, step: float, offset: float) -> Tensor:
    """Which of `size` elements each of n takes: ⌊(i + offset) step⌋."""
    places = new_empty((n,), INT64)
    launch(nearest_kernel(), (places, float(offset), float(step), size, n), n, GRAIN, n)
    return places


def linear_places(n: int, size: int, step: float, offset: float, dtype: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The two of `size` elements between which each of n lies, and the weight of the second, in `dtype`."""
    low, high = new_empty((n,), INT64), new_empty((n,), INT64)
    part = new_empty((n,), dtype if dtype is FLOAT32 else FLOAT64)
    launch(linear_kernel(part.dtype.ir), (low, high, part, float(offset), float(step), size, n), n, GRAIN, n)
    return low, high, to(part, dtype)
