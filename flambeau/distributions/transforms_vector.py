"""Transforms of vectors and matrices: shapes, the simplex, Cholesky factors, and different maps for different pieces.

Imports `transform.py`. Read next: `constraint_registry.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import flambeau as fb
from flambeau import Size, Tensor
from flambeau.distributions import constraints
from flambeau.distributions.transform import Transform
from flambeau.distributions.transforms_scalar import clipped_sigmoid
from flambeau.distributions.utils import sum_rightmost, tril_matrix_to_vec, vec_to_tril_matrix


def need(shape: Size, dims: int) -> None:
    if len(shape) < dims:
        raise ValueError("Too few dimensions on input")


def shifted(x: Tensor) -> Tensor:
    """The elements of the last dimension moved one place up, with 1 first."""
    return fb.nn.functional.pad(x[..., :-1], [1, 0], value=1.0)


class ReshapeTransform(Transform):
    """The elements of an event in another shape; log |dy/dx| is 0.

    >>> fb.distributions.ReshapeTransform((4,), (2, 2))(fb.arange(4.0))
    tensor([[0., 1.],
            [2., 3.]])
    """

    bijective = True

    def __init__(self, in_shape: Sequence[int], out_shape: Sequence[int], cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.in_shape, self.out_shape = Size(in_shape), Size(out_shape)
        if math.prod(in_shape) != math.prod(out_shape):
            raise ValueError("in_shape, out_shape have different numbers of elements")

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> Any:
        return constraints.independent(constraints.real, len(self.in_shape))

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> Any:
        return constraints.independent(constraints.real, len(self.out_shape))

    def _call(self, x: Tensor) -> Tensor:
        return x.reshape((*x.shape[: x.ndim - len(self.in_shape)], *self.out_shape))

    def _inverse(self, y: Tensor) -> Tensor:
        return y.reshape((*y.shape[: y.ndim - len(self.out_shape)], *self.in_shape))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x.new_zeros(x.shape[: x.ndim - len(self.in_shape)])

    def forward_shape(self, shape: Size) -> Size:
        return replaced(shape, self.in_shape, self.out_shape)

    def inverse_shape(self, shape: Size) -> Size:
        return replaced(shape, self.out_shape, self.in_shape)


def replaced(shape: Size, old: Size, new: Size) -> Size:
    """A shape whose end `old` has become `new`."""
    need(shape, len(old))
    cut = len(shape) - len(old)
    if Size(shape[cut:]) != old:
        raise ValueError(f"Shape mismatch: expected {old} but got {Size(shape[cut:])}")
    return Size((*shape[:cut], *new))


class SoftmaxTransform(Transform):
    """y = e^x / Σ e^x, onto the simplex; its pseudo-inverse is the logarithm.

    >>> fb.distributions.SoftmaxTransform()(fb.tensor([0.0, 0.0]))
    tensor([0.5000, 0.5000])
    """

    domain = constraints.real_vector
    codomain = constraints.simplex

    def _call(self, x: Tensor) -> Tensor:
        return fb.softmax(x, -1)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()

    def forward_shape(self, shape: Size) -> Size:
        need(shape, 1)
        return shape

    inverse_shape = forward_shape


class StickBreakingTransform(Transform):
    """Vectors of n numbers one-to-one onto the simplex of n + 1: each breaks its share off what is left of a stick.

    >>> y = fb.distributions.StickBreakingTransform()(fb.zeros(2))
    >>> y, y.sum()
    (tensor([0.3333, 0.3333, 0.3333]), tensor(1.0000))
    """

    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    def _offset(self, n: int, like: Tensor) -> Tensor:
        # Shares are equal at x = 0.
        return fb.arange(n, 0, -1, dtype=like.dtype).log()

    def _call(self, x: Tensor) -> Tensor:
        share = clipped_sigmoid(x - self._offset(x.shape[-1], x))
        left = (1 - share).cumprod(-1)
        pad = fb.nn.functional.pad
        return pad(share, [0, 1], value=1.0) * pad(left, [1, 0], value=1.0)

    def _inverse(self, y: Tensor) -> Tensor:
        broken = y[..., :-1]
        left = (1 - broken.cumsum(-1)).clamp(min=fb.finfo(y.dtype).tiny)
        return broken.log() - left.log() + self._offset(broken.shape[-1], y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        at = x - self._offset(x.shape[-1], x)
        return (fb.nn.functional.logsigmoid(at) - at + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape: Size) -> Size:
        need(shape, 1)
        return Size((*shape[:-1], shape[-1] + 1))

    def inverse_shape(self, shape: Size) -> Size:
        need(shape, 1)
        return Size((*shape[:-1], shape[-1] - 1))


class CorrCholeskyTransform(Transform):
    """Vectors of D (D − 1) / 2 numbers one-to-one onto Cholesky factors of D × D correlation matrices.

    Row i of the factor has unit length: tanh of its numbers, each scaled by what length the ones before it left.

    >>> factor = fb.distributions.CorrCholeskyTransform()(fb.tensor([0.5]))
    >>> (factor @ factor.mT).diagonal()
    tensor([1., 1.])
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        eps = fb.finfo(x.dtype).eps
        partial = vec_to_tril_matrix(x.tanh().clamp(min=-1 + eps, max=1 - eps), diag=-1)
        left = (1 - partial**2).sqrt().cumprod(-1)
        return (partial + fb.eye(partial.shape[-1], dtype=x.dtype)) * shifted(left)

    def _inverse(self, y: Tensor) -> Tensor:
        left = shifted(1 - (y * y).cumsum(-1))
        return fb.atanh(tril_matrix_to_vec(y, diag=-1) / tril_matrix_to_vec(left, diag=-1).sqrt())

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        left = tril_matrix_to_vec(1 - (y * y).cumsum(-1), diag=-2)
        tanh = -2 * (x + fb.nn.functional.softplus(-2 * x) - math.log(2.0)).sum(-1)
        return 0.5 * left.log().sum(-1) + tanh

    def forward_shape(self, shape: Size) -> Size:
        need(shape, 1)
        n = shape[-1]
        size = round((0.25 + 2 * n) ** 0.5 + 0.5)
        if size * (size - 1) // 2 != n:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return Size((*shape[:-1], size, size))

    def inverse_shape(self, shape: Size) -> Size:
        need(shape, 2)
        if shape[-2] != shape[-1]:
            raise ValueError("Input is not square")
        return Size((*shape[:-2], shape[-1] * (shape[-1] - 1) // 2))


def on_diagonal(x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    """Lower triangular matrices with f applied to their diagonals."""
    return x.tril(-1) + f(x.diagonal(dim1=-2, dim2=-1)).diag_embed()


class LowerCholeskyTransform(Transform):
    """Matrices onto lower triangular ones with a positive diagonal: its exp.

    >>> fb.distributions.LowerCholeskyTransform()(fb.tensor([[0.0, 9.0], [2.0, 1.0]]))
    tensor([[1.0000, 0.0000],
            [2.0000, 2.7183]])
    """

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def _call(self, x: Tensor) -> Tensor:
        return on_diagonal(x, fb.exp)

    def _inverse(self, y: Tensor) -> Tensor:
        return on_diagonal(y, fb.log)


class PositiveDefiniteTransform(Transform):
    """Matrices onto positive definite ones: L Lᵀ with L of `LowerCholeskyTransform`.

    >>> fb.distributions.PositiveDefiniteTransform()(fb.tensor([[0.0, 9.0], [2.0, 0.0]]))
    tensor([[1., 2.],
            [2., 5.]])
    """

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def _call(self, x: Tensor) -> Tensor:
        factor = on_diagonal(x, fb.exp)
        return factor @ factor.mT

    def _inverse(self, y: Tensor) -> Tensor:
        return on_diagonal(fb.linalg.cholesky(y), fb.log)


class _PiecesTransform(Transform):
    """One transform for each piece of the input along a dimension."""

    def __init__(self, tseq: Sequence[Transform], dim: int, cache_size: int) -> None:
        super().__init__(cache_size=cache_size)
        if not all(isinstance(t, Transform) for t in tseq):
            raise ValueError("All elements of tseq must be Transform instances")
        self.transforms = [t.with_cache(cache_size) for t in tseq] if cache_size else list(tseq)
        self.dim = dim

    @property
    def bijective(self) -> bool:
        return all(t.bijective for t in self.transforms)

    def pieces(self, x: Tensor) -> Sequence[Tensor]:
        raise NotImplementedError

    def joined(self, pieces: list[Tensor]) -> Tensor:
        raise NotImplementedError

    def _pieces(self, x: Tensor, length: int) -> Sequence[Tensor]:
        if not -x.ndim <= self.dim < x.ndim or x.shape[self.dim] != length:
            raise ValueError(
                f"{type(self).__name__}: takes inputs of size {length} along dimension {self.dim}, got {list(x.shape)}"
            )
        return self.pieces(x)

    @property
    def length(self) -> int:
        """The input's size along the dimension."""
        return len(self.transforms)

    def _call(self, x: Tensor) -> Tensor:
        return self.joined([t(v) for t, v in zip(self.transforms, self._pieces(x, self.length), strict=True)])

    def _inverse(self, y: Tensor) -> Tensor:
        return self.joined([t.inv(v) for t, v in zip(self.transforms, self._pieces(y, self.length), strict=True)])


class CatTransform(_PiecesTransform):
    """Transforms of consecutive stretches along a dimension, of `lengths`, as `cat` puts them together.

    >>> D = fb.distributions
    >>> t = D.CatTransform([D.ExpTransform(), D.AffineTransform(0.0, 10.0)], lengths=[1, 2])
    >>> t(fb.tensor([0.0, 1.0, 2.0]))
    tensor([ 1., 10., 20.])
    """

    def __init__(
        self, tseq: Sequence[Transform], dim: int = 0, lengths: Sequence[int] | None = None, cache_size: int = 0
    ) -> None:
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise ValueError(f"lengths ({len(self.lengths)}) must match transforms ({len(self.transforms)})")

    @property
    def event_dim(self) -> int:
        return max(t.event_dim for t in self.transforms)

    @property
    def length(self) -> int:
        return sum(self.lengths)

    def with_cache(self, cache_size: int = 1) -> Any:
        if cache_size == self._cache_size:
            return self
        return CatTransform(self.transforms, self.dim, self.lengths, cache_size)

    def pieces(self, x: Tensor) -> Sequence[Tensor]:
        return x.split(self.lengths, self.dim)

    def joined(self, pieces: list[Tensor]) -> Tensor:
        return fb.cat(pieces, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        found = []
        for t, a, b in zip(self.transforms, self._pieces(x, self.length), self._pieces(y, self.length), strict=True):
            found.append(sum_rightmost(t.log_abs_det_jacobian(a, b), self.event_dim - t.event_dim))
        dim = (self.dim - x.ndim if self.dim >= 0 else self.dim) + self.event_dim
        return fb.cat(found, dim) if dim < 0 else sum(found[1:], found[0])

    @constraints.dependent_property
    def domain(self) -> Any:
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @constraints.dependent_property
    def codomain(self) -> Any:
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)


class StackTransform(_PiecesTransform):
    """Transforms of the slices along a dimension, as `stack` puts them together.

    >>> D = fb.distributions
    >>> t = D.StackTransform([D.ExpTransform(), D.AffineTransform(0.0, 10.0)])
    >>> t(fb.tensor([[0.0], [1.0]]))
    tensor([[ 1.],
            [10.]])
    """

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(tseq, dim, cache_size)

    def with_cache(self, cache_size: int = 1) -> Any:
        return self if cache_size == self._cache_size else StackTransform(self.transforms, self.dim, cache_size)

    def pieces(self, x: Tensor) -> Sequence[Tensor]:
        return x.unbind(self.dim)

    def joined(self, pieces: list[Tensor]) -> Tensor:
        return fb.stack(pieces, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        both = zip(self.transforms, self._pieces(x, self.length), self._pieces(y, self.length), strict=True)
        return self.joined([t.log_abs_det_jacobian(a, b) for t, a, b in both])

    @constraints.dependent_property
    def domain(self) -> Any:
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @constraints.dependent_property
    def codomain(self) -> Any:
        return constraints.stack([t.codomain for t in self.transforms], self.dim)
