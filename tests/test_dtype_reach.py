"""Dtypes that operations reach beside float32: complex logarithms of sums, convolutions and ranges; small integers."""

import math

import numpy as np
import pytest
from scipy import signal

import flambeau as fb
from flambeau.nn import functional as F

COMPLEX = [fb.complex64, fb.complex128]
INTEGERS = [fb.uint8, fb.int8, fb.int16, fb.int32, fb.int64]
HALVES = [fb.float16, fb.bfloat16]


def drawn(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return fb.from_numpy(rng.normal(size=shape) + 1j * rng.normal(size=shape)).to(dtype)


def close(found, expected, dtype):
    limit = 2e-5 if dtype is fb.complex64 else 1e-12
    np.testing.assert_allclose(found.numpy(), expected, rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", COMPLEX, ids=str)
def test_logarithms_of_sums_of_complex_exponentials(dtype):
    x, y = drawn((3, 5), dtype) * 3, drawn((3, 5), dtype, 1) * 3
    a, b = x.numpy().astype(complex), y.numpy().astype(complex)
    # The imaginary part is one of many; exponentials tell.
    close(fb.logaddexp(x, y).exp(), np.exp(a) + np.exp(b), dtype)
    close(fb.logsumexp(x, 1), np.log(np.exp(a).sum(1)), dtype)
    close(fb.logsumexp(x, (0, 1), keepdim=True), np.log(np.exp(a).sum(keepdims=True)), dtype)
    for dim in (0, 1):
        close(fb.logcumsumexp(x, dim).exp(), np.exp(a).cumsum(dim), dtype)
    # Large real parts, whose exponentials overflow.
    for shifted, expected in (
        (fb.logaddexp(x + 512, y + 512), np.exp(a) + np.exp(b)),
        (fb.logsumexp(x + 512, 1), np.exp(a).sum(1)),
        (fb.logcumsumexp(x + 512, 1), np.exp(a).cumsum(1)),
    ):
        limit = 1e-3 if dtype is fb.complex64 else 1e-11
        np.testing.assert_allclose((shifted - 512).exp().numpy(), expected, rtol=limit, atol=limit)


def test_gradients_of_logarithms_of_sums():
    x, y = drawn((2, 4), fb.complex128).requires_grad_(), drawn((2, 4), fb.complex128, 1).requires_grad_()
    assert fb.autograd.gradcheck(fb.logaddexp, (x, y))
    assert fb.autograd.gradcheck(lambda t: fb.logsumexp(t, 1), (x,))
    assert fb.autograd.gradcheck(lambda t: fb.logcumsumexp(t, 1), (x,))


def test_infinite_parts_of_logaddexp():
    low, high = complex(-math.inf, 0), complex(math.inf, 0)
    found = fb.logaddexp(fb.tensor([low, low, high]), fb.tensor([low, 1 + 1j, 1 + 1j])).numpy()
    assert found[0].real == -math.inf and found[2].real == math.inf
    np.testing.assert_allclose(found[1], 1 + 1j, rtol=1e-6)


@pytest.mark.parametrize("dtype", COMPLEX, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_complex_convolutions(n, dtype):
    x, w, b = drawn((1, 2, *(6, 5, 4)[:n]), dtype), drawn((3, 2, *(3, 2, 2)[:n]), dtype, 1), drawn((3,), dtype, 2)
    given, weight = x.numpy().astype(complex)[0], w.numpy().astype(complex)
    # scipy's correlate conjugates its second argument.
    expected = [sum(signal.correlate(c, k.conj(), "valid") for c, k in zip(given, ks, strict=True)) for ks in weight]
    expected = np.stack(expected) + b.numpy().reshape((3,) + (1,) * n)
    close(getattr(F, f"conv{n}d")(x, w, b)[0], expected, dtype)
    close(getattr(F, f"conv{n}d")(x[0], w, b), expected, dtype)
    full = [sum(signal.convolve(c, k, "full") for c, k in zip(given, ks, strict=True)) for ks in weight]
    close(getattr(F, f"conv_transpose{n}d")(x, w.transpose(0, 1))[0], np.stack(full), dtype)


def test_gradient_of_complex_convolution():
    x, w = drawn((1, 2, 5), fb.complex128).requires_grad_(), drawn((3, 2, 2), fb.complex128, 1).requires_grad_()
    assert fb.autograd.gradcheck(lambda a, b: F.conv1d(a, b, stride=2, padding=1), (x, w))


def test_complex_ranges():
    assert fb.linspace(0, 1j, 3).dtype is fb.complex64
    close(fb.linspace(1, 2 + 1j, 5, dtype=fb.complex128), np.linspace(1, 2 + 1j, 5), fb.complex128)
    close(fb.linspace(fb.tensor(1 + 1j), 2, 4), np.linspace(1 + 1j, 2, 4), fb.complex64)
    close(fb.logspace(1, 2 + 1j, 5, dtype=fb.complex128), 10 ** np.linspace(1, 2 + 1j, 5), fb.complex128)
    assert fb.linspace(1j, 2, 1).tolist() == [1j] and fb.linspace(0, 1j, 0).numel() == 0
    with pytest.raises(RuntimeError, match="complex dtype"):
        fb.linspace(0, 1j, 3, dtype=fb.float32)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_products_of_integers_keep_their_dtype(dtype):
    x = np.arange(6).reshape(2, 3).astype(dtype.name)
    a = fb.from_numpy(x)
    for found, expected in (
        (a[0] @ a[1], x[0] @ x[1]),
        (fb.dot(a[0], a[1]), x[0] @ x[1]),
        (fb.einsum("ij,ij->i", a, a), np.einsum("ij,ij->i", x, x)),
        (fb.einsum("ij->", a), x.sum(dtype=x.dtype)),
        (fb.addbmm(a[:, :2] * 0, a.unsqueeze(0), a.t().unsqueeze(0)), x @ x.T),
    ):
        assert found.dtype is dtype
        np.testing.assert_array_equal(found.numpy(), expected)
    assert fb.vander(a[0]).dtype is fb.int64


def test_truth_of_uint8_is_uint8():
    x = fb.tensor([[0, 3], [0, 0]], dtype=fb.uint8)
    assert x.any(1).dtype is fb.uint8 and x.any(1).tolist() == [1, 0] and x.all().dtype is fb.uint8
    assert x.int().any().dtype is fb.bool


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_halves_reach_what_numpy_and_lapack_lack(dtype):
    x = fb.tensor([0.75, -3.5, 0.0, 1024.0], dtype=dtype)
    mantissa, exponent = fb.frexp(x)
    assert mantissa.dtype is dtype and exponent.dtype is fb.int32
    expected = np.frexp(x.float().numpy())
    assert mantissa.tolist() == expected[0].tolist() and exponent.tolist() == expected[1].tolist()
    assert fb.matrix_exp(fb.zeros(2, 2, dtype=dtype)).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("dtype", [fb.bool, *INTEGERS], ids=str)
def test_norms_refuse_integers(dtype):
    x = fb.ones(2, 4, 3).to(dtype)
    for call in (
        lambda: F.layer_norm(x, (3,)),
        lambda: F.rms_norm(x, (3,)),
        lambda: F.group_norm(x, 2),
        lambda: F.batch_norm(x, None, None, training=True),
    ):
        with pytest.raises(NotImplementedError, match="takes floating tensors"):
            call()


def smoothed(x, out, kernel, reach):
    """Each output is the mean of the inputs within reach of its centre, weighted by the kernel stretched to fit."""
    size, y = len(x), np.empty(out)
    step = size / out
    stretch = max(step, 1)
    for i in range(out):
        centre = (i + 0.5) * step
        first, last = max(int(centre - reach * stretch + 0.5), 0), min(int(centre + reach * stretch + 0.5), size)
        weights = np.array([kernel(abs(j + 0.5 - centre) / stretch) for j in range(first, last)])
        y[i] = weights @ x[first:last] / weights.sum()
    return y


def keys(s, a=-0.5):
    if s < 1:
        return ((a + 2) * s - (a + 3)) * s * s + 1
    return ((a * s - 5 * a) * s + 8 * a) * s - 4 * a if s < 2 else 0.0


@pytest.mark.parametrize("size", [(4, 9), (13, 3), (1, 1)])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_antialiased_interpolation(mode, size):
    x = np.random.default_rng(0).normal(size=(1, 2, 9, 7))
    kernel, reach = (lambda s: max(1 - s, 0.0), 1) if mode == "bilinear" else (keys, 2)
    expected = np.apply_along_axis(smoothed, 2, x, size[0], kernel, reach)
    expected = np.apply_along_axis(smoothed, 3, expected, size[1], kernel, reach)
    found = F.interpolate(fb.from_numpy(x), size, mode=mode, antialias=True)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_interpolation_of_integers():
    x = fb.tensor([[[[0, 255], [10, 20]]]], dtype=fb.uint8)
    y = F.interpolate(x, scale_factor=2, mode="bilinear")
    exact = F.interpolate(x.double(), scale_factor=2, mode="bilinear")
    assert y.dtype is fb.uint8 and bool(((y.double() - exact).abs() <= 1).all())
    assert bool((F.interpolate(x, scale_factor=2, mode="bicubic") <= 255).all())
    assert F.interpolate(x.long(), scale_factor=2).dtype is fb.int64
    with pytest.raises(NotImplementedError, match="floating tensors or uint8"):
        F.interpolate(x.long(), scale_factor=2, mode="bilinear")
    with pytest.raises(ValueError, match="antialias"):
        F.interpolate(x.float(), scale_factor=2, antialias=True)


def test_margin_ranking_of_integers_has_a_mean():
    loss = F.margin_ranking_loss(fb.tensor([1, 5]), fb.tensor([3, 1]), fb.tensor([1, 1]))
    assert loss.dtype is fb.float32 and loss.item() == 1.0
