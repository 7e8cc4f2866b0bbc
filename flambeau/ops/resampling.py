"""What each position of a resampled dimension takes: the nearest, two, four, or all that a filter reaches.

Imports neighbours in ops. Read next: `separable.py`, which computes it; `nn/functional/vision.py`, who asks.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from .separable import Map, kind


def rounded(x: float) -> float:
    """x in float32."""
    return struct.unpack("f", struct.pack("f", x))[0]


@kind
def nearest(i: int, n: int, m: int, step: float, offset: float) -> tuple:
    """⌊(i + offset) step⌋, computed in float32 as PyTorch does."""
    return [(min(math.floor(rounded((i + offset) * rounded(step))), n - 1), 1.0)], 1.0


@kind
def linear(i: int, n: int, m: int, step: float, offset: float) -> tuple:
    """The two between which (i + offset) step - offset lies."""
    at = max((i + offset) * step - offset, 0.0)
    low = min(math.floor(at), n - 1)
    part = min(max(at - low, 0.0), 1.0)
    return [(low, 1.0 - part), (min(low + 1, n - 1), part)], 1.0


def keys_near(s: Any, slope: bool = False, a: float = -0.75) -> Any:
    """Keys' kernel for distances up to 1, or its derivative: 1 at 0, 0 at the other integers."""
    return (3 * (a + 2) * s - 2 * (a + 3)) * s if slope else ((a + 2) * s - (a + 3)) * s * s + 1


def keys_far(s: Any, slope: bool = False, a: float = -0.75) -> Any:
    """Keys' kernel for distances from 1 to 2, or its derivative."""
    return (3 * a * s - 10 * a) * s + 8 * a if slope else ((a * s - 5 * a) * s + 8 * a) * s - 4 * a


def keys(s: float, a: float) -> float:
    s = abs(s)
    return keys_near(s, False, a) if s <= 1 else keys_far(s, False, a) if s < 2 else 0.0


@kind
def cubic(i: int, n: int, m: int, step: float, offset: float) -> tuple:
    """The four around (i + offset) step - offset by Keys' kernel with a = -¾; beyond the ends, the ends."""
    at = (i + offset) * step - offset
    low = math.floor(at)
    taps = range(low - 1, low + 3)
    return [(min(max(place, 0), n - 1), keys(at - place, -0.75)) for place in taps], 1.0


@kind
def filtered(i: int, n: int, m: int, step: float, cubic: bool) -> tuple:
    """A triangle, or Keys' kernel with a = -½, stretched over as many elements as one of the result stands for."""
    stretch = max(step, 1.0)
    centre, reach = (i + 0.5) * step, (2 if cubic else 1) * stretch
    places = range(max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), n))
    away = [(place + 0.5 - centre) / stretch for place in places]
    weights = [keys(s, -0.5) if cubic else max(1 - abs(s), 0.0) for s in away]
    total = sum(weights)
    return [(place, weight / total) for place, weight in zip(places, weights, strict=True)], 1.0


def spacing(n: int, m: int, scale: float | None, align_corners: bool | None) -> tuple[float, float]:
    """(step, offset): result i lies at (i + offset) step - offset among n positions."""
    if align_corners:
        return (n - 1) / (m - 1) if m > 1 else 0.0, 0.0
    return n / m if scale is None else 1 / scale, 0.5


def resampling_map(mode: str, n: int, m: int, scale: float | None, align_corners: bool | None, antialias: bool) -> Map:
    """The map of one dimension for a mode of interpolate."""
    if mode.startswith("nearest"):
        return Map("nearest", n, m, (n / m if scale is None else 1 / scale, 0.5 if mode == "nearest-exact" else 0.0))
    step, offset = spacing(n, m, scale, align_corners)
    if antialias:
        return Map("filtered", n, m, (step, mode == "bicubic"))
    return Map("cubic" if mode == "bicubic" else "linear", n, m, (step, offset))
