"""The safetensors file format: eight bytes of header length, a JSON header, then the tensors' bytes without gaps.

All that flambeau writes is in this format, nested state included (`archive.py`). To the header's `__metadata__` it adds
a CRC-32 of the header and one of each tensor; files of other writers have none and are read all the same.
Format: https://huggingface.co/docs/safetensors. Read next: `archive.py`.
"""

from __future__ import annotations

import json
import math
import os
import sys
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from . import atomic
from .tensors import ITEMSIZE, FormatError, Layout, Source, Storage

NAMES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64", "float16": "F16",
    "bfloat16": "BF16", "float32": "F32", "float64": "F64", "complex64": "C64",
    "uint16": "U16", "uint32": "U32", "uint64": "U64",
}  # fmt: skip
DTYPES = {name: dtype for dtype, name in NAMES.items()}
LONGEST_HEADER = 100_000_000
CRC_BLANK = "00000000"


class Entry(NamedTuple):
    """A tensor to be written: its safetensors dtype, shape and bytes (row-major)."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview


def assemble(entries: Mapping[str, Entry], metadata: dict[str, str]) -> list[Any]:
    """The pieces of a file, in order. Widest dtypes come first, so each tensor is aligned to its own element size."""
    if sys.byteorder == "big":
        raise NotImplementedError("save: safetensors holds little-endian numbers and this machine is big-endian")
    order = sorted(entries, key=lambda name: (-ITEMSIZE[DTYPES[entries[name].dtype]], name))
    table: dict[str, Any] = {}
    at = 0
    crcs = {}
    for name in order:
        dtype, shape, data = entries[name]
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + data.nbytes]}
        crcs[name] = zlib.crc32(data)
        at += data.nbytes
    marks = {"flambeau.crc32": json.dumps(crcs), "flambeau.header_crc32": CRC_BLANK}
    text = json.dumps({"__metadata__": {**metadata, **marks}, **table}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 64 + 56)  # with the length's eight bytes, data begins at a multiple of 64
    if len(text) > LONGEST_HEADER:
        raise ValueError(f"save: {len(text)} bytes of names and structure; safetensors allows {LONGEST_HEADER}")
    # The mark stands once in the text: a quote inside any name or value is escaped.
    text = text.replace(HEADER_MARK % CRC_BLANK.encode(), HEADER_MARK % b"%08x" % zlib.crc32(text), 1)
    return [len(text).to_bytes(8, "little"), text, *(entries[name].data for name in order)]


HEADER_MARK = b'"flambeau.header_crc32":"%s"'


def write(file: Any, pieces: list[Any]) -> None:
    if hasattr(file, "write"):
        for piece in pieces:
            file.write(piece)
    else:
        atomic.replace(file, pieces)


class Contents(NamedTuple):
    """A file's header: metadata, and for each tensor its shape and where its bytes lie."""

    metadata: dict[str, str]
    tensors: dict[str, tuple[str, tuple[int, ...], Storage]]

    def tensor(self, name: str) -> Any:
        dtype, shape, storage = self.tensors[name]
        if dtype not in DTYPES:
            raise storage.source.error(f"{name!r} has dtype {dtype}, which flambeau has no counterpart of")
        return storage.tensor(Layout(DTYPES[dtype], 0, shape, row_major(shape)), repr(name))


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def looks_like(start: bytes, size: int) -> bool:
    return len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size


def read(source: Source) -> Contents:
    """Checks the header against the format and the file's size; no tensor's bytes are read yet."""
    length = int.from_bytes(source.read(0, 8), "little")
    if length > LONGEST_HEADER or length > source.size - 8:
        raise source.error(f"truncated or not a safetensors file: a header of {length} bytes in {source.size}")
    text = source.read(8, length)
    try:
        header = json.loads(text, object_pairs_hook=without_duplicates)
    except (ValueError, RecursionError) as error:
        raise source.error(f"the header isn't valid JSON: {error}") from None
    if not isinstance(header, dict):
        raise source.error("the header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise source.error("__metadata__ must map strings to strings")
    crcs = check_marks(source, text, metadata)
    tensors = {}
    ranges = []
    for name, entry in header.items():
        dtype, shape, begin, end = fields(source, name, entry)
        tensors[name] = (dtype, shape, Storage(source, 8 + length + begin, end - begin, crcs.get(name)))
        ranges.append((begin, end))
    at = 0
    for begin, end in sorted(ranges):
        if begin != at:
            raise source.error(f"tensors overlap or leave a gap at byte {at} of the data")
        at = end
    if at != source.size - 8 - length:
        raise source.error(f"truncated or forged: tensors end at byte {at} of {source.size - 8 - length}")
    return Contents(metadata, tensors)


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name appears twice")
    return result


def check_marks(source: Source, text: bytes, metadata: dict[str, str]) -> dict[str, int]:
    mark = metadata.pop("flambeau.header_crc32", None)
    if mark is None:
        if any(key.startswith("flambeau.") for key in metadata):
            raise source.error("the header's checksum is missing: the file is corrupted")
        return {}
    blank = text.replace(HEADER_MARK % mark.encode(), HEADER_MARK % CRC_BLANK.encode(), 1)
    if f"{zlib.crc32(blank):08x}" != mark:
        raise source.error("the header's checksum is wrong: the file is corrupted")
    try:
        return dict(json.loads(metadata.pop("flambeau.crc32")))
    except (KeyError, TypeError, ValueError):
        raise source.error("the table of checksums is malformed") from None


def fields(source: Source, name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        if not isinstance(dtype, str) or not all(type(n) is int and 0 <= n < 2**63 for n in (*shape, begin, end)):
            raise ValueError
    except (TypeError, KeyError, ValueError):
        raise source.error(f"the header's entry for {name!r} is malformed: {str(entry)[:200]}") from None
    source.within(begin, end - begin)
    known = DTYPES.get(dtype)
    if known and math.prod(shape) * ITEMSIZE[known] != end - begin:
        raise source.error(f"{name!r} of shape {shape} and dtype {dtype} can't have {end - begin} bytes")
    return dtype, shape, begin, end


def save_file(tensors: Mapping[str, Any], path: str | os.PathLike, metadata: Mapping[str, str] | None = None) -> None:
    """Writes a flat dict of tensors as .safetensors, each in full and row-major.

    >>> import tempfile
    >>> from flambeau.serialization.safetensors import load_file, save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file({"w": fb.ones(2)}, f"{folder}/w.safetensors")
    ...     load_file(f"{folder}/w.safetensors")
    {'w': tensor([1., 1.])}
    """
    from .archive import flat_entries

    write(path, assemble(flat_entries(tensors), {"format": "pt", **(metadata or {})}))


def load_file(path: str | os.PathLike, mmap: bool = False) -> dict[str, Any]:
    """The tensors of a .safetensors file by name."""
    with Source(path, mmap) as source:
        contents = read(source)
        return {name: contents.tensor(name) for name in contents.tensors}


__all__ = ["FormatError", "load_file", "save_file"]
