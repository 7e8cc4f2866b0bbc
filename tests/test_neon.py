"""Kernels for aarch64, run by qemu: every bit is that of this machine's kernels, and nothing is read beyond its end.

A program in C (`neon.c`), compiled with the whole runtime for aarch64, loads images and runs kernels and contractions.
"""

from __future__ import annotations

import functools
import shutil
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import test_llvm
from contractions import RUNTIME, conv_problem, convolve, matmul, matmul_problem, numbers, out_size
from kernels import slot
from op_kernels import Case, pointwise_cases, reduction_cases, row_cases

from flambeau.codegen import contraction, native
from flambeau.codegen.contraction_slide import Window
from flambeau.codegen.target import NEON

CC, QEMU = "aarch64-linux-gnu-gcc", "qemu-aarch64"
pytestmark = pytest.mark.skipif(
    not (shutil.which(CC) and shutil.which(QEMU)),
    reason=f"needs {QEMU} and {CC} with its libc (qemu-user, gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)",
)
DRIVERS = "fb_multiply", "fb_conv", "fb_conv_data_gradient", "fb_conv_weight_gradient"
ADDRESSES = slice(5, 12)  # of a plan's words


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def blocks(contents: Iterable[bytes]) -> bytes:
    found = [*contents]
    return words(len(found)) + b"".join(words(len(c)) + c + bytes(-len(c) % 8) for c in found)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function of jobs, (bytes, the arrays in them), that runs them and puts the results into the arrays."""
    folder = tmp_path_factory.mktemp("neon")
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-pthread", "-static"]
    files = [*sorted(RUNTIME.glob("*.c")), Path(__file__).with_name("neon.c")]
    subprocess.run([CC, *flags, f"-I{RUNTIME}", *files, "-o", folder / "neon"], check=True)

    def run(jobs: Iterable[tuple[bytes, list[np.ndarray]]]) -> None:
        jobs = [*jobs]
        (folder / "jobs").write_bytes(b"".join(job for job, _ in jobs))
        done = subprocess.run([QEMU, folder / "neon", folder / "jobs"], check=True, capture_output=True).stdout
        at = 0
        for _, arrays in jobs:
            for a in arrays:
                memory = np.frombuffer(done, a.dtype, a.size, at)
                a[...] = memory.reshape(a.shape[::-1]).T if np.isfortran(a) else memory.reshape(a.shape)
                at += a.nbytes
        assert at == len(done)

    return run


def kernel_job(case: Case) -> tuple[bytes, list[np.ndarray]]:
    arrays = [v for v in case.values if isinstance(v, np.ndarray)]
    slots, seen = [], 0
    for v in case.values:
        slots += [seen, 1] if isinstance(v, np.ndarray) else [slot(v), 0]
        seen += isinstance(v, np.ndarray)
    image = native.build(case.kernel, NEON)
    job = words(0, len(case.values), *slots, case.begin, case.count)
    return blocks([image]) + blocks(a.tobytes() for a in arrays) + job, arrays


def compare(run, cases: Iterable[Case]) -> None:
    cases = [*cases]
    got = [c.copy() for c in cases]
    run(map(kernel_job, got))
    wrong = [g.differs(c.expected()) for c, g in zip(cases, got, strict=True)]
    assert not any(wrong), "\n".join(filter(None, wrong))


@pytest.mark.parametrize("dtype,every", [("f32", 9), ("f64", 30), ("bf16", 30), ("f16", 30), ("i32", 9), ("u8", 12)])
def test_pointwise_ops_and_their_backward(run, dtype, every):
    compare(run, [*pointwise_cases(dtype)][::every])


def test_reductions_and_row_programs(run):
    compare(run, [*reduction_cases("f32")][::17] + [*reduction_cases("i32")][3::21])
    compare(run, [*row_cases("f32"), *[*row_cases("bf16")][:2]])


def test_ways_of_reading_and_writing(run, monkeypatch):
    cases = []

    def record(kernel, arrays, numbers, begin, end):
        values = {n: a.copy() for n, a in arrays.items()} | numbers
        cases.append(Case(kernel, [values[p.name] for p in kernel.params], end, begin))

    monkeypatch.setattr(test_llvm, "check", record)
    test_llvm.test_two_accumulators(True)
    test_llvm.test_complex_arithmetic("c64")
    test_llvm.test_loads_follow_stores_of_the_same_buffer()
    test_llvm.test_conditions()
    compare(run, cases[::5])


@functools.cache
def neon_plan(dtype: str, window: Window | None = None) -> tuple[bytes, list[bytes]]:
    """A plan whose kernels are numbers, from 1, of images for NEON."""
    images: list[bytes] = []

    def loaded(text, target):
        images.append(native.compile(text, target))
        return len(images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contraction, "host", lambda: NEON)
        patch.setattr(contraction, "loaded", loaded)
        for name in ("plan", "micro_kernel", "dots_kernel", "pack_kernel", "slide_kernels"):
            patch.setattr(contraction, name, getattr(contraction, name).__wrapped__)
        return contraction.plan(dtype, window=window), images


def driver_job(name: str, plan: tuple[bytes, list[bytes]], problem, arrays: list) -> tuple[bytes, list[np.ndarray]]:
    """`arrays` stand for the problem's first four words, None for NULL."""
    there = [a for a in arrays if a is not None]
    number = iter(range(1, 5))
    pointers = [0 if a is None else next(number) for a in arrays]
    rest = struct.unpack(f"<{len(bytes(problem)) // 8}q", bytes(problem))[4:]
    floating = there[0].dtype.kind == "f"
    job = words(DRIVERS.index(name) + 1) + plan[0] + words(floating, 4 + len(rest), *pointers, *rest)
    return blocks(plan[1]) + blocks(a.tobytes("A") for a in there) + job, there


@pytest.mark.parametrize("dtype", ["f32", "f64", "i32"])
def test_matmul(run, dtype):
    jobs, pairs = [], []
    for m, n, k in (1, 40, 300), (13, 33, 70), (70, 90, 513), (5, 1, 8):
        for order in "CF":
            a, b = (np.array(numbers(s, dtype, 1), order=order) for s in ((m, k), (k, n)))
            c = np.zeros((m, n), a.dtype)
            jobs.append(driver_job("fb_multiply", neon_plan(dtype), matmul_problem(a, b, c), [a, b, None, c]))
            pairs.append((c, a @ b if dtype == "i32" else matmul(contraction.plan(dtype), a, b, c.copy())))
    run(jobs)
    for got, want in pairs:
        assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("groups", [1, 6])
def test_convolution_and_its_gradients(run, groups):
    x, w = numbers((2, 6, 11, 19)), numbers((6, 6 // groups, 3, 3), seed=2)
    how = (groups, (2, 1), (1, 1), (1, 1))
    out = out_size(x.shape[2:], w.shape[2:], *how[1:])
    gy = numbers((2, 6, *out), seed=5)
    y, gx, gw = (np.zeros(s, np.float32) for s in (gy.shape, x.shape, w.shape))
    plan = neon_plan("f32")
    run(
        driver_job(name, plan, conv_problem(*given, *how), [*given, None])
        for name, given in zip(DRIVERS[1:], ((x, w, y), (gx, w, gy), (x, gw, gy)), strict=True)
    )
    for got, want in zip((y, gx, gw), convolve(contraction.plan("f32"), x, w, *how), strict=True):
        assert got.tobytes() == want.tobytes()
