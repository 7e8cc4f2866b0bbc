"""Convolutions of one, two and three dimensions and their transposes, over the contraction driver.

One primitive for each of the three contractions; each is the gradient of the others, so every order of derivative comes
from the same three. Imports core and neighbours in ops. Read next: `core/contract.pxi`, `runtime/contract.h`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..core import _core
from ..core._core import Tensor, new_empty, new_empty_strided
from ..core.interpreters import together
from .arguments import ntuple
from .primitive import primitive
from .reduce import sum
from .table import TABLE

Shape = tuple[int, ...]
Geometry = tuple[Shape, Shape, Shape, int]  # stride, padding, dilation, groups


def laid_out_like(x: Tensor, shape: Sequence[int]) -> Tensor:
    """An uninitialised tensor with channels last in memory if x has them there."""
    if x.ndim > 2 and not x.is_contiguous() and x.stride(1) == 1:
        order = [0, *range(2, x.ndim), 1]
        strides, step = [0] * x.ndim, 1
        for d in reversed(order):
            strides[d] = step
            step *= shape[d]
        return new_empty_strided(shape, strides, x.dtype)
    return new_empty(shape, x.dtype)


def forward_vjp(ctx: Any, g: Tensor) -> tuple:
    x, w = ctx.saved
    needs = ctx.needs_input_grad
    gx = conv_data(g, w, ctx.x_shape, ctx.geometry) if needs[0] else None
    gw = conv_weight(g, x, ctx.w_shape, ctx.geometry) if needs[1] else None
    if not ctx.has_bias:
        return gx, gw
    return gx, gw, sum(g, [0, *range(2, g.ndim)]) if needs[2] else None


@primitive(forward_vjp, name="conv_forward")
def conv_forward(ctx, x, w, bias, out, geometry):
    """y = x ⋆ w + bias."""
    y = laid_out_like(x, (x.shape[0], w.shape[0], *out))
    ctx.save(x, w)
    ctx.x_shape, ctx.w_shape, ctx.geometry, ctx.has_bias = tuple(x.shape), tuple(w.shape), geometry, bias is not None
    if y.numel():
        _core.convolution("forward", x, w, y, bias, *geometry)
    return y


def data_vjp(ctx: Any, g: Tensor) -> tuple:
    y, w = ctx.saved
    needs = ctx.needs_input_grad
    gy = conv_forward(g, w, None, tuple(y.shape[2:]), ctx.geometry) if needs[0] else None
    gw = conv_weight(y, g, tuple(w.shape), ctx.geometry) if needs[1] else None
    return gy, gw


@primitive(data_vjp, name="conv_data")
def conv_data(ctx, y, w, shape, geometry):
    """The transpose of convolving with w: what y gives back to an input of `shape`."""
    x = laid_out_like(y, shape)
    ctx.save(y, w)
    ctx.geometry = geometry
    if x.numel():
        _core.convolution("data", x, w, y, None, *geometry)
    return x


def weight_vjp(ctx: Any, g: Tensor) -> tuple:
    y, x = ctx.saved
    needs = ctx.needs_input_grad
    gy = conv_forward(x, g, None, tuple(y.shape[2:]), ctx.geometry) if needs[0] else None
    gx = conv_data(y, g, tuple(x.shape), ctx.geometry) if needs[1] else None
    return gy, gx


@primitive(weight_vjp, name="conv_weight")
def conv_weight(ctx, y, x, shape, geometry):
    """The gradient of a convolution's weight of `shape`: correlation of x with y."""
    w = new_empty(shape, x.dtype)
    ctx.save(y, x)
    ctx.geometry = geometry
    if w.numel():
        _core.convolution("weight", x, w, y, None, *geometry)
    return w


def check_dtypes(name: str, x: Tensor, w: Tensor, bias: Tensor | None) -> None:
    if x.dtype is not w.dtype or (bias is not None and bias.dtype is not x.dtype):
        raise RuntimeError(
            f"{name}: input, weight and bias must have one dtype, got {x.dtype}, {w.dtype}"
            + ("" if bias is None else f", {bias.dtype}")
        )


def check_shapes(name: str, n: int, x: Shape, w: Shape, bias: Shape | None, groups: int, transposed: bool) -> None:
    if len(w) != n + 2:
        raise RuntimeError(f"{name}: the weight must have {n + 2} dimensions, got shape {list(w)}")
    if len(x) not in (n + 1, n + 2):
        raise RuntimeError(
            f"{name}: the input must have {n + 1} (unbatched) or {n + 2} (batched) dimensions, got shape {list(x)}"
        )
    channels = w[0] if transposed else w[1] * groups
    if x[-1 - n] != channels:
        raise RuntimeError(
            f"{name}: given groups={groups}, weight of size {list(w)}, expected input {list(x)} to have "
            f"{channels} channels, but got {x[-1 - n]} channels instead"
        )
    if groups < 1 or w[0] % groups:
        raise RuntimeError(f"{name}: groups={groups} must divide the {w[0]} leading channels of the weight")
    out = w[1] * groups if transposed else w[0]
    if bias is not None and bias != (out,):
        raise RuntimeError(
            f"{name}: bias must have {out} elements, one for each output channel, got shape {list(bias)}"
        )


@functools.lru_cache(4096)
def shapes(
    name: str, n: int, x: Shape, w: Shape, bias: Shape | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> tuple[Shape, Geometry]:
    """The output's spatial sizes and the geometry, or an error that says what doesn't fit."""
    check_shapes(name, n, x, w, bias, groups, False)
    kernel = w[2:]
    stride, dilation = ntuple(stride, n, f"{name}: stride"), ntuple(dilation, n, f"{name}: dilation")
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise RuntimeError(f"{name}: padding must be numbers, 'same' or 'valid', got {padding!r}")
        if padding == "same" and any(s != 1 for s in stride):
            raise RuntimeError(f"{name}: padding='same' is not supported for strided convolutions")
        both = [d * (k - 1) if padding == "same" else 0 for k, d in zip(kernel, dilation, strict=True)]
    else:
        both = [2 * p for p in ntuple(padding, n, f"{name}: padding")]
    if any(v < 1 for v in (*stride, *dilation)) or any(b < 0 for b in both):
        raise RuntimeError(
            f"{name}: stride and dilation must be positive and padding not negative, "
            f"got {stride}, {dilation}, {padding}"
        )
    padded = [size + b for size, b in zip(x[-n:], both, strict=True)]
    out = tuple(
        (size - d * (k - 1) - 1) // s + 1 for size, d, k, s in zip(padded, dilation, kernel, stride, strict=True)
    )
    if any(o < 1 for o in out):
        raise RuntimeError(
            f"{name}: calculated padded input size {padded} is smaller than the kernel {list(kernel)} "
            f"(dilation {list(dilation)})"
        )
    return out, (stride, tuple(b // 2 for b in both), dilation, groups)


def hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def conv(
    name: str, n: int, x: Tensor, w: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    """Cross-correlation of (N, C, …) or (C, …) with (O, C / groups, …)."""
    if _core.interpreting():
        x, w, bias = together(x, w, bias)
    check_dtypes(name, x, w, bias)
    if x.is_complex():
        return of_parts(lambda a, b: conv(name, n, a, b, None, stride, padding, dilation, groups), x, w, bias, n)
    out, geometry = shapes(
        name, n, tuple(x.shape), tuple(w.shape), None if bias is None else tuple(bias.shape),
        hashable(stride), hashable(padding), hashable(dilation), groups,
    )  # fmt: skip
    if x.ndim == n + 2:
        return conv_forward(x, w, bias, out, geometry)
    return conv_forward(x.unsqueeze(0), w, bias, out, geometry).squeeze(0)


def of_parts(
    product: Callable[[Tensor, Tensor], Tensor], x: Tensor, w: Tensor, bias: Tensor | None, n: int
) -> Tensor:
    """A convolution of complex numbers by four of real ones."""
    a, b, c, d = (part.contiguous() for part in (x.real, x.imag, w.real, w.imag))
    y = TABLE["complex"](product(a, c) - product(b, d), product(a, d) + product(b, c))
    return y if bias is None else y + bias.reshape((-1,) + (1,) * n)


def conv_transpose(
    name: str,
    n: int,
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    """The transpose of `conv` as a linear map: (N, C, …) with a weight (C, O / groups, …)."""
    if _core.interpreting():
        x, w, bias = together(x, w, bias)
    check_dtypes(name, x, w, bias)
    if x.is_complex():
        rest = stride, padding, output_padding, groups, dilation
        return of_parts(lambda a, b: conv_transpose(name, n, a, b, None, *rest), x, w, bias, n)
    check_shapes(
        name, n, tuple(x.shape), tuple(w.shape), None if bias is None else tuple(bias.shape), groups, transposed=True
    )
    kernel = tuple(w.shape[2:])
    stride, dilation = ntuple(stride, n, f"{name}: stride"), ntuple(dilation, n, f"{name}: dilation")
    padding, extra = ntuple(padding, n, f"{name}: padding"), ntuple(output_padding, n, f"{name}: output_padding")
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise RuntimeError(
            f"{name}: output_padding must be smaller than stride or dilation, got {extra}, {stride}, {dilation}"
        )
    batched = x if x.ndim == n + 2 else x.unsqueeze(0)
    size = tuple(
        (i - 1) * s - 2 * p + d * (k - 1) + e + 1
        for i, s, p, d, k, e in zip(batched.shape[2:], stride, padding, dilation, kernel, extra, strict=True)
    )
    if any(v < 1 for v in size):
        raise RuntimeError(f"{name}: the output would have size {list(size)}; use less padding or a larger kernel")
    shape = (batched.shape[0], w.shape[1] * groups, *size)
    y = conv_data(batched, w, shape, (stride, padding, dilation, groups))
    if bias is not None:
        y = y + bias.reshape((1, -1) + (1,) * n)
    return y if x.ndim == n + 2 else y.squeeze(0)


def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """Cross-correlation of (N, C, L) or (C, L) with a weight (O, C / groups, K), as `conv2d` has it: (N, O, L').

    L' = ⌊(L + 2 padding - dilation (K - 1) - 1) / stride⌋ + 1.

    >>> fb.conv1d(fb.tensor([[[1.0, 2.0, 4.0, 8.0]]]), fb.tensor([[[-1.0, 1.0]]]))
    tensor([[[1., 2., 4.]]])
    """
    return conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """Cross-correlation: y[n, o, p] = bias[o] + Σ w[o, c, t] x[n, c, p · stride - padding + t · dilation].

    Shapes: x (N, C, H, W) or (C, H, W), w (O, C / groups, kH, kW), y (N, O, H', W'); x is 0 outside.

    >>> fb.ops.conv2d(fb.ones(1, 1, 3, 3), fb.ones(1, 1, 2, 2)).tolist()
    [[[[4.0, 4.0], [4.0, 4.0]]]]
    """
    return conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """Cross-correlation of (N, C, D, H, W) or (C, D, H, W) with a weight (O, C / groups, kD, kH, kW), as `conv2d`.

    >>> fb.conv3d(fb.ones(1, 1, 3, 3, 3), fb.ones(1, 1, 2, 2, 3)).flatten()
    tensor([12., 12., 12., 12.])
    """
    return conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1) -> Tensor:
    """The transpose of conv1d, with a weight (C, O / groups, K): each element adds a multiple of the weight.

    Shapes: (N, C, L) → (N, O, L'), L' = (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1.

    >>> fb.conv_transpose1d(fb.tensor([[[1.0, 2.0]]]), fb.tensor([[[1.0, 10.0, 100.0]]]), stride=2)
    tensor([[[  1.,  10., 102.,  20., 200.]]])
    """
    return conv_transpose("conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1) -> Tensor:
    """The transpose of conv2d, with a weight (C, O / groups, kH, kW): (N, C, H, W) → (N, O, H', W').

    y[n, o, p · stride - padding + t · dilation] += Σ w[c, o, t] x[n, c, p]; lengths as for `conv_transpose1d`.

    >>> fb.conv_transpose2d(fb.tensor([[[[1.0, 2.0]]]]), fb.tensor([[[[1.0, 10.0], [0.0, 5.0]]]]))
    tensor([[[[ 1., 12., 20.],
              [ 0.,  5., 10.]]]])
    """
    return conv_transpose("conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1) -> Tensor:
    """The transpose of conv3d, with a weight (C, O / groups, kD, kH, kW); lengths as for `conv_transpose1d`.

    >>> fb.conv_transpose3d(fb.tensor([2.0]).view(1, 1, 1, 1, 1), fb.ones(1, 1, 1, 2, 2)).squeeze()
    tensor([[2., 2.],
            [2., 2.]])
    """
    return conv_transpose("conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation)


__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
