"""i0, i1 and their scaled forms i0e, i1e: a polynomial in x² up to 15, and e^x / sqrt(x) times one in 15/x beyond.

Imports `build`, `exponential` and `ir.expr`. All are computed in f64.
"""

from __future__ import annotations

from ..expr import Expr, eq, sqrt, where
from .build import INF, at_least, at_most, expansion, horner, with_sign
from .exponential import exp

BOUNDARY = 15.0
# i0(x) and i1(x) / (x/2) in x²; sqrt(x) e^-x times either in 15/x. Errors 2^-59 and 2^-55.
I0_INNER = (
    1.0, 0.25, 0.015625000000000017, 0.000434027777777769, 6.781684027779897e-06, 6.781684027748065e-08,
    4.70950279733242e-10, 2.402807547932406e-12, 9.38596705802384e-15, 2.8969031821692744e-17, 7.242263336989192e-20,
    1.4963258747178208e-22, 2.597917375649496e-25, 3.8417158240077174e-28, 4.911151737825783e-31,
    5.3881534157986795e-34, 5.5884019543784796e-37, 3.674491188146751e-40, 5.812230005472131e-43,
    -1.187543794959235e-46, 4.825562097465688e-49,
)  # fmt: skip
I1_INNER = (
    1.0, 0.125, 0.005208333333333336, 0.00010850694444444346, 1.3563368055557674e-06, 1.130280671293614e-08,
    6.727861138886871e-11, 3.003509435689858e-13, 1.0428852259711272e-15, 2.896903251442495e-18, 6.583874425415643e-21,
    1.2469401870744399e-23, 1.998375982017078e-26, 2.7442725411517255e-29, 3.272847517835296e-32,
    3.3738720576988477e-35, 3.263922460629742e-38, 2.1040520658445925e-41, 2.944832052386343e-44,
    -4.6712065833188557e-48, 2.233469970581461e-50,
)  # fmt: skip
I0_OUTER = (
    0.3989422804014327, 0.0033245190033422095, 0.00012466946279271522, 8.657597981678352e-06, 8.838367216084427e-07,
    1.190501945832616e-07, 2.1149263761921036e-08, 9.932004676343158e-10, 6.601243212134522e-09,
    -6.759332854618557e-09, 5.662390218932136e-09, -2.5837229289513247e-09, 5.645368001455473e-10,
)  # fmt: skip
I1_OUTER = (
    0.39894228040143265, -0.009973557010032483, -0.00020778243789064366, -1.2120638313464648e-05,
    -1.1363532962659336e-06, -1.4554369833365894e-07, -2.4877935538877645e-08, -1.3900559666747766e-09,
    -7.1329846992204395e-09, 7.220477648636415e-09, -6.052703578158113e-09, 2.7562822745792263e-09,
    -6.020430550048295e-10,
)  # fmt: skip


def parts(a: Expr, inner: tuple[float, ...], outer: tuple[float, ...]) -> tuple[Expr, Expr, Expr]:
    """(a <= 15, the function there, the scaled function beyond) for a >= 0."""
    near = at_most(a, BOUNDARY)
    far = at_least(a, BOUNDARY)
    return a <= BOUNDARY, horner(near * near, *inner), horner(BOUNDARY / far, *outer) / sqrt(far)


def unscaled(a: Expr, inside: Expr, inner: Expr, outer: Expr) -> Expr:
    # e^a in two halves overflows only where the result does; beyond 750 it always does.
    half = exp(at_most(a, 750.0) * 0.5)
    return where(inside, inner, where(eq(a, INF), INF, half * outer * half))


@expansion("i0", in_f64=True)
def i0(x: Expr) -> Expr:
    a = abs(x)
    return unscaled(a, *parts(a, I0_INNER, I0_OUTER))


@expansion("i0e", in_f64=True)
def i0e(x: Expr) -> Expr:
    a = abs(x)
    inside, inner, outer = parts(a, I0_INNER, I0_OUTER)
    return where(inside, exp(-a) * inner, outer)


@expansion("i1", in_f64=True)
def i1(x: Expr) -> Expr:
    a = abs(x)
    inside, inner, outer = parts(a, I1_INNER, I1_OUTER)
    return with_sign(unscaled(a, inside, a * 0.5 * inner, outer), x)


@expansion("i1e", in_f64=True)
def i1e(x: Expr) -> Expr:
    a = abs(x)
    inside, inner, outer = parts(a, I1_INNER, I1_OUTER)
    return with_sign(where(inside, exp(-a) * (a * 0.5 * inner), outer), x)
