"""Samplers: the order in which indices are visited, and how they are grouped into batches.

Names and arguments are PyTorch's. A random order is a function of (seed, epoch): the seed is the generator's, else the
program's; each new iteration is the next epoch, unless `set_epoch` says which. Imports flambeau when called.
Read next: `loader.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

from .seeding import base_seed, generator_for

T = TypeVar("T", covariant=True)


class Sampler(Generic[T]):
    """An iterable over indices; subclasses define `__iter__`, and `__len__` where they can.

    >>> class Backwards(fb.utils.data.Sampler):
    ...     def __iter__(self):
    ...         return iter([2, 1, 0])
    >>> [x.item() for x in fb.utils.data.DataLoader([5, 6, 7], sampler=Backwards())]
    [7, 6, 5]
    """

    def __init__(self, data_source: Sized | None = None) -> None:
        pass

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError(f"{type(self).__name__}.__iter__: a Sampler must define it")


def starting_at(sampler: Iterable[T], skip: int) -> Iterator[T]:
    """What a sampler gives from number `skip` on, at once where it can."""
    if type(sampler) in (SequentialSampler, RandomSampler):
        return sampler.starting_at(skip)  # type: ignore[attr-defined, no-any-return]
    if type(sampler) in (range, list, tuple):
        return iter(sampler[skip:])  # type: ignore[index, no-any-return]
    return itertools.islice(sampler, skip, None)


class SequentialSampler(Sampler[int]):
    """0, 1, 2, … in order.

    >>> list(fb.utils.data.SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return self.starting_at(0)

    def starting_at(self, skip: int) -> Iterator[int]:
        """The indices from number `skip` on."""
        return iter(range(skip, len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class EpochSampler(Sampler[int]):
    """A sampler whose order depends on the epoch."""

    def __init__(self, generator: Any = None) -> None:
        self.generator = generator
        self.epoch = 0
        self.seed: int | None = None

    def set_epoch(self, epoch: int, seed: int | None = None) -> None:
        """Says which epoch the next iteration is, and from which seed where that isn't the generator's."""
        self.epoch, self.seed = epoch, seed

    def next_generator(self) -> Any:
        seed = base_seed(self.generator) if self.seed is None else self.seed
        self.epoch += 1
        return generator_for(seed, self.epoch - 1)


class RandomSampler(EpochSampler):
    """Indices in random order; with `replacement`, or for `num_samples` beyond the length, more than once.

    >>> import flambeau as fb
    >>> from flambeau.utils.data import RandomSampler
    >>> sorted(RandomSampler(range(4)))
    [0, 1, 2, 3]
    """

    def __init__(
        self, data_source: Sized, replacement: bool = False, num_samples: int | None = None, generator: Any = None
    ) -> None:
        super().__init__(generator)
        if not isinstance(replacement, bool):
            raise TypeError(f"RandomSampler: replacement is True or False, got {replacement!r}")
        if num_samples is not None and (not isinstance(num_samples, int) or num_samples <= 0):
            raise ValueError(f"RandomSampler: num_samples is a positive integer, got {num_samples!r}")
        self.data_source, self.replacement, self._num_samples = data_source, replacement, num_samples

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __len__(self) -> int:
        return self.num_samples

    def order(self) -> Any:
        """The next epoch's indices as one int64 tensor."""
        import flambeau as fb

        generator, n, wanted = self.next_generator(), len(self.data_source), self.num_samples
        if self.replacement:
            return fb.randint(n, (wanted,), generator=generator)
        orders = [fb.randperm(n, generator=generator) for _ in range(-(-wanted // max(n, 1)) or 1)]
        return orders[0] if wanted == n else fb.cat(orders)[:wanted]

    def __iter__(self) -> Iterator[int]:
        return self.starting_at(0)

    def starting_at(self, skip: int) -> Iterator[int]:
        """The next epoch's indices from number `skip` on."""
        order = self.order()
        # Python's integers take four times the tensor's room, so they are made a few at a time.
        return itertools.chain.from_iterable(order[i : i + 8192].tolist() for i in range(skip, len(order), 8192))


class SubsetRandomSampler(EpochSampler):
    """The given indices in random order.

    >>> sorted(fb.utils.data.SubsetRandomSampler([3, 5, 8]))
    [3, 5, 8]
    """

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        super().__init__(generator)
        self.indices = indices

    def __iter__(self) -> Iterator[int]:
        import flambeau as fb

        for i in fb.randperm(len(self.indices), generator=self.next_generator()).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(EpochSampler):
    """num_samples indices, each drawn with probability proportional to its weight.

    Without replacement: the num_samples largest u^(1/w) of uniform u (Efraimidis and Spirakis 2006).

    >>> sampler = fb.utils.data.WeightedRandomSampler([0.0, 1.0, 3.0], 1000, generator=fb.Generator().manual_seed(0))
    >>> drawn = list(sampler)
    >>> drawn.count(0), abs(drawn.count(2) - 750) < 50
    (0, True)
    """

    def __init__(
        self, weights: Sequence[float], num_samples: int, replacement: bool = True, generator: Any = None
    ) -> None:
        super().__init__(generator)
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples <= 0:
            raise ValueError(f"WeightedRandomSampler: num_samples is a positive integer, got {num_samples!r}")
        self.weights = [float(w) for w in weights]
        if not self.weights or min(self.weights) < 0 or not 0 < sum(self.weights) < float("inf"):
            raise ValueError("WeightedRandomSampler: weights are finite, not negative, and not all zero")
        if not replacement and num_samples > sum(w > 0 for w in self.weights):
            raise ValueError(f"WeightedRandomSampler: {num_samples} without replacement of fewer positive weights")
        self.num_samples, self.replacement = num_samples, replacement

    def __iter__(self) -> Iterator[int]:
        import numpy as np

        import flambeau as fb

        weights = np.array(self.weights)
        count = self.num_samples if self.replacement else len(weights)
        u = np.array(fb.rand(count, dtype=fb.float64, generator=self.next_generator()).tolist())
        if self.replacement:
            cumulative = np.cumsum(weights)
            drawn = np.searchsorted(cumulative, u * cumulative[-1], side="right")
            drawn = np.minimum(drawn, np.flatnonzero(weights)[-1])
        else:
            with np.errstate(divide="ignore", invalid="ignore"):
                drawn = np.argsort(-np.log1p(-u) / weights, kind="stable")[: self.num_samples]
        return iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of batch_size indices of another sampler; the last may be shorter, or is dropped.

    >>> from flambeau.utils.data import BatchSampler
    >>> list(BatchSampler(range(5), 2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(f"BatchSampler: batch_size is a positive integer, got {batch_size!r}")
        if not isinstance(drop_last, bool):
            raise ValueError(f"BatchSampler: drop_last is True or False, got {drop_last!r}")
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        return self.starting_at(0)

    def starting_at(self, skip: int) -> Iterator[list[int]]:
        """The batches from number `skip` on."""
        indices = starting_at(self.sampler, skip * self.batch_size)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


class DistributedSampler(Sampler[T]):
    """One process's share of the indices when `num_replicas` processes train together: every num_replicas-th.

    The shares are of one length, by repeating some samples, or with drop_last by leaving some out. With `shuffle` the
    order is a function of (seed, epoch); call `set_epoch(epoch)` before each epoch, else every epoch has the same.
    num_replicas and rank are those of the default process group unless they are given.

    >>> from flambeau.utils.data import DistributedSampler
    >>> [list(DistributedSampler(range(5), num_replicas=2, rank=r, shuffle=False)) for r in (0, 1)]
    [[0, 2, 4], [1, 3, 0]]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            group = process_group()
            num_replicas = group.get_world_size() if num_replicas is None else num_replicas
            rank = group.get_rank() if rank is None else rank
        if not 0 <= rank < num_replicas:
            raise ValueError(
                f"DistributedSampler: rank lies between 0 and num_replicas - 1 = {num_replicas - 1}, got {rank}"
            )
        self.dataset, self.num_replicas, self.rank = dataset, num_replicas, rank
        self.shuffle, self.seed, self.drop_last, self.epoch = shuffle, seed, drop_last, 0
        n = len(dataset)
        self.num_samples = n // num_replicas if drop_last else -(-n // num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[T]:
        import flambeau as fb

        n = len(self.dataset)
        order = fb.randperm(n, generator=generator_for(self.seed, self.epoch)).tolist() if self.shuffle else range(n)
        everyone = itertools.islice(itertools.cycle(order), self.total_size)
        return itertools.islice(everyone, self.rank, None, self.num_replicas)

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch the next iteration is; every process must say the same."""
        self.epoch = epoch


def process_group() -> Any:
    """What knows the number of processes that train together and which of them this is."""
    import importlib.util

    if importlib.util.find_spec("flambeau.distributed") is not None:
        distributed = importlib.import_module("flambeau.distributed")
        if distributed.is_initialized():
            return distributed
    raise RuntimeError("DistributedSampler: there is no process group; pass num_replicas and rank")
