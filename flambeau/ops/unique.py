"""The different elements of a tensor: unique and unique_consecutive.

Imports core and neighbours in ops, and NumPy inside functions. Read next: `sorting.py` (keys and their order).
"""

from __future__ import annotations

from typing import Any

from ..core._core import Tensor
from .gather import index_select
from .joining import wrap
from .sorting import as_tensor, keys_of, order

__all__ = ["unique", "unique_consecutive"]


def returned(values: Tensor, inverse: Any, counts: Any, return_inverse: bool, return_counts: bool) -> Any:
    found = [values]
    found += [as_tensor(inverse)] if return_inverse else []
    found += [as_tensor(counts)] if return_counts else []
    return tuple(found) if len(found) > 1 else values


def changes(keys: Any, floating: bool) -> Any:
    """Where a run of equal keys begins in a vector; NaN equals nothing."""
    import numpy as np

    begins = np.ones(keys.shape, bool)
    begins[1:] = keys[1:] != keys[:-1]
    return begins | (keys == ~keys.dtype.type(0)) if floating else begins


def row_keys(name: str, input: Tensor, dim: int) -> tuple[int, Any]:
    """The keys as a matrix that has a row for each place of a dimension."""
    dim = wrap(dim, input.ndim)
    keys = keys_of(name, input.transpose(0, dim) if input.ndim else input.reshape(1))
    return dim, keys.reshape(keys.shape[0], -1)


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
    import numpy as np

    input = input.detach()
    if dim is not None:
        dim, keys = row_keys("unique", input, dim)
        _, first, inverse, counts = np.unique(keys, axis=0, return_index=True, return_inverse=True, return_counts=True)
        return returned(
            index_select(input, dim, as_tensor(first)), inverse.reshape(-1), counts, return_inverse, return_counts
        )
    keys = keys_of("unique", input.reshape(-1))
    places = order(keys)
    begins = changes(keys[places], input.is_floating_point())
    starts = np.flatnonzero(begins)
    values = index_select(input.reshape(-1), 0, as_tensor(places[starts]))
    inverse = np.empty(keys.shape, np.int64)
    inverse[places] = np.cumsum(begins) - 1
    counts = np.diff(starts, append=keys.size)
    return returned(values, inverse.reshape(input.shape), counts, return_inverse, return_counts)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The first of each run of equal elements, or of equal parts along a dimension.

    >>> fb.unique_consecutive(fb.tensor([1, 1, 2, 2, 1]))
    tensor([1, 2, 1])
    """
    import numpy as np

    input = input.detach()
    if dim is None:
        source, shape, dim = input.reshape(-1), input.shape, 0
        begins = changes(keys_of("unique_consecutive", source), input.is_floating_point())
    else:
        dim, keys = row_keys("unique_consecutive", input, dim)
        source, shape = input, (keys.shape[0],)
        begins = np.ones(keys.shape[0], bool)
        begins[1:] = (keys[1:] != keys[:-1]).any(-1)
    starts = np.flatnonzero(begins)
    counts = np.diff(starts, append=begins.size)
    inverse = (np.cumsum(begins) - 1).reshape(shape)
    return returned(index_select(source, dim, as_tensor(starts)), inverse, counts, return_inverse, return_counts)


Tensor.unique, Tensor.unique_consecutive = unique, unique_consecutive
