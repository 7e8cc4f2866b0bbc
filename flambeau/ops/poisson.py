"""Numbers from Poisson distributions, each with a rate of its own.

Imports core, ir and neighbours in ops. Read next: `random.py` (the stream), `distributions.py`.
"""

from __future__ import annotations

import math

from ..core import _core
from ..core._core import DTYPES, Tensor, new_empty
from ..ir.expr import cast, const, exp, load, minimum, var, where
from ..ir.kernel import Accumulator, Buffer, For, Kernel, Let, Reduce, Scalar, Store
from .basic import new_like
from .primitive import generated
from .random import GRAIN, Generator, current_generator, draw, philox, uniform01
from .table import TABLE

FLOAT64 = DTYPES[9]
# Rates above this are drawn from a normal distribution.
LARGE = 500.0


@generated
def inversion(dtype: str) -> Kernel:
    """y[i] = how many of the sums Σ_{j < k} e^-r r^j / j!, k = 1 … terms, lie below a number drawn from [0, 1)."""
    i, k = var("i"), var("k")
    u, rate = var("u", "f64"), var("rate", "f64")
    term, total, count = var("term", "f64"), var("total", "f64"), var("count", "f64")
    first = exp(-rate)
    next_term = term * rate / cast(k, "f64")
    steps = next_term, total + next_term, count + where(total < u, const(1.0, "f64"), const(0.0, "f64"))
    starts = Accumulator(term, first), Accumulator(total, first), Accumulator(count, const(0.0, "f64"))
    body = (
        Let(u, uniform01(philox(var("seed"), var("call"), i), "f64")),
        Let(rate, minimum(cast(load("rates", dtype, i), "f64"), const(LARGE, "f64"))),
        Reduce(k, const(1, "i64"), var("terms"), starts, steps, lanes=1),
        Store("y", i, cast(cast(count, "f32"), dtype)),
    )
    loop = For(i, const(0, "i64"), var("n"), body, parallel=True, vector=True)
    numbers = (Scalar("seed"), Scalar("call"), Scalar("terms"), Scalar("n"))
    return Kernel("poisson", (Buffer("y", dtype, "w"), Buffer("rates", dtype), *numbers), (loop,))


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Whole numbers drawn from Poisson distributions with the given rates, by inversion in float64.

    Rates above 500 are drawn from the normal distribution with the same mean and variance, rounded.

    >>> _ = fb.manual_seed(0)
    >>> fb.poisson(fb.tensor([1.0, 10.0, 100.0]))
    tensor([ 1., 16., 80.])
    """
    if not input.is_floating_point():
        raise NotImplementedError(f"poisson: rates are floating numbers, got {input.dtype}; use x.float()")
    rates = input.detach().contiguous()
    if not bool((rates >= 0).all()):
        raise RuntimeError("poisson: rates must be 0 or more, got some that are negative or nan; clamp them first")
    y, n = _core.announce(_core.DRAW, new_like(rates, rates.dtype)), rates.numel()
    key, call = (generator or current_generator()).draw()
    largest = rates.amax().item() if n else 0.0
    bound = min(largest, LARGE)
    # That as many more come is less likely than 2^-60, so no number that is drawn tells.
    terms = math.ceil(bound + 10 * math.sqrt(bound)) + 20
    _core.launch(inversion(rates.dtype.ir), (y, rates, key, call, terms, n), n, GRAIN, n * terms)
    normal = draw(new_empty(rates.shape, FLOAT64), "normal", 0, 1, generator) if largest > LARGE else None
    if normal is None:
        return y
    wide = rates.double()
    rounded = TABLE["maximum"]((wide + wide.sqrt() * normal).round(), 0.0)
    return TABLE["where"](rates > LARGE, rounded.to(rates.dtype), y)


__all__ = ["poisson"]
