"""`torch.cpu.amp`: the older names of `amp` for the CPU. Imports amp."""

from __future__ import annotations

from ..amp.older import names_on

autocast, GradScaler = names_on("cpu")

__all__ = ["GradScaler", "autocast"]
