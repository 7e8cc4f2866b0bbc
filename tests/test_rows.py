"""Row programs beyond what the op tables reach: large results past the caches, channels, arguments of wrong sizes.

Read `flambeau/ops/rows.py` and `flambeau/core/rows.pxi` first.
"""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as fb
from flambeau.nn import functional as F
from flambeau.ops.normalization import LAYER_NORM


@pytest.fixture
def threads():
    before = fb.get_num_threads()
    yield fb.set_num_threads
    fb.set_num_threads(before)


@pytest.mark.parametrize("dtype", [fb.float32, fb.float16])
def test_a_row_of_softmax_is_the_same_beside_any_number_of_rows(dtype, threads):
    """2,100 rows of 1,024 are written past the caches by way of a scratch row, 7 of them aren't."""
    x = (fb.rand(2100, 1024) * 20 - 10).to(dtype)
    few = fb.cat([x[i : i + 7].softmax(-1) for i in range(0, 2100, 7)])
    for n in (1, 2, 3):
        threads(n)
        assert fb.equal(x.softmax(-1), few)


def test_softmax_is_within_the_rounding_of_its_arguments():
    x = np.random.default_rng(0).integers(-40, 40, (50, 3001)).astype(np.float32)  # x - max is exact
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    want = e / e.sum(1, keepdims=True)
    got = fb.from_numpy(x).softmax(-1).numpy()
    assert np.abs(got - want).max() <= 4 * np.finfo(np.float32).eps * want.max()
    normal = want > 1e-30
    assert (np.abs(got - want) / np.spacing(want.astype(np.float32)))[normal].max() <= 4


@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 4), (2, 3, 2, 5)])
def test_batch_norm_of_given_statistics(shape):
    rng = np.random.default_rng(1)
    x, (m, w, b) = rng.standard_normal(shape), rng.standard_normal((3, 3))
    v = rng.random(3) + 0.5
    over = (slice(None), *[None] * (len(shape) - 2))
    want = (x - m[over]) / np.sqrt(v[over] + 1e-5) * w[over] + b[over]
    got = F.batch_norm(*map(fb.from_numpy, (x, m, v, w, b)))
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-12)


def test_nll_loss_and_its_gradient():
    rng = np.random.default_rng(2)
    x, t, w = rng.standard_normal((6, 5, 3)), rng.integers(0, 5, (6, 3)), rng.random(5) + 0.1
    t[0, 0] = -100
    given = fb.from_numpy(x).requires_grad_()
    loss = F.nll_loss(given, fb.from_numpy(t), fb.from_numpy(w))
    loss.backward()
    share = np.where(t == -100, 0, w[np.maximum(t, 0)])
    onehot = (np.arange(5)[None, :, None] == t[:, None]) * share[:, None]
    np.testing.assert_allclose(loss.item(), -(x * onehot).sum() / share.sum(), rtol=1e-12)
    np.testing.assert_allclose(given.grad.numpy(), -onehot / share.sum(), rtol=1e-12)


def test_an_argument_of_another_size_is_refused_before_anything_is_read():
    with pytest.raises(RuntimeError, match="weight has 5 elements, expected 4 beside 3 rows of 4"):
        LAYER_NORM(fb.rand(3, 4), fb.rand(5), None, 1e-5)


def test_joined_beside_an_empty_vector():
    a, e = fb.rand(2, 3, requires_grad=True), fb.empty(0, requires_grad=True)
    y = fb.cat([e, a, a.double()], 1)
    assert y.shape == (2, 6) and y.dtype is fb.float64
    y.sum().backward()
    assert fb.equal(a.grad, fb.full((2, 3), 2.0))
