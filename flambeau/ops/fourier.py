"""Short Fourier transforms as products with a table of roots of unity, on pairs of real and imaginary parts.

Up to SHORT points that takes less time than a fast transform takes to set out. Off the tape. Imports core and
neighbours in ops. Read next: `fft.py`, which asks.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from ..core import _core
from ..core._core import Tensor
from .arguments import Ints

SHORT = 32
# Multiply-adds from which a fast transform is faster all the same.
MOST = 1 << 16


def root(k: int, n: int) -> tuple[float, float]:
    """cos and sin of 2πk/n; exact at quarters of a turn."""
    k %= n
    if 4 * k % n == 0:
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[4 * k // n]
    return math.cos(2 * math.pi * k / n), math.sin(2 * math.pi * k / n)


@functools.lru_cache(256)
def forth(n: int, count: int, sign: int, scale: float, real: bool, dtype: Any) -> Tensor:
    """The matrix that n numbers, real ones or pairs, are multiplied with to give the first `count` pairs."""
    rows: list[list[float]] = []
    for j in range(n):
        turns = [root(sign * j * k, n) for k in range(count)]
        rows.append([scale * part for c, s in turns for part in (c, s)])
        if not real:
            rows.append([scale * part for c, s in turns for part in (-s, c)])
    return _core.from_nested(rows, dtype)


@functools.lru_cache(256)
def back(n: int, scale: float, dtype: Any) -> Tensor:
    """The matrix that a spectrum of n // 2 + 1 pairs is multiplied with to give its n real numbers."""
    rows: list[list[float]] = []
    for k in range(n // 2 + 1):
        weight = scale if k == 0 or 2 * k == n else 2 * scale  # what stands for its mirror image, too
        turns = [root(j * k, n) for j in range(n)]
        rows += [[weight * c for c, _ in turns], [-weight * s for _, s in turns]]
    return _core.from_nested(rows, dtype)


def is_short(x: Tensor, dims: Ints, n: int = 0) -> bool:
    """Whether tables serve to transform these dimensions, whose longest is n if it isn't one of x."""
    longest = max(n, *(x.shape[d] for d in dims)) if dims else n
    return 0 < longest <= SHORT and 0 < x.numel() * longest <= MOST


def multiplied(x: Tensor, dim: int, table: Tensor, complex_result: bool) -> Tensor:
    """Each row of x along a dimension, complex numbers as pairs, times the table."""
    last = x.ndim - 1
    if dim != last:
        x = x.transpose(dim, last)
    x = x if x.is_contiguous() else _core.clone_contiguous(x)
    width, rows = table.shape[0], x.numel() * (2 if x.is_complex() else 1) // table.shape[0]
    at = x.storage_offset() * (2 if x.is_complex() else 1)
    y = _core.matrix_product(_core.raw_view(x, table.dtype, (rows, width), (width, 1), at), table)
    count = table.shape[1] // (2 if complex_result else 1)
    shape, strides = (*x.shape[:-1], count), [1]
    for n in shape[:0:-1]:
        strides.insert(0, strides[0] * n)
    y = _core.raw_view(y, table.dtype.to_complex() if complex_result else table.dtype, shape, strides, 0)
    return y if dim == last else _core.clone_contiguous(y.transpose(dim, last))


def transformed(x: Tensor, dims: Ints, forward: bool, scale: float) -> Tensor:
    """scale · Σ x e^(∓2πi jk/n) over dimensions."""
    for d in dims:
        real = not x.is_complex()
        table = forth(x.shape[d], x.shape[d], -1 if forward else 1, scale, real, x.dtype.to_real())
        x, scale = multiplied(x, d, table, True), 1.0
    return x


def half_transformed(x: Tensor, dim: int, scale: float) -> Tensor:
    """The first n // 2 + 1 elements of the transform of a real x over one dimension."""
    n = x.shape[dim]
    return multiplied(x, dim, forth(n, n // 2 + 1, -1, scale, True, x.dtype), True)


def restored(x: Tensor, dim: int, n: int, scale: float) -> Tensor:
    """The n real numbers of which x holds half the spectrum."""
    return multiplied(x, dim, back(n, scale, x.dtype.to_real()), False)
