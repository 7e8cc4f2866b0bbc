"""KL(p ‖ q) = E_p log p − E_p log q, by a table of pairs of families.

Most pairs on the line need no formula of their own: log q is linear in a few statistics (x, x², log x, …), so that
−entropy(p) minus their means under p is the answer, and +∞ where p goes beyond q's support. Pairs of one family have
their closed form, which is exactly 0 for p = q. Imports the families. Read next: `distribution.py`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.distributions.categorical import Categorical, Multinomial, OneHotCategorical
from flambeau.distributions.composite import Independent, TransformedDistribution
from flambeau.distributions.discrete import Bernoulli, Binomial, Geometric, Poisson
from flambeau.distributions.distribution import Distribution, ExponentialFamily
from flambeau.distributions.gamma import Beta, Dirichlet, Exponential, Gamma
from flambeau.distributions.multivariate_normal import (
    LowRankMultivariateNormal,
    MultivariateNormal,
    half_log_det,
    squared_length,
    times,
)
from flambeau.distributions.normal import Cauchy, Gumbel, HalfNormal, Laplace, Normal
from flambeau.distributions.pareto import Pareto
from flambeau.distributions.uniform import ContinuousBernoulli, Uniform
from flambeau.distributions.utils import euler_constant, sum_rightmost

Formula = Callable[[Any, Any], Tensor]
_KL_REGISTRY: dict[tuple[type, type], Formula] = {}
_found: dict[tuple[type, type], Formula | None] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Formula], Formula]:
    """Registers the decorated f(p, q) -> Tensor as the divergence of two families, and of their subclasses.

    Raises TypeError for what is no distribution.

    >>> D = fb.distributions
    >>> class Point(D.Normal):
    ...     pass
    >>> @D.register_kl(Point, Point)
    ... def between(p, q):
    ...     return (p.mean - q.mean).abs()
    >>> D.kl_divergence(Point(0.0, 1.0), Point(3.0, 1.0))
    tensor(3.)
    """
    for kind in (type_p, type_q):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"Expected type_p and type_q to be Distribution subclasses but got {kind}")

    def register(formula: Formula) -> Formula:
        _KL_REGISTRY[type_p, type_q] = formula
        _found.clear()
        return formula

    return register


def nearest(p: type, q: type) -> Formula | None:
    """The registered formula of the nearest ancestors, those of p first; a warning where those of q would differ."""
    fits = [(a, b) for a, b in _KL_REGISTRY if issubclass(p, a) and issubclass(q, b)]
    if not fits:
        return None
    by_p = min(fits, key=lambda pair: (p.__mro__.index(pair[0]), q.__mro__.index(pair[1])))
    by_q = min(fits, key=lambda pair: (q.__mro__.index(pair[1]), p.__mro__.index(pair[0])))
    if _KL_REGISTRY[by_p] is not _KL_REGISTRY[by_q]:
        warnings.warn(
            f"Ambiguous kl_divergence({p.__name__}, {q.__name__}). Please register_kl({by_p[0].__name__}, "
            f"{by_q[1].__name__})",
            RuntimeWarning,
            stacklevel=3,
        )
    return _KL_REGISTRY[by_p]


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """KL(p ‖ q) = ∫ p(x) log(p(x) / q(x)) dx, for each of the batch.

    Raises NotImplementedError for pairs without a formula; `register_kl` adds one.

    >>> d = fb.distributions
    >>> d.kl_divergence(d.Normal(0.0, 1.0), d.Normal(1.0, 1.0))
    tensor(0.5000)
    """
    key = type(p), type(q)
    if key not in _found:
        _found[key] = nearest(*key)
    formula = _found[key]
    if formula is None:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {key[0].__name__} and q type {key[1].__name__}"
        )
    return formula(p, q)


# Families on the line: where their values lie, the statistics log q is linear in, and their means under p.


def ends(d: Any) -> tuple[Any, Any]:
    """The least and the largest value."""
    if isinstance(d, Uniform):
        return d.low, d.high
    if isinstance(d, Pareto):
        return d.scale, math.inf
    if isinstance(d, Beta | ContinuousBernoulli):
        return 0.0, 1.0
    return (0.0 if isinstance(d, Exponential | Gamma) else -math.inf), math.inf


def x_log_x(x: Tensor) -> Tensor:
    return fb.xlogy(x, x.clamp(min=0))


def uniform_log(low: Tensor, high: Tensor) -> Tensor:
    return (x_log_x(high) - x_log_x(low)) / (high - low) - 1


def folded(p: Any, m: Tensor) -> Tensor:
    """E |x − m| of a normal variable."""
    z = (p.loc - m) / p.scale
    return p.scale * (math.sqrt(2 / math.pi) * (-0.5 * z * z).exp() + z * fb.erf(z * math.sqrt(0.5)))


# Statistic -> family -> its mean: log x, log(1 − x), e^(−t x) and |x − m|.
MEANS: dict[str, dict[type, Callable[..., Tensor]]] = {
    "log": {
        Beta: lambda p: fb.digamma(p.concentration1) - fb.digamma(p.concentration1 + p.concentration0),
        Exponential: lambda p: -euler_constant - p.rate.log(),
        Gamma: lambda p: fb.digamma(p.concentration) - p.rate.log(),
        Pareto: lambda p: p.scale.log() + p.alpha.reciprocal(),
        Uniform: lambda p: uniform_log(p.low, p.high),
    },
    "log1m": {
        Beta: lambda p: fb.digamma(p.concentration0) - fb.digamma(p.concentration1 + p.concentration0),
        Uniform: lambda p: uniform_log(1 - p.high, 1 - p.low),
    },
    "exp": {
        Exponential: lambda p, t: p.rate / (p.rate + t),
        Gamma: lambda p, t: (1 + t / p.rate) ** -p.concentration,
        Normal: lambda p, t: (0.5 * (p.scale * t) ** 2 - p.loc * t).exp(),
        Uniform: lambda p, t: ((-t * p.low).exp() - (-t * p.high).exp()) / (t * (p.high - p.low)),
    },
    "abs": {Normal: folded},
}
# Family q -> the statistics beyond mean and variance it needs, and E_p log q given p and a function to their means.
CROSS: dict[type, tuple[tuple[str, ...], Callable[..., Tensor]]] = {
    Beta: (
        ("log", "log1m"),
        lambda p, q, of: (
            (q.concentration1 - 1) * of("log")
            + (q.concentration0 - 1) * of("log1m")
            - q._log_normalizer(q.concentration1, q.concentration0)
        ),
    ),
    ContinuousBernoulli: (
        (),
        lambda p, q, of: p.mean * q.logits + (-q.probs).log1p() + q._cont_bern_log_norm(),
    ),
    Exponential: ((), lambda p, q, of: q.rate.log() - q.rate * p.mean),
    Gamma: (
        ("log",),
        lambda p, q, of: (
            q.concentration * q.rate.log()
            - fb.lgamma(q.concentration)
            + (q.concentration - 1) * of("log")
            - q.rate * p.mean
        ),
    ),
    Gumbel: (
        ("exp",),
        lambda p, q, of: (
            (q.loc - p.mean) / q.scale - q.scale.log() - (q.loc / q.scale).exp() * of("exp", q.scale.reciprocal())
        ),
    ),
    Laplace: (("abs",), lambda p, q, of: -(2 * q.scale).log() - of("abs", q.loc) / q.scale),
    Normal: (
        (),
        lambda p, q, of: (
            -0.5 * (2 * math.pi * q.scale**2).log() - 0.5 * (p.variance + (p.mean - q.loc) ** 2) / q.scale**2
        ),
    ),
    Pareto: (
        ("log",),
        lambda p, q, of: q.alpha.log() + q.alpha * q.scale.log() - (q.alpha + 1) * of("log"),
    ),
    Uniform: ((), lambda p, q, of: -(q.high - q.low).log()),
}
# Families whose values go beyond those of the families named, whatever the parameters.
BEYOND: dict[type, tuple[type, ...]] = {
    **dict.fromkeys((Gumbel, Laplace, Normal), (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)),
    **dict.fromkeys((Exponential, Gamma), (Beta, ContinuousBernoulli, Pareto, Uniform)),
    **dict.fromkeys((Beta, ContinuousBernoulli), (Pareto,)),
    Pareto: (Beta, ContinuousBernoulli, Uniform),
}


def cross(kind_p: type, kind_q: type) -> Formula:
    """KL for two families on the line by the means of q's statistics."""
    _, log_q = CROSS[kind_q]

    def divergence(p: Any, q: Any) -> Tensor:
        apart = -p.entropy() - log_q(p, q, lambda name, *at: MEANS[name][kind_p](p, *at))
        (low, high), (least, most) = ends(p), ends(q)
        return fb.where(fb.as_tensor((low < least) | (high > most)), math.inf, apart)

    return divergence


def infinite(p: Any, q: Any) -> Tensor:
    shape = fb.broadcast_shapes(p.batch_shape, q.batch_shape)
    return fb.full(shape, math.inf, dtype=p.mean.dtype)


for _q, (_needs, _) in CROSS.items():
    for _p in CROSS:
        if _q in BEYOND.get(_p, ()):
            register_kl(_p, _q)(infinite)
        elif all(_p in MEANS[need] for need in _needs):
            register_kl(_p, _q)(cross(_p, _q))
for _p, _q in ((Poisson, Bernoulli), (Poisson, Binomial)):
    register_kl(_p, _q)(infinite)


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale) ** 2
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - ratio.log())


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: HalfNormal, q: HalfNormal) -> Tensor:
    return _normal(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace(p: Laplace, q: Laplace) -> Tensor:
    ratio, apart = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + apart / q.scale + ratio * (-apart / p.scale).exp() - 1


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Cauchy, q: Cauchy) -> Tensor:
    return ((p.scale + q.scale) ** 2 + (p.loc - q.loc) ** 2).log() - (4 * p.scale * q.scale).log()


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Gumbel, q: Gumbel) -> Tensor:
    ratio, apart = p.scale / q.scale, (p.loc - q.loc) / q.scale
    return apart - ratio.log() + (ratio - 1) * euler_constant + (fb.lgamma(1 + ratio) - apart).exp() - 1


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - ratio.log() - 1


@register_kl(Gamma, Gamma)
def _gamma(p: Gamma, q: Gamma) -> Tensor:
    a, b = p.concentration, q.concentration
    shape = fb.lgamma(b) - fb.lgamma(a) + (a - b) * fb.digamma(a)
    return shape + b * (p.rate / q.rate).log() + (q.rate - p.rate) * (a / p.rate)


@register_kl(Pareto, Pareto)
def _pareto(p: Pareto, q: Pareto) -> Tensor:
    ratio = q.alpha / p.alpha
    apart = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return fb.where(p.scale < q.scale, math.inf, apart)


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    logs = fb.digamma(a) - fb.digamma(a.sum(-1, True))
    weights = fb.lgamma(a.sum(-1)) - fb.lgamma(b.sum(-1)) - (fb.lgamma(a) - fb.lgamma(b)).sum(-1)
    return weights + ((a - b) * logs).sum(-1)


@register_kl(Beta, Beta)
def _beta(p: Beta, q: Beta) -> Tensor:
    return _dirichlet(p._dirichlet, q._dirichlet)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    softplus = fb.nn.functional.softplus
    heads = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    tails = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    heads = fb.where(p.probs == 0, 0.0, fb.where(q.probs == 0, math.inf, heads))
    return heads + fb.where(p.probs == 1, 0.0, fb.where(q.probs == 1, math.inf, tails))


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Bernoulli, q: Poisson) -> Tensor:
    return q.rate - p.entropy() - p.probs * q.rate.log()


@register_kl(Binomial, Binomial)
def _binomial(p: Binomial, q: Binomial) -> Tensor:
    n = p.total_count
    if bool((n < q.total_count).any()):
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    each = p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p()
    return fb.where(n > q.total_count, math.inf, n * each)


@register_kl(Geometric, Geometric)
def _geometric(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Categorical, Categorical)
def _categorical(p: Categorical, q: Categorical) -> Tensor:
    each = p.probs * (p.logits - q.logits)
    return fb.where(p.probs == 0, 0.0, fb.where(q.probs == 0, math.inf, each)).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return _categorical(p._categorical, q._categorical)


@register_kl(Multinomial, Multinomial)
def _multinomial(p: Multinomial, q: Multinomial) -> Tensor:
    if p.total_count != q.total_count:
        raise NotImplementedError(
            f"KL between Multinomials of {p.total_count} and {q.total_count} draws is not implemented"
        )
    return p.total_count * _categorical(p._categorical, q._categorical)


# Normal vectors: ½ (log |Σq| − log |Σp| + tr Σq⁻¹ Σp + |μp − μq|² in Σq's metric − n).


def parts(d: Any) -> tuple[Tensor, Tensor | None, Tensor]:
    """A factor and a diagonal whose squares add up to the covariance, and half of its log determinant."""
    if isinstance(d, LowRankMultivariateNormal):
        return d.cov_factor, d.cov_diag, d._half_log_det()
    return d.scale_tril, None, half_log_det(d._unbroadcasted_scale_tril)


def trace_and_length(q: Any, factor: Tensor, diagonal: Tensor | None, apart: Tensor) -> Tensor:
    """tr Σq⁻¹ (F Fᵀ + diag(d)) + apartᵀ Σq⁻¹ apart."""
    if isinstance(q, MultivariateNormal):
        lower = q._unbroadcasted_scale_tril
        if diagonal is not None:
            factor = fb.cat([factor, diagonal.sqrt().diag_embed()], -1)
        batch = fb.broadcast_shapes(lower.shape[:-2], factor.shape[:-2])
        white = fb.linalg.solve_triangular(lower.expand((*batch, -1, -1)), factor.expand((*batch, -1, -1)), upper=False)
        return (white**2).sum((-2, -1)) + squared_length(lower, apart)
    noise = q._unbroadcasted_cov_diag
    scaled = q._unbroadcasted_cov_factor.mT / noise.unsqueeze(-2)
    inner = fb.linalg.solve_triangular(q._capacitance_tril, scaled, upper=False)
    total = (factor**2 / noise.unsqueeze(-1)).sum((-2, -1)) - ((inner @ factor) ** 2).sum((-2, -1))
    if diagonal is not None:
        total = total + (diagonal / noise).sum(-1) - (inner**2 * diagonal.unsqueeze(-2)).sum((-2, -1))
    return total + (apart**2 / noise).sum(-1) - (times(inner, apart) ** 2).sum(-1)


@register_kl(MultivariateNormal, MultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _multivariate_normal(p: Any, q: Any) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two (Low Rank) Multivariate Normals with different event shapes cannot be "
            f"computed, got {p.event_shape} and {q.event_shape}"
        )
    factor, diagonal, half = parts(p)
    spread = trace_and_length(q, factor, diagonal, q.loc - p.loc)
    return parts(q)[2] - half + 0.5 * (spread - p.event_shape[0])


@register_kl(ExponentialFamily, ExponentialFamily)
def _exponential_family(p: Any, q: Any) -> Tensor:
    """F(θq) − F(θp) − ⟨θq − θp, ∇F(θp)⟩, Bregman's divergence of the log normaliser."""
    if type(p) is not type(q):
        raise NotImplementedError(
            "The cross KL-divergence between different exponential families cannot be computed using Bregman "
            f"divergences, got {type(p).__name__} and {type(q).__name__}"
        )
    natural = [t.detach().requires_grad_() for t in p._natural_params]
    with fb.enable_grad():
        normalizer = p._log_normalizer(*natural)
        slopes = fb.autograd.grad(normalizer.sum(), natural, create_graph=True)
    result = q._log_normalizer(*q._natural_params) - normalizer
    for a, b, slope in zip(natural, q._natural_params, slopes, strict=True):
        term = (b - a) * slope
        result = result - sum_rightmost(term, term.ndim - result.ndim)
    return result


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError(
            "KL between transformed distributions is implemented for the same transforms and event shapes"
        )
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("KL between Independents is implemented for the same reinterpreted_batch_ndims")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)
