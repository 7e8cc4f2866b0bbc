"""tanh (and its family, as it is written).

Imports `build`, `exponential` and `ir.expr`.
"""

from __future__ import annotations

from ..expr import Expr, fma, where
from .build import at_most, expansion, horner, round_and_power, with_sign
from .exponential import LN2, LOG2_E

# (e^r - 1 - r) / r² on |r| <= ln(2)/2. Error relative to e^r - 1: 2^-31 and 2^-55.5.
EXPM1_NARROW = {
    "f32": (0.5, 0.166666657, 0.0416664891, 0.00833354704, 0.00139327522, 0.000197612797),
    "f64": (
        0.5000000000000006, 0.16666666666666602, 0.04166666666657328, 0.008333333333381671, 0.0013888888932565738,
        0.00019841269736119144, 2.4801504151309816e-05, 2.755739196025091e-06, 2.762646669544993e-07,
        2.5058853809669403e-08,
    ),
}  # fmt: skip


@expansion("tanh")
def tanh(x: Expr) -> Expr:
    """(e^2a - 1) / (e^2a + 1) for a = |x|, up to where it rounds to 1."""
    a = at_most(abs(x), {"f32": 9.1, "f64": 19.1}[x.dtype])
    high, low = LN2[x.dtype]
    a2 = a + a
    n, s = round_and_power(a2, LOG2_E)
    r = fma(n, -low, fma(n, -high, a2))
    q = fma(fma(r * r, horner(r, *EXPM1_NARROW[x.dtype]), r), s, s - 1.0)
    t = q / (q + 2.0)
    # q/2 - q/2 t is the same number; where t is small it hides the rounding of t.
    half = q * 0.5
    return with_sign(where(a < 0.4, fma(-half, t, half), t), x)
