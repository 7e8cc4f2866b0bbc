"""Transforms of each number by itself: exp, powers, sigmoid, softplus, tanh, abs, affine maps, distribution functions.

Imports `transform.py`. Read next: `transforms_vector.py`.
"""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import Size, Tensor
from flambeau.distributions import constraints
from flambeau.distributions.transform import Transform
from flambeau.distributions.utils import broadcast_all, lazy_property, sum_rightmost


class ExpTransform(Transform):
    """y = e^x.

    >>> t = fb.distributions.ExpTransform()
    >>> x = fb.tensor([0.0, 1.0])
    >>> t(x), t.log_abs_det_jacobian(x, t(x))
    (tensor([1.0000, 2.7183]), tensor([0., 1.]))
    """

    domain = constraints.real
    codomain = constraints.positive
    bijective = True
    sign = +1

    def _call(self, x: Tensor) -> Tensor:
        return x.exp()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x


class PowerTransform(Transform):
    """y = x^exponent, of positive numbers.

    >>> t = fb.distributions.PowerTransform(2.0)
    >>> t(fb.tensor([3.0])), t.inv(fb.tensor([9.0]))
    (tensor([9.]), tensor([3.]))
    """

    domain = constraints.positive
    codomain = constraints.positive
    bijective = True

    def __init__(self, exponent: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        (self.exponent,) = broadcast_all(exponent)

    def _state(self) -> dict[str, Any]:
        return {"exponent": self.exponent}

    @lazy_property
    def sign(self) -> Tensor:
        return self.exponent.sign()

    def _call(self, x: Tensor) -> Tensor:
        return x.pow(self.exponent)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.pow(1 / self.exponent)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.exponent * y / x).abs().log()

    def forward_shape(self, shape: Size) -> Size:
        return fb.broadcast_shapes(shape, self.exponent.shape)

    inverse_shape = forward_shape


def clipped_sigmoid(x: Tensor) -> Tensor:
    """sigmoid, kept away from 0 and 1 so that the inverse is finite."""
    info = fb.finfo(x.dtype)
    return fb.sigmoid(x).clamp(min=info.tiny, max=1.0 - info.eps)


class SigmoidTransform(Transform):
    """y = 1 / (1 + e^(−x)).

    >>> t = fb.distributions.SigmoidTransform()
    >>> t(fb.tensor([0.0])), t.inv(fb.tensor([0.5]))
    (tensor([0.5000]), tensor([0.]))
    """

    domain = constraints.real
    codomain = constraints.unit_interval
    bijective = True
    sign = +1

    def _call(self, x: Tensor) -> Tensor:
        return clipped_sigmoid(x)

    def _inverse(self, y: Tensor) -> Tensor:
        info = fb.finfo(y.dtype)
        inside = y.clamp(min=info.tiny, max=1.0 - info.eps)
        return inside.log() - (-inside).log1p()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -fb.nn.functional.softplus(-x) - fb.nn.functional.softplus(x)


class SoftplusTransform(Transform):
    """y = log(1 + e^x).

    >>> fb.distributions.SoftplusTransform()(fb.tensor([0.0, 2.0]))
    tensor([0.6931, 2.1269])
    """

    domain = constraints.real
    codomain = constraints.positive
    bijective = True
    sign = +1

    def _call(self, x: Tensor) -> Tensor:
        return fb.nn.functional.softplus(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return (-y).expm1().neg().log() + y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -fb.nn.functional.softplus(-x)


class TanhTransform(Transform):
    """y = tanh x.

    >>> fb.distributions.TanhTransform()(fb.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """

    domain = constraints.real
    codomain = constraints.interval(-1.0, 1.0)
    bijective = True
    sign = +1

    def _call(self, x: Tensor) -> Tensor:
        return x.tanh()

    def _inverse(self, y: Tensor) -> Tensor:
        return fb.atanh(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        # log(1 − tanh² x), in a form that keeps its digits for large x.
        return 2.0 * (math.log(2.0) - x - fb.nn.functional.softplus(-2.0 * x))


class AbsTransform(Transform):
    """y = |x|; its pseudo-inverse is the identity.

    >>> fb.distributions.AbsTransform()(fb.tensor([-2.0, 3.0]))
    tensor([2., 3.])
    """

    domain = constraints.real
    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return x.abs()

    def _inverse(self, y: Tensor) -> Tensor:
        return y


class AffineTransform(Transform):
    """y = loc + scale x, for events of `event_dim` dimensions.

    >>> fb.distributions.AffineTransform(1.0, 2.0)(fb.ones(1))
    tensor([3.])
    """

    bijective = True

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.loc, self.scale, self._event_dim = loc, scale, event_dim

    @property
    def event_dim(self) -> int:
        return self._event_dim

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> Any:
        return constraints.independent(constraints.real, self.event_dim) if self.event_dim else constraints.real

    codomain = domain

    @property
    def sign(self) -> Any:
        if isinstance(self.scale, Tensor):
            return self.scale.sign()
        return (self.scale > 0) - (self.scale < 0)

    def _call(self, x: Tensor) -> Tensor:
        return self.loc + self.scale * x

    def _inverse(self, y: Tensor) -> Tensor:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        if isinstance(self.scale, Tensor):
            each = self.scale.abs().log().expand(fb.broadcast_shapes(x.shape, self.scale.shape))
        else:
            each = fb.full_like(x, math.log(abs(self.scale)))
        return sum_rightmost(each, self.event_dim)

    def forward_shape(self, shape: Size) -> Size:
        return fb.broadcast_shapes(shape, getattr(self.loc, "shape", ()), getattr(self.scale, "shape", ()))

    inverse_shape = forward_shape


class CumulativeDistributionTransform(Transform):
    """y = F(x) with a distribution's cumulative function F; the inverse is its quantile function.

    >>> T = fb.distributions.CumulativeDistributionTransform(fb.distributions.Normal(0.0, 1.0))
    >>> T(fb.zeros(1))
    tensor([0.5000])
    """

    bijective = True
    codomain = constraints.unit_interval
    sign = +1

    def __init__(self, distribution: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.distribution = distribution

    @property
    def domain(self) -> Any:
        return self.distribution.support

    def _call(self, x: Tensor) -> Tensor:
        return self.distribution.cdf(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.distribution.log_prob(x)
