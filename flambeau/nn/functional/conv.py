"""Convolutions of 1 and 3 dimensions, and transposed ones, in terms of `conv2d`, which has a kernel of its own.

A 1-d convolution is a 2-d one of height 1; a 3-d one is a sum of 2-d ones over the kernel's depth; a transposed one is
a convolution with the flipped kernel over an input spread out by the stride. Imports the tensor core. Read next:
`pooling.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.nn.functional.padding import pad
from flambeau.ops import conv2d as _conv2d

Size = int | Sequence[int]


def ntuple(value: Any, n: int, name: str = "size") -> tuple[int, ...]:
    """`n` integers from one, or from a sequence of one or `n`.

    Raises:
        RuntimeError: with the name and what was given.
    """
    if isinstance(value, int):
        return (value,) * n
    values = tuple(value)
    if len(values) == 1:
        return values * n
    if len(values) != n:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {n} values, but got {name}={list(values)}"
        )
    return values


def _checked(name: str, n: int, input: Tensor, weight: Tensor, transposed: bool, groups: int) -> None:
    if weight.dim() != n + 2:
        raise RuntimeError(f"{name}: expected a weight of {n + 2} dimensions, got {tuple(weight.shape)}")
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(f"{name}: expected an input of {n + 1} or {n + 2} dimensions, got {tuple(input.shape)}")
    expected = weight.shape[0] if transposed else weight.shape[1] * groups
    if input.shape[-1 - n] != expected:
        raise RuntimeError(
            f"{name}: given groups={groups} and weight of size {list(weight.shape)}, expected input "
            f"{list(input.shape)} "
            f"to have {expected} channels, but got {input.shape[-1 - n]} channels instead"
        )


def _resolve_padding(
    padding: Size | str, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """Before and after, for each dimension; "same" puts the odd one after."""
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise RuntimeError(f"Invalid padding string: '{padding}'; expected 'same' or 'valid'")
        if padding == "same" and any(s != 1 for s in stride):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        totals = [d * (k - 1) if padding == "same" else 0 for k, d in zip(kernel, dilation, strict=True)]
        return [(t // 2, t - t // 2) for t in totals]
    return [(p, p) for p in ntuple(padding, len(kernel), "padding")]


def _padded(input: Tensor, sides: list[tuple[int, int]]) -> tuple[Tensor, tuple[int, ...]]:
    """What of the padding `conv2d` can't do itself, done; and the rest, which it can."""
    inner = tuple(min(side) for side in sides)
    if any(a != b for a, b in sides):
        extra = [(a - i, b - i) for (a, b), i in zip(sides, inner, strict=True)]
        input = pad(input, [size for side in reversed(extra) for size in side])
    return input, inner


def conv1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size | str = 0,
    dilation: Size = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Cross-correlation of (N, C, L) or (C, L) with a weight (Cₒ, C / groups, K)."""
    _checked("conv1d", 1, input, weight, False, groups)
    (s,), (d,) = ntuple(stride, 1, "stride"), ntuple(dilation, 1, "dilation")
    input, (p,) = _padded(input, _resolve_padding(padding, weight.shape[2:], (s,), (d,)))
    return _conv2d(input.unsqueeze(-2), weight.unsqueeze(-2), bias, (1, s), (0, p), (1, d), groups).squeeze(-2)


def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size | str = 0,
    dilation: Size = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Cross-correlation of (N, C, H, W) or (C, H, W) with a weight (Cₒ, C / groups, Kₕ, K_w)."""
    if isinstance(padding, str):
        stride, dilation = ntuple(stride, 2, "stride"), ntuple(dilation, 2, "dilation")
        input, padding = _padded(input, _resolve_padding(padding, weight.shape[2:], stride, dilation))
    return _conv2d(input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size | str = 0,
    dilation: Size = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Cross-correlation of (N, C, D, H, W) or (C, D, H, W) with a weight (Cₒ, C / groups, K_d, Kₕ, K_w)."""
    _checked("conv3d", 3, input, weight, False, groups)
    if input.dim() == 4:
        return conv3d(input.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(0)
    stride, dilation = ntuple(stride, 3, "stride"), ntuple(dilation, 3, "dilation")
    depth, *plane = _resolve_padding(padding, weight.shape[2:], stride, dilation)
    input = pad(input, (0, 0, 0, 0, *depth))
    batch, channels, _, *area = input.shape
    reach = dilation[0] * (weight.shape[2] - 1)
    steps = (input.shape[2] - reach - 1) // stride[0] + 1
    if steps <= 0:
        raise RuntimeError(f"conv3d: kernel size can't be greater than actual input size, got depth {input.shape[2]}")
    planes = input.transpose(1, 2)
    total: Tensor | None = None
    for k in range(weight.shape[2]):
        start = k * dilation[0]
        slab = planes[:, start : start + (steps - 1) * stride[0] + 1 : stride[0]].reshape(
            batch * steps, channels, *area
        )
        slab, inner = _padded(slab, plane)
        part = _conv2d(slab, weight[:, :, k], None if k else bias, stride[1:], inner, dilation[1:], groups)
        total = part if total is None else total + part
    return total.reshape(batch, steps, *total.shape[1:]).transpose(1, 2)


_CONV = {1: conv1d, 2: conv2d, 3: conv3d}


def _conv_transpose(
    n: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Size, padding: Size, output_padding: Size,
    groups: int, dilation: Size,
) -> Tensor:  # fmt: skip
    name = f"conv_transpose{n}d"
    _checked(name, n, input, weight, True, groups)
    strides, dilations = ntuple(stride, n, "stride"), ntuple(dilation, n, "dilation")
    paddings, extra = ntuple(padding, n, "padding"), ntuple(output_padding, n, "output_padding")
    if any(e >= max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        raise RuntimeError(f"{name}: output padding must be smaller than either stride or dilation, got {extra}")
    kernel = weight.shape[2:]
    sides = []
    for i in range(n):
        full = dilations[i] * (kernel[i] - 1) - paddings[i]
        sides.append((full, full + extra[i]))
    spread = _spread(input, strides)
    spread = pad(spread, [size for side in reversed(sides) for size in side])
    channels, per_group = weight.shape[:2]
    flipped = weight.flip(tuple(range(2, n + 2))).reshape(groups, channels // groups, per_group, *kernel)
    flipped = flipped.transpose(1, 2).reshape(groups * per_group, channels // groups, *kernel)
    return _CONV[n](spread, flipped, bias, 1, 0, dilations, groups)


def _spread(input: Tensor, strides: Sequence[int]) -> Tensor:
    """Put stride - 1 zeros between neighbours in the last dimensions."""
    if all(s == 1 for s in strides):
        return input
    lead, sizes = input.shape[: -len(strides)], input.shape[-len(strides) :]
    shape = [(n - 1) * s + 1 for n, s in zip(sizes, strides, strict=True)]
    output = fb.zeros((*lead, *shape), dtype=input.dtype, device=input.device)
    output[(..., *(slice(None, None, s) for s in strides))] = input
    return output


def conv_transpose1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size = 0,
    output_padding: Size = 0, groups: int = 1, dilation: Size = 1,
) -> Tensor:  # fmt: skip
    """The gradient of `conv1d` with respect to its input, as an operation; weight (C, Cₒ / groups, K)."""
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size = 0,
    output_padding: Size = 0, groups: int = 1, dilation: Size = 1,
) -> Tensor:  # fmt: skip
    """The gradient of `conv2d` with respect to its input, as an operation; weight (C, Cₒ / groups, Kₕ, K_w)."""
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size = 0,
    output_padding: Size = 0, groups: int = 1, dilation: Size = 1,
) -> Tensor:  # fmt: skip
    """The gradient of `conv3d` with respect to its input, as an operation; weight (C, Cₒ / groups, K_d, Kₕ, K_w)."""
    return _conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)
