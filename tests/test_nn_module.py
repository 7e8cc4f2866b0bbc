"""Module: registration, traversal, state_dict, hooks, copying, errors; expected as PyTorch 2.13 does."""

import copy
import pickle

import pytest

import flambeau as fb
from flambeau import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.seq = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        self.register_buffer("shift", fb.ones(2))
        self.register_buffer("scratch", fb.ones(1), persistent=False)
        self.scale = nn.Parameter(fb.ones(2))

    def forward(self, x, factor=1):
        return self.seq(self.fc(x) * self.scale * factor) + self.shift


STATE_KEYS = [
    "scale", "shift", "fc.weight", "fc.bias", "seq.0.weight", "seq.0.bias", "seq.1.weight", "seq.1.bias",
    "seq.1.running_mean", "seq.1.running_var", "seq.1.num_batches_tracked",
]  # fmt: skip


def test_names_and_order():
    net = Net()
    assert list(net.state_dict()) == STATE_KEYS
    assert [n for n, _ in net.named_modules()] == ["", "fc", "seq", "seq.0", "seq.1"]
    assert [n for n, _ in net.named_children()] == ["fc", "seq"]
    assert [n for n, _ in net.named_parameters()] == [
        k for k in STATE_KEYS if "running" not in k and k not in ("shift",)
    ][:-1]
    assert [n for n, _ in net.named_buffers()][:2] == ["shift", "scratch"]
    assert [n for n, _ in net.named_parameters(prefix="p", recurse=False)] == ["p.scale"]
    assert net.state_dict()._metadata["seq.1"] == {"version": 2}


def test_repr():
    assert repr(Net()) == (
        "Net(\n  (fc): Linear(in_features=3, out_features=2, bias=True)\n  (seq): Sequential(\n"
        "    (0): Linear(in_features=2, out_features=2, bias=True)\n"
        "    (1): BatchNorm1d(2, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)\n  )\n)"
    )
    assert (
        repr(nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh()])) == "ModuleList(\n  (0-1): 2 x ReLU()\n  (2): Tanh()\n)"
    )
    assert repr(nn.ModuleList()) == "ModuleList()"


def test_assigning_registers_and_moves_between_registries():
    net = Net()
    net.scale = None
    assert net.scale is None and "scale" not in net.state_dict()
    net.fc = nn.Parameter(fb.zeros(1))
    assert "fc" in net._parameters and "fc" not in net._modules
    net.late = nn.Buffer(fb.zeros(1), persistent=False)
    assert "late" in dict(net.named_buffers()) and "late" not in net.state_dict()
    net.plain = fb.zeros(1)
    assert "plain" in net.__dict__
    del net.shift
    assert not hasattr(net, "shift")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda m: setattr(m, "scale", fb.ones(2)), TypeError, "as parameter 'scale'"),
        (lambda m: setattr(m, "scale", nn.ReLU()), TypeError, "as parameter 'scale'"),
        (lambda m: setattr(m, "fc", 3), TypeError, "'int' as child module 'fc'"),
        (lambda m: setattr(m, "shift", 3), TypeError, "as buffer 'shift'"),
        (lambda m: m.missing, AttributeError, "'Net' object has no attribute 'missing'"),
        (lambda m: delattr(m, "missing"), AttributeError, "missing"),
        (lambda m: m.register_parameter("a.b", None), KeyError, 'contain "."'),
        (lambda m: m.register_parameter("", None), KeyError, "empty"),
        (lambda m: m.register_parameter("forward", None), KeyError, "already exists"),
        (lambda m: m.register_parameter("q", fb.ones(1)), TypeError, "to parameter 'q'"),
        (lambda m: m.register_buffer("fc", None), KeyError, "already exists"),
        (lambda m: m.register_buffer("q", 3), TypeError, "to buffer 'q'"),
        (lambda m: m.add_module("q", 3), TypeError, "int is not a Module subclass"),
        (lambda m: m.get_submodule("seq.9"), AttributeError, "Sequential has no attribute `9`"),
        (lambda m: m.get_parameter("seq.0.scale"), AttributeError, "Linear has no attribute `scale`"),
        (lambda m: m.get_buffer("scale"), AttributeError, "is not a buffer"),
        (lambda m: m.train(3), ValueError, "boolean"),
        (lambda m: m.to(fb.int64), TypeError, "only accepts floating point"),
        (lambda m: nn.Sigmoid(3), TypeError, "takes 1 positional argument but 2 were given"),
        (lambda m: nn.Sigmoid(a=3), TypeError, "unexpected keyword argument 'a'"),
        (lambda m: nn.Sequential(nn.ReLU())[1], IndexError, "out of range"),
        (lambda m: nn.Sequential(nn.ReLU()) * 0, ValueError, "Non-positive"),
        (lambda m: nn.ParameterList([fb.ones(1)])(), RuntimeError, "should not be called"),
    ],
)
def test_misuse_says_what_is_wrong(change, error, words):
    with pytest.raises(error, match=words):
        change(Net())


def test_assignment_before_init_is_refused():
    class Early(nn.Module):
        def __init__(self, value):
            self.layer = value

    for value in (nn.ReLU(), nn.Parameter(fb.ones(1)), nn.Buffer(fb.ones(1))):
        with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
            Early(value)


def test_missing_forward():
    with pytest.raises(NotImplementedError, match="forward"):
        nn.Module()(1)


def test_shared_modules_count_once():
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, layer)
    assert [n for n, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 4
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert len(list(net.modules())) == 2


def test_error_in_forward_names_the_path():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Sequential(nn.ReLU(), nn.Linear(5, 2))])

        def forward(self, x):
            return self.blocks[0](x)

    with pytest.raises(Exception) as caught:
        Outer()(fb.ones(2, 3))
    assert caught.value.__notes__ == [
        "raised in module blocks.0.1: Linear(in_features=5, out_features=2, bias=True), of Outer"
    ]


def test_sequences_behave_like_lists():
    seq = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Sigmoid())
    assert [type(m) for m in seq[1:]] == [nn.Tanh, nn.Sigmoid]
    del seq[0]
    assert list(seq._modules) == ["0", "1"] and isinstance(seq[0], nn.Tanh)
    seq.insert(1, nn.GELU()).append(nn.ReLU()).extend([nn.Mish()])
    assert [type(m).__name__ for m in seq] == ["Tanh", "GELU", "Sigmoid", "ReLU", "Mish"]
    assert isinstance(seq.pop(), nn.Mish) and len(seq) == 4
    assert len(seq + seq) == 8 and len(seq * 2) == 8
    named = nn.ModuleDict({"a": nn.ReLU()})
    named["b"] = nn.Tanh()
    assert list(named) == ["a", "b"] and "a" in named and isinstance(named.pop("a"), nn.ReLU) and len(named) == 1
    params = nn.ParameterList([fb.ones(2), 3])
    params.append(fb.zeros(1))
    assert list(params.state_dict()) == ["0", "2"] and params[1] == 3 and params[-1].requires_grad
    table = nn.ParameterDict({"a": fb.ones(2)})
    table["b"] = fb.zeros(1)
    assert list(table) == ["a", "b"] and list((table | nn.ParameterDict({"c": fb.ones(1)})).keys()) == ["a", "b", "c"]
    assert repr(nn.ParameterList([3])) == "ParameterList(  (0): Object of type: int)"


# state_dict


def test_round_trip_and_sharing():
    a, b = Net(), Net()
    assert repr(b.load_state_dict(a.state_dict())) == "<All keys matched successfully>"
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert p.tolist() == q.tolist()
    a.state_dict()["scale"].fill_(7.0)
    assert a.scale.tolist() == [7.0, 7.0]
    assert not a.state_dict()["scale"].requires_grad and a.state_dict(keep_vars=True)["scale"] is a.scale


def test_mismatches_are_all_reported():
    net, state = Net(), Net().state_dict()
    state.pop("fc.bias")
    state["scale"] = fb.ones(5)
    state["fc.extra"] = fb.ones(1)
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    assert str(caught.value) == (
        'Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: "fc.bias". \n'
        '\tUnexpected key(s) in state_dict: "fc.extra". \n'
        "\tsize mismatch for scale: copying a param with shape flambeau.Size([5]) from checkpoint, "
        "the shape in current model is flambeau.Size([2])."
    )
    del state["scale"]
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["scale", "fc.bias"] and result.unexpected_keys == ["fc.extra"]


def test_assign_takes_the_tensors_over():
    net = Net()
    state = {k: v.double() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    net.load_state_dict(state, assign=True)
    assert {p.dtype for p in net.parameters()} == {fb.float64}
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in net.parameters())


def test_extra_state():
    class Counting(nn.Linear):
        def get_extra_state(self):
            return {"calls": 3}

        def set_extra_state(self, state):
            self.got = state

    net = nn.Sequential(Counting(1, 1))
    state = net.state_dict()
    assert list(state)[-1] == "0._extra_state"
    net.load_state_dict(state)
    assert net[0].got == {"calls": 3}
    state.pop("0._extra_state")
    with pytest.raises(RuntimeError, match=r"0\._extra_state"):
        net.load_state_dict(state)


def test_old_batchnorm_checkpoint_has_no_counter():
    layer, state = nn.BatchNorm1d(2), nn.BatchNorm1d(2).state_dict()
    state.pop("num_batches_tracked")
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        layer.load_state_dict(state)
    state._metadata[""] = {"version": 1}
    layer.load_state_dict(state)
    assert layer.num_batches_tracked.item() == 0


def test_state_dict_hooks():
    net, log = nn.Sequential(nn.Linear(1, 1)), []
    net.register_state_dict_pre_hook(lambda m, prefix, keep_vars: log.append(("pre", prefix)))
    net.register_state_dict_post_hook(lambda m, state, prefix, meta: state.update(extra=1))
    net[0].register_load_state_dict_pre_hook(
        lambda m, state, prefix, *rest: log.append((type(m), prefix, sorted(state)))
    )
    net.register_load_state_dict_post_hook(lambda m, keys: keys.unexpected_keys.clear())
    state = net.state_dict()
    assert state["extra"] == 1
    net.load_state_dict(state)
    assert log == [("pre", ""), (nn.Linear, "0.", ["0.bias", "0.weight"])]


# hooks


def test_order_of_forward_hooks_and_removal():
    net, log = nn.Identity(), []
    net.register_forward_pre_hook(lambda m, args: log.append("pre"))
    net.register_forward_pre_hook(lambda m, args, kwargs: log.append(("pre", kwargs)), with_kwargs=True, prepend=True)
    handle = net.register_forward_hook(lambda m, args, out: log.append("post"))
    net(3)
    assert log == [("pre", {}), "pre", "post"]
    handle.remove()
    handle.remove()
    log.clear()
    net(3)
    assert log == [("pre", {}), "pre"]


def test_forward_hooks_replace():
    net = nn.Identity()
    with (
        net.register_forward_pre_hook(lambda m, args: args[0] * 2),
        net.register_forward_hook(lambda m, a, out: out + 1),
    ):
        assert net(fb.tensor(3.0)).item() == 7.0
    assert net(fb.tensor(3.0)).item() == 3.0


def test_kwargs_hooks_replace_and_see_kwargs():
    class Scale(nn.Module):
        def forward(self, x, by=1):
            return x * by

    net, seen = Scale(), []
    net.register_forward_pre_hook(lambda m, args, kwargs: (args, {"by": 5}), with_kwargs=True)
    net.register_forward_hook(lambda m, args, kwargs, out: seen.append(kwargs), with_kwargs=True)
    assert net(2, by=3) == 10 and seen == [{"by": 5}]


def test_always_called_hook_runs_after_an_error():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("boom")

    net, log = Broken(), []
    net.register_forward_hook(lambda m, args, out: log.append("never"))
    net.register_forward_hook(lambda m, args, out: log.append(out), always_call=True)
    with pytest.raises(ValueError, match="boom"):
        net(1)
    assert log == [None]


def test_backward_hooks_see_and_replace_gradients():
    layer = nn.Linear(2, 2)
    nn.init.ones_(layer.weight)
    layer.register_full_backward_pre_hook(lambda m, grads: (grads[0] * 3,))
    layer.register_full_backward_hook(lambda m, grad_in, grad_out: (grad_in[0] * 10,))
    x = fb.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.tolist() == [[60.0, 60.0]] and layer.weight.grad.tolist() == [[3.0, 3.0]] * 2


def test_backward_hook_with_several_inputs_and_outputs():
    class Two(nn.Module):
        def forward(self, x, y, n, k):
            return x * 2, y * 3, n + 1, x + y

    net, log = Two(), []
    net.register_full_backward_hook(
        lambda m, gi, go: log.append([[None if g is None else g.tolist() for g in gs] for gs in (gi, go)])
    )
    x, y = fb.ones(1, requires_grad=True), fb.ones(1, requires_grad=True)
    a, _, _, c = net(x, y, fb.tensor([4]), "k")
    (a * 2 + c).sum().backward()
    assert log == [[[[5.0], [1.0], [0], None], [[2.0], None, None, [1.0]]]]


def test_backward_hook_without_inputs_that_need_gradients():
    layer, log = nn.Linear(2, 1), []
    handle = layer.register_full_backward_hook(lambda m, gi, go: log.append((gi, go[0].tolist())))
    layer(fb.ones(1, 2)).sum().backward()
    assert log == [((None,), [[1.0]])]
    handle.remove()
    layer.register_full_backward_hook(lambda m, gi, go: (fb.ones(1),))
    with pytest.raises(RuntimeError, match="must return None"):
        layer(fb.ones(1, 2)).sum().backward()


def test_backward_hook_that_returns_too_many():
    layer = nn.Linear(2, 1)
    layer.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0]))
    with pytest.raises(RuntimeError, match="got 2, expected 1"):
        layer(fb.ones(1, 2, requires_grad=True)).sum().backward()


def test_old_and_full_backward_hooks_do_not_mix():
    layer = nn.ReLU()
    layer.register_backward_hook(lambda *args: None)
    with pytest.raises(RuntimeError, match="cannot be mixed"):
        layer.register_full_backward_hook(lambda *args: None)


def test_global_hooks():
    from flambeau.nn.modules import hooks

    log = []
    handles = [
        hooks.register_module_forward_pre_hook(lambda m, args: log.append(("pre", type(m)))),
        hooks.register_module_forward_hook(lambda m, args, out: log.append(("post", type(m)))),
        hooks.register_module_parameter_registration_hook(lambda m, name, p: log.append(name)),
    ]
    nn.Sequential(nn.Linear(1, 1))(fb.ones(1, 1))
    for handle in handles:
        handle.remove()
    seq, lin = nn.Sequential, nn.Linear
    assert log == ["weight", "bias", ("pre", seq), ("pre", lin), ("post", lin), ("post", seq)]
    nn.ReLU()(fb.ones(1))
    assert len(log) == 6


# converting and copying


def test_conversions():
    net = Net()
    weight = net.fc.weight
    net.double()
    assert net.fc.weight is weight and weight.dtype == fb.float64
    assert net.seq[1].running_mean.dtype == fb.float64 and net.seq[1].num_batches_tracked.dtype == fb.int64
    for change, dtype in (
        (lambda m: m.half(), fb.float16),
        (lambda m: m.bfloat16(), fb.bfloat16),
        (lambda m: m.float(), fb.float32),
        (lambda m: m.to(fb.float64), fb.float64),
        (lambda m: m.to("cpu", fb.float32), fb.float32),
        (lambda m: m.to(fb.ones(1, dtype=fb.float64)), fb.float64),
    ):
        assert {p.dtype for p in change(net).parameters()} == {dtype}


def test_conversion_takes_gradients_along():
    layer = nn.Linear(2, 1)
    layer(fb.ones(1, 2)).sum().backward()
    layer.double()
    assert layer.weight.grad.dtype == fb.float64 and layer.weight.grad.tolist() == [[1.0, 1.0]]


def test_train_eval_freeze_zero_grad_apply():
    net, seen = Net(), []
    net.eval()
    assert not any(m.training for m in net.modules())
    assert net.train() is net and all(m.training for m in net.modules())
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "Linear", "BatchNorm1d", "Sequential", "Net"]
    net(fb.ones(2, 3)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert net.scale.grad.tolist() == [0.0, 0.0]
    net.zero_grad()
    assert net.scale.grad is None
    assert not any(p.requires_grad for p in net.requires_grad_(False).parameters())


def test_deepcopy_and_pickle():
    net = Net().eval()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert repr(twin) == repr(net) and not twin.training
        assert list(twin.state_dict()) == STATE_KEYS
        for p, q in zip(net.parameters(), twin.parameters(), strict=True):
            assert p is not q and type(q) is nn.Parameter and q.requires_grad and p.tolist() == q.tolist()
        twin.scale.data.fill_(9.0)
        assert net.scale.tolist() == [1.0, 1.0]


def test_parameter():
    assert nn.Parameter(fb.ones(2)).requires_grad and not nn.Parameter(fb.ones(2), requires_grad=False).requires_grad
    assert repr(nn.Parameter(fb.ones(1))) == "Parameter containing:\ntensor([1.], requires_grad=True)"
    parameter = nn.Parameter(fb.ones(2))
    assert type(parameter * 2) is fb.Tensor and type(parameter.detach()) is fb.Tensor
    with fb.no_grad():
        assert nn.Parameter(fb.ones(2)).requires_grad


def test_set_submodule():
    net = Net()
    net.set_submodule("seq.0", nn.Tanh())
    assert isinstance(net.seq[0], nn.Tanh) and net.get_submodule("") is net
    with pytest.raises(ValueError, match=r"nn\.Module"):
        net.set_submodule("seq.0", 3)


def test_convert_sync_batchnorm():
    net = nn.SyncBatchNorm.convert_sync_batchnorm(Net())
    assert isinstance(net.seq[1], nn.SyncBatchNorm) and list(net.state_dict()) == STATE_KEYS


def test_global_hooks_are_where_programs_import_them_from():
    from flambeau.nn.modules.module import (
        register_module_backward_hook,
        register_module_forward_hook,
        register_module_full_backward_hook,
        register_module_parameter_registration_hook,
    )

    log = []
    x = fb.ones(2, 3, requires_grad=True)
    with register_module_forward_hook(lambda m, args, out: log.append(type(m).__name__)):
        nn.Sequential(nn.Linear(3, 2), nn.ReLU())(x)
    assert log == ["Linear", "ReLU", "Sequential"]
    with register_module_parameter_registration_hook(lambda m, name, p: log.append(name)):
        nn.Conv2d(1, 1, 1, bias=False)  # a name without a parameter isn't announced
    assert log[3:] == ["weight"]
    layer = nn.Linear(3, 2)
    with register_module_backward_hook(lambda m, gi, go: log.append(("old", go[0].shape))):
        with pytest.raises(RuntimeError, match="cannot be mixed"):
            register_module_full_backward_hook(lambda m, gi, go: None)
        layer(x).sum().backward()
    assert log[4:] == [("old", (2, 2))]
    with register_module_full_backward_hook(lambda m, gi, go: log.append(("full", gi[0].shape))):
        with pytest.raises(RuntimeError, match="cannot be mixed"):
            register_module_backward_hook(lambda m, gi, go: None)
        layer(x).sum().backward()
    assert log[5:] == [("full", (2, 3))]
