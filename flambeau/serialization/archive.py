"""Nested state in a safetensors file: the tensors' storages are its tensors, their structure is JSON in its metadata.

No pickle: what comes back is made of dict, list, tuple, numbers, strings and tensors, and nothing is ever executed.
JSON has lists, strings, finite numbers, true, false and null; everything else is a one-key object {kind: payload}.
Tensors stand in a table, so a tensor met twice comes back as one, and views of one storage share it again. Only the
stretch of a storage that saved tensors touch is written. Read next: `pickles.py`, `pytorch.py` (PyTorch's files).
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from . import tensors as access
from .safetensors import NAMES, Contents, Entry, row_major
from .tensors import ITEMSIZE, Layout, Source

VERSION = 1
DEEPEST = 100
PLACES = {Counter: "counter", OrderedDict: "ordered", dict: "dict"}


def flat_entries(state: Mapping[str, Any]) -> dict[str, Entry]:
    """A flat dict of tensors as safetensors entries of their own names."""
    entries = {}
    for name, t in state.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise TypeError(f"save: .safetensors names are strings, and not '__metadata__'; got {name!r}")
        if not access.is_tensor(t):
            raise TypeError(
                f"save: .safetensors holds a flat dict of tensors, and [{name!r}] is a {type(t).__name__}; "
                "another suffix, such as .pt, takes nested state"
            )
        t = access.on_cpu(t).contiguous()
        layout = access.layout(t, repr(name))
        if layout.dtype not in NAMES:
            raise TypeError(
                f"save: safetensors has no {layout.dtype} ({name!r}); another suffix, such as .pt, takes it"
            )
        begin, end = layout.span
        entries[name] = Entry(NAMES[layout.dtype], layout.shape, access.storage_bytes(t)[begin:end])
    return entries


class Writer:
    """Turns an object into the tree and collects the tensors it meets."""

    def __init__(self) -> None:
        self.tensors: list[tuple[Any, Any, Layout, bool, bool]] = []
        self.known: dict[int, int] = {}
        self.open: set[int] = set()

    def tree(self, x: Any, where: str, depth: int = 0) -> Any:
        import flambeau as fb

        kind = type(x)
        if x is None or kind is bool or kind is str:
            return x
        if kind is int:
            return x if -(2**63) <= x < 2**63 else {"int": hex(x)}
        if kind is float:
            return x if math.isfinite(x) else {"float": repr(x)}
        if access.is_tensor(x) and x.layout in access.SPARSE:
            layout, *parts = access.sparse_parts(x)
            return {"sparse": [layout, *(self.tree(part, where, depth) for part in parts)]}
        if access.is_tensor(x):
            return {"tensor": self.tensor(x, where)}
        if kind in ENCODE:
            return {ENCODE[kind][0]: ENCODE[kind][1](x)}
        if isinstance(x, fb.dtype):
            return {"dtype": access.dtype_name(x)}
        if isinstance(x, fb.device):
            return {"device": str(x)}
        if kind.__module__ == "numpy" and hasattr(x, "item") and getattr(x, "ndim", 1) == 0:
            return self.tree(x.item(), where, depth)
        if depth == DEEPEST or id(x) in self.open:
            what = "contains itself" if id(x) in self.open else f"is nested deeper than {DEEPEST} levels"
            raise ValueError(f"save: obj{where[:200]} {what}")
        self.open.add(id(x))
        try:
            return self.container(x, kind, where, depth + 1)
        finally:
            self.open.discard(id(x))

    def container(self, x: Any, kind: type, where: str, depth: int) -> Any:
        if kind is list:
            return [self.tree(v, f"{where}[{i}]", depth) for i, v in enumerate(x)]
        if kind is tuple or (kind.__name__ == "Size" and isinstance(x, tuple)):
            return {kind.__name__.lower(): [self.tree(v, f"{where}[{i}]", depth) for i, v in enumerate(x)]}
        if kind in (set, frozenset):
            return {kind.__name__: [self.tree(v, f"{where}{{…}}", depth) for v in x]}
        if kind in PLACES or kind is defaultdict:
            pairs = [
                [self.tree(k, f"{where} key", depth), self.tree(v, f"{where}[{k!r}]", depth)] for k, v in x.items()
            ]
            if hasattr(x, "_metadata"):  # a module's state dict: versions of the modules' formats
                return {"state": [pairs, self.tree(x._metadata, f"{where}._metadata", depth)]}
            return {PLACES.get(kind, "dict"): pairs}
        hint = "its state_dict()" if hasattr(x, "state_dict") else "a dict, list, tuple, number, string or tensor"
        raise TypeError(
            f"save: obj{where} is a {kind.__module__}.{kind.__qualname__}, which can't be stored; use {hint}"
        )

    def tensor(self, x: Any, where: str) -> int:
        if id(x) not in self.known:
            self.known[id(x)] = len(self.tensors)
            parameter = type(x).__name__ == "Parameter"
            t = access.on_cpu(x)
            self.tensors.append((x, t, access.layout(t, f"obj{where}"), bool(x.requires_grad), parameter))
        return self.known[id(x)]

    def storages(self) -> tuple[dict[str, Entry], list[Any]]:
        """The storages as entries "0", "1", …, cut to what is used, and the table of tensors that are views of them."""
        groups: dict[int, list[int]] = {}
        for i, (_, t, layout, _, _) in enumerate(self.tensors):
            groups.setdefault(access.storage_key(t) if 0 not in layout.shape else -1 - i, []).append(i)
        entries, table = {}, [None] * len(self.tensors)
        for number, members in enumerate(groups.values()):
            layouts = [self.tensors[i][2] for i in members]
            # Cutting at a multiple of 16 keeps every member's offset a whole number of elements.
            begin = min(layout.span[0] for layout in layouts) // 16 * 16
            end = max(layout.span[1] for layout in layouts)
            data = access.storage_bytes(self.tensors[members[0]][1])[begin:end]
            # The entry has the members' dtype, the widest of them where they differ: so it is aligned for all of them.
            dtype = max((v.dtype for v in layouts), key=lambda name: ITEMSIZE[name])
            dtype = dtype if dtype in NAMES else "float64"
            if len(data) % ITEMSIZE[dtype]:
                data = memoryview(bytes(data) + bytes(-len(data) % ITEMSIZE[dtype]))
            shape = layouts[0].shape
            if layouts != [Layout(dtype, begin // ITEMSIZE[dtype], shape, row_major(shape))]:
                shape = (len(data) // ITEMSIZE[dtype],)
            entries[str(number)] = Entry(NAMES[dtype], shape, data)
            for i, v in zip(members, layouts, strict=True):
                flags = int(self.tensors[i][3]) + 2 * int(self.tensors[i][4])
                offset = 0 if 0 in v.shape else v.offset - begin // ITEMSIZE[v.dtype]
                table[i] = [number, v.dtype, offset, list(v.shape), list(v.stride), flags]  # type: ignore[call-overload]
        return entries, table


ENCODE: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bytes: ("bytes", lambda x: base64.b64encode(x).decode()),
    bytearray: ("bytearray", lambda x: base64.b64encode(x).decode()),
    complex: ("complex", lambda x: [repr(x.real), repr(x.imag)]),
    slice: ("slice", lambda x: [x.start, x.stop, x.step]),
    range: ("range", lambda x: [x.start, x.stop, x.step]),
}


def encode(obj: Any) -> tuple[dict[str, Entry], dict[str, str]]:
    """An object as the entries and metadata of a safetensors file."""
    writer = Writer()
    root = writer.tree(obj, "")
    entries, table = writer.storages()
    tree = json.dumps({"version": VERSION, "tensors": table, "root": root}, separators=(",", ":"), allow_nan=False)
    return entries, {"format": "flambeau", "flambeau.tree": tree}


class Reader:
    """Builds an object from a tree whose every node is checked first."""

    def __init__(self, source: Source, contents: Contents, table: list[Any]) -> None:
        self.source, self.contents, self.table = source, contents, table
        self.built: dict[int, Any] = {}

    def build(self, node: Any) -> Any:
        if node is None or isinstance(node, bool | int | float | str):
            return node
        if isinstance(node, list):
            return [self.build(v) for v in node]
        ((kind, payload),) = node.items()
        if kind in ("dict", "ordered", "counter"):
            make = {"dict": dict, "ordered": OrderedDict, "counter": Counter}[kind]
            return make({self.build(k): self.build(v) for k, v in payload})
        if kind == "state":
            state = self.build({"ordered": payload[0]})
            state._metadata = self.build(payload[1])
            return state
        if kind in ("tuple", "set", "frozenset"):
            return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](self.build(v) for v in payload)
        if kind == "sparse":
            return access.sparse_tensor(payload[0], *(self.build(part) for part in payload[1:]))
        if kind == "tensor":
            if payload not in self.built:
                self.built[payload] = self.tensor(*self.table[payload])
            return self.built[payload]
        return DECODE[kind](payload)

    def tensor(self, number: int, dtype: str, offset: int, shape: list[int], stride: list[int], flags: int) -> Any:
        if dtype not in ITEMSIZE:
            raise self.source.error(f"unknown dtype {dtype!r}")
        storage = self.contents.tensors[str(number)][2]
        t = storage.tensor(Layout(dtype, offset, tuple(shape), tuple(stride)), self.source.name)
        return finish(t, parameter=bool(flags & 2), requires_grad=bool(flags & 1))


def finish(t: Any, parameter: bool, requires_grad: bool) -> Any:
    if parameter:
        import flambeau as fb

        return fb.nn.Parameter(t, requires_grad=requires_grad)
    return t.requires_grad_() if requires_grad else t


def size(shape: list[int]) -> Any:
    import flambeau as fb

    return fb.Size(shape)


def device(name: str) -> Any:
    import flambeau as fb

    return fb.device(name)


def dtype(name: str) -> Any:
    if name not in ITEMSIZE:
        raise ValueError(f"unknown dtype {name!r}")
    return access.dtype_object(name)


DECODE: dict[str, Callable[[Any], Any]] = {
    "int": lambda x: int(x, 16),
    "float": lambda x: {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[x],
    "bytes": lambda x: base64.b64decode(x, validate=True),
    "bytearray": lambda x: bytearray(base64.b64decode(x, validate=True)),
    "complex": lambda x: complex(float(x[0]), float(x[1])),
    "slice": lambda x: slice(*x),
    "range": lambda x: range(*x),
    "size": size,
    "device": device,
    "dtype": dtype,
}


def decode(source: Source, contents: Contents) -> Any:
    try:
        tree = json.loads(contents.metadata["flambeau.tree"])
        if tree["version"] != VERSION:
            raise source.error(
                f"written by a later flambeau (archive version {tree['version']}, this one reads {VERSION})"
            )
        return Reader(source, contents, tree["tensors"]).build(tree["root"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise source.error(f"the archive's structure is malformed: {type(error).__name__}: {error}") from error


__all__ = ["decode", "encode", "flat_entries", "row_major"]
