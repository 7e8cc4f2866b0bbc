"""Sorting and what rests on it: sort, topk, kthvalue, median, mode, quantile.

NumPy sorts unsigned keys that order as the elements do, NaN last; with the place of each element in their low half,
equal elements keep their order and all results are unique. Values are then gathered, so gradients follow of themselves.
Imports core and neighbours in ops, and NumPy inside functions. Read next: `unique.py`, `search.py`.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor, new_empty, plain_copy, raw_view
from .indirect import along
from .joining import to, wrap
from .picking import pick
from .primitive import primitive
from .reduce import amax_vjp
from .table import TABLE

INT64, FLOAT64 = DTYPES[5], DTYPES[9]
BITS = {1: DTYPES[1], 2: DTYPES[3], 4: DTYPES[4], 8: INT64}
PLACES = 0xFFFFFFFF

__all__ = [
    "argsort", "kthvalue", "median", "mode", "msort", "nanmedian", "nanquantile", "quantile", "sort", "topk",
]  # fmt: skip


def result(name: str) -> Any:
    return namedtuple(name, "values indices", module="flambeau.return_types")


sort_result, topk_result, kthvalue_result = result("sort"), result("topk"), result("kthvalue")
median_result, nanmedian_result, mode_result = result("median"), result("nanmedian"), result("mode")


# ---- keys
def keys_of(name: str, x: Tensor) -> Any:
    """Unsigned integers of x's shape that order as its elements do: 0.0 as -0.0, NaN above all."""
    import numpy as np

    if x.is_complex():
        raise RuntimeError(f"{name}: complex numbers have no order; sort their abs() or parts")
    x = x.detach().contiguous()
    size = x.itemsize
    bits = np.asarray(raw_view(x, BITS[size], x.shape, x.stride(), x.storage_offset())).view(f"u{size}")
    sign = bits.dtype.type(1 << (8 * size - 1))
    if x.is_floating_point():
        infinity = {"f16": 0x7C00, "bf16": 0x7F80, "f32": 0x7F800000, "f64": 0x7FF0000000000000}[x.dtype.ir]
        magnitude = bits & ~sign
        keys = np.where(bits & sign, ~bits, bits | sign)
        keys[magnitude == 0] = sign
        keys[magnitude > infinity] = ~sign.dtype.type(0)
        return keys
    return bits ^ sign if x.dtype.is_signed else bits


def packed(keys: Any, descending: bool) -> Any:
    """Keys of at most 32 bits with their place along the last axis below them; None for wider ones or longer rows."""
    import numpy as np

    if keys.dtype.itemsize > 4 or keys.shape[-1] > PLACES:
        return None
    keys = ~keys if descending else keys
    both = keys.astype(np.uint64)
    both <<= np.uint64(32)
    both |= np.arange(keys.shape[-1], dtype=np.uint64)
    return both


def order(keys: Any, descending: bool = False, first: int | None = None) -> Any:
    """The places along the last axis in sorted order, equal keys in their own; of the `first` ones if that is given."""
    import numpy as np

    both = packed(keys, descending)
    if both is None:
        return np.argsort(~keys if descending else keys, axis=-1, kind="stable")[..., :first]
    if first is not None and 0 < first < both.shape[-1]:
        both.partition(first - 1, axis=-1)
        both = both[..., :first]
    both.sort(axis=-1)
    both &= np.uint64(PLACES)
    return both.view(np.int64)


def as_tensor(array: Any) -> Tensor:
    """An array of int64 as a tensor."""
    import numpy as np

    return (
        _core.from_buffer(np.ascontiguousarray(array, dtype=np.int64))[0]
        if array.size
        else new_empty(array.shape, INT64)
    )


def last(x: Tensor, dim: int) -> Tensor:
    """x with a dimension moved to the end; numbers become vectors."""
    return x.reshape(1) if x.ndim == 0 else x.transpose(dim, -1)


def gathered(x: Tensor, dim: int, places: Any) -> tuple[Tensor, Tensor]:
    """The elements at places along `dim`, given as an array with that axis last, and the places as a tensor."""
    indices = last(as_tensor(places), dim).contiguous() if x.ndim else as_tensor(places)
    values = pick(x if x.ndim else x.reshape(1), places=along(indices.shape, dim), indices=(indices,))
    return (values, indices) if x.ndim else (values.reshape(()), indices.reshape(()))


# ---- sorting
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False, *, out: Any = None) -> Any:
    """(values, indices) sorted along a dimension; equal elements keep their order, NaN counts as largest.

    >>> fb.sort(fb.tensor([3.0, 1.0, 2.0])).values
    tensor([1., 2., 3.])
    """
    dim = wrap(dim, input.ndim)
    found = gathered(input, dim, order(keys_of("sort", last(input, dim)), descending))
    if out is not None:
        found = tuple(o.copy_(f) if o.numel() == f.numel() else o.set_(f) for o, f in zip(out, found, strict=True))
    return sort_result(*found)


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort a dimension; equal elements keep their order, NaN counts as largest.

    >>> fb.argsort(fb.tensor([3.0, 1.0, 2.0]))
    tensor([1, 2, 0])
    """
    dim = wrap(dim, input.ndim)
    places = as_tensor(order(keys_of("argsort", last(input, dim)), descending))
    return last(places, dim).contiguous() if input.ndim else places.reshape(())


def msort(input: Tensor) -> Tensor:
    """The values sorted along the first dimension.

    >>> fb.msort(fb.tensor([[3, 1], [2, 4]]))
    tensor([[2, 1],
            [3, 4]])
    """
    return sort(input, 0).values


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """(values, indices) of the k largest or smallest elements along a dimension, in order; of equals the first ones.

    >>> fb.topk(fb.tensor([3.0, 1.0, 2.0]), 2).indices
    tensor([0, 2])
    """
    dim = wrap(dim, input.ndim)
    n = input.shape[dim] if input.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError(f"topk: k = {k} is out of range for dimension {dim} of length {n}")
    return topk_result(*gathered(input, dim, order(keys_of("topk", last(input, dim)), largest, k)[..., :k]))


# ---- order statistics
def picked(input: Tensor, dim: int, keepdim: bool, places: Any, kind: Any) -> Any:
    """One element of each row, given its place."""
    values, indices = gathered(input, dim, places[..., None])
    return kind(values, indices) if keepdim or input.ndim == 0 else kind(values.squeeze(dim), indices.squeeze(dim))


def rows_for(name: str, input: Tensor, dim: int) -> tuple[int, Any]:
    dim = wrap(dim, input.ndim)
    keys = keys_of(name, last(input, dim))
    if keys.shape[-1] == 0:
        raise IndexError(f"{name}: dimension {dim} of shape {list(input.shape)} has length 0")
    return dim, keys


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """(values, indices) of the k-th smallest element along a dimension, counted from 1.

    >>> fb.kthvalue(fb.tensor([3.0, 1.0, 2.0]), 2).values
    tensor(2.)
    """
    dim, keys = rows_for("kthvalue", input, dim)
    if not 1 <= k <= keys.shape[-1]:
        raise RuntimeError(f"kthvalue: k = {k} is out of range for dimension {dim} of length {keys.shape[-1]}")
    return picked(input, dim, keepdim, order(keys, first=k)[..., k - 1], kthvalue_result)


def middle(keys: Any, floating: bool, ignore: bool) -> Any:
    """The place of each row's lower median; of its first NaN if there is one, unless NaN is ignored."""
    import numpy as np

    n = keys.shape[-1]
    nan = keys == ~keys.dtype.type(0) if floating else np.zeros(1, bool)
    if not nan.any():
        k = (n - 1) // 2
        return order(keys, first=k + 1)[..., k]
    if not ignore:
        k = (n - 1) // 2
        return np.where(nan.any(-1), nan.argmax(-1), order(keys, first=k + 1)[..., k])
    k = np.maximum(n - nan.sum(-1, keepdims=True) - 1, 0) // 2
    return np.take_along_axis(order(keys), k, -1)[..., 0]


@primitive(amax_vjp, name="median")
def whole_median(ctx, x, ignore):
    """The lower median of all elements; equal elements share the gradient evenly."""
    ctx.dims, ctx.keepdim = tuple(range(x.ndim)), False
    keys = keys_of("median", x.reshape(-1))
    y = new_empty((), x.dtype)
    if keys.size:
        place = int(middle(keys, x.is_floating_point(), ignore))
        plain_copy(y, x.reshape(-1)[place])
    else:
        TABLE["identity"].into((y,), float("nan"))
    ctx.save(x, y)
    return y


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower of the middle elements, of all elements or (values, indices) along a dimension; NaN if one is NaN.

    >>> fb.median(fb.tensor([4.0, 1.0, 3.0, 2.0]))
    tensor(2.)
    """
    if dim is None:
        return whole_median(input, False)
    dim, keys = rows_for("median", input, dim)
    return picked(input, dim, keepdim, middle(keys, input.is_floating_point(), False), median_result)


def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """median without the NaN elements."""
    if dim is None:
        return whole_median(input, True)
    dim, keys = rows_for("nanmedian", input, dim)
    return picked(input, dim, keepdim, middle(keys, input.is_floating_point(), True), nanmedian_result)


def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """(values, indices) of the most frequent element along a dimension: the smallest of such, at its last place.

    >>> fb.mode(fb.tensor([2, 1, 2, 1, 3]))
    mode(values=tensor(1), indices=tensor(3))
    """
    import numpy as np

    dim, keys = rows_for("mode", input, dim)
    n = keys.shape[-1]
    places = order(keys)
    ranked = np.take_along_axis(keys, places, -1).reshape(-1, n)
    ends = np.ones(ranked.shape, bool)
    ends[:, :-1] = ranked[:, 1:] != ranked[:, :-1]
    # How long each run of equals is, written where it ends; argmax takes the first of the longest.
    at = np.flatnonzero(ends)
    lengths = np.zeros(ranked.size, np.int64)
    lengths[at] = np.diff(at, prepend=-1)
    best = lengths.reshape(ranked.shape).argmax(-1).reshape(keys.shape[:-1])
    return picked(input, dim, keepdim, np.take_along_axis(places, best[..., None], -1)[..., 0], mode_result)


INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def quantiles(
    name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, ignore: bool
) -> Tensor:
    import numpy as np

    if input.dtype not in (DTYPES[8], FLOAT64):
        raise RuntimeError(f"{name}: a float32 or float64 tensor is needed, got {input.dtype}; use x.float()")
    if interpolation not in INTERPOLATIONS:
        raise RuntimeError(f"{name}: interpolation must be one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}")
    if input.numel() == 0:
        raise RuntimeError(f"{name}: the tensor must not be empty, got shape {list(input.shape)}")
    if isinstance(q, Tensor) and (q.dtype is not input.dtype or q.ndim > 1):
        raise RuntimeError(f"{name}: q must be a number or a vector of {input.dtype}, got {q.dtype} {list(q.shape)}")
    single = not isinstance(q, Tensor) or q.ndim == 0
    qs = np.asarray(q.tolist() if isinstance(q, Tensor) else q, np.float64).reshape(-1)
    if not ((qs >= 0) & (qs <= 1)).all():
        raise RuntimeError(f"{name}: q must be in [0, 1], got {q.tolist() if isinstance(q, Tensor) else q}")
    whole = dim is None
    x = input.reshape(-1) if whole else input if input.ndim else input.reshape(1)
    dim = 0 if whole else wrap(dim, x.ndim)
    x = x.transpose(dim, -1)
    keys = keys_of(name, x)
    nan = keys == ~keys.dtype.type(0)
    n = keys.shape[-1]
    valid = n - nan.sum(-1, keepdims=True) if ignore else np.full((*keys.shape[:-1], 1), n)
    ranks = qs * np.maximum(valid - 1, 0)
    if not ignore:
        ranks = np.where(nan.any(-1, keepdims=True), n - 1, ranks)
    below, above = np.floor(ranks), np.ceil(ranks)
    places = order(keys)
    if interpolation in ("lower", "higher", "nearest"):
        chosen = {"lower": below, "higher": above, "nearest": np.round(ranks)}[interpolation]
        y = gathered(x, x.ndim - 1, np.take_along_axis(places, chosen.astype(np.int64), -1))[0]
    else:
        low, high = (
            gathered(x, x.ndim - 1, np.take_along_axis(places, r.astype(np.int64), -1))[0] for r in (below, above)
        )
        weight = ranks - below if interpolation == "linear" else np.full(ranks.shape, 0.5)
        y = TABLE["lerp"](low, high, to(_core.from_buffer(np.ascontiguousarray(weight))[0], x.dtype))
    # (…, q) with the last dimension where the reduced one was: a 1 takes that place, and both go where they belong.
    y = y.unsqueeze(-2).transpose(dim, -2).movedim(-1, 0)
    if whole:
        y = y.reshape((-1, *(1,) * input.ndim)) if keepdim else y.reshape(-1)
    elif not keepdim or input.ndim == 0:
        y = y.squeeze(dim + 1)
    return y.squeeze(0) if single else y


def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The q-quantiles, of all elements or along a dimension, in front of the other dimensions if q is a vector.

    Between neighbours it interpolates: 'linear', 'lower', 'higher', 'midpoint' or 'nearest'.

    >>> fb.quantile(fb.tensor([1.0, 2.0, 3.0, 4.0]), 0.5)
    tensor(2.5000)
    """
    return quantiles("quantile", input, q, dim, keepdim, interpolation, False)


def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """quantile without the NaN elements."""
    return quantiles("nanquantile", input, q, dim, keepdim, interpolation, True)


for _function in (
    argsort, kthvalue, median, mode, msort, nanmedian, nanquantile, quantile, sort, topk,
):  # fmt: skip
    setattr(Tensor, _function.__name__, _function)
