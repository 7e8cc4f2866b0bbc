"""Layers against NumPy in float64: values by formulas, gradients by central differences along a random direction."""

import copy
import math

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn

RNG = np.random.default_rng(0)


def tensor(*shape, low=None, high=None):
    values = RNG.standard_normal(shape) if low is None else RNG.uniform(low, high, shape)
    return fb.tensor(values.tolist(), dtype=fb.float64)


def indices(high, *shape):
    return fb.tensor(RNG.integers(0, high, shape).tolist())


def array(t):
    return np.array(t.tolist(), dtype=np.float64).reshape(tuple(t.shape))


def close(actual, expected, tol=1e-10):
    expected = np.asarray(expected, dtype=np.float64)
    assert tuple(actual.shape) == expected.shape
    np.testing.assert_allclose(array(actual), expected, rtol=tol, atol=tol)


def double(module):
    return module.double()


SEQ, IMG, VOL = (2, 4, 9), (2, 4, 6, 5), (1, 2, 4, 5, 4)
SIGNS = fb.tensor([1.0, -1.0, 1.0], dtype=fb.float64)

# Every differentiable layer: how to make it, and its inputs. Gradients of all of them are tested below.
LAYERS = {
    "Linear": (lambda: nn.Linear(4, 3), [(5, 4)]),
    "Bilinear": (lambda: nn.Bilinear(3, 4, 2), [(5, 3), (5, 4)]),
    "Flatten": (lambda: nn.Flatten(), [IMG]),
    "Unflatten": (lambda: nn.Unflatten(1, (2, 2)), [SEQ]),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), [SEQ]),
    "Conv1d same": (lambda: nn.Conv1d(4, 2, 4, padding="same"), [SEQ]),
    "Conv2d": (lambda: nn.Conv2d(4, 3, 3, stride=2, padding=1), [IMG]),
    "Conv2d reflect": (lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"), [IMG]),
    "Conv2d same": (lambda: nn.Conv2d(4, 3, (2, 4), padding="same", dilation=1, padding_mode="circular"), [IMG]),
    "Conv3d": (lambda: nn.Conv3d(2, 2, 2, stride=2, padding=1, dilation=2), [VOL]),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 2, 3, stride=2, padding=1, output_padding=1), [SEQ]),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, dilation=2, groups=2), [IMG]),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(2, 2, 2, stride=2), [VOL]),
    "MaxPool1d": (lambda: nn.MaxPool1d(3, 2, 1), [SEQ]),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), [IMG]),
    "MaxPool3d": (lambda: nn.MaxPool3d(2, padding=1), [VOL]),
    "AvgPool1d": (lambda: nn.AvgPool1d(3, 2, 1), [SEQ]),
    "AvgPool2d": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), [IMG]),
    "AvgPool3d": (lambda: nn.AvgPool3d(2), [VOL]),
    "LPPool1d": (lambda: nn.LPPool1d(2, 3), [(2, 4, 9)]),
    "LPPool2d": (lambda: nn.LPPool2d(2, 2), [IMG]),
    "AdaptiveAvgPool1d": (lambda: nn.AdaptiveAvgPool1d(4), [SEQ]),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d((4, None)), [IMG]),
    "AdaptiveAvgPool3d": (lambda: nn.AdaptiveAvgPool3d(3), [VOL]),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d((4, 3)), [IMG]),
    "ReflectionPad2d": (lambda: nn.ReflectionPad2d((1, 2, 3, 0)), [IMG]),
    "ReplicationPad1d": (lambda: nn.ReplicationPad1d((2, 3)), [SEQ]),
    "CircularPad3d": (lambda: nn.CircularPad3d(1), [VOL]),
    "ConstantPad2d": (lambda: nn.ConstantPad2d((1, -1, 2, 0), 3.0), [IMG]),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), [(5, 4)]),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(4), [IMG]),
    "BatchNorm3d": (lambda: nn.BatchNorm3d(2), [VOL]),
    "BatchNorm2d evaluating": (lambda: nn.BatchNorm2d(4).eval(), [IMG]),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(4, affine=True), [SEQ]),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4), [IMG]),
    "LayerNorm": (lambda: nn.LayerNorm((6, 5)), [IMG]),
    "RMSNorm": (lambda: nn.RMSNorm(5), [IMG]),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), [IMG]),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(3, alpha=0.1), [IMG]),
    **{
        name: (getattr(nn, name), [(3, 4)])
        for name in (
            "ReLU", "SELU", "SiLU", "Mish", "ELU", "CELU", "LeakyReLU", "Hardtanh", "ReLU6", "GELU", "GLU", "Sigmoid",
            "Tanh", "LogSigmoid", "Softplus", "Softshrink", "Hardshrink", "Softsign", "Tanhshrink", "PReLU",
            "Hardswish", "Hardsigmoid",
        )
    },
    "PReLU channels": (lambda: nn.PReLU(4), [IMG]),
    "Softmax": (lambda: nn.Softmax(1), [(3, 4)]),
    "Softmin": (lambda: nn.Softmin(1), [(3, 4)]),
    "LogSoftmax": (lambda: nn.LogSoftmax(0), [(3, 4)]),
    "Softmax2d": (lambda: nn.Softmax2d(), [IMG]),
    "CosineSimilarity": (lambda: nn.CosineSimilarity(), [(3, 4), (3, 4)]),
    "PairwiseDistance": (lambda: nn.PairwiseDistance(), [(3, 4), (3, 4)]),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), [IMG]),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), [(2, 3, 4, 6)]),
    "ChannelShuffle": (lambda: nn.ChannelShuffle(2), [IMG]),
    "Upsample linear": (lambda: nn.Upsample(7, mode="linear"), [SEQ]),
    "Upsample bilinear": (lambda: nn.Upsample(scale_factor=1.7, mode="bilinear"), [IMG]),
    "Upsample bicubic": (lambda: nn.Upsample((7, 3), mode="bicubic", align_corners=True), [IMG]),
    "Upsample nearest": (lambda: nn.Upsample(scale_factor=2), [IMG]),
    "Unfold": (lambda: nn.Unfold((2, 3), padding=1, stride=2), [IMG]),
    "Fold": (lambda: nn.Fold((4, 5), 2), [(2, 12, 12)]),
    "RNN": (lambda: nn.RNN(4, 3, 2), [(5, 2, 4)]),
    "LSTM": (lambda: nn.LSTM(4, 3, 2, bidirectional=True, batch_first=True), [(2, 5, 4)]),
    "LSTM projected": (lambda: nn.LSTM(4, 3, proj_size=2), [(5, 2, 4)]),
    "GRU": (lambda: nn.GRU(4, 3, bias=False), [(5, 4)]),
    "RNNCell": (lambda: nn.RNNCell(4, 3), [(2, 4), (2, 3)]),
    "LSTMCell": (lambda: nn.LSTMCell(4, 3), [(2, 4)]),
    "GRUCell": (lambda: nn.GRUCell(4, 3), [(2, 4), (2, 3)]),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2), [(3, 2, 4), (5, 2, 4), (5, 2, 4)]),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(4, 2, 6, 0.0, activation="gelu"), [(3, 2, 4)]),
    "TransformerDecoderLayer": (lambda: nn.TransformerDecoderLayer(4, 2, 6, 0.0), [(3, 2, 4), (5, 2, 4)]),
    "Transformer": (lambda: nn.Transformer(4, 2, 1, 1, 6, 0.0, norm_first=True), [(3, 2, 4), (5, 2, 4)]),
}  # fmt: skip


def flat(output):
    if isinstance(output, fb.Tensor):
        return [output]
    return [t for part in output for t in flat(part)] if isinstance(output, (tuple, list)) else []


@pytest.mark.parametrize("name", LAYERS)
def test_gradients(name):
    """<grad, v> = (f(x + h v) - f(x - h v)) / 2h, over inputs and parameters at once."""
    make, shapes = LAYERS[name]
    fb.manual_seed(1)
    layer = double(make())
    inputs = [tensor(*shape, low=0.1, high=2.0) if "LPPool" in name else tensor(*shape) for shape in shapes]
    leaves = [x.requires_grad_() for x in inputs] + list(layer.parameters())
    directions = [tensor(*leaf.shape) for leaf in leaves]
    weights = [tensor(*out.shape) for out in flat(layer(*inputs))]

    def loss():
        return sum((out * w).sum() for out, w in zip(flat(layer(*inputs)), weights, strict=True))

    loss().backward()
    slope = sum(
        float((leaf.grad * v).sum()) for leaf, v in zip(leaves, directions, strict=True) if leaf.grad is not None
    )
    h = 1e-6

    def moved(step):
        with fb.no_grad():
            for leaf, v in zip(leaves, directions, strict=True):
                leaf.add_(v * step)
            return float(loss())

    high = moved(h)
    low = moved(-2 * h)
    assert math.isclose((high - low) / (2 * h), slope, rel_tol=1e-5, abs_tol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_copies_and_reloaded_layers_agree(name):
    make, shapes = LAYERS[name]
    layer, other = double(make()).eval(), double(make()).eval()
    other.load_state_dict(layer.state_dict())
    inputs = [tensor(*shape) for shape in shapes]
    expected = [t.tolist() for t in flat(layer(*inputs))]
    for twin in (copy.deepcopy(layer), other):
        assert repr([t.tolist() for t in flat(twin(*inputs))]) == repr(expected)  # by repr: NaN equals NaN


# values


def test_linear_and_bilinear():
    layer, x = double(nn.Linear(4, 3)), tensor(2, 5, 4)
    close(layer(x), array(x) @ array(layer.weight).T + array(layer.bias))
    layer, a, b = double(nn.Bilinear(3, 4, 2)), tensor(5, 3), tensor(5, 4)
    close(layer(a, b), np.einsum("ni,kij,nj->nk", array(a), array(layer.weight), array(b)) + array(layer.bias))


def naive_conv(x, w, b, stride, padding, dilation, groups):
    n = w.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0)] + [(p, p) for p in padding])
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:], strict=True)]
    sizes = [(s - r) // st + 1 for s, r, st in zip(x.shape[2:], reach, stride, strict=True)]
    out = np.zeros((x.shape[0], w.shape[0], *sizes))
    per_in, per_out = x.shape[1] // groups, w.shape[0] // groups
    for at in np.ndindex(*sizes):
        box = tuple(slice(i * st, i * st + r, d) for i, st, r, d in zip(at, stride, reach, dilation, strict=True))
        for g in range(groups):
            window = x[(slice(None), slice(g * per_in, (g + 1) * per_in), *box)]
            rows = w[g * per_out : (g + 1) * per_out]
            axes = list(range(1, n + 2))
            out[(slice(None), slice(g * per_out, (g + 1) * per_out), *at)] = np.tensordot(window, rows, (axes, axes))
    return out if b is None else out + b.reshape(-1, *[1] * n)


CONVS = [
    dict(kernel_size=3), dict(kernel_size=2, stride=2, padding=1), dict(kernel_size=3, dilation=2, padding=2),
    dict(kernel_size=3, groups=2, stride=3, padding=1, bias=False),
]  # fmt: skip


@pytest.mark.parametrize("settings", CONVS)
@pytest.mark.parametrize(("n", "shape"), [(1, (2, 4, 9)), (2, (2, 4, 7, 8)), (3, (1, 4, 6, 5, 7))])
def test_convolutions(n, shape, settings):
    layer, x = double(getattr(nn, f"Conv{n}d")(4, 6, **settings)), tensor(*shape)
    bias = None if layer.bias is None else array(layer.bias)
    expected = naive_conv(
        array(x), array(layer.weight), bias, layer.stride, layer.padding, layer.dilation, layer.groups
    )
    close(layer(x), expected)
    close(layer(x[0]), expected[0])


@pytest.mark.parametrize(
    "settings",
    [dict(), dict(stride=2, padding=1, output_padding=1), dict(stride=3, dilation=2), dict(groups=2, padding=2)],
)
@pytest.mark.parametrize(("n", "shape"), [(1, (2, 4, 5)), (2, (2, 4, 4, 3)), (3, (1, 4, 3, 3, 4))])
def test_transposed_convolution_is_the_transpose(n, shape, settings):
    """<conv(y), x> = <y, conv_transpose(x)> for all y, with the same weight."""
    layer, x = double(getattr(nn, f"ConvTranspose{n}d")(4, 6, 3, bias=False, **settings)), tensor(*shape)
    out = layer(x)
    y = tensor(*out.shape)
    conv = naive_conv(array(y), array(layer.weight), None, layer.stride, layer.padding, layer.dilation, layer.groups)
    conv = conv[(slice(None), slice(None), *(slice(s) for s in shape[2:]))]
    np.testing.assert_allclose(np.sum(conv * array(x)), np.sum(array(out) * array(y)), rtol=1e-10)


def test_transposed_convolution_output_size():
    layer = nn.ConvTranspose2d(2, 2, 3, stride=2)
    assert layer(fb.ones(1, 2, 4, 4), output_size=(10, 9)).shape == (1, 2, 10, 9)
    with pytest.raises(ValueError, match="valid sizes range"):
        layer(fb.ones(1, 2, 4, 4), output_size=(11, 9))


def windows(x, kernel, stride, padding, fill, ceil_mode=False):
    """The windows of the last axis and their index ranges, by the definition of pooling."""
    size = x.shape[-1]
    room = size + 2 * padding - kernel
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    return [range(i * stride - padding, i * stride - padding + kernel) for i in range(count)]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 3, 0), (3, 2, 1), (2, 3, 1)])
def test_pooling_1d(kernel, stride, padding, ceil_mode):
    x = tensor(2, 3, 10)
    v = array(x)
    ranges = windows(v, kernel, stride, padding, 0, ceil_mode)
    inside = [[i for i in r if 0 <= i < 10] for r in ranges]
    close(
        nn.MaxPool1d(kernel, stride, padding, ceil_mode=ceil_mode)(x), np.stack([v[..., i].max(-1) for i in inside], -1)
    )
    means = np.stack([v[..., i].mean(-1) for i in inside], -1)
    close(nn.AvgPool1d(kernel, stride, padding, ceil_mode, count_include_pad=False)(x), means)
    counted = [min(r.stop, 10 + padding) - r.start for r in ranges]
    sums = np.stack([v[..., i].sum(-1) / n for i, n in zip(inside, counted, strict=True)], -1)
    close(nn.AvgPool1d(kernel, stride, padding, ceil_mode)(x), sums)


def test_pooling_2d_and_3d_indices_and_unpooling():
    x = tensor(2, 3, 5, 6)
    values, at = nn.MaxPool2d(2, 2, return_indices=True)(x)
    v = array(x)[:, :, :4].reshape(2, 3, 2, 2, 3, 2).max((3, 5))
    close(values, v)
    close(nn.MaxPool2d(2)(x), v)
    close(x.reshape(2, 3, -1).gather(2, at.reshape(2, 3, -1)).reshape(values.shape), v)
    back = nn.MaxUnpool2d(2)(values, at, output_size=(5, 6))
    assert back.shape == x.shape and (back != 0).sum().item() == v.size
    close(back.sum(), v.sum())
    y = tensor(1, 2, 4, 4, 6)
    values, at = nn.MaxPool3d(2, return_indices=True)(y)
    v = array(y).reshape(1, 2, 2, 2, 2, 2, 3, 2).max((3, 5, 7))
    close(values, v)
    close(y.reshape(1, 2, -1).gather(2, at.reshape(1, 2, -1)).reshape(values.shape), v)
    close(nn.AvgPool3d(2)(y), array(y).reshape(1, 2, 2, 2, 2, 2, 3, 2).mean((3, 5, 7)))
    close(nn.AvgPool3d(2, divisor_override=5)(y), array(y).reshape(1, 2, 2, 2, 2, 2, 3, 2).sum((3, 5, 7)) / 5)


@pytest.mark.parametrize("count", [1, 3, 4, 7, 9])
def test_adaptive_pooling(count):
    x = tensor(2, 3, 7)
    parts = [array(x)[..., i * 7 // count : -(-(i + 1) * 7 // count)] for i in range(count)]
    close(nn.AdaptiveAvgPool1d(count)(x), np.stack([p.mean(-1) for p in parts], -1))
    values, at = nn.AdaptiveMaxPool1d(count, return_indices=True)(x)
    close(values, np.stack([p.max(-1) for p in parts], -1))
    close(x.gather(2, at), array(values))


def test_batchnorm_trains_and_evaluates():
    layer, x = double(nn.BatchNorm2d(4)), tensor(3, 4, 5, 2)
    nn.init.uniform_(layer.weight)
    nn.init.uniform_(layer.bias)
    v = array(x)
    mean, var = v.mean((0, 2, 3)), v.var((0, 2, 3))
    w, b = array(layer.weight).reshape(4, 1, 1), array(layer.bias).reshape(4, 1, 1)

    def normalised(mean, var):
        return (v - mean.reshape(4, 1, 1)) / np.sqrt(var.reshape(4, 1, 1) + 1e-5) * w + b

    close(layer(x), normalised(mean, var))
    n = 3 * 5 * 2
    running = 0.1 * mean, 0.9 + 0.1 * var * n / (n - 1)
    close(layer.running_mean, running[0])
    close(layer.running_var, running[1])
    assert layer.num_batches_tracked.item() == 1
    close(layer.eval()(x), normalised(*running))
    assert layer.num_batches_tracked.item() == 1


def test_batchnorm_variants():
    x = tensor(6, 4)
    average = double(nn.BatchNorm1d(4, momentum=None))
    y = tensor(6, 4)
    average(x), average(y)
    close(average.running_mean, (array(x).mean(0) + array(y).mean(0)) / 2)
    untracked = double(nn.BatchNorm1d(4, track_running_stats=False, affine=False)).eval()
    v = array(x)
    close(untracked(x), (v - v.mean(0)) / np.sqrt(v.var(0) + 1e-5))
    assert untracked.running_mean is None and list(untracked.state_dict()) == []
    with pytest.raises(ValueError, match="expected 4D input"):
        nn.BatchNorm2d(4)(fb.ones(2, 4))


def test_instance_layer_group_rms_norms():
    x = tensor(3, 4, 5)
    v = array(x)

    def standard(a, axes):
        return (a - a.mean(axes, keepdims=True)) / np.sqrt(a.var(axes, keepdims=True) + 1e-5)

    close(nn.InstanceNorm1d(4)(x), standard(v, (2,)))
    close(nn.InstanceNorm1d(4)(x[0]), standard(v[0], (1,)))
    close(double(nn.LayerNorm(5))(x), standard(v, (2,)))
    close(double(nn.LayerNorm((4, 5)))(x), standard(v, (1, 2)))
    close(double(nn.GroupNorm(2, 4))(x), standard(v.reshape(3, 2, 10), (2,)).reshape(v.shape))
    close(double(nn.RMSNorm(5, eps=1e-3))(x), v / np.sqrt((v**2).mean(2, keepdims=True) + 1e-3))
    tracked = double(nn.InstanceNorm1d(4, track_running_stats=True))
    tracked(x)
    close(tracked.running_mean, 0.1 * v.mean((0, 2)))
    close(tracked.running_var, 0.9 + 0.1 * v.var(2, ddof=1).mean(0))
    close(
        tracked.eval()(x),
        (v - 0.1 * v.mean((0, 2)).reshape(4, 1)) / np.sqrt(array(tracked.running_var).reshape(4, 1) + 1e-5),
    )


def test_local_response_norm():
    x = tensor(2, 5, 3)
    v = array(x)
    sums = np.stack([(v[:, max(0, c - 1) : c + 2] ** 2).sum(1) for c in range(5)], 1)
    close(nn.LocalResponseNorm(3, alpha=0.2, beta=0.5, k=2.0)(x), v / (2.0 + 0.2 / 3 * sums) ** 0.5)


def test_embedding():
    table = double(nn.Embedding(6, 3, padding_idx=-6))
    assert table.padding_idx == 0 and table.weight[0].tolist() == [0.0] * 3
    at = fb.tensor([[0, 5], [2, 5]])
    out = table(at)
    close(out, array(table.weight)[np.array(at.tolist())])
    out.sum().backward()
    assert table.weight.grad[:, 0].tolist() == [0.0, 0.0, 1.0, 0.0, 0.0, 2.0]
    scaled = double(nn.Embedding(6, 3, scale_grad_by_freq=True))
    scaled(at).sum().backward()
    assert scaled.weight.grad[:, 0].tolist() == [1.0, 0.0, 1.0, 0.0, 0.0, 1.0]
    short = nn.Embedding(6, 3, max_norm=0.5)
    assert (short(fb.arange(6)).norm(2, 1) <= 0.5 + 1e-6).all()
    assert not nn.Embedding.from_pretrained(fb.ones(2, 3)).weight.requires_grad
    with pytest.raises(AssertionError, match="Padding_idx"):
        nn.Embedding(3, 2, padding_idx=3)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag(mode):
    table = double(nn.EmbeddingBag(8, 3, mode=mode))
    at, offsets = indices(8, 7), fb.tensor([0, 2, 2])
    w = array(table.weight)[np.array(at.tolist())]
    reduce = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode]
    close(table(at, offsets), np.stack([reduce(w[:2], 0), np.zeros(3), reduce(w[2:], 0)]))
    bags = indices(8, 2, 4)
    close(table(bags), reduce(array(table.weight)[np.array(bags.tolist())], 1))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def naive_recurrent(mode, layer, x, suffix="_l0"):
    w = {n: array(getattr(layer, n + suffix)) for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    hidden = layer.hidden_size
    h, c, out = np.zeros((x.shape[1], hidden)), np.zeros((x.shape[1], hidden)), []
    for xt in x:
        a, b = xt @ w["weight_ih"].T + w["bias_ih"], h @ w["weight_hh"].T + w["bias_hh"]
        if mode == "RNN":
            h = np.tanh(a + b)
        elif mode == "LSTM":
            i, f, g, o = np.split(a + b, 4, 1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            (ar, az, an), (br, bz, bn) = np.split(a, 3, 1), np.split(b, 3, 1)
            r, z = sigmoid(ar + br), sigmoid(az + bz)
            n = np.tanh(an + r * bn)
            h = (1 - z) * n + z * h
        out.append(h)
    return np.stack(out), h


@pytest.mark.parametrize("mode", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers(mode):
    layer, x = double(getattr(nn, mode)(4, 3, bidirectional=True)), tensor(6, 2, 4)
    forward, last = naive_recurrent(mode, layer, array(x))
    backward, first = naive_recurrent(mode, layer, array(x)[::-1], "_l0_reverse")
    out, state = layer(x)
    close(out, np.concatenate([forward, backward[::-1]], 2))
    close(state[0] if mode == "LSTM" else state, np.stack([last, first]))
    cell = double(getattr(nn, mode + "Cell")(4, 3))
    with fb.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, name).copy_(getattr(layer, name + "_l0"))
    h = None
    for t in range(6):
        h = cell(x[t], h)
    close(h[0] if mode == "LSTM" else h, last)


@pytest.mark.parametrize("mode", ["RNN", "LSTM", "GRU"])
def test_packed_sequences_equal_sequences_alone(mode):
    layer = double(getattr(nn, mode)(4, 3, num_layers=2, bidirectional=True))
    sequences = [tensor(n, 4) for n in (2, 5, 3)]
    out, state = layer(nn.utils.rnn.pack_sequence(sequences, enforce_sorted=False))
    for i, (sequence, got) in enumerate(zip(sequences, nn.utils.rnn.unpack_sequence(out), strict=True)):
        alone, last = layer(sequence)
        close(got, array(alone))
        close((state[0] if mode == "LSTM" else state)[:, i], array(last[0] if mode == "LSTM" else last))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_multihead_attention():
    layer = double(nn.MultiheadAttention(6, 2, batch_first=True))
    nn.init.uniform_(layer.in_proj_bias)
    q, kv = tensor(2, 3, 6), tensor(2, 5, 6)
    hidden = fb.tensor([[False] * 5, [False, False, True, True, False]])
    causal = fb.ones(3, 5, dtype=fb.bool).triu(2)
    w, b = np.split(array(layer.in_proj_weight), 3), np.split(array(layer.in_proj_bias), 3)

    def heads(x, i):
        return (array(x) @ w[i].T + b[i]).reshape(2, -1, 2, 3).transpose(0, 2, 1, 3)

    Q, K, V = heads(q, 0), heads(kv, 1), heads(kv, 2)
    scores = Q @ K.transpose(0, 1, 3, 2) / math.sqrt(3)
    scores[np.broadcast_to(np.array(hidden.tolist())[:, None, None], scores.shape)] = -np.inf
    scores[np.broadcast_to(np.array(causal.tolist()), scores.shape)] = -np.inf
    attention = softmax(scores)
    expected = (attention @ V).transpose(0, 2, 1, 3).reshape(2, 3, 6) @ array(layer.out_proj.weight).T + array(
        layer.out_proj.bias
    )
    out, weights = layer(q, kv, kv, key_padding_mask=hidden, attn_mask=causal)
    close(out, expected)
    close(weights, attention.mean(1))
    bare, none = layer(q, kv, kv, key_padding_mask=hidden, attn_mask=causal, need_weights=False)
    close(bare, expected)
    assert none is None
    alone, _ = layer(q[0], kv[0], kv[0], attn_mask=causal)
    close(alone, expected[0])


def test_attention_layers_keep_pytorchs_names():
    assert list(nn.MultiheadAttention(4, 2, kdim=3, vdim=5, add_bias_kv=True).state_dict()) == [
        "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias", "bias_k", "bias_v",
        "out_proj.weight", "out_proj.bias",
    ]  # fmt: skip
    assert list(nn.LSTM(4, 3, 1, proj_size=2, bidirectional=True).state_dict())[4:7] == [
        "weight_hr_l0", "weight_ih_l0_reverse", "weight_hh_l0_reverse",
    ]  # fmt: skip


def test_dropout_layers():
    fb.manual_seed(0)
    x = fb.ones(200, 50, 4)
    for layer, per_channel in ((nn.Dropout(0.3), False), (nn.Dropout1d(0.3), True)):
        y = layer(x)
        kept = y != 0
        np.testing.assert_allclose(array(y)[array(kept) > 0], 1 / 0.7, rtol=1e-6)
        share = array(kept).mean()
        assert abs(share - 0.7) < 5 * math.sqrt(0.21 / (10_000 if per_channel else 40_000))
        rows = array(kept).reshape(-1, 4)
        assert (rows.min(1) == rows.max(1)).all() == per_channel
        assert layer.eval()(x) is x or (layer(x) == x).all()
    z = fb.randn(400, 100)
    dropped = array(nn.AlphaDropout(0.2)(z))
    assert abs(dropped.mean()) < 0.03 and abs(dropped.std() - 1) < 0.03
    with pytest.raises(ValueError, match="between 0 and 1"):
        nn.Dropout(1.5)


def test_interpolation_reproduces_lines_and_repeats_pixels():
    line = fb.arange(8, dtype=fb.float64).reshape(1, 1, 8)
    close(nn.Upsample(15, mode="linear", align_corners=True)(line), np.arange(15).reshape(1, 1, 15) / 2)
    close(nn.Upsample(scale_factor=3)(line), np.repeat(np.arange(8.0), 3).reshape(1, 1, 24))
    x = tensor(1, 2, 4, 6)
    close(nn.Upsample((2, 3), mode="area")(x), array(x).reshape(1, 2, 2, 2, 3, 2).mean((3, 5)))
    grid = nn.functional.affine_grid(
        fb.tensor([[[1.0, 0, 0], [0, 1.0, 0]]], dtype=fb.float64), (1, 2, 4, 6), align_corners=False
    )
    close(nn.functional.grid_sample(x, grid, align_corners=False), array(x))
    plane = (fb.arange(5, dtype=fb.float64).reshape(5, 1) * 2 + fb.arange(7, dtype=fb.float64)).reshape(1, 1, 5, 7)
    big = nn.Upsample((9, 13), mode="bicubic", align_corners=True)(plane)
    inner = (np.arange(9).reshape(9, 1) + np.arange(13) / 2)[3:-3, 3:-3]
    close(big[0, 0, 3:-3, 3:-3], inner)


def test_fold_counts_overlaps():
    x = tensor(1, 2, 5, 6)
    patches = nn.Unfold(3, padding=1)(x)
    assert patches.shape == (1, 18, 30)
    close(patches[0, 4], array(x)[0, 0].reshape(-1))
    ones = nn.Fold((5, 6), 3, padding=1)(nn.Unfold(3, padding=1)(fb.ones_like(x)))
    close(nn.Fold((5, 6), 3, padding=1)(patches), array(x) * array(ones))
    assert ones[0, 0, 0, 0].item() == 4.0 and ones[0, 0, 2, 2].item() == 9.0
