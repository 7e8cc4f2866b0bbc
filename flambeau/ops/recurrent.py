"""Recurrent layers and cells: RNN, LSTM, GRU, each cell written once on symbolic scalars.

From a cell come the kernel of a step and, by symbolic derivative, that of its gradients; the driver in C walks them
along time. Imports core, ir and neighbours in ops. Read next: `runtime/recurrent.h`, `nn/modules/rnn.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..core import _core
from ..core._core import DTYPES, Tensor, new_empty
from ..ir.derive import add, derivative
from ..ir.expr import Expr, as_expr, const, function, load, maximum, substitute, var, where
from ..ir.kernel import Buffer, For, Kernel, Let, Scalar, Statement, Store
from .basic import zeros_like_shape
from .joining import split, stack
from .matmul import linear, matrix_product
from .pointwise_transcendental import sigmoid as sigmoid_of
from .primitive import generated, primitive
from .reduce import sum
from .table import TABLE

INT64 = DTYPES[5]


# ---- cells, on symbols or tensors
def sigmoid(x: Any) -> Any:
    return sigmoid_of(x) if isinstance(x, Expr) else TABLE["sigmoid"](x)


def tanh(x: Any) -> Any:
    return function("tanh", x) if isinstance(x, Expr) else TABLE["tanh"](x)


def relu(x: Any) -> Any:
    return maximum(x, const(0, x.dtype)) if isinstance(x, Expr) else TABLE["relu"](x)


class Cell(NamedTuple):
    """How states follow: step(x, s, h, c) of the gates' parts from the input and from h, which carry the biases."""

    gates: int
    states: int
    step: Callable[[Sequence[Any], Sequence[Any], Any, Any], tuple]


def rnn(nonlinearity: Callable[[Any], Any]) -> Cell:
    return Cell(1, 1, lambda x, s, h, c: (nonlinearity(x[0] + s[0]),))


def lstm(x: Sequence[Any], s: Sequence[Any], h: Any, c: Any) -> tuple:
    i, f, g, o = (a + b for a, b in zip(x, s, strict=True))
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def gru(x: Sequence[Any], s: Sequence[Any], h: Any, c: Any) -> tuple:
    r, z = sigmoid(x[0] + s[0]), sigmoid(x[1] + s[1])
    n = tanh(x[2] + r * s[2])
    return (n + z * (h - n),)


CELLS = {
    "RNN_TANH": rnn(tanh),
    "RNN_RELU": rnn(relu),
    "LSTM": Cell(4, 2, lstm),
    "GRU": Cell(3, 1, gru),
}

# ---- kernels
ROW, COL, UNITS = var("row"), var("col"), var("units")
ONE = ROW * UNITS + COL


class Symbols(NamedTuple):
    """A cell on symbols: its variables, what they are loads of, and the states that follow."""

    x: list[Expr]
    s: list[Expr]
    states: list[Expr]
    loads: dict[Expr, Expr]
    after: tuple[Expr, ...]


def symbols(mode: str, dtype: str, bias: bool, lengths: bool) -> Symbols:
    cell = CELLS[mode]
    x, s = ([var(f"{name}{k}", dtype) for k in range(cell.gates)] for name in "xs")
    states = [var(name, dtype) for name in ("h", "c")[: cell.states]]
    loads = {v: load(str(v.attr), dtype, ONE) for v in states}
    for k, (a, b) in enumerate(zip(x, s, strict=True)):
        loads[a] = load("x", dtype, gate(cell, k))
        own = load("s", dtype, gate(cell, k))
        loads[b] = own + load("bias", dtype, k * UNITS + COL) if bias else own
    after = cell.step(x, s, states[0], states[-1])
    if lengths:
        inside = var("time") < load("lengths", "i64", ROW)
        after = tuple(where(inside, new, old) for new, old in zip(after, states, strict=True))
    return Symbols(x, s, states, loads, after)


def gate(cell: Cell, k: int) -> Expr:
    return ROW * (UNITS * cell.gates) + k * UNITS + COL


def kernel(name: str, buffers: list[Buffer], body: Sequence[Statement]) -> Kernel:
    columns = For(COL, as_expr(0), var("n"), tuple(body), vector=True)
    rows = For(ROW, as_expr(0), var("rows"), (columns,), parallel=True)
    return Kernel(name, (*buffers, *(Scalar(n) for n in ("n", "units", "time", "rows"))), (rows,))


def given_buffers(dtype: str) -> list[Buffer]:
    return [*(Buffer(name, dtype) for name in ("x", "s", "bias", "h", "c")), Buffer("lengths", "i64")]


@generated
def step_kernel(mode: str, dtype: str, bias: bool, lengths: bool) -> Kernel:
    """The states after a step: `step` in runtime/recurrent.h."""
    found = symbols(mode, dtype, bias, lengths)
    after = substitute(found.after, found.loads)
    stores = [Store(name, ONE, value) for name, value in zip(("new_h", "new_c"), after, strict=False)]
    written = [Buffer("new_h", dtype, "w"), Buffer("new_c", dtype, "w")]
    return kernel(f"{mode.lower()}_step", [*given_buffers(dtype), *written], stores)


@generated
def gradients_kernel(mode: str, dtype: str, bias: bool, lengths: bool) -> Kernel:
    """What a step's gradients become: `gradients` in runtime/recurrent.h."""
    cell, found = CELLS[mode], symbols(mode, dtype, bias, lengths)
    arriving = [load("gh", dtype, ONE) + load("g", dtype, ONE), load("gc", dtype, ONE)]
    seeds = [var(f"seed{k}", dtype) for k in range(cell.states)]
    wrt = (*found.x, *found.s, *found.states)
    totals: list[Expr] = [const(0, dtype)] * len(wrt)
    for body, seed in zip(found.after, seeds, strict=True):
        parts = derivative(body, wrt, seed)
        totals = [t if part is None else add(t, part) for t, part in zip(totals, parts, strict=True)]
    totals = list(substitute(tuple(totals), found.loads))
    dx, ds, own = totals[: cell.gates], totals[cell.gates : 2 * cell.gates], totals[2 * cell.gates :]
    stores = [Store("dx", gate(cell, k), value) for k, value in enumerate(dx)]
    if not only_adds(mode):
        stores += [Store("ds", gate(cell, k), value) for k, value in enumerate(ds)]
    stores += [Store(name, ONE, value) for name, value in zip(("gh", "gc"), own, strict=False)]
    buffers = [Buffer("g", dtype), *(Buffer(name, dtype, "rw") for name in ("gh", "gc", "dx", "ds"))]
    # gh and gc are read before either is written.
    lets = [Let(seed, value) for seed, value in zip(seeds, arriving, strict=False)]
    return kernel(f"{mode.lower()}_gradients", [*given_buffers(dtype), *buffers], [*lets, *stores])


def expect(name: str, dtype: Any, tensors: dict[str, tuple[Tensor | None, tuple[int, ...]]]) -> None:
    """The kernels trust dtypes and shapes: each tensor that is there must have these."""
    for what, (t, shape) in tensors.items():
        if t is not None and (t.dtype is not dtype or tuple(t.shape) != shape):
            raise RuntimeError(f"{name}: {what} must be {dtype} {list(shape)}, got {t.dtype} {list(t.shape)}")


def only_adds(mode: str) -> bool:
    """Whether the cell sees nothing but the sums of both parts, whose gradients are then one."""
    return mode != "GRU"


# ---- the op
def recurrent_vjp(ctx: Any, *grads: Any) -> tuple:
    x, w, bias, h, c, _, _, s, lengths = (None if i is None else ctx.saved[i] for i in ctx.places)
    mode, reverse = ctx.how
    if _core.is_grad_enabled():
        return higher(ctx, grads)
    steps, rows, units = x.shape[0], x.shape[1], w.shape[1]
    dtype = x.dtype
    g = zeros_like_shape(x, (steps, rows, units), dtype) if grads[0] is None else grads[0].contiguous()
    gh, gc = (
        zeros_like_shape(x, (rows, units), dtype) if last is None else last.clone().contiguous()
        for last in (*grads[1:], None)[:2]
    )
    dx = new_empty(x.shape, dtype)
    ds = dx if only_adds(mode) else new_empty(x.shape, dtype)
    address = gradients_kernel(mode, dtype.ir, bias is not None, lengths is not None)
    _core.recurrent((0, address), (x, w, bias, lengths, g), (h, c, s), (gh, gc, dx, ds), CELLS[mode].gates, reverse)
    before = h.narrow(0, 1 if reverse else 0, steps).reshape(steps * rows, units)
    flat = ds.reshape(steps * rows, -1)
    dw = matrix_product(flat.t(), before)
    return (
        dx, dw, *(() if bias is None else (sum(flat, 0),)), gh, *(() if c is None else (gc,)),
        *(() if lengths is None else (None,)),
    )  # fmt: skip


@primitive(recurrent_vjp, name="recurrent_layer")
def recurrent_layer(ctx, x, w, bias, h0, c0, lengths, mode, reverse):
    """(output, h[, c]): a cell's states along time, and the last of them.

    x (T, N, gates · H), the input's part of the gates; w (gates · H, H); h0, c0 (N, H); lengths (N) of int64 or None.
    """
    steps, rows, units = x.shape[0], x.shape[1], w.shape[1]
    gates, state = CELLS[mode].gates * units, (rows, units)
    wanted = {"x": (x, (steps, rows, gates)), "w": (w, (gates, units)), "bias": (bias, (gates,))}
    expect("recurrent_layer", x.dtype, {**wanted, "h": (h0, state), "c": (c0, state)})
    expect("recurrent_layer", INT64, {"lengths": (lengths, (rows,))})
    if x.dtype.itemsize < 4:
        raise RuntimeError(f"recurrent_layer: takes float32 or float64, got {x.dtype}; use x.float()")
    x, w, bias, h0, c0, lengths = (None if t is None else t.contiguous() for t in (x, w, bias, h0, c0, lengths))
    h, c = (None if given is None else new_empty((steps + 1, rows, units), x.dtype) for given in (h0, c0))
    for states, given in ((h, h0), (c, c0)):
        if states is not None:
            _core.plain_copy(states.select(0, steps if reverse else 0), given)
    s = new_empty(x.shape, x.dtype)
    address = step_kernel(mode, x.dtype.ir, bias is not None, lengths is not None)
    _core.recurrent((address, 0), (x, w, bias, lengths, None), (h, c, s), (None,) * 4, CELLS[mode].gates, reverse)
    output = h.narrow(0, 0 if reverse else 1, steps).detach()
    last = tuple(t.select(0, 0 if reverse else steps).clone() for t in (h, c) if t is not None)
    kept = [x, w, bias, h, c, h0, c0, s, lengths]
    present = [t for t in kept if t is not None]
    ctx.places = [None if t is None else next(i for i, p in enumerate(present) if p is t) for t in kept]
    ctx.how = (mode, reverse)
    ctx.save(*present)
    return output, *last


# ---- single steps
def cell_vjp(ctx: Any, *grads: Any) -> tuple:
    x, s, *states = ctx.saved
    mode = ctx.mode
    if _core.is_grad_enabled():
        return again(lambda x, s, *states: on_tensors(mode, x, s, states), ctx.saved, grads)
    shape, dtype = states[0].shape, x.dtype
    zeros = zeros_like_shape(x, shape, dtype)
    gh, gc = (zeros.clone() if g is None else g.clone().contiguous() for g in (*grads, None)[:2])
    dx = new_empty(x.shape, dtype)
    ds = dx if only_adds(mode) else new_empty(x.shape, dtype)
    given = (x, s, x, states[0], states[-1], x, zeros, gh, gc, dx, ds)
    launch_cell(gradients_kernel(mode, dtype.ir, False, False), given, shape)
    return dx, ds, *(gh, gc)[: len(states)]


@primitive(cell_vjp, name="recurrent_cell")
def recurrent_cell(ctx, x, s, states, mode):
    """The states that follow `states` (N, H), given the gates' parts from input and state, (N, gates · H) each."""
    rows, units = states[0].shape
    parts = {"x": (x, (rows, CELLS[mode].gates * units)), "s": (s, (rows, CELLS[mode].gates * units))}
    expect("recurrent_cell", x.dtype, {**parts, **{f"state {k}": (t, (rows, units)) for k, t in enumerate(states)}})
    x, s, *states = (t.contiguous() for t in (x, s, *states))
    ctx.mode = mode
    ctx.save(x, s, *states)
    after = tuple(new_empty(states[0].shape, x.dtype) for _ in states)
    given = (x, s, x, states[0], states[-1], x, after[0], after[-1])
    launch_cell(step_kernel(mode, x.dtype.ir, False, False), given, states[0].shape)
    return after


def launch_cell(address: int, tensors: tuple, shape: Any) -> None:
    """Slots that a kernel has no use for are filled with any tensor."""
    rows, units = shape
    _core.launch(address, (*tensors, units, units, 0, rows), rows, 1 + 16384 // max(units, 1), rows * units)


# ---- the same in terms of other ops, for higher derivatives
def on_tensors(mode: str, x: Tensor, s: Tensor, states: Any) -> tuple[Tensor, ...]:
    units = states[0].shape[-1]
    return CELLS[mode].step(list(split(x, units, -1)), list(split(s, units, -1)), states[0], states[-1])


def along_time(
    x: Tensor, w: Tensor, bias: Tensor | None, states: tuple, lengths: Tensor | None, mode: str, reverse: bool
) -> tuple[Tensor, ...]:
    steps = x.shape[0]
    outputs: list[Any] = [None] * steps
    for t in reversed(range(steps)) if reverse else range(steps):
        after = on_tensors(mode, x[t], linear(states[0], w, bias), states)
        if lengths is not None:
            inside = (lengths > t).unsqueeze(1)
            after = tuple(TABLE["where"](inside, new, old) for new, old in zip(after, states, strict=True))
        states, outputs[t] = after, after[0]
    return stack(outputs), *states


def again(function: Callable[..., tuple], inputs: Any, grads: Any) -> tuple:
    """The gradients of function(*inputs), themselves recorded."""
    with_grad = [t if t.requires_grad else t.detach().requires_grad_() for t in inputs]
    outputs = function(*with_grad)
    pairs = [(y, g) for y, g in zip(outputs, grads, strict=True) if g is not None]
    return tuple(_core.run_backward([y for y, _ in pairs], [g for _, g in pairs], True, True, with_grad))


def higher(ctx: Any, grads: Any) -> tuple:
    mode, reverse = ctx.how
    x, w, bias, _, _, h0, c0, _, lengths = (None if i is None else ctx.saved[i] for i in ctx.places)
    given = [t for t in (x, w, bias, h0, c0) if t is not None]

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        rest = list(inputs)
        own = rest.pop(2) if bias is not None else None
        return along_time(rest[0], rest[1], own, tuple(rest[2:]), lengths, mode, reverse)

    return *again(run, given, grads), *(() if lengths is None else (None,))
