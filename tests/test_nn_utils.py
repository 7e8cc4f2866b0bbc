"""nn.utils: parametrizations, pruning, fusion and clipping, by their properties and against NumPy."""

import copy
import pickle

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.nn.utils import parametrizations as P
from flambeau.nn.utils import parametrize, prune


def array(t):
    return np.array(t.detach().tolist())


class Exp(nn.Module):
    def forward(self, x):
        return x.exp()

    def right_inverse(self, y):
        return y.log()


class Twice(nn.Module):
    def forward(self, x):
        return 2 * x


class Sum(nn.Module):
    def forward(self, a, b):
        return a + b

    def right_inverse(self, x):
        return x / 3, x - x / 3


def positive_linear():
    layer = nn.Linear(3, 2)
    with fb.no_grad():
        layer.weight.copy_(fb.rand(2, 3) + 0.5)
    return layer


# ---- parametrize


def test_register_assign_and_remove():
    layer = positive_linear()
    before, parameter = array(layer.weight), layer.weight
    assert parametrize.register_parametrization(layer, "weight", Exp()) is layer
    np.testing.assert_allclose(array(layer.weight), before, rtol=1e-6)
    assert layer.parametrizations.weight.original is parameter
    np.testing.assert_allclose(array(parameter), np.log(before), rtol=1e-4, atol=1e-6)
    assert type(layer).__name__ == "ParametrizedLinear"
    assert isinstance(layer, nn.Linear)
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    assert parametrize.is_parametrized(layer)
    assert parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    assert list(layer.state_dict()) == ["bias", "parametrizations.weight.original"]
    layer.weight = fb.full((2, 3), 4.0)
    np.testing.assert_allclose(array(layer.weight), 4.0, rtol=1e-6)
    layer(fb.ones(1, 3)).sum().backward()
    np.testing.assert_allclose(array(layer.parametrizations.weight.original.grad), 4.0, rtol=1e-6)
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear
    assert layer.weight is parameter
    assert list(layer.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(array(layer.weight), 4.0, rtol=1e-6)


def test_chains_and_several_originals():
    layer = positive_linear()
    before = array(layer.weight)
    parametrize.register_parametrization(layer, "weight", Sum())
    parametrize.register_parametrization(layer, "weight", Twice())
    assert [n for n, _ in layer.named_parameters()] == [
        "bias", "parametrizations.weight.original0", "parametrizations.weight.original1",
    ]  # fmt: skip
    np.testing.assert_allclose(array(layer.weight), 2 * before, rtol=1e-6)
    with pytest.raises(RuntimeError, match="Twice does not implement right_inverse"):
        layer.weight = fb.ones(2, 3)
    with pytest.raises(ValueError, match="leave_parametrized=False"):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    parametrize.remove_parametrizations(layer, "weight")
    assert isinstance(layer.weight, nn.Parameter)
    np.testing.assert_allclose(array(layer.weight), 2 * before, rtol=1e-6)


def test_two_tensors_and_original_left():
    layer = positive_linear()
    before = array(layer.weight)
    parametrize.register_parametrization(layer, "weight", Twice())
    parametrize.register_parametrization(layer, "bias", Twice())
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    np.testing.assert_array_equal(array(layer.weight), before)
    assert parametrize.is_parametrized(layer)
    parametrize.remove_parametrizations(layer, "bias")
    assert not hasattr(layer, "parametrizations")


def test_cached():
    calls = []

    class Count(nn.Module):
        def forward(self, x):
            calls.append(1)
            return x * 1

    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Count())
    calls.clear()
    with parametrize.cached():
        layer(fb.ones(1, 2))
        with parametrize.cached():
            layer(fb.ones(1, 2))
        layer(fb.ones(1, 2))
    assert len(calls) == 1
    layer(fb.ones(1, 2))
    assert len(calls) == 2


def test_copies_are_independent_and_pickling_is_refused():
    layer = parametrize.register_parametrization(positive_linear(), "weight", Exp())
    twin = copy.deepcopy(layer)
    with fb.no_grad():
        twin.parametrizations.weight.original.zero_()
    np.testing.assert_allclose(array(twin.weight), 1.0)
    assert not np.allclose(array(layer.weight), 1.0)
    with pytest.raises(RuntimeError, match=r"state_dict\(\)"):
        pickle.dumps(layer)
    other = parametrize.transfer_parametrizations_and_params(layer, nn.Linear(3, 2))
    np.testing.assert_array_equal(array(other.weight), array(layer.weight))


def test_what_parametrizations_may_not_do():
    class Reshape(nn.Module):
        def forward(self, x):
            return x.reshape(-1)

    class Half(nn.Module):
        def forward(self, x):
            return x.half()

    for bad, words in ((Reshape(), "shape"), (Half(), "dtype")):
        layer = nn.Linear(2, 3)
        with pytest.raises(ValueError, match=words):
            parametrize.register_parametrization(layer, "weight", bad)
        assert type(layer) is nn.Linear
        assert layer.weight.shape == (3, 2)
        parametrize.register_parametrization(layer, "weight", Twice())
        with pytest.raises(ValueError, match=words):
            parametrize.register_parametrization(layer, "weight", bad)
        parametrize.register_parametrization(layer, "weight", bad, unsafe=True)
        assert layer.weight.numel() == 6
    with pytest.raises(ValueError, match="does not have a parameter"):
        parametrize.register_parametrization(nn.Linear(2, 3), "weigth", Twice())
    with pytest.raises(ValueError, match="does not have a parametrization"):
        parametrize.remove_parametrizations(nn.Linear(2, 3), "weight")


# ---- weight norm, spectral norm, orthogonal


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(dim):
    axis = None if dim is None else 1 - dim
    with pytest.warns(FutureWarning):
        old = nn.utils.weight_norm(nn.Linear(4, 3), dim=dim)
    new = P.weight_norm(nn.Linear(4, 3), dim=dim)
    new.load_state_dict(old.state_dict())  # checkpoints of the old form load
    x = fb.randn(2, 4)
    np.testing.assert_allclose(array(new(x)), array(old(x)), rtol=1e-5, atol=1e-6)
    with fb.no_grad():
        new.parametrizations.weight.original0.fill_(2.0)
    np.testing.assert_allclose(np.linalg.norm(array(new.weight), axis=axis), 2.0, rtol=1e-5)
    weight = array(old.weight)
    nn.utils.remove_weight_norm(old)
    np.testing.assert_array_equal(array(old.weight), weight)
    assert sorted(old.state_dict()) == ["bias", "weight"]
    with pytest.raises(ValueError, match="not found"):
        nn.utils.remove_weight_norm(old)


@pytest.mark.parametrize("make", [nn.utils.spectral_norm, P.spectral_norm])
@pytest.mark.parametrize("layer", [lambda: nn.Linear(5, 4), lambda: nn.ConvTranspose2d(3, 4, 2)])
def test_spectral_norm(make, layer):
    layer = make(layer(), n_power_iterations=30)
    x = fb.randn(2, 3, 4, 4) if isinstance(layer, nn.ConvTranspose2d) else fb.randn(2, 5)
    layer(x).sum().backward()
    w = array(layer.weight)
    w = np.moveaxis(w, 1, 0).reshape(w.shape[1], -1) if w.ndim == 4 else w
    assert np.linalg.norm(w, 2) == pytest.approx(1, rel=1e-4)
    assert all(p.grad is not None for p in layer.parameters())
    layer.eval()
    before = copy.deepcopy(dict(layer.state_dict()))
    layer(x)
    assert all(bool((v == before[k]).all()) for k, v in layer.state_dict().items())


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
@pytest.mark.parametrize("orthogonal_map", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("use_trivialization", [True, False])
def test_orthogonal(shape, orthogonal_map, use_trivialization):
    layer = nn.Linear(*shape[::-1])
    P.orthogonal(layer, orthogonal_map=orthogonal_map, use_trivialization=use_trivialization)
    opt = fb.optim.SGD(layer.parameters(), lr=0.1)
    first = array(layer.weight)
    for _ in range(3):
        opt.zero_grad()
        layer(fb.randn(6, shape[1])).square().sum().backward()
        opt.step()
    w = array(layer.weight)
    assert np.abs(w - first).max() > 1e-3
    gram = w @ w.T if shape[0] < shape[1] else w.T @ w
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-5)
    if use_trivialization:
        layer.weight = fb.tensor(first.tolist())
        np.testing.assert_allclose(array(layer.weight), first, atol=1e-5)


# ---- prune


def test_pruning_and_making_it_permanent():
    layer = nn.Linear(4, 3)
    with fb.no_grad():
        layer.weight.copy_(fb.arange(12.0).reshape(3, 4) - 5.25)
    original = array(layer.weight)
    prune.l1_unstructured(layer, "weight", amount=3)
    expected = np.where(np.abs(original) < 1.5, 0, original)
    np.testing.assert_array_equal(array(layer.weight), expected)
    np.testing.assert_array_equal(array(layer.weight_orig), original)
    np.testing.assert_array_equal(array(layer.weight_mask), expected != 0)
    layer(fb.ones(1, 4)).sum().backward()
    np.testing.assert_array_equal(array(layer.weight_orig.grad), expected != 0)
    assert prune.is_pruned(nn.Sequential(layer))
    prune.ln_structured(layer, "weight", amount=1, n=2, dim=0)  # what is left of row 1 is the smallest
    expected[1] = 0
    np.testing.assert_array_equal(array(layer.weight), expected)
    (hook,) = layer._forward_pre_hooks.values()
    assert isinstance(hook, prune.PruningContainer)
    assert [type(m) for m in hook] == [prune.L1Unstructured, prune.LnStructured]
    prune.remove(layer, "weight")
    np.testing.assert_array_equal(array(layer.weight), expected)
    assert sorted(layer.state_dict()) == ["bias", "weight"]
    assert not prune.is_pruned(layer)


@pytest.mark.parametrize("amount", [0, 5, 0.25, 1.0])
def test_random_pruning_prunes_so_many(amount):
    layer = prune.random_unstructured(nn.Linear(5, 4), "weight", amount)
    count = amount if isinstance(amount, int) else round(20 * amount)
    assert int((layer.weight_mask == 0).sum()) == count
    prune.random_unstructured(layer, "weight", 0.5)
    assert int((layer.weight_mask == 0).sum()) == count + round((20 - count) * 0.5)


def test_random_structured_prunes_whole_slices():
    conv = prune.random_structured(nn.Conv2d(6, 4, 3), "weight", 2, dim=1)
    kept = array(conv.weight_mask).sum(axis=(0, 2, 3))
    assert sorted(kept) == [0, 0, 36, 36, 36, 36]


def test_global_pruning():
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    places = [(net[0], "weight"), (net[1], "weight")]
    flat = np.sort(np.abs(np.concatenate([array(m.weight).ravel() for m, _ in places])))
    prune.global_unstructured(places, prune.L1Unstructured, amount=7)
    for module, _ in places:
        np.testing.assert_array_equal(array(module.weight_mask), np.abs(array(module.weight_orig)) > flat[6])
    scores = {places[0]: fb.ones(3, 4), places[1]: fb.zeros(2, 3)}
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    places = [(net[0], "weight"), (net[1], "weight")]
    scores = dict(zip(places, scores.values(), strict=True))
    prune.global_unstructured(places, prune.L1Unstructured, scores, amount=6)
    assert int(net[0].weight_mask.sum()) == 12
    assert int(net[1].weight_mask.sum()) == 0


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda m: prune.l1_unstructured(m, "weight", 7), ValueError),
        (lambda m: prune.l1_unstructured(m, "weight", 1.5), ValueError),
        (lambda m: prune.l1_unstructured(m, "weight", -1), ValueError),
        (lambda m: prune.l1_unstructured(m, "weight", "1"), TypeError),
        (lambda m: prune.ln_structured(m, "bias", 1, 2, 0), ValueError),
        (lambda m: prune.ln_structured(m, "weight", 1, 2, 2), IndexError),
        (lambda m: prune.custom_from_mask(m, "weight", fb.ones(2)), AssertionError),
        (lambda m: prune.l1_unstructured(m, "weight", 1, importance_scores=fb.ones(2)), AssertionError),
        (lambda m: prune.remove(m, "weight"), ValueError),
    ],
)
def test_refused_pruning_leaves_the_module_as_it_was(call, error):
    layer = nn.Linear(3, 2)
    before = layer.weight
    with pytest.raises(error):
        call(layer)
    assert layer.weight is before
    assert sorted(layer.state_dict()) == ["bias", "weight"]
    assert not layer._forward_pre_hooks


# ---- fusion, skip_init, memory formats


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", ["conv", "transposed", "linear"])
def test_fused_layers_compute_the_same(bias, affine, kind):
    make, norm, shape = {
        "conv": (lambda: nn.Conv2d(2, 3, 3, bias=bias), nn.BatchNorm2d, (4, 2, 5, 5)),
        "transposed": (lambda: nn.ConvTranspose2d(2, 3, 3, bias=bias), nn.BatchNorm2d, (4, 2, 5, 5)),
        "linear": (lambda: nn.Linear(2, 3, bias=bias), nn.BatchNorm1d, (4, 2)),
    }[kind]
    layer, bn = make(), norm(3, affine=affine)
    for _ in range(3):
        bn(layer(fb.randn(*shape) * 2 + 1))
    layer.eval()
    with pytest.raises(AssertionError, match="eval"):
        nn.utils.fuse_conv_bn_eval(layer, bn)
    bn.eval()
    if kind == "linear":
        fused = nn.utils.fuse_linear_bn_eval(layer, bn)
    else:
        fused = nn.utils.fuse_conv_bn_eval(layer, bn, transpose=kind == "transposed")
    x = fb.randn(*shape)
    np.testing.assert_allclose(array(fused(x)), array(bn(layer(x))), rtol=1e-4, atol=1e-5)
    assert isinstance(fused.weight, nn.Parameter)


def test_skip_init_and_memory_formats():
    layer = nn.utils.skip_init(nn.Conv2d, 4, 8, 3, padding=1, bias=False)
    assert layer.weight.shape == (8, 4, 3, 3)
    assert layer.weight.device.type == "cpu"
    with pytest.raises(RuntimeError, match="Expected a Module"):
        nn.utils.skip_init(int)
    with pytest.raises(RuntimeError, match="'device'"):
        nn.utils.skip_init(nn.ReLU)
    nn.utils.convert_conv2d_weight_memory_format(nn.Sequential(layer), fb.channels_last)
    assert layer.weight.is_contiguous(memory_format=fb.channels_last)


# ---- clipping


def test_clipping_over_many_layouts():
    """Dense, channels_last, 0-dimensional, complex and strided gradients, in two dtypes, in one call."""
    rng = np.random.default_rng(0)

    def grads():
        whole = fb.tensor(rng.standard_normal((4, 6)).tolist())
        return [
            fb.tensor(rng.standard_normal((3, 5)).tolist()),
            fb.tensor(rng.standard_normal((2, 3, 4, 5)).tolist()).contiguous(memory_format=fb.channels_last),
            fb.tensor(1.5), fb.tensor(rng.standard_normal(7).tolist(), dtype=fb.float64), whole[:, ::2],
            fb.tensor([3 + 4j, 1j]),
        ]  # fmt: skip

    params = []
    for g in grads():
        p = nn.Parameter(fb.zeros(g.shape, dtype=g.dtype))
        p.grad = g
        params.append(p)
    before = [array(p.grad) for p in params]
    total = np.sqrt(sum((np.abs(b) ** 2).sum() for b in before))
    norm = nn.utils.clip_grad_norm_(params, 2.0)
    assert norm.item() == pytest.approx(total, rel=1e-5)
    for p, b in zip(params, before, strict=True):
        np.testing.assert_allclose(array(p.grad), b * 2 / (total + 1e-6), rtol=1e-5)
    after = [array(p.grad) for p in params]
    nn.utils.clip_grad_norm_(params, 100.0)
    for p, b in zip(params, after, strict=True):
        np.testing.assert_array_equal(array(p.grad), b)
    nn.utils.clip_grad_value_(params[:5], 0.05)
    for p, b in zip(params[:5], after, strict=False):
        np.testing.assert_allclose(array(p.grad), np.clip(b, -0.05, 0.05), rtol=1e-6)


# ---- packed sequences


def test_packed_sequences_convert():
    packed = nn.utils.rnn.pack_sequence([fb.ones(3, 2), fb.zeros(1, 2)])
    for name, dtype in (("double", fb.float64), ("half", fb.float16), ("long", fb.int64), ("byte", fb.uint8)):
        other = getattr(packed, name)()
        assert other.data.dtype == dtype
        assert other.batch_sizes.tolist() == [2, 1, 1]
    assert packed.cpu().data.shape == packed.data.shape
    assert not packed.is_pinned()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: r.pad_sequence([]), "empty list"),
        (lambda r: r.pad_sequence(3), "Expected iterable"),
        (lambda r: r.pack_padded_sequence(fb.ones(3, 2), [5, 1]), "more than the 3 steps"),
        (lambda r: r.pack_padded_sequence(fb.ones(3, 2), [2, 3]), "sorted in decreasing order"),
    ],
)
def test_refused_sequences(call, words):
    with pytest.raises(RuntimeError, match=words):
        call(nn.utils.rnn)
