"""Adamax, NAdam and RAdam: variants of Adam.

Imports `optimizer.py`. Read next: `rprop.py`.
"""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.ops import optimizer_rules as rules
from flambeau.optim.optimizer import Optimizer, Params, check_settings, count_steps, decay_numbers, new_step


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
        (beta1, beta2), lr = map(float, group["betas"]), float(group["lr"])
        states = _states(self, params, "exp_avg", "exp_inf")
        op, decay = rules.adamax(group["maximize"], group["weight_decay"] != 0), decay_numbers(group)
        rules.update_by_rules(
            (
                op,
                (*decay, lr / (1 - beta1**t), beta1, 1 - beta1, beta2, group["eps"]),
                (p, g, s["exp_avg"], s["exp_inf"]),
            )
            for p, g, s, t in zip(params, grads, states, count_steps(states), strict=True)
        )


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
        (beta1, beta2), lr, psi = map(float, group["betas"]), float(group["lr"]), group["momentum_decay"]
        states = _states(self, params, "exp_avg", "exp_avg_sq", "mu_product")
        op = rules.nadam(group["maximize"], group["weight_decay"] != 0, group["decoupled_weight_decay"])
        rows = []
        for p, g, s, t in zip(params, grads, states, count_steps(states), strict=True):
            mu, following = (beta1 * (1 - 0.5 * 0.96 ** (k * psi)) for k in (t, t + 1))
            product = s["mu_product"].mul_(mu).item()
            of_g, of_m = lr * (1 - mu) / (1 - product), lr * following / (1 - product * following)
            numbers = beta1, 1 - beta1, beta2, 1 - beta2, 1 - beta2**t, group["eps"], of_g, of_m
            rows.append((op, (*decay_numbers(group), *numbers), (p, g, s["exp_avg"], s["exp_avg_sq"])))
        rules.update_by_rules(rows)


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
        (beta1, beta2), lr = map(float, group["betas"]), float(group["lr"])
        states = _states(self, params, "exp_avg", "exp_avg_sq")
        chosen = group["maximize"], group["weight_decay"] != 0, group["decoupled_weight_decay"]
        rows = []
        for p, g, s, t in zip(params, grads, states, count_steps(states), strict=True):
            correction, most = 1 - beta2**t, 2 / (1 - beta2) - 1
            rho, rate = most - 2 * t * beta2**t / correction, lr / (1 - beta1**t)
            if rho > 5.0:
                square = (rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)
                rate *= math.sqrt(square * correction)
            numbers = (*decay_numbers(group), beta1, 1 - beta1, beta2, 1 - beta2, group["eps"], rate)
            rows.append((rules.radam(*chosen, rho > 5.0), numbers, (p, g, s["exp_avg"], s["exp_avg_sq"])))
        rules.update_by_rules(rows)


def _states(optimizer: Optimizer, params: list[Tensor], *keys: str) -> list[dict[str, Any]]:
    """The parameters' states, made where there is none yet."""
    states = [optimizer.state[p] for p in params]
    for p, state in zip(params, states, strict=True):
        if not state:
            state["step"] = new_step()
            if "mu_product" in keys:
                state["mu_product"] = fb.ones((), dtype=fb.float32)
            state.update({key: fb.zeros_like(p) for key in keys if key != "mu_product"})
    return states
