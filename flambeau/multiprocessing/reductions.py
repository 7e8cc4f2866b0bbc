"""How a tensor is sent to another process: the descriptor of its shared memory, and its geometry.

Registered with the pickler of Python's `multiprocessing` alone; `pickle` and `copy` see tensors as before.
Imports core. Read next: `sharing.py`.
"""

from __future__ import annotations

from multiprocessing.reduction import DupFd, ForkingPickler
from typing import Any

from ..core import _core
from ..core._core import DType, SharedMemory, Tensor
from .sharing import open_memory, share_memory_


def reduce_memory(memory: SharedMemory) -> tuple[Any, ...]:
    """What is sent of a block."""
    return rebuild_memory, (DupFd(memory.fd), memory.nbytes)


def rebuild_memory(descriptor: Any, nbytes: int) -> SharedMemory:
    """The block that was sent."""
    try:
        fd = descriptor.detach()
    except (EOFError, OSError) as error:
        raise RuntimeError(
            "multiprocessing: a tensor's memory wasn't handed over, for the process that sent it has ended; let it "
            "wait until the tensor has been received, or send x.numpy()"
        ) from error
    return open_memory(fd, nbytes)


def reduce_tensor(x: Tensor) -> tuple[Any, ...]:
    """What is sent of a tensor; it moves to shared memory first."""
    if x.requires_grad and not x.is_leaf:
        raise RuntimeError(
            "multiprocessing: only tensors the user made can be sent while they require grad, got the result of "
            f"{x.grad_fn.name()}; send x.detach()"
        )
    memory = _core.shared_memory(share_memory_(x))
    geometry = (x.dtype, tuple(x.shape), x.stride(), x.storage_offset())
    return rebuild_tensor, (memory, geometry, x.requires_grad, dict(x.__dict__))


def rebuild_tensor(
    memory: SharedMemory,
    geometry: tuple[DType, tuple[int, ...], tuple[int, ...], int],
    requires_grad: bool,
    attributes: dict[str, Any],
) -> Tensor:
    """The tensor that was sent, over the memory of the sender's."""
    x = _core.raw_view(memory.tensor(), *geometry)
    x.__dict__.update(attributes)
    return x.requires_grad_() if requires_grad else x


def init_reductions() -> None:
    """Makes `multiprocessing` send tensors this way; done when `flambeau.multiprocessing` is imported.

    >>> fb.multiprocessing.init_reductions()
    """
    ForkingPickler.register(Tensor, reduce_tensor)
    ForkingPickler.register(SharedMemory, reduce_memory)
