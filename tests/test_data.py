"""Datasets, samplers, collation and the DataLoader: contents, reproducibility, resuming, errors, threads."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections import Counter, OrderedDict, namedtuple

import numpy as np
import pytest

import flambeau as fb
from flambeau.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    get_worker_info,
    random_split,
    sample_generator,
)


class Squares(Dataset):
    def __init__(self, n=20):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        return i, float(i * i)


class Noisy(Squares):
    """Samples that use their own random stream, and take varying time, so that threads finish out of order."""

    def __getitem__(self, i):
        # Without a generator, from the sample's own stream; asking for it by name gives the same one.
        first = fb.rand(3)
        return i, fb.cat([first, fb.rand(1, generator=sample_generator())])


class Stream(IterableDataset):
    def __init__(self, n=20):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        return iter(range(self.n) if info is None else range(info.id, self.n, info.num_workers))


def plain(batches):
    return [[x.tolist() for x in b] if isinstance(b, list | tuple) else b.tolist() for b in batches]


def workers_left():
    return [t for t in threading.enumerate() if t.name.startswith("DataLoader")]


def wait_for_workers_to_end():
    for _ in range(200):
        if not workers_left():
            return
        time.sleep(0.01)
    raise AssertionError(f"threads left: {workers_left()}")


# Datasets


def test_tensor_dataset():
    data = TensorDataset(fb.arange(6).reshape(3, 2), fb.tensor([7, 8, 9]))
    assert len(data) == 3
    assert [t.tolist() for t in data[-1]] == [[4, 5], 9]
    for bad in ((fb.ones(2), fb.ones(3)), (fb.tensor(1.0),), ()):
        with pytest.raises(ValueError, match="same length, got shapes"):
            TensorDataset(*bad)


def test_concat_subset_chain():
    joined = Squares(3) + Squares(2)
    assert isinstance(joined, ConcatDataset) and len(joined) == 5
    assert [joined[i][0] for i in (0, 2, 3, 4, -1, -5)] == [0, 2, 0, 1, 1, 0]
    for i in (5, -6):
        with pytest.raises(IndexError, match=f"index {i} is out of range for 5"):
            joined[i]
    assert [Subset(Squares(), [5, 3])[i][0] for i in (0, 1)] == [5, 3]
    chained = Stream(2) + Stream(3)
    assert isinstance(chained, ChainDataset) and list(chained) == [0, 1, 0, 1, 2]
    with pytest.raises(TypeError, match="use ChainDataset"):
        ConcatDataset([Stream()])
    with pytest.raises(NotImplementedError, match="must define it"):
        Dataset()[0]


def test_stack_dataset():
    pairs = StackDataset(Squares(4), "abcd")
    assert len(pairs) == 4 and pairs[2] == ((2, 4.0), "c")
    named = StackDataset(x=fb.arange(4), y="abcd")
    assert named[-1] == {"x": fb.tensor(3), "y": "d"}
    assert [b["y"] for b in DataLoader(named, 3)] == [["a", "b", "c"], ["d"]]
    for args, kwargs in (((), {}), (([1],), {"x": [1]}), (([1], [1, 2]), {})):
        with pytest.raises(ValueError, match="StackDataset: takes"):
            StackDataset(*args, **kwargs)


class Several(Squares):
    """Gives several samples at once."""

    def __getitems__(self, indices):
        return [("at once", i, fb.rand(1).item()) for i in indices]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_that_gives_several_samples_at_once(workers):
    def run(workers):
        fb.manual_seed(1)
        return list(DataLoader(Subset(Several(), [5, 4, 3]), 2, num_workers=workers, collate_fn=list))

    found = run(workers)
    assert [[x[:2] for x in b] for b in found] == [[("at once", 5), ("at once", 4)], [("at once", 3)]]
    assert found == run(1)
    assert Subset(Squares(), [5, 4]).__getitems__([1]) == [(4, 16.0)]


def test_random_split():
    parts = random_split(Squares(11), [0.5, 0.3, 0.2], generator=fb.Generator().manual_seed(1))
    assert [len(p) for p in parts] == [6, 3, 2]
    assert sorted(i for p in parts for i in p.indices) == list(range(11))
    again = random_split(Squares(11), [6, 3, 2], generator=fb.Generator().manual_seed(1))
    assert [p.indices for p in parts] == [p.indices for p in again]
    other = random_split(Squares(11), [6, 3, 2], generator=fb.Generator().manual_seed(2))
    assert [p.indices for p in parts] != [p.indices for p in other]
    for bad in ([6, 3], [12, -1], [0.5, 0.6]):
        with pytest.raises(ValueError, match="random_split"):
            random_split(Squares(11), bad)


# Samplers


def test_random_sampler():
    fb.manual_seed(0)
    sampler = RandomSampler(range(50))
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(50)) and first != second
    assert first == list(RandomSampler(range(50)))
    sampler.set_epoch(1)
    assert list(sampler) == second
    assert (
        len(
            set(map(tuple, (list(RandomSampler(range(50), generator=fb.Generator().manual_seed(s))) for s in range(4))))
        )
        == 4
    )


def test_random_sampler_with_num_samples():
    twice = list(RandomSampler(range(5), num_samples=12))
    assert len(twice) == 12 and Counter(twice[:10]) == dict.fromkeys(range(5), 2)
    drawn = list(RandomSampler(range(5), replacement=True, num_samples=1000))
    assert set(drawn) == set(range(5)) and len(drawn) == 1000
    with pytest.raises(ValueError, match="positive integer"):
        RandomSampler(range(5), num_samples=0)


def test_every_order_of_three_is_as_likely():
    counts = Counter(tuple(RandomSampler(range(3), generator=fb.Generator().manual_seed(s))) for s in range(1200))
    assert len(counts) == 6 and min(counts.values()) > 140  # 200 expected, σ = 13


@pytest.mark.parametrize("replacement", [True, False])
def test_weighted_sampler(replacement):
    sampler = WeightedRandomSampler([0, 1, 3, 0], 2, replacement, fb.Generator().manual_seed(3))
    firsts = Counter(next(iter(sampler)) for _ in range(2000))
    assert set(firsts) == {1, 2}
    assert abs(firsts[2] / 2000 - 0.75) < 0.05  # σ = 0.01
    if not replacement:
        assert sorted(sampler) == [1, 2]
        with pytest.raises(ValueError, match="fewer positive weights"):
            WeightedRandomSampler([0, 1, 3, 0], 3, False)
    for bad in ([], [0.0], [-1, 2], [float("nan")]):
        with pytest.raises(ValueError, match="weights are finite"):
            WeightedRandomSampler(bad, 1)


def test_batch_and_subset_samplers():
    assert list(BatchSampler(SequentialSampler(range(5)), 2, True)) == [[0, 1], [2, 3]]
    assert [len(BatchSampler(range(5), 2, d)) for d in (True, False)] == [2, 3]
    assert sorted(SubsetRandomSampler([3, 5, 9])) == [3, 5, 9]
    with pytest.raises(ValueError, match="batch_size is a positive integer, got 0"):
        BatchSampler(range(5), 0, False)


@pytest.mark.parametrize(
    "n, replicas, drop_last", [(10, 3, False), (10, 3, True), (2, 5, False), (2, 5, True), (8, 4, True)]
)
def test_distributed_sampler(n, replicas, drop_last):
    def shares(epoch, shuffle=True):
        samplers = [DistributedSampler(range(n), replicas, r, shuffle, 3, drop_last) for r in range(replicas)]
        for sampler in samplers:
            sampler.set_epoch(epoch)
        assert len({len(s) for s in samplers}) == 1
        found = [list(s) for s in samplers]
        assert [len(x) for x in found] == [len(s) for s in samplers]
        return found

    size = n // replicas if drop_last else -(-n // replicas)
    for found in (shares(0), shares(1)):
        assert all(len(share) == size for share in found)
        counts = Counter(i for share in found for i in share)
        if drop_last:
            assert all(c == 1 for c in counts.values())
        else:
            assert set(counts) == set(range(n)) and max(counts.values()) <= -(-size * replicas // n)
    assert shares(2) == shares(2)
    if n == 10:
        assert shares(0) != shares(1)
    wrapped = [i % n for i in range(size * replicas)]
    assert shares(0, shuffle=False) == [wrapped[r::replicas] for r in range(replicas)]


def test_distributed_sampler_needs_to_know_its_place():
    with pytest.raises(RuntimeError, match="pass num_replicas and rank"):
        DistributedSampler(range(4))
    with pytest.raises(ValueError, match="between 0 and num_replicas - 1 = 1, got 2"):
        DistributedSampler(range(4), 2, 2)


# Collation


def test_default_collate():
    Point = namedtuple("Point", "x y")
    got = default_collate([Point(1, {"a": np.float32(2), "b": "s"}), Point(3, {"a": np.float32(4), "b": "t"})])
    assert isinstance(got, Point) and got.x.tolist() == [1, 3] and got.x.dtype == fb.int64
    assert got.y["a"].dtype == fb.float32 and got.y["b"] == ["s", "t"]
    assert default_collate([1.5, 2]).dtype == fb.float64
    assert default_collate([True, False]).dtype == fb.bool
    assert default_collate([np.ones((2, 3), np.int16)] * 4).shape == (4, 2, 3)
    assert [t.tolist() for t in default_collate([(1, 2), (3, 4)])] == [[1, 3], [2, 4]]
    assert isinstance(default_collate([OrderedDict(a=1)]), OrderedDict)
    with pytest.raises(RuntimeError, match=r"sample 1 of the batch has shape \(2,\), the first has \(3,\)"):
        default_collate([fb.ones(3), fb.ones(2)])
    with pytest.raises(RuntimeError, match=r"different numbers of items \[1, 2\]"):
        default_collate([[1], [1, 2]])
    with pytest.raises(TypeError, match="got a object"):
        default_collate([object()])


def test_default_convert():
    got = default_convert({"a": np.ones(2), "b": (np.int64(3), "s"), "c": [1]})
    assert isinstance(got["a"], fb.Tensor) and got["b"][0].item() == 3 and got["b"][1] == "s" and got["c"] == [1]


# DataLoader


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches(workers):
    loader = DataLoader(Squares(7), batch_size=3, num_workers=workers)
    expected = [[[0, 1, 2], [0, 1, 4]], [[3, 4, 5], [9, 16, 25]], [[6], [36]]]
    assert plain(loader) == expected and len(loader) == 3
    assert plain(DataLoader(Squares(7), 3, drop_last=True, num_workers=workers)) == expected[:2]
    assert plain(DataLoader(Squares(7), batch_sampler=[[1, 0], [6]], num_workers=workers)) == [
        [[1, 0], [1, 0]],
        [[6], [36]],
    ]
    assert [i for i, _ in DataLoader(Squares(3), batch_size=None, num_workers=workers)] == [0, 1, 2]
    assert list(DataLoader(Squares(0), num_workers=workers)) == []
    wait_for_workers_to_end()


def test_order_and_noise_depend_on_seed_epoch_and_index_alone():
    def epochs(workers, seed=5):
        fb.manual_seed(seed)
        loader = DataLoader(Noisy(), batch_size=3, shuffle=True, num_workers=workers)
        return [plain(loader) for _ in range(2)]

    reference = epochs(0)
    assert reference[0] != reference[1]
    for workers in (1, 2, 5):
        assert epochs(workers) == reference
    assert epochs(0, seed=6) != reference
    noise = {i: x for ids, xs in reference[0] for i, x in zip(ids, xs, strict=True)}
    unshuffled = DataLoader(Noisy(), batch_size=4)
    fb.manual_seed(5)
    assert {i: x for ids, xs in plain(unshuffled) for i, x in zip(ids, xs, strict=True)} == noise


def test_noise_is_the_same_in_another_process():
    code = (
        "import flambeau as fb; from flambeau.utils.data import *\n"
        "class D(Dataset):\n"
        "    def __getitem__(s, i): return fb.rand(2, generator=sample_generator())\n"
        "fb.manual_seed(1); print([x.tolist() for x in DataLoader(D(), batch_size=None, sampler=['a', 'b'])])"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1] and runs[0].count("[") == 3


FAST = {
    "tensors": lambda x, y: TensorDataset(x, y),
    "subset": lambda x, y: Subset(TensorDataset(x, y), [5, 3, 8, 1, 19, 0, 7]),
    "subset of a subset": lambda x, y: Subset(Subset(TensorDataset(x, y), [5, 3, 8, 1]), [2, 0, 1]),
    "tensor": lambda x, y: x,
    "array": lambda x, y: np.arange(12, dtype=np.float32).reshape(4, 3),
}


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
def test_gathered_batches_equal_collated_ones(name, shuffle, drop_last):
    x, y = fb.arange(60, dtype=fb.float32).reshape(20, 3), fb.arange(20)
    data = FAST[name](x, y)

    class Plain(Dataset):  # the same samples, in a class that the fast path doesn't know
        def __len__(self):
            return len(data)

        def __getitem__(self, i):
            return data[i]

    def epochs(d):
        fb.manual_seed(3)
        loader = DataLoader(d, 3, shuffle=shuffle, drop_last=drop_last)
        return [plain(loader) for _ in range(2)], next(iter(loader))

    (fast, batch), (slow, _) = epochs(data), epochs(Plain())
    assert fast == slow
    (batch[0] if isinstance(batch, list) else batch).zero_()
    assert x.tolist() == fb.arange(60, dtype=fb.float32).reshape(20, 3).tolist()  # batches are copies


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "make", [lambda: Squares(), lambda: Noisy(), lambda: TensorDataset(fb.arange(20)), lambda: Stream()]
)
def test_resume_in_mid_epoch(make, workers):
    fb.manual_seed(9)
    options = dict(batch_size=3, num_workers=workers, shuffle=None if isinstance(make(), Stream) else True)
    whole = DataLoader(make(), **options)
    expected = [plain(whole) for _ in range(3)]

    first = DataLoader(make(), **options)
    list(first)
    iterator = iter(first)
    got = plain(next(iterator) for _ in range(4))
    state = first.state_dict()
    assert state["epoch"] == 1 and state["batches"] == 4
    fb.manual_seed(123)  # what is resumed depends on the state alone
    second = DataLoader(make(), **options)
    second.load_state_dict(state)
    assert got + plain(second) == expected[1]
    assert plain(second) == expected[2]
    assert second.state_dict() == {**state, "epoch": 3, "batches": 0}
    with pytest.raises(ValueError, match="takes what state_dict"):
        second.load_state_dict({"epoch": 1})


def test_an_abandoned_epoch_counts():
    fb.manual_seed(4)
    whole = DataLoader(Squares(), 3, shuffle=True)
    expected = [plain(whole) for _ in range(2)]
    loader = DataLoader(Squares(), 3, shuffle=True)
    next(iter(loader))
    assert plain(loader) == expected[1]
    loader.set_epoch(0)
    assert plain(loader) == expected[0]


@pytest.mark.parametrize(
    "name", ["dataset", "batch_size", "batch_sampler", "sampler", "drop_last", "persistent_workers"]
)
def test_what_a_loader_is_made_of_stays(name):
    loader = DataLoader(Squares(), 3)
    with pytest.raises(ValueError, match=f"{name} can't be changed"):
        setattr(loader, name, None)
    loader.num_workers, loader.timeout = 1, 5  # as in PyTorch
    assert len(list(loader)) == 7


def test_a_new_seed_starts_counting_again():
    loader = DataLoader(Squares(), 3, shuffle=True)
    orders = {}
    for seed in (1, 2, 1):
        fb.manual_seed(seed)
        orders.setdefault(seed, []).append(plain(loader))
    assert orders[1][0] == orders[1][1] != orders[2][0]


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_keep_their_type_and_name_the_sample(workers):
    class Bad(Squares):
        def __getitem__(self, i):
            if i == 13:
                raise ZeroDivisionError("thirteen")
            return super().__getitem__(i)

    loader = DataLoader(Bad(), 4, num_workers=workers)
    seen = []
    with pytest.raises(ZeroDivisionError, match="thirteen") as caught:
        for batch in loader:
            seen.append(batch)
    assert len(seen) == 3
    assert "while loading sample 13" in caught.value.__notes__[0]
    assert ("in worker 1" in caught.value.__notes__[0]) == (workers == 2)
    wait_for_workers_to_end()
    ragged = DataLoader([fb.ones(2), fb.ones(3)], 2, num_workers=workers)
    with pytest.raises(RuntimeError, match="has shape") as caught:
        list(ragged)
    assert r"while collating samples [0, 1]" in caught.value.__notes__[0]


def test_workers_end_when_the_iterator_is_dropped():
    gc.collect()
    wait_for_workers_to_end()  # those of the tests before
    iterator = iter(DataLoader(Noisy(200), 1, num_workers=3))
    next(iterator)
    assert len(workers_left()) == 3
    del iterator
    gc.collect()
    wait_for_workers_to_end()


def test_persistent_workers_stay_and_end_with_the_loader():
    gc.collect()
    wait_for_workers_to_end()
    loader = DataLoader(Squares(), 3, num_workers=2, persistent_workers=True)
    list(loader)
    before = workers_left()
    assert len(before) == 2
    list(loader)
    assert workers_left() == before
    del loader
    gc.collect()
    wait_for_workers_to_end()


def test_a_program_ends_with_workers_busy():
    code = (
        "import time, flambeau as fb; from flambeau.utils.data import *\n"
        "class D(Dataset):\n"
        "    def __len__(s): return 100\n"
        "    def __getitem__(s, i): time.sleep(0.02 if i < 2 else 600); return i\n"
        "it = iter(DataLoader(D(), 1, num_workers=2)); print(next(it))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.strip() == "tensor([0])" and not done.stderr


def test_timeout():
    class Slow(Squares):
        def __getitem__(self, i):
            time.sleep(0.2)
            return i

    with pytest.raises(RuntimeError, match=r"timed out, a batch took more than 0.01 seconds"):
        list(DataLoader(Slow(4), num_workers=1, timeout=0.01))


def test_worker_info_and_init():
    started = []

    class Asks(Squares):
        def __getitem__(self, i):
            return get_worker_info().id

    loader = DataLoader(Asks(6), 2, num_workers=2, worker_init_fn=started.append)
    assert plain(loader) == [[0, 0], [1, 1], [0, 0]]
    assert sorted(started) == [0, 1]
    assert get_worker_info() is None


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_iterable_dataset(workers):
    batches = plain(DataLoader(Stream(), 4, num_workers=workers))
    assert sorted(i for b in batches for i in b) == list(range(20))
    if workers == 3:
        assert batches[:3] == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    assert plain(DataLoader(Stream(5), 2, drop_last=True)) == [[0, 1], [2, 3]]
    assert list(DataLoader(Stream(3), batch_size=None)) == [0, 1, 2]


@pytest.mark.parametrize("options, message", [
    (dict(num_workers=-1), "can't be negative"),
    (dict(prefetch_factor=2), "need num_workers"),
    (dict(sampler=[0], shuffle=True), "exclude each other"),
    (dict(batch_sampler=[[0]], batch_size=2), "batch_sampler excludes"),
    (dict(batch_size=None, drop_last=True), "drop_last needs a batch_size"),
    (dict(batch_size=0), "positive integer"),
])  # fmt: skip
def test_contradictory_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(Squares(), **options)
    with pytest.raises(ValueError, match="has its own order"):
        DataLoader(Stream(), shuffle=True)
