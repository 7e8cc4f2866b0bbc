"""Differentiation as programs see it: backward, grad, modes, hooks, custom functions, anomaly detection, gradcheck.

The tape and its engine are the core's (`core/tape.pxi`). Imports core and ops.
Read next: `engine.py`, `modes.py`, `function.py`, `gradcheck.py`.
"""

from .anomaly import detect_anomaly, set_detect_anomaly
from .engine import backward, grad
from .function import Function
from .gradcheck import GradcheckError, gradcheck, gradgradcheck
from .modes import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = [
    "Function", "GradcheckError", "backward", "detect_anomaly", "enable_grad", "grad", "gradcheck", "gradgradcheck",
    "inference_mode", "no_grad", "set_detect_anomaly", "set_grad_enabled",
]  # fmt: skip
