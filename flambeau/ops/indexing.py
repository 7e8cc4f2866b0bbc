"""x[…] and x[…] = … where the index holds tensors, lists or arrays; what else in the core is an indexed write.

Integers, slices, None and … become a view first; what is left are index tensors for some of its dimensions. Their
results stand where the tensors stood if those are neighbours, else in front.
Imports core and neighbours in ops. Read next: `indirect.py` (places and kernels), `masks.py`, `gather.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor, new_empty, plain_copy
from .basic import overlaps, to_dtype
from .gather import fill_value
from .indirect import PLANS, Ints, Places, as_index, check_range, inserted, write
from .masks import columns, count_true, masked_scatter_, masked_select, true_places
from .picking import pick, written, written_
from .picking import scatter_into_zeros as scatter_into_zeros
from .ranges import arange
from .recall import recalled
from .table import TABLE

BOOL, UINT8, INT32, INT64 = DTYPES[0], DTYPES[1], DTYPES[4], DTYPES[5]
UNSIGNED = DTYPES[12:15]
# As NumPy once did, a list this short that holds slices, sequences or tensors is read as a tuple.
SHORT_LIST = 32
FIRST = (0,)
# Windows of up to this length are added element by element of the window, each a plain sum.
PIECES = 64

__all__ = ["index_put", "index_put_"]


# ---- from an index expression to a view and index tensors
def as_tuple(index: Any) -> tuple:
    if isinstance(index, tuple):
        return index
    if (
        isinstance(index, list)
        and len(index) < SHORT_LIST
        and any(x is None or x is Ellipsis or isinstance(x, Tensor | slice | list | tuple | range) for x in index)
    ):
        return tuple(index)
    return (index,)


def index_tensor(x: Any) -> Tensor:
    """A list, an array or a tensor as a tensor of indices or a mask."""
    if isinstance(x, list | tuple | range):
        x = _core.from_nested(x) if len(x) else new_empty((0,), INT64)
    elif not isinstance(x, Tensor):
        try:
            x = _core.from_buffer(x)[0]
        except (TypeError, BufferError, ValueError):
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), None and long, int, byte or bool tensors are valid "
                f"indices, got {type(x).__name__}"
            ) from None
    if x.dtype in UNSIGNED:
        x = to_dtype(x, INT64)
    elif x.dtype not in (BOOL, UINT8, INT32, INT64):
        raise IndexError(f"tensors used as indices must be long, int, byte or bool tensors, got {x.dtype}")
    return x.detach()


def is_mask(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype in (BOOL, UINT8)


def is_integer(x: Any) -> bool:
    return hasattr(x, "__index__") and not isinstance(x, bool | Tensor) and getattr(x, "ndim", 0) == 0


def takes(entry: Any) -> int:
    """How many dimensions of the tensor an entry of its index stands for, an ellipsis left out."""
    if is_mask(entry):
        return entry.ndim
    return 0 if entry is None or entry is Ellipsis or isinstance(entry, bool) else 1


def forwards(items: list[Any], shape: Sequence[int]) -> list[int]:
    """Turns slices with negative steps round; returns the dimensions of the indexed view that are to be flipped."""
    turned = []
    d = kept = 0
    for k, item in enumerate(items):
        if isinstance(item, slice) and item.step is not None and item.step < 0:
            places = range(*item.indices(shape[d]))
            items[k] = slice(places[-1], places[0] + 1, -places.step) if places else slice(0, 0)
            turned.append(kept)
        d += item is not None
        kept += item is None or isinstance(item, slice)
    return turned


def whole_dimensions(index: Any, ndim: int) -> list[Tensor | None] | None:
    """The entries of an index of int64 tensors and full slices alone; None for any other."""
    if type(index) is not tuple or len(index) > ndim:
        return None
    found: list[Tensor | None] = []
    for i in index:
        if type(i) is Tensor and i.dtype is INT64 and i.ndim:
            found.append(i)
        elif type(i) is slice and i.start is i.stop is i.step is None:
            found.append(None)
        else:
            return None
    return found


def prepare(x: Tensor, index: Any) -> tuple[Tensor, list[Tensor | None], list[int]]:
    """The view that the basic parts of an index make; for its first dimensions an index tensor, a mask or None; and the
    dimensions to be flipped before those apply.
    """
    if isinstance(index, Tensor) and 0 < index.ndim <= x.ndim and index.dtype in (BOOL, INT64):
        return x, [index.detach()], []
    whole = whole_dimensions(index, x.ndim)
    if whole is not None:
        return x, whole, []
    items = [
        i.__index__()
        if is_integer(i)
        else i
        if i is None or i is Ellipsis or isinstance(i, slice | bool)
        else index_tensor(i)
        for i in as_tuple(index)
    ]
    used = sum(takes(i) for i in items)
    if used > x.ndim:
        raise IndexError(f"too many indices for tensor of dimension {x.ndim}: got {used}")
    if sum(i is Ellipsis for i in items) > 1:
        raise IndexError("an index can hold one ellipsis ('...') only")
    basic: list[Any] = []
    found: list[Tensor | None] = []
    for i in items:
        if isinstance(i, bool) or (is_mask(i) and i.ndim == 0):
            basic.append(None)
            found.append(_core.from_nested([bool(i)]))
        elif i is Ellipsis:
            basic += [slice(None)] * (x.ndim - used)
            found += [None] * (x.ndim - used)
        elif isinstance(i, Tensor) and i.ndim == 0 and not (_core.interpreting() and hasattr(i, "_physical")):
            basic.append(i.item())  # within vmap each sample has its own number, which only an index tensor can be
        elif isinstance(i, Tensor):
            basic += [slice(None)] * (i.ndim if is_mask(i) else 1)
            found.append(i)
        else:
            basic.append(i)
            if i is None or isinstance(i, slice):
                found.append(None)
    if all(isinstance(b, slice) and b == slice(None) for b in basic):
        return x, found, []
    turned = forwards(basic, x.shape)
    return x[tuple(basic)], found, turned


def advanced(shape: tuple[int, ...], entries: Sequence[Tensor | None]) -> tuple[Places, tuple[Tensor, ...]]:
    """Places of index tensors and masks for the dimensions they stand at, checked against `shape`.

    A mask has the sizes of its dimensions, or 0, which selects nothing (the array API standard's rule).
    """
    dims: list[int] = []
    indices: list[Tensor] = []
    at = 0
    for entry in entries:
        if entry is None:
            at += 1
        elif is_mask(entry):
            end = at + entry.ndim
            masked = tuple(shape[at:end])
            if len(masked) != entry.ndim or any(m not in (n, 0) for m, n in zip(entry.shape, masked, strict=True)):
                raise IndexError(
                    f"the shape of the mask {list(entry.shape)} at index {at} doesn't match the shape of the indexed "
                    f"tensor {list(shape)}"
                )
            mask = entry if entry.dtype is BOOL else TABLE["ne"](entry, 0)
            indices += columns(true_places(mask), masked)
            dims += range(at, end)
            at = end
        else:
            if at >= len(shape):
                raise IndexError(f"too many indices for tensor of dimension {len(shape)}")
            index = as_index("index", entry)
            check_range(index, shape[at], at)
            indices.append(index)
            dims.append(at)
            at += 1
    return joint(shape, tuple([i.shape for i in indices]), tuple(dims)), tuple(indices)


@functools.lru_cache(PLANS)
def joint(shape: Ints, index_shapes: tuple[Ints, ...], dims: Ints) -> Places:
    """Places of index tensors that broadcast, together where their dimensions are neighbours, else in front."""
    try:
        index_shape = tuple(_core.broadcast_shapes(*index_shapes))
    except RuntimeError:
        shapes = ", ".join(str(list(i)) for i in index_shapes)
        raise IndexError(f"shape mismatch: indexing tensors of shapes {shapes} don't broadcast together") from None
    adjacent = dims[-1] - dims[0] == len(dims) - 1
    return inserted(shape, index_shape, dims, dims[0] if adjacent else 0)


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index] where the index holds index tensors, masks or slices that run backwards: a copy."""
    if type(index) is Tensor and index.dtype is INT64 and x.ndim:
        small = _core.take_rows(x, index)
        if small is not None:
            return small
        check_range(index, x.size(0), 0)
        return pick(x, places=inserted(x.shape, index.shape, FIRST, 0), indices=(index,))
    view, entries, turned = prepare(x, index)
    view = view.flip(turned) if turned else view
    given = [e for e in entries if e is not None]
    if not given:
        return view
    if len(given) == 1 and given[0].dtype is BOOL and entries[0] is given[0] and given[0].shape == view.shape:
        return masked_select(view, given[0])
    small = _core.take_rows(view, given[0], len(entries) - 1) if len(given) == 1 and entries[-1] is given[0] else None
    if small is not None:
        return small
    places, indices = advanced(view.shape, entries)
    return pick(view, places=places, indices=indices)


def as_value(value: Any, x: Tensor) -> Tensor:
    """What is assigned to elements of x, in its dtype."""
    if not isinstance(value, Tensor):
        if isinstance(value, bool | int | float | complex) or not hasattr(value, "__len__"):
            return fill_value("setitem", x, value)
        return _core.from_nested(value, x.dtype)
    return value if value.dtype is x.dtype else to_dtype(value, x.dtype)


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """x[index] = value where the index holds index tensors, masks or slices that run backwards."""
    view, entries, turned = prepare(x, index)
    value = as_value(value, x)
    if turned:
        part = view.flip(turned)
        assign(part, entries, value)
        view.copy_(part.flip(turned))
    else:
        assign(view, entries, value)


def assign(view: Tensor, entries: Sequence[Tensor | None], value: Tensor) -> None:
    given = [e for e in entries if e is not None]
    if not given:
        view.copy_(value)
        return
    if len(given) == 1 and given[0].dtype is BOOL and entries[0] is given[0] and given[0].shape == view.shape:
        if value.numel() == 1:
            view.masked_fill_(given[0], value.reshape(()))
            return
        if value.ndim == 1:
            count = count_true(given[0])
            if count != value.numel():
                raise RuntimeError(
                    f"shape mismatch: value tensor of shape {list(value.shape)} can't be assigned to {count} elements"
                )
            masked_scatter_(view, given[0], value)
            return
    store(view, entries, value, False, "setitem")


def broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    lead = len(target) - len(shape)
    return lead >= 0 and all(n in (1, target[lead + d]) for d, n in enumerate(shape))


def store(
    x: Tensor, entries: Sequence[Tensor | None], value: Tensor, accumulate: bool, name: str, op: Any = written_
) -> Tensor:
    places, indices = advanced(x.shape, entries)
    while value.ndim > len(places.shape) and value.shape[0] == 1:
        value = value.squeeze(0)
    if value.ndim and not broadcasts(value.shape, places.shape):
        raise RuntimeError(
            f"{name}: shape mismatch: a value of shape {list(value.shape)} can't be broadcast to the indexed shape "
            f"{list(places.shape)}"
        )
    return op(x, value, places=places, indices=indices, how="sum" if accumulate else "set", name=name)


def index_put(input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
    """x with y[indices] = values, or += where `accumulate`; what meets is taken in the order of the index.

    >>> i = fb.tensor([0, 0])
    >>> fb.zeros(2).index_put((i,), fb.tensor([1.0, 2.0]), accumulate=True)
    tensor([3., 0.])
    """
    entries = [None if i is None else index_tensor(i) for i in indices]
    return store(input, entries, values, accumulate, "index_put", written)


def index_put_(input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
    """In-place form of :func:`index_put`.

    >>> x = fb.zeros(4)
    >>> fb.index_put_(x, (fb.tensor([1, 1, 3]),), fb.tensor([1.0, 2.0, 3.0]), accumulate=True)
    tensor([0., 3., 0., 3.])
    """
    entries = [None if i is None else index_tensor(i) for i in indices]
    store(input, entries, values, accumulate, "index_put_")
    return input


# ---- what the core asks for
def add_overlapping(out: Tensor, g: Tensor, part: Tensor) -> None:
    """out += g at the places that `part`, a view of contiguous zeros whose indices may overlap, shows; off the tape."""
    for d in sorted(range(part.ndim), key=lambda d: part.shape[d]):
        if part.shape[d] <= PIECES and not overlaps(part.select(d, 0)):
            for k in range(part.shape[d]):
                piece = part.select(d, k)
                TABLE["add"].into((piece,), piece, g.select(d, k))
            return
    at: Any = part.storage_offset() - out.storage_offset()  # grows to one place for each element
    for d, (n, step) in enumerate(zip(part.shape, part.stride(), strict=True)):
        shape = [n if e == d else 1 for e in range(part.ndim)]
        at = arange(0, n * step, step).reshape(shape) + at if step else at
    places = new_empty(part.shape, INT64)
    plain_copy(places, at)
    flat = out.view(-1)
    write(flat, inserted(flat.shape, places.shape, (0,), 0), (places,), g, "sum")


_core.set_hook("getitem", recalled(getitem))
_core.set_hook("setitem", recalled(setitem))
for _function in (index_put, index_put_):
    setattr(Tensor, _function.__name__, _function)
