"""Factorisations: Cholesky, QR, LU and LDL, with what solves and multiplies with their results.

Derivatives follow M. Seeger et al., Auto-Differentiating Linear Algebra (2017). Imports core, ops and neighbours.
Read next: `solving.py`, `spectra.py`.
"""

from __future__ import annotations

from typing import Any

from ..core._core import Tensor
from ..ops.arguments import into_out, return_type
from ..ops.factories import empty, zeros
from ..ops.joining import cat
from ..ops.primitive import primitive
from ..ops.recall import recalled
from ..ops.triangles import diag_embed, tril, triu
from .lapack import (
    INT32,
    H,
    array,
    check,
    diagonals,
    each,
    identity,
    mm,
    out_of,
    real,
    routine,
    same_dtype,
    tensor,
)
from .routines import Scratch, by_columns, by_rows, call, columns, factored
from .solving import refuse, solution, triangular

cholesky_ex_result = return_type("linalg_cholesky_ex", "L info")
qr_result = return_type("linalg_qr", "Q R")
lu_result = return_type("linalg_lu", "P L U")
lu_factor_result = return_type("linalg_lu_factor", "LU pivots")
lu_factor_ex_result = return_type("linalg_lu_factor_ex", "LU pivots info")
ldl_factor_result = return_type("linalg_ldl_factor", "LD pivots")
ldl_factor_ex_result = return_type("linalg_ldl_factor_ex", "LD pivots info")

NOT_POSITIVE = "a matrix isn't positive definite (a leading minor is not positive)"


def cholesky_vjp(ctx: Any, g: Tensor, _: Any = None) -> Tensor:
    (L,) = ctx.saved
    phi = tril(mm(H(L), g))
    phi = phi - diag_embed(diagonals(phi)) * 0.5
    # L^-H φ L^-1, made Hermitian, for A is.
    inner = triangular(H(L), phi, True, False)
    S = H(triangular(H(L), H(inner), True, False))
    return (S + H(S)) * 0.5


@primitive(cholesky_vjp, name="linalg_cholesky")
def cholesky_factor(ctx, A):
    """The lower factors and LAPACK's info for each matrix."""
    n = A.shape[-1]
    L = by_rows(A)
    # Stored by rows it is the transpose to LAPACK: the lower triangle is its upper one, and so is the factor's.
    info = call("potrf", A, "U", n, L, max(1, n))
    L = tril(L)
    ctx.save(L)
    return L, info


@recalled
@out_of
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with A = L Lᴴ (upper: U with A = Uᴴ U); LinAlgError unless A is positive definite.

    Shape (…, n, n). Only the lower triangle of A is read.

    >>> fb.linalg.cholesky(fb.tensor([[4.0, 2.0], [2.0, 5.0]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    check("cholesky", A, square=True)
    L, info = cholesky_factor(A)
    refuse("cholesky", info, NOT_POSITIVE)
    return H(L) if upper else L


@out_of
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """The Cholesky factor and for each matrix an int32 `info`: 0, or the order of the minor that isn't positive.

    >>> fb.linalg.cholesky_ex(fb.tensor([[-1.0]])).info
    tensor(1, dtype=flambeau.int32)
    """
    check("cholesky_ex", A, square=True)
    L, info = cholesky_factor(A)
    if check_errors:
        refuse("cholesky_ex", info, NOT_POSITIVE)
    return cholesky_ex_result(H(L) if upper else L, info)


def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """X with A X = B, where L is the Cholesky factor of A.

    >>> fb.cholesky_solve(fb.tensor([[4.0]]), fb.tensor([[2.0]]))
    tensor([[1.]])
    """
    check("cholesky_solve", B)
    check("cholesky_solve", L, square=True)
    first = triangular(H(L) if upper else L, B, False, False)
    X = triangular(L if upper else H(L), first, True, False)
    return into_out(out, X)


def cholesky_inverse(L: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The inverse of the matrix whose Cholesky factor is L.

    >>> fb.cholesky_inverse(fb.tensor([[2.0]]))
    tensor([[0.2500]])
    """
    check("cholesky_inverse", L, square=True)
    L = triu(L) if upper else tril(L)
    return cholesky_solve(identity(L.shape[-1], L).expand(L.shape), L, upper, out=out)


def qr_vjp(ctx: Any, gQ: Tensor | None, gR: Tensor | None) -> Tensor:
    Q, R = ctx.saved
    m, n = ctx.shape
    if ctx.mode == "r":
        raise RuntimeError("qr: mode='r' doesn't compute Q, which its derivative needs; use mode='reduced'")
    if ctx.mode == "complete" and m > n:
        raise RuntimeError(
            "qr: mode='complete' has a derivative only for m <= n, as Q isn't unique; use mode='reduced'"
        )
    if m >= n:
        return square_qr_gradient(Q, R, gQ, gR)
    # A = [X Y], R = [U V]: X = Q U, and V = Qᴴ Y.
    U, V = R[..., :m], R[..., m:]
    gU, gY = None, zeros((*Q.shape[:-2], m, n - m), dtype=Q.dtype)
    if gR is not None:
        gU, gV = gR[..., :m], gR[..., m:]
        gY = mm(Q, gV)
        through = mm(Q, V, H(gV))
        gQ = through if gQ is None else gQ + through
    return cat([square_qr_gradient(Q, U, gQ, gU), gY], -1)


def square_qr_gradient(Q: Tensor, R: Tensor, gQ: Tensor | None, gR: Tensor | None) -> Tensor:
    """(gQ + Q C) R⁻ᴴ with C = M's lower triangle mirrored and M = R gRᴴ − gQᴴ Q, for an R that is square."""
    M = None if gR is None else mm(R, H(gR))
    if gQ is not None:
        M = -mm(H(gQ), Q) if M is None else M - mm(H(gQ), Q)
    below = tril(M, -1)
    Z = mm(Q, below + H(below) + diag_embed(real(diagonals(M))))
    return H(triangular(R, H(Z if gQ is None else gQ + Z), True, False))


@primitive(qr_vjp, name="linalg_qr")
def qr_factors(ctx, A, mode):
    """Q and R."""
    m, n = A.shape[-2:]
    k = min(m, n)
    V, tau = householder(A)
    R = triu(V if mode == "complete" else V[..., :k, :])
    if mode == "r":
        Q = empty(0, dtype=A.dtype)
    else:
        Q = columns((*A.shape[:-1], m if mode == "complete" else k), A.dtype)
        Q[..., :k].copy_(V[..., :k])
        generate = "ungqr" if A.is_complex() else "orgqr"
        call(generate, A, m, Q.shape[-1], k, Q, max(1, m), tau, Scratch(A.dtype))
    ctx.save(Q, R)
    ctx.mode, ctx.shape = mode, A.shape[-2:]
    return Q, R


def householder(A: Tensor) -> tuple[Tensor, Tensor]:
    """R above the diagonal, the Householder vectors below it, and their factors tau."""
    m, n = A.shape[-2:]
    V, tau = by_columns(A), empty((*A.shape[:-2], min(m, n)), dtype=A.dtype)
    call("geqrf", A, m, n, V, max(1, m), tau, Scratch(A.dtype))
    return V, tau


@recalled
@out_of
def qr(A: Tensor, mode: str = "reduced") -> Any:
    """A = Q R with orthonormal columns in Q and an upper triangular R.

    Shapes: A (…, m, n), k = min(m, n); "reduced": Q (…, m, k), R (…, k, n); "complete": Q (…, m, m), R (…, m, n); "r":
    an empty Q.

    >>> fb.linalg.qr(fb.eye(2)).R.abs()
    tensor([[1., 0.],
            [0., 1.]])
    """
    check("qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr: mode is 'reduced', 'complete' or 'r', got {mode!r}")
    return qr_result(*qr_factors(A, mode))


def lu_vjp(ctx: Any, g: Tensor | None, _: Any = None, __: Any = None) -> Tensor:
    """The gradient for A = P L U from that of L and U in one matrix."""
    LU, pivots = ctx.saved
    m, n = LU.shape[-2:]
    k = min(m, n)
    P, L, U = unpack(LU, pivots)
    gL, gU = tril(g, -1)[..., :k], triu(g)[..., :k, :]
    L1, U1 = L[..., :k, :], U[..., :k]
    lower, upper = mm(H(L1), gL[..., :k, :]), mm(gU[..., :k], H(U1))
    if m > n:
        upper = upper - mm(H(L[..., k:, :]), gL[..., k:, :])
    if n > m:
        lower = lower - mm(gU[..., k:], H(U[..., k:]))
    phi = tril(lower, -1) + triu(upper)

    def times_inverse_U(x: Tensor) -> Tensor:
        return H(triangular(U1, H(x), True, False))

    def inverse_L_times(x: Tensor) -> Tensor:
        return triangular(H(L1), x, True, True)

    top = inverse_L_times(times_inverse_U(phi))
    if m > n:
        top = cat([top, times_inverse_U(gL[..., k:, :])], -2)
    if n > m:
        top = cat([top, inverse_L_times(gU[..., k:])], -1)
    return mm(P, top)


@primitive(lu_vjp, name="linalg_lu_factor")
def lu_factors(ctx, A):
    """L and U in one matrix, LAPACK's pivots counted from 1, and info."""
    LU = by_columns(A)
    pivots, info = factored(LU)
    ctx.save(LU, pivots)
    return LU, pivots, info


def permutation(pivots: Tensor, n: int) -> Any:
    """As an array: the row of P A' that row i of A' comes to be, from LAPACK's exchanges."""
    import numpy as np

    swaps = array(pivots)
    order = np.broadcast_to(np.arange(n), (*swaps.shape[:-1], n)).copy()
    for i in range(swaps.shape[-1]):
        j = swaps[..., i : i + 1].astype(np.int64) - 1
        at_i, at_j = order[..., i : i + 1].copy(), np.take_along_axis(order, j, -1)
        np.put_along_axis(order, j, at_i, -1)
        order[..., i : i + 1] = at_j
    return order


def permutation_matrix(pivots: Tensor, n: int, like: Tensor) -> Tensor:
    import numpy as np

    return tensor(np.swapaxes(np.eye(n)[permutation(pivots, n)], -1, -2), like.dtype)


def unpack(LU: Tensor, pivots: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    m, n = LU.shape[-2:]
    k = min(m, n)
    L = tril(LU[..., :k], -1) + identity(m, LU)[:, :k]
    return permutation_matrix(pivots, m, LU), L, triu(LU[..., :k, :])


@out_of
def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """A = P L U: a permutation, a lower triangular matrix with ones on its diagonal, an upper triangular one.

    Shapes: A (…, m, n), k = min(m, n): P (…, m, m), L (…, m, k), U (…, k, n).

    >>> fb.linalg.lu(fb.tensor([[0.0, 2.0], [1.0, 3.0]])).U
    tensor([[1., 3.],
            [0., 2.]])
    """
    LU, pivots = lu_factor(A, pivot=pivot)
    return lu_result(*unpack(LU, pivots))


@out_of
def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """The LU decomposition in the compact form that `lu_solve` takes: L below the diagonal of U, and int32 pivots.

    >>> fb.linalg.lu_factor(fb.tensor([[2.0]])).LU
    tensor([[2.]])
    """
    return lu_factor_result(*lu_factor_ex(A, pivot=pivot)[:2])


@out_of
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """`lu_factor` and for each matrix an int32 `info`: 0, or the place of the first zero on U's diagonal.

    >>> fb.linalg.lu_factor_ex(fb.tensor([[0.0]])).info
    tensor(1, dtype=flambeau.int32)
    """
    check("lu_factor", A)
    if not pivot:
        raise RuntimeError("lu_factor: LU without pivoting is not implemented on the CPU; use pivot=True")
    LU, pivots, info = lu_factors(A)
    if check_errors:
        refuse("lu_factor_ex", info, "a matrix is singular: U has a zero on its diagonal")
    return lu_factor_ex_result(LU, pivots, info)


@out_of
def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X with A X = B, where LU and pivots are `lu_factor(A)`; adjoint=True: Aᴴ X = B, left=False: X A = B.

    >>> fb.linalg.lu_solve(*fb.linalg.lu_factor(fb.tensor([[2.0]])), fb.tensor([[6.0]]))
    tensor([[3.]])
    """
    check("lu_solve", LU, square=True)
    check("lu_solve", B)
    same_dtype("lu_solve", LU, B)
    if not left:
        return H(lu_solve(LU, pivots, H(B), adjoint=not adjoint))
    P, L, U = unpack(LU, pivots)
    if adjoint:
        return mm(P, triangular(H(L), triangular(H(U), B, False, False), True, True))
    return triangular(U, triangular(L, mm(P.mT, B), False, True), True, False)


@out_of
def ldl_factor(A: Tensor, *, hermitian: bool = False) -> Any:
    """A = L D Lᵀ (Lᴴ for hermitian=True) of a symmetric, perhaps indefinite matrix, in LAPACK's compact form.

    >>> fb.linalg.ldl_factor(fb.tensor([[2.0, 0.0], [0.0, 3.0]])).LD
    tensor([[2., 0.],
            [0., 3.]])
    """
    LD, pivots, info = ldl_factor_ex(A, hermitian=hermitian)
    refuse("ldl_factor", info, "a block of D is singular")
    return ldl_factor_result(LD, pivots)


@out_of
def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """`ldl_factor` and for each matrix an int32 `info`: 0, or the place of the first zero in D. Not differentiable.

    >>> fb.linalg.ldl_factor_ex(fb.tensor([[0.0]])).info
    tensor(1, dtype=flambeau.int32)
    """
    import numpy as np

    check("ldl_factor", A, square=True)
    a = array(A)
    sytrf = routine("hetrf" if hermitian and A.is_complex() else "sytrf", a)

    def one(m: Any) -> tuple:
        LD, pivots, info = sytrf(m, lower=True)
        return np.tril(LD), pivots, np.int32(info)

    LD, pivots, info = each(one, a)
    info = tensor(info, INT32)
    if check_errors:
        refuse("ldl_factor_ex", info, "a block of D is singular")
    return ldl_factor_ex_result(tensor(LD), tensor(pivots, INT32), info)


def ldl_unpack(LD: Any, pivots: Any, hermitian: bool) -> tuple[Any, Any]:
    """L (with its exchanges of rows) and D of one matrix, from what ?sytrf leaves in the lower triangle."""
    import numpy as np

    n = LD.shape[-1]
    L, D = np.eye(n, dtype=LD.dtype), np.zeros_like(LD)
    steps, k = [], 0
    while k < n:
        width = 1 if pivots[k] > 0 else 2
        block = LD[k : k + width, k : k + width].copy()
        if width == 2:
            block[0, 1] = block[1, 0].conj() if hermitian else block[1, 0]
        D[k : k + width, k : k + width] = block
        M = np.eye(n, dtype=LD.dtype)
        M[k + width :, k : k + width] = LD[k + width :, k : k + width]
        swap, at = np.arange(n), abs(int(pivots[k])) - 1
        here = k + width - 1
        swap[[here, at]] = swap[[at, here]]
        steps.append(np.eye(n, dtype=LD.dtype)[swap] @ M)
        k += width
    for M in reversed(steps):
        L = M @ L
    return L, D


@out_of
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """X with A X = B, where LD and pivots are `ldl_factor(A)`. Differentiable in B.

    >>> LD, pivots = fb.linalg.ldl_factor(fb.tensor([[2.0]]))
    >>> fb.linalg.ldl_solve(LD, pivots, fb.tensor([[6.0]]))
    tensor([[3.]])
    """

    check("ldl_solve", LD, square=True)
    check("ldl_solve", B)
    ld, p = array(LD), array(pivots)

    def whole(m: Any, pivot: Any) -> tuple:
        L, D = ldl_unpack(m, pivot[0], hermitian)
        return (L @ D @ (L.conj().T if hermitian else L.T),)

    return solution(tensor(each(whole, ld, p[..., None, :])[0]), B)


def householder_product(A: Tensor, tau: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The first n columns of H₁ H₂ … H_k, with H_i = I − τ_i v_i v_iᴴ and v_i below the diagonal of A's column i.

    Shapes: A (…, m, n) with m >= n, tau (…, k) with k <= n: (…, m, n).

    >>> fb.linalg.householder_product(fb.tensor([[0.0], [0.0]]), fb.tensor([0.0]))
    tensor([[1.],
            [0.]])
    """
    check("householder_product", A)
    m, n = A.shape[-2:]
    if m < n or tau.shape[-1] > n:
        raise RuntimeError(f"householder_product: needs m >= n >= k, got A {tuple(A.shape)} and tau {tuple(tau.shape)}")
    Q = reflected(A, tau, identity(m, A)[:, :n], False)
    return into_out(out, Q)


def reflectors(A: Tensor) -> Tensor:
    m, n = A.shape[-2:]
    return (
        tril(A, -1) + identity(m, A)[:, :n]
        if m >= n
        else tril(A, -1) + cat([identity(m, A), zeros((m, n - m), dtype=A.dtype)], -1)
    )


def reflected(A: Tensor, tau: Tensor, C: Tensor, adjoint: bool) -> Tensor:
    """Q C, or Qᴴ C, for the Q that A and tau describe."""
    V = reflectors(A)
    k = tau.shape[-1]
    for i in range(k) if adjoint else range(k - 1, -1, -1):
        v, scale = V[..., i : i + 1], tau[..., i : i + 1].unsqueeze(-1)
        C = C - mm(v * (H(scale) if adjoint else scale), mm(H(v), C))
    return C.expand(*A.shape[:-2], *C.shape[-2:]) if C.ndim < A.ndim else C


def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Q C, Qᴴ C (transpose), or with left=False C Q, C Qᴴ, for the Q that `geqrf` describes by input and tau.

    >>> fb.ormqr(fb.tensor([[0.0], [0.0]]), fb.tensor([0.0]), fb.eye(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    if left:
        return reflected(input, tau, other, transpose)
    return H(reflected(input, tau, H(other), not transpose))


geqrf_result = return_type("geqrf", "a tau")


def geqrf(input: Tensor, *, out: Any = None) -> Any:
    """LAPACK's QR: R above the diagonal, the Householder vectors below it, and their factors tau. Not differentiable.

    >>> fb.geqrf(fb.eye(2)).tau.shape
    flambeau.Size([2])
    """
    check("geqrf", input)
    found = geqrf_result(*householder(input))
    return found if out is None else geqrf_result(*(o.copy_(x) for o, x in zip(out, found, strict=True)))
