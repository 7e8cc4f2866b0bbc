"""Random Exprs and small kernels for the tests of the IR and the renderers, and a way to call compiled images.

Imports hypothesis, NumPy, `flambeau.ir` and the loader. Used by test_kernel_ir.py, test_llvm.py and test_cache.py.
"""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
from hypothesis import strategies as st

from flambeau.ir import expr as E
from flambeau.ir.expr import DTYPES, Expr, const, load, node, var
from flambeau.ir.interpret import MEMORY
from flambeau.ir.kernel import Accumulator, Buffer, For, Kernel, Reduce, Scalar, Store

ZERO = const(0, "i64")
I, K, N, M = var("i"), var("k"), var("n"), var("m")
REAL = [d for d in DTYPES if DTYPES[d].kind != "c"]
ARITHMETIC = {
    "f": ["add", "sub", "mul", "div", "min", "max", "fma", "neg", "abs", "sqrt", "floor", "ceil", "trunc", "round"],
    "i": ["add", "sub", "mul", "idiv", "irem", "min", "max", "neg", "abs", "and", "or", "xor", "not", "shl", "shr"],
    "u": ["add", "sub", "mul", "idiv", "irem", "min", "max", "and", "or", "xor", "not", "shl", "shr"],
    "b": ["and", "or", "xor", "not"],
}
SPECIAL = {
    "f": [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.5, np.inf, -np.inf, np.nan, 1e-40, 1e-45, 65504.0, 65520.0, 3e38, 255.5,
          -128.5, 2147483520.0, 2147483648.0, -2147483648.0, 4294967040.0, 9.2e18, 9.3e18, -9.3e18, 1.8446742e19, 6e-8],
    "i": [0, 1, -1, 2, 7, -8, 31, 100, -128, 127], "u": [0, 1, 2, 7, 31, 128, 255], "b": [False, True],
}  # fmt: skip


def sample(dtype: str, n: int, seed: int) -> np.ndarray:
    """n values of a buffer of this dtype: special ones among random ones."""
    rng = np.random.default_rng(seed)
    kind, size = DTYPES[dtype].kind, DTYPES[dtype].size
    if kind == "b":
        return rng.integers(0, 2, n).astype(bool)
    if kind in "ui":
        whole = np.frombuffer(rng.bytes(n * size), MEMORY[dtype]).copy()
        small = rng.choice(SPECIAL[kind], n).astype(MEMORY[dtype])
        limits = np.iinfo(MEMORY[dtype])
        extremes = rng.choice(np.array([limits.min, limits.max], MEMORY[dtype]), n)
        return np.select([rng.random(n) < 0.5, rng.random(n) < 0.7], [small, whole], extremes)
    with np.errstate(all="ignore"):
        usual = rng.standard_normal(n) * 10 ** rng.uniform(-3, 3, n)
        values = np.where(rng.random(n) < 0.4, rng.choice(SPECIAL["f"], n), usual)
        if dtype == "f16":
            return values.astype(np.float16).view(np.uint16)
        if dtype == "bf16":
            return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        return values.astype(MEMORY[dtype])


@st.composite
def exprs(draw: st.DrawFn, leaves: dict[str, list[Expr]], dtype: str, size: int = 6) -> Expr:
    """An Expr of this dtype over the leaves (Exprs by dtype), of about `size` operations."""
    kind = DTYPES[dtype].kind
    if size <= 0 or draw(st.integers(0, 9)) == 0:
        if dtype in leaves and draw(st.integers(0, 3)):
            return draw(st.sampled_from(leaves[dtype]))
        value = draw(st.sampled_from(SPECIAL[kind]))
        if kind in "iu":
            value = int(np.clip(value, np.iinfo(MEMORY[dtype]).min, np.iinfo(MEMORY[dtype]).max))
        return const(value, dtype)
    choice = draw(st.integers(0, 9))
    if choice < 2:
        return E.cast(draw(exprs(leaves, draw(st.sampled_from(REAL)), size - 1)), dtype)
    if choice == 2:
        parts = [draw(exprs(leaves, d, size // 3)) for d in ("bool", dtype, dtype)]
        return node("select", dtype, tuple(parts))
    if choice == 3 and dtype in ("f32", "i32", "u32", "f64", "i64", "u64"):
        other = draw(st.sampled_from([d for d in REAL if DTYPES[d].size == DTYPES[dtype].size and d != dtype]))
        x = draw(exprs(leaves, other, size - 1))
        # Which NaN an operation gives is not specified, so no NaN's bits may be looked at.
        return E.bitcast(node("select", other, (E.eq(x, x), x, const(0, other))), dtype)
    if dtype == "bool" and choice < 8:
        other = draw(st.sampled_from(REAL))
        a, b = draw(exprs(leaves, other, size // 2)), draw(exprs(leaves, other, size // 2))
        return node(draw(st.sampled_from(["lt", "le", "eq", "ne"])), "bool", (a, b))
    op = draw(st.sampled_from(ARITHMETIC[kind]))
    arity = E.PRIMITIVES[op]
    return node(op, dtype, tuple(draw(exprs(leaves, dtype, (size - 1) // arity)) for _ in range(arity)))


def pointwise(value: Expr, inputs: dict[str, str], name: str = "k", stream: bool = False) -> Kernel:
    """out[i] = value, for inputs (name: dtype) that value loads from."""
    params = (*(Buffer(x, d) for x, d in inputs.items()), Buffer("out", value.dtype, "w"), Scalar("n"))
    return Kernel(name, params, (For(I, ZERO, N, (Store("out", I, value, stream),), True, True),))


def row_reduce(step, merge, init: float, dtype: str = "f32", lanes: int = 16) -> Kernel:
    """out[i] = reduction over k < m of x[i * m + k]; step(acc, x) and merge(acc, other) make Exprs."""
    acc, other = var("acc", dtype), var("other", dtype)
    x = load("x", dtype, I * M + K)
    merging = ((merge(acc, other),), (other,)) if lanes > 1 else ((), ())
    fold = Reduce(K, ZERO, M, (Accumulator(acc, const(init, dtype)),), (step(acc, x),), *merging, lanes)
    params = (Buffer("x", dtype), Buffer("out", dtype, "w"), Scalar("m"), Scalar("n"))
    return Kernel("rows", params, (For(I, ZERO, N, (fold, Store("out", I, acc)), True),))


_images: list[mmap.mmap] = []


def callable_image(image: bytes):
    """f(args, begin, end) for a flat image; args are arrays and numbers."""
    memory = mmap.mmap(-1, len(image), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(image)
    _images.append(memory)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(address)

    def call(args, begin, end):
        slots = [a.ctypes.data if isinstance(a, np.ndarray) else slot(a) for a in args]
        function((ctypes.c_int64 * len(slots))(*slots), begin, end)

    return call


def slot(value) -> int:
    """A scalar argument as the kernel ABI passes it."""
    if isinstance(value, float | np.floating):
        value = np.float64(value) if isinstance(value, float) else value
        return int(np.frombuffer(value.tobytes().ljust(8, b"\0"), np.int64)[0])
    return int(np.int64(np.uint64(value))) if isinstance(value, np.uint64) else int(value)


def same(a: np.ndarray, b: np.ndarray, dtype: str) -> bool:
    """Equal bit for bit, any NaN being equal to any other."""
    if dtype in ("f16", "bf16"):
        limit = 0x7C00 if dtype == "f16" else 0x7F80
        nans = ((a & 0x7FFF) > limit) & ((b & 0x7FFF) > limit)
    else:
        nans = (a != a) & (b != b)
    if a.dtype.kind == "c":
        return same(a.view(f"f{a.itemsize // 2}"), b.view(f"f{a.itemsize // 2}"), dtype)
    return bool(np.all(nans | (a.view(f"u{a.itemsize}") == b.view(f"u{b.itemsize}"))))
