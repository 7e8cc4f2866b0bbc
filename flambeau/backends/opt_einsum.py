"""`torch.backends.opt_einsum`: the package that orders einsum's products, which isn't used. Imports nothing."""

from __future__ import annotations

enabled = False


def is_available() -> bool:
    """False."""
    return False


__all__ = ["enabled", "is_available"]
