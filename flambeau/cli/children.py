"""Processes that a program starts through multiprocessing get the name `torch` too, before they run anything of it.

Both "spawn" and "forkserver" start Python with `-c` and a line of code; a line that installs the names goes before it.
Other subprocesses are the program's own affair and stay plain Python. Imports the standard library.
Read next: `names.py`, what is installed there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from multiprocessing import util
from typing import Any

INSTALL = "import sys; sys.path[:] = {path!r}; from flambeau.cli.child import install; install(); "


def with_names(start: Callable[..., Any]) -> Callable[..., Any]:
    """multiprocessing's way to start Python, with the names installed first where it runs a program's code."""

    def started(path: Any, args: Sequence[Any], passfds: Any) -> Any:
        args = list(args)
        if "-c" in args:
            code = args.index("-c") + 1
            if "resource_tracker" not in args[code]:
                args[code] = INSTALL.format(path=sys.path) + args[code]
        return start(path, args, passfds)

    return started


def install() -> None:
    """Does so for all processes that this one starts from now on."""
    util.spawnv_passfds = with_names(util.spawnv_passfds)  # type: ignore[attr-defined]
