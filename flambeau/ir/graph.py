"""Graph: traced operations in SSA form with `if` and `while` regions; what trace, script, compile, ONNX and C share.

A graph is plain immutable data. Operations are pure and are referred to by name; what a name means is passed in by
whoever runs, checks or translates the graph. An in-place write appears as the new value it makes (`Graph.updates` says
which inputs and constants end up holding one). Nothing here knows tensors or the op table.
Read next: `graph_text.py` (how it prints), `graph_interpret.py` (what it means), `graph_verify.py` (what is right).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

# A length: a number, or the name of one that is known when the graph runs.
Size = int | str


@dataclass(frozen=True, slots=True)
class Value:
    """What one operation made, or was given from outside; its name is unique in its graph."""

    name: str
    dtype: str
    shape: tuple[Size, ...]
    device: str = "cpu"

    def __str__(self) -> str:
        at = "" if self.device == "cpu" else f"@{self.device}"
        return f"%{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]{at}"


class Dtype(str):
    """The name of a dtype where it stands among an operation's arguments, so that it isn't taken for a string."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Record:
    """A named tuple among an operation's arguments: the name of its kind, and its fields."""

    kind: str
    fields: tuple[Argument, ...]


# What an operation is given: a Value, None, a bool, number, string or Dtype, or a tuple or Record of these.
Argument = Any


@dataclass(frozen=True, slots=True)
class Operation:
    """`outputs` = name(`arguments`, …, `attributes` by name), with regions where the operation runs some.

    if     arguments (condition,), a 0-dimensional bool; two regions without parameters, whose results are its outputs
    while  arguments are the first values carried; regions condition and body take them as parameters; the condition's
           result is a 0-dimensional bool, the body's results are carried on, and the last ones carried are the outputs
    """

    name: str
    arguments: tuple[Argument, ...]
    outputs: tuple[Value, ...]
    attributes: tuple[tuple[str, Argument], ...] = ()
    regions: tuple[Block, ...] = ()

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The values it is given, in reading order, repetitions included."""
        return (*values_in(self.arguments), *(v for _, a in self.attributes for v in values_in(a)))


@dataclass(frozen=True, slots=True)
class Block:
    """Operations in an order in which each value is made before it is used. A region sees the values around it."""

    parameters: tuple[Value, ...]
    operations: tuple[Operation, ...]
    results: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """`body` with the graph's inputs as parameters, and `constants`, values that it is not given by its caller.

    updates  (input or constant, new value): what that one holds once the graph has run
    data     constant's name -> what holds its elements: any object with the buffer protocol, or a tensor. It stands
             beside the graph: graphs are equal, and print equally, whatever their data
    """

    name: str
    body: Block
    constants: tuple[Value, ...] = ()
    updates: tuple[tuple[Value, Value], ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def inputs(self) -> tuple[Value, ...]:
        return self.body.parameters

    @property
    def operations(self) -> tuple[Operation, ...]:
        return self.body.operations

    @property
    def outputs(self) -> tuple[Value, ...]:
        return self.body.results

    def __str__(self) -> str:
        from .graph_text import format_graph

        return format_graph(self)


# ---- what every consumer needs
def values_in(argument: Argument) -> Iterator[Value]:
    """The Values within an argument, in order."""
    if isinstance(argument, Value):
        yield argument
    elif isinstance(argument, tuple):
        for a in argument:
            yield from values_in(a)
    elif isinstance(argument, Record):
        yield from values_in(argument.fields)


def map_values(argument: Argument, f: Callable[[Value], Argument]) -> Argument:
    """The argument with f put in place of every Value."""
    if isinstance(argument, Value):
        return f(argument)
    if isinstance(argument, Record):
        return Record(argument.kind, map_values(argument.fields, f))
    return tuple(map_values(a, f) for a in argument) if isinstance(argument, tuple) else argument


def walk(block: Block) -> Iterator[Operation]:
    """Every operation, makers before users; an operation comes before those in its regions."""
    for operation in block.operations:
        yield operation
        for region in operation.regions:
            yield from walk(region)


def uses(graph: Graph) -> dict[Value, list[Operation]]:
    """For each value that operations are given, those operations, once for each time it is given."""
    found: dict[Value, list[Operation]] = {}
    for operation in walk(graph.body):
        for value in operation.inputs:
            found.setdefault(value, []).append(operation)
    return found


def substitute(block: Block, mapping: Mapping[Value, Argument]) -> Block:
    """The block with other values in place of those it uses; what defines a value, and parameters, stay."""

    def new(value: Value) -> Argument:
        return mapping.get(value, value)

    def rewritten(operation: Operation) -> Operation:
        return replace(
            operation,
            arguments=map_values(operation.arguments, new),
            attributes=tuple((name, map_values(a, new)) for name, a in operation.attributes),
            regions=tuple(substitute(region, mapping) for region in operation.regions),
        )

    operations = tuple(rewritten(operation) for operation in block.operations)
    return Block(block.parameters, operations, tuple(new(value) for value in block.results))


def renamed(block: Block, taken: set[str]) -> Block:
    """The block with new names for the values it defines whose names are `taken`, to which all its names are added."""
    mapping: dict[Value, Value] = {}

    def fresh(value: Value) -> Value:
        name, count = value.name, 1
        while name in taken:
            count += 1
            name = f"{value.name}.{count}"
        taken.add(name)
        mapping[value] = replace(value, name=name)
        return mapping[value]

    def define(b: Block) -> Block:
        parameters = tuple(fresh(v) for v in b.parameters)
        operations = []
        for o in b.operations:
            outputs = tuple(fresh(v) for v in o.outputs)
            operations.append(replace(o, outputs=outputs, regions=tuple(define(r) for r in o.regions)))
        return Block(parameters, tuple(operations), b.results)

    return substitute(define(block), mapping)


def inlined(
    region: Block, arguments: Iterable[Value], taken: set[str]
) -> tuple[tuple[Operation, ...], tuple[Value, ...]]:
    """A region's operations and results as they stand where it is given `arguments`, under names not `taken` yet."""
    fresh = renamed(region, taken)
    body = substitute(fresh, dict(zip(fresh.parameters, arguments, strict=True)))
    return body.operations, body.results


def without_dead(graph: Graph) -> Graph:
    """The graph without operations and constants that no output and no update depends on."""
    needed = {*graph.outputs, *(new for _, new in graph.updates)}
    body = live(graph.body, needed)
    updated = {target for target, _ in graph.updates}
    constants = tuple(c for c in graph.constants if c in needed or c in updated)
    names = {c.name for c in constants}
    data = {name: held for name, held in graph.data.items() if name in names}
    return replace(graph, body=body, constants=constants, data=data)


def live(block: Block, needed: set[Value]) -> Block:
    """The operations of a block that make something `needed`, to which what they use is added."""
    needed.update(block.results)
    kept = []
    for operation in reversed(block.operations):
        if needed.isdisjoint(operation.outputs):
            continue
        needed.update(operation.inputs)
        kept.append(replace(operation, regions=tuple(live(region, needed) for region in operation.regions)))
    return Block(block.parameters, tuple(reversed(kept)), block.results)
