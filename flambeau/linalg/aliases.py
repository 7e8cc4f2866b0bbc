"""PyTorch's older names for linear algebra, at the top level and as methods: svd that returns V, lu with flags, …

Imports core and neighbours. Read next: `__init__.py`.
"""

from __future__ import annotations

from typing import Any

from ..core._core import Tensor
from ..ops.arguments import into_out, return_type
from ..ops.matmul import outer
from . import factors, solving, spectra
from .determinants import det, logdet, matrix_exp, slogdet, trace
from .factors import cholesky_inverse, cholesky_solve, geqrf, householder_product, ormqr
from .lapack import H
from .lowrank import lobpcg, pca_lowrank, svd_lowrank
from .products import first_of_three as cross
from .products import matrix_power, vdot
from .products import vander_decreasing as vander

__all__ = [
    "cholesky", "cholesky_inverse", "cholesky_solve", "cross", "det", "geqrf", "ger", "inverse", "lobpcg", "logdet",
    "lu", "lu_solve", "lu_unpack", "matrix_exp", "matrix_power", "orgqr", "ormqr", "pca_lowrank", "pinverse", "qr",
    "slogdet", "svd", "svd_lowrank", "trace", "triangular_solve", "vander", "vdot",
]  # fmt: skip

svd_result = return_type("svd", "U S V")
qr_result = return_type("qr", "Q R")
lu_unpack_result = return_type("lu_unpack", "P L U")
triangular_solve_result = return_type("triangular_solve", "solution cloned_coefficient")

for _function, _name in ((cross, "cross"), (vander, "vander")):
    _function.__name__ = _function.__qualname__ = _name  # what error messages, help and pickle call it
    _function.__module__ = __name__
inverse = solving.inv
ger = outer
orgqr = householder_product


def cholesky(input: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """`linalg.cholesky` with a positional `upper`.

    >>> fb.cholesky(fb.tensor([[4.0]]))
    tensor([[2.]])
    """
    return factors.cholesky(input, upper=upper, out=out)


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """`linalg.pinv` that counts singular values up to rcond times the largest as 0.

    >>> fb.pinverse(fb.tensor([[2.0]]))
    tensor([[0.5000]])
    """
    return spectra.pinv(input, rcond=rcond)


def svd(input: Tensor, some: bool = True, compute_uv: bool = True, *, out: Any = None) -> Any:
    """The singular value decomposition as U, S and V, not its conjugate transpose; some=False gives square U and V.

    >>> fb.svd(fb.tensor([[3.0]])).S
    tensor([3.])
    """
    if compute_uv:
        U, S, Vh = spectra.svd(input, full_matrices=not some)
        found = svd_result(U, S, H(Vh))
    else:
        from ..ops.factories import zeros

        m, n = input.shape[-2:]
        blanks = (zeros((*input.shape[:-2], size, size), dtype=input.dtype) for size in (m, n))
        found = svd_result(next(blanks), spectra.svdvals(input), next(blanks))
    return found if out is None else svd_result(*map(into_out, out, found))


def qr(input: Tensor, some: bool = True, *, out: Any = None) -> Any:
    """`linalg.qr`: reduced, or with some=False complete.

    >>> fb.qr(fb.eye(2)).Q.shape
    flambeau.Size([2, 2])
    """
    found = qr_result(*factors.qr(input, "reduced" if some else "complete"))
    return found if out is None else qr_result(*map(into_out, out, found))


def lu(A: Tensor, pivot: bool = True, get_infos: bool = False, out: Any = None) -> Any:
    """The compact LU decomposition and pivots; with get_infos LAPACK's info for each matrix too.

    >>> fb.lu(fb.tensor([[2.0]]))[0]
    tensor([[2.]])
    """
    LU, pivots, info = factors.lu_factor_ex(A, pivot=pivot, check_errors=not get_infos)
    found = (LU, pivots, info) if get_infos else (LU, pivots)
    return found if out is None else tuple(map(into_out, out, found))


def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor, *, out: Tensor | None = None) -> Tensor:
    """X with A X = b, from `lu(A)`.

    >>> fb.lu_solve(fb.tensor([[6.0]]), *fb.lu(fb.tensor([[2.0]])))
    tensor([[3.]])
    """
    return factors.lu_solve(LU_data, LU_pivots, b, out=out)


def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True, *, out: Any = None
) -> Any:
    """P, L and U of a compact LU decomposition; what isn't asked for is empty.

    >>> fb.lu_unpack(*fb.lu(fb.tensor([[2.0]]))).U
    tensor([[2.]])
    """
    from ..ops.factories import empty

    P, L, U = factors.unpack(LU_data, LU_pivots)
    blank = empty(0, dtype=LU_data.dtype)
    found = lu_unpack_result(P if unpack_pivots else blank, *((L, U) if unpack_data else (blank, blank)))
    return found if out is None else lu_unpack_result(*map(into_out, out, found))


def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False, *, out: Any = None
) -> Any:
    """X with A X = b, or Aᵀ X = b, for a triangular A; returned with A.

    >>> fb.triangular_solve(fb.tensor([[6.0]]), fb.tensor([[2.0]])).solution
    tensor([[3.]])
    """
    matrix, is_upper = (A.mT, not upper) if transpose else (A, upper)
    X = solving.solve_triangular(matrix, b, upper=is_upper, unitriangular=unitriangular)
    found = triangular_solve_result(X, A.clone())
    return found if out is None else triangular_solve_result(*map(into_out, out, found))
