"""backward and grad: arguments checked, then the core's engine. Tensor's gradient methods. Imports core and ops."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from ..core import _core
from ..core._core import Node, Tensor
from ..ops.factories import ones_like
from .handles import RemovableHandle, add_hook


def seeds(what: str, tensors: Sequence[Tensor], grads: Sequence[Tensor | None] | None) -> list[Tensor]:
    """One gradient for each tensor: 1 for a scalar that has none."""
    if grads is not None and len(grads) != len(tensors):
        raise RuntimeError(f"{what}: got {len(tensors)} tensors and {len(grads)} gradients")
    if _core.interpreting() and any(hasattr(t, "_physical") for t in tensors):
        raise RuntimeError(f"{what}: within vmap the tape can't be asked; use func.grad, vjp or jacrev of a function")
    out = []
    for i, t in enumerate(tensors):
        if not t.requires_grad:
            raise RuntimeError(
                f"{what}: element {i} of tensors does not require grad and does not have a grad_fn; did a "
                "no_grad(), a detach() or an integer operation stand on the way?"
            )
        g = None if grads is None else grads[i]
        if g is None:
            if t.numel() != 1:
                raise RuntimeError(
                    f"{what}: grad can be implicitly created only for scalar outputs, got shape {list(t.shape)}; "
                    "reduce it, as in loss.mean(), or pass a gradient"
                )
            if t.is_complex():
                raise RuntimeError(
                    f"{what}: grad can be implicitly created only for real scalar outputs, got {t.dtype}; pass a "
                    "gradient, or "
                    "go on to a real number, as in loss.abs()"
                )
            g = ones_like(t)
        elif g.shape != t.shape:
            raise RuntimeError(
                f"{what}: the gradient's shape {list(g.shape)} differs from the tensor's, {list(t.shape)}"
            )
        elif g.dtype is not t.dtype:
            g = g.to(t.dtype)
        out.append(g)
    return out


def listed(x: Any) -> list:
    return [x] if isinstance(x, Tensor) or x is None else list(x)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Adds ∂(Σ tensors · grad_tensors)/∂leaf to the `.grad` of every leaf, or of the given inputs.

    >>> x = fb.tensor([3.0], requires_grad=True)
    >>> fb.autograd.backward(x * x)
    >>> x.grad
    tensor([6.])
    """
    roots = listed(tensors)
    found = seeds("backward", roots, None if grad_tensors is None else listed(grad_tensors))
    keep = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        _core.run_backward(roots, found, keep, create_graph)
        return
    wanted = listed(inputs)
    if not wanted:
        raise RuntimeError("backward: inputs can't be empty; leave it out to reach every leaf")
    for t, g in zip(wanted, _core.run_backward(roots, found, keep, create_graph, wanted), strict=True):
        if g is not None:
            t.grad = g.clone() if t.grad is None else t.grad + g


def is_edge(x: Any) -> bool:
    return hasattr(x, "output_nr") and hasattr(x, "node")


def edges(inputs: list) -> list[Tensor]:
    """Inputs as tensors, where some are named by a GradientEdge."""
    if not any(is_edge(x) for x in inputs):
        return inputs
    from .graph import at_edge

    return [at_edge(x) if is_edge(x) else x for x in inputs]


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """∂(Σ outputs · grad_outputs)/∂input for each input; nothing is added to any `.grad`.

    >>> x = fb.tensor(2.0, requires_grad=True)
    >>> (g,) = fb.autograd.grad(x**3, x, create_graph=True)
    >>> fb.autograd.grad(g, x)
    (tensor(12.),)
    """
    roots, wanted = listed(outputs), edges(listed(inputs) if not is_edge(inputs) else [inputs])
    for i, t in enumerate(wanted):
        if not t.requires_grad:
            raise RuntimeError(f"grad: input {i} does not require grad; call requires_grad_() on it before it is used")
    if is_grads_batched:
        from .batch import mapped

        given = listed(grad_outputs)
        keep = create_graph if retain_graph is None else retain_graph

        def product(*rows: Tensor) -> Sequence[Tensor | None]:
            return grad(roots, wanted, rows, keep, create_graph, allow_unused=True)

        found = mapped(product, given)
    else:
        start = seeds("grad", roots, None if grad_outputs is None else listed(grad_outputs))
        keep = create_graph if retain_graph is None else retain_graph
        found = _core.run_backward(roots, start, keep, create_graph, wanted)
    if materialize_grads:
        found = [ones_like(t) * 0 if g is None else g for t, g in zip(wanted, found, strict=True)]
    for i, g in enumerate(found):
        if g is None and not allow_unused:
            raise RuntimeError(
                f"grad: input {i} was not used in the graph of the outputs; pass allow_unused=True to get None for it"
            )
    return tuple(found)


def need_grad(what: str, t: Tensor) -> None:
    if not t.requires_grad:
        raise RuntimeError(
            f"{what}: the tensor does not require grad, so it gets no gradient; call requires_grad_() first"
        )


def register_hook(self: Tensor, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Calls hook(grad) whenever a gradient for this tensor is computed; what it returns, if not None, replaces it.

    >>> x = fb.ones(2, requires_grad=True)
    >>> _ = x.register_hook(lambda grad: grad * 10)
    >>> x.sum().backward()
    >>> x.grad
    tensor([10., 10.])
    """
    need_grad("register_hook", self)
    return add_hook(_core.hook_site(self), "hooks", hook)


def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    """Calls hook(tensor) after a gradient was added to this leaf's `.grad`.

    >>> x = fb.ones(2, requires_grad=True)
    >>> _ = x.register_post_accumulate_grad_hook(lambda t: print(t.grad))
    >>> x.sum().backward()
    tensor([1., 1.])
    """
    need_grad("register_post_accumulate_grad_hook", self)
    if not self.is_leaf:
        raise RuntimeError("register_post_accumulate_grad_hook: only leaves accumulate gradients; use register_hook")
    return add_hook(_core.hook_site(self), "post_accumulate", hook)


def retain_grad(self: Tensor) -> None:
    """Keeps the gradient of this non-leaf in `.grad`.

    >>> x = fb.ones(2, requires_grad=True)
    >>> y = x * 3
    >>> y.retain_grad()
    >>> y.sum().backward()
    >>> y.grad
    tensor([1., 1.])
    """
    need_grad("retain_grad", self)
    if not self.is_leaf:
        _core.hook_site(self)["retain"] = weakref.ref(self)


class AccumulateGrad:
    """What stands at the end of the tape for a leaf, where programs look at `next_functions`."""

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable
        self.next_functions: tuple = ()

    def name(self) -> str:
        return "AccumulateGrad"

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"


def install() -> None:
    Tensor.register_hook, Tensor.retain_grad = register_hook, retain_grad
    _core.set_hook("backward", backward)
    Tensor.register_post_accumulate_grad_hook = register_post_accumulate_grad_hook
    _core.set_hook("add_hook", add_hook)
    _core.set_hook("accumulator", AccumulateGrad)


install()

__all__ = ["AccumulateGrad", "Node", "RemovableHandle", "add_hook", "backward", "grad"]
