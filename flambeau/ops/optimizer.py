"""Optimizer updates over all parameters of a group at once: SGD with momentum, and Adam with its variants.

Each takes lists of tensors of one length and changes parameters and state in place, off the tape. Imports the tensor
core. Read next: `flambeau/optim/sgd.py` and `adam.py`, which gather the lists.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import flambeau as fb
from flambeau import Tensor


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
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        if maximize:
            g = -g
        if weight_decay:
            g = g + p * weight_decay
        if momentum:
            b = momentum_buffers[i]
            b.copy_(g) if first else b.mul_(momentum).add_(g * (1 - dampening))
            g = g + b * momentum if nesterov else b
        p.sub_(g * lr)


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
    for i, (p, g, m, v, t) in enumerate(zip(params, grads, exp_avgs, exp_avg_sqs, steps, strict=True)):
        t.add_(1)
        step = t.item()
        if maximize:
            g = -g
        if weight_decay:
            if decoupled:
                p.mul_(1 - lr * weight_decay)
            else:
                g = g + p * weight_decay
        m.mul_(beta1).add_(g * (1 - beta1))
        v.mul_(beta2).add_(g * g * (1 - beta2))
        if amsgrad:
            v = max_exp_avg_sqs[i].copy_(fb.maximum(max_exp_avg_sqs[i], v))
        p.sub_(m / (v.sqrt() / math.sqrt(1 - beta2**step) + eps) * (lr / (1 - beta1**step)))
