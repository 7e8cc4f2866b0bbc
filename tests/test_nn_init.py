"""nn.init: each distribution by its moments and bounds, at sizes where five standard errors are narrow."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.nn import init


def sample(fill, *shape):
    fb.manual_seed(0)
    tensor = fb.empty(*shape)
    assert fill(tensor) is tensor
    return np.array(tensor.tolist())


def check_uniform(values, low, high):
    assert low <= values.min() and values.max() <= high
    width, n = high - low, values.size
    assert abs(values.mean() - (low + high) / 2) < 5 * width / math.sqrt(12 * n)
    np.testing.assert_allclose(values.std(), width / math.sqrt(12), rtol=0.02)


def check_normal(values, mean, std):
    assert abs(values.mean() - mean) < 5 * std / math.sqrt(values.size)
    np.testing.assert_allclose(values.std(), std, rtol=0.03)
    assert 0.66 < (np.abs(values - mean) < std).mean() < 0.71


SHAPE = (64, 40, 3, 3)
FAN_IN, FAN_OUT = 40 * 9, 64 * 9
RELU = math.sqrt(2)
LEAKY = math.sqrt(2 / (1 + 0.3**2))


@pytest.mark.parametrize(
    ("fill", "bound"),
    [
        (lambda t: init.xavier_uniform_(t, 1.5), 1.5 * math.sqrt(6 / (FAN_IN + FAN_OUT))),
        (lambda t: init.kaiming_uniform_(t, nonlinearity="relu"), RELU * math.sqrt(3 / FAN_IN)),
        (lambda t: init.kaiming_uniform_(t, 0.3, "fan_out"), LEAKY * math.sqrt(3 / FAN_OUT)),
    ],
)
def test_uniform_bounds(fill, bound):
    check_uniform(sample(fill, *SHAPE), -bound, bound)


@pytest.mark.parametrize(
    ("fill", "std"),
    [
        (lambda t: init.xavier_normal_(t), math.sqrt(2 / (FAN_IN + FAN_OUT))),
        (lambda t: init.kaiming_normal_(t, nonlinearity="relu"), RELU / math.sqrt(FAN_IN)),
        (lambda t: init.kaiming_normal_(t, 0.3, "fan_out"), LEAKY / math.sqrt(FAN_OUT)),
    ],
)
def test_normal_deviations(fill, std):
    check_normal(sample(fill, *SHAPE), 0, std)


def test_plain_fills():
    check_uniform(sample(lambda t: init.uniform_(t, -2, 3), 20000), -2, 3)
    check_normal(sample(lambda t: init.normal_(t, 2, 3), 20000), 2, 3)
    assert (sample(lambda t: init.constant_(t, 3), 4) == 3).all()
    assert (sample(init.ones_, 4) == 1).all() and (sample(init.zeros_, 4) == 0).all()
    assert (sample(init.eye_, 3, 2) == np.eye(3, 2)).all()


def test_truncated_normal():
    values = sample(lambda t: init.trunc_normal_(t, 1.0, 2.0, 0.0, 4.0), 20000)
    assert values.min() >= 0 and values.max() <= 4
    # Moments of the normal distribution cut at α = -1/2 and β = 3/2: 1 + 2 (φ(α) - φ(β)) / (Φ(β) - Φ(α)).
    density = [math.exp(-x * x / 2) / math.sqrt(2 * math.pi) for x in (-0.5, 1.5)]
    mass = 0.5 * (math.erf(1.5 / math.sqrt(2)) - math.erf(-0.5 / math.sqrt(2)))
    assert abs(values.mean() - (1 + 2 * (density[0] - density[1]) / mass)) < 0.04
    with pytest.warns(UserWarning, match="inaccurate"):
        init.trunc_normal_(fb.empty(2), 10.0)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (6, 2, 3)])
def test_orthogonal(shape):
    values = sample(lambda t: init.orthogonal_(t, 2.0), *shape).reshape(shape[0], -1)
    gram = values @ values.T if values.shape[0] <= values.shape[1] else values.T @ values
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-5)


def test_dirac_passes_channels_on():
    x = fb.randn(2, 4, 5, 5)
    layer = nn.Conv2d(4, 4, 3, padding=1, bias=False)
    init.dirac_(layer.weight)
    np.testing.assert_allclose(layer(x).tolist(), x.tolist(), rtol=1e-6)
    grouped = sample(lambda t: init.dirac_(t, 2), 4, 2, 3)
    assert grouped.sum() == 4 and (grouped[[0, 1, 2, 3], [0, 1, 0, 1], 1] == 1).all()


def test_sparse():
    values = sample(lambda t: init.sparse_(t, 0.3, 2.0), 10, 200)
    assert ((values == 0).sum(0) == 3).all()
    np.testing.assert_allclose(values[values != 0].std(), 2.0, rtol=0.1)


def test_layers_start_from_their_distributions():
    fb.manual_seed(0)
    for layer, fan_in in ((nn.Linear(100, 200), 100), (nn.Conv2d(8, 64, 5, groups=2), 100)):
        for parameter in layer.parameters():
            values = np.array(parameter.tolist()).reshape(-1)
            assert np.abs(values).max() <= 1 / math.sqrt(fan_in)
            np.testing.assert_allclose(values.std(), 1 / math.sqrt(3 * fan_in), rtol=0.15)
    check_normal(np.array(nn.Embedding(200, 100).weight.tolist()), 0, 1)
    check_uniform(np.array(nn.LSTM(50, 64).weight_ih_l0.tolist()), -1 / 8, 1 / 8)
    check_uniform(
        np.array(nn.MultiheadAttention(64, 2).in_proj_weight.tolist()), -math.sqrt(6 / 256), math.sqrt(6 / 256)
    )


def test_same_seed_same_layer():
    fb.manual_seed(3)
    first = nn.Linear(4, 4).weight.tolist()
    fb.manual_seed(3)
    assert nn.Linear(4, 4).weight.tolist() == first != nn.Linear(4, 4).weight.tolist()


def test_gains_and_errors():
    assert init.calculate_gain("relu") == math.sqrt(2) and init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        init.calculate_gain("swish")
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        init.xavier_normal_(fb.empty(3))
    with pytest.raises(ValueError, match="not supported"):
        init.kaiming_normal_(fb.empty(3, 3), mode="fan")
    with pytest.raises(ValueError, match="2 dimensions"):
        init.eye_(fb.empty(3))
    with pytest.warns(UserWarning, match="zero-element"):
        init.kaiming_uniform_(fb.empty(0, 3))
