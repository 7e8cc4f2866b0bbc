"""grad, grad_and_value, vjp and jacrev: derivatives of a function by the tape, nested in any order, within vmap too.

A function's arguments become leaves of their own on the tape. Within vmap they get a dimension for every active level
(`lowered`): samples are independent, so the gradient of all samples' outputs holds each sample's own.
Imports autograd, ops, utils. Read next: `autograd/batch.py`, `jacobians.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..autograd.batch import interpreters, levels, lowered, raised
from ..autograd.engine import grad as tape_grad
from ..autograd.modes import enable_grad
from ..core import _core
from ..core._core import Tensor
from ..core.interpreters import stack
from ..ops.factories import ones_like, zeros, zeros_like
from ..utils._pytree import TreeSpec, tree_flatten, tree_unflatten
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
class Recording:
    """Arguments on the tape as leaves of their own, and gradients of what is computed from them."""

    def __init__(self, what: str, leaves: Sequence[Any]) -> None:
        self.outside = _core.is_grad_enabled()
        self.levels = levels()
        self.inputs: list[Tensor] = []
        self.seen: list[Tensor] = []
        for x in leaves:
            if not isinstance(x, Tensor):
                raise ValueError(f"{what}: what is differentiated must be tensors, got {type(x).__name__}")
            if not (x.is_floating_point() or x.is_complex()):
                raise RuntimeError(
                    f"{what}: only Tensors of floating point dtype can require gradients, got {x.dtype}; use x.float()"
                )
            low = lowered(x, self.levels)
            with enable_grad(), interpreters(self.below()):
                leaf = low.view_as(low) if low.requires_grad or stack.active else low.detach()
                self.inputs.append(leaf.requires_grad_())
            self.seen.append(raised(leaf, self.levels))

    def below(self) -> tuple:
        """The active interpreters but for the levels at which everything here has dimensions."""
        return tuple(i for i in stack.active if i not in self.levels)

    def joins_outside(self, outputs: Sequence[Tensor]) -> bool:
        """Whether the outputs depend on anything else that is on the tape: then so do their gradients."""
        if not self.outside:
            return False
        own = {id(x) for x in self.inputs if x.is_leaf}
        ends = {id(x.grad_fn) for x in self.inputs if not x.is_leaf}
        if ends:
            return True
        seen, rest = set(), [y.grad_fn for y in outputs if y.grad_fn is not None]
        while rest:
            node = rest.pop()
            if node in seen:
                continue
            seen.add(node)
            for below, _ in node.next_functions:
                leaf = getattr(below, "variable", None)
                if leaf is not None:
                    if id(leaf) not in own:
                        return True
                elif below is not None:
                    rest.append(below)
        return False

    def outputs(self, ys: Sequence[Tensor]) -> list[Tensor]:
        return [lowered(y, self.levels) for y in ys]

    def gradients(self, ys: Sequence[Tensor], seeds: Sequence[Tensor], create: bool, keep: bool) -> list[Tensor]:
        """Gradients for the inputs, zeros where there are none; ys are `outputs`, seeds as programs see them."""
        given = [(y, lowered(v, self.levels)) for y, v in zip(ys, seeds, strict=True) if y.requires_grad]
        with interpreters(self.below()):
            found: Sequence[Tensor | None] = [None] * len(self.inputs)
            if given:
                roots, starts = [y for y, _ in given], [v for _, v in given]
                found = tape_grad(roots, self.inputs, starts, keep, create, allow_unused=True)
            made = [zeros_like(x) if g is None else g for x, g in zip(self.inputs, found, strict=True)]
        return [raised(g, self.levels) for g in made]

    def result(self, y: Any, attached: bool) -> Any:
        """y as it leaves the transform: on the tape only if that goes on outside."""
        if not isinstance(y, Tensor) or attached:
            return y
        low = lowered(y, self.levels)
        with interpreters(self.below()):
            low = low.detach() if low.requires_grad else low
        return raised(low, self.levels)


def detached(recording: Recording, tree: Any, attached: bool) -> Any:
    leaves, spec = tree_flatten(tree)
    return tree_unflatten([recording.result(y, attached) for y in leaves], spec)


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
        attached = recording.joins_outside(ys)
        found = recording.gradients(ys, [ones_like(y)], attached, attached or has_aux)
        if not attached:
            y, aux = recording.result(y, False), detached(recording, aux, False)
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
        self.attached = self.recording.joins_outside(self.low)
        self.outputs = detached(self.recording, out, self.attached)
        self.aux = detached(self.recording, aux, self.attached)
        self.active = self.recording.levels

    def __call__(self, seeds: Sequence[Tensor]) -> list[Tensor]:
        """Gradients of the flat primals for cotangents of the flat outputs."""
        return self.recording.gradients(self.low, seeds, self.attached and _core.is_grad_enabled(), True)

    def check(self, spec: TreeSpec, seeds: Sequence[Any]) -> None:
        if spec != self.out_spec:
            raise RuntimeError(
                f"{self.what}: cotangents must have the structure of the outputs, {self.out_spec}, got {spec}"
            )
        for i, (y, v) in enumerate(zip(self.leaves, seeds, strict=True)):
            if not isinstance(v, Tensor) or v.shape != y.shape:
                got = list(v.shape) if isinstance(v, Tensor) else type(v).__name__
                raise RuntimeError(
                    f"{self.what}: cotangent {i} must have its output's shape, {list(y.shape)}, got {got}"
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
def unit_rows(shapes: Sequence[Tensor]) -> list[Tensor]:
    """For each tensor, the rows in which one element of all tensors is 1: (their elements together, *its shape)."""
    total = sum(x.numel() for x in shapes)
    rows, start = [], 0
    for x in shapes:
        row = zeros(total, x.numel(), dtype=x.dtype)
        row.diagonal(-start).fill_(1)
        rows.append(row.reshape(total, *x.shape))
        start += x.numel()
    return rows


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
