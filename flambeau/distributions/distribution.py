"""Distribution: parameters, a batch shape, an event shape, and a handful of methods.

A family names its parameters in `arg_constraints`, its values in `support`, and writes what it has of `rsample` (or
`sample`), `log_prob`, `cdf`, `icdf`, `entropy`, `mean`, `mode` and `variance`; the rest follows here. Tensors that a
sample must broadcast with stand in the instance's `__dict__`, so that `expand` and `repr` are the same for all.
Imports flambeau's functions. Read next: `location.py`, `gamma.py`, `discrete.py`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import flambeau as fb
from flambeau import Size, Tensor
from flambeau.distributions import constraints
from flambeau.distributions.utils import broadcast_all, lazy_property

Shape = Sequence[int]


class Distribution:
    """Base of all distributions.

    Samples have shape sample_shape + batch_shape + event_shape; one log probability belongs to each event. With
    `validate_args` (the default, except under `python -O`) parameters and values are checked against their constraints.

    Raises:
        ValueError: a parameter that violates its constraint, a value outside the support or of a wrong shape.

    >>> d = fb.distributions.Normal(fb.zeros(3), 1.0)
    >>> d.batch_shape, d.event_shape, d.sample((2,)).shape
    (flambeau.Size([3]), flambeau.Size([]), flambeau.Size([2, 3]))
    """

    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # parameters, which `_set` puts into instances

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions made from now on check their arguments."""
        if value not in (True, False):
            raise ValueError(f"set_default_validate_args: takes True or False, got {value!r}")
        Distribution._validate_args = value

    def __init__(
        self, batch_shape: Shape = Size(), event_shape: Shape = Size(), validate_args: bool | None = None
    ) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._validate_parameters()

    def _set(self, validate_args: bool | None, event_dim: int = 0, /, **parameters: Any) -> None:
        """Sets parameters, broadcast against each other, and the shapes that follow from them."""
        tensors = broadcast_all(*parameters.values())
        self.__dict__.update(zip(parameters, tensors, strict=True))
        shape = tensors[0].shape
        Distribution.__init__(self, shape[: len(shape) - event_dim], shape[len(shape) - event_dim :], validate_args)

    def _validate_parameters(self) -> None:
        try:
            limits = self.arg_constraints
        except NotImplementedError:
            warnings.warn(
                f"{self.__class__} does not define `arg_constraints`. Please set `arg_constraints = {{}}` or "
                "initialize the distribution with `validate_args=False` to turn off validation.",
                stacklevel=4,
            )
            return
        for name, constraint in limits.items():
            lazy = name not in self.__dict__ and isinstance(getattr(type(self), name, None), lazy_property)
            if constraints.is_dependent(constraint) or lazy:
                continue
            value = getattr(self, name)
            if not bool(constraint.check(value).all()):
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution "
                    f"{self!r} to satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
                )

    def expand(self, batch_shape: Shape, _instance: Any = None) -> Any:
        """The distribution with its parameters expanded to a batch shape; nothing is copied."""
        new = self._get_checked_instance(type(self), _instance)
        names = set(self.arg_constraints)
        for name, value in self.__dict__.items():
            if name in new.__dict__:
                continue
            if isinstance(value, Distribution):
                new.__dict__[name] = value.expand(batch_shape)
            elif isinstance(value, Tensor) and name in names:
                event = value.shape[max(value.ndim - self._event_dim_of(name), 0) :]
                new.__dict__[name] = value.expand((*batch_shape, *event))
            elif not isinstance(getattr(type(self), name, None), lazy_property):
                new.__dict__[name] = value
        new._batch_shape, new._event_shape = Size(batch_shape), self._event_shape
        return new

    def _event_dim_of(self, parameter: str) -> int:
        """How many trailing dimensions of a parameter belong to one member of the batch."""
        return self.arg_constraints[parameter].event_dim

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        return object.__new__(type(self)) if _instance is None else _instance

    @property
    def batch_shape(self) -> Size:
        """The shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one value."""
        return self._event_shape

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """Parameter -> the set it lies in."""
        raise NotImplementedError(f"{type(self).__name__} does not define arg_constraints")

    @property
    def support(self) -> Any:
        """The set values lie in."""
        raise NotImplementedError(f"{type(self).__name__} does not define support")

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not implement mean")

    @property
    def mode(self) -> Tensor:
        raise NotImplementedError(f"{self.__class__} does not implement mode")

    @property
    def variance(self) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not implement variance")

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()

    def sample(self, sample_shape: Shape = Size()) -> Tensor:
        """Values of shape sample_shape + batch_shape + event_shape, with no gradient."""
        with fb.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        """As `sample`, differentiable in the parameters."""
        raise NotImplementedError(f"{type(self).__name__} has no rsample; use sample()")

    def sample_n(self, n: int) -> Tensor:
        """n samples; deprecated by PyTorch in favour of sample((n,))."""
        warnings.warn(
            "`sample_n(n)` will be deprecated. Use `sample((n,))` instead.", category=FutureWarning, stacklevel=2
        )
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density, or of the probability, at value."""
        raise NotImplementedError(f"{type(self).__name__} does not implement log_prob")

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of values up to this one."""
        raise NotImplementedError(f"{type(self).__name__} does not implement cdf")

    def icdf(self, value: Tensor) -> Tensor:
        """The value up to which the probability is the one given."""
        raise NotImplementedError(f"{type(self).__name__} does not implement icdf")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution along a new first dimension, one for each of the batch if expanded."""
        raise NotImplementedError(f"{type(self).__name__} does not implement enumerate_support")

    def _enumerated(self, values: Tensor, expand: bool) -> Tensor:
        values = values.reshape((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values

    def entropy(self) -> Tensor:
        """The entropy of each distribution of the batch, in nats."""
        raise NotImplementedError(f"{type(self).__name__} does not implement entropy")

    def perplexity(self) -> Tensor:
        """e to the entropy."""
        return self.entropy().exp()

    def _extended_shape(self, sample_shape: Shape = Size()) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _check(self, value: Tensor) -> None:
        """Validates a value where arguments are validated."""
        if self._validate_args:
            self._validate_sample(value)

    def _validate_sample(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        shape, event = value.shape, self._event_shape
        if shape[len(shape) - len(event) :] != event:
            raise ValueError(f"The right-most size of value must match event_shape: {shape} vs {event}.")
        expected = Size((*self._batch_shape, *event))
        if any(i != j and i != 1 and j != 1 for i, j in zip(reversed(shape), reversed(expected), strict=False)):
            raise ValueError(f"Value is not broadcastable with batch_shape+event_shape: {shape} vs {expected}.")
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{self.__class__} does not define `support` to enable sample validation. Please initialize the "
                "distribution with `validate_args=False` to turn off validation.",
                stacklevel=4,
            )
            return
        if not bool(support.check(value).all()):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(shape)}) to be within the support "
                f"({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self) -> str:
        given = {k: self.__dict__[k] for k in self.arg_constraints if k in self.__dict__}
        shown = ", ".join(f"{k}: {v if v.numel() == 1 else v.size()}" for k, v in given.items())
        return f"{self.__class__.__name__}({shown})"


class ExponentialFamily(Distribution):
    """Families with density exp(⟨t(x), θ⟩ − F(θ) + k(x)), whose entropy follows from the log normaliser F.

    θ are `_natural_params`, F is `_log_normalizer(*θ)`, and the mean of k(x) is `_mean_carrier_measure`.

    >>> isinstance(fb.distributions.Normal(0.0, 1.0), fb.distributions.ExponentialFamily)
    True
    """

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError(f"{type(self).__name__} does not define _natural_params")

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not define _log_normalizer")

    @property
    def _mean_carrier_measure(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define _mean_carrier_measure")

    def entropy(self) -> Tensor:
        """F(θ) − ⟨θ, ∇F(θ)⟩ − E k(x): Bregman's form (Nielsen, Nock: Entropies and cross-entropies, 2010)."""
        natural = [p.detach().requires_grad_() for p in self._natural_params]
        with fb.enable_grad():
            normalizer = self._log_normalizer(*natural)
            slopes = fb.autograd.grad(normalizer.sum(), natural, create_graph=True)
        result = normalizer - self._mean_carrier_measure
        for p, slope in zip(natural, slopes, strict=True):
            result = result - (p * slope).reshape((*self._batch_shape, -1)).sum(-1)
        return result


def one_of(probs: Any, logits: Any) -> tuple[str, Any]:
    """The name and the value of the one parameter of two that is given; ValueError for both or neither."""
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")
    return ("logits", logits) if probs is None else ("probs", probs)


LOG_ROOT_TAU = 0.5 * math.log(2 * math.pi)
