"""DataLoader: epochs of batches, in the calling thread or prefetched by worker threads or processes, resumable in
mid-epoch.

The order and each sample's random numbers are functions of (seed, epoch, index) (`seeding.py`), so the number and kind
of workers never shows in the result. Batches of tensors are gathered whole (`gather.py`). Imports flambeau when called.
Read next: `fetch.py` (one batch), `workers.py`, `processes.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.context import BaseContext
from typing import Any, Generic, TypeVar

from . import seeding
from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset
from .fetch import Fetcher
from .gather import gatherer
from .sampler import BatchSampler, EpochSampler, RandomSampler, Sampler, SequentialSampler, starting_at
from .workers import Crew, ThreadCrew

T = TypeVar("T", covariant=True)
FIXED = frozenset(("dataset", "batch_size", "batch_sampler", "sampler", "drop_last", "persistent_workers"))


class DataLoader(Generic[T]):
    """Iterates over a dataset in batches; arguments as in PyTorch.

    `multiprocessing_context` says what workers are. None or "thread": threads, which start at once and share the
    dataset with the program; a `__getitem__` that holds the interpreter lock gains nothing from them. "forkserver",
    "spawn" or a context of `multiprocessing`: processes, for which the dataset, collate_fn and worker_init_fn are
    pickled; they share its arrays, tensors and long lists. The program itself is never forked: "fork" means
    "forkserver". Batches are the same bits with any of these. A worker's exception keeps its type, with a note naming
    the sample. `pin_memory` and `in_order` are taken and change nothing: memory is the host's, and batches always come
    in order.

    Every iteration is the next epoch. `state_dict()`, at any moment, holds the seed, the epoch and how many batches
    were handed out; a loader given it by `load_state_dict` goes on with the very next batch.

    >>> import flambeau as fb
    >>> from flambeau.utils.data import DataLoader, TensorDataset
    >>> [x.tolist() for (x,) in DataLoader(TensorDataset(fb.arange(5)), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Dataset[T] | Iterable[T],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler | Iterable | None = None,
        batch_sampler: Sampler[list] | Iterable[list] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[T]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        iterable = isinstance(dataset, IterableDataset)
        if num_workers < 0 or timeout < 0:
            raise ValueError(f"DataLoader: num_workers={num_workers} and timeout={timeout} can't be negative")
        if num_workers == 0 and (prefetch_factor is not None or persistent_workers or multiprocessing_context):
            raise ValueError(
                "DataLoader: prefetch_factor, persistent_workers and multiprocessing_context need num_workers > 0"
            )
        if prefetch_factor is not None and prefetch_factor < 1:
            raise ValueError(f"DataLoader: prefetch_factor is at least 1, got {prefetch_factor}")
        if iterable and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError("DataLoader: an IterableDataset has its own order; drop shuffle and samplers")
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler and shuffle exclude each other")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ValueError("DataLoader: batch_sampler excludes batch_size, shuffle, sampler and drop_last")
        if batch_size is None and drop_last:
            raise ValueError("DataLoader: drop_last needs a batch_size")
        self.dataset, self.num_workers, self.timeout = dataset, num_workers, timeout
        self.start_method = start_method(multiprocessing_context)
        self.multiprocessing_context = multiprocessing_context
        self.pin_memory, self.pin_memory_device, self.in_order = pin_memory, pin_memory_device, in_order
        self.drop_last, self.generator = drop_last, generator
        self.prefetch_factor = 2 if prefetch_factor is None and num_workers else prefetch_factor
        self.persistent_workers, self.worker_init_fn = persistent_workers, worker_init_fn
        self.batch_size = None if batch_sampler is not None else batch_size
        if sampler is None and not iterable:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)  # type: ignore[arg-type]
        self.sampler = sampler
        if batch_sampler is None and batch_size is not None and sampler is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_sampler = batch_sampler
        batched = batch_size is not None or batch_sampler is not None
        self.collate_fn: Callable[[Any], Any] = collate_fn or (default_collate if batched else default_convert)
        self.batched = batched
        self.crew: Crew | None = None
        self.seed: int | None = None  # set by load_state_dict; otherwise asked for at each epoch's start
        self.last_seed: int | None = None
        self.epoch = 0
        self.handed_out = 0  # batches of the epoch in progress
        self.in_place = True  # whether the next iteration begins at (epoch, handed_out) as they stand
        self.is_made = True

    def __setattr__(self, name: str, value: Any) -> None:
        if name in FIXED and "is_made" in self.__dict__:
            raise ValueError(f"DataLoader: {name} can't be changed once the loader is made; make another loader")
        super().__setattr__(name, value)

    def __len__(self) -> int:
        """The number of batches of an epoch."""
        if isinstance(self.dataset, IterableDataset):
            n = len(self.dataset)  # type: ignore[arg-type]
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self.batch_sampler if self.batch_sampler is not None else self.sampler)  # type: ignore[arg-type]

    def current_seed(self) -> int:
        if self.seed is not None:
            return self.seed
        return seeding.base_seed(self.generator or getattr(self.sampler, "generator", None))

    def state_dict(self) -> dict[str, int]:
        """Where this loader stands: seed, epoch, and the batches of it that were handed out."""
        return {"seed": self.current_seed(), "epoch": self.epoch, "batches": self.handed_out}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Makes the next iteration go on where the state was taken; the loader must be made with the same arguments."""
        if set(state) != {"seed", "epoch", "batches"} or not all(type(v) is int and v >= 0 for v in state.values()):
            raise ValueError(f"DataLoader.load_state_dict: takes what state_dict() gave, got {str(state)[:200]}")
        self.seed, self.epoch, self.handed_out = state["seed"], state["epoch"], state["batches"]
        self.in_place, self.last_seed = True, None

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch the next iteration is; without it they count from 0."""
        self.epoch, self.handed_out = epoch, 0
        self.in_place = True

    def __iter__(self) -> Iterator[Any]:
        seed = self.current_seed()
        if not self.in_place:  # the last iteration was broken off, or is still going on
            self.epoch, self.handed_out = self.epoch + 1, 0
        if self.last_seed not in (None, seed):  # a program that reseeds for each epoch counts them itself
            self.epoch, self.handed_out = 0, 0
        self.in_place, self.last_seed = False, seed
        return self.run(self.epoch, self.handed_out)

    def run(self, epoch: int, skip: int) -> Iterator[Any]:
        seed = self.current_seed()
        for sampler in (self.sampler, getattr(self.batch_sampler, "sampler", None)):
            if isinstance(sampler, EpochSampler):
                sampler.set_epoch(epoch, seed)
        for batch in self.batches(seed, epoch, skip):
            if self.epoch == epoch:
                self.handed_out += 1
            yield batch
        if self.epoch == epoch:
            self.epoch, self.handed_out, self.in_place = epoch + 1, 0, True

    def batches(self, seed: int, epoch: int, skip: int) -> Iterator[Any]:
        """An epoch's batches without the first `skip`, made whole, here sample by sample, or by workers."""
        gathered = gatherer(self)
        if gathered is not None:
            yield from gathered(skip)
            return
        fetcher = Fetcher(self.dataset, self.collate_fn, self.batched, self.batch_size, self.drop_last)
        iterable = isinstance(self.dataset, IterableDataset)
        groups = range(0) if iterable else self.groups(skip)
        if not self.num_workers:
            if iterable:
                yield from itertools.islice(fetcher.stream(seed, epoch, 0), skip, None)
            else:
                yield from (fetcher.batch(seed, epoch, indices) for indices in groups)
            return
        crew = self.crew or self.open_crew(fetcher, seeding.mix(seed, epoch))
        self.crew = None
        try:
            if iterable:
                yield from itertools.islice(crew.round_robin(("next", seed, epoch)), skip, None)
            else:
                yield from crew.ordered(("batch", seed, epoch, indices) for indices in groups)
        except GeneratorExit:
            raise
        except BaseException:
            crew.broken = True  # an interrupt may have come between a task and its result
            raise
        finally:
            if self.persistent_workers and self.crew is None and not crew.broken:
                self.crew = crew
            else:
                crew.close()

    def groups(self, skip: int) -> Iterable[Any]:
        """The indices of each batch from number `skip` on; our own samplers begin there at once."""
        if not self.batched:
            return starting_at(self.sampler, skip)  # type: ignore[arg-type]
        if type(self.batch_sampler) is BatchSampler:
            return self.batch_sampler.starting_at(skip)
        return itertools.islice(self.batch_sampler, skip, None)  # type: ignore[arg-type]

    def open_crew(self, fetcher: Fetcher, seed: int) -> Crew:
        ahead = self.num_workers * (self.prefetch_factor or 2)
        arguments = (self.num_workers, ahead, self.timeout, fetcher, self.worker_init_fn, seed)
        if self.start_method is None:
            return ThreadCrew(*arguments)
        from .processes import ProcessCrew

        return ProcessCrew(*arguments, self.start_method)


def start_method(context: Any) -> str | None:
    """How worker processes start; None for threads."""
    if isinstance(context, BaseContext):
        context = context.get_start_method()
    if context is None or context == "thread":
        return None
    if context not in ("fork", "forkserver", "spawn"):
        raise ValueError(
            "DataLoader: multiprocessing_context is None, 'thread', 'forkserver', 'spawn' or a context of "
            f"multiprocessing, got {context!r}"
        )
    return "spawn" if context == "spawn" else "forkserver"
