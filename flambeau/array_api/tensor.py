"""What the array API standard asks of the array object beyond PyTorch's Tensor. Imports core; the namespace when asked.

Source: https://data-apis.org/array-api/2024.12/API_specification/array_object.html.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from ..core import _core
from ..core._core import Tensor

VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")


def array_namespace(self: Tensor, /, *, api_version: str | None = None) -> ModuleType:
    """The module of the array API standard's functions.

    Raises ValueError for versions of the standard that it doesn't have.

    >>> fb.ones(2).__array_namespace__().__array_api_version__
    '2024.12'
    """
    if api_version is not None and api_version not in VERSIONS:
        raise ValueError(f"__array_namespace__: version {api_version!r} isn't here; there are {', '.join(VERSIONS)}")
    return importlib.import_module(__package__)


def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor on a device: itself where it is there already.

    >>> x = fb.ones(2)
    >>> x.to_device("cpu") is x
    True
    """
    if stream is not None:
        raise ValueError(f"to_device: a tensor on {self.device} has no streams, got stream={stream!r}")
    return self.to(device=_core.device(device))


Tensor.__array_namespace__, Tensor.to_device = array_namespace, to_device  # type: ignore[attr-defined]
