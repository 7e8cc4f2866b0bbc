"""DistributedDataParallel: needs a process group, of which there is none yet. Imports `modules/module.py`."""

from __future__ import annotations

from typing import Any

from flambeau.nn.modules.module import Module


class DistributedDataParallel(Module):
    """A module whose gradients are averaged over processes; making one raises RuntimeError: there is no group yet."""

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            "DistributedDataParallel: Default process group has not been initialized, and flambeau has none yet; train "
            "the module itself, in one process"
        )
