"""The different elements of a tensor: unique and unique_consecutive.

Imports core and neighbours in ops. Read next: `ranking.py` (keys and their order), `masks.py`.
"""

from __future__ import annotations

from typing import Any

from ..core._core import DTYPES, Tensor, new_empty
from .arguments import wrap
from .basic import IDENTITY
from .gather import index_select, put_
from .masks import true_places
from .ranges import arange
from .ranking import keys_of, places_of, sorting_places
from .recall import recalled
from .reduce import any as any_of
from .scan import cumsum
from .table import TABLE

__all__ = ["unique", "unique_consecutive"]

BOOL, INT64 = DTYPES[0], DTYPES[5]


def returned(values: Tensor, begins: Tensor, starts: Tensor, inverse: Tensor | None, counts: bool) -> Any:
    """What unique gives: values, where each element is among them, and how often each occurs, as far as asked for."""
    found = [values]
    if inverse is not None:
        found.append(inverse)
    if counts:
        ends = new_empty(starts.shape, INT64)
        if starts.numel():
            ends[:-1] = starts[1:]
            ends[-1] = begins.shape[0]
        found.append(ends - starts)
    return tuple(found) if len(found) > 1 else values


def run_begins(keys: Tensor, lost: Tensor | None = None) -> Tensor:
    """Where a run of equal keys, or rows of keys, begins; where `lost` is true one begins anyway."""
    n = keys.shape[0]
    begins = new_empty((n,), BOOL)
    IDENTITY.into((begins,), True)
    if n > 1:
        differs = TABLE["ne"](keys.narrow(0, 1, n - 1), keys.narrow(0, 0, n - 1))
        begins[1:] = any_of(differs.reshape(n - 1, -1), 1) if keys.ndim > 1 else differs
    return begins if lost is None else begins | lost


def row_keys(name: str, input: Tensor, dim: int) -> tuple[int, Tensor]:
    """The keys as a matrix that has a row for each place of a dimension."""
    dim = wrap(dim, input.ndim)
    x = input.transpose(0, dim) if input.ndim else input.reshape(1)
    return dim, keys_of(name, x).reshape(x.shape[0], -1)


def row_order(keys: Tensor) -> Tensor:
    """The places that sort rows of keys lexicographically: by the last column first, each sort stable."""
    places = arange(keys.shape[0])
    for column in reversed(range(keys.shape[1])):
        places = places[places_of(keys.select(1, column)[places], keys.itemsize)]
    return places


def nan_mask(x: Tensor) -> Tensor | None:
    return TABLE["isnan"](x) if x.is_floating_point() else None


def numbered(begins: Tensor) -> Tensor:
    return cumsum(begins, 0) - 1


@recalled
def runs(source: Tensor) -> tuple[Tensor, Tensor]:
    """The places that sort a vector, and where in that order a run of equal elements begins."""
    places = sorting_places("unique", source)
    ranked = source[places]
    return places, run_begins(keys_of("unique", ranked), nan_mask(ranked))


@recalled
def inverted(places: Tensor, begins: Tensor) -> Tensor:
    """For each element of what was sorted, in which run it is."""
    return put_(new_empty(places.shape, INT64), places, numbered(begins))


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements in ascending order, or the different parts along a dimension in lexicographic order.

    With them, if asked for: for each element of the input where it is among them, and how often each occurs.

    >>> fb.unique(fb.tensor([2, 1, 2, 3]), return_counts=True)
    (tensor([1, 2, 3]), tensor([1, 2, 1]))
    """
    input = input.detach()
    if dim is None:
        source, shape, dim = input.reshape(-1), input.shape, 0
        places, begins = runs(source)
    else:
        dim, keys = row_keys("unique", input, dim)
        source, shape, places = input, (keys.shape[0],), row_order(keys)
        begins = run_begins(keys[places])
    starts = true_places(begins)
    inverse = None
    if return_inverse:
        inverse = inverted(places, begins).reshape(shape)
    return returned(index_select(source, dim, places[starts]), begins, starts, inverse, return_counts)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The first of each run of equal elements, or of equal parts along a dimension.

    >>> fb.unique_consecutive(fb.tensor([1, 1, 2, 2, 1]))
    tensor([1, 2, 1])
    """
    input = input.detach()
    if dim is None:
        source, shape, dim = input.reshape(-1), input.shape, 0
        begins = run_begins(keys_of("unique_consecutive", source), nan_mask(source))
    else:
        dim, keys = row_keys("unique_consecutive", input, dim)
        source, shape, begins = input, (keys.shape[0],), run_begins(keys)
    starts = true_places(begins)
    inverse = numbered(begins).reshape(shape) if return_inverse else None
    return returned(index_select(source, dim, starts), begins, starts, inverse, return_counts)


Tensor.unique, Tensor.unique_consecutive = unique, unique_consecutive
