"""What the tests of contractions share: the driver in C, called by ctypes, plans, and the canonical order in NumPy.

The runtime is compiled with cc, together with a plan whose kernels are plain C, as an exported program would bring
them: what these compute is the meaning, and every target must agree with it bit for bit.
"""

import ctypes
import functools
import itertools
import mmap
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from flambeau.codegen.target import host

RUNTIME = Path(__file__).parent.parent / "flambeau" / "runtime"
NUMPY = {"f32": np.float32, "f64": np.float64, "i8": np.int8, "u8": np.uint8, "i16": np.int16, "i32": np.int32,
         "i64": np.int64, "f16": np.float16}  # fmt: skip
KC = 256
PLAN_BYTES = 12 * 8
PLAIN = r"""
#include <math.h>
#include "contract.h"
static void micro(const fb_tile *t) {
    for (int64_t i = 0; i < t->m; i++)
        for (int64_t j = 0; j < t->n; j++) {
            const float *a = (const float *)t->a + i * t->a_row, *b = (const float *)t->b + j;
            float sum = 0, *c = (float *)t->c + i * t->c_row + j;
            for (int64_t k = 0; k < t->k; k++) sum = fmaf(a[t->a_off[k]], b[t->b_off[k]], sum);
            *c = (t->accumulate ? *c : 0) + sum;
        }
}
static void pack(const fb_packing *p) {
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t k = 0; k < p->n; k++) {
            int64_t row = p->off ? p->off[i] : i * p->from_i;
            ((float *)p->to)[k * p->to_k + i] = ((const float *)p->from)[row + k * p->from_k];
        }
}
const fb_contraction plain = {4, 4, 5, 5, 0, micro, 0, pack, pack, 0, 0, 0};
"""

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (cc)")
word, pointer = ctypes.c_int64, ctypes.c_void_p


class Matmul(ctypes.Structure):
    """fb_matmul_problem."""

    _fields_ = (
        [(x, pointer) for x in ("a", "b", "bias", "c")]
        + [("batch", word * 2), ("m", word), ("n", word), ("k", word)]
        + [("a_batch", word * 2), ("a_m", word), ("a_k", word)]
        + [("b_batch", word * 2), ("b_k", word), ("b_n", word)]
        + [("c_batch", word * 2), ("c_m", word), ("c_n", word)]
        + [("bias_batch", word * 2), ("bias_m", word), ("bias_n", word), ("scale", word * 2)]
    )


class Conv(ctypes.Structure):
    """fb_conv_problem."""

    _fields_ = (
        [(x, pointer) for x in ("x", "w", "y", "bias")]
        + [(x, word) for x in ("batch", "groups", "in_channels", "out_channels")]
        + [(x, word * 3) for x in ("size", "out", "kernel", "stride", "padding", "dilation")]
        + [(x, word * 5) for x in ("x_stride", "w_stride", "y_stride")]
        + [("bias_stride", word)]
    )


@functools.cache
def library():
    """The runtime and the plain plan, compiled once."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "plain.c"), Path(folder, "runtime.so")
        source.write_text(PLAIN)
        flags = [
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-ffp-contract=off",
            "-pthread",
            "-shared",
            "-fPIC",
            f"-I{RUNTIME}",
        ]
        if host().name.startswith("x86-64"):
            flags.append("-mfma")
        files = [*sorted(RUNTIME.glob("*.c")), source]
        subprocess.run(["cc", "-std=c11", *flags, *files, "-lm", "-o", target], check=True)
        lib = ctypes.CDLL(str(target))
    for name in ("fb_matmul", "fb_conv", "fb_conv_data_gradient", "fb_conv_weight_gradient"):
        getattr(lib, name).argtypes = [ctypes.c_char_p, pointer]
    return lib


def plain():
    """The plan, for f32, of kernels in plain C."""
    return ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(library(), "plain")), PLAN_BYTES)


def element_strides(x):
    return tuple(s // x.itemsize for s in x.strides)


def matmul_problem(a, b, c, bias=None):
    """c[...] = a @ b (+ bias), operands of up to four dimensions."""

    def four(x):
        s = element_strides(np.broadcast_to(x, (*c.shape[:-2], *x.shape[-2:])))
        return (*(0,) * (4 - len(s)), *s)

    s, t, u = four(a), four(b), four(c)
    v = four(np.broadcast_to(bias, c.shape)) if bias is not None else (0,) * 4
    return Matmul(
        a.ctypes.data, b.ctypes.data, bias.ctypes.data if bias is not None else None, c.ctypes.data,
        (1, 1, *c.shape)[-4:-2], c.shape[-2], c.shape[-1], a.shape[-1],
        s[:2], *s[2:], t[:2], *t[2:], u[:2], *u[2:], v[:2], *v[2:],
    )  # fmt: skip


def matmul(plan, a, b, c, bias=None):
    assert library().fb_matmul(plan, ctypes.byref(matmul_problem(a, b, c, bias))) == 0
    return c


def conv_problem(x, w, y, groups, stride, padding, dilation, bias=None):
    def five(x):
        s = element_strides(x)
        return (s[0], s[1], 0, s[2], s[3])

    return Conv(
        x.ctypes.data, w.ctypes.data, y.ctypes.data, bias.ctypes.data if bias is not None else None,
        x.shape[0], groups, x.shape[1], w.shape[0], (1, *x.shape[2:]), (1, *y.shape[2:]), (1, *w.shape[2:]),
        (1, *stride), (0, *padding), (1, *dilation), five(x), five(w), five(y), 1,
    )  # fmt: skip


def out_size(size, kernel, stride, padding, dilation):
    dims = zip(size, kernel, stride, padding, dilation, strict=True)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in dims)


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def convolve(plan, x, w, groups, stride, padding, dilation, gradient=None, last=False):
    """y, and the gradients of x and w for a gradient of y (numbers, if none is given); by one plan or by three."""
    plans = plan if isinstance(plan, tuple) else (plan,) * 3
    shape = (x.shape[0], w.shape[0], *out_size(x.shape[2:], w.shape[2:], stride, padding, dilation))
    gy = numbers(shape, seed=5).astype(x.dtype) if gradient is None else gradient
    y, gx, gw = (np.full(s, np.nan, x.dtype) for s in (shape, x.shape, w.shape))
    if last:
        x, w, y, gy, gx, gw = map(channels_last, (x, w, y, gy, gx, gw))
    how, lib = (groups, stride, padding, dilation), library()
    assert lib.fb_conv(plans[0], ctypes.byref(conv_problem(x, w, y, *how))) == 0
    assert lib.fb_conv_data_gradient(plans[1], ctypes.byref(conv_problem(gx, w, gy, *how))) == 0
    assert lib.fb_conv_weight_gradient(plans[2], ctypes.byref(conv_problem(x, gw, gy, *how))) == 0
    return y, gx, gw


def fma32(a, b, c):
    """a * b + c of float32 arrays, rounded once: in float64, to odd, so that rounding again can't err."""
    p, c = a.astype(np.float64) * b, c.astype(np.float64)
    s = p + c
    with np.errstate(invalid="ignore"):
        t = s - p
        error = (p - (s - t)) + (c - t)
    even = (s.view(np.int64) & 1 == 0) & (error != 0) & np.isfinite(s)
    return np.where(even, np.nextafter(s, np.copysign(np.inf, error)), s).astype(np.float32)


def canonical(a, b):
    """The sum over k of a[..., k] * b[..., k] in the order that contract.h fixes; float32."""
    a, b = np.broadcast_arrays(a, b)
    total = np.zeros(a.shape[:-1], np.float32)
    for k0 in range(0, max(1, a.shape[-1]), KC):
        chain = np.zeros(a.shape[:-1], np.float32)
        for k in range(k0, min(k0 + KC, a.shape[-1])):
            chain = fma32(a[..., k], b[..., k], chain)
        total = total + chain
    return total


def canonical_lanes(gy, windows):
    """The weight gradient of one channel to one, [c, taps], of gy [n, c, h, w] and windows [n, c, h, w, taps]."""
    (count, channels, height, width), taps = gy.shape, windows.shape[-1]
    total = np.zeros((16, channels, taps), np.float32)
    rows = max(1, KC // -(-min(width, 16 * KC) // 16))
    for n, top, left in itertools.product(range(count), range(0, height, rows), range(0, width, 16 * KC)):
        chain = np.zeros_like(total)
        for r in range(top, min(height, top + rows)):
            for j in range(left, min(width, left + 16 * KC)):
                a, b = gy[n, :, r, j, None], windows[n, :, r, j]
                chain[j % 16] = fma32(a, b, chain[j % 16])
        total = total + chain
    while len(total) > 1:
        total = total[: len(total) // 2] + total[len(total) // 2 :]
    return total[0]


def numbers(shape, dtype="f32", seed=0):
    rng = np.random.default_rng(seed)
    if dtype[0] in "iu":
        return rng.integers(-100 if dtype[0] == "i" else 0, 100, shape).astype(NUMPY[dtype])
    return rng.standard_normal(shape).astype(NUMPY[dtype])


def same(x, y):
    """Equal bits; any NaN equals any other."""
    np.testing.assert_array_equal(x, y)
    ordered = ~np.isnan(x)
    np.testing.assert_array_equal(np.signbit(x) & ordered, np.signbit(y) & ordered)


def guarded(x):
    """A copy of x that ends where readable memory does."""
    size = -(-x.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    end = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + size
    assert ctypes.CDLL(None).mprotect(pointer(end), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    copy = np.frombuffer(memory, x.dtype, x.size, size - x.nbytes).reshape(x.shape)
    copy[...] = x
    return copy
