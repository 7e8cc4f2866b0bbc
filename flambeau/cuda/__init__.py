"""`torch.cuda` as it is where there is no CUDA: questions are answered, wishes raise PyTorch's error.

Tensors are on the CPU. Imports core. Read next: `accelerator.py`, `backends/`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, NoReturn

from ..core._core import OutOfMemoryError
from . import amp as amp


def is_available() -> bool:
    """False: tensors are on the CPU."""
    return False


def device_count() -> int:
    """0."""
    return 0


def is_initialized() -> bool:
    """False."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False: there is no device."""
    return False


def manual_seed(seed: int) -> None:
    """Nothing: there is no device with random numbers."""


def manual_seed_all(seed: int) -> None:
    """Nothing, as manual_seed."""


def seed() -> None:
    """Nothing, as manual_seed."""


def seed_all() -> None:
    """Nothing, as manual_seed."""


def empty_cache() -> None:
    """Nothing; `flambeau.empty_cache` is the CPU's."""


def reset_peak_memory_stats(device: Any = None) -> None:
    """Nothing."""


def memory_allocated(device: Any = None) -> int:
    """0; `flambeau.memory_stats` has the CPU's."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated


def memory_stats(device: Any = None) -> dict[str, Any]:
    """Empty."""
    return OrderedDict()


def get_rng_state_all() -> list:
    """Empty: a state for each device."""
    return []


def set_rng_state_all(new_states: Iterable[Any]) -> None:
    """Takes what get_rng_state_all gave; a state of a device raises AssertionError."""
    for _ in new_states:
        absent("set_rng_state_all")


def get_arch_list() -> list[str]:
    """Empty."""
    return []


def is_current_stream_capturing() -> bool:
    """False."""
    return False


def absent(name: str) -> NoReturn:
    raise AssertionError(
        f"Torch not compiled with CUDA enabled (torch.cuda.{name}: ask torch.cuda.is_available() first)"
    )


def needs_device(name: str) -> Any:
    def call(*args: Any, **kwargs: Any) -> NoReturn:
        absent(name)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = "Raises AssertionError: there is no such device."
    return call


NEEDING = (
    "current_device", "current_stream", "default_stream", "get_device_capability", "get_device_name",
    "get_device_properties", "get_rng_state", "init", "initial_seed", "ipc_collect", "mem_get_info", "memory_summary",
    "set_device", "set_rng_state", "set_stream", "synchronize", "utilization",
)  # fmt: skip
globals().update({name: needs_device(name) for name in NEEDING})


class Absent:
    """Something of a device's: making one raises RuntimeError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(f"torch.cuda.{type(self).__name__} needs CUDA, and tensors are on 'cpu'")


class Stream(Absent):
    """A queue of a CUDA device."""


class Event(Absent):
    """A mark in a Stream."""


class CUDAGraph(Absent):
    """Recorded work of a CUDA device."""


class AbsentType(type):
    """The metaclass of cuda.FloatTensor and its kin: no tensor is one of them, and making one raises TypeError."""

    def __instancecheck__(cls, x: object) -> bool:
        return False

    def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"type torch.cuda.{cls.__name__} not available: tensors are on 'cpu'; use torch.{cls.__name__}")


KINDS = "BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short"
TYPES = tuple(f"{kind}Tensor" for kind in KINDS)
globals().update(
    {name: AbsentType(name, (), {"__doc__": "The type of a CUDA tensor, of which there are none."}) for name in TYPES}
)


class device:
    """A context in which a device is the current one; None and negative numbers, as without a device, do nothing."""

    def __init__(self, device: Any) -> None:
        self.idx = -1 if device is None else device

    def __enter__(self) -> None:
        if not isinstance(self.idx, int) or self.idx >= 0:
            absent("device")

    def __exit__(self, *error: object) -> None:
        return None


class stream:
    """A context in which a Stream is the current one; with None it does nothing."""

    def __init__(self, stream: Any) -> None:
        if stream is not None:
            absent("stream")

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None


StreamContext = stream

__all__ = [
    "CUDAGraph", "Event", "OutOfMemoryError", "Stream", "StreamContext", "amp", "device", "device_count", "empty_cache",
    "get_arch_list", "get_rng_state_all", "is_available", "is_bf16_supported", "is_current_stream_capturing",
    "is_initialized", "manual_seed", "manual_seed_all", "max_memory_allocated", "max_memory_reserved",
    "memory_allocated", "memory_reserved", "memory_stats", "reset_peak_memory_stats", "seed", "seed_all",
    "set_rng_state_all", "stream",
]  # fmt: skip
__all__ += list(NEEDING)
__all__ += list(TYPES)
