"""Kernels as CUDA C: compiled by nvcc for several architectures, run on a GPU where there is one, on the CPU always.

On the CPU the text is compiled as C++ with a dozen lines that stand for CUDA's words, and each thread is a call.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
from kernels import I, pointwise, sample
from op_kernels import (
    Case,
    compare_joined,
    number_cases,
    numbered,
    on_device,
    pointwise_cases,
    reduction_cases,
    row_cases,
)

from flambeau.codegen import ccompile
from flambeau.codegen.cfamily import parameter_types, render, symbol
from flambeau.codegen.dialects import CUDA, HIP
from flambeau.device import cuda
from flambeau.ir.expr import fma, load

needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler (c++)")
SHIM = r"""
#include <math.h>
#include <string.h>
struct index3 { unsigned x, y, z; };
static index3 threadIdx, blockIdx, blockDim;
extern "C" void set_thread(unsigned block, unsigned thread, unsigned size) {
    blockIdx.x = block; threadIdx.x = thread; blockDim.x = size;
}
#define __global__
#define __device__
#define __forceinline__ inline
template <class To, class From> To same_bits(From x) { To y; memcpy(&y, &x, sizeof y); return y; }
static inline unsigned __float_as_uint(float x) { return same_bits<unsigned>(x); }
static inline float __uint_as_float(unsigned x) { return same_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return same_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return same_bits<double>(x); }
"""


def representative() -> list[Case]:
    """Every kind of kernel: f16 and bf16, all helper functions, reductions in lanes, row programs, complex numbers."""
    cases = [*row_cases("f32")][:4] + [*reduction_cases("f32")][::17] + [*reduction_cases("bf16")][5::40]
    for dtype in ("f16", "bf16", "i32", "u8", "i64", "bool", "c64", "f64", "f32"):
        cases += [*pointwise_cases(dtype)][3::45]
    return numbered([*cases, *number_cases()])


@needs_nvcc
@pytest.mark.parametrize("architecture", ["sm_75", "sm_80", "sm_90", "sm_100", "sm_120"])
def test_nvcc_compiles_for(architecture):
    if architecture not in ccompile.gpu_architectures():
        pytest.skip(f"this nvcc doesn't know {architecture}")
    text = render([c.kernel for c in representative()], CUDA)
    assert ccompile.gpu_code(text, architecture, ("--Werror", "all-warnings"))[:4] == b"\x7fELF"


@needs_nvcc
def test_products_and_sums_stay_apart_unless_fma_is_asked_for(tmp_path):
    x, y = load("x", "f32", I), load("y", "f32", I)
    for value, fused in ((x * y + x, False), (fma(x, y, x), True)):
        (tmp_path / "k.cu").write_text(render(pointwise(value, {"x": "f32", "y": "f32"}), CUDA))
        subprocess.run(["nvcc", *CUDA.flags, "-ptx", "k.cu"], cwd=tmp_path, check=True)
        assert ("fma.rn" in (tmp_path / "k.ptx").read_text()) == fused


@needs_nvcc
def test_text_that_does_not_compile_says_why():
    with pytest.raises(RuntimeError, match="undefined"):
        ccompile.gpu_code("__global__ void f(int *x) { *x = nothing; }", "sm_90")


def threads(tmp_path, text: str, cases: list[Case], flags: tuple[str, ...] = ()) -> list[Case]:
    """Copies of the cases after every thread of blocks of 32 has run on the CPU, the last first."""
    (tmp_path / "cuda.h").write_text(SHIM)
    path = str(tmp_path / "kernels.so")
    command = ["c++", "-std=c++17", "-O1", "-ffp-contract=off", "-fPIC", "-shared", *flags, "-o", path, "-xc++", "-"]
    subprocess.run(command, input=text, text=True, check=True)
    library = ctypes.CDLL(path)
    done = [c.copy() for c in cases]
    for c in done:
        function = getattr(library, symbol(c.kernel))
        function.argtypes = [cuda.TYPES.get(t, ctypes.c_void_p) for t in (*parameter_types(c.kernel), "i64", "i64")]
        values = [v.ctypes.data if isinstance(v, np.ndarray) else v for v in c.values]
        for k in reversed(range(-(-c.count // 32) * 32)):
            library.set_thread(k // 32, k % 32, 32)
            function(*values, 0, c.count)
    return done


def agree(cases: list[Case], got: list[Case]) -> None:
    wrong = [g.differs(c.expected()) for c, g in zip(cases, got, strict=True)]
    assert not any(wrong), "\n".join(filter(None, wrong))


@needs_compiler
def test_threads_on_the_cpu(tmp_path):
    cases = [c for c in representative() if not c.kernel.name.startswith("eq_number_c64")]
    text = render([c.kernel for c in cases], CUDA)
    agree(cases, threads(tmp_path, SHIM + text, cases))


@needs_compiler
def test_hip_differs_by_its_header_only(tmp_path):
    (tmp_path / "hip").mkdir()
    (tmp_path / "hip" / "hip_runtime.h").write_text(SHIM)
    cases = numbered([*row_cases("f32")][:2] + [*pointwise_cases("bf16")][7::50])
    agree(cases, threads(tmp_path, render([c.kernel for c in cases], HIP), cases, (f"-I{tmp_path}",)))


@pytest.fixture(scope="module")
def gpu():
    pytest.importorskip("cuda.bindings", reason="needs cuda-bindings")
    if cuda.device_count() == 0:
        pytest.skip("needs a GPU")
    return cuda.Device()


@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "f16", "i32", "u8", "i64", "bool"])
def test_pointwise_ops_on_a_gpu(gpu, dtype):
    cases = [c for c in pointwise_cases(dtype) if not c.kernel.name.endswith("_strided")]
    compare_joined(gpu, CUDA, cases, 24)


def test_reductions_and_row_programs_on_a_gpu(gpu):
    cases = numbered([*reduction_cases("f32"), *reduction_cases("i32"), *row_cases("f32"), *row_cases("bf16")])
    agree(cases, on_device(gpu, CUDA, cases))


def test_fewer_threads_than_a_block_has_and_none_at_all_on_a_gpu(gpu):
    x = load("x", "i32", I)
    for n in (0, 1, 255, 256, 257):
        data = sample("i32", 300, 1)
        case = Case(pointwise(x + x, {"x": "i32"}), [data, np.zeros(300, np.int32), n], n)
        (got,) = on_device(gpu, CUDA, [case])
        assert (got.values[1][:n] == data[:n] + data[:n]).all() and not got.values[1][n:].any()


def test_errors_of_a_gpu(gpu):
    with pytest.raises(MemoryError, match="allocating"):
        gpu.allocate(1 << 62)
    with pytest.raises(RuntimeError, match="looking up nothing"):
        gpu.launch(gpu.compile('extern "C" __global__ void f(long long, long long) {}'), "nothing", [], [], 1)


def test_nvrtc_compiles_without_a_gpu():
    pytest.importorskip("cuda.bindings", reason="needs cuda-bindings")
    text = render([c.kernel for c in representative()[:6]], CUDA)
    try:
        image = cuda.compile(text, "sm_90", CUDA.flags)
    except RuntimeError as error:
        if "nvrtc" not in str(error).lower() or "compiling" in str(error):
            raise
        pytest.skip("needs NVRTC")
    assert image[:4] == b"\x7fELF"
    with pytest.raises(RuntimeError, match="compiling for sm_90 failed"):
        cuda.compile("int x = nothing;", "sm_90")


def test_no_gpu_is_said_so():
    pytest.importorskip("cuda.bindings", reason="needs cuda-bindings")
    with pytest.raises(RuntimeError, match="device 99 asked for"):
        cuda.Device(99)
