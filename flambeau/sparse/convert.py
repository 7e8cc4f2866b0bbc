"""Sparse tensors to dense ones and back, from layout to layout, in order; and their parts.

These are Tensor's methods too, of dense tensors as far as they make sense there. Imports core and ops.
Read next: `construct.py`, `views.py`, `meanings.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..core._core import DTYPES, DType, Tensor
from ..ops.documents import Derived
from ..ops.documents import copied as copied_doc
from ..ops.gather import index_select
from ..ops.indirect import inserted
from ..ops.picking import put
from ..ops.search import searchsorted
from ..ops.table import TABLE
from .structure import Structure, argsort, element_places, flat, pointers, unflat
from .tensor import SparseTensor, assemble, become, sparse, values_of

BOOL = DTYPES[0]


def merged(s: SparseTensor) -> tuple[Structure, Tensor]:
    """s in COO without duplicates: its structure and values, those of one place added in the order of their storage."""
    old, values = s.structure, values_of(s)
    if old.layout == "sparse_coo" and old.coalesced:
        return old, values
    if "merged" not in old.derived:
        sizes = tuple(old.size[: old.sparse_dim])
        places = old.places()
        number = flat(places, sizes)
        if old.coalesced:  # compressed: none occurs twice, but columns' order isn't the rows'
            order = None if old.layout == "sparse_csr" else argsort(number)
            kept = places if order is None else places[:, order]
            found = Structure("sparse_coo", (kept,), old.size, True)
            old.derived["merged"] = found, order, True
        else:
            distinct, inverse = number.unique(return_inverse=True)
            found = Structure("sparse_coo", (unflat(distinct, sizes),), old.size, True)
            old.derived["merged"] = found, inverse, False
    found, order, moved = old.derived["merged"]
    if moved:
        return found, values if order is None else index_select(values, 0, order)
    shape = (found.nnz, *values.shape[1:])
    return found, put(values, shape=shape, places=inserted(shape, order.shape, (0,), 0), indices=(order,))


def merged_values(s: SparseTensor) -> Tensor:
    return merged(s)[1]


def coalesce(self: Tensor) -> SparseTensor:
    """The tensor with its places in order and the values of each place summed; itself if it is so already.

    >>> fb.sparse_coo_tensor([[1, 0, 1]], [1.0, 2.0, 3.0], (2,)).coalesce().values()
    tensor([2., 4.])
    """
    s = sparse("coalesce", self, "sparse_coo")
    if s.structure.coalesced:
        return s
    structure, values = merged(s)
    return assemble(values, structure)


def is_coalesced(self: Tensor) -> bool:
    """Whether each place occurs once, in order; as far as is known without looking.

    >>> x = fb.sparse_coo_tensor([[0, 0]], [1.0, 2.0], (3,))
    >>> x.is_coalesced(), x.coalesce().is_coalesced()
    (False, True)
    """
    return sparse("is_coalesced", self, "sparse_coo").structure.coalesced


def lookup(own: Structure, wanted: Structure) -> tuple[Tensor, Tensor]:
    """For each place of `wanted` the value of `own`, which is in order, that stands there, and whether one does."""
    sizes = tuple(wanted.size[: wanted.sparse_dim])
    have, want = flat(own.places(), sizes), flat(wanted.places(), sizes)
    if not own.nnz:
        return want.new_zeros(want.shape), want.new_zeros(want.shape, dtype=BOOL)
    at = TABLE["clamp_max"](searchsorted(have, want), own.nnz - 1)
    return at, have[at] == want


def found(g: SparseTensor, structure: Structure) -> Tensor:
    """The elements of g at a structure's places, zero where it stores none."""
    own, values = merged(g)
    at, hit = lookup(own, structure)
    mine = hit.nonzero().squeeze(1)
    shape = (structure.nnz, *values.shape[1:])
    return put(
        index_select(values, 0, at[mine]), shape=shape, places=inserted(shape, mine.shape, (0,), 0), indices=(mine,)
    )


# ---- to dense and back
def to_dense(self: Tensor, dtype: DType | None = None, *, masked_grad: bool | None = None) -> Tensor:
    """The tensor with all its elements; values of one place are summed. A dense tensor is itself.

    >>> fb.sparse_coo_tensor([[0, 0]], [1.0, 2.0], (2,)).to_dense()
    tensor([3., 0.])
    """
    if isinstance(self, SparseTensor):
        values = values_of(self)
        if not self.structure.sparse_dim:
            self = values.sum(0)
        else:
            places, indices = element_places(self.structure)
            self = put(values, shape=tuple(self.shape), places=places, indices=indices)
    return self if dtype is None or dtype is self.dtype else self.to(dtype)


def to_sparse(
    self: Tensor, sparse_dim: int | None = None, *, layout: str | None = None, blocksize: Any = None,
    dense_dim: int | None = None,
) -> SparseTensor:  # fmt: skip
    """The elements that aren't zero, in COO or another layout; with fewer sparse dimensions, whole parts of the rest.

    >>> fb.tensor([[0.0, 2.0], [0.0, 0.0]]).to_sparse().indices()
    tensor([[0],
            [1]])
    """
    if blocksize is not None:
        raise RuntimeError("to_sparse: blocked layouts aren't supported; leave blocksize out")
    if isinstance(self, SparseTensor):
        if sparse_dim is not None and sparse_dim != self.structure.sparse_dim:
            raise RuntimeError(
                f"to_sparse: {self.layout} with {self.structure.sparse_dim} sparse dimensions can't become one with "
                f"{sparse_dim}; use to_dense() first"
            )
        return to_layout(self, layout or "sparse_coo")
    k = self.ndim if sparse_dim is None else sparse_dim
    if dense_dim is not None:
        k = self.ndim - dense_dim
    if not (0 < k <= self.ndim or k == 0 == self.ndim):
        raise RuntimeError(f"to_sparse: sparse_dim must be from 1 to {self.ndim}, got {k}")
    stored = self.detach() != 0
    if k < self.ndim:
        stored = stored.reshape(*self.shape[:k], -1).any(-1)
    places = stored.nonzero().t().contiguous()
    structure = Structure("sparse_coo", (places,), self.shape, True)
    if k == 0:
        values = self.reshape(1)[: places.shape[1]]
    else:
        from .tensor import values_at

        values = values_at(self, structure)
    return to_layout(assemble(values, structure), layout or "sparse_coo")


def to_layout(s: SparseTensor, layout: str) -> SparseTensor:
    """s in another layout; a matrix is needed for the compressed ones."""
    if s.layout == layout:
        return s
    if layout not in ("sparse_coo", "sparse_csr", "sparse_csc"):
        raise RuntimeError(f"to_sparse: the layout must be sparse_coo, sparse_csr or sparse_csc, got {layout}")
    structure, values = merged(s)
    if layout == "sparse_coo":
        return assemble(values, structure)
    if structure.sparse_dim != 2:
        raise RuntimeError(
            f"to_{layout}: a matrix is needed, got {structure.sparse_dim} sparse dimensions of {list(s.shape)}"
        )
    row, column = structure.places()
    if layout == "sparse_csr":
        indices = (pointers(row, s.shape[0]), column.contiguous())
    else:
        order = argsort(column)
        indices, values = (pointers(column, s.shape[1]), row[order]), index_select(values, 0, order)
    return assemble(values, Structure(layout, indices, s.shape, True))


def to_sparse_coo(self: Tensor) -> SparseTensor:
    """The tensor in COO.

    >>> fb.tensor([[0.0, 5.0]]).to_sparse_csr().to_sparse_coo().indices()
    tensor([[0],
            [1]])
    """
    return to_sparse(self)


def compressed(name: str, self: Tensor, layout: str, dense_dim: int | None) -> SparseTensor:
    if self.ndim != 2 + (dense_dim or 0) and not (isinstance(self, SparseTensor) and self.structure.sparse_dim == 2):
        raise RuntimeError(f"{name}: a matrix is needed, got shape {list(self.shape)}")
    return to_sparse(self, 2, layout=layout) if not isinstance(self, SparseTensor) else to_layout(self, layout)


def to_sparse_csr(self: Tensor, dense_dim: int | None = None) -> SparseTensor:
    """The matrix in CSR.

    >>> fb.eye(2).to_sparse_csr().crow_indices()
    tensor([0, 1, 2])
    """
    return compressed("to_sparse_csr", self, "sparse_csr", dense_dim)


def to_sparse_csc(self: Tensor, dense_dim: int | None = None) -> SparseTensor:
    """The matrix in CSC.

    >>> fb.eye(2).to_sparse_csc().ccol_indices()
    tensor([0, 1, 2])
    """
    return compressed("to_sparse_csc", self, "sparse_csc", dense_dim)


def sparse_mask(self: Tensor, mask: Tensor) -> SparseTensor:
    """The elements of self, dense or sparse, at the places that `mask` stores.

    >>> fb.arange(4.0).reshape(2, 2).sparse_mask(fb.eye(2).to_sparse()).values()
    tensor([0., 3.])
    """
    from .tensor import values_at

    mask = sparse("sparse_mask", mask)
    if self.shape != mask.shape:
        raise RuntimeError(
            f"sparse_mask: self and mask must have one shape, got {list(self.shape)}, {list(mask.shape)}"
        )
    return assemble(values_at(self, mask.structure), mask.structure)


# ---- parts
def indices(self: Tensor) -> Tensor:
    """The places of a coalesced COO tensor: int64 (sparse dimensions, nnz).

    >>> fb.tensor([[0.0, 5.0], [7.0, 0.0]]).to_sparse().indices()
    tensor([[0, 1],
            [1, 0]])
    """
    s = sparse("indices", self, "sparse_coo")
    if not s.structure.coalesced:
        raise RuntimeError("indices: cannot get indices on an uncoalesced tensor, please call .coalesce() first")
    return s.structure.indices[0].detach()


def values(self: Tensor) -> Tensor:
    """The stored values, on the tape; a COO tensor must be coalesced.

    >>> fb.tensor([[0.0, 5.0], [7.0, 0.0]]).to_sparse().values()
    tensor([5., 7.])
    """
    s = sparse("values", self)
    if s.layout == "sparse_coo" and not s.structure.coalesced:
        raise RuntimeError("values: cannot get values on an uncoalesced tensor, please call .coalesce() first")
    found = values_of(s)
    return found.detach() if found is s.held else found


def _indices(self: Tensor) -> Tensor:
    """The places of a COO tensor as they are stored."""
    return sparse("_indices", self, "sparse_coo").structure.indices[0].detach()


def _values(self: Tensor) -> Tensor:
    """The values as they are stored, off the tape."""
    return sparse("_values", self).held.detach()


def _nnz(self: Tensor) -> int:
    """How many values are stored."""
    return sparse("_nnz", self).structure.nnz


def _coalesced_(self: Tensor, coalesced: bool) -> Tensor:
    """Says whether the places are in order without duplicates; checked where it is claimed."""
    from .construct import checked

    s = sparse("_coalesced_", self, "sparse_coo")
    s.structure = checked("sparse_coo", s.structure.indices, s.held, s.shape, coalesced)
    return s


def crow_indices(self: Tensor) -> Tensor:
    """Where each row of a CSR tensor begins among its values, and the last one ends.

    >>> fb.tensor([[0.0, 5.0], [7.0, 8.0]]).to_sparse_csr().crow_indices()
    tensor([0, 1, 3])
    """
    return sparse("crow_indices", self, "sparse_csr").structure.indices[0].detach()


def col_indices(self: Tensor) -> Tensor:
    """The column of each value of a CSR tensor.

    >>> fb.tensor([[0.0, 5.0], [7.0, 8.0]]).to_sparse_csr().col_indices()
    tensor([1, 0, 1])
    """
    return sparse("col_indices", self, "sparse_csr").structure.indices[1].detach()


def ccol_indices(self: Tensor) -> Tensor:
    """Where each column of a CSC tensor begins among its values, and the last one ends.

    >>> fb.tensor([[0.0, 5.0], [7.0, 8.0]]).to_sparse_csc().ccol_indices()
    tensor([0, 1, 3])
    """
    return sparse("ccol_indices", self, "sparse_csc").structure.indices[0].detach()


def row_indices(self: Tensor) -> Tensor:
    """The row of each value of a CSC tensor.

    >>> fb.tensor([[0.0, 5.0], [7.0, 8.0]]).to_sparse_csc().row_indices()
    tensor([1, 0, 1])
    """
    return sparse("row_indices", self, "sparse_csc").structure.indices[1].detach()


def sparse_dim(self: Tensor) -> int:
    """How many dimensions are indexed; 0 for a dense tensor.

    >>> fb.eye(2).to_sparse().sparse_dim(), fb.eye(2).to_sparse(1).sparse_dim(), fb.eye(2).sparse_dim()
    (2, 1, 0)
    """
    return self.structure.sparse_dim if isinstance(self, SparseTensor) else 0


def dense_dim(self: Tensor) -> int:
    """How many dimensions the values have beside the first.

    >>> fb.eye(2).to_sparse().dense_dim(), fb.eye(2).to_sparse(1).dense_dim()
    (0, 1)
    """
    return self.ndim - sparse_dim(self)


def sparse_resize_(self: Tensor, size: Sequence[int], sparse_dim: int, dense_dim: int) -> Tensor:
    """Takes another size without changing what is stored, which only lets sparse dimensions grow; returns the tensor.

    >>> fb.sparse_coo_tensor([[0]], [1.0], (2,)).sparse_resize_((4,), 1, 0).to_dense()
    tensor([1., 0., 0., 0.])
    """
    from .construct import resized

    s = sparse("sparse_resize_", self, "sparse_coo")
    return become(s, resized(s, size, sparse_dim, dense_dim))


def sparse_resize_and_clear_(self: Tensor, size: Sequence[int], sparse_dim: int, dense_dim: int) -> Tensor:
    """Takes another size and drops every value; returns the tensor.

    >>> fb.eye(2).to_sparse().sparse_resize_and_clear_((1, 3), 2, 0).to_dense()
    tensor([[0., 0., 0.]])
    """
    from .construct import empty_coo

    s = sparse("sparse_resize_and_clear_", self, "sparse_coo")
    return become(s, empty_coo(tuple(size), sparse_dim, dense_dim, s.dtype))


def copied(part: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def function(input: Tensor) -> Tensor:
        return part(input).clone()

    name = part.__name__
    return Derived(f"{name}_copy", function, lambda: copied_doc(name, part.__doc__ or ""))


indices_copy, values_copy = copied(indices), copied(values)
crow_indices_copy, col_indices_copy = copied(crow_indices), copied(col_indices)
ccol_indices_copy, row_indices_copy = copied(ccol_indices), copied(row_indices)
