"""`torch._C` as far as libraries reach into PyTorch's core: questions about modes, and marks that do nothing.

Imports core, nn and settings.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ...core import _core
from ...nn.modules import tree
from ...settings import get_default_device


def _log_api_usage_once(event: str) -> None:
    """Nothing: no usage is logged."""


def _get_tracing_state() -> None:
    """None: nothing is traced."""


def _is_tracing() -> bool:
    """False."""
    return False


def _disabled_torch_function_impl(function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
    """function(*args, **kwargs): a class whose `__torch_function__` this is changes no function's meaning."""
    return function(*args, **(kwargs or {}))


def _get_default_device() -> str:
    """The default device's name."""
    return str(get_default_device())


def _get_privateuse1_backend_name() -> str:
    """The name kept for a further device."""
    return "privateuseone"


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, Any, bool, Any]:
    """Device, dtype, non_blocking and memory format of the arguments that `Module.to` takes."""
    memory_format = kwargs.pop("memory_format", None)
    return (*tree._parse_to(*args, **kwargs), memory_format)


_nn = SimpleNamespace(_parse_to=_parse_to)
Size, Tensor, TensorBase, device, dtype = _core.Size, _core.Tensor, _core.Tensor, _core.device, _core.DType
