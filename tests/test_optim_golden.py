"""Ten steps of every optimizer are PyTorch's, values, state and settings: recorded by data/write_pytorch_optim.py."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import flambeau as fb

DATA = Path(__file__).parent / "data"
spec = importlib.util.spec_from_file_location("write_pytorch_optim", DATA / "write_pytorch_optim.py")
golden = importlib.util.module_from_spec(spec)
spec.loader.exec_module(golden)
CASES = json.loads((DATA / "pytorch_optim.json").read_text())["cases"]


def settings_of(case):
    return {k: tuple(v) if isinstance(v, list) else v for k, v in case["settings"].items()}


def flat(t):
    t = t.detach()
    return np.array((fb.view_as_real(t) if t.is_complex() else t).reshape(-1).tolist())


@pytest.mark.parametrize("number", range(len(CASES)), ids=[c["name"] for c in CASES])
def test_ten_steps(number):
    case = CASES[number]
    name, settings = case["name"], settings_of(case)
    for dtype, bound in ((fb.float64, 1e-9), (fb.float32, 1e-6)):
        for kind in ("real", "complex"):
            if kind not in case or (name == "LBFGS" and dtype == fb.float32):
                continue  # a line search takes other turns where losses differ by a rounding
            params, opt = golden.run(fb, name, settings, dtype, kind == "complex")
            for p, expected in zip(params, case[kind], strict=True):
                assert np.abs(flat(p) - expected).max() <= bound * np.abs(expected).max()
    state = opt.state_dict()
    assert sorted(state["state"].get(0, {})) == case["keys"]
    group = {k: list(v) if isinstance(v, tuple) else v for k, v in state["param_groups"][0].items() if k != "params"}
    assert group == case["group"]
    assert list(group) == list(case["group"])


def test_all_optimizers_are_there():
    classes = {n for n in fb.optim.__all__ if isinstance(getattr(fb.optim, n), type)} - {"Optimizer"}
    assert {c["name"] for c in CASES} == classes


def test_complex_parameters_are_refused_where_pytorch_refuses():
    for name in ("Adafactor", "Muon"):
        p = fb.nn.Parameter(fb.ones(2, 2, dtype=fb.complex64))
        p.grad = fb.ones_like(p)
        with pytest.raises(RuntimeError, match=f"{name} does not support complex parameters"):
            getattr(fb.optim, name)([p]).step()
