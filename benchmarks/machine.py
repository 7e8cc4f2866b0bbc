"""The machine's own limits, measured in the same run: copy bandwidth, the peaks of the instructions that multiply and
add (float32, pairs of bfloat16, fours of int8), and a fixed loop of plain Python.

All but the last use NumPy and llvmlite, which flambeau depends on; without them the shares stay empty.
"""

from __future__ import annotations

import ctypes
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

THREADS = 2
# 16 independent accumulators hide the latency of a fused multiply-add on every CPU of today.
CHAINS, STEPS, LANES = 16, 100_000, 16


def copy_bandwidth(repeats: int = 9) -> float:
    """Bytes read and written per second when each thread copies its half of 64 MB into old memory."""
    import numpy as np

    halves = [(np.ones(1 << 23, np.float32), np.ones(1 << 23, np.float32)) for _ in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            list(pool.map(lambda pair: np.copyto(*pair), halves))
            times.append(time.perf_counter() - start)
    return 2 * THREADS * halves[0][0].nbytes / min(times)


@dataclass(frozen=True, slots=True)
class Instruction:
    """What multiplies and adds: the text of a step on vectors of 64 bytes, its types, what the CPU must have, and the
    multiply-adds of one step."""

    step: str
    vector: str
    words: str
    needs: str
    work: int


WORDS = "<16 x i32>"
PEAKS = {
    "fma": Instruction("call {v} @llvm.fma.v16f32({v} %x, {v} %y, {v} {c})", "<16 x float>", "<16 x float>", "", 16),
    "bf16": Instruction(
        "call {v} @llvm.x86.avx512bf16.dpbf16ps.512({v} {c}, {w} %x, {w} %y)", "<16 x float>", WORDS, "avx512bf16", 32
    ),
    "int8": Instruction(
        "call {v} @llvm.x86.avx512.vpdpbusd.512({v} {c}, {w} %x, {w} %y)", WORDS, WORDS, "avx512vnni", 64
    ),
}


def peak(kind: str, repeats: int = 9) -> float:
    """Multiplications and additions per second on all threads; 0 where the CPU lacks the instruction."""
    import llvmlite.binding as llvm

    how = PEAKS[kind]
    if how.needs and not llvm.get_host_cpu_features().get(how.needs):
        return 0.0
    v, w, add = how.vector, how.words, "add" if how.vector == WORDS else "fadd"
    names, name = range(CHAINS), how.step.split("@")[1].split("(")[0]
    phis = "\n".join(f"%a{i} = phi {v} [ zeroinitializer, %entry ], [ %b{i}, %loop ]" for i in names)
    steps = "\n".join(f"%b{i} = " + how.step.format(v=v, w=w, c=f"%a{i}") for i in names)
    sums = "\n".join(f"%s{i} = {add} {v} {'zeroinitializer' if i == 0 else f'%s{i - 1}'}, %b{i}" for i in names)
    text = f"""
    declare {v} @{name}({v}, {w}, {w})
    define void @run(ptr %p, i64 %n) {{
    entry:
      %x = load {w}, ptr %p, align 4
      %q = getelementptr {w}, ptr %p, i64 1
      %y = load {w}, ptr %q, align 4
      br label %loop
    loop:
      %i = phi i64 [ 0, %entry ], [ %j, %loop ]
      {phis}
      {steps}
      %j = add i64 %i, 1
      %more = icmp ult i64 %j, %n
      br i1 %more, label %loop, label %end
    end:
      {sums}
      store {v} %s{CHAINS - 1}, ptr %p, align 4
      ret void
    }}"""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten() + ",-prefer-256-bit"
    machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=2)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
    engine.finalize_object()
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(engine.get_function_address("run"))
    buffers = [(ctypes.c_float * (2 * LANES))(*([0.5] * 2 * LANES)) for _ in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            list(pool.map(lambda b: run(ctypes.addressof(b), STEPS), buffers))
            times.append(time.perf_counter() - start)
    return 2.0 * THREADS * CHAINS * how.work * STEPS / min(times)


def limits() -> dict[str, float]:
    """All limits; empty where NumPy or llvmlite is missing."""
    try:
        return {"copy": copy_bandwidth(), **{kind: found for kind in PEAKS if (found := peak(kind))}}
    except ImportError:
        return {}


def reference(repeats: int = 5) -> float:
    """Seconds of one turn of a fixed loop of plain Python: the unit of the budgets."""
    turns = 20_000
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        total, numbers = 0, (3, 5, 7)
        for i in range(turns):
            total = (total * numbers[1] + i) % 1_000_003
            total += len(numbers) if total & 1 else -total // 7
        times.append(time.perf_counter() - start)
    return min(times) / turns


def description() -> str:
    """CPU, cores this process may use, memory, system and Python, in one line."""
    cpu = platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except OSError:
        memory = 0.0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return f"{cpu}, {cores} cores, {memory:.0f} GB, {system}, Python {platform.python_version()}"
