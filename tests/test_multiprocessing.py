"""Tensors shared by processes: queues, pipes and pools, spawn, training in place by several processes, nothing left."""

from __future__ import annotations

import copy
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

import flambeau as fb
from flambeau import multiprocessing as mp
from flambeau.nn import functional as F

METHODS = ["fork", "forkserver", "spawn"]
DTYPES = [fb.float32, fb.bfloat16, fb.int64, fb.bool, fb.complex64, fb.float16]


# Moving to shared memory


def test_share_memory_moves_every_view_along():
    x = fb.arange(12.0).reshape(3, 4)
    row, column, data = x[1], x.T[2], x.data
    below = data[2:]
    assert not any(t.is_shared() for t in (x, row, data))
    assert row.share_memory_() is row
    assert all(t.is_shared() for t in (x, row, column, data, below))
    x[1, 2] = 100
    assert row[2].item() == column[1].item() == data[1, 2].item() == 100
    below.zero_()
    assert x[2].tolist() == [0] * 4
    where = x.data_ptr()
    x.share_memory_()
    assert x.data_ptr() == where and row.data_ptr() == where + 16
    assert not x.clone().is_shared() and not copy.deepcopy(x).is_shared() and fb.zeros(0).share_memory_().is_shared()


def test_share_memory_and_the_tape():
    x = fb.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    x.share_memory_()
    assert x.requires_grad and x.is_leaf
    y.sum().backward()
    assert x.grad.tolist() == [2, 4] and not x.grad.is_shared()


def test_memory_that_something_else_uses_stays():
    x = fb.ones(3)
    array = x.numpy()
    with pytest.raises(RuntimeError, match="share it first and call numpy"):
        x.share_memory_()
    assert not x.is_shared()
    array[0] = 5
    assert x[0].item() == 5
    del array
    array = x.share_memory_().numpy()
    array[1] = 6
    assert x.tolist() == [5, 6, 1]
    of_array = np.ones(3)
    assert fb.from_numpy(of_array).share_memory_().add_(1).tolist() == [2] * 3 and of_array.tolist() == [1] * 3


def test_a_buffer_outlives_the_tensor_it_was_asked_of():
    x = fb.full((1000,), 3.0)
    array = x.numpy()
    x.data = fb.zeros(2)
    del x
    others = [fb.zeros(1000) for _ in range(20)]
    assert array.sum() == 3000 and len(others) == 20


def test_modules():
    model = fb.nn.Sequential(fb.nn.Linear(3, 2), fb.nn.BatchNorm1d(2))
    tied = model[0].weight
    model.tied = tied
    model.share_memory()
    assert all(t.is_shared() for t in model.state_dict().values()) and model.tied is tied is model[0].weight
    model(fb.rand(4, 3)).sum().backward()
    assert tied.grad is not None


def test_plain_pickle_copies():
    x = fb.ones(2).share_memory_()
    y = pickle.loads(pickle.dumps(x))
    y.zero_()
    assert x.tolist() == [1, 1] and not y.is_shared()


def test_memory_is_given_back():
    def mapped():
        return Path("/proc/self/maps").read_text().count("memfd:flambeau"), len(os.listdir("/proc/self/fd"))

    before = mapped()
    x = fb.zeros(100_000).share_memory_()
    gone = weakref.ref(x)
    assert mapped() == (before[0] + 1, before[1] + 1)
    del x
    assert gone() is None and mapped() == before


def test_strategies():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert mp.get_sharing_strategy() == "file_descriptor"
    assert mp.get_all_sharing_strategies() == {"file_descriptor", "file_system"}
    try:
        mp.set_sharing_strategy("file_system")
        assert mp.get_sharing_strategy() == "file_system"
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == limits[1]
        assert fb.ones(2).share_memory_().is_shared()
    finally:
        mp.set_sharing_strategy("file_descriptor")
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    with pytest.raises(ValueError, match=r"takes one of file_descriptor, file_system, got 'x'"):
        mp.set_sharing_strategy("x")


# Between processes


def answer(receive, send, done):
    """Adds one to tensors that come, in place, and sends them back."""
    while (x := receive.get()) is not None:
        x += 1
        send.put((x, x.data_ptr() % 64, x.requires_grad, x.stride(), x.is_shared()))
    done.wait()


@pytest.mark.parametrize("method", METHODS)
def test_tensors_travel_without_copies(method):
    context = mp.get_context(method)
    there, back, done = context.SimpleQueue(), context.Queue(), context.Event()
    process = context.Process(target=answer, args=(there, back, done))
    process.start()
    whole = fb.arange(40.0).reshape(5, 8)
    for x in (whole[1:4, ::2], fb.zeros(3), fb.tensor(4), whole.T, whole):
        before = x.clone()
        there.put(x)
        y, _, requires_grad, stride, shared = back.get(timeout=100)  # a child that failed says nothing
        assert x.is_shared() and shared and not requires_grad and stride == x.stride()
        assert (x == before + 1).all()  # the other process wrote here
        assert y.untyped_storage() is x.untyped_storage() and y.is_set_to(x)
    process.kill() if method == "spawn" else (there.put(None), done.set())
    process.join()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_through_a_pipe(dtype):
    near, far = mp.Pipe()
    x = fb.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    near.send({"x": x, "again": [x.T, x]})
    got = far.recv()
    assert got["x"].dtype == dtype and got["x"].tolist() == x.tolist() and got["again"][0].tolist() == x.T.tolist()
    got["again"][0][0, 1] = 0
    assert x[1, 0].item() == 0 == got["x"][1, 0].item()


def test_parameters_and_attributes_through_a_pipe():
    near, far = mp.Pipe()
    p = fb.nn.Parameter(fb.ones(2))
    x = fb.ones(2, requires_grad=True)
    x.note = "kept"
    near.send((p, x))
    q, y = far.recv()
    assert type(q) is fb.nn.Parameter and q.requires_grad and y.requires_grad and y.note == "kept"
    with fb.no_grad():
        q.add_(1)
    assert p.tolist() == [2, 2]
    with pytest.raises(RuntimeError, match=r"the result of MulBackward0; send x.detach\(\)"):
        near.send(x * 2)


def double(x):
    return x.mul_(2)


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_pool(method):
    with mp.get_context(method).Pool(2) as pool:
        xs = [fb.full((3,), float(i)) for i in range(4)]
        found = pool.map(double, xs)
        assert [x.tolist() for x in found] == [[2.0 * i] * 3 for i in range(4)] == [x.tolist() for x in xs]


def send_and_end(queue):
    queue.put(fb.ones(2))


def test_a_tensor_whose_sender_has_ended():
    queue = mp.SimpleQueue()
    process = mp.Process(target=send_and_end, args=(queue,))
    process.start()
    process.join()
    with pytest.raises(RuntimeError, match="the process that sent it has ended"):
        queue.get()


# spawn


def work(index, x, way):
    x[index] = index + 1
    if way == "raise" and index == 1:
        raise ValueError(f"number {index}")
    if way == "exit" and index == 1:
        sys.exit(7)
    if way == "kill" and index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if way:
        time.sleep(600)


@pytest.mark.parametrize("method", METHODS)
def test_start_processes(method):
    x = fb.zeros(3)
    if method == "fork":
        x.share_memory_()
    assert mp.start_processes(work, (x, ""), nprocs=3, start_method=method) is None
    assert x.tolist() == [1, 2, 3]


def test_spawn_without_join():
    x = fb.zeros(2)
    context = mp.spawn(work, (x, ""), nprocs=2, join=False)
    assert isinstance(context, mp.SpawnContext) and len(set(context.pids())) == 2
    while not context.join(timeout=60):
        pass
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize("way", ["raise", "exit", "kill"])
def test_one_that_fails_ends_all(way):
    context = mp.start_processes(work, (fb.zeros(3), way), nprocs=3, join=False, start_method="fork")
    with pytest.raises((mp.ProcessRaisedException, mp.ProcessExitedException)) as caught:
        while not context.join():
            pass
    error = caught.value
    assert error.error_index == 1 and error.error_pid == context.pids()[1]
    assert not any(process.is_alive() for process in context.processes)
    if way == "raise":
        assert type(error) is mp.ProcessRaisedException
        assert "-- Process 1 terminated with the following error:" in str(error) and "ValueError: number 1" in str(
            error
        )
    else:
        code, name = (7, None) if way == "exit" else (-9, "SIGKILL")
        assert type(error) is mp.ProcessExitedException and (error.exit_code, error.signal_name) == (code, name)
        assert str(error) == "process 1 terminated with " + (f"signal {name}" if name else f"exit code {code}")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# Training by several processes at once (Recht et al., Hogwild!, 2011)


def train(rank, model, truth):
    fb.set_num_threads(1)
    generator = fb.Generator().manual_seed(rank)
    optimizer = fb.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(300):
        x = fb.randn(16, 5, generator=generator)
        optimizer.zero_grad()
        F.mse_loss(model(x), x @ truth).backward()
        optimizer.step()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_hogwild(method):
    fb.manual_seed(0)
    truth = fb.tensor([[1.0], [-2.0], [3.0], [0.5], [-1.0]])
    model = fb.nn.Linear(5, 1).share_memory()
    weight = model.weight
    mp.start_processes(train, (model, truth), nprocs=3, start_method=method)
    assert model.weight is weight
    # Each of the three alone would get there; nobody's last step can undo it.
    assert (weight.T - truth).abs().max().item() < 1e-3 and model.bias.abs().item() < 1e-3


def test_no_names_are_left_when_all_is_killed(tmp_path):
    code = (
        "import os, flambeau as fb\n"
        "x = fb.zeros(1000).share_memory_()\n"
        "pid = os.fork()\n"
        "x += 1\n"
        "os.kill(os.getpid(), 9)\n"
    )
    before = set(os.listdir("/dev/shm"))
    done = subprocess.run([sys.executable, "-c", code], timeout=60)
    assert done.returncode == -9
    assert not {name for name in set(os.listdir("/dev/shm")) - before if "flambeau" in name}


def test_names():
    import multiprocessing

    assert set(multiprocessing.__all__) <= set(mp.__all__) and all(hasattr(mp, name) for name in mp.__all__)
    assert fb.multiprocessing is mp
