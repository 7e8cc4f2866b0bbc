"""Worker threads of a DataLoader: each takes tasks one after the other; results come back in the order of the tasks.

A crew that is closed, or dropped, ends its threads after the task at hand; none outlives the program.
Imports the standard library and `seeding.py`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from . import seeding


@dataclass(frozen=True)
class WorkerInfo:
    """Who is loading: worker `id` of `num_workers`, its seed, and the dataset, which all workers share."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


def get_worker_info() -> WorkerInfo | None:
    """The WorkerInfo of the worker thread that asks; None outside of workers."""
    return seeding.current.worker


class Task:
    """A call that a worker makes, and its outcome."""

    __slots__ = ("call", "done", "error", "result")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self.call()
        except BaseException as error:
            self.error = error
        self.done.set()


def serve(tasks: SimpleQueue, info: WorkerInfo) -> None:
    """A worker thread's life. It knows its queue but not its crew, so that a dropped crew can be collected."""
    seeding.current.worker = info
    while (task := tasks.get()) is not None:
        task.run()
        del task


class Crew:
    """num_workers threads and the tasks they are given."""

    def __init__(self, count: int, dataset: Any, init: Callable[[int], None] | None, seed: int) -> None:
        self.ahead = count * 2
        self.timeout: float | None = None
        self.broken = False
        self.queues: list[SimpleQueue] = [SimpleQueue() for _ in range(count)]
        for i, queue in enumerate(self.queues):
            info = WorkerInfo(i, count, seeding.mix(seed, i), dataset)
            threading.Thread(target=serve, args=(queue, info), daemon=True, name=f"DataLoader worker {i}").start()
        if init is not None:
            for task in [self.submit(i, lambda i=i: init(i)) for i in range(count)]:  # type: ignore[misc]
                self.wait(task)

    def submit(self, worker: int, call: Callable[[], Any]) -> Task:
        task = Task(call)
        self.queues[worker].put(task)
        return task

    def wait(self, task: Task) -> Any:
        if not task.done.wait(self.timeout):
            self.broken = True
            raise RuntimeError(f"DataLoader: timed out, a batch took more than {self.timeout} seconds")
        if task.error is not None:
            raise task.error
        return task.result

    def ordered(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """function of each item, in their order, `ahead` of them in the making."""
        pending: deque[Task] = deque()
        number = 0
        try:
            for item in items:
                pending.append(self.submit(number % len(self.queues), lambda item=item: function(item)))  # type: ignore[misc]
                number += 1
                if len(pending) >= self.ahead:
                    yield self.wait(pending.popleft())
            while pending:
                yield self.wait(pending.popleft())
        finally:
            self.abandon(pending)

    def round_robin(self, stream: Callable[[int], Iterator[Any]]) -> Iterator[Any]:
        """One item of each worker's own stream in turn; a stream that has ended is left out from then on."""
        count = len(self.queues)
        streams: dict[int, Iterator[Any]] = {}

        def advance(worker: int) -> Any:
            if worker not in streams:
                streams[worker] = stream(worker)
            return next(streams[worker], streams)  # `streams` itself stands for the end

        pending: deque[tuple[int, Task]] = deque()
        try:
            for i in range(self.ahead):
                pending.append((i % count, self.submit(i % count, lambda w=i % count: advance(w))))  # type: ignore[misc]
            ended: set[int] = set()
            while pending:
                worker, task = pending.popleft()
                result = self.wait(task)
                if result is streams:
                    ended.add(worker)
                else:
                    pending.append((worker, self.submit(worker, lambda w=worker: advance(w))))  # type: ignore[misc]
                    yield result
        finally:
            self.abandon(task for _, task in pending)

    def abandon(self, tasks: Iterable[Task]) -> None:
        """Makes tasks that no worker has begun cost nothing."""
        for task in tasks:
            task.call = lambda: None

    def close(self) -> None:
        for queue in self.queues:
            queue.put(None)

    def __del__(self) -> None:
        self.close()
