"""How a gamma or a beta sample moves with its shape parameters, at a fixed value of its distribution function.

With F the distribution function and p the density, dx/dα = −(∂F/∂α) / p(x) (the implicit function theorem), where
∂F/∂α = ∫ (∂ log p / ∂α) p dt from either end of the support up to x. Taken from the nearer end, and with the density at
t divided by that at x, nothing under- or overflows; t = x e^(−w) makes both cases one integral over w in (0, ∞),
computed by a double-exponential rule. All in float64, by one kernel each.
Imports ir and ops. Read next: `sampling.py`, which draws the samples.

Source: Figurnov, Mohamed, Mnih: Implicit Reparameterization Gradients (2018); Takahasi, Mori (1974) for the rule.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.core import _core
from flambeau.ir import expr as E
from flambeau.ir.expr import Expr, const, load, maximum, minimum, var, where
from flambeau.ir.kernel import Accumulator, Buffer, For, Kernel, Let, Reduce, Scalar, Statement, Store
from flambeau.ops.primitive import generated, primitive

GRAIN = 256
# Relative errors stay below 1e-6 for α from 0.01 to 1e5; 64 nodes would give 1e-9.
NODES, FIRST, LAST = 40, -3.0, 3.9
TINY = 1e-300


@functools.cache
def rule() -> tuple[Tensor, Tensor]:
    """Nodes w and weights of ∫ f(w) dw over (0, ∞) by w = exp(τ − e^(−τ)) and the trapezoidal rule in τ."""
    step = (LAST - FIRST) / (NODES - 1)
    taus = [FIRST + step * k for k in range(NODES)]
    w = [math.exp(t - math.exp(-t)) for t in taus]
    weights = [step * x * (1 + math.exp(-t)) for x, t in zip(w, taus, strict=True)]
    return fb.tensor(w, dtype=fb.float64), fb.tensor(weights, dtype=fb.float64)


def gamma_integrand(w: Expr) -> tuple[list[Let], Expr]:
    """x (score at x − score at t) p(t) / p(x) dt/dw for Gamma(a, 1), where the score is log t − ψ(a)."""
    a, x, psi = var("a", "f64"), var("x", "f64"), var("psi", "f64")
    # A little above a also from below: from above, a small x decays as exp(−x e^w), which the rule likes less.
    below = x <= a + 1.0
    side = where(below, 1.0, const(-1.0, "f64"))
    bend = maximum(a - x, x - a) + E.sqrt(x * 0.5)
    scale = where(below, 1.0 / minimum(a, bend), minimum(1.0 / bend, 1.0 + E.log1p(1.0 / x)))
    lets = [
        Let(var("side", "f64"), side),
        Let(var("scale", "f64"), scale),
        Let(var("offset", "f64"), psi - E.log(x)),
        Let(var("factor", "f64"), side * x * scale),
    ]
    side, distance = var("side", "f64"), w * var("scale", "f64")
    weight = E.exp(-(side * a * distance) - x * E.expm1(-(side * distance)))
    return lets, (var("offset", "f64") + side * distance) * weight


def beta_integrand(w: Expr) -> tuple[list[Let], Expr]:
    """The same for Beta(a, b), where the score is log t − ψ(a) + ψ(a + b); from above with 1 − t in t's place."""
    a, b, x, psi = (var(n, "f64") for n in ("a", "b", "x", "psi"))
    below = x * (a + b) <= a
    near, far = where(below, a, b), where(below, b, a)  # exponents at the nearer end, and at the other
    y = where(below, x, 1.0 - x)
    rest = 1.0 - y
    slope = maximum(near - (far - 1.0) * y / rest, 0.0) + E.sqrt(maximum(far - 1.0, 0.0) * y * 0.5) / rest
    lets = [
        Let(var("below", "f64"), where(below, 1.0, const(0.0, "f64"))),
        Let(var("near", "f64"), near),
        Let(var("power", "f64"), far - 1.0),
        Let(var("y", "f64"), y),
        Let(var("odds", "f64"), y / rest),
        Let(var("scale", "f64"), 1.0 / minimum(near, maximum(slope, TINY))),
        Let(var("start", "f64"), E.log(x)),
        Let(var("factor", "f64"), y * var("scale", "f64")),
    ]
    distance = w * var("scale", "f64")
    grown = E.log1p(-(var("odds", "f64") * E.expm1(-distance)))  # log of (1 − y e^(−w)) / (1 − y)
    weight = E.exp(var("power", "f64") * grown - var("near", "f64") * distance)
    from_below = psi - var("start", "f64") + distance
    from_above = E.log1p(-(var("y", "f64") * E.exp(-distance))) - psi
    return lets, where(var("below", "f64") > 0.5, from_below, from_above) * weight


INTEGRANDS: dict[str, tuple[tuple[str, ...], Callable[[Expr], tuple[list[Let], Expr]]]] = {
    "gamma": (("a", "x", "psi"), gamma_integrand),
    "beta": (("a", "b", "x", "psi"), beta_integrand),
}


@generated
def slope_kernel(name: str) -> Kernel:
    """y[i] = factor · Σ weight_k · integrand(w_k)."""
    operands, integrand = INTEGRANDS[name]
    i, k, total = var("i"), var("k"), var("total", "f64")
    read = [Let(var(n, "f64"), load(n + "s", "f64", i)) for n in operands]
    lets, value = integrand(load("nodes", "f64", k))
    term = value * load("weights", "f64", k)
    # Where the weight is 0 a distance may be ∞.
    step = total + where(E.eq(term, term), term, 0.0)
    fold = Reduce(k, const(0, "i64"), const(NODES, "i64"), (Accumulator(total, const(0.0, "f64")),), (step,), lanes=1)
    body: tuple[Statement, ...] = (*read, *lets, fold, Store("out", i, total * var("factor", "f64")))
    buffers = [Buffer("out", "f64", "w"), *(Buffer(n + "s", "f64") for n in (*operands, "node", "weight"))]
    loop = For(i, const(0, "i64"), var("n"), body, parallel=True, vector=True)
    return Kernel(name + "_slope", (*buffers, Scalar("n")), (loop,))


def slope(name: str, *operands: Tensor) -> Tensor:
    flat = [x.contiguous() for x in operands]
    out, n = fb.empty(flat[0].shape, dtype=fb.float64), flat[0].numel()
    _core.launch(slope_kernel(name), (out, *flat, *rule(), n), n, GRAIN, n * NODES)
    return out


def once(ctx: Any, g: Tensor) -> Tensor:
    raise NotImplementedError(
        "second derivatives of gamma, beta and Dirichlet samples are not implemented; take first ones without "
        "create_graph, or detach them"
    )


@primitive(once, name="standard_gamma_grad")
def gamma_slope(ctx, alpha, sample):
    """d sample / d alpha for samples of Gamma(alpha, 1), elementwise.

    >>> fb.distributions.implicit.gamma_slope(fb.tensor([1.0]), fb.tensor([1.0]))
    tensor([1.1736])
    """
    a, x = (t.double() for t in fb.broadcast_tensors(alpha, sample))
    return slope("gamma", a, x, fb.digamma(a)).to(sample.dtype)


@primitive(once, name="dirichlet_grad")
def beta_slope(ctx, alpha, beta, sample):
    """d sample / d alpha for samples of Beta(alpha, beta) at a fixed beta, elementwise.

    >>> fb.distributions.implicit.beta_slope(fb.tensor([1.0]), fb.tensor([1.0]), fb.tensor([0.5]))
    tensor([0.3466])
    """
    a, b, x = (t.double() for t in fb.broadcast_tensors(alpha, beta, sample))
    return slope("beta", a, b, x, fb.digamma(a) - fb.digamma(a + b)).to(sample.dtype)


__all__: list[Any] = ["beta_slope", "gamma_slope"]
