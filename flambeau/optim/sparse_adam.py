"""Adam for sparse gradients: only the rows that a gradient holds are touched, moments included.

Imports `optimizer.py`. Read next: `adam.py`, `flambeau/sparse/tensor.py`.
"""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.optim.optimizer import Optimizer, Params, check_settings


class SparseAdam(Optimizer):
    """Adam's rule at the elements that a sparse gradient stores; all others keep their values and their moments.

    t += 1;  m = β₁ m + (1 - β₁) g;  v = β₂ v + (1 - β₂) g²;  p -= lr √(1 - β₂ᵗ) / (1 - β₁ᵗ) m / (√v + eps).

    Raises:
        ValueError: where a setting is out of range or a parameter is sparse itself.
        RuntimeError: in `step`, where a gradient is dense.

    >>> import flambeau as fb
    >>> table = fb.nn.Embedding(4, 2, sparse=True)
    >>> opt = fb.optim.SparseAdam(table.parameters(), lr=0.1)
    >>> before = table.weight.detach().clone()
    >>> table(fb.tensor([1])).sum().backward(); opt.step()
    >>> (table.weight != before).any(1)
    tensor([False,  True, False, False])
    """

    _takes_sparse = True
    _counts_in_tensors = False

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:  # fmt: skip
        check_settings(lr=lr, eps=eps, betas=betas)
        if not lr > 0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps > 0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        for group in self.param_groups:
            for i, p in enumerate(group["params"]):
                if p.layout != "strided":
                    raise ValueError(f"Sparse params at indices [{i}]: SparseAdam requires dense parameter tensors")

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        for g in grads:
            if g.layout == "strided":
                raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")
        (beta1, beta2), eps = group["betas"], group["eps"]
        for p, g in zip(params, grads, strict=True):
            state = self.state[p]
            if not state:
                state.update(step=0, exp_avg=fb.zeros_like(p), exp_avg_sq=fb.zeros_like(p))
            state["step"] += 1
            g = g.coalesce()
            places, values = g.indices(), -g.values() if group["maximize"] else g.values()

            def rows(v: Tensor, places: Tensor = places, g: Tensor = g) -> Tensor:
                return fb.sparse_coo_tensor(places, v, g.shape, is_coalesced=True)

            m, v = state["exp_avg"].sparse_mask(g).values(), state["exp_avg_sq"].sparse_mask(g).values()
            dm, dv = (values - m) * (1 - beta1), (values * values - v) * (1 - beta2)
            state["exp_avg"].add_(rows(dm))
            state["exp_avg_sq"].add_(rows(dv))
            step = float(group["lr"]) * math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])
            p.add_(rows((m + dm) / ((v + dv).sqrt() + eps)), alpha=-step)
