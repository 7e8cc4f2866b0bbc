"""The textual form of Exprs and Kernels, and its readers: `parse_expr(format_expr(x)) is x`.

An operation prints as `op(args)`, a constant or variable as `2.0:f32` or `x:f32`, without the type where it is i64; a
dtype stands after the operation's name only where the arguments don't tell it. What is used more than once, or nests
too deep, gets a line `%n = …` of its own, so text is linear in the size of the DAG. Equal kernels print equally: the
text is what kernels are cached by, so writing it is quick. Imports expr and kernel only. Read next: `verify.py`.
"""

from __future__ import annotations

import re

from .expr import COMPARISONS, DTYPES, FUNCTIONS, PRIMITIVES, Expr, const, load, node, postorder, var
from .kernel import Accumulator, Buffer, For, If, Kernel, Let, Reduce, Scalar, Statement, Store, expressions

# Deepest nesting within one line.
DEPTH = 24


def format_expr(x: Expr) -> str:
    """The lines for what is shared, then x."""
    shared, texts = describe([x])
    return "\n".join([*shared, texts[x]])


def format_kernel(kernel: Kernel) -> str:
    """Header, shared expressions, statements; two spaces of indentation for each level."""
    params = ", ".join(
        f"{p.name}: {p.access} {p.dtype}" if isinstance(p, Buffer) else f"{p.name}: {p.dtype}" for p in kernel.params
    )
    shared, texts = describe(expressions(kernel.body))
    lines = [f"kernel {kernel.name}({params})", *shared]
    write(lines, "  ", kernel.body, texts)
    return "\n".join(lines) + "\n"


def write(lines: list[str], indent: str, body: tuple[Statement, ...], texts: dict[Expr, str]) -> None:
    for s in body:
        if isinstance(s, Let):
            lines.append(f"{indent}let {texts[s.var]} = {texts[s.value]}")
        elif isinstance(s, Store):
            lines.append(f"{indent}{'stream' if s.stream else 'store'} {s.buffer}[{texts[s.index]}] = {texts[s.value]}")
        elif isinstance(s, If):
            lines.append(f"{indent}if {texts[s.condition]}")
            write(lines, indent + "  ", s.body, texts)
        elif isinstance(s, For):
            how = (" parallel" if s.parallel else "") + (" vector" if s.vector else "")
            lines.append(f"{indent}for {texts[s.var]} in {texts[s.start]} .. {texts[s.stop]}{how}")
            write(lines, indent + "  ", s.body, texts)
        else:
            lines.append(f"{indent}reduce {texts[s.var]} in {texts[s.start]} .. {texts[s.stop]} lanes {s.lanes}")
            lines.extend(f"{indent}  carry {texts[a.var]} = {texts[a.init]}" for a in s.accumulators)
            write(lines, indent + "  ", s.body, texts)
            lines.extend(f"{indent}  step {texts[x]}" for x in s.step)
            lines.extend(f"{indent}  other {texts[x]}" for x in s.others)
            lines.extend(f"{indent}  merge {texts[x]}" for x in s.merge)


def describe(roots: list[Expr]) -> tuple[list[str], dict[Expr, str]]:
    """The lines of shared nodes, and how each node below the roots is written."""
    order = postorder(*roots)
    uses: dict[Expr, int] = dict.fromkeys(order, 0)
    for x in roots:
        uses[x] += 1
    for x in order:
        for a in x.args:
            uses[a] += 1
    lines: list[str] = []
    texts: dict[Expr, str] = {}
    depths: dict[Expr, int] = {}
    for x in order:
        op, args = x.op, x.args
        if not args:
            texts[x] = constant(x) if op == "const" else str(x.attr) if x.dtype == "i64" else f"{x.attr}:{x.dtype}"
            depths[x] = 0
            continue
        if op == "load":
            text = f"{x.attr}[{texts[args[0]]}]:{x.dtype}"
        else:
            name = op if x.dtype == result_dtype(op, args) else f"{op}.{x.dtype}"
            text = f"{name}({', '.join([texts[a] for a in args])})"
        depth = 1 + max([depths[a] for a in args])
        if uses[x] > 1 or depth > DEPTH:
            lines.append(f"  %{len(lines)} = {text}")
            text, depth = f"%{len(lines) - 1}", 0
        texts[x], depths[x] = text, depth
    return lines, texts


def constant(x: Expr) -> str:
    value, dtype = x.attr, x.dtype
    if dtype == "i64":
        return str(value)
    if dtype == "bool":
        return "true" if value else "false"
    if isinstance(value, complex):
        return f"const.{dtype}({value.real!r}:f64, {value.imag!r}:f64)"
    return f"{value!r}:{dtype}"


def result_dtype(op: str, args: tuple[Expr, ...]) -> str | None:
    """The dtype an operation has when nothing else is written."""
    if op in COMPARISONS:
        return "bool"
    if op in ("cast", "bitcast", "complex", "real", "imag"):
        return None
    return args[1].dtype if op == "select" else args[0].dtype


TOKEN = re.compile(
    r"\s*(?:(?P<number>-?(?:inf|nan|\d+(?:\.\d*)?(?:e[-+]?\d+)?)\b)|(?P<ref>%\d+)|(?P<name>[A-Za-z_]\w*)|(?P<sign>\.\.|[^\s\w]))"
)


class Reader:
    """Reads the expressions of one text; `shared` holds what %n stands for."""

    def __init__(self) -> None:
        self.shared: dict[str, Expr] = {}

    def expr(self, text: str) -> Expr:
        """The Expr that is all of `text`."""
        x, rest = self.prefix(text)
        if rest.strip():
            raise SyntaxError(f"expression: {rest.strip()!r} is left over in {text!r}")
        return x

    def prefix(self, text: str) -> tuple[Expr, str]:
        """The Expr that `text` begins with, and what follows it."""
        tokens = [(m.lastgroup, m.group(m.lastgroup or 0), m.end()) for m in TOKEN.finditer(text)]
        x, at = self.read([*tokens, (None, "", len(text)), (None, "", len(text))], 0, text)
        return x, text[tokens[at - 1][2] :]

    def read(self, tokens: list, at: int, text: str) -> tuple[Expr, int]:
        kind, word, _ = tokens[at]
        at += 1
        if kind == "ref":
            if word not in self.shared:
                raise SyntaxError(f"expression: {word} is used before its line, in {text!r}")
            return self.shared[word], at
        if kind == "number":
            dtype, at = self.suffix(tokens, at, ":", text)
            return const(int(word) if DTYPES[dtype or "i64"].kind in "ui" else float(word), dtype or "i64"), at
        if kind != "name":
            raise SyntaxError(f"expression: expected a value, got {word!r} in {text!r}")
        if word in ("true", "false"):
            return const(word == "true", "bool"), at
        if tokens[at][1] == "[":
            index, at = self.read(tokens, at + 1, text)
            dtype, at = self.suffix(tokens, self.sign(tokens, at, "]", text), ":", text)
            if dtype is None:
                raise SyntaxError(f"expression: a load says its dtype, in {text!r}")
            return load(word, dtype, index), at
        if tokens[at][1] == "(" or tokens[at][1] == ".":
            return self.operation(word, tokens, at, text)
        dtype, at = self.suffix(tokens, at, ":", text)
        return var(word, dtype or "i64"), at

    def operation(self, name: str, tokens: list, at: int, text: str) -> tuple[Expr, int]:
        dtype, at = self.suffix(tokens, at, ".", text)
        at = self.sign(tokens, at, "(", text)
        args: list[Expr] = []
        while tokens[at][1] != ")":
            x, at = self.read(tokens, at + (tokens[at][1] == ","), text)
            args.append(x)
        if name == "const" and dtype:
            return const(complex(args[0].attr, args[1].attr), dtype), at + 1  # type: ignore[call-overload]
        arity = PRIMITIVES.get(name, FUNCTIONS.get(name))
        if arity != len(args) or not args:
            raise SyntaxError(f"expression: no operation {name!r} of {len(args)} arguments, in {text!r}")
        dtype = dtype or result_dtype(name, tuple(args))
        if dtype is None:
            raise SyntaxError(f"expression: {name} says its dtype, in {text!r}")
        return node(name, dtype, tuple(args)), at + 1

    def suffix(self, tokens: list, at: int, sign: str, text: str) -> tuple[str | None, int]:
        """The dtype after `:` or `.`, if there is one."""
        if tokens[at][1] != sign:
            return None, at
        if tokens[at + 1][1] not in DTYPES:
            raise SyntaxError(f"expression: no dtype {tokens[at + 1][1]!r}, in {text!r}")
        return tokens[at + 1][1], at + 2

    def sign(self, tokens: list, at: int, sign: str, text: str) -> int:
        if tokens[at][1] != sign:
            raise SyntaxError(f"expression: expected {sign!r}, got {tokens[at][1]!r} in {text!r}")
        return at + 1

    def define(self, line: str) -> bool:
        """Takes in a line `%n = …`; False for any other."""
        found = re.fullmatch(r"\s*(%\d+) = (.*)", line)
        if found:
            self.shared[found[1]] = self.expr(found[2])
        return bool(found)


def parse_expr(text: str) -> Expr:
    """The Expr that `format_expr` wrote as `text`."""
    reader = Reader()
    *lines, last = text.strip().splitlines()
    for line in lines:
        if not reader.define(line):
            raise SyntaxError(f"expression: expected %n = …, got {line!r}")
    return reader.expr(last)


def parse_kernel(text: str) -> Kernel:
    """The Kernel that `format_kernel` wrote as `text`."""
    header, *lines = text.strip("\n").splitlines()
    found = re.fullmatch(r"kernel (.+?)\((.*)\)", header)
    if not found:
        raise SyntaxError(f"kernel: expected kernel name(parameters), got {header!r}")
    params: list[Buffer | Scalar] = []
    for part in filter(None, found[2].split(", ")):
        name, _, what = part.partition(": ")
        words = what.split()
        params.append(Buffer(name, words[1], words[0]) if len(words) == 2 else Scalar(name, words[0]))
    reader = Reader()
    rest = [line for line in lines if not reader.define(line)]
    body, parts = read_block(reader, rest, 2)
    if rest or parts:
        raise SyntaxError(f"kernel {found[1]}: {(rest or ['step or carry outside a reduce'])[0]!r} belongs nowhere")
    return Kernel(found[1], tuple(params), body)


def read_block(reader: Reader, lines: list[str], indent: int) -> tuple[tuple[Statement, ...], dict[str, list[str]]]:
    """The statements at this indentation or deeper, taken from `lines`, and the clauses of the reduce they stand in."""
    body: list[Statement] = []
    clauses: dict[str, list[str]] = {}
    while lines and len(lines[0]) - len(lines[0].lstrip()) >= indent:
        line = lines.pop(0).strip()
        word, _, rest = line.partition(" ")
        if word in ("carry", "step", "other", "merge"):
            clauses.setdefault(word, []).append(rest)
        elif word == "let":
            name, value = reader.prefix(rest)
            body.append(Let(name, reader.expr(after(value, "="))))
        elif word in ("store", "stream"):
            buffer, _, rest = rest.partition("[")
            index, value = reader.prefix(rest)
            body.append(Store(buffer, index, reader.expr(after(after(value, "]"), "=")), word == "stream"))
        elif word == "if":
            body.append(If(reader.expr(rest), read_block(reader, lines, indent + 2)[0]))
        elif word in ("for", "reduce"):
            name, rest = reader.prefix(rest)
            start, rest = reader.prefix(after(rest, "in"))
            stop, rest = reader.prefix(after(rest, ".."))
            inner, parts = read_block(reader, lines, indent + 2)
            words = rest.split()
            if word == "for":
                body.append(For(name, start, stop, inner, "parallel" in words, "vector" in words))
                continue
            carried = []
            for clause in parts.get("carry", ()):
                accumulator, init = reader.prefix(clause)
                carried.append(Accumulator(accumulator, reader.expr(after(init, "="))))
            step, others, merge = (tuple(map(reader.expr, parts.get(k, ()))) for k in ("step", "other", "merge"))
            body.append(Reduce(name, start, stop, tuple(carried), step, merge, others, int(words[1]), inner))
        else:
            raise SyntaxError(f"kernel: no statement begins with {word!r}: {line!r}")
    return tuple(body), clauses


def after(text: str, sign: str) -> str:
    """What follows a sign that has to stand here."""
    text = text.lstrip()
    if not text.startswith(sign):
        raise SyntaxError(f"kernel: expected {sign!r} before {text!r}")
    return text[len(sign) :]
