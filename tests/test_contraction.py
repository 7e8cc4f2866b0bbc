"""Matrix products: the driver in C over generated kernels, against the canonical order of contract.h; and the kernels.

Convolutions have their own file. What both share, the order in NumPy and the calls, is in contractions.py.
"""

import ctypes
import struct
from fractions import Fraction

import numpy as np
import pytest
from contractions import (
    KC,
    NUMPY,
    canonical,
    convolve,
    fma32,
    guarded,
    library,
    matmul,
    matmul_problem,
    needs_cc,
    numbers,
    plain,
    pointer,
    same,
    word,
)  # fmt: skip
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.codegen import (
    contraction,
    contraction_dots,
    contraction_micro,
    contraction_pack,
    contraction_slide,
    native,
)
from flambeau.codegen.target import AVX2, TARGETS, host
from flambeau.ir.expr import const, maximum

pytestmark = needs_cc


@pytest.fixture
def on_target(monkeypatch):
    """Makes plans for another target than the host's best."""
    caches = contraction.plan, contraction.micro_kernel, contraction.dots_kernel, contraction.pack_kernel

    def switch(target):
        for f in caches:
            f.cache_clear()
        monkeypatch.setattr(contraction, "host", lambda: target)

    yield switch
    for f in caches:
        f.cache_clear()


def test_fma32_rounds_once():
    a, b = np.float32([1 + 2**-12, 1 + 2**-23, 3e38, 1e-30]), np.float32([1 + 2**-12, 1 - 2**-23, 2, 1e-15])
    c = np.float32([-1, -1, -3e38, 2**-149])
    exact = [Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)) for x, y, z in zip(a, b, c, strict=True)]
    assert fma32(a, b, c).tolist() == [float(np.float32(float(x))) for x in exact]


@pytest.mark.parametrize("m, n, k", [(4, 8, 8), (1, 1, 1), (13, 33, 70), (3, 40, 256), (29, 17, 600), (1, 50, 300)])
@pytest.mark.parametrize("layout", ["nnn", "tnn", "ntn", "ttt", "nnt"])
def test_matmul_follows_the_canonical_order(m, n, k, layout):
    a, b, c = numbers((m, k)), numbers((k, n), seed=1), np.full((m, n), np.nan, np.float32)
    a, b, c = (np.asfortranarray(x) if t == "t" else x for x, t in zip((a, b, c), layout, strict=True))
    same(matmul(contraction.plan("f32"), a, b, c), canonical(a[:, None, :], b.T[None, :, :]))


def test_matmul_f64_follows_the_canonical_order():
    a, b = numbers((3, 260), "f64"), numbers((260, 9), "f64", 1)
    expected = np.zeros((3, 9))
    for i in range(3):
        for j in range(9):
            total = 0.0
            for k0 in (0, KC):
                chain = 0.0
                for k in range(k0, min(k0 + KC, 260)):
                    chain = float(Fraction(a[i, k]) * Fraction(b[k, j]) + Fraction(chain))
                total += chain
            expected[i, j] = total
    same(matmul(contraction.plan("f64"), a, b, np.empty((3, 9))), expected)


@pytest.mark.parametrize("bias_shape, kind", [((37,), "columns"), ((21, 1), "rows"), ((21, 37), "columns")])
def test_bias_and_epilogue_come_last(bias_shape, kind):
    a, b, bias = numbers((21, 300)), numbers((300, 37), seed=1), numbers(bias_shape, seed=2)
    sums = canonical(a[:, None, :], b.T[None]) + bias
    same(matmul(contraction.plan("f32", None, kind), a, b, np.empty((21, 37), np.float32), bias), sums)
    x = contraction.result_var("f32")
    relu = contraction.plan("f32", maximum(x, const(0.0, "f32")), kind)
    same(matmul(relu, a, b, np.empty((21, 37), np.float32), bias), np.maximum(sums, 0))


@pytest.mark.parametrize("dtype", ["i8", "u8", "i16", "i32", "i64"])
def test_integers_wrap_around(dtype):
    a, b = numbers((9, 300), dtype), numbers((300, 40), dtype, 1)
    expected = (a.astype(np.int64) @ b.astype(np.int64)).astype(NUMPY[dtype])
    for x, y in ((a, b), (np.asfortranarray(a), np.asfortranarray(b))):
        np.testing.assert_array_equal(matmul(contraction.plan(dtype), x, y, np.zeros((9, 40), NUMPY[dtype])), expected)
        row = matmul(contraction.plan(dtype), x[4:5], y, np.zeros((1, 40), NUMPY[dtype]))
        np.testing.assert_array_equal(row, expected[4:5])


def test_half_precision_sums_in_float32():
    a, b, bias = numbers((20, 300), "f16"), numbers((300, 70), "f16", 1), numbers(70, "f16", 2)
    sums = canonical(a.astype(np.float32)[:, None, :], b.T.astype(np.float32)[None])
    c = matmul(contraction.plan("f16", None, "columns"), a, b, np.empty((20, 70), np.float16), bias)
    np.testing.assert_array_equal(c, (sums + bias.astype(np.float32)).astype(np.float16))
    a, b = numbers((20, 300)).view(np.uint32) >> 16, numbers((300, 70), seed=1).view(np.uint32) >> 16
    sums = canonical((a << 16).view(np.float32)[:, None, :], np.ascontiguousarray((b << 16).view(np.float32).T)[None])
    bits = sums.view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    for order in "CF":
        x, y = (np.asarray(v, np.uint16, order=order) for v in (a, b))
        np.testing.assert_array_equal(matmul(contraction.plan("bf16"), x, y, np.empty((20, 70), np.uint16)), rounded)


def test_special_values():
    a = np.float32([[np.inf, 1, 0], [np.nan, 0, 0], [0, 1e38, 1e38], [1e-30, 0, 0]])
    b = np.float32([[1, 0, -1e-30], [1, 1, 1], [-np.inf, 10, 1]])
    with np.errstate(invalid="ignore", over="ignore"):
        expected = canonical(a[:, None, :], b.T[None])
    c = matmul(contraction.plan("f32"), a, b, np.empty((4, 3), np.float32))
    same(c, expected)
    assert np.isnan(c[0, 0]) and c[2, 1] == np.inf and c[3, 2] == 0
    assert (matmul(contraction.plan("f32"), a[:, :0], b[:0], np.full((4, 3), 7, np.float32)) == 0).all()


@st.composite
def operands(draw):
    """a, b and room for c with any strides, batch dimensions that may broadcast, sizes down to 0."""
    m, n, k = (draw(st.integers(0, 70)) for _ in range(3))
    batch = tuple(draw(st.integers(0, 3)) for _ in range(draw(st.integers(0, 2))))

    def tensor(rows, columns, seed, operand):
        lead = tuple(1 if operand and draw(st.booleans()) else s for s in batch)
        gap, step = draw(st.integers(0, 3)), draw(st.sampled_from([1, 1, 1, 2])) if operand else 1
        turned = draw(st.booleans())
        inner, outer = (rows, columns) if turned else (columns, rows)
        x = numbers((*lead, outer, step * inner + gap), "f32", seed)[..., : step * inner : step]
        return x.swapaxes(-1, -2) if turned else x

    return tensor(m, k, 1, True), tensor(k, n, 2, True), tensor(m, n, 3, False)


@settings(max_examples=150, deadline=None)
@given(operands())
def test_generated_kernels_agree_with_plain_c(case):
    a, b, c = case
    expected, d = matmul(plain(), a, b, c).copy(), c
    d[...] = np.nan
    same(matmul(contraction.plan("f32"), a, b, d), expected)
    loop = np.matmul(a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(d, np.broadcast_to(loop, d.shape), atol=1e-4)


def test_targets_agree(on_target):
    if not host().name.startswith("x86-64"):
        pytest.skip("AVX2 kernels run on x86-64 only")
    a, b, x, w = numbers((75, 700)), numbers((700, 90), seed=1), numbers((2, 5, 11, 12)), numbers((18, 5, 3, 3), seed=1)
    how = 1, (1, 2), (1, 1), (1, 1)
    wide = contraction.plan("f32")
    on_target(AVX2)
    narrow = contraction.plan("f32")
    assert struct.unpack("=12q", narrow)[3] == 8
    for plan in (narrow, plain()):
        for turned in (b, b.T.copy().T):
            same(*(matmul(p, a, turned, np.empty((75, 90), np.float32)) for p in (plan, wide)))
            same(*(matmul(p, a[:1], turned, np.empty((1, 90), np.float32)) for p in (plan, wide)))
        for one, other in zip(convolve(plan, x, w, *how), convolve(wide, x, w, *how), strict=True):
            same(one, other)


def test_targets_that_load_whole_vectors_only(on_target, monkeypatch):
    """NEON's plan, in shape: three vectors wide, b read beyond its columns and so only where that is allowed."""
    shapes = {key: contraction_micro.Tile((4, 1), 3, False) for key in contraction_micro.TILES}
    monkeypatch.setattr(contraction_micro, "TILES", shapes)
    on_target(host())
    plan = contraction.plan("f32")
    for n in (1, 13, 16, 17, 48, 70):
        a, b = numbers((7, 300)), guarded(numbers((300, n), seed=1))
        same(*(matmul(p, a, b, np.empty((7, n), np.float32)) for p in (plan, plain())))
    x, w = guarded(numbers((2, 5, 9, 11))), numbers((20, 5, 3, 3), seed=1)
    how = 1, (1, 1), (0, 0), (1, 1)
    for one, other in zip(convolve(plan, x, w, *how), convolve(plain(), x, w, *how), strict=True):
        same(one, other)


def test_a_row_knows_neither_batch_nor_threads():
    a, b, plan = numbers((3, 301, 700)), numbers((700, 333), seed=1), contraction.plan("f32")
    library().fb_set_num_threads(1)
    whole = matmul(plan, a, b, np.empty((3, 301, 333), np.float32))
    for threads in (2, 3, 4, 7):
        library().fb_set_num_threads(threads)
        same(matmul(plan, a, b, np.empty((3, 301, 333), np.float32)), whole)
    for i in (0, 100, 300):
        same(matmul(plan, a[1, i : i + 1], b, np.empty((1, 333), np.float32)), whole[1, i : i + 1])
        same(matmul(plan, a[1], b[:, i : i + 1], np.empty((301, 1), np.float32)), whole[1][:, i : i + 1])


@pytest.mark.parametrize("batches", [(2, 2), (2, 1)])
@pytest.mark.parametrize("dtype", ["f32", "f16"])
def test_b_packed_once_for_many_rows(dtype, batches):
    """Enough rows that b is packed beforehand; each row is what it is alone."""
    a, b = numbers((batches[0], 801, 300), dtype), numbers((batches[1], 300, 70), dtype, 1)
    for turned in (b, b.swapaxes(1, 2).copy().swapaxes(1, 2)):
        c = matmul(contraction.plan(dtype), a, turned, np.empty((2, 801, 70), NUMPY[dtype]))
        for i, j in ((0, 0), (0, 400), (1, 7), (1, 800)):
            alone = matmul(contraction.plan(dtype), a[i, j : j + 1], b[i % batches[1]], np.empty((1, 70), NUMPY[dtype]))
            same(c[i, j : j + 1], alone)


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16"])
def test_nothing_is_read_beyond_the_operands(dtype):
    plan = contraction.plan(dtype)
    for m, n, k in ((5, 7, 9), (3, 33, 2), (40, 50, 300), (1, 1, 1), (9, 16, 17), (1, 37, 299)):
        for turn_a, turn_b in np.ndindex(2, 2):
            a = guarded(numbers((k, m) if turn_a else (m, k), dtype))
            b = guarded(numbers((n, k) if turn_b else (k, n), dtype))
            a, b = (a.T if turn_a else a), (b.T if turn_b else b)
            c = matmul(plan, a, b, guarded(np.zeros((m, n), NUMPY[dtype])))
            exact = a.astype(np.float64) @ b.astype(np.float64)
            np.testing.assert_allclose(c, exact, atol=0.5 if dtype == "f16" else 1e-3)
    for padding in (0, 1):
        x, w = guarded(numbers((2, 3, 7, 9), dtype)), guarded(numbers((20, 3, 3, 3), dtype, 1))
        gradient = guarded(numbers((2, 20, 5 + 2 * padding, 7 + 2 * padding), dtype))
        assert all(np.isfinite(v).all() for v in convolve(plan, x, w, 1, (1, 1), (padding,) * 2, (1, 1), gradient))


@pytest.mark.parametrize("source", ["f32", "bf16", "f16", "i8", "f64", "i64"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_pack(source, data):
    """to[k * to_k + i] = from[off[i] + k * from_k], and nothing else is written."""
    dtype = contraction.SUMS.get(source, source)
    m, n = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    from_i, from_k = data.draw(st.sampled_from([(1, m + 3), (n + 2, 1), (3 * n, 3), (0, 1), (1, 1)]))
    off = np.arange(m) * from_i if data.draw(st.booleans()) else np.random.default_rng(m).integers(0, 300, m)
    raw = numbers(6000, "f32" if source == "bf16" else source)
    values = (raw.view(np.uint32) >> 16 << 16).view(np.float32) if source == "bf16" else raw
    memory = (raw.view(np.uint32) >> 16).astype(np.uint16) if source == "bf16" else raw
    to = np.full((n, m + 2), 77, NUMPY[dtype])
    table = None if data.draw(st.booleans()) and (off == np.arange(m) * from_i).all() else off.astype(np.int64)
    packing = (word * 8)(memory.ctypes.data, to.ctypes.data, table.ctypes.data if table is not None else 0,
                         from_i, from_k, m + 2, m, n)  # fmt: skip
    ctypes.CFUNCTYPE(None, pointer)(contraction.pack_kernel(source))(packing)
    index = off[None, :] + np.arange(n)[:, None] * from_k
    np.testing.assert_array_equal(to[:, :m], values[index].astype(NUMPY[dtype]))
    assert (to[:, m:] == 77).all()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "i64", "bf16"])
def test_every_target_has_kernels(dtype, target):
    sums = contraction.SUMS.get(dtype, dtype)
    texts = [generator.render(sums, target) for generator in (contraction_micro, contraction_dots)]
    for text in (*texts, contraction_pack.render(dtype, sums, target)):
        assert len(native.compile(text, target)) > 200
    for kind in (*contraction_slide.KINDS, *contraction_slide.MOVES):
        window = contraction.Window(kind, (3, 3), (2, 2), (1, 1))
        if contraction_slide.is_supported(sums, window, target):
            assert len(native.compile(contraction_slide.render(sums, window, target), target)) > 200


def test_out_of_memory_is_reported():
    a, c = np.zeros((600, 600), np.float32), np.empty((600, 600), np.float32)
    p, lib = matmul_problem(a, a, c), library()
    lib.fb_memory_trim()
    lib.fb_memory_set_limit(ctypes.c_size_t(1))
    try:
        assert lib.fb_matmul(contraction.plan("f32"), ctypes.byref(p)) == -1
    finally:
        lib.fb_memory_set_limit(ctypes.c_size_t(0))
    assert lib.fb_matmul(contraction.plan("f32"), ctypes.byref(p)) == 0


def test_plans_say_what_they_are_for():
    with pytest.raises(TypeError, match="contraction: dtype must be an integer or floating one, got c64"):
        contraction.plan("c64")
    with pytest.raises(ValueError, match="contraction: bias must be None, 'rows' or 'columns', got 'both'"):
        contraction.plan("f32", None, "both")
