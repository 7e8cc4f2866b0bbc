"""Hooks in their tables, and the handle that takes one out again: of tensors, nodes, modules and optimizers alike.

Imports nothing. Read next: `engine.py`, `nn/modules/hooks.py`.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from weakref import ref


class RemovableHandle:
    """What registering a hook returns: `remove()` takes the hook away, and so does leaving a `with` block."""

    _ids = itertools.count()

    def __init__(self, *dictionaries: OrderedDict[int, Any]) -> None:
        self.id = next(self._ids)
        self._dictionaries = [ref(d) for d in dictionaries]

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        for dictionary in self._dictionaries:
            hooks = dictionary()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __getstate__(self) -> tuple[int, list[Any]]:
        # The dictionaries themselves, so that a copy of a module and its handle belong together as the originals do.
        return self.id, [dictionary() for dictionary in self._dictionaries]

    def __setstate__(self, state: tuple[int, list[Any]]) -> None:
        self.id, dictionaries = state
        self._dictionaries = [ref(OrderedDict() if d is None else d) for d in dictionaries]
        RemovableHandle._ids = itertools.count(max(self.id + 1, next(self._ids)))

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def add_hook(site: dict[str, OrderedDict], kind: str, hook: Callable[..., Any]) -> RemovableHandle:
    """Puts a hook behind the others of its kind."""
    hooks = site.setdefault(kind, OrderedDict())
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle
