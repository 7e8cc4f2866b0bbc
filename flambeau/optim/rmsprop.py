"""RMSprop, Adagrad and Adadelta: step sizes from running sums of squared gradients.

Imports `optimizer.py`. Read next: `adamax.py`.
"""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.optim.optimizer import Optimizer, Params, check_settings, decayed, new_step


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
        lr, alpha, eps, momentum = float(group["lr"]), group["alpha"], group["eps"], group["momentum"]
        for p, g in zip(params, grads, strict=True):
            g = decayed(p, g, group["weight_decay"], group["maximize"])
            state = self.state[p]
            if not state:
                state["step"] = new_step()
                state["square_avg"] = fb.zeros_like(p)
                if momentum > 0:
                    state["momentum_buffer"] = fb.zeros_like(p)
                if group["centered"]:
                    state["grad_avg"] = fb.zeros_like(p)
            state["step"].add_(1)
            v = state["square_avg"].mul_(alpha).add_(g * g * (1 - alpha))
            if group["centered"]:
                mean = state["grad_avg"].mul_(alpha).add_(g * (1 - alpha))
                v = v - mean * mean
            direction = g / (v.sqrt() + eps)
            if momentum > 0:
                direction = state["momentum_buffer"].mul_(momentum).add_(direction)
            p.sub_(direction * lr)


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
        for p, g in zip(params, grads, strict=True):
            if g.layout != "strided":
                if group["weight_decay"]:
                    raise RuntimeError("weight_decay option is not compatible with sparse gradients")
                g = g.coalesce()
            g = decayed(p, g, group["weight_decay"], group["maximize"])
            state = self.state[p]
            if not state:
                state.update(
                    step=new_step(), sum=fb.full_like(p, group["initial_accumulator_value"], requires_grad=False)
                )
            state["step"].add_(1)
            lr = float(group["lr"]) / (1 + (state["step"].item() - 1) * group["lr_decay"])
            total = state["sum"].add_(g * g)
            if g.layout == "strided":
                p.sub_(g / (total.sqrt() + group["eps"]) * lr)
            else:
                scale = 1 / (total.sparse_mask(g).values().sqrt() + group["eps"])
                p.add_(fb.sparse_coo_tensor(g.indices(), g.values() * scale, g.shape, is_coalesced=True), alpha=-lr)


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
        rho, eps = group["rho"], group["eps"]
        for p, g in zip(params, grads, strict=True):
            g = decayed(p, g, group["weight_decay"], group["maximize"])
            state = self.state[p]
            if not state:
                state.update(step=new_step(), square_avg=fb.zeros_like(p), acc_delta=fb.zeros_like(p))
            state["step"].add_(1)
            v = state["square_avg"].mul_(rho).add_(g * g * (1 - rho))
            delta = (state["acc_delta"] + eps).sqrt() / (v + eps).sqrt() * g
            state["acc_delta"].mul_(rho).add_(delta * delta * (1 - rho))
            p.sub_(delta * float(group["lr"]))
