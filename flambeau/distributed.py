"""`torch.distributed` in one process: questions are answered, and what needs other processes says they aren't there.

Programs that ask `is_available` or `is_initialized` first run as one process does. Imports nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NoReturn


def is_available() -> bool:
    """False: there are no process groups yet."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def is_torchelastic_launched() -> bool:
    """False."""
    return False


def is_nccl_available() -> bool:
    """False."""
    return False


def is_gloo_available() -> bool:
    """False."""
    return False


def is_mpi_available() -> bool:
    """False."""
    return False


def init_process_group(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError: processes that train together aren't there yet."""
    raise RuntimeError(
        "distributed: flambeau has no process groups yet; ask torch.distributed.is_available() first. For "
        "hogwild training see torch.multiprocessing"
    )


def needs_group(name: str) -> Any:
    def call(*args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(
            f"distributed.{name}: Default process group has not been initialized, and flambeau has none yet; ask "
            "torch.distributed.is_initialized() first"
        )

    call.__name__ = call.__qualname__ = name
    call.__doc__ = "Raises RuntimeError: there is no process group."
    return call


NEEDING = (
    "all_gather", "all_gather_into_tensor", "all_gather_object", "all_reduce", "all_to_all", "all_to_all_single",
    "barrier", "broadcast", "broadcast_object_list", "destroy_process_group", "gather", "gather_object", "get_backend",
    "get_rank", "get_world_size", "init_device_mesh", "irecv", "isend", "monitored_barrier", "new_group", "recv",
    "reduce", "reduce_scatter", "reduce_scatter_tensor", "scatter", "scatter_object_list", "send",
)  # fmt: skip
globals().update({name: needs_group(name) for name in NEEDING})


class ReduceOp(Enum):
    """How the processes' values are combined."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7


class ProcessGroup:
    """Nothing is an instance: there are no process groups yet."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        init_process_group()


class group:
    """The group of all processes, which isn't there."""

    WORLD: ProcessGroup | None = None


GroupMember = group

__all__ = [
    "GroupMember", "ProcessGroup", "ReduceOp", "group", "init_process_group", "is_available", "is_gloo_available",
    "is_initialized", "is_mpi_available", "is_nccl_available", "is_torchelastic_launched",
]  # fmt: skip
__all__ += list(NEEDING)
