"""`recalled`: functions whose launches are remembered, so that small calls cost no more than their kernels.

Imports core. Read next: `core/recall.pxi`, where it is said which functions qualify.
"""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Callable
from typing import TypeVar

from ..core._core import Recalled

F = TypeVar("F", bound=Callable)


def recalled(function: F) -> F:
    """The function, past whose Python repeated calls with small arguments go.

    What it does must follow from its arguments' shapes, strides and dtypes and from its numbers and strings alone, but
    for integers checked with `surely_within`; it must have no other effect. Elements that it reads, with `item` or
    `bool`, and what it hands to other libraries make it an ordinary function again.
    """
    return functools.update_wrapper(Recalled(function), function)  # type: ignore[return-value]


copyreg.pickle(Recalled, lambda f: f.__qualname__)  # by reference, as functions are

__all__ = ["recalled"]
