"""Normal distributions of vectors: by a covariance, by a low-rank one, and on the simplex.

Imports `distribution.py` and flambeau.linalg. Read next: `matrices.py`.
"""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau import Size, Tensor
from flambeau.distributions import constraints
from flambeau.distributions.composite import TransformedDistribution
from flambeau.distributions.distribution import LOG_ROOT_TAU, Distribution, Shape
from flambeau.distributions.normal import Normal
from flambeau.distributions.transforms import StickBreakingTransform
from flambeau.distributions.utils import lazy_property

FORMS = ("covariance_matrix", "precision_matrix", "scale_tril")


def times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Matrices times vectors, both in batches."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def squared_length(factor: Tensor, x: Tensor) -> Tensor:
    """xᵀ (L Lᵀ)⁻¹ x for lower triangular L, both in batches that broadcast."""
    if factor.ndim == 2:  # one factor for all: one solve
        columns = fb.linalg.solve_triangular(factor, x.reshape(-1, x.shape[-1]).mT, upper=False)
        return (columns**2).sum(0).reshape(x.shape[:-1])
    return (fb.linalg.solve_triangular(factor, x.unsqueeze(-1), upper=False) ** 2).sum((-2, -1))


def half_log_det(factor: Tensor) -> Tensor:
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def factor_of_inverse(matrix: Tensor) -> Tensor:
    """The lower Cholesky factor of a matrix's inverse: from the matrix read backwards."""
    backwards = fb.linalg.cholesky(matrix.flip((-2, -1)))
    upper = backwards.flip((-2, -1)).mT
    return fb.linalg.solve_triangular(upper, fb.eye(matrix.shape[-1], dtype=matrix.dtype), upper=False)


def one_form(given: dict[str, Tensor | None], error: type[Exception] = ValueError) -> tuple[str, Tensor]:
    """The one of covariance, precision and Cholesky factor that is given."""
    there = [(name, value) for name, value in given.items() if value is not None]
    if len(there) != 1:
        raise error("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
    name, value = there[0]
    if value.ndim < 2:
        what = "scale_tril matrix" if name == "scale_tril" else name
        raise ValueError(f"{what} must be at least two-dimensional, with optional leading batch dimensions")
    return name, value


class Factored(Distribution):
    """What has a matrix as covariance, precision or Cholesky factor, whichever is given; the others follow."""

    def _set_matrix(self, name: str, value: Tensor, batch_shape: Size) -> None:
        self.__dict__[name] = value.expand((*batch_shape, *value.shape[-2:]))
        # Not expanded, so that one factor serves a whole batch.
        self._unbroadcasted_scale_tril = (
            value
            if name == "scale_tril"
            else fb.linalg.cholesky(value)
            if name == "covariance_matrix"
            else factor_of_inverse(value)
        )

    def _expanded(self, matrix: Tensor) -> Tensor:
        return matrix.expand((*self._batch_shape, *matrix.shape[-2:]))

    @lazy_property
    def scale_tril(self) -> Tensor:
        return self._expanded(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        factor = self._unbroadcasted_scale_tril
        return self._expanded(factor @ factor.mT)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        return self._expanded(fb.cholesky_inverse(self._unbroadcasted_scale_tril))


class MultivariateNormal(Factored):
    """A normal vector with mean loc and a covariance, given as such, by its inverse or by its Cholesky factor.

    >>> d = fb.distributions.MultivariateNormal(fb.zeros(2), fb.eye(2))
    >>> d.log_prob(fb.zeros(2)), d.entropy()
    (tensor(-1.8379), tensor(2.8379))
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        name, matrix = one_form(dict(zip(FORMS, (covariance_matrix, precision_matrix, scale_tril), strict=True)))
        batch_shape = fb.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        self.loc = loc.expand((*batch_shape, loc.shape[-1]))
        self.__dict__[name] = matrix.expand((*batch_shape, *matrix.shape[-2:]))
        super().__init__(batch_shape, loc.shape[-1:], validate_args)
        self._set_matrix(name, matrix, batch_shape)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return (self._unbroadcasted_scale_tril**2).sum(-1).expand((*self._batch_shape, *self._event_shape))

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        noise = fb.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + times(self._unbroadcasted_scale_tril, noise)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        factor = self._unbroadcasted_scale_tril
        length = squared_length(factor, value - self.loc)
        return -0.5 * length - self._event_shape[0] * LOG_ROOT_TAU - half_log_det(factor)

    def entropy(self) -> Tensor:
        found = self._event_shape[0] * (0.5 + LOG_ROOT_TAU) + half_log_det(self._unbroadcasted_scale_tril)
        return found.expand(self._batch_shape)


class LowRankMultivariateNormal(Distribution):
    """A normal vector with covariance W Wᵀ + diag(D), W = cov_factor (n × m), by m × m factorisations only.

    >>> d = fb.distributions.LowRankMultivariateNormal(fb.zeros(2), fb.ones(2, 1), fb.ones(2))
    >>> d.covariance_matrix
    tensor([[2., 1.],
            [1., 2.]])
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None) -> None:
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        event_shape = loc.shape[-1:]
        if cov_factor.ndim < 2:
            raise ValueError("cov_factor must be at least two-dimensional, with optional leading batch dimensions")
        if cov_factor.shape[-2:-1] != event_shape:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {event_shape[0]} x m")
        if cov_diag.shape[-1:] != event_shape:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {event_shape}")
        try:
            batch = fb.broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        except RuntimeError as error:
            raise ValueError(
                f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, cov_diag {cov_diag.shape}"
            ) from error
        self.loc, self.cov_diag = loc.expand((*batch, -1)), cov_diag.expand((*batch, -1))
        self.cov_factor = cov_factor.expand((*batch, -1, -1))
        self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag = cov_factor, cov_diag
        super().__init__(batch, event_shape, validate_args)
        m = cov_factor.shape[-1]
        inner = (cov_factor.mT / cov_diag.unsqueeze(-2)) @ cov_factor + fb.eye(m, dtype=cov_factor.dtype)
        self._capacitance_tril = fb.linalg.cholesky(inner)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return (self.cov_factor**2).sum(-1) + self.cov_diag

    @lazy_property
    def scale_tril(self) -> Tensor:
        root = self.cov_diag.sqrt().unsqueeze(-1)
        whitened = self.cov_factor / root
        return root * fb.linalg.cholesky(whitened @ whitened.mT + fb.eye(root.shape[-2], dtype=root.dtype))

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        return self.cov_factor @ self.cov_factor.mT + self.cov_diag.diag_embed()

    @lazy_property
    def precision_matrix(self) -> Tensor:
        # Woodbury's identity.
        scaled = self._unbroadcasted_cov_factor.mT / self._unbroadcasted_cov_diag.unsqueeze(-2)
        inner = fb.linalg.solve_triangular(self._capacitance_tril, scaled, upper=False)
        found = self._unbroadcasted_cov_diag.reciprocal().diag_embed() - inner.mT @ inner
        return found.expand((*self._batch_shape, *self._event_shape, *self._event_shape))

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        shape, dtype = self._extended_shape(sample_shape), self.loc.dtype
        shared = fb.randn((*shape[:-1], self.cov_factor.shape[-1]), dtype=dtype)
        own = fb.randn(shape, dtype=dtype)
        spread = self._unbroadcasted_cov_diag.sqrt() * own
        return self.loc + times(self._unbroadcasted_cov_factor, shared) + spread

    def _half_log_det(self) -> Tensor:
        return half_log_det(self._capacitance_tril) + 0.5 * self._unbroadcasted_cov_diag.log().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        apart, diagonal = value - self.loc, self._unbroadcasted_cov_diag
        projected = times(self._unbroadcasted_cov_factor.mT / diagonal.unsqueeze(-2), apart)
        length = (apart**2 / diagonal).sum(-1) - squared_length(self._capacitance_tril, projected)
        return -0.5 * length - self._event_shape[0] * LOG_ROOT_TAU - self._half_log_det()

    def entropy(self) -> Tensor:
        found = self._event_shape[0] * (0.5 + LOG_ROOT_TAU) + self._half_log_det()
        return found.expand(self._batch_shape)


class LogisticNormal(TransformedDistribution):
    """A normal vector broken onto the simplex, which has one component more.

    >>> fb.distributions.LogisticNormal(fb.zeros(2), fb.ones(2)).event_shape
    flambeau.Size([3])
    """

    arg_constraints: Any = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args)
        base = base if base.batch_shape else base.expand([1])
        super().__init__(base, StickBreakingTransform(), validate_args)

    @property
    def loc(self) -> Tensor:
        return self.base_dist.base_dist.loc

    @property
    def scale(self) -> Tensor:
        return self.base_dist.base_dist.scale
