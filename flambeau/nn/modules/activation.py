"""Activation layers: each is its function of `flambeau.nn.functional` with the settings it was made with.

Imports `module.py` and functional. Read next: `attention.py`.
"""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter


class _Inplace(Module):
    """An activation whose only setting is whether it overwrites its input."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_Inplace):
    """max(0, x).

    >>> import flambeau as fb
    >>> fb.nn.ReLU()(fb.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, inplace=self.inplace)


class SELU(_Inplace):
    """λ (max(0, x) + min(0, α (eˣ - 1))), λ ≈ 1.0507, α ≈ 1.6733. Klambauer et al., 2017.

    >>> fb.nn.SELU()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-1.5202,  0.5254,  3.1521])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, inplace=self.inplace)


class SiLU(_Inplace):
    """x σ(x), also called swish.

    >>> fb.nn.SiLU()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-0.2384,  0.3112,  2.8577])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, inplace=self.inplace)


class Mish(_Inplace):
    """x tanh(softplus(x)). Misra, 2019.

    >>> fb.nn.Mish()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-0.2525,  0.3752,  2.9865])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, inplace=self.inplace)


class Hardswish(_Inplace):
    """x · min(max(0, x + 3), 6) / 6. Howard et al., Searching for MobileNetV3, 2019.

    >>> fb.nn.Hardswish()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-0.3333,  0.2917,  3.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, inplace=self.inplace)

    def extra_repr(self) -> str:
        return ""


class Hardsigmoid(_Inplace):
    """min(max(0, x + 3), 6) / 6.

    >>> fb.nn.Hardsigmoid()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([0.1667, 0.5833, 1.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, inplace=self.inplace)

    def extra_repr(self) -> str:
        return ""


class ELU(Module):
    """x where x > 0, else alpha (eˣ - 1). Clevert et al., 2015.

    >>> fb.nn.ELU()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-0.8647,  0.5000,  3.0000])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, inplace=self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + _inplace(self)


class CELU(Module):
    """max(0, x) + min(0, alpha (e^(x / alpha) - 1)). Barron, 2017.

    >>> fb.nn.CELU()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-0.8647,  0.5000,  3.0000])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, inplace=self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + _inplace(self)


class LeakyReLU(Module):
    """x where x ≥ 0, else negative_slope x.

    >>> fb.nn.LeakyReLU(0.1)(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-0.2000,  0.5000,  3.0000])
    """

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, inplace=self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + _inplace(self)


class Hardtanh(Module):
    """x clamped to [min_val, max_val].

    >>> fb.nn.Hardtanh()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-1.0000,  0.5000,  1.0000])
    """

    def __init__(
        self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False,
        min_value: float | None = None, max_value: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if self.max_val <= self.min_val:
            raise AssertionError(f"max_val must be larger than min_val, got {self.max_val} and {self.min_val}")

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, inplace=self.inplace)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}" + _inplace(self)


class ReLU6(Hardtanh):
    """min(max(0, x), 6).

    >>> fb.nn.ReLU6()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([0.0000, 0.5000, 3.0000])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def forward(self, input: Tensor) -> Tensor:
        return F.relu6(input, inplace=self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Threshold(Module):
    """x where x > threshold, else value.

    >>> fb.nn.Threshold(1.0, -5.0)(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-5., -5.,  3.])
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, inplace=self.inplace)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}" + _inplace(self)


class RReLU(Module):
    """x where x ≥ 0, else a x, a drawn from U(lower, upper) in training and its mean in evaluation. Xu et al., 2015.

    >>> layer = fb.nn.RReLU(0.1, 0.3).eval()
    >>> layer(fb.tensor([-1.0, 2.0]))
    tensor([-0.2000,  2.0000])
    """

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + _inplace(self)


class GELU(Module):
    """x Φ(x), Φ the normal distribution function; approximate="tanh": ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))).

    Hendrycks and Gimpel, 2016.

    >>> fb.nn.GELU()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-0.0455,  0.3457,  2.9960])
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class GLU(Module):
    """a σ(b), a and b the two halves of the input along `dim`. Dauphin et al., 2016.

    >>> fb.nn.GLU()(fb.tensor([1.0, 2.0, 0.0, 100.0]))
    tensor([0.5000, 2.0000])
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Sigmoid(Module):
    """σ(x) = 1 / (1 + e⁻ˣ).

    >>> fb.nn.Sigmoid()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([0.1192, 0.6225, 0.9526])
    """

    def forward(self, input: Tensor) -> Tensor:
        return fb.sigmoid(input)


class Tanh(Module):
    """tanh(x).

    >>> fb.nn.Tanh()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-0.9640,  0.4621,  0.9951])
    """

    def forward(self, input: Tensor) -> Tensor:
        return fb.tanh(input)


class LogSigmoid(Module):
    """log σ(x).

    >>> fb.nn.LogSigmoid()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-2.1269, -0.4741, -0.0486])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Softplus(Module):
    """log(1 + e^(beta x)) / beta; x itself where beta x > threshold.

    >>> fb.nn.Softplus()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([0.1269, 0.9741, 3.0486])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softshrink(Module):
    """x - lambd where x > lambd, x + lambd where x < -lambd, else 0.

    >>> fb.nn.Softshrink()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-1.5000,  0.0000,  2.5000])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(Module):
    """x where |x| > lambd, else 0.

    >>> fb.nn.Hardshrink()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-2.,  0.,  3.])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Softsign(Module):
    """x / (1 + |x|).

    >>> fb.nn.Softsign()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-0.6667,  0.3333,  0.7500])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


class Tanhshrink(Module):
    """x - tanh(x).

    >>> fb.nn.Tanhshrink()(fb.tensor([-2.0, 0.5, 3.0]))
    tensor([-1.0360,  0.0379,  2.0049])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)


class PReLU(Module):
    """max(0, x) + a min(0, x), a learnt: one number, or one for each channel. He et al., 2015.

    >>> fb.nn.PReLU()(fb.tensor([-2.0, 3.0]))
    tensor([-0.5000,  3.0000], grad_fn=<PreluKernelBackward0>)
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(fb.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the slope to its initial value."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Softmax(Module):
    """exp(xᵢ) / Σ exp(xⱼ) along `dim`.

    >>> import flambeau as fb
    >>> fb.nn.Softmax(dim=0)(fb.zeros(4))
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmin(Module):
    """softmax(-x) along `dim`.

    >>> fb.nn.Softmin(dim=0)(fb.tensor([0.0, 1.0]))
    tensor([0.7311, 0.2689])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax2d(Module):
    """softmax over the channels of (N, C, H, W) or (C, H, W).

    >>> fb.nn.Softmax2d()(fb.zeros(4, 1, 2))[:, 0, 0]
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead")
        return F.softmax(input, -3)


class LogSoftmax(Module):
    """log softmax(x) along `dim`.

    >>> fb.nn.LogSoftmax(dim=0)(fb.tensor([0.0, 1.0]))
    tensor([-1.3133, -0.3133])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


def _inplace(module: Any) -> str:
    return ", inplace=True" if module.inplace else ""
