"""The gamma family: Gamma, Exponential, Chi2, InverseGamma, Dirichlet, Beta, FisherSnedecor, StudentT.

Their samples are differentiable in all parameters by the implicit function theorem. Imports `distribution.py`,
`composite.py` and the samplers. Read next: `implicit.py`.
"""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import Size, Tensor
from flambeau.distributions import constraints
from flambeau.distributions.composite import TransformedDistribution
from flambeau.distributions.distribution import Distribution, ExponentialFamily, Shape
from flambeau.distributions.sampling import sample_dirichlet, standard_gamma
from flambeau.distributions.transforms import PowerTransform


class Gamma(ExponentialFamily):
    """Density rate^a x^(a − 1) e^(−rate x) / Γ(a), a the concentration.

    >>> d = fb.distributions.Gamma(2.0, 1.0)
    >>> d.log_prob(fb.tensor(1.0)), d.cdf(fb.tensor(1.0))
    (tensor(-1.), tensor(0.2642))
    """

    arg_constraints: Any = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self._set(validate_args, concentration=concentration, rate=rate)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate**2

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        value = standard_gamma(self.concentration.expand(self._extended_shape(sample_shape))) / self.rate
        return value.clamp(min=fb.finfo(value.dtype).tiny)

    def log_prob(self, value: Tensor) -> Tensor:
        value = fb.as_tensor(value, dtype=self.rate.dtype)
        self._check(value)
        a = self.concentration
        return fb.xlogy(a, self.rate) + fb.xlogy(a - 1, value) - self.rate * value - fb.lgamma(a)

    def cdf(self, value: Tensor) -> Tensor:
        self._check(value)
        return fb.special.gammainc(*fb.broadcast_tensors(self.concentration, self.rate * value))

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - self.rate.log() + fb.lgamma(a) + (1.0 - a) * fb.digamma(a)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return self.concentration - 1, -self.rate

    def _log_normalizer(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        return fb.lgamma(x + 1) - (x + 1) * (-y).log()


class Chi2(Gamma):
    """The sum of df squared standard normal numbers: Gamma(df / 2, 1 / 2).

    >>> fb.distributions.Chi2(3.0).mean
    tensor(3.)
    """

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        self._set(validate_args, df=df)

    @property
    def concentration(self) -> Tensor:
        return 0.5 * self.df

    @property
    def rate(self) -> Tensor:
        return fb.full_like(self.df, 0.5)


class Exponential(ExponentialFamily):
    """Density rate e^(−rate x).

    >>> fb.distributions.Exponential(2.0).mean
    tensor(0.5000)
    """

    arg_constraints = {"rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        self._set(validate_args, rate=rate)

    @property
    def mean(self) -> Tensor:
        return self.rate.reciprocal()

    @property
    def mode(self) -> Tensor:
        return fb.zeros_like(self.rate)

    @property
    def stddev(self) -> Tensor:
        return self.rate.reciprocal()

    @property
    def variance(self) -> Tensor:
        return self.rate**-2

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        return fb.empty(self._extended_shape(sample_shape), dtype=self.rate.dtype).exponential_() / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: Tensor) -> Tensor:
        self._check(value)
        return -(-self.rate * value).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        return -(-value).log1p() / self.rate

    def entropy(self) -> Tensor:
        return 1.0 - self.rate.log()

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (-self.rate,)

    def _log_normalizer(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return -(-x).log()


class InverseGamma(TransformedDistribution):
    """1 / X with X of the gamma distribution.

    >>> fb.distributions.InverseGamma(3.0, 4.0).mean
    tensor(2.)
    """

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        base = Gamma(concentration, rate, validate_args)
        super().__init__(base, PowerTransform(-base.rate.new_ones(())), validate_args)

    @property
    def concentration(self) -> Tensor:
        return self.base_dist.concentration

    @property
    def rate(self) -> Tensor:
        return self.base_dist.rate

    @property
    def mean(self) -> Tensor:
        a = self.concentration
        return fb.where(a > 1, self.rate / (a - 1), math.inf)

    @property
    def mode(self) -> Tensor:
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> Tensor:
        a = self.concentration
        return fb.where(a > 2, self.rate**2 / ((a - 1) ** 2 * (a - 2)), math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        self._check(value)
        return fb.special.gammaincc(*fb.broadcast_tensors(self.concentration, self.rate / value))

    def entropy(self) -> Tensor:
        a = self.concentration
        return a + self.rate.log() + fb.lgamma(a) - (1 + a) * fb.digamma(a)


class Dirichlet(ExponentialFamily):
    """Density Γ(Σa) / ΠΓ(a_i) Πx_i^(a_i − 1) on the simplex, a the concentration over the last dimension.

    >>> d = fb.distributions.Dirichlet(fb.tensor([1.0, 3.0]))
    >>> d.mean
    tensor([0.2500, 0.7500])
    """

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.ndim < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self._set(validate_args, 1, concentration=concentration)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Tensor:
        over = (self.concentration - 1).clamp(min=0.0)
        corner = (self.concentration < 1).all(-1, keepdim=True)
        largest = fb.nn.functional.one_hot(self.concentration.argmax(-1), self.concentration.shape[-1])
        return fb.where(corner, largest.to(over.dtype), over / over.sum(-1, True))

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total**2 * (total + 1))

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        return sample_dirichlet(self.concentration.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        a = self.concentration
        return fb.xlogy(a - 1.0, value).sum(-1) + fb.lgamma(a.sum(-1)) - fb.lgamma(a).sum(-1)

    def entropy(self) -> Tensor:
        a = self.concentration
        total, k = a.sum(-1), a.shape[-1]
        spread = fb.lgamma(a).sum(-1) - fb.lgamma(total) - (k - total) * fb.digamma(total)
        return spread - ((a - 1.0) * fb.digamma(a)).sum(-1)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.concentration,)

    def _log_normalizer(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return fb.lgamma(x).sum(-1) - fb.lgamma(x.sum(-1))


class Beta(ExponentialFamily):
    """Density x^(a − 1) (1 − x)^(b − 1) / B(a, b) on [0, 1], a and b the concentrations 1 and 0.

    >>> fb.distributions.Beta(1.0, 3.0).mean
    tensor(0.2500)
    """

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        self._set(validate_args, concentration1=concentration1, concentration0=concentration0)

    @property
    def _dirichlet(self) -> Dirichlet:
        return Dirichlet(fb.stack([self.concentration1, self.concentration0], -1), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        return self._dirichlet.mode[..., 0]

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total**2 * (total + 1))

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        return self._dirichlet.rsample(sample_shape)[..., 0]

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        a, b = self.concentration1, self.concentration0
        normalizer = fb.lgamma(a + b) - fb.lgamma(a) - fb.lgamma(b)
        return fb.xlogy(a - 1, value) + fb.special.xlog1py(b - 1, -value) + normalizer

    def entropy(self) -> Tensor:
        return self._dirichlet.entropy()

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return self.concentration1, self.concentration0

    def _log_normalizer(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        return fb.lgamma(x) + fb.lgamma(y) - fb.lgamma(x + y)


class FisherSnedecor(Distribution):
    """The ratio of two chi-squared variables, each divided by its degrees of freedom.

    >>> fb.distributions.FisherSnedecor(2.0, 4.0).mean
    tensor(2.)
    """

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None) -> None:
        self._set(validate_args, df1=df1, df2=df2)

    @property
    def mean(self) -> Tensor:
        return fb.where(self.df2 > 2, self.df2 / (self.df2 - 2), math.nan)

    @property
    def mode(self) -> Tensor:
        return fb.where(self.df1 > 2, (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2), math.nan)

    @property
    def variance(self) -> Tensor:
        m, n = self.df1, self.df2
        return fb.where(n > 4, 2 * n**2 * (m + n - 2) / (m * (n - 2) ** 2 * (n - 4)), math.nan)

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        tiny = fb.finfo(self.df1.dtype).tiny
        above = Gamma(self.df1 * 0.5, self.df1, False).rsample(sample_shape)
        below = Gamma(self.df2 * 0.5, self.df2, False).rsample(sample_shape)
        return (above / below.clamp(min=tiny)).clamp(min=tiny)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        a, b, ratio = self.df1 * 0.5, self.df2 * 0.5, self.df1 / self.df2
        normalizer = fb.lgamma(a + b) - fb.lgamma(a) - fb.lgamma(b)
        return normalizer + a * ratio.log() + (a - 1) * value.log() - (a + b) * (ratio * value).log1p()


class StudentT(Distribution):
    """loc + scale X / √(Y / df) with X standard normal and Y of Chi2(df).

    >>> fb.distributions.StudentT(3.0).variance
    tensor(3.)
    """

    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None) -> None:
        self._set(validate_args, df=df, loc=loc, scale=scale)

    @property
    def mean(self) -> Tensor:
        return fb.where(self.df > 1, self.loc, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        finite = self.df > 2
        spread = self.scale**2 * self.df / fb.where(finite, self.df - 2, 1.0)
        return fb.where(finite, spread, fb.where(self.df > 1, math.inf, math.nan))

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        x = fb.randn(self._extended_shape(sample_shape), dtype=self.df.dtype)
        return self.loc + self.scale * x * (Chi2(self.df, False).rsample(sample_shape) / self.df).rsqrt()

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        y, half = (value - self.loc) / self.scale, 0.5 * (self.df + 1.0)
        normalizer = self.scale.log() + 0.5 * (self.df * math.pi).log() + fb.lgamma(0.5 * self.df) - fb.lgamma(half)
        return -half * (y**2.0 / self.df).log1p() - normalizer

    def entropy(self) -> Tensor:
        half, more = 0.5 * self.df, 0.5 * (self.df + 1)
        log_beta = fb.lgamma(half) + 0.5 * math.log(math.pi) - fb.lgamma(more)
        return self.scale.log() + more * (fb.digamma(more) - fb.digamma(half)) + 0.5 * self.df.log() + log_beta
