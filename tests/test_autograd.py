"""The tape as programs see it: backward and grad, modes, hooks, custom functions, in-place writes through views.

What in-place writes do to gradients is compared with the same computation written without them.
"""

from __future__ import annotations

import gc
import itertools
import threading
import weakref

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import Function, grad, gradcheck, gradgradcheck
from flambeau.autograd.function import once_differentiable


@pytest.fixture
def no_gc():
    """Without the garbage collector: cycles stay, and its passes over a million live nodes don't slow a test down."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def leaf(*values: float, dtype: fb.dtype = fb.float64) -> fb.Tensor:
    return fb.tensor(values, dtype=dtype, requires_grad=True)


def close(a: fb.Tensor, b) -> None:
    np.testing.assert_allclose(a.detach().numpy(), np.asarray(b, dtype=np.float64), rtol=1e-12, atol=1e-12)


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


# ---- hooks
def test_tensor_hooks():
    x = leaf(1, 2)
    seen = []
    first = x.register_hook(lambda g: g * 2)
    second = x.register_hook(lambda g: seen.append(g.tolist()))
    (x * 3).sum().backward()
    close(x.grad, [6, 6])
    assert seen == [[6, 6]]
    first.remove()
    first.remove()
    with second:
        pass
    x.grad = None
    (x * 3).sum().backward()
    close(x.grad, [3, 3])
    assert len(seen) == 1
    y = x * 1
    y.register_hook(lambda g: g + 1)
    x.grad = None
    (y * 2).sum().backward()
    close(x.grad, [3, 3])
    with pytest.raises(RuntimeError, match="does not require grad"):
        fb.ones(1).register_hook(print)
    y = x * 1
    y.register_hook(lambda g: fb.ones(5))
    with pytest.raises(RuntimeError, match="hook"):
        y.sum().backward()


def test_hooks_see_the_whole_gradient_once():
    x = leaf(1)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.item()))
    (y * 3 + y * 4).backward()
    assert seen == [7]
    x = leaf(1)
    x.register_hook(lambda g: seen.append(g.item()))
    grad(x * 5, x)
    assert seen == [7, 5]


def test_post_accumulate_hooks():
    x = leaf(1, 2)
    seen = []
    handle = x.register_post_accumulate_grad_hook(lambda t: seen.append((t is x, t.grad.tolist())))
    (x * 2).sum().backward()
    assert seen == [(True, [2, 2])]
    handle.remove()
    (x * 2).sum().backward()
    assert len(seen) == 1
    with pytest.raises(RuntimeError, match="only leaves"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_node_hooks():
    x = leaf(1, 2)
    y = x * 3
    seen = []
    y.grad_fn.register_hook(
        lambda inputs, outputs: seen.append(([g.tolist() for g in inputs if g is not None], outputs[0].tolist()))
    )
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 10,))
    y.sum().backward()
    assert seen == [([[30, 30]], [10, 10])]
    close(x.grad, [30, 30])
    x.grad = None
    y = x * 3
    y.grad_fn.register_hook(lambda inputs, outputs: tuple(None if g is None else g * 2 for g in inputs))
    y.sum().backward()
    close(x.grad, [6, 6])


def test_retain_grad():
    x = leaf(1, 2)
    y = x * 2
    assert not y.retains_grad
    y.retain_grad()
    y.retain_grad()
    assert y.retains_grad and y.grad is None
    (y * 3).sum().backward()
    close(y.grad, [3, 3])
    x.retain_grad()  # does nothing for a leaf
    with pytest.raises(RuntimeError, match="does not require grad"):
        fb.ones(1).retain_grad()
    y = x * 2
    y.retain_grad()
    y.mul_(5)
    y.sum().backward()
    close(y.grad, [1, 1])  # of what y is now
    a, b = (x * 1).unbind(0)
    b.retain_grad()
    (a * 2 + b * 3).backward()
    assert b.grad.item() == 3


def test_next_functions():
    x = leaf(1)
    y = (x * 2).exp()
    assert y.grad_fn.node_name() == "ExpBackward0" and "ExpBackward0" in repr(y.grad_fn)
    ((mul, _),) = y.grad_fn.next_functions
    assert mul.node_name() == "MulBackward0"
    accumulator = mul.next_functions[0][0]
    assert accumulator.variable is x and accumulator.name() == "AccumulateGrad"
    assert x.grad_fn is None and x.is_leaf and not y.is_leaf


# ---- modes
def test_modes_as_contexts_and_decorators():
    x = leaf(1)
    with fb.no_grad():
        assert not (x * 2).requires_grad
        with fb.enable_grad():
            assert (x * 2).requires_grad
        assert not fb.is_grad_enabled()
    with fb.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    fb.set_grad_enabled(False)
    assert not fb.is_grad_enabled()
    fb.set_grad_enabled(True)
    for mode, expected in (
        (fb.no_grad, False),
        (lambda f: fb.no_grad()(f), False),
        (lambda f: fb.inference_mode()(f), False),
        (lambda f: fb.set_grad_enabled(False)(f), False),
        (lambda f: fb.inference_mode(False)(f), True),
    ):

        @mode
        def inside():
            """Kept."""
            return fb.is_grad_enabled()

        assert inside() is expected and inside.__doc__ == "Kept." and fb.is_grad_enabled()
    with fb.no_grad():

        @fb.enable_grad()
        def inside_again():
            return fb.is_grad_enabled()

        assert inside_again()
    with pytest.raises(ZeroDivisionError), fb.no_grad():
        1 / 0
    assert fb.is_grad_enabled()


def test_modes_on_generators():
    log = []

    @fb.no_grad()
    def numbers():
        try:
            received = yield fb.is_grad_enabled()
            log.append((received, fb.is_grad_enabled()))
            yield fb.is_grad_enabled()
        except KeyError:
            log.append(fb.is_grad_enabled())
            yield "caught"
        finally:
            log.append("closed")
        return "end"

    g = numbers()
    assert next(g) is False and fb.is_grad_enabled()
    assert g.send(5) is False and fb.is_grad_enabled()
    assert g.throw(KeyError()) == "caught" and fb.is_grad_enabled()
    with pytest.raises(StopIteration) as end:
        next(g)
    assert end.value.value == "end"
    assert log == [(5, False), False, "closed"]
    g = numbers()
    next(g)
    g.close()
    assert log[-1] == "closed" and fb.is_grad_enabled()


def test_modes_belong_to_a_thread():
    found = []
    with fb.no_grad():
        thread = threading.Thread(target=lambda: found.append(fb.is_grad_enabled()))
        thread.start()
        thread.join()
    assert found == [True]


def test_factories_and_functions_of_leaves_under_no_grad():
    with fb.no_grad():
        x = fb.ones(2, requires_grad=True)
        assert x.requires_grad and x.is_leaf
        y = x * 2
        assert y.is_leaf and not y.requires_grad
        x.add_(1)
    close((x * x).sum().detach(), 8)


def test_inference_mode():
    x = leaf(1, 2)
    with fb.inference_mode():
        made = fb.ones(2, dtype=fb.float64)
        derived = x * 2
        assert fb.is_inference_mode_enabled() and made.is_inference() and derived.is_inference()
        made.add_(1)
        assert not x.view(2, 1).is_inference()
    assert not (made + 1).is_inference()
    with pytest.raises(RuntimeError, match=r"MulBackward0.*inference mode can't be saved for backward.*clone"):
        made * x
    for change in (lambda: made.add_(1), lambda: made[0].mul_(2), lambda: made.zero_()):
        with pytest.raises(RuntimeError, match="inference mode can't be changed in place"):
            change()
    with pytest.raises(RuntimeError, match="inference mode can't require grad"):
        made.requires_grad_()
    assert made.tolist() == [2, 2]
    (made.clone() * x).sum().backward()
    close(x.grad, [2, 2])
    (x + made).sum().backward()


# ---- detach and data
def test_detach_and_data():
    x = leaf(1, 2)
    y = x * 2
    d = y.detach()
    assert not d.requires_grad and d.data_ptr() == y.data_ptr()
    z = y * y
    d.zero_()
    with pytest.raises(RuntimeError, match="modified by an in-place operation"):
        z.sum().backward()
    y = x * 2
    z = y * y
    y.data.zero_()  # unseen by the tape
    z.sum().backward()
    close(x.grad, [0, 0])
    x.data = fb.tensor([5.0, 6.0], dtype=fb.float64)
    assert x.is_leaf and x.requires_grad and x.tolist() == [5, 6]
    y = x * 2
    assert y.detach_() is y and y.is_leaf and not y.requires_grad
    with pytest.raises(RuntimeError, match="views can't be detached in place"):
        (x * 2)[0].detach_()


# ---- in-place changes
def test_leaves_that_require_grad_are_protected():
    x = leaf(1, 2, 3)
    changes = [
        lambda: x.add_(1),
        lambda: x.zero_(),
        lambda: x.copy_(fb.ones(3)),
        lambda: x[0].fill_(1),
        lambda: x.view(3, 1).mul_(2),
        lambda: x.__setitem__(0, 1.0),
        lambda: x.__setitem__(x.detach() > 1, 0.0),
        lambda: x.unbind(0)[1].add_(1),
        lambda: x.relu_(),
        lambda: x.clamp_(min=0),
        lambda: x.normal_(),
        lambda: x.masked_fill_(x.detach() > 1, 0.0),
        lambda: x.index_add_(0, fb.tensor([0]), fb.ones(1, dtype=fb.float64)),
    ]
    for change in changes:
        with pytest.raises(RuntimeError, match=r"leaf that requires grad can't be changed in place.*no_grad"):
            change()
    assert x.tolist() == [1, 2, 3] and x._version == 0
    with fb.no_grad():
        x.add_(1)
        x[0] = 7
    assert x.tolist() == [7, 3, 4] and x.is_leaf and x.requires_grad


def test_views_made_without_recording_are_protected():
    w, base = leaf(1, 2, 3), fb.zeros(4, dtype=fb.float64)
    with fb.no_grad():
        of_leaf, of_base = w[:2], base[1:3]
    for change in (
        lambda: of_leaf.add_(1),
        lambda: of_leaf.zero_(),
        lambda: of_base.copy_(w[:2]),
        lambda: of_base.mul_(w[:2]),
    ):
        with pytest.raises(RuntimeError, match="view that was made in no_grad mode"):
            change()
    assert w.tolist() == [1, 2, 3] and base.tolist() == [0] * 4
    of_base.add_(1)  # nothing to record
    with fb.no_grad():
        of_leaf.add_(1)
        fresh = (w * 2).view(3, 1)
    fresh.mul_(w.view(3, 1))  # its base is nobody else's
    fresh.sum().backward()
    close(w.grad, [4, 6, 6])


@pytest.mark.parametrize("make", [
    lambda x: (x * 2, lambda y: y * y), lambda x: (x.exp(), lambda y: y), lambda x: ((x * 2).softmax(0), lambda y: y),
    lambda x: (x * 2, lambda y: (y.view(3, 1) @ y.view(1, 3))), lambda x: (x * 2, lambda y: y.norm()),
    lambda x: (x * 2, lambda y: y.prod()),
])  # fmt: skip
def test_saved_tensors_must_not_change(make):
    for change in (
        lambda y: y.add_(1),
        lambda y: y[0].zero_(),
        lambda y: y.detach().mul_(2),
        lambda y: y.view(1, 3).fill_(2),
    ):
        x = leaf(1, 2, 3)
        y, use = make(x)
        z = use(y)
        change(y if z is not y else z)
        with pytest.raises(
            RuntimeError, match=r"Backward0 saved was modified by an in-place operation: float64 .* version"
        ):
            z.sum().backward()


def test_changes_that_harm_nothing_pass():
    x = leaf(1, -2, 3)
    y = (x * 2).add_(0).mul_(3).sub_(x * 3).relu_()
    y.sum().backward()
    close(x.grad, [3, 0, 3])
    y = x * 2
    z = y + 1
    y.zero_()  # add saved nothing
    x.grad = None
    z.sum().backward()
    close(x.grad, [2, 2, 2])


def written(w: fb.Tensor, base: fb.Tensor, view, write) -> fb.Tensor:
    """base after `write` changed one of its views."""
    b = base * 1
    write(view(b), w)
    return b


VIEWS = {
    "itself": lambda b: b,
    "row": lambda b: b[1],
    "slice": lambda b: b[:, 1:3],
    "stepped": lambda b: b[::2, ::3],
    "transposed": lambda b: b.t(),
    "reshaped": lambda b: b.view(2, 6),
    "of a view": lambda b: b[1:].t()[1:3],
    "diagonal": lambda b: b.diagonal(),
    "chunk": lambda b: b.chunk(2, 1)[1],
    "unbound": lambda b: b.unbind(0)[2],
    "split": lambda b: b.split([1, 3], 1)[1],
    "unsqueezed": lambda b: b.unsqueeze(0)[0, :2],
    "narrow": lambda b: b.narrow(0, 1, 2).select(1, 0),
    "strided": lambda b: b.as_strided((2, 2), (4, 1), 1),
    "element": lambda b: b[2, 3],
    "permuted": lambda b: b.view(3, 2, 2).permute(2, 0, 1)[0],
    "unfolded": lambda b: b.unfold(0, 1, 2),
}
WRITES = {
    "add": lambda v, w: v.add_(w.sum()),
    "mul": lambda v, w: v.mul_(w.sum()),
    "copy": lambda v, w: v.copy_(w.sum().expand(v.shape)),
    "exp": lambda v, w: v.exp_(),
    "zero": lambda v, w: v.zero_(),
    "fill": lambda v, w: v.fill_(w[0] * w[1]),
    "twice": lambda v, w: v.mul_(w[0]).add_(v.clone() * w[1]),
    "masked": lambda v, w: v.masked_fill_(v.detach() > 0.5, 2.0),
}


def functional(base: np.ndarray, view, write, w: np.ndarray) -> np.ndarray:
    """The same with nothing recorded, for finite differences."""
    b, t = fb.tensor(base), fb.tensor(w)
    with fb.no_grad():
        write(view(b), t)
    return b.numpy()


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("write", WRITES)
def test_writes_through_views(view, write):
    rng = np.random.default_rng(3)
    base, w = rng.uniform(0.2, 1.2, (3, 4)), rng.uniform(0.5, 1.5, 3)
    weight = fb.tensor(rng.normal(size=(3, 4)))
    x, y = fb.tensor(base).requires_grad_(), fb.tensor(w).requires_grad_()
    out = written(y, x, VIEWS[view], WRITES[write])
    np.testing.assert_allclose(out.detach().numpy(), functional(base, VIEWS[view], WRITES[write], w), rtol=1e-14)
    gx, gy = grad((out * out * weight).sum(), [x, y], allow_unused=True, create_graph=True)

    def loss(base, w):
        return float((functional(base, VIEWS[view], WRITES[write], w) ** 2 * weight.numpy()).sum())

    eps = 1e-6
    for at in itertools.product(range(3), range(4)):
        step = np.zeros((3, 4))
        step[at] = eps
        slope = (loss(base + step, w) - loss(base - step, w)) / (2 * eps)
        assert float(gx[at]) == pytest.approx(slope, rel=1e-6, abs=1e-8)
    for k in range(3):
        step = np.zeros(3)
        step[k] = eps
        slope = (loss(base, w + step) - loss(base, w - step)) / (2 * eps)
        assert (0.0 if gy is None else float(gy[k])) == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("view", "write"), [(v, w) for v in VIEWS for w in ("mul", "exp", "twice", "fill")][::3])
def test_writes_through_views_second_order(view, write):
    x = fb.tensor(np.linspace(0.3, 1.1, 12).reshape(3, 4)).requires_grad_()
    w = leaf(0.5, 1.5, 0.7)
    assert gradcheck(lambda x, w: written(w, x, VIEWS[view], WRITES[write]), [x, w])
    assert gradgradcheck(lambda x, w: written(w, x, VIEWS[view], WRITES[write]) ** 2, [x, w])


def test_second_order_of_writes_to_the_whole():
    def function(x, w):
        y = x * 1
        y.mul_(w)
        y.mul_(y.clone())
        return y.pow_(3).sin_()

    x, w = leaf(0.5, 0.7), leaf(1.1, 0.9)
    assert gradcheck(function, [x, w]) and gradgradcheck(function, [x, w])


def test_views_see_writes_to_their_base_and_each_other():
    x = leaf(1, 2, 3, 4)
    base = x * 1
    first, second, transposed = base[:2], base[1:3], base.view(2, 2).t()
    base.mul_(2)
    assert first.grad_fn is not None
    (g,) = grad(first.sum(), x, retain_graph=True)
    close(g, [2, 2, 0, 0])
    second.mul_(3)
    (g,) = grad((first * fb.tensor([1.0, 10.0], dtype=fb.float64)).sum(), x, retain_graph=True)
    close(g, [2, 60, 0, 0])
    (g,) = grad(transposed[1].sum(), x, retain_graph=True)  # elements 1 and 3
    close(g, [0, 6, 0, 2])
    (g,) = grad(base.sum(), x)
    close(g, [2, 6, 6, 2])


def test_a_view_written_after_its_use():
    x = leaf(1, 2, 3)
    base = x * 1
    view = base[:2]
    used = (view * 5).sum()  # saves nothing that changes
    view.mul_(3)
    (used + base.sum()).backward()
    close(x.grad, [8, 8, 1])


def test_writing_into_what_requires_no_grad():
    x = leaf(1, 2)
    buffer = fb.zeros(2, 3, dtype=fb.float64)
    row = buffer[1]
    assert not row.requires_grad
    buffer[0, :2] = x
    assert buffer.requires_grad and row.requires_grad
    buffer[:, 2] = x * x
    row[0] = x[0] * 10
    (buffer * fb.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=fb.float64)).sum().backward()
    close(x.grad, [1 + 3 * 2 + 40, 2 + 6 * 4])


def test_expanded_tensors():
    x = leaf(1, 2)
    e = (x * 1).unsqueeze(1).expand(2, 3)
    with pytest.raises(RuntimeError, match="share one memory location"):
        e.add_(1)
    base = x * 1
    stretched = base.expand(3, 2)
    base.mul_(3)
    stretched.sum().backward()
    close(x.grad, [9, 9])
    y = leaf(5)
    e = y.expand(2, 2)
    (e * fb.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=fb.float64)).sum().backward()
    assert y.grad.tolist() == [10]


def test_writes_by_index():
    mask = fb.tensor([True, False, True, False])
    rows = fb.tensor([3, 0])
    x, v = leaf(1, 2, 3, 4), leaf(5, 6)

    def by_mask(x, v):
        y = x * 1
        y[mask] = v
        return y * y

    def by_mask_number(x, v):
        y = x * v[0]
        y[mask] = 0.5
        return y * y

    def by_rows(x, v):
        y = x * 1
        y[rows] = v
        y[rows] *= v
        return y * y

    def by_pair(x, v):
        y = x.view(2, 2) * 1
        y[fb.tensor([0, 1]), fb.tensor([1, 1])] = v
        return y * y

    def through_view(x, v):
        y = x.view(2, 2) * 1
        y[1][fb.tensor([1])] = v[:1]
        y.t()[0] += v
        return y * y

    def accumulated(x, v):
        y = x * 1
        y.index_put_((fb.tensor([1, 1]),), v, accumulate=True)
        y.index_add_(0, fb.tensor([2]), v[1:])
        return y * y

    for function in (by_mask, by_mask_number, by_rows, by_pair, through_view, accumulated):
        assert gradcheck(function, [x, v]), function.__name__
        assert gradgradcheck(function, [x, v]), function.__name__


# ---- custom functions
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


# ---- anomalies
def test_anomaly_names_the_forward_line():
    with fb.autograd.detect_anomaly():
        x = leaf(0)
        y = (x - 1).sqrt()  # the culprit
        with pytest.raises(RuntimeError, match="SqrtBackward0 returned nan") as error:
            y.backward()
        assert "# the culprit" in str(error.value)
        y = x * 2
        z = y * y  # this saves
        y.detach().add_(1)
        with pytest.raises(RuntimeError, match="modified") as error:
            z.backward()
        assert "# this saves" in str(error.value) + "".join(getattr(error.value, "__notes__", ()))
    x = leaf(0)
    (x - 1).sqrt().backward()
    assert x.grad.isnan().all()
    fb.autograd.set_detect_anomaly(True)
    try:
        with pytest.raises(RuntimeError, match="nan"):
            (x - 1).sqrt().backward()
    finally:
        fb.autograd.set_detect_anomaly(False)


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
