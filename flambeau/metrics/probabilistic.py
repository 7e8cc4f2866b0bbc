"""Metrics of predicted probabilities: log loss, Brier score, calibration error, perplexity.

Imports `metric.py`. Read next: `regression.py`.
"""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.metrics.classification import in_range
from flambeau.metrics.metric import Metric, State, double, functional, ratio, same_shape, weights


def probabilities(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Probabilities (N, C) of C classes, from those of class 1 where there are two, and the targets (N,)."""
    p, y = double(input), fb.as_tensor(target).detach()
    if p.ndim == 1:
        same_shape(name, p, y)
        p = fb.stack([1 - p, p], -1)
    if p.ndim != 2 or y.ndim != 1 or p.shape[0] != y.shape[0]:
        raise ValueError(
            f"{name}: takes probabilities (N,) or (N, C) and targets (N,), got {list(p.shape)} and {list(y.shape)}"
        )
    if bool(((p < 0) | (p > 1) | p.isnan()).any()):
        raise ValueError(f"{name}: probabilities must be from 0 to 1; use sigmoid or softmax on logits first")
    return p, in_range(name, y, p.shape[1])


class LogLoss(Metric):
    """−log of the probability of what happened, on average; probabilities are clipped to [ε, 1 − ε] of their dtype.

    >>> fb.metrics.log_loss(fb.tensor([0.5, 0.5]), fb.tensor([0, 1]))
    tensor(0.6931, dtype=flambeau.float64)
    """

    def measure(self, input: Any, target: Any, weight: Any = None) -> State:
        p, y = probabilities("LogLoss", input, target)
        w = weights(weight, p.shape[0], "LogLoss")
        given = fb.as_tensor(input).dtype
        eps = fb.finfo(given if given.is_floating_point else fb.float64).eps
        chosen = p.clamp(min=eps, max=1 - eps).gather(-1, y.unsqueeze(-1)).squeeze(-1)
        return {"loss": -(w * chosen.log()).sum(), "total": w.sum()}

    def formula(self, state: State) -> Tensor:
        return ratio(state["loss"], state["total"], float("nan"))


class BrierScore(Metric):
    """The mean squared distance of probabilities from what happened: (p − y)² of class 1 for two classes, summed over
    classes for more.

    >>> fb.metrics.brier_score(fb.tensor([0.5, 1.0]), fb.tensor([0, 1]))
    tensor(0.1250, dtype=flambeau.float64)
    """

    def measure(self, input: Any, target: Any, weight: Any = None) -> State:
        p, y = probabilities("BrierScore", input, target)
        w = weights(weight, p.shape[0], "BrierScore")
        apart = ((p - double(fb.nn.functional.one_hot(y, p.shape[1]))) ** 2).sum(-1)
        halved = 0.5 if fb.as_tensor(input).ndim == 1 else 1.0
        return {"loss": (w * apart).sum() * halved, "total": w.sum()}

    def formula(self, state: State) -> Tensor:
        return ratio(state["loss"], state["total"], float("nan"))


class CalibrationError(Metric):
    """How far the share of right predictions is from their confidence, over bins of equal width.

    With two classes the confidence is the probability of class 1, and right is class 1; with more it is the largest
    probability. norm "l1" is the expected error (ECE), "l2" its root mean square, "max" the largest.

    Source: Guo et al., On Calibration of Modern Neural Networks (2017).

    >>> fb.metrics.calibration_error(fb.tensor([0.9, 0.9, 0.1, 0.1]), fb.tensor([1, 1, 0, 0]))
    tensor(0.1000, dtype=flambeau.float64)
    """

    def __init__(self, bins: int = 15, norm: str = "l1") -> None:
        super().__init__()
        if bins < 1 or norm not in ("l1", "l2", "max"):
            raise ValueError(
                f"CalibrationError: takes 1 or more bins and norm 'l1', 'l2' or 'max', got {bins}, {norm!r}"
            )
        self.bins, self.norm = bins, norm

    def measure(self, input: Any, target: Any, weight: Any = None) -> State:
        p, y = probabilities("CalibrationError", input, target)
        w = weights(weight, p.shape[0], "CalibrationError")
        if fb.as_tensor(input).ndim == 1:
            confidence, right = p[:, 1], double(y)
        else:
            confidence, best = p.max(-1)
            right = double(best == y)
        place = (confidence * self.bins).floor().clamp(max=self.bins - 1).long()

        def by_bin(x: Tensor) -> Tensor:
            return fb.zeros(self.bins, dtype=fb.float64).index_add(0, place, w * x)

        return {"confidence": by_bin(confidence), "right": by_bin(right), "count": by_bin(fb.ones_like(right))}

    def formula(self, state: State) -> Tensor:
        share = ratio(state["count"], state["count"].sum())
        gap = ratio((state["right"] - state["confidence"]).abs(), state["count"])
        if self.norm == "max":
            return gap.max()
        return (gap * share).sum() if self.norm == "l1" else (gap**2 * share).sum().sqrt()


class Perplexity(Metric):
    """e to the mean of −log p(next token), from logits (…, V) and tokens (…); those that are ignore_index don't count.

    >>> fb.metrics.perplexity(fb.zeros(1, 3, 4), fb.tensor([[0, 1, 2]]))
    tensor(4., dtype=flambeau.float64)
    """

    def __init__(self, *, ignore_index: int | None = None) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def measure(self, input: Any, target: Any, weight: Any = None) -> State:
        logits, tokens = double(input), fb.as_tensor(target).detach()
        if logits.shape[:-1] != tokens.shape:
            raise ValueError(
                f"Perplexity: takes logits (…, V) and tokens (…), got {list(logits.shape)} and {list(tokens.shape)}"
            )
        tokens = tokens.reshape(-1)
        w = weights(weight, tokens.shape[0], "Perplexity")
        if self.ignore_index is not None:
            w = w * (tokens != self.ignore_index)
            tokens = fb.where(tokens != self.ignore_index, tokens, 0)
        rows = fb.log_softmax(logits.reshape(-1, logits.shape[-1]), -1)
        chosen = rows.gather(-1, in_range("Perplexity", tokens, logits.shape[-1]).unsqueeze(-1)).squeeze(-1)
        return {"loss": -fb.where(w > 0, w * chosen, 0.0).sum(), "total": w.sum()}

    def formula(self, state: State) -> Tensor:
        return ratio(state["loss"], state["total"], float("nan")).exp()


log_loss = functional(LogLoss, "log_loss")
brier_score = functional(BrierScore, "brier_score")
calibration_error = functional(CalibrationError, "calibration_error")
perplexity = functional(Perplexity, "perplexity")
