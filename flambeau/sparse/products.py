"""Products of a sparse matrix with dense ones: two kernels, each the other's derivative.

`product` multiplies a matrix of stored values by a dense one; `sampled` computes the stored elements of a product of
dense ones. Every element is a chain of fused multiply-adds in the order of the row's entries, whatever the number of
threads. Imports core, ir and ops. Read next: `functions.py`.
"""

from __future__ import annotations

from typing import Any

from ..core._core import DTYPES, Tensor, launch, new_empty
from ..ir.expr import Expr, const, fma, load, var
from ..ir.kernel import LANES, REDUCE_BLOCK, Accumulator, Buffer, For, Kernel, Let, Reduce, Scalar, Store
from ..ops.basic import zeros_like_shape
from ..ops.gather import index_select
from ..ops.matmul import conj
from ..ops.primitive import generated, primitive
from .structure import Pattern

BOOL, FLOAT16, BFLOAT16, FLOAT32 = DTYPES[0], DTYPES[6], DTYPES[7], DTYPES[8]
# Multiply-adds that a thread takes at a time.
GRAIN = 65536


def multiply_add(a: Expr, b: Expr, total: Expr) -> Expr:
    return fma(a, b, total) if a.dtype in ("f32", "f64") else total + a * b


@generated
def product_kernel(dtype: str) -> Kernel:
    """Row t of the result: for each column the row's values times the rows of x that they name, added in order."""
    t, j, p, total = var("t"), var("j"), var("p"), var("total", dtype)
    zero, width = const(0, "i64"), var("width")
    element = load("x", dtype, load("column", "i64", p) * width + j)
    fold = Reduce(
        p, var("first"), var("last"), (Accumulator(total, const(0, dtype)),),
        (multiply_add(load("values", dtype, p), element, total),), lanes=1,
    )  # fmt: skip
    columns = For(j, zero, width, (fold, Store("y", t * width + j, total)), vector=True)
    body = (Let(var("first"), load("starts", "i64", t)), Let(var("last"), load("starts", "i64", t + 1)), columns)
    params = (
        Buffer("y", dtype, "w"), Buffer("values", dtype), Buffer("x", dtype), Buffer("starts", "i64"),
        Buffer("column", "i64"), Scalar("width"), Scalar("extent"),
    )  # fmt: skip
    return Kernel("sparse_product", params, (For(t, zero, var("extent"), body, parallel=True),))


@generated
def sampled_kernel(dtype: str) -> Kernel:
    """Entry p: row row[p] of x times row column[p] of z."""
    p, j, total, other = var("p"), var("j"), var("total", dtype), var("other", dtype)
    zero, width = const(0, "i64"), var("width")
    a = load("x", dtype, var("left") + j)
    b = load("z", dtype, var("right") + j)
    fold = Reduce(
        j, zero, width, (Accumulator(total, const(0, dtype)),), (multiply_add(a, b, total),), (total + other,),
        (other,), LANES,
    )  # fmt: skip
    body = (
        Let(var("left"), load("row", "i64", p) * width), Let(var("right"), load("column", "i64", p) * width), fold,
        Store("y", p, total),
    )  # fmt: skip
    params = (
        Buffer("y", dtype, "w"), Buffer("x", dtype), Buffer("z", dtype), Buffer("row", "i64"), Buffer("column", "i64"),
        Scalar("width"), Scalar("extent"),
    )  # fmt: skip
    return Kernel("sampled_product", params, (For(p, zero, var("extent"), body, parallel=True),))


def computed(x: Tensor) -> Tensor:
    """x contiguous and in the dtype that products are computed in."""
    if x.dtype is BOOL:
        raise RuntimeError("sparse product: not defined for bool; convert with x.to(fb.uint8)")
    return (x.to(FLOAT32) if x.dtype in (FLOAT16, BFLOAT16) else x).contiguous()


def product_vjp(ctx: Any, g: Tensor) -> tuple:
    values, x = ctx.saved
    needs_values, needs_x = ctx.needs_input_grad
    gv = sampled(g, conj(x), pattern=ctx.pattern) if needs_values else None
    if not needs_x:
        return gv, None
    turned, order = ctx.pattern.transposed
    return gv, product(index_select(conj(values), 0, order), g, pattern=turned)


@primitive(product_vjp, name="sparse_product")
def product(ctx, values, x, *, pattern: Pattern):
    """The matrix that has `values` at a pattern's entries, times x (columns, width)."""
    ctx.pattern = pattern
    ctx.save(values, x)
    width = x.shape[1]
    v, d = computed(values.detach()), computed(x.detach())
    y = new_empty((pattern.rows, width), v.dtype)
    if y.numel():
        work = width * (v.shape[0] + pattern.rows)
        grain = max(1, GRAIN * pattern.rows // work)
        launch(
            product_kernel(v.dtype.ir), (y, v, d, pattern.starts, pattern.column, width, pattern.rows), pattern.rows,
            grain, work,
        )  # fmt: skip
    return y.to(values.dtype)


def sampled_vjp(ctx: Any, g: Tensor) -> tuple:
    x, z = ctx.saved
    needs_x, needs_z = ctx.needs_input_grad
    gx = product(g, conj(z), pattern=ctx.pattern) if needs_x else None
    if not needs_z:
        return gx, None
    turned, order = ctx.pattern.transposed
    return gx, product(index_select(g, 0, order), conj(x), pattern=turned)


@primitive(sampled_vjp, name="sampled_product")
def sampled(ctx, x, z, *, pattern: Pattern):
    """The elements of x zᵀ at a pattern's entries; x (rows, width), z (columns, width)."""
    ctx.pattern = pattern
    ctx.save(x, z)
    a, b = x.detach(), z.detach()
    width = a.shape[1]
    total = None
    # A Reduce runs over one block at most; blocks are added in order.
    for first in range(0, width, REDUCE_BLOCK):
        left, right = (computed(m.narrow(1, first, min(REDUCE_BLOCK, width - first))) for m in (a, b))
        part = sampled_block(left, right, pattern)
        total = part if total is None else total + part
    return zeros_like_shape(a, pattern.column.shape, a.dtype) if total is None else total.to(x.dtype)


def sampled_block(x: Tensor, z: Tensor, pattern: Pattern) -> Tensor:
    count, width = pattern.column.shape[0], x.shape[1]
    y = new_empty((count,), x.dtype)
    if count:
        args = (y, x, z, pattern.row, pattern.column, width, count)
        launch(sampled_kernel(x.dtype.ir), args, count, max(1, GRAIN // width), count * width)
    return y
