"""Profiling basics: which operations ran, how often and how long, counted by an Interpreter around each of them.

Times are those of single operations from Python's side, what an Interpreter costs left out where it can be; a profile
says where time goes, not how long a program takes without it. Imports core. Read next: `core/interpreters.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from time import perf_counter
from typing import Any

from ..core._core import Call, Effect
from ..core.interpreters import Interpreter, stack
from .modes import Mode


class Event:
    """One operation, or one record_function: name, start and duration in microseconds."""

    def __init__(self, name: str, start: float, cpu_time: float) -> None:
        self.name = self.key = name
        self.start, self.cpu_time, self.count = start, cpu_time, 1

    @property
    def cpu_time_total(self) -> float:
        """Microseconds of all its calls."""
        return self.cpu_time * self.count


class EventList(list):
    """Events; `key_averages` sums them by name, `table` shows them."""

    def table(self, sort_by: str | None = None, row_limit: int = 100, **kwargs: Any) -> str:
        """Lines of name, calls, total and average time."""
        rows = sorted(self, key=lambda e: -e.cpu_time_total) if sort_by else list(self)
        total = sum(e.cpu_time_total for e in self) or 1.0
        lines = [f"{'Name':40} {'CPU total %':>12} {'CPU total':>12} {'CPU time avg':>13} {'# of Calls':>10}"]
        for e in rows[: row_limit if row_limit >= 0 else None]:
            lines.append(
                f"{e.name:40.40} {e.cpu_time_total / total:>12.2%} {e.cpu_time_total:>10.1f}us {e.cpu_time:>11.1f}us "
                f"{e.count:>10}"
            )
        return "\n".join([*lines, f"Self CPU time total: {total / 1000:.3f}ms"])

    def __str__(self) -> str:
        return self.table()


class Recorder(Interpreter):
    """Notes each operation's name and time."""

    differentiates = False

    def __init__(self) -> None:
        self.events = EventList()

    def process(self, call: Call) -> Any:
        if isinstance(call.op, Effect):
            return call()
        start = perf_counter()
        try:
            return call()
        finally:
            name = getattr(call.op, "name", str(call.op))
            self.events.append(Event(f"aten::{name}", start * 1e6, (perf_counter() - start) * 1e6))


class profile:
    """Inside, operations of this thread are recorded.

    >>> x = fb.ones(2)
    >>> with fb.autograd.profiler.profile() as p:
    ...     _ = (x + 1).exp()
    >>> [e.key for e in p.key_averages()]
    ['aten::add', 'aten::exp']
    """

    def __init__(self, enabled: bool = True, **kwargs: Any) -> None:
        self.enabled, self.recorder = enabled, Recorder()

    def __enter__(self) -> profile:
        if self.enabled:
            self.recorder.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self.enabled:
            self.recorder.__exit__()

    @property
    def function_events(self) -> EventList:
        """All events in their order."""
        return self.recorder.events

    def events(self) -> EventList:
        """All events in their order."""
        return self.recorder.events

    def key_averages(self, group_by_input_shape: bool = False, **kwargs: Any) -> EventList:
        """One event for each name: how many calls, and their average time."""
        sums: dict[str, Event] = {}
        for e in self.recorder.events:
            if e.name in sums:
                known = sums[e.name]
                known.cpu_time = (known.cpu_time * known.count + e.cpu_time) / (known.count + 1)
                known.count += 1
            else:
                sums[e.name] = Event(e.name, e.start, e.cpu_time)
        return EventList(sums.values())

    def table(self, **kwargs: Any) -> str:
        """key_averages() as a table."""
        return self.key_averages().table(**kwargs)

    def export_chrome_trace(self, path: str | os.PathLike) -> None:
        """Writes the events for chrome://tracing and Perfetto."""
        events = [
            {"name": e.name, "ph": "X", "ts": e.start, "dur": e.cpu_time, "pid": os.getpid(), "tid": 0}
            for e in self.recorder.events
        ]
        with open(path, "w") as file:
            json.dump({"traceEvents": events}, file)


class record_function(Mode):
    """A stretch of a program under a name of its own in the profile; also a decorator.

    >>> with fb.profiler.profile() as p:
    ...     with fb.profiler.record_function("my part"):
    ...         y = fb.ones(4).exp()
    >>> "my part" in p.key_averages().table()
    True
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name

    def clone(self) -> record_function:
        return record_function(self.name)

    def __enter__(self) -> None:
        self.start = perf_counter()

    def __exit__(self, *error: object) -> None:
        for recorder in recorders():
            recorder.events.append(Event(self.name, self.start * 1e6, (perf_counter() - self.start) * 1e6))


def recorders() -> Iterator[Recorder]:
    return (interpreter for interpreter in stack.active if isinstance(interpreter, Recorder))


__all__ = ["EventList", "profile", "record_function"]

__all__ = ["EventList", "profile", "record_function"]
