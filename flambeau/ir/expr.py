"""Expr: a typed scalar expression, the body of every pointwise op and every kernel.

An Expr is a node of a hash-consed DAG: two equal expressions are the same object, so `is` compares them and a shared
subexpression is computed once. Types are the short names of `DTYPES`; nothing here knows tensors, loops or targets.
Read next: `functions/` (what exp, tanh, … expand to), `derive.py` (derivatives), `kernel.py` (loops around Exprs).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakValueDictionary


class Type(NamedTuple):
    """What a dtype's name stands for: its class ('b', 'u', 'i', 'f', 'c'), its size in bytes, its rank in promotion."""

    kind: str
    size: int
    rank: int


DTYPES = {
    "bool": Type("b", 1, 0),
    "u8": Type("u", 1, 1),
    "i8": Type("i", 1, 2),
    "u16": Type("u", 2, 3),
    "i16": Type("i", 2, 4),
    "u32": Type("u", 4, 5),
    "i32": Type("i", 4, 6),
    "u64": Type("u", 8, 7),
    "i64": Type("i", 8, 8),
    "f16": Type("f", 2, 9),
    "bf16": Type("f", 2, 10),
    "f32": Type("f", 4, 11),
    "f64": Type("f", 8, 12),
    "c64": Type("c", 8, 13),
    "c128": Type("c", 16, 14),
}

# Operations every renderer and the interpreter know: name -> number of arguments. Meanings:
#   div     IEEE division, floating types only
#   idiv    integer division rounding towards zero; x idiv 0 is 0 and INT_MIN idiv -1 is INT_MIN, never a trap
#   irem    x - (x idiv y) * y, with the same guarantees
#   min max NaN if either argument is NaN; -0.0 < +0.0
#   fma     one rounding; the only place where a product and a sum may be contracted
#   round   to nearest, ties to even
#   shl shr shift counts are taken modulo the width; shr is arithmetic on signed types
#   cast    C's conversion; float to integer truncates, and out of range or NaN gives the type's minimum (0 if unsigned)
#   bitcast same size, same bits; which NaN an operation gives, its sign included, is not specified
#   select  args (condition, if true, if false); the branch not taken may hold any value
PRIMITIVES = {
    "const": 0, "var": 0, "load": 1,
    "add": 2, "sub": 2, "mul": 2, "div": 2, "idiv": 2, "irem": 2, "neg": 1, "abs": 1, "min": 2, "max": 2,
    "fma": 3, "sqrt": 1, "floor": 1, "ceil": 1, "trunc": 1, "round": 1,
    "and": 2, "or": 2, "xor": 2, "not": 1, "shl": 2, "shr": 2,
    "lt": 2, "le": 2, "eq": 2, "ne": 2, "select": 3, "cast": 1, "bitcast": 1,
    "complex": 2, "real": 1, "imag": 1,
}  # fmt: skip

# Named functions, kept whole until `functions.expand` so that derivatives and printed formulas stay short.
FUNCTIONS = {
    "exp": 1, "exp2": 1, "expm1": 1, "log": 1, "log2": 1, "log10": 1, "log1p": 1,
    "sin": 1, "cos": 1, "tan": 1, "asin": 1, "acos": 1, "atan": 1, "atan2": 2,
    "sinh": 1, "cosh": 1, "tanh": 1, "asinh": 1, "acosh": 1, "atanh": 1,
    "erf": 1, "erfc": 1, "erfinv": 1, "lgamma": 1, "digamma": 1, "pow": 2, "rsqrt": 1,
    "i0": 1, "i0e": 1, "i1": 1, "i1e": 1, "ndtri": 1, "polygamma": 2, "zeta": 2,
}  # fmt: skip

COMPARISONS = frozenset(("lt", "le", "eq", "ne"))
_interned: WeakValueDictionary[tuple, Expr] = WeakValueDictionary()


class Expr:
    """One node: `op`, result `dtype`, `args` (Exprs) and `attr` (constant value, variable or buffer name)."""

    __slots__ = ("op", "dtype", "args", "attr", "__weakref__")
    op: str
    dtype: str
    args: tuple[Expr, ...]
    attr: object

    def __repr__(self) -> str:
        from .text import format_expr

        return format_expr(self)

    def __bool__(self) -> bool:
        raise TypeError(
            "an op's body can't branch on a symbolic value: it runs once, before any data is there; "
            "use where(condition, if_true, if_false)"
        )

    def __reduce__(self):
        return node, (self.op, self.dtype, self.args, self.attr)

    def __add__(self, other: Expr | float) -> Expr: return binary("add", self, other)  # fmt: skip

    def __radd__(self, other: Expr | float) -> Expr: return binary("add", other, self)  # fmt: skip

    def __sub__(self, other: Expr | float) -> Expr: return binary("sub", self, other)  # fmt: skip

    def __rsub__(self, other: Expr | float) -> Expr: return binary("sub", other, self)  # fmt: skip

    def __mul__(self, other: Expr | float) -> Expr: return binary("mul", self, other)  # fmt: skip

    def __rmul__(self, other: Expr | float) -> Expr: return binary("mul", other, self)  # fmt: skip

    def __truediv__(self, other: Expr | float) -> Expr: return divide(self, other)  # fmt: skip

    def __rtruediv__(self, other: Expr | float) -> Expr: return divide(other, self)  # fmt: skip

    def __and__(self, other: Expr | int) -> Expr: return binary("and", self, other)  # fmt: skip

    def __or__(self, other: Expr | int) -> Expr: return binary("or", self, other)  # fmt: skip

    def __xor__(self, other: Expr | int) -> Expr: return binary("xor", self, other)  # fmt: skip

    def __lshift__(self, other: Expr | int) -> Expr: return binary("shl", self, other)  # fmt: skip

    def __rshift__(self, other: Expr | int) -> Expr: return binary("shr", self, other)  # fmt: skip

    def __neg__(self) -> Expr: return unary("neg", self)  # fmt: skip

    def __abs__(self) -> Expr: return unary("abs", self)  # fmt: skip

    def __invert__(self) -> Expr: return unary("not", self)  # fmt: skip

    def __lt__(self, other: Expr | float) -> Expr: return binary("lt", self, other)  # fmt: skip

    def __le__(self, other: Expr | float) -> Expr: return binary("le", self, other)  # fmt: skip

    def __gt__(self, other: Expr | float) -> Expr: return binary("lt", other, self)  # fmt: skip

    def __ge__(self, other: Expr | float) -> Expr: return binary("le", other, self)  # fmt: skip

    # Identity is equality of hash-consed nodes, so == stays Python's; `eq` and `ne` build comparisons.
    __hash__ = object.__hash__


def node(op: str, dtype: str, args: tuple[Expr, ...] = (), attr: object = None) -> Expr:
    """The one Expr with these parts; no promotion, no simplification."""
    # NaN, -0.0 and True must not be confused with each other, with 0.0 or with 1: floats are keyed by their text.
    key = (op, dtype, args, repr(attr) if op == "const" else attr)
    found = _interned.get(key)
    if found is None:
        found = object.__new__(Expr)
        found.op, found.dtype, found.args, found.attr = op, dtype, args, attr
        _interned[key] = found
    return found


def const(value: float | complex, dtype: str) -> Expr:
    kind = DTYPES[dtype].kind
    convert = {"b": bool, "u": int, "i": int, "f": float, "c": complex}[kind]
    return node("const", dtype, (), convert(value))  # type: ignore[arg-type]


def var(name: str, dtype: str = "i64") -> Expr:
    """A named value: an op's operand, a loop variable, a kernel parameter, an accumulator."""
    return node("var", dtype, (), name)


def load(buffer: str, dtype: str, index: Expr) -> Expr:
    return node("load", dtype, (index,), buffer)


def is_const(x: Expr, value: float) -> bool:
    """Whether x is this constant, sign of zero included."""
    return x.op == "const" and x.attr == value and math.copysign(1, x.attr.real) == math.copysign(1, value)


def weak_dtype(value: object, beside: str | None) -> str:
    """The dtype a Python number takes beside an Expr of dtype `beside` (PyTorch's rule for scalars)."""
    kind = DTYPES[beside].kind if beside else "b"
    if isinstance(value, bool):
        return beside or "bool"
    if isinstance(value, int):
        return beside if beside and kind != "b" else "i64"
    if isinstance(value, float):
        return beside if beside and kind in "fc" else "f32"
    if isinstance(value, complex):
        return beside if beside and kind == "c" else "c128" if beside == "f64" else "c64"
    raise TypeError(f"an op's body works on symbolic values and Python numbers, got {type(value).__name__}")


def promote(a: str, b: str) -> str:
    """PyTorch's promotion of two tensor dtypes; of unsigned and signed integers the array API standard's."""
    if a == b:
        return a
    low, high = sorted((a, b), key=lambda d: DTYPES[d].rank)
    if {DTYPES[low].kind, DTYPES[high].kind} == {"u", "i"}:
        unsigned, signed = (low, high) if DTYPES[low].kind == "u" else (high, low)
        size = max(2 * DTYPES[unsigned].size, DTYPES[signed].size)
        if size > 8:
            raise RuntimeError("uint64 and signed integers have no common dtype; convert one with x.to(dtype)")
        return {2: "i16", 4: "i32", 8: "i64"}[size]
    if {low, high} == {"f16", "bf16"}:
        return "f32"
    if high == "c64" and low == "f64":
        return "c128"
    return high


def as_expr(x: Expr | float | complex, beside: str | None = None) -> Expr:
    return x if isinstance(x, Expr) else const(x, weak_dtype(x, beside))


def wrapped(value: int, dtype: str) -> int:
    """The number of an integer dtype with value's low bits."""
    bits = DTYPES[dtype].size * 8
    value &= (1 << bits) - 1
    return value - (1 << bits) if DTYPES[dtype].kind == "i" and value >> (bits - 1) else value


def cast(x: Expr, dtype: str) -> Expr:
    if x.dtype == dtype:
        return x
    if x.op == "const" and dtype not in ("f16", "bf16", "f32", "c64") and DTYPES[x.dtype].kind in "bui":
        if DTYPES[dtype].kind in "bfc":
            return const(x.attr, dtype)  # type: ignore[arg-type]
        return const(wrapped(int(x.attr), dtype), dtype)  # type: ignore[call-overload]
    return node("cast", dtype, (x,))


def bitcast(x: Expr, dtype: str) -> Expr:
    if DTYPES[x.dtype].size != DTYPES[dtype].size:
        raise TypeError(f"bitcast: sizes differ, {x.dtype} to {dtype}")
    return x if x.dtype == dtype else node("bitcast", dtype, (x,))


def common(*xs: Expr | float) -> tuple[Expr, ...]:
    """The arguments as Exprs of one dtype: Exprs promote each other, Python numbers follow them."""
    dtype: str | None = None
    for x in xs:
        if isinstance(x, Expr):
            dtype = x.dtype if dtype is None else promote(dtype, x.dtype)
    for x in xs:
        if not isinstance(x, Expr):
            dtype = promote(dtype, weak_dtype(x, dtype)) if dtype else weak_dtype(x, None)
    assert dtype is not None
    return tuple(cast(as_expr(x, dtype), dtype) for x in xs)


def binary(op: str, a: Expr | float, b: Expr | float) -> Expr:
    x, y = common(a, b)
    if x.dtype == "bool" and op in ("add", "mul"):
        op = "or" if op == "add" else "and"
    if x.op == "const" and y.op == "const" and DTYPES[x.dtype].kind in "iu" and op in ("add", "sub", "mul"):
        value = {"add": x.attr + y.attr, "sub": x.attr - y.attr, "mul": x.attr * y.attr}[op]  # type: ignore[operator]
        return const(wrapped(value, x.dtype), x.dtype)
    # Only identities that hold bit for bit, -0.0 and NaN included.
    if op == "mul":
        if is_const(x, 1.0):
            return y
        if is_const(y, 1.0):
            return x
    exact = DTYPES[x.dtype].kind in "iu"
    if op == "sub" and is_const(y, 0.0) or op == "add" and exact and is_const(y, 0):
        return x
    if op == "add" and exact and is_const(x, 0):
        return y
    if op == "mul" and exact and (is_const(x, 0) or is_const(y, 0)):
        return const(0, x.dtype)
    return node(op, "bool" if op in COMPARISONS else x.dtype, (x, y))


def divide(a: Expr | float, b: Expr | float) -> Expr:
    """True division: integers become floating first."""
    x, y = (floating(v) for v in common(a, b))
    return x if is_const(y, 1.0) else node("div", x.dtype, (x, y))


def floating(x: Expr) -> Expr:
    """x, or x as f32 where it is an integer or boolean (PyTorch's default dtype)."""
    return x if DTYPES[x.dtype].kind in "fc" else cast(x, "f32")


def unary(op: str, x: Expr | float) -> Expr:
    x = as_expr(x)
    if op == "neg" and x.op == "neg":
        return x.args[0]
    if op in ("floor", "ceil", "trunc", "round") and DTYPES[x.dtype].kind in "bui":
        return x
    if op == "abs" and DTYPES[x.dtype].kind in "bu":
        return x
    return node(op, x.dtype, (x,))


def function(name: str, *xs: Expr | float) -> Expr:
    """A named function (FUNCTIONS) or sqrt of floating arguments; integers become floating first."""
    args = tuple(floating(v) for v in common(*xs))
    return node(name, args[0].dtype, args)


def where(condition: Expr | bool, a: Expr | float, b: Expr | float) -> Expr:
    x, y = common(a, b)
    if isinstance(condition, bool):
        return x if condition else y
    if x is y or condition.op == "const":
        return x if x is y or condition.attr else y
    if condition.dtype != "bool":
        condition = node("ne", "bool", (condition, const(0, condition.dtype)))
    return node("select", x.dtype, (condition, x, y))


def eq(a: Expr | float, b: Expr | float) -> Expr: return binary("eq", a, b)  # fmt: skip


def ne(a: Expr | float, b: Expr | float) -> Expr: return binary("ne", a, b)  # fmt: skip


def minimum(a: Expr | float, b: Expr | float) -> Expr: return binary("min", a, b)  # fmt: skip


def maximum(a: Expr | float, b: Expr | float) -> Expr: return binary("max", a, b)  # fmt: skip


def idiv(a: Expr | int, b: Expr | int) -> Expr: return binary("idiv", a, b)  # fmt: skip


def irem(a: Expr | int, b: Expr | int) -> Expr: return binary("irem", a, b)  # fmt: skip


def sqrt(x: Expr) -> Expr: return function("sqrt", x)  # fmt: skip


def floor(x: Expr) -> Expr: return unary("floor", x)  # fmt: skip


def ceil(x: Expr) -> Expr: return unary("ceil", x)  # fmt: skip


def trunc(x: Expr) -> Expr: return unary("trunc", x)  # fmt: skip


def round_even(x: Expr) -> Expr: return unary("round", x)  # fmt: skip


def isnan(x: Expr) -> Expr: return ne(x, x)  # fmt: skip


def fma(a: Expr | float, b: Expr | float, c: Expr | float) -> Expr:
    args = common(a, b, c)
    return node("fma", args[0].dtype, args)


def __getattr__(name: str) -> Callable[..., Expr]:
    """exp, log, tanh, …: one builder per entry of FUNCTIONS."""
    if name in FUNCTIONS:

        def build(*xs: Expr | float) -> Expr:
            if len(xs) != FUNCTIONS[name]:
                raise TypeError(f"{name}: takes {FUNCTIONS[name]} arguments, got {len(xs)}")
            return function(name, *xs)

        build.__name__ = build.__qualname__ = name
        globals()[name] = build
        return build
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def postorder(*roots: Expr) -> list[Expr]:
    """Every node below the roots, once each, arguments before users; iterative, so depth is no limit."""
    order: list[Expr] = []
    seen: set[Expr] = set()
    stack: list[tuple[Expr, bool]] = [(r, False) for r in reversed(roots)]
    while stack:
        x, ready = stack.pop()
        if ready:
            order.append(x)
        elif x not in seen:
            seen.add(x)
            stack.append((x, True))
            stack.extend((a, False) for a in reversed(x.args) if a not in seen)
    return order


class Reads(dict[Expr, frozenset[str]]):
    """reads[x]: the buffers that x, or anything it is made of, loads from; found once for each node."""

    def __missing__(self, x: Expr) -> frozenset[str]:
        for y in postorder(x):
            if y not in self:
                own = {str(y.attr)} if y.op == "load" else ()
                self[y] = frozenset(own).union(*(self[a] for a in y.args))
        return self[x]


def rebuild(x: Expr, args: tuple[Expr, ...]) -> Expr:
    """x with other arguments."""
    return x if args == x.args else node(x.op, x.dtype, args, x.attr)


def substitute(roots: tuple[Expr, ...], mapping: dict[Expr, Expr]) -> tuple[Expr, ...]:
    """The roots with every node that is a key replaced by its value."""
    done: dict[Expr, Expr] = dict(mapping)
    for x in postorder(*roots):
        if x not in done:
            done[x] = rebuild(x, tuple(done[a] for a in x.args))
    return tuple(done[r] for r in roots)
