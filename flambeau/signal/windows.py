"""`torch.signal.windows`: windows for spectra as SciPy names them, symmetric unless sym=False.

A symmetric window of length M ends where it began; with sym=False it is the first M of M + 1, whose repetition is
periodic. k counts 0 … M − 1, and N is M − 1, or M with sym=False. Computed in float64 and rounded once.
Imports ops. Read next: `ops/windows.py`, whose functions these share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from ..core._core import DTYPES, Tensor
from ..ops.table import TABLE
from ..ops.windows import bell, cosines, triangle, window


def made(
    name: str, shape: Callable[[Tensor, int], Tensor], M: int, sym: bool, dtype: Any, layout: Any, requires_grad: bool
) -> Tensor:
    """The window, once its arguments are found right."""
    if M < 0:
        raise ValueError(f"{name}: the length M must not be negative, got {M}")
    if layout not in (None, "strided"):
        raise ValueError(f"{name}: windows are strided tensors, got layout {layout}")
    if dtype not in (None, *DTYPES[8:10]):
        raise ValueError(f"{name}: the dtype is float32 or float64, got {dtype}")
    return window(name, M, not sym, shape, dtype, requires_grad)


def positive(name: str, what: str, number: float) -> None:
    if number <= 0:
        raise ValueError(f"{name}: {what} must be positive, got {number}")


def bartlett(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """w_k = 1 − |2k/N − 1|: a triangle.

    >>> fb.signal.windows.bartlett(5)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return made("bartlett", triangle, M, sym, dtype, layout, requires_grad)


def blackman(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """w_k = 0.42 − 0.5 cos(2πk/N) + 0.08 cos(4πk/N).

    >>> fb.signal.windows.blackman(5)[1:4]
    tensor([0.3400, 1.0000, 0.3400])
    """
    return made("blackman", cosines(0.42, 0.5, 0.08), M, sym, dtype, layout, requires_grad)


def cosine(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """w_k = sin(π (k + 1/2) / (N + 1)): the positive half of a wave.

    >>> fb.signal.windows.cosine(3)
    tensor([0.5000, 1.0000, 0.5000])
    """

    def half_wave(k: Tensor, n: int) -> Tensor:
        return TABLE["sin"]((k + 0.5) * (math.pi / (n + 1)))

    return made("cosine", half_wave, M, sym, dtype, layout, requires_grad)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """w_k = exp(−|k − c| / τ); the center c is N/2, and can be given with sym=False.

    >>> fb.signal.windows.exponential(3)
    tensor([0.3679, 1.0000, 0.3679])
    """
    positive("exponential", "tau", tau)
    if sym and center is not None:
        raise ValueError(f"exponential: a symmetric window's center is its middle, got center={center}; use sym=False")

    def decay(k: Tensor, n: int) -> Tensor:
        return TABLE["exp"](TABLE["abs"](k - (n / 2 if center is None else center)) * (-1 / tau))

    return made("exponential", decay, M, sym, dtype, layout, requires_grad)


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """w_k = exp(−((k − N/2) / σ)² / 2).

    >>> fb.signal.windows.gaussian(3)
    tensor([0.6065, 1.0000, 0.6065])
    """
    positive("gaussian", "std", std)

    def curve(k: Tensor, n: int) -> Tensor:
        return TABLE["exp"](TABLE["square"]((k - n / 2) / std) * -0.5)

    return made("gaussian", curve, M, sym, dtype, layout, requires_grad)


def general_cosine(
    M: int, *, a: Iterable[float], sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """w_k = a₀ − a₁ cos(2πk/N) + a₂ cos(4πk/N) − ….

    >>> fb.signal.windows.general_cosine(5, a=[0.5, 0.5])
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    if not isinstance(a, Iterable):
        raise TypeError(f"general_cosine: the coefficients a are a sequence of numbers, got a {type(a).__name__}")
    terms = tuple(a)
    if not terms:
        raise ValueError("general_cosine: the coefficients a must not be empty, got none")
    return made("general_cosine", cosines(*terms), M, sym, dtype, layout, requires_grad)


def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """w_k = α − (1 − α) cos(2πk/N).

    >>> fb.signal.windows.general_hamming(3, alpha=0.5)
    tensor([0., 1., 0.])
    """
    return made("general_hamming", cosines(alpha, 1 - alpha), M, sym, dtype, layout, requires_grad)


def hamming(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """w_k = 0.54 − 0.46 cos(2πk/N).

    >>> fb.signal.windows.hamming(3)
    tensor([0.0800, 1.0000, 0.0800])
    """
    return made("hamming", cosines(0.54, 0.46), M, sym, dtype, layout, requires_grad)


def hann(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """w_k = (1 − cos(2πk/N)) / 2.

    >>> fb.signal.windows.hann(4, sym=False)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return made("hann", cosines(0.5, 0.5), M, sym, dtype, layout, requires_grad)


def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """w_k = I₀(β √(1 − (2k/N − 1)²)) / I₀(β).

    >>> fb.signal.windows.kaiser(3, beta=2.0)
    tensor([0.4387, 1.0000, 0.4387])
    """
    if beta < 0:
        raise ValueError(f"kaiser: beta must not be negative, got {beta}")
    return made("kaiser", bell(beta), M, sym, dtype, layout, requires_grad)


def nuttall(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The window of four cosines with the lowest side lobes: Nuttall's of minimum side lobes, 1981.

    >>> fb.signal.windows.nuttall(3)
    tensor([3.6280e-04, 1.0000e+00, 3.6280e-04])
    """
    terms = 0.3635819, 0.4891775, 0.1365995, 0.0106411
    return made("nuttall", cosines(*terms), M, sym, dtype, layout, requires_grad)


__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming",
    "hann", "kaiser", "nuttall",
]  # fmt: skip
