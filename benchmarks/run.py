"""Taking the samples: sides in turn, A B A B …, so that what disturbs one disturbs the other."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time

from .case import Case
from .report import Row
from .startup import LIMITS
from .worker import Worker

STARTUP_ROUNDS = 5


def run_case(case: Case, sides: list[Worker], limits: dict[str, float], rounds: int, seconds: float) -> Row:
    """Times one case on every side. A side that fails leaves its error in the row."""
    row = Row(case, limits=limits)
    ready: list[Worker] = []
    for side in sides:
        try:
            side.call("prepare", case.title, seconds)
            ready.append(side)
        except RuntimeError as error:
            row.error = str(error)
    references = []
    for _ in range(rounds):
        for side in ready:
            row.samples.setdefault(side is sides[0], []).append(side.call("sample"))
        if case.budget is not None and sides[0] in ready:
            references.append(sides[0].call("reference"))
    for side in ready:
        side.call("release")
    row.reference = min(references, default=0.0)
    return row


def run_startup(case: Case, sides: list[Worker]) -> Row:
    """Times fresh processes, after one run that warms the file system's and the kernels' caches."""
    row = Row(case, limits={})
    row.limit_seconds, row.limit_megabytes = LIMITS[case.make]
    for side in sides:
        program, empty = case.make(side.module)
        with tempfile.TemporaryDirectory() as cache:
            try:
                _fresh(side.python, program, cache)
            except subprocess.CalledProcessError as error:
                row.error = f"{side.module}: {error.stderr.strip().splitlines()[-1]}"
                continue
            for _ in range(STARTUP_ROUNDS):
                with tempfile.TemporaryDirectory() as nothing:
                    taken, megabytes = _fresh(side.python, program, nothing if empty else cache)
                row.samples.setdefault(side is sides[0], []).append(taken)
                row.megabytes[side is sides[0]] = megabytes
    return row


def run_resident(case: Case, sides: list[Worker]) -> Row:
    """Measures one training process on each side."""
    row = Row(case, limits={})
    for side in sides:
        try:
            row.samples[side is sides[0]] = [case.make(side.python, side.module)]
        except subprocess.CalledProcessError as error:
            row.error = f"{side.module}: {error.stderr.strip().splitlines()[-1]}"
    return row


def _fresh(python: str, program: str, cache: str) -> tuple[float, float]:
    environment = {**os.environ, "FLAMBEAU_CACHE": cache}
    start = time.perf_counter()
    done = subprocess.run([python, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, float(done.stdout)
