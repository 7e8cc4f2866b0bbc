"""What parameters random functions take: PyTorch's limits, checked before the stream moves or a tensor changes."""

from __future__ import annotations

import pytest

import flambeau as fb

inf, nan = float("inf"), float("nan")

WRONG = [
    # probabilities
    (lambda x: fb.bernoulli(fb.tensor([0.5, 1.5])), RuntimeError, "bernoulli: input has elements that are no prob"),
    (lambda x: fb.bernoulli(fb.tensor([nan])), RuntimeError, "bernoulli: input has elements that are no prob"),
    (lambda x: fb.bernoulli(x, -0.1), RuntimeError, r"bernoulli: p is a probability between 0 and 1, got -0.1"),
    (lambda x: fb.bernoulli(fb.tensor([1, 0])), NotImplementedError, r"bernoulli: .* got .*int64; use x.float"),
    (lambda x: x.bernoulli_(1.5), RuntimeError, "bernoulli_: p is a probability between 0 and 1, got 1.5"),
    (lambda x: x.bernoulli_(nan), RuntimeError, "bernoulli_: p is a probability"),
    (lambda x: x.bernoulli_(fb.tensor([0.5, 2.0, 0.1])), RuntimeError, "no probabilities"),
    (lambda x: x.geometric_(0), RuntimeError, "geometric_: p must be between 0 and 1, without them, got 0"),
    (lambda x: x.geometric_(1), RuntimeError, "geometric_: p must be"),
    (lambda x: x.geometric_(nan), RuntimeError, "geometric_: p must be"),
    (lambda x: fb.poisson(fb.tensor([-1.0])), RuntimeError, "poisson: rates must be 0 or more"),
    (lambda x: fb.poisson(fb.tensor([nan])), RuntimeError, "poisson: rates must be 0 or more"),
    (lambda x: fb.poisson(fb.tensor([1])), NotImplementedError, "poisson: rates are floating"),
    (lambda x: fb.multinomial(fb.tensor([-1.0, 2.0]), 1), RuntimeError, "multinomial: probability tensor contains"),
    (lambda x: fb.multinomial(fb.zeros(2), 1), RuntimeError, "multinomial: invalid multinomial distribution"),
    (lambda x: fb.multinomial(fb.ones(2), 0), RuntimeError, "multinomial: cannot sample n_sample <= 0"),
    (lambda x: fb.multinomial(fb.ones(2), 3), RuntimeError, "multinomial: cannot sample 3 of 2 without replacement"),
    (lambda x: fb.multinomial(fb.ones(0), 1), RuntimeError, "multinomial: cannot sample 1 of 0"),
    # scales and rates
    (lambda x: fb.normal(0.0, -1.0, (2,)), RuntimeError, "normal: std must be 0 or more, got -1"),
    (lambda x: fb.normal(fb.zeros(2), -1.0), RuntimeError, "normal: std must be 0 or more, got -1"),
    (lambda x: fb.normal(0.0, fb.tensor([1.0, -1.0])), RuntimeError, "normal: std must be 0 or more, got some below"),
    (lambda x: fb.normal(fb.tensor([1, 2]), 1.0), NotImplementedError, "normal: takes floating tensors, got .*int64"),
    (lambda x: fb.normal(0.0, 1.0), TypeError, r"normal: .* need a size, such as \(2, 3\)"),
    (lambda x: x.normal_(0, -1), RuntimeError, "normal_: std must be 0 or more, got -1"),
    (lambda x: x.normal_(0, nan), RuntimeError, "normal_: std must be 0 or more, got nan"),
    (lambda x: x.log_normal_(0, 0), RuntimeError, "log_normal_: std must be above 0, got 0"),
    (lambda x: x.exponential_(0), RuntimeError, "exponential_: lambd must be above 0, got 0"),
    (lambda x: x.exponential_(lambd=nan), RuntimeError, "exponential_: lambd must be above 0"),
    (lambda x: x.cauchy_(0, -2), RuntimeError, "cauchy_: sigma must be above 0, got -2"),
    (lambda x: x.normal_(0, 1, 2), TypeError, "normal_: takes 2 numbers"),
    (lambda x: x.normal_(sigma=1), TypeError, r"normal_: unexpected argument 'sigma'; it takes \('mean', 'std'\)"),
    # ranges
    (lambda x: x.uniform_(1, 0), RuntimeError, "uniform_: from must not be above to, got 1 and 0"),
    (lambda x: x.uniform_(0, inf), RuntimeError, "uniform_: from and to must be finite"),
    (lambda x: x.uniform_(-3e38, 3e38), RuntimeError, "uniform_: to - from is beyond"),
    (lambda x: fb.randint(5, 5, (2,)), RuntimeError, "low must be below high, got 5 and 5"),
    (lambda x: fb.randint(-3, (2,)), RuntimeError, "low must be below high, got 0 and -3"),
    (lambda x: fb.randint_like(x, 0), RuntimeError, "low must be below high"),
    (lambda x: fb.randint(0, 5, 3), TypeError, "randint: takes .* a tuple for size, got size 3"),
    (lambda x: fb.randint(1.5, (2,)), TypeError, "float"),
    (lambda x: fb.randint(300, (2,), dtype=fb.uint8), RuntimeError, "0 to 299 is out of bounds for .*uint8.* 0 to 255"),
    (lambda x: fb.randint(-1, 5, (2,), dtype=fb.uint8), RuntimeError, "-1 to 4 is out of bounds for .*uint8"),
    (lambda x: fb.randint(2**40, (2,), dtype=fb.int32), RuntimeError, "out of bounds for .*int32"),
    (lambda x: fb.randint(10**5, (2,), dtype=fb.float16), RuntimeError, "out of bounds for .*float16"),
    (lambda x: fb.randint(3, (2,), dtype=fb.bool), RuntimeError, "out of bounds for .*bool"),
    (lambda x: x.random_(0), RuntimeError, "low must be below high, got 0 and 0"),
    (lambda x: x.random_(5, 2), RuntimeError, "low must be below high, got 5 and 2"),
    (lambda x: x.random_(1, 2, 3), TypeError, r"random_: takes \(to\) or \(from, to\)"),
    (lambda x: fb.randperm(300, dtype=fb.uint8), RuntimeError, "randperm: .*uint8 holds whole numbers up to 255"),
    (lambda x: fb.randperm(5000, dtype=fb.float16), RuntimeError, "randperm: .*float16 holds whole numbers up to 2048"),
    # dtypes, seeds and outputs
    (lambda x: fb.rand(2, dtype=fb.int32), NotImplementedError, "uniform: draws floating numbers, got .*int32"),
    (lambda x: fb.randn_like(x.long()), NotImplementedError, "normal: draws floating numbers, got .*int64"),
    (lambda x: x.long().exponential_(1), NotImplementedError, "exponential: draws floating numbers"),
    (lambda x: fb.manual_seed(2**64), ValueError, r"manual_seed: .* from -2\^63 to 2\^64 - 1, got 18446744"),
    (lambda x: fb.rand(3, out=fb.zeros(2)), RuntimeError, r"out has shape \[2\], the result \[3\]"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=range(len(WRONG)))
def test_wrong_parameters(call, error, message):
    x = fb.zeros(3)
    with pytest.raises(error, match=message):
        call(x)
    assert x.tolist() == [0, 0, 0] and x._version == 0


def test_a_refused_draw_leaves_the_stream_where_it_was():
    fb.manual_seed(5)
    expected = fb.rand(4)
    fb.manual_seed(5)
    state = fb.get_rng_state()
    for call, error, message in WRONG[:-1]:  # an output of the wrong shape is noticed once there is a result
        with pytest.raises(error):
            call(fb.zeros(3))
        assert fb.get_rng_state().equal(state), f"drew before it refused: {message}"
    assert fb.rand(4).equal(expected)


RIGHT = [
    (lambda x: x.normal_(2, 0), lambda y: (y == 2).all()),
    (lambda x: x.uniform_(3, 3), lambda y: (y == 3).all()),
    (lambda x: x.bernoulli_(1), lambda y: (y == 1).all()),
    (lambda x: fb.bernoulli(x, 0), lambda y: (y == 0).all()),
    (lambda x: x.exponential_(inf), lambda y: (y == 0).all()),
    (lambda x: fb.poisson(x * 0), lambda y: (y == 0).all()),
    (lambda x: fb.randint(255, 256, (9,), dtype=fb.uint8), lambda y: (y == 255).all()),
    (lambda x: x.random_(7, 8), lambda y: (y == 7).all()),
    (lambda x: x.random_(1), lambda y: (y == 0).all()),
    (lambda x: fb.zeros(99, dtype=fb.bool).random_(), lambda y: y.any() and not y.all()),
    (lambda x: fb.randperm(256, dtype=fb.uint8), lambda y: y.long().sort()[0].equal(fb.arange(256))),
]  # fmt: skip


@pytest.mark.parametrize(("call", "holds"), RIGHT, ids=range(len(RIGHT)))
def test_parameters_at_the_edge(call, holds):
    assert bool(holds(call(fb.zeros(9))))


MAKERS = {
    "rand": lambda out: fb.rand(3, out=out),
    "randn": lambda out: fb.randn(3, out=out),
    "normal": lambda out: fb.normal(5.0, 1.0, (3,), out=out),
    "normal of tensors": lambda out: fb.normal(fb.full((3,), 5.0, dtype=fb.float64), 1.0, out=out),
    "zeros": lambda out: fb.zeros(3, out=out),
    "ones": lambda out: fb.ones(3, out=out),
    "full": lambda out: fb.full((3,), 2, out=out),
    "arange": lambda out: fb.arange(3, out=out),
    "linspace": lambda out: fb.linspace(0, 1, 3, out=out),
    "one step": lambda out: fb.linspace(2, 3, 1, out=out[:1]),
    "logspace": lambda out: fb.logspace(0, 1, 3, out=out),
    "randint": lambda out: fb.randint(9, (3,), out=out),
    "randperm": lambda out: fb.randperm(3, out=out),
}


@pytest.mark.parametrize("name", MAKERS)
def test_factories_write_into_out(name):
    """In out's own dtype: a float64 output holds numbers that float32 doesn't."""
    out = fb.full((3,), -9.0, dtype=fb.float64)
    fb.manual_seed(3)
    made = MAKERS[name](out)
    assert made.data_ptr() == out.data_ptr() and made.dtype is fb.float64 and (made != -9).all()
    if name in ("rand", "randn", "normal", "normal of tensors"):
        assert (out.float().double() != out).any()
    eye = fb.zeros(2, 2, dtype=fb.int32)
    assert fb.eye(2, out=eye) is eye and eye.tolist() == [[1, 0], [0, 1]]
