"""Reductions and row programs: values, the one order of summation, layouts, threads, empty and special inputs, slopes.

The order is written down here once more, in NumPy: element k of a block of 4096 goes to lane k mod 16, lanes merge in a
tree, and so do the blocks.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.special as sp

import flambeau as fb
import flambeau.nn.functional as F
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.codegen import schedule
from flambeau.ir import interpret
from flambeau.ir.kernel import Buffer
from flambeau.ops.reductions import REDUCTIONS

LENGTHS = (1, 2, 15, 16, 17, 31, 100, 4095, 4096, 4097, 8200, 100_000)
AXES = ((0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2), (-1,), (-3, -1))
RNG = np.random.default_rng(0)


def same(a: fb.Tensor, b: fb.Tensor) -> bool:
    """Bit for bit; one NaN is as good as another."""
    x, y = a.detach().numpy(), b.detach().numpy()
    signs = np.signbit(x) == np.signbit(y) if x.dtype.kind == "f" else True
    return x.dtype == y.dtype and x.shape == y.shape and bool((((x == y) & signs) | ((x != x) & (y != y))).all())


# ---- the order of summation
def in_order(x: np.ndarray) -> np.floating:
    """The sum of one row."""

    def fold(v: np.ndarray) -> np.floating:
        lanes = np.zeros(16, x.dtype)
        for k in range(0, len(v), 16):
            lanes[: len(v) - k] += v[k : k + 16]
        while len(lanes) > 1:
            lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
        return lanes[0]

    if len(x) <= 4096:
        return fold(x)
    return fold(np.array([fold(x[k : k + 4096]) for k in range(0, len(x), 4096)], x.dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("length", LENGTHS)
def test_sums_have_one_order(length, dtype, threads):
    x = (RNG.normal(size=(3, length)) * 10.0 ** RNG.integers(-3, 3, (3, length))).astype(dtype)
    expected = np.array([in_order(row) for row in x])
    t = fb.from_numpy(x)
    stepped = fb.zeros(3, length, 2, dtype=t.dtype)[:, :, 1]
    stepped.copy_(t)
    wide = fb.from_numpy(np.ascontiguousarray(np.broadcast_to(x.T[:, :, None], (length, 3, 300))))
    for n in (1, 2, 3, 7):
        threads(n)
        assert np.array_equal(t.sum(1).numpy(), expected)
        assert np.array_equal(t[1].sum().numpy(), expected[1])
        assert np.array_equal(t.t().sum(0).numpy(), expected)
        assert np.array_equal(t.t().contiguous().sum(0).numpy(), expected)
        assert np.array_equal(stepped.sum(1).numpy(), expected)
        assert (wide.sum(0).numpy() == expected[:, None]).all()
    if length < 5000:
        many = fb.from_numpy(np.tile(x, (40, 1)))
        assert np.array_equal(many.sum(1).numpy(), np.tile(expected, 40))
        assert np.array_equal(many.t().contiguous().sum(0).numpy(), np.tile(expected, 40))


def test_reductions_over_several_axes_are_one_row():
    x = RNG.normal(size=(5, 3, 7, 11)).astype(np.float32)
    t = fb.from_numpy(x)
    assert t.sum((1, 3))[2, 4].item() == in_order(x[2, :, 4].reshape(-1))
    assert t.sum((0, 2))[2, 4].item() == in_order(x[:, 2, :, 4].reshape(-1))
    assert t.permute(3, 1, 0, 2).sum((0, 1))[2, 4].item() == in_order(x[2, :, 4].transpose(1, 0).reshape(-1))
    assert t.sum().item() == in_order(x.reshape(-1))


@pytest.mark.parametrize("column", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("name", sorted(REDUCTIONS))
def test_every_reduction_is_what_the_interpreter_says(name, column):
    numbers = {"variance": (1.0,), "norm_p": (3.0,)}.get(name, ())
    if REDUCTIONS[name].definition.numbers and not numbers:
        pytest.fail(f"{name} needs numbers")
    whole = name not in ("mean", "variance", "norm2", "norm_p", "norm1", "sum_of_squares")
    for dtype in (fb.float32, fb.float64, fb.bfloat16, *((fb.int32, fb.uint8, fb.bool) if whole else ())):
        t = fb.from_numpy(RNG.integers(-9, 9, (3, 45)).astype(np.float32)).abs().to(dtype)
        fold = REDUCTIONS[name].definition.fold(dtype.ir, None)
        kernel, written = schedule.reduction(name, fold, dtype.ir, fold.out_dtypes, column, schedule.SINGLE)
        memory = t.view(fb.int16).numpy() if dtype is fb.bfloat16 else t.numpy()
        outs = [np.zeros(3, interpret.MEMORY[d]) for d in written]
        source = np.ascontiguousarray(memory.T if column else memory).reshape(-1)
        buffers = [p for p in kernel.params if isinstance(p, Buffer)]
        given = [source, *outs, 45, 45, 3 if column else 1, 1, *numbers, 1 if column else 3]
        assert len(given) == len(kernel.params) and len(buffers) == 1 + len(outs)
        interpret.run(kernel, given, 0, 1 if column else 3)
        found = REDUCTIONS[name](t.t().contiguous() if column else t, 0 if column else 1, numbers=numbers)
        for y, expected in zip(found if isinstance(found, tuple) else (found,), outs, strict=True):
            bits = y.view(fb.int16).numpy().view(np.uint16) if y.dtype is fb.bfloat16 else y.numpy()
            assert np.array_equal(bits, expected, equal_nan=bits.dtype.kind == "f"), dtype


# ---- values
def logsumexp(x, axis, keepdims):
    return sp.logsumexp(x, axis=axis, keepdims=keepdims)


VALUES = {
    "sum": (lambda t, d, k: t.sum(d, k), lambda x, axis, keepdims: x.sum(axis=axis, keepdims=keepdims)),
    "mean": (lambda t, d, k: t.mean(d, k), lambda x, axis, keepdims: x.mean(axis=axis, keepdims=keepdims)),
    "amax": (lambda t, d, k: t.amax(d, k), lambda x, axis, keepdims: x.max(axis=axis, keepdims=keepdims)),
    "amin": (lambda t, d, k: t.amin(d, k), lambda x, axis, keepdims: x.min(axis=axis, keepdims=keepdims)),
    "var": (lambda t, d, k: t.var(d, keepdim=k), lambda x, axis, keepdims: x.var(axis=axis, keepdims=keepdims, ddof=1)),
    "std": (lambda t, d, k: t.std(d, keepdim=k), lambda x, axis, keepdims: x.std(axis=axis, keepdims=keepdims, ddof=1)),
    "var0": (
        lambda t, d, k: t.var(d, correction=0, keepdim=k),
        lambda x, axis, keepdims: x.var(axis=axis, keepdims=keepdims),
    ),
    "norm": (
        lambda t, d, k: t.norm(2, d, k),
        lambda x, axis, keepdims: np.sqrt((x * x).sum(axis=axis, keepdims=keepdims)),
    ),
    "norm1": (lambda t, d, k: t.norm(1, d, k), lambda x, axis, keepdims: np.abs(x).sum(axis=axis, keepdims=keepdims)),
    "norm3": (
        lambda t, d, k: t.norm(3, d, k),
        lambda x, axis, keepdims: (np.abs(x) ** 3).sum(axis=axis, keepdims=keepdims) ** (1 / 3),
    ),
    "norm_inf": (
        lambda t, d, k: t.norm(float("inf"), d, k),
        lambda x, axis, keepdims: np.abs(x).max(axis=axis, keepdims=keepdims),
    ),
    "logsumexp": (lambda t, d, k: t.logsumexp(d, k), logsumexp),
    "any": (lambda t, d, k: (t > 1).any(d, k), lambda x, axis, keepdims: (x > 1).any(axis=axis, keepdims=keepdims)),
    "all": (lambda t, d, k: (t > -1).all(d, k), lambda x, axis, keepdims: (x > -1).all(axis=axis, keepdims=keepdims)),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values_along_any_axes(name):
    ours, numpys = VALUES[name]
    x = RNG.normal(size=(4, 5, 6))
    layouts = [fb.from_numpy(x), fb.from_numpy(np.ascontiguousarray(x.T)).permute(2, 1, 0)]
    for axes, keep, t in itertools.product(AXES, (False, True), layouts):
        expected = numpys(x, axes, keep)
        found = ours(t, axes, keep)
        assert tuple(found.shape) == expected.shape
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
        assert same(found, ours(layouts[0], axes, keep))
    for length in LENGTHS:
        x = RNG.normal(size=length) + 0.5
        if name in ("var", "std") and length == 1:
            assert ours(fb.from_numpy(x), (0,), False).isnan().item()
            continue
        np.testing.assert_allclose(ours(fb.from_numpy(x), (0,), False).numpy(), numpys(x, (0,), False), rtol=1e-11)


@pytest.mark.parametrize("length", LENGTHS)
def test_prod_and_counts(length):
    x = RNG.choice([0.5, 1.0, 2.0, -1.0], (2, length))
    t = fb.from_numpy(x)
    assert np.array_equal(t.prod(1).numpy(), x.prod(1))
    assert np.array_equal((t > 0).count_nonzero(1).numpy(), (x > 0).sum(1))
    i = RNG.integers(-(2**40), 2**40, (2, length))
    assert np.array_equal(fb.from_numpy(i).sum(1).numpy(), i.sum(1))
    assert np.array_equal(fb.from_numpy(i.astype(np.int8)).sum(1).numpy(), i.astype(np.int8).sum(1))
    assert fb.from_numpy(i.astype(np.uint8)).sum().dtype is fb.int64
    odd = i * 2 + 1
    with np.errstate(over="ignore"):
        assert np.array_equal(fb.from_numpy(odd).prod(1).numpy(), odd.prod(1))


@pytest.mark.parametrize("length", LENGTHS)
def test_positions_of_extremes(length):
    x = RNG.integers(0, 5, (3, length, 2)).astype(np.float32)  # ties nearly everywhere
    for dtype in (fb.float32, fb.float64, fb.bfloat16, fb.int64, fb.uint8):
        t = fb.from_numpy(x).to(dtype)
        assert np.array_equal(t.argmax(1).numpy(), x.argmax(1))
        assert np.array_equal(t.argmin(1).numpy(), x.argmin(1))
        assert t.argmax().item() == x.argmax()
        values, places = t.max(1)
        assert np.array_equal(values.float().numpy(), x.max(1)) and np.array_equal(places.numpy(), x.argmax(1))
        values, places = t.transpose(1, 2).min(2)
        assert np.array_equal(values.float().numpy(), x.min(1)) and np.array_equal(places.numpy(), x.argmin(1))
    if length > 20:
        for at in (0, 7, length // 2, length - 1):
            x[1, at, 1] = np.nan
            t = fb.from_numpy(x)
            assert np.isnan(t.max(1).values[1, 1].item()) and t.argmax(1)[1, 1] == np.isnan(x[1, :, 1]).argmax()
            assert np.isnan(t.amin().item()) and t.argmin().item() == np.isnan(x.reshape(-1)).argmax()


def test_special_numbers():
    inf, nan = float("inf"), float("nan")
    for length in (3, 20, 5000):
        x = np.zeros((4, length))
        x[0, 2], x[1, 1], x[2, :2], x[3, 0] = nan, inf, (inf, -inf), -inf
        t = fb.from_numpy(x)
        assert same(t.sum(1), fb.tensor([nan, inf, nan, -inf], dtype=fb.float64))
        assert same(t.amax(1), fb.tensor([nan, inf, inf, 0.0], dtype=fb.float64))
        assert same(t.amin(1), fb.tensor([nan, 0.0, -inf, -inf], dtype=fb.float64))
        assert t.var(1).isnan().all()
        assert same(t.logsumexp(1)[:2], fb.tensor([nan, inf], dtype=fb.float64))
    assert fb.full((3,), -inf).logsumexp(0).item() == -inf
    assert fb.full((3,), -inf).amax().item() == -inf and fb.full((3,), -inf).argmax().item() == 0
    assert fb.full((3,), nan).argmax().item() == 0
    assert fb.tensor([1e30, 1e30]).var().item() == 0
    assert fb.tensor([-0.0, 0.0]).amax().item() == 0
    big = fb.full((1000,), 60000.0, dtype=fb.float16)
    assert big.mean().item() == 60000.0 and big.sum().item() == inf


def test_empty_and_0_dimensional():
    e = fb.zeros(0, 3)
    assert e.sum().item() == 0 and e.sum(0).tolist() == [0, 0, 0] and e.sum(1).shape == (0,)
    assert e.prod(0).tolist() == [1, 1, 1] and e.mean(0).isnan().all() and e.mean(1).shape == (0,)
    assert e.any(0).tolist() == [False] * 3 and e.all(0).tolist() == [True] * 3
    assert e.var(0).isnan().all() and e.norm().item() == 0 and e.logsumexp(0).tolist() == [-float("inf")] * 3
    assert e.amax(1).shape == (0,) and e.argmax(1).shape == (0,) and e.max(1).values.shape == (0,)
    assert e.count_nonzero().item() == 0
    for op in (fb.amax, fb.amin):
        with pytest.raises((IndexError, RuntimeError), match=r"no elements|length 0"):
            op(e, 0)
    for change in (lambda: e.argmax(0), lambda: e.max(0), lambda: e.max(), lambda: e.argmin(), lambda: e.min(0)):
        with pytest.raises((IndexError, RuntimeError), match=r"no elements|length 0"):
            change()
    s = fb.tensor(3.0)
    for dim in (None, 0, -1, (), (0,)):
        assert s.sum(dim).item() == s.mean(dim).item() == s.amax(() if dim is None else dim).item() == 3
    assert s.argmax().item() == 0 and s.max(0).indices.item() == 0 and s.std(correction=0).item() == 0
    with pytest.raises(IndexError, match="out of range"):
        s.sum(1)


def test_arguments():
    x = fb.ones(2, 3, 4)
    assert x.sum(dim=(0, -1)).shape == (3,) and x.sum([]).shape == () and x.sum((), True).shape == (1, 1, 1)
    assert x.sum(dim=1, dtype=fb.float64).dtype is fb.float64 and x.to(fb.int32).mean(dtype=fb.float32).item() == 1
    assert x.max(dim=1, keepdim=True).values.shape == (2, 1, 4)
    with pytest.raises(IndexError, match=r"out of range .*\[-3, 2\], but got 3"):
        x.sum(3)
    with pytest.raises(RuntimeError, match="twice"):
        x.sum((0, 0))
    with pytest.raises(RuntimeError, match="twice"):
        x.amax((0, -3))
    for op in (fb.mean, fb.var):
        with pytest.raises(RuntimeError, match=f"{op.__name__}.*int64"):
            op(fb.ones(2, dtype=fb.int64))


@pytest.mark.parametrize("op", [
    fb.sum, fb.mean, fb.amax, fb.argmax, fb.prod, fb.norm, fb.var, fb.all, fb.any, fb.count_nonzero,
    lambda x, d: x.max(d).indices, lambda x, d: x.softmax(d), lambda x, d: x.logsumexp(d),
], ids=lambda f: f.__name__)  # fmt: skip
def test_layouts_and_threads_do_not_matter(op, threads):
    for shape, dim in (((70_001,), 0), ((3, 30_011), 1), ((30_011, 3), 0), ((40, 50, 60), 1), ((2, 9, 4100, 3), 2)):
        x = fb.from_numpy(RNG.normal(size=shape).astype(np.float32))
        order = list(range(len(shape)))[::-1]
        reversed_ = x.permute(order).contiguous().permute(order)
        stepped = fb.zeros(*shape[:-1], 2 * shape[-1])[..., ::2]
        stepped.copy_(x)
        expected = op(x, dim)
        for n in (1, 2, 3, 4, 7):
            threads(n)
            assert same(op(x, dim), expected)
        assert same(op(reversed_, dim), expected) and same(op(stepped, dim), expected)


# ---- derivatives
@pytest.mark.parametrize("function", [
    lambda x: x.sum(), lambda x: x.sum(1), lambda x: x.sum((0, 2), True), lambda x: x.mean(1), lambda x: x.mean((0, 1)),
    lambda x: x.prod(), lambda x: x.prod(1), lambda x: x.amax(1), lambda x: x.amin((0, 2)), lambda x: x.max(),
    lambda x: x.min(1).values, lambda x: x.max(2, True).values, lambda x: x.var(), lambda x: x.var(1),
    lambda x: x.std((0, 2)), lambda x: x.var(1, correction=0),
    lambda x: x.norm(), lambda x: x.norm(dim=1), lambda x: x.norm(1, 1), lambda x: x.norm(3, 1),
    lambda x: x.norm(float("inf"), 1),
    lambda x: x.logsumexp(1), lambda x: x.logsumexp((0, 2)), lambda x: x.softmax(1), lambda x: x.log_softmax(2),
    lambda x: x.softmax(0),
    lambda x: x.cumsum(1), lambda x: x.cumprod(1), lambda x: x.transpose(0, 2).softmax(0),
    lambda x: x[:, ::2].log_softmax(1),
    lambda x: fb.var_mean(x, 1)[1] + fb.std_mean(x, 1)[0], lambda x: fb.aminmax(x, dim=1).max,
    lambda x: x.mT.logsumexp(-1),
])  # fmt: skip
def test_derivatives(function):
    x = fb.from_numpy(np.random.default_rng(5).uniform(0.3, 2, (2, 3, 2))).requires_grad_()
    assert gradcheck(function, [x]) and gradgradcheck(function, [x], rtol=1e-3, atol=1e-4)


def test_derivatives_at_ties_zeros_and_ends():
    def slope(function, *values):
        x = fb.tensor(values, dtype=fb.float64, requires_grad=True)
        function(x).sum().backward()
        return x.grad.tolist()

    assert slope(lambda x: x.amax(), 1, 3, 3) == [0, 0.5, 0.5]
    assert slope(lambda x: x.max(0).values, 1, 3, 3) == [0, 1, 0]
    assert slope(lambda x: x.prod(), 2, 0, 3) == [0, 6, 0]
    assert slope(lambda x: x.prod(), 2, 0, 0) == [0, 0, 0]
    assert slope(lambda x: x.norm(), 0, 0) == [0, 0]
    assert slope(lambda x: x.norm(), 3, 4) == pytest.approx([0.6, 0.8], rel=1e-15)
    assert slope(lambda x: x.cumprod(0), 2, 0, 3) == [1, 8, 0]
    inf = float("inf")
    assert slope(lambda x: x.logsumexp(0), -inf, 0) == [0, 1]
    assert slope(lambda x: x.softmax(0)[1], -inf, 0) == [0, 0]
    x = fb.zeros(0, 3, requires_grad=True)
    (x.sum() + x.mean(1).sum() + x.prod(0).sum()).backward()
    assert x.grad.shape == (0, 3)


# ---- row programs
ROWS = {
    "softmax": (lambda x: F.softmax(x, -1), lambda x: sp.softmax(x, -1)),
    "log_softmax": (lambda x: F.log_softmax(x, -1), lambda x: sp.log_softmax(x, -1)),
    "layer_norm": (
        lambda x: F.layer_norm(x, x.shape[-1:]),
        lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5),
    ),
    "rms_norm": (
        lambda x: F.rms_norm(x, x.shape[-1:], eps=1e-6), lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_rows(name, threads):
    ours, numpys = ROWS[name]
    for cols in (1, 2, 15, 16, 17, 100, 4095, 4096, 4097, 9000):
        x = RNG.normal(size=(7, cols)) * 3
        np.testing.assert_allclose(ours(fb.from_numpy(x)).numpy(), numpys(x), rtol=1e-11, atol=1e-12)
        single = fb.from_numpy(x.astype(np.float32))
        whole = ours(single)
        np.testing.assert_allclose(whole.numpy(), numpys(x), rtol=3e-4, atol=3e-6)
        for row in (0, 3, 6):  # alone, among others, in the middle of many: the same bits
            assert same(ours(single[row]), whole[row])
            assert same(ours(single[row : row + 1]), whole[row : row + 1])
            assert same(ours(single[row].expand(50, cols))[17], whole[row])
        assert same(ours(single.t().contiguous().t()), whole)
    x = fb.from_numpy(RNG.normal(size=(513, 300)).astype(np.float32)).requires_grad_()
    g = fb.from_numpy(RNG.normal(size=(513, 300)).astype(np.float32))
    found = []
    for n in (1, 2, 3, 4, 7):
        threads(n)
        y = ours(x)
        found.append((y, fb.autograd.grad(y, x, g)[0]))
    assert all(same(a, found[0][0]) and same(b, found[0][1]) for a, b in found)
    (few,) = fb.autograd.grad(ours(x[5:8]), x, g[5:8])
    assert same(few[5:8], found[0][1][5:8])


@pytest.mark.parametrize("name", ROWS)
def test_rows_in_half_precision(name):
    ours = ROWS[name][0]
    for dtype in (fb.float16, fb.bfloat16):
        x = fb.from_numpy(RNG.normal(size=(5, 130)).astype(np.float32)).to(dtype)
        assert same(ours(x).float(), ours(x.float()).to(dtype).float()) and ours(x).dtype is dtype


def test_softmax_of_special_numbers():
    inf, nan = float("inf"), float("nan")
    x = fb.tensor([[0.0, -inf], [-inf, -inf], [inf, 0.0], [nan, 0.0], [1e4, -1e4], [3e38, 3e38]])
    y = x.softmax(1)
    assert same(y, fb.tensor([[1.0, 0.0], [nan, nan], [nan, nan], [nan, nan], [1.0, 0.0], [0.5, 0.5]]))
    assert x.log_softmax(1)[0].tolist() == [0.0, -inf] and x.log_softmax(1)[4].tolist() == [0.0, -2e4]
    assert fb.zeros(0, 3).softmax(1).shape == (0, 3) and fb.zeros(3, 0).softmax(1).shape == (3, 0)
    assert fb.tensor(2.0).softmax(0).item() == 1
    with pytest.raises(IndexError, match="out of range"):
        x.softmax(2)
    with pytest.raises((TypeError, RuntimeError), match=r"softmax.*int64"):
        fb.ones(3, dtype=fb.int64).softmax(0)
    assert fb.ones(3, dtype=fb.int64).softmax(0, dtype=fb.float32).dtype is fb.float32


def weights(*shape, seed=1):
    return fb.from_numpy(np.random.default_rng(seed).uniform(0.5, 1.5, shape)).requires_grad_()


def strided(*shape):
    """A leaf and a function to its transposed memory, so that programs see what isn't contiguous."""
    return fb.from_numpy(np.random.default_rng(2).normal(size=shape[::-1])).requires_grad_()


NORMS = {
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (5,), w, b), (3, 5), 5),
    "layer_norm of two dimensions": (
        lambda x, w, b: F.layer_norm(x, (3, 5), w.expand(3, 5), b.expand(3, 5)), (3, 5), 5
    ),
    "layer_norm without bias": (lambda x, w, b: F.layer_norm(x, (5,), w), (3, 5), 5),
    "rms_norm": (lambda x, w, b: F.rms_norm(x, (5,), w), (3, 5), 5),
    "batch_norm of columns": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), (4, 3), 3),
    "batch_norm of rows": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), (2, 3, 4), 3),
    "batch_norm by given numbers": (
        lambda x, w, b: F.batch_norm(x, fb.full((3,), 0.2, dtype=x.dtype), fb.full((3,), 1.5, dtype=x.dtype), w, b),
        (2, 3, 2), 3,
    ),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), (2, 4, 3), 4),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
def test_derivatives_of_norms(name):
    function, shape, channels = NORMS[name]
    w, b = weights(channels), weights(channels, seed=3)
    x = fb.from_numpy(np.random.default_rng(2).normal(size=shape)).requires_grad_()
    for frozen in (False, True):
        inputs = [x, w.detach(), b.detach()] if frozen else [x, w, b]
        assert gradcheck(function, inputs) and gradgradcheck(function, inputs, atol=1e-4)
    reversed_ = strided(*shape)
    order = list(range(len(shape)))[::-1]
    assert gradcheck(lambda x, w, b: function(x.permute(order), w, b), [reversed_, w, b])
    assert gradgradcheck(lambda x, w, b: function(x.permute(order), w, b), [reversed_, w, b], atol=1e-4)


def batch_norm(x, w, b, eps=1e-5):
    axes = (0, *range(2, x.ndim))
    shape = (1, -1) + (1,) * (x.ndim - 2)
    unit = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    return unit * w.reshape(shape) + b.reshape(shape)


@pytest.mark.parametrize("shape", [(7, 5), (4, 5, 3), (3, 5, 4, 70), (5000, 5), (2, 5, 5000)])
def test_batch_norm(shape, threads):
    x = RNG.normal(size=shape) * 2 + 3
    w, b = RNG.uniform(0.5, 1.5, 5), RNG.normal(size=5)
    mean, var = fb.zeros(5, dtype=fb.float64), fb.ones(5, dtype=fb.float64)
    t = [fb.from_numpy(v) for v in (x, w, b)]
    y = F.batch_norm(t[0], mean, var, t[1], t[2], training=True, momentum=0.2)
    np.testing.assert_allclose(y.numpy(), batch_norm(x, w, b), rtol=1e-9, atol=1e-10)
    axes = (0, *range(2, len(shape)))
    np.testing.assert_allclose(mean.numpy(), 0.2 * x.mean(axes), rtol=1e-12)
    np.testing.assert_allclose(var.numpy(), 0.8 + 0.2 * x.var(axes, ddof=1), rtol=1e-12)
    found = []
    single = t[0].float().requires_grad_()
    g = fb.from_numpy(RNG.normal(size=shape)).float()
    for n in (1, 2, 3, 7):
        threads(n)
        y = F.batch_norm(single, None, None, t[1].float(), t[2].float(), training=True)
        found.append((y, fb.autograd.grad(y, single, g)[0]))
    assert all(same(a, found[0][0]) and same(b, found[0][1]) for a, b in found)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        F.batch_norm(fb.ones(1, 5), None, None, training=True)


def test_norms_against_numpy():
    x, w, b = RNG.normal(size=(6, 4, 10)), RNG.uniform(0.5, 1.5, (4, 10)), RNG.normal(size=(4, 10))
    flat = x.reshape(6, 40)
    unit = (flat - flat.mean(1, keepdims=True)) / np.sqrt(flat.var(1, keepdims=True) + 0.1)
    t, tw, tb = (fb.from_numpy(v) for v in (x, w, b))
    np.testing.assert_allclose(F.layer_norm(t, (4, 10), tw, tb, 0.1).numpy(), unit.reshape(x.shape) * w + b, rtol=1e-11)
    groups = x.reshape(6, 2, 20)
    unit = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 1e-5)
    np.testing.assert_allclose(
        F.group_norm(t, 2, tw[:, 0], tb[:, 0]).numpy(),
        unit.reshape(x.shape) * w[:, :1] + b[:, :1],
        rtol=1e-10,
        atol=1e-12,
    )
    constant = F.layer_norm(fb.full((2, 8), 7.0), (8,))
    assert constant.tolist() == [[0.0] * 8] * 2
    with pytest.raises(RuntimeError, match="layer_norm"):
        F.layer_norm(t, (3,))
    with pytest.raises((RuntimeError, ValueError), match="group_norm"):
        F.group_norm(t, 3)


# ---- cross entropy
def cross_entropy(x, target, weight=None, ignore=-100, smoothing=0.0, reduction="mean"):
    """By the definition, for (N, C)."""
    logs = sp.log_softmax(x, 1)
    n, c = x.shape
    w = np.ones(c) if weight is None else weight
    if target.dtype.kind == "f":
        p = target * (1 - smoothing) + smoothing / c
        loss = -(w * logs * p).sum(1)
        return loss if reduction == "none" else loss.sum() / (n if reduction == "mean" else 1)
    kept = target != ignore
    safe = np.where(kept, target, 0)
    loss = -(1 - smoothing) * w[safe] * logs[np.arange(n), safe] - smoothing / c * (w * logs).sum(1)
    loss = np.where(kept, loss, 0)
    return loss if reduction == "none" else loss.sum() / (w[safe] * kept).sum() if reduction == "mean" else loss.sum()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy(reduction, smoothing, weighted):
    for n, c in ((6, 4), (3, 1), (5, 17), (2, 5000), (300, 3)):
        x, target = RNG.normal(size=(n, c)) * 2, RNG.integers(0, c, n)
        target[1] = -100
        w = RNG.uniform(0.5, 2, c) if weighted else None
        tx, tw = fb.from_numpy(x).requires_grad_(), None if w is None else fb.from_numpy(w)
        options = {"weight": tw, "reduction": reduction, "label_smoothing": smoothing}
        loss = F.cross_entropy(tx, fb.from_numpy(target), **options)
        np.testing.assert_allclose(
            loss.detach().numpy(), cross_entropy(x, target, w, -100, smoothing, reduction), rtol=1e-11, atol=1e-12
        )
        p = sp.softmax(RNG.normal(size=(n, c)), 1)
        np.testing.assert_allclose(
            F.cross_entropy(tx, fb.from_numpy(p), **options).detach().numpy(),
            cross_entropy(x, p, w, smoothing=smoothing, reduction=reduction), rtol=1e-11,
        )  # fmt: skip
        if c < 20 and n < 10:

            def function(x, target=target, options=options):
                return F.cross_entropy(x, fb.from_numpy(target), **options)

            assert gradcheck(function, [tx]) and gradgradcheck(function, [tx], atol=1e-4)
            turned = fb.from_numpy(np.ascontiguousarray(x.T)).requires_grad_()
            assert gradgradcheck(lambda x: function(x.t()), [turned], atol=1e-4)
            tp = fb.from_numpy(p).requires_grad_()
            assert gradcheck(lambda x, p: F.cross_entropy(x, p, **options), [tx, tp])
            assert gradgradcheck(lambda x, p: F.cross_entropy(x, p, **options), [tx, tp], atol=1e-4)


def test_cross_entropy_of_images_and_single_samples():
    x, target = RNG.normal(size=(2, 5, 3, 4)), RNG.integers(0, 5, (2, 3, 4))
    flat = np.moveaxis(x, 1, -1).reshape(-1, 5)
    found = F.cross_entropy(fb.from_numpy(x), fb.from_numpy(target), reduction="none")
    np.testing.assert_allclose(found.numpy().reshape(-1), cross_entropy(flat, target.reshape(-1), reduction="none"))
    single = F.cross_entropy(fb.from_numpy(x[0, :, 0, 0].copy()), fb.tensor(2))
    np.testing.assert_allclose(single.item(), cross_entropy(x[:1, :, 0, 0], np.array([2])))
    nll = F.nll_loss(fb.from_numpy(x).log_softmax(1), fb.from_numpy(target))
    np.testing.assert_allclose(nll.item(), found.mean().item())
    ignored = F.cross_entropy(fb.from_numpy(flat), fb.full((24,), -100))
    assert ignored.isnan().item()
    assert F.cross_entropy(fb.from_numpy(flat), fb.full((24,), 7), ignore_index=7, reduction="sum").item() == 0


def test_cross_entropy_of_what_does_not_fit():
    x = fb.zeros(3, 4)
    for bad in (4, -1, 2**40):
        with pytest.raises(IndexError, match=rf"target {bad} is out of bounds for 4 classes"):
            F.cross_entropy(x, fb.tensor([0, bad, 1]))
        with pytest.raises(IndexError, match=rf"target {bad} is out of bounds"):
            F.nll_loss(x, fb.tensor([0, bad, 1]))
        with pytest.raises(IndexError, match="out of bounds"):
            F.cross_entropy(x, fb.tensor([0, bad, 1]), label_smoothing=0.1)
    for target in (fb.zeros(2, dtype=fb.int64), fb.zeros(3, 4, dtype=fb.int64), fb.zeros(3, 5)):
        with pytest.raises((ValueError, RuntimeError), match="cross_entropy"):
            F.cross_entropy(x, target)
    with pytest.raises(RuntimeError, match="weight"):
        F.cross_entropy(x, fb.tensor([0, 1, 2]), weight=fb.ones(3))
    with pytest.raises(ValueError, match="reduction"):
        F.cross_entropy(x, fb.tensor([0, 1, 2]), reduction="average")


def test_cross_entropy_rows_stand_alone(threads):
    x = fb.from_numpy(RNG.normal(size=(700, 211)).astype(np.float32)).requires_grad_()
    target = fb.from_numpy(RNG.integers(0, 211, 700))
    found = []
    for n in (1, 2, 3, 7):
        threads(n)
        loss = F.cross_entropy(x, target, reduction="none")
        found.append((loss, fb.autograd.grad(loss.sum(), x)[0]))
    assert all(same(a, found[0][0]) and same(b, found[0][1]) for a, b in found)
    assert same(F.cross_entropy(x[50:53], target[50:53], reduction="none"), found[0][0][50:53])


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_second_derivative_of_prod_at_zeros(zeros):
    x = fb.tensor([2.0, 3.0, 0.5, 4.0], dtype=fb.float64)
    x[:zeros] = 0
    x.requires_grad_()
    (g,) = fb.autograd.grad(x.prod(), x, create_graph=True)
    hessian = [fb.autograd.grad(g[i], x, retain_graph=True)[0].tolist() for i in range(4)]
    v = x.detach().numpy()
    expected = [[0.0 if i == j else np.prod(np.delete(v, [i, j])) for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(hessian, expected)
    assert fb.autograd.gradgradcheck(lambda t: t.reshape(2, 2).prod(1), (x,))
