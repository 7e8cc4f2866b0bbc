"""Compilers of C text: cc for C99 as a shared library, nvcc for CUDA C as the code of one or several GPUs.

Used by tests and by export; nothing that runs a model needs a compiler. A compiler that is missing or fails raises,
with what it printed. Imports its neighbours only. Read next: `cfamily.py` (what writes the text), `dialects.py`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

from .dialects import C99, CUDA


def shared_library(text: str, path: str, flags: Sequence[str] = ("-O2",), compiler: str = "") -> None:
    """Compiles C99 text to a shared library at `path` with the compiler named, else $CC, else cc.

    Raises FileNotFoundError where there is no such compiler, RuntimeError with its messages where it fails.
    """
    compiler = compiler or os.environ.get("CC") or "cc"
    command = [*compiler.split(), *C99.flags, *flags, "-fPIC", "-shared", "-o", path, "-xc", "-", "-lm"]
    run(command, text)


def gpu_code(text: str, architecture: str, flags: Sequence[str] = ()) -> bytes:
    """The cubin nvcc makes of CUDA C text for an architecture such as sm_90.

    Raises FileNotFoundError where there is no nvcc, RuntimeError with its messages where it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, result = os.path.join(folder, "kernel.cu"), os.path.join(folder, "kernel.cubin")
        with open(source, "w") as f:
            f.write(text)
        run(["nvcc", *CUDA.flags, *flags, "-cubin", f"-arch={architecture}", "-o", result, source])
        with open(result, "rb") as f:
            return f.read()


def gpu_architectures() -> list[str]:
    """The real architectures the nvcc at hand compiles for, oldest first; none where there is no nvcc."""
    if shutil.which("nvcc") is None:
        return []
    return run(["nvcc", "--list-gpu-code"]).split()


def run(command: Sequence[str], text: str = "") -> str:
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(f"compile: {command[0]} is not there; install it, or name another compiler in CC")
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"compile: {' '.join(command)} failed:\n{done.stderr.strip()[:4000]}")
    return done.stdout
