"""What distributions share: broadcasting of parameters, probabilities and logits, lazy properties, triangles.

Imports flambeau's functions only. Read next: `distribution.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from numbers import Number
from typing import Any

import flambeau as fb
from flambeau import Tensor

euler_constant = 0.57721566490153286060


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """The values broadcast against each other; numbers take the first tensor's dtype, or the default one.

    Raises ValueError for what is neither a tensor nor a number.

    >>> fb.distributions.utils.broadcast_all(fb.zeros(2), 1)
    (tensor([0., 0.]), tensor([1., 1.]))
    """
    if not all(isinstance(v, Tensor | Number) for v in values):
        wrong = next(v for v in values if not isinstance(v, Tensor | Number))
        raise ValueError(
            f"Input arguments must all be instances of Number or Tensor; got {type(wrong).__name__}, use tensor(...)"
        )
    dtype = next((v.dtype for v in values if isinstance(v, Tensor)), fb.get_default_dtype())
    tensors = [v if isinstance(v, Tensor) else fb.tensor(v, dtype=dtype) for v in values]
    shape = tensors[0].shape
    if all(t.shape == shape for t in tensors):
        return tuple(tensors)
    return tuple(fb.broadcast_tensors(*tensors))


def sum_rightmost(value: Tensor, dim: int) -> Tensor:
    """value summed over its `dim` last dimensions."""
    return value.sum(tuple(range(-dim, 0))) if dim else value


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities of log odds, or of unnormalised log probabilities over the last dimension.

    >>> fb.distributions.utils.logits_to_probs(fb.zeros(2))
    tensor([0.5000, 0.5000])
    """
    return fb.sigmoid(logits) if is_binary else fb.softmax(logits, dim=-1)


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities kept within [eps, 1 - eps] of their dtype."""
    eps = fb.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Log odds of probabilities, or their logarithms; the probabilities are clamped first.

    >>> fb.distributions.utils.probs_to_logits(fb.tensor([0.5]), is_binary=True)
    tensor([0.])
    """
    inside = clamp_probs(probs)
    return inside.log() - (-inside).log1p() if is_binary else inside.log()


class lazy_property:
    """A property computed when first asked for, with gradients recorded, and kept in the instance."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        functools.update_wrapper(self, wrapped)  # type: ignore[arg-type]

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        with fb.enable_grad():
            value = instance.__dict__[self.wrapped.__name__] = self.wrapped(instance)
        return value


def lower_mask(n: int, diag: int) -> Tensor:
    """Where an n × n matrix is on or below its diagonal `diag`."""
    return fb.ones(n, n, dtype=fb.bool).tril(diag)


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The elements on and below a diagonal of matrices (..., n, n), in the order of rows.

    >>> fb.distributions.utils.tril_matrix_to_vec(fb.tensor([[1.0, 0.0], [2.0, 3.0]]))
    tensor([1., 2., 3.])
    """
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    return mat[..., lower_mask(n, diag)]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """Lower triangular matrices (..., n, n) with the vectors' elements on and below a diagonal, in the order of rows.

    >>> fb.distributions.utils.vec_to_tril_matrix(fb.tensor([1.0, 2.0, 3.0]))
    tensor([[1., 0.],
            [2., 3.]])
    """
    size = vec.shape[-1]
    root = (-(1 + 2 * diag) + ((1 + 2 * diag) ** 2 + 8 * size + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2
    n = round(root)
    if abs(n - root) > fb.finfo(vec.dtype).eps:
        raise ValueError(
            f"The size of last dimension is {size} which cannot be expressed as the lower triangular part of a square "
            "D x D matrix."
        )
    mat = vec.new_zeros((*vec.shape[:-1], n, n))
    mat[..., lower_mask(n, diag)] = vec
    return mat
