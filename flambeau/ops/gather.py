"""gather, scatter, index_select, index_add, take, embedding, …: each a choice of places, read or written.

Imports core and neighbours in ops. Read next: `picking.py` (what reads and writes), `indirect.py` (places and kernels),
`indexing.py` (x[…]), `scatter_reduce.py`.
"""

from __future__ import annotations

import functools
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor, new_empty
from .arguments import every, out_of, wrap
from .basic import storable, to_dtype, zeros_like_shape
from .indirect import PLANS, Ints, Places, along, as_index, check_range, extent, inserted, write
from .indirect import read as read_places
from .picking import pick, put, written, written_
from .primitive import primitive
from .ranges import arange
from .recall import recalled
from .table import TABLE

__all__ = [
    "bincount", "embedding", "gather", "index_add", "index_copy", "index_fill", "index_select", "one_hot", "scatter",
    "scatter_add", "take", "take_along_dim",
]  # fmt: skip

INT64, FLOAT16, BFLOAT16, FLOAT32, FLOAT64 = DTYPES[5], DTYPES[6], DTYPES[7], DTYPES[8], DTYPES[9]


# ---- one index tensor of the result's shape
@functools.lru_cache(maxsize=PLANS)
def whole_places(name: str, shape: Ints, index_shape: Ints, dim: int) -> tuple[Places, int, int]:
    """Where gather and scatter find elements, the dimension and its length; 0-dimensional tensors count as vectors."""
    dim = wrap(dim, len(shape))
    if max(len(index_shape), 1) != max(len(shape), 1):
        raise RuntimeError(
            f"{name}: the index must have as many dimensions as x, got {list(index_shape)} for x {list(shape)}"
        )
    for d, (i, n) in enumerate(zip(index_shape, shape, strict=False)):
        if i > n and d != dim and 0 not in index_shape:
            raise RuntimeError(
                f"{name}: the index {list(index_shape)} may exceed x {list(shape)} only in dimension {dim}"
            )
    return along(index_shape or (1,), dim), dim, (shape or (1,))[dim]


def whole_index(name: str, x: Tensor, dim: int, index: Tensor) -> tuple[Places, Tensor]:
    """The places and the index of gather and scatter, checked."""
    index = as_index(name, index)
    places, dim, size = whole_places(name, x.shape, index.shape, dim)
    check_range(index, size, dim, False)
    return places, index if index.ndim else index.reshape(1)


@recalled
@out_of
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """y[i, j, …] = x[index[i, j, …], j, …] for dim = 0, and so on: one element for each of index.

    Raises IndexError where an index isn't a place of dimension `dim`.

    >>> x = fb.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> fb.gather(x, 1, fb.tensor([[0, 0], [1, 0]]))
    tensor([[1., 1.],
            [4., 3.]])
    """
    small = _core.take_along(input, dim, index)
    if small is not None:
        return small
    places, whole = whole_index("gather", input, dim, index)
    return as_shaped(pick(flat_at_least(input), places=places, indices=(whole,)), index)


@recalled
@out_of
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """gather with x and indices broadcast in the other dimensions; without `dim`, of the flattened tensors.

    >>> x = fb.tensor([[3.0, 1.0, 2.0]])
    >>> fb.take_along_dim(x, x.argsort(), 1)
    tensor([[1., 2., 3.]])
    """
    if dim is None:
        return take_along_dim(input.reshape(-1), indices.reshape(-1), 0)
    small = _core.take_along(input, dim, indices)
    if small is not None:
        return small
    indices, dim = as_index("take_along_dim", indices), wrap(dim, input.ndim)
    if indices.ndim != input.ndim:
        raise RuntimeError(
            f"take_along_dim: x {list(input.shape)} and indices {list(indices.shape)} differ in dimensions"
        )
    others = _core.broadcast_shapes(
        [1 if d == dim else n for d, n in enumerate(input.shape)],
        [1 if d == dim else n for d, n in enumerate(indices.shape)],
    )
    size = input.shape[dim]
    check_range(indices, size, dim)
    input = input.expand([size if d == dim else n for d, n in enumerate(others)])
    indices = indices.expand([indices.shape[dim] if d == dim else n for d, n in enumerate(others)])
    return pick(input, places=along(indices.shape, dim), indices=(indices,))


def scattered(op: Any, name: str, x: Tensor, dim: int, index: Tensor, src: Any, how: str) -> Tensor:
    places, index = whole_index(name, x, dim, index)
    values = source_for(name, x, src, index)
    return op(flat_at_least(x), values, places=places, indices=(index,), how=how, name=name)


def flat_at_least(x: Tensor) -> Tensor:
    return x.view(1) if x.ndim == 0 else x


def as_shaped(y: Tensor, x: Tensor) -> Tensor:
    return y if x.ndim else y.reshape(())


def source_for(name: str, x: Tensor, src: Any, index: Tensor) -> Tensor:
    """What scatter writes: a number as a tensor, or the part of src that index covers."""
    if not isinstance(src, Tensor):
        return number(src, x)
    if src.shape == index.shape:
        return src
    if src.ndim == 0:
        src = src.reshape(1)
    if src.ndim != index.ndim or index.numel() and any(i > n for i, n in zip(index.shape, src.shape, strict=True)):
        raise RuntimeError(f"{name}: the index {list(index.shape)} exceeds src {list(src.shape)}")
    for d, (i, n) in enumerate(zip(index.shape, src.shape, strict=True)):
        if i < n:
            src = src.narrow(d, 0, i)
    return src


def number(value: Any, like: Tensor) -> Tensor:
    out = new_empty((), like.dtype)
    TABLE["identity"].into((out,), storable(value, out))
    return out


@recalled
def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """x with y[index[i, j, …], j, …] = src[i, j, …] for dim = 0, and so on; src is a tensor or a number.

    `reduce` is None, 'add' or 'multiply'. Of elements that meet, the last in order stays. Raises IndexError where an
    index isn't a place of dimension `dim`.

    >>> fb.zeros(3).scatter(0, fb.tensor([2, 0]), fb.tensor([5.0, 6.0]))
    tensor([6., 0., 5.])
    """
    src = value if src is None else src
    if reduce == "multiply":
        from .scatter_reduce import multiplied

        return multiplied(input, dim, index, src)
    return as_shaped(scattered(written, "scatter", input, dim, index, src, scatter_mode(reduce)), input)


def scatter_mode(reduce: str | None) -> str:
    if reduce not in (None, "add"):
        raise RuntimeError(f"scatter: reduce must be 'add' or 'multiply', got {reduce!r}")
    return "sum" if reduce else "set"


@recalled
def scatter_(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """In-place form of :func:`scatter`.

    >>> fb.zeros(3).scatter_(0, fb.tensor([2, 0]), fb.tensor([1.0, 5.0]))
    tensor([5., 0., 1.])
    """
    src = value if src is None else src
    if reduce == "multiply":
        return input.copy_(scatter(input, dim, index, src, reduce=reduce))
    scattered(written_, "scatter_", input, dim, index, src, scatter_mode(reduce))
    return input


@recalled
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """x with y[index[i, j, …], j, …] += src[i, j, …] for dim = 0, and so on, added in the order of the index.

    >>> fb.zeros(2).scatter_add(0, fb.tensor([0, 1, 0]), fb.tensor([1.0, 2.0, 3.0]))
    tensor([4., 2.])
    """
    return as_shaped(scattered(written, "scatter_add", input, dim, index, src, "sum"), input)


@recalled
def scatter_add_(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """In-place form of :func:`scatter_add`.

    >>> fb.ones(2).scatter_add_(0, fb.tensor([1, 1]), fb.tensor([1.0, 5.0]))
    tensor([1., 7.])
    """
    scattered(written_, "scatter_add_", input, dim, index, src, "sum")
    return input


# ---- one vector of indices for a dimension
def vector_index(name: str, x: Tensor, dim: int, index: Tensor, wraps: bool = False) -> tuple[int, Tensor]:
    index, dim = as_index(name, index), wrap(dim, x.ndim)
    if index.ndim > 1:
        raise RuntimeError(f"{name}: the index must be a vector, got shape {list(index.shape)}")
    check_range(index, x.shape[dim] if x.ndim else 1, dim, wraps)
    return dim, index.reshape(-1)


@recalled
@out_of
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The places of dimension `dim` that a vector of indices names. Raises IndexError for any other number.

    >>> fb.index_select(fb.tensor([[1, 2], [3, 4], [5, 6]]), 0, fb.tensor([2, 0]))
    tensor([[5, 6],
            [1, 2]])
    """
    small = _core.take_rows(input, index, dim) if getattr(index, "ndim", 0) == 1 else None
    if small is not None:
        return small
    dim, index = vector_index("index_select", input, dim, index)
    source = flat_at_least(input)
    return as_shaped(pick(source, places=inserted(source.shape, index.shape, (dim,), dim), indices=(index,)), input)


def indexed(
    op: Any, name: str, x: Tensor, dim: int, index: Tensor, source: Any, how: str, wraps: bool = False
) -> Tensor:
    dim, index = vector_index(name, x, dim, index, wraps)
    x = flat_at_least(x)
    if source.ndim == 0 and name[:10] != "index_fill":
        source = source.reshape(1)
    places = inserted(x.shape, index.shape, (dim,), dim)
    if name[:10] != "index_fill" and tuple(source.shape) != places.shape:
        raise RuntimeError(f"{name}: the source must have shape {list(places.shape)}, got {list(source.shape)}")
    return op(x, source, places=places, indices=(index,), how=how, name=name)


@recalled
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """x with alpha · source[i] added to place index[i] of dimension `dim`, in the order of the index.

    >>> fb.zeros(3).index_add(0, fb.tensor([0, 2, 0]), fb.tensor([1.0, 2.0, 3.0]))
    tensor([4., 0., 2.])
    """
    return as_shaped(
        indexed(written, "index_add", input, dim, index, source if alpha == 1 else source * alpha, "sum"), input
    )


@recalled
def index_add_(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """In-place form of :func:`index_add`.

    >>> fb.zeros(2, 2).index_add_(0, fb.tensor([1, 1]), fb.ones(2, 2))
    tensor([[0., 0.],
            [2., 2.]])
    """
    indexed(written_, "index_add_", input, dim, index, source if alpha == 1 else source * alpha, "sum")
    return input


@recalled
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """x with source[i] at place index[i] of dimension `dim`.

    >>> fb.zeros(3).index_copy(0, fb.tensor([2, 0]), fb.tensor([1.0, 2.0]))
    tensor([2., 0., 1.])
    """
    return as_shaped(indexed(written, "index_copy", input, dim, index, source, "set"), input)


@recalled
def index_copy_(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """In-place form of :func:`index_copy`.

    >>> fb.zeros(2, 2).index_copy_(0, fb.tensor([1]), fb.tensor([[3.0, 4.0]]))
    tensor([[0., 0.],
            [3., 4.]])
    """
    indexed(written_, "index_copy_", input, dim, index, source, "set")
    return input


def fill_value(name: str, x: Tensor, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        return number(value, x)
    if value.ndim:
        raise RuntimeError(f"{name}: a number or a 0-dimensional tensor is needed, got shape {list(value.shape)}")
    return value if value.dtype is x.dtype else to_dtype(value, x.dtype)


@recalled
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """x with `value` at the places of dimension `dim` that index names; negative ones count from the end.

    >>> fb.zeros(3).index_fill(0, fb.tensor([0, -1]), 5.0)
    tensor([5., 0., 5.])
    """
    value = fill_value("index_fill", input, value)
    return as_shaped(indexed(written, "index_fill", input, dim, index, value, "set", True), input)


@recalled
def index_fill_(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """In-place form of :func:`index_fill`.

    >>> fb.zeros(2, 2).index_fill_(1, fb.tensor([0]), 7.0)
    tensor([[7., 0.],
            [7., 0.]])
    """
    indexed(written_, "index_fill_", input, dim, index, fill_value("index_fill_", input, value), "set", True)
    return input


# ---- places of the flattened tensor
@recalled
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements of the flattened x at index, in index's shape; negative indices count from the end.

    >>> fb.take(fb.tensor([[1, 2], [3, 4]]), fb.tensor([0, -1]))
    tensor([1, 4])
    """
    flat = input.reshape(-1)
    small = _core.take_rows(flat, index)
    if small is not None:
        return small
    index = as_index("take", index)
    check_range(index, input.numel(), 0)
    return pick(flat, places=inserted((input.numel(),), index.shape, (0,), 0), indices=(index,))


def put_at(op: Any, x: Tensor, index: Tensor, source: Tensor, accumulate: bool) -> Tensor:
    index = as_index("put_", index)
    check_range(index, x.numel(), 0)
    if source.numel() != index.numel():
        raise RuntimeError(f"put_: {index.numel()} indices need as many values, got {source.numel()}")
    places = inserted((x.numel(),), (index.numel(),), (0,), 0)
    how = "sum" if accumulate else "set"
    return op(x, source.reshape(-1), places=places, indices=(index.reshape(-1),), how=how, name="put_")


def put_(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Stores the elements of source, or adds them, at places of the flattened x; returns x.

    >>> fb.zeros(2, 2).put_(fb.tensor([1, -1]), fb.tensor([5.0, 6.0]))
    tensor([[0., 5.],
            [0., 6.]])
    """
    if not input.is_contiguous():
        return input.copy_(put_at(written, input.reshape(-1), index, source, accumulate).reshape(input.shape))
    put_at(written_, input.view(-1), index, source, accumulate)
    return input


# ---- rows of a table
def embedding(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Tensor:
    """Rows of `weight` (n, d): y[…, :] = weight[indices[…], :].

    Row `padding_idx` gets no gradient; `scale_grad_by_freq` divides gradients by how often their row was asked for.
    With `sparse` the gradient of a weight that is a leaf is a sparse_coo tensor that holds the asked rows alone. Raises
    IndexError where an index isn't in [0, n), RuntimeError where sparse gradients should be scaled by frequency.

    >>> fb.embedding(fb.tensor([[1.0, 2.0], [3.0, 4.0]]), fb.tensor([1, 1]))
    tensor([[3., 4.],
            [3., 4.]])
    """
    if weight.ndim != 2:
        raise RuntimeError(f"embedding: the weight must be a matrix, got shape {list(weight.shape)}")
    small = _core.take_rows(weight, indices)
    if small is not None:
        return small
    indices = as_index("embedding", indices)
    check_range(indices, weight.shape[0], 0, False)
    places = inserted(weight.shape, indices.shape, (0,), 0)
    if padding_idx < 0 and not scale_grad_by_freq and not sparse:
        return pick(weight, places=places, indices=(indices,))
    if sparse and scale_grad_by_freq:
        raise RuntimeError("embedding: scale_grad_by_freq isn't supported with sparse gradients; use sparse=False")
    sparse = sparse and weight.is_leaf  # operations before it have backward rules for dense gradients
    return rows(weight, places=places, indices=indices, padding=padding_idx, scale=scale_grad_by_freq, sparse=sparse)


def rows_vjp(ctx: Any, g: Tensor) -> Tensor:
    (indices,) = ctx.saved
    if ctx.sparse:
        from ..sparse.construct import gradient_of_rows

        return gradient_of_rows(indices.reshape(-1), g.reshape(-1, ctx.shape[1]), ctx.shape, ctx.padding)
    if ctx.scale:
        counts = take(bincount(indices.reshape(-1), minlength=ctx.shape[0]), indices)
        g = g / counts.unsqueeze(-1)
    g = put(g, shape=ctx.shape, places=ctx.places, indices=(indices,))
    if ctx.padding < 0:
        return g
    return index_fill(g, 0, number(ctx.padding, indices).reshape(1), 0)


@primitive(rows_vjp)
def rows(ctx, weight, *, places, indices, padding, scale, sparse):
    """embedding with a padding row, with gradients divided by frequency, or with sparse gradients."""
    ctx.shape, ctx.places, ctx.padding, ctx.scale, ctx.sparse = weight.shape, places, padding, scale, sparse
    ctx.save(indices)
    return read_places(weight.detach(), places, (indices,))


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 zeros of shape (…, num_classes) with a 1 at each class; without `num_classes`, the largest class + 1.

    >>> fb.nn.functional.one_hot(fb.tensor([0, 2]), 3)
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if tensor.dtype is not INT64:
        raise RuntimeError(f"one_hot: the classes must be int64, got {tensor.dtype}; use x.long()")
    if tensor.numel() == 0 and num_classes <= 0:
        raise RuntimeError("one_hot: an empty tensor doesn't say how many classes there are; give num_classes")
    return hot(tensor, extent(every(tensor))[1] + 1 if num_classes == -1 else num_classes)


@recalled
def hot(input: Tensor, num_classes: int) -> Tensor:
    """one_hot of classes below `num_classes`, which is checked."""
    if not _core.surely_within(input, 0, num_classes):
        low, high = extent(every(input))
        if low < 0 or high >= num_classes:
            raise RuntimeError(
                f"one_hot: Class values: classes must be in [0, {num_classes}), got {high if low >= 0 else low}"
            )
    return to_dtype(TABLE["eq"](input.unsqueeze(-1), arange(num_classes)), INT64)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number 0, 1, … occurs in a vector of integers or, given weights, the sum of theirs.

    >>> fb.bincount(fb.tensor([0, 2, 2]), minlength=4)
    tensor([1, 0, 2, 0])
    """
    if input.ndim != 1 or input.dtype.is_floating_point or input.dtype.is_complex:
        raise RuntimeError(f"bincount: a vector of integers is needed, got {input.dtype} of shape {list(input.shape)}")
    if minlength < 0:
        raise RuntimeError(f"bincount: minlength can't be negative, got {minlength}")
    small = _core.counted_small(input, minlength) if weights is None else None
    if small is not None:
        return small
    index = input.detach() if input.dtype is INT64 else to_dtype(input.detach(), INT64)
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError(
            f"bincount: weights {list(weights.shape)} and x {list(input.shape)} must have the same shape"
        )
    low, high = extent(index)
    if low < 0:
        raise RuntimeError(f"bincount: numbers can't be negative, got {low}")
    size = max(minlength, high + 1)
    if weights is None:
        out, weights = zeros_like_shape(input, (size,), INT64), number(1, index)
    else:
        dtype = FLOAT32 if weights.dtype is FLOAT32 else FLOAT64
        out, weights = zeros_like_shape(input, (size,), dtype), to_dtype(weights.detach(), dtype)
    write(out, along(index.shape, 0), (index,), weights.expand(index.shape), "sum")
    return out


for _function in (
    gather, take_along_dim, scatter, scatter_, scatter_add, scatter_add_, index_select, index_add, index_add_,
    index_copy, index_copy_, index_fill, index_fill_, take, put_, bincount,
):  # fmt: skip
    setattr(Tensor, _function.__name__, _function)
