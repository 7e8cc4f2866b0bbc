"""Sparse tensors from indices and values, from SciPy's arrays and from diagonals; what doesn't fit together is refused.

Indices are always checked: an index out of bounds would read foreign memory in a kernel. Imports core and ops.
Read next: `tensor.py`, `convert.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core import _core
from ..core._core import DTYPES, DType, Size, Tensor
from ..ops.factories import as_tensor, empty, zeros
from ..ops.indirect import extent
from .structure import INT64, Structure, flat, run_numbers
from .tensor import COMPRESSED, SparseTensor, assemble, made, values_of

INT32 = DTYPES[4]


def as_indices(name: str, indices: Any) -> Tensor:
    """Indices as an integer tensor off the tape."""
    found = as_tensor(indices).detach()
    if found.is_complex() or found.dtype is DTYPES[0]:
        raise RuntimeError(f"{name}: indices must be integers, got {found.dtype}")
    return found


def check_bounds(name: str, index: Tensor, size: int, what: str) -> None:
    if index.numel():
        low, high = extent(index.to(INT64))
        if low < 0 or high >= size:
            raise RuntimeError(
                f"{name}: {what} must be in [0, {size}), got {low if low < 0 else high}; give a larger size"
            )


def empty_coo(size: Sequence[int], sparse_dim: int, dense_dim: int, dtype: DType) -> SparseTensor:
    """A COO tensor that stores nothing."""
    if len(size) != sparse_dim + dense_dim:
        raise RuntimeError(
            f"sparse_coo_tensor: size {list(size)} doesn't have {sparse_dim} sparse and {dense_dim} dense dimensions"
        )
    values = zeros(0, *size[sparse_dim:], dtype=dtype)
    places = empty(sparse_dim, 0, dtype=INT64)
    return made(values, Structure("sparse_coo", (places,), Size(size), True))


def nothing(s: SparseTensor) -> SparseTensor:
    """A tensor like s that stores nothing."""
    old = s.structure
    if old.layout == "sparse_coo":
        return empty_coo(old.size, old.sparse_dim, len(old.size) - old.sparse_dim, s.dtype)
    starts, others = old.indices
    indices = (starts.new_zeros(starts.shape), others.new_empty(0))
    return made(zeros(0, *s.held.shape[1:], dtype=s.dtype), old.over(indices))


def resized(s: SparseTensor, size: Any, sparse_dim: int, dense_dim: int) -> SparseTensor:
    size, old = tuple(size), s.structure
    if len(size) != sparse_dim + dense_dim or (old.nnz and sparse_dim != old.sparse_dim):
        raise RuntimeError(
            f"sparse_resize_: {old.nnz} values in {old.sparse_dim} sparse dimensions can't become {list(size)} with "
            f"{sparse_dim}"
        )
    if old.nnz == 0:
        return empty_coo(size, sparse_dim, dense_dim, s.dtype)
    if any(new < n for new, n in zip(size, old.size, strict=True)) or size[sparse_dim:] != old.size[sparse_dim:]:
        raise RuntimeError(
            f"sparse_resize_: with values stored only sparse dimensions can grow, got {list(old.size)} to {list(size)}"
        )
    return made(s.held, Structure("sparse_coo", old.indices, Size(size), old.coalesced))


def row_major(places: Tensor, sizes: tuple[int, ...]) -> bool:
    """Whether places follow each other in row-major order and none occurs twice."""
    number = flat(places, sizes)
    return number.shape[0] < 2 or bool((number[1:] > number[:-1]).all())


def checked(
    layout: str, indices: Sequence[Tensor], values: Tensor, size: Sequence[int] | None, coalesced: bool | None = None
) -> Structure:
    """The structure of these indices. Raises RuntimeError unless they fit each other, the values and the size."""
    if size is not None and any(n < 0 for n in size):
        raise RuntimeError(f"{layout}_tensor: sizes can't be negative, got {list(size)}")
    if layout == "sparse_coo":
        return checked_coo(indices[0], values, size, coalesced)
    if layout not in COMPRESSED:
        raise RuntimeError(f"sparse_compressed_tensor: the layout must be sparse_csr or sparse_csc, got {layout}")
    return checked_compressed(layout, indices, values, size)


def checked_coo(places: Tensor, values: Tensor, size: Sequence[int] | None, coalesced: bool | None) -> Structure:
    name = "sparse_coo_tensor"
    if places.ndim != 2:
        raise RuntimeError(f"{name}: indices must be sparse_dim x nnz, but got: {list(places.shape)}")
    if values.ndim == 0 or values.shape[0] != places.shape[1]:
        raise RuntimeError(
            f"{name}: indices and values must have same nnz, but got {places.shape[1]} indices and values of shape "
            f"{list(values.shape)}"
        )
    places, k = places.to(INT64), places.shape[0]
    if size is None:
        if k and not places.shape[1]:
            raise RuntimeError(f"{name}: no indices, so no size can be read from them; give size=")
        size = [*(int(row.max()) + 1 for row in places), *values.shape[1:]]
    size = Size(int(n) for n in size)
    if len(size) != k + values.ndim - 1 or tuple(size[k:]) != tuple(values.shape[1:]):
        raise RuntimeError(
            f"{name}: size {list(size)} doesn't fit {k} sparse dimensions and values of shape {list(values.shape)}"
        )
    for d in range(k):
        check_bounds(name, places[d], size[d], f"indices of dimension {d}")
    # What a caller promises is believed only as far as it is true.
    ordered = coalesced is True and row_major(places, tuple(size[:k]))
    if coalesced and not ordered:
        raise RuntimeError(f"{name}: is_coalesced=True, but indices aren't in ascending order without duplicates")
    return Structure("sparse_coo", (places,), size, ordered or places.shape[1] < 2)


def checked_compressed(layout: str, indices: Sequence[Tensor], values: Tensor, size: Sequence[int] | None) -> Structure:
    name = f"{layout}_tensor"
    starts, others = indices
    first, second = COMPRESSED[layout]
    for index, what in zip(indices, (first, second), strict=True):
        if index.ndim != 1:
            raise RuntimeError(f"{name}: {what} must be a vector (batches aren't supported), got {list(index.shape)}")
        if index.dtype not in (INT32, INT64):
            raise RuntimeError(f"{name}: {what} must be int32 or int64, got {index.dtype}")
    if starts.dtype is not others.dtype:
        raise RuntimeError(f"{name}: {first} and {second} must have one dtype, got {starts.dtype} and {others.dtype}")
    if values.ndim == 0 or values.shape[0] != others.shape[0]:
        raise RuntimeError(
            f"{name}: {second} and values must have the same length, got {others.shape[0]} and {list(values.shape)}"
        )
    if not starts.shape[0]:
        raise RuntimeError(f"{name}: {first} needs one element more than there are rows or columns, got none")
    if size is None:
        other = int(others.max()) + 1 if others.shape[0] else 0
        n = starts.shape[0] - 1
        size = [*((n, other) if layout == "sparse_csr" else (other, n)), *values.shape[1:]]
    size = Size(int(n) for n in size)
    if len(size) != values.ndim + 1 or tuple(size[2:]) != tuple(values.shape[1:]):
        raise RuntimeError(f"{name}: size {list(size)} doesn't fit values of shape {list(values.shape)}")
    n, other = (size[0], size[1]) if layout == "sparse_csr" else (size[1], size[0])
    if starts.shape[0] != n + 1:
        raise RuntimeError(f"{name}: {first} must have {n + 1} elements for size {list(size)}, got {starts.shape[0]}")
    if int(starts[0]) != 0 or int(starts[-1]) != others.shape[0]:
        raise RuntimeError(
            f"{name}: {first} must go from 0 to the number of values, {others.shape[0]}; it goes from {int(starts[0])} "
            f"to {int(starts[-1])}"
        )
    if n and bool((starts[1:] < starts[:-1]).any()):
        raise RuntimeError(f"{name}: {first} must not descend")
    check_bounds(name, others, other, second)
    run = run_numbers(starts.to(INT64))
    if others.shape[0] > 1 and bool(((others[1:] <= others[:-1]) & (run[1:] == run[:-1])).any()):
        raise RuntimeError(
            f"{name}: {second} must ascend without duplicates within each row or column; sparse_coo_tensor takes "
            "them in any order, and its to_sparse_csr() sorts them"
        )
    return Structure(layout, (starts, others), size, True)


def built(
    layout: str, indices: Sequence[Any], values: Any, size: Any, dtype: DType | None, requires_grad: bool,
    coalesced: bool | None = None,
) -> SparseTensor:  # fmt: skip
    values = as_tensor(values) if dtype is None else as_tensor(values, dtype=dtype)
    name = f"{layout}_tensor"
    if isinstance(values, SparseTensor):
        raise RuntimeError(f"{name}: values must be strided, got {values.layout}")
    structure = checked(layout, [as_indices(name, i).clone() for i in indices], values, size, coalesced)
    if requires_grad:
        return made(values, structure).requires_grad_(True)
    return assemble(values, structure)


def sparse_coo_tensor(
    indices: Any = None, values: Any = None, size: Any = None, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False, check_invariants: bool | None = None, is_coalesced: bool | None = None,
    pin_memory: bool = False,
) -> SparseTensor:  # fmt: skip
    """A tensor with `values` (nnz, …) at the places `indices` (sparse dimensions, nnz); values of one place are summed.

    Without a size it is the smallest that holds all indices; with a size alone the tensor is empty. Raises RuntimeError
    where an index is out of bounds, always: `check_invariants=False` doesn't switch that off.

    >>> fb.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3)).to_dense()
    tensor([[0., 0., 3.],
            [4., 0., 0.]])
    """
    if values is None:
        size = indices if size is None else size
        if size is None or isinstance(size, Tensor):
            raise TypeError("sparse_coo_tensor: takes indices and values, or a size")
        found = empty_coo(tuple(size), len(size), 0, _core.get_default_dtype() if dtype is None else dtype)
        return found.requires_grad_(requires_grad)
    return built("sparse_coo", [indices], values, size, dtype, requires_grad, is_coalesced)


def sparse_csr_tensor(
    crow_indices: Any, col_indices: Any, values: Any, size: Any = None, *, dtype: DType | None = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False, check_invariants: bool | None = None,
) -> SparseTensor:  # fmt: skip
    """The matrix whose row i has values[crow[i] … crow[i + 1]] in the columns that col_indices names.

    Raises RuntimeError unless pointers ascend from 0 to nnz and columns ascend within each row, in bounds.

    >>> fb.sparse_csr_tensor([0, 1, 2], [1, 0], [3.0, 4.0]).to_dense()
    tensor([[0., 3.],
            [4., 0.]])
    """
    return built("sparse_csr", [crow_indices, col_indices], values, size, dtype, requires_grad)


def sparse_csc_tensor(
    ccol_indices: Any, row_indices: Any, values: Any, size: Any = None, *, dtype: DType | None = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False, check_invariants: bool | None = None,
) -> SparseTensor:  # fmt: skip
    """The matrix whose column j has values[ccol[j] … ccol[j + 1]] in the rows that row_indices names.

    >>> fb.sparse_csc_tensor([0, 1, 2], [1, 0], [5.0, 6.0]).to_dense()
    tensor([[0., 6.],
            [5., 0.]])
    """
    return built("sparse_csc", [ccol_indices, row_indices], values, size, dtype, requires_grad)


def sparse_compressed_tensor(
    compressed_indices: Any, plain_indices: Any, values: Any, size: Any = None, *, dtype: DType | None = None,
    layout: str | None = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
    check_invariants: bool | None = None,
) -> SparseTensor:  # fmt: skip
    """A CSR or CSC tensor, as `layout` says.

    >>> fb.sparse_compressed_tensor([0, 1, 2], [1, 0], [5.0, 6.0], layout=fb.sparse_csr).to_dense()
    tensor([[0., 5.],
            [6., 0.]])
    """
    if layout not in COMPRESSED:
        raise RuntimeError(f"sparse_compressed_tensor: the layout must be sparse_csr or sparse_csc, got {layout}")
    return built(layout, [compressed_indices, plain_indices], values, size, dtype, requires_grad)


def gradient_of_rows(rows: Tensor, g: Tensor, size: Size, padding: int) -> SparseTensor:
    """The gradient of a table of which rows were asked for, as a COO tensor of those; the padding row gets none."""
    if padding >= 0:
        kept = (rows != padding).nonzero().squeeze(1)
        rows, g = rows[kept], g[kept]
    return assemble(g, Structure("sparse_coo", (rows.unsqueeze(0),), Size(size), rows.shape[0] < 2))


def spdiags(diagonals: Tensor, offsets: Tensor, shape: Any, layout: str | None = None) -> SparseTensor:
    """The matrix whose diagonal offsets[i] is row i of `diagonals`; element j of a row goes to column j.

    >>> fb.sparse.spdiags(fb.tensor([[1.0, 2.0]]), fb.tensor([0]), (2, 2)).to_dense()
    tensor([[1., 0.],
            [0., 2.]])
    """
    from ..ops.joining import stack
    from ..ops.ranges import arange
    from .convert import to_layout

    offsets = as_indices("spdiags", offsets).reshape(-1).to(INT64)
    diagonals = diagonals.unsqueeze(0) if diagonals.ndim == 1 else diagonals
    rows, columns = (int(n) for n in shape)
    if diagonals.ndim != 2 or diagonals.shape[0] != offsets.shape[0]:
        raise RuntimeError(
            f"spdiags: {offsets.shape[0]} offsets need as many rows of diagonals, got shape {list(diagonals.shape)}"
        )
    if offsets.unique().shape[0] != offsets.shape[0]:
        raise RuntimeError("spdiags: offsets must differ from each other")
    width = min(diagonals.shape[1], columns)
    column = arange(width).expand(offsets.shape[0], width)
    row = column - offsets.unsqueeze(1)
    inside = ((row >= 0) & (row < rows)).reshape(-1).nonzero().squeeze(1)
    places = stack([row.reshape(-1)[inside], column.reshape(-1)[inside]])
    values = diagonals[:, :width].reshape(-1)[inside]
    return to_layout(sparse_coo_tensor(places, values, (rows, columns)), layout or "sparse_coo")


# ---- SciPy
def from_scipy(matrix: Any, *, requires_grad: bool = False) -> SparseTensor:
    """A tensor of a SciPy sparse array or matrix: CSR and CSC stay what they are, every other format becomes COO.

    Values and indices are copied. Raises TypeError for anything else.

    >>> import scipy.sparse
    >>> fb.sparse.from_scipy(scipy.sparse.csr_array([[0.0, 2.0], [1.0, 0.0]])).crow_indices()
    tensor([0, 1, 2])
    """
    import scipy.sparse

    if not scipy.sparse.issparse(matrix):
        raise TypeError(f"from_scipy: a SciPy sparse array is needed, got {type(matrix).__name__}")
    layout = f"sparse_{matrix.format}"
    if layout in COMPRESSED:
        tidy = matrix.copy()
        tidy.sum_duplicates()
        indices = [as_tensor(i.astype("int64")) for i in (tidy.indptr, tidy.indices)]
        return built(layout, indices, as_tensor(tidy.data), tidy.shape, None, requires_grad)
    entries = matrix.tocoo(copy=True)
    import numpy

    places = as_tensor(numpy.stack(getattr(entries, "coords", None) or (entries.row, entries.col)).astype("int64"))
    return built("sparse_coo", [places], as_tensor(entries.data), entries.shape, None, requires_grad)


def to_scipy(x: SparseTensor) -> Any:
    """A SciPy array of a sparse matrix, in its own layout; values and indices are copied.

    >>> fb.sparse.to_scipy(fb.eye(2).to_sparse_csr()).nnz
    2
    """
    import scipy.sparse

    from .tensor import sparse

    s = sparse("to_scipy", x)
    if s.ndim != 2 or s.held.ndim != 1:
        raise RuntimeError(f"to_scipy: SciPy has sparse matrices of numbers only, got shape {list(s.shape)}")
    values = values_of(s).detach().numpy().copy()
    arrays = [i.numpy().copy() for i in s.structure.indices]
    if s.layout == "sparse_coo":
        return scipy.sparse.coo_array((values, tuple(arrays[0])), shape=tuple(s.shape))
    kind = scipy.sparse.csr_array if s.layout == "sparse_csr" else scipy.sparse.csc_array
    return kind((values, arrays[1], arrays[0]), shape=tuple(s.shape))


# ---- PyTorch's old constructors
class Legacy:
    """torch.sparse.FloatTensor and its kin: (indices, values, size), (indices, values) or sizes."""

    def __init__(self, name: str, dtype: DType) -> None:
        self.__name__, self.dtype = name, dtype

    def __call__(self, *args: Any, device: Any = None) -> SparseTensor:
        if args and isinstance(args[0], Tensor):
            if len(args) < 2 or not isinstance(args[1], Tensor) or args[1].dtype is not self.dtype:
                got = args[1].dtype if len(args) > 1 and isinstance(args[1], Tensor) else None
                raise TypeError(f"sparse.{self.__name__}: expected values of {self.dtype}, got {got}")
            return sparse_coo_tensor(*args)
        size = args[0] if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
        return sparse_coo_tensor(tuple(size), dtype=self.dtype) if size else empty_coo((0,), 1, 0, self.dtype)

    def __instancecheck__(self, x: object) -> bool:
        return isinstance(x, SparseTensor) and x.is_sparse and x.dtype is self.dtype
