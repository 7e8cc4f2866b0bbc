"""Docstrings that follow from another's: that of `exp_` says what `exp` does and shows it on a tensor in place.

They are derived when somebody reads one, so that importing costs nothing: `Derived` is a function with such a
docstring, and the core's in-place methods ask for theirs. Imports nothing of flambeau.
Read next: `table.py`, `copies.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any


class Derived:
    # A function, or a method of Tensor, whose docstring is made when it is read. It has none itself.
    def __init__(self, name: str, function: Callable[..., Any], doc: Callable[[], str]) -> None:
        self.__name__ = self.__qualname__ = name
        self.__module__ = function.__module__
        self.__wrapped__, self.derive = function, doc

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        return self.derive()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> str:
        return self.__name__


def in_place(name: str, doc: str, method: bool = True) -> str:
    """The docstring of `name_`, a method or a function, from that of the function `name`.

    >>> from flambeau.ops.documents import in_place
    >>> in_place("exp", "eˣ.\\n\\n>>> fb.exp(fb.tensor([0.0, 1.0]))\\ntensor([1.0000, 2.7183])\\n").split("\\n")
    ['In-place form of `exp`: eˣ.', '', '>>> fb.tensor([0.0, 1.0]).exp_()', 'tensor([1.0000, 2.7183])']
    """

    def form(target: str, rest: list[str]) -> str:
        return f"{target}.{name}_({', '.join(rest)})" if method else f"fb.{name}_({', '.join([target, *rest])})"

    said = f"In-place form of `{name}`"
    said += f": {summary(doc)}" if summary(doc) else "."
    for before, shown, want in rewritten(name, doc, form):
        if want.startswith("tensor("):
            return f"{said}\n\n{before}>>> {shown}\n{stored(shown, want).rstrip()}"
    return said


def copied(name: str, doc: str) -> str:
    """The docstring of the function `name_copy`, from that of the function or method `name`.

    >>> from flambeau.ops.documents import copied
    >>> copied("view", "Another shape.\\n\\n>>> fb.tensor([[1, 2]]).view((2,))\\ntensor([1, 2])\\n").split("\\n")[2]
    '>>> fb.view_copy(fb.tensor([[1, 2]]), (2,))'
    """

    def form(target: str, rest: list[str]) -> str:
        return f"fb.{name}_copy({', '.join([target, *rest])})"

    said = f"`{name}`, with memory of its own: {summary(doc)}"
    if f"fb.{name}_copy(" in doc:
        return said + unindented(doc)[len(summary(doc)) :]
    for before, shown, want in rewritten(name, doc, form):
        return f"{said}\n\n{before}>>> {shown}\n{want.rstrip()}"
    return said


def summary(doc: str) -> str:
    """The opening paragraph."""
    first = unindented(doc).split("\n\n")[0]
    return "" if first.startswith(">>>") else first


def unindented(doc: str) -> str:
    from inspect import cleandoc

    return cleandoc(doc)


def rewritten(name: str, doc: str, form: Callable[[str, list[str]], str]) -> Iterator[tuple[str, str, str]]:
    """(statements before, the call in another form, what it prints) for each example that calls `name`."""
    import doctest

    before = ""
    for example in doctest.DocTestParser().get_examples(unindented(doc)):
        parts = call(name, example.source)
        if parts is not None and example.want:
            yield before, form(*parts), example.want
        elif not example.want:
            before += f">>> {example.source}"


def call(name: str, source: str) -> tuple[str, list[str]] | None:
    """The first argument of `fb.exp(x, …)` or `x.exp(…)`, and the others; None for any other statement."""
    import ast

    found = ast.parse(source).body[0]
    value = found.value if isinstance(found, ast.Expr) else None
    if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == name):
        return None
    owner = value.func.value  # `fb`, `fb.special`, or a tensor
    in_module = isinstance(owner, ast.Attribute) or (isinstance(owner, ast.Name) and owner.id == "fb")
    target, *rest = value.args if in_module else (owner, *value.args)
    if not isinstance(target, ast.Call | ast.Name):
        return None
    pieces = [ast.get_source_segment(source, piece) or "" for piece in [target, *rest, *value.keywords]]
    return pieces[0], pieces[1:]


def stored(source: str, want: str) -> str:
    """What is printed where the result goes into the target: bools become numbers, unless it is of bools."""
    if not re.search("True|False", want) or re.match(r"fb\.tensor\(\[+(True|False)", source):
        return want
    numbers = ("1.", "0.") if re.match(r"fb\.tensor\(\[+-?\d+\.", source) else ("1", "0")
    return re.sub(r"\bFalse\b", numbers[1], re.sub(r"\bTrue\b", numbers[0], re.sub(r"(?<=[\[ ]) ", "", want)))
