"""Whole numbers and the parts of floating ones: gcd, lcm, frexp.

By NumPy, as their loops end when the numbers say so. Imports core and neighbours in ops. Read next:
`pointwise_logic.py`.
"""

from __future__ import annotations

from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor, broadcast_shapes, new_empty
from .arguments import into_out, return_type
from .calls import result_type
from .primitive import primitive
from .table import TABLE

__all__ = ["frexp", "gcd", "gcd_", "lcm", "lcm_"]

frexp_result = return_type("frexp", "mantissa exponent")


def from_array(a: Any, dtype: Any) -> Tensor:
    import numpy as np

    if not a.size:
        return new_empty(a.shape, dtype)
    return _core.from_buffer(np.ascontiguousarray(a).reshape(a.shape or 1))[0].reshape(a.shape)


def pair(name: str, x: Tensor, y: Tensor) -> Tensor:
    import numpy as np

    if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
        raise TypeError(
            f"{name}: takes two tensors, got {type(x).__name__} and {type(y).__name__}; use flambeau.tensor(number)"
        )
    dtype = result_type(x, y)
    if dtype.is_floating_point or dtype.is_complex or dtype is DTYPES[0]:
        raise NotImplementedError(f"{name}: takes integers, got {x.dtype} and {y.dtype}")
    broadcast_shapes(x.shape, y.shape)
    return from_array(np.asarray(getattr(np, name)(x.to(dtype).numpy(), y.to(dtype).numpy())), dtype)


def gcd(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The greatest common divisor, not negative; gcd(0, 0) is 0.

    >>> fb.gcd(fb.tensor([12, -4]), fb.tensor([8, 6]))
    tensor([4, 2])
    """
    y = pair("gcd", input, other)
    return into_out(out, y)


def lcm(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The least common multiple, not negative; 0 where either is 0.

    >>> fb.lcm(fb.tensor([4, 3]), fb.tensor([6, 0]))
    tensor([12,  0])
    """
    y = pair("lcm", input, other)
    return into_out(out, y)


def gcd_(self: Tensor, other: Tensor) -> Tensor:
    """In-place form of `gcd`.

    >>> fb.gcd_(fb.tensor([12, 18]), fb.tensor([8, 27]))
    tensor([4, 9])
    """
    return self.copy_(gcd(self, other))


def lcm_(self: Tensor, other: Tensor) -> Tensor:
    """In-place form of `lcm`.

    >>> fb.lcm_(fb.tensor([4, 6]), fb.tensor([6, 10]))
    tensor([12, 30])
    """
    return self.copy_(lcm(self, other))


def frexp_vjp(ctx: Any, g: Tensor, _: Any = None) -> Tensor:
    (exponent,) = ctx.saved
    return TABLE["ldexp"](g, -exponent)


@primitive(frexp_vjp, name="frexp")
def parts(ctx, x):
    """Mantissas and int32 exponents."""
    import numpy as np

    half = x.dtype in (DTYPES[6], DTYPES[7])
    mantissa, exponent = np.frexp((x.detach().float() if half else x.detach()).numpy())
    exponent = from_array(np.asarray(exponent, np.int32), DTYPES[4])
    ctx.save(exponent)
    return from_array(np.asarray(mantissa), DTYPES[8] if half else x.dtype).to(x.dtype), exponent


def frexp(input: Tensor, *, out: Any = None) -> Any:
    """x = mantissa · 2^exponent with 0.5 <= |mantissa| < 1 and an int32 exponent.

    >>> fb.frexp(fb.tensor([8.0])).mantissa
    tensor([0.5000])
    """
    if not input.is_floating_point():
        raise RuntimeError(f"frexp: takes floating tensors, got {input.dtype}; use x.float()")
    found = frexp_result(*parts(input))
    return found if out is None else frexp_result(*(o.copy_(y) for o, y in zip(out, found, strict=True)))
