"""One large case for each family of operations: none is to take longer than PyTorch's.

Each row is a statement over inputs that are made when it asks for them by name.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from .case import case

# Samples of a row: there are many rows, and what they tell is whether a family is slower, not by how many per cent.
ROUNDS = 5

INPUTS = {
    "x": lambda fb: fb.randn(2048, 2048),
    "y": lambda fb: fb.randn(2048, 2048),
    "z": lambda fb: fb.complex(fb.randn(1024, 1024), fb.randn(1024, 1024)),
    "d": lambda fb: fb.randn(1024, 1024, dtype=fb.float64),
    "h": lambda fb: fb.randn(2048, 2048).to(fb.bfloat16),
    "u": lambda fb: fb.rand(2048, 2048),
    "rows": lambda fb: fb.randint(0, 2048, (2048,)),
    "places": lambda fb: fb.randint(0, 2048, (2048, 2048)),
    "edges": lambda fb: fb.randn(1000).sort()[0],
    "images": lambda fb: fb.randn(16, 64, 64, 64),
    "grid": lambda fb: fb.rand(16, 64, 64, 2) * 2 - 1,
    "patches": lambda fb: fb.randn(16, 9, 3844),
    "signal": lambda fb: fb.randn(400000),
    "window": lambda fb: fb.hann_window(512),
    "square": lambda fb: fb.randn(512, 512),
    "definite": lambda fb: (lambda a: a @ a.t() + fb.eye(512))(fb.randn(512, 512)),
    "systems": lambda fb: fb.randn(4000, 8, 8),
    "batch": lambda fb: fb.randn(64, 256, 256),
    "leaf": lambda fb: fb.randn(2048, 2048, requires_grad=True),
    "pictures": lambda fb: fb.randn(16, 64, 64, 64, requires_grad=True),
    "table": lambda fb: fb.randn(2048, 512, requires_grad=True),
    "F": lambda fb: fb.nn.functional,
    "fb": lambda fb: fb,
}

FAMILIES = {
    "pointwise": "fb.exp(x), fb.where(x > 0, x, y), x.clamp(-1, 1), fb.erf(x), fb.atan2(x, y), fb.lgamma(x), z * z, "
    "z.abs(), h + h, d.exp(), places // 7, fb.pow(u, 1.7), (x > 0) & (y > 0), fb.remainder(x, y)",
    "conversion": "x.to(fb.int32), x.to(fb.bfloat16), x.clone()",
    "reduction": "x.sum(0), x.sum(1), x.mean(), x.var(1), x.amax(0), x.max(1), x.argmax(0), x.norm(), x.prod(1), "
    "(x > 9).any(), x.logsumexp(1), (x > 0).sum(), x.median(1), x.kthvalue(5, 1), fb.quantile(x, 0.3, 1), h.sum()",
    "scan": "x.cumsum(1), x.cumsum(0), x.cumprod(1), x.cummax(1), x.logcumsumexp(1), fb.trapezoid(x)",
    "move": "x.t().contiguous(), fb.cat([x, y], 1), fb.stack([x, y], -1), x.flip(1), x.roll(3, 1), x.tril(), "
    "F.pad(x, (1, 2, 3, 4)), F.pad(images, (1, 2, 3, 4), mode='reflect'), x.repeat_interleave(3, 0), "
    "images.permute(0, 3, 1, 2).contiguous()",
    "index": "x[rows], x[:, rows], x.gather(1, places), x.take(places), x[x > 0], x.masked_fill(x > 0, 0.0), "
    "fb.zeros_like(x).scatter_add(1, places, y), fb.zeros_like(x).index_add(0, rows, y), (x > 1).nonzero(), "
    "F.embedding(rows, x), places.view(-1).bincount(), fb.searchsorted(edges, x), places.unique(), fb.histc(x, 100)",
    "order": "x.sort(1), x.argsort(1), x.topk(10, 1), places.sort(1)",
    "row": "x.softmax(1), x.log_softmax(1), x.softmax(0), F.layer_norm(x, (2048,)), F.group_norm(images, 8), "
    "F.batch_norm(images, None, None, training=True), F.cross_entropy(x, rows), F.mse_loss(x, y), "
    "F.cosine_similarity(x, y)",
    "image": "F.max_pool2d(images, 2), F.avg_pool2d(images, 2), F.adaptive_avg_pool2d(images, 1), "
    "F.interpolate(images, scale_factor=2), F.interpolate(images, scale_factor=2, mode='bilinear'), "
    "F.interpolate(images, scale_factor=2, mode='bicubic'), F.grid_sample(images, grid, align_corners=False), "
    "F.unfold(images, 3), F.fold(patches, (64, 64), 3), F.pixel_shuffle(images, 2)",
    "random": "fb.rand(2048, 2048), fb.randn(2048, 2048), fb.bernoulli(u), F.dropout(x), fb.randperm(1000000), "
    "fb.randint(0, 9, (2048, 2048)), fb.multinomial(u, 10), fb.poisson(u)",
    "factory": "fb.zeros(2048, 2048), fb.arange(4000000), fb.linspace(0, 1, 4000000), fb.eye(2048)",
    "product": "fb.einsum('bij,bkj->bik', batch, batch), fb.outer(x[0], y[0]), fb.kron(x[:32, :32], y[:32, :32]), "
    "fb.cdist(square, square), z[:256, :256] @ z[:256, :256], places[:256, :256] @ places[:256, :256], "
    "fb.dot(x.view(-1), y.view(-1))",
    "fft": "fb.fft.fft(z), fb.fft.rfft2(x), fb.stft(signal, 512, window=window, return_complex=True)",
    "linalg": "fb.linalg.inv(square), fb.linalg.solve(square, x[:512]), fb.linalg.qr(square), "
    "fb.linalg.eigh(definite), fb.linalg.svd(square[:256, :256]), fb.linalg.cholesky(definite), "
    "fb.linalg.det(systems), fb.linalg.inv(systems)",
    "backward": "leaf.gather(1, places).sum().backward(), F.embedding(rows, table).sum().backward(), "
    "leaf.cumsum(1).sum().backward(), leaf.softmax(1).norm().backward(), leaf.sort(1)[0].norm().backward(), "
    "F.layer_norm(leaf, (2048,)).norm().backward(), F.max_pool2d(pictures, 2).sum().backward(), "
    "F.batch_norm(pictures, None, None, training=True).norm().backward(), "
    "F.interpolate(pictures, scale_factor=2, mode='bilinear').sum().backward()",
}


def statements(text: str) -> list[str]:
    """The expressions of a tuple, as they are written."""
    parts = ast.parse(text, mode="eval").body
    assert isinstance(parts, ast.Tuple)
    return [ast.unparse(part) for part in parts.elts]


def inputs(fb: Any, statement: str, makers: dict) -> dict[str, Any]:
    """What a statement needs, by the names that occur in it."""
    used = set(re.findall(r"(?<![\w.])[a-zA-Z_]\w*", statement))
    return {name: make(fb) for name, make in makers.items() if name in used}


def _row(family: str, statement: str) -> None:
    @case(f"{family}, {statement}", reach=1.0, rounds=ROUNDS)
    def make(fb):
        fb.manual_seed(0)
        return statement, inputs(fb, statement, INPUTS)


for _family, _text in FAMILIES.items():
    for _statement in statements(_text):
        _row(_family, _statement)
