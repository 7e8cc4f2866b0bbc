"""The same bits whatever the number of threads, and Python threads that compute at once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn, optim

COUNTS = (1, 2, 3, 4, 8)


def digest(*tensors: fb.Tensor) -> str:
    h = hashlib.sha256()
    for t in tensors:
        h.update(np.ascontiguousarray(t.detach().numpy()).tobytes())
    return h.hexdigest()


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(100, 256), nn.ReLU(), nn.LayerNorm(256), nn.Linear(256, 64), nn.GELU(), nn.Linear(64, 10)
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 10),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "shape", "steps"), [(mlp, (64, 100), 100), (cnn, (32, 1, 14, 14), 40)], ids=["mlp", "cnn"]
)
def test_training_gives_the_same_weights(make, shape, steps, threads):
    found = set()
    for n in COUNTS:
        threads(n)
        fb.manual_seed(0)
        model = make()
        optimizer = optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(steps):
            x, y = fb.randn(*shape), fb.randint(0, 10, shape[:1])
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found.add(digest(*model.state_dict().values()))
    assert len(found) == 1


@pytest.mark.parametrize("function", [
    lambda: fb.randn(300_000), lambda: fb.rand(1000, 333).sum(0), lambda: fb.randperm(100_000),
    lambda: F.dropout(fb.ones(200_001), 0.3),
    lambda: fb.randn(300, 200) @ fb.randn(200, 170), lambda: fb.randn(7, 130, 65).bmm(fb.randn(7, 65, 31)),
    lambda: fb.randn(100_003).cumsum(0), lambda: fb.randn(200_000).sort().values,
    lambda: fb.randn(500, 300).topk(7, 1).values,
    lambda: fb.randn(50_000)[fb.randint(0, 50_000, (90_000,))], lambda: fb.randn(400, 300)[fb.randn(400, 300) > 0],
    lambda: fb.zeros(100, 64).index_add(0, fb.randint(0, 100, (9000,)), fb.randn(9000, 64)),
    lambda: F.embedding(fb.randint(0, 50, (4000,)), fb.randn(50, 64)),
    lambda: fb.cat([fb.randn(300, 200), fb.randn(111, 200)], 0),
    lambda: F.conv2d(fb.randn(3, 6, 30, 31), fb.randn(8, 6, 3, 3)),
    lambda: F.max_pool2d(fb.randn(4, 9, 50, 51), 3, 2), lambda: fb.randn(600, 500).t().contiguous(),
    lambda: fb.randn(64, 3, 40, 40).permute(0, 2, 3, 1) + 1,
])  # fmt: skip
def test_operations_give_the_same_bits(function, threads):
    found = set()
    for n in COUNTS:
        threads(n)
        fb.manual_seed(1)
        found.add(digest(function()))
    assert len(found) == 1


def test_gradients_give_the_same_bits(threads):
    found = set()
    for n in COUNTS:
        threads(n)
        fb.manual_seed(2)
        w, e, k = (fb.randn(*s).requires_grad_() for s in ((120, 90), (40, 120), (8, 3, 3, 3)))
        x = F.embedding(fb.randint(0, 40, (700,)), e) @ w
        y = F.conv2d(fb.randn(5, 3, 33, 29), k, padding=1)
        (x.softmax(1).pow(2).sum() + x.std() + y.relu().mean() + x.sort(1).values[:, 3].sum()).backward()
        found.add(digest(w.grad, e.grad, k.grad))
    assert len(found) == 1


def test_set_num_threads():
    before = fb.get_num_threads()
    assert before >= 1
    for bad in (0, -1):
        with pytest.raises(RuntimeError, match="at least one thread"):
            fb.set_num_threads(bad)
    for bad in (1.5, "2", None):
        with pytest.raises(TypeError):
            fb.set_num_threads(bad)
    with pytest.raises((RuntimeError, OverflowError, ValueError)):
        fb.set_num_threads(2**40)
    assert fb.get_num_threads() == before


def test_python_threads_compute_at_once(threads):
    """Kernels are looked up, compiled and launched from many threads, while the number of threads changes."""
    threads(3)

    def work(k: int) -> str:
        rng = np.random.default_rng(k)
        out = []
        for step in range(25):
            a, b = (fb.from_numpy(rng.normal(size=(40 + k, 500 + step)).astype(np.float32)) for _ in range(2))
            w = fb.from_numpy(rng.normal(size=(500 + step, 7)).astype(np.float32)).requires_grad_()
            y = ((a * b).tanh() @ w).softmax(1) + (a.t()[::2].t() @ w.detach()[::2]).sum(1, keepdim=True)
            (g,) = fb.autograd.grad(y[:, 0].sum(), w)
            out += [y, g, (a > b).sum(0), a.to(fb.float16).exp(), a.argsort(1)]
        return digest(*out)

    results: dict[int, str] = {}
    workers = [threading.Thread(target=lambda k=k: results.__setitem__(k, work(k))) for k in range(6)]
    for t in workers:
        t.start()
    for n in (1, 2, 4, 3, 1, 2):
        fb.set_num_threads(n)
    for t in workers:
        t.join()
    assert [results[k] for k in range(6)] == [work(k) for k in range(6)]


FRESH = """
import threading, flambeau as fb
gate = threading.Barrier(8)
found = []
def work():
    gate.wait()
    x = fb.arange(70000.0).reshape(70, 1000)
    found.append([float(f(x)) for f in (
        lambda x: (x.sin() + x.t().cos().t()).sum(), lambda x: x.softmax(1)[0, -1], lambda x: (x @ x.t())[0, 0],
        lambda x: x.half().float().mean(), lambda x: x.std(), lambda x: (x // 3).int().sum())])
workers = [threading.Thread(target=work) for _ in range(8)]
[t.start() for t in workers]; [t.join() for t in workers]
assert len(found) == 8 and all(f == found[0] for f in found), found
"""


def test_first_use_in_many_threads_at_once(tmp_path):
    """With an empty cache every thread misses every kernel at the same time."""
    env = os.environ | {"FLAMBEAU_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", FRESH], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork_after_computing(threads):
    threads(3)
    x = fb.arange(200_000.0)
    expected = digest(x.sin(), x.sum())
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writer, digest(x.sin(), x.sum()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as f:
        assert f.read().decode() == expected
    assert os.waitpid(child, 0)[1] == 0
    assert digest(x.sin(), x.sum()) == expected
