"""Systems of linear equations: inverses, solutions, triangular systems, least squares.

Imports core, ops and neighbours. Read next: `factors.py`, whose results are solved with here, and `lapack.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..core._core import Tensor, broadcast_shapes, surely_within
from ..ops.arguments import every, return_type
from ..ops.basic import sum_to
from ..ops.factories import empty
from ..ops.primitive import primitive
from ..ops.recall import recalled
from .lapack import (
    INT64,
    H,
    LinAlgError,
    array,
    check,
    each,
    failures,
    identity,
    mm,
    out_of,
    same_dtype,
    tensor,
)
from .routines import Scratch, by_columns, by_rows, call, factored

inv_ex_result = return_type("linalg_inv_ex", "inverse info")
solve_ex_result = return_type("linalg_solve_ex", "result info")
lstsq_result = return_type("linalg_lstsq", "solution residuals rank singular_values")

SINGULAR = "a matrix is singular (its LU decomposition has a 0 on the diagonal); pinv and lstsq take such matrices"


def inverse_vjp(ctx: Any, g: Tensor) -> Tensor:
    (y,) = ctx.saved
    return -mm(H(y), g, H(y))


@primitive(inverse_vjp, name="linalg_inv")
def inverse(ctx, A):
    """The inverses of square matrices."""
    y, n = by_rows(A), A.shape[-1]
    pivots, info = factored(y)
    refuse("inv", info, SINGULAR)
    # Both the matrices that LAPACK sees and their inverses are transposed.
    call("getri", A, n, y, max(1, n), pivots, Scratch(A.dtype))
    y.add_(0.0)  # getri leaves -0.0 where triangles are empty
    ctx.save(y)
    return y


@recalled
@out_of
def inv(A: Tensor) -> Tensor:
    """The inverse of a square matrix: Y A = A Y = I. Shape (…, n, n); LinAlgError where A is singular.

    >>> fb.linalg.inv(fb.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    check("inv", A, square=True)
    return inverse(A)


def first_zero_pivots(A: Tensor) -> Tensor:
    """For each matrix LAPACK's info: 0, or the place from 1 on of the first zero pivot."""
    return factored(by_columns(A))[1]


def refuse(name: str, info: Tensor, why: str) -> None:
    if not surely_within(info, 0, 1) and bool((every(info) != 0).any()):
        raise LinAlgError(f"{name}: {why}")


@out_of
def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """The inverse and for each matrix an int32 `info`, 0 where it exists; a singular matrix raises only on request.

    >>> fb.linalg.inv_ex(fb.tensor([[2.0]])).info
    tensor(0, dtype=flambeau.int32)
    """
    check("inv_ex", A, square=True)
    y, info = safely(A, "inv_ex", check_errors, lambda a: inverse(a))
    return inv_ex_result(y, info)


def safely(A: Tensor, name: str, check_errors: bool, f: Any) -> tuple[Tensor, Tensor]:
    """f of A, with the identity in place of singular matrices and NaN as what comes of those."""
    info = first_zero_pivots(A)
    if check_errors:
        refuse(name, info, SINGULAR)
    bad = info != 0
    if not bool(every(bad).any()):
        return f(A), info
    from ..ops.calls import where

    bad = bad.unsqueeze(-1).unsqueeze(-1)
    return f(where(bad, identity(A.shape[-1], A), A)).masked_fill(bad, math.nan), info


def solution_vjp(ctx: Any, g: Tensor) -> tuple:
    A, X = ctx.saved
    gB = solution(H(A), g)
    gA = sum_to(-mm(gB, H(X)), A.shape, "solve") if ctx.needs_input_grad[0] else None
    return gA, sum_to(gB, ctx.shape, "solve")


@primitive(solution_vjp, name="linalg_solve")
def solution(ctx, A, B):
    """X with A X = B, batches broadcast."""
    batch, n, k = broadcast_shapes(A.shape[:-2], B.shape[:-2]), A.shape[-1], B.shape[-1]
    factors, X = by_rows(A.expand(*batch, n, n)), by_columns(B.expand(*batch, n, k))
    pivots, info = factored(factors)
    refuse("solve", info, SINGULAR)
    call("getrs", X, "T", n, k, factors, max(1, n), pivots, X, max(1, n))
    ctx.shape = B.shape
    ctx.save(A, X)
    return X


def is_vector(A: Tensor, B: Tensor) -> bool:
    """Whether PyTorch takes B for a batch of vectors rather than of matrices."""
    return B.ndim == 1 or (A.ndim - 1 == B.ndim and B.shape == A.shape[:-1])


@recalled
@out_of
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B, or X A = B with left=False.

    Shapes: A (…, n, n); B (…, n), (n,) or (…, n, k), batches broadcast. LinAlgError where A is singular.

    >>> fb.linalg.solve(fb.tensor([[2.0, 0.0], [0.0, 4.0]]), fb.tensor([2.0, 8.0]))
    tensor([1., 2.])
    """
    check("solve", A, square=True)
    check("solve", B, least=1)
    same_dtype("solve", A, B)
    vector = left and is_vector(A, B)
    rhs = B.unsqueeze(-1) if vector else B
    if rhs.ndim < 2 or rhs.shape[-2 if left else -1] != A.shape[-1]:
        raise RuntimeError(f"solve: sizes don't fit, A is {tuple(A.shape)} and B {tuple(B.shape)}")
    if not left:
        return solution(A.mT, rhs.mT).mT
    X = solution(A, rhs)
    return X.squeeze(-1) if vector else X


@out_of
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """The solution of A X = B and for each matrix an int32 `info`, 0 where A isn't singular.

    >>> fb.linalg.solve_ex(fb.tensor([[2.0]]), fb.tensor([4.0])).result
    tensor([2.])
    """
    check("solve_ex", A, square=True)
    info = first_zero_pivots(A)
    if check_errors:
        refuse("solve_ex", info, SINGULAR)
    if bool((every(info) != 0).any()):
        shape = B.shape if is_vector(A, B) else (*broadcast_shapes(A.shape[:-2], B.shape[:-2]), *B.shape[-2:])
        return solve_ex_result(B.expand(shape) * math.nan, info)
    return solve_ex_result(solve(A, B, left=left), info)


def triangular_vjp(ctx: Any, g: Tensor) -> tuple:
    A, X = ctx.saved
    gB = triangular(H(A), g, not ctx.upper, ctx.unit)
    gA = None
    if ctx.needs_input_grad[0]:
        from ..ops.triangles import tril, triu

        skip = 1 if ctx.unit else 0
        gA = -mm(gB, H(X))
        gA = sum_to(triu(gA, skip) if ctx.upper else tril(gA, -skip), A.shape, "solve_triangular")
    return gA, sum_to(gB, ctx.shape, "solve_triangular")


@primitive(triangular_vjp, name="linalg_solve_triangular")
def triangular(ctx, A, B, upper, unit):
    """X with A X = B for triangular A, batches broadcast."""
    batch, n, k = broadcast_shapes(A.shape[:-2], B.shape[:-2]), A.shape[-1], B.shape[-1]
    rows, X = A.expand(*batch, n, n).contiguous(), by_columns(B.expand(*batch, n, k))
    # Stored by rows it is the transpose to LAPACK, with the other triangle.
    triangle, diagonal = "L" if upper else "U", "U" if unit else "N"
    info = call("trtrs", X, triangle, "T", diagonal, n, k, rows, max(1, n), X, max(1, n))
    singular = every(info) != 0
    if bool(singular.any()):
        X.masked_fill_(singular.unsqueeze(-1).unsqueeze(-1), math.nan)
    ctx.shape, ctx.upper, ctx.unit = B.shape, upper, unit
    ctx.save(A, X)
    return X


@out_of
def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B (X A = B with left=False) for a triangular A; only that triangle is read.

    Shapes: A (…, n, n), B (…, n, k), batches broadcast. A diagonal element 0 gives NaN.

    >>> fb.linalg.solve_triangular(fb.tensor([[1.0, 1.0], [0.0, 2.0]]), fb.tensor([[3.0], [4.0]]), upper=True)
    tensor([[1.],
            [2.]])
    """
    check("solve_triangular", A, square=True)
    check("solve_triangular", B)
    same_dtype("solve_triangular", A, B)
    if B.shape[-2 if left else -1] != A.shape[-1]:
        raise RuntimeError(f"solve_triangular: sizes don't fit, A is {tuple(A.shape)} and B {tuple(B.shape)}")
    if left:
        return triangular(A, B, upper, unitriangular)
    return triangular(A.mT, B.mT, not upper, unitriangular).mT


def lstsq(input: Tensor, b: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """The X that makes ‖A X − B‖ smallest, and among those the smallest.

    Shapes: A (…, m, n), B (…, m, k) or (…, m). Returns (solution, residuals, rank, singular_values): residuals where
    m > n and all ranks are full, for all drivers but "gelsy", the default; singular_values for "gelsd" and "gelss".

    >>> A = fb.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> fb.linalg.lstsq(A, fb.tensor([[1.0], [3.0], [5.0]])).solution
    tensor([[1.0000],
            [2.0000]])
    """
    check("lstsq", input)
    check("lstsq", b, least=1)
    same_dtype("lstsq", input, b)
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(f"lstsq: driver is one of gels, gelsy, gelsd, gelss, got {driver!r}")
    vector = is_vector(input, b)
    rhs = b.unsqueeze(-1) if vector else b
    m, n = input.shape[-2:]
    if rhs.shape[-2] != m:
        raise RuntimeError(
            f"lstsq: A has {m} rows and B {rhs.shape[-2]}: shapes {tuple(input.shape)} and {tuple(b.shape)}"
        )
    batch = broadcast_shapes(input.shape[:-2], rhs.shape[:-2])
    A, B = input.expand(*batch, m, n), rhs.expand(*batch, m, rhs.shape[-1])
    X, rank, values = least_squares(A, B, rcond, driver or "gelsy")
    residuals = empty(0, dtype=real_dtype(input))
    if m > n and driver not in (None, "gelsy") and (driver == "gels" or bool((every(rank) == n).all())):
        residuals = (mm(A, X) - B).abs().square().sum(-2)
    return lstsq_result(
        X.squeeze(-1) if vector else X,
        residuals,
        empty(0, dtype=INT64) if driver == "gels" else rank,
        values if driver in ("gelsd", "gelss") else empty(0, dtype=real_dtype(input)),
    )


def real_dtype(x: Tensor) -> Any:
    return x.dtype.to_real() if x.is_complex() else x.dtype


def least_squares_vjp(ctx: Any, g: Tensor, _: Any = None, __: Any = None) -> tuple:
    from .spectra import pinv, pseudo_gradient

    A, B = ctx.saved
    # The solution is pinv(A) B; what differs between the drivers is only how it was found.
    P = pinv(A)
    needs_a, needs_b = ctx.needs_input_grad
    return pseudo_gradient(A, P, mm(g, H(B))) if needs_a else None, mm(H(P), g) if needs_b else None


@primitive(least_squares_vjp, name="linalg_lstsq")
def least_squares(ctx, A, B, rcond, driver):
    """The least-squares solution, the ranks and the singular values."""
    import numpy as np
    from scipy.linalg import lstsq as scipy_lstsq

    a, b = array(A), array(B)
    m, n = a.shape[-2:]
    cond = rcond if rcond is not None else float(np.finfo(a.dtype).eps) * max(m, n)

    def one(x: Any, y: Any) -> tuple:
        if not x.size or not y.size:
            return np.zeros((n, y.shape[-1]), x.dtype), np.int64(0), np.zeros(min(m, n), x.real.dtype)
        found, _, rank, values = scipy_lstsq(
            x, y, cond, lapack_driver="gelsy" if driver == "gels" else driver, check_finite=False
        )
        return found, np.int64(rank), values if values is not None else np.zeros(min(m, n), x.real.dtype)

    with failures("lstsq", "the singular values didn't converge"):
        X, rank, values = each(one, a, b)
    ctx.save(A, B)
    return tensor(X), tensor(rank, INT64), tensor(values)


@out_of
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse for tensordot: tensordot(tensorinv(A), A, ind) is the identity.

    Shape: the first `ind` dimensions of A have as many elements as the rest.

    >>> fb.linalg.tensorinv(fb.eye(6).reshape(2, 3, 6), ind=2).shape
    flambeau.Size([6, 2, 3])
    """
    if ind <= 0:
        raise RuntimeError(f"tensorinv: ind must be positive, got {ind}")
    first, rest = A.shape[:ind], A.shape[ind:]
    if math.prod(first) != math.prod(rest):
        raise RuntimeError(
            f"tensorinv: the first {ind} dimensions of {tuple(A.shape)} must have as many elements as the rest"
        )
    return inv(A.reshape(math.prod(first), -1)).reshape(*rest, *first)


@out_of
def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B; `dims` of A are moved to its end first.

    >>> fb.linalg.tensorsolve(fb.eye(6).reshape(2, 3, 6), fb.ones(2, 3)).shape
    flambeau.Size([6])
    """
    if dims is not None:
        from ..ops.shape import movedim

        A = movedim(A, tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    shape = A.shape[B.ndim :]
    if math.prod(shape) != math.prod(A.shape[: B.ndim]):
        raise RuntimeError(f"tensorsolve: A of shape {tuple(A.shape)} isn't square for B of shape {tuple(B.shape)}")
    return solve(A.reshape(-1, math.prod(shape)), B.reshape(-1)).reshape(shape)
