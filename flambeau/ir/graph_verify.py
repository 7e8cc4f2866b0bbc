"""What a well-formed Graph is: rules as data, each a sentence that says what must hold, and a test for it.

A consumer may rely on all of it. Imports expr and graph only. Read next: `graph_interpret.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from .expr import DTYPES
from .graph import Argument, Block, Dtype, Graph, Operation, Record, Value

NAME = re.compile(r"[A-Za-z0-9_][\w.]*\Z")
OPERATION = re.compile(r"[A-Za-z_][\w.]*\Z")


@dataclass
class Scope:
    """What is known where an operation stands: values in sight, names defined anywhere so far, named sizes."""

    operations: Collection[str] | None
    visible: dict[str, Value] = field(default_factory=dict)
    defined: set[str] = field(default_factory=set)
    sizes: set[str] = field(default_factory=set)

    def sees(self, value: Value) -> bool:
        return self.visible.get(value.name) == value

    def knows(self, operation: str) -> bool:
        return self.operations is None or operation in REGION_RULES or operation in self.operations

    def define(self, value: Value) -> None:
        self.visible[value.name] = value
        self.defined.add(value.name)


def types(values: tuple[Value, ...]) -> list[tuple]:
    return [(v.dtype, v.shape, v.device) for v in values]


def is_flag(values: tuple) -> bool:
    """One 0-dimensional bool."""
    return len(values) == 1 and isinstance(values[0], Value) and values[0].dtype == "bool" and values[0].shape == ()


def is_argument(a: Argument) -> bool:
    if isinstance(a, tuple):
        return all(is_argument(x) for x in a)
    if isinstance(a, Record):
        return bool(OPERATION.match(a.kind)) and a.kind not in ("complex", *DTYPES) and is_argument(a.fields)
    return a is None or type(a) in (Value, bool, int, float, complex, str) or (type(a) is Dtype and str(a) in DTYPES)


def all_values(o: Operation) -> bool:
    return all(isinstance(a, Value) for a in o.arguments)


VALUE_RULES: list[tuple[str, Callable[[Value, Scope], bool]]] = [
    ("its name is letters, digits, dots and underscores", lambda v, s: bool(NAME.match(v.name))),
    ("its name is defined once", lambda v, s: v.name not in s.defined),
    ("its dtype is one of DTYPES", lambda v, s: v.dtype in DTYPES),
    ("its sizes are known: not negative, or named in an input's or a constant's shape",
     lambda v, s: all(n in s.sizes if isinstance(n, str) else type(n) is int and n >= 0 for n in v.shape)),
]  # fmt: skip

OPERATION_RULES: list[tuple[str, Callable[[Operation, Scope], bool]]] = [
    ("its name is known",
     lambda o, s: OPERATION.match(o.name) is not None and s.knows(o.name)),
    ("its arguments are values, numbers, strings, dtypes, None, or tuples and records of these",
     lambda o, s: all(is_argument(a) for a in (*o.arguments, *(a for _, a in o.attributes)))),
    ("each attribute is an identifier, and given once",
     lambda o, s: all(n.isidentifier() for n, _ in o.attributes) and len(dict(o.attributes)) == len(o.attributes)),
    ("the values it is given are defined before it, in sight of it", lambda o, s: all(map(s.sees, o.inputs))),
    ("only if and while have regions", lambda o, s: not o.regions or o.name in REGION_RULES),
]  # fmt: skip

REGION_RULES: dict[str, list[tuple[str, Callable[[Operation], bool]]]] = {
    "if": [
        ("it has two regions, and no attributes", lambda o: len(o.regions) == 2 and not o.attributes),
        ("its argument is a 0-dimensional bool", lambda o: is_flag(o.arguments)),
        ("its regions have no parameters", lambda o: not any(r.parameters for r in o.regions)),
        ("its regions' results are as its outputs",
         lambda o: all(types(r.results) == types(o.outputs) for r in o.regions)),
    ],
    "while": [
        ("it has two regions, condition and body, and no attributes",
         lambda o: len(o.regions) == 2 and not o.attributes),
        ("its arguments are values, as its outputs",
         lambda o: all_values(o) and types(o.arguments) == types(o.outputs)),
        ("its regions' parameters are as its arguments",
         lambda o: all(types(r.parameters) == types(o.arguments) for r in o.regions)),
        ("its condition gives a 0-dimensional bool", lambda o: is_flag(o.regions[0].results)),
        ("its body's results are as its outputs", lambda o: types(o.regions[1].results) == types(o.outputs)),
    ],
}  # fmt: skip

GRAPH_RULES: list[tuple[str, Callable[[Graph, Scope], bool]]] = [
    ("its name is an identifier", lambda g, s: g.name.isidentifier()),
    ("its outputs are defined", lambda g, s: all(map(s.sees, g.outputs))),
    ("what is updated is an input or a constant, once",
     lambda g, s: all(t in (*g.inputs, *g.constants) for t, _ in g.updates) and len(dict(g.updates)) == len(g.updates)),
    ("new values are defined, and as what they update",
     lambda g, s: all(s.sees(n) and types((t,)) == types((n,)) for t, n in g.updates)),
    ("its data belong to constants", lambda g, s: set(g.data) <= {c.name for c in g.constants}),
]  # fmt: skip


def verify(graph: Graph, operations: Collection[str] | None = None) -> None:
    """Raises ValueError with the rule that the graph breaks, if it does; `operations` are the names that are known."""
    scope = Scope(operations)
    given = (*graph.inputs, *graph.constants)
    scope.sizes = {n for v in given for n in v.shape if isinstance(n, str) and n.isidentifier()}
    define(graph.name, given, scope)
    verify_operations(graph.body, scope)
    for rule, holds in GRAPH_RULES:
        if not holds(graph, scope):
            raise ValueError(f"graph {graph.name}: {rule}")


def define(where: str, values: tuple[Value, ...], scope: Scope) -> None:
    for value in values:
        for rule, holds in VALUE_RULES:
            if not holds(value, scope):
                raise ValueError(f"{where}: value {value}: {rule}")
        scope.define(value)


def verify_operations(block: Block, scope: Scope) -> None:
    for operation in block.operations:
        where = f"operation {operation.name} of {', '.join(f'%{v.name}' for v in operation.outputs) or 'nothing'}"
        for rule, holds in OPERATION_RULES:
            if not holds(operation, scope):
                raise ValueError(f"{where}: {rule}")
        for rule, holds_too in REGION_RULES.get(operation.name, []):
            if not holds_too(operation):
                raise ValueError(f"{where}: {rule}")
        outside = scope.visible
        for region in operation.regions:
            scope.visible = dict(outside)
            define(where, region.parameters, scope)
            verify_operations(region, scope)
            if not all(map(scope.sees, region.results)):
                raise ValueError(f"{where}: its regions' results are defined")
        scope.visible = outside
        define(where, operation.outputs, scope)
