"""flambeau.testing: what assert_close accepts, what it says otherwise, and what make_tensor draws."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.testing import assert_allclose, assert_close, make_tensor

FLOATING = [fb.float16, fb.bfloat16, fb.float32, fb.float64]
INTEGRAL = [fb.uint8, fb.int8, fb.int16, fb.int32, fb.int64]
COMPLEX = [fb.complex64, fb.complex128]
RTOL = {fb.float16: 1e-3, fb.bfloat16: 1.6e-2, fb.float32: 1.3e-6, fb.float64: 1e-7, fb.complex64: 1.3e-6}


def message(*args, error=AssertionError, **kwargs) -> str:
    with pytest.raises(error) as caught:
        assert_close(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize("dtype", FLOATING)
def test_tolerance_of_each_dtype(dtype):
    atol = 1e-7 if dtype is fb.float64 else 1e-5
    text = message(fb.tensor([1000.0], dtype=dtype), fb.tensor([0.0], dtype=dtype))
    assert f"(up to {atol} allowed)" in text and f"(up to {RTOL[dtype]} allowed)" in text
    # At 1024 the relative tolerance decides: a step inside it passes, one outside doesn't.
    step = {fb.float16: 1.0, fb.bfloat16: 8.0, fb.float32: 2.0**-10, fb.float64: 2.0**-14}[dtype]
    expected = fb.tensor([1024.0], dtype=dtype)
    assert_close(expected + step, expected)
    message(expected + 3 * step, expected)


def test_mismatch_says_how_many_and_where():
    assert message(fb.tensor([[1.0, 2.0], [3.0, 4.0]]), fb.tensor([[1.0, 3.0], [3.0, 4.5]])) == (
        "Tensor-likes are not close!\n\nMismatched elements: 2 / 4 (50.0%)\n"
        "Greatest absolute difference: 1.0 at index (0, 1) (up to 1e-05 allowed)\n"
        "Greatest relative difference: 0.3333333432674408 at index (0, 1) (up to 1.3e-06 allowed)"
    )
    assert message(fb.tensor(1.0), fb.tensor(2.0)) == (
        "Scalars are not close!\n\nExpected 2.0 but got 1.0.\n"
        "Absolute difference: 1.0 (up to 1e-05 allowed)\nRelative difference: 0.5 (up to 1.3e-06 allowed)"
    )


def test_small_integers_do_not_overflow_in_the_report():
    text = message(fb.tensor([0, 1], dtype=fb.uint8), fb.tensor([200, 1], dtype=fb.uint8))
    assert "Greatest absolute difference: 200 at index (0,)" in text and "not equal!" in text


@pytest.mark.parametrize(
    ("name", "actual", "expected", "options"),
    [
        ("shape", fb.zeros(2), fb.zeros(1, 2), {}),
        ("dtype", fb.zeros(2), fb.zeros(2, dtype=fb.float64), {}),
        ("stride()", fb.zeros(2, 3).t(), fb.zeros(3, 2), {"check_stride": True}),
    ],
)
def test_attributes(name, actual, expected, options):
    assert f"The values for attribute '{name}' do not match" in message(actual, expected, **options)


def test_checks_that_can_be_left_out():
    assert_close(fb.zeros(2), fb.zeros(2, dtype=fb.int64), check_dtype=False)
    assert_close(fb.zeros(2, 3).t(), fb.zeros(3, 2))
    assert_close(1, 1.0, check_dtype=False)
    assert "(d)types do not match" in message(1, 1.0)


def test_nan_and_infinity():
    nan = fb.tensor([math.nan, 1.0])
    message(nan, nan)
    assert_close(nan, nan, equal_nan=True)
    assert_close(fb.tensor([math.inf]), fb.tensor([math.inf]))
    message(fb.tensor([math.inf]), fb.tensor([-math.inf]))
    message(math.inf, 0.0, rtol=0, atol=1e300)
    assert_close(math.nan, math.nan, equal_nan=True)


def test_containers_name_the_item():
    text = message({"w": [fb.ones(2), fb.ones(1)], "a": 1}, {"w": [fb.ones(2), fb.zeros(1)], "a": 1})
    assert text.endswith("The failure occurred for item ['w'][1]")
    assert "length of the sequences mismatch: 2 != 1" in message([1, 2], [1])
    assert "Missing keys in the actual mapping: ['b']" in message({"a": 1}, {"a": 1, "b": 2})
    assert_close((1, {"x": None}), [1, {"x": None}])


def test_what_has_no_common_type_is_an_error_before_values_are_compared():
    text = message([1.0, "a"], [2.0, "a"], error=TypeError)
    assert "No comparison pair was able to handle inputs of type <class 'str'>" in text
    message(1.0, fb.tensor(1.0), error=TypeError)
    parameter = fb.nn.Parameter(fb.ones(1))
    assert_close(fb.ones(1), parameter)
    message(fb.ones(1), parameter, allow_subclasses=False, error=TypeError)


def test_numpy_values():
    assert_close(np.array([1.0, 2.0]), np.array([1.0, 2.0 + 1e-8]))
    assert "index (1,)" in message(np.array([1.0, 2.0]), np.array([1.0, 2.1]))
    assert_close(np.float32(1), np.float32(1))
    assert_close(np.bool_(True), True)
    assert "Booleans mismatch: True is not False" in message(True, np.bool_(False))
    assert "None mismatch" in message(None, 1)


def test_one_tolerance_alone_is_refused():
    assert "but got no atol" in message(fb.ones(1), fb.ones(1), rtol=1.0, error=ValueError)
    assert "but got no rtol" in message(1.0, 1.0, atol=1.0, error=ValueError)


def test_own_messages():
    assert message(1, 2, msg="mine") == "mine"
    text = message(1, 2, msg=lambda text: f"head\n{text}")
    assert text.startswith("head\nScalars are not equal!")


def test_gradients_do_not_matter():
    x = fb.ones(2, requires_grad=True)
    assert_close(x * 1, fb.ones(2))
    assert x.grad is None


def test_assert_allclose_is_deprecated_and_loose():
    with pytest.warns(FutureWarning, match="assert_close"):
        assert_allclose(fb.tensor([1.0, math.nan]), [1.00005, math.nan])
    with pytest.warns(FutureWarning), pytest.raises(AssertionError):
        assert_allclose(fb.tensor([1.0]), [1.001])


@pytest.mark.parametrize("dtype", [fb.bool, *INTEGRAL, *FLOATING, *COMPLEX], ids=str)
def test_make_tensor(dtype):
    x = make_tensor(40, 50, dtype=dtype, device="cpu")
    assert x.dtype == dtype and tuple(x.shape) == (40, 50) and x.is_contiguous()
    low, high = (0, 1) if dtype is fb.bool else (0, 9) if dtype is fb.uint8 else (-9, 9)
    values = (fb.view_as_real(x) if dtype.is_complex else x).to(fb.float64)
    assert values.min() >= low and values.max() <= high
    assert values.max() - values.min() > (high - low) * 0.9
    strided = make_tensor((4, 5), dtype=dtype, device="cpu", noncontiguous=True)
    assert not strided.is_contiguous() and tuple(strided.shape) == (4, 5)
    assert bool((make_tensor(1000, dtype=dtype, device="cpu", low=0, high=2, exclude_zero=True) != 0).all())


def test_make_tensor_bounds_and_refusals():
    x = make_tensor(1000, dtype=fb.int8, device="cpu", low=-1000, high=1000)
    assert x.min() < -100 and x.max() > 100
    wide = make_tensor(1000, dtype=fb.float32, device="cpu", low=-math.inf, high=math.inf)
    assert bool(wide.isfinite().all()) and wide.abs().max() > 1e38
    assert make_tensor(2, dtype=fb.float32, device="cpu", requires_grad=True).requires_grad
    for bad in ({"low": 3, "high": 3}, {"low": math.nan}, {"low": 500, "high": 600}, {"requires_grad": True}):
        with pytest.raises(ValueError):
            make_tensor(2, dtype=fb.int8, device="cpu", **bad)
    with pytest.raises(ValueError, match="mutually exclusive"):
        make_tensor(2, dtype=fb.float32, device="cpu", noncontiguous=True, memory_format=fb.contiguous_format)
