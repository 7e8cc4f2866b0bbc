"""Batch norms folded into the layer before them, for inference.

Imports nn.modules. Read next: `memory_format.py`.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import flambeau as fb
from flambeau import Tensor
from flambeau.nn.modules.batchnorm import _BatchNorm
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]

M = TypeVar("M", bound=Module)


def _folded(
    weight: Tensor, bias: Tensor | None, mean: Tensor, var: Tensor, eps: float, scale: Tensor | None,
    shift: Tensor | None, dim: int,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    with fb.no_grad():
        factor = (var + eps).rsqrt()
        factor = factor if scale is None else factor * scale
        start = fb.zeros_like(mean) if bias is None else bias
        moved = (start - mean) * factor + (0.0 if shift is None else shift)
        shape = [1] * weight.dim()
        shape[dim] = -1
        folded = (weight * factor.reshape(shape)).to(weight.dtype)
        moved = moved.to((weight if bias is None else bias).dtype)
    return Parameter(folded, weight.requires_grad), Parameter(moved, bias is not None and bias.requires_grad)


def fuse_conv_bn_weights(
    conv_w: Tensor, conv_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor | None,
    bn_b: Tensor | None, transpose: bool = False,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Weight and bias of the convolution that equals convolution and batch norm: w s, (b - mean) s + shift.

    s = scale / √(var + eps). Args: `transpose` says that the convolution is a transposed one.

    >>> w, b = fb.ones(1, 1, 1), fb.zeros(1)
    >>> mean, var = fb.tensor([3.0]), fb.tensor([4.0])
    >>> w, b = fb.nn.utils.fuse_conv_bn_weights(w, b, mean, var, 0.0, fb.ones(1), fb.zeros(1))
    >>> w.item(), b.item()  # (x - 3) / 2
    (0.5, -1.5)
    """
    return _folded(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 1 if transpose else 0)


def fuse_linear_bn_weights(
    linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor,
    bn_b: Tensor,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Weight and bias of the linear layer that equals linear layer and batch norm; see `fuse_conv_bn_weights`.

    >>> w, b = fb.ones(1, 1), fb.zeros(1)
    >>> mean, var = fb.tensor([3.0]), fb.tensor([4.0])
    >>> w, b = fb.nn.utils.fuse_linear_bn_weights(w, b, mean, var, 0.0, fb.ones(1), fb.zeros(1))
    >>> w.item(), b.item()  # (x - 3) / 2
    (0.5, -1.5)
    """
    return _folded(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def _fused(layer: M, bn: _BatchNorm, dim: int) -> M:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval! Call .eval() on both modules before")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None; it keeps no running statistics")
    fused = deepcopy(layer)
    fused.weight, fused.bias = _folded(
        layer.weight, layer.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, dim
    )
    return fused


def fuse_conv_bn_eval(conv: M, bn: _BatchNorm, transpose: bool = False) -> M:
    """A convolution that computes what `conv` followed by `bn` does; both in eval mode.

    Raises:
        AssertionError: where one is in training mode, or `bn` keeps no statistics.

    >>> import flambeau as fb
    >>> conv, bn = fb.nn.Conv2d(2, 3, 1).eval(), fb.nn.BatchNorm2d(3).eval()
    >>> x = fb.randn(1, 2, 4, 4)
    >>> fb.allclose(fb.nn.utils.fuse_conv_bn_eval(conv, bn)(x), bn(conv(x)), atol=1e-6)
    True
    """
    return _fused(conv, bn, 1 if transpose else 0)


def fuse_linear_bn_eval(linear: M, bn: _BatchNorm) -> M:
    """A linear layer that computes what `linear` followed by `bn` does; both in eval mode.

    Raises:
        AssertionError: where one is in training mode, `bn` keeps no statistics, or its features aren't those of
            `linear`.

    >>> linear, norm = fb.nn.Linear(2, 3).eval(), fb.nn.BatchNorm1d(3).eval()
    >>> x = fb.ones(4, 2)
    >>> fb.nn.utils.fuse_linear_bn_eval(linear, norm)(x).allclose(norm(linear(x)))
    True
    """
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            f"To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got {linear.out_features} and "
            f"{bn.num_features}"
        )
    return _fused(linear, bn, 0)
