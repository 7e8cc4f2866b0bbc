"""func: derivatives as transforms, against known ones in float64; nested in each other and in vmap in any order."""

from __future__ import annotations

from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import func, nn
from flambeau.func import functional_call, grad, grad_and_value, hessian, jacfwd, jacrev, jvp, vjp, vmap
from flambeau.utils import _pytree

rng = np.random.default_rng(0)
A = rng.normal(size=(4, 3))
X, Y = rng.normal(size=3), rng.normal(size=3)
XS, YS = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
a, x, y, xs, ys = (fb.from_numpy(t.copy()) for t in (A, X, Y, XS, YS))


def close(found, expected):
    assert found.dtype is fb.float64 and not found.requires_grad
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-11, atol=1e-11)


def curve(x):
    return fb.sin(a @ x)


def energy(x, y):
    return (x * y).sum() + (x**3).sum()


def jacobian_of_curve(x):
    return np.cos(A @ x)[:, None] * A


# ---- one transform
def test_grad():
    close(grad(energy)(x, y), Y + 3 * X**2)
    gx, gy = grad(energy, argnums=(0, -1))(x, y)
    close(gx, Y + 3 * X**2)
    close(gy, X)
    tree = grad(lambda p, scale: energy(p["a"], p["b"][0]) * scale)({"a": x, "b": (y,)}, 2)
    close(tree["a"], 2 * (Y + 3 * X**2))
    close(tree["b"][0], 2 * X)
    g, (value, (extra, word)) = grad_and_value(lambda x: ((x**2).sum(), (x + 1, "as it is")), has_aux=True)(x)
    close(g, 2 * X)
    close(value, (X**2).sum())
    close(extra, X + 1)
    assert word == "as it is"
    close(grad(lambda x: fb.ones((), dtype=fb.float64))(x), np.zeros(3))
    g, value = grad_and_value(energy)(x, y=y)
    close(g, Y + 3 * X**2)


def test_vjp_and_jacrev():
    out, pull = vjp(curve, x)
    v = rng.normal(size=4)
    close(out, np.sin(A @ X))
    for _ in range(2):
        close(pull(fb.from_numpy(v.copy()))[0], v @ jacobian_of_curve(X))
    out, pull, aux = vjp(lambda x, y: ({"p": x * y}, x + y), x, y, has_aux=True)
    gx, gy = pull({"p": y})
    close(gx, Y * Y)
    close(gy, Y * X)
    close(aux, X + Y)
    for take in (jacrev, jacfwd):
        close(take(curve)(x), jacobian_of_curve(X))
        close(take(curve, chunk_size=2)(x), jacobian_of_curve(X))
        first, second = take(lambda x, y: x.outer(y), argnums=(0, 1))(x, y)
        close(first, np.einsum("ik,j->ijk", np.eye(3), Y))
        close(second, np.einsum("i,jk->ijk", X, np.eye(3)))
        nest, aux = take(lambda p: ({"s": p["a"].sum() * p["b"]}, p["a"] * 2), has_aux=True)({"a": x, "b": y})
        close(nest["s"]["a"], np.outer(Y, np.ones(3)))
        close(nest["s"]["b"], X.sum() * np.eye(3))
        close(aux, 2 * X)
        close(take(lambda x: x**2)(fb.tensor(3.0, dtype=fb.float64)), 6.0)


def test_hessian():
    close(hessian(lambda x: (x**4).sum())(x), np.diag(12 * X**2))
    (xx, xy), (yx, yy) = hessian(energy, argnums=(0, 1))(x, y)
    close(xx, np.diag(6 * X))
    close(xy, np.eye(3))
    close(yx, np.eye(3))
    close(yy, np.zeros((3, 3)))


# ---- nested
def test_every_way_to_a_second_derivative():
    expected = -np.einsum("i,ij,ik->ijk", np.sin(A @ X), A, A)
    for outer in (jacrev, jacfwd):
        for inner in (jacrev, jacfwd):
            close(outer(inner(curve))(x), expected)


def test_third_derivatives():
    quartic = lambda x: (x**4).sum()
    found = jacfwd(jacrev(jacfwd(quartic)))(x)
    expected = np.zeros((3, 3, 3))
    expected[range(3), range(3), range(3)] = 24 * X
    close(found, expected)
    close(grad(grad(grad(lambda t: t**4)))(x[0]), 24 * X[0])


def test_vmap_of_derivatives():
    close(vmap(grad(energy))(xs, ys), YS + 3 * XS**2)
    close(vmap(grad(energy, argnums=1), in_dims=(None, 0))(x, ys), np.tile(X, (5, 1)))
    close(vmap(grad(energy), in_dims=(None, 0))(x, ys), YS + 3 * X**2)
    for take in (jacrev, jacfwd):
        close(vmap(take(curve))(xs), np.stack([jacobian_of_curve(t) for t in XS]))
    close(vmap(hessian(lambda x: (x**3).sum()))(xs), np.stack([np.diag(6 * t) for t in XS]))
    hvp = lambda x, v: jvp(grad(lambda x: (x**3).sum()), (x,), (v,))[1]
    close(vmap(hvp)(xs, ys), 6 * XS * YS)
    close(vmap(hvp, in_dims=(None, 0))(x, ys), 6 * X * YS)
    close(vmap(lambda s: jvp(lambda w: grad(energy)(w, s), (x,), (y,))[1])(xs), np.tile(6 * X * Y, (5, 1)))
    close(vmap(lambda x: vjp(curve, x)[1](fb.ones(4, dtype=fb.float64))[0])(xs),
          np.stack([jacobian_of_curve(t).sum(0) for t in XS]))  # fmt: skip


def test_derivatives_of_vmap():
    total = lambda xs: vmap(energy)(xs, ys).sum()
    close(grad(total)(xs), YS + 3 * XS**2)
    close(jvp(vmap(energy), (xs, ys), (ys, xs))[1], ((YS + 3 * XS**2) * YS).sum(1) + (XS * XS).sum(1))
    close(jacrev(vmap(lambda x: x.prod()))(xs)[2, 2], np.prod(XS[2]) / XS[2])
    diagonal = np.zeros((5, 3, 5, 3))
    for i in range(5):
        diagonal[i, :, i, :] = np.diag(6 * XS[i])
    close(hessian(total)(xs), diagonal)


def test_pullbacks_and_pushforwards_are_mapped():
    _, pull = vjp(curve, x)
    close(vmap(pull)(fb.eye(4, dtype=fb.float64))[0], jacobian_of_curve(X))
    _, push = func.linearize(curve, x)
    close(vmap(push)(fb.eye(3, dtype=fb.float64)), jacobian_of_curve(X).T)
    # A pullback made for all samples, applied to many cotangents of each.
    rows = vmap(lambda x: vmap(vjp(curve, x)[1])(fb.eye(4, dtype=fb.float64))[0])(xs)
    close(rows, np.stack([jacobian_of_curve(t) for t in XS]))


def test_two_levels_of_samples():
    found = vmap(vmap(grad(energy), in_dims=(None, 0)), in_dims=(0, None))(xs, ys)
    close(found, YS[None] + 3 * XS[:, None] ** 2)
    found = vmap(lambda x: grad(lambda v: vmap(lambda y: energy(v, y))(ys).sum())(x))(xs)
    close(found, YS.sum(0) + 5 * 3 * XS**2)


# ---- and the tape around them
def test_gradients_leave_the_tape_only_where_nothing_outside_is_on_it():
    w = x.clone().requires_grad_()
    g = grad(energy)(w, y)
    assert g.requires_grad
    np.testing.assert_allclose(fb.autograd.grad(g.sum(), w)[0].numpy(), 6 * X)
    captured = grad(lambda v: (v * w).sum() ** 2)(x)
    np.testing.assert_allclose(fb.autograd.grad(captured[0], w)[0].numpy(), 2 * X[0] * X + [2 * X @ X, 0, 0])
    per_sample = vmap(grad(lambda v: (v * w).sum() ** 2))(xs)
    per_sample.sum().backward()
    expected = sum(2 * X.sum() * t + 2 * (t @ X) for t in XS)
    np.testing.assert_allclose(w.grad.numpy(), expected)
    assert not grad(energy)(x, y).requires_grad and not vjp(curve, x)[0].requires_grad
    with fb.no_grad():
        assert not grad(energy)(w, y).requires_grad
    with fb.no_grad():
        close(grad(energy)(x, y), Y + 3 * X**2)
    close(grad(lambda v: energy(v, y).detach() * v.sum())(x), np.full(3, (X * Y).sum() + (X**3).sum()))


def test_arguments_are_not_touched():
    w = x.clone().requires_grad_()
    grad(energy)(w, y)
    assert w.grad is None and w.is_leaf and fb.equal(w, x)


# ---- modules
def test_functional_call():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    values = {k: fb.full_like(v, 0.5) for k, v in net.state_dict().items() if v.is_floating_point()}
    before = {k: v.clone() for k, v in net.state_dict().items()}
    parameters = {k: v for k, v in values.items() if "running" not in k}
    buffers = {k: v for k, v in values.items() if "running" in k}
    found = functional_call(net.eval(), (parameters, buffers), fb.ones(4, 3))
    expected = (2.0 - 0.5) / np.sqrt(0.5 + 1e-5) * 0.5 + 0.5
    np.testing.assert_allclose(found.detach().numpy(), np.full((4, 2), expected), rtol=1e-6)
    assert all(fb.equal(v, before[k]) for k, v in net.state_dict().items())
    net.train()
    functional_call(net, (parameters, buffers), (fb.randn(4, 3),))
    assert fb.equal(net[1].running_mean, before["1.running_mean"])
    assert not fb.equal(buffers["1.running_mean"], fb.full((2,), 0.5))


def test_functional_call_of_tied_weights():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(2, 2, bias=False)
            self.two = nn.Linear(2, 2, bias=False)
            self.two.weight = self.one.weight

        def forward(self, x):
            return self.one(x) + self.two(x)

    net, given = Tied(), {"one.weight": fb.eye(2)}
    v = fb.tensor([1.0, 2.0])
    assert functional_call(net, given, v).tolist() == [2.0, 4.0]
    own = (v @ net.two.weight.t()).detach()
    assert fb.allclose(functional_call(net, given, v, tie_weights=False).detach(), v + own)
    assert functional_call(net, {"two.weight": fb.eye(2)}, (v,), strict=True).tolist() == [2.0, 4.0]
    with pytest.raises(ValueError, match="different values"):
        functional_call(net, {"one.weight": fb.eye(2), "two.weight": fb.zeros(2, 2)}, v)


REFUSED = [
    (RuntimeError, "scalar Tensor, got 1 dimensions", lambda: grad(curve)(x)),
    (RuntimeError, "return a Tensor, got float", lambda: grad(lambda x: 3.0)(x)),
    (RuntimeError, "argnum 2, but only 2", lambda: grad(energy, argnums=2)(x, y)),
    (RuntimeError, "int or tuple of ints, got 'a'", lambda: grad(energy, argnums="a")(x, y)),
    (RuntimeError, "must be unique", lambda: grad(energy, argnums=(0, -2))(x, y)),
    (RuntimeError, "can't be empty", lambda: grad(energy, argnums=())(x, y)),
    (RuntimeError, "floating point dtype", lambda: grad(lambda x: x.sum())(x.long())),
    (ValueError, "must be tensors, got float", lambda: grad(lambda x: x)(2.0)),
    (RuntimeError, r"a tuple \(output, aux\)", lambda: grad(lambda x: x.sum(), has_aux=True)(x)),
    (RuntimeError, r"cotangent 0 must have shape \[4\]", lambda: vjp(curve, x)[1](x)),
    (RuntimeError, "structure of the outputs", lambda: vjp(curve, x)[1]((x, x))),
    (RuntimeError, "only tensors, got float", lambda: vjp(lambda x: 3.0, x)),
    (ValueError, "greater than 0", lambda: jacrev(curve, chunk_size=0)),
    (ValueError, "greater than 0", lambda: jacfwd(curve, chunk_size=0)),
    (RuntimeError, "unexpected keys", lambda: functional_call(nn.Linear(3, 1), {"w": x}, x, strict=True)),
    (RuntimeError, "missing keys", lambda: functional_call(nn.Linear(3, 1), {"weight": x}, x, strict=True)),
    (ValueError, "more than one dict", lambda: functional_call(nn.Linear(3, 1), ({"bias": x}, {"bias": x}), x)),
    (TypeError, "weight must be a tensor", lambda: functional_call(nn.Linear(3, 1), {"weight": 3}, x)),
    (RuntimeError, "at least one model", lambda: func.stack_module_state([])),
    (RuntimeError, "one class", lambda: func.stack_module_state([nn.ReLU(), nn.Tanh()])),
    (RuntimeError, "one training mode", lambda: func.stack_module_state([nn.ReLU(), nn.ReLU().eval()])),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "message", "call"), REFUSED, ids=[m[:25] + str(i) for i, (_, m, _) in enumerate(REFUSED)]
)
def test_refused(kind, message, call):
    with pytest.raises(kind, match=message):
        call()


def test_a_training_step_made_of_transforms():
    """Gradient descent on a small network by grad_and_value of functional_call lowers its loss as backward() would."""
    fb.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    target = (xs**2).sum(1, keepdim=True)
    values = {k: p.detach().clone() for k, p in net.named_parameters()}
    for _ in range(20):
        grads, loss = grad_and_value(lambda p: F.mse_loss(functional_call(net, p, xs), target))(values)
        values = {k: v - 0.05 * grads[k] for k, v in values.items()}
        theirs = F.mse_loss(net(xs), target)
        assert loss.item() == pytest.approx(theirs.item(), rel=1e-9)
        net.zero_grad()
        theirs.backward()
        with fb.no_grad():
            for p in net.parameters():
                p -= 0.05 * p.grad


# ---- pytrees
def test_pytrees():
    class Box:
        def __init__(self, x):
            self.x = x

    _pytree.register_pytree_node(Box, lambda box: ([box.x], "kept"), lambda children, _: Box(*children))
    Pair = namedtuple("Pair", "a b")
    tree = {"p": Pair(1, [2, ()]), "q": OrderedDict(z=3, y=None), "r": Box((4, 5))}
    leaves, spec = _pytree.tree_flatten(tree)
    assert leaves == [1, 2, 3, None, 4, 5] and spec.num_leaves == 6
    again = _pytree.tree_unflatten([10 * (x or 0) for x in leaves], spec)
    assert again["p"] == Pair(10, [20, ()]) and isinstance(again["q"], OrderedDict) and again["r"].x == (40, 50)
    assert _pytree.tree_map(lambda x, y: (x, y), {"a": 1}, {"a": 2}) == {"a": (1, 2)}
    assert _pytree.tree_map_only(int, lambda x: x + 1, [1, "a"]) == [2, "a"]
    assert _pytree.tree_structure([1, 2]) == _pytree.tree_structure([3, 4]) != _pytree.tree_structure((3, 4))
    with pytest.raises(ValueError, match="has 6 leaves, got 1"):
        _pytree.tree_unflatten([1], spec)
    with pytest.raises(ValueError, match="differ in structure"):
        _pytree.tree_map(lambda x, y: x, [1], (1,))
