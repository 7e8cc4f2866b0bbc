"""The ring: shared memory in slots of one size, into which worker processes lay batches.

A slot is lent with each task, and is free again when nothing in the program uses the batch any more. Slots take memory
only as far as batches have filled them. Imports core. Read next: `processes.py`.
"""

from __future__ import annotations

from flambeau.core import _core
from flambeau.core._core import SharedMemory

SLOT = 64 << 20


class Ring:
    """Slots numbered from 0; `lend()` one, None if all are in use."""

    def __init__(self, slots: int) -> None:
        self.memory = SharedMemory(slots * SLOT)
        self.free = list(range(slots))

    def lend(self) -> tuple[int, memoryview] | None:
        """A free slot and its memory; the slot is in use for as long as anything views that."""
        if not self.free:
            return None
        loan = Loan(self, self.free.pop())
        start = self.memory.tensor().data_ptr() + loan.slot * SLOT
        return loan.slot, memoryview(_core.from_pointer(start, (SLOT,), (1,), _core.DTYPES[1], loan))


class Loan:
    """What a slot's memory belongs to while it is in use."""

    __slots__ = ("ring", "slot")

    def __init__(self, ring: Ring, slot: int) -> None:
        self.ring, self.slot = ring, slot

    def __del__(self) -> None:
        self.ring.free.append(self.slot)
