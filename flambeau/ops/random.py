"""Random numbers: Philox 4x32 of (seed, call, element), so that they are the same with any number of threads.

Element i of the c-th call under a seed is a function of (seed, c, i) alone. Imports core, ir and neighbours in ops.
Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011).
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from operator import index
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor, new_empty
from ..ir import expr as E
from ..ir.expr import Expr, cast, const, var, where
from ..ir.kernel import Buffer, For, Kernel, Let, Scalar, Store
from .basic import new_like, to_dtype
from .factories import check_place, default, finish, sizes
from .primitive import generated, primitive
from .recall import recalled
from .shape import view_as_real

INT64 = DTYPES[5]
GRAIN = 8192


class Generator(_core.Stream):
    """A stream of random numbers: a seed, and how many calls have drawn from it.

    >>> g = fb.Generator().manual_seed(1)
    >>> fb.rand(2, generator=g).equal(fb.rand(2, generator=fb.Generator().manual_seed(1)))
    True
    """

    def __init__(self, device: Any = "cpu") -> None:
        check_place("Generator", device)
        self.device = _core.device(device)
        self._seed = 67280421310721
        self.calls = 0

    def manual_seed(self, seed: int) -> Generator:
        """Starts the stream of `seed`, from -2^63 to 2^64 - 1; negative ones count from 2^64 down.

        >>> fb.rand(2, generator=fb.Generator().manual_seed(0))
        tensor([0.3990, 0.9722])
        """
        if not -(2**63) <= int(seed) < 2**64:
            raise ValueError(f"manual_seed: a seed is a whole number from -2^63 to 2^64 - 1, got {seed}")
        self._seed = int(seed) & (2**64 - 1)
        self.calls = 0
        return self

    def seed(self) -> int:
        """Starts the stream of a seed that the system draws; returns the seed.

        >>> g = fb.Generator()
        >>> g.seed() == g.initial_seed()
        True
        """
        self.manual_seed(int.from_bytes(os.urandom(8), "little") >> 1)
        return self._seed

    def initial_seed(self) -> int:
        """The seed whose stream this is.

        >>> fb.Generator().manual_seed(7).initial_seed()
        7
        """
        return self._seed

    def get_state(self) -> Tensor:
        """Seed and calls, as 16 bytes in a uint8 tensor.

        >>> fb.Generator().get_state().shape
        flambeau.Size([16])
        """
        return _core.from_nested(list(self._seed.to_bytes(8, "little") + self.calls.to_bytes(8, "little")), DTYPES[1])

    def set_state(self, state: Tensor) -> Generator:
        """Goes back to where `get_state` was asked.

        >>> g = fb.Generator()
        >>> state, drawn = g.get_state(), fb.rand(3, generator=g)
        >>> fb.equal(drawn, fb.rand(3, generator=g.set_state(state)))
        True
        """
        raw = bytes(state.tolist())
        if len(raw) != 16:
            raise RuntimeError(f"set_state: a state has 16 bytes, got {len(raw)}")
        self._seed, self.calls = int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little")
        return self

    def __reduce__(self) -> tuple:
        return type(self), (self.device,), self.get_state()

    def __setstate__(self, state: Tensor) -> None:
        self.set_state(state)


def signed(x: int) -> int:
    return x - 2**64 if x >= 2**63 else x


default_generator = Generator()
_core.set_default_stream(default_generator)


class Source(threading.local):
    """Where calls without a generator draw from in this thread: a function that returns one, None for the default."""

    function: Callable[[], Generator] | None = None


_source = Source()


def current_generator() -> Generator:
    """The generator that calls without one draw from."""
    return default_generator if _source.function is None else _source.function()


_core.set_hook("stream", current_generator)


def swap_source(function: Callable[[], Generator] | None) -> Callable[[], Generator] | None:
    """Sets what calls without a generator draw from in this thread; returns what it was."""
    before, _source.function = _source.function, function
    _core.set_sourced(function is not None)
    return before


def manual_seed(seed: int) -> Generator:
    """Starts the default generator's stream of `seed`.

    >>> _ = fb.manual_seed(7)
    >>> a = fb.rand(3)
    >>> _ = fb.manual_seed(7)
    >>> fb.equal(a, fb.rand(3))
    True
    """
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Starts the default generator's stream of a seed that the system draws; returns the seed.

    >>> drawn = fb.seed()
    >>> drawn == fb.initial_seed()
    True
    """
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator.

    >>> _ = fb.manual_seed(7)
    >>> fb.initial_seed()
    7
    """
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's state: bytes, for `set_rng_state`.

    >>> state = fb.get_rng_state()
    >>> state.dtype
    flambeau.uint8
    """
    return default_generator.get_state()


def set_rng_state(state: Tensor) -> None:
    """Takes the default generator back to a state that `get_rng_state` returned.

    >>> state = fb.get_rng_state()
    >>> a = fb.rand(2)
    >>> fb.set_rng_state(state)
    >>> fb.equal(a, fb.rand(2))
    True
    """
    default_generator.set_state(state)


def philox(key: Expr, call: Expr, index: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    """Four u32 Exprs: Philox 4x32 with 10 rounds of counter (index, call) under key, all three i64.

    Words are the lower halves of u64 Exprs whose upper halves may hold anything: a vector instruction multiplies just
    the lower halves, so nothing is ever widened or narrowed.
    """
    half, lower = const(32, "u64"), const(0xFFFFFFFF, "u64")

    def halves(x: Expr) -> tuple[Expr, Expr]:
        return cast(x, "u64"), cast(x, "u64") >> half

    def multiplied(m: int, x: Expr) -> Expr:
        return const(m, "u64") * (x & lower)

    k0, k1 = halves(key)
    (c0, c1), (c2, c3) = halves(index), halves(call)
    for _ in range(10):
        p0, p1 = multiplied(0xD2511F53, c0), multiplied(0xCD9E8D57, c2)
        c0, c1, c2, c3 = (p1 >> half) ^ (c1 ^ k0), p1, (p0 >> half) ^ (c3 ^ k1), p0
        k0, k1 = k0 + const(0x9E3779B9, "u64"), k1 + const(0xBB67AE85, "u64")
    return cast(c0, "u32"), cast(c1, "u32"), cast(c2, "u32"), cast(c3, "u32")


def uniform01(words: tuple[Expr, ...], dtype: str) -> Expr:
    """A number in [0, 1): 24 random bits for f32, 53 for f64."""
    if dtype == "f64":
        high, low = (cast(w >> const(s, "u32"), "f64") for w, s in ((words[0], 5), (words[1], 6)))
        return (high * 67108864.0 + low) * (2.0**-53)
    return cast(cast(words[0] >> const(8, "u32"), "i32"), "f32") * (2.0**-24)


def normal01(words: tuple[Expr, ...], dtype: str) -> Expr:
    """A standard normal number by Box and Muller: √(-2 ln u) cos 2πv with u in (0, 1]."""
    if dtype == "f64":
        u = 1.0 - uniform01(words[:2], "f64")
        v = uniform01(words[2:], "f64")
    else:
        u, v = 1.0 - uniform01(words, "f32"), uniform01(words[1:], "f32")
    return E.sqrt(E.function("log", u) * -2.0) * E.function("cos", v * (2 * math.pi))


DISTRIBUTIONS = {
    "uniform": lambda w, d, a, b: a + uniform01(w, d) * (b - a),
    "normal": lambda w, d, a, b: a + normal01(w, d) * b,
    "exponential": lambda w, d, a, b: E.function("log", 1.0 - uniform01(w, d)) * (-1.0) / a,
    "cauchy": lambda w, d, a, b: a + E.function("tan", (uniform01(w, d) - 0.5) * math.pi) * b,
    "log_normal": lambda w, d, a, b: E.function("exp", a + normal01(w, d) * b),
    "geometric": lambda w, d, a, b: E.ceil(E.function("log", 1.0 - uniform01(w, d)) / E.function("log1p", -a)),
    "bernoulli": lambda w, d, a, b: where(uniform01(w, d) < a, 1.0, 0.0 * a),
}


@generated
def sampler(name: str, dtype: str) -> Kernel:
    """y[i] drawn from a distribution with two parameters."""
    i = var("i")
    inner = "f64" if dtype in ("f64", "i64", "i32") else "f32"
    words = philox(var("seed"), var("call"), i)
    a, b = cast(var("a", "f64"), inner), cast(var("b", "f64"), inner)
    value = DISTRIBUTIONS[name](words, inner, a, b)
    body = For(i, const(0, "i64"), var("n"), (Store("y", i, cast(value, dtype)),), parallel=True, vector=True)
    params = (
        Buffer("y", dtype, "w"),
        Scalar("seed"),
        Scalar("call"),
        Scalar("a", "f64"),
        Scalar("b", "f64"),
        Scalar("n"),
    )
    return Kernel("random_" + name, params, (body,))


@generated
def integer_sampler(dtype: str) -> Kernel:
    """y[i] drawn evenly from low … low + span - 1: the top of a 64-bit word's product with span."""
    i, span = var("i"), cast(var("span"), "u64")
    w = philox(var("seed"), var("call"), i)
    mask = const(0xFFFFFFFF, "u64")
    high, low = cast(w[0], "u64"), cast(w[1], "u64")
    span_high, span_low = span >> const(32, "u64"), span & mask
    middle = high * span_low + (low * span_low >> const(32, "u64"))
    value = high * span_high + (middle >> const(32, "u64")) + ((middle & mask) + low * span_high >> const(32, "u64"))
    value = cast(cast(value, "i64") + var("low"), "i64")
    value = cast(cast(value, "f32"), dtype) if dtype in ("f16", "bf16") else cast(value, dtype)
    body = For(i, const(0, "i64"), var("n"), (Store("y", i, value),), parallel=True, vector=True)
    params = (Buffer("y", dtype, "w"), Scalar("seed"), Scalar("call"), Scalar("low"), Scalar("span"), Scalar("n"))
    return Kernel("random_integers", params, (body,))


CONTINUOUS = frozenset(DISTRIBUTIONS) - {"geometric", "bernoulli"}
LARGEST = {"f16": 65504.0, "bf16": 3.3895313892515355e38, "f32": 3.4028234663852886e38, "f64": 1.7976931348623157e308}
EXACT = {"f16": 2**11, "bf16": 2**8, "f32": 2**24, "f64": 2**53}  # up to which floats hold every whole number


def bounds(x: Tensor) -> tuple[float, float]:
    """The least and the largest number that x can hold."""
    if x.dtype.ir in LARGEST:
        return -LARGEST[x.dtype.ir], LARGEST[x.dtype.ir]
    bits = 1 if x.dtype.name == "bool" else 8 * x.dtype.itemsize
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if x.dtype.is_signed and bits > 1 else (0, 2**bits - 1)


def draw(out: Tensor, name: str, a: float, b: float, generator: Generator | None) -> Tensor:
    """Fills out, in the order of its elements; a complex normal number's parts share its variance."""
    if name in CONTINUOUS and not (out.is_floating_point() or out.is_complex()):
        raise NotImplementedError(
            f"{name}: draws floating numbers, got {out.dtype}; use randint, or convert afterwards"
        )
    fill(_core.announce(_core.DRAW, out), name, a, b, generator)
    return out


def fill(out: Tensor, name: str, a: float, b: float, generator: Generator | None) -> Tensor:
    if out.is_complex():
        pairs = view_as_real(out.detach())
        if name != "normal":
            fill(pairs, name, a, b, generator)
            return out
        fill(pairs, name, 0, b * math.sqrt(0.5), generator)
        return out if a == 0 else out.add_(a)
    if not out.is_contiguous():
        _core.plain_copy(out, fill(new_empty(out.shape, out.dtype), name, a, b, generator))
        out._bump_version()
        return out
    out._bump_version()
    n = out.numel()
    _core.launch_drawn(sampler(name, out.dtype.ir), (out,), generator, (float(a), float(b), n), n, GRAIN, n)
    return out


def draw_integers(out: Tensor, low: int, high: int, generator: Generator | None) -> Tensor:
    """Fills out with whole numbers low … high - 1. Raises RuntimeError if there are none, or out can't hold them."""
    if high <= low:
        raise RuntimeError(f"random integers: low must be below high, got {low} and {high}")
    least, largest = bounds(out)
    if low < least or high - 1 > largest:
        raise RuntimeError(
            f"random integers: {low} to {high - 1} is out of bounds for {out.dtype}, which holds {least} to {largest}"
        )
    fill_integers(_core.announce(_core.DRAW, out), low, high, generator)
    return out


def fill_integers(out: Tensor, low: int, high: int, generator: Generator | None) -> Tensor:
    if not out.is_contiguous():
        _core.plain_copy(out, fill_integers(new_empty(out.shape, out.dtype), low, high, generator))
        return out
    out._bump_version()
    n = out.numel()
    numbers = low, signed(high - low), n
    _core.launch_drawn(integer_sampler(out.dtype.ir), (out,), generator, numbers, n, GRAIN, n)
    return out


@recalled
def rand(
    *size, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
) -> Tensor:
    """Numbers drawn evenly from [0, 1).

    >>> _ = fb.manual_seed(0)
    >>> bool((fb.rand(1000) < 1).all())
    True
    """
    made = new_empty(sizes("rand", size), default(dtype, out))
    return finish(draw(made, "uniform", 0, 1, generator), requires_grad, out)


@recalled
def randn(
    *size, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
) -> Tensor:
    """Numbers drawn from the normal distribution with mean 0 and variance 1.

    >>> _ = fb.manual_seed(0)
    >>> fb.randn(2, 3)
    tensor([[ 0.7379, -1.7336, -0.0838],
            [-1.5152, -0.8094,  1.0774]])
    """
    made = new_empty(sizes("randn", size), default(dtype, out))
    return finish(draw(made, "normal", 0, 1, generator), requires_grad, out)


@recalled
def randint(
    low, high=None, size=None, *, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False
) -> Tensor:
    """Whole numbers drawn evenly from low … high - 1: randint(high, size) or randint(low, high, size).

    >>> _ = fb.manual_seed(0)
    >>> fb.randint(1, 7, (8,))
    tensor([3, 6, 1, 5, 6, 3, 5, 4])
    """
    if size is None:
        low, high, size = 0, low, high
    if high is None:
        low, high = 0, low
    if not isinstance(size, (tuple, list)):
        raise TypeError(
            f"randint: takes (high, size) or (low, high, size) with a tuple for size, got size {size!r:.50}"
        )
    made = new_empty(tuple(size), default(INT64 if dtype is None and out is None else dtype, out))
    return finish(draw_integers(made, index(low), index(high), generator), requires_grad, out)


@recalled
def rand_like(
    input, *, dtype=None, layout=None, device=None, requires_grad=False, generator=None, memory_format=None
) -> Tensor:
    """Numbers drawn evenly from [0, 1), in another tensor's shape.

    >>> _ = fb.manual_seed(0)
    >>> fb.rand_like(fb.ones(2, 2))
    tensor([[0.3990, 0.9722],
            [0.0194, 0.7874]])
    """
    return finish(draw(new_empty(input.shape, dtype or input.dtype), "uniform", 0, 1, generator), requires_grad)


@recalled
def randn_like(
    input, *, dtype=None, layout=None, device=None, requires_grad=False, generator=None, memory_format=None
) -> Tensor:
    """Standard normal numbers in another tensor's shape.

    >>> _ = fb.manual_seed(0)
    >>> fb.randn_like(fb.ones(2, 2))
    tensor([[ 0.7379, -1.7336],
            [-0.0838, -1.5152]])
    """
    return finish(draw(new_empty(input.shape, dtype or input.dtype), "normal", 0, 1, generator), requires_grad)


@recalled
def randint_like(
    input, low, high=None, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None
) -> Tensor:
    """Whole numbers drawn evenly from low … high - 1, in another tensor's shape.

    >>> _ = fb.manual_seed(0)
    >>> fb.randint_like(fb.ones(4), 10)
    tensor([3., 9., 0., 7.])
    """
    low, high = (0, low) if high is None else (low, high)
    return finish(draw_integers(new_empty(input.shape, dtype or input.dtype), low, high, None), requires_grad)


@generated
def partner_sampler() -> Kernel:
    """y[i] = i, and partners[i] drawn evenly from 0 … i: the top of the product of 64 random bits with i + 1."""
    i = var("i")
    high, low = (cast(w, "u64") for w in philox(var("seed"), var("call"), i)[:2])
    count, word = cast(i + 1, "u64"), const(32, "u64")
    partner = high * count + (low * count >> word) >> word
    stores = (Store("y", i, i), Store("partners", i, cast(partner, "i64")))
    body = For(i, const(0, "i64"), var("n"), stores, parallel=True, vector=True)
    outputs = (Buffer("y", "i64", "w"), Buffer("partners", "i64", "w"))
    return Kernel("partners", (*outputs, Scalar("seed"), Scalar("call"), Scalar("n")), (body,))


@generated
def exchanges() -> Kernel:
    """Exchanges y[i] with y[partners[i]], one after the other, as each looks at what those before have left."""
    i, at = var("i"), var("at")
    here, there = var("here"), var("there")
    body = (
        Let(at, E.load("partners", "i64", i)),
        Let(here, E.load("y", "i64", i)),
        Let(there, E.load("y", "i64", at)),
        Store("y", i, there),
        Store("y", at, here),
    )
    once = For(var("once"), const(0, "i64"), const(1, "i64"), (For(i, const(0, "i64"), var("n"), body),), parallel=True)
    return Kernel("exchanges", (Buffer("y", "i64", "rw"), Buffer("partners", "i64"), Scalar("n")), (once,))


@recalled
def randperm(
    n, *, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
) -> Tensor:
    """The numbers 0 … n - 1 in random order, which are exchanged as R. Durstenfeld has it (Algorithm 235, 1964).

    >>> _ = fb.manual_seed(0)
    >>> fb.randperm(5)
    tensor([2, 1, 0, 3, 4])
    """
    if n < 0:
        raise RuntimeError(f"randperm: n can't be negative, got {n}")
    kind = INT64 if dtype is None and out is None else default(dtype, out)
    largest = EXACT.get(kind.ir) or bounds(new_empty((0,), kind))[1]
    if n - 1 > largest:
        raise RuntimeError(f"randperm: {kind} holds whole numbers up to {largest:g} only, got n = {n}; use int64")
    made, partners = _core.announce(_core.DRAW, new_empty((n,), INT64)), new_empty((n,), INT64)
    _core.launch_drawn(partner_sampler(), (made, partners), generator, (n,), n, GRAIN, n)
    _core.launch(exchanges(), (made, partners, n), 1, 1, n)
    return finish(made if kind is INT64 else to_dtype(made, kind), requires_grad, out)


@generated
def dropout_kernel(dtype: str) -> Kernel:
    """y[i] = x[i] / (1 - p) with probability 1 - p, else 0; the choice is a function of (seed, call, i)."""
    i = var("i")
    inner = "f64" if dtype == "f64" else "f32"
    keep = uniform01(philox(var("seed"), var("call"), i), inner) >= cast(var("p", "f64"), inner)
    x = cast(E.load("x", dtype, i), inner)
    value = where(keep, x * cast(var("scale", "f64"), inner), const(0.0, inner))
    body = For(i, const(0, "i64"), var("n"), (Store("y", i, cast(value, dtype)),), parallel=True, vector=True)
    scalars = (Scalar("seed"), Scalar("call"), Scalar("p", "f64"), Scalar("scale", "f64"), Scalar("n"))
    return Kernel("dropout", (Buffer("x", dtype), Buffer("y", dtype, "w"), *scalars), (body,))


def dropout_vjp(ctx: Any, g: Tensor) -> Tensor:
    return drop(g, ctx.p, ctx.key, ctx.call)


@primitive(dropout_vjp, name="dropout_mask")
def drop(ctx, x, p, key, call):
    """x with elements zeroed by the mask of (key, call); the backward draws the same mask again, so none is kept."""
    ctx.p, ctx.key, ctx.call = p, key, call
    x = x.contiguous()
    y = new_like(x, x.dtype)
    n = x.numel()
    scale = 1.0 / (1.0 - p) if p < 1 else 0.0
    _core.launch(dropout_kernel(x.dtype.ir), (x, y, key, call, float(p), scale, n), n, GRAIN, n)
    return y


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element zeroed with probability p, the others divided by 1 - p; the identity outside training.

    Source: Srivastava et al., Dropout (JMLR 2014).

    >>> fb.ops.dropout(fb.ones(2), 0.5, training=False)
    tensor([1., 1.])
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is a probability, got {p}")
    if not training or p == 0:
        return input
    dropped = drop(input, p, *current_generator().draw())
    return input.copy_(dropped) if inplace else dropped


__all__ = [
    "Generator", "default_generator", "dropout", "get_rng_state", "initial_seed", "manual_seed", "rand", "rand_like",
    "randint", "randint_like", "randn", "randn_like", "randperm", "seed", "set_rng_state",
]  # fmt: skip
