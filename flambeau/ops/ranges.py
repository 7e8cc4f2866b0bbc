"""Evenly spaced numbers and identity matrices: arange, linspace, logspace, eye, each by a kernel of its own.

Imports core, ir and neighbours in ops. Read next: `factories.py`, `primitive.py` (what `generated` does).
"""

from __future__ import annotations

import builtins
import math

from ..core import _core
from ..core._core import DTYPES, Tensor, new_empty
from ..ir.expr import as_expr, cast, const, ne, var, where
from ..ir.kernel import Buffer, For, Kernel, Scalar, Store
from .basic import to_dtype
from .factories import INT64, check_place, default, finish, full
from .primitive import generated
from .recall import recalled
from .table import TABLE

GRAIN = 16384


@generated
def progression(dtype: str, whole: bool) -> Kernel:
    """y[i] = start + i step, computed in int64 or float64."""
    i, inner = var("i"), "i64" if whole else "f64"
    value = var("start", inner) + cast(i, inner) * var("step", inner)
    # Half precision is rounded once more on the way, as everywhere: f64 to f32 to f16.
    value = cast(cast(value, "f32"), dtype) if dtype in ("f16", "bf16") else cast(value, dtype)
    body = (For(i, const(0, "i64"), var("n"), (Store("y", i, value),), parallel=True, vector=True),)
    return Kernel("arange", (Buffer("y", dtype, "w"), Scalar("start", inner), Scalar("step", inner), Scalar("n")), body)


@recalled
def arange(start, end=None, step=1, *, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """Numbers start, start + step, … below end: y_i = start + i step.

    >>> fb.arange(2, 8, 2)
    tensor([2, 4, 6])
    """
    check_place("arange", device, layout)
    if end is None:
        start, end = 0, start
    whole = type(start) is type(end) is type(step) is int
    if not whole:
        start, end, step = (x.item() if isinstance(x, Tensor) else x for x in (start, end, step))
        whole = builtins.all(isinstance(x, int) or hasattr(x, "__index__") for x in (start, end, step))
    if step == 0:
        raise RuntimeError("arange: step must not be zero")
    count = (end - start) / step
    if not whole and not math.isfinite(count) or abs(count) >= 2**62:
        raise RuntimeError(f"arange: {start} to {end} in steps of {step} isn't a range that memory could hold")
    if count < 0:
        raise RuntimeError(f"arange: {start} to {end} can't be reached in steps of {step}; change the sign of step")
    n = -((start - end) // step) if whole else math.ceil((end - start) / step)
    dtype = INT64 if whole and dtype is None and out is None else default(dtype, out)
    n = max(0, int(n))
    made = new_empty((n,), dtype)
    first, by = (int(start), int(step)) if whole else (float(start), float(step))
    _core.launch(progression(dtype.ir, whole), (made, first, by, n), n, GRAIN, n)
    return finish(made, requires_grad, out)


@generated
def between(dtype: str) -> Kernel:
    """steps numbers from start to end, counted from whichever end is nearer, so that both are exact."""
    i, n = var("i"), var("n")
    start, end, step = var("start", "f64"), var("end", "f64"), var("step", "f64")
    value = where(i < (n >> 1), start + cast(i, "f64") * step, end - cast(n - 1 - i, "f64") * step)
    value = cast(cast(value, "f32"), dtype) if dtype in ("f16", "bf16") else cast(value, dtype)
    body = (For(i, const(0, "i64"), n, (Store("y", i, value),), parallel=True, vector=True),)
    numbers = Scalar("start", "f64"), Scalar("end", "f64"), Scalar("step", "f64")
    params = (Buffer("y", dtype, "w"), *numbers, Scalar("n"))
    return Kernel("linspace", params, body)


@recalled
def linspace(start, end, steps, *, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """`steps` evenly spaced numbers from start to end, both included.

    >>> fb.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    if steps < 0:
        raise RuntimeError(f"linspace: steps can't be negative, got {steps}")
    if builtins.any(isinstance(v, complex) or (isinstance(v, Tensor) and v.is_complex()) for v in (start, end)):
        wanted = default(dtype, out) if dtype is not None or out is not None else default(None).to_complex()
        if not wanted.is_complex:
            raise RuntimeError(f"linspace: complex ends need a complex dtype, got {wanted}")
        a, b = complex(start), complex(end)
        real, imag = (linspace(u, v, steps, dtype=DTYPES[9]) for u, v in ((a.real, b.real), (a.imag, b.imag)))
        made = TABLE["complex"](real, imag)
        return finish(to_dtype(made, wanted), requires_grad, out)
    made = new_empty((steps,), default(dtype, out))
    start, end = float(start), float(end)
    step = (end - start) / (steps - 1) if steps > 1 else 0.0
    if steps == 1:
        return full((1,), start, dtype=made.dtype, requires_grad=requires_grad, out=out)
    _core.launch(between(made.dtype.ir), (made, start, end, step, steps), steps, GRAIN, steps)
    return finish(made, requires_grad, out)


def logspace(
    start, end, steps, base=10.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False
) -> Tensor:
    """base^x for `steps` evenly spaced x from start to end.

    >>> fb.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    bounds = [v.item() if isinstance(v, Tensor) else v for v in (start, end)]
    wide = DTYPES[11 if builtins.any(isinstance(v, complex) for v in bounds) else 9]
    powers = base ** linspace(bounds[0], bounds[1], steps, dtype=wide)
    if wide.is_complex and dtype is None and out is None:
        dtype = default(None).to_complex()
    return finish(to_dtype(powers, default(dtype, out)), requires_grad, out)


@generated
def diagonal_ones(dtype: str) -> Kernel:
    """y[i, j] = 1 where i = j, else 0."""
    i, j, m = var("i"), var("j"), var("m")
    value = (
        where(ne(i, j), const(0, dtype), const(1, dtype))
        if dtype not in ("f16", "bf16")
        else cast(where(ne(i, j), 0.0, as_expr(1.0)), dtype)
    )
    inner = For(j, const(0, "i64"), m, (Store("y", i * m + j, value),), vector=True)
    return Kernel(
        "eye",
        (Buffer("y", dtype, "w"), Scalar("m"), Scalar("n")),
        (For(i, const(0, "i64"), var("n"), (inner,), parallel=True),),
    )


@recalled
def eye(n, m=None, *, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """Ones on the diagonal, zeros elsewhere.

    >>> fb.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    m = n if m is None else m
    made = new_empty((n, m), default(dtype, out))
    _core.launch(diagonal_ones(made.dtype.ir), (made, m, n), n, max(1, GRAIN // max(1, m)), n * m)
    return finish(made, requires_grad, out)


__all__ = ["arange", "eye", "linspace", "logspace"]
