"""Linear algebra of the array API standard: the products of the main namespace and the `linalg` extension.

Imports ops and flambeau.linalg. Source: https://data-apis.org/array-api/2024.12/extensions/linear_algebra_functions.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import linalg as own
from .. import ops
from ..core._core import DType, Tensor, broadcast_shapes
from .dtypes import promoted
from .manipulation import matrix_transpose
from .statistics import Axes, accumulator, reduced

Order = int | float | str


# ---- products, in the main namespace too
def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The matrix product; a vector counts as a row on the left and as a column on the right."""
    return ops.matmul(*promoted(x1, x2))


def tensordot(x1: Tensor, x2: Tensor, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Tensor:
    """The sum of products over pairs of axes, or over the last of x1 with the first of x2."""
    return ops.tensordot(*promoted(x1, x2), dims=axes)


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """Σ conj(x1)·x2 over an axis, which is counted before the shapes are stretched to each other."""
    if not -min(x1.ndim, x2.ndim) <= axis < 0:
        raise ValueError(f"vecdot: the axis must be negative and in both arrays, got {axis} for {x1.shape}, {x2.shape}")
    if x1.shape[axis] != x2.shape[axis]:
        raise ValueError(f"vecdot: axis {axis} differs in length, {x1.shape} and {x2.shape}")
    x1, x2 = promoted(x1, x2)
    return ops.sum(x1.conj() * x2, axis, dtype=x1.dtype)


# ---- the extension
def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """The triangular L with x = L·Lᴴ, or U with x = Uᴴ·U."""
    return own.cholesky(x, upper=upper)


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The cross product of 3-element vectors along an axis, which doesn't broadcast."""
    if not x1.shape[axis] == x2.shape[axis] == 3:
        raise ValueError(f"cross: axis {axis} must have length 3 in both arrays, got {x1.shape} and {x2.shape}")
    return own.cross(*ops.broadcast_tensors(*promoted(x1, x2)), dim=axis)


def det(x: Tensor, /) -> Tensor:
    """The determinant."""
    return own.det(x)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """A diagonal of the last two dimensions."""
    return own.diagonal(x, offset=offset)


def eigh(x: Tensor, /) -> Any:
    """Eigenvalues, ascending, and eigenvectors of a Hermitian matrix."""
    return own.eigh(x)


def eigvalsh(x: Tensor, /) -> Tensor:
    """Eigenvalues of a Hermitian matrix, ascending."""
    return own.eigvalsh(x)


def inv(x: Tensor, /) -> Tensor:
    """The inverse."""
    return own.inv(x)


def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: Order | None = "fro") -> Tensor:
    """A norm of matrices."""
    return own.matrix_norm(x, "fro" if ord is None else ord, (-2, -1), keepdims)


def matrix_power(x: Tensor, n: int, /) -> Tensor:
    """A square matrix multiplied n times with itself."""
    return own.matrix_power(x, n)


def matrix_rank(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """How many singular values exceed rtol times the largest."""
    return own.matrix_rank(x, rtol=rtol)


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    """All products of elements of two vectors."""
    return ops.outer(*promoted(x1, x2))


def pinv(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """The pseudo-inverse; singular values below rtol times the largest count as 0."""
    return own.pinv(x, rtol=rtol)


def qr(x: Tensor, /, *, mode: str = "reduced") -> Any:
    """Q with orthonormal columns and triangular R, x = Q·R."""
    return own.qr(x, mode)


def slogdet(x: Tensor, /) -> Any:
    """The determinant's sign and the logarithm of its size."""
    return own.slogdet(x)


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The y with x1 @ y = x2; x2 is a vector only where it has one dimension."""
    x1, x2 = promoted(x1, x2)
    if x2.ndim == 1:
        return solve(x1, x2.unsqueeze(-1)).squeeze(-1)
    batch = tuple(broadcast_shapes(x1.shape[:-2], x2.shape[:-2]))
    return own.solve(x1, x2.expand(*batch, *x2.shape[-2:]))


def svd(x: Tensor, /, *, full_matrices: bool = True) -> Any:
    """U, S and Vh with x = U·diag(S)·Vh."""
    return own.svd(x, full_matrices)


def svdvals(x: Tensor, /) -> Tensor:
    """The singular values, descending."""
    return own.svdvals(x)


def trace(x: Tensor, /, *, offset: int = 0, dtype: DType | None = None) -> Tensor:
    """The sum of a diagonal of the last two dimensions."""
    return ops.sum(own.diagonal(x, offset=offset), -1, dtype=accumulator(x, dtype))


def vector_norm(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False, ord: Order = 2) -> Tensor:
    """(Σ |x|^ord)^(1/ord) over axes."""
    norm = lambda x, dim, keepdim: own.vector_norm(x, ord, dim, keepdim)  # noqa: E731
    return reduced("vector_norm", norm, x, axis, keepdims)


__all__ = [
    "cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "matmul", "matrix_norm", "matrix_power",
    "matrix_rank", "matrix_transpose", "outer", "pinv", "qr", "slogdet", "solve", "svd", "svdvals", "tensordot",
    "trace", "vecdot", "vector_norm",
]  # fmt: skip
