"""What arguments and results are to many ops alike: dimensions, sizes, dtypes, `out=`, named tuples.

Imports core and `basic.py`. Read next: `joining.py`, `shape.py`.
"""

from __future__ import annotations

import functools
from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any

from ..core import _core
from ..core._core import Tensor
from ..core._core import wrap as wrap
from .basic import to_dtype

Ints = tuple[int, ...]
Size = int | Sequence[int]  # one for all dimensions, or one for each


def ntuple(value: Any, n: int, what: str) -> tuple[int, ...]:
    """n integers from one, or from a sequence of one or n. Raises RuntimeError, which says `what` they are."""
    if isinstance(value, int):
        return (value,) * n
    values = tuple(int(v) for v in value)
    if len(values) == 1:
        return values * n
    if len(values) != n:
        raise RuntimeError(f"{what} must be one integer or {n}, got {list(values)}")
    return values


def remembered(function: Callable[..., Any]) -> Any:
    """functools.lru_cache for functions of shapes and parameters; lists count as tuples."""
    known = functools.lru_cache(4096)(function)

    @functools.wraps(function)
    def of(*args: Any) -> Any:
        try:
            return known(*args)
        except TypeError:
            return known(*[tuple(a) if isinstance(a, list) else a for a in args])

    return of


def to(x: Tensor, dtype: Any) -> Tensor:
    """x itself if it has the dtype, else converted."""
    return x if x.dtype is dtype else to_dtype(x, dtype)


def every(x: Tensor) -> Tensor:
    """x or, where it is one sample's within vmap, all samples: what a check of values has to look at."""
    return _core.announce(_core.CHECK, x)


def holds(condition: Tensor) -> bool:
    """Whether a boolean tensor is true everywhere; recalled calls (`recall.py`) ask again."""
    return _core.surely_within(condition, 1, 2) or bool(every(condition).all())


def into_out(out: Tensor | None, result: Tensor) -> Tensor:
    """out=: the result is copied into it, or becomes it if it is empty. Raises RuntimeError if it has another shape."""
    if out is None:
        return result
    if out.shape == result.shape:
        return out.copy_(result)
    if out.numel():
        raise RuntimeError(
            f"out has shape {list(out.shape)}, the result {list(result.shape)}; pass one of that shape or empty"
        )
    return out.set_(to(result, out.dtype))


def out_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds PyTorch's `out=` to a function of tensors: a tensor, or as many as it returns."""

    @functools.wraps(function)
    def with_out(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        y = function(*args, **kwargs)
        if out is None:
            return y
        if isinstance(y, Tensor):
            return into_out(out, y)
        if len(out) != len(y):
            raise RuntimeError(f"{function.__name__}: out= takes {len(y)} tensors, got {len(out)}")
        return type(y)(*map(into_out, out, y))

    return with_out


def return_type(name: str, fields: str) -> Any:
    """A named tuple as those of PyTorch's torch.return_types."""
    return namedtuple(name, fields, module="flambeau.return_types")
