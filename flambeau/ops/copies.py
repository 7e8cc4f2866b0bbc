"""Views that are copied at once: view_copy, permute_copy, … give new memory where view, permute, … share it.

Imports core and neighbours in ops. Read next: `shape.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..core._core import Tensor
from . import joining, shape
from .basic import as_strided
from .documents import Derived
from .documents import copied as copied_doc


def alias(input: Tensor) -> Tensor:
    """The same elements.

    >>> fb.alias_copy(fb.tensor([1, 2]))
    tensor([1, 2])
    """
    return input


def detach(input: Tensor) -> Tensor:
    """The elements off the tape.

    >>> fb.detach(fb.tensor([1.0, 2.0], requires_grad=True))
    tensor([1., 2.])
    """
    return input.detach()


def expand(input: Tensor, size: Sequence[int], *, implicit: bool = False) -> Tensor:
    """Dimensions of length 1 stretched; -1 keeps a length.

    >>> fb.tensor([[1], [2]]).expand((-1, 3))
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    return input.expand(size)


def slice_(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """The elements start:end:step of a dimension.

    >>> fb.slice_copy(fb.arange(6), 0, 1, 6, 2)
    tensor([1, 3, 5])
    """
    return input[(slice(None),) * (dim % input.ndim) + (slice(start, end, step),)]


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Consecutive parts of the given lengths.

    >>> fb.tensor([1, 2, 3]).split_with_sizes([1, 2])
    (tensor([1]), tensor([2, 3]))
    """
    return joining.split(input, split_sizes, dim)


def view(input: Tensor, size: Sequence[int]) -> Tensor:
    """The elements under another shape.

    >>> fb.tensor([1, 2, 3, 4]).view((2, 2))
    tensor([[1, 2],
            [3, 4]])
    """
    return input.view(size)


VIEWS: dict[str, Callable[..., Any]] = {
    "alias_copy": alias,
    "as_strided_copy": as_strided,
    "detach_copy": detach,
    "diagonal_copy": shape.diagonal,
    "expand_copy": expand,
    "permute_copy": shape.permute,
    "select_copy": shape.select,
    "slice_copy": slice_,
    "split_copy": joining.split,
    "split_with_sizes_copy": split_with_sizes,
    "squeeze_copy": shape.squeeze,
    "t_copy": shape.t,
    "transpose_copy": shape.transpose,
    "unbind_copy": joining.unbind,
    "unfold_copy": shape.unfold,
    "unsqueeze_copy": shape.unsqueeze,
    "view_as_complex_copy": shape.view_as_complex,
    "view_as_real_copy": shape.view_as_real,
    "view_copy": view,
}


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

    return Derived(name, function, lambda: copied_doc(name.removesuffix("_copy"), view.__doc__ or ""))


globals().update({name: copied(name, view) for name, view in VIEWS.items()})
unsafe_split, unsafe_chunk = joining.split, joining.chunk

__all__ = ["unsafe_chunk", "unsafe_split"]
__all__ += list(VIEWS)
