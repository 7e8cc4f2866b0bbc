"""Adaptive pooling: as many windows as are asked for cover the last dimensions, and give their means or maxima.

Imports core and neighbours in ops. Read next: `separable.py`, which computes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core._core import Resolution, Tensor
from .arguments import Ints
from .pooling import LAYOUTS, expect_places, indexed
from .primitive import resolved
from .reduce import mean
from .separable import Map, Taken, kind, maxima, separable

AdaptiveSize = int | None | Sequence[int | None]


@kind
def adaptive(i: Any, n: int, m: int) -> Taken:
    """From ⌊i n / m⌋ to ⌈(i + 1) n / m⌉."""
    import numpy as np

    start, stop = i * n // m, -(-(i + 1) * n // m)
    places = start + np.arange((stop - start).max(initial=0))[:, None]
    return Taken(np.where(places < stop, places, -1), None, (stop - start) * 1.0)


def adaptive_maps(name: str, n: int, shape: Ints, output_size: Any) -> tuple[Map, ...]:
    """A map for each of the last n dimensions; None keeps a size."""
    if len(shape) not in (n + 1, n + 2):
        raise RuntimeError(f"{name}: expected {LAYOUTS[n]}, got shape {list(shape)}")
    given = (output_size,) * n if output_size is None or isinstance(output_size, int) else tuple(output_size)
    counts = [size if count is None else count for size, count in zip(shape[-n:], given, strict=True)]
    if 0 in shape[-n - 1 :] or min(counts) < 0:
        raise RuntimeError(
            f"{name}: channels and sizes can't be empty and output sizes not negative, got shape {list(shape)} and "
            f"{tuple(counts)}"
        )
    return tuple(Map("adaptive", size, count) for size, count in zip(shape[-n:], counts, strict=True))


def adaptive_means(name: str, n: int, input: Tensor, output_size: Any) -> Resolution:
    maps = adaptive_maps(name, n, input.shape, output_size)
    if all(map.m == 1 for map in maps):
        return Resolution(mean, input, tuple(range(-n, 0)), True)
    return Resolution(separable, input, maps, False)


def adaptive_maxima(name: str, n: int, input: Tensor, output_size: Any, return_indices: bool) -> Resolution:
    maps = adaptive_maps(name, n, input.shape, output_size)
    expect_places(name, input.shape, n)
    return indexed(maxima, return_indices, input, maps)


@resolved
def adaptive_avg_pool1d(input: Tensor, output_size: AdaptiveSize) -> Any:
    """Means over `output_size` windows that cover (N, C, L) or (C, L): from ⌊i L / n⌋ to ⌈(i + 1) L / n⌉.

    >>> fb.nn.functional.adaptive_avg_pool1d(fb.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]]), 2)
    tensor([[2., 4.]])
    """
    return adaptive_means("adaptive_avg_pool1d", 1, input, output_size)


@resolved
def adaptive_avg_pool2d(input: Tensor, output_size: AdaptiveSize) -> Any:
    """Means over `output_size` windows that cover the last two dimensions: from ⌊i H / n⌋ to ⌈(i + 1) H / n⌉.

    >>> fb.ops.adaptive_avg_pool2d(fb.ones(1, 4, 4), 1)
    tensor([[[1.]]])
    """
    return adaptive_means("adaptive_avg_pool2d", 2, input, output_size)


@resolved
def adaptive_avg_pool3d(input: Tensor, output_size: AdaptiveSize) -> Any:
    """Means over a grid of windows that cover (N, C, D, H, W) or (C, D, H, W); None keeps a size.

    >>> fb.nn.functional.adaptive_avg_pool3d(fb.arange(8.0).view(1, 2, 2, 2), 1)
    tensor([[[[3.5000]]]])
    """
    return adaptive_means("adaptive_avg_pool3d", 3, input, output_size)


@resolved
def adaptive_max_pool1d(input: Tensor, output_size: AdaptiveSize, return_indices: bool = False) -> Any:
    """Maxima over `output_size` windows that cover (N, C, L) or (C, L).

    >>> fb.nn.functional.adaptive_max_pool1d(fb.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]]), 2)
    tensor([[3., 5.]])
    """
    return adaptive_maxima("adaptive_max_pool1d", 1, input, output_size, return_indices)


@resolved
def adaptive_max_pool2d(input: Tensor, output_size: AdaptiveSize, return_indices: bool = False) -> Any:
    """Maxima over a grid of windows that cover (N, C, H, W) or (C, H, W).

    >>> fb.nn.functional.adaptive_max_pool2d(fb.arange(8.0).view(1, 2, 4), (None, 2))
    tensor([[[1., 3.],
             [5., 7.]]])
    """
    return adaptive_maxima("adaptive_max_pool2d", 2, input, output_size, return_indices)


@resolved
def adaptive_max_pool3d(input: Tensor, output_size: AdaptiveSize, return_indices: bool = False) -> Any:
    """Maxima over a grid of windows that cover (N, C, D, H, W) or (C, D, H, W).

    >>> fb.nn.functional.adaptive_max_pool3d(fb.arange(8.0).view(1, 2, 2, 2), 1)
    tensor([[[[7.]]]])
    """
    return adaptive_maxima("adaptive_max_pool3d", 3, input, output_size, return_indices)


__all__ = ["adaptive_avg_pool2d"]
