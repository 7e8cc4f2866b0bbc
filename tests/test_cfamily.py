"""Kernels as C99: every shape of kernel, random Exprs, conversions, names; the bits of LLVM and the interpreter.

Many kernels share a file and a run of the compiler. The whole op table is in test_cfamily_ops.py.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import test_llvm
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kernels import ARITHMETIC, REAL, ZERO, I, N, exprs, pointwise, row_reduce, same, sample, slot
from op_kernels import Case, compare, library, numbered, pointwise_cases, reduction_cases, row_cases

import flambeau as fb
from flambeau.codegen import ccompile
from flambeau.codegen.cfamily import parameter_types, render, symbol
from flambeau.codegen.dialects import C99, CUDA, OPENCL
from flambeau.core import _core
from flambeau.ir.expr import DTYPES, PRIMITIVES, cast, const, load, node, var
from flambeau.ir.interpret import MEMORY, encode, evaluate
from flambeau.ir.kernel import Accumulator, Buffer, For, If, Kernel, Let, Reduce, Scalar, Store

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (cc)")
EXACT = {"sqrt", "fma", "floor", "ceil", "trunc", "rint"}


def recorded(monkeypatch, *tests) -> list[Case]:
    """What tests of the LLVM renderer check, as cases."""
    kernels: dict[Kernel, Kernel] = {}
    cases = []

    def record(kernel, arrays, numbers, begin, end):
        own = kernels.setdefault(kernel, kernel.__class__(f"{kernel.name}_{len(kernels)}", kernel.params, kernel.body))
        values = {n: a.copy() for n, a in arrays.items()} | numbers
        cases.append(Case(own, [values[p.name] for p in kernel.params], end, begin))

    monkeypatch.setattr(test_llvm, "check", record)
    for test in tests:
        test()
    return cases


def test_every_shape_of_kernel(monkeypatch):
    """All statements, all ways of reading and writing, every length about the number of lanes, complex numbers."""
    T = test_llvm
    both = (False, True)
    cases = recorded(
        monkeypatch,
        *(lambda d=d, f=f, n=n: T.test_row_reductions_of_every_length(d, f, n)
          for d, f, n in (("f32", "sum", 16), ("f32", "max", 16), ("f64", "sum of squares", 4), ("f32", "sum", 1))),
        T.test_integer_and_boolean_reductions,
        *(lambda c=c, n=n: T.test_order_of_merging(c, n) for c in both for n in (16, 4)),
        *(lambda c=c: T.test_two_accumulators(c) for c in both),
        T.test_columns_in_several_tiles_and_passes,
        T.test_softmax_and_layer_norm_rows,
        T.test_scans_in_rows_and_columns,
        *(lambda d=d, at=at: T.test_ways_of_reading(d, at) for d in ("f32", "bool", "bf16")
          for at in ("i + 3", "n - 1 - i", "2 i", "s i", "constant", "i // 3", "gather")),
        *(lambda d=d: T.test_ways_of_writing(d) for d in ("f32", "u8", "bool")),
        T.test_loads_follow_stores_of_the_same_buffer,
        T.test_reductions_of_reductions_and_loops_a_lane_decides,
        T.test_scalar_parameters_of_every_dtype,
        *(lambda d=d: T.test_complex_arithmetic(d) for d in ("c64", "c128")),
    )  # fmt: skip
    address = library({c.kernel: None for c in cases}, "-O2")
    assert len(cases) > 300
    for c in cases:
        assert not (wrong := c.call(address(c.kernel)).differs(c.expected())), wrong


def test_conditions_guard_their_reads():
    """What stands behind a false condition is never read: null pointers show it."""
    x = load("x", "f32", I)
    value = load("y", "f32", I) + load("one", "f32", ZERO)
    params = (Buffer("x", "f32"), Buffer("y", "f32"), Buffer("one", "f32"), Buffer("out", "f32", "w"), Scalar("n"))
    kernel = Kernel("guard", params, (For(I, ZERO, N, (If(x < 0.0, (Store("out", I, value),)),), True, True),))
    data = np.linspace(-1, 1, 37, dtype=np.float32)
    good = Case(kernel, [data, data, data, np.zeros(37, np.float32), 37], 37)
    compare([good])
    Case(kernel, [abs(data), 0, 0, np.zeros(37, np.float32), 37], 37).call(library([kernel])(kernel))


def test_random_expressions():
    values: list = []

    @settings(max_examples=250, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(data=st.data())
    def collect(data):
        dtype = data.draw(st.sampled_from(REAL))
        inputs = {f"x{k}": data.draw(st.sampled_from(REAL)) for k in range(3)} | {"x3": dtype}
        leaves: dict = {}
        for name, d in inputs.items():
            leaves.setdefault(d, []).append(load(name, d, I))
        values.append((data.draw(exprs(leaves, dtype, 8)), inputs))

    collect()
    n = 40
    kernels = [pointwise(value, inputs, f"random{k}") for k, (value, inputs) in enumerate(values)]
    address = library(kernels, "-O1")
    for kernel, (value, inputs) in zip(kernels, values, strict=True):
        arrays = {name: sample(d, n, 7 + k) for k, (name, d) in enumerate(inputs.items())}
        with np.errstate(all="ignore"):
            want = encode(evaluate(value, arrays | {"i": np.arange(n)}), value.dtype)
        want = np.broadcast_to(want, n).astype(MEMORY[value.dtype])
        got = Case(kernel, [*arrays.values(), np.empty_like(want), n], n).call(address(kernel)).outputs()[0][1]
        assert same(got, want, value.dtype), (kernel, got, want)


def test_every_conversion_at_its_limits():
    pairs = [(s, d) for s in REAL for d in REAL if s != d]
    kernels = {(s, d): pointwise(cast(load("x", s, I), d), {"x": s}, f"{s}_to_{d}") for s, d in pairs}
    address = library(kernels.values(), "-O2")
    for (source, dtype), kernel in kernels.items():
        x = test_llvm.corners(source)
        want = encode(evaluate(cast(load("x", source, I), dtype), {"x": x, "i": np.arange(len(x))}), dtype)
        case = Case(kernel, [x, np.empty(len(x), MEMORY[dtype]), len(x)], len(x))
        assert same(case.call(address(kernel)).outputs()[0][1], want, dtype), (source, dtype)


CORNERS = {
    "f": [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-40, -1e-45, 3e38, -3e38, 65504.0],
    "i": [0, 1, -1, 2, -2, 7, 8, 31, 32, 63, 64, 100],
    "u": [0, 1, 2, 7, 8, 31, 32, 63, 64, 100, 255],
    "b": [False, True],
}


def corner_pairs(dtype: str) -> np.ndarray:
    """Three arrays whose rows are all triples of corner values, the type's limits among them."""
    kind = DTYPES[dtype].kind
    values = np.array(CORNERS[kind], float if kind == "f" else None)
    if kind in "iu":
        limits = np.iinfo(MEMORY[dtype])
        values = np.concatenate([values.astype(MEMORY[dtype]), np.array([limits.min, limits.max], MEMORY[dtype])])
    with np.errstate(all="ignore"):
        values = encode(values.astype(np.float32) if dtype in ("f16", "bf16") else values.astype(MEMORY[dtype]), dtype)
    return np.stack(np.meshgrid(values, values, values[:5], indexing="ij")).reshape(3, -1)


def corner_cases(dtypes: list[str]) -> tuple[list[Case], list[np.ndarray]]:
    """Every primitive on all pairs of corners, and the interpreter's results."""
    cases, wants = [], []
    for dtype in dtypes:
        arrays = dict(zip("xyz", corner_pairs(dtype), strict=True))
        loads = [load(name, dtype, I) for name in arrays]
        comparisons = ["eq", "ne"] + ["lt", "le"] * (dtype != "bool")
        for op in ARITHMETIC[DTYPES[dtype].kind] + comparisons:
            value = node(op, "bool" if op in comparisons else dtype, tuple(loads[: PRIMITIVES[op]]))
            n = len(arrays["x"])
            with np.errstate(all="ignore"):
                wants.append(encode(evaluate(value, arrays | {"i": np.arange(n)}), value.dtype))
            kernel = pointwise(value, dict.fromkeys(arrays, dtype), f"{op}_{dtype}")
            cases.append(Case(kernel, [*arrays.values(), np.empty(n, MEMORY[value.dtype]), n], n))
    return cases, wants


def test_every_primitive_at_the_corners():
    """All pairs of limits, zeros, infinities, NaN, -1 and counts beyond the width; triples for fma."""
    cases, wants = corner_cases(REAL)
    for level in ("-O0", "-O3"):
        address = library([c.kernel for c in cases], level)
        for c, want in zip(cases, wants, strict=True):
            ((dtype, got),) = c.call(address(c.kernel)).outputs()
            assert same(got, want, dtype), (c.kernel.name, level)


def test_names_that_mean_something_in_c():
    """Variables and kernels may be called anything, words of the dialects and of the text's own included."""
    names = [
        "for",
        "half",
        "begin",
        "end",
        "args",
        "_1",
        "fb_min_f32",
        "i32",
        "kernel",
        "blockIdx",
        "acc_1",
        "PARALLEL",
    ]
    names += ["sqrt", "acc_", "static"]
    loop, acc = var("while"), var("acc", "f32")
    total = sum((var(n, "f32") for n in names[1:]), const(0.0, "f32"))
    fold = Reduce(var("lane_1"), ZERO, const(20, "i64"), (Accumulator(acc, const(0.0, "f32")),), (acc + total,),
                  (acc + var("block_1", "f32"),), (var("block_1", "f32"),))  # fmt: skip
    body = (Let(var("int", "f32"), load("for", "f32", loop)), fold, Store("double", loop, acc * var("int", "f32")))
    params = (Buffer("for", "f32"), Buffer("double", "f32", "w"), *(Scalar(n, "f32") for n in names[1:]), Scalar("n"))
    kernel = Kernel("exp", params, (For(loop, ZERO, N, body, True),))
    numbers = [np.float32(k + 0.5) for k in range(len(names) - 1)]
    compare([Case(kernel, [sample("f32", 20, 1), np.zeros(20, np.float32), *numbers, 20], 20)])
    dotted = pointwise(load("x", "f32", I) + 1.0, {"x": "f32"}, "special.entr")
    compare([Case(dotted, [sample("f32", 5, 1), np.zeros(5, np.float32), 5], 5)])


def test_the_typed_function_and_the_types_it_takes():
    x = load("x", "bf16", I)
    kernel = Kernel(
        "scale", (Buffer("x", "bf16"), Buffer("y", "f32", "w"), Scalar("a", "f32"), Scalar("n")),
        (For(I, ZERO, N, (Store("y", I, cast(x, "f32") * var("a", "f32")),), True, True),),
    )  # fmt: skip
    assert parameter_types(kernel) == ["u16 *", "f32 *", "f32", "i64"]
    text = render(kernel, C99)
    assert "KERNEL k_scale(GLOBAL const u16 *x, GLOBAL f32 *y, f32 a, i64 n, i64 begin, i64 end) {" in text
    data, out = sample("bf16", 9, 1), np.zeros(9, np.float32)
    types = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_float, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    ctypes.CFUNCTYPE(None, *types)(library([kernel])(kernel, ""))(data.ctypes.data, out.ctypes.data, 2.5, 9, 2, 7)
    want = (data.astype(np.uint32) << 16).view(np.float32) * np.float32(2.5)
    assert same(out[2:7], want[2:7], "f32") and not out[:2].any() and not out[7:].any()


def test_the_runtime_runs_the_slots_function():
    kernel = row_reduce(*test_llvm.FOLDS["sum"])
    address = library([kernel])(kernel)
    x = fb.randn(300, 40)
    out = fb.zeros(300)
    _core.launch(address, (x, out, 40, 300), 300, 7, 12000)
    assert same(out.numpy(), x.sum(1).numpy(), "f32")


def test_only_exact_functions_of_the_library_are_called(tmp_path):
    """No exp, no pow, no memcpy: the object refers to nothing whose result a C library may choose."""
    if shutil.which("nm") is None:
        pytest.skip("needs nm")
    kernels = [c.kernel for d in ("f32", "f64", "bf16") for c in pointwise_cases(d)][::4]
    cases = numbered(Case(k, [], 0) for k in kernels)
    (tmp_path / "k.c").write_text(render([c.kernel for c in cases], C99))
    subprocess.run(["cc", *C99.flags, "-O0", "-c", "k.c"], cwd=tmp_path, check=True)
    listed = subprocess.run(
        ["nm", "-u", "k.o"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout.split()
    outside = set(listed) - {"U", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
    assert {"fma", "fmaf"} <= outside <= EXACT | {f + "f" for f in EXACT}


def test_the_text_is_the_same_in_every_dialect():
    kernel = next(c.kernel for c in row_cases("f32"))
    bodies = [render(kernel, d).partition("KERNEL k_softmax")[2].partition("\n}\n")[0] for d in (C99, CUDA, OPENCL)]
    assert bodies[0] == bodies[1] == bodies[2] != ""


def test_a_compiler_that_fails_says_why(tmp_path):
    with pytest.raises(RuntimeError, match="expected"):
        ccompile.shared_library("int x = ;", str(tmp_path / "x.so"))
    with pytest.raises(FileNotFoundError, match="no-such-compiler"):
        ccompile.shared_library("int x;", str(tmp_path / "x.so"), compiler="no-such-compiler")


def test_fast_math_is_refused(tmp_path):
    text = render(pointwise(load("x", "f32", I) + 1.0, {"x": "f32"}), C99)
    with pytest.raises(RuntimeError, match="no -ffast-math"):
        ccompile.shared_library(text, str(tmp_path / "x.so"), ("-ffast-math",))


SANITIZED = """
import ctypes, pickle, sys
import numpy as np
library = ctypes.CDLL(sys.argv[1])
for name, values, count in pickle.load(open(sys.argv[2], "rb")):
    slots = [v.ctypes.data if isinstance(v, np.ndarray) else v for v in values]
    function = getattr(library, name)
    function((ctypes.c_int64 * len(slots))(*slots), ctypes.c_int64(0), ctypes.c_int64(count))
print("done")
"""


def sanitized(tmp_path: Path, cases: list[Case]) -> subprocess.CompletedProcess:
    """The cases run in a process of their own, under the address and undefined-behaviour sanitizers."""
    runtime = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    if not os.path.isabs(runtime):
        pytest.skip("the C compiler has no address sanitizer")
    path = str(tmp_path / "kernels.so")
    flags = ("-O1", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
    ccompile.shared_library(render([c.kernel for c in cases], C99), path, flags)
    with open(tmp_path / "cases", "wb") as f:
        slots = [[v if isinstance(v, np.ndarray) else slot(v) for v in c.values] for c in cases]
        pickle.dump([(symbol(c.kernel) + "_slots", s, c.count) for c, s in zip(cases, slots, strict=True)], f)
    environment = os.environ | {"LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    command = [sys.executable, "-c", SANITIZED, path, str(tmp_path / "cases")]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_nothing_undefined_happens(tmp_path):
    """Overflow, shifts, division, conversions, bounds: the sanitizers find nothing to say."""
    cases, _ = corner_cases(["i8", "i32", "i64", "u32"])
    cases += [*pointwise_cases("i32")][::6] + [*pointwise_cases("i64")][1::6]
    cases += [*reduction_cases("i16")][::7] + [*reduction_cases("f32")][::7] + [*row_cases("bf16")][:2]
    for s, d in ((s, d) for s in ("f32", "f64", "i64") for d in REAL if s != d):
        kernel = pointwise(cast(load("x", s, I), d), {"x": s})
        cases.append(Case(kernel, [test_llvm.corners(s)[:150], np.empty(150, MEMORY[d]), 150], 150))
    done = sanitized(tmp_path, numbered(cases))
    assert done.stdout == "done\n", done.stderr[-3000:]


def test_the_sanitizers_would_speak(tmp_path):
    kernel = pointwise(load("x", "i32", I + 1), {"x": "i32"})
    done = sanitized(tmp_path, [Case(kernel, [np.zeros(300, np.int32), np.zeros(300, np.int32), 300], 300)])
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
