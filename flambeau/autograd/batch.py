"""Batch: the Interpreter behind vmap. What differs from sample to sample is one tensor with a hidden dimension.

Programs see a tensor of one sample's shape, a stand-in; tied to it is the physical tensor, which has the samples in
front and on which operations run, at the level below, where the tape and other interpreters find them. A stand-in lies
over the first sample's memory, so that whatever is made over the same memory beside operations (`detach`, raw views)
can be led back to the physical one. How each operation runs on physical tensors stands in `batch_rules.py`.
Imports core, ops. Read next: `batch_rules.py`; `func/mapping.py`, who asks; `core/interpreters.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from ..core import _core
from ..core._core import Call, Effect, Tensor, new_empty, raw_view
from ..core.interpreters import Interpreter, stack

RANDOMNESS = ("error", "different", "same")
TIE = "_physical"  # the attribute of a stand-in: (its Batch, its physical tensor)
NOTHING = (None, 0, False)
ADVICE = {
    "read": "elements of a batched tensor can't become Python numbers or decide what runs, as .item(), bool() and "
    "tolist() would have it, since each sample has its own; use where(...), or return the tensor from vmap",
    "lend": "the memory of a batched tensor can't be lent to NumPy; use operations of flambeau, or return the tensor "
    "from vmap",
    "launch": "this operation has no meaning for a batched tensor, since its result's size or course depends on the "
    "elements; use where(...), or run it outside of vmap",
}


class Batch(Interpreter):
    """`size` samples; `randomness` says whether drawing numbers is an error, differs from sample to sample, or not."""

    functions = True

    def __init__(self, size: int, randomness: str = "error") -> None:
        self.size = size
        self.randomness = randomness
        self.memory: WeakKeyDictionary[Any, tuple[Tensor, int, bool]] = WeakKeyDictionary()
        self.first = _core.last_serial() + 1  # of the blocks of memory allocated since

    # ---- stand-ins
    def stand_in(self, physical: Tensor, viewed: Tensor | None = None) -> Tensor:
        """What programs see of a physical tensor, whose dimension 0 holds the samples.

        It shares its Storage with the stand-in `viewed` where it is a view of that, so that levels above know it is.
        """
        shape, strides, at = physical.shape[1:], physical.stride()[1:], physical.storage_offset()
        base, start, _ = self.memory.get(viewed.untyped_storage(), NOTHING) if viewed is not None else NOTHING
        if viewed is not None and base is not None and base.untyped_storage() is physical.untyped_storage():
            at += (start - base.storage_offset() * base.itemsize) // physical.itemsize
            made = raw_view(viewed, physical.dtype, shape, strides, at)
            self.mark(made, physical)
            return made
        if physical.numel():
            made = raw_view(_core.behind(physical), physical.dtype, shape, strides, at)
        else:
            made = new_empty(shape, physical.dtype)
        self.tie(made, physical)
        return made

    def mark(self, made: Tensor, physical: Tensor) -> None:
        setattr(made, TIE, (self, physical))
        if physical.requires_grad:
            made.requires_grad_()

    def tie(self, made: Tensor, physical: Tensor) -> None:
        self.mark(made, physical)
        self.memory[made.untyped_storage()] = physical, made.storage_offset() * made.itemsize, False

    def physical(self, x: Any) -> Tensor | None:
        """The physical tensor behind a stand-in, None for whatever is the same for all samples."""
        tied = getattr(x, TIE, None)
        if tied is not None:
            return tied[1] if tied[0] is self else None
        if not isinstance(x, Tensor):
            return None
        found = self.memory.get(x.untyped_storage())
        if found is None:
            return None
        base, start, grown = found
        size = x.itemsize
        at = (base.storage_offset() * base.itemsize + x.storage_offset() * size - start) // size
        shape, strides = (self.size, *x.shape), (base.stride(0) * base.itemsize // size, *x.stride())
        if grown and x.dtype is base.dtype:
            how = ("_part_of_base", (shape, strides, at - base.storage_offset(), base.stride()))
            made = _core.part_view(base, shape, strides, at - base.storage_offset(), how)
        else:
            made = raw_view(base, x.dtype, shape, strides, at)
        setattr(x, TIE, (self, made))
        return made

    def grow(self, x: Tensor) -> bool:
        """Gives every sample its own copy of the memory of x, if that was allocated under this level and nowhere else.

        Writing what differs from sample to sample then has a place to go to. x and its views become stand-ins.
        """
        block = x.untyped_storage()
        if block.serial < self.first:
            return False
        count = block.nbytes() // x.itemsize
        flat = raw_view(x, x.dtype, (count,), (1,), 0)
        physical = flat.expand(self.size, count).clone()
        self.memory[block] = physical, 0, True
        return True

    def spread(self, x: Tensor) -> Tensor:
        """The physical tensor of x; where x is the same for all samples, x repeated without copying."""
        found = self.physical(x)
        return x.expand(self.size, *x.shape) if found is None else found

    def hand_out(self, result: Any, viewed: Tensor | None = None) -> Any:
        """Stand-ins for physical results, which may be views of what `viewed` stands for."""
        if isinstance(result, Tensor):
            return self.stand_in(result, viewed)
        if isinstance(result, (tuple, list)):
            made = [self.hand_out(x, viewed) for x in result]
            return type(result)(*made) if hasattr(result, "_fields") else type(result)(made)
        return result

    def batched(self, x: Any) -> bool:
        """Whether x is, or holds, a stand-in of this level."""
        if isinstance(x, (tuple, list)):
            return any(self.batched(y) for y in x)
        return self.physical(x) is not None

    # ---- what happens
    def process(self, call: Call) -> Any:
        from .batch_rules import run

        if isinstance(call.op, Effect):
            return self.effect(call)
        return run(self, call)

    def effect(self, call: Call) -> Any:
        """What happens beside operations: refused where it can't be done for all samples."""
        effect = call.op
        if effect is _core.DRAW:
            return self.draw(call.args[0])
        found = [self.physical(x) for x in call.args]
        if all(p is None for p in found):
            return call()
        if effect is _core.CHECK:
            return _core.announce(effect, found[0])
        raise RuntimeError(f"vmap: {ADVICE[effect.name]}")

    def draw(self, out: Tensor) -> Tensor:
        """The tensor that random numbers for `out` go to."""
        self.check_random()
        physical = self.physical(out)
        if self.randomness == "same":
            if physical is not None:
                raise RuntimeError(
                    "vmap: a batched tensor can't be filled in place with the same random numbers for each sample; use "
                    "randomness='different', or draw into a new tensor"
                )
            return _core.announce(_core.DRAW, out)
        if physical is None:
            physical = new_empty((self.size, *out.shape), out.dtype)
            self.tie(out, physical)
        return _core.announce(_core.DRAW, physical)

    def check_random(self) -> None:
        if self.randomness == "error":
            raise RuntimeError(
                "vmap: called random operation while in randomness error mode; pass randomness='same' or "
                "randomness='different' to vmap, or draw the numbers outside of it"
            )


def mapped(function: Callable[..., Sequence[Tensor]], rows: Sequence[Tensor]) -> list[Any]:
    """What function(*rows), which returns tensors, gives for each index of the rows' first dimension, in one run."""
    level = Batch(rows[0].shape[0])
    with level:
        found = function(*(level.stand_in(r) for r in rows))
    return [y if y is None else level.spread(y) for y in found]


# ---- levels
@contextmanager
def interpreters(active: tuple[Interpreter, ...]) -> Iterator[None]:
    """Within, these are the active interpreters."""
    before = stack.active
    _core.change_interpreters(len(active) - len(before))
    stack.active = active
    try:
        yield
    finally:
        stack.active = before
        _core.change_interpreters(len(before) - len(active))


def levels() -> tuple[Batch, ...]:
    """The active batch levels, outermost first."""
    return tuple(x for x in stack.active if isinstance(x, Batch))


def foundation(x: Tensor) -> tuple[list[Batch], Tensor]:
    """The levels at which x is batched, outermost first, and the tensor in which their dimensions stand in front."""
    found = []
    for level in reversed(levels()):
        physical = level.physical(x)
        if physical is not None:
            found.append(level)
            x = physical
    return found[::-1], x


def lowered(x: Tensor, which: Sequence[Batch]) -> Tensor:
    """x with dimensions for the levels `which` in front, outermost first; still a stand-in at other levels."""
    if not which:
        return x
    present, x = foundation(x)
    others = [level for level in present if level not in which]
    wanted = [*others, *which]
    with interpreters(tuple(i for i in stack.active if not isinstance(i, Batch))):
        missing = [level for level in which if level not in present]
        x = x.expand(*(level.size for level in missing), *x.shape)
        held = [*missing, *present]
        order = [held.index(level) for level in wanted]
        if order != sorted(order):
            x = x.permute(*order, *range(len(order), x.ndim))
    return raised(x, others)


def raised(x: Tensor, which: Sequence[Batch]) -> Tensor:
    """The stand-in for which dimensions of the levels `which` stand in front of x, outermost first."""
    if not which:
        return x
    present, x = foundation(x)
    held = [*present, *which]
    wanted = sorted(held, key=levels().index)
    if held != wanted:
        with interpreters(tuple(i for i in stack.active if not isinstance(i, Batch))):
            x = x.permute(*(held.index(level) for level in wanted), *range(len(held), x.ndim))
    for level in wanted:
        x = level.stand_in(x)
    return x
