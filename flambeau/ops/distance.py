"""Distances between rows, and lengths cut to a bound: cdist, pdist, dist, renorm.

Imports core and neighbours in ops. Read next: `matmul.py`, `reduce.py`.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from ..core import _core
from ..core._core import Tensor, broadcast_shapes, launch, new_empty
from ..ir.expr import const, eq, fma, idiv, load, maximum, sqrt, var
from ..ir.expr import where as where_expr
from ..ir.kernel import Accumulator, Buffer, For, Kernel, Let, Reduce, Scalar, Store
from .arguments import into_out
from .basic import sum_to
from .calls import where
from .matmul import matrix_product
from .primitive import generated, primitive
from .recall import recalled
from .reduce import amax, norm, norm2
from .table import TABLE
from .triangles import triu_indices

__all__ = ["cdist", "dist", "pdist", "renorm"]

# From here on the matrix product pays, and its rounding errors are PyTorch's too.
MANY = 25
# The pairs of up to so many rows are kept.
FEW = 64


def euclidean_gradients(x: Tensor, y: Tensor, d: Tensor, g: Tensor) -> tuple:
    """Σ_j g_ij (x_i − y_j) / d_ij and its counterpart, 0 where a distance is."""
    zero = d == 0
    w = where(zero, 0.0, g / where(zero, 1.0, d))
    gx = x * w.sum(-1, True) - matrix_product(w, y)
    gy = y * w.mT.sum(-1, True) - matrix_product(w.mT, x)
    return sum_to(gx, x.shape, "cdist"), sum_to(gy, y.shape, "cdist")


def euclidean_vjp(ctx: Any, g: Tensor) -> tuple:
    x, y, d = ctx.saved
    return euclidean_gradients(x, y, d, g)


@primitive(euclidean_vjp, name="euclidean_distance")
def euclidean(ctx, x, y):
    """The Euclidean distances of all pairs of rows by way of |x|² + |y|² − 2 x·y."""
    squares = (x * x).sum(-1, True) + (y * y).sum(-1, True).mT
    d = TABLE["sqrt"](TABLE["clamp_min"](squares - matrix_product(x, y.mT) * 2, 0.0))
    ctx.save(x, y, d)
    return d


FOLDS = {
    0.0: lambda d, s: s + where_expr(eq(d, 0), 0.0, 1.0),
    1.0: lambda d, s: s + maximum(d, -d),
    2.0: lambda d, s: fma(d, d, s),
    math.inf: lambda d, s: maximum(s, maximum(d, -d)),
}


@generated
def distance_kernel(dtype: str, p: float) -> Kernel:
    """Row t of the result: element by element over the columns of the other operand, which stands transposed."""
    t, j, k, total = var("t"), var("j"), var("k"), var("total", dtype)
    rows, columns, width, batch = var("rows"), var("columns"), var("width"), var("batch")
    d = load("x", dtype, t * width + k) - load("z", dtype, (batch * width + k) * columns + j)
    zero = const(0, "i64")
    fold = Reduce(k, zero, width, (Accumulator(total, const(0.0, dtype)),), (FOLDS[p](d, total),), lanes=1)
    store = Store("y", t * columns + j, sqrt(total) if p == 2 else total)
    body = (Let(batch, idiv(t, rows)), For(j, zero, columns, (fold, store), vector=True))
    params = (
        Buffer("y", dtype, "w"), Buffer("x", dtype), Buffer("z", dtype), Scalar("rows"), Scalar("columns"),
        Scalar("width"), Scalar("extent"),
    )  # fmt: skip
    return Kernel("cdist", params, (For(t, zero, var("extent"), body, parallel=True),))


def pairwise_vjp(ctx: Any, g: Tensor) -> tuple:
    x, y, d = ctx.saved
    if ctx.p == 2:
        return euclidean_gradients(x, y, d, g)
    if ctx.p == 0:
        return TABLE["mul"](x, 0.0), TABLE["mul"](y, 0.0)
    difference = x.unsqueeze(-2) - y.unsqueeze(-3)
    slope = TABLE["sign"](difference)
    if ctx.p != 1:
        slope = slope * (TABLE["abs"](difference) == d.unsqueeze(-1)).to(slope.dtype)
    each = slope * g.unsqueeze(-1)
    return sum_to(each.sum(-2), x.shape, "cdist"), sum_to(-each.sum(-3), y.shape, "cdist")


@primitive(pairwise_vjp, name="pairwise_distance")
def pairwise(ctx, x, y, p):
    """The distances of all pairs of rows for p = 0, 1, 2, ∞, without their differences in memory."""
    batch = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    rows, width, columns = x.shape[-2], x.shape[-1], y.shape[-2]
    out = new_empty((*batch, rows, columns), x.dtype)
    a, b = x.expand(*batch, rows, width).contiguous(), y.mT.expand(*batch, width, columns).contiguous()
    extent = out.numel() // columns if columns else 0
    if extent:
        launch(
            distance_kernel(x.dtype.ir, p),
            [out, a, b, rows, columns, width, extent],
            extent,
            1,
            extent * columns * width,
        )
    ctx.p = p
    ctx.save(x, y, out)
    return out


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


@recalled
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
    p = float(p)
    many = max(x1.shape[-2], x2.shape[-2]) > MANY
    if p == 2 and x1.shape[-1] and (many if product is None else product):
        return euclidean(x1, x2)
    if p in FOLDS and x1.dtype is x2.dtype and x1.dtype.itemsize >= 4:
        return pairwise(x1, x2, p)
    return lengths(x1.unsqueeze(-2) - x2.unsqueeze(-3), p)


@functools.lru_cache(64)
def pairs(n: int) -> tuple[Tensor, Tensor]:
    """All i < j below n, as tensors that any mode may use."""
    was = _core.swap_inference(False)
    try:
        i, j = triu_indices(n, n, 1)
        return i.contiguous(), j.contiguous()
    finally:
        _core.swap_inference(was)


@recalled
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances of all pairs of rows i < j. Shape (n, k): (n (n − 1) / 2).

    >>> fb.pdist(fb.tensor([[0.0], [1.0], [3.0]]))
    tensor([1., 3., 2.])
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist: takes a matrix, got shape {tuple(input.shape)}")
    n = input.shape[0]
    i, j = triu_indices(n, n, 1) if _core.interpreting() or n > FEW else pairs(n)
    return lengths(input[i] - input[j], float(p))


@recalled
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
    """In-place form of `renorm`.

    >>> fb.tensor([[3.0, 4.0], [0.3, 0.4]]).renorm_(2, 0, 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    return self.copy_(renorm(self, p, dim, maxnorm))
