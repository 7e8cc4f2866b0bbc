"""uint16, uint32 and uint64: values that only unsigned integers have, through every way in, out and between.

The op table's tests run over all dtypes; here stand the numbers above the signed range, NumPy being the oracle.
"""

import copy
import io
import pickle

import numpy as np
import pytest

import flambeau as fb

UNSIGNED = {fb.uint8: np.uint8, fb.uint16: np.uint16, fb.uint32: np.uint32, fb.uint64: np.uint64}
every_dtype = pytest.mark.parametrize("dtype", UNSIGNED, ids=str)


def top(dtype):
    return 2 ** (8 * dtype.itemsize) - 1


def numbers(dtype):
    high = top(dtype)
    return np.array([0, 1, 2, 3, 7, high // 2, high // 2 + 1, high // 3 * 2, high - 1, high] * 5, UNSIGNED[dtype])


def same(found, expected):
    expected = np.asarray(expected)
    assert found.numpy().dtype == expected.dtype and found.tolist() == expected.tolist()


@every_dtype
def test_arithmetic_and_comparisons(dtype):
    a = numbers(dtype)
    rng = np.random.default_rng(0)
    b = rng.permutation(a)
    x, y = fb.from_numpy(a), fb.from_numpy(b)
    with np.errstate(over="ignore"):
        for f in (np.add, np.subtract, np.multiply, np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.less,
                  np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal, np.maximum, np.minimum,
                  np.gcd):  # fmt: skip
            name = {"multiply": "mul", "subtract": "sub", "equal": "eq", "not_equal": "ne"}.get(f.__name__, f.__name__)
            same(getattr(fb, name)(x, y), f(a, b))
        same(-x, -a)
        same(x**3, a**3)
        same(x + top(dtype), a + UNSIGNED[dtype](top(dtype)))
    same(~x, ~a)
    d = np.where(b == 0, UNSIGNED[dtype](5), b)
    same(x // fb.from_numpy(d), a // d)
    same(x % fb.from_numpy(d), a % d)
    same(fb.fmod(x, fb.from_numpy(d)), np.fmod(a, d))
    same(x // 3, a // UNSIGNED[dtype](3))
    same(x >> 1, a >> UNSIGNED[dtype](1))
    same(x << 3, a << UNSIGNED[dtype](3))
    same(x > top(dtype) // 2, a > top(dtype) // 2)
    np.testing.assert_allclose((x / fb.from_numpy(d)).numpy(), a.astype(float) / d, rtol=1e-6)


@every_dtype
def test_conversions(dtype):
    a = numbers(dtype)
    x = fb.from_numpy(a)
    for other in fb.DTYPES:
        if other is fb.bfloat16:
            continue
        kind = getattr(np, "bool" if other is fb.bool else other.name)
        with np.errstate(over="ignore"):
            same(x.to(other), a.astype(kind))
    for f in (np.float32, np.float64):
        for v in (0.0, 0.9, 1.5, float(top(dtype) // 2)):
            same(fb.tensor([v], dtype=getattr(fb, f.__name__)).to(dtype), np.array([v], f).astype(UNSIGNED[dtype]))


@every_dtype
def test_reductions_order_and_search(dtype):
    a = np.random.default_rng(1).permutation(numbers(dtype))
    x = fb.from_numpy(a)
    for found, expected in (
        (x.max(), a.max()), (x.min(), a.min()), (x.argmax(), a.argmax()), (x.argmin(), a.argmin()),
        (x.sort().values, np.sort(a)), (x.sort(descending=True).values, np.sort(a)[::-1]), (x.unique(), np.unique(a)),
        (x.cummax(0).values, np.maximum.accumulate(a)), (x.topk(3).values, np.sort(a)[::-1][:3]),
        (fb.searchsorted(x.unique(), x), np.searchsorted(np.unique(a), a)), (x.flip(0), a[::-1]),
        (fb.where(x > 3, x, 1), np.where(a > 3, a, 1).astype(a.dtype)), (x.sum(dtype=fb.uint64), a.sum(dtype="u8")),
        (x.reshape(5, 10).sum(1, dtype=dtype), a.reshape(5, 10).sum(1, dtype=a.dtype)),
        (x.reshape(5, 10) @ x.reshape(10, 5), a.reshape(5, 10) @ a.reshape(10, 5)),
    ):  # fmt: skip
        assert found.tolist() == expected.tolist()
    assert x.sum().dtype is x.prod().dtype is x.cumsum(0).dtype is fb.int64  # as PyTorch has it


@every_dtype
def test_ways_in_and_out(dtype):
    a = numbers(dtype)
    x = fb.from_numpy(a)
    same(fb.tensor(a.tolist(), dtype=dtype), a)
    same(fb.tensor(a), a)
    same(fb.from_dlpack(a), a)
    assert np.from_dlpack(x).dtype == a.dtype and np.from_dlpack(x).tolist() == a.tolist()
    assert np.asarray(memoryview(x)).tolist() == a.tolist()
    assert x.max().item() == int(x.max()) == top(dtype)
    for other in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x), x.clone(), x[...], x.repeat(2)[:50]):
        same(other, a)
    for fill in (fb.full((2,), top(dtype), dtype=dtype), fb.zeros(2, dtype=dtype).fill_(top(dtype)),
                 fb.full_like(x[:2], top(dtype)), fb.zeros(2, dtype=dtype) + top(dtype)):  # fmt: skip
        assert fill.tolist() == [top(dtype)] * 2
    y = fb.zeros(3, dtype=dtype)
    y[1], y[2:] = top(dtype), top(dtype) - 1
    assert y.tolist() == [0, top(dtype), top(dtype) - 1]
    y[fb.tensor([0])], y[y == 0] = top(dtype) - 2, 0
    assert y.tolist() == [top(dtype) - 2, top(dtype), top(dtype) - 1]
    assert fb.nn.functional.pad(y[:1], (1, 0), value=top(dtype)).tolist() == [top(dtype), top(dtype) - 2]
    assert y.clamp(max=top(dtype) - 1).tolist() == [top(dtype) - 2, top(dtype) - 1, top(dtype) - 1]
    assert str(top(dtype)) in repr(y) and f"dtype=flambeau.{dtype.name}" in repr(y)
    file = io.BytesIO()
    fb.save({"x": x}, file)
    file.seek(0)
    same(fb.load(file)["x"], a)
    assert fb.iinfo(dtype).max == top(dtype) and fb.iinfo(dtype).min == 0 and not dtype.is_signed
    assert fb.tensor(-1, dtype=dtype).item() == top(dtype)
    low, high = top(dtype) // 2, top(dtype)
    drawn = fb.testing.make_tensor(100, dtype=dtype, device="cpu", low=3, high=low)
    assert drawn.dtype is dtype and bool((drawn >= 3).all()) and bool((drawn < low).all())
    if dtype is not fb.uint64:
        assert fb.arange(high - 2, high, dtype=dtype).tolist() == [high - 2, high - 1]


@pytest.mark.parametrize("dtype", [fb.uint16, fb.uint32, fb.uint64], ids=str)
def test_as_indices(dtype):
    x = fb.arange(12).reshape(3, 4)
    index = fb.tensor([2, 0], dtype=dtype)
    assert x[index].tolist() == x[index.long()].tolist() and x[:, index].tolist() == x[:, [2, 0]].tolist()
    assert x[index[0]].tolist() == x[2].tolist()
    x[index] = 5
    assert x[index].unique().tolist() == [5] and x[1].tolist() == [4, 5, 6, 7]


def test_what_has_no_dtype_is_refused():
    x, y = fb.ones(2, dtype=fb.uint64), fb.ones(2, dtype=fb.int8)
    for attempt in (lambda: x + y, lambda: fb.promote_types(fb.int64, fb.uint64), lambda: fb.where(x > 0, x, y)):
        with pytest.raises(RuntimeError, match=r"no common dtype.*x\.to"):
            attempt()
    assert (x + fb.tensor(1)).dtype is fb.uint64  # a 0-dimensional tensor follows, as in PyTorch
    with pytest.raises(RuntimeError, match="18446744073709551616 doesn't fit in uint64"):
        fb.tensor(2**64, dtype=fb.uint64)
    with pytest.raises(RuntimeError, match="doesn't fit"):
        fb.full((2,), 2**64, dtype=fb.uint64)
