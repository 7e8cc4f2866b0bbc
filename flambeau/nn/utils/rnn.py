"""Sequences of different lengths in one batch: padded, or packed, which means joined time step by time step.

Imports the tensor core. Read next: `../modules/rnn.py`, which takes packed sequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import flambeau as fb
from flambeau import Tensor


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


class PackedSequence(_Packed):
    """Sequences in order of falling length, joined time step by time step.

    `data` holds the elements, `batch_sizes[t]` how many sequences are longer than t, `sorted_indices` the order that
    was made, `unsorted_indices` its inverse.

    >>> packed = fb.nn.utils.rnn.pack_sequence([fb.ones(2, 4), fb.ones(1, 4)])
    >>> y, h = fb.nn.GRU(4, 3)(packed)
    >>> type(y).__name__, y.data.shape
    ('PackedSequence', flambeau.Size([3, 3]))
    """

    def __new__(
        cls, data: Tensor, batch_sizes: Tensor | None = None, sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:  # fmt: skip
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same with `data` converted or moved."""
        return self._replace(data=self.data.to(*args, **kwargs))

    def double(self) -> PackedSequence:
        """The same in float64."""
        return self.to(dtype=fb.float64)

    def float(self) -> PackedSequence:
        """The same in float32."""
        return self.to(dtype=fb.float32)

    def half(self) -> PackedSequence:
        """The same in float16."""
        return self.to(dtype=fb.float16)

    def long(self) -> PackedSequence:
        """The same in int64."""
        return self.to(dtype=fb.int64)

    def int(self) -> PackedSequence:
        """The same in int32."""
        return self.to(dtype=fb.int32)

    def short(self) -> PackedSequence:
        """The same in int16."""
        return self.to(dtype=fb.int16)

    def char(self) -> PackedSequence:
        """The same in int8."""
        return self.to(dtype=fb.int8)

    def byte(self) -> PackedSequence:
        """The same in uint8."""
        return self.to(dtype=fb.uint8)

    def cpu(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same on the CPU."""
        return self.to("cpu", *args, **kwargs)

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same on a CUDA device."""
        return self._replace(data=self.data.cuda(*args, **kwargs))

    def pin_memory(self) -> PackedSequence:
        """The same with `data` in memory that doesn't move."""
        return self._replace(data=self.data.pin_memory())

    def is_pinned(self) -> bool:
        """Whether `data` is in such memory."""
        return self.data.is_pinned()

    @property
    def is_cuda(self) -> bool:
        """Whether `data` is on a CUDA device."""
        return self.data.is_cuda


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes this one.

    >>> fb.nn.utils.rnn.invert_permutation(fb.tensor([2, 0, 1]))
    tensor([1, 2, 0])
    """
    if permutation is None:
        return None
    inverse = fb.empty_like(permutation)
    inverse[permutation] = fb.arange(len(permutation), device=permutation.device)
    return inverse


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack (T, N, …), or (N, T, …) with `batch_first`, whose sequences have these lengths.

    Args:
        enforce_sorted: the lengths are given in falling order; otherwise they are sorted here.

    Raises:
        RuntimeError: where a length is not positive, or the order isn't falling.

    >>> import flambeau as fb
    >>> from flambeau.nn.utils.rnn import pack_padded_sequence
    >>> pack_padded_sequence(fb.tensor([[1, 2, 3], [4, 0, 0]]), [3, 1], batch_first=True).data
    tensor([1, 4, 2, 3])
    """
    lengths = fb.as_tensor(lengths, dtype=fb.int64)
    sorted_indices = None
    if not enforce_sorted:
        lengths, sorted_indices = lengths.sort(descending=True, stable=True)
        input = input.index_select(0 if batch_first else 1, sorted_indices)
    x = input.transpose(0, 1) if batch_first else input
    sizes = lengths.tolist()
    if len(sizes) != x.shape[1]:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} (batch_size={x.shape[1]})"
        )
    if max(sizes, default=0) > x.shape[0]:
        raise RuntimeError(
            f"pack_padded_sequence: length {max(sizes)} is more than the {x.shape[0]} steps of the input"
        )
    if any(n <= 0 for n in sizes):
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if sizes != sorted(sizes, reverse=True):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence to sidestep this requirement."
        )
    batch_sizes = [sum(n > t for n in sizes) for t in range(sizes[0])]
    data = fb.cat([x[t, :n] for t, n in enumerate(batch_sizes)])
    return PackedSequence(data, fb.tensor(batch_sizes, dtype=fb.int64), sorted_indices)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Undo `pack_padded_sequence`: the padded batch and its lengths, in the original order.

    >>> packed = fb.nn.utils.rnn.pack_sequence([fb.tensor([1, 2, 3]), fb.tensor([4, 5])])
    >>> fb.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
    (tensor([[1, 2, 3],
            [4, 5, 0]]), tensor([3, 2]))
    """
    sizes = sequence.batch_sizes.tolist()
    steps, batch = total_length or len(sizes), sizes[0]
    if steps < len(sizes):
        raise ValueError(
            f"Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {len(sizes)}"
        )
    rows = []
    for part in sequence.data.split(sizes):
        missing = batch - part.shape[0]
        rows.append(fb.cat([part, part.new_full((missing, *part.shape[1:]), padding_value)]) if missing else part)
    rows += [sequence.data.new_full((batch, *sequence.data.shape[1:]), padding_value)] * (steps - len(sizes))
    padded = fb.stack(rows)
    lengths = fb.tensor([sum(n > i for n in sizes) for i in range(batch)], dtype=fb.int64)
    if sequence.unsorted_indices is not None:
        padded, lengths = padded.index_select(1, sequence.unsorted_indices), lengths[sequence.unsorted_indices]
    return padded.transpose(0, 1) if batch_first else padded, lengths


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences (Lᵢ, …) as one tensor (L, N, …), or (N, L, …) with `batch_first`, filled up with `padding_value`.

    >>> fb.nn.utils.rnn.pad_sequence([fb.tensor([1, 2, 3]), fb.tensor([4])], batch_first=True)
    tensor([[1, 2, 3],
            [4, 0, 0]])
    """
    if padding_side not in ("left", "right"):
        raise ValueError(f"padding_side should be either 'right' or 'left', got {padding_side!r}")
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    sequences = list(sequences)
    if not sequences:
        raise RuntimeError("pad_sequence: received an empty list of sequences")
    longest = max(s.shape[0] for s in sequences)
    rows = []
    for s in sequences:
        filling = s.new_full((longest - s.shape[0], *s.shape[1:]), padding_value)
        rows.append(fb.cat([s, filling] if padding_side == "right" else [filling, s]))
    return fb.stack(rows, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded batch.

    >>> fb.nn.utils.rnn.unpad_sequence(fb.tensor([[1, 2], [3, 0]]), fb.tensor([2, 1]), batch_first=True)
    [tensor([1, 2]), tensor([3])]
    """
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[:n] for row, n in zip(x, lengths.tolist(), strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of sequences.

    >>> packed = fb.nn.utils.rnn.pack_sequence([fb.tensor([1, 2, 3]), fb.tensor([4, 5])])
    >>> packed.data, packed.batch_sizes
    (tensor([1, 4, 2, 5, 3]), tensor([2, 2, 1]))
    """
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The list of sequences that were packed.

    >>> packed = fb.nn.utils.rnn.pack_sequence([fb.tensor([1, 2, 3]), fb.tensor([4, 5])])
    >>> fb.nn.utils.rnn.unpack_sequence(packed)
    [tensor([1, 2, 3]), tensor([4, 5])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences)
    return unpad_sequence(padded, lengths)
