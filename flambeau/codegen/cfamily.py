"""Renders a Kernel as C text, the same for every dialect: its statements, loops and reductions.

Loops stay loops: the parallel one is a macro of the dialect (a loop over [begin, end) in C99, one work-item for each
iteration elsewhere), a vector loop an ordinary one that a compiler may vectorise. A Reduce keeps its lanes in an array
and merges them in the order the IR says, so results are those of every other renderer, bit for bit.
Imports ir and its neighbours in codegen. Read next: `cfamily_values.py`, `dialects.py` (what the macros stand for).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from ..ir.complex import split
from ..ir.expr import DTYPES, Expr, var
from ..ir.functions import expand
from ..ir.kernel import Buffer, For, If, Kernel, Let, Reduce, Scalar, Statement, Store, rewrite
from .cfamily_ops import MEMORY, REGISTER, Text
from .cfamily_values import Scope, Values
from .columns import by_tiles
from .dialects import Dialect
from .statements import stored, vectorisable, without_prefetches

INDENT = "    "


def render(kernels: Kernel | Sequence[Kernel], dialect: Dialect) -> str:
    """A translation unit with one or several kernels: prelude, helper functions, one function `symbol(kernel)` each.

    >>> from flambeau.codegen.dialects import OPENCL
    >>> from flambeau.ir.expr import const, load, var
    >>> from flambeau.ir.kernel import Buffer, For, Kernel, Scalar, Store
    >>> i, n = var("i"), var("n")
    >>> body = (Store("y", i, load("x", "f32", i) + 1.0),)
    >>> params = (Buffer("x", "f32"), Buffer("y", "f32", "w"), Scalar("n"))
    >>> kernel = Kernel("increment", params, (For(i, const(0, "i64"), n, body, parallel=True),))
    >>> print(render(kernel, OPENCL).partition("KERNEL k_")[2])
    increment(GLOBAL const f32 *x, GLOBAL f32 *y, i64 n, i64 begin, i64 end) {
        PARALLEL(i, begin, end) {
            y[i] = x[i] + 1.0f;
        }
    }
    <BLANKLINE>
    """
    several = [kernels] if isinstance(kernels, Kernel) else kernels
    renderers = [Renderer(rewrite(split(k), expand), dialect) for k in several]
    functions = [line for r in renderers for line in (r.function(), r.slots() if dialect.slots else None) if line]
    helpers: dict[str, str] = {}
    for r in renderers:
        helpers.update(r.helpers)
    return "\n\n".join([dialect.prelude.strip(), *helpers.values(), *functions]) + "\n"


def symbol(kernel: Kernel) -> str:
    """The name of a kernel's function; a kernel named like a function of the library must not collide with it."""
    return "k_" + re.sub(r"[^0-9A-Za-z_]", "_", kernel.name)


def parameter_types(kernel: Kernel) -> list[str]:
    """The C type of each parameter of the kernel's function but `begin` and `end`; those of buffers end with *."""
    return [MEMORY[p.dtype] + " *" if isinstance(p, Buffer) else REGISTER[p.dtype] for p in split(kernel).params]


class Renderer(Values):
    """Renders the statements of one kernel, real and with named functions expanded."""

    def __init__(self, kernel: Kernel, dialect: Dialect):
        super().__init__(kernel)
        self.dialect = dialect
        # Variables of loops over columns that are rewritten already.
        self.tiled: set[Expr] = set()

    def function(self) -> str:
        """The kernel as a function of its parameters and the range of iterations."""
        params = []
        for p in self.kernel.params:
            name = self.identifier(p.name)
            if isinstance(p, Buffer):
                params.append(f"GLOBAL {'const ' if p.access == 'r' else ''}{MEMORY[p.dtype]} *{name}")
            else:
                params.append(f"{REGISTER[p.dtype]} {name}")
                self.bind(var(p.name, p.dtype), name)
        self.block(self.kernel.body)
        head = f"KERNEL {symbol(self.kernel)}({', '.join([*params, 'i64 begin', 'i64 end'])}) {{"
        return "\n".join([head, *(INDENT + line for line in self.scope.lines), "}"])

    def slots(self) -> str:
        """The same with the runtime's calling convention: one 64-bit slot for each parameter."""
        texts = [*(self.slot(k, p) for k, p in enumerate(self.kernel.params)), "begin", "end"]
        name = symbol(self.kernel)
        head = f"void {name}_slots(const i64 *args, i64 begin, i64 end) {{"
        return f"{head}\n{INDENT}{name}({', '.join(texts)});\n}}"

    def slot(self, k: int, p: Buffer | Scalar) -> str:
        if isinstance(p, Buffer):
            return f"({'const ' if p.access == 'r' else ''}{MEMORY[p.dtype]} *)(uintptr_t)args[{k}]"
        if DTYPES[p.dtype].kind in "ui":
            return f"({p.dtype})args[{k}]"
        if p.dtype in ("f32", "f64"):
            return f"AS_{p.dtype.upper()}((u{p.dtype[1:]})args[{k}])"
        return self.decode(Text(f"({MEMORY[p.dtype]})args[{k}]"), p.dtype).code

    # Statements.

    def block(self, statements: Iterable[Statement]) -> None:
        for s in statements:
            if isinstance(s, Let):
                self.let(s)
            elif isinstance(s, Store):
                self.store(s.buffer, s.index, s.value)
            elif isinstance(s, If):
                inner = Scope(self.scope)
                head = f"if ({self.value(s.condition).code}) {{"
                self.inside(inner, s.body)
                self.nest([head], inner)
            elif isinstance(s, For):
                self.loop(s)
            elif s.lanes == 1:
                self.fold(s)
            else:
                self.fold_lanes(s)

    def inside(self, scope: Scope, body: Iterable[Statement]) -> None:
        outer, self.scope = self.scope, scope
        self.block(body)
        self.scope = outer

    def nest(self, heads: Sequence[str], inner: Scope) -> None:
        """The block in so many braces as `heads` open; a head that opens none is a statement before the next."""
        indent, close = "", []
        for head in heads:
            self.write(indent + head)
            if head.endswith("{"):
                close.append(indent + "}")
                indent += INDENT
        self.scope.lines += [*(indent + line for line in inner.lines), *reversed(close)]

    def let(self, s: Let) -> None:
        if self.uses.get(s.var) == 1:
            return  # nothing but this statement mentions it
        name = self.identifier(str(s.var.attr))
        self.assign(f"const {REGISTER[s.var.dtype]} {name}", s.value)
        self.bind(s.var, name)

    def loop(self, s: For) -> None:
        name = self.identifier(str(s.var.attr))
        if s.parallel:
            start = "" if s.start.op == "const" and s.start.attr == 0 else f"{self.bound(s.start)} + "
            head, guard = f"PARALLEL({name}, {start}begin, {start}end) {{", "if (begin < end) {"
        else:
            first, last = self.bound(s.start), self.bound(s.stop)
            if self.tiles(s, first, last):
                return
            head, guard = f"for (i64 {name} = {first}; {name} < {last}; ++{name}) {{", f"if ({first} < {last}) {{"

        def body() -> None:
            self.bind(s.var, name)
            self.block(s.body)

        self.repeat(guard, stored(s.body), body, [head])

    def tiles(self, s: For, first: str, last: str) -> bool:
        """Writes a loop over columns in its second order, if it has one and iterations aren't work-items anyway."""
        if not self.dialect.slots or not s.vector or s.var in self.tiled:
            return False
        tiled = by_tiles(s, len(self.names)) if vectorisable(s.body, {s.var}) else None
        if tiled is None:
            return False
        self.tiled.add(s.var)
        body = without_prefetches(tiled.body)
        self.learn(body)
        for b in tiled.buffers:
            self.dtypes[b.name] = b.dtype
            self.write(f"{MEMORY[b.dtype]} {self.identifier(b.name)}[{tiled.size}];")
        self.bind(tiled.first, first)
        self.bind(tiled.last, last)
        self.block(body)
        self.tiled.remove(s.var)
        return True

    def bound(self, x: Expr) -> str:
        """An end of a loop as a name or number: the loop reads it again and again."""
        found = self.value(x)
        return str(found if x.op == "const" else self.define(x, found, self.scope.depth))

    def repeat(self, guard: str, stores: set[str], body: Callable[[], None], *loops: Sequence[str]) -> None:
        """Loops with one body, given by their heads; what iterations have in common is computed once, in front of
        them, if they run at all."""
        self.forget(stores)
        outer = self.scope
        around = self.scope = Scope(outer)
        inner = self.scope = Scope(around, stores)
        body()
        self.scope = around if around.lines else outer
        for heads in loops:
            self.nest(heads, inner)
        self.scope = outer
        if around.lines:
            self.nest([guard], around)

    # Reductions.

    def fold(self, r: Reduce) -> None:
        """Iterations one after the other."""
        k = self.identifier(str(r.var.attr))
        first, last = self.bound(r.start), self.bound(r.stop)
        names = [self.identifier(str(a.var.attr)) for a in r.accumulators]
        for a, name in zip(r.accumulators, names, strict=True):
            self.assign(f"{REGISTER[a.var.dtype]} {name}", a.init)

        def body() -> None:
            self.bind(r.var, k)
            for a, name in zip(r.accumulators, names, strict=True):
                self.bind(a.var, name)
            self.block(r.body)
            if len(names) == 1:
                self.assign(names[0], r.step[0])
                return
            # Every step is taken before the first accumulator changes.
            new = [self.fresh() for _ in names]
            for x, name in zip(r.step, new, strict=True):
                self.assign(f"const {REGISTER[x.dtype]} {name}", x)
            for old, name in zip(names, new, strict=True):
                self.write(f"{old} = {name};")

        head = f"for (i64 {k} = {first}; {k} < {last}; ++{k}) {{"
        self.repeat(f"if ({first} < {last}) {{", stored(r.body), body, [head])
        for a, name in zip(r.accumulators, names, strict=True):
            self.bind(a.var, name)

    def fold_lanes(self, r: Reduce) -> None:
        """An array for each accumulator; whole blocks of as many iterations as there are lanes, then what is left of a
        block (the same text: a compiler makes vectors of the first only), then a tree of merges."""
        k, lanes = self.identifier(str(r.var.attr)), r.lanes
        first, last = self.bound(r.start), self.bound(r.stop)
        own = [a.var for a in r.accumulators]
        arrays = [self.fresh(self.identifier(str(v.attr))) for v in own]
        block, lane, right = (self.fresh(hint) for hint in ("block", "lane", "right"))
        for a, array in zip(r.accumulators, arrays, strict=True):
            self.write(f"{REGISTER[a.var.dtype]} {array}[{lanes}];")
        starts = " ".join(
            f"{array}[{lane}] = {self.value(a.init).code};" for array, a in zip(arrays, r.accumulators, strict=True)
        )
        self.write(f"for (i32 {lane} = 0; {lane} < {lanes}; ++{lane}) {{ {starts} }}")

        def take(variables: Sequence[Expr], at: str) -> None:
            for v, array in zip(variables, arrays, strict=True):
                name = self.identifier(str(v.attr))
                self.write(f"const {REGISTER[v.dtype]} {name} = {array}[{at}];")
                self.bind(v, name)

        def put(values: Sequence[Expr]) -> None:
            # Texts read the copies that `take` made, so the order of these doesn't matter.
            for x, array in zip(values, arrays, strict=True):
                self.assign(f"{array}[{lane}]", x)

        def step() -> None:
            if self.uses.get(r.var) != 1:
                self.write(f"const i64 {k} = {block} + {lane};")
                self.bind(r.var, k)
            take(own, lane)
            self.block(r.body)
            put(r.step)

        def merge() -> None:
            take(own, lane)
            take(r.others, f"{lane} + {right}")
            put(r.merge)

        self.write(f"i64 {block} = {first};")
        blocks = f"for (; {last} - {block} >= {lanes}; {block} += {lanes}) {{"
        every, rest = (f"for (i32 {lane} = 0; {lane} < {n}; ++{lane}) {{" for n in (lanes, f"{last} - {block}"))
        self.repeat(f"if ({first} < {last}) {{", stored(r.body), step, [blocks, every], [rest])
        halves = f"for (i32 {right} = {lanes // 2}; {right} > 0; {right} /= 2) {{"
        self.repeat("{", set(), merge, [halves, f"for (i32 {lane} = 0; {lane} < {right}; ++{lane}) {{"])
        for v, array in zip(own, arrays, strict=True):
            self.bind(v, f"{array}[0]")
