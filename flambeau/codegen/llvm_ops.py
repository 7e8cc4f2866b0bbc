"""LLVM text for single operations: types, literals, and the instructions that stand for each primitive of `ir.expr`.

Every function takes `emit`, which appends one instruction and returns the register it defines, and works on scalars
(width 1) and vectors alike. f16 and bf16 are storage types: in registers they are floats whose value the type can
hold, `decode` and `encode` cross to memory. Nothing here may lower to a library call, trap, or depend on a flag that
lets LLVM change a result. Imports ir only. Read next: `llvm.py`, which decides where these instructions stand.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from ..ir.expr import DTYPES, Expr
from .statements import ROUNDED, round_float

Emit = Callable[[str], str]

REGISTER = {
    "bool": "i1", "u8": "i8", "i8": "i8", "i16": "i16", "u16": "i16", "i32": "i32", "u32": "i32",
    "i64": "i64", "u64": "i64", "f16": "float", "bf16": "float", "f32": "float", "f64": "double",
}  # fmt: skip
MEMORY = REGISTER | {"bool": "i8", "f16": "i16", "bf16": "i16"}
SUFFIX = {"float": "f32", "double": "f64"}
INT_BINARY = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
FLOAT_BINARY = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
FLOAT_UNARY = {"sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "round": "roundeven", "abs": "fabs"}
FLOAT_COMPARE = {"lt": "olt", "le": "ole", "eq": "oeq", "ne": "une"}


def wide(scalar: str, width: int) -> str:
    """The type of `width` values of a scalar LLVM type."""
    return scalar if width == 1 else f"<{width} x {scalar}>"


def register(dtype: str, width: int) -> str:
    return wide(REGISTER[dtype], width)


def intrinsic(name: str, scalar: str, width: int) -> str:
    return f"@llvm.{name}.{'' if width == 1 else f'v{width}'}{SUFFIX.get(scalar, scalar)}"


def literal(value: float, dtype: str, width: int) -> str:
    """A constant operand; floats as the bits of the double that equals them, which is how LLVM writes both types."""
    kind = DTYPES[dtype].kind
    if kind == "b":
        text = "true" if value else "false"
    elif kind in "ui":
        text = str(int(value))
    else:
        text = f"0x{struct.unpack('<Q', struct.pack('<d', round_float(value, dtype)))[0]:016X}"
    return text if width == 1 else f"splat ({REGISTER[dtype]} {text})"


def apply(emit: Emit, x: Expr, a: list[str], width: int) -> str:
    """The value of node x, which is neither const, var nor load, from its arguments' registers."""
    op, dtype = x.op, x.dtype
    if op == "cast":
        return convert(emit, a[0], x.args[0].dtype, dtype, width)
    if op == "bitcast":
        return reinterpret(emit, a[0], x.args[0].dtype, dtype, width)
    if op == "select":
        t = register(dtype, width)
        return emit(f"select {wide('i1', width)} {a[0]}, {t} {a[1]}, {t} {a[2]}")
    source = x.args[0].dtype
    kind = DTYPES[source].kind
    if kind == "c" or dtype not in REGISTER:
        raise TypeError(f"{x.op}: complex values must be split into parts before rendering, got {dtype} from {source}")
    t = register(source, width)
    if op in FLOAT_COMPARE:
        if kind == "f":
            return emit(f"fcmp {FLOAT_COMPARE[op]} {t} {a[0]}, {a[1]}")
        return emit(f"icmp {op if op in ('eq', 'ne') else ('s' if kind == 'i' else 'u') + op} {t} {a[0]}, {a[1]}")
    if kind == "f":
        result = float_operation(emit, op, a, REGISTER[source], width)
        return quantise(emit, result, dtype, width) if op in ROUNDED else result
    return int_operation(emit, x, a, t, width)


def float_operation(emit: Emit, op: str, a: list[str], scalar: str, width: int) -> str:
    t = wide(scalar, width)
    if op in FLOAT_BINARY:
        return emit(f"{FLOAT_BINARY[op]} {t} {a[0]}, {a[1]}")
    if op == "neg":
        return emit(f"fneg {t} {a[0]}")
    if op == "fma":
        return emit(f"call {t} {intrinsic('fma', scalar, width)}({t} {a[0]}, {t} {a[1]}, {t} {a[2]})")
    if op == "min":
        return lesser(emit, a, scalar, width)
    if op == "max":
        return emit(f"fneg {t} {lesser(emit, [emit(f'fneg {t} {x}') for x in a], scalar, width)}")
    return emit(f"call {t} {intrinsic(FLOAT_UNARY[op], scalar, width)}({t} {a[0]})")


def lesser(emit: Emit, a: list[str], scalar: str, width: int) -> str:
    """The minimum: x86's own gives its second operand for NaNs and for zeros, so take both orders and join their bits.

    Joined with equal bits nothing changes, with a NaN's they are a NaN's, and with -0.0 a zero is -0.0. LLVM's own
    lowering of llvm.minimum has three times the latency, which a fold feels.
    """
    t, word, c = wide(scalar, width), wide("i32" if scalar == "float" else "i64", width), wide("i1", width)
    bits = []
    for x, y in (a, a[::-1]):
        least = emit(f"select {c} {emit(f'fcmp olt {t} {x}, {y}')}, {t} {x}, {t} {y}")
        bits.append(emit(f"bitcast {t} {least} to {word}"))
    return emit(f"bitcast {word} {emit(f'or {word} {bits[0]}, {bits[1]}')} to {t}")


def int_operation(emit: Emit, x: Expr, a: list[str], t: str, width: int) -> str:
    op, dtype = x.op, x.dtype
    kind, size, _ = DTYPES[dtype]
    if op in INT_BINARY:
        return emit(f"{INT_BINARY[op]} {t} {a[0]}, {a[1]}")
    if op == "neg":
        return emit(f"sub {t} zeroinitializer, {a[0]}") if width > 1 else emit(f"sub {t} 0, {a[0]}")
    if op == "not":
        return emit(f"xor {t} {a[0]}, {literal(1 if kind == 'b' else -1, dtype, width)}")
    if op in ("shl", "shr"):
        count = emit(f"and {t} {a[1]}, {literal(size * 8 - 1, dtype, width)}")
        return emit(f"{'shl' if op == 'shl' else 'ashr' if kind == 'i' else 'lshr'} {t} {a[0]}, {count}")
    if op in ("min", "max"):
        if kind == "b":
            return emit(f"{'and' if op == 'min' else 'or'} {t} {a[0]}, {a[1]}")
        name = intrinsic(("s" if kind == "i" else "u") + op, REGISTER[dtype], width)
        return emit(f"call {t} {name}({t} {a[0]}, {t} {a[1]})")
    if op == "abs" and kind == "i":
        return emit(f"call {t} {intrinsic('abs', REGISTER[dtype], width)}({t} {a[0]}, i1 false)")
    if op in ("idiv", "irem"):
        return divide(emit, x, a, t, width)
    raise TypeError(f"{op}: no meaning on {dtype}")


def divide(emit: Emit, x: Expr, a: list[str], t: str, width: int) -> str:
    """Division that never traps: where it would, the divisor becomes 1, which is already right for MIN idiv -1."""
    signed = DTYPES[x.dtype].kind == "i"
    instruction = f"{'s' if signed else 'u'}{'div' if x.op == 'idiv' else 'rem'} {t} {a[0]}, "
    divisor = x.args[1]
    if divisor.op == "const" and divisor.attr not in (0, -1):
        return emit(instruction + a[1])
    c = wide("i1", width)
    zero = emit(f"icmp eq {t} {a[1]}, {literal(0, x.dtype, width)}")
    bad = zero
    if signed:
        lowest = emit(f"icmp eq {t} {a[0]}, {literal(-(1 << DTYPES[x.dtype].size * 8 - 1), x.dtype, width)}")
        minus = emit(f"icmp eq {t} {a[1]}, {literal(-1, x.dtype, width)}")
        bad = emit(f"or {c} {zero}, {emit(f'and {c} {lowest}, {minus}')}")
    safe = emit(f"select {c} {bad}, {t} {literal(1, x.dtype, width)}, {t} {a[1]}")
    result = emit(instruction + safe)
    return emit(f"select {c} {zero}, {t} {a[0] if x.op == 'irem' else literal(0, x.dtype, width)}, {t} {result}")


def convert(emit: Emit, a: str, source: str, dtype: str, width: int) -> str:
    """C's conversion, and the type's minimum where a float doesn't fit an integer."""
    kind, size, _ = DTYPES[dtype]
    from_kind, from_size, _ = DTYPES[source]
    s, d = register(source, width), register(dtype, width)
    if dtype in ("f16", "bf16"):
        return a if source == dtype else quantise(emit, convert(emit, a, source, "f32", width), dtype, width)
    if kind == "b":
        return emit(f"{'fcmp une' if from_kind == 'f' else 'icmp ne'} {s} {a}, {literal(0, source, width)}")
    if from_kind == "f" and kind == "f":
        return a if s == d else emit(f"{'fpext' if d.find('double') >= 0 else 'fptrunc'} {s} {a} to {d}")
    if from_kind == "f":
        return truncate(emit, a, source, dtype, width)
    if kind == "f":
        return emit(f"{'sitofp' if from_kind == 'i' else 'uitofp'} {s} {a} to {d}")
    if s == d:
        return a
    narrow = size < from_size and from_kind != "b"
    return emit(f"{'trunc' if narrow else 'sext' if from_kind == 'i' else 'zext'} {s} {a} to {d}")


def truncate(emit: Emit, a: str, source: str, dtype: str, width: int) -> str:
    signed, bits = DTYPES[dtype].kind == "i", DTYPES[dtype].size * 8
    lowest = -(1 << bits - 1) if signed else 0
    s, d, c = register(source, width), register(dtype, width), wide("i1", width)
    # What truncates to the minimum and what is too low for it have the same result.
    above = emit(f"fcmp ogt {s} {a}, {literal(lowest, source, width)}")
    below = emit(f"fcmp olt {s} {a}, {literal(2.0 ** (bits - signed), source, width)}")
    fits = emit(f"and {c} {above}, {below}")
    result = emit(f"{'fptosi' if signed else 'fptoui'} {s} {a} to {d}")
    return emit(f"select {c} {fits}, {d} {result}, {d} {literal(lowest, dtype, width)}")


def reinterpret(emit: Emit, a: str, source: str, dtype: str, width: int) -> str:
    bits = encode(emit, a, source, width)
    s, d = wide(MEMORY[source], width), wide(MEMORY[dtype], width)
    return decode(emit, bits if s == d else emit(f"bitcast {s} {bits} to {d}"), dtype, width)


def quantise(emit: Emit, a: str, dtype: str, width: int) -> str:
    """A float rounded to what dtype can hold, ties to even, still a float."""
    t, half, word = wide("float", width), wide("half", width), wide("i32", width)
    if dtype == "f16":
        return emit(f"fpext {half} {emit(f'fptrunc {t} {a} to {half}')} to {t}")
    if dtype == "bf16":
        bits = emit(f"bitcast {t} {a} to {word}")
        odd = emit(f"lshr {word} {bits}, {literal(16, 'i32', width)}")
        odd = emit(f"and {word} {odd}, {literal(1, 'i32', width)}")
        up = emit(f"add {word} {bits}, {literal(0x7FFF, 'i32', width)}")
        up = emit(f"add {word} {up}, {odd}")
        # Rounding up could carry a NaN into infinity or zero: NaNs are truncated and made quiet.
        quiet = emit(f"or {word} {bits}, {literal(0x400000, 'i32', width)}")
        nan = emit(f"fcmp uno {t} {a}, {a}")
        bits = emit(f"select {wide('i1', width)} {nan}, {word} {quiet}, {word} {up}")
        bits = emit(f"and {word} {bits}, {literal(-65536, 'i32', width)}")
        return emit(f"bitcast {word} {bits} to {t}")
    return a


def decode(emit: Emit, a: str, dtype: str, width: int) -> str:
    """A register value from what memory holds."""
    m, t = wide(MEMORY.get(dtype, ""), width), wide("float", width)
    if dtype == "bool":
        return emit(f"icmp ne {m} {a}, {literal(0, 'i8', width)}")
    if dtype == "f16":
        half = wide("half", width)
        return emit(f"fpext {half} {emit(f'bitcast {m} {a} to {half}')} to {t}")
    if dtype == "bf16":
        word = wide("i32", width)
        bits = emit(f"zext {m} {a} to {word}")
        bits = emit(f"shl {word} {bits}, {literal(16, 'i32', width)}")
        return emit(f"bitcast {word} {bits} to {t}")
    return a


def encode(emit: Emit, a: str, dtype: str, width: int) -> str:
    """What memory holds for a register value."""
    m, t = wide(MEMORY[dtype], width), wide("float", width)
    if dtype == "bool":
        return emit(f"zext {wide('i1', width)} {a} to {m}")
    if dtype == "f16":
        half = wide("half", width)
        return emit(f"bitcast {half} {emit(f'fptrunc {t} {a} to {half}')} to {m}")
    if dtype == "bf16":
        word = wide("i32", width)
        bits = emit(f"bitcast {t} {a} to {word}")
        bits = emit(f"lshr {word} {bits}, {literal(16, 'i32', width)}")
        return emit(f"trunc {word} {bits} to {m}")
    return a
