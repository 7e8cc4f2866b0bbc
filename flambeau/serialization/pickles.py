"""A pickle reader that executes nothing: opcodes are interpreted here, and names stand for entries of an allow-list.

`pickle.load` imports whatever a file names and calls it. Here a name that isn't in the caller's table is an error, what
is in the table is a plain function of ours, and only plain data is ever built. Containers are as large as the bytes
that describe them: lengths are checked, and dictionary keys are scalars or short flat tuples, as hashing a tuple that
shares its parts in depth could take forever. Opcodes: the standard library's `pickletools`. Read next: `pytorch.py`.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from .tensors import FormatError

MARK = object()
SCALARS = (str, int, float, bool, bytes, type(None))


class Name:
    """A global that the file mentions, and what it may do: be called with arguments, or stand for a value.

    vouched: the program answers for it, so that objects of the class are made and filled as pickle does it.
    """

    def __init__(
        self, path: str, call: Callable[..., Any] | None = None, value: Any = None, vouched: bool = False
    ) -> None:
        self.path, self.call, self.value, self.vouched = path, call, value, vouched


class Unpickler:
    """Reads one pickle from `data` at `at`; afterwards `at` is one past its end.

    names: allowed globals by dotted path. persistent: what to make of a persistent id (a tensor's storage).
    """

    def __init__(
        self, data: bytes, names: Mapping[str, Name], persistent: Callable[[Any], Any], where: str, at: int = 0
    ) -> None:
        self.data, self.names, self.persistent, self.where, self.at = data, names, persistent, where, at
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.vouched = tuple(n.value for n in names.values() if n.vouched and isinstance(n.value, type))

    def error(self, what: str) -> FormatError:
        return FormatError(f"load: {self.where}: {what}; nothing of it was executed")

    def load(self) -> Any:
        try:
            while True:
                code = self.take(1)[0]
                if code == 0x2E:  # STOP
                    return self.plain(self.stack.pop())
                handler = OPCODES.get(code)
                if handler is None:
                    raise self.error(f"opcode {chr(code)!r} at byte {self.at - 1} has no place in a checkpoint")
                handler(self)
        except FormatError:
            raise
        except (IndexError, KeyError, TypeError, ValueError, OverflowError, AttributeError, struct.error) as error:
            raise self.error(f"malformed pickle at byte {self.at}: {type(error).__name__}: {error}") from error

    # Reading

    def take(self, n: int) -> bytes:
        end = self.at + n
        if n < 0 or end > len(self.data):
            raise self.error(f"truncated pickle: {n} bytes wanted at byte {self.at} of {len(self.data)}")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def unsigned(self, n: int) -> int:
        return int.from_bytes(self.take(n), "little")

    def line(self) -> str:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise self.error("truncated pickle: a line has no end")
        return self.take(end + 1 - self.at)[:-1].decode()

    # The stack

    def push(self, x: Any) -> None:
        self.stack.append(x)

    def plain(self, x: Any) -> Any:
        """x as a value: a name that stands for one becomes it, and any other name is no data."""
        if isinstance(x, Name):
            if x.value is None:
                raise self.error(f"{x.path} stands where data is expected")
            return x.value
        if x is MARK:
            raise self.error("a mark stands where data is expected")
        return x

    def pop(self) -> Any:
        return self.plain(self.stack.pop())

    def to_mark(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is MARK:
                items = [self.plain(x) for x in self.stack[i + 1 :]]
                del self.stack[i:]
                return items
        raise self.error("a mark is missing")

    def top(self, *kinds: type) -> Any:
        x = self.stack[-1]
        if type(x) not in kinds and not (type(x) in self.vouched and isinstance(x, kinds)):
            raise self.error(f"a {type(x).__name__} where a {kinds[0].__name__} is expected")
        return x

    # What the opcodes do

    def find(self, path: str) -> None:
        name = self.names.get(path)
        if name is None:
            raise self.error(
                f"names {path!r}, which isn't among what checkpoints of tensors need (from a file you trust, "
                "weights_only=False takes it; serialization.add_safe_globals allows a harmless class by itself)"
            )
        self.push(name)

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        self.find(f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "?")

    def reduce(self) -> None:
        args, function = self.pop(), self.stack.pop()
        if not isinstance(function, Name) or function.call is None or type(args) is not tuple:
            raise self.error(f"calls {getattr(function, 'path', type(function).__name__)}")
        self.push(function.call(*args))

    def make(self) -> None:
        """An object without its initialiser where the program vouches for the class; otherwise a call."""
        if isinstance(self.stack[-2], Name) and self.stack[-2].vouched:
            args, name = self.pop(), self.stack.pop()
            self.push(name.value.__new__(name.value, *args))
        else:
            self.reduce()

    def build(self) -> None:
        """Attributes: PyTorch gives a module's state dict a `_metadata`; else only what is vouched for has any."""
        state = self.pop()
        if type(self.stack[-1]) in self.vouched:
            return fill(self.stack[-1], state)
        target = self.top(OrderedDict)
        if type(state) is not dict or set(state) - {"_metadata"}:
            raise self.error("sets attributes other than a state dict's _metadata")
        target.__dict__.update(state)

    def hashable(self, key: Any) -> Any:
        flat = type(key) is tuple and len(key) <= 16 and all(isinstance(x, SCALARS) for x in key)
        if isinstance(key, SCALARS) or flat or (type(key).__hash__ is not None and type(key) is not tuple):
            return key
        raise self.error(f"a {type(key).__name__} can't be a key here")

    def set_items(self, items: list[Any]) -> None:
        target = self.top(dict, OrderedDict, Counter)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self.hashable(key)] = value

    def memoize(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def long(self, n: int) -> int:
        return int.from_bytes(self.take(n), "little", signed=True)

    def text(self, n: int) -> str:
        return self.take(n).decode("utf-8", "surrogatepass")

    def decimal(self) -> Any:
        text = self.line()
        if text in ("00", "01"):
            return text == "01"
        if len(text) > 4000:
            raise self.error("a number of more than 4000 digits")
        return int(text.removesuffix("L"))


def fill(thing: Any, state: Any) -> None:
    """What pickle does with an object's state."""
    if hasattr(thing, "__setstate__"):
        thing.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if attributes:
        thing.__dict__.update(attributes)
    for name, value in (slots or {}).items():
        setattr(thing, name, value)


def tuple_of(n: int) -> Callable[[Unpickler], None]:
    def handler(p: Unpickler) -> None:
        items = [p.pop() for _ in range(n)]
        p.push(tuple(reversed(items)))

    return handler


U = Unpickler
OPCODES: dict[int, Callable[[Unpickler], Any]] = {
    # protocol, framing, memo
    0x80: lambda p: p.take(1), 0x95: lambda p: p.take(8),
    ord("q"): lambda p: p.memoize(p.unsigned(1)), ord("r"): lambda p: p.memoize(p.unsigned(4)),
    ord("p"): lambda p: p.memoize(int(p.line())), 0x94: lambda p: p.memoize(len(p.memo)),
    ord("h"): lambda p: p.push(p.memo[p.unsigned(1)]), ord("j"): lambda p: p.push(p.memo[p.unsigned(4)]),
    ord("g"): lambda p: p.push(p.memo[int(p.line())]),
    # the stack
    ord("("): lambda p: p.push(MARK), ord("0"): lambda p: p.stack.pop(), ord("1"): U.to_mark,
    ord("2"): lambda p: p.push(p.stack[-1]),
    # scalars
    ord("N"): lambda p: p.push(None), 0x88: lambda p: p.push(True), 0x89: lambda p: p.push(False),
    ord("K"): lambda p: p.push(p.unsigned(1)), ord("M"): lambda p: p.push(p.unsigned(2)),
    ord("J"): lambda p: p.push(p.long(4)), 0x8A: lambda p: p.push(p.long(p.unsigned(1))),
    0x8B: lambda p: p.push(p.long(p.unsigned(4))), ord("I"): lambda p: p.push(p.decimal()),
    ord("L"): lambda p: p.push(p.decimal()), ord("F"): lambda p: p.push(float(p.line())),
    ord("G"): lambda p: p.push(struct.unpack(">d", p.take(8))[0]),
    # strings and bytes
    ord("X"): lambda p: p.push(p.text(p.unsigned(4))), 0x8C: lambda p: p.push(p.text(p.unsigned(1))),
    0x8D: lambda p: p.push(p.text(p.unsigned(8))),
    ord("U"): lambda p: p.push(p.text(p.unsigned(1))), ord("T"): lambda p: p.push(p.text(p.unsigned(4))),
    ord("C"): lambda p: p.push(p.take(p.unsigned(1))), ord("B"): lambda p: p.push(p.take(p.unsigned(4))),
    0x8E: lambda p: p.push(p.take(p.unsigned(8))), 0x96: lambda p: p.push(bytearray(p.take(p.unsigned(8)))),
    # containers
    ord("]"): lambda p: p.push([]), ord("l"): lambda p: p.push(p.to_mark()),
    ord("a"): lambda p: (x := p.pop(), p.top(list).append(x)),
    ord("e"): lambda p: (x := p.to_mark(), p.top(list).extend(x)),
    ord(")"): lambda p: p.push(()), ord("t"): lambda p: p.push(tuple(p.to_mark())),
    0x85: tuple_of(1), 0x86: tuple_of(2), 0x87: tuple_of(3),
    ord("}"): lambda p: p.push({}), ord("d"): lambda p: (x := p.to_mark(), p.push({}), p.set_items(x)),
    ord("s"): lambda p: (x := [p.pop(), p.pop()], p.set_items(x[::-1])),
    ord("u"): lambda p: (x := p.to_mark(), p.set_items(x)),
    0x8F: lambda p: p.push(set()), 0x91: lambda p: p.push(frozenset(map(p.hashable, p.to_mark()))),
    0x90: lambda p: (x := p.to_mark(), p.top(set).update(map(p.hashable, x))),
    # names, calls, storages
    ord("c"): lambda p: p.find(f"{p.line()}.{p.line()}"), 0x93: U.stack_global,
    ord("R"): U.reduce, 0x81: U.make, ord("b"): U.build, ord("Q"): lambda p: p.push(p.persistent(p.pop())),
}  # fmt: skip
