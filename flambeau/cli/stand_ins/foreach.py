"""`torch.utils._foreach_utils`: lists of tensors sorted by dtype, for who calls `_foreach_*` on lists of mixed ones.

Imports the core.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...core._core import DType, Tensor, device

Lists = list[list[Tensor | None]]


def _group_tensors_by_device_and_dtype(
    tensorlistlist: Sequence[Sequence[Tensor | None]], with_indices: bool = False
) -> dict[tuple[device, DType], tuple[Lists, list[int] | None]]:
    """The lists cut into those of each dtype that the first list's tensors have, and where each stood.

    >>> from flambeau.cli.stand_ins.foreach import _group_tensors_by_device_and_dtype as group
    >>> found = group([[fb.ones(1), fb.ones(1, dtype=fb.int64), fb.ones(2)]], with_indices=True)
    >>> [(dtype, places) for (_, dtype), (_, places) in found.items()]
    [(flambeau.float32, [0, 2]), (flambeau.int64, [1])]
    """
    found: dict[tuple[device, DType], tuple[Lists, list[int] | None]] = {}
    for place, row in enumerate(zip(*(x or [None] * len(tensorlistlist[0]) for x in tensorlistlist), strict=True)):
        if row[0] is None:
            raise RuntimeError(f"_group_tensors_by_device_and_dtype: tensor {place} of the first list is None")
        key = row[0].device, row[0].dtype
        lists, places = found.setdefault(key, ([[] for _ in row], [] if with_indices else None))
        for into, tensor in zip(lists, row, strict=True):
            into.append(tensor)
        if places is not None:
            places.append(place)
    return found


def _has_foreach_support(tensors: Sequence[Tensor | None], device: object) -> bool:
    """True: `_foreach_*` takes lists of any tensors."""
    return True
