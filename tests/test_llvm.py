"""The LLVM renderer against the reference interpreter, bit for bit, on every target this machine runs."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernels import (
    I, K, M, N, REAL, ZERO, callable_image, exprs, pointwise, row_reduce, same, sample,
)  # fmt: skip

from flambeau.codegen import elf, native
from flambeau.codegen.llvm import render
from flambeau.codegen.target import AVX2, AVX512, NEON, host
from flambeau.ir import expr as E
from flambeau.ir.expr import DTYPES, cast, const, load, node, var, where
from flambeau.ir.interpret import MEMORY, decode, encode, evaluate, run
from flambeau.ir.kernel import Accumulator, Buffer, For, If, Kernel, Let, Reduce, Scalar, Store
from flambeau.ir.verify import verify

RUNNABLE = [t for t in (AVX512, AVX2) if host().name.startswith("x86") and t.vector_bits <= host().vector_bits] or [host()]
slow = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@functools.cache
def compiled(kernel: Kernel, target):
    verify(kernel)
    return callable_image(native.build(kernel, target))


def check(kernel: Kernel, arrays: dict[str, np.ndarray], numbers: dict[str, int], begin: int, end: int) -> None:
    """Runs interpreter and every runnable target on copies; all buffers must end up the same."""
    want = {name: a.copy() for name, a in arrays.items()}
    run(kernel, [want.get(p.name, numbers.get(p.name)) for p in kernel.params], begin, end)
    for target in RUNNABLE:
        got = {name: a.copy() for name, a in arrays.items()}
        compiled(kernel, target)([got.get(p.name, numbers.get(p.name)) for p in kernel.params], begin, end)
        for name, b in kernel.buffers.items():
            assert same(got[name], want[name], b.dtype), (target.name, name, got[name], want[name])


@pytest.mark.parametrize("dtype", REAL)
@slow
@given(data=st.data())
def test_random_exprs(dtype, data):
    inputs = {f"x{k}": data.draw(st.sampled_from(REAL)) for k in range(3)} | {"x3": dtype}
    leaves: dict = {}
    for name, d in inputs.items():
        leaves.setdefault(d, []).append(load(name, d, I))
    value = data.draw(exprs(leaves, dtype, 8))
    n = data.draw(st.integers(0, 40))
    arrays = {name: sample(d, n, 7 + k) for k, (name, d) in enumerate(inputs.items())}
    with np.errstate(all="ignore"):
        want = encode(evaluate(value, arrays | {"i": np.arange(n)}), dtype)
    want = np.broadcast_to(want, n).astype(MEMORY[dtype])
    for target in RUNNABLE:
        got = np.empty(n, MEMORY[dtype])
        compiled(pointwise(value, inputs), target)([*arrays.values(), got, n], 0, n)
        assert same(got, want, dtype), (target.name, got, want)
