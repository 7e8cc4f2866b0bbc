"""einsum against NumPy, and the compositions beside it: kron, distances, integrals, covariance, gcd, frexp, nansum."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
from oracle import tensor as T

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def R(*shape, seed=0):
    return T(draw(*shape, seed=seed)).requires_grad_()


SIZES = {"a": 2, "b": 3, "c": 4, "d": 5, "e": 2, "i": 3, "j": 3, ".": 4}
EQUATIONS = [
    "ab,bc->ac", "ab,bc", "ba", "abc,acd->abd", "ii", "ii->i", "ij->ji", "ab,ab->", "ab,ab->ab", "a,b->ab", "a,a",
    "abc,cd,de->abe", "ab,bc,cd,de->ae", "...ab,...bc->...ac", "a...,a...->...", "...a->a...", "iij,j->i", "aab->b",
    "abcd,bd->ca", "ab,cb,db->acd", "abc->", "ab,b,c->ac", "ab,cd->abcd", "ab , bc -> ca", "abc,b->ac", "...,a->a...",
]  # fmt: skip


def operands_of(equation):
    terms = equation.replace(" ", "").split("->")[0].split(",")
    return [draw(*(SIZES[c] for c in term.replace("...", ".")), seed=i) for i, term in enumerate(terms)]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_against_numpy(equation):
    xs = operands_of(equation)
    y = fb.einsum(equation, *map(T, xs))
    expected = np.einsum(equation.replace(" ", ""), *xs)
    assert tuple(y.shape) == np.shape(expected)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-10, atol=1e-12)


def test_sizes_of_one_broadcast():
    x, y = draw(2, 1, 3), draw(1, 4, 3)
    np.testing.assert_allclose(fb.einsum("abc,abc->ab", T(x), T(y)).numpy(), (x * y).sum(-1), atol=1e-12)
    np.testing.assert_allclose(fb.einsum("abc,abc->c", T(x), T(y)).numpy(), (x * y).sum((0, 1)), atol=1e-12)
    np.testing.assert_allclose(
        fb.einsum("abc,abc,abc->b", T(x), T(y), T(x)).numpy(), (x * y * x).sum((0, 2)), atol=1e-12
    )


def test_numbers_instead_of_letters():
    x, y = draw(2, 3), draw(3, 4)
    np.testing.assert_allclose(fb.einsum(T(x), [0, 1], T(y), [1, 2], [2, 0]).numpy(), (x @ y).T, atol=1e-12)
    np.testing.assert_allclose(fb.einsum(T(x), [0, 9], T(y), [9, 2]).numpy(), x @ y, atol=1e-12)
    np.testing.assert_allclose(fb.einsum(T(x), [..., 1]).numpy(), x, atol=1e-12)


def test_integers_and_complex_numbers():
    i = np.arange(6).reshape(2, 3)
    assert fb.einsum("ab,cb->ac", T(i), T(i)).tolist() == (i @ i.T).tolist()
    z = draw(2, 3) + 1j * draw(2, 3, seed=1)
    np.testing.assert_allclose(fb.einsum("ab,cb->ac", T(z), T(z)).numpy(), z @ z.T, atol=1e-12)


def test_empty_sums_are_zero():
    assert fb.einsum("ab,bc->ac", fb.zeros(2, 0), fb.zeros(0, 3)).tolist() == [[0.0] * 3] * 2


def test_the_path_avoids_large_intermediates():
    """(a @ b) @ v from the left would make an n by n matrix; from the right only vectors arise."""
    module = importlib.import_module("flambeau.ops.einsum")
    operands, shapes = ((0, 1), (1, 2), (2,)), ((500, 2), (2, 500), (500,))
    assert module.greedy(operands, shapes, (0,))[0] == (1, 2)


@pytest.mark.parametrize("equation", ["bij,bjk,kl->bil", "aab,b...->a...", "ab,ab->a", "ij,j->", "...i,kij,...j->...k"])
def test_gradients(equation):
    terms = equation.split("->")[0].split(",")
    size = {c: 2 + i % 2 for i, c in enumerate("abijkl.")}
    xs = tuple(R(*(size[c] for c in term.replace("...", ".")), seed=i) for i, term in enumerate(terms))
    assert gradcheck(lambda *x: fb.einsum(equation, *x), xs)
    assert gradgradcheck(lambda *x: fb.einsum(equation, *x), xs)


ERRORS = [
    (lambda x: fb.einsum("ab->c", x), "'c' of the output"),
    (lambda x: fb.einsum("ab->aa", x), "'a'.*more than once"),
    (lambda x: fb.einsum("ab,bc", x), "2 operands, got 1"),
    (lambda x: fb.einsum("abc", x), "2 dimensions.*name 3"),
    (lambda x: fb.einsum("a", x), r"'\.\.\.' stands for"),
    (lambda x: fb.einsum("a-", x), "'-'"),
    (lambda x: fb.einsum("a.b", x), "ellipsis"),
    (lambda x: fb.einsum("ab,bc", x, x), "'b' has size 2 in operand 1.*3"),
    (lambda x: fb.einsum("aa", x), "'a' is repeated over sizes 2 and 3|'a' has size"),
]  # fmt: skip


@pytest.mark.parametrize("call, message", ERRORS)
def test_errors(call, message):
    with pytest.raises(RuntimeError, match="einsum.*" + message):
        call(fb.ones(2, 3))


def test_kron_and_chain():
    a, b = draw(2, 3), draw(4, 2, 3)
    np.testing.assert_allclose(fb.kron(T(a), T(b)).numpy(), np.kron(a, b), atol=1e-12)
    np.testing.assert_allclose(fb.chain_matmul(T(a), T(a.T), T(a)).numpy(), a @ a.T @ a, atol=1e-12)


def minkowski(x, y, p):
    d = np.abs(x[..., :, None, :] - y[..., None, :, :])
    if p == 0:
        return (d != 0).sum(-1).astype(float)
    return d.max(-1) if math.isinf(p) else (d**p).sum(-1) ** (1 / p)


@pytest.mark.parametrize("p", [0, 0.5, 1, 2, 3, math.inf])
class TestDistances:
    def test_values(self, p):
        for x, y in ((draw(4, 3), draw(5, 3)), (draw(2, 4, 3), draw(5, 3)), (draw(30, 3), draw(30, 3, seed=1))):
            np.testing.assert_allclose(fb.cdist(T(x), T(y), p).numpy(), minkowski(x, y, p), rtol=1e-6, atol=1e-7)
        x = draw(5, 3)
        i, j = np.triu_indices(5, 1)
        np.testing.assert_allclose(fb.pdist(T(x), p).numpy(), minkowski(x, x, p)[i, j], rtol=1e-10)
        np.testing.assert_allclose(fb.dist(T(x), T(x + 1), p).item(), np.linalg.norm(np.ones(15), p), rtol=1e-10)

    def test_gradients(self, p):
        if p == 0:
            x = R(2, 3)
            fb.cdist(x, R(2, 3, seed=1), p).sum()
            return
        assert gradcheck(lambda x, y: fb.cdist(x, y, p), (R(2, 3, 2), R(4, 2)))
        assert gradgradcheck(lambda x, y: fb.cdist(x, y, p), (R(3, 2), R(2, 2)))

    def test_the_gradient_is_zero_at_distance_zero(self, p):
        x = fb.ones(2, 3, requires_grad=True)
        y = fb.cdist(x, fb.ones(1, 3), p)
        if y.requires_grad:
            y.sum().backward()
            assert not x.grad.any()


def test_distances_by_matrix_product():
    x, y = R(3, 4), R(2, 4)
    mode = "use_mm_for_euclid_dist"
    np.testing.assert_allclose(
        fb.cdist(x, y, 2, mode).detach().numpy(), minkowski(x.detach().numpy(), y.detach().numpy(), 2), rtol=1e-10
    )
    assert gradcheck(lambda x, y: fb.cdist(x, y, 2, mode), (x, y))
    with pytest.raises(RuntimeError, match=r"cdist.*\(2, 3\).*\(2, 4\)"):
        fb.cdist(fb.ones(2, 3), fb.ones(2, 4))


def test_renorm():
    x = draw(3, 4)
    y = fb.renorm(T(x), 2, 0, 1.0).numpy()
    size = np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(y, x * np.where(size > 1, 1 / (size + 1e-7), 1), rtol=1e-12)
    z = T(x)
    assert z.renorm_(2, 0, 1.0) is z and fb.equal(z, T(y))


def test_trapezoids():
    y, x = draw(3, 5), np.array([0.0, 1.0, 1.5, 3.0, 4.0])
    np.testing.assert_allclose(fb.trapezoid(T(y), T(x)).numpy(), np.trapezoid(y, x), atol=1e-12)
    np.testing.assert_allclose(fb.trapz(T(y), dx=0.5, dim=0).numpy(), np.trapezoid(y, dx=0.5, axis=0), atol=1e-12)
    running = fb.cumulative_trapezoid(T(y), T(x)).numpy()
    np.testing.assert_allclose(running[:, -1], np.trapezoid(y, x), atol=1e-12)
    np.testing.assert_allclose(running[:, 1], np.trapezoid(y[:, :3], x[:3]), atol=1e-12)
    assert gradcheck(fb.trapezoid, (R(2, 4), R(4)))
    with pytest.raises(RuntimeError, match="4 points for 5"):
        fb.trapezoid(T(y), T(x[:4]))


@pytest.mark.parametrize("edge_order", [1, 2])
def test_numerical_gradient(edge_order):
    x, at = draw(4, 5), [np.array([0.0, 1.0, 3.0, 4.0]), np.array([0.0, 1.0, 1.5, 2.0, 5.0])]
    cases = [
        (fb.gradient(T(x), edge_order=edge_order), np.gradient(x, edge_order=edge_order)),
        (fb.gradient(T(x), spacing=(2.0, 3.0), edge_order=edge_order), np.gradient(x, 2.0, 3.0, edge_order=edge_order)),
        (
            fb.gradient(T(x), spacing=[T(a) for a in at], edge_order=edge_order),
            np.gradient(x, *at, edge_order=edge_order),
        ),
        (fb.gradient(T(x), dim=1, edge_order=edge_order), [np.gradient(x, axis=1, edge_order=edge_order)]),
    ]
    for got, expected in cases:
        assert len(got) == len(expected)
        for g, e in zip(got, expected, strict=True):
            np.testing.assert_allclose(g.numpy(), e, atol=1e-12)
    with pytest.raises(RuntimeError, match="needs at least"):
        fb.gradient(fb.ones(1), edge_order=edge_order)


def test_covariance():
    x, f, a = draw(3, 5), np.array([1, 2, 3, 1, 1]), np.array([0.1, 0.2, 0.3, 0.1, 0.1])
    for options in ({}, {"correction": 0}, {"fweights": f}, {"aweights": a}, {"fweights": f, "aweights": a}):
        tensors = {k: T(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        oracle = {"ddof" if k == "correction" else k: v for k, v in options.items()}
        np.testing.assert_allclose(fb.cov(T(x), **tensors).numpy(), np.cov(x, **oracle), atol=1e-12)
    np.testing.assert_allclose(fb.corrcoef(T(x)).numpy(), np.corrcoef(x), atol=1e-12)
    assert fb.cov(T(x[0])).shape == () and fb.corrcoef(T(x[0])).item() == 1
    z = x + 1j * draw(3, 5, seed=1)
    np.testing.assert_allclose(fb.cov(T(z)).numpy(), np.cov(z), atol=1e-12)
    assert gradcheck(fb.corrcoef, (R(2, 4),))
    with pytest.raises(RuntimeError, match="fweights"):
        fb.cov(T(x), fweights=T(a))


def test_histogram_over_several_dimensions():
    x, w = draw(50, 2), np.abs(draw(50))
    for bins, limits in (([3, 4], None), (5, [-1.0, 1.0, -2.0, 2.0])):
        pairs = None if limits is None else [limits[:2], limits[2:]]
        for density in (False, True):
            expected, edges = np.histogramdd(x, bins, pairs, weights=w, density=density)
            found = fb.histogramdd(T(x), bins, range=limits, weight=T(w), density=density)
            np.testing.assert_allclose(found.hist.numpy(), expected, atol=1e-12)
            for g, e in zip(found.bin_edges, edges, strict=True):
                np.testing.assert_allclose(g.numpy(), e, atol=1e-12)


def test_whole_numbers():
    a, b = np.array([12, -4, 0, 7, 0]), np.array([[8], [0]])
    assert fb.gcd(T(a), T(b)).tolist() == np.gcd(a, b).tolist()
    assert fb.lcm(T(a), T(b)).tolist() == np.lcm(a, b).tolist()
    assert fb.gcd(fb.tensor(12), fb.tensor([8], dtype=fb.int32)).dtype is fb.int32
    x = T(a)
    assert x.gcd_(fb.tensor(6)) is x and x.tolist() == [6, 2, 6, 1, 6]
    with pytest.raises(RuntimeError, match=r"gcd.*integers"):
        fb.gcd(fb.ones(1), fb.ones(1))


def test_frexp():
    x = np.array([8.0, -0.3, 0.0, 1e300])
    mantissa, exponent = fb.frexp(T(x))
    assert mantissa.tolist() == np.frexp(x)[0].tolist() and exponent.tolist() == np.frexp(x)[1].tolist()
    assert exponent.dtype is fb.int32
    assert gradcheck(lambda t: fb.frexp(t).mantissa, (T(x[:2] + 0.5).requires_grad_(),))


def test_sums_without_nan():
    x = draw(3, 4)
    x[0, 1] = x[2] = np.nan
    for dim in (None, 0, (0, 1)):
        np.testing.assert_allclose(fb.nansum(T(x), dim).numpy(), np.nansum(x, dim), atol=1e-12)
        np.testing.assert_allclose(fb.nanmean(T(x), dim).numpy(), np.nanmean(x, dim), atol=1e-12)
    assert math.isnan(fb.nanmean(T(x), 1)[2].item()) and fb.nansum(T(x), 1)[2].item() == 0
    t = T(x[0]).requires_grad_()
    fb.nanmean(t).backward()
    np.testing.assert_allclose(t.grad.numpy(), [1 / 3, 0, 1 / 3, 1 / 3])


def test_conjugation_is_carried_out():
    z = fb.tensor([1 + 2j])
    assert fb.conj(z).tolist() == [1 - 2j] == z.conj().resolve_conj().tolist()
    assert not z.conj().is_conj()
    x = fb.ones(1)
    assert x.conj() is x


COPIES = {
    "alias_copy": ((), lambda x: x),
    "as_strided_copy": (((2, 2), (1, 3)), lambda x: x.as_strided((2, 2), (1, 3))),
    "detach_copy": ((), lambda x: x.detach()),
    "diagonal_copy": ((), lambda x: x.diagonal()),
    "expand_copy": (((2, 3, 4),), lambda x: x.expand(2, 3, 4)),
    "permute_copy": (((1, 0),), lambda x: x.permute(1, 0)),
    "select_copy": ((1, 2), lambda x: x.select(1, 2)),
    "slice_copy": ((1, 1, 4, 2), lambda x: x[:, 1:4:2]),
    "squeeze_copy": ((), lambda x: x.squeeze()),
    "t_copy": ((), lambda x: x.t()),
    "transpose_copy": ((0, 1), lambda x: x.transpose(0, 1)),
    "unfold_copy": ((1, 2, 1), lambda x: x.unfold(1, 2, 1)),
    "unsqueeze_copy": ((1,), lambda x: x.unsqueeze(1)),
    "view_copy": (((4, 3),), lambda x: x.view(4, 3)),
}


@pytest.mark.parametrize("name", COPIES)
def test_copied_views_have_their_own_memory(name):
    args, view = COPIES[name]
    x = fb.arange(12.0).reshape(3, 4)
    y = getattr(fb, name)(x, *args)
    assert fb.equal(y, view(x)) and y.data_ptr() != view(x).data_ptr()
    y.zero_()
    assert x.tolist() == fb.arange(12.0).reshape(3, 4).tolist()


def test_copied_parts_have_their_own_memory():
    x = fb.arange(6.0).reshape(3, 2)
    for parts in (fb.split_copy(x, 2), fb.split_with_sizes_copy(x, [2, 1]), fb.unbind_copy(x)):
        assert fb.equal(parts[0], x[:2] if parts[0].ndim == 2 else x[0])
        parts[0].zero_()
        assert x.tolist() == [[0, 1], [2, 3], [4, 5]]
    z = fb.view_as_complex_copy(x)
    assert fb.equal(fb.view_as_real_copy(z), x) and z.data_ptr() != x.data_ptr()
    out = fb.empty(2, 3)
    assert fb.t_copy(x, out=out) is out and fb.equal(out, x.t())
