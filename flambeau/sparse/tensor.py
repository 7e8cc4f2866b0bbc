"""SparseTensor: a Tensor of which only some elements are stored, as values and the places where they stand.

COO keeps an index for each sparse dimension; CSR and CSC compress the rows' or the columns'. Two operations join these
tensors to the tape, `assemble` (values to tensor) and `values_of` (tensor to values); all others are made of them and
of operations on values. Imports core and ops. Read next: `structure.py`, `meanings.py` (what operations mean here).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from ..core import _core
from ..core._core import DType, Node, Size, Tensor
from ..core.layouts import LAYOUTS, layout
from ..ops.primitive import primitive
from .structure import Structure, element_places

COMPRESSED = {"sparse_csr": ("crow_indices", "col_indices"), "sparse_csc": ("ccol_indices", "row_indices")}


class SparseTensor(Tensor):
    """A tensor that stores the values of some of its elements; the others are zero.

    Made by `sparse_coo_tensor`, `sparse_csr_tensor`, `sparse_csc_tensor` and `to_sparse`.

    >>> x = fb.eye(2).to_sparse()
    >>> isinstance(x, fb.sparse.SparseTensor), x.shape, x.values()
    (True, flambeau.Size([2, 2]), tensor([1., 1.]))
    """

    structure: Structure
    held: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError("SparseTensor: use sparse_coo_tensor, sparse_csr_tensor, sparse_csc_tensor or x.to_sparse()")

    # ---- geometry
    @property
    def layout(self) -> layout:
        return LAYOUTS[self.structure.layout]

    @property
    def is_sparse(self) -> bool:
        return self.structure.layout == "sparse_coo"

    @property
    def is_sparse_csr(self) -> bool:
        return self.structure.layout == "sparse_csr"

    @property
    def shape(self) -> Size:
        return self.structure.size

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[self._wrap(dim)]

    def _wrap(self, dim: int) -> int:
        from ..ops.arguments import wrap

        return wrap(dim, self.ndim)

    def dim(self) -> int:
        return len(self.structure.size)

    ndimension = dim
    ndim = property(dim)

    def numel(self) -> int:
        return math.prod(self.structure.size)

    nelement = numel

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def is_contiguous(self, memory_format: Any = None) -> bool:
        return False

    # ---- copies, conversions
    def detach(self) -> SparseTensor:
        return made(self.held.detach(), self.structure)

    @property
    def data(self) -> SparseTensor:
        return self.detach()

    @data.setter
    def data(self, value: SparseTensor) -> None:
        sparse("data", value)
        Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.structure, self.held = value.structure, value.held

    def detach_(self) -> SparseTensor:
        super().detach_()
        return self

    def zero_(self) -> SparseTensor:
        """Drops every value; returns the tensor."""
        from .construct import nothing

        return become(self, nothing(self))

    def norm(self, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
        """The p-norm of all elements."""
        from .convert import merged_values

        if dim is not None and len(dim if isinstance(dim, (tuple, list)) else (dim,)) != self.ndim:
            raise NotImplementedError(f"norm: only of all elements of a {self.layout} tensor; use to_dense()")
        return merged_values(self).reshape(-1).norm(p, dtype=dtype)

    def item(self) -> Any:
        if self.numel() != 1:
            raise RuntimeError(f"item: a tensor with one element is needed, got shape {list(self.shape)}")
        return self.to_dense().item()  # type: ignore[attr-defined]

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise RuntimeError(f"bool: the truth of a tensor with {self.numel()} elements is ambiguous")
        return bool(self.item())

    # ---- places
    def permute(self, *dims: Any) -> SparseTensor:
        """The dimensions in another order; sparse and dense ones stay apart."""
        from .views import permuted

        return permuted(self, dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims)

    def transpose(self, dim0: int, dim1: int) -> SparseTensor:
        """Two dimensions exchanged; a CSR tensor becomes CSC over the same memory, and the other way round."""
        order = list(range(self.ndim))
        if order:
            a, b = self._wrap(dim0), self._wrap(dim1)
            order[a], order[b] = b, a
        return self.permute(order)

    def t(self) -> SparseTensor:
        """A matrix transposed; a vector as it is."""
        if self.ndim > 2:
            raise RuntimeError(f"t: at most 2 dimensions are expected, got {self.ndim}; use transpose(dim0, dim1)")
        return self.transpose(0, 1) if self.ndim == 2 else self

    @property
    def T(self) -> SparseTensor:
        return self.permute(tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> SparseTensor:
        if self.ndim < 2:
            raise RuntimeError(f"mT: at least 2 dimensions are needed, got {self.ndim}")
        return self.transpose(-2, -1)

    def transpose_(self, dim0: int, dim1: int) -> SparseTensor:
        return become(self, self.transpose(dim0, dim1))

    def t_(self) -> SparseTensor:
        return become(self, self.t())

    def unsqueeze(self, dim: int) -> SparseTensor:
        """A dimension of length 1 inserted."""
        from .views import unsqueezed

        return unsqueezed(self, dim)

    def select(self, dim: int, index: int) -> Tensor:
        """One index of a dimension, which is dropped; dense where no sparse dimension is left."""
        from .views import selected

        return selected(self, dim, index)

    def narrow(self, dim: int, start: int, length: int) -> SparseTensor:
        """`length` indices of a dimension from `start` on."""
        from .views import narrowed

        return narrowed(self, dim, start, length)

    narrow_copy = narrow

    def index_select(self, dim: int, index: Tensor) -> SparseTensor:
        """The parts along a dimension that `index` names, in its order."""
        from .views import index_selected

        return index_selected(self, dim, index)

    def __getitem__(self, index: Any) -> Tensor:
        from .views import got

        return got(self, index)

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(f"x[…] = …: a {self.layout} tensor takes no assignments; use to_dense(), or build it anew")

    def __iter__(self) -> Iterator[Tensor]:
        return (self.select(0, i) for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool((self.to_dense() == value).any())  # type: ignore[attr-defined]

    def __matmul__(self, other: Any) -> Any:
        return _core.hooks["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _core.hooks["matmul"](other, self)

    # ---- exchange
    def numpy(self, *, force: bool = False) -> NoReturn:
        raise TypeError(f"numpy: a {self.layout} tensor has no array; use x.to_dense().numpy(), or sparse.to_scipy(x)")

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self.numpy()

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        s = self.structure
        wants = self.is_leaf and self.requires_grad
        return rebuilt, (s.layout, s.indices, tuple(s.size), s.coalesced, self.held, wants)

    def __deepcopy__(self, memo: dict[int, Any]) -> SparseTensor:
        import copy

        if id(self) not in memo:
            if not self.is_leaf:
                raise RuntimeError("deepcopy: only leaf tensors can be copied deeply; use x.detach().clone()")
            s = self.structure
            twin = made(self.held.clone(), s.over(tuple(i.clone() for i in s.indices)))
            twin.requires_grad_(self.requires_grad)
            memo[id(self)] = twin
            if self.grad is not None:
                twin.grad = copy.deepcopy(self.grad, memo)
        return memo[id(self)]

    def __copy__(self) -> SparseTensor:
        return made(self.held, self.structure).requires_grad_(self.requires_grad)

    def __hash__(self) -> int:
        return id(self) >> 4


NO_MEMORY = (
    "__dlpack__", "as_strided", "contiguous", "data_ptr", "expand", "expand_as", "flatten", "reshape", "reshape_as",
    "resize_", "set_", "squeeze", "storage", "storage_offset", "stride", "tolist", "unfold", "untyped_storage", "view",
    "view_as",
)  # fmt: skip
# PyTorch says of these by a plain RuntimeError that they don't exist here.
PLAIN = ("contiguous", "data_ptr", "expand", "reshape", "stride")


def refused(name: str) -> Callable[..., NoReturn]:
    def method(self: SparseTensor, *args: Any, **kwargs: Any) -> NoReturn:
        kind = RuntimeError if name in PLAIN else NotImplementedError
        raise kind(f"{name}: a {self.layout} tensor has no strided memory; use to_dense()")

    method.__name__ = name
    return method


for _name in NO_MEMORY:
    setattr(SparseTensor, _name, refused(_name))


def made(values: Tensor, structure: Structure) -> SparseTensor:
    """The tensor of these parts, off the tape."""
    s: SparseTensor = _core.make_sparse(SparseTensor, values.dtype)
    s.structure, s.held = structure, values.detach()  # a tensor of its own: the caller's may be resized
    return s


def become(target: SparseTensor, source: SparseTensor) -> SparseTensor:
    """target, changed in place to hold what source holds, with source's history."""
    if source.dtype is not target.dtype:
        raise RuntimeError(f"in-place change: {source.dtype} doesn't fit a {target.dtype} tensor")
    if _core.is_grad_enabled() and target.requires_grad and target.is_leaf:
        raise RuntimeError("a leaf that requires grad can't be changed in place; use flambeau.no_grad()")
    node, nr = source.grad_fn, source.output_nr
    target.structure, target.held = source.structure, source.held
    target._bump_version()
    if node is not None:
        _core.set_output(node, target, nr)
    elif not target.is_leaf:
        target.detach_()
    return target


def rebuilt(
    layout: str, indices: tuple, size: tuple, coalesced: bool, values: Tensor, requires_grad: bool
) -> SparseTensor:
    """The tensor that pickle took apart; what comes from a file is checked."""
    from .construct import checked

    return made(values, checked(layout, indices, values, size, coalesced)).requires_grad_(requires_grad)


# ---- the tape
def assemble_vjp(ctx: Any, g: Tensor) -> Tensor:
    return values_at(g, ctx.structure)


@primitive(assemble_vjp, name="sparse_tensor")
def assemble(ctx, values, structure):
    """The sparse tensor of these values in this structure."""
    ctx.structure = structure
    return made(values, structure)


def values_at(g: Tensor, structure: Structure) -> Tensor:
    """The elements of g, sparse or dense, at the places of a structure."""
    if isinstance(g, SparseTensor):
        if g.structure is structure:
            return values_of(g)
        from .convert import found

        return found(g, structure)
    from ..ops.picking import pick

    places, indices = element_places(structure)
    return pick(g, places=places, indices=indices)


def read(ctx: Any, s: SparseTensor) -> Tensor:
    ctx.structure = s.structure
    return _core.same(s.held)


def read_vjp(ctx: Any, g: Tensor) -> Tensor:
    return assemble(g, ctx.structure)


def values_of(s: SparseTensor) -> Tensor:
    """The values of a sparse tensor as they are stored, on the tape."""
    if not (_core.is_grad_enabled() and s.requires_grad):
        return s.held
    return _core.taped_call(_core.make_node(Node, "SparseValuesBackward0"), read, read_vjp, (s,), {}, False)


def sparse(name: str, x: Any, *layouts: str) -> SparseTensor:
    """x, which must be sparse and of one of the layouts."""
    if not isinstance(x, SparseTensor) or (layouts and x.layout not in layouts):
        wanted = " or ".join(layouts) if layouts else "sparse"
        got = x.layout if isinstance(x, Tensor) else type(x).__name__
        raise RuntimeError(f"{name}: expected a {wanted} tensor but got {got}; use to_sparse_coo() or to_sparse_csr()")
    return x


def same_dtype(name: str, *tensors: Tensor) -> DType:
    if len({t.dtype for t in tensors}) > 1:
        got = ", ".join(str(t.dtype) for t in tensors)
        raise RuntimeError(f"{name}: expected tensors of one dtype, got {got}; convert one with x.to(dtype)")
    return tensors[0].dtype
