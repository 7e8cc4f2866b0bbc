"""What the names in a traced graph mean eagerly, and running a graph by it.

`meanings()` is the table for `ir/graph_interpret.py`: pointwise ops, primitives and reductions as the op table has
them, views, in-place operations as functions of copies, and a few that only traces write. Imports eager and below.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from .. import ops
from ..core import _core
from ..core._core import DTYPES, Op, Primitive, Tensor
from ..ir.graph import Dtype, Graph, Record, Value
from ..ir.graph_interpret import interpret
from ..ir.text import parse_expr
from ..ops.primitive import PRIMITIVES
from ..ops.reductions import REDUCTIONS
from ..ops.table import TABLE
from ..ops.typed import CODES, Derived, Typed

# The core's names of views that graphs call otherwise.
VIEWS = {"_slice": "slice"}


def run(graph: Graph, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The graph's outputs for these inputs, bit for bit what the traced function computes; new tensors, off the tape.

    Inputs and constants that the traced function wrote in place are written after everything else has run.

    >>> from flambeau.compiler.replay import run
    >>> from flambeau.compiler.trace import trace
    >>> run(trace(lambda x: x + 1, fb.zeros(2)), fb.tensor([1.0, 2.0]))
    (tensor([2., 3.]),)
    """
    for value, x in zip(graph.inputs, inputs, strict=False):
        if x.dtype.ir != value.dtype:
            raise TypeError(f"{graph.name}: input {value} is needed, got {x.dtype}; convert it with x.to(dtype)")
    was = _core.swap_grad_enabled(False)
    try:
        outputs, news = interpret(graph, meanings(), *inputs)
        given: dict[Value, Tensor] = {**dict(zip(graph.inputs, inputs, strict=True))}
        given.update({c: graph.data[c.name] for c in graph.constants})
        # What is handed out shares memory with nothing, and what is written later is read first.
        taken = {block(x) for x in given.values()}
        outputs, news = (tuple(apart(x, taken) for x in xs) for xs in (outputs, news))
        for (target, _), new in zip(graph.updates, news, strict=True):
            given[target].copy_(new)
    finally:
        _core.swap_grad_enabled(was)
    return outputs


def block(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def apart(x: Tensor, taken: set[int]) -> Tensor:
    """x, or a copy if its memory is taken."""
    found = x.clone() if block(x) in taken else x
    taken.add(block(found))
    return found


def meanings() -> dict[str, Callable[..., Any]]:
    """Operation name -> function of tensors."""
    ops.load()
    return table_of(len(PRIMITIVES), len(REDUCTIONS))


@functools.lru_cache(maxsize=1)
def table_of(*lengths: int) -> dict[str, Callable[..., Any]]:
    """`meanings`, made again when modules that load later have added operations."""
    table: dict[str, Callable[..., Any]] = {op.name: op for op in TABLE.values()}
    table.update({name: pure(op) if op.writes else with_saved(op) for name, op in PRIMITIVES.items()})
    table.update({f"reduce.{name}": op for name, op in REDUCTIONS.items()})
    table.update(
        sum=ops.sum, mean=ops.mean, full=ops.full, pointwise=pointwise, put_view=put_view, as_strided=as_strided
    )
    for name in ("reshape", "permute", "expand", "select", "_slice", "diagonal", "unfold"):
        table[VIEWS.get(name, name)] = getattr(Tensor, name)
    return {name: with_literals(function) for name, function in table.items()}


def with_literals(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, given what a graph holds for dtypes and named tuples."""

    def literal(x: Any) -> Any:
        if isinstance(x, Dtype):
            return DTYPES[CODES[x]]
        if isinstance(x, Record):
            return kind_of(x.kind)(*literal(x.fields))
        return tuple(map(literal, x)) if type(x) is tuple else x

    def call(*arguments: Any, **attributes: Any) -> Any:
        return function(*map(literal, arguments), **{name: literal(x) for name, x in attributes.items()})

    return call


@functools.cache
def kind_of(place: str) -> Callable[..., tuple]:
    """A named tuple's class among the op table's modules."""
    module, _, name = place.partition(".")
    found = getattr(sys.modules.get(f"{ops.__name__}.{module}"), name, None)
    if found is None or not hasattr(found, "_fields"):
        raise ValueError(f"graph: {place} is no kind of named tuple of the op table's")
    return found


def pure(op: Primitive) -> Callable[..., Tensor]:
    """What an in-place operation would leave in its first argument."""

    def call(x: Tensor, *arguments: Any, **attributes: Any) -> Tensor:
        return op(x.clone(), *arguments, **attributes)

    return call


class Saving:
    """A ctx that keeps what an operation saves."""

    def save(self, *tensors: Any) -> None:
        self.tensors = tensors


def with_saved(op: Primitive) -> Callable[..., Any]:
    """The operation; given `saved`, places in what it saves for its backward pass, it returns those tensors as well."""

    def call(*arguments: Any, saved: tuple[int, ...] = (), **attributes: Any) -> Any:
        if not saved:
            return op(*arguments, **attributes)
        ctx = Saving()
        found = op.forward(ctx, *arguments, **attributes)
        return (*(found if isinstance(found, tuple) else (found,)), *(ctx.tensors[i] for i in saved))

    return call


def put_view(x: Tensor, value: Tensor, how: tuple) -> Tensor:
    """x with value in the part of it that the views `how`, (name, arguments) one after the other, show."""
    y = x.contiguous() if not x.is_contiguous() else x.clone()
    part = through(y, how)
    if part.untyped_storage().data_ptr() == y.untyped_storage().data_ptr():
        part.copy_(value)
        return y
    # Strides that describe another order of memory than y's: by places instead.
    places = through(ops.arange(y.numel()).reshape(y.shape), how)
    y.reshape(-1)[places.reshape(-1)] = value.reshape(-1)
    return y


def through(x: Tensor, how: tuple) -> Tensor:
    for name, arguments in how:
        x = meanings()[name](x, *arguments)
    return x


def as_strided(x: Tensor, size: tuple, stride: tuple, offset: int) -> Tensor:
    """The elements of x in order, under other sizes and strides."""
    x = x.contiguous()
    return x.as_strided(size, stride, x.storage_offset() + offset)


def pointwise(*arguments: Any, name: str, inputs: tuple[str, ...], bodies: tuple[str, ...]) -> Any:
    """A pointwise operation given by its Exprs."""
    return pointwise_op(name, inputs, bodies)(*arguments)


@functools.cache
def pointwise_op(name: str, inputs: tuple[str, ...], bodies: tuple[str, ...]) -> Op:
    variables = tuple(parse_expr(x) for x in inputs)
    form = Typed(tuple(parse_expr(body) for body in bodies), variables, (False,) * len(variables))
    return Op(name, len(variables), tuple(str(x.attr) for x in variables), len(bodies), Derived(name, form))
