"""Datasets: by index (`Dataset`) or by iteration (`IterableDataset`), and ways to join and split them.

Names and behaviour are PyTorch's. Imports flambeau when called. Read next: `sampler.py`, `loader.py`.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from .seeding import base_seed, generator_for

T = TypeVar("T", covariant=True)


class Dataset(Generic[T]):
    """Samples by index: subclasses define `__getitem__` and usually `__len__`; `a + b` joins two.

    >>> class Squares(fb.utils.data.Dataset):
    ...     def __getitem__(self, index):
    ...         return index * index
    ...     def __len__(self):
    ...         return 3
    >>> both = Squares() + Squares()
    >>> [both[i] for i in range(len(both))]
    [0, 1, 4, 0, 1, 4]
    """

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError(f"{type(self).__name__}.__getitem__: a Dataset must define it")

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T]):
    """Samples by iteration: subclasses define `__iter__`; in a worker, `get_worker_info()` says which share.

    >>> class Count(fb.utils.data.IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(5))
    >>> [batch.tolist() for batch in fb.utils.data.DataLoader(Count(), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError(f"{type(self).__name__}.__iter__: an IterableDataset must define it")

    def __add__(self, other: Dataset) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple]):
    """Sample i is the tuple of the tensors' rows i; a DataLoader reads whole batches of it at once.

    >>> import flambeau as fb
    >>> from flambeau.utils.data import TensorDataset
    >>> TensorDataset(fb.tensor([1, 2]), fb.tensor([3, 4]))[1]
    (tensor(2), tensor(4))
    """

    def __init__(self, *tensors: Any) -> None:
        sizes = [t.shape[0] if t.dim() else None for t in tensors]
        if not tensors or None in sizes or len(set(sizes)) > 1:
            shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
            raise ValueError(f"TensorDataset: takes tensors of the same length, got shapes {shapes or 'none'}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].shape[0]


class ConcatDataset(Dataset[T]):
    """The samples of several datasets, one after the other.

    >>> both = fb.utils.data.ConcatDataset([[1, 2], [3]])
    >>> len(both), both[2]
    (3, 3)
    """

    def __init__(self, datasets: Iterable[Dataset]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: takes at least one dataset, got none")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise TypeError("ConcatDataset: an IterableDataset has no index; use ChainDataset")
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> T:
        i = index + len(self) if index < 0 else index
        if not 0 <= i < len(self):
            raise IndexError(f"ConcatDataset: index {index} is out of range for {len(self)} samples")
        which = bisect.bisect_right(self.cumulative_sizes, i)
        return self.datasets[which][i - (self.cumulative_sizes[which - 1] if which else 0)]


class StackDataset(Dataset[Any]):
    """Sample i is the tuple of the datasets' samples i, or the dict of them where datasets are given by name.

    >>> from flambeau.utils.data import StackDataset
    >>> StackDataset([1, 2], "ab")[1], StackDataset(x=[1, 2], y="ab")[1]
    ((2, 'b'), {'x': 2, 'y': 'b'})
    """

    datasets: tuple | dict

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise ValueError(
                "StackDataset: takes datasets either by position or by name, got " + ("both" if args else "none")
            )
        self.datasets = args or kwargs
        lengths = {len(d) for d in (args or kwargs.values())}
        if len(lengths) > 1:
            raise ValueError(f"StackDataset: takes datasets of one length, got lengths {sorted(lengths)}")
        self._length = lengths.pop()

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __len__(self) -> int:
        return self._length


class ChainDataset(IterableDataset[T]):
    """The samples of several iterable datasets, one after the other.

    >>> class Count(fb.utils.data.IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(2))
    >>> list(fb.utils.data.ChainDataset([Count(), Count()]))
    [0, 1, 0, 1]
    """

    def __init__(self, datasets: Iterable[Dataset]) -> None:
        self.datasets = list(datasets)

    def __iter__(self) -> Iterator[T]:
        for d in self.datasets:
            if not isinstance(d, IterableDataset):
                raise TypeError(f"ChainDataset: takes IterableDatasets, got a {type(d).__name__}; use ConcatDataset")
            yield from d

    def __len__(self) -> int:
        return sum(len(d) for d in self.datasets)  # type: ignore


class Subset(Dataset[T]):
    """The samples of a dataset at the given indices.

    >>> part = fb.utils.data.Subset(["a", "b", "c"], [2, 0])
    >>> part[0], len(part)
    ('c', 2)
    """

    def __init__(self, dataset: Dataset[T], indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> T:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[T]:
        """The samples at several indices, asked of the dataset at once where it can give them so."""
        where = [self.indices[i] for i in indices]
        several = getattr(self.dataset, "__getitems__", None)
        return several(where) if callable(several) else [self.dataset[i] for i in where]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(dataset: Dataset[T], lengths: Sequence[float], generator: Any = None) -> list[Subset[T]]:
    """Splits a dataset into disjoint random subsets of given lengths, or of given fractions that sum to 1.

    Remainders of fractions go to the first subsets, one each. The split depends on the generator's seed, else on the
    program's (`manual_seed`), and on nothing else.

    >>> parts = fb.utils.data.random_split(range(10), [0.7, 0.3], fb.Generator().manual_seed(0))
    >>> [len(part) for part in parts], sorted([*parts[0], *parts[1]]) == list(range(10))
    ([7, 3], True)
    """
    import flambeau as fb

    total = len(dataset)  # type: ignore[arg-type]
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        if any(not 0 <= f <= 1 for f in lengths):
            raise ValueError(f"random_split: fractions lie between 0 and 1, got {list(lengths)}")
        sizes = [math.floor(total * f) for f in lengths]
        for i in range(total - sum(sizes)):
            sizes[i % len(sizes)] += 1
    else:
        sizes = [int(n) for n in lengths]
    if sum(sizes) != total or min(sizes) < 0:
        raise ValueError(f"random_split: lengths {list(lengths)} sum to {sum(sizes)}, the dataset has {total} samples")
    order = fb.randperm(total, generator=generator_for(base_seed(generator), SPLIT)).tolist()
    ends = list(itertools.accumulate(sizes))
    return [Subset(dataset, order[end - n : end]) for n, end in zip(sizes, ends, strict=True)]


# Keeps a split's permutation apart from those of epochs, which count from zero.
SPLIT = 2**63 + 1
