"""library.custom_op, futures, overrides, flop counts: what extends or watches operations from outside."""

from __future__ import annotations

import threading

import pytest

import flambeau as fb
from flambeau import library
from flambeau.futures import Future, collect_all, wait_all
from flambeau.overrides import TorchFunctionMode, handle_torch_function, has_torch_function, is_tensor_like
from flambeau.utils.flop_counter import FlopCounterMode


@pytest.fixture(autouse=True)
def names_of_ones_own():
    before = dict(library.OPERATIONS)
    yield
    library.OPERATIONS.clear()
    library.OPERATIONS.update(before)


def test_an_operation_with_a_derivative():
    @library.custom_op("test::scaled", mutates_args=())
    def scaled(x: fb.Tensor, factor: float = 2.0, *, shift: float = 0.0) -> fb.Tensor:
        return x.detach() * factor + shift

    x = fb.arange(3.0, requires_grad=True)
    assert not scaled(x).requires_grad, "without a derivative nothing is recorded"

    def keep(ctx, inputs, keyword_only_inputs, output):
        ctx.factor = inputs[1]
        assert keyword_only_inputs == {"shift": 1.0} and fb.equal(output, x.detach() * 3 + 1)

    scaled.register_autograd(lambda ctx, g: (g * ctx.factor, None), setup_context=keep)
    y = scaled(x, factor=3.0, shift=1.0)
    y.sum().backward()
    assert fb.equal(x.grad, fb.full((3,), 3.0))
    assert scaled.__name__ == "scaled" and repr(scaled) == "<CustomOpDef(test::scaled)>"


def test_a_derivative_is_checked_like_any_other():
    cube = library.custom_op("test::cube", lambda x: x.detach() ** 3)

    def keep(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    library.register_autograd("test::cube", lambda ctx, g: g * 3 * ctx.saved_tensors[0] ** 2, setup_context=keep)
    assert fb.autograd.gradcheck(cube, fb.randn(4, dtype=fb.float64, requires_grad=True))


def test_kernels_by_device_and_errors():
    op = library.custom_op("test::which", lambda x: "first")
    op.register_kernel("cuda")(lambda x: "never")
    assert op(1) == "first"
    op.register_kernel(("cpu", "cuda"), lambda x: "second")
    assert op(1) == "second"
    for name in "nothing", "::x", "a::", "a::b::c":
        with pytest.raises(ValueError, match="namespace::name"):
            library.custom_op(name, lambda x: x)
    with pytest.raises(RuntimeError, match="no operation 'test::missing'"):
        library.register_fake("test::missing", lambda x: x)


def test_futures():
    future = Future()
    seen, after = [], future.then(lambda f: f.value() + 1)
    failing = future.then(lambda f: 1 / 0)
    future.add_done_callback(lambda f: seen.append(f.value()))
    with pytest.raises(RuntimeError, match="isn't done"):
        future.value()
    threading.Timer(0.01, future.set_result, (1,)).start()
    assert (future.wait(), after.wait()) == (1, 2)
    with pytest.raises(ZeroDivisionError):
        failing.wait()
    with pytest.raises(RuntimeError, match="done already"):
        future.set_result(2)
    with pytest.raises(AssertionError, match="not an exception"):
        Future().set_exception(3)
    assert wait_all([future, after]) == [1, 2] and wait_all([]) == []
    both = collect_all([future, waiting := Future()])
    assert not both.done()
    waiting.set_exception(KeyError("x"))
    assert both.wait() == [future, waiting]
    with pytest.raises(KeyError):
        wait_all([future, waiting])
    assert seen == [1]


def test_a_mode_sees_operations_and_may_change_them():
    class Doubling(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            return result * 2 if func.name == "add" else result

    x = fb.ones(2)
    with Doubling():
        assert (x + x).tolist() == [4, 4]
        assert (x * x).tolist() == [1, 1]
    assert (x + x).tolist() == [2, 2]


def test_objects_with_a_meaning_of_their_own():
    class Never:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return NotImplemented

    class Named:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func.__name__, types

    assert not has_torch_function((fb.ones(1), 1)) and has_torch_function((1, Named()))
    assert is_tensor_like(Named()) and is_tensor_like(fb.ones(1)) and not is_tensor_like([1])
    assert handle_torch_function(max, (Never(), Named()), 1) == ("max", (Never, Named))
    with pytest.raises(TypeError, match="no implementation found for 'max'"):
        handle_torch_function(max, (Never(),), 1)


def test_operations_of_products_are_counted():
    model = fb.nn.Sequential(fb.nn.Conv2d(3, 4, 3), fb.nn.ReLU(), fb.nn.Flatten(), fb.nn.Linear(4 * 36, 5))
    with FlopCounterMode(display=False) as forward:
        model(fb.ones(2, 3, 8, 8))
    conv, linear = 2 * 2 * 4 * 36 * 27, 2 * 2 * 5 * 144
    assert forward.get_total_flops() == conv + linear
    assert forward.get_flop_counts()["Sequential.0"] == {"convolution": conv}
    assert forward.get_flop_counts()["Sequential.3"] == {"addmm": linear}
    with FlopCounterMode(display=False) as both:
        model(fb.ones(2, 3, 8, 8)).sum().backward()
    # The gradient of the weights costs as much again in each layer, that of the input only where one is wanted.
    assert both.get_total_flops() == 2 * conv + 3 * linear
    grouped = fb.nn.ConvTranspose1d(4, 6, 5, groups=2)
    with FlopCounterMode(display=False) as transposed:
        grouped(fb.ones(1, 4, 10))
    assert transposed.get_total_flops() == 2 * 4 * 10 * 3 * 5


def test_the_table_of_counts(capsys):
    with pytest.raises(KeyError), FlopCounterMode():
        fb.nn.Linear(8, 4)(fb.ones(2, 8))
        raise KeyError
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["Module", "FLOP", "%", "Total"]
    assert [line.split() for line in lines[1:3]] == [["Global", "128", "100.00%"], ["-", "addmm", "128", "100.00%"]]
