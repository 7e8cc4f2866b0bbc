"""Initialisers: fill a tensor in place from a distribution chosen for how signals travel through layers.

All run without recording gradients, draw from flambeau's generator, and return their tensor. Imports the tensor core.
Read next: `modules/linear.py`, whose `reset_parameters` uses them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import flambeau as fb
from flambeau import Tensor

_GAINS: dict[str, Callable[[Any], float]] = {
    **dict.fromkeys(
        ("linear", "identity", "sigmoid", "conv1d", "conv2d", "conv3d",
         "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), lambda _: 1.0,
    ),
    "tanh": lambda _: 5.0 / 3.0,
    "relu": lambda _: math.sqrt(2.0),
    "leaky_relu": lambda slope: math.sqrt(2.0 / (1.0 + (0.01 if slope is None else slope) ** 2)),
    "selu": lambda _: 0.75,
}  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps a signal's variance through a nonlinearity: √2 for relu, 5/3 for tanh, 1 for linear layers.

    Args:
        param: the negative slope of leaky_relu, 0.01 where None.

    >>> from flambeau.nn import init
    >>> init.calculate_gain("tanh")
    1.6666666666666667
    """
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}; expected one of {', '.join(_GAINS)}")
    if nonlinearity == "leaky_relu" and not (
        param is None or (isinstance(param, (int, float)) and not isinstance(param, bool))
    ):
        raise ValueError(f"negative_slope {param} not a valid number")
    return _GAINS[nonlinearity](param)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Fill from the uniform distribution on [a, b).

    >>> _ = fb.manual_seed(0)
    >>> fb.nn.init.uniform_(fb.empty(3), -1.0, 1.0)
    tensor([-0.2019,  0.9445, -0.9611])
    """
    with fb.no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Fill from the normal distribution N(mean, std²).

    >>> _ = fb.manual_seed(0)
    >>> fb.nn.init.normal_(fb.empty(3), std=0.02)
    tensor([ 0.0148, -0.0347, -0.0017])
    """
    with fb.no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Fill from N(mean, std²) restricted to [a, b], by inverting its distribution function.

    x = mean + std √2 erf⁻¹(2u - 1), u uniform on [Φ((a - mean) / std), Φ((b - mean) / std)].

    >>> _ = fb.manual_seed(0)
    >>> w = fb.nn.init.trunc_normal_(fb.empty(1000), a=-1.0, b=1.0)
    >>> w.abs().max() <= 1
    tensor(True)
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            f"trunc_normal_: mean {mean} is more than two std ({std}) outside [{a}, {b}]; the samples will be "
            "inaccurate",
            stacklevel=2,
        )

    def cdf(x: float) -> float:
        return 0.5 * (1.0 + math.erf((x - mean) / (std * math.sqrt(2.0))))

    with fb.no_grad():
        tensor.uniform_(2 * cdf(a) - 1, 2 * cdf(b) - 1, generator=generator)
        return tensor.erfinv_().mul_(std * math.sqrt(2.0)).add_(mean).clamp_(min=a, max=b)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value.

    >>> fb.nn.init.constant_(fb.empty(2), 0.3)
    tensor([0.3000, 0.3000])
    """
    with fb.no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones.

    >>> fb.nn.init.ones_(fb.empty(2))
    tensor([1., 1.])
    """
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros.

    >>> fb.nn.init.zeros_(fb.empty(2))
    tensor([0., 0.])
    """
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity.

    >>> fb.nn.init.eye_(fb.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    _expect_dims("eye_", tensor, (2,))
    with fb.no_grad():
        return tensor.copy_(fb.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill a convolution's weight so that it passes on its input channels, in each of `groups` alike.

    >>> fb.nn.init.dirac_(fb.empty(2, 2, 3))
    tensor([[[0., 1., 0.],
             [0., 0., 0.]],
    <BLANKLINE>
            [[0., 0., 0.],
             [0., 1., 0.]]])
    """
    _expect_dims("dirac_", tensor, (3, 4, 5))
    out_channels, in_channels, *kernel = tensor.shape
    if out_channels % groups:
        raise ValueError(f"dim 0 must be divisible by groups, got {out_channels} and {groups}")
    per_group = out_channels // groups
    centre = tuple(k // 2 for k in kernel)
    with fb.no_grad():
        tensor.zero_()
        for group in range(groups):
            for channel in range(min(per_group, in_channels)):
                tensor[(group * per_group + channel, channel, *centre)] = 1
    return tensor


def _expect_dims(name: str, tensor: Tensor, dims: tuple[int, ...]) -> None:
    if tensor.dim() not in dims:
        raise ValueError(f"{name}: expected a tensor of {' or '.join(map(str, dims))} dimensions, got {tensor.dim()}")


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    receptive_field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive_field, tensor.shape[0] * receptive_field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    modes = ("fan_in", "fan_out")
    if mode.lower() not in modes:
        raise ValueError(f"Mode {mode} not supported, please use one of {modes}")
    return _calculate_fan_in_and_fan_out(tensor)[modes.index(mode.lower())]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill from U(-a, a), a = gain √(6 / (fan_in + fan_out)).

    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010.

    >>> _ = fb.manual_seed(0)
    >>> fb.nn.init.xavier_uniform_(fb.empty(30, 20)).abs().max() <= (6 / 50) ** 0.5
    tensor(True)
    """
    bound = gain * math.sqrt(6.0 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill from N(0, std²), std = gain √(2 / (fan_in + fan_out)).

    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010.

    >>> _ = fb.manual_seed(0)
    >>> w = fb.nn.init.xavier_normal_(fb.empty(300, 200))
    >>> round(w.std().item(), 3), round((2 / 500) ** 0.5, 3)
    (0.063, 0.063)
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor))), generator)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Fill from U(-bound, bound), bound = gain √(3 / fan).

    He et al., Delving deep into rectifiers, 2015.

    Args:
        a: the negative slope of the leaky_relu that follows.
        mode: "fan_in" keeps the variance forward, "fan_out" backward.

    >>> _ = fb.manual_seed(0)
    >>> w = fb.nn.init.kaiming_uniform_(fb.empty(30, 24), nonlinearity="relu")
    >>> w.abs().max() <= 0.5
    tensor(True)
    """
    if _warned_of_empty(tensor):
        return tensor
    bound = math.sqrt(3.0) * calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Fill from N(0, std²), std = gain / √fan. Arguments and source: see `kaiming_uniform_`.

    >>> _ = fb.manual_seed(0)
    >>> w = fb.nn.init.kaiming_normal_(fb.empty(300, 200), nonlinearity="relu")
    >>> round(w.std().item(), 2)
    0.1
    """
    if _warned_of_empty(tensor):
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))
    return normal_(tensor, 0.0, std, generator)


def _warned_of_empty(tensor: Tensor) -> bool:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return True
    return False


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Fill with a (semi-)orthogonal matrix, uniformly distributed; dimensions after the first count as columns.

    Saxe et al., Exact solutions to the nonlinear dynamics of learning in deep linear neural networks, 2013.

    >>> _ = fb.manual_seed(0)
    >>> q = fb.nn.init.orthogonal_(fb.empty(2, 3))
    >>> (q @ q.T).allclose(fb.eye(2), atol=1e-6)
    True
    """
    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    import numpy as np

    rows, cols = tensor.shape[0], tensor.numel() // tensor.shape[0]
    normal = fb.empty(max(rows, cols), min(rows, cols), dtype=fb.float64).normal_(0, 1, generator=generator)
    q, r = np.linalg.qr(normal.numpy())
    q *= np.sign(np.diag(r))  # the factor with a positive diagonal is unique, which makes q uniformly distributed
    with fb.no_grad():
        return tensor.copy_(gain * fb.from_numpy(q if rows >= cols else q.T.copy()).reshape(tensor.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Fill a matrix from N(0, std²), with the fraction `sparsity` of each column, rounded up, set to zero.

    Martens, Deep learning via Hessian-free optimization, 2010.

    >>> _ = fb.manual_seed(0)
    >>> (fb.nn.init.sparse_(fb.empty(4, 2), sparsity=0.5) == 0).sum(0)
    tensor([2, 2])
    """
    _expect_dims("sparse_", tensor, (2,))
    rows, cols = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with fb.no_grad():
        tensor.normal_(0, std, generator=generator)
        for col in range(cols):
            tensor[fb.randperm(rows)[:zeros], col] = 0
    return tensor
