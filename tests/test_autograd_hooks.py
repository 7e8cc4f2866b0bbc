"""Modes, hooks and anomaly detection: who watches what is recorded, and who switches recording off."""

from __future__ import annotations

import threading

import pytest
from leaves import close, leaf

import flambeau as fb
from flambeau.autograd import grad


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
