"""layer_norm, rms_norm, batch_norm and group_norm, as row programs. Imports core and neighbours in ops.

Read next: `rows.py` (the vocabulary of the formulas), `softmax.py`.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

from ..core import _core
from ..core._core import DTYPES, Tensor, trailing
from .primitive import primitive
from .recall import recalled
from .reduce import mean, sum
from .rows import apply, column_sum, columns, program, row_sum
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


LAYER_NORM = program(
    layer_norm_rows,
    {"x": "full", "weight": "col", "bias": "col", "eps": "number"},
    [("full", "x"), ("row", "wide"), ("row", "wide")],
)
LAYER_NORM_BACKWARD = program(
    layer_norm_backward,
    {"g": "full", "x": "full", "centre": "row", "rstd": "row", "weight": "col"},
    [("full", "x"), ("col", "weight"), ("col", "weight")],
)


def depth_of(x: Tensor, shape: Any, weight: Tensor | None, bias: Tensor | None, name: str) -> int:
    """How many trailing dimensions `shape` a normalisation is over; shapes are checked."""
    shape = tuple(shape)
    if not shape or trailing(x, shape) < 0:
        raise RuntimeError(
            f"{name}: normalized_shape {list(shape)} must be the end of the input's shape, got {list(x.shape)}"
        )
    for what, t in ("weight", weight), ("bias", bias):
        if t is not None and (t.ndim != len(shape) or trailing(t, shape) < 0):
            raise RuntimeError(f"{name}: {what} must have shape {list(shape)}, got {list(t.shape)}")
    return len(shape)


def layer_norm_vjp(ctx: Any, g: Tensor, *_: Any) -> tuple:
    x, weight, centre, rstd = ctx.saved
    cols, depth, has_bias, eps = ctx.how
    if _core.is_grad_enabled():
        w = None if weight is None else weight.reshape(cols)
        g, xs = g.reshape(-1, cols), x.reshape(-1, cols)
        _, centre, rstd = layer_norm_rows(xs, None, None, eps)
        dx, dw, db = layer_norm_backward(g, xs, centre, rstd, w)
    else:
        wanted = (True, weight is not None, has_bias)
        dx, dw, db = LAYER_NORM_BACKWARD(g, x, centre, rstd, weight, cols=cols, wanted=wanted)
    out = [shaped(dx, x.shape)]
    if weight is not None:
        out.append(shaped(dw, weight.shape))
    if has_bias:
        out.append(shaped(db, x.shape[x.ndim - depth :]))
    return tuple(out)


def shaped(x: Tensor, shape: Any) -> Tensor:
    return x if x.shape == shape else x.reshape(shape)


@primitive(layer_norm_vjp, name="layer_norm_rows")
def layer_norm_op(ctx, x, weight, bias, depth, eps):
    """Layer norm over the last `depth` dimensions."""
    cols = x.size(-1) if depth == 1 else math.prod(x.shape[x.ndim - depth :])
    y, centre, rstd = LAYER_NORM(x, weight, bias, float(eps), cols=cols)
    ctx.how = cols, depth, bias is not None, eps
    ctx.save(x, weight, centre, rstd)
    return y


def expect_floating(name: str, x: Tensor) -> None:
    if not (x.is_floating_point() or x.is_complex()):
        raise NotImplementedError(f"{name}: takes floating tensors, got {x.dtype}; convert with x.float()")


def layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """y = (x - mean) / √(var + eps) · weight + bias, mean and variance over the trailing dimensions.

    Source: Ba, Kiros, Hinton, Layer Normalization (2016).

    >>> fb.ops.layer_norm(fb.tensor([1.0, 3.0]), (2,))
    tensor([-1.0000,  1.0000])
    """
    expect_floating("layer_norm", input)
    depth = depth_of(input, normalized_shape, weight, bias, "layer_norm")
    return layer_norm_op(input, weight, bias, depth, eps)


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


RMS_NORM = program(rms_norm_rows, {"x": "full", "weight": "col", "eps": "number"}, [("full", "x"), ("row", "wide")])
RMS_NORM_BACKWARD = program(
    rms_norm_backward, {"g": "full", "x": "full", "r": "row", "weight": "col"}, [("full", "x"), ("col", "weight")]
)


def rms_norm_vjp(ctx: Any, g: Tensor) -> tuple:
    x, weight, r = ctx.saved
    cols, eps = ctx.how
    if _core.is_grad_enabled():
        w = None if weight is None else weight.reshape(cols)
        g, xs = g.reshape(-1, cols), x.reshape(-1, cols)
        dx, dw = rms_norm_backward(g, xs, rms_norm_rows(xs, None, eps)[1], w)
    else:
        dx, dw = RMS_NORM_BACKWARD(g, x, r, weight, cols=cols, wanted=(True, weight is not None))
    dx = shaped(dx, x.shape)
    return (dx,) if weight is None else (dx, shaped(dw, weight.shape))


@primitive(rms_norm_vjp, name="rms_norm_rows")
def rms_norm_op(ctx, x, weight, depth, eps):
    """RMS norm over the last `depth` dimensions."""
    cols = x.size(-1) if depth == 1 else math.prod(x.shape[x.ndim - depth :])
    y, r = RMS_NORM(x, weight, float(eps), cols=cols)
    ctx.how = cols, eps
    ctx.save(x, weight, r)
    return y


def rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """y = x / √(mean(x²) + eps) · weight over the trailing dimensions; eps defaults to the dtype's machine epsilon.

    Source: Zhang, Sennrich, Root Mean Square Layer Normalization (2019).

    >>> fb.ops.rms_norm(fb.tensor([3.0, 3.0]), (2,))
    tensor([1., 1.])
    """
    expect_floating("rms_norm", input)
    depth = depth_of(input, normalized_shape, weight, None, "rms_norm")
    if eps is None:
        eps = {"float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7}.get(input.dtype.name, 2.0**-23)
    return rms_norm_op(input, weight, depth, eps)


# ---- batch norm: channels are rows of (N·C, S), or columns of (N, C) where S is 1
def affine(variance: Any, centre: Any, weight: Any, bias: Any, eps: Any) -> Any:
    """1 / √(var + eps), and a and b such that y = x a + b."""
    rstd = 1.0 / apply("sqrt", variance + number(variance, eps))
    a = rstd if weight is None else rstd * weight
    b = -centre * a
    return rstd, a, b if bias is None else bias - centre * a


def scaled(x: Any, a: Any, b: Any) -> Any:
    return x * a + b


def squares_by_row(x: Any, centre: Any) -> Any:
    d = x - centre
    return row_sum(d * d)


def squares_by_column(x: Any, centre: Any) -> Any:
    d = x - centre
    return column_sum(d * d)


def sums_by_row(g: Any, x: Any, centre: Any) -> Any:
    return row_sum(g), row_sum(g * (x - centre))


def sums_by_column(g: Any, x: Any, centre: Any) -> Any:
    return column_sum(g), column_sum(g * (x - centre))


def coefficients(total: Any, dot: Any, rstd: Any, centre: Any, weight: Any, share: Any) -> Any:
    """∂weight, and p, q and r such that ∂x = g p + x q + r, of the batch's own statistics; share = -1 / count."""
    dw = dot * rstd
    p = rstd if weight is None else rstd * weight
    q = p * rstd * dw * number(p, share)
    return dw, p, q, p * total * number(p, share) - q * centre


def combined(g: Any, x: Any, p: Any, q: Any, r: Any) -> Any:
    return g * p if q is None else g * p + x * q + r


class Layout:
    """The programs for channels as rows, or as columns; 'each' stands for a channel's value, 'sum' for a sum's."""

    def __init__(self, each: str, sum: str, squares: Any, sums: Any) -> None:
        def made(formula: Any, inputs: dict[str, str], outputs: Any) -> Any:
            given = {n: each if e == "each" else e for n, e in inputs.items()}
            return program(formula, given, outputs, f"{formula.__name__}_{each}")

        self.scaled = made(scaled, {"x": "full", "a": "each", "b": "each"}, [("full", "x")])
        self.squares = made(squares, {"x": "full", "centre": "each"}, [(sum, "wide")])
        self.sums = made(sums, {"g": "full", "x": "full", "centre": "each"}, [(sum, "wide"), (sum, "wide")])
        inputs = {"g": "full", "x": "full", "p": "each", "q": "each", "r": "each"}
        self.combined = made(combined, inputs, [("full", "x")])


BY_ROW = Layout("channel", "row", squares_by_row, sums_by_row)
BY_COLUMN = Layout("col", "col", squares_by_column, sums_by_column)
AFFINE = program(
    affine,
    {"variance": "full", "centre": "full", "weight": "full", "bias": "full", "eps": "number"},
    [("full", "wide")] * 3,
)
COEFFICIENTS = program(
    coefficients,
    {"total": "full", "dot": "full", "rstd": "full", "centre": "full", "weight": "full", "share": "number"},
    [("full", "wide")] * 4,
)


class Channels(NamedTuple):
    """(n, c, s) as a matrix of `cols` columns in which a channel is a set of whole rows, or a column."""

    n: int
    c: int
    s: int
    cols: int
    programs: Layout

    def gather(self, v: Tensor) -> Tensor:
        """One value a row summed to one a channel."""
        return v if self.s == 1 else sum(v.reshape(self.n, self.c), 0)


@functools.lru_cache(4096)
def channels_of(shape: tuple[int, ...]) -> Channels:
    n, c, s = shape[0], shape[1], math.prod(shape[2:])
    return Channels(n, c, s, c if s == 1 else s, BY_COLUMN if s == 1 else BY_ROW)


def batch_statistics(x: Tensor, m: Channels) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel, in two passes."""
    inner = wide(x.dtype)
    if m.s == 1:
        centre = mean(x.reshape(m.n, m.c), 0, dtype=inner)
    else:
        centre = mean(x.reshape(m.n, m.c, m.s), 2, dtype=inner).mean(0)
    return centre, m.gather(m.programs.squares(x, centre, cols=m.cols)) / (m.n * m.s)


def batch_norm_vjp(ctx: Any, g: Tensor, *_: Any) -> tuple:
    x, weight, centre, rstd, p = ctx.saved
    m, training, has_bias, eps = ctx.how
    if _core.is_grad_enabled():
        dims = (0, *range(2, x.ndim))
        shape = (1, m.c) + (1,) * (x.ndim - 2)
        c, r = centre.detach().reshape(shape), rstd.reshape(shape)
        if training:
            c = mean(x, dims, True)
            r = 1.0 / TABLE["sqrt"](mean((x - c) * (x - c), dims, True) + eps)
        h = g if weight is None else g * weight.reshape(shape)
        unit = (x - c) * r
        dx = h * r
        if training:
            dx = r * (h - mean(h, dims, True) - unit * mean(h * unit, dims, True))
        dw, db = sum(g * unit, dims), sum(g, dims)
    else:
        total, dot = m.programs.sums(g, x, centre, cols=m.cols)
        db, dot = m.gather(total), m.gather(dot)
        q = r = None
        if training:
            dw, p, q, r = COEFFICIENTS(db, dot, rstd, centre, weight, -1.0 / (m.n * m.s))
        else:
            dw = dot * rstd
        dx = m.programs.combined(g, x, p, q, r, cols=m.cols)
    out = [dx]
    if weight is not None:
        out.append(dw.to(weight.dtype))
    if has_bias:
        out.append(db.to(weight.dtype if weight is not None else db.dtype))
    # Given statistics are arguments too, without gradients.
    return tuple(out) if training else (*out, None, None)


@recalled
def by_own_statistics(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
    """y, mean and biased variance, and 1 / √(variance + eps), alone and times the weight."""
    centre, variance = batch_statistics(x, channels_of(x.shape))
    y, rstd, a = by_given_statistics(x, weight, bias, centre, variance, eps)
    return y, centre, variance, rstd, a


@recalled
def by_given_statistics(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, centre: Tensor, variance: Tensor, eps: float
) -> tuple[Tensor, ...]:
    m = channels_of(x.shape)
    rstd, a, b = AFFINE(variance, centre, weight, bias, eps)
    return m.programs.scaled(x, a, b, cols=m.cols), rstd, a


@recalled
def move_statistics(
    running_mean: Tensor | None, running_var: Tensor | None, centre: Tensor, variance: Tensor, unbias: float,
    momentum: float,
) -> None:  # fmt: skip
    """Moves running statistics towards a batch's; off the tape."""
    if running_mean is not None:
        running_mean.lerp_(centre, momentum)
    if running_var is not None:
        running_var.lerp_(variance * unbias, momentum)


@primitive(batch_norm_vjp, name="batch_norm_channels")
def batch_norm_op(ctx, x, weight, bias, given_mean, given_var, eps):
    """Normalises channels by their own statistics, or by given ones; returns y, mean and biased variance."""
    m, training = channels_of(x.shape), given_mean is None
    if training:
        y, centre, variance, rstd, a = by_own_statistics(x, weight, bias, float(eps))
    else:
        centre, variance = given_mean, given_var
        y, rstd, a = by_given_statistics(x, weight, bias, centre, variance, float(eps))
    ctx.how = m, training, bias is not None, eps
    ctx.save(x, weight, centre, rstd, a)
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

    >>> x = fb.tensor([[1.0], [3.0]])
    >>> fb.batch_norm(x, fb.zeros(1), fb.ones(1), training=True)
    tensor([[-1.0000],
            [ 1.0000]])
    """
    expect_floating("batch_norm", input)
    if input.ndim < 2:
        raise ValueError(f"batch_norm: expected (N, C, …), got shape {list(input.shape)}")
    c = input.size(1)
    for what, t in ("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias):
        if t is not None and t.numel() != c:
            raise RuntimeError(f"batch_norm: {what} should contain {c} elements, one for each channel, got {t.numel()}")
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError(
                "batch_norm: outside training running_mean and running_var are needed; pass training=True to do without"
            )
        return batch_norm_op(input, weight, bias, running_mean.detach(), running_var.detach(), eps)[0]
    count = input.numel() // max(1, c)
    if count <= 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    y, centre, variance = batch_norm_op(input, weight, bias, None, None, eps)
    before = _core.swap_grad_enabled(False)
    try:
        if running_mean is not None or running_var is not None:
            move_statistics(running_mean, running_var, centre, variance, count / (count - 1), momentum)
    finally:
        _core.swap_grad_enabled(before)
    return y


@recalled
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Layer norm of each group of channels of (N, C, …), then weight_c and bias_c.

    Source: Wu, He, Group Normalization (2018).

    >>> fb.group_norm(fb.tensor([[1.0, 3.0, 10.0, 30.0]]), 2)
    tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    """
    expect_floating("group_norm", input)
    if input.ndim < 2 or input.shape[1] % num_groups:
        raise RuntimeError(
            f"group_norm: the number of channels must be divisible by num_groups={num_groups}, got shape "
            f"{list(input.shape)}"
        )
    n, c = input.shape[:2]
    y = layer_norm_op(input.reshape(n * num_groups, -1), None, None, 1, eps).reshape(input.shape)
    shape = (1, c) + (1,) * (input.ndim - 2)
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


__all__ = ["batch_norm", "group_norm", "layer_norm", "rms_norm"]
