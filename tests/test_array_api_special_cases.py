"""The array API standard's special cases, sentence by sentence: NaN, infinities, signed zeros, real and complex.

`data/array_api_special_cases.txt` says for which operands a sentence holds and what follows; each is tried on all pairs
of the values below that it holds for, in vectors long enough for every path of a kernel, and one by one.
"""

import cmath
import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from flambeau import array_api as xp

REAL = (math.nan, -math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 2.5, -2.5,
        1e-30, -1e30)  # fmt: skip
LINES = [
    tuple(part.strip() for part in line.split(" | "))
    for line in (Path(__file__).parent / "data" / "array_api_special_cases.txt").read_text().splitlines()
    if not line.startswith("#")
]
DTYPES = {True: (("complex64", 3e-6), ("complex128", 1e-14)), False: (("float32", 1e-6), ("float64", 1e-15))}


def same(x: float, y: float) -> bool:
    return (x != x and y != y) or (x == y and math.copysign(1, x) == math.copysign(1, y))



WORDS = {
    "nan": math.nan, "inf": math.inf, "pi": math.pi, "isfinite": math.isfinite, "copysign": math.copysign, "same": same,
    "whole": lambda x: math.isfinite(x) and x == math.floor(x),
    "odd": lambda x: math.isfinite(x) and x % 2 == 1,
    "signbit": lambda x: int(math.copysign(1, x) < 0),
    "cis": lambda b: complex(math.cos(b), math.sin(b)),
}  # fmt: skip


def names_in(condition: str) -> tuple[str, ...]:
    """The operands a sentence speaks of."""
    words = set(condition.replace("(", " ").replace(")", " ").replace(",", " ").split())
    return ("x1", "x2") if words & {"x1", "x2"} else ("a", "b") if words & {"a", "b"} else ("x",)


def right(found: complex, expected: str, values: dict, bound: float) -> bool:
    if " or " in expected:
        return any(right(found, one, values, bound) for one in expected.split(" or "))
    if "cis" in expected:
        # inf * (cos b + i sin b) by its parts, as infinity times a number has it
        factor, b = (math.inf if expected.startswith("inf") else 0.0), values["b"]
        parts = [factor * math.cos(b) - (expected.endswith("- 1.0")), factor * math.sin(b)]
        return close(found.real, parts[0], bound) and close(found.imag, parts[1], bound)
    if expected.startswith("copysign(nan"):
        return cmath.isnan(found) and math.copysign(1, found) == (-1 if "-1" in expected else 1)
    parts = expected.split(", ")
    wanted = [float(eval(p.lstrip("±"), WORDS, values)) for p in parts] if "copysign" not in expected else [
        eval(expected, WORDS, values)]  # fmt: skip
    got = [found.real, found.imag][: len(wanted)] if len(parts) > 1 and len(wanted) > 1 else [found]
    if isinstance(got[0], complex):
        got = [got[0].real]
    return all(
        close(abs(g), abs(w), bound) if p.startswith("±") else close(g, w, bound)
        for g, w, p in zip(got, wanted, parts, strict=False)
    )


def close(found: float, wanted: float, bound: float) -> bool:
    if math.isfinite(wanted) and wanted and math.isfinite(found):
        return abs(found - wanted) <= bound * abs(wanted)
    return same(found, wanted)


@pytest.mark.parametrize(("name", "condition", "expected"), LINES, ids=lambda v: v)
def test_special_case(name, condition, expected):
    names = names_in(condition)
    is_complex = names == ("a", "b")
    for dtype, bound in DTYPES[is_complex]:
        kind = getattr(xp, dtype)
        real = np.float32 if dtype in ("float32", "complex64") else np.float64
        pool = [float(real(v)) for v in REAL]
        tuples = [
            v
            for v in itertools.product(pool, repeat=len(names))
            if eval(condition, WORDS, dict(zip(names, v, strict=True)))
        ]
        assert tuples, "no value has what the sentence asks for"
        columns = [np.array(c, real) for c in zip(*tuples, strict=True)]
        if is_complex:
            z = np.empty(len(tuples), dtype)
            z.real, z.imag = columns
            columns = [z]
        operands = [xp.asarray(np.tile(c, 33), dtype=kind) for c in columns]
        together = getattr(xp, name)(*operands).tolist()
        alone = [getattr(xp, name)(*(x[i] for x in operands)).item() for i in range(len(tuples))]
        for i, found in enumerate(together + alone):
            v = tuples[i % len(tuples)]
            assert right(found, expected, dict(zip(names, v, strict=True)), bound), (
                f"{name}{v} in {dtype} is {found}, the standard says {expected}"
            )


def test_every_sentence_is_about_a_function_that_is_here():
    assert {name for name, _, _ in LINES} <= set(dir(xp)) and len(LINES) > 400


# ---- what the standard derives from these
@pytest.mark.parametrize("name", ["acosh", "asinh", "atanh", "cosh", "exp", "expm1", "log", "log1p", "sinh", "sqrt"])
def test_functions_of_conjugates_are_conjugates(name):
    values = [complex(a, b) for a, b in itertools.product((0.0, 1.5, -2.0, math.inf, -math.inf), (0.5, 3.0))]
    z = xp.asarray(values, dtype=xp.complex128)
    f = getattr(xp, name)
    for one, other in zip(f(xp.conj(z)).tolist(), f(z).tolist(), strict=True):
        other = other.conjugate()
        for p, q in ((one.real, other.real), (one.imag, other.imag)):
            assert same(p, q) or abs(p - q) < 1e-14 * abs(q), (one, other)
        assert cmath.isnan(one) == cmath.isnan(other)
