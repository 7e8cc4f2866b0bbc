"""Distances between rows, and lengths cut to a bound: cdist, pdist, dist, renorm.

Imports core and neighbours in ops. Read next: `matmul.py`, `reduce.py`.
"""

from __future__ import annotations

import math
from typing import Any

from ..core._core import Tensor, broadcast_shapes
from .arguments import into_out
from .basic import sum_to
from .calls import where
from .matmul import matrix_product
from .primitive import primitive
from .reduce import amax, norm, norm2
from .table import TABLE
from .triangles import triu_indices

__all__ = ["cdist", "dist", "pdist", "renorm"]

# From here on the matrix product pays, and its rounding errors are PyTorch's too.
MANY = 25


def euclidean_vjp(ctx: Any, g: Tensor) -> tuple:
    x, y, d = ctx.saved
    zero = d == 0
    w = where(zero, 0.0, g / where(zero, 1.0, d))
    gx = x * w.sum(-1, True) - matrix_product(w, y)
    gy = y * w.mT.sum(-1, True) - matrix_product(w.mT, x)
    return sum_to(gx, x.shape, "cdist"), sum_to(gy, y.shape, "cdist")


@primitive(euclidean_vjp, name="euclidean_distance")
def euclidean(ctx, x, y, product):
    """√Σ (x − y)² for all pairs of rows; by way of |x|² + |y|² − 2 x·y if `product`."""
    if product:
        squares = (x * x).sum(-1, True) + (y * y).sum(-1, True).mT
        d = TABLE["sqrt"](TABLE["clamp_min"](squares - matrix_product(x, y.mT) * 2, 0.0))
    else:
        d = norm2(x.unsqueeze(-2) - y.unsqueeze(-3), -1)
    ctx.save(x, y, d)
    return d


def lengths(x: Tensor, p: float) -> Tensor:
    """The p-norm over the last dimension, with derivatives that are 0 where it isn't smooth."""
    if p == 2:
        return norm2(x, -1)
    size = TABLE["abs"](x)
    if p == 0:
        return (size != 0).to(x.dtype).sum(-1)
    if p == 1:
        return size.sum(-1)
    if math.isinf(p):
        return amax(size, -1) if x.shape[-1] else size.sum(-1)
    zero = size == 0
    total = where(zero, 0.0, TABLE["pow"](where(zero, 1.0, size), p)).sum(-1)
    none = total == 0
    return where(none, 0.0, TABLE["pow"](where(none, 1.0, total), 1.0 / p))


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The p-norm distance of every row of x1 from every row of x2: y_ij = ‖x1_i − x2_j‖_p.

    Shapes: (…, m, k) and (…, n, k), batches broadcast: (…, m, n). For p = 2 and more than 25 rows a matrix product is
    used, unless compute_mode is "donot_use_mm_for_euclid_dist". The gradient is 0 where a distance is.

    >>> fb.cdist(fb.tensor([[0.0, 0.0]]), fb.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"cdist: takes (…, m, k) and (…, n, k) with one k, got shapes {tuple(x1.shape)} and {tuple(x2.shape)}"
        )
    if not x1.is_floating_point() or not x2.is_floating_point():
        raise RuntimeError(f"cdist: takes floating tensors, got {x1.dtype} and {x2.dtype}; use x.float()")
    if p < 0:
        raise RuntimeError(f"cdist: p must not be negative, got {p}")
    modes = {
        None: None, 0: None, 1: True, 2: False, "use_mm_for_euclid_dist_if_necessary": None,
        "use_mm_for_euclid_dist": True, "donot_use_mm_for_euclid_dist": False,
    }  # fmt: skip
    if compute_mode not in modes:
        raise ValueError(
            f"cdist: compute_mode is one of {[m for m in modes if isinstance(m, str)]}, got {compute_mode!r}"
        )
    product = modes[compute_mode]
    broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
    if p == 2 and x1.shape[-1]:
        return euclidean(x1, x2, x1.shape[-2] > MANY or x2.shape[-2] > MANY if product is None else product)
    return lengths(x1.unsqueeze(-2) - x2.unsqueeze(-3), float(p))


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances of all pairs of rows i < j. Shape (n, k): (n (n − 1) / 2).

    >>> fb.pdist(fb.tensor([[0.0], [1.0], [3.0]]))
    tensor([1., 3., 2.])
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist: takes a matrix, got shape {tuple(input.shape)}")
    i, j = triu_indices(input.shape[0], input.shape[0], 1)
    return lengths(input[i] - input[j], float(p))


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference: ‖x − y‖_p over all elements.

    >>> fb.dist(fb.tensor([3.0, 0.0]), fb.tensor([0.0, 4.0]))
    tensor(5.)
    """
    return norm(input - other, p)


def renorm(input: Tensor, p: float, dim: int, maxnorm: float, *, out: Tensor | None = None) -> Tensor:
    """x with each slice along `dim` whose p-norm exceeds maxnorm scaled down to it.

    >>> fb.renorm(fb.tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    if input.ndim < 2:
        raise RuntimeError(f"renorm: takes at least two dimensions, got shape {tuple(input.shape)}")
    others = [d for d in range(input.ndim) if d != dim % input.ndim]
    size = norm(input, p, others, True)
    y = input * where(size > maxnorm, maxnorm / (size + 1e-7), 1.0)
    return into_out(out, y)


def renorm_(self: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    return self.copy_(renorm(self, p, dim, maxnorm))
