"""Row programs compiled: the answer to the hook `row_miss`. Imports ops, codegen and core."""

from __future__ import annotations

from typing import Any

from ..codegen import native, row_schedule
from ..core import _core
from ..core._core import RowProgram
from ..ops.rows import specialised
from ..ops.typed import CODES

NUMBERS = {float: "f64", int: "i64"}


def row_miss(of: RowProgram, dtypes: tuple, wanted: tuple[bool, ...], stream: bool) -> tuple:
    """Addresses (or 0) of kernels over rows, blocks of rows and blocks' sums; dtypes of scratch, results and parts."""
    program = specialised(of, [d if d is None else NUMBERS.get(d) or d.ir for d in dtypes], wanted)
    by_row = [o for o in program.outputs if o[1] != "col"]
    by_column = [o for o in program.outputs if o[1] == "col"]
    kernel = row_schedule.by_rows(program, by_row, stream) if by_row else None
    scratch = kernel.buffers.get("scratch") if kernel else None
    rows = native.function(kernel) if kernel else 0
    sums = [
        native.function(row_schedule.by_columns(program, by_column, last)) if by_column else 0 for last in (False, True)
    ]
    made: Any = iter(program.outputs)
    shown = [next(made) if w else None for w in wanted]
    return (
        rows, *sums,
        -1 if scratch is None else CODES[scratch.dtype],
        [0 if o is None else CODES[o[2]] for o in shown],
        [0 if o is None else CODES[o[0].dtype] for o in shown],
    )  # fmt: skip


_core.set_hook("row_miss", row_miss)
