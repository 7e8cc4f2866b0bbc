"""`compile`: present, and honest. Kernels are compiled as operations are met, whether a program asks or not; what it
gets here runs eagerly, with the same bits. Fusing across operations isn't there yet.

Imports nn. Read next: `compiler/trace.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .modules.module import Module

MODES = (None, "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


class OptimizedModule(Module):
    """A module that was compiled: `_orig_mod` is the module itself, and state_dict's keys begin with that name."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        self._orig_mod = module
        self.training = module.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._orig_mod(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "_orig_mod":
            return self._modules["_orig_mod"]
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._modules["_orig_mod"], name)


def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str | Callable[..., Any] = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
    **kwargs: Any,
) -> Any:
    """The function or module again, as PyTorch's torch.compile returns it; it runs eagerly and gives the same bits.

    Takes torch.compile's arguments, of which none changes results: nothing is fused across operations yet, and backend,
    a callable too, isn't called. A module comes back as OptimizedModule; without `model` it is a decorator.

    >>> fb.compile(lambda x: x + 1)(fb.ones(1))
    tensor([2.])
    """
    if mode not in MODES:
        raise RuntimeError(f"compile: mode is one of {MODES[1:]}, got {mode!r}")
    if mode is not None and options is not None:
        raise RuntimeError("compile: either mode or options can be given, not both")
    if model is None:
        return functools.partial(
            compile, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode, options=options, disable=disable
        )
    if disable:
        return model
    if isinstance(model, Module):
        return OptimizedModule(model)
    if not callable(model):
        raise RuntimeError(f"compile: a function or module is expected, got a {type(model).__name__}")

    @functools.wraps(model)
    def compiled(*args: Any, **kwargs: Any) -> Any:
        return model(*args, **kwargs)

    return compiled


__all__ = ["OptimizedModule", "compile"]
