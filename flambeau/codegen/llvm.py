"""Renders a Kernel as LLVM text: its statements, loops and reductions.

A vector loop becomes a main loop over 16 lanes and one masked iteration for what is left, on every target; LLVM splits
the vectors where registers are narrower, so bits agree everywhere. Imports ir and its neighbours in codegen.
Read next: `llvm_loops.py`, `llvm_values.py` (where values stand), `columns.py` and `llvm_transpose.py` (loops in
another order), `native.py` (text to machine code).
"""

from __future__ import annotations

from collections.abc import Iterable

from ..ir.complex import PART, split
from ..ir.expr import DTYPES, Expr, postorder, substitute, var
from ..ir.functions import expand
from ..ir.kernel import LANES, Buffer, For, If, Kernel, Let, Reduce, Statement, Store, rewrite
from .columns import Tiles, by_tiles
from .llvm_loops import Loops
from .llvm_ops import MEMORY, decode, register, wide
from .llvm_prefetch import hint, read_ahead
from .llvm_scope import Scope, element, extract
from .llvm_transpose import Transpose, by_bands, nest, turn
from .llvm_values import LINE
from .statements import Prefetch, stored, vectorisable
from .target import Target


def render(kernel: Kernel, target: Target) -> str:
    """The LLVM module of one kernel, with the calling convention of the kernel ABI."""
    pairs = frozenset(name for name, b in kernel.buffers.items() if b.dtype in PART)
    return Renderer(read_ahead(rewrite(split(kernel), expand)), target, pairs).module()


class Renderer(Loops):
    """Renders the statements of one kernel."""

    def __init__(self, kernel: Kernel, target: Target, pairs: frozenset[str] = frozenset()):
        super().__init__(kernel, pairs)
        self.target = target
        self.allocas: list[str] = []
        # Variables of loops over columns that are rewritten already.
        self.tiled: set[Expr] = set()

    def module(self) -> str:
        root = self.scope
        for k, p in enumerate(self.kernel.params):
            slot = root.emit(f"getelementptr i64, ptr %args, i64 {k}")
            if isinstance(p, Buffer):
                self.pointers[p.name] = root.emit(f"load ptr, ptr {slot}, align 8")
            else:
                bits = root.emit(f"load {MEMORY[p.dtype]}, ptr {slot}, align 8")
                root.bind(var(p.name, p.dtype), decode(root.emit, bits, p.dtype, 1), 1, False)
        self.block(self.kernel.body)
        if self.fence:
            root.do("fence seq_cst")
        root.do("ret void")
        vector = self.target.vector_bits
        return "\n".join([
            f'define void @"{self.kernel.name}"(ptr noalias readonly %args, i64 %begin, i64 %end) #0 {{',
            "entry:", *self.allocas, *root.lines, "}",
            f'attributes #0 = {{ nounwind "no-builtins" "target-cpu"="{self.target.cpu}" '
            f'"target-features"="{self.target.features}" '
            f'"prefer-vector-width"="{vector}" "min-legal-vector-width"="{vector}" }}',
            "!0 = !{i32 1}", "",
        ])  # fmt: skip

    # Statements.

    def block(self, statements: Iterable[Statement]) -> None:
        left = list(statements)[::-1]
        while left:
            s = left.pop()
            if isinstance(s, Let):
                self.let(s)
            elif isinstance(s, Store):
                following = left[-1] if left else None
                if isinstance(following, Store) and self.store_pair(s, following):
                    left.pop()
                else:
                    self.store(s)
            elif isinstance(s, If):
                self.branch(s)
            elif isinstance(s, For):
                self.loop(s)
            elif isinstance(s, Transpose):
                self.transpose(s)
            elif isinstance(s, Prefetch):
                self.prefetch(s)
            else:
                self.reduce(s)

    def let(self, s: Let) -> None:
        scope = self.scope
        varies = self.varies(s.value)
        if self.reads[s.value]:
            width = scope.width if varies else 1
            scope.bind(s.var, self.value(s.value, width), width, varies)
        else:
            scope.definitions[s.var] = s.value
            scope.places[s.var] = scope.depth, varies

    def branch(self, s: If) -> None:
        scope = self.scope
        then, end = self.labelled("then", "end")
        width = self.width_of(s.condition)
        condition = self.value(s.condition, width)
        inner = Scope(scope, then)
        if width > 1:
            t = wide("i1", width)
            inner.mask = condition if scope.mask is None else scope.emit(f"and {t} {scope.mask}, {condition}")
            condition = scope.emit(f"call i1 @llvm.vector.reduce.or.v{width}i1({t} {inner.mask})")

        def body() -> list[str]:
            self.block(s.body)
            return []

        self.within(inner, body)
        scope.branch(condition, then, end)
        scope.lines += [f"{then}:", *inner.lines]
        scope.do(f"br label %{end}")
        scope.enter(end)

    def loop(self, s: For) -> None:
        scope = self.scope
        first, last = "%begin", "%end"
        if not s.parallel:
            first, last = self.value(s.start, 1), self.value(s.stop, 1)
        elif not (s.start.op == "const" and s.start.attr == 0):
            start = self.value(s.start, 1)
            first, last = scope.emit(f"add i64 %begin, {start}"), scope.emit(f"add i64 %end, {start}")

        def body(_: list[str]) -> list[str]:
            self.block(s.body)
            return []

        inner = nest(s) if scope.width == 1 else None
        if inner is not None and (bands := by_bands(s, inner, self.dtypes, next(self.labels))) is not None:
            self.local(bands.buffers, bands.size)
            self.block(bands.body)
        elif s.vector and scope.width == 1 and inner is None and vectorisable(s.body, {s.var}):
            tiled = by_tiles(s, next(self.labels)) if s.var not in self.tiled else None
            if tiled is not None:
                self.tiled.add(s.var)
                self.tiles(tiled, first, last)
                self.tiled.remove(s.var)
                return
            self.vector_loop(s.var, first, last, stored(s.body), [], body, stream_store(s))
        else:
            self.serial_loop(s.var, first, last, 1, stored(s.body), [], body)

    def tiles(self, tiled: Tiles, first: str, last: str) -> None:
        """The statements that stand for a loop over columns, with the memory they work in."""
        self.local(tiled.buffers, tiled.size)
        self.scope.bind(tiled.first, first, 1, False)
        self.scope.bind(tiled.last, last, 1, False)
        self.block(tiled.body)

    def local(self, buffers: Iterable[Buffer], size: int) -> None:
        """Room for `size` elements of each of these buffers, on the stack."""
        for b in buffers:
            self.pointers[b.name], self.dtypes[b.name] = self.scope.name(), b.dtype
            self.allocas.append(f"  {self.pointers[b.name]} = alloca [{size} x {MEMORY[b.dtype]}], align {LINE}")

    def transpose(self, s: Transpose) -> None:
        scope, dtype = self.scope, self.dtypes[s.source]
        source = self.address(scope, s.source, self.value(s.at, 1))
        target = self.address(scope, s.target, self.value(s.to, 1))
        pitch, width = self.value(s.pitch, 1), self.value(s.width, 1)
        turn(scope, MEMORY[dtype], DTYPES[dtype].size, source, pitch, target, width, s.ahead)
        self.forget({s.target})

    def prefetch(self, s: Prefetch) -> None:
        scope, size = self.scope, DTYPES[self.dtypes[s.buffer]].size
        p = self.address(scope, s.buffer, self.value(s.index, 1))
        for offset in range(0, LANES * size, LINE):
            hint(scope, p, offset)

    # Reductions.

    def reduce(self, r: Reduce) -> None:
        scope = self.scope
        nested = any(isinstance(s, For | Reduce) for s in r.body)
        if r.lanes == 1:
            self.finish(r, self.fold(r, scope.width))
        elif r.lanes == LANES and scope.width == 1 and not nested:
            self.finish(r, self.fold_lanes(r))
        else:
            self.finish(r, self.fold_in_memory(r))

    def finish(self, r: Reduce, results: list[str]) -> None:
        for a, value in zip(r.accumulators, results, strict=True):
            self.scope.bind(a.var, value, self.scope.width, self.scope.width > 1)

    def carried(self, r: Reduce, width: int) -> list[tuple[str, str]]:
        return [(register(a.var.dtype, width), self.value(a.init, width)) for a in r.accumulators]

    def step(self, r: Reduce, width: int, values: list[str]) -> list[str]:
        """One iteration in the current scope: accumulators hold `values` before and the result after it."""
        for a, v in zip(r.accumulators, values, strict=True):
            self.scope.bind(a.var, v, width, width > 1)
        self.block(r.body)
        return [self.value(x, width) for x in r.step]

    def fold(self, r: Reduce, width: int) -> list[str]:
        """Iterations one after the other."""
        first, last = self.value(r.start, 1), self.value(r.stop, 1)
        return self.serial_loop(
            r.var, first, last, 1, stored(r.body), self.carried(r, width), lambda phis: self.step(r, width, phis)
        )

    def fold_lanes(self, r: Reduce) -> list[str]:
        """LANES iterations at once in one vector for each accumulator, halved until one lane is left."""
        first, last = self.value(r.start, 1), self.value(r.stop, 1)
        carried = self.carried(r, LANES)

        def body(phis: list[str]) -> list[str]:
            results = self.step(r, LANES, phis)
            scope = self.scope
            if scope.mask is None:
                return results
            return [
                scope.emit(f"select <{LANES} x i1> {scope.mask}, {kind} {new}, {kind} {old}")
                for (kind, _), old, new in zip(carried, phis, results, strict=True)
            ]

        values = self.vector_loop(r.var, first, last, stored(r.body), carried, body)
        width = LANES
        while width > 1:
            width //= 2
            halves = [
                [extract(self.scope, v, a.var.dtype, 2 * width, start, width) for start in (0, width)]
                for a, v in zip(r.accumulators, values, strict=True)
            ]
            values = self.merge(r, [h[0] for h in halves], [h[1] for h in halves], width)
        return values

    def merge(self, r: Reduce, left: list[str], right: list[str], width: int) -> list[str]:
        scope = Scope(self.scope, self.scope.label)
        scope.width = width
        for a, other, x, y in zip(r.accumulators, r.others, left, right, strict=True):
            scope.bind(a.var, x, width, width > 1)
            scope.bind(other, y, width, width > 1)
        results = self.within(scope, lambda: [self.value(m, width) for m in r.merge])
        self.scope.lines += scope.lines
        return results

    def fold_in_memory(self, r: Reduce) -> list[str]:
        """Lanes kept in memory, one iteration at a time: for bodies with loops, and for many columns side by side."""
        outer, width, lanes = self.scope, self.scope.width, r.lanes
        first, last = self.value(r.start, 1), self.value(r.stop, 1)
        carried = self.carried(r, width)
        slots = []
        for kind, initial in carried:
            slot = outer.name()
            self.allocas.append(f"  {slot} = alloca [{lanes} x {kind}], align {LINE}")
            slots.append(slot)
            for k in range(lanes):
                outer.do(f"store {kind} {initial}, ptr {element(outer, slot, kind, k)}")

        def body(phis: list[str]) -> list[str]:
            scope = self.scope
            count = scope.emit(f"sub i64 {self.value(r.var, 1)}, {first}")
            lane = scope.emit(f"and i64 {count}, {lanes - 1}")
            places = [element(scope, s, t, lane) for s, (t, _) in zip(slots, carried, strict=True)]
            before = [scope.emit(f"load {t}, ptr {p}") for p, (t, _) in zip(places, carried, strict=True)]
            after = self.step(r, width, before)
            for p, new, (t, _) in zip(places, after, carried, strict=True):
                scope.do(f"store {t} {new}, ptr {p}")
            return []

        self.serial_loop(r.var, first, last, 1, stored(r.body), [], body)
        values = [
            [outer.emit(f"load {t}, ptr {element(outer, s, t, k)}") for s, (t, _) in zip(slots, carried, strict=True)]
            for k in range(lanes)
        ]
        while len(values) > 1:
            half = len(values) // 2
            values = [self.merge(r, values[j], values[j + half], width) for j in range(half)]
        return values[0]


def stream_store(loop: For) -> tuple[Store, Expr] | None:
    """The first stream store straight in the loop's body and its index, if that can be computed before the loop."""
    known: dict[Expr, Expr] = {}
    for s in loop.body:
        if isinstance(s, Let):
            known[s.var] = substitute((s.value,), known)[0]
        elif isinstance(s, Store) and s.stream:
            index = substitute((s.index,), known)[0]
            return None if any(y.op == "load" for y in postorder(index)) else (s, index)
    return None
