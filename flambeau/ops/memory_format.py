"""Memory formats: in which order the dimensions of images and volumes stand in memory.

They say where elements are and nothing else: results are the same in each. Imports core and `basic.py`.
"""

from __future__ import annotations

from typing import Any

from ..core import _core
from ..core._core import Tensor
from .basic import contiguous_strides, laid_out

__all__ = ["channels_last", "channels_last_3d", "contiguous_format", "memory_format", "preserve_format"]


class memory_format(str):
    """The type of `contiguous_format`, `preserve_format`, `channels_last` and `channels_last_3d`.

    >>> isinstance(fb.channels_last, fb.memory_format)
    True
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{_core.package_name()}.{self}"


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")

# Format -> dimensions from the outermost in memory to the innermost.
ORDERS = {channels_last: (0, 2, 3, 1), channels_last_3d: (0, 2, 3, 4, 1)}


def strides_in(shape: Any, format: str) -> tuple[int, ...]:
    """The strides of a dense tensor in the format. Raises RuntimeError where it has another number of dimensions."""
    if format == contiguous_format:
        return contiguous_strides(shape)
    if format not in ORDERS:
        raise RuntimeError(f"memory_format: expected one of {contiguous_format!r} and {list(ORDERS)}, got {format!r}")
    order = ORDERS[memory_format(format)]
    if len(shape) != len(order):
        raise RuntimeError(
            f"memory_format: required rank {len(order)} tensor to use {format} format, got shape {list(shape)}"
        )
    inner = contiguous_strides([shape[d] for d in order])
    strides = [0] * len(order)
    for d, stride in zip(order, inner, strict=True):
        strides[d] = stride
    return tuple(strides)


def is_in(x: Tensor, format: str) -> bool:
    """Whether x is dense in the format; the stride of a dimension of size 1 says nothing."""
    if format == preserve_format:
        raise RuntimeError("is_contiguous: preserve_format is no order of dimensions; ask for another one")
    if format in ORDERS and x.ndim != len(ORDERS[memory_format(format)]):
        return False
    return all(a == b or n == 1 for a, b, n in zip(x.stride(), strides_in(x.shape, format), x.shape, strict=True))


def brought(x: Tensor, format: str) -> Tensor:
    """x itself if it is in the format, else a copy that is."""
    strides = strides_in(x.shape, format)
    return x if is_in(x, format) else laid_out(x, strides)


_core.set_hook("is_contiguous", is_in)
_core.set_hook("to_memory_format", brought)
