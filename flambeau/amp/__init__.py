"""Mixed precision: `autocast` runs what gains from it in bfloat16, `GradScaler` keeps small gradients above zero.

Imports core and ops. Read next: `autocast_mode.py` (which operations), `grad_scaler.py`.
"""

from __future__ import annotations

from .autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from .grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
