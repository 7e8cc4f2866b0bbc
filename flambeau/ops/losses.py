"""Element-wise losses with PyTorch's reductions: a pointwise op, then a mean or a sum. Imports neighbours in ops."""

from __future__ import annotations

import warnings

from ..core._core import Tensor
from .recall import recalled
from .reduce import mean, sum
from .softmax import check_reduction, legacy_reduction
from .table import TABLE


def reduced(name: str, values: Tensor, reduction: str) -> Tensor:
    check_reduction(name, reduction)
    return values if reduction == "none" else mean(values) if reduction == "mean" else sum(values)


def same_shapes(name: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        warnings.warn(
            f"{name}: target's shape {list(target.shape)} differs from input's, {list(input.shape)}, and broadcasting "
            "rarely means what a loss should; give them the same shape",
            stacklevel=3,
        )


def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None) -> Tensor:
    """(x - y)².

    >>> fb.ops.mse_loss(fb.tensor([1.0, 2.0]), fb.tensor([1.0, 4.0]))
    tensor(2.)
    """
    same_shapes("mse_loss", input, target)
    values = TABLE["mse_loss"](input, target)
    return reduced(
        "mse_loss", values if weight is None else values * weight, legacy_reduction(size_average, reduce, reduction)
    )


def l1_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None) -> Tensor:
    """|x - y|.

    >>> fb.ops.l1_loss(fb.tensor([1.0, 2.0]), fb.tensor([1.0, 4.0]))
    tensor(1.)
    """
    same_shapes("l1_loss", input, target)
    values = TABLE["l1_loss"](input, target)
    return reduced(
        "l1_loss", values if weight is None else values * weight, legacy_reduction(size_average, reduce, reduction)
    )


def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0) -> Tensor:
    """(x - y)² / 2β where |x - y| < β, else |x - y| - β/2.

    >>> fb.nn.functional.smooth_l1_loss(fb.tensor([0.5, 3.0]), fb.zeros(2), reduction="none")
    tensor([0.1250, 2.5000])
    """
    same_shapes("smooth_l1_loss", input, target)
    op = TABLE["smooth_l1_loss"](input, target, float(beta)) if beta else TABLE["l1_loss"](input, target)
    return reduced("smooth_l1_loss", op, legacy_reduction(size_average, reduce, reduction))


def huber_loss(input, target, reduction="mean", delta=1.0, weight=None) -> Tensor:
    """(x - y)² / 2 where |x - y| < δ, else δ (|x - y| - δ/2).

    >>> fb.nn.functional.huber_loss(fb.tensor([0.5, 3.0]), fb.zeros(2), reduction="none", delta=2.0)
    tensor([0.1250, 4.0000])
    """
    if not delta > 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta, got {delta}")
    same_shapes("huber_loss", input, target)
    values = TABLE["huber_loss"](input, target, float(delta))
    return reduced("huber_loss", values if weight is None else values * weight, reduction)


def binary_cross_entropy(input, target, weight=None, size_average=None, reduce=None, reduction="mean") -> Tensor:
    """-(y log x + (1 - y) log(1 - x)), each log at least -100.

    >>> fb.nn.functional.binary_cross_entropy(fb.tensor([0.5, 0.25]), fb.tensor([1.0, 0.0]), reduction="none")
    tensor([0.6931, 0.2877])
    """
    if input.shape != target.shape:
        raise ValueError(
            f"binary_cross_entropy: target's shape {list(target.shape)} must be input's, {list(input.shape)}"
        )
    values = TABLE["binary_cross_entropy"](input, target)
    return reduced(
        "binary_cross_entropy",
        values if weight is None else values * weight,
        legacy_reduction(size_average, reduce, reduction),
    )


def binary_cross_entropy_with_logits(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
) -> Tensor:
    """binary_cross_entropy of sigmoid(x), without overflow; `pos_weight` scales the positive term.

    >>> x, t = fb.tensor([0.0, 100.0]), fb.tensor([1.0, 0.0])
    >>> fb.nn.functional.binary_cross_entropy_with_logits(x, t, reduction="none")
    tensor([  0.6931, 100.0000])
    """
    if input.shape != target.shape:
        raise ValueError(
            f"binary_cross_entropy_with_logits: target's shape {list(target.shape)} must be input's, "
            f"{list(input.shape)}"
        )
    if pos_weight is None:
        values = TABLE["binary_cross_entropy_with_logits"](input, target)
    else:
        values = TABLE["weighted_binary_cross_entropy_with_logits"](input, target, pos_weight)
    values = values if weight is None else values * weight
    return reduced("binary_cross_entropy_with_logits", values, legacy_reduction(size_average, reduce, reduction))


@recalled
def kl_div(input, target, size_average=None, reduce=None, reduction="mean", log_target=False) -> Tensor:
    """y (log y - x) for log-probabilities x; "batchmean" divides the sum by the batch size.

    >>> p = fb.tensor([[0.5, 0.5]])
    >>> fb.nn.functional.kl_div(fb.tensor([[0.25, 0.75]]).log(), p, reduction="batchmean")
    tensor(0.1438)
    """
    values = TABLE["kl_div"](input, target, log_target=log_target)
    reduction = legacy_reduction(size_average, reduce, reduction)
    if reduction == "batchmean":
        return sum(values) / input.shape[0]
    return reduced("kl_div", values, reduction)


__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "huber_loss", "kl_div", "l1_loss", "mse_loss",
    "smooth_l1_loss",
]  # fmt: skip
