"""layer_norm, rms_norm, batch_norm and group_norm, as row programs. Imports core and neighbours in ops.

Read next: `rows.py` (the vocabulary of the formulas), `softmax.py`.
"""

from __future__ import annotations

import math
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor, new_empty
from .primitive import primitive
from .reduce import mean, sum
from .rows import apply, column_sum, columns, row_sum, run
from .table import TABLE

FLOAT32 = DTYPES[8]


def wide(dtype: Any) -> Any:
    """The dtype statistics are kept in."""
    return FLOAT32 if dtype.itemsize == 2 else dtype


def layer_norm_rows(x: Any, weight: Any, bias: Any, eps: Any) -> Any:
    n = columns(x, x.shape[-1] if isinstance(x, Tensor) else None)
    centre = row_sum(x) / n
    d = x - centre
    rstd = 1.0 / apply("sqrt", row_sum(d * d) / n + number(x, eps))
    y = d * rstd
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias), centre, rstd


def number(like: Any, value: Any) -> Any:
    """A number argument in the dtype of a symbol; as it is beside a tensor."""
    from ..ir.expr import Expr, cast

    return cast(value, like.dtype) if isinstance(value, Expr) else value


def layer_norm_backward(g: Any, x: Any, centre: Any, rstd: Any, weight: Any) -> Any:
    n = columns(x, x.shape[-1] if isinstance(x, Tensor) else None)
    unit = (x - centre) * rstd
    h = g if weight is None else g * weight
    dx = rstd * (h - row_sum(h) / n - unit * (row_sum(h * unit) / n))
    return dx, column_sum(g * unit), column_sum(g)


def norm_arguments(x: Tensor, shape: Any, weight: Tensor | None, bias: Tensor | None, name: str) -> tuple[int, int]:
    """(rows, columns) of a normalisation over the trailing dimensions `shape`; shapes are checked."""
    shape = tuple(shape)
    if not shape or tuple(x.shape[x.ndim - len(shape) :]) != shape or x.ndim < len(shape):
        raise RuntimeError(
            f"{name}: normalized_shape {list(shape)} must be the end of the input's shape, got {list(x.shape)}"
        )
    for what, t in (("weight", weight), ("bias", bias)):
        if t is not None and tuple(t.shape) != shape:
            raise RuntimeError(f"{name}: {what} must have shape {list(shape)}, got {list(t.shape)}")
    cols = math.prod(shape)
    return x.numel() // max(1, cols), cols


def layer_norm_vjp(ctx: Any, g: Tensor, *_: Any) -> tuple:
    x, weight, centre, rstd = ctx.saved
    rows, cols, has_bias = ctx.sizes
    flat = (rows, cols)
    if _core.is_grad_enabled():
        w = None if weight is None else weight.reshape(cols)
        xs = x.reshape(flat)
        _, centre, rstd = layer_norm_rows(xs, None, None, ctx.eps)
        dx, dw, db = layer_norm_backward(g.reshape(flat), xs, centre, rstd, w)
    else:
        wanted: list[Any] = [(x.dtype, flat), None, None]
        if weight is not None:
            wanted[1] = (weight.dtype, (cols,))
        if has_bias:
            wanted[2] = (weight.dtype if weight is not None else x.dtype, (cols,))
        arguments = [
            ("g", g.contiguous(), "full"), ("x", x, "full"), ("centre", centre, "row"), ("rstd", rstd, "row"),
            ("weight", weight, "col"),
        ]  # fmt: skip
        dx, dw, db = run("layer_norm_backward", layer_norm_backward, rows, cols, arguments, wanted)
    out = [dx.reshape(x.shape)]
    if weight is not None:
        out.append(dw.reshape(weight.shape))
    if has_bias:
        out.append(db.reshape(x.shape[x.ndim - ctx.depth :]))
    return tuple(out)


@primitive(layer_norm_vjp, name="layer_norm_rows")
def layer_norm_op(ctx, x, weight, bias, depth, eps):
    """Layer norm over the last `depth` dimensions of contiguous tensors."""
    cols = math.prod(x.shape[x.ndim - depth :])
    rows = x.numel() // max(1, cols)
    inner = wide(x.dtype)
    arguments = [
        ("x", x, "full"), ("weight", weight, "col"), ("bias", bias, "col"),
        ("eps", float(eps), "number"),
    ]  # fmt: skip
    wanted = [(x.dtype, x.shape), (inner, (rows,)), (inner, (rows,))]
    y, centre, rstd = run("layer_norm", layer_norm_rows, rows, cols, arguments, wanted)
    ctx.sizes, ctx.depth, ctx.eps = (rows, cols, bias is not None), depth, eps
    ctx.save(x, weight, centre, rstd)
    return y


def layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """y = (x - mean) / √(var + eps) · weight + bias, mean and variance over the trailing dimensions.

    Source: Ba, Kiros, Hinton, Layer Normalization (2016).

    >>> fb.ops.layer_norm(fb.tensor([1.0, 3.0]), (2,))
    tensor([-1.0000,  1.0000])
    """
    norm_arguments(input, normalized_shape, weight, bias, "layer_norm")
    given = (None if t is None else t.contiguous() for t in (input, weight, bias))
    return layer_norm_op(*given, len(tuple(normalized_shape)), eps)


def rms_norm_rows(x: Any, weight: Any, eps: Any) -> Any:
    n = columns(x, x.shape[-1] if isinstance(x, Tensor) else None)
    r = 1.0 / apply("sqrt", row_sum(x * x) / n + number(x, eps))
    y = x * r
    return (y if weight is None else y * weight), r


def rms_norm_backward(g: Any, x: Any, r: Any, weight: Any) -> Any:
    n = columns(x, x.shape[-1] if isinstance(x, Tensor) else None)
    h = g if weight is None else g * weight
    unit = x * r
    return r * (h - unit * (row_sum(h * unit) / n)), column_sum(g * unit)


def rms_norm_vjp(ctx: Any, g: Tensor) -> tuple:
    x, weight, r = ctx.saved
    rows, cols = ctx.sizes
    if _core.is_grad_enabled():
        w = None if weight is None else weight.reshape(cols)
        xs = x.reshape(rows, cols)
        dx, dw = rms_norm_backward(g.reshape(rows, cols), xs, rms_norm_rows(xs, None, ctx.eps)[1], w)
    else:
        wanted = [(x.dtype, (rows, cols)), None if weight is None else (weight.dtype, (cols,))]
        arguments = [("g", g.contiguous(), "full"), ("x", x, "full"), ("r", r, "row"), ("weight", weight, "col")]
        dx, dw = run("rms_norm_backward", rms_norm_backward, rows, cols, arguments, wanted)
    return (dx.reshape(x.shape),) if weight is None else (dx.reshape(x.shape), dw.reshape(weight.shape))


@primitive(rms_norm_vjp, name="rms_norm_rows")
def rms_norm_op(ctx, x, weight, depth, eps):
    """RMS norm over the last `depth` dimensions of contiguous tensors."""
    cols = math.prod(x.shape[x.ndim - depth :])
    rows = x.numel() // max(1, cols)
    arguments = [("x", x, "full"), ("weight", weight, "col"), ("eps", float(eps), "number")]
    y, r = run("rms_norm", rms_norm_rows, rows, cols, arguments, [(x.dtype, x.shape), (wide(x.dtype), (rows,))])
    ctx.sizes, ctx.eps = (rows, cols), eps
    ctx.save(x, weight, r)
    return y


def rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """y = x / √(mean(x²) + eps) · weight over the trailing dimensions; eps defaults to the dtype's machine epsilon.

    Source: Zhang, Sennrich, Root Mean Square Layer Normalization (2019).

    >>> fb.ops.rms_norm(fb.tensor([3.0, 3.0]), (2,))
    tensor([1., 1.])
    """
    norm_arguments(input, normalized_shape, weight, None, "rms_norm")
    if eps is None:
        eps = {"float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7}.get(input.dtype.name, 2.0**-23)
    scale = None if weight is None else weight.contiguous()
    return rms_norm_op(input.contiguous(), scale, len(tuple(normalized_shape)), eps)


# ---- batch norm: channels are rows of (N·C, S), or columns of (N, C) where S is 1
def scale_rows(x: Any, a: Any, b: Any) -> Any:
    return x * a + b


def centred_squares(x: Any, centre: Any) -> Any:
    d = x - centre
    return row_sum(d * d)


def centred_squares_columns(x: Any, centre: Any) -> Any:
    d = x - centre
    return column_sum(d * d)


def gradient_sums(g: Any, x: Any, centre: Any) -> Any:
    return row_sum(g), row_sum(g * (x - centre))


def gradient_sums_columns(g: Any, x: Any, centre: Any) -> Any:
    return column_sum(g), column_sum(g * (x - centre))


def combine(g: Any, x: Any, p: Any, q: Any, r: Any) -> Any:
    return g * p + x * q + r


class Channels:
    """x as a matrix in which a channel is a set of whole rows, or a column."""

    def __init__(self, x: Tensor) -> None:
        self.n, self.c = x.shape[0], x.shape[1]
        self.s = math.prod(x.shape[2:])
        self.by_column = self.s == 1
        self.rows, self.cols = (self.n, self.c) if self.by_column else (self.n * self.c, self.s)
        self.extent = "col" if self.by_column else "row"
        self.count = self.n * self.s

    def spread(self, v: Tensor) -> Tensor:
        """One value a channel, as the programs read it."""
        return v.contiguous() if self.by_column else v.expand(self.n, self.c).contiguous().reshape(-1)

    def gather(self, v: Tensor) -> Tensor:
        """One value a row summed to one a channel."""
        return v if self.by_column else sum(v.reshape(self.n, self.c), 0)

    def size(self) -> tuple[int]:
        return (self.c,) if self.by_column else (self.n * self.c,)


def batch_statistics(x: Tensor, m: Channels) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel, in two passes."""
    inner = wide(x.dtype)
    centre = (
        mean(x.reshape(m.n, m.c, m.s), 2, dtype=inner).mean(0)
        if not m.by_column
        else mean(x.reshape(m.n, m.c), 0, dtype=inner)
    )
    formula = centred_squares_columns if m.by_column else centred_squares
    arguments = [("x", x, "full"), ("centre", m.spread(centre), m.extent)]
    (squares,) = run("batch_squares_" + m.extent, formula, m.rows, m.cols, arguments, [(inner, m.size())])
    return centre, m.gather(squares) / m.count


def batch_norm_vjp(ctx: Any, g: Tensor, *_: Any) -> tuple:
    x, weight, centre, rstd = ctx.saved
    m, training = ctx.channels, ctx.training
    shape = (1, m.c) + (1,) * (x.ndim - 2)
    dims = (0, *range(2, x.ndim))
    if _core.is_grad_enabled():
        c, r = centre.detach().reshape(shape), rstd.reshape(shape)
        if training:
            c = mean(x, dims, True)
            r = 1.0 / TABLE["sqrt"](mean((x - c) * (x - c), dims, True) + ctx.eps)
        h = g if weight is None else g * weight.reshape(shape)
        unit = (x - c) * r
        dx = h * r
        if training:
            dx = r * (h - mean(h, dims, True) - unit * mean(h * unit, dims, True))
        dw, db = sum(g * unit, dims), sum(g, dims)
    else:
        inner = centre.dtype
        g = g.contiguous()
        formula = gradient_sums_columns if m.by_column else gradient_sums
        arguments = [("g", g, "full"), ("x", x, "full"), ("centre", m.spread(centre), m.extent)]
        total, dot = run("batch_sums_" + m.extent, formula, m.rows, m.cols, arguments, [(inner, m.size())] * 2)
        db, dot = m.gather(total), m.gather(dot)
        dw = dot * rstd
        p = rstd if weight is None else rstd * weight
        if training:
            q = p * rstd * dw * (-1.0 / m.count)
            r = p * db * (-1.0 / m.count) - q * centre
        else:
            q = r = p * 0.0
        arguments = [
            ("g", g, "full"),
            ("x", x, "full"),
            *((n, m.spread(v), m.extent) for n, v in (("p", p), ("q", q), ("r", r))),
        ]
        (dx,) = run("batch_combine_" + m.extent, combine, m.rows, m.cols, arguments, [(x.dtype, x.shape)])
    out = [dx]
    if weight is not None:
        out.append(dw.to(weight.dtype))
    if ctx.has_bias:
        out.append(db.to(weight.dtype if weight is not None else db.dtype))
    # Given statistics are arguments too, without gradients.
    return tuple(out) if training else (*out, None, None)


@primitive(batch_norm_vjp, name="batch_norm_channels")
def batch_norm_op(ctx, x, weight, bias, given_mean, given_var, eps):
    """Normalises channels by their own statistics, or by given ones; returns y, mean and biased variance."""
    m = Channels(x)
    training = given_mean is None
    centre, variance = batch_statistics(x, m) if training else (given_mean, given_var)
    rstd = 1.0 / TABLE["sqrt"](variance + eps)
    a = rstd if weight is None else rstd * weight
    b = -centre * a if bias is None else bias - centre * a
    y = new_empty(x.shape, x.dtype)
    if x.numel():
        arguments = [("x", x, "full"), ("a", m.spread(a), m.extent), ("b", m.spread(b), m.extent)]
        (y,) = run("batch_scale_" + m.extent, scale_rows, m.rows, m.cols, arguments, [(x.dtype, x.shape)])
    ctx.channels, ctx.training, ctx.eps, ctx.has_bias = m, training, eps, bias is not None
    ctx.save(x, weight, centre, rstd)
    return y, centre, variance


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = (x - mean_c) / √(var_c + eps) · weight_c + bias_c for each channel c of (N, C, …).

    In training mean and variance are the batch's, and the running ones move towards them by `momentum` (the variance
    unbiased); otherwise the running ones are used. Source: Ioffe, Szegedy, Batch Normalization (2015).
    """
    if input.ndim < 2:
        raise ValueError(f"batch_norm: expected (N, C, …), got shape {list(input.shape)}")
    c = input.shape[1]
    for what, t in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        if t is not None and t.numel() != c:
            raise RuntimeError(f"batch_norm: {what} should contain {c} elements, one for each channel, got {t.numel()}")
    count = input.numel() // max(1, c)
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError(
                "batch_norm: outside training running_mean and running_var are needed; pass training=True to do without"
            )
        return batch_norm_op(input.contiguous(), weight, bias, running_mean.detach(), running_var.detach(), eps)[0]
    if count <= 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    y, centre, variance = batch_norm_op(input.contiguous(), weight, bias, None, None, eps)
    before = _core.swap_grad_enabled(False)
    try:
        if running_mean is not None:
            running_mean.mul_(1 - momentum).add_(centre.detach(), alpha=momentum)
        if running_var is not None:
            running_var.mul_(1 - momentum).add_(variance.detach(), alpha=momentum * count / (count - 1))
    finally:
        _core.swap_grad_enabled(before)
    return y


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Layer norm of each group of channels of (N, C, …), then weight_c and bias_c.

    Source: Wu, He, Group Normalization (2018).
    """
    if input.ndim < 2 or input.shape[1] % num_groups:
        raise RuntimeError(
            f"group_norm: the number of channels must be divisible by num_groups={num_groups}, got shape "
            f"{list(input.shape)}"
        )
    n, c = input.shape[:2]
    y = layer_norm_op(input.reshape(n * num_groups, -1).contiguous(), None, None, 1, eps).reshape(input.shape)
    shape = (1, c) + (1,) * (input.ndim - 2)
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


__all__ = ["batch_norm", "group_norm", "layer_norm", "rms_norm"]
