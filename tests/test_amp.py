"""autocast casts what PyTorch's lists for the CPU name, and nothing else; GradScaler finds its factor."""

from __future__ import annotations

import warnings

import pytest

import flambeau as fb
from flambeau import nn
from flambeau.nn import functional as F

X = fb.randn(4, 8, generator=fb.Generator().manual_seed(0))
LOW = X.bfloat16()
TARGET = fb.tensor([1, 2, 3, 0])

LOWER = {
    "matmul": lambda: X @ X.T,
    "linear": lambda: F.linear(X, X, X[:, 0]),
    "bmm": lambda: fb.bmm(X[None], X.T[None]),
    "conv1d": lambda: F.conv1d(X[None], fb.ones(2, 4, 3)),
    "conv2d, mixed": lambda: F.conv2d(LOW[None, None], fb.ones(2, 1, 3, 3), fb.ones(2)),
    "conv_transpose2d": lambda: F.conv_transpose2d(X[None, None], fb.ones(1, 2, 3, 3)),
    "attention, mixed": lambda: F.scaled_dot_product_attention(LOW[None, None], X[None, None], X[None, None]),
    "lstm": lambda: nn.LSTM(8, 3)(X[None])[0],
    "einsum": lambda: fb.einsum("ij,kj->ik", X, LOW),
}
FULL = {
    "cross_entropy": lambda: F.cross_entropy(LOW, TARGET),
    "nll_loss": lambda: F.nll_loss(LOW, TARGET),
    "mse_loss": lambda: F.mse_loss(LOW, LOW * 2),
    "l1_loss": lambda: F.l1_loss(LOW, LOW * 2),
    "smooth_l1_loss": lambda: F.smooth_l1_loss(LOW, LOW * 2),
    "bce": lambda: F.binary_cross_entropy_with_logits(LOW, LOW.sigmoid()),
    "prod": lambda: LOW.prod(),
}
AS_GIVEN = {
    "softmax": (lambda: LOW.softmax(1), fb.bfloat16),
    "gelu": (lambda: F.gelu(X), fb.float32),
    "layer_norm": (lambda: F.layer_norm(LOW, (8,)), fb.bfloat16),
    "cat": (lambda: fb.cat([X, LOW]), fb.float32),
    "float64": (lambda: X.double() @ X.double().T, fb.float64),
}


@pytest.mark.parametrize("name", LOWER)
def test_products_run_in_the_lower_precision(name):
    with fb.autocast("cpu"):
        assert LOWER[name]().dtype is fb.bfloat16
    with fb.autocast("cpu", fb.float16):
        assert LOWER[name]().dtype is fb.float16


@pytest.mark.parametrize("name", FULL)
def test_losses_run_in_float32(name):
    with fb.autocast("cpu"):
        assert FULL[name]().dtype is fb.float32


@pytest.mark.parametrize("name", AS_GIVEN)
def test_the_rest_takes_what_it_gets(name):
    run, dtype = AS_GIVEN[name]
    with fb.autocast("cpu"):
        assert run().dtype is dtype


def test_the_result_is_that_of_casting_by_hand():
    with fb.autocast("cpu"):
        y = X @ X.T
    assert y.equal(LOW @ LOW.T)


def test_regions_nest_switch_off_and_decorate():
    assert not fb.is_autocast_enabled("cpu")
    with fb.autocast("cpu"):
        with fb.autocast("cpu", enabled=False):
            assert (X @ X.T).dtype is fb.float32 and not fb.is_autocast_enabled("cpu")
        with fb.autocast("cpu", dtype=fb.float16):
            assert (X @ X.T).dtype is fb.float16 and fb.get_autocast_dtype("cpu") is fb.float16
        assert (X @ X.T).dtype is fb.bfloat16
    assert (X @ X.T).dtype is fb.float32
    decorated = fb.autocast("cpu")(lambda a: a @ a.T)
    assert decorated(X).dtype is fb.bfloat16 and decorated(X).dtype is fb.bfloat16


def test_parameters_are_cast_once_and_get_float32_gradients():
    layer = nn.Linear(8, 8)
    with fb.autocast("cpu") as region:
        y = layer(layer(X))
        assert len(fb.amp.autocast_mode.state.active.cache) == 2  # weight and bias
    assert region is not None and fb.amp.autocast_mode.state.active is None
    y.float().sum().backward()
    assert layer.weight.grad.dtype is fb.float32 and layer.weight.grad.abs().sum() > 0
    with fb.autocast("cpu"):
        before = layer(X)
        with fb.no_grad():
            layer.weight.zero_()
            layer.bias.zero_()
        assert layer(X).abs().sum() == 0 and before.abs().sum() > 0  # a changed parameter is cast anew


def test_devices_that_are_not_here_warn_and_do_nothing():
    with pytest.warns(UserWarning, match="'cuda' isn't available"), fb.autocast("cuda"):
        assert (X @ X.T).dtype is fb.float32
    with pytest.warns(UserWarning, match="bfloat16 or float16"), fb.autocast("cpu", fb.float64):
        assert (X @ X.T).dtype is fb.float32
    with pytest.warns(UserWarning, match="disabled"):
        assert not fb.cuda.amp.GradScaler().is_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fb.cuda.amp.GradScaler(enabled=False), fb.cuda.amp.autocast(enabled=False)


def test_custom_functions_in_regions():
    seen = []

    class Product(fb.autograd.Function):
        @staticmethod
        @fb.amp.custom_fwd(device_type="cpu", cast_inputs=fb.float32)
        def forward(ctx, a, b):
            seen.append((a.dtype, (a @ b).dtype))
            ctx.save_for_backward(a, b)
            return a @ b

        @staticmethod
        @fb.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            return g @ b.T, a.T @ g

    a = LOW.clone().requires_grad_()
    with fb.autocast("cpu"):
        y = Product.apply(a, LOW.T)
    y.sum().backward()
    assert seen == [(fb.float32, fb.float32)] and a.grad.dtype is fb.bfloat16


def test_scaler_skips_backs_off_and_grows():
    w = nn.Parameter(fb.ones(2))
    optimizer = fb.optim.SGD([w], lr=1.0)
    scaler = fb.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    scaler.scale((w * 0.5).sum()).backward()
    assert w.grad.tolist() == [4.0, 4.0]
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [0.5, 0.5] and scaler.get_scale() == 8.0
    optimizer.zero_grad()
    w.grad = fb.tensor([1.0, float("inf")])
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [0.5, 0.5] and scaler.get_scale() == 4.0
    for _ in range(2):
        w.grad = fb.ones(2)
        scaler.unscale_(optimizer)
        assert w.grad.tolist() == [0.25, 0.25] or scaler.get_scale() != 4.0
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 8.0
    with pytest.raises(RuntimeError, match="no gradients were unscaled"):
        scaler.update()
    again = fb.amp.GradScaler("cpu")
    again.load_state_dict(scaler.state_dict())
    assert again.state_dict() == scaler.state_dict()
    off = fb.amp.GradScaler(enabled=False)
    assert off.scale(w) is w and off.state_dict() == {} and off.get_scale() == 1.0


def test_autocast_switched_on_and_off_by_hand():
    def product():
        return (fb.ones(2, 2) @ fb.ones(2, 2)).dtype

    fb.set_autocast_enabled("cpu", True)
    try:
        fb.set_autocast_enabled("cpu", True)
        assert product() is fb.bfloat16 and fb.is_autocast_enabled("cpu")
    finally:
        fb.set_autocast_enabled("cpu", False)
    assert product() is fb.float32 and not fb.is_autocast_enabled("cpu")
    with fb.autocast("cpu"):
        fb.set_autocast_enabled("cpu", False)
        assert product() is fb.float32
    fb.set_autocast_enabled(True)
    assert product() is fb.float32, "one argument speaks of cuda"
    with fb.autocast("cpu"):
        assert product() is fb.bfloat16
    assert product() is fb.float32
