"""softmax, log_softmax, logsumexp and cross entropy, as row programs. Imports core and neighbours in ops.

Read next: `rows.py` (the vocabulary of the formulas), `normalization.py`.
"""

from __future__ import annotations

from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor
from ..ir.expr import Expr, cast
from .arguments import every
from .basic import to_dtype
from .factories import as_tensor
from .primitive import primitive
from .reduce import mean, sum
from .rows import apply, choose, column_is, different, row_max, row_sum, run, take
from .table import TABLE

FLOAT32, INT64 = DTYPES[8], DTYPES[5]
where = TABLE["where"]


def matrix(x: Tensor) -> tuple[Tensor, int, int]:
    """x contiguous, and how many rows and columns it has."""
    cols = x.shape[-1] if x.ndim else 1
    return x.contiguous(), x.numel() // max(1, cols), cols


def softmax_rows(x: Any) -> Any:
    e = apply("exp", x - row_max(x))
    return e / row_sum(e)


def softmax_backward(g: Any, y: Any) -> Any:
    return y * (g - row_sum(g * y))


def log_softmax_rows(x: Any) -> Any:
    shifted = x - row_max(x)
    return shifted - apply("log", row_sum(apply("exp", shifted)))


def log_softmax_backward(g: Any, y: Any) -> Any:
    return g - apply("exp", y) * row_sum(g)


def softmax_vjp(ctx: Any, g: Tensor) -> Tensor:
    (y,) = ctx.saved
    if _core.is_grad_enabled():
        return softmax_backward(g, y)
    g, rows, cols = matrix(g)
    return run(
        "softmax_backward", softmax_backward, rows, cols, [("g", g, "full"), ("y", y, "full")], [(y.dtype, y.shape)]
    )[0]


@primitive(softmax_vjp, name="softmax_last")
def softmax_last(ctx, x):
    """Softmax over the last dimension."""
    x, rows, cols = matrix(x)
    (y,) = run("softmax", softmax_rows, rows, cols, [("x", x, "full")], [(x.dtype, x.shape)])
    ctx.save(y)
    return y


def log_softmax_vjp(ctx: Any, g: Tensor) -> Tensor:
    (y,) = ctx.saved
    if _core.is_grad_enabled():
        return log_softmax_backward(g, y)
    g, rows, cols = matrix(g)
    arguments = [("g", g, "full"), ("y", y, "full")]
    return run("log_softmax_backward", log_softmax_backward, rows, cols, arguments, [(y.dtype, y.shape)])[0]


@primitive(log_softmax_vjp, name="log_softmax_last")
def log_softmax_last(ctx, x):
    """log of softmax over the last dimension."""
    x, rows, cols = matrix(x)
    (y,) = run("log_softmax", log_softmax_rows, rows, cols, [("x", x, "full")], [(x.dtype, x.shape)])
    ctx.save(y)
    return y


def along(function: Any, x: Tensor, dim: int | None, dtype: Any, name: str) -> Tensor:
    """A function of the last dimension, applied to any."""
    if dtype is not None and x.dtype is not dtype:
        x = to_dtype(x, dtype)
    if not x.is_floating_point():
        raise TypeError(f"{name}: takes floating tensors, got {x.dtype}; use x.float()")
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
    if x.ndim == 0:
        return function(x.reshape(1)).reshape(())
    if not -x.ndim <= dim < x.ndim:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-x.ndim}, {x.ndim - 1}], but got {dim})"
        )
    if dim in (-1, x.ndim - 1):
        return function(x)
    return function(x.transpose(dim, -1)).transpose(dim, -1)


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """y_i = exp(x_i) / Σ_j exp(x_j) along `dim`.

    >>> fb.softmax(fb.tensor([0.0, 0.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    return along(softmax_last, input, dim, dtype, "softmax")


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """y_i = x_i - log Σ_j exp(x_j) along `dim`.

    >>> fb.log_softmax(fb.tensor([0.0, 0.0]), dim=0)
    tensor([-0.6931, -0.6931])
    """
    return along(log_softmax_last, input, dim, dtype, "log_softmax")


def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """log Σ exp(x) over `dim`, without overflow.

    >>> fb.logsumexp(fb.tensor([1000.0, 1000.0]), 0)
    tensor(1000.6932)
    """
    x = input if input.is_floating_point() or input.is_complex() else to_dtype(input, FLOAT32)
    dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    top = x.detach().amax(dims, True) if x.numel() else zeros_of(x.detach().sum(dims, True))
    top = where(TABLE["eq"](TABLE["abs"](top), float("inf")), 0.0, top)
    out = TABLE["log"](sum(TABLE["exp"](x - top), dims, True)) + top
    if keepdim:
        return out
    wanted = {d % max(1, x.ndim) for d in dims}
    return out.reshape([n for d, n in enumerate(out.shape) if d not in wanted])


def zeros_of(x: Tensor) -> Tensor:
    return x * 0


# ---- cross entropy
def cross_entropy_rows(x: Any, target: Any, weight: Any, ignore: Any, classes: Any) -> Any:
    """Per row: loss, log-sum-exp, and the weight that a mean divides by (-inf marks a target out of range)."""
    top = row_max(x)
    total = top + apply("log", row_sum(apply("exp", x - top)))
    counted = different(target, ignore)
    inside = (target >= 0) & (target < classes)
    at = choose(inside, target, target * 0)
    one = like(total, target * 0 + 1)
    share = take(weight, at) if weight is not None else one
    nothing = like(total, target * 0)
    # Selected, not multiplied: an ignored row whose loss is infinite contributes 0, not NaN.
    loss = choose(counted, (total - take(x, at)) * share, nothing)
    share = choose(counted, choose(inside, share, nothing - float("inf")), nothing)
    return loss, total, share


def like(model: Any, x: Any) -> Any:
    """x in model's dtype."""
    return cast(x, model.dtype) if isinstance(x, Expr) else x.to(model.dtype)


def cross_entropy_backward(g: Any, x: Any, total: Any, share: Any, target: Any) -> Any:
    """g share (softmax(x) - onehot(target))."""
    p = apply("exp", x - total)
    return (g * share) * choose(column_is(x, target), p - 1.0, p)


def cross_entropy_vjp(ctx: Any, g: Tensor, *_: Any) -> tuple:
    x, total, share, target = ctx.saved
    if _core.is_grad_enabled():
        total = logsumexp(x, -1, True)
        column = [t.reshape(-1, 1) for t in (g, share.detach(), target)]
        return cross_entropy_backward(column[0], x, total, column[1], column[2]), *ctx.rest
    rows, cols = x.shape
    arguments = [
        ("g", g.contiguous(), "row"), ("x", x, "full"), ("total", total, "row"), ("share", share, "row"),
        ("target", target, "row"),
    ]  # fmt: skip
    return (
        *run("cross_entropy_backward", cross_entropy_backward, rows, cols, arguments, [(x.dtype, x.shape)]),
        *ctx.rest,
    )


@primitive(cross_entropy_vjp, name="cross_entropy_rows")
def cross_entropy_last(ctx, x, target, weight, ignore_index):
    """Loss of each row of x against its class, and the weight of each row."""
    x, rows, cols = matrix(x)
    inner = FLOAT32 if x.dtype.itemsize == 2 else x.dtype
    arguments = [
        ("x", x, "full"), ("target", target, "row"), ("weight", weight, "col"), ("ignore", ignore_index, "number"),
        ("classes", cols, "number"),
    ]  # fmt: skip
    wanted = [(x.dtype, (rows,)), (inner, (rows,)), (inner, (rows,))]
    loss, total, share = run("cross_entropy", cross_entropy_rows, rows, cols, arguments, wanted)
    ctx.rest = (None,) if weight is None else (None, None)
    ctx.save(x, total, share, target)
    return loss, share


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


def out_of_range(name: str, target: Tensor, ignore_index: int, classes: int) -> IndexError:
    bad = next(t for t in every(target).reshape(-1).tolist() if t != ignore_index and not 0 <= t < classes)
    return IndexError(
        f"{name}: target {bad} is out of bounds for {classes} classes; use 0 … {classes - 1}, or ignore_index"
    )


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """loss = -w_y log softmax(x)_y; `mean` divides the sum by Σ w_y. Targets are classes, or probabilities like x.

    Shapes: x (C), (N, C) or (N, C, d…); target the same without C, int64; or as x, floating.

    >>> fb.ops.cross_entropy(fb.tensor([[0.0, 0.0]]), fb.tensor([1]))
    tensor(0.6931)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    check_reduction("cross_entropy", reduction)
    x = input
    if x.ndim == 0:
        raise ValueError("cross_entropy: input needs a dimension of classes, got a 0-dimensional tensor")
    if not target.is_floating_point():
        expected = tuple(x.shape[:1]) + tuple(x.shape[2:]) if x.ndim > 1 else ()
        if tuple(target.shape) != expected:
            raise ValueError(
                f"cross_entropy: expected class indices of shape {list(expected)} for input {list(x.shape)}, got "
                f"{list(target.shape)}; probabilities must be floating and have input's shape"
            )
    elif tuple(target.shape) != tuple(x.shape):
        raise ValueError(
            f"cross_entropy: probabilities must have input's shape {list(x.shape)}, got {list(target.shape)}; class "
            "indices must be int64"
        )
    classes = x.shape[1 if x.ndim > 1 else 0]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            f"cross_entropy: weight needs one number for each of {classes} classes, got {list(weight.shape)}"
        )
    if target.is_floating_point() or label_smoothing:
        return soft_cross_entropy(x, target, weight, ignore_index, reduction, label_smoothing, classes)
    rows = classes_last(x).reshape(-1, classes).contiguous()
    labels = to_dtype(target, INT64) if target.dtype is not INT64 else target
    loss, share = cross_entropy_last(rows, labels.contiguous().reshape(-1), weight, ignore_index)
    total = sum(share)
    least = every(total)
    if (least if least.ndim == 0 else least.amin()).item() == -float("inf"):
        raise out_of_range("cross_entropy", target, ignore_index, classes)
    if reduction == "none":
        return loss.reshape(target.shape)
    return sum(loss) if reduction == "sum" else sum(loss) / total.to(loss.dtype)


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


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """loss = -w_y x_y for log-probabilities x; `mean` divides the sum by Σ w_y.

    >>> fb.ops.nll_loss(fb.tensor([[-1.0, -2.0]]), fb.tensor([1]))
    tensor(2.)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    check_reduction("nll_loss", reduction)
    x = input if input.ndim > 1 else input.reshape(1, -1)
    labels = target if input.ndim > 1 else target.reshape(1)
    classes = x.shape[1]
    expected = (x.shape[0], *x.shape[2:])
    if tuple(labels.shape) != expected:
        raise ValueError(
            f"nll_loss: expected target of shape {list(expected)} for input {list(input.shape)}, got "
            f"{list(target.shape)}"
        )
    counted = TABLE["ne"](labels, ignore_index)
    safe = where(counted, labels, 0)
    found = every(safe)
    if found.numel() and (found.amin().item() < 0 or found.amax().item() >= classes):
        raise out_of_range("nll_loss", target, ignore_index, classes)
    from .gather import gather

    picked = gather(classes_last(x), -1, safe.unsqueeze(-1).to(INT64)).squeeze(-1)
    share = where(counted, as_tensor(1.0, x.dtype) if weight is None else weight[safe], 0.0)
    loss = where(counted, -picked * share, 0.0)
    if reduction == "none":
        return loss if input.ndim > 1 else loss.reshape(())
    return sum(loss) if reduction == "sum" else sum(loss) / sum(share)


Tensor.softmax = lambda self, dim, dtype=None: softmax(self, dim, dtype=dtype)
Tensor.log_softmax = lambda self, dim, dtype=None: log_softmax(self, dim, dtype=dtype)
Tensor.logsumexp = logsumexp

__all__ = ["cross_entropy", "log_softmax", "logsumexp", "nll_loss", "softmax"]
