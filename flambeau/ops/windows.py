"""Window functions for spectra: hann, hamming, blackman, bartlett, kaiser.

Computed in float64 and rounded once. Imports core and neighbours in ops. Read next: `spectral.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor
from .factories import empty, ones
from .ranges import arange
from .table import TABLE

__all__ = ["bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"]


def window(
    name: str, length: int, periodic: bool, shape: Callable[[Tensor, int], Tensor], dtype: Any, requires_grad: bool
) -> Tensor:
    """`shape` at 0 … length − 1 of a window that ends at `length` if periodic, else one before."""
    dtype = _core.get_default_dtype() if dtype is None else dtype
    if length < 0:
        raise RuntimeError(f"{name}: the length must not be negative, got {length}")
    if not dtype.is_floating_point:
        raise RuntimeError(f"{name}: the dtype must be a floating one, got {dtype}")
    if length < 2:
        y = empty(0, dtype=dtype) if length == 0 else ones(1, dtype=dtype)
    else:
        y = shape(arange(length, dtype=DTYPES[9]), length if periodic else length - 1).to(dtype)
    return y.requires_grad_() if requires_grad else y


def cosines(*terms: float) -> Callable[[Tensor, int], Tensor]:
    """a₀ − a₁ cos(2πk/n) + a₂ cos(4πk/n) …"""

    def shape(k: Tensor, n: int) -> Tensor:
        y = k * 0 + terms[0]
        for i, a in enumerate(terms[1:], 1):
            y = y + (-1) ** i * a * TABLE["cos"](k * (2 * math.pi * i / n))
        return y

    return shape


def triangle(k: Tensor, n: int) -> Tensor:
    """1 − |2k/n − 1|"""
    return 1 - TABLE["abs"](k * (2 / n) - 1)


def bell(beta: float) -> Callable[[Tensor, int], Tensor]:
    """I₀(β √(1 − (2k/n − 1)²)) / I₀(β)"""

    def shape(k: Tensor, n: int) -> Tensor:
        inside = TABLE["clamp_min"](1 - TABLE["square"](k * (2 / n) - 1), 0.0)
        i0 = TABLE["i0"]
        return i0(beta * TABLE["sqrt"](inside)) / i0(k[:1] * 0 + beta)

    return shape


def hann_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """w_k = (1 − cos(2πk/N)) / 2 with N = window_length, or one less unless periodic.

    >>> fb.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return window("hann_window", window_length, periodic, cosines(0.5, 0.5), dtype, requires_grad)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """w_k = α − β cos(2πk/N) with N = window_length, or one less unless periodic.

    >>> fb.hamming_window(4)
    tensor([0.0800, 0.5400, 1.0000, 0.5400])
    """
    return window("hamming_window", window_length, periodic, cosines(alpha, beta), dtype, requires_grad)


def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """w_k = 0.42 − 0.5 cos(2πk/N) + 0.08 cos(4πk/N) with N = window_length, or one less unless periodic.

    >>> fb.blackman_window(4)[1:]
    tensor([0.3400, 1.0000, 0.3400])
    """
    return window("blackman_window", window_length, periodic, cosines(0.42, 0.5, 0.08), dtype, requires_grad)


def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """w_k = 1 − |2k/N − 1| with N = window_length, or one less unless periodic: a triangle.

    >>> fb.bartlett_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return window("bartlett_window", window_length, periodic, triangle, dtype, requires_grad)


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """w_k = I₀(β √(1 − (2k/N − 1)²)) / I₀(β) with N = window_length, or one less unless periodic.

    >>> fb.kaiser_window(3, periodic=False, beta=2.0)
    tensor([0.4387, 1.0000, 0.4387])
    """
    return window("kaiser_window", window_length, periodic, bell(beta), dtype, requires_grad)
