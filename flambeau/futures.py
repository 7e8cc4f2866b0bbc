"""`torch.futures`: results that come later, on the standard library's Future. Imports nothing."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Future(Generic[T]):
    """A result that is set once, waited for, and can be followed by callbacks.

    `devices` is PyTorch's argument and changes nothing.

    >>> future = fb.futures.Future()
    >>> double = future.then(lambda done: 2 * done.value())
    >>> future.set_result(21)
    >>> double.wait()
    42
    """

    def __init__(self, *, devices: Any = None) -> None:
        self._held: concurrent.futures.Future = concurrent.futures.Future()

    def done(self) -> bool:
        """Whether there is a result, or an exception."""
        return self._held.done()

    def wait(self) -> T:
        """The result, once it is there; an exception that was set is raised."""
        return self._held.result()

    def value(self) -> T:
        """The result, which must be there: RuntimeError where it isn't."""
        if not self.done():
            raise RuntimeError("Future.value: the future isn't done; call wait()")
        return self._held.result()

    def set_result(self, result: T) -> None:
        """Sets the result; a second time is a RuntimeError."""
        self._refuse_twice("set_result")
        self._held.set_result(result)

    def set_exception(self, result: BaseException) -> None:
        """Sets what `wait` and `value` raise."""
        if not isinstance(result, BaseException):
            raise AssertionError(f"Future.set_exception: {result!r} is of type {type(result)}, not an exception")
        self._refuse_twice("set_exception")
        self._held.set_exception(result)

    def _refuse_twice(self, name: str) -> None:
        if self.done():
            raise RuntimeError(f"Future.{name}: the future is done already; make a new one")

    def add_done_callback(self, callback: Callable[[Future[T]], None]) -> None:
        """Calls callback(self) once the result is there, at once if it is; what it raises is logged."""
        self._held.add_done_callback(lambda _: callback(self))

    def then(self, callback: Callable[[Future[T]], Any]) -> Future:
        """A future of callback(self), called once this one is done."""
        following: Future = Future()

        def go_on(done: Future[T]) -> None:
            try:
                following.set_result(callback(done))
            except BaseException as error:
                following.set_exception(error)

        self.add_done_callback(go_on)
        return following


def collect_all(futures: Iterable[Future]) -> Future[list[Future]]:
    """A future of the list of these futures, done when all are.

    >>> one, two = fb.futures.Future(), fb.futures.Future()
    >>> both = fb.futures.collect_all([one, two])
    >>> one.set_result(1)
    >>> both.done()
    False
    >>> two.set_result(2)
    >>> [f.value() for f in both.wait()]
    [1, 2]
    """
    waited, lock = list(futures), threading.Lock()
    result: Future[list[Future]] = Future()

    def check(_: Future) -> None:
        with lock:
            if all(f.done() for f in waited) and not result.done():
                result.set_result(waited)

    for future in waited:
        future.add_done_callback(check)
    if not waited:
        result.set_result(waited)
    return result


def wait_all(futures: Iterable[Future]) -> list[Any]:
    """The results of all futures; the first exception is raised.

    >>> one = fb.futures.Future()
    >>> one.set_result(1)
    >>> fb.futures.wait_all([one])
    [1]
    """
    return [future.wait() for future in collect_all(futures).wait()]


__all__ = ["Future", "collect_all", "wait_all"]
