"""Scans: running sums, products, extremes and linear recurrences along a dimension, and diff.

A scan says how an element enters, how two stretches merge and what is written, as a reduction does. Lengths over
REDUCE_BLOCK run in three passes: what each block comes to, what stands before it, then its elements; so bits depend on
the length alone. Imports core, ir and neighbours in ops. Read next: `reductions.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core._core import DTYPES, Plan, Step, Tensor
from ..ir import expr as E
from ..ir.expr import DTYPES as TYPES
from ..ir.expr import Expr, as_expr, cast, const, eq, idiv, irem, isnan, load, minimum, var, where
from ..ir.kernel import REDUCE_BLOCK, Accumulator, Buffer, For, Kernel, Let, Reduce, Scalar, Statement, Store
from .arguments import into_out, out_of, return_type, to, wrap
from .factories import full_like
from .joining import cat
from .picking import scatter_into_zeros
from .pointwise_arithmetic import parts
from .pointwise_complex import make
from .primitive import generated, planned, primitive
from .recall import recalled
from .reductions import Exprs, Fold, highest, lowest
from .table import TABLE
from .typed import CODES

BOOL, INT64 = DTYPES[0], DTYPES[5]
COLUMNS = 256
GRAIN = 32768
# So many rows are scanned side by side: a chain of additions waits four cycles for each of its own.
ROWS = 4
WHOLE, SUMS, CARRY, FINAL = range(4)
__all__ = ["cummax", "cummin", "cumprod", "cumsum", "diff", "logcumsumexp"]

cummax_result = return_type("cummax", "values indices")
cummin_result = return_type("cummin", "values indices")

WIDER = {"f16": "f32", "bf16": "f32", "f32": "f64", "c64": "c128"}


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """body(elements, place) -> Fold, and the dtypes written for those of the inputs.

    `commutes`: stretches merge in any order, so that what a block comes to may be computed in lanes.
    """

    name: str
    body: Callable[[Exprs, Expr], Fold]
    outputs: Callable[[tuple[str, ...]], tuple[str, ...]]
    commutes: bool


SCANS: dict[str, Scan] = {}


def scan(outputs: Callable[[tuple[str, ...]], tuple[str, ...]] = lambda dtypes: dtypes[:1], commutes: bool = False):
    def register(body: Callable[[Exprs, Expr], Fold]) -> Scan:
        found = SCANS[body.__name__] = Scan(body.__name__, body, outputs, commutes)
        return found

    return register


def wide(x: Expr) -> Expr:
    """Integers as i64, floats in the next wider format: what running values are kept in."""
    return cast(x, "i64" if TYPES[x.dtype].kind in "bui" else WIDER.get(x.dtype, x.dtype))


@scan(commutes=True)
def running_sum(xs, place):
    x = wide(xs[0])
    return Fold((const(0, x.dtype),), (x,), lambda a, b: (a[0] + b[0],), lambda a, n: a)


@scan(commutes=True)
def running_product(xs, place):
    x = wide(xs[0])
    return Fold((const(1, x.dtype),), (x,), lambda a, b: (a[0] * b[0],), lambda a, n: a)


@scan(commutes=True)
def running_logsumexp(xs, place):
    """The largest element m (of complex ones, the largest real part) and Σ exp(x - m)."""
    x = xs[0] if TYPES[xs[0].dtype].kind == "c" else cast(xs[0], "f64" if xs[0].dtype == "f64" else "f32")
    if TYPES[x.dtype].kind == "c":
        x = wide(x)
        size, rest = parts(x)[0], E.exp(make(const(0, "f64"), parts(x)[1]))
    else:
        size, rest = x, const(1, x.dtype)

    def merge(a: Exprs, b: Exprs) -> Exprs:
        m = E.maximum(a[0], b[0])
        share = [where(eq(part[0], m), part[1], part[1] * E.exp(part[0] - m)) for part in (a, b)]
        return m, share[0] + share[1]

    start = const(-float("inf"), size.dtype), const(0, rest.dtype)
    return Fold(start, (size, rest), merge, lambda a, n: (a[0] + E.log(a[1]),))


@scan()
def recurrence(xs, place):
    """y_k = b_k + a_k y_{k-1}: each stretch is an affine map, and two make one."""
    b, a = wide(xs[0]), wide(xs[1])
    start = const(1, b.dtype), const(0, b.dtype)
    return Fold(start, (a, b), lambda u, v: (u[0] * v[0], v[0] * u[1] + v[1]), lambda u, n: (u[1],))


def running_extreme(x: Expr, place: Expr, start: float, best: Callable[[Expr, Expr], Expr]) -> Fold:
    """The best element so far and its place: the last of equals, the last NaN if there is one."""
    x = cast(x, "u8") if x.dtype == "bool" else cast(x, "f32") if x.dtype in ("f16", "bf16") else x

    def merge(a: Exprs, b: Exprs) -> Exprs:
        found = best(a[0], b[0])
        last = eq(b[0], found)
        return found, where(last | isnan(b[0]) if TYPES[x.dtype].kind == "f" else last, b[1], a[1])

    return Fold((const(start, x.dtype), as_expr(0)), (x, place), merge, lambda a, n: a)


@scan(lambda dtypes: (dtypes[0], "i64"))
def running_max(xs, place):
    return running_extreme(xs[0], place, lowest("u8" if xs[0].dtype == "bool" else xs[0].dtype), E.maximum)


@scan(lambda dtypes: (dtypes[0], "i64"))
def running_min(xs, place):
    return running_extreme(xs[0], place, highest("u8" if xs[0].dtype == "bool" else xs[0].dtype), E.minimum)


def narrowed(x: Expr, dtype: str) -> Expr:
    """x stored as dtype; 16-bit floats are rounded from f32."""
    if dtype == "bool" and x.dtype != "bool":
        return E.ne(x, const(0, x.dtype))
    return cast(cast(x, "f32") if dtype in ("f16", "bf16") and x.dtype == "f64" else x, dtype)


@generated
def scan_kernel(name: str, dtypes: tuple[str, ...], stage: int, column: bool, reverse: bool, rows: int = 1) -> Kernel:
    """One pass over (outer, length, inner); t counts outer, blocks (but in WHOLE and CARRY) and chunks of columns.

    `rows`: so many rows go side by side, each by itself, as one alone waits for each of its additions; the first is
    row `begin`.
    """
    t, r, i = var("t"), var("r"), var("i")
    length, inner, blocks, chunks = var("length"), var("inner"), var("blocks"), var("chunks")
    inputs = tuple(load(f"x{c}", d, as_expr(0)) for c, d in enumerate(dtypes))
    fold = SCANS[name].body(inputs, r)
    inside = tuple(e.dtype for e in fold.initial)
    lets: list[Statement] = [Let(var("chunk"), irem(t, chunks)), Let(var("rest"), idiv(t, chunks))]
    start, stop = const(0, "i64"), blocks if stage == CARRY else length
    outer: Expr = var("begin") + var("rest") * rows
    if stage in (SUMS, FINAL):
        lets += [Let(var("block"), irem(var("rest"), blocks)), Let(var("row"), idiv(var("rest"), blocks))]
        lets += [Let(var("start"), var("block") * REDUCE_BLOCK)]
        lets += [Let(var("stop"), minimum(length, var("start") + REDUCE_BLOCK))]
        outer, start, stop = var("row"), var("start"), var("stop")
    columns = i if column else as_expr(0)
    at = length - 1 - r if reverse else r
    written = SCANS[name].outputs(dtypes)
    accumulators: list[Accumulator] = []
    steps: list[Expr] = []
    body: list[Statement] = []
    after: list[Statement] = []
    for k in range(rows):
        accs = tuple(var(f"a{c}" if rows == 1 else f"a{c}_{k}", d) for c, d in enumerate(inside))
        part = lambda block, k=k: ((outer + k) * blocks + block) * inner + columns  # noqa: E731
        place = ((outer + k) * length + at) * inner + columns
        if stage == CARRY:
            element: Exprs = tuple(load(f"s{c}", d, part(r)) for c, d in enumerate(inside))
            body += [Store(f"y{c}", part(r), a) for c, a in enumerate(accs)]
        else:
            element = SCANS[name].body(tuple(load(f"x{c}", d, place) for c, d in enumerate(dtypes)), at).element
        step = fold.merge(accs, element)
        if stage == SUMS:
            after += [Store(f"y{c}", part(var("block")), a) for c, a in enumerate(accs)]
        elif stage != CARRY:
            result = step
            if stage == FINAL:
                result = fold.merge(tuple(load(f"s{c}", d, part(var("block"))) for c, d in enumerate(inside)), step)
            values = fold.finish(result, length)
            stored = zip(values, written, strict=True)
            body += [Store(f"y{c}", place, narrowed(v, d)) for c, (v, d) in enumerate(stored)]
        accumulators += [Accumulator(a, e) for a, e in zip(accs, fold.initial, strict=True)]
        steps += step
    params: list[Buffer | Scalar] = []
    if stage == CARRY:
        params += [Buffer(f"s{c}", d) for c, d in enumerate(inside)]
        params += [Buffer(f"y{c}", d, "w") for c, d in enumerate(inside)]
    else:
        params += [Buffer(f"x{c}", d) for c, d in enumerate(dtypes)]
        params += [Buffer(f"y{c}", d, "w") for c, d in enumerate(inside if stage == SUMS else written)]
    if stage == FINAL:
        params += [Buffer(f"s{c}", d) for c, d in enumerate(inside)]
    if stage == SUMS and SCANS[name].commutes:
        others = tuple(var(f"b{c}", d) for c, d in enumerate(inside))
        reduce = Reduce(r, start, stop, tuple(accumulators), tuple(steps), tuple(fold.merge(accs, others)), others)
    else:
        reduce = Reduce(r, start, stop, tuple(accumulators), tuple(steps), lanes=1, body=tuple(body))
    if column:
        first = var("first")
        lets.append(Let(first, var("chunk") * COLUMNS))
        loop: tuple[Statement, ...] = (For(i, first, minimum(inner, first + COLUMNS), (reduce, *after), vector=True),)
    else:
        loop = (reduce, *after)
    params += [Scalar(n) for n in ("length", "inner", "blocks", "chunks", "begin", "extent")]
    return Kernel(
        f"{name}_scan", tuple(params), (For(t, const(0, "i64"), var("extent"), (*lets, *loop), parallel=True),)
    )


@planned()
def run(which: Scan, dim: int, reverse: bool, *xs: Tensor) -> Plan:
    """The scan of tensors of one shape along a dimension; off the tape."""
    shape, dtypes = xs[0].shape, tuple(x.dtype.ir for x in xs)
    made = [(shape, DTYPES[CODES[d]]) for d in which.outputs(dtypes)]
    work = math.prod(shape)
    if not work:
        return Plan(made)
    outer, length, inner = math.prod(shape[:dim]), (shape[dim] if shape else 1), math.prod(shape[dim + 1 :])
    blocks, chunks, column = -(-length // REDUCE_BLOCK), -(-inner // COLUMNS), inner != 1

    def step(stage: int, tensors: Sequence[int], units: int, rows: int = 1, begin: int = 0) -> Step:
        address = scan_kernel(which.name, dtypes, stage, column, reverse, rows)
        numbers = length, inner, blocks, chunks, begin, units
        return Step(address, tensors, numbers, units, max(1, GRAIN * units // work), work)

    n, m = len(xs), len(made)
    if blocks == 1:
        together = 0 if column else outer // ROWS
        rest = outer - together * ROWS
        steps = [step(WHOLE, range(n + m), together, ROWS)] if together else []
        steps += [step(WHOLE, range(n + m), rest * chunks, 1, outer - rest)] if rest else []
        return Plan(made, *steps)
    fold = which.body(tuple(var(f"x{c}", d) for c, d in enumerate(dtypes)), var("r"))
    parts = [((outer, blocks, inner), DTYPES[CODES[e.dtype]]) for e in fold.initial]
    sums = range(n + m, n + m + len(parts))
    before = range(sums.stop, sums.stop + len(parts))
    return Plan(
        [*made, *parts, *parts],
        step(SUMS, [*range(n), *sums], outer * blocks * chunks),
        step(CARRY, [*sums, *before], outer * chunks),
        step(FINAL, [*range(n + m), *before], outer * blocks * chunks),
        keep=m,
    )


# ---- the ops
def conj(x: Tensor) -> Tensor:
    return TABLE["conj_physical"](x) if x.is_complex() else x


def along(x: Tensor, dim: int, start: int, stop: int) -> Tensor:
    return x.narrow(dim, start, stop - start)


def shifted(x: Tensor, dim: int, by: int, fill: float) -> Tensor:
    """x moved one place forward (by = 1) or backward (by = -1) along a dimension, `fill` entering."""
    n = x.shape[dim]
    edge = full_like(along(x, dim, 0, 1).detach(), fill)
    return cat([edge, along(x, dim, 0, n - 1)], dim) if by > 0 else cat([along(x, dim, 1, n), edge], dim)


def cumsum_vjp(ctx: Any, g: Tensor) -> Tensor:
    return cumulative_sum(g, ctx.dim, not ctx.reverse)


@primitive(cumsum_vjp, name="cumsum")
def cumulative_sum(ctx, x, dim, reverse=False):
    """y_k = Σ_{i ≤ k} x_i, or i ≥ k in reverse."""
    ctx.dim, ctx.reverse = dim, reverse
    return run(running_sum, dim, reverse, x)


def recurrence_vjp(ctx: Any, g: Tensor) -> tuple:
    a, y = ctx.saved
    # g_b,k = g_k + a_{k+1} g_b,{k+1} and g_a,k = g_b,k y_{k-1}, with before and after exchanged in reverse.
    back = 1 if ctx.reverse else -1
    gb = linear_recurrence(g, shifted(conj(a), ctx.dim, back, 0.0), ctx.dim, not ctx.reverse)
    return gb, gb * shifted(conj(y), ctx.dim, -back, 0.0)


@primitive(recurrence_vjp)
def linear_recurrence(ctx, b, a, dim, reverse=False):
    """y_k = b_k + a_k y_{k-1}, y_{-1} = 0; or from the other end, with y_{k+1}."""
    ctx.dim, ctx.reverse = dim, reverse
    y = run(recurrence, dim, reverse, b, a)
    ctx.save(a, y)
    return y


def cumprod_vjp(ctx: Any, g: Tensor) -> Tensor:
    x, y = ctx.saved
    if not x.numel():
        return g
    if x.ndim == 0:
        return g
    # The product of those before k, times g_k + x_{k+1} (g_{k+1} + x_{k+2} (…)): nothing is divided, zeros are exact.
    tail = linear_recurrence(g, shifted(conj(x), ctx.dim, -1, 0.0), ctx.dim, True)
    return tail * shifted(conj(y), ctx.dim, 1, 1.0)


@primitive(cumprod_vjp, name="cumprod")
def cumulative_product(ctx, x, dim):
    """y_k = Π_{i ≤ k} x_i."""
    ctx.dim = dim
    y = run(running_product, dim, False, x)
    ctx.save(x, y)
    return y


def logcumsumexp_vjp(ctx: Any, g: Tensor) -> Tensor:
    x, y = ctx.saved
    if x.ndim == 0 or not x.numel():
        return g
    if x.is_complex():
        return complex_logcumsumexp_vjp(g, x, y, ctx.dim)
    # Σ_{i ≥ k} g_i exp(x_k - y_i) = exp(x_k - y_k) r_k with r_k = g_k + exp(y_k - y_{k+1}) r_{k+1}; exponents are ≤ 0.
    lost = TABLE["eq"](y, -float("inf"))
    finite = TABLE["where"](lost, 0.0, y)
    decay = TABLE["exp"](finite - shifted(finite, ctx.dim, -1, 0.0))
    decay = TABLE["where"](lost | shifted(lost, ctx.dim, -1, False), 0.0, TABLE["clamp_max"](decay, 1.0))
    tail = linear_recurrence(g, decay, ctx.dim, True)
    return TABLE["where"](lost, 0.0, TABLE["exp"](x - finite) * tail)


def complex_logcumsumexp_vjp(g: Tensor, x: Tensor, y: Tensor, dim: int) -> Tensor:
    """As for real numbers, but for conjugates, and exponents whose sign is not known."""
    conj = TABLE["conj_physical"]
    decay = TABLE["exp"](y - shifted(y, dim, -1, 0.0))
    return conj(TABLE["exp"](x - y)) * linear_recurrence(g, conj(decay), dim, True)


@primitive(logcumsumexp_vjp, name="logcumsumexp")
def cumulative_logsumexp(ctx, x, dim):
    """y_k = log Σ_{i ≤ k} exp(x_i)."""
    ctx.dim = dim
    y = run(running_logsumexp, dim, False, x)
    ctx.save(x, y)
    return y


def extreme_vjp(ctx: Any, g: Tensor, _: Any = None) -> Tensor | None:
    (indices,) = ctx.saved
    return None if g is None else scatter_into_zeros(g, ctx.dim, indices, ctx.shape)


@primitive(extreme_vjp, name="cummax")
def cumulative_max(ctx, x, dim):
    """y_k = max_{i ≤ k} x_i and its last place."""
    return with_places(ctx, running_max, x, dim)


@primitive(extreme_vjp, name="cummin")
def cumulative_min(ctx, x, dim):
    """y_k = min_{i ≤ k} x_i and its last place."""
    return with_places(ctx, running_min, x, dim)


def with_places(ctx: Any, which: Scan, x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    if x.is_complex():
        raise RuntimeError(
            f"{'cummax' if which is running_max else 'cummin'}: complex numbers have no order, got {x.dtype}"
        )
    values, places = run(which, dim, False, x)
    ctx.dim, ctx.shape = dim, x.shape
    ctx.save(places)
    return values, places


def summable(x: Tensor, dtype: Any) -> Tensor:
    if dtype is not None:
        return to(x, dtype)
    return x if x.is_floating_point() or x.is_complex() else to(x, INT64)


@recalled
def cumsum(input: Tensor, dim: int, *, dtype: Any = None, out: Tensor | None = None) -> Tensor:
    """Running sums along a dimension: y_k = Σ_{i ≤ k} x_i. Integers are summed in int64.

    >>> fb.cumsum(fb.tensor([1, 2, 3]), 0)
    tensor([1, 3, 6])
    """
    return into_out(out, cumulative_sum(summable(input, dtype), wrap(dim, input.ndim)))


@recalled
def cumprod(input: Tensor, dim: int, *, dtype: Any = None, out: Tensor | None = None) -> Tensor:
    """Running products along a dimension: y_k = Π_{i ≤ k} x_i. Integers are multiplied in int64.

    >>> fb.cumprod(fb.tensor([1, 2, 3]), 0)
    tensor([1, 2, 6])
    """
    return into_out(out, cumulative_product(summable(input, dtype), wrap(dim, input.ndim)))


@recalled
def logcumsumexp(input: Tensor, dim: int, *, out: Tensor | None = None) -> Tensor:
    """Logarithms of running sums of exponentials: y_k = log Σ_{i ≤ k} exp(x_i).

    >>> fb.logcumsumexp(fb.tensor([0.0, 0.0]), 0)
    tensor([0.0000, 0.6931])
    """
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError(f"logcumsumexp: a floating or complex tensor is needed, got {input.dtype}; use x.float()")
    return into_out(out, cumulative_logsumexp(input, wrap(dim, input.ndim)))


@recalled
def cummax(input: Tensor, dim: int) -> Any:
    """The largest element so far along a dimension and its place, the last of equals.

    >>> fb.cummax(fb.tensor([1, 3, 2]), 0).values
    tensor([1, 3, 3])
    """
    return cummax_result(*cumulative_max(input, wrap(dim, input.ndim)))


@recalled
def cummin(input: Tensor, dim: int) -> Any:
    """The smallest element so far along a dimension and its place, the last of equals.

    >>> fb.cummin(fb.tensor([3, 1, 2]), 0).indices
    tensor([0, 1, 1])
    """
    return cummin_result(*cumulative_min(input, wrap(dim, input.ndim)))


def cumsum_(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """In-place form of :func:`cumsum`.

    >>> fb.tensor([1.0, 2.0, 3.0]).cumsum_(0)
    tensor([1., 3., 6.])
    """
    return input.copy_(cumsum(input, dim, dtype=dtype))


def cumprod_(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """In-place form of :func:`cumprod`.

    >>> fb.tensor([1.0, 2.0, 3.0]).cumprod_(0)
    tensor([1., 2., 6.])
    """
    return input.copy_(cumprod(input, dim, dtype=dtype))


@recalled
@out_of
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """Differences of neighbours along a dimension, n times over: y_k = x_{k+1} - x_k.

    >>> fb.diff(fb.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    if input.ndim == 0:
        raise RuntimeError("diff: at least one dimension is needed, got a number")
    if n < 0:
        raise RuntimeError(f"diff: the order can't be negative, got {n}")
    dim = wrap(dim, input.ndim)
    parts = [p for p in (prepend, input, append) if p is not None]
    input = cat(parts, dim) if len(parts) > 1 else input
    for _ in range(n):
        size = input.shape[dim]
        later, earlier = along(input, dim, min(1, size), size), along(input, dim, 0, max(size - 1, 0))
        input = TABLE["logical_xor"](later, earlier) if input.dtype is BOOL else later - earlier
    return input


for _function in (cumsum, cumsum_, cumprod, cumprod_, logcumsumexp, cummax, cummin, diff):
    setattr(Tensor, _function.__name__, _function)
