"""What training programs need around the tensors: `data`, `dlpack`. Subpackages load when they are first asked for."""

from __future__ import annotations

import importlib
from typing import Any

NAMES = ("benchmark", "checkpoint", "cpp_extension", "data", "dlpack", "flop_counter", "tensorboard")


def __getattr__(name: str) -> Any:
    if name in NAMES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
