"""Fractional max pooling: windows at random places, for outputs of any size below the input's.

Imports the tensor core. Read next: `pooling.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import flambeau as fb
from flambeau import Tensor
from flambeau.ops.arguments import Size, ntuple

Ratio = float | Sequence[float]


def _starts(samples: Tensor, size: int, count: int, kernel: int) -> Tensor:
    """Where `count` windows begin: ⌊(i + u) α⌋ - ⌊u α⌋ with α = (size - kernel) / (count - 1), the last at the end."""
    last = fb.full((*samples.shape, 1), size - kernel)
    if count == 1:
        return last
    step = (size - kernel) / fb.tensor(count - 1, dtype=samples.dtype)
    u = samples.unsqueeze(-1)
    places = ((fb.arange(count - 1) + u) * step).long() - (u * step).long()
    return fb.cat([places, last], -1)


def _fractional_max_pool(
    n: int, input: Tensor, kernel_size: Size, output_size: Size | None, output_ratio: Ratio | None,
    samples: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    name = f"fractional_max_pool{n}d"
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(f"{name}: expected an input of {n + 1} or {n + 2} dimensions, got {tuple(input.shape)}")
    sizes = tuple(input.shape[-n:])
    if output_size is not None:
        counts = ntuple(output_size, n, "output_size")
    elif output_ratio is not None:
        ratios = (output_ratio,) * n if isinstance(output_ratio, int | float) else tuple(output_ratio)
        if len(ratios) != n:
            raise ValueError(f"{name}: expected an output_ratio of {n} numbers, got {ratios}")
        counts = tuple(int(size * ratio) for size, ratio in zip(sizes, ratios, strict=True))
    else:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    kernel = ntuple(kernel_size, n, "kernel_size")
    for size, count, k in zip(sizes, counts, kernel, strict=True):
        if not 0 < count <= size - k + 1:
            raise RuntimeError(
                f"{name}: kernel_size {kernel} and output size {counts} don't fit an input of {sizes}: each "
                "dimension needs kernel + output - 1 <= input, and an output of at least 1"
            )
    planes = (1, *input.shape[:1]) if input.dim() == n + 1 else tuple(input.shape[:2])
    if samples is None:
        samples = fb.rand(*planes, n, dtype=input.dtype)
    elif tuple(samples.shape) != (*planes, n):
        raise RuntimeError(f"{name}: expected _random_samples of shape {(*planes, n)}, got {tuple(samples.shape)}")
    # The samples of planes stand in the order width, height; those of volumes in that of the dimensions.
    order = (1, 0) if n == 2 else range(n)
    flat: Tensor = fb.zeros((), dtype=fb.int64)
    for d in range(n):
        places = _starts(samples[..., order[d]], sizes[d], counts[d], kernel[d]).unsqueeze(-1) + fb.arange(kernel[d])
        shape = [1] * (2 * n)
        shape[d], shape[n + d] = counts[d], kernel[d]
        flat = flat * sizes[d] + places.reshape(*planes, *shape)
    windows = flat.reshape(*planes, math.prod(counts), math.prod(kernel))
    found = input.reshape(*planes, -1).gather(-1, windows.reshape(*planes, -1)).reshape(windows.shape)
    values, best = found.max(-1)
    at = windows.gather(-1, best.unsqueeze(-1)).squeeze(-1)
    shape = [*input.shape[:-n], *counts]
    return values.reshape(shape), at.reshape(shape)


def fractional_max_pool2d_with_indices(
    input: Tensor, kernel_size: Size, output_size: Size | None = None, output_ratio: Ratio | None = None,
    return_indices: bool = False, _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`fractional_max_pool2d` with the flat positions of the maxima.

    >>> x = fb.arange(4.0).view(1, 2, 2)
    >>> fb.nn.functional.fractional_max_pool2d_with_indices(x, 2, output_size=1)
    (tensor([[[3.]]]), tensor([[[3]]]))
    """
    return _fractional_max_pool(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input: Tensor, kernel_size: Size, output_size: Size | None = None, output_ratio: Ratio | None = None,
    return_indices: bool = False, _random_samples: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:  # fmt: skip
    """Maxima of windows at random places of (N, C, H, W) or (C, H, W); with `return_indices` also where they were.

    Window i of c begins at ⌊(i + u) α⌋ - ⌊u α⌋, α = (H - k) / (c - 1), with u drawn from U(0, 1) for each plane and
    dimension. Graham, Fractional max-pooling, 2014.

    Args:
        output_size: how many windows; or
        output_ratio: how many of the input's size, between 0 and 1.

    >>> x = fb.arange(16.0).view(1, 4, 4)
    >>> fb.nn.functional.fractional_max_pool2d(x, 2, output_size=2)[0, -1, -1]
    tensor(15.)
    """
    pooled = _fractional_max_pool(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return pooled if return_indices else pooled[0]


def fractional_max_pool3d_with_indices(
    input: Tensor, kernel_size: Size, output_size: Size | None = None, output_ratio: Ratio | None = None,
    return_indices: bool = False, _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`fractional_max_pool3d` with the flat positions of the maxima.

    >>> x = fb.arange(8.0).view(1, 2, 2, 2)
    >>> fb.nn.functional.fractional_max_pool3d_with_indices(x, 2, output_size=1)
    (tensor([[[[7.]]]]), tensor([[[[7]]]]))
    """
    return _fractional_max_pool(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d(
    input: Tensor, kernel_size: Size, output_size: Size | None = None, output_ratio: Ratio | None = None,
    return_indices: bool = False, _random_samples: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:  # fmt: skip
    """Maxima of windows at random places of (N, C, D, H, W) or (C, D, H, W); see `fractional_max_pool2d`.

    >>> fb.nn.functional.fractional_max_pool3d(fb.arange(8.0).view(1, 2, 2, 2), 2, output_size=1)
    tensor([[[[7.]]]])
    """
    pooled = _fractional_max_pool(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return pooled if return_indices else pooled[0]
