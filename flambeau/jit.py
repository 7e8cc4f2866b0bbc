"""`torch.jit` as far as plain Python goes: what marks functions for the script compiler, which isn't there yet.

Decorators return what they are given, questions are answered for a program that runs as Python. Imports nothing.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

T = TypeVar("T")


def is_scripting() -> bool:
    """False: the program runs as Python."""
    return False


def is_tracing() -> bool:
    """False."""
    return False


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """Marks a method that stays Python; with or without arguments."""
    return drop if callable(drop) else lambda function: function


def unused(function: T) -> T:
    """Marks a method that a compiled module doesn't call."""
    return function


def export(function: T) -> T:
    """Marks a method that is compiled although forward doesn't call it."""
    return function


def interface(cls: T) -> T:
    """Marks a class as an interface."""
    return cls


def script_if_tracing(function: T) -> T:
    """Marks a function that is compiled where a trace calls it."""
    return function


def annotate(the_type: Any, the_value: T) -> T:
    """the_value."""
    return the_value


def isinstance(obj: Any, target_type: Any) -> bool:
    """Python's isinstance, for the classes that containers' types stand for (list[int] is list)."""
    types: tuple[Any, ...] = target_type if builtins.isinstance(target_type, tuple) else (target_type,)
    origins: Any = tuple(getattr(t, "__origin__", t) for t in types)
    return builtins.isinstance(obj, origins)


class Attribute:
    """A value with a type for the compiler."""

    def __init__(self, value: Any, type: Any) -> None:
        self.value, self.type = value, type


class ScriptModule:
    """Nothing is an instance: there are no compiled modules yet."""


class ScriptFunction:
    """Nothing is an instance: there are no compiled functions yet."""


def compiler(name: str, instead: str) -> Callable[..., NoReturn]:
    def call(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"jit.{name}: flambeau has no TorchScript yet; {instead}")

    call.__name__ = call.__qualname__ = name
    call.__doc__ = "Raises NotImplementedError: there is no TorchScript yet."
    return call


script = compiler("script", "leave the decorator away: the function runs as Python, with the same results")
trace = compiler("trace", "call the module itself: it runs as Python, with the same results")
trace_module = compiler("trace_module", "call the module itself: it runs as Python, with the same results")
save = compiler("save", "save the module's state_dict() with torch.save")
load = compiler("load", "build the module and load a state_dict with torch.load")
freeze = compiler("freeze", "call the module itself")

__all__ = [
    "Attribute", "Final", "ScriptFunction", "ScriptModule", "annotate", "export", "freeze", "ignore", "interface",
    "is_scripting", "is_tracing", "isinstance", "load", "save", "script", "script_if_tracing", "trace", "trace_module",
    "unused",
]  # fmt: skip
