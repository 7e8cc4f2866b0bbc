"""Distributions: densities as SciPy has them, moments of samples, quantiles, entropies, shapes and errors."""

from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest
import scipy.integrate
import scipy.stats as ss

import flambeau as fb
from flambeau import distributions as D

F64 = fb.float64


def v(*values):
    return fb.tensor(values, dtype=F64)


def array(x):
    return np.asarray(x.detach().tolist())


# name -> (ours, SciPy's, values at which densities are compared)
LINE = {
    "beta": (lambda: D.Beta(v(0.5, 2.0), v(3.0, 0.7)), ss.beta([0.5, 2.0], [3.0, 0.7]), (0.1, 0.5, 0.9)),
    "cauchy": (lambda: D.Cauchy(v(0.0, 1.0), v(1.0, 2.0)), ss.cauchy([0, 1], [1, 2]), (-2, 0.3, 5)),
    "chi2": (lambda: D.Chi2(v(1.0, 5.0)), ss.chi2([1, 5]), (0.2, 3, 9)),
    "exponential": (lambda: D.Exponential(v(0.5, 3.0)), ss.expon(scale=[2, 1 / 3]), (0.2, 3, 9)),
    "fisher": (lambda: D.FisherSnedecor(v(3.0, 5.0), v(7.0, 12.0)), ss.f([3, 5], [7, 12]), (0.2, 1, 4)),
    "gamma": (lambda: D.Gamma(v(0.5, 3.0), v(2.0, 5.0)), ss.gamma([0.5, 3], scale=[0.5, 0.2]), (0.2, 1, 4)),
    "generalized pareto": (
        lambda: D.GeneralizedPareto(v(0.0, 0.0, 0.0), v(1.0, 2.0, 1.0), v(0.2, -0.3, 0.0)),
        ss.genpareto([0.2, -0.3, 0.0], scale=[1, 2, 1]), (0.1, 1, 3),
    ),
    "gumbel": (lambda: D.Gumbel(v(0.0, 1.0), v(1.0, 2.0)), ss.gumbel_r([0, 1], [1, 2]), (-1, 0.5, 4)),
    "half cauchy": (lambda: D.HalfCauchy(v(1.0, 2.0)), ss.halfcauchy(scale=[1, 2]), (0.1, 1, 5)),
    "half normal": (lambda: D.HalfNormal(v(1.0, 2.0)), ss.halfnorm(scale=[1, 2]), (0.1, 1, 3)),
    "inverse gamma": (lambda: D.InverseGamma(v(2.5, 5.0), v(2.0, 5.0)), ss.invgamma([2.5, 5], scale=[2, 5]), (0.3, 1)),
    "laplace": (lambda: D.Laplace(v(0.0, 1.0), v(1.0, 2.0)), ss.laplace([0, 1], [1, 2]), (-1, 0.5, 4)),
    "log normal": (lambda: D.LogNormal(v(0.0, 1.0), v(1.0, 0.5)), ss.lognorm([1, 0.5], scale=np.exp([0, 1])), (0.5, 4)),
    "normal": (lambda: D.Normal(v(0.0, 1.0), v(1.0, 2.0)), ss.norm([0, 1], [1, 2]), (-1, 0.5, 4)),
    "pareto": (lambda: D.Pareto(v(1.0, 2.0), v(3.0, 5.0)), ss.pareto([3, 5], scale=[1, 2]), (2.5, 4)),
    "student": (lambda: D.StudentT(v(3.0, 9.0), v(0.0, 1.0), v(1.0, 2.0)), ss.t([3, 9], [0, 1], [1, 2]), (-1, 0.5, 4)),
    "uniform": (lambda: D.Uniform(v(0.0, -1.0), v(1.0, 2.0)), ss.uniform([0, -1], [1, 3]), (0.2, 0.7)),
    "von mises": (lambda: D.VonMises(v(0.0, 1.0), v(1.0, 20.0)), ss.vonmises([1, 20], [0, 1]), (-1, 0.5, 2)),
    "weibull": (lambda: D.Weibull(v(1.0, 2.0), v(0.8, 3.0)), ss.weibull_min([0.8, 3], scale=[1, 2]), (0.2, 1, 3)),
    "truncated exponential": (
        lambda: D.ContinuousBernoulli(v(0.2)), ss.truncexpon(math.log(4), scale=1 / math.log(4)), (0.1, 0.5, 0.9),
    ),
}  # fmt: skip
COUNTS = {
    "bernoulli": (lambda: D.Bernoulli(v(0.2, 0.7)), ss.bernoulli([0.2, 0.7]), (0, 1)),
    "binomial": (lambda: D.Binomial(7, v(0.2, 0.7)), ss.binom(7, [0.2, 0.7]), (0, 3, 7)),
    "binomial of many": (lambda: D.Binomial(500, v(0.2, 0.7)), ss.binom(500, [0.2, 0.7]), (90, 350)),
    "geometric": (lambda: D.Geometric(v(0.2, 0.7)), ss.geom([0.2, 0.7], -1), (0, 3, 9)),
    "negative binomial": (
        lambda: D.NegativeBinomial(v(3.0, 1.5), v(0.2, 0.7)),
        ss.nbinom([3, 1.5], [0.8, 0.3]),
        (0, 4),
    ),
    "poisson": (lambda: D.Poisson(v(0.7, 4.0)), ss.poisson([0.7, 4]), (0, 3, 9)),
    "poisson of many": (lambda: D.Poisson(v(15.0, 400.0)), ss.poisson([15, 400]), (20, 390)),
}
ALL = {**LINE, **COUNTS}


@pytest.mark.parametrize("name", ALL)
def test_log_prob_is_scipys(name):
    make, theirs, points = ALL[name]
    density = theirs.logpmf if name in COUNTS else theirs.logpdf
    for x in points:
        got = make().log_prob(fb.tensor(float(x), dtype=F64))
        np.testing.assert_allclose(array(got), density(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_moments_and_entropy_are_scipys(name):
    make, theirs, _ = ALL[name]
    d = make()
    if name != "von mises":  # whose moments are circular here
        mean, variance = theirs.stats("mv")
        for got, want in ((d.mean, mean), (d.variance, variance)):
            if name not in ("cauchy", "half cauchy"):
                np.testing.assert_allclose(array(got), want, rtol=1e-8)
    if name not in ("fisher", "von mises", "negative binomial", "poisson", "poisson of many"):
        np.testing.assert_allclose(array(d.entropy()), theirs.entropy(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", LINE)
def test_distribution_function_and_quantiles_are_scipys(name):
    make, theirs, points = LINE[name]
    d = make()
    try:
        d.cdf(d.sample())
    except NotImplementedError:
        assert name in ("beta", "fisher", "student", "von mises")
        return
    for x in points:
        np.testing.assert_allclose(array(d.cdf(fb.tensor(float(x), dtype=F64))), theirs.cdf(x), rtol=1e-8, atol=1e-12)
    if name in ("gamma", "chi2", "inverse gamma"):
        return
    for q in (0.05, 0.5, 0.9):
        np.testing.assert_allclose(array(d.icdf(fb.tensor(q, dtype=F64))), theirs.ppf(q), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_samples_have_the_distribution(name):
    """Kolmogorov and Smirnov's test for what is continuous, chi-squared for counts, at a level of 1 in 100 000."""
    make, theirs, _ = ALL[name]
    fb.manual_seed(sum(map(ord, name)))
    samples = array(make().sample((20000,)))
    for column in range(samples.shape[1] if samples.ndim == 2 else 1):
        xs = samples[:, column]
        pick = lambda a, column=column: np.broadcast_to(np.asarray(a), samples.shape[1:])[column]
        if name in COUNTS:
            low, high = int(xs.min()), int(xs.max())
            edges = np.unique(np.quantile(xs, np.linspace(0, 1, 15)).astype(int))
            cdf = lambda x, pick=pick: pick(theirs.cdf(x))
            inside = [cdf(b) - cdf(a) for a, b in itertools.pairwise(edges)]
            expected = np.array([cdf(edges[0]), *inside, 1 - cdf(edges[-1])]) * len(xs)
            found = np.array([np.sum(xs <= edges[0]),
                              *(np.sum((xs > a) & (xs <= b)) for a, b in itertools.pairwise(edges)),
                              np.sum(xs > edges[-1])])  # fmt: skip
            assert low >= 0 and high == np.max(np.floor(xs))
            used = expected > 1e-9
            assert found[~used].sum() == 0
            statistic = ((found[used] - expected[used]) ** 2 / expected[used]).sum()
            assert ss.chi2.sf(statistic, max(used.sum() - 1, 1)) > 1e-5, name
        else:
            ours = lambda x, k=column: theirs.cdf(np.repeat(np.asarray(x)[:, None], samples.shape[1], 1))[:, k]
            assert ss.kstest(xs, ours).pvalue > 1e-5, name


def test_von_mises_and_mixtures_have_mass_one():
    for d, low, high in (
        (D.VonMises(v(0.5), v(3.0)), -math.pi, math.pi),
        (D.MixtureSameFamily(D.Categorical(v(1.0, 3.0)), D.Normal(v(-2.0, 1.0), v(0.5, 1.0))), -12, 12),
        (D.Kumaraswamy(v(2.0), v(3.0)), 0, 1),
        (D.RelaxedBernoulli(fb.tensor(0.7, dtype=F64), v(0.3)), 0, 1),
        (D.TransformedDistribution(D.Normal(v(0.0), v(1.0)), [D.TanhTransform()]), -1, 1),
    ):
        mass = scipy.integrate.quad(lambda x, d=d: d.log_prob(v(x)).exp().item(), low, high, limit=200)[0]
        assert mass == pytest.approx(1, abs=1e-6)


def test_vectors_and_matrices_are_scipys():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 3))
    cov = a @ a.T + np.eye(3)
    x, loc = rng.normal(size=3), rng.normal(size=3)
    want = ss.multivariate_normal(loc, cov).logpdf(x)
    matrix = fb.tensor(cov.tolist(), dtype=F64)
    for form in (
        {"covariance_matrix": matrix},
        {"precision_matrix": fb.linalg.inv(matrix)},
        {"scale_tril": fb.linalg.cholesky(matrix)},
    ):
        d = D.MultivariateNormal(v(*loc), **form)
        assert d.log_prob(v(*x)).item() == pytest.approx(want, rel=1e-10)
        np.testing.assert_allclose(array(d.covariance_matrix), cov, rtol=1e-9)
        np.testing.assert_allclose(array(d.precision_matrix @ matrix), np.eye(3), atol=1e-9)
        assert d.entropy().item() == pytest.approx(ss.multivariate_normal(loc, cov).entropy(), rel=1e-10)
    w, diagonal = rng.normal(size=(3, 2)), np.array([0.5, 1.0, 2.0])
    low = D.LowRankMultivariateNormal(v(*loc), fb.tensor(w.tolist(), dtype=F64), v(*diagonal))
    full = ss.multivariate_normal(loc, w @ w.T + np.diag(diagonal))
    assert low.log_prob(v(*x)).item() == pytest.approx(full.logpdf(x), rel=1e-10)
    assert low.entropy().item() == pytest.approx(full.entropy(), rel=1e-10)
    np.testing.assert_allclose(array(low.precision_matrix), np.linalg.inv(full.cov), rtol=1e-8)
    np.testing.assert_allclose(array(low.scale_tril), np.linalg.cholesky(full.cov), rtol=1e-8, atol=1e-12)
    wishart = D.Wishart(fb.tensor(4.5, dtype=F64), matrix)
    b = rng.normal(size=(3, 3))
    s = b @ b.T + np.eye(3)
    theirs = ss.wishart(4.5, cov)
    assert wishart.log_prob(fb.tensor(s.tolist(), dtype=F64)).item() == pytest.approx(theirs.logpdf(s), rel=1e-9)
    assert wishart.entropy().item() == pytest.approx(theirs.entropy(), rel=1e-9)
    np.testing.assert_allclose(array(wishart.mean), theirs.mean(), rtol=1e-9)
    np.testing.assert_allclose(array(wishart.variance), theirs.var(), rtol=1e-9)
    dirichlet, p = D.Dirichlet(v(0.5, 2.0, 3.0)), np.array([0.2, 0.3, 0.5])
    assert dirichlet.log_prob(v(*p)).item() == pytest.approx(ss.dirichlet([0.5, 2, 3]).logpdf(p), rel=1e-10)
    assert dirichlet.entropy().item() == pytest.approx(ss.dirichlet([0.5, 2, 3]).entropy(), rel=1e-10)
    multinomial = D.Multinomial(6, v(0.2, 0.3, 0.5))
    assert multinomial.log_prob(v(1, 2, 3)).item() == pytest.approx(ss.multinomial(6, p).logpmf([1, 2, 3]), rel=1e-10)
    assert multinomial.entropy().item() == pytest.approx(ss.multinomial(6, p).entropy(), rel=1e-10)


def test_moments_of_samples_of_vectors_and_matrices():
    fb.manual_seed(5)
    cov = fb.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=F64)
    for d in (
        D.MultivariateNormal(v(1.0, -1.0), cov),
        D.MultivariateNormal(v(1.0, -1.0), precision_matrix=cov),
        D.LowRankMultivariateNormal(v(1.0, 2.0), fb.tensor([[1.0], [0.5]], dtype=F64), v(0.5, 1.0)),
        D.Dirichlet(v(0.4, 2.0, 3.0)),
        D.Multinomial(5, v(0.2, 0.3, 0.5)),
        D.OneHotCategorical(v(0.2, 0.3, 0.5)),
        D.Wishart(fb.tensor(3.5, dtype=F64), cov),
    ):
        n = 20000
        samples = d.sample((n,))
        deviations = (samples.mean(0) - d.mean).abs() / (d.variance / n).sqrt()
        assert deviations.max().item() < 5, d
        np.testing.assert_allclose(array(samples.var(0)), array(d.variance), rtol=0.12)


def test_correlations_of_lkj():
    """Off-diagonal correlations of LKJ(η) in n dimensions are 2 Beta − 1 with both parameters η − 1 + n / 2."""
    fb.manual_seed(2)
    for n, eta in ((2, 1.0), (3, 0.5), (4, 3.0)):
        d = D.LKJCholesky(n, fb.tensor(eta, dtype=F64))
        factor = d.sample((5000,))
        assert D.constraints.corr_cholesky.check(factor).all()
        correlation = array((factor @ factor.mT)[:, n - 1, 0])
        b = eta - 1 + n / 2
        assert ss.kstest((correlation + 1) / 2, ss.beta(b, b).cdf).pvalue > 1e-5
    # In two dimensions the density is that of the one correlation r, times dr/dL = 1.
    two = D.LKJCholesky(2, fb.tensor(1.7, dtype=F64))

    def density(r):
        row = [[1.0, 0.0], [r, math.sqrt(1 - r * r)]]
        return two.log_prob(fb.tensor(row, dtype=F64)).exp().item()

    assert scipy.integrate.quad(density, -1, 1)[0] == pytest.approx(1, abs=1e-6)


SHAPED = {
    **{name: make for name, (make, _, _) in ALL.items()},
    "categorical": lambda: D.Categorical(logits=fb.randn(2, 4)),
    "one hot": lambda: D.OneHotCategoricalStraightThrough(fb.ones(2, 4)),
    "multinomial": lambda: D.Multinomial(3, fb.ones(2, 4)),
    "dirichlet": lambda: D.Dirichlet(fb.ones(2, 4)),
    "mvn": lambda: D.MultivariateNormal(fb.zeros(2, 3), fb.eye(3)),
    "low rank": lambda: D.LowRankMultivariateNormal(fb.zeros(2, 3), fb.ones(3, 1), fb.ones(3)),
    "wishart": lambda: D.Wishart(fb.tensor([3.0, 4.0]), fb.eye(2)),
    "lkj": lambda: D.LKJCholesky(3, fb.ones(2)),
    "independent": lambda: D.Independent(D.Normal(fb.zeros(2, 3), 1.0), 1),
    "mixture": lambda: D.MixtureSameFamily(D.Categorical(fb.ones(2, 3)), D.Normal(fb.zeros(2, 3), 1.0)),
    "logistic normal": lambda: D.LogisticNormal(fb.zeros(2, 3), fb.ones(2, 3)),
    "relaxed": lambda: D.RelaxedBernoulli(fb.tensor(0.5), fb.tensor([0.2, 0.4])),
    "concrete": lambda: D.RelaxedOneHotCategorical(fb.tensor(0.5), fb.ones(2, 3)),
    "kumaraswamy": lambda: D.Kumaraswamy(v(1.0, 2.0), v(2.0, 3.0)),
    "transformed": lambda: D.TransformedDistribution(
        D.Normal(fb.zeros(2), 1.0), [D.AffineTransform(1.0, fb.ones(2)), D.SigmoidTransform()]
    ),
}


@pytest.mark.parametrize("name", SHAPED)
def test_shapes(name):
    fb.manual_seed(0)
    d = SHAPED[name]()
    batch, event = tuple(d.batch_shape), tuple(d.event_shape)
    for shape in ((), (3,), (2, 1)):
        x = d.sample(shape)
        assert x.shape == (*shape, *batch, *event) and not x.requires_grad
        assert d.log_prob(x).shape == (*shape, *batch)
        if d.has_rsample:
            assert d.rsample(shape).shape == x.shape
    wide = d.expand((5, *batch))
    assert type(wide) is type(d) and wide.batch_shape == (5, *batch) and wide.event_shape == event
    x = wide.sample((3,))
    assert x.shape == (3, 5, *batch, *event)
    np.testing.assert_allclose(array(wide.log_prob(x)), array(d.log_prob(x)), rtol=1e-5, atol=1e-6)
    # Members of a batch differ: samples aren't one copied.
    if name not in ("bernoulli", "one hot", "categorical", "multinomial"):
        assert x[0, 0].sub(x[0, 1]).abs().sum() > 0 or name in COUNTS
    with pytest.raises(ValueError, match="support|positive definite" if name != "wishart" else "."):
        d.log_prob(x * math.nan)
    again = pickle.loads(pickle.dumps(d))
    np.testing.assert_allclose(array(again.log_prob(x)), array(d.log_prob(x)))


@pytest.mark.parametrize("name", [n for n in SHAPED if n in COUNTS or n in ("categorical", "one hot")])
def test_enumerated_support(name):
    d = SHAPED[name]()
    if not d.has_enumerate_support:
        with pytest.raises(NotImplementedError, match="does not implement enumerate_support"):
            d.enumerate_support()
        return
    values = d.enumerate_support()
    np.testing.assert_allclose(array(d.log_prob(values).exp().sum(0)), 1, rtol=1e-5)
    thin = d.enumerate_support(expand=False)
    assert thin.expand(values.shape).equal(values)


def test_same_samples_with_any_number_of_threads(threads):
    drawn = []
    for count in (1, 2):
        threads(count)
        fb.manual_seed(3)
        alpha = fb.linspace(0.05, 20, 30000)
        drawn.append([
            D.Gamma(alpha, 1.0).sample(), D.Poisson(alpha * 3).sample(), D.Binomial(90, alpha / 21).sample(),
            D.VonMises(0.0 * alpha, alpha).sample(), D.Beta(alpha, 1.0).sample(),
        ])  # fmt: skip
    for a, b in zip(*drawn, strict=True):
        assert a.equal(b)


def test_an_element_draws_the_same_whatever_stands_beside_it():
    fb.manual_seed(4)
    many = D.Gamma(fb.full((50,), 0.7), 1.0).sample()
    fb.manual_seed(4)
    few = D.Gamma(fb.full((10,), 0.7), 1.0).sample()
    assert few.equal(many[:10])


def test_extreme_parameters_stay_within_the_support():
    fb.manual_seed(1)
    small = D.Gamma(fb.full((1000,), 1e-3), 1.0).sample()
    assert (small > 0).all() and small.isfinite().all()
    corner = D.Dirichlet(fb.full((1000, 3), 1e-3)).sample()
    assert ((corner.sum(-1) - 1).abs() < 1e-5).all() and (corner > 0).all()
    assert D.Poisson(fb.zeros(5)).sample().eq(0).all()
    assert D.Binomial(5, v(0.0, 1.0)).sample((4,)).equal(v(0.0, 5.0).expand(4, 2))
    assert D.VonMises(v(0.0), v(1e-8)).sample((100,)).abs().max() <= math.pi
    assert D.Categorical(v(0.0, 1.0)).sample((100,)).eq(1).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: D.Normal(fb.tensor([0.0, 1.0]), fb.tensor([1.0, -1.0])),
            r"Expected parameter scale \(Tensor of shape \(2,\)\) of distribution Normal\(loc: .* to satisfy the "
            r"constraint GreaterThan\(lower_bound=0.0\), but found invalid values:\ntensor\(\[ 1., -1.\]\)",
        ),
        (lambda: D.Bernoulli(), "Either `probs` or `logits` must be specified, but not both"),
        (lambda: D.Bernoulli(0.5, 0.5), "Either `probs` or `logits` must be specified, but not both"),
        (lambda: D.Geometric(fb.tensor([0.0])), "to be positive but found invalid values"),
        (
            lambda: D.Exponential(1.0).log_prob(fb.tensor([-1.0])),
            r"Expected value argument \(Tensor of shape \(1,\)\) to be within the support "
            r"\(GreaterThanEq\(lower_bound=0.0\)\) of the distribution Exponential\(rate: 1.0\), but found",
        ),
        (lambda: D.Normal(0.0, 1.0).log_prob(1.0), "The value argument to log_prob must be a Tensor"),
        (lambda: D.Normal(fb.zeros(3), 1.0).log_prob(fb.zeros(2)), "Value is not broadcastable with batch_shape"),
        (lambda: D.Dirichlet(fb.ones(3)).log_prob(fb.zeros(2)), "right-most size of value must match event_shape"),
        (lambda: D.Normal("0", 1.0), "must all be instances of Number or Tensor"),
        (lambda: D.Independent(D.Normal(0.0, 1.0), 1), "Expected reinterpreted_batch_ndims <= "),
        (lambda: D.MultivariateNormal(fb.zeros(2)), "Exactly one of covariance_matrix or precision_matrix"),
        (lambda: D.Wishart(fb.tensor(0.5), fb.eye(2)), "expected to be greater than ndim - 1 = 1"),
        (lambda: D.LKJCholesky(1), "greater than or equal to 2"),
        (lambda: D.TransformedDistribution(D.Normal(0.0, 1.0), [1]), "must be a Transform or a list of Transforms"),
        (lambda: D.Distribution.set_default_validate_args(3), "takes True or False, got 3"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_validation_can_be_turned_off():
    assert D.Normal(0.0, -1.0, validate_args=False).scale.item() == -1
    D.Distribution.set_default_validate_args(False)
    try:
        assert D.Exponential(-1.0).rate.item() == -1
    finally:
        D.Distribution.set_default_validate_args(True)


def test_a_family_of_ones_own():
    class Triangular(D.Distribution):
        arg_constraints = {"width": D.constraints.positive}
        has_rsample = True

        def __init__(self, width, validate_args=None):
            self.width = width
            super().__init__(width.shape, validate_args=validate_args)

        def rsample(self, sample_shape=()):
            return self.width * fb.rand(2, *self._extended_shape(sample_shape)).sum(0)

        @property
        def variance(self):
            return self.width**2 / 6

    d = Triangular(fb.tensor([1.0, 2.0]))
    assert d.expand((3, 2)).sample().shape == (3, 2)
    assert repr(d) == "Triangular(width: flambeau.Size([2]))"
    np.testing.assert_allclose(array(d.stddev), np.array([1, 2]) / math.sqrt(6), rtol=1e-6)
    with pytest.raises(NotImplementedError, match="Triangular does not implement log_prob"):
        d.log_prob(fb.zeros(2))


def test_modules_have_pytorchs_names():
    from flambeau.distributions.beta import Beta
    from flambeau.distributions.transformed_distribution import TransformedDistribution

    from flambeau.distributions.utils import broadcast_all

    assert Beta is D.Beta and TransformedDistribution is D.TransformedDistribution
    assert [x.shape for x in broadcast_all(fb.zeros(3, 1), fb.zeros(2))] == [(3, 2), (3, 2)]


def test_one_set_of_weights_serves_a_batch_of_mixtures():
    fb.manual_seed(9)
    loc = fb.tensor([[-5.0, 0.0, 5.0], [10.0, 20.0, 30.0]], dtype=F64)
    d = D.MixtureSameFamily(D.Categorical(v(1.0, 2.0, 1.0)), D.Normal(loc, fb.ones(2, 3, dtype=F64)))
    x = d.sample((4000,))
    assert d.batch_shape == (2,) and x.shape == (4000, 2) and d.log_prob(x).shape == (4000, 2)
    np.testing.assert_allclose(array(d.mean), [0, 20])
    np.testing.assert_allclose(array(d.variance), [13.5, 51])
    np.testing.assert_allclose(array(x.mean(0)), [0, 20], atol=0.6)
    np.testing.assert_allclose(array(x.var(0)), [13.5, 51], rtol=0.08)
    # Each mixture of the batch chooses for itself.
    middle = (x - v(0.0, 20.0)).abs() < 3
    assert 0 < (middle[:, 0] != middle[:, 1]).double().mean() < 1
    np.testing.assert_allclose(array(d.cdf(v(0.0, 20.0))), [0.5, 0.5], atol=1e-6)
