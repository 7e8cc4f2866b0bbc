"""Learning-rate schedules against their closed forms in plain Python, for two groups and every step of a run."""

import copy
import itertools
import math

import pytest

import flambeau as fb
from flambeau import nn, optim
from flambeau.optim import lr_scheduler as L

RATES = [0.1, 0.3]


def make(cls=optim.SGD, tensor_lr=False):
    groups = [{"params": [nn.Parameter(fb.ones(1))], "lr": fb.tensor(lr) if tensor_lr else lr} for lr in RATES]
    return cls(groups, lr=1.0, **({"momentum": 0.9} if cls is optim.SGD else {}))


def run(opt, schedule, steps):
    seen = [[float(group["lr"]) for group in opt.param_groups]]
    for _ in range(steps):
        opt.step()
        schedule.step()
        seen.append([float(group["lr"]) for group in opt.param_groups])
        assert [float(lr) for lr in schedule.get_last_lr()] == seen[-1]
    return seen


def cosine(e, period, low, base):
    return low + (base - low) * (1 + math.cos(math.pi * e / period)) / 2


def restarts(e, base):
    period = 3
    while e >= period:
        e, period = e - period, period * 2
    return cosine(e, period, 0.01, base)


def triangle(e, up, down):
    x = e % (up + down)
    return x / up if x <= up else (up + down - x) / down


# name: (make the schedule, its rate at epoch e for a base rate)
CLOSED = {
    "StepLR": (lambda o: L.StepLR(o, 3, gamma=0.5), lambda e, b: b * 0.5 ** (e // 3)),
    "MultiStepLR": (lambda o: L.MultiStepLR(o, [2, 2, 5]), lambda e, b: b * 0.1 ** (2 * (e >= 2) + (e >= 5))),
    "ConstantLR": (lambda o: L.ConstantLR(o, 0.25, 4), lambda e, b: b * (0.25 if e < 4 else 1)),
    "LinearLR": (lambda o: L.LinearLR(o, 0.2, 0.8, 5), lambda e, b: b * (0.2 + 0.6 * min(e, 5) / 5)),
    "ExponentialLR": (lambda o: L.ExponentialLR(o, 0.8), lambda e, b: b * 0.8**e),
    "PolynomialLR": (lambda o: L.PolynomialLR(o, 6, 2.0), lambda e, b: b * (1 - min(e, 6) / 6) ** 2),
    "CosineAnnealingLR": (lambda o: L.CosineAnnealingLR(o, 4, 0.01), lambda e, b: cosine(e, 4, 0.01, b)),
    "CosineAnnealingWarmRestarts": (lambda o: L.CosineAnnealingWarmRestarts(o, 3, 2, 0.01), restarts),
    "LambdaLR": (lambda o: L.LambdaLR(o, lambda e: 1 / (1 + e)), lambda e, b: b / (1 + e)),
    "LambdaLR each": (
        lambda o: L.LambdaLR(o, [lambda e: 2.0, lambda e: 1.0 + e]), lambda e, b: b * (2.0 if b == 0.1 else 1.0 + e),
    ),
    "MultiplicativeLR": (lambda o: L.MultiplicativeLR(o, lambda e: 0.9), lambda e, b: b * 0.9**e),
    "CyclicLR": (lambda o: L.CyclicLR(o, RATES, 1.0, 3, 5), lambda e, b: b + (1 - b) * triangle(e, 3, 5)),
    "CyclicLR halving": (
        lambda o: L.CyclicLR(o, RATES, 1.0, 3, mode="triangular2"),
        lambda e, b: b + (1 - b) * triangle(e, 3, 3) / 2 ** (e // 6),
    ),
    "CyclicLR exponential": (
        lambda o: L.CyclicLR(o, RATES, 1.0, 3, mode="exp_range", gamma=0.9),
        lambda e, b: b + (1 - b) * triangle(e, 3, 3) * 0.9**e,
    ),
    "SequentialLR": (
        lambda o: L.SequentialLR(o, [L.ConstantLR(o, 0.1), L.ExponentialLR(o, 0.9), L.StepLR(o, 2)], [3, 7]),
        lambda e, b: b * (0.1 if e < 3 else 0.9 ** (e - 3) if e < 7 else 0.1 ** ((e - 7) // 2)),
    ),
    "ChainedScheduler": (
        lambda o: L.ChainedScheduler([L.ConstantLR(o, 0.5, 4), L.ExponentialLR(o, 0.9), L.CosineAnnealingLR(o, 20)]),
        lambda e, b: b * (0.5 if e < 4 else 1) * 0.9**e * cosine(e, 20, 0, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("tensor_lr", [False, True])
@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms(name, tensor_lr):
    schedule, rate = CLOSED[name]
    opt = make(tensor_lr=tensor_lr)
    originals = [group["lr"] for group in opt.param_groups]
    for e, got in enumerate(run(opt, schedule(opt), 12)):
        assert got == pytest.approx([rate(e, b) for b in RATES], rel=1e-5 if tensor_lr else 1e-9, abs=1e-9)
    if tensor_lr:
        assert all(group["lr"] is lr for group, lr in zip(opt.param_groups, originals, strict=True))


@pytest.mark.parametrize("name", CLOSED)
def test_saved_and_loaded_in_the_middle(name):
    make_schedule, _ = CLOSED[name]
    opt, other = make(), make()
    schedule, twin = make_schedule(opt), make_schedule(other)
    run(opt, schedule, 5)
    other.load_state_dict(copy.deepcopy(opt.state_dict()))
    twin.load_state_dict(copy.deepcopy(schedule.state_dict()))
    assert run(opt, schedule, 8) == run(other, twin, 8)


@pytest.mark.parametrize("shape", ["cos", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
def test_one_cycle(shape, three_phase):
    opt = make(optim.Adam)
    schedule = L.OneCycleLR(
        opt, [1.0, 2.0], epochs=2, steps_per_epoch=10, pct_start=0.25, anneal_strategy=shape, three_phase=three_phase,
        base_momentum=0.8, max_momentum=0.9,
    )  # fmt: skip
    # 20 steps, the peak at 0.25 · 20 - 1 = 4; with three phases back at the start at 8.
    corners = [(0, 1 / 25, 0.9), (4, 1.0, 0.8)] + ([(8, 1 / 25, 0.9)] if three_phase else []) + [(19, 1 / 25e4, 0.9)]

    def at(step, which):
        for low, high in itertools.pairwise(corners):
            if step <= high[0]:
                part = (step - low[0]) / (high[0] - low[0])
                if shape == "cos":
                    part = (1 - math.cos(math.pi * part)) / 2
                return low[which] + (high[which] - low[which]) * part
        raise AssertionError

    for step in range(20):
        assert [g["lr"] for g in opt.param_groups] == pytest.approx([at(step, 1), 2 * at(step, 1)])
        assert [g["betas"][0] for g in opt.param_groups] == pytest.approx([at(step, 2)] * 2)
        opt.step()
        if step < 19:
            schedule.step()
    schedule.step()
    with pytest.raises(ValueError, match="total steps is 20"):
        schedule.step()


def test_cyclic_momentum_goes_the_other_way():
    opt = make()
    schedule = L.CyclicLR(opt, 0.1, 1.0, 2, base_momentum=0.5, max_momentum=0.7)
    seen = []
    for _ in range(5):
        seen.append(opt.param_groups[0]["momentum"])
        opt.step()
        schedule.step()
    assert seen == pytest.approx([0.7, 0.6, 0.5, 0.6, 0.7])


def test_plateau():
    opt = make()
    schedule = L.ReduceLROnPlateau(opt, factor=0.5, patience=2, threshold=0.1, cooldown=1, min_lr=[0.0, 0.2])
    losses = [1.0, 0.95, 0.92, 0.91, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    #         best  worse by the threshold: the third lowers it; then best anew …
    seen = []
    for loss in losses:
        schedule.step(fb.tensor(loss))
        seen.append(opt.param_groups[0]["lr"])
    assert seen == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.025])
    assert opt.param_groups[1]["lr"] == pytest.approx(0.2)
    assert schedule.get_last_lr() == [0.025, 0.2]
    twin = L.ReduceLROnPlateau(opt)
    twin.load_state_dict(schedule.state_dict())
    assert twin.state_dict() == schedule.state_dict()


def test_plateau_upwards():
    opt = make()
    schedule = L.ReduceLROnPlateau(opt, "max", patience=0, threshold_mode="abs", threshold=0.5)
    for score, lr in ((1.0, 0.1), (1.6, 0.1), (2.0, 0.01)):
        schedule.step(score)
        assert opt.param_groups[0]["lr"] == pytest.approx(lr)


def test_state_dict_keys_are_pytorchs():
    opt = make()
    common = {"base_lrs", "last_epoch", "_step_count", "_is_initial", "_get_lr_called_within_step", "_last_lr"}
    assert set(L.StepLR(opt, 3).state_dict()) == common | {"step_size", "gamma"}
    assert set(L.CosineAnnealingLR(opt, 3).state_dict()) == common | {"T_max", "eta_min"}
    assert L.LambdaLR(opt, lambda e: 1.0).state_dict()["lr_lambdas"] == [None, None]
    assert "initial_lr" in opt.param_groups[0]


def test_callable_objects_travel_with_the_state():
    class Warm:
        def __init__(self, steps):
            self.steps = steps

        def __call__(self, epoch):
            return min(1.0, epoch / self.steps)

    first = L.LambdaLR(make(), Warm(4))
    second = L.LambdaLR(make(), Warm(9))
    second.load_state_dict(first.state_dict())
    assert second.lr_lambdas[0].steps == 4


def test_resuming_needs_initial_rates():
    with pytest.raises(KeyError, match="initial_lr"):
        L.StepLR(make(), 2, last_epoch=3)
    opt = make()
    for group in opt.param_groups:
        group["initial_lr"] = group["lr"]
    assert L.LambdaLR(opt, lambda e: e, last_epoch=3).get_last_lr() == pytest.approx([0.4, 1.2])


def test_warnings():
    opt = make()
    schedule = L.ExponentialLR(opt, 0.5)
    with pytest.warns(UserWarning, match=r"before `optimizer.step\(\)`"):
        schedule.step()
    with pytest.warns(UserWarning, match="epoch parameter"):
        schedule.step(4)
    assert opt.param_groups[0]["lr"] == pytest.approx(0.1 / 16)
    with pytest.warns(UserWarning, match="get_last_lr"):
        schedule.get_lr()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda o: L.StepLR([1], 2), TypeError, "list is not an Optimizer"),
        (lambda o: L.LambdaLR(o, [abs]), ValueError, "Expected 2 lr_lambdas"),
        (lambda o: L.OneCycleLR(o, 0.1), ValueError, "total_steps"),
        (lambda o: L.OneCycleLR(o, 0.1, 0), ValueError, "positive integer total_steps"),
        (lambda o: L.OneCycleLR(o, [0.1], 5), ValueError, "expected 2 values for max_lr"),
        (lambda o: L.ConstantLR(o, 2.0), ValueError, "between 0 and 1"),
        (lambda o: L.LinearLR(o, 0.0), ValueError, "greater than 0"),
        (lambda o: L.CosineAnnealingWarmRestarts(o, 0), ValueError, "positive integer T_0"),
        (lambda o: L.ReduceLROnPlateau(o, factor=1.0), ValueError, "Factor"),
        (lambda o: L.ReduceLROnPlateau(o, min_lr=[1]), ValueError, "expected 2 min_lrs"),
        (lambda o: L.CyclicLR(optim.Adagrad([nn.Parameter(fb.ones(1))]), 0.1, 0.2), ValueError, "momentum"),
        (lambda o: L.SequentialLR(o, [], []), ValueError, "at least one scheduler"),
        (lambda o: L.SequentialLR(o, [L.StepLR(o, 1)], [1]), ValueError, "one more than the number of milestone"),
        (lambda o: L.ChainedScheduler([L.StepLR(o, 1), L.StepLR(make(), 1)]), ValueError, "same optimizer"),
        (lambda o: L.SequentialLR(o, [L.StepLR(o, 1), L.ReduceLROnPlateau(o)], [1]), ValueError, "ReduceLROnPlateau"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call(make())
