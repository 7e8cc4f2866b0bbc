"""What a well-formed Expr or Kernel is: rules as data, each a name that says what must hold, and a test for it.

Run on every kernel under FLAMBEAU_DEBUG=4 and in tests, not on the way of a program. A renderer may rely on all of it.
Imports ir only. Read next: `interpret.py` (what the statements mean).
"""

from __future__ import annotations

from collections.abc import Callable

from .expr import COMPARISONS, DTYPES, FUNCTIONS, PRIMITIVES, Expr, postorder
from .kernel import Buffer, For, If, Kernel, Let, Reduce, Scalar, Statement, Store
from .text import format_expr

SAME = frozenset((
    "add", "sub", "mul", "div", "idiv", "irem", "neg", "abs", "min", "max", "fma", "sqrt", "floor", "ceil", "trunc",
    "round", "and", "or", "xor", "not", "shl", "shr",
))  # fmt: skip
KINDS = {
    "add": "uifc", "sub": "uifc", "mul": "uifc", "div": "fc", "neg": "uifc", "abs": "uif", "idiv": "ui", "irem": "ui",
    "fma": "f", "sqrt": "f", "floor": "f", "ceil": "f", "trunc": "f", "round": "f", "min": "buif", "max": "buif",
    "and": "bui", "or": "bui", "xor": "bui", "not": "bui", "shl": "ui", "shr": "ui", "lt": "buif", "le": "buif",
}  # fmt: skip


def kind(x: Expr) -> str:
    return DTYPES[x.dtype].kind


def same_dtypes(x: Expr) -> bool:
    args = x.args[1:] if x.op == "select" else x.args
    if x.op in SAME or x.op in FUNCTIONS or x.op == "select":
        return all(a.dtype == x.dtype for a in args)
    return x.op not in COMPARISONS or x.args[0].dtype == x.args[1].dtype


def constant_fits(x: Expr) -> bool:
    if x.op != "const":
        return True
    if kind(x) in "ui":
        bits = DTYPES[x.dtype].size * 8 - (kind(x) == "i")
        return isinstance(x.attr, int) and (-(1 << bits) if kind(x) == "i" else 0) <= x.attr < 1 << bits
    return isinstance(x.attr, {"b": bool, "f": float, "c": complex}[kind(x)])


def parts_fit(x: Expr) -> bool:
    if x.op not in ("complex", "real", "imag"):
        return True
    whole, part = (x, x.args[0]) if x.op == "complex" else (x.args[0], x)
    return (whole.dtype, part.dtype) in (("c64", "f32"), ("c128", "f64")) and len({a.dtype for a in x.args}) == 1


EXPR_RULES: list[tuple[str, Callable[[Expr], bool]]] = [
    ("its operation is a primitive or a named function", lambda x: x.op in PRIMITIVES or x.op in FUNCTIONS),
    ("its dtype is one of DTYPES", lambda x: x.dtype in DTYPES),
    ("it has as many arguments as its operation takes",
     lambda x: len(x.args) == (PRIMITIVES[x.op] if x.op in PRIMITIVES else FUNCTIONS[x.op])),
    ("its arguments have one dtype, and arithmetic keeps it", same_dtypes),
    ("a comparison is bool", lambda x: x.op not in COMPARISONS or x.dtype == "bool"),
    ("a select's condition is bool", lambda x: x.op != "select" or x.args[0].dtype == "bool"),
    ("its operation is defined for the dtype", lambda x: x.op not in KINDS or kind(x.args[0]) in KINDS[x.op]),
    ("a named function is floating", lambda x: x.op not in FUNCTIONS or kind(x) in "fc"),
    ("a constant is a Python number its dtype holds", constant_fits),
    ("a bitcast keeps the size", lambda x: x.op != "bitcast" or DTYPES[x.dtype].size == DTYPES[x.args[0].dtype].size),
    ("complex numbers consist of floats of half their size", parts_fit),
    ("a load's index is i64", lambda x: x.op != "load" or x.args[0].dtype == "i64"),
    ("a variable or load has a name", lambda x: x.op not in ("var", "load") or str(x.attr).isidentifier()),
]  # fmt: skip


class Context:
    """What a statement sees: the kernel's buffers, the variables in scope, and whether it stands in a parallel loop."""

    def __init__(self, kernel: Kernel):
        self.buffers = kernel.buffers
        self.known: dict[str, str] = {p.name: p.dtype for p in kernel.params if isinstance(p, Scalar)}
        self.bound: set[str] = set(self.known) | set(self.buffers)
        self.loops = 0


def is_new(names: list[Expr], c: Context) -> bool:
    return all(v.op == "var" and v.attr not in c.bound for v in names) and len({v.attr for v in names}) == len(names)


def power_of_two(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0


def merges(s: Reduce) -> bool:
    n = len(s.accumulators)
    return (
        s.lanes == 1
        or len(s.merge) == len(s.others) == n
        and [m.dtype for m in s.merge] == [a.var.dtype for a in s.accumulators]
    )


RULES: dict[type, list[tuple[str, Callable]]] = {
    Let: [
        ("its variable is new in this scope", lambda s, c: is_new([s.var], c)),
        ("its value has the variable's dtype", lambda s, c: s.var.dtype == s.value.dtype),
    ],
    Store: [
        ("its buffer is a parameter that may be written",
         lambda s, c: s.buffer in c.buffers and c.buffers[s.buffer].access != "r"),
        ("its value has the buffer's dtype", lambda s, c: s.value.dtype == c.buffers[s.buffer].dtype),
        ("its index is i64", lambda s, c: s.index.dtype == "i64"),
    ],
    If: [("its condition is bool", lambda s, c: s.condition.dtype == "bool")],
    For: [
        ("its variable is new in this scope, and i64", lambda s, c: is_new([s.var], c) and s.var.dtype == "i64"),
        ("its bounds are i64", lambda s, c: s.start.dtype == s.stop.dtype == "i64"),
        ("only the outermost loop is parallel", lambda s, c: not s.parallel or c.loops == 0),
    ],
    Reduce: [
        ("its variables are new in this scope",
         lambda s, c: is_new([s.var, *(a.var for a in s.accumulators), *s.others], c)),
        ("its variable and bounds are i64", lambda s, c: s.var.dtype == s.start.dtype == s.stop.dtype == "i64"),
        ("it has accumulators, and a step for each", lambda s, c: 0 < len(s.accumulators) == len(s.step)),
        ("each accumulator begins with a constant of its dtype",
         lambda s, c: all(a.init.op == "const" and a.init.dtype == a.var.dtype for a in s.accumulators)),
        ("each step has its accumulator's dtype",
         lambda s, c: [x.dtype for x in s.step] == [a.var.dtype for a in s.accumulators]),
        ("its lanes are a power of two", lambda s, c: power_of_two(s.lanes)),
        ("with lanes it merges each accumulator with another of its dtype", lambda s, c: merges(s)),
    ],
}  # fmt: skip

KERNEL_RULES: list[tuple[str, Callable[[Kernel], bool]]] = [
    ("names of parameters differ", lambda k: len({p.name for p in k.params}) == len(k.params)),
    ("parameters have names and known dtypes",
     lambda k: all(p.name.isidentifier() and p.dtype in DTYPES for p in k.params)),
    ("buffers are 'r', 'w' or 'rw'", lambda k: all(b.access in ("r", "w", "rw") for b in k.buffers.values())),
    ("scalar parameters fit a slot", lambda k: all(isinstance(p, Buffer) or p.dtype != "c128" for p in k.params)),
    ("its body is Lets and one parallel For", lambda k: len(k.body) > 0 and isinstance(k.body[-1], For)
     and k.body[-1].parallel and all(isinstance(s, Let) for s in k.body[:-1])),
]  # fmt: skip


def verify_expr(x: Expr) -> None:
    """Raises TypeError with the first rule that a node below x breaks."""
    for y in postorder(x):
        for rule, holds in EXPR_RULES:
            if not holds(y):
                raise TypeError(f"expression: it must be that {rule}; got\n{format_expr(y)}")


def verify(kernel: Kernel) -> None:
    """Raises TypeError with the first rule that the kernel breaks, and the statement where it does."""
    for rule, holds in KERNEL_RULES:
        if not holds(kernel):
            raise TypeError(f"kernel {kernel.name}: it must be that {rule}; got\n{kernel}")
    check_block(kernel, kernel.body, Context(kernel))


def check_block(kernel: Kernel, body: tuple[Statement, ...], c: Context) -> None:
    outer = dict(c.known)
    for s in body:
        check_statement(kernel, s, c)
    c.known = outer


def check_statement(kernel: Kernel, s: Statement, c: Context) -> None:
    def fail(rule: str) -> TypeError:
        return TypeError(f"kernel {kernel.name}: in a {type(s).__name__} it must be that {rule}; got\n{s}")

    def check_exprs(*xs: Expr) -> None:
        for x in postorder(*xs):
            for rule, holds in EXPR_RULES:
                if not holds(x):
                    raise fail(f"of {format_expr(x)} {rule}")
            if x.op == "var" and c.known.get(str(x.attr)) != x.dtype:
                raise fail(f"{x.attr} is in scope with dtype {x.dtype}")
            if x.op == "load":
                buffer = c.buffers.get(str(x.attr))
                if buffer is None or buffer.access == "w" or buffer.dtype != x.dtype:
                    raise fail(f"{x.attr} is a readable buffer parameter of dtype {x.dtype}")

    for rule, holds in RULES[type(s)]:
        if not holds(s, c):
            raise fail(rule)
    if isinstance(s, Let):
        check_exprs(s.value)
        bind(c, s.var)
    elif isinstance(s, Store):
        check_exprs(s.index, s.value)
    elif isinstance(s, If):
        check_exprs(s.condition)
        check_block(kernel, s.body, c)
    elif isinstance(s, For):
        check_exprs(s.start, s.stop)
        outer, loops = dict(c.known), c.loops
        bind(c, s.var)
        c.loops = loops + 1
        check_block(kernel, s.body, c)
        unbind(c, outer, loops)
    else:
        check_exprs(s.start, s.stop)
        outer, loops = dict(c.known), c.loops
        bind(c, s.var, *(a.var for a in s.accumulators))
        c.loops = loops + 1
        for inner in s.body:
            check_statement(kernel, inner, c)
        check_exprs(*s.step)
        unbind(c, outer, loops)
        bind(c, *(a.var for a in s.accumulators), *s.others)
        check_exprs(*s.merge)
        for other in s.others:
            del c.known[str(other.attr)]


def bind(c: Context, *variables: Expr) -> None:
    c.known.update((str(v.attr), v.dtype) for v in variables)
    c.bound = c.bound | {str(v.attr) for v in variables}


def unbind(c: Context, outer: dict[str, str], loops: int) -> None:
    c.bound = set(outer) | set(c.buffers)
    c.known, c.loops = outer, loops
