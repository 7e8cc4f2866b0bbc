"""Differentiation as programs see it: backward, grad, modes, hooks, custom functions, anomaly detection, gradcheck.

The tape and its engine are the core's (`core/tape.pxi`, `core/backward.pxi`). Imports core and ops.
Read next: `engine.py`, `modes.py`, `function.py`, `numerical.py`, `forward_ad.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .anomaly import detect_anomaly, set_detect_anomaly
from .engine import backward, grad
from .function import Function
from .modes import enable_grad, inference_mode, no_grad, set_grad_enabled

if TYPE_CHECKING:
    from . import forward_ad, functional
    from .numerical import GradcheckError, gradcheck, gradgradcheck
    from .variable import Variable

__all__ = [
    "Function", "GradcheckError", "Variable", "backward", "detect_anomaly", "enable_grad", "forward_ad", "functional",
    "grad", "gradcheck", "gradgradcheck", "inference_mode", "no_grad", "set_detect_anomaly", "set_grad_enabled",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Forward mode, functional and gradcheck load when they are asked for: training doesn't."""
    from importlib import import_module

    if name in ("forward_ad", "functional", "graph", "profiler", "variable"):
        return import_module("." + name, __name__)
    if name == "Variable":
        return import_module(".variable", __name__).Variable
    if name in ("GradcheckError", "gradcheck", "gradgradcheck"):
        return getattr(import_module(".numerical", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
