"""Scans, sorting, order statistics, unique, searches: against NumPy, NaN as PyTorch has it, under autograd."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import array, both_orders, leaf, same

import flambeau as fb

RNG = np.random.default_rng(0)
NAN, INF = float("nan"), float("inf")
REAL = [
    fb.bool, fb.uint8, fb.int8, fb.int16, fb.int32, fb.int64, fb.float16, fb.bfloat16, fb.float32, fb.float64,
]  # fmt: skip


# ---- scans
SHAPES = [
    ((), 0),
    ((1,), 0),
    ((7,), 0),
    ((5, 7, 6), 0),
    ((5, 7, 6), 1),
    ((5, 7, 6), 2),
    ((3, 9000), 1),
    ((9000, 3), 0),
    ((2, 5000, 20), 1),
]


def reference(function, x: np.ndarray, dim: int) -> np.ndarray:
    return function(x, axis=dim) if x.ndim else x


@pytest.mark.parametrize("shape_dim", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scans_along_any_dimension(shape_dim, dtype):
    shape, dim = shape_dim
    x = RNG.standard_normal(shape).astype(dtype)
    y = (1 + x / 100).astype(dtype)
    mine, other = (
        fb.tensor(v.tolist(), dtype=fb.float32 if dtype is np.float32 else fb.float64).reshape(shape) for v in (x, y)
    )
    double = x.astype(np.float64)
    tight = 2e-6 if dtype is np.float32 else 1e-12
    scale = np.maximum(1, np.abs(reference(np.cumsum, np.abs(double), dim)))
    assert (np.abs(array(mine.cumsum(dim)) - reference(np.cumsum, double, dim)) <= tight * scale).all()
    np.testing.assert_allclose(
        array(other.cumprod(dim)), reference(np.cumprod, y.astype(np.float64), dim), rtol=tight * 2
    )
    np.testing.assert_allclose(
        array(mine.logcumsumexp(dim)), reference(np.logaddexp.accumulate, double, dim), rtol=tight * 20, atol=tight * 20
    )
    for method, fold in (("cummax", np.maximum), ("cummin", np.minimum)):
        values, indices = getattr(mine, method)(dim)
        same(values, reference(fold.accumulate, x, dim))
        if shape:
            same(mine.gather(dim, indices), array(values))


def test_running_float32_is_kept_in_float64():
    x = fb.full((20_000,), 0.1)
    exact = float(np.float32(0.1)) * 20_000
    assert abs(x.cumsum(0)[-1].item() - exact) <= 2e-7 * exact


@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_scans_of_every_dtype(dtype):
    x = fb.tensor([[2, 0, 1, 3], [1, 1, 0, 2]]).to(dtype)
    e = array(x).astype(float)
    whole = not dtype.is_floating_point
    assert x.cumsum(1).dtype is (fb.int64 if whole else dtype)
    np.testing.assert_array_equal(array(x.cumsum(1)), np.cumsum(e, 1))
    np.testing.assert_array_equal(array(x.cumprod(0)), np.cumprod(e, 0))
    np.testing.assert_array_equal(array(x.cummax(1).values), np.maximum.accumulate(array(x), 1))
    assert x.cummin(0).values.dtype is dtype
    assert x.cumsum(0, dtype=fb.float64).dtype is fb.float64


def test_complex_scans():
    x = fb.tensor([1 + 1j, 2j, -1.0])
    assert x.cumsum(0).tolist() == [1 + 1j, 1 + 3j, 3j]
    assert x.cumprod(0).tolist() == [1 + 1j, -2 + 2j, 2 - 2j]
    with pytest.raises(RuntimeError, match="complex numbers have no order"):
        x.cummax(0)


def test_ties_and_nan_in_running_extremes():
    x = fb.tensor([3.0, NAN, 5.0, NAN, 1.0])
    values, indices = x.cummax(0)
    assert indices.tolist() == [0, 1, 1, 3, 3] and array(values)[0] == 3 and np.isnan(array(values)[1:]).all()
    assert fb.tensor([1, 1, 0]).cummax(0).indices.tolist() == [0, 1, 1]
    assert fb.tensor([0, 1, 0]).cummin(0).indices.tolist() == [0, 0, 2]
    assert fb.tensor([-INF, -INF, 1.0, INF, 2.0]).logcumsumexp(0).tolist() == [-INF, -INF, 1.0, INF, INF]


def test_empty_scans():
    assert fb.zeros(0).cumsum(0).shape == (0,)
    assert fb.zeros(2, 0).cumprod(0).shape == (2, 0)


def test_in_place_and_out():
    x = fb.tensor([1.0, 2.0])
    assert x.cumsum_(0) is x and x.tolist() == [1, 3]
    out = fb.empty(0)
    fb.cumprod(x, 0, out=out)
    assert out.tolist() == [1, 3]


def test_diff():
    x = RNG.standard_normal((3, 5))
    mine = fb.from_numpy(x)
    np.testing.assert_allclose(array(mine.diff(n=2)), np.diff(x, 2))
    np.testing.assert_allclose(array(mine.diff(dim=0, prepend=mine[:1])), np.diff(x, axis=0, prepend=x[:1]))
    assert fb.tensor([True, False, False]).diff().tolist() == [True, False]
    assert mine.diff(n=9).shape == (3, 0)
    with pytest.raises(RuntimeError, match="at least one dimension"):
        fb.tensor(1.0).diff()


def zeros_among() -> fb.Tensor:
    return fb.tensor(
        [[1.5, 0.0, 2.0, 0.0], [0.0, 3.0, -1.0, 0.5], [2.0, 1.0, 0.0, 4.0]], dtype=fb.float64, requires_grad=True
    )


SCAN_GRADIENTS = {
    "cumsum": lambda x: x.cumsum(0),
    "cumprod": lambda x: x.cumprod(1),
    "logcumsumexp": lambda x: x.logcumsumexp(1),
    "cummax": lambda x: x.cummax(1).values,
    "cummin": lambda x: x.cummin(0).values,
    "diff": lambda x: x.diff(2),
}


@pytest.mark.parametrize("name", SCAN_GRADIENTS)
def test_scan_gradients(name):
    both_orders(SCAN_GRADIENTS[name], leaf(3, 4))


@pytest.mark.parametrize("dim", [0, 1])
def test_products_with_zeros_have_exact_gradients(dim):
    both_orders(lambda x: x.cumprod(dim), zeros_among())


def test_long_scans_go_back():
    x = fb.ones(10_000, requires_grad=True)
    x.cumsum(0)[9_999].backward()
    assert x.grad.tolist() == [1.0] * 10_000


def test_scan_bits_do_not_depend_on_threads_or_neighbours(threads):
    x = fb.from_numpy(RNG.standard_normal((40, 9000)).astype(np.float32))
    results = []
    for n in (1, 2, 3, 4):
        threads(n)
        results.append([x.cumsum(1), x.cumsum(0), x.cumprod(1), x.logcumsumexp(1)])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert (a == b).all().item()
    assert (x[7:8].cumsum(1) == results[0][0][7:8]).all().item()


# ---- sorting
def special(n: int, dtype: str) -> np.ndarray:
    """Ties, signed zeros, infinities and NaN among n numbers."""
    x = (RNG.standard_normal(n) * 20).round(1).astype(dtype)
    if np.dtype(dtype).kind == "f":
        for start, step, value in ((0, 7, NAN), (1, 9, 0.0), (2, 9, -0.0), (3, 11, INF), (4, 13, -INF)):
            x[start::step] = value
    return x


@pytest.mark.parametrize("n", [1, 2, 33, 64, 65, 300, 70_000])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"])
def test_sorting_is_stable_with_nan_last(n, dtype):
    x = special(n, dtype)
    mine = fb.from_numpy(x)
    order = np.argsort(x, kind="stable")
    values, indices = mine.sort()
    same(indices, order)
    same(values, x[order])
    reverse = n - 1 - np.argsort(x[::-1], kind="stable")[::-1]
    same(mine.argsort(descending=True), reverse)
    k = min(n, 10)
    same(mine.topk(k).indices, reverse[:k])
    same(mine.topk(k, largest=False).indices, order[:k])


def test_bfloat16_sorts_by_value():
    x = fb.tensor([3.0, -1.0, NAN, 2.5, -INF, 0.0]).bfloat16()
    assert x.argsort().tolist() == [4, 1, 5, 3, 0, 2]


@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("shape", [(4, 5, 6), (3, 100, 4), (2, 3, 500)])
def test_sorting_along_any_dimension(shape, dim):
    x = RNG.integers(0, 50, shape)
    mine = fb.from_numpy(x)
    same(mine.sort(dim).values, np.sort(x, dim))
    same(mine.argsort(dim), np.argsort(x, dim, kind="stable"))
    same(mine.permute(2, 0, 1).sort(0).values, np.sort(x.transpose(2, 0, 1), 0))
    same(mine.topk(2, dim).values, np.flip(np.sort(x, dim), dim).take([0, 1], dim))
    same(mine.kthvalue(2, dim).values, np.sort(x, dim).take(1, dim))
    same(mine.median(dim, True).values, np.sort(x, dim).take([(shape[dim] - 1) // 2], dim))
    same(fb.msort(mine), np.sort(x, 0))


def test_the_few_best_of_a_long_row():
    x = RNG.standard_normal((3, 30_000)).astype(np.float32)
    for largest in (True, False):
        values, indices = fb.from_numpy(x).topk(20, largest=largest)
        order = np.argsort(-x if largest else x, -1, kind="stable")[:, :20]
        same(indices, order)
        same(values, np.take_along_axis(x, order, -1))
    x[1, 17] = NAN
    assert fb.from_numpy(x).topk(3).indices[1, 0].item() == 17
    assert not fb.from_numpy(x).topk(3, largest=False).values.isnan().any().item()


def test_named_results_and_numbers():
    found = fb.tensor(3.0).sort()
    assert found.values.item() == 3 and found.indices.item() == 0
    assert fb.tensor(3.0).topk(1).values.shape == ()
    assert fb.tensor(2.0).median(0).indices.item() == 0
    assert fb.zeros(0).sort().values.shape == (0,)
    assert fb.zeros(2, 0).argsort().shape == (2, 0)


def test_medians():
    x = RNG.standard_normal((4, 7))
    x[1, 2] = x[1, 5] = NAN
    mine = fb.from_numpy(x)
    assert np.isnan(mine.median().item())
    assert mine.median(1).indices[1].item() == 2
    assert mine.nanmedian(1).values[1].item() == np.sort(x[1])[2]
    assert mine.nanmedian().item() == np.sort(x.reshape(-1))[12]
    assert np.isnan(fb.zeros(0).median().item())
    with pytest.raises(IndexError, match="dimension 0 of shape"):
        fb.zeros(0, 3).median(0)


def test_mode():
    x = RNG.integers(0, 5, (6, 40))
    values, indices = fb.from_numpy(x).mode(1)
    for row, v, i in zip(x, values.tolist(), indices.tolist(), strict=True):
        counts = np.bincount(row)
        assert v == counts.argmax() and i == np.flatnonzero(row == v)[-1]
    assert fb.tensor(3.0).mode().values.item() == 3
    assert fb.tensor([[5], [6]]).mode(1).values.tolist() == [5, 6]


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantiles(interpolation):
    x = RNG.standard_normal((3, 8, 5))
    qs = [0.0, 0.13, 0.5, 0.77, 1.0]
    mine = fb.from_numpy(x)
    for dim in (0, 1, 2, None):
        for keepdim in (False, True):
            y = mine.quantile(fb.tensor(qs, dtype=fb.float64), dim, keepdim, interpolation=interpolation)
            np.testing.assert_allclose(
                array(y), np.quantile(x, qs, dim, keepdims=keepdim, method=interpolation), rtol=1e-12
            )
    assert mine.quantile(0.3, 1).shape == (3, 5)
    x[0, 1, 2] = NAN
    np.testing.assert_allclose(array(fb.from_numpy(x).quantile(0.3, 1)), np.quantile(x, 0.3, 1), rtol=1e-12)
    np.testing.assert_allclose(array(fb.from_numpy(x).nanquantile(0.3, 1)), np.nanquantile(x, 0.3, 1), rtol=1e-12)


SORT_GRADIENTS = {
    "sort": lambda x: x.sort(0, descending=True).values,
    "topk": lambda x: x.topk(2, 1).values,
    "kthvalue": lambda x: x.kthvalue(2, 0).values,
    "median": lambda x: x.median(1).values,
    "median of all": lambda x: x.median(),
    "mode": lambda x: x.mode(1).values,
    "quantile": lambda x: x.quantile(0.4, 1),
}


@pytest.mark.parametrize("name", SORT_GRADIENTS)
def test_sort_gradients(name):
    both_orders(SORT_GRADIENTS[name], leaf(3, 4))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x.topk(5, 1), RuntimeError, "k = 5 is out of range for dimension 1 of length 4"),
        (lambda x: x.kthvalue(0), RuntimeError, "k = 0 is out of range"),
        (lambda x: x.sort(2), IndexError, "Dimension out of range"),
        (lambda x: x.to(fb.complex64).sort(), RuntimeError, "complex numbers have no order"),
        (lambda x: x.quantile(1.5), RuntimeError, r"q must be in \[0, 1\], got 1.5"),
        (lambda x: x.long().quantile(0.5), RuntimeError, "float32 or float64"),
        (lambda x: x.quantile(fb.tensor(0.5, dtype=fb.float64)), RuntimeError, "q must be a number or a vector"),
        (lambda x: x.quantile(0.5, interpolation="cubic"), RuntimeError, "one of linear, lower"),
        (lambda x: x.long().logcumsumexp(0), RuntimeError, "a floating or complex tensor is needed"),
        (lambda x: x.cumsum(2), IndexError, "Dimension out of range"),
        (lambda x: fb.histc(x, 0), RuntimeError, "number of bins must be positive"),
        (lambda x: fb.histc(x, 4, 3, 0), RuntimeError, "max must not be smaller than min"),
        (lambda x: fb.bucketize(x, x), RuntimeError, "boundaries must be a vector"),
        (lambda x: fb.searchsorted(x, x[0]), RuntimeError, "rows for values of the same leading shape"),
        (lambda x: fb.searchsorted(x[0], x, side="left", right=True), RuntimeError, "agree with right"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call(fb.zeros(3, 4))


# ---- unique
def test_unique():
    x = RNG.integers(-5, 5, (30, 20))
    values, inverse, counts = fb.from_numpy(x).unique(return_inverse=True, return_counts=True)
    expected = np.unique(x, return_inverse=True, return_counts=True)
    same(values, expected[0])
    same(inverse, expected[1].reshape(x.shape))
    same(counts, expected[2])
    same(fb.from_numpy(x).unique(), expected[0])
    assert fb.zeros(0).unique().shape == (0,)
    values, counts = fb.tensor([NAN, 1.0, NAN]).unique(return_counts=True)
    assert counts.tolist() == [1, 1, 1] and values[0].item() == 1


@pytest.mark.parametrize("dim", [0, 1])
def test_unique_rows_and_columns(dim):
    x = RNG.integers(0, 2, (12, 3) if dim == 0 else (3, 12)).astype(np.float32)
    values, inverse, counts = fb.from_numpy(x).unique(return_inverse=True, return_counts=True, dim=dim)
    expected = np.unique(x, axis=dim, return_inverse=True, return_counts=True)
    same(values, expected[0])
    same(inverse, expected[1].reshape(-1))
    same(counts, expected[2])


def test_unique_consecutive():
    values, inverse, counts = fb.tensor([1, 1, 2, 2, 1]).unique_consecutive(True, True)
    assert (values.tolist(), inverse.tolist(), counts.tolist()) == ([1, 2, 1], [0, 0, 1, 1, 2], [2, 2, 1])
    assert fb.tensor([[1, 1], [1, 1], [2, 1]]).unique_consecutive(dim=0).tolist() == [[1, 1], [2, 1]]


# ---- searches
@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_searchsorted(n, right):
    edges = np.sort(RNG.integers(0, 50, n)).astype(np.float64)
    x = np.concatenate([RNG.integers(-2, 52, 100), [INF, -INF, NAN]])
    found = fb.searchsorted(fb.from_numpy(edges), fb.from_numpy(x), right=right)
    same(found, np.searchsorted(edges, x, "right" if right else "left"))
    same(fb.bucketize(fb.from_numpy(x), fb.from_numpy(edges), right=right), array(found))


def test_searchsorted_rows_numbers_and_sorters():
    rows = fb.tensor([[1, 3, 5], [2, 4, 6]])
    assert fb.searchsorted(rows, fb.tensor([[3, 9], [3, 0]])).tolist() == [[1, 3], [1, 0]]
    assert fb.searchsorted(rows[0], 3).item() == 1
    assert fb.searchsorted(rows[0], 3.5).item() == 2
    assert fb.searchsorted(fb.tensor([3, 1, 5]), fb.tensor([2]), sorter=fb.tensor([1, 0, 2])).tolist() == [1]
    assert fb.searchsorted(rows[0], fb.tensor([1]), out_int32=True).dtype is fb.int32
    assert fb.searchsorted(fb.zeros(0), fb.ones(2)).tolist() == [0, 0]


def test_histograms():
    x = RNG.standard_normal(3000)
    same(fb.histc(fb.from_numpy(x), 20, -2, 2), np.histogram(x, 20, (-2, 2))[0].astype(float))
    same(fb.histc(fb.from_numpy(x), 7), np.histogram(x, 7)[0].astype(float))
    hist, edges = fb.histogram(fb.from_numpy(x), fb.tensor([-1.0, 0.0, 0.5, 3.0], dtype=fb.float64), density=True)
    expected = np.histogram(x, [-1.0, 0.0, 0.5, 3.0], density=True)
    np.testing.assert_allclose(array(hist), expected[0])
    assert edges.tolist() == expected[1].tolist()
    assert fb.histc(fb.ones(3), 4).tolist() == [0, 0, 3, 0]
    assert fb.histc(fb.zeros(0), 2).tolist() == [0, 0]


def test_isin():
    x, y = RNG.integers(0, 20, (4, 5)), RNG.integers(0, 20, 6)
    same(fb.isin(fb.from_numpy(x), fb.from_numpy(y)), np.isin(x, y))
    same(fb.isin(fb.from_numpy(x), fb.from_numpy(y), invert=True), ~np.isin(x, y))
    assert fb.isin(fb.tensor([1, 2]), fb.zeros(0, dtype=fb.int64)).tolist() == [False, False]


@pytest.mark.parametrize("rows", [1, 3, 4, 6, 8, 9])
@pytest.mark.parametrize("name", ["cumsum", "cumprod", "logcumsumexp", "cummax"])
def test_a_row_does_not_depend_on_the_rows_beside_it(name, rows):
    x = fb.randn(rows, 37)
    scan = lambda t: getattr(fb, name)(t, -1)[0] if name == "cummax" else getattr(fb, name)(t, -1)
    whole = scan(x)
    assert all(fb.equal(whole[i], scan(x[i])) for i in range(rows))
    if name != "cummax":
        reference = np.cumprod(x.double().numpy(), 1) if name == "cumprod" else x.double().numpy().cumsum(1)
        if name == "logcumsumexp":
            reference = np.log(np.exp(x.double().numpy()).cumsum(1))
        np.testing.assert_allclose(whole.numpy(), reference, rtol=1e-5, atol=1e-5)
