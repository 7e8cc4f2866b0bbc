"""Matrix products and convolutions through the public API: shapes, dtypes, errors, gradients, threads.

The oracle is NumPy in float64; the bits of the sums are test_contraction.py's and test_convolution.py's business.
"""

import numpy as np
import pytest

import flambeau as fb
import flambeau.nn.functional as F
from flambeau.autograd import gradcheck, gradgradcheck


def random(*shape, seed=0, dtype="float32"):
    rng = np.random.default_rng(seed + 7 * len(shape))
    if dtype.startswith(("int", "uint")):
        return rng.integers(0, 5, shape).astype(dtype)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else x).astype(dtype)


def tensor(x, requires_grad=False):
    t = fb.from_numpy(x)
    return t.requires_grad_() if requires_grad else t


def close(got, expected, tol=1e-4):
    assert tuple(got.shape) == expected.shape
    np.testing.assert_allclose(got.detach().resolve_conj().numpy(), expected, rtol=tol, atol=tol)


MATMUL_SHAPES = [
    ((4,), (4,)), ((4,), (4, 3)), ((3, 4), (4,)), ((3, 4), (4, 5)), ((2, 3, 4), (4,)), ((4,), (2, 4, 3)),
    ((2, 3, 4), (4, 5)), ((3, 4), (2, 4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 6)),
    ((2, 1, 2, 3, 4), (3, 1, 4, 2)), ((1, 1), (1, 1)), ((3, 0), (0, 2)), ((0, 3), (3, 2)), ((2, 0, 3), (3, 2)),
    ((0, 2, 3), (0, 3, 4)), ((0,), (0,)), ((65, 300), (300, 17)), ((1, 300), (300, 40)),
]  # fmt: skip


@pytest.mark.parametrize("a, b", MATMUL_SHAPES, ids=str)
def test_matmul_shapes(a, b):
    x, y = random(*a), random(*b, seed=1)
    expected = np.matmul(x.astype(np.float64), y.astype(np.float64))
    close(fb.matmul(tensor(x), tensor(y)), np.asarray(expected))
    close(tensor(x) @ tensor(y), np.asarray(expected))


@pytest.mark.parametrize("a, b", [s for s in MATMUL_SHAPES if 0 not in s[0] and max(s[0]) < 60], ids=str)
def test_matmul_gradients(a, b):
    x, y = tensor(random(*a, dtype="float64"), True), tensor(random(*b, seed=1, dtype="float64"), True)
    assert gradcheck(fb.matmul, (x, y))
    assert gradgradcheck(fb.matmul, (x, y))


@pytest.mark.parametrize("dtype", ["float64", "int8", "uint8", "int16", "int32", "int64", "complex64", "complex128"])
def test_matmul_dtypes(dtype):
    x, y = random(5, 9, dtype=dtype), random(9, 4, seed=1, dtype=dtype)
    z = fb.matmul(tensor(x), tensor(y))
    assert str(z.dtype).endswith(dtype)
    np.testing.assert_allclose(z.numpy(), x @ y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [fb.float16, fb.bfloat16])
def test_half_precision_rounds_once(dtype):
    x, y = tensor(random(6, 300)).to(dtype), tensor(random(300, 5, seed=1)).to(dtype)
    exact = x.float() @ y.float()
    assert (x @ y).dtype is dtype and fb.equal(x @ y, exact.to(dtype))
    bias = tensor(random(5)).to(dtype)
    assert fb.equal(F.linear(x, y.t(), bias), (exact + bias.float()).to(dtype))


@pytest.mark.parametrize("how", ["transposed", "strided", "expanded", "offset"])
def test_operands_of_any_strides(how):
    x, y = random(12, 16), random(16, 12, seed=1)
    views = {
        "transposed": lambda t: t.t().contiguous().t(), "strided": lambda t: t[::2, ::4],
        "expanded": lambda t: t[:1].expand(12, -1), "offset": lambda t: t[3:, 1:],
    }  # fmt: skip
    a, b = views[how](tensor(x)), views[how](tensor(y))
    b = b[: a.shape[1]] if b.shape[0] >= a.shape[1] else fb.cat([b, b])[: a.shape[1]]
    close(a @ b, a.numpy().astype(np.float64) @ b.numpy())


def test_products_by_name():
    a, b, v, w, c = random(3, 4), random(4, 5, seed=1), random(4, seed=2), random(3, seed=3), random(3, 5, seed=4)
    s, t = random(2, 3, 4), random(2, 4, 5, seed=1)
    ta, tb, tv, tw, tc, ts, tt = map(tensor, (a, b, v, w, c, s, t))
    close(fb.mm(ta, tb), a @ b)
    close(fb.mv(ta, tv), a @ v)
    close(fb.dot(tv, tv), np.asarray(v @ v))
    close(fb.outer(tv, tw), np.outer(v, w))
    close(fb.bmm(ts, tt), s @ t)
    close(fb.addmm(tc, ta, tb, beta=0.5, alpha=2), 0.5 * c + 2 * (a @ b))
    close(fb.addmm(tensor(c[0]), ta, tb), c[0] + a @ b)
    close(fb.addmv(tw, ta, tv, beta=2), 2 * w + a @ v)
    close(fb.addr(tensor(np.outer(w, v)), tw, tv, alpha=3), 4 * np.outer(w, v))
    close(fb.baddbmm(tc, ts, tt, beta=2, alpha=0.5), 2 * c + 0.5 * (s @ t))
    close(fb.addbmm(tc, ts, tt), c + (s @ t).sum(0))
    close(fb.inner(ta, tensor(b.T.copy())), a @ b)
    close(fb.tensordot(ta, tb, dims=1), a @ b)
    close(fb.tensordot(ts, tt, dims=([0, 2], [0, 1])), np.tensordot(s, t, ([0, 2], [0, 1])))
    close(fb.tensordot(ta, ta, dims=2), np.asarray((a * a).sum()))
    close(fb.tensordot(ta, tv, dims=0), np.multiply.outer(a, v))


@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 1), (1, 5), (3, 5), (2, 3, 5), (2, 1, 5), (2, 3, 1)], ids=str)
@pytest.mark.parametrize("beta, alpha", [(1, 1), (2, 0.5)])
def test_what_is_added_broadcasts(shape, beta, alpha):
    a, b = random(2, 3, 4, dtype="float64"), random(2, 4, 5, seed=1, dtype="float64")
    c = np.asarray(random(*shape, seed=2, dtype="float64"))
    args = [tensor(x, True) for x in (c, a, b)]
    close(fb.baddbmm(*args, beta=beta, alpha=alpha), beta * c + alpha * (a @ b))
    assert gradcheck(lambda *xs: fb.baddbmm(*xs, beta=beta, alpha=alpha), args)
    if len(shape) < 3:
        args = [tensor(x, True) for x in (c, a[0], b[0])]
        close(fb.addmm(*args, beta=beta, alpha=alpha), beta * c + alpha * (a[0] @ b[0]))
        assert gradgradcheck(lambda *xs: fb.addmm(*xs, beta=beta, alpha=alpha), args)
        each = fb.func.vmap(lambda c, x, y: fb.addmm(c, x, y, beta=beta, alpha=alpha), in_dims=(None, 0, 0))
        close(each(tensor(c), tensor(a), tensor(b)), beta * c + alpha * (a @ b))


def test_addmm_rounds_once():
    x, y, c = (tensor(random(6, 6, seed=i)).to(fb.bfloat16) for i in range(3))
    exact = 0.3 * c.double() + 1.7 * (x.double() @ y.double())
    rounded = exact.to(fb.bfloat16)
    assert (fb.addmm(c, x, y, beta=0.3, alpha=1.7) != rounded).sum() <= 1  # a tie of float32 sums, at most


def test_int_mm():
    a, b = (np.random.default_rng(i).integers(-128, 128, s).astype(np.int8) for i, s in ((0, (9, 40)), (1, (40, 7))))
    y = fb._int_mm(tensor(a), tensor(b))
    assert y.dtype is fb.int32
    np.testing.assert_array_equal(y.numpy(), a.astype(np.int32) @ b.astype(np.int32))
    with pytest.raises(RuntimeError, match=r"_int_mm: takes two int8 matrices, got .*uint8"):
        fb._int_mm(tensor(a), tensor(b).to(fb.uint8))


def test_beta_zero_ignores_what_is_there():
    a = fb.ones(2, 2)
    assert fb.addmm(fb.full((2, 2), float("nan")), a, a, beta=0).tolist() == [[2, 2], [2, 2]]
    assert fb.baddbmm(fb.full((1, 2, 2), float("inf")), a[None], a[None], beta=0).tolist() == [[[2, 2], [2, 2]]]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (0,), (2, 0, 3)], ids=str)
def test_linear(lead, bias):
    x, w, b = random(*lead, 7), random(5, 7, seed=1), random(5, seed=2)
    y = F.linear(tensor(x), tensor(w), tensor(b) if bias else None)
    close(y, x.astype(np.float64) @ w.T + (b if bias else 0))


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)], ids=str)
def test_linear_gradients(lead):
    args = [tensor(random(*s, dtype="float64"), True) for s in ((*lead, 4), (3, 4), (3,))]
    assert gradcheck(F.linear, args)
    assert gradgradcheck(F.linear, args)


def test_out():
    a, b = tensor(random(3, 4)), tensor(random(4, 5, seed=1))
    out = fb.empty(3, 5)
    for f in (fb.mm, fb.matmul):
        assert f(a, b, out=out) is out and fb.equal(out, a @ b)
    empty = fb.empty(0)
    fb.mm(a, b, out=empty)
    assert fb.equal(empty, a @ b)
    assert fb.equal(fb.tensordot(a, b, 1, out=fb.empty(0)), a @ b)
    # The result may stand where an operand stood.
    square = tensor(random(4, 4))
    expected = square @ square
    assert fb.equal(fb.mm(square, square, out=square), expected)


ones = fb.ones
ERRORS = [
    (
        lambda: fb.matmul(ones(3, 4), ones(3, 4)),
        r"matmul: inner sizes differ, \(3, 4\) @ \(3, 4\); did you mean x.mT\?",
    ),
    (lambda: fb.matmul(ones(3, 4), ones(5, 6)), r"matmul: inner sizes differ, \(3, 4\) @ \(5, 6\)$"),
    (lambda: fb.matmul(ones(2, 3, 4), ones(3, 4, 5)), r"batch dimensions don't broadcast, \(2, 3, 4\) @ \(3, 4, 5\)"),
    (lambda: fb.matmul(fb.tensor(1.0), ones(2)), r"at least 1 dimension, got \(\) @ \(2,\); use \*"),
    (
        lambda: fb.matmul(ones(2, 2), ones(2, 2).double()),
        r"one dtype, got flambeau.float32 and flambeau.float64.*x.to\(dtype\)",
    ),
    (lambda: fb.matmul(ones(2, 2) > 0, ones(2, 2) > 0), r"matmul: not defined for bool; convert with x.to\("),
    (lambda: fb.mm(ones(2, 2), ones(2)), r"mm: argument 1 must have 2 dimensions, got shape \(2,\)"),
    (lambda: fb.bmm(ones(2, 3, 4), ones(3, 4, 5)), r"bmm: batch sizes differ, \(2, 3, 4\) and \(3, 4, 5\)"),
    (lambda: fb.dot(ones(3), ones(4)), r"inner sizes differ, \(3,\) @ \(4,\)"),
    (lambda: fb.mv(ones(3, 4), ones(3)), r"inner sizes differ, \(3, 4\) @ \(3,\)"),
    (
        lambda: fb.tensordot(ones(3, 4), ones(3, 5), dims=1),
        r"tensordot: contracted sizes differ, 4 \(dimension 1\) and 3 \(dimension 0\)",
    ),
    (lambda: fb.tensordot(ones(3, 4), ones(3, 4), dims=3), r"tensordot: dims must be from 0 to 2, got 3"),
    (lambda: F.linear(ones(3, 4), ones(5, 3)), r"linear: .* 3; got input \(3, 4\) and weight \(5, 3\)"),
    (lambda: F.linear(ones(3, 4), ones(5, 4), ones(4)), r"linear: bias must have 5 elements, got shape \[4\]"),
    (lambda: F.conv2d(ones(1, 3, 5, 5), ones(2, 4, 3, 3)), "expected input.*to have 4 channels, but got 3 channels"),
    (
        lambda: F.conv2d(ones(1, 3, 2, 2), ones(2, 3, 3, 3)),
        r"padded input size \[2, 2\] is smaller than the kernel \[3, 3\]",
    ),
    (lambda: F.conv2d(ones(3, 4), ones(3, 4)), "weight must have 4 dimensions, got shape"),
    (lambda: F.conv2d(ones(4), ones(2, 1, 3, 3)), r"input must have 3 \(unbatched\) or 4 \(batched\) dimensions"),
    (lambda: F.conv2d(ones(1, 2, 5, 5), ones(3, 1, 3, 3), groups=2), "groups=2 must divide the 3 leading"),
    (lambda: F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3), ones(3)), "bias must have 2 elements"),
    (lambda: F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3), stride=0), "stride and dilation must be positive"),
    (lambda: F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3), padding="full"), "'same' or 'valid', got 'full'"),
    (lambda: F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3), padding="same", stride=2), "not supported for strided"),
    (
        lambda: F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3), stride=(1, 2, 3)),
        r"stride must be one integer or 2, got \[1, 2, 3\]",
    ),
    (lambda: F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3).double()), "must have one dtype"),
    (lambda: F.conv_transpose2d(ones(1, 3, 5, 5), ones(2, 4, 3, 3)), "to have 2 channels, but got 3"),
    (
        lambda: F.conv_transpose2d(ones(1, 2, 5, 5), ones(2, 4, 3, 3), output_padding=1),
        "output_padding must be smaller",
    ),
]


@pytest.mark.parametrize("call, text", ERRORS, ids=[text[:40] for _, text in ERRORS])
def test_errors(call, text):
    with pytest.raises(RuntimeError, match=text):
        call()


def test_lists_are_no_operands():
    with pytest.raises(TypeError, match="matmul: takes two tensors, got Tensor and list"):
        fb.matmul(ones(2, 2), [1, 2])


def convolved(x, w, stride, padding, dilation, groups):
    """The definition, tap by tap, in any number of dimensions, float64."""
    n = x.ndim - 2
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *[(padding, padding)] * n])
    sizes = [(s - dilation * (k - 1) - 1) // stride + 1 for s, k in zip(padded.shape[2:], w.shape[2:], strict=True)]
    y = np.zeros((x.shape[0], w.shape[0], *sizes))
    o, c = w.shape[0] // groups, w.shape[1]
    for tap in np.ndindex(*w.shape[2:]):
        cut = tuple(
            slice(t * dilation, t * dilation + (s - 1) * stride + 1, stride) for t, s in zip(tap, sizes, strict=True)
        )
        for g in range(groups):
            part = padded[(slice(None), slice(g * c, g * c + c), *cut)]
            y[:, g * o : g * o + o] += np.einsum(
                "nc...,oc->no...", part, w[(slice(g * o, g * o + o), slice(None), *tap)]
            )
    return y


CONVS = [F.conv1d, F.conv2d, F.conv3d]
TRANSPOSED = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d]
HOW = [(1, 0, 1, 1), (1, 1, 1, 1), (2, 1, 1, 2), (2, 2, 2, 1), (3, 0, 1, 4)]  # stride, padding, dilation, groups


@pytest.mark.parametrize("stride, padding, dilation, groups", HOW)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_convolutions(n, stride, padding, dilation, groups):
    x, w, b = random(2, 4, *(9, 8, 7)[:n]), random(8, 4 // groups, *(3, 2, 3)[:n], seed=1), random(8, seed=2)
    y = CONVS[n - 1](tensor(x), tensor(w), tensor(b), stride, padding, dilation, groups)
    close(y, convolved(x, w, stride, padding, dilation, groups) + b.reshape(-1, *[1] * n))
    one = CONVS[n - 1](tensor(x[0]), tensor(w), tensor(b), stride, padding, dilation, groups)
    assert fb.equal(one, y[0])


@pytest.mark.parametrize("stride, padding, dilation, groups", HOW)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_transposed_convolutions_are_adjoint(n, stride, padding, dilation, groups):
    """<conv(x), y> = <x, conv_transpose(y)>: that is what transposed means."""
    x, w = (
        random(2, 4, *(9, 8, 7)[:n]).astype(np.float64),
        random(8, 4 // groups, *(3, 2, 3)[:n], seed=1).astype(np.float64),
    )
    y = CONVS[n - 1](tensor(x), tensor(w), None, stride, padding, dilation, groups)
    g = tensor(random(*y.shape, seed=3).astype(np.float64))
    lost = [(s + 2 * padding - dilation * (k - 1) - 1) % stride for s, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    back = TRANSPOSED[n - 1](g, tensor(w), None, stride, padding, lost, groups, dilation)
    assert back.shape == x.shape
    np.testing.assert_allclose((y * g).sum().item(), (tensor(x) * back).sum().item(), rtol=1e-10)


@pytest.mark.parametrize("stride, padding, dilation, groups", HOW[1:4])
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("family", ["conv", "transposed"])
def test_convolution_gradients(family, n, stride, padding, dilation, groups):
    transposed = family == "transposed"
    x = tensor(random(2, 4, *(5, 4)[:n], dtype="float64"), True)
    shape = (4, 2 // groups) if transposed else (2, 4 // groups)
    w, b = tensor(random(*shape, *(2, 3)[:n], seed=1, dtype="float64"), True), tensor(random(2, dtype="float64"), True)

    def f(x, w, b):
        if transposed:
            return TRANSPOSED[n - 1](x, w, b, stride, padding, 0, groups, dilation)
        return CONVS[n - 1](x, w, b, stride, padding, dilation, groups)

    assert gradcheck(f, (x, w, b))
    assert gradgradcheck(f, (x, w, b))


def test_padding_by_name():
    x, w = tensor(random(1, 2, 8, 9)), tensor(random(3, 2, 3, 5, seed=1))
    assert fb.equal(F.conv2d(x, w, padding="same"), F.conv2d(x, w, padding=(1, 2)))
    assert fb.equal(F.conv2d(x, w, padding="valid"), F.conv2d(x, w))


def test_channels_last_gives_the_same_bits_and_stays():
    x, w = tensor(random(3, 6, 9, 8)), tensor(random(20, 6, 3, 3, seed=1))
    last = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    y = F.conv2d(last, w, padding=1)
    assert fb.equal(y, F.conv2d(x, w, padding=1)) and y.stride(1) == 1


def test_empty_batches():
    w = tensor(random(3, 2, 3, 3), True)
    x = fb.empty(0, 2, 5, 5, requires_grad=True)
    y = F.conv2d(x, w, padding=1)
    assert y.shape == (0, 3, 5, 5)
    y.sum().backward()
    assert x.grad.shape == x.shape and (w.grad == 0).all()


@pytest.fixture
def threads():
    before = fb.get_num_threads()
    yield fb.set_num_threads
    fb.set_num_threads(before)


def test_bits_know_neither_threads_nor_batch(threads):
    a, b, x = tensor(random(130, 700)), tensor(random(300, 700, seed=1)), tensor(random(40, 16, 12, 12))
    bias, w = tensor(random(300, seed=2)), tensor(random(24, 16, 3, 3, seed=1))

    def results():
        leaves = [t.detach().requires_grad_() for t in (a, b, bias, x, w)]
        y, z = F.linear(*leaves[:3]), F.conv2d(*leaves[3:], padding=1)
        ((y * y).sum() + (z * z).sum()).backward()
        return [y.detach(), z.detach(), *(t.grad for t in leaves)]

    threads(1)
    alone = results()
    for n in (2, 3, 4, 7):
        threads(n)
        assert all(map(fb.equal, results(), alone))
    for i in (0, 77, 129):
        assert fb.equal(F.linear(a[i], b, bias), alone[0][i])
        assert fb.equal(F.linear(a[i : i + 5], b, bias), alone[0][i : i + 5])
    for i in (0, 39):
        assert fb.equal(F.conv2d(x[i : i + 1], w, padding=1), alone[1][i : i + 1])


@pytest.mark.parametrize("n", [4096, 4097, 8192, 100003, 2**24 + 1])
def test_dot_of_long_vectors_has_the_bits_of_the_sum(n):
    """Once through both of them, or twice: for gradients, and for more blocks than one pass sums."""
    for dtype in (fb.float32, fb.float64) if n < 2**20 else (fb.float32,):
        a, b = fb.rand(n, dtype=dtype) - 0.5, fb.rand(2 * n, dtype=dtype)[::2]
        expected = (a * b).sum().item()
        assert fb.dot(a, b).item() == expected == fb.dot(a.clone().requires_grad_(), b).item()
        close(fb.dot(a, b), np.dot(a.double().numpy(), b.double().numpy()), 1e-2)
