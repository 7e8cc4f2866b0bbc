"""`torch.overrides`: classes and regions that give functions another meaning.

A TorchFunctionMode is an Interpreter that hands each operation to the program. Objects with `__torch_function__` are
asked by `handle_torch_function`, which libraries call for their own functions. Imports the core.
Read next: `core/interpreters.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .core._core import Call, Tensor
from .core.interpreters import Interpreter


class TorchFunctionMode(Interpreter):
    """Inside, every operation on tensors is handed to `__torch_function__(func, types, args, kwargs)`.

    Subclasses define it; calling func(*args, **kwargs) there runs the operation as it is outside.

    >>> class Count(fb.overrides.TorchFunctionMode):
    ...     def __torch_function__(self, func, types, args=(), kwargs=None):
    ...         print(func.name)
    ...         return func(*args, **(kwargs or {}))
    >>> with Count():
    ...     y = fb.ones(2) + 1
    add
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: define __torch_function__")

    def process(self, call: Call) -> Any:
        if call.writes is not None or not callable(call.op):
            return call()
        types = tuple({type(x) for x in call.args if isinstance(x, Tensor)})
        return self.__torch_function__(call.op, types, call.args, call.kwargs)


def overrides(thing: Any) -> Callable[..., Any] | None:
    """The `__torch_function__` of an object that isn't a plain tensor."""
    if isinstance(thing, Tensor):
        return None
    return getattr(type(thing), "__torch_function__", None)


def has_torch_function(relevant_args: Sequence[Any]) -> bool:
    """Whether any of the arguments has a `__torch_function__` of its own.

    >>> fb.overrides.has_torch_function((fb.ones(1), 2))
    False
    """
    return any(overrides(x) is not None for x in relevant_args)


def handle_torch_function(
    public_api: Callable[..., Any], relevant_args: Sequence[Any], *args: Any, **kwargs: Any
) -> Any:
    """What the first `__torch_function__` among the arguments that doesn't return NotImplemented makes of the call.

    >>> class Logged:
    ...     @classmethod
    ...     def __torch_function__(cls, func, types, args=(), kwargs=None):
    ...         return f"{func.__name__} of {len(args)}"
    >>> fb.overrides.handle_torch_function(max, (Logged(),), Logged(), 1)
    'max of 2'
    """
    able = [x for x in relevant_args if overrides(x) is not None]
    types = tuple(dict.fromkeys(map(type, able)))
    for thing in able:
        result = thing.__torch_function__(public_api, types, args, kwargs)
        if result is not NotImplemented:
            return result
    raise TypeError(
        f"no implementation found for {getattr(public_api, '__qualname__', public_api)!r} on types that implement "
        f"__torch_function__: {list(types)}"
    )


def is_tensor_like(inp: Any) -> bool:
    """Whether an object is a tensor or has `__torch_function__`.

    >>> fb.overrides.is_tensor_like(fb.ones(1)), fb.overrides.is_tensor_like(1)
    (True, False)
    """
    return isinstance(inp, Tensor) or hasattr(inp, "__torch_function__")


__all__ = ["TorchFunctionMode", "handle_torch_function", "has_torch_function", "is_tensor_like"]
