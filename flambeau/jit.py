"""`torch.jit` as PyTorch has it where PYTORCH_JIT=0: what would be compiled runs as Python, with the same results.

Decorators and compilers return what they are given, questions are answered for a program that runs as Python; files
of compiled programs are neither written nor read yet. Imports nothing.
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
    """Nothing is an instance: modules run as Python."""


class ScriptFunction:
    """Nothing is an instance: functions run as Python."""


def script(
    obj: T, optimize: Any = None, _frames_up: int = 0, _rcb: Any = None, example_inputs: Any = None
) -> T:
    """The function, class or module itself, as PyTorch gives it where PYTORCH_JIT=0: it runs as Python.

    >>> fb.jit.script(abs) is abs
    True
    """
    return obj


def trace(func: T, example_inputs: Any = None, *args: Any, **kwargs: Any) -> T:
    """The function or module itself, as PyTorch gives it where PYTORCH_JIT=0.

    >>> fb.jit.trace(abs, fb.ones(1)) is abs
    True
    """
    return func


def trace_module(mod: T, inputs: Any = None, *args: Any, **kwargs: Any) -> T:
    """The module itself, as `trace`.

    >>> model = fb.nn.ReLU()
    >>> fb.jit.trace_module(model, {"forward": fb.ones(1)}) is model
    True
    """
    return mod


def freeze(mod: T, *args: Any, **kwargs: Any) -> T:
    """The module itself, as `trace`.

    >>> model = fb.nn.ReLU()
    >>> fb.jit.freeze(model) is model
    True
    """
    return mod


def optimize_for_inference(mod: T, *args: Any, **kwargs: Any) -> T:
    """The module itself, as `trace`.

    >>> model = fb.nn.ReLU()
    >>> fb.jit.optimize_for_inference(model) is model
    True
    """
    return mod


def absent(name: str, instead: str) -> Callable[..., NoReturn]:
    def call(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"jit.{name}: flambeau has no TorchScript files yet; {instead}")

    call.__name__ = call.__qualname__ = name
    call.__doc__ = "Raises NotImplementedError: there are no TorchScript files yet."
    return call


save = absent("save", "save the module's state_dict() with torch.save")
load = absent("load", "build the module and load a state_dict with torch.load")

__all__ = [
    "Attribute", "Final", "ScriptFunction", "ScriptModule", "annotate", "export", "freeze", "ignore", "interface",
    "is_scripting", "is_tracing", "isinstance", "load", "optimize_for_inference", "save", "script", "script_if_tracing",
    "trace", "trace_module", "unused",
]  # fmt: skip
