"""Views that are copied at once: view_copy, permute_copy, … give new memory where view, permute, … share it.

Imports core and neighbours in ops. Read next: `shape.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core._core import Tensor
from . import joining, shape
from .basic import as_strided

VIEWS: dict[str, Callable[..., Any]] = {
    "alias_copy": lambda input: input,
    "as_strided_copy": as_strided,
    "detach_copy": lambda input: input.detach(),
    "diagonal_copy": shape.diagonal,
    "expand_copy": lambda input, size, *, implicit=False: input.expand(size),
    "permute_copy": shape.permute,
    "select_copy": shape.select,
    "slice_copy": lambda input, dim=0, start=None, end=None, step=1: part(input, dim, start, end, step),
    "split_copy": joining.split,
    "split_with_sizes_copy": joining.split,
    "squeeze_copy": shape.squeeze,
    "t_copy": shape.t,
    "transpose_copy": shape.transpose,
    "unbind_copy": joining.unbind,
    "unfold_copy": shape.unfold,
    "unsqueeze_copy": shape.unsqueeze,
    "view_as_complex_copy": shape.view_as_complex,
    "view_as_real_copy": shape.view_as_real,
    "view_copy": lambda input, size: input.view(size),
}


def part(x: Tensor, dim: int, start: int | None, end: int | None, step: int) -> Tensor:
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


def copied(name: str, view: Callable[..., Any]) -> Callable[..., Any]:
    def function(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        y = view(*args, **kwargs)
        if isinstance(y, Tensor):
            return y.clone() if out is None else out.copy_(y)
        parts = tuple(p.clone() for p in y)
        if out is None:
            return parts
        for target, p in zip(out, parts, strict=True):
            target.copy_(p)
        return None

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name.removesuffix('_copy')}`, with memory of its own."
    return function


globals().update({name: copied(name, view) for name, view in VIEWS.items()})
unsafe_split, unsafe_chunk = joining.split, joining.chunk

__all__ = ["unsafe_chunk", "unsafe_split"]
__all__ += list(VIEWS)
