"""PyTorch's smaller names: geometry changed in place, questions about tensors, and draws from given weights.

Imports core and neighbours in ops.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

from ..core import _core
from ..core._core import DTYPES, Tensor, new_empty, new_empty_strided
from . import documents
from .arguments import holds
from .basic import as_strided, copy_
from .documents import Derived
from .factories import default, finish
from .joining import chunk, split
from .random import Generator, rand
from .recall import recalled
from .reduce import sum
from .shape import squeeze, swapaxes, t, transpose, unsqueeze
from .table import TABLE

INT64 = DTYPES[5]


def adopt(name: str, self: Tensor, view: Tensor) -> Tensor:
    """self takes a view of itself as its own geometry, and the view's history."""
    node, nr = view.grad_fn, view.output_nr
    if node is not None and self.is_leaf:
        raise RuntimeError(
            f"{name}: a leaf that requires grad can't change its geometry in place; use flambeau.no_grad()"
        )
    self.set_(view.detach())
    if node is not None:
        _core.set_output(node, self, nr)
    return self


def in_place(view: Callable[..., Tensor]) -> Derived:
    """The method by which a tensor itself takes the geometry of a view of it."""
    name = view.__name__

    def method(self: Tensor, *args: Any) -> Tensor:
        return adopt(name + "_", self, getattr(self, name)(*args))

    return Derived(name + "_", method, lambda: documents.in_place(name, view.__doc__ or ""))


def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Changes the shape in place; memory grows where it must, and new elements are uninitialised.

    >>> fb.arange(6).resize_(2, 2)
    tensor([[0, 1],
            [2, 3]])
    """
    shape = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    if self.requires_grad:
        raise RuntimeError("resize_: cannot resize variables that require grad; use x.detach()")
    made = new_empty(shape, self.dtype)
    if (
        made.numel() * self.element_size()
        <= self.untyped_storage().nbytes() - self.storage_offset() * self.element_size()
    ):
        return self.set_(_core.raw_view(self, self.dtype, shape, made.stride(), self.storage_offset()))
    flat = made.view(-1)
    flat[: self.numel()].copy_(self.detach().reshape(-1))
    return self.set_(made)


def resize_as_(self: Tensor, other: Tensor, memory_format: Any = None) -> Tensor:
    """Changes the shape in place to another tensor's.

    >>> fb.arange(6).resize_as_(fb.zeros(3, 2))
    tensor([[0, 1],
            [2, 3],
            [4, 5]])
    """
    return resize_(self, tuple(other.shape))


def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """Sums over what broadcasting from `size` would have stretched.

    >>> fb.ones(3, 2).sum_to_size(1, 2)
    tensor([[3., 3.]])
    """
    from .basic import sum_to

    shape = tuple(size[0]) if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
    return sum_to(self, shape, "sum_to_size")


def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replaces each element by callable(element), one Python call each; returns the tensor.

    >>> fb.tensor([1.0, 2.0]).apply_(lambda v: v * v + 1)
    tensor([2., 5.])
    """
    flat = [callable(v) for v in self.detach().reshape(-1).tolist()]
    return copy_(self, _core.from_nested(flat, self.dtype).reshape(self.shape)) if flat else self


def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replaces each element by callable(element, element of tensor); returns the tensor.

    >>> fb.tensor([1.0, 5.0]).map_(fb.tensor([3.0, 4.0]), max)
    tensor([3., 5.])
    """
    other = tensor.expand(self.shape).reshape(-1).tolist()
    flat = [callable(a, b) for a, b in zip(self.detach().reshape(-1).tolist(), other, strict=True)]
    return copy_(self, _core.from_nested(flat, self.dtype).reshape(self.shape)) if flat else self


def detach(input: Tensor) -> Tensor:
    """A tensor over the same memory that stands on no tape.

    >>> x = fb.ones(2, requires_grad=True)
    >>> fb.detach(x).requires_grad
    False
    """
    return input.detach()


def is_nonzero(input: Tensor) -> bool:
    """Whether the only element isn't zero.

    >>> fb.is_nonzero(fb.tensor([0.5])), fb.is_nonzero(fb.tensor([0]))
    (True, False)
    """
    if input.numel() != 1:
        raise RuntimeError(f"is_nonzero: the truth of a tensor with {input.numel()} elements is ambiguous")
    return bool(input.item())


def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers.

    >>> fb.is_signed(fb.ones(1)), fb.is_signed(fb.ones(1, dtype=fb.uint8))
    (True, False)
    """
    return input.is_signed()


def is_inference(input: Tensor) -> bool:
    """Whether the tensor was made in inference mode.

    >>> with fb.inference_mode():
    ...     x = fb.ones(1)
    >>> fb.is_inference(x)
    True
    """
    return input.is_inference()


def get_device(input: Tensor) -> int:
    """The index of the tensor's device; -1 for the CPU.

    >>> fb.get_device(fb.ones(1))
    -1
    """
    return input.get_device()


@recalled
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None, out: Any = None
) -> Tensor:
    """Indices drawn with probability proportional to the weights of each row.

    Without replacement the `num_samples` smallest of -log(u) / weight are taken (Efraimidis, Spirakis 2006).

    >>> fb.multinomial(fb.tensor([0.0, 1.0, 0.0]), 2, replacement=True)
    tensor([1, 1])
    """
    from .search import searchsorted
    from .sorting import topk

    weights = input.detach()
    if weights.ndim not in (1, 2) or not weights.is_floating_point():
        raise RuntimeError(
            f"multinomial: a floating vector or matrix of weights is needed, got {list(input.shape)} of {input.dtype}"
        )
    if num_samples <= 0:
        raise RuntimeError(f"multinomial: cannot sample n_sample <= 0 samples, got {num_samples}")
    if weights.numel() and not holds((weights >= 0) & weights.isfinite()):
        raise RuntimeError("multinomial: probability tensor contains either `inf`, `nan` or element < 0")
    if not replacement and num_samples > weights.shape[-1]:
        raise RuntimeError(
            f"multinomial: cannot sample {num_samples} of {weights.shape[-1]} without replacement; use replacement=True"
        )
    rows = weights.reshape(-1, weights.shape[-1])
    if not holds(sum(rows, 1) != 0):
        raise RuntimeError("multinomial: invalid multinomial distribution (sum of probabilities <= 0)")
    if replacement:
        steps = rows.double().cumsum(1)
        u = rand(rows.shape[0], num_samples, dtype=DTYPES[9], generator=generator) * steps[:, -1:]
        found = searchsorted(steps, u, right=True)
    else:
        if not holds(TABLE["gt"](rows, 0).sum(1) >= num_samples):
            raise RuntimeError(
                f"multinomial: cannot sample {num_samples} without replacement: a row has fewer nonzero weights"
            )
        u = 1.0 - rand(*rows.shape, dtype=DTYPES[9], generator=generator)
        keys = TABLE["where"](rows > 0, -u.log() / rows.double(), float("inf"))
        found = topk(keys, num_samples, dim=1, largest=False)[1]
    return found.reshape((*weights.shape[:-1], num_samples))


def new_empty_strided_like(
    self: Tensor, size: Sequence[int], stride: Sequence[int], dtype: Any = None, **kwargs: Any
) -> Tensor:
    """An uninitialised tensor of the tensor's dtype, with given strides.

    >>> fb.ones(1, dtype=fb.int64).new_empty_strided((2, 3), (1, 2)).stride()
    (1, 2)
    """
    return new_empty_strided(size, stride, self.dtype if dtype is None else dtype)


def empty_permuted(
    size: Sequence[int], physical_layout: Sequence[int], *, dtype: Any = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    """An uninitialised tensor whose dimensions lie in memory in the order given.

    >>> fb.empty_permuted((2, 3, 4), (0, 2, 1)).stride()
    (12, 1, 3)
    """
    strides, step = [0] * len(size), 1
    for d in reversed(physical_layout):
        strides[d] = step
        step *= size[d]
    return finish(new_empty_strided(size, strides, default(dtype)), requires_grad)


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor of input's shape and dtype with every element the value.

    >>> fb.fill(fb.zeros(2), 3)
    tensor([3., 3.])
    """
    return input.clone().fill_(value)


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of input with the elements at flat indices replaced by source, or added to.

    >>> fb.put(fb.zeros(3), fb.tensor([2]), fb.tensor([5.0]))
    tensor([0., 0., 5.])
    """
    return input.clone().put_(index, source, accumulate)


def range(start: Any = 0, end: Any = None, step: Any = 1, **kwargs: Any) -> Tensor:
    """Numbers start, start + step, … up to and including end, floating by default.

    >>> fb.range(1, 3)
    tensor([1., 2., 3.])
    """
    from .ranges import arange

    if end is None:
        raise TypeError("range: start and end are needed; use arange(end) to start from 0")
    kwargs.setdefault("dtype", default(None))
    count = int((end - start) / step) + 1
    return arange(start, start + step * (count - 0.5), step, **kwargs)


def dim_order(self: Tensor, *, ambiguity_check: Any = False) -> tuple[int, ...]:
    """The dimensions from the outermost in memory to the innermost; of equal strides in their own order.

    Args:
        ambiguity_check: True refuses a tensor whose order isn't unique; a list of memory formats one that fits several.

    >>> fb.ones(2, 3, 5).transpose(0, 1).dim_order()
    (1, 0, 2)
    """
    if not isinstance(ambiguity_check, bool | list) or not (
        isinstance(ambiguity_check, bool) or all(isinstance(f, str) for f in ambiguity_check)
    ):
        raise TypeError(f"dim_order: ambiguity_check must be a bool or a list of memory formats, got {ambiguity_check}")
    strides = self.stride()
    order = tuple(builtins.range(self.ndim))
    if not self.is_contiguous():
        order = tuple(sorted(order, key=lambda d: (-strides[d], -self.shape[d])))
    if ambiguity_check is True:
        ambiguous = len(set(strides)) < len(strides) or 1 in self.shape
    else:
        fitting = [f for f in ambiguity_check or () if self.is_contiguous(memory_format=f)]
        ambiguous = bool(ambiguity_check) and len(fitting) != 1
    if ambiguous:
        raise RuntimeError(
            f"dim_order: shape {list(self.shape)} with strides {list(strides)} has no unique order of dimensions"
        )
    return order


def split_with_sizes(self: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive parts of a dimension, of the lengths given.

    >>> fb.tensor([1, 2, 3]).split_with_sizes([1, 2])
    (tensor([1]), tensor([2, 3]))
    """
    return split(self, split_sizes, dim)


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """False: memory is pinned for copies to other devices.

    >>> fb.ones(1).is_pinned()
    False
    """
    return False


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """The tensor itself: there is no other device to copy it to.

    >>> x = fb.ones(1)
    >>> x.pin_memory() is x
    True
    """
    return self


def in_place_function(name: str) -> Derived:
    """relu_(x) and its kin: the op written over its argument."""

    def function(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return TABLE[name].inplace(input, *args, **kwargs)

    return Derived(name + "_", function, lambda: documents.in_place(name, TABLE[name].__doc__ or "", False))


celu_, elu_, hardtanh_, leaky_relu_, selu_, threshold_ = (
    in_place_function(n) for n in ("celu", "elu", "hardtanh", "leaky_relu", "selu", "threshold")
)


for _view in (transpose, squeeze, unsqueeze, t, swapaxes, as_strided):
    setattr(Tensor, _view.__name__ + "_", in_place(_view))
Tensor.swapdims_ = Tensor.swapaxes_
for _function in (resize_, resize_as_, sum_to_size, apply_, map_, multinomial, is_nonzero, dim_order):
    setattr(Tensor, _function.__name__, _function)
Tensor.put, Tensor.const_data_ptr = put, Tensor.data_ptr
Tensor.split_with_sizes, Tensor.unsafe_chunk, Tensor.unsafe_split = split_with_sizes, chunk, split
Tensor.new_empty_strided = new_empty_strided_like
Tensor.is_pinned, Tensor.pin_memory = is_pinned, pin_memory

__all__ = [
    "celu_", "detach", "elu_", "empty_permuted", "fill", "get_device", "hardtanh_", "is_inference", "is_nonzero",
    "is_signed", "leaky_relu_", "multinomial", "put", "range", "selu_", "threshold_",
]  # fmt: skip
