"""Recurrent layers and cells: RNN, LSTM, GRU, each cell written once on symbolic scalars.

From a cell come the kernel of a step and, by symbolic derivative, that of its gradients, which start from what the
step kept of its gates; the driver in C walks them along time. Imports core, ir and neighbours in ops. Read next:
`runtime/recurrent.h`, `nn/modules/rnn.py`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..core import _core
from ..core._core import DTYPES, Tensor, new_empty
from ..ir.derive import add, derivative
from ..ir.expr import Expr, as_expr, const, function, load, maximum, substitute, var, where
from ..ir.kernel import Buffer, For, Kernel, Let, Scalar, Statement, Store
from .basic import zeros_like_shape
from .joining import cat, split, stack
from .matmul import linear, matrix_product
from .pointwise_transcendental import sigmoid as sigmoid_of
from .primitive import generated, primitive
from .reduce import sum
from .table import TABLE

INT64, FLOAT32 = DTYPES[5], DTYPES[8]


# ---- cells, on symbols or tensors
def sigmoid(x: Any) -> Any:
    return sigmoid_of(x) if isinstance(x, Expr) else TABLE["sigmoid"](x)


def tanh(x: Any) -> Any:
    return function("tanh", x) if isinstance(x, Expr) else TABLE["tanh"](x)


def relu(x: Any) -> Any:
    return maximum(x, const(0, x.dtype)) if isinstance(x, Expr) else TABLE["relu"](x)


class Kept(NamedTuple):
    """A value from which gradients start: `slope` times its own is that of what it was computed `of`."""

    value: Any
    of: Any
    slope: Callable[[Expr], Expr]


def logistic(x: Any) -> Kept:
    return Kept(sigmoid(x), x, lambda y: y * (1 - y))


def hyperbolic(x: Any) -> Kept:
    return Kept(tanh(x), x, lambda y: 1 - y * y)


def itself(x: Any) -> Kept:
    return Kept(x, x, lambda y: const(1, y.dtype))


class Cell(NamedTuple):
    """How states follow: step(x, s, h, c) of the gates' parts from the input and from h, which carry the biases.

    It returns the states and what is kept, a value for each gate or one more: gradients need neither x nor s then.
    """

    gates: int
    states: int
    step: Callable[[Sequence[Any], Sequence[Any], Any, Any], tuple[tuple, tuple[Kept, ...]]]


def rnn_tanh(x: Sequence[Any], s: Sequence[Any], h: Any, c: Any) -> tuple[tuple, tuple[Kept, ...]]:
    h = hyperbolic(x[0] + s[0])
    return (h.value,), (h,)


def rnn_relu(x: Sequence[Any], s: Sequence[Any], h: Any, c: Any) -> tuple[tuple, tuple[Kept, ...]]:
    total = itself(x[0] + s[0])
    return (relu(total.value),), (total,)


def lstm(x: Sequence[Any], s: Sequence[Any], h: Any, c: Any) -> tuple[tuple, tuple[Kept, ...]]:
    i, f, g, o = (a + b for a, b in zip(x, s, strict=True))
    kept = i, f, g, o = logistic(i), logistic(f), hyperbolic(g), logistic(o)
    c = f.value * c + i.value * g.value
    return (o.value * tanh(c), c), kept


def gru(x: Sequence[Any], s: Sequence[Any], h: Any, c: Any) -> tuple[tuple, tuple[Kept, ...]]:
    r, z, own = logistic(x[0] + s[0]), logistic(x[1] + s[1]), itself(s[2])
    n = hyperbolic(x[2] + r.value * own.value)
    return (n.value + z.value * (h - n.value),), (r, z, n, own)


CELLS = {
    "RNN_TANH": Cell(1, 1, rnn_tanh),
    "RNN_RELU": Cell(1, 1, rnn_relu),
    "LSTM": Cell(4, 2, lstm),
    "GRU": Cell(3, 1, gru),
}

# ---- kernels
ROW, COL, UNITS = var("row"), var("col"), var("units")
ONE = ROW * UNITS + COL


class Symbols(NamedTuple):
    """A cell on symbols: its variables, the states that follow, and what is kept."""

    x: list[Expr]
    s: list[Expr]
    states: list[Expr]
    after: tuple[Expr, ...]
    kept: tuple[Kept, ...]


def symbols(mode: str, dtype: str, lengths: bool) -> Symbols:
    cell = CELLS[mode]
    x, s = ([var(f"{name}{k}", dtype) for k in range(cell.gates)] for name in "xs")
    states = [var(name, dtype) for name in ("h", "c")[: cell.states]]
    after, kept = cell.step(x, s, states[0], states[-1])
    if lengths:
        inside = var("time") < load("lengths", "i64", ROW)
        after = tuple(where(inside, new, old) for new, old in zip(after, states, strict=True))
    return Symbols(x, s, states, after, kept)


def place(mode: str, k: int, row: Expr | None = None, apart: Expr = UNITS) -> Expr:
    """Where gate k stands in rows that are `row` apart, gates being `apart`."""
    return ROW * (apart * CELLS[mode].gates if row is None else row) + apart * k + COL


def kept_place(mode: str, k: int) -> tuple[str, Expr]:
    return ("kept", place(mode, k)) if k < CELLS[mode].gates else ("rest", ONE)


def kernel(name: str, buffers: list[Buffer], scalars: tuple[str, ...], body: Sequence[Statement]) -> Kernel:
    columns = For(COL, as_expr(0), var("n"), tuple(body), vector=True)
    rows = For(ROW, as_expr(0), var("rows"), (columns,), parallel=True)
    return Kernel(name, (*buffers, *(Scalar(n) for n in ("n", "units", *scalars, "time", "rows"))), (rows,))


@generated
def step_kernel(mode: str, dtype: str, bias: bool, lengths: bool) -> Kernel:
    """The states after a step, and what is kept of it: `step` in runtime/recurrent.h."""
    found = symbols(mode, dtype, lengths)
    loads = {v: load(str(v.attr), dtype, ONE) for v in found.states}
    for k, (x, s) in enumerate(zip(found.x, found.s, strict=True)):
        own = load("s", dtype, place(mode, k, apart=var("s_gate")))
        loads[x] = load("x", dtype, place(mode, k))
        loads[s] = own + load("bias", dtype, UNITS * k + COL) if bias else own
    # x is read before anything is kept in its place.
    lets = [Let(v, value) for v, value in loads.items()]
    stores = [Store(*kept_place(mode, k), kept.value) for k, kept in enumerate(found.kept)]
    stores += [Store(name, ONE, value) for name, value in zip(("new_h", "new_c"), found.after, strict=False)]
    buffers = [*(Buffer(name, dtype) for name in ("x", "s", "bias", "h", "c")), Buffer("lengths", "i64")]
    buffers += [Buffer(name, dtype, "w") for name in ("new_h", "new_c", "kept", "rest")]
    return kernel(f"{mode.lower()}_step", buffers, ("s_gate",), [*lets, *stores])


def gradients_of(found: Symbols, seeds: Sequence[Expr]) -> dict[Expr, Expr]:
    """Gradients of a cell's variables, in terms of what is kept."""
    values = [kept.value for kept in found.kept]
    totals = dict.fromkeys((*values, *found.x, *found.s, *found.states), const(0, seeds[0].dtype))

    def pass_on(body: Expr, seed: Expr, wrt: tuple[Expr, ...]) -> None:
        for v, part in zip(wrt, derivative(body, wrt, seed), strict=True):
            if part is not None:
                totals[v] = add(totals[v], part)

    for body, seed in zip(found.after, seeds, strict=True):
        pass_on(body, seed, tuple(totals))
    # What is kept may have been computed of what stands before it.
    for value, of, slope in reversed(found.kept):
        if value.op != "var":
            pass_on(of, totals[value] * slope(value), tuple(v for v in totals if v is not value))
    return totals


@generated
def gradients_kernel(mode: str, dtype: str, lengths: bool) -> Kernel:
    """What a step's gradients become: `gradients` in runtime/recurrent.h."""
    found = symbols(mode, dtype, lengths)
    arriving = [load("gh", dtype, ONE) + load("g", dtype, ONE), load("gc", dtype, ONE)]
    seeds = [var(f"seed{k}", dtype) for k in range(len(found.states))]
    totals = gradients_of(found, seeds)
    loads = {v: load(str(v.attr), dtype, ONE) for v in found.states}
    for k, kept in enumerate(found.kept):
        name, at = kept_place(mode, k)
        loads[kept.value] = load(name, dtype, at)

    def stores(names: Sequence[tuple[str, Expr]], of: list[Expr]) -> list[Store]:
        written = substitute(tuple(totals[v] for v in of), loads)
        return [Store(name, at, value) for (name, at), value in zip(names, written, strict=True)]

    gates, row = range(len(found.x)), var("d_row")
    body = stores([("dx", place(mode, k, row)) for k in gates], found.x)
    if not only_adds(mode):
        body += stores([("ds", place(mode, k, row)) for k in gates], found.s)
    body += stores([("gh", ONE), ("gc", ONE)][: len(seeds)], found.states)
    buffers = [*(Buffer(name, dtype) for name in ("kept", "rest", "h", "c")), Buffer("lengths", "i64")]
    buffers += [Buffer("g", dtype), *(Buffer(name, dtype, "rw") for name in ("gh", "gc", "dx", "ds"))]
    # gh and gc are read before either is written.
    lets = [Let(seed, value) for seed, value in zip(seeds, arriving, strict=False)]
    return kernel(f"{mode.lower()}_gradients", buffers, ("d_row",), [*lets, *body])


def expect(name: str, dtype: Any, tensors: dict[str, tuple[Tensor | None, tuple[int, ...]]]) -> None:
    """The kernels trust dtypes and shapes: each tensor that is there must have these."""
    for what, (t, shape) in tensors.items():
        if t is not None and (t.dtype is not dtype or tuple(t.shape) != shape):
            raise RuntimeError(f"{name}: {what} must be {dtype} {list(shape)}, got {t.dtype} {list(t.shape)}")


def keeps_more(mode: str) -> bool:
    """Whether there is a value to keep beyond those of the gates."""
    return mode == "GRU"


def only_adds(mode: str) -> bool:
    """Whether the cell sees nothing but the sums of both parts, whose gradients are then one."""
    return mode != "GRU"


# ---- the op
PADDING = 16  # after each row of gradients: rows a power of two apart would evict each other from the cache


class Layer(NamedTuple):
    """What a layer is given: (T, N, in), (gates · H, in), (gates · H, H), two of (gates · H), two of (N, H), (N)."""

    x: Any
    w_ih: Any
    w_hh: Any
    b_ih: Any
    b_hh: Any
    h: Any
    c: Any
    lengths: Any


def recurrent_vjp(ctx: Any, *grads: Any) -> tuple:
    found = iter(ctx.saved)
    *given, h, c, gates, rest = (next(found) if there else None for there in ctx.there)
    at = Layer(*given)
    mode, reverse = ctx.how
    if _core.is_grad_enabled():
        return higher(at, mode, reverse, grads)
    (steps, rows, width), units, dtype = gates.shape, h.shape[2], h.dtype
    needs = iter(ctx.needs_input_grad)
    need = Layer(*(t is not None and next(needs) for t in at))
    shapes = ((steps, rows, units), (rows, units), (rows, units))[: 1 + CELLS[mode].states]
    arriving = [
        zeros_like_shape(h, shape, dtype) if g is None else g.to(dtype) for shape, g in zip(shapes, grads, strict=True)
    ]
    gh, gc = ([t.clone().contiguous() for t in arriving[1:]] + [None])[:2]
    dx = new_empty((steps * rows, width + PADDING), dtype)
    ds = dx if only_adds(mode) else new_empty(dx.shape, dtype)
    address = gradients_kernel(mode, dtype.ir, at.lengths is not None)
    own = at.w_hh.to(dtype).contiguous()
    _core.recurrent(
        (0, address), (gates, own, None, at.lengths, arriving[0].contiguous()), (h, c, rest), (gh, gc, dx, ds),
        CELLS[mode].gates, reverse,
    )  # fmt: skip
    b_ih = sum(dx, 0).narrow(0, 0, width) if need.b_ih or (need.b_hh and only_adds(mode)) else None
    b_hh = b_ih if only_adds(mode) or not need.b_hh else sum(ds, 0).narrow(0, 0, width)
    dx, ds = dx.narrow(1, 0, width), ds.narrow(1, 0, width)
    inputs = at.x.reshape(steps * rows, -1).to(dtype)
    before = h.narrow(0, 1 if reverse else 0, steps).reshape(steps * rows, units)
    of = Layer(
        matrix_product(dx, at.w_ih.to(dtype)).reshape(at.x.shape) if need.x else None,
        matrix_product(dx.t(), inputs) if need.w_ih else None,
        matrix_product(ds.t(), before) if need.w_hh else None,
        b_ih if need.b_ih else None, b_hh if need.b_hh else None, gh, gc, None,
    )  # fmt: skip
    return tuple(None if g is None else g.to(t.dtype) for t, g in zip(at, of, strict=True) if t is not None)


@primitive(recurrent_vjp, name="recurrent_layer")
def recurrent_layer(ctx, x, w_ih, w_hh, b_ih, b_hh, h0, c0, lengths, mode, reverse):
    """(output, h[, c]): a cell's states along time, and the last of them; shapes as in Layer, None where there is none.

    What is narrower than float32 is computed in float32.
    """
    at = Layer(x, w_ih, w_hh, b_ih, b_hh, h0, c0, lengths)
    (steps, rows, features), units, dtype = x.shape, w_hh.shape[1], x.dtype
    width, state = CELLS[mode].gates * units, (rows, units)
    wanted = Layer(x.shape, (width, features), (width, units), (width,), (width,), state, state, (rows,))
    pairs = {name: (t, tuple(shape)) for name, t, shape in zip(Layer._fields, at, wanted, strict=True)}
    expect("recurrent_layer", INT64, {"lengths": pairs.pop("lengths")})
    expect("recurrent_layer", dtype, pairs)
    if CELLS[mode].states != 1 + (c0 is not None):
        raise RuntimeError(f"recurrent_layer: {mode} has {CELLS[mode].states} states, got {1 + (c0 is not None)}")
    inner = FLOAT32 if dtype.itemsize == 2 else dtype
    x, w_ih, w_hh, b_ih, b_hh = (None if t is None else t.to(inner) for t in at[:5])
    gates = _core.matrix_product(x.reshape(steps * rows, features), w_ih.t(), b_ih).reshape(steps, rows, width)
    h, c = (None if t is None else new_empty((steps + 1, rows, units), inner) for t in (h0, c0))
    for states, given in ((h, h0), (c, c0)):
        if states is not None:
            _core.plain_copy(states.select(0, steps if reverse else 0), given.to(inner))
    rest = new_empty((steps, rows, units), inner) if keeps_more(mode) else None
    address = step_kernel(mode, inner.ir, b_hh is not None, lengths is not None)
    w_hh, b_hh, lengths = (None if t is None else t.contiguous() for t in (w_hh, b_hh, lengths))
    _core.recurrent(
        (address, 0), (gates, w_hh, b_hh, lengths, None), (h, c, rest), (None,) * 4, CELLS[mode].gates, reverse
    )
    output = h.narrow(0, 0 if reverse else 1, steps).detach()
    last = (t.select(0, 0 if reverse else steps).clone() for t in (h, c) if t is not None)
    kept = (*at[:7], lengths, h, c, gates, rest)
    ctx.there, ctx.how = [t is not None for t in kept], (mode, reverse)
    ctx.save(*(t for t in kept if t is not None))
    return tuple(t.to(dtype) for t in (output, *last))


# ---- single steps
LEFT_ROWS = 1024  # the most rows of gradients that steps leave to the step before
NOTHING_LEFT: tuple[int, list] = (0, [])


def follow(mode: str, x: Tensor, s: Tensor, states: Sequence[Tensor], kept: Tensor) -> tuple[tuple, Tensor]:
    """The states after a step, and what doesn't fit into `kept`, which may be x."""
    shape, dtype = states[0].shape, x.dtype
    rest = new_empty(shape, dtype) if keeps_more(mode) else x
    after = tuple(new_empty(shape, dtype) for _ in states)
    given = (x, s, x, states[0], states[-1], x, after[0], after[-1], kept, rest)
    launch_cell(step_kernel(mode, dtype.ir, False, False), given, shape, shape[1])
    return after, rest


def step_back(mode: str, kept: Tensor, rest: Tensor, states: Sequence[Tensor], grads: Any) -> tuple:
    """Gradients of both parts of the gates, and what the cell itself passes on to the states before it."""
    shape, dtype = states[0].shape, kept.dtype
    h, c = (*grads, None)[:2]
    gh = zeros_like_shape(kept, shape, dtype)
    g = gh if h is None else h.to(dtype).contiguous()
    gc = (
        gh
        if len(states) == 1
        else zeros_like_shape(kept, shape, dtype)
        if c is None
        else c.to(dtype).clone().contiguous()
    )
    dx = new_empty(kept.shape, dtype)
    ds = dx if only_adds(mode) else new_empty(kept.shape, dtype)
    given = (kept, rest, states[0], states[-1], kept, g, gh, gc, dx, ds)
    launch_cell(gradients_kernel(mode, dtype.ir, False), given, shape, kept.shape[1])
    return dx, ds, (gh, gc)[: len(states)]


def launch_cell(address: int, tensors: tuple, shape: Any, apart: int) -> None:
    """Slots that a kernel has no use for are filled with any tensor."""
    rows, units = shape
    _core.launch(address, (*tensors, units, units, apart, 0, rows), rows, 1 + 16384 // max(units, 1), rows * units)


def cell_vjp(ctx: Any, *grads: Any) -> tuple:
    x, s, *states, kept, rest = ctx.saved
    mode = ctx.mode
    if _core.is_grad_enabled():
        return again(lambda x, s, *states: on_tensors(mode, x, s, states), (x, s, *states), grads)
    dx, ds, own = step_back(mode, kept, rest, states, grads)
    return dx, ds, *own


@primitive(cell_vjp, name="recurrent_cell")
def recurrent_cell(ctx, x, s, states, mode):
    """The states that follow `states` (N, H), given the gates' parts from input and state, (N, gates · H) each."""
    rows, units = states[0].shape
    parts = {"x": (x, (rows, CELLS[mode].gates * units)), "s": (s, (rows, CELLS[mode].gates * units))}
    expect("recurrent_cell", x.dtype, {**parts, **{f"state {k}": (t, (rows, units)) for k, t in enumerate(states)}})
    x, s, *states = (t.contiguous() for t in (x, s, *states))
    kept = new_empty(x.shape, x.dtype)
    after, rest = follow(mode, x, s, states, kept)
    ctx.mode = mode
    ctx.save(x, s, *states, kept, rest)
    return after


def step_vjp(ctx: Any, *grads: Any) -> tuple:
    found = iter(ctx.saved)
    *given, kept, rest = (next(found) if there else None for there in ctx.there)
    x, w_ih, w_hh, _, _, *states = given
    mode, states, dtype = ctx.mode, [t for t in states if t is not None], kept.dtype
    if _core.is_grad_enabled():
        return again(
            lambda *tensors: one_step(mode, tensors, ctx.there), [t for t in given if t is not None], grads
        )  # fmt: skip
    wide = [t.to(dtype).contiguous() for t in states]
    dx, ds, own = step_back(mode, kept, rest, wide, grads)
    needs = iter(ctx.needs_input_grad)
    need = [there and next(needs) for there in ctx.there[:7]]
    of: list[Any] = [None] * 7
    if need[0]:
        of[0] = matrix_product(dx, w_ih.to(dtype))
    of[5:] = (*own, None)[:2]
    if need[5]:
        of[5] = _core.matrix_product(ds, w_hh.to(dtype), own[0])
    if any(need[1:5]):
        parts = [*left_for(ctx), (dx, ds, x.to(dtype), wide[0])]
        ctx.left = NOTHING_LEFT
        before = ctx.before and ctx.before()
        if before is not None and len(parts) * x.shape[0] < LEFT_ROWS:
            before.left = _core.current_run(), [*left_for(before), *parts]
        else:
            of[1:5] = weight_gradients(mode, parts, need[1:5])
    found = (g for g, t in zip(of, given, strict=True) if t is not None)
    return tuple(found if x.dtype is dtype else (g if g is None else g.to(x.dtype) for g in found))


def left_for(ctx: Any) -> list:
    """What later steps of the same backward pass left to this one: it has their weights."""
    run, parts = ctx.left
    return parts if run == _core.current_run() else []


def weight_gradients(mode: str, parts: list, need: Sequence[bool]) -> list:
    """Of both weights and biases, for steps from the last to the first: one product over the rows of all."""
    dx, ds, x, h = (t[0] if len(t) == 1 else cat(list(t)) for t in zip(*reversed(parts), strict=True))
    ds = dx if only_adds(mode) else ds
    b_ih = sum(dx, 0) if need[2] or need[3] else None
    return [
        matrix_product(dx.t(), x) if need[0] else None,
        matrix_product(ds.t(), h) if need[1] else None,
        b_ih if need[2] else None,
        None if not need[3] else b_ih if ds is dx else sum(ds, 0),
    ]


@primitive(step_vjp, name="recurrent_step")
def recurrent_step(ctx, x, w_ih, w_hh, b_ih, b_hh, h, c, mode):
    """The states (N, H) that follow h and c, or h alone, for an input x (N, in); weights as in Layer.

    Gradients of leaf weights are left to the step whose state this one continues, so that those of a loop are one
    product. What is narrower than float32 is computed in float32.
    """
    (rows, units), (width, features), dtype = h.shape, w_ih.shape, x.dtype
    states = [t for t in (h, c) if t is not None]
    wanted = {"x": (x, (rows, features)), "w_ih": (w_ih, (CELLS[mode].gates * units, features))}
    wanted |= {"w_hh": (w_hh, (width, units)), "b_ih": (b_ih, (width,)), "b_hh": (b_hh, (width,))}
    expect("recurrent_step", dtype, {**wanted, **{f"state {k}": (t, (rows, units)) for k, t in enumerate(states)}})
    if CELLS[mode].states != len(states):
        raise RuntimeError(f"recurrent_step: {mode} has {CELLS[mode].states} states, got {len(states)}")
    inner = FLOAT32 if dtype.itemsize == 2 else dtype
    given = (x, w_ih, w_hh, b_ih, b_hh, h, c)
    wx, wi, wh, bi, bh, *wide = given if dtype is inner else [None if t is None else t.to(inner) for t in given]
    kept = _core.matrix_product(wx, wi.t(), bi)
    own = _core.matrix_product(wide[0], wh.t(), bh)
    after, rest = follow(mode, kept, own, [t.contiguous() for t in wide if t is not None], kept)
    ctx.mode, ctx.left, ctx.weights, ctx.before = mode, NOTHING_LEFT, None, None
    weights, before = (w_ih, w_hh, b_ih, b_hh), h.grad_fn
    theirs = getattr(before, "weights", None)
    if theirs and all(a is b for a, b in zip(theirs, weights, strict=True)):
        ctx.weights, ctx.before = weights, weakref.ref(before)
    elif all(t is None or t.is_leaf for t in weights):
        ctx.weights = weights
    ctx.there = [t is not None for t in (*given, kept, rest)]
    ctx.save(*(t for t in given if t is not None), kept, rest)
    return after if dtype is inner else tuple(t.to(dtype) for t in after)


# ---- the same in terms of other ops, for higher derivatives
def on_tensors(mode: str, x: Tensor, s: Tensor, states: Any) -> tuple[Tensor, ...]:
    units = states[0].shape[-1]
    return CELLS[mode].step(list(split(x, units, -1)), list(split(s, units, -1)), states[0], states[-1])[0]


def one_step(mode: str, tensors: Any, there: Sequence[bool]) -> tuple[Tensor, ...]:
    rest = iter(tensors)
    x, w_ih, w_hh, b_ih, b_hh, *states = (next(rest) if given else None for given in there[:7])
    states = [t for t in states if t is not None]
    return on_tensors(mode, linear(x, w_ih, b_ih), linear(states[0], w_hh, b_hh), states)


def along_time(at: Layer, mode: str, reverse: bool) -> tuple[Tensor, ...]:
    x, steps = linear(at.x, at.w_ih, at.b_ih), at.x.shape[0]
    states = tuple(t for t in (at.h, at.c) if t is not None)
    outputs: list[Any] = [None] * steps
    for t in reversed(range(steps)) if reverse else range(steps):
        after = on_tensors(mode, x[t], linear(states[0], at.w_hh, at.b_hh), states)
        if at.lengths is not None:
            inside = (at.lengths > t).unsqueeze(1)
            after = tuple(TABLE["where"](inside, new, old) for new, old in zip(after, states, strict=True))
        states, outputs[t] = after, after[0]
    return stack(outputs), *states


def again(function: Callable[..., tuple], inputs: Any, grads: Any) -> tuple:
    """The gradients of function(*inputs), themselves recorded. Each input stands for itself: what led from one to
    another, as from the state before to the gates, is for the backward pass that asks.
    """
    with_grad = [t.view(t.shape) if t.requires_grad else t.detach().requires_grad_() for t in inputs]
    outputs = function(*with_grad)
    pairs = [(y, g) for y, g in zip(outputs, grads, strict=True) if g is not None]
    return tuple(_core.run_backward([y for y, _ in pairs], [g for _, g in pairs], True, True, with_grad))


def higher(at: Layer, mode: str, reverse: bool, grads: Any) -> tuple:
    given = [t for t in at[:7] if t is not None]

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        rest = iter(inputs)
        inner = Layer._make((*(None if t is None else next(rest) for t in at[:7]), at.lengths))
        return along_time(inner, mode, reverse)

    return *again(run, given, grads), *(() if at.lengths is None else (None,))
