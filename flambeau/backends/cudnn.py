"""`torch.backends.cudnn`: not there; its flags are kept. Results are the same bits without them. Imports nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

enabled, benchmark, deterministic, allow_tf32 = True, False, False, True
benchmark_limit = 10


def is_available() -> bool:
    """False."""
    return False


def version() -> None:
    """None: there is no cuDNN."""


def is_acceptable(tensor: Any) -> bool:
    """False."""
    return False


def set_flags(
    _enabled: bool | None = None, _benchmark: bool | None = None, _deterministic: bool | None = None
) -> tuple[bool, bool, bool]:
    """Sets the flags that aren't None; returns what they were."""
    global enabled, benchmark, deterministic
    before = enabled, benchmark, deterministic
    enabled = enabled if _enabled is None else _enabled
    benchmark = benchmark if _benchmark is None else _benchmark
    deterministic = deterministic if _deterministic is None else _deterministic
    return before


@contextmanager
def flags(
    enabled: bool = False, benchmark: bool = False, deterministic: bool = False, allow_tf32: bool = True
) -> Iterator[None]:
    """The flags inside."""
    before = set_flags(enabled, benchmark, deterministic)
    try:
        yield
    finally:
        set_flags(*before)


__all__ = ["allow_tf32", "benchmark", "deterministic", "enabled", "flags", "is_acceptable", "is_available", "version"]
