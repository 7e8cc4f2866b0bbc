"""Indexing, gather and scatter, masks: against NumPy, at the edges, under autograd, with any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import array, both_orders, leaf, same

import flambeau as fb
from flambeau.autograd import gradcheck

DTYPES = [
    fb.bool, fb.uint8, fb.int8, fb.int16, fb.int32, fb.int64, fb.float16, fb.bfloat16, fb.float32, fb.float64,
    fb.complex64, fb.complex128,
]  # fmt: skip
RNG = np.random.default_rng(0)


# ---- x[index]
X = RNG.standard_normal((4, 5, 6))
I3, I5 = np.array([2, 0, 3]), np.array([[4, 0, -5], [1, 1, 2]])
MASK4, MASK45, MASK456 = np.array([True, False, True, True]), RNG.random((4, 5)) > 0.5, RNG.random((4, 5, 6)) > 0.5

# NumPy and PyTorch agree where no integer stands beside an index array.
ADVANCED = {
    "one": (I3,),
    "matrix": (slice(None), I5),
    "last": (Ellipsis, I3),
    "two": (I3, I3),
    "broadcast": (I3[:, None], np.array([0, 1])),
    "apart": (I3, slice(None), I3),
    "apart, ellipsis": (I3, Ellipsis, I3),
    "together": (slice(None), I3, I3),
    "slices": (slice(1, 4), I3, slice(None, None, 2)),
    "new axis between": (I3, None, I3),
    "new axis before": (None, I3),
    "mask": (MASK4,),
    "mask of two": (MASK45,),
    "mask of all": (MASK456,),
    "mask and slice": (MASK45, slice(2, 5)),
    "mask in the middle": (slice(None), np.array([True, False, True, False, True])),
    "mask beside index": (MASK4, np.array([0, 1, 2])),
    "empty": (np.zeros(0, np.int64),),
    "nothing true": (np.zeros((4, 5), bool),),
    "negative": (np.array([-1, -4]),),
    "three": (I3, I3, I3),
}


def tensors(index: tuple) -> tuple:
    return tuple(
        fb.tensor(i.tolist(), dtype=fb.bool if i.dtype == bool else fb.int64).reshape(i.shape)
        if isinstance(i, np.ndarray)
        else i
        for i in index
    )


@pytest.mark.parametrize("name", ADVANCED)
def test_reading(name):
    index = ADVANCED[name]
    same(fb.from_numpy(X)[tensors(index)], X[index])
    same(fb.from_numpy(X)[index], X[index])  # arrays as they are


@pytest.mark.parametrize("name", ADVANCED)
@pytest.mark.parametrize("strides", ["contiguous", "transposed", "stepped"])
def test_writing(name, strides):
    index = ADVANCED[name]
    whole = {"contiguous": X, "transposed": X.transpose(2, 0, 1).copy(), "stepped": np.repeat(X, 2, 1)}[strides].copy()
    mine = fb.from_numpy(whole.copy())
    views = {
        "contiguous": (lambda t: t),
        "transposed": (lambda t: t.permute(1, 2, 0) if isinstance(t, fb.Tensor) else t.transpose(1, 2, 0)),
        "stepped": (lambda t: t[:, ::2]),
    }
    same(views[strides](mine)[tensors(index)], views[strides](whole)[index])
    values = np.arange(float(X[index].size)).reshape(X[index].shape)
    views[strides](whole)[index] = values
    views[strides](mine)[tensors(index)] = fb.from_numpy(values)
    same(mine, whole)
    views[strides](whole)[index] = -1
    views[strides](mine)[tensors(index)] = -1
    same(mine, whole)


def test_integers_beside_tensors_are_taken_first_as_in_pytorch():
    x, i = fb.from_numpy(X), fb.tensor([1, 2])
    same(x[0, :, i], X[0][:, [1, 2]])
    same(x[fb.tensor(0), :, i], X[0][:, [1, 2]])
    same(x[:, -1, i], X[:, -1][:, [1, 2]])


def test_lists_ranges_and_booleans():
    x = fb.from_numpy(X)
    same(x[[2, 0]], X[[2, 0]])
    same(x[range(2)], X[:2])
    same(x[[True, False, False, True]], X[[0, 3]])
    same(x[[[0, 1], [1, 2]]], X[[0, 1], [1, 2]])  # a short list of lists is a tuple
    same(x[True], X[None])
    assert x[False].shape == (0, 4, 5, 6)
    assert x[[]].shape == (0, 5, 6)
    same(x[np.int64(2)], X[2])
    same(x[fb.tensor([1, 0, 1, 0], dtype=fb.uint8)], X[[0, 2]])
    same(x[fb.tensor([3, 1], dtype=fb.int32)], X[[3, 1]])


indices = st.integers(-3, 2)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_mixture_of_indices(data):
    """Slices, new axes, ellipses, index arrays and masks in any order, read and written."""
    x = np.arange(3.0 * 3 * 3 * 3).reshape(3, 3, 3, 3)
    shape = data.draw(st.sampled_from([(2,), (1,), (2, 2)]))
    parts: list = []
    left, ellipsis, masks = 4, False, 0
    while left and len(parts) < 6 and data.draw(st.integers(0, 5)):
        kind = data.draw(st.sampled_from(["slice", "array", "none", "ellipsis", "mask"]))
        if kind == "slice":
            parts.append(
                slice(data.draw(indices), data.draw(st.none() | st.integers(0, 3)), data.draw(st.integers(1, 2)))
            )
        elif kind == "array":
            parts.append(
                np.array(
                    data.draw(st.lists(indices, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
                ).reshape(shape)
            )
        elif kind == "mask" and not masks and shape == (1,):
            masks += 1
            parts.append(np.array(data.draw(st.lists(st.booleans(), min_size=3, max_size=3))))
        elif kind == "none":
            parts.append(None)
            continue
        elif kind == "ellipsis" and not ellipsis:
            ellipsis = True
            parts.append(Ellipsis)
            continue
        else:
            continue
        left -= 1
    if not left:
        # An ellipsis that stands for nothing: NumPy takes the arrays on its sides for apart, PyTorch for neighbours.
        parts = [p for p in parts if p is not Ellipsis]
    index = tuple(parts)
    expected = x[index]
    same(fb.from_numpy(x)[tensors(index)], expected)
    mine = fb.from_numpy(x.copy())
    x[index] = 7.0
    mine[tensors(index)] = 7.0
    same(mine, x)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (lambda: fb.tensor([5]), "index 5 is out of bounds for dimension 0 with size 4"),
        (lambda: fb.tensor([-5]), "index -5 is out of bounds for dimension 0 with size 4"),
        (lambda: (slice(None), fb.tensor([0, 9])), "index 9 is out of bounds for dimension 1 with size 5"),
        (lambda: (fb.tensor([0]),) * 4, "too many indices for tensor of dimension 3"),
        (lambda: fb.tensor([0.5]), "must be long, int, byte or bool tensors, got flambeau.float32"),
        (lambda: fb.tensor([1], dtype=fb.int8), "must be long, int, byte or bool tensors, got flambeau.int8"),
        (lambda: fb.tensor([True, False]), r"shape of the mask \[2\] at index 0 doesn't match"),
        (lambda: (fb.tensor([0, 1]), fb.tensor([0, 1, 2])), r"shapes \[2\], \[3\] don't broadcast"),
        (lambda: "a", "valid indices, got str"),
    ],
)
def test_wrong_indices_change_nothing(index, message):
    x = fb.from_numpy(X.copy())
    with pytest.raises(IndexError, match=message):
        x[index()]
    with pytest.raises(IndexError, match=message):
        x[index()] = 1.0
    same(x, X)


def test_values_that_do_not_fit():
    x = fb.zeros(3, 4)
    with pytest.raises(RuntimeError, match=r"shape \[3\] can't be broadcast to the indexed shape \[2, 4\]"):
        x[fb.tensor([0, 1])] = fb.zeros(3)
    with pytest.raises(RuntimeError, match="can't be assigned to 12 elements"):
        x[x == 0] = fb.zeros(5)
    x[fb.tensor([0, 1])] = fb.ones(1, 1, 2, 4)
    assert x.sum().item() == 8


def test_writing_from_the_same_memory():
    x = fb.arange(6)
    x[fb.tensor([1, 2, 3])] = x[:3]
    assert x.tolist() == [0, 0, 1, 2, 4, 5]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(dtype):
    values = np.array([[2, 0, 1], [1, 3, 0]])
    x = fb.tensor(values.tolist()).to(dtype)
    expected = array(x)
    i = fb.tensor([1, 0, 1])
    same(x[i], expected[[1, 0, 1]])
    same(x[x != 0], expected[expected != 0])
    same(x.gather(1, fb.tensor([[0], [2]])), expected[[0, 1], [0, 2]][:, None])
    same(x.t()[i], expected.T[[1, 0, 1]])
    assert x.nonzero().tolist() == np.argwhere(expected).tolist()
    y = x.clone()
    y[i[:2]] = x.flip(0)
    same(y, expected)
    summed = x.index_add(0, fb.tensor([0, 0]), x)
    total = expected[0] | expected[0] | expected[1] if dtype is fb.bool else expected[0] * 2 + expected[1]
    same(summed, np.stack([total, expected[1]]))
    assert summed.dtype is dtype


# ---- gather and scatter
def test_gather_and_scatter_against_numpy():
    for shape, dim in [((7,), 0), ((4, 5), 0), ((4, 5), 1), ((3, 4, 70), 1), ((3, 40, 2), 1), ((2, 3, 50), 2)]:
        x, g = RNG.standard_normal(shape), RNG.standard_normal(shape)
        index = RNG.integers(0, shape[dim], shape)
        same(fb.from_numpy(x).gather(dim, fb.from_numpy(index)), np.take_along_axis(x, index, dim))
        expected = x.copy()
        for place in np.ndindex(*shape):  # in order, the last of equals stays
            target = (*place[:dim], index[place], *place[dim + 1 :])
            expected[target] = g[place]
        same(fb.from_numpy(x).scatter(dim, fb.from_numpy(index), fb.from_numpy(g)), expected)
        expected = x.copy()
        for place in np.ndindex(*shape):
            target = (*place[:dim], index[place], *place[dim + 1 :])
            expected[target] += g[place]
        same(fb.from_numpy(x).scatter_add(dim, fb.from_numpy(index), fb.from_numpy(g)), expected)


def test_smaller_index_than_tensor():
    x, src = np.arange(12.0).reshape(3, 4), -np.ones((3, 4))
    i = fb.tensor([[0, 3], [1, 1]])
    same(fb.from_numpy(x).gather(1, i), np.array([[0.0, 3.0], [5.0, 5.0]]))
    y = fb.from_numpy(x).scatter(1, i, fb.from_numpy(src))
    x[0, [0, 3]] = x[1, 1] = -1
    same(y, x)


def test_scatter_modes():
    x = fb.full((2, 3), 2.0)
    i = fb.tensor([[0, 0], [2, 1]])
    assert x.scatter(1, i, 5.0).tolist() == [[5, 2, 2], [2, 5, 5]]
    assert x.scatter(1, i, 5.0, reduce="add").tolist() == [[12, 2, 2], [2, 7, 7]]
    assert x.scatter(1, i, 5.0, reduce="multiply").tolist() == [[50, 2, 2], [2, 10, 10]]
    with pytest.raises(RuntimeError, match="'add' or 'multiply', got 'max'"):
        x.scatter(1, i, 5.0, reduce="max")


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("how", ["sum", "prod", "mean", "amax", "amin"])
def test_scatter_reduce(how, include_self):
    x, src = RNG.standard_normal(4), RNG.standard_normal(7)
    index = np.array([0, 2, 0, 0, 3, 2, 0])
    fold = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}[how]
    expected = x.copy()
    for k in range(4):
        met = [*([x[k]] if include_self else []), *src[index == k]]
        expected[k] = fold(met) if met else x[k]
    y = fb.from_numpy(x).scatter_reduce(0, fb.from_numpy(index), fb.from_numpy(src), how, include_self=include_self)
    np.testing.assert_allclose(array(y), expected, rtol=1e-12)
    z = fb.from_numpy(x).index_reduce(0, fb.from_numpy(index), fb.from_numpy(src), how, include_self=include_self)
    same(z, array(y))
    both_orders(
        lambda x, s: x.scatter_reduce(0, fb.from_numpy(index), s, how, include_self=include_self),
        leaf(4, seed=1),
        leaf(7, seed=2),
    )


def test_products_with_zeros_have_exact_gradients():
    zeros = fb.tensor([0.0, 2.0, 0.0, 3.0], dtype=fb.float64, requires_grad=True)
    src = fb.tensor([2.0, 0.0, 0.0, 5.0, 0.0], dtype=fb.float64, requires_grad=True)
    i = fb.tensor([0, 1, 2, 3, 3])
    assert gradcheck(lambda x, s: x.scatter_reduce(0, i, s, "prod"), (zeros, src))


def test_index_select_add_copy_fill():
    x = RNG.standard_normal((4, 5, 3))
    i = np.array([3, 0, 3])
    for d in range(3):
        k = i % x.shape[d]
        same(fb.from_numpy(x).index_select(d, fb.from_numpy(k)), np.take(x, k, d))
        source = RNG.standard_normal(np.take(x, k, d).shape)
        expected = np.moveaxis(x.copy(), d, 0)
        for place, part in zip(k, np.moveaxis(source, d, 0), strict=True):
            expected[place] += 2 * part
        same(
            fb.from_numpy(x).index_add(d, fb.from_numpy(k), fb.from_numpy(source), alpha=2), np.moveaxis(expected, 0, d)
        )
        expected = np.moveaxis(x.copy(), d, 0)
        expected[k] = np.moveaxis(source, d, 0)
        same(fb.from_numpy(x).index_copy(d, fb.from_numpy(k), fb.from_numpy(source)), np.moveaxis(expected, 0, d))
        expected = np.moveaxis(x.copy(), d, 0)
        expected[k - x.shape[d]] = 9.0
        same(fb.from_numpy(x).index_fill(d, fb.from_numpy(k - x.shape[d]), 9.0), np.moveaxis(expected, 0, d))


def test_flat_places():
    x = np.arange(12.0).reshape(3, 4)
    same(fb.from_numpy(x).take(fb.tensor([[0, -1], [5, 5]])), np.array([[0.0, 11.0], [5.0, 5.0]]))
    y = fb.from_numpy(x.copy()).t()
    y.put_(fb.tensor([1, -1, 1]), fb.tensor([100.0, 200.0, 300.0], dtype=fb.float64), accumulate=True)
    assert y.reshape(-1).tolist()[:2] == [0.0, 404.0]
    assert y[-1, -1].item() == 211.0


@pytest.mark.parametrize(
    "call",
    [
        lambda x, i: x.gather(0, i), lambda x, i: x.scatter(0, i, 1.0), lambda x, i: x.scatter_(0, i, 1.0),
        lambda x, i: x.scatter_add_(0, i, fb.ones(1)), lambda x, i: x.index_add_(0, i, fb.ones(1)),
        lambda x, i: x.index_select(0, i), lambda x, i: x.index_copy_(0, i, fb.ones(1)),
        lambda x, i: x.index_fill_(0, i, 1.0), lambda x, i: x.take(i), lambda x, i: x.put_(i, fb.ones(1)),
        lambda x, i: x.scatter_reduce_(0, i, fb.ones(1), "sum"), lambda x, i: x.index_put_((i,), fb.ones(1)),
        lambda x, i: fb.embedding(x.reshape(3, 1), i), lambda x, i: x.take_along_dim(i, 0),
    ],
)  # fmt: skip
def test_out_of_bounds_is_found_before_anything_is_written(call):
    x = fb.zeros(3)
    with pytest.raises(IndexError, match="index 3 is out of bounds for dimension 0 with size 3"):
        call(x, fb.tensor([3]))
    assert x.tolist() == [0, 0, 0]


def test_wrong_arguments_say_what_is_wrong():
    x = fb.zeros(3, 4)
    with pytest.raises(RuntimeError, match="as many dimensions as x"):
        x.gather(1, fb.tensor([0]))
    with pytest.raises(RuntimeError, match="may exceed x"):
        x.gather(1, fb.zeros(4, 1, dtype=fb.int64))
    with pytest.raises(RuntimeError, match="exceeds src"):
        x.scatter(1, fb.zeros(1, 5, dtype=fb.int64), x)
    with pytest.raises(RuntimeError, match=r"use values.to\(flambeau.float32\)"):
        x.scatter(1, fb.tensor([[0]]), fb.tensor([[1]]))
    with pytest.raises(RuntimeError, match=r"shape \[1, 4\], got \[3, 4\]"):
        x.index_add(0, fb.tensor([0]), x)
    with pytest.raises(RuntimeError, match="a vector, got shape"):
        x.index_select(0, fb.tensor([[0]]))
    with pytest.raises(IndexError, match="int32 or int64"):
        x.index_select(0, fb.tensor([0.0]))
    with pytest.raises(RuntimeError, match="one of sum, mean, prod, amax, amin, got 'max'"):
        x.scatter_reduce(0, fb.tensor([[0]]), x, "max")
    with pytest.raises(IndexError, match="Dimension out of range"):
        x.gather(2, fb.tensor([[0]]))


# ---- masks
@pytest.mark.parametrize("n", [0, 1, 17, 4095, 4096, 4097, 70001])
def test_masks_of_any_length(n):
    x = RNG.standard_normal(n).astype(np.float32)
    mask = RNG.random(n) > 0.3
    m = fb.from_numpy(mask)
    same(fb.from_numpy(x)[m], x[mask])
    same(m.nonzero(), np.argwhere(mask))
    values = RNG.standard_normal(int(mask.sum())).astype(np.float32)
    y = fb.from_numpy(x.copy())
    y[m] = fb.from_numpy(values)
    x[mask] = values
    same(y, x)


def test_masks_broadcast():
    x = fb.arange(6.0).reshape(2, 3)
    row = fb.tensor([True, False, True])
    assert x.masked_select(row).tolist() == [0, 2, 3, 5]
    assert row.float().masked_select(x > 2).tolist() == [1, 0, 1]
    assert x.masked_scatter(row, fb.tensor([9.0, 8.0, 7.0, 6.0])).tolist() == [[9, 1, 8], [7, 4, 6]]
    with pytest.raises(RuntimeError, match="4 true elements, the source only 1"):
        x.masked_scatter(row, fb.ones(1))
    with pytest.raises(RuntimeError, match="must be a boolean tensor"):
        x.masked_select(fb.tensor([1, 0, 1]))


def test_nonzero_forms():
    x = fb.tensor([[0.0, 3.0], [4.0, 0.0]])
    assert [t.tolist() for t in x.nonzero(as_tuple=True)] == [[0, 1], [1, 0]]
    assert [t.tolist() for t in fb.where(x > 0)] == [[0, 1], [1, 0]]
    assert fb.argwhere(x).tolist() == [[0, 1], [1, 0]]
    assert fb.tensor(3).nonzero().shape == (1, 0)
    assert fb.tensor(0).nonzero().shape == (0, 0)
    assert fb.tensor([1j, 0j]).nonzero().tolist() == [[0]]


# ---- rows of a table, counts
def test_embedding():
    w, i = RNG.standard_normal((5, 3)), np.array([[4, 0], [4, 2]])
    same(fb.embedding(fb.from_numpy(w), fb.from_numpy(i)), w[i])
    weight = fb.from_numpy(w).requires_grad_()
    fb.embedding(weight, fb.from_numpy(i), padding_idx=2).sum().backward()
    assert weight.grad[:, 0].tolist() == [1, 0, 0, 0, 2]
    weight.grad = None
    fb.embedding(weight, fb.from_numpy(i), scale_grad_by_freq=True).sum().backward()
    assert weight.grad[:, 0].tolist() == [1, 0, 1, 0, 1]
    both_orders(lambda w: fb.embedding(w, fb.from_numpy(i)), leaf(5, 3))
    both_orders(lambda w: fb.embedding(w, fb.from_numpy(i), 3), leaf(5, 3))
    with pytest.raises(IndexError, match="index -1 is out of bounds"):
        fb.embedding(weight, fb.tensor([-1]))


def test_one_hot_and_bincount():
    assert fb.one_hot(fb.tensor([[0, 2]])).tolist() == [[[1, 0, 0], [0, 0, 1]]]
    assert fb.one_hot(fb.tensor([1]), 4).tolist() == [[0, 1, 0, 0]]
    for bad in (fb.tensor([-1]), fb.tensor([3])):
        with pytest.raises(RuntimeError, match=r"classes must be in \[0, 2\)"):
            fb.one_hot(bad, 2)
    with pytest.raises(RuntimeError, match="give num_classes"):
        fb.one_hot(fb.zeros(0, dtype=fb.int64))
    x = RNG.integers(0, 50, 5000)
    w = RNG.standard_normal(5000)
    same(fb.bincount(fb.from_numpy(x), minlength=60), np.bincount(x, minlength=60))
    same(fb.bincount(fb.from_numpy(x), fb.from_numpy(w)), np.bincount(x, w))
    assert fb.bincount(fb.zeros(0, dtype=fb.int64)).shape == (0,)
    with pytest.raises(RuntimeError, match="can't be negative, got -1"):
        fb.bincount(fb.tensor([-1]))


# ---- under autograd
I, J = fb.tensor([2, 0, 2]), fb.tensor([[0, 1, 1], [2, 2, 0]])
FUNCTIONS = {
    "x[i]": (lambda x: x[I], [(3, 4)]),
    "x[:, j]": (lambda x: x[:, J], [(3, 4)]),
    "x[i, i]": (lambda x: x[I, I], [(3, 4)]),
    "x[i, :, i]": (lambda x: x[I, :, I], [(3, 2, 3)]),
    "x[mask]": (lambda x: x[fb.tensor([[True, False], [True, True]])], [(2, 2)]),
    "transposed": (lambda x: x.t()[I], [(4, 3)]),
    "gather": (lambda x: x.gather(0, J), [(3, 4)]),
    "take": (lambda x: x.take(J), [(3, 2)]),
    "take_along_dim": (lambda x: x.take_along_dim(I[:, None], 1), [(3, 4)]),
    "index_select": (lambda x: x.index_select(1, I), [(2, 3)]),
    "index_add": (lambda x, s: x.index_add(0, I, s), [(3, 2), (3, 2)]),
    "index_copy": (lambda x, s: x.index_copy(0, I[:2], s), [(3, 2), (2, 2)]),
    "index_fill": (lambda x, v: x.index_fill(0, I, v), [(3, 2), ()]),
    "scatter": (lambda x, s: x.scatter(0, fb.tensor([[0, 1], [2, 0]]), s), [(3, 2), (3, 3)]),
    "scatter_add": (lambda x, s: x.scatter_add(0, J, s), [(3, 3), (2, 3)]),
    "index_put": (lambda x, v: x.index_put((I[:2],), v), [(3, 2), (2,)]),
    "accumulate": (lambda x, v: x.index_put((I, I), v, accumulate=True), [(3, 3), (3,)]),
    "masked_scatter": (lambda x, s: x.masked_scatter(fb.tensor([True, False, True]), s), [(2, 3), (7,)]),
    "masked_select": (lambda x: x.masked_select(fb.tensor([[True], [False]])), [(2, 3)]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients(name):
    function, shapes = FUNCTIONS[name]
    both_orders(function, *(leaf(*shape, seed=k) for k, shape in enumerate(shapes)))


def written(write):
    """x and v after `write` changed a copy of x in place."""

    def function(x, v):
        y = x * 1
        write(y, v)
        return y

    return function


WRITES = {
    "y[i] = v": (lambda y, v: y.__setitem__(fb.tensor([2, 0]), v), (3, 2), (2,)),
    "y[mask] = v": (lambda y, v: y.__setitem__(fb.tensor([True, False, True]), v), (3, 2), (2, 2)),
    "y[mask] = number": (lambda y, v: y.__setitem__(fb.tensor([[True, False]] * 3), v), (3, 2), ()),
    "y[1:][i] = v": (lambda y, v: y[1:].__setitem__(fb.tensor([1]), v), (3, 2), (2,)),
    "y.t()[i] = v": (lambda y, v: y.t().__setitem__(fb.tensor([1]), v), (3, 2), (3,)),
    "index_add_": (lambda y, v: y.index_add_(0, fb.tensor([1, 1]), v), (3, 2), (2, 2)),
    "scatter_": (lambda y, v: y.scatter_(1, fb.tensor([[1], [0]]), v), (3, 2), (2, 1)),
    "put_": (lambda y, v: y.t().put_(fb.tensor([0, 3]), v), (3, 2), (2,)),
    "masked_scatter_": (lambda y, v: y.masked_scatter_(fb.tensor([[True, False]] * 3), v), (3, 2), (3,)),
}


@pytest.mark.parametrize("name", WRITES)
def test_gradients_of_writes(name):
    write, shape, values = WRITES[name]
    both_orders(written(write), leaf(*shape, seed=1), leaf(*values, seed=2))


def test_an_index_changed_before_backward_is_noticed():
    x, i = leaf(3, 2), fb.tensor([0, 1])
    y = x[i].sum()
    i[0] = 2
    with pytest.raises(RuntimeError, match="modified by an in-place operation"):
        y.backward()


def test_a_leaf_cannot_be_written():
    x = fb.zeros(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf that requires grad"):
        x[fb.tensor([0])] = 1.0


def test_overlapping_views_gather_gradients():
    both_orders(lambda x: x.unfold(0, 3, 1), leaf(6))
    both_orders(lambda x: x.as_strided((3, 3), (1, 1)), leaf(5))
    both_orders(lambda x: x.as_strided((2, 4), (0, 1)), leaf(4))


# ---- bits
def test_bits_do_not_depend_on_threads(threads):
    rng = np.random.default_rng(1)
    weight, index = rng.standard_normal((300, 64)).astype(np.float32), rng.integers(0, 300, 5000)
    g = rng.standard_normal((5000, 64)).astype(np.float32)
    flat, places = rng.standard_normal(200_000).astype(np.float32), rng.integers(0, 1000, 200_000)
    wide, cells = rng.integers(0, 500, (500, 300)), fb.from_numpy(rng.standard_normal((500, 300)).astype(np.float32))
    results = []
    for n in (1, 2, 3, 4):
        threads(n)
        results.append([
            fb.zeros(300, 64).index_add(0, fb.from_numpy(index), fb.from_numpy(g)),
            fb.zeros(1000).scatter_add(0, fb.from_numpy(places), fb.from_numpy(flat)),
            fb.zeros(500, 300).scatter_add(0, fb.from_numpy(wide), cells),
            fb.from_numpy(weight)[fb.from_numpy(index)],
            fb.from_numpy(flat)[fb.from_numpy(flat) > 0],
        ])  # fmt: skip
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a.tolist() == b.tolist()
    expected = np.zeros((300, 64), np.float32)
    for k in range(5000):  # one addition after the other, in the index's order
        expected[index[k]] += g[k]
    same(results[0][0], expected)


def test_sixteen_bit_floats_are_summed_in_float32():
    ones = fb.ones(4096, dtype=fb.bfloat16)
    total = fb.zeros(1, dtype=fb.bfloat16).index_add(0, fb.zeros(4096, dtype=fb.int64), ones)
    assert total.item() == 4096


# ---- slices that run backwards
BACKWARDS = (
    np.s_[::-1], np.s_[::-2], np.s_[4:0:-2], np.s_[0:4:-1], np.s_[:, ::-1], np.s_[..., ::-3], np.s_[::-1, None, ::-1],
    np.s_[1, ::-1], np.s_[:, 1, 3::-1], np.s_[-2::-1, ..., 1:], np.s_[::-1, [0, 2]], np.s_[[1, 0], ::-1],
    np.s_[..., [1, 1], ::-2], np.s_[10:-10:-3],
)  # fmt: skip


@pytest.mark.parametrize("index", BACKWARDS, ids=str)
def test_slices_with_negative_steps(index):
    a = np.arange(5 * 3 * 4.0).reshape(5, 3, 4)
    x = fb.from_numpy(a.copy())
    found = x[index]
    assert found.tolist() == a[index].tolist() and tuple(found.shape) == a[index].shape
    for value in (7.0, np.arange(a[index].size).reshape(a[index].shape) + 100.0):
        expected, target = a.copy(), x.clone()
        expected[index] = value
        target[index] = fb.tensor(value)
        assert target.tolist() == expected.tolist()
    y = fb.from_numpy(a.copy()).requires_grad_()
    (y[index] * fb.arange(found.numel()).reshape(found.shape)).sum().backward()
    expected = np.zeros_like(a)
    np.add.at(expected, index, np.arange(found.numel()).reshape(found.shape))
    assert y.grad.tolist() == expected.tolist()


def test_a_write_backwards_is_recorded():
    x, v = fb.zeros(4, requires_grad=True), fb.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y[3:1:-1] = v * 3
    (y * fb.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert y.tolist() == [0, 0, 6, 3]
    assert x.grad.tolist() == [2, 4, 0, 0] and v.grad.tolist() == [12, 9]
