"""Tensors among other libraries: NumPy's functions, pandas, SciPy, Pillow, memory-mapped files, plain Python.

What is expected is what PyTorch 2.13 does with the same line under NumPy 2, unless a test says otherwise.
"""

from __future__ import annotations

import array
import ctypes
import math
import mmap
import operator

import numpy as np
import pytest

import flambeau as fb

a64, a32 = np.array([3.0, 4.0]), np.array([3.0, 4.0], "float32")


@pytest.fixture
def t():
    return fb.tensor([1.0, 2.0])


# ---- NumPy's functions
WRAPPED = {
    "sin": (lambda x: np.sin(x), fb.float32),
    "sqrt of integers": (lambda x: np.sqrt(x.to(fb.int64)), fb.float64),
    "add an array": (lambda x: np.add(x, a64), fb.float64),
    "an array added": (lambda x: np.add(a64, x), fb.float64),
    "add a number": (lambda x: np.add(x, 1), fb.float32),
    "+ array": (lambda x: x + a64, fb.float64),
    "* float32 array": (lambda x: x * a32, fb.float32),
    "- array": (lambda x: x - a64, fb.float64),
    "** array": (lambda x: x**a64, fb.float64),
    "@ array": (lambda x: x @ a64, fb.float64),
    "+ 0-dimensional array": (lambda x: x + np.array(2.0), fb.float64),
    "integers + int32 array": (lambda x: x.to(fb.int64) + np.array([1, 2], "int32"), fb.int64),
    "add.reduce": (lambda x: np.add.reduce(x), fb.float32),
    "cumsum": (lambda x: np.cumsum(x), fb.float32),
    "argmax": (lambda x: np.argmax(x), fb.int64),
    "matmul": (lambda x: np.matmul(x, x), fb.float32),
    "reshape": (lambda x: np.reshape(x, (2, 1)), fb.float32),
    "transpose": (lambda x: np.transpose(x), fb.float32),
    "inv": (lambda x: np.linalg.inv(np.diag(x) + 1), None),
    "greater": (lambda x: np.greater(x, 1), fb.uint8),  # truth values are uint8, as in PyTorch
    "isnan": (lambda x: np.isnan(x), fb.uint8),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_ufuncs_give_tensors(name, t):
    function, dtype = WRAPPED[name]
    got = function(t)
    if dtype is not None:
        assert isinstance(got, fb.Tensor) and got.dtype is dtype

    class Plain(np.ndarray):  # the same line of arrays alone
        to = lambda self, _: self.astype("int64")

    expected = function(t.numpy().view(Plain))
    np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))
    assert np.shape(got) == np.shape(expected)


def test_functions_that_give_arrays(t):
    assert type(np.concatenate([t, a64])) is np.ndarray and np.concatenate([t, a64]).tolist() == [1, 2, 3, 4]
    assert np.stack([t, t]).shape == (2, 2) and np.where(t > 1, t, a64).tolist() == [3, 2]
    assert np.array([t, t]).tolist() == [[1, 2], [1, 2]] and np.array([fb.tensor(1.0), fb.tensor(2.0)]).shape == (2,)
    assert np.allclose(t, t) and np.array_equal(t, t.numpy()) and not np.allclose(t, a64)
    assert np.einsum("i,i", t, t) == 5 and np.dot(a64, t) == 11 and np.median(t) == 1.5
    assert np.zeros(3)[fb.tensor([0, 1])].shape == (2,) and np.arange(3)[fb.tensor([True, False, True])].tolist() == [
        0,
        2,
    ]
    assert np.zeros((fb.tensor(2), 3)).shape == (2, 3) and np.arange(fb.tensor(3)).tolist() == [0, 1, 2]
    target = np.zeros(3)
    target[:2], target[2] = t, fb.tensor(5.0)
    assert target.tolist() == [1, 2, 5]
    np.testing.assert_allclose(t, [1.0, 2.0])
    np.testing.assert_array_equal(fb.tensor([1, 2]), [1, 2])
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(t, a64)


def test_numpy_refuses_what_requires_grad():
    g = fb.ones(2, requires_grad=True)
    refused = (np.exp, np.asarray, lambda g: np.add(g, a64), lambda g: g * a64, lambda g: np.array([g, g]),
               lambda g: np.testing.assert_allclose(g, [1, 1]), lambda g: g.numpy())  # fmt: skip
    for attempt in refused:
        with pytest.raises(RuntimeError, match=r"Can't call numpy\(\) on Tensor that requires grad"):
            attempt(g)
    assert (np.float64(2) * g).requires_grad and g.numpy(force=True).tolist() == [1, 1]


def test_comparing_with_arrays(t):
    for found in (t == np.array([1.0, 5.0]), np.array([1.0, 5.0]) == t):
        assert isinstance(found, fb.Tensor) and found.tolist() == [True, False]
    assert (t != np.array([[1.0], [2.0]])).tolist() == [[False, True], [True, False]]
    assert operator.eq(t, np.array(["a", "b"])) is False and (t == a64).any().item() is False


def test_numpy_scalars_are_python_numbers(t):
    i = fb.tensor([1, 2])
    for got, dtype in ((np.float64(2) * t, fb.float32), (t * np.float64(2), fb.float32), (np.int64(2) * i, fb.int64),
                       (i + np.int32(1), fb.int64), (np.float64(2) * i, fb.float32)):  # fmt: skip
        assert isinstance(got, fb.Tensor) and got.dtype is dtype
    assert (np.float64(2) < t).tolist() == [False, False] and np.float32(fb.tensor([2.0])) == 2
    assert t[np.int64(1)].item() == 2 and t[np.array([1, 0])].tolist() == [2, 1] and t[a64 > 3].tolist() == [2]


# ---- making tensors
def test_lists_of_numpy_scalars_keep_their_dtype():
    for kind in ("bool", "int8", "uint8", "int32", "float16", "float32", "float64", "complex64"):
        for values in ([np.dtype(kind).type(1)] * 2, [np.array(1, kind), np.array(0, kind)]):
            made = fb.tensor(values)
            assert made.dtype is getattr(fb, kind) and made.shape == (2,)
            np.testing.assert_array_equal(made.numpy(), np.array(values))
    assert fb.tensor([np.float32(1), 2]).dtype is fb.float32 and fb.tensor([1.0, 2.0]).dtype is fb.float32


def test_asarray_and_copies():
    t = fb.ones(2)
    assert fb.asarray(t) is t and fb.asarray(t, copy=True).data_ptr() != t.data_ptr()
    assert fb.asarray(a64, copy=False).data_ptr() == a64.ctypes.data != fb.asarray(a64, copy=True).data_ptr()
    for source, dtype in (([1, 2], None), (3, None), (t, fb.float64), (a64, fb.float32), (np.arange(4)[::-1], None)):
        with pytest.raises(ValueError, match=r"copy=False.*copy=None"):
            fb.asarray(source, dtype=dtype, copy=False)


def test_arrays_that_tensors_cannot_share():
    for kind in (">i4", ">f8", ">c16"):
        with pytest.raises(ValueError, match=r"byte order.*newbyteorder"):
            fb.from_numpy(np.array([1, 2], kind))
        assert fb.tensor(np.array([1, 2], kind)).tolist() == [1, 2]
    assert fb.tensor(np.arange(4)[::-1]).tolist() == [3, 2, 1, 0]
    for bad in (np.array(["a"]), np.array([object()]), np.array(["2020-01-01"], "datetime64[D]")):
        with pytest.raises(TypeError, match=r"can't convert an array of dtype"):
            fb.tensor(bad)
        with pytest.raises(TypeError):
            fb.from_numpy(bad)
    with pytest.raises(TypeError, match="ndarray is needed, got float64"):
        fb.from_numpy(np.float64(2))


# ---- other memory
def test_memory_mapped_files(tmp_path):
    path = tmp_path / "data"
    mapped = np.memmap(path, "float32", "w+", shape=(2, 2))
    t = fb.from_numpy(mapped)
    assert t.data_ptr() == fb.as_tensor(mapped).data_ptr() == mapped.ctypes.data
    t[0, 0] = 5
    mapped[1, 1] = 6
    assert mapped[0, 0] == 5 and t[1, 1].item() == 6
    mapped.flush()
    assert np.fromfile(path, "float32").tolist() == [5, 0, 0, 6]
    with pytest.warns(UserWarning, match="isn't writable"):
        assert fb.from_numpy(np.memmap(path, "float32", "r", shape=4)).tolist() == [5, 0, 0, 6]


def test_buffers_of_python():
    source = array.array("d", [1, 2])
    t = fb.frombuffer(source, dtype=fb.float64)
    t[0] = 7
    assert source[0] == 7 and fb.frombuffer(source, dtype=fb.float64, count=1, offset=8).tolist() == [2]
    assert fb.frombuffer((ctypes.c_float * 2)(1, 2), dtype=fb.float32).tolist() == [1, 2]
    with mmap.mmap(-1, 4096) as pages:
        held = fb.frombuffer(pages, dtype=fb.uint8, count=2)
        pages[0] = 9
        assert held[0].item() == 9
        del held
    with pytest.warns(UserWarning, match="frombuffer: the buffer isn't writable"):
        assert fb.frombuffer(b"abcd", dtype=fb.uint8).tolist() == [97, 98, 99, 100]
    with pytest.raises(ValueError, match="buffer protocol"):
        fb.frombuffer([1], dtype=fb.uint8)
    assert np.frombuffer(fb.ones(2), "float32").tolist() == [1, 1]


# ---- Python's own protocols
def test_python_protocols(t):
    assert operator.index(fb.tensor([3])) == 3 and hex(fb.tensor(255)) == "0xff" and [0] * fb.tensor(2) == [0, 0]
    assert complex(fb.tensor(1 + 2j)) == 1 + 2j and float(fb.tensor(True)) == 1.0 and int(fb.tensor(2.7)) == 2
    assert math.floor(fb.tensor(2.5)) == 2 and math.ceil(fb.tensor(2.5)) == 3 and math.sqrt(fb.tensor(4.0)) == 2
    assert math.gcd(fb.tensor(4), fb.tensor(6)) == 2 and sum(t).item() == 3 and max(t).item() == 2
    assert f"{fb.tensor(2.5):.2f}" == "2.50"
    assert reversed(fb.tensor([[1], [2]])).tolist() == [[2], [1]] and reversed(fb.tensor(3)).item() == 3
    for convert in (float, int, complex, math.sqrt):
        with pytest.raises(ValueError, match="only one element tensors can be converted to Python scalars"):
            convert(t)
    with pytest.raises(TypeError, match="index"):
        operator.index(fb.tensor(3.0))
    with pytest.raises(TypeError, match=r"\.2f.*shape \[1\]"):
        f"{fb.tensor([2.5]):.2f}"
    for attempt in (lambda: round(t), lambda: divmod(t, 2), lambda: math.trunc(fb.tensor(2.5))):
        with pytest.raises(TypeError):
            attempt()
    assert operator.eq(t, None) is False and operator.eq(t, "a") is False and operator.ne(t, None) is True


# ---- pandas, SciPy, Pillow
def test_pandas():
    pd = pytest.importorskip("pandas", reason="pandas isn't installed")
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": [3, 4], "b": [True, False], "s": ["a", "b"]}, index=[5, 9])
    for column, dtype in (("x", fb.float64), ("y", fb.int64), ("b", fb.bool)):
        for made in (fb.tensor(frame[column]), fb.as_tensor(frame[column]), fb.tensor(frame[column][::-1])[[1, 0]]):
            assert made.dtype is dtype and made.tolist() == frame[column].tolist()
    assert fb.tensor(frame[["x", "y"]]).tolist() == [[1, 3], [2, 4]]
    assert fb.from_numpy(frame[["x", "y"]].to_numpy()).dtype is fb.float64
    assert fb.tensor(frame["x"].iloc[1]).item() == 2 and fb.FloatTensor(frame["x"].values).dtype is fb.float32
    assert fb.tensor(pd.Series([1, 2], dtype="Int64").to_numpy("int64")).tolist() == [1, 2]
    for bad in (frame["s"], frame, frame.to_numpy()):
        with pytest.raises(TypeError, match=r"can't convert an array of dtype (object|str)"):
            fb.tensor(bad)
    t = fb.tensor([1.0, 2.0])
    assert pd.Series(t.numpy()).tolist() == [1, 2] and pd.DataFrame(fb.ones(2, 3).numpy()).shape == (2, 3)
    assert (frame["x"] + t.numpy()).tolist() == [2, 4]
    assert (frame["x"].iloc[0] * t).tolist() == [1, 2]


def test_scipy(t):
    special, linalg = pytest.importorskip("scipy.special"), pytest.importorskip("scipy.linalg")
    from scipy import optimize, signal, sparse, stats
    from scipy.spatial import distance

    got = special.expit(t)
    assert isinstance(got, fb.Tensor) and np.allclose(got, 1 / (1 + np.exp(-t.numpy())))
    assert np.allclose(linalg.inv(2 * fb.eye(2)), np.eye(2) / 2) and math.isclose(stats.norm.cdf(fb.tensor(0.0)), 0.5)
    assert signal.convolve(t, t).tolist() == [1, 4, 4]
    assert distance.cdist(fb.ones(2, 2), fb.zeros(1, 2)).ravel().tolist() == [2**0.5] * 2
    assert sparse.csr_matrix(fb.eye(2)).nnz == 2 and (sparse.eye(2).tocsr() @ t).tolist() == [1, 2]
    found = optimize.minimize(lambda x: float(((fb.tensor(x) - 1) ** 2).sum()), fb.zeros(2, dtype=fb.float64))
    assert np.allclose(found.x, 1, atol=1e-4)


def test_images():
    image_module = pytest.importorskip("PIL.Image", reason="Pillow isn't installed")
    image = image_module.new("RGB", (3, 2), (1, 2, 3))
    for made in (fb.tensor(np.asarray(image)), fb.as_tensor(image), fb.from_numpy(np.array(image))):
        assert made.dtype is fb.uint8 and made.shape == (2, 3, 3) and made[1, 2].tolist() == [1, 2, 3]
    for mode, dtype in (("L", fb.uint8), ("1", fb.bool), ("I", fb.int32), ("F", fb.float32)):
        assert fb.tensor(np.array(image_module.new(mode, (2, 2)))).dtype is dtype
    pixels = fb.arange(18, dtype=fb.uint8).reshape(3, 2, 3).permute(1, 2, 0)
    back = image_module.fromarray(pixels.contiguous().numpy())
    assert back.size == (3, 2) and back.getpixel((2, 1)) == (5, 11, 17)
    assert image_module.fromarray(fb.zeros(2, 3).numpy()).mode == "F"


def test_other_namespaces_find_ours():
    """Code written for the array API finds the namespace through the tensor alone."""

    def standardized(x):
        xp = x.__array_namespace__()
        return (x - xp.mean(x, axis=0)) / xp.std(x, axis=0)

    x = fb.tensor([[1.0, 5.0], [3.0, 9.0]], dtype=fb.float64)
    np.testing.assert_allclose(standardized(x), [[-1, -1], [1, 1]])


def test_dlpack_where_pytorch_has_it():
    from flambeau.utils.dlpack import from_dlpack, to_dlpack

    x = fb.ones(2)
    assert from_dlpack(to_dlpack(x)).data_ptr() == x.data_ptr() and fb.utils.dlpack.to_dlpack is to_dlpack
