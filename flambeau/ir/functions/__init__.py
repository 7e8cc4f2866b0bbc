"""What exp, tanh, erf, pow, … are made of: each named function of `expr.FUNCTIONS` as primitive operations.

One definition serves every target, so a function gives the same bits everywhere. No tables, no loops, no branches but
`where`; a product and a sum contract only where the definition says `fma`. bf16 and f16 are computed in f32.
Imports `ir.expr` alone. Read next: `build.py` (the tools), then one family: `exponential.py`, `hyperbolic.py`, …
"""

from __future__ import annotations

from typing import overload

from ..expr import FUNCTIONS, Expr, cast, postorder, rebuild
from . import arc, bessel, erf, exponential, gamma, hyperbolic, power, quantile, trigonometric
from .build import EXPANSIONS

__all__ = [
    "expand",
    "EXPANSIONS",
    "arc",
    "bessel",
    "erf",
    "exponential",
    "gamma",
    "hyperbolic",
    "power",
    "quantile",
    "trigonometric",
]


@overload
def expand(roots: Expr) -> Expr: ...
@overload
def expand(roots: tuple[Expr, ...]) -> tuple[Expr, ...]: ...
def expand(roots: Expr | tuple[Expr, ...]) -> Expr | tuple[Expr, ...]:
    """The same expressions with primitive operations only; shared subexpressions stay shared."""
    if isinstance(roots, Expr):
        return _expand((roots,), {})[0]
    return _expand(roots, {})


def _expand(roots: tuple[Expr, ...], done: dict[Expr, Expr]) -> tuple[Expr, ...]:
    for x in postorder(*roots):
        if x not in done:
            args = tuple(done[a] for a in x.args)
            done[x] = _define(x, args, done) if x.op in FUNCTIONS else rebuild(x, args)
    return tuple(done[r] for r in roots)


def _define(x: Expr, args: tuple[Expr, ...], done: dict[Expr, Expr]) -> Expr:
    if x.dtype in ("f16", "bf16"):
        wide = EXPANSIONS[x.op](*(cast(a, "f32") for a in args))
        return cast(_expand((wide,), done)[0], x.dtype)
    if x.dtype not in ("f32", "f64"):
        raise TypeError(f"{x.op}: computes in f32 or f64, got {x.dtype}; lower complex arithmetic to real pairs first")
    # The arguments are primitive already, so walking the body stops at once where it reaches them.
    return _expand((EXPANSIONS[x.op](*args),), done)[0]
