"""Distributions within bounds: Uniform and ContinuousBernoulli, and VonMises on the circle.

Imports `distribution.py` and the samplers. Read next: `normal.py`, `pareto.py`.
"""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import Size, Tensor
from flambeau.distributions import constraints
from flambeau.distributions.discrete import _Binary, cross_entropy
from flambeau.distributions.distribution import Distribution, ExponentialFamily, Shape, one_of
from flambeau.distributions.sampling import sample_von_mises
from flambeau.distributions.utils import broadcast_all, clamp_probs, lazy_property, logits_to_probs


class Uniform(Distribution):
    """Every value of [low, high) alike.

    >>> fb.distributions.Uniform(0.0, 2.0).variance
    tensor(0.3333)
    """

    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self._set(validate_args, low=low, high=high)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        return {"low": constraints.less_than(self.high), "high": constraints.greater_than(self.low)}

    def _event_dim_of(self, parameter: str) -> int:
        return 0

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Tensor:
        return math.nan * self.high

    @property
    def stddev(self) -> Tensor:
        return (self.high - self.low) / math.sqrt(12)

    @property
    def variance(self) -> Tensor:
        return (self.high - self.low) ** 2 / 12

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        return self.icdf(fb.rand(self._extended_shape(sample_shape), dtype=self.low.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        inside = (self.low <= value) & (value < self.high)
        return fb.where(inside, 0.0, -math.inf) - (self.high - self.low).log()

    def cdf(self, value: Tensor) -> Tensor:
        self._check(value)
        return ((value - self.low) / (self.high - self.low)).clamp(min=0, max=1)

    def icdf(self, value: Tensor) -> Tensor:
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Tensor:
        return (self.high - self.low).log()


class ContinuousBernoulli(_Binary, ExponentialFamily):
    """Density C(p) p^x (1 − p)^(1 − x) on [0, 1] (Loaiza-Ganem, Cunningham, 2019).

    Within `lims` around p = 1/2, where the closed forms are 0 / 0, their Taylor expansions are used.

    >>> fb.distributions.ContinuousBernoulli(0.5).mean
    tensor(0.5000)
    """

    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        name, value = one_of(probs, logits)
        self._lims = lims
        self._set(validate_args, **{name: value})
        if name == "probs":
            self.probs = clamp_probs(self.probs)

    @lazy_property
    def probs(self) -> Tensor:
        return clamp_probs(logits_to_probs(self.logits, is_binary=True))

    def _either(self, closed: Any, series: Any) -> Tensor:
        """closed(p) away from 1/2, series(p − 1/2) near it; the closed form's argument is safe in both."""
        p = self.probs
        away = (p <= self._lims[0]) | (p > self._lims[1])
        return fb.where(away, closed(fb.where(away, p, self._lims[0])), series(p - 0.5))

    def _cont_bern_log_norm(self) -> Tensor:
        return self._either(
            lambda p: (((-p).log1p() - p.log()) / (1 - 2 * p)).log(),
            lambda d: math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * d**2) * d**2,
        )

    @property
    def mean(self) -> Tensor:
        return self._either(
            lambda p: p / (2 * p - 1) + 1 / ((-p).log1p() - p.log()),
            lambda d: 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * d**2) * d,
        )

    @property
    def variance(self) -> Tensor:
        return self._either(
            lambda p: p * (p - 1) / (1 - 2 * p) ** 2 + ((-p).log1p() - p.log()) ** -2,
            lambda d: 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * d**2) * d**2,
        )

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        return self.icdf(fb.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        return self._cont_bern_log_norm() - cross_entropy(*broadcast_all(self.logits, value))

    def cdf(self, value: Tensor) -> Tensor:
        self._check(value)
        inside = self._either(lambda p: (p**value * (1 - p) ** (1 - value) + p - 1) / (2 * p - 1), lambda d: value)
        return fb.where(value <= 0, 0.0, fb.where(value >= 1, 1.0, inside))

    def icdf(self, value: Tensor) -> Tensor:
        return self._either(
            lambda p: ((value * (2 * p - 1) - p).log1p() - (-p).log1p()) / (p.log() - (-p).log1p()), lambda d: value
        )

    def entropy(self) -> Tensor:
        tails, heads = (-self.probs).log1p(), self.probs.log()
        return self.mean * (tails - heads) - self._cont_bern_log_norm() - tails

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, x: Tensor) -> Tensor:  # type: ignore[override]
        near = (x > self._lims[0] - 0.5) & (x <= self._lims[1] - 0.5)
        safe = fb.where(near, 1.0, x)
        return fb.where(near, 0.5 * x + x**2 / 24.0 - x**4 / 2880.0, (safe.expm1() / safe).log())


class VonMises(Distribution):
    """Density e^(κ cos(x − loc)) / (2π I₀(κ)) on the circle, with κ the concentration; samples lie in [−π, π).

    >>> fb.distributions.VonMises(fb.tensor(0.0), fb.tensor(1.0)).variance
    tensor(0.5536)
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self._set(validate_args, loc=loc, concentration=concentration)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The circular variance 1 − I₁(κ) / I₀(κ)."""
        return 1 - fb.special.i1e(self.concentration) / fb.special.i0e(self.concentration)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        kappa = self.concentration
        # e^κ is taken out of both the density and I₀.
        return kappa * ((value - self.loc).cos() - 1) - math.log(2 * math.pi) - fb.special.i0e(kappa).log()

    def sample(self, sample_shape: Shape = Size()) -> Tensor:
        with fb.no_grad():
            shape = self._extended_shape(sample_shape)
            around = sample_von_mises(self.concentration.double().expand(shape)) + self.loc.double() + math.pi
            return (around % (2 * math.pi) - math.pi).to(self.loc.dtype)
