"""Programs as Graphs: traced from Python, and run again. Not called `compile`, which is the public function's name.

Here are also the names of `torch.compiler` that programs mark functions with; `nn/compiled.py` has compile.
Imports eager and what stands below it. Read next: `trace.py`, `replay.py`.
"""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T")


def is_compiling() -> bool:
    """False: compiled functions run eagerly."""
    return False


is_dynamo_compiling = is_exporting = is_compiling


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """Marks a function that isn't compiled; with or without arguments."""
    return fn if fn is not None else lambda function: function


def allow_in_graph(fn: T) -> T:
    """Marks a function that stays whole in a graph."""
    return fn


def assume_constant_result(fn: T) -> T:
    """Marks a function whose result doesn't change."""
    return fn


def reset() -> None:
    """Nothing: there is no compiled state to forget."""


def cudagraph_mark_step_begin() -> None:
    """Nothing: there are no CUDA graphs."""


def list_backends(exclude_tags: Any = ()) -> list[str]:
    """Names that `compile` takes without a difference."""
    return ["inductor"]


__all__ = [
    "allow_in_graph", "assume_constant_result", "cudagraph_mark_step_begin", "disable", "is_compiling",
    "is_dynamo_compiling", "is_exporting", "list_backends", "reset",
]  # fmt: skip
