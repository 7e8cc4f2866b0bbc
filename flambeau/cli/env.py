"""What a bug report needs: versions, processor, memory, threads, the kernel cache, compilers.

Each line stands by itself, and a question that can't be answered doesn't stop the others. Imports flambeau when called.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable

FEATURES = ("avx2", "fma", "f16c", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "asimd", "sve", "bf16")
PACKAGES = ("numpy", "llvmlite", "scipy", "Cython", "pyopencl", "cupy", "torch")
COMPILERS = ("gcc", "clang", "nvcc")


def report() -> str:
    """The report, a line a fact."""
    width = max(map(len, FACTS))
    return "\n".join(f"{name:{width}}  {answer(ask)}" for name, ask in FACTS.items())


def answer(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except Exception as error:
        return f"unknown ({type(error).__name__}: {error})"


def version() -> str:
    import flambeau as fb

    return fb.__version__


def system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        name = platform.system()
    libc = " ".join(platform.libc_ver()).strip()
    return f"{name}, kernel {platform.release()}, {platform.machine()}, {libc}"


def processor() -> str:
    model, flags = platform.processor() or "unknown", set()
    with open("/proc/cpuinfo") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = set(value.split())
    return f"{model} ({' '.join(f for f in FEATURES if f in flags)})"


def target() -> str:
    from flambeau.codegen.target import host

    return f"{host().name}, vectors of {host().vector_bits} bits"


def threads() -> str:
    import flambeau as fb

    allowed = len(os.sched_getaffinity(0))
    return f"{fb.get_num_threads()} in use, {allowed} processors allowed, {os.cpu_count()} present{quota()}"


def quota() -> str:
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            limit, period = file.read().split()
    except (OSError, ValueError):
        return ""
    return "" if limit == "max" else f", a quota of {int(limit) / int(period):.1f}"


def memory() -> str:
    with open("/proc/meminfo") as file:
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file}
    return f"{in_units(sizes['MemTotal'])}, {in_units(sizes['MemAvailable'])} available"


def cache() -> str:
    from flambeau.codegen.cache import directory

    files = [entry.stat().st_size for entry in os.scandir(directory())] if os.path.isdir(directory()) else []
    place = directory().replace(os.path.expanduser("~"), "~", 1)
    return f"{place}: {len(files)} kernels, {in_units(sum(files))}"


def in_units(n: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if n < 1024:
            return f"{n:.0f} {unit}"
        n /= 1024
    return f"{n:.1f} GiB"


def packages() -> str:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def compilers() -> str:
    found = []
    for name in COMPILERS:
        if path := shutil.which(name):
            lines = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20).stdout.splitlines()
            found.append(f"{name}: {next((x for x in lines if any(c.isdigit() for c in x)), 'no version').strip()}")
    return "; ".join(found) or "none"


def settings() -> str:
    names = sorted(n for n in os.environ if n.startswith("FLAMBEAU_"))
    return ", ".join(f"{n}={os.environ[n]}" for n in names) or "none"


FACTS: dict[str, Callable[[], str]] = {
    "flambeau": version,
    "python": lambda: f"{platform.python_implementation()} {sys.version.split()[0]}",
    "system": system,
    "processor": processor,
    "target": target,
    "threads": threads,
    "memory": memory,
    "kernel cache": cache,
    "packages": packages,
    "compilers": compilers,
    "settings": settings,
}
