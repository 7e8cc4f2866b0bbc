"""Sparse gradients of embeddings: what they hold, how they accumulate, and what optimizers make of them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as fb
from flambeau import nn, optim

ROWS, WIDTH = 7, 3
BATCHES = ([[1, 2, 2], [6, 0, 1]], [[5, 5, 2], [1, 2, 0]], [[3, 4, 2], [2, 2, 2]], [[0, 6, 5], [1, 1, 4]])


def table(sparse=True, **kwargs):
    weight = np.random.default_rng(0).normal(size=(ROWS, WIDTH))
    return nn.Embedding(ROWS, WIDTH, sparse=sparse, _weight=fb.tensor(weight), **kwargs)


def dense_gradient(weight, batch, padding=None):
    """∂ Σ w[batch]³ / ∂w, row by row."""
    g = np.zeros_like(weight)
    for i in np.ravel(batch):
        if i != padding:
            g[i] += 3 * weight[i] ** 2
    return g


def loss_of(e, batch):
    return (e(fb.tensor(batch)) ** 3).sum()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, ROWS - 1), max_size=12), st.sampled_from([None, 2, -1]))
def test_the_gradient_holds_the_rows_asked_for(batch, padding):
    e = table(padding_idx=padding)
    padding = None if padding is None else padding % ROWS
    loss_of(e, batch if batch else np.zeros(0, int)).backward()
    g = e.weight.grad
    assert g.layout == "sparse_coo" and (g.sparse_dim(), g.dense_dim()) == (1, 1)
    assert g._indices().tolist() == [[i for i in batch if i != padding]]
    np.testing.assert_allclose(g.to_dense().numpy(), dense_gradient(e.weight.detach().numpy(), batch, padding))


def test_gradients_accumulate():
    e = table()
    w = e.weight.detach().numpy()
    for batch in BATCHES:
        loss_of(e, batch).backward()
    expected = sum(dense_gradient(w, batch) for batch in BATCHES)
    assert e.weight.grad.is_sparse
    np.testing.assert_allclose(e.weight.grad.to_dense().numpy(), expected)
    (e.weight**2).sum().backward()
    assert e.weight.grad.layout == "strided"
    np.testing.assert_allclose(e.weight.grad.numpy(), expected + 2 * w)
    loss_of(e, BATCHES[0]).backward()
    assert e.weight.grad.layout == "strided"
    np.testing.assert_allclose(e.weight.grad.numpy(), expected + 2 * w + dense_gradient(w, BATCHES[0]))


def test_dense_and_sparse_meet_within_one_backward():
    e = table()
    w = e.weight.detach().numpy()
    (loss_of(e, BATCHES[0]) + loss_of(e, BATCHES[1]) + (e.weight**2).sum()).backward()
    expected = dense_gradient(w, BATCHES[0]) + dense_gradient(w, BATCHES[1]) + 2 * w
    np.testing.assert_allclose(e.weight.grad.to_dense().numpy(), expected)
    (g,) = fb.autograd.grad(loss_of(e, BATCHES[0]) + (e.weight**2).sum(), e.weight)
    np.testing.assert_allclose(g.to_dense().numpy(), dense_gradient(w, BATCHES[0]) + 2 * w)


def test_a_table_that_isnt_a_leaf():
    w = fb.tensor(np.random.default_rng(0).normal(size=(ROWS, WIDTH))).requires_grad_()
    loss = (nn.functional.embedding(fb.tensor(BATCHES[0]), w * 2, sparse=True) ** 3).sum()
    loss.backward()
    expected = 2 * dense_gradient(2 * w.detach().numpy(), BATCHES[0])
    np.testing.assert_allclose(w.grad.to_dense().numpy(), expected)


def test_zero_grad_clipping_and_hooks():
    e = table()
    seen = []
    e.weight.register_hook(lambda g: seen.append(g.layout))
    loss_of(e, BATCHES[0]).backward()
    expected = dense_gradient(e.weight.detach().numpy(), BATCHES[0])
    norm = nn.utils.clip_grad_norm_(e.parameters(), 1.5)
    assert seen == ["sparse_coo"]
    np.testing.assert_allclose(norm.item(), np.linalg.norm(expected))
    np.testing.assert_allclose(
        e.weight.grad.to_dense().numpy(), expected * 1.5 / (np.linalg.norm(expected) + 1e-6), rtol=1e-6
    )
    e.zero_grad(set_to_none=False)
    assert e.weight.grad._nnz() == 0 and e.weight.grad.shape == (ROWS, WIDTH)
    optimizer = optim.SGD(e.parameters(), lr=1)
    optimizer.zero_grad()
    assert e.weight.grad is None


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_bags(mode):
    dense, sparse = (nn.EmbeddingBag(ROWS, WIDTH, mode=mode, sparse=s, _weight=table().weight.data) for s in (0, 1))
    flat, offsets = fb.tensor([1, 2, 2, 5, 0]), fb.tensor([0, 3])
    for bag in (dense, sparse):
        (bag(flat, offsets) ** 3).sum().backward()
    assert sparse.weight.grad.is_sparse
    np.testing.assert_allclose(sparse.weight.grad.to_dense().numpy(), dense.weight.grad.numpy())
    with pytest.raises(ValueError, match="max mode"):
        nn.EmbeddingBag(ROWS, WIDTH, mode="max", sparse=True)(flat, offsets)


def test_what_sparse_gradients_cant_do():
    with pytest.raises(RuntimeError, match="scale_grad_by_freq"):
        nn.Embedding(3, 2, sparse=True, scale_grad_by_freq=True)(fb.tensor([1]))


# ---- optimizers
def trained(e, make, steps=8):
    optimizer = make(e.parameters())
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(e, BATCHES[step % len(BATCHES)]).backward()
        optimizer.step()
    return e.weight.detach().numpy(), optimizer


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("SGD", {"lr": 0.01}),
        ("SGD", {"lr": 0.01, "maximize": True}),
        ("SGD", {"lr": 0.005, "momentum": 0.9}),
        ("SGD", {"lr": 0.005, "momentum": 0.9, "nesterov": True}),
        ("SGD", {"lr": 0.005, "momentum": 0.9, "dampening": 0.5}),
        ("Adagrad", {"lr": 0.1}),
        ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.2, "maximize": True}),
    ],
)
def test_steps_are_those_of_dense_gradients(name, given):
    results = [trained(table(sparse), lambda ps: getattr(optim, name)(ps, **given))[0] for sparse in (False, True)]
    assert not np.allclose(results[0], table().weight.detach().numpy())
    np.testing.assert_allclose(results[1], results[0], rtol=1e-7, atol=1e-9)


def sparse_adam(weight, steps, lr, b1, b2, eps, sign):
    """Rows that a batch doesn't ask for are left alone, their moments too."""
    w, m, v = weight.copy(), np.zeros_like(weight), np.zeros_like(weight)
    for t in range(1, steps + 1):
        batch = BATCHES[(t - 1) % len(BATCHES)]
        g = sign * dense_gradient(w, batch)
        for i in np.unique(batch):
            m[i] = b1 * m[i] + (1 - b1) * g[i]
            v[i] = b2 * v[i] + (1 - b2) * g[i] ** 2
            w[i] -= lr * np.sqrt(1 - b2**t) / (1 - b1**t) * m[i] / (np.sqrt(v[i]) + eps)
    return w


@pytest.mark.parametrize("maximize", [False, True])
def test_sparse_adam(maximize):
    settings_ = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6, "maximize": maximize}
    found, optimizer = trained(table(), lambda ps: optim.SparseAdam(ps, **settings_))
    start = table().weight.detach().numpy()
    np.testing.assert_allclose(found, sparse_adam(start, 8, 0.05, 0.8, 0.95, 1e-6, -1 if maximize else 1), rtol=1e-7)
    other = table()
    other.load_state_dict({"weight": fb.tensor(found)})
    twin = optim.SparseAdam(other.parameters(), **settings_)
    twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    loss_of(other, BATCHES[0]).backward()
    twin.step()
    expected = sparse_adam(start, 9, 0.05, 0.8, 0.95, 1e-6, -1 if maximize else 1)
    np.testing.assert_allclose(other.weight.detach().numpy(), expected, rtol=1e-7)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Adadelta", "ASGD", "Rprop"])
def test_other_optimizers_refuse_before_anything_changes(name):
    e, dense = table(), nn.Parameter(fb.ones(2))
    optimizer = getattr(optim, name)([dense, e.weight], lr=0.1)
    (loss_of(e, BATCHES[0]) + dense.sum()).backward()
    before = e.weight.detach().clone()
    with pytest.raises(RuntimeError, match=f"{name} does not support sparse gradients"):
        optimizer.step()
    assert bool((e.weight == before).all()) and dense.tolist() == [1, 1]


def test_what_optimizers_refuse():
    for name in ("SGD", "Adagrad"):
        e = table()
        optimizer = getattr(optim, name)(e.parameters(), lr=0.1, weight_decay=0.1)
        loss_of(e, BATCHES[0]).backward()
        with pytest.raises(RuntimeError, match="sparse gradients"):
            optimizer.step()
    p = nn.Parameter(fb.ones(2))
    optimizer = optim.SparseAdam([p])
    p.sum().backward()
    with pytest.raises(RuntimeError, match="dense gradients"):
        optimizer.step()
    with pytest.raises(ValueError, match="dense parameter"):
        optim.SparseAdam([fb.eye(2).to_sparse().requires_grad_()])
    for wrong in ({"lr": 0}, {"eps": 0}, {"betas": (1.0, 0.9)}):
        with pytest.raises(ValueError, match="Invalid"):
            optim.SparseAdam([p], **wrong)
