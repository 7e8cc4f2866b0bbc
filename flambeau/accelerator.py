"""`torch.accelerator` as it is where there is none: tensors are on the CPU. Imports nothing."""

from __future__ import annotations

from typing import Any, NoReturn


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def current_accelerator(check_available: bool = False) -> None:
    """None."""


def empty_cache() -> None:
    """Nothing; `flambeau.empty_cache` is the CPU's."""


def absent(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError: there is no accelerator."""
    raise RuntimeError("Cannot access accelerator device when none is available (ask torch.accelerator.is_available())")


current_device_index = set_device_index = current_stream = set_stream = synchronize = absent
memory_allocated = max_memory_allocated = memory_reserved = max_memory_reserved = reset_peak_memory_stats = absent

__all__ = [
    "current_accelerator", "current_device_index", "current_stream", "device_count", "empty_cache", "is_available",
    "max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved", "reset_peak_memory_stats",
    "set_device_index", "set_stream", "synchronize",
]  # fmt: skip
