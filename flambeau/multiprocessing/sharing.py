"""Tensors in shared memory: moving there in place, and which strategy hands the memory on.

Imports core and the standard library. Read next: `core/shared.pxi`, `reductions.py`.
"""

from __future__ import annotations

import os
import resource
import threading
from weakref import WeakValueDictionary

from ..core import _core
from ..core._core import SharedMemory, Tensor

STRATEGIES = ("file_descriptor", "file_system")
_strategy = "file_descriptor"

# A block that comes back, or comes twice, is the one this process has: by device and inode.
known: WeakValueDictionary[tuple[int, int], SharedMemory] = WeakValueDictionary()


def get_all_sharing_strategies() -> set[str]:
    """The names that `set_sharing_strategy` takes.

    >>> sorted(fb.multiprocessing.get_all_sharing_strategies())
    ['file_descriptor', 'file_system']
    """
    return set(STRATEGIES)


def get_sharing_strategy() -> str:
    """The strategy in use.

    >>> fb.multiprocessing.get_sharing_strategy()
    'file_descriptor'
    """
    return _strategy


def set_sharing_strategy(new_strategy: str) -> None:
    """Chooses how many tensors can be shared: as the limit on open files allows, or as many as the system allows.

    Each shared block holds a descriptor open. With "file_system", which programs choose when they run out of them, this
    process's limit is raised to the most that it may have (`ulimit -Hn`). Memory has no name with either, so nothing is
    left behind however the program ends.

    >>> fb.multiprocessing.set_sharing_strategy("file_descriptor")
    """
    global _strategy
    if new_strategy not in STRATEGIES:
        raise ValueError(f"set_sharing_strategy: takes one of {', '.join(STRATEGIES)}, got {new_strategy!r}")
    if new_strategy == "file_system":
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _strategy = new_strategy


def identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def is_shared(x: Tensor) -> bool:
    """Whether the tensor's memory is shared memory.

    >>> fb.ones(2).is_shared(), fb.ones(2).share_memory_().is_shared()
    (False, True)
    """
    return _core.shared_memory(x) is not None


def share_memory_(x: Tensor) -> Tensor:
    """Moves the tensor's memory to shared memory, in place, and returns the tensor; nothing happens if it is there.

    Tensors that view the same memory move along. Processes that are sent the tensor, or forked, see the same elements.
    RuntimeError if a NumPy array or another buffer uses the memory.

    >>> fb.ones(2).share_memory_().is_shared()
    True
    """
    if _core.shared_memory(x) is None:
        # A queue's own thread shares while the program's may be computing with the block: then that one stays.
        memory = _core.move_to_shared_memory(x, threading.current_thread() is not threading.main_thread())
        known[identity(memory.fd)] = memory
    return x


def open_memory(fd: int, nbytes: int) -> SharedMemory:
    """The block of a descriptor that was received, which is kept or closed."""
    key = identity(fd)
    memory = known.get(key)
    if memory is None:
        memory = known[key] = SharedMemory(nbytes, fd)
    else:
        os.close(fd)
    return memory
