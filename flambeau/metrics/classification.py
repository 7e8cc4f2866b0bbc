"""Metrics of class predictions, all from counts: accuracy, precision, recall, F-scores, IoU, confusion matrix.

Predictions are classes, or scores of which the largest (or those above a threshold) count. For each class there are
true positives, false positives and false negatives; the metrics are ratios of them. Imports `metric.py`.
Read next: `ranking.py`, where scores themselves matter.
"""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.metrics.metric import Metric, State, double, functional, ratio, same_shape, weights

AVERAGES = ("micro", "macro", "weighted", None)


class _Counted(Metric):
    """Counts by class: tp, predicted (tp + fp), actual (tp + fn), and how many samples there were.

    Args:
        num_classes: how many classes, or with `multilabel` labels; None for two classes, of which 1 is positive.
        average: over classes: "micro" counts all of them together, "macro" is the mean over those that occur,
            "weighted" weighs them by how often they occur in the targets, None gives one value for each.
        threshold: scores above it are positive, for two classes and labels.
        top_k: how many of the largest scores count as predicted.
        zero_division: the value where there is nothing to divide by.
    """

    def __init__(
        self, num_classes: int | None = None, *, average: str | None = "macro", threshold: float = 0.5,
        top_k: int = 1, multilabel: bool = False, ignore_index: int | None = None, zero_division: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        name = type(self).__name__
        if average not in AVERAGES:
            raise ValueError(f"{name}: average is one of {AVERAGES}, got {average!r}")
        if num_classes is None and (multilabel or top_k > 1):
            raise ValueError(f"{name}: multilabel and top_k need num_classes")
        if top_k < 1 or (num_classes is not None and top_k > num_classes):
            raise ValueError(f"{name}: top_k is from 1 to num_classes, got {top_k} of {num_classes}")
        self.num_classes, self.average, self.threshold, self.top_k = num_classes, average, threshold, top_k
        self.multilabel, self.ignore_index, self.zero_division = multilabel, ignore_index, zero_division

    def measure(self, input: Any, target: Any, weight: Any = None) -> State:
        predicted, actual, w = self.indicators(fb.as_tensor(input).detach(), fb.as_tensor(target).detach(), weight)
        each = w.unsqueeze(-1)
        right = (predicted == actual).all(-1)
        return {
            "tp": (each * predicted * actual).sum(0),
            "predicted": (each * predicted).sum(0),
            "actual": (each * actual).sum(0),
            "exact": (w * right).sum(),
            "total": w.sum(),
        }

    def indicators(self, input: Tensor, target: Tensor, weight: Any) -> tuple[Tensor, Tensor, Tensor]:
        """For each sample and class whether it is predicted and whether it is so, as (N, C), and samples' weights."""
        name = type(self).__name__
        if self.multilabel or self.num_classes is None:
            same_shape(name, input, target)
            width = self.num_classes or 1
            if self.multilabel and (input.ndim != 2 or input.shape[1] != width):
                raise ValueError(f"{name}: takes (N, {width}) labels or scores, got {list(input.shape)}")
            truth = in_range(name, target, 2).reshape(-1, width)
            found = input > self.threshold if input.is_floating_point() else in_range(name, input, 2)
            return double(found.reshape(-1, width)), double(truth), weights(weight, truth.shape[0], name)
        classes, flat = self.num_classes, target.reshape(-1)
        keep = None
        if self.ignore_index is not None:
            keep = flat != self.ignore_index
            flat = fb.where(keep, flat, 0)
        flat = in_range(name, flat, classes)
        if input.ndim == target.ndim + 1:
            scores = input.movedim(1, -1).reshape(-1, input.shape[1])
            if scores.shape[1] != classes or scores.shape[0] != flat.shape[0]:
                raise ValueError(
                    f"{name}: scores must be {[*target.shape[:1], classes, *target.shape[1:]]} for targets "
                    f"{list(target.shape)} and {classes} classes, got {list(input.shape)}"
                )
            found = self.chosen(scores, flat)
        else:
            same_shape(name, input, target)
            if self.top_k > 1:
                raise ValueError(f"{name}: top_k needs scores of shape (N, {classes}), got {list(input.shape)}")
            found = in_range(name, input.reshape(-1), classes)
        w = weights(weight, flat.shape[0], name)
        w = w if keep is None else w * keep
        one_hot = fb.nn.functional.one_hot
        return double(one_hot(found, classes)), double(one_hot(flat, classes)), w

    def chosen(self, scores: Tensor, target: Tensor) -> Tensor:
        """The class of the largest score; with top_k the target itself where it is among the k largest.

        Of equal scores the largest class goes first among the k, as in scikit-learn.
        """
        best = scores.argmax(-1)
        if self.top_k == 1:
            return best
        own = scores.gather(-1, target.unsqueeze(-1))
        later = fb.arange(scores.shape[-1]) > target.unsqueeze(-1)
        before = ((scores > own) | ((scores == own) & later)).sum(-1)
        return fb.where(before < self.top_k, target, fb.where(best == target, another(target, scores.shape[-1]), best))

    def averaged(self, numerator: Tensor, denominator: Tensor, state: State) -> Tensor:
        """A ratio of counts by class, averaged."""
        if self.num_classes is None:
            return ratio(numerator, denominator, self.zero_division)[0]
        if self.average == "micro":
            return ratio(numerator.sum(), denominator.sum(), self.zero_division)
        each = ratio(numerator, denominator, self.zero_division)
        if self.average is None:
            return each
        actual = state["actual"]
        if self.average == "weighted":
            return ratio((each * actual).sum(), actual.sum(), self.zero_division)
        occurs = double((actual + state["predicted"] > 0) | self.multilabel)
        return ratio((each * occurs).sum(), occurs.sum(), self.zero_division)


def another(target: Tensor, classes: int) -> Tensor:
    """A class that isn't the target."""
    return (target + 1) % classes


def in_range(name: str, classes: Tensor, count: int) -> Tensor:
    """Classes as int64. Raises ValueError for those that aren't 0 … count - 1."""
    found = classes.long()
    if found.numel() and bool(((found < 0) | (found >= count) | (found != classes)).any()):
        raise ValueError(
            f"{name}: classes must be whole numbers from 0 to {count - 1}, got {classes.min().item()} to "
            f"{classes.max().item()}; set num_classes, or ignore_index for padding"
        )
    return found


class Accuracy(_Counted):
    """How much is predicted right.

    "micro" is the share of samples (of labels, with `multilabel`), "macro" the mean over classes of the share that is
    found (balanced accuracy), "subset" the share of samples whose labels are all right.

    >>> fb.metrics.Accuracy(num_classes=3, top_k=2).update(fb.tensor([[0.5, 0.3, 0.2]]), fb.tensor([1])).compute()
    tensor(1., dtype=flambeau.float64)
    """

    def __init__(self, num_classes: int | None = None, *, average: str | None = "micro", **settings: Any) -> None:
        super().__init__(num_classes, average="micro" if average == "subset" else average, **settings)
        self.average = average

    def formula(self, state: State) -> Tensor:
        tp, actual, total = state["tp"], state["actual"], state["total"]
        if self.average == "subset" or (self.average == "micro" and not self.multilabel):
            return ratio(state["exact"], total, self.zero_division)
        if self.multilabel:  # of one label right are those found, and those rightly left out
            right = tp + total - actual - state["predicted"] + tp
            every = {**state, "predicted": state["predicted"] * 0 + 1}
            return self.averaged(right, total.expand(right.shape), every)
        if self.num_classes is None:  # both classes: 1, and 0 as what is left
            right = total - actual - state["predicted"] + tp
            found = fb.cat([ratio(right, total - actual), ratio(tp, actual)])
            there = double(fb.cat([total - actual, actual]) > 0)
            return found if self.average is None else ratio((found * there).sum(), there.sum(), self.zero_division)
        if self.average == "macro":
            there = double(actual > 0)
            return ratio((ratio(tp, actual) * there).sum(), there.sum(), self.zero_division)
        return self.averaged(tp, actual, state)


class Precision(_Counted):
    """Of what is predicted, the share that is so: tp / (tp + fp).

    >>> fb.metrics.precision(fb.tensor([1, 1, 0]), fb.tensor([1, 0, 0]))
    tensor(0.5000, dtype=flambeau.float64)
    """

    def formula(self, state: State) -> Tensor:
        return self.averaged(state["tp"], state["predicted"], state)


class Recall(_Counted):
    """Of what is so, the share that is predicted: tp / (tp + fn).

    >>> fb.metrics.recall(fb.tensor([1, 1, 0]), fb.tensor([1, 0, 0]))
    tensor(1., dtype=flambeau.float64)
    """

    def formula(self, state: State) -> Tensor:
        return self.averaged(state["tp"], state["actual"], state)


class FBeta(_Counted):
    """(1 + β²) tp / ((1 + β²) tp + β² fn + fp): the weighted harmonic mean of precision and recall.

    >>> fb.metrics.fbeta(fb.tensor([1, 1, 0]), fb.tensor([1, 0, 0]), beta=2.0)
    tensor(0.8333, dtype=flambeau.float64)
    """

    def __init__(self, num_classes: int | None = None, *, beta: float = 1.0, **settings: Any) -> None:
        super().__init__(num_classes, **settings)
        self.beta = beta

    def formula(self, state: State) -> Tensor:
        squared = self.beta**2
        return self.averaged((1 + squared) * state["tp"], squared * state["actual"] + state["predicted"], state)


class F1(FBeta):
    """The harmonic mean of precision and recall.

    >>> fb.metrics.f1(fb.tensor([1, 1, 0]), fb.tensor([1, 0, 0]))
    tensor(0.6667, dtype=flambeau.float64)
    """


class IoU(_Counted):
    """Intersection over union, tp / (tp + fp + fn), of label maps of any shape; "macro" is the mIoU of segmentation.

    >>> fb.metrics.iou(fb.tensor([[0, 1], [1, 1]]), fb.tensor([[0, 1], [0, 1]]), num_classes=2)
    tensor(0.5833, dtype=flambeau.float64)
    """

    def formula(self, state: State) -> Tensor:
        return self.averaged(state["tp"], state["actual"] + state["predicted"] - state["tp"], state)


class ConfusionMatrix(Metric):
    """Row i, column j: how many samples of class i are predicted as j; with `multilabel` a 2 × 2 matrix for each label.

    Args:
        normalize: "true" divides by rows, "pred" by columns, "all" by the total; empty ones stay 0.

    >>> fb.metrics.confusion_matrix(fb.tensor([0, 1, 1]), fb.tensor([0, 0, 1]), num_classes=2)
    tensor([[1., 1.],
            [0., 1.]], dtype=flambeau.float64)
    """

    def __init__(
        self, num_classes: int, *, normalize: str | None = None, threshold: float = 0.5, multilabel: bool = False,
        ignore_index: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if normalize not in (None, "true", "pred", "all"):
            raise ValueError(f"ConfusionMatrix: normalize is None, 'true', 'pred' or 'all', got {normalize!r}")
        self.num_classes, self.normalize, self.multilabel = num_classes, normalize, multilabel
        self._counted = _Counted(num_classes, threshold=threshold, multilabel=multilabel, ignore_index=ignore_index)

    def measure(self, input: Any, target: Any, weight: Any = None) -> State:
        indicators = self._counted.indicators(fb.as_tensor(input).detach(), fb.as_tensor(target).detach(), weight)
        predicted, actual, w = indicators
        each = w.unsqueeze(-1)
        if not self.multilabel:
            return {"matrix": (actual * each).mT @ predicted}
        cells = [
            (each * (actual if i else 1 - actual) * (predicted if j else 1 - predicted)).sum(0)
            for i in (0, 1)
            for j in (0, 1)
        ]
        return {"matrix": fb.stack(cells, -1).reshape(-1, 2, 2)}

    def formula(self, state: State) -> Tensor:
        matrix = state["matrix"]
        if self.normalize is None:
            return matrix
        over = {"true": (-1,), "pred": (-2,), "all": (-2, -1)}[self.normalize]
        return ratio(matrix, matrix.sum(over, keepdim=True))


class MatthewsCorrcoef(ConfusionMatrix):
    """The correlation of predicted and actual classes, from −1 to 1; 0 where either is constant.

    >>> fb.metrics.matthews_corrcoef(fb.tensor([1, 1, 0]), fb.tensor([1, 0, 0]), num_classes=2)
    tensor(0.5000, dtype=flambeau.float64)
    """

    def formula(self, state: State) -> Tensor:
        matrix = state["matrix"]
        actual, predicted, total = matrix.sum(1), matrix.sum(0), matrix.sum()
        covariance = matrix.diagonal().sum() * total - (actual * predicted).sum()
        spread = (total**2 - (actual**2).sum()) * (total**2 - (predicted**2).sum())
        return ratio(covariance, spread.clamp(min=0).sqrt())


accuracy = functional(Accuracy, "accuracy")
precision = functional(Precision, "precision")
recall = functional(Recall, "recall")
fbeta = functional(FBeta, "fbeta")
f1 = functional(F1, "f1")
iou = functional(IoU, "iou")
confusion_matrix = functional(ConfusionMatrix, "confusion_matrix")
matthews_corrcoef = functional(MatthewsCorrcoef, "matthews_corrcoef")
