"""Pooling: `max_pool2d`, `avg_pool2d` and `adaptive_avg_pool2d` have kernels of their own; the rest is built on them.

Pooling is separable: pooling planes, then depth, gives the same windows, means and first maxima as pooling boxes. And
1-d pooling is 2-d pooling of height 1. Imports the tensor core. Read next: `vision.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import flambeau as fb
from flambeau import Tensor
from flambeau.ops import adaptive_avg_pool2d as _adaptive_avg_pool2d
from flambeau.ops import avg_pool2d, max_pool2d
from flambeau.ops.arguments import Size, ntuple

AdaptiveSize = int | None | Sequence[int | None]


def max_pool1d(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:  # fmt: skip
    """Maxima of sliding windows over (N, C, L) or (C, L); with `return_indices` also where they were.

    >>> fb.nn.functional.max_pool1d(fb.tensor([[1.0, 5.0, 2.0, 3.0]]), 2)
    tensor([[5., 3.]])
    """
    _expect("max_pool1d", 1, input)
    (k,), (s,) = _window(1, kernel_size, stride)
    (p,), (d,) = ntuple(padding, 1, "padding"), ntuple(dilation, 1, "dilation")
    pooled = max_pool2d(input.unsqueeze(-2), (1, k), (1, s), (0, p), (1, d), ceil_mode, return_indices)
    return tuple(x.squeeze(-2) for x in pooled) if return_indices else pooled.squeeze(-2)


def max_pool3d(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:  # fmt: skip
    """Maxima of sliding windows over (N, C, D, H, W) or (C, D, H, W); with `return_indices` also where, flat.

    >>> fb.nn.functional.max_pool3d(fb.arange(8.0).view(1, 2, 2, 2), 2)
    tensor([[[[7.]]]])
    """
    _expect("max_pool3d", 3, input)
    (kd, *k), (sd, *s) = _window(3, kernel_size, stride)
    (pd, *p), (dd, *d) = ntuple(padding, 3, "padding"), ntuple(dilation, 3, "dilation")
    x, at = max_pool2d(input.reshape(-1, *input.shape[-3:]), k, s, p, d, ceil_mode, True)
    height, width = x.shape[-2:]
    x, deep = max_pool2d(x.reshape(*x.shape[:2], -1), (kd, 1), (sd, 1), (pd, 0), (dd, 1), ceil_mode, True)
    shape = (*input.shape[:-3], x.shape[1], height, width)
    if not return_indices:
        return x.reshape(shape)
    flat = deep.reshape(deep.shape[0], -1)
    at = at.reshape(at.shape[0], -1).gather(1, flat) + flat // (height * width) * math.prod(input.shape[-2:])
    return x.reshape(shape), at.reshape(shape)


def max_pool1d_with_indices(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`max_pool1d` with the flat positions of the maxima.

    >>> fb.nn.functional.max_pool1d_with_indices(fb.tensor([[1.0, 5.0, 2.0, 3.0]]), 2)
    (tensor([[5., 3.]]), tensor([[1, 3]]))
    """
    return max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)  # type: ignore[return-value]


def max_pool2d_with_indices(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`max_pool2d` with the flat positions of the maxima.

    >>> fb.nn.functional.max_pool2d_with_indices(fb.tensor([[[1.0, 5.0], [2.0, 3.0]]]), 2)
    (tensor([[[5.]]]), tensor([[[1]]]))
    """
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)  # type: ignore[return-value]


def max_pool3d_with_indices(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`max_pool3d` with the flat positions of the maxima.

    >>> fb.nn.functional.max_pool3d_with_indices(fb.arange(8.0).view(1, 2, 2, 2), 2)
    (tensor([[[[7.]]]]), tensor([[[[7]]]]))
    """
    return max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, True)  # type: ignore[return-value]


def _expect(name: str, n: int, input: Tensor) -> None:
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(f"{name}: expected an input of {n + 1} or {n + 2} dimensions, got {tuple(input.shape)}")


def _window(n: int, kernel_size: Size, stride: Size | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    kernel = ntuple(kernel_size, n, "kernel_size")
    return kernel, kernel if stride is None or stride in ([], ()) else ntuple(stride, n, "stride")


def avg_pool1d(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """Means of sliding windows over (N, C, L) or (C, L); `count_include_pad` counts the padding zeros.

    >>> fb.nn.functional.avg_pool1d(fb.tensor([[1.0, 5.0, 2.0, 4.0]]), 2)
    tensor([[3., 3.]])
    """
    (k,), (s,) = _window(1, kernel_size, stride)
    (p,) = ntuple(padding, 1, "padding")
    return avg_pool2d(input.unsqueeze(-2), (1, k), (1, s), (0, p), ceil_mode, count_include_pad).squeeze(-2)


def avg_pool3d(
    input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """Means of sliding windows over (N, C, D, H, W) or (C, D, H, W); `divisor_override` replaces the count.

    >>> fb.nn.functional.avg_pool3d(fb.arange(8.0).view(1, 2, 2, 2), 2)
    tensor([[[[3.5000]]]])
    """
    (kd, *k), (sd, *s) = _window(3, kernel_size, stride)
    pd, *p = ntuple(padding, 3, "padding")
    sums = None if divisor_override is None else 1
    depth, plane = input.shape[-3], input.shape[-2:]
    x = avg_pool2d(input.reshape(-1, depth, *plane), tuple(k), tuple(s), tuple(p), ceil_mode, count_include_pad, sums)
    x = x.reshape(*x.shape[:2], -1)
    x = avg_pool2d(x, (kd, 1), (sd, 1), (pd, 0), ceil_mode, count_include_pad, divisor_override)
    height = avg_pool2d(input.new_zeros(1, *plane), tuple(k), tuple(s), tuple(p), ceil_mode).shape[-2]
    return x.reshape(*input.shape[:-3], x.shape[1], height, -1)


def _adaptive_sizes(output_size: AdaptiveSize, sizes: Sequence[int]) -> tuple[int, ...]:
    wanted = (output_size,) * len(sizes) if output_size is None or isinstance(output_size, int) else output_size
    return tuple(n if w is None else w for w, n in zip(wanted, sizes, strict=True))


def adaptive_avg_pool1d(input: Tensor, output_size: AdaptiveSize) -> Tensor:
    """Means over `output_size` windows that cover (N, C, L) or (C, L): from ⌊i L / n⌋ to ⌈(i + 1) L / n⌉.

    >>> fb.nn.functional.adaptive_avg_pool1d(fb.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]]), 2)
    tensor([[2., 4.]])
    """
    (size,) = _adaptive_sizes(output_size, input.shape[-1:])
    return _adaptive_avg_pool2d(input.unsqueeze(-2), (1, size)).squeeze(-2)


def adaptive_avg_pool2d(input: Tensor, output_size: AdaptiveSize) -> Tensor:
    """Means over a grid of windows that cover (N, C, H, W) or (C, H, W); None keeps a size.

    >>> fb.nn.functional.adaptive_avg_pool2d(fb.arange(8.0).view(1, 2, 4), (None, 2))
    tensor([[[0.5000, 2.5000],
             [4.5000, 6.5000]]])
    """
    return _adaptive_avg_pool2d(input, _adaptive_sizes(output_size, input.shape[-2:]))


def adaptive_avg_pool3d(input: Tensor, output_size: AdaptiveSize) -> Tensor:
    """Means over a grid of windows that cover (N, C, D, H, W) or (C, D, H, W); None keeps a size.

    >>> fb.nn.functional.adaptive_avg_pool3d(fb.arange(8.0).view(1, 2, 2, 2), 1)
    tensor([[[[3.5000]]]])
    """
    depth, *plane = _adaptive_sizes(output_size, input.shape[-3:])
    x = _adaptive_avg_pool2d(input.reshape(-1, *input.shape[-3:]), tuple(plane))
    x = _adaptive_avg_pool2d(x.reshape(*x.shape[:2], -1), (depth, math.prod(plane)))
    return x.reshape(*input.shape[:-3], depth, *plane)


def _max_along(input: Tensor, dim: int, table: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima along `dim` over the positions in each row of `table` (-1: nothing), and where they were."""
    windows = input.index_select(dim, table.clamp(min=0).reshape(-1)).unflatten(dim, tuple(table.shape))
    shape = (1,) * dim + tuple(table.shape) + (1,) * (input.dim() - dim - 1)
    table = table.reshape(shape)
    lowest = -math.inf if input.is_floating_point() else fb.iinfo(input.dtype).min
    values, taken = windows.masked_fill(table < 0, lowest).max(dim + 1)
    at = table.expand(windows.shape).gather(dim + 1, taken.unsqueeze(dim + 1)).squeeze(dim + 1)
    return values, at


def _max_pool(input: Tensor, tables: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Maxima over boxes given by one table for each of the last dimensions, and their flat positions in those."""
    sizes = input.shape[-len(tables) :]
    values, flat, inner = input, None, 1
    for i in reversed(range(len(tables))):
        dim = input.dim() - len(tables) + i
        values, at = _max_along(values, dim, tables[i])
        flat = at if flat is None else at * inner + flat.gather(dim, at)
        inner *= sizes[i]
    return values, flat


def _adaptive(size: int, count: int) -> Tensor:
    if size < 1 or count < 1:
        raise RuntimeError(f"adaptive pooling: sizes must be positive, got {count} windows over {size} elements")
    row = fb.arange(count).reshape(-1, 1)
    start, stop = row * size // count, -(-(row + 1) * size // count)
    at = start + fb.arange(int((stop - start).max()))
    return fb.where(at < stop, at, -1)


def _adaptive_max_pool(
    n: int, input: Tensor, output_size: AdaptiveSize, return_indices: bool
) -> Tensor | tuple[Tensor, Tensor]:
    counts = _adaptive_sizes(output_size, input.shape[-n:])
    values, at = _max_pool(input, [_adaptive(s, c) for s, c in zip(input.shape[-n:], counts, strict=True)])
    return (values, at) if return_indices else values


def adaptive_max_pool1d(
    input: Tensor, output_size: AdaptiveSize, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Maxima over `output_size` windows that cover (N, C, L) or (C, L).

    >>> fb.nn.functional.adaptive_max_pool1d(fb.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]]), 2)
    tensor([[3., 5.]])
    """
    return _adaptive_max_pool(1, input, output_size, return_indices)


def adaptive_max_pool2d(
    input: Tensor, output_size: AdaptiveSize, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Maxima over a grid of windows that cover (N, C, H, W) or (C, H, W).

    >>> fb.nn.functional.adaptive_max_pool2d(fb.arange(8.0).view(1, 2, 4), (None, 2))
    tensor([[[1., 3.],
             [5., 7.]]])
    """
    return _adaptive_max_pool(2, input, output_size, return_indices)


def adaptive_max_pool3d(
    input: Tensor, output_size: AdaptiveSize, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Maxima over a grid of windows that cover (N, C, D, H, W) or (C, D, H, W).

    >>> fb.nn.functional.adaptive_max_pool3d(fb.arange(8.0).view(1, 2, 2, 2), 1)
    tensor([[[[7.]]]])
    """
    return _adaptive_max_pool(3, input, output_size, return_indices)


def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: AdaptiveSize, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool1d` with the flat positions of the maxima.

    >>> fb.nn.functional.adaptive_max_pool1d_with_indices(fb.tensor([[1.0, 5.0, 2.0, 3.0]]), 2)
    (tensor([[5., 3.]]), tensor([[1, 3]]))
    """
    return adaptive_max_pool1d(input, output_size, True)  # type: ignore[return-value]


def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: AdaptiveSize, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool2d` with the flat positions of the maxima.

    >>> fb.nn.functional.adaptive_max_pool2d_with_indices(fb.tensor([[[1.0, 5.0], [2.0, 3.0]]]), 1)
    (tensor([[[5.]]]), tensor([[[1]]]))
    """
    return adaptive_max_pool2d(input, output_size, True)  # type: ignore[return-value]


def adaptive_max_pool3d_with_indices(
    input: Tensor, output_size: AdaptiveSize, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool3d` with the flat positions of the maxima.

    >>> fb.nn.functional.adaptive_max_pool3d_with_indices(fb.arange(8.0).view(1, 2, 2, 2), 1)
    (tensor([[[[7.]]]]), tensor([[[[7]]]]))
    """
    return adaptive_max_pool3d(input, output_size, True)  # type: ignore[return-value]


def _lp(mean: Tensor, norm_type: float, count: int) -> Tensor:
    return (mean.sign() * mean.abs()).mul(count).pow(1.0 / norm_type)


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ xᵖ)^(1/p) over sliding windows of (N, C, L) or (C, L).

    >>> fb.nn.functional.lp_pool1d(fb.tensor([[3.0, 4.0, 6.0, 8.0]]), 2, 2)
    tensor([[ 5., 10.]])
    """
    mean = avg_pool1d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _lp(mean, norm_type, math.prod(ntuple(kernel_size, 1, "kernel_size")))


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ xᵖ)^(1/p) over sliding windows of (N, C, H, W) or (C, H, W).

    >>> fb.nn.functional.lp_pool2d(fb.full((1, 2, 2), 3.0), 2, 2)
    tensor([[[6.]]])
    """
    mean = avg_pool2d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _lp(mean, norm_type, math.prod(ntuple(kernel_size, 2, "kernel_size")))


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ xᵖ)^(1/p) over sliding windows of (N, C, D, H, W) or (C, D, H, W).

    >>> fb.nn.functional.lp_pool3d(fb.full((1, 1, 2, 2), 3.0), 2, (1, 2, 2))
    tensor([[[[6.]]]])
    """
    mean = avg_pool3d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _lp(mean, norm_type, math.prod(ntuple(kernel_size, 3, "kernel_size")))


def _max_unpool(
    n: int, input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None, padding: Size,
    output_size: Sequence[int] | None,
) -> Tensor:  # fmt: skip
    kernel, strides = _window(n, kernel_size, stride)
    paddings = ntuple(padding, n, "padding")
    settings = zip(input.shape[-n:], strides, kernel, paddings, strict=True)
    sizes = tuple((size - 1) * s + k - 2 * p for size, s, k, p in settings)
    if output_size is not None:
        wanted = tuple(output_size)[-n:]
        if any(not d - s < w < d + s for d, s, w in zip(sizes, strides, wanted, strict=True)):
            raise ValueError(f"invalid output_size {wanted} for a default of {sizes} and stride {strides}")
        sizes = wanted
    lead = input.shape[:-n]
    output = input.new_zeros(*lead, math.prod(sizes))
    return output.scatter(-1, indices.reshape(*lead, -1), input.reshape(*lead, -1)).reshape(*lead, *sizes)


def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Put what `max_pool1d` returned back where it came from; zero elsewhere.

    >>> y, where = fb.nn.functional.max_pool1d(fb.tensor([[1.0, 5.0, 2.0, 3.0]]), 2, return_indices=True)
    >>> fb.nn.functional.max_unpool1d(y, where, 2)
    tensor([[0., 5., 0., 3.]])
    """
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Put what `max_pool2d` returned back where it came from; zero elsewhere.

    >>> y, where = fb.nn.functional.max_pool2d(fb.tensor([[[1.0, 5.0], [2.0, 3.0]]]), 2, return_indices=True)
    >>> fb.nn.functional.max_unpool2d(y, where, 2)
    tensor([[[0., 5.],
             [0., 0.]]])
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Put what `max_pool3d` returned back where it came from; zero elsewhere.

    >>> y, where = fb.nn.functional.max_pool3d(fb.arange(4.0).view(1, 1, 2, 2), (1, 2, 2), return_indices=True)
    >>> fb.nn.functional.max_unpool3d(y, where, (1, 2, 2))
    tensor([[[[0., 0.],
              [0., 3.]]]])
    """
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)
