"""flex_attention against attention written out, with scores and masks of a program's own, and gradients."""

from __future__ import annotations

import pytest

import flambeau as fb
import flambeau.nn.functional as F
from flambeau.nn.attention.flex_attention import (
    AuxRequest,
    and_masks,
    create_block_mask,
    create_mask,
    flex_attention,
    or_masks,
)


def operands(h=2, hk=2, q=5, k=7):
    fb.manual_seed(0)
    shapes = (2, h, q, 4), (2, hk, k, 4), (2, hk, k, 3)
    return [fb.randn(s, dtype=fb.float64, requires_grad=True) for s in shapes]


def causal(b, h, q, k):
    return q + 2 >= k


def test_plain_and_masked():
    q, k, v = operands()
    fb.testing.assert_close(flex_attention(q, k, v), F.scaled_dot_product_attention(q, k, v))
    mask = create_block_mask(causal, None, None, 5, 7)
    want = F.scaled_dot_product_attention(q, k, v, fb.ones(5, 7, dtype=fb.bool).tril(2))
    fb.testing.assert_close(flex_attention(q, k, v, block_mask=mask), want)


def test_scores_by_place_and_their_gradients():
    q, k, v = operands()
    slopes = fb.tensor([0.5, 0.25], dtype=fb.float64, requires_grad=True)

    def biased(score, b, h, i, j):
        return score - slopes[h] * (i - j).abs() + b

    distance = (fb.arange(5)[:, None] - fb.arange(7)).abs()
    bias = -slopes[:, None, None] * distance + fb.arange(2)[:, None, None, None]
    want = F.scaled_dot_product_attention(q, k, v, bias.to(fb.float64))
    fb.testing.assert_close(flex_attention(q, k, v, biased), want)
    assert fb.autograd.gradcheck(lambda *xs: flex_attention(*xs[:3], biased), (q, k, v, slopes))


def test_groups_of_heads_and_a_scale():
    q, k, v = operands(h=4, hk=2)
    want = F.scaled_dot_product_attention(q, k, v, scale=0.3, enable_gqa=True)
    fb.testing.assert_close(flex_attention(q, k, v, scale=0.3, enable_gqa=True), want)
    with pytest.raises(ValueError, match="4 heads of queries and 2 of keys"):
        flex_attention(q, k, v)


def test_queries_that_see_nothing_and_what_is_returned_beside():
    q, k, v = operands()
    mask = create_block_mask(lambda b, h, i, j: (i > 0) & (j < 3), None, None, 5, 7)
    result, lse = flex_attention(q, k, v, block_mask=mask, return_lse=True)
    assert not result[:, :, 0].any() and lse[:, :, 0].isneginf().all()
    scores = (q @ k.mT / 2)[..., :3]
    fb.testing.assert_close(lse[:, :, 1:], scores.logsumexp(-1)[:, :, 1:])
    _, beside = flex_attention(q, k, v, return_aux=AuxRequest(max_scores=True))
    assert beside.lse is None
    fb.testing.assert_close(beside.max_scores, (q @ k.mT / 2).amax(-1))


def test_masks():
    both, either = and_masks(causal, lambda b, h, q, k: q == k), or_masks(causal, lambda b, h, q, k: k == 6)
    assert fb.equal(create_mask(both, 1, 1, 3, 3)[0, 0], fb.eye(3).bool())
    assert create_mask(either, 1, 1, 2, 7)[0, 0].int().tolist() == [[1, 1, 1, 0, 0, 0, 1], [1, 1, 1, 1, 0, 0, 1]]
    by_head = create_mask(lambda b, h, q, k: h == b, 2, 3, 1, 1)
    assert by_head.shape == (2, 3, 1, 1) and by_head.sum() == 2
    blocks = create_block_mask(lambda b, h, q, k: q >= k, None, None, 300, 300)
    assert blocks.to_dense().tolist() == [[[[1, 0, 0], [1, 1, 0], [1, 1, 1]]]] and blocks.shape == (1, 1, 300, 300)
    assert blocks.sparsity() == pytest.approx(100 / 3)


def test_errors():
    q, k, v = operands()
    with pytest.raises(ValueError, match="4 dimensions"):
        flex_attention(q[0], k[0], v[0])
    with pytest.raises(ValueError, match=r"mask is for \(4, 7\) queries and keys, got \(5, 7\)"):
        flex_attention(q, k, v, block_mask=create_block_mask(causal, None, None, 4, 7))
