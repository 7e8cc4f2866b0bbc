"""Forward mode as functions: jvp, and linearize, which keeps the linear part to be applied again and again.

Imports autograd. Read next: `autograd/dual.py` (what happens inside), `docs/design/0008-transforms.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd.dual import Dual
from ..autograd.forward_ad import check_dual
from ..autograd.modes import enable_grad
from ..autograd.recording import released
from ..core import _core
from ..core._core import Tensor
from ..ops.factories import ones_like, zeros_like
from ..utils._pytree import tree_flatten, tree_unflatten


def jvp(
    func: Callable[..., Any], primals: tuple, tangents: tuple, *, strict: bool = False, has_aux: bool = False
) -> tuple:
    """func(*primals) and its derivative along `tangents`: J(primals) · tangents, in one pass.

    Both are tuples of the same structure (of tensors, or nested tuples, lists and dicts) and shapes. With `has_aux`
    func returns (output, aux), and aux is returned as a third. `strict` raises where an output doesn't depend on the
    primals, whose tangent is zero otherwise. Calls nest, in each other and in grad.

    >>> fb.func.jvp(lambda x, y: x * y, (fb.tensor(2.0), fb.tensor(5.0)), (fb.tensor(1.0), fb.tensor(0.0)))
    (tensor(10.), tensor(5.))
    """
    if not isinstance(primals, tuple):
        raise RuntimeError(f"jvp: primals must be a tuple, for func(*primals), got {type(primals).__name__}")
    given, spec = tree_flatten(primals)
    directions, along_spec = tree_flatten(tangents)
    if along_spec != spec:
        raise RuntimeError(f"jvp: primals and tangents must have the same structure, got {spec} and {along_spec}")
    if not given:
        raise RuntimeError("jvp: primals must hold at least one tensor")
    for x, t in zip(given, directions, strict=True):
        check_dual("jvp", x, t)
    with Dual() as level:
        duals = [level.make(x, t) for x, t in zip(given, directions, strict=True)]
        found = func(*tree_unflatten(duals, spec))
        if has_aux:
            if not (isinstance(found, tuple) and len(found) == 2):
                raise RuntimeError("jvp: with has_aux=True func must return a tuple (output, aux)")
            found, aux = found
        outputs, spec = tree_flatten(found)
        check_outputs("jvp", outputs)
        pushed = [level.unpack(y)[1] for y in outputs]
    if strict and any(t is None for t in pushed):
        raise RuntimeError(
            f"jvp: output {pushed.index(None)} doesn't depend on the primals; strict=False gives it a tangent of zeros"
        )
    moved = [zeros_like(y) if t is None else released(t) for y, t in zip(outputs, pushed, strict=True)]
    along = tree_unflatten(moved, spec)
    return (found, along, aux) if has_aux else (found, along)


def check_outputs(name: str, outputs: list) -> None:
    for y in outputs:
        if not isinstance(y, Tensor):
            raise RuntimeError(f"{name}: func must return tensors, got {type(y).__name__}; use has_aux for the rest")


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """func(*primals), and the function that takes tangents to J(primals) · tangents.

    func runs once. The linear part is kept as the transpose of its gradient, so that each further direction costs about
    as much as a backward pass.

    >>> y, push = fb.func.linearize(lambda x: x * x, fb.tensor([1.0, 2.0]))
    >>> push(fb.ones(2))
    tensor([2., 4.])
    """
    given, spec = tree_flatten(primals)
    if not given:
        raise RuntimeError("linearize: primals must hold at least one tensor")
    for x in given:
        check_dual("linearize", x, x)
    recorded = _core.is_grad_enabled() and any(x.requires_grad for x in given)
    with enable_grad():
        ins = [x[...] if recorded and x.requires_grad else _core.same(x).requires_grad_() for x in given]
        found = func(*tree_unflatten(ins, spec))
        outputs, out_spec = tree_flatten(found)
        check_outputs("linearize", outputs)
        moved = [y for y in outputs if y.requires_grad]
        seeds = [ones_like(_core.same(y)).requires_grad_() for y in moved]
        back = _core.run_backward(moved, list(seeds), True, True, ins) if moved else [None] * len(ins)

    def push(*tangents: Any) -> Any:
        directions, along_spec = tree_flatten(tangents)
        if along_spec != spec:
            raise RuntimeError(f"linearize: tangents must have the structure of the primals, {spec}, got {along_spec}")
        for x, t in zip(given, directions, strict=True):
            check_dual("linearize", x, t)
        pairs = [(g, t) for g, t in zip(back, directions, strict=True) if g is not None and g.requires_grad]
        follow = _core.is_grad_enabled() and (recorded or any(t.requires_grad for _, t in pairs))
        pushed = iter(
            _core.run_backward([g for g, _ in pairs], [t for _, t in pairs], True, follow, seeds)
            if pairs
            else [None] * len(seeds)
        )
        along = [next(pushed) if y.requires_grad else None for y in outputs]
        filled = [zeros_like(_core.same(y)) if t is None else t for y, t in zip(outputs, along, strict=True)]
        return tree_unflatten(filled, out_spec)

    return found if recorded else tree_unflatten([_core.same(y) for y in outputs], out_spec), push


__all__ = ["jvp", "linearize"]
