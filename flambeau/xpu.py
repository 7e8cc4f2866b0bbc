"""`torch.xpu` as it is where there is no such device: the same answers as `torch.mps`. Imports those."""

from __future__ import annotations

from .mps import device_count, empty_cache, is_available, manual_seed

__all__ = ["device_count", "empty_cache", "is_available", "manual_seed"]
