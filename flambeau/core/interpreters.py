"""Interpreters: other meanings for the same operations, in a stack; each thread has its own.

While one is active, what the core is about to run arrives as a Call (`core/interpret.pxi`) at the innermost, which may
run it, record it, or run something else in its place. Operations that an interpreter itself starts go to those below
it, and at the bottom of the stack they run eagerly. Imports the core only. Read next: `compiler/trace.py`, an example.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from . import _core
from ._core import Call, Tensor


class Stack(threading.local):
    active: tuple[Interpreter, ...] = ()


stack = Stack()


class Interpreter:
    """A meaning for operations, in force inside a `with` block and in this thread only.

    `differentiates` says that derivatives pass through what it does, so that backward rules must be differentiable;
    `functions` that custom Functions arrive as one operation each, instead of the operations they are made of.
    """

    differentiates = False
    functions = False

    def process(self, call: Call) -> Any:
        """What the operation gives; `call()` runs it as the interpreters below understand it."""
        raise NotImplementedError

    def together(self, tensors: Sequence[Tensor | None]) -> list:
        """Tensors that one operation takes in one dtype, before it compares their dtypes."""
        return list(tensors)

    def __enter__(self) -> Any:
        stack.active = (*stack.active, self)
        _core.change_interpreters(1)
        return self

    def __exit__(self, *error: object) -> None:
        assert stack.active and stack.active[-1] is self, "interpreters are left in the reverse order of their entering"
        stack.active = stack.active[:-1]
        _core.change_interpreters(-1)


def interpret(call: Call) -> Any:
    """Hands a call to the innermost interpreter, for whose own operations those below it are in force."""
    active = stack.active
    stack.active = active[:-1]
    _core.change_interpreters(-1)
    try:
        return active[-1].process(call)
    finally:
        stack.active = active
        _core.change_interpreters(1)


def together(*tensors: Tensor | None) -> list:
    """The tensors as the interpreters in force want them for one operation, the innermost one first."""
    found = list(tensors)
    for interpreter in reversed(stack.active):
        found = interpreter.together(found)
    return found


def differentiating() -> bool:
    """Whether derivatives pass through an interpreter that is in force."""
    return any(interpreter.differentiates for interpreter in stack.active)


@contextmanager
def below(interpreter: Interpreter) -> Iterator[None]:
    """Inside, only the interpreters outside of this one are in force."""
    active = stack.active
    stack.active = active[: active.index(interpreter)]
    _core.change_interpreters(len(stack.active) - len(active))
    try:
        yield
    finally:
        _core.change_interpreters(len(active) - len(stack.active))
        stack.active = active


_core.set_hook("interpret", interpret)
_core.set_hook("differentiating", differentiating)
