"""Workers of a DataLoader: a crew is given tasks, and its results come back in the order of the tasks.

`ThreadCrew` is here; `processes.py` has the other kind. A crew that is closed, or dropped, ends its workers after the
task at hand; none outlives the program. Imports the standard library and neighbours.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from . import seeding
from .fetch import Desk, Fetcher


@dataclass(frozen=True)
class WorkerInfo:
    """Who is loading: worker `id` of `num_workers`, its seed, and the dataset, which threads share with the program.

    >>> class Who(fb.utils.data.IterableDataset):
    ...     def __iter__(self):
    ...         yield fb.utils.data.get_worker_info().id
    >>> sorted(x.item() for x in fb.utils.data.DataLoader(Who(), num_workers=2))
    [0, 1]
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


def get_worker_info() -> WorkerInfo | None:
    """The WorkerInfo of the worker that asks; None outside of workers.

    >>> fb.utils.data.get_worker_info() is None
    True
    """
    return seeding.current.worker


class Crew:
    """Workers, and tasks for them: `ahead` of what was asked for; the next result may take `timeout` seconds."""

    def __init__(self, count: int, ahead: int, timeout: float) -> None:
        self.count, self.ahead, self.timeout = count, ahead, timeout or None
        self.broken = False  # workers are not where their tasks say: another epoch needs another crew

    def submit(self, worker: int, task: tuple) -> Any:
        """Gives a worker a task; what is returned stands for its result."""
        raise NotImplementedError

    def wait(self, ticket: Any) -> Any:
        """The result of a task, or its exception raised."""
        raise NotImplementedError

    def abandon(self, tickets: Iterable[Any]) -> None:
        """Says that the results of tasks aren't wanted any more."""
        raise NotImplementedError

    def close(self) -> None:
        """Lets the workers end."""
        raise NotImplementedError

    def late(self) -> RuntimeError:
        return RuntimeError(f"DataLoader: timed out, a batch took more than {self.timeout} seconds")

    def ordered(self, tasks: Iterable[tuple]) -> Iterator[Any]:
        """The result of each task, in their order."""
        pending: deque[Any] = deque()
        try:
            for worker, task in zip(itertools.cycle(range(self.count)), tasks, strict=False):
                pending.append(self.submit(worker, task))
                if len(pending) >= self.ahead:
                    yield self.wait(pending.popleft())
            while pending:
                yield self.wait(pending.popleft())
        finally:
            self.abandon(pending)

    def round_robin(self, task: tuple) -> Iterator[Any]:
        """The task done by each worker in turn, until its answer is empty; a worker that got there is left out."""
        pending: deque[tuple[int, Any]] = deque()
        try:
            for i in range(self.ahead):
                pending.append((i % self.count, self.submit(i % self.count, task)))
            while pending:
                worker, ticket = pending.popleft()
                if result := self.wait(ticket):
                    pending.append((worker, self.submit(worker, task)))
                    yield result[0]
        finally:
            self.abandon(ticket for _, ticket in pending)

    def __del__(self) -> None:
        self.close()


class Job:
    """A call that a thread makes, and its outcome."""

    __slots__ = ("call", "done", "error", "result")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call: Callable[[], Any] | None = call
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self.call() if self.call is not None else None
        except BaseException as error:
            self.error = error
        self.done.set()


def serve(jobs: SimpleQueue, info: WorkerInfo) -> None:
    """A worker thread's life. It knows its queue but not its crew, so that a dropped crew can be collected."""
    seeding.current.worker = info
    while (job := jobs.get()) is not None:
        job.run()
        del job


class ThreadCrew(Crew):
    """Threads of this process: nothing is copied, and they start at once."""

    def __init__(
        self,
        count: int,
        ahead: int,
        timeout: float,
        fetcher: Fetcher,
        init: Callable[[int], None] | None,
        seed: int,
    ) -> None:
        super().__init__(count, ahead, timeout)
        self.queues: list[SimpleQueue] = [SimpleQueue() for _ in range(count)]
        self.desks = [Desk(fetcher, i) for i in range(count)]
        for i, queue in enumerate(self.queues):
            info = WorkerInfo(i, count, seeding.mix(seed, i), fetcher.dataset)
            threading.Thread(target=serve, args=(queue, info), daemon=True, name=f"DataLoader worker {i}").start()
        if init is not None:
            for job in [self.give(i, lambda i=i: init(i)) for i in range(count)]:  # type: ignore[misc]
                self.wait(job)

    def give(self, worker: int, call: Callable[[], Any]) -> Job:
        job = Job(call)
        self.queues[worker].put(job)
        return job

    def submit(self, worker: int, task: tuple) -> Job:
        desk = self.desks[worker]
        return self.give(worker, lambda: desk.perform(task))

    def wait(self, ticket: Job) -> Any:
        if not ticket.done.wait(self.timeout):
            raise self.late()
        if ticket.error is not None:
            raise ticket.error
        return ticket.result

    def abandon(self, tickets: Iterable[Job]) -> None:
        for job in tickets:
            job.call = None

    def close(self) -> None:
        for queue in self.queues:
            queue.put(None)
