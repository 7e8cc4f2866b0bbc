"""One side of a comparison: a process that holds one module under test and times what it is told over a pipe.

Commands come as JSON lines on standard input, answers go as JSON lines to what was standard output; anything the module
itself prints goes to standard error. Run as `python -m benchmarks.worker MODULE`; `Worker` is the other end.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
import timeit
from typing import Any

from . import machine
from .case import CASES, FAMILIES


class Side:
    """The commands, one method each."""

    def __init__(self, module: str) -> None:
        self.fb = importlib.import_module(module)
        self.fb.set_num_threads(machine.THREADS)
        for family in FAMILIES:
            importlib.import_module("." + family, __package__)
        self.makers = {c.title: c.make for c in CASES}
        self.timer: timeit.Timer | None = None
        self.number = 1

    def version(self) -> str:
        return f"{self.fb.__name__} {self.fb.__version__}"

    def prepare(self, title: str, seconds: float) -> None:
        """Makes the case and finds how often to run it for a sample of about `seconds`; the first runs compile."""
        statement, names = self.makers[title](self.fb)
        bind = "; ".join(f"{name} = names[{name!r}]" for name in names)
        self.timer = timeit.Timer(statement, bind, globals={"names": names})
        self.timer.timeit(2)
        self.number = 1
        while (taken := self.timer.timeit(self.number)) < seconds / 4:
            self.number *= 2 if taken > seconds / 64 else 8
        self.number = max(1, round(self.number * seconds / taken))

    def sample(self) -> float:
        """Seconds for one run of the statement."""
        assert self.timer is not None
        return self.timer.timeit(self.number) / self.number

    def release(self) -> None:
        self.timer = None
        gc.collect()

    def reference(self) -> float:
        return machine.reference()

    def limits(self) -> dict[str, float]:
        return machine.limits()

    def same_weights(self) -> dict[str, bool]:
        from .training import same_weights

        return same_weights(self.fb)


class Worker:
    """Starts a Side under an interpreter; calling a command's name here runs it there."""

    def __init__(self, python: str, module: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(machine.THREADS), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [python, "-m", __spec__.name, module]
        pipe = subprocess.PIPE
        self.python, self.module = python, module
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def call(self, command: str, *arguments: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.module}: the process ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.module}: {answer['error']}")
        return answer["value"]

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait(timeout=30)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    side: Side | None = None
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        try:
            side = side or Side(sys.argv[1])
            answer = {"value": getattr(side, command)(*arguments)}
        except Exception as error:  # a case that fails is a row that says so, not the end of the run
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
