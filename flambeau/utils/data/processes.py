"""Process workers, the near side: tasks go out over a socket for each worker, batches come back in the ring.

A task and its result lie in one slot of the ring; over the socket goes only where, and for what doesn't fit the
descriptor of a block of its own. Processes are started by "forkserver" or "spawn", never by forking this one. Shared
memory has no name, so none outlives the program. Imports the standard library and neighbours. Read next: `hosting.py`.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable
from multiprocessing.forkserver import _forkserver
from typing import Any

import flambeau as fb
from flambeau.core._core import SharedMemory
from flambeau.multiprocessing.cargo import Cargo
from flambeau.multiprocessing.parcel import Parcel, taken_apart, unpack

from .failures import Failure
from .fetch import Fetcher
from .hosting import MESSAGE, Job, host, send
from .ring import Ring
from .workers import Crew

MOST = 64  # tasks of one worker on their way, so that its socket never fills up
SPARE = 4  # slots for batches that the program still uses


class Ticket:
    """A task given to a worker, and its result."""

    __slots__ = ("block", "done", "result", "worker")

    def __init__(self, worker: int, block: memoryview | None) -> None:
        self.worker, self.block, self.done, self.result = worker, block, False, None


class ProcessCrew(Crew):
    """Processes that start with the dataset, which those of one host share until they write to it."""

    def __init__(
        self,
        count: int,
        ahead: int,
        timeout: float,
        fetcher: Fetcher,
        init: Callable[[int], None] | None,
        seed: int,
        method: str,
    ) -> None:
        self.channels: list[socket.socket] = []
        super().__init__(count, min(ahead, count * MOST), timeout)
        self.ring = Ring(self.ahead + SPARE)
        self.waiting: list[deque[Ticket]] = [deque() for _ in range(count)]
        self.ended: dict[int, tuple[int, int]] = {}  # worker -> (process id, exit code)
        near, far = zip(*(socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(count)), strict=True)
        self.channels = list(near)
        for channel in near:
            channel.settimeout(self.timeout)
        self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        context = multiprocessing.get_context(method)
        if getattr(_forkserver, "_preload_modules", None) == ["__main__"]:  # the program hasn't said anything else
            context.set_forkserver_preload(["__main__", host.__module__])
        cargo = Cargo(Job(fetcher, init, count, seed, fb.get_default_dtype()))
        groups = [far] if method == "forkserver" else [(channel,) for channel in far]
        self.hosts = []
        try:
            for i, group in enumerate(groups):
                name = f"DataLoader worker {i}" if len(group) == 1 else "DataLoader workers"
                arguments = (i, list(group), control, cargo, self.ring.memory)
                process = context.Process(target=host, args=arguments, name=name, daemon=True)  # type: ignore[attr-defined]
                process.start()
                self.hosts.append(process)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            error.add_note(
                "DataLoader: worker processes get the dataset, collate_fn and worker_init_fn by pickle; define them at "
                "a module's top level, or use worker threads (multiprocessing_context=None)"
            )
            raise
        finally:
            for channel in (*far, control):
                channel.close()

    def submit(self, worker: int, task: tuple) -> Ticket:
        slot, block = self.ring.lend() or (-1, None)
        ticket = Ticket(worker, block)
        try:
            send(self.channels[worker], slot, block, Parcel(taken_apart(task)))
        except ConnectionError:
            raise self.lost(worker) from None
        self.waiting[worker].append(ticket)
        return ticket

    def wait(self, ticket: Ticket) -> Any:
        while not ticket.done:
            self.receive(ticket.worker)
        result, ticket.result = ticket.result, None
        if isinstance(result, Failure):
            raise result.restore()
        return result

    def receive(self, worker: int) -> None:
        """Takes a worker's next result, which is that of its oldest task."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.channels[worker], MESSAGE.size, 1)
        except TimeoutError:
            raise self.late() from None
        except ConnectionError:
            data = b""
        if not data:
            raise self.lost(worker)
        _, nbytes, apart = MESSAGE.unpack(data)
        ticket = self.waiting[worker].popleft()
        block, ticket.block = ticket.block, None
        if apart:
            memory = SharedMemory(nbytes, descriptors[0])
            memory.close()  # a program may keep more batches than it may have files open
            block = memoryview(memory)
        assert block is not None
        ticket.result, ticket.done = unpack(block), True

    def lost(self, worker: int) -> RuntimeError:
        """The error that says how a worker ended."""
        pid, code = self.end_of(worker)
        name = f"DataLoader worker {worker}" + (f" (pid {pid})" if pid else "")
        if code is not None and code < 0:
            number = signal.Signals(-code)
            why = " (out of memory, perhaps)" if number == signal.SIGKILL else ""
            return RuntimeError(f"{name} is killed by signal: {number.name}{why}")
        how = f" with code {code}" if code is not None else ""
        return RuntimeError(
            f"{name} exited unexpectedly{how}; a traceback that it printed says why, or the program's start isn't "
            'guarded by `if __name__ == "__main__":`'
        )

    def end_of(self, worker: int) -> tuple[int | None, int | None]:
        if len(self.hosts) == self.count:
            self.hosts[worker].join(2)
            return self.hosts[worker].pid, self.hosts[worker].exitcode
        self.control.settimeout(2)
        try:
            while worker not in self.ended and (data := self.control.recv(4096)):
                index, pid, code = pickle.loads(data)
                self.ended[index] = pid, code
        except OSError:
            pass
        return self.ended.get(worker, (None, None))

    def abandon(self, tickets: Iterable[Ticket]) -> None:
        """Their results are taken off the sockets when later ones are asked for."""

    def close(self) -> None:
        for channel in self.channels:
            channel.close()
