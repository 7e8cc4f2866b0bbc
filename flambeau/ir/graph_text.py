"""The textual form of Graphs, and its reader: `parse_graph(format_graph(g)) == g`.

One line for each operation, two spaces of indentation for each level, so that two versions compare well line by line:

    graph step(%x: f32[B, 4])
      constant %w: f32[4, 1]
      %0: f32[B, 1] = matrix_product(%x, %w)
      %1: f32[] = sum(%0, none, false, dtype=f32)
      return %1
      update %w = %2

Strings are quoted, dtypes are not; the elements of constants stand beside the text (`Graph.data`).
Imports expr and graph only. Read next: `graph_verify.py`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from .expr import DTYPES
from .graph import Argument, Block, Dtype, Graph, Operation, Record, Size, Value

WORDS: dict[str, Any] = {"none": None, "true": True, "false": False, "inf": float("inf"), "nan": float("nan")}


def format_graph(graph: Graph) -> str:
    lines = [f"graph {graph.name}({', '.join(map(str, graph.inputs))})"]
    lines += [f"  constant {value}" for value in graph.constants]
    write(lines, "  ", graph.body)
    lines += [f"  update %{target.name} = %{new.name}" for target, new in graph.updates]
    return "\n".join(lines) + "\n"


def write(lines: list[str], indent: str, block: Block) -> None:
    for o in block.operations:
        outputs = f"{', '.join(map(str, o.outputs))} = " if o.outputs else ""
        given = [*map(text_of, o.arguments), *(f"{name}={text_of(a)}" for name, a in o.attributes)]
        lines.append(f"{indent}{outputs}{o.name}({', '.join(given)})")
        for region in o.regions:
            lines.append(f"{indent}  region({', '.join(map(str, region.parameters))})")
            write(lines, indent + "    ", region)
    lines.append(f"{indent}return {', '.join(f'%{v.name}' for v in block.results)}".rstrip())


def text_of(a: Argument) -> str:
    if isinstance(a, Value):
        return f"%{a.name}"
    if isinstance(a, tuple):
        return f"({', '.join(map(text_of, a))}{',' if len(a) == 1 else ''})"
    if isinstance(a, Record):
        return a.kind + text_of(a.fields)
    if isinstance(a, Dtype):
        return str(a)
    if isinstance(a, complex):
        return f"complex({a.real!r}, {a.imag!r})"
    if a is None or isinstance(a, bool):
        return str(a).lower()
    return repr(a)


TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<value>%[\w.]+)"
    r"|(?P<number>-?(?:inf|\d+(?:\.\d*)?(?:e[-+]?\d+)?)(?![\w.]))|(?P<word>[A-Za-z_][\w.]*)|(?P<sign>[^\s\w]))"
)
ATTRIBUTE = re.compile(r"\s*([A-Za-z_]\w*)=")


class Line:
    """The tokens of one line, taken from the left."""

    def __init__(self, text: str, number: int):
        self.text, self.number, self.at = text, number, 0

    def error(self, expected: str) -> SyntaxError:
        return SyntaxError(f"line {self.number}: expected {expected}, got {self.text[self.at :].strip()!r}")

    def next(self, kind: str) -> str | None:
        """The next token if it is of a kind, or is that very sign or word."""
        m = TOKEN.match(self.text, self.at)
        if m is None or (m.lastgroup != kind and m[m.lastgroup or 0] != kind):
            return None
        self.at = m.end()
        return m[m.lastgroup or 0]

    def take(self, kind: str) -> str:
        found = self.next(kind)
        if found is None:
            raise self.error(kind if len(kind) > 1 else repr(kind))
        return found

    def end(self) -> None:
        if self.text[self.at :].strip():
            raise self.error("the end of the line")


class Reader:
    def __init__(self, text: str):
        self.lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
        self.at = 0
        self.known: dict[str, Value] = {}

    # ---- lines
    def depth(self) -> int:
        """The indentation of the line to come; -1 at the end."""
        if self.at == len(self.lines):
            return -1
        line = self.lines[self.at][1]
        return len(line) - len(line.lstrip())

    def line(self) -> Line:
        if self.at == len(self.lines):
            raise SyntaxError("the text ends early; a block ends with return")
        number, text = self.lines[self.at]
        self.at += 1
        return Line(text, number)

    def starts(self, pattern: str) -> bool:
        return self.at < len(self.lines) and bool(re.match(rf"\s*{pattern}", self.lines[self.at][1]))

    # ---- parts of a line
    def declaration(self, line: Line) -> Value:
        name = line.take("value")[1:]
        line.take(":")
        dtype = line.take("word")
        line.take("[")
        shape: list[Size] = []
        while not line.next("]"):
            word = line.next("word")
            shape.append(word if word is not None else int(line.take("number")))
            if not line.next(","):
                line.take("]")
                break
        device = "cpu"
        if line.next("@"):
            device = line.take("word")
            if line.next(":"):
                device += ":" + line.take("number")
        self.known[name] = found = Value(name, dtype, tuple(shape), device)
        return found

    def declarations(self, line: Line) -> tuple[Value, ...]:
        line.take("(")
        found: list[Value] = []
        while not line.next(")"):
            found.append(self.declaration(line))
            if not line.next(","):
                line.take(")")
                break
        return tuple(found)

    def value(self, line: Line) -> Value:
        name = line.take("value")[1:]
        if name not in self.known:
            raise SyntaxError(f"line {line.number}: %{name} is not defined")
        return self.known[name]

    def argument(self, line: Line) -> Argument:
        if line.next("("):
            items: list[Argument] = []
            while not line.next(")"):
                items.append(self.argument(line))
                if not line.next(","):
                    line.take(")")
                    break
            return tuple(items)
        string, number = line.next("string"), line.next("number")
        if string is not None:
            return ast.literal_eval(string)
        if number is not None:
            return float(number) if any(c in number for c in ".einf") else int(number)
        word = line.next("word")
        if word is None:
            return self.value(line)
        if word == "complex":
            real, imaginary = self.argument(line)
            return complex(real, imaginary)
        if word in DTYPES:
            return Dtype(word)
        if word in WORDS:
            return WORDS[word]
        if not line.text.startswith("(", line.at):
            raise SyntaxError(f"line {line.number}: {word!r} is no argument; strings are quoted")
        return Record(word, self.argument(line))

    # ---- blocks
    def operation(self, depth: int) -> Operation:
        line = self.line()
        given: list[Argument] = []
        attributes: list[tuple[str, Argument]] = []
        outputs: list[Value] = []
        if line.text.lstrip().startswith("%"):
            outputs.append(self.declaration(line))
            while line.next(","):
                outputs.append(self.declaration(line))
            line.take("=")
        name = line.take("word")
        line.take("(")
        while not line.next(")"):
            key = ATTRIBUTE.match(line.text, line.at)
            if key:
                line.at = key.end()
                attributes.append((key[1], self.argument(line)))
            else:
                given.append(self.argument(line))
            if not line.next(","):
                line.take(")")
                break
        line.end()
        regions = []
        while self.depth() == depth + 2 and self.starts(r"region\("):
            head = self.line()
            head.take("region")
            parameters = self.declarations(head)
            head.end()
            regions.append(self.block(depth + 4, parameters))
        return Operation(name, tuple(given), tuple(outputs), tuple(attributes), tuple(regions))

    def block(self, depth: int, parameters: tuple[Value, ...]) -> Block:
        operations = []
        while not self.starts("return( |$)"):
            if self.depth() != depth:
                raise self.line().error(f"an operation at indentation {depth}")
            operations.append(self.operation(depth))
        line = self.line()
        line.take("return")
        results: list[Value] = []
        while line.text[line.at :].strip():
            results.append(self.value(line))
            if not line.next(","):
                line.end()
        return Block(parameters, tuple(operations), tuple(results))

    def graph(self, data: Mapping[str, Any]) -> Graph:
        line = self.line()
        line.take("graph")
        name = line.take("word")
        inputs = self.declarations(line)
        line.end()
        constants, updates = [], []
        while self.starts("constant "):
            line = self.line()
            line.take("constant")
            constants.append(self.declaration(line))
            line.end()
        body = self.block(2, inputs)
        while self.starts("update "):
            line = self.line()
            line.take("update")
            target = self.value(line)
            line.take("=")
            updates.append((target, self.value(line)))
            line.end()
        if self.at < len(self.lines):
            raise self.line().error("the end of the graph")
        return Graph(name, body, tuple(constants), tuple(updates), data)


def parse_graph(text: str, data: Mapping[str, Any] | None = None) -> Graph:
    """The graph that a text describes, with `data` for its constants; what is malformed raises SyntaxError."""
    return Reader(text).graph({} if data is None else data)
