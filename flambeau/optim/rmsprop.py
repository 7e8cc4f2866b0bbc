"""RMSprop, Adagrad and Adadelta: step sizes from running sums of squared gradients.

Imports `optimizer.py`. Read next: `adamax.py`.
"""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.ops import optimizer_rules as rules
from flambeau.optim.optimizer import Optimizer, Params, check_settings, count_steps, decay_numbers, new_step


class RMSprop(Optimizer):
    """v = α v + (1 - α) g²;  p -= lr g / (√v + eps), or with momentum: b = momentum b + g / (√v + eps), p -= lr b.

    `centered` takes √(v - ḡ²), ḡ the running mean of g. Hinton, Neural networks for machine learning, lecture 6;
    Graves, 2013.

    >>> w = fb.nn.Parameter(fb.tensor([5.0]))
    >>> opt = fb.optim.RMSprop([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> opt.step()
    >>> w.data
    tensor([4.])
    """

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0, centered: bool = False, capturable: bool = False, foreach: bool | None = None,
        maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_settings(differentiable, lr=lr, eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable, "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        momentum, centered, alpha = group["momentum"] > 0, bool(group["centered"]), float(group["alpha"])
        keys = ["square_avg", *["grad_avg"] * centered, *["momentum_buffer"] * momentum]
        states = [self.state[p] for p in params]
        for p, state in zip(params, states, strict=True):
            if not state:
                state["step"] = new_step()
                state["square_avg"] = fb.zeros_like(p)
                if momentum:
                    state["momentum_buffer"] = fb.zeros_like(p)
                if centered:
                    state["grad_avg"] = fb.zeros_like(p)
        count_steps(states)
        op = rules.rmsprop(group["maximize"], group["weight_decay"] != 0, momentum, centered)
        numbers = (*decay_numbers(group), float(group["lr"]), alpha, 1 - alpha, group["eps"], float(group["momentum"]))
        rules.update_by_rules(
            (op, numbers, (p, g, *[s[k] for k in keys])) for p, g, s in zip(params, grads, states, strict=True)
        )


class Adagrad(Optimizer):
    """s += g²;  p -= lr / (1 + (t - 1) lr_decay) g / (√s + eps). Duchi et al., 2011.

    >>> w = fb.nn.Parameter(fb.tensor([5.0]))
    >>> opt = fb.optim.Adagrad([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> opt.step()
    >>> w.data
    tensor([4.9000])
    """

    _takes_sparse = True

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
        initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
        maximize: bool = False,
        differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        check_settings(
            differentiable, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value, eps=eps,
        )  # fmt: skip
        super().__init__(params, {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "fused": fused,
        })  # fmt: skip
        for group in self.param_groups:
            for p in group["params"]:
                start = group["initial_accumulator_value"]
                start = fb.full_like(p, complex(start, start) if p.is_complex() else start, requires_grad=False)
                self.state[p] = {"step": new_step(), "sum": start}

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        states = [self.state[p] for p in params]
        for p, state in zip(params, states, strict=True):
            if not state:
                start = fb.full_like(p, group["initial_accumulator_value"], requires_grad=False)
                state.update(step=new_step(), sum=start)
        op, rows = rules.adagrad(group["maximize"], group["weight_decay"] != 0), []
        for p, g, state, step in zip(params, grads, states, count_steps(states), strict=True):
            rate = float(group["lr"]) / (1 + (step - 1) * group["lr_decay"])
            if g.layout == "strided":
                rows.append((op, (*decay_numbers(group), rate, group["eps"]), (p, g, state["sum"])))
            else:
                self._update_sparse(group, p, g.coalesce(), state["sum"], rate)
        rules.update_by_rules(rows)

    def _update_sparse(self, group: dict[str, Any], p: Tensor, g: Tensor, total: Tensor, rate: float) -> None:
        if group["weight_decay"]:
            raise RuntimeError("weight_decay option is not compatible with sparse gradients")
        g = -g if group["maximize"] else g
        total.add_(g * g)
        scale = 1 / (total.sparse_mask(g).values().sqrt() + group["eps"])
        p.add_(fb.sparse_coo_tensor(g.indices(), g.values() * scale, g.shape, is_coalesced=True), alpha=-rate)


class Adadelta(Optimizer):
    """v = ρ v + (1 - ρ) g²;  δ = √(u + eps) / √(v + eps) g;  u = ρ u + (1 - ρ) δ²;  p -= lr δ. Zeiler, 2012.

    >>> w = fb.nn.Parameter(fb.tensor([5.0]))
    >>> opt = fb.optim.Adadelta([w], rho=0.5, eps=1.0)
    >>> (w * w).sum().backward()
    >>> opt.step()
    >>> w.data
    tensor([3.5997])
    """

    def __init__(
        self, params: Params, lr: float | Tensor = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0,
        foreach: bool | None = None, *, capturable: bool = False, maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_settings(differentiable, lr=lr, eps=eps, weight_decay=weight_decay)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        super().__init__(params, {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach, "differentiable": differentiable,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        rho, states = float(group["rho"]), [self.state[p] for p in params]
        for p, state in zip(params, states, strict=True):
            if not state:
                state.update(step=new_step(), square_avg=fb.zeros_like(p), acc_delta=fb.zeros_like(p))
        count_steps(states)
        op = rules.adadelta(group["maximize"], group["weight_decay"] != 0)
        numbers = (*decay_numbers(group), float(group["lr"]), rho, 1 - rho, group["eps"])
        rules.update_by_rules(
            (op, numbers, (p, g, s["square_avg"], s["acc_delta"]))
            for p, g, s in zip(params, grads, states, strict=True)
        )
