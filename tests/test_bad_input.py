"""Input that makes no sense: each gets an error of PyTorch's class that says what was wrong, and nothing changes.

The hostile part runs in processes of its own: whatever is asked of a tensor, the interpreter must live on.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap

import pytest

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn

x = fb.arange(12.0).reshape(3, 4)
i = fb.tensor([0, 1, 2])
HUGE = 2**62

ERRORS = [
    # shapes
    (lambda: x + fb.ones(3), RuntimeError, r"add: .*\[3, 4\].*\[3\].*match"),
    (lambda: x @ x, RuntimeError, r"matmul: .*\(3, 4\) @ \(3, 4\)"),
    (lambda: x @ fb.ones(3, 5), RuntimeError, r"matmul: "),
    (lambda: fb.mm(x, fb.ones(4)), RuntimeError, r"mm"),
    (lambda: fb.bmm(x, x), RuntimeError, r"bmm"),
    (lambda: x.view(5, 2), RuntimeError, r"view: .*\[5, 2\].*12 elements"),
    (lambda: x.view(-1, 5), RuntimeError, r"view: "),
    (lambda: x.view(-1, -1), RuntimeError, r"only one size can be -1"),
    (lambda: x.view(-2, 6), RuntimeError, r"negative"),
    (lambda: x.t().view(12), RuntimeError, r"view: .*strides.*reshape"),
    (lambda: x.reshape(7), RuntimeError, r"reshape: .*\[7\].*12 elements"),
    (lambda: x.expand(3, 5), RuntimeError, r"expand: dimension 1 has length 4 and can't become 5"),
    (lambda: x.expand(4), RuntimeError, r"expand"),
    (lambda: x.expand(-1, 3, 4), RuntimeError, r"expand"),
    (lambda: fb.cat([x, fb.ones(3, 3)], 0), RuntimeError, r"cat"),
    (lambda: fb.cat([], 0), (RuntimeError, ValueError), r"cat"),
    (lambda: fb.cat([x, 3], 0), TypeError, r"cat"),
    (lambda: fb.stack([x, fb.ones(4, 3)]), RuntimeError, r"stack"),
    (lambda: x.copy_(fb.ones(5)), RuntimeError, r"copy_|identity"),
    (lambda: x.__setitem__(0, fb.ones(3)), RuntimeError, r"shape"),
    (lambda: x.masked_fill(fb.ones(5, dtype=fb.bool), 1.0), RuntimeError, r"masked_fill"),
    (lambda: F.linear(x, fb.ones(2, 3)), RuntimeError, r"linear|matmul"),
    (lambda: F.conv2d(x, fb.ones(1, 1, 2, 2)), RuntimeError, r"conv2d"),
    (lambda: F.conv2d(fb.ones(1, 2, 3, 3), fb.ones(1, 1, 2, 2)), RuntimeError, r"conv2d"),
    (lambda: F.conv2d(fb.ones(1, 1, 3, 3), fb.ones(1, 1, 5, 5)), RuntimeError, r"conv2d"),
    (lambda: F.max_pool2d(fb.ones(1, 1, 3, 3), 5), RuntimeError, r"pool"),
    (lambda: nn.Linear(4, 2)(fb.ones(2, 3)), RuntimeError, r"linear|matmul"),
    (lambda: F.mse_loss(x, fb.ones(5)), RuntimeError, r"mse_loss|broadcast"),
    # dimensions
    (lambda: x.sum(2), IndexError, r"range of \[-2, 1\], but got 2"),
    (lambda: x.transpose(0, 5), IndexError, r"out of range"),
    (lambda: x.permute(0, 0), RuntimeError, r"twice|repeated"),
    (lambda: x.permute(0), RuntimeError, r"permute"),
    (lambda: x.unsqueeze(4), IndexError, r"out of range"),
    (lambda: x.squeeze(7), IndexError, r"out of range"),
    (lambda: x.flatten(1, 0), RuntimeError, r"flatten"),
    (lambda: x.size(3), IndexError, r"out of range"),
    (lambda: x.softmax(-3), IndexError, r"out of range"),
    (lambda: x.cumsum(2), IndexError, r"out of range"),
    (lambda: x.sort(2), IndexError, r"out of range"),
    (lambda: x.flip(5), IndexError, r"out of range"),
    (lambda: fb.ones(2, 2, 2).t(), RuntimeError, r"t: .*2"),
    # indices
    (lambda: x[3], IndexError, r"index 3 is out of bounds for dimension 0 with size 3"),
    (lambda: x[0, -5], IndexError, r"index -5 is out of bounds"),
    (lambda: x[0, 0, 0], IndexError, r"too many indices"),
    (lambda: x["a"], IndexError, r"only integers, slices .* are valid indices, got str"),
    (lambda: x[1.5], IndexError, r"only integers, slices .* are valid indices, got float"),
    (lambda: x[::0], ValueError, r"step cannot be zero"),
    (lambda: x[i + 1], IndexError, r"out of (bounds|range)"),
    (lambda: x[fb.tensor([-4])], IndexError, r"out of (bounds|range)"),
    (lambda: x[fb.tensor([1.5])], IndexError, r"long, int"),
    (lambda: x[fb.ones(2, dtype=fb.bool)], IndexError, r"mask"),
    (lambda: x[i, fb.tensor([0, 1])], IndexError, r"broadcast"),
    (lambda: fb.tensor(1.0)[0], IndexError, r"0-dim"),
    (lambda: x.gather(1, fb.tensor([[9]])), (IndexError, RuntimeError), r"out of (bounds|range)"),
    (lambda: x.gather(1, i), RuntimeError, r"gather"),
    (lambda: x.index_select(0, fb.tensor([3])), IndexError, r"out of (bounds|range)"),
    (lambda: x.take(fb.tensor([12])), IndexError, r"out of (bounds|range)"),
    (lambda: fb.zeros(3).scatter_(0, fb.tensor([5]), 1.0), (IndexError, RuntimeError), r"out of (bounds|range)"),
    (lambda: fb.zeros(3).index_add_(0, fb.tensor([-1 - 3]), fb.ones(1)), (IndexError, RuntimeError),
        r"out of (bounds|range)"),
    (lambda: fb.zeros(3).index_put_((fb.tensor([3]),), fb.ones(1)), IndexError, r"out of (bounds|range)"),
    (lambda: F.embedding(fb.tensor([7]), fb.ones(5, 2)), IndexError, r"out of (bounds|range)|embedding"),
    (lambda: F.embedding(fb.tensor([-1]), fb.ones(5, 2)), IndexError, r"out of (bounds|range)|embedding"),
    (lambda: x.narrow(0, 2, 5), RuntimeError, r"narrow"),
    (lambda: x.narrow(0, 9, 1), (IndexError, RuntimeError), r"narrow"),
    (lambda: x.narrow(0, 0, -1), RuntimeError, r"narrow"),
    (lambda: x.select(0, 3), IndexError, r"out of bounds"),
    (lambda: x.unfold(0, 4, 1), RuntimeError, r"unfold"),
    (lambda: x.topk(9), RuntimeError, r"topk"),
    (lambda: x.split(0), RuntimeError, r"split"),
    (lambda: x.split([1, 1]), RuntimeError, r"split"),
    (lambda: x.chunk(0), RuntimeError, r"chunk"),
    # dtypes and kinds of arguments
    (lambda: x & x, (TypeError, RuntimeError), r"bitwise_and: .*float32"),
    (lambda: x + "a", TypeError, r"unsupported operand type\(s\) for \+: .*Tensor' and 'str'"),
    (lambda: x + None, TypeError, r"unsupported operand type\(s\) for \+: .*Tensor' and 'NoneType'"),
    (lambda: fb.add(x, "a"), TypeError, r"add: \(input, other, alpha\) are tensors or numbers, got str"),
    (lambda: fb.exp([1.0]), TypeError, r"exp: \(input\) are tensors or numbers, got list; use flambeau.tensor"),
    (lambda: fb.exp(x, 3), TypeError, r"exp: takes 1"),
    (lambda: fb.exp(), TypeError, r"missing|takes"),
    (lambda: fb.exp(x, wrong=1), TypeError, r"wrong"),
    (lambda: x.add(x, bogus=3), TypeError, r"bogus"),
    (lambda: i.mean(), RuntimeError, r"mean: .*int64"),
    (lambda: i @ x, RuntimeError, r"dtype|inner"),
    (lambda: fb.where(x, x, x), RuntimeError, r"where: condition must be a boolean tensor, got float32; .*!= 0"),
    (lambda: fb.zeros(2.7), TypeError, r"integer"),
    (lambda: fb.zeros("3"), TypeError, r"a size must be an integer, got '3' of type str"),
    (lambda: fb.zeros(2, dtype="float32"), TypeError, r"dtype"),
    (lambda: x.to("nonsense"), RuntimeError, r"device: a name such as 'cpu' .* got 'nonsense'"),
    (lambda: x.sum(1.5), TypeError, r"integer"),
    (lambda: x.select(0, 1.5), TypeError, r"integer"),
    (lambda: x.view(2.5, 4), TypeError, r"integer"),
    (lambda: x.unsqueeze("0"), TypeError, r"integer"),
    (lambda: fb.zeros(2, device="cuda"), AssertionError, r"zeros.*on 'cpu'"),
    (lambda: x.to("cuda"), AssertionError, r"to: tensors are on 'cpu'"),
    (lambda: fb.set_num_threads(1.5), TypeError, r"integer"),
    # sizes
    (lambda: fb.zeros(-1), RuntimeError, r"negative"),
    (lambda: fb.empty(HUGE), RuntimeError, r"2\^63|memory"),
    (lambda: fb.empty(HUGE, HUGE), RuntimeError, r"2\^63|exceed"),
    (lambda: fb.empty(2**31, 2**31, 4), RuntimeError, r"2\^63|exceed"),
    (lambda: fb.empty(2**45), fb.OutOfMemoryError, r"out of memory: tried to allocate 128.0 TiB"),
    (lambda: fb.empty(2**64), (RuntimeError, OverflowError), r"64 bits|large"),
    (lambda: fb.ones(1).expand(HUGE, 2).contiguous(), RuntimeError, r"2\^63|memory|exceed"),
    (lambda: fb.ones(1).expand(HUGE, HUGE), RuntimeError, r"2\^63|exceed|overflow"),
    (lambda: fb.ones(1).expand(HUGE).expand(8, HUGE).sum(), RuntimeError, r"\[8, 4611686018427387904\] exceeds 2\^63"),
    (lambda: x.repeat(HUGE, HUGE), RuntimeError, r"sizes \[4611686018427387904, 3, .*\] exceeds 2\^63 bytes"),
    (lambda: fb.arange(0, 1e30, 1e-3), RuntimeError, r"arange"),
    (lambda: fb.arange(0, 5, 0), RuntimeError, r"arange"),
    (lambda: fb.arange(0, float("nan")), RuntimeError, r"arange"),
    (lambda: fb.linspace(0, 1, -1), RuntimeError, r"linspace"),
    (lambda: fb.eye(-1), RuntimeError, r"eye|negative"),
    (lambda: fb.zeros(*[1] * 65), RuntimeError, r"64 dimensions"),
    (lambda: fb.ones(1).view(*[1] * 65), RuntimeError, r"64 dimensions"),
    (lambda: F.pad(x, (HUGE, HUGE)), RuntimeError, r"pad: .* size 4 .* by 4611686018427387904 and 4611686018427387904"),
    (lambda: F.pad(x, (-5, -5)), RuntimeError, r"pad: dimension 1 of size 4 can't be padded by -5 and -5"),
    (lambda: x.as_strided((HUGE,), (HUGE,)), RuntimeError, r"as_strided|2\^63"),
    (lambda: x.as_strided((4, 4), (4, 1)), RuntimeError, r"as_strided"),
    (lambda: x.as_strided((1,), (1,), -1), RuntimeError, r"as_strided"),
    (lambda: x.as_strided((2,), (-1,), 3), RuntimeError, r"as_strided|negative"),
    (lambda: x.as_strided((2,), (1, 1)), RuntimeError, r"as_strided"),
    (lambda: fb.empty_strided((4,), (HUGE,)), RuntimeError, r"empty_strided|memory"),
    (lambda: x.view(fb.float64)[:, :1].view(fb.complex128), RuntimeError, r"view"),
    (lambda: fb.randint(5, 2, (3,)), (RuntimeError, ValueError), r"low must be below high"),
    (lambda: fb.randperm(-1), RuntimeError, r"randperm: n can't be negative, got -1"),
    # values
    (lambda: x.item(), RuntimeError, r"item: .*\[3, 4\]"),
    (lambda: bool(x), RuntimeError, r"ambiguous"),
    (lambda: len(fb.tensor(1)), TypeError, r"0-d"),
    (lambda: list(fb.tensor(1)), TypeError, r"0-d"),
    (lambda: range(fb.tensor(1.5)), TypeError, r"integer"),
    (lambda: fb.tensor([2**70]), RuntimeError, r"1180591620717411303424 doesn't fit in int64"),
    (lambda: fb.tensor(float("nan"), dtype=fb.int64), (RuntimeError, ValueError), r"nan"),
    (lambda: fb.tensor([1, 2]).fill_(2**70), (RuntimeError, OverflowError), r"int64"),
    (lambda: F.dropout(x, 1.5), (ValueError, RuntimeError), r"dropout"),
    (lambda: fb.full((2,), "a"), TypeError, r"full: fill_value is a number .*, got 'a'"),
    (lambda: F.gelu(x, approximate="exact"), (RuntimeError, ValueError), r"gelu"),
    (lambda: fb.div(x, 2, rounding_mode="up"), (RuntimeError, ValueError), r"rounding_mode"),
    (lambda: x.norm("nuc2"), (RuntimeError, ValueError, TypeError), r"number"),
    (lambda: x.clamp(), (RuntimeError, ValueError), r"clamp"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), ERRORS, ids=range(len(ERRORS)))
def test_error(call, error, message):
    before = x.tolist()
    with pytest.raises(error, match=message) as caught:
        call()
    assert str(caught.value).strip(), "an empty message helps nobody"
    assert x.tolist() == before and i.tolist() == [0, 1, 2]


WHOLE = fb.tensor([7, -7, -(2**63)])
DIVISIONS = [
    fb.floor_divide, fb.remainder, fb.fmod,
    lambda a, b: fb.div(a, b, rounding_mode="trunc"), lambda a, b: fb.div(a, b, rounding_mode="floor"),
    lambda a, b: a // b, lambda a, b: a % b,
]  # fmt: skip
ZEROS = [0, False, fb.tensor(0), fb.tensor([0, 1, 2]), fb.tensor([[3], [0]]), fb.tensor([True, False, True])]


@pytest.mark.parametrize("op", DIVISIONS, ids=range(len(DIVISIONS)))
def test_integers_divided_by_zero_are_an_error(op):
    """As in PyTorch; floats give inf and nan, and where nothing is computed there is nothing to refuse."""
    for dtype in (fb.int64, fb.int32, fb.int8, fb.uint8):
        for zero in ZEROS:
            with pytest.raises(RuntimeError, match=r"ZeroDivisionError: .*x\.double\(\)"):
                op(WHOLE.to(dtype), zero)
        assert op(WHOLE.to(dtype)[:0], 0).shape == (0,)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        op(5, fb.tensor([2, 0]))
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        op(fb.ones(6, 6, dtype=fb.int64).t()[::2], fb.eye(6, dtype=fb.int64)[1::2])
    assert op(WHOLE.double(), 0).dtype is fb.float64
    assert op(WHOLE, -1).dtype is fb.int64


def test_a_refused_division_in_place_changes_nothing():
    target = fb.tensor([5, 6])
    version = target._version
    for method in (target.floor_divide_, target.remainder_, target.fmod_, target.__ifloordiv__, target.__imod__):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            method(fb.tensor([1, 0]))
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        fb.remainder(target, 0, out=target)
    assert target.tolist() == [5, 6] and target._version == version


def test_integers_to_negative_powers():
    with pytest.raises(RuntimeError, match=r"pow: .*negative integer powers.*got exponent -1.*double"):
        _ = WHOLE**-1
    assert (fb.tensor([2, 1, -1]) ** fb.tensor([-1, -1, -1])).tolist() == [0, 1, -1]
    assert (fb.tensor([2.0]) ** -1).tolist() == [0.5]


def test_divisors_of_integers_take_integers():
    for op in (fb.gcd, fb.lcm):
        with pytest.raises(TypeError, match=rf"{op.__name__}: .*two tensors.*got Tensor and int"):
            op(WHOLE, 4)
    assert fb.gcd(fb.tensor([0, 0, -(2**63)]), fb.tensor([0, -3, 0])).tolist() == [0, 3, -(2**63)]


def test_the_process_survives_running_out_of_memory():
    gc.collect()  # what earlier tests left in cycles mustn't go meanwhile
    before = fb.memory_stats()["live"]
    fb.set_memory_limit(64 << 20)
    try:
        kept = fb.ones(1 << 20)
        for attempt in (
            lambda: fb.ones(1 << 26),
            lambda: kept.expand(64, 1 << 20).contiguous(),
            lambda: kept[:, None] + kept[: 1 << 10],
        ):
            with pytest.raises(fb.OutOfMemoryError, match=r"tried to allocate .*limit 64.0 MiB"):
                attempt()
        assert kept.sum().item() == 1 << 20
    finally:
        fb.set_memory_limit(0)
    kept = None
    gc.collect()
    assert fb.memory_stats()["live"] == before
    assert fb.ones(1 << 20).sum().item() == 1 << 20


def run(code: str) -> str:
    """Runs code in a process of its own, which must not die of a signal."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


FUZZ = """
    import contextlib, faulthandler, os, random, warnings
    import numpy as np
    import flambeau as fb
    import flambeau.nn.functional as F
    faulthandler.enable()
    warnings.simplefilter("ignore")
    fb.set_memory_limit(1 << 28)
    seed = int({seed})
    rng = random.Random(seed)
    inf, nan = float("inf"), float("nan")

    MAKE = [
        lambda: fb.arange(12.0).reshape(3, 4), lambda: fb.arange(12.0).reshape(3, 4).t(), lambda: fb.zeros(0),
        lambda: fb.zeros(2, 0, 3),
        lambda: fb.tensor(1.5), lambda: fb.tensor([0, 2, 1]), lambda: fb.tensor([[0, -9], [2**62, 3]]),
        lambda: fb.ones(2, 2, dtype=fb.bool),
        lambda: fb.ones(4, dtype=fb.bfloat16), lambda: fb.tensor([1 + 2j, nan]), lambda: fb.full((3,), nan),
        lambda: fb.ones(1).expand(5, 3),
        lambda: fb.arange(24.0).reshape(2, 3, 4)[:, ::2, 1:], lambda: fb.ones(3, requires_grad=True),
        lambda: fb.ones(2, 3, requires_grad=True) * 2,
        lambda: fb.tensor([-128, 127], dtype=fb.int8), lambda: fb.tensor([inf, -inf, 0.0]),
        lambda: fb.randn(2, 3, 4, 5), lambda: fb.ones(1, 1, 1, 1, 1, 1, 1, 2),
    ]
    ODD = [0, 1, -1, 2, 3, 7, -5, 2**31, -(2**31), 2**62, -(2**62), 2**63 - 1, 2**63, 2**64, -(2**63), 0.0, 1.5,
           -2.5, nan, inf, -inf, 1e300, True, False, None, "", "mean", "a", b"x", (), [], (0,), (1, 2), [0, 1],
           (-1, -1), (2**62, 2**62), (0, 0), [[0], [1, 2]], {{}}, slice(None), slice(-9, 9, 2), slice(5, 1),
           slice(2**62, -(2**62), 2**61), Ellipsis, 1j, fb.float32, fb.int64, fb.bool, fb.complex64, "cpu",
           object(), len, np.float32(2), np.zeros(2), np.array(["s"]), np.int64(3), fb.Size([2]), range(3),
           (None, 0), (slice(None), 1), (Ellipsis, None, 2**40)]

    def argument():
        return rng.choice(MAKE)() if rng.random() < 0.35 else rng.choice(ODD)

    SKIP = {{"register_hook", "register_post_accumulate_grad_hook", "backward"}}
    METHODS = sorted(n for n in dir(fb.Tensor) if (not n.startswith("_") or n in (
        "__getitem__", "__setitem__", "__add__", "__rsub__", "__iadd__", "__pow__", "__rpow__", "__lshift__",
        "__matmul__", "__eq__", "__lt__", "__and__",
        "__contains__", "__floordiv__", "__mod__", "__imul__", "__itruediv__", "__array__", "__dlpack__", "__format__",
        "__deepcopy__", "__init__")) and n not in SKIP)
    FUNCTIONS = sorted(n for n in dir(fb) if not n.startswith("_") and callable(getattr(fb, n)) and n not in (
        "set_default_dtype", "set_num_threads", "set_memory_limit", "set_printoptions", "set_grad_enabled", "save",
        "load", "Any", "DType", "set_rng_state", "frombuffer"))
    NN = sorted(n for n in dir(F) if not n.startswith("_") and callable(getattr(F, n)))

    def step():
        kind = rng.random()
        args = [argument() for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4)))]
        kwargs = {{k: argument() for k in rng.sample(("dim", "keepdim", "dtype", "out", "inplace", "reduction",
            "weight"), rng.choice((0, 0, 0, 0, 1, 2)))}}
        if kind < 0.5:
            owner, name = rng.choice(MAKE)(), rng.choice(METHODS)
        elif kind < 0.8:
            owner, name, args = fb, rng.choice(FUNCTIONS), [rng.choice(MAKE)() if rng.random() < 0.5 else argument(),
                *args]
        else:
            owner, name, args = F, rng.choice(NN), [rng.choice(MAKE)(), *args]
        print(name, owner if isinstance(owner, fb.Tensor) else "", args, kwargs, file=log, flush=True)
        with contextlib.suppress(Exception):
            thing = getattr(owner, name)
            found = thing(*args, **kwargs) if callable(thing) else thing
            if isinstance(found, fb.Tensor) and found.numel() < 10**6:
                repr(found)
                found.contiguous()
                if found.requires_grad and found.is_floating_point():
                    found.sum().backward()

    log = open(os.environ.get("FUZZ_LOG", os.devnull), "w")  # the last line names the culprit
    for _ in range({steps}):
        step()
    assert fb.ones(3).sum().item() == 3
    print("alive")
"""


@pytest.mark.parametrize("seed", range(4))
def test_odd_arguments_never_crash_the_process(seed):
    assert run(FUZZ.format(seed=seed, steps=1500)).endswith("alive\n")
