"""Continuous relaxations of discrete choices: RelaxedBernoulli and RelaxedOneHotCategorical (Concrete, Gumbel-softmax).

Imports `composite.py`. Source: Maddison et al., The Concrete Distribution (2017); Jang et al. (2017).
"""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau import Size, Tensor
from flambeau.distributions import constraints
from flambeau.distributions.categorical import ARGUMENTS, Categorical
from flambeau.distributions.composite import TransformedDistribution
from flambeau.distributions.discrete import _Binary
from flambeau.distributions.distribution import Distribution, Shape, one_of
from flambeau.distributions.transforms import ExpTransform, SigmoidTransform
from flambeau.distributions.utils import broadcast_all, clamp_probs


def uniforms(shape: Size, dtype: Any) -> Tensor:
    return clamp_probs(fb.rand(shape, dtype=dtype))


class LogitRelaxedBernoulli(_Binary):
    """The logit of a RelaxedBernoulli variable: (logits + logistic noise) / temperature."""

    support = constraints.real
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        name, value = one_of(probs, logits)
        self.temperature = temperature
        self._set(validate_args, **{name: value})

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        u, p = uniforms(shape, self.probs.dtype), clamp_probs(self.probs)
        return (u.log() - (-u).log1p() + p.log() - (-p).log1p()) / self.temperature

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        logits, value = broadcast_all(self.logits, value)
        apart = logits - value * self.temperature
        return fb.as_tensor(self.temperature).log() + apart - 2 * fb.nn.functional.softplus(apart)


class _Relaxed(TransformedDistribution):
    """A transform of values in log space, with their parameters."""

    has_rsample = True

    @property
    def temperature(self) -> Any:
        return self.base_dist.temperature

    @property
    def logits(self) -> Tensor:
        return self.base_dist.logits

    @property
    def probs(self) -> Tensor:
        return self.base_dist.probs


class RelaxedBernoulli(_Relaxed):
    """A number within (0, 1), nearer to Bernoulli's 0 and 1 the lower the temperature.

    >>> fb.distributions.RelaxedBernoulli(fb.tensor(0.5), 0.5).log_prob(fb.tensor(0.5)).exp()
    tensor(0.5000)
    """

    arg_constraints = _Binary.arg_constraints
    support = constraints.unit_interval

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        super().__init__(LogitRelaxedBernoulli(temperature, probs, logits), SigmoidTransform(), validate_args)


class ExpRelaxedCategorical(Distribution):
    """The logarithm of a RelaxedOneHotCategorical variable."""

    arg_constraints = ARGUMENTS
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        temperature: Any,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._categorical = Categorical(probs, logits)
        self.temperature = temperature
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    @property
    def param_shape(self) -> Size:
        return self._categorical.param_shape

    @property
    def logits(self) -> Tensor:
        return self._categorical.logits

    @property
    def probs(self) -> Tensor:
        return self._categorical.probs

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        gumbels = -(-uniforms(self._extended_shape(sample_shape), self.logits.dtype).log()).log()
        return fb.log_softmax((self.logits + gumbels) / self.temperature, -1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        k = self._event_shape[0]
        logits, value = broadcast_all(self.logits, value)
        temperature = fb.as_tensor(self.temperature, dtype=logits.dtype)
        scale = fb.lgamma(fb.full_like(temperature, float(k))) + (k - 1) * temperature.log()
        return fb.log_softmax(logits - value * temperature, -1).sum(-1) + scale


class RelaxedOneHotCategorical(_Relaxed):
    """A point of the simplex, nearer to its corners the lower the temperature.

    >>> fb.distributions.RelaxedOneHotCategorical(fb.tensor(1.0), fb.ones(2)).log_prob(fb.tensor([0.5, 0.5])).exp()
    tensor(1.)
    """

    arg_constraints = ARGUMENTS
    support = constraints.simplex

    def __init__(
        self,
        temperature: Any,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args=validate_args)
        super().__init__(base, ExpTransform(), validate_args)
