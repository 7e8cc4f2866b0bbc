"""Writes docs/reference/api/: one page for each namespace, made from the docstrings.

    python docs/api.py               # or `make docs`; tests/test_api_reference.py looks whether a page lacks a name

What a page shows of a name is its signature and its docstring, examples included, which tests/test_doctests.py runs.
"""

from __future__ import annotations

import importlib
import inspect
import pathlib
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

DECORATED = property | classmethod | staticmethod
FOLDER = pathlib.Path(__file__).resolve().parent / "reference" / "api"

# Namespace -> what it is; the order is that of the index.
NAMESPACES = {
    "flambeau": "Tensors, their creation, and the functions on them.",
    "flambeau.Tensor": "The methods and properties of a tensor.",
    "flambeau.linalg": "Linear algebra: factors, spectra, solving, norms.",
    "flambeau.fft": "Discrete Fourier transforms.",
    "flambeau.special": "Special functions.",
    "flambeau.signal.windows": "Windows for spectra.",
    "flambeau.sparse": "Sparse tensors.",
    "flambeau.autograd": "Differentiation: backward, grad, modes, custom functions, checks.",
    "flambeau.autograd.forward_ad": "Forward-mode differentiation.",
    "flambeau.autograd.functional": "Jacobians, Hessians and products with them.",
    "flambeau.autograd.graph": "The tape: its nodes, and hooks on what they save.",
    "flambeau.func": "Transformations of functions: grad, vmap, jvp, jacobians.",
    "flambeau.nn": "Modules: layers, losses, containers.",
    "flambeau.nn.functional": "What modules compute, as functions.",
    "flambeau.nn.attention": "Which kernels attention may use.",
    "flambeau.nn.attention.bias": "Causal masks.",
    "flambeau.nn.attention.flex_attention": "Attention whose scores a program changes.",
    "flambeau.nn.init": "How parameters begin.",
    "flambeau.nn.utils": "Clipping, reparametrizations, fusion, parameters as one vector.",
    "flambeau.nn.utils.rnn": "Sequences of different lengths, padded and packed.",
    "flambeau.nn.utils.parametrize": "Parameters that are functions of others.",
    "flambeau.nn.utils.parametrizations": "Weights of norm one, of spectral norm one, orthogonal.",
    "flambeau.nn.utils.prune": "Weights set to zero and kept there.",
    "flambeau.optim": "Optimizers.",
    "flambeau.optim.lr_scheduler": "Schedules of the learning rate.",
    "flambeau.optim.swa_utils": "Averages of weights.",
    "flambeau.amp": "Mixed precision: autocast and scaled gradients.",
    "flambeau.utils.checkpoint": "Memory for time: parts that are computed again when their gradients are asked for.",
    "flambeau.utils.data": "Data sets, samplers, loaders.",
    "flambeau.multiprocessing": "Processes that share tensors.",
    "flambeau.distributions": "Probability distributions.",
    "flambeau.metrics": "How good predictions are.",
    "flambeau.serialization": "Files of tensors.",
    "flambeau.testing": "What tests of tensors need.",
    "flambeau.random": "Seeds and states of random numbers.",
    "flambeau.profiler": "Where a program's time goes.",
    "flambeau.utils.benchmark": "How long a statement takes.",
    "flambeau.utils.flop_counter": "How many operations a program's products take.",
    "flambeau.library": "Operations of a program's own.",
    "flambeau.overrides": "Classes and regions that give functions another meaning.",
    "flambeau.futures": "Results that come later.",
}

# Subpackages without a page -> why.
APART = {
    "flambeau.array_api": "The names above under the rules of the Python array API standard, which documents them.",
    "flambeau.signal": "Only its part has names: see `flambeau.signal.windows`.",
    "flambeau.types": "Its names are flambeau's own: finfo, iinfo, FloatTensor and its kin.",
    "flambeau.utils": "Only its parts have names: see their pages.",
    "flambeau.ir": "How kernels are written down; not for programs. See `docs/architecture.md`.",
    "flambeau.cli": "The `flambeau` command: `flambeau --help`.",
    "flambeau.version": "The version, as programs ask for PyTorch's.",
    "flambeau.accelerator, backends, cpu, cuda, mps, xpu": "Stand-ins for devices, so that programs can ask for them: "
    "what would need one raises an error that says so.",
    "flambeau.compiler, jit, onnx, distributed, hub": "Stand-ins for what isn't there yet, so that programs can be "
    "imported: each name says what it does, or what is missing.",
}


def resolve(namespace: str) -> Any:
    if namespace == "flambeau.Tensor":
        return importlib.import_module("flambeau").Tensor
    return importlib.import_module(namespace)


def members(namespace: str) -> Iterator[tuple[str, Any]]:
    """(name, thing) of what a namespace offers, in alphabetical order; constants and modules are left out."""
    owner = resolve(namespace)
    for name in sorted(getattr(owner, "__all__", None) or dir(owner), key=lambda n: (n.lower(), n)):
        if name.startswith("_"):
            continue
        thing = getattr(owner, name)  # loads what loads late
        if inspect.isclass(owner):
            yield name, inspect.getattr_static(owner, name)
        elif callable(thing) and not isinstance(thing, ModuleType) and home(thing).split(".")[0] in ("flambeau", ""):
            yield name, thing


def constants(namespace: str) -> list[str]:
    """`name`: value, for what a module offers that isn't called: dtypes, layouts, numbers."""
    owner = resolve(namespace)
    named = [] if inspect.isclass(owner) else sorted(getattr(owner, "__all__", None) or ())
    values = [(name, getattr(owner, name)) for name in named if not name.startswith("_")]
    plain = [(n, v) for n, v in values if not callable(v) and not isinstance(v, ModuleType) and " at 0x" not in repr(v)]
    return [f"`{n}` = `{v!r}`" for n, v in plain]


def home(thing: Any) -> str:
    return getattr(thing, "__module__", "") or ""


def signature(thing: Any, method: bool = False) -> str:
    """(x, dim=None) of a function, without self of a method; empty for a property and where Python can't tell."""
    thing = getattr(thing, "op", thing)  # of an in-place method, that of its op
    if isinstance(thing, property) or inspect.isgetsetdescriptor(thing) or isinstance(thing, type) and hidden(thing):
        return ""
    definition = getattr(thing, "definition", None)
    if hasattr(definition, "attributes"):
        named = thing.parameters[: thing.nin]
        parameters = [*named, *(f"{name}={value!r}" for name, value in definition.attributes.items())]
        return f"({', '.join(parameters[method:])})"
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return "(…)"
    given = [p.replace(annotation=plain(p.annotation)) for p in found.parameters.values()]
    named_first = bool(given) and given[0].kind is not inspect.Parameter.VAR_POSITIONAL
    text = str(inspect.Signature(given[method and named_first :]))
    return re.sub(r"<([\w.]+)[^<>]*>", r"\1", text)


def hidden(kind: type) -> bool:
    """Whether a class's constructor is its base's, and no more than (*args, **kwargs)."""
    try:
        return set(inspect.signature(kind).parameters) <= {"args", "kwargs"}
    except (TypeError, ValueError):
        return True


def plain(annotation: Any) -> Any:
    """An annotation that is shown without quotes."""
    return type("Text", (), {"__repr__": lambda self: annotation})() if isinstance(annotation, str) else annotation


def docstring(thing: Any) -> str:
    return inspect.getdoc(thing) or ""


def linkless(text: str) -> str:
    """References to other names as code; what looks like a link and is none, escaped."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("](", "]\\(")


def markdown(doc: str) -> str:
    """A docstring as Markdown: examples become code blocks, arguments a list."""
    blocks = []
    for block in re.split(r"\n\s*\n", textwrap.dedent(doc)):
        block = textwrap.dedent(block)
        if block.lstrip().startswith(">>>"):
            blocks.append(f"```python\n{block}\n```")
            continue
        block = linkless(block)
        if match := re.match(r"(Args|Raises|Returns):\n", block):
            rest = textwrap.dedent(block[match.end() :])
            rest = re.sub(r"^(\*{0,2}\w[\w.]*(?:, \w[\w.]*)*):", r"- `\1`:", rest, flags=re.M)
            block = f"{match.group(1)}:\n\n{rest}"
        blocks.append(block)
    return "\n\n".join(blocks)


def methods(thing: Any, shown: set[type]) -> list[str]:
    """One line for each documented method of a class, but those of bases that are `shown` by themselves."""
    if not inspect.isclass(thing) or thing.__name__ in ("Tensor", "SparseTensor"):
        return []
    lines = {}
    for base in reversed(thing.__mro__):
        if not home(base).startswith("flambeau") or (base in shown and base is not thing):
            continue
        for name, member in vars(base).items():
            doc = getattr(member, "__doc__", None)
            if name.startswith("_") or not doc or not (callable(member) or isinstance(member, DECORATED)):
                continue
            inner = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            summary = linkless(" ".join(inspect.cleandoc(doc).split("\n\n")[0].split()))
            lines[name] = f"- `{name}{signature(inner, not isinstance(member, staticmethod))}`: {summary}"
    return ["Methods:", "", *(lines[name] for name in sorted(lines)), ""] if lines else []


def entry(name: str, thing: Any, first: str | None, method: bool, shown: set[type]) -> list[str]:
    """What a page says of a name; `first` is the name under which the same thing was shown."""
    if first is not None:
        return [f"### {name}", "", f"Another name of `{first}`.", ""]
    line = f"`{name}{signature(thing, method)}`"
    return [f"### {name}", "", line, "", markdown(docstring(thing)), "", *methods(thing, shown)]


def anchors(names: list[str]) -> list[str]:
    """Where headings can be linked to, as GitHub counts them: T and t are #t and #t-1."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        low = name.lower()
        found.append(f"#{low}-{seen[low]}" if low in seen else f"#{low}")
        seen[low] = seen.get(low, 0) + 1
    return found


def page(namespace: str) -> str:
    entries = list(members(namespace))
    names = [name for name, _ in entries]
    lines = [f"# {namespace}", "", NAMESPACES[namespace], "", "Made by `docs/api.py` from the docstrings.", ""]
    lines += [" · ".join(f"[{n}]({anchor})" for n, anchor in zip(names, anchors(names), strict=True)), ""]
    # A thing with several names is shown under its own.
    own = {id(thing): name for name, thing in entries if getattr(thing, "__name__", name) == name}
    shown = {thing for _, thing in entries if inspect.isclass(thing)}
    for name, thing in entries:
        known = own.setdefault(id(thing), name)
        lines += entry(name, thing, known if known != name else None, namespace == "flambeau.Tensor", shown)
    if fixed := constants(namespace):
        lines += ["## Constants", "", " · ".join(fixed), ""]
    return "\n".join(line.rstrip() for line in "\n".join(lines).split("\n")).rstrip() + "\n"


def pages() -> dict[str, str]:
    """File name -> text, the index included."""
    found = {f"{namespace}.md": page(namespace) for namespace in NAMESPACES}
    index = ["# API reference", "", "Made by `docs/api.py` from the docstrings.", ""]
    index += [f"- [{namespace}]({namespace}.md): {what}" for namespace, what in NAMESPACES.items()]
    index += ["", "Without a page:", "", *(f"- {namespace}: {why}" for namespace, why in APART.items())]
    return {"index.md": "\n".join(index) + "\n", **found}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
