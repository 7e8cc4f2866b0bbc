"""Fractional pooling, the adaptive softmax, and the loss with a linear layer, against plain computations."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.nn import functional as F


def fractional(x, kernel, counts, samples):
    """Windows of each plane as Graham's pseudo-random sequences have them, by loops; places are flat."""
    n = len(counts)
    values, places = np.empty(x.shape[:2] + counts, x.dtype), np.empty(x.shape[:2] + counts, np.int64)
    for plane in np.ndindex(x.shape[:2]):
        starts = []
        for d in range(n):
            u = samples[plane][n - 1 - d if n == 2 else d]
            alpha = (x.shape[2 + d] - kernel[d]) / max(counts[d] - 1, 1)
            row = [math.floor((i + u) * alpha) - math.floor(u * alpha) for i in range(counts[d])]
            starts.append([*row[:-1], x.shape[2 + d] - kernel[d]])
        for at in np.ndindex(counts):
            box = tuple(slice(starts[d][at[d]], starts[d][at[d]] + kernel[d]) for d in range(n))
            window = x[plane][box]
            best = np.unravel_index(window.argmax(), window.shape)
            values[plane + at] = window.max()
            where = [starts[d][at[d]] + best[d] for d in range(n)]
            places[plane + at] = np.ravel_multi_index(where, x.shape[2:])
    return values, places


@pytest.mark.parametrize("counts", [(4, 3), (8, 7), (1, 1), (5, 1)])
def test_fractional_max_pool2d(counts):
    rng = np.random.default_rng(1)
    x, samples = rng.normal(size=(2, 3, 9, 8)), rng.uniform(size=(2, 3, 2))
    expected = fractional(x, (2, 2), counts, samples)
    given = fb.from_numpy(x), 2, counts
    found = F.fractional_max_pool2d(*given, return_indices=True, _random_samples=fb.from_numpy(samples))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)
    assert fb.equal(F.fractional_max_pool2d(*given, _random_samples=fb.from_numpy(samples)), found[0])


def test_fractional_max_pool3d_and_module():
    rng = np.random.default_rng(2)
    x, samples = rng.normal(size=(2, 3, 7, 9, 8)), rng.uniform(size=(2, 3, 3))
    expected = fractional(x, (2, 3, 2), (3, 4, 5), samples)
    found = F.fractional_max_pool3d_with_indices(
        fb.from_numpy(x), (2, 3, 2), (3, 4, 5), _random_samples=fb.from_numpy(samples)
    )
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)
    layer = nn.FractionalMaxPool3d(2, output_ratio=0.5)
    y = layer(fb.from_numpy(x[0]))
    assert tuple(y.shape) == (3, 3, 4, 4) and np.isin(y.numpy(), x[0]).all()


def test_fractional_max_pool_gradient_and_nan():
    samples = fb.rand(1, 2, 2, dtype=fb.float64)
    x = fb.randn(1, 2, 6, 5, dtype=fb.float64, requires_grad=True)
    pool = lambda t: F.fractional_max_pool2d(t, 2, (3, 3), _random_samples=samples)
    assert fb.autograd.gradcheck(pool, (x,))
    with fb.no_grad():
        x[0, 0, 0, 0] = math.nan
    assert math.isnan(pool(x)[0, 0, 0, 0])


def test_fractional_max_pool_refuses():
    x = fb.ones(1, 1, 5, 5)
    with pytest.raises(ValueError, match="output_size or an output_ratio"):
        F.fractional_max_pool2d(x, 2)
    with pytest.raises(RuntimeError, match=r"kernel \+ output - 1 <= input"):
        F.fractional_max_pool2d(x, 3, 4)
    for bad in ({}, {"output_size": 2, "output_ratio": 0.5}, {"output_ratio": 1.5}):
        with pytest.raises(ValueError):
            nn.FractionalMaxPool2d(2, **bad)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_pooling_with_indices(n):
    x = fb.randn(2, 3, *(7, 8, 6)[:n])
    for name, argument in ((f"max_pool{n}d", 2), (f"adaptive_max_pool{n}d", 3)):
        values, places = getattr(F, name + "_with_indices")(x, argument)
        assert fb.equal(values, getattr(F, name)(x, argument)) and places.dtype is fb.int64
        assert fb.equal(x.flatten(2).gather(2, places.flatten(2)).reshape(values.shape), values)


def test_old_names_of_upsampling_and_rrelu_in_place():
    x = fb.randn(1, 2, 3, 4)
    with pytest.warns(UserWarning, match="deprecated"):
        assert fb.equal(F.upsample_nearest(x, scale_factor=2), x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    with pytest.warns(UserWarning, match="deprecated"):
        y = F.upsample_bilinear(x, (5, 7))
    assert fb.equal(y[..., ::2, ::2], x)  # aligned corners: the old points stay
    z = x.clone()
    assert F.rrelu_(z, 0.25, 0.75) is z and fb.equal(z, fb.where(x < 0, x * 0.5, x))


def log_softmax(scores):
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def test_adaptive_log_softmax():
    fb.manual_seed(0)
    m = nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 12], div_value=2.0, head_bias=True, dtype=fb.float64)
    assert [tuple(p.shape) for p in m.parameters()] == [(7, 16), (7,), (8, 16), (7, 8), (4, 16), (8, 4)]
    x = fb.randn(7, 16, dtype=fb.float64)
    w = [p.detach().numpy() for p in m.parameters()]
    head = log_softmax(x.numpy() @ w[0].T + w[1])
    clusters = [log_softmax(x.numpy() @ w[2 + 2 * i].T @ w[3 + 2 * i].T) + head[:, 5 + i : 6 + i] for i in (0, 1)]
    full = np.concatenate([head[:, :5], *clusters], 1)
    np.testing.assert_allclose(np.exp(full).sum(1), 1)
    np.testing.assert_allclose(m.log_prob(x).detach().numpy(), full)
    target = fb.tensor([0, 4, 5, 11, 12, 19, 3])
    output, loss = m(x, target)
    np.testing.assert_allclose(output.detach().numpy(), full[np.arange(7), target.numpy()])
    np.testing.assert_allclose(loss.item(), -output.mean().item())
    assert m.predict(x).tolist() == full.argmax(1).tolist()
    single = m(x[1], target[1])
    assert single.output.shape == () and single.output.item() == pytest.approx(output[1].item())
    assert fb.autograd.gradcheck(lambda t: m(t, target).loss, (x.requires_grad_(),))


def test_adaptive_log_softmax_refuses():
    for cutoffs in ([], [5, 5], [20], [0, 5], [7, 5]):
        with pytest.raises(ValueError, match="cutoffs should be"):
            nn.AdaptiveLogSoftmaxWithLoss(16, 20, cutoffs)
    m = nn.AdaptiveLogSoftmaxWithLoss(4, 20, [5])
    with pytest.raises(RuntimeError, match=r"should be in \[0, 19\]"):
        m(fb.ones(2, 4), fb.tensor([1, 20]))
    with pytest.raises(RuntimeError, match="batch dimension"):
        m(fb.ones(3, 4), fb.tensor([1, 2]))
    with pytest.raises(RuntimeError, match="1D target tensor expects 2D input"):
        m(fb.ones(4), fb.tensor([1, 2]))


@pytest.mark.parametrize("further", [(), (4, 3)])
def test_linear_cross_entropy_loss(further):
    loss = nn.LinearCrossEntropyLoss(5, 10, out_features=further, bias=True, dtype=fb.float64, ignore_index=2)
    assert tuple(loss.linear.weight.shape) == (10 * math.prod(further), 5)
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(2, 5)), rng.integers(0, 10, (2, *further))
    scores = x @ loss.linear.weight.detach().numpy().T + loss.linear.bias.detach().numpy()
    scores = np.moveaxis(scores.reshape(2, 10, *further), 1, -1)
    chosen = np.take_along_axis(log_softmax(scores), target[..., None], -1)[..., 0]
    expected = -chosen[target != 2].mean()
    assert loss(fb.from_numpy(x), fb.from_numpy(target)).item() == pytest.approx(expected)
    spread = rng.uniform(size=(2, 10, *further))
    plain = nn.LinearCrossEntropyLoss(5, 10, out_features=further, bias=True, dtype=fb.float64)
    plain.load_state_dict(loss.state_dict())
    expected = -(log_softmax(scores) * np.moveaxis(spread, 1, -1)).sum(-1).mean()
    assert plain(fb.from_numpy(x), fb.from_numpy(spread)).item() == pytest.approx(expected)


def test_linear_cross_entropy_loss_refuses():
    with pytest.raises(RuntimeError, match="expected weight shape"):
        nn.LinearCrossEntropyLoss(5, 10, weight=fb.ones(3))
    with pytest.raises(RuntimeError, match="label_smoothing"):
        nn.LinearCrossEntropyLoss(5, 10, label_smoothing=2)
    loss = nn.LinearCrossEntropyLoss(5, 10, ignore_index=3)
    with pytest.raises(RuntimeError, match="ignore_index"):
        loss(fb.ones(2, 5), fb.ones(2, 10))
