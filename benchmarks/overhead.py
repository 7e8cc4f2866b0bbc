"""Op overhead: tensors so small that only the way to the kernel counts."""

from __future__ import annotations

from .case import case


@case("a + b, 16 floats", reach=0.30, budget=5)
def add(fb):
    a, b = fb.rand(16), fb.rand(16)
    return "a + b", {"a": a, "b": b}


@case("a + b, 16 floats, with a tape node", reach=0.30, budget=8)
def add_taped(fb):
    a, b = fb.rand(16, requires_grad=True), fb.rand(16)
    return "a + b", {"a": a, "b": b}


@case("(a * b).sum().backward(), 16 floats", reach=0.20, budget=80)
def backward(fb):
    a, b = fb.rand(16, requires_grad=True), fb.rand(16)
    return "(a * b).sum().backward()", {"a": a, "b": b}


@case("nn.Linear(8, 8) forward + backward, batch 4", reach=0.35, budget=300)
def linear(fb):
    return "layer(x).sum().backward()", {"layer": fb.nn.Linear(8, 8), "x": fb.rand(4, 8)}


@case("nn.Linear(8, 8) forward, batch 4", budget=60)
def linear_forward(fb):
    return "layer(x)", {"layer": fb.nn.Linear(8, 8), "x": fb.rand(4, 8)}


@case("t * 1.01, 16 floats", budget=8)
def scale(fb):
    return "t * 1.01", {"t": fb.rand(16)}


@case("a.add_(b), 16 floats", budget=8)
def add_in_place(fb):
    return "a.add_(b)", {"a": fb.zeros(16), "b": fb.zeros(16)}


@case("a + b, (4, 1) and (1, 4)", budget=8)
def add_broadcast(fb):
    return "a + b", {"a": fb.rand(4, 1), "b": fb.rand(1, 4)}


@case("relu, 16 floats", budget=6)
def relu(fb):
    return "relu(a)", {"relu": fb.relu, "a": fb.rand(16)}


@case("sum, 16 floats", budget=12)
def sum(fb):
    return "a.sum()", {"a": fb.rand(16)}


@case("matmul, 8×8", budget=15)
def matmul(fb):
    return "a @ b", {"a": fb.rand(8, 8), "b": fb.rand(8, 8)}


@case("softmax, (4, 8)", reach=0.50, budget=12)
def softmax(fb):
    return "a.softmax(-1)", {"a": fb.rand(4, 8)}


@case("x.view(8, 2)", budget=9)
def view(fb):
    return "x.view(8, 2)", {"x": fb.rand(16)}


@case("x[0]", budget=9)
def index(fb):
    return "x[0]", {"x": fb.rand(4, 4)}


@case("x[1:3, ::2]", budget=20)
def slices(fb):
    return "x[1:3, ::2]", {"x": fb.rand(4, 4)}


@case("x.item()", budget=4)
def item(fb):
    return "x.item()", {"x": fb.rand(1)}


@case("zeros(16)", budget=10)
def zeros(fb):
    return "zeros(16)", {"zeros": fb.zeros}


@case("cat of two, 16 floats each", reach=0.50, budget=10)
def cat(fb):
    return "cat(pair)", {"cat": fb.cat, "pair": [fb.rand(16), fb.rand(16)]}


@case("stack of two, 16 floats each", reach=0.50, budget=10)
def stack(fb):
    return "stack(pair)", {"stack": fb.stack, "pair": [fb.rand(16), fb.rand(16)]}


@case("chunk into two, 16 floats", reach=0.50, budget=20)
def chunk(fb):
    return "x.chunk(2)", {"x": fb.rand(16)}


@case("softmax, (4, 8), with a tape node", reach=0.50, budget=20)
def softmax_taped(fb):
    return "a.softmax(-1)", {"a": fb.rand(4, 8, requires_grad=True)}


@case("layer_norm, (4, 8)", reach=0.50, budget=28)
def layer_norm(fb):
    names = {"f": fb.nn.functional.layer_norm, "a": fb.rand(4, 8), "shape": (8,), "w": fb.rand(8), "b": fb.rand(8)}
    return "f(a, shape, w, b)", names


@case("batch_norm in eval mode, (4, 8)", reach=0.50, budget=40)
def batch_norm(fb):
    names = {"f": fb.nn.functional.batch_norm, "a": fb.rand(4, 8)}
    return "f(a, m, v, w, b)", {**names, "m": fb.rand(8), "v": fb.rand(8), "w": fb.rand(8), "b": fb.rand(8)}


@case("cross_entropy, (4, 8)", budget=60)
def cross_entropy(fb):
    names = {"f": fb.nn.functional.cross_entropy, "a": fb.rand(4, 8), "t": fb.tensor([1, 2, 3, 0])}
    return "f(a, t)", names


@case("forward and backward of ten sigmoids, 16 floats", budget=300)
def chain(fb):
    def run(x):
        for _ in range(10):
            x = x.sigmoid()
        x.sum().backward()

    return "run(x)", {"run": run, "x": fb.rand(16, requires_grad=True)}


def _parameters(fb, count: int):
    parameters = [fb.rand(64, requires_grad=True) for _ in range(count)]
    for p in parameters:
        p.grad = fb.rand(64)
    return parameters


@case("SGD with momentum, 100 tensors of 64", budget=3000)
def sgd(fb):
    return "optimizer.step()", {"optimizer": fb.optim.SGD(_parameters(fb, 100), lr=1e-3, momentum=0.9)}


@case("AdamW, 100 tensors of 64", budget=5000)
def adamw(fb):
    return "optimizer.step()", {"optimizer": fb.optim.AdamW(_parameters(fb, 100), lr=1e-3)}


@case("AdamW, 400 tensors of 64", reach=0.1)
def adamw_many(fb):
    return "optimizer.step()", {"optimizer": fb.optim.AdamW(_parameters(fb, 400), lr=1e-3)}


@case("clip_grad_norm_, 400 tensors of 64", reach=0.5)
def clipping(fb):
    return "clip(p, 1.0)", {"clip": fb.nn.utils.clip_grad_norm_, "p": _parameters(fb, 400)}
