"""skip_init: modules whose parameters aren't initialised, for when they are loaded at once.

Imports nn.modules. Read next: `fusion.py`.
"""

from __future__ import annotations

import inspect
from typing import Any

from flambeau.nn.modules.module import Module

__all__ = ["skip_init"]


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Any:
    """`module_cls(*args, **kwargs)` without initialising its parameters, whose values are then undefined.

    Raises:
        RuntimeError: where `module_cls` isn't a module class, or doesn't take a `device`.

    >>> import flambeau as fb
    >>> fb.nn.utils.skip_init(fb.nn.Linear, 5, 3).weight.shape
    flambeau.Size([3, 5])
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    final = kwargs.pop("device", "cpu")
    return module_cls(*args, device="meta", **kwargs).to_empty(device=final)
