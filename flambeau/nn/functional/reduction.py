"""How a loss is reduced to one number: the `reduction` argument, and the two flags that came before it.

Imports the tensor core. Read next: `losses.py`.
"""

from __future__ import annotations

import warnings

from flambeau import Tensor


def resolve(reduction: str, size_average: bool | None = None, reduce: bool | None = None) -> str:
    """The `reduction` that the deprecated flags `size_average` and `reduce` stand for, or the one given."""
    if size_average is not None or reduce is not None:
        mean = True if size_average is None else size_average
        old = "none" if reduce is False else "mean" if mean else "sum"
        warnings.warn(
            f"size_average and reduce args will be deprecated, please use reduction='{old}' instead.", stacklevel=3
        )
        return old
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction; expected 'none', 'mean' or 'sum'")
    return reduction


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """`loss` itself, its mean or its sum."""
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss
