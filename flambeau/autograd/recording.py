"""Recording: a function's arguments on the tape as leaves of their own, for derivatives that nest.

Within vmap the arguments get a dimension for every active level (`lowered`): samples are independent, so the gradient
of all samples' outputs holds each sample's own. Imports core, ops and neighbours. Read next: `batch.py`,
`func/reverse.py`, who asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core import _core
from ..core._core import Tensor
from ..core.interpreters import differentiating, stack
from ..ops.factories import zeros_like
from .batch import foundation, interpreters, levels, lowered, raised
from .engine import grad
from .modes import enable_grad

OWNER = "_recording"  # the attribute of a leaf: its Recording


class Recording:
    """Arguments on the tape as leaves of their own, and gradients of what is computed from them."""

    def __init__(self, what: str, leaves: Sequence[Any]) -> None:
        self.outside = _core.is_grad_enabled()
        self.finished = False
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
            setattr(leaf, OWNER, self)
            self.seen.append(raised(leaf, self.levels))

    def below(self) -> tuple:
        """The active interpreters but for the levels at which everything here has dimensions."""
        return tuple(i for i in stack.active if i not in self.levels)

    def outputs(self, ys: Sequence[Tensor]) -> list[Tensor]:
        return [lowered(y, self.levels) for y in ys]

    def gradients(self, ys: Sequence[Tensor], seeds: Sequence[Tensor], create: bool, keep: bool) -> list[Tensor]:
        """Gradients for the inputs, zeros where there are none; ys are `outputs`, seeds as programs see them."""
        given = [(y, lowered(v, self.levels)) for y, v in zip(ys, seeds, strict=True) if y.requires_grad]
        with interpreters(self.below()):
            found: Sequence[Tensor | None] = [None] * len(self.inputs)
            if given:
                roots, starts = [y for y, _ in given], [v for _, v in given]
                found = grad(roots, self.inputs, starts, keep, create, allow_unused=True)
            made = [zeros_like(x) if g is None else g for x, g in zip(self.inputs, found, strict=True)]
        return [raised(g, self.levels) for g in made]

    def finish(self, outputs: Sequence[Tensor]) -> bool:
        """Ends what this recording is for; whether what outlives it, the outputs, is on a tape that goes on outside."""
        self.finished = True
        return self.outside and any(continues(y) for y in outputs)

    def result(self, y: Any) -> Any:
        """y off the tape, with its tangents where forward mode is active."""
        if not isinstance(y, Tensor) or differentiating():
            return y
        low = lowered(y, self.levels)
        with interpreters(self.below()):
            low = low.detach() if low.requires_grad else low
        return raised(low, self.levels)


def continues(y: Tensor) -> bool:
    """Whether y was computed from a leaf that still matters: any but those of finished recordings."""
    seen: set[Any] = set()
    owner = getattr(y, OWNER, None)
    if y.grad_fn is None:
        return y.requires_grad and (owner is None or not owner.finished)
    nodes = [y.grad_fn]
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        for below, _ in node.next_functions:
            leaf = getattr(below, "variable", None)
            if leaf is not None:
                owner = getattr(leaf, OWNER, None)
                if owner is None or not owner.finished:
                    return True
            elif below is not None:
                nodes.append(below)
    return False


def released(y: Tensor) -> Tensor:
    """y as a transform hands it out: off the tape unless that goes on outside."""
    if not y.requires_grad or differentiating():
        return y
    which, low = foundation(y)
    if continues(low):
        return y
    with interpreters(tuple(i for i in stack.active if i not in which)):
        low = low.detach()
    return raised(low, which)
