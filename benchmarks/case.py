"""What a case is: a statement to time, made by a function of the module under test; and the table they register in.

Standard library only, for both interpreters import it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Imported by the worker, in the order of the printed table; each fills CASES. `startup` and `resident` are measured
# from outside.
FAMILIES = ("overhead", "small", "memory", "compute", "families", "training", "models", "resident", "data", "startup")


@dataclass(frozen=True, slots=True)
class Case:
    """One row.

    make     function of fb -> (statement, names it uses); for startup and resident see `startup.py`, `resident.py`
    reach    the ratio to PyTorch's time (memory) to reach, or None where there's no figure
    unit     what is measured: seconds "s", or "MB", or "faults"
    below    what the measured must stay below, or None
    traffic  bytes the statement must at least read and write, for the share of the copy bandwidth
    share    share of the copy bandwidth to reach, or None
    flops    multiplications and additions, for the share of a peak
    peak     which of the machine's: "fma", "bf16" or "int8"
    rounds   samples to take
    budget   with --quick: the longest time allowed, in units of the reference loop
    """

    family: str
    name: str
    make: Callable[[Any], Any]
    reach: float | None = None
    unit: str = "s"
    below: float | None = None
    traffic: float = 0.0
    share: float | None = None
    flops: float = 0.0
    peak: str = "fma"
    rounds: int = 11
    budget: float | None = None

    @property
    def title(self) -> str:
        return f"{self.family}: {self.name}"


CASES: list[Case] = []


def case(name: str, **figures: Any) -> Callable[[Callable], Callable]:
    """Registers the decorated function as a case of the family its file is named after."""

    def register(make: Callable) -> Callable:
        CASES.append(Case(make.__module__.rpartition(".")[2], name, make, **figures))
        return make

    return register


def selected(pattern: str) -> list[Case]:
    """The cases whose title matches a regular expression, family by family."""
    return sorted((c for c in CASES if re.search(pattern, c.title)), key=lambda c: FAMILIES.index(c.family))
