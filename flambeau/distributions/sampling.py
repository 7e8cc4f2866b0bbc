"""Samplers that reject: gamma, beta, Dirichlet, Poisson, binomial and von Mises.

Element i of the c-th call takes its numbers of attempt k from Philox at (seed, c, k, i), so that neither threads nor
what other elements did change them; only elements still without a value try again, and after ATTEMPTS all have one.
Imports ops. Read next: `implicit.py`, the derivatives of gamma and beta samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.core import _core
from flambeau.distributions.implicit import beta_slope, gamma_slope
from flambeau.ir.expr import as_expr, const, load, node, var
from flambeau.ir.kernel import Buffer, For, Kernel, Let, Scalar, Store
from flambeau.ops.primitive import generated, primitive
from flambeau.ops.random import Generator, current_generator, normal01, philox, uniform01

GRAIN = 4096
# Of each sampler's attempts at least two in three succeed, so that 1 in 10³⁰ elements would need more.
ATTEMPTS = 64


@generated
def draws_kernel(gathered: bool) -> Kernel:
    """A standard normal number and two uniform ones for attempt k of each element."""
    i = var("i")
    element = load("elements", "i64", i) if gathered else i
    # The attempt stands in the upper bits of the call's counter, which calls don't reach.
    call = var("call") + node("shl", "i64", (var("attempt") * 2, as_expr(40)))
    second = philox(var("seed"), call + node("shl", "i64", (const(1, "i64"), as_expr(40))), var("element"))
    body = (
        Let(var("element"), element),
        Store("normal", i, normal01(philox(var("seed"), call, var("element")), "f64")),
        Store("u", i, uniform01(second[:2], "f64")),
        Store("v", i, uniform01(second[2:], "f64")),
    )
    buffers = [Buffer(name, "f64", "w") for name in ("normal", "u", "v")] + [Buffer("elements", "i64")] * gathered
    scalars = [Scalar(name) for name in ("seed", "call", "attempt", "n")]
    loop = For(i, const(0, "i64"), var("n"), body, parallel=True, vector=True)
    return Kernel("random_attempt", (*buffers, *scalars), (loop,))


def draws(elements: Tensor | None, n: int, seed: int, call: int, attempt: int) -> tuple[Tensor, Tensor, Tensor]:
    """(standard normal, uniform, uniform) for an attempt of n elements, those at `elements` or the first n."""
    made = tuple(fb.empty(n, dtype=fb.float64) for _ in range(3))
    gathered = () if elements is None else (elements,)
    _core.launch(draws_kernel(elements is not None), (*made, *gathered, seed, call, attempt, n), n, GRAIN, n)
    return made  # type: ignore[return-value]


def rejection(propose: Callable[..., tuple[Tensor, Tensor]], key: int, call: int, *parameters: Tensor) -> Tensor:
    """One float64 value for each element of the flat parameters.

    propose(normal, u, v, *parameters) returns (value, accepted), and sees only the elements that have no value yet.
    """
    n = parameters[0].numel()
    out, accepted = propose(*draws(None, n, key, call, 0), *parameters)
    pending = (~accepted).nonzero().reshape(-1)
    for attempt in range(1, ATTEMPTS):
        if not pending.numel():
            break
        here = [p[pending] for p in parameters]
        value, accepted = propose(*draws(pending, pending.numel(), key, call, attempt), *here)
        out[pending[accepted]] = value[accepted]
        pending = pending[~accepted]
    return out


def log_gamma_sample(alpha: Tensor, key: int, call: int) -> Tensor:
    """log of standard gamma samples, in float64, so that those of a small alpha don't vanish."""
    flat = alpha.detach().double().reshape(-1)
    small = flat < 1
    d = fb.where(small, flat + 1, flat) - 1 / 3

    def propose(x: Tensor, u: Tensor, _: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
        """Marsaglia, Tsang: A Simple Method for Generating Gamma Variables (ACM TOMS 2000)."""
        root = 1 + x / (9 * d).sqrt()
        v = root.clamp(min=1e-300) ** 3
        found = (root > 0) & ((1 - u).log() < 0.5 * x * x + d * (1 - v + v.log()))
        return d.log() + v.log(), found

    out = rejection(propose, key, call, d)
    if bool(small.any()):  # X(alpha) is X(alpha + 1) U^(1 / alpha); U is one that no attempt drew
        u = draws(None, flat.numel(), key, call, ATTEMPTS)[1]
        out = out + fb.where(small, (1 - u).log() / flat, 0.0)
    return out.reshape(alpha.shape)


def as_sample(value: Tensor, like: Tensor) -> Tensor:
    """A positive float64 value in the dtype of `like`, not below its least normal number."""
    return value.clamp(min=fb.finfo(like.dtype).tiny).to(like.dtype)


def gamma_vjp(ctx: Any, g: Tensor) -> Tensor:
    alpha, sample = ctx.saved
    return g * gamma_slope(alpha, sample)


@primitive(gamma_vjp, name="standard_gamma")
def gamma_samples(ctx, alpha, key, call):
    """The samples of a call; see `standard_gamma`."""
    y = as_sample(log_gamma_sample(alpha, key, call).exp(), alpha)
    ctx.save(alpha, y)
    return y


def standard_gamma(alpha: Tensor, generator: Generator | None = None) -> Tensor:
    """Samples of Gamma(alpha, 1), differentiable in alpha by the implicit function theorem.

    >>> fb.distributions.sampling.standard_gamma(fb.tensor([1e8])).sub(1e8).abs().lt(1e5)
    tensor([True])
    """
    return gamma_samples(alpha, *(generator or current_generator()).draw())


def dirichlet_vjp(ctx: Any, g: Tensor) -> Tensor:
    # Each component is Beta(alpha_i, the others' sum) and the others share the rest in proportions that stay.
    alpha, x = ctx.saved
    slope = beta_slope(alpha, alpha.sum(-1, keepdim=True) - alpha, x)
    others = (1 - x).clamp(min=fb.finfo(x.dtype).tiny)
    return slope / others * (g - (g * x).sum(-1, keepdim=True))


@primitive(dirichlet_vjp, name="sample_dirichlet")
def dirichlet_samples(ctx, alpha, key, call):
    """The samples of a call; see `sample_dirichlet`."""
    y = as_sample(fb.softmax(log_gamma_sample(alpha, key, call), -1), alpha)
    ctx.save(alpha, y)
    return y


def sample_dirichlet(alpha: Tensor, generator: Generator | None = None) -> Tensor:
    """Samples of Dirichlet(alpha) over the last dimension, differentiable in alpha.

    >>> fb.distributions.sampling.sample_dirichlet(fb.tensor([[2.0, 3.0]])).sum(-1)
    tensor([1.])
    """
    return dirichlet_samples(alpha, *(generator or current_generator()).draw())


@primitive(name="sample_by_rejection")
def rejection_samples(ctx, parameters, key, call, name):
    """Samples without gradients, with the parameters of the distribution `name` along the last dimension."""
    columns = parameters.detach().double().reshape(-1, parameters.shape[-1]).unbind(1)
    values = SAMPLERS[name](key, call, *(c.contiguous() for c in columns))
    return values.reshape(parameters.shape[:-1]).to(parameters.dtype)


def sampler(name: str) -> Callable[..., Tensor]:
    """The function of a distribution's parameters, which broadcast, that draws from it."""

    def sample(*parameters: Tensor, generator: Generator | None = None) -> Tensor:
        together = fb.stack(fb.broadcast_tensors(*(p.detach() for p in parameters)), -1)
        return rejection_samples(together, *(generator or current_generator()).draw(), name)

    sample.__name__ = sample.__qualname__ = "sample_" + name
    sample.__doc__ = f"Samples of the {name} distribution, without gradients."
    return sample


def poisson(key: int, call: int, mean: Tensor) -> Tensor:
    """Poisson's distribution: by inversion for means below 10, else by transformed rejection.

    Source: Hörmann, The transformed rejection method for generating Poisson random variables (1993), algorithm PTRS.
    """

    def propose(_: Tensor, u: Tensor, v: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        large = mean.clamp(min=10)
        b = 0.931 + 2.53 * large.sqrt()
        a = -0.059 + 0.02483 * b
        centred = u - 0.5
        us = 0.5 - centred.abs()
        k = ((2 * a / us + b) * centred + large + 0.43).floor()
        ratio = (1.1239 + 1.1328 / (b - 3.4)) / (a / (us * us) + b)
        likely = ((1 - v) * ratio).log() <= k * large.log() - large - fb.lgamma(k.clamp(min=0) + 1)
        inside = (k >= 0) & (us > 0) & ((us >= 0.013) | ((1 - v) <= us))
        return fb.where(mean < 10, inverted(u, mean.clamp(max=10)), k), (mean < 10) | (inside & likely)

    return rejection(propose, key, call, mean)


def inverted(u: Tensor, mean: Tensor) -> Tensor:
    """The least k whose Poisson distribution function exceeds u, for means up to 10."""
    term = (-mean).exp()
    total, k = term, fb.zeros_like(u)
    for j in range(1, 64):
        beyond = u >= total
        if not bool(beyond.any()):
            break
        k = k + beyond
        term = term * mean / j
        total = total + term
    return k


def binomial(key: int, call: int, count: Tensor, probs: Tensor) -> Tensor:
    """The binomial distribution: by inversion for means below 10, else by transformed rejection.

    Source: Hörmann, The generation of binomial random variates (1993), algorithm BTRS.
    """

    def propose(_: Tensor, u: Tensor, v: Tensor, n: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        small = n * q < 10
        size, p = fb.where(small, 20.0, n), fb.where(small, 0.5, q)
        spread = (size * p * (1 - p)).sqrt()
        b = 1.15 + 2.53 * spread
        a = -0.0873 + 0.0248 * b + 0.01 * p
        centred = u - 0.5
        us = 0.5 - centred.abs()
        k = ((2 * a / us + b) * centred + size * p + 0.5).floor()
        inside = (k >= 0) & (k <= size) & (us > 0)
        m, at = ((size + 1) * p).floor(), fb.minimum(k.clamp(min=0), size)
        ratio = (2.83 + 5.1 / b) * spread / (a / (us * us) + b)
        bound = fb.lgamma(m + 1) + fb.lgamma(size - m + 1) - fb.lgamma(at + 1) - fb.lgamma(size - at + 1)
        likely = ((1 - v) * ratio).log() <= bound + (at - m) * (p / (1 - p)).log()
        return fb.where(small, counted(u, n, q), k), small | (inside & likely)

    k = rejection(propose, key, call, count, fb.minimum(probs, 1 - probs))
    return fb.where(probs > 0.5, count - k, k)


def counted(u: Tensor, n: Tensor, p: Tensor) -> Tensor:
    """The least k whose binomial distribution function exceeds u, for n p below 10."""
    p = fb.where(n * p < 10, p, 0.0)
    term = (n * fb.log1p(-p)).exp()
    total, k, odds = term, fb.zeros_like(u), p / (1 - p)
    for j in range(1, 64):
        beyond = (u >= total) & (n >= j)
        if not bool(beyond.any()):
            break
        k = k + beyond
        term = term * (n - j + 1).clamp(min=0) / j * odds
        total = total + term
    return k


def von_mises(key: int, call: int, kappa: Tensor) -> Tensor:
    """Angles around 0. Source: Best, Fisher: Efficient Simulation of the von Mises Distribution (1979)."""
    tau = 1 + (1 + 4 * kappa * kappa).sqrt()
    rho = (tau - (2 * tau).sqrt()) / (2 * kappa)
    # Below 1e-5 the difference above cancels, above 1e6 it does again; series stand in.
    ratio = fb.where(kappa < 1e-5, 1 / kappa + kappa, (1 + rho * rho) / (2 * rho))
    ratio = fb.where(kappa > 1e6, 1 + 0.5 / kappa, ratio)

    def propose(x: Tensor, u: Tensor, v: Tensor, kappa: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        z = (math.pi * u).cos()
        f = (1 + r * z) / (r + z)
        c = kappa * (r - f)
        accepted = (c * (2 - c) - (1 - v) > 0) | ((c / (1 - v)).log() + 1 - c >= 0)
        # The sign of an independent number decides on which side the angle lies.
        return f.clamp(-1, 1).arccos() * fb.where(x < 0, -1.0, 1.0), accepted

    return rejection(propose, key, call, kappa, ratio)


SAMPLERS: dict[str, Callable[..., Tensor]] = {"poisson": poisson, "binomial": binomial, "von_mises": von_mises}
sample_poisson, sample_binomial, sample_von_mises = (sampler(name) for name in SAMPLERS)
