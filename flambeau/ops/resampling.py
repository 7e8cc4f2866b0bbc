"""What each position of a resampled dimension takes: the nearest, two, four, or all that a filter reaches.

Imports neighbours in ops. Read next: `separable.py`, which computes it; `nn/functional/vision.py`, who asks.
"""

from __future__ import annotations

from typing import Any

from .separable import Map, Taken, kind


@kind
def nearest(i: Any, n: int, m: int, step: float, offset: float) -> Taken:
    """⌊(i + offset) step⌋, computed in float32 as PyTorch does."""
    import numpy as np

    at = np.floor((i + offset).astype(np.float32) * np.float32(step))
    return Taken(np.minimum(at.astype(np.int64), n - 1)[None])


@kind
def linear(i: Any, n: int, m: int, step: float, offset: float) -> Taken:
    """The two between which (i + offset) step - offset lies."""
    import numpy as np

    at = np.maximum((i + offset) * step - offset, 0.0)
    low = np.minimum(np.floor(at).astype(np.int64), n - 1)
    part = np.clip(at - low, 0.0, 1.0)
    return Taken(np.stack([low, np.minimum(low + 1, n - 1)]), np.stack([1.0 - part, part]))


def keys_near(s: Any, slope: bool = False, a: float = -0.75) -> Any:
    """Keys' kernel for distances up to 1, or its derivative: 1 at 0, 0 at the other integers."""
    return (3 * (a + 2) * s - 2 * (a + 3)) * s if slope else ((a + 2) * s - (a + 3)) * s * s + 1


def keys_far(s: Any, slope: bool = False, a: float = -0.75) -> Any:
    """Keys' kernel for distances from 1 to 2, or its derivative."""
    return (3 * a * s - 10 * a) * s + 8 * a if slope else ((a * s - 5 * a) * s + 8 * a) * s - 4 * a


def keys(s: Any, a: float) -> Any:
    import numpy as np

    s = np.abs(s)
    return np.where(s <= 1, keys_near(s, False, a), np.where(s < 2, keys_far(s, False, a), 0.0))


@kind
def cubic(i: Any, n: int, m: int, step: float, offset: float) -> Taken:
    """The four around (i + offset) step - offset by Keys' kernel with a = -¾; beyond the ends, the ends."""
    import numpy as np

    at = (i + offset) * step - offset
    taps = np.floor(at).astype(np.int64) + np.arange(-1, 3)[:, None]
    return Taken(np.clip(taps, 0, n - 1), keys(at - taps, -0.75))


@kind
def filtered(i: Any, n: int, m: int, step: float, cubic: bool) -> Taken:
    """A triangle, or Keys' kernel with a = -½, stretched over as many elements as one of the result stands for."""
    import numpy as np

    stretch = max(step, 1.0)
    centre, reach = (i + 0.5) * step, (2 if cubic else 1) * stretch
    start = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    stop = np.minimum((centre + reach + 0.5).astype(np.int64), n)
    places = start + np.arange((stop - start).max(initial=0))[:, None]
    away = (places + 0.5 - centre) / stretch
    weights = keys(away, -0.5) if cubic else np.maximum(1 - np.abs(away), 0.0)
    weights = np.where(places < stop, weights, 0.0)
    return Taken(np.where(places < stop, places, -1), weights / weights.sum(0))


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
