"""Special functions with torch.special's names: the op table's, orthogonal polynomials, Bessel functions.

Polynomials are their recurrences over other ops, so that derivatives follow; Bessel functions, Airy's and the
incomplete gamma functions come from SciPy, imported when first used. Imports core and ops. Read next:
`ops/pointwise_special.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .core import _core
from .core._core import DTYPES, Tensor
from .linalg.lapack import array, out_of, tensor
from .ops.arguments import into_out, to
from .ops.basic import sum_to
from .ops.calls import where
from .ops.factories import as_tensor, ones_like, zeros_like
from .ops.primitive import primitive
from .ops.shape import broadcast_tensors
from .ops.softmax import log_softmax as _log_softmax
from .ops.softmax import logsumexp as logsumexp
from .ops.softmax import softmax as _softmax
from .ops.table import TABLE

HALVES = (DTYPES[6], DTYPES[7])

_from_table = {name.removeprefix("special."): op for name, op in TABLE.items() if name.startswith("special.")}
globals().update(_from_table)

__all__ = [
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "chebyshev_polynomial_t",
    "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w", "gammainc", "gammaincc",
    "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p", "log_softmax",
    "logsumexp", "modified_bessel_k0", "modified_bessel_k1", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1",
    "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w", "softmax",
]  # fmt: skip

__all__ += list(_from_table)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """e^x / Σ e^x along a dimension.

    >>> fb.special.softmax(fb.zeros(2), 0)
    tensor([0.5000, 0.5000])
    """
    return _softmax(input, dim, dtype=dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """x − log Σ e^x along a dimension.

    >>> fb.special.log_softmax(fb.zeros(2), 0)
    tensor([-0.6931, -0.6931])
    """
    return _log_softmax(input, dim, dtype=dtype)


def polygamma(n: int, input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The n-th derivative of the digamma function.

    >>> fb.special.polygamma(1, fb.tensor([1.0]))
    tensor([1.6449])
    """
    y = TABLE["polygamma"](input, n)
    return into_out(out, y)


def floating(name: str, x: Any) -> Tensor:
    """x as a real floating tensor; integers become the default dtype."""
    x = x if isinstance(x, Tensor) else as_tensor(x)
    if x.is_complex():
        raise RuntimeError(f"{name}: takes real tensors, got {x.dtype}")
    return x if x.is_floating_point() else x.to(_core.get_default_dtype())


def from_scipy(name: str, *xs: Tensor) -> Tensor:
    from scipy import special as library

    arrays = [array(x.float() if x.dtype in HALVES else x) for x in xs]
    y = getattr(library, name)(*arrays)
    if isinstance(y, tuple):
        raise TypeError(f"{name} has several results")
    import numpy as np

    return tensor(np.asarray(y, arrays[0].dtype), xs[0].dtype)


def of_one(name: str, scipy_name: str, slope: Callable[[Tensor, Tensor], Tensor], doc: str) -> Callable[..., Tensor]:
    """A function of SciPy's, whose derivative is slope(x, y)."""

    def vjp(ctx: Any, g: Tensor) -> Tensor:
        return g * slope(*ctx.saved)

    @primitive(vjp, name="special." + name)
    def run(ctx, x):
        y = from_scipy(scipy_name, x)
        ctx.save(x, y)
        return y

    def function(input: Tensor) -> Tensor:
        return run(floating(name, input))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return out_of(function)


def over(y: Tensor, x: Tensor, at_zero: float) -> Tensor:
    """y / x, with its limit at 0."""
    zero = x == 0
    return where(zero, at_zero, y / where(zero, 1.0, x))


bessel_j0 = of_one(
    "bessel_j0", "j0", lambda x, y: -bessel_j1(x),
    """The Bessel function of the first kind of order 0.

    >>> fb.special.bessel_j0(fb.tensor([0.0, 1.0]))
    tensor([1.0000, 0.7652])
    """,
)  # fmt: skip
bessel_j1: Callable[..., Tensor] = of_one(
    "bessel_j1", "j1", lambda x, y: bessel_j0(x) - over(y, x, 0.5),
    """The Bessel function of the first kind of order 1.

    >>> fb.special.bessel_j1(fb.tensor([0.0, 1.0]))
    tensor([0.0000, 0.4401])
    """,
)  # fmt: skip
bessel_y0 = of_one(
    "bessel_y0", "y0", lambda x, y: -bessel_y1(x),
    """The Bessel function of the second kind of order 0; NaN for negative x.

    >>> fb.special.bessel_y0(fb.tensor([1.0]))
    tensor([0.0883])
    """,
)  # fmt: skip
bessel_y1: Callable[..., Tensor] = of_one(
    "bessel_y1", "y1", lambda x, y: bessel_y0(x) - y / x,
    """The Bessel function of the second kind of order 1; NaN for negative x.

    >>> fb.special.bessel_y1(fb.tensor([1.0]))
    tensor([-0.7812])
    """,
)  # fmt: skip
modified_bessel_k0 = of_one(
    "modified_bessel_k0", "k0", lambda x, y: -modified_bessel_k1(x),
    """The modified Bessel function of the second kind of order 0.

    >>> fb.special.modified_bessel_k0(fb.tensor([1.0]))
    tensor([0.4210])
    """,
)  # fmt: skip
modified_bessel_k1: Callable[..., Tensor] = of_one(
    "modified_bessel_k1", "k1", lambda x, y: -modified_bessel_k0(x) - y / x,
    """The modified Bessel function of the second kind of order 1.

    >>> fb.special.modified_bessel_k1(fb.tensor([1.0]))
    tensor([0.6019])
    """,
)  # fmt: skip
scaled_modified_bessel_k0 = of_one(
    "scaled_modified_bessel_k0", "k0e", lambda x, y: y - scaled_modified_bessel_k1(x),
    """e^x times `modified_bessel_k0`.

    >>> fb.special.scaled_modified_bessel_k0(fb.tensor([1.0]))
    tensor([1.1445])
    """,
)  # fmt: skip
scaled_modified_bessel_k1: Callable[..., Tensor] = of_one(
    "scaled_modified_bessel_k1", "k1e", lambda x, y: y - scaled_modified_bessel_k0(x) - y / x,
    """e^x times `modified_bessel_k1`.

    >>> fb.special.scaled_modified_bessel_k1(fb.tensor([1.0]))
    tensor([1.6362])
    """,
)  # fmt: skip


def airy_vjp(ctx: Any, gy: Tensor | None, gd: Tensor | None) -> Tensor:
    # Ai″ = x Ai.
    x, y, d = ctx.saved
    parts = [g * slope for g, slope in ((gy, d), (gd, x * y)) if g is not None]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


@primitive(airy_vjp, name="special.airy_ai")
def airy(ctx, x):
    """Ai and its derivative."""
    import numpy as np
    from scipy import special as library

    found = library.airy(array(x.float() if x.dtype in HALVES else x))[:2]
    y, d = (tensor(np.asarray(part), x.dtype) for part in found)
    ctx.save(x, y, d)
    return y, d


@out_of
def airy_ai(input: Tensor) -> Tensor:
    """Airy's function Ai, the solution of y″ = x y that vanishes for large x.

    >>> fb.special.airy_ai(fb.tensor([0.0]))
    tensor([0.3550])
    """
    return airy(floating("airy_ai", input))[0]


def gamma_vjp(ctx: Any, g: Tensor) -> tuple:
    a, x = ctx.saved
    if ctx.needs_input_grad[0]:
        raise NotImplementedError(
            f"{ctx.name}: the derivative with respect to the first argument is not implemented; use input.detach()"
        )
    density = TABLE["exp"](TABLE["xlogy"](a - 1, x) - x - TABLE["lgamma"](a)) * ctx.sign
    return None, sum_to(g * density, x.shape, ctx.name)


@primitive(gamma_vjp, name="special.gammainc")
def incomplete(ctx, a, x, name):
    """The lower or the upper regularised incomplete gamma function."""
    ctx.save(a, x)
    ctx.name, ctx.sign = name, 1.0 if name == "gammainc" else -1.0
    return from_scipy(name, a, x)


def gamma_pair(name: str, a: Tensor, x: Tensor) -> Tensor:
    a, x = floating(name, a), floating(name, x)
    dtype = _core.promote_types(a.dtype, x.dtype)
    return incomplete(to(a, dtype), to(x, dtype), name)


@out_of
def gammainc(input: Tensor, other: Tensor) -> Tensor:
    """The regularised lower incomplete gamma function: 1/Γ(a) ∫₀ˣ t^(a−1) e^(−t) dt. Differentiable in x = other.

    >>> fb.special.gammainc(fb.tensor([1.0]), fb.tensor([1.0]))
    tensor([0.6321])
    """
    return gamma_pair("gammainc", input, other)


@out_of
def gammaincc(input: Tensor, other: Tensor) -> Tensor:
    """The regularised upper incomplete gamma function: 1 − gammainc. Differentiable in x = other.

    >>> fb.special.gammaincc(fb.tensor([1.0]), fb.tensor([1.0]))
    tensor([0.3679])
    """
    return gamma_pair("gammaincc", input, other)


igamma, igammac = gammainc, gammaincc


def igamma_(self: Tensor, other: Tensor) -> Tensor:
    """In-place form of `igamma`.

    >>> fb.tensor([1.0, 2.0]).igamma_(fb.tensor([1.0, 1.0]))
    tensor([0.6321, 0.2642])
    """
    return self.copy_(gammainc(self, other))


def igammac_(self: Tensor, other: Tensor) -> Tensor:
    """In-place form of `igammac`.

    >>> fb.tensor([1.0, 2.0]).igammac_(fb.tensor([1.0, 1.0]))
    tensor([0.3679, 0.7358])
    """
    return self.copy_(gammaincc(self, other))


def polynomial(
    name: str, first: Callable[[Tensor], Tensor], following: Callable[[Tensor, Tensor, Tensor, int], Tensor], doc: str
) -> Callable[..., Tensor]:
    """The polynomials with p₀ = 1, p₁ = first(x), p_{k+1} = following(x, p_k, p_{k−1}, k); 0 for a negative degree."""

    def function(input: Any, n: Any) -> Tensor:
        if not isinstance(input, Tensor) and not isinstance(n, Tensor):
            raise TypeError(f"{name}: at least one of input and n must be a tensor")
        x = floating(name, input)
        degrees = n if isinstance(n, Tensor) else as_tensor(n)
        dtype = (
            x.dtype
            if not (degrees.is_floating_point() and degrees.ndim)
            else _core.promote_types(x.dtype, degrees.dtype)
        )
        x, degree = broadcast_tensors(
            to(x, dtype), degrees.detach().trunc() if degrees.is_floating_point() else degrees
        )
        before, now = ones_like(x), first(x)
        y = where(degree == 0, before, where(degree == 1, now, zeros_like(x)))
        for k in range(1, int(degree.max()) if degree.numel() else 0):
            before, now = now, following(x, now, before, k)
            y = where(degree == k + 1, now, y)
        return y

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return out_of(function)


def chebyshev(x: Tensor, p: Tensor, q: Tensor, k: int) -> Tensor:
    return 2 * x * p - q


def shifted(x: Tensor, p: Tensor, q: Tensor, k: int) -> Tensor:
    return (4 * x - 2) * p - q


def _doc(what: str, name: str, value: str) -> str:
    return f"""{what}, of degree n at x = input; both broadcast.

    >>> fb.special.{name}(fb.tensor([0.5]), 3)
    tensor([{value}])
    """


chebyshev_polynomial_t = polynomial(
    "chebyshev_polynomial_t", lambda x: x, chebyshev,
    _doc("The Chebyshev polynomial of the first kind T_n, T_n(cos θ) = cos nθ", "chebyshev_polynomial_t", "-1."),
)  # fmt: skip
chebyshev_polynomial_u = polynomial(
    "chebyshev_polynomial_u", lambda x: 2 * x, chebyshev,
    _doc("The Chebyshev polynomial of the second kind U_n", "chebyshev_polynomial_u", "-1."),
)  # fmt: skip
chebyshev_polynomial_v = polynomial(
    "chebyshev_polynomial_v", lambda x: 2 * x - 1, chebyshev,
    _doc("The Chebyshev polynomial of the third kind V_n", "chebyshev_polynomial_v", "-1."),
)  # fmt: skip
chebyshev_polynomial_w = polynomial(
    "chebyshev_polynomial_w", lambda x: 2 * x + 1, chebyshev,
    _doc("The Chebyshev polynomial of the fourth kind W_n", "chebyshev_polynomial_w", "-1."),
)  # fmt: skip
shifted_chebyshev_polynomial_t = polynomial(
    "shifted_chebyshev_polynomial_t", lambda x: 2 * x - 1, shifted,
    _doc("T_n(2x − 1)", "shifted_chebyshev_polynomial_t", "-0."),
)  # fmt: skip
shifted_chebyshev_polynomial_u = polynomial(
    "shifted_chebyshev_polynomial_u", lambda x: 4 * x - 2, shifted,
    _doc("U_n(2x − 1)", "shifted_chebyshev_polynomial_u", "-0."),
)  # fmt: skip
shifted_chebyshev_polynomial_v = polynomial(
    "shifted_chebyshev_polynomial_v", lambda x: 4 * x - 3, shifted,
    _doc("V_n(2x − 1)", "shifted_chebyshev_polynomial_v", "1."),
)  # fmt: skip
shifted_chebyshev_polynomial_w = polynomial(
    "shifted_chebyshev_polynomial_w", lambda x: 4 * x - 1, shifted,
    _doc("W_n(2x − 1)", "shifted_chebyshev_polynomial_w", "-1."),
)  # fmt: skip
hermite_polynomial_h = polynomial(
    "hermite_polynomial_h", lambda x: 2 * x, lambda x, p, q, k: 2 * x * p - 2 * k * q,
    _doc("The physicists' Hermite polynomial H_n", "hermite_polynomial_h", "-5."),
)  # fmt: skip
hermite_polynomial_he = polynomial(
    "hermite_polynomial_he", lambda x: x, lambda x, p, q, k: x * p - k * q,
    _doc("The probabilists' Hermite polynomial He_n", "hermite_polynomial_he", "-1.3750"),
)  # fmt: skip
laguerre_polynomial_l = polynomial(
    "laguerre_polynomial_l", lambda x: 1 - x, lambda x, p, q, k: ((2 * k + 1 - x) * p - k * q) / (k + 1),
    _doc("The Laguerre polynomial L_n", "laguerre_polynomial_l", "-0.1458"),
)  # fmt: skip
legendre_polynomial_p = polynomial(
    "legendre_polynomial_p", lambda x: x, lambda x, p, q, k: ((2 * k + 1) * x * p - k * q) / (k + 1),
    _doc("The Legendre polynomial P_n", "legendre_polynomial_p", "-0.4375"),
)  # fmt: skip
