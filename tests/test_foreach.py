"""`_foreach_*`: each is its operation at every place of the lists, and an in-place one writes all or nothing."""

from __future__ import annotations

import pytest

import flambeau as fb
from flambeau.deferred import EACH

NUMBERS = ["add", "div", "maximum", "minimum", "mul", "pow", "sub", "clamp_max", "clamp_min"]
UNARY = sorted(set(EACH.split()) - set(NUMBERS) - {"addcdiv", "addcmul", "lerp"})


def lists():
    fb.manual_seed(3)
    return [fb.rand(2, 3) + 0.1, fb.rand(4) + 0.1], [fb.rand(2, 3) + 0.1, fb.rand(4) + 0.1]


def same(got, want):
    assert isinstance(got, tuple) and len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        assert fb.equal(g.isnan(), w.isnan()) and fb.equal(g.nan_to_num(), w.nan_to_num())


@pytest.mark.parametrize("name", UNARY)
def test_one_list(name):
    xs, _ = lists()
    want = [getattr(fb, name)(x) for x in xs]
    same(getattr(fb, f"_foreach_{name}")(xs), want)
    assert getattr(fb, f"_foreach_{name}_")(xs) is None
    same(tuple(xs), want)


@pytest.mark.parametrize("name", NUMBERS)
def test_lists_numbers_and_lists_of_numbers(name):
    xs, ys = lists()
    one = {"maximum": fb.clamp_min, "minimum": fb.clamp_max}.get(name) or getattr(fb, name)
    function, in_place = getattr(fb, f"_foreach_{name}"), getattr(fb, f"_foreach_{name}_")
    same(function(xs, ys), [one(x, y) for x, y in zip(xs, ys, strict=True)])
    same(function(xs, 0.5), [one(x, 0.5) for x in xs])
    same(function(xs, [0.25, 0.5]), [one(x, n) for x, n in zip(xs, (0.25, 0.5), strict=True)])
    want = function(xs, ys)
    in_place(xs, ys)
    same(tuple(xs), want)


def test_a_multiple_of_each():
    xs, ys = lists()
    same(fb._foreach_add(xs, ys, alpha=2), [x + 2 * y for x, y in zip(xs, ys, strict=True)])
    for function, one in (fb._foreach_addcdiv, fb.addcdiv), (fb._foreach_addcmul, fb.addcmul):
        same(function(xs, ys, xs), [one(x, y, x) for x, y in zip(xs, ys, strict=True)])
        same(function(xs, ys, xs, 0.5), [one(x, y, x, value=0.5) for x, y in zip(xs, ys, strict=True)])
        many = [one(x, y, x, value=v) for x, y, v in zip(xs, ys, (0.5, 2.0), strict=True)]
        same(function(xs, ys, xs, [0.5, 2.0]), many)
        same(function(xs, ys, xs, fb.tensor([0.5, 2.0])), many)
        same(function(xs, tensor1=ys, tensor2=xs, scalars=[0.5, 2.0]), many)
    same(fb._foreach_lerp(xs, ys, 0.25), [fb.lerp(x, y, 0.25) for x, y in zip(xs, ys, strict=True)])


def test_whole_tensors():
    xs, ys = lists()
    same(fb._foreach_norm(xs, 1), [x.sum() for x in xs])
    same(fb._foreach_max(xs), [x.max() for x in xs])
    fb._foreach_copy_(xs, ys)
    same(tuple(xs), ys)
    same(fb._foreach_clone(xs), ys)
    fb._foreach_zero_(xs)
    assert not any(x.any() for x in xs) and all(y.all() for y in ys)


def test_gradients_pass():
    xs = [x.requires_grad_() for x in lists()[0]]
    sum(y.sum() for y in fb._foreach_mul(xs, 3.0)).backward()
    assert all((x.grad == 3).all() for x in xs)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda xs: fb._foreach_add([], 1), "_foreach_add: .*at least one"),
        (lambda xs: fb._foreach_add_(xs, [1.0]), r"_foreach_add_: .*\[2, 1\]"),
        (lambda xs: fb._foreach_add_(xs, [fb.ones(2, 3), fb.ones(2, 4)]), "place 1.*nothing has been written"),
    ],
)
def test_errors_change_nothing(call, message):
    xs, _ = lists()
    before = [x.clone() for x in xs]
    with pytest.raises(RuntimeError, match=message):
        call(xs)
    assert all(fb.equal(a, b) for a, b in zip(xs, before, strict=True))


def test_no_such_name():
    with pytest.raises(AttributeError, match="_foreach_nothing"):
        fb._foreach_nothing
