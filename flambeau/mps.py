"""`torch.mps` as it is where there is no such device. Imports nothing."""

from __future__ import annotations


def is_available() -> bool:
    """False: tensors are on the CPU."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """Nothing: there is no device with random numbers."""


def empty_cache() -> None:
    """Nothing."""


__all__ = ["device_count", "empty_cache", "is_available", "manual_seed"]
