"""`torch` as a name for flambeau: a finder at the head of sys.meta_path answers for it and everything below it.

A PyTorch that is installed is never touched. A name that flambeau hasn't got raises an error that names it, the line
that asked and the nearest names there are; a program that only probes (hasattr, find_spec) finds it absent. Imports
flambeau when asked. Read next: `run.py`, which starts programs; `children.py`, how their processes get the names too.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

from . import places

ROOTS = {"torch": "flambeau", "functorch": "flambeau.func"}
MIRRORED = "2.13.0"  # the PyTorch whose API this is


def version() -> str:
    """What torch.__version__ says: programs compare it, and readers see who answers."""
    import flambeau

    return f"{MIRRORED}+flambeau{flambeau.__version__}"


def real_name(name: str) -> str:
    root, dot, rest = name.partition(".")
    return ROOTS[root] + dot + rest


class AbsentDtype:
    """A dtype that programs mention, and no tensor has: whatever takes a dtype refuses it with a TypeError."""

    is_complex = is_signed = False

    def __init__(self, name: str) -> None:
        self.name, self.is_floating_point = name, name.startswith("float")

    def to_real(self) -> AbsentDtype:
        return self

    def __repr__(self) -> str:
        return f"torch.{self.name}"


DTYPES = ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2"]
DTYPES += ["complex32", "chalf", "qint8", "quint8", "qint32"]


class Absent(AttributeError):
    """A name that flambeau hasn't got; the words are found when somebody reads them, for most who ask only probe."""

    def __init__(self, full: str, real: ModuleType | None) -> None:
        super().__init__(full)
        self.full, self.real, self.line = full, real, asking()

    def __str__(self) -> str:
        return missing(self.full, self.real, self.line)


class TorchModule(ModuleType):
    """`torch`, or one of its submodules, as a view of flambeau's."""

    def __init__(self, name: str, real: ModuleType) -> None:
        super().__init__(name, real.__doc__)
        self.__dict__.update(_real=real, __path__=[])
        if (file := getattr(real, "__file__", None)) is not None:
            self.__file__ = file
        if name == "torch":
            self.__version__ = version()
            self.__dict__.update({dtype: AbsentDtype(dtype) for dtype in DTYPES if not hasattr(real, dtype)})
        if hasattr(real, "__all__"):
            self.__all__ = real.__all__

    def __getattr__(self, name: str) -> Any:
        real = self.__dict__["_real"]
        full = f"{self.__name__}.{name}"
        try:
            value = getattr(real, name)
        except AttributeError:
            if name.startswith("__"):
                raise AttributeError(name) from None
            if place(full) in places.PLACES:
                return importlib.import_module(full)
            try:
                value = places.lookup(place(self.__name__), name)
            except AttributeError:
                raise Absent(full, real) from None
        if isinstance(value, ModuleType) and value.__name__.startswith("flambeau."):
            return importlib.import_module(full)
        if not hasattr(type(real), name):  # a property of the module is asked anew each time
            self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        """Flags of a module (backends.cudnn.benchmark) are flambeau's own."""
        super().__setattr__(name, value)
        real = self.__dict__.get("_real")
        if real is not None and name in real.__dict__ and name[:2] != "__" and not isinstance(value, ModuleType):
            setattr(real, name, value)

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *dir(self.__dict__["_real"])})


def asking() -> str:
    """The line of the program that asked, as " (script.py:3)"."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.partition(".")[0] not in ("flambeau", "importlib") and "importlib" not in frame.f_code.co_filename:
            return f" (asked for at {frame.f_code.co_filename}:{frame.f_lineno})"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def missing(full: str, real: ModuleType | None, line: str) -> str:
    """What to say about a name that isn't there."""
    parent, _, name = full.rpartition(".")
    below = (module.name for module in pkgutil.iter_modules(getattr(real, "__path__", [])))
    public = [n for n in {*dir(real), *below} if not n.startswith("_")] if real is not None else []
    near = difflib.get_close_matches(name, sorted(public), n=3, cutoff=0.6)
    names = ", ".join(f"{parent}.{n}" for n in near)
    hint = f"the nearest it has: {names}" if near else "and nothing of a similar name"
    return f"flambeau has no {full}{line}; {hint}"


def found(name: str) -> ModuleType | None:
    """flambeau's module for a name of PyTorch's: of the same place, or kept elsewhere and known there by that name, or
    made up of what `places.py` says."""
    real, listed = real_name(name), places.names(place(name))
    if "*" in listed:
        return importlib.import_module(listed["*"][0])
    try:
        return importlib.import_module(real)
    except ModuleNotFoundError as error:
        if error.name != real and not real.startswith(f"{error.name}."):
            raise
    parent, _, last = name.rpartition(".")
    held = getattr(importlib.import_module(parent).__dict__["_real"], last, None)
    if isinstance(held, ModuleType):
        return held
    return ModuleType(real, "Names that flambeau keeps elsewhere.") if place(name) in places.PLACES else None


def place(name: str) -> str:
    """A module's name below `torch`."""
    root, _, below = name.partition(".")
    return below if root == "torch" else name


class Metadata(importlib.metadata.Distribution):
    """What importlib.metadata says of an installed torch."""

    def read_text(self, filename: str) -> str | None:
        return {
            "METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {version()}\n",
            "top_level.txt": "\n".join(ROOTS),
        }.get(filename)

    def locate_file(self, path: Any) -> Any:
        from pathlib import Path

        return Path(__file__).parent.parent / path


class TorchFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `torch` and all below it in flambeau."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        root, _, below = fullname.partition(".")
        if root not in ROOTS:
            return None
        real = found(fullname) if below else importlib.import_module(ROOTS[root])
        if real is None:
            if sys._getframe(2).f_globals.get("__name__") == "importlib.util":
                return None  # find_spec() probes, and doesn't import
            parent = fullname.rpartition(".")[0]
            raise ModuleNotFoundError(missing(fullname, sys.modules[parent].__dict__["_real"], asking()))
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=getattr(real, "__file__", None), is_package=True)
        spec.loader_state = real
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return TorchModule(spec.name, spec.loader_state)

    def exec_module(self, module: ModuleType) -> None:
        pass

    def find_distributions(self, context: Any = None) -> Iterable[Metadata]:
        name = getattr(context, "name", None)
        return [Metadata()] if name is None or name == "torch" else []


def install() -> None:
    """Makes `import torch` give flambeau from now on."""
    if any(isinstance(finder, TorchFinder) for finder in sys.meta_path):
        return
    if "torch" in sys.modules:
        raise RuntimeError("flambeau run: torch is already imported in this process; start a fresh one")
    sys.meta_path.insert(0, TorchFinder())
    from ..core import _core

    _core.set_package_name("torch")
