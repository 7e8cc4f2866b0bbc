"""nn.attention: naming a kernel is checked, kept for the region, and doesn't change results; causal masks."""

from __future__ import annotations

import pytest

import flambeau as fb
import flambeau.nn.functional as F
from flambeau.nn.attention import SDPBackend, allowed, sdpa_kernel
from flambeau.nn.attention.bias import causal_lower_right, causal_upper_left


def test_any_kernel_gives_the_same_result():
    q, k, v = fb.randn(3, 2, 4, 5, 8)
    want = F.scaled_dot_product_attention(q, k, v)
    for choice in SDPBackend.MATH, [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]:
        with sdpa_kernel(choice, set_priority=True):
            assert fb.equal(F.scaled_dot_product_attention(q, k, v), want)


def test_regions_nest_and_end_with_an_error_too():
    before = allowed.backends
    with sdpa_kernel(SDPBackend.MATH):
        with pytest.raises(KeyError), sdpa_kernel([SDPBackend.CUDNN_ATTENTION, SDPBackend.CUDNN_ATTENTION]):
            assert allowed.backends == (SDPBackend.CUDNN_ATTENTION,)
            raise KeyError
        assert allowed.backends == (SDPBackend.MATH,)
    assert allowed.backends == before


@pytest.mark.parametrize("choice, error", [("math", AssertionError), (["math"], AssertionError), ([], RuntimeError)])
def test_errors(choice, error):
    with pytest.raises(error, match="SDPBackend"), sdpa_kernel(choice):
        pass


def test_causal_masks():
    assert fb.equal(causal_upper_left(3, 5), fb.arange(5) <= fb.arange(3)[:, None])
    assert fb.equal(causal_lower_right(3, 5), fb.arange(5) <= fb.arange(3)[:, None] + 2)
    q, k, v = fb.randn(1, 2, 3, 8), fb.randn(1, 2, 5, 8), fb.randn(1, 2, 5, 8)
    last = F.scaled_dot_product_attention(q, k, v, causal_lower_right(3, 5))[:, :, -1:]
    fb.testing.assert_close(last, F.scaled_dot_product_attention(q[:, :, -1:], k, v))
    with pytest.warns(UserWarning, match="see nothing"):
        assert not causal_lower_right(3, 2)[0].any()
    with pytest.raises(RuntimeError, match="takes the numbers of queries and of keys"):
        causal_upper_left(3)
