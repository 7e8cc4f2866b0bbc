"""From an op and a layout to an installed kernel: the answers to the core's `pointwise_miss`, `reduce_miss` and `vjp`.

Imports ops, codegen and core.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ..codegen import native, schedule
from ..core import _core
from ..core._core import Op, Vjp
from ..ir.expr import DTYPES
from ..ops.define import PointwiseDef
from ..ops.typed import CODES, PUBLIC, Typed, backward, typed

_typed: dict[tuple, Typed] = {}


def typed_op(op: Op, keys: tuple[int, ...]) -> Typed:
    """The op's typed Exprs for operands with these keys; computed once."""
    default_float = _core.get_default_dtype().ir
    found = _typed.get((op, keys, default_float))
    if found is None:
        definition: Any = op.definition
        made = definition.typed(keys) if hasattr(definition, "typed") else typed(definition, keys, default_float)
        found = _typed[op, keys, default_float] = made
    return found


def pointwise_miss(
    op: Op, keys: tuple[int, ...], classes: tuple[int, ...], dims: int, stream: bool, given: tuple | None
) -> tuple[int, tuple[int, ...], tuple[int, ...], int, Callable[..., None] | None]:
    """(address, output dtype codes, codes of operands that are numbers, mask of differentiable operands, refusal)."""
    t = typed_op(op, keys)
    if native.DEBUG >= 1:
        operands = ", ".join("default" if x is None else x.dtype for x in t.inputs)
        print(f"op {op.name}({operands}) in {dims} dimension(s), steps {classes}", file=sys.stderr)
    outs = tuple(e.dtype for e in t.exprs)
    if given is not None:
        outs = tuple(storable(op, e.dtype, o.ir) for e, o in zip(t.exprs, given, strict=True))
    kernel = schedule.pointwise(op.name, t.exprs, t.inputs, t.is_number, outs, classes, dims, stream)
    address = native.function(kernel)
    numbers = tuple(CODES[x.dtype] if x is not None else 0 for x in t.inputs)
    mask = 0
    if any(DTYPES[e.dtype].kind in "fc" for e in t.exprs):
        for i, x in enumerate(t.inputs):
            if x is not None and not t.is_number[i] and DTYPES[x.dtype].kind in "fc":
                mask |= 1 << i
    whole = isinstance(op.definition, PointwiseDef) and DTYPES[t.exprs[0].dtype].kind in "ui"
    return address, tuple(CODES[d] for d in outs), numbers, mask, op.definition.refuse if whole else None


def storable(op: Op, result: str, target: str) -> str:
    """target, if a result of dtype `result` may be stored in it (PyTorch's can_cast)."""
    order = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
    if order[DTYPES[result].kind] > order[DTYPES[target].kind] and op.name != "identity":
        raise RuntimeError(
            f"{op.name}: result type {PUBLIC[CODES[result]]} can't be cast to the output type {PUBLIC[CODES[target]]}; "
            "use the out-of-place form, or convert with x.to(dtype)"
        )
    return target


def vjp(op: Op, keys: tuple[int, ...], mask: int) -> Vjp:
    """How the core goes backward through op for the operands in mask."""
    wrt = tuple(i for i in range(len(keys)) if mask >> i & 1)
    rule = backward(op.definition, typed_op(op, keys), wrt, op.name)
    if rule.derived is None:
        return Vjp(None, (), wrt, rule.route)
    inputs = rule.derived.form.inputs
    parameters = tuple(str(x.attr) for x in inputs if x is not None)
    derived = Op(rule.derived.name, len(parameters), parameters, len(rule.derived.form.exprs), rule.derived)
    return Vjp(derived, rule.needs, wrt, rule.route)


def reduce_miss(reduction: Any, dtype: Any, out_dtype: Any, column: bool, stage: int) -> tuple[int, tuple[int, ...]]:
    """(address, dtype codes of what the kernel writes) for one stage of a reduction."""
    fold = reduction.definition.fold(dtype.ir, out_dtype.ir if out_dtype is not None else None)
    kernel, written = schedule.reduction(reduction.name, fold, dtype.ir, fold.out_dtypes, column, stage)
    return native.function(kernel), tuple(CODES[d] for d in written)


def contraction_plan(dtype: Any, bias: str | None, dots: bool, window: tuple | None = None) -> bytes:
    """The plan of a matrix product or convolution; `window` is that of a depthwise one."""
    from ..codegen import contraction

    return contraction.plan(dtype.ir, None, bias, dots, contraction.Window(*window) if window else None)


def product_plan(dtype: Any, result: Any, bias: str | None, scaled: bool, dots: bool) -> bytes:
    """The plan of a matrix product."""
    from ..codegen import contraction_matmul

    return contraction_matmul.plan(dtype.ir, result.ir, bias, scaled, dots)


def winograd_plan(what: str, bias: bool) -> bytes:
    """The plan of a 3x3 convolution by minimal filtering."""
    from ..codegen import contraction_winograd

    return contraction_winograd.plan(what, bias)


def install() -> None:
    _core.set_hook("pointwise_miss", pointwise_miss)
    _core.set_hook("reduce_miss", reduce_miss)
    _core.set_hook("vjp", vjp)
    _core.set_hook("compile", native.function)
    _core.set_hook("contraction_plan", contraction_plan)
    _core.set_hook("product_plan", product_plan)
    _core.set_hook("winograd_plan", winograd_plan)


install()
