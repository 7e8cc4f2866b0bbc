"""Where data loading gets its randomness: everything is a function of (seed, epoch, index), and of nothing else.

So an epoch's order and each sample's augmentation are the same with any number of workers, and after a resume in
mid-epoch. Imports flambeau when called. Read next: `sampler.py` (orders), `loader.py` (epochs).
"""

from __future__ import annotations

import threading
import zlib
from typing import Any

MASK = 2**64 - 1


def mix(*numbers: int) -> int:
    """A 63-bit seed from numbers, by the finalizer of SplitMix64 (Steele, Lea, Flood 2014)."""
    state = 0
    for number in numbers:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK
        state ^= state >> 31
    return state >> 1


def base_seed(generator: Any = None) -> int:
    """The seed a generator, or else the program, was given."""
    import flambeau as fb

    return generator.initial_seed() if generator is not None else fb.initial_seed()


def generator_for(*numbers: int) -> Any:
    import flambeau as fb

    generator = fb.Generator()
    generator.manual_seed(mix(*numbers))
    return generator


class Current(threading.local):
    """What the sample being loaded in this thread may ask about."""

    key: tuple = (0,)
    generator: Any = None
    worker: Any = None  # the thread's WorkerInfo, in a worker


current = Current()


def begin_sample(seed: int, epoch: int, index: Any) -> None:
    current.key, current.generator = (seed, epoch, index), None


def worker_name() -> str:
    return f" in worker {current.worker.id}" if current.worker is not None else ""


def sample_generator() -> Any:
    """The random generator of the sample being loaded: a function of the loader's seed, the epoch and the index.

    What a `Dataset.__getitem__` draws without a generator comes from here; each call within one sample continues
    the same stream.

    >>> class Noise(fb.utils.data.Dataset):
    ...     def __getitem__(self, index):
    ...         return fb.rand(1, generator=fb.utils.data.sample_generator())
    ...     def __len__(self):
    ...         return 4
    >>> load = lambda: fb.cat([*fb.utils.data.DataLoader(Noise(), generator=fb.Generator().manual_seed(0))])
    >>> fb.equal(load(), load())
    True
    """
    if current.generator is None:
        # Python's hash of a string differs between processes, so indices that are no numbers go by their text.
        numbers = [int(k) if hasattr(k, "__index__") else zlib.crc32(repr(k).encode()) for k in current.key]
        current.generator = generator_for(*numbers)
    return current.generator
