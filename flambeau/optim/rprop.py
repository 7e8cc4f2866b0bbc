"""Rprop and ASGD.

Imports `optimizer.py`. Read next: `lbfgs.py`.
"""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.optim.optimizer import Optimizer, Params, check_settings, decayed, new_step


class Rprop(Optimizer):
    """Each element's step size grows by η₊ while its gradient keeps its sign and shrinks by η₋ when that changes.

    Riedmiller and Braun, A direct adaptive method for faster backpropagation learning, 1993.

    >>> w = fb.nn.Parameter(fb.tensor([5.0]))
    >>> opt = fb.optim.Rprop([w], lr=0.5)
    >>> for _ in range(3):
    ...     opt.zero_grad()
    ...     (w * w).sum().backward()
    ...     opt.step()
    ...     print(round(w.item(), 4))
    4.5
    3.9
    3.18
    """

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False, foreach: bool | None = None,
        maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_settings(differentiable, lr=lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        (shrink, grow), (smallest, largest) = group["etas"], group["step_sizes"]
        for p, g in zip(params, grads, strict=True):
            g = -g if group["maximize"] else g
            state = self.state[p]
            if not state:
                start = fb.full_like(p, float(group["lr"]), requires_grad=False)
                state.update(step=new_step(), prev=fb.zeros_like(p), step_size=start)
            state["step"].add_(1)
            agreement, size = g * state["prev"], state["step_size"]
            size.copy_(
                fb.where(agreement > 0, size * grow, fb.where(agreement < 0, size * shrink, size)).clamp(
                    smallest, largest
                )
            )
            g = fb.where(agreement < 0, fb.zeros_like(g), g)  # after a change of sign, stand still once
            p.sub_(g.sign() * size)
            state["prev"].copy_(g)


class ASGD(Optimizer):
    """Gradient descent with η_t = lr / (1 + λ lr t)^α and weights averaged, in state["ax"], from step t0 on.

    Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992.

    >>> w = fb.nn.Parameter(fb.tensor([5.0]))
    >>> opt = fb.optim.ASGD([w], lr=0.1, lambd=0.0)
    >>> (w * w).sum().backward()
    >>> opt.step()
    >>> w.data
    tensor([4.])
    """

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
        weight_decay: float = 0, foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
        capturable: bool = False,
    ) -> None:  # fmt: skip
        check_settings(differentiable, lr=lr, weight_decay=weight_decay)
        super().__init__(params, {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        lr, lambd = float(group["lr"]), group["lambd"]
        for p, g in zip(params, grads, strict=True):
            g = decayed(p, g, group["weight_decay"], group["maximize"])
            state = self.state[p]
            if not state:
                state["step"] = new_step()
                state["eta"] = fb.tensor(lr, dtype=fb.float32)
                state["mu"] = fb.ones((), dtype=fb.float32)
                state["ax"] = fb.zeros_like(p)
            step = state["step"].add_(1).item()
            eta, mu, average = state["eta"].item(), state["mu"].item(), state["ax"]
            p.mul_(1 - lambd * eta).sub_(g * eta)
            average.copy_(p) if mu == 1 else average.add_((p - average) * mu)
            state["eta"].fill_(lr / (1 + lambd * lr * step) ** group["alpha"])
            state["mu"].fill_(1 / max(1, step - group["t0"]))
