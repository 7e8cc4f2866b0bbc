"""The array API standard's elementwise functions against array-api-strict, for each combination of dtypes it takes.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from array_api_reference import (
    COMPLEX,
    FLOATS,
    INTEGERS,
    UNSIGNED,
    accepted,
    arrays,
    compare,
    quick,
    values,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flambeau import array_api as xp

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
