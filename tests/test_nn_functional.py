"""nn.functional and nn.utils against NumPy in float64, each by its formula."""

import itertools
import math

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.nn import functional as F

RNG = np.random.default_rng(0)


def t(values):
    return fb.tensor(np.asarray(values).tolist(), dtype=fb.float64)


def a(tensor):
    return np.array(tensor.tolist(), dtype=np.float64).reshape(tuple(tensor.shape))


def close(actual, expected, tol=1e-10):
    np.testing.assert_allclose(a(actual), expected, rtol=tol, atol=tol)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_softmax(x, axis=1):
    x = x - x.max(axis, keepdims=True)
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


X, Y, Z = (RNG.standard_normal((4, 5)) for _ in range(3))
P, Q = sigmoid(X), sigmoid(Y)
S = RNG.integers(0, 2, (4, 5)) * 2.0 - 1
C = np.array([1, 0, 4, 2])
W = np.arange(1.0, 6.0)
D = np.abs(X - Y)
LONG = fb.tensor(C.tolist())


def cosine(x, y):
    return (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))


def distance(x, y):
    return np.sqrt(((x - y + 1e-6) ** 2).sum(-1))


def margins(p, margin, weight):
    rows = np.maximum(0, margin - X[range(4), C][:, None] + X) ** p * weight[C][:, None]
    rows[range(4), C] = 0
    return rows.sum(1) / 5


# name: (the loss of `reduction`, what it is element by element)
LOSSES = {
    "l1": (lambda r: F.l1_loss(t(X), t(Y), reduction=r), D),
    "mse": (lambda r: F.mse_loss(t(X), t(Y), reduction=r), D**2),
    "smooth_l1": (
        lambda r: F.smooth_l1_loss(t(X), t(Y), reduction=r, beta=0.5), np.where(D < 0.5, D**2, D - 0.25),
    ),
    "huber": (
        lambda r: F.huber_loss(t(X), t(Y), reduction=r, delta=0.5), np.where(D < 0.5, 0.5 * D**2, 0.5 * (D - 0.25)),
    ),
    "bce": (
        lambda r: F.binary_cross_entropy(t(P), t(Q), t(W), reduction=r),
        -W * (Q * np.log(P) + (1 - Q) * np.log(1 - P)),
    ),
    "bce_with_logits": (
        lambda r: F.binary_cross_entropy_with_logits(t(X), t(Q), reduction=r, pos_weight=t(W)),
        -(W * Q * np.log(P) + (1 - Q) * np.log(1 - P)),
    ),
    "kl_div": (lambda r: F.kl_div(t(np.log(P)), t(Q), reduction=r), Q * (np.log(Q) - np.log(P))),
    "kl_div of logs": (
        lambda r: F.kl_div(t(np.log(P)), t(np.log(Q)), reduction=r, log_target=True), Q * (np.log(Q) - np.log(P)),
    ),
    "poisson_nll": (lambda r: F.poisson_nll_loss(t(X), t(Q), reduction=r), np.exp(X) - Q * X),
    "poisson_nll full": (
        lambda r: F.poisson_nll_loss(t(P), t(3 * Q), log_input=False, full=True, eps=0.0, reduction=r),
        P - 3 * Q * np.log(P)
        + np.where(3 * Q > 1, 3 * Q * np.log(3 * Q) - 3 * Q + 0.5 * np.log(6 * np.pi * Q), 0),
    ),
    "gaussian_nll": (
        lambda r: F.gaussian_nll_loss(t(X), t(Y), t(P), full=True, reduction=r),
        0.5 * (np.log(P) + D**2 / P + np.log(2 * np.pi)),
    ),
    "hinge_embedding": (
        lambda r: F.hinge_embedding_loss(t(X), t(S), reduction=r), np.where(S == 1, X, np.maximum(0, 1 - X)),
    ),
    "margin_ranking": (
        lambda r: F.margin_ranking_loss(t(X), t(Y), t(S), 0.3, reduction=r), np.maximum(0, -S * (X - Y) + 0.3),
    ),
    "soft_margin": (lambda r: F.soft_margin_loss(t(X), t(S), reduction=r), np.log1p(np.exp(-S * X))),
    "cosine_embedding": (
        lambda r: F.cosine_embedding_loss(t(X), t(Y), t(S[:, 0]), 0.1, reduction=r),
        np.where(S[:, 0] == 1, 1 - cosine(X, Y), np.maximum(0, cosine(X, Y) - 0.1)),
    ),
    "multi_margin": (lambda r: F.multi_margin_loss(t(X), LONG, 1, 0.7, t(W), reduction=r), margins(1, 0.7, W)),
    "multi_margin squared": (lambda r: F.multi_margin_loss(t(X), LONG, 2, reduction=r), margins(2, 1, np.ones(5))),
    "multilabel_soft_margin": (
        lambda r: F.multilabel_soft_margin_loss(t(X), t(Q), t(W), reduction=r),
        -(W * (Q * np.log(P) + (1 - Q) * np.log(1 - P))).mean(1),
    ),
    "triplet": (
        lambda r: F.triplet_margin_loss(t(X), t(Y), t(Z), reduction=r),
        np.maximum(0, distance(X, Y) - distance(X, Z) + 1),
    ),
    "triplet swap": (
        lambda r: F.triplet_margin_with_distance_loss(t(X), t(Y), t(Z), swap=True, reduction=r),
        np.maximum(0, distance(X, Y) - np.minimum(distance(X, Z), distance(Y, Z)) + 1),
    ),
    "cross_entropy": (lambda r: F.cross_entropy(t(X), LONG, reduction=r), -log_softmax(X)[range(4), C]),
    "cross_entropy of probabilities": (
        lambda r: F.cross_entropy(t(X), t(Q), reduction=r), -(Q * log_softmax(X)).sum(1),
    ),
    "nll": (lambda r: F.nll_loss(t(X), LONG, reduction=r), -X[range(4), C]),
}  # fmt: skip


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, reduction):
    loss, expected = LOSSES[name]
    close(loss(reduction), {"none": lambda x: x, "mean": np.mean, "sum": np.sum}[reduction](expected))


def test_weighted_and_smoothed_cross_entropy():
    logp, w = log_softmax(X), W[C]
    close(F.cross_entropy(t(X), LONG, t(W)), -(w * logp[range(4), C]).sum() / w.sum())
    smooth = -(0.9 * logp[range(4), C] + 0.1 * logp.mean(1))
    close(F.cross_entropy(t(X), LONG, label_smoothing=0.1), smooth.mean())
    kept = C != 4
    close(F.cross_entropy(t(X), LONG, ignore_index=4), -logp[range(4), C][kept].mean())
    close(
        F.linear_cross_entropy(t(X), t(Y), fb.tensor([1, 0, 3, 2])),
        -log_softmax(X @ Y.T)[range(4), [1, 0, 3, 2]].mean(),
    )


def test_multilabel_margin():
    labels = [[3, 0, -1, 1, 2], [-1, 2, 1, 0, 0], [1, 2, 3, 0, 4], [2, -1, 0, 0, 0]]
    expected = []
    for x, row in zip(X, labels, strict=True):
        named = row[: row.index(-1)] if -1 in row else row
        others = [j for j in range(5) if j not in named]
        expected.append(sum(max(0, 1 - (x[i] - x[j])) for i in named for j in others) / 5)
    close(F.multilabel_margin_loss(t(X), fb.tensor(labels), reduction="none"), expected)


def ctc_by_enumeration(logp, labels):
    """-log of the summed probability of all paths that collapse to `labels`: the definition."""
    total = 0.0
    for path in itertools.product(range(logp.shape[1]), repeat=logp.shape[0]):
        collapsed = [k for k, _ in itertools.groupby(path) if k != 0]
        if collapsed == labels:
            total += math.exp(sum(logp[i, k] for i, k in enumerate(path)))
    return -math.log(total) if total else math.inf


def test_ctc_against_enumeration():
    logp = log_softmax(RNG.standard_normal((5, 3, 3)), 2)
    targets = [[1, 2], [1, 1], [2, 1]]
    lengths, target_lengths = [5, 4, 5], [2, 2, 1]
    expected = [
        ctc_by_enumeration(logp[:n, i], labels[:k])
        for i, (n, labels, k) in enumerate(zip(lengths, targets, target_lengths, strict=True))
    ]
    sizes = fb.tensor(lengths), fb.tensor(target_lengths)
    close(F.ctc_loss(t(logp), fb.tensor(targets), *sizes, reduction="none"), expected)
    joined = fb.tensor([1, 2, 1, 1, 2])
    close(F.ctc_loss(t(logp), joined, *sizes, reduction="sum"), sum(expected))
    close(F.ctc_loss(t(logp), joined, *sizes), np.mean(np.array(expected) / target_lengths))
    close(F.ctc_loss(t(logp[:, 0]), joined[:2], fb.tensor(5), fb.tensor(2), reduction="none"), expected[0])


def test_ctc_without_any_alignment():
    logp = t(log_softmax(RNG.standard_normal((2, 1, 3)), 2)).requires_grad_()
    args = logp, fb.tensor([[1, 1]]), fb.tensor([2]), fb.tensor([2])
    assert F.ctc_loss(*args, reduction="none").tolist() == [math.inf]
    F.ctc_loss(*args, zero_infinity=True).backward()
    assert not a(logp.grad).any()


def test_distances():
    close(F.normalize(t(X)), X / np.linalg.norm(X, axis=1, keepdims=True))
    close(F.normalize(t(X), p=1, dim=0), X / np.abs(X).sum(0))
    assert F.normalize(fb.zeros(1, 2)).tolist() == [[0.0, 0.0]]
    close(F.cosine_similarity(t(X), t(Y)), cosine(X, Y))
    close(F.cosine_similarity(t(X), t(Y[0]), dim=-1), cosine(X, Y[0]))
    close(F.pairwise_distance(t(X), t(Y), p=1, eps=0.0), D.sum(1))
    close(F.pdist(t(X)), [np.linalg.norm(X[i] - X[j]) for i in range(4) for j in range(i + 1, 4)])


MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("shape", "sizes"), [((2, 3, 5), (1, 2)), ((2, 3, 5, 4), (1, 0, 2, 3)), ((1, 2, 4, 3, 5), (1, 2, 2, 0, 1, 3))]
)
def test_pad(shape, sizes, mode):
    x = RNG.standard_normal(shape)
    per_axis = [(0, 0)] * 2 + [sizes[2 * i : 2 * i + 2] for i in reversed(range(len(sizes) // 2))]
    close(F.pad(t(x), sizes, mode), np.pad(x, per_axis, mode=MODES[mode]))


def test_pad_details():
    x = t(X)
    close(F.pad(x, (1, 1, 2, 0), value=7.0), np.pad(X, ((2, 0), (1, 1)), constant_values=7.0))
    close(F.pad(x, (-1, -2)), X[:, 1:-2])
    close(F.pad(x, (-1, 2)), np.pad(X[:, 1:], ((0, 0), (0, 2))))
    for sizes, mode, words in (
        ((5, 0), "reflect", "reflection"),
        ((0, 6), "circular", "round"),
        ((1,), "constant", "even"),
    ):
        with pytest.raises(RuntimeError, match=words):
            F.pad(x, sizes, mode)
    with pytest.raises(NotImplementedError, match="mirror"):
        F.pad(x, (1, 1), "mirror")


def test_gated_and_random_activations():
    x = RNG.standard_normal((3, 6))
    close(F.glu(t(x)), x[:, :3] * sigmoid(x[:, 3:]))
    with pytest.raises(RuntimeError, match="even"):
        F.glu(t(x), 0)
    close(F.prelu(t(X), t(W)), np.where(X > 0, X, W * X))
    close(F.rrelu(t(X), 0.2, 0.4), np.where(X >= 0, X, 0.3 * X))
    y = a(F.rrelu(t(X), 0.2, 0.4, training=True)) / X
    assert (((y >= 0.2) & (y <= 0.4)) | (X >= 0)).all() and (y[X >= 0] == 1).all() and len(set(y[X < 0])) > 1
    fb.manual_seed(0)
    logits = t(np.log([0.2, 0.5, 0.3])).expand(20000, 3)
    samples = a(F.gumbel_softmax(logits, hard=True))
    assert set(np.unique(samples)) == {0.0, 1.0}
    np.testing.assert_allclose(samples.mean(0), [0.2, 0.5, 0.3], atol=0.02)


def test_one_hot():
    assert F.one_hot(fb.tensor([[0, 2]])).tolist() == [[[1, 0, 0], [0, 0, 1]]]
    assert F.one_hot(fb.tensor(1), 3).tolist() == [0, 1, 0]
    for bad in ([3], [-1]):
        with pytest.raises(RuntimeError, match="Class values"):
            F.one_hot(fb.tensor(bad), 3)


def test_scaled_dot_product_attention():
    q, k, v = RNG.standard_normal((2, 4, 3, 6)), RNG.standard_normal((2, 2, 5, 6)), RNG.standard_normal((2, 2, 5, 7))
    kk, vv = k.repeat(2, 1), v.repeat(2, 1)

    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    scores = q @ kk.swapaxes(2, 3) / math.sqrt(6)
    close(F.scaled_dot_product_attention(t(q), t(k), t(v), enable_gqa=True), softmax(scores) @ vv)
    masked = np.where(np.tril(np.ones((3, 5))) > 0, scores, -np.inf)
    args = t(q), t(kk), t(vv)
    close(F.scaled_dot_product_attention(*args, is_causal=True), softmax(masked) @ vv)
    bias = RNG.standard_normal((3, 5))
    close(
        F.scaled_dot_product_attention(*args, attn_mask=t(bias), scale=0.5),
        softmax(q @ kk.swapaxes(2, 3) * 0.5 + bias) @ vv,
    )
    nothing = fb.zeros(3, 5, dtype=fb.bool)
    assert not a(F.scaled_dot_product_attention(*args, attn_mask=nothing)).any()
    with pytest.raises(RuntimeError, match="is_causal"):
        F.scaled_dot_product_attention(*args, attn_mask=nothing, is_causal=True)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: F.conv1d(fb.ones(2, 3, 5), fb.ones(4, 2, 3)), "expected input .* to have 2 channels, but got 3"),
        (lambda: F.conv3d(fb.ones(2, 3), fb.ones(4, 3, 1, 1, 1)), "4 .*or 5"),
        (lambda: F.conv1d(fb.ones(2, 3, 5), fb.ones(4, 3, 3), padding="half"), "'half'"),
        (lambda: F.conv1d(fb.ones(2, 3, 5), fb.ones(4, 3, 3), stride=2, padding="same"), "strided"),
        (
            lambda: F.conv_transpose1d(fb.ones(1, 1, 3), fb.ones(1, 1, 2), output_padding=1),
            "output_padding must be smaller",
        ),
        (lambda: F.max_pool1d(fb.ones(1, 4), 2, padding=2), "pad should be at most half"),
        (lambda: F.max_pool3d(fb.ones(1, 1, 2, 2, 2), 3), "doesn't fit"),
        (lambda: F.pixel_shuffle(fb.ones(1, 3, 2, 2), 2), "divisible"),
        (lambda: F.margin_ranking_loss(fb.ones(2), fb.ones(2), fb.ones(2, 1)), "same number of dimensions"),
        (lambda: F.bilinear(fb.ones(2, 3), fb.ones(2, 4), fb.ones(1, 3, 5)), "bilinear: expected"),
    ],
)
def test_errors(call, words):
    with pytest.raises(RuntimeError, match=words):
        call()


def test_reduction_names():
    with pytest.raises(ValueError, match="not a valid value for reduction"):
        F.soft_margin_loss(t(X), t(S), reduction="avg")
    with pytest.warns(UserWarning, match="reduction='sum'"):
        close(F.soft_margin_loss(t(X), t(S), size_average=False), np.log1p(np.exp(-S * X)).sum())


# nn.utils


def test_clip_grad():
    layer = nn.Linear(2, 2)
    layer.weight.grad, layer.bias.grad = fb.tensor([[3.0, 4.0], [0.0, 0.0]]), fb.tensor([0.0, 12.0])
    assert nn.utils.clip_grad_norm_(layer.parameters(), 6.5).item() == 13.0
    np.testing.assert_allclose(a(layer.weight.grad), [[1.5, 2.0], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(a(layer.bias.grad), [0, 6.0], rtol=1e-6)
    assert nn.utils.clip_grad_norm_(layer.parameters(), 100.0, norm_type=math.inf).item() == pytest.approx(6.0)
    np.testing.assert_allclose(a(layer.bias.grad), [0, 6.0], rtol=1e-6)
    nn.utils.clip_grad_value_(layer.parameters(), 1.75)
    np.testing.assert_allclose(a(layer.weight.grad), [[1.5, 1.75], [0, 0]], rtol=1e-6)
    layer.bias.grad = fb.tensor([math.nan, 0.0])
    with pytest.raises(RuntimeError, match="non-finite"):
        nn.utils.clip_grad_norm_(layer.parameters(), 1.0, error_if_nonfinite=True)
    assert nn.utils.clip_grad_norm_([], 1.0).item() == 0.0


def test_parameters_as_a_vector():
    layer = nn.Linear(2, 2)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    assert vector.tolist() == layer.weight.reshape(-1).tolist() + layer.bias.tolist()
    nn.utils.vector_to_parameters(fb.arange(6.0), layer.parameters())
    assert layer.weight.tolist() == [[0.0, 1.0], [2.0, 3.0]] and layer.bias.tolist() == [4.0, 5.0]


def test_packing():
    rnn = nn.utils.rnn
    sequences = [fb.arange(3.0), fb.arange(5.0) + 10, fb.arange(2.0) + 20]
    packed = rnn.pack_sequence(sequences, enforce_sorted=False)
    assert packed.data.tolist() == [10, 0, 20, 11, 1, 21, 12, 2, 13, 14]
    assert packed.batch_sizes.tolist() == [3, 3, 2, 1, 1]
    assert packed.sorted_indices.tolist() == [1, 0, 2] and packed.unsorted_indices.tolist() == [1, 0, 2]
    padded, lengths = rnn.pad_packed_sequence(packed, batch_first=True, padding_value=-1.0, total_length=6)
    assert padded.tolist() == [[0, 1, 2, -1, -1, -1], [10, 11, 12, 13, 14, -1], [20, 21, -1, -1, -1, -1]]
    assert lengths.tolist() == [3, 5, 2]
    assert [s.tolist() for s in rnn.unpack_sequence(packed)] == [s.tolist() for s in sequences]
    assert rnn.pad_sequence(sequences, True, 9.0, "left").tolist()[2] == [9, 9, 9, 20, 21]
    with pytest.raises(RuntimeError, match="decreasing order"):
        rnn.pack_sequence(sequences)
    with pytest.raises(RuntimeError, match="greater than 0"):
        rnn.pack_padded_sequence(fb.ones(2, 2), [2, 0])
