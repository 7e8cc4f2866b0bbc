"""The `flambeau` command: programs written for PyTorch, the bug report, the benchmarks."""

from __future__ import annotations

import subprocess
import sys

import pytest


def flambeau(*arguments, cwd=None):
    command = [sys.executable, "-m", "flambeau", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.fixture
def run(tmp_path):
    def run(text, *arguments):
        (tmp_path / "program.py").write_text(text)
        return flambeau("run", tmp_path / "program.py", *arguments)

    return run


PROGRAM = """\
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.utils.data import DataLoader, TensorDataset
from helper import scale

assert __name__ == "__main__" and sys.argv[1:] == ["--lr", "0.1"], sys.argv
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.backends.cudnn.benchmark = True
assert torch.__version__.startswith("2.") and "flambeau" in torch.__version__
assert nn.Module is torch.nn.Module and nn is torch.nn and torch.nn.functional is F
torch.manual_seed(0)
x = scale * torch.randn(64, 2)
y = (x[:, 0] > 0).long()
model = nn.Linear(2, 2).to(device)
opt = optim.SGD(model.parameters(), lr=0.5)
for epoch in range(20):
    for a, b in DataLoader(TensorDataset(x, y), 16, shuffle=True):
        opt.zero_grad()
        loss = F.cross_entropy(model(a), b)
        loss.backward()
        opt.step()
print((model(x).argmax(1) == y).float().mean().item() > 0.95)
import flambeau
print(torch.Tensor is flambeau.Tensor, type(x) is torch.Tensor)
"""


def test_a_pytorch_program_runs_unchanged(run, tmp_path):
    (tmp_path / "helper.py").write_text("import torch\nscale = torch.tensor(2.0)\n")
    done = run(PROGRAM, "--lr", "0.1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True", "True"]


@pytest.mark.parametrize("line, name, nearest", [
    ("torch.zeross(3)", "torch.zeross", "the nearest it has: torch.zeros"),
    ("from torch.nn import Linaer", "torch.nn.Linaer", "the nearest it has: torch.nn.Linear"),
    ("torch.nn.Linaer", "torch.nn.Linaer", "the nearest it has: torch.nn.Linear"),
    ("import torch.utils.datta", "torch.utils.datta", "the nearest it has: torch.utils.data"),
    ("import torch.qwertyuiop.x", "torch.qwertyuiop", "and nothing of a similar name"),
])  # fmt: skip
def test_missing_names_are_named_with_the_line_and_the_nearest(run, line, name, nearest):
    done = run(f"import torch\n{line}")
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and f"flambeau has no {name} (asked for at " in last and nearest in last, done.stderr
    assert "program.py:2)" in last


def test_probing_finds_missing_names_absent(run):
    done = run("import torch, importlib.util as u\nprint(hasattr(torch, 'zeross'), u.find_spec('torch.nope'))")
    assert done.stdout == "False None\n", done.stderr


def test_an_installed_torch_is_never_touched(run, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit('the other torch')")
    done = run("import torch, flambeau; print(torch.ones is flambeau.ones)")
    assert done.stdout == "True\n", done.stderr


def test_exit_status_and_errors_are_the_programs(run):
    assert run("raise SystemExit(7)").returncode == 7
    done = run("1 / 0")
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"
    done = flambeau("run", "absent.py")
    assert done.returncode == 2 and "there is no file 'absent.py'" in done.stderr


def test_env_answers_every_question():
    done = flambeau("env")
    facts = dict(line.split(maxsplit=1) for line in done.stdout.replace("kernel cache", "kernel-cache").splitlines())
    assert set(facts) >= {"flambeau", "python", "processor", "target", "threads", "memory", "kernel-cache", "compilers"}
    assert "unknown (" not in done.stdout
    assert facts["python"].endswith(sys.version.split()[0])


def bench(before, tmp_path):
    """`flambeau bench --quick -h` in a process that runs `before` first."""
    code = f"import sys; {before}; from flambeau.cli.main import main; sys.exit(main(['bench', '--quick', '-h']))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)


def test_bench_outside_of_a_checkout(tmp_path):
    done = bench("sys.modules['benchmarks'] = None", tmp_path)
    assert done.returncode == 2 and "part of the source checkout" in done.stderr


def test_bench_hands_its_arguments_on(tmp_path):
    (tmp_path / "benchmarks.py").write_text("import sys; print(sys.argv[1:])")
    done = bench(f"sys.path.insert(0, {str(tmp_path)!r})", tmp_path)
    assert done.stdout == "['--quick', '-h']\n", done.stderr


def test_usage_names_the_parts():
    done = flambeau("--help")
    assert all(part in done.stdout for part in ("run", "env", "bench"))
    assert flambeau().returncode == 2
    assert flambeau("--version").stdout.startswith("flambeau 0.1")
