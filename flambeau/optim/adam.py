"""Adam and AdamW.

Imports `optimizer.py` and the fused update. Read next: `rmsprop.py`.
"""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.ops.optimizer import adam_
from flambeau.optim.optimizer import Optimizer, Params, check_settings, new_step


class Adam(Optimizer):
    """m = β₁ m + (1 - β₁) g;  v = β₂ v + (1 - β₂) g²;  p -= lr m̂ / (√v̂ + eps), m̂ and v̂ corrected for their start at 0.

    Kingma and Ba, Adam: a method for stochastic optimization, 2014. `foreach`, `fused` and `capturable` are accepted;
    there is one way, and it is fused.

    Args:
        weight_decay: added to the gradient as weight_decay p; with `decoupled_weight_decay`, p *= 1 - lr weight_decay.
        amsgrad: divide by the largest v so far. Reddi et al., 2018.

    Raises:
        ValueError: where a setting is negative or a β outside [0, 1).

    >>> import flambeau as fb
    >>> p = fb.nn.Parameter(fb.tensor([1.0]))
    >>> opt = fb.optim.Adam([p], lr=0.1)
    >>> (p * 3).sum().backward(); opt.step(); p.data
    tensor([0.9000])
    """

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None, maximize: bool = False,
        capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:  # fmt: skip
        check_settings(differentiable, lr=lr, eps=eps, betas=betas, weight_decay=weight_decay)
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach, "capturable": capturable, "differentiable": differentiable, "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        amsgrad = group["amsgrad"]
        states = [self.state[p] for p in params]
        for p, s in zip(params, states, strict=True):
            if not s:
                s["step"] = new_step()
                s["exp_avg"] = fb.zeros_like(p)
                s["exp_avg_sq"] = fb.zeros_like(p)
                if amsgrad:
                    s["max_exp_avg_sq"] = fb.zeros_like(p)
        beta1, beta2 = group["betas"]
        adam_(
            params, grads, [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states],
            [s["max_exp_avg_sq"] for s in states] if amsgrad else (), [s["step"] for s in states],
            lr=float(group["lr"]), beta1=float(beta1), beta2=float(beta2), eps=group["eps"],
            weight_decay=float(group["weight_decay"]), decoupled=group["decoupled_weight_decay"], amsgrad=amsgrad,
            maximize=group["maximize"],
        )  # fmt: skip


class AdamW(Adam):
    """Adam with decoupled weight decay: p *= 1 - lr weight_decay. Loshchilov and Hutter, 2017.

    >>> w = fb.nn.Parameter(fb.tensor([5.0]))
    >>> opt = fb.optim.AdamW([w], lr=0.1, weight_decay=0.5)
    >>> (w * w).sum().backward()
    >>> opt.step()
    >>> w.data  # 5 (1 - 0.1 · 0.5) - 0.1
    tensor([4.6500])
    """

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False, foreach: bool | None = None,
        capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize, capturable=capturable,
            differentiable=differentiable, fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip
