"""Dual: the Interpreter that computes, beside every value, its tangent: the derivative along one direction.

An operation that is linear is applied to the tangents; a pointwise one has a fused operation of its own
(`pushforward.py`); for every other the tangent is the transpose of its vjp. Tangents are computed by operations like
others, below this level, so the tape records them and outer levels differentiate them.
Imports core, ops and neighbours. Read next: `tangents.py` (where tangents are), `forward_ad.py` (how programs ask).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..compiler.memory import flattened
from ..compiler.trace import key_of, plain
from ..core import _core
from ..core._core import Call, Effect, LinearReduction, Node, Op, Reduction, Tensor, View
from ..core.interpreters import Interpreter, below, stack
from ..ops.basic import overlaps
from ..ops.factories import ones_like, zeros_like
from .batch import Batch, foundation, levels, lowered, raised
from .function import Applied
from .modes import enable_grad
from .pushforward import pushforward
from .tangents import Tangents

# Operations that are linear in all their floating arguments together: the tangent is the operation of the tangents.
LINEAR = frozenset((
    "sum", "mean", "contiguous", "laid_out", "clone", "to_dtype", "embed_part", "replace_part", "flip", "roll",
    "triangle", "diag_embed", "split", "unbind", "cat", "stack", "pick", "put", "written", "rows", "masked_select",
    "put_masked", "masked_scatter", "cumsum", "fft_c2c", "fft_r2c", "fft_c2r", "max_unpool", "avg_pool2d_windows",
    "avg_pool2d_backward", "separable", "repeated_pad", "dropout_mask", "view_as_complex", "view_as_real",
))  # fmt: skip
# Those linear in each of the first two arguments alone; a third, where it is floating, is added.
BILINEAR = frozenset((
    "matrix_product", "linear_rows", "conv_forward", "conv_data", "conv_weight", "sparse_product", "sampled_product",
))  # fmt: skip


class Dual(Interpreter):
    """One level of forward mode: tensors have a tangent here while their memory has a shadow."""

    differentiates = True
    functions = True

    def __init__(self) -> None:
        self.tangents = Tangents()

    def __enter__(self) -> Any:
        """Below vmap's levels: samples are independent, so the tangents of all samples are taken at once."""
        active = stack.active
        at = next((i for i, level in enumerate(active) if isinstance(level, Batch)), len(active))
        stack.active = (*active[:at], self, *active[at:])
        _core.change_interpreters(1)
        return self

    def __exit__(self, *error: object) -> None:
        assert self in stack.active, "a level of forward mode is left where it was entered"
        stack.active = tuple(level for level in stack.active if level is not self)
        _core.change_interpreters(-1)

    # ---- tensors as programs see them, at vmap's levels
    def make(self, x: Tensor, tangent: Tensor) -> Tensor:
        """A tensor over x's memory, if its elements have each their own, that has this tangent."""
        held = [*foundation(x)[0], *foundation(tangent)[0]]
        which = [level for level in levels() if level in held]
        x, tangent = lowered(x, which), lowered(tangent, which)
        with below(self):
            # Elements that share memory have tangents of their own.
            made = x.contiguous() if overlaps(x) else _core.apart(x)
            self.tangents.begin(made, tangent, True)
        return raised(made, which)

    def unpack(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """x without its tangent at this level, and that or None."""
        which, low = foundation(x)
        with below(self):
            tangent = self.tangents.of(low)
            if tangent is None:
                return x, None
            low = _core.apart(low)
        return raised(low, which), raised(tangent, which)

    # ---- what happens
    def tangent(self, x: Any) -> Tensor | None:
        return self.tangents.of(x) if isinstance(x, Tensor) else None

    def process(self, call: Call) -> Any:
        op = call.op
        if isinstance(op, View):
            return self.view(call)
        if isinstance(op, Effect):
            return self.effect(call)
        if isinstance(op, Op):
            return self.pointwise(call)
        pushed = [self.tangent(x) for x in tensors_of(call.args)]
        if all(t is None for t in pushed) or op.name == "sparse_tensor":
            return call()  # a sparse tensor's tangent is that of the values it holds
        if call.writes is not None:
            return self.write(call)
        if isinstance(op, Applied) and op.function.jvp is not None:
            return self.custom(call)
        if isinstance(op, LinearReduction) or op.name in LINEAR:
            return self.linear(call)
        if op.name in BILINEAR and any(self.tangent(x) is not None for x in call.args[:2]):
            return self.bilinear(call)
        if isinstance(op, Reduction) or getattr(op, "vjp", True) is None:
            return self.constant(call)
        return self.transposed(call)

    # ---- views and effects
    def view(self, call: Call) -> Tensor:
        x, *arguments = call.args
        y = call()
        tangent = self.tangents.of(x)
        if tangent is None:
            return y
        name = call.op.name
        if name == "detach":
            return _core.apart(y)
        if name == "_apart":
            self.tangents.begin(y, _core.apart(tangent), False)
        elif name != "_part_of_base":  # found by its strides
            self.tangents.viewed(x, y, lambda t: getattr(t, name)(*arguments))
        return y

    def effect(self, call: Call) -> Any:
        if call.op is _core.LAUNCH and any(self.tangents.of(t) is not None for t in call.args):
            raise RuntimeError(
                "forward_ad: a kernel was launched outside of an operation on a tensor that has a tangent, which can't "
                "be followed; use x.detach()"
            )
        result = call()
        if call.op is _core.DRAW:
            self.tangents.put(call.args[0], None)
        return result

    # ---- pointwise operations
    def pointwise(self, call: Call) -> Any:
        pushed = [self.tangent(x) for x in call.args]
        wrt = tuple(i for i, t in enumerate(pushed) if t is not None)
        if not wrt:
            result = call()
            for target in call.writes or ():
                self.tangents.put(target, None)
            return result
        args = with_complex_numbers(call.args)
        rule = pushforward(call.op, tuple(key_of(x) for x in args), wrt, call.writes is None)

        def push(outputs: Sequence[Tensor]) -> list[Tensor | None]:
            sources = {"operand": args, "tangent": pushed, "output": outputs}
            found = () if rule.op is None else flattened(rule.op(*(sources[kind][i] for kind, i in rule.needs)))
            new = dict(zip(rule.outputs, found, strict=True))
            return [new.get(j) for j in range(call.op.nout)]

        if call.writes is None:
            result = call()
            self.hand_out(flattened(result), push(flattened(result)))
            return result
        news = push(())
        old = self.tangents.of(call.writes[0])
        before = _core.last_serial()
        result = call()
        if old is not None:
            self.remember(call.writes[0], old, before)
        for target, new in zip(call.writes, news, strict=True):
            self.tangents.put(target, new)
        return result

    def hand_out(self, outputs: Sequence[Any], tangents: Sequence[Tensor | None]) -> None:
        """New tensors and their tangents, None where they are zero."""
        for y, tangent in zip(outputs, tangents, strict=True):
            if isinstance(y, Tensor) and (y.is_floating_point() or y.is_complex()):
                self.tangents.put(y, zeros_like(y) if tangent is None else tangent)

    def remember(self, target: Tensor, old: Tensor, before: int) -> None:
        """What an in-place operation kept of its target for backward has the target's former tangent."""
        node = (target if target._base is None else target._base).grad_fn
        if node is None:
            return
        inner = _core.inner_node(node)  # of a write through a view, the write itself
        for kept in (inner if isinstance(inner, Node) else node).saved_tensors:
            if isinstance(kept, Tensor) and kept.untyped_storage().serial > before and kept.shape == target.shape:
                self.tangents.put(kept, old.clone())

    # ---- other operations
    def linear(self, call: Call) -> Any:
        x, *rest = call.args
        result = call()
        if isinstance(x, Tensor) and all(shares(x, y) for y in flattened(result)):
            for i, y in enumerate(flattened(result)):
                self.tangents.viewed(x, y, member(i, call.op, *rest, **call.kwargs))
        elif any(y.is_floating_point() or y.is_complex() for y in flattened(result)):
            self.hand_out(flattened(result), flattened(call.op(*self.linear_in(call.args), **call.kwargs)))
        return result

    def linear_in(self, args: tuple) -> tuple:
        """Arguments of a linear operation for the tangents: a list's tensors are all of them operands."""

        def of(x: Any, operand: bool) -> Any:
            if is_list(x):
                return type(x)(of(y, True) for y in x)
            tangent = self.tangent(x)
            if tangent is None and isinstance(x, Tensor) and (operand or x.is_floating_point() or x.is_complex()):
                return zeros_like(x)
            return x if tangent is None else tangent

        return tuple(of(x, False) for x in args)

    def bilinear(self, call: Call) -> Tensor:
        result = call()
        a, b, *rest = call.args
        added = bool(rest) and isinstance(rest[0], Tensor)
        total: Tensor | None = None
        for place, tangent in enumerate(map(self.tangent, (a, b))):
            if tangent is None:
                continue
            if added:
                rest[0] = self.tangent(call.args[2]) if total is None else None
            part = call.op(*((tangent, b) if place == 0 else (a, tangent)), *rest, **call.kwargs)
            total = part if total is None else total + part
        self.hand_out((result,), (total,))
        return result

    def constant(self, call: Call) -> Any:
        """An operation without a derivative: whole numbers, or a step of one that was taken apart."""
        result = call()
        if any(isinstance(y, Tensor) and (y.is_floating_point() or y.is_complex()) for y in flattened(result)):
            raise RuntimeError(
                f"forward_ad: {call.op.name} has no derivative, and got a tensor that has a tangent; use x.detach()"
            )
        return result

    def transposed(self, call: Call) -> Any:
        """The tangent by the operation's vjp: <vjp(u), t> is linear in u, and its gradient is the tangent."""
        inference = _core.swap_inference(False)  # the tape is needed for a moment
        try:
            return self.by_vjp(call)
        finally:
            _core.swap_inference(inference)

    def by_vjp(self, call: Call) -> Any:
        recording = _core.is_grad_enabled()
        given = tensors_of(call.args)
        recorded = recording and any(x.requires_grad for x in given)
        pushed = [t for t in map(self.tangent, given) if t is not None]
        followed = recording and any(map(on_tape, (*given, *pushed)))
        stand_ins: list[tuple[Tensor, Tensor]] = []

        def stand_in(x: Any) -> Any:
            tangent = self.tangent(x)
            if isinstance(x, Tensor) and x.is_inference():
                x = _core.apart(x)
            if tangent is None:
                return type(x)(stand_in(y) for y in x) if is_list(x) else x
            other = x[...] if recording and x.requires_grad else _core.same(x).requires_grad_()
            stand_ins.append((other, tangent))
            return other

        with enable_grad():
            args = tuple(stand_in(x) for x in call.args)
            result = call.op(*args, **call.kwargs)
            outputs = [y for y in flattened(result) if isinstance(y, Tensor) and y.requires_grad]
            seeds = [ones_like(_core.same(y)).requires_grad_() for y in outputs]
            tangents: Sequence[Tensor | None] = [None] * len(outputs)
            if outputs:
                back = _core.run_backward(outputs, list(seeds), True, True, [x for x, _ in stand_ins])
                pairs = [(g, t) for g, (_, t) in zip(back, stand_ins, strict=True) if g is not None]
                for g, _ in pairs:
                    self.check_linear(call, g)
                pairs = [(g, t) for g, t in pairs if g.requires_grad]
                if pairs:
                    roots, directions = [g for g, _ in pairs], [t for _, t in pairs]
                    tangents = _core.run_backward(roots, directions, followed, followed, seeds)
        if not recorded:
            for y in outputs:
                _core.set_output(None, y, 0)
        by_output = {id(y): t for y, t in zip(outputs, tangents, strict=True)}
        self.hand_out(outputs, [by_output[id(y)] for y in outputs])
        return result

    def check_linear(self, call: Call, g: Tensor) -> None:
        """A gradient for gradients of one that doesn't depend on them is zero, or wasn't recorded."""
        if not g.requires_grad and bool((g != 0).any()):
            raise NotImplementedError(
                f"forward_ad: the backward of {call.op.name} can't be differentiated again; define its jvp"
            )

    def custom(self, call: Call) -> Any:
        """A Function with a jvp of its own."""
        applied: Applied = call.op
        before = [x.untyped_storage() for x in call.args if isinstance(x, Tensor)]
        pushed = [
            zeros_like(x) if t is None and isinstance(x, Tensor) and x.is_floating_point() else t
            for x, t in ((x, self.tangent(x)) for x in call.args)
        ]
        result = call()
        ctx = applied.ctx
        assert ctx is not None
        ctx._pushing = True
        found = applied.function.jvp(ctx, *pushed)
        ctx._pushing = False
        found = found if isinstance(found, (tuple, list)) else (found,)
        outputs = result if isinstance(result, tuple) else (result,)
        if len(found) != len(outputs):
            raise RuntimeError(f"{applied.name}: jvp returned {len(found)} tangents for {len(outputs)} outputs")
        dirty = [x.untyped_storage() for x in ctx.dirty_tensors]
        outputs = tuple(
            _core.apart(y) if isinstance(y, Tensor) and any(y.untyped_storage() is b for b in before)
            and not any(y.untyped_storage() is b for b in dirty) else y
            for y in outputs
        )  # fmt: skip
        for y, tangent in zip(outputs, found, strict=True):
            if tangent is not None and tangent.shape != y.shape:
                raise RuntimeError(
                    f"{applied.name}: jvp returned a tangent of shape {list(tangent.shape)} for an output of shape "
                    f"{list(y.shape)}"
                )
            self.tangents.put(y, None if tangent is None else tangent.clone())
        return outputs if isinstance(result, tuple) else outputs[0]

    def write(self, call: Call) -> Tensor:
        """An operation that writes its first argument: a copy, a fill, or a write at places."""
        target, *rest = call.args
        if call.op.name in ("copy_", "fill_"):
            tangent = self.tangent(rest[0])
            tangent = None if tangent is None else tangent.clone()
            result = call()
            self.tangents.put(target, tangent)
            return result
        given = self.linear_in(tuple(rest))
        shadow = self.tangents.writable(target)
        result = call()
        call.op(shadow, *given, **call.kwargs)
        return result


def duals() -> list[Dual]:
    """The levels of forward mode in force, outermost first."""
    return [level for level in stack.active if isinstance(level, Dual)]


def on_tape(x: Tensor) -> bool:
    """Whether x or a tangent that it has is recorded."""
    found = (level.tangents.of(x) for level in duals())
    return x.requires_grad or any(t.requires_grad for t in found if t is not None)


def off_tape(x: Tensor) -> Tensor:
    """x without a history, at every level: what backward hands out where no graph is wanted."""
    which, low = foundation(x)
    made = _core.behind(low)
    for level in duals():
        with below(level):
            tangent = level.tangents.of(low)
            if tangent is not None:
                level.tangents.begin(made, off_tape(tangent), False)
    return raised(made, which)


_core.set_hook("off_tape", off_tape)


def tensors_of(args: tuple) -> list[Tensor]:
    """Positional tensors, and those in positional lists."""
    return [y for x in args for y in (x if isinstance(x, (list, tuple)) else (x,)) if isinstance(y, Tensor)]


def is_list(x: Any) -> bool:
    """Whether x holds operands: a list or tuple of tensors, as cat takes."""
    return isinstance(x, (list, tuple)) and any(isinstance(y, Tensor) for y in x)


def member(i: int, op: Any, *rest: Any, **kwargs: Any) -> Callable[[Tensor], Tensor]:
    """Output i of an operation that makes views, as a function of its first argument."""
    return lambda t: flattened(op(t, *rest, **kwargs))[i]


def shares(x: Tensor, y: Tensor) -> bool:
    return x.untyped_storage() is y.untyped_storage()


def with_complex_numbers(args: tuple) -> tuple:
    """Arguments as the core has them: complex numbers as tensors of no dimension."""
    if not any(isinstance(x, complex) for x in args):
        return tuple(plain(x) for x in args)
    wide = _core.get_default_dtype().ir == "f64" or any(
        isinstance(x, Tensor) and x.dtype.ir in ("f64", "c128") for x in args
    )
    dtype = _core.DTYPES[11 if wide else 10]
    return tuple(_core.from_nested(x, dtype) if isinstance(x, complex) else plain(x) for x in args)
