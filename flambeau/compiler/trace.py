"""Trace: the Interpreter that writes down what a Python function does to tensors, while it does it.

Every operation runs as it would without the trace, so that Python may look at results and decide by them; what the
graph then holds is the way that was taken. Backward passes are operations like others. Values follow memory
(`memory.py`), so that views and in-place writes come out as pure operations.
Imports eager and what stands below it. Read next: `replay.py` (what the recorded names mean).
"""

from __future__ import annotations

import inspect
import operator
import sys
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from .. import ops
from ..codegen import native
from ..core import _core
from ..core._core import Call, DType, Effect, Node, Op, Reduction, Tensor, View
from ..core.interpreters import Interpreter
from ..eager.kernels import typed_op
from ..ir.graph import Argument, Block, Dtype, Graph, Operation, Record, Value, without_dead
from ..ir.graph_verify import verify
from ..ir.text import format_expr
from ..ops.table import TABLE, origin
from ..ops.typed import CODES, DEFAULT, NUMBER, ZERO_DIM
from .memory import Memory, Step, address, flattened, geometry, in_order, whole
from .replay import VIEWS, meanings

IDENTITY = TABLE["identity"]


def trace(function: Callable[..., Any], *examples: Any) -> Graph:
    """The graph of what function(*examples) does to tensors; the function runs once, with all its effects.

    Tensors among the examples become inputs; tensors that the function finds elsewhere (parameters, buffers) become
    constants, read anew each time the graph runs; those it writes in place are updated by `run`. Returned tensors, in
    nested tuples, lists and dicts, become outputs. Python's decisions, sizes and random numbers are those of this run.

    >>> from flambeau.compiler.trace import trace
    >>> print(trace(lambda x: (x * 2).sum(), fb.ones(3)))
    graph lambda(%x: f32[3])
      %0: f32[3] = mul(%x, 2)
      %1: f32[] = sum(%0, none, false)
      return %1
    <BLANKLINE>
    """
    tracer = Trace()
    inputs = tracer.inputs(function, examples)
    with tracer:
        returned = function(*examples)
    results = []
    for x in flattened(returned):
        if x is None:
            continue
        if not isinstance(x, Tensor):
            raise TypeError(
                f"trace: the function must return tensors, got {type(x).__name__}; return the tensor, not its item()"
            )
        results.append(tracer.value_of(x))
    name = getattr(function, "__name__", type(function).__name__).strip("<>")
    graph = tracer.graph(name, inputs, tuple(results))
    if native.DEBUG >= 3:
        print(graph, file=sys.stderr)
    return graph


class Trace(Interpreter):
    """Records operations while it is active."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.constants: list[Value] = []
        self.data: dict[str, Tensor] = {}
        self.memory: dict[int, Memory] = {}
        self.first = _core.last_serial() + 1  # of the blocks allocated since the trace began
        self.inside: list[tuple[int, int]] = []  # serials of blocks allocated while an operation ran
        self.varying: set[Value] = set()  # what depends on more than the trace itself: inputs, outside tensors
        self.names: set[str] = set()

    # ---- beginning and end
    def inputs(self, function: Callable[..., Any], examples: Sequence[Any]) -> tuple[Value, ...]:
        """A Value for each tensor among the examples, named as the function's parameter."""
        found = []
        for name, x in zip(parameter_names(function, len(examples)), examples, strict=True):
            if not isinstance(x, Tensor):
                continue
            if x.numel() and address(x) in self.memory:
                raise ValueError(f"trace: example {name} shares memory with another one; pass x.clone()")
            value = Value(self.name(name), x.dtype.ir, tuple(x.shape))
            self.varying.add(value)
            self.memory[address(x)] = Memory(geometry(x), value, x.detach(), value)
            found.append(value)
        return tuple(found)

    def graph(self, name: str, inputs: tuple[Value, ...], results: tuple[Value, ...]) -> Graph:
        written = [m for m in self.memory.values() if m.source is not None and m.version]
        updates = tuple((m.source, m.value) for m in written if m.source is not None)
        name = name if name.isidentifier() else "traced"
        body = Block(inputs, tuple(self.operations), results)
        graph = without_dead(Graph(name, body, tuple(self.constants), updates, self.data))
        verify(graph, meanings().keys())
        return graph

    # ---- what happens
    def process(self, call: Call) -> Any:
        op = call.op
        if isinstance(op, View):
            return self.view(call)
        if isinstance(op, Effect):
            return self.effect(call)
        if call.writes is None:
            name, arguments, attributes = self.described(call)
            result = self.perform(call)
            if name in ("identity", "clone") and self.copies(call.args[0], result):
                self.memory[address(result)] = Memory(geometry(result), arguments[0], result.detach())
            else:
                self.made(name, arguments, attributes, result)
            return result
        if isinstance(op, Op):
            return self.overwrite(call, op, call.args, call.writes)
        if op.name in ("copy_", "fill_"):
            return self.overwrite(call, IDENTITY, call.args[1:2], call.writes)
        (target,) = call.writes
        _, arguments, attributes = self.described(call)
        result = self.perform(call)
        (value,) = self.emit(op.name, arguments, attributes, [(target.dtype.ir, tuple(target.shape))])
        self.write(target, value)
        return result

    def perform(self, call: Call) -> Any:
        """Runs an operation, remembering which blocks of memory were made in the course of it."""
        before = _core.last_serial()
        result = call()
        self.inside.append((before, _core.last_serial()))
        return result

    def view(self, call: Call) -> Tensor:
        if call.op.name in ("detach", "_apart"):
            return call()  # the same memory holds the same value
        x, *arguments = call.args
        taken = self.value_of(x)
        y = call()
        steps = self.view_steps(call.op.name, x, tuple(arguments), y)
        if y.numel() == 0 or x.numel() == 0:
            return y
        memory = self.memory[address(x)]
        if memory.find(geometry(y)) is None:
            memory.ways.setdefault(geometry(y), (*memory.way(x, geometry(x)), *steps))
            memory.keep(geometry(y), self.take(taken, steps))
        return y

    def view_steps(self, name: str, x: Tensor, arguments: tuple, y: Tensor) -> tuple[Step, ...]:
        if name != "_part_of_base":
            return (Step(VIEWS.get(name, name), self.literal(arguments), y.dtype.ir, tuple(y.shape)),)
        first = in_order(x)
        if first is None:
            raise RuntimeError("trace: as_strided of a tensor with gaps can't be followed; use contiguous() first")
        return (*first, Step("as_strided", self.literal(arguments[:3]), y.dtype.ir, tuple(y.shape)))

    def effect(self, call: Call) -> Any:
        for t in call.args if call.op in (_core.LAUNCH, _core.LEND) else ():
            memory = self.memory.get(address(t))
            outside = t.untyped_storage().serial < self.first and call.op is _core.LAUNCH
            if outside if memory is None else memory.value in self.varying:
                what = "a kernel was launched on" if call.op is _core.LAUNCH else "NumPy was given"
                raise RuntimeError(
                    f"trace: {what} the memory of {t.dtype} {list(t.shape)} outside of an operation, so the graph "
                    "would hold this run's result for good; do it before the trace, or in an operation"
                )
            self.memory.pop(address(t), None)  # what it holds from now on is seen when it is used next
        return call()

    def overwrite(self, call: Call, op: Op, args: tuple, targets: tuple[Tensor, ...]) -> Any:
        """A pointwise operation into existing tensors: pure, then brought to their dtype and shape."""
        if op is IDENTITY and not isinstance(args[0], Tensor):
            value = self.literal(args[0])
            news = [self.full(t, value) for t in targets]
        elif op is IDENTITY:
            value = self.value_of(args[0])
            if not args[0].is_contiguous():
                (value,) = self.emit("contiguous", (value,), (), [(value.dtype, value.shape)])
            news = [self.fitted(value, t) for t in targets]
        else:
            args = tuple(plain(a) for a in args)
            typed = typed_op(op, tuple(key_of(a) for a in args))
            shape = tuple(_core.broadcast_shapes(*(a.shape for a in args if isinstance(a, Tensor))))
            name, arguments, attributes = self.pointwise(op, args)
            made = self.emit(name, arguments, attributes, [(e.dtype, shape) for e in typed.exprs])
            news = [self.fitted(v, t) for v, t in zip(made, targets, strict=True)]
        result = self.perform(call)
        for target, value in zip(targets, news, strict=True):
            self.write(target, value)
        return result

    # ---- operations
    def described(self, call: Call) -> tuple[str, tuple, tuple]:
        """A call as the graph has it: name, arguments, attributes."""
        op = call.op
        if isinstance(op, Op):
            return self.pointwise(op, call.args)
        name = f"reduce.{op.name}" if isinstance(op, Reduction) else op.name
        return name, self.literal(call.args), tuple((key, self.literal(x)) for key, x in call.kwargs.items())

    def pointwise(self, op: Op, args: tuple) -> tuple[str, tuple, tuple]:
        """A pointwise operation by its name in the table or, if it has none (a derivative, an update), by its Exprs."""
        named = origin(op)
        if named is not None:
            name, statics = named
            given = zip(op.parameters[op.nin :], args[op.nin :], strict=True)
            attributes = (*((p, a) for p, a in given if a is not _core.DEFAULT), *statics.items())
            return name, self.literal(args[: op.nin]), tuple((p, self.literal(a)) for p, a in attributes)
        typed = typed_op(op, tuple(key_of(a) for a in args))
        arguments = tuple(self.literal(a) for a, x in zip(args, typed.inputs, strict=True) if x is not None)
        inputs = tuple(format_expr(x) for x in typed.inputs if x is not None)
        bodies = tuple(format_expr(e) for e in typed.exprs)
        return "pointwise", arguments, (("name", op.name), ("inputs", inputs), ("bodies", bodies))

    def made(self, name: str, arguments: tuple, attributes: tuple, result: Any) -> None:
        """Records an operation that returned new tensors, or views of what it was given."""
        outputs = [x for x in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(x, Tensor)]
        if all(self.known(x) is not None for x in outputs):
            return
        saved = self.saved(outputs)
        if saved:
            attributes = (*attributes, ("saved", tuple(saved)))
            outputs = [*outputs, *saved.values()]
        values = self.emit(name, arguments, attributes, [(x.dtype.ir, tuple(x.shape)) for x in outputs])
        for x, value in zip(outputs, values, strict=True):
            if x.numel() == 0:
                continue
            memory = self.memory.get(address(x))
            if memory is None:
                self.memory[address(x)] = Memory(geometry(x), value, x.detach())
            else:
                step = Step(name, arguments[1:], x.dtype.ir, tuple(x.shape))
                memory.ways.setdefault(geometry(x), (*self.way_to(arguments[0], memory), step))
                memory.keep(geometry(x), value)

    def copies(self, x: Any, y: Tensor) -> bool:
        """Whether y is x in other memory, and so the same value; what a copy changes in layout is an operation."""
        if not isinstance(x, Tensor) or not y.numel() or address(y) in self.memory:
            return False
        return geometry(x)[1:] == geometry(y)[1:]

    def saved(self, outputs: list[Tensor]) -> dict[int, Tensor]:
        """What the operation that just ran made for its backward pass, beside its outputs, by place in ctx.saved."""
        node = next((x.grad_fn for x in outputs if isinstance(x.grad_fn, Node)), None)
        before, last = self.inside[-1]
        known = {address(x) for x in outputs} | self.memory.keys()
        found: dict[int, Tensor] = {}
        for i, x in enumerate(() if node is None else node.saved):
            if isinstance(x, Tensor) and address(x) not in known and before < x.untyped_storage().serial <= last:
                found[i] = x
        return found

    def emit(self, name: str, arguments: tuple, attributes: tuple, types: Sequence[tuple]) -> tuple[Value, ...]:
        outputs = tuple(Value(self.name(), dtype, shape) for dtype, shape in types)
        operation = Operation(name, arguments, outputs, attributes)
        if not self.varying.isdisjoint(operation.inputs):
            self.varying.update(outputs)
        self.operations.append(operation)
        return outputs

    def take(self, value: Value, steps: Sequence[Step]) -> Value:
        for step in steps:
            (value,) = self.emit(step.name, (value, *step.arguments), (), [(step.dtype, step.shape)])
        return value

    def full(self, like: Tensor, number: Any) -> Value:
        attributes = (("dtype", Dtype(like.dtype.ir)),)
        return self.emit("full", (tuple(like.shape), number), attributes, [(like.dtype.ir, tuple(like.shape))])[0]

    def fitted(self, value: Value, target: Tensor) -> Value:
        """The value as the target stores it: cast and broadcast."""
        dtype, shape = target.dtype.ir, tuple(target.shape)
        if value.dtype in ("c64", "c128") and not target.is_complex():
            part = "f32" if value.dtype == "c64" else "f64"
            (value,) = self.emit("real", (value,), (), [(part, value.shape)])
        if value.dtype != dtype:
            (value,) = self.emit("to_dtype", (value, Dtype(dtype)), (), [(dtype, value.shape)])
        if value.shape != shape:
            (value,) = self.emit("expand", (value, shape), (), [(dtype, shape)])
        return value

    # ---- tensors and their values
    def known(self, t: Tensor) -> Value | None:
        memory = self.memory.get(address(t))
        return None if memory is None or t.numel() == 0 else memory.find(geometry(t))

    def value_of(self, t: Tensor) -> Value:
        """The Value that a tensor holds now."""
        if t.numel() == 0:
            return self.full(t, 0)
        memory = self.memory.get(address(t)) or self.capture(t)
        g = geometry(t)
        found = memory.find(g)
        if found is None:
            found = self.take(memory.value, memory.way(t, g))
            memory.keep(g, found)
        return found

    def capture(self, t: Tensor) -> Memory:
        """Memory met for the first time: made within the trace, it holds a number for good; else it is read anew."""
        serial = t.untyped_storage().serial
        at = bisect_left(self.inside, serial, key=lambda blocks: blocks[1])
        if at < len(self.inside) and self.inside[at][0] < serial:
            raise RuntimeError(
                f"trace: {t.dtype} {list(t.shape)} was made inside an operation and isn't one of its results; "
                "an operation hands out what it makes as a result or by ctx.save"
            )
        outside = serial < self.first
        held = whole(t)
        value = Value(self.name("c"), t.dtype.ir, tuple(held.shape))
        self.constants.append(value)
        self.data[value.name] = held if outside else held.clone()
        if outside:
            self.varying.add(value)
        found = self.memory[address(t)] = Memory(geometry(held), value, held, value if outside else None)
        return found

    def write(self, t: Tensor, value: Value) -> None:
        """t's memory now holds value."""
        if t.numel() == 0:
            return
        g = geometry(t)
        memory = self.memory.get(address(t))
        if memory is None and t.untyped_storage().serial >= self.first and geometry(whole(t)) == g:
            self.memory[address(t)] = Memory(g, value, t.detach())
            return
        memory = memory or self.capture(t)
        if g == memory.root:
            memory.write(g, value, value)
            return
        way = memory.way(t, g)
        how = tuple((step.name, step.arguments) for step in way)
        (root,) = self.emit("put_view", (memory.value, value, how), (), [(memory.value.dtype, memory.value.shape)])
        memory.write(g, value, root)

    def way_to(self, argument: Argument, memory: Memory) -> tuple[Step, ...]:
        """The way to the view that an operation was given first, when it returned a view of it."""
        for g, (value, _) in memory.values.items():
            if value == argument:
                return memory.ways[g]
        return ()

    def literal(self, x: Any) -> Argument:
        """An argument as a graph holds it."""
        if isinstance(x, Tensor):
            return self.value_of(x)
        if hasattr(x, "_fields"):
            return Record(place_of(type(x)), tuple(self.literal(member) for member in x))
        if isinstance(x, (tuple, list)):
            return tuple(self.literal(member) for member in x)
        if isinstance(x, DType):
            return Dtype(x.ir)
        return plain(x)

    def name(self, wanted: str = "") -> str:
        """A name that no value has yet."""
        count = 0
        name = wanted or str(len(self.operations))
        while name in self.names:
            count += 1
            name = f"{wanted or len(self.operations)}.{count}"
        self.names.add(name)
        return name


def place_of(kind: type) -> str:
    """A class of the op table's modules by name, as `replay.kind_of` finds it."""
    package, _, module = kind.__module__.rpartition(".")
    if package != ops.__name__:
        raise TypeError(
            f"trace: an argument of type {kind.__name__} can't stand in a graph; only ops' own named tuples can"
        )
    return f"{module}.{kind.__qualname__}"


def plain(x: Any) -> Any:
    """A Python number, string or None; of what stands for a number, that number."""
    if isinstance(x, Tensor) or x is None or x is _core.DEFAULT or type(x) in (bool, int, float, complex, str):
        return x
    if hasattr(x, "__index__"):
        return operator.index(x)
    if hasattr(x, "__float__"):
        return float(x)
    raise TypeError(f"trace: an argument of type {type(x).__name__} can't stand in a graph")


def key_of(x: Any) -> int:
    """How the core keys an operand (core/pointwise.pxi)."""
    if isinstance(x, Tensor):
        return CODES[x.dtype.ir] | (0 if x.ndim else ZERO_DIM)
    return DEFAULT if x is _core.DEFAULT else NUMBER + (bool, int, float, complex).index(type(x))


def parameter_names(function: Callable[..., Any], count: int) -> list[str]:
    """Names for `count` positional arguments."""
    try:
        parameters = [p for p in inspect.signature(function).parameters.values() if p.kind in (0, 1)]
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters[:count]]
    return names + [f"x{i}" for i in range(len(names), count)]
