"""Distances, similarities and normalisation to a length; pdist stands in `ops/distance.py`.

Imports the tensor core. Read next: `losses.py`, which uses them.
"""

from __future__ import annotations

import flambeau as fb
from flambeau import Tensor
from flambeau.ops.recall import recalled


@recalled
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """x / max(‖x‖_p, eps) along `dim`.

    >>> fb.nn.functional.normalize(fb.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    length = input.norm(p, dim, keepdim=True).clamp(min=eps)
    return input / length if out is None else fb.div(input, length, out=out)


@recalled
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x₁ · x₂ / (max(‖x₁‖, eps) max(‖x₂‖, eps)) along `dim`, after broadcasting.

    >>> fb.nn.functional.cosine_similarity(fb.tensor([1.0, 0.0]), fb.tensor([1.0, 1.0]), dim=0)
    tensor(0.7071)
    """
    x1, x2 = fb.broadcast_tensors(x1, x2)
    n1, n2 = (x.norm(2, dim, keepdim=True).clamp(min=eps) for x in (x1, x2))
    return ((x1 / n1) * (x2 / n2)).sum(dim)


@recalled
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """‖x₁ - x₂ + eps‖_p along the last dimension.

    >>> fb.nn.functional.pairwise_distance(fb.tensor([[3.0, 0.0]]), fb.tensor([[0.0, 4.0]]))
    tensor([5.])
    """
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)
