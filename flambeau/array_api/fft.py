"""Fourier transforms of the array API standard: flambeau.fft under the standard's argument names.

Source: https://data-apis.org/array-api/2024.12/extensions/fourier_transform_functions.html.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import fft as own
from ..core._core import DType, Tensor


def one(name: str) -> Callable[..., Tensor]:
    transform = getattr(own, name)

    def function(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
        return transform(x, n, axis, norm)

    return described(function, name)


def several(name: str) -> Callable[..., Tensor]:
    transform = getattr(own, name)

    def function(
        x: Tensor, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
    ) -> Tensor:
        return transform(x, s, axes, norm)

    return described(function, name)


def described(function: Any, name: str) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"As :func:`flambeau.fft.{name}`."
    return function


fft, ifft, rfft, irfft, hfft, ihfft = map(one, ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"))
fftn, ifftn, rfftn, irfftn = map(several, ("fftn", "ifftn", "rfftn", "irfftn"))


def fftfreq(n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: Any = None) -> Tensor:
    """The frequencies of an n-point transform's results, with sample spacing d."""
    return own.fftfreq(n, d, dtype=dtype, device=device)


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: Any = None) -> Tensor:
    """The frequencies of an n-point real transform's results, with sample spacing d."""
    return own.rfftfreq(n, d, dtype=dtype, device=device)


def fftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """Frequency 0 moved to the middle."""
    return own.fftshift(x, axes)


def ifftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """What `fftshift` did, undone."""
    return own.ifftshift(x, axes)


__all__ = [
    "fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft", "irfft", "irfftn", "rfft",
    "rfftfreq", "rfftn",
]  # fmt: skip
