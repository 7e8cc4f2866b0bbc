"""Gradients of distributions, transforms and divergences: samples move with their parameters as quantiles do."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.stats as ss
from scipy import special as sp

import flambeau as fb
from flambeau import distributions as D
from flambeau.distributions import constraints as C
from flambeau.distributions import transforms as T
from flambeau.distributions.implicit import beta_slope, gamma_slope

F64 = fb.float64


def v(*values):
    return fb.tensor(values, dtype=F64)


def array(x):
    return np.asarray(x.detach().tolist())


@pytest.mark.parametrize("alpha", [1e-3, 0.02, 0.15, 0.5, 1.0, 3.0, 40.0, 1e3, 1e6])
def test_gamma_samples_move_as_quantiles_do(alpha):
    """dx/da by central differences of the inverse distribution function in 40 digits, where the tails have any."""
    for q in (1e-4, 0.1, 0.3, 0.5, 0.7, 0.9, 1 - 1e-4):
        x = float(sp.gammaincinv(alpha, q))
        if x < 1e-250:
            continue
        with mpmath.workdps(40):
            a, at, h = mpmath.mpf(alpha), mpmath.mpf(x), mpmath.mpf(10) ** -12
            upper = x > alpha
            ends = (at, mpmath.inf) if upper else (0, at)
            up, down = (mpmath.gammainc(a * (1 + s * h), *ends, regularized=True) for s in (1, -1))
            slope = (up - down) / (2 * a * h) * (-1 if upper else 1)
            density = mpmath.exp((a - 1) * mpmath.log(at) - at - mpmath.loggamma(a))
            want = float(-slope / density)
        assert gamma_slope(v(alpha), v(x)).item() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("a", [0.05, 0.5, 1.0, 4.0, 300.0])
@pytest.mark.parametrize("b", [0.05, 0.5, 1.0, 4.0, 300.0])
def test_beta_samples_move_as_quantiles_do(a, b):
    for q in (0.01, 0.3, 0.5, 0.7, 0.99):
        x = float(sp.betaincinv(a, b, q))
        if x < 1e-200 or x > 1 - 1e-10:
            continue
        h = 1e-4 * a
        # Five points of the inverse distribution function, whose own digits are the bound.
        f = [float(sp.betaincinv(a + k * h, b, q)) for k in (-2, -1, 1, 2)]
        want = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)
        assert beta_slope(v(a), v(b), v(x)).item() == pytest.approx(want, rel=1e-5)


def test_float32_gradients_are_as_good_as_their_samples():
    rng = np.random.default_rng(0)
    alpha = 10 ** rng.uniform(-1.5, 3, 300)
    x = ss.gamma(alpha).rvs(random_state=rng).astype(np.float32)
    alpha = alpha.astype(np.float32)
    single = gamma_slope(fb.tensor(alpha.tolist()), fb.tensor(x.tolist()))
    twice = gamma_slope(v(*alpha.tolist()), v(*x.tolist()))
    assert single.dtype is fb.float32
    np.testing.assert_allclose(array(single), array(twice), rtol=1e-6)


# Families, and parameters in which samples are differentiable; the quantile function of each in SciPy's terms.
MOVING = {
    "gamma": (lambda a, r: D.Gamma(a, r), (2.5, 1.7), lambda q, a, r: ss.gamma.ppf(q, a, scale=1 / r)),
    "chi2": (lambda k: D.Chi2(k), (3.3,), lambda q, k: ss.chi2.ppf(q, k)),
    "inverse gamma": (lambda a, r: D.InverseGamma(a, r), (2.5, 1.7), lambda q, a, r: ss.invgamma.ppf(q, a, scale=r)),
    "beta": (lambda a, b: D.Beta(a, b), (2.5, 0.7), lambda q, a, b: ss.beta.ppf(q, a, b)),
    "normal": (lambda m, s: D.Normal(m, s), (0.5, 2.0), lambda q, m, s: ss.norm.ppf(q, m, s)),
    "log normal": (lambda m, s: D.LogNormal(m, s), (0.5, 0.6), lambda q, m, s: ss.lognorm.ppf(q, s, scale=math.exp(m))),
    "laplace": (lambda m, s: D.Laplace(m, s), (0.5, 2.0), lambda q, m, s: ss.laplace.ppf(q, m, s)),
    "cauchy": (lambda m, s: D.Cauchy(m, s), (0.5, 2.0), lambda q, m, s: ss.cauchy.ppf(q, m, s)),
    "gumbel": (lambda m, s: D.Gumbel(m, s), (0.5, 2.0), lambda q, m, s: ss.gumbel_r.ppf(q, m, s)),
    "exponential": (lambda r: D.Exponential(r), (1.7,), lambda q, r: ss.expon.ppf(q, scale=1 / r)),
    "uniform": (lambda a, b: D.Uniform(a, b), (0.2, 1.5), lambda q, a, b: a + (b - a) * q),
    "weibull": (lambda s, k: D.Weibull(s, k), (1.2, 2.5), lambda q, s, k: ss.weibull_min.ppf(q, k, scale=s)),
    "pareto": (lambda s, a: D.Pareto(s, a), (1.2, 2.5), lambda q, s, a: ss.pareto.ppf(q, a, scale=s)),
    "generalized pareto": (
        lambda m, s, k: D.GeneralizedPareto(m, s, k), (0.1, 1.2, 0.3),
        lambda q, m, s, k: ss.genpareto.ppf(q, k, m, s),
    ),
    "kumaraswamy": (
        lambda a, b: D.Kumaraswamy(a, b), (1.2, 2.5), lambda q, a, b: (1 - (1 - q) ** (1 / b)) ** (1 / a),
    ),
}  # fmt: skip
CDF = {
    "gamma": lambda x, a, r: ss.gamma.cdf(x, a, scale=1 / r),
    "chi2": lambda x, k: ss.chi2.cdf(x, k),
    "inverse gamma": lambda x, a, r: ss.invgamma.cdf(x, a, scale=r),
    "beta": lambda x, a, b: ss.beta.cdf(x, a, b),
}


@pytest.mark.parametrize("name", MOVING)
def test_gradients_of_samples(name):
    """The sample at a fixed value of its distribution function, by differences in each parameter."""
    make, parameters, quantile = MOVING[name]
    fb.manual_seed(11)
    given = [fb.full((20,), p, dtype=F64, requires_grad=True) for p in parameters]
    d = make(*given)
    samples = d.rsample()
    samples.sum().backward()
    xs = array(samples)
    q = CDF[name](xs, *parameters) if name in CDF else array(d.cdf(samples))
    for k, p in enumerate(parameters):
        h = 1e-4 * p
        moved = [quantile(q, *[x + (s * h if j == k else 0) for j, x in enumerate(parameters)]) for s in (1, -1)]
        np.testing.assert_allclose(array(given[k].grad), (moved[0] - moved[1]) / (2 * h), rtol=1e-4, atol=1e-6)


def test_gradients_of_expectations():
    """d E f(x) / dθ by samples against the closed form, for families whose samples take several random numbers."""
    fb.manual_seed(12)
    n = 40000
    df = fb.tensor(6.0, dtype=F64, requires_grad=True)
    D.StudentT(df.expand(n)).rsample().square().mean().backward()
    assert df.grad.item() == pytest.approx(-2 / 16, abs=0.03)  # E x² = df / (df − 2)
    a = v(0.8, 2.0, 3.0).requires_grad_()
    (D.Dirichlet(a.expand(n, 3)).rsample() * v(1.0, 2.0, 4.0)).sum(-1).mean().backward()
    total, mean = 5.8, (0.8 + 4 + 12) / 5.8
    np.testing.assert_allclose(array(a.grad), (np.array([1, 2, 4]) - mean) / total, atol=0.01)
    cov = fb.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=F64, requires_grad=True)
    D.MultivariateNormal(fb.zeros(n, 2, dtype=F64), cov).rsample().square().sum(-1).mean().backward()
    np.testing.assert_allclose(array(cov.grad), np.eye(2), atol=0.05)


def test_half_of_a_dirichlet_is_a_beta():
    """In two dimensions the implicit gradient is exactly that of the beta quantile."""
    fb.manual_seed(13)
    a = fb.tensor([[2.0, 0.7]], dtype=F64).expand(50, 2).clone().requires_grad_()
    x = D.Dirichlet(a).rsample()[:, 0]
    x.sum().backward()
    q, h = ss.beta.cdf(array(x), 2.0, 0.7), 1e-5
    for k, (da, db) in enumerate(((h, 0), (0, h))):
        want = (ss.beta.ppf(q, 2 + da, 0.7 + db) - ss.beta.ppf(q, 2 - da, 0.7 - db)) / (2 * h)
        np.testing.assert_allclose(array(a.grad)[:, k], want, rtol=1e-4, atol=1e-7)


DENSITIES = {
    "normal": (D.Normal, (0.3, 1.2), 0.7),
    "laplace": (D.Laplace, (0.3, 1.2), 0.7),
    "cauchy": (D.Cauchy, (0.3, 1.2), 0.7),
    "gumbel": (D.Gumbel, (0.3, 1.2), 0.7),
    "student": (D.StudentT, (3.0, 0.3, 1.2), 0.7),
    "gamma": (D.Gamma, (1.3, 1.2), 0.7),
    "beta": (D.Beta, (1.3, 1.2), 0.7),
    "weibull": (D.Weibull, (1.3, 1.2), 0.7),
    "pareto": (D.Pareto, (0.3, 1.2), 0.7),
    "kumaraswamy": (D.Kumaraswamy, (1.3, 1.2), 0.7),
    "fisher": (D.FisherSnedecor, (3.0, 5.0), 0.7),
    "inverse gamma": (D.InverseGamma, (1.3, 1.2), 0.7),
    "generalized pareto": (D.GeneralizedPareto, (0.1, 1.2, 0.3), 0.7),
    "von mises": (D.VonMises, (0.3, 1.2), 0.7),
    "continuous bernoulli": (D.ContinuousBernoulli, (0.3,), 0.7),
    "poisson": (D.Poisson, (1.3,), 3.0),
    "geometric": (D.Geometric, (0.3,), 3.0),
    "binomial": (lambda p: D.Binomial(5, p), (0.3,), 3.0),
    "negative binomial": (lambda n, p: D.NegativeBinomial(n, p), (2.5, 0.3), 3.0),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_gradients_of_log_prob(name):
    make, parameters, x = DENSITIES[name]
    discrete = float(x).is_integer()
    inputs = tuple(v(p).requires_grad_() for p in parameters) + (v(x).requires_grad_(not discrete),)
    assert fb.autograd.gradcheck(lambda *args: make(*args[:-1]).log_prob(args[-1]), inputs)


LINE = (lambda: D.Normal(v(0.2, 1.0), v(1.0, 0.5)), lambda: D.Laplace(v(0.0, 0.3), v(0.7, 2.0)),
        lambda: D.Gumbel(v(0.1, -0.5), v(0.8, 1.3)))  # fmt: skip
HALF = (lambda: D.Exponential(v(1.3, 0.4)), lambda: D.Gamma(v(2.5, 0.9), v(1.5, 0.7)),
        lambda: D.Pareto(v(0.7, 1.1), v(3.5, 4.5)))  # fmt: skip
UNIT = (lambda: D.Beta(v(2.5, 1.2), v(1.5, 3.0)), lambda: D.ContinuousBernoulli(v(0.3, 0.8)),
        lambda: D.Uniform(v(0.1, 0.3), v(0.6, 0.95)))  # fmt: skip
WITHOUT_FORMULA = {
    *((p, "Laplace") for p in ("Gumbel", "Exponential", "Gamma", "Pareto", "Beta", "ContinuousBernoulli", "Uniform")),
    *((p, "Gumbel") for p in ("Laplace", "Pareto", "Beta", "ContinuousBernoulli")),
    ("ContinuousBernoulli", "Gamma"), ("ContinuousBernoulli", "Beta"),
}  # fmt: skip


def ends(d, k):
    if isinstance(d, D.Uniform):
        return d.low[k].item(), d.high[k].item()
    if isinstance(d, D.Pareto):
        return d.scale[k].item(), math.inf
    if isinstance(d, D.Beta | D.ContinuousBernoulli):
        return 0.0, 1.0
    return (0.0 if isinstance(d, D.Exponential | D.Gamma) else -math.inf), math.inf


@pytest.mark.parametrize("q", range(9))
@pytest.mark.parametrize("p", range(9))
def test_divergences_are_integrals(p, q):
    families = LINE + HALF + UNIT
    p, q = families[p](), families[q]()
    if (type(p).__name__, type(q).__name__) in WITHOUT_FORMULA:
        with pytest.raises(NotImplementedError, match="KL"):
            D.kl_divergence(p, q)
        return
    got = array(D.kl_divergence(p, q))
    p, q = (type(d)(*[d.__dict__[k] for k in names(d)], validate_args=False) for d in (p, q))
    for k in range(2):
        (low, high), (least, most) = ends(p, k), ends(q, k)
        if low < least or high > most:
            assert got[k] == math.inf
            continue

        def integrand(x, k=k):
            a, b = p.log_prob(v(x, x))[k].item(), q.log_prob(v(x, x))[k].item()
            return math.exp(a) * (a - b) if a > -700 else 0.0

        bounds = max(low, -60.0), min(high, 200.0)
        want = scipy.integrate.quad(integrand, *bounds, limit=120, points=[1.0], epsabs=1e-7)[0]
        assert got[k] == pytest.approx(want, rel=2e-4, abs=2e-6)


def names(d):
    return {"Gumbel": ("loc", "scale"), "Pareto": ("scale", "alpha"), "ContinuousBernoulli": ("probs",)}.get(
        type(d).__name__, tuple(k for k in d.arg_constraints if k in d.__dict__)
    )


VECTORS = {
    "normal": lambda: D.MultivariateNormal(v(0.2, 1.0), fb.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=F64)),
    "other normal": lambda: D.MultivariateNormal(v(0.0, 0.5), fb.tensor([[1.0, -0.2], [-0.2, 0.7]], dtype=F64)),
    "low rank": lambda: D.LowRankMultivariateNormal(v(0.1, 0.4), fb.tensor([[1.0], [0.6]], dtype=F64), v(0.7, 1.1)),
    "other low rank": lambda: D.LowRankMultivariateNormal(
        v(0.3, 0.1), fb.tensor([[0.2], [0.9]], dtype=F64), v(1.0, 0.8)
    ),
    "dirichlet": lambda: D.Dirichlet(v(1.5, 2.0, 3.0)),
    "other dirichlet": lambda: D.Dirichlet(v(2.5, 1.0, 2.0)),
    "wishart": lambda: D.Wishart(v(3.5), fb.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=F64)),
    "other wishart": lambda: D.Wishart(v(4.5), fb.tensor([[1.0, 0.1], [0.1, 0.7]], dtype=F64)),
    "categorical": lambda: D.Categorical(v(0.2, 0.3, 0.5)),
    "other categorical": lambda: D.Categorical(logits=v(0.2, 0.3, 0.5)),
    "bernoulli": lambda: D.Bernoulli(v(0.3)),
    "other bernoulli": lambda: D.Bernoulli(v(0.6)),
    "poisson": lambda: D.Poisson(v(3.0)),
    "other poisson": lambda: D.Poisson(v(2.0)),
    "geometric": lambda: D.Geometric(v(0.3)),
    "other geometric": lambda: D.Geometric(v(0.5)),
    "binomial": lambda: D.Binomial(5, v(0.3)),
    "other binomial": lambda: D.Binomial(5, v(0.6)),
    "multinomial": lambda: D.Multinomial(5, v(0.3, 0.7)),
    "other multinomial": lambda: D.Multinomial(5, v(0.6, 0.4)),
    "half normal": lambda: D.HalfNormal(v(1.3)),
    "other half normal": lambda: D.HalfNormal(v(0.9)),
    "cauchy": lambda: D.Cauchy(v(0.3), v(1.0)),
    "other cauchy": lambda: D.Cauchy(v(-0.3), v(1.4)),
    "independent": lambda: D.Independent(D.Normal(v(0.3, 1.0), v(1.0, 2.0)), 1),
    "other independent": lambda: D.Independent(D.Normal(v(0.0, 1.5), v(1.2, 1.0)), 1),
    "log normal": lambda: D.LogNormal(v(0.3), v(0.5)),
    "other log normal": lambda: D.LogNormal(v(0.0), v(0.7)),
}
PAIRS = [(a, b) for a in VECTORS for b in VECTORS if {a.removeprefix("other "), b.removeprefix("other ")} in
         ({a.removeprefix("other ")}, {"normal", "low rank"})]  # fmt: skip


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_divergences_are_means_of_log_ratios(p, q):
    fb.manual_seed(21)
    p, q = VECTORS[p](), VECTORS[q]()
    x = p.sample((20000,))
    ratios = p.log_prob(x) - q.log_prob(x)
    spread = (ratios.std() / math.sqrt(20000)).item()
    assert D.kl_divergence(p, q).item() == pytest.approx(ratios.mean().item(), abs=5 * spread + 1e-9)


def test_a_registered_divergence_is_found_for_subclasses():
    class Mine(D.Normal):
        pass

    p = Mine(v(0.0), v(1.0))
    assert D.kl_divergence(p, D.Normal(v(1.0), v(1.0))).item() == 0.5

    @D.register_kl(Mine, Mine)
    def _(p, q):
        return fb.tensor(42.0)

    assert D.kl_divergence(p, p).item() == 42 and D.kl_divergence(p, D.Normal(v(0.0), v(1.0))).item() == 0
    with pytest.raises(NotImplementedError, match="p type Mine and q type Categorical"):
        D.kl_divergence(p, D.Categorical(v(0.5, 0.5)))
    with pytest.raises(TypeError, match="Expected type_p and type_q to be Distribution subclasses"):
        D.register_kl(int, D.Normal)


TRANSFORMS = {
    "exp": (T.ExpTransform(), (-1.0, 0.5, 2.0)),
    "power": (T.PowerTransform(v(2.0, 0.5, -1.0)), (0.5, 1.5, 2.0)),
    "sigmoid": (T.SigmoidTransform(), (-1.0, 0.5, 2.0)),
    "softplus": (T.SoftplusTransform(), (-1.0, 0.5, 30.0)),
    "tanh": (T.TanhTransform(), (-1.0, 0.5, 2.0)),
    "affine": (T.AffineTransform(v(1.0, 0.0, 2.0), v(2.0, -1.0, 0.5)), (-1.0, 0.5, 2.0)),
    "cdf": (T.CumulativeDistributionTransform(D.Normal(v(0.0), v(1.0))), (-1.0, 0.5, 2.0)),
    "composed": (
        T.ComposeTransform([T.AffineTransform(1.0, -2.0), T.TanhTransform(), T.ExpTransform()]), (-0.1, 0.5, 1.0),
    ),
    "stick": (T.StickBreakingTransform(), (-1.0, 0.5, 2.0)),
    "correlation": (T.CorrCholeskyTransform(), (-1.0, 0.5, 0.8)),
    "independent": (T.IndependentTransform(T.ExpTransform(), 1), (-1.0, 0.5, 2.0)),
    "reshape": (T.ReshapeTransform((3,), (3, 1)), (-1.0, 0.5, 2.0)),
    "cat": (T.CatTransform([T.ExpTransform(), T.identity_transform], dim=-1, lengths=[2, 1]), (-1.0, 0.5, 2.0)),
    "stack": (T.StackTransform([T.ExpTransform(), T.TanhTransform(), T.ExpTransform()], dim=-1), (-1.0, 0.5, 2.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_invert_and_know_their_jacobian(name):
    transform, values = TRANSFORMS[name]
    x = v(*values)
    y = transform(x)
    assert transform.bijective and transform.inv.inv is transform
    assert transform.domain.check(x).all() and transform.codomain.check(y).all()
    np.testing.assert_allclose(array(transform.inv(y)), values, rtol=1e-9, atol=1e-12)
    assert transform.forward_shape(x.shape) == y.shape and transform.inverse_shape(y.shape) == x.shape
    if name in ("stick", "correlation"):  # the numbers that are free: without the last, or below the diagonal
        free = (lambda z: transform(z)[:-1]) if name == "stick" else (lambda z: transform(z)[[1, 2, 2], [0, 0, 1]])
    else:
        free = lambda z: transform(z).reshape(-1)
    jacobian = fb.autograd.functional.jacobian(free, x)
    want = math.log(abs(np.linalg.det(array(jacobian))))
    got = transform.log_abs_det_jacobian(x, y)
    assert got.sum().item() == pytest.approx(want, rel=1e-8, abs=1e-10)
    np.testing.assert_allclose(array(transform.inv.log_abs_det_jacobian(y, x)), -array(got))


def test_the_cache_returns_the_very_tensor():
    t = T.TanhTransform(cache_size=1)
    x = v(0.3)
    assert t.inv(t(x)) is x and t(x) is t(x)
    assert T.TanhTransform().with_cache()._cache_size == 1
    composed = T.ComposeTransform([T.ExpTransform(), T.AffineTransform(0.0, 2.0)], cache_size=1)
    assert composed.inv(composed(x)) is x
    with pytest.raises(ValueError, match="cache_size must be 0 or 1"):
        T.ExpTransform(cache_size=2)


def test_equality_and_signs_of_transforms():
    assert T.ExpTransform() == T.ExpTransform(cache_size=1) and T.ExpTransform() != T.TanhTransform()
    assert T.AffineTransform(0, v(1.0)) == T.AffineTransform(0, v(1.0)) != T.AffineTransform(0, v(2.0))
    assert T.ExpTransform().inv == T.ExpTransform().inv
    assert T.ComposeTransform([T.ExpTransform()]) == T.ComposeTransform([T.ExpTransform()])
    assert T.AffineTransform(0, -2.0).sign == -1
    d = D.TransformedDistribution(D.Uniform(v(0.0), v(1.0)), [T.AffineTransform(1.0, -1.0)])
    assert d.cdf(v(0.25)).item() == 0.25 and d.icdf(v(0.25)).item() == 0.25


@pytest.mark.parametrize("registry", [D.biject_to, D.transform_to])
@pytest.mark.parametrize(
    "constraint",
    [C.real, C.positive, C.nonnegative, C.greater_than(2.0), C.less_than(-1.0), C.unit_interval, C.interval(-1.0, 3.0),
     C.half_open_interval(0.0, 2.0), C.simplex, C.corr_cholesky, C.real_vector, C.independent(C.positive, 1),
     C.cat([C.positive, C.unit_interval], -1, [4, 2]), C.stack([C.positive] * 3 + [C.real] * 3, -1),
     C.lower_cholesky, C.positive_definite],
    ids=repr,
)  # fmt: skip
def test_registered_transforms_reach_their_constraint(registry, constraint):
    fb.manual_seed(1)
    x = fb.randn(4, 6, dtype=F64)
    if constraint in (C.lower_cholesky, C.positive_definite):
        x = fb.randn(4, 3, 3, dtype=F64)
        if registry is D.biject_to:
            with pytest.raises(NotImplementedError, match=r"Cannot transform .* constraints"):
                registry(constraint)
            return
    transform = registry(constraint)
    y = transform(x)
    assert constraint.check(y).all() and y.isfinite().all()
    np.testing.assert_allclose(array(transform(transform.inv(y))), array(y), rtol=1e-8, atol=1e-10)
    if registry is D.biject_to:
        np.testing.assert_allclose(array(transform.inv(y)), array(x), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    ("constraint", "inside", "outside"),
    [
        (C.boolean, [0.0, 1.0], [0.5]),
        (C.nonnegative_integer, [0.0, 7.0], [-1.0, 0.5]),
        (C.positive_integer, [1.0], [0.0, 1.5]),
        (C.integer_interval(1, 3), [1.0, 3.0], [0.0, 4.0, 1.5]),
        (C.real, [0.0, math.inf], [math.nan]),
        (C.unit_interval, [0.0, 1.0], [-0.1, 1.1]),
        (C.half_open_interval(0.0, 1.0), [0.0], [1.0]),
        (C.simplex, [[0.2, 0.8]], [[0.5, 0.6], [-0.1, 1.1]]),
        (C.one_hot, [[0.0, 1.0]], [[1.0, 1.0], [0.5, 0.5]]),
        (C.multinomial(3), [[1.0, 2.0]], [[2.0, 2.0], [-1.0, 1.0]]),
        (C.lower_triangular, [[[1.0, 0.0], [1.0, -1.0]]], [[[1.0, 2.0], [0.0, 1.0]]]),
        (C.lower_cholesky, [[[1.0, 0.0], [1.0, 1.0]]], [[[1.0, 0.0], [1.0, -1.0]]]),
        (C.symmetric, [[[1.0, 2.0], [2.0, 1.0]]], [[[1.0, 2.0], [3.0, 1.0]]]),
        (C.positive_definite, [[[2.0, 1.0], [1.0, 2.0]]], [[[1.0, 2.0], [2.0, 1.0]]]),
        (C.positive_semidefinite, [[[1.0, 0.0], [0.0, 0.0]]], [[[1.0, 2.0], [2.0, 1.0]]]),
        (C.square, [[[1.0]]], []),
    ],
    ids=lambda x: repr(x)[:40],
)
def test_constraints_check(constraint, inside, outside):
    for values, want in ((inside, True), (outside, False)):
        for value in values:
            assert bool(constraint.check(fb.tensor(value, dtype=F64)).all()) is want
    assert repr(C.interval(0, 2)) == "Interval(lower_bound=0, upper_bound=2)"
    assert repr(C.real_vector) == "IndependentConstraint(Real(), 1)"


def test_samples_and_densities_under_vmap():
    """Densities of a batch of parameters are the batch of densities; randomness is as vmap was told."""
    alpha = v(0.5, 2.0, 2.0)

    def draw(a):
        return D.Gamma(a, 1.0, validate_args=False).rsample()

    def count(a):
        return D.Poisson(20 * a, validate_args=False).sample()

    density = fb.func.vmap(lambda a: D.Gamma(a, 1.0, validate_args=False).log_prob(v(0.7)))(alpha)
    np.testing.assert_allclose(array(density)[:, 0], ss.gamma([0.5, 2, 2]).logpdf(0.7))
    for f in (draw, count):
        different = fb.func.vmap(f, randomness="different")(alpha)
        same = fb.func.vmap(f, randomness="same")(alpha)
        assert different[1] != different[2] and same[1] == same[2]
        with pytest.raises(RuntimeError, match="randomness error mode"):
            fb.func.vmap(f)(alpha)


def test_second_derivatives_of_samples_are_refused():
    alpha = v(2.0).requires_grad_()
    (slope,) = fb.autograd.grad(D.Gamma(alpha, 1.0).rsample().sum(), alpha, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivatives of gamma"):
        slope.sum().backward()


def test_divergences_are_infinite_beyond_the_support_on_either_side():
    beta, wide = D.Beta(v(2.0), v(3.0)), D.Uniform(v(-5.0), v(5.0))
    for low, high in ((-0.5, 0.5), (0.5, 1.5)):
        p = D.Uniform(v(low), v(high))
        for q in (beta, D.ContinuousBernoulli(v(0.3)), D.Uniform(v(0.0), v(1.0))):
            assert D.kl_divergence(p, q).item() == math.inf
        assert D.kl_divergence(p, wide).item() == pytest.approx(math.log(10))
    assert D.kl_divergence(D.Uniform(v(-0.5), v(0.5)), D.Exponential(v(1.0))).item() == math.inf
    assert D.kl_divergence(D.Uniform(v(0.5), v(7.0)), D.Exponential(v(1.0))).isfinite()


def test_zeros_go_to_the_middle():
    np.testing.assert_allclose(array(T.StickBreakingTransform()(fb.zeros(3, dtype=F64))), 0.25)
    np.testing.assert_allclose(array(T.CorrCholeskyTransform()(fb.zeros(3, dtype=F64))), np.eye(3))
    np.testing.assert_allclose(array(T.SoftmaxTransform()(fb.zeros(4, dtype=F64))), 0.25)
