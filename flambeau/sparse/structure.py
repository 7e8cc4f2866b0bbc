"""Structure: which elements a sparse tensor stores; and Pattern, the same of a matrix as its products want it.

Tensors that store the same elements share one Structure, and with it what was derived from it: row numbers, patterns,
their transposes. Imports core and ops. Read next: `products.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..core._core import DTYPES, Size, Tensor
from ..ops.gather import bincount
from ..ops.indirect import Places, inserted
from ..ops.joining import stack
from ..ops.ranges import arange
from ..ops.scan import cumsum
from ..ops.sorting import sort

INT64 = DTYPES[5]
LIMIT = 2**63


def argsort(keys: Tensor) -> Tensor:
    return sort(keys, stable=True)[1]


def pointers(numbers: Tensor, count: int) -> Tensor:
    """Where each of `count` runs of equal numbers begins in their sorted order, and where the last one ends."""
    from ..ops.factories import zeros

    out = zeros(count + 1, dtype=INT64)
    if count:
        out[1:] = cumsum(bincount(numbers, minlength=count), 0)
    return out


def run_numbers(starts: Tensor) -> Tensor:
    """The number of the run that each entry is in: pointers undone."""
    count = starts.shape[0] - 1
    return arange(count).repeat_interleave(starts[1:] - starts[:-1])


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """The places of a sparse tensor's values, in the order of the values.

    indices: COO has one tensor (sparse dimensions, nnz); CSR and CSC have pointers and the other dimension's numbers.
    coalesced: COO's places stand in row-major order and none occurs twice.
    """

    layout: str
    indices: tuple[Tensor, ...]
    size: Size
    coalesced: bool
    derived: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.derived["versions"] = [i._version for i in self.indices]

    def unchanged(self) -> None:
        """Raises RuntimeError where somebody wrote to the index tensors since they were checked."""
        if [i._version for i in self.indices] != self.derived["versions"]:
            raise RuntimeError(
                "the indices of a sparse tensor were changed in place; make a new tensor of clones of them"
            )

    @property
    def nnz(self) -> int:
        return self.indices[-1].shape[-1]

    @property
    def sparse_dim(self) -> int:
        return self.indices[0].shape[0] if self.layout == "sparse_coo" else 2

    def over(self, indices: tuple[Tensor, ...]) -> Structure:
        """The same over other index tensors."""
        return Structure(self.layout, indices, self.size, self.coalesced)

    def places(self) -> Tensor:
        """int64 (sparse dimensions, nnz): where each value stands, in the order of the values."""
        self.unchanged()
        if self.layout == "sparse_coo":
            return self.indices[0]
        if "places" not in self.derived:
            starts, others = (i.to(INT64) for i in self.indices)
            pair = (run_numbers(starts), others)
            self.derived["places"] = stack(pair if self.layout == "sparse_csr" else pair[::-1])
        return self.derived["places"]

    def pattern(self) -> tuple[Pattern, Tensor | None]:
        """The places of a matrix, or of matrices along a diagonal, by rows; and the order of the values in it."""
        self.unchanged()
        if "pattern" not in self.derived:
            self.derived["pattern"] = pattern_of(self)
        return self.derived["pattern"]


def flat(places: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """One number for each place, its place in row-major order."""
    if math.prod(sizes) >= LIMIT:
        raise RuntimeError(f"sparse dimensions of sizes {list(sizes)} have more than 2^63 places")
    number = places.new_zeros(places.shape[1])
    for row, n in zip(places, sizes, strict=True):
        number = number * n + row
    return number


def unflat(number: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The places of numbers that `flat` gave."""
    rows: list[Tensor] = []
    for n in reversed(sizes):
        rows.append(number % max(n, 1))
        number = number // max(n, 1)
    return stack(rows[::-1]) if rows else number.new_zeros(0, number.shape[0])


def element_places(structure: Structure) -> tuple[Places, tuple[Tensor, ...]]:
    """The structure as `pick` and `put` have it: values are what index tensors choose in the whole tensor."""
    places = structure.places()
    k = structure.sparse_dim
    return inserted(tuple(structure.size), (structure.nnz,), tuple(range(k)), 0), tuple(places[d] for d in range(k))


class Pattern:
    """Which elements of a matrix (rows, columns) are stored, by rows: entries starts[i] … starts[i + 1] are row i's."""

    def __init__(self, rows: int, columns: int, starts: Tensor, column: Tensor) -> None:
        self.rows, self.columns = rows, columns
        self.starts, self.column = starts.contiguous(), column.contiguous()

    @cached_property
    def row(self) -> Tensor:
        """The row of each entry."""
        return run_numbers(self.starts)

    @cached_property
    def transposed(self) -> tuple[Pattern, Tensor]:
        """The transposed pattern, and which entry of this one each of its entries is."""
        order = argsort(self.column)
        return Pattern(self.columns, self.rows, pointers(self.column, self.columns), self.row[order]), order


def pattern_of(s: Structure) -> tuple[Pattern, Tensor | None]:
    if s.layout == "sparse_csr":
        starts, column = (i.to(INT64) for i in s.indices)
        return Pattern(s.size[0], s.size[1], starts, column), None
    if s.layout == "sparse_csc":
        starts, row = (i.to(INT64) for i in s.indices)
        return Pattern(s.size[1], s.size[0], starts, row).transposed
    *batch, row, column = s.indices[0]
    *counts, rows, columns = s.size
    block = flat(stack(batch), tuple(counts)) if batch else None
    if block is not None:
        row, column = block * rows + row, block * columns + column
    total = math.prod(counts)
    order = None if s.coalesced else argsort(row)
    if order is not None:
        column = column[order]
    return Pattern(total * rows, total * columns, pointers(row, total * rows), column), order
