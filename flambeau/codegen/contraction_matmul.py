"""Plans for matrix products: `contraction.py`'s, and what words of several operands or complex numbers need besides.

Convolutions convert bf16 and bytes while they stage them; matrix products multiply them as they are where the table in
`contraction_products.py` says so. Imports ir and its neighbours in codegen. Read next: `runtime/contract.h`.
"""

from __future__ import annotations

import functools
import struct

from ..ir.expr import DTYPES
from . import contraction_complex, contraction_micro, contraction_products, contraction_words, native
from .contraction import SUMS, dots_kernel, finish_kernel, loaded, micro_kernel, pack_kernel
from .target import host

PARTS = {"c64": "f32", "c128": "f64"}


@functools.cache
def plan(
    dtype: str, result: str | None = None, bias: str | None = None, scaled: bool = False, dots: bool = True
) -> bytes:
    """The bytes of an fb_multiplication: c = a @ b (+ bias), of operands of `dtype` and a c of `result` or `dtype`.

    `bias` is as in `contraction.plan`; with `scaled`, c = alpha · a @ b + beta · bias, the problem's `scale`.
    """
    target, result, bytes_too = host(), result or dtype, dtype in ("i8", "u8")
    part = PARTS.get(dtype, dtype)
    sums, group = SUMS.get(part, part), contraction_products.group(dtype, target)
    shape, lanes = contraction_micro.tile(target), contraction_micro.lanes(sums, target)
    starts = bytes_too and group > 1
    if group > 1:
        micro = word_kernel(dtype, sums, starts)
        pack, pack_a = words_kernel(dtype, sums, group, False, starts), words_kernel(dtype, sums, group, starts, False)
    elif part != dtype:
        micro, pack, pack_a = micro_kernel(sums), complex_kernel(sums), pack_kernel(sums)
    else:
        micro, pack, pack_a = micro_kernel(sums), pack_kernel(dtype), pack_kernel(dtype)
    to = PARTS.get(result, result)
    finish = native.function(finish_kernel(to, None, bias, sums, scaled)) if bias or scaled or sums != to else 0
    reads_rows = dots and group == 1 and part == dtype and part == sums
    # What follows in an fb_contraction is for convolutions.
    return struct.pack(
        "=16q", DTYPES[to].size, group, 1 if part == dtype else 2, starts, sums[0] == "f", pack_a,
        DTYPES[dtype].size, DTYPES[sums].size, shape.widest * lanes, lanes, not shape.masked, micro,
        dots_kernel(sums) if reads_rows else 0, pack, pack_kernel(sums), finish,
    ) + bytes(64)  # fmt: skip


@functools.cache
def word_kernel(dtype: str, sums: str, starts: bool) -> int:
    """The address of the micro-kernel for words of operands of `dtype`."""
    return loaded(contraction_micro.render(sums, host(), "bf16" if dtype == "bf16" else "i8", starts), host())


@functools.cache
def words_kernel(dtype: str, sums: str, group: int, turned: bool, starts: bool) -> int:
    """The address of the pack kernel that makes words of operands of `dtype`."""
    return loaded(contraction_words.render(dtype, sums, group, host(), turned, starts), host())


@functools.cache
def complex_kernel(sums: str) -> int:
    """The address of the pack kernel for complex numbers whose parts are `sums`."""
    return loaded(contraction_complex.render(sums, host()), host())
