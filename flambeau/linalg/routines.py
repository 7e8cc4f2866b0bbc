"""LAPACK's routines on tensors: one call for a whole batch, whose matrices are shared out among our threads.

The routines are those of SciPy's public `cython_lapack`, called where they are, without a wrapper that copies. Their
own threads stay out of it: a routine's result depends on how many of them it uses, and ours never does. LAPACK keeps
matrices by columns, so `by_columns` makes the copies it works in. Imports core. Read next: `lapack.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import glob
import os
import struct
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..core import _core
from ..core._core import DTYPES, Tensor, launch, new_empty, new_empty_strided

INT32 = DTYPES[4]
LETTERS = {DTYPES[8]: "s", DTYPES[9]: "d", DTYPES[10]: "c", DTYPES[11]: "z"}
PARAMETERS = 15
# Matrices of fewer elements are handed to a thread together, so that a piece of work is worth its way there.
PIECE = 4096
# OpenBLAS has no use for threads where matrices have no more rows and columns than this.
SINGLE = 32


class Scratch(NamedTuple):
    """Two parameters, memory to work in and its length: as much as the routine asks for."""

    dtype: Any


class _Threads:
    """How many threads of its own an OpenBLAS uses: its two functions, found under the names that builds give them."""

    def __init__(self, path: str):
        library = ctypes.CDLL(path)
        for prefix in ("scipy_openblas", "openblas"):
            for suffix in ("64_", ""):
                if hasattr(library, f"{prefix}_set_num_threads{suffix}"):
                    self.get = getattr(library, f"{prefix}_get_num_threads{suffix}")
                    self.set = getattr(library, f"{prefix}_set_num_threads{suffix}")
                    return
        self.get, self.set = (lambda: 1), (lambda n: None)


@functools.cache
def libraries() -> list[_Threads]:
    """The OpenBLAS that NumPy brought and the one that SciPy brought, once both are loaded."""
    import numpy
    import scipy.linalg

    homes = (os.path.dirname(module.__path__[0]) for module in (numpy, scipy))
    wheels = {path for home in homes for path in glob.glob(f"{home}/*.libs/*openblas*")}
    with open("/proc/self/maps") as maps:
        loaded = {line.split(None, 5)[-1].strip() for line in maps if "openblas" in line}
    return [_Threads(path) for path in sorted(loaded | {os.path.realpath(path) for path in wheels})]


class Alone:
    """Inside of it OpenBLAS uses no threads of its own; Python's threads may be inside at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.changed: list[tuple[_Threads, int]] = []

    def __enter__(self) -> None:
        _core.unrecalled()
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.changed = [(library, n) for library in libraries() if (n := library.get()) != 1]
                for library, _ in self.changed:
                    library.set(1)

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                for library, n in self.changed:
                    library.set(n)


alone = Alone()
nobody = contextlib.nullcontext()


@functools.cache
def address(name: str) -> int:
    """Where the routine of that full name is."""
    from scipy.linalg import cython_lapack

    capsule = ctypes.py_object(cython_lapack.__pyx_capi__[name])
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetPointer.restype = ctypes.c_char_p, ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
    return api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))


def by_columns(x: Tensor) -> Tensor:
    """A copy of matrices, batch after batch, each stored by columns."""
    return columns(x.shape, x.dtype).copy_(x)


def by_rows(x: Tensor) -> Tensor:
    """A copy of matrices, batch after batch, each stored by rows: to LAPACK they are the transposes."""
    return new_empty(x.shape, x.dtype).copy_(x)


def columns(shape: Any, dtype: Any) -> Tensor:
    """Matrices to be filled, each stored by columns."""
    *batch, m, n = shape
    strides = [1, m]
    size = m * n
    for extent in reversed(batch):
        strides.insert(0, size)
        size *= extent
    return new_empty_strided(tuple(shape), tuple(strides), dtype)


def call(name: str, like: Tensor, *parameters: Tensor | int | str | Scratch) -> Tensor:
    """Runs ?`name` for `like`'s dtype on each matrix of its batch; the int32 `info` of each, in the batch's shape.

    A tensor stands for as many equal parts as there are matrices, in order; a number or a letter for itself; `info` is
    added at the end.
    """
    batch = like.shape[:-2]
    info = new_empty(batch, INT32)
    count = info.numel()
    if count:
        f = address(LETTERS[like.dtype] + name)
        work = max(1, like.numel()) * like.shape[-1]
        with nobody if max(like.shape[-2:]) <= SINGLE else alone:
            parameters = with_scratch(f, count, parameters, info)
            grain = max(1, PIECE * count // max(1, like.numel()))
            run(f, count, (*parameters, info), grain, work)
    return info


def factored(A: Tensor) -> tuple[Tensor, Tensor]:
    """Replaces matrices stored by columns, or square ones, by L and U; the pivots, counted from 1, and info."""
    m, n = A.shape[-2:]
    pivots = new_empty((*A.shape[:-2], min(m, n)), INT32)
    return pivots, call("getrf", A, m, n, A, max(1, m), pivots)


@functools.cache
def constant(value: int | str) -> tuple[int, Any]:
    """Where a number or a letter stands in memory, and what keeps it there: recalled launches go on reading it."""
    raw = struct.pack("q", value) if isinstance(value, int) else struct.pack("8s", value.encode())
    held = ctypes.create_string_buffer(raw, 8)
    return ctypes.addressof(held), held


def run(f: int, count: int, parameters: Sequence, grain: int = 1, work: int = 0) -> None:
    """Calls f `count` times: for each parameter fb_call_each reads an address and the step to the next matrix."""
    slots, held = [f], []
    for p in parameters:
        if isinstance(p, Tensor):
            slots += p, p.numel() // count * p.dtype.itemsize
        else:
            held.append(constant(p))
            slots += held[-1][0], 0
    slots += [0] * (2 * (PARAMETERS - len(parameters)))
    launch(_core.CALL_EACH, slots, count, grain, work)


# What routines said they want of each kind of memory, by all that this depends on: the routine, letters and sizes.
_wanted: dict[tuple, list[int]] = {}


def with_scratch(f: int, count: int, parameters: tuple, info: Tensor) -> tuple:
    """The parameters with memory to work in, as much as the routine wants."""
    kinds = [p.dtype for p in parameters if isinstance(p, Scratch)]
    if not kinds:
        return parameters
    key = (f, *(p for p in parameters if not isinstance(p, Tensor)))
    if key not in _wanted:
        answers = [new_empty((1,), kind) for kind in kinds]
        query = replaced(parameters, [(answer, -1) for answer in answers])
        run(f, 1, (*query, info[(0,) * info.ndim]))
        _wanted[key] = [int(answer.item().real) for answer in answers]
    sizes = _wanted[key]
    return replaced(parameters, [(new_empty((count, n), kind), n) for kind, n in zip(kinds, sizes, strict=True)])


def replaced(parameters: tuple, pairs: list[tuple[Tensor, int]]) -> tuple:
    """The parameters with an address and a length for each Scratch."""
    found: list = []
    left = iter(pairs)
    for p in parameters:
        found += next(left) if isinstance(p, Scratch) else (p,)
    return tuple(found)
