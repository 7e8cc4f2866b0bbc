"""Metrics of predicted numbers: squared, absolute and relative errors, R², explained variance, correlations.

What is about variances keeps counts, means and sums of products about the means, joined by Chan's formula, so that
numbers far from 0 lose no digits. Imports `metric.py`. Read next: `text.py`.
"""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.metrics.metric import Metric, State, double, functional, ratio, same_shape, weights


class _Regression(Metric):
    """Predictions and targets (N,) or (N, outputs).

    Args:
        multioutput: over outputs: "uniform_average" is the mean, "raw_values" gives one value for each.
    """

    def __init__(self, *, multioutput: str = "uniform_average") -> None:
        super().__init__()
        choices = ("uniform_average", "raw_values", "variance_weighted")[: 3 if isinstance(self, _Variances) else 2]
        if multioutput not in choices:
            raise ValueError(f"{type(self).__name__}: multioutput is one of {choices}, got {multioutput!r}")
        self.multioutput = multioutput

    def columns(self, input: Any, target: Any, weight: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Predictions and targets as (N, outputs), and weights as (N, 1)."""
        name = type(self).__name__
        x, y = double(input), double(target)
        same_shape(name, x, y)
        if x.ndim not in (1, 2):
            raise ValueError(f"{name}: takes (N,) or (N, outputs), got {list(x.shape)}; use flatten")
        if x.ndim == 1:
            x, y = x.unsqueeze(-1), y.unsqueeze(-1)
        return x, y, weights(weight, x.shape[0], name).unsqueeze(-1)

    def over_outputs(self, each: Tensor) -> Tensor:
        return each if self.multioutput == "raw_values" else each.mean()


class _Error(_Regression):
    """The mean of an error of each prediction."""

    def error(self, x: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError

    def measure(self, input: Any, target: Any, weight: Any = None) -> State:
        x, y, w = self.columns(input, target, weight)
        return {"error": (w * self.error(x, y)).sum(0), "total": w.sum()}

    def formula(self, state: State) -> Tensor:
        return self.over_outputs(ratio(state["error"], state["total"], math.nan))


class MeanSquaredError(_Error):
    """The mean of (x − y)².

    >>> fb.metrics.mean_squared_error(fb.tensor([1.0, 2.0]), fb.tensor([1.0, 4.0]))
    tensor(2., dtype=flambeau.float64)
    """

    def error(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y) ** 2


class RootMeanSquaredError(MeanSquaredError):
    """The root of the mean of (x − y)², for each output.

    >>> fb.metrics.root_mean_squared_error(fb.tensor([0.0]), fb.tensor([2.0]))
    tensor(2., dtype=flambeau.float64)
    """

    def over_outputs(self, each: Tensor) -> Tensor:
        return super().over_outputs(each.sqrt())


class MeanAbsoluteError(_Error):
    """The mean of |x − y|.

    >>> fb.metrics.mean_absolute_error(fb.tensor([1.0, 2.0]), fb.tensor([1.0, 4.0]))
    tensor(1., dtype=flambeau.float64)
    """

    def error(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs()


class MeanAbsolutePercentageError(_Error):
    """The mean of |x − y| / |y|, with |y| at least float64's ε; 1 is 100 %.

    >>> fb.metrics.mean_absolute_percentage_error(fb.tensor([1.0, 3.0]), fb.tensor([2.0, 2.0]))
    tensor(0.5000, dtype=flambeau.float64)
    """

    def error(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs() / y.abs().clamp(min=fb.finfo(fb.float64).eps)


class _Variances(_Regression):
    """n, the means of prediction x, target y and residual y − x, and sums of products about them."""

    def measure(self, input: Any, target: Any, weight: Any = None) -> State:
        x, y, w = self.columns(input, target, weight)
        n = w.sum()
        values = fb.stack([x, y, y - x])
        means = ratio((w * values).sum(1), n)
        apart = values - means.unsqueeze(1)
        products = fb.stack([(w * apart[i] * apart[j]).sum(0) for i, j in ((0, 0), (1, 1), (2, 2), (0, 1))])
        return {"count": n, "samples": fb.tensor(x.shape[0]), "means": means, "products": products}

    def join(self, states: list[State]) -> State:
        whole = states[0]
        for other in states[1:]:
            n = whole["count"] + other["count"]
            gap = other["means"] - whole["means"]
            both = ratio(whole["count"] * other["count"], n)
            gaps = fb.stack([gap[0] ** 2, gap[1] ** 2, gap[2] ** 2, gap[0] * gap[1]])
            whole = {
                "count": n,
                "samples": whole["samples"] + other["samples"],
                "means": whole["means"] + gap * ratio(other["count"], n),
                "products": whole["products"] + other["products"] + both * gaps,
            }
        return whole

    def scored(self, error: Tensor, state: State) -> Tensor:
        """1 − error / variation of the targets; of a constant target 1 if it is met, else 0."""
        variation = state["products"][1]
        each = fb.where(variation == 0, double(error == 0), 1 - ratio(error, variation))
        if self.multioutput == "variance_weighted" and bool((variation > 0).any()):
            return ratio((each * variation).sum(), variation.sum())
        return self.over_outputs(each)


class R2Score(_Variances):
    """1 − Σ(y − x)² / Σ(y − ȳ)², the coefficient of determination; NaN for fewer than two samples.

    >>> fb.metrics.r2_score(fb.tensor([1.0, 2.0, 3.0]), fb.tensor([1.0, 2.0, 4.0]))
    tensor(0.7857, dtype=flambeau.float64)
    """

    def formula(self, state: State) -> Tensor:
        if int(state["samples"]) < 2:
            return fb.tensor(math.nan, dtype=fb.float64)
        return self.scored(state["products"][2] + state["count"] * state["means"][2] ** 2, state)


class ExplainedVariance(_Variances):
    """1 − Var(y − x) / Var(y): as R², but a constant error costs nothing.

    >>> fb.metrics.explained_variance(fb.tensor([2.0, 3.0, 4.0]), fb.tensor([1.0, 2.0, 3.0]))
    tensor(1., dtype=flambeau.float64)
    """

    def formula(self, state: State) -> Tensor:
        return self.scored(state["products"][2], state)


class PearsonCorrcoef(_Variances):
    """Cov(x, y) / (σ_x σ_y); NaN where either is constant.

    >>> fb.metrics.pearson_corrcoef(fb.tensor([1.0, 2.0, 3.0]), fb.tensor([2.0, 4.0, 6.0]))
    tensor(1.0000, dtype=flambeau.float64)
    """

    def formula(self, state: State) -> Tensor:
        xx, yy, _, xy = state["products"]
        return self.over_outputs(ratio(xy, xx.sqrt() * yy.sqrt(), math.nan).clamp(-1, 1))


def ranks(x: Tensor) -> Tensor:
    """The rank of each element of a vector, from 1; equal ones share the mean of theirs."""
    _, place, count = fb.unique(x, return_inverse=True, return_counts=True)
    last = count.cumsum(0)
    return (double(last) - (double(count) - 1) / 2)[place]


class SpearmanCorrcoef(Metric):
    """Pearson's correlation of the ranks of (N,) predictions and targets; equal values share a rank.

    >>> fb.metrics.spearman_corrcoef(fb.tensor([1.0, 2.0, 9.0]), fb.tensor([1.0, 4.0, 5.0]))
    tensor(1.0000, dtype=flambeau.float64)
    """

    kept = ("x", "y")

    def measure(self, input: Any, target: Any) -> State:  # type: ignore[override]
        x, y = double(input).reshape(-1), double(target).reshape(-1)
        same_shape("SpearmanCorrcoef", x, y)
        return {"x": x, "y": y}

    def formula(self, state: State) -> Tensor:
        pearson = PearsonCorrcoef()
        return pearson.formula(pearson.measure(ranks(state["x"]), ranks(state["y"])))


mean_squared_error = functional(MeanSquaredError, "mean_squared_error")
root_mean_squared_error = functional(RootMeanSquaredError, "root_mean_squared_error")
mean_absolute_error = functional(MeanAbsoluteError, "mean_absolute_error")
mean_absolute_percentage_error = functional(MeanAbsolutePercentageError, "mean_absolute_percentage_error")
r2_score = functional(R2Score, "r2_score")
explained_variance = functional(ExplainedVariance, "explained_variance")
pearson_corrcoef = functional(PearsonCorrcoef, "pearson_corrcoef")
spearman_corrcoef = functional(SpearmanCorrcoef, "spearman_corrcoef")
