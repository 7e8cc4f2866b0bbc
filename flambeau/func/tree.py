"""Nested tuples, lists and dicts of tensors, taken apart and put together again. Imports nothing.

Read next: `forward.py`, which uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def flatten(tree: Any) -> tuple[list, Callable[[Sequence[Any]], Any]]:
    """The leaves in order, and the function that puts others in their places."""
    found = leaves(tree)
    return found, lambda given: rebuilt(tree, iter(given))


def leaves(tree: Any) -> list:
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, (tuple, list)):
        return [x for member in tree for x in leaves(member)]
    return [tree]


def rebuilt(tree: Any, given: Any) -> Any:
    """A tree of the same structure, whose leaves come from an iterator."""
    if isinstance(tree, dict):
        return type(tree)((key, rebuilt(member, given)) for key, member in tree.items())
    if hasattr(tree, "_fields"):
        return type(tree)(*(rebuilt(member, given) for member in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(rebuilt(member, given) for member in tree)
    return next(given)


def same_structure(a: Any, b: Any) -> bool:
    """Whether two trees differ in their leaves alone."""
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same_structure(a[key], b[key]) for key in a)
    if isinstance(a, (tuple, list)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same_structure, a, b))
    return not isinstance(b, (tuple, list, dict))
