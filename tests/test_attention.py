"""Attention in blocks: against NumPy in float64, its gradients of both orders, its bits, its memory, its errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn.functional import scaled_dot_product_attention as attend
from flambeau.ops.attention import composed

RNG = np.random.default_rng(0)
# batch, heads, heads of keys, queries, keys, width, width of values: within blocks, over their edges, one query.
SHAPES = [(2, 3, 3, 5, 7, 4, 4), (1, 4, 2, 70, 300, 16, 8), (2, 2, 1, 130, 600, 64, 40), (1, 2, 2, 1, 513, 8, 8)]


def expected(q, k, v, mask=None, causal=False, scale=None):
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    x = q @ np.swapaxes(k, -1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if causal:
        x = np.where(np.tri(*x.shape[-2:], dtype=bool), x, -np.inf)
    if mask is not None:
        x = np.where(mask, x, -np.inf) if mask.dtype == bool else x + mask
    most = x.max(-1, keepdims=True)
    e = np.exp(x - np.where(np.isinf(most), 0, most))
    total = e.sum(-1, keepdims=True)
    return e / np.where(total == 0, 1, total) @ v


def drawn(shape, seed=0):
    rng = np.random.default_rng(seed)
    b, h, g, n, s, w, wv = shape
    return rng.normal(size=(b, h, n, w)), rng.normal(size=(b, g, s, w)), rng.normal(size=(b, g, s, wv))


def masks(kind, shape):
    b, _, _, n, s, _, _ = shape
    if kind == "bool":
        mask = RNG.random((n, s)) > 0.4
        mask[n // 2] = False
        return mask
    return {"float": RNG.normal(size=(b, 1, n, s)), "column": RNG.normal(size=(n, 1)), None: None}[kind]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("how", ["plain", "causal", "bool", "float", "column"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-5), ("bfloat16", 0.05)])
def test_against_numpy(shape, how, dtype, tolerance):
    arrays = drawn(shape)
    given = [fb.tensor(x).to(getattr(fb, dtype)) for x in arrays]
    arrays = [x.double().numpy() for x in given]
    mask = masks(how if how not in ("plain", "causal") else None, shape)
    m = None if mask is None else fb.tensor(mask)
    y = attend(*given, attn_mask=m, is_causal=how == "causal", enable_gqa=True)
    assert y.dtype is given[0].dtype
    np.testing.assert_allclose(
        y.double().numpy(), expected(*arrays, mask, how == "causal"), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("how", ["plain", "causal", "bool", "float"])
@pytest.mark.parametrize("heads", [1, 8])
def test_gradients(how, heads):
    """Over several blocks of queries and keys, few heads and many, against the gradients of the ops it is made of."""
    shape = (1, heads, 1 if heads == 1 else 4, 150, 300, 8, 12)
    mask = masks(how if how in ("bool", "float") else None, shape)
    m = None if mask is None else fb.tensor(mask)
    given = [fb.tensor(x, requires_grad=True) for x in drawn(shape)]
    g = fb.tensor(RNG.normal(size=(1, heads, 150, 12)))
    found = fb.autograd.grad(attend(*given, attn_mask=m, is_causal=how == "causal", enable_gqa=True), given, g)
    slow = composed(*given, m, how == "causal", 1 / math.sqrt(8), 0.0, 0, 0)
    for x, y in zip(found, fb.autograd.grad(slow, given, g), strict=True):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("how", ["plain", "causal", "bool"])
def test_both_orders(how):
    given = [fb.tensor(x, requires_grad=True) for x in drawn((1, 2, 1, 3, 4, 2, 3))]
    mask = fb.tensor([[True, False, True, True]] * 2 + [[False] * 4]) if how == "bool" else None

    def f(q, k, v):
        return attend(q, k, v, attn_mask=mask, is_causal=how == "causal", enable_gqa=True)

    assert gradcheck(f, given)
    assert gradgradcheck(f, given)


def test_a_learnt_mask_has_a_gradient():
    q, k, v = (fb.tensor(x) for x in drawn((1, 2, 2, 3, 4, 2, 3)))
    bias = fb.tensor(RNG.normal(size=(3, 4)), requires_grad=True)
    assert gradcheck(lambda bias: attend(q, k, v, attn_mask=bias), (bias,))


@pytest.mark.parametrize("heads", [1, 16])
def test_bits_depend_on_a_query_and_its_keys_alone(heads, threads):
    """Not on threads, batch, heads, other queries, strides, nor, for causal rows, on keys that aren't seen."""
    q, k, v = (fb.tensor(x.astype("float32")) for x in drawn((2, heads, heads, 300, 600, 16, 16)))
    g = fb.tensor(RNG.normal(size=(2, heads, 300, 16)).astype("float32"))

    def run(q, k, v, g, **how):
        given = [x.detach().requires_grad_() for x in (q, k, v)]
        y = attend(*given, **how)
        return [y.detach(), *fb.autograd.grad(y, given, g)]

    whole = run(q, k, v, g, is_causal=True)
    for n in (1, 2, 3, 4, 7):
        threads(n)
        assert all(x.equal(y) for x, y in zip(run(q, k, v, g, is_causal=True), whole, strict=True))
    strided = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v, g)]
    assert all(x.equal(y) for x, y in zip(run(*strided, is_causal=True), whole, strict=True))
    # What is made lies as what it is made from does, so undoing the transposition copies nothing.
    assert all(x.transpose(1, 2).is_contiguous() for x in run(*strided, is_causal=True))
    assert all(x.is_contiguous() for x in whole)
    one = run(*(x[1:, :1] for x in (q, k, v, g)), is_causal=True)
    assert all(x.equal(y[1:, :1]) for x, y in zip(one, whole, strict=True))
    assert attend(q[:, :, :70], k[:, :, :70], v[:, :, :70], is_causal=True).equal(whole[0][:, :, :70])


def test_dropout_drops_the_same_weights_in_both_directions():
    """The gradients are those of the composition under the same draw, and about p of the weights are gone."""
    given = [fb.tensor(x, requires_grad=True) for x in drawn((2, 2, 2, 70, 300, 8, 8))]
    g = fb.tensor(RNG.normal(size=(2, 2, 70, 8)))
    generator = fb.manual_seed(5)
    y = attend(*given, dropout_p=0.3)
    found = fb.autograd.grad(y, given, g)
    generator.manual_seed(5)
    slow = composed(*given, None, False, 1 / math.sqrt(8), 0.3, *generator.draw())
    np.testing.assert_allclose(y.detach().numpy(), slow.detach().numpy(), rtol=1e-12, atol=1e-12)
    for a, b in zip(found, fb.autograd.grad(slow, given, g), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-11, atol=1e-12)
    ones = attend(fb.zeros(1, 1, 100, 4), fb.zeros(1, 1, 100, 4), fb.ones(1, 1, 100, 1), dropout_p=0.3)
    assert 0.9 < ones.mean().item() < 1.1 and ones.std().item() > 0.01


def test_memory_is_linear_in_the_keys():
    q, k, v = (fb.zeros(1, 1, 4096, 16, requires_grad=True) for _ in range(3))
    fb.reset_peak_memory_stats()
    before = fb.memory_stats()["live"]
    attend(q, k, v).sum().backward()
    assert fb.memory_stats()["peak"] - before < 4096 * 16 * 4 * 40  # the weights alone would be 4096 * 4096 * 4


def test_shapes():
    assert attend(fb.zeros(3, 4), fb.zeros(5, 4), fb.zeros(5, 6)).shape == (3, 6)
    assert attend(fb.zeros(2, 3, 4), fb.zeros(2, 5, 4), fb.zeros(2, 5, 6)).shape == (2, 3, 6)
    assert attend(fb.zeros(7, 1, 2, 3, 4), fb.zeros(6, 2, 5, 4), fb.zeros(6, 2, 5, 6)).shape == (7, 6, 2, 3, 6)
    assert attend(fb.zeros(2, 2, 0, 4), fb.zeros(2, 2, 5, 4), fb.zeros(2, 2, 5, 6)).shape == (2, 2, 0, 6)
    assert not attend(fb.zeros(1, 1, 2, 4), fb.zeros(1, 1, 0, 4), fb.zeros(1, 1, 0, 6)).any()


@pytest.mark.parametrize(
    ("shapes", "how", "message"),
    [
        (((2, 3, 4), (2, 5, 3), (2, 5, 6)), {}, "width"),
        (((2, 3, 4), (2, 5, 4), (2, 6, 6)), {}, "keys"),
        (((1, 4, 3, 4), (1, 3, 5, 4), (1, 3, 5, 6)), {"enable_gqa": True}, "multiple"),
        (((1, 4, 3, 4), (1, 2, 5, 4), (1, 2, 5, 6)), {}, "enable_gqa"),
        (((2, 3, 4), (2, 5, 4), (2, 5, 4)), {"attn_mask": fb.zeros(4, 5)}, "mask"),
        (((2, 3, 4), (2, 5, 4), (2, 5, 4)), {"dropout_p": 1.5}, "dropout_p"),
        (((4,), (5, 4), (5, 4)), {}, "dimensions"),
    ],
)
def test_bad_input(shapes, how, message):
    with pytest.raises((RuntimeError, ValueError), match=message):
        attend(*(fb.zeros(*s) for s in shapes), **how)
