"""The elementwise part of the losses: what each gives with reduction='none' and before any weights.

The first operand is the prediction, the second the target. nn.functional adds weights and the reduction.
May import ir only. Read next: `pointwise_activations.py`; the row losses (cross entropy) are reductions, elsewhere.
"""

from __future__ import annotations

import math

from ..ir import expr as E
from ..ir.expr import Expr, exp, log, log1p, where
from .define import integers, pointwise, positive, uniform
from .pointwise_activations import F, logsigmoid
from .pointwise_arithmetic import abs, sgn
from .pointwise_transcendental import sigmoid, xlogy


def _mse_grad(g: Expr, out: Expr, x: Expr, target: Expr) -> tuple[Expr, Expr]:
    slope = g * (2 * (x - target))
    return slope, -slope


@pointwise(samples=uniform(-3, 3), like=F + "mse_loss", domain="float", grad=_mse_grad)
def mse_loss(x, target):
    """(x − target)²."""
    d = x - target
    return d * d


def _l1_grad(g: Expr, out: Expr, x: Expr, target: Expr) -> tuple[Expr, Expr]:
    slope = g * sgn(x - target)
    return slope, -slope


@pointwise(samples=uniform(-3, 3), like=F + "l1_loss", domain="number+complex", grad=_l1_grad)
def l1_loss(x, target):
    """|x − target|."""
    return abs(x - target)


def _smooth_l1_grad(g: Expr, out: Expr, x: Expr, target: Expr, beta: Expr) -> tuple[Expr, Expr]:
    d = x - target
    slope = g * where(d <= -beta, -1.0, where(d >= beta, 1.0, d / beta))
    return slope, -slope


@pointwise(samples=uniform(-3, 3), like=F + "smooth_l1_loss", domain="float", grad=_smooth_l1_grad)
def smooth_l1_loss(x, target, beta=1.0):
    """With d = |x − target|: d² / 2β below β, d − β/2 above."""
    d = abs(x - target)
    return where(d < beta, 0.5 * d * d / beta, d - 0.5 * beta)


def _huber_grad(g: Expr, out: Expr, x: Expr, target: Expr, delta: Expr) -> tuple[Expr, Expr]:
    d = x - target
    slope = g * where(d <= -delta, -delta, where(d >= delta, delta, d))
    return slope, -slope


@pointwise(samples=uniform(-3, 3), like=F + "huber_loss", domain="float", grad=_huber_grad)
def huber_loss(x, target, delta=1.0):
    """With d = |x − target|: d² / 2 up to δ, δ (d − δ/2) above."""
    d = abs(x - target)
    return where(d < delta, 0.5 * d * d, delta * (d - 0.5 * delta))


def _bce_grad(g: Expr, out: Expr, x: Expr, target: Expr) -> tuple[Expr, Expr]:
    to_x = g * (x - target) / E.maximum((1 - x) * x, 1e-12)
    return to_x, g * (E.maximum(log1p(-x), -100.0) - E.maximum(log(x), -100.0))


@pointwise(
    samples=(uniform(0.05, 0.95), uniform(0, 1)),
    like=F + "binary_cross_entropy",
    domain="float",
    grad=_bce_grad,
)
def binary_cross_entropy(x, target):
    """−(target log x + (1 − target) log(1 − x)), each logarithm at least −100."""
    return (target - 1) * E.maximum(log1p(-x), -100.0) - target * E.maximum(log(x), -100.0)


def _bce_with_logits_grad(g: Expr, out: Expr, x: Expr, target: Expr) -> tuple[Expr, Expr]:
    return g * (sigmoid(x) - target), -g * x


@pointwise(
    samples=(uniform(-3, 3), uniform(0, 1)),
    like=F + "binary_cross_entropy_with_logits",
    domain="float",
    grad=_bce_with_logits_grad,
)
def binary_cross_entropy_with_logits(x, target):
    """The binary cross-entropy of sigmoid(x), without overflow: (1 − target) x − logsigmoid(x)."""
    return (1 - target) * x - logsigmoid(x)


def _bce_pos_grad(g: Expr, out: Expr, x: Expr, target: Expr, pos_weight: Expr) -> tuple[Expr, Expr, Expr]:
    t = pos_weight * target
    log_s = logsigmoid(x)
    to_target = g * (log_s - x - pos_weight * log_s)
    return g * ((t + 1 - target) * sigmoid(x) - t), to_target, -g * (target * log_s)


@pointwise(
    samples=(uniform(-3, 3), uniform(0, 1), positive(3)),
    like=F + "binary_cross_entropy_with_logits",
    domain="float",
    grad=_bce_pos_grad,
)
def weighted_binary_cross_entropy_with_logits(x, target, pos_weight):
    """The same with the positive part weighted: (1 − target) x − (1 + (pos_weight − 1) target) logsigmoid(x).

    >>> fb.weighted_binary_cross_entropy_with_logits(fb.tensor([0.0]), fb.tensor([1.0]), fb.tensor([3.0]))
    tensor([2.0794])
    """
    return (1 - target) * x - ((pos_weight - 1) * target + 1) * logsigmoid(x)


def _kl_div_grad(g: Expr, out: Expr, x: Expr, target: Expr, log_target: bool) -> tuple[Expr, Expr]:
    if log_target:
        return -g * exp(target), g * (exp(target) * (target - x + 1))
    return -g * target, g * where(E.eq(target, 0), 0.0, log(target) - x + 1)


@pointwise(samples=(uniform(-3, 0), uniform(0.05, 1)), like=F + "kl_div", domain="float", grad=_kl_div_grad)
def kl_div(x, target, log_target=False):
    """target (log target − x), x being log-probabilities; with `log_target` so is the target."""
    return exp(target) * (target - x) if log_target else xlogy(target, target) - target * x


def _soft_margin_grad(g: Expr, out: Expr, x: Expr, target: Expr) -> tuple[Expr, Expr]:
    s = -g * sigmoid(-(target * x))
    return s * target, s * x


@pointwise(
    samples=(uniform(-3, 3), integers(-1, 1)), like=F + "soft_margin_loss", domain="float", grad=_soft_margin_grad
)
def soft_margin_loss(x, target):
    """log(1 + e^(−target x)), without overflow; targets are −1 or 1.

    >>> fb.soft_margin_loss(fb.tensor([0.0, 2.0]), fb.tensor([1.0, -1.0]))
    tensor([0.6931, 2.1269])
    """
    return -logsigmoid(target * x)


@pointwise(samples=(uniform(0.1, 3), uniform(0.1, 4)), like=F + "poisson_nll_loss", domain="float")
def poisson_nll_loss(x, target, eps=1e-8, log_input=True, full=False):
    """eˣ − target x, or x − target log(x + ε) when x is no logarithm; `full` adds Stirling's term where target > 1.

    >>> fb.poisson_nll_loss(fb.tensor([0.0, 1.0]), fb.tensor([1.0, 2.0]))
    tensor([1.0000, 0.7183])
    """
    loss = exp(x) - target * x if log_input else x - target * log(x + eps)
    if not full:
        return loss
    stirling = target * log(target) - target + 0.5 * log(2 * math.pi * target)
    return loss + where(target <= 1, 0.0, stirling)


def _gaussian_nll_grad(g: Expr, out: Expr, x: Expr, target: Expr, var: Expr, eps: Expr, full: bool) -> tuple:
    v = E.maximum(var, eps)
    d = (x - target) / v
    return g * d, -g * d, g * 0.5 * (1 / v - d * d)


@pointwise(
    samples=(uniform(-3, 3), uniform(-3, 3), positive(3)),
    like=F + "gaussian_nll_loss",
    domain="float",
    grad=_gaussian_nll_grad,
)
def gaussian_nll_loss(x, target, var, eps=1e-6, full=False):
    """½ (log v + (x − target)² / v) with v = max(var, ε); `full` adds ½ log 2π.

    As in PyTorch the gradient passes the bound on var unchanged.

    >>> x, t = fb.tensor([1.0, 3.0]), fb.tensor([1.0, 1.0])
    >>> fb.gaussian_nll_loss(x, t, fb.ones(2))
    tensor([0., 2.])
    """
    v = E.maximum(var, eps)
    d = x - target
    loss = 0.5 * (log(v) + d * d / v)
    return loss + 0.5 * math.log(2 * math.pi) if full else loss


@pointwise(samples=(uniform(-3, 3), integers(-1, 1)), like=F + "hinge_embedding_loss", domain="float")
def hinge_embedding_loss(x, target, margin=1.0):
    """x for target 1, max(0, margin − x) for target −1, the sum of both otherwise.

    >>> fb.hinge_embedding_loss(fb.tensor([0.5, 0.25]), fb.tensor([1.0, -1.0]))
    tensor([0.5000, 0.7500])
    """
    lack = margin - x
    return where(E.ne(target, 1), where(lack < 0, 0.0, lack), 0.0) + where(E.ne(target, -1), x, 0.0)


def _margin_ranking_grad(g: Expr, out: Expr, x: Expr, y: Expr, target: Expr, margin: Expr) -> tuple[Expr, Expr, Expr]:
    active = where(margin - target * (x - y) >= 0, g, 0.0)
    return -active * target, active * target, -active * (x - y)


@pointwise(
    samples=(uniform(-3, 3), uniform(-3, 3), integers(-1, 1)),
    like=F + "margin_ranking_loss",
    domain="float",
    grad=_margin_ranking_grad,
)
def margin_ranking_loss(x, y, target, margin=0.0):
    """max(0, margin − target (x − y)): target 1 asks for x above y, −1 for the opposite.

    >>> fb.margin_ranking_loss(fb.tensor([1.0, 1.0]), fb.tensor([3.0, 3.0]), fb.tensor([1.0, -1.0]), 0.5)
    tensor([2.5000, 0.0000])
    """
    return E.maximum(margin - target * (x - y), 0.0)
