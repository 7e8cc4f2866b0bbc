"""`flambeau run | env | bench`: what each takes, and nothing of how it works.

Imports its other parts when they are asked for. Read next: `run.py`, `env.py`.
"""

from __future__ import annotations

import argparse
import sys

from flambeau import __version__

PARTS = {
    "run": "run a program written for PyTorch: `import torch` gives it flambeau",
    "env": "print what a bug report needs",
    "bench": "run the benchmarks (in a source checkout)",
}


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="flambeau", description="A deep-learning framework with PyTorch's API.")
    parser.add_argument("--version", action="version", version=f"flambeau {__version__}")
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    run = parts.add_parser("run", help=PARTS["run"], add_help=False)
    run.add_argument("arguments", nargs=argparse.REMAINDER)
    parts.add_parser("env", help=PARTS["env"], description=PARTS["env"])
    bench = parts.add_parser("bench", help=PARTS["bench"], description=PARTS["bench"], add_help=False)
    bench.add_argument("arguments", nargs=argparse.REMAINDER)
    # Everything after these is the program's own, options included, which argparse would otherwise claim.
    whole = argv[:1] in (["bench"], ["run"])
    args = argparse.Namespace(part=argv[0], arguments=argv[1:]) if whole else parser.parse_args(argv)
    if args.part == "run":
        from .run import run_main

        return run_main(args.arguments)
    if args.part == "env":
        from .env import report

        print(report())
        return 0
    return bench_main(args.arguments)


def bench_main(arguments: list[str]) -> int:
    import importlib.util
    import runpy

    sys.path.insert(0, "")
    if importlib.util.find_spec("benchmarks") is None:
        print("flambeau bench: the benchmarks are part of the source checkout; run it from there", file=sys.stderr)
        return 2
    sys.argv = ["benchmarks", *arguments]
    runpy.run_module("benchmarks", run_name="__main__", alter_sys=True)
    return 0
