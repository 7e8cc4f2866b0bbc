"""Processes that share tensors, by PyTorch's names (`torch.multiprocessing`): Python's `multiprocessing`, where CPU
tensors travel through queues, pipes and pools as descriptors of shared memory, not as copies.

A tensor that is sent moves to shared memory first, as by `share_memory_()`: sender and receiver then see each other's
writes. The memory has no name and is gone with the last process that uses it, however processes end.
Imports core. Read next: `sharing.py`, `reductions.py` (how a tensor is sent), `spawning.py`, `parcel.py`.

>>> from flambeau import multiprocessing as mp
>>> queue = mp.SimpleQueue()
>>> x = fb.zeros(2)
>>> queue.put(x)
>>> queue.get().add_(1) is not x, x
(True, tensor([1., 1.]))
"""

import multiprocessing as _multiprocessing
from multiprocessing import *

from .reductions import init_reductions
from .sharing import get_all_sharing_strategies, get_sharing_strategy, set_sharing_strategy
from .spawning import (
    ProcessContext,
    ProcessExitedException,
    ProcessRaisedException,
    SpawnContext,
    spawn,
    start_processes,
)

__all__ = [
    "ProcessContext",
    "ProcessExitedException",
    "ProcessRaisedException",
    "SpawnContext",
    "get_all_sharing_strategies",
    "get_sharing_strategy",
    "init_reductions",
    "set_sharing_strategy",
    "spawn",
    "start_processes",
]
__all__ += _multiprocessing.__all__

init_reductions()
