"""DataParallel: a module run on several GPUs at once; without any, the module itself. Imports `modules/module.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.nn.modules.module import Module


class DataParallel(Module):
    """Calls `module`, which its `state_dict` names "module.".

    PyTorch splits the batch over GPUs where there are any and else calls the module; the latter is what this does. So
    programs and checkpoints that wrap their model work; `device_ids`, `output_device` and `dim` have no effect.

    >>> import flambeau as fb
    >>> list(fb.nn.DataParallel(fb.nn.Linear(2, 3)).state_dict())
    ['module.weight', 'module.bias']
    """

    def __init__(
        self, module: Module, device_ids: Sequence[Any] | None = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        self.module = module
        self.device_ids: list[int] = []

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module, inputs: Any, device_ids: Any = None, output_device: Any = None, dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:  # fmt: skip
    """module(*inputs), on the one device there is.

    >>> import flambeau as fb
    >>> fb.nn.parallel.data_parallel(fb.nn.ReLU(), fb.tensor([-1.0, 1.0]))
    tensor([0., 1.])
    """
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    return module(*given, **(module_kwargs or {}))
