"""Reads the checkpoints PyTorch writes: zip archives (1.6 and later) and the older sequence of pickles.

A zip holds `data.pkl`, read by our own `pickles.py`, and each storage's bytes in `data/<key>`. Storages are looked up
in the archive's own directory, so a key is never a path. Entries must be uncompressed, as PyTorch writes them, and must
not overlap; so what is read is never larger than the file. Read next: `tensors.py`, how a storage becomes tensors.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from . import trusted
from .archive import device, dtype, finish, size
from .pickles import Name, Unpickler
from .tensors import ITEMSIZE, FormatError, Layout, Source, Storage

STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "ByteStorage": "uint8", "CharStorage": "int8", "ShortStorage": "int16", "IntStorage": "int32",
    "LongStorage": "int64", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}  # fmt: skip
SYNONYMS = {"half": "float16", "float": "float32", "double": "float64", "short": "int16", "int": "int32"}
SYNONYMS |= {"long": "int64", "cfloat": "complex64", "cdouble": "complex128"}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


class StorageView(NamedTuple):
    """A typed window into a storage, as a persistent id names it; `begin` counts bytes."""

    storage: Storage
    dtype: str
    begin: int


def rebuild(where: str) -> Callable[..., Any]:
    def tensor(view: Any, offset: Any, shape: Any, stride: Any, requires_grad: Any = False, *rest: Any) -> Any:
        kind = rest[1] if len(rest) > 1 else None
        if not isinstance(view, StorageView) or type(offset) is not int:
            raise ValueError("a tensor isn't built from a storage and an offset")
        name = str(kind).rpartition(".")[2] if kind is not None else view.dtype
        start = offset + view.begin // ITEMSIZE[name]
        t = view.storage.tensor(Layout(name, start, tuple(shape), tuple(stride)), where)
        return finish(t, parameter=False, requires_grad=requires_grad is True)

    return tensor


def parameter(t: Any, requires_grad: Any = True, *_: Any) -> Any:
    from .tensors import is_tensor

    if not is_tensor(t):
        raise ValueError("a parameter isn't built from a tensor")
    return finish(t, parameter=True, requires_grad=requires_grad is True)


def sparse(layout: Any, parts: Any) -> Any:
    """A sparse tensor of (indices, values, size, coalesced), or (pointers, indices, values, size) where compressed."""
    from .tensors import SPARSE, is_tensor, sparse_tensor

    layout = str(layout).rpartition(".")[2]
    coo = layout == "sparse_coo"
    tensors, (size, *rest) = (parts[:2], parts[2:]) if coo else (parts[:3], parts[3:])
    if layout not in SPARSE or not all(is_tensor(t) for t in tensors):
        raise ValueError(f"a sparse tensor isn't built from these parts, or has the layout {layout!r}")
    return sparse_tensor(layout, tuple(tensors[:-1]), tuple(size), coo and bool(rest and rest[0]), tensors[-1], False)


def quantised(*_: Any) -> Any:
    raise FormatError("load: the file has quantised tensors, which flambeau hasn't got; save x.dequantize() instead")


def encode_bytes(text: Any, encoding: Any) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def small_size(shape: Any = ()) -> Any:
    if type(shape) not in (tuple, list) or not all(type(n) is int for n in shape):
        raise ValueError("torch.Size isn't built from integers")
    return size(list(shape))


def ordered(pairs: Any = ()) -> OrderedDict:
    return OrderedDict((k, v) for k, v in pairs if isinstance(k, str | int))


def counter(counts: Any = ()) -> Counter:
    return Counter({k: n for k, n in dict(counts).items() if isinstance(k, str | int) and isinstance(n, int)})


def elements(items: Any = ()) -> set:
    if not all(isinstance(x, str | int | float) for x in items):
        raise ValueError("a set of other things than numbers and strings")
    return set(items)


def names(where: str) -> dict[str, Name]:
    """All that a pickle of PyTorch's may name, with what the program vouches for."""
    calls: dict[str, Callable[..., Any]] = {
        "torch._utils._rebuild_tensor_v2": rebuild(where),
        "torch._utils._rebuild_tensor": rebuild(where),
        "torch._utils._rebuild_tensor_v3": rebuild(where),
        "torch._utils._rebuild_parameter": parameter,
        "torch._utils._rebuild_parameter_with_state": parameter,
        "torch._utils._rebuild_sparse_tensor": sparse,
        "torch._utils._rebuild_qtensor": quantised,
        "torch.serialization._get_layout": str,
        "torch.Size": small_size,
        "torch.device": lambda *parts: device(":".join(map(str, parts))),
        "collections.OrderedDict": ordered,
        "collections.Counter": counter,
        "builtins.set": elements,
        "builtins.complex": lambda *parts: complex(*(float(x) for x in parts)),
        "builtins.bytearray": lambda data=b"": bytearray(data if isinstance(data, bytes) else b""),
        "_codecs.encode": encode_bytes,
    }
    table = {path: Name(path, call) for path, call in calls.items()}
    for path in [path for path in table if path.startswith("builtins.")]:
        table[path.replace("builtins", "__builtin__")] = table[path]
    for storage, kind in STORAGES.items():
        table[f"torch.{storage}"] = table[f"torch.storage.{storage}"] = Name(
            f"torch.{storage}", value=("storage", kind)
        )
    for name in [*ITEMSIZE, *SYNONYMS]:
        table[f"torch.{name}"] = Name(f"torch.{name}", value=dtype(SYNONYMS.get(name, name)))
    return trusted.names() | table


class Locations:
    """What map_location says about where a storage was: everything ends on the CPU, or there is an error."""

    def __init__(self, map_location: Any, where: str) -> None:
        self.map, self.where = map_location, where

    def check(self, location: Any) -> None:
        target = location
        if isinstance(self.map, dict):
            target = self.map.get(location, location)
        elif callable(self.map):
            target = "cpu"
        elif self.map is not None:
            target = str(self.map)
        if str(target).partition(":")[0] not in ("cpu", "meta"):
            raise RuntimeError(
                f"load: {self.where}: a tensor was saved on {str(location)[:20]!r} and would go to "
                f"{str(target)[:20]!r}, which isn't available; pass map_location='cpu'"
            )


def storage_id(pid: Any) -> tuple[str, str, Any, int, Any]:
    """(dtype, key, location, number of elements, view) of a checked persistent id."""
    if type(pid) is not tuple or len(pid) < 5 or pid[0] != "storage":
        raise FormatError(f"load: a persistent id that is no storage: {str(pid)[:80]}")
    _, kind, key, location, numel = pid[:5]
    if (
        type(kind) is not tuple
        or kind[0] != "storage"
        or not isinstance(key, str)
        or type(numel) is not int
        or numel < 0
    ):
        raise FormatError(f"load: a malformed storage: {str(pid)[:80]}")
    return kind[1], key, location, numel, pid[5] if len(pid) > 5 else None


class Trusted(pickle.Unpickler):
    """Python's own unpickler, for files that the user trusts: torch's names are found in flambeau."""

    def __init__(self, data: bytes, table: dict[str, Name], persistent: Callable[[Any], Any], at: int = 0) -> None:
        self.file = io.BytesIO(data)
        self.file.seek(at)
        super().__init__(self.file)
        self.table, self.persistent = table, persistent

    def persistent_load(self, pid: Any) -> Any:
        return self.persistent(pid)

    def find_class(self, module: str, name: str) -> Any:
        known = self.table.get(f"{module}.{name}")
        if known is not None:
            return known.value if known.call is None else known.call
        root, _, rest = module.partition(".")
        if root == "torch":
            module = f"flambeau.{rest}" if rest else "flambeau"
        return super().find_class(module, name)


def load_zip(source: Source, map_location: Any = None, trusted: bool = False) -> Any:
    directory = ZipDirectory(source)
    swap = directory.text("byteorder", "little") != sys.byteorder
    version = directory.text("version", directory.text(".format_version", "1"))
    if not version.strip().isdigit():
        raise source.error(f"unknown version {version[:20]!r}")
    if "constants.pkl" in directory.entries or "data.pkl" not in directory.entries:
        kind = "a TorchScript program" if "constants.pkl" in directory.entries else "no checkpoint: data.pkl is missing"
        raise source.error(f"{kind}; save the module's state_dict() with torch.save")
    storages: dict[str, Storage] = {}
    locations = Locations(map_location, source.name)

    def persistent(pid: Any) -> StorageView:
        kind, key, location, numel, _ = storage_id(pid)
        locations.check(location)
        if key not in storages:
            entry = directory.entries.get(f"data/{key}")
            if entry is None:
                raise source.error(f"storage {key[:40]!r} is missing")
            width = ITEMSIZE[kind] // 2 if kind.startswith("complex") else ITEMSIZE[kind]
            storages[key] = Storage(source, entry.offset, entry.nbytes, entry.crc, width if swap else 1)
        if numel * ITEMSIZE[kind] > storages[key].nbytes:
            raise source.error(f"storage {key[:40]!r} of {numel} {kind} has only {storages[key].nbytes} bytes")
        return StorageView(storages[key], kind, 0)

    data = directory.read("data.pkl")
    if trusted:
        return Trusted(data, names(source.name), persistent).load()
    return Unpickler(data, names(source.name), persistent, source.name).load()


class ZipEntry(NamedTuple):
    offset: int
    nbytes: int
    crc: int | None


class ZipDirectory:
    """The entries of an uncompressed zip by name without the top folder, and where their bytes lie."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.entries: dict[str, ZipEntry] = {}
        try:
            with zipfile.ZipFile(SourceFile(source)) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
            raise source.error(f"truncated or corrupted zip: {error}") from None
        end = 0
        for info in sorted(infos, key=lambda i: i.header_offset):
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
                raise source.error(f"{info.filename[:80]!r} is compressed or encrypted, which PyTorch never does")
            header = source.read(info.header_offset, 30)
            if header[:4] != b"PK\3\4" or info.header_offset < end:
                raise source.error(f"{info.filename[:80]!r} overlaps another entry or has no header: a forged zip")
            offset = info.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
            end = offset + info.file_size
            source.within(offset, info.file_size)
            name = info.filename.partition("/")[2]
            if name in self.entries:
                raise source.error(f"{info.filename[:80]!r} is there twice")
            self.entries[name] = ZipEntry(offset, info.file_size, info.CRC or None)

    def read(self, name: str) -> bytes:
        entry = self.entries[name]
        data = self.source.read(entry.offset, entry.nbytes)
        if entry.crc is not None and zlib.crc32(data) != entry.crc:
            raise self.source.error(f"the checksum of {name!r} is wrong: the file is corrupted")
        return data

    def text(self, name: str, default: str) -> str:
        entry = self.entries.get(name)
        return self.read(name).decode("ascii", "replace").strip() if entry and entry.nbytes < 100 else default


class SourceFile(io.RawIOBase):
    """A Source as the seekable file that zipfile wants."""

    def __init__(self, source: Source) -> None:
        self.source, self.at = source, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.source.size)[whence]
        if self.at < 0:
            raise OSError("seek before the start")
        return self.at

    def tell(self) -> int:
        return self.at

    def read(self, n: int = -1) -> bytes:
        left = max(self.source.size - self.at, 0)
        piece = self.source.read(self.at, left if n is None or n < 0 else min(n, left)) if left else b""
        self.at += len(piece)
        return piece


def load_legacy(source: Source, map_location: Any = None, trusted: bool = False) -> Any:
    """Five pickles (magic number, protocol, system, object, storage keys), then for each key its length and bytes.

    Storages come after the object that needs them, so the object is read twice: once for their sizes, once to build.
    """
    data = source.read(0, source.size)
    sizes: dict[str, tuple[str, int]] = {}
    locations = Locations(map_location, source.name)

    def note(pid: Any) -> StorageView:
        kind, key, location, numel, _ = storage_id(pid)
        locations.check(location)
        sizes[key] = (kind, numel)
        return StorageView(blank, kind, 0)

    blank = Storage(source, 0, 0)
    ignored = {path: Name(path, ignore, name.value) for path, name in names(source.name).items()}
    ignored["torch.device"] = ignored["torch.Size"] = Name("", ignore)
    ignored |= {p: Name(p, Blank, Blank, n.vouched) for p, n in names(source.name).items() if n.vouched}
    ignored |= {p: n for p, n in names(source.name).items() if p.startswith(("collections.", "_codecs."))}

    def unpickle(at: int, table: dict[str, Name] = {}, persistent: Callable = storage_id) -> tuple[Any, int]:  # noqa: B006
        reader = Unpickler(data, table, persistent, source.name, at)
        return reader.load(), reader.at

    magic, at = unpickle(0)
    if magic != LEGACY_MAGIC:
        raise source.error("a pickle, but none of PyTorch's")
    _, at = unpickle(at)
    system, at = unpickle(at)
    start = at
    try:
        _, at = unpickle(at, ignored, note)
    except FormatError as error:
        if not trusted:
            raise
        raise source.error(
            "whole pickled objects are read from PyTorch's present format only; save it again with PyTorch 1.6 or later"
        ) from error
    keys, at = unpickle(at)
    if type(keys) is not list or not set(map(str, keys)) <= set(sizes):
        raise source.error("the list of storages doesn't match the object")
    swap = isinstance(system, dict) and system.get("little_endian") is False
    storages = {}
    for key in keys:
        kind, numel = sizes[key]
        if int.from_bytes(source.read(at, 8), "big" if swap else "little") != numel:
            raise source.error(f"storage {key[:40]!r} hasn't the size that the object names")
        width = ITEMSIZE[kind] // 2 if kind.startswith("complex") else ITEMSIZE[kind]
        storages[key] = Storage(source, at + 8, numel * ITEMSIZE[kind], None, width if swap else 1)
        at += 8 + numel * ITEMSIZE[kind]

    def persistent(pid: Any) -> StorageView:
        kind, key, _, _, view = storage_id(pid)
        if key not in storages:
            raise source.error(f"storage {key[:40]!r} is missing")
        begin = view[1] * ITEMSIZE[kind] if type(view) is tuple and type(view[1]) is int else 0
        return StorageView(storages[key], kind, begin)

    if trusted:
        return Trusted(data, names(source.name), persistent, start).load()
    return unpickle(start, names(source.name), persistent)[0]


def ignore(*_: Any) -> None:
    return None


class Blank:
    """An object that is read only to be passed over."""

    def __new__(cls, *_: Any) -> Blank:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass
