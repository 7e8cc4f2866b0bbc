"""segment_reduce: reductions of consecutive stretches of a dimension. Imports core and neighbours in ops.

Read next: `scatter_reduce.py`, which computes it.
"""

from __future__ import annotations

import math
from typing import Any

from ..core._core import DTYPES, Tensor
from .arguments import wrap
from .scatter_reduce import scatter_reduce

__all__ = ["segment_reduce"]

# Reduction -> how scatter_reduce calls it, and what an empty segment comes to.
KINDS = {
    "sum": ("sum", 0.0),
    "mean": ("sum", 0.0),
    "prod": ("prod", 1.0),
    "max": ("amax", -math.inf),
    "min": ("amin", math.inf),
}


def segment_reduce(
    data: Tensor, reduce: str, *, lengths: Tensor | None = None, indices: Tensor | None = None,
    offsets: Tensor | None = None, axis: int = 0, unsafe: bool = False, initial: Any = None,
) -> Tensor:  # fmt: skip
    """The 'sum', 'mean', 'max', 'min' or 'prod' of consecutive stretches of dimension `axis`.

    Args:
        lengths: how long they are: (*data.shape[:axis], segments), each row summing to the size of the dimension; or
        offsets: where they begin, and where the last one ends: (*data.shape[:axis], segments + 1).
        unsafe: don't check the lengths; what lies beyond them is left out.
        initial: what a reduction starts from; without it an empty segment gives 0, nan, -inf, inf or 1.

    Returns (*data.shape[:axis], segments, *data.shape[axis + 1:]).

    >>> x = fb.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> fb.segment_reduce(x, "max", lengths=fb.tensor([2, 1]))
    tensor([[3., 4.],
            [5., 6.]])
    """
    from .factories import full
    from .ranges import arange
    from .search import searchsorted

    if reduce not in KINDS:
        raise RuntimeError(f"segment_reduce: reduce must be one of {', '.join(KINDS)}, got {reduce!r}")
    if not data.is_floating_point():
        raise NotImplementedError(f"segment_reduce: takes floating tensors, got {data.dtype}; convert with x.float()")
    if indices is not None:
        raise RuntimeError("segment_reduce: indices are not supported; pass lengths or offsets")
    given = lengths if lengths is not None else offsets
    if given is None:
        raise RuntimeError("segment_reduce: either lengths or offsets must be given")
    axis = wrap(axis, data.ndim)
    if given.ndim != axis + 1 or given.shape[:-1] != data.shape[:axis] or given.dtype not in (DTYPES[4], DTYPES[5]):
        raise RuntimeError(
            f"segment_reduce: lengths or offsets must be int32 or int64 with shape {[*data.shape[:axis], 'segments']}, "
            f"got {given.dtype} {list(given.shape)}"
        )
    lead, n, rest = data.shape[:axis], data.shape[axis], data.shape[axis + 1 :]
    given = given.long().reshape(math.prod(lead), given.shape[-1])
    if lengths is not None:
        if not unsafe and given.numel() and given.min().item() < 0:
            raise RuntimeError(f"segment_reduce: lengths contains a negative value, {given.min().item()}")
        begin, ends, counts = given[:, :1] * 0, given.cumsum(1), given
        if not unsafe and not bool((given.sum(1) == n).all()):
            raise RuntimeError(f"segment_reduce: lengths must sum to {n}, the size of dimension {axis}, in each row")
    else:
        begin, ends, counts = given[:, :1], given[:, 1:].contiguous(), given.diff()
    segments = counts.shape[1]
    how, empty = KINDS[reduce]
    start = empty if initial is None else initial
    shape = (*lead, segments, *rest)
    if 0 in shape:
        return data.new_empty(shape)
    # What lies outside of all segments goes to one of its own, which is dropped.
    place = arange(n).expand(len(given), n).contiguous()
    owner = searchsorted(ends, place, right=True).masked_fill(place < begin, segments)
    rows = data.reshape(len(given), n, math.prod(rest))
    result = scatter_reduce(
        full((len(given), segments + 1, rows.shape[2]), start, dtype=data.dtype), 1, owner.unsqueeze(2).expand_as(rows),
        rows, how,
    ).narrow(1, 0, segments)  # fmt: skip
    if reduce == "mean":
        mean = result / counts.unsqueeze(2).to(data.dtype)
        result = mean.masked_fill(counts.unsqueeze(2) == 0, math.nan if initial is None else initial)
    return result.reshape(shape)
