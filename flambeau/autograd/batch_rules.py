"""How operations run on batched tensors: one rule for each kind, and slice by slice where there is none.

A rule gets a Batch and a Call with at least one batched argument, and runs something at the level below on physical
tensors, in which the samples are dimension 0. Imports core, ops. Read next: `batch.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..core import _core
from ..core._core import Call, LinearReduction, Op, Reduction, Tensor, View
from ..ops import basic, joining
from ..ops.arguments import to, wrap
from ..ops.matmul import matmul
from .batch import Batch

Rule = Callable[[Batch, Call], Any]
RULES: dict[str, Rule] = {}  # of Primitives, by name
VIEWS: dict[str, Rule] = {}
SPECIAL = (
    "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "modified_bessel_k0", "modified_bessel_k1",
    "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "airy_ai",
)  # fmt: skip


def run(level: Batch, call: Call) -> Any:
    """The operation for all samples; as it is where nothing is batched."""
    op = call.op
    if not level.batched(call.args) and not any(level.batched(x) for x in call.kwargs.values()):
        if call.writes is not None and any(level.batched(x) for x in call.writes):
            return overwrite(level, call)
        return RANDOM[op.name](level, call) if getattr(op, "name", None) in RANDOM else call()
    if call.writes is not None:
        for x in call.writes:
            if level.physical(x) is None and not level.grow(x):
                raise RuntimeError(
                    f"vmap: inplace arithmetic ({getattr(op, 'name', op)}) is not possible: what is written differs "
                    "from sample to sample and the tensor that is written to, made outside of vmap, doesn't; use the "
                    "out-of-place form, or pass the target as a mapped argument"
                )
    if isinstance(op, Op):
        return pointwise(level, call) if call.writes is None else overwrite(level, call)
    if isinstance(op, View):
        rule = VIEWS.get(op.name)
        if rule is None:
            raise NotImplementedError(f"vmap: the view {op.name} has no rule for batched tensors; use clone() first")
        return level.stand_in(rule(level, call), None if op.name == "_apart" else call.args[0])
    if isinstance(op, (Reduction, LinearReduction)):
        return reduction(level, call)
    return RULES.get(op.name, slices)(level, call)


def slices(level: Batch, call: Call) -> Any:
    """The operation on one sample after the other, results stacked: right for every operation."""
    if not level.size:
        raise RuntimeError(f"vmap: {call.op.name} can't be mapped over a dimension of size 0")
    results = []
    for i in range(level.size):
        args = [sample(level, x, i) for x in call.args]
        results.append(call.op(*args, **{k: sample(level, x, i) for k, x in call.kwargs.items()}))
    if call.writes is not None:
        return call.args[0]
    return stacked(level, results)


def sample(level: Batch, x: Any, i: int) -> Any:
    if isinstance(x, (tuple, list)) and not hasattr(x, "_fields"):
        return type(x)(sample(level, y, i) for y in x)
    physical = level.physical(x)
    return x if physical is None else physical.select(0, i)


def stacked(level: Batch, results: Sequence[Any]) -> Any:
    first = results[0]
    if isinstance(first, Tensor):
        shapes = {x.shape for x in results}
        if len(shapes) > 1:
            raise RuntimeError(
                f"vmap: the result's shape depends on the elements: it is {list(first.shape)} for the first sample, "
                f"{list(next(x.shape for x in results if x.shape != first.shape))} for another; use where(...)"
            )
        return level.stand_in(joining.stack(results))
    if isinstance(first, (tuple, list)):
        made = [stacked(level, each) for each in zip(*results, strict=True)]
        return type(first)(*made) if hasattr(first, "_fields") else type(first)(made)
    return first


def rules(*names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


# ---- pointwise
def aligned(level: Batch, x: Tensor, ndim: int) -> Tensor:
    """The physical tensor of x, its samples in front of at least `ndim` dimensions, as broadcasting wants it."""
    physical = level.physical(x)
    if physical is None:
        return x
    for _ in range(ndim - x.ndim):
        physical = physical.unsqueeze(1)
    return physical


def operands(level: Batch, args: Sequence[Any], ndim: int) -> list[Any]:
    """Arguments of a pointwise operation, in dtypes that promote as those of one sample would.

    A 0-dimensional tensor's dtype gives way to one of the same kind, but a batched one has a dimension: it is brought
    to what it gives way to.
    """
    tensors = [x for x in args if isinstance(x, Tensor)]
    sized = [x.dtype for x in tensors if x.ndim]
    dtype = joining.common_dtype(sized) if sized else None
    found: list[Any] = []
    for x in args:
        if not isinstance(x, Tensor):
            found.append(x)
            continue
        y = aligned(level, x, ndim)
        if x.ndim == 0 and dtype is None and y is x:
            y = y.reshape(1)
        if x.ndim == 0 and dtype is not None and y is not x and kind(x.dtype) == kind(dtype):
            y = to(y, dtype)
        found.append(y)
    return found


def kind(dtype: Any) -> str:
    return "c" if dtype.is_complex else "f" if dtype.is_floating_point else "b" if dtype.name == "bool" else "i"


def rank(args: Sequence[Any]) -> int:
    return max((x.ndim for x in args if isinstance(x, Tensor)), default=0)


def pointwise(level: Batch, call: Call) -> Any:
    return level.hand_out(call.op(*operands(level, call.args, rank(call.args))))


def overwrite(level: Batch, call: Call) -> Any:
    """A pointwise operation into existing tensors."""
    targets = [level.spread(x) for x in call.writes]
    args = operands(level, call.args, max(x.ndim for x in call.writes))
    if call.mode == 1:
        call.op.inplace(targets[0], *args[1:])
        return call.args[0]
    call.op.into(targets, *args)
    return call.writes[0] if len(call.writes) == 1 else call.writes


# ---- reductions
def reduced(level: Batch, op: Any, x: Tensor, dim: Any, keepdim: bool, *args: Any, **kwargs: Any) -> Any:
    physical = level.spread(x)
    if x.ndim == 0:
        for d in dim if isinstance(dim, (tuple, list)) else () if dim is None else (dim,):
            wrap(d, 0)
        return level.hand_out(op(physical.unsqueeze(1), 1, False, *args, **kwargs))
    if isinstance(dim, int):
        dims: Any = wrap(dim, x.ndim) + 1
    else:
        dims = tuple(wrap(d, x.ndim) + 1 for d in dim) if dim else tuple(range(1, x.ndim + 1))
    return level.hand_out(op(physical, dims, keepdim, *args, **kwargs))


def reduction(level: Batch, call: Call) -> Any:
    x, dim, keepdim, *rest = call.args
    if call.op.name == "index_range":  # checks that every index of every sample is a place
        return call.op(level.spread(x), dim, keepdim, *rest)
    return reduced(level, call.op, x, dim, keepdim, *rest, **call.kwargs)


@rules("prod", "amax", "amin", "argmax", "argmin", "any", "all", "max_dim", "min_dim", "norm2")
def reduction_of(level: Batch, call: Call) -> Any:
    bound = dict(zip(("x", "dim", "keepdim"), call.args, strict=False)) | call.kwargs
    kwargs = {k: v for k, v in bound.items() if k not in ("x", "dim", "keepdim")}
    return reduced(level, call.op, bound["x"], bound.get("dim"), bound.get("keepdim", False), **kwargs)


@rules("count_nonzero")
def counting(level: Batch, call: Call) -> Any:
    dim = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim")
    return reduced(level, lambda x, d, _: call.op(x, d), call.args[0], dim, False)


@rules("var")
def variance(level: Batch, call: Call) -> Any:
    x, dim, correction, keepdim = call.args
    return reduced(level, lambda y, d, k: call.op(y, d, correction, k), x, dim, keepdim)


# ---- views
def shifted_view(name: str, args: tuple) -> tuple:
    """The arguments that make a view of one sample the same view of all."""
    if name in ("select", "_slice", "unfold"):
        return (args[0] + (args[0] >= 0), *args[1:])
    return (args[0], args[1] + 1, args[2] + 1)


def view_of_dimensions(level: Batch, call: Call) -> Tensor:
    x, *args = call.args
    physical = level.spread(x)
    if x.ndim == 0:  # unfold
        return getattr(physical.unsqueeze(1), call.op.name)(*shifted_view(call.op.name, tuple(args))).squeeze(1)
    return getattr(physical, call.op.name)(*shifted_view(call.op.name, tuple(args)))


VIEWS |= dict.fromkeys(("select", "_slice", "unfold", "diagonal"), view_of_dimensions)
VIEWS["reshape"] = lambda level, call: level.spread(call.args[0]).view(level.size, *call.args[1])
VIEWS["permute"] = lambda level, call: level.spread(call.args[0]).permute(0, *(d + 1 for d in call.args[1]))
VIEWS["detach"] = lambda level, call: level.spread(call.args[0]).detach()
VIEWS["_apart"] = lambda level, call: _core.apart(level.spread(call.args[0]))
VIEWS["expand"] = lambda level, call: aligned(level, call.args[0], len(call.args[1])).expand(level.size, *call.args[1])


def view_part(level: Batch, call: Call) -> Tensor:
    x, size, stride, offset, _ = call.args
    physical = level.spread(x)
    step = physical.stride(0)
    how = ("_part_of_base", ((level.size, *size), (step, *stride), offset, physical.stride()))
    return _core.part_view(physical, (level.size, *size), (step, *stride), offset, how)


VIEWS["_part_of_base"] = view_part


@rules("embed_part")
def embed(level: Batch, call: Call) -> Any:
    g, (name, args), shape = call.args
    if name != "_part_of_base":
        how = (name, shifted_view(name, args))
    elif len(args) > 4:
        return slices(level, call)
    else:
        size, stride, offset, base = args
        step = basic.span(shape, base)
        how = (name, ((level.size, *size), (step, *stride), offset, (step, *base)))
    return level.stand_in(call.op(level.spread(g), how, (level.size, *shape)))


@rules("laid_out")
def laid_out(level: Batch, call: Call) -> Any:
    x, strides = call.args
    return level.stand_in(call.op(level.spread(x), (basic.span(x.shape, strides), *strides)))


# ---- in-place
@rules("copy_", "fill_")
def copying(level: Batch, call: Call) -> Any:
    x, source = call.args[:2]
    target = level.spread(x)
    if isinstance(source, Tensor):
        basic.copy_(target, aligned(level, source, x.ndim))
    else:
        call.op(target, source)
    return x


# ---- dimensions counted from the back, and those that only move by one
@rules(
    "contiguous", "clone", "to_dtype", "view_as_complex", "view_as_real", "softmax_last", "log_softmax_last",
    "max_pool2d_with_indices", "avg_pool2d_windows", "avg_pool2d_backward", "triangle", "constant_pad_nd", "separable",
    "maxima", "repeated_pad",
    "frexp", "linalg_svd", "linalg_lu_factor", *(f"special.{name}" for name in SPECIAL),
    "linalg_inv", "linalg_det", "linalg_slogdet", "linalg_matrix_exp", "linalg_cholesky", "linalg_eigh", "linalg_eig",
)  # fmt: skip
def trailing(level: Batch, call: Call) -> Any:
    """The samples are more of the leading dimensions that the operation goes through anyway."""
    x, *rest = call.args
    if x.ndim == 0 and call.op.name.endswith("_last"):
        return slices(level, call)
    return level.hand_out(call.op(level.spread(x), *rest, **call.kwargs), x)


@rules("keys_of", "sorting_places")
def ranking(level: Batch, call: Call) -> Any:
    name, x, *rest = call.args
    if x.ndim == 0:
        return slices(level, call)
    return level.hand_out(call.op(name, level.spread(x), *rest, **call.kwargs))


@rules("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin")
def scanning(level: Batch, call: Call) -> Any:
    x, dim, *rest = call.args
    if x.ndim == 0:
        return slices(level, call)
    return level.hand_out(call.op(level.spread(x), wrap(dim, x.ndim) + 1, *rest, **call.kwargs))


@rules("linear_recurrence")
def recurrence(level: Batch, call: Call) -> Any:
    b, a, dim, *rest = call.args
    if b.ndim == 0 or a.shape != b.shape:
        return slices(level, call)
    return level.stand_in(call.op(level.spread(b), level.spread(a), wrap(dim, b.ndim) + 1, *rest, **call.kwargs))


@rules("flip")
def flip(level: Batch, call: Call) -> Any:
    x, dims = call.args
    return level.stand_in(call.op(level.spread(x), type(dims)(wrap(d, x.ndim) + 1 for d in dims)))


@rules("roll")
def roll(level: Batch, call: Call) -> Any:
    x, shifts, dims = call.args
    return level.stand_in(call.op(level.spread(x), shifts, tuple(wrap(d, x.ndim) + 1 for d in dims)))


@rules("fft_c2c")
def fft(level: Batch, call: Call) -> Any:
    x, dims, *rest = call.args
    return level.stand_in(call.op(level.spread(x), tuple(wrap(d, x.ndim) + 1 for d in dims), *rest))


@rules("fft_r2c", "fft_c2r")
def half_fft(level: Batch, call: Call) -> Any:
    x, dim, *rest = call.args
    return level.stand_in(call.op(level.spread(x), wrap(dim, x.ndim) + 1, *rest))


@rules("diag_embed")
def diag_embed(level: Batch, call: Call) -> Any:
    bound = dict(zip(("x", "offset", "dim1", "dim2"), call.args, strict=False)) | call.kwargs
    x = call.args[0]
    at = (wrap(bound.get(name, default), x.ndim + 1) + 1 for name, default in (("dim1", -2), ("dim2", -1)))
    return level.stand_in(call.op(level.spread(x), bound.get("offset", 0), *at))


@rules("linalg_solve", "linalg_solve_triangular", "euclidean_distance", "pairwise_distance", "max_unpool")
def matrices(level: Batch, call: Call) -> Any:
    """Two tensors whose last two dimensions count, and whose leading ones broadcast."""
    a, b, *rest = call.args
    ndim = max(a.ndim, b.ndim)
    pair = [t.expand(level.size, *t.shape[1:]) for t in (whole(level, a, ndim), whole(level, b, ndim))]
    return level.stand_in(call.op(*pair, *rest))


def whole(level: Batch, x: Tensor, ndim: int) -> Tensor:
    """x with a dimension for samples, of length 1 where they all have the same, in front of `ndim` others."""
    physical = level.physical(x)
    physical = x.unsqueeze(0) if physical is None else physical
    for _ in range(ndim - x.ndim):
        physical = physical.unsqueeze(1)
    return physical


# ---- joining
@rules("cat")
def cat(level: Batch, call: Call) -> Any:
    tensors, dim = call.args
    # An empty vector, which goes with anything, has a dimension more once it is spread.
    counted = [x for x in tensors if x.ndim != 1 or x.shape[0]] or tensors[:1]
    return level.stand_in(call.op([level.spread(x) for x in counted], wrap(dim, counted[0].ndim) + 1))


@rules("stack")
def stack(level: Batch, call: Call) -> Any:
    tensors, dim = call.args
    return level.stand_in(call.op([level.spread(x) for x in tensors], wrap(dim, tensors[0].ndim + 1) + 1))


@rules("split", "unbind")
def parts(level: Batch, call: Call) -> Any:
    kwargs = dict(call.kwargs, dim=call.kwargs["dim"] + 1, views=[level.spread(v) for v in call.kwargs["views"]])
    return level.hand_out(call.op(level.spread(call.args[0]), **kwargs), call.args[0])


# ---- products
@rules("matrix_product")
def product(level: Batch, call: Call) -> Any:
    a, b = call.args
    n = max(a.ndim, b.ndim)
    return level.stand_in(matmul(aligned(level, a, n), aligned(level, b, n)))


@rules("scaled_product")
def scaled_product(level: Batch, call: Call) -> Any:
    a, b, c, alpha, beta = call.args
    n = max(a.ndim, b.ndim)
    a, b, c = (aligned(level, x, n) for x in (a, b, c))
    return level.stand_in(matmul(a, b) * alpha + c * beta)


@rules("linear_rows")
def linear(level: Batch, call: Call) -> Any:
    x, w, bias = call.args
    px, pw, pb = (None if t is None else level.physical(t) for t in call.args)
    if pw is None and pb is None:
        return level.stand_in(call.op(px, w, bias))
    if pw is None:
        y = call.op(x if px is None else px, w, None)
    else:
        rows = x.reshape(-1, x.shape[-1]) if px is None else px.reshape(level.size, -1, x.shape[-1])
        y = matmul(rows, pw.mT).reshape(level.size, *x.shape[:-1], w.shape[0])
    if bias is not None:
        y = y + (bias if pb is None else pb.reshape(level.size, *(1,) * (x.ndim - 1), -1))
    return level.stand_in(y)


def into_channels(level: Batch, x: Tensor) -> Tensor:
    """(samples, N, C, …) as (N, samples · C, …)."""
    p = level.spread(x).movedim(0, 1)
    return p.reshape(p.shape[0], p.shape[1] * p.shape[2], *p.shape[3:])


def out_of_channels(level: Batch, y: Tensor) -> Tensor:
    return level.stand_in(y.reshape(y.shape[0], level.size, -1, *y.shape[2:]).movedim(1, 0))


def into_rows(level: Batch, x: Tensor) -> Tensor:
    """(samples, N, …) as (samples · N, …)."""
    p = level.spread(x)
    return p.reshape(p.shape[0] * p.shape[1], *p.shape[2:])


def out_of_rows(level: Batch, y: Tensor) -> Tensor:
    return level.stand_in(y.reshape(level.size, -1, *y.shape[1:]))


def grouped(level: Batch, geometry: tuple) -> tuple:
    return (*geometry[:3], geometry[3] * level.size)


@rules("conv_forward")
def conv_forward(level: Batch, call: Call) -> Any:
    x, w, bias, out, geometry = call.args
    if not level.batched((w, bias)):
        return out_of_rows(level, call.op(into_rows(level, x), w, bias, out, geometry))
    bias = None if bias is None else level.spread(bias).reshape(-1)
    y = call.op(into_channels(level, x), into_rows(level, w), bias, out, grouped(level, geometry))
    return out_of_channels(level, y)


@rules("conv_data")
def conv_data(level: Batch, call: Call) -> Any:
    y, w, shape, geometry = call.args
    n = level.size
    if level.physical(w) is None:
        return out_of_rows(level, call.op(into_rows(level, y), w, (n * shape[0], *shape[1:]), geometry))
    whole = (shape[0], n * shape[1], *shape[2:])
    return out_of_channels(
        level, call.op(into_channels(level, y), into_rows(level, w), whole, grouped(level, geometry))
    )


@rules("conv_weight")
def conv_weight(level: Batch, call: Call) -> Any:
    y, x, shape, geometry = call.args
    whole = (level.size * shape[0], *shape[1:])
    return out_of_rows(
        level, call.op(into_channels(level, y), into_channels(level, x), whole, grouped(level, geometry))
    )


# ---- rows
@rules("layer_norm_rows", "rms_norm_rows")
def norm_rows(level: Batch, call: Call) -> Any:
    x, weight, *rest = call.args
    *biases, depth, eps = rest
    if not level.batched((weight, *biases)):
        return level.stand_in(call.op(level.spread(x).contiguous(), weight, *biases, depth, eps))
    y = call.op(x if level.physical(x) is None else level.spread(x).contiguous(), None, *(None for _ in biases), depth,
                eps)  # fmt: skip
    ndim = x.ndim
    y = y if weight is None else y * aligned(level, weight, ndim)
    for b in biases:
        y = y if b is None else y + aligned(level, b, ndim)
    return level.stand_in(y)


@rules("batch_norm_channels")
def batch_norm(level: Batch, call: Call) -> Any:
    x, *values, eps = call.args
    flat = [None if v is None else level.spread(v).reshape(-1) for v in values]
    y, *statistics = call.op(into_channels(level, x).contiguous(), *flat, eps)
    return out_of_channels(level, y), *(level.stand_in(s.reshape(level.size, -1)) for s in statistics)


@rules("cross_entropy_rows", "nll_rows")
def cross_entropy(level: Batch, call: Call) -> Any:
    x, target, weight, ignore = call.args
    if weight is not None and level.physical(weight) is not None:
        return slices(level, call)
    found = call.op(into_rows(level, x).contiguous(), into_rows(level, target).contiguous(), weight, ignore)
    return tuple(out_of_rows(level, y) for y in found)


@rules("attention")
def attention(level: Batch, call: Call) -> Any:
    q, k, v, mask, causal, scale, p, *drawn = call.args
    batched = level.batched((q, k, v, mask))
    if p > 0:
        level.check_random()
        if level.randomness == "same":
            return slices(level, call) if batched else call()
    elif not batched:
        return call()
    given = [into_rows(level, t) for t in (q, k, v)]
    if mask is not None:
        # One for each sample's batch: it may have had fewer dimensions, or sizes of 1.
        mask = level.spread(mask)
        mask = mask.reshape(level.size, *(1,) * (5 - mask.ndim), *mask.shape[1:])
        mask = mask.expand(level.size, *q.shape[:-1], k.shape[2]).flatten(0, 1)
    return tuple(out_of_rows(level, y) for y in call.op(*given, mask, causal, scale, p, *drawn))


@rules("grid_sampler", "grid_sampler_backward")
def gridded(level: Batch, call: Call) -> Any:
    *tensors, mode, padding, align = call.args
    found = call.op(*(into_rows(level, t) for t in tensors), mode, padding, align)
    return out_of_rows(level, found) if isinstance(found, Tensor) else tuple(out_of_rows(level, y) for y in found)


# ---- places that index tensors choose
def places_of(level: Batch, places: Any, indices: Sequence[Tensor], source: bool) -> tuple[Any, tuple[Tensor, ...]]:
    """Places and index tensors for all samples; `source`: what is indexed has a dimension for them."""
    ndim = max(i.ndim for i in indices)
    varied = level.batched(tuple(indices))
    moved = places._replace(
        shape=(level.size, *places.shape),
        source=(0 if source else -1, *(d + 1 if source and d >= 0 else d for d in places.source)),
        indices=(0 if varied else -1, *(d + 1 if varied and d >= 0 else d for d in places.indices)),
        dims=tuple(d + 1 if source else d for d in places.dims),
    )
    return moved, tuple(aligned(level, i, ndim) for i in indices)


@rules("pick", "rows")
def pick(level: Batch, call: Call) -> Any:
    (x,), kwargs = call.args, dict(call.kwargs)
    physical = level.physical(x)
    several = isinstance(kwargs["indices"], (tuple, list))
    if call.op.name == "rows" and (level.batched(kwargs["scale"]) or physical is not None):
        return slices(level, call)
    given = kwargs["indices"] if several else (kwargs["indices"],)
    kwargs["places"], found = places_of(level, kwargs["places"], given, physical is not None)
    kwargs["indices"] = found if several else found[0]
    return level.stand_in(call.op(x if physical is None else physical, **kwargs))


@rules("put")
def put(level: Batch, call: Call) -> Any:
    kwargs = dict(call.kwargs)
    kwargs["places"], kwargs["indices"] = places_of(level, kwargs["places"], kwargs["indices"], True)
    kwargs["shape"] = (level.size, *kwargs["shape"])
    return level.stand_in(call.op(level.spread(call.args[0]), **kwargs))


@rules("written", "written_", "reduced")
def write(level: Batch, call: Call) -> Any:
    (x, values), kwargs = call.args, dict(call.kwargs)
    if values.ndim == 0 and level.physical(values) is not None:
        return slices(level, call)
    shape = kwargs["places"].shape
    kwargs["places"], kwargs["indices"] = places_of(level, kwargs["places"], kwargs["indices"], True)
    values = level.spread(values) if call.op.name == "reduced" else aligned(level, values, len(shape))
    y = call.op(level.spread(x), values, **kwargs)
    return x if call.writes is not None else level.stand_in(y)


# ---- random numbers
@rules("dropout_mask", "standard_gamma", "sample_dirichlet", "sample_by_rejection")
def drawn(level: Batch, call: Call) -> Any:
    level.check_random()
    if level.randomness == "different":
        return level.stand_in(call.op(level.spread(call.args[0]), *call.args[1:]))
    return slices(level, call) if level.batched(call.args[0]) else call()


RANDOM: dict[str, Rule] = {
    **dict.fromkeys(("dropout_mask", "standard_gamma", "sample_dirichlet", "sample_by_rejection"), drawn),
    "attention": attention,
}


# ---- what depends on the elements
@rules("true_places", "masked_select", "put_masked", "nonzero")
def refused(level: Batch, call: Call) -> Any:
    raise RuntimeError(
        f"vmap: the size of what {call.op.name} gives depends on the elements, and samples must have one shape; use "
        "where(mask, x, 0) or masked_fill(...) in place of x[mask]"
    )
