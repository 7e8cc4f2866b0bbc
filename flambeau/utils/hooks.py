"""`torch.utils.hooks`: the handle that registering a hook returns. Imports autograd."""

from __future__ import annotations

from ..autograd.handles import RemovableHandle

__all__ = ["RemovableHandle"]
