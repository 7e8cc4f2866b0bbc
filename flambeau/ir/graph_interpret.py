"""What a Graph means, in plain Python: operations run one after the other, by functions that are passed in.

The values may be anything those functions take: tensors, NumPy arrays, numbers. Imports graph only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .graph import Argument, Block, Graph, Operation, Value, map_values

Table = Mapping[str, Callable[..., Any]]


def interpret(graph: Graph, table: Table, *inputs: Any) -> tuple[tuple, tuple]:
    """The outputs, and the new values of `graph.updates`; nothing is written.

    `table` says what each operation's name means: a function of its arguments and attributes that gives a value, or a
    tuple or list with one for each output; results that are None don't count.
    """
    if len(inputs) != len(graph.inputs):
        raise TypeError(f"{graph.name}: takes {len(graph.inputs)} inputs, got {len(inputs)}")
    known: dict[Value, Any] = {}
    sizes: dict[str, int] = {}
    for value, given in zip(graph.inputs, inputs, strict=True):
        check_shape(graph.name, value, given, sizes)
        known[value] = given
    for value in graph.constants:
        if value.name not in graph.data:
            raise ValueError(f"{graph.name}: constant {value} has no data; give it in Graph.data[{value.name!r}]")
        known[value] = graph.data[value.name]
    outputs = run(graph.body, table, known)
    return outputs, tuple(known[new] for _, new in graph.updates)


def check_shape(name: str, value: Value, given: Any, sizes: dict[str, int]) -> None:
    """The input has the shape it was declared with; named sizes take the length first met."""
    got = tuple(getattr(given, "shape", ()))
    fits = len(got) == len(value.shape) and all(
        length == (n if isinstance(n, int) else sizes.setdefault(n, length))
        for n, length in zip(value.shape, got, strict=True)
    )
    if not fits:
        raise ValueError(f"{name}: input {value} is needed, got shape {list(got)}")


def run(block: Block, table: Table, known: dict[Value, Any]) -> tuple:
    for operation in block.operations:
        results = perform(operation, table, known)
        if len(results) != len(operation.outputs):
            raise ValueError(f"{operation.name}: {len(operation.outputs)} results are expected, got {len(results)}")
        known.update(zip(operation.outputs, results, strict=True))
    return tuple(known[value] for value in block.results)


def perform(operation: Operation, table: Table, known: dict[Value, Any]) -> tuple:
    """The results of one operation."""
    arguments = map_values(operation.arguments, known.__getitem__)
    if operation.name == "if":
        return run(operation.regions[0 if arguments[0] else 1], table, known)
    if operation.name == "while":
        condition, body = operation.regions
        carried = arguments
        while test(condition, table, known, carried):
            carried = enter(body, table, known, carried)
        return carried
    function = table.get(operation.name)
    if function is None:
        raise NotImplementedError(f"{operation.name}: no meaning is given for this operation")
    attributes: dict[str, Argument] = {name: map_values(a, known.__getitem__) for name, a in operation.attributes}
    found = function(*arguments, **attributes)
    if not isinstance(found, (tuple, list)):
        return (found,)
    return tuple(x for x in found if x is not None)


def enter(region: Block, table: Table, known: dict[Value, Any], carried: tuple) -> tuple:
    known.update(zip(region.parameters, carried, strict=True))
    return run(region, table, known)


def test(condition: Block, table: Table, known: dict[Value, Any], carried: tuple) -> bool:
    (found,) = enter(condition, table, known, carried)
    return bool(found)
