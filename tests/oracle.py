"""What the tests against NumPy share: arrays to tensors and back, exact comparison, gradients of both orders.

Imports NumPy and `flambeau`. Used by the tests of operations (test_indexing.py, test_linalg.py, …).
"""

from __future__ import annotations

import numpy as np

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck


def array(x: fb.Tensor) -> np.ndarray:
    """By way of Python's numbers, so that it stands for every dtype."""
    return np.array(x.tolist()).reshape(tuple(x.shape))


def tensor(x: np.ndarray) -> fb.Tensor:
    return fb.from_numpy(np.ascontiguousarray(x))


def same(x: fb.Tensor, expected: np.ndarray) -> None:
    assert tuple(x.shape) == expected.shape
    np.testing.assert_array_equal(array(x), expected)


def draw(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if dtype.startswith("complex") else x).astype(dtype)


def leaf(*shape: int, seed: int = 0) -> fb.Tensor:
    values = np.random.default_rng(seed).standard_normal(shape)
    return fb.tensor(values.tolist(), dtype=fb.float64).reshape(shape).requires_grad_()


def both_orders(function, *inputs) -> None:
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)
