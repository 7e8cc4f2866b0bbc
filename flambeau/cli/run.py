"""Runs a program written for PyTorch as `python program.py` would, with `torch` standing for flambeau.

The program gets a fresh `__main__`, its own sys.argv and sys.path[0]; its exit status, traceback and signals are its
own: nothing of flambeau's stands above it. Read next: `names.py` (what `import torch` finds), `children.py`.
"""

from __future__ import annotations

import atexit
import importlib.machinery
import importlib.util
import io
import os
import signal
import sys
from types import CodeType, ModuleType, TracebackType

from .child import install

USAGE = """\
usage: flambeau run [-h] (SCRIPT | -m MODULE) [ARGUMENTS ...]

run a program written for PyTorch: `import torch` gives it flambeau

  SCRIPT      a Python file, or a directory with a __main__.py
  -m MODULE   a module, as with `python -m`
  ARGUMENTS   what the program finds in sys.argv
"""


def run_main(arguments: list[str]) -> int:
    """`flambeau run` with these arguments; returns the exit status."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if not arguments or arguments == ["-m"] or (arguments[0].startswith("-") and arguments[0] != "-m"):
        print(USAGE, end="", file=sys.stderr)
        return 2
    if arguments[0] == "-m":
        return run_module(arguments[1], arguments[2:])
    return run_script(arguments[0], arguments[1:])


def run_script(path: str, arguments: list[str]) -> int:
    """Runs a Python file, or a directory's __main__.py, as the main program."""
    folder = path if os.path.isdir(path) else os.path.dirname(os.path.realpath(path))
    file = os.path.join(path, "__main__.py") if os.path.isdir(path) else path
    if not os.path.isfile(file):
        print(f"flambeau run: there is no file {file!r}", file=sys.stderr)
        return 2
    install()
    sys.argv = [path, *arguments]
    begin_path_with(folder)
    with io.open_code(os.path.abspath(file)) as source:
        text = source.read()
    main = fresh_main()
    main.__file__ = file
    main.__loader__ = importlib.machinery.SourceFileLoader("__main__", file)
    return execute(main, lambda: compile(text, file, "exec", dont_inherit=True))


def run_module(name: str, arguments: list[str]) -> int:
    """Runs a module, or a package's __main__, as `python -m` does."""
    install()
    sys.argv = ["-m", *arguments]
    begin_path_with(os.getcwd())
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except ModuleNotFoundError as error:
        print(f"flambeau run: {error}", file=sys.stderr)
        return 1
    if spec is None or not isinstance(spec.loader, importlib.abc.InspectLoader):
        print(f"flambeau run: no module named {name!r} that can be run", file=sys.stderr)
        return 1
    loader, place = spec.loader, spec
    main = fresh_main()
    main.__spec__, main.__loader__, main.__package__ = place, loader, place.parent
    if place.origin is not None:
        main.__file__ = sys.argv[0] = place.origin

    def code() -> CodeType:
        found = loader.get_code(place.name)
        if found is None:
            raise ImportError(f"{place.name} has no code to run")
        return found

    return execute(main, code)


def begin_path_with(folder: str) -> None:
    """Puts the program's folder where Python puts it, and keeps flambeau within reach."""
    if not sys.flags.safe_path:
        sys.path[0] = folder
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    spec = importlib.machinery.PathFinder.find_spec("flambeau", sys.path)
    if spec is None or spec.origin != os.path.join(root, "flambeau", "__init__.py"):
        sys.path.insert(1, root)  # this one was found in the folder that the program's took the place of


def fresh_main() -> ModuleType:
    main = ModuleType("__main__")
    main.__dict__.update(__builtins__=__builtins__, __annotations__={}, __spec__=None)
    sys.modules["__main__"] = main
    return main


def execute(main: ModuleType, code: object) -> int:
    """Runs the code in the module; an error is shown as Python shows it, without what is flambeau's above it."""
    interrupted: list[bool] = []

    def end_by_signal() -> None:
        """Interrupted programs end by the signal itself: a shell that waits for them sees it."""
        if interrupted:
            sys.stdout.flush()
            sys.stderr.flush()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)

    atexit.register(end_by_signal)  # first in, so last to run
    try:
        exec(code(), main.__dict__)  # type: ignore[operator]
    except SystemExit:
        raise
    except BaseException as error:
        kind, trace = type(error), below(error.__traceback__)
        error.__traceback__ = trace
        sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace
        sys.excepthook(kind, error, trace)
        if isinstance(error, KeyboardInterrupt):
            interrupted.append(True)
        return 1
    return 0


def below(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the program's own first line on (none, for a program that didn't compile)."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace
