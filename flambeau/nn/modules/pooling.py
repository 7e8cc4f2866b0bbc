"""Pooling layers: maximum, average, power average, adaptive and unpooling.

Imports `module.py` and functional. Read next: `batchnorm.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn.functional.fractional import Ratio
from flambeau.nn.modules.module import Module
from flambeau.ops.adaptive import AdaptiveSize
from flambeau.ops.arguments import Size, ntuple


class _MaxPoolNd(Module):
    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
        return_indices: bool = False, ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.return_indices, self.ceil_mode = padding, dilation, return_indices, ceil_mode

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )

    def _pool(self, pool: Any, input: Tensor) -> Any:
        return pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation,
            ceil_mode=self.ceil_mode, return_indices=self.return_indices,
        )  # fmt: skip


class MaxPool1d(_MaxPoolNd):
    """Maxima of sliding windows: (N, C, L) → (N, C, Lₒ), Lₒ = ⌊(L + 2p - d (k - 1) - 1) / s⌋ + 1.

    >>> import flambeau as fb
    >>> fb.nn.MaxPool1d(2)(fb.tensor([[1.0, 3.0, 2.0, 0.0]]))
    tensor([[3., 2.]])
    """

    def forward(self, input: Tensor) -> Any:
        return self._pool(F.max_pool1d, input)


class MaxPool2d(_MaxPoolNd):
    """Maxima of sliding windows: (N, C, H, W) → (N, C, Hₒ, Wₒ), Hₒ = ⌊(H + 2p - d (k - 1) - 1) / s⌋ + 1.

    Args:
        stride: the window's size where None.
        padding: -∞ on both sides, at most half the window.
        return_indices: return also where the maxima were, for MaxUnpool2d.
        ceil_mode: round the size up, so that a last partial window counts.

    >>> import flambeau as fb
    >>> fb.nn.MaxPool2d(2)(fb.ones(1, 1, 6, 6)).shape
    flambeau.Size([1, 1, 3, 3])
    """

    def forward(self, input: Tensor) -> Any:
        return self._pool(F.max_pool2d, input)


class MaxPool3d(_MaxPoolNd):
    """Maxima of sliding windows: (N, C, D, H, W) → (N, C, Dₒ, Hₒ, Wₒ), sizes as for MaxPool2d.

    >>> fb.nn.MaxPool3d(2)(fb.arange(8.0).view(1, 2, 2, 2))
    tensor([[[[7.]]]])
    """

    def forward(self, input: Tensor) -> Any:
        return self._pool(F.max_pool3d, input)


class _MaxUnpoolNd(Module):
    _n: int

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> None:
        super().__init__()
        self.kernel_size = ntuple(kernel_size, self._n, "kernel_size")
        self.stride = ntuple(kernel_size if stride is None else stride, self._n, "stride")
        self.padding = ntuple(padding, self._n, "padding")

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        unpool = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[self._n - 1]
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpoolNd):
    """Put the maxima of MaxPool1d back where they were, zeros elsewhere.

    >>> y, where = fb.nn.MaxPool1d(2, return_indices=True)(fb.tensor([[1.0, 5.0, 2.0, 3.0]]))
    >>> fb.nn.MaxUnpool1d(2)(y, where)
    tensor([[0., 5., 0., 3.]])
    """

    _n = 1


class MaxUnpool2d(_MaxUnpoolNd):
    """Put the maxima of MaxPool2d back where they were, zeros elsewhere.

    >>> y, where = fb.nn.MaxPool2d(2, return_indices=True)(fb.tensor([[[1.0, 5.0], [2.0, 3.0]]]))
    >>> fb.nn.MaxUnpool2d(2)(y, where)
    tensor([[[0., 5.],
             [0., 0.]]])
    """

    _n = 2


class MaxUnpool3d(_MaxUnpoolNd):
    """Put the maxima of MaxPool3d back where they were, zeros elsewhere.

    >>> y, where = fb.nn.MaxPool3d((1, 2, 2), return_indices=True)(fb.arange(4.0).view(1, 1, 2, 2))
    >>> fb.nn.MaxUnpool3d((1, 2, 2))(y, where)
    tensor([[[[0., 0.],
              [0., 3.]]]])
    """

    _n = 3


class _FractionalMaxPoolNd(Module):
    _n: int

    def __init__(
        self, kernel_size: Size, output_size: Size | None = None, output_ratio: Ratio | None = None,
        return_indices: bool = False, _random_samples: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        n, name = self._n, type(self).__name__
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output size, or a pooling ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError(f"{name}: only one of output_size and output_ratio may be specified")
        self.kernel_size, self.return_indices = ntuple(kernel_size, n, "kernel_size"), return_indices
        self.output_size = None if output_size is None else ntuple(output_size, n, "output_size")
        self.output_ratio = (output_ratio,) * n if isinstance(output_ratio, int | float) else output_ratio
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ValueError(f"{name}: output_ratio must be between 0 and 1 (got {output_ratio})")
        self.register_buffer("_random_samples", _random_samples)

    def forward(self, input: Tensor) -> Any:
        pool = (F.fractional_max_pool2d, F.fractional_max_pool3d)[self._n - 2]
        return pool(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """Maxima of windows at random places: (N, C, H, W) → (N, C, Hₒ, Wₒ). Graham, Fractional max-pooling, 2014.

    Args:
        output_size: how many windows; or
        output_ratio: how many of the input's size, between 0 and 1.
        return_indices: return also where the maxima were, for MaxUnpool2d.

    >>> import flambeau as fb
    >>> fb.nn.FractionalMaxPool2d(3, output_ratio=0.5)(fb.ones(1, 2, 9, 8)).shape
    flambeau.Size([1, 2, 4, 4])
    """

    _n = 2


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """Maxima of windows at random places of volumes: (N, C, D, H, W) → (N, C, Dₒ, Hₒ, Wₒ); see FractionalMaxPool2d.

    >>> fb.nn.FractionalMaxPool3d(2, output_size=1)(fb.arange(8.0).view(1, 2, 2, 2))
    tensor([[[[7.]]]])
    """

    _n = 3


class AvgPool1d(Module):
    """Means of sliding windows: (N, C, L) → (N, C, Lₒ), Lₒ = ⌊(L + 2p - k) / s⌋ + 1.

    >>> import flambeau as fb
    >>> fb.nn.AvgPool1d(2)(fb.tensor([[1.0, 3.0, 2.0, 0.0]]))
    tensor([[2., 1.]])
    """

    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size = ntuple(kernel_size, 1, "kernel_size")
        self.stride = ntuple(kernel_size if stride is None else stride, 1, "stride")
        self.padding = ntuple(padding, 1, "padding")
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool2d(Module):
    """Means of sliding windows: (N, C, H, W) → (N, C, Hₒ, Wₒ), Hₒ = ⌊(H + 2p - k) / s⌋ + 1.

    Args:
        count_include_pad: count the padding zeros as elements.
        divisor_override: divide by this rather than by the count.

    >>> fb.nn.AvgPool2d(2)(fb.arange(8.0).view(1, 2, 4))
    tensor([[[2.5000, 4.5000]]])
    """

    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"

    def forward(self, input: Tensor) -> Tensor:
        return self._pool(F.avg_pool2d, input)

    def _pool(self, pool: Any, input: Tensor) -> Tensor:
        return pool(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool3d(AvgPool2d):
    """Means of sliding windows: (N, C, D, H, W) → (N, C, Dₒ, Hₒ, Wₒ); arguments as for AvgPool2d.

    >>> fb.nn.AvgPool3d(2)(fb.arange(8.0).view(1, 2, 2, 2))
    tensor([[[[3.5000]]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return self._pool(F.avg_pool3d, input)


class _LPPoolNd(Module):
    def __init__(
        self, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def extra_repr(self) -> str:
        names = ("norm_type", "kernel_size", "stride", "ceil_mode")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class LPPool1d(_LPPoolNd):
    """(Σ xᵖ)^(1/p) over sliding windows of (N, C, L).

    >>> fb.nn.LPPool1d(2, 2)(fb.tensor([[3.0, 4.0, 6.0, 8.0]]))
    tensor([[ 5., 10.]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool1d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool2d(_LPPoolNd):
    """(Σ xᵖ)^(1/p) over sliding windows of (N, C, H, W).

    >>> fb.nn.LPPool2d(2, 2)(fb.full((1, 2, 2), 3.0))
    tensor([[[6.]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool2d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool3d(_LPPoolNd):
    """(Σ xᵖ)^(1/p) over sliding windows of (N, C, D, H, W).

    >>> fb.nn.LPPool3d(2, (1, 2, 2))(fb.full((1, 1, 2, 2), 3.0))
    tensor([[[[6.]]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool3d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class _AdaptiveAvgPoolNd(Module):
    def __init__(self, output_size: AdaptiveSize) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """Means over `output_size` windows that cover (N, C, L).

    >>> fb.nn.AdaptiveAvgPool1d(2)(fb.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]]))
    tensor([[2., 4.]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """Means over a grid of windows that cover (N, C, H, W); None keeps a size.

    >>> import flambeau as fb
    >>> fb.nn.AdaptiveAvgPool2d((1, None))(fb.ones(2, 3, 5, 7)).shape
    flambeau.Size([2, 3, 1, 7])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """Means over a grid of windows that cover (N, C, D, H, W); None keeps a size.

    >>> fb.nn.AdaptiveAvgPool3d(1)(fb.arange(8.0).view(1, 2, 2, 2))
    tensor([[[[3.5000]]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool3d(input, self.output_size)


class _AdaptiveMaxPoolNd(Module):
    def __init__(self, output_size: AdaptiveSize, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """Maxima over `output_size` windows that cover (N, C, L).

    >>> fb.nn.AdaptiveMaxPool1d(2)(fb.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]]))
    tensor([[3., 5.]])
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """Maxima over a grid of windows that cover (N, C, H, W); None keeps a size.

    >>> fb.nn.AdaptiveMaxPool2d((None, 2))(fb.arange(8.0).view(1, 2, 4))
    tensor([[[1., 3.],
             [5., 7.]]])
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """Maxima over a grid of windows that cover (N, C, D, H, W); None keeps a size.

    >>> fb.nn.AdaptiveMaxPool3d(1)(fb.arange(8.0).view(1, 2, 2, 2))
    tensor([[[[7.]]]])
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)
