"""Kernels as OpenCL C on whatever device there is (PoCL runs them on the CPU): the bits of the CPU's kernels.

PoCL takes a quarter of a second over each kernel, so pointwise ops are put together, many to a kernel.
"""

from __future__ import annotations

import numpy as np
import pytest
import test_llvm
from kernels import I, pointwise, sample
from op_kernels import Case, compare_joined, numbered, on_device, pointwise_cases, reduction_cases, row_cases

from flambeau.codegen.dialects import OPENCL
from flambeau.device import opencl
from flambeau.ir.expr import fma, load

TOGETHER = 24  # so that parameters fit in the 1024 bytes every device has


@pytest.fixture(scope="module")
def device():
    pytest.importorskip("pyopencl")
    if not opencl.devices():
        pytest.skip("needs an OpenCL device, such as PoCL")
    return opencl.Device()


@pytest.fixture
def exact(device):
    if device.differences():
        pytest.skip(f"{device.device.name}: {', '.join(device.differences())}")
    return device


def compare(device, cases: list[Case]) -> None:
    wrong = [got.differs(c.expected()) for c, got in zip(cases, on_device(device, OPENCL, cases), strict=True)]
    assert not any(wrong), "\n".join(filter(None, wrong))


@pytest.mark.parametrize(
    "dtype,every",
    [("f32", 1), ("f64", 4), ("bf16", 4), ("f16", 6), ("i32", 1), ("u8", 3), ("i64", 3), ("bool", 3)],
)
def test_pointwise_ops_and_their_backward(exact, dtype, every):
    cases = [c for c in pointwise_cases(dtype) if not c.kernel.name.endswith("_strided")][::every]
    compare_joined(exact, OPENCL, cases, TOGETHER)


def test_strides(exact):
    compare(exact, numbered([c for c in pointwise_cases("f32") if c.kernel.name.endswith("_strided")][:2]))


def test_reductions(exact):
    compare(exact, numbered([*reduction_cases("f32")][::5] + [*reduction_cases("i32")][3::9]))


def test_row_programs(exact):
    compare(exact, numbered([*row_cases("f32"), *[*row_cases("bf16")][:2]]))


def test_products_and_sums_stay_apart_unless_fma_is_asked_for(exact):
    x, y = load("x", "f32", I), load("y", "f32", I)
    arrays = [(1 + np.arange(64) * 2.0**-23).astype(np.float32), np.full(64, -1 - 2.0**-20, np.float32)]
    cases = [
        Case(pointwise(value, {"x": "f32", "y": "f32"}), [*arrays, np.zeros(64, np.float32), 64], 64)
        for value in (x * y + 1.0, fma(x, y, x * 0.0 + 1.0))
    ]
    apart, together = on_device(exact, OPENCL, numbered(cases))
    assert not np.array_equal(apart.values[2], together.values[2])
    assert not apart.differs(cases[0].expected()) and not together.differs(cases[1].expected())


def test_fewer_iterations_than_a_group_has_and_none_at_all(device):
    x = load("x", "i32", I)
    for n in (0, 1, 63, 64, 65, 200):
        data = sample("i32", 256, 1)
        (got,) = on_device(
            device, OPENCL, [Case(pointwise(x + x, {"x": "i32"}), [data, np.zeros(256, np.int32), n], n)]
        )
        assert (got.values[1][:n] == data[:n] + data[:n]).all() and not got.values[1][n:].any()


def test_text_that_does_not_compile_says_why(device):
    with pytest.raises(RuntimeError, match="opencl: compiling failed"):
        device.compile("__kernel void f(__global int *x) { x[0] = nothing; }")


def test_memory_that_is_not_there(device):
    with pytest.raises(MemoryError, match="bytes"):
        device.allocate(1 << 62)


def test_empty_memory(device):
    memory = device.allocate(0)
    device.write(memory, np.zeros(0, np.float32))
    device.read(memory, np.zeros(0, np.float32))


def test_argmax_and_complex_kernels(exact, monkeypatch):
    cases = []

    def record(kernel, arrays, numbers, begin, end):
        if begin == 0:
            values = {n: a.copy() for n, a in arrays.items()} | numbers
            cases.append(Case(kernel, [values[p.name] for p in kernel.params], end))

    monkeypatch.setattr(test_llvm, "check", record)
    test_llvm.test_two_accumulators(True)
    test_llvm.test_complex_arithmetic("c64")
    test_llvm.test_loads_follow_stores_of_the_same_buffer()
    compare(exact, numbered(cases[-14:]))
