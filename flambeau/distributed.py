"""`torch.distributed`, which isn't there yet: programs that ask find so, and run in one process. Imports nothing."""

from __future__ import annotations

from typing import Any, NoReturn


def is_available() -> bool:
    """False."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def is_torchelastic_launched() -> bool:
    """False."""
    return False


def init_process_group(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError: processes that train together aren't there yet."""
    raise RuntimeError(
        "distributed: flambeau has no process groups yet; ask torch.distributed.is_available() first. For "
        "hogwild training see torch.multiprocessing"
    )


__all__ = ["init_process_group", "is_available", "is_initialized", "is_torchelastic_launched"]
