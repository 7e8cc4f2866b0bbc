"""Pooling: what is built on the kernels of `ops/pooling.py`. Maxima with their places, powers, and unpooling.

Imports the tensor core. Read next: `vision.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from flambeau import Tensor
from flambeau.ops.adaptive import AdaptiveSize, adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d
from flambeau.ops.arguments import Size, ntuple
from flambeau.ops.pooling import avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool2d, max_pool3d
from flambeau.ops.recall import recalled


def max_pool1d_with_indices(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`max_pool1d` with the flat positions of the maxima.

    >>> fb.nn.functional.max_pool1d_with_indices(fb.tensor([[1.0, 5.0, 2.0, 3.0]]), 2)
    (tensor([[5., 3.]]), tensor([[1, 3]]))
    """
    return max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`max_pool2d` with the flat positions of the maxima.

    >>> fb.nn.functional.max_pool2d_with_indices(fb.tensor([[[1.0, 5.0], [2.0, 3.0]]]), 2)
    (tensor([[[5.]]]), tensor([[[1]]]))
    """
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`max_pool3d` with the flat positions of the maxima.

    >>> fb.nn.functional.max_pool3d_with_indices(fb.arange(8.0).view(1, 2, 2, 2), 2)
    (tensor([[[[7.]]]]), tensor([[[[7]]]]))
    """
    return max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def _window(n: int, kernel_size: Size, stride: Size | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    kernel = ntuple(kernel_size, n, "kernel_size")
    return kernel, kernel if stride is None or stride in ([], ()) else ntuple(stride, n, "stride")


def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: AdaptiveSize, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool1d` with the flat positions of the maxima.

    >>> fb.nn.functional.adaptive_max_pool1d_with_indices(fb.tensor([[1.0, 5.0, 2.0, 3.0]]), 2)
    (tensor([[5., 3.]]), tensor([[1, 3]]))
    """
    return adaptive_max_pool1d(input, output_size, True)


def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: AdaptiveSize, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool2d` with the flat positions of the maxima.

    >>> fb.nn.functional.adaptive_max_pool2d_with_indices(fb.tensor([[[1.0, 5.0], [2.0, 3.0]]]), 1)
    (tensor([[[5.]]]), tensor([[[1]]]))
    """
    return adaptive_max_pool2d(input, output_size, True)


def adaptive_max_pool3d_with_indices(
    input: Tensor, output_size: AdaptiveSize, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool3d` with the flat positions of the maxima.

    >>> fb.nn.functional.adaptive_max_pool3d_with_indices(fb.arange(8.0).view(1, 2, 2, 2), 1)
    (tensor([[[[7.]]]]), tensor([[[[7]]]]))
    """
    return adaptive_max_pool3d(input, output_size, True)


def _lp(mean: Tensor, norm_type: float, count: int) -> Tensor:
    return (mean.sign() * mean.abs()).mul(count).pow(1.0 / norm_type)


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ xᵖ)^(1/p) over sliding windows of (N, C, L) or (C, L).

    >>> fb.nn.functional.lp_pool1d(fb.tensor([[3.0, 4.0, 6.0, 8.0]]), 2, 2)
    tensor([[ 5., 10.]])
    """
    mean = avg_pool1d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _lp(mean, norm_type, math.prod(ntuple(kernel_size, 1, "kernel_size")))


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ xᵖ)^(1/p) over sliding windows of (N, C, H, W) or (C, H, W).

    >>> fb.nn.functional.lp_pool2d(fb.full((1, 2, 2), 3.0), 2, 2)
    tensor([[[6.]]])
    """
    mean = avg_pool2d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _lp(mean, norm_type, math.prod(ntuple(kernel_size, 2, "kernel_size")))


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ xᵖ)^(1/p) over sliding windows of (N, C, D, H, W) or (C, D, H, W).

    >>> fb.nn.functional.lp_pool3d(fb.full((1, 1, 2, 2), 3.0), 2, (1, 2, 2))
    tensor([[[[6.]]]])
    """
    mean = avg_pool3d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _lp(mean, norm_type, math.prod(ntuple(kernel_size, 3, "kernel_size")))


def _max_unpool(
    n: int, input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None, padding: Size,
    output_size: Sequence[int] | None,
) -> Tensor:  # fmt: skip
    kernel, strides = _window(n, kernel_size, stride)
    paddings = ntuple(padding, n, "padding")
    settings = zip(input.shape[-n:], strides, kernel, paddings, strict=True)
    sizes = tuple((size - 1) * s + k - 2 * p for size, s, k, p in settings)
    if output_size is not None:
        wanted = tuple(output_size)[-n:]
        if any(not d - s < w < d + s for d, s, w in zip(sizes, strides, wanted, strict=True)):
            raise ValueError(f"invalid output_size {wanted} for a default of {sizes} and stride {strides}")
        sizes = wanted
    lead = input.shape[:-n]
    output = input.new_zeros(*lead, math.prod(sizes))
    return output.scatter(-1, indices.reshape(*lead, -1), input.reshape(*lead, -1)).reshape(*lead, *sizes)


@recalled
def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Put what `max_pool1d` returned back where it came from; zero elsewhere.

    >>> y, where = fb.nn.functional.max_pool1d(fb.tensor([[1.0, 5.0, 2.0, 3.0]]), 2, return_indices=True)
    >>> fb.nn.functional.max_unpool1d(y, where, 2)
    tensor([[0., 5., 0., 3.]])
    """
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


@recalled
def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Put what `max_pool2d` returned back where it came from; zero elsewhere.

    >>> y, where = fb.nn.functional.max_pool2d(fb.tensor([[[1.0, 5.0], [2.0, 3.0]]]), 2, return_indices=True)
    >>> fb.nn.functional.max_unpool2d(y, where, 2)
    tensor([[[0., 5.],
             [0., 0.]]])
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


@recalled
def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Put what `max_pool3d` returned back where it came from; zero elsewhere.

    >>> y, where = fb.nn.functional.max_pool3d(fb.arange(4.0).view(1, 1, 2, 2), (1, 2, 2), return_indices=True)
    >>> fb.nn.functional.max_unpool3d(y, where, (1, 2, 2))
    tensor([[[[0., 0.],
              [0., 3.]]]])
    """
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)
