"""Docstrings that follow from another's: that of `exp_` says what `exp` does and shows it on a tensor in place.

Derived when somebody reads one, so that importing costs nothing. Imports nothing of flambeau but what it is handed.
Read next: `table.py`, which hands ops over.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import re

def in_place(name: str, doc: str) -> str:
    """The docstring of `name_`, from the docstring of the function `name`.

    >>> from flambeau.ops.documents import in_place
    >>> print(in_place("exp", "eˣ.\\n\\n>>> fb.exp(fb.tensor([0.0, 1.0]))\\ntensor([1.0000, 2.7183])\\n"))
    In-place form of `exp`: eˣ.
    <BLANKLINE>
    >>> fb.tensor([0.0, 1.0]).exp_()
    tensor([1.0000, 2.7183])
    """
    doc = inspect.cleandoc(doc)
    summary = doc.split("\n\n")[0]
    said = f"In-place form of `{name}`" + (f": {summary}" if summary and not summary.startswith(">>>") else ".")
    before = ""
    for example in doctest.DocTestParser().get_examples(doc):
        shown = as_method(name, example.source)
        if shown is not None and example.want.startswith("tensor("):
            return f"{said}\n\n{before}>>> {shown}\n{stored(shown, example.want)}"
        if not example.want:
            before += f">>> {example.source}"
    return said


def as_method(name: str, source: str) -> str | None:
    """`fb.exp(x, …)` or `x.exp(…)` as `x.exp_(…)`; None for any other statement."""
    call = ast.parse(source).body[0]
    call = call.value if isinstance(call, ast.Expr) else call
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
        return None
    owner = call.func.value
    target, *rest = call.args if isinstance(owner, ast.Name) and owner.id == "fb" else (owner, *call.args)
    if not isinstance(target, ast.Call | ast.Name):
        return None
    arguments = [*(ast.get_source_segment(source, a) for a in rest)]
    arguments += [ast.get_source_segment(source, k) for k in call.keywords]
    return f"{ast.get_source_segment(source, target)}.{name}_({', '.join(filter(None, arguments))})"


def stored(source: str, want: str) -> str:
    """What is printed where the result goes into the target: bools become numbers, unless it is of bools."""
    if not re.search("True|False", want) or re.match(r"fb\.tensor\(\[+(True|False)", source):
        return want
    numbers = ("1.", "0.") if re.match(r"fb\.tensor\(\[+-?\d+\.", source) else ("1", "0")
    return re.sub(r"\bFalse\b", numbers[1], re.sub(r"\bTrue\b", numbers[0], re.sub(r"(?<=[\[ ]) ", "", want)))
