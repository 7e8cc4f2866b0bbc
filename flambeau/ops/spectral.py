"""The short-time Fourier transform and its inverse: compositions of unfold, a window, fft and index_add.

Imports core, fft and neighbours in ops. Read next: `windows.py`, `fft.py`.
"""

from __future__ import annotations

from ..core._core import Tensor
from .factories import ones, zeros
from .padding import pad
from .ranges import arange
from .shape import view_as_real

__all__ = ["istft", "stft"]


def framed_window(name: str, window: Tensor | None, win_length: int, n_fft: int, like: Tensor) -> Tensor:
    """The window in the middle of n_fft zeros."""
    if not 0 < win_length <= n_fft:
        raise RuntimeError(f"{name}: win_length must be from 1 to n_fft={n_fft}, got {win_length}")
    real = like.dtype.to_real() if like.is_complex() else like.dtype
    w = ones(win_length, dtype=real) if window is None else window
    if w.ndim != 1 or w.shape[0] != win_length:
        raise RuntimeError(f"{name}: the window must have shape ({win_length},), got {tuple(w.shape)}")
    left = (n_fft - win_length) // 2
    return pad(w, [left, n_fft - win_length - left]) if win_length < n_fft else w


def stft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Tensor | None = None, center: bool = True, pad_mode: str = "reflect", normalized: bool = False,
    onesided: bool | None = None, return_complex: bool | None = None, align_to_window: bool | None = None,
) -> Tensor:  # fmt: skip
    """y[…, ω, t] = Σ_k w_k x[…, t · hop + k] e^(−2πi ωk/n_fft): a Fourier transform of every windowed frame.

    Shapes: x (L) or (B, L); y (…, N, T) with N = n_fft // 2 + 1 if onesided, as real input is, else n_fft. With center,
    x is padded so that frame t is centred at t · hop. hop is n_fft // 4 by default; normalized divides by √n_fft.

    >>> fb.stft(fb.ones(8), 4, window=fb.ones(4), return_complex=True).shape
    flambeau.Size([3, 9])
    """
    from .. import fft

    if input.ndim not in (1, 2):
        raise RuntimeError(f"stft: takes a signal or a batch of signals, got shape {tuple(input.shape)}")
    if return_complex is None and not input.is_complex() and (window is None or not window.is_complex()):
        raise RuntimeError(
            "stft: real input needs return_complex=True (or False, for real and imaginary parts in pairs)"
        )
    hop = n_fft // 4 if hop_length is None else hop_length
    if hop <= 0:
        raise RuntimeError(f"stft: hop_length must be positive, got {hop}")
    w = framed_window("stft", window, n_fft if win_length is None else win_length, n_fft, input)
    x = input if input.ndim == 2 else input.unsqueeze(0)
    if center:
        half = n_fft // 2
        x = pad(x.unsqueeze(1), [half, half], mode=pad_mode).squeeze(1)
    if not 0 < n_fft <= x.shape[-1]:
        raise RuntimeError(f"stft: n_fft must be from 1 to the signal's length {x.shape[-1]}, got {n_fft}")
    frames = x.unfold(-1, n_fft, hop) * w
    one_sided = not frames.is_complex() if onesided is None else onesided
    if one_sided and frames.is_complex():
        raise RuntimeError("stft: onesided is only for real input and window")
    norm = "ortho" if normalized else "backward"
    y = (fft.rfft(frames, norm=norm) if one_sided else fft.fft(frames, norm=norm)).transpose(1, 2)
    if input.ndim == 1:
        y = y.squeeze(0)
    return view_as_real(y.contiguous()) if return_complex is False else y


def overlapped(frames: Tensor, hop: int) -> Tensor:
    """The sum of frames (B, T, n), each `hop` after the one before: (B, n + hop (T − 1))."""
    batch, count, n = frames.shape
    at = (arange(count) * hop).unsqueeze(1) + arange(n)
    target = zeros(batch, n + hop * (count - 1), dtype=frames.dtype)
    return target.index_add(1, at.reshape(-1), frames.reshape(batch, -1))


def istft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Tensor | None = None, center: bool = True, normalized: bool = False, onesided: bool | None = None,
    length: int | None = None, return_complex: bool = False,
) -> Tensor:  # fmt: skip
    """The signal whose `stft` is nearest to the input: overlapping frames added, divided by the sum of squared windows.

    Shapes: (…, N, T) complex, or with a last dimension 2: (…, L). Source: D. Griffin and J. Lim, Signal estimation from
    modified short-time Fourier transform (1984).

    >>> x = fb.arange(8.0)
    >>> fb.istft(fb.stft(x, 4, window=fb.ones(4), return_complex=True), 4, window=fb.ones(4))[:3].round()
    tensor([0., 1., 2.])
    """
    from .. import fft

    if not input.is_complex():
        raise RuntimeError(f"istft: takes a complex input, got {input.dtype}; use view_as_complex")
    if input.ndim not in (2, 3) or not input.numel():
        raise RuntimeError(f"istft: takes (N, T) or (B, N, T) with elements, got shape {tuple(input.shape)}")
    hop = n_fft // 4 if hop_length is None else hop_length
    win = n_fft if win_length is None else win_length
    if not 0 < hop <= win:
        raise RuntimeError(f"istft: hop_length must be from 1 to win_length={win}, got {hop}")
    w = framed_window("istft", window, win, n_fft, input)
    x = input if input.ndim == 3 else input.unsqueeze(0)
    rows, one_sided = x.shape[1], onesided if onesided is not None else x.shape[1] != n_fft
    if rows != (n_fft // 2 + 1 if one_sided else n_fft):
        raise RuntimeError(f"istft: n_fft={n_fft}, onesided={one_sided} doesn't go with {rows} frequencies")
    if one_sided and return_complex:
        raise RuntimeError("istft: return_complex=True needs onesided=False")
    norm = "ortho" if normalized else "backward"
    x = x.transpose(1, 2)
    if one_sided:
        frames = fft.irfft(x, n_fft, norm=norm)
    else:
        frames = fft.ifft(x, norm=norm)
        frames = frames if return_complex else frames.real
    y = overlapped(frames * w, hop)
    weight = overlapped((w * w).expand(1, frames.shape[1], n_fft), hop)
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else y.shape[-1] - start
    kept = min(end, y.shape[-1])
    y, weight = y[:, start:kept], weight[:, start:kept]
    if bool((weight.abs() < 1e-11).any()):
        raise RuntimeError("istft: the windows' overlap is zero somewhere, so the signal there is unknown")
    y = y / weight
    if end > kept:
        y = pad(y, [0, end - kept])
    return y if input.ndim == 3 else y.squeeze(0)
