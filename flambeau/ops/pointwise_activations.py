"""The activation functions of neural networks, as in torch.nn.functional.

Each takes one tensor and a few numbers. At a kink the derivative is that of the side PyTorch takes, stated here by the
comparison in its gradient. May import ir only. Read next: `pointwise_losses.py`, `pointwise_transcendental.py`.
"""

from __future__ import annotations

import math

from ..ir import expr as E
from ..ir.expr import Expr, exp, expm1, log1p, where
from .define import pointwise, uniform
from .pointwise_arithmetic import abs, kind, parts, sgn
from .pointwise_complex import conj_physical
from .pointwise_transcendental import sigmoid

F = "torch.nn.functional."


@pointwise(samples=uniform(-3, 3), domain="number", inplace=True, grad=lambda g, out, x: (where(out <= 0, 0.0, g),))
def relu(x):
    """max(x, 0). The derivative at 0 is 0.

    >>> fb.relu(fb.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return where(x < 0, 0, x)


def _hardtanh_grad(g: Expr, out: Expr, x: Expr, low: Expr, high: Expr) -> tuple[Expr]:
    return (where((x <= low) | (x >= high), 0.0, g),)


@pointwise(
    samples=uniform(-3, 9),
    like=F + "relu6",
    domain="number",
    grad=lambda g, out, x: _hardtanh_grad(g, out, x, 0, 6),  # type: ignore[arg-type]
)
def relu6(x):
    """min(max(x, 0), 6).

    >>> fb.nn.functional.relu6(fb.tensor([-1.0, 2.0, 9.0]))
    tensor([0., 2., 6.])
    """
    return where(x < 0, 0, where(x > 6, 6, x))


@pointwise(samples=uniform(-3, 3), like=F + "hardtanh", domain="number", grad=_hardtanh_grad)
def hardtanh(x, min_val=-1.0, max_val=1.0):
    """min(max(x, min_val), max_val).

    >>> fb.nn.functional.hardtanh(fb.tensor([-2.0, 0.5]))
    tensor([-1.0000,  0.5000])
    """
    low, high = (E.cast(E.as_expr(bound, x.dtype), x.dtype) for bound in (min_val, max_val))
    return where(x < low, low, where(x > high, high, x))


@pointwise(
    samples=uniform(-3, 3),
    like=F + "leaky_relu",
    domain="float",
    grad=lambda g, out, x, slope: (where(x > 0, g, g * slope),),
)
def leaky_relu(x, negative_slope=0.01):
    """x for positive x, negative_slope · x otherwise.

    >>> fb.nn.functional.leaky_relu(fb.tensor([-1.0, 2.0]), 0.1)
    tensor([-0.1000,  2.0000])
    """
    return where(x > 0, x, x * negative_slope)


def _prelu_grad(g: Expr, out: Expr, x: Expr, weight: Expr) -> tuple[Expr, Expr]:
    return where(x > 0, g, g * weight), where(x > 0, 0.0, g * x)


@pointwise(samples=uniform(-3, 3), like="torch._prelu_kernel", domain="float", grad=_prelu_grad)
def prelu_kernel(x, weight):
    """x for positive x, weight · x otherwise, with a weight for each element (prelu gives one for each channel).

    >>> fb.prelu(fb.tensor([-1.0, 2.0]), fb.tensor([0.25]))
    tensor([-0.2500,  2.0000])
    """
    return where(x > 0, x, weight * x)


@pointwise(
    samples=uniform(-3, 3),
    like=F + "threshold",
    domain="number",
    grad=lambda g, out, x, limit, _: (where(x <= limit, 0.0, g), None, None),
)
def threshold(x, threshold, value):
    """x where it is above the threshold, `value` elsewhere.

    >>> fb.nn.functional.threshold(fb.tensor([-1.0, 2.0]), 1, 20)
    tensor([20.,  2.])
    """
    return where(x <= threshold, value, x)


@pointwise(
    samples=uniform(-3, 3),
    like=F + "elu",
    domain="float",
    grad=lambda g, out, x, alpha: (where(x <= 0, g * (alpha * exp(x)), g),),
)
def elu(x, alpha=1.0):
    """x for positive x, α (eˣ − 1) otherwise (Clevert et al. 2015).

    >>> fb.nn.functional.elu(fb.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """
    return where(x > 0, x, alpha * expm1(x))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@pointwise(
    samples=uniform(-3, 3),
    domain="float",
    grad=lambda g, out, x: (where(x <= 0, g * (SELU_ALPHA * SELU_SCALE * exp(x)), g * SELU_SCALE),),
)
def selu(x):
    """scale · elu(x, α), with the constants that keep mean 0 and variance 1 (Klambauer et al. 2017).

    >>> fb.selu(fb.tensor([-1.0, 2.0]))
    tensor([-1.1113,  2.1014])
    """
    return where(x > 0, x * SELU_SCALE, SELU_ALPHA * SELU_SCALE * expm1(x))


@pointwise(
    samples=uniform(-3, 3),
    domain="float",
    grad=lambda g, out, x, alpha: (where(x <= 0, g * exp(x / alpha), g),),
)
def celu(x, alpha=1.0):
    """x for positive x, α (e^(x/α) − 1) otherwise (Barron 2017).

    >>> fb.celu(fb.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """
    return where(x > 0, x, alpha * expm1(x / alpha))


GELU_BETA, GELU_KAPPA = math.sqrt(2 / math.pi), 0.044715


def _gelu_grad(g: Expr, out: Expr, x: Expr, approximate: str) -> tuple[Expr]:
    if approximate == "tanh":
        t = E.tanh(GELU_BETA * (x + GELU_KAPPA * (x * x * x)))
        slope = GELU_BETA * (1 + 3 * GELU_KAPPA * (x * x))
        return (g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope),)
    below = 0.5 * (1 + E.erf(x * math.sqrt(0.5)))
    density = exp(-0.5 * (x * x)) * (1 / math.sqrt(2 * math.pi))
    return (g * (below + x * density),)


@pointwise(samples=uniform(-3, 3), like=F + "gelu", domain="float", grad=_gelu_grad)
def gelu(x, approximate="none"):
    """x Φ(x), Φ the normal distribution function; or its approximation by tanh (Hendrycks & Gimpel 2016).

    >>> fb.nn.functional.gelu(fb.tensor([-1.0, 2.0]))
    tensor([-0.1587,  1.9545])
    """
    if approximate == "tanh":
        return 0.5 * x * (1 + E.tanh(GELU_BETA * (x + GELU_KAPPA * (x * x * x))))
    if approximate != "none":
        raise ValueError(f"gelu: approximate is 'none' or 'tanh', got {approximate!r}")
    return x * 0.5 * (1 + E.erf(x * math.sqrt(0.5)))


def _silu_grad(g: Expr, out: Expr, x: Expr) -> tuple[Expr]:
    s = sigmoid(x)
    return (g * (s * (1 + x * (1 - s))),)


@pointwise(samples=uniform(-3, 3), like=F + "silu", domain="float+complex", grad=_silu_grad)
def silu(x):
    """x · sigmoid(x), also called swish.

    >>> fb.nn.functional.silu(fb.tensor([-1.0, 2.0]))
    tensor([-0.2689,  1.7616])
    """
    return x * sigmoid(x) if kind(x) == "c" else x / (1 + exp(-x))


def _tanh_softplus(x: Expr) -> Expr:
    """tanh(log(1 + eˣ)) = n / (n + 2) with n = eˣ (eˣ + 2): one exponential, no cancellation. It is 1 beyond 20."""
    e = exp(E.minimum(x, 20.0))
    n = e * (e + 2)
    return n / (n + 2)


def _mish_grad(g: Expr, out: Expr, x: Expr) -> tuple[Expr]:
    t = _tanh_softplus(x)
    return (g * (t + x * (1 - t * t) * sigmoid(x)),)


@pointwise(samples=uniform(-3, 3), like=F + "mish", domain="float", grad=_mish_grad)
def mish(x):
    """x tanh(softplus(x)) (Misra 2019).

    >>> fb.nn.functional.mish(fb.tensor([-1.0, 2.0]))
    tensor([-0.3034,  1.9440])
    """
    return x * _tanh_softplus(x)


def _softplus_grad(g: Expr, out: Expr, x: Expr, beta: Expr, threshold: Expr) -> tuple[Expr]:
    z = x * beta
    return (where(z > threshold, g, g * sigmoid(z)),)


@pointwise(samples=uniform(-3, 3), like=F + "softplus", domain="float", grad=_softplus_grad)
def softplus(x, beta=1.0, threshold=20.0):
    """log(1 + e^(βx)) / β, and x itself where βx is above the threshold.

    >>> fb.nn.functional.softplus(fb.tensor([-1.0, 2.0]))
    tensor([0.3133, 2.1269])
    """
    z = x * beta
    return where(z > threshold, x, log1p(exp(z)) / beta)


def _softsign_grad(g: Expr, out: Expr, x: Expr) -> tuple[Expr]:
    size = abs(x) + 1
    if kind(x) == "c":  # not holomorphic: |x| turns with the other side of x
        return (g / size - parts(g * x)[0] / (size * size) * conj_physical(sgn(x)),)
    return (g / (size * size),)


@pointwise(samples=uniform(-3, 3), like=F + "softsign", domain="number+complex", promote="float", grad=_softsign_grad)
def softsign(x):
    """x / (1 + |x|).

    >>> fb.nn.functional.softsign(fb.tensor([-1.0, 3.0]))
    tensor([-0.5000,  0.7500])
    """
    return x / (abs(x) + 1)


def _tanhshrink_grad(g: Expr, out: Expr, x: Expr) -> tuple[Expr]:
    t = E.tanh(x)
    return (g * (t * t),)


@pointwise(
    samples=uniform(-3, 3), like=F + "tanhshrink", domain="number+complex", promote="float", grad=_tanhshrink_grad
)
def tanhshrink(x):
    """x − tanh(x).

    >>> fb.nn.functional.tanhshrink(fb.tensor([-1.0, 2.0]))
    tensor([-0.2384,  1.0360])
    """
    return x - E.tanh(x)


def _inside(x: Expr, lambd: Expr) -> Expr:
    return (x >= -lambd) & (x <= lambd)


@pointwise(
    samples=uniform(-3, 3),
    like=F + "softshrink",
    domain="float",
    grad=lambda g, out, x, lambd: (where(_inside(x, lambd), 0.0, g),),
)
def softshrink(x, lambd=0.5):
    """x moved towards zero by lambd, and 0 where it would cross it.

    >>> fb.nn.functional.softshrink(fb.tensor([-2.0, 0.2, 2.0]))
    tensor([-1.5000,  0.0000,  1.5000])
    """
    return where(_inside(x, lambd), 0.0, where(x > 0, x - lambd, x + lambd))


@pointwise(
    samples=uniform(-3, 3),
    domain="float",
    like=F + "hardshrink",
    method=True,
    grad=lambda g, out, x, lambd: (where(_inside(x, lambd), 0.0, g),),
)
def hardshrink(x, lambd=0.5):
    """x outside [−lambd, lambd], 0 inside.

    >>> fb.nn.functional.hardshrink(fb.tensor([-2.0, 0.2, 2.0]))
    tensor([-2.,  0.,  2.])
    """
    return where(_inside(x, lambd), 0.0, x)


def _hardswish_grad(g: Expr, out: Expr, x: Expr) -> tuple[Expr]:
    return (where(x <= -3, 0.0, where(x < 3, g * (x / 3 + 0.5), g)),)


@pointwise(samples=uniform(-5, 5), like=F + "hardswish", domain="float", grad=_hardswish_grad)
def hardswish(x):
    """x · min(max(x + 3, 0), 6) / 6 (Howard et al. 2019).

    >>> fb.nn.functional.hardswish(fb.tensor([-4.0, 3.0]))
    tensor([-0.,  3.])
    """
    return x * relu6(x + 3) / 6


@pointwise(
    samples=uniform(-5, 5),
    like=F + "hardsigmoid",
    domain="float",
    grad=lambda g, out, x: (where((x > -3) & (x < 3), g * (1 / 6), 0.0),),
)
def hardsigmoid(x):
    """min(max(x + 3, 0), 6) / 6.

    >>> fb.nn.functional.hardsigmoid(fb.tensor([-4.0, 0.0]))
    tensor([0.0000, 0.5000])
    """
    return relu6(x + 3) / 6


@pointwise(samples=uniform(-3, 3), like=F + "logsigmoid", domain="float", grad=lambda g, out, x: (g * sigmoid(-x),))
def logsigmoid(x):
    """log(sigmoid(x)) = min(x, 0) − log(1 + e^−|x|).

    >>> fb.nn.functional.logsigmoid(fb.tensor([0.0, -200.0]))
    tensor([  -0.6931, -200.0000])
    """
    return E.minimum(x, 0.0) - log1p(exp(-abs(x)))
