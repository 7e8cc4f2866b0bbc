"""Distributions of matrices: Wishart's covariances and LKJ's Cholesky factors of correlations.

Imports `multivariate_normal.py` and the samplers. Read next: `kl.py`.
"""

from __future__ import annotations

import math
import warnings
from numbers import Number
from typing import Any

import flambeau as fb
from flambeau import Size, Tensor
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution, ExponentialFamily, Shape
from flambeau.distributions.gamma import Beta, Chi2
from flambeau.distributions.multivariate_normal import FORMS, Factored, half_log_det, one_form


class Wishart(Factored, ExponentialFamily):
    """The sum of df outer products of normal vectors with a covariance, for any real df above n − 1.

    >>> d = fb.distributions.Wishart(fb.tensor(3.0), fb.eye(2))
    >>> d.mean
    tensor([[3., 0.],
            [0., 3.]])
    """

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self,
        df: Any,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = one_form(dict(zip(FORMS, (covariance_matrix, precision_matrix, scale_tril), strict=True)))
        n = matrix.shape[-1]
        df = fb.tensor(df, dtype=matrix.dtype) if isinstance(df, Number) else df
        batch_shape = fb.broadcast_shapes(matrix.shape[:-2], df.shape)
        self.df = df.expand(batch_shape)
        if bool((df <= n - 1).any()):
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {n - 1}.")
        if bool((df < n).any()):
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.",
                stacklevel=2,
            )
        self._event_shape = matrix.shape[-2:]
        self.__dict__[name] = matrix.expand((*batch_shape, n, n))
        super().__init__(batch_shape, matrix.shape[-2:], validate_args)
        self._set_matrix(name, matrix, batch_shape)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self._event_shape[-1] - 1),
        }

    @property
    def mean(self) -> Tensor:
        return self.df[..., None, None] * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        factor = self.df - self._event_shape[-1] - 1
        return fb.where(factor > 0, factor, math.nan)[..., None, None] * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        diagonal = self.covariance_matrix.diagonal(dim1=-2, dim2=-1)
        outer = diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        return self.df[..., None, None] * (self.covariance_matrix**2 + outer)

    def rsample(self, sample_shape: Shape = Size()) -> Tensor:
        """By Bartlett's decomposition: chi on the diagonal of the factor, normal numbers below it."""
        n, dtype = self._event_shape[-1], self._unbroadcasted_scale_tril.dtype
        degrees = self.df.unsqueeze(-1) - fb.arange(n, dtype=dtype)
        diagonal = Chi2(degrees, False).rsample(sample_shape).sqrt().clamp(min=fb.finfo(dtype).eps)
        below = fb.randn(self._extended_shape(sample_shape), dtype=dtype).tril(-1)
        factor = self._unbroadcasted_scale_tril @ (below + diagonal.diag_embed())
        return factor @ factor.mT

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        df, n, factor = self.df, self._event_shape[-1], self._unbroadcasted_scale_tril
        trace = fb.cholesky_solve(value, factor).diagonal(dim1=-2, dim2=-1).sum(-1)
        scale = df * (n * math.log(2) / 2 + half_log_det(factor)) + fb.mvlgamma(df / 2, n)
        return (df - n - 1) / 2 * fb.linalg.slogdet(value).logabsdet - trace / 2 - scale

    def entropy(self) -> Tensor:
        df, n = self.df, self._event_shape[-1]
        digammas = fb.digamma(df.unsqueeze(-1) / 2 - fb.arange(n, dtype=df.dtype) / 2).sum(-1)
        scale = (n + 1) * (n * math.log(2) / 2 + half_log_det(self._unbroadcasted_scale_tril))
        return scale + fb.mvlgamma(df / 2, n) - (df - n - 1) / 2 * digammas + df * n / 2

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        n = self._event_shape[-1]
        at = y + (n + 1) / 2
        return at * (n * math.log(2) - fb.linalg.slogdet(-2 * x).logabsdet) + fb.mvlgamma(at, n)


class LKJCholesky(Distribution):
    """Cholesky factors of dim × dim correlation matrices C with density ∝ det(C)^(concentration − 1).

    Sampled row by row by the onion method (Lewandowski, Kurowicka, Joe, 2009).

    >>> fb.distributions.LKJCholesky(3, 0.5).sample().shape
    flambeau.Size([3, 3])
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        self._set(validate_args, concentration=concentration)
        self._event_shape = Size((dim, dim))

    def sample(self, sample_shape: Shape = Size()) -> Tensor:
        with fb.no_grad():
            dtype, shape = self.concentration.dtype, self._extended_shape(sample_shape)
            offset = fb.arange(self.dim - 1, dtype=dtype)
            marginal = self.concentration.unsqueeze(-1) + 0.5 * (self.dim - 2)
            # Before the diagonal of row k + 1 lies a direction in k dimensions, of squared length Beta(k / 2, ·).
            squared = Beta(0.5 * (offset + 1), marginal - 0.5 * offset, False).sample(sample_shape)
            squared = fb.nn.functional.pad(squared, [1, 0]).unsqueeze(-1)  # row 0 has nothing before its diagonal
            direction = fb.randn(shape, dtype=dtype).tril(-1)
            length = fb.linalg.vector_norm(direction, dim=-1, keepdim=True).clamp(min=fb.finfo(dtype).tiny)
            below = direction / length * squared.sqrt()
            diagonal = (1 - (below**2).sum(-1)).clamp(min=fb.finfo(dtype).tiny).sqrt()
            return below + diagonal.diag_embed()

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        n = self.dim
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        order = fb.arange(2, n + 1, dtype=self.concentration.dtype)
        powers = 2 * (self.concentration - 1).unsqueeze(-1) + n - order
        alpha = self.concentration + 0.5 * (n - 1)
        normalizer = fb.mvlgamma(alpha - 0.5, n - 1) - fb.lgamma(alpha) * (n - 1)
        normalizer = normalizer + 0.5 * (n - 1) * math.log(math.pi)
        return (powers * diagonal.log()).sum(-1) - normalizer
