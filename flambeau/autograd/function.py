"""Function: an operation with a backward of one's own, in Python. Imports core only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core import _core
from ..core._core import Node, Tensor
from ..core.interpreters import stack


class FunctionCtx(Node):
    """The `ctx` of a Function: what forward keeps for backward. Attributes may be set on it freely."""

    # These are the names of PyTorch's, which programs keep clear of; what is ours alone begins with an underscore.
    dirty_tensors: tuple = ()
    non_differentiable: tuple = ()
    materialize_grads = True
    to_save: tuple | None = None
    saved_for_forward: tuple = ()
    _pushing = False  # while jvp runs
    save: Any = None  # Node's own, which a program may use for what it likes
    saved: Any = None

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """For each argument of forward whether its gradient is wanted."""
        needed = dict(zip(self._places, super().needs_input_grad, strict=True))
        return tuple(needed.get(i, False) for i in range(self._count))

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors; `ctx.saved_tensors` gives them back, checked against in-place changes."""
        self.to_save = tensors

    @property
    def saved_tensors(self) -> tuple:
        """What save_for_backward was given, or in `jvp` what save_for_forward was."""
        return self.saved_for_forward if self._pushing else super().saved_tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for `jvp`, where `ctx.saved_tensors` gives them back."""
        self.saved_for_forward = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Says which inputs forward changed in place; they must be returned."""
        self.dirty_tensors = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Says which outputs have no gradient."""
        self.non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether a gradient that is absent arrives as zeros (the default) or as None."""
        self.materialize_grads = value


def run_backward(ctx: Any, *grads: Tensor | None) -> tuple:
    """The user's backward, its result laid out over the tensor inputs."""
    if ctx.materialize_grads:
        infos = _core.output_infos(ctx)
        grads = tuple(
            _core.hooks["zeros"](*infos[i]) if g is None and infos is not None and infos[i] is not None else g
            for i, g in enumerate(grads)
        )
    found = ctx._backward(ctx, *grads)
    found = found if isinstance(found, tuple) else (found,)
    places, shapes = ctx._places, ctx._shapes
    if len(found) < ctx._count or any(g is not None for g in found[ctx._count :]):
        raise RuntimeError(
            f"{ctx.name()}: backward returned {len(found)} gradients for {ctx._count} inputs of forward; return one "
            "for each, None where there is none"
        )
    out = []
    for place, shape in zip(places, shapes, strict=True):
        g = found[place]
        if g is not None and not isinstance(g, Tensor):
            raise TypeError(
                f"{ctx.name()}: backward must return tensors or None, got {type(g).__name__} for input {place}"
            )
        if g is not None and g.shape != shape:
            g = _core.hooks["sum_to"](g, shape, f"{ctx.name()}: gradient of input {place}")
        out.append(g)
    return tuple(out)


class Function:
    """Base of operations with a gradient of their own: define static `forward(ctx, …)` and `backward(ctx, …)`.

    Or `forward(…)` without ctx and `setup_context(ctx, inputs, output)`. Use it through `apply`. Forward mode
    uses `jvp(ctx, *tangents)`, which returns a tangent or None for each output, and without it derives `backward`.

    >>> class Double(fb.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g * 2
    >>> x = fb.ones(1, requires_grad=True)
    >>> Double.apply(x).backward()
    >>> x.grad
    tensor([2.])
    """

    forward: Callable[..., Any]
    jvp: Callable[..., Any] | None = None
    setup_context: Callable[..., Any] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"{type(self).__name__}: a Function isn't instantiated; call {type(self).__name__}.apply(...)"
        )

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError(f"{ctx.name()}: the Function has no backward; define one")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Runs forward, and records the operation if an input requires grad."""
        return Applied(cls)(*args) if _core.interpreting() else run(cls, args)[1]


def run(cls: Any, args: tuple) -> tuple[FunctionCtx, Any]:
    """What a Function gives for these arguments, and the ctx that it was run with."""
    ctx = _core.make_node(FunctionCtx, cls.__name__ + "Backward")
    ctx._backward = cls.__dict__.get("vjp") or cls.backward
    places = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
    ctx._places, ctx._shapes, ctx._count = places, [args[i].shape for i in places], len(args)

    def forward(node: Any, *given: Tensor) -> Any:
        whole = list(args)
        for i, x in zip(places, given, strict=True):
            whole[i] = x
        if cls.setup_context is not None:
            result = cls.forward(*whole)
            cls.setup_context(node, tuple(whole), result)
        else:
            result = cls.forward(node, *whole)
        return result

    return ctx, _core.apply_function(ctx, forward, run_backward, tuple(args[i] for i in places))


class Applied:
    """One application of a Function while an interpreter is active: an operation for those that want it whole."""

    def __init__(self, function: Any) -> None:
        self.function, self.name = function, function.__name__
        self.ctx: FunctionCtx | None = None

    def __call__(self, *args: Any) -> Any:
        if stack.active and stack.active[-1].functions:
            return _core.interpret_whole(self, args)
        self.ctx, result = run(self.function, args)
        return result


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a backward that can't be differentiated again: what it returns stands on no tape."""

    def within(ctx: Any, *grads: Any) -> Any:
        before = _core.swap_grad_enabled(False)
        try:
            return function(ctx, *grads)
        finally:
            _core.swap_grad_enabled(before)

    return within
