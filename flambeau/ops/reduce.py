"""sum, mean, max, … as PyTorch calls them: the reductions of `reductions.py` with their arguments and gradients.

Imports core and neighbours in ops.
"""

from __future__ import annotations

import builtins
import copyreg
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor
from . import reductions as R
from .arguments import out_of, to
from .primitive import primitive
from .recall import recalled
from .table import TABLE

INT64, BOOL, UINT8, FLOAT32 = DTYPES[5], DTYPES[0], DTYPES[1], DTYPES[8]
where, eq = TABLE["where"], TABLE["eq"]


def spread(g: Tensor, shape: Any, dim: Any, keepdim: bool) -> Tensor:
    """A reduced result stretched over the dimensions it was reduced from."""
    if not keepdim and g.ndim != len(shape):
        g = g.reshape(R.reduced_shape(shape, dim))
    return g.expand(shape)


def floating(name: str, x: Tensor, dtype: Any) -> None:
    if not (x.is_floating_point() or x.is_complex()) and dtype is None:
        raise RuntimeError(
            f"{name}: could not infer output dtype: takes floating tensors, got {x.dtype}; use x.float(), or dtype="
        )


SUM_DOC = """The sum over `dim` (all dimensions by default): y = Σ x. Integers are summed in int64.

    >>> fb.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(dim=0)
    tensor([4., 6.])
    """
MEAN_DOC = """The mean over `dim`: y = Σ x / n.

    >>> fb.tensor([1.0, 2.0, 6.0]).mean()
    tensor(3.)
    """
sum = Tensor.sum = _core.LinearReduction(R.sum, False, SUM_DOC)
mean = Tensor.mean = _core.LinearReduction(R.mean, True, MEAN_DOC)


def prod_vjp(ctx: Any, g: Tensor) -> Tensor:
    x, y = ctx.saved
    dims = R.dims_of(x, ctx.dim)
    g_full = spread(g, x.shape, dims, ctx.keepdim)
    if _core.is_grad_enabled():
        rest = product_of_others(x, dims)
        return g_full * (TABLE["conj_physical"](rest) if rest.is_complex() else rest)
    zero = eq(x, 0)
    zeros = sum(zero, dims, True)
    # Without zeros y / x; where there is one zero only its own gradient is not zero: the product of the others.
    others = prod_dims(where(zero, 1.0, x), dims)
    y_full = spread(y, x.shape, dims, ctx.keepdim)
    safe = where(zero, 1.0, x)
    single = where(zero, others.expand(x.shape), 0.0)
    rest = where(eq(zeros, 0).expand(x.shape), y_full / safe, where(eq(zeros, 1).expand(x.shape), single, 0.0))
    return g_full * (TABLE["conj_physical"](rest) if rest.is_complex() else rest)


def product_of_others(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """For each element the product of all others over `dims`, of those before and those after it: exact at zeros too,
    and so are its derivatives.
    """
    from .joining import cat
    from .rearrange import flip
    from .scan import cumprod

    if not x.numel() or x.ndim == 0:
        return x.new_ones(x.shape)
    order = [d for d in builtins.range(x.ndim) if d not in dims] + list(dims)
    turned = x.permute(order)
    rows = turned.reshape((*turned.shape[: x.ndim - len(dims)], -1))
    one = rows.new_ones((*rows.shape[:-1], 1))
    n = rows.shape[-1]
    parts = (part.narrow(-1, 0, n - 1) for part in (rows, flip(rows, (-1,))))
    before, after = (cumprod(cat([one, part], -1), -1) for part in parts)
    others = (before * flip(after, (-1,))).reshape(turned.shape)
    return others.permute([order.index(d) for d in builtins.range(x.ndim)])


def prod_dims(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    for d in dims:
        x = prod(x, d, True)
    return x


@primitive(prod_vjp, method=True)
def prod(ctx, x, dim=None, keepdim=False, *, dtype=None):
    """The product over `dim`: y = Π x. Integers are multiplied in int64.

    >>> fb.tensor([2.0, 3.0, 4.0]).prod()
    tensor(24.)
    """
    ctx.dim, ctx.keepdim = dim, keepdim
    y = R.prod(x, dim, keepdim, dtype)
    ctx.save(x, y)
    return y


def amax_vjp(ctx: Any, g: Tensor) -> Tensor:
    x, y = ctx.saved
    dims = R.dims_of(x, ctx.dim)
    best = eq(x, spread(y, x.shape, dims, ctx.keepdim))
    share = g / sum(best, dims, ctx.keepdim)
    return where(best, spread(share, x.shape, dims, ctx.keepdim), 0.0)


def extreme(ctx: Any, reduction: Any, x: Tensor, dim: Any, keepdim: bool) -> Tensor:
    ctx.dim, ctx.keepdim = dim, keepdim
    y = reduction(x, dim, keepdim)
    ctx.save(x, y)
    return y


@primitive(amax_vjp, method=True, direct=R.amax)
def amax(ctx, x, dim=(), keepdim=False):
    """The largest element over `dim`; equal elements share the gradient evenly.

    >>> fb.tensor([[1.0, 5.0], [3.0, 2.0]]).amax(1)
    tensor([5., 3.])
    """
    return extreme(ctx, R.amax, x, dim, keepdim)


@primitive(amax_vjp, method=True, direct=R.amin)
def amin(ctx, x, dim=(), keepdim=False):
    """The smallest element over `dim`; equal elements share the gradient evenly.

    >>> fb.tensor([[1.0, 5.0], [3.0, 2.0]]).amin(1)
    tensor([1., 2.])
    """
    return extreme(ctx, R.amin, x, dim, keepdim)


def picked_vjp(ctx: Any, g: Tensor, _: Any = None) -> Tensor:
    from .indexing import scatter_into_zeros

    (indices,) = ctx.saved
    if g is None:
        return None
    if not ctx.keepdim and len(ctx.shape):
        g, indices = g.unsqueeze(ctx.dim), indices.unsqueeze(ctx.dim)
    return scatter_into_zeros(g, ctx.dim, indices, ctx.shape)


@primitive(picked_vjp, name="max_dim")
def max_dim(ctx, x, dim, keepdim=False):
    """The largest element along `dim` and its index; the first of equals wins, and gets the gradient."""
    return pick(ctx, R.max_with_index, x, dim, keepdim)


@primitive(picked_vjp, name="min_dim")
def min_dim(ctx, x, dim, keepdim=False):
    """The smallest element along `dim` and its index; the first of equals wins, and gets the gradient."""
    return pick(ctx, R.min_with_index, x, dim, keepdim)


def pick(ctx: Any, reduction: Any, x: Tensor, dim: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    values, indices = reduction(x, dim, keepdim)
    ctx.shape, ctx.keepdim = x.shape, keepdim
    ctx.dim = dim + x.ndim if dim < 0 else dim
    ctx.save(indices)
    return values, indices


@primitive(method=True, direct=R.argmax)
def argmax(ctx, x, dim=None, keepdim=False):
    """The index of the largest element along `dim`, or in the flattened tensor; the first of equals.

    >>> fb.tensor([1.0, 7.0, 3.0]).argmax()
    tensor(1)
    """
    return R.argmax(x, dim, keepdim)


@primitive(method=True, direct=R.argmin)
def argmin(ctx, x, dim=None, keepdim=False):
    """The index of the smallest element along `dim`, or in the flattened tensor; the first of equals.

    >>> fb.tensor([4.0, 7.0, 3.0]).argmin()
    tensor(2)
    """
    return R.argmin(x, dim, keepdim)


def as_truth(x: Tensor, found: Tensor) -> Tensor:
    """found as PyTorch has it: uint8 was its boolean once, and stays one here."""
    return to(found, UINT8) if x.dtype is UINT8 else found


@primitive(method=True)
def any(ctx, x, dim=None, keepdim=False):
    """Whether any element over `dim` is true; of uint8 as uint8.

    >>> fb.tensor([False, True]).any()
    tensor(True)
    """
    return as_truth(x, R.any(x, dim, keepdim))


@primitive(method=True)
def all(ctx, x, dim=None, keepdim=False):
    """Whether all elements over `dim` are true; of uint8 as uint8.

    >>> fb.tensor([False, True]).all()
    tensor(False)
    """
    return as_truth(x, R.all(x, dim, keepdim))


@primitive(method=True, direct=R.count_nonzero)
def count_nonzero(ctx, x, dim=None):
    """How many elements over `dim` aren't zero.

    >>> fb.tensor([0, 3, 0, 1]).count_nonzero()
    tensor(2)
    """
    return R.count_nonzero(x, dim)


def var_vjp(ctx: Any, g: Tensor) -> Tensor:
    (x,) = ctx.saved
    dims = R.dims_of(x, ctx.dim)
    count = 1
    for d in dims:
        count *= x.shape[d]
    centred = x - mean(x, dims, True)
    freedom = builtins.max(0, count - ctx.correction)
    return centred * spread(g * (2.0 / freedom if freedom else float("nan")), x.shape, dims, ctx.keepdim)


@primitive(var_vjp, name="var")
def _var(ctx, x, dim, correction, keepdim):
    """The variance over `dim`: y = Σ (x - mean)² / max(0, n - correction)."""
    floating("var", x, None)
    ctx.dim, ctx.keepdim, ctx.correction = dim, keepdim, correction
    ctx.save(x)
    return R.variance(x, dim, keepdim, None, (float(correction),))


def correction_of(unbiased: Any, correction: Any) -> float:
    return correction if correction is not None else 1 if unbiased is None or unbiased else 0


@recalled
@out_of
def var(x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Tensor:
    """The variance over `dim`: y = Σ (x - mean)² / max(0, n - correction); correction is 1 by default.

    >>> fb.tensor([1.0, 2.0, 3.0, 4.0]).var()
    tensor(1.6667)
    """
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if x.is_complex():
        real, imag = (var(part, dim, unbiased, keepdim, correction=correction) for part in (x.real, x.imag))
        return real + imag
    return _var(x, dim, correction_of(unbiased, correction), keepdim)


@recalled
@out_of
def std(x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Tensor:
    """The standard deviation over `dim`: the square root of `var`.

    >>> fb.tensor([1.0, 2.0, 3.0, 4.0]).std()
    tensor(1.2910)
    """
    return TABLE["sqrt"](var(x, dim, unbiased, keepdim, correction=correction))


def var_mean(
    x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> tuple:
    """The variance and the mean over `dim`.

    >>> fb.var_mean(fb.tensor([[1.0, 3.0], [2.0, 6.0]]), dim=1)
    (tensor([2., 8.]), tensor([2., 4.]))
    """
    return var(x, dim, unbiased, keepdim, correction=correction), mean(
        x, None if isinstance(dim, bool) else dim, keepdim
    )


def std_mean(
    x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> tuple:
    """The standard deviation and the mean over `dim`.

    >>> fb.std_mean(fb.tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    return std(x, dim, unbiased, keepdim, correction=correction), mean(
        x, None if isinstance(dim, bool) else dim, keepdim
    )


def norm2_vjp(ctx: Any, g: Tensor) -> Tensor:
    x, y = ctx.saved
    dims = R.dims_of(x, ctx.dim)
    ratio = where(eq(y, 0), 0.0, g / where(eq(y, 0), 1.0, y))
    return x * spread(ratio, x.shape, dims, ctx.keepdim)


@primitive(norm2_vjp, name="norm2")
def norm2(ctx, x, dim=None, keepdim=False):
    """The Euclidean norm over `dim`: y = √Σ x²; its gradient at 0 is 0."""
    return extreme(ctx, R.norm2, x, dim, keepdim)


@recalled
@out_of
def norm(x: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The p-norm of the elements over `dim`: y = (Σ |x|^p)^(1/p), with the limits for p = 0, inf and -inf.

    >>> fb.tensor([3.0, 4.0]).norm()
    tensor(5.)
    """
    if dtype is not None:
        x = to(x, dtype)
    floating("norm", x, None)
    if p == "nuc":
        from ..linalg.norms import matrix_norm

        return matrix_norm(x, "nuc", range(x.ndim) if dim is None else dim, keepdim)
    absolute = TABLE["abs"]
    if x.is_complex():
        x = absolute(x)
    if p in ("fro", None, 2):
        return norm2(x, dim, keepdim)
    if p == 1:
        return sum(absolute(x), dim, keepdim)
    if p == float("inf"):
        return amax(absolute(x), () if dim is None else dim, keepdim)
    if p == -float("inf"):
        return amin(absolute(x), () if dim is None else dim, keepdim)
    if p == 0:
        return to(count_nonzero_keep(x, dim, keepdim), x.dtype)
    return TABLE["pow"](sum(TABLE["pow"](absolute(x), p), dim, keepdim), 1.0 / p)


def count_nonzero_keep(x: Tensor, dim: Any, keepdim: bool) -> Tensor:
    return R.count_nonzero(x, dim, keepdim)


EMPTY_FORBIDDEN = frozenset(("amax", "amin", "argmax", "argmin", "max_with_index", "min_with_index"))


def reduce_empty(reduction: Any, shape: Any) -> None:
    """A reduction of no elements: fine where it has an identity."""
    if reduction.name in EMPTY_FORBIDDEN:
        raise IndexError(
            f"{reduction.name}: no elements to choose from in shape {list(shape)}: a reduced dimension has length 0"
        )


Tensor.var, Tensor.std, Tensor.norm = var, std, norm
_core.set_hook("reduce_empty", reduce_empty)
sum.__module__ = mean.__module__ = __name__
copyreg.pickle(_core.LinearReduction, lambda op: op.name)  # by reference, as functions are

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "count_nonzero", "mean", "norm", "prod", "std", "std_mean", "sum",
    "var", "var_mean",
]  # fmt: skip
