"""Worker processes of a DataLoader: the same batches as without; errors, deaths and signals; nothing left behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import flambeau as fb
from flambeau.multiprocessing.packed import LONG, PackedList
from flambeau.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info
from flambeau.utils.data.ring import SLOT

METHODS = ["forkserver", "spawn"]


class Mixed(Dataset):
    """Samples of everything: tensors of several types, arrays, strings, and random numbers of the sample's own."""

    def __init__(self, n=23):
        self.n = n
        self.x = fb.arange(n * 6, dtype=fb.float32).reshape(n, 2, 3)
        self.half = self.x.to(fb.bfloat16)
        self.array = np.arange(n * 2, dtype=np.int16).reshape(n, 2)
        self.names = [f"sample {i}" for i in range(n)]

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return {
            "x": self.x[i].mT, "half": self.half[i], "array": self.array[i], "name": self.names[i], "noise": fb.rand(2),
            "pair": (i, float(i)),
        }  # fmt: skip


def noisy_collation(samples):
    """Draws random numbers itself, and leaves an array in the batch."""
    return fb.utils.data.default_collate(samples), fb.rand(3), np.stack([s["array"] for s in samples])


def plain(x):
    """A batch as Python objects that compare by value; tensors with their dtypes."""
    if isinstance(x, fb.Tensor):
        return str(x.dtype), x.tolist()
    if isinstance(x, np.ndarray):
        return str(x.dtype), x.tolist()
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return [plain(v) for v in x] if isinstance(x, list | tuple) else x


def epochs(count=2, **options):
    fb.manual_seed(7)
    loader = DataLoader(Mixed(), batch_size=4, shuffle=True, collate_fn=noisy_collation, **options)
    return [[plain(batch) for batch in loader] for _ in range(count)]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pids):
    for _ in range(1000):
        if not any(map(alive, pids)):
            return
        time.sleep(0.02)
    raise AssertionError(f"processes left: {[p for p in pids if alive(p)]}")


def test_batches_are_the_same_bits_with_any_workers():
    reference = epochs()
    assert reference[0] != reference[1] and len(reference[0]) == 6
    assert epochs(num_workers=3) == reference
    for workers, context in ((1, "spawn"), (3, multiprocessing.get_context("forkserver")), (2, "fork")):
        assert epochs(1, num_workers=workers, multiprocessing_context=context) == reference[:1]
    options = {"num_workers": 2, "multiprocessing_context": "forkserver", "persistent_workers": True}
    assert epochs(prefetch_factor=1, **options) == reference


def test_the_default_dtype_goes_along():
    fb.set_default_dtype(fb.float64)
    batch = next(iter(DataLoader(Mixed(), 2, num_workers=1, multiprocessing_context="forkserver")))
    fb.set_default_dtype(fb.float32)
    assert batch["noise"].dtype == fb.float64


@pytest.mark.parametrize("before, after", [({}, {"num_workers": 2}), ({"num_workers": 3}, {"num_workers": 1})])
def test_resume_with_other_workers(before, after):
    for options in (before, after):
        if options:
            options["multiprocessing_context"] = "forkserver"
    fb.manual_seed(3)
    expected = [[plain(b) for b in DataLoader(Mixed(), 3, shuffle=True)]][0]
    first = DataLoader(Mixed(), 3, shuffle=True, **before)
    iterator = iter(first)
    got = [plain(next(iterator)) for _ in range(3)]
    state = first.state_dict()
    fb.manual_seed(99)
    second = DataLoader(Mixed(), 3, shuffle=True, **after)
    second.load_state_dict(state)
    assert got + [plain(b) for b in second] == expected


class Recorder(Dataset):
    def __init__(self, n):
        self.n, self.asked = n, []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.asked.append(i)
        return i


class Far:
    """A sequence of indices that says when it is walked instead of sliced."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter(range(self.n))

    def __len__(self):
        return self.n


@pytest.mark.parametrize("sampler", [None, range(10**6), Far(10**6)])
def test_resume_asks_for_no_sample_that_was_handed_out(sampler):
    data = Recorder(10**6)
    loader = DataLoader(data, 10, sampler=sampler)
    loader.load_state_dict({"seed": 0, "epoch": 2, "batches": 99_998})
    assert [b.tolist() for b in loader] == [list(range(999_980, 999_990)), list(range(999_990, 10**6))]
    assert data.asked == list(range(999_980, 10**6))


# Errors


class Unpicklable(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


class Bad(Dataset):
    """Sample 5 goes wrong in some way."""

    def __init__(self, way):
        self.way = way

    def __len__(self):
        return 8

    def __getitem__(self, i):
        if i == 5:
            self.go_wrong()
        return i

    def go_wrong(self):
        if self.way == "raise":
            raise ZeroDivisionError("five")
        if self.way == "unpicklable":
            raise Unpicklable("one", "two")
        if self.way == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.way == "exit":
            os._exit(3)
        if self.way == "sleep":
            time.sleep(600)


def until_error(way, kind, **options):
    loader = DataLoader(Bad(way), 2, num_workers=2, multiprocessing_context=kind, **options)
    seen = []
    with pytest.raises(Exception) as caught:
        for batch in loader:
            seen.append(batch.tolist())
    assert seen == [[0, 1], [2, 3]]
    return caught.value


@pytest.mark.parametrize("kind", METHODS)
def test_errors_come_with_type_traceback_and_index(kind):
    error = until_error("raise", kind)
    assert type(error) is ZeroDivisionError and error.args == ("five",)
    assert error.__notes__ == ["DataLoader: while loading sample 5 in worker 0"]
    assert "in go_wrong" in str(error.__cause__) and "five" in str(error.__cause__)


def test_errors_that_pickle_refuses():
    error = until_error("unpicklable", "forkserver")
    assert type(error) is RuntimeError and "Unpicklable: one and two" in str(error)
    assert "in go_wrong" in str(error.__cause__)


@pytest.mark.parametrize("kind", METHODS)
def test_a_worker_that_died_is_named(kind):
    error = until_error("kill", kind)
    assert type(error) is RuntimeError
    assert str(error).startswith("DataLoader worker 0 (pid ") and "killed by signal: SIGKILL" in str(error)


def test_a_worker_that_exited_is_named():
    error = until_error("exit", "forkserver", persistent_workers=True)
    assert str(error).startswith("DataLoader worker 0 (pid ") and "exited unexpectedly with code 3" in str(error)


def test_timeout_and_a_busy_worker_is_not_left():
    pids = fb.zeros(8, dtype=fb.int64).share_memory_()
    loader = DataLoader(Noted(pids), 1, num_workers=2, multiprocessing_context="forkserver", timeout=2)
    with pytest.raises(RuntimeError, match=r"took more than 2 seconds"):
        list(loader)
    # On a machine so slow that no worker had started by then, there is none to look for.
    wait_until_gone({pid for pid in pids.tolist() if pid})


class Noted(Bad):
    def __init__(self, pids):
        super().__init__("sleep")
        self.pids = pids

    def __getitem__(self, i):
        self.pids[i] = os.getpid()
        return super().__getitem__(i)


class Pids(Bad):
    def __getitem__(self, i):
        super().__getitem__(i)
        return os.getpid()


def broken_init(worker):
    raise KeyError(f"init of {worker}")


class Unloadable(Mixed):
    def __setstate__(self, state):
        raise OSError("no such file")


def test_errors_before_the_first_batch():
    options = {"num_workers": 2, "multiprocessing_context": "forkserver"}
    with pytest.raises(KeyError, match="init of 0"):
        next(iter(DataLoader(Mixed(), worker_init_fn=broken_init, **options)))
    with pytest.raises(OSError, match="no such file") as caught:
        next(iter(DataLoader(Unloadable(), **options)))
    assert "while the dataset was made" in caught.value.__notes__[0]
    with pytest.raises((AttributeError, TypeError)) as caught:
        next(iter(DataLoader(Mixed(), collate_fn=lambda x: x, **options)))
    assert "by pickle" in caught.value.__notes__[-1]
    for context in ("process", 3):
        with pytest.raises(ValueError, match="multiprocessing_context is None, 'thread'"):
            DataLoader(Mixed(), num_workers=1, multiprocessing_context=context)
    with pytest.raises(ValueError, match="need num_workers > 0"):
        DataLoader(Mixed(), multiprocessing_context="spawn")


# What workers are given, and what they see


class Stream(IterableDataset):
    def __iter__(self):
        info = get_worker_info()
        for i in range(info.id, 20, info.num_workers):
            yield i, fb.rand(1)


@pytest.mark.parametrize("kind", METHODS)
def test_iterable_dataset(kind):
    def run(kind):
        fb.manual_seed(2)
        loader = DataLoader(Stream(), 3, num_workers=2, multiprocessing_context=kind, persistent_workers=True)
        return [[plain(b) for b in loader] for _ in range(2)]

    found = run(kind)
    assert found == run("thread")
    assert [b[0][1] for b in found[0]][:3] == [[0, 2, 4], [1, 3, 5], [6, 8, 10]] and found[0] != found[1]


class Asks(Dataset):
    def __init__(self, shared):
        self.shared, self.own, self.array = shared, fb.zeros(1), np.zeros(1)

    def __len__(self):
        return 6

    def __getitem__(self, i):
        self.shared[i] = 1  # shared memory: seen by the program
        self.own += 1  # the worker's own
        self.array += 1
        info = get_worker_info()
        return info.id, info.dataset is self, self.own.item(), self.array.item(), random.random(), fb.get_num_threads()


def remember(worker):
    os.environ["REMEMBERED"] = str(worker)


@pytest.mark.parametrize("kind", METHODS)
def test_what_a_worker_sees(kind):
    shared = fb.zeros(6).share_memory_()
    data = Asks(shared)
    loader = DataLoader(data, 1, num_workers=2, multiprocessing_context=kind, worker_init_fn=remember)
    fb.manual_seed(0)
    ids, same, own, array, drawn, threads = (list(map(float, column)) for column in zip(*loader, strict=True))
    assert ids == [0, 1, 0, 1, 0, 1] and set(same) == {1} and set(threads) == {1}
    assert own == array == [1, 1, 2, 2, 3, 3]
    assert len(set(drawn)) == 6
    assert shared.tolist() == [1] * 6 and data.own.item() == 0 and data.array.item() == 0
    assert "REMEMBERED" not in os.environ
    loader.set_epoch(0)
    assert [float(batch[4]) for batch in loader] == drawn


class Listed(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i], type(self.items).__name__


@pytest.mark.parametrize("kind", METHODS)
def test_long_lists_are_held_once(kind):
    items = [(f"Bild {i} ü", i) for i in range(LONG)]
    loader = DataLoader(Listed(items), 1000, num_workers=1, multiprocessing_context=kind, collate_fn=list)
    assert [x for batch in loader for x in batch] == [(item, "PackedList") for item in items]


def test_packed_list_reads_and_writes_like_a_list():
    items = ["a", "ü" * 300, b"\0", 1, -(2**80), 1.5, float("inf"), 2 - 1j, None, True, ("x", (1, "y")), ""]
    packed = PackedList(items)
    n = len(items)
    assert len(packed) == n and list(packed) == items and packed == items and items == packed
    assert [type(x) for x in packed] == [type(x) for x in items]
    assert [packed[i] for i in range(-n, n)] == [items[i] for i in range(-n, n)]
    assert packed[2:-1:3] == items[2:-1:3] and packed[np.int64(3)] == items[3]
    assert packed + [1] == items + [1] and [1] + packed == [1, *items] and packed * 2 == items * 2
    assert (
        b"\0" in packed and packed.index(1.5) == 5 and packed.count("") == 1 and list(reversed(packed)) == items[::-1]
    )
    assert packed != items[1:] and repr(packed) == repr(items) and packed.copy() == items
    for i in (n, -n - 1):
        with pytest.raises(IndexError, match="out of range"):
            packed[i]
    for xs in (packed, items):
        xs[0] = "changed"
        del xs[3:5]
        xs.append(["anything"])
        xs.insert(1, 7)
        xs.reverse()
        xs += "z"
    assert list(packed) == items and len(packed) == len(items) and packed[-1] == "z"


# The ring


class Large(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return fb.full((SLOT // 4 + 1 if i == 1 else 5,), float(i))


def test_batches_larger_than_a_slot():
    loader = DataLoader(Large(), None, num_workers=1, multiprocessing_context="forkserver")
    assert [(len(x), x[0].item(), x[-1].item()) for x in loader] == [(5, 0, 0), (SLOT // 4 + 1, 1, 1), (5, 2, 2)]


def test_batches_that_are_kept_stay_as_they_are_and_slots_come_back():
    options = {"num_workers": 2, "multiprocessing_context": "forkserver", "persistent_workers": True}
    loader = DataLoader(Mixed(64), 1, **options)
    kept = list(loader)
    ring = loader.crew.ring
    assert not ring.free
    assert [b["x"].flatten()[0].item() for b in kept] == [6 * i for i in range(64)]
    kept[3]["x"].zero_()
    assert kept[4]["x"].flatten()[0].item() == 24
    slots = ring.memory.nbytes // SLOT
    part = kept[0]["x"][0, 0]
    del kept
    gc.collect()
    assert len(ring.free) == slots - 1 and part.tolist() == [0, 3]
    del part
    gc.collect()
    assert sorted(ring.free) == list(range(slots))
    before = len(os.listdir("/proc/self/fd"))
    kept = [list(loader) for _ in range(3)]
    assert len(kept[2]) == 64 and len(os.listdir("/proc/self/fd")) == before


def test_persistent_workers_stay_and_end_with_the_loader():
    def run(loader):
        return {int(pid) for batch in loader for pid in batch}

    loader = DataLoader(Pids(None), 1, num_workers=2, multiprocessing_context="forkserver", persistent_workers=True)
    pids = run(loader)
    assert len(pids) == 2 and run(loader) == pids and all(map(alive, pids))
    next(iter(loader))  # an epoch broken off: what was on its way is for nobody
    assert run(loader) == pids
    del loader
    gc.collect()
    wait_until_gone(pids)


# Programs


PROGRAM = """
    import os, signal, sys, time
    import flambeau as fb
    from flambeau.utils.data import DataLoader, Dataset

    class Pids(Dataset):
        def __len__(self):
            return 1000
        def __getitem__(self, i):
            if i > 3:
                time.sleep(BUSY)
            return fb.tensor(os.getpid())

    if __name__ == "__main__":
        loader = DataLoader(Pids(), 1, num_workers=2, multiprocessing_context=METHOD)
        batches = iter(loader)
        print(*{int(next(batches)) for _ in range(4)}, flush=True)
        END
"""


def program(tmp_path, method, end, busy=600.0):
    text = textwrap.dedent(PROGRAM).replace("METHOD", repr(method)).replace("END", end).replace("BUSY", str(busy))
    (tmp_path / "program.py").write_text(text)
    command = [sys.executable, str(tmp_path / "program.py")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


ENDS = {
    "end": ("sys.exit(0)", 0),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "terminated": ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    "error": ("1 / 0", 1),
}


@pytest.mark.parametrize("method, end, busy", [
    *(("forkserver", end, 600.0) for end in ENDS),
    ("forkserver", "killed", 0.001),
    ("spawn", "killed", 600.0),
    ("spawn", "end", 0.001),
])  # fmt: skip
def test_nothing_outlives_the_program(tmp_path, method, end, busy):
    before = set(os.listdir("/dev/shm"))
    statement, code = ENDS[end]
    with program(tmp_path, method, statement, busy) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert process.wait(60) == code
        wait_until_gone(pids)
        errors = process.stderr.read()
    assert len(pids) == 2
    assert errors.count("Traceback") == (end == "error")
    assert not {name for name in set(os.listdir("/dev/shm")) - before if "flambeau" in name}
    # The whole session: server processes of multiprocessing too.
    wait_until_gone(in_session(process.pid))


def in_session(session):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[3]) == session:
                found.append(int(stat.parent.name))
        except OSError:
            pass
    return found


@pytest.mark.parametrize("method", METHODS)
def test_ctrl_c(tmp_path, method):
    with program(tmp_path, method, "next(batches)") as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        errors = process.stderr.read()
        assert process.wait(60) == -signal.SIGINT
    wait_until_gone([*pids, *in_session(process.pid)])
    assert errors.count("Traceback") == 1 and errors.strip().endswith("KeyboardInterrupt")
