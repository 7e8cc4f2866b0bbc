"""Transforms of functions: derivatives of them, and one sample's function applied to many, nested in any order.

`vmap` maps over a dimension (`mapping.py`); `grad`, `vjp`, `jacrev` go backward (`reverse.py`); `jvp`, `jacfwd`,
`hessian`, `linearize` forward (`forward.py`, `jacobians.py`); `functional_call` runs a module with given parameters
(`modules.py`). Names load when they are asked for. Imports autograd, ops, utils. Read next: `autograd/batch.py`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .forward import jvp, linearize
    from .jacobians import hessian, jacfwd
    from .mapping import vmap
    from .modules import functional_call, replace_all_batch_norm_modules_, stack_module_state
    from .reverse import grad, grad_and_value, jacrev, vjp

NAMES = {
    "forward": ("jvp", "linearize"),
    "mapping": ("vmap",),
    "jacobians": ("hessian", "jacfwd"),
    "modules": ("functional_call", "replace_all_batch_norm_modules_", "stack_module_state"),
    "reverse": ("grad", "grad_and_value", "jacrev", "vjp"),
}

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize",
    "replace_all_batch_norm_modules_", "stack_module_state", "vjp", "vmap",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for module, names in NAMES.items():
        if name in names:
            return getattr(import_module("." + module, __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
