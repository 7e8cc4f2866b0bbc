"""Renders a Kernel as LLVM text: where each value stands, loops, loads, stores and reductions.

A vector loop becomes a main loop over 16 lanes and one masked iteration for what is left, on every target; LLVM splits
the vectors where registers are narrower, so bits agree everywhere. Values are placed as they are asked for, each in the
outermost scope where its variables live; loads leave a loop only for its guarded entry, so nothing is read that the
kernel doesn't read. Imports ir. Read next: `llvm_ops.py` (single operations), `native.py` (text to machine code).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from ..ir.complex import split
from ..ir.expr import DTYPES, Expr, postorder, substitute, var
from ..ir.functions import expand
from ..ir.kernel import LANES, Buffer, For, If, Kernel, Let, Reduce, Statement, Store, rewrite
from .llvm_ops import MEMORY, REGISTER, SUFFIX, apply, decode, encode, literal, register, wide
from .target import Target

IOTA = f"<{', '.join(f'i64 {k}' for k in range(LANES))}>"
# Cache lines and the widest vector are 64 bytes: streaming stores want that alignment.
LINE = 64


def render(kernel: Kernel, target: Target) -> str:
    """The LLVM module of one kernel, with the calling convention of the kernel ABI."""
    return Renderer(rewrite(split(kernel), expand), target).module()


class Scope:
    """A stretch of straight-line code that loops and branches may interrupt, and the values known in it.

    `keeps` is the set of buffers whose loads may not move to the enclosing scope, None for all of them.
    """

    def __init__(self, parent: Scope | None, label: str, keeps: set[str] | None = None):
        self.parent, self.label, self.keeps = parent, label, keeps
        self.depth = parent.depth + 1 if parent else 0
        self.numbers: Iterable[int] = parent.numbers if parent else itertools.count()
        self.width: int = parent.width if parent else 1
        self.mask: str | None = parent.mask if parent else None
        self.lane: Expr | None = parent.lane if parent else None
        self.lines: list[str] = []
        self.values: dict[tuple[Expr, int], str] = {}
        self.places: dict[Expr, tuple[int, bool]] = {}
        self.definitions: dict[Expr, Expr] = {}

    def name(self) -> str:
        return f"%r{next(self.numbers)}"  # type: ignore[call-overload]

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


Body = Callable[[list[str]], list[str]]


class Renderer:
    """Renders one kernel; `scope` is where statements are being rendered."""

    def __init__(self, kernel: Kernel, target: Target):
        self.kernel, self.target = kernel, target
        self.scope = Scope(None, "entry")
        self.allocas: list[str] = []
        self.labels = itertools.count()
        self.pointers: dict[str, str] = {}
        self.dtypes = {name: b.dtype for name, b in kernel.buffers.items()}
        self.read_sets: dict[Expr, frozenset[str]] = {}
        self.streamed: Store | None = None
        self.fence = False

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
        bits = self.target.vector_bits
        return "\n".join([
            f'define void @"{self.kernel.name}"(ptr noalias readonly %args, i64 %begin, i64 %end) #0 {{',
            "entry:", *self.allocas, *root.lines, "}",
            f'attributes #0 = {{ nounwind "no-builtins" "target-cpu"="{self.target.cpu}" '
            f'"target-features"="{self.target.features}" '
            f'"prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}" }}',
            "!0 = !{i32 1}", "",
        ])  # fmt: skip

    def labelled(self, *names: str) -> list[str]:
        k = next(self.labels)
        return [f"{name}{k}" for name in names]

    def within(self, scope: Scope, body: Callable[[], list[str]]) -> list[str]:
        outer, self.scope = self.scope, scope
        result = body()
        self.scope = outer
        return result

    # Where values stand.

    def find(self, x: Expr, width: int) -> str | None:
        if x.op == "const":
            return literal(x.attr, x.dtype, width)  # type: ignore[arg-type]
        scope: Scope | None = self.scope
        while scope is not None:
            found = scope.values.get((x, width))
            if found is not None:
                return found
            scope = scope.parent
        return None

    def define(self, var: Expr) -> Expr | None:
        scope: Scope | None = self.scope
        while scope is not None:
            if var in scope.definitions:
                return scope.definitions[var]
            scope = scope.parent
        return None

    def place(self, x: Expr) -> tuple[int, bool]:
        """The depth of the scope x belongs to, and whether its value differs from lane to lane."""
        known = self.known_place(x)
        if known is not None:
            return known
        places = self.scope.places
        for y in postorder(x):
            if y not in places:
                found = self.known_place(y)
                if found is None:
                    found = (0, False)
                    for a in y.args:
                        depth, varies = places[a]
                        found = max(found[0], depth), found[1] or varies
                    if y.op == "load":
                        found = max(found[0], self.load_depth(str(y.attr))), found[1]
                    elif y.op == "var":
                        raise KeyError(f"{self.kernel.name}: {y.attr} is used where nothing defines it")
                places[y] = found
        return places[x]

    def known_place(self, x: Expr) -> tuple[int, bool] | None:
        scope: Scope | None = self.scope
        while scope is not None:
            found = scope.places.get(x)
            # A load's place, and that of all built on it, depends on the scope that asks.
            if found is not None and (scope is self.scope or not self.reads(x)):
                return found
            scope = scope.parent
        return None

    def load_depth(self, buffer: str) -> int:
        scope = self.scope
        while scope.keeps is not None and buffer not in scope.keeps:
            assert scope.parent is not None
            scope = scope.parent
        return scope.depth

    def varies(self, x: Expr) -> bool:
        return self.place(x)[1]

    def width_of(self, x: Expr) -> int:
        return self.scope.width if self.varies(x) else 1

    def value(self, x: Expr, width: int) -> str:
        """The register with x: one value (that of the first lane, where lanes differ), or one for each lane."""
        found = self.find(x, width)
        if found is not None:
            return found
        stack = [(x, width)]
        while stack:
            y, w = stack[-1]
            if self.find(y, w) is None:
                missing = [need for need in self.needs(y, w) if self.find(*need) is None]
                if missing:
                    stack.extend(missing)
                    continue
                self.compute(y, w)
            stack.pop()
        found = self.find(x, width)
        assert found is not None
        return found

    def needs(self, x: Expr, width: int) -> list[tuple[Expr, int]]:
        if width > 1 and not self.varies(x):
            return [(x, 1)]
        if x.op == "var":
            definition = self.define(x)
            return [(definition, width)] if definition is not None else [(x, 1)] if width > 1 else []
        if x.op == "load" and width > 1 and self.stride(x.args[0]) in (1, -1):
            return [(x.args[0], 1)]
        return [(a, width) for a in x.args]

    def compute(self, x: Expr, width: int) -> None:
        depth, varies = self.place(x)
        scope = self.scope
        while scope.depth > depth:
            assert scope.parent is not None
            scope = scope.parent
        if width > 1 and not varies:
            result = splat(scope, self.value(x, 1), x.dtype, width)
        elif x.op == "var":
            definition = self.define(x)
            if definition is not None:
                result = self.value(definition, width)
            else:
                result = scope.emit(f"add <{width} x i64> {splat(scope, self.value(x, 1), 'i64', width)}, {IOTA}")
        elif x.op == "load":
            result = self.load(scope, x, width)
        else:
            result = apply(scope.emit, x, [self.value(a, width) for a in x.args], width)
        scope.values[x, width] = result

    def reads(self, x: Expr) -> frozenset[str]:
        if x not in self.read_sets:
            for y in postorder(x):
                if y not in self.read_sets:
                    own = {str(y.attr)} if y.op == "load" else ()
                    self.read_sets[y] = frozenset(own).union(*(self.read_sets[a] for a in y.args))
        return self.read_sets[x]

    def forget(self, buffers: set[str]) -> None:
        """Drops what was computed from buffers that are written now."""
        scope: Scope | None = self.scope
        while scope is not None:
            stale = [k for k in scope.values if k[0].op != "var" and self.reads(k[0]) & buffers]
            for k in stale:
                del scope.values[k]
            scope = scope.parent

    # Memory.

    def stride(self, x: Expr) -> int | None:
        """How far an index moves from lane to lane, where that is a constant."""
        if not self.varies(x):
            return 0
        if x is self.scope.lane:
            return 1
        if x.op == "var":
            definition = self.define(x)
            return self.stride(definition) if definition is not None else None
        if x.dtype != "i64" or x.op not in ("add", "sub", "mul", "neg"):
            return None
        parts = [self.stride(a) for a in x.args]
        if None in parts:
            return None
        if x.op == "neg":
            return -parts[0]  # type: ignore[operator]
        if x.op == "mul":
            for factor, part in ((x.args[0], parts[1]), (x.args[1], parts[0])):
                if factor.op == "const":
                    return factor.attr * part  # type: ignore[operator]
            return None
        return parts[0] + parts[1] if x.op == "add" else parts[0] - parts[1]  # type: ignore[operator]

    def address(self, scope: Scope, buffer: str, index: str, width: int = 1) -> str:
        t = MEMORY[self.dtypes[buffer]]
        return scope.emit(f"getelementptr {t}, ptr {self.pointers[buffer]}, {wide('i64', width)} {index}")

    def load(self, scope: Scope, x: Expr, width: int) -> str:
        buffer, dtype, index = str(x.attr), x.dtype, x.args[0]
        size, scalar = DTYPES[dtype].size, MEMORY[dtype]
        if width == 1:
            p = self.address(scope, buffer, self.value(index, 1))
            return decode(scope.emit, scope.emit(f"load {scalar}, ptr {p}, align {size}"), dtype, 1)
        stride = self.stride(index)
        t, suffix, mask = wide(scalar, width), f"v{width}{SUFFIX.get(scalar, scalar)}", scope.mask
        if stride in (1, -1):
            p = self.address(scope, buffer, self.value(index, 1))
            if stride == -1:
                p = scope.emit(f"getelementptr {scalar}, ptr {p}, i64 {1 - width}")
            if mask is None:
                bits = scope.emit(f"load {t}, ptr {p}, align {size}")
            else:
                m = mask if stride == 1 else reverse(scope, mask, "i1", width)
                bits = scope.emit(
                    f"call {t} @llvm.masked.load.{suffix}.p0(ptr align {size} {p}, {wide('i1', width)} {m}, "
                    f"{t} zeroinitializer)"
                )
            return decode(scope.emit, bits if stride == 1 else reverse(scope, bits, scalar, width), dtype, width)
        p = self.address(scope, buffer, self.value(index, width), width)
        bits = scope.emit(
            f"call {t} @llvm.masked.gather.{suffix}.v{width}p0({wide('ptr', width)} align {size} {p}, "
            f"{wide('i1', width)} {mask or 'splat (i1 true)'}, {t} zeroinitializer)"
        )
        return decode(scope.emit, bits, dtype, width)

    def store(self, s: Store) -> None:
        scope, dtype, width = self.scope, self.dtypes[s.buffer], self.scope.width
        size, scalar = DTYPES[dtype].size, MEMORY[dtype]
        bits = encode(scope.emit, self.value(s.value, width), dtype, width)
        t, suffix, mask = wide(scalar, width), f"v{width}{SUFFIX.get(scalar, scalar)}", scope.mask
        if width == 1:
            scope.do(f"store {t} {bits}, ptr {self.address(scope, s.buffer, self.value(s.index, 1))}, align {size}")
        elif self.stride(s.index) == 1:
            p = self.address(scope, s.buffer, self.value(s.index, 1))
            if mask is not None:
                scope.do(
                    f"call void @llvm.masked.store.{suffix}.p0({t} {bits}, ptr align {size} {p}, "
                    f"{wide('i1', width)} {mask})"
                )
            elif s is self.streamed:
                scope.do(f"store {t} {bits}, ptr {p}, align {min(LINE, width * size)}, !nontemporal !0")
            else:
                scope.do(f"store {t} {bits}, ptr {p}, align {size}")
        else:
            p = self.address(scope, s.buffer, self.value(s.index, width), width)
            scope.do(
                f"call void @llvm.masked.scatter.{suffix}.v{width}p0({t} {bits}, {wide('ptr', width)} align {size} "
                f"{p}, {wide('i1', width)} {mask or 'splat (i1 true)'})"
            )
        self.forget({s.buffer})

    # Statements.

    def block(self, statements: Iterable[Statement]) -> None:
        for s in statements:
            if isinstance(s, Let):
                self.let(s)
            elif isinstance(s, Store):
                self.store(s)
            elif isinstance(s, If):
                self.branch(s)
            elif isinstance(s, For):
                self.loop(s)
            else:
                self.reduce(s)

    def let(self, s: Let) -> None:
        scope = self.scope
        varies = self.varies(s.value)
        if self.reads(s.value):
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

        if s.vector and scope.width == 1 and vectorisable(s.body, {s.var}):
            self.vector_loop(s.var, first, last, stored(s.body), [], body, stream_store(s))
        else:
            self.serial_loop(s.var, first, last, 1, stored(s.body), [], body)

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
        contiguous = self.stride(index) == 1
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

        def body(_: list[str]) -> list[str]:
            scope = self.scope
            count = scope.emit(f"sub i64 {self.value(r.var, 1)}, {first}")
            lane = scope.emit(f"and i64 {count}, {lanes - 1}")
            places = [element(scope, s, kind, lane) for s, (kind, _) in zip(slots, carried, strict=True)]
            before = [scope.emit(f"load {kind}, ptr {p}") for p, (kind, _) in zip(places, carried, strict=True)]
            for p, value, (kind, _) in zip(places, self.step(r, width, before), carried, strict=True):
                scope.do(f"store {kind} {value}, ptr {p}")
            return []

        self.serial_loop(r.var, first, last, 1, stored(r.body), [], body)
        values = [
            [outer.emit(f"load {t}, ptr {element(outer, s, t, k)}") for s, (t, _) in zip(slots, carried, strict=True)]
            for k in range(lanes)
        ]
        while len(values) > 1:
            half = len(values) // 2
            values = [self.merge(r, values[k], values[k + half], width) for k in range(half)]
        return values[0]


def element(scope: Scope, slot: str, kind: str, k: int | str) -> str:
    return scope.emit(f"getelementptr {kind}, ptr {slot}, i64 {k}")


def splat(scope: Scope, value: str, dtype: str, width: int) -> str:
    t = register(dtype, width)
    first = scope.emit(f"insertelement {t} poison, {REGISTER[dtype]} {value}, i64 0")
    return scope.emit(f"shufflevector {t} {first}, {t} poison, <{width} x i32> zeroinitializer")


def reverse(scope: Scope, value: str, scalar: str, width: int) -> str:
    t = wide(scalar, width)
    order = ", ".join(f"i32 {k}" for k in reversed(range(width)))
    return scope.emit(f"shufflevector {t} {value}, {t} poison, <{width} x i32> <{order}>")


def extract(scope: Scope, value: str, dtype: str, whole: int, start: int, width: int) -> str:
    """Lanes start … start + width - 1 of a vector of `whole` lanes."""
    t = register(dtype, whole)
    if width == 1:
        return scope.emit(f"extractelement {t} {value}, i64 {start}")
    order = ", ".join(f"i32 {k}" for k in range(start, start + width))
    return scope.emit(f"shufflevector {t} {value}, {t} poison, <{width} x i32> <{order}>")


def stored(statements: Iterable[Statement]) -> set[str]:
    """The buffers that statements write."""
    found: set[str] = set()
    for s in statements:
        if isinstance(s, Store):
            found.add(s.buffer)
        elif isinstance(s, If | For | Reduce):
            found |= stored(s.body)
    return found


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


def vectorisable(statements: Iterable[Statement], varying: set[Expr]) -> bool:
    """Whether loops inside run the same iterations in every lane; `varying` collects what differs between lanes."""
    def differs(*xs: Expr) -> bool:
        return any(y in varying for y in postorder(*xs))

    for s in statements:
        if isinstance(s, Let) and differs(s.value):
            varying.add(s.var)
        elif isinstance(s, For | Reduce):
            if differs(s.start, s.stop):
                return False
            if isinstance(s, Reduce):
                varying.update(a.var for a in s.accumulators)
        if isinstance(s, If | For | Reduce) and not vectorisable(s.body, varying):
            return False
    return True
