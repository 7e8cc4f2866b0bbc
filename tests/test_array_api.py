"""The array API standard: every function against array-api-strict, the consortium's own minimal implementation.

Hypothesis draws dtypes, shapes (0-dimensional, empty, broadcastable) and special values; dtype, shape and values must
be those of the reference, for each combination of dtypes that it accepts.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import flambeau as fb
from flambeau import array_api as xp

ref = pytest.importorskip("array_api_strict", reason="array-api-strict, the oracle, isn't installed")

UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = (*UNSIGNED, "int8", "int16", "int32", "int64")
FLOATS, COMPLEX = ("float32", "float64"), ("complex64", "complex128")
NUMERIC = INTEGERS + FLOATS + COMPLEX
EVERY = ("bool", *NUMERIC)
NOT_IN_2024 = {"broadcast_shapes", "isin"}
OF_THE_REFERENCE = {
    "Device", "set_array_api_strict_flags", "get_array_api_strict_flags", "reset_array_api_strict_flags",
    "ArrayAPIStrictFlags", "__version__",
}  # fmt: skip

quick = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 3.0, -7.0, 1e-3, 12345.678, math.inf, -math.inf, math.nan)
FINITE = tuple(v for v in SPECIAL if math.isfinite(v))


def values(dtype: str, special: bool = True):
    if dtype == "bool":
        return st.booleans()
    if dtype in INTEGERS:
        return st.integers(0 if dtype in UNSIGNED else -6, 7)
    if dtype in FLOATS:
        return st.sampled_from(SPECIAL if special else FINITE)
    return st.builds(complex, *(2 * [st.sampled_from((0.0, 1.0, -1.0, 0.5, -2.5, 3.0))]))


shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def broadcastable(n):
    shapes = hnp.mutually_broadcastable_shapes(num_shapes=n, max_dims=3, max_side=4, min_side=0)
    return shapes.map(lambda s: s.input_shapes)


@st.composite
def arrays(draw, dtype, shape=shapes, special=True):
    shape = draw(shape) if hasattr(shape, "example") else shape
    made = draw(hnp.arrays(dtype, shape, elements=values(dtype, special)))
    # Some are transposed, so that strides take part too.
    return np.asarray(made.T.copy().T) if draw(st.booleans()) else made


def theirs(x):
    if isinstance(x, np.ndarray):
        return ref.asarray(x)
    if isinstance(x, fb.dtype):
        return getattr(ref, x.name)
    return type(x)(map(theirs, x)) if isinstance(x, list | tuple) else x


def ours(x):
    if isinstance(x, np.ndarray):
        return xp.asarray(x, copy=True) if x.flags.c_contiguous else fb.from_numpy(x)
    return type(x)(map(ours, x)) if isinstance(x, list | tuple) else x


def check(got, expected, bound: float = 1e-5, signed: bool = False):
    if isinstance(expected, tuple | list):
        assert isinstance(got, tuple | list) and len(got) == len(expected)
        for g, e in zip(got, expected, strict=True):
            check(g, e, bound, signed)
        return
    assert isinstance(got, fb.Tensor), type(got)
    want = np.asarray(expected)
    assert got.dtype.name == want.dtype.name, f"dtype {got.dtype}, expected {want.dtype}"
    assert tuple(got.shape) == want.shape
    have = np.asarray(got)
    if want.dtype.kind in "biu":
        np.testing.assert_array_equal(have, want)
        return
    exact = 1e-12 if want.dtype.name in ("float64", "complex128") else 1e-5
    np.testing.assert_allclose(have, want, rtol=max(exact, bound if exact > 1e-6 else 0), atol=exact, equal_nan=True)
    if signed:
        zeros = (want == 0) & ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(have[zeros]), np.signbit(want[zeros]))


def compare(name, *args, sub="", signed=False, **kwargs):
    """The same call in both namespaces; where the reference refuses, the case is none."""
    spaces = (getattr(xp, sub), getattr(ref, sub)) if sub else (xp, ref)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        expected = getattr(spaces[1], name)(*map(theirs, args), **{k: theirs(v) for k, v in kwargs.items()})
    mine = {k: getattr(fb, v.name) if isinstance(v, fb.dtype) else ours(v) for k, v in kwargs.items()}
    check(getattr(spaces[0], name)(*map(ours, args), **mine), expected, signed=signed)


@functools.cache
def accepted(name: str, n: int) -> list[tuple[str, ...]]:
    """The dtypes that the reference takes for n arrays."""
    found = []
    for dtypes in itertools.product(EVERY, repeat=n):
        try:
            getattr(ref, name)(*(ref.ones(1, dtype=getattr(ref, d)) for d in dtypes))
        except TypeError:
            continue
        found.append(dtypes)
    return found


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


# ---- elementwise
SIGNED = {
    "abs", "ceil", "floor", "trunc", "round", "negative", "positive", "sqrt", "square", "sin", "tan", "asin", "atan",
    "sinh", "tanh", "asinh", "atanh", "expm1", "log1p", "copysign", "multiply", "divide", "subtract", "add",
    "remainder", "floor_divide", "atan2", "sign",
}  # fmt: skip
ELEMENTWISE = sorted(xp.elementwise.FUNCTIONS)
ONE = [n for n in ELEMENTWISE if list(inspect.signature(getattr(xp, n)).parameters) == ["x"]]
TWO = [n for n in ELEMENTWISE if list(inspect.signature(getattr(xp, n)).parameters) == ["x1", "x2"]]


def test_every_elementwise_function_is_tested():
    assert len(ONE) + len(TWO) + len(["clip"]) == len(ELEMENTWISE) == 67


@pytest.mark.parametrize("name", ONE)
@given(data=st.data())
@quick
def test_functions_of_one_array(name, data):
    (dtype,) = data.draw(st.sampled_from(accepted(name, 1)))
    x = data.draw(arrays(dtype))
    if dtype in COMPLEX and name in ("log", "log2", "log10", "log1p", "reciprocal", "atan", "atanh"):
        assume(np.all(np.abs(x) > 0.1) and np.all(np.abs(x**2) != 1) and np.all(x != -1))  # away from poles
    if dtype in COMPLEX:
        assume(not np.any((x.imag == 0) | (x.real == 0)))  # and from branch cuts
    compare(name, x, signed=name in SIGNED and dtype in FLOATS)


@pytest.mark.parametrize("name", TWO)
@given(data=st.data())
@quick
def test_functions_of_two_arrays(name, data):
    a, b = data.draw(st.sampled_from(accepted(name, 2)))
    # The reference has mixed kinds for what the standard leaves open.
    one, two = data.draw(
        hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4, min_side=0)
    ).input_shapes
    x, y = data.draw(arrays(a, one)), data.draw(arrays(b, two))
    integral = a not in FLOATS + COMPLEX and b not in FLOATS + COMPLEX
    if "shift" in name or (name == "pow" and integral):
        y = np.asarray(np.abs(y))
    if name in ("floor_divide", "remainder") and integral:
        y = np.where(y == 0, np.asarray(1, y.dtype), y)
    if (a in COMPLEX or b in COMPLEX) and name in ("pow", "divide"):
        assume(np.all(x != 0) and np.all(y != 0) and np.all(np.isfinite(x)) and np.all(np.isfinite(y)))
        assume(np.all(np.abs(x) < 100) and np.all(np.abs(y) < 100))
    if a in COMPLEX or b in COMPLEX:
        assume(np.all(np.isfinite(x)) and np.all(np.isfinite(y)))
    if name == "pow":
        assume(not np.any(np.isneginf(x.real)))  # NumPy takes a root there, of which the standard says +infinity
    if name == "nextafter":
        assume(a == b)
    compare(name, x, y, signed=name in SIGNED and not (a in COMPLEX or b in COMPLEX))


@pytest.mark.parametrize("name", TWO)
@given(data=st.data())
@quick
def test_functions_of_an_array_and_a_number(name, data):
    (dtype, _) = data.draw(st.sampled_from([(a, b) for a, b in accepted(name, 2) if a == b]))
    x = data.draw(arrays(dtype))
    number = data.draw(values(dtype).map(abs) if "shift" in name or name == "pow" else values(dtype))
    if dtype in INTEGERS and name in ("floor_divide", "remainder"):
        number, x = number or 1, np.where(x == 0, np.asarray(1, x.dtype), x)
    if "shift" in name or name == "pow":
        x = np.asarray(np.abs(x))
    if dtype in COMPLEX:
        assume(number != 0 and np.all(x != 0))
    if dtype in UNSIGNED:
        number = abs(number)
    compare(name, x, number)
    compare(name, number, x)


@given(st.data())
@quick
def test_clip(data):
    dtype = data.draw(st.sampled_from(INTEGERS + FLOATS))
    x = data.draw(arrays(dtype))
    low = data.draw(st.none() | values(dtype, special=False))
    high = data.draw(st.none() | values(dtype, special=False))
    assume(low is None or high is None or low <= high)
    compare("clip", x, low, high)
    if low is not None:
        bound = np.full((2, *(1,) * x.ndim), low, dtype)
        compare("clip", x, bound, max=high)
    with pytest.raises(TypeError, match="integers"):
        xp.clip(xp.arange(3), 0.5)


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


# ---- manipulation
@st.composite
def axes_of(draw, ndim: int):
    """None, one axis, or several, some counted from the end."""
    kind = draw(st.sampled_from(("none", "one", "several")))
    if kind == "none" or ndim == 0:
        return None
    if kind == "one":
        return draw(st.integers(-ndim, ndim - 1))
    chosen = draw(st.sets(st.integers(0, ndim - 1)))
    return tuple(a - ndim if draw(st.booleans()) else a for a in sorted(chosen))


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
    along = np.sort(x.astype("int8"), axis=a).argsort(axis=a)
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


# ---- statistics
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "var", "std", "all", "any", "count_nonzero"])
@given(data=st.data())
@quick
def test_reductions(name, data):
    dtype = data.draw(st.sampled_from([d for (d,) in accepted(name, 1)]))
    shape = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1 if name in ("max", "min", "mean") else 0, max_side=4)
    x = data.draw(arrays(dtype, shape, special=name not in ("mean", "var", "std", "sum", "prod")))
    kwargs = {"axis": data.draw(axes_of(x.ndim)), "keepdims": data.draw(st.booleans())}
    if name in ("var", "std"):
        kwargs["correction"] = data.draw(st.sampled_from((0.0, 1, 0.5)))
        assume(x.size and min(x.shape, default=2) > 1 and kwargs["axis"] != ())
    if name in ("sum", "prod") and dtype in FLOATS:
        kwargs["dtype"] = data.draw(st.sampled_from((None, fb.float64)))
        x = np.asarray(np.clip(x, -10, 10))
    if name in ("var", "std"):
        x = np.asarray(np.clip(x, -10, 10))
    if name in ("var", "std") and dtype == "float32":
        # compared with float64, whose rounding doesn't show in float32
        got = np.asarray(getattr(xp, name)(ours(x), **kwargs))
        np.testing.assert_allclose(got, getattr(np, name)(x.astype("float64"), axis=kwargs["axis"],
            keepdims=kwargs["keepdims"], ddof=kwargs["correction"]), rtol=1e-5, atol=1e-5)  # fmt: skip
        return
    compare(name, x, **kwargs)


@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
@given(data=st.data())
@quick
def test_running_sums_and_products(name, data):
    dtype = data.draw(st.sampled_from(NUMERIC))
    x = data.draw(arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), special=False))
    if dtype in FLOATS:
        x = np.asarray(np.clip(x, -5, 5))
    kwargs = {"axis": data.draw(st.integers(-x.ndim, x.ndim - 1)), "include_initial": data.draw(st.booleans())}
    compare(name, x, **kwargs)
    if x.ndim == 1:
        compare(name, x)


@given(st.data(), st.sampled_from(NUMERIC))
@quick
def test_diff(data, dtype):
    x = data.draw(arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), special=False))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    compare("diff", x, axis=axis)
    compare("diff", x, axis=axis, n=2, prepend=x, append=x)


# ---- linear algebra
def matrices(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if dtype in COMPLEX else x).astype(dtype)


@given(st.data(), st.sampled_from(NUMERIC), st.sampled_from(NUMERIC))
@quick
def test_products(data, a, b):
    assume((a, b) in accepted("multiply", 2))
    n, k, m = (data.draw(st.integers(0, 4)) for _ in range(3))

    def draw(dtype, *shape):
        made = data.draw(arrays(dtype, shape, special=False))
        return made if dtype in COMPLEX else np.asarray(made % np.asarray(5, dtype))

    x, y = draw(a, 2, n, k), draw(b, k, m)
    compare("matmul", x, y)
    compare("matmul", x, draw(b, k))
    compare("matmul", draw(a, k), y)
    compare("tensordot", x, y, axes=1)
    compare("tensordot", x, y, axes=((2,), (0,)))
    compare("tensordot", x, draw(b, 2), axes=0)
    compare("vecdot", x, draw(b, n, k))
    compare("vecdot", x, draw(b, n, 1), axis=-2)
    compare("matrix_transpose", x)
    compare("outer", draw(a, n), draw(b, m), sub="linalg")
    compare("diagonal", x, sub="linalg", offset=data.draw(st.integers(-1, 1)))
    compare("trace", x, sub="linalg", offset=data.draw(st.integers(-1, 1)))
    if a in FLOATS + COMPLEX:
        axis = data.draw(axes_of(3))
        if x.size:
            for ord in (2, 1, 0, np.inf, -np.inf, 3.5):
                compare("vector_norm", x, sub="linalg", axis=axis, ord=ord, keepdims=data.draw(st.booleans()))


@pytest.mark.parametrize("dtype", FLOATS + COMPLEX)
def test_linear_algebra(dtype):
    x = matrices((2, 3, 3), dtype) + 2 * np.eye(3, dtype=dtype)
    h = x @ np.conj(x.swapaxes(-1, -2)) + np.eye(3, dtype=dtype)
    tall = matrices((2, 4, 3), dtype, 1)
    run = lambda name, *args, **kwargs: compare(name, *args, sub="linalg", **kwargs)
    run("cholesky", h)
    run("cholesky", h, upper=True)
    run("cross", x, x[::-1].copy())
    run("cross", x, x[0], axis=-2)
    for name in ("det", "inv", "slogdet", "svdvals", "pinv", "matrix_rank"):
        run(name, x)
    run("eigvalsh", h)
    for ord in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
        run("matrix_norm", tall, ord=ord)
        run("matrix_norm", tall, ord=ord, keepdims=True)
    for n in (0, 1, 3, -1):
        run("matrix_power", x, n)
    run("pinv", tall, rtol=0.1)
    run("matrix_rank", tall, rtol=0.9)
    for right in (x[0, 0], x[0], x, x[:, :, :2]):
        run("solve", x, right)
    run("solve", x[0], x)
    for full in (True, False):
        u, s, vh = xp.linalg.svd(ours(tall), full_matrices=full)
        assert tuple(u.shape) == ((2, 4, 4) if full else (2, 4, 3)) and s.dtype is u.dtype.to_real()
        np.testing.assert_allclose(np.asarray(u[..., :3] * s[:, None, :].to(u.dtype) @ vh), tall, atol=1e-5)
    for mode in ("reduced", "complete"):
        q, r = xp.linalg.qr(ours(tall), mode=mode)
        np.testing.assert_allclose(np.asarray(q @ r), tall, atol=1e-5)
        assert q.shape[-1] == (3 if mode == "reduced" else 4)
    found = xp.linalg.eigh(ours(h))
    np.testing.assert_allclose(h @ np.asarray(found.eigenvectors), np.asarray(found.eigenvectors)
                               * np.asarray(found.eigenvalues)[:, None, :], atol=1e-4)  # fmt: skip
    assert xp.linalg.qr(ours(x)).Q is not None and xp.linalg.slogdet(ours(x)).logabsdet.dtype is s.dtype
    with pytest.raises(ValueError, match="axis"):
        xp.vecdot(xp.ones(3), xp.ones(3), axis=0)


# ---- Fourier transforms
@pytest.mark.parametrize("dtype", FLOATS + COMPLEX)
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_fourier_transforms(dtype, norm):
    x = matrices((3, 4), dtype)
    run = lambda name, **kwargs: compare(name, x, sub="fft", norm=norm, **kwargs)
    names = ("fft", "ifft", "irfft", "hfft") if dtype in COMPLEX else ("rfft", "ihfft", "fft", "ifft")
    for name in names:
        if dtype in FLOATS and name in ("fft", "ifft"):
            continue  # left open by the standard
        run(name)
        run(name, n=5, axis=0)
    for name in ("fftn", "ifftn", "irfftn") if dtype in COMPLEX else ("rfftn",):
        run(name)
        run(name, axes=(0, 1))
        run(name, s=(2, 6), axes=(1, 0))


def test_frequencies_and_shifts():
    for n, d in itertools.product((1, 4, 5), (1.0, 0.5)):
        for name in ("fftfreq", "rfftfreq"):
            check(getattr(xp.fft, name)(n, d=d, dtype=fb.float64), getattr(ref.fft, name)(n, d=d, dtype=ref.float64))
    x = matrices((3, 4), "float64")
    for name, axes in itertools.product(("fftshift", "ifftshift"), (None, 0, (0, 1))):
        compare(name, x, sub="fft", axes=axes)


# ---- the array object
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
