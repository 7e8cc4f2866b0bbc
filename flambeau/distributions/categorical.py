"""Distributions over finitely many classes: Categorical, OneHotCategorical, Multinomial.

Imports `distribution.py`. Read next: `relaxed.py`, their differentiable relations.
"""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import Size, Tensor
from flambeau.distributions import constraints
from flambeau.distributions.discrete import Binomial
from flambeau.distributions.distribution import Distribution, Shape, one_of
from flambeau.distributions.utils import broadcast_all, lazy_property, logits_to_probs, probs_to_logits

ARGUMENTS = {"probs": constraints.simplex, "logits": constraints.real_vector}


class Categorical(Distribution):
    """Class 0 … K − 1 with probabilities over the last dimension of `probs` (normalised here) or `logits`.

    >>> d = fb.distributions.Categorical(fb.tensor([1.0, 3.0]))
    >>> d.probs, d.entropy(), d.log_prob(fb.tensor(1)).exp()
    (tensor([0.2500, 0.7500]), tensor(0.5623), tensor(0.7500))
    """

    arg_constraints = ARGUMENTS
    has_enumerate_support = True

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        name, given = one_of(probs, logits)
        if given.ndim < 1:
            raise ValueError(f"`{name}` parameter must be at least one-dimensional.")
        if name == "probs":
            self.probs = given / given.sum(-1, keepdim=True)
        else:
            self.logits = given - given.logsumexp(-1, keepdim=True)
        self._num_events = given.shape[-1]
        super().__init__(given.shape[:-1], (), validate_args)

    @property
    def _param(self) -> Tensor:
        return getattr(self, "probs" if "probs" in self.__dict__ else "logits")

    @property
    def param_shape(self) -> Size:
        return self._param.shape

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self._num_events - 1)

    @lazy_property
    def logits(self) -> Tensor:
        return probs_to_logits(self.probs)

    @lazy_property
    def probs(self) -> Tensor:
        return logits_to_probs(self.logits)

    @property
    def mean(self) -> Tensor:
        return fb.full(self._batch_shape, math.nan, dtype=self._param.dtype)

    @property
    def mode(self) -> Tensor:
        return self._param.argmax(-1)

    @property
    def variance(self) -> Tensor:
        return self.mean

    def sample(self, sample_shape: Shape = Size()) -> Tensor:
        rows = self.probs.detach().reshape(-1, self._num_events)
        drawn = fb.multinomial(rows, max(math.prod(sample_shape), 1), True).t()
        return drawn[: math.prod(sample_shape)].reshape(self._extended_shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        value, logits = fb.broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        return logits.gather(-1, value[..., :1]).squeeze(-1)

    def entropy(self) -> Tensor:
        finite = self.logits.clamp(min=fb.finfo(self.logits.dtype).min)
        return -(finite * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._enumerated(fb.arange(self._num_events), expand)


class OneHotCategorical(Distribution):
    """As Categorical, its values vectors with a 1 at the class.

    >>> fb.distributions.OneHotCategorical(fb.tensor([0.0, 1.0])).sample()
    tensor([0., 1.])
    """

    arg_constraints = ARGUMENTS
    support = constraints.one_hot
    has_enumerate_support = True

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        self._categorical = Categorical(probs, logits)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    @property
    def _param(self) -> Tensor:
        return self._categorical._param

    @property
    def param_shape(self) -> Size:
        return self._param.shape

    @property
    def probs(self) -> Tensor:
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        return self._categorical.logits

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return self._one_hot(self._categorical.mode)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def _one_hot(self, index: Tensor) -> Tensor:
        return fb.nn.functional.one_hot(index, self._event_shape[0]).to(self._param.dtype)

    def sample(self, sample_shape: Shape = Size()) -> Tensor:
        return self._one_hot(self._categorical.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        return self._categorical.log_prob(value.argmax(-1))

    def entropy(self) -> Tensor:
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        n = self._event_shape[0]
        values = fb.eye(n, dtype=self._param.dtype).reshape((n, *[1] * len(self._batch_shape), n))
        return values.expand((n, *self._batch_shape, n)) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """OneHotCategorical whose samples have the gradient of the probabilities (Bengio et al., 2013).

    >>> p = fb.tensor([0.25, 0.75], requires_grad=True)
    >>> sample = fb.distributions.OneHotCategoricalStraightThrough(p).rsample()
    >>> sample.sum().item(), sample.requires_grad
    (1.0, True)
    """

    has_rsample = True

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        return self.sample(sample_shape) + (self.probs - self.probs.detach())


class Multinomial(Distribution):
    """How often each class comes up in total_count draws.

    >>> d = fb.distributions.Multinomial(4, fb.tensor([1.0, 3.0]))
    >>> d.mean, d.log_prob(fb.tensor([1.0, 3.0])).exp()
    (tensor([1., 3.]), tensor(0.4219))
    """

    arg_constraints = ARGUMENTS

    def __init__(
        self,
        total_count: int = 1,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._categorical = Categorical(probs, logits)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Any:
        return constraints.multinomial(self.total_count)

    @property
    def logits(self) -> Tensor:
        return self._categorical.logits

    @property
    def probs(self) -> Tensor:
        return self._categorical.probs

    @property
    def param_shape(self) -> Size:
        return self._categorical.param_shape

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Shape = Size()) -> Tensor:
        drawn = self._categorical.sample((self.total_count, *sample_shape)).movedim(0, -1)
        counts = fb.zeros(self._extended_shape(sample_shape), dtype=fb.int64)
        return counts.scatter_add_(-1, drawn, fb.ones_like(drawn)).to(self.probs.dtype)

    def entropy(self) -> Tensor:
        # −E log p: the coefficient's expectation needs the counts' marginals only, which are binomial.
        n = self.total_count
        marginals = Binomial(n, probs=self.probs, validate_args=False)
        support = marginals.enumerate_support(expand=False)[1:]
        weights = (marginals.log_prob(support).exp() * fb.lgamma(support + 1)).sum((0, -1))
        return n * self._categorical.entropy() - math.lgamma(n + 1) + weights

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        logits, value = broadcast_all(self.logits, value)
        logits = fb.where((value == 0) & (logits == -math.inf), 0.0, logits)
        return fb.lgamma(value.sum(-1) + 1) - fb.lgamma(value + 1).sum(-1) + (logits * value).sum(-1)
