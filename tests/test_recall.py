"""Recalled functions: what is done again from a list of launches is what the function itself does, and errors stay."""

import copy
import inspect
import pickle
import threading

import pytest

import flambeau as fb
from flambeau.core import _core
from flambeau.nn.functional import one_hot
from flambeau.ops.recall import recalled

ROWS = fb.tensor([0, 2, 1, 3])
PLACES = fb.arange(32).view(4, 8) % 8


def definite(x):
    square = x[:, :4]
    return square @ square.t() + 8 * fb.eye(4)


# Calls with a tensor of shape (4, 8) whose elements change from one to the next.
CALLS = {
    "arange": lambda x: fb.arange(8),
    "arange_step": lambda x: fb.arange(0.0, 2.0, 0.25),
    "argsort": lambda x: x.argsort(descending=True),
    "block_diag": lambda x: fb.block_diag(x, x.t()),
    "bucketize": lambda x: fb.bucketize(x, fb.arange(8.0)),
    "cartesian_prod": lambda x: fb.cartesian_prod(x[0], x[1]),
    "cdist": lambda x: fb.cdist(x, x + 1),
    "cdist_of_itself": lambda x: fb.cdist(x, x),
    "cholesky": lambda x: fb.linalg.cholesky(definite(x)),
    "column_stack": lambda x: fb.column_stack([x, x[:, 0]]),
    "cross": lambda x: fb.cross(x[:3, :3], x[1:, :3]),
    "cummax": lambda x: x.cummax(1),
    "cumprod": lambda x: x.cumprod(0),
    "cumsum": lambda x: x.cumsum(1),
    "cumsum_wide": lambda x: x.cumsum(1, dtype=fb.float64),
    "det": lambda x: fb.linalg.det(x.reshape(2, 4, 4)),
    "diag": lambda x: fb.diag(x[0], 1),
    "diag_of_matrix": lambda x: fb.diag(x[:, :4]),
    "diff": lambda x: x.diff(),
    "dist": lambda x: fb.dist(x, x.flip(0)),
    "dot": lambda x: fb.dot(x[0], x[1]),
    "eigh": lambda x: fb.linalg.eigh(definite(x)).eigenvalues,
    "eye": lambda x: fb.eye(4, 8),
    "flip": lambda x: x.flip(0, 1),
    "flip_rows": lambda x: x.flip(0),
    "full": lambda x: fb.full((4, 8), 2.5),
    "full_like": lambda x: fb.full_like(x, 3),
    "hstack": lambda x: fb.hstack([x, x]),
    "index_add": lambda x: x.index_add(0, ROWS, x, alpha=2),
    "index_copy": lambda x: x.index_copy(0, ROWS, x + 1),
    "index_fill": lambda x: x.index_fill(0, ROWS[:2], 7.0),
    "inv": lambda x: fb.linalg.inv(definite(x)),
    "kron": lambda x: fb.kron(x, x[:2]),
    "kthvalue": lambda x: x.kthvalue(3),
    "linspace": lambda x: fb.linspace(0, 1, 8),
    "logcumsumexp": lambda x: x.logcumsumexp(1),
    "logsumexp": lambda x: x.logsumexp(1),
    "matrix_norm": lambda x: fb.linalg.matrix_norm(x, 1),
    "median": lambda x: x.median(),
    "median_dim": lambda x: x.median(1, keepdim=True),
    "mode": lambda x: x.round().mode(1),
    "nanmedian": lambda x: x.nanmedian(1),
    "nanquantile": lambda x: x.nanquantile(0.25, 1),
    "norm": lambda x: x.norm(dim=1),
    "norm_3": lambda x: x.norm(3, 1),
    "one_hot": lambda x: one_hot(ROWS, 5),
    "ones_like": lambda x: fb.ones_like(x),
    "outer": lambda x: fb.outer(x[0], x[1]),
    "qr": lambda x: fb.linalg.qr(x),
    "qr_complete": lambda x: fb.linalg.qr(x.t(), mode="complete"),
    "quantile": lambda x: x.quantile(0.3, 1),
    "repeat": lambda x: x.repeat(2, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 0),
    "roll": lambda x: x.roll((1, 3), (0, 1)),
    "roll_flat": lambda x: x.roll(3),
    "rot90": lambda x: x.rot90(),
    "scatter": lambda x: x.scatter(1, PLACES, x + 1),
    "scatter_number": lambda x: x.scatter(1, PLACES[:, :3], 5.0),
    "scatter_add": lambda x: x.scatter_add(1, PLACES // 2, x),
    "searchsorted": lambda x: fb.searchsorted(fb.arange(8.0), x),
    "slogdet": lambda x: fb.linalg.slogdet(x[:, :4]),
    "solve": lambda x: fb.linalg.solve(definite(x), x),
    "sort": lambda x: x.sort(0, descending=True),
    "std": lambda x: x.std(1, keepdim=True),
    "svd": lambda x: fb.linalg.svd(x, full_matrices=False),
    "svdvals": lambda x: fb.linalg.svdvals(x),
    "tile": lambda x: x.tile(2, 2),
    "topk": lambda x: x.topk(2),
    "trace": lambda x: fb.trace(x),
    "tril": lambda x: x.tril(1),
    "triu_indices": lambda x: fb.triu_indices(4, 4, 1),
    "var": lambda x: x.var(0, correction=0),
    "vector_norm": lambda x: fb.linalg.vector_norm(x, 1, 1),
    "vstack": lambda x: fb.vstack([x, x[0]]),
    "zeros": lambda x: fb.zeros(4, 8),
}


def parts(result):
    return [result] if isinstance(result, fb.Tensor) else list(result)


def same(a, b):
    pairs = list(zip(parts(a), parts(b), strict=True))
    assert type(a) is type(b)
    for x, y in pairs:
        assert x.dtype is y.dtype and x.shape == y.shape and x.stride() == y.stride()
        assert x.numpy().tobytes() == y.numpy().tobytes()


@pytest.mark.parametrize("name", CALLS)
def test_recalled_calls_have_the_bits_of_the_first(name):
    fb.manual_seed(0)
    call = CALLS[name]
    for spread in (lambda x: x, lambda x: x.t().contiguous().t()):
        data = [spread(fb.randn(4, 8)) for _ in range(5)]
        recalled_results = [call(x) for x in data]
        for x, y in zip(data, recalled_results, strict=True):
            with fb.autograd.set_detect_anomaly(True):  # in which nothing is recalled
                same(y, call(x))
        # Memory of results is their own.
        kept = [p.clone() for p in parts(recalled_results[-1])]
        call(data[0])
        for p, q in zip(parts(recalled_results[-1]), kept, strict=True):
            assert p.numpy().tobytes() == q.numpy().tobytes()


def calls_of(function, *args, **kwargs):
    """Whether a third call with such arguments is recalled."""
    for _ in range(3):
        function(*args, **kwargs)
    return function.recalls(*args, **kwargs)


def test_small_calls_are_recalled():
    x = fb.randn(4, 8)
    assert calls_of(fb.roll, x, 1, 0)
    assert calls_of(fb.linalg.inv, definite(x))
    assert calls_of(fb.quantile, x, 0.5)
    assert calls_of(fb.sort, x, dim=1, descending=True)
    assert not calls_of(fb.roll, fb.randn(400, 400), 1, 0)
    assert calls_of(fb.roll, x.clone().requires_grad_(), 1, 0)


def test_what_differs_is_not_confused():
    x = fb.arange(6.0).view(2, 3)
    for _ in range(4):
        assert x.roll(1, 0).tolist() == [[3, 4, 5], [0, 1, 2]]
        assert x.roll(1, 1).tolist() == [[2, 0, 1], [5, 3, 4]]
        assert x.roll(shifts=1, dims=1).tolist() == [[2, 0, 1], [5, 3, 4]]
        assert x.roll((1,), (0,)).tolist() == [[3, 4, 5], [0, 1, 2]]
        assert x.int().roll(1, 0).dtype is fb.int32
        assert x.t().roll(1, 0).tolist() == [[2, 5], [0, 3], [1, 4]]
        assert fb.full((2,), 1).dtype is fb.int64 and fb.full((2,), 1.0).dtype is fb.float32
        assert fb.full((2,), True).dtype is fb.bool
        assert (
            fb.full((1,), -0.0).tolist()[0].hex() == "-0x0.0p+0" and fb.full((1,), 0.0).tolist()[0].hex() == "0x0.0p+0"
        )


def test_default_dtype_decides():
    def made():
        return fb.linspace(0, 1, 3).dtype

    for _ in range(3):
        assert made() is fb.float32
    fb.set_default_dtype(fb.float64)
    try:
        for _ in range(3):
            assert made() is fb.float64
    finally:
        fb.set_default_dtype(fb.float32)


def test_errors_stay():
    x, index = fb.zeros(4), fb.tensor([0, 1])
    for _ in range(4):
        x.index_add(0, index, fb.ones(2))
    with pytest.raises(IndexError, match="out of bounds"):
        x.index_add(0, fb.tensor([0, 4]), fb.ones(2))
    good = fb.eye(3)
    for _ in range(4):
        fb.linalg.inv(good)
    with pytest.raises(fb.linalg.LinAlgError, match="singular"):
        fb.linalg.inv(fb.zeros(3, 3))
    assert fb.linalg.inv(good).equal(good)
    for _ in range(4):
        with pytest.raises(IndexError):
            x.cumsum(3)


def test_written_arguments():
    index = fb.tensor([0, 2])
    x = fb.zeros(3)
    for n in range(1, 6):
        version = x._version
        assert x.index_add_(0, index, fb.ones(2)) is x
        assert x.tolist() == [n, 0, n] and x._version > version
    with pytest.raises(IndexError):
        x.index_add_(0, fb.tensor([0, 3]), fb.ones(2))
    assert x.tolist() == [5, 0, 5]
    leaf = fb.zeros(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        leaf.index_add_(0, index, fb.ones(2))
    y = leaf * 1
    y.index_add_(0, index, fb.ones(2))
    assert y.requires_grad
    # A saved tensor that is written is found out.
    z = fb.ones(3)
    out = (leaf * z).sum()
    z.index_add_(0, index, fb.ones(2))
    with pytest.raises(RuntimeError, match="modified by an in-place"):
        out.backward()


def test_arguments_that_share_memory():
    whole = fb.arange(8.0)
    a, b = whole[:4], whole[4:]
    for _ in range(3):
        assert fb.dot(a, b).item() == 38.0
        assert fb.dot(fb.ones(4), fb.ones(4)).item() == 4.0
        assert fb.dot(a, a).item() == 14.0
    index = fb.tensor([3, 2, 1, 0])
    for _ in range(3):
        x = fb.arange(4.0)
        x.index_copy_(0, index, x)
        assert x.tolist() == [3, 2, 1, 0]


def test_gradients_and_interpreters_see_the_function():
    x = fb.randn(4, 8)
    for _ in range(3):
        x.cumsum(1)
    leaf = x.clone().requires_grad_()
    leaf.cumsum(1).sum().backward()
    assert leaf.grad[0].tolist() == [8, 7, 6, 5, 4, 3, 2, 1]
    assert fb.vmap(lambda row: row.cumsum(0))(x).equal(x.cumsum(1))
    with fb.inference_mode():
        assert x.cumsum(1).is_inference()
    with fb.no_grad():
        assert not leaf.cumsum(1).requires_grad


def test_what_reads_elements_is_left_alone():
    @recalled
    def signed(x):
        return x + 1 if x[0].item() > 0 else x - 1

    for value in (1.0, 1.0, 1.0, -1.0, 1.0):
        assert signed(fb.tensor([value])).item() == value + (1 if value > 0 else -1)


def test_memory_filled_out_of_sight_is_noticed():
    from numpy import ones

    @recalled
    def with_numpy(x):
        return x + fb.from_numpy(ones(2, "float32") * x.numpy().sum())

    @recalled
    def filled(x):
        y = fb.empty(2)
        memoryview(y)[0] = float(x.numel())
        return y

    for n in (1.0, 2.0, 3.0, 4.0):
        assert with_numpy(fb.tensor([n, n])).tolist() == [3 * n, 3 * n]
        assert filled(fb.ones(2))[0].item() == 2.0


def test_threads():
    x = fb.randn(4, 8)
    expected = x.flip(1).cumsum(0).roll(1, 1)
    wrong = []

    def work():
        for k in range(200):
            y = fb.randn(4, 8 + k % 5)
            y.flip(1).cumsum(0).roll(1, 1)
            if not x.flip(1).cumsum(0).roll(1, 1).equal(expected):
                wrong.append(k)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_it_is_a_function_to_python():
    assert fb.roll.__name__ == "roll" and "shifted" in fb.roll.__doc__
    assert list(inspect.signature(fb.roll).parameters) == ["input", "shifts", "dims"]
    assert pickle.loads(pickle.dumps(fb.roll)) is fb.roll
    assert copy.deepcopy(fb.roll) is fb.roll
    assert isinstance(fb.roll, _core.Recalled)


# Calls whose tape is made again: what they return, and how it goes backward, of a leaf and of what is made of one.
TAPED = {
    name: CALLS[name]
    for name in (
        "cdist", "cholesky", "cumprod", "cumsum", "det", "diag", "diff", "eigh", "flip", "hstack", "index_add",
        "index_copy", "index_fill", "inv", "kron", "kthvalue", "logcumsumexp", "logsumexp", "median", "median_dim",
        "norm", "norm_3", "outer", "qr", "quantile", "repeat", "repeat_interleave", "roll", "rot90", "scatter",
        "scatter_add", "slogdet", "solve", "sort", "std", "svdvals", "tile", "topk", "trace", "tril", "var",
        "vector_norm", "vstack",
    )
} | {
    "chunk": lambda x: x.chunk(2, 1),
    "einsum": lambda x: fb.einsum("ij,kj->ik", x, x),
    "gather": lambda x: x.gather(1, PLACES),
    "indexed": lambda x: x[ROWS, ROWS],
    "linear": lambda x: fb.nn.functional.linear(x, x[:3], x[:3, 0]),
    "matmul": lambda x: fb.matmul(x, x.t()),
    "max": lambda x: fb.max(x, 1),
    "rows": lambda x: x[:, ROWS],
    "softmax": lambda x: x.softmax(0),
    "split": lambda x: x.split([1, 3]),
    "take": lambda x: x.take(PLACES),
    "unbind": lambda x: x.unbind(),
}  # fmt: skip


def floats(result):
    return [p for p in parts(result) if p.is_floating_point()]


def gradients(call, x, weights, leaf):
    """The results and first and second derivatives of a weighted sum of their squares, along a fixed direction."""
    x = x.detach().requires_grad_()
    outs = floats(call(x if leaf else x * 1.0))
    total = sum((w * p * p).sum() for w, p in zip(weights, outs, strict=False))
    (first,) = fb.autograd.grad(total, x, create_graph=True)
    found = [p.detach() for p in outs] + [first.detach()]
    if first.requires_grad:
        found += fb.autograd.grad((first * fb.linspace(-1, 1, first.numel()).view(first.shape)).sum(), x)
    return tuple(found)


@pytest.mark.parametrize("leaf", [True, False])
@pytest.mark.parametrize("name", TAPED)
def test_tape_of_recalled_calls(name, leaf):
    fb.manual_seed(1)
    weights = [1.5, -0.5, 2.0, 3.0] * 4
    for x in [fb.randn(4, 8) for _ in range(5)]:
        y = gradients(TAPED[name], x, weights, leaf)
        with fb.autograd.set_detect_anomaly(True):
            same(y, gradients(TAPED[name], x, weights, leaf))


def test_small_recorded_calls_are_recalled():
    x = fb.randn(4, 8, requires_grad=True)
    assert calls_of(fb.gather, x, 1, PLACES) and calls_of(fb.sort, x) and calls_of(fb.std, x, 1)
    y = fb.gather(x, 1, PLACES)
    assert y.grad_fn.name() == "PickBackward0" and y.grad_fn.next_functions[0][0].variable is x


def test_saved_tensors_are_watched_in_recalled_calls():
    for _ in range(4):
        x = fb.randn(4, 8)
        w = fb.randn(8, 8, requires_grad=True)
        y = fb.matmul(x, w)
        x.add_(1)
        with pytest.raises(RuntimeError, match="modified by an in-place"):
            y.sum().backward()


def test_views_of_recalled_calls_share_memory():
    for _ in range(4):
        x = fb.zeros(4, 2)
        first, second = x.chunk(2)
        second.add_(1)
        assert x.tolist() == [[0, 0], [0, 0], [1, 1], [1, 1]] and first._base is x
        leaf = fb.zeros(4, requires_grad=True)
        whole = leaf * 1
        whole.split(2)[1].mul_(3)
        whole.sum().backward()
        assert leaf.grad.tolist() == [1, 1, 3, 3]
        with fb.no_grad():
            part = leaf.unbind()[0]
        assert not part.requires_grad


def test_only_what_is_written_gets_a_new_version():
    """An assignment that is recalled once made the index it read count as written, and backward refused it."""
    weight = fb.randn(48, 5, requires_grad=True)
    for _ in range(4):
        _, order = fb.sort(fb.randint(0, 4, (48,)))
        picked = weight[order]
        back = fb.empty_like(order)
        back[order] = fb.arange(48)
        assert (order._version, back._version) == (0, 1)
        picked[back].sum().backward()
