"""Classes and functions that a program vouches for, so that `load` may make and call them though it trusts no file.

The table is the process's. Files have PyTorch's names: `flambeau.nn.X` is found as `torch.nn.X` too. Imports the
pickle reader. Read next: `pickles.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from .pickles import Name

Trusted = Callable | tuple[Callable, str]

trusted: dict[str, Callable] = {}


def paths(entry: Trusted) -> list[tuple[str, Callable]]:
    """The names a file may have for an entry."""
    if isinstance(entry, tuple) and len(entry) == 2 and callable(entry[0]) and isinstance(entry[1], str):
        return [(entry[1], entry[0])]
    if not callable(entry) or not hasattr(entry, "__qualname__"):
        raise TypeError(
            f"add_safe_globals: expected classes and functions, or pairs of one and its dotted path, got {entry!r}"
        )
    path = f"{entry.__module__}.{entry.__qualname__}"
    ours = path.startswith("flambeau.")
    return [(path, entry), (f"torch.{path.removeprefix('flambeau.')}", entry)] if ours else [(path, entry)]


def add_safe_globals(safe_globals: Sequence[Trusted]) -> None:
    """Lets files name these classes and functions: `load` makes objects of them as pickle would.

    safe_globals: classes and functions, or pairs of one and the dotted path that files have for it. Raises TypeError
    for anything else, before any is added. Add only what does no harm whatever arguments a file gives it.

    >>> from fractions import Fraction
    >>> fb.serialization.add_safe_globals([Fraction])
    >>> fb.serialization.get_safe_globals() == [Fraction]
    True
    >>> fb.serialization.clear_safe_globals()
    """
    trusted.update([pair for entry in safe_globals for pair in paths(entry)])


def get_safe_globals() -> list[Trusted]:
    """What has been added, in that order: pairs where the path isn't the object's own.

    >>> fb.serialization.get_safe_globals()
    []
    """
    own = {path for thing in trusted.values() if hasattr(thing, "__qualname__") for path, _ in paths(thing)}
    plain = list(dict.fromkeys(thing for path, thing in trusted.items() if path in own))
    return [*plain, *((thing, path) for path, thing in trusted.items() if path not in own)]


def clear_safe_globals() -> None:
    """Forgets all that was added.

    >>> fb.serialization.clear_safe_globals()
    """
    trusted.clear()


@contextmanager
def safe_globals(safe_globals: Sequence[Trusted]) -> Iterator[None]:
    """add_safe_globals for a region.

    >>> from fractions import Fraction
    >>> with fb.serialization.safe_globals([Fraction]):
    ...     len(fb.serialization.get_safe_globals())
    1
    """
    before = dict(trusted)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        trusted.clear()
        trusted.update(before)


def names() -> dict[str, Name]:
    return {path: Name(path, thing, thing, vouched=True) for path, thing in trusted.items()}
