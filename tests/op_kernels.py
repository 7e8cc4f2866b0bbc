"""Kernels of the whole op table with inputs to run them on, for the tests of renderers, and the CPU's results.

Pointwise ops and their backward at each dtype, reductions by rows and by columns in all stages, row programs. Imports
`flambeau` and `kernels.py`. Used by test_cfamily.py, test_opencl.py and test_cuda.py.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from kernels import same, sample, slot

import flambeau  # noqa: F401  (fills the tables)
from flambeau.codegen import ccompile, native, row_schedule, schedule
from flambeau.codegen.cfamily import parameter_types, render, symbol
from flambeau.codegen.dialects import C99, Dialect
from flambeau.ir.complex import split
from flambeau.ir.expr import DTYPES, node, postorder, substitute, var
from flambeau.ir.interpret import MEMORY
from flambeau.ir.kernel import Buffer, Kernel, Scalar, Store, rewrite
from flambeau.ir.verify import verify
from flambeau.ops import normalization as norms
from flambeau.ops import rows
from flambeau.ops.reductions import REDUCTIONS
from flambeau.ops.softmax import log_softmax_backward, log_softmax_rows, softmax_backward, softmax_rows
from flambeau.ops.table import TABLE, variant
from flambeau.ops.typed import CODES, DEFAULT, NUMBER, Typed, backward, typed

FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
N = 67


@dataclass
class Case:
    """A kernel, an array or number for each parameter, and the range of iterations [begin, count) to run."""

    kernel: Kernel
    values: list
    count: int
    begin: int = 0

    def outputs(self) -> list[tuple[str, np.ndarray]]:
        return [
            (p.dtype, v) for p, v in zip(self.kernel.params, self.values, strict=True)
            if isinstance(p, Buffer) and p.access != "r"
        ]  # fmt: skip

    def copy(self) -> Case:
        return replace(self, values=[v.copy() if isinstance(v, np.ndarray) else v for v in self.values])

    def call(self, address: int, parts: int = 1) -> Case:
        """A copy on which the function at an address has run, in so many parts."""
        done = self.copy()
        slots = [v.ctypes.data if isinstance(v, np.ndarray) else slot(v) for v in done.values]
        words = (ctypes.c_int64 * len(slots))(*slots)
        cuts = [self.begin + k * (self.count - self.begin) // parts for k in range(parts + 1)]
        for begin, end in itertools.pairwise(cuts):
            FUNCTION(address)(words, begin, end)
        return done

    def expected(self) -> Case:
        """A copy on which the CPU's kernel has run."""
        return self.call(native.function(self.kernel))

    def differs(self, other: Case) -> str:
        """Where results aren't the same bit for bit; empty where they are."""
        for (dtype, a), (_, b) in zip(self.outputs(), other.outputs(), strict=True):
            if not same(a, b, dtype):
                wrong = [k for k in range(len(a)) if not same(a[k : k + 1], b[k : k + 1], dtype)]
                k = wrong[0]
                return f"{self.kernel.name}: {len(wrong)} of {len(a)} values differ, first [{k}]: {a[k]} {b[k]}"
        return ""


def array(dtype: str, n: int, seed: int, tame: bool = False) -> np.ndarray:
    """n values of a buffer; `tame` ones are finite and moderate, so that sums show their order."""
    kind = DTYPES[dtype].kind
    if kind == "c":
        part = "f32" if dtype == "c64" else "f64"
        return array(part, 2 * n, seed, tame).view(MEMORY[dtype])
    if tame and kind == "f":
        values = np.random.default_rng(seed).standard_normal(n).astype(np.float32)
        if dtype == "bf16":
            return (values.view(np.uint32) >> 16).astype(np.uint16)
        return values.astype(np.float16).view(np.uint16) if dtype == "f16" else values.astype(MEMORY[dtype])
    return sample(dtype, n, seed)


def filled(kernel: Kernel, sizes: dict[str, int], n: int, count: int, tame: bool = False) -> Case:
    """A case with numbers as in `sizes`, others made up, and buffers of n elements."""
    values: list = []
    for k, p in enumerate(kernel.params):
        if not isinstance(p, Buffer):
            kind = DTYPES[p.dtype].kind
            number = sizes.get(p.name, 3 if kind in "ui" else 1.25)
            value = number if kind in "bui" else MEMORY[p.dtype](number)
            values.append(value.view(np.uint64) if kind == "c" else value)  # a complex number goes by its bits
        elif p.access == "r":
            values.append(array(p.dtype, n, 100 + k, tame))
        else:
            values.append(np.zeros(n, MEMORY[p.dtype]))
    return Case(kernel, values, count)


def formed(name: str, t: Typed, classes: int = schedule.CONTIGUOUS, dims: int = 1) -> Kernel:
    outs = tuple(e.dtype for e in t.exprs)
    steps = (classes,) * (len(t.inputs) + len(outs))
    return schedule.pointwise(name, t.exprs, t.inputs, t.is_number, outs, steps, dims, False)


def pointwise_cases(dtype: str) -> Iterator[Case]:
    """Every op that takes this dtype, forward and backward, on special values; the first few with strides as well."""
    done: set[int] = set()
    strided = 0
    for op in TABLE.values():
        if id(op) in done:
            continue
        done.add(id(op))
        d = (variant(op, (), {})[0] if op.statics else op).definition
        attributes = len(d.attributes)
        keys = tuple(CODES["bool" if x in d.kept else dtype] for x in d.operands) + (DEFAULT,) * attributes
        try:
            t = typed(d, keys)
        except NotImplementedError:
            continue  # the op isn't for this dtype
        yield filled(formed(op.name, t), {"n0": N}, N, N)
        if strided < 4:
            strided += 1
            sizes = {"n0": 3, "n1": 5, "n2": 7} | {
                f"{b}_s{k}": s for b in ("x0", "x1", "x2", "y0") for k, s in enumerate((1, 6, 40))
            }
            yield filled(formed(op.name + "_strided", t, schedule.STRIDED, 3), sizes, 400, 15)
        if DTYPES[dtype].kind in "fc" and any(DTYPES[e.dtype].kind in "fc" for e in t.exprs):
            wrt = tuple(i for i, x in enumerate(t.inputs) if x is not None and DTYPES[x.dtype].kind in "fc")
            rule = backward(d, t, wrt, op.name)
            if rule.derived is not None:
                yield filled(formed(rule.derived.name, rule.derived.form), {"n0": N}, N, N)


def number_cases() -> Iterator[Case]:
    """Ops with a Python number beside a tensor, of every kind."""
    for dtype, number in {
        "bool": "bool",
        "i32": "i64",
        "bf16": "f32",
        "f32": "f32",
        "f64": "f32",
        "c64": "c64",
    }.items():
        key = NUMBER + ("bool", "i64", "f32", "c64").index(number)
        t = typed(TABLE["eq"].definition, (CODES[dtype], key))
        yield filled(formed(f"eq_number_{dtype}", t), {"n0": N, "x1": 1}, N, N)


def reduction_cases(dtype: str) -> Iterator[Case]:
    """Every reduction that takes this dtype: rows and columns, a single stage and both of two."""
    for name, reduction in REDUCTIONS.items():
        for column in (False, True):
            for stage in (schedule.SINGLE, schedule.PARTIAL, schedule.FINAL):
                try:
                    fold = reduction.definition.fold(dtype, None)
                    kernel, _ = schedule.reduction(name, fold, dtype, fold.out_dtypes, column, stage)
                    verify(split(kernel))
                except (TypeError, ValueError, NotImplementedError):
                    continue  # the reduction isn't for this dtype
                length = 4097 if stage == schedule.PARTIAL and not column else 37
                inner = 19 if column else 1
                blocks = -(-length // 4096)
                chunks = 1
                outer = 2
                count = outer * blocks * chunks if column else outer * blocks
                sizes = {
                    "length": length, "second": blocks if stage == schedule.PARTIAL else length, "inner": inner,
                    "chunks": chunks, "extent": count, "correction": 1, "p": 3,
                }  # fmt: skip
                yield filled(kernel, sizes, outer * length * inner, count, tame=True)


FORMULAS = {
    "softmax": (softmax_rows, ("x full",), 1),
    "softmax_backward": (softmax_backward, ("g full", "y full"), 1),
    "log_softmax": (log_softmax_rows, ("x full",), 1),
    "log_softmax_backward": (log_softmax_backward, ("g full", "y full"), 1),
    "layer_norm": (norms.layer_norm_rows, ("x full", "weight col", "bias col", "eps number"), 3),
    "layer_norm_backward": (
        norms.layer_norm_backward, ("g full", "x full", "centre row", "rstd row", "weight col"), 3,
    ),
}  # fmt: skip


def row_cases(dtype: str) -> Iterator[Case]:
    """Row programs: softmax and layer norm, forward and backward, sums over columns included."""
    for name, (formula, described, outputs) in FORMULAS.items():
        given = [(n, "f64" if extent == "number" else dtype, extent) for n, extent in map(str.split, described)]
        program = rows.traced(name, formula, given, (dtype,) * outputs)
        cols, count = 37, 5
        by_row = [o for o in program.outputs if o[1] != "col"]
        by_column = [o for o in program.outputs if o[1] == "col"]
        sizes = {"rows": count, "cols": cols, "chunks": 1}
        yield filled(row_schedule.by_rows(program, by_row), sizes, count * cols, count, tame=True)
        for final in (False, True) if by_column else ():
            yield filled(row_schedule.by_columns(program, by_column, final), sizes, count * cols, 1, tame=True)


def joined(cases: list[Case]) -> Case:
    """Contiguous pointwise cases as one kernel, for compilers that take long over each."""
    params, values, stores = [], [], []
    for k, c in enumerate(cases):
        mine = {p.name: f"{p.name}_{k}" for p in c.kernel.params if p.name != "n0"}
        params += [replace(p, name=mine[p.name]) for p in c.kernel.params if p.name != "n0"]
        values += [v for p, v in zip(c.kernel.params, c.values, strict=True) if p.name != "n0"]

        def rename(roots: tuple, mine: dict = mine, k: int = k) -> tuple:
            named = {x: node(x.op, x.dtype, x.args, mine[x.attr]) for x in postorder(*roots) if x.op == "load"}
            named |= {
                x: var(mine.get(x.attr, f"{x.attr}_{k}"), x.dtype)
                for x in postorder(*roots)
                if x.op == "var" and x.attr not in ("i", "n0")
            }
            return substitute(roots, named)

        (loop,) = rewrite(c.kernel, rename).body
        stores += [replace(s, buffer=mine[s.buffer]) if isinstance(s, Store) else s for s in loop.body]
    (loop,) = cases[0].kernel.body
    kernel = Kernel("joined", (*params, Scalar("n0")), (replace(loop, body=tuple(stores)),))
    return Case(kernel, [*values, cases[0].count], cases[0].count)


def library(kernels: Iterable[Kernel], *flags: str) -> Callable[..., int]:
    """Kernels compiled as C99 without a warning: a function (kernel[, suffix]) -> address."""
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "kernels.so")
    ccompile.shared_library(
        render(list(kernels), C99), path, (*flags, "-Wall", "-Wno-unused-variable", "-Werror", "-pedantic")
    )
    found = ctypes.CDLL(path)
    shutil.rmtree(folder)
    return lambda kernel, suffix="_slots": ctypes.cast(getattr(found, symbol(kernel) + suffix), ctypes.c_void_p).value


def compare(cases: list[Case], *flags: str) -> None:
    """Runs the cases as C99, in three parts each; every bit must be the CPU kernel's."""
    address = library([c.kernel for c in cases], *flags)
    wrong = [c.call(address(c.kernel), 3).differs(c.expected()) for c in cases]
    assert not any(wrong), "\n".join(filter(None, wrong))


def on_device(device: Any, dialect: Dialect, cases: list[Case]) -> list[Case]:
    """Copies of the cases on which an OpenCL or CUDA device has run."""
    program = device.compile(render([c.kernel for c in cases], dialect), dialect.flags)
    done = [c.copy() for c in cases]
    for c in done:
        values = []
        for v in c.values:
            if isinstance(v, np.ndarray):
                memory = device.allocate(v.nbytes)
                device.write(memory, v)
            values.append(memory if isinstance(v, np.ndarray) else v)
        device.launch(program, symbol(c.kernel), parameter_types(c.kernel), values, c.count)
        for v, memory in zip(c.values, values, strict=True):
            if isinstance(v, np.ndarray):
                device.read(memory, v)
    return done


def compare_joined(device: Any, dialect: Dialect, cases: list[Case], together: int) -> None:
    """Runs contiguous pointwise cases on a device, so many to a kernel; every bit must be the CPU kernel's."""
    groups = [cases[k : k + together] for k in range(0, len(cases), together)]
    ran = on_device(device, dialect, numbered(map(joined, groups)))
    for group, result in zip(groups, ran, strict=True):
        values = iter(result.values)
        for c in group:
            own = replace(c, values=[next(values) if p.name != "n0" else c.count for p in c.kernel.params])
            assert not (wrong := own.differs(c.expected())), wrong


def numbered(cases: Iterable[Case]) -> list[Case]:
    """The cases with kernels of different names."""
    return [replace(c, kernel=replace(c.kernel, name=f"{c.kernel.name}_{k}")) for k, c in enumerate(cases)]
