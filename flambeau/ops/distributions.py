"""Numbers drawn from distributions with parameters of their own, each checked before anything is drawn.

Imports core and neighbours in ops. Read next: `random.py` (the stream and the kernels).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import index

from ..core import _core
from ..core._core import Tensor, new_empty
from .arguments import holds
from .basic import to_dtype
from .factories import default, finish
from .random import EXACT, LARGEST, Generator, bounds, draw, draw_integers, rand, randn
from .recall import recalled
from .table import TABLE


def check_uniform(self: Tensor, low: float, high: float) -> str | None:
    largest = LARGEST.get(self.dtype.to_real().ir, math.inf)
    if not (abs(low) <= largest and abs(high) <= largest):
        return f"from and to must be finite numbers of {self.dtype}, got {low} and {high}"
    if low > high:
        return f"from must not be above to, got {low} and {high}"
    return f"to - from is beyond {self.dtype}'s largest number, got {low} and {high}" if high - low > largest else None


def at_least_zero(name: str, value: float) -> str | None:
    return None if value >= 0 else f"{name} must be 0 or more, got {value}"


def above_zero(name: str, value: float) -> str | None:
    return None if value > 0 else f"{name} must be above 0, got {value}"


def probability(p: float) -> str | None:
    return None if 0 <= p <= 1 else f"p is a probability between 0 and 1, got {p}"


# Distribution -> names and defaults of its parameters, and what is wrong with values of them (None: nothing).
PARAMETERS: dict[str, tuple[dict[str, float], Callable[..., str | None]]] = {
    "uniform": ({"from": 0, "to": 1}, check_uniform),
    "normal": ({"mean": 0, "std": 1}, lambda self, mean, std: at_least_zero("std", std)),
    "log_normal": ({"mean": 1, "std": 2}, lambda self, mean, std: above_zero("std", std)),
    "exponential": ({"lambd": 1}, lambda self, rate: above_zero("lambd", rate)),
    "cauchy": ({"median": 0, "sigma": 1}, lambda self, median, sigma: above_zero("sigma", sigma)),
    "geometric": (
        {"p": 0.5},
        lambda self, p: None if 0 < p < 1 else f"p must be between 0 and 1, without them, got {p}",
    ),
}


# What docstrings say: the densities, and the medians.
DENSITIES = {
    "uniform": ": even on [from, to)",
    "normal": ": exp(-(x - mean)² / 2 std²) / √(2π) std",
    "log_normal": ": eˣ of normal x, whose mean and std are given",
    "exponential": ": λ exp(-λ x), x ≥ 0",
    "cauchy": ": 1 / πσ (1 + ((x - median) / σ)²)",
    "geometric": ": p (1 - p)ᵏ⁻¹, k = 1, 2, …",
}
MEDIANS = {"uniform": 0.5, "normal": 0.0, "log_normal": 2.718, "exponential": 0.693, "cauchy": 0.0, "geometric": 1.0}


def filling(name: str) -> Callable[..., Tensor]:
    defaults, wrong = PARAMETERS[name]

    def method(self: Tensor, *args: float, generator: Generator | None = None, **kwargs: float) -> Tensor:
        if len(args) > len(defaults):
            raise TypeError(f"{name}_: takes {len(defaults)} numbers {tuple(defaults)}, got {len(args)}")
        values = defaults | dict(zip(defaults, args, strict=False))
        for key, value in kwargs.items():
            if key not in values:
                raise TypeError(f"{name}_: unexpected argument {key!r}; it takes {tuple(defaults)}")
            values[key] = value
        fault = wrong(self, *values.values())
        if fault is not None:
            raise RuntimeError(f"{name}_: {fault}")
        if self.requires_grad and _core.is_grad_enabled():
            if self.is_leaf:
                raise RuntimeError(
                    f"{name}_: a leaf that requires grad can't be changed in place; use flambeau.no_grad()"
                )
            self.zero_()  # What was there has no influence any more, which the tape is to know.
        a, b = (*values.values(), 0)[:2]
        draw(self.detach(), name, a, b, generator)
        return self

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"""Fills the tensor with numbers drawn from the {name} distribution{DENSITIES[name]}; returns it.

    >>> x, same = fb.empty(1000), fb.empty(1000)
    >>> _ = x.{name}_(generator=fb.Generator().manual_seed(0))
    >>> abs(x.median().item() - {MEDIANS[name]}) < 0.1, x.equal(same.{name}_(generator=fb.Generator().manual_seed(0)))
    (True, True)
    """
    return method


@recalled
def normal(
    mean, std=1.0, size=None, *, generator=None, out=None, dtype=None, device=None, requires_grad=False
) -> Tensor:
    """Normal numbers with given means and standard deviations, numbers or tensors.

    >>> fb.normal(0.0, 0.0, (2,))
    tensor([0., 0.])
    """
    tensors = [x for x in (mean, std) if isinstance(x, Tensor)]
    if std.lt(0).any() if isinstance(std, Tensor) else not std >= 0:
        raise RuntimeError(f"normal: std must be 0 or more, got {'some below' if isinstance(std, Tensor) else std}")
    if tensors:
        if not all(x.is_floating_point() or x.is_complex() for x in tensors):
            raise NotImplementedError(f"normal: takes floating tensors, got {tensors[0].dtype}; use x.float()")
        shape = _core.broadcast_shapes(*(x.shape for x in tensors))
        return finish(mean + std * randn(shape, generator=generator, dtype=tensors[0].dtype), False, out)
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"normal: a mean and a std that are numbers need a size, such as (2, 3), got {size!r:.50}")
    made = new_empty(tuple(size), default(dtype, out))
    return finish(draw(made, "normal", mean, std, generator), requires_grad, out)


@recalled
def bernoulli(input, p=None, *, generator=None, out=None) -> Tensor:
    """1 with the probability that each element of input (or p) gives, else 0.

    Raises RuntimeError for what is no probability.

    >>> fb.bernoulli(fb.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    if p is None:
        if not input.is_floating_point():
            raise NotImplementedError(
                f"bernoulli: probabilities are floating numbers, got {input.dtype}; use x.float()"
            )
        p = input.detach()
        fault = None if holds((p >= 0) & (p <= 1)) else "input has elements that are no probabilities, 0 to 1"
    else:
        fault = probability(p)
    if fault is not None:
        raise RuntimeError(f"bernoulli: {fault}")
    u = rand(input.shape, generator=generator, dtype=input.dtype if input.is_floating_point() else None)
    return finish(to_dtype(TABLE["lt"](u, p), input.dtype), False, out)


def bernoulli_(self, p=0.5, *, generator=None) -> Tensor:
    """Fills the tensor with 1 with probability p, else 0; returns it.

    >>> _ = fb.manual_seed(0)
    >>> fb.empty(6).bernoulli_(0.5)
    tensor([1., 0., 1., 0., 0., 1.])
    """
    if isinstance(p, Tensor):
        return self.copy_(bernoulli(p.expand(self.shape), generator=generator))
    fault = probability(p)
    if fault is not None:
        raise RuntimeError(f"bernoulli_: {fault}")
    return draw(self, "bernoulli", p, 0, generator)


def random_(self, *limits: int, generator: Generator | None = None, **named: int) -> Tensor:
    """Fills the tensor with whole numbers drawn evenly: random_(to), random_(from, to), or all that the dtype holds.

    >>> _ = fb.manual_seed(0)
    >>> fb.empty(4).random_(1, 7)
    tensor([3., 6., 1., 5.])
    """
    given = [*limits, *(named[key] for key in ("from", "to") if key in named)]
    if len(given) > 2 or named.keys() - {"from", "to"}:
        raise TypeError(f"random_: takes (to) or (from, to), got {(*limits, *named)}")
    if not given:
        largest = EXACT.get(self.dtype.ir) or bounds(self)[1]
        return draw_integers(self, 0, int(largest) + 1, generator)
    low, high = (0, *given)[-2:]
    return draw_integers(self, index(low), index(high), generator)


for _name in PARAMETERS:
    setattr(Tensor, f"{_name}_", recalled(filling(_name)))
Tensor.bernoulli_, Tensor.random_, Tensor.bernoulli = bernoulli_, random_, bernoulli

__all__ = ["bernoulli", "normal"]
