"""Activation checkpointing: a part of a model keeps only its inputs, and runs again when its backward pass needs more.

Without reentrance (the default here) saved-tensor hooks put a Holder in the place of each tensor saved inside; the
first to be unpacked runs the function again and fills them all, as far as they are still wanted. With reentrance the
part is one custom Function whose backward runs a backward pass of its own. Imports autograd and core.
Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016. Read next: `autograd/graph.py`.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from ..amp.autocast_mode import captured
from ..autograd import Function, backward, enable_grad, no_grad
from ..autograd.graph import saved_tensors_hooks
from ..core._core import Tensor, is_grad_enabled
from ..ops.factories import empty
from ..random import default_generator, fork_rng

Contexts = Callable[[], tuple[AbstractContextManager, AbstractContextManager]]


class CheckpointError(RuntimeError):
    """What ran again didn't do what it had done the first time.

    >>> issubclass(fb.utils.checkpoint.CheckpointError, RuntimeError)
    True
    """


class StopRecomputation(Exception):
    """All that is still wanted has been computed again."""


class Holder:
    """Stands in a node for a tensor that will be computed again."""

    __slots__ = ("__weakref__", "index")

    def __init__(self, index: int) -> None:
        self.index = index


class SaveInputs(Function):
    """Keeps inputs as saved tensors, so that an outer checkpoint needn't hold them either."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        return empty(0)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise AssertionError("only its saved tensors are used")


class Setting(threading.local):
    early_stop = True


setting = Setting()


@contextmanager
def surroundings(preserve_rng_state: bool, rng_state: Tensor | None, autocast: Callable) -> Iterator[None]:
    """The random state and autocast of the first run; the present random state is put back afterwards."""
    with fork_rng(enabled=preserve_rng_state), autocast():
        if rng_state is not None:
            default_generator.set_state(rng_state)
        yield


class Frame:
    """One checkpointed call: what it takes to run it again, and what its nodes wait for."""

    def __init__(self, function: Callable[..., Any], args: tuple, kwargs: dict, preserve: bool, check: bool) -> None:
        self.function, self.kwargs, self.check, self.early_stop = function, kwargs, check, setting.early_stop
        self.preserve, self.rng = preserve, default_generator.get_state() if preserve else None
        self.autocast = captured()
        self.recompute_context: Callable[[], AbstractContextManager] = nullcontext
        self.places = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
        self.wanted = [args[i].requires_grad for i in self.places]
        self.others = [None if isinstance(x, Tensor) else x for x in args]
        self.inputs = SaveInputs.apply(empty(0, requires_grad=True), *(args[i] for i in self.places)).grad_fn
        self.holders: list[weakref.ref[Holder]] = []
        self.facts: list[tuple] = []
        self.found: dict[int, Tensor] = {}

    def pack(self, t: Tensor) -> Holder:
        holder = Holder(len(self.holders))
        self.holders.append(weakref.ref(holder))
        self.facts.append(facts(t))
        return holder

    def unpack(self, holder: Holder) -> Tensor:
        if holder.index not in self.found:
            self.run_again()
        if holder.index not in self.found:
            raise CheckpointError(
                f"checkpoint: the function saved {len(self.holders)} tensors for backward when it ran first, and fewer "
                "when it ran again; it must do the same each time"
            )
        return self.found.pop(holder.index)

    def run_again(self) -> None:
        args = list(self.others)
        for i, t, wanted in zip(self.places, self.inputs.saved_tensors, self.wanted, strict=True):
            args[i] = t.detach().requires_grad_(wanted)
        last = max((i for i, ref in enumerate(self.holders) if ref() is not None), default=-1)
        count = 0

        def keep(t: Tensor) -> Tensor:
            nonlocal count
            index, count = count, count + 1
            if index < len(self.holders):
                if self.check and facts(t) != self.facts[index]:
                    raise CheckpointError(
                        f"checkpoint: saved tensor {index} was {described(self.facts[index])} when the function ran "
                        f"first, and is {described(facts(t))} when it ran again; it must do the same each time"
                    )
                if self.holders[index]() is not None:
                    self.found[index] = t.detach()
            if self.early_stop and index == last:
                raise StopRecomputation
            return t.detach()

        context = surroundings(self.preserve, self.rng, self.autocast)
        with context, self.recompute_context(), enable_grad(), saved_tensors_hooks(keep, lambda t: t):
            try:
                self.function(*args, **self.kwargs)
            except StopRecomputation:
                return
        if self.check and count != len(self.holders):
            raise CheckpointError(
                f"checkpoint: the function saved {len(self.holders)} tensors for backward when it ran first, and "
                f"{count} when it ran again; it must do the same each time"
            )


def facts(t: Tensor) -> tuple:
    return tuple(t.shape), t.dtype


def described(what: tuple) -> str:
    return f"{what[1].name} {list(what[0])}"


class CheckpointFunction(Function):
    """The reentrant form: forward off the tape, backward a backward pass within the backward pass.

    >>> x = fb.ones(2, requires_grad=True)
    >>> y = fb.utils.checkpoint.checkpoint(lambda t: t.exp(), x, use_reentrant=True)
    >>> y.grad_fn.name()
    'CheckpointFunctionBackward'
    """

    @staticmethod
    def forward(ctx: Any, run: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        ctx.run, ctx.preserve, ctx.autocast = run, preserve, captured()
        ctx.rng = default_generator.get_state() if preserve else None
        ctx.tensors = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
        ctx.others = [None if isinstance(x, Tensor) else x for x in args]
        ctx.wanted = [args[i].requires_grad for i in ctx.tensors]
        ctx.save_for_backward(*(args[i] for i in ctx.tensors))
        with no_grad():
            return run(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        args = list(ctx.others)
        for i, t, wanted in zip(ctx.tensors, ctx.saved_tensors, ctx.wanted, strict=True):
            args[i] = t.detach().requires_grad_(wanted)
        with surroundings(ctx.preserve, ctx.rng, ctx.autocast), enable_grad():
            outputs = ctx.run(*args)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if isinstance(o, Tensor) and o.requires_grad]
        if not pairs:
            raise RuntimeError("checkpoint: none of the outputs requires grad; the checkpoint isn't necessary")
        backward([o for o, _ in pairs], [g for _, g in pairs])
        return None, None, *(x.grad if isinstance(x, Tensor) else None for x in args)


def noop_context_fn() -> tuple[AbstractContextManager, AbstractContextManager]:
    """Two contexts that do nothing: the default of `context_fn`.

    >>> one, two = fb.utils.checkpoint.noop_context_fn()
    >>> with one, two:
    ...     print("nothing happens")
    nothing happens
    """
    return nullcontext(), nullcontext()


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Contexts = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs), whose intermediate results aren't kept for backward but computed again there.

    Gradients are the same bits. use_reentrant: True needs an input that requires grad and takes no keyword arguments;
    None is False. preserve_rng_state: random numbers are the same the second time. determinism_check: "none" switches
    off the comparison of shapes and dtypes with the first run. early_stop: the second run ends as soon as all that is
    wanted is there. context_fn gives a context for each run. debug: takes PyTorch's argument; errors always name the
    tensor. Raises CheckpointError where the second run differs.

    >>> from flambeau.utils.checkpoint import checkpoint
    >>> x = fb.tensor([1.0, 2.0], requires_grad=True)
    >>> checkpoint(lambda t: (t * t).exp().sum(), x, use_reentrant=False).backward()
    >>> x.grad
    tensor([  5.4366, 218.3926])
    """
    if determinism_check not in ("default", "none"):
        raise ValueError(f"checkpoint: determinism_check is 'default' or 'none', got {determinism_check!r}")
    if use_reentrant:
        if kwargs:
            raise ValueError(f"checkpoint: with use_reentrant=True there are no keyword arguments, got {list(kwargs)}")
        if context_fn is not noop_context_fn:
            raise ValueError("checkpoint: context_fn needs use_reentrant=False")
        return CheckpointFunction.apply(function, preserve_rng_state, *args)
    forward_context, recompute_context = context_fn()
    if not is_grad_enabled():
        with forward_context:
            return function(*args, **kwargs)
    frame = Frame(function, args, kwargs, preserve_rng_state, determinism_check == "default")
    frame.early_stop = early_stop and setting.early_stop
    frame.recompute_context = lambda: recompute_context
    with forward_context, saved_tensors_hooks(frame.pack, frame.unpack):
        return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, preserve_rng_state: bool = True
) -> Any:
    """A Sequential, or list of functions, in `segments` parts, of which all but the last are checkpointed.

    >>> from flambeau.utils.checkpoint import checkpoint_sequential
    >>> model = fb.nn.Sequential(fb.nn.Linear(2, 2), fb.nn.ReLU(), fb.nn.Linear(2, 1))
    >>> checkpoint_sequential(model, 2, fb.ones(1, 2), use_reentrant=False).shape
    flambeau.Size([1, 1])
    """
    steps: Sequence[Callable[[Any], Any]] = list(functions.children()) if hasattr(functions, "children") else functions
    size = len(steps) // segments

    def part(start: int, end: int) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for step in steps[start:end]:
                x = step(x)
            return x

        return run

    for i in range(segments - 1):
        run = part(i * size, (i + 1) * size)
        input = checkpoint(run, input, use_reentrant=use_reentrant, preserve_rng_state=preserve_rng_state)
    return part((segments - 1) * size, len(steps))(input)


@contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Inside, checkpoints end their second run early (the default) or not, whatever they ask for.

    >>> x = fb.ones(2, requires_grad=True)
    >>> with fb.utils.checkpoint.set_checkpoint_early_stop(False):
    ...     fb.utils.checkpoint.checkpoint(fb.exp, x, use_reentrant=False).sum().backward()
    >>> x.grad
    tensor([2.7183, 2.7183])
    """
    before, setting.early_stop = setting.early_stop, enable
    try:
        yield
    finally:
        setting.early_stop = before


__all__ = [
    "CheckpointError", "CheckpointFunction", "checkpoint", "checkpoint_sequential", "noop_context_fn",
    "set_checkpoint_early_stop",
]  # fmt: skip
