"""The far side of process workers: a host unloads the dataset, forks the workers and reports how they end.

With the start method "forkserver" one host, which has no thread but its own, holds the dataset for all workers; with
"spawn" each worker is a host of itself. A worker ends with the program, even one that is busy.
Imports flambeau. Read next: `processes.py`, the near side.
"""

from __future__ import annotations

import gc
import multiprocessing.util
import os
import pickle
import random
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flambeau as fb
from flambeau.core._core import SharedMemory
from flambeau.multiprocessing.parcel import Parcel, taken_apart, unpack

from . import seeding
from .failures import Failure
from .fetch import Desk, Fetcher
from .ring import SLOT
from .workers import WorkerInfo

# A message: a slot or -1, the size of what lies there, and whether instead a block's descriptor comes with the message.
MESSAGE = struct.Struct("=qq?")
GRACE = 1.0  # seconds that a busy worker has to finish when the program doesn't want it any more


@dataclass
class Job:
    """What the workers of a loader have in common."""

    fetcher: Fetcher
    init: Callable[[int], None] | None
    count: int
    seed: int
    dtype: Any


def send(channel: socket.socket, slot: int, block: memoryview | None, parcel: Parcel) -> None:
    """Lays a parcel in a slot's block, or if it doesn't fit in a block of its own, and says so."""
    if block is not None and parcel.nbytes <= len(block):
        parcel.write(block)
        channel.send(MESSAGE.pack(slot, parcel.nbytes, False))
    else:
        memory = SharedMemory(parcel.nbytes)
        parcel.write(memoryview(memory))
        socket.send_fds(channel, [MESSAGE.pack(slot, parcel.nbytes, True)], [memory.fd])


def host(first: int, channels: list[socket.socket], control: socket.socket, cargo: Any, slots: SharedMemory) -> None:
    """A process that is one worker, or has several as its children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the program's to answer
    fb.set_num_threads(1)
    try:
        job = cargo.unload()
    except BaseException as error:
        error.add_note("DataLoader: while the dataset was made in the worker process")
        job = Failure(error)
    if len(channels) == 1:
        control.close()
        work(first, channels[0], slots, job)
        return
    gc.freeze()  # the collector would write to every object, and so have it copied
    children = {}
    for i, channel in enumerate(channels):
        if (pid := os.fork()) == 0:
            for other in (control, *channels):
                if other is not channel:
                    other.close()
            become_worker(first + i, channel, slots, job)
        children[pid] = first + i
    for channel in channels:
        channel.close()
    while children:
        pid, status = os.wait()
        try:
            control.send(pickle.dumps((children.pop(pid), pid, os.waitstatus_to_exitcode(status))))
        except OSError:
            pass  # the program has ended


def become_worker(index: int, channel: socket.socket, slots: SharedMemory, job: Any) -> None:
    """A forked worker's life, which doesn't return."""
    code = 1
    try:
        work(index, channel, slots, job)
        multiprocessing.util._exit_function()  # type: ignore[attr-defined]
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def work(index: int, channel: socket.socket, slots: SharedMemory, job: Any) -> None:
    """Answers tasks until the channel is closed."""
    threading.Thread(target=end_with_program, args=(channel.fileno(),), daemon=True).start()
    ring = memoryview(slots)
    perform = prepared(index, job)
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(channel, MESSAGE.size, 1)
        except ConnectionError:
            return
        if not data:
            return
        slot, nbytes, apart = MESSAGE.unpack(data)
        block = ring[slot * SLOT : (slot + 1) * SLOT] if slot >= 0 else None
        task = unpack(memoryview(SharedMemory(nbytes, descriptors[0])) if apart else block)  # type: ignore[arg-type]
        try:
            parts = taken_apart(perform(task))
        except BaseException as error:
            parts = taken_apart(Failure(error))
        try:
            send(channel, slot, block, Parcel(parts))
        except ConnectionError:
            return


def prepared(index: int, job: Any) -> Callable[[tuple], Any]:
    """A function from a task to its result, which raises at each call what went wrong here."""
    failure = job
    if isinstance(job, Job):
        fb.set_default_dtype(job.dtype)
        info = WorkerInfo(index, job.count, seeding.mix(job.seed, index), job.fetcher.dataset)
        seeding.current.worker = info
        # For what doesn't ask flambeau for its random numbers.
        random.seed(info.seed)
        fb.manual_seed(info.seed)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(info.seed & 0xFFFFFFFF)
        try:
            if job.init is not None:
                job.init(index)
            return Desk(job.fetcher, index).perform
        except BaseException as error:
            failure = Failure(error)

    def fail(task: tuple) -> Any:
        raise failure.restore()

    return fail


def end_with_program(descriptor: int) -> None:
    """Ends a worker that is too busy to see that its channel was closed."""
    poll = select.poll()
    poll.register(descriptor, 0)
    poll.poll()
    time.sleep(GRACE)
    os._exit(1)
