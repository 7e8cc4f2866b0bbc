"""Calls of the most used functions on tensors so small that only the way to the kernel counts.

The names are those that public programs use most, dropped where another row already stands for them.
"""

from __future__ import annotations

from .case import case
from .families import ROUNDS, inputs, statements

INPUTS = {
    "x": lambda fb: fb.randn(4, 8),
    "y": lambda fb: fb.rand(4, 8) + 0.1,
    "w": lambda fb: fb.randn(8, 8),
    "mask": lambda fb: fb.arange(32).view(4, 8) % 3 == 0,
    "rows": lambda fb: fb.tensor([0, 2, 1, 3]),
    "places": lambda fb: fb.arange(32).view(4, 8) % 8,
    "leaf": lambda fb: fb.randn(4, 8, requires_grad=True),
    "images": lambda fb: fb.randn(2, 4, 8, 8),
    "weight": lambda fb: fb.randn(4, 4, 3, 3),
    "F": lambda fb: fb.nn.functional,
    "fb": lambda fb: fb,
}

STATEMENTS = (
    "x.size(0), x.view(-1), x.permute(1, 0), x.unsqueeze(0), x.reshape(8, 4), x.transpose(0, 1), x.expand(2, 4, 8), "
    "x.float(), x.to(fb.float64), x.detach(), x.clone(), x.long(), x.tolist(), x.sum(1), x.mean(), x.mean(1), "
    "x.max(), x.max(1), x.argmax(1), x.std(), x.abs(), x.pow(2), x.clamp(-1, 1), x.masked_fill(mask, 0.0), "
    "x.fill_(1.0), x.zero_(), x.copy_(y), x.mul_(0.5), x.repeat(2, 1), x.gather(1, places), x[rows], x[mask], "
    "x[:, 0], x.topk(2), x.sort(), x.cumsum(1), x.log_softmax(-1), x == y, fb.bmm(images[0], images[1]), "
    "fb.einsum('ij,jk->ik', x, w), fb.ones(4, 8), fb.arange(8), fb.randn(4, 8), fb.randint(0, 5, (4,)), "
    "fb.tensor([1, 2, 3]), fb.zeros_like(x), fb.where(mask, x, y), fb.sigmoid(x), fb.log(y), fb.nonzero(x), "
    "fb.tril(x), F.gelu(x), F.mse_loss(x, y), F.binary_cross_entropy_with_logits(x, y), "
    "F.conv2d(images, weight, padding=1), F.max_pool2d(images, 2), F.pad(images, (1, 1, 1, 1)), F.dropout(x, 0.5), "
    "F.embedding(rows, x), F.normalize(x, dim=1), F.interpolate(images, scale_factor=2), fb.linalg.inv(w), "
    "fb.fft.rfft(x), fb.linalg.det(w), fb.linalg.qr(w), x.median(1), x.roll(1, 0), x.flip(0), x.scatter(1, places, y), "
    "x.index_add(0, rows, y), x[rows, rows], fb.unique(rows), fb.randperm(8), fb.tensordot(x, w, 1), x.diagonal(), "
    "leaf.gather(1, places), leaf.sort(), leaf.std(), leaf.cumsum(1), leaf.chunk(2)"
)


def _row(statement: str) -> None:
    @case(statement, reach=0.5, rounds=ROUNDS)
    def make(fb):
        fb.manual_seed(0)
        return statement, inputs(fb, statement, INPUTS)


for _statement in statements(STATEMENTS):
    _row(_statement)
