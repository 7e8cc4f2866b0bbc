"""swa_utils: averages of weights against NumPy, batch norm statistics, the schedule's closed form."""

import copy
import math

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn, optim
from flambeau.optim import swa_utils as S


def array(t):
    return np.array(t.detach().tolist())


def models(n=4):
    """One model with n different sets of parameters and buffers, one after the other."""
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    for _ in range(n):
        with fb.no_grad():
            for t in model.parameters():
                t.copy_(fb.randn(t.shape))
        model(fb.randn(5, 3))
        yield model


AVERAGES = {
    "plain": ({}, lambda ws: np.mean(ws, 0)),
    "swa": ({"avg_fn": S.get_swa_avg_fn()}, lambda ws: np.mean(ws, 0)),
    "swa lists": ({"multi_avg_fn": S.get_swa_multi_avg_fn()}, lambda ws: np.mean(ws, 0)),
    "ema": ({"avg_fn": S.get_ema_avg_fn(0.8)}, None),
    "ema lists": ({"multi_avg_fn": S.get_ema_multi_avg_fn(0.8)}, None),
    "own": ({"avg_fn": lambda a, c, n: a + c * (n + 1)}, lambda ws: sum(w * max(i + 1, 1) for i, w in enumerate(ws))),
}


def ema(ws):
    average = ws[0]
    for w in ws[1:]:
        average = 0.8 * average + 0.2 * w
    return average


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("name", AVERAGES)
def test_averages(name, use_buffers):
    settings, expected = AVERAGES[name]
    seen, average = [], None
    for model in models():
        average = average or S.AveragedModel(model, use_buffers=use_buffers, **settings)
        average.update_parameters(model)
        seen.append({k: array(v).astype(float) for k, v in model.state_dict().items()})
    assert average.n_averaged.item() == 4
    for key, got in average.module.state_dict().items():
        values = [s[key] for s in seen]
        if "running" in key and not use_buffers:
            np.testing.assert_array_equal(array(got), values[-1])
        elif key != "1.num_batches_tracked":
            np.testing.assert_allclose(array(got), (expected or ema)(values), rtol=1e-4, atol=1e-5)
    x = fb.randn(4, 3)
    assert bool((average.eval()(x) == average.module(x)).all())
    assert list(average.state_dict())[:2] == ["n_averaged", "module.0.weight"]
    assert copy.deepcopy(average)(x).shape == (4, 2)


def test_update_bn():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, momentum=0.3), nn.Dropout(0.9)).eval()
    batches = [fb.randn(6, 3) for _ in range(5)]
    S.update_bn([(b, "label") for b in batches], model)
    outputs = [array(model[0](b)) for b in batches]
    np.testing.assert_allclose(array(model[1].running_mean), np.mean([o.mean(0) for o in outputs], 0), atol=1e-5)
    np.testing.assert_allclose(array(model[1].running_var), np.mean([o.var(0, ddof=1) for o in outputs], 0), rtol=1e-4)
    assert model[1].momentum == 0.3
    assert not model.training


@pytest.mark.parametrize("shape", ["cos", "linear"])
def test_schedule(shape):
    groups = [{"params": [nn.Parameter(fb.ones(1))], "lr": lr} for lr in (1.0, 0.4)]
    opt = optim.SGD(groups, lr=1.0)
    schedule = S.SWALR(opt, [0.2, 0.1], anneal_epochs=5, anneal_strategy=shape)
    for epoch in range(8):
        part = min(1, epoch / 5)
        part = (1 - math.cos(math.pi * part)) / 2 if shape == "cos" else part
        got = [g["lr"] for g in opt.param_groups]
        assert got == pytest.approx([1 + (0.2 - 1) * part, 0.4 + (0.1 - 0.4) * part])
        opt.step()
        schedule.step()
        if epoch == 2:
            state = copy.deepcopy(schedule.state_dict())
            schedule.load_state_dict(state)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda o: S.SWALR(o, 0.1, anneal_strategy="steps"), ValueError),
        (lambda o: S.SWALR(o, 0.1, anneal_epochs=-1), ValueError),
        (lambda o: S.SWALR(o, [0.1, 0.2]), ValueError),
        (lambda o: S.get_ema_avg_fn(1.5), ValueError),
        (lambda o: S.get_ema_multi_avg_fn(-0.5), ValueError),
        (lambda o: S.AveragedModel(nn.Linear(1, 1), avg_fn=abs, multi_avg_fn=abs), AssertionError),
    ],
)
def test_refusals(call, error):
    with pytest.raises(error):
        call(optim.SGD([nn.Parameter(fb.ones(1))], lr=1.0))
