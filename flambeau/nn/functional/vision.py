"""Rearranging and resampling images: pixel shuffles, patches (unfold and fold), interpolation, affine grids.

Imports the tensor core. Read next: `modules/vision.py`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.core._core import Resolution
from flambeau.ops.adaptive import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from flambeau.ops.arguments import Size, ntuple
from flambeau.ops.padding import pad
from flambeau.ops.primitive import resolved
from flambeau.ops.recall import recalled
from flambeau.ops.resampling import resampling_map
from flambeau.ops.separable import separable


@recalled
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(…, C r², H, W) → (…, C, H r, W r). Shi et al., 2016.

    >>> fb.nn.functional.pixel_shuffle(fb.arange(4.0).view(4, 1, 1), 2)
    tensor([[[0., 1.],
             [2., 3.]]])
    """
    r = upscale_factor
    *lead, channels, height, width = input.shape
    if channels % (r * r):
        raise RuntimeError(
            f"pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but input.size(-3)={channels} is not divisible by {r * r}"
        )
    x = input.reshape(*lead, channels // (r * r), r, r, height, width)
    n = len(lead)
    return x.permute(*range(n + 1), n + 3, n + 1, n + 4, n + 2).reshape(*lead, -1, height * r, width * r)


@recalled
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(…, C, H r, W r) → (…, C r², H, W).

    >>> fb.nn.functional.pixel_unshuffle(fb.arange(4.0).view(1, 2, 2), 2).flatten()
    tensor([0., 1., 2., 3.])
    """
    r = downscale_factor
    *lead, channels, height, width = input.shape
    if height % r or width % r:
        raise RuntimeError(f"pixel_unshuffle expects height and width to be divisible by {r}, got {height} and {width}")
    x = input.reshape(*lead, channels, height // r, r, width // r, r)
    n = len(lead)
    return x.permute(*range(n + 1), n + 2, n + 4, n + 1, n + 3).reshape(*lead, -1, height // r, width // r)


@recalled
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """(N, C, …) with the channels of `groups` groups interleaved. Zhang et al., ShuffleNet, 2018.

    >>> fb.nn.functional.channel_shuffle(fb.arange(4.0).view(1, 4, 1), 2).flatten()
    tensor([0., 2., 1., 3.])
    """
    batch, channels = input.shape[:2]
    if channels % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {channels} channels and {groups} groups."
        )
    x = input.reshape(batch, groups, channels // groups, *input.shape[2:])
    return x.transpose(1, 2).reshape(input.shape)


def _patch_index(sizes: Sequence[int], kernel: Sequence[int], dilation: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Flat positions (Kₕ K_w, L) in the padded image of each tap of each patch."""
    axes = []
    for size, k, d, s in zip(sizes, kernel, dilation, stride, strict=True):
        count = (size - d * (k - 1) - 1) // s + 1
        if count <= 0:
            raise RuntimeError(f"unfold: patches of {k} with dilation {d} don't fit into a padded size of {size}")
        axes.append((fb.arange(k) * d).unsqueeze(1) + fb.arange(count) * s)
    rows, cols = axes
    at = rows.reshape(rows.shape[0], 1, rows.shape[1], 1) * sizes[1] + cols.reshape(1, cols.shape[0], 1, cols.shape[1])
    return at.reshape(rows.shape[0] * cols.shape[0], -1)


@recalled
def unfold(input: Tensor, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> Tensor:
    """All patches as columns: (N, C, H, W) → (N, C Kₕ K_w, L).

    >>> fb.nn.functional.unfold(fb.arange(6.0).view(1, 1, 2, 3), 2)
    tensor([[[0., 1.],
             [1., 2.],
             [3., 4.],
             [4., 5.]]])
    """
    if input.dim() == 3:
        return unfold(input.unsqueeze(0), kernel_size, dilation, padding, stride).squeeze(0)
    kernel, dilations = ntuple(kernel_size, 2, "kernel_size"), ntuple(dilation, 2, "dilation")
    ph, pw = ntuple(padding, 2, "padding")
    x = pad(input, (pw, pw, ph, ph)) if ph or pw else input
    at = _patch_index(x.shape[2:], kernel, dilations, ntuple(stride, 2, "stride"))
    columns = x.reshape(*x.shape[:2], -1).index_select(2, at.reshape(-1))
    return columns.reshape(x.shape[0], -1, at.shape[1])


@recalled
def fold(
    input: Tensor, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
) -> Tensor:
    """Add up patches where they overlap: (N, C Kₕ K_w, L) → (N, C, H, W); the transpose of `unfold`.

    >>> fb.nn.functional.fold(fb.ones(1, 4, 2), (2, 3), 2)
    tensor([[[[1., 2., 1.],
              [1., 2., 1.]]]])
    """
    if input.dim() == 2:
        return fold(input.unsqueeze(0), output_size, kernel_size, dilation, padding, stride).squeeze(0)
    kernel, dilations = ntuple(kernel_size, 2, "kernel_size"), ntuple(dilation, 2, "dilation")
    height, width = ntuple(output_size, 2, "output_size")
    ph, pw = ntuple(padding, 2, "padding")
    sizes = height + 2 * ph, width + 2 * pw
    at = _patch_index(sizes, kernel, dilations, ntuple(stride, 2, "stride"))
    if input.shape[1] % math.prod(kernel):
        raise RuntimeError(f"fold: {input.shape[1]} rows aren't a multiple of the {math.prod(kernel)} taps of a patch")
    if input.shape[2] != at.shape[1]:
        raise RuntimeError(f"fold: expected {at.shape[1]} patches for this output size, got {input.shape[2]}")
    channels = input.shape[1] // at.shape[0]
    flat = input.new_zeros(input.shape[0], channels, math.prod(sizes))
    flat = flat.index_add(2, at.reshape(-1), input.reshape(input.shape[0], channels, -1))
    return flat.reshape(input.shape[0], channels, *sizes)[:, :, ph : ph + height, pw : pw + width]


_DIMS = {"nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3), "linear": (1,), "bilinear": (2,),
         "bicubic": (2,), "trilinear": (3,)}  # fmt: skip


@resolved
def interpolate(
    input: Tensor, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest", align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:  # fmt: skip
    """Resample (N, C, …) to `size`, or by `scale_factor`, in its 1, 2 or 3 last dimensions.

    uint8 is rounded after each dimension; other integers are for the modes that copy.

    Args:
        mode: nearest, nearest-exact, linear (1-d), bilinear and bicubic (2-d), trilinear (3-d), area.
        align_corners: let the centres of the corner pixels coincide, rather than the corners of the images.
        recompute_scale_factor: take the scale from the rounded sizes rather than as given.
        antialias: with bilinear and bicubic, widen the filter where the image shrinks, as Pillow does.

    >>> import flambeau as fb
    >>> fb.nn.functional.interpolate(fb.tensor([[[1.0, 2.0]]]), scale_factor=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    n = input.dim() - 2
    if mode not in _DIMS or n not in _DIMS[mode]:
        raise NotImplementedError(f"interpolate: mode {mode} doesn't take an input of {input.dim()} dimensions")
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either size or scale_factor")
    scales: Sequence[float | None] = [None] * n
    if size is not None:
        sizes: Sequence[int] = ntuple(size, n, "size")
    else:
        given = list(scale_factor) if isinstance(scale_factor, Sequence) else [scale_factor] * n
        sizes = [math.floor(s * f) for s, f in zip(input.shape[2:], given, strict=True)]
        scales = scales if recompute_scale_factor else given
    if any(s <= 0 for s in (*sizes, *input.shape[2:])):
        raise RuntimeError(
            f"interpolate: input and output sizes should be greater than 0, got {input.shape[2:]} and {sizes}"
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolate: antialias is for the modes bilinear and bicubic of 4-D tensors, got {mode}")
    rounded = input.dtype == fb.uint8 and mode in ("linear", "bilinear", "bicubic", "trilinear")
    if not (rounded or mode.startswith("nearest") or input.is_floating_point() or input.is_complex()):
        raise NotImplementedError(f"interpolate: mode {mode} takes floating tensors or uint8, got {input.dtype}")
    if mode == "area":
        return Resolution((adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[n - 1], input, tuple(sizes))
    maps = tuple(
        resampling_map(mode, size, out, scale, align_corners, antialias)
        for size, out, scale in zip(input.shape[2:], sizes, scales, strict=True)
    )
    if not rounded:
        return Resolution(separable, input, maps, False)
    x = input
    for i in reversed(range(n)):
        one = tuple(map if j == i else None for j, map in enumerate(maps))
        x = (separable(x.float(), one, False) + 0.5).floor().clamp(0, 255).to(fb.uint8)
    return x


def upsample(
    input: Tensor, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest", align_corners: bool | None = None,
) -> Tensor:  # fmt: skip
    """The old name of `interpolate`.

    >>> fb.nn.functional.upsample(fb.tensor([[[1.0, 2.0]]]), scale_factor=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(
    input: Tensor, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
) -> Tensor:
    """The old name of `interpolate` with mode "nearest".

    >>> fb.nn.functional.upsample_nearest(fb.tensor([[[1.0, 2.0]]]), size=4)
    tensor([[[1., 1., 2., 2.]]])
    """
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(
    input: Tensor, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
) -> Tensor:
    """The old name of `interpolate` with mode "bilinear" and aligned corners.

    >>> fb.nn.functional.upsample_bilinear(fb.tensor([[[[1.0, 3.0]]]]), size=(1, 3))
    tensor([[[[1., 2., 3.]]]])
    """
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    return interpolate(input, size, scale_factor, "bilinear", align_corners=True)


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Sampling positions for `grid_sample` from affine maps: (N, 2, 3) → (N, H, W, 2), (N, 3, 4) → (N, D, H, W, 3).

    >>> fb.nn.functional.affine_grid(fb.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]]), (1, 1, 1, 2), align_corners=True)
    tensor([[[[-0.5000,  0.0000],
              [ 1.5000,  0.0000]]]])
    """
    sizes = tuple(size[2:])
    points = _points(sizes, bool(align_corners), theta.dtype)
    return (points @ theta.mT).reshape(theta.shape[0], *sizes, len(sizes))


@recalled
def _points(sizes: tuple[int, ...], align_corners: bool, dtype: Any) -> Tensor:
    """The positions of all elements from -1 to 1, the last dimension's first, and a 1 after them: (elements, n + 1)."""
    axes = []
    for n in sizes:
        axis = fb.arange(n, dtype=dtype)
        axes.append(2 * axis / max(n - 1, 1) - (n > 1) if align_corners else (2 * axis + 1) / n - 1)
    grids = fb.meshgrid(*axes, indexing="ij")
    return fb.stack([*reversed(grids), fb.ones_like(grids[0])], -1).reshape(-1, len(sizes) + 1)
