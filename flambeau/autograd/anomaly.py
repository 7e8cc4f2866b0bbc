"""Anomaly detection: nodes remember where they were recorded, and a NaN on the way back names that line."""

from __future__ import annotations

import os
from typing import Any

from ..core import _core
from ..core._core import Node, Tensor

_package = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def forward_site() -> str:
    """The stack at the time of recording, without flambeau's own frames."""
    import traceback

    frames = [f for f in traceback.extract_stack() if not f.filename.startswith(_package)]
    return "".join(traceback.format_list(frames[-6:]))


def check(node: Node, grads: tuple) -> None:
    """Raises where a gradient holds NaN."""
    for i, g in enumerate(grads):
        if isinstance(g, Tensor) and g.is_floating_point() and bool((g.detach() != g.detach()).any()):
            raise RuntimeError(
                f"{node.node_name()} returned nan in gradient {i}; the forward call was here:\n"
                f"{node.metadata['traceback']}"
            )


class set_detect_anomaly:
    """Switches anomaly detection on or off; as a context, until its end.

    >>> with fb.autograd.set_detect_anomaly(True):
    ...     fb.is_anomaly_enabled()
    True
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.before = _core.swap_anomaly(mode)

    def __enter__(self) -> None: ...

    def __exit__(self, *error: Any) -> None:
        _core.swap_anomaly(self.before)


class detect_anomaly:
    """Inside, an error or a NaN in backward names the line of the forward pass it belongs to.

    >>> x = fb.tensor(0.0, requires_grad=True)
    >>> with fb.autograd.detect_anomaly():
    ...     try:
    ...         (x.sqrt() * 0.0).backward()
    ...     except RuntimeError as error:
    ...         print("nan" in str(error))
    True
    """

    def __init__(self, check_nan: bool = True) -> None: ...

    def __enter__(self) -> None:
        self.before = _core.swap_anomaly(True)

    def __exit__(self, *error: Any) -> None:
        _core.swap_anomaly(self.before)


_core.set_hook("traceback", forward_site)
_core.set_hook("check_anomaly", check)
