"""The whole op table as C99: every pointwise op, backward, reduction and row program has the bits of the CPU's kernel.

Compiled without optimisation, with it, and with the machine's own fma and vectors. Read next: test_cfamily.py.
"""

from __future__ import annotations

import itertools
import shutil

import pytest
from op_kernels import compare, number_cases, numbered, pointwise_cases, reduction_cases, row_cases

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (cc)")


@pytest.mark.parametrize(
    "dtype,level", [("f32", "-O2"), ("f64", "-O0"), ("bf16", "-O0"), ("i32", "-O1"), ("bool", "-O0"), ("c64", "-O2")]
)
def test_every_pointwise_op_and_its_backward(dtype, level):
    cases = numbered(pointwise_cases(dtype))
    assert len(cases) > 20
    compare(cases, level)


@pytest.mark.parametrize("first,dtype", list(enumerate(["f16", "i64", "u8", "i8", "i16", "c128"])))
def test_other_dtypes(first, dtype):
    """A third of the ops each: between them, and those above, all."""
    compare(numbered([*pointwise_cases(dtype)][first % 3 :: 3]), "-O0")


@pytest.mark.parametrize("level,dtype,every", [
    ("-O2", "f32", 1), ("-O0", "f64", 2), ("-O0", "bf16", 2), ("-O1", "i32", 2), ("-O0", "bool", 2), ("-O2", "c64", 1)
])  # fmt: skip
def test_reductions(level, dtype, every):
    """All of them as f32; by rows and by columns, in one stage and in two."""
    cases = [*reduction_cases(dtype)][every - 1 :: every]
    assert len(cases) >= 9
    compare(numbered(cases), level)


@pytest.mark.parametrize("level", ["-O0", "-O2", "-O3 -march=native"])
def test_row_programs(level):
    compare(numbered(itertools.chain(*map(row_cases, ("f32", "bf16", "f64")))), *level.split())


@pytest.mark.parametrize("level", ["-O0", "-O3 -march=native"])
def test_levels_of_optimisation(level):
    """What the compiler may do with the machine's own fma and vectors must not be seen in the bits."""
    some = [*pointwise_cases("f32")][::5] + [*reduction_cases("f32")][::4] + [*pointwise_cases("i8")][::5]
    compare(numbered(some), *level.split())


def test_numbers_beside_tensors():
    compare(numbered(number_cases()))
