"""The array API standard's reductions, linear algebra and Fourier transforms against array-api-strict.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from array_api_reference import (
    COMPLEX,
    FLOATS,
    NUMERIC,
    accepted,
    arrays,
    axes_of,
    check,
    compare,
    ours,
    quick,
    ref,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import flambeau as fb
from flambeau import array_api as xp


# ---- statistics
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "var", "std", "all", "any", "count_nonzero"])
@given(data=st.data())
@quick
def test_reductions(name, data):
    dtype = data.draw(st.sampled_from([d for (d,) in accepted(name, 1)]))
    shape = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1 if name in ("max", "min", "mean") else 0, max_side=4)
    x = data.draw(arrays(dtype, shape, special=name not in ("mean", "var", "std", "sum", "prod")))
    kwargs = {"axis": data.draw(axes_of(x.ndim)), "keepdims": data.draw(st.booleans())}
    if name in ("var", "std"):
        kwargs["correction"] = data.draw(st.sampled_from((0.0, 1, 0.5)))
        assume(x.size and min(x.shape, default=2) > 1 and kwargs["axis"] != ())
    if name in ("sum", "prod") and dtype in FLOATS:
        kwargs["dtype"] = data.draw(st.sampled_from((None, fb.float64)))
        x = np.asarray(np.clip(x, -10, 10))
    if name in ("var", "std"):
        x = np.asarray(np.clip(x, -10, 10))
    if name in ("var", "std") and dtype == "float32":
        # compared with float64, whose rounding doesn't show in float32
        got = np.asarray(getattr(xp, name)(ours(x), **kwargs))
        np.testing.assert_allclose(got, getattr(np, name)(x.astype("float64"), axis=kwargs["axis"],
            keepdims=kwargs["keepdims"], ddof=kwargs["correction"]), rtol=1e-5, atol=1e-5)  # fmt: skip
        return
    compare(name, x, **kwargs)


@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
@given(data=st.data())
@quick
def test_running_sums_and_products(name, data):
    dtype = data.draw(st.sampled_from(NUMERIC))
    x = data.draw(arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), special=False))
    if dtype in FLOATS:
        x = np.asarray(np.clip(x, -5, 5))
    kwargs = {"axis": data.draw(st.integers(-x.ndim, x.ndim - 1)), "include_initial": data.draw(st.booleans())}
    compare(name, x, **kwargs)
    if x.ndim == 1:
        compare(name, x)


@given(st.data(), st.sampled_from(NUMERIC))
@quick
def test_diff(data, dtype):
    x = data.draw(arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), special=False))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    compare("diff", x, axis=axis)
    compare("diff", x, axis=axis, n=2, prepend=x, append=x)


# ---- linear algebra
def matrices(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if dtype in COMPLEX else x).astype(dtype)


@given(st.data(), st.sampled_from(NUMERIC), st.sampled_from(NUMERIC))
@quick
def test_products(data, a, b):
    assume((a, b) in accepted("multiply", 2))
    n, k, m = (data.draw(st.integers(0, 4)) for _ in range(3))

    def draw(dtype, *shape):
        made = data.draw(arrays(dtype, shape, special=False))
        return made if dtype in COMPLEX else np.asarray(made % np.asarray(5, dtype))

    x, y = draw(a, 2, n, k), draw(b, k, m)
    compare("matmul", x, y)
    compare("matmul", x, draw(b, k))
    compare("matmul", draw(a, k), y)
    compare("tensordot", x, y, axes=1)
    compare("tensordot", x, y, axes=((2,), (0,)))
    compare("tensordot", x, draw(b, 2), axes=0)
    compare("vecdot", x, draw(b, n, k))
    compare("vecdot", x, draw(b, n, 1), axis=-2)
    compare("matrix_transpose", x)
    compare("outer", draw(a, n), draw(b, m), sub="linalg")
    compare("diagonal", x, sub="linalg", offset=data.draw(st.integers(-1, 1)))
    compare("trace", x, sub="linalg", offset=data.draw(st.integers(-1, 1)))
    if a in FLOATS + COMPLEX:
        axis = data.draw(axes_of(3))
        if x.size:
            for ord in (2, 1, 0, np.inf, -np.inf, 3.5):
                compare("vector_norm", x, sub="linalg", axis=axis, ord=ord, keepdims=data.draw(st.booleans()))


@pytest.mark.parametrize("dtype", FLOATS + COMPLEX)
def test_linear_algebra(dtype):
    x = matrices((2, 3, 3), dtype) + 2 * np.eye(3, dtype=dtype)
    h = x @ np.conj(x.swapaxes(-1, -2)) + np.eye(3, dtype=dtype)
    tall = matrices((2, 4, 3), dtype, 1)
    run = lambda name, *args, **kwargs: compare(name, *args, sub="linalg", **kwargs)
    run("cholesky", h)
    run("cholesky", h, upper=True)
    run("cross", x, x[::-1].copy())
    run("cross", x, x[0], axis=-2)
    for name in ("det", "inv", "slogdet", "svdvals", "pinv", "matrix_rank"):
        run(name, x)
    run("eigvalsh", h)
    for ord in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
        run("matrix_norm", tall, ord=ord)
        run("matrix_norm", tall, ord=ord, keepdims=True)
    for n in (0, 1, 3, -1):
        run("matrix_power", x, n)
    run("pinv", tall, rtol=0.1)
    run("matrix_rank", tall, rtol=0.9)
    for right in (x[0, 0], x[0], x, x[:, :, :2]):
        run("solve", x, right)
    run("solve", x[0], x)
    run("solve", x[:1, :1, :1], x[0, 0, :1])  # a vector, though its size is that of a batch of one
    run("solve", x[:, :2, :2], x[0, 0, :2])
    for other in (x[..., :1], x[:, :1]):
        with pytest.raises(ValueError, match="length 3"):
            xp.linalg.cross(ours(x), ours(other), axis=-1 if other.shape[-1] == 1 else -2)
    for full in (True, False):
        u, s, vh = xp.linalg.svd(ours(tall), full_matrices=full)
        assert tuple(u.shape) == ((2, 4, 4) if full else (2, 4, 3)) and s.dtype is u.dtype.to_real()
        np.testing.assert_allclose(np.asarray(u[..., :3] * s[:, None, :].to(u.dtype) @ vh), tall, atol=1e-5)
    for mode in ("reduced", "complete"):
        q, r = xp.linalg.qr(ours(tall), mode=mode)
        np.testing.assert_allclose(np.asarray(q @ r), tall, atol=1e-5)
        assert q.shape[-1] == (3 if mode == "reduced" else 4)
    found = xp.linalg.eigh(ours(h))
    np.testing.assert_allclose(h @ np.asarray(found.eigenvectors), np.asarray(found.eigenvectors)
                               * np.asarray(found.eigenvalues)[:, None, :], atol=1e-4)  # fmt: skip
    assert xp.linalg.qr(ours(x)).Q is not None and xp.linalg.slogdet(ours(x)).logabsdet.dtype is s.dtype
    with pytest.raises(ValueError, match="axis"):
        xp.vecdot(xp.ones(3), xp.ones(3), axis=0)


@pytest.mark.parametrize("dtype", FLOATS + COMPLEX)
@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0), (0, 2, 2), (2, 0, 2, 2), (0, 2, 3, 3)])
def test_empty_matrices_and_batches(shape, dtype):
    x = np.zeros(shape, dtype)
    run = lambda name, *args: compare(name, *args, sub="linalg")
    for name in ("det", "inv", "slogdet", "svdvals", "pinv", "eigvalsh", "eigh", "cholesky", "svd", "qr"):
        run(name, x)
    for columns in (0, 2):
        run("solve", x, np.zeros((*shape[:-1], columns), dtype))
    run("solve", np.zeros((2, 1, 2, 2), dtype) + np.eye(2, dtype=dtype), np.zeros((2, 0, 2, 3), dtype))


# ---- Fourier transforms
@pytest.mark.parametrize("dtype", FLOATS + COMPLEX)
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_fourier_transforms(dtype, norm):
    x = matrices((3, 4), dtype)
    run = lambda name, **kwargs: compare(name, x, sub="fft", norm=norm, **kwargs)
    names = ("fft", "ifft", "irfft", "hfft") if dtype in COMPLEX else ("rfft", "ihfft", "fft", "ifft")
    for name in names:
        if dtype in FLOATS and name in ("fft", "ifft"):
            continue  # left open by the standard
        run(name)
        run(name, n=5, axis=0)
    for name in ("fftn", "ifftn", "irfftn") if dtype in COMPLEX else ("rfftn",):
        run(name)
        run(name, axes=(0, 1))
        run(name, s=(2, 6), axes=(1, 0))


def test_frequencies_and_shifts():
    for n, d in itertools.product((1, 4, 5), (1.0, 0.5)):
        for name in ("fftfreq", "rfftfreq"):
            check(getattr(xp.fft, name)(n, d=d, dtype=fb.float64), getattr(ref.fft, name)(n, d=d, dtype=ref.float64))
    x = matrices((3, 4), "float64")
    for name, axes in itertools.product(("fftshift", "ifftshift"), (None, 0, (0, 1))):
        compare(name, x, sub="fft", axes=axes)
