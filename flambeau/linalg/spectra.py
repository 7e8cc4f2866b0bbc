"""Eigenvalues and singular values, and what is defined by them: pseudo-inverse, rank.

Derivatives: M. Giles, Collected matrix derivative results (2008); for complex matrices PyTorch's conventions. They
exist where eigenvalues, or singular values, are distinct. Imports core, ops and neighbours. Read next: `norms.py`.
"""

from __future__ import annotations

from typing import Any, Literal

from ..core import _core
from ..core._core import Tensor
from ..ops.arguments import return_type
from ..ops.factories import empty
from ..ops.primitive import primitive
from ..ops.recall import recalled
from ..ops.table import TABLE
from ..ops.triangles import diag_embed
from .lapack import INT32, H, array, as_complex, check, diagonals, failures, identity, mm, out_of, real, tensor
from .routines import Scratch, by_columns, call, columns
from .solving import real_dtype, refuse, solution

eigh_result = return_type("linalg_eigh", "eigenvalues eigenvectors")
eig_result = return_type("linalg_eig", "eigenvalues eigenvectors")
svd_result = return_type("linalg_svd", "U S Vh")

NO_CONVERGENCE = "the iteration didn't converge; is there a NaN or an infinity in the input?"


def differences(values: Tensor) -> Tensor:
    """E[i, j] = λ_j − λ_i, and 1 on the diagonal, so that it can be divided by."""
    return values.unsqueeze(-2) - values.unsqueeze(-1) + identity(values.shape[-1], values)


def without_diagonal(x: Tensor) -> Tensor:
    return x - diag_embed(diagonals(x))


def recorded(x: Tensor) -> bool:
    """Whether the tape or an interpreter follows x, so that LAPACK must not be called outside of an operation."""
    return _core.interpreting() or (x.requires_grad and _core.is_grad_enabled())


def eigh_vjp(ctx: Any, gL: Tensor | None, gV: Tensor | None) -> Tensor:
    L, V = ctx.saved
    if gV is None:
        return mm(V * gL.unsqueeze(-2), H(V))
    inner = without_diagonal(mm(H(V), gV) / differences(L))
    if gL is not None:
        inner = inner + diag_embed(gL.to(inner.dtype))
    return mm(V, inner, H(V))


@primitive(eigh_vjp, name="linalg_eigh")
def hermitian_eigen(ctx, A, uplo):
    """Eigenvalues, ascending, and eigenvectors."""
    L, V = eigh_by_lapack("eigh", A, uplo, "V")
    ctx.save(L, V)
    return L, V


def eigh_by_lapack(name: str, A: Tensor, uplo: str, job: str) -> tuple[Tensor, Tensor]:
    """Eigenvalues and, if `job` is "V", eigenvectors."""
    n, V = A.shape[-1], by_columns(A)
    L = empty(A.shape[:-1], dtype=real_dtype(A))
    if A.is_complex():
        scratch = (Scratch(A.dtype), Scratch(L.dtype), Scratch(INT32))
        info = call("heevd", A, job, uplo, n, V, max(1, n), L, *scratch)
    else:
        info = call("syevd", A, job, uplo, n, V, max(1, n), L, Scratch(A.dtype), Scratch(INT32))
    refuse(name, info, NO_CONVERGENCE)
    return L, V


def triangle_name(name: str, UPLO: str) -> Literal["L", "U"]:
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"{name}: UPLO is 'L' or 'U', got {UPLO!r}")
    return "L" if UPLO.upper() == "L" else "U"


@recalled
@out_of
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """A = V diag(λ) Vᴴ of a Hermitian matrix: real eigenvalues, ascending, and orthonormal eigenvectors in columns.

    Shape (…, n, n); the triangle UPLO is read. The eigenvectors have a derivative where no eigenvalue is repeated, and
    only a loss that doesn't depend on their signs or phases has a gradient with a meaning.

    >>> fb.linalg.eigh(fb.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    check("eigh", A, square=True)
    return eigh_result(*hermitian_eigen(A, triangle_name("eigh", UPLO)))


@recalled
@out_of
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of a Hermitian matrix, ascending.

    >>> fb.linalg.eigvalsh(fb.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([1., 2.])
    """
    check("eigvalsh", A, square=True)
    uplo = triangle_name("eigvalsh", UPLO)
    if recorded(A):
        return hermitian_eigen(A, uplo)[0]
    return eigh_by_lapack("eigvalsh", A, uplo, "N")[0]


def eig_vjp(ctx: Any, gL: Tensor | None, gV: Tensor | None) -> Tensor:
    L, V = ctx.saved
    if gV is None:
        inner = diag_embed(gL)
    else:
        VhgV = mm(H(V), gV)
        inner = VhgV - mm(H(V), V * real(diagonals(VhgV)).unsqueeze(-2))
        inner = without_diagonal(inner / TABLE["conj_physical"](differences(L)))
        if gL is not None:
            inner = inner + diag_embed(gL)
    gA = solution(H(V), mm(inner, H(V)))
    return gA if ctx.complex else real(gA)


@primitive(eig_vjp, name="linalg_eig")
def general_eigen(ctx, A):
    """Complex eigenvalues and eigenvectors."""
    import numpy as np

    with failures("eig", NO_CONVERGENCE):
        L, V = (as_complex(tensor(x)) for x in np.linalg.eig(array(A)))
    ctx.save(L, V)
    ctx.complex = A.is_complex()
    return L, V


@out_of
def eig(A: Tensor) -> Any:
    """A V = V diag(λ): complex eigenvalues, in no order, and eigenvectors of length 1 in columns. Shape (…, n, n).

    >>> fb.linalg.eig(fb.tensor([[2.0]])).eigenvalues
    tensor([2.+0.j])
    """
    check("eig", A, square=True)
    return eig_result(*general_eigen(A))


@out_of
def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues of a square matrix, complex and in no order.

    >>> fb.linalg.eigvals(fb.tensor([[2.0]]))
    tensor([2.+0.j])
    """
    check("eigvals", A, square=True)
    if recorded(A):
        return general_eigen(A)[0]
    import numpy as np

    with failures("eigvals", NO_CONVERGENCE):
        return as_complex(tensor(np.linalg.eigvals(array(A))))


def svd_vjp(ctx: Any, gU: Tensor | None, gS: Tensor | None, gVh: Tensor | None) -> Tensor:
    U, S, Vh = ctx.saved
    m, k, n = U.shape[-2], S.shape[-1], Vh.shape[-1]
    if ctx.full:
        # Only the first k columns are determined.
        U, Vh = U[..., :k], Vh[..., :k, :]
        gU, gVh = None if gU is None else gU[..., :k], None if gVh is None else gVh[..., :k, :]
    inner = None if gS is None else diag_embed(gS.to(U.dtype))
    E = differences(S * S)
    if gU is not None:
        skew = mm(H(U), gU)
        skew = skew - H(skew)
        part = without_diagonal(skew / E) * S.unsqueeze(-2)
        if U.is_complex():
            part = part + diag_embed(diagonals(skew) / (2 * S))
        inner = part if inner is None else inner + part
    if gVh is not None:
        skew = mm(Vh, H(gVh))
        skew = skew - H(skew)
        part = S.unsqueeze(-1) * without_diagonal(skew / E)
        inner = part if inner is None else inner + part
    gA = mm(U, inner, Vh)
    if gU is not None and m > k:
        scaled = gU / S.unsqueeze(-2)
        gA = gA + mm(scaled - mm(U, mm(H(U), scaled)), Vh)
    if gVh is not None and n > k:
        scaled = gVh / S.unsqueeze(-1)
        gA = gA + mm(U, scaled - mm(mm(scaled, H(Vh)), Vh))
    return gA


@primitive(svd_vjp, name="linalg_svd")
def singular(ctx, A, full):
    """U, S and Vᴴ."""
    U, S, Vh = svd_by_lapack("svd", A, "A" if full else "S")
    ctx.full = full
    ctx.save(U, S, Vh)
    return U, S, Vh


def svd_by_lapack(name: str, A: Tensor, job: str) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and Vᴴ: all their columns for `job` "A", those that belong to singular values for "S", S alone for "N"."""
    *batch, m, n = A.shape
    k = min(m, n)
    left, right = (m, n) if job == "A" else (k, k) if job == "S" else (0, 0)
    U, Vh = columns((*batch, m, left), A.dtype), columns((*batch, right, n), A.dtype)
    S = empty((*batch, k), dtype=real_dtype(A))
    # The longest that the documentation of gesdd asks for, with or without vectors.
    reals = max(1, 2 * max(m, n) * k + 2 * k * k + k, 5 * k * k + 7 * k) if A.is_complex() else 0
    work = (empty((*batch, reals), dtype=S.dtype),) if reals else ()
    integers = empty((*batch, max(1, 8 * k)), dtype=INT32)
    info = call(
        "gesdd", A, job, m, n, by_columns(A), max(1, m), S, U, max(1, m), Vh, max(1, right), Scratch(A.dtype),
        *work, integers,
    )  # fmt: skip
    refuse(name, info, NO_CONVERGENCE)
    return U, S, Vh


def check_driver(name: str, driver: str | None) -> None:
    if driver is not None:
        raise RuntimeError(f"{name}: driver= is only for CUDA tensors, got {driver!r} on the CPU; leave it out")


@recalled
@out_of
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """A = U diag(S) Vᴴ with orthonormal columns in U and V, and singular values S, descending.

    Shapes: A (…, m, n), k = min(m, n): U (…, m, m), S (…, k), Vh (…, n, n), or (…, m, k) and (…, k, n) with
    full_matrices=False. U and Vh have derivatives where no singular value is repeated.

    >>> fb.linalg.svd(fb.tensor([[3.0, 0.0], [0.0, 4.0]])).S
    tensor([4., 3.])
    """
    check("svd", A)
    check_driver("svd", driver)
    return svd_result(*singular(A, full_matrices))


@recalled
@out_of
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values, descending. Shape (…, m, n): (…, min(m, n)).

    >>> fb.linalg.svdvals(fb.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor([4., 3.])
    """
    check("svdvals", A)
    check_driver("svdvals", driver)
    if recorded(A):
        return singular(A, False)[1]
    return svd_by_lapack("svdvals", A, "N")[1]


def pseudo_gradient(A: Tensor, P: Tensor, g: Tensor) -> Tensor:
    """The gradient of A from that of its pseudo-inverse P, where the rank stays as it is (Golub and Pereyra, 1973)."""
    gh, Ph = H(g), H(P)
    left = mm(gh, P)
    right = mm(P, gh)
    return -mm(Ph, g, Ph) + mm(left - mm(A, P, left), Ph) + mm(Ph, right - mm(right, P, A))


def pinv_vjp(ctx: Any, g: Tensor, *_: Any) -> Tensor:
    A, P = ctx.saved
    return pseudo_gradient(A, P, g)


@primitive(pinv_vjp, name="linalg_pinv")
def pseudo_inverse(ctx, A, thresholds, hermitian):
    """V diag(1 / S) Uᴴ over the singular values above max(atol, rtol S_max)."""
    import numpy as np

    a = array(A)
    atol, rtol = thresholds
    if not a.size:
        P = tensor(np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype))
        ctx.save(A, P)
        return P
    with failures("pinv", NO_CONVERGENCE):
        if hermitian:
            S, U = np.linalg.eigh(a)
            Vh = np.swapaxes(U, -1, -2).conj()
        else:
            U, S, Vh = np.linalg.svd(a, full_matrices=False)
    size = np.abs(S)
    keep = size > np.maximum(atol, rtol * size.max(-1, keepdims=True))
    inverse = np.where(keep, 1 / np.where(keep, S, 1), 0).astype(S.dtype)
    P = tensor((np.swapaxes(Vh, -1, -2).conj() * inverse[..., None, :]) @ np.swapaxes(U, -1, -2).conj())
    ctx.save(A, P)
    return P


def thresholds(name: str, A: Tensor, atol: Any, rtol: Any) -> tuple[Any, Any]:
    """The tolerances as arrays that fit singular values; rtol defaults to max(m, n) ε where atol doesn't say."""
    import numpy as np

    def value(x: Any) -> Any:
        return array(x)[..., None] if isinstance(x, Tensor) and x.ndim else np.float64(float(x))

    if rtol is None:
        eps = float(np.finfo(array(A).dtype).eps) * max(A.shape[-2:])
        zero = atol is None or (not isinstance(atol, Tensor) and atol <= 0)
        rtol = eps if zero else 0.0
        if isinstance(atol, Tensor):
            return value(atol), np.where(value(atol) > 0, 0.0, eps)
    return value(0.0 if atol is None else atol), value(rtol)


@out_of
def pinv(A: Tensor, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Tensor:
    """The Moore–Penrose pseudo-inverse. Shape (…, m, n): (…, n, m).

    Singular values up to max(atol, rtol · the largest) count as 0; rtol is by default max(m, n) ε, or 0 where atol > 0.

    >>> fb.linalg.pinv(fb.tensor([[2.0], [0.0]]))
    tensor([[0.5000, 0.0000]])
    """
    check("pinv", A, square=hermitian)
    return pseudo_inverse(A, thresholds("pinv", A, atol, rtol if rcond is None else rcond), hermitian)


@out_of
def matrix_rank(A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Tensor:
    """How many singular values exceed max(atol, rtol · the largest), as int64. Shape (…, m, n): (…).

    >>> fb.linalg.matrix_rank(fb.tensor([[1.0, 2.0], [2.0, 4.0]]))
    tensor(1)
    """
    import numpy as np

    from .lapack import INT64

    check("matrix_rank", A, square=hermitian)
    if tol is not None:
        atol, rtol = tol, 0.0
    a = array(A)
    low, relative = thresholds("matrix_rank", A, atol, rtol)
    if not a.size:
        return tensor(np.zeros(a.shape[:-2], np.int64), INT64)
    S = np.abs(np.linalg.eigvalsh(a)) if hermitian else np.linalg.svd(a, compute_uv=False)
    return tensor(np.asarray((np.maximum(low, relative * S.max(-1, keepdims=True)) < S).sum(-1), np.int64), INT64)
