"""The names that `amp` had on each device: `torch.cpu.amp.autocast()` and its like. Imports its neighbours."""

from __future__ import annotations

from typing import Any

from .autocast_mode import autocast
from .grad_scaler import GradScaler


def names_on(device: str) -> tuple[type[autocast], type[GradScaler]]:
    """autocast and GradScaler of one device, which take every argument but the device."""

    class Autocast(autocast):
        __doc__ = f"amp.autocast({device!r})."

        def __init__(self, enabled: bool = True, dtype: Any = None, cache_enabled: bool | None = None) -> None:
            super().__init__(device, dtype, enabled, cache_enabled)

    class Scaler(GradScaler):
        __doc__ = f"amp.GradScaler({device!r})."

        def __init__(
            self,
            init_scale: float = 2.0**16,
            growth_factor: float = 2.0,
            backoff_factor: float = 0.5,
            growth_interval: int = 2000,
            enabled: bool = True,
        ) -> None:
            super().__init__(device, init_scale, growth_factor, backoff_factor, growth_interval, enabled)

    for made, name in (Autocast, "autocast"), (Scaler, "GradScaler"):
        made.__name__ = made.__qualname__ = name
        made.__module__ = f"flambeau.{device}.amp"
    return Autocast, Scaler
