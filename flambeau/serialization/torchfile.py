"""Writes files that PyTorch's `torch.load` reads: an uncompressed zip of a pickle and the storages it names.

The pickle names PyTorch's own functions (`torch._utils._rebuild_tensor_v2`), so nothing of flambeau is needed to read
tensors, numbers, strings and containers; other objects are pickled by reference, and PyTorch asks for
weights_only=False before it reads those. Views of one storage share it again. Read next: `pytorch.py`, which reads.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from typing import Any

from . import tensors as access
from .pytorch import STORAGES

STORAGE_OF = {dtype: name for name, dtype in reversed(STORAGES.items())}
ALIGNMENT = 64


class Global:
    """A name of PyTorch's, pickled as such."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self, *args: Any) -> Any:
        raise AssertionError("stands for a function of PyTorch's")


class LayoutName:
    """A sparse layout, by its name."""

    def __init__(self, name: str) -> None:
        self.name = f"torch.{name}"


class StoredAs:
    """A storage under its key in the file."""

    def __init__(self, dtype: str, key: str, numel: int) -> None:
        self.id = ("storage", Global("torch", STORAGE_OF[dtype]), key, "cpu", numel)


REBUILD_TENSOR = Global("torch._utils", "_rebuild_tensor_v2")
REBUILD_PARAMETER = Global("torch._utils", "_rebuild_parameter")
REBUILD_SPARSE = Global("torch._utils", "_rebuild_sparse_tensor")
LAYOUT, DEVICE, SIZE = Global("torch.serialization", "_get_layout"), Global("torch", "device"), Global("torch", "Size")


PythonPickler: Any = pickle._Pickler  # type: ignore[attr-defined]


class Pickler(PythonPickler):
    """Python's own pickler (the one in C can't write names of modules that aren't there)."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, protocol=2)
        self.storages: dict[tuple[int, str], StoredAs] = {}
        self.data: list[Any] = []
        self.kept: list[Any] = []  # tensors made on the way, so that no two have one address

    def persistent_id(self, obj: Any) -> Any:
        return obj.id if isinstance(obj, StoredAs) else None

    def reducer_override(self, obj: Any) -> Any:
        import flambeau as fb

        if isinstance(obj, Global):
            return obj.name
        if isinstance(obj, LayoutName):
            return LAYOUT, (obj.name,)
        if isinstance(obj, fb.dtype):
            return access.dtype_name(obj)
        if isinstance(obj, fb.device):
            return DEVICE, (obj.type,) if obj.index is None else (obj.type, obj.index)
        if isinstance(obj, fb.Size):
            return SIZE, (tuple(obj),)
        if not access.is_tensor(obj):
            return NotImplemented
        if type(obj).__name__ == "Parameter":
            return REBUILD_PARAMETER, (obj.data, obj.requires_grad, OrderedDict())
        if obj.layout in access.SPARSE:
            return REBUILD_SPARSE, self.sparse(obj)
        return REBUILD_TENSOR, self.tensor(obj)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        import flambeau as fb

        if isinstance(obj, Global):
            module, name = obj.module, obj.name
        elif isinstance(obj, fb.dtype):
            module = "torch"
        else:
            super().save_global(obj, name)
            return
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    def tensor(self, obj: Any) -> tuple:
        if obj.requires_grad and not obj.is_leaf:
            obj = obj.detach().requires_grad_()
        t = access.on_cpu(obj)
        layout = access.layout(t, "a tensor")
        self.kept.append(t)
        key = access.storage_key(t), layout.dtype
        if key not in self.storages:
            data = access.storage_bytes(t)
            numel = len(data) // access.ITEMSIZE[layout.dtype]
            self.storages[key] = StoredAs(layout.dtype, str(len(self.data)), numel)
            self.data.append(data[: numel * access.ITEMSIZE[layout.dtype]])
        # No hooks: what they close over can't be stored.
        where = self.storages[key], layout.offset, layout.shape, layout.stride
        return (*where, bool(obj.requires_grad), OrderedDict())

    def sparse(self, t: Any) -> tuple:
        """(layout, parts): indices, values, size, coalesced; or pointers, indices, values, size where compressed."""
        layout, indices, size, coalesced, values, _ = access.sparse_parts(t)
        end = (tuple(size), bool(coalesced)) if layout == "sparse_coo" else (tuple(size),)
        return LayoutName(layout), (*indices, values, *end)


class Pieces(io.RawIOBase):
    """The file that zipfile writes, kept as pieces; a header that it goes back to replaces the one before."""

    def __init__(self) -> None:
        self.pieces: list[Any] = []
        self.starts: dict[int, int] = {}
        self.at = self.end = 0

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.end)[whence]
        return self.at

    def write(self, data: Any) -> int:
        n = len(data)
        if self.at == self.end:
            self.starts[self.at] = len(self.pieces)
            self.pieces.append(data)
            self.end += n
        else:
            index = self.starts[self.at]
            assert len(self.pieces[index]) == n, "a header is replaced by one of its length"
            self.pieces[index] = data
        self.at += n
        return n


def assemble(obj: Any, name: str = "archive") -> list[Any]:
    """The pieces of a file that holds obj."""
    file, out = io.BytesIO(), Pieces()
    pickler = Pickler(file)
    try:
        pickler.dump(obj)
    except (pickle.PicklingError, AttributeError) as error:
        raise TypeError(f"save: {error}; save a module's state_dict()") from error
    records: list[tuple[str, Any]] = [("data.pkl", file.getvalue()), ("byteorder", sys.byteorder.encode())]
    records += [(f"data/{i}", data) for i, data in enumerate(pickler.data)] + [("version", b"3\n")]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for record, data in records:
            info = zipfile.ZipInfo(f"{name}/{record}")
            gap = -(out.tell() + 34 + len(info.filename)) % ALIGNMENT
            info.extra = struct.pack("<HH", 0x4246, gap) + b"Z" * gap
            archive.writestr(info, data)
    return out.pieces
