"""Some of the leading eigenvectors or singular vectors of large matrices: svd_lowrank, pca_lowrank, lobpcg.

Source: N. Halko et al., Finding structure with randomness (2009); A. Knyazev, Toward the optimal preconditioned
eigensolver (2001). Imports core, ops and neighbours. Read next: `spectra.py`.
"""

from __future__ import annotations

from typing import Any

from ..core._core import Tensor
from ..ops.joining import cat
from ..ops.matmul import matmul
from ..ops.random import randn
from .factors import cholesky, qr
from .lapack import H, check
from .solving import solve_triangular
from .spectra import eigh, svd


def range_of(A: Tensor, q: int, niter: int) -> Tensor:
    """Orthonormal columns that nearly span what A maps to, from q random vectors and `niter` power steps."""
    Q = qr(matmul(A, randn(A.shape[-1], q, dtype=A.dtype))).Q
    for _ in range(niter):
        Q = qr(matmul(H(A), Q)).Q
        Q = qr(matmul(A, Q)).Q
    return Q


def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Approximately A − M = U diag(S) Vᴴ with q columns in U and V. Shapes: (…, m, n): (…, m, q), (…, q), (…, n, q).

    >>> U, S, V = fb.svd_lowrank(fb.eye(4), q=2)
    >>> S.shape
    flambeau.Size([2])
    """
    check("svd_lowrank", A)
    A = A if M is None else A - M
    q = 6 if q is None else q
    wide = A.shape[-2] < A.shape[-1]
    if wide:
        A = H(A)
    Q = range_of(A, q, 2 if niter is None else niter)
    U, S, Vh = svd(matmul(H(Q), A), full_matrices=False)
    U, V = matmul(Q, U), H(Vh)
    return (V, S, U) if wide else (U, S, V)


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """`svd_lowrank` of A less the mean of its rows: V's columns are the principal directions.

    >>> fb.pca_lowrank(fb.eye(4), q=2)[2].shape
    flambeau.Size([4, 2])
    """
    check("pca_lowrank", A)
    q = min(6, *A.shape[-2:]) if q is None else q
    if not 0 <= q <= min(A.shape[-2:]):
        raise ValueError(f"pca_lowrank: q must be from 0 to {min(A.shape[-2:])}, got {q}")
    return svd_lowrank(A - A.mean(-2, True) if center else A, q, niter)


def lobpcg(
    A: Tensor, k: int | None = None, B: Tensor | None = None, X: Tensor | None = None, n: int | None = None,
    iK: Tensor | None = None, niter: int | None = None, tol: float | None = None, largest: bool | None = None,
    method: str | None = None, tracker: Any = None, ortho_iparams: Any = None, ortho_fparams: Any = None,
    ortho_bparams: Any = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The k largest (or smallest) eigenvalues λ and eigenvectors of A x = λ B x for symmetric A, positive definite B.

    Locally optimal preconditioned conjugate gradients from X (random by default); iK is the preconditioner.
    Shapes: A (…, m, m): (…, k) and (…, m, k).

    >>> fb.lobpcg(fb.diag(fb.arange(1.0, 10.0)), k=1)[0].round()
    tensor([9.])
    """
    check("lobpcg", A, square=True)
    m = A.shape[-1]
    k = (1 if X is None else X.shape[-1]) if k is None else k
    width = k if n is None else n
    if m < 3 * width:
        raise ValueError(f"lobpcg: m must be at least 3 n, got m={m} and n={width}; use linalg.eigh for small matrices")
    sign = -1.0 if largest is None or largest else 1.0
    tol = tol if tol is not None else {4: 1.2e-7, 8: 2.23e-16}[A.dtype.itemsize] ** 0.5
    steps = 1000 if niter is None else niter
    X = randn(*A.shape[:-2], m, width, dtype=A.dtype) if X is None else X
    Xs, P = ritz(A, B, X, width, sign), None
    size = A.norm()
    for _ in range(steps if steps >= 0 else 1_000_000):
        values, X = Xs
        residual = matmul(A, X) - (X if B is None else matmul(B, X)) * values.unsqueeze(-2)
        if float((residual[..., :k].norm(dim=-2) / (size * X.norm(dim=-2)[..., :k] + 1e-30)).max()) <= tol:
            break
        W = residual if iK is None else matmul(iK, residual)
        Xs = ritz(A, B, cat([X, W] if P is None else [X, W, P], -1), width, sign)
        # The next direction is what X gained.
        P = Xs[1] - matmul(X, matmul(H(X), Xs[1]))
    values, X = Xs
    return values[..., :k], X[..., :k]


def ritz(A: Tensor, B: Tensor | None, S: Tensor, k: int, sign: float) -> tuple[Tensor, Tensor]:
    """The k best eigenpairs of A x = λ B x within the span of S's columns."""
    Q = qr(S).Q
    if B is not None:
        L = cholesky(matmul(H(Q), matmul(B, Q)))
        Q = H(solve_triangular(L, H(Q), upper=False))
    values, V = eigh(matmul(H(Q), matmul(A, Q)) * sign)
    return values[..., :k] * sign, matmul(Q, V[..., :k])
