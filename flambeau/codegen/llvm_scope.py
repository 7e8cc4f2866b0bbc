"""Scopes of a kernel being rendered: a stretch of LLVM text, the values known in it, and small vector idioms.

Imports ir only. Read next: `llvm_values.py`, which decides in which scope a value stands.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from ..ir.expr import Expr
from .llvm_ops import REGISTER, register, wide


class Scope:
    """A stretch of straight-line code that loops and branches may interrupt, and the values known in it.

    `keeps` is the set of buffers whose loads may not move to the enclosing scope, None for all of them.
    """

    def __init__(self, parent: Scope | None, label: str, keeps: set[str] | None = None):
        self.parent, self.label, self.keeps = parent, label, keeps
        self.depth: int = parent.depth + 1 if parent else 0
        self.numbers: Iterator[int] = parent.numbers if parent else itertools.count()
        self.width: int = parent.width if parent else 1
        self.mask: str | None = parent.mask if parent else None
        self.lane: Expr | None = parent.lane if parent else None
        self.lines: list[str] = []
        self.values: dict[tuple[Expr, int], str] = {}
        self.places: dict[Expr, tuple[int, bool]] = {}
        self.steps: dict[Expr, str] = {}
        self.definitions: dict[Expr, Expr] = {}

    def name(self) -> str:
        return f"%r{next(self.numbers)}"

    def emit(self, instruction: str) -> str:
        result = self.name()
        self.lines.append(f"  {result} = {instruction}")
        return result

    def do(self, instruction: str) -> None:
        self.lines.append("  " + instruction)

    def branch(self, condition: str, yes: str, no: str) -> None:
        self.do(f"br i1 {condition}, label %{yes}, label %{no}")

    def enter(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def phi(self, kind: str, *cases: tuple[str, str], name: str | None = None) -> str:
        name = name or self.name()
        self.do(f"{name} = phi {kind} " + ", ".join(f"[ {value}, %{label} ]" for value, label in cases))
        return name

    def bind(self, var: Expr, value: str, width: int, varies: bool) -> None:
        self.values[var, width] = value
        self.places[var] = self.depth, varies


def element(scope: Scope, slot: str, kind: str, k: int | str) -> str:
    return scope.emit(f"getelementptr {kind}, ptr {slot}, i64 {k}")


def splat(scope: Scope, value: str, dtype: str, width: int) -> str:
    t = register(dtype, width)
    first = scope.emit(f"insertelement {t} poison, {REGISTER[dtype]} {value}, i64 0")
    return scope.emit(f"shufflevector {t} {first}, {t} poison, <{width} x i32> zeroinitializer")


def picks(lanes: Sequence[int]) -> str:
    """The operand of a shuffle that says which lanes of its two vectors make the result."""
    return f"<{len(lanes)} x i32> <{', '.join(f'i32 {k}' for k in lanes)}>"


def reverse(scope: Scope, value: str, scalar: str, width: int) -> str:
    t = wide(scalar, width)
    return scope.emit(f"shufflevector {t} {value}, {t} poison, {picks(range(width)[::-1])}")


def extract(scope: Scope, value: str, dtype: str, whole: int, start: int, width: int) -> str:
    """Lanes start … start + width - 1 of a vector of `whole` lanes."""
    t = register(dtype, whole)
    if width == 1:
        return scope.emit(f"extractelement {t} {value}, i64 {start}")
    return scope.emit(f"shufflevector {t} {value}, {t} poison, {picks(range(start, start + width))}")
