"""Where the values of a kernel stand in C text: what becomes a variable, in which block, and what is written in place.

A value used once is written where it is used; any other gets a variable in the outermost block where what it needs is
known, so nothing is computed again in a loop. Loads leave a loop only for the block around it that is entered when the
loop runs, and only if the loop doesn't write their buffer. Imports ir and its neighbours.
Read next: `cfamily.py` (statements), `cfamily_ops.py` (single operations).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ..ir.expr import Expr, Reads, postorder
from ..ir.kernel import If, Kernel, Let, Reduce, Statement, Store, expressions
from .cfamily_ops import REGISTER, Operations, Text, literal, typed

# Longest expression written in place.
LENGTH = 72
# Words that mean something in one of the dialects, or in the text around an expression; names of the kernel avoid them.
WORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool half
    uchar ushort uint ulong size_t and or xor not class this new delete template typename namespace operator private
    protected public friend virtual using try catch throw true false asm constant global local kernel event_t image2d_t
    sampler_t pipe threadIdx blockIdx blockDim gridDim warpSize args begin end
    i8 u8 i16 u16 i32 u32 i64 u64 f32 f64 sqrt fma floor ceil trunc rint fabs sqrtf fmaf floorf ceilf truncf rintf fabsf
    KERNEL GLOBAL FUNCTION PARALLEL F32 F64 I64 U64 AS_U32 AS_F32 AS_U64 AS_F64
"""
RESERVED = frozenset(WORDS.split())


class Scope:
    """A block of text and the values known in it. `stores` is set for a loop: the buffers it writes."""

    def __init__(self, parent: Scope | None, stores: set[str] | None = None):
        self.parent, self.stores = parent, stores
        self.depth: int = parent.depth + 1 if parent else 0
        self.lines: list[str] = []
        self.values: dict[Expr, Text] = {}


class Values(Operations):
    """The values of one kernel; `scope` is the block being written."""

    def __init__(self, kernel: Kernel):
        super().__init__()
        self.kernel = kernel
        self.scope = Scope(None)
        self.dtypes = {name: b.dtype for name, b in kernel.buffers.items()}
        self.names: dict[str, str] = {}
        self.count = 0
        self.reads = Reads()
        self.uses: dict[Expr, int] = {}
        for p in kernel.params:
            self.identifier(p.name)
        self.learn(kernel.body)

    def learn(self, body: Sequence[Statement]) -> None:
        """Counts the uses of nodes, finds those that are values, and names variables, before their text is written."""
        roots = expressions(tuple(body))
        nodes = postorder(*roots)
        self.uses.update(Counter([*roots, *(a for x in nodes for a in x.args)]))
        for x in nodes:
            if x.op == "var":
                self.identifier(str(x.attr))
        lets: dict[Expr, list[Expr]] = {}
        found: set[Expr] = set()
        todo = values(body, lets)
        while todo:
            x = todo.pop()
            if x not in found:
                found.add(x)
                todo += lets.get(x, []) if x.op == "var" else () if x.op == "load" else x.args
        self.data |= found

    def identifier(self, name: str) -> str:
        """The C name of a variable or buffer: its own unless that is taken."""
        if name not in self.names:
            found = name if name.isidentifier() and name.isascii() else re.sub(r"\W|[^\x00-\x7f]", "_", name)
            while found in RESERVED or found.startswith(("_", "fb_")) or found in self.names.values():
                found = "v" + found if found.startswith(("_", "fb_")) else found + "_"
            self.names[name] = found
        return self.names[name]

    def fresh(self, hint: str = "") -> str:
        """A name of the text's own."""
        self.count += 1
        name = f"{hint}_{self.count}"
        return name if name not in self.names.values() else self.fresh(hint)

    def write(self, line: str) -> None:
        self.scope.lines.append(line)

    def bind(self, x: Expr, code: str) -> None:
        self.scope.values[x] = Text(code)

    def find(self, x: Expr) -> tuple[Text, int] | None:
        scope: Scope | None = self.scope
        while scope is not None:
            found = scope.values.get(x)
            if found is not None:
                return found, scope.depth
            scope = scope.parent
        return None

    def value(self, x: Expr) -> Text:
        """The text of x here; variables for what is shared or belongs to an enclosing block are written on the way."""
        pending: dict[Expr, tuple[Text, int]] = {}

        def known(y: Expr) -> tuple[Text, int] | None:
            return (literal(y.attr, y.dtype), 0) if y.op == "const" else pending.get(y) or self.find(y)  # type: ignore[arg-type]

        stack = [x]
        while stack:
            y = stack[-1]
            if known(y) is None:
                missing = [a for a in y.args if known(a) is None]
                if missing:
                    stack.extend(reversed(missing))
                    continue
                if y.op == "var":
                    raise KeyError(f"{self.kernel.name}: {y.attr} is used where nothing defines it")
                arguments = []
                depth = self.load_depth(str(y.attr)) if y.op == "load" else 0
                for a in y.args:
                    found = known(a)
                    assert found is not None
                    depth = max(depth, found[1])
                    arguments.append((a, *found))
                # What an argument is written in place of stands deeper only if it must.
                texts = [
                    self.define(a, t, d) if d < depth and t.code != "" and a in pending else t for a, t, d in arguments
                ]
                text = self.compute(y, texts)
                if self.uses.get(y, 2) > 1 or len(text.code) > LENGTH:
                    text = self.define(y, text, depth)
                pending[y] = text, depth
            stack.pop()
        found = known(x)
        assert found is not None
        text, depth = found
        return self.define(x, text, depth) if x in pending and depth < self.scope.depth else text

    def compute(self, x: Expr, a: list[Text]) -> Text:
        if x.op == "load":
            buffer = str(x.attr)
            return self.decode(Text(f"{self.identifier(buffer)}[{typed(a[0], 'i64').code}]"), x.dtype)
        return self.apply(x, a)

    def define(self, x: Expr, text: Text, depth: int) -> Text:
        """A variable with x's value in the block at `depth`; nothing where the text is a name already."""
        if text.code.isidentifier():
            return text
        scope = self.scope
        while scope.depth > depth:
            assert scope.parent is not None
            scope = scope.parent
        name = self.fresh()
        scope.lines.append(f"const {REGISTER[x.dtype]} {name} = {text.code};")
        scope.values[x] = Text(name)
        return Text(name)

    def load_depth(self, buffer: str) -> int:
        """How far out a load may stand: in front of the loop it is in, if that doesn't write the buffer."""
        scope = self.scope
        if scope.stores is not None and buffer not in scope.stores:
            assert scope.parent is not None
            scope = scope.parent
        return scope.depth

    def forget(self, buffers: set[str]) -> None:
        """Drops what was computed from buffers that are written now."""
        scope: Scope | None = self.scope
        while scope is not None:
            for x in [x for x in scope.values if x.op != "var" and self.reads[x] & buffers]:
                del scope.values[x]
            scope = scope.parent

    def assign(self, target: str, x: Expr) -> None:
        self.write(f"{target} = {self.value(x).code};")

    def store(self, buffer: str, index: Expr, value: Expr) -> None:
        """buffer[index] = value."""
        bits = self.encode(typed(self.value(value), value.dtype), value.dtype)
        at = typed(self.value(index), "i64").code
        self.write(f"{self.identifier(buffer)}[{at}] = {bits.code};")
        self.forget({buffer})


def values(body: Sequence[Statement], lets: dict[Expr, list[Expr]]) -> list[Expr]:
    """What statements compute, but for indices and bounds; `lets` collects named integers, which may be either."""
    found: list[Expr] = []
    for s in body:
        if isinstance(s, Let):
            lets.setdefault(s.var, []).append(s.value)
            found += [s.value] if s.value.dtype != "i64" else []
        elif isinstance(s, Store):
            found.append(s.value)
        else:
            found += [s.condition] if isinstance(s, If) else [*s.step, *s.merge] if isinstance(s, Reduce) else []
            found += values(s.body, lets)
    return found
