"""Memory as values: which Value of a graph a tensor holds, while tensors share memory and are written in place.

A block of memory has a root geometry, whose Value is always up to date, and views, each with the way to it from there.
A write through a view makes a new root Value; a view that is read after that is taken again from the new root.
Imports core and ir. Read next: `trace.py`, which records what happens to memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..core import _core
from ..core._core import Tensor
from ..ir.graph import Value

# Where a tensor's elements are within a block: offset in bytes, shape, strides (0 where they don't matter), dtype.
Geometry = tuple[int, tuple[int, ...], tuple[int, ...], str]


class Step(NamedTuple):
    """One view on the way from a root: an operation's name, its further arguments, and what it gives."""

    name: str
    arguments: tuple
    dtype: str
    shape: tuple[int, ...]


@dataclass
class Memory:
    """One block. `source` is the input or constant that it is, where it came from outside; `held` keeps it alive."""

    root: Geometry
    value: Value
    held: Tensor
    source: Value | None = None
    version: int = 0
    values: dict[Geometry, tuple[Value, int]] = field(default_factory=dict)
    ways: dict[Geometry, tuple[Step, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ways[self.root] = ()

    def find(self, g: Geometry) -> Value | None:
        """The Value of a view, if it was taken since the last write."""
        if g == self.root:
            return self.value
        value, version = self.values.get(g, (None, -1))
        return value if version == self.version else None

    def keep(self, g: Geometry, value: Value) -> None:
        self.values[g] = (value, self.version)

    def write(self, g: Geometry, value: Value, root: Value) -> None:
        """The view's memory now holds `value`, and the whole of it `root`."""
        self.version += 1
        self.value = root
        self.keep(g, value)

    def way(self, t: Tensor, g: Geometry) -> tuple[Step, ...]:
        """How to get to a view from the root: as it was made or, for one made unseen, by its strides."""
        if g not in self.ways:
            first, size = in_order(self.held), t.element_size()
            start = (g[0] - self.root[0]) // size
            stop = start + sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True))
            if first is None or g[3] != self.root[3] or start < 0 or stop >= self.held.numel():
                raise RuntimeError(
                    f"trace: how a view of {g[3]} {list(g[1])} was made of {self.root[3]} {list(self.root[1])} can't "
                    "be followed; make it with reshape, permute or indexing, or clone() what it is taken from"
                )
            step = Step("as_strided", (tuple(t.shape), t.stride(), start), g[3], g[1])
            self.ways[g] = (*first, step)
        return self.ways[g]


def address(t: Tensor) -> int:
    """Where a tensor's block begins."""
    return t.untyped_storage().data_ptr()


def geometry(t: Tensor) -> Geometry:
    strides = tuple(s if n > 1 else 0 for n, s in zip(t.shape, t.stride(), strict=True))
    return t.data_ptr() - address(t), tuple(t.shape), strides, t.dtype.ir


def in_order(t: Tensor) -> tuple[Step, ...] | None:
    """The permutation that brings t's dimensions into the order of its memory; None if t has gaps or overlaps."""
    order = tuple(sorted(range(t.ndim), key=lambda d: (-t.stride(d), d)))
    stride = 1
    for d in reversed(order):
        if t.shape[d] != 1 and t.stride(d) != stride:
            return None
        stride *= t.shape[d]
    if t.is_contiguous():
        return ()
    return (Step("permute", (order,), t.dtype.ir, tuple(t.shape[d] for d in order)),)


def whole(t: Tensor) -> Tensor:
    """t off the tape, if it is all of its block; otherwise the block as a vector."""
    total = t.untyped_storage().nbytes() // t.element_size()
    if t.numel() == total and in_order(t) is not None:
        return t.detach()
    return _core.raw_view(t, t.dtype, (total,), (1,), 0)


def flattened(found: Any) -> tuple:
    """The members of nested tuples, lists and dicts, in order."""
    if isinstance(found, dict):
        found = tuple(found.values())
    if isinstance(found, (tuple, list)):
        return tuple(x for member in found for x in flattened(member))
    return (found,)
