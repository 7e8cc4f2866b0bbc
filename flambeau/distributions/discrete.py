"""Distributions of counts: Bernoulli, Geometric, Binomial, NegativeBinomial, Poisson.

Imports `distribution.py` and the samplers. Read next: `categorical.py`.
"""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import Size, Tensor
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution, ExponentialFamily, Shape, one_of
from flambeau.distributions.sampling import sample_binomial, sample_poisson, standard_gamma
from flambeau.distributions.utils import broadcast_all, lazy_property, logits_to_probs, probs_to_logits


class _Binary(Distribution):
    """What has a probability of success, given as `probs` or as log odds `logits`."""

    arg_constraints: Any = {"probs": constraints.unit_interval, "logits": constraints.real}

    @lazy_property
    def logits(self) -> Tensor:
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> Tensor:
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def _param(self) -> Tensor:
        return getattr(self, "probs" if "probs" in self.__dict__ else "logits")

    @property
    def param_shape(self) -> Size:
        return self._param.shape


def cross_entropy(logits: Tensor, value: Tensor) -> Tensor:
    return fb.nn.functional.binary_cross_entropy_with_logits(logits, value, reduction="none")


class Bernoulli(_Binary, ExponentialFamily):
    """1 with probability p, else 0.

    >>> fb.distributions.Bernoulli(0.25).log_prob(fb.tensor(1.0)).exp()
    tensor(0.2500)
    """

    support = constraints.boolean
    has_enumerate_support = True
    _mean_carrier_measure = 0

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        name, value = one_of(probs, logits)
        self._set(validate_args, **{name: value})

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return fb.where(self.probs == 0.5, math.nan, (self.probs >= 0.5).to(self.probs.dtype))

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Shape = Size()) -> Tensor:
        with fb.no_grad():
            return fb.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        return -cross_entropy(*broadcast_all(self.logits, value))

    def entropy(self) -> Tensor:
        return cross_entropy(self.logits, self.probs)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._enumerated(fb.arange(2, dtype=self._param.dtype), expand)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return fb.nn.functional.softplus(x)


class Geometric(_Binary):
    """How many failures come before the first success: P(k) = (1 − p)^k p.

    >>> fb.distributions.Geometric(0.5).mean
    tensor(1.)
    """

    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        name, value = one_of(probs, logits)
        self._set(validate_args, **{name: value})
        if self._validate_args and name == "probs" and not bool((self.probs > 0).all()):
            p = self.probs
            raise ValueError(
                f"Expected parameter probs ({type(p).__name__} of shape {tuple(p.shape)}) of distribution {self!r} to "
                f"be positive but found invalid values:\n{p.detach()[p <= 0]}"
            )

    @property
    def mean(self) -> Tensor:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Tensor:
        return fb.zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Shape = Size()) -> Tensor:
        with fb.no_grad():
            u = 1.0 - fb.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype)
            return (u.log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        value, probs = broadcast_all(value, self.probs)
        certain = fb.where((probs == 1) & (value == 0), 0.0, probs)
        return value * (-certain).log1p() + self.probs.log()

    def entropy(self) -> Tensor:
        return cross_entropy(self.logits, self.probs) / self.probs


class _Counted(_Binary):
    """What has a total count beside the probability."""

    def __init__(
        self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        name, value = one_of(probs, logits)
        total_count, value = broadcast_all(total_count, value)
        self._set(validate_args, total_count=total_count.to(value.dtype), **{name: value})


class Binomial(_Counted):
    """How many of total_count trials succeed.

    >>> d = fb.distributions.Binomial(4, fb.tensor([0.5]))
    >>> d.log_prob(fb.tensor([2.0])).exp()
    tensor([0.3750])
    """

    arg_constraints = {"total_count": constraints.nonnegative_integer, **_Binary.arg_constraints}
    has_enumerate_support = True

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return fb.minimum(((self.total_count + 1) * self.probs).floor(), self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Shape = Size()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return sample_binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        n = self.total_count
        coefficient = fb.lgamma(n + 1) - fb.lgamma(value + 1) - fb.lgamma(n - value + 1)
        return coefficient + value * self.logits - n * fb.nn.functional.softplus(self.logits)

    def _count(self, what: str) -> int:
        count = int(self.total_count.max())
        if int(self.total_count.min()) != count:
            raise NotImplementedError(f"Inhomogeneous total count not supported by `{what}`.")
        return count

    def entropy(self) -> Tensor:
        self._count("entropy")
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(log_prob.exp() * log_prob).sum(0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._enumerated(fb.arange(1 + self._count("enumerate_support"), dtype=self._param.dtype), expand)


class NegativeBinomial(_Counted):
    """How many successes of probability p come before total_count failures.

    >>> fb.distributions.NegativeBinomial(3.0, fb.tensor(0.5)).mean
    tensor(3.)
    """

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Tensor:
        return self.mean / fb.sigmoid(-self.logits)

    def sample(self, sample_shape: Shape = Size()) -> Tensor:
        with fb.no_grad():
            shape = self._extended_shape(sample_shape)
            # Poisson's rate is a gamma variable.
            return sample_poisson(standard_gamma(self.total_count.expand(shape)) * self.logits.exp())

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        n, logsigmoid = self.total_count, fb.nn.functional.logsigmoid
        coefficient = fb.lgamma(n + value) - fb.lgamma(1.0 + value) - fb.lgamma(n)
        coefficient = coefficient.masked_fill(n + value == 0.0, 0.0)
        return n * logsigmoid(-self.logits) + value * logsigmoid(self.logits) + coefficient


class Poisson(ExponentialFamily):
    """P(k) = rate^k e^(−rate) / k!.

    >>> fb.distributions.Poisson(2.0).log_prob(fb.tensor(2.0)).exp()
    tensor(0.2707)
    """

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        self._set(validate_args, rate=rate)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        return self.rate.floor()

    @property
    def variance(self) -> Tensor:
        return self.rate

    def sample(self, sample_shape: Shape = Size()) -> Tensor:
        return sample_poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        rate, value = broadcast_all(self.rate, value)
        return fb.xlogy(value, rate) - rate - fb.lgamma(value + 1)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.rate.log(),)

    def _log_normalizer(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.exp()
