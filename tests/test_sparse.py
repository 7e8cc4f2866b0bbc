"""Sparse tensors against NumPy and SciPy: made, converted, computed with, printed, saved; and what is refused."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as fb
from flambeau.sparse import SparseTensor, from_scipy, to_scipy

LAYOUTS = ("sparse_coo", "sparse_csr", "sparse_csc")


def dense_of(places, values, size):
    """The oracle: values added one by one."""
    out = np.zeros(size, values.dtype)
    np.add.at(out, tuple(places), values)
    return out


@st.composite
def coo(draw, sparse_dims=(1, 3), dense_dims=(0, 1)):
    k, d = draw(st.integers(*sparse_dims)), draw(st.integers(*dense_dims))
    size = tuple(draw(st.lists(st.integers(1, 5), min_size=k + d, max_size=k + d)))
    nnz = draw(st.integers(0, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    places = np.stack([rng.integers(0, n, nnz) for n in size[:k]]).reshape(k, nnz)
    return places, rng.normal(size=(nnz, *size[k:])), size


def made(places, values, size):
    return fb.sparse_coo_tensor(fb.tensor(places), fb.tensor(values), size)


def matrix(layout, rows=6, columns=9, seed=0, density=0.3, dtype="float64"):
    a = scipy.sparse.random(rows, columns, density, format="csr", random_state=seed).astype(dtype)
    return from_scipy(a).to_sparse(layout=layout), a.toarray()


def check(found, expected, **tolerance):
    assert tuple(found.shape) == expected.shape
    np.testing.assert_allclose(found.to_dense().numpy(), expected, **tolerance or {"rtol": 1e-13, "atol": 1e-13})


# ---- what is stored
@settings(max_examples=60, deadline=None)
@given(coo())
def test_dense_and_coalesced_forms(parts):
    places, _, size = parts
    s, expected = made(*parts), dense_of(*parts)
    check(s, expected)
    c = s.coalesce()
    check(c, expected)
    stored = np.unique(np.ravel_multi_index(tuple(places), size[: len(places)])) if places.size else np.zeros(0)
    assert c.is_coalesced() and c._nnz() == len(stored)
    assert c.coalesce() is c
    order = np.ravel_multi_index(tuple(c.indices().numpy()), size[: len(places)]) if len(stored) else stored
    np.testing.assert_array_equal(order, stored)


@settings(max_examples=40, deadline=None)
@given(coo())
def test_dense_tensors_become_sparse(parts):
    expected, k = dense_of(*parts), len(parts[0])
    s = fb.tensor(expected).to_sparse(k)
    assert (s.sparse_dim(), s.dense_dim(), s.is_coalesced()) == (k, expected.ndim - k, True)
    np.testing.assert_array_equal(s.to_dense().numpy(), expected)
    kept = np.argwhere(expected.reshape(*expected.shape[:k], -1).any(-1)).T
    np.testing.assert_array_equal(s.indices().numpy(), kept)


@settings(max_examples=40, deadline=None)
@given(coo((2, 2), (0, 0)))
def test_layouts_are_scipys(parts):
    expected = dense_of(*parts)
    s = made(*parts)
    coalesced = scipy.sparse.coo_array((parts[1], tuple(parts[0])), shape=parts[2])
    for layout, reference in (("sparse_csr", coalesced.tocsr()), ("sparse_csc", coalesced.tocsc())):
        reference.sum_duplicates()
        c = s.to_sparse(layout=layout)
        starts, others = (
            (c.crow_indices(), c.col_indices()) if layout == "sparse_csr" else (c.ccol_indices(), c.row_indices())
        )
        np.testing.assert_array_equal(starts.numpy(), reference.indptr)
        np.testing.assert_array_equal(others.numpy(), reference.indices)
        np.testing.assert_allclose(c.values().numpy(), reference.data, rtol=1e-13)
        check(c, expected)
        check(c.to_sparse_coo(), expected)
        check(c.t(), expected.T)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_to_scipy_and_back(layout):
    s, expected = matrix(layout)
    a = to_scipy(s)
    assert a.format == layout.removeprefix("sparse_")
    np.testing.assert_array_equal(a.toarray(), expected)
    back = from_scipy(a)
    assert back.layout == layout
    np.testing.assert_array_equal(back.to_dense().numpy(), expected)
    a.data[:] = 0
    np.testing.assert_array_equal(back.to_dense().numpy(), expected)


def test_scipys_other_formats_become_coo():
    a = scipy.sparse.random(5, 4, 0.4, random_state=1)
    for form in ("lil", "dok", "bsr", "dia"):
        s = from_scipy(a.asformat(form))
        assert s.layout == "sparse_coo"
        np.testing.assert_array_equal(s.to_dense().numpy(), a.toarray())
    with pytest.raises(TypeError, match="SciPy"):
        from_scipy(a.toarray())


def test_what_a_sparse_tensor_says_of_itself():
    s, _ = matrix("sparse_coo")
    c = s.to_sparse_csr()
    assert isinstance(s, fb.Tensor)
    assert (s.layout, c.layout, fb.ones(2).layout) == (fb.sparse_coo, fb.sparse_csr, fb.strided)
    assert (s.is_sparse, s.is_sparse_csr, c.is_sparse, c.is_sparse_csr) == (True, False, False, True)
    assert not fb.ones(2).is_sparse and not fb.ones(2).is_sparse_csr
    assert (tuple(s.size()), s.size(-1), s.dim(), s.numel(), len(s), s.dtype) == ((6, 9), 9, 2, 54, 6, fb.float64)
    assert (s.sparse_dim(), s.dense_dim(), fb.ones(2, 3).dense_dim()) == (2, 0, 2)
    d = fb.ones(2)
    assert d.to_dense() is d


def test_made_from_a_size_or_from_nested_lists():
    e = fb.sparse_coo_tensor((2, 3))
    assert e._nnz() == 0 and e.is_coalesced() and e.dtype is fb.float32
    np.testing.assert_array_equal(e.to_dense().numpy(), np.zeros((2, 3)))
    s = fb.sparse_coo_tensor([[0, 2], [1, 0]], [1, 2])
    assert tuple(s.shape) == (3, 2) and s.dtype is fb.int64
    assert fb.sparse.FloatTensor(2, 3).shape == (2, 3)
    assert fb.sparse.LongTensor(fb.tensor([[1]]), fb.tensor([3]), (2,)).to_dense().tolist() == [0, 3]
    assert isinstance(fb.sparse.DoubleTensor(2), fb.sparse.DoubleTensor)
    with pytest.raises(TypeError, match="float32"):
        fb.sparse.FloatTensor(fb.tensor([[1]]), fb.tensor([3]))


def test_values_share_memory_and_indices_dont():
    i, v = fb.tensor([[0, 1]]), fb.tensor([1.0, 2.0])
    s = fb.sparse_coo_tensor(i, v, (3,))
    i[0, 0] = 7
    v[0] = 5.0
    assert s.to_dense().tolist() == [5, 2, 0]


def test_values_that_are_resized_leave_the_tensor_as_it_is():
    v = fb.tensor([1.0, 2.0])
    s = fb.sparse_coo_tensor([[0, 1]], v, (3,))
    v.resize_(1)
    s._values().resize_(0)
    assert s.to_dense().tolist() == [1, 2, 0] and s._nnz() == 2


def test_a_dense_tensor_takes_no_sparse_data():
    s, d = fb.eye(2).to_sparse(), fb.ones(2, 2)
    for wrong in (lambda: d.set_(s), lambda: setattr(d, "data", s), lambda: fb.nn.Parameter(s)):
        with pytest.raises(RuntimeError, match="to_dense"):
            wrong()
    with pytest.raises(RuntimeError, match="sparse"):
        s.data = d
    assert d.tolist() == [[1, 1], [1, 1]]
    s.data = s.data.double()
    assert s.dtype is fb.float64 and s.to_dense().dtype is fb.float64


def test_spdiags_is_scipys():
    d = np.arange(1.0, 13).reshape(3, 4)
    for shape in ((4, 4), (3, 6), (5, 2)):
        s = fb.sparse.spdiags(fb.tensor(d), fb.tensor([-1, 0, 2]), shape, layout=fb.sparse_csr)
        check(s, scipy.sparse.spdiags(d, [-1, 0, 2], *shape).toarray())


# ---- operations
@settings(max_examples=40, deadline=None)
@given(coo(), st.integers(0, 2**32 - 1), st.sampled_from([1, -2.5]))
def test_sums(parts, seed, alpha):
    rng = np.random.default_rng(seed)
    places, values, size = parts
    other = np.stack([rng.integers(0, n, 5) for n in size[: len(places)]])
    second = (other, rng.normal(size=(5, *values.shape[1:])), size)
    s, t, x, y = made(*parts), made(*second), dense_of(*parts), dense_of(*second)
    d = rng.normal(size=size)
    check(fb.add(s, t, alpha=alpha), x + alpha * y)
    check(s - t, x - y)
    np.testing.assert_allclose(fb.add(fb.tensor(d), s, alpha=alpha).numpy(), d + alpha * x, atol=1e-12)
    np.testing.assert_allclose((fb.tensor(d) - s).numpy(), d - x, atol=1e-12)
    target = fb.tensor(d)
    assert target.add_(s, alpha=alpha) is target
    np.testing.assert_allclose(target.numpy(), d + alpha * x, atol=1e-12)
    assert s.add_(t) is s
    check(s, x + y)


@settings(max_examples=40, deadline=None)
@given(coo(dense_dims=(0, 0)), st.integers(0, 2**32 - 1))
def test_products_of_elements(parts, seed):
    rng = np.random.default_rng(seed)
    size = parts[2]
    second = (np.stack([rng.integers(0, n, 5) for n in size]), rng.normal(size=5), size)
    s, t, x, y = made(*parts), made(*second), dense_of(*parts), dense_of(*second)
    d = rng.normal(size=size)
    check(s * t, x * y)
    check(s * fb.tensor(d), x * d)
    check(fb.tensor(d) * s, x * d)
    check(fb.tensor(d[..., :1]) * s, x * d[..., :1])
    check(-(s * 2.5) / 4, -x * 2.5 / 4)
    check(s**2, x**2)
    check(s.mul_(3), x * 3)


@pytest.mark.parametrize("name", ["abs", "sin", "tanh", "sqrt", "sign", "relu", "expm1", "log1p", "floor", "neg"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_functions_that_keep_zero(name, layout):
    s, x = matrix(layout)
    f = {"neg": np.negative, "relu": lambda v: np.maximum(v, 0)}.get(name) or getattr(np, name)
    found = getattr(s, name)()
    assert found.layout == layout and found._nnz() == s._nnz()
    check(found, f(x), rtol=1e-12)


def test_duplicates_are_summed_before_a_function_that_isnt_linear():
    s = fb.sparse_coo_tensor([[0, 0]], [3.0, -5.0], (2,))
    assert s.abs().to_dense().tolist() == [2, 0]
    assert (s**2).to_dense().tolist() == [4, 0]
    assert (-s).to_dense().tolist() == [2, 0]


@settings(max_examples=60, deadline=None)
@given(coo(), st.data())
def test_sums_over_dimensions(parts, data):
    s, x = made(*parts), dense_of(*parts)
    dims = tuple(data.draw(st.sets(st.integers(0, x.ndim - 1), min_size=1)))
    found = fb.sparse.sum(s, dims)
    assert isinstance(found, SparseTensor) == (not set(range(len(parts[0]))) <= set(dims))
    np.testing.assert_allclose(found.to_dense().numpy(), x.sum(dims), atol=1e-12)
    kept = s.sum(dims, keepdim=True)
    np.testing.assert_allclose(kept.to_dense().numpy(), x.sum(dims, keepdims=True), atol=1e-12)
    np.testing.assert_allclose(s.sum().item(), x.sum(), atol=1e-12)
    np.testing.assert_allclose(s.norm().item(), np.linalg.norm(x), atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(coo(sparse_dims=(2, 3)), st.data())
def test_geometry(parts, data):
    s, x = made(*parts), dense_of(*parts)
    k = len(parts[0])
    order = [*data.draw(st.permutations(range(k))), *range(k, x.ndim)]
    check(s.permute(order), x.transpose(order))
    dim = data.draw(st.integers(0, x.ndim - 1))
    n = x.shape[dim]
    at = data.draw(st.integers(-n, n - 1))
    check(s.select(dim, at), x.take(at, dim))
    check(s.unsqueeze(dim), np.expand_dims(x, dim))
    start = data.draw(st.integers(0, n))
    length = data.draw(st.integers(0, n - start))
    check(s.narrow(dim, start, length), x.take(range(start, start + length), dim))
    index = data.draw(st.lists(st.integers(0, n - 1), max_size=7))
    check(fb.index_select(s, dim, fb.tensor(index, dtype=fb.int64)), x.take(np.array(index, int), dim))
    check(s[:, 0], x[:, 0])
    check(s[None, ..., -1], x[None, ..., -1])
    check(s[0:1], x[0:1])


def test_joined():
    s, x = matrix("sparse_coo")
    t, y = matrix("sparse_csr", seed=1)
    check(fb.cat([s, t]), np.concatenate([x, y]))
    check(fb.cat([s, t, s], 1), np.concatenate([x, y, x], 1))
    check(fb.stack([s, t], 1), np.stack([x, y], 1))
    for row, expected in zip(s, x, strict=True):
        check(row, expected)


@settings(max_examples=40, deadline=None)
@given(coo(), st.data())
def test_softmax_leaves_out_what_isnt_stored(parts, data):
    places, _, size = parts
    s, dim = made(*parts), data.draw(st.integers(0, len(size) - 1))
    stored = np.zeros(size[: len(places)], bool)
    stored[tuple(places)] = True
    x = dense_of(*parts)
    mask = stored.reshape(*stored.shape, *[1] * (x.ndim - stored.ndim)) & np.ones(size, bool)
    e = np.where(mask, np.exp(x), 0)
    total = e.sum(dim, keepdims=True)
    expected = np.where(mask, e / np.where(total == 0, 1, total), 0)
    check(fb.sparse.softmax(s, dim), expected, atol=1e-12)
    logs = fb.sparse.log_softmax(s, dim).to_dense().numpy()
    np.testing.assert_allclose(np.where(mask, np.exp(logs), 0), expected, atol=1e-12)


def test_masks_take_elements_of_dense_and_sparse_tensors():
    mask, m = matrix("sparse_csr")
    d = np.random.default_rng(0).normal(size=m.shape)
    found = fb.tensor(d).sparse_mask(mask)
    assert found.layout == "sparse_csr"
    check(found, np.where(m != 0, d, 0))
    other, y = matrix("sparse_coo", seed=3)
    check(other.sparse_mask(mask), np.where(m != 0, y, 0))


def test_in_place():
    s, x = matrix("sparse_coo")
    version = s._version
    assert s.mul_(2) is s and s._version == version + 1
    s.t_()
    check(s, 2 * x.T)
    t = fb.zeros_like(s)
    assert t.layout == "sparse_coo" and t._nnz() == 0 and t.shape == s.shape
    check(t.copy_(s), 2 * x.T)
    d = fb.ones(9, 6, dtype=fb.float64)
    np.testing.assert_array_equal(d.copy_(s).numpy(), 2 * x.T)
    assert s.zero_()._nnz() == 0
    s.sparse_resize_((20, 30), 2, 0)
    assert tuple(s.shape) == (20, 30)


def test_dtypes():
    for dtype in (fb.float16, fb.bfloat16, fb.float32, fb.complex64, fb.int32, fb.uint8, fb.bool):
        s = fb.sparse_coo_tensor([[0, 2]], fb.tensor([1, 1]).to(dtype), (3,))
        assert s.dtype is dtype and s.to_dense().dtype is dtype
        assert s.to_dense().to(fb.complex64).tolist() == [1, 0, 1]
    assert s.float().dtype is fb.float32 and s.to(fb.int64).to_dense().tolist() == [1, 0, 1]
    assert (fb.sparse_coo_tensor([[0]], [1], (2,)) + fb.sparse_coo_tensor([[1]], [1.5], (2,))).dtype is fb.float32


# ---- shown and stored
def test_shown_as_pytorch_does():
    s = fb.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0], (2, 3))
    assert repr(s) == (
        "tensor(indices=tensor([[0, 1, 1],\n"
        "                       [2, 0, 2]]),\n"
        "       values=tensor([3., 4., 5.]),\n"
        "       size=(2, 3), nnz=3, layout=flambeau.sparse_coo)"
    )
    assert repr(s.double().to_sparse_csr().requires_grad_()) == (
        "tensor(crow_indices=tensor([0, 1, 3]),\n"
        "       col_indices=tensor([2, 0, 2]),\n"
        "       values=tensor([3., 4., 5.]), size=(2, 3), nnz=3, dtype=flambeau.float64,\n"
        "       layout=flambeau.sparse_csr, requires_grad=True)"
    )
    assert repr(fb.sparse_coo_tensor((2, 3))) == (
        "tensor(indices=tensor([], size=(2, 0)),\n"
        "       values=tensor([], size=(0,)),\n"
        "       size=(2, 3), nnz=0, layout=flambeau.sparse_coo)"
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pickled_copied_saved(layout):
    s, x = matrix(layout)
    file = io.BytesIO()
    fb.save({"adjacency": s, "again": [s]}, file)
    file.seek(0)
    loaded = fb.load(file)
    s.requires_grad_()
    for twin in (
        pickle.loads(pickle.dumps(s)),
        copy.deepcopy(s),
        copy.copy(s),
        loaded["adjacency"],
        loaded["again"][0],
    ):
        assert twin is not s and twin.layout == layout
        np.testing.assert_array_equal(twin.detach().to_dense().numpy(), x)
    assert pickle.loads(pickle.dumps(s)).requires_grad


def test_a_modules_buffer():
    class Graph(fb.nn.Module):
        def __init__(self, a):
            super().__init__()
            self.register_buffer("a", a)

    s, x = matrix("sparse_csr")
    module, other = Graph(s), Graph(s * 0)
    other.load_state_dict(module.state_dict())
    check(other.a, x)
    assert other.float().a.dtype is fb.float32


# ---- refused
I, V = fb.tensor([[0, 1], [1, 0]]), fb.tensor([1.0, 2.0])
L = fb.tensor


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fb.sparse_coo_tensor(I, V, (1, 2)), r"in \[0, 1\), got 1"),
        (lambda: fb.sparse_coo_tensor(-I, V, (2, 2)), "got -1"),
        (lambda: fb.sparse_coo_tensor(I, V, (2, 2), check_invariants=False), None),
        (lambda: fb.sparse_coo_tensor(I, V[:1], (2, 2)), "nnz"),
        (lambda: fb.sparse_coo_tensor(I, V, (2, 2, 2)), "doesn't fit"),
        (lambda: fb.sparse_coo_tensor(I, V, (2, -2)), "negative"),
        (lambda: fb.sparse_coo_tensor(I[0], V, (2, 2)), "sparse_dim x nnz"),
        (lambda: fb.sparse_coo_tensor(I, V, (2, 2), is_coalesced=True), None),
        (lambda: fb.sparse_coo_tensor(I.flip(1), V, (2, 2), is_coalesced=True), "ascending"),
        (lambda: fb.sparse_csr_tensor(L([0, 2]), L([0, 1]), V, (2, 2)), "3 elements"),
        (lambda: fb.sparse_csr_tensor(L([0, 3, 2]), L([0, 1]), V, (2, 2)), "descend"),
        (lambda: fb.sparse_csr_tensor(L([1, 1, 2]), L([0, 1]), V, (2, 2)), "go from 0"),
        (lambda: fb.sparse_csr_tensor(L([0, 1, 3]), L([0, 1]), V, (2, 2)), "go from 0"),
        (lambda: fb.sparse_csr_tensor(L([0, 1, 2]), L([0, 5]), V, (2, 2)), "got 5"),
        (lambda: fb.sparse_csr_tensor(L([0, 1, 2]), L([0, -1]), V, (2, 2)), "got -1"),
        (lambda: fb.sparse_csr_tensor(L([0, 2, 2]), L([1, 0]), V, (2, 2)), "ascend"),
        (lambda: fb.sparse_csr_tensor(L([0, 2, 2]), L([1, 1]), V, (2, 2)), "duplicates"),
        (lambda: fb.sparse_csr_tensor(L([0, 1, 2]), L([0, 1]), fb.ones(3), (2, 2)), "same length"),
        (lambda: fb.sparse_csr_tensor(L([0.0, 1, 2]), L([0, 1]), V, (2, 2)), "int32 or int64"),
        (lambda: fb.sparse_csc_tensor(L([0, 1, 2]), L([0, 2]), V, (2, 2)), "got 2"),
        (lambda: fb.sparse_compressed_tensor(L([0, 1, 2]), L([0, 1]), V, (2, 2), layout="sparse_bsr"), "sparse_csr"),
    ],
)
def test_parts_that_dont_fit(make, message):
    if message is None:
        assert make()._nnz() == 2
    else:
        with pytest.raises(RuntimeError, match=message):
            make()


S = fb.sparse_coo_tensor(I, V, (2, 2))


@pytest.mark.parametrize(
    ("run", "kind", "message"),
    [
        (lambda: S.exp(), NotImplementedError, "exp: .*to_dense"),
        (lambda: S == S, NotImplementedError, "to_dense"),
        (lambda: fb.where(fb.ones(2, 2) > 0, S, S), NotImplementedError, "to_dense"),
        (lambda: S.max(), NotImplementedError, "to_dense"),
        (lambda: fb.softmax(S, 1), NotImplementedError, "to_dense"),
        (lambda: S.view(4), NotImplementedError, "to_dense"),
        (lambda: S.reshape(4), RuntimeError, "to_dense"),
        (lambda: S.data_ptr(), RuntimeError, "to_dense"),
        (lambda: memoryview(S), RuntimeError, "to_dense"),
        (lambda: S.numpy(), TypeError, "to_dense"),
        (lambda: np.asarray(S), TypeError, "to_dense"),
        (lambda: fb.to_dlpack(S), RuntimeError, "to_dense"),
        (lambda: S + 1, RuntimeError, "to_dense"),
        (lambda: S + fb.ones(2, 2), RuntimeError, r"add\(dense, sparse\)"),
        (lambda: S + fb.sparse_coo_tensor((2, 3)), RuntimeError, "shapes"),
        (lambda: S * fb.ones(3, 2, 2), RuntimeError, "broadcast"),
        (lambda: S / fb.ones(2, 2), RuntimeError, "numbers"),
        (lambda: S**0, RuntimeError, "above 0"),
        (lambda: S.clone().fill_(1), NotImplementedError, "to_dense"),
        (lambda: S.__setitem__(0, 1), TypeError, "to_dense"),
        (lambda: fb.sparse_coo_tensor(I.flip(1), V).values(), RuntimeError, "coalesce"),
        (lambda: S.crow_indices(), RuntimeError, "sparse_csr"),
        (lambda: fb.ones(2).indices(), RuntimeError, "strided"),
        (lambda: fb.ones(2).coalesce(), RuntimeError, "strided"),
        (lambda: S.to_sparse_csr().coalesce(), RuntimeError, "sparse_csr"),
        (lambda: S[5], IndexError, "out of bounds"),
        (lambda: S.permute(0, 0), RuntimeError, "different dimensions"),
        (lambda: S.item(), RuntimeError, "one element"),
        (lambda: S.clone().add_(fb.ones(2, 2)), RuntimeError, "not supported"),
        (lambda: fb.ones(2, 2).long().add_(S), RuntimeError, "cast"),
        (lambda: fb.ones(2, 2).sparse_mask(fb.ones(2, 2)), RuntimeError, "strided"),
        (lambda: SparseTensor(2, 3), TypeError, "sparse_coo_tensor"),
    ],
)
def test_operations_without_a_sparse_meaning(run, kind, message):
    before = S.to_dense()
    with pytest.raises(kind, match=message):
        run()
    assert bool((S.to_dense() == before).all())


def test_indices_that_were_written_to_are_noticed():
    s = fb.sparse_coo_tensor(I, V, (2, 2))
    s._indices()[0, 0] = 10**6
    for use in (s.to_dense, s.coalesce, lambda: s @ fb.ones(2, 2)):
        with pytest.raises(RuntimeError, match="changed in place"):
            use()


def test_a_forged_pickle_is_refused():
    s = fb.sparse_coo_tensor(I, V, (2, 2))
    function, (layout, _, *rest) = s.__reduce_ex__(2)
    with pytest.raises(RuntimeError, match="must be in"):
        function(layout, (I * 10**9,), *rest)
