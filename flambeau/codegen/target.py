"""Target: the record of what a machine can do that schedules, renderers and the kernel cache read.

Nothing else may ask which machine this is. Results don't depend on the target: widths and features change speed only,
so an image is keyed by the instruction set it needs and never by the exact processor. Imports nothing of the package.
Read next: `llvm.py` (renders for a Target), `native.py` (compiles for one).
"""

from __future__ import annotations

import functools
import os
import platform
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """One instruction set: its name, LLVM's triple, cpu and features, the bits of its widest vectors, registers.

    `dots` are the dtypes of which it multiplies and adds several to a lane at once, `flushes` says that it can be told
    to take tiny numbers as zeros, after rounding.
    """

    name: str
    triple: str
    cpu: str
    features: str
    vector_bits: int
    registers: int
    dots: tuple[str, ...] = ()
    flushes: bool = False


LINUX = "x86_64-unknown-linux-gnu"
AVX512_DOT = Target(
    "x86-64-v4-dot", LINUX, "x86-64-v4", "+avx512bf16,+avx512vnni", 512, 32, ("bf16", "i8"), flushes=True
)
AVX512 = Target("x86-64-v4", LINUX, "x86-64-v4", "", 512, 32, flushes=True)
AVX2 = Target("x86-64-v3", LINUX, "x86-64-v3", "", 256, 16, flushes=True)
NEON = Target("aarch64", "aarch64-unknown-linux-gnu", "generic", "", 128, 32)

TARGETS = {t.name: t for t in (AVX512_DOT, AVX512, AVX2, NEON)}

# What each level needs, in the kernel's names for features.
LEVEL_4 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx2", "fma", "f16c", "bmi2"}
NEEDS = {
    AVX512_DOT: LEVEL_4 | {"avx512_bf16", "avx512_vnni"},
    AVX512: LEVEL_4,
    AVX2: {"avx2", "fma", "f16c", "bmi1", "bmi2"},
}


@functools.cache
def host() -> Target:
    """The best target this machine runs, or the one FLAMBEAU_TARGET names."""
    asked = os.environ.get("FLAMBEAU_TARGET")
    if asked:
        if asked not in TARGETS:
            raise ValueError(f"FLAMBEAU_TARGET: no target {asked!r}; the targets are {', '.join(TARGETS)}")
        return TARGETS[asked]
    machine = platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        return NEON
    if machine in ("x86_64", "amd64"):
        flags = cpu_flags()
        for target, needs in NEEDS.items():
            if needs <= flags:
                return target
    raise RuntimeError(f"codegen: kernels need aarch64 or x86-64 with AVX2 and FMA, got {machine} on {sys.platform}")


def cpu_flags() -> set[str]:
    """The first processor's features, as Linux lists them."""
    try:
        with open("/proc/cpuinfo") as f:
            for line in f:
                if line.startswith("flags"):
                    return set(line.split(":", 1)[1].split())
    except OSError:
        pass
    return set()
