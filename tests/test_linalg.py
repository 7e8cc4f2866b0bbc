"""Linear algebra against NumPy and SciPy in float64, its gradients of first and second order, its errors."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from oracle import draw
from oracle import tensor as T

import flambeau as fb
import flambeau.linalg as LA
from flambeau.autograd import gradcheck, gradgradcheck

scipy_linalg = pytest.importorskip("scipy.linalg")

DTYPES = {"float32": 1e-4, "float64": 1e-10, "complex64": 1e-4, "complex128": 1e-10}


def ct(x):
    return np.swapaxes(x, -1, -2).conj()


def close(got, expected, dtype):
    expected = np.asarray(expected)
    assert tuple(got.shape) == expected.shape
    assert got.dtype.name == str(
        expected.astype(dtype).real.dtype if not got.is_complex() else expected.astype(dtype).dtype
    )
    size = 1 + np.abs(expected).max() if expected.size else 1
    np.testing.assert_allclose(got.numpy(), expected, atol=DTYPES[dtype] * size, rtol=0)


def wide(x):
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


class TestAgainstNumPy:
    @pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (2, 2, 1, 1), (0, 3, 3), (2, 0, 0)])
    def test_square(self, dtype, shape):
        a = draw(dtype, *shape)
        for name in ("inv", "det"):
            close(getattr(LA, name)(T(a)), getattr(np.linalg, name)(wide(a)), dtype)
        sign, log = LA.slogdet(T(a))
        close(sign, np.linalg.slogdet(wide(a))[0], dtype)
        close(log, np.linalg.slogdet(wide(a))[1], dtype)
        close(LA.matrix_power(T(a), 3), np.linalg.matrix_power(wide(a), 3), dtype)
        if a.size:
            close(LA.matrix_power(T(a), -2), np.linalg.matrix_power(wide(a), -2), dtype)
            close(LA.matrix_exp(T(a)), scipy_linalg.expm(wide(a)), dtype)

    def test_strided_input_gives_the_same_bits(self, dtype):
        a = draw(dtype, 2, 4, 4)
        spaced = T(np.repeat(a, 2, axis=-1))[..., ::2]
        assert spaced.stride() != T(a).stride()
        for f in (LA.inv, LA.det, LA.svdvals, LA.pinv, LA.matrix_exp, lambda x: LA.lu_factor(x).LU):
            assert fb.equal(f(spaced), f(T(a)))

    @pytest.mark.parametrize("a, b", [((3, 3), (2, 3, 2)), ((2, 3, 3), (3, 4)), ((2, 3, 3), (2, 3)), ((3, 3), (3,))])
    def test_solve(self, dtype, a, b):
        A, B = draw(dtype, *a), draw(dtype, *b, seed=1)
        vector = len(b) == 1 or b == a[:-1]
        expected = np.linalg.solve(wide(A), wide(B)[..., None] if vector else wide(B))
        close(LA.solve(T(A), T(B)), expected[..., 0] if vector else expected, dtype)
        if not vector:
            X = LA.solve(T(A), T(np.swapaxes(B, -1, -2)), left=False)
            close(X.mT, np.linalg.solve(np.swapaxes(wide(A), -1, -2), wide(B)), dtype)

    @pytest.mark.parametrize("upper, left, unit", list(itertools.product([True, False], repeat=3)))
    def test_solve_triangular_reads_one_triangle(self, dtype, upper, left, unit):
        A, B = draw(dtype, 2, 3, 3), draw(dtype, 2, 3, 3, seed=1)
        part = np.triu(A) if upper else np.tril(A)
        if unit:
            i = np.arange(3)
            part[..., i, i] = 1
        X = LA.solve_triangular(T(A), T(B), upper=upper, left=left, unitriangular=unit).numpy()
        product = wide(part) @ X if left else X @ wide(part)
        np.testing.assert_allclose(product, B, atol=DTYPES[dtype] * 100)

    @pytest.mark.parametrize("upper", [True, False])
    def test_cholesky(self, dtype, upper):
        b = draw(dtype, 2, 4, 4)
        a = b @ ct(b) + np.eye(4, dtype=dtype)
        L = LA.cholesky(T(a), upper=upper)
        expected = np.linalg.cholesky(wide(a))
        close(L, ct(expected) if upper else expected, dtype)
        rhs = draw(dtype, 2, 4, 2, seed=1)
        close(fb.cholesky_solve(T(rhs), L, upper), np.linalg.solve(wide(a), wide(rhs)), dtype)
        close(fb.cholesky_inverse(L, upper), np.linalg.inv(wide(a)), dtype)

    @pytest.mark.parametrize("shape", [(4, 4), (5, 3), (2, 3, 5)])
    def test_factors_multiply_back(self, dtype, shape):
        a = draw(dtype, *shape)
        m, n = shape[-2:]
        k = min(m, n)
        for mode, width in (("reduced", k), ("complete", m)):
            Q, R = LA.qr(T(a), mode)
            close(Q @ R, a, dtype)
            close(fb.conj(Q.mT) @ Q, np.broadcast_to(np.eye(width), (*shape[:-2], width, width)), dtype)
            assert not np.tril(R.numpy(), -1).any()
        P, L, U = LA.lu(T(a))
        close(P @ L @ U, a, dtype)
        assert P.shape[-2:] == (m, m) and L.shape[-2:] == (m, k) and U.shape[-2:] == (k, n)
        # LAPACK picks the pivot by |re| + |im|.
        assert np.abs(L.numpy()).max() <= 2**0.5 + 1e-6
        for full in (True, False):
            U, S, Vh = LA.svd(T(a), full_matrices=full)
            close((U[..., :k] * S.unsqueeze(-2)) @ Vh[..., :k, :], a, dtype)
            assert U.shape[-1] == (m if full else k) and Vh.shape[-2] == (n if full else k)
        close(LA.svdvals(T(a)), np.linalg.svd(wide(a), compute_uv=False), dtype)
        close(LA.pinv(T(a)), np.linalg.pinv(wide(a)), dtype)

    def test_eigenvalues(self, dtype):
        b = draw(dtype, 2, 4, 4)
        a = b + ct(b)
        L, V = LA.eigh(T(a))
        close(L, np.linalg.eigvalsh(wide(a)), dtype)
        close((V * L.unsqueeze(-2)) @ fb.conj(V.mT), a, dtype)
        close(LA.eigvalsh(T(np.triu(a)), "U"), np.linalg.eigvalsh(wide(a)), dtype)
        L, V = LA.eig(T(b))
        assert L.is_complex() and V.is_complex()
        np.testing.assert_allclose(b @ V.numpy(), V.numpy() * L.numpy()[..., None, :], atol=DTYPES[dtype] * 10)
        np.testing.assert_allclose(np.sort_complex(LA.eigvals(T(b)).numpy()), np.sort_complex(L.numpy()), atol=1e-4)

    @pytest.mark.parametrize("left, adjoint", list(itertools.product([True, False], repeat=2)))
    def test_lu_solve(self, dtype, left, adjoint):
        a, b = draw(dtype, 2, 3, 3), draw(dtype, 2, 3, 3, seed=1)
        X = LA.lu_solve(*LA.lu_factor(T(a)), T(b), left=left, adjoint=adjoint).numpy()
        m = ct(a) if adjoint else a
        np.testing.assert_allclose(m @ X if left else X @ m, b, atol=DTYPES[dtype] * 50)

    @pytest.mark.parametrize("hermitian", [True, False])
    def test_ldl(self, dtype, hermitian):
        b = draw(dtype, 3, 6, 6)
        a = b + (ct(b) if hermitian else np.swapaxes(b, -1, -2))
        rhs = draw(dtype, 3, 6, 2, seed=1)
        X = LA.ldl_solve(*LA.ldl_factor(T(a), hermitian=hermitian), T(rhs), hermitian=hermitian)
        close(X, np.linalg.solve(wide(a), wide(rhs)), dtype)

    def test_ldl_with_blocks_of_two(self):
        a = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]])
        LD, pivots = LA.ldl_factor(T(a))
        assert bool((pivots < 0).any())
        np.testing.assert_allclose(
            LA.ldl_solve(LD, pivots, fb.eye(3, dtype=fb.float64)).numpy(), np.linalg.inv(a), atol=1e-12
        )

    @pytest.mark.parametrize("driver", [None, "gels", "gelsy", "gelsd", "gelss"])
    def test_lstsq(self, dtype, driver):
        a, b = draw(dtype, 5, 3), draw(dtype, 5, 2, seed=1)
        X, residuals, rank, values = LA.lstsq(T(a), T(b), driver=driver)
        expected = np.linalg.lstsq(wide(a), wide(b))
        close(X, expected[0], dtype)
        assert rank.numel() == (0 if driver == "gels" else 1)
        if driver in ("gels", "gelsd", "gelss"):
            close(residuals, expected[1], dtype)
        if driver in ("gelsd", "gelss"):
            close(values, expected[3], dtype)
        under = LA.lstsq(T(ct(a)), T(b[:3]), driver=driver).solution
        close(under, np.linalg.pinv(wide(ct(a))) @ wide(b[:3]), dtype)

    @pytest.mark.parametrize("ord", ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
    def test_matrix_norm(self, dtype, ord):
        a = draw(dtype, 2, 4, 3)
        close(LA.matrix_norm(T(a), ord), np.linalg.norm(wide(a), ord, axis=(-2, -1)), dtype)
        swapped = LA.matrix_norm(T(a), ord, dim=(2, 0), keepdim=True)
        close(swapped, np.linalg.norm(wide(a), ord, axis=(2, 0), keepdims=True), dtype)
        close(LA.norm(T(a), ord, dim=(-2, -1)), np.linalg.norm(wide(a), ord, axis=(-2, -1)), dtype)

    @pytest.mark.parametrize("ord", [0, 0.5, 1, 2, 3, -1, np.inf, -np.inf])
    def test_vector_norm(self, dtype, ord):
        a = draw(dtype, 4, 3)
        close(LA.vector_norm(T(a), ord), np.linalg.norm(wide(a).reshape(-1), ord), dtype)
        close(
            LA.vector_norm(T(a), ord, dim=0, keepdim=True), np.linalg.norm(wide(a), ord, axis=0, keepdims=True), dtype
        )

    @pytest.mark.parametrize("p", [None, 1, -1, 2, -2, np.inf, "fro"])
    def test_cond(self, p):
        a = draw("float64", 2, 3, 3)
        close(LA.cond(T(a), p), np.linalg.cond(a, p), "float64")
        assert LA.cond(fb.zeros(2, 2), 1).item() == float("inf")

    def test_rank_counts_singular_values_above_the_threshold(self):
        a = np.diag([3.0, 1.0, 1e-3, 0.0])
        assert LA.matrix_rank(T(a)).item() == 3
        assert LA.matrix_rank(T(a), atol=0.5).item() == 2
        assert LA.matrix_rank(T(a), rtol=0.5).item() == 1
        assert LA.matrix_rank(T(a), hermitian=True).item() == 3
        assert LA.matrix_rank(T(np.zeros((2, 0, 3)))).tolist() == [0, 0]
        np.testing.assert_allclose(LA.pinv(T(a), atol=0.5).numpy(), np.diag([1 / 3, 1, 0, 0]), atol=1e-12)

    def test_products(self, dtype):
        a, b, c = draw(dtype, 2, 5), draw(dtype, 5, 3), draw(dtype, 3)
        close(LA.multi_dot([T(a), T(b), T(c)]), wide(a) @ wide(b) @ wide(c), dtype)
        x, y = draw(dtype, 4, 3), draw(dtype, 1, 3, seed=1)
        close(LA.cross(T(x), T(y)), np.cross(wide(x), wide(y)), dtype)
        close(LA.vecdot(T(x), T(y)), (wide(x).conj() * wide(y)).sum(-1), dtype)
        close(LA.vander(T(x), N=4), wide(x)[..., None] ** np.arange(4), dtype)
        close(fb.vander(T(c)), np.vander(wide(c)), dtype)
        close(fb.vdot(T(c), T(c)), np.vdot(wide(c), wide(c)), dtype)
        t = draw(dtype, 4, 6, 8, 3)
        close(LA.tensorinv(T(t), ind=2), np.linalg.tensorinv(wide(t), ind=2), dtype)
        s, r = draw(dtype, 2, 3, 6), draw(dtype, 2, 3)
        close(LA.tensorsolve(T(s), T(r)), np.linalg.tensorsolve(wide(s), wide(r)), dtype)

    def test_householder(self, dtype):
        a = draw(dtype, 5, 3)
        found = fb.geqrf(T(a))
        Q = LA.householder_product(*found)
        close(Q @ fb.triu(found.a[:3]), a, dtype)
        c = draw(dtype, 5, 2, seed=1)
        whole = fb.ormqr(*found, fb.eye(5, dtype=T(a).dtype))
        close(whole[:, :3], Q.numpy(), dtype)
        close(fb.ormqr(*found, T(c), transpose=True), ct(whole.numpy()) @ c, dtype)
        close(fb.ormqr(*found, T(ct(c)), left=False), ct(c) @ whole.numpy(), dtype)


def R(*shape, seed=0):
    return T(draw("float64", *shape, seed=seed)).requires_grad_()


def C(*shape, seed=0):
    return T(draw("complex128", *shape, seed=seed)).requires_grad_()


def H(x):
    return fb.conj(x.mT)


def definite(x):
    return x @ H(x) + fb.eye(x.shape[-1], dtype=x.dtype)


def rebuilt(x):
    """A function of U, S and Vh that doesn't depend on the choice of their phases."""
    U, S, Vh = LA.svd(x, full_matrices=False)
    return (U * (S * S).unsqueeze(-2)) @ Vh


GRADIENTS = {
    "inv": (LA.inv, (2, 3, 3)),
    "det": (LA.det, (2, 3, 3)),
    "slogdet": (lambda a: tuple(LA.slogdet(a)), (3, 3)),
    "logdet": (lambda a: fb.logdet(definite(a)), (3, 3)),
    "solve": (LA.solve, (3, 3), (2, 3, 2)),
    "solve vectors": (LA.solve, (2, 3, 3), (2, 3)),
    "solve right": (lambda a, b: LA.solve(a, b, left=False), (2, 2), (3, 2)),
    "triangular": (lambda a, b: LA.solve_triangular(a, b, upper=True), (2, 3, 3), (3, 2)),
    "unitriangular": (
        lambda a, b: LA.solve_triangular(a, b, upper=False, left=False, unitriangular=True), (3, 3), (2, 3),
    ),
    "cholesky": (lambda a: LA.cholesky(definite(a)), (2, 3, 3)),
    "qr": (lambda a: tuple(LA.qr(a)), (4, 3)),
    "qr wide": (lambda a: tuple(LA.qr(a)), (2, 4)),
    "lu": (lambda a: tuple(LA.lu(a))[1:], (3, 3)),
    "lu wide": (lambda a: LA.lu_factor(a).LU, (2, 4)),
    "lu tall": (lambda a: LA.lu_factor(a).LU, (4, 2)),
    "lu_solve": (lambda a, b: LA.lu_solve(*LA.lu_factor(a), b, adjoint=True), (3, 3), (3, 2)),
    "eigvalsh": (lambda a: LA.eigvalsh(a + H(a)), (2, 3, 3)),
    "eigh": (lambda a: fb.abs(LA.eigh(a + H(a)).eigenvectors), (3, 3)),
    "eigvals": (LA.eigvals, (3, 3)),
    "eig": (lambda a: fb.abs(LA.eig(a).eigenvectors), (3, 3)),
    "svdvals": (LA.svdvals, (3, 4)),
    "svd": (rebuilt, (4, 3)),
    "svd full": (lambda a: fb.abs(LA.svd(a).Vh[:2]), (2, 3)),
    "pinv": (LA.pinv, (4, 3)),
    "pinv wide": (LA.pinv, (2, 3)),
    "lstsq": (lambda a, b: LA.lstsq(a, b).solution, (4, 2), (4, 2)),
    "matrix_exp": (LA.matrix_exp, (3, 3)),
    "matrix_power": (lambda a: LA.matrix_power(a, -2), (3, 3)),
    "householder": (LA.householder_product, (4, 3), (3,)),
    "nuc": (lambda a: LA.matrix_norm(a, "nuc"), (2, 3)),
    "vector_norm": (lambda a: LA.vector_norm(a, 3, dim=1), (2, 3)),
    "cond": (lambda a: LA.cond(a, 1), (3, 3)),
    "cholesky_solve": (lambda b, a: fb.cholesky_solve(b, fb.tril(a)), (3, 2), (3, 3)),
    "tensorinv": (lambda a: LA.tensorinv(a, 1), (4, 2, 2)),
    "cross": (LA.cross, (2, 3), (2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name):
    f, *shapes = GRADIENTS[name]
    inputs = tuple(R(*shape, seed=i) for i, shape in enumerate(shapes))
    assert gradcheck(f, inputs)
    assert gradgradcheck(f, inputs)


# Where the complex formula is more than the real one.
@pytest.mark.parametrize(
    "name",
    ["det", "slogdet", "solve", "triangular", "cholesky", "qr", "qr wide", "lu", "eigh", "eig", "svd",
     "pinv", "matrix_exp"],
)  # fmt: skip
def test_complex_gradients(name):
    f, *shapes = GRADIENTS[name]
    assert gradcheck(f, tuple(C(*shape, seed=i) for i, shape in enumerate(shapes)))


def test_second_derivatives_of_complex_matrices():
    assert gradgradcheck(LA.inv, (C(2, 2),))
    assert gradgradcheck(lambda a: LA.cholesky(definite(a)), (C(2, 2),))
    assert gradgradcheck(LA.svdvals, (C(2, 3),))


def test_the_determinant_of_a_singular_matrix_has_its_cofactors_as_gradient():
    a = T(np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])).requires_grad_()
    LA.det(a).backward()
    cofactors = [
        [(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a.detach().numpy(), i, 0), j, 1)) for j in range(3)]
        for i in range(3)
    ]
    np.testing.assert_allclose(a.grad.numpy(), cofactors, atol=1e-12)
    zero = fb.zeros(3, 3, requires_grad=True)
    LA.det(zero).backward()
    assert not zero.grad.any()


ERRORS = [
    (lambda: LA.inv(fb.zeros(2, 2)), LA.LinAlgError, "inv.*singular.*pinv"),
    (lambda: LA.solve(fb.zeros(2, 2), fb.ones(2)), LA.LinAlgError, "solve.*singular"),
    (lambda: LA.cholesky(-fb.eye(2)), LA.LinAlgError, "cholesky.*positive definite"),
    (lambda: LA.inv(fb.ones(2, 3)), RuntimeError, r"inv.*square.*\(2, 3\)"),
    (lambda: LA.det(fb.ones(3)), RuntimeError, "det.*at least 2 dimensions"),
    (lambda: LA.svd(fb.ones(2, 2, dtype=fb.int64)), RuntimeError, r"svd.*int64.*x\.float\(\)"),
    (lambda: LA.qr(fb.ones(2, 2), "economic"), RuntimeError, "qr.*economic"),
    (lambda: LA.eigh(fb.eye(2), "X"), RuntimeError, "eigh.*UPLO"),
    (lambda: LA.solve(fb.eye(2), fb.ones(3)), RuntimeError, r"solve.*\(2, 2\).*\(3,\)"),
    (lambda: LA.solve(fb.eye(2), fb.ones(2, dtype=fb.float64)), RuntimeError, "float32.*float64"),
    (lambda: LA.multi_dot([fb.ones(2, 3), fb.ones(2, 3)]), RuntimeError, "multi_dot.*chain"),
    (lambda: LA.cross(fb.ones(2), fb.ones(2)), RuntimeError, "cross.*size 3"),
    (lambda: LA.matrix_norm(fb.eye(2), 3), RuntimeError, "matrix_norm.*3"),
    (lambda: LA.lstsq(fb.eye(2), fb.ones(2), driver="x"), RuntimeError, "driver"),
]  # fmt: skip


@pytest.mark.parametrize("call, error, message", ERRORS)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_ex_forms_report_instead_of_raising():
    a = fb.stack([fb.eye(2), fb.zeros(2, 2)])
    inverse, info = LA.inv_ex(a)
    assert info.tolist() == [0, 1] and info.dtype is fb.int32
    assert fb.equal(inverse[0], fb.eye(2)) and bool(inverse[1].isnan().all())
    assert LA.cholesky_ex(fb.stack([fb.eye(2), -fb.eye(2)])).info.tolist() == [0, 1]
    assert LA.solve_ex(a, fb.ones(2, 2)).info.tolist() == [0, 1]
    assert LA.lu_factor_ex(a).info.tolist() == [0, 1]
    for f in (LA.inv_ex, LA.cholesky_ex, LA.lu_factor_ex):
        with pytest.raises(LA.LinAlgError):
            f(-fb.zeros(2, 2), check_errors=True)


FIELDS = {
    "slogdet": "sign logabsdet", "eigh": "eigenvalues eigenvectors", "eig": "eigenvalues eigenvectors", "svd": "U S Vh",
    "qr": "Q R", "lu": "P L U", "lu_factor": "LU pivots", "lu_factor_ex": "LU pivots info", "inv_ex": "inverse info",
    "cholesky_ex": "L info", "ldl_factor": "LD pivots", "ldl_factor_ex": "LD pivots info",
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_results_are_named(name):
    found = getattr(LA, name)(fb.eye(2))
    assert found._fields == tuple(FIELDS[name].split()) and type(found).__name__ == "linalg_" + name


def test_out_is_written_and_returned():
    out = fb.empty(2, 2)
    assert LA.inv(fb.eye(2) * 2, out=out) is out and fb.equal(out, fb.eye(2) / 2)
    Q, S = fb.empty(0), fb.empty(0)
    found = LA.qr(fb.eye(2), out=(Q, S))
    assert found.Q is Q and Q.shape == (2, 2)


def test_older_names():
    a = draw("float64", 4, 3)
    U, S, V = fb.svd(T(a))
    np.testing.assert_allclose(((U * S) @ V.t()).numpy(), a, atol=1e-12)
    assert fb.svd(T(a), some=False).U.shape == (4, 4)
    assert not fb.svd(T(a), compute_uv=False).V.any()
    s = T(a[:3])
    assert fb.equal(s.det(), fb.det(s)) and fb.equal(s.inverse(), fb.linalg.inv(s)) and s.logdet().shape == ()
    LU, pivots, info = fb.lu(s, get_infos=True)
    P, L, U = fb.lu_unpack(LU, pivots)
    np.testing.assert_allclose((P @ L @ U).numpy(), a[:3], atol=1e-12)
    assert info.item() == 0
    X, _ = fb.triangular_solve(fb.ones(3, 1, dtype=fb.float64), s, upper=False, transpose=True)
    np.testing.assert_allclose(np.tril(a[:3]).T @ X.numpy(), np.ones((3, 1)), atol=1e-10)
    np.testing.assert_allclose(fb.trace(s).item(), np.trace(a[:3]))


class TestLeadingParts:
    def test_low_rank(self):
        fb.manual_seed(0)
        a = draw("float64", 20, 3) @ draw("float64", 3, 12)
        U, S, V = fb.svd_lowrank(T(a), q=3)
        np.testing.assert_allclose(((U * S) @ V.t()).numpy(), a, atol=1e-10)
        U, S, V = fb.pca_lowrank(T(a), q=3)
        np.testing.assert_allclose(S.numpy(), np.linalg.svd(a - a.mean(0), compute_uv=False)[:3], atol=1e-8)

    @pytest.mark.parametrize("largest", [True, False])
    def test_lobpcg(self, largest):
        fb.manual_seed(0)
        b = draw("float64", 20, 20)
        a, m = b + b.T, np.diag(np.linspace(1, 2, 20))
        values, vectors = fb.lobpcg(T(a), k=2, B=T(m), largest=largest, niter=200)
        expected = scipy_linalg.eigh(a, m, eigvals_only=True)
        np.testing.assert_allclose(values.numpy(), expected[::-1][:2] if largest else expected[:2], rtol=1e-5)
        residual = a @ vectors.numpy() - m @ vectors.numpy() * values.numpy()
        assert np.abs(residual).max() < 1e-4


def test_the_nuclear_norm_has_an_older_name():
    a = draw("float64", 4, 3)
    assert fb.norm(T(a), "nuc").item() == pytest.approx(np.linalg.norm(a, "nuc"))
    with pytest.raises(RuntimeError, match="two different dimensions"):
        fb.ones(2, 3, 4).norm("nuc")


@pytest.mark.parametrize("name", ["inv", "det", "slogdet", "qr", "svd", "eigh", "cholesky", "lu_factor", "eig"])
def test_a_matrix_has_the_same_bits_alone_and_in_a_batch(name, dtype):
    b = T(draw(dtype, 30, 7, 7))
    a = b @ b.mH + 7 * fb.eye(7, dtype=b.dtype)
    whole, alone = getattr(LA, name)(a), getattr(LA, name)(a[17])
    for x, y in zip(*((r if isinstance(r, tuple) else (r,)) for r in (whole, alone)), strict=True):
        assert fb.equal(x[17], y)


def test_threads_of_the_library_are_put_back_and_python_threads_get_the_same():
    from flambeau.linalg.routines import libraries

    a = T(draw("float64", 120, 120))
    expected = LA.svd(a)
    before = [library.get() for library in libraries()]
    found = []

    def work():
        for _ in range(5):
            found.append(all(fb.equal(x, y) for x, y in zip(LA.svd(a), expected, strict=True)))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert found == [True] * 20
    assert [library.get() for library in libraries()] == before and libraries()
