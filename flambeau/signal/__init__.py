"""`torch.signal`: window functions. Read next: `windows.py`."""

from __future__ import annotations

from . import windows

__all__ = ["windows"]
