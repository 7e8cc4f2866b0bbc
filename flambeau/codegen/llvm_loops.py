"""The loops of a kernel as LLVM blocks: serial ones, and vector ones with a masked end and, for streams, beginning.

Imports ir and its neighbours in codegen. Read next: `llvm.py`, whose statements stand in these loops.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from ..ir.expr import DTYPES, Expr
from ..ir.kernel import LANES, Kernel, Store
from .llvm_scope import Scope, splat
from .llvm_values import IOTA, LINE, Values

Body = Callable[[list[str]], list[str]]


class Loops(Values):
    """Values in loops; `fence` says whether a store bypassed the caches."""

    def __init__(self, kernel: Kernel, pairs: frozenset[str] = frozenset()):
        super().__init__(kernel, pairs)
        self.labels = itertools.count()
        self.fence = False

    def labelled(self, *names: str) -> list[str]:
        k = next(self.labels)
        return [f"{name}{k}" for name in names]

    def within(self, scope: Scope, body: Callable[[], list[str]]) -> list[str]:
        outer, self.scope = self.scope, scope
        result = body()
        self.scope = outer
        return result

    def serial_loop(
        self, var: Expr, first: str, last: str, step: int, stores: set[str], carried: list[tuple[str, str]], body: Body
    ) -> list[str]:
        """A loop that carries (type, initial value) pairs; returns the registers with their last values."""
        outer = self.scope
        enter, head, leave = self.labelled("enter", "loop", "done")
        self.forget(stores)
        pre = Scope(outer, enter)
        inner = Scope(pre, head, stores)
        i, phis = inner.name(), [inner.name() for _ in carried]
        inner.bind(var, i, 1, False)
        results = self.within(inner, lambda: body(phis))
        after = inner.emit(f"add i64 {i}, {step}")
        again = inner.emit(f"icmp slt i64 {after}, {last}")
        inner.branch(again, head, leave)
        outer.branch(outer.emit(f"icmp slt i64 {first}, {last}"), enter, leave)
        before = outer.label
        outer.lines += [f"{enter}:", *pre.lines]
        outer.do(f"br label %{head}")
        outer.enter(head)
        outer.phi("i64", (first, enter), (after, inner.label), name=i)
        for phi, (kind, initial), result in zip(phis, carried, results, strict=True):
            outer.phi(kind, (initial, enter), (result, inner.label), name=phi)
        outer.lines += inner.lines
        outer.enter(leave)
        return [
            outer.phi(kind, (initial, before), (result, inner.label))
            for (kind, initial), result in zip(carried, results, strict=True)
        ]

    def vector_loop(
        self, var: Expr, first: str, last: str, stores: set[str], carried: list[tuple[str, str]], body: Body,
        stream: tuple[Store, Expr] | None = None,
    ) -> list[str]:  # fmt: skip
        """LANES iterations at once, then a masked one; before them another that aligns a stream store."""
        outer = self.scope
        enter, check, head, tail, rest, leave = self.labelled("enter", "check", "loop", "tail", "rest", "done")
        self.forget(stores)
        pre = Scope(outer, enter)
        main, masked = Scope(pre, head, stores), Scope(pre, rest, stores)
        i, base, count = main.name(), masked.name(), masked.name()
        for scope, register_name in ((main, i), (masked, base)):
            scope.width, scope.lane = LANES, var
            scope.bind(var, register_name, 1, True)
        masked.mask = masked.emit(f"icmp ult <{LANES} x i64> {IOTA}, {splat(masked, count, 'i64', LANES)}")
        peeled = self.peel(pre, var, first, last, *stream) if stream else None

        phis, tails = ([outer.name() for _ in carried] for _ in range(2))
        results = self.within(main, lambda: body(phis))
        ends = self.within(masked, lambda: body(tails))

        outer.branch(outer.emit(f"icmp slt i64 {first}, {last}"), enter, leave)
        before = outer.label
        outer.lines += [f"{enter}:", *pre.lines]
        start = first
        if peeled is None:
            outer.do(f"br label %{check}")
        else:
            start = outer.emit(f"add i64 {first}, {peeled}")
            outer.branch(outer.emit(f"icmp ne i64 {peeled}, 0"), rest, check)
        outer.enter(check)
        full = outer.emit(f"and i64 {outer.emit(f'sub i64 {last}, {start}')}, {-LANES}")
        end = outer.emit(f"add i64 {start}, {full}")
        outer.branch(outer.emit(f"icmp ne i64 {full}, 0"), head, tail)

        outer.enter(head)
        after = outer.name()
        outer.phi("i64", (start, check), (after, main.label), name=i)
        for phi, (kind, initial), result in zip(phis, carried, results, strict=True):
            outer.phi(kind, (initial, check), (result, main.label), name=phi)
        outer.lines += main.lines
        outer.do(f"{after} = add i64 {i}, {LANES}")
        outer.branch(outer.emit(f"icmp slt i64 {after}, {end}"), head, tail)

        outer.enter(tail)
        for phi, (kind, initial), result in zip(tails, carried, results, strict=True):
            outer.phi(kind, (initial, check), (result, main.label), name=phi)
        left = outer.emit(f"sub i64 {last}, {end}")
        outer.branch(outer.emit(f"icmp ne i64 {left}, 0"), rest, leave)

        outer.enter(rest)
        early = [] if peeled is None else [(first, enter), (peeled, enter)]
        outer.phi("i64", (end, tail), *early[:1], name=base)
        outer.phi("i64", (left, tail), *early[1:], name=count)
        final = outer.phi("i1", ("true", tail), ("false", enter)) if early else ""
        outer.lines += masked.lines
        if early:
            outer.branch(final, leave, check)
            self.fence = True
        else:
            outer.do(f"br label %{leave}")
        self.streamed = None
        outer.enter(leave)
        return [
            outer.phi(kind, (initial, before), (passed, tail), (ended, masked.label))
            for (kind, initial), passed, ended in zip(carried, tails, ends, strict=True)
        ]

    def peel(self, pre: Scope, var: Expr, first: str, last: str, s: Store, index: Expr) -> str | None:
        """How many iterations bring a stream store to its alignment; None where it isn't contiguous."""
        probe = Scope(pre, pre.label)
        probe.width, probe.lane = LANES, var
        probe.bind(var, first, 1, True)
        size = DTYPES[self.dtypes[s.buffer]].size
        outer, self.scope = self.scope, probe
        contiguous = self.unit_stride(index) == 1
        p = self.address(probe, s.buffer, self.value(index, 1)) if contiguous else ""
        self.scope = outer
        if not contiguous:
            return None
        self.streamed = s
        down = probe.emit(f"sub i64 0, {probe.emit(f'ptrtoint ptr {p} to i64')}")
        steps = probe.emit(f"lshr i64 {down}, {size.bit_length() - 1}")
        steps = probe.emit(f"and i64 {steps}, {min(LINE, LANES * size) // size - 1}")
        left = probe.emit(f"sub i64 {last}, {first}")
        steps = probe.emit(f"call i64 @llvm.umin.i64(i64 {steps}, i64 {left})")
        pre.lines += probe.lines
        return steps
