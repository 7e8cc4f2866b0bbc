"""3x3 convolutions by minimal filtering: bits, errors no larger than the direct way's, and what isn't finite."""

import ctypes

import numpy as np
import pytest
from contractions import (
    channels_last,
    conv_problem,
    convolve,
    fma32,
    guarded,
    library,
    needs_cc,
    numbers,
    out_size,
    pointer,
    same,
)  # fmt: skip

import flambeau as fb
from flambeau.codegen import contraction, contraction_micro, contraction_winograd
from flambeau.codegen.contraction_winograd import of_patch, of_tile, of_window, to_tile, to_window
from flambeau.codegen.target import AVX2, TARGETS, host

pytestmark = needs_cc
F = fb.nn.functional
HOW = 1, (1, 1), (1, 1), (1, 1)


def winograd():
    lib = library()
    lib.fb_conv_winograd.argtypes = [ctypes.c_char_p, pointer, ctypes.c_int]
    for name in ("fb_conv_winograd_gradient", "fb_winograd_pays"):
        getattr(lib, name).argtypes = [ctypes.c_char_p, pointer]
    lib.fb_winograd_pays.argtypes = [pointer, ctypes.c_int]
    return lib


def filtered(x, w, gy, padding=(1, 1), last=False):
    """y and the gradients of x and w, by minimal filtering."""
    how = 1, (1, 1), padding, (1, 1)
    shape = (len(x), len(w), *out_size(x.shape[2:], (3, 3), *how[1:]))
    y, gx, gw = (np.full(s, np.nan, np.float32) for s in (shape, x.shape, w.shape))
    if last:
        x, w, gy, y, gx, gw = map(channels_last, (x, w, gy, y, gx, gw))
    lib, plan = winograd(), contraction_winograd.plan
    assert lib.fb_conv_winograd(plan("forward"), ctypes.byref(conv_problem(x, w, y, *how)), 0) == 0
    assert lib.fb_conv_winograd(plan("data"), ctypes.byref(conv_problem(gx, w, gy, *how)), 1) == 0
    assert lib.fb_conv_winograd_gradient(plan("weight"), ctypes.byref(conv_problem(x, gw, gy, *how))) == 0
    return y, gx, gw


def squares(x, top, left, rows, columns, size):
    """[size, size, n, c, ty, tx]: the squares of all tiles of a result of rows x columns."""
    down, across = -(-rows // 2), -(-columns // 2)
    beyond = [max(0, 2 * t + size - n) for t, n in ((down, x.shape[2]), (across, x.shape[3]))]
    padded = np.pad(x, ((0, 0), (0, 0), (top, beyond[0]), (left, beyond[1])))
    rows, columns = ([slice(a, a + 2 * count, 2) for a in range(size)] for count in (down, across))
    return np.array([[padded[:, :, row, column] for column in columns] for row in rows])


def both(transform, x):
    """T x Tᵀ, columns first, in float32 as the Kernels have it."""
    x = np.array(transform(tuple(x)))
    return np.swapaxes(np.array(transform(tuple(np.swapaxes(x, 0, 1)))), 0, 1)


def grouped(a, b, groups):
    """The sum over the last axis of a · b: groups of products in order, chains of 16 in order within one."""
    a, b = np.broadcast_arrays(a, b)
    total, at = np.zeros(a.shape[:-1], np.float32), 0
    for size in groups:
        group = np.zeros_like(total)
        for first in range(at, at + size, 16):
            chain = np.zeros_like(total)
            for k in range(first, min(first + 16, at + size)):
                chain = fma32(a[..., k], b[..., k], chain)
            group = group + chain
        total, at = total + group, at + size
    return total


def by_channels(x, w, rows, columns, top, left):
    """y of windows w [o, c, 3, 3], as contract.h says."""
    v = both(of_patch, squares(x, top, left, rows, columns, 4)).astype(np.float32)
    u = both(of_window, w.transpose(2, 3, 0, 1))
    channels = x.shape[1]
    groups = [min(64, channels - c) for c in range(0, channels, 64)]
    a = v.transpose(0, 1, 2, 4, 5, 3)[:, :, :, None]  # point n 1 ty tx c
    m = grouped(a, u[:, :, None, :, None, None, :], groups)
    y = both(to_tile, m)  # a b n o ty tx
    y = y.transpose(2, 3, 4, 0, 5, 1).reshape(len(x), len(w), 2 * m.shape[4], 2 * m.shape[5])
    return y[:, :, :rows, :columns]


def by_tiles(x, gy, padding):
    """The windows' gradient: tiles in pieces of at most 64 columns, groups of whole rows of these."""
    v = both(of_patch, squares(x, *padding, *gy.shape[2:], 4))
    g = both(of_tile, squares(gy, 0, 0, *gy.shape[2:], 2))
    across = v.shape[-1]
    piece = -(-across // -(-across // 64))
    strips = [(n, ty, tx) for n in range(len(x)) for tx in range(0, across, piece) for ty in range(v.shape[-2])]
    each, widths = 64 // piece, [min(piece, across - tx) for _, _, tx in strips]
    groups = [sum(widths[i : i + each]) for i in range(0, len(widths), each)]
    v, g = (
        np.concatenate([z[:, :, n, :, ty, tx : tx + piece] for n, ty, tx in strips], axis=-1) for z in (v, g)
    )  # point c tile
    return both(to_window, grouped(g[:, :, :, None], v[:, :, None], groups)).transpose(2, 3, 0, 1)


def meant(x, w, gy, padding=(1, 1)):
    back = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    return (
        by_channels(x, w, *gy.shape[2:], *padding),
        by_channels(gy, back, *x.shape[2:], 2 - padding[0], 2 - padding[1]),
        by_tiles(x, gy, padding),
    )


def operands(batch, channels, outputs, size, padding=(1, 1)):
    out = out_size(size, (3, 3), (1, 1), padding, (1, 1))
    return (
        numbers((batch, channels, *size)), numbers((outputs, channels, 3, 3), seed=1),
        numbers((batch, outputs, *out), seed=5),
    )  # fmt: skip


CASES = [
    (2, 20, 35, (8, 6), (1, 1)),
    (1, 70, 18, (5, 7), (0, 2)),
    (3, 16, 33, (3, 4), (2, 0)),
    (2, 5, 3, (1, 1), (1, 1)),
    (1, 17, 130, (40, 9), (1, 1)),
    (1, 3, 2, (4, 137), (1, 1)),
    (40, 16, 16, (7, 9), (1, 1)),
    (0, 16, 16, (7, 9), (1, 1)),
]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("batch, channels, outputs, size, padding", CASES)
def test_bits_are_those_that_are_meant(batch, channels, outputs, size, padding, last):
    x, w, gy = operands(batch, channels, outputs, size, padding)
    if not batch:
        assert not filtered(x, w, gy, padding, last)[2].any()
        return
    for got, exact in zip(filtered(x, w, gy, padding, last), meant(x, w, gy, padding), strict=True):
        same(got, exact)


def test_targets_agree(monkeypatch):
    x, w, gy = operands(3, 70, 50, (11, 9))
    here = filtered(x, w, gy)
    if not host().name.startswith("x86-64"):
        pytest.skip("runs x86 code")
    for module in (contraction, contraction_winograd):
        monkeypatch.setattr(module, "host", lambda: AVX2)
    caches = contraction.plan, contraction.micro_kernel, contraction.pack_kernel
    caches += contraction_winograd.plan, contraction_winograd.chains
    for cached in caches:
        cached.cache_clear()
    try:
        for got, exact in zip(filtered(x, w, gy), here, strict=True):
            same(got, exact)
    finally:
        for cached in caches:
            cached.cache_clear()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_target_has_the_kernel(target):
    from flambeau.codegen import native

    assert len(native.compile(contraction_micro.render("f32", target, chain=16), target)) > 200


def errors(got, exact):
    difference = np.abs(got - exact)
    return difference.max(), np.sqrt(np.square(difference).mean())


@pytest.mark.parametrize("channels, side, batch", [(64, 28, 2), (128, 14, 2), (256, 14, 1), (512, 7, 6), (512, 4, 16)])
def test_errors_are_no_larger_than_the_direct_ways(channels, side, batch):
    """On normal numbers, against float64; PyTorch's direct way errs by 6.2e-7 √channels (4x4: 5.4e-7)."""
    outputs = 32
    x, w, gy = operands(batch, channels, outputs, (side, side))
    padded, exact, gradient = np.pad(x.astype(float), ((0, 0), (0, 0), (1, 1), (1, 1))), 0, np.zeros(w.shape)
    for i, j in np.ndindex(3, 3):
        part = padded[:, :, i : i + side, j : j + side]
        exact = exact + np.einsum("nchw,oc->nohw", part, w[:, :, i, j].astype(float), optimize=True)
        gradient[:, :, i, j] = np.einsum("nohw,nchw->oc", gy.astype(float), part, optimize=True)
    found, direct = filtered(x, w, gy), convolve(contraction.plan("f32"), x, w, *HOW, gy)
    for got, other, ideal in ((found[0], direct[0], exact), (found[2], direct[2], gradient)):
        most, rms = errors(got, ideal)
        assert most <= errors(other, ideal)[0] and rms <= errors(other, ideal)[1]
    assert errors(found[0], exact)[1] <= (6.2e-7 if side > 4 else 5.4e-7) * np.sqrt(channels)


def through(x, w, gy, bias=None, **how):
    """The same by the public way, which chooses."""
    x, w = fb.tensor(x).requires_grad_(), fb.tensor(w).requires_grad_()
    y = F.conv2d(x, w, None if bias is None else fb.tensor(bias), padding=1, **how)
    return [v.numpy() for v in (y.detach(), *fb.autograd.grad(y, (x, w), fb.tensor(gy)))]


def test_the_choice_follows_from_shapes():
    lib = winograd()

    def pays(batch, channels, outputs, side, gradient=False, padding=1):
        how = 1, (1, 1), (padding, padding), (1, 1)
        out = out_size((side, side), (3, 3), *how[1:])
        shapes = (batch, channels, side, side), (outputs, channels, 3, 3), (batch, outputs, *out)
        x, w, y = (np.empty(shape, np.float32) for shape in shapes)
        return bool(lib.fb_winograd_pays(ctypes.byref(conv_problem(x, w, y, *how)), gradient))

    for channels, side in ((64, 56), (128, 28), (256, 14), (512, 7), (64, 32), (512, 4)):
        assert all(pays(batch, channels, channels, side) for batch in (1, 2, 32))
        assert pays(32, channels, channels, side, gradient=True)
    for direct in ((8, 3, 64, 32), (8, 64, 8, 32), (8, 64, 64, 3), (8, 64, 64, 16, False, 3), (1, 512, 512, 4, True)):
        assert not pays(*direct)
    x, w, gy = operands(2, 32, 32, (12, 12))
    for got, exact in zip(through(x, w, gy), filtered(x, w, gy), strict=True):
        same(got, exact)


def test_neither_threads_nor_batch_nor_layout_show():
    x, w, gy = operands(7, 72, 72, (15, 18))
    bias = numbers(72, seed=9)
    before = fb.get_num_threads()
    try:
        fb.set_num_threads(1)
        alone = through(x, w, gy, bias)
        for threads in (2, 3, 4, 7):
            fb.set_num_threads(threads)
            for got, exact in zip(through(x, w, gy, bias), alone, strict=True):
                same(got, exact)
    finally:
        fb.set_num_threads(before)
    for image in (0, 6):
        y, gx, _ = through(x[image : image + 1], w, gy[image : image + 1], bias)
        same(y, alone[0][image : image + 1])
        same(gx, alone[1][image : image + 1])
    for last in (channels_last(x), channels_last(gy)), (x[:, ::-1][:, ::-1], channels_last(gy)):
        for got, exact in zip(through(last[0], channels_last(w), last[1], bias), alone, strict=True):
            same(got, exact)
    many = np.concatenate([x] * 9)  # tiles, then, come first
    same(through(many, w, np.concatenate([gy] * 9), bias)[0][-7:], alone[0])


def test_spans_do_not_show():
    """Windows of more than 8 MB, then tiles go by spans; gradients' spans are shorter."""
    x, w, gy = operands(17, 380, 380, (7, 9))
    y, gx, _ = filtered(x, w, gy)
    for image in (0, 16):
        one, back, _ = filtered(x[image : image + 1], w, gy[image : image + 1])
        same(y[image : image + 1], one)
        same(gx[image : image + 1], back)


def test_bias_comes_last():
    x, w, gy = operands(2, 32, 40, (9, 12))
    bias = numbers(80, seed=9)
    expected = filtered(x, w, gy)[0] + bias[::2, None, None]
    same(through(x, w, gy, bias[::2])[0], expected)
    same(through(channels_last(x), w, gy, bias[::2])[0], expected)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
@pytest.mark.parametrize("last", [False, True])
def test_what_is_not_finite_stays_where_it_is_met(value, last):
    x, w, gy = operands(2, 20, 24, (12, 11))
    clean, direct = filtered(x, w, gy), convolve(contraction.plan("f32"), x, w, *HOW, gy)
    x[1, 3, 5, 6], gy[0, 7, 0, 0] = value, value
    w[:, 3, 1, 1] *= 8  # 3e38 overflows there
    clean = filtered(np.where(np.abs(x) < 1e30, x, 0), w, np.where(np.abs(gy) < 1e30, gy, 0))
    with np.errstate(invalid="ignore"):
        direct = convolve(contraction.plan("f32"), x, w, *HOW, gy)
        found = filtered(x, w, gy, last=last)
    for got, other in zip(found, direct, strict=True):
        same(np.isnan(got), np.isnan(other))
        same(np.isinf(got), np.isinf(other))
        same(got[~np.isfinite(got)], other[~np.isfinite(other)])
    # Tiles that don't meet it are as they were: here those of other images, and beyond the patch.
    y, gx, _ = found
    same(y[0], clean[0][0])
    same(y[1, :, 8:], clean[0][1, :, 8:])
    same(gx[1], clean[1][1])
    same(gx[0, :, 2:], clean[1][0, :, 2:])
    # Where it is met the elements of its tile that are finite are the direct way's.
    assert np.isfinite(y).sum() == np.isfinite(direct[0]).sum() < y.size


def test_an_infinite_weight():
    x, w, gy = operands(2, 20, 24, (12, 11))
    w[5, 2, 0, 1] = np.inf
    direct, found = convolve(contraction.plan("f32"), x, w, *HOW, gy), filtered(x, w, gy)
    same(found[0][:, 5], direct[0][:, 5])
    same(found[1][:, 2], direct[1][:, 2])
    assert np.isfinite(np.delete(found[0], 5, 1)).all()


def test_nothing_beyond_the_operands_is_read():
    x, w, gy = (guarded(v) for v in operands(2, 18, 34, (7, 9)))
    for got, exact in zip(filtered(x, w, gy), meant(x, w, gy), strict=True):
        same(got, exact)


def test_gradients_of_gradients():
    """A step through float32 twice, against the same in float64, which is computed directly."""
    x, w, gy = operands(2, 24, 20, (14, 14))
    results = []
    for dtype in (fb.float32, fb.float64):
        a, b, g = (fb.tensor(v).to(dtype).requires_grad_() for v in (x, w, gy))
        first = fb.autograd.grad(F.conv2d(a, b, padding=1), (a, b), g, create_graph=True)
        second = fb.autograd.grad(first[0].square().sum() + first[1].square().sum(), (a, b, g))
        results.append([v.detach().double().numpy() for v in (*first, *second)])
    for single, double in zip(*results, strict=True):
        np.testing.assert_allclose(single, double, atol=2e-6 * np.abs(double).max())
