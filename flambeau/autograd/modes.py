"""Whether operations are recorded, as context managers that are decorators too. Imports core only."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from ..core import _core

GENERATOR = 0x20  # a code flag, as inspect names it
F = TypeVar("F", bound=Callable[..., Any])


class Mode:
    """A context manager that also decorates functions, generators and classes' methods."""

    def __enter__(self) -> None:
        raise NotImplementedError

    def __exit__(self, *error: object) -> None:
        raise NotImplementedError

    def clone(self) -> Mode:
        return type(self)()

    def __call__(self, function: F) -> F:
        code = getattr(function, "__code__", None)
        if code is not None and code.co_flags & GENERATOR:
            return functools.wraps(function)(self.stepping(function))  # type: ignore[return-value]

        @functools.wraps(function)
        def within(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return within  # type: ignore[return-value]

    def stepping(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A generator runs its own code in the mode, and its consumer's code outside it."""

        def within(*args: Any, **kwargs: Any) -> Any:
            steps = function(*args, **kwargs)
            send: Callable[[], Any] = functools.partial(next, steps)
            while True:
                try:
                    with self.clone():
                        value = send()
                except StopIteration as end:
                    return end.value
                try:
                    received = yield value
                except GeneratorExit:
                    steps.close()
                    raise
                except BaseException as error:
                    send = functools.partial(steps.throw, error)
                else:
                    send = functools.partial(steps.send, received)

        return within


class no_grad(Mode):
    """Nothing is recorded inside.

    >>> x = fb.ones(1, requires_grad=True)
    >>> with fb.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    enabled = False

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        self = object.__new__(cls)
        return self if function is None else self(function)

    def __enter__(self) -> None:
        self.before = _core.swap_grad_enabled(self.enabled)

    def __exit__(self, *error: object) -> None:
        _core.swap_grad_enabled(self.before)


class enable_grad(no_grad):
    """Operations are recorded inside, whatever stands around it.

    >>> x = fb.ones(1, requires_grad=True)
    >>> with fb.no_grad(), fb.enable_grad():
    ...     y = x * 2
    >>> y.requires_grad
    True
    """

    enabled = True


class set_grad_enabled(Mode):
    """Switches recording on or off: at once when called, and until the end when used as a context.

    >>> with fb.set_grad_enabled(False):
    ...     fb.is_grad_enabled()
    False
    """

    def __init__(self, mode: bool) -> None:
        self.mode = mode
        self.before = _core.swap_grad_enabled(mode)

    def clone(self) -> Mode:
        return set_grad_enabled(self.mode)

    def __call__(self, function: F) -> F:
        _core.swap_grad_enabled(self.before)
        return super().__call__(function)

    def __enter__(self) -> None:
        _core.swap_grad_enabled(self.mode)

    def __exit__(self, *error: object) -> None:
        _core.swap_grad_enabled(self.before)


class inference_mode(Mode):
    """Nothing is recorded inside, and `is_inference_mode_enabled()` says so.

    >>> x = fb.ones(1, requires_grad=True)
    >>> with fb.inference_mode():
    ...     y = x * 2
    >>> y.requires_grad, y.is_inference()
    (False, True)
    """

    def __new__(cls, mode: Any = True) -> Any:
        if callable(mode):
            return object.__new__(cls)(mode)
        return object.__new__(cls)

    def __init__(self, mode: Any = True) -> None:
        self.mode = mode

    def clone(self) -> Mode:
        return inference_mode(self.mode)

    def __enter__(self) -> None:
        self.before = _core.swap_grad_enabled(False if self.mode else _core.is_grad_enabled())
        self.inference_before = _core.swap_inference(bool(self.mode))

    def __exit__(self, *error: object) -> None:
        _core.swap_grad_enabled(self.before)
        _core.swap_inference(self.inference_before)
