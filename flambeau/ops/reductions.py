"""Reductions: each says how one element enters, how two partial results merge and what is made of the last.

The order of merging is the kernel IR's (16 lanes, blocks of 4096) whatever the layout and the number of threads.
May import core, ir and neighbours in ops. Read next: `codegen/schedule.py` (the loops), `core/reduce.pxi`
(`Reduction`: how a layout is brought to rows or columns).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..core._core import Reduction, Tensor
from ..ir import expr as E
from ..ir.expr import DTYPES, Expr, Type, as_expr, cast, const, eq, isnan, var, where
from ..ir.kernel import Scalar
from .typed import computation

Exprs = tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Fold:
    """What a reduction does, for one dtype.

    initial  the accumulators of no elements: constants
    element  the accumulators of one element
    merge    of two lots of accumulators
    finish   the results, given the accumulators and how many elements there were
    step     merge, where the second lot is one element that comes after all of the first, if that is simpler
    """

    initial: Exprs
    element: Exprs
    merge: Callable[[Exprs, Exprs], Exprs]
    finish: Callable[[Exprs, Expr], Exprs]
    step: Callable[[Exprs, Exprs], Exprs] | None = None


@dataclass(frozen=True, slots=True)
class BoundFold:
    """A reduction's body at one dtype, as the schedule wants it."""

    body: Callable[..., Fold]
    dtype: str
    out_dtype: str | None
    numbers: tuple[str, ...]

    def at(self, x: Expr, index: Expr) -> Fold:
        inner = computation(self.out_dtype) if self.out_dtype else computation(self.dtype)
        given = [cast(x, inner)]
        if "index" in parameters_of(self.body):
            given.append(index)
        return self.body(*given, *(var(n, "f64") for n in self.numbers))

    def element(self, x: Expr, index: Expr) -> Exprs:
        return self.at(x, index).element

    def initial(self) -> Exprs:
        return self.at(var("x", self.dtype), var("r")).initial

    def merge(self, a: Exprs, b: Exprs) -> Exprs:
        return self.at(var("x", self.dtype), var("r")).merge(a, b)

    def step(self, a: Exprs, b: Exprs) -> Exprs:
        fold = self.at(var("x", self.dtype), var("r"))
        return (fold.step or fold.merge)(a, b)

    def finish(self, a: Exprs, n: Expr) -> Exprs:
        return self.at(var("x", self.dtype), var("r")).finish(a, n)

    def parameters(self) -> tuple[Scalar, ...]:
        return tuple(Scalar(n, "f64") for n in self.numbers)

    def out_dtypes(self, results: Exprs) -> tuple[str, ...]:
        wanted = self.out_dtype or self.dtype

        def narrowed(e: Expr) -> bool:
            return wanted in ("f16", "bf16") if e.dtype == "f32" else self.out_dtype is not None and e.dtype == "i64"

        return tuple(wanted if narrowed(e) else e.dtype for e in results)


@dataclass(frozen=True, slots=True)
class ReductionDef:
    name: str
    body: Callable[..., Fold]
    numbers: tuple[str, ...]

    def fold(self, dtype: str, out_dtype: str | None) -> BoundFold:
        return BoundFold(self.body, dtype, out_dtype, self.numbers)


def parameters_of(body: Callable[..., Fold]) -> tuple[str, ...]:
    return body.__code__.co_varnames[: body.__code__.co_argcount]


REDUCTIONS: dict[str, Reduction] = {}


def reduction(outputs: int = 1) -> Callable[[Callable[..., Fold]], Reduction]:
    """Registers body(x[, index][, numbers…]) -> Fold as a reduction with so many results."""

    def register(body: Callable[..., Fold]) -> Reduction:
        numbers = tuple(p for p in parameters_of(body)[1:] if p != "index")
        name = body.__name__.strip("_")
        made = REDUCTIONS[name] = Reduction(name, ReductionDef(name, body, numbers), outputs, body.__doc__)
        return made

    return register


def kind(x: Expr) -> str:
    return DTYPES[x.dtype].kind


def whole(x: Expr) -> Expr:
    """Integers and booleans as i64, where PyTorch sums them."""
    return cast(x, "i64") if kind(x) in "bui" else x


def simple(x: Expr, initial: float, merge: Callable[[Expr, Expr], Expr]) -> Fold:
    """One accumulator of x's dtype, returned as it is."""
    return Fold((const(initial, x.dtype),), (x,), lambda a, b: (merge(a[0], b[0]),), lambda a, n: a)


def ordered(dtype: str) -> Type:
    """The dtype's type, if its numbers can be compared."""
    if DTYPES[dtype].kind == "c":
        raise NotImplementedError("max, min: complex numbers have no order; take the extremes of abs() or of a part")
    return DTYPES[dtype]


def lowest(dtype: str) -> float:
    """The identity of max."""
    t = ordered(dtype)
    return {"f": -float("inf"), "b": False, "u": 0}.get(t.kind, -(2 ** (8 * t.size - 1)))


def highest(dtype: str) -> float:
    """The identity of min."""
    t = ordered(dtype)
    return {"f": float("inf"), "b": True, "u": 2 ** (8 * t.size) - 1}.get(t.kind, 2 ** (8 * t.size - 1) - 1)


@reduction()
def sum(x):
    """The sum; integers are summed in int64."""
    return simple(whole(x), 0, lambda a, b: a + b)


@reduction()
def mean(x):
    """The sum divided by the number of elements."""
    total = simple(x, 0, lambda a, b: a + b)
    return Fold(total.initial, total.element, total.merge, lambda a, n: (a[0] / cast(n, a[0].dtype),))


@reduction()
def prod(x):
    """The product; integers are multiplied in int64."""
    return simple(whole(x), 1, lambda a, b: a * b)


@reduction()
def amax(x):
    """The largest element; NaN if there is one."""
    return simple(x, lowest(x.dtype), (lambda a, b: a | b) if kind(x) == "b" else E.maximum)


@reduction()
def amin(x):
    """The smallest element; NaN if there is one."""
    return simple(x, highest(x.dtype), (lambda a, b: a & b) if kind(x) == "b" else E.minimum)


def extremum(x: Expr, index: Expr, start: float, better: Callable[[Expr, Expr], Expr]) -> Fold:
    """Value and index of the best element: NaN beats all, the first of equals wins."""
    x = cast(x, "u8") if kind(x) == "b" else x

    def wins(a: Exprs, b: Exprs) -> Expr:
        ahead = better(b[0], a[0])
        return (ahead | isnan(b[0])) & ~isnan(a[0]) if kind(a[0]) == "f" else ahead

    def chosen(takes: Expr, a: Exprs, b: Exprs) -> Exprs:
        return where(takes, b[0], a[0]), where(takes, b[1], a[1])

    def merge(a: Exprs, b: Exprs) -> Exprs:
        tie = eq(a[0], b[0])
        if kind(a[0]) == "f":
            tie = tie | (isnan(a[0]) & isnan(b[0]))
        return chosen(wins(a, b) | (tie & (b[1] < a[1])), a, b)

    # What only equals the start leaves its index; if nothing was better, all do, and the first of them has the index 0.
    nothing = as_expr(2**62)
    finish = lambda a, n: (a[0], where(eq(a[1], nothing), as_expr(0), a[1]))  # noqa: E731
    return Fold((const(start, x.dtype), nothing), (x, index), merge, finish, lambda a, b: chosen(wins(a, b), a, b))


@reduction(outputs=2)
def max_with_index(x, index):
    """The largest element and the index of its first occurrence."""
    inner = "u8" if kind(x) == "b" else x.dtype
    fold = extremum(x, index, lowest(inner), lambda a, b: a > b)
    return fold if kind(x) != "b" else replace(fold, finish=lambda a, n: (E.ne(a[0], 0), fold.finish(a, n)[1]))


@reduction(outputs=2)
def min_with_index(x, index):
    """The smallest element and the index of its first occurrence."""
    inner = "u8" if kind(x) == "b" else x.dtype
    fold = extremum(x, index, highest(inner), lambda a, b: a < b)
    return fold if kind(x) != "b" else replace(fold, finish=lambda a, n: (E.ne(a[0], 0), fold.finish(a, n)[1]))


@reduction()
def argmax(x, index):
    """The index of the first largest element."""
    inner = "u8" if kind(x) == "b" else x.dtype
    fold = extremum(x, index, lowest(inner), lambda a, b: a > b)
    return replace(fold, finish=lambda a, n: fold.finish(a, n)[1:])


@reduction()
def argmin(x, index):
    """The index of the first smallest element."""
    inner = "u8" if kind(x) == "b" else x.dtype
    fold = extremum(x, index, highest(inner), lambda a, b: a < b)
    return replace(fold, finish=lambda a, n: fold.finish(a, n)[1:])


def truth(x: Expr) -> Expr:
    return x if kind(x) == "b" else E.ne(x, const(0, x.dtype))


@reduction()
def any(x):
    """Whether an element is true."""
    return simple(truth(x), False, lambda a, b: a | b)


@reduction()
def all(x):
    """Whether every element is true."""
    return simple(truth(x), True, lambda a, b: a & b)


@reduction()
def count_nonzero(x):
    """How many elements aren't zero."""
    return simple(cast(truth(x), "i64"), 0, lambda a, b: a + b)


@reduction()
def variance(x, correction):
    """Σ(x - mean)² / max(0, n - correction), by merging means and squared deviations (Chan, Golub, LeVeque 1979)."""
    d = x.dtype

    def merge(a: Exprs, b: Exprs) -> Exprs:
        n = a[0] + b[0]
        share = where(eq(n, 0.0), 0.0, b[0] / n)
        delta = b[1] - a[1]
        return n, a[1] + delta * share, a[2] + b[2] + delta * (delta * (a[0] * share))

    def finish(a: Exprs, n: Expr) -> Exprs:
        freedom = cast(n, d) - cast(correction, d)
        return (a[2] / E.maximum(freedom, const(0.0, d)),)

    zero = const(0.0, d)
    return Fold((zero, zero, zero), (const(1.0, d), x, zero), merge, finish)


@reduction()
def sum_of_squares(x):
    """Σ x²."""
    return simple(x * x, 0, lambda a, b: a + b)


@reduction()
def norm1(x):
    """Σ |x|."""
    return simple(abs(x), 0, lambda a, b: a + b)


@reduction()
def norm2(x):
    """√Σ x²."""
    f = simple(x * x, 0, lambda a, b: a + b)
    return Fold(f.initial, f.element, f.merge, lambda a, n: (E.sqrt(a[0]),))


@reduction()
def norm_p(x, p):
    """(Σ |x|^p)^(1/p)."""
    power = cast(p, x.dtype)
    f = simple(E.function("pow", abs(x), power), 0, lambda a, b: a + b)
    return Fold(f.initial, f.element, f.merge, lambda a, n: (E.function("pow", a[0], 1.0 / power),))


def reduced_shape(shape: Sequence[int], dims: Sequence[int]) -> tuple[int, ...]:
    """The shape with the reduced dimensions kept at length 1."""
    return tuple(1 if d in dims else n for d, n in enumerate(shape))


def dims_of(x: Tensor, dim: Any) -> tuple[int, ...]:
    """The dimensions a `dim` argument names, as non-negative numbers; None and () mean all."""
    if dim is None or dim == () or dim == []:
        return tuple(range(x.ndim))
    given = dim if isinstance(dim, (tuple, list)) else (dim,)
    return tuple(d + x.ndim if d < 0 else d for d in given)
