"""Optimizer updates over all parameters of a group at once: SGD with momentum, and Adam with its variants.

An update is one pointwise op with several outputs: a parameter, its gradient and its state are read and written once.
Imports core, ir and neighbours in ops. Read next: `flambeau/optim/sgd.py` and `adam.py`, which gather the lists.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from ..core import _core
from ..core._core import Op, Tensor
from ..ir.expr import maximum, minimum, sqrt
from .define import PointwiseDef, uniform


def update_op(
    name: str, operands: tuple[str, ...], numbers: tuple[str, ...], outputs: int, body: Callable[..., Any]
) -> Op:
    """A pointwise op of floating operands and numbers with several outputs, outside the public table."""
    definition = PointwiseDef(
        name=name, body=body, operands=operands, attributes=dict.fromkeys(numbers, 0.0),
        samples=(uniform(-1, 1),) * len(operands),
        like="", doc="", inplace=False, method=False, aliases=(), domain="float", promote="default", grad=None,
    )  # fmt: skip
    return Op(name, len(operands), (*operands, *numbers), outputs, definition)


def update_(op: Op, outputs: Sequence[Sequence[Tensor]], operands: Sequence[Sequence[Tensor]], numbers: tuple) -> None:
    """op over lists of tensors, written over `outputs`: in one pass off the tape, or one by one where it records."""
    if not _core.is_grad_enabled():
        _core.update_many(op, outputs, operands, numbers)
        return
    for targets, xs in zip(zip(*outputs, strict=True), zip(*operands, strict=True), strict=True):
        new = op(*(x.clone() for x in xs), *numbers)  # what backward needs mustn't be written over
        for target, value in zip(targets, new if isinstance(new, tuple) else (new,), strict=True):
            target.copy_(value)


@functools.cache
def sgd_op(maximize: bool, decay: bool, momentum: bool, first: bool, nesterov: bool) -> Op:
    """p, and b where there is momentum."""

    def body(p, g, *rest):
        b = rest[0] if momentum else None
        lr, weight_decay, factor, share = rest[1:] if momentum else rest
        g = -g if maximize else g
        g = g + p * weight_decay if decay else g
        if b is None:
            return p - g * lr
        b = g if first else b * factor + g * share
        return p - (g + b * factor if nesterov else b) * lr, b

    operands = ("p", "g", "b") if momentum else ("p", "g")
    return update_op("sgd", operands, ("lr", "weight_decay", "momentum", "share"), 2 if momentum else 1, body)


def sgd_(
    params: Sequence[Tensor], grads: Sequence[Tensor], momentum_buffers: Sequence[Tensor], *, lr: float,
    weight_decay: float,
    momentum: float, dampening: float, nesterov: bool, maximize: bool, first: bool,
) -> None:  # fmt: skip
    """g = ±grad + weight_decay p;  b = momentum b + (1 - dampening) g;  p -= lr (g + momentum b if nesterov, else b).

    Args:
        momentum_buffers: one for each parameter, or empty where momentum is 0, and then p -= lr g.
        first: this is the buffers' first update, b = g, whatever they hold.
    """
    op = sgd_op(maximize, weight_decay != 0, momentum != 0, first, nesterov)
    numbers = (float(lr), float(weight_decay), float(momentum), 1.0 - dampening)
    if momentum:
        update_(op, (params, momentum_buffers), (params, grads, momentum_buffers), numbers)
    else:
        update_(op, (params,), (params, grads), numbers)


@functools.cache
def adam_op(maximize: bool, decay: bool, decoupled: bool, amsgrad: bool) -> Op:
    """p, m, v, and the running maximum of v where amsgrad."""

    def body(p, g, m, v, *rest):
        u = rest[0] if amsgrad else None
        beta1, share1, beta2, share2, weight_decay, keep, step_size, root, eps = rest[1:] if amsgrad else rest
        g = -g if maximize else g
        if decay and decoupled:
            p = p * keep
        elif decay:
            g = g + p * weight_decay
        m = m * beta1 + g * share1
        v = v * beta2 + g * g * share2
        top = v if u is None else maximum(u, v)
        p = p - m / (sqrt(top) * root + eps) * step_size
        return (p, m, v) if u is None else (p, m, v, top)

    operands = ("p", "g", "m", "v", "u") if amsgrad else ("p", "g", "m", "v")
    numbers = ("beta1", "share1", "beta2", "share2", "weight_decay", "keep", "step_size", "root", "eps")
    return update_op("adam", operands, numbers, len(operands) - 1, body)


def adam_(
    params: Sequence[Tensor], grads: Sequence[Tensor], exp_avgs: Sequence[Tensor], exp_avg_sqs: Sequence[Tensor],
    max_exp_avg_sqs: Sequence[Tensor], steps: Sequence[Tensor], *, lr: float, beta1: float, beta2: float, eps: float,
    weight_decay: float, decoupled: bool, amsgrad: bool, maximize: bool,
) -> None:  # fmt: skip
    """One step of Adam (Kingma and Ba, 2014); with `decoupled` weight decay, of AdamW (Loshchilov and Hutter, 2017).

    t += 1;  g = ±grad + weight_decay p, or p *= 1 - lr weight_decay where decoupled;
    m = β₁ m + (1 - β₁) g;  v = β₂ v + (1 - β₂) g²;  u = max(u, v) where amsgrad, else v;
    p -= lr / (1 - β₁ᵗ) m / (√u / √(1 - β₂ᵗ) + eps).

    Args:
        max_exp_avg_sqs: u, one for each parameter, or empty where not amsgrad.
        steps: t, one 0-d float32 tensor for each parameter; counted up here.
    """
    op = adam_op(maximize, weight_decay != 0, decoupled, amsgrad)
    by_step: dict[float, list[int]] = {}
    for i, step in enumerate(_core.count_up(steps)):
        by_step.setdefault(step, []).append(i)
    state = (exp_avgs, exp_avg_sqs, max_exp_avg_sqs) if amsgrad else (exp_avgs, exp_avg_sqs)
    for step, chosen in by_step.items():
        lists = [params, grads, *state]
        if len(chosen) != len(params):
            lists = [[seq[i] for i in chosen] for seq in lists]
        p, g, *moments = lists
        numbers = (
            float(beta1), 1.0 - beta1, float(beta2), 1.0 - beta2, float(weight_decay), 1.0 - lr * weight_decay,
            lr / (1.0 - beta1**step), 1.0 / math.sqrt(1.0 - beta2**step), float(eps),
        )  # fmt: skip
        update_(op, (p, *moments), (p, g, *moments), numbers)


@functools.cache
def scale_op() -> Op:
    return update_op("scale", ("x",), ("factor",), 1, lambda x, factor: x * factor)


def scale_many_(tensors: Sequence[Tensor], factor: float) -> None:
    """x *= factor, for all tensors in one pass."""
    _core.update_many(scale_op(), (tensors,), (tensors,), (float(factor),))


@functools.cache
def clamp_op() -> Op:
    return update_op("clamp", ("x",), ("low", "high"), 1, lambda x, low, high: minimum(maximum(x, low), high))


def clamp_many_(tensors: Sequence[Tensor], limit: float) -> None:
    """x = min(max(x, -limit), limit), for all tensors in one pass."""
    _core.update_many(clamp_op(), (tensors,), (tensors,), (-limit, float(limit)))
