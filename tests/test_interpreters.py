"""The interpreter stack: nesting, exceptions, threads, and that nothing leaves the core while none is active."""

from __future__ import annotations

import threading

import pytest

import flambeau as fb
import flambeau.nn.functional as F
from flambeau.core import _core
from flambeau.core.interpreters import Interpreter, stack


class Recorder(Interpreter):
    """Runs everything, and remembers names."""

    def __init__(self):
        self.seen = []

    def process(self, call):
        self.seen.append(call.op.name)
        return call()


def test_interpreters_nest_and_each_sees_what_those_above_do():
    outer, inner = Recorder(), Recorder()
    with outer:
        x = fb.ones(2, 2)
        with inner:
            y = (x + x).t().sum()
        z = y * 2
    assert z.item() == 16
    assert inner.seen == ["add", "permute", "sum"]
    assert outer.seen == ["identity", "add", "permute", "sum", "mul"]


def test_operations_an_interpreter_starts_go_to_those_below_it():
    class Doubler(Interpreter):
        def process(self, call):
            found = call()
            return found + found

    below = Recorder()
    with below, Doubler():
        y = fb.ones(2).exp()
    assert below.seen == ["identity", "add", "exp", "add"]
    assert y.tolist() == (2 * fb.ones(2).exp()).tolist()  # what ones() filled was handed out by ones() itself


def test_exceptions_restore_what_was():
    class Refuses(Interpreter):
        def process(self, call):
            raise ValueError("no")

    x = fb.ones(2)
    outer = Recorder()
    with outer:
        with pytest.raises(ValueError, match="no"), Refuses():
            x + 1
        with pytest.raises(RuntimeError, match="don't broadcast"):
            x + fb.ones(3)
        assert stack.active == (outer,) and _core.interpreting()
    assert stack.active == () and not _core.interpreting()
    outer.seen.clear()
    assert (x + 1).tolist() == [2, 2] and outer.seen == []


def test_other_threads_notice_nothing():
    started, done = threading.Event(), threading.Event()
    seen = []

    def elsewhere():
        started.wait(10)
        seen.append((_core.interpreting(), stack.active, (fb.ones(2) + 1).tolist()))
        done.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    recorder = Recorder()
    with recorder:
        started.set()
        assert done.wait(10)
    thread.join()
    assert seen == [(False, (), [2.0, 2.0])] and recorder.seen == []


def test_without_interpreters_nothing_is_handed_over(monkeypatch):
    def never(call):
        raise AssertionError(f"{call} was handed over")

    monkeypatch.setitem(_core.hooks, "interpret", never)
    x = fb.randn(3, 4, requires_grad=True)
    (F.layer_norm(x, (4,)).t()[1].exp().sum() + x.clone().detach().mul_(2).mean()).backward()
    assert x.grad.numpy().shape == (3, 4)
    with pytest.raises(AssertionError, match="was handed over"), Recorder():
        x + 1
