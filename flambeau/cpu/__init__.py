"""`torch.cpu`: the device that tensors are on, with the names programs use of any device. Imports amp."""

from __future__ import annotations

from typing import Any

from . import amp as amp


def is_available() -> bool:
    """True."""
    return True


def device_count() -> int:
    """1."""
    return 1


def current_device() -> str:
    """The name "cpu"."""
    return "cpu"


def set_device(device: Any) -> None:
    """Nothing: there is one."""


def synchronize(device: Any = None) -> None:
    """Nothing: operations are done when they return."""


__all__ = ["amp", "current_device", "device_count", "is_available", "set_device", "synchronize"]
