"""The few things serialization needs of tensors: their bytes, their layout, and building them back over given bytes.

Everything else in this package sees names, numbers and byte ranges only. May import flambeau itself, when called.
Read next: `atomic.py` (how bytes reach the disk), `safetensors.py` (the file format), `archive.py` (nested state).
"""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

ITEMSIZE = {
    "bool": 1, "uint8": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "float16": 2, "bfloat16": 2,
    "float32": 4, "float64": 8, "complex64": 8, "complex128": 16, "uint16": 2, "uint32": 4, "uint64": 8,
}  # fmt: skip


class FormatError(RuntimeError):
    """A file that isn't what it claims to be: truncated, corrupted, forged, or of a kind that can't be read.

    >>> import io
    >>> try:
    ...     fb.load(io.BytesIO(b"no tensors"))
    ... except fb.serialization.FormatError:
    ...     print("no file of tensors")
    no file of tensors
    """


class Layout(NamedTuple):
    """How a tensor lies in its storage; offset and strides count elements."""

    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def span(self) -> tuple[int, int]:
        """First byte and one past the last byte that the tensor touches."""
        if 0 in self.shape:
            return 0, 0
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        return self.offset * ITEMSIZE[self.dtype], (last + 1) * ITEMSIZE[self.dtype]

    @property
    def contiguous(self) -> bool:
        expected = 1
        for n, s in zip(reversed(self.shape), reversed(self.stride), strict=True):
            if n != 1 and s != expected:
                return False
            expected *= n
        return True

    def check(self, nbytes: int, where: str) -> None:
        """Raises FormatError unless the layout is sane and stays inside a storage of nbytes."""
        numbers = (self.offset, *self.shape, *self.stride)
        if not all(type(n) is int and 0 <= n < 2**63 for n in numbers) or len(self.shape) != len(self.stride):
            raise FormatError(f"{where}: no tensor has offset {self.offset}, shape {self.shape}, stride {self.stride}")
        if len(self.shape) > 64 or math.prod(self.shape) >= 2**63:
            raise FormatError(f"{where}: no tensor has the shape {self.shape}")
        if self.span[1] > nbytes:
            raise FormatError(f"{where}: a tensor of {self.span[1]} bytes in a storage of {nbytes} bytes")


def is_tensor(x: object) -> bool:
    import flambeau as fb

    return isinstance(x, fb.Tensor)


def dtype_name(dtype: object) -> str:
    return str(dtype).rpartition(".")[2]


def dtype_object(name: str) -> Any:
    import flambeau as fb

    return getattr(fb, name)


def layout(t: Any, name: str) -> Layout:
    dtype = dtype_name(t.dtype)
    if dtype not in ITEMSIZE or str(getattr(t, "layout", "strided")).rpartition(".")[2] != "strided":
        raise TypeError(f"save: {name} is a {dtype} tensor of layout {t.layout}; dense and sparse ones can be saved")
    return Layout(dtype, t.storage_offset(), tuple(t.shape), tuple(t.stride()))


SPARSE = ("sparse_coo", "sparse_csr", "sparse_csc")


def sparse_parts(t: Any) -> tuple[Any, ...]:
    """Layout, index tensors, size, whether coalesced, values, whether it wants a gradient: what a sparse tensor is."""
    return t.__reduce_ex__(2)[1]


def sparse_tensor(*parts: Any) -> Any:
    """The tensor of such parts, which are checked: indices out of bounds raise RuntimeError."""
    from flambeau.sparse.tensor import rebuilt

    return rebuilt(*parts)


def memory(owner: Any, address: int, nbytes: int) -> memoryview:
    """The memory at an address as writable bytes, keeping its owner alive."""
    import ctypes

    if nbytes == 0:
        return memoryview(b"")
    array: Any = (ctypes.c_char * nbytes).from_address(address)
    array.owner = owner
    return memoryview(array).cast("B")


def on_cpu(t: Any) -> Any:
    return t.detach().cpu()


def storage_key(t: Any) -> int:
    return t.untyped_storage().data_ptr()


def storage_bytes(t: Any) -> memoryview:
    storage = t.untyped_storage()
    return memory(storage, storage.data_ptr(), storage.nbytes())


class Source:
    """A file, or bytes, to read ranges of, each checked against the size.

    mapped: storages become views of a private mapping of the file. Pages are then read when touched, and writes to
    the tensors never reach the file; a file that is cut short meanwhile ends the process, as with any mapping.
    """

    def __init__(self, file: str | os.PathLike | Any, mapped: bool = False) -> None:
        self.name = "the file"
        self.data: Any = None
        self.fd = -1
        if hasattr(file, "read"):
            if mapped:
                raise ValueError("load: mmap=True needs a path, got an open file; pass its name")
            self.data = file.read()
            if not isinstance(self.data, bytes | bytearray | memoryview):
                raise TypeError("load: the file is open in text mode; open it with mode 'rb'")
            self.size = len(self.data)
            return
        self.name = os.fspath(file)
        self.fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self.fd).st_size
        if mapped and self.size:
            import mmap

            self.data = mmap.mmap(self.fd, self.size, access=mmap.ACCESS_COPY)
        self.mapped = mapped and self.size > 0

    mapped = False

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def error(self, what: str) -> FormatError:
        return FormatError(f"load: {self.name}: {what}")

    def within(self, offset: int, nbytes: int) -> None:
        if offset < 0 or nbytes < 0 or offset + nbytes > self.size:
            end = offset + nbytes
            raise self.error(f"truncated or forged: bytes {offset} to {end} are wanted, the file has {self.size}")

    def read(self, offset: int, nbytes: int) -> bytes:
        self.within(offset, nbytes)
        if self.data is not None:
            return bytes(self.data[offset : offset + nbytes])
        into = bytearray(nbytes)
        self.read_into(offset, memoryview(into))
        return bytes(into)

    def read_into(self, offset: int, into: memoryview) -> None:
        self.within(offset, len(into))
        if self.data is not None:
            into[:] = memoryview(self.data)[offset : offset + len(into)]
            return
        done = 0
        while done < len(into):
            n = os.preadv(self.fd, [into[done : done + (1 << 30)]], offset + done)
            if n == 0:
                raise self.error(f"truncated while it was read, at byte {offset + done}")
            done += n


class Storage:
    """One stretch of a source's bytes that tensors are views of; read when the first of them is built."""

    def __init__(self, source: Source, offset: int, nbytes: int, crc: int | None = None, swap: int = 1) -> None:
        source.within(offset, nbytes)
        self.source, self.offset, self.nbytes, self.crc = source, offset, nbytes, crc
        self.swap = swap  # bytes per number, to be reversed: the file comes from a machine of the other byte order
        self.bases: dict[str, Any] = {}
        self.copied = False

    def tensor(self, view: Layout, where: str) -> Any:
        """The tensor of this layout; all tensors of one Storage share their memory."""
        view.check(self.nbytes, where)
        if 0 in view.shape:
            import flambeau as fb

            return fb.empty(view.shape, dtype=dtype_object(view.dtype))
        base = self.bases.get(view.dtype)
        if base is None:
            base = self.bases[view.dtype] = self.materialize(view.dtype)
        return base.as_strided(view.shape, view.stride, view.offset)

    def materialize(self, dtype: str) -> Any:
        import flambeau as fb

        size, kind = ITEMSIZE[dtype], dtype_object(dtype)
        aligned = self.offset % size == 0
        if self.source.mapped and self.swap == 1 and aligned and not self.copied:
            return fb.frombuffer(self.source.data, dtype=kind, count=self.nbytes // size, offset=self.offset)
        for base in self.bases.values():
            if not self.copied:
                raise self.source.error(f"byte {self.offset} is no place for {dtype}; load it without mmap=True")
            return base.view(kind)
        self.copied = True
        # Rounded up, so that it can be viewed as any dtype.
        base = fb.empty(((self.nbytes + 15) // 16 * (16 // size),), dtype=kind)
        into = memory(base, base.data_ptr(), self.nbytes)
        self.source.read_into(self.offset, into)
        if self.crc is not None:
            import zlib

            if zlib.crc32(into) != self.crc:
                raise self.source.error(f"the checksum of bytes {self.offset} to {self.offset + self.nbytes} is wrong")
        for i in range(self.swap // 2):
            left, right = into[i :: self.swap], into[self.swap - 1 - i :: self.swap]
            into[i :: self.swap], into[self.swap - 1 - i :: self.swap] = bytes(right), bytes(left)
        return base
