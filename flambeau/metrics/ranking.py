"""Metrics of how scores order samples: ROC and precision-recall curves and the areas under them.

Scores, targets and weights are kept, since a curve needs all of them. Imports `metric.py`.
Read next: `probabilistic.py`.
"""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.metrics.classification import in_range
from flambeau.metrics.metric import Metric, State, double, functional, ratio, same_shape, weights


def cumulated(score: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """False and true positives at each distinct score, from the highest down, and the scores."""
    order = score.argsort(descending=True, stable=True)
    score, hit, weight = score[order], target[order], weight[order]
    last = fb.cat([score[1:] != score[:-1], fb.ones(1, dtype=fb.bool)]).nonzero().reshape(-1)
    return (weight * (1 - hit)).cumsum(0)[last], (weight * hit).cumsum(0)[last], score[last]


class _Scored(Metric):
    """Scores of two classes (N,), of C classes (N, C) with targets (N,), or of labels (N, C) with targets (N, C)."""

    kept = ("scores", "targets", "weights")

    def measure(self, input: Any, target: Any, weight: Any = None) -> State:
        name = type(self).__name__
        scores, classes = double(input), fb.as_tensor(target).detach()
        if scores.ndim not in (1, 2):
            raise ValueError(f"{name}: scores are (N,) or (N, C), got {list(scores.shape)}; use flatten")
        if bool(scores.isnan().any()):
            raise ValueError(f"{name}: scores must not be NaN")
        if scores.ndim == 2 and classes.ndim == 1:
            if classes.shape[0] != scores.shape[0]:
                raise ValueError(f"{name}: got {scores.shape[0]} rows of scores for {classes.shape[0]} targets")
            truth = fb.nn.functional.one_hot(in_range(name, classes, scores.shape[1]), scores.shape[1])
        else:
            same_shape(name, scores, classes)
            truth = in_range(name, classes, 2)
        return {"scores": scores, "targets": double(truth), "weights": weights(weight, scores.shape[0], name)}

    def curve(self, score: Tensor, target: Tensor, weight: Tensor) -> Any:
        """What is computed of one class against the rest."""
        raise NotImplementedError

    def curves(self, state: State) -> Any:
        score, target, weight = state["scores"], state["targets"], state["weights"]
        used = (weight != 0).nonzero().reshape(-1)  # thresholds of samples that don't count aren't on the curve
        score, target, weight = score[used], target[used], weight[used]
        if score.ndim == 1:
            return self.curve(score, target, weight)
        return [self.curve(s, t, weight) for s, t in zip(score.unbind(1), target.unbind(1), strict=True)]


class ROC(_Scored):
    """(false positive rates, true positive rates, thresholds), from the strictest threshold to the loosest.

    A list of them, one for each class against the others, where scores have two dimensions.
    `drop_intermediate` leaves out points on straight lines between others.

    >>> fb.metrics.roc_curve(fb.tensor([0.1, 0.4, 0.8]), fb.tensor([0, 1, 1]))[1]
    tensor([0.0000, 0.5000, 1.0000, 1.0000], dtype=flambeau.float64)
    """

    def __init__(self, *, drop_intermediate: bool = False) -> None:
        super().__init__()
        self.drop_intermediate = drop_intermediate

    def curve(self, score: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fp, tp, at = cumulated(score, target, weight)
        if self.drop_intermediate and fp.numel() > 2:
            ends = fb.ones(1, dtype=fb.bool)
            bends = (fp.diff(2) != 0) | (tp.diff(2) != 0)
            chosen = fb.cat([ends, bends, ends])
            fp, tp, at = fp[chosen], tp[chosen], at[chosen]
        none = fb.zeros(1, dtype=fb.float64)
        fp, tp, at = fb.cat([none, fp]), fb.cat([none, tp]), fb.cat([none + math.inf, at])
        return ratio(fp, fp[-1], math.nan), ratio(tp, tp[-1], math.nan), at

    def formula(self, state: State) -> Any:
        return self.curves(state)


class _Area(_Scored):
    """An area for each class, averaged."""

    def __init__(self, *, average: str | None = "macro") -> None:
        super().__init__()
        if average not in ("micro", "macro", "weighted", None):
            raise ValueError(f"{type(self).__name__}: average is 'micro', 'macro', 'weighted' or None, got {average!r}")
        self.average = average

    def formula(self, state: State) -> Tensor:
        if state["scores"].ndim == 2 and self.average == "micro":
            width = state["scores"].shape[1]
            flat = {name: state[name].reshape(-1) for name in ("scores", "targets")}
            return self.curves({**flat, "weights": state["weights"].repeat_interleave(width)})
        found = self.curves(state)
        if state["scores"].ndim == 1:
            return found
        each = fb.stack(found)
        if self.average is None:
            return each
        if self.average == "macro":
            return each.mean()
        share = (state["targets"] * state["weights"].unsqueeze(-1)).sum(0)
        return ratio((each * share).sum(), share.sum())


class AUROC(_Area):
    """The area under the ROC curve: the probability that a positive sample scores above a negative one.

    NaN where a class has no positive or no negative samples.

    >>> fb.metrics.auroc(fb.tensor([0.1, 0.4, 0.35, 0.8]), fb.tensor([0, 0, 1, 1]))
    tensor(0.7500, dtype=flambeau.float64)
    """

    def curve(self, score: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        x, y, _ = ROC().curve(score, target, weight)
        return fb.trapezoid(y, x)


class PrecisionRecallCurve(_Scored):
    """(precisions, recalls, thresholds) by rising thresholds, with (1, 0) at the end, which has no threshold.

    >>> fb.metrics.precision_recall_curve(fb.tensor([0.1, 0.4, 0.8]), fb.tensor([0, 1, 1]))[0]
    tensor([0.6667, 1.0000, 1.0000, 1.0000], dtype=flambeau.float64)
    """

    def curve(self, score: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fp, tp, at = cumulated(score, target, weight)
        precision = ratio(tp, tp + fp)
        recall = ratio(tp, tp[-1], 1.0)  # with no positives at all nothing is missed
        one = fb.ones(1, dtype=fb.float64)
        return fb.cat([precision.flip(0), one]), fb.cat([recall.flip(0), one - 1]), at.flip(0)

    def formula(self, state: State) -> Any:
        return self.curves(state)


class AveragePrecision(_Area):
    """Σ (R_n − R_{n−1}) P_n over thresholds: the area under the precision-recall curve, not interpolated.

    >>> fb.metrics.average_precision(fb.tensor([0.1, 0.4, 0.35, 0.8]), fb.tensor([0, 0, 1, 1]))
    tensor(0.8333, dtype=flambeau.float64)
    """

    def curve(self, score: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        if not bool((target > 0).any()):
            return fb.zeros((), dtype=fb.float64)
        precision, recall, _ = PrecisionRecallCurve().curve(score, target, weight)
        return -(recall.diff() * precision[:-1]).sum()


class AUC(Metric):
    """The area under a curve given by its points x, y, by trapezoids; x rises or falls.

    >>> fb.metrics.auc(fb.tensor([0.0, 1.0]), fb.tensor([0.0, 1.0]))
    tensor(0.5000, dtype=flambeau.float64)
    """

    kept = ("x", "y")

    def measure(self, x: Any, y: Any) -> State:  # type: ignore[override]
        x, y = double(x), double(y)
        same_shape("AUC", x, y)
        return {"x": x, "y": y}

    def formula(self, state: State) -> Tensor:
        steps = state["x"].diff()
        if bool((steps < 0).any()) and bool((steps > 0).any()):
            raise ValueError("AUC: x must rise or fall throughout; sort the points by x first")
        return fb.trapezoid(state["y"], state["x"]).abs()


roc_curve = functional(ROC, "roc_curve")
auroc = functional(AUROC, "auroc")
precision_recall_curve = functional(PrecisionRecallCurve, "precision_recall_curve")
average_precision = functional(AveragePrecision, "average_precision")
auc = functional(AUC, "auc")
