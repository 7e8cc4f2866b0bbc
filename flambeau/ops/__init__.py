"""Every op, declared once. Pointwise ops and what makes tensors are here at once, the others load by name.

Pointwise ops come from the table as they are; the other modules list what they offer in `__all__`, and `deferred.py`
which of them has what.
Read next: `define.py` and `pointwise.py` (pointwise), `primitive.py` (the rest), `rows.py` (fused rows).
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .. import deferred as _deferred
from . import basic, factories, table


def _gather() -> list[str]:
    names = {name: op for name, op in table.TABLE.items() if "." not in name}
    for module in (basic, factories):
        names.update({name: getattr(module, name) for name in module.__all__})
    # Where a function has more to say than the op of that name, it loads with its module.
    names = {name: value for name, value in names.items() if name not in _deferred.FUNCTIONS}
    globals().update(names)
    return sorted(names)


__all__ = list(_gather())


class _Package(ModuleType):
    """Keeps `ops.matmul` the function when the import system would put the module of that name there."""

    def __setattr__(self, name: str, value: Any) -> None:
        own = isinstance(value, ModuleType) and _deferred.FUNCTIONS.get(name) == f"ops.{name}"
        super().__setattr__(name, getattr(value, name) if own else value)


sys.modules[__name__].__class__ = _Package


def load() -> None:
    """Loads every module that declares ops: for who looks them up by name."""
    for module in _deferred.NAMES:
        if module.startswith("ops."):
            _deferred.module(module)


if TYPE_CHECKING:

    def __getattr__(name): ...  # without types, which mypy would not have read yet where imports go in a circle

    from .gather import gather as gather
    from .matmul import matmul as matmul
    from .softmax import softmax as softmax
    from .unique import unique as unique
else:

    def __getattr__(name: str) -> Any:
        if _deferred.FUNCTIONS.get(name, "").startswith("ops."):
            return _deferred.load(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
