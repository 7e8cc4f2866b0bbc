"""The array API standard's shapes, indexing, searching, sorting and sets against array-api-strict.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from array_api_reference import (
    COMPLEX,
    EVERY,
    INTEGERS,
    accepted,
    arrays,
    axes_of,
    broadcastable,
    check,
    compare,
    ours,
    quick,
    ref,
    theirs,
    values,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flambeau import array_api as xp


@given(st.data(), st.sampled_from(EVERY))
@quick
def test_shapes(data, dtype):
    x = data.draw(arrays(dtype))
    n = x.ndim
    axis = data.draw(st.integers(-n - 1, n))
    check(xp.expand_dims(ours(x), axis=axis), ref.expand_dims(theirs(x), axis))
    compare("flip", x, axis=data.draw(axes_of(n)))
    compare("permute_dims", x, tuple(data.draw(st.permutations(range(n)))))
    compare("reshape", x, (x.size,))
    compare("reshape", x, x.shape[::-1], copy=True)
    compare("broadcast_to", x, (2, *x.shape))
    compare("tile", x, tuple(data.draw(st.lists(st.integers(0, 2), max_size=3))))
    if n:
        a = data.draw(st.integers(-n, n - 1))
        compare("unstack", x, axis=a)
        compare("stack", [x, x], axis=a)
        compare("concat", [x, x], axis=a)
        compare("moveaxis", x, a, data.draw(st.integers(-n, n - 1)))
        compare("roll", x, data.draw(st.integers(-5, 5)), axis=a)
        if x.size:
            compare("repeat", x, data.draw(st.integers(0, 3)), axis=a)
            counts = data.draw(hnp.arrays("int64", x.shape[a], elements=st.integers(0, 2)))
            compare("repeat", x, counts, axis=a)
    compare("roll", x, data.draw(st.integers(-5, 5)))
    compare("repeat", x, 2)
    compare("concat", [x, x], axis=None)
    compare("squeeze", x[None, ..., None], (0, -1))
    compare("broadcast_arrays", x, np.ones((2, *x.shape), "int8"))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_counts_of_repeat_have_any_integer_dtype(dtype):
    x = np.arange(6.0).reshape(3, 2)
    for counts in ([0, 2, 1], [2]):
        compare("repeat", x, np.array(counts, dtype), axis=0)
    compare("repeat", x, np.arange(6).astype(dtype))
    compare("repeat", x[:0, 0], np.zeros(0, dtype))


def test_shapes_refused():
    x = xp.ones((2, 3))
    with pytest.raises(ValueError, match="length 2"):
        xp.squeeze(x, 0)
    for axis in (-4, 3):
        with pytest.raises(IndexError, match="axis"):
            xp.expand_dims(x, axis=axis)
    with pytest.raises(ValueError, match="copy"):
        xp.reshape(x.mT, (6,), copy=False)
    assert xp.reshape(x, (6,), copy=False).data_ptr() == x.data_ptr()
    assert xp.reshape(x, (6,), copy=True).data_ptr() != x.data_ptr()
    assert xp.concat([xp.ones(1, dtype=xp.int8), xp.ones(1, dtype=xp.float64)]).dtype is xp.float64
    with pytest.raises(ValueError, match="nonzero"):
        xp.nonzero(xp.asarray(1))
    with pytest.raises(ValueError, match="axis"):
        xp.cumulative_sum(x)
    with pytest.raises(ValueError, match="axis"):
        xp.take(x, xp.asarray([0]))


# ---- indexing, searching, sorting, sets
@given(st.data(), st.sampled_from(EVERY))
@quick
def test_indexing_and_searching(data, dtype):
    x = data.draw(arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4), special=False))
    a = data.draw(st.integers(-x.ndim, x.ndim - 1))
    index = data.draw(hnp.arrays("int64", st.integers(0, 5), elements=st.integers(-x.shape[a], x.shape[a] - 1)))
    compare("take", x, index, axis=a)
    along = np.sort(x.real.astype("int8"), axis=a).argsort(axis=a)
    compare("take_along_axis", x, along, axis=a)
    compare("nonzero", x)
    if dtype in COMPLEX + ("bool",):
        return
    for name in ("argmax", "argmin"):
        for keep in (False, True):
            compare(name, x, axis=a, keepdims=keep)
            compare(name, x, keepdims=keep)
    for descending in (False, True):
        compare("sort", x, axis=a, descending=descending)
        compare("argsort", x, axis=a, descending=descending, stable=True)
    flat = np.sort(x.reshape(-1))
    for side in ("left", "right"):
        compare("searchsorted", flat, x, side=side)
        compare("searchsorted", x.reshape(-1), x, side=side, sorter=np.argsort(x.reshape(-1)))


@given(st.data())
@quick
def test_where(data):
    a, b = data.draw(
        st.sampled_from([p for p in itertools.product(EVERY, repeat=2) if p in accepted("add", 2) or p[0] == p[1]])
    )
    parts = data.draw(broadcastable(3))
    condition, x, y = (data.draw(arrays(d, s)) for d, s in zip(("bool", a, b), parts, strict=True))
    compare("where", condition, x, y)
    compare("where", condition, x, data.draw(values(a)))


@given(st.data(), st.sampled_from(EVERY))
@quick
def test_sets(data, dtype):
    x = data.draw(arrays(dtype))
    t = ours(x)
    found = xp.unique_all(t)
    flat = x.reshape(-1)
    chosen = np.asarray(found.values)
    assert found.values.dtype is t.dtype and found.inverse_indices.shape == t.shape
    assert len({*chosen[~np.isnan(chosen)].tolist()}) + np.isnan(chosen).sum() == len(chosen)
    assert np.isnan(chosen).sum() == np.isnan(x).sum()
    same = lambda p, q: (p == q) | (np.isnan(p) & np.isnan(q))
    first = np.asarray(found.indices)
    assert same(flat[first], chosen).all()
    for i, value in enumerate(chosen):
        if not np.isnan(value):
            assert first[i] == np.flatnonzero(flat == value)[0]
            assert found.counts[i].item() == (flat == value).sum()
        else:
            assert found.counts[i].item() == 1
    assert same(chosen[np.asarray(found.inverse_indices)], x).all()
    assert xp.unique_values(t).shape == found.values.shape
    assert xp.unique_counts(t).counts.tolist() == found.counts.tolist()
    assert xp.unique_inverse(t).inverse_indices.tolist() == found.inverse_indices.tolist()
