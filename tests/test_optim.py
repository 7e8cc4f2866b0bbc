"""Optimizers against NumPy in float64 over several steps, and what they save, load and refuse."""

import copy
import math
import pickle

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn, optim

STEPS = 7
START = [np.linspace(-1, 1, 6).reshape(2, 3), np.array([0.5, -2.0]), np.array(1.5)]


def grads_of(values):
    """The gradient of Σ log cosh(v - 0.3) + ½ 0.1 v²."""
    return [np.tanh(v - 0.3) + 0.1 * v for v in values]


def make():
    return [nn.Parameter(fb.tensor(v.tolist(), dtype=fb.float64)) for v in START]


def array(t):
    return np.array(t.tolist(), dtype=np.float64).reshape(tuple(t.shape))


def set_grads(params):
    for p, g in zip(params, grads_of([array(p) for p in params]), strict=True):
        p.grad = fb.tensor(g.tolist(), dtype=fb.float64)


# Each oracle is a generator-free function of one parameter: (value, gradient, state, t, settings) -> new value.


def sgd(p, g, s, t, lr, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    g = (-g if maximize else g) + weight_decay * p
    if momentum:
        s["b"] = g if t == 1 else momentum * s["b"] + (1 - dampening) * g
        g = g + momentum * s["b"] if nesterov else s["b"]
    return p - lr * g


def adam(
    p, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, maximize=False,
    decoupled_weight_decay=False,
):  # fmt: skip
    g = -g if maximize else g
    if decoupled_weight_decay:
        p = p * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * p
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g * g
    s["u"] = np.maximum(s.get("u", 0), s["v"])
    v = s["u"] if amsgrad else s["v"]
    return p - lr * (s["m"] / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)


def adamw(p, g, s, t, lr, weight_decay=0.01, **settings):
    return adam(p, g, s, t, lr, weight_decay=weight_decay, decoupled_weight_decay=True, **settings)


def rmsprop(p, g, s, t, lr, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False, maximize=False):
    g = (-g if maximize else g) + weight_decay * p
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g * g
    s["m"] = alpha * s.get("m", 0) + (1 - alpha) * g
    d = g / (np.sqrt(s["v"] - s["m"] ** 2 * centered) + eps)
    s["b"] = momentum * s.get("b", 0) + d
    return p - lr * s["b"]


def adagrad(p, g, s, t, lr, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10):
    g = g + weight_decay * p
    s["s"] = s.get("s", initial_accumulator_value) + g * g
    return p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s["s"]) + eps)


def adadelta(p, g, s, t, lr, rho=0.9, eps=1e-6, weight_decay=0):
    g = g + weight_decay * p
    s["v"] = rho * s.get("v", 0) + (1 - rho) * g * g
    d = np.sqrt(s.get("u", 0) + eps) / np.sqrt(s["v"] + eps) * g
    s["u"] = rho * s.get("u", 0) + (1 - rho) * d * d
    return p - lr * d


def adamax(p, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0):
    g = g + weight_decay * p
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["u"] = np.maximum(betas[1] * s.get("u", 0), np.abs(g) + eps)
    return p - lr / (1 - betas[0] ** t) * s["m"] / s["u"]


def nadam(p, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, momentum_decay=4e-3):
    g = g + weight_decay * p
    mu, following = (betas[0] * (1 - 0.5 * 0.96 ** (k * momentum_decay)) for k in (t, t + 1))
    s["product"] = s.get("product", 1) * mu
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g * g
    m = following * s["m"] / (1 - s["product"] * following) + (1 - mu) * g / (1 - s["product"])
    return p - lr * m / (np.sqrt(s["v"] / (1 - betas[1] ** t)) + eps)


def radam(p, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0):
    g = g + weight_decay * p
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g * g
    m, most = s["m"] / (1 - betas[0] ** t), 2 / (1 - betas[1]) - 1
    rho = most - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
    if rho <= 5:
        return p - lr * m
    r = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
    return p - lr * m * r * math.sqrt(1 - betas[1] ** t) / (np.sqrt(s["v"]) + eps)


def rprop(p, g, s, t, lr, etas=(0.5, 1.2), step_sizes=(1e-6, 50)):
    agreement, size = g * s.get("g", 0), s.get("size", lr)
    size = np.clip(np.where(agreement > 0, size * etas[1], np.where(agreement < 0, size * etas[0], size)), *step_sizes)
    s["size"], s["g"] = size, np.where(agreement < 0, 0, g)
    return p - np.sign(s["g"]) * size


def asgd(p, g, s, t, lr, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0):
    g = g + weight_decay * p
    eta, mu = s.get("eta", lr), s.get("mu", 1)
    p = p * (1 - lambd * eta) - eta * g
    s["ax"] = p if mu == 1 else s["ax"] + mu * (p - s["ax"])
    s["eta"] = np.float32(lr / (1 + lambd * lr * t) ** alpha)
    s["mu"] = np.float32(1 / max(1, t - t0))
    return p


CASES = [
    (optim.SGD, sgd, dict(lr=0.1)),
    (optim.SGD, sgd, dict(lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.1)),
    (optim.SGD, sgd, dict(lr=0.1, momentum=0.9, nesterov=True)),
    (optim.SGD, sgd, dict(lr=0.1, momentum=0.5, weight_decay=0.1, maximize=True)),
    (optim.Adam, adam, dict(lr=0.1)),
    (optim.Adam, adam, dict(lr=0.1, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1, amsgrad=True)),
    (optim.Adam, adam, dict(lr=0.1, maximize=True, weight_decay=0.2)),
    (optim.Adam, adam, dict(lr=0.1, weight_decay=0.2, decoupled_weight_decay=True)),
    (optim.AdamW, adamw, dict(lr=0.1)),
    (optim.AdamW, adamw, dict(lr=0.1, weight_decay=0.3, amsgrad=True, maximize=True)),
    (optim.RMSprop, rmsprop, dict(lr=0.1)),
    (optim.RMSprop, rmsprop, dict(lr=0.01, momentum=0.9, centered=True, weight_decay=0.1)),
    (optim.Adagrad, adagrad, dict(lr=0.1)),
    (optim.Adagrad, adagrad, dict(lr=0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.2)),
    (optim.Adadelta, adadelta, dict(lr=0.5, rho=0.7, weight_decay=0.1)),
    (optim.Adamax, adamax, dict(lr=0.1, weight_decay=0.1)),
    (optim.NAdam, nadam, dict(lr=0.1, weight_decay=0.1)),
    (optim.RAdam, radam, dict(lr=0.1, weight_decay=0.1)),
    (optim.RAdam, radam, dict(lr=0.1, betas=(0.9, 0.5))),
    (optim.Rprop, rprop, dict(lr=0.3)),
    (optim.ASGD, asgd, dict(lr=0.1, lambd=0.1, t0=3, weight_decay=0.1)),
]
IDS = [f"{case[0].__name__}-{i}" for i, case in enumerate(CASES)]


@pytest.mark.parametrize(("cls", "oracle", "settings"), CASES, ids=IDS)
def test_steps(cls, oracle, settings):
    params, values, states = make(), list(START), [{} for _ in START]
    opt = cls(params, **settings)
    for t in range(1, STEPS + 1):
        set_grads(params)
        opt.step()
        grads = grads_of(values)
        values = [oracle(p, g, s, t, **settings) for p, g, s in zip(values, grads, states, strict=True)]
        for p, v in zip(params, values, strict=True):
            # float32 scalars inside the state (eta, mu, mu_product) set the bound
            np.testing.assert_allclose(array(p), v, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("cls", "oracle", "settings"), CASES, ids=IDS)
def test_resuming_from_a_state_dict_changes_nothing(cls, oracle, settings):
    params = make()
    opt = cls(params, **settings)
    for _ in range(3):
        set_grads(params)
        opt.step()
    twins = [nn.Parameter(p.detach().clone()) for p in params]
    other = cls(twins, lr=9.0)
    other.load_state_dict(copy.deepcopy(opt.state_dict()))
    assert other.param_groups[0]["lr"] == settings["lr"]
    for _ in range(3):
        for group, optimizer in ((params, opt), (twins, other)):
            set_grads(group)
            optimizer.step()
    for p, q in zip(params, twins, strict=True):
        assert p.tolist() == q.tolist()


def test_parameters_of_several_dtypes():
    wide, narrow = (nn.Parameter(fb.ones(3, dtype=dtype)) for dtype in (fb.float64, fb.float32))
    opt = optim.Adam([wide, narrow], lr=0.1)
    for p in (wide, narrow):
        p.grad = fb.full_like(p, 2.0)
    opt.step()
    np.testing.assert_allclose(array(wide), 0.9, rtol=1e-7)
    np.testing.assert_allclose(array(narrow), 0.9, rtol=1e-6)
    assert opt.state[narrow]["exp_avg"].dtype == fb.float32 and opt.state[wide]["exp_avg"].dtype == fb.float64


def test_groups_frozen_and_late_parameters():
    a, b, c = make()
    opt = optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1, momentum=0.9)
    for p in (a, b):
        p.grad = fb.ones_like(p)
    before = array(b)
    opt.step()
    np.testing.assert_allclose(array(a), START[0] - 0.1)
    np.testing.assert_allclose(array(b), START[1] - 0.5)
    opt.add_param_group({"params": c, "lr": 1.0})
    b.grad, c.grad = None, fb.ones_like(c)
    opt.step()
    np.testing.assert_allclose(array(a), START[0] - 0.1 - 0.19)
    np.testing.assert_allclose(array(b), before - 0.5)  # no gradient, no step
    np.testing.assert_allclose(array(c), START[2] - 1.0)
    assert [g["momentum"] for g in opt.param_groups] == [0.9] * 3


def test_momentum_of_parameters_that_join_late():
    a, b, _ = make()
    opt = optim.SGD([a, b], lr=1.0, momentum=0.5, dampening=0.5)
    a.grad = fb.ones_like(a)
    opt.step()
    a.grad, b.grad = fb.ones_like(a), fb.ones_like(b)
    opt.step()
    np.testing.assert_allclose(array(a), START[0] - 1 - 1)  # 0.5 · 1 + 0.5 · 1
    np.testing.assert_allclose(array(b), START[1] - 1)  # its first: not dampened


def test_state_dict_has_pytorchs_form():
    params = make()
    opt = optim.Adam(params, lr=0.1, amsgrad=True)
    set_grads(params)
    opt.step()
    state = opt.state_dict()
    assert list(state) == ["state", "param_groups"] and list(state["state"]) == [0, 1, 2]
    assert list(state["state"][0]) == ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
    step = state["state"][0]["step"]
    assert step.dtype == fb.float32 and step.shape == () and step.item() == 1.0
    assert list(state["param_groups"][0]) == [
        "lr", "betas", "eps", "weight_decay", "amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused",
        "decoupled_weight_decay", "params",
    ]  # fmt: skip
    assert state["param_groups"][0]["params"] == [0, 1, 2]
    sgd_opt = optim.SGD(params, lr=0.1)
    sgd_opt.step()
    assert sgd_opt.state_dict()["state"] == {}
    assert list(sgd_opt.state_dict()["param_groups"][0]) == [
        "lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize", "foreach", "differentiable", "fused",
        "params",
    ]  # fmt: skip


def test_old_state_with_plain_step_counts_loads():
    params = make()
    opt = optim.Adam(params, lr=0.1)
    set_grads(params)
    opt.step()
    state = opt.state_dict()
    for entry in state["state"].values():
        entry["step"] = 1
    del state["param_groups"][0]["decoupled_weight_decay"]
    opt.load_state_dict(state)
    set_grads(params)
    opt.step()
    assert opt.state[params[0]]["step"].item() == 2.0


def test_state_of_another_shape_is_refused():
    a, b, c = make()
    state = optim.SGD([a, b], lr=0.1).state_dict()
    with pytest.raises(ValueError, match="size of optimizer's group"):
        optim.SGD([c], lr=0.1).load_state_dict(state)
    with pytest.raises(ValueError, match="number of parameter groups"):
        optim.SGD([{"params": [a]}, {"params": [b]}], lr=0.1).load_state_dict(state)


def test_names_of_parameters_are_kept():
    net = nn.Linear(2, 2)
    opt = optim.SGD(net.named_parameters(), lr=0.1)
    assert opt.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="with/without names"):
        opt.add_param_group({"params": [nn.Parameter(fb.ones(1))]})


def test_closure_and_return_value():
    (p, *_) = make()
    opt = optim.SGD([p], lr=0.1)

    def closure():
        opt.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with fb.no_grad():
        loss = opt.step(closure)
    np.testing.assert_allclose(loss.item(), (START[0] ** 2).sum())
    np.testing.assert_allclose(array(p), 0.8 * START[0])
    assert opt.step() is None


def test_zero_grad():
    params = make()
    opt = optim.SGD(params, lr=0.1)
    set_grads(params)
    opt.zero_grad(set_to_none=False)
    assert all(not array(p.grad).any() for p in params)
    opt.zero_grad()
    assert all(p.grad is None for p in params)


def test_step_hooks():
    (p, *_) = make()
    p.grad = fb.ones_like(p)
    opt, log = optim.SGD([p], lr=0.1), []
    handles = [
        opt.register_step_pre_hook(lambda o, args, kwargs: log.append("pre")),
        opt.register_step_post_hook(lambda o, args, kwargs: log.append("post")),
    ]
    opt.step()
    for handle in handles:
        handle.remove()
    opt.step()
    assert log == ["pre", "post"]
    opt.register_state_dict_post_hook(lambda o, state: {**state, "note": 1})
    assert opt.state_dict()["note"] == 1
    opt.register_load_state_dict_pre_hook(lambda o, state: log.append(sorted(state)))
    opt.load_state_dict(opt.state_dict())
    assert log[2:] == [["note", "param_groups", "state"]]


def test_optimizers_of_ones_own():
    class Sign(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def step(self):
            with fb.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p.sub_(p.grad.sign() * group["lr"])

    params, log = make(), []
    opt = Sign(params, 0.1)
    opt.register_step_post_hook(lambda *args: log.append(1))
    set_grads(params)
    expected = START[0] - 0.1 * np.sign(grads_of(START)[0])
    opt.step()
    np.testing.assert_allclose(array(params[0]), expected)
    assert log == [1]


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "RAdam"])
def test_differentiable_steps(name):
    """The gradient through two steps is that of finite differences."""
    settings = {"SGD": {"momentum": 0.9}, "Adam": {"weight_decay": 0.1}}.get(name, {})

    def stepped(w):
        p = w.clone()
        opt = getattr(optim, name)([p], lr=0.1, differentiable=True, **settings)
        for scale in (1.0, -0.5):
            p.grad = (w * w).sin() * scale
            opt.step()
        return p

    assert fb.autograd.gradcheck(stepped, fb.tensor([1.0, -2.0, 0.5], dtype=fb.float64, requires_grad=True))


def test_steps_have_the_same_bits_for_any_number_of_threads_and_neighbours():
    """One tensor alone on one thread; all of them, with odd sizes and layouts, on three."""
    shapes = [(70001,), (3,), (64, 33, 3, 3), (), (257, 129), (40000,)]

    def run(threads, together):
        fb.manual_seed(0)
        params = [nn.Parameter(fb.randn(*s)) for s in shapes]
        params[2].data = params[2].data.contiguous(memory_format=fb.channels_last)
        grads = [fb.randn(*s) for s in shapes]  # the third one's lies otherwise than its parameter
        before = fb.get_num_threads()
        fb.set_num_threads(threads)
        try:
            for some in [params] if together else [[p] for p in params]:
                opt = optim.AdamW(some, lr=0.1)
                for _ in range(2):
                    for p, g in zip(params, grads, strict=True):
                        p.grad = g
                    opt.step()
        finally:
            fb.set_num_threads(before)
        return [p.detach() for p in params]

    for a, b in zip(run(1, together=False), run(3, together=True), strict=True):
        assert bool((a == b).all())


def test_pickle_and_repr():
    params = make()
    opt = optim.Adam(params, lr=0.1)
    set_grads(params)
    opt.step()
    twin = pickle.loads(pickle.dumps(opt))
    assert repr(twin) == repr(opt)
    assert [s["step"].item() for s in twin.state.values()] == [1.0] * 3
    assert repr(optim.SGD(params, lr=0.1)) == (
        "SGD (\nParameter Group 0\n    dampening: 0\n    differentiable: False\n    foreach: None\n    fused: None\n"
        "    lr: 0.1\n    maximize: False\n    momentum: 0\n    nesterov: False\n    weight_decay: 0\n)"
    )


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda p: optim.SGD(p, lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda p: optim.SGD([p], nesterov=True), ValueError, "Nesterov"),
        (lambda p: optim.Adam([p], betas=(1.0, 0.9)), ValueError, "beta parameter at index 0"),
        (lambda p: optim.Adam([p], eps=-1.0), ValueError, "Invalid epsilon value"),
        (lambda p: optim.Adam([p], lr=math.nan), ValueError, "Invalid learning rate"),
        (lambda p: optim.SGD(p), TypeError, "iterable of Tensors"),
        (lambda p: optim.SGD([]), ValueError, "empty parameter list"),
        (lambda p: optim.SGD([3]), TypeError, "one of the params is int"),
        (lambda p: optim.SGD([p * 2]), ValueError, "non-leaf"),
        (lambda p: optim.SGD([{"params": [p]}, {"params": [p]}]), ValueError, "more than one parameter group"),
        (lambda p: optim.SGD([{"params": {p}}]), TypeError, "sets"),
        (
            lambda p: optim.Adam([p], lr=fb.tensor(0.1, requires_grad=True), differentiable=True),
            ValueError,
            "differentiable",
        ),
        (lambda p: optim.Adam([p], fused=True, foreach=True), RuntimeError, "cannot be `True` together"),
        (lambda p: optim.SGD([p], fused=True, differentiable=True), RuntimeError, "does not support"),
        (lambda p: optim.LBFGS([{"params": [p]}, {"params": [nn.Parameter(fb.ones(1))]}]), ValueError, "per-parameter"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call(nn.Parameter(fb.ones(2)))


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_lbfgs_finds_the_minimum(line_search):
    """A quadratic with condition number 100, and Rosenbrock's valley, whose minimum is at (1, 1)."""
    p = nn.Parameter(fb.tensor([-1.2, 1.0], dtype=fb.float64))
    scale = fb.tensor([1.0, 100.0], dtype=fb.float64)
    opt = optim.LBFGS([p], lr=0.01 if line_search is None else 1, max_iter=60, line_search_fn=line_search)

    def quadratic():
        opt.zero_grad()
        loss = (scale * (p - 3) ** 2).sum()
        loss.backward()
        return loss

    def rosenbrock():
        opt.zero_grad()
        loss = (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
        loss.backward()
        return loss

    if line_search is None:
        first = opt.step(quadratic).item()
        assert quadratic().item() < first
    else:
        opt.step(quadratic)
        np.testing.assert_allclose(array(p), [3, 3], atol=1e-5)
        with fb.no_grad():
            p.copy_(fb.tensor([-1.2, 1.0]))
        opt = optim.LBFGS([p], max_iter=100, line_search_fn=line_search)
        opt.step(rosenbrock)
        np.testing.assert_allclose(array(p), [1, 1], atol=1e-4)
