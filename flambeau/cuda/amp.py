"""`torch.cuda.amp`: the older names of `amp`, for a device that isn't here: they warn and do nothing. Imports amp."""

from __future__ import annotations

import functools

from ..amp import autocast_mode
from ..amp.older import names_on

autocast, GradScaler = names_on("cuda")

custom_fwd = functools.partial(autocast_mode.custom_fwd, device_type="cuda")
custom_bwd = functools.partial(autocast_mode.custom_bwd, device_type="cuda")

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]
