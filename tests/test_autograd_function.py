"""Custom functions: `autograd.Function` forward, backward, and what it tells the tape."""

from __future__ import annotations

import weakref

import pytest
from leaves import close, leaf

import flambeau as fb
from flambeau.autograd import Function, grad, gradcheck, gradgradcheck
from flambeau.autograd.function import once_differentiable


class Cube(Function):
    @staticmethod
    def forward(ctx, x, scale, name=None):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x**3 * scale

    @staticmethod
    def backward(ctx, g):
        Cube.needed = ctx.needs_input_grad
        (x,) = ctx.saved_tensors
        return 3 * x**2 * ctx.scale * g, None, None


def test_custom_function():
    x = leaf(1, 2)
    y = Cube.apply(x, 2.0)
    assert y.grad_fn.node_name() == "CubeBackward"
    y.sum().backward()
    close(x.grad, [6, 24])
    assert Cube.needed == (True, False)
    assert gradcheck(lambda x: Cube.apply(x, 2.0, "n"), [x]) and gradgradcheck(lambda x: Cube.apply(x, 2.0), [x])
    with fb.no_grad():
        assert not Cube.apply(x, 1.0).requires_grad
    assert not Cube.apply(x.detach(), 1.0).requires_grad
    with pytest.raises(RuntimeError, match=r"Cube.apply"):
        Cube()
    y = Cube.apply(x, 1.0)
    y.sum().backward()
    with pytest.raises(RuntimeError, match=r"CubeBackward.*freed"):
        y.sum().backward()
    h = x * 1
    y = Cube.apply(h, 1.0)
    h.add_(1)
    with pytest.raises(RuntimeError, match="CubeBackward saved was modified"):
        y.sum().backward()


def test_setup_context_and_saved_outputs(no_gc):
    class Exp(Function):
        @staticmethod
        def forward(x, k):
            return (x * k).exp()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.k = inputs[1]
            ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return g * y * ctx.k, None

    x = leaf(0.1, 0.2)
    assert gradcheck(lambda x: Exp.apply(x, 2), [x]) and gradgradcheck(lambda x: Exp.apply(x, 2), [x])
    alive = weakref.ref(Exp.apply(x, 1))
    assert alive() is None  # a saved output is no cycle


def test_outputs_of_custom_functions():
    class Two(Function):
        @staticmethod
        def forward(ctx, x, materialize):
            ctx.set_materialize_grads(materialize)
            big = x > 1
            ctx.mark_non_differentiable(big)
            return x * 2, x * 3, big

        @staticmethod
        def backward(ctx, g, h, b):
            Two.seen = g, h, b
            return (0 if g is None else g * 2) + (0 if h is None else h * 3), None

    x = leaf(1, 2)
    a, _, big = Two.apply(x, True)
    assert a.requires_grad and not big.requires_grad and big.tolist() == [False, True]
    a.sum().backward()
    close(x.grad, [2, 2])
    assert Two.seen[1].tolist() == [0, 0]
    _, b, _ = Two.apply(x, False)
    x.grad = None
    b.sum().backward()
    close(x.grad, [3, 3])
    assert Two.seen[0] is None and Two.seen[2] is None

    class Same(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 7

    y = Same.apply(x)
    assert y is not x and x.is_leaf and y.data_ptr() == x.data_ptr()
    x.grad = None
    y.sum().backward()
    close(x.grad, [7, 7])

    class Constant(Function):
        @staticmethod
        def forward(ctx, x):
            return x.detach() * 1, 5

        @staticmethod
        def backward(ctx, g, _):
            return None

    out, five = Constant.apply(x)
    assert five == 5 and out.requires_grad
    x.grad = None
    out.sum().backward()
    assert x.grad is None


def test_mark_dirty():
    class Double_(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x.mul_(2)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf(1, 2)
    y = x * 3
    z = Double_.apply(y)
    assert z is y and y.tolist() == [6, 12]
    y.sum().backward()
    close(x.grad, [6, 6])
    with pytest.raises(RuntimeError, match="leaf that requires grad"):
        Double_.apply(leaf(1))
    base = x * 3
    Double_.apply(base[:1])
    x.grad = None
    base.sum().backward()
    close(x.grad, [6, 3])

    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            y = x * 2
            ctx.mark_dirty(y)
            return y

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(RuntimeError, match="mark_dirty takes inputs"):
        Wrong.apply(x)


@pytest.mark.parametrize(("returned", "error", "message"), [
    (lambda g: (g,), RuntimeError, "returned 1 gradients for 2 inputs"),
    (lambda g: (g, g, g), RuntimeError, "returned 3 gradients for 2 inputs"),
    (lambda g: (fb.ones(5), g), RuntimeError, r"shape \[5\] doesn't fit an input of shape \[2\]"),
    (lambda g: ("no", g), TypeError, "must return tensors or None, got str"),
])  # fmt: skip
def test_wrong_backward_of_a_custom_function(returned, error, message):
    class Sum(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return returned(g)

    x = leaf(1, 2)
    with pytest.raises(error, match=r"SumBackward.*" + message):
        Sum.apply(x, x).sum().backward()


def test_once_differentiable_and_errors_pass_through():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            assert not fb.is_grad_enabled()
            return 2 * ctx.saved_tensors[0] * g

    x = leaf(3)
    (g,) = grad(Square.apply(x), x, create_graph=True)
    assert g.item() == 6
    with pytest.raises(RuntimeError):
        g.backward()

    class Raises(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        Raises.apply(x).backward()
    (x * 2).backward()  # the engine is fit for use afterwards
    assert x.grad.item() == 2


def test_a_ctx_takes_attributes_of_any_name():
    """What programs keep on ctx must not be what the tape keeps there."""

    class Keeps(fb.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            for name in ["shapes", "places", "count", "saved", "save", "dirty", "materialize", "run", "kind"]:
                setattr(ctx, name, None)
            ctx.shapes = x.shape
            ctx.save_for_backward(y)
            return x * y

        @staticmethod
        def backward(ctx, g):
            assert ctx.shapes == g.shape and ctx.saved is None
            return g * ctx.saved_tensors[0], None

    x = fb.ones(2, requires_grad=True)
    Keeps.apply(x, fb.tensor([2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [2, 3]
