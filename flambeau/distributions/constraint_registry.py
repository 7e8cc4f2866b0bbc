"""From a constraint to a transform of unconstrained space onto it: `biject_to` one-to-one, `transform_to` any.

Imports `constraints.py` and `transforms.py`. Read next: `transforms.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Number
from typing import Any

from flambeau.distributions import constraints as C
from flambeau.distributions import transforms as T


class ConstraintRegistry:
    """Constraint class -> maker of a transform onto the set.

    >>> from flambeau.distributions import constraints, transform_to
    >>> transform_to(constraints.positive)(fb.zeros(1))
    tensor([1.])
    """

    def __init__(self) -> None:
        self._registry: dict[type, Callable[[Any], T.Transform]] = {}

    def register(self, constraint: Any, factory: Callable[[Any], T.Transform] | None = None) -> Any:
        """Registers factory(constraint) -> transform for a constraint's class; a decorator where factory is left out.

        Raises TypeError for what is no constraint.
        """
        if factory is None:
            return lambda factory: self.register(constraint, factory)
        kind = type(constraint) if isinstance(constraint, C.Constraint) else constraint
        if not (isinstance(kind, type) and issubclass(kind, C.Constraint)):
            raise TypeError(f"Expected constraint to be either a Constraint subclass or instance, but got {constraint}")
        self._registry[kind] = factory
        return factory

    def __call__(self, constraint: C.Constraint) -> T.Transform:
        """The transform onto a constraint's set. Raises NotImplementedError where none is registered."""
        factory = self._registry.get(type(constraint))
        if factory is None:
            raise NotImplementedError(f"Cannot transform {type(constraint).__name__} constraints")
        return factory(constraint)


biject_to, transform_to = ConstraintRegistry(), ConstraintRegistry()


def both(*constraints: Any) -> Callable[[Callable], Callable]:
    """Registers a factory that is the same for both registries."""

    def register(factory: Callable) -> Callable:
        for constraint in constraints:
            biject_to.register(constraint, factory)
            transform_to.register(constraint, factory)
        return factory

    return register


both(C.real)(lambda c: T.identity_transform)
both(C.corr_cholesky)(lambda c: T.CorrCholeskyTransform())
biject_to.register(C.simplex, lambda c: T.StickBreakingTransform())
transform_to.register(C.simplex, lambda c: T.SoftmaxTransform())
transform_to.register(C.lower_cholesky, lambda c: T.LowerCholeskyTransform())
transform_to.register(C.positive_definite, lambda c: T.PositiveDefiniteTransform())
transform_to.register(C.positive_semidefinite, lambda c: T.PositiveDefiniteTransform())


@both(C.greater_than, C.greater_than_eq)
def above(constraint: Any) -> T.Transform:
    if isinstance(constraint.lower_bound, Number) and constraint.lower_bound == 0:
        return T.ExpTransform()
    return T.ComposeTransform([T.ExpTransform(), T.AffineTransform(constraint.lower_bound, 1)])


@both(C.less_than)
def below(constraint: Any) -> T.Transform:
    return T.ComposeTransform([T.ExpTransform(), T.AffineTransform(constraint.upper_bound, -1)])


@both(C.interval, C.half_open_interval)
def between(constraint: Any) -> T.Transform:
    low, high = constraint.lower_bound, constraint.upper_bound
    if isinstance(low, Number) and isinstance(high, Number) and (low, high) == (0, 1):
        return T.SigmoidTransform()
    return T.ComposeTransform([T.SigmoidTransform(), T.AffineTransform(low, high - low)])


def nested(registry: ConstraintRegistry) -> None:
    """Constraints made of others are transformed by what those are transformed by."""
    registry.register(
        C.independent, lambda c: T.IndependentTransform(registry(c.base_constraint), c.reinterpreted_batch_ndims)
    )
    registry.register(C.cat, lambda c: T.CatTransform([registry(x) for x in c.cseq], c.dim, c.lengths))
    registry.register(C.stack, lambda c: T.StackTransform([registry(x) for x in c.cseq], c.dim))


nested(biject_to)
nested(transform_to)

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]
