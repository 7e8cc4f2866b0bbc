"""The updates of RMSprop, Adagrad, Adadelta, Adamax, NAdam and RAdam, each one pointwise op over all parameters.

A rule is made of what a group's settings choose; its operands are the parameter, the gradient and the state, its
outputs all of them but the gradient. `weight_decay` is its first number. Imports `optimizer.py`, core and ir. Read
next: `flambeau/optim/rmsprop.py`, which gives the rules their numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from ..core._core import Op, Tensor
from ..ir.expr import maximum, sqrt
from .optimizer import update_, update_op


def rule(
    name: str, state: tuple[str, ...], numbers: tuple[str, ...], maximize: bool, decay: bool, decoupled: bool,
    body: Callable[..., Any],
) -> Op:  # fmt: skip
    """An op of (p, g, *state) and numbers; `body(g, *state, *numbers)` gives what to take off p, and the new state."""

    def update(p, g, *rest):
        values, (weight_decay, keep, *own) = rest[: len(state)], rest[len(state) :]
        g = -g if maximize else g
        if decay and decoupled:
            p = p * keep
        elif decay:
            g = g + p * weight_decay
        change, *new = body(g, *values, *own)
        return p - change, *new

    return update_op(name, ("p", "g", *state), ("weight_decay", "keep", *numbers), 1 + len(state), update)


@functools.cache
def rmsprop(maximize: bool, decay: bool, momentum: bool, centered: bool) -> Op:
    """v, the mean ḡ where centered, the buffer b where there is momentum."""

    def body(g, v, *rest):
        *others, lr, alpha, share, eps, factor = rest
        v = v * alpha + g * g * share
        new, square = [v], v
        if centered:
            mean = others[0] * alpha + g * share
            new, square = [v, mean], v - mean * mean
        direction = g / (sqrt(square) + eps)
        if momentum:
            direction = others[-1] * factor + direction
            new.append(direction)
        return direction * lr, *new

    state = ("v", *("mean",) * centered, *("b",) * momentum)
    return rule("rmsprop", state, ("lr", "alpha", "share", "eps", "momentum"), maximize, decay, False, body)


@functools.cache
def adagrad(maximize: bool, decay: bool) -> Op:
    """The sum of squares."""

    def body(g, total, lr, eps):
        total = total + g * g
        return g / (sqrt(total) + eps) * lr, total

    return rule("adagrad", ("total",), ("lr", "eps"), maximize, decay, False, body)


@functools.cache
def adadelta(maximize: bool, decay: bool) -> Op:
    """v and u, the means of squared gradients and steps."""

    def body(g, v, u, lr, rho, share, eps):
        v = v * rho + g * g * share
        step = sqrt(u + eps) / sqrt(v + eps) * g
        return step * lr, v, u * rho + step * step * share

    return rule("adadelta", ("v", "u"), ("lr", "rho", "share", "eps"), maximize, decay, False, body)


@functools.cache
def adamax(maximize: bool, decay: bool) -> Op:
    """m and u."""

    def body(g, m, u, lr, beta1, share1, beta2, eps):
        m = m * beta1 + g * share1
        u = maximum(u * beta2, abs(g) + eps)
        return m / u * lr, m, u

    return rule("adamax", ("m", "u"), ("lr", "beta1", "share1", "beta2", "eps"), maximize, decay, False, body)


@functools.cache
def nadam(maximize: bool, decay: bool, decoupled: bool) -> Op:
    """m and v; `of_g` and `of_m` are the rates of the gradient and of its mean."""

    def body(g, m, v, beta1, share1, beta2, share2, correction, eps, of_g, of_m):
        m = m * beta1 + g * share1
        v = v * beta2 + g * g * share2
        denominator = sqrt(v / correction) + eps
        return g / denominator * of_g + m / denominator * of_m, m, v

    numbers = ("beta1", "share1", "beta2", "share2", "correction", "eps", "of_g", "of_m")
    return rule("nadam", ("m", "v"), numbers, maximize, decay, decoupled, body)


@functools.cache
def radam(maximize: bool, decay: bool, decoupled: bool, rectified: bool) -> Op:
    """m and v."""

    def body(g, m, v, beta1, share1, beta2, share2, eps, lr):
        m = m * beta1 + g * share1
        v = v * beta2 + g * g * share2
        return m * lr / (sqrt(v) + eps) if rectified else m * lr, m, v

    numbers = ("beta1", "share1", "beta2", "share2", "eps", "lr")
    return rule("radam", ("m", "v"), numbers, maximize, decay, decoupled, body)


def update_by_rules(rows: Iterable[tuple[Op, tuple, tuple[Tensor, ...]]]) -> None:
    """For each (rule, numbers, (p, g, *state)) the update; in one pass where rule and numbers are the same."""
    batches: dict[tuple[Op, tuple], list[tuple[Tensor, ...]]] = {}
    for op, numbers, tensors in rows:
        batches.setdefault((op, numbers), []).append(tensors)
    for (op, numbers), chosen in batches.items():
        p, g, *state = zip(*chosen, strict=True)
        update_(op, (p, *state), (p, g, *state), numbers)
