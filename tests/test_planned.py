"""Planned calls: what decides a launch is thought through once, and again wherever something that decides differs."""

from __future__ import annotations

import numpy as np
import pytest
from flambeau.core._core import Plan, Step

import flambeau as fb
import flambeau.nn.functional as F
from flambeau.core import _core
from flambeau.core.interpreters import Interpreter
from flambeau.ir.expr import cast, const, load, var
from flambeau.ir.kernel import Buffer, For, Kernel, Scalar, Store
from flambeau.ops.primitive import generated, planned


@generated
def scale_kernel(dtype: str) -> Kernel:
    i = var("i")
    body = (Store("y", i, load("x", dtype, i) * cast(var("by", "f64"), dtype)),)
    params = (Buffer("x", dtype), Buffer("y", dtype, "w"), Scalar("by", "f64"), Scalar("n"))
    return Kernel("planned_scale", params, (For(i, const(0, "i64"), var("n"), body, parallel=True, vector=True),))


def scaling(strided: bool = False):
    """y = x · by twice over, through a scratch tensor; and the shapes, strides and numbers its plans were made for."""
    asked = []

    @planned(strided=strided)
    def scaled(x, by):
        asked.append((tuple(x.shape), x.stride(), x.dtype, by))
        n = x.numel()
        made = (x.shape, x.dtype)
        first, second = (Step(scale_kernel(x.dtype.ir), at, (by, n), n, 64, n) for at in ((0, 2), (2, 1)))
        return Plan([made, made], first, second, keep=1)

    return scaled, asked


def test_a_plan_is_made_once_for_what_decides_it():
    scaled, asked = scaling()
    for seed in range(3):
        x = fb.randn(3, 4, generator=fb.Generator().manual_seed(seed))
        np.testing.assert_array_equal(scaled(x, 2.0).numpy(), x.numpy() * 4)
    assert len(asked) == 1
    for x, by in ((fb.randn(4, 3), 2.0), (fb.randn(3, 4).double(), 2.0), (fb.randn(3, 4), 3.0)):
        np.testing.assert_allclose(scaled(x, by).numpy(), x.numpy() * by**2, rtol=1e-6)
    assert len(asked) == 4


def test_tensors_that_are_not_contiguous_are_copied_first():
    scaled, _ = scaling()
    x = fb.randn(4, 6)
    np.testing.assert_array_equal(scaled(x.t(), 2.0).numpy(), x.numpy().T * 4)
    np.testing.assert_array_equal(scaled(x[:, ::2], 2.0).numpy(), x.numpy()[:, ::2] * 4)


def test_strided_plans_tell_strides_apart():
    scaled, asked = scaling(strided=True)
    x = fb.randn(3, 3)
    scaled(x, 2.0), scaled(x.t(), 2.0), scaled(x.t(), 2.0)
    assert [strides for _, strides, *_ in asked] == [(3, 1), (1, 3)]


def test_an_error_is_raised_again():
    asked = []

    @planned()
    def refuses(x):
        asked.append(x)
        raise RuntimeError("refused")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="refused"):
            refuses(fb.ones(2))
    assert len(asked) == 2


def test_empty_tensors_launch_nothing():
    scaled, _ = scaling()
    assert scaled(fb.ones(0, 3), 2.0).shape == (0, 3)


INDEX = np.array([[2, 0, 1], [1, 1, 0]])


@pytest.mark.parametrize("dtype", [fb.bool, fb.int16, fb.float32, fb.float64, fb.complex128])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_small_elements_along_a_dimension(dtype, dim):
    x = (fb.arange(9).reshape(3, 3) % 5).to(dtype)
    index = fb.tensor(INDEX.T.copy() if dim else INDEX)
    found = _core.take_along(x, dim, index)
    assert found.dtype is dtype
    np.testing.assert_array_equal(found.numpy(), np.take_along_axis(x.numpy(), index.numpy(), dim))


@pytest.mark.parametrize("dim", [0, 1, 2, -2])
@pytest.mark.parametrize("index", [[2, 0, 1, 1], [[0, 1], [2, 2]], []])
def test_small_rows_along_a_dimension(dim, index):
    x = fb.arange(3 * 3 * 4).reshape(3, 3, 4)
    places = fb.tensor(index, dtype=fb.int64)
    np.testing.assert_array_equal(
        _core.take_rows(x, places, dim).numpy(), np.take(x.numpy(), np.array(index, np.int64), dim)
    )


def test_what_is_not_small_or_plain_is_left_to_kernels():
    x, index = fb.randn(3, 3), fb.tensor(INDEX)
    recorded = fb.randn(3, 3, requires_grad=True)
    assert _core.take_along(x, 0, index) is not None
    for places in (index.t(), index - 1, index + 1, index.int(), index[:, ::2], [0]):
        assert _core.take_along(x, 0, places) is None
    assert _core.take_along(recorded, 0, index) is None
    assert _core.take_rows(recorded, index) is None
    assert _core.take_rows(x, index + 1) is None
    assert _core.take_rows(x, index).shape == (2, 3, 3)


def test_whether_indices_are_surely_within():
    assert _core.surely_within(fb.tensor([0, 4]), 0, 5)
    assert not _core.surely_within(fb.tensor([0, 5]), 0, 5)
    assert not _core.surely_within(fb.tensor([-1, 3]), 0, 5)
    assert _core.surely_within(fb.zeros(0, dtype=fb.int64), 0, 0)
    assert not _core.surely_within(fb.zeros(10**5, dtype=fb.int64), 0, 1)


IMAGES, ROWS, CLASSES = (2, 4, 8, 8), (4, 8), np.array([1, 7, 0, 3])
SHORT = {
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), IMAGES),
    "max_pool2d indices": (lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True)[1], IMAGES),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2), (2, 4, 4, 4, 4)),
    "avg_pool3d": (lambda x: F.avg_pool3d(x, 3, 1, 1), (2, 4, 4, 4, 4)),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, 3), IMAGES),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, (3, None)), IMAGES),
    "pad": (lambda x: F.pad(x, (1, 2, 0, 1), value=0.5), IMAGES),
    "pad reflect": (lambda x: F.pad(x, (1, 2, 3, 1), mode="reflect"), IMAGES),
    "interpolate": (lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"), IMAGES),
    "grid_sample": (lambda x: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1), align_corners=False), IMAGES),
    "unfold": (lambda x: F.unfold(x, 3, padding=1), IMAGES),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), IMAGES),
    "group_norm": (lambda x: F.group_norm(x, 2), IMAGES),
    "instance_norm": (lambda x: F.instance_norm(x), IMAGES),
    "cosine_similarity": (lambda x: F.cosine_similarity(x, x.flip(0)), ROWS),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), IMAGES),
    "nll_loss": (lambda x: F.nll_loss(x, fb.tensor(CLASSES)), ROWS),
    "cross_entropy": (lambda x: F.cross_entropy(x, fb.tensor(CLASSES), reduction="sum"), ROWS),
}


class Plain(Interpreter):
    def process(self, call):
        return call()


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("recorded", [False, True])
def test_later_calls_give_what_the_function_gives(name, recorded):
    """Under an interpreter nothing is remembered; and strides and dtypes are told apart."""
    function, shape = SHORT[name]
    for seed, dtype in enumerate([fb.float32] * 4 + [fb.float64] * 3):
        g = fb.Generator().manual_seed(seed)
        x = fb.randn(*shape, generator=g, dtype=dtype)
        x = x.mT.contiguous().mT if seed == 2 else x
        x.requires_grad_(recorded)
        found = function(x)
        with Plain():
            expected = function(x)
        assert found.dtype is expected.dtype
        np.testing.assert_array_equal(found.detach().numpy(), expected.detach().numpy())
        if recorded and found.requires_grad:
            weights = fb.randn(*found.shape, generator=g, dtype=dtype)
            np.testing.assert_array_equal(
                fb.autograd.grad((found * weights).sum(), x)[0].numpy(),
                fb.autograd.grad((expected * weights).sum(), x)[0].numpy(),
            )


def test_elements_of_arguments_are_not_remembered():
    x = fb.arange(4.0).reshape(1, 1, 4)
    for value in (1.0, 2.0, 3.0):
        assert F.pad(x, (1, 0), value=fb.tensor(value))[0, 0, 0] == value
        assert F.interpolate(x, size=(fb.tensor(int(value)),)).shape[2] == value
    for value in (0.0, -0.0):
        assert np.signbit(F.pad(x, (1, 0), value=value).numpy()[0, 0, 0]) == np.signbit(value)


def test_a_class_out_of_range_is_an_error_each_time():
    for loss in (F.nll_loss, F.cross_entropy):
        for bad in (8, -1, 8):
            assert loss(fb.zeros(4, 8), fb.tensor(CLASSES)) is not None
            with pytest.raises(IndexError, match=f"target {bad} is out of bounds for 8 classes"):
                loss(fb.zeros(4, 8), fb.tensor([0, 1, bad, 2]))


def test_a_resolved_function_binds_as_python_does():
    x = fb.randn(1, 1, 4, 4)
    for _ in range(2):
        assert F.max_pool2d(x, stride=1, kernel_size=[2, 2]).shape == (1, 1, 3, 3)
        for args, kwargs in (((x,), {}), ((x, 2), {"kernel": 2}), ((x, 2), {"kernel_size": 2}), ((x, *range(9)), {})):
            with pytest.raises(TypeError, match="max_pool2d"):
                F.max_pool2d(*args, **kwargs)
