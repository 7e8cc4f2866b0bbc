"""cond and while_loop: branches and loops as functions. Run as Python's own `if` and `while`, gradients and all.

Imports core. Read next: `compiler/`, which records what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .core._core import Tensor

__all__ = ["cond", "while_loop"]


def cond(pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Sequence[Any] = ()) -> Any:
    """`true_fn(*operands)` where `pred` holds, else `false_fn(*operands)`.

    Args:
        pred: a boolean or a number, or a tensor of one element.
        operands: tensors, perhaps nested in dictionaries, lists and tuples.

    >>> fb.cond(fb.tensor(True), lambda x: x + 1, lambda x: x - 1, (fb.tensor([1.0]),))
    tensor([2.])
    """
    if not isinstance(pred, Tensor | bool | int | float) or (isinstance(pred, Tensor) and pred.numel() != 1):
        raise RuntimeError(f"cond: expected pred to be bool or single-element tensor, but got {pred}")
    if not callable(true_fn) or not callable(false_fn):
        raise RuntimeError(f"cond: expected both branches to be callable, got {true_fn!r} and {false_fn!r}")
    if not isinstance(operands, list | tuple) or not all(isinstance(x, Tensor) for x in _leaves(operands)):
        raise RuntimeError(
            f"cond: expected operands to be a tuple of tensors, perhaps nested in dictionaries, lists and tuples, "
            f"got {operands!r}"
        )
    return true_fn(*operands) if pred else false_fn(*operands)


def while_loop(
    cond_fn: Callable[..., Any], body_fn: Callable[..., Sequence[Any]], carried_inputs: Sequence[Any]
) -> tuple[Any, ...]:
    """What `body_fn` makes of `carried_inputs`, again and again while `cond_fn` of it holds.

    >>> fb.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (0, fb.tensor([1.0])))
    (3, tensor([8.]))
    """
    if not callable(cond_fn) or not callable(body_fn):
        raise RuntimeError(f"while_loop: expected cond_fn and body_fn to be callable, got {cond_fn!r} and {body_fn!r}")
    if not isinstance(carried_inputs, list | tuple):
        raise RuntimeError(f"while_loop: expected carried_inputs to be a tuple, got {carried_inputs!r}")
    carried = tuple(carried_inputs)
    while cond_fn(*carried):
        after = body_fn(*carried)
        if not isinstance(after, list | tuple) or len(after) != len(carried):
            raise RuntimeError(f"while_loop: body_fn must return {len(carried)} values, as it gets, got {after!r}")
        carried = tuple(after)
    return carried


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, list | tuple):
        return [leaf for part in tree for leaf in _leaves(part)]
    if isinstance(tree, Mapping):
        return [leaf for part in tree.values() for leaf in _leaves(part)]
    return [tree]
