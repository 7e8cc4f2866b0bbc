"""Activations and dropouts written as formulas over tensors; those with a kernel of their own come from `flambeau.ops`.

Imports the tensor core. Read next: `attention.py`.
"""

from __future__ import annotations

import math

import flambeau as fb
from flambeau import Tensor
from flambeau.ops import prelu_kernel
from flambeau.ops.recall import recalled
from flambeau.ops.softmax import softmax


@recalled
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a σ(b), a and b the two halves of the input along `dim`.

    >>> fb.nn.functional.glu(fb.tensor([1.0, 2.0, 0.0, 100.0]))
    tensor([0.5000, 2.0000])
    """
    if input.shape[dim] % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim} is size {input.shape[dim]}")
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


@recalled
def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: object = None) -> Tensor:
    """softmax(-x) along `dim`.

    >>> fb.nn.functional.softmin(fb.tensor([0.0, 1.0]), dim=0)
    tensor([0.7311, 0.2689])
    """
    return softmax(-input, dim=dim, dtype=dtype)


@recalled
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """max(0, x) + w min(0, x), with one w or one for each channel (dimension 1).

    >>> fb.nn.functional.prelu(fb.tensor([-2.0, 3.0]), fb.tensor([0.25]))
    tensor([-0.5000,  3.0000])
    """
    channels = input.shape[1] if input.dim() > 1 else 1
    if weight.numel() not in (1, channels):
        raise RuntimeError(
            "Mismatch of parameter numbers and input channel size. "
            f"Found parameter numbers = {weight.numel()} and channel size = {channels}."
        )
    return prelu_kernel(input, weight.reshape((-1,) + (1,) * (input.dim() - 2) if weight.numel() > 1 else ()))


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """x where x ≥ 0, else a x, with a drawn from U(lower, upper) in training and its mean otherwise.

    >>> fb.nn.functional.rrelu(fb.tensor([-1.0, 2.0]), lower=0.1, upper=0.3)
    tensor([-0.2000,  2.0000])
    """
    if training:
        slope = fb.empty_like(input, requires_grad=False).uniform_(lower, upper)
    else:
        slope = (lower + upper) / 2
    return _into(input, fb.where(input >= 0, input, input * slope), inplace)


def rrelu_(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Tensor:
    """`rrelu` in place.

    >>> fb.nn.functional.rrelu_(fb.tensor([-1.0, 2.0]), lower=0.1, upper=0.3)
    tensor([-0.2000,  2.0000])
    """
    return rrelu(input, lower, upper, training, inplace=True)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """softmax((logits + g) / tau) with Gumbel noise g; `hard` returns one-hot samples that have its gradient.

    Jang et al., Categorical reparameterization with Gumbel-Softmax, 2017.

    >>> _ = fb.manual_seed(1)
    >>> fb.nn.functional.gumbel_softmax(fb.tensor([0.0, 5.0, 0.0]), hard=True)
    tensor([0., 1., 0.])
    """
    noise = -fb.empty_like(logits, requires_grad=False).exponential_().log()
    soft = softmax((logits + noise) / tau, dim=dim)
    if not hard:
        return soft
    one_hot = fb.zeros_like(logits).scatter_(dim, soft.argmax(dim, keepdim=True), 1.0)
    return one_hot - soft.detach() + soft


def _channel_dropout(
    name: str, dims: tuple[int, ...], input: Tensor, p: float, training: bool, inplace: bool
) -> Tensor:
    """Dropout of whole channels; the lowest of `dims` is an input without a batch dimension."""
    _check_probability(p)
    if input.dim() not in dims:
        raise RuntimeError(f"{name}: expected a tensor of {' or '.join(map(str, dims))} dimensions, got {input.dim()}")
    if not training or p == 0:
        return input
    leading = input.dim() - (dims[0] - 1)
    mask = fb.empty(input.shape[:leading], dtype=input.dtype, device=input.device).bernoulli_(1 - p)
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return _into(input, input * (mask * scale).reshape((*mask.shape,) + (1,) * (dims[0] - 1)), inplace)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels of (N, C, L) or (C, L) with probability p and scale the rest by 1 / (1 - p).

    >>> _ = fb.manual_seed(0)
    >>> fb.nn.functional.dropout1d(fb.ones(1, 4, 2))
    tensor([[[2., 2.],
             [0., 0.],
             [2., 2.],
             [0., 0.]]])
    """
    return _channel_dropout("dropout1d", (2, 3), input, p, training, inplace)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels of (N, C, H, W) or (C, H, W) with probability p and scale the rest by 1 / (1 - p).

    >>> _ = fb.manual_seed(0)
    >>> fb.nn.functional.dropout2d(fb.ones(1, 4, 2, 2)).sum((2, 3))
    tensor([[8., 0., 8., 0.]])
    """
    return _channel_dropout("dropout2d", (3, 4), input, p, training, inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels of (N, C, D, H, W) or (C, D, H, W) with probability p and scale the rest by 1 / (1 - p).

    >>> _ = fb.manual_seed(0)
    >>> fb.nn.functional.dropout3d(fb.ones(1, 4, 1, 2, 2)).sum((2, 3, 4))
    tensor([[8., 0., 8., 0.]])
    """
    return _channel_dropout("dropout3d", (4, 5), input, p, training, inplace)


# The value that SELU tends to at -∞: what alpha dropout sets dropped elements to.
_SELU_LIMIT = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717


def _alpha_dropout(input: Tensor, mask_shape: tuple[int, ...], p: float, training: bool, inplace: bool) -> Tensor:
    _check_probability(p)
    if not training or p == 0:
        return input
    if p == 1:
        return _into(input, input * 0, inplace)
    keep = fb.empty(mask_shape, dtype=input.dtype, device=input.device).bernoulli_(1 - p)
    scale = 1 / math.sqrt((1 - p) * (1 + p * _SELU_LIMIT**2))
    shift = -scale * p * _SELU_LIMIT
    return _into(input, input * (keep * scale) + ((1 - keep) * (scale * _SELU_LIMIT) + shift), inplace)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps mean 0 and variance 1: a (x m + α′ (1 - m)) + b. Klambauer et al., 2017.

    >>> _ = fb.manual_seed(0)
    >>> y = fb.nn.functional.alpha_dropout(fb.randn(10000), training=True)
    >>> abs(y.mean().item()) < 0.05, abs(y.std().item() - 1) < 0.05
    (True, True)
    """
    return _alpha_dropout(input, tuple(input.shape), p, training, inplace)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels of (N, C, …).

    >>> _ = fb.manual_seed(0)
    >>> fb.nn.functional.feature_alpha_dropout(fb.ones(1, 4, 2), training=True)
    tensor([[[ 1.6656,  1.6656],
             [-0.7792, -0.7792],
             [ 1.6656,  1.6656],
             [-0.7792, -0.7792]]])
    """
    return _alpha_dropout(input, (*input.shape[:2],) + (1,) * (input.dim() - 2), p, training, inplace)


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _into(input: Tensor, result: Tensor, inplace: bool) -> Tensor:
    return input.copy_(result) if inplace else result
