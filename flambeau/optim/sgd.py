"""Stochastic gradient descent, with momentum.

Imports `optimizer.py` and the fused update. Read next: `adam.py`.
"""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.ops.optimizer import sgd_
from flambeau.optim.optimizer import Optimizer, Params, check_settings


class SGD(Optimizer):
    """g = grad + weight_decay p;  b = momentum b + (1 - dampening) g;  p -= lr b, or lr (g + momentum b) with Nesterov.

    Sutskever et al., On the importance of initialization and momentum in deep learning, 2013. `foreach` and `fused` are
    accepted; there is one way, and it is fused.

    Raises:
        ValueError: where a setting is negative, or nesterov goes without momentum or with dampening.

    >>> import flambeau as fb
    >>> p = fb.nn.Parameter(fb.tensor([1.0]))
    >>> opt = fb.optim.SGD([p], lr=0.5)
    >>> (p * 3).sum().backward(); opt.step(); p.data
    tensor([-0.5000])
    """

    _takes_sparse = True

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-3, momentum: float = 0, dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False, *, maximize: bool = False, foreach: bool | None = None, differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:  # fmt: skip
        check_settings(differentiable, lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
            "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        sparse = [i for i, g in enumerate(grads) if g.layout != "strided"]
        if sparse:
            for i in sparse:
                self._update_sparse(group, params[i], grads[i])
            params, grads = ([x for i, x in enumerate(xs) if i not in sparse] for xs in (params, grads))
            if not params:
                return
        settings = {k: group[k] for k in ("momentum", "dampening", "nesterov", "maximize")}
        settings |= {"lr": float(group["lr"]), "weight_decay": float(group["weight_decay"])}
        if not group["momentum"]:
            sgd_(params, grads, (), first=False, **settings)
            return
        states = [self.state[p] for p in params]
        fresh = [s.get("momentum_buffer") is None for s in states]
        for p, s, is_fresh in zip(params, states, fresh, strict=True):
            if is_fresh:
                s["momentum_buffer"] = fb.zeros_like(p)
        buffers = [s["momentum_buffer"] for s in states]
        for first in set(fresh):  # one pass but where parameters joined late
            chosen = [i for i, is_fresh in enumerate(fresh) if is_fresh is first]
            p, g, b = ([seq[i] for i in chosen] for seq in (params, grads, buffers))
            sgd_(p, g, b, first=first, **settings)

    def _update_sparse(self, group: dict[str, Any], p: Tensor, g: Tensor) -> None:
        """The same for a sparse gradient, whose rows alone are touched; the momentum buffer is sparse too."""
        if group["weight_decay"]:
            raise RuntimeError("SGD: weight_decay is not compatible with sparse gradients")
        g = -g if group["maximize"] else g
        if group["momentum"]:
            state = self.state[p]
            b = state.get("momentum_buffer")
            b = g.clone() if b is None else (b * group["momentum"]).add(g, alpha=1 - group["dampening"]).coalesce()
            state["momentum_buffer"] = b
            g = g.add(b, alpha=group["momentum"]) if group["nesterov"] else b
        p.add_(g, alpha=-float(group["lr"]))
