"""from_file: a tensor whose memory is a file. Imports ops."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from .core._core import DTYPES, Tensor, get_default_dtype

__all__ = ["from_file"]


def from_file(
    filename: Any, shared: bool | None = None, size: int = 0, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A vector of `size` elements in the memory of a file, read where it is used.

    Args:
        shared: changes go to the file, which is made or enlarged where needed; else they stay here.
        dtype: the default dtype where None.

    Raises:
        RuntimeError: where the file is shorter than `size` elements and not shared.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "numbers")
    >>> x = fb.from_file(path, shared=True, size=3, dtype=fb.float64).copy_(fb.tensor([1.0, 2.0, 3.0]))
    >>> fb.from_file(path, size=2, dtype=fb.float64)
    tensor([1., 2.], dtype=flambeau.float64)
    """
    from . import from_numpy

    wanted = get_default_dtype() if dtype is None else dtype
    if size < 0:
        raise RuntimeError(f"from_file: size must not be negative, got {size}")
    needed, found = size * wanted.itemsize, os.path.getsize(filename) if os.path.exists(filename) else -1
    if shared and found < needed:
        with open(filename, "ab") as file:
            file.truncate(needed)
    elif found < needed:
        raise RuntimeError(
            f"from_file: {size} elements of {wanted} need {needed} bytes, but {os.fspath(filename)!r} has "
            f"{max(found, 0)}; pass a smaller size, or shared=True to enlarge the file"
        )
    if needed == 0:
        return Tensor(0).to(wanted)
    mode: Any = "r+" if shared else "c"
    memory = from_numpy(np.memmap(filename, np.uint8, mode, shape=(math.ceil(needed),)))
    x = memory if wanted is DTYPES[1] else memory.view(wanted)
    return x.requires_grad_() if requires_grad else x
