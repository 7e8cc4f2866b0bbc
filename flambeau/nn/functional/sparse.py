"""Embeddings and one-hot codes.

Imports the tensor core. Read next: `modules/sparse.py`.
"""

from __future__ import annotations

import flambeau as fb
from flambeau import Tensor
from flambeau.ops.gather import embedding as _embedding
from flambeau.ops.gather import one_hot as one_hot
from flambeau.ops.recall import recalled


def renormalize_(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows of `weight` that `indices` names to a norm of at most `max_norm`, in place, off the tape."""
    with fb.no_grad():
        used = indices.reshape(-1).unique()
        rows = weight[used]
        norm = rows.norm(norm_type, -1, keepdim=True)
        weight[used] = fb.where(norm > max_norm, rows * (max_norm / (norm + 1e-7)), rows)


def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """The rows of `weight` that `input` names: (…) → (…, D). Row `padding_idx` gets no gradient.

    >>> fb.nn.functional.embedding(fb.tensor([2, 0]), fb.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    tensor([[5., 6.],
            [1., 2.]])
    """
    if padding_idx is not None:
        if not -weight.shape[0] <= padding_idx < weight.shape[0]:
            raise AssertionError(f"Padding_idx must be within num_embeddings, got {padding_idx} of {weight.shape[0]}")
        padding_idx %= weight.shape[0]
    if max_norm is not None:
        renormalize_(weight, input, max_norm, norm_type)
    return _embedding(weight, input, -1 if padding_idx is None else padding_idx, scale_grad_by_freq, sparse)


@recalled
def embedding_bag(
    input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None, norm_type: float = 2,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
    per_sample_weights: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = None,
) -> Tensor:  # fmt: skip
    """The sum, mean or maximum of the rows of `weight` that each bag of indices names: (B, D).

    Args:
        input: (B, N), one bag a row; or (N), with `offsets` (B) where bags begin.
        per_sample_weights: of input's shape; a factor for each row, with mode "sum".
        include_last_offset: `offsets` ends with the number of indices.

    >>> rows = fb.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> fb.nn.functional.embedding_bag(fb.tensor([0, 2, 1]), rows, fb.tensor([0, 2]), mode="sum")
    tensor([[6., 8.],
            [3., 4.]])
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and (sparse or scale_grad_by_freq):
        what = "sparse weights" if sparse else "scaling the gradient by the frequency"
        raise ValueError(f"max mode does not support {what}")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            f"embedding_bag: per_sample_weights was not None, but mode is {mode}; it needs mode='sum'"
        )
    if per_sample_weights is not None and per_sample_weights.shape != input.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({tuple(per_sample_weights.shape)}) is not None, then it "
            "must have the "
            f"same shape as the input ({tuple(input.shape)})"
        )
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError("if input is 2D, then offsets has to be None, as input is treated is a mini-batch")
        bags, per_bag = input.shape
        bag = fb.arange(bags * per_bag) // max(per_bag, 1)
        input = input.reshape(-1)
        per_sample_weights = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    elif input.dim() == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        bags = len(offsets) - include_last_offset
        bag = fb.searchsorted(offsets[:bags].contiguous(), fb.arange(len(input)), right=True) - 1
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    rows = embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    if padding_idx is not None:
        kept = (input != padding_idx % weight.shape[0]).nonzero().squeeze(1)
        rows, bag = rows[kept], bag[kept]
        per_sample_weights = None if per_sample_weights is None else per_sample_weights[kept]
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    if mode == "max":
        reduced = rows.new_zeros(bags, rows.shape[1]).scatter_reduce(
            0, bag.unsqueeze(1).expand_as(rows), rows, "amax", include_self=False
        )
        return reduced
    total = rows.new_zeros(bags, rows.shape[1]).index_add(0, bag, rows)
    if mode == "sum":
        return total
    count = fb.zeros(bags).index_add(0, bag, fb.ones(bag.shape[0]))
    return total / count.clamp(min=1).unsqueeze(1).to(total.dtype)
