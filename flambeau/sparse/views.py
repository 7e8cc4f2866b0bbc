"""Other geometry for a sparse tensor: dimensions permuted, inserted, selected, narrowed, indexed.

Places are rewritten, values stay on the tape; what comes out is COO, but for a compressed matrix transposed.
Imports core and ops. Read next: `convert.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core._core import Size, Tensor
from ..ops.arguments import wrap
from ..ops.gather import index_select
from ..ops.indirect import as_index, check_range
from ..ops.joining import cat, stack
from ..ops.ranges import arange
from ..ops.table import TABLE
from .structure import INT64, Structure, argsort, pointers
from .tensor import SparseTensor, assemble, values_of


def permuted(s: SparseTensor, dims: Sequence[int]) -> SparseTensor:
    order = [wrap(d, s.ndim) for d in dims]
    old, k = s.structure, s.structure.sparse_dim
    if sorted(order) != list(range(s.ndim)):
        raise RuntimeError(
            f"permute: {s.ndim} different dimensions are needed for shape {list(s.shape)}, got {list(dims)}"
        )
    if order == list(range(s.ndim)):
        return s
    if any((d < k) != (i < k) for i, d in enumerate(order)):
        raise RuntimeError(
            f"permute: sparse and dense dimensions can't be exchanged, got {list(dims)} for {k} sparse ones"
        )
    size = Size(s.shape[d] for d in order)
    held = values_of(s)
    if order[k:] != list(range(k, s.ndim)):
        held = held.permute(0, *(d - k + 1 for d in order[k:]))
    if order[:k] == list(range(k)):
        return assemble(held, Structure(old.layout, old.indices, size, old.coalesced))
    if old.layout != "sparse_coo":
        other = {"sparse_csr": "sparse_csc", "sparse_csc": "sparse_csr"}[old.layout]
        turned = Structure(other, old.indices, size, True)
        if "pattern" in old.derived and old.derived["pattern"][1] is None:
            pattern, order_t = old.derived["pattern"][0].transposed
            turned.derived["pattern"] = pattern, order_t
        return assemble(held, turned)
    places = stack([old.indices[0][d] for d in order[:k]])
    return assemble(held, Structure("sparse_coo", (places,), size, old.nnz < 2))


def coo_parts(s: SparseTensor) -> tuple[Tensor, Tensor, int]:
    """Places, values and the number of sparse dimensions, whatever the layout."""
    return s.structure.places(), values_of(s), s.structure.sparse_dim


def unsqueezed(s: SparseTensor, dim: int) -> SparseTensor:
    dim = wrap(dim, s.ndim + 1)
    places, held, k = coo_parts(s)
    size = Size((*s.shape[:dim], 1, *s.shape[dim:]))
    if dim <= k:
        zero = places.new_zeros(1, places.shape[1])
        places = cat([places[:dim], zero, places[dim:]])
    else:
        held = held.unsqueeze(dim - k + 1)
    return assemble(held, Structure("sparse_coo", (places,), size, s.is_sparse and s.structure.coalesced))


def kept(places: Tensor, held: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    at = mask.nonzero().squeeze(1)
    return places[:, at], index_select(held, 0, at)


def selected(s: SparseTensor, dim: int, index: int) -> Tensor:
    dim = wrap(dim, s.ndim)
    n = s.shape[dim]
    if not -n <= index < n:
        raise IndexError(f"index {index} is out of bounds for dimension {dim} with size {n}")
    places, held, k = coo_parts(s)
    size = Size((*s.shape[:dim], *s.shape[dim + 1 :]))
    coalesced = not s.is_sparse or s.structure.coalesced
    if dim >= k:
        held = held.select(dim - k + 1, index % n)
    else:
        places, held = kept(places, held, places[dim] == index % n)
        if k == 1:
            return held.sum(0)
        places = cat([places[:dim], places[dim + 1 :]])
        coalesced = coalesced and s.layout != "sparse_csc"
    return assemble(held, Structure("sparse_coo", (places,), size, coalesced))


def narrowed(s: SparseTensor, dim: int, start: int, length: int) -> SparseTensor:
    dim = wrap(dim, s.ndim)
    n = s.shape[dim]
    start = start + n if start < 0 else start
    if not (0 <= start <= n and 0 <= length <= n - start):
        raise RuntimeError(f"narrow: start {start} and length {length} exceed dimension {dim} of length {n}")
    places, held, k = coo_parts(s)
    size = Size((*s.shape[:dim], length, *s.shape[dim + 1 :]))
    if dim >= k:
        held = held.narrow(dim - k + 1, start, length)
    else:
        places, held = kept(places, held, (places[dim] >= start) & (places[dim] < start + length))
        if start:
            places = cat([places[:dim], (places[dim] - start).unsqueeze(0), places[dim + 1 :]])
    return assemble(held, Structure("sparse_coo", (places,), size, s.is_sparse and s.structure.coalesced))


def index_selected(s: SparseTensor, dim: int, index: Tensor) -> SparseTensor:
    dim = wrap(dim, s.ndim)
    index = as_index("index_select", index).reshape(-1)
    check_range(index, s.shape[dim], 0, False)
    places, held, k = coo_parts(s)
    size = Size((*s.shape[:dim], index.shape[0], *s.shape[dim + 1 :]))
    if dim >= k:
        return assemble(
            index_select(held, dim - k + 1, index), Structure("sparse_coo", (places,), size, s.structure.coalesced)
        )
    # The entries of each wanted place stand together once they are sorted by it.
    order = argsort(places[dim])
    starts = pointers(places[dim], s.shape[dim])
    at, which = spread(starts, index)
    entries = order[at]
    places = places[:, entries]
    places = cat([places[:dim], which.unsqueeze(0), places[dim + 1 :]])
    return assemble(index_select(held, 0, entries), Structure("sparse_coo", (places,), size, False))


def spread(starts: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """The members of the runs that index names, one run after the other; for each, which element of index named it."""
    lengths = starts[index + 1] - starts[index]
    which = arange(index.shape[0]).repeat_interleave(lengths)
    begins = lengths.cumsum(0) - lengths
    at = starts[index][which] + arange(which.shape[0]) - begins[which]
    return at, which


def got(s: SparseTensor, index: Any) -> Tensor:
    """s[index] for integers, slices of step 1, None, … and a vector of integers."""
    items = list(index) if isinstance(index, tuple) else [index]
    used = sum(1 for x in items if x is not None and x is not Ellipsis)
    if used > s.ndim:
        raise IndexError(f"too many indices for tensor of dimension {s.ndim}: got {used}")
    if not any(x is Ellipsis for x in items):
        items.append(Ellipsis)
    dim, out = 0, s
    for x in items:
        if x is Ellipsis:
            dim += s.ndim - used
        elif x is None:
            out, dim = out.unsqueeze(dim), dim + 1
        elif isinstance(x, slice):
            start, stop, step = x.indices(out.shape[dim])
            if step != 1:
                raise IndexError(f"x[…]: a {s.layout} tensor takes slices of step 1, got {step}; use index_select")
            out, dim = out.narrow(dim, start, max(0, stop - start)), dim + 1
        elif isinstance(x, Tensor) and x.ndim == 1 and x.dtype is INT64:
            out, dim = out.index_select(dim, TABLE["where"](x < 0, x + out.shape[dim], x)), dim + 1
        elif hasattr(x, "__index__") and not isinstance(x, bool):
            out = out.select(dim, x.__index__())  # type: ignore[assignment]
        else:
            raise IndexError(
                f"x[…]: a {s.layout} tensor takes integers, slices, None and vectors of integers, got {x!r}"
            )
    return out
