"""What a fresh process costs: importing, and reaching the first optimizer step with an empty and a warm kernel cache.

These cases are timed from outside: `make` gives the program to run in a new interpreter, which prints its resident
memory in MB at the end, and whether the kernel cache is to be empty before. Limits are absolute, in `LIMITS`.
"""

from __future__ import annotations

from .case import case

RESIDENT = 'print(int(next(s for s in open("/proc/self/status") if s.startswith("VmRSS")).split()[1]) / 1024)'
FIRST_STEP = """
import {module} as fb
from benchmarks.training import digits_cnn, images, step_of
fb.set_num_threads(2)
model = digits_cnn(fb)
optimizer = fb.optim.Adam(model.parameters())
float(step_of(fb, model, optimizer, *images(fb, 8))())
"""


@case("import, fresh process", reach=0.15)
def imports(module: str):
    return f"import {module}\n{RESIDENT}", False


@case("process start to first optimizer step, kernel cache empty")
def first_step_cold(module: str):
    return FIRST_STEP.format(module=module) + RESIDENT, True


@case("process start to first optimizer step, kernel cache warm")
def first_step_warm(module: str):
    return FIRST_STEP.format(module=module) + RESIDENT, False


# name -> seconds, megabytes
LIMITS = {imports: (0.15, 50), first_step_cold: (1.5, None), first_step_warm: (0.5, None)}
