"""`spawn`: one function in several processes, which end together: the first error of one is raised in the parent.

Imports the standard library. Names and behaviour are `torch.multiprocessing.spawn`'s.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any


class ProcessException(Exception):
    """One of the processes failed: `error_index` says which, `error_pid` is its process id."""

    def __init__(self, msg: str, error_index: int, pid: int) -> None:
        super().__init__(msg)
        self.msg, self.error_index, self.error_pid = msg, error_index, pid

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.msg, self.error_index, self.error_pid)


class ProcessRaisedException(ProcessException):
    """The function raised an exception in a process; the message has its traceback.

    >>> try:
    ...     fb.multiprocessing.spawn(divmod, (0,))
    ... except fb.multiprocessing.ProcessRaisedException as error:
    ...     print(str(error).splitlines()[-1])
    ZeroDivisionError: integer division or modulo by zero
    """


class ProcessExitedException(ProcessException):
    """A process ended with an exit code other than 0, or by a signal, whose name is `signal_name`.

    >>> import sys
    >>> try:
    ...     fb.multiprocessing.start_processes(sys.exit, start_method="fork", nprocs=2)
    ... except fb.multiprocessing.ProcessExitedException as error:
    ...     print(error.exit_code)
    1
    """

    def __init__(
        self, msg: str, error_index: int, error_pid: int, exit_code: int, signal_name: str | None = None
    ) -> None:
        super().__init__(msg, error_index, error_pid)
        self.exit_code, self.signal_name = exit_code, signal_name

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.msg, self.error_index, self.error_pid, self.exit_code, self.signal_name)


def run(fn: Callable[..., Any], index: int, args: tuple, errors: Connection) -> None:
    try:
        fn(index, *args)
    except KeyboardInterrupt:
        pass  # the parent was interrupted too, and says so
    except Exception:
        errors.send(traceback.format_exc())
        sys.exit(1)


class ProcessContext:
    """The processes that `start_processes` started.

    >>> from flambeau.multiprocessing import start_processes
    >>> context = start_processes(print, nprocs=2, join=False, start_method="fork")
    >>> while not context.join():
    ...     pass
    """

    def __init__(self, processes: Sequence[Any], errors: Sequence[Connection]) -> None:
        self.processes, self.errors = list(processes), list(errors)
        self.sentinels = {process.sentinel: i for i, process in enumerate(self.processes)}

    def pids(self) -> list[int]:
        """Their process ids."""
        return [process.pid for process in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Waits until one or more have ended; True if all have. Call it until it is.

        Where one failed the others are terminated (and after grace_period seconds killed), and its error is raised:
        ProcessRaisedException or ProcessExitedException.
        """
        for sentinel in wait(list(self.sentinels), timeout):
            i = self.sentinels.pop(sentinel)  # type: ignore[index]
            self.processes[i].join()
            if self.processes[i].exitcode != 0:
                self.stop(grace_period)
                self.fail(i)
        return not self.sentinels

    def stop(self, grace_period: float | None) -> None:
        for process in self.processes:
            if process.is_alive():
                process.terminate()
        end = time.monotonic() + (30 if grace_period is None else grace_period)
        for process in self.processes:
            process.join(max(0, end - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    def fail(self, index: int) -> None:
        process = self.processes[index]
        try:
            text = self.errors[index].recv() if self.errors[index].poll() else None
        except EOFError:
            text = None
        if text is not None:
            raise ProcessRaisedException(
                f"\n\n-- Process {index} terminated with the following error:\n{text}", index, process.pid
            )
        code = process.exitcode
        if code < 0:
            name = signal.Signals(-code).name
            raise ProcessExitedException(
                f"process {index} terminated with signal {name}", index, process.pid, code, name
            )
        raise ProcessExitedException(f"process {index} terminated with exit code {code}", index, process.pid, code)


class SpawnContext(ProcessContext):
    """What `spawn(join=False)` returns.

    >>> x = fb.zeros(1)
    >>> context = fb.multiprocessing.spawn(x.__setitem__, (5.0,), join=False)
    >>> while not context.join():
    ...     pass
    >>> x
    tensor([5.])
    """


def start_processes(
    fn: Callable[..., Any],
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """Calls fn(i, *args) in nprocs processes, i counting from 0; with `join`, returns when all have ended.

    >>> x = fb.zeros(1).share_memory_()
    >>> fb.multiprocessing.start_processes(x.__setitem__, (5.0,), start_method="fork")
    >>> x
    tensor([5.])
    """
    context = multiprocessing.get_context(start_method)
    processes, errors = [], []
    for i in range(nprocs):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=run, args=(fn, i, args, sender), daemon=daemon)  # type: ignore[attr-defined]
        process.start()
        sender.close()
        processes.append(process)
        errors.append(receiver)
    started = (SpawnContext if start_method == "spawn" else ProcessContext)(processes, errors)
    if not join:
        return started
    while not started.join():
        pass
    return None


def spawn(
    fn: Callable[..., Any],
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """Calls fn(i, *args) in nprocs new processes; tensors in args are shared with them.

    With `join` returns when all have ended, without it returns their ProcessContext. If one fails the others are
    stopped and ProcessRaisedException or ProcessExitedException is raised. fn must be defined at a module's top level,
    and the program's start guarded by `if __name__ == "__main__":`.

    >>> x = fb.zeros(2)
    >>> fb.multiprocessing.spawn(x.__setitem__, (5.0,), nprocs=2)  # x[0] = 5 in one, x[1] = 5 in the other
    >>> x
    tensor([5., 5.])
    """
    return start_processes(fn, args, nprocs, join, daemon, start_method)
