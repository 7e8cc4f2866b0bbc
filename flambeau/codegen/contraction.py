"""Plans: what the contraction driver in C (runtime/contract.h) needs for a dtype, an epilogue and a kind of bias.

A plan names the machine code of a micro-kernel and a pack kernel, which depend on the dtype alone, and of the epilogue,
an ordinary Kernel over a block of sums that is still in cache. Nothing is compiled that no plan has asked for. Imports
ir, device and its neighbours in codegen. Read next: `contraction_micro.py`, `docs/design/0005-contraction.md`.
"""

from __future__ import annotations

import functools
import struct
import sys

from ..device import cpu
from ..ir.expr import DTYPES, Expr, cast, const, load, substitute, var
from ..ir.kernel import Buffer, For, Kernel, Let, Scalar, Store
from . import cache, contraction_dots, contraction_micro, contraction_pack, contraction_slide, native
from .contraction_slide import Window
from .target import Target, host

# Operands of these dtypes are converted while they are packed, and their products summed in another. Integers wrap
# around, so the low bits of a wider sum are the sum.
SUMS = {"f16": "f32", "bf16": "f32", "u8": "i32", "i8": "i32", "i16": "i32", "u16": "i32", "u32": "i32",
        "u64": "i64"}  # fmt: skip
BIASES = (None, "rows", "columns")
SCALARS = ("sums_row", "c_row", "bias_row", "n", "m")


def result_var(dtype: str) -> Expr:
    """What an epilogue is an Expr over: the sum, bias included, in the sums' dtype."""
    return var("x", SUMS.get(dtype, dtype))


@functools.cache
def plan(
    dtype: str, epilogue: Expr | None = None, bias: str | None = None, dots: bool = True, window: Window | None = None
) -> bytes:
    """The bytes of an fb_contraction: c = epilogue(a @ b + bias), `epilogue` an Expr over `result_var(dtype)`.

    `bias` is None, 'columns' (it runs along the dimension in which c is contiguous) or 'rows' (across it).
    Without `dots`, which costs 30 ms to compile, products of one row with a transposed matrix are slower. With a
    `window`, where it is supported, the plan is for the one contraction of depthwise convolutions that this says, or
    has the one move. The addresses in it stay valid for the life of the process.
    """
    if DTYPES[dtype].kind not in "iuf":
        raise TypeError(f"contraction: dtype must be an integer or floating one, got {dtype}")
    if bias not in BIASES:
        raise ValueError(f"contraction: bias must be None, 'rows' or 'columns', got {bias!r}")
    target, sums = host(), SUMS.get(dtype, dtype)
    shape, lanes = contraction_micro.tile(target), contraction_micro.lanes(sums, target)
    finish = 0
    if epilogue is not None or bias is not None or sums != dtype:
        finish = native.function(finish_kernel(dtype, epilogue, bias))
    return struct.pack(
        "=12q", DTYPES[dtype].size, DTYPES[sums].size, shape.vectors * lanes, lanes, not shape.masked,
        micro_kernel(sums), dots_kernel(sums) if dots else 0, pack_kernel(dtype), pack_kernel(sums), finish,
        *slide_kernels(dtype, window),
    )  # fmt: skip


@functools.cache
def micro_kernel(dtype: str) -> int:
    """The address of the micro-kernel for sums of `dtype` on this machine."""
    return loaded(contraction_micro.render(dtype, host()), host())


@functools.cache
def dots_kernel(dtype: str) -> int:
    """The address of the kernel for one row times a transposed matrix."""
    return loaded(contraction_dots.render(dtype, host()), host())


@functools.cache
def pack_kernel(dtype: str) -> int:
    """The address of the pack kernel for operands of `dtype` on this machine."""
    return loaded(contraction_pack.render(dtype, SUMS.get(dtype, dtype), host()), host())


@functools.cache
def slide_kernels(dtype: str, window: Window | None) -> tuple[int, int]:
    """The addresses of the kernel for a window, over sums, and of a move, over operands; 0 where there is none."""
    moves = window is not None and window.kind in contraction_slide.MOVES
    of = dtype if moves else SUMS.get(dtype, dtype)
    if window is None or not contraction_slide.is_supported(of, window, host()):
        return 0, 0
    address = loaded(contraction_slide.render(of, window, host()), host())
    return (0, address) if moves else (address, 0)


def loaded(text: str, target: Target) -> int:
    key = cache.key(text, target)
    image = cache.get(key)
    if image is None:
        if native.DEBUG >= 5:
            print(text, file=sys.stderr)
        image = native.compile(text, target)
        cache.put(key, image)
    return cpu.load(image)


def finish_kernel(
    dtype: str, epilogue: Expr | None, bias: str | None, sums: str | None = None, scaled: bool = False
) -> Kernel:
    """c[i, j] = epilogue(sums[i, j] + bias), the Kernel behind fb_contraction's `finish`.

    With `scaled`, it has two scalars more: alpha sums[i, j] + beta bias.
    """
    sums = sums or SUMS.get(dtype, dtype)
    i, j = var("i"), var("j")
    sums_row, c_row, bias_row, n, m = (var(name) for name in SCALARS)
    x = load("sums", sums, i * sums_row + j)
    if scaled:
        x = x * var("alpha", sums)
    if bias is not None:
        y = cast(load("bias", dtype, i * bias_row + j if bias == "columns" else i * bias_row), sums)
        x = x + (y * var("beta", sums) if scaled else y)
    y = x if epilogue is None else substitute((epilogue,), {result_var(dtype): var("sum", sums)})[0]
    body = (Let(var("sum", sums), x), Store("c", i * c_row + j, cast(y, dtype)))
    columns = For(j, const(0, "i64"), n, body, vector=True)
    buffers = Buffer("sums", sums, "r"), Buffer("c", dtype, "w"), Buffer("bias", dtype, "r")
    scalars = [Scalar(name) for name in SCALARS]
    if scaled:
        scalars += [Scalar("alpha", sums), Scalar("beta", sums)]
    rows = For(i, const(0, "i64"), m, (columns,), parallel=True)
    return Kernel(f"finish_{dtype}", (*buffers, *scalars), (rows,))
