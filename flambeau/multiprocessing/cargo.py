"""What processes are started with, sent so that all of them hold it once: arrays, tensors and long lists in one block.

The rest (the objects' structure) is pickled for each process as Python's `multiprocessing` does, so that locks, queues
and tensors in shared memory go along. Imports core. Read next: `parcel.py`, `packed.py`.
"""

from __future__ import annotations

import io
import os
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

from ..core import _core
from ..core._core import SharedMemory, Tensor
from .packed import PackedList, packable
from .parcel import Parcel, flat, parts_of


class Pickler(ForkingPickler):
    """A pickler that leaves out what lies in blocks: long lists, and the elements of tensors that aren't shared."""

    def __init__(self, file: Any, buffers: list[pickle.PickleBuffer], packed: dict[int, PackedList]) -> None:
        super().__init__(file, 5, True, buffers.append)
        self.packed = packed

    def reducer_override(self, x: Any) -> Any:
        return flat(x) if type(x) is Tensor and _core.shared_memory(x) is None else NotImplemented

    def persistent_id(self, x: Any) -> Any:
        if type(x) is PackedList and x.changed is None:
            found = x
        elif type(x) is list and (id(x) in self.packed or packable(x)):
            found = self.packed.get(id(x)) or self.packed.setdefault(id(x), PackedList(x))
        else:
            return None
        return found.length, found.memory


class Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> PackedList:
        return PackedList.over(*pid)


class Cargo:
    """An object to give to Process(args=...), any number of times; `unload()` there.

    In each process its arrays and tensors are its own to write to, as if they had been copied; until then all of them
    read the same memory. Tensors in shared memory stay shared.
    """

    def __init__(self, content: Any) -> None:
        self.content = content
        self.packed: dict[int, PackedList] = {}
        self.memory: SharedMemory | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        stream = io.BytesIO()
        buffers: list[pickle.PickleBuffer] = []
        Pickler(stream, buffers, self.packed).dump(self.content)
        if self.memory is None:
            parcel = Parcel([buffer.raw() for buffer in buffers])
            self.memory = SharedMemory(parcel.nbytes)
            parcel.write(memoryview(self.memory))
        return Arrived, (stream.getvalue(), self.memory)


class Arrived:
    """A Cargo in the process it was sent to."""

    def __init__(self, stream: bytes, memory: SharedMemory) -> None:
        self.stream, self.memory = stream, memory

    def unload(self) -> Any:
        """The content, made once; raises what its parts raise when they are made."""
        block = SharedMemory(self.memory.nbytes, os.dup(self.memory.fd), private=True)
        stream, self.stream = self.stream, b""
        return Unpickler(io.BytesIO(stream), buffers=parts_of(memoryview(block))).load()
