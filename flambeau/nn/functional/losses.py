"""Losses written as formulas over tensors; those with a kernel of their own come from `flambeau.ops`.

Imports the tensor core. Read next: `distance.py`, which some of these use.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import flambeau as fb
from flambeau import Tensor
from flambeau.nn.functional.distance import pairwise_distance
from flambeau.nn.functional.reduction import reduced, resolve
from flambeau.ops import logsigmoid
from flambeau.ops.recall import recalled


@recalled
def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool = True, full: bool = False,
    size_average: bool | None = None, eps: float = 1e-8, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Negative log likelihood of Poisson counts: exp(x) - t x with `log_input`, else x - t log(x + eps).

    `full` adds Stirling's approximation of log t!: t log t - t + ½ log 2πt, where t > 1.

    >>> fb.nn.functional.poisson_nll_loss(fb.tensor([0.0, 1.0]), fb.tensor([1.0, 2.0]), reduction="none")
    tensor([1.0000, 0.7183])
    """
    loss = fb.exp(input) - target * input if log_input else input - target * fb.log(input + eps)
    if full:
        stirling = target * fb.log(target) - target + 0.5 * fb.log(2 * math.pi * target)
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return reduced(loss, resolve(reduction, size_average, reduce))


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """Negative log likelihood of a Gaussian: ½ (log v + (x - t)² / v), v = max(var, eps); `full` adds ½ log 2π.

    Args:
        var: of input's shape, or the same without or with size 1 in the last dimension, or a number.

    >>> x, t = fb.tensor([1.0, 3.0]), fb.tensor([1.0, 1.0])
    >>> fb.nn.functional.gaussian_nll_loss(x, t, fb.ones(2), reduction="none")
    tensor([0., 2.])
    """
    if not isinstance(var, Tensor):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = fb.full(input.shape, var, dtype=input.dtype, device=input.device)
    elif (var < 0).any():
        raise ValueError("var has negative entry/entries")
    if var.shape == input.shape[:-1]:
        var = var.unsqueeze(-1)
    elif var.dim() != input.dim() or any(v not in (1, n) for v, n in zip(var.shape, input.shape, strict=True)):
        raise ValueError(f"var is of incorrect size: got {tuple(var.shape)} for input {tuple(input.shape)}")
    clamped = var.clone()
    with fb.no_grad():  # the gradient passes as if nothing had been clamped
        clamped.clamp_(min=eps)
    loss = 0.5 * (fb.log(clamped) + (input - target) ** 2 / clamped)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, resolve(reduction))


@recalled
def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """x where the target is 1, max(0, margin - x) where it is -1.

    >>> fb.nn.functional.hinge_embedding_loss(fb.tensor([0.5, 0.25]), fb.tensor([1.0, -1.0]), reduction="none")
    tensor([0.5000, 0.7500])
    """
    zero = input.new_zeros(())
    loss = fb.where(target == 1, zero, (margin - input).clamp(min=0)) + fb.where(target == -1, zero, input)
    return reduced(loss, resolve(reduction, size_average, reduce))


@recalled
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """max(0, -t (x₁ - x₂) + margin): the target is 1 where x₁ should rank higher, -1 where x₂ should.

    >>> x, y, t = fb.tensor([1.0, 1.0]), fb.tensor([3.0, 3.0]), fb.tensor([1.0, -1.0])
    >>> fb.nn.functional.margin_ranking_loss(x, y, t, margin=0.5, reduction="none")
    tensor([2.5000, 0.0000])
    """
    _expect_same_dims("margin_ranking_loss", input1, input2, target)
    loss = (-target * (input1 - input2) + margin).clamp(min=0)
    reduction = resolve(reduction, size_average, reduce)
    if reduction == "mean" and not loss.is_floating_point():
        loss = loss.float()
    return reduced(loss, reduction)


@recalled
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """1 - cos(x₁, x₂) where the target is 1, max(0, cos(x₁, x₂) - margin) where it is -1; inputs (N, D) or (D).

    >>> x, y = fb.tensor([[1.0, 0.0], [1.0, 0.0]]), fb.tensor([[0.0, 2.0], [3.0, 0.0]])
    >>> fb.nn.functional.cosine_embedding_loss(x, y, fb.tensor([1.0, -1.0]), reduction="none")
    tensor([1., 1.])
    """
    if target.dim() not in (0, 1) or input1.dim() != target.dim() + 1 or input2.dim() != target.dim() + 1:
        raise RuntimeError(
            f"cosine_embedding_loss: expected inputs (N, D) and target (N), or (D) and (), got {tuple(input1.shape)}, "
            f"{tuple(input2.shape)} and {tuple(target.shape)}"
        )
    dots, squares1, squares2 = ((a * b).sum(-1) for a, b in ((input1, input2), (input1, input1), (input2, input2)))
    eps = 1e-12  # inside the root: keeps the gradient at the zero vector finite
    cosine = dots / ((squares1 + eps) * (squares2 + eps)).sqrt()
    zero = cosine.new_zeros(())
    loss = fb.where(target == 1, 1 - cosine, zero) + fb.where(target == -1, (cosine - margin).clamp(min=0), zero)
    return reduced(loss, resolve(reduction, size_average, reduce))


@recalled
def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """log(1 + exp(-t x)) for targets 1 and -1.

    >>> fb.nn.functional.soft_margin_loss(fb.tensor([0.0, 2.0]), fb.tensor([1.0, -1.0]), reduction="none")
    tensor([0.6931, 2.1269])
    """
    return reduced(fb.log1p(fb.exp(-target * input)), resolve(reduction, size_average, reduce))


@recalled
def multi_margin_loss(
    input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Σ_{j≠t} max(0, w_t (margin - x_t + x_j))^p / C over scores (N, C) or (C) with target classes (N) or ().

    >>> fb.nn.functional.multi_margin_loss(fb.tensor([[0.1, 0.2, 0.4, 0.8]]), fb.tensor([3]))
    tensor(0.3250)
    """
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: only p == 1 and p == 2 are supported, got {p}")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    scores, classes = input.reshape(-1, input.shape[-1]), target.reshape(-1, 1)
    loss = (margin - scores.gather(1, classes) + scores).clamp(min=0)
    if p == 2:
        loss = loss * loss
    if weight is not None:
        loss = loss * weight[classes]
    others = fb.arange(scores.shape[1], device=scores.device) != classes
    loss = (loss * others).sum(1) / scores.shape[1]
    return reduced(loss.reshape(target.shape), resolve(reduction, size_average, reduce))


@recalled
def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """Σ_{i labelled, j not} max(0, 1 - (x_i - x_j)) / C over scores (N, C) or (C); a row of labels ends at its first
    -1.

    >>> fb.nn.functional.multilabel_margin_loss(fb.tensor([[0.1, 0.2, 0.4, 0.8]]), fb.tensor([[3, 0, -1, 1]]))
    tensor(0.8500)
    """
    scores, labels = input.reshape(-1, input.shape[-1]), target.reshape(-1, input.shape[-1])
    present = (labels >= 0).long().cumprod(1)
    # Label -1 stands for class 0 with weight 0; one class named twice counts twice.
    index = labels * present
    is_label = fb.zeros_like(labels).scatter_add(1, index, present) > 0
    pairs = (1 - scores.gather(1, index).unsqueeze(2) + scores.unsqueeze(1)).clamp(min=0)
    pairs = pairs * present.unsqueeze(2) * ~is_label.unsqueeze(1)
    loss = pairs.sum((1, 2)) / scores.shape[1]
    return reduced(loss.reshape(input.shape[:-1]), resolve(reduction, size_average, reduce))


@recalled
def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """-Σ_c w_c (t_c log σ(x_c) + (1 - t_c) log σ(-x_c)) / C.

    >>> fb.nn.functional.multilabel_soft_margin_loss(fb.tensor([[0.0, 2.0]]), fb.tensor([[1.0, 0.0]]))
    tensor(1.4100)
    """
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduced(loss.sum(-1) / input.shape[-1], resolve(reduction, size_average, reduce))


@recalled
def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2, eps: float = 1e-6,
    swap: bool = False, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """max(0, ‖a - p‖ - ‖a - n‖ + margin); `swap` takes ‖p - n‖ where that is the smaller distance to the negative.

    >>> a, p, n = fb.tensor([[0.0, 0.0]]), fb.tensor([[3.0, 4.0]]), fb.tensor([[0.0, 5.5]])
    >>> fb.nn.functional.triplet_margin_loss(a, p, n)
    tensor(0.5000)
    """

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return pairwise_distance(a, b, p, eps)

    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _expect_same_dims("triplet_margin_loss", anchor, positive, negative)
    return _triplet(anchor, positive, negative, distance, margin, swap, resolve(reduction, size_average, reduce))


def triplet_margin_with_distance_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *, distance_function: Callable[[Tensor, Tensor],
    Tensor] | None = None,
    margin: float = 1.0, swap: bool = False, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """`triplet_margin_loss` with a distance of one's own; `pairwise_distance` where None.

    >>> a, p, n = fb.tensor([[0.0, 0.0]]), fb.tensor([[3.0, 4.0]]), fb.tensor([[0.0, 5.5]])
    >>> city = lambda x, y: (x - y).abs().sum(-1)
    >>> fb.nn.functional.triplet_margin_with_distance_loss(a, p, n, distance_function=city)
    tensor(2.5000)
    """
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _expect_same_dims("triplet_margin_with_distance_loss", anchor, positive, negative)
    return _triplet(
        anchor, positive, negative, distance_function or pairwise_distance, margin, swap, resolve(reduction)
    )


def _triplet(
    anchor: Tensor, positive: Tensor, negative: Tensor, distance: Callable[[Tensor, Tensor], Tensor],
    margin: float, swap: bool, reduction: str,
) -> Tensor:  # fmt: skip
    to_negative = distance(anchor, negative)
    if swap:
        to_negative = fb.minimum(to_negative, distance(positive, negative))
    return reduced((distance(anchor, positive) - to_negative + margin).clamp(min=0), reduction)


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor,
    blank: int = 0, reduction: str = "mean", zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """Connectionist temporal classification: -log of the summed probability of all alignments of a label sequence.

    Graves et al., Connectionist temporal classification, 2006: the forward recursion over the labels with blanks
    between.

    Args:
        log_probs: (T, N, C) or (T, C), logarithms of probabilities.
        targets: (N, S) padded, or all sequences joined (sum of target_lengths).
        zero_infinity: give sequences that no alignment can produce a loss of 0 instead of infinity.

    >>> log_probs = fb.full((2, 1, 2), 0.5).log()
    >>> loss = fb.nn.functional.ctc_loss(log_probs, fb.tensor([[1]]), fb.tensor([2]), fb.tensor([1]))
    >>> (-loss).exp()  # "1 1", "1 blank" and "blank 1" are a quarter each
    tensor(0.7500)
    """
    if log_probs.dim() == 2:
        frames_given, labels_given = (fb.as_tensor(x).reshape(1) for x in (input_lengths, target_lengths))
        log_probs, targets = log_probs.unsqueeze(1), targets.reshape(1, -1)
        loss = ctc_loss(log_probs, targets, frames_given, labels_given, blank, reduction, zero_infinity)
        return loss.reshape(()) if reduction == "none" else loss
    frames, batch, _ = log_probs.shape
    input_lengths, target_lengths = fb.as_tensor(input_lengths), fb.as_tensor(target_lengths)
    if targets.dim() == 1:
        sequences = targets.split(target_lengths.tolist())
        longest = max((len(s) for s in sequences), default=0)
        targets = fb.stack([fb.cat([s, s.new_full((longest - len(s),), blank)]) for s in sequences])
    targets = targets.long()
    longest = targets.shape[1]
    # blank l₁ blank l₂ … blank; a step may skip a blank between two different labels.
    labels = targets.new_full((batch, 2 * longest + 1), blank)
    labels[:, 1::2] = targets
    may_skip = fb.zeros_like(labels, dtype=fb.bool)
    may_skip[:, 3::2] = labels[:, 3::2] != labels[:, 1:-2:2]
    impossible = fb.finfo(log_probs.dtype).min / 4  # finite, so that no gradient is NaN
    emitted = log_probs.gather(2, labels.unsqueeze(0).expand(frames, -1, -1)).clamp(min=impossible)
    start = fb.arange(labels.shape[1]) < 2
    alpha = fb.where(start, emitted[0], impossible)
    wall = alpha.new_full((batch, 2), impossible)
    for t in range(1, frames):
        padded = fb.cat([wall, alpha], 1)
        stay, step, skip = alpha, padded[:, 1:-1], fb.where(may_skip, padded[:, :-2], impossible)
        following = (fb.logsumexp(fb.stack([stay, step, skip]), 0) + emitted[t]).clamp(min=impossible)
        alpha = fb.where((t < input_lengths).unsqueeze(1), following, alpha)
    last = (2 * target_lengths).unsqueeze(1)
    ends = fb.cat([alpha.gather(1, last), alpha.gather(1, (last - 1).clamp(min=0))], 1)
    ends = fb.where(fb.stack([last[:, 0] >= 0, last[:, 0] > 0], 1), ends, impossible)
    log_likelihood = fb.logsumexp(ends, 1)
    unreachable = log_likelihood < impossible / 2
    loss = fb.where(unreachable, 0.0 if zero_infinity else math.inf, -log_likelihood)
    if reduction == "mean":
        return (loss / target_lengths.clamp(min=1)).mean()
    return reduced(loss, resolve(reduction))


def linear_cross_entropy(
    input: Tensor, linear_weight: Tensor, target: Tensor, *, linear_bias: Tensor | None = None,
    weight: Tensor | None = None, reduction: str = "mean", ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """`cross_entropy` of x Wᵀ + b: input (N, D) or (D), weight (C, …, D), bias (C, …), target (N, …) or (N, C, …).

    Args:
        ignore_index: a target class to leave out, -100 by default; only where targets are classes.

    >>> x, w = fb.tensor([[1.0, 2.0]]), fb.eye(2)
    >>> fb.nn.functional.linear_cross_entropy(x, w, fb.tensor([1]))
    tensor(0.3133)
    """
    from flambeau.ops import cross_entropy, linear

    if ignore_index is not None and target.is_floating_point():
        raise RuntimeError(
            f"linear_cross_entropy: ignore_index is for targets that are classes, got {ignore_index} and "
            f"probabilities of {target.dtype}"
        )
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, linear_weight.flatten(0, -2), bias)
    return cross_entropy(
        logits.reshape(*input.shape[:-1], *linear_weight.shape[:-1]), target, weight,
        ignore_index=-100 if ignore_index is None else ignore_index, reduction=reduction,
        label_smoothing=label_smoothing,
    )  # fmt: skip


def _expect_same_dims(name: str, *tensors: Tensor) -> None:
    if len({t.dim() for t in tensors}) > 1:
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
        raise RuntimeError(f"{name}: the tensors should all have the same number of dimensions, got shapes {shapes}")
