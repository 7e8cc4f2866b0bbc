"""Sums that stand for integrals and differences that stand for derivatives: trapezoid, cumulative_trapezoid, gradient.

Compositions of other ops. Imports core and neighbours in ops. Read next: `reduce.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core._core import Tensor
from .joining import cat
from .scan import cumsum

__all__ = ["cumulative_trapezoid", "gradient", "trapezoid", "trapz"]


def areas(y: Tensor, x: Tensor | None, dx: Any, dim: int) -> Tensor:
    """The area under each piece between neighbours along `dim`, twice."""
    n = y.shape[dim]
    if n == 0:
        return y
    pieces = y.narrow(dim, 0, n - 1) + y.narrow(dim, 1, n - 1)
    return pieces * (widths(y, x, dim) if x is not None else 1 if dx is None else dx)


def widths(y: Tensor, x: Tensor, dim: int) -> Tensor:
    """The steps between neighbouring points, in a shape that goes with y's."""
    n = y.shape[dim]
    if x.ndim == 1:
        if x.shape[0] != n:
            raise RuntimeError(f"trapezoid: x has {x.shape[0]} points for {n} values along dimension {dim}")
        x = x.reshape([-1] + [1] * (y.ndim - 1 - dim % y.ndim))
        return x[1:] - x[:-1]
    m = x.shape[dim]
    return x.narrow(dim, 1, m - 1) - x.narrow(dim, 0, m - 1)


def one_spacing(name: str, x: Tensor | None, dx: Any) -> None:
    if x is not None and dx is not None:
        raise RuntimeError(f"{name}: takes x or dx, not both")


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The integral of y along `dim` by the trapezoidal rule: Σ (y_i + y_{i+1}) / 2 · (x_{i+1} − x_i), or dx.

    >>> fb.trapezoid(fb.tensor([1.0, 5.0, 10.0]))
    tensor(10.5000)
    """
    one_spacing("trapezoid", x, dx)
    if x is not None or y.shape[dim] == 0:
        return areas(y, x, dx, dim).sum(dim) / 2
    # With one step every point counts once, and the two ends by half.
    total = y.sum(dim) - (y.select(dim, 0) + y.select(dim, -1)) * 0.5
    return total if dx is None else total * dx


def trapz(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """Another name of :func:`trapezoid`.

    >>> fb.trapz(fb.tensor([1.0, 3.0]), dx=0.5)
    tensor(1.)
    """
    return trapezoid(y, x, dx=dx, dim=dim)


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The integrals up to each point but the first along `dim`, by the trapezoidal rule.

    >>> fb.cumulative_trapezoid(fb.tensor([1.0, 5.0, 10.0]))
    tensor([ 3.0000, 10.5000])
    """
    one_spacing("cumulative_trapezoid", x, dx)
    return cumsum(areas(y, x, dx, dim), dim) / 2


def slope(x: Tensor, dim: int, spacing: Any, edge_order: int) -> Tensor:
    """The derivative along one dimension, for a step or for coordinates."""
    n = x.shape[dim]
    if n < edge_order + 1:
        raise RuntimeError(f"gradient: dimension {dim} needs at least {edge_order + 1} elements, got {n}")

    def at(i: int, count: int) -> Tensor:
        return x.narrow(dim, i, count)

    if isinstance(spacing, Tensor):
        if spacing.shape[0] != n:
            raise RuntimeError(f"gradient: {spacing.shape[0]} coordinates for {n} elements along dimension {dim}")
        h = (spacing[1:] - spacing[:-1]).reshape([-1] + [1] * (x.ndim - 1 - dim))
    else:
        h = spacing

    def step(i: int, count: int = 1) -> Any:
        return h[i : i + count] if isinstance(h, Tensor) else h

    first, last = (at(1, 1) - at(0, 1)) / step(0), (at(n - 1, 1) - at(n - 2, 1)) / step(n - 2)
    if n == 2:
        return cat([first, last], dim)
    a, b = step(0, n - 2), step(1, n - 2)
    left, middle, right = at(0, n - 2), at(1, n - 2), at(2, n - 2)
    inner = (right * (a / (b * (a + b))) + middle * ((b - a) / (a * b))) - left * (b / (a * (a + b)))
    if edge_order == 2:
        a, b = step(0), step(1)
        first = (
            at(1, 1) * ((a + b) / (a * b)) - at(0, 1) * ((2 * a + b) / (a * (a + b))) - at(2, 1) * (a / (b * (a + b)))
        )
        a, b = step(n - 3), step(n - 2)
        last = at(n - 1, 1) * ((2 * b + a) / (b * (a + b))) - at(n - 2, 1) * ((a + b) / (a * b))
        last = last + at(n - 3, 1) * (b / (a * (a + b)))
    return cat([first, inner, last], dim)


def gradient(input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> list[Tensor]:
    """Estimates of the derivative along each dimension in `dim` (all by default), by central differences.

    spacing is a step, one for each dimension, or a sequence of coordinate vectors; at the edges one-sided differences
    of order edge_order (1 or 2) are taken. Source: B. Fornberg, Generation of finite difference formulas (1988).

    >>> fb.gradient(fb.tensor([1.0, 2.0, 4.0, 7.0]))
    [tensor([1.0000, 1.5000, 2.5000, 3.0000])]
    """
    if edge_order not in (1, 2):
        raise RuntimeError(f"gradient: edge_order is 1 or 2, got {edge_order}")
    dims: Sequence[int] = range(input.ndim) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    dims = [d % input.ndim for d in dims]
    if len(set(dims)) != len(dims):
        raise RuntimeError(f"gradient: dimensions must be different, got {dim}")
    if isinstance(spacing, Tensor):
        raise TypeError(
            "gradient: spacing is a number, or a sequence of numbers or of coordinate vectors, got a tensor"
        )
    each = list(spacing) if isinstance(spacing, (list, tuple)) else [spacing] * len(dims)
    if len(each) != len(dims):
        raise RuntimeError(f"gradient: {len(each)} spacings for {len(dims)} dimensions")
    x = input if input.is_floating_point() or input.is_complex() else input.float()
    return [slope(x, d, s, edge_order) for d, s in zip(dims, each, strict=True)]
