"""Discrete Fourier transforms with torch.fft's names: pocketfft, as SciPy wraps it, with derivatives of any order;
short ones are products with tables.

Three primitives carry them all: complex to complex over several dimensions, and over one dimension real to half a
spectrum and back. Input is cut or padded with zeros by ordinary ops. SciPy is imported when first used. Imports core
and ops.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .core import _core
from .core._core import DTYPES, Tensor
from .linalg.lapack import array, as_complex, out_of, tensor
from .ops.arguments import into_out
from .ops.fourier import half_transformed, is_short, restored, transformed
from .ops.matmul import conj
from .ops.padding import pad
from .ops.primitive import primitive
from .ops.ranges import arange
from .ops.rearrange import roll
from .ops.recall import recalled
from .ops.table import TABLE

FLOATING = (DTYPES[8], DTYPES[9], DTYPES[10], DTYPES[11])
MANY = 1 << 18  # elements from which on threads pay
NORMS = (None, "backward", "ortho", "forward")

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ifftshift",
    "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip


def scaled(y: Any, scale: float) -> Any:
    if scale != 1:
        y *= y.dtype.type(scale)
    return y


def in_pieces(run: Callable[[Any], Any], x: Any, dims: Sequence[int]) -> Any:
    """run(x), shared among threads along the longest dimension that isn't transformed.

    pocketfft takes as many rows at once as a vector holds and the rest one by one, with other roundings on some
    machines: pieces are cut by the shape alone, so that their number of threads doesn't enter.
    """
    spare = [d for d in range(x.ndim) if d not in dims]
    if x.size <= MANY or not spare:
        return run(x)
    along = max(spare, key=lambda d: x.shape[d])
    step = 16 * max(1, MANY // 2 * x.shape[along] // x.size // 16)
    pieces = [x[(slice(None),) * along + (slice(i, i + step),)] for i in range(0, x.shape[along], step)]
    with ThreadPoolExecutor(_core.get_num_threads()) as pool:
        found = list(pool.map(run, pieces))
    import numpy

    return numpy.concatenate(found, along)


def complex_vjp(ctx: Any, g: Tensor) -> Tensor:
    gx = transform(g, ctx.dims, not ctx.forward, ctx.scale)
    return TABLE["real"](gx) if ctx.real else gx


@primitive(complex_vjp, name="fft_c2c")
def transform(ctx, x, dims, forward, scale):
    """scale · Σ x e^(∓2πi jk/n) over several dimensions; a real x costs half."""
    ctx.dims, ctx.forward, ctx.scale, ctx.real = dims, forward, scale, not x.is_complex()
    if is_short(x, dims):
        return transformed(x, dims, forward, scale)
    from scipy import fft as library

    run, norm = (library.fftn, "backward") if forward else (library.ifftn, "forward")
    return tensor(scaled(in_pieces(lambda part: run(part, axes=dims, norm=norm), array(x.contiguous()), dims), scale))


def half_vjp(ctx: Any, g: Tensor) -> Tensor:
    after = [0, 0] * (g.ndim - 1 - ctx.dim) + [0, ctx.n - g.shape[ctx.dim]]
    return TABLE["real"](transform(pad(g, after), (ctx.dim,), False, ctx.scale))


@primitive(half_vjp, name="fft_r2c")
def half_spectrum(ctx, x, dim, scale):
    """The first n // 2 + 1 elements of the transform of a real x over one dimension; the rest mirrors them."""
    ctx.dim, ctx.n, ctx.scale = dim, x.shape[dim], scale
    if is_short(x, (dim,)):
        return half_transformed(x, dim, scale)
    from scipy import fft as library

    return tensor(scaled(in_pieces(lambda part: library.rfft(part, axis=dim), array(x.contiguous()), (dim,)), scale))


def from_half_vjp(ctx: Any, g: Tensor) -> Tensor:
    # What stands for itself and its mirror image counts twice.
    y = half_spectrum(g, ctx.dim, ctx.scale)
    k = arange(y.shape[ctx.dim])
    weight = 1.0 + ((k > 0) & (2 * k < ctx.n)).to(g.dtype)
    return y * weight.reshape([-1] + [1] * (y.ndim - 1 - ctx.dim))


@primitive(from_half_vjp, name="fft_c2r")
def from_half(ctx, x, dim, n, scale):
    """The real inverse transform of half a spectrum over one dimension."""
    ctx.dim, ctx.n, ctx.scale = dim, n, scale
    if is_short(x, (dim,), n) and x.shape[dim] == n // 2 + 1:
        return restored(x, dim, n, scale)
    from scipy import fft as library

    run = functools.partial(library.irfft, n=n, axis=dim, norm="forward")
    return tensor(scaled(in_pieces(run, array(x.contiguous()), (dim,)), scale))


def prepare(name: str, x: Tensor, real: bool = False) -> Tensor:
    """x in a dtype that can be transformed; integers become the default dtype."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: takes a tensor, got {type(x).__name__}")
    if real and x.is_complex():
        raise RuntimeError(f"{name}: takes a real input, got {x.dtype}; use fft, or x.real")
    if not x.is_floating_point() and not x.is_complex():
        x = x.to(_core.get_default_dtype())
    if x.dtype not in FLOATING:
        raise RuntimeError(f"{name}: takes float32, float64, complex64 or complex128, got {x.dtype}; use x.float()")
    return x


def scale_of(name: str, norm: str | None, n: int, forward: bool) -> float:
    if norm not in NORMS:
        raise RuntimeError(f"{name}: norm is 'backward', 'ortho' or 'forward', got {norm!r}")
    if norm == "ortho":
        return 1 / math.sqrt(n)
    return 1 / n if (norm == "forward") == forward else 1.0


def one_dim(name: str, x: Tensor, dim: int) -> int:
    if not -x.ndim <= dim < x.ndim:
        raise IndexError(f"{name}: dimension {dim} is out of range for shape {tuple(x.shape)}")
    return dim % x.ndim


def geometry(name: str, x: Tensor, s: Any, dim: Any) -> tuple[tuple[int, ...], list[int | None]]:
    """The dimensions to transform, and the length of each or None for what x has."""
    s = [s] if isinstance(s, int) else s
    dim = [dim] if isinstance(dim, int) else dim
    if dim is None:
        dim = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    dims = tuple(one_dim(name, x, d) for d in dim)
    if len(set(dims)) != len(dims):
        raise RuntimeError(f"{name}: dimensions must be different, got {tuple(dim)}")
    if s is not None and len(s) != len(dims):
        raise RuntimeError(f"{name}: s has {len(s)} lengths for {len(dims)} dimensions")
    lengths: list[int | None] = [None if n == -1 else n for n in s] if s is not None else [None] * len(dims)
    return dims, lengths


def sized(name: str, x: Tensor, dims: Sequence[int], lengths: Sequence[int | None]) -> Tensor:
    """x cut, or padded with zeros, to these lengths."""
    for d, n in zip(dims, lengths, strict=True):
        size = x.shape[d]
        if (size if n is None else n) < 1:
            raise RuntimeError(
                f"{name}: invalid number of data points ({size if n is None else n}) along dimension {d}"
            )
        if n is not None and n < size:
            x = x.narrow(d, 0, n)
        elif n is not None and n > size:
            x = pad(x, [0, 0] * (x.ndim - 1 - d) + [0, n - size])
    return x


def count(x: Tensor, dims: Sequence[int]) -> int:
    return math.prod(x.shape[d] for d in dims)


def both_ways(name: str, x: Tensor, s: Any, dim: Any, norm: str | None, forward: bool) -> Tensor:
    x = prepare(name, x)
    dims, lengths = geometry(name, x, s, dim)
    x = sized(name, x, dims, lengths)
    if not dims:
        return as_complex(x)
    return transform(x, dims, forward, scale_of(name, norm, count(x, dims), forward))


def real_input(name: str, x: Tensor, s: Any, dim: Any, norm: str | None, forward: bool) -> Tensor:
    """rfftn, and ihfftn, which goes backward and is the conjugate in its last dimension."""
    x = prepare(name, x, real=True)
    dims, lengths = geometry(name, x, s, dim)
    if not dims:
        raise RuntimeError(f"{name}: must transform at least one dimension")
    x = sized(name, x, dims, lengths)
    y = half_spectrum(x, dims[-1], scale_of(name, norm, count(x, dims), forward))
    y = y if forward else conj(y)
    return transform(y, dims[:-1], forward, 1.0) if dims[:-1] else y


def real_output(name: str, x: Tensor, s: Any, dim: Any, norm: str | None, forward: bool) -> Tensor:
    """irfftn, and hfftn, which goes forward."""
    x = as_complex(prepare(name, x))
    dims, lengths = geometry(name, x, s, dim)
    if not dims:
        raise RuntimeError(f"{name}: must transform at least one dimension")
    last = lengths[-1] if lengths[-1] is not None else 2 * (x.shape[dims[-1]] - 1)
    if last < 1:
        raise RuntimeError(f"{name}: invalid number of data points ({last}) along dimension {dims[-1]}")
    x = sized(name, x, dims, [*lengths[:-1], last // 2 + 1])
    scale = scale_of(name, norm, count(x, dims[:-1]) * last, forward)
    if dims[:-1]:
        x = transform(x, dims[:-1], forward, 1.0)
    return from_half(conj(x) if forward else x, dims[-1], last, scale)


@recalled
@out_of
def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The discrete Fourier transform over one dimension: y_k = Σ_j x_j e^(−2πi jk/n).

    The input is cut, or padded with zeros, to n; norm is "backward" (no factor), "ortho" (1/√n) or "forward" (1/n).

    >>> fb.fft.fft(fb.tensor([1.0, 0.0, 0.0, 0.0])).real
    tensor([1., 1., 1., 1.])
    """
    return both_ways("fft", input, n, dim, norm, True)


@recalled
@out_of
def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `fft`: x_j = 1/n Σ_k y_k e^(2πi jk/n).

    >>> fb.fft.ifft(fb.ones(2))
    tensor([1.+0.j, 0.+0.j])
    """
    return both_ways("ifft", input, n, dim, norm, False)


@recalled
@out_of
def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """`fft` of a real input: its first n // 2 + 1 elements, which determine the rest.

    >>> fb.fft.rfft(fb.ones(4))
    tensor([4.+0.j, 0.+0.j, 0.+0.j])
    """
    return real_input("rfft", input, n, dim, norm, True)


@recalled
@out_of
def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `rfft`, of length n: by default 2 (m − 1) for m elements.

    >>> fb.fft.irfft(fb.tensor([4.0, 0.0, 0.0]))
    tensor([1., 1., 1., 1.])
    """
    return real_output("irfft", input, n, dim, norm, False)


@recalled
@out_of
def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """`fft` of a signal that is Hermitian in time, given by its first half: the result is real.

    >>> fb.fft.hfft(fb.tensor([1.0, 0.0]))
    tensor([1., 1.])
    """
    return real_output("hfft", input, n, dim, norm, True)


@recalled
@out_of
def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `hfft`: half of the inverse transform of a real input.

    >>> fb.fft.ihfft(fb.ones(2)).real
    tensor([1., 0.])
    """
    return real_input("ihfft", input, n, dim, norm, False)


@recalled
@out_of
def fftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """`fft` over several dimensions: those in `dim`, or the last len(s), or all.

    >>> fb.fft.fftn(fb.ones(2, 2)).real
    tensor([[4., 0.],
            [0., 0.]])
    """
    return both_ways("fftn", input, s, dim, norm, True)


@recalled
@out_of
def ifftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of `fftn`.

    >>> fb.fft.ifftn(fb.ones(2, 2)).real
    tensor([[1., 0.],
            [0., 0.]])
    """
    return both_ways("ifftn", input, s, dim, norm, False)


@recalled
@out_of
def rfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """`fftn` of a real input, the last dimension cut to n // 2 + 1.

    >>> fb.fft.rfftn(fb.ones(2, 4)).shape
    flambeau.Size([2, 3])
    """
    return real_input("rfftn", input, s, dim, norm, True)


@recalled
@out_of
def irfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of `rfftn`.

    >>> fb.fft.irfftn(fb.ones(2, 3)).shape
    flambeau.Size([2, 4])
    """
    return real_output("irfftn", input, s, dim, norm, False)


@out_of
def hfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """`hfft` over the last of several dimensions, `fft` over the others.

    >>> fb.fft.hfftn(fb.ones(2, 3)).shape
    flambeau.Size([2, 4])
    """
    return real_output("hfftn", input, s, dim, norm, True)


@out_of
def ihfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of `hfftn`.

    >>> fb.fft.ihfftn(fb.ones(2, 4)).shape
    flambeau.Size([2, 3])
    """
    return real_input("ihfftn", input, s, dim, norm, False)


@recalled
@out_of
def fft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`fftn` over the last two dimensions.

    >>> fb.fft.fft2(fb.ones(2, 2)).real
    tensor([[4., 0.],
            [0., 0.]])
    """
    return both_ways("fft2", input, s, dim, norm, True)


@recalled
@out_of
def ifft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`ifftn` over the last two dimensions.

    >>> fb.fft.ifft2(fb.ones(2, 2)).real
    tensor([[1., 0.],
            [0., 0.]])
    """
    return both_ways("ifft2", input, s, dim, norm, False)


@recalled
@out_of
def rfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`rfftn` over the last two dimensions.

    >>> fb.fft.rfft2(fb.ones(2, 4)).shape
    flambeau.Size([2, 3])
    """
    return real_input("rfft2", input, s, dim, norm, True)


@recalled
@out_of
def irfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`irfftn` over the last two dimensions.

    >>> fb.fft.irfft2(fb.ones(2, 3)).shape
    flambeau.Size([2, 4])
    """
    return real_output("irfft2", input, s, dim, norm, False)


@out_of
def hfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`hfftn` over the last two dimensions.

    >>> fb.fft.hfft2(fb.ones(2, 3)).shape
    flambeau.Size([2, 4])
    """
    return real_output("hfft2", input, s, dim, norm, True)


@out_of
def ihfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`ihfftn` over the last two dimensions.

    >>> fb.fft.ihfft2(fb.ones(2, 4)).shape
    flambeau.Size([2, 3])
    """
    return real_input("ihfft2", input, s, dim, norm, False)


def fftfreq(
    n: int, d: float = 1.0, *, out: Tensor | None = None, dtype: Any = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    """The frequencies of `fft`'s elements, for samples d apart: [0, 1, …, −2, −1] / (n d).

    >>> fb.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    k = arange(n)
    k = k - n * (2 * k >= n + n % 2).to(k.dtype)
    return frequencies(k, n, d, out, dtype, requires_grad)


def rfftfreq(
    n: int, d: float = 1.0, *, out: Tensor | None = None, dtype: Any = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    """The frequencies of `rfft`'s elements, for samples d apart: [0, 1, …, n // 2] / (n d).

    >>> fb.fft.rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])
    """
    return frequencies(arange(n // 2 + 1), n, d, out, dtype, requires_grad)


def frequencies(k: Tensor, n: int, d: float, out: Tensor | None, dtype: Any, requires_grad: bool) -> Tensor:
    y = k.to(_core.get_default_dtype() if dtype is None else dtype) * (1 / (n * d))
    if out is not None:
        return into_out(out, y)
    return y.requires_grad_() if requires_grad else y


def shifted(x: Tensor, dim: Any, back: bool) -> Tensor:
    dims = list(range(x.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    return roll(x, [(x.shape[d] + back) // 2 for d in dims], dims)


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The elements in another order: frequency 0 in the middle.

    >>> fb.fft.fftshift(fb.tensor([0, 1, -2, -1]))
    tensor([-2, -1,  0,  1])
    """
    return shifted(input, dim, False)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of `fftshift`.

    >>> fb.fft.ifftshift(fb.tensor([-2, -1, 0, 1]))
    tensor([ 0,  1, -2, -1])
    """
    return shifted(input, dim, True)
