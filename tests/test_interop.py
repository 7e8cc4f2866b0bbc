"""Memory and values crossing the border: NumPy, the buffer protocol, DLPack, lists, pickling, copying."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import warnings
import weakref

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn

NUMPY = {
    fb.bool: np.bool_, fb.uint8: np.uint8, fb.int8: np.int8, fb.int16: np.int16, fb.int32: np.int32, fb.int64: np.int64,
    fb.float16: np.float16, fb.float32: np.float32, fb.float64: np.float64, fb.complex64: np.complex64,
    fb.complex128: np.complex128,
}  # fmt: skip
every_dtype = pytest.mark.parametrize("dtype", NUMPY, ids=str)


def array(dtype: fb.dtype, shape=(3, 4)) -> np.ndarray:
    return (np.arange(np.prod(shape)).reshape(shape) % 3).astype(NUMPY[dtype])


# ---- NumPy
@every_dtype
def test_numpy_and_tensor_share_memory(dtype):
    a = array(dtype)
    t = fb.from_numpy(a)
    assert t.dtype is dtype and t.shape == (3, 4) and t.data_ptr() == a.ctypes.data
    a[0, 0] = 1
    t[2, 3] = 1
    assert bool(t[0, 0] == 1) and a[2, 3] == 1
    back = t.numpy()
    assert back.dtype == a.dtype and back.ctypes.data == a.ctypes.data and np.array_equal(a, back)
    for view, expected in ((t.t(), a.T), (t[1:, ::2], a[1:, ::2]), (t[1], a[1]), (t[1, 2], a[1, 2]), (t[:0], a[:0])):
        assert np.array_equal(view.numpy(), expected) and view.numpy().shape == expected.shape
        assert np.array_equal(fb.from_numpy(np.asarray(expected)).numpy(), expected)
    stretched = t[0].expand(5, 4)
    assert np.array_equal(stretched.numpy(), np.broadcast_to(a[0], (5, 4)))


def test_memory_lives_as_long_as_either_side():
    t = fb.from_numpy(np.arange(1000.0))
    gc.collect()
    assert t.sum().item() == 499500
    a = fb.arange(1000.0).numpy()
    gc.collect()
    assert a.sum() == 499500
    source = np.arange(10.0)
    gone = weakref.ref(source)
    t = fb.from_numpy(source)[2:4].view(2, 1)
    del source
    assert gone() is not None
    del t
    gc.collect()
    assert gone() is None


def test_what_numpy_has_and_tensors_have_not():
    with pytest.raises(ValueError, match=r"negative strides.*copy"):
        fb.from_numpy(np.arange(4)[::-1])
    with pytest.raises(TypeError, match="can't convert an array of dtype <U1"):
        fb.from_numpy(np.array(["a"]))
    with pytest.raises(TypeError, match=r"from_numpy: a numpy.ndarray is needed, got list"):
        fb.from_numpy([1, 2])
    with pytest.raises((TypeError, ValueError)):
        fb.from_numpy(np.zeros(2, ">f4"))
    mixed = np.zeros(3, [("a", "u1"), ("b", "<f4")])
    with pytest.raises((TypeError, ValueError)):
        fb.from_numpy(mixed["b"])
    frozen = np.arange(3.0)
    frozen.flags.writeable = False
    with pytest.warns(UserWarning, match="isn't writable"):
        fb.from_numpy(frozen)
    x = fb.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"detach\(\)"):
        x.numpy()
    assert x.numpy(force=True).tolist() == [1, 1]
    with pytest.raises(TypeError, match=r"bfloat16; use x.float\(\)"):
        fb.ones(2, dtype=fb.bfloat16).numpy()


def test_numpy_functions_of_tensors():
    t = fb.tensor([[1.0, 2.0], [3.0, 4.0]])
    a = np.asarray(t)
    a[0, 0] = 7
    assert t[0, 0].item() == 7
    copied = np.array(t)
    copied[0, 0] = 1
    assert t[0, 0].item() == 7
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    assert np.asarray(fb.tensor(3)).shape == () and float(fb.tensor(2.5)) == 2.5 and int(fb.tensor(2.7)) == 2
    assert np.sum(np.asarray(t.t())) == 16
    assert t.__array__(np.float32).ctypes.data == t.data_ptr() and t.__array__(copy=True).ctypes.data != t.data_ptr()
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(fb.ones(1, requires_grad=True))
    assert isinstance(t * np.float32(2), fb.Tensor) and isinstance(np.float64(2) * t, fb.Tensor)
    assert (t * np.float64(2)).dtype is fb.float32 and (fb.tensor([1, 2]) + np.int32(1)).dtype is fb.int64
    assert [10, 20, 30][fb.tensor(1)] == 20


# ---- the buffer protocol
def test_buffers():
    t = fb.arange(6, dtype=fb.int32).reshape(2, 3)
    m = memoryview(t)
    assert (m.format, m.shape, m.strides, m.readonly, m.tolist()) == (
        "i",
        (2, 3),
        (12, 4),
        False,
        [[0, 1, 2], [3, 4, 5]],
    )
    m[1, 2] = 50
    assert t[1, 2].item() == 50
    assert memoryview(t.t()).tolist() == [[0, 3], [1, 4], [2, 50]]
    assert bytes(fb.tensor([1, 2], dtype=fb.uint8)) == b"\1\2"
    with pytest.raises(BufferError, match="detach"):
        memoryview(fb.ones(1, requires_grad=True))
    with pytest.raises(BufferError, match="bfloat16"):
        memoryview(fb.ones(1, dtype=fb.bfloat16))
    with pytest.raises((BufferError, TypeError), match="contiguous"):
        io.BytesIO().write(t.t())
    raw = bytearray(range(16))
    f = fb.frombuffer(raw, dtype=fb.int16, offset=4, count=3)
    assert f.tolist() == [0x0504, 0x0706, 0x0908]
    f[0] = 0
    assert raw[4] == raw[5] == 0
    for offset, count in ((-1, 1), (17, -1), (0, 9), (1, -1), (2**62, 1), (0, 2**62)):
        with pytest.raises(ValueError, match="frombuffer"):
            fb.frombuffer(raw, dtype=fb.int16, offset=offset, count=count)


# ---- lists and numbers
def test_lists_and_numbers():
    assert fb.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]] and fb.tensor(5).tolist() == 5
    assert fb.tensor([]).shape == (0,) and fb.tensor([[], []]).shape == (2, 0)
    assert fb.tensor([1, 2.5]).dtype is fb.float32 and fb.tensor([True, 2]).dtype is fb.int64
    assert fb.tensor([1, 2j]).dtype is fb.complex64 and fb.tensor([True]).dtype is fb.bool
    assert fb.tensor([fb.tensor(1), fb.tensor(2)]).tolist() == [1, 2]
    assert fb.tensor([np.float64(1), np.float64(2)]).tolist() == [1, 2]
    assert fb.tensor(np.arange(3)).dtype is fb.int64 and fb.tensor(range(3)).tolist() == [0, 1, 2]
    source = fb.ones(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert fb.tensor(source).data_ptr() != source.data_ptr()
    assert fb.as_tensor(source) is source
    assert fb.tensor([2**63 - 1]).item() == 2**63 - 1
    for bad, error in (
        ([[1, 2], [3]], ValueError),
        ([1, [2]], (ValueError, TypeError)),
        (["a"], (TypeError, ValueError)),
        ([None], (TypeError, RuntimeError)),
        ([2**63], (RuntimeError, OverflowError)),
        ({}, (TypeError, RuntimeError)),
        ("abc", (TypeError, RuntimeError, ValueError)),
    ):
        with pytest.raises(error):
            fb.tensor(bad)


# ---- DLPack
@every_dtype
def test_dlpack_both_ways(dtype):
    a = array(dtype)
    for source in (a, a.T, a[1:, ::2], a[:0], a[1, 1:2]):
        t = fb.from_dlpack(source)
        assert t.dtype is dtype and np.array_equal(t.numpy(), source) and t.shape == source.shape
        assert t.data_ptr() == source.ctypes.data or not source.size
        back = np.from_dlpack(t)
        assert back.dtype == a.dtype and np.array_equal(back, source)
    a[0, 0] = 1
    assert fb.from_dlpack(a)[0, 0].item() == 1
    t = fb.from_numpy(array(dtype))
    np.from_dlpack(t)[0, 1] = 0
    assert t[0, 1].item() == 0
    zero = fb.from_dlpack(np.array(1, NUMPY[dtype]))
    assert zero.shape == () and zero.item() == 1


def test_dlpack_between_tensors():
    for x in (
        fb.ones(2, 3, dtype=fb.bfloat16),
        fb.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1)[::2],
        fb.ones(1).expand(4),
    ):
        for capsule in (
            fb.to_dlpack(x),
            x.__dlpack__(),
            x.__dlpack__(max_version=(1, 0)),
            x.__dlpack__(max_version=(0, 8)),
        ):
            y = fb.from_dlpack(capsule)
            assert (
                y.data_ptr() == x.data_ptr() and y.dtype is x.dtype and y.shape == x.shape and y.stride() == x.stride()
            )
            assert fb.equal(x, y)
    x = fb.ones(3)
    assert x.__dlpack_device__() == (1, 0)
    assert fb.from_dlpack(x, copy=True).data_ptr() != x.data_ptr()
    assert fb.from_dlpack(x, copy=False).data_ptr() == x.data_ptr()
    assert fb.from_dlpack(x.__dlpack__(copy=True, max_version=(1, 0))).data_ptr() != x.data_ptr()


def test_dlpack_lifetimes():
    gc.collect()
    before = fb.memory_stats()["live"]
    for versioned in (None, (1, 0)):
        x = fb.ones(1000)
        capsule = x.__dlpack__(max_version=versioned)
        del x
        assert fb.memory_stats()["live"] > before
        y = fb.from_dlpack(capsule)
        del capsule
        gc.collect()
        assert y.sum().item() == 1000
        z = y[10:20]
        del y
        assert z.sum().item() == 10
        del z
        assert fb.memory_stats()["live"] == before
        unused = fb.ones(1000).__dlpack__(max_version=versioned)
        assert fb.memory_stats()["live"] > before
        del unused
        assert fb.memory_stats()["live"] == before
    a = np.arange(10.0)
    gone = weakref.ref(a)
    t = fb.from_dlpack(a)
    del a
    assert t.sum().item() == 45 and gone() is not None
    del t
    gc.collect()
    assert gone() is None
    x = fb.arange(4.0)
    capsule = fb.to_dlpack(x)
    x.data = fb.zeros(100)  # what was lent keeps its own geometry
    assert fb.from_dlpack(capsule).tolist() == [0, 1, 2, 3]


def test_dlpack_refuses():
    x = fb.ones(2, requires_grad=True)
    for attempt in (
        lambda: x.__dlpack__(),
        lambda: fb.to_dlpack(x),
        lambda: x.__dlpack__(copy=True),
        lambda: np.from_dlpack(x),
    ):
        with pytest.raises(BufferError, match="detach"):
            attempt()
    capsule = fb.to_dlpack(fb.ones(2))
    fb.from_dlpack(capsule)
    with pytest.raises(RuntimeError, match="used before"):
        fb.from_dlpack(capsule)
    with pytest.raises(TypeError, match="__dlpack__"):
        fb.from_dlpack([1, 2])
    with pytest.raises(BufferError, match="streams"):
        fb.ones(1).__dlpack__(stream=3)
    with pytest.raises(BufferError, match=r"dl_device=\(2, 0\)"):
        fb.ones(1).__dlpack__(dl_device=(2, 0))
    with pytest.raises(BufferError, match="negative strides"):
        fb.from_dlpack(np.arange(4)[::-1])
    with pytest.raises(BufferError):
        fb.from_dlpack(np.zeros(2, np.longdouble))
    frozen = np.arange(3.0)
    frozen.flags.writeable = False
    with pytest.warns(UserWarning, match="isn't writable"):
        fb.from_dlpack(frozen)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fb.from_dlpack(frozen, copy=True).tolist() == [0, 1, 2]

    class OnGpu:
        def __dlpack_device__(self):
            return (2, 0)

        def __dlpack__(self, **_):
            raise AssertionError("asked for memory that can't be used")

    with pytest.raises(BufferError, match=r"device \(2, 0\)"):
        fb.from_dlpack(OnGpu())

    class Older:
        def __dlpack__(self, stream=None):
            return fb.to_dlpack(fb.ones(2))

    assert fb.from_dlpack(Older()).tolist() == [1, 1]


# ---- pickling and copying
@pytest.mark.parametrize("x", [
    fb.arange(6.0).reshape(2, 3), fb.arange(6.0).reshape(2, 3).t(), fb.arange(10)[::3], fb.tensor(True), fb.zeros(0, 3),
    fb.ones(2, dtype=fb.bfloat16), fb.tensor([1 + 2j]), fb.ones(3).expand(2, 3), fb.full((2,), float("nan")),
], ids=str)  # fmt: skip
def test_pickling_and_copying(x):
    for y in (*(pickle.loads(pickle.dumps(x, p)) for p in range(2, 6)), copy.deepcopy(x)):
        assert y.dtype is x.dtype and y.shape == x.shape and repr(y) == repr(x)
        assert y.data_ptr() != x.data_ptr() or not x.numel()
    shallow = copy.copy(x)
    assert shallow is not x and shallow.data_ptr() == x.data_ptr() and shallow.stride() == x.stride()


def test_pickling_and_copying_keep_requires_grad():
    x = fb.ones(2, requires_grad=True)
    assert pickle.loads(pickle.dumps(x)).requires_grad and copy.deepcopy(x).requires_grad
    p = nn.Parameter(fb.ones(2))
    for y in (pickle.loads(pickle.dumps(p)), copy.deepcopy(p)):
        assert type(y) is nn.Parameter and y.requires_grad and y.is_leaf and y.tolist() == [1, 1]
    again = copy.copy(p)
    assert type(again) is nn.Parameter and again.requires_grad and again.data_ptr() == p.data_ptr()
    with pytest.raises(RuntimeError, match=r"leaf|leaves|graph"):
        copy.deepcopy(x * 2)
    x.grad = fb.full((2,), 3.0)
    y = copy.deepcopy(x)
    assert y.grad.tolist() == [3, 3] and y.grad is not x.grad
    y.grad.zero_()
    assert x.grad.tolist() == [3, 3]


def test_deepcopy_keeps_what_is_shared():
    base = fb.arange(6.0)
    a, b = base.view(2, 3), base[2:4]
    c, d = copy.deepcopy([a, b])
    d[0] = 99
    assert c[0, 2].item() == 99 and a[0, 2].item() == 2
    e, f = copy.deepcopy([base, base])
    assert e is f
    p = nn.Parameter(fb.ones(2))
    tied = copy.deepcopy({"a": p, "b": p})
    assert tied["a"] is tied["b"] and type(tied["a"]) is nn.Parameter
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    twin = copy.deepcopy(model)
    assert twin[1].weight is twin[0].weight and twin[0].weight.data_ptr() != model[0].weight.data_ptr()
    again = pickle.loads(pickle.dumps(model))
    assert again[1].weight is again[0].weight


def test_small_things_pickle():
    for thing in (fb.float32, fb.Size([2, 3]), fb.device("cpu")):
        assert pickle.loads(pickle.dumps(thing)) == thing and copy.deepcopy(thing) == thing
    assert pickle.loads(pickle.dumps(fb.bfloat16)) is fb.bfloat16
    assert pickle.loads(pickle.dumps(fb.add))(fb.ones(1), 1).item() == 2
