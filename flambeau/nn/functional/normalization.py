"""Normalisations built on those that have a kernel of their own.

Imports the tensor core. Read next: `modules/normalization.py`.
"""

from __future__ import annotations

from flambeau import Tensor
from flambeau.ops import batch_norm
from flambeau.ops.padding import pad
from flambeau.ops.pooling import avg_pool3d
from flambeau.ops.recall import recalled


@recalled
def instance_norm(
    input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None,
    weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """(x - mean) / √(var + eps) · w + b for each channel of each sample of (N, C, …).

    With `use_input_stats` the running statistics move towards the batch's mean of the instances' statistics; without it
    they are used instead of the input's.

    >>> fb.nn.functional.instance_norm(fb.tensor([[[1.0, 3.0], [10.0, 30.0]]]))
    tensor([[[-1.0000,  1.0000],
             [-1.0000,  1.0000]]])
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if input.numel() == input.shape[0] * input.shape[1]:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {tuple(input.shape)}")
    batch, channels = input.shape[:2]
    repeated = [None if r is None else r.repeat(batch) for r in (running_mean, running_var, weight, bias)]
    flat = input.reshape(1, batch * channels, *input.shape[2:])
    output = batch_norm(flat, *repeated, True, momentum, eps)
    for running, instances in zip((running_mean, running_var), repeated[:2], strict=True):
        if running is not None:
            running.copy_(instances.reshape(batch, channels).mean(0))
    return output.reshape(input.shape)


@recalled
def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha / n Σ x²)^beta, the sum over n neighbouring channels of (N, C, …). Krizhevsky et al., 2012.

    >>> fb.nn.functional.local_response_norm(fb.tensor([[[2.0], [4.0]]]), 1, alpha=1.0, beta=1.0, k=0.0)
    tensor([[[0.5000],
             [0.2500]]])
    """
    if input.dim() < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)")
    if input.numel() == 0:
        return input
    squares = input.pow(2).reshape(input.shape[0], 1, input.shape[1], 1, -1)
    padded = pad(squares, (0, 0, 0, 0, size // 2, (size - 1) // 2))
    mean = avg_pool3d(padded, (size, 1, 1), stride=1).reshape(input.shape)
    return input / (mean * alpha + k).pow(beta)
