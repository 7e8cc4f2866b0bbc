"""Distributions with a tail of one's choice: Pareto, GeneralizedPareto, Weibull, Kumaraswamy.

Imports `distribution.py` and `composite.py`. Read next: `gamma.py`.
"""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import Size, Tensor
from flambeau.distributions import constraints
from flambeau.distributions.composite import TransformedDistribution
from flambeau.distributions.distribution import Distribution, Shape
from flambeau.distributions.gamma import Exponential
from flambeau.distributions.transforms import AffineTransform, ExpTransform, PowerTransform
from flambeau.distributions.uniform import Uniform
from flambeau.distributions.utils import broadcast_all, euler_constant


class Pareto(TransformedDistribution):
    """Density alpha scale^alpha / x^(alpha + 1) from scale upwards.

    >>> fb.distributions.Pareto(1.0, 3.0).mean
    tensor(1.5000)
    """

    arg_constraints = {"alpha": constraints.positive, "scale": constraints.positive}

    def __init__(self, scale: Any, alpha: Any, validate_args: bool | None = None) -> None:
        self.scale, self.alpha = broadcast_all(scale, alpha)
        parts = [ExpTransform(), AffineTransform(0, self.scale)]
        super().__init__(Exponential(self.alpha, validate_args), parts, validate_args)

    @property
    def mean(self) -> Tensor:
        a = self.alpha.clamp(min=1)
        return a * self.scale / (a - 1)

    @property
    def mode(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        a = self.alpha.clamp(min=2)
        return self.scale**2 * a / ((a - 1) ** 2 * (a - 2))

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return constraints.greater_than_eq(self.scale)

    def entropy(self) -> Tensor:
        return (self.scale / self.alpha).log() + 1 + self.alpha.reciprocal()


class GeneralizedPareto(Distribution):
    """Distribution function 1 − (1 + ξ z)^(−1/ξ), z = (x − loc) / scale, ξ the concentration; 1 − e^(−z) for ξ = 0.

    >>> fb.distributions.GeneralizedPareto(0.0, 1.0, 0.0).cdf(fb.tensor(1.0))
    tensor(0.6321)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real}
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self._set(validate_args, loc=loc, scale=scale, concentration=concentration)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        xi = self.concentration
        upper = fb.where(xi < 0, self.loc - self.scale / fb.where(xi < 0, xi, -1.0), math.inf)
        return constraints.interval(self.loc, upper)

    def _by_concentration(self, at_zero: Tensor, elsewhere: Any) -> Tensor:
        """elsewhere(ξ) but for ξ = 0, where its limit stands in."""
        zero = fb.isclose(self.concentration, fb.zeros_like(self.concentration))
        return fb.where(zero, at_zero, elsewhere(fb.where(zero, 1.0, self.concentration)))

    def _z(self, value: Tensor) -> Tensor:
        return (value - self.loc) / self.scale

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        return self.icdf(fb.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        z = self._z(value)
        # At ξ = −1 the density is even, up to an end where the logarithm is −∞.
        spread = self._by_concentration(
            z, lambda xi: fb.where(xi == -1, 0.0, (1 / xi + 1) * fb.where(xi == -1, 0.0, xi * z).log1p())
        )
        return -self.scale.log() - spread

    def log_survival_function(self, value: Tensor) -> Tensor:
        """log P(X > value)."""
        self._check(value)
        z = self._z(value)
        return self._by_concentration(-z, lambda xi: -(xi * z).log1p() / xi)

    def log_cdf(self, value: Tensor) -> Tensor:
        """log P(X ≤ value)."""
        return (-self.log_survival_function(value).exp()).log1p()

    def cdf(self, value: Tensor) -> Tensor:
        return -self.log_survival_function(value).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        log_survival = (-value).log1p()
        z = self._by_concentration(-log_survival, lambda xi: (-xi * log_survival).expm1() / xi)
        return self.loc + self.scale * z

    @property
    def mean(self) -> Tensor:
        xi = self.concentration
        return fb.where(xi < 1, self.loc + self.scale / (1 - fb.where(xi < 1, xi, 0.5)), math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        light = self.concentration < 0.5
        xi = fb.where(light, self.concentration, 0.25)
        return fb.where(light, self.scale**2 / ((1 - xi) ** 2 * (1 - 2 * xi)), math.nan)

    def entropy(self) -> Tensor:
        return self.scale.log() + self.concentration + 1


class Weibull(TransformedDistribution):
    """Distribution function 1 − e^(−(x / scale)^k), k the concentration.

    >>> fb.distributions.Weibull(1.0, 1.0).mean
    tensor(1.)
    """

    arg_constraints = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive

    def __init__(self, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.scale, self.concentration = broadcast_all(scale, concentration)
        parts = [PowerTransform(self.concentration.reciprocal()), AffineTransform(0, self.scale)]
        super().__init__(Exponential(fb.ones_like(self.scale), validate_args), parts, validate_args)

    @property
    def concentration_reciprocal(self) -> Tensor:
        return self.concentration.reciprocal()

    @property
    def mean(self) -> Tensor:
        return self.scale * fb.lgamma(1 + self.concentration_reciprocal).exp()

    @property
    def mode(self) -> Tensor:
        return self.scale * ((self.concentration - 1) / self.concentration) ** self.concentration_reciprocal

    @property
    def variance(self) -> Tensor:
        r = self.concentration_reciprocal
        return self.scale**2 * (fb.lgamma(1 + 2 * r).exp() - (2 * fb.lgamma(1 + r)).exp())

    def entropy(self) -> Tensor:
        r = self.concentration_reciprocal
        return euler_constant * (1 - r) + (self.scale * r).log() + 1


class Kumaraswamy(TransformedDistribution):
    """Distribution function 1 − (1 − x^a)^b on [0, 1], a and b the concentrations 1 and 0.

    >>> fb.distributions.Kumaraswamy(1.0, 1.0).mean
    tensor(0.5000)
    """

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        parts = [
            PowerTransform(self.concentration0.reciprocal()),
            AffineTransform(1.0, -1.0),
            PowerTransform(self.concentration1.reciprocal()),
        ]
        ones = fb.ones_like(self.concentration0)
        super().__init__(Uniform(fb.zeros_like(ones), ones, validate_args), parts, validate_args)

    def _moment(self, n: int) -> Tensor:
        b, at = self.concentration0, 1 + n / self.concentration1
        return b * (fb.lgamma(at) + fb.lgamma(b) - fb.lgamma(at + b)).exp()

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def mode(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        inside = (a >= 1) & (b >= 1) & ((a > 1) | (b > 1))
        a, b = fb.where(inside, a, 2.0), fb.where(inside, b, 2.0)
        return fb.where(inside, ((a - 1) / (a * b - 1)) ** a.reciprocal(), math.nan)

    @property
    def variance(self) -> Tensor:
        return self._moment(2) - self.mean**2

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        harmonic = fb.digamma(b + 1) + euler_constant
        return (1 - b.reciprocal()) + (1 - a.reciprocal()) * harmonic - a.log() - b.log()
