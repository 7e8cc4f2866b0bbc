"""The bilinear form, as a composition of matrix products; `linear` itself has a kernel of its own.

Imports the tensor core. Read next: `sparse.py`.
"""

from __future__ import annotations

from flambeau import Tensor


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_k = x₁ᵀ W_k x₂ + b_k over (…, I), (…, J) and a weight (K, I, J).

    >>> fb.nn.functional.bilinear(fb.ones(1, 2), fb.ones(1, 3), fb.ones(1, 2, 3))
    tensor([[6.]])
    """
    out_features, in1, in2 = weight.shape
    if input1.shape[-1] != in1 or input2.shape[-1] != in2 or input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear: expected inputs (…, {in1}) and (…, {in2}) alike but for the last dimension, got "
            f"{tuple(input1.shape)} and {tuple(input2.shape)}"
        )
    rows = input1 @ weight.permute(1, 0, 2).reshape(in1, out_features * in2)
    output = (rows.reshape(*input1.shape[:-1], out_features, in2) @ input2.unsqueeze(-1)).squeeze(-1)
    return output if bias is None else output + bias
