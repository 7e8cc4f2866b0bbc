"""Complex numbers as pairs of reals: a Kernel's complex values, buffers and accumulators taken apart.

After `split` nothing complex is left: a c64 buffer is an f32 buffer of twice the length, real parts at even places, and
every renderer gets complex arithmetic for nothing. Runs before `functions.expand`. Imports ir only.
Read next: `complex_functions.py` (exp, log, … of a pair), `kernel.py`, `interpret.py` (arithmetic as NumPy says it).
"""

from __future__ import annotations

from dataclasses import replace

from .complex_functions import lower, product, quotient
from .expr import Expr, bitcast, cast, const, load, node, postorder, rebuild, var, where
from .kernel import Accumulator, Buffer, For, If, Kernel, Let, Reduce, Scalar, Statement, Store, expressions, rewrite

PART = {"c64": "f32", "c128": "f64"}


def split(kernel: Kernel) -> Kernel:
    """The same kernel with real types only; the kernel itself where it has no complex ones."""
    if all(x.dtype not in PART for x in postorder(*expressions(kernel.body))):
        return kernel
    kernel = rewrite(kernel, lower)
    splitter = Splitter()
    params: list[Buffer | Scalar] = []
    for p in kernel.params:
        if isinstance(p, Scalar) and p.dtype == "c64":
            bits = var(p.name, "u64")
            low, high = cast(bits, "u32"), cast(node("shr", "u64", (bits, const(32, "u64"))), "u32")
            splitter.pairs[var(p.name, "c64")] = bitcast(low, "f32"), bitcast(high, "f32")
            params.append(Scalar(p.name, "u64"))
        else:
            params.append(replace(p, dtype=PART.get(p.dtype, p.dtype)))
    buffers = frozenset(p.name for p in kernel.params if isinstance(p, Buffer) and p.dtype in PART)
    return Kernel(kernel.name, tuple(params), splitter.block(kernel.body, buffers))


class Splitter:
    """`pairs` holds the two parts of complex Exprs, `reals` real Exprs with no complex part below them."""

    def __init__(self) -> None:
        self.pairs: dict[Expr, tuple[Expr, Expr]] = {}
        self.reals: dict[Expr, Expr] = {}
        self.stores = 0

    def real(self, x: Expr) -> Expr:
        self.visit(x)
        return self.reals[x]

    def parts(self, x: Expr) -> tuple[Expr, ...]:
        """One Expr for a real x, two for a complex one."""
        self.visit(x)
        return self.pairs[x] if x.dtype in PART else (self.reals[x],)

    def visit(self, root: Expr) -> None:
        for x in postorder(root):
            if x in self.pairs or x in self.reals:
                continue
            if x.dtype in PART:
                self.pairs[x] = self.pair(x)
            elif x.args and x.args[0].dtype in PART:
                self.reals[x] = self.from_complex(x)
            else:
                self.reals[x] = rebuild(x, tuple(self.reals[a] for a in x.args))

    def from_complex(self, x: Expr) -> Expr:
        a, b = self.pairs[x.args[0]]
        if x.op in ("real", "imag"):
            return a if x.op == "real" else b
        if x.op == "cast":
            return cast(a, x.dtype) if x.dtype != "bool" else cast(a, "bool") | cast(b, "bool")
        if x.op in ("eq", "ne"):
            c, d = self.pairs[x.args[1]]
            join = "and" if x.op == "eq" else "or"
            return node(join, "bool", (node(x.op, "bool", (a, c)), node(x.op, "bool", (b, d))))
        raise TypeError(f"{x.op}: has no meaning on {x.args[0].dtype}; work on real and imag")

    def pair(self, x: Expr) -> tuple[Expr, Expr]:
        part = PART[x.dtype]
        if x.op == "const":
            value = complex(x.attr)  # type: ignore[call-overload]
            return const(value.real, part), const(value.imag, part)
        if x.op == "var":
            return var(f"{x.attr}_re", part), var(f"{x.attr}_im", part)
        if x.op == "load":
            at = self.reals[x.args[0]] * 2
            return load(str(x.attr), part, at), load(str(x.attr), part, at + 1)
        if x.op == "complex":
            return self.reals[x.args[0]], self.reals[x.args[1]]
        if x.op == "select":
            condition = self.reals[x.args[0]]
            (a, b), (c, d) = self.pairs[x.args[1]], self.pairs[x.args[2]]
            return where(condition, a, c), where(condition, b, d)
        if x.op == "cast" and x.args[0].dtype not in PART:
            return cast(self.reals[x.args[0]], part), const(0.0, part)
        a, b = self.pairs[x.args[0]]
        if x.op == "cast":
            return cast(a, part), cast(b, part)
        if x.op == "neg":
            return -a, -b
        if x.op in ("add", "sub", "mul", "div"):
            c, d = self.pairs[x.args[1]]
            if x.op in ("add", "sub"):
                return (a + c, b + d) if x.op == "add" else (a - c, b - d)
            return product((a, b), (c, d)) if x.op == "mul" else quotient((a, b), (c, d))
        raise TypeError(f"{x.op}: has no meaning on {x.dtype}; work on real and imag")

    def block(self, body: tuple[Statement, ...], buffers: frozenset[str]) -> tuple[Statement, ...]:
        return tuple(new for s in body for new in self.statement(s, buffers))

    def statement(self, s: Statement, buffers: frozenset[str]) -> list[Statement]:
        if isinstance(s, Let):
            return [Let(v, x) for v, x in zip(self.parts(s.var), self.parts(s.value), strict=True)]
        if isinstance(s, Store):
            index, values = self.real(s.index), self.parts(s.value)
            if s.buffer not in buffers:
                return [Store(s.buffer, index, values[0], s.stream)]
            # Both parts are computed before either is written: the value may read the place it goes to.
            self.stores += 1
            names = [var(f"{s.buffer}_{part}{self.stores}", values[0].dtype) for part in ("re", "im")]
            return [*map(Let, names, values), *(Store(s.buffer, index * 2 + k, name) for k, name in enumerate(names))]
        if isinstance(s, If):
            return [If(self.real(s.condition), self.block(s.body, buffers))]
        start, stop, body = self.real(s.start), self.real(s.stop), self.block(s.body, buffers)
        if isinstance(s, For):
            return [For(s.var, start, stop, body, s.parallel, s.vector)]
        accumulators = tuple(
            Accumulator(v, x)
            for a in s.accumulators
            for v, x in zip(self.parts(a.var), self.parts(a.init), strict=True)
        )
        step, merge, others = (tuple(p for x in xs for p in self.parts(x)) for xs in (s.step, s.merge, s.others))
        return [Reduce(s.var, start, stop, accumulators, step, merge, others, s.lanes, body)]
