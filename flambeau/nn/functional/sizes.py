"""Sizes of windows: one number for all dimensions, or one for each.

Imports nothing. Read next: `pooling.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Size = int | Sequence[int]


def ntuple(value: Any, n: int, name: str = "size") -> tuple[int, ...]:
    """`n` integers from one, or from a sequence of one or `n`.

    Raises:
        RuntimeError: with the name and what was given.
    """
    if isinstance(value, int):
        return (value,) * n
    values = tuple(value)
    if len(values) == 1:
        return values * n
    if len(values) != n:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {n} values, but got {name}={list(values)}"
        )
    return values
