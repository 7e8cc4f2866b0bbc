"""Writes pytorch_optim.json: ten steps of each of PyTorch's optimizers, for tests/test_optim_golden.py.

Run it where PyTorch is installed: python tests/data/write_pytorch_optim.py. `run` is what the test runs on flambeau.
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

SHAPES = [(4, 3), (5,), (2, 3, 2), ()]
DECAYED = [{"weight_decay": wd, "maximize": mx} for wd, mx in itertools.product((0, 0.1), (False, True))]
VARIANTS = {
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "dampening": 0.3}],
    "Adam": [{}, {"amsgrad": True}, {"decoupled_weight_decay": True}, {"betas": (0.5, 0.7), "eps": 1e-3}],
    "AdamW": [{}, {"amsgrad": True}],
    "NAdam": [{}, {"decoupled_weight_decay": True}, {"momentum_decay": 0.1}],
    "RAdam": [{}, {"decoupled_weight_decay": True}, {"betas": (0.8, 0.9)}],
    "Adamax": [{}, {"lr": 0.05}],
    "Adagrad": [{}, {"lr_decay": 0.1, "initial_accumulator_value": 0.2}],
    "Adadelta": [{}, {"rho": 0.5, "lr": 0.3}],
    "RMSprop": [{}, {"momentum": 0.9}, {"centered": True}, {"centered": True, "momentum": 0.5}],
    "ASGD": [{}, {"t0": 3, "lambd": 0.01}],
    "Adafactor": [{}, {"lr": 0.1, "d": 1.5, "eps": (1e-3, 1e-2), "beta2_decay": -0.5}],
}
CASES = [(name, {**v, **d}) for name, variants in VARIANTS.items() for v in variants for d in DECAYED]
CASES += [("Rprop", {}), ("Rprop", {"etas": (0.4, 1.3), "step_sizes": (1e-3, 0.1), "maximize": True})]
CASES += [("SparseAdam", {"lr": 0.1}), ("SparseAdam", {"lr": 0.1, "maximize": True})]
CASES += [("Muon", v) for v in ({}, {"nesterov": False}, {"adjust_lr_fn": "match_rms_adamw", "lr": 0.02})]
CASES += [("LBFGS", {"line_search_fn": s, "max_iter": 4, "history_size": 3}) for s in (None, "strong_wolfe")]


def numbers(shape, start):
    """A nested list of numbers without a pattern that a transposition would keep."""
    if not shape:
        return math.sin(3.7 * start) * 1.5
    count = math.prod(shape[1:])
    return [numbers(shape[1:], start + i * count) for i in range(shape[0])]


def run(fw, name, settings, dtype, complex_too=False):
    """Parameters after ten steps of optimizer `name` of the framework `fw`, and the optimizer."""
    shapes = [s for s in SHAPES if name not in ("Muon", "SparseAdam") or len(s) == 2]

    def tensor(shape, start):
        real = fw.tensor(numbers(shape, start), dtype=dtype)
        return fw.complex(real, fw.tensor(numbers(shape, start + 500), dtype=dtype)) if complex_too else real

    params = [fw.nn.Parameter(tensor(s, 1 + 100 * i)) for i, s in enumerate(shapes)]
    opt = getattr(fw.optim, name)(params, **settings)
    for step in range(10):
        if name == "LBFGS":

            def closure():
                opt.zero_grad()
                loss = sum(((p - 0.3 * i) ** 2).sum() + ((p + 0.1) ** 4).sum() for i, p in enumerate(params))
                loss.backward()
                return loss

            opt.step(closure)
            continue
        for i, (p, s) in enumerate(zip(params, shapes, strict=True)):
            p.grad = tensor(s, 7 + 31 * step + 11 * i)
            if name == "SparseAdam":
                p.grad = fw.sparse_coo_tensor(fw.tensor([[step % 4, (step + 2) % 4]]), p.grad[:2], p.shape)
        opt.step()
    return params, opt


def flat(t):
    """The elements, complex ones as pairs, to 11 digits."""
    import torch

    t = torch.view_as_real(t.detach()) if t.is_complex() else t.detach()
    return [float(f"{x:.11g}") for x in t.reshape(-1).tolist()]


def main():
    import torch

    cases = []
    for name, settings in CASES:
        case = {"name": name, "settings": settings}
        for complex_too in (False, True):
            if complex_too and (name in ("Adafactor", "Muon", "SparseAdam", "LBFGS")):
                continue
            params, opt = run(torch, name, settings, torch.float64, complex_too)
            case["complex" if complex_too else "real"] = [flat(p) for p in params]
            state = opt.state_dict()
            case["keys"] = sorted(state["state"].get(0, {}))
        case["group"] = {k: v for k, v in state["param_groups"][0].items() if k != "params"}
        cases.append(case)
    Path(__file__).with_name("pytorch_optim.json").write_text(
        json.dumps({"torch": torch.__version__, "cases": cases}, separators=(",", ":")) + "\n"
    )


if __name__ == "__main__":
    main()
