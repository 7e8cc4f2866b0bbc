"""In-place writes and views on the tape.

What in-place writes do to gradients is compared with the same computation written without them.
"""

from __future__ import annotations

import itertools
import weakref

import numpy as np
import pytest
from leaves import close, leaf

import flambeau as fb
from flambeau.autograd import grad, gradcheck, gradgradcheck


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


SECOND = {
    "the base": lambda b, v: b,
    "the view": lambda b, v: v,
    "a number of the view": lambda b, v: v.sum(),
    "another view": lambda b, v: b[2],
}


@pytest.mark.parametrize("read", SECOND)
@pytest.mark.parametrize("write", WRITES)
def test_a_second_backward_through_a_written_view_is_refused(write, read):
    """What the write saved is gone after the first, also where its own node had saved nothing."""
    x, w = leaf(*np.arange(1.0, 13)), leaf(0.5, 2.0)
    base = x.view(3, 4).clone()
    view = base[1]
    WRITES[write](view, w)
    total = SECOND[read](base, view).sum()
    total.backward(retain_graph=True)
    first = x.grad.clone()
    total.backward()
    close(x.grad, 2 * first.numpy())
    with pytest.raises(RuntimeError, match=r"freed by an earlier backward.*retain_graph=True.*second time"):
        total.backward()
    close(x.grad, 2 * first.numpy())


def test_a_written_view_lets_go_of_what_it_saved():
    base = leaf(1.0, 2.0).clone()
    factor = fb.full((), 3.0, dtype=fb.float64)
    kept = weakref.ref(factor)
    base[:1].mul_(factor)
    del factor
    total = base.sum()
    assert kept() is not None
    total.backward()
    assert kept() is None
