"""Adafactor: Adam's second moments from the means of rows and columns, so that a matrix costs a vector's memory.

Imports `optimizer.py`. Read next: `muon.py`.
"""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.optim.optimizer import Optimizer, Params, check_settings, new_step


class Adafactor(Optimizer):
    """Steps in proportion to each parameter's own size, from a factored running mean of squared gradients.

    With β = t^beta2_decay:  R += β (mean of g² along rows - R);  C += β (mean along columns - C);  V = R C / mean(R),
    or of vectors V += β (g² - V);  u = g / max(√V, eps₁);
    p -= max(eps₂, rms(p)) min(lr, 1/√t) u / max(1, rms(u) / d). Shazeer and Stern, 2018; `lr` also scales the decoupled
    weight decay p *= 1 - lr weight_decay.

    Args:
        eps: eps₁, the dtype's where None, and eps₂.
        d: the largest root mean square of an update.

    Raises:
        ValueError: where a setting is out of range.
        RuntimeError: in `step`, for complex parameters and sparse gradients.

    >>> import flambeau as fb
    >>> p = fb.nn.Parameter(fb.ones(2, 3))
    >>> opt = fb.optim.Adafactor([p], lr=0.1)
    >>> (p * 3).sum().backward(); opt.step(); p.data[0]
    tensor([0.9000, 0.9000, 0.9000])
    """

    _takes_complex = False

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-2, beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0, *,
        foreach: bool | None = None, maximize: bool = False,
    ) -> None:  # fmt: skip
        check_settings(lr=lr, epsilon1=eps[0] or 0.0, epsilon2=eps[1], weight_decay=weight_decay)
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        super().__init__(params, {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize,
        })  # fmt: skip

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        lr, decay, (eps1, eps2) = float(group["lr"]), group["weight_decay"], group["eps"]
        for p, g in zip(params, grads, strict=True):
            g = -g if group["maximize"] else g
            state = self.state[p]
            if not state:
                state["step"] = new_step()
                if g.dim() > 1:
                    state["row_var"] = g.new_zeros((*g.shape[:-1], 1))
                    state["col_var"] = g.new_zeros((*g.shape[:-2], 1, g.shape[-1]))
                else:
                    state["variance"] = fb.zeros_like(g)
            step = state["step"].add_(1).item()
            share = step ** group["beta2_decay"]
            least = fb.finfo(p.dtype).eps if eps1 is None else eps1
            size = max(eps2, _rms(p)) * min(lr, 1 / math.sqrt(step))
            if decay:
                p.mul_(1 - lr * decay)
            if g.dim() > 1:
                rows = state["row_var"].lerp_((g * g).mean(-1, keepdim=True), share)
                columns = state["col_var"].lerp_((g * g).mean(-2, keepdim=True), share)
                moment = rows @ columns / rows.mean(-2, keepdim=True).clamp(min=least)
            else:
                moment = state["variance"].lerp_(g * g, share)
            update = moment.clamp(min=least * least).rsqrt() * g
            p.sub_(update, alpha=size / max(1.0, _rms(update) / group["d"]))


def _rms(t: Tensor) -> float:
    return t.norm().item() / math.sqrt(t.numel())
