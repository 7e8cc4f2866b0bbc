"""What operations mean for sparse tensors: a table from an operation's name to a function of its arguments.

The core hands over every operation that meets a sparse tensor; what isn't in the table has no sparse meaning and is
refused. Functions here compute with values and places through ordinary operations, so that the tape needs no rules of
its own. Imports core and ops. Read next: `core/sparse.pxi` (who asks), `products.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..core import _core
from ..core._core import Call, Size, Tensor, wrap
from ..ops.gather import index_select
from ..ops.indirect import Places
from ..ops.joining import cat, stack
from ..ops.matmul import linear
from ..ops.picking import pick, written, written_
from ..ops.table import TABLE
from .construct import nothing
from .convert import lookup, merged, to_layout
from .products import product
from .structure import Pattern, Structure, element_places, flat
from .tensor import SparseTensor, assemble, become, same_dtype, sparse, values_of
from .views import coo_parts, spread

MEANINGS: dict[str, Callable[..., Any]] = {}
# f(0) = 0, so that f of a tensor is f of its values; those of the first line may come before the sum of duplicates.
LINEAR = "neg conj_physical real imag identity"
ZERO_TO_ZERO = (
    "abs asin asinh atan atanh ceil deg2rad erf erfinv expm1 floor frac isinf isnan isneginf isposinf log1p "
    "nan_to_num rad2deg relu round sgn sign signbit sin sinh sqrt square tan tanh trunc"
)


def meaning(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        MEANINGS.update(dict.fromkeys(names, function))
        return function

    return register


def handle(call: Call) -> Any:
    """What the core calls with an operation of which an argument is sparse."""
    name, args = call.op.name, call.args
    while args and args[-1] is _core.DEFAULT:
        args = args[:-1]
    if name not in MEANINGS:
        kinds = ", ".join(x.layout for x in args if isinstance(x, Tensor)) or "sparse"
        raise NotImplementedError(f"{name}: not defined for operands of layout {kinds}; use to_dense()")
    if call.writes is None:
        return MEANINGS[name](*args, **call.kwargs)
    target = call.writes[0]
    if name == "identity":
        return MEANINGS["copy_" if isinstance(args[0], Tensor) else "fill_"](target, *args)
    if not isinstance(target, SparseTensor) and name in ("add", "sub") and args[0] is target:
        return add_dense_(target, *args[1:], sign=1 if name == "add" else -1)
    found = MEANINGS[name](*args, **call.kwargs)
    if found is target:
        return target
    if not isinstance(target, SparseTensor):
        return target.copy_(found)
    if not isinstance(found, SparseTensor) or found.layout != target.layout:
        raise RuntimeError(f"{name}_: a {target.layout} tensor can't hold the result, which is {found.layout}")
    return become(target, cast(found, target.dtype))


_core.set_hook("sparse", handle)


def number(x: Any) -> bool:
    return not isinstance(x, Tensor) or (x.ndim == 0 and not isinstance(x, SparseTensor))


def cast(s: SparseTensor, dtype: Any) -> SparseTensor:
    return s if s.dtype is dtype else assemble(values_of(s).to(dtype), s.structure)


# ---- one tensor
def of_values(op: Any, linear: bool) -> Callable[..., Any]:
    def apply(s: SparseTensor, *args: Any) -> SparseTensor:
        if linear or not s.is_sparse:
            return assemble(op(values_of(s), *args), s.structure)
        structure, values = merged(s)
        return assemble(op(values, *args), structure)

    return apply


for _name in (LINEAR + " " + ZERO_TO_ZERO).split():
    if _name in TABLE:
        MEANINGS[_name] = of_values(TABLE[_name], _name in LINEAR.split())


@meaning("clone")
def clone(s: SparseTensor, *, memory_format: Any = None) -> SparseTensor:
    return assemble(values_of(s).clone(), s.structure)


@meaning("to_dtype")
def to_dtype(s: SparseTensor, dtype: Any) -> SparseTensor:
    return cast(s, dtype)


@meaning("copy_")
def copy_(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    if not isinstance(target, SparseTensor):
        return target.copy_(source.to_dense())
    if not isinstance(source, SparseTensor) or target.shape != source.shape:
        raise RuntimeError(
            f"copy_: a {target.layout} tensor takes a sparse one of shape {list(target.shape)}, got {source.layout} "
            f"{list(source.shape)}"
        )
    return become(target, cast(clone(to_layout(source, target.layout)), target.dtype))


@meaning("fill_")
def fill_(s: SparseTensor, value: Any) -> SparseTensor:
    if value != 0:
        raise NotImplementedError(f"fill_: a {s.layout} tensor can only be filled with 0, got {value}; use to_dense()")
    return become(s, nothing(s))


@meaning("norm2")
def norm2(s: SparseTensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return s.norm(2, dim)


@meaning("sum")
def total(s: SparseTensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Σ over dimensions: dense where no sparse one is left."""
    values = values_of(s)
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return values.sum(dtype=dtype)
    gone = {wrap(d, s.ndim) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))}
    places, _, k = coo_parts(s)
    inner = [d - k + 1 for d in sorted(gone) if d >= k]
    if dtype is not None:
        values = values.to(dtype)
    if inner:
        values = values.sum(inner, keepdim=keepdim)
    left = [d for d in range(k) if d not in gone]
    size = Size((1 if d in gone else n) for d, n in enumerate(s.shape) if keepdim or d not in gone)
    if not left and not keepdim:
        return values.sum(0)
    if len(left) == k:
        rows = places
    elif keepdim:
        rows = stack([places[d] * 0 if d in gone else places[d] for d in range(k)])
    else:
        rows = stack([places[d] for d in left])
    structure, summed = merged(assemble(values, Structure("sparse_coo", (rows,), size, False)))
    out = assemble(summed, structure)
    return to_layout(out, s.layout) if not s.is_sparse and len(size) == 2 else out


# ---- two tensors
def agreed(name: str, a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise RuntimeError(
            f"{name}: shapes must be the same with sparse tensors, got {list(a.shape)} and {list(b.shape)}"
        )


@meaning("add")
def add(a: Any, b: Any, alpha: Any = 1) -> Tensor:
    if isinstance(a, SparseTensor) and isinstance(b, SparseTensor):
        return add_sparse(a, b, alpha)
    if number(a) or number(b):
        raise RuntimeError("add: a number added to a sparse tensor makes every element nonzero; use to_dense()")
    if isinstance(a, SparseTensor):
        if a.is_sparse:
            raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
        return add(b if alpha == 1 else b * alpha, a)
    agreed("add", a, b)
    dtype = _core.promote_types(a.dtype, b.dtype)
    values, at = addend(b, dtype, alpha)
    return written(a.to(dtype), values, **at, how="sum", name="add")


def addend(s: SparseTensor, dtype: Any, alpha: Any) -> tuple[Tensor, dict[str, Any]]:
    """α times the values, and where they are added."""
    if not s.structure.sparse_dim:
        s = s.unsqueeze(0)
    values = values_of(s).to(dtype)
    places, indices = element_places(s.structure)
    return values if alpha == 1 else values * alpha, {"places": places, "indices": indices}


def add_dense_(target: Tensor, other: Any, alpha: Any = 1, *, sign: int = 1) -> Tensor:
    """target += ± α other, at other's places."""
    agreed("add_", target, other)
    if _core.promote_types(target.dtype, other.dtype) is not target.dtype:
        raise RuntimeError(f"add_: result type {other.dtype} can't be cast to the output's, {target.dtype}")
    values, at = addend(other, target.dtype, sign * alpha)
    return written_(target, values, **at, how="sum", name="add_")


def add_sparse(a: SparseTensor, b: SparseTensor, alpha: Any) -> SparseTensor:
    agreed("add", a, b)
    dtype = _core.promote_types(a.dtype, b.dtype)
    va, vb = values_of(a).to(dtype), values_of(b).to(dtype)
    vb = vb if alpha == 1 else vb * alpha
    if a.structure is b.structure:
        return assemble(va + vb, a.structure)
    if a.structure.sparse_dim != b.structure.sparse_dim:
        raise RuntimeError(
            f"add: numbers of sparse dimensions differ, {a.structure.sparse_dim} and {b.structure.sparse_dim}"
        )
    places = cat([a.structure.places(), b.structure.places()], 1)
    both = assemble(cat([va, vb]), Structure("sparse_coo", (places,), a.shape, False))
    if a.is_sparse and not (a.structure.coalesced and b.structure.coalesced):
        return both
    structure, values = merged(both)
    return to_layout(assemble(values, structure), a.layout)


@meaning("sub")
def sub(a: Any, b: Any, alpha: Any = 1) -> Tensor:
    return add(a, b, -alpha)


@meaning("mul")
def mul(a: Any, b: Any) -> SparseTensor:
    if isinstance(a, SparseTensor) and isinstance(b, SparseTensor):
        return multiply_sparse(a, b)
    s, other = (a, b) if isinstance(a, SparseTensor) else (b, a)
    values = values_of(s)
    if number(other):
        return assemble(values * other, s.structure)
    if _core.broadcast_shapes(s.shape, other.shape) != s.shape or not s.structure.sparse_dim:
        raise RuntimeError(f"mul: a dense factor must broadcast to the sparse one's shape, got {list(s.shape)} and "
                           f"{list(other.shape)}")  # fmt: skip
    places, indices = element_places(s.structure)
    return assemble(values * pick(other.expand(s.shape), places=places, indices=indices), s.structure)


def multiply_sparse(a: SparseTensor, b: SparseTensor) -> SparseTensor:
    agreed("mul", a, b)
    if a.structure is b.structure and (not a.is_sparse or a.structure.coalesced):
        return assemble(values_of(a) * values_of(b), a.structure)
    (sa, va), (sb, vb) = merged(a), merged(b)
    at, hit = lookup(sb, sa)
    mine = hit.nonzero().squeeze(1)
    values = index_select(va, 0, mine) * index_select(vb, 0, at[mine])
    found = Structure("sparse_coo", (sa.places()[:, mine],), a.shape, True)
    return to_layout(assemble(values, found), a.layout)


def quotient(name: str, exact: bool) -> Callable[..., SparseTensor]:
    def divided(a: Any, b: Any) -> SparseTensor:
        if not isinstance(a, SparseTensor):
            raise NotImplementedError(f"{name}: a quotient by a sparse tensor divides by zero; use to_dense()")
        if not number(b):
            got = list(b.shape) if isinstance(b, Tensor) else b
            raise RuntimeError(f"{name}: sparse tensors can only be divided by numbers, got divisor {got}")
        return of_values(lambda v: TABLE[name](v, b), exact)(a)

    return divided


MEANINGS.update({name: quotient(name, name == "div") for name in ("div", "floor_divide", "div_trunc")})


@meaning("pow")
def power(a: Any, b: Any) -> SparseTensor:
    if not isinstance(a, SparseTensor) or not number(b) or not b > 0:
        raise RuntimeError(f"pow: a sparse tensor takes a number above 0 as exponent, got {b!r:.80}")
    return of_values(lambda v: TABLE["pow"](v, b), False)(a)


# ---- products
@meaning("matrix_product")
def matrix_product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b of matrices, or of as many matrices each."""
    same_dtype("matmul", a, b)
    if a.ndim != b.ndim or a.ndim not in (2, 3) or (a.ndim == 3 and a.shape[0] != b.shape[0]):
        raise RuntimeError(
            f"matmul: sparse products take matrices, or as many each, got {tuple(a.shape)} @ {tuple(b.shape)}"
        )
    if a.shape[-1] != b.shape[-2]:
        hint = "; did you mean x.mT?" if a.shape[-1] == b.shape[-1] else ""
        raise RuntimeError(f"matmul: inner sizes differ, {tuple(a.shape)} @ {tuple(b.shape)}{hint}")
    for s in (a, b):
        if isinstance(s, SparseTensor) and s.structure.sparse_dim != s.ndim:
            raise RuntimeError(f"matmul: every dimension must be sparse, got {s.structure.sparse_dim} of {s.ndim}")
    if isinstance(a, SparseTensor) and isinstance(b, SparseTensor):
        return multiply_matrices(a, b)
    if isinstance(a, SparseTensor):
        pattern, values = ordered(a)
        if b.ndim == 2:
            return product(values, b, pattern=pattern)
        found = product(values, b.reshape(-1, b.shape[-1]), pattern=pattern)
        return found.reshape(*a.shape[:-1], b.shape[-1])
    return matrix_product(b.mT, a.mT).mT.contiguous()


def ordered(s: SparseTensor) -> tuple[Pattern, Tensor]:
    """A matrix's pattern, and its values in the pattern's order."""
    pattern, order = s.structure.pattern()
    values = values_of(s)
    return pattern, values if order is None else index_select(values, 0, order)


def multiply_matrices(a: SparseTensor, b: SparseTensor) -> SparseTensor:
    """Each entry (i, k) of a meets the entries (k, j) of b; what arrives at (i, j) is summed."""
    if a.ndim != 2:
        raise RuntimeError("matmul: batches of sparse matrices have no sparse product; multiply them one by one")
    (left, va), (right, vb) = ordered(a), ordered(b)
    at, which = spread(right.starts, left.column)
    size = Size((a.shape[0], b.shape[1]))
    values = index_select(va, 0, which) * index_select(vb, 0, at)
    places = stack([left.row[which], right.column[at]])
    structure, values = merged(assemble(values, Structure("sparse_coo", (places,), size, False)))
    return to_layout(assemble(values, structure), a.layout)


@meaning("linear_rows")
def linear_rows(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    y = matrix_product(x, w.mT) if x.ndim == 2 else linear(x.reshape(-1, x.shape[-1]), w)
    y = y.reshape(*x.shape[:-1], w.shape[0])
    return y if bias is None else y + bias


# ---- several
@meaning("stack")
def stacked(tensors: Sequence[Tensor], dim: int) -> SparseTensor:
    dim = wrap(dim, tensors[0].ndim + 1)
    return joined([sparse("stack", t).unsqueeze(dim) for t in tensors], dim)


@meaning("cat")
def cat_of(tensors: Sequence[Tensor], dim: int) -> SparseTensor:
    return joined(tensors, wrap(dim, tensors[0].ndim))


def joined(tensors: Sequence[Tensor], dim: int) -> SparseTensor:
    """Tensors one after the other along a sparse dimension, in which alone their sizes may differ."""
    many = [sparse("cat", t) for t in tensors]
    k = many[0].structure.sparse_dim
    if dim >= k or any(s.structure.sparse_dim != k for s in many):
        raise RuntimeError(
            f"cat: sparse tensors are joined along a sparse dimension that all of them have, got dimension {dim}"
        )
    same_dtype("cat", *many)
    places, before = [], 0
    for s in many:
        p = s.structure.places()
        places.append(cat([p[:dim], (p[dim] + before).unsqueeze(0), p[dim + 1 :]]))
        before += s.shape[dim]
    size = Size((*many[0].shape[:dim], before, *many[0].shape[dim + 1 :]))
    coalesced = dim == 0 and all(s.is_sparse and s.structure.coalesced for s in many)
    return assemble(cat([values_of(s) for s in many]), Structure("sparse_coo", (cat(places, 1),), size, coalesced))


@meaning("pick")
def picked(s: SparseTensor, *, places: Places, indices: Sequence[Tensor]) -> SparseTensor:
    """What index_select makes of its arguments."""
    if len(indices) != 1 or indices[0].ndim != 1:
        raise NotImplementedError(f"indexing: a {s.layout} tensor takes one vector of integers; use to_dense()")
    return s.index_select(places.dims[0], indices[0])


def groups(structure: Structure, dim: int) -> tuple[Tensor, int]:
    """A number for each value, one for all that differ in the sparse dimension `dim` alone; how many there are."""
    places, k = structure.places(), structure.sparse_dim
    others = [d for d in range(k) if d != dim]
    if not others:
        return places.new_zeros(structure.nnz), 1
    number = flat(stack([places[d] for d in others]), tuple(structure.size[d] for d in others))
    distinct, inverse = number.unique(return_inverse=True)
    return inverse, distinct.shape[0]
