"""Convolutions and transposed convolutions of 1, 2 and 3 dimensions.

Imports `module.py`, functional and init. Read next: `pooling.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import flambeau as fb
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.linear import reset_uniform
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops.arguments import Size, ntuple


class _ConvNd(Module):
    """What all convolutions have: settings, a weight and a bias that start from U(-√k, √k), k = 1 / fan_in."""

    _n: ClassVar[int]
    _transposed: ClassVar[bool] = False

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size | str = 0,
        dilation: Size = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        n = self._n
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError(f"in_channels must be divisible by groups, got {in_channels} and {groups}")
        if out_channels % groups:
            raise ValueError(f"out_channels must be divisible by groups, got {out_channels} and {groups}")
        modes = ("zeros", "reflect", "replicate", "circular")
        if padding_mode not in modes:
            raise ValueError(f"padding_mode must be one of {modes}, but got padding_mode='{padding_mode}'")
        self.in_channels, self.out_channels, self.groups, self.padding_mode = (
            in_channels,
            out_channels,
            groups,
            padding_mode,
        )
        self.kernel_size, self.stride = ntuple(kernel_size, n, "kernel_size"), ntuple(stride, n, "stride")
        self.dilation = ntuple(dilation, n, "dilation")
        self.transposed, self.output_padding = self._transposed, (0,) * n
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string '{padding}', should be one of 'same', 'valid'")
            if padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
            totals = [
                d * (k - 1) if padding == "same" else 0 for d, k in zip(self.dilation, self.kernel_size, strict=True)
            ]
            sides = [(t // 2, t - t // 2) for t in totals]
            self.padding: Any = padding
        else:
            self.padding = ntuple(padding, n, "padding")
            sides = [(p, p) for p in self.padding]
        self._reversed_padding_repeated_twice = [p for side in reversed(sides) for p in side]
        channels = (in_channels, out_channels // groups) if self._transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(fb.empty((*channels, *self.kernel_size), device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(fb.empty(out_channels, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        reset_uniform(self.weight, self.bias)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        n = len(self.kernel_size)
        for name, default in (
            ("padding", (0,) * n),
            ("dilation", (1,) * n),
            ("output_padding", (0,) * n),
            ("groups", 1),
        ):
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)

    def _convolve(self, convolution: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode), 0
        return convolution(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_ConvNd):
    """Cross-correlation along one dimension: (N, C, L) → (N, Cₒ, Lₒ), Lₒ = ⌊(L + 2p - d (k - 1) - 1) / s⌋ + 1.

    >>> import flambeau as fb
    >>> fb.nn.Conv1d(4, 8, 3, padding="same")(fb.ones(2, 4, 10)).shape
    flambeau.Size([2, 8, 10])
    """

    _n = 1

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self._convolve(F.conv1d, input, weight, bias)


class Conv2d(_ConvNd):
    """Cross-correlation over an image: (N, C, H, W) → (N, Cₒ, Hₒ, Wₒ), Hₒ = ⌊(H + 2p - d (k - 1) - 1) / s⌋ + 1.

    Args:
        padding: zeros around the input, or "same" or "valid".
        groups: both channel counts are divided into as many independent groups.
        padding_mode: zeros, reflect, replicate or circular.

    >>> import flambeau as fb
    >>> fb.nn.Conv2d(3, 6, 5)(fb.ones(1, 3, 32, 32)).shape
    flambeau.Size([1, 6, 28, 28])
    """

    _n = 2

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self._convolve(F.conv2d, input, weight, bias)


class Conv3d(_ConvNd):
    """Cross-correlation over a volume: (N, C, D, H, W) → (N, Cₒ, Dₒ, Hₒ, Wₒ), sizes as for Conv2d.

    >>> import flambeau as fb
    >>> fb.nn.Conv3d(2, 3, 2)(fb.ones(1, 2, 4, 4, 4)).shape
    flambeau.Size([1, 3, 3, 3, 3])
    """

    _n = 3

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self._convolve(F.conv3d, input, weight, bias)


class _ConvTransposeNd(_ConvNd):
    """Transposed convolutions: the gradient of a convolution with respect to its input, as a layer."""

    _transposed = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size = 0,
        output_padding: Size = 0, groups: int = 1, bias: bool = True, dilation: Size = 1, padding_mode: str = "zeros",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )
        self.output_padding = ntuple(output_padding, self._n, "output_padding")

    def _output_padding(self, input: Tensor, output_size: Sequence[int] | None) -> tuple[int, ...]:
        """What to add behind so that the output gets `output_size`, which is one of `stride` possible ones."""
        if output_size is None:
            return self.output_padding
        n = self._n
        wanted = tuple(output_size)[-n:]
        sizes = zip(input.shape[-n:], self.stride, self.padding, self.dilation, self.kernel_size, strict=True)
        smallest = [(size - 1) * s - 2 * p + d * (k - 1) + 1 for size, s, p, d, k in sizes]
        if any(not lo <= w < lo + s for lo, w, s in zip(smallest, wanted, self.stride, strict=True)):
            raise ValueError(
                f"requested an output size of {wanted}, but valid sizes range from {smallest} to "
                f"{[lo + s - 1 for lo, s in zip(smallest, self.stride, strict=True)]} (for an input of "
                f"{tuple(input.shape[-n:])})"
            )
        return tuple(w - lo for w, lo in zip(wanted, smallest, strict=True))

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        convolution = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self._n - 1]
        extra = self._output_padding(input, output_size)
        return convolution(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)


class ConvTranspose1d(_ConvTransposeNd):
    """Transposed convolution: (N, C, L) → (N, Cₒ, Lₒ), Lₒ = (L - 1) s - 2p + d (k - 1) + output_padding + 1.

    >>> import flambeau as fb
    >>> fb.nn.ConvTranspose1d(4, 2, 3, stride=2)(fb.ones(1, 4, 5)).shape
    flambeau.Size([1, 2, 11])
    """

    _n = 1


class ConvTranspose2d(_ConvTransposeNd):
    """Transposed convolution over an image: (N, C, H, W) → (N, Cₒ, Hₒ, Wₒ), sizes as for ConvTranspose1d.

    >>> import flambeau as fb
    >>> fb.nn.ConvTranspose2d(4, 2, 2, stride=2)(fb.ones(1, 4, 3, 3)).shape
    flambeau.Size([1, 2, 6, 6])
    """

    _n = 2


class ConvTranspose3d(_ConvTransposeNd):
    """Transposed convolution over a volume: (N, C, D, H, W) → (N, Cₒ, Dₒ, Hₒ, Wₒ), sizes as for ConvTranspose1d.

    >>> import flambeau as fb
    >>> fb.nn.ConvTranspose3d(2, 1, 2, stride=2)(fb.ones(1, 2, 2, 2, 2)).shape
    flambeau.Size([1, 1, 4, 4, 4])
    """

    _n = 3
