"""Layer, group, root-mean-square and local response normalisation.

Imports `module.py`, functional and init. Read next: `activation.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter


class LayerNorm(Module):
    """y = (x - E[x]) / √(Var[x] + eps) γ + β, statistics over the last dimensions, of shape `normalized_shape`.

    Ba et al., Layer normalization, 2016.

    >>> import flambeau as fb
    >>> fb.nn.LayerNorm(4)(fb.ones(2, 4)).shape
    flambeau.Size([2, 4])
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        options = {"device": device, "dtype": dtype}
        self.register_parameter("weight", Parameter(fb.empty(shape, **options)) if elementwise_affine else None)
        self.register_parameter("bias", Parameter(fb.empty(shape, **options)) if elementwise_affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0."""
        _reset(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """y = x / √(mean x² + eps) γ, over the last dimensions, of shape `normalized_shape`; eps is the dtype's where None.

    Zhang and Sennrich, Root mean square layer normalization, 2019.

    >>> import flambeau as fb
    >>> fb.nn.RMSNorm(4)(fb.ones(2, 4)).shape
    flambeau.Size([2, 4])
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        weight = Parameter(fb.empty(shape, device=device, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weight to 1."""
        _reset(self)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """y = (x - E[x]) / √(Var[x] + eps) γ + β, statistics over groups of channels of each sample of (N, C, …).

    Wu and He, Group normalization, 2018.

    >>> import flambeau as fb
    >>> fb.nn.GroupNorm(2, 6)(fb.ones(3, 6, 4)).shape
    flambeau.Size([3, 6, 4])
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True,
        device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        options = {"device": device, "dtype": dtype}
        self.register_parameter("weight", Parameter(fb.empty(num_channels, **options)) if affine else None)
        self.register_parameter("bias", Parameter(fb.empty(num_channels, **options)) if affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0."""
        _reset(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        text = f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
        return f"{text}, bias={self.bias is not None}"


class LocalResponseNorm(Module):
    """x / (k + alpha / n Σ x²)^beta, the sum over n = `size` neighbouring channels of (N, C, …). Krizhevsky et al.,
    2012.

    >>> fb.nn.LocalResponseNorm(1, alpha=1.0, beta=1.0, k=0.0)(fb.tensor([[[2.0], [4.0]]]))
    tensor([[[0.5000],
             [0.2500]]])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(LocalResponseNorm):
    """The old name of LocalResponseNorm, for images (N, C, H, W).

    >>> fb.nn.CrossMapLRN2d(1, alpha=1.0, beta=1.0, k=0.0)(fb.tensor([[[[2.0]], [[4.0]]]])).flatten()
    tensor([0.5000, 0.2500])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__(size, alpha, beta, k)


def _reset(module: Module) -> None:
    for name, parameter in module.named_parameters(recurse=False):
        (init.ones_ if name == "weight" else init.zeros_)(parameter)
