"""What whole training steps take of the system: memory at the peak, and page faults once they have warmed up.

Each model of `models.py` is trained in a process of its own, on both sides. The peak is the kernel's (VmHWM): once of
the whole process, and once without what importing the module took. These cases are measured from outside, by `run.py`.
"""

from __future__ import annotations

import functools
import json
import resource
import subprocess
from typing import Any

from . import machine
from . import models as models  # its cases are what is trained
from .case import CASES, Case, case

WARM, STEPS = 3, 5
PROGRAM = "import {module} as fb\nfrom benchmarks import resident\nprint(resident.trained(fb, {title!r}))"
FAULTS = 10  # fewer than this many in a step


def peak() -> float:
    """The most memory that this process has had, in MB."""
    with open("/proc/self/status") as lines:
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def faults() -> int:
    """How many pages of memory the system has had to bring to this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def trained(fb: Any, title: str) -> str:
    """Trains a model for some steps in this process; what that took, as JSON."""
    imported = peak()
    fb.set_num_threads(machine.THREADS)
    statement, names = next(c.make for c in models_trained() if c.title == title)(fb)
    code = compile(statement, title, "exec")
    for _ in range(WARM):
        exec(code, dict(names))
    before = faults()
    for _ in range(STEPS):
        exec(code, dict(names))
    per_step = (faults() - before) / STEPS
    return json.dumps({"peak": peak(), "since import": peak() - imported, "faults": per_step})


def models_trained() -> list[Case]:
    return [c for c in CASES if c.family == "models" and c.name.startswith("training step")]


@functools.cache
def measured(python: str, module: str, title: str) -> dict[str, float]:
    """What a fresh process says of a model, after one that warms the kernels' cache."""
    program = PROGRAM.format(module=module, title=title)
    for _ in range(2):
        done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _row(what: str, quantity: str, of: Case, **figures: Any) -> None:
    @case(f"{of.name}: {what}", **figures)
    def make(python: str, module: str) -> float:
        return measured(python, module, of.title)[quantity]


for _case in models_trained():
    _row("peak memory", "peak", _case, unit="MB", reach=1.0)
    _row("the same without what importing takes", "since import", _case, unit="MB", reach=1.0)
    _row("page faults", "faults", _case, unit="faults", below=FAULTS)
