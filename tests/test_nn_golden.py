"""Modules are made, shown and saved as PyTorch's, and compute the same: recorded by data/write_pytorch_modules.py."""

import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import flambeau as fb

DATA = Path(__file__).parent / "data"
spec = importlib.util.spec_from_file_location("write_pytorch_modules", DATA / "write_pytorch_modules.py")
golden = importlib.util.module_from_spec(spec)
spec.loader.exec_module(golden)
RECORDED = json.loads((DATA / "pytorch_modules.json").read_text())


@pytest.mark.parametrize("name", sorted(RECORDED["signatures"]))
def test_constructor(name):
    assert golden.signature(getattr(fb.nn, name)) == RECORDED["signatures"][name]


@pytest.mark.parametrize("number", range(len(golden.CASES)), ids=[c[0] for c in golden.CASES])
def test_case(number):
    expected = RECORDED["cases"][number]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = golden.record(fb, *golden.CASES[number])
    sums = got.pop("sums")
    assert got == {k: v for k, v in expected.items() if k != "sums"}
    np.testing.assert_allclose(sums, expected["sums"], rtol=1e-6, atol=1e-7)
