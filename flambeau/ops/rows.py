"""Row programs: operations on a matrix whose formula mixes elements with sums over rows and columns, as one kernel.

A formula (softmax, layer_norm, cross_entropy, and each one's backward) is a Python function over the generic vocabulary
below. On symbols it is traced once per dtype and becomes a kernel; on tensors it is ordinary differentiable code, which
is how higher derivatives come about. Extents: 'full' (row and column), 'row' (one per row), 'col' (one per column).
Imports core, ir and neighbours in ops. Read next: `codegen/row_schedule.py` (the loops), `normalization.py` (formulas).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core import _core
from ..core._core import Tensor, new_empty
from ..ir import expr as E
from ..ir.expr import Expr, cast, node, postorder, var
from .primitive import primitive
from .table import TABLE
from .typed import computation


@dataclass(frozen=True, slots=True)
class Input:
    """An argument of a program: a buffer of an extent, or a number ('number')."""

    name: str
    dtype: str
    extent: str


@dataclass(frozen=True, slots=True)
class Program:
    """Typed formulas over inputs: `outputs` holds (Expr, extent, dtype). 'col' outputs are sums over rows."""

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[tuple[Expr, str, str], ...]


def extents(program_inputs: Sequence[Input], roots: Sequence[Expr]) -> dict[Expr, str]:
    """The extent of every node."""
    declared = {i.name: "scalar" if i.extent == "number" else i.extent for i in program_inputs}
    declared.update(rows="scalar", cols="scalar", column="col")
    found: dict[Expr, str] = {}
    for x in postorder(*roots):
        if x.op == "var":
            found[x] = declared[str(x.attr)]
        elif x.op in ("fold", "take"):
            found[x] = "row"
        elif x.op == "colsum":
            found[x] = "col"
        else:
            kinds = {found[a] for a in x.args} - {"scalar"}
            found[x] = "full" if "full" in kinds or kinds == {"row", "col"} else kinds.pop() if kinds else "scalar"
    return found


# ---- the vocabulary: each works on symbols and on tensors
def row_sum(x: Any) -> Any:
    """Σ over a row, one per row."""
    return node("fold", x.dtype, (x,), "sum") if isinstance(x, Expr) else x.sum(-1, True)


def row_max(x: Any) -> Any:
    """The largest element of a row, one per row; no gradient passes through it."""
    return node("fold", x.dtype, (x,), "max") if isinstance(x, Expr) else x.detach().amax(-1, True)


def column_sum(x: Any) -> Any:
    """Σ over the rows, one per column."""
    if isinstance(x, Expr):
        return node("colsum", x.dtype, (x,))
    return x.reshape(-1, x.shape[-1]).sum(0)


def take(x: Any, index: Any) -> Any:
    """x[row, index[row]] of a full input, or x[index[row]] of a col input; one per row."""
    if isinstance(x, Expr):
        return node("take", x.dtype, (x, index))
    if x.ndim == 1:
        return x[index.reshape(-1)].reshape(index.shape)
    from .gather import gather

    return gather(x, -1, index)


def column_is(x: Any, index: Any) -> Any:
    """Whether a column's number is index[row]."""
    if isinstance(index, Expr):
        return E.eq(var("column"), index)
    from .ranges import arange

    return TABLE["eq"](arange(x.shape[-1]), index)


def apply(name: str, *xs: Any) -> Any:
    """A named function (exp, log, sqrt, …) of symbols or tensors."""
    return E.function(name, *xs) if isinstance(xs[0], Expr) else TABLE[name](*xs)


def choose(condition: Any, a: Any, b: Any) -> Any:
    return E.where(condition, a, b) if isinstance(condition, Expr) else TABLE["where"](condition, a, b)


def different(a: Any, b: Any) -> Any:
    return E.ne(a, b) if isinstance(a, Expr) else TABLE["ne"](a, b)


def columns(x: Any, count: Any) -> Any:
    """The number of columns as a floating number."""
    return cast(var("cols"), x.dtype) if isinstance(x, Expr) else float(count)


# ---- from a formula to a program and a launch
_programs: dict[tuple, Callable[..., None]] = {}


def traced(
    name: str,
    formula: Callable[..., Any],
    arguments: Sequence[tuple[str, str | None, str]],
    out_dtypes: Sequence[str | None],
) -> Program:
    """The program of a formula: `arguments` are (name, dtype or None where absent, extent)."""
    inputs = tuple(Input(n, d, e) for n, d, e in arguments if d is not None)
    symbols = [
        None if d is None else cast(var(n, d), "i64" if d in ("i64", "i32", "u8") else computation(d))
        for n, d, _ in arguments
    ]
    found = formula(*symbols)
    found = found if isinstance(found, tuple) else (found,)
    kept = [(e, d) for e, d in zip(found, out_dtypes, strict=True) if d is not None and e is not None]
    where = extents(inputs, [e for e, _ in kept])
    return Program(name, inputs, tuple((e, where[e], d) for e, d in kept))


def run(
    name: str,
    formula: Callable[..., Any],
    rows: int,
    cols: int,
    arguments: Sequence[tuple[str, Any, str]],
    outputs: Sequence[tuple[Any, Sequence[int]] | None],
) -> list[Tensor | None]:
    """Computes a formula over (rows, cols): `arguments` are (name, tensor, number or None, extent).

    `outputs` gives (dtype, shape) of each result, None for those not wanted. Tensors must be contiguous.
    """
    if _core.interpreting():
        # Called outside of an operation (by a backward rule): an interpreter sees it as one.
        where = f"{formula.__module__.rpartition('.')[2]}.{formula.__qualname__}"
        described = tuple((n, e) for n, _, e in arguments)
        found = row_program([x for _, x, _ in arguments], name, where, rows, cols, described, outputs)
        made = iter(found)
        return [None if o is None else next(made) for o in outputs]
    return compute(name, formula, rows, cols, arguments, outputs)


@primitive()
def row_program(ctx, values, name, formula, rows, cols, arguments, outputs):
    """`run` as an operation: the formula goes by module and function; results that aren't wanted are left out."""
    module, _, function = formula.partition(".")
    found = getattr(importlib.import_module(f"..{module}", __name__), function)
    laid_out = [x.contiguous() if isinstance(x, Tensor) else x for x in values]
    given = [(n, x, e) for (n, e), x in zip(arguments, laid_out, strict=True)]
    return tuple(m for m in compute(name, found, rows, cols, given, outputs) if m is not None)


def compute(
    name: str,
    formula: Callable[..., Any],
    rows: int,
    cols: int,
    arguments: Sequence[tuple[str, Any, str]],
    outputs: Sequence[tuple[Any, Sequence[int]] | None],
) -> list[Tensor | None]:
    """`run`, eagerly."""
    # A name stands for one formula and one list of arguments; what varies is their dtypes and which are there.
    given_dtypes = [x.dtype if isinstance(x, Tensor) else type(x) for _, x, _ in arguments]
    key = (name, *given_dtypes, *[o and o[0] for o in outputs])
    found = _programs.get(key)
    if found is None:
        described = tuple((n, ir_name(x), e) for n, x, e in arguments)
        program = traced(name, formula, described, tuple(None if o is None else o[0].ir for o in outputs))
        found = _programs[key] = _core.hooks["row_program"](program)
    made: list[Tensor | None] = [None if o is None else new_empty(o[1], o[0]) for o in outputs]
    found(rows, cols, [x for _, x, _ in arguments if x is not None], [m for m in made if m is not None])
    return made


def ir_name(x: Any) -> str | None:
    """The ir's name for an argument's dtype; None where it is absent."""
    return None if x is None else x.dtype.ir if isinstance(x, Tensor) else "f64" if isinstance(x, float) else "i64"
