"""`torch.ops`: operations by namespace and overload, as libraries name them: `torch.ops.aten.add.Tensor`.

`aten` holds what flambeau has of its operations, functions and methods alike; whatever the overload, it is the function
of that name. Other namespaces hold what `library.custom_op` made. Imports library; names are looked up when asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...library import OPERATIONS


def part(x: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    return x[(slice(None),) * (dim % x.dim()) + (slice(start, end, step),)]


def index(x: Any, indices: Sequence[Any]) -> Any:
    return x[tuple(slice(None) if i is None else i for i in indices)]


def to_copy(x: Any, *, dtype: Any = None, device: Any = None, memory_format: Any = None, **_: Any) -> Any:
    return x.to(dtype=dtype, device=device, memory_format=memory_format, copy=True)


# Operations that are syntax in Python, or have another name.
SPELLED = {
    "slice": part, "index": index, "_to_copy": to_copy, "sym_size": lambda x, dim: x.size(dim),
    "_sparse_addmm": lambda x, a, b, beta=1, alpha=1: beta * x + alpha * (a @ b),
    "alias": lambda x: x.view(x.shape), "_pin_memory": lambda x, device=None: x.pin_memory(),
}  # fmt: skip


class Overload:
    """One form of an operation; those of one name and form are equal."""

    def __init__(self, packet: Packet, overload: str) -> None:
        self.overloadpacket, self._overloadname = packet, overload

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.overloadpacket.function(*args, **kwargs)

    def name(self) -> str:
        return f"aten::{self.overloadpacket.__name__}" + f".{self._overloadname}" * (self._overloadname != "default")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Overload) and self.name() == other.name()

    def __hash__(self) -> int:
        return hash(self.name())

    def __repr__(self) -> str:
        return f"<OpOverload(op='aten.{self.overloadpacket.__name__}', overload='{self._overloadname}')>"


class Packet:
    """All forms of an operation.

    >>> from flambeau.cli.stand_ins.ops import aten
    >>> aten.add(fb.ones(1), 2), aten.add.Tensor(fb.ones(1), fb.ones(1)), aten.add
    (tensor([3.]), tensor([2.]), aten.add)
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.__name__, self.function = name, function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __getattr__(self, overload: str) -> Overload:
        if overload.startswith("_"):
            raise AttributeError(f"torch.ops.aten.{self.__name__} has no overload named {overload!r}")
        made = self.__dict__[overload] = Overload(self, overload)
        return made

    def overloads(self) -> list[str]:
        """The forms there is certain to be: the operation itself."""
        return ["default"]

    def __repr__(self) -> str:
        return f"aten.{self.__name__}"


class Namespace:
    """The operations of one library."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> Packet:
        if name.startswith("__"):
            raise AttributeError(name)
        function = operation(name) if self.name == "aten" else OPERATIONS.get(f"{self.name}::{name}")
        if function is None:
            raise AttributeError(f"'_OpNamespace' {self.name!r} object has no attribute {name!r}")
        made = self.__dict__[name] = Packet(name, function)
        return made


def operation(name: str) -> Any:
    import flambeau

    if name in SPELLED:
        return SPELLED[name]
    for place in (flambeau, flambeau.Tensor):
        found: Any = getattr(place, name, None)
        if callable(found) and not isinstance(found, type):
            return found
    return None


aten = Namespace("aten")


def __getattr__(name: str) -> Namespace:
    if name.startswith("__"):
        raise AttributeError(name)
    made = globals()[name] = Namespace(name)
    return made
