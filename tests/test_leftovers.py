"""Names of PyTorch beside the families: memory formats, segments, files as memory, branches as functions, …"""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.nn import functional as F

IMAGES, VOLUMES = fb.randn(2, 3, 4, 5), fb.randn(2, 3, 2, 4, 5)


@pytest.mark.parametrize(
    ("x", "format", "strides"),
    [
        (IMAGES, fb.channels_last, (60, 1, 15, 3)),
        (VOLUMES, fb.channels_last_3d, (120, 1, 60, 15, 3)),
        (IMAGES.permute(0, 2, 3, 1), fb.contiguous_format, (60, 15, 3, 1)),
    ],
)
def test_memory_formats(x, format, strides):
    shape, dtype = x.shape, x.dtype
    for made in (
        x.contiguous(memory_format=format),
        x.to(memory_format=format),
        x.clone(memory_format=format),
        x.double().to(fb.float32, memory_format=format),
    ):
        assert made.stride() == strides and fb.equal(made, x) and made.is_contiguous(memory_format=format)
    assert fb.empty(shape, memory_format=format).stride() == strides
    assert fb.zeros_like(x, memory_format=format).stride() == strides
    assert not x.is_contiguous(memory_format=format)
    y = x.contiguous(memory_format=format)
    assert y.contiguous(memory_format=format) is y
    assert (y * 2).stride() == strides and dtype is y.dtype
    assert isinstance(format, fb.memory_format) and repr(format) == f"flambeau.{format}"


def test_memory_formats_of_modules_and_gradients():
    layer = fb.nn.Conv2d(3, 4, 3).to(memory_format=fb.channels_last)
    assert layer.weight.is_contiguous(memory_format=fb.channels_last) and layer.bias.stride() == (1,)
    x = IMAGES.clone().requires_grad_()
    layer(x.contiguous(memory_format=fb.channels_last)).sum().backward()
    plain = fb.nn.Conv2d(3, 4, 3)
    plain.load_state_dict(layer.state_dict())
    z = IMAGES.clone().requires_grad_()
    plain(z).sum().backward()
    fb.testing.assert_close(x.grad, z.grad)
    with pytest.raises(RuntimeError, match="required rank 4"):
        fb.ones(2, 3).contiguous(memory_format=fb.channels_last)
    assert not fb.ones(2, 3).is_contiguous(memory_format=fb.channels_last)


def test_dim_order():
    assert fb.ones(2, 3, 5).transpose(0, 1).dim_order() == (1, 0, 2)
    assert IMAGES.contiguous(memory_format=fb.channels_last).dim_order() == (0, 2, 3, 1)
    assert fb.ones(2, 3).t().dim_order(ambiguity_check=True) == (1, 0)
    assert IMAGES.dim_order(ambiguity_check=[fb.contiguous_format, fb.channels_last]) == (0, 1, 2, 3)
    with pytest.raises(RuntimeError, match="no unique order"):
        fb.ones(2, 1, 3).dim_order(ambiguity_check=True)
    with pytest.raises(RuntimeError, match="no unique order"):
        fb.ones(2, 1, 4, 5).dim_order(ambiguity_check=[fb.contiguous_format, fb.channels_last])
    with pytest.raises(TypeError, match="ambiguity_check"):
        fb.ones(2).dim_order(ambiguity_check=3)


SEGMENTS = {"sum": np.sum, "mean": np.mean, "prod": np.prod, "max": np.max, "min": np.min}
EMPTY = {"sum": 0.0, "mean": math.nan, "prod": 1.0, "max": -math.inf, "min": math.inf}


@pytest.mark.parametrize("how", SEGMENTS)
@pytest.mark.parametrize("axis", [0, 1])
def test_segment_reduce(how, axis):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 6, 3))
    lengths = np.array([2, 0, 1, 1]) if axis == 0 else np.array([[1, 5, 0], [2, 2, 2], [0, 0, 6], [6, 0, 0]])
    offsets = np.concatenate([np.zeros_like(lengths[..., :1]), lengths.cumsum(-1)], -1)
    expected = np.empty(lengths.shape + x.shape[axis + 1 :])
    for at in np.ndindex(lengths.shape):
        start, stop = offsets[at], offsets[(*at[:-1], at[-1] + 1)]
        part = x[(*at[:-1], slice(start, stop))]
        expected[at] = SEGMENTS[how](part, axis=0) if len(part) else EMPTY[how]
    given = fb.from_numpy(x)
    found = fb.segment_reduce(given, how, lengths=fb.from_numpy(lengths), axis=axis)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13)
    assert fb.equal(
        fb.segment_reduce(given, how, offsets=fb.from_numpy(offsets), axis=axis).nan_to_num(), found.nan_to_num()
    )
    filled = fb.segment_reduce(given, how, lengths=fb.from_numpy(lengths), axis=axis, initial=3)
    assert bool((filled[fb.from_numpy(lengths) == 0] == 3).all())
    full = fb.from_numpy(np.where(lengths > 0, lengths, 0))
    x = given.requires_grad_()
    assert fb.autograd.gradcheck(lambda t: fb.segment_reduce(t, how, lengths=full, axis=axis, initial=0.5), (x,))


def test_segment_reduce_edges_and_refusals():
    x = fb.tensor([1.0, math.nan, 2.0, 3.0])
    assert fb.segment_reduce(x, "max", lengths=fb.tensor([2, 2])).isnan().tolist() == [True, False]
    assert fb.segment_reduce(x[2:], "sum", offsets=fb.tensor([1, 2])).tolist() == [3]
    assert fb.segment_reduce(x[2:], "sum", lengths=fb.tensor([1]), unsafe=True).tolist() == [2]
    assert fb.segment_reduce(x[:0], "max", lengths=fb.tensor([0, 0])).tolist() == [-math.inf] * 2
    for bad in ({}, {"lengths": fb.tensor([1, 2])}, {"lengths": fb.tensor([-1, 5])}, {"lengths": fb.tensor([[4]])}):
        with pytest.raises(RuntimeError, match="segment_reduce"):
            fb.segment_reduce(x, "sum", **bad)
    with pytest.raises(RuntimeError, match="reduce must be one of"):
        fb.segment_reduce(x, "median", lengths=fb.tensor([4]))
    with pytest.raises(NotImplementedError, match="floating"):
        fb.segment_reduce(fb.tensor([1, 2]), "sum", lengths=fb.tensor([2]))


def test_nonzero_static():
    x = fb.tensor([[1, 0], [3, 2]])
    assert x.nonzero_static(size=4).tolist() == [[0, 0], [1, 0], [1, 1], [-1, -1]]
    assert fb.nonzero_static(x, size=2, fill_value=7).tolist() == [[0, 0], [1, 0]]
    assert tuple(fb.nonzero_static(fb.tensor(3), size=2).shape) == (2, 0)
    assert fb.nonzero_static(fb.zeros(2), size=1, fill_value=5).tolist() == [[5]]
    with pytest.raises(RuntimeError, match="non-negative"):
        fb.nonzero_static(x, size=-1)


@pytest.mark.parametrize("start", [None, 0, 1])
def test_as_strided_scatter(start):
    x, src = np.zeros((3, 4)), np.array([[1.0, 2.0], [3.0, 4.0]])
    np.lib.stride_tricks.as_strided(x.reshape(-1)[start or 0 :], (2, 2), (32, 16))[...] = src
    found = fb.as_strided_scatter(fb.zeros(3, 4, dtype=fb.float64), fb.from_numpy(src), (2, 2), (4, 2), start)
    np.testing.assert_array_equal(found.numpy(), x)


def test_as_strided_scatter_gradient_and_refusals():
    x = fb.randn(3, 4, dtype=fb.float64, requires_grad=True)
    src = fb.randn(2, 2, dtype=fb.float64, requires_grad=True)
    assert fb.autograd.gradcheck(lambda a, b: fb.as_strided_scatter(a, b, (2, 2), (4, 2)), (x, src))
    turned = fb.as_strided_scatter(x.detach().t(), src.detach(), (2, 2), (4, 2))
    assert turned.stride() == (1, 4) and turned[2, 0] == src[0, 1]
    with pytest.raises(RuntimeError, match="must have the shape"):
        fb.as_strided_scatter(x, src[0], (2, 2), (4, 2))
    with pytest.raises(RuntimeError, match="must be dense"):
        fb.as_strided_scatter(x[:, ::2], src, (2, 2), (1, 2))
    for function, args in ((fb.select_scatter, (0, 1)), (fb.slice_scatter, (0, 1)), (fb.diagonal_scatter, ())):
        with pytest.raises(RuntimeError, match="must have the shape"):
            function(x, fb.ones(1, dtype=fb.float64), *args)


def test_cond_and_while_loop():
    x = fb.tensor([1.0, 2.0], requires_grad=True)
    y = fb.cond(x.sum() > 2, lambda t: t * 3, lambda t: t * 5, (x,))
    y.sum().backward()
    assert x.grad.tolist() == [3, 3]
    assert fb.cond(False, lambda t: t["a"], lambda t: -t["a"], ({"a": fb.ones(1)},)).item() == -1
    i, total = fb.while_loop(lambda i, t: i < 4, lambda i, t: [i + 1, t + i], (fb.tensor(0), fb.tensor(0)))
    assert (i.item(), total.item()) == (4, 6)
    assert fb.while_loop(lambda i: i < 0, lambda i: (i + 1,), (3,)) == (3,)
    with pytest.raises(RuntimeError, match="single-element"):
        fb.cond(fb.ones(2), abs, abs, (x,))
    with pytest.raises(RuntimeError, match="callable"):
        fb.cond(True, 3, abs, (x,))
    with pytest.raises(RuntimeError, match="operands"):
        fb.cond(True, abs, abs, (3,))
    with pytest.raises(RuntimeError, match="must return 2 values"):
        fb.while_loop(lambda i, j: i < 2, lambda i, j: (i + 1,), (0, 0))


def test_from_file(tmp_path):
    path = tmp_path / "numbers"
    np.arange(6, dtype=np.float32).tofile(path)
    private = fb.from_file(str(path), size=4)
    private[0] = 9
    assert private.tolist() == [9, 1, 2, 3] and np.fromfile(path, np.float32)[0] == 0
    shared = fb.from_file(str(path), shared=True, size=8, dtype=fb.float32)
    shared[7] = 5
    assert np.fromfile(path, np.float32).tolist() == [0, 1, 2, 3, 4, 5, 0, 5]
    assert fb.from_file(str(path), size=3, dtype=fb.uint8).dtype is fb.uint8
    assert fb.from_file(str(path), size=2, dtype=fb.complex64).tolist() == [1j, 2 + 3j]
    with pytest.raises(RuntimeError, match="need 80 bytes"):
        fb.from_file(str(path), size=20)


def test_conv_tbc():
    x, w, b = fb.randn(5, 2, 3), fb.randn(3, 3, 4), fb.randn(4)
    expected = F.conv1d(x.permute(1, 2, 0), w.permute(2, 1, 0), b, padding=1).permute(2, 0, 1)
    assert fb.equal(fb.conv_tbc(x, w, b, 1), expected)
    with pytest.raises(RuntimeError, match="conv_tbc"):
        fb.conv_tbc(x[0], w, b)


def test_const_data_ptr():
    x = fb.ones(3)
    assert x.const_data_ptr() == x.data_ptr()


OUTS = [
    lambda x, **k: fb.gather(x, 0, fb.tensor([[1, 0, 1]]), **k),
    lambda x, **k: fb.index_select(x, 0, fb.tensor([1]), **k),
    lambda x, **k: fb.take_along_dim(x, fb.tensor([[1, 0, 1]]), 0, **k),
    lambda x, **k: fb.logsumexp(x, 1, **k),
    lambda x, **k: fb.std(x, 1, **k),
    lambda x, **k: fb.var(x, **k),
    lambda x, **k: fb.norm(x, **k),
    lambda x, **k: fb.tril(x, **k),
    lambda x, **k: fb.triu(x, 1, **k),
    lambda x, **k: fb.diag(x, **k),
    lambda x, **k: fb.diff(x, **k),
    lambda x, **k: fb.msort(x, **k),
    lambda x, **k: fb.quantile(x, 0.5, **k),
    lambda x, **k: fb.nanquantile(x, 0.5, 1, **k),
    lambda x, **k: fb.histc(x, 4, -1, 1, **k),
    lambda x, **k: fb.bucketize(x, fb.tensor([0.0, 1.0]), **k),
    lambda x, **k: fb.searchsorted(fb.tensor([0.0, 1.0]), x, **k),
    lambda x, **k: fb.sum(x, 1, **k),
    lambda x, **k: fb.mean(x, 1, **k),
    lambda x, **k: fb.amax(x, 1, **k),
    lambda x, **k: fb.all(x, **k),
    lambda x, **k: fb.argmax(x, **k),
    lambda x, **k: fb.nonzero(x, **k),
    lambda x, **k: fb.max(x, **k),
    lambda x, **k: fb.minimum(x, x + 1, **k),
    lambda x, **k: fb.min(x, x + 1, **k),
    lambda x, **k: fb.clip(x, x + 1, **k),
]


@pytest.mark.parametrize("call", OUTS)
def test_results_into_a_given_tensor(call):
    x = fb.randn(2, 3)
    expected = call(x)
    empty, full = fb.empty(0, dtype=expected.dtype), fb.empty_like(expected)
    assert call(x, out=empty) is empty and fb.equal(empty, expected)
    assert call(x, out=full) is full and fb.equal(full, expected)
    with pytest.raises(RuntimeError, match="shape"):
        call(x, out=fb.empty(7, 5, dtype=expected.dtype))
