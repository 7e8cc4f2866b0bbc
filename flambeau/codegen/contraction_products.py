"""How a word of a meets one of b: a table of instruction templates for micro-kernels, each with its meaning in NumPy.

A word is as wide as a sum and holds `group` operands that follow one another along k: one, a pair of bf16, four bytes.
Which group a dtype has is part of its results' meaning and the same on every target; which template computes it isn't.

Pairs of bf16 are what `vdpbf16ps` computes, in software where there's no such instruction: the odd k is multiplied and
added before the even one, each rounded once, with operands and results below the least normal number taken as zeros of
their sign (a result counts as below if it is after rounding to 24 bits, whatever its exponent).

Imports ir's dtypes and Target; NumPy where a meaning is asked for. Read next: `contraction_micro.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .llvm_ops import REGISTER, intrinsic, wide
from .target import Target

Template = Callable[[str, int, str, str, str, str], list[str]]


@dataclass(frozen=True, slots=True)
class Product:
    """One row of the table.

    text     (dtype of the sums, lanes, result, a, b, c) -> LLVM text of result = c + a · b over vectors of words
    meaning  (a, b, c) -> the same of arrays: a and b have `group` operands along the last axis, c has sums
    group    operands of a word
    flush    whether the processor is to treat numbers below the normal ones as zero while `text` runs
    name     the instruction of x86 that `text` calls, if it does
    """

    text: Template
    meaning: Callable[[Any, Any, Any], Any]
    group: int = 1
    flush: bool = False
    name: str = ""

    def declared(self, dtype: str, width: int) -> str:
        """The declaration that the text needs, in a form that every version of LLVM knows or translates."""
        if not self.name:
            return ""
        v, w = wide(REGISTER[dtype], width), wide("i32", width)
        return f"declare {v} @llvm.x86.{self.name}.{32 * width}({v}, {w}, {w})"


def product(dtype: str, target: Target) -> Product:
    """The template for words of `dtype`: one of the sums' dtypes, or one whose operands share a word."""
    if dtype == "bf16":
        return BF16_DOT if "bf16" in target.dots else BF16_FLUSH if target.flushes else BF16_PLAIN
    if dtype == "i8":
        return BYTES_DOT
    return FUSED if dtype[0] == "f" else WRAPPING


def group(dtype: str, target: Target) -> int:
    """How many operands of a matrix product share a word; 1: they are converted to the sums' dtype instead.

    That of bf16 is the same everywhere, for it decides the order of k. Integers have one sum in any order, so theirs
    is a matter of speed.
    """
    return 2 if dtype == "bf16" else 4 if dtype in ("i8", "u8") and "i8" in target.dots else 1


def fused(dtype: str, width: int, result: str, a: str, b: str, c: str) -> list[str]:
    v = wide(REGISTER[dtype], width)
    return [f"  {result} = call {v} {intrinsic('fma', REGISTER[dtype], width)}({v} {a}, {v} {b}, {v} {c})"]


def wrapping(dtype: str, width: int, result: str, a: str, b: str, c: str) -> list[str]:
    v, multiple = wide(REGISTER[dtype], width), part(result, "p")
    return [f"  {multiple} = mul {v} {a}, {b}", f"  {result} = add {v} {c}, {multiple}"]


def instruction(name: str, meaning: Callable[[Any, Any, Any], Any], group: int) -> Product:
    """One of x86's, on words of 32 bits."""

    def text(dtype: str, width: int, result: str, a: str, b: str, c: str) -> list[str]:
        v, w = wide(REGISTER[dtype], width), wide("i32", width)
        return [f"  {result} = call {v} @llvm.x86.{name}.{32 * width}({v} {c}, {w} {a}, {w} {b})"]

    return Product(text, meaning, group, name=name)


def halves(width: int, result: str, word: str) -> list[str]:
    """The odd and the even operand of words of two bf16, as floats."""
    v, w = wide("float", width), wide("i32", width)
    odd, even = part(result, "odd"), part(result, "even")
    return [
        f"  {odd}.bits = and {w} {word}, splat (i32 -65536)",
        f"  {odd} = bitcast {w} {odd}.bits to {v}",
        f"  {even}.bits = shl {w} {word}, splat (i32 16)",
        f"  {even} = bitcast {w} {even}.bits to {v}",
    ]


def pair(step: Template) -> Template:
    """Two steps on floats: the odd k, then the even one."""

    def text(dtype: str, width: int, result: str, a: str, b: str, c: str) -> list[str]:
        x, y, middle = part(result, "x"), part(result, "y"), part(result, "middle")
        out = halves(width, x, a) + halves(width, y, b)
        out += step("f32", width, middle, part(x, "odd"), part(y, "odd"), c)
        return out + step("f32", width, result, part(x, "even"), part(y, "even"), middle)

    return text


def flushing(dtype: str, width: int, result: str, a: str, b: str, c: str) -> list[str]:
    """A fused multiply-add with tiny operands and results flushed, for processors that round tiny numbers otherwise.

    In float64 the product is exact, and the sum so near to what it should be that it tells whether rounding to 24 bits
    reaches the least normal number: that takes half a unit below it.
    """
    v, d, m = wide("float", width), wide("double", width), wide("i1", width)
    out = []
    names = [part(result, name) for name in ("first", "second")]
    for name, x in zip(names, (a, b), strict=True):
        out += [
            f"  {name}.size = call {v} {intrinsic('fabs', 'float', width)}({v} {x})",
            f"  {name}.tiny = fcmp olt {v} {name}.size, splat (float 0x{0x3810 << 48:016X})",
            f"  {name}.zero = call {v} {intrinsic('copysign', 'float', width)}({v} zeroinitializer, {v} {x})",
            f"  {name} = select {m} {name}.tiny, {v} {name}.zero, {v} {x}",
            f"  {name}.wide = fpext {v} {name} to {d}",
        ]
    whole = part(result, "whole")
    out += [
        f"  {whole}.added = fpext {v} {c} to {d}",
        f"  {whole}.product = fmul {d} {names[0]}.wide, {names[1]}.wide",
        f"  {whole}.sum = fadd {d} {whole}.product, {whole}.added",
        f"  {whole}.size = call {d} {intrinsic('fabs', 'double', width)}({d} {whole}.sum)",
        f"  {whole}.tiny = fcmp olt {d} {whole}.size, splat (double {LEAST_ROUNDED})",
        *fused("f32", width, f"{whole}.kept", names[0], names[1], c),
        f"  {whole}.zero = call {v} {intrinsic('copysign', 'float', width)}({v} zeroinitializer, {v} {whole}.kept)",
        f"  {result} = select {m} {whole}.tiny, {v} {whole}.zero, {v} {whole}.kept",
    ]
    return out


def part(name: str, kind: str) -> str:
    """A register that belongs to another."""
    return f"{name}.{kind}"


# 2^-126 (1 - 2^-25): from here on a result rounds to the least normal number or more.
LEAST_ROUNDED = "0x380FFFFFF0000000"


def fused_meaning(a: Any, b: Any, c: Any) -> Any:
    """a b + c rounded once, of float32: in float64, rounded to odd, so that rounding again can't err."""
    import numpy as np

    with np.errstate(invalid="ignore", over="ignore"):
        p, c = a[..., 0].astype(np.float64) * b[..., 0], c.astype(np.float64)
        s = p + c
        t = s - p
        error = (p - (s - t)) + (c - t)
        even = (s.view(np.int64) & 1 == 0) & (error != 0) & np.isfinite(s)
        return np.where(even, np.nextafter(s, np.copysign(np.inf, error)), s).astype(np.float32)


def pairs_meaning(a: Any, b: Any, c: Any) -> Any:
    """What vdpbf16ps does, of float32 arrays that bf16 can hold."""
    import numpy as np

    def flushed(x: Any) -> Any:
        return np.where(np.abs(x) < 2.0**-126, np.copysign(np.float32(0), x), x)

    c = flushed(c)
    for k in (1, 0):
        x, y = flushed(a[..., k]), flushed(b[..., k])
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.abs(x.astype(np.float64) * y + c)
        r = fused_meaning(x[..., None], y[..., None], c)
        c = np.where(size < 2.0**-126 * (1 - 2.0**-25), np.copysign(np.float32(0), r), r)
    return c


def wrapping_meaning(a: Any, b: Any, c: Any) -> Any:
    return c + a[..., 0] * b[..., 0]


def bytes_meaning(a: Any, b: Any, c: Any) -> Any:
    """What vpdpbusd does: a without sign, b with one."""
    import numpy as np

    return c + (a.view(np.uint8).astype(np.int32) * b.view(np.int8)).sum(-1, dtype=np.int32)


FUSED = Product(fused, fused_meaning)
WRAPPING = Product(wrapping, wrapping_meaning)
BF16_DOT = instruction("avx512bf16.dpbf16ps", pairs_meaning, 2)
BF16_FLUSH = Product(pair(fused), pairs_meaning, 2, flush=True)
BF16_PLAIN = Product(pair(flushing), pairs_meaning, 2)
BYTES_DOT = instruction("avx512.vpdpbusd", bytes_meaning, 4)
