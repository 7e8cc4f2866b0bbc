"""Products whose operands share words or have parts: bf16 by pairs, bytes by fours, complex numbers; long K; epilogues.

Templates are compared with their meanings in NumPy, on every target this machine runs, and the driver with those in the
order that contract.h fixes. Bits must be equal whatever the target, the strides, the batch and the number of threads.
"""

import ctypes
import dataclasses
import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from contractions import (
    KC,
    NUMPY,
    RUNTIME,
    canonical,
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
    contraction_complex,
    contraction_matmul,
    contraction_micro,
    contraction_products,
    contraction_words,
    native,
)
from flambeau.codegen.contraction import loaded
from flambeau.codegen.target import AVX2, AVX512, AVX512_DOT, TARGETS, host

pytestmark = needs_cc
X86 = host().name.startswith("x86-64")
# Every way to multiply pairs of bf16; the last is what a processor does that can't flush after rounding.
PLAIN = dataclasses.replace(AVX2, name="plain", flushes=False)
RUNS = [t for t in (AVX512_DOT, AVX512, AVX2, PLAIN) if X86 and t.vector_bits <= host().vector_bits
        and set(t.dots) <= set(host().dots)]  # fmt: skip
GROUPS = {"f32": 1, "i32": 1, "bf16": 2, "i8": 4}


@pytest.fixture
def on_target(monkeypatch):
    """Makes plans for another target than the host's best."""
    caches = [f for f in vars(contraction_matmul).values() if hasattr(f, "cache_clear")]

    def switch(target):
        for f in caches:
            f.cache_clear()
        for module in (contraction_matmul, contraction_matmul.native):
            monkeypatch.setattr(module, "host", lambda: target)
        for name in ("micro_kernel", "pack_kernel", "dots_kernel"):
            monkeypatch.setattr(contraction_matmul, name, lambda dtype, name=name: fresh(name, dtype, target))

    yield switch
    for f in caches:
        f.cache_clear()


def fresh(name, dtype, target):
    from flambeau.codegen import contraction, contraction_dots, contraction_pack

    if name == "pack_kernel":
        return loaded(contraction_pack.render(dtype, contraction.SUMS.get(dtype, dtype), target), target)
    return loaded((contraction_dots if name == "dots_kernel" else contraction_micro).render(dtype, target), target)


def multiply(plan, a, b, c, bias=None, scale=(0, 0)):
    problem = matmul_problem(a, b, c, bias)
    problem.scale = scale
    assert library().fb_multiply(ctypes.c_char_p(plan), ctypes.byref(problem)) == 0
    return c


def bf16(x):
    """The bits of float32 numbers cut to bf16, and the numbers these are."""
    bits = (np.ascontiguousarray(x, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32)


def awkward(shape, seed):
    """bf16 numbers of every kind: any bits at all, and many so small that products and sums are near 2^-126."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 1 << 16, shape).astype(np.uint16)
    small = (bits & 0x807F) | (rng.integers(55, 73, shape) << 7).astype(np.uint16)
    bits = np.where(rng.random(shape) < 0.7, small, bits)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32)


def paired(a, b):
    """sum over k of a[..., k] * b[..., k] as contract.h and the table have it for bf16; the operands are float32."""
    a, b = np.broadcast_arrays(a, b)
    if a.shape[-1] % 2:
        a, b = (np.concatenate([x, np.zeros((*x.shape[:-1], 1), np.float32)], -1) for x in (a, b))
    total = np.zeros(a.shape[:-1], np.float32)
    for k0 in range(0, max(1, a.shape[-1]), 2 * KC):
        chain = np.zeros(a.shape[:-1], np.float32)
        for k in range(k0, min(k0 + 2 * KC, a.shape[-1]), 2):
            chain = contraction_products.pairs_meaning(a[..., k : k + 2], b[..., k : k + 2], chain)
        with np.errstate(invalid="ignore", over="ignore"):
            total = total + chain
    return total


def rounded(x):
    """The bits of float32 numbers rounded to bf16, ties to even; NaN as one NaN."""
    bits = x.view(np.uint32)
    return np.where(np.isnan(x), 0x7FC0, (bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def tile_of(kernel, a, b, sums, lanes, width):
    """One call of a micro-kernel: a [m, k] and b [k, n] in words."""
    (m, k), n = a.shape, b.shape[1]
    padded = np.zeros((k, width), b.dtype)
    padded[:, :n] = b
    c = np.full((m, n), 77, sums)
    a_off, b_off = np.arange(k, dtype=np.int64), np.arange(k, dtype=np.int64) * width
    tile = (word * 11)(a.ctypes.data, padded.ctypes.data, c.ctypes.data, a_off.ctypes.data, b_off.ctypes.data, k, n,
                       m, n, k, 0)  # fmt: skip
    ctypes.CFUNCTYPE(None, pointer)(kernel)(tile)
    return c


@pytest.mark.parametrize("target", RUNS, ids=lambda t: t.name)
@pytest.mark.parametrize("dtype", GROUPS)
def test_a_template_does_what_its_meaning_says(dtype, target):
    if dtype == "i8" and "i8" not in target.dots:
        pytest.skip("the target multiplies bytes as integers of 32 bits")
    group, sums = GROUPS[dtype], {"bf16": "f32", "i8": "i32"}.get(dtype, dtype)
    lanes = contraction_micro.lanes(sums, target)
    kernel = loaded(contraction_micro.render(sums, target, dtype), target)
    meaning, width = contraction_products.product(dtype, target).meaning, contraction_micro.tile(target).widest * lanes
    for m, n, k, seed in ((13, width, 40, 0), (1, 3, 7, 1), (5, lanes, 1, 2), (8, width - 1, 150, 3)):
        if dtype == "bf16":
            (a, x), (b, y) = awkward((m, k, 2), seed), awkward((k, n, 2), seed + 100)
        else:
            a, b = (numbers(s, dtype, seed) for s in ((m, k, group), (k, n, group)))
            x, y = a, b
        expected = np.zeros((m, n), NUMPY[sums])
        for i in range(k):
            expected = meaning(x[:, None, i], y[None, i], expected)
        as_words = [np.ascontiguousarray(v).view("u4")[..., 0] if group > 1 else v[..., 0] for v in (a, b)]
        same(tile_of(kernel, *as_words, NUMPY[sums], lanes, width), expected + np.zeros_like(expected))


@pytest.mark.parametrize("target", RUNS, ids=lambda t: t.name)
def test_panels_of_every_width_and_height(target, on_target):
    """The plan of products has wider panels than that of convolutions; all say what plain C does."""
    on_target(target)
    plan, lanes = contraction_matmul.plan("f32"), contraction_micro.lanes("f32", target)
    for m, n in ((1, 2 * lanes + 1), (7, 3 * lanes), (12, 4 * lanes), (17, 4 * lanes + 1), (29, 7 * lanes - 1), (8, 1)):
        a, b = numbers((m, 300)), numbers((300, n), seed=1)
        for x, y in ((a, b), (np.asfortranarray(a), b), (a, np.asfortranarray(b))):
            x, y = (guarded(v) if v.flags.c_contiguous else guarded(v.T).T for v in (x, y))
            c = guarded(np.empty((m, n), np.float32))
            same(multiply(plan, x, y, c), matmul(plain(), a, b, np.empty((m, n), np.float32)))


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "i8", "u8", "f64"])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_operands_that_many_units_share(dtype, batch):
    """Many columns: a, which must be copied, is copied once for all; many rows: b. Each column knows only itself."""
    for m, k, n in ((60, 530, 1100), (700, 1030, 130)):
        rows = np.zeros((k, 1024), NUMPY.get(dtype, np.uint16))
        rows[:, :m] = bf16(numbers((k, m)))[0] if dtype == "bf16" else numbers((k, m), dtype)
        a = guarded(rows)[:, :m].T
        b = bf16(numbers((*batch, k, n), seed=1))[0] if dtype == "bf16" else numbers((*batch, k, n), dtype, 1)
        b, plan = guarded(b), contraction_matmul.plan(dtype)
        a = np.broadcast_to(a, (*batch, *a.shape))
        c = multiply(plan, a, b, guarded(np.zeros((*batch, m, n), b.dtype)))
        for i in range(0, n, 97):
            some = b[..., i : i + 3]
            one = multiply(plan, a[..., :5, :], some, np.zeros((*batch, 5, some.shape[-1]), b.dtype))
            same(c[..., :5, i : i + 3], one)


def test_the_pairs_of_the_model_are_an_exact_chain_where_nothing_is_tiny():
    (_, x), (_, y) = bf16(numbers((50, 2))), bf16(numbers((50, 2), seed=1))
    c = numbers(50, seed=2)
    same(contraction_products.pairs_meaning(x, y, c), fma32(x[:, 0], y[:, 0], fma32(x[:, 1], y[:, 1], c)))
    tiny = np.float32([[2.0**-75 * 1.5, 0]]), np.float32([[-(2.0**-76), 0]])
    # 2^-126 less three quarters of the distance to the next number, were there one: below after rounding.
    assert contraction_products.pairs_meaning(*tiny, np.float32([2.0**-126])) == 0
    assert contraction_products.pairs_meaning(*tiny, np.float32([2.0**-125])) == np.float32(2.0**-125)


@pytest.mark.parametrize("m, n, k", [(4, 8, 8), (1, 1, 1), (13, 33, 71), (3, 40, 512), (29, 17, 1100), (1, 50, 301)])
@pytest.mark.parametrize("layout", ["nn", "tn", "nt", "tt"])
def test_bf16_follows_its_order(m, n, k, layout):
    (a, x), (b, y) = awkward((m, k), 5), awkward((k, n), 6)
    a, b = (np.asfortranarray(v) if t == "t" else v for v, t in zip((a, b), layout, strict=True))
    expected = paired(x[:, None, :], y.T[None, :, :])
    c = multiply(contraction_matmul.plan("bf16"), a, b, np.zeros((m, n), np.uint16))
    nan = np.isnan(expected)
    np.testing.assert_array_equal(c[~nan], rounded(expected)[~nan])
    assert np.isnan((c.astype(np.uint32) << 16).view(np.float32)[nan]).all()


@pytest.mark.skipif(len(RUNS) < 2, reason="one target alone")
def test_targets_agree_on_bf16_and_bytes(on_target):
    (a, _), (b, _) = awkward((75, 611), 1), awkward((611, 90), 2)
    i, j = numbers((75, 611), "i8"), numbers((611, 90), "i8", 1)
    found = []
    for target in RUNS[:3]:
        on_target(target)
        plans = contraction_matmul.plan("bf16"), contraction_matmul.plan("i8", "i32")
        found.append((multiply(plans[0], a, b, np.zeros((75, 90), np.uint16)),
                      multiply(plans[1], i, j, np.zeros((75, 90), np.int32))))  # fmt: skip
    assert struct.unpack_from("=q", contraction_matmul.plan("bf16"), 8)[0] == 2
    for pairs, whole in found[1:]:
        number = ~np.isnan((found[0][0].astype(np.uint32) << 16).view(np.float32))
        np.testing.assert_array_equal(pairs[number], found[0][0][number])
        np.testing.assert_array_equal(whole, found[0][1])


@pytest.mark.parametrize("dtype", ["i8", "u8"])
@pytest.mark.parametrize("m, n, k", [(5, 7, 9), (1, 33, 4), (40, 64, 1027), (300, 17, 130), (1, 1, 3000), (3, 5, 0)])
def test_bytes(dtype, m, n, k):
    rng, low = np.random.default_rng(m), -128 if dtype == "i8" else 0
    a, b = (rng.integers(low, low + 256, s).astype(NUMPY[dtype]) for s in ((m, k), (k, n)))
    a[: m // 2] = low  # the extreme, all along k
    exact = a.astype(np.int64) @ b.astype(np.int64)
    for x, y in ((a, b), (np.asfortranarray(a), np.asfortranarray(b))):
        whole = multiply(contraction_matmul.plan(dtype), x, y, np.full((m, n), 7, NUMPY[dtype]))
        np.testing.assert_array_equal(whole, exact.astype(NUMPY[dtype]))
        if dtype == "i8":
            wide = multiply(contraction_matmul.plan("i8", "i32"), x, y, np.full((m, n), 7, np.int32))
            np.testing.assert_array_equal(wide, exact)


@pytest.mark.parametrize("source, group, size", [("bf16", 2, 2), ("i8", 4, 1)])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_words(source, group, size, data):
    """Element k % group of word to[k / group * to_k + i] is from[off[i] + k * from_k]; nothing else is written."""
    sums = {"bf16": "f32", "i8": "i32"}[source]
    m, n = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    from_i, from_k = data.draw(st.sampled_from([(1, m + 3), (n + 2, 1), (3 * n, 3), (0, 1), (1, 1)]))
    off = np.arange(m) * from_i if data.draw(st.booleans()) else np.random.default_rng(m).integers(0, 300, m)
    memory = np.random.default_rng(n).integers(0, 1 << 8 * size, 6000).astype(f"u{size}")
    steps, starts = -(-n // group), source == "i8" and "i8" in host().dots
    to = np.full((steps + 1, m + 2), 0x77777777, np.uint32)
    table = None if data.draw(st.booleans()) and (off == np.arange(m) * from_i).all() else off.astype(np.int64)
    packing = (word * 8)(memory.ctypes.data, to.ctypes.data, table.ctypes.data if table is not None else 0,
                         from_i, from_k, m + 2, m, n)  # fmt: skip
    kernel = loaded(contraction_words.render(source, sums, group, host(), False, starts), host())
    ctypes.CFUNCTYPE(None, pointer)(kernel)(packing)
    expected = np.zeros((steps * group, m), memory.dtype)
    expected[:n] = memory[off[None, :] + np.arange(n)[:, None] * from_k]
    elements = np.ascontiguousarray(to[:steps, :m]).view(memory.dtype).reshape(steps, m, group)
    np.testing.assert_array_equal(elements.transpose(0, 2, 1).reshape(-1, m), expected)
    assert (to[:, m:] == 0x77777777).all()
    if starts:
        total = expected.view(np.int8).astype(np.int32).sum(0)
        np.testing.assert_array_equal(to[steps, :m].view(np.int32), -128 * total)
    else:
        assert (to[steps] == 0x77777777).all()


@pytest.mark.parametrize("layout", ["nn", "tn", "nt", "tt", "ss"])
@pytest.mark.parametrize("m, n, k", [(4, 8, 8), (1, 1, 1), (13, 19, 70), (3, 40, 256), (1, 50, 301), (70, 1, 40)])
def test_complex_follows_the_order_of_its_parts(m, n, k, layout):
    def draw(shape, seed, t):
        x = (numbers(shape, seed=seed) + 1j * numbers(shape, seed=seed + 10)).astype(np.complex64)
        if t == "s":
            return np.repeat(x, 3, 1)[:, ::3]
        return np.asfortranarray(x) if t == "t" else x

    a, b = draw((m, k), 1, layout[0]), draw((k, n), 2, layout[1])
    c = multiply(contraction_matmul.plan("c64"), a, b, np.zeros((m, n), np.complex64))
    parts = np.stack([a.real, a.imag], -1).reshape(m, 2 * k)[:, None]
    columns = b.T[None]
    real = canonical(parts, np.stack([columns.real, -columns.imag], -1).reshape(1, n, 2 * k))
    imaginary = canonical(parts, np.stack([columns.imag, columns.real], -1).reshape(1, n, 2 * k))
    same(c.real, real)
    same(c.imag, imaginary)


DTYPES = ["f32", "f64", "f16", "bf16", "i8", "i32", "c64", "c128"]


def draw(shape, dtype, seed):
    if dtype == "bf16":
        return bf16(numbers(shape, seed=seed))[0]
    if dtype[0] == "c":
        x = numbers(shape, seed=seed) + 1j * numbers(shape, seed=seed + 50)
        return x.astype({"c64": np.complex64, "c128": np.complex128}[dtype])
    return numbers(shape, dtype, seed)


@pytest.fixture
def threads():
    yield library().fb_set_num_threads
    library().fb_set_num_threads(1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_know_neither_threads_nor_rows_nor_columns(dtype, threads):
    """A long K of few sums, whose blocks are tasks, and many rows, for which b is packed beforehand."""
    plan = contraction_matmul.plan(dtype)
    for m, n, k in ((10, 37, 9000), (801, 70, 600), (3, 1, 70000)):
        a, b = draw((m, k), dtype, 1), draw((k, n), dtype, 2)
        for x in (a, np.asfortranarray(a)):
            threads(1)
            whole = multiply(plan, x, b, np.zeros((m, n), a.dtype))
            for count in (2, 3, 4, 7):
                threads(count)
                np.testing.assert_array_equal(multiply(plan, x, b, np.zeros((m, n), a.dtype)), whole)
            for i in (0, m - 1):
                row = multiply(plan, x[i : i + 1], b, np.zeros((1, n), a.dtype))
                np.testing.assert_array_equal(row, whole[i : i + 1])
            column = multiply(plan, x, b[:, n - 1 :], np.zeros((m, 1), a.dtype))
            np.testing.assert_array_equal(column, whole[:, n - 1 :])


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_read_beyond_the_operands(dtype):
    for m, n, k in ((5, 7, 9), (3, 33, 2), (40, 50, 300), (1, 1, 1), (9, 16, 17), (1, 37, 299)):
        for turn_a, turn_b in np.ndindex(2, 2):
            a = guarded(draw((k, m) if turn_a else (m, k), dtype, 1))
            b = guarded(draw((n, k) if turn_b else (k, n), dtype, 2))
            a, b = (a.T if turn_a else a), (b.T if turn_b else b)
            plan = contraction_matmul.plan(dtype)
            guarded_c = multiply(plan, a, b, guarded(np.zeros((m, n), a.dtype)))
            np.testing.assert_array_equal(guarded_c, multiply(plan, a.copy(), b.copy(), np.zeros((m, n), a.dtype)))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_target_has_kernels(target):
    texts = [contraction_complex.render(sums, target) for sums in ("f32", "f64")]
    texts += [contraction_micro.render("f32", target, "bf16"), contraction_words.render("bf16", "f32", 2, target)]
    for text in texts:
        assert len(native.compile(text, target)) > 200


def slots(dtype, *values):
    form = "=dd" if dtype == "f64" else "=f4xf4x"
    return tuple(struct.unpack("=qq", struct.pack(form, *values)))


@pytest.mark.parametrize("bias_shape", [(37,), (21, 1), (21, 37), (1, 37)])
def test_scales_and_a_residual_come_last(bias_shape):
    a, b, bias = numbers((21, 300)), numbers((300, 37), seed=1), numbers(bias_shape, seed=2)
    residual = np.broadcast_to(bias, (21, 37))
    residual = residual if residual.strides[1] else np.ascontiguousarray(residual)
    sums = canonical(a[:, None, :], b.T[None])
    plan = contraction_matmul.plan("f32", None, "columns", True)
    c = multiply(plan, a, b, np.zeros((21, 37), np.float32), residual, slots("f32", 1.7, -0.3))
    same(c, sums * np.float32(1.7) + residual * np.float32(-0.3))
    plan = contraction_matmul.plan("f64", None, None, True)
    c = multiply(plan, a.astype("f8"), b.astype("f8"), np.zeros((21, 37)), None, slots("f64", 0.25, 0))
    np.testing.assert_array_equal(c * 4, multiply(contraction_matmul.plan("f64"), a.astype("f8"), b.astype("f8"),
                                                  np.zeros((21, 37))))  # fmt: skip
    # One column: its rows become columns, and so does the residual.
    column = multiply(contraction_matmul.plan("f32", None, "columns"), a, b[:, :1], np.zeros((21, 1), np.float32),
                      np.ascontiguousarray(residual[:, :1]))  # fmt: skip
    same(column, sums[:, :1] + residual[:, :1])


@pytest.mark.parametrize(
    "flags, threads",
    [
        (("-fsanitize=address,undefined", "-fno-sanitize-recover=all"), ("1", "4")),
        (("-fsanitize=thread",), ("3",)),
    ],
    ids=["address", "thread"],
)
def test_the_sanitizers_find_nothing(tmp_path, flags, threads):
    """products.c: the driver over kernels in plain C, in a process of its own."""
    source, program = Path(__file__).parent / "products.c", tmp_path / "products"
    files = [RUNTIME / f"{name}.c" for name in ("pool", "alloc", "heap", "system", "contract")]
    command = ["cc", "-std=c11", "-O1", "-g", "-pthread", "-ffp-contract=off", *flags, f"-I{RUNTIME}"]
    built = subprocess.run([*command, *files, source, "-o", program, "-lm"], capture_output=True, text=True)
    if built.returncode and re.search("cannot find.*[atu]b?san", built.stderr):
        pytest.skip("cc has no such sanitizer here")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([program, *threads], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "ok\n", done.stdout + done.stderr
