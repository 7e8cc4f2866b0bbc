"""Sorting and what rests on it: sort, topk, kthvalue, median, mode, quantile.

Each finds places along a dimension and gathers there, so gradients follow of themselves. Imports core and neighbours in
ops. Read next: `ranking.py` and `selection.py` (how places are found), `unique.py`, `search.py`.
"""

from __future__ import annotations

from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor, new_empty, plain_copy
from .arguments import out_of, return_type, to, wrap
from .basic import IDENTITY, to_dtype
from .indirect import along
from .joining import cat, stack
from .masks import true_places
from .picking import pick
from .primitive import primitive
from .ranges import arange
from .ranking import first_places, keys_of, sorting_places
from .recall import recalled
from .reduce import amax, amax_vjp, amin, argmax
from .reduce import sum as sum_of
from .scan import cummax
from .selection import places_at
from .table import TABLE

INT64, FLOAT32, FLOAT64 = DTYPES[5], DTYPES[8], DTYPES[9]
# topk looks at pieces of this length first where a row is long and k small.
PIECE = 256
ROWS = 32

__all__ = ["argsort", "kthvalue", "median", "mode", "msort", "nanmedian", "nanquantile", "quantile", "sort", "topk"]


def result(name: str) -> Any:
    return return_type(name, "values indices")


sort_result, topk_result, kthvalue_result = result("sort"), result("topk"), result("kthvalue")
median_result, nanmedian_result, mode_result = result("median"), result("nanmedian"), result("mode")


def last(x: Tensor, dim: int) -> Tensor:
    """x with a dimension moved to the end; numbers become vectors."""
    return x.reshape(1) if x.ndim == 0 else x if dim == x.ndim - 1 else x.transpose(dim, -1)


def gathered(x: Tensor, dim: int, places: Tensor) -> tuple[Tensor, Tensor]:
    """The elements at places along `dim`, given with that dimension last, and the places where they belong."""
    if x.ndim == 0:
        return x.reshape(1)[places].reshape(()), places.reshape(())
    indices = last(places, dim).contiguous()
    small = _core.take_along(x, dim, indices)
    if small is not None:
        return small, indices
    return pick(x, places=along(indices.shape, dim), indices=(indices,)), indices


def at(places: Tensor, k: Tensor) -> Tensor:
    """places at k along the last dimension."""
    return pick(places, places=along(k.shape, k.ndim - 1), indices=(k,))


# ---- sorting
@recalled
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False, *, out: Any = None) -> Any:
    """(values, indices) sorted along a dimension; equal elements keep their order, NaN counts as largest.

    >>> fb.sort(fb.tensor([3.0, 1.0, 2.0])).values
    tensor([1., 2., 3.])
    """
    dim = wrap(dim, input.ndim)
    found = gathered(input, dim, sorting_places("sort", last(input, dim), descending))
    if out is not None:
        found = tuple(o.copy_(f) if o.numel() == f.numel() else o.set_(f) for o, f in zip(out, found, strict=True))
    return sort_result(*found)


@recalled
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort a dimension; equal elements keep their order, NaN counts as largest.

    >>> fb.argsort(fb.tensor([3.0, 1.0, 2.0]))
    tensor([1, 2, 0])
    """
    dim = wrap(dim, input.ndim)
    places = sorting_places("argsort", last(input, dim), descending)
    return last(places, dim).contiguous() if input.ndim else places.reshape(())


@recalled
@out_of
def msort(input: Tensor) -> Tensor:
    """The values sorted along the first dimension.

    >>> fb.msort(fb.tensor([[3, 1], [2, 4]]))
    tensor([[2, 1],
            [3, 4]])
    """
    return sort(input, 0).values


@recalled
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """(values, indices) of the k largest or smallest elements along a dimension, in order; of equals the first ones.

    >>> fb.topk(fb.tensor([3.0, 1.0, 2.0]), 2).indices
    tensor([0, 2])
    """
    dim = wrap(dim, input.ndim)
    n = input.shape[dim] if input.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError(f"topk: k = {k} is out of range for dimension {dim} of length {n}")
    x = last(input.detach(), dim)
    if 0 < k <= n // (2 * PIECE) and x.numel() <= ROWS * n and not x.is_complex():
        rows = [few_of_many(row, k, largest) for row in x.reshape(-1, n)]
        places = stack(rows).reshape((*x.shape[:-1], k)) if rows else new_empty((*x.shape[:-1], k), INT64)
    else:
        places = first_places("topk", x, k, largest)
    return topk_result(*gathered(input, dim, places))


def few_of_many(row: Tensor, k: int, largest: bool) -> Tensor:
    """The places of the k best of a long row: only what reaches the k-th best of its pieces' best is sorted."""
    pieces = row.narrow(0, 0, row.shape[0] // PIECE * PIECE).reshape(-1, PIECE)
    best = amax(pieces, 1) if largest else amin(pieces, 1)
    bound = best[sorting_places("topk", best, largest)[k - 1]]
    # What isn't worse: NaN, which is above all, stays.
    close = true_places(~(row < bound if largest else row > bound))
    return close[sorting_places("topk", row[close], largest).narrow(0, 0, k)]


# ---- order statistics
def picked(input: Tensor, dim: int, keepdim: bool, places: Tensor, kind: Any) -> Any:
    """One element of each row, whose place is given."""
    values, indices = gathered(input, dim, places)
    return kind(values, indices) if keepdim or input.ndim == 0 else kind(values.squeeze(dim), indices.squeeze(dim))


def rows_of(name: str, input: Tensor, dim: int) -> tuple[int, Tensor]:
    """The dimension, and the tensor off the tape with it last; it must have elements."""
    dim = wrap(dim, input.ndim)
    x = last(input.detach(), dim)
    if x.shape[-1] == 0:
        raise IndexError(f"{name}: dimension {dim} of shape {list(input.shape)} has length 0")
    return dim, x


@recalled
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """(values, indices) of the k-th smallest element along a dimension, counted from 1.

    >>> fb.kthvalue(fb.tensor([3.0, 1.0, 2.0]), 2).values
    tensor(2.)
    """
    dim, x = rows_of("kthvalue", input, dim)
    if not 1 <= k <= x.shape[-1]:
        raise RuntimeError(f"kthvalue: k = {k} is out of range for dimension {dim} of length {x.shape[-1]}")
    return picked(input, dim, keepdim, places_at("kthvalue", x, _core.from_nested([k - 1], INT64)), kthvalue_result)


def nans(x: Tensor) -> Tensor:
    """How many elements of each row are NaN, with the dimension kept."""
    return sum_of(TABLE["isnan"](x), -1, True)


def middle(name: str, x: Tensor, ignore: bool) -> Tensor:
    """The place of each row's lower median; of its first NaN if there is one, unless NaN is ignored."""
    n = x.shape[-1]
    if not x.is_floating_point():
        return places_at(name, x, _core.from_nested([(n - 1) // 2], INT64))
    lost = nans(x)
    if ignore:
        return places_at(name, x, TABLE["floor_divide"](TABLE["clamp_min"](n - 1 - lost, 0), 2))
    return places_at(name, x, TABLE["where"](TABLE["eq"](lost, 0), (n - 1) // 2, n - lost))


@primitive(amax_vjp, name="median")
def whole_median(ctx, x, ignore):
    """The lower median of all elements; equal elements share the gradient evenly."""
    ctx.dim, ctx.keepdim = None, False
    y = new_empty((), x.dtype)
    if x.numel():
        flat = x.reshape(-1)
        plain_copy(y, flat[middle("median", flat, ignore)].reshape(()))
    else:
        IDENTITY.into((y,), float("nan"))
    ctx.save(x, y)
    return y


@recalled
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower of the middle elements, of all elements or (values, indices) along a dimension; NaN if one is NaN.

    >>> fb.median(fb.tensor([4.0, 1.0, 3.0, 2.0]))
    tensor(2.)
    """
    if dim is None:
        return whole_median(input, False)
    dim, x = rows_of("median", input, dim)
    return picked(input, dim, keepdim, middle("median", x, False), median_result)


@recalled
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """median without the NaN elements.

    >>> fb.nanmedian(fb.tensor([1.0, float("nan"), 3.0, 2.0]))
    tensor(2.)
    """
    if dim is None:
        return whole_median(input, True)
    dim, x = rows_of("nanmedian", input, dim)
    return picked(input, dim, keepdim, middle("nanmedian", x, True), nanmedian_result)


@recalled
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """(values, indices) of the most frequent element along a dimension: the smallest of such, at its last place.

    >>> fb.mode(fb.tensor([2, 1, 2, 1, 3]))
    mode(values=tensor(1), indices=tensor(3))
    """
    dim, x = rows_of("mode", input, dim)
    places, n = sorting_places("mode", x), x.shape[-1]
    ranked = at(keys_of("mode", x), places)
    # How far each element stands from the beginning of its run of equals; the first of the farthest ends the best run.
    counting = arange(n).expand(places.shape)
    begins = TABLE["ne"](ranked.narrow(-1, 1, n - 1), ranked.narrow(-1, 0, n - 1))
    starts = TABLE["where"](begins, counting.narrow(-1, 1, n - 1), 0)
    starts = cummax(cat([counting.narrow(-1, 0, 1), starts], -1), -1).values
    best = argmax(counting - starts, -1, True)
    return picked(input, dim, keepdim, at(places, best), mode_result)


INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def quantiles(
    name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, ignore: bool
) -> Tensor:
    if input.dtype not in (FLOAT32, FLOAT64):
        raise RuntimeError(f"{name}: a float32 or float64 tensor is needed, got {input.dtype}; use x.float()")
    if interpolation not in INTERPOLATIONS:
        raise RuntimeError(f"{name}: interpolation must be one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}")
    if input.numel() == 0:
        raise RuntimeError(f"{name}: the tensor must not be empty, got shape {list(input.shape)}")
    if isinstance(q, Tensor) and (q.dtype is not input.dtype or q.ndim > 1):
        raise RuntimeError(f"{name}: q must be a number or a vector of {input.dtype}, got {q.dtype} {list(q.shape)}")
    single = not isinstance(q, Tensor) or q.ndim == 0
    numbers = [q] if not isinstance(q, Tensor) else [q.item()] if single else q.tolist()
    if not all(0 <= number <= 1 for number in numbers):
        raise RuntimeError(f"{name}: q must be in [0, 1], got {numbers[0] if single else numbers}")
    whole = dim is None
    dim = 0 if dim is None else wrap(dim, input.ndim)
    x = last(input.reshape(-1) if whole else input, dim)
    n, lost = x.shape[-1], nans(x.detach())
    ranks = _core.from_nested(numbers, FLOAT64)
    if ignore:
        ranks = ranks * to_dtype(TABLE["clamp_min"](n - 1 - lost, 0), FLOAT64)
    else:
        ranks = TABLE["where"](TABLE["eq"](lost, 0), ranks * (n - 1), float(n - 1))
    places = sorting_places(name, x)

    def near(rank: Tensor) -> Tensor:
        return gathered(x, x.ndim - 1, at(places, to_dtype(rank, INT64)))[0]

    below, above = TABLE["floor"](ranks), TABLE["ceil"](ranks)
    if interpolation in ("lower", "higher", "nearest"):
        y = near({"lower": below, "higher": above, "nearest": TABLE["round"](ranks)}[interpolation])
    else:
        weight = to(ranks - below, x.dtype) if interpolation == "linear" else 0.5
        y = TABLE["lerp"](near(below), near(above), weight)
    # (…, q) with the last dimension where the reduced one was: a 1 takes that place, and both go where they belong.
    y = y.unsqueeze(-2).transpose(dim, -2).movedim(-1, 0)
    if whole:
        y = y.reshape((-1, *(1,) * input.ndim)) if keepdim else y.reshape(-1)
    elif not keepdim or input.ndim == 0:
        y = y.squeeze(dim + 1)
    return y.squeeze(0) if single else y


@recalled
@out_of
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The q-quantiles, of all elements or along a dimension, in front of the other dimensions if q is a vector.

    Between neighbours it interpolates: 'linear', 'lower', 'higher', 'midpoint' or 'nearest'.

    >>> fb.quantile(fb.tensor([1.0, 2.0, 3.0, 4.0]), 0.5)
    tensor(2.5000)
    """
    return quantiles("quantile", input, q, dim, keepdim, interpolation, False)


@recalled
@out_of
def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """quantile without the NaN elements.

    >>> fb.nanquantile(fb.tensor([1.0, float("nan"), 3.0]), 0.5)
    tensor(2.)
    """
    return quantiles("nanquantile", input, q, dim, keepdim, interpolation, True)


for _function in (
    argsort, kthvalue, median, mode, msort, nanmedian, nanquantile, quantile, sort, topk,
):  # fmt: skip
    setattr(Tensor, _function.__name__, _function)
