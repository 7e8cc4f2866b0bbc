"""`torch.version`: what this was built with: no CUDA, no ROCm. Imports flambeau when asked."""

from __future__ import annotations

from typing import Any

cuda = hip = rocm = xpu = None
debug = False
git_version = "unknown"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        import flambeau

        return flambeau.__version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
