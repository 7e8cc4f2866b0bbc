"""Layers that find their sizes at the first call, and what is uninitialized until then."""

import copy
import pickle

import pytest

import flambeau as fb
from flambeau import nn

# A lazy layer, its input, and the same layer with its sizes given.
CASES = {
    "linear": (lambda: nn.LazyLinear(4), (2, 5), lambda: nn.Linear(5, 4)),
    "linear without bias": (lambda: nn.LazyLinear(4, bias=False), (2, 5), lambda: nn.Linear(5, 4, bias=False)),
    "conv1d": (lambda: nn.LazyConv1d(4, 3), (2, 3, 8), lambda: nn.Conv1d(3, 4, 3)),
    "conv2d": (lambda: nn.LazyConv2d(6, 3, groups=3), (2, 3, 8, 9), lambda: nn.Conv2d(3, 6, 3, groups=3)),
    "conv2d unbatched": (lambda: nn.LazyConv2d(6, 3), (3, 8, 9), lambda: nn.Conv2d(3, 6, 3)),
    "conv3d": (lambda: nn.LazyConv3d(2, 2), (1, 3, 4, 4, 4), lambda: nn.Conv3d(3, 2, 2)),
    "transpose1d": (lambda: nn.LazyConvTranspose1d(4, 3), (2, 3, 8), lambda: nn.ConvTranspose1d(3, 4, 3)),
    "transpose2d": (
        lambda: nn.LazyConvTranspose2d(6, 3, stride=2, output_padding=1, groups=3),
        (2, 3, 4, 5),
        lambda: nn.ConvTranspose2d(3, 6, 3, stride=2, output_padding=1, groups=3),
    ),
    "transpose3d": (lambda: nn.LazyConvTranspose3d(2, 2), (1, 3, 4, 4, 4), lambda: nn.ConvTranspose3d(3, 2, 2)),
    "batchnorm1d": (lambda: nn.LazyBatchNorm1d(), (4, 3), lambda: nn.BatchNorm1d(3)),
    "batchnorm2d": (lambda: nn.LazyBatchNorm2d(affine=False), (2, 3, 4, 4), lambda: nn.BatchNorm2d(3, affine=False)),
    "batchnorm3d": (
        lambda: nn.LazyBatchNorm3d(track_running_stats=False),
        (2, 3, 2, 4, 4),
        lambda: nn.BatchNorm3d(3, track_running_stats=False),
    ),
    "instancenorm1d": (
        lambda: nn.LazyInstanceNorm1d(),
        (2, 3, 4),
        lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True),
    ),
    "instancenorm2d unbatched": (
        lambda: nn.LazyInstanceNorm2d(track_running_stats=False),
        (3, 4, 4),
        lambda: nn.InstanceNorm2d(3, affine=True),
    ),
    "instancenorm3d": (
        lambda: nn.LazyInstanceNorm3d(affine=False, track_running_stats=False),
        (2, 3, 2, 4, 4),
        lambda: nn.InstanceNorm3d(3),
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    lazy, shape, given = CASES[request.param]
    return lazy, fb.randn(shape), given


def test_first_call_makes_the_ordinary_layer(case):
    lazy, x, given = case
    fb.manual_seed(3)
    layer = lazy()
    before = list(layer.state_dict())
    y = layer(x)
    fb.manual_seed(3)
    expected = given()
    assert type(layer) is type(expected) and repr(layer) == repr(expected)
    assert list(layer.state_dict()) == before == list(expected.state_dict())
    assert fb.equal(y, expected(x))
    assert all(type(p) is nn.Parameter and p.requires_grad for p in layer.parameters())
    assert not layer._forward_pre_hooks and not layer._load_state_dict_pre_hooks
    layer(x)


def test_state_travels(case):
    lazy, x, _ = case
    first, second, waiting = lazy(), lazy(), lazy()
    waits = any(nn.parameter.is_lazy(t) for t in waiting.state_dict().values())
    first(x)
    assert not second.load_state_dict(first.state_dict()).missing_keys
    for name, value in first.state_dict().items():
        assert fb.equal(second.state_dict()[name], value)
    y = second.eval()(x)
    assert type(second) is type(first) and fb.equal(y, first.eval()(x))
    lazy().load_state_dict(waiting.state_dict())
    if waits:
        with pytest.raises(RuntimeError, match="never called"):
            first.load_state_dict(waiting.state_dict())


def test_conversion_before_the_first_call(case):
    lazy, x, _ = case
    layer = lazy().double()
    layer(x.double())
    assert {t.dtype for n, t in layer.state_dict().items() if "num" not in n} <= {fb.float64}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_wait_on_their_own(case, copied):
    lazy, x, given = case
    layer = lazy()
    other = copied(layer)
    other(x)
    assert type(other) is type(given()) and not other._forward_pre_hooks
    layer(x)
    assert type(layer) is type(given()) and not layer._forward_pre_hooks


def test_uninitialized_parameters_say_so():
    w = nn.UninitializedParameter(dtype=fb.float64)
    assert repr(w) == "<UninitializedParameter>" and w.dtype is fb.float64 and w.requires_grad
    assert isinstance(w, nn.Parameter) and isinstance(nn.UninitializedBuffer(), nn.Buffer)
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized"):
        w.shape
    with pytest.raises(ValueError, match="uninitialized parameter in sum"):
        w.sum()
    w.materialize((2, 3))
    assert type(w) is nn.Parameter and tuple(w.shape) == (2, 3) and w.dtype is fb.float64


def test_own_lazy_module_and_its_mistakes():
    class Scale(nn.modules.lazy.LazyModuleMixin, nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.UninitializedParameter()

        def initialize_parameters(self, x):
            with fb.no_grad():
                self.w.materialize(x.shape[-1:])
                self.w.fill_(2)

        def forward(self, x):
            return x * self.w

    assert Scale()(fb.ones(3)).tolist() == [2, 2, 2]

    class Forgetful(Scale):
        def initialize_parameters(self, x):
            pass

    with pytest.raises(RuntimeError, match="has not been fully initialized"):
        Forgetful()(fb.ones(3))
    with pytest.raises(RuntimeError, match=r"Expected 3D \(unbatched\) or 4D \(batched\) input to LazyConv2d"):
        nn.LazyConv2d(4, 3)(fb.ones(3, 4))
    with pytest.raises(ValueError, match="divisible by groups"):
        nn.LazyConv2d(4, 3, groups=2)(fb.ones(1, 3, 8, 8))


def test_data_parallel_calls_the_module():
    inner = nn.Linear(2, 3)
    wrapped = nn.DataParallel(inner)
    x = fb.randn(4, 2)
    assert fb.equal(wrapped(x), inner(x)) and list(wrapped.state_dict()) == ["module.weight", "module.bias"]
