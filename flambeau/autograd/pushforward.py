"""The tangent of a pointwise operation, as another pointwise operation made from the same Exprs.

The gradient is linear in its seed, and its transpose is the tangent (`ir/derive.py`), so there is no second table of
derivatives. What is made here can be derived again, by the tape or by another level. Imports eager and ops.
Read next: `dual.py` (who asks), `ops/typed.py` (the same for backward).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core import _core
from ..core._core import Op
from ..eager.kernels import typed_op
from ..ir.derive import add, derivative, forward, saved
from ..ir.expr import DTYPES, Expr, cast, const, postorder, substitute, var
from ..ops.typed import Derived, Typed, override


class Pushforward(NamedTuple):
    """`op` of what `needs` lists, as (operand, output or tangent; its number), gives the tangents of `outputs`.

    Outputs that aren't listed have no tangent, or one that is zero everywhere.
    """

    op: Op | None
    needs: tuple[tuple[str, int], ...]
    outputs: tuple[int, ...]


_made: dict[tuple, Pushforward] = {}


def pushforward(op: Op, keys: tuple[int, ...], wrt: tuple[int, ...], reuse: bool) -> Pushforward:
    """The tangents of op's outputs for tangents of operands `wrt`; `reuse` says that the outputs may be read."""
    key = (op, keys, wrt, reuse, _core.get_default_dtype())
    found = _made.get(key)
    if found is None:
        found = _made[key] = make(op, typed_op(op, keys), wrt, reuse)
    return found


def make(op: Op, t: Typed, wrt: tuple[int, ...], reuse: bool) -> Pushforward:
    named: dict[Expr, tuple[str, int]] = {x: ("operand", i) for i, x in enumerate(t.inputs) if x is not None}
    tangents: list[Expr] = []
    for i in wrt:
        x = t.inputs[i]
        assert x is not None
        tangents.append(var(f"t{i}", x.dtype))
        named[tangents[-1]] = ("tangent", i)
    computed, outputs = [], []
    for j, e in enumerate(t.exprs):
        pushed = tangent_of(op.definition, t, e, wrt, tuple(tangents)) if DTYPES[e.dtype].kind in "fc" else None
        if pushed is None:
            continue
        if reuse:
            output = var(f"out{j}", e.dtype)
            named[output] = ("output", j)
            (pushed,) = saved(e, (pushed,), output)
            assert pushed is not None
        computed.append(cast(pushed, e.dtype))
        outputs.append(j)
    if not computed:
        return Pushforward(None, (), ())
    used = [x for x in named if x in set(postorder(*computed))]
    renamed = {x: var(f"x{k}", x.dtype) for k, x in enumerate(used)}
    form = Typed(substitute(tuple(computed), renamed), tuple(renamed.values()), (False,) * len(used))
    definition = Derived(op.name + "_jvp", form)
    made = Op(definition.name, len(used), tuple(str(x.attr) for x in renamed.values()), len(computed), definition)
    return Pushforward(made, tuple(named[x] for x in used), tuple(outputs))


def tangent_of(op: Any, t: Typed, e: Expr, wrt: tuple[int, ...], tangents: tuple[Expr, ...]) -> Expr | None:
    """The tangent of one output; a definition's own gradient counts as it does in backward."""
    if getattr(op, "grad", None) is None:
        return forward(e, tuple(x for i in wrt if (x := t.inputs[i]) is not None), tangents)
    seed = var("seed", e.dtype)
    inner = e.args[0].dtype if e.op == "cast" and DTYPES[e.dtype].size == 2 else e.dtype
    every = override(op, t, (seed,), inner)
    total: Expr | None = None
    for i, tangent in zip(wrt, tangents, strict=True):
        gradient = every[i]
        if gradient is None:
            continue
        x = t.inputs[i]
        assert x is not None
        (part,) = derivative(cast(gradient, x.dtype), (seed,), tangent)
        if part is not None:
            total = part if total is None else add(total, part)
    # A rule may ask whether the gradient is zero (xlogy); what it gives is linear where it isn't.
    return None if total is None else substitute((total,), {seed: const(1, seed.dtype)})[0]
