"""`flambeau run` in real processes: what a program sees of itself, its children, its files, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.py"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}


def command(*arguments):
    return [sys.executable, "-m", "flambeau", "run", *map(str, arguments)]


@pytest.fixture
def run(tmp_path):
    def run(text, *arguments, **options):
        (tmp_path / "program.py").write_text(text)
        line = command("program.py", *arguments)
        options = {"capture_output": True, "text": True, "cwd": tmp_path, "env": ENVIRONMENT, "timeout": 120, **options}
        return subprocess.run(line, **options)

    return run


def checked(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_programs_in_the_style_of_public_ones(path, tmp_path):
    done = subprocess.run(command(path), capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT, timeout=120)
    losses = [float(line.split()[1]) for line in checked(done) if line.startswith("loss")]
    assert len(losses) >= 2 and losses[-1] < 0.8 * losses[0], losses


SELF = """\
import importlib.metadata, os, pickle, sys
import torch

class Thing:
    pass

main = sys.modules["__main__"]
print(__name__, __file__, sys.argv, sys.path[0] == os.getcwd(), __spec__, main.Thing is Thing)
print(type(pickle.loads(pickle.dumps(Thing()))) is Thing)
print(importlib.metadata.version("torch") == torch.__version__, torch.__version__.split("+")[0])
print(sys.stdin.read())
"""


def test_a_program_sees_itself_as_python_shows_it(run):
    lines = checked(run(SELF, "-x", "1", input="typed"))
    assert lines == ["__main__ program.py ['program.py', '-x', '1'] True None True", "True", "True 2.13.0", "typed"]


def test_modules_run_too(run, tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(
        "import sys, torch\nfrom . import other\nprint(__name__, __package__, sys.argv[1:], other.x)\n"
    )
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "other.py").write_text("import torch\nx = torch.ones(2).sum().item()\n")
    line = command("-m", "package", "--flag")
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT, timeout=120)
    assert checked(done) == ["__main__ package ['--flag'] 2.0"]


CHILDREN = """\
import subprocess, sys
import torch
import torch.multiprocessing as mp
from torch.utils.data import DataLoader, Dataset

class Squares(Dataset):
    def __len__(self):
        return 6
    def __getitem__(self, i):
        import torch.nn.functional
        return torch.tensor(float(i)) ** 2

def work(queue):
    import torch.nn as nn
    queue.put((torch.__version__, nn.Linear(2, 1)(torch.ones(1, 2)).shape[0]))

if __name__ == "__main__":
    for method in ("spawn", "forkserver"):
        context = mp.get_context(method)
        queue = context.SimpleQueue()
        process = context.Process(target=work, args=(queue,))
        process.start()
        print(method, queue.get() == (torch.__version__, 1))
        process.join()
    loader = DataLoader(Squares(), batch_size=3, num_workers=1, multiprocessing_context="spawn")
    print([batch.tolist() for batch in loader])
    plain = "import sys; print(any('flambeau' in type(f).__module__ for f in sys.meta_path))"
    print(subprocess.run([sys.executable, "-c", plain], capture_output=True, text=True).stdout.strip())
"""


def test_names_hold_in_child_processes_and_not_in_plain_ones(run):
    lines = checked(run(CHILDREN))
    assert lines == ["spawn True", "forkserver True", "[[0.0, 1.0, 4.0], [9.0, 16.0, 25.0]]", "False"]


def test_tracebacks_begin_in_the_program(run):
    done = run("def f():\n    raise ValueError('no')\nf()\n")
    assert done.returncode == 1
    first, second = done.stderr.splitlines()[:2]
    assert (first, second) == ("Traceback (most recent call last):", '  File "program.py", line 3, in <module>')
    assert "flambeau" not in done.stderr
    done = run("x = (\n")
    assert done.returncode == 1 and "SyntaxError" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("sent, handled", [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, False)])
def test_signals_end_a_program_as_python_ends_it(tmp_path, sent, handled):
    wait = "import time\nprint('ready', flush=True)\ntime.sleep(60)\n"
    if handled:
        lines = "".join(f"    {line}\n" for line in wait.splitlines())
        wait = f"try:\n{lines}except KeyboardInterrupt:\n    print('caught')\n"
    (tmp_path / "program.py").write_text(f"import torch, atexit\natexit.register(print, 'exit')\n{wait}")
    process = subprocess.Popen(command("program.py"), stdout=-1, stderr=-1, text=True, cwd=tmp_path, env=ENVIRONMENT)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    if handled:
        assert (process.returncode, out) == (0, "caught\nexit\n"), err
    elif sent == signal.SIGINT:
        assert (process.returncode, out) == (-signal.SIGINT, "exit\n") and "KeyboardInterrupt" in err
    else:
        assert (process.returncode, out) == (-signal.SIGTERM, "")


PRESENT = """\
import functorch
import torch.__config__, torch._dynamo, torch.accelerator, torch.autograd.graph, torch.autograd.profiler
import torch.backends.cudnn as cudnn, torch.backends.mkldnn, torch.backends.mps, torch.backends.openmp
import torch.compiler, torch.cpu.amp, torch.cuda.amp, torch.distributed, torch.hub, torch.jit, torch.onnx
import torch.profiler, torch.random, torch.utils._pytree, torch.utils.benchmark, torch.utils.checkpoint
import torch.utils.cpp_extension
import torch.utils.tensorboard, torch.version

cudnn.benchmark = True
print(torch.cuda.is_available(), torch.cuda.device_count(), torch.backends.mps.is_available(), cudnn.is_available())
print(torch.distributed.is_available(), torch.accelerator.is_available(), torch.version.cuda, torch.device("cuda", 1))
torch.cuda.manual_seed_all(0), torch.cuda.empty_cache()
for wish in (lambda: torch.ones(1).cuda(), lambda: torch.zeros(1, device="cuda"), torch.cuda.current_device,
             lambda: torch.nn.Linear(1, 1).to("cuda:0")):
    try:
        wish()
    except AssertionError as error:
        print(str(error).split(" (")[0])
for wish in (torch.jit.load, torch.onnx.export, torch.utils.cpp_extension.load):
    try:
        wish("x")
    except NotImplementedError as error:
        print("missing:", str(error).split(":")[0])
print(torch.zeros(2).type(), torch.float32, torch.zeros(2, 3).shape, torch.autograd.Variable(torch.ones(1)).data)
print(torch.FloatTensor([1, 2]), torch.Tensor(2, 3).shape, isinstance(torch.ones(1), torch.FloatTensor))
i = torch.tensor([[0, 1], [1, 0]])
print(torch.sparse.FloatTensor(i, torch.FloatTensor([1, 2]), torch.Size([2, 2])).to_dense().tolist())
model = torch.compile(torch.nn.Linear(2, 2), mode="reduce-overhead")
print(list(model.state_dict()))
x = torch.randn(3, 2)
print(torch.equal(model(x), model._orig_mod(x)), torch.equal(torch.compile(fullgraph=True)(torch.sin)(x), x.sin()))
"""


def test_what_programs_ask_on_their_way_to_the_cpu(run):
    assert checked(run(PRESENT)) == [
        "False 0 False False",
        "False False None cuda:1",
        *["Torch not compiled with CUDA enabled"] * 4,
        "missing: jit.load",
        "missing: onnx.export",
        "missing: cpp_extension.load",
        "torch.FloatTensor torch.float32 torch.Size([2, 3]) tensor([1.])",
        "tensor([1., 2.]) torch.Size([2, 3]) True",
        "[[0.0, 1.0], [2.0, 0.0]]",
        "['_orig_mod.weight', '_orig_mod.bias']",
        "True True",
    ]
