"""Saved-tensor hooks and activation checkpointing: the same gradients bit for bit, in less memory."""

from __future__ import annotations

import pytest

import flambeau as fb
from flambeau import nn
from flambeau.autograd.graph import (
    disable_saved_tensors_hooks,
    get_gradient_edge,
    increment_version,
    save_on_cpu,
    saved_tensors_hooks,
)
from flambeau.utils.checkpoint import (
    CheckpointError,
    checkpoint,
    checkpoint_sequential,
    noop_context_fn,
    set_checkpoint_early_stop,
)


def network(depth=8, width=64):
    fb.manual_seed(0)
    parts = ((nn.Linear(width, width), nn.GELU(), nn.Dropout(0.1), nn.LayerNorm(width)) for _ in range(depth))
    return nn.Sequential(*(nn.Sequential(*part) for part in parts))


def each(**how):
    def run(model, x):
        for part in model:
            x = checkpoint(part, x, **how)
        return x

    return run


def nested(model, x):
    def outer(h):
        h = checkpoint(model[:4], h, use_reentrant=False)
        return checkpoint(model[4:], h, use_reentrant=False)

    return checkpoint(outer, x, use_reentrant=False)


def by_keyword(model, x):
    return checkpoint(lambda h, *, scale: model(h) * scale, x, scale=2.0, use_reentrant=False) / 2.0


WAYS = {
    "not reentrant": each(use_reentrant=False),
    "reentrant": each(use_reentrant=True),
    "to the end": lambda model, x: checkpoint(model, x, early_stop=False),
    "nested": nested,
    "keywords": by_keyword,
    "sequential": lambda model, x: checkpoint_sequential(model, 4, x, use_reentrant=False),
    "sequential, reentrant": lambda model, x: checkpoint_sequential(model, 4, x, use_reentrant=True),
    "on the CPU": lambda model, x: within(save_on_cpu(), model, x),
}


def within(context, model, x):
    with context:
        return model(x)


@pytest.mark.parametrize("way", WAYS)
def test_gradients_are_the_same_bits(way):
    model, x = network(), fb.randn(32, 64, requires_grad=True)
    got = []
    for run in (lambda model, x: model(x), WAYS[way]):
        model.zero_grad()
        x.grad = None
        fb.manual_seed(1)
        y = run(model, x)
        y.pow(2).mean().backward()
        after = fb.rand(1)
        got.append([y.detach(), x.grad.clone(), after, *(p.grad.clone() for p in model.parameters())])
    assert all(a.equal(b) for a, b in zip(*got, strict=True))


def peak(run):
    model, x = network(width=128), fb.randn(2048, 128, requires_grad=True)
    before = fb.memory_stats()["live"]
    fb.reset_peak_memory_stats()
    run(model, x).sum().backward()
    return fb.memory_stats()["peak"] - before


def test_memory_is_lower():
    plain = peak(lambda model, x: model(x))
    assert peak(WAYS["not reentrant"]) < 0.6 * plain
    assert peak(WAYS["reentrant"]) < 0.6 * plain


def test_the_second_run_ends_early_and_happens_once():
    runs = []

    def f(x):
        runs.append("begun")
        y = x.exp().sin()
        runs.append("ended")
        return y

    x = fb.ones(3, requires_grad=True)
    checkpoint(f, x, use_reentrant=False).sum().backward()
    assert runs == ["begun", "ended", "begun"]
    runs.clear()
    with set_checkpoint_early_stop(False):
        checkpoint(f, x, use_reentrant=False).sum().backward()
    assert runs == ["begun", "ended", "begun", "ended"]


def test_backward_twice_and_second_derivatives():
    x = fb.tensor([0.3, 0.7], dtype=fb.float64, requires_grad=True)

    def f(t):
        return (t.exp() * t).tanh().sum()

    y = checkpoint(f, x, use_reentrant=False)
    assert all(fb.autograd.grad(y, x, retain_graph=True)[0].equal(fb.autograd.grad(f(x), x)[0]) for _ in range(2))
    second = []
    for g in (f, lambda t: checkpoint(f, t, use_reentrant=False)):
        (d,) = fb.autograd.grad(g(x), x, create_graph=True)
        second.append(fb.autograd.grad((d * d).sum(), x)[0])
    assert second[0].equal(second[1])


def test_a_second_run_that_differs_is_an_error():
    sizes = iter([3, 4])
    x = fb.ones(1, requires_grad=True)
    with pytest.raises(CheckpointError, match=r"saved tensor 0 was float32 \[3\].* and is float32 \[4\]"):
        checkpoint(lambda t: (t.expand(next(sizes)) * 1).exp().sum(), x, use_reentrant=False).backward()
    deep = iter([3, 1])
    with pytest.raises(CheckpointError, match=r"saved 3 tensors .* fewer"):
        y = checkpoint(lambda t: chain(t, next(deep)), x, use_reentrant=False, determinism_check="none")
        y.backward()


def chain(t, n):
    for _ in range(n):
        t = t.exp()
    return t.sum()


def test_contexts_autocast_and_refusals():
    entered = []

    class Note:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            entered.append(self.name)

        def __exit__(self, *error):
            return None

    x = fb.ones(2, requires_grad=True)
    notes = Note("first"), Note("second")
    checkpoint(lambda t: t.exp(), x, use_reentrant=False, context_fn=lambda: notes).sum().backward()
    assert entered == ["first", "second"]
    layer = nn.Linear(2, 2)
    with fb.autocast("cpu"):
        y = checkpoint(layer, x, use_reentrant=False)
    y.float().sum().backward()  # outside of the region: what runs again is cast as it was
    assert y.dtype is fb.bfloat16 and layer.weight.grad is not None
    with pytest.raises(ValueError, match="no keyword arguments"):
        checkpoint(lambda t, k: t, x, k=1, use_reentrant=True)
    with pytest.raises(ValueError, match="determinism_check"):
        checkpoint(lambda t: t, x, determinism_check="x")
    assert noop_context_fn()[0] is not None


def test_hooks_see_what_is_saved():
    x = fb.tensor([1.0, 2.0], requires_grad=True)
    packed = []
    with saved_tensors_hooks(lambda t: packed.append(t) or len(packed) - 1, lambda i: packed[i]):
        y = (x * x).exp()
    assert packed[0].equal(x) and any(p.equal(y) for p in packed)
    y.sum().backward()
    assert x.grad.allclose(2 * x * (x * x).exp())


def test_hooks_nest_and_are_refused():
    x = fb.ones(2, requires_grad=True)
    seen = []

    def named(name):
        return saved_tensors_hooks(lambda t: seen.append(name) or t, lambda t: t)

    with named("outer"):
        with named("inner"):
            x.exp()
        x.exp()
    x.exp()
    assert seen == ["inner", "outer"]
    with disable_saved_tensors_hooks("not here"), pytest.raises(RuntimeError, match="not here"), named("x"):
        pass
    with saved_tensors_hooks(lambda t: t, lambda t: 7):
        y = x.exp()
    with pytest.raises(TypeError, match="must return a tensor, got int"):
        y.sum().backward()


def test_hooks_reach_functions_of_ones_own():
    class Square(fb.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x * x
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return g * 2 * x + 0 * y

    x = fb.tensor([3.0], requires_grad=True)
    count = []
    with saved_tensors_hooks(lambda t: count.append(1) or t.tolist(), fb.tensor):
        y = Square.apply(x)
    y.backward()
    assert len(count) == 2 and x.grad.item() == 6.0


def test_edges_and_versions():
    x = fb.ones(2, requires_grad=True)
    y = x * 2
    assert get_gradient_edge(y).node is y.grad_fn and get_gradient_edge(x).node.variable is x
    (g,) = fb.autograd.grad((y * 3).sum(), get_gradient_edge(y))
    assert g.tolist() == [3.0, 3.0]
    z = x.exp()
    increment_version(z)
    with pytest.raises(RuntimeError, match="modified by an in-place operation"):
        z.sum().backward()
