"""What every renderer asks of statements and numbers: what is written, what differs between lanes, how constants round.

Imports ir only. Read next: `columns.py` (a loop order that renderers share), `llvm.py`, `cfamily.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..ir.expr import Expr, postorder
from ..ir.kernel import For, If, Let, Reduce, Statement, Store

# Operations whose result is rounded to the dtype where the target computes in a wider one.
ROUNDED = frozenset(("add", "sub", "mul", "div", "fma", "sqrt"))


@dataclass(frozen=True, slots=True)
class Prefetch:
    """Asks for the cache lines of LANES elements from an index on, which may lie outside the buffer.

    A statement that rewrites put among the IR's; it changes no result.
    """

    buffer: str
    index: Expr


def stored(statements: Iterable[Statement]) -> set[str]:
    """The buffers that statements write."""
    found: set[str] = set()
    for s in statements:
        if isinstance(s, Store):
            found.add(s.buffer)
        elif isinstance(s, If | For | Reduce):
            found |= stored(s.body)
        else:
            found.update(getattr(s, "stores", ()))
    return found


def vectorisable(statements: Iterable[Statement], varying: set[Expr]) -> bool:
    """Whether loops inside run the same iterations in every lane; `varying` collects what differs between lanes."""

    def differs(*xs: Expr) -> bool:
        return any(y in varying for y in postorder(*xs))

    for s in statements:
        if isinstance(s, Let) and differs(s.value):
            varying.add(s.var)
        elif isinstance(s, For | Reduce):
            if differs(s.start, s.stop):
                return False
            if isinstance(s, Reduce):
                varying.update(a.var for a in s.accumulators)
        if isinstance(s, If | For | Reduce) and not vectorisable(s.body, varying):
            return False
    return True


def without_prefetches(body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Statements for a renderer that asks for nothing ahead."""
    kept = (s for s in body if not isinstance(s, Prefetch))
    return tuple(replace(s, body=without_prefetches(s.body)) if isinstance(s, If | For | Reduce) else s for s in kept)


def round_float(value: float, dtype: str) -> float:
    """A Python float rounded once, ties to even, to what dtype can hold."""
    if dtype == "f64" or value == 0 or not math.isfinite(value):
        return value
    digits, lowest, highest = {"f32": (24, -149, 128), "bf16": (8, -133, 128), "f16": (11, -24, 16)}[dtype]
    step = math.ldexp(1.0, max(math.frexp(value)[1] - digits, lowest))
    rounded = round(abs(value) / step) * step
    return math.copysign(math.inf if rounded >= math.ldexp(1.0, highest) else rounded, value)
