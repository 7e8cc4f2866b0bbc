"""Probability distributions, with transforms, constraints and divergences, under torch.distributions' names.

>>> d = fb.distributions.Normal(fb.tensor([0.0, 1.0]), 1.0)
>>> d.log_prob(fb.zeros(2))
tensor([-0.9189, -1.4189])

Reparameterised samples (`rsample`) carry gradients to the parameters. Imports flambeau's functions, and ops and ir for
the samplers. Read next: `distribution.py`, then a family, such as `normal.py` or `gamma.py`.
"""

from __future__ import annotations

import sys as _sys

from flambeau.distributions import constraints as constraints
from flambeau.distributions import transforms as transforms
from flambeau.distributions.categorical import (
    Categorical,
    Multinomial,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
)
from flambeau.distributions.composite import Independent, MixtureSameFamily, TransformedDistribution
from flambeau.distributions.constraint_registry import biject_to, transform_to
from flambeau.distributions.discrete import Bernoulli, Binomial, Geometric, NegativeBinomial, Poisson
from flambeau.distributions.distribution import Distribution, ExponentialFamily
from flambeau.distributions.gamma import (
    Beta,
    Chi2,
    Dirichlet,
    Exponential,
    FisherSnedecor,
    Gamma,
    InverseGamma,
    StudentT,
)
from flambeau.distributions.kl import kl_divergence, register_kl
from flambeau.distributions.matrices import LKJCholesky, Wishart
from flambeau.distributions.multivariate_normal import (
    LogisticNormal,
    LowRankMultivariateNormal,
    MultivariateNormal,
)
from flambeau.distributions.normal import Cauchy, Gumbel, HalfCauchy, HalfNormal, Laplace, LogNormal, Normal
from flambeau.distributions.pareto import GeneralizedPareto, Kumaraswamy, Pareto, Weibull
from flambeau.distributions.relaxed import RelaxedBernoulli, RelaxedOneHotCategorical
from flambeau.distributions.transforms import *
from flambeau.distributions.uniform import ContinuousBernoulli, Uniform, VonMises

__all__ = [
    "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Chi2", "ContinuousBernoulli", "Dirichlet",
    "Distribution", "Exponential", "ExponentialFamily", "FisherSnedecor", "Gamma", "GeneralizedPareto", "Geometric",
    "Gumbel", "HalfCauchy", "HalfNormal", "Independent", "InverseGamma", "Kumaraswamy", "LKJCholesky", "Laplace",
    "LogNormal", "LogisticNormal", "LowRankMultivariateNormal", "MixtureSameFamily", "Multinomial",
    "MultivariateNormal", "NegativeBinomial", "Normal", "OneHotCategorical", "OneHotCategoricalStraightThrough",
    "Pareto", "Poisson", "RelaxedBernoulli", "RelaxedOneHotCategorical", "StudentT", "TransformedDistribution",
    "Uniform", "VonMises", "Weibull", "Wishart", "biject_to", "kl_divergence", "register_kl", "transform_to",
]  # fmt: skip
__all__ += transforms.__all__

# PyTorch's module names where a family lives under another one here: `from torch.distributions.beta import Beta`.
_homes = {
    "bernoulli binomial geometric negative_binomial poisson": "discrete",
    "one_hot_categorical multinomial": "categorical",
    "independent transformed_distribution mixture_same_family": "composite",
    "exp_family": "distribution",
    "beta chi2 dirichlet exponential fishersnedecor inverse_gamma studentT": "gamma",
    "lkj_cholesky wishart": "matrices",
    "logistic_normal lowrank_multivariate_normal": "multivariate_normal",
    "cauchy gumbel half_cauchy half_normal laplace log_normal": "normal",
    "generalized_pareto kumaraswamy weibull": "pareto",
    "relaxed_bernoulli relaxed_categorical": "relaxed",
    "continuous_bernoulli von_mises": "uniform",
}
for _names, _home in _homes.items():
    for _name in _names.split():
        _sys.modules[f"{__name__}.{_name}"] = globals()[_name] = _sys.modules[f"{__name__}.{_home}"]
