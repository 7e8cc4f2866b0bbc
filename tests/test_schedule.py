"""Kernels that `codegen.schedule` and `row_schedule` build, compiled, against the interpreter: bit for bit.

The sizes are small and awkward; the layouts are those whose kernels the renderer rewrites: operands that lie the
other way round, reductions down columns, rows passed over several times. Imports the package's codegen and ops.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from kernels import REAL, SPECIAL, callable_image, pointwise, same, sample

from flambeau.codegen import native, row_schedule, schedule
from flambeau.codegen.llvm import render
from flambeau.codegen.target import AVX2, AVX512, NEON, host
from flambeau.ir import expr as E
from flambeau.ir.expr import Expr, cast, const, load, node, var
from flambeau.ir.interpret import MEMORY, encode, evaluate, run
from flambeau.ir.kernel import Kernel
from flambeau.ir.verify import verify
from flambeau.ops.normalization import layer_norm_rows
from flambeau.ops.rows import traced
from flambeau.ops.softmax import softmax_rows

RUNNABLE = [t for t in (AVX512, AVX2) if host() in (AVX512, t)] or [host()]
BROADCAST, CONTIGUOUS, STRIDED, CROSSWISE = 0, 1, 2, 3


@functools.cache
def compiled(kernel: Kernel, target):
    verify(kernel)
    return callable_image(native.build(kernel, target))


def check(kernel: Kernel, arrays: dict[str, np.ndarray], numbers: dict[str, int], extent: int) -> None:
    """Interpreter and every runnable target, on copies, in one piece and in two: all buffers must end up the same."""
    want = {name: a.copy() for name, a in arrays.items()}
    run(kernel, [want.get(p.name, numbers.get(p.name)) for p in kernel.params], 0, extent)
    for target in RUNNABLE:
        for half in {0, extent // 2}:
            got = {name: a.copy() for name, a in arrays.items()}
            slots = [got.get(p.name, numbers.get(p.name)) for p in kernel.params]
            for begin, end in ((0, half), (half, extent)):
                compiled(kernel, target)(slots, begin, end)
            for name, b in kernel.buffers.items():
                assert same(got[name], want[name], b.dtype), (target.name, name, numbers)


def strides_of(step: int, sizes: tuple[int, ...]) -> list[int]:
    """Strides of a tensor of this class: rows as they lie, or every second element of them, or columns."""
    order = [len(sizes) - 2, len(sizes) - 1, *range(len(sizes) - 3, -1, -1)]
    if step != CROSSWISE:
        order[:2] = order[1::-1]
    strides, room = [0] * len(sizes), 2 if step == STRIDED else 1
    for d in order:
        strides[d] = 0 if step == BROADCAST and d == len(sizes) - 1 else room
        room *= sizes[d]
    return strides


def crossing(
    sizes: tuple[int, ...],
    dtypes: tuple[str, ...],
    classes: tuple[int, ...],
    exprs,
    outs: tuple[str, ...],
    stream=False,
) -> None:
    inputs = tuple(var(f"x{j}", d) for j, d in enumerate(dtypes))
    kernel = schedule.pointwise("k", exprs(*inputs), inputs, (False,) * len(inputs), outs, classes, len(sizes), stream)
    names = [f"x{j}" for j in range(len(dtypes))] + [f"y{j}" for j in range(len(outs))]
    numbers = {f"n{d}": n for d, n in enumerate(sizes)}
    arrays = {}
    for name, dtype, step in zip(names, (*dtypes, *outs), classes, strict=True):
        strides = strides_of(step, sizes)
        numbers |= {f"{name}_s{d}": s for d, s in enumerate(strides)}
        room = sum((n - 1) * s for n, s in zip(sizes, strides, strict=True)) + 1
        arrays[name] = sample(dtype, room, len(name) + room)
    tiles = -(-sizes[-2] // schedule.BAND) * -(-sizes[-1] // schedule.TILE)
    check(kernel, arrays, numbers, tiles * int(np.prod(sizes[:-2])))


@pytest.mark.parametrize(
    "sizes", [(1, 40), (40, 1), (5, 7), (16, 16), (16, 40), (33, 70), (70, 33), (17, 300), (2, 3, 18, 20)]
)
def test_operands_that_lie_crosswise(sizes):
    add = lambda x, y: (x + y,)
    crossing(sizes, ("f32",), (CROSSWISE, CONTIGUOUS), lambda x: (x,), ("f32",))
    crossing(sizes, ("f32", "f32"), (CONTIGUOUS, CROSSWISE, CONTIGUOUS), add, ("f32",), stream=True)


@pytest.mark.parametrize("classes", [
    (CROSSWISE, CROSSWISE, CONTIGUOUS, CONTIGUOUS), (CONTIGUOUS, BROADCAST, CROSSWISE, CONTIGUOUS),
    (CONTIGUOUS, CROSSWISE, CROSSWISE, CROSSWISE), (STRIDED, CROSSWISE, CONTIGUOUS, CROSSWISE),
    (STRIDED, STRIDED, CONTIGUOUS, STRIDED),
])  # fmt: skip
def test_every_mixture_of_layouts(classes):
    both = lambda x, y: (x * y + x, cast(x, "f64") - y)
    crossing((37, 50), ("f32", "f32"), classes, both, ("f32", "f64"))


@pytest.mark.parametrize("dtype", REAL)
def test_elements_of_every_size_are_turned(dtype):
    crossing((35, 18), (dtype,), (CROSSWISE, CONTIGUOUS), lambda x: (x,), (dtype,))
    crossing((35, 18), (dtype,), (CONTIGUOUS, CROSSWISE), lambda x: (x,), (dtype,))


def test_more_tiles_than_one():
    """Sizes beyond a tile, against NumPy: the interpreter would take long."""
    rows, cols = schedule.BAND + 50, 2 * schedule.TILE + 21
    x = np.random.default_rng(0).standard_normal((cols, rows)).astype(np.float32)
    kernel = schedule.pointwise("k", (var("x0", "f32"),), (var("x0", "f32"),), (False,), ("f32",), (3, 1), 2, True)
    for target in RUNNABLE:
        y = np.zeros((rows, cols), np.float32)
        compiled(kernel, target)([x, y, rows, cols, 1, rows, cols, 1], 0, 6)
        assert np.array_equal(x.T, y)


def test_turning_is_done_by_shuffles():
    x = var("x0", "f32")
    kernel = schedule.pointwise("k", (x,), (x,), (False,), ("f32",), (CROSSWISE, CONTIGUOUS), 2, False)
    for target in (AVX512, AVX2, NEON):
        text = render(kernel, target)
        assert text.count("shufflevector <16 x float>") >= 64 and "gather" not in text


class Sum:
    """Σ x, as a fold of `schedule.reduction`."""

    def initial(self): return (const(0.0, "f32"),)  # fmt: skip

    def element(self, x: Expr, index: Expr): return (cast(x, "f32"),)  # fmt: skip

    def merge(self, a, b): return (a[0] + b[0],)  # fmt: skip

    def step(self, a, b): return self.merge(a, b)  # fmt: skip

    def finish(self, a, n: Expr): return (a[0] / cast(n, "f32"),)  # fmt: skip

    def out_dtypes(self, results): return tuple(r.dtype for r in results)  # fmt: skip

    def parameters(self): return ()  # fmt: skip


class ArgMax(Sum):
    """The greatest element and the first place where it stands."""

    def initial(self): return const(float("-inf"), "f32"), const(-1, "i64")  # fmt: skip

    def element(self, x, index): return x, index  # fmt: skip

    def finish(self, a, n): return a  # fmt: skip

    def merge(self, a, b):
        later = node("lt", "bool", (a[0], b[0])) | (E.eq(a[0], b[0]) & (b[1] < a[1]))
        return E.where(later, b[0], a[0]), E.where(later, b[1], a[1])


@pytest.mark.parametrize("fold", [Sum(), ArgMax()], ids=["mean", "argmax"])
def test_reductions_down_columns_of_every_length(fold):
    kernel, written = schedule.reduction("r", fold, "f32", fold.out_dtypes, True, schedule.SINGLE)
    for outer, length, inner, chunks in (
        (1, 1, 5, 1), (1, 15, 16, 1), (2, 16, 3, 1), (1, 63, 18, 1), (1, 64, 18, 2), (2, 80, 21, 2), (1, 150, 40, 3),
        (1, 193, 5, 1),
    ):  # fmt: skip
        x = np.random.default_rng(length).standard_normal(outer * length * inner).astype(np.float32)
        arrays = {"x0": np.round(x, 1)} | {f"y{c}": np.zeros(outer * inner, MEMORY[d]) for c, d in enumerate(written)}
        numbers = {"length": length, "second": length, "inner": inner, "chunks": chunks, "extent": outer * chunks}
        check(kernel, arrays, numbers, outer * chunks)


def test_chunks_don_t_change_a_column():
    """More columns than a tile holds, in any number of chunks: the same bits."""
    kernel, _ = schedule.reduction("r", Sum(), "f32", Sum().out_dtypes, True, schedule.SINGLE)
    length, inner = 70, 1500
    x = np.random.default_rng(0).standard_normal(length * inner).astype(np.float32)
    results = []
    for target in RUNNABLE:
        for chunks in (1, 2, 7):
            y = np.zeros(inner, np.float32)
            compiled(kernel, target)([x, y, length, length, inner, chunks, chunks], 0, chunks)
            results.append(y)
    assert all(np.array_equal(r, results[0]) for r in results)
    assert np.allclose(results[0], x.reshape(length, inner).astype(np.float64).mean(0), atol=1e-6)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("formula", ["softmax", "layer_norm"])
def test_rows_in_several_passes(formula, stream):
    if formula == "softmax":
        program = traced("softmax", softmax_rows, [("x", "f32", "full")], ["f32"])
    else:
        arguments = [("x", "f32", "full"), ("weight", "f32", "col"), ("bias", "f32", "col"), ("eps", "f64", "number")]
        program = traced("layer_norm", layer_norm_rows, arguments, ["f32", "f32", "f32"])
    kernel = row_schedule.by_rows(program, program.outputs, stream)
    for rows, cols in ((1, 1), (3, 7), (2, 16), (3, 37), (2, 150)):
        rng = np.random.default_rng(cols)
        arrays = {
            p.name: rng.standard_normal(cols if p.name in ("weight", "bias") else rows * cols).astype(np.float32)
            for p in kernel.params
            if p.name in kernel.buffers
        }
        check(kernel, arrays, {"rows": rows, "cols": cols, "eps": 1e-5, "share": 2}, rows)


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32", "f64"])
def test_least_and_greatest_of_every_pair_of_special_values(dtype):
    """NaN from either side, and -0.0 below +0.0, in vectors and alone."""
    values = np.array(SPECIAL["f"])
    a, b = (v.ravel() for v in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        arrays = {"x": a, "y": b}
        arrays = {k: encode(v.astype(np.float64 if dtype == "f64" else np.float32), dtype) for k, v in arrays.items()}
    i = var("i")
    for op in (E.minimum, E.maximum):
        value = op(load("x", dtype, i), load("y", dtype, i))
        want = encode(evaluate(value, arrays | {"i": np.arange(len(a))}), dtype)
        for target in RUNNABLE:
            got = np.empty(len(a), MEMORY[dtype])
            compiled(pointwise(value, {"x": dtype, "y": dtype}), target)([*arrays.values(), got, len(a)], 0, len(a))
            assert same(got, want, dtype)
