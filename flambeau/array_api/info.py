"""What this implementation of the array API standard has: dtypes, devices, capabilities. Imports core and `dtypes.py`.

Source: https://data-apis.org/array-api/2024.12/API_specification/inspection.html.
"""

from __future__ import annotations

from typing import Any

from ..core._core import DType, device, get_default_dtype
from .dtypes import EVERY, default_complex, int64, isdtype


class ArrayNamespaceInfo:
    """Answers about the namespace, as `__array_namespace_info__()` hands them out.

    >>> from flambeau import array_api as xp
    >>> xp.__array_namespace_info__().default_dtypes()["real floating"]
    flambeau.float32
    """

    def capabilities(self) -> dict[str, Any]:
        """What isn't the same in every implementation."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> device:
        """Where arrays are made."""
        return device("cpu")

    def devices(self) -> list[device]:
        """Where arrays can be."""
        return [device("cpu")]

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The dtypes that Python numbers and indices take."""
        return {
            "real floating": get_default_dtype(),
            "complex floating": default_complex(),
            "integral": int64,
            "indexing": int64,
        }

    def dtypes(self, *, device: Any = None, kind: str | tuple[str, ...] | None = None) -> dict[str, DType]:
        """The standard's dtypes that arrays can have: all, or those of some kinds."""
        return {d.name: d for d in EVERY if kind is None or isdtype(d, kind)}


def array_namespace_info() -> ArrayNamespaceInfo:
    """Answers about what this namespace has."""
    return ArrayNamespaceInfo()
