"""Pooling over windows of every geometry against NumPy: images wide enough for vectors, and their edges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import flambeau as fb
import flambeau.nn.functional as F

GEOMETRIES = [
    (kernel, stride, padding, dilation, ceil_mode)
    for kernel, stride, padding, dilation, ceil_mode in itertools.product(
        ((2, 2), (3, 3), (1, 4), (5, 2)), (1, 2, 3), (0, 1), (1, 2), (False, True)
    )
    if padding <= min(kernel) // 2
]


def places(size: int, k: int, s: int, p: int, d: int, count: int) -> list[list[int]]:
    """For each output the places of its window that are inside."""
    return [[i * s - p + a * d for a in range(k) if 0 <= i * s - p + a * d < size] for i in range(count)]


def random_images(shape: tuple[int, ...]) -> np.ndarray:
    """Few different numbers, so that maxima tie; some NaN and -inf."""
    rng = np.random.default_rng(shape[-1])
    x = rng.integers(-4, 4, shape).astype(np.float32)
    x[rng.random(shape) < 0.02], x[rng.random(shape) < 0.05] = np.nan, -np.inf
    return x


@pytest.mark.parametrize("size", [(5, 7), (9, 70), (4, 35)])
def test_maxima_are_the_first_of_a_window_and_their_gradients_go_there(size):
    x = random_images((2, *size))
    for kernel, stride, padding, dilation, ceil_mode in GEOMETRIES:
        if any((k - 1) * dilation + 1 > n + 2 * padding for k, n in zip(kernel, size, strict=True)):
            continue
        given = fb.tensor(x, requires_grad=True)
        y, at = F.max_pool2d(given, kernel, stride, padding, dilation, ceil_mode, return_indices=True)
        rows, cols = (
            places(n, k, stride, padding, dilation, count)
            for n, k, count in zip(size, kernel, y.shape[1:], strict=True)
        )
        want = np.zeros(at.shape, np.int64)
        for c, i, j in np.ndindex(*at.shape):
            inside = [r * size[1] + q for r in rows[i] for q in cols[j]]
            values = x[c].ravel()[inside]
            nans = np.flatnonzero(np.isnan(values))
            want[c, i, j] = inside[nans[-1] if len(nans) else int(np.argmax(values))]
        assert (at.numpy() == want).all(), (kernel, stride, padding, dilation, ceil_mode)
        assert np.array_equal(y.detach().numpy(), np.take_along_axis(x.reshape(2, -1), want.reshape(2, -1), 1).reshape(
            want.shape), equal_nan=True)  # fmt: skip
        y.sum().backward()
        counts = np.stack([np.bincount(w.ravel(), minlength=size[0] * size[1]) for w in want])
        assert (given.grad.numpy().reshape(2, -1) == counts).all()


@pytest.mark.parametrize("include_pad", [False, True])
def test_means_are_of_what_is_inside(include_pad):
    size = (9, 70)
    x = np.random.default_rng(1).standard_normal((2, *size))
    for kernel, stride, padding, dilation, ceil_mode in GEOMETRIES:
        if dilation > 1:
            continue
        y = F.avg_pool2d(fb.tensor(x), kernel, stride, padding, ceil_mode, include_pad).numpy()
        for c, i, j in np.ndindex(*y.shape):
            starts = i * stride - padding, j * stride - padding
            stops = [min(a + k, n + padding) for a, k, n in zip(starts, kernel, size, strict=True)]
            inside = x[c, max(starts[0], 0) : stops[0], max(starts[1], 0) : stops[1]]
            inside = inside[: size[0] - max(starts[0], 0), : size[1] - max(starts[1], 0)]
            count = (stops[0] - starts[0]) * (stops[1] - starts[1]) if include_pad else inside.size
            assert abs(y[c, i, j] - inside.sum() / count) < 1e-12, (kernel, stride, padding, ceil_mode)
