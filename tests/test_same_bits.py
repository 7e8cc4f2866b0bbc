"""Every operation beside the pointwise ones (test_ops.py): the same bits at any number of threads and in any layout.

Inputs are large enough to be divided among threads. What is declared as an operation and isn't called by one of the
samples here is a failure, so that new ones get theirs.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
import sys
from functools import cache

import numpy as np
import pytest

import flambeau as fb
import flambeau.distributions as D
import flambeau.linalg as LA
import flambeau.nn.functional as F
from flambeau.core.interpreters import Interpreter

COUNTS = (1, 2, 3, 4, 7)


@cache
def given() -> dict[str, fb.Tensor]:
    """The inputs that samples name as their parameters."""
    g = fb.Generator().manual_seed(3)

    def normal(*shape, dtype=fb.float32):
        return fb.randn(*shape, generator=g, dtype=dtype)

    s = normal(3, 90, 90)
    return {
        "x": normal(310, 210), "y": normal(310, 210), "z": normal(200, 170, dtype=fb.complex64), "v": normal(70_000),
        "s": s, "p": s @ s.mT + 90 * fb.eye(90), "c": normal(2, 60, 60, dtype=fb.complex64), "few": normal(700, 5, 5),
        "im": normal(4, 6, 41, 40), "vol": normal(2, 3, 12, 20, 21), "sig": normal(4, 8, 900), "d": normal(96, 64),
        "k": normal(8, 6, 3, 3), "k1": normal(5, 8, 3), "k3": normal(4, 3, 3, 3, 3), "kt": normal(6, 5, 2, 2),
        "w": normal(210), "b": normal(6), "i": fb.randint(0, 310, (400,), generator=g), "h": normal(500, 300).half(),
        "j": fb.randint(0, 210, (310, 210), generator=g), "t": fb.randint(0, 210, (310,), generator=g),
        "q": normal(2, 4, 150, 32), "grid": fb.rand(4, 30, 31, 2, generator=g) * 2.4 - 1.2, "seq": normal(60, 9, 16),
    }  # fmt: skip


RNN, LSTM, GRU = fb.nn.RNN(16, 24), fb.nn.LSTM(16, 24), fb.nn.GRU(16, 24)
HANN = fb.hann_window(256)
LSTM_CELL, GRU_CELL = fb.nn.LSTMCell(16, 24), fb.nn.GRUCell(16, 24)
PROJECTED = fb.nn.LSTM(16, 24, proj_size=8)
# fmt: off
SAMPLES = [
    # sparse products
    lambda x: x.relu().to_sparse() @ x.t(), lambda x: x.relu().to_sparse_csr() @ x.t(),
    # reductions
    lambda x: x.sum(0), lambda x: x.sum(1), lambda x: x.sum(), lambda x: x.mean(0), lambda v: v.mean(),
    lambda x: x.prod(1), lambda x: x.prod(0), lambda x: x.amax(0), lambda x: x.amin(1), lambda v: v.amax(),
    lambda x: x.max(1), lambda x: x.min(0), lambda x: x.argmax(1), lambda x: x.argmin(0), lambda v: v.argmax(),
    lambda x: (x > 3).any(0), lambda x: (x > -3).all(1), lambda x: x.round().count_nonzero(0), lambda x: x.var(1),
    lambda x: x.std(0), lambda v: v.var(), lambda x: x.norm(), lambda x: x.norm(3, 1), lambda x: x.norm(1, 0),
    lambda x: LA.vector_norm(x, 2, 1), lambda x: x.logsumexp(1), lambda x: x.logsumexp(0), lambda x: x.median(1),
    lambda x: x.nanmedian(), lambda x: x.quantile(0.3, 1), lambda x: x.mode(1), lambda x: x.aminmax(dim=0),
    lambda z: z.sum(0), lambda z: z.prod(1), lambda z: z.mean(), lambda h: h.sum(1), lambda h: h.sum(0),
    lambda x: x.nansum(0), lambda x: fb.trapezoid(x), lambda x, y: fb.trapezoid(x, y), lambda x: fb.gradient(x),
    lambda x: x.cov(), lambda x: x[:50].corrcoef(), lambda v: v.histc(50, -3, 3), lambda j: j.reshape(-1).bincount(),
    # scans and orders
    lambda x: x.cumsum(0), lambda x: x.cumsum(1), lambda v: v.cumsum(0), lambda x: x.cumprod(1),
    lambda x: x.cummax(1), lambda x: x.cummin(0), lambda x: x.logcumsumexp(1), lambda z: z.cumsum(0),
    lambda x: x.sort(1), lambda x: x.sort(0, descending=True), lambda v: v.argsort(), lambda x: x.topk(9, 1),
    lambda x: x.kthvalue(7, 0), lambda j: j.unique(return_inverse=True, return_counts=True), lambda j: j.sort(1),
    lambda v, x: fb.searchsorted(v[:999].sort()[0], x), lambda v, x: fb.bucketize(x, v[:99].sort()[0]),
    lambda j, i: fb.isin(j, i[:40]), lambda j: j.unique_consecutive(dim=0), lambda x: fb.histogram(x.abs(), 9),
    # moves
    lambda x: x.t().contiguous(), lambda x, y: fb.cat([x, y], 1), lambda x, y: fb.stack([x, y], -1),
    lambda x: x.flip(0, 1), lambda x: x.roll((3, -5), (0, 1)), lambda x: x.repeat(2, 3), lambda x: x.tril(-1),
    lambda x: x.triu(2), lambda x: x.clone(), lambda x: x.to(fb.float64), lambda x: fb.diag_embed(x[:40]),
    lambda x: F.pad(x, (1, 2, 3, 4)), lambda im: F.pad(im, (1, 2, 3, 4), "reflect"), lambda x: x.rot90(),
    lambda im: F.pad(im, (2, 1, 1, 3), "circular"), lambda im: F.pad(im, (2, 1, 1, 3), "replicate"),
    lambda x: [part + 1 for part in x.split(100, 0)], lambda x: [part + 1 for part in x.unbind(1)][:3],
    lambda v: v.unfold(0, 5, 3).contiguous(), lambda x: x.repeat_interleave(3, 0),
    lambda x, y: fb.kron(x[:30], y[:9]),
    lambda x: x.frexp(), lambda z: fb.view_as_real(z), lambda x: fb.view_as_complex(x.contiguous().view(310, 105, 2)),
    lambda x, y: fb.complex(x, y), lambda x, y: x.clone().copy_(y), lambda x: x.clone().fill_(2.5),
    lambda x: fb.combinations(x[0, :40]), lambda x, y: fb.cartesian_prod(x[0], y[0]),
    lambda x, y: fb.block_diag(x, y),
    # places
    lambda x, i: x[i], lambda x, t: x[:, t], lambda x, j: x.gather(1, j), lambda x, i: x.index_select(0, i),
    lambda x, j: x.take(j), lambda x: x[x > 0.5], lambda x, y: x.masked_fill(y > 0, 2.0), lambda x: (x > 1).nonzero(),
    lambda x, j, y: fb.zeros_like(x).scatter_add(1, j, y), lambda x, j, y: x.scatter(1, j, y),
    lambda x, j, y: x.scatter_reduce(1, j, y, "prod"), lambda x, j, y: x.scatter_reduce(1, j, y, "amax"),
    lambda x, j, y: x.scatter_reduce(1, j, y, "mean"), lambda x, i, y: x.index_add(0, i[:300], y[:300]),
    lambda x, i, y: x.index_copy(0, i[:300].unique(), y[: len(i[:300].unique())]), lambda x: x.masked_select(x < 0),
    lambda x, i, y: x.clone().index_put_((i[:300],), y[:300], accumulate=True),
    lambda x, y: x.masked_scatter(y > 0, y),
    lambda x, y: x.clone().masked_scatter_(y > 0, y), lambda x, t: F.embedding(t.reshape(31, 10), x),
    lambda x, t: F.embedding_bag(t.reshape(31, 10), x),
    lambda x, t: F.embedding(t, x, padding_idx=3, scale_grad_by_freq=True), lambda t: F.one_hot(t),
    lambda x, y: fb.where(x > 0, x, y),
    lambda x, y: x.clone().__setitem__(x > 0, 2.0), lambda x, y: fb.select_scatter(x, y[0], 0, 7),
    lambda x, y: fb.slice_scatter(x, y[:50], 0, 9, 59), lambda x, y: fb.diagonal_scatter(x, y[0]),
    lambda x, j: fb.take_along_dim(x, j, 1), lambda x, i: x.index_fill(0, i, 1.5),
    lambda x, t: x.put(t, x[0, :1].expand(310)),
    lambda x, i: fb.segment_reduce(x, "sum", lengths=fb.tensor([300, 10])),
    # rows
    lambda x: x.softmax(1), lambda x: x.softmax(0), lambda x: x.log_softmax(1), lambda x: x.log_softmax(0),
    lambda x, w: F.layer_norm(x, (210,), w, w), lambda x, w: F.rms_norm(x, (210,), w),
    lambda im, b: F.group_norm(im, 3, b, b),
    lambda im, b: F.batch_norm(im, None, None, b, b, True), lambda im: F.instance_norm(im), lambda x: F.normalize(x),
    lambda x, t: F.cross_entropy(x, t), lambda x, t: F.nll_loss(x, t), lambda x, y: F.kl_div(x, y.exp()),
    lambda x, y: F.cosine_similarity(x, y), lambda x, y: F.pairwise_distance(x, y), lambda x, y: F.mse_loss(x, y),
    lambda im: F.local_response_norm(im, 3), lambda x: F.gumbel_softmax(x * 0 + 1),
    # images and signals
    lambda im, k, b: F.conv2d(im, k, padding=1), lambda sig, k1: F.conv1d(sig, k1), lambda vol, k3: F.conv3d(vol, k3),
    lambda im, kt: F.conv_transpose2d(im, kt, stride=2), lambda im: F.max_pool2d(im, 3, 2),
    lambda sig: F.max_pool1d(sig, 2),
    lambda im: F.avg_pool2d(im, 3, 2, 1), lambda vol: F.max_pool3d(vol, 2), lambda im: F.adaptive_avg_pool2d(im, 7),
    lambda im: F.adaptive_max_pool2d(im, 5), lambda im: F.lp_pool2d(im, 2, 3), lambda vol: F.avg_pool3d(vol, 2),
    lambda im: F.max_unpool2d(*F.max_pool2d(im, 2, return_indices=True), 2), lambda im: F.unfold(im, 3),
    lambda im: F.fold(F.unfold(im, 3), (41, 40), 3), lambda im: F.interpolate(im, scale_factor=2),
    lambda im: F.interpolate(im, (50, 77), mode="bilinear"), lambda im: F.interpolate(im, (50, 77), mode="bicubic"),
    lambda im: F.interpolate(im, (20, 17), mode="area"),
    lambda im: F.interpolate(im, (20, 17), mode="bilinear", antialias=True),
    lambda im, grid: F.grid_sample(im, grid), lambda im, grid: F.grid_sample(im, grid, "nearest", "reflection"),
    lambda im: F.pixel_unshuffle(im[..., :40, :], 2), lambda im: F.affine_grid(im[:, 0, :2, :3], [4, 1, 60, 61]),
    lambda v: fb.stft(v, 256, window=HANN, return_complex=True),
    lambda v: fb.istft(fb.stft(v, 256, window=HANN, return_complex=True), 256, window=HANN),
    # products
    lambda x, y: x @ y.t(), lambda s, p: s @ p, lambda x, w: x @ w, lambda v: v @ v, lambda z: z @ z.t(),
    lambda h: h @ h.t(),
    lambda x, y: fb.einsum("ij,kj->ik", x, y), lambda x, y: fb.cdist(x, y), lambda x: F.pdist(x),
    lambda x, y: fb.addmm(x @ x.t(), x, y.t()),
    lambda x, y, w: F.linear(x, y, y[:, 0]),
    lambda x, y, w: F.bilinear(x, y, x[:4].unsqueeze(2) * y[:4].unsqueeze(1)),
    lambda j: j[:90, :90] @ j[:90, :90], lambda x, y: fb.tensordot(x, y, 2), lambda x, y: fb.outer(x[0], y[0]),
    lambda z: z.mv(z[0]),
    lambda q: F.scaled_dot_product_attention(q, q, q),
    lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True),
    lambda seq: RNN(seq)[0].detach(), lambda seq: LSTM(seq)[0].detach(), lambda seq: GRU(seq)[0].detach(),
    lambda seq: PROJECTED(seq)[0].detach(),
    lambda x, y: fb.cdist(x, y, 1.5), lambda x: fb.renorm(x, 2, 0, 1.0),
    lambda x: x.reshape(-1, 3).cross(x.reshape(-1, 3).flip(0), 1),
    lambda seq: LSTM_CELL(seq[0])[0].detach(), lambda seq: GRU_CELL(seq[1]).detach(),
    lambda x, y: fb.cdist(x, y, 1.0),
    lambda im: im.contiguous(memory_format=fb.channels_last), lambda x, y: fb.cdist(x, y, float("inf")),
    # Fourier transforms
    lambda z: fb.fft.fft(z), lambda z: fb.fft.ifft2(z), lambda x: fb.fft.rfft(x), lambda x: fb.fft.rfft2(x),
    lambda z: fb.fft.irfft(z),
    lambda x: fb.fft.fftn(x), lambda z: fb.fft.hfft(z), lambda x: fb.fft.ihfft(x), lambda z: fb.fft.fftshift(z),
    # linear algebra
    lambda s: LA.inv(s), lambda few: LA.inv(few), lambda c: LA.inv(c), lambda s: LA.det(s),
    lambda few: LA.slogdet(few),
    lambda p: LA.cholesky(p), lambda p: fb.cholesky_inverse(LA.cholesky(p)), lambda s: LA.qr(s),
    lambda c: LA.qr(c, "complete"),
    lambda d: LA.qr(d), lambda s: LA.lu(s), lambda s: LA.lu_solve(*LA.lu_factor(s), s), lambda p: LA.ldl_factor(p),
    lambda s, p: LA.solve(s, p), lambda s, p: LA.solve_triangular(s + 9 * fb.eye(90), p, upper=True),
    lambda d: LA.lstsq(d, d[:, :3]),
    lambda p: LA.eigh(p), lambda c: LA.eigh(c @ c.mH), lambda p: LA.eigvalsh(p), lambda s: LA.eig(s),
    lambda c: LA.eigvals(c),
    lambda s: LA.svd(s), lambda c: LA.svd(c, full_matrices=False), lambda s: LA.svdvals(s), lambda d: LA.pinv(d),
    lambda few: LA.svd(few), lambda few: LA.eigh(few + few.mT), lambda s: LA.matrix_exp(s / 30),
    lambda s: LA.matrix_rank(s),
    lambda s: LA.matrix_norm(s, 2), lambda s: LA.matrix_power(s / 10, 5), lambda s: LA.cond(s), lambda d: fb.geqrf(d),
    lambda s: LA.multi_dot([s[0], s[1], s[2]]), lambda p: LA.householder_product(p, p[:, 0, :9]),
    lambda d: fb.svd_lowrank(d),
    # special functions of NumPy and SciPy
    *(lambda v, f=getattr(fb.special, name): f(v.abs()) for name in (
        "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "modified_bessel_k0", "modified_bessel_k1",
        "scaled_modified_bessel_k0", "scaled_modified_bessel_k1")),
    lambda v: fb.special.gammainc(v.detach().abs(), v.abs() + 1),
    # random numbers
    lambda x: fb.randn(70_001), lambda x: fb.rand_like(x), lambda x: fb.randperm(70_001),
    lambda x: fb.randint(0, 9, (70_001,)),
    lambda x: D.Gamma(x.abs() + 0.1, 1.0).rsample(), lambda x: D.Dirichlet(x.abs() + 0.1).rsample(),
    lambda x: D.Poisson(9 * x.abs()).sample(), lambda x: D.Binomial(40, x.sigmoid()).sample(),
    lambda x: F.dropout(x, 0.3), lambda x: fb.bernoulli(x.sigmoid()), lambda x: fb.multinomial(x.exp(), 5),
    lambda x: fb.poisson(x.exp()),
    lambda x: x.clone().exponential_(), lambda x: fb.normal(x, x.abs()), lambda x: x.clone().cauchy_(),
    lambda x: x.clone().geometric_(0.3),
]
# fmt: on
IDS = [f"{k}-{f.__code__.co_firstlineno}" for k, f in enumerate(SAMPLES)]


def tensors(found) -> list[fb.Tensor]:
    if isinstance(found, fb.Tensor):
        return [found]
    return [] if found is None else [t for part in found for t in tensors(part)]


def digest(found) -> str:
    h = hashlib.sha256()
    for t in tensors(found):
        h.update(np.ascontiguousarray(t.numpy()).tobytes())
    return h.hexdigest()


def call(sample, arrange=lambda x: x):
    names = sample.__code__.co_varnames[: sample.__code__.co_argcount - len(sample.__defaults__ or ())]
    fb.manual_seed(5)
    return sample(*(arrange(given()[name]) for name in names))


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_any_number_of_threads_gives_the_same_bits(sample, threads):
    found = set()
    for n in COUNTS:
        threads(n)
        found.add(digest(call(sample)))
    assert len(found) == 1


def every_second(x: fb.Tensor) -> fb.Tensor:
    return x.repeat_interleave(2, -1)[..., ::2]


def turned(x: fb.Tensor) -> fb.Tensor:
    return x.mT.contiguous().mT if x.ndim > 1 else every_second(x)


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_any_layout_gives_the_same_bits(sample):
    expected = digest(call(sample))
    assert digest(call(sample, every_second)) == expected
    assert digest(call(sample, turned)) == expected


def gradients(sample) -> list[fb.Tensor] | None:
    """Of the sample's outputs, each weighed with itself, with respect to its inputs; None where there are none."""
    leaves: list[fb.Tensor] = []

    def leaf(x: fb.Tensor) -> fb.Tensor:
        if x.is_floating_point() or x.is_complex():
            x = x.detach().requires_grad_()
            leaves.append(x)
        return x

    made = [t for t in tensors(call(sample, leaf)) if t.requires_grad]
    if not made:
        return None
    found = fb.autograd.grad(made, leaves, [t.detach() for t in made], allow_unused=True)
    return [g for g in found if g is not None]


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_gradients_are_the_same_at_any_number_of_threads(sample, threads):
    found = set()
    for n in (1, 3):
        threads(n)
        given_back = gradients(sample)
        if given_back is None:
            pytest.skip("has no derivative")
        found.add(digest(given_back))
    assert len(found) == 1


class Names(Interpreter):
    """Remembers the operations that run."""

    def __init__(self):
        self.seen = set()

    def process(self, call):
        self.seen.add(call.op.name)
        return call()


def test_every_operation_has_a_sample():
    """What ran is told by Python itself: the forward functions of primitives are functions like all others.

    Some run past theirs: an interpreter hears of those.
    """
    from flambeau.ops.primitive import PRIMITIVES

    for package in ("flambeau.ops", "flambeau.linalg", "flambeau.sparse"):
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            importlib.import_module(f"{package}.{module.name}")
    ran, names = set(), Names()
    sys.setprofile(lambda frame, event, arg: ran.add(frame.f_code) if event == "call" else None)
    try:
        for sample in SAMPLES:
            with names:
                gradients(sample)
    finally:
        sys.setprofile(None)
    left = {name for name, op in PRIMITIVES.items() if name not in names.seen and op.forward.__code__ not in ran}
    assert not left
