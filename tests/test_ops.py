"""Every pointwise op of the table as programs call it: values, dtypes, layouts, threads, out=, in-place, derivatives.

The values that NumPy and SciPy give are those of test_pointwise.py; a kernel must also equal the reference interpreter
bit for bit, at every dtype the op accepts.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from test_pointwise import DIFFERENTIABLE, REFERENCE, VALUES, draw

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.ir.interpret import decode, encode, evaluate
from flambeau.ops.define import DOMAINS
from flambeau.ops.pointwise import OPS
from flambeau.ops.pointwise_arithmetic import whole_divisor
from flambeau.ops.table import TABLE, variant
from flambeau.ops.typed import CODES, typed

DTYPES = fb.DTYPES
NUMPY = dict(zip(DTYPES, (
    np.bool_, np.uint8, np.int8, np.int16, np.int32, np.int64, np.float16, None, np.float32, np.float64, np.complex64,
    np.complex128, np.uint16, np.uint32, np.uint64), strict=True))  # fmt: skip
KIND = {d: {"b": "b", "u": "u", "i": "i", "f": "f", "c": "c"}[d.ir[0] if d.ir != "bf16" else "f"] for d in DTYPES}
ids = {"ids": lambda v: v if isinstance(v, str) else ""}
every_op = pytest.mark.parametrize("name", sorted(REFERENCE))
every_case = pytest.mark.parametrize(("name", "attributes", "reference"), VALUES, **ids)


def make(values: np.ndarray, dtype: fb.dtype) -> fb.Tensor:
    """Values as a tensor of a dtype, through bits for bfloat16."""
    values = np.asarray(values)
    if dtype is fb.bfloat16:
        return fb.from_numpy(encode(values.astype(np.float32), "bf16").copy().view(np.int16)).view(fb.bfloat16)
    if values.dtype.kind == "c" and not dtype.is_complex:
        values = values.real
    return fb.from_numpy(np.ascontiguousarray(values).astype(NUMPY[dtype])).clone().reshape(values.shape)


def bits(x: fb.Tensor) -> tuple:
    """What two tensors that are the same bit for bit have in common; one NaN is as good as another."""
    y = x.detach().contiguous()
    if y.is_floating_point():
        y = y.masked_fill(y != y, 1.0) if bool((y != y).any()) else y
        nan = (x != x).tolist()
    else:
        nan = None
    raw = y.view({1: fb.uint8, 2: fb.int16, 4: fb.int32, 8: fb.int64}[y.itemsize]) if not y.is_complex() else y
    return x.dtype, tuple(x.shape), np.asarray(raw).tobytes(), nan


def operands(name: str, dtype: fb.dtype, count: int = 37) -> list[fb.Tensor]:
    """Operands within the op's samples, rounded to a dtype; complex ones off the axes."""
    drawn = []
    for x, kept in zip(draw(name, count), (p in OPS[name].kept for p in OPS[name].operands), strict=True):
        if dtype.is_complex and not kept:
            x = x * (1 - 0.5j) + 0.25j
        drawn.append(make(x, fb.bool if kept else dtype))
    if OPS[name].refuse is whole_divisor:
        drawn[1] += drawn[1] == 0  # what rounds to zero divides no integers
    return drawn


def accepted(name: str) -> list[fb.dtype]:
    return [d for d in DTYPES if KIND[d] in DOMAINS[OPS[name].domain]]


def usual(name: str) -> fb.dtype:
    """float32 where the op takes it."""
    found = accepted(name)
    return fb.float32 if fb.float32 in found else fb.int32 if fb.int32 in found else found[0]


# ---- values
@every_case
def test_value_in_float64(name, attributes, reference):
    dtypes = accepted(name)
    dtype = fb.float64 if fb.float64 in dtypes else fb.int64 if fb.int64 in dtypes else fb.complex128
    given = operands(name, dtype, 12)
    expected = reference(*(x.numpy() for x in given))
    found = TABLE[name](*given, **attributes)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-11, atol=1e-12)
    assert found.shape == (12,)


@every_op
def test_every_dtype_is_what_the_interpreter_says(name):
    for dtype in accepted(name):
        given = operands(name, dtype)
        definition = variant(TABLE[name], (), {})[0].definition
        keys = tuple(CODES[x.dtype.ir] for x in given)
        form = typed(definition, keys + (63,) * len(definition.attributes))
        env = {str(v.attr): decode(storage(x), x.dtype.ir) for v, x in zip(form.inputs, given, strict=False)}
        expected = np.broadcast_to(evaluate(form.exprs[0], env), (37,))
        found = TABLE[name](*given)
        assert found.dtype.ir == form.exprs[0].dtype, dtype
        expected = encode(expected, form.exprs[0].dtype)
        same = storage(found) == expected
        if found.is_floating_point() or found.is_complex():
            same |= (found != found).numpy() & (decode(expected, found.dtype.ir) != decode(expected, found.dtype.ir))
            same &= (
                (np.signbit(found.numpy()) == np.signbit(expected)) | (found != found).numpy()
                if found.dtype in (fb.float32, fb.float64)
                else True
            )
        assert same.all(), (dtype, storage(found)[~same], np.asarray(expected)[~same])


def storage(x: fb.Tensor) -> np.ndarray:
    """The numbers as the interpreter's buffers hold them."""
    if x.dtype in (fb.float16, fb.bfloat16):
        return x.contiguous().view(fb.int16).numpy().view(np.uint16)
    return x.numpy()


@every_op
def test_a_dtype_outside_the_domain_is_refused(name):
    for dtype in DTYPES:
        if dtype in accepted(name) or (OPS[name].promote == "float" and KIND[dtype] in "bui"):
            continue
        given = [make(np.ones(3), dtype) for _ in OPS[name].operands]
        given = [
            make(np.ones(3), fb.bool) if p in OPS[name].kept else x
            for p, x in zip(OPS[name].operands, given, strict=True)
        ]
        with pytest.raises((TypeError, RuntimeError), match=name.split(".")[-1]):
            TABLE[name](*given)


@every_op
def test_half_precision_is_float32_rounded_once(name):
    if OPS[name].promote == "exact" or "f" not in DOMAINS[OPS[name].domain]:
        pytest.skip("defined on the bits, or not for floating numbers")
    for dtype in (fb.float16, fb.bfloat16):
        given = operands(name, dtype)
        wide = TABLE[name](*(x if x.dtype is fb.bool else x.float() for x in given))
        assert bits(TABLE[name](*given)) == bits(wide.to(dtype) if wide.dtype is fb.float32 else wide)


# ---- layouts
def arrangements(x: fb.Tensor) -> list[fb.Tensor]:
    """A (5, 6) tensor's numbers in other layouts: transposed memory, every other element, reversed nesting."""
    stepped = fb.zeros(10, 12, dtype=x.dtype)[::2, ::2]
    stepped.copy_(x)
    padded = fb.zeros(5, 9, dtype=x.dtype)[:, 2:8]
    padded.copy_(x)
    return [x.t().contiguous().t(), stepped, padded]


@every_op
def test_any_layout_gives_the_same_bits(name):
    given = [x.reshape(5, 6) for x in operands(name, usual(name), 30)]
    expected = bits(TABLE[name](*given))
    others = [arrangements(x) for x in given]
    for k in range(3):
        assert bits(TABLE[name](*(o[k] for o in others))) == expected
    for i in range(len(given)):
        mixed = [o[(i + j) % 3] if j != i else x for j, (x, o) in enumerate(zip(given, others, strict=True))]
        assert bits(TABLE[name](*mixed)) == expected


@every_op
def test_broadcast_empty_and_0_dimensional(name):
    op = TABLE[name]
    given = operands(name, usual(name), 4)
    full = [x.reshape(4, 1).expand(4, 3).contiguous() for x in given]
    expected = bits(op(*full))
    assert bits(op(*(x.reshape(4, 1).expand(4, 3) for x in given))) == expected
    if len(given) > 1:
        stretched = op(given[0].reshape(4, 1), *full[1:])
        assert bits(stretched) == expected
        assert op(given[0].reshape(4, 1), *(x.reshape(1, 4) for x in given[1:])).shape == (4, 4)
    number = op(*(x[2] for x in given))
    assert number.shape == ()
    assert bits(number.reshape(1)) == bits(op(*(x[2:3] for x in given)))
    assert op(*(x[:0].reshape(0, 5) for x in given)).shape == (0, 5)
    assert op(*(x[:0].reshape(2, 0).t() for x in given)).shape == (0, 2)


@pytest.mark.parametrize("name", ["add", "where", "exp", "lerp"])
def test_many_dimensions(name):
    shape = (2, 3, 2, 2, 1, 3, 2, 2, 2)
    count = int(np.prod(shape))
    given = [x.reshape(shape) for x in operands(name, fb.float32, count)]
    order = [4, 8, 0, 6, 2, 7, 1, 5, 3]
    expected = TABLE[name](*given)
    permuted = [x.permute(order).contiguous().permute([order.index(d) for d in range(9)]) for x in given]
    assert bits(TABLE[name](*permuted)) == bits(expected)
    mixed = [x if i else y for i, (x, y) in enumerate(zip(given, permuted, strict=True))]
    assert bits(TABLE[name](*mixed)) == bits(expected)
    stepped = [fb.stack([x, x], 9).flatten()[::2].reshape(shape) for x in given]
    strided = [fb.stack([x, x], 9)[..., 0].permute(order) for x in given]
    assert bits(TABLE[name](*stepped)) == bits(expected)
    assert bits(TABLE[name](*strided)) == bits(expected.permute(order))


def test_results_keep_the_order_of_dimensions():
    x = fb.zeros(2, 5, 6, 3).permute(0, 3, 1, 2)
    assert x.exp().stride() == x.stride()
    assert (x + fb.ones(3, 1, 1)).stride() == x.stride()
    assert (x[:, :, ::2] + 1).is_contiguous()


# ---- threads
@every_op
def test_any_number_of_threads_gives_the_same_bits(name, threads):
    given = [x.repeat(3000)[:100_003] for x in operands(name, usual(name))]
    found = []
    for n in (1, 2, 3, 4, 7):
        threads(n)
        found.append(TABLE[name](*given))
    first = np.asarray(found[0]) if not found[0].is_complex() else found[0].numpy()
    assert all(first.tobytes() == np.asarray(y).tobytes() for y in found[1:])
    small = TABLE[name](*(x[:37] for x in given))
    assert bits(found[0][37 * 5 : 37 * 6]) == bits(small)


# ---- dtypes of results
PROMOTED = """
bool u8   i8   i16  i32  i64  f16  bf16 f32  f64  c64  c128 u16  u32  u64
     u8   i16  i16  i32  i64  f16  bf16 f32  f64  c64  c128 u16  u32  u64
          i8   i16  i32  i64  f16  bf16 f32  f64  c64  c128 i32  i64  -
               i16  i32  i64  f16  bf16 f32  f64  c64  c128 i32  i64  -
                    i32  i64  f16  bf16 f32  f64  c64  c128 i32  i64  -
                         i64  f16  bf16 f32  f64  c64  c128 i64  i64  -
                              f16  f32  f32  f64  c64  c128 f16  f16  f16
                                   bf16 f32  f64  c64  c128 bf16 bf16 bf16
                                        f32  f64  c64  c128 f32  f32  f32
                                             f64  c128 c128 f64  f64  f64
                                                  c64  c128 c64  c64  c64
                                                       c128 c128 c128 c128
                                                            u16  u32  u64
                                                                 u32  u64
                                                                      u64
"""  # PyTorch's table; among integers where it has none the array API standard's, which has none for uint64 with signed


def test_promotion_of_tensors():
    named = {d.ir: d for d in DTYPES}
    rows = [[named.get(n) for n in line.split()] for line in PROMOTED.strip().splitlines()]
    for (i, a), (j, b) in itertools.combinations_with_replacement(enumerate(DTYPES), 2):
        expected = rows[i][j - i]
        if expected is None:
            for promote in (fb.promote_types, lambda a, b: fb.ones(2, dtype=a) + fb.ones(2, dtype=b)):
                with pytest.raises(RuntimeError, match="no common dtype"):
                    promote(a, b)
            continue
        assert fb.promote_types(a, b) is fb.promote_types(b, a) is expected
        assert (fb.ones(2, dtype=a) + fb.ones(2, dtype=b)).dtype is expected
        assert (fb.ones(2, dtype=b) + fb.ones(1, dtype=a)).dtype is expected


def test_promotion_of_0_dimensional_tensors_and_numbers():
    category = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
    for a, b in itertools.product(DTYPES, DTYPES):
        ka, kb = category[KIND[a]], category[KIND[b]]
        expected = fb.promote_types(a, b) if kb > ka else a
        if (a, KIND[b]) == (fb.float64, "c"):
            expected = fb.complex128
        elif KIND[a] == "f" and KIND[b] == "c":
            expected = fb.complex64
        assert (fb.ones(2, dtype=a) + fb.ones((), dtype=b)).dtype is expected, (a, b)
    for a in DTYPES:
        k = category[KIND[a]]
        x = fb.ones(2, dtype=a)
        assert (x + True).dtype is a
        assert (x + 1).dtype is (fb.int64 if k == 0 else a)
        assert (1.5 * x).dtype is (fb.float32 if k < 2 else a)
        assert (x + 1j).dtype is (a if k == 3 else fb.complex128 if a is fb.float64 else fb.complex64)
        assert (x / 2).dtype is (fb.float32 if k < 2 else a)
    assert (fb.ones((), dtype=fb.float64) + fb.ones(2, dtype=fb.float16)).dtype is fb.float16
    assert (fb.ones((), dtype=fb.int32) + 1.0).dtype is fb.float32
    fb.set_default_dtype(fb.float64)
    try:
        assert (fb.ones(2, dtype=fb.int32) + 1.0).dtype is fb.float64
        assert (fb.ones(2, dtype=fb.int32) / 2).dtype is fb.float64
        assert fb.ones(2, dtype=fb.int32).exp().dtype is fb.float64
    finally:
        fb.set_default_dtype(fb.float32)


@pytest.mark.parametrize(
    "name", [n for n in sorted(REFERENCE) if len(OPS[n].operands) == 2 and "f" in DOMAINS[OPS[n].domain]]
)
def test_a_number_is_as_good_as_a_tensor(name):
    x, y = operands(name, fb.float64, 6)
    number = y[3].item()
    like = fb.full((6,), number, dtype=y.dtype)
    assert bits(TABLE[name](x, number)) == bits(TABLE[name](x, like))
    first = x[3].item()
    if name in ("add", "sub", "mul", "div", "pow", "maximum", "atan2"):
        assert bits(TABLE[name](first, y)) == bits(TABLE[name](fb.full((6,), first, dtype=x.dtype), y))


# ---- out= and in place
@every_op
def test_out(name):
    op = TABLE[name]
    given = operands(name, usual(name), 12)
    expected = op(*given)
    out = fb.empty(0, dtype=expected.dtype)
    assert op(*given, out=out) is out
    assert bits(out) == bits(expected)
    whole = fb.zeros(12, 3, dtype=expected.dtype)
    op(*given, out=whole[:, 1])
    assert bits(whole[:, 1]) == bits(expected)
    assert not whole[:, 0].any() and not whole[:, 2].any()
    with pytest.raises(RuntimeError, match="out"):
        op(*given, out=fb.zeros(5, dtype=expected.dtype))


@pytest.mark.parametrize("name", [n for n in sorted(REFERENCE) if OPS[n].inplace])
def test_in_place(name):
    dtype = usual(name)
    given = operands(name, dtype, 30)
    expected = TABLE[name](*given)
    if expected.dtype is not dtype:
        expected = expected.to(dtype)
    target = given[0].clone()
    version = target._version
    assert TABLE[name].inplace(target, *given[1:]) is target and hasattr(target, name + "_")
    assert bits(target) == bits(expected)
    assert target._version == version + 1
    view = fb.zeros(30, 2, dtype=dtype)[:, 0]
    view.copy_(given[0])
    TABLE[name].inplace(view, *given[1:])
    assert bits(view) == bits(expected)


def test_in_place_refuses_what_it_cannot_hold():
    i = fb.tensor([1, 2])
    for change in (lambda: i.add_(1.5), lambda: i.div_(2), lambda: i.mul_(fb.tensor([1.5, 2.5])), lambda: i.sqrt_()):
        with pytest.raises(RuntimeError, match="float32 can't be cast to the output type int64"):
            change()
    with pytest.raises(RuntimeError, match="doesn't fit"):
        i.add_(fb.ones(3, 2, dtype=fb.int64))
    with pytest.raises(RuntimeError, match="broadcast"):
        i.add_(fb.ones(3, dtype=fb.int64))
    assert i.tolist() == [1, 2]
    shared = fb.zeros(1).expand(3)
    for change in (lambda: shared.add_(1), lambda: shared.fill_(1), lambda: shared.exp_()):
        with pytest.raises(RuntimeError, match="share one memory location"):
            change()
    assert shared.tolist() == [0, 0, 0]
    nothing = fb.zeros(1, 0).expand(3, 0)  # has no elements that could share memory
    assert nothing.add_(1) is nothing and nothing.fill_(1) is nothing and nothing.exp_() is nothing


@pytest.mark.parametrize("count", [10, 100, 100_000])
def test_overlapping_operands_are_read_before_they_are_written(count):
    start = np.arange(count, dtype=np.float32)
    for step in (1, 3):
        x = fb.tensor(start)
        x[step:].add_(x[:-step])
        expected = start.copy()
        expected[step:] += start[:-step]
        assert np.array_equal(x.numpy(), expected)
        x = fb.tensor(start)
        x[:-step].mul_(x[step:])
        expected = start.copy()
        expected[:-step] *= start[step:]
        assert np.array_equal(x.numpy(), expected)
        x = fb.tensor(start)
        x[step:] = x[:-step]
        assert np.array_equal(x.numpy(), np.concatenate([start[:step], start[:-step]]))
        x = fb.tensor(start)
        fb.exp(x[:-step], out=x[step:])
        assert bits(x[step:]) == bits(fb.exp(fb.tensor(start[:-step])))
        x = fb.tensor(start)
        x[step:].add_(x.data[:-step])
        expected = start.copy()
        expected[step:] += start[:-step]
        assert np.array_equal(x.numpy(), expected)
    square = fb.arange(49.0).reshape(7, 7)
    expected = square.numpy() + square.numpy().T
    square += square.t()
    assert np.array_equal(square.numpy(), expected)


# ---- derivatives
@pytest.mark.parametrize(("name", "attributes"), DIFFERENTIABLE, **ids)
def test_derivatives(name, attributes):
    given = operands(name, fb.float64, 2)
    # What PyTorch defines no derivative by is passed without asking for one.
    wanted = [x for x, s in zip(given, OPS[name].samples, strict=True) if s.kind not in ("integers", "booleans")]
    fixed = {
        "threshold": (1, 2),
        "special.zeta": (0,),
        "nextafter": (0, 1),
        "heaviside": (1,),
        "gaussian_nll_loss": (2,) if attributes else (),
    }
    for i, x in enumerate(given):
        if any(x is w for w in wanted) and i not in fixed.get(name, ()):
            x.requires_grad_()
    if not any(x.requires_grad for x in given):
        pytest.skip("no operand has a derivative")

    def function(*xs):
        return TABLE[name](*xs, **attributes)

    if not function(*given).requires_grad:
        pytest.skip("the result isn't differentiable")
    assert gradcheck(function, given, atol=1e-5, rtol=1e-4)
    assert gradgradcheck(function, given, atol=1e-4, rtol=1e-3)
