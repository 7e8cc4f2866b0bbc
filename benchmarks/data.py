"""Data loading: epochs of 100 batches of 64×784 floats and their labels, and how long workers take to start."""

from __future__ import annotations

import os

from .case import case

BATCHES = 100


class Rows:
    """A dataset of the user's own: each sample is indexed by itself."""

    def __init__(self, fb) -> None:
        self.x = fb.rand(64 * BATCHES, 784)
        self.y = list(range(64 * BATCHES))

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int):
        return self.x[i], self.y[i]


class Light:
    """Samples that cost nothing, so that what remains is the workers."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, i: int) -> int:
        return i


def epoch(loader) -> None:
    for _ in loader:
        pass


def in_memory(fb, **options):
    data = fb.utils.data
    rows = Rows(fb)
    dataset = data.TensorDataset(rows.x, fb.tensor(rows.y))
    return "epoch(loader)", {"epoch": epoch, "loader": data.DataLoader(dataset, 64, **options)}


def own(fb, **options):
    loader = fb.utils.data.DataLoader(Rows(fb), 64, shuffle=True, **options)
    return "epoch(loader)", {"epoch": epoch, "loader": loader}


@case("TensorDataset in order, 100 batches of 64×784", reach=0.5, budget=120000)
def tensors(fb):
    return in_memory(fb)


@case("TensorDataset shuffled, 100 batches of 64×784", reach=0.5, budget=120000)
def tensors_shuffled(fb):
    return in_memory(fb, shuffle=True)


@case("TensorDataset shuffled, 2 workers, 100 batches of 64×784", reach=0.5)
def tensors_workers(fb):
    return in_memory(fb, shuffle=True, num_workers=2, persistent_workers=True)


@case("own dataset, 100 batches of 64×784")
def samples(fb):
    return own(fb)


@case("own dataset, 2 workers (threads; PyTorch: processes), 100 batches of 64×784", reach=0.5)
def samples_threads(fb):
    return own(fb, num_workers=2, persistent_workers=True)


@case("own dataset, 2 worker processes (forkserver), 100 batches of 64×784", reach=0.5)
def samples_processes(fb):
    return own(fb, num_workers=2, persistent_workers=True, multiprocessing_context="forkserver")


@case("4 workers start (threads; PyTorch: processes) and give a batch")
def start(fb):
    os.environ["PYTHONWARNINGS"] = "ignore"
    loader = fb.utils.data.DataLoader(Light(), 1, num_workers=4)
    return "next(iter(loader))", {"loader": loader}
