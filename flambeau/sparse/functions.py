"""torch.sparse's functions: products, sums and softmax of sparse tensors. Imports core and ops.

Read next: `meanings.py`, where operations that exist for dense tensors too get their sparse meaning.
"""

from __future__ import annotations

from typing import Any

from ..core._core import DType, Size, Tensor
from ..ops.arguments import wrap
from ..ops.gather import index_select
from ..ops.joining import stack
from ..ops.matmul import addmm as dense_addmm
from ..ops.matmul import mm as dense_mm
from ..ops.reduce import sum as dense_sum
from ..ops.table import TABLE
from .convert import merged
from .meanings import groups, ordered
from .products import product, sampled
from .structure import Structure
from .tensor import SparseTensor, assemble, same_dtype, sparse, values_of


def mm(mat1: Tensor, mat2: Tensor, reduce: str = "sum") -> Tensor:
    """The product of a sparse matrix and a dense or sparse one; gradients of a sparse factor are sparse.

    >>> a = fb.sparse_coo_tensor([[0, 1], [1, 0]], [2.0, 3.0], (2, 2))
    >>> fb.sparse.mm(a, fb.eye(2))
    tensor([[0., 2.],
            [3., 0.]])
    """
    if reduce != "sum":
        raise NotImplementedError(f"sparse.mm: only reduce='sum' is supported, got {reduce!r}")
    if not isinstance(mat1, SparseTensor) and not isinstance(mat2, SparseTensor):
        raise RuntimeError("sparse.mm: one of the matrices must be sparse, got two strided ones; use mm")
    return dense_mm(mat1, mat2)


def addmm(mat: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """β mat + α (mat1 @ mat2) with sparse mat1.

    >>> a = fb.tensor([[0.0, 2.0], [0.0, 0.0]]).to_sparse()
    >>> fb.sparse.addmm(fb.ones(2, 2), a, fb.eye(2), beta=10)
    tensor([[10., 12.],
            [10., 10.]])
    """
    return dense_addmm(mat, mat1, mat2, beta=beta, alpha=alpha)


def sampled_addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1.0, alpha: Any = 1.0, out: Any = None
) -> SparseTensor:
    """β input + α (mat1 @ mat2) at the places that the CSR matrix `input` stores.

    >>> fb.sparse.sampled_addmm(fb.eye(2).to_sparse_csr(), fb.ones(2, 3), fb.ones(3, 2)).values()
    tensor([4., 4.])
    """
    s = sparse("sampled_addmm", input, "sparse_csr")
    same_dtype("sampled_addmm", s, mat1, mat2)
    if mat1.ndim != 2 or mat2.ndim != 2 or tuple(s.shape) != (mat1.shape[0], mat2.shape[1]) or (
        mat1.shape[1] != mat2.shape[0]
    ):  # fmt: skip
        raise RuntimeError(
            f"sampled_addmm: shapes don't fit, {tuple(mat1.shape)} @ {tuple(mat2.shape)} at places of {tuple(s.shape)}"
        )
    pattern, values = ordered(s)
    found = sampled(mat1, mat2.t(), pattern=pattern)
    result = assemble(found * alpha if beta == 0 else values * beta + found * alpha, s.structure)
    if out is None:
        return result
    return out.copy_(result)


def hspmm(mat1: Tensor, mat2: Tensor) -> SparseTensor:
    """The product of a sparse matrix and a dense one, as a tensor that stores whole rows.

    >>> fb.hspmm(fb.tensor([[0.0, 2.0], [0.0, 0.0]]).to_sparse(), fb.eye(2)).to_dense()
    tensor([[0., 2.],
            [0., 0.]])
    """
    s = sparse("hspmm", mat1, "sparse_coo")
    structure, values = merged(s)
    if s.ndim != 2 or mat2.ndim != 2 or s.shape[1] != mat2.shape[0]:
        raise RuntimeError(f"hspmm: two matrices are needed, got {tuple(s.shape)} @ {tuple(mat2.shape)}")
    rows = structure.places()[0].unique()
    y = product(values, mat2, pattern=structure.pattern()[0])
    size = Size((s.shape[0], mat2.shape[1]))
    return assemble(index_select(y, 0, rows), Structure("sparse_coo", (rows.unsqueeze(0),), size, True))


def smm(input: Tensor, mat: Tensor) -> SparseTensor:
    """The product of a sparse matrix and a dense one, in COO: every element of the rows that store something.

    >>> fb.smm(fb.tensor([[0.0, 2.0], [0.0, 0.0]]).to_sparse(), fb.eye(2)).to_dense()
    tensor([[0., 2.],
            [0., 0.]])
    """
    from ..ops.ranges import arange

    whole = hspmm(input, mat)
    rows, width = whole.structure.indices[0][0], mat.shape[1]
    places = stack([rows.repeat_interleave(width), arange(width).repeat(rows.shape[0])])
    return assemble(values_of(whole).reshape(-1), Structure("sparse_coo", (places,), whole.shape, True))


def sspaddmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> SparseTensor:
    """β input + α (mat1 @ mat2) with sparse input and mat1, in COO.

    >>> a = fb.tensor([[0.0, 2.0], [0.0, 0.0]]).to_sparse()
    >>> fb.sspaddmm(a, a, fb.eye(2), alpha=10).to_dense()
    tensor([[ 0., 22.],
            [ 0.,  0.]])
    """
    s = sparse("sspaddmm", input, "sparse_coo")
    return TABLE["add"](s * beta, smm(mat1, mat2), alpha)


def sum(input: Tensor, dim: Any = None, dtype: DType | None = None) -> Tensor:
    """Σ over all dimensions, or those in `dim`; sparse as long as a sparse dimension is left.

    >>> fb.sparse.sum(fb.eye(2).to_sparse(), 0).to_dense()
    tensor([1., 1.])
    """
    return dense_sum(sparse("sparse.sum", input), dim, dtype=dtype)


def softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> SparseTensor:
    """Softmax along a dimension, where elements that aren't stored count as -∞.

    >>> fb.sparse.softmax(fb.eye(2).to_sparse(), 1).values()
    tensor([1., 1.])
    """
    return along("softmax", input, dim, dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> SparseTensor:
    """The logarithm of `sparse.softmax` at the stored elements.

    >>> x = fb.tensor([[1.0, 1.0, 0.0]]).to_sparse()
    >>> fb.sparse.log_softmax(x, 1).values()
    tensor([-0.6931, -0.6931])
    """
    return along("log_softmax", input, dim, dtype)


def along(name: str, input: Tensor, dim: int, dtype: DType | None) -> SparseTensor:
    s = sparse(f"sparse.{name}", input, "sparse_coo")
    dim, k = wrap(dim, s.ndim), s.structure.sparse_dim
    structure, values = merged(s)
    values = values if dtype is None else values.to(dtype)
    if not values.is_floating_point():
        raise RuntimeError(f"sparse.{name}: floating values are needed, got {values.dtype}; use dtype=")
    if dim >= k:
        return assemble(getattr(values, name)(dim - k + 1), structure)
    group, count = groups(structure, dim)
    top = values.detach().new_full((count, *values.shape[1:]), float("-inf"))
    index = group.reshape(-1, *[1] * (values.ndim - 1)).expand(values.shape)
    top = top.scatter_reduce(0, index, values.detach(), "amax")
    shifted = values - index_select(TABLE["nan_to_num"](top, 0.0, float("inf"), 0.0), 0, group)
    e = shifted.exp()
    total = e.new_zeros(top.shape).index_add(0, group, e)
    if name == "softmax":
        return assemble(e / index_select(total, 0, group), structure)
    return assemble(shifted - index_select(total.log(), 0, group), structure)
