"""The plan of 3x3 convolutions by minimal filtering (runtime/winograd.c): five transforms, and chains of products.

F(2x2, 3x3) of Lavin and Gray, "Fast algorithms for convolutional neural networks" (2015): a tile of 2 x 2 outputs y of
a window w over a patch d of 4 x 4 inputs is y = Aᵀ [(G w Gᵀ) * (Bᵀ d B)] A, 16 products where 36 are usual. Its
derivative for w, of the outputs' gradient g, is Gᵀ [(A g Aᵀ) * (Bᵀ d B)] G. Each transform is an ordinary Kernel, with
channels as lanes; sums over channels or tiles are what the micro-kernel is for. Imports ir and its neighbours in
codegen. Read next: `runtime/contract.h`, `docs/design/0014-winograd.md`.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable

from ..ir.expr import Expr, const, load, var
from ..ir.kernel import Buffer, For, Kernel, Let, Scalar, Statement, Store
from . import contraction, contraction_micro, native
from .target import host

CHAIN = 16  # products of a chain; FB_CHAIN in contract.h
SLOTS = ("x_step", "x_row", "x_column", "y_step", "y_row", "y_column", "n", "m")

Vector = tuple[Expr, ...]


def of_patch(d: Vector) -> Vector:
    """Bᵀ d."""
    return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]


def of_window(w: Vector) -> Vector:
    """G w."""
    outer, inner = (w[0] + w[2]) * 0.5, w[1] * 0.5
    return w[0], outer + inner, outer - inner, w[2]


def to_tile(m: Vector) -> Vector:
    """Aᵀ m."""
    return m[0] + m[1] + m[2], m[1] - m[2] - m[3]


def of_tile(g: Vector) -> Vector:
    """A g."""
    return g[0], g[0] + g[1], g[0] - g[1], -g[1]


def to_window(m: Vector) -> Vector:
    """Gᵀ m."""
    inner = (m[1] + m[2]) * 0.5
    return m[0] + inner, (m[1] - m[2]) * 0.5, inner + m[3]


# In the order of fb_winograd's fields: sizes of what is read and what is written, squares both.
TRANSFORMS: dict[str, tuple[Callable[[Vector], Vector], int, int]] = {
    "patch": (of_patch, 4, 4),
    "window": (of_window, 3, 4),
    "to_tile": (to_tile, 4, 2),
    "tile": (of_tile, 2, 4),
    "to_window": (to_window, 4, 3),
}


def transform(name: str) -> Kernel:
    """y[i, a, b, j] = (T x Tᵀ)[a, b] of the squares x[i, :, :, j], columns first; i < m, j < n."""
    along, size, to = TRANSFORMS[name]
    x_step, x_row, x_column, y_step, y_row, y_column, n, m = (var(slot) for slot in SLOTS)
    i, j = var("i"), var("j")
    body: list[Statement] = []

    def named(values: Vector) -> Vector:
        """All reads and sums before the first Store."""
        names = []
        for value in values:
            names.append(var(f"v{len(body)}", "f32"))
            body.append(Let(names[-1], value))
        return tuple(names)

    columns = []
    for b in range(size):
        at = [i * x_step + x_row * a + x_column * b + j for a in range(size)]
        columns.append(named(along(named(tuple(load("x", "f32", index) for index in at)))))
    for a in range(to):
        row = named(along(tuple(column[a] for column in columns)))
        body += [Store("y", i * y_step + y_row * a + y_column * b + j, value) for b, value in enumerate(row)]
    lanes = For(j, const(0, "i64"), n, tuple(body), vector=True)
    params: list[Buffer | Scalar] = [Buffer("x", "f32", "r"), Buffer("y", "f32", "w"), *map(Scalar, SLOTS)]
    return Kernel(f"winograd_{name}", tuple(params), (For(i, const(0, "i64"), m, (lanes,), parallel=True),))


@functools.cache
def plan(what: str, bias: bool = False) -> bytes:
    """The bytes of an fb_winograd for float32: 'forward', 'data' or 'weight', whose result has a bias or not."""
    direct = contraction.plan("f32", None, "rows" if bias else None, False)
    finish = native.function(contraction.finish_kernel("f32", None, "columns")) if bias else 0
    needed = ("patch", "tile", "to_window") if what == "weight" else ("patch", "window", "to_tile")
    transforms = [native.function(transform(name)) if name in needed else 0 for name in TRANSFORMS]
    return direct + struct.pack("=7q", chains(), *transforms, finish)


@functools.cache
def chains() -> int:
    """The address of the micro-kernel that adds products in chains of CHAIN."""
    return contraction.loaded(contraction_micro.render("f32", host(), chain=CHAIN), host())
