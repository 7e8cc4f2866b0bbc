"""functional_call by its old name. Imports func. Read next: `flambeau/func/modules.py`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from flambeau import Tensor
from flambeau.func import functional_call as call
from flambeau.nn.modules.module import Module

__all__ = ["functional_call"]


def functional_call(
    module: Module, parameters_and_buffers: Mapping[str, Tensor], args: Any = None,
    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False,
) -> Any:  # fmt: skip
    """`flambeau.func.functional_call` of one dictionary; see there.

    >>> import flambeau as fb, warnings
    >>> from flambeau.nn.utils.stateless import functional_call
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     functional_call(fb.nn.Linear(1, 1, bias=False), {"weight": fb.full((1, 1), 3.0)}, (fb.ones(1),))
    tensor([3.])
    """
    warnings.warn(
        "nn.utils.stateless.functional_call is deprecated; use func.functional_call instead", FutureWarning,
        stacklevel=2,
    )  # fmt: skip
    return call(module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict)
