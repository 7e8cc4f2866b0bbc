"""Functions whose PyTorch signature is more than their op's: bounds that may be missing, modes, overloads.

Imports core and neighbours in ops.
"""

from __future__ import annotations

import builtins
from typing import Any

from ..core import _core
from ..core._core import Tensor
from .arguments import into_out, return_type
from .recall import recalled
from .reduce import amax, amin, max_dim, min_dim
from .table import TABLE

max_result, min_result = return_type("max", "values indices"), return_type("min", "values indices")
aminmax_result = return_type("aminmax", "min max")


def clamp(input: Tensor, min: Any = None, max: Any = None, *, out: Tensor | None = None) -> Tensor:
    """y = min(max(x, min), max); either bound may be missing, and may be a tensor.

    >>> fb.clamp(fb.tensor([-2.0, 0.5, 2.0]), min=-1, max=1)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    bounds = [b for b in (min, max) if b is not None]
    if not bounds:
        raise RuntimeError("clamp: at least one of 'min' or 'max' must not be None")
    op = TABLE["clamp" if len(bounds) == 2 else "clamp_min" if max is None else "clamp_max"]
    return op(input, *bounds) if out is None else op(input, *bounds, out=out)


def clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """In-place form of :func:`clamp`.

    >>> fb.tensor([-3.0, 0.5, 3.0]).clamp_(-1.0, 1.0)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    bounds = [b for b in (min, max) if b is not None]
    if not bounds:
        raise RuntimeError("clamp_: at least one of 'min' or 'max' must not be None")
    return TABLE["clamp" if len(bounds) == 2 else "clamp_min" if max is None else "clamp_max"].inplace(self, *bounds)


ROUNDING = {None: "div", "trunc": "div_trunc", "floor": "floor_divide"}


def rounded(rounding_mode: str | None) -> Any:
    if rounding_mode not in ROUNDING:
        raise RuntimeError(f"div: rounding_mode is None, 'trunc' or 'floor', got {rounding_mode!r}")
    return TABLE[ROUNDING[rounding_mode]]


def div(input: Any, other: Any, *, rounding_mode: str | None = None, out: Tensor | None = None) -> Tensor:
    """x / y; rounding_mode "trunc" or "floor" rounds the quotient.

    >>> fb.div(fb.tensor([7.0]), 2, rounding_mode="floor")
    tensor([3.])
    """
    op = rounded(rounding_mode)
    return op(input, other) if out is None else op(input, other, out=out)


def div_(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """In-place form of :func:`div`.

    >>> fb.tensor([7.0, 8.0]).div_(2.0, rounding_mode="floor")
    tensor([3., 4.])
    """
    return rounded(rounding_mode).inplace(self, other)


def where(condition: Tensor, input: Any = None, other: Any = None, *, out: Tensor | None = None) -> Any:
    """x where the condition holds, else y; with the condition alone, the indices where it holds.

    >>> fb.where(fb.tensor([True, False]), 1.0, 2.0)
    tensor([1., 2.])
    """
    if input is None and other is None:
        from .masks import nonzero

        return nonzero(condition, as_tuple=True)
    return TABLE["where"](condition, input, other) if out is None else TABLE["where"](condition, input, other, out=out)


def filler(input: Tensor, value: Any) -> Any:
    """What masked_fill writes, in the tensor's own dtype."""
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(f"masked_fill: value must be a number or 0-dimensional, got shape {list(value.shape)}")
        return value.to(input.dtype)
    if input.dtype.name == "bool":
        return bool(value)
    if input.is_floating_point() or input.is_complex():
        return value
    return int(value)


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`value` where the mask holds, x elsewhere, in x's dtype.

    >>> fb.masked_fill(fb.tensor([1.0, 2.0]), fb.tensor([True, False]), 0)
    tensor([0., 2.])
    """
    return TABLE["masked_fill"](input, mask, filler(input, value))


def masked_fill_(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """In-place form of :func:`masked_fill`.

    >>> fb.tensor([1.0, 2.0]).masked_fill_(fb.tensor([True, False]), 9.0)
    tensor([9., 2.])
    """
    return TABLE["masked_fill"].inplace(self, mask, filler(self, value))


def overload(name: str, whole: Any, along: Any, pair: Any, named: Any) -> Any:
    """max and min: of everything, along a dimension (with indices), or of two tensors."""

    def function(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None, out: Any = None) -> Any:
        if isinstance(dim, Tensor):
            dim, other = None, dim
        if other is not None:
            return into_out(out, pair(input, other))
        if dim is None:
            return into_out(out, whole(input))
        found = named(*along(input, dim, keepdim))
        if out is not None:
            for target, value in zip(out, found, strict=True):
                target.set_(value)
            return named(*out)
        return found

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""{name}(x): the {name}imum of all; {name}(x, dim): along one dimension; {name}(x, y): of two.

    Along a dimension it comes with the indices of the first {name}ima.

    >>> fb.{name}(fb.tensor([3.0, 3.0]))
    tensor(3.)
    """
    return recalled(function)


max = overload("max", amax, max_dim, TABLE["maximum"], max_result)
min = overload("min", amin, min_dim, TABLE["minimum"], min_result)


@recalled
def aminmax(input: Tensor, *, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest and the largest element, of everything or along a dimension.

    >>> fb.aminmax(fb.tensor([[1.0, 5.0], [3.0, -2.0]]), dim=1)
    aminmax(min=tensor([ 1., -2.]), max=tensor([5., 3.]))
    """
    dims = () if dim is None else dim
    return aminmax_result(amin(input, dims, keepdim), amax(input, dims, keepdim))


def polygamma(n: int, input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The n-th derivative of digamma.

    >>> fb.polygamma(1, fb.tensor([1.0]))
    tensor([1.6449])
    """
    return TABLE["polygamma"](input, n) if out is None else TABLE["polygamma"](input, n, out=out)


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and elements.

    >>> fb.equal(fb.tensor([1, 2]), fb.tensor([1, 2]))
    True
    """
    small = _core.equal_small(input, other)
    if small is not None:
        return small
    return input.shape == other.shape and bool(TABLE["eq"](input, other).all())


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether |x - y| <= atol + rtol |y| everywhere.

    >>> fb.allclose(fb.tensor([1.0]), fb.tensor([1.0 + 1e-7]))
    True
    """
    return bool(TABLE["isclose"](input, other, rtol=rtol, atol=atol, equal_nan=equal_nan).all())


def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor.

    >>> fb.is_tensor(fb.ones(1)), fb.is_tensor([1.0])
    (True, False)
    """
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is float16, bfloat16, float32 or float64.

    >>> fb.is_floating_point(fb.ones(1)), fb.is_floating_point(fb.tensor([1]))
    (True, False)
    """
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex.

    >>> fb.is_complex(fb.tensor([1j])), fb.is_complex(fb.ones(1))
    (True, False)
    """
    return input.is_complex()


def numel(input: Tensor) -> int:
    """How many elements a tensor has.

    >>> fb.numel(fb.zeros(2, 3))
    6
    """
    return input.numel()


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape.

    >>> fb.is_same_size(fb.zeros(2, 3), fb.ones(2, 3))
    True
    """
    return input.shape == other.shape


def result_type(a: Any, b: Any) -> Any:
    """The dtype that an operation of the two has.

    >>> fb.result_type(fb.tensor([1, 2]), 1.5)
    flambeau.float32
    """
    from .typed import CODES, NUMBER, ZERO_DIM
    from .typed import result_type as typed_result

    def key(x: Any) -> int:
        if isinstance(x, Tensor):
            return CODES[x.dtype.ir] | (0 if x.ndim else ZERO_DIM)
        return NUMBER + {bool: 0, int: 1, float: 2, complex: 3}[type(x)]

    return _core.DTYPES[CODES[typed_result((key(a), key(b)), _core.get_default_dtype().ir)]]


def can_cast(from_: Any, to: Any) -> bool:
    """Whether a dtype converts to another without losing its kind.

    >>> fb.can_cast(fb.int64, fb.float32), fb.can_cast(fb.float32, fb.int64)
    (True, False)
    """
    kinds = [3 if d.is_complex else 2 if d.is_floating_point else 0 if d.name == "bool" else 1 for d in (from_, to)]
    return kinds[0] <= kinds[1]


def relu_(input: Tensor) -> Tensor:
    """In-place form of `relu`.

    >>> fb.relu_(fb.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return TABLE["relu"].inplace(input)


def with_inplace(op: Any) -> Any:
    """An activation with PyTorch's `inplace` flag."""
    names = op.parameters[1:]

    def function(input: Tensor, *args: Any, inplace: bool = False, **kwargs: Any) -> Tensor:
        if len(args) > len(names):
            args, inplace = args[: len(names)], args[len(names)]
        return op.inplace(input, *args, **kwargs) if inplace else op(input, *args, **kwargs)

    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = op.__doc__
    return function


ACTIVATIONS = (
    "celu", "elu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "mish", "relu", "relu6", "selu", "silu",
    "threshold",
)  # fmt: skip
globals().update({name: with_inplace(TABLE[name]) for name in ACTIVATIONS})


def fill_diagonal_(self: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Sets the diagonal of a matrix to a number; returns it.

    >>> fb.zeros(2, 3).fill_diagonal_(5.0)
    tensor([[5., 0., 0.],
            [0., 5., 0.]])
    """
    self.as_strided((builtins.min(self.shape),), (builtins.sum(self.stride()),)).fill_(fill_value)
    return self


def where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """The tensor's elements where the condition holds, the other's elsewhere.

    >>> fb.tensor([1.0, 2.0]).where(fb.tensor([True, False]), 0.0)
    tensor([1., 0.])
    """
    return where(condition, self, other)


clip = clamp
Tensor.clamp, Tensor.clip, Tensor.clamp_, Tensor.clip_ = clamp, clamp, clamp_, clamp_
Tensor.div, Tensor.divide, Tensor.div_, Tensor.divide_ = div, div, div_, div_
Tensor.max, Tensor.min, Tensor.aminmax = max, min, aminmax
Tensor.masked_fill, Tensor.masked_fill_ = masked_fill, masked_fill_
Tensor.where = where_method
Tensor.equal, Tensor.allclose, Tensor.fill_diagonal_ = equal, allclose, fill_diagonal_

__all__ = [
    "allclose", "aminmax", "can_cast", "clamp", "clip", "div", "equal", "is_complex", "is_floating_point",
    "is_same_size", "is_tensor", "masked_fill", "max", "min", "numel", "polygamma", "relu_", "result_type", "where",
]  # fmt: skip
__all__ += list(ACTIVATIONS)
