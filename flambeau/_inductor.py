"""`torch._inductor` as far as programs touch it: settings of a compiler that isn't used are kept. Imports nothing."""

from __future__ import annotations

from types import SimpleNamespace

config = SimpleNamespace(triton=SimpleNamespace())

__all__ = ["config"]
