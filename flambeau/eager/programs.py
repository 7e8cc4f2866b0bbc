"""Row programs compiled and launched: the answer to the hook `row_program`. Imports ops, codegen and core."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..codegen import native, row_schedule
from ..core import _core
from ..core._core import DTYPES, Tensor, new_empty
from ..ir.kernel import REDUCE_BLOCK
from ..ops.typed import CODES

WORK = 32768  # elements a thread takes at a time
STREAM, SHORT = 2097152, 64  # elements from which rows that aren't short bypass the caches
COLUMNS, PAGE = 256, 1024  # columns a kernel that sums over rows takes at a time, as in core/op.pxi


def compiled(program: Any) -> Callable[[int, int, list, list], None]:
    """A function (rows, cols, inputs, outputs) that runs the program."""
    by_row = [o for o in program.outputs if o[1] != "col"]
    by_column = [o for o in program.outputs if o[1] == "col"]
    places = (
        [j for j, o in enumerate(program.outputs) if o[1] != "col"],
        [j for j, o in enumerate(program.outputs) if o[1] == "col"],
    )
    row_kernel = functools.cache(lambda stream: native.function(row_schedule.by_rows(program, by_row, stream)))
    part_kernel = native.function(row_schedule.by_columns(program, by_column, False)) if by_column else 0
    last_kernel = native.function(row_schedule.by_columns(program, by_column, True)) if by_column else 0

    def run(rows: int, cols: int, inputs: list, outputs: list[Tensor]) -> None:
        if rows * cols == 0:
            for j in places[1]:
                outputs[j].zero_()
            if cols or not rows:
                return
        if by_row:
            grain = max(1, WORK // max(1, cols))
            written = [outputs[j] for j in places[0]] if by_column else outputs
            stream = rows * cols >= STREAM and cols >= SHORT
            _core.launch(row_kernel(stream), (*inputs, *written, rows, cols), rows, grain, rows * cols)
        if by_column:
            blocks = -(-rows // REDUCE_BLOCK)
            chunks = -(-cols // PAGE) if blocks * cols >= 4 * PAGE else -(-cols // COLUMNS)
            parts = [new_empty((blocks, cols), DTYPES[CODES[e.dtype]]) for e, _, _ in by_column]
            _core.launch(part_kernel, (*inputs, *parts, rows, cols, chunks), blocks * chunks, 1, rows * cols)
            finals = (*parts, *(outputs[j] for j in places[1]), blocks, cols, chunks)
            _core.launch(last_kernel, finals, chunks, 1, blocks * cols)

    return run


_core.set_hook("row_program", compiled)
