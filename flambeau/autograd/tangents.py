"""Where tangents are: beside the memory of the tensors that they belong to, so that views and writes need no rules.

A block of memory that holds a tensor with a tangent has a shadow: memory of the same layout that holds the tangent. A
view's tangent is the same view of the shadow, and a write through a view is a write into the same view of the shadow.
Shadows are ordinary tensors on the tape, and die with their block. Imports core, ops and the compiler's geometry.
Read next: `dual.py` (what is written there).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..compiler.memory import Geometry, geometry, in_order
from ..core import _core
from ..core._core import Storage, Tensor
from ..ops.basic import embed_part, laid_out, overlaps, span, to_dtype
from ..ops.factories import zeros
from ..ops.shape import view_as_real

View = Callable[[Tensor], Tensor]


@dataclass
class Shadow:
    """The tangent of a block: `tangent` belongs to the tensor of geometry `root`, and lies in memory as that does.

    `ways` has the views known by name, from the root; `lent` says that the memory is somebody else's.
    """

    root: Geometry
    tangent: Tensor
    lent: bool = False
    ways: dict[Geometry, tuple[View, ...]] = field(default_factory=dict)


class Tangents:
    """The shadows of one level."""

    def __init__(self) -> None:
        self.shadows: weakref.WeakKeyDictionary[Storage, Shadow] = weakref.WeakKeyDictionary()

    def of(self, t: Tensor) -> Tensor | None:
        """The tangent of what t holds now; None where it is zero."""
        shadow = self.shadows.get(t.untyped_storage())
        if shadow is None or not (t.is_floating_point() or t.is_complex()):
            return None
        if t.numel() == 0:
            return zeros(t.shape, dtype=t.dtype)
        tangent = shadow.tangent
        for view in self.way(shadow, t):
            tangent = view(tangent)
        return tangent

    def way(self, shadow: Shadow, t: Tensor) -> tuple[View, ...]:
        """How to get from the root to t: as it was made or, for a view made unseen, by its strides."""
        g = geometry(t)
        if g == shadow.root:
            return ()
        if g not in shadow.ways:
            shadow.ways[g] = by_strides(shadow.root, g, t.element_size())
        return shadow.ways[g]

    def viewed(self, x: Tensor, y: Tensor, view: View) -> None:
        """y is `view` of x, over the same memory."""
        shadow = self.shadows[x.untyped_storage()]
        if geometry(y) != shadow.root and y.numel():
            shadow.ways.setdefault(geometry(y), (*self.way(shadow, x), view))

    def begin(self, t: Tensor, tangent: Tensor, lent: bool) -> None:
        """t, which is all that is used of its block, has this tangent."""
        fitted = fit(tangent, t)
        self.shadows[t.untyped_storage()] = Shadow(geometry(t), fitted, lent and fitted is tangent)

    def put(self, t: Tensor, tangent: Tensor | None) -> None:
        """t was written; its tangent is a tensor that nobody else writes to, or None where it is zero."""
        block = t.untyped_storage()
        shadow = self.shadows.get(block)
        if t.numel() == 0 and not covers(t):
            return
        if shadow is not None and geometry(t) == shadow.root:
            if tangent is None:
                del self.shadows[block]
            else:
                shadow.tangent, shadow.lent = fit(tangent, t), False
        elif shadow is None and tangent is not None and covers(t):
            self.shadows[block] = Shadow(geometry(t), fit(tangent, t))
        elif tangent is not None:
            self.writable(t).copy_(tangent)
        elif shadow is not None:
            self.writable(t).zero_()

    def writable(self, t: Tensor) -> Tensor:
        """The tangent of t, to be written in place."""
        block = t.untyped_storage()
        shadow = self.shadows.get(block)
        if shadow is None:
            whole = t if covers(t) else _core.raw_view(t, t.dtype, (block.nbytes() // t.element_size(),), (1,), 0)
            nothing = fit(zeros((), dtype=t.dtype), whole)
            shadow = self.shadows[block] = Shadow(geometry(whole), nothing)
        elif shadow.lent:
            shadow.tangent, shadow.lent = lay(shadow.tangent, shadow.tangent.stride()), False
        found = self.of(t)
        assert found is not None
        return found


def by_strides(root: Geometry, g: Geometry, size: int) -> tuple[View, ...]:
    """A view of a tensor that lies as `root` does, as a function."""
    start, rest = divmod(g[0] - root[0], size)
    halves = root[3] in ("c64", "c128") and g[3] == {"c64": "f32", "c128": "f64"}[root[3]]
    if start < 0 or rest or not (halves or g[3] == root[3]):
        raise RuntimeError(
            f"forward_ad: the tangent of a view of {g[3]} {list(g[1])} can't be found in that of {root[3]} "
            f"{list(root[1])}; take the view by indexing, reshape or permute, or clone() what it is taken from"
        )

    def part(tangent: Tensor) -> Tensor:
        how = ("_part_of_base", (g[1], g[2], start, tangent.stride()))
        return _core.part_view(tangent, g[1], g[2], start, how)

    return (view_as_real, part) if halves else (part,)


def covers(t: Tensor) -> bool:
    """Whether t's elements are all of its block, each once."""
    return t.numel() * t.element_size() == t.untyped_storage().nbytes() and in_order(t) is not None


def fit(tangent: Tensor, t: Tensor) -> Tensor:
    """The tangent with t's dtype and shape, laid out in memory as t is."""
    if tangent.dtype is not t.dtype:
        tangent = to_dtype(tangent, t.dtype)
    if tangent.shape != t.shape:
        tangent = tangent.expand(t.shape)
    same = geometry(tangent)[2] == geometry(t)[2]
    return tangent if same and not overlaps(tangent) else lay(tangent, t.stride())


def lay(x: Tensor, strides: tuple[int, ...]) -> Tensor:
    """A copy of x with the given strides."""
    reach = span(x.shape, strides)
    if reach == x.numel():
        return laid_out(x, strides)
    if any(n > 1 and s == 0 for n, s in zip(x.shape, strides, strict=True)):
        return x.clone()  # nothing is ever written through a tensor whose elements share memory
    how: tuple[str, Any] = ("_part_of_base", (tuple(x.shape), strides, 0, (1,)))
    return _core.part_view(embed_part(x, how, (reach,)), x.shape, strides, 0, how)
