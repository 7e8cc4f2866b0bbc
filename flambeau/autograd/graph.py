"""The tape as programs look at it and reach into it: nodes, edges, and hooks on what is saved for backward.

Packing itself is the core's (`core/saving.pxi`), which calls `pack` here for every tensor that a node saves while hooks
are active. Imports core. Read next: `utils/checkpoint.py`, built on the hooks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..core import _core
from ..core._core import Node, Tensor
from .engine import AccumulateGrad

Pack = Callable[[Tensor], Any]
Unpack = Callable[[Any], Tensor]


class Active(threading.local):
    hooks: tuple[tuple[Pack, Unpack], ...] = ()
    refusal: str | None = None


active = Active()


def pack(t: Tensor) -> tuple[Any, Unpack]:
    """What the innermost hooks make of a tensor, and how it comes back. Nothing is recorded or packed meanwhile."""
    packer, unpacker = active.hooks[-1]
    depth = len(active.hooks)
    recording = _core.swap_grad_enabled(False)
    _core.change_saved_hooks(-depth)
    try:
        return packer(t), unpacker
    finally:
        _core.change_saved_hooks(depth)
        _core.swap_grad_enabled(recording)


_core.set_hook("pack", pack)


class saved_tensors_hooks:
    """Inside, tensors saved for backward are kept as pack_hook(tensor), and unpack_hook(that) gives them back.

    In nested blocks the innermost pair holds. The unpacked tensor must have the same elements; a change in place of the
    tensor that was packed isn't noticed. pack_hook must not change it.

    >>> x = fb.tensor([1.0, 2.0], requires_grad=True)
    >>> with fb.autograd.graph.saved_tensors_hooks(lambda t: t.tolist(), fb.tensor):
    ...     y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4.])
    """

    def __init__(self, pack_hook: Pack, unpack_hook: Unpack) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> None:
        if active.refusal is not None:
            raise RuntimeError(active.refusal)
        active.hooks = (*active.hooks, (self.pack_hook, self.unpack_hook))
        _core.change_saved_hooks(1)

    def __exit__(self, *error: object) -> None:
        active.hooks = active.hooks[:-1]
        _core.change_saved_hooks(-1)


class save_on_cpu(saved_tensors_hooks):
    """Keeps what is saved for backward as copies on the CPU, where all tensors are: so it changes nothing.

    >>> x = fb.ones(1, requires_grad=True)
    >>> with fb.autograd.graph.save_on_cpu():
    ...     y = x.exp()
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda t: t.cpu(), lambda t: t)


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Inside, saved_tensors_hooks raise RuntimeError(error_message).

    >>> from flambeau.autograd import graph
    >>> with graph.disable_saved_tensors_hooks("not here"):
    ...     try:
    ...         with graph.saved_tensors_hooks(lambda x: x, lambda x: x):
    ...             pass
    ...     except RuntimeError as error:
    ...         print(error)
    not here
    """
    before, active.refusal = active.refusal, error_message
    try:
        yield
    finally:
        active.refusal = before


class GradientEdge(NamedTuple):
    """Where a tensor's gradient arrives: a node of the tape, and which of its outputs.

    >>> a, b = fb.ones(2, requires_grad=True).exp().unbind()
    >>> edge = fb.autograd.graph.get_gradient_edge(b)
    >>> edge.node.name(), edge.output_nr
    ('UnbindBackward0', 1)
    """

    node: Any
    output_nr: int
    ownership_token: Any = None


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge of a tensor that requires grad; the tensor itself needn't be kept.

    >>> x = fb.ones(1, requires_grad=True)
    >>> fb.autograd.graph.get_gradient_edge(x).node.name()
    'AccumulateGrad'
    """
    if not tensor.requires_grad:
        raise RuntimeError("get_gradient_edge: the tensor does not require grad, so no gradient arrives; see x.grad_fn")
    node = tensor.grad_fn
    return GradientEdge(AccumulateGrad(tensor), 0) if node is None else GradientEdge(node, tensor.output_nr)


def at_edge(edge: GradientEdge) -> Tensor:
    """A tensor that stands where the edge points."""
    if isinstance(edge.node, AccumulateGrad):
        return edge.node.variable
    stand_in = Tensor()
    _core.set_output(edge.node, stand_in, edge.output_nr)
    return stand_in


def increment_version(tensor: Tensor | list[Tensor]) -> None:
    """Says that a tensor was changed in place by means the tape can't see.

    >>> x = fb.ones(2, requires_grad=True)
    >>> y = x.exp()
    >>> fb.autograd.graph.increment_version(y)
    >>> try:
    ...     y.sum().backward()
    ... except RuntimeError:
    ...     print("what exp saved may have changed")
    what exp saved may have changed
    """
    for t in [tensor] if isinstance(tensor, Tensor) else tensor:
        t._bump_version()


__all__ = [
    "GradientEdge", "Node", "disable_saved_tensors_hooks", "get_gradient_edge", "increment_version", "save_on_cpu",
    "saved_tensors_hooks",
]  # fmt: skip
