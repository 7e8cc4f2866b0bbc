"""Kernel: structured loop IR. Statements hold Exprs; loops say how they may run, never on which target.

A kernel is a list of parameters and one outermost parallel loop. Buffers are flat; an index is an i64 Expr counting
elements. The order of every floating-point operation is fixed here: a renderer may run parallel iterations in any order
and may compute 16 iterations of a vector loop at once, and nothing else.
Read next: `interpret.py` (what each statement means, in plain Python), `verify.py` (what is well formed), `text.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .expr import Expr

# Virtual lanes of a reduction, on every target and for every dtype: element k goes to lane k mod LANES.
LANES = 16
# Longest stretch one Reduce runs over; longer reductions are reductions of reductions (see codegen/schedule.py).
REDUCE_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Buffer:
    """A pointer parameter. `access` is 'r', 'w' or 'rw'; distinct buffers may only overlap where they are identical."""

    name: str
    dtype: str
    access: str = "r"


@dataclass(frozen=True, slots=True)
class Scalar:
    """A by-value parameter: a size, a stride, a number; read in Exprs as var(name, dtype)."""

    name: str
    dtype: str = "i64"


@dataclass(frozen=True, slots=True)
class Let:
    """Names a value for the statements after it in the same block."""

    var: Expr
    value: Expr


@dataclass(frozen=True, slots=True)
class Store:
    """buffer[index] = value. `stream`: the value won't be read soon, so caches may be bypassed; bits don't change."""

    buffer: str
    index: Expr
    value: Expr
    stream: bool = False


@dataclass(frozen=True, slots=True)
class If:
    condition: Expr
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class For:
    """Runs body for var = start … stop - 1.

    `parallel`: iterations are independent and the caller gives the range (only the kernel's outermost loop).
    `vector`: iterations are independent, and a renderer may run LANES consecutive ones at once.
    Neither: one after the other.
    """

    var: Expr
    start: Expr
    stop: Expr
    body: tuple[Statement, ...]
    parallel: bool = False
    vector: bool = False


@dataclass(frozen=True, slots=True)
class Accumulator:
    """One component of what a Reduce carries, and the constant it begins with."""

    var: Expr
    init: Expr


@dataclass(frozen=True, slots=True)
class Reduce:
    """Folds var = start … stop - 1 into accumulators; after it, each accumulator's var holds its result.

    With `lanes` L > 1 there are L copies of the accumulators. Iteration k (counted from start) runs body and then
    replaces copy k mod L by `step` (Exprs over the accumulators' vars, `var` and body's Lets). At the end copies are
    merged in a tree, i with i + L/2, then L/4, … 1: `merge` holds Exprs over the accumulators' vars (the left copy)
    and `others` (the right one). With L = 1 iterations simply follow each other, so a body may store running values
    (a scan), and `merge` is not used.
    """

    var: Expr
    start: Expr
    stop: Expr
    accumulators: tuple[Accumulator, ...]
    step: tuple[Expr, ...]
    merge: tuple[Expr, ...] = ()
    others: tuple[Expr, ...] = ()
    lanes: int = LANES
    body: tuple[Statement, ...] = ()


Statement = Let | Store | If | For | Reduce


@dataclass(frozen=True, slots=True)
class Kernel:
    """name, parameters in calling order, and the body: any Lets, then one parallel For."""

    name: str
    params: tuple[Buffer | Scalar, ...]
    body: tuple[Statement, ...]

    @property
    def buffers(self) -> dict[str, Buffer]:
        return {p.name: p for p in self.params if isinstance(p, Buffer)}

    def __str__(self) -> str:
        from .text import format_kernel

        return format_kernel(self)


def expressions(part: object) -> list[Expr]:
    """Every Expr that a statement, or a tuple of them, holds itself; in reading order, repetitions included."""
    if isinstance(part, Expr):
        return [part]
    if isinstance(part, tuple):
        return [x for p in part for x in expressions(p)]
    return [x for name in getattr(part, "__slots__", ()) for x in expressions(getattr(part, name))]


def rewrite(kernel: Kernel, f: Callable[[tuple[Expr, ...]], tuple[Expr, ...]]) -> Kernel:
    """The kernel with all its Exprs put through f, which sees them at once so that sharing survives."""
    old = tuple(dict.fromkeys(expressions(kernel.body)))
    new = dict(zip(old, f(old), strict=True))

    def rebuild(part):
        if isinstance(part, Expr):
            return new[part]
        if isinstance(part, tuple):
            return tuple(rebuild(p) for p in part)
        if not isinstance(part, Let | Store | If | For | Reduce | Accumulator):
            return part
        return type(part)(*(rebuild(getattr(part, name)) for name in part.__slots__))

    return replace(kernel, body=rebuild(kernel.body))
