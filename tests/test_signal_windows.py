"""signal.windows against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal.windows as oracle

import flambeau as fb
from flambeau.signal import windows

CASES = {
    "bartlett": {}, "blackman": {}, "cosine": {}, "hamming": {}, "hann": {}, "nuttall": {}, "exponential": {"tau": 2.5},
    "gaussian": {"std": 1.75}, "general_cosine": {"a": [0.4, 0.3, 0.2, 0.1]}, "general_hamming": {"alpha": 0.6},
    "kaiser": {"beta": 5.5},
}  # fmt: skip


def test_every_window_is_tested():
    assert set(CASES) == set(windows.__all__)


@pytest.mark.parametrize("sym", [True, False])
@pytest.mark.parametrize("M", [0, 1, 2, 3, 8, 31])
@pytest.mark.parametrize("name", CASES)
def test_against_scipy(name, M, sym):
    kwargs = CASES[name]
    got = getattr(windows, name)(M, sym=sym, dtype=fb.float64, **kwargs)
    want = getattr(oracle, name)(M, sym=sym, **kwargs) if M else np.zeros(0)
    assert got.dtype is fb.float64
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-15)


def test_a_center_of_ones_own():
    got = windows.exponential(6, center=1.5, tau=2.0, sym=False, dtype=fb.float64)
    np.testing.assert_allclose(got.numpy(), oracle.exponential(6, 1.5, 2.0, sym=False), rtol=1e-12)


def test_dtype_and_gradients():
    assert windows.hann(3).dtype is fb.get_default_dtype()
    assert windows.hann(3, requires_grad=True).requires_grad


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: windows.hann(-1), ValueError, "hann: the length M must not be negative, got -1"),
        (lambda: windows.hann(4, dtype=fb.int64), ValueError, "float32 or float64, got flambeau.int64"),
        (lambda: windows.hann(4, layout="sparse_coo"), ValueError, "got layout sparse_coo"),
        (lambda: windows.gaussian(4, std=0.0), ValueError, "std must be positive, got 0.0"),
        (lambda: windows.exponential(4, tau=-1.0), ValueError, "tau must be positive, got -1.0"),
        (lambda: windows.exponential(4, center=1.0), ValueError, "center is its middle, got center=1.0"),
        (lambda: windows.general_cosine(4, a=[]), ValueError, "must not be empty"),
        (lambda: windows.general_cosine(4, a=0.5), TypeError, "got a float"),
        (lambda: windows.kaiser(4, beta=-1.0), ValueError, "beta must not be negative, got -1.0"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
