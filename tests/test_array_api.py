"""The array API standard: the names, their signatures, dtypes and arrays' making, against array-api-strict.

Hypothesis draws dtypes, shapes (0-dimensional, empty, broadcastable) and special values; dtype, shape and values must
be those of the reference. The other families are in `test_array_api_*.py`.
"""

from __future__ import annotations

import inspect
import itertools
import math

import numpy as np
import pytest
from array_api_reference import (
    COMPLEX,
    EVERY,
    FINITE,
    FLOATS,
    INTEGERS,
    NUMERIC,
    arrays,
    check,
    compare,
    ours,
    quick,
    ref,
    shapes,
    theirs,
    values,
)
from hypothesis import given
from hypothesis import strategies as st

import flambeau as fb
from flambeau import array_api as xp

NOT_IN_2024 = {"broadcast_shapes", "isin"}
OF_THE_REFERENCE = {
    "Device", "set_array_api_strict_flags", "get_array_api_strict_flags", "reset_array_api_strict_flags",
    "ArrayAPIStrictFlags", "__version__",
}  # fmt: skip


# ---- what there is
def public(space) -> list[str]:
    return [n for n in getattr(space, "__all__", dir(space)) if n not in NOT_IN_2024 | OF_THE_REFERENCE]


@pytest.mark.parametrize("sub", ["", "linalg", "fft"])
def test_every_name_is_here_with_its_signature(sub):
    theirs, mine = (getattr(ref, sub), getattr(xp, sub)) if sub else (ref, xp)
    for name in public(theirs):
        assert hasattr(mine, name), f"{sub}.{name} is missing"
        expected, got = getattr(theirs, name), getattr(mine, name)
        if not inspect.isfunction(expected):
            continue
        wanted, found = inspect.signature(expected).parameters, inspect.signature(got).parameters
        assert list(wanted) == list(found), name
        for key, w in wanted.items():
            assert found[key].kind is w.kind, f"{name}: {key}"
            unset = type(w.default).__name__ == "Undef"
            if w.default is not w.empty:
                assert found[key].default == (None if unset else w.default), f"{name}: {key}"
        assert got.__doc__ and got.__name__ == name.strip("_")


def test_constants_and_versions():
    assert xp.pi == math.pi and xp.e == math.e and xp.inf == math.inf and math.isnan(xp.nan) and xp.newaxis is None
    x = fb.ones(2)
    assert x.__array_namespace__() is xp and xp.__array_api_version__ == "2024.12"
    for version in ("2021.12", "2022.12", "2023.12", "2024.12"):
        assert x.__array_namespace__(api_version=version) is xp
    with pytest.raises(ValueError, match=r"1999\.1.*2024\.12"):
        x.__array_namespace__(api_version="1999.1")


def test_namespace_info():
    info = xp.__array_namespace_info__()
    capabilities = info.capabilities()
    assert capabilities["boolean indexing"] is True and capabilities["data-dependent shapes"] is True
    fb.zeros((1,) * capabilities["max dimensions"])
    with pytest.raises((RuntimeError, ValueError)):
        fb.zeros((1,) * (capabilities["max dimensions"] + 1))
    assert info.default_device() in info.devices() and xp.ones(1).device == info.default_device()
    defaults = info.default_dtypes(device=info.default_device())
    assert defaults["real floating"] is xp.asarray(1.0).dtype and defaults["integral"] is xp.asarray(1).dtype
    assert defaults["complex floating"] is xp.asarray(1j).dtype
    assert defaults["indexing"] is xp.argmax(xp.ones(2)).dtype
    theirs = ref.__array_namespace_info__()
    for kind in (None, "bool", "signed integer", "integral", "real floating", "complex floating", "numeric",
                 ("bool", "complex floating"), ()):  # fmt: skip
        assert set(info.dtypes(kind=kind)) == set(theirs.dtypes(kind=kind)), kind
    assert all(getattr(xp, name) is dtype for name, dtype in info.dtypes().items())


# ---- dtypes
def test_promotion_is_the_standards():
    for a, b in itertools.product(EVERY, repeat=2):
        try:
            expected = ref.result_type(getattr(ref, a), getattr(ref, b))
        except TypeError:
            if "uint64" in (a, b) and {a, b} & {"int8", "int16", "int32", "int64"}:
                with pytest.raises(RuntimeError, match="no common dtype"):
                    xp.result_type(getattr(xp, a), getattr(xp, b))
            continue
        assert xp.result_type(getattr(xp, a), getattr(xp, b)).name == str(expected).rpartition(".")[2], (a, b)
        # 0-dimensional arrays promote as all others do
        pair = xp.ones((), dtype=getattr(xp, a)), xp.ones((2,), dtype=getattr(xp, b))
        assert xp.result_type(*pair) is xp.result_type(getattr(xp, a), getattr(xp, b))
        for to in EVERY:
            assert xp.can_cast(getattr(xp, a), getattr(xp, to)) == bool(
                ref.can_cast(getattr(ref, a), getattr(ref, to))
            ), (a, to)


def test_numbers_promote_by_kind():
    for dtype in EVERY:
        x = xp.ones((), dtype=getattr(xp, dtype))
        for number, allowed in ((True, EVERY), (1, NUMERIC), (1.0, FLOATS + COMPLEX)):
            if dtype in allowed:
                assert xp.result_type(x, number) is x.dtype and xp.result_type(number, x.dtype) is x.dtype
    assert xp.result_type(xp.float32, 1j) is xp.complex64 and xp.result_type(xp.float64, 1j) is xp.complex128
    assert xp.result_type(xp.int8, 1.0) is xp.float32 and xp.result_type(xp.bool, 1) is xp.int64
    with pytest.raises(ValueError, match="at least one"):
        xp.result_type(1, 2.0)
    with pytest.raises(TypeError, match="str"):
        xp.result_type(xp.int8, "1")


def test_kinds_and_limits():
    kinds = ("bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric")
    for dtype, kind in itertools.product(EVERY, kinds):
        assert xp.isdtype(getattr(xp, dtype), kind) == ref.isdtype(getattr(ref, dtype), kind), (dtype, kind)
    assert xp.isdtype(xp.int8, (xp.int8, "bool")) and not xp.isdtype(xp.int8, xp.int16)
    with pytest.raises(ValueError, match="kind must be"):
        xp.isdtype(xp.int8, "float")
    for dtype in FLOATS + COMPLEX:
        got, expected = xp.finfo(getattr(xp, dtype)), ref.finfo(getattr(ref, dtype))
        for field in ("bits", "eps", "max", "min", "smallest_normal"):
            assert getattr(got, field) == getattr(expected, field), (dtype, field)
        assert type(got.eps) is float and got.dtype.name == str(expected.dtype).rpartition(".")[2]
        assert xp.finfo(xp.ones(1, dtype=getattr(xp, dtype))) == got
    for dtype in INTEGERS:
        got, expected = xp.iinfo(getattr(xp, dtype)), ref.iinfo(getattr(ref, dtype))
        assert (got.bits, got.max, got.min, got.dtype.name) == (expected.bits, expected.max, expected.min, dtype)


@given(st.data())
@quick
def test_astype(data):
    a = data.draw(st.sampled_from(EVERY))
    x = data.draw(arrays(a, special=False))
    for to in EVERY:
        if a in COMPLEX and to not in COMPLEX:
            with pytest.raises(TypeError, match="real"):
                xp.astype(ours(x), getattr(xp, to))
        elif not (a in FLOATS and to in INTEGERS):
            check(xp.astype(ours(x), getattr(xp, to)), ref.astype(theirs(x), getattr(ref, to)))
    t = ours(x)
    assert xp.astype(t, t.dtype, copy=False) is t and xp.astype(t, t.dtype) is not t


# ---- creation
@given(
    st.integers(-9, 9), st.integers(-9, 9), st.integers(-4, 4).filter(bool),
    st.sampled_from((None, *INTEGERS[4:], *FLOATS)),
)  # fmt: skip
@quick
def test_arange(start, stop, step, dtype):
    kwargs = {} if dtype is None else {"dtype": getattr(fb, dtype)}
    for args in ((stop,), (start, stop), (start, stop, step)):
        expected = np.arange(*args, dtype=dtype)
        got = xp.arange(*args, **kwargs)
        assert got.tolist() == expected.tolist() and got.dtype.name == expected.dtype.name
        halves = xp.arange(*(a / 2 for a in args))
        np.testing.assert_allclose(np.asarray(halves), np.arange(*(a / 2 for a in args)), rtol=1e-6)
    with pytest.raises((RuntimeError, ValueError)):
        xp.arange(0, 3, 0)


def test_no_numbers_are_of_the_dtype_of_start_stop_and_step():
    for args in itertools.product((1, 1.0), (-1, -1.0), (2, 2.0)):
        for empty in (args, (args[1], args[0], -args[2])):
            dtype = fb.int64 if all(isinstance(n, int) for n in empty) else fb.get_default_dtype()
            assert xp.arange(*empty).dtype is dtype and xp.arange(*empty).shape == (0,)


@given(st.data(), st.sampled_from(EVERY))
@quick
def test_arrays_of_one_value(data, dtype):
    shape = data.draw(shapes)
    value = data.draw(values(dtype))
    own, other = {"dtype": getattr(fb, dtype)}, {"dtype": getattr(ref, dtype)}
    check(xp.full(shape, value, **own), ref.full(shape, value, **other))
    like = data.draw(arrays("int16"))
    check(xp.full_like(ours(like), value, **own), ref.full_like(theirs(like), value, **other))
    for name in ("zeros", "ones"):
        check(getattr(xp, name)(shape, **own), getattr(ref, name)(shape, **other))
        check(getattr(xp, name + "_like")(ours(like)), getattr(ref, name + "_like")(theirs(like)))
    made = xp.empty(shape, **own)
    assert made.dtype is own["dtype"] and tuple(made.shape) == shape
    assert xp.empty_like(made).shape == made.shape and xp.empty_like(made, dtype=fb.int8).dtype is fb.int8
    assert tuple(xp.zeros(3).shape) == tuple(xp.empty(3).shape) == tuple(xp.full(3, 1).shape) == (3,)
    default = {bool: fb.bool, int: fb.int64, float: fb.float32, complex: fb.complex64}[type(value)]
    assert xp.full(shape, value).dtype is default and xp.asarray(value).dtype is default


@given(st.integers(0, 4), st.none() | st.integers(0, 4), st.integers(-6, 6), st.sampled_from(NUMERIC))
@quick
def test_eye_and_triangles(rows, columns, k, dtype):
    got = xp.eye(rows, columns, k=k, dtype=getattr(fb, dtype))
    check(got, ref.eye(rows, columns, k=k, dtype=getattr(ref, dtype)))
    x = np.arange(2 * rows * 3).reshape(2, rows, 3).astype(dtype)
    compare("tril", x, k=k)
    compare("triu", x, k=k)


@given(st.sampled_from(FINITE), st.sampled_from(FINITE), st.integers(0, 9), st.booleans())
@quick
def test_linspace(start, stop, num, endpoint):
    for dtype in FLOATS:
        got = xp.linspace(start, stop, num, dtype=getattr(fb, dtype), endpoint=endpoint)
        expected = np.linspace(start, stop, num, endpoint=endpoint)
        bound = 1e-6 if dtype == "float32" else 1e-14
        np.testing.assert_allclose(np.asarray(got), expected, rtol=bound, atol=bound * max(abs(start), abs(stop)))
        assert got.dtype.name == dtype and tuple(got.shape) == (num,)
    got = xp.linspace(complex(start, stop), stop, num, endpoint=endpoint, dtype=fb.complex128)
    expected = np.linspace(complex(start, stop), stop, num, endpoint=endpoint)
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-13, atol=1e-9)
    assert xp.linspace(0, 1, 3).dtype is fb.float32 and xp.linspace(0, 1j, 3).dtype is fb.complex64


def test_meshgrid():
    x, y, z = np.arange(2), np.arange(3), np.arange(4)
    for indexing, args in itertools.product(("xy", "ij"), ((), (x,), (x, y), (x, y, z))):
        compare("meshgrid", *args, indexing=indexing)


def test_asarray():
    x = xp.asarray([[1, 2], [3, 4]])
    assert x.dtype is fb.int64 and xp.asarray([1.0, 2]).dtype is fb.float32 and xp.asarray([True]).dtype is fb.bool
    assert xp.asarray([xp.asarray(1), xp.asarray(2)]).tolist() == [1, 2] and xp.asarray((1, 2.5j)).dtype is fb.complex64
    assert xp.asarray(x, copy=False) is x or xp.asarray(x, copy=False).data_ptr() == x.data_ptr()
    assert xp.asarray(x, copy=True).data_ptr() != x.data_ptr() and xp.asarray(x, dtype=fb.int8).dtype is fb.int8
    a = np.arange(3.0)
    shared = xp.asarray(a, copy=False)
    a[0] = 9
    assert shared[0].item() == 9 and xp.asarray(a, copy=True).data_ptr() != a.ctypes.data
    for obj, kwargs in (([1], {}), (1, {}), (x, {"dtype": fb.int8}), (a, {"dtype": fb.float32})):
        with pytest.raises(ValueError, match="copy=False"):
            xp.asarray(obj, copy=False, **kwargs)
    with pytest.raises(OverflowError):
        xp.asarray(2**80)
    held = fb.ones(2, requires_grad=True)
    assert xp.asarray(held) is held


def test_from_dlpack():
    x = xp.arange(3)
    assert xp.from_dlpack(x).data_ptr() == x.data_ptr() and xp.from_dlpack(x, copy=True).data_ptr() != x.data_ptr()
    assert xp.from_dlpack(np.arange(3.0)).tolist() == [0, 1, 2]
    assert np.from_dlpack(x).tolist() == [0, 1, 2]
    assert tuple(x.__dlpack_device__()) == (1, 0)
    assert "versioned" in repr(x.__dlpack__(max_version=(1, 0), dl_device=(1, 0), copy=None))


def test_results_are_on_the_tape():
    x = fb.tensor([[1.0, 2.0], [3.0, 5.0]], dtype=fb.float64, requires_grad=True)
    y = xp.sum(xp.std(x, axis=1) + xp.linalg.det(x)) + xp.sum(xp.take(x, xp.asarray([0]), axis=0) ** 2)
    y.backward()
    a = np.array([[1.0, 2.0], [3.0, 5.0]])
    std = (a - a.mean(1, keepdims=True)) / (2 * a.std(1, keepdims=True))
    det = 2 * np.array([[5, -3], [-2, 1.0]])
    np.testing.assert_allclose(x.grad.numpy(), std + det + np.array([[2, 4], [0, 0.0]]), rtol=1e-12)


def test_infinite_parts_of_complex_numbers():
    z = complex(0, math.inf)
    for made in (xp.asarray(z), xp.asarray([z], dtype=xp.complex64), xp.full((2,), z, dtype=xp.complex128)):
        assert complex(made[..., 0] if made.ndim else made) == z
    assert xp.pow(xp.asarray(-math.inf), xp.asarray(0.5)).item() == math.inf
