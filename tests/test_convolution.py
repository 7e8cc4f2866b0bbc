"""Convolutions, forward and both gradients: against float64 loops, and bit for bit against the canonical order."""

import ctypes

import numpy as np
import pytest
from contractions import (
    canonical,
    canonical_lanes,
    channels_last,
    conv_problem,
    convolve,
    guarded,
    library,
    needs_cc,
    numbers,
    out_size,
    plain,
    same,
)  # fmt: skip
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.codegen import contraction

pytestmark = needs_cc


def reference(x, w, gy, groups, stride, padding, dilation):
    """The same in float64, tap by tap."""
    x, w, gy = (v.astype(np.float64) for v in (x, w, gy))
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    y, gx, gw = np.zeros(gy.shape), np.zeros(padded.shape), np.zeros(w.shape)
    o, c = w.shape[0] // groups, w.shape[1]
    for g, i, j in np.ndindex(groups, *w.shape[2:]):
        rows, columns = (
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip((i, j), dilation, gy.shape[2:], stride, strict=True)
        )
        at, out = (slice(None), slice(g * c, g * c + c), rows, columns), slice(g * o, g * o + o)
        y[:, out] += np.einsum("nchw,oc->nohw", padded[at], w[out, :, i, j])
        gx[at] += np.einsum("nohw,oc->nchw", gy[:, out], w[out, :, i, j])
        gw[out, :, i, j] = np.einsum("nohw,nchw->oc", gy[:, out], padded[at])
    h, v = (slice(p, p + n) for p, n in zip(padding, x.shape[2:], strict=True))
    return y, gx[:, :, h, v], gw


def strided(dtype, stride):
    """The plans of the three contractions, with what they have for strides."""
    copy = contraction.plan(dtype, window=contraction.Window("copy", (1, 1), stride, (1, 1)))
    weave = contraction.plan(dtype, window=contraction.Window("weave", (1, 1), (1, 2), (1, 1)))
    return copy, weave, copy


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    kernel, stride, dilation = (tuple(draw(st.integers(1, most)) for _ in "hw") for most in (4, 3, 2))
    padding = tuple(draw(st.integers(0, 3)) for _ in "hw")
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding, strict=True)]
    size = tuple(draw(st.integers(n, 17)) for n in least)
    x = numbers((draw(st.sampled_from([0, 1, 2, 3, 8, 19])), groups * draw(st.integers(1, 5)), *size))
    w = numbers((groups * draw(st.sampled_from([1, 2, 3, 16, 17, 40])), x.shape[1] // groups, *kernel), seed=1)
    return x, w, groups, stride, padding, dilation


@settings(max_examples=120, deadline=None)
@given(convolutions(), st.booleans())
def test_convolutions(case, last):
    x, w, *how = case
    shape = (x.shape[0], w.shape[0], *out_size(x.shape[2:], w.shape[2:], *how[1:]))
    gy = numbers(shape, seed=5)
    results = convolve(strided("f32", how[1]), x, w, *how, last=last)
    meant = convolve(plain(), x, w, *how)
    for got, expected, exact in zip(results, reference(x, w, gy, *how), meant, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-3)
        same(got, exact)


def test_convolutions_follow_the_canonical_order():
    """Forward sums over (c, taps), the data gradient over (o, taps), the weight gradient over (n, positions)."""
    x, w, gy = numbers((3, 30, 10, 11)), numbers((17, 30, 3, 3), seed=1), numbers((3, 17, 10, 11), seed=5)
    y, gx, gw = convolve(contraction.plan("f32"), x, w, 1, (1, 1), (1, 1), (1, 1), gy)

    def windows(v):
        padded = np.pad(v, ((0, 0), (0, 0), (1, 1), (1, 1)))
        return np.stack([padded[:, :, i : i + 10, j : j + 11] for i in range(3) for j in range(3)], axis=-1)

    columns = windows(x)  # n c h w t
    flat = columns[0, :, 4:6, 5:7].transpose(1, 2, 0, 3).reshape(2, 2, 1, -1)
    same(y[0, :, 4:6, 5:7], canonical(flat, w.reshape(17, -1)).transpose(2, 0, 1))
    # Tap t of w meets what stands at tap 8 - t of the window: 3x3, padded by one on each side.
    flat = windows(gy)[1, :, :2, 9:, ::-1].transpose(1, 2, 0, 3).reshape(2, 2, 1, -1)
    same(gx[1, :, :2, 9:], canonical(flat, w.transpose(1, 0, 2, 3).reshape(30, -1)).transpose(2, 0, 1))
    positions = columns.transpose(1, 4, 0, 2, 3).reshape(1, 270, -1)
    same(gw[:2].reshape(2, 270), canonical(gy.transpose(1, 0, 2, 3).reshape(17, 1, -1)[:2], positions))


@pytest.mark.parametrize("channels, out_channels", [(30, 40), (5, 3), (3, 33)])
@pytest.mark.parametrize("values", ["usual", "tiny", "infinite"])
def test_taps_outside_small_images_change_nothing(channels, out_channels, values):
    """Many small images: what is left out there are products with 0, unless a weight is infinite."""
    x, w, gy = numbers((37, channels, 5, 6)), numbers((out_channels, channels, 3, 3), seed=1), None
    if values == "tiny":
        x, w = x * np.float32(1e-30), w * np.float32(1e-20)
    if values == "infinite":
        w[-1, -1, 0, 2] = np.inf
    gy = numbers((37, out_channels, 5, 6), seed=5)
    if values == "tiny":
        gy *= np.float32(1e-30)

    def windows(v):
        padded = np.pad(v, ((0, 0), (0, 0), (1, 1), (1, 1)))
        taps = [padded[:, :, i : i + 5, j : j + 6] for i in range(3) for j in range(3)]
        return np.stack(taps, axis=-1)  # n c h w t

    with np.errstate(invalid="ignore"):
        flat = windows(x).transpose(0, 2, 3, 1, 4).reshape(37, 1, 5, 6, -1)
        forward = canonical(flat, w.reshape(out_channels, 1, 1, -1))
        flat = windows(gy)[..., ::-1].transpose(0, 2, 3, 1, 4).reshape(37, 1, 5, 6, -1)
        data = canonical(flat, w.transpose(1, 0, 2, 3).reshape(channels, 1, 1, -1))
        positions = windows(x).transpose(1, 4, 0, 2, 3).reshape(1, channels * 9, -1)
        weight = canonical(gy.transpose(1, 0, 2, 3).reshape(out_channels, 1, -1), positions)
    for plan in (contraction.plan("f32"), plain()):
        y, gx, gw = convolve(plan, x, w, 1, (1, 1), (1, 1), (1, 1), gy)
        same(y, forward)
        same(gx, data)
        same(gw.reshape(out_channels, -1), weight)


@pytest.mark.parametrize("dtype, last", [("f32", False), ("f32", True), ("f16", False)])
@pytest.mark.parametrize(
    "batch, groups, size, kernel, stride, padding, dilation",
    [
        (1, 1, (7, 7), (3, 3), (1, 1), (1, 1), (1, 1)),
        (3, 1, (7, 7), (3, 3), (1, 1), (1, 1), (1, 1)),
        (1, 2, (13, 11), (3, 3), (2, 2), (1, 2), (2, 1)),
        (1, 1, (9, 9), (3, 3), (2, 1), (0, 1), (1, 1)),
        (1, 1, (6, 5), (1, 1), (1, 1), (0, 0), (1, 1)),
        (2, 1, (9, 9), (1, 1), (2, 2), (0, 0), (1, 1)),
    ],
)
def test_few_positions_and_many_weights(batch, groups, size, kernel, stride, padding, dilation, dtype, last):
    """Where the weights of some channels alone are few: the same bits, another way."""
    taps, how = kernel[0] * kernel[1], (stride, padding, dilation)
    x = numbers((batch, groups * (130 if taps > 1 else 1100), *size), dtype)
    # A phase of a strided data gradient has some of the taps, hence more channels.
    channels = 300 if stride != (1, 1) else 97
    w = numbers((groups * channels, x.shape[1] // groups, *kernel), dtype, 1)
    gy = numbers((batch, len(w), *out_size(size, kernel, *how)), dtype, 5)
    results = convolve(strided(dtype, stride), x, w, groups, *how, gy, last)
    bound = 0.3 if dtype == "f16" else 3e-3
    for got, expected in zip(results, reference(x, w, gy, groups, *how), strict=True):
        np.testing.assert_allclose(got, expected, atol=bound, rtol=bound)
    y, gx, _ = results
    inputs = slice(x.shape[1] // groups)
    same(y[:, :20], convolve(contraction.plan(dtype), x[:, inputs], w[:20], 1, *how)[0])
    same(gx[:, :20], convolve(contraction.plan(dtype), x[:, :20], w[:channels, :20], 1, *how, gy[:, :channels])[1])


def depthwise(dtype, w, stride, dilation):
    """The plans of the three contractions, with their kernels."""
    kinds = [contraction.Window(kind, w.shape[2:], stride, dilation) for kind in ("forward", "data", "weight")]
    return tuple(contraction.plan(dtype, window=kind) for kind in kinds)


@st.composite
def depthwise_convolutions(draw):
    kernel = draw(st.sampled_from([(3, 3), (1, 1), (1, 4), (2, 5), (7, 2)]))
    stride = draw(st.sampled_from([(1, 1), (2, 2), (3, 3), (1, 2)]))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 3)]))
    padding = tuple(draw(st.integers(0, 4)) for _ in "hw")
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding, strict=True)]
    size = tuple(draw(st.integers(n, n + most)) for n, most in zip(least, (11, 70), strict=True))
    channels = draw(st.sampled_from([1, 2, 17]))
    x = numbers((draw(st.sampled_from([0, 1, 3])), channels, *size))
    return x, numbers((channels, 1, *kernel), seed=1), channels, stride, padding, dilation


@settings(max_examples=60, deadline=None)
@given(depthwise_convolutions(), st.booleans())
def test_depthwise_convolutions(case, last):
    x, w, channels, stride, padding, dilation = case
    how = channels, stride, padding, dilation
    gy = numbers((len(x), channels, *out_size(x.shape[2:], w.shape[2:], *how[1:])), seed=5)
    results = convolve(depthwise("f32", w, stride, dilation), x, w, *how, last=last)
    meant = convolve(plain(), x, w, *how)
    for got, expected, exact in zip(results, reference(x, w, gy, *how), meant, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-3)
        same(got, exact)


@pytest.mark.parametrize("width, height", [(7, 5), (40, 100), (4200, 2)])
@pytest.mark.parametrize("values", ["usual", "tiny", "infinite"])
def test_depthwise_weight_gradients_follow_the_canonical_order(width, height, values):
    x, gy = numbers((2, 3, height, width)), numbers((2, 3, height, width), seed=5)
    w = numbers((3, 1, 3, 3), seed=1)
    if values == "tiny":
        x, gy = x * np.float32(1e-25), gy * np.float32(1e-20)
    if values == "infinite":
        x[0, 1, 2 % height, 3], gy[1, 2, 0, 0] = np.inf, -np.inf
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.stack([padded[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=-1)
    how = 3, (1, 1), (1, 1), (1, 1)
    with np.errstate(invalid="ignore"):
        expected = canonical_lanes(gy, windows)
    for plan in (depthwise("f32", w, (1, 1), (1, 1)), plain()):
        same(convolve(plan, x, w, *how, gy)[2].reshape(3, 9), expected)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", ["f64", "f16"])
def test_depthwise_convolutions_of_other_dtypes(dtype, last):
    x, w = numbers((2, 20, 9, 21), dtype), numbers((20, 1, 3, 3), dtype, 1)
    how = 20, (2, 2), (1, 1), (1, 1)
    gy = numbers((2, 20, 5, 11), dtype, 5)
    results = convolve(depthwise(dtype, w, (2, 2), (1, 1)), x, w, *how, gy, last)
    # Without the window's kernel.
    for got, meant in zip(results, convolve(contraction.plan(dtype), x, w, *how, gy), strict=True):
        same(got, meant)
    bound = 1e-2 if dtype == "f16" else 1e-12
    for got, expected in zip(results, reference(x, w, gy, *how), strict=True):
        np.testing.assert_allclose(got, expected, rtol=bound, atol=bound)


@pytest.mark.parametrize("last", [False, True])
def test_bias_of_a_depthwise_convolution(last):
    x, w, bias = numbers((2, 20, 9, 9)), numbers((20, 1, 3, 3), seed=1), numbers(20, seed=2)
    y = np.empty((2, 20, 9, 9), np.float32)
    how = 20, (1, 1), (1, 1), (1, 1)
    if last:
        x, y = channels_last(x), channels_last(y)
    plan = contraction.plan("f32", None, "rows", True, contraction.Window("forward", (3, 3), (1, 1), (1, 1)))
    assert library().fb_conv(plan, ctypes.byref(conv_problem(x, w, y, *how, bias))) == 0
    same(y, convolve(plain(), x, w, *how)[0] + bias[:, None, None])


def test_depthwise_convolutions_read_nothing_beyond_their_planes():
    x, w, gy = guarded(numbers((1, 2, 5, 21))), numbers((2, 1, 3, 3), seed=1), guarded(numbers((1, 2, 3, 11), seed=5))
    how = 2, (2, 2), (1, 1), (1, 1)
    for got, exact in zip(convolve(depthwise("f32", w, (2, 2), (1, 1)), x, w, *how, gy),
                          convolve(plain(), x, w, *how, gy), strict=True):  # fmt: skip
        same(got, exact)


def test_bias_of_a_convolution():
    x, w, bias = numbers((2, 3, 9, 9)), numbers((20, 3, 3, 3), seed=1), numbers(20, seed=2)
    y = np.empty((2, 20, 7, 7), np.float32)
    how = 1, (1, 1), (0, 0), (1, 1)
    plan = contraction.plan("f32", None, "rows")
    assert library().fb_conv(plan, ctypes.byref(conv_problem(x, w, y, *how, bias))) == 0
    same(y, convolve(contraction.plan("f32"), x, w, *how)[0] + bias[:, None, None])
    many = numbers((40, 3, 5, 5))
    y = np.empty((40, 20, 5, 5), np.float32)
    padded = 1, (1, 1), (1, 1), (1, 1)
    assert library().fb_conv(plan, ctypes.byref(conv_problem(many, w, y, *padded, bias))) == 0
    same(y, convolve(contraction.plan("f32"), many, w, *padded)[0] + bias[:, None, None])
    y = np.empty((2, 20, 7, 7), np.float32)
    assert library().fb_conv(plan, ctypes.byref(conv_problem(x, w, y, *how, bias))) == 0
    spread = channels_last(np.empty_like(y))
    assert library().fb_conv(plan, ctypes.byref(conv_problem(x, w, spread, *how, bias))) == 0
    same(spread, y)


@pytest.mark.parametrize("stride, kernel", [((2, 2), (1, 1)), ((1, 2), (3, 3)), ((2, 2), (7, 7))])
def test_strided_convolutions_write_whole_rows(stride, kernel):
    """Large enough for several bands and tasks; a bias where no tap meets; nothing beyond the operands."""
    x, w = guarded(numbers((2, 24, 30, 29))), numbers((40, 24, *kernel), seed=1)
    padding = tuple(k // 2 for k in kernel)
    how = 1, stride, padding, (1, 1)
    gy = guarded(numbers((2, 40, *out_size((30, 29), kernel, *how[1:])), seed=5))
    results = convolve(strided("f32", stride), x, w, *how, gy)
    for got, exact in zip(results, convolve(contraction.plan("f32"), x, w, *how, gy), strict=True):
        same(got, exact)
    bias, gx = numbers(24, seed=2), np.empty_like(x)
    plan = contraction.plan("f32", None, "rows", True, contraction.Window("weave", (1, 1), (1, 2), (1, 1)))
    assert library().fb_conv_data_gradient(plan, ctypes.byref(conv_problem(gx, w, gy, *how, bias))) == 0
    same(gx, results[1] + bias[:, None, None])


@pytest.mark.parametrize("last", [False, True])
def test_strided_half_precision_convolutions(last):
    x, w = numbers((2, 6, 9, 70), "f16"), numbers((20, 6, 3, 3), "f16", 1)
    how = 1, (2, 2), (1, 0), (1, 1)
    gy = numbers((2, 20, *out_size((9, 70), (3, 3), *how[1:])), "f16", 5)
    results = convolve(strided("f16", (2, 2)), x, w, *how, gy, last)
    for got, exact in zip(results, convolve(contraction.plan("f16"), x, w, *how, gy), strict=True):
        same(got, exact)


@pytest.mark.parametrize("last", [False, True])
def test_half_precision_convolutions(last):
    x, w = numbers((2, 6, 9, 10), "f16"), numbers((20, 3, 3, 2), "f16", 1)
    how = 2, (2, 1), (1, 0), (1, 2)
    gy = numbers((2, 20, *out_size((9, 10), (3, 2), *how[1:])), seed=5).astype(np.float16)
    exact = convolve(plain(), x.astype(np.float32), w.astype(np.float32), *how, gy.astype(np.float32))
    for got, expected in zip(convolve(contraction.plan("f16"), x, w, *how, gy, last), exact, strict=True):
        np.testing.assert_array_equal(got, expected.astype(np.float16))


@pytest.mark.parametrize("size, weights", [((6, 20, 20), (16, 6, 5, 5)), ((130, 7, 7), (97, 130, 3, 3))])
def test_convolutions_know_neither_threads_nor_batch(size, weights):
    x, w = numbers((9, *size)), numbers(weights, seed=1)
    how = 1, (1, 1), (weights[-1] // 2,) * 2, (1, 1)
    library().fb_set_num_threads(1)
    alone = convolve(contraction.plan("f32"), x, w, *how)
    for threads in (2, 3, 4, 7):
        library().fb_set_num_threads(threads)
        for one, other in zip(alone, convolve(contraction.plan("f32"), x, w, *how), strict=True):
            same(one, other)
    gy = numbers(alone[0].shape, seed=5)
    y, gx, _ = convolve(contraction.plan("f32"), x[4:5], w, *how, gy[4:5])
    same(y, alone[0][4:5])
    same(gx, alone[1][4:5])


def test_depthwise_and_strided_convolutions_know_neither_threads_nor_batch():
    x, deep, mixing = numbers((5, 24, 40, 37)), numbers((24, 1, 3, 3), seed=1), numbers((24, 24, 3, 3), seed=1)
    for w, groups, plans in (
        (deep, 24, depthwise("f32", deep, (2, 2), (1, 1))), (mixing, 1, strided("f32", (2, 2))),
    ):  # fmt: skip
        how = groups, (2, 2), (1, 1), (1, 1)
        library().fb_set_num_threads(1)
        alone = convolve(plans, x, w, *how)
        for threads in (2, 3, 5):
            library().fb_set_num_threads(threads)
            for one, other in zip(alone, convolve(plans, x, w, *how), strict=True):
                same(one, other)
        gy = numbers(alone[0].shape, seed=5)
        y, gx, _ = convolve(plans, x[3:4], w, *how, gy[3:4])
        same(y, alone[0][3:4])
        same(gx, alone[1][3:4])
