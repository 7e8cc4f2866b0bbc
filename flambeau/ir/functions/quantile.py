"""ndtri and erfinv: the quantile of the normal distribution, in the two ways its argument is given.

With p the probability and q = p - 1/2: a rational in q² near the middle, two rationals in sqrt(-log(tail)) outside, as
Wichura (algorithm AS 241, 1988) divides them; the coefficients are fitted anew. Both are computed in f64.
Imports `build`, `exponential` and `ir.expr`. Read next: `gamma.py`.
"""

from __future__ import annotations

import math

from ..expr import Expr, const, eq, sqrt, where
from .build import INF, expansion, horner, with_sign
from .exponential import log

MIDDLE = 0.425
# x/q in MIDDLE² - q², error 2^-53.1.
CENTRE = (
    (3.3871328727963665, 133.18038181880382, 1972.8504035716105, 13746.203301549982, 45993.45410435256,
     67410.36332986043, 33525.413332386066, 2518.143460668844),
    (1.0, 42.32476040585917, 687.5931913132916, 5399.448314137013, 21244.10927509562, 39385.17341013405,
     28803.421002014475, 5243.670834894596),
)  # fmt: skip
# x in r - 1.6 for r = sqrt(-log(tail)) <= 5, and in r - 5 up to 27.5; errors 2^-54.
NEAR = (
    (1.4234371107496835, 4.605568921148232, 5.724101011787506, 3.6566774720859243, 1.3302204150425039,
     0.283862353585724, 0.03443197579172986, 0.0020897630812457975, 4.456996903113286e-05),
    (1.0, 2.035790840314804, 1.6653692120589598, 0.7076814396855372, 0.16832645871873747, 0.022155506535748073,
     0.0014274716235967591, 3.151453170618239e-05),
)  # fmt: skip
FAR = (
    (6.657904643501103, 5.5555043155176245, 1.8579662921159799, 0.3195871120860233, 0.030176669760547097,
     0.0015478112876462845, 4.012409498310497e-05, 4.4802712417699354e-07, 1.4789152787556883e-09),
    (1.0, 0.6136082230752934, 0.14487334309789618, 0.016597836793696006, 0.0009613318904055103,
     2.6818249214751852e-05, 3.115751165891622e-07, 1.0457506251655153e-09),
)  # fmt: skip


def quantile(q: Expr, tail: Expr) -> Expr:
    """The x below which a standard normal is found with probability 1/2 + q; tail is 1/2 - |q|, exact."""
    r = MIDDLE * MIDDLE - q * q
    centre = q * horner(r, *CENTRE[0]) / horner(r, *CENTRE[1])
    r = sqrt(-log(tail))
    near = r <= 5.0
    t = r - where(near, const(1.6, "f64"), 5.0)
    top, bottom = (
        horner(t, *(where(near, const(a, "f64"), b) for a, b in zip(x, y, strict=True)))
        for x, y in zip(NEAR, FAR, strict=True)
    )
    outer = where(eq(tail, 0.0), INF, top / bottom)
    return where(abs(q) <= MIDDLE, centre, with_sign(outer, q))


@expansion("ndtri", in_f64=True)
def ndtri(p: Expr) -> Expr:
    return quantile(p - 0.5, where(p < 0.5, p, 1.0 - p))


@expansion("erfinv", in_f64=True)
def erfinv(x: Expr) -> Expr:
    return quantile(x * 0.5, (1.0 - abs(x)) * 0.5) * math.sqrt(0.5)
