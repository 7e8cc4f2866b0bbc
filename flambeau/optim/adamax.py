"""Adamax, NAdam and RAdam: variants of Adam.

Imports `optimizer.py`. Read next: `rprop.py`.
"""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.optim.optimizer import Optimizer, Params, check_settings, decayed, new_step


class Adamax(Optimizer):
    """m = β₁ m + (1 - β₁) g;  u = max(β₂ u, |g| + eps);  p -= lr / (1 - β₁ᵗ) m / u. Kingma and Ba, 2014.

    >>> w = fb.nn.Parameter(fb.tensor([5.0]))
    >>> opt = fb.optim.Adamax([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> opt.step()
    >>> w.data
    tensor([4.9000])
    """

    def __init__(
        self, params: Params, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False, differentiable: bool = False,
        capturable: bool = False,
    ) -> None:  # fmt: skip
        check_settings(differentiable, lr=lr, eps=eps, betas=betas, weight_decay=weight_decay)
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        beta1, beta2 = group["betas"]
        for p, g in zip(params, grads, strict=True):
            g = decayed(p, g, group["weight_decay"], group["maximize"])
            state = self.state[p]
            if not state:
                state.update(step=new_step(), exp_avg=fb.zeros_like(p), exp_inf=fb.zeros_like(p))
            step = state["step"].add_(1).item()
            m = state["exp_avg"].mul_(beta1).add_(g * (1 - beta1))
            u = state["exp_inf"]
            u.copy_(fb.maximum(u * beta2, g.abs() + group["eps"]))
            p.sub_(m / u * (float(group["lr"]) / (1 - beta1**step)))


class NAdam(Optimizer):
    """Adam with Nesterov momentum whose coefficient μ_t = β₁ (1 - ½ 0.96^(t ψ)) rises; ψ = `momentum_decay`. Dozat,
    2016.

    >>> w = fb.nn.Parameter(fb.tensor([5.0]))
    >>> opt = fb.optim.NAdam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> opt.step()
    >>> w.data
    tensor([4.8944])
    """

    def __init__(
        self, params: Params, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *,
        foreach: bool | None = None, maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_settings(
            differentiable, lr=lr, eps=eps, betas=betas, weight_decay=weight_decay, momentum_decay=momentum_decay
        )
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        (beta1, beta2), lr, psi = group["betas"], float(group["lr"]), group["momentum_decay"]
        for p, g in zip(params, grads, strict=True):
            g = _decayed(p, g, group, lr)
            state = self.state[p]
            if not state:
                state.update(
                    step=new_step(), mu_product=fb.ones((), dtype=fb.float32),
                    exp_avg=fb.zeros_like(p), exp_avg_sq=fb.zeros_like(p),
                )  # fmt: skip
            step = state["step"].add_(1).item()
            mu, mu_next = (beta1 * (1 - 0.5 * 0.96 ** (t * psi)) for t in (step, step + 1))
            product = state["mu_product"].mul_(mu).item()
            m = state["exp_avg"].mul_(beta1).add_(g * (1 - beta1))
            v = state["exp_avg_sq"].mul_(beta2).add_(g * g * (1 - beta2))
            denominator = (v / (1 - beta2**step)).sqrt() + group["eps"]
            p.sub_(g / denominator * (lr * (1 - mu) / (1 - product)))
            p.sub_(m / denominator * (lr * mu_next / (1 - product * mu_next)))


class RAdam(Optimizer):
    """Adam whose step is rectified by how many gradients the running variance rests on; at first plain momentum.

    ρ_∞ = 2 / (1 - β₂) - 1;  ρ_t = ρ_∞ - 2t β₂ᵗ / (1 - β₂ᵗ);  where ρ_t > 5:
    r = √((ρ_t - 4)(ρ_t - 2) ρ_∞ / ((ρ_∞ - 4)(ρ_∞ - 2) ρ_t)). Liu et al., 2019.

    >>> w = fb.nn.Parameter(fb.tensor([5.0]))
    >>> opt = fb.optim.RAdam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> opt.step()
    >>> w.data
    tensor([4.])
    """

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, decoupled_weight_decay: bool = False, *, foreach: bool | None = None,
        maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_settings(differentiable, lr=lr, eps=eps, betas=betas, weight_decay=weight_decay)
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        (beta1, beta2), lr = group["betas"], float(group["lr"])
        for p, g in zip(params, grads, strict=True):
            g = _decayed(p, g, group, lr)
            state = self.state[p]
            if not state:
                state.update(step=new_step(), exp_avg=fb.zeros_like(p), exp_avg_sq=fb.zeros_like(p))
            step = state["step"].add_(1).item()
            m = state["exp_avg"].mul_(beta1).add_(g * (1 - beta1))
            v = state["exp_avg_sq"].mul_(beta2).add_(g * g * (1 - beta2))
            correction = 1 - beta2**step
            most = 2 / (1 - beta2) - 1
            rho = most - 2 * step * beta2**step / correction
            direction = m * (lr / (1 - beta1**step))
            if rho > 5.0:
                rectified = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
                direction = direction * (rectified * math.sqrt(correction)) / (v.sqrt() + group["eps"])
            p.sub_(direction)


def _decayed(p: Tensor, g: Tensor, group: dict[str, Any], lr: float) -> Tensor:
    decay = group["weight_decay"]
    if decay and group["decoupled_weight_decay"]:
        p.mul_(1 - lr * decay)
        decay = 0
    return decayed(p, g, decay, group["maximize"])
