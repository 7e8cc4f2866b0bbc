"""Determinants and the matrix exponential.

Imports core, ops and neighbours. Read next: `spectra.py`.
"""

from __future__ import annotations

from typing import Any

from ..core._core import Tensor
from ..ops.arguments import every, return_type
from ..ops.factories import ones_like, zeros_like
from ..ops.joining import cat, stack
from ..ops.primitive import primitive
from ..ops.ranges import arange
from ..ops.recall import recalled
from ..ops.table import TABLE
from .lapack import INT32, H, array, check, conj, diagonals, identity, mm, out_of, real, tensor
from .routines import alone, by_rows, factored
from .solving import solution

slogdet_result = return_type("linalg_slogdet", "sign logabsdet")


def matrices(x: Tensor) -> Tensor:
    """Numbers as 1 x 1 matrices, to multiply matrices with."""
    return x.unsqueeze(-1).unsqueeze(-1)


def det_vjp(ctx: Any, g: Tensor) -> Tensor:
    A, y = ctx.saved
    if bool((every(y) != 0).all()):
        return solution(H(A), matrices(g * conj(y)) * identity(A.shape[-1], A))
    # The cofactors of a matrix that may be singular, from A = U S Vᴴ: det(U) det(Vᴴ) U diag(Π of the other S) Vᴴ.
    from .spectra import svd

    U, S, Vh = svd(A, full_matrices=False)
    others = products_of_others(S).unsqueeze(-2)
    return mm(U * others, Vh) * matrices(g * conj(det(U) * det(Vh)))


def products_of_others(x: Tensor) -> Tensor:
    """For each element of the last dimension, the product of the rest, without dividing."""
    parts = x.unbind(-1)
    before, after = [ones_like(parts[0])], [ones_like(parts[0])]
    for part in parts[:-1]:
        before.append(before[-1] * part)
    for part in parts[:0:-1]:
        after.append(after[-1] * part)
    return stack([a * b for a, b in zip(before, after[::-1], strict=True)], -1)


def pivoted(A: Tensor) -> tuple[Tensor, Tensor]:
    """The diagonal of U in the LU decomposition, and 1 or −1 as the number of exchanges is even or odd."""
    factors = by_rows(A)
    pivots, _ = factored(factors)
    moved = pivots != arange(1, A.shape[-1] + 1, dtype=INT32)
    return diagonals(factors), (1 - moved.sum(-1) % 2 * 2).to(real(diagonals(factors)).dtype)


@primitive(det_vjp, name="linalg_det")
def determinant(ctx, A):
    """The determinants of square matrices."""
    diagonal, odd = pivoted(A)
    y = (diagonal.prod(-1) * odd).reshape(A.shape[:-2])
    ctx.save(A, y)
    return y


@recalled
@out_of
def det(A: Tensor) -> Tensor:
    """The determinant, whose gradient is det(A) A⁻ᵀ: the cofactors. Shape (…, n, n): (…).

    >>> fb.linalg.det(fb.tensor([[2.0, 1.0], [0.0, 4.0]]))
    tensor(8.)
    """
    check("det", A, square=True)
    return determinant(A)


def slogdet_vjp(ctx: Any, gs: Tensor | None, gl: Tensor | None) -> Tensor:
    A, sign = ctx.saved
    weight = zeros_like(sign) if gl is None else gl.to(sign.dtype)
    if gs is not None and sign.is_complex():
        weight = weight + TABLE["imag"](gs * conj(sign)) * 1j
    return solution(H(A), matrices(weight) * identity(A.shape[-1], A))


@primitive(slogdet_vjp, name="linalg_slogdet")
def sign_and_log(ctx, A):
    """The sign and the logarithm of the absolute value of determinants."""
    diagonal, odd = pivoted(A)
    sign, log = TABLE["sgn"](diagonal).prod(-1) * odd, diagonal.abs().log().sum(-1)
    ctx.save(A, sign)
    return sign, log


@recalled
@out_of
def slogdet(A: Tensor) -> Any:
    """The sign (a phase for complex A) and log |det A|: det A = sign · e^logabsdet. Shape (…, n, n): twice (…).

    >>> fb.linalg.slogdet(fb.tensor([[-1.0]]))
    linalg_slogdet(sign=tensor(-1.), logabsdet=tensor(0.))
    """
    check("slogdet", A, square=True)
    return slogdet_result(*sign_and_log(A))


def logdet(A: Tensor) -> Tensor:
    """log det A: NaN where the determinant is negative, −∞ where it is 0.

    >>> fb.logdet(fb.eye(3))
    tensor(0.)
    """
    check("logdet", A, square=True)
    sign, log = sign_and_log(A)
    if A.is_complex():
        return log + TABLE["angle"](sign) * 1j
    from ..ops.calls import where

    return where(sign < 0, float("nan"), log)


def exponential_vjp(ctx: Any, g: Tensor) -> Tensor:
    """Upper right of exp [[Aᴴ, g], [0, Aᴴ]] (A. Al-Mohy and N. Higham, 2009)."""
    (A,) = ctx.saved
    Ah, n = H(A), A.shape[-1]
    block = cat([cat([Ah, g], -1), cat([zeros_like(Ah), Ah], -1)], -2)
    return exponential(block)[..., :n, n:]


@primitive(exponential_vjp, name="linalg_matrix_exp")
def exponential(ctx, A):
    """e^A of square matrices."""
    from scipy.linalg import expm

    a = array(A)
    ctx.save(A)
    with alone:
        return tensor(expm(a).astype(a.dtype) if a.size else a.copy())


@out_of
def matrix_exp(A: Tensor) -> Tensor:
    """The matrix exponential: Σ Aᵏ / k!. Shape (…, n, n).

    >>> fb.linalg.matrix_exp(fb.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    if isinstance(A, Tensor) and A.dtype.itemsize == 2 and A.is_floating_point():
        return matrix_exp(A.float()).to(A.dtype)
    check("matrix_exp", A, square=True)
    return exponential(A)


@recalled
def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal: Σ x_ii.

    >>> fb.trace(fb.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(5.)
    """
    if input.ndim != 2:
        raise RuntimeError(
            f"trace: takes a matrix, got shape {tuple(input.shape)}; einsum('...ii->...', x) takes batches"
        )
    return input.diagonal().sum()
