"""Padding by a constant, by reflection, by the edge's value, or round the circle.

Imports the tensor core. Read next: `pooling.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import flambeau as fb
from flambeau import Tensor


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Extend the last dimensions: `pad` is (before last, after last, before the one before, …); negative sizes crop.

    Args:
        mode: "constant" (`value`, or 0), "reflect" (without the edge), "replicate" (the edge), "circular". The last
            three pad 1, 2 or 3 dimensions behind batch and channels.

    >>> import flambeau as fb
    >>> fb.nn.functional.pad(fb.tensor([1, 2]), (1, 2))
    tensor([0, 1, 2, 0, 0])
    """
    if len(pad) % 2 or len(pad) > 2 * input.dim():
        raise RuntimeError(f"pad: expected an even number of sizes, at most {2 * input.dim()}, got {len(pad)}")
    sides = [(input.dim() - 1 - i, pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)]
    if mode == "constant":
        return _constant(input, sides, 0 if value is None else value)
    if mode not in _INDEX:
        raise NotImplementedError(
            f"Unrecognised padding mode {mode}; expected constant, reflect, replicate or circular"
        )
    if value:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if input.dim() - len(sides) not in (1, 2):
        raise NotImplementedError(
            f"pad: {mode} pads the dimensions behind (N, C) or (C), got {len(sides)} to pad and an input of "
            f"{input.dim()}"
        )
    for dim, before, after in sides:
        if mode == "circular" and min(before, after) < 0:  # what is cropped isn't there to come round again
            input = _constant(input, [(dim, min(before, 0), min(after, 0))], 0)
            before, after = max(before, 0), max(after, 0)
        if before or after:
            index = _INDEX[mode](
                fb.arange(-before, input.shape[dim] + after, device=input.device), input.shape[dim], dim
            )
            input = input.index_select(dim, index)
    return input


def _constant(input: Tensor, sides: list[tuple[int, int, int]], value: float) -> Tensor:
    shape, target, source = list(input.shape), [slice(None)] * input.dim(), [slice(None)] * input.dim()
    for dim, before, after in sides:
        size = shape[dim]
        shape[dim] = size + before + after
        if not 0 <= shape[dim] < 2**63 or before + size < 0 or after + size < 0:
            raise RuntimeError(f"pad: dimension {dim} of size {size} can't be padded by {before} and {after}")
        source[dim] = slice(max(0, -before), size - max(0, -after))
        target[dim] = slice(max(0, before), shape[dim] - max(0, after))
    if all(before <= 0 and after <= 0 for _, before, after in sides):
        return input[tuple(source)].clone()
    output = fb.full(shape, value, dtype=input.dtype, device=input.device)
    output[tuple(target)] = input[tuple(source)]
    return output


def _reflect(at: Tensor, size: int, dim: int) -> Tensor:
    if len(at) and (-at[0] >= size or at[-1] >= 2 * size - 1):
        raise RuntimeError(f"pad: reflection must be shorter than the dimension, got size {size} in dimension {dim}")
    return size - 1 - (size - 1 - at.abs()).abs()


def _replicate(at: Tensor, size: int, dim: int) -> Tensor:
    return at.clamp(0, size - 1)


def _circular(at: Tensor, size: int, dim: int) -> Tensor:
    if len(at) and (-at[0] > size or at[-1] >= 2 * size):
        raise RuntimeError(f"pad: can't go round more than once, got size {size} in dimension {dim}")
    return at % size


_INDEX = {"reflect": _reflect, "replicate": _replicate, "circular": _circular}
