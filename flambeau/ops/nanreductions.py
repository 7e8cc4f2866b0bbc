"""Reductions that leave NaN out: nansum, nanmean.

Compositions of other ops. Imports core and neighbours in ops. Read next: `reduce.py`; nanmedian is in `sorting.py`.
"""

from __future__ import annotations

from typing import Any

from ..core._core import Tensor
from .arguments import into_out
from .calls import where
from .reduce import sum
from .table import TABLE

__all__ = ["nanmean", "nansum"]


def nansum(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Tensor | None = None
) -> Tensor:
    """The sum over `dim` of what isn't NaN.

    >>> fb.nansum(fb.tensor([1.0, float("nan"), 2.0]))
    tensor(3.)
    """
    if input.is_complex():
        raise RuntimeError(f"nansum: takes real tensors, got {input.dtype}")
    x = where(TABLE["isnan"](input), 0.0, input) if input.is_floating_point() else input
    y = sum(x, dim, keepdim, dtype=dtype)
    return into_out(out, y)


def nanmean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Tensor | None = None
) -> Tensor:
    """The mean over `dim` of what isn't NaN; NaN where nothing is left.

    >>> fb.nanmean(fb.tensor([1.0, float("nan"), 2.0]))
    tensor(1.5000)
    """
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError(f"nanmean: takes floating tensors, got {input.dtype}; use x.float()")
    x = input if dtype is None else input.to(dtype)
    kept = sum(TABLE["logical_not"](TABLE["isnan"](x)), dim, keepdim)
    y = nansum(x, dim, keepdim) / kept
    return into_out(out, y)
