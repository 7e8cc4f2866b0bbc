"""Triangles and diagonals of matrices: tril, triu and their indices, diag, diag_embed, diagflat.

Imports core, ir and neighbours in ops. Read next: `shape.py` (`diagonal`, the view), `rearrange.py`.
"""

from __future__ import annotations

from typing import Any

from ..core._core import DTYPES, Tensor, launch, new_empty, plain_copy
from ..ir.expr import Expr, const, irem, load, var, where
from ..ir.kernel import Buffer, For, Kernel, Scalar, Store
from .arguments import out_of, wrap
from .basic import IDENTITY, zeros_like_shape
from .indirect import BITS
from .joining import stack
from .masks import columns, true_places
from .primitive import generated, primitive
from .recall import recalled
from .shape import diagonal

__all__ = ["diag", "diag_embed", "diagflat", "tril", "tril_indices", "triu", "triu_indices"]

GRAIN = 32768


@generated
def triangle_kernel(dtype: str, lower: bool) -> Kernel:
    """y = x on and below (above) a diagonal of each matrix, 0 elsewhere."""
    t, j = var("t"), var("j")
    place = t * var("cols") + j
    reach = irem(t, var("rows")) + var("diagonal")
    kept: Expr = j <= reach if lower else j >= reach
    zero = const(0, dtype)
    row = For(
        j, const(0, "i64"), var("cols"), (Store("y", place, where(kept, load("x", dtype, place), zero)),), vector=True
    )
    sizes = [Scalar(n) for n in ("rows", "cols", "diagonal", "extent")]
    params: tuple[Buffer | Scalar, ...] = (Buffer("y", dtype, "w"), Buffer("x", dtype), *sizes)
    return Kernel("triangle", params, (For(t, const(0, "i64"), var("extent"), (row,), parallel=True),))


def triangle_vjp(ctx: Any, g: Tensor) -> Tensor:
    return triangle(g, ctx.diagonal, ctx.lower)


@primitive(triangle_vjp, name="triangle")
def triangle(ctx, x, diagonal, lower):
    """The lower or upper triangle of matrices; zeros elsewhere."""
    ctx.diagonal, ctx.lower = diagonal, lower
    if x.ndim < 2:
        raise RuntimeError(
            f"{'tril' if lower else 'triu'}: at least 2 dimensions are needed, got shape {list(x.shape)}"
        )
    x, y = x.contiguous(), new_empty(x.shape, x.dtype)
    rows, cols = x.shape[-2:]
    if x.numel():
        extent = x.numel() // cols
        args = [y, x, rows, cols, max(-rows, min(diagonal, cols)), extent]
        launch(triangle_kernel(BITS[x.itemsize], lower), args, extent, max(1, GRAIN // cols), x.numel())
    return y


@recalled
@out_of
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The elements on and below a diagonal of matrices; zeros elsewhere.

    >>> fb.tril(fb.tensor([[1, 2], [3, 4]]))
    tensor([[1, 0],
            [3, 4]])
    """
    return triangle(input, diagonal, True)


@recalled
@out_of
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The elements on and above a diagonal of matrices; zeros elsewhere.

    >>> fb.triu(fb.tensor([[1, 2], [3, 4]]))
    tensor([[1, 2],
            [0, 4]])
    """
    return triangle(input, diagonal, False)


def tril_(input: Tensor, diagonal: int = 0) -> Tensor:
    """In-place form of :func:`tril`.

    >>> fb.ones(2, 2).tril_()
    tensor([[1., 0.],
            [1., 1.]])
    """
    return input.copy_(tril(input, diagonal))


def triu_(input: Tensor, diagonal: int = 0) -> Tensor:
    """In-place form of :func:`triu`.

    >>> fb.ones(2, 2).triu_(1)
    tensor([[0., 1.],
            [0., 0.]])
    """
    return input.copy_(triu(input, diagonal))


def triangle_indices(row: int, col: int, offset: int, lower: bool, dtype: Any) -> Tensor:
    if row < 0 or col < 0:
        raise RuntimeError(
            f"tril_indices, triu_indices: numbers of rows and columns can't be negative, got {row} and {col}"
        )
    ones = new_empty((row, col), DTYPES[0])
    IDENTITY.into((ones,), True)
    found = stack(columns(true_places(triangle(ones, offset, lower)), (row, col)))
    return found if dtype is None else found.to(dtype)


@recalled
def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Row and column indices of the lower triangle of a matrix, in a tensor of two rows.

    >>> fb.tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """
    return triangle_indices(row, col, offset, True, dtype)


@recalled
def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Row and column indices of the upper triangle of a matrix, in a tensor of two rows.

    >>> fb.triu_indices(2, 2)
    tensor([[0, 0, 1],
            [0, 1, 1]])
    """
    return triangle_indices(row, col, offset, False, dtype)


def diag_embed_vjp(ctx: Any, g: Tensor) -> Tensor:
    return diagonal(g, *ctx.where)


@primitive(diag_embed_vjp, method=True)
def diag_embed(ctx, input, offset=0, dim1=-2, dim2=-1):
    """Zeros with the last dimension of x on a diagonal of the plane of dim1 and dim2.

    >>> fb.diag_embed(fb.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    a, b = wrap(dim1, input.ndim + 1), wrap(dim2, input.ndim + 1)
    if a == b:
        raise RuntimeError(f"diag_embed: two different dimensions are needed, got {dim1} and {dim2}")
    ctx.where = (offset, a, b)
    n = input.shape[-1] + abs(offset)
    rest = iter(input.shape[:-1])
    y = zeros_like_shape(input, [n if d in (a, b) else next(rest) for d in range(input.ndim + 1)], input.dtype)
    plain_copy(diagonal(y, offset, a, b), input)
    return y


@recalled
@out_of
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The matrix with a vector on a diagonal, or a copy of a matrix's diagonal.

    >>> fb.diag(fb.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    if input.ndim not in (1, 2):
        raise RuntimeError(
            f"diag: a vector or a matrix is needed, got shape {list(input.shape)}; use diagonal() or diag_embed()"
        )
    return diag_embed(input, diagonal) if input.ndim == 1 else input.diagonal(diagonal).clone()


@recalled
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The matrix with the flattened x on a diagonal.

    >>> fb.diagflat(fb.tensor([[1], [2]]))
    tensor([[1, 0],
            [0, 2]])
    """
    return diag_embed(input.reshape(-1), offset)


for _function in (tril, triu, tril_, triu_, diag, diagflat):
    setattr(Tensor, _function.__name__, _function)
