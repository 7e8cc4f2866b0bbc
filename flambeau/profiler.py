"""`torch.profiler`: profiles with a schedule of steps, over `autograd/profiler.py`. Imports autograd."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from .autograd import profiler
from .autograd.profiler import record_function


class ProfilerActivity(Enum):
    """What is recorded; only the CPU is there.

    >>> fb.profiler.ProfilerActivity.CPU.name
    'CPU'
    """

    CPU = 0
    XPU = 1
    CUDA = 2


class ProfilerAction(Enum):
    """What a step does.

    >>> [action.name for action in fb.profiler.ProfilerAction]
    ['NONE', 'WARMUP', 'RECORD', 'RECORD_AND_SAVE']
    """

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities() -> set[ProfilerActivity]:
    """The CPU.

    >>> [a.name for a in fb.profiler.supported_activities()]
    ['CPU']
    """
    return {ProfilerActivity.CPU}


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0
) -> Callable[[int], ProfilerAction]:
    """Steps: skip_first once, then wait, warmup and active ones, again and again (repeat times if that isn't 0).

    >>> plan = fb.profiler.schedule(wait=1, warmup=1, active=2)
    >>> [plan(step).name for step in range(4)]
    ['NONE', 'WARMUP', 'RECORD', 'RECORD_AND_SAVE']
    """

    def action(step: int) -> ProfilerAction:
        cycle, at = divmod(step - skip_first, wait + warmup + active)
        if step < skip_first or (repeat and cycle >= repeat) or at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD_AND_SAVE if at == wait + warmup + active - 1 else ProfilerAction.RECORD

    return action


class profile(profiler.profile):
    """Inside, operations are recorded: all of them, or in the steps that `schedule` names.

    >>> from flambeau.profiler import profile, ProfilerActivity
    >>> with profile(activities=[ProfilerActivity.CPU]) as p:
    ...     _ = fb.ones(2).exp()
    >>> "aten::exp" in p.key_averages().table(sort_by="cpu_time_total")
    True
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(enabled=False)
        self.schedule, self.on_trace_ready, self.step_num = schedule, on_trace_ready, 0

    def action(self) -> ProfilerAction:
        return ProfilerAction.RECORD if self.schedule is None else self.schedule(self.step_num)

    def switch(self, on: bool) -> None:
        if on and not self.enabled:
            self.recorder.__enter__()
        elif self.enabled and not on:
            self.recorder.__exit__()
        self.enabled = on

    def start(self) -> None:
        """As entering the context."""
        self.switch(self.action().value >= ProfilerAction.RECORD.value)

    def stop(self) -> None:
        """As leaving the context."""
        recorded = self.enabled
        self.switch(False)
        if recorded and self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def step(self) -> None:
        """The next step of the schedule begins."""
        finished = self.action() is ProfilerAction.RECORD_AND_SAVE
        if finished:
            self.switch(False)
            if self.on_trace_ready is not None:
                self.on_trace_ready(self)
        self.step_num += 1
        recording = self.action().value >= ProfilerAction.RECORD.value
        if recording and not self.enabled:
            self.recorder.events = profiler.EventList()
        self.switch(recording)

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def tensorboard_trace_handler(dir_name: str, worker_name: str | None = None) -> Callable[[Any], None]:
    """An on_trace_ready that writes a trace into a folder.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     handler = fb.profiler.tensorboard_trace_handler(folder, "worker")
    ...     with fb.profiler.profile(on_trace_ready=handler):
    ...         y = fb.ones(4).exp()
    ...     len(os.listdir(folder))
    1
    """

    def handler(p: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        p.export_chrome_trace(os.path.join(dir_name, f"{worker_name or os.getpid()}.{p.step_num}.pt.trace.json"))

    return handler


__all__ = [
    "ProfilerAction", "ProfilerActivity", "profile", "record_function", "schedule", "supported_activities",
    "tensorboard_trace_handler",
]  # fmt: skip
