"""Tensors from nothing and from Python and NumPy data.

Imports core and neighbours in ops; NumPy only where an argument is NumPy's. Read next: `ranges.py`, `conversions.py`.
"""

from __future__ import annotations

import builtins
import warnings
from typing import Any

from ..core import _core
from ..core._core import DTYPES, DType, Tensor, device, new_empty, new_empty_strided
from .arguments import into_out
from .basic import IDENTITY, empty_in, new_like, storable, to_dtype
from .recall import recalled

INT64 = DTYPES[5]


def finish(made: Tensor, requires_grad: bool, out: Tensor | None = None) -> Tensor:
    """What a factory returns: the tensor it made, or `out` with its elements."""
    made = made if out is None else into_out(out, made)
    return made.requires_grad_() if requires_grad else made


def sizes(name: str, shape: tuple) -> tuple:
    return tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape


def default(dtype: DType | None, out: Tensor | None = None) -> DType:
    """The dtype of a new tensor: the one asked for, else that of `out`, else the default."""
    if dtype is None:
        return _core.get_default_dtype() if out is None else out.dtype
    return _core.promote_types(dtype, dtype)


def check_place(name: str, where: Any, layout: Any = None) -> None:
    if where is not None and where != "cpu":
        place = device(where).type
        if place == "cuda":
            raise AssertionError(
                f"Torch not compiled with CUDA enabled ({name}: tensors are on 'cpu'; "
                "ask torch.cuda.is_available() first)"
            )
        if place not in ("cpu", "meta"):
            raise RuntimeError(f"{name}: tensors are on 'cpu', got device {str(where)!r}")
    if layout not in (None, "strided"):
        raise RuntimeError(f"{name}: only strided tensors are made here, got layout={layout}")


def empty(
    *size, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False, memory_format=None
) -> Tensor:
    """An uninitialised tensor of a shape.

    >>> fb.empty(2, 3).shape
    flambeau.Size([2, 3])
    """
    if layout is device is memory_format is out is dtype and dtype is None and not requires_grad:
        return new_empty(sizes("empty", size), _core.get_default_dtype())
    check_place("empty", device, layout)
    return finish(empty_in(sizes("empty", size), default(dtype, out), memory_format), requires_grad, out)


@recalled
def full(size, fill_value, *, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """A tensor of a shape with every element the same number; the number decides the dtype if none is given.

    >>> fb.full((2,), 7)
    tensor([7, 7])
    """
    check_place("full", device, layout)
    if not (hasattr(fill_value, "__float__") or isinstance(fill_value, complex)):
        raise TypeError(f"full: fill_value is a number or a 0-dimensional tensor, got {fill_value!r:.50}")
    if dtype is None and out is None:
        dtype = fill_value.dtype if isinstance(fill_value, Tensor) else _core.from_nested(fill_value).dtype
    made = new_empty((size,) if isinstance(size, int) else tuple(size), default(dtype, out))
    IDENTITY.into((made,), storable(fill_value, made))
    return finish(made, requires_grad, out)


@recalled
def zeros(*size, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """A tensor of zeros.

    >>> fb.zeros(2)
    tensor([0., 0.])
    """
    check_place("zeros", device, layout)
    made = _core.zeros_tensor(sizes("zeros", size), default(dtype, out))
    return finish(made, requires_grad, out)


@recalled
def ones(*size, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """A tensor of ones.

    >>> fb.ones(2)
    tensor([1., 1.])
    """
    check_place("ones", device, layout)
    made = new_empty(sizes("ones", size), default(dtype, out))
    IDENTITY.into((made,), 1)
    return finish(made, requires_grad, out)


def empty_like(input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None) -> Tensor:
    """An uninitialised tensor of another's shape, dtype and order of dimensions.

    >>> fb.empty_like(fb.ones(2, 3), dtype=fb.int64).shape
    flambeau.Size([2, 3])
    """
    plain = type(input) is Tensor and dtype is layout is device is memory_format is None and not requires_grad
    if plain and input.is_contiguous():
        return new_empty(input.shape, input.dtype)
    dtype = input.dtype if dtype is None else dtype
    if input.layout != "strided":
        return finish(input.detach().to(dtype).clone().zero_(), requires_grad)
    if memory_format in (None, "preserve_format"):
        made = new_empty(input.shape, dtype) if input.is_contiguous() else new_like(input, dtype)
    else:
        made = empty_in(input.shape, dtype, memory_format)
    return finish(made, requires_grad)


@recalled
def full_like(
    input, fill_value, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None
) -> Tensor:
    """A tensor of another's shape and dtype with every element the same number.

    >>> fb.full_like(fb.ones(2, 2), 7)
    tensor([[7., 7.],
            [7., 7.]])
    """
    made = empty_like(input, dtype=dtype, memory_format=memory_format)
    IDENTITY.into((made,), storable(fill_value, made))
    return finish(made, requires_grad)


@recalled
def zeros_like(input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None) -> Tensor:
    """Zeros of another tensor's shape and dtype.

    >>> fb.zeros_like(fb.tensor([[1, 2], [3, 4]]))
    tensor([[0, 0],
            [0, 0]])
    """
    if memory_format is None and input.is_contiguous() and input.layout == "strided":
        return finish(_core.zeros_tensor(input.shape, input.dtype if dtype is None else dtype), requires_grad)
    return full_like(input, 0, dtype=dtype, requires_grad=requires_grad, memory_format=memory_format)


@recalled
def ones_like(input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None) -> Tensor:
    """Ones of another tensor's shape and dtype.

    >>> fb.ones_like(fb.tensor([[1, 2], [3, 4]]), dtype=fb.float32)
    tensor([[1., 1.],
            [1., 1.]])
    """
    return full_like(input, 1, dtype=dtype, requires_grad=requires_grad, memory_format=memory_format)


def empty_strided(
    size, stride, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
) -> Tensor:
    """An uninitialised tensor with given strides.

    >>> fb.empty_strided((2, 3), (1, 2)).stride()
    (1, 2)
    """
    return finish(new_empty_strided(size, stride, default(dtype)), requires_grad)


def is_numpy(x: Any) -> bool:
    return type(x).__module__ == "numpy"


def tensor(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """A new tensor of nested sequences, numbers, an array or another tensor; the data is copied.

    >>> fb.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    check_place("tensor", device)
    if isinstance(data, Tensor):
        made = data.detach().clone()
        made = made if dtype is None else to_dtype(made, dtype)
    elif isinstance(data, (bytearray, memoryview)) or any_of(data, "__array__", "__array_interface__"):
        made = array_view(data)
        made = made.clone() if dtype is None or made.dtype is dtype else to_dtype(made, dtype)
    elif isinstance(data, (list, tuple)) and data and is_numpy(data[0]) and data[0].ndim:
        import numpy

        made = array_view(numpy.stack([numpy.asarray(x) for x in data])).clone()
        made = made if dtype is None else to_dtype(made, dtype)
    else:
        made = _core.from_nested(data, None if dtype is None else _core.promote_types(dtype, dtype))
    return finish(made, requires_grad)


def any_of(x: Any, *names: str) -> bool:
    return builtins.any(hasattr(x, name) for name in names)


def check_numeric(name: str, array: Any) -> None:
    if array.dtype.kind not in "biufc":
        raise TypeError(
            f"{name}: can't convert an array of dtype {array.dtype}; supported are bool, integers, floats and complex"
        )


def array_view(data: Any) -> Tensor:
    """A tensor over a NumPy array's or another buffer's memory, copied only where it can't be shared."""
    import numpy

    array = numpy.asarray(data)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("="))
    check_numeric("tensor", array)
    if builtins.any(s < 0 or s % array.itemsize for s in array.strides):
        array = array.copy()
    return _core.from_buffer(array)[0]


def from_numpy(ndarray) -> Tensor:
    """A tensor over a NumPy array's memory: changes to either show in both.

    >>> import numpy
    >>> a = numpy.zeros(2, dtype="float32")
    >>> t = fb.from_numpy(a)
    >>> a[0] = 5
    >>> t
    tensor([5., 0.])
    """
    if not is_numpy(ndarray) or not hasattr(ndarray, "__setitem__"):  # NumPy's scalars have no memory to share
        raise TypeError(
            f"from_numpy: a numpy.ndarray is needed, got {type(ndarray).__name__}; use flambeau.tensor(data)"
        )
    check_numeric("from_numpy", ndarray)
    made, writable = _core.from_buffer(ndarray)
    if not writable:
        warnings.warn(
            "from_numpy: the array isn't writable; writing to the tensor would write to it all the same. Copy it first",
            stacklevel=2,
        )
    return made


def as_tensor(data, dtype=None, device=None) -> Tensor:
    """data as a tensor, sharing memory where that is possible.

    >>> import numpy
    >>> a = numpy.zeros(2)
    >>> fb.as_tensor(a)[0] = 5
    >>> a
    array([5., 0.])
    """
    check_place("as_tensor", device)
    if isinstance(data, Tensor):
        return data if dtype is None or data.dtype is dtype else to_dtype(data, dtype)
    if is_numpy(data) and data.ndim:
        made = array_view(data)
        return made if dtype is None or made.dtype is dtype else to_dtype(made, dtype)
    return tensor(data, dtype=dtype)


def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False) -> Tensor:
    """obj as a tensor; copy=True always copies, copy=False never.

    >>> fb.asarray([1, 2], dtype=fb.float32)
    tensor([1., 2.])
    """
    made = as_tensor(obj, dtype, device)
    if copy is False and not shares(made, obj):
        wanted = f"dtype {dtype}" if dtype is not None else "it"
        raise ValueError(
            f"asarray: copy=False, but {type(obj).__name__} can't become {wanted} without one; pass copy=None"
        )
    if copy and shares(made, obj):
        made = made.clone()
    return finish(made, requires_grad)


def shares(made: Tensor, source: Any) -> bool:
    """Whether a tensor is over the memory of what it was made from."""
    if isinstance(source, Tensor) or not made.numel():
        return made.data_ptr() == source.data_ptr() if isinstance(source, Tensor) else is_numpy(source)
    try:
        return memoryview(source).nbytes > 0 and _core.from_buffer(source)[0].data_ptr() == made.data_ptr()
    except (TypeError, ValueError, BufferError):  # no buffer, or one that no tensor can be over
        return False


def scalar_tensor(s, *, dtype=None, layout=None, device=None) -> Tensor:
    """A 0-dimensional tensor of the default dtype.

    >>> fb.scalar_tensor(3)
    tensor(3.)
    """
    return full((), s, dtype=default(dtype))


def frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False) -> Tensor:
    """A 1-dimensional tensor over the bytes of an object with the buffer protocol.

    >>> fb.frombuffer(bytearray([1, 2, 3]), dtype=fb.uint8)
    tensor([1, 2, 3], dtype=flambeau.uint8)
    """
    try:
        size = memoryview(buffer).nbytes
    except TypeError:
        kind = type(buffer).__name__
        raise ValueError(f"frombuffer: an object with the buffer protocol is needed, got {kind}") from None
    room = size - offset
    if offset < 0 or room < 0 or (count < 0 and room % dtype.itemsize) or count * dtype.itemsize > room:
        raise ValueError(f"frombuffer: offset {offset} and count {count} of {dtype} don't fit a buffer of {size} bytes")
    n = room // dtype.itemsize if count < 0 else count
    raw, writable = _core.from_buffer(memoryview(buffer).cast("B"))
    if not writable:
        warnings.warn(
            "frombuffer: the buffer isn't writable; writing to the tensor would write to it all the same. "
            "Copy it first",
            stacklevel=2,
        )
    if not raw.data_ptr() or (raw.data_ptr() + offset) % dtype.itemsize:
        raise ValueError(f"frombuffer: offset {offset} isn't aligned to the {dtype.itemsize} bytes of {dtype}")
    return finish(_core.from_pointer(raw.data_ptr() + offset, (n,), (1,), dtype, raw), requires_grad)


def new_factory(make: Any, arguments: str, made: str) -> Any:
    """x.new_ones and its kin; `arguments` and what they make are the docstring's example."""

    def method(self, *size, dtype=None, device=None, requires_grad=False, **kwargs) -> Tensor:
        return make(*size, dtype=self.dtype if dtype is None else dtype, requires_grad=requires_grad, **kwargs)

    name = make.__name__
    method.__doc__ = f"""As `{name}`, with the tensor's dtype unless another is given.

    >>> fb.tensor([1, 2]).new_{name}({arguments})
    {made}
    """
    return method


def new_tensor(self, data, dtype=None, device=None, requires_grad=False) -> Tensor:
    """As `tensor`, with the tensor's dtype unless another is given: a copy of data.

    >>> fb.ones(1, dtype=fb.float64).new_tensor([1, 2])
    tensor([1., 2.], dtype=flambeau.float64)
    """
    return tensor(data, dtype=self.dtype if dtype is None else dtype, requires_grad=requires_grad)


def new(self, *args) -> Tensor:
    """A tensor of the tensor's dtype from sizes or data, as PyTorch's legacy constructor makes it.

    >>> fb.ones(1).new([1, 2])
    tensor([1., 2.])
    """
    return legacy_constructor(args, self.dtype)


def legacy_constructor(args: tuple, dtype: DType | None) -> Tensor:
    """Tensor(2, 3) and Tensor([...]): sizes or data, of the default dtype."""
    dtype = default(dtype)
    if len(args) == 1 and not isinstance(args[0], (int, _core.Size)):
        return (
            args[0].detach() if isinstance(args[0], Tensor) and args[0].dtype is dtype else tensor(args[0], dtype=dtype)
        )
    return new_empty(sizes("Tensor", args), dtype)


def install() -> None:
    Tensor.new_zeros, Tensor.new_ones = (
        new_factory(zeros, "2", "tensor([0, 0])"),
        new_factory(ones, "2", "tensor([1, 1])"),
    )
    Tensor.new_empty, Tensor.new_full = (
        new_factory(empty, "0", "tensor([], dtype=flambeau.int64)"),
        new_factory(full, "(2,), 7", "tensor([7, 7])"),
    )
    Tensor.new_tensor, Tensor.new = new_tensor, new
    _core.set_hook("legacy_constructor", legacy_constructor)
    _core.set_hook("array_view", array_view)
    _core.set_hook("zeros", _core.zeros_tensor)


install()

__all__ = [
    "as_tensor", "asarray", "empty", "empty_like", "empty_strided", "from_numpy", "frombuffer", "full", "full_like",
    "ones", "ones_like", "scalar_tensor", "tensor", "zeros", "zeros_like",
]  # fmt: skip
