"""Making batches: samples asked of the dataset one by one, each with its own random stream, and collated.

A loader without workers does this itself; otherwise each worker has a Desk. Imports flambeau. Read next: `workers.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from flambeau.ops.random import swap_source

from . import seeding
from .dataset import Subset
from .sampler import BatchSampler

# Keeps the stream that collation draws from apart from its samples'.
COLLATION = 2**63 + 3


def takes_lists(dataset: Any) -> bool:
    """Whether a dataset has a way of its own to give several samples at once, PyTorch's `__getitems__`."""
    if type(dataset) is Subset:
        return takes_lists(dataset.dataset)
    return callable(getattr(dataset, "__getitems__", None))


class Fetcher:
    """Makes the batches of one dataset."""

    def __init__(
        self, dataset: Any, collate_fn: Callable[[Any], Any], batched: bool, batch_size: int | None, drop_last: bool
    ) -> None:
        self.dataset, self.collate_fn, self.batched = dataset, collate_fn, batched
        self.batch_size, self.drop_last = batch_size, drop_last

    def batch(self, seed: int, epoch: int, indices: Any) -> Any:
        """The batch of the samples at indices; or, for a loader that doesn't batch, the sample at one index."""
        before = swap_source(seeding.sample_generator)
        try:
            if not self.batched:
                return self.collate_fn(self.sample(seed, epoch, indices))
            if takes_lists(self.dataset):
                samples = self.several(seed, epoch, indices)
            else:
                samples = [self.sample(seed, epoch, i) for i in indices]
            seeding.begin_sample(seed, epoch, (COLLATION, *indices[:1]))
            return self.collate(samples, indices)
        finally:
            swap_source(before)

    def sample(self, seed: int, epoch: int, index: Any) -> Any:
        seeding.begin_sample(seed, epoch, index)
        try:
            return self.dataset[index]
        except Exception as error:
            error.add_note(f"DataLoader: while loading sample {index!r}{seeding.worker_name()}")
            raise

    def several(self, seed: int, epoch: int, indices: Any) -> list[Any]:
        seeding.begin_sample(seed, epoch, tuple(indices[:1]))
        try:
            return self.dataset.__getitems__(indices)
        except Exception as error:
            error.add_note(f"DataLoader: while loading samples {str(list(indices))[:200]}{seeding.worker_name()}")
            raise

    def collate(self, samples: list[Any], indices: Any) -> Any:
        try:
            return self.collate_fn(samples)
        except Exception as error:
            if indices is not None:
                error.add_note(f"DataLoader: while collating samples {str(list(indices))[:200]}{seeding.worker_name()}")
            raise

    def stream(self, seed: int, epoch: int, worker: int) -> Iterator[Any]:
        """The batches that one worker makes of an IterableDataset."""
        before = swap_source(seeding.sample_generator)
        try:
            seeding.begin_sample(seed, epoch, worker)
            samples = iter(self.dataset)
        finally:
            swap_source(before)
        # The worker's stream of random numbers goes on from batch to batch, also where another epoch came between.
        key, generator = seeding.current.key, seeding.current.generator
        batches = samples if not self.batched else iter(BatchSampler(samples, self.batch_size, self.drop_last))  # type: ignore[arg-type]
        while True:
            seeding.current.key, seeding.current.generator = key, generator
            before = swap_source(seeding.sample_generator)
            try:
                found = next(batches, batches)
                if found is batches:
                    return
                made = self.collate(found, None)  # type: ignore[arg-type]
                generator = seeding.current.generator
            finally:
                swap_source(before)
            yield made


class Desk:
    """Where a worker does its tasks: ("batch", seed, epoch, indices), or ("next", seed, epoch) of its own stream.

    The answer to the first is the batch, to the second a list of one batch, empty at the stream's end.
    """

    def __init__(self, fetcher: Fetcher, worker: int) -> None:
        self.fetcher, self.worker = fetcher, worker
        self.streams: dict[tuple[int, int], Iterator[Any]] = {}

    def perform(self, task: tuple) -> Any:
        kind, seed, epoch, *rest = task
        if kind == "batch":
            return self.fetcher.batch(seed, epoch, *rest)
        if (seed, epoch) not in self.streams:
            self.streams = {(seed, epoch): self.fetcher.stream(seed, epoch, self.worker)}
        return list(itertools.islice(self.streams[seed, epoch], 1))
