"""Products of sparse matrices: against NumPy, their gradients, bits at any number of threads, a graph convolution."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.sparse import SparseTensor, from_scipy

LAYOUTS = ("sparse_coo", "sparse_csr", "sparse_csc")


def random(rows, columns, density=0.3, seed=0, dtype="float64"):
    return scipy.sparse.random(rows, columns, density, format="csr", random_state=seed).astype(dtype)


def sparse(layout, a):
    return from_scipy(a).to_sparse(layout=layout)


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(LAYOUTS), st.integers(0, 7), st.integers(0, 7), st.integers(0, 40), st.floats(0, 1),
    st.integers(0, 1000),
)  # fmt: skip
def test_sparse_times_dense(layout, rows, inner, width, density, seed):
    a = scipy.sparse.csr_array(np.where(draw(rows, inner, seed=seed) < density * 3 - 1.5, 1.5, 0))
    s, x = sparse(layout, a), a.toarray()
    d, e = draw(inner, width, seed=seed), draw(width, rows, seed=seed)
    for found in (s @ fb.tensor(d), fb.mm(s, fb.tensor(d)), fb.sparse.mm(s, fb.tensor(d)), s.matmul(fb.tensor(d))):
        assert found.layout == "strided" and tuple(found.shape) == (rows, width)
        np.testing.assert_allclose(found.numpy(), x @ d, atol=1e-12)
    np.testing.assert_allclose((fb.tensor(e) @ s).numpy(), e @ x, atol=1e-12)


def test_duplicates_and_any_order_count():
    s = fb.sparse_coo_tensor([[1, 0, 1, 1], [2, 1, 0, 2]], [1.0, 2.0, 3.0, 4.0], (2, 3))
    assert not s.is_coalesced()
    np.testing.assert_array_equal((s @ fb.eye(3)).numpy(), [[0, 2, 0], [3, 0, 5]])
    assert s.to_sparse_csr().values().tolist() == [2, 3, 5]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_vectors_bias_and_batches(layout):
    a = random(5, 4)
    s, x = sparse(layout, a), a.toarray()
    v, u, m = draw(4), draw(5), draw(5, 3)
    d = draw(4, 3)
    np.testing.assert_allclose(s.mv(fb.tensor(v)).numpy(), x @ v, atol=1e-12)
    np.testing.assert_allclose((s @ fb.tensor(v)).numpy(), x @ v, atol=1e-12)
    np.testing.assert_allclose((fb.tensor(u) @ s).numpy(), u @ x, atol=1e-12)
    for function in (fb.addmm, fb.sparse.addmm):
        found = function(fb.tensor(m), s, fb.tensor(d), beta=0.5, alpha=-2)
        np.testing.assert_allclose(found.numpy(), 0.5 * m - 2 * x @ d, atol=1e-12)
    w, b = draw(2, 4), draw(2)
    found = fb.nn.functional.linear(s, fb.tensor(w), fb.tensor(b))
    np.testing.assert_allclose(found.numpy(), x @ w.T + b, atol=1e-12)
    batch = draw(2, 3, 4)
    np.testing.assert_allclose(fb.nn.functional.linear(fb.tensor(batch), s).numpy(), batch @ x.T, atol=1e-12)


def test_batches_of_matrices():
    many = [random(5, 4, seed=k) for k in range(3)]
    s, x = fb.stack([sparse("sparse_coo", a) for a in many]), np.stack([a.toarray() for a in many])
    d = draw(3, 4, 2)
    np.testing.assert_allclose(fb.bmm(s, fb.tensor(d)).numpy(), x @ d, atol=1e-12)
    np.testing.assert_allclose(fb.bmm(fb.tensor(d).mT, s.mT).numpy(), (x @ d).transpose(0, 2, 1), atol=1e-12)


@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("right", LAYOUTS)
def test_sparse_times_sparse(left, right):
    a, b = random(6, 8, seed=1), random(8, 5, seed=2)
    found = sparse(left, a) @ sparse(right, b)
    expected = a @ b
    assert found.layout == left and found._nnz() == expected.nnz
    np.testing.assert_allclose(found.to_dense().numpy(), expected.toarray(), atol=1e-12)


def test_products_that_stay_sparse():
    a = random(6, 8, 0.1, seed=1)
    s, x, d = sparse("sparse_coo", a), a.toarray(), draw(8, 3)
    h = fb.hspmm(s, fb.tensor(d))
    assert (h.sparse_dim(), h.dense_dim(), h._nnz()) == (1, 1, np.any(x != 0, 1).sum())
    t = fb.smm(s, fb.tensor(d))
    for found in (h, t):
        np.testing.assert_allclose(found.to_dense().numpy(), x @ d, atol=1e-12)
    c = random(6, 3, seed=4)
    found = fb.sspaddmm(sparse("sparse_coo", c), s, fb.tensor(d), beta=3, alpha=0.5)
    np.testing.assert_allclose(found.to_dense().numpy(), 3 * c.toarray() + 0.5 * x @ d, atol=1e-12)


@pytest.mark.parametrize("inner", [0, 1, 3, 17, 9000])
def test_a_dense_product_where_a_matrix_stores_something(inner):
    a = random(6, 5, seed=1)
    s, p, q = sparse("sparse_csr", a), draw(6, inner), draw(inner, 5)
    found = fb.sparse.sampled_addmm(s, fb.tensor(p), fb.tensor(q), beta=2.0, alpha=0.5)
    expected = np.where(a.toarray() != 0, 2 * a.toarray() + 0.5 * p @ q, 0)
    assert found.layout == "sparse_csr"
    np.testing.assert_allclose(found.to_dense().numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "complex64", "complex128", "float16", "bfloat16"])
def test_dtypes(dtype):
    rng = np.random.default_rng(0)
    wide = "complex128" if "complex" in dtype else "float64"
    x = (rng.integers(0, 3, (5, 6)) * rng.integers(0, 2, (5, 6))).astype(wide)
    d = rng.integers(0, 4, (6, 20)).astype(x.dtype)
    if "complex" in dtype:
        x, d = x * (1 + 2j), d * (2 - 1j)
    kind = getattr(fb, dtype)
    found = fb.tensor(x).to(kind).to_sparse_csr() @ fb.tensor(d).to(kind)
    assert found.dtype is kind
    np.testing.assert_array_equal(found.to(fb.complex128).numpy(), x @ d)


def test_float16_is_summed_in_float32():
    s = fb.sparse_coo_tensor(fb.stack([fb.zeros(4096).long(), fb.arange(4096)]), fb.ones(4096).half(), (1, 4096))
    assert (s @ fb.ones(4096, 1).half()).item() == 4096


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda s: s @ fb.ones(5, 2, dtype=fb.float64), "inner sizes"),
        (lambda s: s @ fb.ones(4, 2), "dtype"),
        (lambda s: fb.ones(2, 6, dtype=fb.float64) @ s, "inner sizes"),
        (lambda s: s @ s, "inner sizes"),
        (lambda s: fb.bmm(s, s), "3 dimensions"),
        (lambda s: fb.sparse.mm(s.to_dense(), s.to_dense()), "must be sparse"),
        (lambda s: fb.sparse.sampled_addmm(s, fb.ones(5, 2).double(), fb.ones(3, 4).double()), "shapes don't fit"),
        (lambda s: fb.sparse.sampled_addmm(s.to_sparse_coo(), s, s), "sparse_csr"),
        (lambda s: fb.hspmm(s, fb.ones(4, 2)), "sparse_coo"),
        (lambda s: s.bool() @ fb.ones(4, 2).bool(), "bool"),
    ],
)
def test_products_that_dont_fit(run, message):
    with pytest.raises(RuntimeError, match=message):
        run(sparse("sparse_csr", random(5, 4)))


# ---- gradients
PLACES = fb.tensor([[0, 1, 1, 0], [2, 0, 2, 2]])


def make(v):
    return fb.sparse_coo_tensor(PLACES, v, (2, 3))


FUNCTIONS = {
    "to_dense": lambda v, d: make(v).to_dense(),
    "values": lambda v, d: make(v).coalesce().values(),
    "coo @ dense": lambda v, d: make(v) @ d,
    "dense @ coo": lambda v, d: d.t() @ make(v).t(),
    "csr @ dense": lambda v, d: make(v).to_sparse_csr() @ d,
    "csr from values": lambda v, d: fb.sparse_csr_tensor([0, 2, 4], [0, 2, 1, 2], v, (2, 3)) @ d,
    "csc @ dense": lambda v, d: make(v).to_sparse_csc() @ d,
    "sparse @ sparse": lambda v, d: (make(v) @ make(v).t()).to_dense(),
    "linear": lambda v, d: fb.nn.functional.linear(d.t(), make(v)),
    "bmm": lambda v, d: fb.bmm(fb.stack([make(v), make(v) * 2]), fb.stack([d, d])),
    "sampled": lambda v, d: fb.sparse.sampled_addmm(
        fb.sparse_csr_tensor([0, 2, 4, 4], [0, 2, 1, 2], v, (3, 3)), d, d.t(), beta=0.5
    ).values(),
    "hspmm": lambda v, d: fb.hspmm(make(v), d).to_dense(),
    "mul dense": lambda v, d: (make(v) * d.t()).to_dense(),
    "mul sparse": lambda v, d: (make(v) * make(v).t().t()).to_dense(),
    "add dense": lambda v, d: fb.add(d.t(), make(v), alpha=3),
    "add sparse": lambda v, d: (make(v) + make(v) * 2).to_dense(),
    "add in place": lambda v, d: d.t().clone().add_(make(v), alpha=2),
    "sum": lambda v, d: fb.sparse.sum(make(v), 0).to_dense(),
    "softmax": lambda v, d: fb.sparse.softmax(make(v), 1).to_dense(),
    "log_softmax": lambda v, d: fb.sparse.log_softmax(make(v), 0).values(),
    "sin": lambda v, d: make(v).sin().to_dense(),
    "norm": lambda v, d: make(v).norm(),
    "select": lambda v, d: make(v)[1].to_dense(),
    "index_select": lambda v, d: make(v).index_select(0, fb.tensor([1, 1, 0])).to_dense(),
    "sparse_mask": lambda v, d: d.t().sparse_mask(make(fb.ones(4).double()).coalesce()).values() * v[0],
    "mask of sparse": lambda v, d: make(v).sparse_mask(fb.eye(2, 3).to_sparse()).to_dense(),
    "hybrid": lambda v, d: fb.sparse_coo_tensor([[0, 1, 0]], d, (2, 2)).to_dense(),
    "to_sparse": lambda v, d: (d.to_sparse() * 2).to_dense(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_first_and_second_derivatives(name):
    v, d = (fb.tensor(draw(*shape)).requires_grad_() for shape in ((4,), (3, 2)))

    f = FUNCTIONS[name]
    assert gradcheck(lambda v, d: f(v, d) + 0 * (v.sum() + d.sum()), (v, d))
    assert gradgradcheck(lambda v, d: f(v, d) + 0 * ((v**3).sum() + (d**3).sum()), (v, d))


def test_complex_gradients():
    v = fb.tensor(draw(4) + 1j * draw(4, seed=1)).requires_grad_()
    d = fb.tensor(draw(3, 2) + 1j * draw(3, 2, seed=1)).requires_grad_()
    assert gradcheck(lambda v, d: make(v) @ d, (v, d))
    assert gradcheck(lambda v, d: d.t() @ make(v).t(), (v, d))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sparse_leaf_has_a_sparse_gradient(layout):
    a = random(4, 5)
    s, d = sparse(layout, a).requires_grad_(), fb.tensor(draw(5, 3), requires_grad=True)
    (s @ d).sum().backward()
    expected = np.where(a.toarray() != 0, d.detach().numpy().sum(1), 0)
    assert s.is_leaf and s.grad.layout == layout
    np.testing.assert_allclose(s.grad.to_dense().numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(d.grad.numpy(), np.repeat(a.toarray().sum(0)[:, None], 3, 1), atol=1e-12)
    before = s.grad
    (s @ d).sum().backward()
    assert s.grad is before
    np.testing.assert_allclose(s.grad.to_dense().numpy(), 2 * expected, atol=1e-12)
    (g,) = fb.autograd.grad(s.to_dense().sum(), s)
    np.testing.assert_array_equal(g.to_dense().numpy(), a.toarray() != 0)
    twice = s * 2
    twice.retain_grad()
    s.register_hook(lambda g: g * 10)
    s.grad = None
    (twice @ d).sum().backward()
    np.testing.assert_allclose(twice.grad.to_dense().numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(s.grad.to_dense().numpy(), 20 * expected, atol=1e-12)


def test_leaves_are_guarded():
    s = sparse("sparse_coo", random(4, 5)).requires_grad_()
    with pytest.raises(RuntimeError, match="leaf"):
        s.mul_(2)
    with fb.no_grad():
        s.mul_(2)
    assert not s.detach().requires_grad and s.detach()._values().data_ptr() == s._values().data_ptr()
    with pytest.raises(RuntimeError, match="shape"):
        s.grad = fb.sparse_coo_tensor((1, 2), dtype=fb.float64)


def test_no_gradient_is_computed_that_nobody_wants():
    s, d = sparse("sparse_csr", random(4, 5)), fb.ones(5, 2, dtype=fb.float64, requires_grad=True)
    node = (s @ d).grad_fn
    assert node.needs_input_grad == (False, True)
    assert not (s @ d.detach()).requires_grad


# ---- threads, training
def test_bits_at_any_number_of_threads(threads):
    a = random(3000, 2000, 0.01, dtype="float32")
    d = fb.tensor(draw(2000, 50).astype("f"))
    entries = a.tocoo()
    twice = np.random.default_rng(0).permutation(np.tile(np.arange(a.nnz), 2))
    places = fb.tensor(np.stack([entries.row[twice], entries.col[twice]]).astype("int64"))
    values = fb.tensor(entries.data[twice])
    found = set()
    for n in (1, 2, 3, 4, 7):
        threads(n)
        v, x = values.clone().requires_grad_(), d.clone().requires_grad_()
        s = fb.sparse_coo_tensor(places, v, a.shape)
        y = s @ x
        y.square().sum().backward()
        t = fb.sparse.softmax(s, 1)
        parts = (y, v.grad, x.grad, s.coalesce().values(), s.to_dense(), t.values(), s.sum(0).values())
        found.add(tuple(p.detach().numpy().tobytes() for p in parts))
    assert len(found) == 1


def graph(nodes=40):
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 3, nodes)
    near = (rng.random((nodes, nodes)) < np.where(groups[:, None] == groups, 0.3, 0.02)) | np.eye(nodes, dtype=bool)
    near |= near.T
    degree = near.sum(1)
    return (near / np.sqrt(degree[:, None] * degree)).astype("float64"), groups


def trained(adjacency, groups):
    fb.manual_seed(0)
    first, second = (fb.nn.Linear(i, o).double() for i, o in ((8, 16), (16, 3)))
    features = fb.tensor(draw(len(groups), 8))
    optimizer = fb.optim.Adam([*first.parameters(), *second.parameters()], lr=0.02)
    for _ in range(60):
        hidden = fb.relu(adjacency @ first(features))
        loss = fb.nn.functional.cross_entropy(adjacency @ second(hidden), fb.tensor(groups))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights = [p.detach().numpy().ravel() for p in (*first.parameters(), *second.parameters())]
    return loss.item(), np.concatenate(weights)


def test_a_graph_convolution_learns_the_same_with_a_sparse_adjacency():
    a, groups = graph()
    loss, weights = trained(fb.tensor(a), groups)
    assert loss < 0.3
    for layout in LAYOUTS:
        other, found = trained(fb.tensor(a).to_sparse(layout=layout), groups)
        np.testing.assert_allclose(found, weights, rtol=1e-7, atol=1e-9)
        assert abs(other - loss) < 1e-9


def test_the_products_make_no_dense_matrix():
    n = 200_000
    s = fb.sparse_coo_tensor(fb.stack([fb.arange(n), fb.arange(n).flip(0)]), fb.ones(n), (n, n)).requires_grad_()
    x = fb.arange(float(n)).unsqueeze(1).requires_grad_()
    y = s @ x
    y.sum().backward()
    assert y[0, 0].item() == n - 1 and x.grad.sum().item() == n
    assert isinstance(s.grad, SparseTensor) and s.grad._values()[0].item() == n - 1


class Spmm(fb.autograd.Function):
    """As graph networks write it for themselves."""

    @staticmethod
    def forward(ctx, places, values, size, b):
        a = fb.sparse_coo_tensor(places, values, size)
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        rows, columns = a._indices()
        return None, (g[rows] * b[columns]).sum(1), None, a.t() @ g


class Same(fb.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 2


def test_custom_functions_save_and_return_sparse_tensors():
    v, d = (fb.tensor(draw(*shape)).requires_grad_() for shape in ((4,), (3, 2)))
    assert gradcheck(lambda v, d: Spmm.apply(PLACES, v, (2, 3), d), (v, d))
    s = make(v.detach()).requires_grad_()
    out = Same.apply(s)
    assert out.layout == "sparse_coo"
    (out @ d).sum().backward()
    expected = 2 * d.detach().numpy().sum(1)[PLACES.numpy()[1]]
    np.testing.assert_allclose(s.grad._values().numpy(), expected)
