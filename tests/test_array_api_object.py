"""The array object as the array API standard has it, on what Hypothesis's own strategies for the standard draw.

`hypothesis.extra.array_api` makes arrays through the namespace alone, so that works too; NumPy says what is right.
"""

import operator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.array_api import make_strategies_namespace

import flambeau as fb
from flambeau import array_api as xp

xps = make_strategies_namespace(xp, api_version="2024.12")
quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
shapes = xps.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
INTEGERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
FLOATS = ("float32", "float64")


def numpy(x: fb.Tensor) -> np.ndarray:
    return np.asarray(x).copy()


def same(found: fb.Tensor, expected: np.ndarray) -> None:
    expected = np.asarray(expected)
    assert found.dtype.name == expected.dtype.name and tuple(found.shape) == expected.shape
    np.testing.assert_array_equal(np.asarray(found), expected)


def drawn(data, shape, kind=None):
    dtype = data.draw(kind or xps.scalar_dtypes())
    return data.draw(xps.arrays(dtype, shape)), dtype


def value_for(data, dtype):
    """A Python number of a dtype's kind, or a 0-dimensional array."""
    number = data.draw(xps.from_dtype(dtype))
    return number, (xp.asarray(number, dtype=dtype) if data.draw(st.booleans()) else number)


@given(st.data())
@quick
def test_reading_and_writing_by_integers_slices_and_new_axes(data):
    shape = data.draw(shapes)
    x, dtype = drawn(data, shape)
    key = data.draw(xps.indices(shape, allow_newaxis=True))
    a = numpy(x)
    same(x[key], a[key])
    number, value = value_for(data, dtype)
    y = xp.asarray(x, copy=True)
    y[key] = value
    a[key] = number
    same(y, a)


@given(st.data())
@quick
def test_reading_and_writing_by_masks(data):
    shape = data.draw(shapes)
    x, dtype = drawn(data, shape)
    mask = data.draw(xps.arrays(xp.bool, shape[: data.draw(st.integers(0, len(shape)))]))
    a, m = numpy(x), numpy(mask)
    same(x[mask], a[m])
    number, value = value_for(data, dtype)
    y = xp.asarray(x, copy=True)
    y[mask] = value
    a[m] = number
    same(y, a)


def test_masks_of_size_0_select_nothing():
    x = xp.ones((2, 3))
    for mask, shape in (((0,), (0, 3)), ((2, 0), (0,)), ((0, 3), (0,)), ((0, 0), (0,))):
        empty = xp.zeros(mask, dtype=xp.bool)
        assert x[empty].shape == shape and x[empty].dtype is x.dtype
        x[empty] = 5.0
    assert x[:, xp.zeros((0,), dtype=xp.bool)].shape == (2, 0)
    assert bool(xp.all(x == 1))
    for mask in ((1,), (3,), (2, 1), (0, 4), (2, 3, 0)):
        with pytest.raises(IndexError):
            x[xp.zeros(mask, dtype=xp.bool)]


@given(st.data())
@quick
def test_reading_by_arrays_of_integers(data):
    shape = data.draw(xps.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    x, _ = drawn(data, shape)
    common = data.draw(xps.array_shapes(min_dims=0, max_dims=2, max_side=3))
    key = tuple(
        data.draw(xps.arrays(xp.int64, common, elements={"min_value": -n, "max_value": n - 1}))
        if data.draw(st.booleans())
        else data.draw(st.integers(-n, n - 1))
        for n in shape
    )
    same(x[key], numpy(x)[tuple(numpy(k) if isinstance(k, fb.Tensor) else k for k in key)])


@pytest.mark.parametrize("name", INTEGERS + FLOATS + ("bool",))
@given(data=st.data())
@quick
def test_numbers_of_arrays_with_one_element(name, data):
    x = data.draw(xps.arrays(getattr(xp, name), ()))
    a = numpy(x)
    if name == "bool":
        assert bool(x) is bool(a) and int(x) == int(a) and float(x) == float(a)
    elif name in INTEGERS:
        assert type(int(x)) is int and int(x) == operator.index(x) == int(a) and complex(x) == complex(int(a))
        assert bool(x) is bool(a)
        with pytest.raises(TypeError, match="integer"):
            operator.index(xp.asarray(1.0))
    else:
        assert type(float(x)) is float and np.array_equal(float(x), float(a), equal_nan=True) and bool(x) is bool(a)


ARITHMETIC = {"+": operator.add, "-": operator.sub, "*": operator.mul}
BITWISE = {"&": operator.and_, "|": operator.or_, "^": operator.xor}
COMPARISONS = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
IN_PLACE = {
    "+": operator.iadd, "-": operator.isub, "*": operator.imul, "&": operator.iand, "|": operator.ior,
    "^": operator.ixor,
}  # fmt: skip


@pytest.mark.parametrize("sign", [*ARITHMETIC, *BITWISE, *COMPARISONS])
@given(data=st.data())
@quick
def test_operators(sign, data):
    names = INTEGERS if sign in BITWISE else INTEGERS + FLOATS
    dtype = getattr(xp, data.draw(st.sampled_from(names)))
    f = (ARITHMETIC | BITWISE | COMPARISONS)[sign]
    (sa, sb), _ = data.draw(xps.mutually_broadcastable_shapes(2, max_dims=3, max_side=3))
    x, y = (data.draw(xps.arrays(dtype, s)) for s in (sa, sb))
    a, b = numpy(x), numpy(y)
    with np.errstate(all="ignore"):
        same(f(x, y), f(a, b))
        number = data.draw(xps.from_dtype(dtype))
        typed = a.dtype.type(number)
        same(f(x, number), f(a, typed))
        same(f(number, x), f(typed, a))
        if sign in IN_PLACE and np.broadcast_shapes(sa, sb) == sa:
            before = x
            x = IN_PLACE[sign](x, y)
            assert x is before
            same(x, f(a, b))


@given(st.data())
@quick
def test_division_powers_and_shifts_of_integers(data):
    dtype = getattr(xp, data.draw(st.sampled_from(INTEGERS)))
    high = xp.iinfo(dtype).max
    shape = data.draw(shapes)
    x = data.draw(xps.arrays(dtype, shape))
    y = data.draw(xps.arrays(dtype, shape, elements={"min_value": 1, "max_value": high}))
    by = data.draw(xps.arrays(dtype, shape, elements={"min_value": 0, "max_value": dtype.itemsize * 8 - 1}))
    small = data.draw(xps.arrays(dtype, shape, elements={"min_value": 0, "max_value": 20}))
    a, b = numpy(x), numpy(y)
    with np.errstate(all="ignore"):
        same(x // y, a // b)
        same(x % y, a % b)
        same(x >> by, a >> numpy(by))
        same(x << by, a << numpy(by))
        same(x**small, a ** numpy(small))
        same(~x, ~a)
        same(-x, -a)
        same(+x, a)
        same(abs(x), abs(a))


@given(st.data())
@quick
def test_attributes(data):
    shape = data.draw(shapes)
    x, dtype = drawn(data, shape)
    assert x.dtype is dtype and x.ndim == len(shape) and x.shape == shape and x.device == xp.zeros(1).device
    assert x.size() == shape  # PyTorch's method, where the standard has a number
    if x.ndim > 1:
        same(x.mT, np.swapaxes(numpy(x), -1, -2))
    if x.ndim == 2:
        same(x.T, numpy(x).T)
    assert x.to_device(x.device) is x and x.__array_namespace__() is xp and x.__dlpack_device__() == (1, 0)
    same(xp.from_dlpack(x), numpy(x))
    assert hash(dtype) == hash(getattr(xp, dtype.name)) and dtype != 0 and dtype == getattr(xp, dtype.name)


def test_array_object():
    x = xp.asarray([[1.0, 2.0], [3.0, 4.0]])
    assert x.to_device(x.device) is x and x.to_device("cpu", stream=None) is x
    with pytest.raises((ValueError, RuntimeError)):
        x.to_device("no such device")
    with pytest.raises(ValueError, match="stream"):
        x.to_device("cpu", stream=1)
    assert x.mT.tolist() == x.T.tolist() == [[1, 3], [2, 4]] and x.ndim == 2 and x.shape == (2, 2)
    assert complex(xp.asarray(1 + 2j)) == 1 + 2j and float(xp.asarray(2.5)) == 2.5 and bool(xp.asarray(True))
    assert int(xp.asarray(3)) == 3 and xp.asarray(3).__index__() == 3
    assert (x @ x).tolist() == [[7, 10], [15, 22]] and (2 ** xp.asarray([1, 2])).tolist() == [2, 4]
    assert x[..., 0].tolist() == [1, 3] and x[x > 2].tolist() == [3, 4] and x[None].shape == (1, 2, 2)
    assert (xp.asarray([5, 7]) // 2).tolist() == [2, 3] and (~xp.asarray([True])).tolist() == [False]
    for version in (None, (1, 0)):
        assert x.__dlpack__(max_version=version) is not None
