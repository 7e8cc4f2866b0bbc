"""C text for single operations, in every dialect: types, literals, and what stands for each primitive of `ir.expr`.

Where C leaves something undefined or the choice to the compiler (signed overflow, shifts, division, conversions that
don't fit) the text says it in operations that are defined; where an argument is needed twice, or a rule takes more than
a line, it calls a helper function, which is written before the kernel. Of the mathematical library only functions
appear whose result IEEE 754 fixes: sqrt, fma, floor, ceil, trunc, rint, fabs. Imports ir and `statements.round_float`.
Read next: `cfamily_values.py` (where these texts stand).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..ir.expr import DTYPES, Expr
from .statements import ROUNDED, round_float

# A register is a C variable. f16 and bf16 are floats there whose value the type can hold, bool is 0 or 1.
REGISTER = {d: d for d in DTYPES} | {"bool": "i32", "f16": "f32", "bf16": "f32"}
MEMORY = {d: d for d in DTYPES} | {"bool": "u8", "f16": "u16", "bf16": "u16"}
RING = {"add": "+", "sub": "-", "mul": "*"}
FLOAT_BINARY = RING | {"div": "/"}
BITWISE = {"and": "&", "or": "|", "xor": "^"}
COMPARE = {"lt": "<", "le": "<=", "eq": "==", "ne": "!="}
FUNCTION = {"sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "round": "rint", "abs": "fabs",
            "fma": "fma"}  # fmt: skip


class Text(NamedTuple):
    """An expression's text. `atom`: it needs no parentheses. `ring`: it is unsigned so far, whatever its dtype."""

    code: str
    atom: bool = True
    ring: bool = False

    def __str__(self) -> str:
        return self.code if self.atom else f"({self.code})"


# Helper functions: {t} is the type they are for, {u} its unsigned form (of a float: its bits), capitals for macros.
# Those for min and max are such that compilers make vectors of them. Equal numbers differ in the sign of zero at most.
HELPERS = {
    "min_float": """FUNCTION {t} fb_min_{t}({t} a, {t} b) {{
    const {t} zero = AS_{T}(AS_{U}(a) | AS_{U}(b)), min = a == b ? zero : a < b ? a : b;
    const {t} right = b != b ? b : min;
    return a != a ? a : right;
}}""",
    "max_float": """FUNCTION {t} fb_max_{t}({t} a, {t} b) {{
    const {t} zero = AS_{T}(AS_{U}(a) & AS_{U}(b)), max = a == b ? zero : a > b ? a : b;
    const {t} right = b != b ? b : max;
    return a != a ? a : right;
}}""",
    "min": "FUNCTION {t} fb_min_{t}({t} a, {t} b) {{ return a < b ? a : b; }}",
    "max": "FUNCTION {t} fb_max_{t}({t} a, {t} b) {{ return a > b ? a : b; }}",
    "abs": "FUNCTION {t} fb_abs_{t}({t} a) {{ return a < 0 ? ({t})(0u - ({u})a) : a; }}",
    "idiv_signed": """FUNCTION {t} fb_idiv_{t}({t} a, {t} b) {{
    return b == 0 ? 0 : b == -1 ? ({t})(0u - ({u})a) : ({t})(a / b);
}}""",
    "irem_signed": "FUNCTION {t} fb_irem_{t}({t} a, {t} b) {{ return b == 0 ? a : b == -1 ? 0 : ({t})(a % b); }}",
    "idiv": "FUNCTION {t} fb_idiv_{t}({t} a, {t} b) {{ return b == 0 ? 0 : ({t})(a / b); }}",
    "irem": "FUNCTION {t} fb_irem_{t}({t} a, {t} b) {{ return b == 0 ? a : ({t})(a % b); }}",
    "truncate": """FUNCTION {t} fb_{t}_of_{s}({s} x) {{
    return x > {low} && x < {high} ? ({t})x : {least};
}}""",
    # Rounding up could carry a NaN into infinity or zero: NaNs are truncated and made quiet.
    "round_bf16": """FUNCTION f32 fb_round_bf16(f32 x) {{
    const u32 b = AS_U32(x);
    return AS_F32((x != x ? b | 0x400000u : b + 0x7FFFu + (b >> 16 & 1u)) & 0xFFFF0000u);
}}""",
    "f32_of_f16": """FUNCTION f32 fb_f32_of_f16(u16 h) {{
    const u32 sign = (h & 0x8000u) << 16, m = h & 0x7FFFu;
    if (m < 0x400u) return AS_F32(sign | AS_U32((f32)m * 0x1p-24f));
    return AS_F32(sign | (m < 0x7C00u ? (m << 13) + 0x38000000u : 0x7F800000u | (m & 0x3FFu) << 13));
}}""",
    # Below 2^-14, adding 0.5 leaves the multiple of 2^-24 in the low bits of the sum, rounded to even.
    "f16_of_f32": """FUNCTION u16 fb_f16_of_f32(f32 x) {{
    const u32 b = AS_U32(x), sign = b >> 16 & 0x8000u, m = b & 0x7FFFFFFFu;
    if (m > 0x7F800000u) return (u16)(sign | 0x7E00u);
    if (m >= 0x477FF000u) return (u16)(sign | 0x7C00u);
    if (m < 0x38800000u) return (u16)(sign | (AS_U32(AS_F32(m) + 0.5f) - 0x3F000000u));
    return (u16)(sign | (m + 0xFFFu + (m >> 13 & 1u) - 0x38000000u) >> 13);
}}""",
}  # fmt: skip


class Operations:
    """Texts of operations.

    `helpers` collects the functions they call, by name, in the order they must be written. `data` holds the nodes that
    are values; integer arithmetic outside it only says where something is or how often, and can't overflow.
    """

    def __init__(self) -> None:
        self.helpers: dict[str, str] = {}
        self.data: set[Expr] = set()

    def helper(self, family: str, name: str, dtype: str = "f32", **more: str) -> str:
        if name not in self.helpers:
            unsigned = "u" + dtype[1:]
            fields = {"t": dtype, "u": unsigned, "T": dtype.upper(), "U": unsigned.upper()} | more
            self.helpers[name] = HELPERS[family].format(**fields)
        return name

    def apply(self, x: Expr, a: list[Text]) -> Text:
        """The text of node x, which is neither const, var nor load, from its arguments' texts."""
        op, dtype = x.op, x.dtype
        source = x.args[0].dtype
        kind = DTYPES[source].kind
        if kind == "c" or DTYPES[dtype].kind == "c":
            raise TypeError(f"{op}: complex values must be split into parts first, got {dtype} from {source}")
        # A compiler sees through indices that are computed plainly, and makes vectors of what they point at.
        plain = dtype == "i64" and x not in self.data
        if op in RING and kind in "ui" and not plain:
            return self.ring(RING[op], a, dtype)
        a = [typed(t, y.dtype) for t, y in zip(a, x.args, strict=True)]
        if op in RING and plain:
            return Text(f"{a[0]} {RING[op]} {a[1]}", False)
        if op == "cast":
            return self.convert(a[0], source, dtype)
        if op == "bitcast":
            return self.reinterpret(a[0], source, dtype)
        if op == "select":
            return Text(f"{a[0]} ? {a[1]} : {a[2]}", False)
        if op in COMPARE:
            return Text(f"{a[0]} {COMPARE[op]} {a[1]}", False)
        if kind == "f":
            result = self.float_operation(op, a, REGISTER[source])
            return self.quantise(result, dtype) if op in ROUNDED else result
        return self.int_operation(x, a)

    def ring(self, sign: str, a: list[Text], dtype: str) -> Text:
        """Arithmetic that wraps: unsigned, as overflow is undefined otherwise, and in 32 bits at least."""
        unsigned = "u64" if DTYPES[dtype].size == 8 else "u32"
        left = str(a[0]) if a[0].ring else f"({unsigned}){a[0]}"
        if DTYPES[dtype].kind == "u" and unsigned == dtype:
            return Text(f"{a[0]} {sign} {a[1]}", False)
        if DTYPES[dtype].size < 4:
            return Text(f"({dtype})({left} {sign} {a[1]})")
        return Text(f"{left} {sign} {a[1]}", False, True)

    def float_operation(self, op: str, a: list[Text], t: str) -> Text:
        if op in FLOAT_BINARY:
            return Text(f"{a[0]} {FLOAT_BINARY[op]} {a[1]}", False)
        if op == "neg":
            return Text(f"-{a[0]}", False)
        if op in ("min", "max"):
            return call(self.helper(f"{op}_float", f"fb_{op}_{t}", t), a)
        return call(f"{t.upper()}({FUNCTION[op]})", a)

    def int_operation(self, x: Expr, a: list[Text]) -> Text:
        op, dtype = x.op, x.dtype
        kind, size, _ = DTYPES[dtype]
        unsigned = "u64" if size == 8 else "u32"
        if op in BITWISE:
            return Text(f"{a[0]} {BITWISE[op]} {a[1]}", False)
        if op == "not":
            return Text(f"!{a[0]}" if kind == "b" else f"({dtype})~{a[0]}")
        if op == "neg":
            return Text(f"({dtype})(({unsigned})0 - {a[0]})")
        if op in ("shl", "shr"):
            by = x.args[1]
            count = str(by.attr & size * 8 - 1) if by.op == "const" else f"({a[1]} & {size * 8 - 1})"  # type: ignore[operator]
            if op == "shl":
                return Text(f"({dtype})(({unsigned}){a[0]} << {count})")
            return Text(f"({dtype}){a[0]} >> {count}", False)
        if op in ("min", "max") and kind == "b":
            return Text(f"{a[0]} {'&' if op == 'min' else '|'} {a[1]}", False)
        if op in ("min", "max", "abs"):
            return call(self.helper(op, f"fb_{op}_{dtype}", dtype), a)
        if op in ("idiv", "irem"):
            divisor = x.args[1]
            if divisor.op == "const" and divisor.attr not in (0, -1):
                return Text(f"{a[0]} {'/' if op == 'idiv' else '%'} {a[1]}", False)
            return call(self.helper(op + "_signed" * (kind == "i"), f"fb_{op}_{dtype}", dtype), a)
        raise TypeError(f"{op}: no meaning on {dtype}")

    def convert(self, a: Text, source: str, dtype: str) -> Text:
        """C's conversion, and the type's minimum where a float doesn't fit an integer."""
        kind, from_kind = DTYPES[dtype].kind, DTYPES[source].kind
        if dtype in ("f16", "bf16"):
            return a if source == dtype else self.quantise(self.convert(a, source, "f32"), dtype)
        if kind == "b":
            return Text(f"{a} != 0", False)
        if from_kind == "f" and kind in "ui":
            return self.truncate(a, REGISTER[source], dtype)
        return a if REGISTER[source] == dtype else Text(f"({dtype}){a}")

    def truncate(self, a: Text, source: str, dtype: str) -> Text:
        signed, bits = DTYPES[dtype].kind == "i", DTYPES[dtype].size * 8
        lowest = -(1 << bits - 1) if signed else 0
        # What truncates to the minimum and what is too low for it have the same result.
        limits = {
            "s": source,
            "low": literal(float(lowest), source).code,
            "high": literal(2.0 ** (bits - signed), source).code,
            "least": literal(lowest, dtype).code,
        }
        return call(self.helper("truncate", f"fb_{dtype}_of_{source}", dtype, **limits), [a])

    def reinterpret(self, a: Text, source: str, dtype: str) -> Text:
        bits, want = self.encode(a, source), MEMORY[dtype]
        have = MEMORY[source]
        if have in ("f32", "f64"):
            have, bits = "u" + have[1:], Text(f"AS_U{have[1:]}({bits.code})")
        if want in ("f32", "f64"):
            unsigned = "u" + want[1:]
            bits = bits if have == unsigned else Text(f"({unsigned}){bits}")
            return Text(f"AS_{want.upper()}({bits.code})")
        return self.decode(bits if have == want else Text(f"({want}){bits}"), dtype)

    def quantise(self, a: Text, dtype: str) -> Text:
        """A float rounded to what dtype can hold, ties to even, still a float."""
        if dtype == "bf16":
            return call(self.helper("round_bf16", "fb_round_bf16"), [a])
        return self.decode(self.encode(a, dtype), dtype) if dtype == "f16" else a

    def decode(self, a: Text, dtype: str) -> Text:
        """A register's value from what memory holds."""
        if dtype == "bool":
            return Text(f"{a} != 0", False)
        if dtype == "f16":
            return call(self.helper("f32_of_f16", "fb_f32_of_f16"), [a])
        return Text(f"AS_F32((u32){a} << 16)") if dtype == "bf16" else a

    def encode(self, a: Text, dtype: str) -> Text:
        """What memory holds for a register's value."""
        if dtype == "bool":
            return Text(f"(u8){a}")
        if dtype == "f16":
            return call(self.helper("f16_of_f32", "fb_f16_of_f32"), [a])
        return Text(f"(u16)(AS_U32({a.code}) >> 16)") if dtype == "bf16" else a


def call(name: str, a: list[Text]) -> Text:
    return Text(f"{name}({', '.join(t.code for t in a)})")


def typed(a: Text, dtype: str) -> Text:
    """The text with its own dtype, where it was unsigned on the way."""
    return Text(f"({dtype})({a.code})") if a.ring else a


def literal(value: float, dtype: str) -> Text:
    """A constant: short decimal numbers as such, other floats in hexadecimal, infinities and NaNs by their bits."""
    kind, size, _ = DTYPES[dtype]
    if kind == "b":
        return Text(str(int(value)))
    if kind in "ui":
        return integer(int(value), kind, size)
    value, t = round_float(value, dtype), REGISTER[dtype]
    if math.isnan(value) or math.isinf(value):
        bits = {"f32": "0x7FC00000u", "f64": "U64(0x7FF8000000000000)"}[t] if math.isnan(value) else {
            "f32": "0x7F800000u", "f64": "U64(0x7FF0000000000000)"}[t]  # fmt: skip
        text = f"AS_{t.upper()}({bits})"
    else:
        text = repr(abs(value))
        if len(text) > 8:
            digits, exponent = float.hex(abs(value)).split("p")
            text = f"{digits.rstrip('0').rstrip('.')}p{exponent}"
        text += "f" if t == "f32" else ""
    return Text(f"-{text}", False) if math.copysign(1, value) < 0 and not math.isnan(value) else Text(text)


def integer(value: int, kind: str, size: int) -> Text:
    if kind == "u":
        return Text(f"U64({value})" if size == 8 else f"{value}u")
    if value == -(1 << size * 8 - 1):
        return Text(f"{integer(value + 1, kind, size).code} - 1", False)
    text = f"I64({abs(value)})" if abs(value) >> 31 else str(abs(value))
    return Text(f"-{text}", False) if value < 0 else Text(text)
