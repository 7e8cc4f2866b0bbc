"""The bilinear form, as a composition of matrix products, and a convolution of another layout; `linear` and the others
have kernels of their own.

Imports the tensor core. Read next: `sparse.py`.
"""

from __future__ import annotations

from flambeau import Tensor
from flambeau.ops.convolution import conv1d
from flambeau.ops.recall import recalled


@recalled
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


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """`conv1d` of (time, batch, channels) with a weight (width, channels, channels out) and a bias (channels out).

    >>> x = fb.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)
    >>> fb.nn.functional.conv_tbc(x, fb.tensor([-1.0, 1.0]).view(2, 1, 1), fb.zeros(1)).flatten()
    tensor([1., 2.])
    """
    if input.dim() != 3 or weight.dim() != 3 or bias.dim() != 1:
        raise RuntimeError(
            f"conv_tbc: expected an input and a weight of 3 dimensions and a bias of 1, got {tuple(input.shape)}, "
            f"{tuple(weight.shape)} and {tuple(bias.shape)}"
        )
    return conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad).permute(2, 0, 1)
