"""Muon: momentum for matrices, each step replaced by a matrix near it whose singular values are all about 1.

Imports `optimizer.py`. Read next: `adam.py`, for the parameters that aren't matrices of hidden layers.
"""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.optim.optimizer import Optimizer, Params, check_settings


def newton_schulz(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """X ← a X + (b X Xᵀ + c (X Xᵀ)²) X in bfloat16, from X = matrix / |matrix|: singular values go towards 1.

    Raises:
        ValueError: for 100 steps or more, and where there aren't three coefficients.
    """
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.bfloat16()
    x = x.T if tall else x
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = fb.addmm(x, fb.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Muon(Optimizer):
    """b = momentum b + (1 - momentum) g;  p *= 1 - lr weight_decay;  p -= lr r NS(b), or NS of the next b (Nesterov).

    NS is `newton_schulz`; r = √max(1, rows / columns), or 0.2 √max(rows, columns) with `adjust_lr_fn` =
    "match_rms_adamw", which makes steps as large as AdamW's. Jordan et al., Muon: an optimizer for hidden layers in
    neural networks, 2024; Liu et al., Muon is scalable for LLM training, 2025.

    Raises:
        ValueError: where a setting is out of range, or a parameter isn't a matrix.
        RuntimeError: in `step`, for complex parameters and sparse gradients.

    >>> import flambeau as fb
    >>> p = fb.nn.Parameter(fb.eye(2))
    >>> opt = fb.optim.Muon([p], lr=0.1, weight_decay=0)
    >>> (p * p).sum().backward(); opt.step(); bool((p.detach().diag() < 1).all())
    True
    """

    _takes_complex = False

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-3, weight_decay: float = 0.1, momentum: float = 0.95,
        nesterov: bool = True, ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7, ns_steps: int = 5, adjust_lr_fn: str | None = None,
    ) -> None:  # fmt: skip
        check_settings(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                f"Adjust learning rate function {adjust_lr_fn} is not supported; expected 'original' or "
                "'match_rms_adamw'"
            )
        super().__init__(params, {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn,
        })  # fmt: skip
        for group in self.param_groups:
            for p in group["params"]:
                if p.dim() != 2:
                    raise ValueError(
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {p.shape}; "
                        "give the others to AdamW"
                    )

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        lr, momentum = float(group["lr"]), group["momentum"]
        for p, g in zip(params, grads, strict=True):
            state = self.state[p]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = fb.zeros_like(g)
            b = state["momentum_buffer"].lerp_(g, 1 - momentum)
            update = g.lerp(b, momentum) if group["nesterov"] else b
            rows, columns = p.shape
            matches_adamw = group["adjust_lr_fn"] == "match_rms_adamw"
            ratio = 0.2 * math.sqrt(max(rows, columns)) if matches_adamw else math.sqrt(max(1, rows / columns))
            p.mul_(1 - lr * group["weight_decay"])
            update = newton_schulz(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
            p.sub_(update.to(p.dtype), alpha=lr * ratio)
