"""What Exprs and Kernels mean, in plain Python: the oracle every renderer's tests compare with, bit for bit.

Slow and exact. Values are NumPy scalars or arrays; f16 and bf16 are float32 values the type can hold, and their
buffers are uint16 arrays of bits. Imports ir and NumPy. Read next: `verify.py`, then any renderer in `codegen`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from .complex_functions import lower
from .expr import DTYPES, Expr, postorder
from .functions import expand
from .kernel import Buffer, For, If, Kernel, Let, Reduce, Statement, Store, rewrite

NUMPY: dict[str, Any] = {
    "bool": np.bool_, "u8": np.uint8, "i8": np.int8, "i16": np.int16, "u16": np.uint16, "i32": np.int32,
    "u32": np.uint32, "i64": np.int64, "u64": np.uint64, "f16": np.float32, "bf16": np.float32, "f32": np.float32,
    "f64": np.float64, "c64": np.complex64, "c128": np.complex128,
}  # fmt: skip
MEMORY = NUMPY | {"f16": np.uint16, "bf16": np.uint16}

Env = Mapping[str, Any]


def evaluate(x: Expr, env: Env) -> Any:
    """The value of x, where `env` holds its variables by name, and the arrays it loads from."""
    return evaluate_all((x,), env)[0]


def evaluate_all(roots: Sequence[Expr], env: Env) -> list[Any]:
    """The values of several Exprs at once."""
    roots = expand(lower(tuple(roots)))
    known: dict[Expr, Any] = {}
    with np.errstate(all="ignore"):
        for x in postorder(*roots):
            known[x] = operation(x, [known[a] for a in x.args], env)
    return [known[r] for r in roots]


def operation(x: Expr, a: list[Any], env: Env) -> Any:
    op, dtype = x.op, x.dtype
    kind = DTYPES[dtype].kind
    if op == "const":
        value: Any = x.attr
        return quantise(np.float64(value), dtype) if kind == "f" else NUMPY[dtype](value)
    if op == "var":
        return env[str(x.attr)]
    if op == "load":
        return decode(env[str(x.attr)][a[0]], dtype)
    if op == "cast":
        return convert(a[0], x.args[0].dtype, dtype)
    if op == "bitcast":
        return decode(encode(a[0], x.args[0].dtype).view(MEMORY[dtype]), dtype)
    if op == "select":
        return np.where(a[0], a[1], a[2])[()]
    if op in ("complex", "real", "imag"):
        return join(*a) if op == "complex" else getattr(a[0], op)
    if op in COMPARE:
        return COMPARE[op](*a)
    if kind == "f":
        return quantise(FLOAT[op](*a), dtype)
    if kind == "c":
        return COMPLEX[op](*a)
    return NUMPY[dtype](INTEGER[op](*a)) if np.ndim(a[0]) == 0 else INTEGER[op](*a).astype(NUMPY[dtype])


def fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c rounded once."""
    if np.result_type(a) == np.float64:
        exact = np.frompyfunc(fma_exact, 3, 1)
        return np.float64(exact(a, b, c))
    # In double the product is exact; the sum is rounded to odd, after which rounding to single is right.
    product, addend = np.float64(a) * np.float64(b), np.float64(c)
    total = product + addend
    back = total - product
    error = (product - (total - back)) + (addend - back)
    bits = np.asarray(total).view(np.int64)
    away = np.sign(error) * np.sign(total) > 0
    inexact = np.isfinite(total) & np.isfinite(error) & (error != 0) & (bits & 1 == 0)
    return np.asarray(np.where(inexact, bits + np.where(away, 1, -1), bits).view(np.float64)).astype(np.float32)[()]


def fma_exact(a: float, b: float, c: float) -> float:
    if not np.isfinite([a, b, c]).all():
        return float(np.float64(a) * np.float64(b) + np.float64(c)) if np.isfinite([a, b]).all() else a * b + c
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if exact == 0:
        return float(np.float64(a) * np.float64(b) + np.float64(c)) if 0 in (a, b) else 0.0
    try:
        return exact.numerator / exact.denominator
    except OverflowError:
        return np.inf if exact > 0 else -np.inf


def extreme(pick: Any, a: Any, b: Any, negative: bool) -> Any:
    """min or max: NumPy's, and -0.0 < +0.0."""
    ordered = np.where(np.signbit(a) == negative, a, b)
    return np.where((a == 0) & (b == 0), ordered, pick(a, b))[()]


def int_divide(a: Any, b: Any) -> Any:
    """Towards zero; x idiv 0 is 0, and the lowest number idiv -1 is itself."""
    low = np.iinfo(np.result_type(a)).min
    safe = np.where((b == 0) | ((a == low) & (b == -1) & (low < 0)), np.ones_like(b), b)
    quotient = a // safe
    quotient = quotient + ((quotient * safe != a) & ((a < 0) != (safe < 0))).astype(quotient.dtype)
    return np.where(b == 0, np.zeros_like(a), quotient)[()]


def shift(pick: Any, a: Any, b: Any) -> Any:
    return pick(a, b & np.result_type(b).type(np.result_type(a).itemsize * 8 - 1))


def join(real: Any, imag: Any) -> Any:
    """A complex number of its parts, with nothing computed on the way."""
    real, imag = np.broadcast_arrays(real, imag)
    return np.stack((real, imag), -1).view(np.result_type(real, np.complex64))[..., 0][()]


def complex_multiply(x: Any, y: Any) -> Any:
    return join(x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real)


def complex_divide(x: Any, y: Any) -> Any:
    """Smith's algorithm, in which the greater part of the divisor divides; NumPy's rule for a divisor of 0."""
    if np.ndim(x) or np.ndim(y):
        return np.array([complex_divide(*pair) for pair in np.broadcast(x, y)]).reshape(np.broadcast(x, y).shape)
    a, b, c, d = x.real, x.imag, y.real, y.imag
    if c == 0 and d == 0:
        return join(a / abs(c), b / abs(c))
    if abs(c) >= abs(d) or np.isnan(c) or np.isnan(d):
        ratio = d / c
        return join((a + b * ratio) / (c + d * ratio), (b - a * ratio) / (c + d * ratio))
    ratio = c / d
    return join((b + a * ratio) / (d + c * ratio), (b * ratio - a) / (d + c * ratio))


COMPARE: dict[str, Any] = {"lt": np.less, "le": np.less_equal, "eq": np.equal, "ne": np.not_equal}
FLOAT: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "abs": np.abs,
    "min": lambda a, b: extreme(np.minimum, a, b, True), "max": lambda a, b: extreme(np.maximum, a, b, False),
    "fma": fma, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.rint,
}  # fmt: skip
COMPLEX: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "neg": np.negative, "mul": complex_multiply, "div": complex_divide,
}  # fmt: skip
INTEGER: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "abs": np.abs,
    "min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "not": np.invert, "idiv": int_divide, "irem": lambda a, b: a - int_divide(a, b) * b,
    "shl": lambda a, b: shift(np.left_shift, a, b), "shr": lambda a, b: shift(np.right_shift, a, b),
}  # fmt: skip


def quantise(x: Any, dtype: str) -> Any:
    """A float rounded once to what dtype can hold."""
    if dtype == "f16":
        return np.float32(np.float16(x))
    if dtype != "bf16":
        return NUMPY[dtype](x)
    # From double a detour through single must not round twice; every float32 passes it unchanged.
    _, exponent = np.frexp(np.float64(x))
    step = np.ldexp(1.0, np.maximum(exponent - 8, -133))
    rounded = np.where(np.isfinite(x), np.rint(np.float64(x) / step) * step, np.float64(x))
    return np.asarray(np.copysign(rounded, x)).astype(np.float32)[()]


def convert(x: Any, source: str, dtype: str) -> Any:
    """The conversion `cast` stands for."""
    kind, from_kind = DTYPES[dtype].kind, DTYPES[source].kind
    if dtype in ("f16", "bf16"):
        return quantise(np.float32(x), dtype)
    if kind == "b":
        return x != 0
    if kind in "ui" and from_kind == "f":
        low, high = float(np.iinfo(NUMPY[dtype]).min), 2.0 ** (DTYPES[dtype].size * 8 - (kind == "i"))
        whole = np.trunc(np.float64(x))
        fits = (whole >= low) & (whole < high)
        return np.where(fits, np.where(fits, whole, 0).astype(NUMPY[dtype]), NUMPY[dtype](low))[()]
    return np.asarray(x).astype(NUMPY[dtype])[()]


def decode(bits: Any, dtype: str) -> Any:
    """The value of what a buffer holds."""
    if dtype == "f16":
        return np.asarray(bits).view(np.float16).astype(np.float32)[()]
    if dtype == "bf16":
        return (np.asarray(bits).astype(np.uint32) << np.uint32(16)).view(np.float32)[()]
    return bits


def encode(x: Any, dtype: str) -> Any:
    """What a buffer holds for a value."""
    if dtype == "f16":
        return np.asarray(np.float16(x)).view(np.uint16)[()]
    if dtype == "bf16":
        return (np.asarray(x, np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)[()]
    return NUMPY[dtype](x) if np.ndim(x) == 0 else x


def run(kernel: Kernel, args: Sequence[Any], begin: int, end: int) -> None:
    """Runs iterations begin … end - 1 of the kernel's parallel loop; `args` holds arrays and numbers in its order."""
    kernel = rewrite(kernel, lambda roots: expand(lower(roots)))
    env: dict[str, Any] = {}
    for p, value in zip(kernel.params, args, strict=True):
        env[p.name] = value.view(MEMORY[p.dtype]) if isinstance(p, Buffer) else NUMPY[p.dtype](value)
    dtypes = {p.name: p.dtype for p in kernel.params if isinstance(p, Buffer)}
    block(kernel.body, env, dtypes, (begin, end))


def block(body: Sequence[Statement], env: dict[str, Any], dtypes: dict[str, str], part: tuple[int, int]) -> None:
    for s in body:
        if isinstance(s, Let):
            env[str(s.var.attr)] = evaluate(s.value, env)
        elif isinstance(s, Store):
            index, value = evaluate_all((s.index, s.value), env)
            env[s.buffer][index] = encode(value, dtypes[s.buffer])
        elif isinstance(s, If):
            if evaluate(s.condition, env):
                block(s.body, env, dtypes, part)
        elif isinstance(s, For):
            start, stop = (int(v) for v in evaluate_all((s.start, s.stop), env))
            for i in range(start + part[0], start + part[1]) if s.parallel else range(start, stop):
                env[str(s.var.attr)] = np.int64(i)
                block(s.body, env, dtypes, part)
        else:
            reduce(s, env, dtypes, part)


def reduce(s: Reduce, env: dict[str, Any], dtypes: dict[str, str], part: tuple[int, int]) -> None:
    names = [str(a.var.attr) for a in s.accumulators]
    start, stop = (int(v) for v in evaluate_all((s.start, s.stop), env))
    lanes = [evaluate_all([a.init for a in s.accumulators], env) for _ in range(s.lanes)]
    for k in range(start, stop):
        lane = (k - start) % s.lanes
        env.update(zip(names, lanes[lane], strict=True))
        env[str(s.var.attr)] = np.int64(k)
        block(s.body, env, dtypes, part)
        lanes[lane] = evaluate_all(s.step, env)
    while len(lanes) > 1:
        half = len(lanes) // 2
        for k in range(half):
            env.update(zip(names, lanes[k], strict=True))
            env.update(zip((str(o.attr) for o in s.others), lanes[k + half], strict=True))
            lanes[k] = evaluate_all(s.merge, env)
        lanes = lanes[:half]
    env.update(zip(names, lanes[0], strict=True))
