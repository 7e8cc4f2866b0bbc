"""Complex numbers: every function on special values and off the axes, gradients, reductions, views, random numbers.

The oracles are NumPy's complex128, mpmath where NumPy has no accurate function, and what PyTorch 2.13 printed.
"""

import cmath
import math
import sys

import mpmath
import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.ir.complex_functions import FUNCTIONS, lower
from flambeau.ir.expr import FUNCTIONS as NAMES
from flambeau.ir.expr import node, postorder, var

INF, NAN = math.inf, math.nan
F = fb.nn.functional
NUMPY = {
    "exp": np.exp, "log": np.log, "log2": np.log2, "log10": np.log10, "sqrt": np.sqrt, "exp2": np.exp2,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
}  # fmt: skip
MPMATH = NUMPY.keys() - {"log2", "exp2"} | {"expm1"}
EDGES = (0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 3.0, INF, -INF, NAN, 1e-200, 1e200, -1e300)


def joined(real, imag) -> np.ndarray:
    """Complex numbers of their parts, with nothing computed on the way."""
    real, imag = np.broadcast_arrays(np.asarray(real, float), np.asarray(imag, float))
    return np.stack((real, imag), -1).view(np.complex128)[..., 0]


GRID = joined(np.repeat(EDGES, len(EDGES)), np.tile(EDGES, len(EDGES)))


def off_axes(count: int = 300, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = rng.standard_normal((2, count)) * 10 ** rng.uniform(-3, 0.7, (2, count))
    return joined(*parts)


def pairs(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).view(np.float64 if x.dtype == np.complex128 else np.float32).reshape(*x.shape, 2)


def tensor(x) -> fb.Tensor:
    return fb.from_numpy(np.array(x))


# ---- values
@pytest.mark.parametrize("name", NUMPY)
def test_special_values_are_numpys(name):
    with np.errstate(all="ignore"):
        expected = NUMPY[name](GRID)
    found = getattr(fb, name)(tensor(GRID)).numpy()
    for z, x, y in zip(GRID, found, expected, strict=True):
        settled = np.isfinite([z.real, z.imag]).all() and np.isfinite([y.real, y.imag]).all()
        for a, b in ((x.real, y.real), (x.imag, y.imag)):
            near = a == b or math.isnan(a) and math.isnan(b) or abs(a - b) <= 1e-13 * abs(b)
            # Beside infinity and NaN some signs are unspecified: of ∞ next to a NaN, and of 0.
            open_sign = not settled and (b == 0 or math.isnan(y.real) or math.isnan(y.imag))
            near = near or open_sign and abs(a) == abs(b)
            assert near, (name, z, x, y)
            assert math.isnan(b) or open_sign or math.copysign(1, a) == math.copysign(1, b), (name, z, x, y)


@pytest.mark.parametrize("name", ["log", "sqrt", "asin", "acos", "atan", "asinh", "acosh", "atanh"])
def test_both_sides_of_a_cut(name):
    """A zero's sign says from which side a cut is reached, on all four half axes; conjugates go to conjugates."""
    at = np.array([-3.0, -1.5, 1.5, 3.0])
    cuts = np.concatenate([joined(at, 0.0), joined(0.0, at)])
    for z in np.concatenate([cuts, joined(cuts.real, -cuts.imag), joined(-cuts.real, cuts.imag)]):
        found, expected = getattr(fb, name)(tensor([z])).item(), getattr(cmath, name)(complex(z))
        assert abs(found - expected) < 1e-14, (name, z)
        assert getattr(fb, name)(tensor([z.conjugate()])).item() == found.conjugate()


@pytest.mark.parametrize("name", sorted(MPMATH) + ["log1p"])
def test_accuracy(name):
    """complex128 within some ulp of each part's own size or of |f| / 100; complex64 within one of either part."""
    z = off_axes()
    z = np.concatenate([z, [cmath.rect(1 + 1e-9, 0.3), 0.6 + 0.8j, 1 + 1e-9j, -1e-9 + 1j, 1e-12 + 1e-13j]])
    known = {"log1p": lambda w: mpmath.log(1 + w), "expm1": lambda w: mpmath.exp(w) - 1}
    function = known.get(name) or getattr(mpmath, name)
    for dtype, eps in ((np.complex128, 2.0**-52), (np.complex64, 2.0**-23)):
        given = z.astype(dtype)
        found = getattr(fb, name)(tensor(given)).numpy()
        with mpmath.workdps(60):
            exact = [function(mpmath.mpc(complex(w))) for w in given]
            for w, x, y in zip(given, found, exact, strict=True):
                size = abs(y)
                for a, b in ((x.real, y.real), (x.imag, y.imag)):
                    room = 0.51 * abs(b) + 1e-6 * size if dtype == np.complex64 else 4 * (abs(b) + size / 100)
                    assert abs(mpmath.mpf(float(a)) - b) <= room * eps, (name, w, x, y)


def test_great_and_small_numbers():
    """Nothing overflows or vanishes on the way to a result that is representable."""
    z = joined([710, 1400, -745, 1e-160, 3e200, -4e-310, 0.5], [1.5707963, 1e-300, 2, 1e-170, 4e200, 3e-310, 720])
    for name in ("exp", "sqrt", "log", "sinh", "cosh", "sin", "cos", "asinh", "atanh"):
        with mpmath.workdps(700):
            for w, x in zip(z, getattr(fb, name)(tensor(z)).numpy(), strict=True):
                y = getattr(mpmath, name)(mpmath.mpc(complex(w)))
                for a, b in ((x.real, y.real), (x.imag, y.imag)):
                    if abs(b) > sys.float_info.max:
                        assert math.isinf(a) and (a > 0) == (b > 0), (name, w, x)
                    else:
                        assert abs(mpmath.mpf(float(a)) - b) <= 1e-14 * abs(b) + 1e-322, (name, w, x, complex(y))


def test_division():
    z = off_axes(200, 1)
    w = off_axes(200, 2)
    np.testing.assert_allclose((tensor(z) / tensor(w)).numpy(), z / w, rtol=1e-14)
    big = tensor([1e200 + 1e200j]) / tensor([1e200 - 1e200j])
    assert big.item() == 1j
    assert (tensor([1 + 2j]) / 0).numpy().tolist() == [complex(INF, INF)]
    assert np.isnan(pairs((tensor([0j]) / 0).numpy())).all()
    assert fb.reciprocal(tensor([2 + 0j, 4j])).tolist() == [0.5, -0.25j]


def test_powers():
    z, w = off_axes(200, 3), off_axes(200, 4) / 3
    np.testing.assert_allclose(fb.pow(tensor(z), tensor(w)).numpy(), z**w, rtol=1e-12)
    np.testing.assert_allclose(fb.pow(tensor(z), 2.5).numpy(), z**2.5, rtol=1e-13)
    np.testing.assert_allclose(fb.pow(2.0, tensor(w)).numpy(), 2.0**w, rtol=1e-13)
    np.testing.assert_allclose((tensor([2.0, 0.5]) ** (1 + 2j)).numpy(), np.array([2.0, 0.5]) ** (1 + 2j), rtol=1e-13)
    for n in (-127, -3, -1, 0, 1, 2, 3, 17, 100, 200):
        at = np.exp(1j * np.linspace(0, 6, 30)) * 1.3
        np.testing.assert_allclose((tensor(at) ** n).numpy(), at**n, rtol=1e-13)
    # Whole powers of whole numbers are exact, as products are.
    assert (tensor([1 + 2j, -2 + 1j]) ** 2).tolist() == [-3 + 4j, 3 - 4j]
    assert (tensor([1 + 1j]) ** 20).tolist() == [-1024]
    assert fb.float_power(fb.tensor([1 + 2j]), 2).dtype is fb.complex128
    zero = fb.zeros(5, dtype=fb.complex128)
    found = fb.pow(zero, tensor([0, 2, 0.5 + 0j, 1 + 1j, -1])).numpy()
    assert found[:4].tolist() == [1, 0, 0, 0] and found[4].real == INF and math.isnan(found[4].imag)


def test_sigmoid_and_its_kin():
    z = off_axes(200, 5)
    s = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(fb.sigmoid(tensor(z)).numpy(), s, rtol=1e-13)
    np.testing.assert_allclose(F.silu(tensor(z)).numpy(), z * s, rtol=1e-13)
    np.testing.assert_allclose(F.tanhshrink(tensor(z)).numpy(), z - np.tanh(z), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(fb.sinc(tensor(z)).numpy(), np.sinc(z), rtol=1e-12)
    np.testing.assert_allclose(fb.rsqrt(tensor(z)).numpy(), 1 / np.sqrt(z), rtol=1e-14)
    far = fb.sigmoid(tensor([800 + 1j, -800 + 1j])).tolist()
    assert far == [1, 0]


def test_parts_and_tests():
    z = tensor(GRID)
    with np.errstate(all="ignore"):
        expected = {"isnan": np.isnan(GRID), "isinf": np.isinf(GRID), "isfinite": np.isfinite(GRID)}
        for name, value in expected.items():
            assert np.array_equal(getattr(fb, name)(z).numpy(), value), name
        np.testing.assert_allclose(fb.abs(z).numpy(), np.abs(GRID), rtol=1e-15)
        np.testing.assert_allclose(fb.angle(z).numpy(), np.angle(GRID), rtol=1e-15)
    assert np.array_equal(fb.isreal(z).numpy(), GRID.imag == 0)
    assert fb.sgn(tensor([3 + 4j, 0j])).tolist() == [0.6 + 0.8j, 0]
    assert fb.conj(tensor([1 + 2j])).tolist() == [1 - 2j]
    np.testing.assert_allclose(fb.polar(tensor([2.0]), tensor([0.5])).numpy(), [cmath.rect(2, 0.5)], rtol=1e-15)
    assert fb.complex(tensor([1.0]), tensor([-2.0])).tolist() == [1 - 2j]
    replaced = fb.nan_to_num(tensor(joined([NAN, 1, INF], [2, NAN, -INF])), 0.5, 9.0, -9.0)
    assert replaced.tolist() == [0.5 + 2j, 1 + 0.5j, 9 - 9j]


def test_comparisons():
    z, w = tensor([1 + 2j, 3j, complex(NAN, 1)]), tensor([1 + 2j, 3 + 0j, complex(NAN, 1)])
    assert (z == w).tolist() == [True, False, False] and (z != w).tolist() == [False, True, True]
    assert fb.isclose(z, w + 1e-9j, equal_nan=True).tolist() == [True, False, True]
    assert fb.isclose(z, w + 1e-9j).tolist() == [True, False, False]
    assert fb.allclose(z[:1], w[:1] * (1 + 1e-7j)) and not fb.allclose(z[:1], w[:1] * (1 + 1e-3j))
    for refused in (fb.lt, fb.ge, fb.maximum, fb.remainder, fb.floor_divide):
        with pytest.raises(NotImplementedError, match="complex128"):
            refused(z, w)
    for refused in (fb.floor, fb.sign, fb.relu, fb.erf, fb.amax, fb.max, fb.argmin):
        with pytest.raises(NotImplementedError, match="complex"):
            refused(z)
    with pytest.raises(RuntimeError, match="complex"):
        fb.sort(z)


def test_three_operands():
    x, y, z = (tensor(off_axes(20, k)) for k in (6, 7, 8))
    a, b, c = x.numpy(), y.numpy(), z.numpy()
    np.testing.assert_allclose(fb.addcmul(x, y, z, value=2j).numpy(), a + 2j * b * c, rtol=1e-13)
    np.testing.assert_allclose(fb.addcdiv(x, y, z, value=2 - 1j).numpy(), a + (2 - 1j) * b / c, rtol=1e-13)
    np.testing.assert_allclose(fb.addcdiv(x, y, z, value=3).numpy(), a + 3 * b / c, rtol=1e-13)
    np.testing.assert_allclose(fb.add(x, y, alpha=1j).numpy(), a + 1j * b, rtol=1e-13)
    np.testing.assert_allclose(fb.lerp(x, y, z).numpy(), a + c * (b - a), rtol=1e-11)
    mask = tensor(np.arange(20) % 3 == 0)
    assert np.array_equal(fb.where(mask, x, y).numpy(), np.where(mask.numpy(), a, b))
    assert np.array_equal(x.masked_fill(mask, 1 - 1j).numpy(), np.where(mask.numpy(), 1 - 1j, a))
    single = x.to(fb.complex64)
    np.testing.assert_allclose(fb.sub(single, single, alpha=1j).numpy(), single.numpy() * (1 - 1j), rtol=1e-6)


def test_promotion():
    z, z2 = fb.ones(2, dtype=fb.complex64), fb.ones(2, dtype=fb.complex128)
    x, x2, n = fb.ones(2), fb.ones(2, dtype=fb.float64), fb.ones(2, dtype=fb.int64)
    for a, b, dtype in (
        (z, x, fb.complex64), (z, x2, fb.complex128), (z, n, fb.complex64), (z, z2, fb.complex128),
        (x, 1j, fb.complex64),
        (x2, 1j, fb.complex128), (n, 1j, fb.complex64), (z, 1.5, fb.complex64), (z2, 2, fb.complex128),
        (x, fb.tensor(1j, dtype=fb.complex128), fb.complex64), (z, fb.tensor(1.0, dtype=fb.float64), fb.complex64),
    ):  # fmt: skip
        assert (a + b).dtype is (b + a).dtype is (a * b).dtype is fb.result_type(a, b) is dtype, (a, b)
    with pytest.raises(RuntimeError, match="complex64 can't be cast"):
        x.add_(1j)


# ---- gradients
def leaf(count: int = 4, seed: int = 0, real: bool = False) -> fb.Tensor:
    rng = np.random.default_rng(seed)
    x = np.abs(rng.standard_normal(count)) + 0.3 if real else joined(*rng.standard_normal((2, count)))
    return tensor(x).requires_grad_()


ONE = [
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "square", "sin", "cos",
    "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sigmoid", "abs", "angle", "sgn",
    "sinc", "neg", "nan_to_num", "conj", "real", "imag", "view_as_real",
]  # fmt: skip
SEVERAL = {
    "silu": (F.silu, "c"), "softsign": (F.softsign, "c"), "tanhshrink": (F.tanhshrink, "c"),
    "l1_loss": (F.l1_loss, "cc"), "z ** w": (fb.pow, "cc"), "z ** x": (fb.pow, "cr"),
    "x ** z": (fb.pow, "rc"), "z ** 2": (lambda z: z**2, "c"), "z ** -3": (lambda z: z**-3, "c"),
    "z ** 2.5": (lambda z: z**2.5, "c"), "2 ** z": (lambda z: 2**z, "c"), "(1+i) ** z": (lambda z: (1 + 1j) ** z, "c"),
    "z w": (fb.mul, "cc"), "z x": (fb.mul, "cr"), "z / w": (fb.div, "cc"), "x / z": (fb.div, "rc"),
    "x + z": (fb.add, "rc"), "x - (1 - 2i) z": (lambda a, b: fb.sub(a, b, alpha=1 - 2j), "rc"),
    "addcmul": (lambda a, b, c: fb.addcmul(a, b, c, value=1j), "ccc"),
    "addcdiv": (lambda a, b, c: fb.addcdiv(a, b, c, value=2 - 1j), "ccc"), "lerp": (fb.lerp, "ccc"),
    "where": (lambda a, b: fb.where(fb.tensor([True, False, True, False]), a, b), "cr"),
    "polar": (fb.polar, "rr"), "complex": (fb.complex, "rr"), "ldexp": (fb.ldexp, "cr"),
    "masked_fill": (lambda z: z.masked_fill(fb.tensor([True, False, True, False]), 1j), "c"),
    "sum": (lambda z: z.sum(), "c"), "mean": (lambda z: z.mean(), "c"), "prod": (lambda z: z.prod(), "c"),
    "norm": (lambda z: z.norm(), "c"), "norm 1": (lambda z: z.norm(1), "c"), "norm 3": (lambda z: z.norm(3), "c"),
    "var": (lambda z: z.var(), "c"), "std": (lambda z: z.reshape(2, 2).std(1), "c"),
    "cumsum": (lambda z: z.cumsum(0), "c"), "cumprod": (lambda z: z.cumprod(0), "c"),
    "matmul": (lambda a, b: a.reshape(2, 2) @ b.reshape(2, 2), "cc"),
    "matmul, mixed": (lambda a, b: (a.reshape(2, 2) + 0j) @ b.reshape(2, 2), "rc"),
    "H": (lambda z: z.reshape(2, 2).H, "c"), "mH": (lambda z: z.reshape(1, 2, 2).mH, "c"),
    "view_as_complex": (lambda x: fb.view_as_complex(x.reshape(2, 2)), "r"), "dot": (fb.dot, "cc"),
    "vdot": (fb.vdot, "cc"), "float_power": (lambda z: fb.float_power(z, 2.5), "c"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*ONE, *SEVERAL])
def test_gradients(name):
    function, kinds = SEVERAL.get(name) or (getattr(fb, name), "c")
    given = [leaf(4, k + 20, kind == "r") for k, kind in enumerate(kinds)]
    assert gradcheck(function, given)
    assert gradgradcheck(function, given)


def test_gradients_are_conjugated_as_in_pytorch():
    """As PyTorch 2.13 printed them: the gradient of a real loss is ∂/∂re + i ∂/∂im."""
    z = fb.tensor([1 + 2j], dtype=fb.complex128, requires_grad=True)
    fb.exp(z).real.sum().backward()
    assert abs(z.grad.item() - cmath.exp(1 - 2j)) < 1e-15
    z.grad = None
    (z * z.conj()).real.sum().backward()
    assert z.grad.item() == 2 + 4j
    zero = fb.zeros(1, dtype=fb.complex128, requires_grad=True)
    for f in (fb.abs, fb.angle, fb.sgn, lambda w: fb.zeros(1, dtype=fb.complex128) ** w):
        zero.grad = None
        f(zero).real.sum().backward()
        assert zero.grad.item() == 0
    with pytest.raises(RuntimeError, match="real scalar outputs"):
        fb.exp(z).sum().backward()


# ---- reductions and products
@pytest.mark.parametrize("dtype", [fb.complex64, fb.complex128])
def test_reductions(dtype):
    values = (off_axes(6000, 9) / 2).reshape(20, 300)
    z = tensor(values).to(dtype)
    values = z.numpy().astype(np.complex128)
    tolerance = {"rtol": 3e-6, "atol": 1e-5} if dtype is fb.complex64 else {"rtol": 1e-12, "atol": 1e-13}
    for dim in (0, 1, None):
        for name in ("sum", "mean"):
            np.testing.assert_allclose(
                getattr(z, name)(dim).numpy(), getattr(values, name)(dim), **tolerance, err_msg=f"{name} {dim}"
            )
        np.testing.assert_allclose(z.var(dim).numpy(), values.var(dim, ddof=1), **tolerance)
        np.testing.assert_allclose(z.std(dim).numpy(), values.std(dim, ddof=1), **tolerance)
    np.testing.assert_allclose(z.norm().numpy(), np.linalg.norm(values), **tolerance)
    np.testing.assert_allclose(z.norm(1, 1).numpy(), np.abs(values).sum(1), **tolerance)
    assert z.var().dtype is z.norm().dtype is dtype.to_real()
    units = values[:, :15] / np.abs(values[:, :15])
    np.testing.assert_allclose(tensor(units).to(dtype).prod(1).numpy(), units.prod(1), rtol=1e-5)
    np.testing.assert_allclose(tensor(units).to(dtype).cumprod(1).numpy(), units.cumprod(1), rtol=1e-5)
    np.testing.assert_allclose(z.cumsum(0).numpy(), values.cumsum(0), **(tolerance | {"atol": 1e-5}))
    np.testing.assert_allclose((z @ z.mH).numpy(), values @ values.conj().T, rtol=1e-4, atol=1e-3)
    assert z.count_nonzero().item() == 6000 and z.any() and z.all()


# ---- views, numbers
def test_parts_are_views():
    z = fb.tensor([1 + 2j, 3 - 1j])
    z.real.mul_(2)
    z.imag = fb.tensor([7.0, 8.0])
    assert z.tolist() == [2 + 7j, 6 + 8j] and z.real.data_ptr() == z.data_ptr()
    t = fb.ones(2, 3, dtype=fb.complex64).t()
    t[0].imag.fill_(5)
    assert t.tolist() == [[1 + 5j] * 2, [1] * 2, [1] * 2]
    x = fb.ones(2)
    assert x.real is x
    with pytest.raises(RuntimeError, match="imag"):
        x.imag
    assert not z.is_conj() and z.resolve_conj() is z
    assert fb.view_as_complex(fb.view_as_real(z)).tolist() == z.tolist()


def test_writing_parts_is_recorded():
    """As PyTorch 2.13 printed it."""
    w = fb.tensor([1 + 2j, 3 - 1j], requires_grad=True)
    z = w * 1
    z.real.mul_(3)
    z.imag.add_(1)
    (z * z.conj()).real.sum().backward()
    assert w.grad.tolist() == [18 + 6j, 54]
    x = fb.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    y = x * 1
    fb.view_as_complex(y.reshape(2, 2)).mul_(1 + 2j)
    (y * y * y).sum().backward()
    assert x.grad.tolist() == [123, -6, 675, 150]
    x = fb.tensor([1.0, 2.0], requires_grad=True)
    z = fb.zeros(2, dtype=fb.complex64)
    z.real.copy_(x)
    z.imag = x * x
    z.abs().sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [3 / math.sqrt(2), 18 / math.sqrt(20)], rtol=1e-6)
    z, w.grad = w * 1, None
    before = z.real
    z.mul_(2j)
    before.sum().backward()
    assert w.grad.tolist() == [-2j, -2j]
    with pytest.raises(RuntimeError, match="leaf"):
        w.real.mul_(2)


def test_numbers_in_and_out():
    z = fb.tensor([[1 + 2j, -0.5j]])
    assert z.dtype is fb.complex64 and z.is_complex() and not z.is_floating_point()
    assert z[0, 0].item() == 1 + 2j and z.tolist() == [[1 + 2j, -0.5j]] and complex(z[0, 1]) == -0.5j
    assert fb.full((2,), 1j).tolist() == [1j, 1j] and fb.zeros(1, dtype=fb.complex128).fill_(2 - 1j).tolist() == [
        2 - 1j
    ]
    assert repr(z) == "tensor([[1.+2.0000j, -0.-0.5000j]])"
    with pytest.raises(TypeError, match="complex"):
        float(z[0, 0])


def test_random_numbers():
    fb.manual_seed(3)
    for dtype in (fb.complex64, fb.complex128):
        z = fb.randn(40000, dtype=dtype)
        assert z.dtype is dtype
        # Variance 1 in all, half of it in each part, and none in common.
        for value, expected in ((z.real.var(), 0.5), (z.imag.var(), 0.5), ((z.real * z.imag).mean(), 0.0)):
            assert abs(value.item() - expected) < 0.02
        u = fb.rand(1000, dtype=dtype)
        for part in (u.real, u.imag):
            assert part.min() >= 0 and part.max() < 1 and abs(part.mean().item() - 0.5) < 0.05
    fb.manual_seed(3)
    again = fb.randn(40000, dtype=fb.complex64)
    fb.manual_seed(3)
    assert (fb.randn(40000, dtype=fb.complex64) == again).all()
    around = fb.zeros(1000, dtype=fb.complex64).normal_(2, 0.1)
    assert abs(around.mean().item() - 2) < 0.02


# ---- what renderers are given
def test_every_function_becomes_real_arithmetic():
    for name in FUNCTIONS:
        args = tuple(var(n, "c64") for n in "zw"[: NAMES.get(name, 1)])
        (made,) = lower((node(name, "c64", args),))
        touching = {x.op for x in postorder(made) if x.dtype in ("c64", "c128")}
        assert made.op == "complex" and touching == {"complex", "var"}, name


def test_bits_depend_on_nothing_but_the_number():
    """Vector bodies, remainders, strides and threads give the same bits."""
    z = tensor(np.concatenate([GRID, off_axes(70)])).to(fb.complex64)
    for name in (*NUMPY, "expm1", "log1p", "sigmoid"):
        f = getattr(fb, name)
        whole = pairs(f(z).numpy())
        singly = pairs(np.concatenate([f(z[k : k + 1]).numpy() for k in range(0, len(z), 7)]))
        apart = pairs(f(fb.stack([z, z], 1)[:, 1]).numpy())
        assert np.array_equal(whole[::7], singly, equal_nan=True), name
        assert np.array_equal(whole, apart, equal_nan=True), name
