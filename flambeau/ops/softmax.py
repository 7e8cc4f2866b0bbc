"""softmax, log_softmax, logsumexp and cross entropy, as row programs. Imports core and neighbours in ops.

Read next: `rows.py` (the vocabulary of the formulas), `normalization.py`.
"""

from __future__ import annotations

import functools
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Plan, Resolution, Step, Tensor
from ..ir.expr import Expr, cast, const, load, var
from ..ir.kernel import REDUCE_BLOCK, Accumulator, Buffer, For, Kernel, Reduce, Scalar, Store
from .arguments import Ints, every, out_of, wrap
from .basic import to_dtype
from .primitive import generated, planned_primitive, primitive, resolved
from .recall import recalled
from .reduce import sum
from .rows import apply, choose, column_is, different, planned_rows, program, row_max, row_sum, take
from .table import TABLE

interpreting = _core.interpreting
NO_CLASS = -float("inf")  # a weight that says a target is out of range
FLOAT32, INT64 = DTYPES[8], DTYPES[5]
where = TABLE["where"]


def softmax_rows(x: Any) -> Any:
    e = apply("exp", x - row_max(x))
    # One division a row: the sum is between 1 and the number of columns, so its reciprocal is a normal number.
    return e * (1.0 / row_sum(e))


def softmax_backward(g: Any, y: Any) -> Any:
    return y * (g - row_sum(g * y))


def log_softmax_rows(x: Any) -> Any:
    shifted = x - row_max(x)
    return shifted - apply("log", row_sum(apply("exp", shifted)))


def log_softmax_backward(g: Any, y: Any) -> Any:
    return g - apply("exp", y) * row_sum(g)


SOFTMAX = program(softmax_rows, {"x": "full"}, [("full", "x")])
SOFTMAX_BACKWARD = program(softmax_backward, {"g": "full", "y": "full"}, [("full", "y")])
LOG_SOFTMAX = program(log_softmax_rows, {"x": "full"}, [("full", "x")])
LOG_SOFTMAX_BACKWARD = program(log_softmax_backward, {"g": "full", "y": "full"}, [("full", "y")])


def softmax_vjp(ctx: Any, g: Tensor) -> Tensor:
    (y,) = ctx.saved
    return softmax_backward(g, y) if _core.is_grad_enabled() else SOFTMAX_BACKWARD(g, y)


@primitive(softmax_vjp, name="softmax_last")
def softmax_last(ctx, x):
    """Softmax over the last dimension."""
    y = SOFTMAX(x)
    ctx.save(y)
    return y


def log_softmax_vjp(ctx: Any, g: Tensor) -> Tensor:
    (y,) = ctx.saved
    return log_softmax_backward(g, y) if _core.is_grad_enabled() else LOG_SOFTMAX_BACKWARD(g, y)


@primitive(log_softmax_vjp, name="log_softmax_last")
def log_softmax_last(ctx, x):
    """log of softmax over the last dimension."""
    y = LOG_SOFTMAX(x)
    ctx.save(y)
    return y


def along(function: Any, x: Tensor, dim: int | None, dtype: Any, name: str) -> Tensor:
    """A function of the last dimension, applied to any."""
    if dtype is not None and x.dtype is not dtype:
        x = to_dtype(x, dtype)
    if not x.is_floating_point():
        raise TypeError(f"{name}: takes floating tensors, got {x.dtype}; use x.float()")
    n = x.ndim
    if dim is None:
        dim = 0 if n in (0, 1, 3) else 1
    if n and (dim == -1 or dim == n - 1):
        return function(x)
    dim = wrap(dim, n)
    return function(x.transpose(dim, -1)).transpose(dim, -1) if n else function(x.reshape(1)).reshape(())


@recalled
def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """y_i = exp(x_i) / Σ_j exp(x_j) along `dim`.

    >>> fb.softmax(fb.tensor([0.0, 0.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    return along(softmax_last, input, dim, dtype, "softmax")


@recalled
def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """y_i = x_i - log Σ_j exp(x_j) along `dim`.

    >>> fb.log_softmax(fb.tensor([0.0, 0.0]), dim=0)
    tensor([-0.6931, -0.6931])
    """
    return along(log_softmax_last, input, dim, dtype, "log_softmax")


@recalled
@out_of
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """log Σ exp(x) over `dim`, without overflow.

    >>> fb.logsumexp(fb.tensor([1000.0, 1000.0]), 0)
    tensor(1000.6932)
    """
    x = input if input.is_floating_point() or input.is_complex() else to_dtype(input, FLOAT32)
    dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    size = x.detach().real if x.is_complex() else x.detach()
    top = size.amax(dims, True) if x.numel() else zeros_of(size.sum(dims, True))
    top = where(TABLE["eq"](TABLE["abs"](top), float("inf")), 0.0, top)
    out = TABLE["log"](sum(TABLE["exp"](x - top), dims, True)) + top
    if keepdim:
        return out
    wanted = {d % max(1, x.ndim) for d in dims}
    return out.reshape([n for d, n in enumerate(out.shape) if d not in wanted])


def zeros_of(x: Tensor) -> Tensor:
    return x * 0


# ---- losses against classes
def class_loss(x: Any, total: Any, target: Any, weight: Any, ignore: Any, classes: Any) -> tuple[Any, Any]:
    """Per row: w (total - x) at the target, and the weight that a mean divides by (-inf for a target out of range)."""
    counted = different(target, ignore)
    inside = (target >= 0) & (target < classes)
    at = choose(inside, target, target * 0)
    picked = take(x, at)
    loss = -picked if total is None else total - picked
    nothing = like(loss, target * 0)
    share = take(weight, at) if weight is not None else nothing + 1.0
    # Selected, not multiplied: an ignored row whose loss is infinite contributes 0, not NaN.
    loss = choose(counted, loss * share, nothing)
    return loss, choose(counted, choose(inside, share, nothing - float("inf")), nothing)


def like(model: Any, x: Any) -> Any:
    """x in model's dtype."""
    return cast(x, model.dtype) if isinstance(x, Expr) else x.to(model.dtype)


def cross_entropy_rows(x: Any, target: Any, weight: Any, ignore: Any, classes: Any) -> Any:
    """Per row: loss, weight, and log-sum-exp."""
    top = row_max(x)
    total = top + apply("log", row_sum(apply("exp", x - top)))
    return *class_loss(x, total, target, weight, ignore, classes), total


def cross_entropy_backward(x: Any, g: Any, total: Any, share: Any, target: Any) -> Any:
    """g share (softmax(x) - onehot(target))."""
    p = apply("exp", x - total)
    return (g * share) * choose(column_is(x, target), p - 1.0, p)


def nll_rows(x: Any, target: Any, weight: Any, ignore: Any, classes: Any) -> Any:
    return class_loss(x, None, target, weight, ignore, classes)


def nll_backward(x: Any, g: Any, share: Any, target: Any) -> Any:
    """-g share onehot(target)."""
    down = -(g * share)
    return choose(column_is(x, target), down, like(down, target * 0))


CLASSES = {"x": "full", "target": "row", "weight": "col", "ignore": "number", "classes": "number"}
CROSS_ENTROPY = program(cross_entropy_rows, CLASSES, [("row", "x"), ("row", "wide"), ("row", "wide")])
CROSS_ENTROPY_BACKWARD = program(
    cross_entropy_backward,
    {"x": "full", "g": "row", "total": "row", "share": "row", "target": "row"},
    [("full", "x")],
)
NLL = program(nll_rows, CLASSES, [("row", "x"), ("row", "wide")])
NLL_BACKWARD = program(nll_backward, {"x": "full", "g": "row", "share": "row", "target": "row"}, [("full", "x")])


def cross_entropy_vjp(ctx: Any, g: Tensor, *_: Any) -> tuple:
    x, total, share, target = ctx.saved
    if _core.is_grad_enabled():
        g, share, target = (t.reshape(-1, 1) for t in (g, share.detach(), target))
        return cross_entropy_backward(x, g, logsumexp(x, -1, True), share, target), *ctx.rest
    return CROSS_ENTROPY_BACKWARD(x, g, total, share, target), *ctx.rest


@primitive(cross_entropy_vjp, name="cross_entropy_rows")
def cross_entropy_last(ctx, x, target, weight, ignore_index):
    """Loss of each row of x against its class, and the weight of each row."""
    loss, share, total = CROSS_ENTROPY(x, target, weight, ignore_index, x.size(1))
    ctx.rest = (None,) if weight is None else (None, None)
    ctx.save(x, total, share, target)
    return loss, share


def nll_vjp(ctx: Any, g: Tensor, *_: Any) -> tuple:
    x, share, target = ctx.saved
    if _core.is_grad_enabled():
        g, share, target = (t.reshape(-1, 1) for t in (g, share.detach(), target))
        return nll_backward(x, g, share, target), *ctx.rest
    return NLL_BACKWARD(x, g, share, target), *ctx.rest


@primitive(nll_vjp, name="nll_rows")
def nll_last(ctx, x, target, weight, ignore_index):
    """Minus the element of each row of log-probabilities at its class, weighted, and the weight of each row."""
    loss, share = NLL(x, target, weight, ignore_index, x.size(1))
    ctx.rest = (None,) if weight is None else (None, None)
    ctx.save(x, share, target)
    return loss, share


# ---- the same brought to one number at once
@generated
def total_kernel(dtype: str, divide: bool) -> Kernel:
    """Σ loss, or Σ loss / Σ share, and Σ share."""
    t, k, rows = var("t"), var("k"), var("rows")
    names = ("loss_sum", "share_sum")
    sums, others = [var(n, dtype) for n in names], [var(n + "_other", dtype) for n in names]
    steps = tuple(a + load(b, dtype, k) for a, b in zip(sums, ("losses", "shares"), strict=True))
    merged = tuple(a + b for a, b in zip(sums, others, strict=True))
    start = tuple(Accumulator(a, const(0, dtype)) for a in sums)
    fold = Reduce(k, const(0, "i64"), rows, start, steps, merged, tuple(others))
    loss = sums[0] / sums[1] if divide else sums[0]
    body = fold, Store("loss", t, loss), Store("share", t, sums[1])
    buffers = Buffer("losses", dtype), Buffer("shares", dtype), Buffer("loss", dtype, "w"), Buffer("share", dtype, "w")
    return Kernel(
        "class_total", (*buffers, Scalar("rows")), (For(t, const(0, "i64"), const(1, "i64"), body, parallel=True),)
    )


def total_vjp(ctx: Any, g: Tensor, *_: Any) -> tuple:
    x, target, total, shares, *logs = ctx.saved
    divide, rest = ctx.note
    g = g / total.detach() if divide else g
    if _core.is_grad_enabled():
        shares, target = shares.detach().reshape(-1, 1), target.reshape(-1, 1)
        if logs:
            dx = cross_entropy_backward(x, g, logsumexp(x, -1, True), shares, target)
        else:
            dx = nll_backward(x, g, shares, target)
    else:
        g = g.expand(x.shape[:1])
        dx = CROSS_ENTROPY_BACKWARD(x, g, *logs, shares, target) if logs else NLL_BACKWARD(x, g, shares, target)
    return dx, *rest


@planned_primitive(total_vjp, shortcut=True)
def class_total(x, target, weight, name, ignore_index, divide):
    """The sum or mean of the losses of rows against classes, and the sum of their weights."""
    rows, classes = x.shape
    first = 2 if weight is None else 3
    logs = (first + 4,) if name == "cross_entropy" else ()
    inputs = ((0, x.dtype), (1, target.dtype), None if weight is None else (2, weight.dtype), ignore_index, classes)
    places = (first + 2, first + 3, *logs)
    losses = planned_rows(CROSS_ENTROPY if logs else NLL, inputs, places, rows, classes)
    total = Step(total_kernel(x.dtype.ir, divide), (first + 2, first + 3, first, first + 1), (rows,), 1, 1, rows)
    made = [((), x.dtype)] * 2 + [((rows,), x.dtype)] * (2 + len(logs))
    note = divide, (None,) * (first - 1)
    return Plan(made, losses, total, keep=2, saves=(0, 1, first + 1, first + 3, *logs), note=note)


def checked_total(
    found: tuple[Tensor, Tensor], x: Tensor, target: Tensor, weight: Any, name: str, ignored: int, _: bool
):
    loss, total = found
    if total.item() == NO_CLASS:
        raise out_of_range(name, target, ignored, x.shape[1])
    return loss


def at_once(x: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> bool:
    """Whether a loss of rows against classes is brought to one number by one plan, with the same bits."""
    return (
        x.ndim == 2 and 0 < x.shape[0] <= REDUCE_BLOCK and x.shape[1] > 0 and target.dtype is INT64
        and x.dtype.ir in ("f32", "f64") and (weight is None or weight.dtype is x.dtype)
        and reduction != "none" and not interpreting()
    )  # fmt: skip


def legacy_reduction(size_average: Any, reduce: Any, reduction: str) -> str:
    """PyTorch's older pair of flags, as the name that replaced them."""
    if size_average is None and reduce is None:
        return reduction
    return "none" if reduce is False else "sum" if size_average is False else "mean"


def check_reduction(name: str, reduction: str) -> None:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{name}: reduction must be 'none', 'mean' or 'sum', got {reduction!r}")


def classes_last(x: Tensor) -> Tensor:
    """[N, C, …] as [N …, C]."""
    return x if x.ndim <= 2 else x.transpose(1, -1) if x.ndim == 3 else x.permute(0, *range(2, x.ndim), 1)


@functools.lru_cache(4096)
def count_classes(name: str, shape: Ints, target: Ints, soft: bool, weight: Ints | None) -> int:
    """How many classes an input of a shape has. Raises ValueError or RuntimeError where target or weight don't fit."""
    if not shape:
        raise ValueError(f"{name}: input needs a dimension of classes, got a 0-dimensional tensor")
    at = min(1, len(shape) - 1)
    expected = shape if soft else (*shape[:at], *shape[at + 1 :])
    if target != expected:
        kind = "probabilities must have input's shape" if soft else "expected class indices of shape"
        other = "class indices must be int64" if soft else "probabilities must be floating and have input's shape"
        raise ValueError(f"{name}: {kind} {list(expected)} for input {list(shape)}, got {list(target)}; {other}")
    if weight is not None and weight != (shape[at],):
        raise RuntimeError(f"{name}: weight needs one number for each of {shape[at]} classes, got {list(weight)}")
    return shape[at]


def out_of_range(name: str, target: Tensor, ignore_index: int, classes: int) -> IndexError:
    bad = next(t for t in every(target).reshape(-1).tolist() if t != ignore_index and not 0 <= t < classes)
    return IndexError(
        f"{name}: target {bad} is out of bounds for {classes} classes; use 0 … {classes - 1}, or ignore_index"
    )


@resolved
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """loss = -w_y log softmax(x)_y; `mean` divides the sum by Σ w_y. Targets are classes, or probabilities like x.

    Shapes: x (C), (N, C) or (N, C, d…); target the same without C, int64; or as x, floating.

    >>> fb.ops.cross_entropy(fb.tensor([[0.0, 0.0]]), fb.tensor([1]))
    tensor(0.6931)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    soft = target.is_floating_point()
    classes = count_classes("cross_entropy", input.shape, target.shape, soft, None if weight is None else weight.shape)
    check_reduction("cross_entropy", reduction)
    x = input
    if soft or label_smoothing:
        return soft_cross_entropy(x, target, weight, ignore_index, reduction, label_smoothing, classes)
    if at_once(x, target, weight, reduction):
        how = "cross_entropy", ignore_index, reduction == "mean"
        return Resolution(class_total, x, target, weight, *how, then=checked_total)
    return reduced("cross_entropy", cross_entropy_last, x, target, weight, ignore_index, reduction)


def reduced(
    name: str, function: Any, x: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str
) -> Tensor:
    """A loss of rows against classes, brought to the shape that the reduction asks for."""
    rows = x if x.ndim == 2 else classes_last(x).reshape(-1, x.size(1 if x.ndim > 1 else 0))
    labels = target if target.dtype is INT64 else to_dtype(target, INT64)
    loss, share = function(rows, labels if labels.ndim == 1 else labels.reshape(-1), weight, ignore_index)
    total = sum(share.detach())
    least = every(total).amin() if interpreting() else total
    if least.item() == -float("inf"):
        raise out_of_range(name, target, ignore_index, rows.shape[1])
    if reduction == "none":
        return loss if target.ndim == 1 else loss.reshape(target.shape)
    if reduction == "sum":
        return sum(loss)
    return sum(loss) / (total if total.dtype is loss.dtype else total.to(loss.dtype))


def soft_cross_entropy(
    x: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, smoothing: float, classes: int
) -> Tensor:
    """Cross entropy against probabilities, or classes smoothed towards the uniform distribution."""
    logits = log_softmax_last(classes_last(x) if x.ndim > 1 else x)
    weighted = logits if weight is None else logits * weight
    if target.is_floating_point():
        p = classes_last(target) if target.ndim > 1 else target
        p = p * (1 - smoothing) + smoothing / classes if smoothing else p
        loss = -sum(weighted * p, -1)
        count = loss.numel() // (1 if x.ndim > 1 else loss.numel() or 1)
        return loss if reduction == "none" else sum(loss) if reduction == "sum" else sum(loss) / max(1, count)
    plain = nll_loss(
        logits.reshape(-1, classes), target.reshape(-1), weight, ignore_index=ignore_index, reduction="none"
    )
    counted = TABLE["ne"](target, ignore_index)
    smooth = where(counted, -sum(weighted, -1), 0.0) * (smoothing / classes)
    loss = plain.reshape(target.shape) * (1 - smoothing) + smooth
    if reduction == "none":
        return loss
    if reduction == "sum":
        return sum(loss)
    safe = where(counted, target, 0)
    share = where(counted, weight[safe] if weight is not None else 1.0, 0.0)
    return sum(loss) / sum(share).to(loss.dtype)


@resolved
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    """loss = -w_y x_y for log-probabilities x; `mean` divides the sum by Σ w_y.

    >>> fb.ops.nll_loss(fb.tensor([[-1.0, -2.0]]), fb.tensor([1]))
    tensor(2.)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    check_reduction("nll_loss", reduction)
    count_classes("nll_loss", input.shape, target.shape, False, None if weight is None else weight.shape)
    if at_once(input, target, weight, reduction):
        how = "nll_loss", ignore_index, reduction == "mean"
        return Resolution(class_total, input, target, weight, *how, then=checked_total)
    return reduced("nll_loss", nll_last, input, target, weight, ignore_index, reduction)


@recalled
def softmax_method(self: Tensor, dim: int | None, dtype: Any = None) -> Tensor:
    return along(softmax_last, self, dim, dtype, "softmax")


@recalled
def log_softmax_method(self: Tensor, dim: int | None, dtype: Any = None) -> Tensor:
    return along(log_softmax_last, self, dim, dtype, "log_softmax")


softmax_method.__doc__, log_softmax_method.__doc__ = softmax.__doc__, log_softmax.__doc__
Tensor.softmax, Tensor.log_softmax = softmax_method, log_softmax_method
Tensor.logsumexp = logsumexp

__all__ = ["cross_entropy", "log_softmax", "logsumexp", "nll_loss", "softmax"]
