"""`python -m benchmarks`: runs the cases on both sides in turn, and prints or writes the table.

--against PYTHON   an interpreter with torch; without it flambeau is timed alone
--quick            few repeats of the overhead and training cases, held to budgets; what CI runs
--only PATTERN     a regular expression on `family: name`
--write FILE       the table as Markdown, with the machine it was taken on
--module NAME      the module under test; `torch` on both sides shows the noise
"""

from __future__ import annotations

import argparse
import importlib
import sys

from . import machine
from .case import FAMILIES, selected
from .report import SAME_WEIGHTS, Row, as_markdown, as_text
from .run import run_case, run_resident, run_startup
from .worker import Worker

OUTSIDE = {"startup": run_startup, "resident": run_resident}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--against", metavar="PYTHON", help="an interpreter that has torch")
    parser.add_argument("--quick", action="store_true", help="few repeats, held to budgets")
    parser.add_argument("--only", metavar="PATTERN", default="", help="regular expression on 'family: name'")
    parser.add_argument("--write", metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--module", default="flambeau", help="the module under test")
    options = parser.parse_args()

    for family in FAMILIES:
        importlib.import_module("." + family, __package__)
    cases = [c for c in selected(options.only) if not options.quick or c.budget is not None]
    if not cases:
        parser.error(f"no case matches {options.only!r}")
    # Budgets hold the shortest sample: many that fit between two interruptions, for CI's machines are busy.
    seconds = 0.004 if options.quick else 0.06

    sides = [Worker(sys.executable, options.module)]
    if options.against:
        sides.append(Worker(options.against, "torch"))
    versions = [side.call("version") for side in sides]
    limits = {} if options.quick else sides[0].call("limits")
    rows: list[Row] = []
    for case in cases:
        rounds = 20 if options.quick else case.rounds
        if case.family in OUTSIDE:
            row = OUTSIDE[case.family](case, sides)
        else:
            row = run_case(case, sides, limits, rounds, seconds)
        rows.append(row)
        print(as_text(row), flush=True)
    checks = {}
    if not options.quick and not options.only:
        checks = sides[0].call("same_weights")
        for name, same in checks.items():
            print(f"{SAME_WEIGHTS}, {name}: {'yes' if same else 'NO'}")
    for side in sides:
        side.close()
    if options.write:
        with open(options.write, "w") as file:
            file.write(as_markdown(rows, versions, machine.description(), limits, checks))
    return int(any(row.over_budget or options.quick and row.error for row in rows))


if __name__ == "__main__":
    sys.exit(main())
