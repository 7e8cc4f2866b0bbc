"""autograd.functional: Jacobians, Hessians and products of functions with known derivatives, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd.functional import hessian, hvp, jacobian, jvp, vhp, vjp

rng = np.random.default_rng(0)
A = rng.normal(size=(4, 3))
X, Y, V = (rng.normal(size=3) for _ in range(3))
x, y, v = (fb.from_numpy(t.copy()) for t in (X, Y, V))
a = fb.from_numpy(A.copy())


def close(found, expected):
    assert found.dtype is fb.float64
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def curve(x):
    """sin(A x), with Jacobian diag(cos(A x)) A."""
    return fb.sin(a @ x)


CURVE = np.cos(A @ X)[:, None] * A


def energy(x, y):
    """x·y + Σ x³: a gradient (y + 3x², x) and a Hessian of blocks (6 diag x, I; I, 0)."""
    return (x * y).sum() + (x**3).sum()


ways = pytest.mark.parametrize(
    "options", [{}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"}, {"strict": True}], ids=str
)


@ways
def test_jacobian(options):
    close(jacobian(curve, x, **options), CURVE)
    (only,) = jacobian(curve, (x,), **options)
    close(only, CURVE)
    (((xx, xy), (yx, yy))) = jacobian(lambda x, y: (x.outer(y), y.sum() * x[:1]), (x, y), **options)
    close(xx, np.einsum("ik,j->ijk", np.eye(3), Y))
    close(xy, np.einsum("i,jk->ijk", X, np.eye(3)))
    close(yx, [[Y.sum(), 0, 0]])
    close(yy, [[X[0]] * 3])
    close(jacobian(lambda x: x.sum().reshape(()), x, **options), np.ones(3))


@pytest.mark.parametrize("options", [{}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"}])
def test_what_has_no_part_is_zero(options):
    close(jacobian(lambda x: fb.ones(2, dtype=fb.float64), x, **options), np.zeros((2, 3)))
    close(jacobian(lambda x, y: y * 2, (x, y), **options)[0], np.zeros((3, 3)))


outer = [{}, {"vectorize": True}, {"vectorize": True, "outer_jacobian_strategy": "forward-mode"}]


@pytest.mark.parametrize("options", outer, ids=str)
def test_hessian(options):
    close(hessian(lambda x: (x**3).sum(), x, **options), np.diag(6 * X))
    (xx, xy), (yx, yy) = hessian(energy, (x, y), **options)
    close(xx, np.diag(6 * X))
    close(xy, np.eye(3))
    close(yx, np.eye(3))
    close(yy, np.zeros((3, 3)))
    close(hessian(lambda x: x.exp().sum()[None], x, **options), np.diag(np.exp(X)))


def test_products():
    w = fb.from_numpy(rng.normal(size=4))
    out, found = vjp(curve, x, w)
    close(out, np.sin(A @ X))
    close(found, w.numpy() @ CURVE)
    out, found = jvp(curve, x, v)
    close(out, np.sin(A @ X))
    close(found, CURVE @ V)
    out, pair = vjp(lambda x, y: (x * y, y * 2), (x, y), (v, v))
    close(pair[0], V * Y)
    close(pair[1], V * X + 2 * V)
    close(out[1], 2 * Y)
    for product in (hvp, vhp):
        out, (first, second) = product(energy, (x, y), (v, y))
        close(out, (X * Y).sum() + (X**3).sum())
        close(first, 6 * X * V + Y)
        close(second, V)
        close(product(lambda x: x.sum(), x, v)[1], np.zeros(3))
    close(vjp(lambda x: (x * x).sum(), x)[1], 2 * X)
    close(jvp(fb.exp, x[:1])[1], np.exp(X[:1]))
    close(hvp(lambda x: (x**3).sum(), x[:1])[1], 6 * X[:1])


@pytest.mark.parametrize("attached", [False, True])
def test_create_graph(attached):
    """What is computed can be differentiated again if asked for, through the inputs if they are on the tape."""
    p = x.clone().requires_grad_(attached)
    found = [
        jacobian(curve, p, create_graph=True), jacobian(curve, p, create_graph=True, vectorize=True),
        hessian(lambda x: (x**4).sum(), p, create_graph=True), *vjp(curve, p, fb.ones(4, dtype=fb.float64), True),
        *jvp(curve, p, v, True), *hvp(lambda x: (x**4).sum(), p, v, True), *vhp(lambda x: (x**4).sum(), p, v, True),
    ]  # fmt: skip
    assert all(t.requires_grad for t in found)
    if attached:
        close(fb.autograd.grad(found[0].sum(), p, retain_graph=True)[0], (-np.sin(A @ X) * A.sum(1)) @ A)
        close(fb.autograd.grad(found[1].sum(), p, retain_graph=True)[0], (-np.sin(A @ X) * A.sum(1)) @ A)
        close(fb.autograd.grad(found[2].sum(), p, retain_graph=True)[0], 24 * X)
        close(fb.autograd.grad(found[6].sum(), p, retain_graph=True)[0], (-np.sin(A @ X) * (A @ V)) @ A)
        for g in (found[8], found[10]):
            close(fb.autograd.grad(g.sum(), p, retain_graph=True)[0], 24 * X * V)
    quiet = [jacobian(curve, p), hessian(lambda x: (x**4).sum(), p), *vjp(curve, p, fb.ones(4, dtype=fb.float64)),
             *jvp(curve, p, v), *hvp(lambda x: (x**4).sum(), p, v), *vhp(lambda x: (x**4).sum(), p, v)]  # fmt: skip
    assert not any(t.requires_grad for t in quiet) and p.grad is None


def cube(x):
    return (x**3).sum()


def fixed(x):
    return fb.ones(2, dtype=fb.float64)


REFUSED = [
    (TypeError, "the inputs must be a Tensor or a tuple", lambda: jacobian(curve, 3.0)),
    (TypeError, "the inputs must be a Tensor or a tuple", lambda: jacobian(curve, [x])),
    (TypeError, "outputs of the function must be", lambda: jacobian(lambda x: 3.0, x)),
    (TypeError, "outputs of the function must be", lambda: jvp(lambda x: 3.0, x, v)),
    (AssertionError, "'forward-mode' or 'reverse-mode'", lambda: jacobian(curve, x, strategy="both")),
    (AssertionError, "'forward-mode' or 'reverse-mode'", lambda: hessian(cube, x, outer_jacobian_strategy="both")),
    (NotImplementedError, "only implemented for vectorize", lambda: jacobian(curve, x, strategy="forward-mode")),
    (NotImplementedError, "create_graph", lambda: jacobian(curve, x, True, False, True, "forward-mode")),
    (RuntimeError, "not supported together", lambda: jacobian(curve, x, strict=True, vectorize=True)),
    (RuntimeError, "output 0 does not depend", lambda: jacobian(fixed, x, strict=True)),
    (RuntimeError, "output 0 does not depend", lambda: jvp(fixed, x, v, strict=True)),
    (RuntimeError, "independent of input 1", lambda: vjp(lambda x, y: 2 * x, (x, y), v, strict=True)),
    (RuntimeError, "independent of the input", lambda: hessian(lambda x: x.sum(), x, strict=True)),
    (RuntimeError, "independent of the input", lambda: vhp(lambda x: x.sum(), x, v, strict=True)),
    (RuntimeError, "independent of the input", lambda: hvp(lambda x: x.sum(), x, v, strict=True)),
    (RuntimeError, "contain a single element", lambda: hessian(curve, x)),
    (RuntimeError, "contain a single element", lambda: vhp(curve, x, v)),
    (RuntimeError, "v can only be None", lambda: vjp(curve, x)),
    (RuntimeError, "v can only be None", lambda: jvp(curve, x)),
    (RuntimeError, r"invalid size: entry 0 must be \[3\], got \[2\]", lambda: jvp(curve, x, v[:2])),
    (RuntimeError, "v must hold 1 tensors", lambda: vjp(cube, x, (v, v))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "message", "call"), REFUSED, ids=[m[:25] + str(i) for i, (_, m, _) in enumerate(REFUSED)]
)
def test_refused(kind, message, call):
    with pytest.raises(kind, match=message):
        call()


def test_gradients_in_batches():
    p = x.clone().requires_grad_()
    out = fb.sin(a @ p)
    (found,) = fb.autograd.grad(out, p, fb.eye(4, dtype=fb.float64), is_grads_batched=True)
    close(found, CURVE)


def test_modes_agree_on_a_network():
    net = fb.nn.Sequential(fb.nn.Linear(3, 5), fb.nn.Softplus(), fb.nn.Linear(5, 2), fb.nn.Softmax(-1)).double()
    point = fb.from_numpy(rng.normal(size=(2, 3)))
    found = [jacobian(net, point, vectorize=w, strategy=s) for w, s in (
        (False, "reverse-mode"), (True, "reverse-mode"), (True, "forward-mode"))]  # fmt: skip
    for one, other in itertools.pairwise(found):
        close(one, other.numpy())
