"""Every op, declared once. Public names gather here; `flambeau` and `flambeau.nn.functional` hand them on.

Pointwise ops come from the table as they are; the other modules list what they offer in `__all__`.
Read next: `define.py` and `pointwise.py` (pointwise), `primitive.py` (the rest), `rows.py` (fused rows).
"""

from typing import TYPE_CHECKING, Any

from . import (
    basic,
    calls,
    convolution,
    factories,
    gather,
    indexing,
    joining,
    losses,
    masks,
    matmul,
    methods,
    normalization,
    pooling,
    random,
    rearrange,
    reduce,
    scan,
    scatter_reduce,
    search,
    shape,
    softmax,
    sorting,
    table,
    triangles,
    unique,
)

_modules = (
    basic, factories, random, reduce, shape, joining, rearrange, triangles, gather, masks, indexing, scatter_reduce,
    scan, sorting, unique, search, matmul, convolution, pooling, softmax, normalization, losses, calls, methods,
)  # fmt: skip


def _gather() -> list[str]:
    names = {name: op for name, op in table.TABLE.items() if "." not in name}
    for module in _modules:
        names.update({name: getattr(module, name) for name in getattr(module, "__all__", ())})
    names.update(calls.ACTIVATIONS)
    globals().update(names)
    return sorted(names)


__all__ = list(_gather())

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
