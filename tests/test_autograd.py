"""The tape as programs see it: backward and grad, graphs of any size, gradcheck itself."""

from __future__ import annotations

import threading
import weakref

import numpy as np
import pytest
from leaves import close, leaf

import flambeau as fb
from flambeau.autograd import Function, grad, gradcheck, gradgradcheck


# ---- backward and grad
def test_backward_adds_to_grad():
    x = leaf(1, 2, 3)
    (x * x).sum().backward()
    close(x.grad, [2, 4, 6])
    (3 * x).sum().backward()
    close(x.grad, [5, 7, 9])
    x.grad = None
    (x * x).backward(fb.tensor([1.0, 0.0, 2.0], dtype=fb.float64))
    close(x.grad, [2, 0, 12])


def test_backward_to_some_inputs_only():
    x, y = leaf(2), leaf(3)
    (x * y).sum().backward(inputs=[x])
    assert x.grad.item() == 3 and y.grad is None
    with pytest.raises(RuntimeError, match="inputs can't be empty"):
        (x * y).sum().backward(inputs=[])


def test_several_roots():
    x = leaf(1, 2)
    y, z = x * 2, x * x
    fb.autograd.backward([y.sum(), z], [None, fb.ones(2, dtype=fb.float64)])
    close(x.grad, [4, 6])
    gx = grad([(x * 2).sum(), (x * 5).sum()], x)[0]
    close(gx, [7, 7])


def test_grad_returns_and_leaves_grad_alone():
    x, y = leaf(1, 2), leaf(5)
    h = x * y
    gx, gy, gh = grad((h * h).sum(), [x, y, h])
    close(gx, [50, 100])
    close(gy, [50])
    close(gh, [10, 20])
    assert x.grad is None and y.grad is None
    unused = leaf(1)
    with pytest.raises(RuntimeError, match=r"not used in the graph.*allow_unused=True"):
        grad(x.sum(), [x, unused])
    assert grad(x.sum(), [unused], allow_unused=True) == (None,)
    assert grad(x.sum(), [unused], materialize_grads=True)[0].tolist() == [0]
    with pytest.raises(RuntimeError, match="does not require grad"):
        grad(x.sum(), fb.ones(1))


def test_the_same_input_twice_and_an_output_that_is_an_input():
    x = leaf(3)
    a, b = grad((x * x).sum(), [x, x])
    assert a.item() == b.item() == 6
    assert grad(x, x)[0].item() == 1
    y = x * 2
    assert grad(y, [y, x], fb.tensor([7.0], dtype=fb.float64))[0].item() == 7


def test_third_order():
    x = leaf(1.5, -0.5)
    g = (x**5).sum()
    for expected in (5 * x**4, 20 * x**3, 60 * x**2, 120 * x):
        (g,) = grad(g.sum(), x, create_graph=True)
        np.testing.assert_allclose(g.detach().numpy(), expected.detach().numpy(), rtol=1e-12)
    y = (x.sin() * x).exp()
    assert gradgradcheck(lambda x: grad((x.sin() * x).exp().sum(), x, create_graph=True)[0], [x])
    assert y.requires_grad


def test_create_graph_through_grad_of_leaves():
    x = leaf(2)
    (x**3).backward(create_graph=True)
    assert x.grad.requires_grad
    (gg,) = grad(x.grad, x)
    assert gg.item() == 12


def test_backward_twice():
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    close(x.grad, [4, 8])
    with pytest.raises(RuntimeError, match=r"MulBackward0.*freed.*retain_graph=True"):
        y.backward()
    close(x.grad, [4, 8])
    z = x.sum()  # nothing saved: PyTorch lets this one pass too
    z.backward()
    z.backward()


def test_backward_twice_through_what_saves_nothing():
    """As in PyTorch: sums, views and additions have nothing that a first backward could free."""
    x = leaf(1.0, 2.0)
    total = (x + 3).view(2, 1).expand(2, 3).sum()
    total.backward()
    total.backward()
    close(x.grad, [6, 6])


def test_what_cannot_go_backward_says_why():
    x = leaf(1, 2)
    with pytest.raises(RuntimeError, match="does not require grad and does not have a grad_fn"):
        fb.ones(1).backward()
    with pytest.raises(RuntimeError, match=r"only for scalar outputs, got shape \[2\]"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match=r"shape \[3\] differs from the tensor's, \[2\]"):
        (x * 2).backward(fb.ones(3))
    with pytest.raises(RuntimeError, match="1 tensors and 2 gradients"):
        fb.autograd.backward(x * 2, [fb.ones(2), fb.ones(2)])
    c = fb.tensor([1 + 2j], requires_grad=True)
    with pytest.raises(RuntimeError, match=r"real scalar outputs, got flambeau.complex64"):
        (c * c).sum().backward()
    for make in (lambda: fb.tensor([1, 2], requires_grad=True), lambda: fb.tensor([True]).requires_grad_()):
        with pytest.raises(RuntimeError, match="only floating and complex tensors have gradients"):
            make()
    y = x * 2
    with pytest.raises(RuntimeError, match="only leaves can be switched off"):
        y.requires_grad = False


def test_assigning_grad():
    x = leaf(1, 2)
    for bad, message in ((fb.ones(3, dtype=fb.float64), "shape"), (fb.ones(2), "dtype")):
        with pytest.raises(RuntimeError, match=message):
            x.grad = bad
    with pytest.raises(TypeError):
        x.grad = 3
    given = fb.ones(2, dtype=fb.float64)
    x.grad = given
    (x * 2).sum().backward()
    assert x.grad is given
    close(given, [3, 3])
    del x.grad
    assert x.grad is None


def test_grad_is_never_shared_between_leaves_or_with_what_the_caller_holds():
    x, y = leaf(1, 2), leaf(3, 4)
    seed = fb.ones(2, dtype=fb.float64)
    (x + y).backward(seed)
    x.grad.mul_(10)
    close(y.grad, [1, 1])
    close(seed, [1, 1])
    z = leaf(1)
    z.expand(4).backward(fb.ones(4, dtype=fb.float64))
    assert z.grad.item() == 4
    a, kept = leaf(1, 2), []
    a.register_hook(kept.append)
    (a * 3).sum().backward()
    a.grad.zero_()
    assert kept[0].tolist() == [3, 3]
    b = leaf(1, 2)
    h = b * 2
    h.retain_grad()
    h.view(2, 1).backward(fb.ones(2, 1, dtype=fb.float64))
    b.grad.mul_(5)
    close(h.grad, [1, 1])


def test_gradients_have_the_shape_and_dtype_of_their_tensor():
    scalar, row, matrix = leaf(2).reshape(()).detach().requires_grad_(), leaf(1, 2, 3), fb.ones(2, 3).requires_grad_()
    half = fb.ones(2, 1, dtype=fb.float16, requires_grad=True)
    (scalar * row * matrix * half).sum().backward()
    for t in (scalar, row, matrix, half):
        assert t.grad.shape == t.shape and t.grad.dtype is t.dtype
    close(scalar.grad, 12)
    close(row.grad, [4, 4, 4])
    assert matrix.grad.tolist() == [[2, 4, 6]] * 2
    assert half.grad.tolist() == [[12], [12]]
    i = fb.tensor([1, 2, 3])
    (row * i).sum().backward()
    close(row.grad, [5, 6, 7])


def test_complex_gradients():
    z = fb.tensor([1 + 2j, 3 - 1j], requires_grad=True, dtype=fb.complex128)
    (z * z.conj_physical()).real.sum().backward()
    assert z.grad.tolist() == [2 + 4j, 6 - 2j]
    w = fb.tensor([0.5 - 1j, 2 + 1j], requires_grad=True, dtype=fb.complex128)
    assert gradcheck(lambda z, w: z * w + z / w - w, [z, w])
    assert gradcheck(lambda z: z.abs(), [z])
    x = leaf(1, 2)
    assert gradcheck(lambda x: x * (2 - 1j), [x])
    assert gradcheck(fb.complex, [x, leaf(3, -1)])


# ---- size of graphs
def test_a_chain_of_a_million_operations(no_gc):
    x = fb.ones(1, requires_grad=True)
    y = x
    for _ in range(1_000_000):
        y = y * 1.0
    y.backward()
    assert x.grad.item() == 1
    del y
    y = x
    for _ in range(300_000):
        y = (y * 1.0).view(1)
    del y  # freed without having gone backward


def test_a_long_chain_of_writes():
    x = leaf(1, 2)
    y = x * 1
    for _ in range(20_000):
        y[0].mul_(1.0)
    y.sum().backward()
    close(x.grad, [1, 1])


def test_wide_graphs():
    x = leaf(1)
    parts = [x * k for k in range(5000)]
    fb.stack(parts).sum().backward()
    assert x.grad.item() == sum(range(5000))
    y = x * 1
    for _ in range(40):  # 2^40 ways back, each node walked once
        y = y + y
    x.grad = None
    y.backward()
    assert x.grad.item() == 2.0**40


def test_graphs_are_freed_by_reference_counts(no_gc):
    x = leaf(1, 2)
    y = (x.exp() * x).softmax(0)
    alive = weakref.ref(y.grad_fn)
    del y
    assert alive() is None
    y = x.exp()
    y.sum().backward()
    alive = weakref.ref(y)
    del y
    assert alive() is None
    y = x * 1
    y[0] *= 3
    alive = weakref.ref(y)
    del y
    assert alive() is None


# ---- inside backward
def test_modes_inside_backward_and_reentrance():
    class Inner(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.x = x.detach()
            return x * 1

        @staticmethod
        def backward(ctx, g):
            with fb.enable_grad():
                x = ctx.x.clone().requires_grad_()
                (inner,) = grad((x**3).sum(), x)
            return g * inner

    x = leaf(2)
    Inner.apply(x * 1).backward()
    assert x.grad.item() == 12
    y = x * 2

    def hook(g):
        with fb.enable_grad():
            (x * 5).sum().backward()

    y.register_hook(hook)
    x.grad = None
    (y * 3).backward()
    assert x.grad.item() == 11


def test_backward_in_several_threads_at_once():
    """Separate graphs of shared leaves: every thread's own gradients are those it would get alone."""
    w = fb.tensor(np.linspace(0.1, 1, 64).reshape(8, 8)).requires_grad_()
    results: dict[int, list] = {}

    def work(k):
        found = []
        for step in range(40):
            x = fb.full((8, 8), 0.1 * k + 0.01 * step, dtype=fb.float64)
            h = (x @ w).tanh() * 1
            h[0] *= 2
            (g,) = grad((h * h).softmax(1)[:, 0].sum(), w)
            found.append(g.numpy().tobytes())
        results[k] = found

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    together = dict(results)
    for k in range(6):
        work(k)
        assert together[k] == results[k]


# ---- gradcheck itself
def test_gradcheck_notices_wrong_gradients():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * 3

    x = leaf(1, 2)
    with pytest.raises(fb.autograd.GradcheckError, match="Jacobian mismatch"):
        gradcheck(Wrong.apply, [x])
    assert not gradcheck(Wrong.apply, [x], raise_exception=False)
    with pytest.raises(ValueError, match="float64"):
        gradcheck(fb.sin, [fb.ones(1, requires_grad=True)])
    with pytest.raises(ValueError, match="at least one input"):
        gradcheck(fb.sin, [fb.ones(1, dtype=fb.float64)])
