"""vmap of every operation equals the stack of its slices, wherever the samples stand; arguments, errors, nesting."""

from __future__ import annotations

import importlib
import itertools
import pkgutil

import numpy as np
import pytest
from test_ops import OPS, TABLE, operands, usual

import flambeau as fb
import flambeau.fft
import flambeau.linalg
import flambeau.nn.functional as F
import flambeau.ops
import flambeau.special
from flambeau import nn
from flambeau.autograd.batch_rules import RULES
from flambeau.compiler.memory import flattened
from flambeau.func import grad, vmap
from flambeau.ops.primitive import PRIMITIVES

N = 3


@pytest.fixture(autouse=True)
def seeded():
    fb.manual_seed(0)


def same(found, expected, exact=False):
    """Trees of tensors equal in dtype, shape and numbers, but for a few units in the last place."""
    found, expected = flattened(found), flattened(expected)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype is b.dtype and tuple(a.shape) == tuple(b.shape)
        a, b = (x.detach().float() if x.dtype is fb.bfloat16 else x.detach() for x in (a, b))
        if exact or not (a.is_floating_point() or a.is_complex()):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        else:
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-5, atol=2e-5)


def slices(function, args, in_dims):
    """The results for one sample after the other, stacked."""
    rows = [
        function(*(a if d is None else a.select(d, i) for a, d in zip(args, in_dims, strict=True))) for i in range(N)
    ]
    rows = [flattened(r) for r in rows]
    return [fb.stack([fb.as_tensor(x) for x in column]) for column in zip(*rows, strict=True)]


def placed(x, d):
    """x, whose samples are dimension 0, with them at d."""
    return x.movedim(0, d)


def holds(function, *args, differentiable=True):
    """The property for all arguments mapped, for each alone, for samples elsewhere; and for gradients through it."""
    tensors = [i for i, a in enumerate(args) if isinstance(a, fb.Tensor)]
    choices = [tensors, *([i] for i in tensors)] if len(tensors) > 1 else [tensors]
    for mapped in choices:
        given = [a if i in mapped or i not in tensors else a[0] for i, a in enumerate(args)]
        dims = tuple(0 if i in mapped else None for i in range(len(args)))
        expected = slices(function, given, dims)
        same(vmap(function, in_dims=dims)(*given), expected)
        last = tuple(-1 if d == 0 else None for d in dims)
        moved = [placed(a, -1) if d == 0 else a for a, d in zip(given, dims, strict=True)]
        same(vmap(function, in_dims=last)(*moved), expected)
        floating = [i for i in tensors if given[i].is_floating_point()]
        if not differentiable or not floating:
            continue
        mapped_at_once = gradients(lambda *a: vmap(function, in_dims=dims)(*a), given, floating)
        same(mapped_at_once, gradients(lambda *a: slices(function, a, dims), given, floating))


def gradients(run, args, floating):
    """Gradients of a weighted sum of run's outputs for the arguments at the places `floating`."""
    leaves = [a.detach().clone().requires_grad_() if i in floating else a for i, a in enumerate(args)]
    outs = [y for y in flattened(run(*leaves)) if y.requires_grad]
    weights = [fb.cos(fb.arange(y.numel(), dtype=fb.float64)).reshape(y.shape).to(y.dtype) for y in outs]
    found = fb.autograd.grad(outs, [leaves[i] for i in floating], weights, allow_unused=True) if outs else ()
    return [fb.zeros(1) if g is None else g for g in found]


def r(*shape, dtype=None):
    return fb.randn(N, *shape, dtype=dtype)


def ints(*shape, high=4):
    return fb.randint(0, high, (N, *shape))


# ---- pointwise
@pytest.mark.parametrize("name", sorted(OPS))
def test_pointwise(name):
    dtype = usual(name)
    xs = [x.reshape(N, 4) for x in operands(name, dtype, 12)]
    op = TABLE[name]
    for mapped in itertools.product((0, None), repeat=len(xs)):
        if all(d is None for d in mapped):
            continue
        same(vmap(op, in_dims=mapped)(*xs), slices(op, xs, mapped), exact=True)
    if len(xs) > 1:
        numbers = [xs[0], *(x[:, 0] for x in xs[1:])]
        same(vmap(op)(*numbers), slices(op, numbers, (0,) * len(xs)), exact=True)


@pytest.mark.parametrize("a", [fb.bool, fb.int32, fb.int64, fb.float16, fb.float32, fb.float64])
@pytest.mark.parametrize("b", [fb.bool, fb.uint8, fb.int64, fb.bfloat16, fb.float32, fb.float64])
@pytest.mark.parametrize("shapes", [((), (2,)), ((2,), ()), ((), ()), ((2,), (2,))], ids=str)
def test_dtypes_promote_as_one_samples(a, b, shapes):
    x = fb.arange(N * max(1, len(shapes[0]) * 2)).reshape(N, *shapes[0]).to(a)
    y = fb.arange(N * max(1, len(shapes[1]) * 2)).reshape(N, *shapes[1]).to(b)
    for dims in ((0, 0), (0, None), (None, 0)):
        given = [v if d == 0 else v[0] for v, d in zip((x, y), dims, strict=True)]
        same(vmap(fb.add, in_dims=dims)(*given), slices(fb.add, given, dims), exact=True)


# ---- everything else
LSTM, GRU = nn.LSTMCell(3, 2), nn.GRU(3, 2)
CASES = {
    "sum": (lambda x: x.sum(), r(4, 2)),
    "sum_dim": (lambda x: x.sum(-1, keepdim=True), r(4, 2)),
    "sum_dims": (lambda x: x.sum((0, 2)), r(4, 2, 3)),
    "sum_0d": (lambda x: x.sum() + x.mean(), r()),
    "mean": (lambda x: x.mean(0), r(4, 2)),
    "sum_dtype": (lambda x: x.sum(0, dtype=fb.float64), r(4, 2)),
    "prod": (lambda x: x.prod(1), r(4, 2)),
    "amax": (lambda x: (x.amax(0), x.amin((0, 1)), x.amax()), r(4, 2)),
    "max": (lambda x: (*x.max(1), x.min(), x.argmax(), x.argmin(0, keepdim=True)), r(4, 2)),
    "any": (lambda x: ((x > 0).any(), (x > -9).all(0), x.count_nonzero(1)), r(4, 2)),
    "var": (lambda x: (x.var(), x.std(0), *fb.var_mean(x, 1, keepdim=True)), r(4, 2)),
    "norm": (lambda x: (x.norm(), x.norm(dim=0), x.norm(1, 1)), r(4, 2)),
    "logsumexp": (lambda x: fb.logsumexp(x, 0), r(4, 2)),
    "argmax_0d": (lambda x: (x.argmax(), x.amax(0), x.any()), r()),
    "reshape": (lambda x: (x.reshape(-1), x.view(2, 4), x.flatten(), x.unflatten(0, (2, 2))), r(4, 2)),
    "permute": (lambda x: (x.permute(2, 0, 1), x.t() if x.ndim == 2 else x.mT, x.transpose(0, -1)), r(4, 2, 3)),
    "expand": (lambda x: (x.expand(5, 4), x.expand_as(fb.ones(2, 3, 4)), x.unsqueeze(-1), x[None]), r(4)),
    "squeeze": (lambda x: (x.squeeze(), x.squeeze(0), x.movedim(0, -1)), r(1, 4, 1)),
    "select": (lambda x: (x[1], x[:, -1], x.select(1, 0), x[..., None, 0]), r(4, 2)),
    "slice": (lambda x: (x[1:], x[::2, :1], x.narrow(0, 1, 2)), r(4, 2)),
    "diagonal": (lambda x: (x.diagonal(), x.diagonal(1, 1, 0), x.trace()), r(4, 3)),
    "unfold": (lambda x: (x.unfold(0, 2, 1), x.unfold(-1, 2, 1)), r(4, 2)),
    "split": (lambda x: (*x.split(3), *x.chunk(2, 1), *x.unbind(1)), r(4, 2)),
    "view_dtype": (lambda x: x.detach().view(fb.int32), r(4)),
    "iterate": (lambda x: fb.stack([row * i for i, row in enumerate(x)]), r(4, 2)),
    "contiguous": (lambda x: (x.t().contiguous(), x.t().clone(), x.t().reshape(-1)), r(4, 2)),
    "cast": (lambda x: (x.double(), x.to(fb.float16), x.detach().long()), r(4)),
    "cat": (lambda x, y: (fb.cat([x, y]), fb.cat([y, x, y], -1), fb.stack([x, y], 1)), r(2, 2), r(2, 2)),
    "flip": (lambda x: (x.flip(0), x.flip((0, 1)), fb.roll(x, 1), fb.roll(x, (1, 2), (0, 1)), x.rot90()), r(4, 2)),
    "pad": (lambda x: (F.pad(x, (1, 2)), F.pad(x, (1, 0, 0, 2), value=3.0)), r(4, 2)),
    "repeat": (lambda x: (x.repeat(2, 3), fb.tile(x, (2,)), x.repeat_interleave(2, 0)), r(2, 2)),
    "triangles": (lambda x: (x.tril(), x.triu(1), x[0].diag_embed(), fb.diag(x[0])), r(3, 3)),
    "meshgrid": (lambda x, y: fb.meshgrid(x, y, indexing="ij"), r(3), r(2)),
    "matmul": (lambda x, y: x @ y, r(4, 3), r(3, 2)),
    "matmul_vectors": (lambda x, y: (x @ y, fb.outer(x, y), fb.dot(x, y)), r(3), r(3)),
    "matmul_matrix_vector": (lambda x, y: (x @ y, y @ x.t()), r(4, 3), r(3)),
    "matmul_batched": (lambda x, y: x @ y, r(2, 4, 3), r(3, 2)),
    "matmul_batches": (lambda x, y: x @ y, r(3, 2), r(2, 2, 4)),
    "bmm": (lambda x, y: fb.bmm(x, y), r(2, 4, 3), r(2, 3, 2)),
    "einsum": (lambda x, y: fb.einsum("ij,kj->ik", x, y), r(4, 3), r(2, 3)),
    "linear": (F.linear, r(4, 3), r(2, 3), r(2)),
    "linear_vector": (F.linear, r(3), r(2, 3), r(2)),
    "linear_deep": (F.linear, r(2, 4, 3), r(2, 3), r(2)),
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, 2, 1), r(2, 4, 7), r(6, 4, 3), r(6)),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding=1), r(2, 3, 5, 5), r(4, 3, 3, 3), r(4)),
    "conv2d_unbatched": (lambda x, w: F.conv2d(x, w), r(3, 5, 5), r(4, 3, 3, 3)),
    "conv2d_groups": (lambda x, w: F.conv2d(x, w, groups=2), r(1, 4, 5, 5), r(4, 2, 3, 3)),
    "conv_transpose2d": (lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2), r(2, 3, 4, 4), r(3, 2, 3, 3), r(2)),
    "max_pool": (lambda x: (F.max_pool2d(x, 2), *F.max_pool2d(x, 3, 1, 1, return_indices=True)), r(2, 4, 4)),
    "avg_pool": (lambda x: (F.avg_pool2d(x, 2), F.adaptive_avg_pool2d(x, (2, 1))), r(1, 2, 4, 4)),
    "softmax": (lambda x: (x.softmax(0), x.log_softmax(-1), F.softmin(x, 1)), r(4, 3)),
    "softmax_0d": (lambda x: x.softmax(0), r()),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (3,), w, b), r(4, 3), r(3), r(3)),
    "rms_norm": (lambda x, w: F.rms_norm(x, (3,), w), r(4, 3), r(3)),
    "group_norm": (lambda x, w: F.group_norm(x, 2, w), r(2, 4, 3), r(4)),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), r(5, 3, 2), r(3), r(3)),
    "batch_norm_eval": (lambda x, m: F.batch_norm(x, m, fb.ones(3)), r(5, 3), r(3)),
    "attention": (F.scaled_dot_product_attention, r(2, 4, 3), r(2, 5, 3), r(2, 5, 3)),
    "attention_mask": (
        lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m.detach()), r(2, 2, 4, 3), r(2, 2, 5, 3),
        r(2, 2, 5, 3), r(4, 5)),
    "diag_embed": (lambda x: (fb.diag_embed(x, 1, 0, 2), fb.diag_embed(x)), r(2, 3)),
    "solve_triangular": (
        lambda x, y: fb.linalg.solve_triangular(x.triu() + 3 * fb.eye(3), y, upper=True), r(3, 3), r(3, 2)),
    "lu": (lambda x: fb.linalg.lu_factor(x)[0], r(3, 3)),
    "lstsq": (lambda x, y: fb.linalg.lstsq(x, y).solution, r(4, 3), r(4, 2)),
    "lstm_cell": (lambda x, h: LSTM(x, (h, h)), r(4, 3), r(4, 2)),
    "gru": (lambda x: GRU(x)[0], r(5, 2, 3)),
    "cross_entropy": (lambda x, y: F.cross_entropy(x, y), r(5, 4), ints(5)),
    "cross_entropy_weight": (lambda x, y, w: F.cross_entropy(x, y, w, reduction="none"), r(5, 4), ints(5), r(4).exp()),
    "cross_entropy_one": (lambda x, y: F.cross_entropy(x, y), r(4), ints()),
    "nll": (lambda x, y: F.nll_loss(x, y), r(5, 4), ints(5)),
    "losses": (lambda x, y: (F.mse_loss(x, y), F.l1_loss(x, y), F.huber_loss(x, y)), r(4), r(4)),
    "bce": (lambda x, y: F.binary_cross_entropy_with_logits(x, y.sigmoid()), r(4), r(4)),
    "gather": (lambda x, i: x.gather(0, i), r(4, 2), ints(3, 2)),
    "scatter": (lambda x, i, s: (x.scatter(0, i, s), x.scatter_add(0, i, s)), r(4, 2), ints(3, 2), r(3, 2)),
    "index_select": (lambda x, i: x.index_select(1, i), r(2, 4), ints(3)),
    "index": (lambda x, i: (x[i], x[:, i % 2], x[i, i % 2]), r(4, 2), ints(3)),
    "index_2d": (lambda x, i, j: x[i.unsqueeze(1), j], r(4, 4), ints(3), ints(2)),
    "index_put": (lambda x, i, v: x.index_put((i,), v, accumulate=True), r(4), ints(3), r(3)),
    "index_add": (lambda x, i, v: (x.index_add(0, i, v), x.index_fill(0, i, 2.0)), r(4, 2), ints(3), r(3, 2)),
    "embedding": (lambda w, i: F.embedding(i, w), r(4, 3), ints(2, 2)),
    "embedding_padding": (lambda w, i: F.embedding(i, w, padding_idx=1), r(4, 3), ints(2, 2)),
    "one_hot": (lambda i: F.one_hot(i, 4), ints(2)),
    "take_along": (lambda x, i: fb.take_along_dim(x, i, 0), r(4), ints(3)),
    "scatter_reduce": (lambda x, i, s: x.scatter_reduce(0, i, s, "amax"), r(4), ints(5), r(5)),
    "cumulative": (lambda x: (x.cumsum(0), x.cumprod(-1), x.logcumsumexp(0), *x.cummax(1)), r(4, 3)),
    "cumsum_0d": (lambda x: x.cumsum(0), r()),
    "sort": (lambda x: (*x.sort(), *x.sort(0, descending=True), x.argsort(), *x.topk(2), *x.kthvalue(2)), r(4, 3)),
    "median": (lambda x: (x.median(), *x.median(0)), r(5, 2)),
    "quantile": (lambda x: fb.quantile(x, 0.4, dim=0), r(5, 2)),
    "searchsorted": (lambda s, x: fb.searchsorted(s.sort()[0].detach(), x.detach()), r(5), r(3)),
    "where": (lambda x, y: (fb.where(x > 0, x, y), x.masked_fill(y > 0, 2.0), fb.clamp(x, min=y)), r(4), r(4)),
    "masked_scatter": (lambda x, s: x.masked_scatter(x > 0, s), r(4), r(4)),
    "lerp": (lambda x, y, w: fb.lerp(x, y, w), r(4), r(4), r()),
    "cdist": (lambda x, y: (fb.cdist(x, y), F.pairwise_distance(x, y[:1])), r(4, 3), r(2, 3)),
    "linalg": (
        lambda x: (fb.linalg.inv(x @ x.mT + 3 * fb.eye(3)), fb.linalg.det(x), *fb.linalg.slogdet(x)), r(3, 3)),
    "cholesky": (lambda x: fb.linalg.cholesky(x @ x.mT + 3 * fb.eye(3)), r(3, 3)),
    "solve": (lambda x, y: fb.linalg.solve(x + 5 * fb.eye(3), y), r(3, 3), r(3, 2)),
    "svd": (lambda x: fb.linalg.svdvals(x), r(4, 3)),
    "qr": (lambda x: fb.linalg.qr(x)[1].abs(), r(4, 3)),
    "eigh": (lambda x: fb.linalg.eigvalsh(x + x.mT), r(3, 3)),
    "fft": (lambda x: (fb.fft.rfft(x).abs(), fb.fft.fft2(x).real, fb.fft.irfft(fb.fft.rfft(x, dim=0), dim=0)), r(4, 4)),
    "complex": (lambda x, y: (fb.complex(x, y) * (1 + 2j)).abs(), r(4), r(4)),
    "view_as_real": (lambda x: fb.view_as_real(fb.complex(x, x) ** 2), r(4)),
    "special": (lambda x: (fb.special.bessel_j0(x), fb.special.erfcx(x)), r(4)),
    "factories": (lambda x: (fb.zeros_like(x) + x, x.new_ones(2) * x[:2], fb.full_like(x, 2.0)), r(4)),
    "outer_sum": (lambda x, y: x[:, None] + y[None, :], r(4), r(3)),
    "interpolate": (lambda x: F.interpolate(x, scale_factor=2), r(1, 2, 3, 3)),
    "grid_sample": (lambda x, g: F.grid_sample(x, g.tanh(), align_corners=False), r(1, 2, 3, 3), r(1, 2, 2, 2)),
    "unfold2d": (lambda x: F.unfold(x, 2), r(1, 2, 3, 3)),
    "glu": (lambda x: (F.glu(x), F.normalize(x, dim=0), F.cosine_similarity(x, x.flip(0), dim=0)), r(4)),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), r(1, 4, 2, 2)),
    "prelu": (lambda x, w: F.prelu(x, w), r(2, 3), r(3)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_equals_the_stack_of_slices(name):
    holds(*CASES[name])


def test_rules_are_of_primitives():
    for module in pkgutil.iter_modules(flambeau.ops.__path__):
        importlib.import_module(f"flambeau.ops.{module.name}")
    importlib.import_module("flambeau.distributions")
    assert set(RULES) <= set(PRIMITIVES)


def test_a_sample_can_be_printed(capsys):
    vmap(lambda x: print(x) or x)(fb.ones(2, 1))
    assert capsys.readouterr().out.split() == ["BatchedTensor(bdim=0,", "value=", "tensor([[1.],", "[1.]])", ")"]


@pytest.mark.parametrize("name", ["conv2d", "linear", "index", "softmax", "cumulative", "layer_norm", "cat", "max"])
def test_nested(name):
    function, *args = CASES[name]
    stacked = [fb.stack([a, a.flip(0)]) if a.dtype is fb.int64 else fb.stack([a, a * 0.5 + 1]) for a in args]
    rows = [slices(function, [a[i] for a in stacked], (0,) * len(args)) for i in range(2)]
    expected = [fb.stack(column) for column in zip(*rows, strict=True)]
    same(vmap(vmap(function))(*stacked), expected)
    swapped = [a.transpose(0, 1) for a in stacked]
    same(vmap(vmap(function), in_dims=1)(*swapped), expected)


def test_nested_levels_meet():
    x, y = fb.randn(3, 4), fb.randn(5, 4)
    found = vmap(vmap(fb.dot, in_dims=(None, 0)), in_dims=(0, None))(x, y)
    same(found, x @ y.t())
    same(vmap(lambda a: vmap(lambda b: a.sum() * b)(y))(x), x.sum(1)[:, None, None] * y)


# ---- arguments
def test_in_dims_follow_the_arguments():
    x, y = fb.randn(2, 3), fb.randn(3, 4)

    def function(pair, scale, *, bias):
        return pair["x"] * pair["y"].sum() * scale + bias

    given = {"x": x, "y": y}
    expected = fb.stack([x[:, i] * y[i].sum() * 2 + 1 for i in range(3)])
    assert fb.allclose(vmap(function, in_dims=({"x": 1, "y": 0}, None))(given, 2, bias=1), expected)
    assert fb.allclose(vmap(function, in_dims=({"x": -1, "y": -2}, None), out_dims=1)(given, 2, bias=1), expected.t())
    first = vmap(lambda a, b: (a + b[0])[1], in_dims=(1, None))
    assert fb.allclose(first(x, (y[0][:2], 3)), x[1] + y[0][1])


def test_out_dims():
    x = fb.randn(2, 3)
    a, b = vmap(lambda r: (r * 2, {"k": r.sum()}), out_dims=(-1, {"k": 0}))(x)
    assert fb.equal(a, (x * 2).t()) and fb.allclose(b["k"], x.sum(1))
    assert fb.equal(vmap(lambda r: fb.ones(2))(x), fb.ones(2, 2))  # the same for each sample
    assert fb.equal(vmap(lambda r: fb.ones(2), out_dims=None)(x), fb.ones(2))
    assert vmap(lambda r: (r, 3), out_dims=(0, None))(x)[1] == 3


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_chunks(size):
    x, y = fb.randn(7, 3), fb.randn(3, 7)
    found = vmap(lambda a, b: (a.sum() * b, a), in_dims=(0, 1), out_dims=(1, 0), chunk_size=size)(x, y)
    assert fb.allclose(found[0], (x.sum(1)[:, None] * y.t()).t()) and fb.equal(found[1], x)


def test_no_samples():
    assert vmap(lambda r: r.exp().sum() + r.mm(r.t()).diagonal())(fb.ones(0, 2, 2)).shape == (0, 2)


X = fb.ones(2, 3)
WRONG = [
    ("no inputs", ValueError, lambda: vmap(lambda: 1)()),
    ("in_dims must be an int or a", ValueError, lambda: vmap(fb.sin, in_dims="a")(X)),
    ("in_dims must be an int or a", ValueError, lambda: vmap(fb.sin, in_dims=None)(X)),
    ("doesn't match the structure", ValueError, lambda: vmap(fb.sin, in_dims=(0, 0))(X)),
    ("expected -2 <= in_dim < 2", ValueError, lambda: vmap(fb.sin, in_dims=2)(X)),
    ("an int or None for each input, got 0.5", ValueError, lambda: vmap(fb.sin, in_dims=(0.5,))(X)),
    ("only tensors can be mapped over, use None", ValueError, lambda: vmap(fb.add)(X, 2)),
    ("at least one input must be mapped", ValueError, lambda: vmap(fb.sin, in_dims=(None,))(X)),
    (r"one size, got \[2, 3\]", ValueError, lambda: vmap(fb.add, in_dims=(0, 1))(X, X)),
    ("must only return Tensors, got type <class 'int'>", ValueError, lambda: vmap(lambda x: 1)(X)),
    ("can't return a batched tensor where out_dims is None", ValueError, lambda: vmap(fb.sin, out_dims=None)(X)),
    ("out_dims doesn't match the structure", ValueError, lambda: vmap(fb.sin, out_dims=(0, 1))(X)),
    ("out_dims must be an int, None", ValueError, lambda: vmap(fb.sin, out_dims="a")(X)),
    ("Dimension out of range", IndexError, lambda: vmap(fb.sin, out_dims=3)(X)),
    ("'error', 'different' or 'same', got 'x'", RuntimeError, lambda: vmap(fb.sin, randomness="x")),
    ("chunk_size should be None or greater than 0", ValueError, lambda: vmap(fb.sin, chunk_size=0)),
    ("become Python numbers", RuntimeError, lambda: vmap(lambda x: x.sum().item())(X)),
    ("become Python numbers", RuntimeError, lambda: vmap(lambda x: x if x.sum() > 0 else -x)(X)),
    ("become Python numbers", RuntimeError, lambda: vmap(lambda x: x.tolist())(X)),
    ("lent to NumPy", RuntimeError, lambda: vmap(lambda x: x.numpy())(X)),
    ("lent to NumPy", RuntimeError, lambda: vmap(fb.from_dlpack)(X)),
    ("depends on the elements", RuntimeError, lambda: vmap(lambda x: x.nonzero())(X)),
    ("depends on the elements", RuntimeError, lambda: vmap(lambda x: x[x > 0])(X)),
    ("random operation while in randomness error mode", RuntimeError, lambda: vmap(lambda x: fb.rand(2))(X)),
    ("random operation while in randomness error mode", RuntimeError, lambda: vmap(F.dropout)(X)),
    ("can't be filled in place with the same", RuntimeError, lambda: vmap(lambda x: x.normal_(), randomness="same")(X)),
    ("inplace arithmetic .* is not possible", RuntimeError, lambda: vmap(lambda x: OUTSIDE.add_(x))(X)),
    ("invalid for 3 elements", RuntimeError, lambda: vmap(lambda x: x.reshape(7))(X)),
    ("Dimension out of range", IndexError, lambda: vmap(lambda x: x.sum(-2))(X)),
    ("Dimension out of range", IndexError, lambda: vmap(lambda x: x.amax(1))(X)),
    ("index 3 is out of bounds", IndexError, lambda: vmap(lambda i: fb.ones(3)[i])(fb.tensor([[0], [3]]))),
    ("use func.grad", RuntimeError, lambda: vmap(lambda x: x.sum().backward() or x)(X)),
    ("use func.grad", RuntimeError, lambda: vmap(lambda x: x.sum().backward() or x)(X.clone().requires_grad_())),
]  # fmt: skip
OUTSIDE = fb.zeros(3)


@pytest.mark.parametrize(("message", "kind", "call"), WRONG, ids=[w[0][:30] + str(i) for i, w in enumerate(WRONG)])
def test_errors(message, kind, call):
    with pytest.raises(kind, match=message):
        call()
    assert not fb.core._core.interpreting()


# ---- random numbers
def test_different_random_numbers():
    found = vmap(lambda x: fb.rand(5) + fb.randn_like(x[:1]), randomness="different")(fb.ones(4, 2))
    assert len(set(found[:, 0].tolist())) == 4
    a, b = vmap(lambda x: (F.dropout(x), x.clone().bernoulli_(0.5)), randomness="different")(fb.ones(4, 50))
    assert len({tuple(r) for r in a.tolist()}) == 4 and len({tuple(r) for r in b.tolist()}) == 4
    assert set(a.reshape(-1).tolist()) == {0.0, 2.0}
    ints = vmap(lambda x: fb.randint(0, 10**6, (2,)), randomness="different")(fb.ones(4))
    assert len(set(ints.reshape(-1).tolist())) == 8


def test_same_random_numbers():
    found = vmap(lambda x: (fb.rand(5) + 0 * x[0], F.dropout(x)), randomness="same")(fb.ones(4, 50))
    for each in found:
        assert fb.equal(each, each[:1].expand_as(each))
    nested = vmap(lambda x: vmap(lambda y: fb.rand(1) + 0 * x, randomness="same")(fb.ones(3)), randomness="different")
    found = nested(fb.ones(4))
    assert fb.equal(found, found[:, :1].expand_as(found)) and len(set(found[:, 0, 0].tolist())) == 4


def test_dropout_in_attention():
    q = fb.randn(2, 5, 4)
    drop = lambda q: F.scaled_dot_product_attention(q, q, fb.ones(5, 5), dropout_p=0.5)
    with pytest.raises(RuntimeError, match="randomness error mode"):
        vmap(drop)(q)
    one = q[:1].expand(3, 5, 4)
    same_mask, other_masks = vmap(drop, randomness="same")(one), vmap(drop, randomness="different")(one)
    assert fb.equal(same_mask, same_mask[:1].expand_as(same_mask)) and not fb.equal(other_masks[0], other_masks[1])


def test_dropouts_gradient_has_its_mask():
    x = fb.ones(3, 20, requires_grad=True)
    y = vmap(F.dropout, randomness="different")(x)
    y.sum().backward()
    assert fb.equal(x.grad, y.detach())


# ---- writes
def test_in_place_writes_reach_the_argument():
    x = fb.arange(6.0).reshape(2, 3)
    y = vmap(lambda r: r.mul_(2).add_(r[0]))(x)
    assert fb.equal(x, y) and fb.equal(x, 2 * fb.arange(6.0).reshape(2, 3) + fb.tensor([[0.0], [6.0]]))
    vmap(lambda r, v: r[1:].copy_(v))(x, fb.tensor([7.0, 8.0]))
    assert x[:, 1:].tolist() == [[7, 7], [8, 8]]
    vmap(lambda r, i: r.__setitem__(i, 0.0) or r)(x, fb.tensor([[0, 2], [1, 1]]))
    assert x.tolist() == [[0, 7, 0], [12, 0, 8]]


def test_memory_made_within_grows():
    def function(r):
        out = fb.zeros(3)
        view = out[1:]
        out[0] = r.sum()
        view += r[:2]
        return out * r[0]

    x = fb.randn(2, 3, requires_grad=True)
    expected = fb.stack([fb.cat([r.sum()[None], r[:2]]) * r[0] for r in x])
    found = vmap(function)(x)
    same(found, expected)
    weights = fb.randn(2, 3)
    same(fb.autograd.grad((found * weights).sum(), x), fb.autograd.grad((expected * weights).sum(), x))


def test_detached_values_stay_behind():
    x = fb.randn(2, 3, requires_grad=True)
    y = vmap(lambda r: r * r.detach() + r.data)(x)
    same(y, x * x + x)
    y.sum().backward()
    assert fb.equal(x.grad, x.detach())


def test_memory_exchanged():
    def function(x, y):
        x.data = y * 2
        return x

    x, y = fb.randn(2, 3), fb.randn(2, 3)
    assert fb.equal(vmap(function)(x, y), y * 2)
    assert fb.equal(vmap(lambda x: x.clone().resize_(2))(x), x[:, :2])


def test_custom_functions():
    class Double(fb.autograd.Function):
        @staticmethod
        def forward(ctx, x, k):
            ctx.save_for_backward(x)
            ctx.k = k
            return k * x * x

        @staticmethod
        def backward(ctx, g):
            return 3 * ctx.k * ctx.saved_tensors[0] * g, None  # not the derivative, so that its use shows

    x = fb.randn(2, 3, requires_grad=True)
    y = vmap(lambda r: Double.apply(r, 2.0))(x)
    same(y, 2 * x * x)
    (g,) = fb.autograd.grad(y.sum(), x)
    same(g, 6 * x)
    same(vmap(grad(lambda r: Double.apply(r, 2.0).sum()))(x.detach()), 6 * x)


def test_attributes_of_a_sample():
    def look(x, y):
        assert (x.shape, x.ndim, x.dtype, x.requires_grad, len(x), y.shape) == ((4, 3), 2, fb.float32, True, 4, (5,))
        return x

    assert vmap(look, in_dims=(1, None))(fb.zeros(4, 2, 3, requires_grad=True), fb.ones(5)).shape == (2, 4, 3)


# ---- modules
def models():
    yield nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), fb.randn(4, 6)
    yield nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GELU(), nn.MaxPool2d(2), nn.GroupNorm(2, 4),
                        nn.Conv2d(4, 3, 3), nn.Flatten(), nn.Linear(3, 3)), fb.randn(4, 1, 6, 6)  # fmt: skip
    yield nn.Sequential(nn.Embedding(7, 6), nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True),
                        nn.LayerNorm(6), nn.Flatten(), nn.Linear(12, 3)), fb.randint(0, 7, (4, 2))  # fmt: skip


@pytest.mark.parametrize(("model", "x"), models(), ids=["mlp", "cnn", "transformer"])
def test_per_sample_gradients(model, x):
    parameters = {k: p.detach() for k, p in model.named_parameters()}
    y = fb.randint(0, 3, (len(x),))

    def loss(p, one, label):
        return F.cross_entropy(fb.func.functional_call(model, p, (one.unsqueeze(0),)), label.unsqueeze(0))

    found = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
    for i in range(len(x)):
        model.zero_grad()
        F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]).backward()
        for name, p in model.named_parameters():
            np.testing.assert_allclose(found[name][i].numpy(), p.grad.numpy(), rtol=2e-4, atol=2e-6, err_msg=name)


def test_an_ensemble():
    members = [nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)).eval() for _ in range(3)]
    parameters, buffers = fb.func.stack_module_state(members)
    x = fb.randn(6, 4)

    def run(p, b, x):
        return fb.func.functional_call(members[0], (p, b), (x,))

    same(vmap(run, in_dims=(0, 0, None))(parameters, buffers, x), fb.stack([m(x) for m in members]))
    each = fb.randn(3, 6, 4)
    same(vmap(run)(parameters, buffers, each), fb.stack([m(v) for m, v in zip(members, each, strict=True)]))
