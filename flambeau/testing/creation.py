"""`make_tensor`: random tensors of any dtype within bounds, for tests.

Imports the tensor core. Read next: `comparison.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import flambeau as fb
from flambeau import Tensor


def make_tensor(
    *shape: int | Sequence[int], dtype: Any, device: Any, low: float | None = None, high: float | None = None,
    requires_grad: bool = False, noncontiguous: bool = False, exclude_zero: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """A tensor of the shape and dtype with values drawn uniformly from [low, high).

    Args:
        low, high: by default 0 and 2 for bool, 0 and 10 for uint8, -9 and 10 for other integers, -9 and 9 for floating
            and complex dtypes (for each part of a complex number). They are clamped to what the dtype can hold.
        requires_grad: floating and complex dtypes only.
        noncontiguous: every second element of a larger tensor, where there are two or more.
        exclude_zero: zeros become the smallest positive normal number, or one.
        memory_format: of the result; not together with `noncontiguous`.

    Raises:
        ValueError: where low >= high, a bound is NaN or none of the range fits the dtype.

    >>> import flambeau as fb
    >>> x = fb.testing.make_tensor(3, 4, dtype=fb.float32, device="cpu", low=-1, high=1, noncontiguous=True)
    >>> x.shape, x.is_contiguous(), bool((x.abs() <= 1).all())
    (flambeau.Size([3, 4]), False, True)
    """
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    floating = dtype.is_floating_point or dtype.is_complex
    if noncontiguous and memory_format is not None:
        raise ValueError(
            "The parameters `noncontiguous` and `memory_format` are mutually exclusive, "
            f"but got {noncontiguous=} and {memory_format=}"
        )
    if requires_grad and not floating:
        raise ValueError(
            f"`requires_grad=True` is not supported for boolean and integral dtypes, but got dtype={dtype}"
        )
    low, high = _bounds(dtype, low, high)
    spread = noncontiguous and math.prod(sizes) > 1  # type: ignore[arg-type]
    drawn_sizes = (*sizes[:-1], 2 * sizes[-1]) if spread else sizes  # type: ignore[operator]
    if floating:
        drawn = fb.empty(drawn_sizes, device=device, dtype=dtype)
        parts = fb.view_as_real(drawn) if dtype.is_complex else drawn
        if high - low >= fb.finfo(dtype).max:  # a range that the dtype can't hold
            parts.uniform_(low / 2, high / 2).mul_(2)
        else:
            parts.uniform_(low, high)
    else:
        drawn = fb.randint(int(low), int(high), drawn_sizes, device=device, dtype=dtype)
    if spread:
        drawn = drawn[..., ::2]
    elif memory_format is not None:
        drawn = drawn.clone(memory_format=memory_format)
    if exclude_zero:
        drawn[drawn == 0] = fb.finfo(dtype).tiny * (1 + 1j if dtype.is_complex else 1) if floating else 1
    return drawn.requires_grad_() if requires_grad else drawn


def _bounds(dtype: Any, low: float | None, high: float | None) -> tuple[float, float]:
    if dtype == fb.bool:
        lowest, highest, default = 0.0, 2.0, (0, 2)
    elif dtype.is_floating_point or dtype.is_complex:
        lowest, highest, default = fb.finfo(dtype).min, fb.finfo(dtype).max, (-9, 9)
    else:
        # The upper bound is exclusive, but that of int64 can't be passed any higher.
        limits = fb.iinfo(dtype)
        lowest, highest, default = limits.min, limits.max + (dtype != fb.int64), (-9, 10)
    low, high = default[0] if low is None else low, default[1] if high is None else high
    if math.isnan(low) or math.isnan(high):
        raise ValueError(f"`low` and `high` cannot be NaN, but got {low=} and {high=}")
    if low >= high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    if high < lowest or low >= highest:
        raise ValueError(
            f"The value interval specified by `low` and `high` is [{low}, {high}), "
            f"but {dtype} only supports [{lowest}, {highest})"
        )
    low, high = (min(max(bound, lowest), highest) for bound in (low, high))
    return (low, high) if dtype.is_floating_point or dtype.is_complex else (math.ceil(low), math.ceil(high))
