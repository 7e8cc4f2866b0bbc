"""Random numbers' state, under the names of `torch.random`; the generator itself is `ops/random.py`'s. Imports ops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .ops.random import default_generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, device_type: str = "cpu") -> Iterator[None]:
    """Random numbers drawn inside leave those drawn afterwards as they would have been.

    >>> with fb.random.fork_rng():
    ...     before = fb.initial_seed()
    ...     _ = fb.manual_seed(before + 1)
    >>> fb.initial_seed() == before
    True
    """
    kept = default_generator.get_state() if enabled else None
    try:
        yield
    finally:
        if kept is not None:
            default_generator.set_state(kept)


__all__ = ["default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]
