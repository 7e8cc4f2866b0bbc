"""Forward mode: the API, tangents in memory, nesting, custom Functions, and every operation with a derivative.

Operations are compared with central differences along one direction, with backward by <u, J v> = <Jᵀ u, v>, and forward
mode over their gradient with backward over it, all in float64.
"""

from __future__ import annotations

import gc
import importlib
import math
import pkgutil

import numpy as np
import pytest
from oracle import leaf
from test_ops import operands
from test_pointwise import DIFFERENTIABLE

import flambeau as fb
import flambeau.autograd.forward_ad as fw
import flambeau.nn.functional as F
from flambeau import linalg as LA
from flambeau.autograd import Function, grad, gradcheck, gradgradcheck
from flambeau.compiler.replay import run
from flambeau.compiler.trace import trace
from flambeau.core import _core
from flambeau.core.interpreters import Interpreter
from flambeau.func.forward import jvp, linearize
from flambeau.ops.pointwise import OPS
from flambeau.ops.primitive import PRIMITIVES
from flambeau.ops.table import TABLE

F64 = fb.float64


def close(got: fb.Tensor, expected: fb.Tensor, tolerance: float = 1e-9) -> None:
    assert got.shape == expected.shape and got.dtype is expected.dtype
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), tolerance, tolerance)


def vector(*values: float) -> fb.Tensor:
    return fb.tensor(values, dtype=F64)


def tangent(x: fb.Tensor) -> fb.Tensor | None:
    return fw.unpack_dual(x).tangent


# ---- the API
def test_dual_tensors():
    x, t = vector(1, 2), vector(3, 4)
    with fw.dual_level() as level:
        dual = fw.make_dual(x, t)
        found = fw.unpack_dual(dual)
        assert isinstance(found, fw.UnpackedDualTensor) and found.tangent is t and level == 0
        assert found.primal.data_ptr() == dual.data_ptr() == x.data_ptr()
        assert tangent(x) is None, "x itself has no tangent"
        assert tangent(found.primal) is None
        close(tangent(dual * dual), vector(6, 16))
        close(tangent(dual * x), vector(3, 8))
        close(tangent(dual.floor()), vector(0, 0))
        assert tangent(dual > 1) is None and tangent(dual.int()) is None and tangent(x + 1) is None
        with fb.no_grad():
            close(tangent(dual * 2), vector(6, 8))
        assert tangent(dual.detach()) is None and tangent(dual.data) is None
        close(tangent(dual.detach() * dual), vector(3, 8))
    assert tangent(dual) is None, "outside of its level a tensor has no tangent"


def test_levels_end_in_order():
    assert fw.enter_dual_level() == 0 and fw.enter_dual_level() == 1
    with pytest.raises(RuntimeError, match="level 0 isn't the innermost"):
        fw.exit_dual_level(level=0)
    x = fw.make_dual(vector(2), vector(1), level=0)
    y = fw.make_dual(x, vector(10), level=1)
    close(fw.unpack_dual(y * y, level=0).tangent, vector(4))
    close(fw.unpack_dual(y * y, level=1).tangent, vector(40))
    assert fw.unpack_dual(x, level=1).tangent is None
    fw.exit_dual_level(level=1)
    close(tangent(y * y), vector(4))
    fw.exit_dual_level()
    with pytest.raises(RuntimeError, match="no level has been entered"):
        fw.exit_dual_level()


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((fb.ones(2), fb.ones(3)), RuntimeError, "shape"),
        ((fb.ones(2, dtype=fb.int64), fb.ones(2)), ValueError, "floating"),
        ((fb.ones(2), fb.ones(2, dtype=fb.bool)), ValueError, "floating"),
        ((fb.ones(2), fb.ones(2) * 1j), RuntimeError, "tangent.real"),
        ((fb.ones(2), 1.0), TypeError, "must be a tensor"),
    ],
)
def test_bad_duals(args, error, message):
    with fw.dual_level(), pytest.raises(error, match=message):
        fw.make_dual(*args)
    with pytest.raises(error, match=message):
        jvp(lambda x: x, *((a,) for a in args))
    with pytest.raises(RuntimeError, match="no level exists"):
        fw.make_dual(fb.ones(1), fb.ones(1))


def test_jvp_takes_and_returns_trees():
    x, y = vector(1, 2), vector(3, 4)
    given, along = ({"a": x, "b": [y]},), ({"a": x * 10, "b": [y * 0]},)

    def function(tree):
        a, (b,) = tree["a"], tree["b"]
        return {"product": a * b, "rest": (a.sum(), b)}

    found, pushed = jvp(function, given, along)
    close(found["product"], x * y)
    close(pushed["product"], 10 * x * y)
    close(pushed["rest"][0], vector(30).sum())
    close(pushed["rest"][1], vector(0, 0))
    _, pushed, aux = jvp(lambda a: (a * a, "kept"), (x,), (y,), has_aux=True)
    close(pushed, 2 * x * y)
    assert aux == "kept"
    for strict in (False, True):
        if strict:
            with pytest.raises(RuntimeError, match="doesn't depend"):
                jvp(lambda a: (a, y), (x,), (y,), strict=True)
        else:
            close(jvp(lambda a: y, (x,), (y,))[1], vector(0, 0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: jvp(fb.sin, x, x), "primals must be a tuple"),
        (lambda x: jvp(fb.sin, (x,), (x, x)), "same structure"),
        (lambda x: jvp(fb.sin, (), ()), "at least one tensor"),
        (lambda x: jvp(lambda a: 3, (x,), (x,)), "must return tensors"),
        (lambda x: jvp(fb.sin, (x,), (x,), has_aux=True), "(output, aux)"),
        (lambda x: linearize(fb.sin), "at least one tensor"),
        (lambda x: linearize(fb.sin, x)[1](x, x), "structure of the primals"),
        (lambda x: linearize(fb.sin, x)[1](fb.ones(2, dtype=F64)), "shape"),
    ],
)
def test_bad_calls(call, message):
    with pytest.raises(RuntimeError, match=message.replace("(", r"\(").replace(")", r"\)")):
        call(vector(1, 2, 3))
    assert not _core.interpreting()


def test_linearize_runs_the_function_once():
    calls = []

    def function(x, y):
        calls.append(1)
        return {"a": (x * y).sin(), "b": x.sum(), "c": y.floor()}

    x, y = vector(1, 2), vector(3, 4)
    found, push = linearize(function, x, y)
    for directions in ((vector(1, 0), vector(0, 1)), (vector(2, 3), vector(-1, 0))):
        expected = jvp(function, (x, y), directions)
        got = push(*directions)
        for key in expected[1]:
            close(got[key], expected[1][key])
            assert not got[key].requires_grad and not found[key].requires_grad
    assert len(calls) == 3
    w = vector(2, 5).requires_grad_()
    close(grad(push(w, y)["a"].sum(), w)[0], jvp(lambda a: function(a, y)["a"], (x,), (fb.ones(2, dtype=F64),))[1])


# ---- nesting
def derivative(function):
    return lambda x: jvp(function, (x,), (fb.ones_like(x),))[1]


def gradient(function):
    """A gradient that forward mode follows: nothing is detached."""

    def of(x):
        x = x if x.requires_grad else _core.same(x).requires_grad_()
        with fb.enable_grad():
            return grad(function(x), x, create_graph=True)[0]

    return of


def test_perturbations_are_not_confused():
    # Siskind and Pearlmutter (2005): d/dx (x · d/dy (x + y)) = 1, and 2 where the two directions are taken for one.
    one = vector(1).sum()
    assert derivative(lambda x: x * derivative(lambda y: x + y)(one))(one).item() == 1
    assert derivative(lambda x: x * derivative(lambda y: x * y)(one))(one * 3).item() == 6
    assert derivative(lambda x: derivative(lambda y: x)(one) + x)(one).item() == 1


def test_derivatives_of_every_order():
    x = vector(0.7)
    function = fb.sin
    for order in range(5):
        close(function(x), vector(math.sin(0.7 + order * math.pi / 2)), 1e-12)
        function = derivative(function)


def test_modes_mix():
    x, v = vector(0.3, -0.8, 1.1), vector(1, 2, -1)

    def function(a):
        return ((a[1:] * a[:-1]).exp().sum() + a.tanh().prod()) ** 2

    over = jvp(gradient(function), (x,), (v,))[1]
    under = gradient(lambda a: jvp(function, (a,), (v,))[1])(x)
    w = x.clone().requires_grad_()
    back = grad(gradient(function)(w) @ v, w)[0]
    close(over, back)
    close(under, back)
    third = jvp(lambda a: jvp(gradient(function), (a,), (v,))[1], (x,), (v,))[1]
    assert not jvp(fb.func.grad(function), (x,), (v,))[1].requires_grad
    t = v.clone().requires_grad_()
    twice = jvp(lambda a: jvp(lambda b: b.softmax(0).prod(), (a,), (v,))[1], (x,), (t,))[1]
    close(grad(twice, t)[0], jvp(gradient(lambda b: b.softmax(0).prod()), (x,), (v,))[1])
    close(third, gradient(lambda a: jvp(lambda b: jvp(function, (b,), (v,))[1], (a,), (v,))[1])(x))


def test_backward_within_a_level_without_create_graph():
    x, w = vector(0.5, 2).requires_grad_(), vector(3, -1)
    with fw.dual_level():
        dual = fw.make_dual(x, w)
        inner = _core.same(dual).requires_grad_()
        (inner.exp().softmax(0) * w).sum().backward()
        got = tangent(inner.grad)
        assert not inner.grad.requires_grad
    exact = gradient(lambda a: (a.exp().softmax(0) * w).sum())
    close(got, jvp(exact, (x.detach(),), (w,))[1])


def test_inference_mode():
    def function(x, w):
        return (x * w).softmax(0).cumprod(0) @ w.sin()

    with fb.inference_mode():
        x, t, w = vector(1, 2, 3), vector(1, -1, 2), vector(0.5, 1, 2)
        got = jvp(lambda a: function(a, w), (x,), (t,))[1]
    close(got, jvp(lambda a: function(a, w.clone()), (x.clone(),), (t.clone(),))[1])


def test_traces_hold_tangents():
    def function(x):
        return (x.sin() * x).softmax(-1)[:, 1:]

    graph = trace(lambda x, t: jvp(function, (x,), (t,))[1], leaf(2, 3).detach(), leaf(2, 3, seed=1).detach())
    x, t = leaf(2, 3, seed=2).detach(), leaf(2, 3, seed=3).detach()
    close(run(graph, x, t)[0], jvp(function, (x,), (t,))[1])


# ---- memory
def written_through_views(x):
    whole = fb.zeros(3, 4, dtype=F64)
    early = whole[1:]
    whole[0] = x
    early[1].copy_(x * x)
    whole.t()[2].mul_(3)
    early.view(-1)[::2] += x[0]
    return whole * whole.sum(), early.sin()


def filled(x):
    y = x.clone()
    y[0].zero_()
    y.fill_(x[1])
    y[2:].fill_(5)
    return y * x


def outputs_given(x):
    out = fb.empty(4, dtype=F64)
    fb.mul(x, x, out=out)
    fb.add(out[:2], x[:2], out=out[2:])
    return out * x


def strided(x):
    y = x.clone()
    y.as_strided((2,), (2,), 1).mul_(x[:2])
    return y.as_strided((3, 2), (1, 1)) * 2


def complex_parts(x):
    z = fb.complex(x, x * x)
    fb.view_as_real(z)[:, 0] *= x
    z.imag.add_(1)
    return (z * z).abs()


def integers_between(x):
    y = x.clone()
    y[x > 0] = 0
    return y + x.round() * x


def aliases(x):
    a = x + 0
    b = a.clone()
    a[0] = 7
    c = b.T
    b.mul_(x)
    return a * b + c


def splits(x):
    y = x * 2
    a, _ = y.split(2)
    a.mul_(3)
    rows = y.reshape(2, 2).unbind()
    rows[1].exp_()
    return y


MEMORY = {f.__name__: f for f in (written_through_views, filled, outputs_given, strided, complex_parts,
                                  integers_between, aliases, splits)}  # fmt: skip


@pytest.mark.parametrize("name", MEMORY)
def test_tangents_follow_memory(name):
    if name == "outputs_given":
        with fb.no_grad():
            check_forward(MEMORY[name], (leaf(4).detach(),))
    else:
        agree(MEMORY[name], (leaf(4),))


def test_what_is_kept_for_backward_has_its_tangent():
    # mul_ keeps what it overwrites, which only the tape ever sees.
    def function(x):
        y = x.clone()
        y.mul_(x)
        y[1:].mul_(x[1:])
        return (y**2).sum()

    agree(function, (leaf(3),))


def test_the_tangent_given_is_not_written():
    x, t = vector(1, 2), vector(3, 4)
    with fw.dual_level():
        a, b = fw.make_dual(x.clone(), t), fw.make_dual(x.clone(), t)
        a.mul_(5)
        b[0] = 9
        close(tangent(a), vector(15, 20))
        close(tangent(b), vector(0, 4))
    close(t, vector(3, 4))


@pytest.mark.parametrize("layout", ["transposed", "stepped", "expanded", "part", "empty", "scalar"])
def test_layouts_of_primals_and_tangents(layout):
    base = leaf(4, 6).detach()
    x = {"transposed": base.t(), "stepped": base[::2, ::3], "expanded": base[0].expand(3, 6), "part": base[1:3, 2:],
         "empty": base[:0], "scalar": base[1, 2]}[layout]  # fmt: skip
    for t in (fb.ones_like(x).contiguous(), x * 2, fb.ones((), dtype=F64).expand(x.shape)):
        with fw.dual_level():
            dual = fw.make_dual(x, t)
            close(tangent(dual), t)
            close(tangent(dual.t() if x.ndim == 2 else dual), t.t() if x.ndim == 2 else t)
            close(tangent(dual.sin()), x.cos() * t)
            for i in range(len(x) if x.ndim else 0):
                close(tangent(dual[i]), t[i])
            if layout not in ("expanded", "empty", "scalar"):
                copy = dual.clone()
                copy[..., :1] = 0
                expected = t.clone()
                expected[..., :1] = 0
                close(tangent(copy), expected)


def test_shadows_die_with_their_memory():
    x = fb.ones(1000)
    with fw.dual_level():
        dual = fw.make_dual(x, x)
        level = fw.levels.entered[0]
        for _ in range(50):
            dual = dual * 1.5
        gc.collect()
        assert len(level.tangents.shadows) <= 2
        kept = dual + 1
        assert len(level.tangents.shadows) <= 3
    del level
    assert kept.shape == (1000,)


def test_without_a_level_detach_shares_the_storage():
    x = fb.ones(2)
    assert x.detach().untyped_storage() is x.untyped_storage()
    with fw.dual_level():
        assert x.detach().untyped_storage() is x.untyped_storage()


def test_kernels_outside_of_operations_are_refused():
    with fw.dual_level():
        dual = fw.make_dual(fb.ones(2), fb.ones(2))
        with pytest.raises(RuntimeError, match="launched outside of an operation"):
            _core.launch(0, (dual,), 0)


# ---- custom Functions
class Cube(Function):
    """A jvp of its own, three times too large, so that it is seen to be used."""

    @staticmethod
    def forward(ctx, x, factor, y):
        ctx.save_for_forward(x, y)
        ctx.save_for_backward(x, y)
        ctx.factor = factor
        return x**3 * factor * y, x > 0

    @staticmethod
    def backward(ctx, g, _):
        x, y = ctx.saved_tensors
        return 3 * x**2 * ctx.factor * y * g, None, x**3 * ctx.factor * g

    @staticmethod
    def jvp(ctx, tx, factor, ty):
        assert factor is None
        x, y = ctx.saved_tensors
        return 3 * (3 * x**2 * ctx.factor * y * tx + x**3 * ctx.factor * ty), None


class Step(Function):
    """A straight-through gradient, without a jvp."""

    @staticmethod
    def forward(ctx, x):
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        return g * 2


class Once(Function):
    @staticmethod
    def forward(x):
        return x * 2

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    @fb.autograd.function.once_differentiable
    def backward(ctx, g):
        return g * 2


class Doubled(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx, g):
        return g * 2

    @staticmethod
    def jvp(ctx, t):
        return t * 2


def test_functions_with_a_jvp():
    x, y, t = vector(1, 2), vector(3, -1), vector(0.5, 1)
    found, pushed = jvp(lambda a: Cube.apply(a, 2.0, y)[0], (x,), (t,))
    close(found, 2 * x**3 * y)
    close(pushed, 3 * (6 * x**2 * y * t))
    assert jvp(lambda a: Cube.apply(a, 2.0, y)[1], (x,), (t,))[0].tolist() == [True, True]
    # Both levels use it, and the tape goes through what it computes.
    twice = jvp(lambda a: jvp(lambda b: Cube.apply(b, 2.0, y)[0], (a,), (t,))[1], (x,), (t,))[1]
    close(twice, 3 * (12 * x * y * t * t))
    w = x.clone().requires_grad_()
    back = grad(jvp(lambda a: Cube.apply(a, 2.0, y)[0], (w,), (t,))[1].sum(), w)[0]
    close(back, 3 * (12 * x * y * t))
    with pytest.raises(RuntimeError, match="2 tangents for 1 outputs"):
        jvp(type("Wrong", (Step,), {"jvp": staticmethod(lambda ctx, t: (t, t))}).apply, (x,), (t,))
    with pytest.raises(RuntimeError, match="tangent of shape"):
        jvp(type("Wrong", (Step,), {"jvp": staticmethod(lambda ctx, t: t.sum())}).apply, (x,), (t,))


def test_functions_without_a_jvp_have_the_transpose_of_their_backward():
    x, t = vector(1, -2), vector(0.5, 1)
    close(jvp(Step.apply, (x,), (t,))[1], 2 * t)
    with pytest.raises(NotImplementedError, match="define its jvp"):
        jvp(Once.apply, (x,), (t,))


def test_functions_that_write():
    def function(a):
        b = a * a
        return Doubled.apply(b) + b

    x, t = vector(1, 2), vector(3, 4)
    found, pushed = jvp(function, (x,), (t,))
    close(found, 4 * x * x)
    close(pushed, 8 * x * t)


# ---- modules
def test_a_network_and_its_loss():
    fb.manual_seed(0)
    net = fb.nn.Sequential(
        fb.nn.Conv2d(2, 3, 3, padding=1), fb.nn.BatchNorm2d(3), fb.nn.ReLU(), fb.nn.MaxPool2d(2), fb.nn.Flatten(),
        fb.nn.Linear(12, 5), fb.nn.LayerNorm(5), fb.nn.GELU(),
    ).double()  # fmt: skip
    x, target = leaf(4, 2, 4, 4).detach(), fb.tensor([0, 4, 2, 1])

    def loss(a):
        return F.cross_entropy(net(a), target)

    agree(loss, (x.requires_grad_(),))
    # Towards a parameter: it is replaced by a dual for the time of the call.
    weight = net[5].weight
    v = fb.randn_like(weight)
    expected = (grad(loss(x), weight)[0] * v).sum()
    with fw.dual_level():
        del net[5].weight
        net[5].weight = fw.make_dual(weight.detach(), v)
        close(tangent(loss(x.detach())), expected)


# ---- vmap
MAPPED = {
    "pointwise": lambda a, w: (w @ a).tanh() * a.sum(),
    "rows": lambda a, w: F.layer_norm(w * a, (3,)).softmax(0),
    "views": lambda a, w: (a[1:] * a[:-1], fb.diag(a) * 2, (w * a).t().reshape(-1) ** 2),
    "in place": lambda a, w: a.clone().mul_(a) + a,
    "slice by slice": lambda a, w: (LA.svdvals(w * a), fb.stack([a, a * a])),
    "picked": lambda a, w: (a.sort().values * a, a[index(0, 0, 2)], (w * a).amax(1)),
    "losses": lambda a, w: F.cross_entropy(w * a, index(0, 1, 2, 0)) + F.mse_loss(a, a.sin().detach()),
}


@pytest.mark.parametrize("name", MAPPED)
def test_forward_mode_and_vmap(name):
    w, xs, ts = leaf(4, 3).detach(), leaf(5, 3, seed=1).detach(), leaf(5, 3, seed=2).detach()

    def function(a):
        return MAPPED[name](a, w)

    def total(a):
        return sum((y * y).sum() for y in listed(function(a)))

    for inside, outside, each in (
        (fb.func.vmap(lambda a, t: jvp(function, (a,), (t,))[1])(xs, ts), jvp(fb.func.vmap(function), (xs,), (ts,))[1],
         [jvp(function, (a,), (t,))[1] for a, t in zip(xs, ts, strict=True)]),
        (fb.func.vmap(lambda t: jvp(function, (xs[0],), (t,))[1])(ts), fb.func.vmap(linearize(function, xs[0])[1])(ts),
         [jvp(function, (xs[0],), (t,))[1] for t in ts]),
    ):  # fmt: skip
        for i, wanted in enumerate(zip(*map(listed, each), strict=True)):
            close(listed(inside)[i], fb.stack(wanted))
            close(listed(outside)[i], fb.stack(wanted))
    products = [jvp(fb.func.grad(total), (a,), (t,))[1] for a, t in zip(xs, ts, strict=True)]
    close(jvp(fb.func.vmap(fb.func.grad(total)), (xs,), (ts,))[1], fb.stack(products))
    for a, t, product in zip(xs[:1], ts, products, strict=False):
        close(fb.func.hessian(total)(a) @ t, product)
        close(fb.func.grad(lambda b, t=t: jvp(total, (b,), (t,))[1])(a), product)


# ---- gradcheck
def test_gradcheck_notices_a_wrong_tangent():
    x = vector(1, 2).requires_grad_()
    wrong = type("Wrong", (Step,), {"jvp": staticmethod(lambda ctx, t: t * 3)})
    right = type("Right", (Function,), {
        "forward": staticmethod(lambda ctx, a: a * 2),
        "backward": staticmethod(lambda ctx, g: g * 2),
        "jvp": staticmethod(lambda ctx, t: t * 2),
    })  # fmt: skip
    assert gradcheck(right.apply, [x], check_forward_ad=True)
    assert not gradcheck(wrong.apply, [x], check_forward_ad=True, check_backward_ad=False, raise_exception=False)
    z = fb.tensor([1 + 2j, -1j], dtype=fb.complex128).requires_grad_()
    for function in (fb.sin, fb.abs, lambda a: a * a.conj() + 1j, lambda a: a.real.exp()):
        assert gradcheck(function, [z], check_forward_ad=True, check_backward_ad=False)
    assert gradgradcheck(fb.sin, [x], check_fwd_over_rev=True, check_rev_over_rev=False)
    with pytest.raises(ValueError, match="at least one"):
        gradcheck(fb.sin, [x], check_backward_ad=False)


# ---- every operation
def listed(found):
    found = found if isinstance(found, (tuple, list)) else (found,)
    return [y for y in found if isinstance(y, fb.Tensor) and (y.is_floating_point() or y.is_complex())]


def drawn(like: fb.Tensor, seed: int) -> fb.Tensor:
    rng = np.random.default_rng([seed, *like.shape])
    parts = [fb.tensor(rng.normal(size=tuple(like.shape)), dtype=F64).reshape(like.shape) for _ in range(2)]
    return fb.complex(*parts).to(like.dtype) if like.is_complex() else parts[0].to(like.dtype)


def inner(us, vs) -> float:
    """Σ Re(conj(u) v)."""
    return sum((fb.conj(u.detach()) * v.detach()).sum().real.item() for u, v in zip(us, vs, strict=True))


def check_forward(function, inputs, tolerance=1e-6):
    """The derivative along one direction against its central difference; returns directions and tangents."""
    directions = [drawn(x, 1) for x in inputs]
    pushed = listed(jvp(lambda *xs: tuple(listed(function(*xs))), tuple(inputs), tuple(directions))[1])
    eps = 1e-6
    with fb.no_grad():
        up, down = (
            listed(function(*(x + sign * eps * v for x, v in zip(inputs, directions, strict=True)))) for sign in (1, -1)
        )
    for t, a, b in zip(pushed, up, down, strict=True):
        close(t, (a - b) / (2 * eps), tolerance)
    return directions, pushed


def agree(function, inputs, second=True, tolerance=1e-6):
    """Forward mode agrees with differences and with backward, and so it does on the gradient."""
    directions, pushed = check_forward(function, [x.detach() for x in inputs], tolerance)
    outputs = listed(function(*inputs))
    seeds = [drawn(y, 2) for y in outputs]
    pairs = [(y, u) for y, u in zip(outputs, seeds, strict=True) if y.requires_grad]
    back = grad([y for y, _ in pairs], inputs, [u for _, u in pairs], allow_unused=True, materialize_grads=True)
    forward = inner(seeds, pushed)
    assert forward == pytest.approx(inner(back, directions), rel=1e-9, abs=1e-9)
    if not second:
        return

    def first_order(*xs):
        ins = [x if x.requires_grad else _core.same(x).requires_grad_() for x in xs]
        with fb.enable_grad():
            found = [(y, u) for y, u in zip(listed(function(*ins)), seeds, strict=True) if y.requires_grad]
            return grad([y for y, _ in found], ins, [u for _, u in found], create_graph=True, allow_unused=True,
                        materialize_grads=True)  # fmt: skip

    over = jvp(first_order, tuple(x.detach() for x in inputs), tuple(directions))[1]
    gradients = [(g, v) for g, v in zip(first_order(*inputs), directions, strict=True) if g.requires_grad]
    expected = [None] * len(inputs)
    if gradients:
        expected = grad([g for g, _ in gradients], inputs, [v for _, v in gradients], allow_unused=True)
    for got, want in zip(over, expected, strict=True):
        close(got, fb.zeros_like(got) if want is None else want, 1e-8)


FIXED = {"threshold": (1, 2), "special.zeta": (0,), "nextafter": (0, 1), "heaviside": (1,)}


@pytest.mark.parametrize(("name", "attributes"), DIFFERENTIABLE, ids=lambda v: v if isinstance(v, str) else "")
def test_pointwise_operations(name, attributes):
    given = operands(name, F64, 3)
    fixed = (2,) if name == "gaussian_nll_loss" and attributes else FIXED.get(name, ())
    kinds = [s.kind for s in OPS[name].samples]
    places = [i for i, k in enumerate(kinds) if k not in ("integers", "booleans") and i not in fixed]
    if not places:
        pytest.skip("no operand has a derivative")

    def function(*xs):
        args = list(given)
        for i, x in zip(places, xs, strict=True):
            args[i] = x
        return TABLE[name](*args, **attributes)

    inputs = [given[i].requires_grad_() for i in places]
    if not function(*inputs).requires_grad:
        pytest.skip("the result isn't differentiable")
    agree(function, inputs)


def definite(x):
    return x @ x.mH + fb.eye(x.shape[-1], dtype=x.dtype)


def index(*values):
    return fb.tensor(values)


def complex_leaf(*shape, seed=0):
    return fb.complex(leaf(*shape, seed=seed).detach(), leaf(*shape, seed=seed + 9).detach()).requires_grad_()


def recurrent_layers(x):
    fb.manual_seed(0)
    lstm, cell = fb.nn.LSTM(3, 2).double(), fb.nn.GRUCell(3, 2).double()
    projected = fb.nn.LSTM(3, 4, proj_size=2).double()
    return lstm(x)[0], cell(x[0]), projected(x)[0]


def recurrence(x):
    from flambeau.ops.scan import linear_recurrence

    return linear_recurrence(x, x.sin(), 1)


def shifted(x):
    return x.abs() + 1


# Each is a function of float64 leaves of the given shapes; together they reach every Primitive that has a derivative.
def sparse_of(values):
    return fb.sparse_coo_tensor([[0, 2, 1, 0], [1, 0, 2, 2]], values, (3, 3))


CASES = {
    "copies": (lambda x: x.t().contiguous() + x.clone().t() + x.to(fb.complex128).real.t(), (2, 3)),
    "memory format": (lambda x: x.contiguous(memory_format=fb.channels_last) * x, (1, 2, 3, 2)),
    "sparse": (lambda v, d: sparse_of(v) @ d, (4,), (3, 2)),
    "views": (lambda x: (x[1:, ::2] * x.t()[0].sum(), x.diagonal() ** 2, x.unfold(1, 2, 1) * x[0, 0]), (3, 4)),
    "cat": (lambda x, y: fb.cat([x, y * x[:1], index([1, 2, 3])], 0) ** 2, (2, 3), (1, 3)),
    "stack": (lambda x, y: fb.stack([x, y * x]) ** 2, (2,), (2,)),
    "split": (lambda x: [a * b for a, b in zip(x.split(2), x.unbind()[:2], strict=True)], (4, 2)),
    "sum": (lambda x: (x.sum(0) * x.mean(1, True), (x * x).sum(), x.std(0)), (3, 3)),
    "prod": (lambda x: (x.prod(), x.prod(1)), (2, 3)),
    "extremes": (lambda x: (x.amax(0), x.amin(), x.max(1).values, x.min(0).values, x.median() * x), (3, 4)),
    "variance": (lambda x: (x.var(), x.var(1), fb.var_mean(x, 0)[0]), (3, 4)),
    "norms": (lambda x: (x.norm(), LA.vector_norm(x, 3, dim=1), LA.matrix_norm(x, "nuc")), (2, 3)),
    "addmm": (lambda c, x, y: fb.addmm(c, x, y, beta=0.5, alpha=2.0), (2, 2), (2, 3), (3, 2)),
    "matmul": (lambda x, y: x @ y + (x @ y)[0] * (x[0, 0] @ y), (2, 2, 3), (3, 2)),
    "linear": (F.linear, (2, 3), (4, 3), (4,)),
    "linear without bias": (F.linear, (2, 2, 3), (4, 3)),
    "bias alone": (lambda b: F.linear(fb.ones(2, 3, dtype=F64), fb.ones(4, 3, dtype=F64), b) * b, (4,)),
    "conv": (lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1), (1, 2, 4, 4), (3, 2, 3, 3), (3,)),
    "conv transposed": (lambda x, w: F.conv_transpose2d(x, w, stride=2), (1, 2, 2, 2), (2, 3, 3, 3)),
    "conv1d": (lambda x, w: F.conv1d(x, w, groups=2), (2, 4, 5), (2, 2, 3)),
    "inverse": (lambda x: LA.inv(definite(x)) * LA.det(x).reshape(-1, 1, 1), (2, 3, 3)),
    "solve": (lambda x, y: LA.solve(definite(x), y), (3, 3), (3, 2)),
    "triangular": (
        lambda x, y: LA.solve_triangular(x.triu() + fb.eye(3, dtype=F64) * 3, y, upper=True), (3, 3), (3, 2),
    ),
    "least squares": (lambda x, y: LA.lstsq(x, y).solution, (4, 2), (4, 1)),
    "determinants": (lambda x: (LA.slogdet(x).logabsdet, fb.logdet(definite(x))), (3, 3)),
    "matrix_exp": (LA.matrix_exp, (3, 3)),
    "cholesky": (lambda x: LA.cholesky(definite(x)), (3, 3)),
    "qr": (lambda x: tuple(LA.qr(x)), (4, 3)),
    "lu": (lambda x: LA.lu_factor(definite(x)).LU, (3, 3)),
    "eigh": (lambda x: (LA.eigh(x + x.mT).eigenvectors.abs(), LA.eigvalsh(x + x.mT)), (3, 3)),
    "eig": (lambda x: (LA.eigvals(x).abs(), LA.eig(x).eigenvectors.abs()), (3, 3)),
    "svd": (lambda x: (LA.svdvals(x), LA.svd(x, full_matrices=False).U.abs()), (4, 3)),
    "pinv": (LA.pinv, (4, 3)),
    "masks": (
        lambda x, y: (
            fb.masked_select(x, x > 0) ** 2, x.masked_scatter(x > 0, y * y), x.clone().masked_scatter_(x < 0, y),
        ),
        (2, 3), (6,),
    ),
    "complex views": (lambda x: (fb.view_as_complex(x) ** 2, fb.view_as_real(fb.complex(x, x * x)) ** 2), (3, 2)),
    "triangles": (lambda x: (x.tril() * x, fb.diag_embed(x[0] ** 2)), (3, 3)),
    "indexing": (
        lambda x, y: (
            x[index(2, 0, 2)] * y, x.gather(0, index([0, 2], [1, 1])) ** 2, x.index_add(0, index(0, 0), y[:2]),
        ),
        (3, 2), (3, 2),
    ),
    "scatter": (
        lambda x, y: (x.scatter(0, index([0, 2], [1, 1]), y) ** 2, x.clone().index_put_((index(0, 1),), y * y)),
        (3, 2), (2, 2),
    ),
    "scatter_reduce": (
        lambda x, y: (
            x.scatter_reduce(0, index(0, 0, 1), y, "prod"), x.scatter_reduce(0, index(0, 0, 1), y, "amax"),
            x.scatter_reduce(0, index(0, 0, 1), y, "mean"),
        ),
        (3,), (3,),
    ),
    "embedding": (
        lambda w: F.embedding(index(0, 3, 3), w) ** 2 + F.embedding(index(0, 3, 2), w, padding_idx=1), (4, 2),
    ),
    "rearranging": (lambda x: x.flip(0) * x.roll(1, 1) + F.pad(x, (1, 0), value=2.0)[:, 1:], (2, 3)),
    "fft": (lambda x: (fb.fft.fft(x).abs(), fb.fft.rfft(x).abs(), fb.fft.irfft(fb.fft.rfft(x) ** 2)), (2, 6)),
    "softmax": (lambda x: (x.softmax(0), F.log_softmax(x, 1), x.logsumexp(1)), (2, 3)),
    "cross entropy": (lambda x: F.cross_entropy(x, index(2, 0), label_smoothing=0.1) + F.cross_entropy(x, index(1, 1)),
                      (2, 3)),
    "cross entropy weighted": (lambda x: F.cross_entropy(x, index(2, 0), vector(1, 2, 3), reduction="none"), (2, 3)),
    "bessel": (
        lambda x: [getattr(fb.special, n)(shifted(x)) for n in (
            "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "modified_bessel_k0", "modified_bessel_k1",
            "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "airy_ai")],
        (3,),
    ),
    "gammainc": (
        lambda x: (fb.special.gammainc(vector(1.5, 2), shifted(x)), fb.special.gammaincc(vector(1, 2), shifted(x))),
        (2,),
    ),
    "attention": (lambda q, k, v: F.scaled_dot_product_attention(q, k, v), (1, 2, 3, 2), (1, 2, 3, 2), (1, 2, 3, 2)),
    "pooling": (
        lambda x: (F.max_pool2d(x, 2), F.avg_pool2d(x, 2, padding=1), F.adaptive_avg_pool2d(x, 3)), (1, 2, 4, 4),
    ),
    "wide pooling": (
        lambda x: (F.max_pool1d(x, 2), F.avg_pool1d(x, 2, padding=1), F.pad(x, (2, 1), "reflect") ** 2), (1, 1, 34),
    ),
    "grid_sample": (
        lambda x, g: tuple(F.grid_sample(x, g.tanh(), mode, padding, False) for mode, padding in (
            ("bilinear", "zeros"), ("bicubic", "border"), ("bilinear", "reflection"),
        )),
        (1, 2, 3, 3), (1, 2, 2, 2),
    ),
    "unpooling": (lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2) * x, (1, 1, 4, 4)),
    "norm layers": (
        lambda x, w, b: (F.layer_norm(x, (3,), w, b), F.rms_norm(x, (3,), w), F.group_norm(x, 1, w, b)),
        (4, 3), (3,), (3,),
    ),
    "batch norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), (4, 3), (3,), (3,)),
    "batch norm frozen": (lambda x, w: F.batch_norm(x, vector(1, 2, 3), vector(1, 2, 1), w), (4, 3), (3,)),
    "distances": (
        lambda x, y: (
            fb.cdist(x, y), fb.cdist(x, y, 3.0), fb.cdist(x, y, 2.0, "use_mm_for_euclid_dist"),
            F.pairwise_distance(x, y[:2]),
        ),
        (2, 3), (4, 3),
    ),
    "scans": (lambda x: (x.cumsum(0), x.cumprod(1), x.logcumsumexp(1), x.cummax(0).values, x.cummin(1).values), (3, 4)),
    "recurrence": (recurrence, (2, 4)),
    "recurrent layers": (recurrent_layers, (3, 2, 3)),
    "frexp": (lambda x: fb.frexp(x).mantissa ** 2, (3,)),
    "sorting": (lambda x: (x.sort(1).values, x.topk(2).values, x.kthvalue(2).values, x.quantile(0.3)), (2, 4)),
    "einsum": (lambda x, y: fb.einsum("ij,jk->ki", x, y), (2, 3), (3, 2)),
    "dropout": (lambda x: seeded(F.dropout, x) ** 2, (4, 4)),
}  # fmt: skip


def seeded(function, *args):
    fb.manual_seed(5)
    return function(*args)


# Backward of backward isn't right or isn't defined here, so forward over reverse has nothing to agree with.
FIRST_ORDER_ONLY: set[str] = set()


@pytest.mark.parametrize("name", CASES)
def test_operations(name):
    function, *shapes = CASES[name]
    agree(function, [leaf(*shape, seed=i) for i, shape in enumerate(shapes)], name not in FIRST_ORDER_ONLY, 1e-5)


@pytest.mark.parametrize("name", ["matmul", "inverse", "solve", "cholesky", "qr", "svd", "determinants"])
def test_operations_on_complex_numbers(name):
    function, *shapes = CASES[name]
    agree(function, [complex_leaf(*shape, seed=i) for i, shape in enumerate(shapes)], tolerance=1e-5)


class Reached(Interpreter):
    """Remembers the operations that run."""

    def __init__(self):
        self.names = set()

    def process(self, call):
        self.names.add(call.op.name)
        return call()


def test_the_cases_reach_every_operation_with_a_derivative():
    for package in (fb.ops, fb.linalg):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    reached = Reached()
    for function, *shapes in CASES.values():
        with reached:
            inputs = [leaf(*shape, seed=i) for i, shape in enumerate(shapes)]
            outputs = [y for y in listed(function(*inputs)) if y.requires_grad]
            grad(outputs, inputs, [fb.ones_like(y) for y in outputs], allow_unused=True, create_graph=True)
    own = [op for op in PRIMITIVES.values() if op.__module__.startswith(("flambeau.ops.", "flambeau.linalg."))]
    missing = {op.name for op in own if op.vjp is not None} - reached.names
    # What a write through a view leaves behind; test_tangents_follow_memory reaches them.
    assert missing <= {"replace_part", "fill_"}
