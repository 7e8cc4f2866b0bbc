"""Fourier transforms, windows and stft against NumPy and SciPy, their gradients of both orders, their errors."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import draw
from oracle import tensor as T

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck

signal = pytest.importorskip("scipy.signal")
scipy_fft = pytest.importorskip("scipy.fft")

TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "complex64": 1e-5, "complex128": 1e-12}


def close(got, expected, dtype):
    assert tuple(got.shape) == expected.shape
    wide = dtype in ("float64", "complex128")
    assert got.dtype in ((fb.complex128, fb.float64) if wide else (fb.complex64, fb.float32))
    np.testing.assert_allclose(got.numpy(), expected, atol=TOLERANCE[dtype] * (1 + np.abs(expected).max()), rtol=0)


@pytest.fixture(params=TOLERANCE)
def dtype(request):
    return request.param


REAL = ("rfft", "ihfft", "rfftn", "ihfftn", "rfft2", "ihfft2")


@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_one_dimension(name, norm, dtype):
    x = draw(dtype, 3, 4, 6)
    if name in REAL and dtype.startswith("complex"):
        with pytest.raises(RuntimeError, match=f"{name}.*real"):
            getattr(fb.fft, name)(T(x))
        return
    wide = x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)
    for n, dim in ((None, -1), (4, -1), (9, 1), (5, 0), (1, 2)):
        close(getattr(fb.fft, name)(T(x), n, dim, norm), getattr(scipy_fft, name)(wide, n, dim, norm), dtype)


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn", "hfftn", "ihfftn"])
def test_several_dimensions(name, norm):
    dtype = "float64" if name in REAL else "complex128"
    x = draw(dtype, 3, 4, 6)
    for s, dim in ((None, None), ((3, 5), None), ((5, 2), (0, 2)), (None, (1, 0)), ((4, 4, 4), (2, 0, 1))):
        expected = getattr(scipy_fft, name)(x, s, dim, norm)
        close(getattr(fb.fft, name)(T(x), s, dim, norm), expected, dtype)
    two = name[:-1] + "2"
    close(getattr(fb.fft, two)(T(x), norm=norm), getattr(scipy_fft, two)(x, norm=norm), dtype)


def test_strided_input_gives_the_same_bits(dtype):
    x = draw(dtype, 4, 6)
    spaced = T(np.repeat(x, 3, axis=-1))[:, ::3]
    assert fb.equal(fb.fft.fft(spaced), fb.fft.fft(T(x)))
    assert fb.equal(fb.fft.irfft(spaced), fb.fft.irfft(T(x)))


def test_integers_become_the_default_dtype():
    assert fb.fft.fft(fb.arange(4)).dtype is fb.complex64
    assert fb.fft.irfft(fb.arange(4)).dtype is fb.float32


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_frequencies_and_shifts(n):
    np.testing.assert_allclose(fb.fft.fftfreq(n, 0.5).numpy(), np.fft.fftfreq(n, 0.5), rtol=1e-6)
    np.testing.assert_allclose(fb.fft.rfftfreq(n, 0.5).numpy(), np.fft.rfftfreq(n, 0.5), rtol=1e-6)
    x = np.arange(n * 3).reshape(n, 3)
    for dim in (None, 0, (0, 1)):
        assert fb.fft.fftshift(T(x), dim).tolist() == np.fft.fftshift(x, dim).tolist()
        assert fb.fft.ifftshift(T(x), dim).tolist() == np.fft.ifftshift(x, dim).tolist()


GRADIENTS = {
    "fft": (lambda x: fb.fft.fft(x, n=5), "complex128"),
    "fft of real": (lambda x: fb.fft.fft(x, n=3, norm="ortho"), "float64"),
    "ifft": (lambda x: fb.fft.ifft(x, dim=0), "complex128"),
    "rfft": (lambda x: fb.fft.rfft(x, n=5), "float64"),
    "rfft even": (lambda x: fb.fft.rfft(x, norm="forward"), "float64"),
    "irfft": (lambda x: fb.fft.irfft(x, n=5), "complex128"),
    "irfft even": (lambda x: fb.fft.irfft(x, dim=0), "complex128"),
    "hfft": (lambda x: fb.fft.hfft(x, n=6), "complex128"),
    "ihfft": (lambda x: fb.fft.ihfft(x), "float64"),
    "fftn": (fb.fft.fftn, "complex128"),
    "rfftn": (lambda x: fb.fft.rfftn(x, s=(3, 5)), "float64"),
    "irfft2": (fb.fft.irfft2, "complex128"),
    "hfftn": (fb.fft.hfftn, "complex128"),
    "ihfft2": (fb.fft.ihfft2, "float64"),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name):
    f, dtype = GRADIENTS[name]
    x = T(draw(dtype, 3, 4)).requires_grad_()
    assert gradcheck(f, (x,))
    assert gradgradcheck(f, (x,))


ERRORS = [
    (lambda: fb.fft.fft(fb.ones(3), n=0), RuntimeError, "fft.*0.*dimension 0"),
    (lambda: fb.fft.fft(fb.ones(3), dim=1), IndexError, "fft.*dimension 1"),
    (lambda: fb.fft.fft(fb.ones(3), norm="x"), RuntimeError, "norm.*'x'"),
    (lambda: fb.fft.fftn(fb.ones(3, 3), dim=(0, 0)), RuntimeError, "fftn.*different"),
    (lambda: fb.fft.fftn(fb.ones(3, 3), s=(1, 2), dim=(0,)), RuntimeError, "2 lengths for 1"),
    (lambda: fb.fft.irfft(fb.ones(1)), RuntimeError, "irfft.*0"),
    (lambda: fb.fft.fft(fb.ones(3, dtype=fb.float16)), RuntimeError, r"float16.*x\.float\(\)"),
]


@pytest.mark.parametrize("call, error, message", ERRORS)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


WINDOWS = {
    "hann": (lambda n, sym: signal.windows.hann(n, sym), {}),
    "hamming": (lambda n, sym: signal.windows.hamming(n, sym), {}),
    "blackman": (lambda n, sym: signal.windows.blackman(n, sym), {}),
    "bartlett": (lambda n, sym: signal.windows.bartlett(n, sym), {}),
    "kaiser": (lambda n, sym: signal.windows.kaiser(n, 12.0, sym), {}),
}


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name, periodic):
    oracle, kwargs = WINDOWS[name]
    for n in (0, 1, 2, 7, 8):
        w = getattr(fb, name + "_window")(n, periodic, dtype=fb.float64, **kwargs)
        np.testing.assert_allclose(w.numpy(), oracle(n, not periodic), atol=1e-12)
    assert getattr(fb, name + "_window")(4).dtype is fb.float32
    with pytest.raises(RuntimeError, match="negative"):
        getattr(fb, name + "_window")(-1)


def frames(x, n_fft, hop, w, center, onesided):
    """The definition, frame by frame."""
    if center:
        x = np.pad(x, [(0, 0), (n_fft // 2, n_fft // 2)], mode="reflect")
    run = np.fft.rfft if onesided else np.fft.fft
    count = 1 + (x.shape[-1] - n_fft) // hop
    return np.stack([run(x[:, t * hop : t * hop + n_fft] * w) for t in range(count)], -1)


@pytest.mark.parametrize("center, onesided, hop, win", [(True, True, 2, 8), (False, True, 3, 8), (True, False, 4, 6)])
def test_stft(center, onesided, hop, win):
    x, w = draw("float64", 2, 40), signal.windows.hamming(win, False)
    left = (8 - win) // 2
    expected = frames(x, 8, hop, np.pad(w, [left, 8 - win - left]), center, onesided)
    options = {"hop_length": hop, "win_length": win, "window": T(w), "center": center, "onesided": onesided}
    y = fb.stft(T(x), 8, **options, return_complex=True)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(
        T(x)[0].stft(8, **options, return_complex=False, normalized=True).numpy(),
        np.stack([expected[0].real, expected[0].imag], -1) / 8**0.5,
        atol=1e-12,
    )


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("length", [None, 37, 40, 45])
def test_istft_is_the_inverse(length, normalized):
    x, w = draw("float64", 2, 40), T(signal.windows.hamming(8, False))
    y = fb.stft(T(x), 8, window=w, normalized=normalized, return_complex=True)
    back = fb.istft(y, 8, window=w, normalized=normalized, length=length).numpy()
    expected = np.pad(x, [(0, 0), (0, 5)])[:, : length or 40]
    np.testing.assert_allclose(back[:, :40], expected[:, :40], atol=1e-12)
    assert back.shape == expected.shape
    both = fb.stft(T(x), 8, window=w, onesided=False, return_complex=True)
    np.testing.assert_allclose(fb.istft(both, 8, window=w, onesided=False, return_complex=True).numpy(), x, atol=1e-12)


def test_stft_gradients():
    x = T(draw("float64", 12)).requires_grad_()
    w = T(signal.windows.hamming(4)).requires_grad_()
    assert gradcheck(lambda x, w: fb.stft(x, 4, window=w, return_complex=True), (x, w))
    y = T(draw("complex128", 3, 9)).requires_grad_()
    assert gradcheck(lambda y, w: fb.istft(y, 4, window=w), (y, w))
    assert gradgradcheck(lambda y: fb.istft(y, 4, window=w.detach()), (y,))


def test_stft_errors():
    with pytest.raises(RuntimeError, match="return_complex"):
        fb.stft(fb.ones(8), 4)
    with pytest.raises(RuntimeError, match="n_fft"):
        fb.stft(fb.ones(8), 16, center=False, return_complex=True)
    with pytest.raises(RuntimeError, match=r"window.*\(4,\)"):
        fb.stft(fb.ones(8), 4, window=fb.ones(3), return_complex=True)
    with pytest.raises(RuntimeError, match="overlap"):
        fb.istft(fb.ones(3, 4, dtype=fb.complex64), 4, window=fb.zeros(4))
    with pytest.raises(RuntimeError, match="complex"):
        fb.istft(fb.ones(3, 4), 4)


def test_any_number_of_threads_gives_the_same_bits():
    x = T(draw("float32", 600, 512))
    before = fb.get_num_threads()
    try:
        fb.set_num_threads(1)
        first = fb.fft.rfft(x), fb.fft.fft2(x)
        for threads in (2, 3):
            fb.set_num_threads(threads)
            assert all(fb.equal(a, b) for a, b in zip(first, (fb.fft.rfft(x), fb.fft.fft2(x)), strict=True))
    finally:
        fb.set_num_threads(before)
