"""grad, grad_and_value, vjp and jacrev: derivatives of a function by the tape, nested in any order, within vmap too.

Imports autograd, ops, utils. Read next: `autograd/recording.py`, `jacobians.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..autograd.functional import unit_rows
from ..autograd.modes import enable_grad
from ..autograd.recording import Recording
from ..core import _core
from ..core._core import Tensor
from ..ops.factories import ones_like
from ..utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten
from .mapping import vmap

Argnums = int | tuple[int, ...]


# ---- which arguments
def positions(what: str, argnums: Any, count: int) -> list[int]:
    """argnums as places of positional arguments, counted from the front."""
    if not isinstance(argnums, int) and not (isinstance(argnums, tuple) and all(isinstance(a, int) for a in argnums)):
        raise RuntimeError(f"{what}: argnums must be int or tuple of ints, got {argnums!r}")
    given = (argnums,) if isinstance(argnums, int) else argnums
    if not given:
        raise RuntimeError(f"{what}: argnums can't be empty; name at least one argument")
    for a in given:
        if not -count <= a < count:
            raise RuntimeError(f"{what}: got argnum {a}, but only {count} positional inputs")
    found = [a % count for a in given]
    if len(set(found)) < len(found):
        raise RuntimeError(f"{what}: argnums must be unique, got {argnums}")
    return found


def replaced(args: Sequence[Any], at: Sequence[int], news: Sequence[Any]) -> list[Any]:
    made = list(args)
    for i, new in zip(at, news, strict=True):
        made[i] = new
    return made


# ---- on the tape and back
def detached(recording: Recording, tree: Any, attached: bool) -> Any:
    """A tree as it leaves the transform: on the tape only if that goes on outside."""
    return tree if attached else tree_map(recording.result, tree)


def run(what: str, func: Callable[..., Any], args: Sequence[Any], kwargs: dict, has_aux: bool) -> tuple[Any, Any]:
    """func's output and what it returns beside it."""
    with enable_grad():
        out = func(*args, **kwargs)
    if not has_aux:
        return out, None
    if not isinstance(out, tuple) or len(out) != 2:
        raise RuntimeError(f"{what}: with has_aux=True the function must return a tuple (output, aux), got {type(out)}")
    return out


def grad_and_value(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns (gradient, value) of func, or (gradient, (value, aux)) with `has_aux`.

    >>> fb.func.grad_and_value(lambda x: (x * x).sum())(fb.tensor([1.0, 2.0]))
    (tensor([2., 4.]), tensor(5.))
    """
    what = f"grad({getattr(func, '__name__', type(func).__name__)})"

    @functools.wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        at = positions(what, argnums, len(args))
        leaves, spec = tree_flatten([args[i] for i in at])
        recording = Recording(what, leaves)
        inner = replaced(args, at, tree_unflatten(recording.seen, spec))
        y, aux = run(what, func, inner, kwargs, has_aux)
        if not isinstance(y, Tensor):
            raise RuntimeError(f"{what}: expected the function to return a Tensor, got {type(y).__name__}")
        if y.ndim:
            raise RuntimeError(
                f"{what}: expected the function to return a scalar Tensor, got {y.ndim} dimensions; use vjp or jacrev, "
                "or reduce it, as in loss.mean()"
            )
        ys = recording.outputs([y])
        attached = recording.finish(ys)
        found = recording.gradients(ys, [ones_like(y)], attached, True)
        y, aux = detached(recording, y, attached), detached(recording, aux, attached)
        grads = tree_unflatten(found, spec)
        result = grads[0] if isinstance(argnums, int) else tuple(grads)
        return result, ((y, aux) if has_aux else y)

    return gradient


def grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns the gradient of func, a scalar, with respect to the arguments `argnums`.

    Arguments may be nested in tuples, lists and dicts, and gradients come out as they are. With `has_aux` func returns
    (scalar, aux), and the result is (gradient, aux). Raises RuntimeError where func returns anything but a scalar.

    >>> fb.func.grad(lambda x: x**3)(fb.tensor(2.0))
    tensor(12.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        grads, value = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return gradient


class Pullback:
    """A function's outputs and what takes their cotangents back to its arguments, as often as wanted."""

    def __init__(self, what: str, func: Callable[..., Any], primals: Sequence[Any], has_aux: bool) -> None:
        leaves, self.spec = tree_flatten(list(primals))
        self.what = what
        self.recording = Recording(what, leaves)
        out, aux = run(what, func, tree_unflatten(self.recording.seen, self.spec), {}, has_aux)
        self.leaves, self.out_spec = tree_flatten(out)
        for y in self.leaves:
            if not isinstance(y, Tensor):
                raise RuntimeError(f"{what}: expected the function to return only tensors, got {type(y).__name__}")
        self.low = self.recording.outputs(self.leaves)
        self.attached = self.recording.finish(self.low)
        self.outputs = detached(self.recording, out, self.attached)
        self.aux = detached(self.recording, aux, self.attached)
        self.active = self.recording.levels

    def __call__(self, seeds: Sequence[Tensor]) -> list[Tensor]:
        """Gradients of the flat primals for cotangents of the flat outputs."""
        follow = _core.is_grad_enabled() and (self.attached or any(v.requires_grad for v in seeds))
        return self.recording.gradients(self.low, seeds, follow, True)

    def check(self, spec: TreeSpec, seeds: Sequence[Any]) -> None:
        if spec != self.out_spec:
            raise RuntimeError(
                f"{self.what}: cotangents must have the structure of the outputs, {self.out_spec}, got {spec}"
            )
        for i, (y, v) in enumerate(zip(self.leaves, seeds, strict=True)):
            if not isinstance(v, Tensor) or v.shape != y.shape:
                got = list(v.shape) if isinstance(v, Tensor) else type(v).__name__
                raise RuntimeError(
                    f"{self.what}: cotangent {i} must have shape {list(y.shape)}, as output {i}, got {got}"
                )


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """func(*primals) and the function that takes cotangents of its outputs back: v -> vᵀ J, one for each primal.

    With `has_aux` func returns (output, aux), and the result is (output, pullback, aux).

    >>> y, pull = fb.func.vjp(fb.sin, fb.tensor([0.0]))
    >>> pull(fb.tensor([2.0]))
    (tensor([2.]),)
    """
    back = Pullback("vjp", func, primals, has_aux)

    def pullback(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        seeds, spec = tree_flatten(cotangents)
        back.check(spec, seeds)
        return tuple(tree_unflatten(back(seeds), back.spec))

    return (back.outputs, pullback, back.aux) if has_aux else (back.outputs, pullback)


# ---- Jacobians
def jacrev(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[..., Any]:
    """The function that returns the Jacobian of func by going backward, once for all elements of its output.

    Its shape is the output's, then the argument's; for nested outputs a Jacobian stands in place of each tensor, and
    for several or nested arguments the nest of theirs. `chunk_size` says how many rows are computed at once.

    >>> fb.func.jacrev(lambda x: x**2)(fb.tensor([1.0, 3.0]))
    tensor([[2., 0.],
            [0., 6.]])
    """
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"jacrev: `chunk_size` should be greater than 0, got {chunk_size}")

    @functools.wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        at = positions("jacrev", argnums, len(args))

        def of_chosen(*chosen: Any) -> Any:
            return func(*replaced(args, at, chosen), **kwargs)

        back = Pullback("jacrev", of_chosen, [args[i] for i in at], has_aux)
        ys = back.leaves
        rows = unit_rows(ys)
        found = vmap(lambda *seeds: tuple(back(seeds)), chunk_size=chunk_size)(*rows) if ys else ()
        result, start = [], 0
        for y in ys:
            part = [g[start : start + y.numel()].reshape((*y.shape, *g.shape[1:])) for g in found]
            nested = tree_unflatten(part, back.spec)
            result.append(nested[0] if isinstance(argnums, int) else tuple(nested))
            start += y.numel()
        whole = tree_unflatten(result, back.out_spec)
        return (whole, back.aux) if has_aux else whole

    return jacobian
