"""Recurrent layers in one op: against NumPy step by step, gradients of both orders, bits, packed sequences, memory."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.core import _core
from flambeau.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from flambeau.ops.recurrent import CELLS, recurrent_cell, recurrent_layer, recurrent_step

MODES = list(CELLS)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def following(mode, x, s, h, c):
    """The states after one step, from the formulas in PyTorch's documentation."""
    if mode == "LSTM":
        i, f, g, o = np.split(x + s, 4, -1)
        c = logistic(f) * c + logistic(i) * np.tanh(g)
        return logistic(o) * np.tanh(c), c
    if mode == "GRU":
        (xr, xz, xn), (sr, sz, sn) = np.split(x, 3, -1), np.split(s, 3, -1)
        z = logistic(xz + sz)
        return (1 - z) * np.tanh(xn + logistic(xr + sr) * sn) + z * h, c
    return (np.tanh(x + s) if mode == "RNN_TANH" else np.maximum(x + s, 0)), c


def expected(mode, x, w, own, b, bias, h, c, lengths, reverse):
    outputs = [None] * len(x)
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        new = following(mode, x[t] @ w.T + b, h @ own.T + bias, h, c)
        inside = np.full(len(h), True) if lengths is None else t < lengths
        h, c = (np.where(inside[:, None], a, b) for a, b in zip(new, (h, c), strict=True))
        outputs[t] = h
    return [np.stack(outputs), h, c][: 1 + CELLS[mode].states]


def drawn(mode, steps=5, rows=4, units=6, features=3, seed=0):
    """x, both weights, both biases, and the states that the cell has."""
    rng = np.random.default_rng(seed)
    width, state = CELLS[mode].gates * units, (rows, units)
    shapes = ((steps, rows, features), (width, features), (width, units), (width,), (width,), state, state)
    return [rng.normal(size=s) * 0.7 for s in shapes[: 6 + (CELLS[mode].states == 2)]]


def layer(mode, given, lengths=None, reverse=False):
    return recurrent_layer(*given, *(None,) * (7 - len(given)), lengths, mode, reverse)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, [5, 1, 3, 0]])
def test_against_numpy(mode, reverse, lengths):
    for units, rows in ((6, 4), (70, 4)):
        given = drawn(mode, rows=rows, units=units)
        sizes = None if lengths is None else np.array(lengths)
        found = layer(mode, [fb.tensor(a) for a in given], None if sizes is None else fb.tensor(sizes), reverse)
        want = expected(mode, *(given if len(given) == 7 else [*given, given[5]]), sizes, reverse)
        for a, b in zip(found, want, strict=True):
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", [m for m in MODES if m != "RNN_RELU"])
@pytest.mark.parametrize("reverse", [False, True])
def test_both_orders(mode, reverse):
    given = [fb.tensor(a, requires_grad=True) for a in drawn(mode, 3, 2, 3)]
    lengths = fb.tensor([3, 2])

    def f(*inputs):
        return tuple(layer(mode, inputs, lengths, reverse))

    assert gradcheck(f, given)
    assert gradgradcheck(f, given)


@pytest.mark.parametrize("mode", [m for m in MODES if m != "RNN_RELU"])
def test_cells(mode):
    rng, width = np.random.default_rng(0), CELLS[mode].gates * 6
    x, s, h, c = (fb.tensor(rng.normal(size=(4, n)), requires_grad=True) for n in (width, width, 6, 6))
    states = (h, c)[: CELLS[mode].states]
    want = following(mode, x.detach().numpy(), s.detach().numpy(), h.detach().numpy(), c.detach().numpy())
    for a, b in zip(recurrent_cell(x, s, states, mode), want, strict=False):
        np.testing.assert_allclose(a.detach().numpy(), b, rtol=1e-13)
    assert gradcheck(lambda x, s, *states: recurrent_cell(x, s, states, mode), (x, s, *states))
    assert gradgradcheck(lambda x, s, *states: recurrent_cell(x, s, states, mode), (x, s, *states))


@pytest.mark.parametrize("mode", MODES)
def test_bits(mode, threads):
    """Not of threads nor of the batch a row stands in; and a layer is its cells done one by one."""
    given = [fb.tensor(a.astype("float32")) for a in drawn(mode, 6, 40, 72)]

    def run(given):
        inputs = [a.detach().requires_grad_() for a in given]
        found = layer(mode, inputs)
        return [*found, *fb.autograd.grad(found[0].square().sum() + found[-1].sum(), inputs)]

    whole = run(given)
    for n in (1, 2, 3, 4, 7):
        threads(n)
        assert all(a.equal(b) for a, b in zip(run(given), whole, strict=True))
    x, *weights, h, c = given if len(given) == 7 else [*given, given[5]]
    states = (h, c)[: CELLS[mode].states]
    part = run([x[:, 5:9], *weights, *(s[5:9] for s in states)])
    of_x = 1 + len(states)
    for a, b in ((part[0], whole[0][:, 5:9]), (part[1], whole[1][5:9]), (part[of_x], whole[of_x][:, 5:9])):
        assert a.equal(b)
    w, own, b, bias = weights
    for t in range(6):
        sums = fb.nn.functional.linear(x[t], w, b), fb.nn.functional.linear(states[0], own, bias)
        states = recurrent_cell(*sums, tuple(states), mode)
        assert states[0].equal(whole[0][t].detach())


def test_packed_sequences_end_where_they_end():
    layer = nn.LSTM(3, 5, num_layers=2, bidirectional=True)
    x = fb.randn(6, 3, 3)
    output, (h, c) = layer(pack_padded_sequence(x, [6, 4, 1]))
    output, lengths = pad_packed_sequence(output)
    assert lengths.tolist() == [6, 4, 1]
    for k, n in enumerate([6, 4, 1]):
        alone, (h1, c1) = layer(x[:n, k : k + 1])
        assert fb.allclose(output[:n, k], alone[:, 0], atol=1e-6) and not output[n:, k].any()
        assert fb.allclose(h[:, k], h1[:, 0], atol=1e-6) and fb.allclose(c[:, k], c1[:, 0], atol=1e-6)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_half_precision_is_computed_in_single(kind):
    fb.manual_seed(0)
    one = kind(4, 6)
    half = kind(4, 6).to(fb.bfloat16)
    half.load_state_dict(one.state_dict())
    x = fb.randn(3, 2, 4)
    assert half(x.to(fb.bfloat16))[0].dtype is fb.bfloat16
    assert fb.allclose(half(x.to(fb.bfloat16))[0].float(), one(x)[0], atol=0.03)


def test_an_output_written_in_place_is_noticed():
    layer = nn.GRU(3, 4)
    output, h = layer(fb.randn(5, 2, 3))
    output.mul_(2)
    with pytest.raises(RuntimeError, match="modified"):
        output.sum().backward()
    assert h.shape == (1, 2, 4)


def test_autocast_computes_in_single_and_returns_half():
    for make in (lambda: nn.LSTM(8, 3), lambda: nn.LSTM(8, 3, proj_size=2), lambda: nn.GRU(8, 3, bidirectional=True)):
        layer, x = make(), fb.randn(5, 2, 8)
        with fb.autocast("cpu"):
            output = layer(x)[0]
        assert output.dtype is fb.bfloat16 and fb.allclose(output.float(), layer(x)[0], atol=0.05)
    cell, x = nn.LSTMCell(8, 3), fb.randn(2, 8)
    with fb.autocast("cpu"):
        h, c = cell(x, cell(x))
    assert fb.allclose(h.float(), cell(x, cell(x))[0], atol=0.05) and c.shape == (2, 3)


def test_states_of_other_shapes_or_dtypes_are_refused():
    cell, x = nn.LSTMCell(4, 3), fb.randn(2, 4)
    with pytest.raises(RuntimeError, match=r"state 1 must be .* \[2, 3\], got .* \[2, 5\]"):
        cell(x, (fb.zeros(2, 3), fb.zeros(2, 5)))
    with pytest.raises(RuntimeError, match="x must be"):
        cell(x, (fb.zeros(3, 3), fb.zeros(3, 3)))
    given = [fb.tensor(a) for a in drawn("GRU")]
    with pytest.raises(RuntimeError, match="w_hh must be"):
        layer("GRU", [*given[:2], given[2].float(), *given[3:]])
    with pytest.raises(RuntimeError, match="2 states, got 1"):
        layer("LSTM", [fb.tensor(a) for a in drawn("LSTM")[:6]])


def looped(cell, x, states):
    for t in range(len(x)):
        states = cell(x[t], states)
    return states


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_a_loop_over_cells_is_a_layer(kind, threads):
    """Its gradients too, of which those of the weights are one product, or several where there are many rows."""
    fb.manual_seed(0)
    layer = {nn.LSTMCell: nn.LSTM, nn.GRUCell: nn.GRU, nn.RNNCell: nn.RNN}[kind](5, 40).double()
    cell = kind(5, 40).double()
    cell.load_state_dict({name: getattr(layer, f"{name}_l0") for name, _ in cell.named_parameters()})
    for steps, rows in ((7, 3), (5, 400)):
        x = fb.randn(steps, rows, 5, dtype=fb.float64, requires_grad=True)
        outputs = []
        for n in (1, 2, 3, 4, 7):
            threads(n)
            last = looped(cell, x, None)
            h = last[0] if kind is nn.LSTMCell else last
            outputs.append([h, *fb.autograd.grad(h.square().sum(), [x, *cell.parameters()])])
        assert all(a.equal(b) for found in outputs for a, b in zip(found, outputs[0], strict=True))
        h = layer(x)[0][-1]
        for a, b in zip(outputs[0], [h, *fb.autograd.grad(h.square().sum(), [x, *layer.parameters()])], strict=True):
            assert fb.allclose(a, b, rtol=1e-10, atol=1e-12)


def test_what_steps_leave_to_the_step_before_stays_in_its_backward_pass():
    cell, x = nn.GRUCell(2, 3).double(), fb.randn(4, 2, 2, dtype=fb.float64)
    middle = looped(cell, x[:2], None)
    last = looped(cell, x[2:], middle)
    weights = list(cell.parameters())
    whole = fb.autograd.grad(last.sum(), weights, retain_graph=True)
    fb.autograd.grad(last.sum(), [middle], retain_graph=True)  # the first two steps' nodes don't run
    first = fb.autograd.grad(middle.sum(), weights, retain_graph=True)
    alone = fb.autograd.grad(looped(cell, x[:2], None).sum(), weights)
    both = fb.autograd.grad(middle.sum() + last.sum(), weights)
    for a, b, c, d in zip(first, alone, both, whole, strict=True):
        assert fb.allclose(a, b, rtol=1e-12) and fb.allclose(c, b + d, rtol=1e-12)


def test_one_state_may_go_on_in_two_ways():
    fb.manual_seed(0)
    cell, x = nn.LSTMCell(2, 3).double(), fb.randn(3, 4, 2, dtype=fb.float64)
    weights = list(cell.parameters())

    def loss():
        start = cell(x[0])
        return cell(x[1], start)[0].sum() + cell(x[2], start)[0].square().sum()

    grads = fb.autograd.grad(loss(), weights)
    for w, g in zip(weights, grads, strict=True):
        step = fb.zeros_like(w)
        step.view(-1)[1] = 1e-5
        with fb.no_grad():
            w += step
            up = loss()
            w -= 2 * step
            down = loss()
            w += step
        assert abs((up - down).item() / 2e-5 - g.view(-1)[1].item()) < 1e-8


@pytest.mark.parametrize("mode", [m for m in MODES if m != "RNN_RELU"])
def test_steps_are_differentiated_twice(mode):
    given = [fb.tensor(a, requires_grad=True) for a in drawn(mode, 2, 2, 3, 2)]

    def f(x, *rest):
        weights, states = rest[:4], rest[4:]
        for t in range(2):
            states = recurrent_step(x[t], *weights, *(*states, None)[:2], mode)
        return states

    assert gradcheck(f, given) and gradgradcheck(f, given)


def test_the_driver_refuses_memory_of_other_sizes():
    """Before anything is written: it trusts no caller."""
    x, w, h, c = fb.zeros(2, 3, 16), fb.zeros(16, 4), fb.ones(3, 3, 4), fb.zeros(3, 3, 4)
    gh, gc, ds = fb.zeros(3, 4), fb.zeros(3, 4), fb.zeros(6, 16)
    forward, back = (x, w, None, None, None), (x, w, None, None, fb.zeros(2, 3, 4))
    none = (None,) * 4
    for given, states, gradients in (
        (forward, (h[:2], c, None), none),
        (forward, (h, c[:, :2], None), none),
        (forward, (h.double(), c, None), none),
        (forward, (h.transpose(1, 2), c, None), none),
        ((x, w[:12], None, None, None), (h, c, None), none),
        ((x, w, fb.zeros(12), None, None), (h, c, None), none),
        ((x, w, None, fb.zeros(2, dtype=fb.int64), None), (h, c, None), none),
        (back, (h, c, None), (gh, gc, ds[:5], ds)),
        (back, (h, c, None), (gh, gc, ds[:, :8].contiguous(), ds)),
        (back, (h, c, None), (gh[:2], gc, ds, ds)),
    ):
        with pytest.raises(RuntimeError, match="recurrent: "):
            _core.recurrent((0, 0), given, states, gradients, 4, False)
    assert (h == 1).all() and not x.any()


@pytest.mark.parametrize("mode", ["LSTM", "GRU", "RNN", "LSTM with a projection"])
def test_second_derivatives_of_several_steps(mode):
    """A step's second derivatives must not reach into the steps before it, which the backward pass visits itself."""
    fb.manual_seed(0)
    if mode.endswith("projection"):
        layer = fb.nn.LSTM(2, 3, proj_size=2).double()
        parameters = list(layer.parameters())

        def run(x, *_):
            return layer(x)[0]
    else:
        cell = getattr(fb.nn, f"{mode}Cell")(2, 3).double()
        parameters = list(cell.parameters())

        def run(x, *_):
            state = None
            for step in x:
                state = cell(step, state)
            return state if isinstance(state, tuple) else (state,)

    x = fb.randn(3, 2, 2, dtype=fb.float64, requires_grad=True)
    assert fb.autograd.gradgradcheck(run, (x, *parameters), atol=1e-6)
