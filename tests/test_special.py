"""Special functions against SciPy in float64, their gradients, and what stands at the edges of their domains."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import tensor as T

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck

library = pytest.importorskip("scipy.special")


REALS = np.concatenate([np.linspace(-6, 6, 41), [0.0, 20.0, np.nan]])
POSITIVE = np.concatenate([np.linspace(0.05, 8, 40), [30.0, np.nan]])

ONE = {
    "airy_ai": (lambda x: library.airy(x)[0], REALS),
    "bessel_j0": (library.j0, REALS),
    "bessel_j1": (library.j1, REALS),
    "bessel_y0": (library.y0, REALS),
    "bessel_y1": (library.y1, REALS),
    "modified_bessel_i0": (library.i0, REALS),
    "modified_bessel_i1": (library.i1, REALS),
    "modified_bessel_k0": (library.k0, POSITIVE),
    "modified_bessel_k1": (library.k1, POSITIVE),
    "scaled_modified_bessel_k0": (library.k0e, POSITIVE),
    "scaled_modified_bessel_k1": (library.k1e, POSITIVE),
    "spherical_bessel_j0": (lambda x: library.spherical_jn(0, x), REALS),
    "digamma": (library.digamma, POSITIVE),
    "psi": (library.psi, POSITIVE),
    "entr": (library.entr, REALS),
    "erf": (library.erf, REALS),
    "erfc": (library.erfc, REALS),
    "erfcx": (library.erfcx, REALS),
    "erfinv": (library.erfinv, np.linspace(-0.99, 0.99, 31)),
    "exp2": (np.exp2, REALS),
    "expit": (library.expit, REALS),
    "expm1": (np.expm1, REALS),
    "gammaln": (library.gammaln, POSITIVE),
    "i0": (library.i0, REALS),
    "i0e": (library.i0e, REALS),
    "i1": (library.i1, REALS),
    "i1e": (library.i1e, REALS),
    "log1p": (np.log1p, POSITIVE),
    "log_ndtr": (library.log_ndtr, REALS),
    "logit": (library.logit, np.linspace(0.01, 0.99, 31)),
    "ndtr": (library.ndtr, REALS),
    "ndtri": (library.ndtri, np.linspace(0.01, 0.99, 31)),
    "round": (np.round, REALS),
    "sinc": (np.sinc, REALS),
}


@pytest.mark.parametrize("name", ONE)
def test_functions_of_one_number(name):
    oracle, x = ONE[name]
    f = getattr(fb.special, name)
    np.testing.assert_allclose(f(T(x)).numpy(), oracle(x), rtol=1e-11, atol=1e-13)
    single = f(T(x.astype(np.float32)))
    assert single.dtype is fb.float32
    np.testing.assert_allclose(single.numpy(), oracle(x.astype(np.float32).astype(np.float64)), rtol=1e-5, atol=1e-6)
    out = fb.empty(x.shape, dtype=fb.float64)
    assert f(T(x), out=out) is out and fb.equal(out.nan_to_num(), f(T(x)).nan_to_num())


@pytest.mark.parametrize("name", [n for n in ONE if n not in ("round", "i0", "i1", "i0e", "i1e")])
def test_integers_become_the_default_dtype(name):
    assert getattr(fb.special, name)(fb.tensor([1, 2])).dtype is fb.float32


TWO = {
    "gammainc": library.gammainc,
    "gammaincc": library.gammaincc,
    "xlogy": library.xlogy,
    "xlog1py": library.xlog1py,
}


@pytest.mark.parametrize("name", TWO)
def test_functions_of_two_numbers(name):
    a, x = np.linspace(0.1, 5, 6)[:, None], np.linspace(0.0, 9, 7)
    np.testing.assert_allclose(getattr(fb.special, name)(T(a), T(x)).numpy(), TWO[name](a, x), rtol=1e-10, atol=1e-14)


def test_zeta_polygamma_multigammaln():
    np.testing.assert_allclose(
        fb.special.zeta(T(POSITIVE[:40] + 1.5), fb.tensor(2.0)).numpy(),
        library.zeta(POSITIVE[:40] + 1.5, 2.0),
        rtol=1e-9,
    )
    for n in range(4):
        np.testing.assert_allclose(
            fb.special.polygamma(n, T(POSITIVE[:40])).numpy(), library.polygamma(n, POSITIVE[:40]), rtol=1e-9
        )
    x = np.linspace(1.6, 5, 9)
    np.testing.assert_allclose(
        fb.special.multigammaln(T(x), 3).numpy(), [library.multigammaln(v, 3) for v in x], rtol=1e-10
    )


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_softmax_family(name):
    x = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(
        getattr(fb.special, name)(T(x), 1).numpy(), getattr(library, name)(x, axis=1), rtol=1e-12
    )


def shifted(f):
    return lambda n, x: f(n, 2 * x - 1)


def third(n, x):
    """V_n = U_n − U_{n−1}."""
    return library.eval_chebyu(n, x) - (library.eval_chebyu(n - 1, x) if n else 0)


def fourth(n, x):
    """W_n = U_n + U_{n−1}."""
    return library.eval_chebyu(n, x) + (library.eval_chebyu(n - 1, x) if n else 0)


POLYNOMIALS = {
    "chebyshev_polynomial_t": library.eval_chebyt,
    "chebyshev_polynomial_u": library.eval_chebyu,
    "chebyshev_polynomial_v": third,
    "chebyshev_polynomial_w": fourth,
    "shifted_chebyshev_polynomial_t": shifted(library.eval_chebyt),
    "shifted_chebyshev_polynomial_u": shifted(library.eval_chebyu),
    "shifted_chebyshev_polynomial_v": shifted(third),
    "shifted_chebyshev_polynomial_w": shifted(fourth),
    "hermite_polynomial_h": library.eval_hermite,
    "hermite_polynomial_he": library.eval_hermitenorm,
    "laguerre_polynomial_l": library.eval_laguerre,
    "legendre_polynomial_p": library.eval_legendre,
}


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials(name):
    x = np.linspace(-1, 1, 11)
    f = getattr(fb.special, name)
    for n in (0, 1, 2, 5, 9):
        np.testing.assert_allclose(f(T(x), n).numpy(), POLYNOMIALS[name](n, x), rtol=1e-10, atol=1e-10)
    degrees = fb.tensor([[-1], [0], [3]])
    table = f(T(x), degrees).numpy()
    assert table.shape == (3, 11) and not table[0].any()
    np.testing.assert_allclose(table[2], POLYNOMIALS[name](3, x), rtol=1e-10, atol=1e-10)
    t = T(x[1:4]).requires_grad_()
    assert gradcheck(lambda t: f(t, fb.tensor([0, 2, 4])), (t,))
    assert gradgradcheck(lambda t: f(t, fb.tensor([0, 2, 4])), (t,))


@pytest.mark.parametrize("name", [n for n in ONE if n != "round"])
def test_gradients(name):
    x = T(np.array([0.3, 0.55, 0.8])).requires_grad_()
    assert gradcheck(getattr(fb.special, name), (x,))


@pytest.mark.parametrize("name", [n for n in ONE if "bessel" in n or n == "airy_ai"])
def test_second_derivatives(name):
    x = T(np.array([0.3, 1.2, 2.5])).requires_grad_()
    assert gradgradcheck(getattr(fb.special, name), (x,))


@pytest.mark.parametrize("name", ["gammainc", "gammaincc"])
def test_incomplete_gamma_gradients(name):
    f = getattr(fb.special, name)
    a, x = fb.tensor([[0.5], [2.0]], dtype=fb.float64), T(np.array([0.3, 1.2, 2.5])).requires_grad_()
    assert gradcheck(lambda x: f(a, x), (x,))
    assert gradgradcheck(lambda x: f(a, x), (x,))
    with pytest.raises(NotImplementedError, match="first argument"):
        f(a.requires_grad_(), x).sum().backward()


def test_every_name_is_there():
    for name in fb.special.__all__:
        assert callable(getattr(fb.special, name))
    assert fb.equal(fb.igamma(fb.ones(1), fb.ones(1)), fb.special.gammainc(fb.ones(1), fb.ones(1)))
    with pytest.raises(RuntimeError, match="real"):
        fb.special.bessel_j0(fb.ones(1, dtype=fb.complex64))
