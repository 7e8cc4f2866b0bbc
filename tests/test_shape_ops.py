"""Joining, splitting, views, rearranging: against NumPy, every dtype, at the edges, under autograd."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import array, both_orders, leaf, same

import flambeau as fb

DTYPES = [
    fb.bool, fb.uint8, fb.int8, fb.int16, fb.int32, fb.int64, fb.float16, fb.bfloat16, fb.float32, fb.float64,
    fb.complex64, fb.complex128,
]  # fmt: skip
A, B, C = np.arange(12.0).reshape(3, 4), np.arange(24.0).reshape(2, 3, 4), np.arange(5.0)


def t(x: np.ndarray) -> fb.Tensor:
    return fb.from_numpy(x.copy())


# Each row: a call, and what NumPy says.
AGREE = {
    "cat": (lambda: fb.cat([t(B), t(B) + 1], 1), lambda: np.concatenate([B, B + 1], 1)),
    "cat of views": (lambda: fb.cat([t(A).t(), t(B)[0].t()]), lambda: np.concatenate([A.T, B[0].T])),
    "cat with an empty vector": (lambda: fb.cat([fb.zeros(0), t(A), fb.zeros(0)], 1), lambda: A),
    "stack": (lambda: fb.stack([t(A), t(A) * 2], -1), lambda: np.stack([A, A * 2], -1)),
    "hstack": (lambda: fb.hstack([t(A), t(A)]), lambda: np.hstack([A, A])),
    "hstack of vectors": (lambda: fb.hstack([t(C), t(C)]), lambda: np.hstack([C, C])),
    "vstack": (lambda: fb.vstack([t(C), t(C)]), lambda: np.vstack([C, C])),
    "dstack": (lambda: fb.dstack([t(A), t(A)]), lambda: np.dstack([A, A])),
    "column_stack": (lambda: fb.column_stack([t(C), t(C)]), lambda: np.column_stack([C, C])),
    "flip": (lambda: t(B).flip(0, 2), lambda: np.flip(B, (0, 2))),
    "flip last": (lambda: t(B).flip(-1), lambda: np.flip(B, -1)),
    "flip of a view": (lambda: t(B).permute(2, 0, 1).flip(1, 2), lambda: np.flip(B.transpose(2, 0, 1), (1, 2))),
    "fliplr": (lambda: t(A).fliplr(), lambda: np.fliplr(A)),
    "flipud": (lambda: t(A).flipud(), lambda: np.flipud(A)),
    "roll": (lambda: t(A).roll(5), lambda: np.roll(A, 5)),
    "roll two": (lambda: t(A).roll((1, -2), (0, 1)), lambda: np.roll(A, (1, -2), (0, 1))),
    "roll twice": (lambda: t(A).roll((1, 2), (1, 1)), lambda: np.roll(A, 3, 1)),
    **{f"rot90 {k}": (lambda k=k: t(B).rot90(k, (1, 2)), lambda k=k: np.rot90(B, k, (1, 2))) for k in range(-1, 4)},
    "repeat": (lambda: t(A).repeat(2, 1, 3), lambda: np.tile(A, (2, 1, 3))),
    "repeat zero": (lambda: t(A).repeat(0, 1), lambda: np.tile(A, (0, 1))),
    "tile": (lambda: t(B).tile(2), lambda: np.tile(B, 2)),
    "repeat_interleave": (lambda: t(A).repeat_interleave(2), lambda: np.repeat(A, 2)),
    "repeat_interleave dim": (lambda: t(A).repeat_interleave(3, 0), lambda: np.repeat(A, 3, 0)),
    "repeat_interleave each": (
        lambda: t(A).repeat_interleave(fb.tensor([2, 0, 1]), 0), lambda: np.repeat(A, [2, 0, 1], 0),
    ),
    "movedim": (lambda: t(B).movedim((0, 1), (2, 0)), lambda: np.moveaxis(B, (0, 1), (2, 0))),
    "swapaxes": (lambda: t(B).swapaxes(0, -1), lambda: np.swapaxes(B, 0, -1)),
    "diagonal": (lambda: t(B).diagonal(1, 2, 0), lambda: np.diagonal(B, 1, 2, 0)),
    "diagonal outside": (lambda: t(A).diagonal(9), lambda: np.zeros(0)),
    "diag": (lambda: fb.diag(t(C), -1), lambda: np.diag(C, -1)),
    "diag of a matrix": (lambda: fb.diag(t(A), 1), lambda: np.diag(A, 1)),
    "diagflat": (lambda: fb.diagflat(t(A[:2, :2])), lambda: np.diagflat(A[:2, :2])),
    "diag_embed": (lambda: fb.diag_embed(t(A)).diagonal(0, -2, -1), lambda: A),
    "tril": (lambda: t(B).tril(-1), lambda: np.tril(B, -1)),
    "triu": (lambda: t(B).triu(1), lambda: np.triu(B, 1)),
    "tril far": (lambda: t(A).tril(2**62), lambda: A),
    "tril_indices": (lambda: fb.tril_indices(3, 4, -1), lambda: np.array(np.tril_indices(3, -1, 4))),
    "triu_indices": (lambda: fb.triu_indices(3, 4, 1), lambda: np.array(np.triu_indices(3, 1, 4))),
    "broadcast_to": (lambda: fb.broadcast_to(t(C), (2, 5)), lambda: np.broadcast_to(C, (2, 5))),
    "atleast_3d": (lambda: fb.atleast_3d(t(A)), lambda: np.atleast_3d(A)),
    "unflatten": (lambda: t(A).unflatten(1, (-1, 2)), lambda: A.reshape(3, 2, 2)),
    "ravel": (lambda: fb.ravel(t(A).t()), lambda: A.T.ravel()),
    "as_strided": (lambda: t(A).as_strided((3, 3), (4, 1), 1), lambda: A[:, 1:]),
    "pad": (lambda: fb.pad(t(A), (1, 2, 3, 0), value=7.0), lambda: np.pad(A, ((3, 0), (1, 2)), constant_values=7.0)),
    "pad a large one": (
        lambda: fb.pad(fb.ones(130, 140), (1, 2, 3, 4)), lambda: np.pad(np.ones((130, 140)), ((3, 4), (1, 2))),
    ),
    "pad and crop": (lambda: fb.pad(t(A), (-1, 2, 0, -1)), lambda: np.pad(A[:-1, 1:], ((0, 0), (0, 2)))),
    "pad reflect": (
        lambda: fb.pad(t(B)[None], (3, 2, 1, 2), "reflect")[0], lambda: np.pad(B, ((0, 0), (1, 2), (3, 2)), "reflect"),
    ),
    "pad replicate": (
        lambda: fb.pad(t(B)[None], (5, 2, 1, 9), "replicate")[0], lambda: np.pad(B, ((0, 0), (1, 9), (5, 2)), "edge"),
    ),
    "pad circular": (
        lambda: fb.pad(t(B)[None], (4, 2, 1, 3), "circular")[0], lambda: np.pad(B, ((0, 0), (1, 3), (4, 2)), "wrap"),
    ),
    "block_diag": (
        lambda: fb.block_diag(t(A[:1, :2]), fb.tensor(3.0, dtype=fb.float64), t(C[:2])),
        lambda: np.array([[0.0, 1, 0, 0, 0], [0, 0, 3, 0, 0], [0, 0, 0, 0, 1]]),
    ),
    "cartesian_prod": (
        lambda: fb.cartesian_prod(t(C[:2]), t(C[3:])), lambda: np.array([[0.0, 3], [0, 4], [1, 3], [1, 4]]),
    ),
    "combinations": (lambda: fb.combinations(t(C[:3])), lambda: np.array([[0.0, 1], [0, 2], [1, 2]])),
    "select_scatter": (
        lambda: fb.select_scatter(t(A), t(C[:3]), 1, 0), lambda: np.concatenate([C[:3, None], A[:, 1:]], 1),
    ),
    "slice_scatter": (lambda: fb.slice_scatter(t(A), t(B[0, :1]) - 1, 0, 1, 2)[1], lambda: B[0, 0] - 1),
    "diagonal_scatter": (lambda: fb.diagonal_scatter(t(A), t(C[:3])).diagonal(), lambda: C[:3]),
    "unfold": (
        lambda: t(B).unfold(2, 3, 1), lambda: np.lib.stride_tricks.sliding_window_view(B, 3, 2),
    ),
    "unfold steps": (
        lambda: t(B).unfold(1, 2, 2), lambda: np.lib.stride_tricks.sliding_window_view(B, 2, 1)[:, ::2],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AGREE)
def test_agrees_with_numpy(name):
    mine, numpys = AGREE[name]
    same(mine(), np.asarray(numpys(), dtype=float) if "indices" not in name else numpys())


def test_parts():
    x = t(C)
    assert [p.tolist() for p in x.split(2)] == [[0, 1], [2, 3], [4]]
    assert [p.tolist() for p in x.split([1, 0, 4])] == [[0], [], [1, 2, 3, 4]]
    assert [p.tolist() for p in x.chunk(4)] == [[0, 1], [2, 3], [4]]
    assert [p.tolist() for p in x.tensor_split(3)] == [[0, 1], [2, 3], [4]]
    assert [p.tolist() for p in x.tensor_split((1, 4))] == [[0], [1, 2, 3], [4]]
    assert [p.tolist() for p in x.tensor_split((4, 1))] == [[0, 1, 2, 3], [], [1, 2, 3, 4]]
    assert [p.shape for p in fb.zeros(0, 3).split(0)] == [(0, 3)]
    assert [p.shape for p in fb.zeros(0).chunk(3)] == [(0,)] * 3
    assert [p.tolist() for p in t(A).hsplit(2)] == [A[:, :2].tolist(), A[:, 2:].tolist()]
    assert [p.tolist() for p in t(A).unbind(1)] == A.T.tolist()
    assert [p.tolist() for p in t(A)] == A.tolist()
    a, b = fb.meshgrid(t(C[:2]), t(C[2:]), indexing="xy")
    same(a, np.meshgrid(C[:2], C[2:])[0])
    same(b, np.meshgrid(C[:2], C[2:])[1])
    same(fb.meshgrid(t(C[:2]), t(C[2:]))[1], np.meshgrid(C[:2], C[2:], indexing="ij")[1])
    assert [p.tolist() for p in fb.unravel_index(fb.tensor([5, 7]), (3, 4))] == [[1, 1], [1, 3]]


def test_views_share_memory():
    x = fb.zeros(4, 6)
    views = {
        "split": x.split(2, 1)[1], "unbind": x.unbind(0)[2], "chunk": x.chunk(2)[1], "diagonal": x.diagonal(),
        "unfold": x.unfold(1, 3, 1), "movedim": x.movedim(0, 1), "narrow": fb.narrow(x, 0, 1, 2), "t": fb.t(x),
        "expand": fb.broadcast_to(x, (2, 4, 6)), "unflatten": x.unflatten(1, (2, 3)), "select": fb.select(x, 1, 5),
        "as_strided": x.as_strided((2, 2), (1, 2), 3), "swapaxes": x.swapaxes(0, 1), "ravel": x.ravel(),
        "tensor_split": x.tensor_split(3)[2], "atleast_3d": fb.atleast_3d(x),
    }  # fmt: skip
    for name, view in views.items():
        assert view.untyped_storage() is x.untyped_storage(), name
    z = fb.zeros(3, 2)
    fb.view_as_complex(z)[1] = 3 + 4j
    assert z.tolist() == [[0, 0], [3, 4], [0, 0]]
    assert fb.view_as_real(fb.view_as_complex(z)).tolist() == z.tolist()


def test_copies_do_not():
    x = fb.zeros(2, 2)
    for y in (
        x.repeat(1, 1),
        x.flip(0),
        x.roll(0, 0),
        x.tril(),
        fb.cat([x]),
        fb.pad(x, (0, 0)),
        x.repeat_interleave(1, 0),
    ):
        assert y.untyped_storage() is not x.untyped_storage()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(dtype):
    x = fb.tensor([[2, 0, 1], [1, 3, 0]]).to(dtype)
    e = array(x)
    pairs = [
        (fb.cat([x, x]), np.concatenate([e, e])), (fb.stack([x, x], 1), np.stack([e, e], 1)), (x.flip(1), e[:, ::-1]),
        (x.flip(0), e[::-1]), (x.roll(1, 1), np.roll(e, 1, 1)), (x.tril(), np.tril(e)), (x.repeat(1, 2), np.tile(e, 2)),
        (fb.diag_embed(x)[0], np.diag(e[0])), (fb.pad(x, (1, 0)), np.pad(e, ((0, 0), (1, 0)))),
        (x.unfold(1, 2, 1)[0, 1], e[0, 1:]),
    ]  # fmt: skip
    for mine, expected in pairs:
        assert mine.dtype is dtype
        same(mine, expected)


def test_joining_promotes():
    assert fb.cat([fb.ones(1), fb.tensor([1])]).dtype is fb.float32
    assert fb.cat([fb.tensor([True]), fb.tensor([2], dtype=fb.int8)]).tolist() == [1, 2]
    assert fb.stack([fb.tensor(1), fb.tensor(2.5)]).tolist() == [1.0, 2.5]
    assert fb.cat([fb.zeros(0), fb.tensor([[1]])], 1).dtype is fb.float32


def test_out():
    out = fb.empty(0)
    fb.cat([fb.ones(2), fb.zeros(1)], out=out)
    assert out.tolist() == [1, 1, 0]
    out = fb.empty(2, 1)
    fb.stack([fb.ones(1), fb.zeros(1)], out=out)
    assert out.tolist() == [[1], [0]]
    with pytest.raises(RuntimeError, match=r"out has shape \[2, 1\], the result \[3\]"):
        fb.cat([fb.ones(3)], out=out)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: fb.cat([]), ValueError, "non-empty list"),
        (
            lambda x: fb.cat([x, fb.zeros(2, 3)]),
            RuntimeError,
            r"except in dimension 0, got \[2, 3\] at position 1 after \[3, 4\]",
        ),
        (lambda x: fb.cat([fb.tensor(1.0)]), RuntimeError, "no dimension to join along; use stack"),
        (lambda x: fb.cat([x, 3]), TypeError, "expects tensors, got int at position 1"),
        (lambda x: fb.cat([x], 2), IndexError, "Dimension out of range"),
        (lambda x: fb.stack([x, x[0]]), RuntimeError, r"got \[3, 4\] at position 0 and \[4\] at position 1"),
        (lambda x: fb.stack([]), RuntimeError, "non-empty list"),
        (lambda x: x.split(-1), RuntimeError, "must be positive, got -1"),
        (lambda x: x.split([1, 1]), RuntimeError, r"sum to 3, the length of dimension 0, got \[1, 1\]"),
        (lambda x: x.chunk(0), RuntimeError, "must be positive, got 0"),
        (lambda x: x.tensor_split(0), RuntimeError, "must be positive, got 0"),
        (lambda x: fb.tensor(1.0).unbind(), IndexError, "no dimension to unbind"),
        (lambda x: x.hsplit(3), RuntimeError, "can't be split into 3 equal parts"),
        (lambda x: fb.dsplit(x, 2), RuntimeError, "at least 3 dimensions"),
        (lambda x: x.flip(0, 0), RuntimeError, "appears twice"),
        (lambda x: x.roll((1, 2)), RuntimeError, "as many dimensions as shifts"),
        (lambda x: x.rot90(1, (0, 0)), RuntimeError, "two different dimensions"),
        (lambda x: x.repeat(2), RuntimeError, "non-negative number for each dimension"),
        (lambda x: x.repeat_interleave(fb.tensor([1, 2]), 0), RuntimeError, r"repeats of shape \[2\]"),
        (lambda x: x.repeat_interleave(-1), RuntimeError, "can't be negative, got -1"),
        (lambda x: x.movedim((0, 1), (1, 1)), RuntimeError, "different dimensions"),
        (lambda x: x.diagonal(0, 1, 1), RuntimeError, "two different dimensions"),
        (lambda x: x[0].tril(), RuntimeError, "at least 2 dimensions"),
        (lambda x: fb.diag(x[None]), RuntimeError, "a vector or a matrix"),
        (lambda x: x.unflatten(1, (3, -1)), RuntimeError, "don't multiply to 4"),
        (lambda x: x.unfold(0, 4, 1), RuntimeError, "doesn't fit dimension 0 of length 3"),
        (lambda x: x.unfold(0, 2, 0), RuntimeError, "step must be positive"),
        (lambda x: fb.meshgrid(x), RuntimeError, "vectors of one dtype"),
        (lambda x: fb.view_as_complex(x), RuntimeError, "of shape"),
        (lambda x: fb.view_as_real(x), RuntimeError, "a complex tensor is needed"),
        (lambda x: fb.pad(x, (1, 2, 3)), RuntimeError, "a pair of numbers"),
        (lambda x: fb.pad(x, (-3, -3)), RuntimeError, "negative shape"),
        (lambda x: fb.pad(x, (4, 0), "reflect"), RuntimeError, r"padding \(4, 0\) is too large for dimension 1"),
        (lambda x: fb.pad(x, (1, 1), "mirror"), NotImplementedError, "'circular', got 'mirror'"),
        (lambda x: fb.tril_indices(-1, 3), RuntimeError, "can't be negative"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call(fb.zeros(3, 4))


# ---- under autograd
FUNCTIONS = {
    "cat": (lambda x, y: fb.cat([x, y, x], 1), [(2, 3), (2, 1)]),
    "stack": (lambda x, y: fb.stack([x, y], 1), [(2, 3), (2, 3)]),
    "block_diag": (lambda x, y: fb.block_diag(x, y), [(2, 3), (2,)]),
    "split": (lambda x: x.split(2)[0] * x.split(2)[1], [(4, 2)]),
    "one of a split": (lambda x: x.split([1, 3])[1], [(4, 2)]),
    "unbind": (lambda x: x.unbind(1)[0] * x.unbind(1)[2], [(2, 3)]),
    "rows": (lambda x: sum(row * k for k, row in enumerate(x)), [(3, 2)]),
    "chunks that overlap": (lambda x: x.tensor_split((3, 1))[2], [(4,)]),
    "flip": (lambda x: x.flip(0, 1), [(2, 3)]),
    "roll": (lambda x: x.roll((1, 2), (0, 1)), [(2, 3)]),
    "rot90": (lambda x: x.rot90(3), [(2, 3)]),
    "pad": (lambda x: fb.pad(x, (1, -1, 2, 0), value=3.0), [(2, 3)]),
    "pad reflect": (lambda x: fb.pad(x, (2, 1), "reflect"), [(2, 3)]),
    "pad replicate": (lambda x: fb.pad(x, (2, 1), "replicate"), [(2, 3)]),
    "pad circular": (lambda x: fb.pad(x, (2, 1), "circular"), [(2, 3)]),
    "repeat": (lambda x: x.repeat(2, 1, 2), [(2, 2)]),
    "repeat_interleave": (lambda x: x.repeat_interleave(fb.tensor([2, 0, 1]), 0), [(3, 2)]),
    "diagonal": (lambda x: x.diagonal(1), [(3, 3)]),
    "diag_embed": (lambda x: fb.diag_embed(x, 1), [(2, 2)]),
    "tril": (lambda x: x.tril(), [(3, 3)]),
    "unfold": (lambda x: x.unfold(1, 2, 1), [(2, 4)]),
    "movedim": (lambda x: x.movedim(0, 2), [(2, 3, 1)]),
    "expand": (lambda x: x.expand(2, 3, 2), [(3, 1)]),
    "meshgrid": (lambda x, y: fb.meshgrid(x, y)[0] * fb.meshgrid(x, y)[1], [(2,), (3,)]),
    "cartesian_prod": (lambda x, y: fb.cartesian_prod(x, y), [(2,), (2,)]),
    "select_scatter": (lambda x, y: fb.select_scatter(x, y, 1, 0), [(2, 3), (2,)]),
    "diagonal_scatter": (lambda x, y: fb.diagonal_scatter(x, y), [(2, 3), (2,)]),
    "as complex": (lambda x: fb.view_as_real(fb.view_as_complex(x) * (2 + 1j)), [(3, 2)]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients(name):
    function, shapes = FUNCTIONS[name]
    both_orders(function, *(leaf(*shape, seed=k) for k, shape in enumerate(shapes)))


def test_parts_share_one_node_and_may_still_be_written():
    x = leaf(4, 2) * 1
    a, b = x.split(2)
    assert a.grad_fn is b.grad_fn
    a.mul_(10)
    (g,) = fb.autograd.grad([x.sum() + b.sum()], [x])
    assert g.tolist() == [[1, 1], [1, 1], [2, 2], [2, 2]]


def test_writing_through_a_diagonal():
    def function(x, v):
        y = x * 1
        y.diagonal().copy_(v)
        y.diagonal(1).mul_(2)
        return y

    both_orders(function, leaf(3, 3), leaf(3, seed=1))


def test_missing_gradients_are_zeros():
    x = leaf(3, 2)
    x.unbind(0)[1].sum().backward()
    assert x.grad.tolist() == [[0, 0], [1, 1], [0, 0]]
    x.grad = None
    x.split(1)[2].sum().backward()
    assert x.grad.tolist() == [[0, 0], [0, 0], [1, 1]]


def test_long_iteration_goes_back_once():
    """A row's gradient must not cost a table of zeros each: 20,000 rows of a table of 20,000."""
    x = fb.ones(20_000, 8, requires_grad=True)
    total = fb.zeros(8)
    for row in x[:2000]:
        total = total + row
    total.sum().backward()
    assert x.grad[:2000].sum().item() == 16_000
    assert x.grad[2000:].sum().item() == 0
