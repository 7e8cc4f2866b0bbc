"""Objects laid out in a block of bytes: the arrays and tensors they hold as they are, the rest as a small pickle.

A block holds, in 8-byte integers, the number of parts and each part's offset and size; then the parts, each at a
multiple of 64: the pickle, and after it the elements of one array or tensor each. What is unpacked views the block.
Imports core. Read next: `cargo.py` (what a worker is started with), `utils/data/processes.py` (batches in a ring).
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from typing import Any

from ..core import _core
from ..core._core import DTYPES, DType, Tensor

ALIGNMENT = 64
BYTE = DTYPES[1]


def flat(x: Tensor) -> tuple[Any, ...]:
    """How a parcel's pickle sees a tensor: a buffer that lies elsewhere, and how to read it."""
    compact = x.detach().contiguous()
    size = compact.dtype.itemsize
    bytes_of = _core.raw_view(compact, BYTE, (x.numel() * size,), (1,), compact.storage_offset() * size)
    return unflat, (pickle.PickleBuffer(bytes_of), x.dtype, tuple(x.shape), x.is_leaf and x.requires_grad, x.__dict__)


def unflat(buffer: Any, dtype: DType, shape: tuple[int, ...], requires_grad: bool, attributes: dict) -> Tensor:
    """The tensor that `flat` took apart, over the buffer's memory."""
    bytes_of, _ = _core.from_buffer(buffer)
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    x = _core.raw_view(bytes_of, dtype, shape, strides, 0)
    if attributes:
        x.__dict__.update(attributes)
    return x.requires_grad_() if requires_grad else x


class Pickler(pickle.Pickler):
    """A pickler whose tensors are buffers."""

    def reducer_override(self, x: Any) -> Any:
        return flat(x) if type(x) is Tensor else NotImplemented


def taken_apart(x: Any) -> list[memoryview]:
    """The parts of an object: its pickle, and what lies outside of it."""
    stream = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    Pickler(stream, 5, buffer_callback=buffers.append).dump(x)
    return [stream.getbuffer(), *(buffer.raw() for buffer in buffers)]


class Parcel:
    """Parts, and their places in a block of at least `nbytes` bytes."""

    def __init__(self, parts: list[memoryview]) -> None:
        self.parts, self.table = parts, [len(parts)]
        end = 8 + 16 * len(parts)
        for part in parts:
            begin = -(-end // ALIGNMENT) * ALIGNMENT
            self.table += begin, part.nbytes
            end = begin + part.nbytes
        self.nbytes = end

    def write(self, block: memoryview) -> None:
        struct.pack_into(f"={len(self.table)}q", block, 0, *self.table)
        for begin, part in zip(self.table[1::2], self.parts, strict=True):
            block[begin : begin + part.nbytes] = part


def parts_of(block: memoryview) -> list[memoryview]:
    (count,) = struct.unpack_from("=q", block)
    table = struct.unpack_from(f"={2 * count}q", block, 8)
    return [block[begin : begin + size] for begin, size in zip(table[::2], table[1::2], strict=True)]


def unpack(block: memoryview) -> Any:
    """The object in a block. Its tensors and arrays are the block's memory, which they keep alive."""
    stream, *buffers = parts_of(block)
    return pickle.loads(stream, buffers=buffers)
