"""The table of live ops: one core Op for each pointwise definition, and for each choice of its static attributes.

Imports core and the definitions. Read next: `define.py` (definitions), `core/op.pxi` (what an Op does).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..core import _core
from ..core._core import InplaceOp, Op
from .define import PointwiseDef, static_names
from .pointwise import OPS

TABLE: dict[str, Op] = {}
_variants: dict[tuple[Any, ...], Op] = {}
_chosen: dict[tuple, Op] = {}  # the same, by the static attributes that calls with operands alone name


def parameter_names(definition: PointwiseDef) -> tuple[str, ...]:
    """The op's parameters as callers name them: PyTorch has input and other where definitions have x and y."""
    named = (*definition.operands, *definition.attributes)
    return tuple({"x": "input", "y": "other"}.get(n, n) for n in named)


def make(definition: PointwiseDef) -> Op:
    """The core's Op of a definition."""
    parameters = parameter_names(definition)
    return Op(
        definition.name, len(definition.operands), parameters, 1, definition, static_names(definition), definition.doc
    )


def variant(op: Op, args: tuple, kwargs: dict[str, Any]) -> tuple[Op, list, dict[str, Any]]:
    """The op with its static attributes fixed as these arguments say, and the arguments that are left."""
    definition: PointwiseDef = op.definition
    names = parameter_names(definition)
    if len(args) > len(names):
        raise TypeError(f"{op.name}: takes {len(names)} arguments ({', '.join(names)}), got {len(args)}")
    values = dict(zip(names, args, strict=False))
    for key, value in kwargs.items():
        if key in values or key not in names:
            raise TypeError(f"{op.name}: unexpected argument {key!r}; it takes ({', '.join(names)})")
        values[key] = value
    static = {name: values.pop(name, definition.attributes[name]) for name in op.statics}
    chosen = (op, *static.items())
    found = _variants.get(chosen)
    if found is None:
        rest = {name: value for name, value in definition.attributes.items() if name not in static}
        bind: dict[str, Any] = {"body": partial(definition.body, **static), "attributes": rest, "static": ()}
        if definition.grad is not None:
            bind["grad"] = partial(definition.grad, **static)
        found = _variants[chosen] = make(definition._replace(**bind))
    return found, [], values


def origin(op: Op) -> tuple[str, dict[str, Any]] | None:
    """The name and static attributes by which the table has an op; None for one that isn't in it (a derivative)."""
    if op.name in TABLE and TABLE[op.name] is op:
        return op.name, {}
    for (general, *static), made in _variants.items():
        if made is op:
            return general.name, dict(static)
    return None


def specialise(op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
    operands = len(args) == op.nin
    if operands:
        try:
            known = _chosen.get((op, *kwargs.items()))
        except TypeError:  # an argument that isn't hashable, and so no static one
            known = None
        if known is not None:
            return known(*args)
    out = kwargs.pop("out", None)
    found, rest, named = variant(op, args, kwargs)
    if operands and out is None and set(kwargs) <= set(op.statics):
        _chosen[op, *kwargs.items()] = found
    return found(*rest, **named) if out is None else found(*rest, **named, out=out)


def specialise_inplace(op: Op, target: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    found, _, named = variant(op, (target, *args), kwargs)
    named.pop(op.parameters[0])
    return found.inplace(target, **named)


for _definition in OPS.values():
    TABLE[_definition.name] = make(_definition)
for _name, _op in list(TABLE.items()):
    for _alias in OPS[_name].aliases:
        TABLE[_alias] = _op


def in_place_doc(op: Op) -> str:
    from . import documents

    return documents.in_place(op.name, op.__doc__ or "")


_core.bind_operators(TABLE)
_core.set_hook("in_place_doc", in_place_doc)
_core.set_hook("specialise", specialise)
_core.set_hook("specialise_inplace", specialise_inplace)
_core.set_hook("op_named", TABLE.__getitem__)

for _name, _op in TABLE.items():
    if "." in _name:
        continue
    if _op.definition.method and not hasattr(_core.Tensor, _name):
        setattr(_core.Tensor, _name, _op)
    if _op.definition.inplace:
        setattr(_core.Tensor, _name + "_", InplaceOp(_op))
