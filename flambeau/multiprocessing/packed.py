"""A long list of plain values as one block of bytes, which processes share: 10⁷ strings, held once.

A list of Python objects can't be shared: each reading writes the object's reference count, so that every process ends
up with a copy of its own. Here each item is a few bytes (`marshal`) and becomes an object when it is asked for.
Imports core. Read next: `cargo.py`.
"""

from __future__ import annotations

import itertools
import marshal
from array import array
from collections.abc import Iterable, Iterator, MutableSequence
from typing import Any, SupportsIndex

from ..core._core import SharedMemory

PLAIN = frozenset((str, bytes, int, float, bool, complex, type(None)))
LONG = 10_000  # items from which a list is worth it
CHUNK = 65_536  # items packed at a time
FORMAT = 2  # the version of marshal without references between objects, so that each item stands alone


def is_plain(x: Any) -> bool:
    kind = type(x)
    return kind in PLAIN or (kind is tuple and all(map(is_plain, x)))


def packable(items: list) -> bool:
    """Whether a list is long, and all its items are values that can't be told from a copy of theirs."""
    return len(items) >= LONG and all(map(is_plain, items))


class PackedList(MutableSequence):
    """What a list of strings, numbers and tuples of them is in a worker process; reads and writes like the list.

    Reading makes the item anew. The first change makes it an ordinary list, in this process.

    >>> from flambeau.multiprocessing.packed import PackedList
    >>> names = PackedList(f"image-{i}.png" for i in range(3))
    >>> names[-1], names == ["image-0.png", "image-1.png", "image-2.png"]
    ('image-2.png', True)
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, items: Iterable[Any]) -> None:
        self.changed: list | None = None
        self.length, self.memory = pack(items)
        self.open()

    def open(self) -> None:
        block = memoryview(self.memory)
        count = (self.length + 1) * 8
        self.ends, self.data = block[:count].cast("q"), block[count:]

    @classmethod
    def over(cls, length: int, memory: SharedMemory) -> PackedList:
        """The list that another process packed."""
        self = cls.__new__(cls)
        self.changed, self.length, self.memory = None, length, memory
        self.open()
        return self

    def item(self, i: int) -> Any:
        return marshal.loads(self.data[self.ends[i] : self.ends[i + 1]])

    def __len__(self) -> int:
        return self.length if self.changed is None else len(self.changed)

    def __getitem__(self, index: Any) -> Any:
        if self.changed is not None:
            return self.changed[index]
        if isinstance(index, slice):
            return [self.item(i) for i in range(*index.indices(self.length))]
        i = index.__index__()
        i += self.length if i < 0 else 0
        if not 0 <= i < self.length:
            raise IndexError("list index out of range")
        return self.item(i)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.changed) if self.changed is not None else map(self.item, range(self.length))

    def ordinary(self) -> list:
        if self.changed is None:
            self.changed = list(self)
        return self.changed

    def __setitem__(self, index: Any, value: Any) -> None:
        self.ordinary()[index] = value

    def __delitem__(self, index: Any) -> None:
        del self.ordinary()[index]

    def insert(self, index: SupportsIndex, value: Any) -> None:
        self.ordinary().insert(index, value)

    def sort(self, *, key: Any = None, reverse: bool = False) -> None:
        self.ordinary().sort(key=key, reverse=reverse)

    def copy(self) -> list:
        return list(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, list | PackedList):
            return NotImplemented
        return len(self) == len(other) and all(map(lambda a, b: a == b, self, other))

    def __add__(self, other: Iterable[Any]) -> list:
        return [*self, *other]

    def __radd__(self, other: Iterable[Any]) -> list:
        return [*other, *self]

    def __mul__(self, count: int) -> list:
        return list(self) * count

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return repr(list(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def pack(items: Iterable[Any]) -> tuple[int, SharedMemory]:
    """(how many, a block of where each item ends and the items' bytes)."""
    pieces, ends = [], array("q", (0,))
    rest = iter(items)
    while chunk := [marshal.dumps(x, FORMAT) for x in itertools.islice(rest, CHUNK)]:
        total = ends.pop()
        ends.extend(itertools.accumulate(map(len, chunk), initial=total))
        pieces.append(b"".join(chunk))
    memory = SharedMemory(8 * len(ends) + ends[-1])
    block, at = memoryview(memory), 0
    for piece in (ends.tobytes(), *pieces):
        block[at : at + len(piece)] = piece
        at += len(piece)
    return len(ends) - 1, memory
