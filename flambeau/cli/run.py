"""Runs a program written for PyTorch: while it runs, `import torch` and its submodules give it flambeau.

A finder at the head of sys.meta_path answers for `torch` and everything below, so a PyTorch that is installed is never
touched. A name that flambeau hasn't got raises an error that says so and names the nearest ones it has. Programs ask
about CUDA before anything else; where flambeau has no such module, QUESTIONS answers truthfully that there is none.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.abc
import importlib.machinery
import os
import pkgutil
import runpy
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

# What programs ask on their way to the CPU, and what PyTorch itself answers where there is no such device.
QUESTIONS: dict[str, dict[str, Callable[..., Any] | bool]] = {
    "torch.cuda": {
        "is_available": lambda: False,
        "device_count": lambda: 0,
        "is_bf16_supported": lambda: False,
        "manual_seed": lambda seed: None,
        "manual_seed_all": lambda seed: None,
        "empty_cache": lambda: None,
    },
    "torch.backends": {},
    "torch.backends.cudnn": {
        "enabled": False,
        "benchmark": False,
        "deterministic": True,
        "is_available": lambda: False,
    },
    "torch.backends.mps": {"is_available": lambda: False, "is_built": lambda: False},
}


class TorchModule(ModuleType):
    """`torch`, or one of its submodules, as a view of flambeau's."""

    def __init__(self, name: str, real: ModuleType | None) -> None:
        super().__init__(name, real.__doc__ if real else None)
        self.__dict__.update(_real=real, __path__=[], **QUESTIONS.get(name, {}))
        if name == "torch":
            import flambeau

            # Programs compare versions: this is the PyTorch whose API is mirrored, and who mirrors it.
            self.__version__ = f"2.13.0+flambeau{flambeau.__version__}"
        if real is not None and hasattr(real, "__all__"):
            self.__all__ = real.__all__

    def __getattr__(self, name: str) -> Any:
        real = self.__dict__["_real"]
        full = f"{self.__name__}.{name}"
        try:
            value = getattr(real, name)
        except AttributeError:
            if name.startswith("__"):
                raise AttributeError(name) from None
            if full in QUESTIONS:
                return importlib.import_module(full)
            raise AttributeError(missing(full, real)) from None
        if isinstance(value, ModuleType) and value.__name__.startswith("flambeau."):
            return importlib.import_module(full)
        self.__dict__[name] = value
        return value

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *dir(self.__dict__["_real"])})


def missing(full: str, real: ModuleType | None) -> str:
    """What to say about a name that isn't there."""
    parent, _, name = full.rpartition(".")
    below = (module.name for module in pkgutil.iter_modules(getattr(real, "__path__", [])))
    public = [n for n in {*dir(real), *below} if not n.startswith("_")] if real is not None else []
    near = difflib.get_close_matches(name, public, n=3, cutoff=0.6)
    names = ", ".join(f"{parent}.{n}" for n in near)
    hint = f"the nearest it has: {names}" if near else "and nothing of a similar name"
    return f"flambeau has no {full}; {hint}"


class TorchFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `torch` and all below it in flambeau."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        if fullname != "torch" and not fullname.startswith("torch."):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        real_name = "flambeau" + spec.name.removeprefix("torch")
        try:
            return TorchModule(spec.name, importlib.import_module(real_name))
        except ModuleNotFoundError as error:
            if error.name != real_name and not real_name.startswith(f"{error.name}."):
                raise
        # What is a module of PyTorch's may be a plain attribute, or a module kept elsewhere, of flambeau's.
        parent, _, name = spec.name.rpartition(".")
        held = getattr(sys.modules[parent].__dict__["_real"], name, None)
        if isinstance(held, ModuleType) or spec.name in QUESTIONS:
            return TorchModule(spec.name, held)
        raise ModuleNotFoundError(missing(spec.name, sys.modules[parent].__dict__["_real"]), name=spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def install() -> None:
    """Makes `import torch` give flambeau from now on."""
    if "torch" in sys.modules:
        raise RuntimeError("flambeau run: torch is already imported in this process; start a fresh one")
    sys.meta_path.insert(0, TorchFinder())


def run_script(path: str, arguments: list[str]) -> int:
    """Runs a Python file as the main program, with torch standing for flambeau."""
    if not os.path.isfile(path):
        print(f"flambeau run: there is no file {path!r}", file=sys.stderr)
        return 2
    install()
    sys.argv = [path, *arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    runpy.run_path(path, run_name="__main__")
    return 0
