"""Losses as layers: each is its function of `flambeau.nn.functional` with the settings it was made with.

All take `reduction`: "mean", "sum" or "none"; the flags `size_average` and `reduce` of old programs stand for one of
them. Imports `module.py`, `linear.py` and functional. Read next: `../functional/losses.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn.functional.reduction import resolve
from flambeau.nn.modules.distance import PairwiseDistance
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.module import Module

Flag = bool | None


class _Loss(Module):
    def __init__(self, size_average: Flag = None, reduce: Flag = None, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = (
            resolve(reduction, size_average, reduce) if (size_average, reduce) != (None, None) else reduction
        )


class _WeightedLoss(_Loss):
    def __init__(
        self, weight: Tensor | None = None, size_average: Flag = None, reduce: Flag = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class L1Loss(_Loss):
    """|x - t|.

    >>> import flambeau as fb
    >>> fb.nn.L1Loss()(fb.tensor([1.0, 2.0]), fb.tensor([0.0, 0.0]))
    tensor(1.5000)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class MSELoss(_Loss):
    """(x - t)².

    >>> import flambeau as fb
    >>> fb.nn.MSELoss()(fb.tensor([1.0, 2.0]), fb.tensor([0.0, 0.0]))
    tensor(2.5000)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """½ (x - t)² / beta where |x - t| < beta, else |x - t| - ½ beta.

    >>> fb.nn.SmoothL1Loss(reduction="none")(fb.tensor([0.5, 3.0]), fb.zeros(2))
    tensor([0.1250, 2.5000])
    """

    def __init__(
        self, size_average: Flag = None, reduce: Flag = None, reduction: str = "mean", beta: float = 1.0
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """½ (x - t)² where |x - t| < delta, else delta (|x - t| - ½ delta).

    >>> fb.nn.HuberLoss(reduction="none", delta=2.0)(fb.tensor([0.5, 3.0]), fb.zeros(2))
    tensor([0.1250, 4.0000])
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class CrossEntropyLoss(_WeightedLoss):
    """-log softmax(x)_t over scores (N, C, …) and classes (N, …), or probabilities (N, C, …).

    Args:
        weight: (C), a factor for each class; the mean is then weighted.
        ignore_index: a target class to leave out.
        label_smoothing: how much of the target is spread evenly over the classes.

    >>> import flambeau as fb
    >>> fb.nn.CrossEntropyLoss()(fb.zeros(2, 4), fb.tensor([0, 3]))
    tensor(1.3863)
    """

    def __init__(
        self, weight: Tensor | None = None, size_average: Flag = None, ignore_index: int = -100, reduce: Flag = None,
        reduction: str = "mean", label_smoothing: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip


@dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """How PyTorch cuts `LinearCrossEntropyLoss` into pieces to save memory; the result here is the same with any.

    >>> options = fb.nn.LinearCrossEntropyOptions(batch_chunk_size=2)
    >>> loss = fb.nn.LinearCrossEntropyLoss(2, 3, options=options)
    >>> loss(fb.ones(4, 2), fb.tensor([0, 1, 2, 0])).shape
    flambeau.Size([])
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None


class LinearCrossEntropyLoss(_WeightedLoss):
    """`CrossEntropyLoss` of a linear layer's scores, the layer (`linear`) a part of the loss.

    Args:
        out_features: further dimensions of scores and target: (N, in_features) gives scores (N, C, *out_features).
        weight: (C), a factor for each class.
        ignore_index: a target class to leave out, -100 by default; only where targets are classes.
        options: accepted; scores are computed all at once.

    >>> import flambeau as fb
    >>> loss = fb.nn.LinearCrossEntropyLoss(5, 10, out_features=(4, 3))
    >>> loss(fb.ones(2, 5), fb.zeros(2, 4, 3, dtype=fb.int64)).shape
    flambeau.Size([])
    """

    def __init__(
        self, in_features: int, num_classes: int, *, out_features: tuple[int, ...] = (), bias: bool = False,
        device: Any = None, dtype: Any = None, reduction: str = "mean", weight: Tensor | None = None,
        ignore_index: int | None = None, label_smoothing: float = 0.0,
        options: LinearCrossEntropyOptions | None = None,
    ) -> None:  # fmt: skip
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise RuntimeError(f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}")
        if not 0 <= label_smoothing <= 1:
            raise RuntimeError(f"expected label_smoothing to be in range [0, 1], got {label_smoothing}")
        super().__init__(weight, reduction=reduction)
        self.num_classes, self.out_features = num_classes, out_features
        self.ignore_index, self.label_smoothing, self.options = ignore_index, label_smoothing, options
        self.linear = Linear(in_features, math.prod(out_features, start=num_classes), bias, device, dtype)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        scores = self.num_classes, *self.out_features
        bias = None if self.linear.bias is None else self.linear.bias.reshape(scores)
        return F.linear_cross_entropy(
            input, self.linear.weight.reshape(*scores, -1), target, linear_bias=bias, weight=self.weight,
            reduction=self.reduction, ignore_index=self.ignore_index, label_smoothing=self.label_smoothing,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, reduction={self.reduction}, "
            f"ignore_index={self.ignore_index}, label_smoothing={self.label_smoothing}, options={self.options}"
        )


class NLLLoss(_WeightedLoss):
    """-w_t x_t over log-probabilities (N, C, …) and classes (N, …).

    >>> fb.nn.NLLLoss()(fb.tensor([[0.25, 0.75]]).log(), fb.tensor([1]))
    tensor(0.2877)
    """

    def __init__(
        self, weight: Tensor | None = None, size_average: Flag = None, ignore_index: int = -100, reduce: Flag = None,
        reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class NLLLoss2d(NLLLoss):
    """The old name of NLLLoss for images.

    >>> fb.nn.NLLLoss2d()(fb.full((1, 2, 1, 1), 0.5).log(), fb.tensor([[[1]]]))
    tensor(0.6931)
    """


class BCELoss(_WeightedLoss):
    """-(t log x + (1 - t) log(1 - x)) for probabilities x; logarithms are clamped at -100.

    >>> fb.nn.BCELoss(reduction="none")(fb.tensor([0.5, 0.25]), fb.tensor([1.0, 0.0]))
    tensor([0.6931, 0.2877])
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """-(p t log σ(x) + (1 - t) log(1 - σ(x))), p = `pos_weight` a factor for positives.

    >>> fb.nn.BCEWithLogitsLoss(reduction="none")(fb.tensor([0.0, 100.0]), fb.tensor([1.0, 0.0]))
    tensor([  0.6931, 100.0000])
    """

    def __init__(
        self, weight: Tensor | None = None, size_average: Flag = None, reduce: Flag = None, reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, weight=self.weight, pos_weight=self.pos_weight, reduction=self.reduction
        )


class KLDivLoss(_Loss):
    """t (log t - x) for log-probabilities x; "batchmean" is the mathematical mean. `log_target`: t is log t.

    >>> fb.nn.KLDivLoss(reduction="batchmean")(fb.tensor([[0.25, 0.75]]).log(), fb.tensor([[0.5, 0.5]]))
    tensor(0.1438)
    """

    def __init__(
        self, size_average: Flag = None, reduce: Flag = None, reduction: str = "mean", log_target: bool = False
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class PoissonNLLLoss(_Loss):
    """exp(x) - t x with `log_input`, else x - t log(x + eps); `full` adds Stirling's term.

    >>> fb.nn.PoissonNLLLoss(reduction="none")(fb.tensor([0.0, 1.0]), fb.tensor([1.0, 2.0]))
    tensor([1.0000, 0.7183])
    """

    def __init__(
        self, log_input: bool = True, full: bool = False, size_average: Flag = None, eps: float = 1e-8,
        reduce: Flag = None, reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return F.poisson_nll_loss(
            log_input, target, log_input=self.log_input, full=self.full, eps=self.eps, reduction=self.reduction
        )


class GaussianNLLLoss(_Loss):
    """½ (log v + (x - t)² / v), v = max(var, eps); `full` adds ½ log 2π.

    >>> fb.nn.GaussianNLLLoss(reduction="none")(fb.tensor([1.0, 3.0]), fb.tensor([1.0, 1.0]), fb.ones(2))
    tensor([0., 2.])
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return F.gaussian_nll_loss(input, target, var, full=self.full, eps=self.eps, reduction=self.reduction)


class CosineEmbeddingLoss(_Loss):
    """1 - cos(x₁, x₂) for target 1, max(0, cos(x₁, x₂) - margin) for target -1.

    >>> x, y = fb.tensor([[1.0, 0.0], [1.0, 0.0]]), fb.tensor([[0.0, 2.0], [3.0, 0.0]])
    >>> fb.nn.CosineEmbeddingLoss(reduction="none")(x, y, fb.tensor([1.0, -1.0]))
    tensor([1., 1.])
    """

    def __init__(
        self, margin: float = 0.0, size_average: Flag = None, reduce: Flag = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.cosine_embedding_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class MarginRankingLoss(_Loss):
    """max(0, -t (x₁ - x₂) + margin).

    >>> x, y, t = fb.tensor([1.0, 1.0]), fb.tensor([3.0, 3.0]), fb.tensor([1.0, -1.0])
    >>> fb.nn.MarginRankingLoss(margin=0.5, reduction="none")(x, y, t)
    tensor([2.5000, 0.0000])
    """

    def __init__(
        self, margin: float = 0.0, size_average: Flag = None, reduce: Flag = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.margin_ranking_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class HingeEmbeddingLoss(_Loss):
    """x for target 1, max(0, margin - x) for target -1.

    >>> fb.nn.HingeEmbeddingLoss(reduction="none")(fb.tensor([0.5, 0.25]), fb.tensor([1.0, -1.0]))
    tensor([0.5000, 0.7500])
    """

    def __init__(
        self, margin: float = 1.0, size_average: Flag = None, reduce: Flag = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class SoftMarginLoss(_Loss):
    """log(1 + exp(-t x)) for targets 1 and -1.

    >>> fb.nn.SoftMarginLoss(reduction="none")(fb.tensor([0.0, 2.0]), fb.tensor([1.0, -1.0]))
    tensor([0.6931, 2.1269])
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiMarginLoss(_WeightedLoss):
    """Σ_{j≠t} max(0, w_t (margin - x_t + x_j))^p / C.

    >>> fb.nn.MultiMarginLoss()(fb.tensor([[0.1, 0.2, 0.4, 0.8]]), fb.tensor([3]))
    tensor(0.3250)
    """

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, size_average: Flag = None,
        reduce: Flag = None, reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: only p == 1 and p == 2 supported, got {p}")
        if weight is not None and weight.dim() != 1:
            raise ValueError(f"MultiMarginLoss: expected weight to be 1-dimensional, got {weight.dim()}")
        self.p, self.margin = p, margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multi_margin_loss(
            input, target, p=self.p, margin=self.margin, weight=self.weight, reduction=self.reduction
        )


class MultiLabelMarginLoss(_Loss):
    """Σ_{i labelled, j not} max(0, 1 - (x_i - x_j)) / C; a row of labels ends at its first -1.

    >>> fb.nn.MultiLabelMarginLoss()(fb.tensor([[0.1, 0.2, 0.4, 0.8]]), fb.tensor([[3, 0, -1, 1]]))
    tensor(0.8500)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """-Σ_c w_c (t_c log σ(x_c) + (1 - t_c) log σ(-x_c)) / C.

    >>> fb.nn.MultiLabelSoftMarginLoss()(fb.tensor([[0.0, 2.0]]), fb.tensor([[1.0, 0.0]]))
    tensor(1.4100)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, weight=self.weight, reduction=self.reduction)


class TripletMarginLoss(_Loss):
    """max(0, ‖a - p‖ - ‖a - n‖ + margin); `swap` uses ‖p - n‖ where that is smaller.

    >>> a, p, n = fb.tensor([[0.0, 0.0]]), fb.tensor([[3.0, 4.0]]), fb.tensor([[0.0, 5.5]])
    >>> fb.nn.TripletMarginLoss()(a, p, n)
    tensor(0.5000)
    """

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, size_average: Flag = None,
        reduce: Flag = None, reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginLoss: expected margin to be greater than 0, got {margin} instead")
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(_Loss):
    """max(0, d(a, p) - d(a, n) + margin) for a distance of one's own.

    >>> a, p, n = fb.tensor([[0.0, 0.0]]), fb.tensor([[3.0, 4.0]]), fb.tensor([[0.0, 5.5]])
    >>> city = lambda x, y: (x - y).abs().sum(-1)
    >>> fb.nn.TripletMarginWithDistanceLoss(distance_function=city)(a, p, n)
    tensor(2.5000)
    """

    def __init__(
        self, *, distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0,
        swap: bool = False, reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ValueError(
                f"TripletMarginWithDistanceLoss: expected margin to be greater than 0, got {margin} instead"
            )
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin, self.swap = margin, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor, positive, negative, distance_function=self.distance_function, margin=self.margin, swap=self.swap,
            reduction=self.reduction,
        )  # fmt: skip


class CTCLoss(_Loss):
    """-log of the summed probability of all alignments of a label sequence. Graves et al., 2006.

    >>> log_probs = fb.full((2, 1, 2), 0.5).log()
    >>> loss = fb.nn.CTCLoss()(log_probs, fb.tensor([[1]]), fb.tensor([2]), fb.tensor([1]))
    >>> (-loss).exp()  # "1 1", "1 blank" and "blank 1" are a quarter each
    tensor(0.7500)
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor) -> Tensor:
        return F.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
