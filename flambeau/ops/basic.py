"""What the core asks of Python on behalf of views, copies and in-place writes, and the conversions between dtypes.

Imports core and neighbours in ops. Read next: `core/tensor.pxi` (who asks), `shape.py`, `reduce.py`.
"""

from __future__ import annotations

import builtins
from typing import Any

from ..core import _core
from ..core._core import DType, Node, Tensor, new_empty, new_empty_strided, plain_copy
from .primitive import primitive
from .table import TABLE

IDENTITY = TABLE["identity"]


def contiguous_vjp(ctx: Any, g: Tensor) -> Tensor:
    return g


@primitive(contiguous_vjp, name="contiguous")
def contiguous(ctx, x):
    """A copy whose elements stand in order."""
    return _core.clone_contiguous(x)


@primitive(contiguous_vjp, name="laid_out")
def laid_out(ctx, x, strides):
    """A copy with the given strides."""
    y = new_empty_strided(x.shape, strides, x.dtype)
    plain_copy(y, x)
    return y


@primitive(contiguous_vjp, method=True, direct=_core.clone_plainly)
def clone(ctx, x, *, memory_format=None):
    """A copy with its own memory, in the order of dimensions of x.

    >>> x = fb.tensor([1.0, 2.0])
    >>> y = x.clone()
    >>> _ = y.zero_()
    >>> x
    tensor([1., 2.])
    """
    if memory_format in (None, "preserve_format"):
        return _core.clone_contiguous(x) if x.is_contiguous() else IDENTITY(x)
    y = empty_in(x.shape, x.dtype, memory_format)
    plain_copy(y, x)
    return y


def empty_in(shape: Any, dtype: DType, memory_format: Any) -> Tensor:
    """An uninitialised tensor in a memory format, that of rows where it is None."""
    if memory_format in (None, "contiguous_format"):
        return new_empty(shape, dtype)
    from .memory_format import strides_in

    return new_empty_strided(shape, strides_in(shape, memory_format), dtype)


def to_dtype_vjp(ctx: Any, g: Tensor) -> Tensor:
    return to_dtype(g, ctx.dtype)


@primitive(to_dtype_vjp, name="to_dtype")
def to_dtype(ctx, x, dtype):
    """x converted to another dtype."""
    ctx.dtype = x.dtype
    y = new_empty(x.shape, dtype) if x.is_contiguous() else new_like(x, dtype)
    if x.is_complex() and not dtype.is_complex and dtype.name != "bool":
        x = real_part(x)
    plain_copy(y, x)
    return y


def real_part(x: Tensor) -> Tensor:
    """The real parts of a complex tensor, as a view off the tape."""
    half = x.dtype.to_real()
    return _core.raw_view(x, half, x.shape, [2 * s for s in x.stride()], 2 * x.storage_offset())


def new_like(x: Tensor, dtype: DType) -> Tensor:
    """An uninitialised tensor of x's shape and, where x is dense, its order of dimensions."""
    order = sorted(range(x.ndim), key=lambda d: (-x.stride(d), d))
    strides = [0] * x.ndim
    step = 1
    for d in reversed(order):
        strides[d] = step
        step *= max(x.shape[d], 1)
    return new_empty_strided(x.shape, strides, dtype)


def copy_vjp(ctx: Any, g: Tensor) -> tuple:
    return zeros_like_shape(g, ctx.shape, g.dtype), sum_to(to_dtype(g, ctx.dtype), ctx.source_shape, "copy_")


@primitive(copy_vjp, name="copy_", method=True, writes=True, direct=_core.copy_plainly)
def copy_(ctx, x, source, non_blocking=False):
    """x[...] = source, broadcast and converted; returns x.

    >>> fb.zeros(2).copy_(fb.tensor([1, 2]))
    tensor([1., 2.])
    """
    ctx.shape, ctx.source_shape, ctx.dtype = x.shape, source.shape, source.dtype
    if source.is_complex() and not x.is_complex():
        source = real_part(source)
    plain_copy(x, source)
    return x


def fill_vjp(ctx: Any, g: Tensor) -> tuple:
    own = zeros_like_shape(g, g.shape, g.dtype)
    return (own,) if ctx.value_shape is None else (own, g.sum().reshape(ctx.value_shape))


@primitive(fill_vjp, name="fill_", method=True, writes=True, direct=_core.fill_plainly)
def fill_(ctx, x, value):
    """Sets every element of x to a number; returns x.

    >>> fb.empty(2).fill_(3)
    tensor([3., 3.])
    """
    ctx.value_shape = value.shape if isinstance(value, Tensor) else None
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(f"fill_: a number or a 0-dimensional tensor is needed, got shape {list(value.shape)}")
    IDENTITY.into((x,), storable(value, x))
    return x


def storable(value: Any, x: Tensor) -> Any:
    """A number that x is filled with as kernels take it: what only uint64 holds as the int64 of the same bits."""
    fits = x.dtype.ir == "u64" and isinstance(value, int) and 2**63 <= value < 2**64
    return value - 2**64 if fits else value


def fill(x: Tensor, value: Any) -> None:
    """x[...] = value for anything but a tensor: a number, nested lists, an array."""
    if isinstance(value, (builtins.bool, int, float, complex)) or not hasattr(value, "__len__"):
        fill_(x, value)
    else:
        copy_(x, _core.from_nested(value, x.dtype))


def zero_(x: Tensor) -> Tensor:
    """Sets every element of x to 0; returns x.

    >>> fb.tensor([1.0, 2.0]).zero_()
    tensor([0., 0.])
    """
    return x if _core.zero_small(x) else fill_(x, 0)


Tensor.zero_ = zero_


def zeros_like_shape(like: Tensor, shape: Any, dtype: DType) -> Tensor:
    out = new_empty(shape, dtype)
    IDENTITY.into((out,), 0)
    return out


def sum_to(g: Tensor, shape: Any, what: str) -> Tensor:
    """g summed over the dimensions that broadcasting from `shape` had stretched."""
    from .reduce import sum

    if g.shape == tuple(shape):
        return g
    lead = g.ndim - len(shape)
    stretched = [lead + d for d, n in enumerate(shape) if n == 1 and g.shape[lead + d] != 1] if lead >= 0 else []
    if lead < 0 or builtins.any(n not in (1, g.shape[lead + d]) for d, n in enumerate(shape)):
        raise RuntimeError(f"{what}: a gradient of shape {list(g.shape)} doesn't fit an input of shape {list(shape)}")
    dims = (*range(lead), *stretched)
    return sum(g, dims).reshape(shape) if dims else g.reshape(shape)


def embed_vjp(ctx: Any, g: Tensor) -> Tensor:
    return apply_view(g, ctx.how, True)


@primitive(embed_vjp, name="embed_part")
def embed_part(ctx, g, how, shape):
    """Zeros of `shape` with g written into the part that the view `how` shows: the transpose of that view."""
    ctx.how = how
    if how[0] == "_part_of_base":
        size, stride, offset, base_stride, *other = how[1]
        dtype = other[0] if other else g.dtype
        whole = zeros_like_shape(g, (span(shape, base_stride),), dtype)
        out = _core.raw_view(whole, dtype, shape, base_stride, 0)
        part = _core.raw_view(whole, g.dtype, size, stride, offset)
    else:
        out = whole = zeros_like_shape(g, shape, g.dtype)
        part = apply_view(out, how, False)
    if overlaps(part):
        from .indexing import add_overlapping

        add_overlapping(whole, g, part)
    else:
        plain_copy(part, g)
    return out


def span(shape: Any, strides: Any) -> int:
    """How many elements of memory a tensor reaches over."""
    return 1 + builtins.sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if 0 not in shape else 0


def overlaps(part: Tensor) -> bool:
    """Whether two indices of a view may show the same element."""
    reach = 1
    for stride, size in sorted(zip(part.stride(), part.shape, strict=True)):
        if size > 1:
            if stride < reach:
                return True
            reach = stride * (size - 1) + reach
    return False


def apply_view(x: Tensor, how: tuple, recorded: bool) -> Tensor:
    """Makes the view again that `how` = (method, arguments) describes."""
    name, args = how
    if name == "_part_of_base":
        # Geometry within the base, whose own strides may differ from those of the gradient that stands for it.
        size, stride, offset, base_stride, *other = args
        x = x if x.stride() == base_stride else laid_out(x, base_stride)
        if other:
            from .shape import view_as_complex, view_as_real

            pairs = (span(x.shape, x.stride()) // 2, 2)
            x = view_as_real(x) if other[0].is_complex else view_as_complex(x.as_strided(pairs, (2, 1)))
            how = (name, (size, stride, offset, x.stride()))
        return _core.part_view(x, size, stride, offset, how)
    return getattr(x, name)(*args) if recorded else getattr(x.detach(), name)(*args)


def contiguous_strides(shape: Any) -> tuple[int, ...]:
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def replace_part_vjp(ctx: Any, g: Tensor) -> tuple:
    return replace_part(g, None, ctx.how), *((apply_view(g, ctx.how, True),) if ctx.replaced else ())


@primitive(replace_part_vjp, name="replace_part")
def replace_part(ctx, g, part, how):
    """A copy of g with `part`, or zeros, in the part that the view `how` shows."""
    ctx.how, ctx.replaced = how, part is not None
    out = new_empty_strided(g.shape, how[1][3], g.dtype)
    plain_copy(out, g)
    target = apply_view(out, how, False).detach()
    if part is None:
        IDENTITY.into((target,), 0)
    else:
        plain_copy(target, part)
    return out


def copy_slices_vjp(node: Node, g: Tensor) -> tuple:
    """Gradients of a base that was written in place through a view, and of what was written."""
    geometry, _, self_edge = _core.node_info(node)
    how = ("_part_of_base", geometry)
    inner = list(_core.run_inner(_core.inner_node(node), (apply_view(g, how, True).contiguous(),)))
    own = inner.pop(self_edge) if self_edge >= 0 else None
    return replace_part(g, own, how), *inner


def view_slice(x: Tensor, dim: int, start: int, stop: int, step: int) -> Tensor:
    return _core.slice_view(x, dim, start, stop, step)


Tensor._slice = view_slice


def as_strided(x: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """The storage of x under any sizes and strides that stay inside it.

    >>> fb.as_strided(fb.arange(6), (2, 2), (3, 1), 1)
    tensor([[1, 2],
            [4, 5]])
    """
    at = x.storage_offset() if storage_offset is None else storage_offset
    _core.raw_view(x, x.dtype, size, stride, at)  # bounds are checked before anything is recorded
    base_stride = contiguous_strides(x.shape) if x.is_contiguous() else x.stride()
    relative = at - x.storage_offset()
    how = ("_part_of_base", (tuple(size), tuple(stride), relative, base_stride))
    return _core.part_view(x, size, stride, relative, how)


def view_dtype(x: Tensor, dtype: DType) -> Tensor:
    """The same bytes as another dtype; the last dimension grows or shrinks with the element size."""
    old, new = x.dtype.itemsize, dtype.itemsize
    offset_bytes = x.storage_offset() * old
    if old == new:
        return _core.raw_view(x, dtype, x.shape, x.stride(), x.storage_offset())
    if x.ndim == 0 or x.stride(-1) != 1:
        raise RuntimeError(
            f"view: {x.dtype} to {dtype} changes the element size, which needs a last dimension of stride 1, got "
            f"strides {list(x.stride())}"
        )
    last = x.shape[-1] * old
    strides = [s * old for s in x.stride()[:-1]]
    if last % new or offset_bytes % new or builtins.any(s % new for s in strides):
        raise RuntimeError(f"view: {list(x.shape)} of {x.dtype} can't be seen as {dtype}: bytes don't divide evenly")
    shape, strides = (*x.shape[:-1], last // new), [*(s // new for s in strides), 1]
    return _core.raw_view(x, dtype, shape, strides, offset_bytes // new)


def install() -> None:
    _core.set_hook("contiguous", contiguous)
    _core.set_hook("cast", to_dtype)
    _core.set_hook("copy_", copy_)
    _core.set_hook("fill", fill)
    _core.set_hook("sum_to", sum_to)
    _core.set_hook("part_vjp", embed_part)
    _core.set_hook("copy_slices_vjp", copy_slices_vjp)
    _core.set_hook("as_strided", as_strided)
    _core.set_hook("view_dtype", view_dtype)


install()

__all__ = ["clone", "copy_", "fill_", "identity", "zero_"]
identity = IDENTITY
