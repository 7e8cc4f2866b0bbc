"""Products: chains and powers of matrices, cross and inner products, Vandermonde matrices.

Compositions of other ops, so that derivatives follow. Imports core, ops and neighbours. Read next: `ops/matmul.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from ..core._core import Tensor, broadcast_shapes
from ..ops.arguments import into_out
from ..ops.factories import ones_like
from ..ops.joining import stack
from ..ops.matmul import conj
from ..ops.matmul import matmul as product
from ..ops.ranges import eye
from ..ops.recall import recalled
from ..ops.shape import diagonal as diagonal_of
from .lapack import out_of
from .solving import inv


def matmul(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The matrix product: :func:`flambeau.matmul`.

    >>> fb.linalg.matmul(fb.eye(2), fb.ones(2))
    tensor([1., 1.])
    """
    return product(input, other, out=out)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, as a view. Shape (…, m, n): (…, k).

    >>> fb.linalg.diagonal(fb.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 4.])
    """
    return diagonal_of(A, offset, dim1, dim2)


@out_of
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Σ x̄ y along a dimension; the rest broadcasts.

    >>> fb.linalg.vecdot(fb.tensor([1.0, 2.0]), fb.tensor([3.0, 4.0]))
    tensor(11.)
    """
    return (conj(x) * y).sum(dim)


def vdot(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Σ x̄ y of two vectors.

    >>> fb.vdot(fb.tensor([1.0, 2.0]), fb.tensor([3.0, 4.0]))
    tensor(11.)
    """
    if input.ndim != 1 or other.ndim != 1:
        raise RuntimeError(f"vdot: takes two vectors, got shapes {tuple(input.shape)} and {tuple(other.shape)}")
    y = product(conj(input), other)
    return into_out(out, y)


@recalled
@out_of
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The vector product along a dimension of size 3; the rest broadcasts.

    >>> fb.linalg.cross(fb.tensor([1.0, 0.0, 0.0]), fb.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    if input.ndim != other.ndim or input.shape[dim] != 3 or other.shape[dim] != 3:
        raise RuntimeError(
            f"cross: both need as many dimensions, and size 3 along dimension {dim}; got shapes {tuple(input.shape)} "
            f"and {tuple(other.shape)}"
        )
    dim = dim % input.ndim
    shape = broadcast_shapes(input.shape, other.shape)
    (a0, a1, a2), (b0, b1, b2) = input.expand(shape).unbind(dim), other.expand(shape).unbind(dim)
    return stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], dim)


@recalled
def first_of_three(input: Tensor, other: Tensor, dim: int | None = None, *, out: Tensor | None = None) -> Tensor:
    """The vector product along `dim`, by default the first dimension of size 3.

    >>> fb.cross(fb.tensor([1.0, 0.0, 0.0]), fb.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    if dim is None:
        dim = next((d for d, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError(f"cross: no dimension of size 3 in shape {tuple(input.shape)}")
    return cross(input, other, dim=dim, out=out)


@out_of
def matrix_power(A: Tensor, n: int) -> Tensor:
    """A to an integer power by repeated squaring; a negative one inverts A first. Shape (…, n, n).

    >>> fb.linalg.matrix_power(fb.tensor([[1.0, 1.0], [0.0, 1.0]]), 5)
    tensor([[1., 5.],
            [0., 1.]])
    """
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise RuntimeError(f"matrix_power: the matrices must be square, got shape {tuple(A.shape)}")
    if n == 0:
        return eye(A.shape[-1], dtype=A.dtype).expand(A.shape).clone()
    if n < 0:
        A, n = inv(A), -n
    y = None
    while True:
        if n & 1:
            y = A if y is None else product(y, A)
        n >>= 1
        if not n:
            return y.clone() if y is A else y
        A = product(A, A)


@out_of
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of several matrices in the order that needs the least work; the first and the last may be vectors.

    >>> fb.linalg.multi_dot([fb.ones(2, 3), fb.ones(3, 4), fb.ones(4)])
    tensor([12., 12.])
    """
    tensors = list(tensors)
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot: takes at least two tensors, got {len(tensors)}")
    row, column = tensors[0].ndim == 1, tensors[-1].ndim == 1
    if row:
        tensors[0] = tensors[0].unsqueeze(0)
    if column:
        tensors[-1] = tensors[-1].unsqueeze(1)
    for i, x in enumerate(tensors):
        if x.ndim != 2 or (i and tensors[i - 1].shape[1] != x.shape[0]):
            raise RuntimeError(f"multi_dot: shapes don't chain: {[tuple(x.shape) for x in tensors]}")
    sizes = [tensors[0].shape[0], *(x.shape[1] for x in tensors)]

    @functools.cache
    def best(i: int, j: int) -> tuple[int, int]:
        """The least work for tensors i … j, and after which one to split them."""
        if i == j:
            return 0, i
        return min((best(i, k)[0] + best(k + 1, j)[0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j))

    def chain(i: int, j: int) -> Tensor:
        if i == j:
            return tensors[i]
        k = best(i, j)[1]
        return product(chain(i, k), chain(k + 1, j))

    y = chain(0, len(tensors) - 1)
    if row:
        y = y.squeeze(0)
    return y.squeeze(-1) if column else y


def vander(x: Tensor, N: int | None = None) -> Tensor:
    """The powers of x: y[…, i, j] = x[…, i]^j for j < N, by default as many as x has elements. Shape (…, n): (…, n, N).

    >>> fb.linalg.vander(fb.tensor([2.0, 3.0]), N=3)
    tensor([[1., 2., 4.],
            [1., 3., 9.]])
    """
    x = x if x.is_floating_point() or x.is_complex() else x.long()
    count = x.shape[-1] if N is None else N
    if count < 1:
        raise RuntimeError(f"vander: N must be at least 1, got {count}")
    columns = [ones_like(x)]
    for _ in range(count - 1):
        columns.append(columns[-1] * x)
    return stack(columns, -1)


def vander_decreasing(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of a vector's elements, the highest first unless `increasing`.

    >>> fb.vander(fb.tensor([2.0, 3.0]))
    tensor([[2., 1.],
            [3., 1.]])
    """
    if x.ndim != 1:
        raise RuntimeError(f"vander: takes a vector, got shape {tuple(x.shape)}")
    if N == 0:
        return x.unsqueeze(1)[:, :0]
    y = vander(x, N)
    return y if increasing else y.flip(1)
