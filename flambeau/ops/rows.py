"""Row programs: operations on a matrix whose formula mixes elements with sums over rows and columns, as one kernel.

A formula (softmax, layer_norm, cross_entropy, and each one's backward) is a Python function over the generic vocabulary
below. On symbols it is traced once per dtype and becomes a kernel; on tensors it is ordinary differentiable code, which
is how higher derivatives come about. Extents: 'full' (row and column), 'row' (one per row), 'col' (one per column),
'channel' (one per row, repeating with a period). Imports core, ir and neighbours in ops. Read next:
`core/rows.pxi` (calls), `codegen/row_schedule.py` (the loops), `normalization.py` (formulas).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core import _core
from ..core._core import RowProgram, Step
from ..ir import expr as E
from ..ir.expr import Expr, cast, node, postorder, var
from .primitive import primitive
from .table import TABLE
from .typed import computation

GRAIN = 32768  # elements handed to a thread at a time, as in core/op.pxi


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
    shown = {"number": "scalar", "channel": "row"}
    declared = {i.name: shown.get(i.extent, i.extent) for i in program_inputs}
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


# ---- from a formula to a program
PROGRAMS: dict[str, RowProgram] = {}


def program(
    formula: Callable[..., Any], inputs: dict[str, str], outputs: Sequence[tuple[str, str]], name: str = ""
) -> RowProgram:
    """What computes a formula: `inputs` gives each argument's extent, `outputs` each result's extent and dtype.

    A dtype is an argument's by name (the first one's where that is absent), or 'wide': what the first is computed in.
    """
    name = name or formula.__name__
    found = PROGRAMS[name] = RowProgram(name, formula, tuple(inputs.items()), tuple(outputs))
    return found


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
    kept = [(e, d) for e, d in zip(found, out_dtypes, strict=True) if d is not None]
    where = extents(inputs, [e for e, _ in kept])
    return Program(name, inputs, tuple((e, where[e], d) for e, d in kept))


def specialised(of: RowProgram, dtypes: Sequence[Any], wanted: Sequence[bool]) -> Program:
    """A program for arguments of these dtypes: ir names, None where absent."""
    arguments = [(n, d, e) for (n, e), d in zip(of.inputs, dtypes, strict=True)]
    given = {n: d for n, d, _ in arguments}
    first = arguments[0][1]
    whose = [computation(first) if w == "wide" else given[w] or first for _, w in of.outputs]
    return traced(of.name, of.formula, arguments, [d if w else None for d, w in zip(whose, wanted, strict=True)])


def planned_rows(
    of: RowProgram, inputs: Sequence[tuple[int, Any] | int | float | None], outputs: Sequence[int], rows: int, cols: int
) -> Step | None:
    """The Step that runs a program over whole rows in a Plan; None where the program needs scratch memory.

    `inputs` are (place among the plan's tensors, dtype), numbers, or None where absent; `outputs` are places.
    """
    dtypes = tuple(x[1] if isinstance(x, tuple) else None if x is None else type(x) for x in inputs)
    wanted = (True,) * len(outputs)
    address, partial, _, scratch, *_ = _core.hooks["row_miss"](of, dtypes, wanted, False)
    if partial or scratch >= 0:
        return None
    given = [x for x in inputs if x is not None]
    at = [i for i, x in enumerate(given) if isinstance(x, tuple)]
    tensors = [x[0] for x in given if isinstance(x, tuple)]
    numbers = tuple(x for x in given if not isinstance(x, tuple))
    at += range(len(given), len(given) + len(outputs))
    grain = max(1, GRAIN // max(1, cols))
    return Step(address, (*tensors, *outputs), (*numbers, rows, cols), rows, grain, rows * cols, at)


# ---- what an interpreter sees where a backward rule calls a program
@primitive()
def row_program(ctx, values, name, cols, wanted):
    """A program by its module and name; results that aren't wanted are left out."""
    module, _, name = name.partition(".")
    importlib.import_module(f"..{module}", __name__)
    found = PROGRAMS[name](*values, cols=cols, wanted=wanted)
    return tuple(y for y in found if y is not None) if isinstance(found, tuple) else found


def interpreted(of: RowProgram, values: tuple, cols: int, wanted: tuple[bool, ...] | None) -> Any:
    module = of.formula.__module__.rpartition(".")[2]
    found = row_program(list(values), f"{module}.{of.name}", cols, wanted)
    if wanted is None or len(wanted) == 1:
        return found
    made = iter(found)
    return tuple(next(made) if w else None for w in wanted)


_core.set_hook("row_program", interpreted)
