"""Distributions on the line with a location and a scale: Normal and its kin, Laplace, Cauchy, Gumbel.

Imports `distribution.py` and `composite.py`. Read next: `gamma.py`.
"""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import Size, Tensor
from flambeau.distributions import constraints
from flambeau.distributions.composite import TransformedDistribution
from flambeau.distributions.distribution import LOG_ROOT_TAU, Distribution, ExponentialFamily, Shape
from flambeau.distributions.transforms import AbsTransform, AffineTransform, ExpTransform
from flambeau.distributions.uniform import Uniform
from flambeau.distributions.utils import broadcast_all, euler_constant

LOCATION_SCALE = {"loc": constraints.real, "scale": constraints.positive}


class _Symmetric(Distribution):
    """A location and a scale, with the density symmetric about the location."""

    arg_constraints: Any = LOCATION_SCALE
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self._set(validate_args, loc=loc, scale=scale)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    def _standard(self, shape: Size) -> Tensor:
        """Samples with location 0 and scale 1."""
        raise NotImplementedError

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        return self.loc + self._standard(self._extended_shape(sample_shape)) * self.scale

    def _z(self, value: Tensor) -> Tensor:
        self._check(value)
        return (value - self.loc) / self.scale


class Normal(_Symmetric, ExponentialFamily):
    """Density e^(−((x − loc) / scale)² / 2) / (scale √2π).

    >>> d = fb.distributions.Normal(0.0, 1.0)
    >>> d.log_prob(fb.tensor(0.0)), d.cdf(fb.tensor(1.0)), d.entropy()
    (tensor(-0.9189), tensor(0.8413), tensor(1.4189))
    """

    _mean_carrier_measure = 0

    @property
    def stddev(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        return self.scale**2

    def _standard(self, shape: Size) -> Tensor:
        return fb.randn(shape, dtype=self.loc.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        return -0.5 * self._z(value) ** 2 - self.scale.log() - LOG_ROOT_TAU

    def cdf(self, value: Tensor) -> Tensor:
        return fb.special.ndtr(self._z(value))

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * fb.special.ndtri(value)

    def entropy(self) -> Tensor:
        return 0.5 + LOG_ROOT_TAU + self.scale.log()

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return self.loc / self.scale**2, -0.5 * self.scale**-2

    def _log_normalizer(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        return -0.25 * x**2 / y + 0.5 * (-math.pi / y).log()


class LogNormal(TransformedDistribution):
    """e^X with X normal.

    >>> fb.distributions.LogNormal(0.0, 1.0).mean
    tensor(1.6487)
    """

    arg_constraints = LOCATION_SCALE
    support = constraints.positive
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Normal(loc, scale, validate_args), ExpTransform(), validate_args)

    @property
    def loc(self) -> Tensor:
        return self.base_dist.loc

    @property
    def scale(self) -> Tensor:
        return self.base_dist.scale

    @property
    def mean(self) -> Tensor:
        return (self.loc + self.scale**2 / 2).exp()

    @property
    def mode(self) -> Tensor:
        return (self.loc - self.scale**2).exp()

    @property
    def variance(self) -> Tensor:
        squared = self.scale**2
        return squared.expm1() * (2 * self.loc + squared).exp()

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() + self.loc


class _Half(TransformedDistribution):
    """|X| of a distribution symmetric about 0."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    base: type[_Symmetric]

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(self.base(0, scale, False), AbsTransform(), validate_args)

    @property
    def scale(self) -> Tensor:
        return self.base_dist.scale

    @property
    def mode(self) -> Tensor:
        return fb.zeros_like(self.scale)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        return fb.where(value >= 0, self.base_dist.log_prob(value) + math.log(2), -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        self._check(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, value: Tensor) -> Tensor:
        return self.base_dist.icdf((value + 1) / 2)

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() - math.log(2)


class HalfNormal(_Half):
    """|X| with X normal about 0.

    >>> fb.distributions.HalfNormal(1.0).mean
    tensor(0.7979)
    """

    base = Normal

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Tensor:
        return self.scale**2 * (1 - 2 / math.pi)


class Laplace(_Symmetric):
    """Density e^(−|x − loc| / scale) / (2 scale).

    >>> fb.distributions.Laplace(0.0, 1.0).cdf(fb.tensor(0.0))
    tensor(0.5000)
    """

    @property
    def stddev(self) -> Tensor:
        return math.sqrt(2) * self.scale

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale**2

    def _standard(self, shape: Size) -> Tensor:
        info = fb.finfo(self.loc.dtype)
        u = fb.rand(shape, dtype=self.loc.dtype) * (2 - info.eps) + (info.eps - 1)  # within (−1, 1)
        return -u.sign() * (-u.abs().clamp(min=info.tiny)).log1p()

    def log_prob(self, value: Tensor) -> Tensor:
        return -self._z(value).abs() - (2 * self.scale).log()

    def cdf(self, value: Tensor) -> Tensor:
        z = self._z(value)
        return 0.5 - 0.5 * z.sign() * (-z.abs()).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        centred = value - 0.5
        return self.loc - self.scale * centred.sign() * (-2 * centred.abs()).log1p()

    def entropy(self) -> Tensor:
        return 1 + (2 * self.scale).log()


class Cauchy(_Symmetric):
    """Density 1 / (π scale (1 + ((x − loc) / scale)²)); it has no mean.

    >>> fb.distributions.Cauchy(0.0, 1.0).icdf(fb.tensor(0.75))
    tensor(1.0000)
    """

    @property
    def mean(self) -> Tensor:
        return fb.full_like(self.loc, math.nan)

    @property
    def variance(self) -> Tensor:
        return fb.full_like(self.loc, math.inf)

    def _standard(self, shape: Size) -> Tensor:
        return fb.empty(shape, dtype=self.loc.dtype).cauchy_()

    def log_prob(self, value: Tensor) -> Tensor:
        return -math.log(math.pi) - self.scale.log() - (self._z(value) ** 2).log1p()

    def cdf(self, value: Tensor) -> Tensor:
        return fb.atan(self._z(value)) / math.pi + 0.5

    def icdf(self, value: Tensor) -> Tensor:
        return fb.tan(math.pi * (value - 0.5)) * self.scale + self.loc

    def entropy(self) -> Tensor:
        return math.log(4 * math.pi) + self.scale.log()


class HalfCauchy(_Half):
    """|X| with X of Cauchy's distribution about 0.

    >>> fb.distributions.HalfCauchy(1.0).icdf(fb.tensor(0.5))
    tensor(1.0000)
    """

    base = Cauchy

    @property
    def mean(self) -> Tensor:
        return fb.full_like(self.scale, math.inf)

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance


class Gumbel(TransformedDistribution):
    """Distribution function e^(−e^(−(x − loc) / scale)): that of the largest of many.

    >>> fb.distributions.Gumbel(0.0, 1.0).mean
    tensor(0.5772)
    """

    arg_constraints = LOCATION_SCALE
    support = constraints.real

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        info = fb.finfo(self.loc.dtype)
        base = Uniform(
            fb.full_like(self.loc, info.tiny), fb.full_like(self.loc, 1 - info.eps), validate_args=validate_args
        )
        log = ExpTransform().inv
        parts = [log, AffineTransform(0, -1.0), log, AffineTransform(self.loc, -self.scale)]
        super().__init__(base, parts, validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        y = (self.loc - value) / self.scale
        return y - y.exp() - self.scale.log()

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * euler_constant

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def stddev(self) -> Tensor:
        return math.pi / math.sqrt(6) * self.scale

    @property
    def variance(self) -> Tensor:
        return self.stddev**2

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + euler_constant)
