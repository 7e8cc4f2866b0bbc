"""What the tests of the array API standard share: what they draw, and the same call in both namespaces.

array-api-strict, the consortium's own minimal implementation, says what is right; without it those tests are skipped.
"""

from __future__ import annotations

import functools
import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
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
