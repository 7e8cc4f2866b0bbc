"""Tensors from nothing, from Python and NumPy data, and conversions between dtypes.

Imports core, ir and neighbours in ops; NumPy only where an argument is NumPy's. Read next: `random.py`.
"""

from __future__ import annotations

import builtins
import math
import warnings
from typing import Any

from ..core import _core
from ..core._core import DTYPES, DType, Tensor, device, make_subclass, new_empty, new_empty_strided
from ..ir.expr import as_expr, cast, const, ne, var, where
from ..ir.kernel import Buffer, For, Kernel, Scalar, Store
from .basic import IDENTITY, new_like, to_dtype
from .primitive import generated

INT64, FLOAT32 = DTYPES[5], DTYPES[8]
GRAIN = 16384


def finish(out: Tensor, requires_grad: bool) -> Tensor:
    return out.requires_grad_() if requires_grad else out


def sizes(name: str, shape: tuple) -> tuple:
    return tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape


def default(dtype: DType | None) -> DType:
    return _core.get_default_dtype() if dtype is None else _core.promote_types(dtype, dtype)


def check_place(name: str, where: Any, layout: Any = None) -> None:
    if where is not None:
        device(where)
    if layout not in (None, "strided"):
        raise RuntimeError(f"{name}: only strided tensors are made here, got layout={layout}")


def empty(
    *size, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False, memory_format=None
) -> Tensor:
    """An uninitialised tensor of a shape.

    >>> fb.empty(2, 3).shape
    flambeau.Size([2, 3])
    """
    check_place("empty", device, layout)
    return finish(new_empty(sizes("empty", size), default(dtype)), requires_grad)


def full(size, fill_value, *, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """A tensor of a shape with every element the same number; the number decides the dtype if none is given.

    >>> fb.full((2,), 7)
    tensor([7, 7])
    """
    check_place("full", device, layout)
    if dtype is None:
        dtype = fill_value.dtype if isinstance(fill_value, Tensor) else _core.from_nested(fill_value).dtype
    made = new_empty((size,) if isinstance(size, int) else tuple(size), default(dtype))
    IDENTITY.into((made,), fill_value)
    return finish(made, requires_grad)


def zeros(*size, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """A tensor of zeros.

    >>> fb.zeros(2)
    tensor([0., 0.])
    """
    check_place("zeros", device, layout)
    made = _core.zeros_tensor(sizes("zeros", size), default(dtype))
    return finish(made, requires_grad)


def ones(*size, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """A tensor of ones.

    >>> fb.ones(2)
    tensor([1., 1.])
    """
    check_place("ones", device, layout)
    made = new_empty(sizes("ones", size), default(dtype))
    IDENTITY.into((made,), 1)
    return finish(made, requires_grad)


def empty_like(input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None) -> Tensor:
    """An uninitialised tensor of another's shape, dtype and order of dimensions."""
    dtype = input.dtype if dtype is None else dtype
    keep = memory_format in (None, "preserve_format") and not input.is_contiguous()
    return finish(new_like(input, dtype) if keep else new_empty(input.shape, dtype), requires_grad)


def full_like(
    input, fill_value, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None
) -> Tensor:
    """A tensor of another's shape and dtype with every element the same number."""
    made = empty_like(input, dtype=dtype, memory_format=memory_format)
    IDENTITY.into((made,), fill_value)
    return finish(made, requires_grad)


def zeros_like(input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None) -> Tensor:
    """Zeros of another tensor's shape and dtype."""
    return full_like(input, 0, dtype=dtype, requires_grad=requires_grad, memory_format=memory_format)


def ones_like(input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None) -> Tensor:
    """Ones of another tensor's shape and dtype."""
    return full_like(input, 1, dtype=dtype, requires_grad=requires_grad, memory_format=memory_format)


def empty_strided(
    size, stride, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
) -> Tensor:
    """An uninitialised tensor with given strides."""
    return finish(new_empty_strided(size, stride, default(dtype)), requires_grad)


@generated
def progression(dtype: str, whole: bool) -> Kernel:
    """y[i] = start + i step, computed in int64 or float64."""
    i, inner = var("i"), "i64" if whole else "f64"
    value = var("start", inner) + cast(i, inner) * var("step", inner)
    # Half precision is rounded once more on the way, as everywhere: f64 to f32 to f16.
    value = cast(cast(value, "f32"), dtype) if dtype in ("f16", "bf16") else cast(value, dtype)
    body = (For(i, const(0, "i64"), var("n"), (Store("y", i, value),), parallel=True, vector=True),)
    return Kernel("arange", (Buffer("y", dtype, "w"), Scalar("start", inner), Scalar("step", inner), Scalar("n")), body)


def arange(start, end=None, step=1, *, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """Numbers start, start + step, … below end: y_i = start + i step.

    >>> fb.arange(2, 8, 2)
    tensor([2, 4, 6])
    """
    check_place("arange", device, layout)
    if end is None:
        start, end = 0, start
    start, end, step = (x.item() if isinstance(x, Tensor) else x for x in (start, end, step))
    whole = builtins.all(isinstance(x, int) or hasattr(x, "__index__") for x in (start, end, step))
    if step == 0:
        raise RuntimeError("arange: step must not be zero")
    if not whole and not math.isfinite((end - start) / step) or abs((end - start) / step) >= 2**62:
        raise RuntimeError(f"arange: {start} to {end} in steps of {step} isn't a range that memory could hold")
    if (end - start) / step < 0:
        raise RuntimeError(f"arange: {start} to {end} can't be reached in steps of {step}; change the sign of step")
    n = -((start - end) // step) if whole else math.ceil((end - start) / step)
    dtype = (INT64 if whole else default(None)) if dtype is None else dtype
    made = new_empty((max(0, int(n)),), dtype)
    first, by = (int(start), int(step)) if whole else (float(start), float(step))
    _core.launch(progression(dtype.ir, whole), (made, first, by, made.numel()), made.numel(), GRAIN, made.numel())
    return finish(made, requires_grad)


@generated
def between(dtype: str) -> Kernel:
    """steps numbers from start to end, counted from whichever end is nearer, so that both are exact."""
    i, n = var("i"), var("n")
    start, end, step = var("start", "f64"), var("end", "f64"), var("step", "f64")
    value = where(i < (n >> 1), start + cast(i, "f64") * step, end - cast(n - 1 - i, "f64") * step)
    value = cast(cast(value, "f32"), dtype) if dtype in ("f16", "bf16") else cast(value, dtype)
    body = (For(i, const(0, "i64"), n, (Store("y", i, value),), parallel=True, vector=True),)
    numbers = Scalar("start", "f64"), Scalar("end", "f64"), Scalar("step", "f64")
    params = (Buffer("y", dtype, "w"), *numbers, Scalar("n"))
    return Kernel("linspace", params, body)


def linspace(start, end, steps, *, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """`steps` evenly spaced numbers from start to end, both included.

    >>> fb.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    if steps < 0:
        raise RuntimeError(f"linspace: steps can't be negative, got {steps}")
    made = new_empty((steps,), default(dtype))
    start, end = float(start), float(end)
    step = (end - start) / (steps - 1) if steps > 1 else 0.0
    if steps == 1:
        return full((1,), start, dtype=made.dtype, requires_grad=requires_grad)
    _core.launch(between(made.dtype.ir), (made, start, end, step, steps), steps, GRAIN, steps)
    return finish(made, requires_grad)


def logspace(
    start, end, steps, base=10.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False
) -> Tensor:
    """base^x for `steps` evenly spaced x from start to end.

    >>> fb.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    return finish(to_dtype(base ** linspace(start, end, steps, dtype=DTYPES[9]), default(dtype)), requires_grad)


@generated
def diagonal_ones(dtype: str) -> Kernel:
    """y[i, j] = 1 where i = j, else 0."""
    i, j, m = var("i"), var("j"), var("m")
    value = (
        where(ne(i, j), const(0, dtype), const(1, dtype))
        if dtype not in ("f16", "bf16")
        else cast(where(ne(i, j), 0.0, as_expr(1.0)), dtype)
    )
    inner = For(j, const(0, "i64"), m, (Store("y", i * m + j, value),), vector=True)
    return Kernel(
        "eye",
        (Buffer("y", dtype, "w"), Scalar("m"), Scalar("n")),
        (For(i, const(0, "i64"), var("n"), (inner,), parallel=True),),
    )


def eye(n, m=None, *, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """Ones on the diagonal, zeros elsewhere.

    >>> fb.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    m = n if m is None else m
    made = new_empty((n, m), default(dtype))
    _core.launch(diagonal_ones(made.dtype.ir), (made, m, n), n, max(1, GRAIN // max(1, m)), n * m)
    return finish(made, requires_grad)


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
    elif is_numpy(data) or isinstance(data, (bytearray, memoryview)) or hasattr(data, "__array_interface__"):
        made = array_view(data)
        made = made.clone() if dtype is None or made.dtype is dtype else to_dtype(made, dtype)
    elif isinstance(data, (list, tuple)) and data and is_numpy(data[0]) and data[0].ndim:
        import numpy

        made = array_view(numpy.stack([numpy.asarray(x) for x in data])).clone()
        made = made if dtype is None else to_dtype(made, dtype)
    else:
        made = _core.from_nested(data, None if dtype is None else _core.promote_types(dtype, dtype))
    return finish(made, requires_grad)


def array_view(data: Any) -> Tensor:
    """A tensor over a NumPy array's or another buffer's memory, copied only where it can't be shared."""
    import numpy

    array = numpy.asarray(data)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.name in ("uint16", "uint32", "uint64"):
        array = array.astype("int64")
    if array.dtype.kind not in "biufc":
        raise TypeError(
            f"tensor: can't convert an array of dtype {array.dtype}; supported are bool, integers, floats and complex"
        )
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
    if not is_numpy(ndarray):
        raise TypeError(
            f"from_numpy: a numpy.ndarray is needed, got {type(ndarray).__name__}; use flambeau.tensor(data)"
        )
    made, writable = _core.from_buffer(ndarray)
    if not writable:
        warnings.warn(
            "from_numpy: the array isn't writable; writing to the tensor would write to it all the same. Copy it first",
            stacklevel=2,
        )
    return made


def as_tensor(data, dtype=None, device=None) -> Tensor:
    """data as a tensor, sharing memory where that is possible."""
    check_place("as_tensor", device)
    if isinstance(data, Tensor):
        return data if dtype is None or data.dtype is dtype else to_dtype(data, dtype)
    if is_numpy(data) and data.ndim:
        made = array_view(data)
        return made if dtype is None or made.dtype is dtype else to_dtype(made, dtype)
    return tensor(data, dtype=dtype)


def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False) -> Tensor:
    """obj as a tensor; copy=True always copies, copy=False never."""
    made = as_tensor(obj, dtype)
    if copy:
        made = made.clone()
    return finish(made, requires_grad)


def scalar_tensor(s, *, dtype=None, layout=None, device=None) -> Tensor:
    """A 0-dimensional tensor of the default dtype."""
    return full((), s, dtype=default(dtype))


def frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False) -> Tensor:
    """A 1-dimensional tensor over the bytes of an object with the buffer protocol.

    >>> fb.frombuffer(bytearray([1, 2, 3]), dtype=fb.uint8)
    tensor([1, 2, 3], dtype=flambeau.uint8)
    """
    size = memoryview(buffer).nbytes
    room = size - offset
    if offset < 0 or room < 0 or (count < 0 and room % dtype.itemsize) or count * dtype.itemsize > room:
        raise ValueError(f"frombuffer: offset {offset} and count {count} of {dtype} don't fit a buffer of {size} bytes")
    n = room // dtype.itemsize if count < 0 else count
    raw, _ = _core.from_buffer(memoryview(buffer).cast("B"))
    if not raw.data_ptr() or (raw.data_ptr() + offset) % dtype.itemsize:
        raise ValueError(f"frombuffer: offset {offset} isn't aligned to the {dtype.itemsize} bytes of {dtype}")
    return finish(_core.from_pointer(raw.data_ptr() + offset, (n,), (1,), dtype, raw), requires_grad)


def to_numpy(self, *, force=False):
    """The tensor as a NumPy array over the same memory; force=True detaches and converts first.

    >>> fb.ones(2).numpy()
    array([1., 1.], dtype=float32)
    """
    import numpy

    if force:
        self = self.detach()
    if self.requires_grad:
        raise RuntimeError("numpy: the tensor requires grad; use x.detach().numpy()")
    if self.dtype.name == "bfloat16":
        raise TypeError("numpy: NumPy has no bfloat16; use x.float().numpy()")
    return numpy.asarray(memoryview(self)) if self.numel() else numpy.empty(self.shape, self.dtype.name)


def array(self, dtype=None, copy=None):
    """NumPy's way in: numpy.asarray(x) shares memory, numpy.array(x) copies."""
    found = to_numpy(self)
    if dtype is not None and found.dtype != dtype:
        return found.astype(dtype)
    return found.copy() if copy else found


def to(self, *args, dtype=None, device=None, non_blocking=False, copy=False, memory_format=None, other=None) -> Tensor:
    """x in another dtype, on another device, or like another tensor; x itself where nothing changes.

    >>> fb.ones(2).to(fb.int64)
    tensor([1, 1])
    """
    for a in args:
        if isinstance(a, DType):
            dtype = a
        elif isinstance(a, Tensor):
            other = a
        elif a is not None and not isinstance(a, bool):
            device = a
    if other is not None:
        dtype = other.dtype
    check_place("to", device)
    out = self if dtype is None or dtype is self.dtype else to_dtype(self, dtype)
    if memory_format is not None:
        out = out.contiguous(memory_format=memory_format)
    return out.clone() if copy and out is self else out


def converter(dtype: DType) -> Any:
    def convert(self, memory_format=None) -> Tensor:
        return self if self.dtype is dtype else to_dtype(self, dtype)

    convert.__doc__ = f"x converted to {dtype.name}; x itself if it has that dtype."
    return convert


def type_(self, dtype=None, non_blocking=False):
    """The name of the tensor's type, or the tensor converted to a dtype."""
    if dtype is None:
        return f"flambeau.{TYPE_NAMES[self.dtype.name]}Tensor"
    if isinstance(dtype, str):
        wanted = dtype.rsplit(".", 1)[-1].removesuffix("Tensor")
        dtype = next(_core.dtype_named(n) for n, t in TYPE_NAMES.items() if t == wanted)
    return self.to(dtype)


TYPE_NAMES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "uint8": "Byte", "int8": "Char",
    "int16": "Short", "int32": "Int", "int64": "Long", "bool": "Bool", "complex64": "ComplexFloat",
    "complex128": "ComplexDouble",
}  # fmt: skip


def new_factory(make: Any) -> Any:
    def method(self, *size, dtype=None, device=None, requires_grad=False, **kwargs) -> Tensor:
        return make(*size, dtype=self.dtype if dtype is None else dtype, requires_grad=requires_grad, **kwargs)

    return method


def legacy_constructor(args: tuple, dtype: DType | None) -> Tensor:
    """Tensor(2, 3) and Tensor([...]): sizes or data, of the default dtype."""
    dtype = default(dtype)
    if len(args) == 1 and not isinstance(args[0], (int, _core.Size)):
        return (
            args[0].detach() if isinstance(args[0], Tensor) and args[0].dtype is dtype else tensor(args[0], dtype=dtype)
        )
    return new_empty(sizes("Tensor", args), dtype)


def shallow_copy(x: Tensor) -> Tensor:
    """copy.copy: another tensor over the same memory, a leaf with the same attributes."""
    made = x.detach() if type(x) is Tensor else make_subclass(type(x), x.detach())
    made.__dict__.update(x.__dict__)
    return made.requires_grad_(x.requires_grad)


def deepcopy(x: Tensor, memo: dict) -> Tensor:
    """copy.deepcopy of a leaf: its data, its gradient and its attributes; shared storage stays shared in the copy."""
    if id(x) in memo:
        return memo[id(x)]
    if not x.is_leaf:
        raise RuntimeError(
            "deepcopy: only leaf tensors (made by the user) can be copied deeply; use x.detach().clone()"
        )
    source = x.untyped_storage()
    bytes_of = memo.get(id(source))
    if bytes_of is None:
        whole = _core.raw_view(x, DTYPES[1], (source.nbytes(),), (1,), 0)
        bytes_of = memo[id(source)] = _core.clone_contiguous(whole)
        memo.setdefault(id(memo), []).append(source)
    data = _core.raw_view(bytes_of, x.dtype, x.shape, x.stride(), x.storage_offset())
    made = data if type(x) is Tensor else make_subclass(type(x), data)
    memo[id(x)] = made
    if x.requires_grad:
        made.requires_grad_()
    if x.grad is not None:
        made.grad = deepcopy(x.grad, memo)
    if x.__dict__:
        import copy

        made.__dict__.update({k: copy.deepcopy(v, memo) for k, v in x.__dict__.items()})
    return made


def rebuild(
    data: bytes, dtype: DType, shape: tuple, stride: tuple, requires_grad: bool, kind: type, attributes: dict
) -> Tensor:
    """The tensor that `reduce` took apart."""
    flat = frombuffer(bytearray(data), dtype=dtype) if data else new_empty((0,), dtype)
    made = _core.raw_view(flat, dtype, shape, stride, 0)
    made = made if kind is Tensor else make_subclass(kind, made)
    made.__dict__.update(attributes)
    return made.requires_grad_() if requires_grad else made


def reduce(x: Tensor, protocol: int) -> tuple:
    """How pickle sees a tensor: its bytes and its geometry."""
    compact = x.detach()
    if not compact.is_contiguous():
        compact = new_like(x, x.dtype)
        _core.plain_copy(compact, x.detach())
    raw = _core.raw_view(
        compact, DTYPES[1], (x.numel() * x.dtype.itemsize,), (1,), compact.storage_offset() * x.dtype.itemsize
    )
    data = bytes(memoryview(raw)) if x.numel() else b""
    return rebuild, (
        data,
        x.dtype,
        tuple(x.shape),
        compact.stride(),
        x.is_leaf and x.requires_grad,
        type(x),
        dict(x.__dict__),
    )


def install() -> None:
    for name, code in {
        "float": 8, "double": 9, "half": 6, "bfloat16": 7, "long": 5, "int": 4, "short": 3, "char": 2, "byte": 1,
        "bool": 0, "cfloat": 10, "cdouble": 11,
    }.items():  # fmt: skip
        setattr(Tensor, name, converter(DTYPES[code]))
    Tensor.numpy, Tensor.__array__, Tensor.__array_priority__ = to_numpy, array, 1000
    Tensor.to, Tensor.type, Tensor.cpu = to, type_, lambda self, memory_format=None: self
    Tensor.type_as = lambda self, other: self.to(other.dtype)
    Tensor.new_zeros, Tensor.new_ones, Tensor.new_empty = (new_factory(f) for f in (zeros, ones, empty))
    Tensor.new_full = new_factory(full)
    Tensor.new_tensor = lambda self, data, dtype=None, device=None, requires_grad=False: tensor(
        data, dtype=self.dtype if dtype is None else dtype, requires_grad=requires_grad
    )
    Tensor.new = lambda self, *args: legacy_constructor(args, self.dtype)
    Tensor.__copy__ = shallow_copy
    _core.set_hook("legacy_constructor", legacy_constructor)
    _core.set_hook("deepcopy", deepcopy)
    _core.set_hook("reduce", reduce)


install()

__all__ = [
    "arange", "as_tensor", "asarray", "empty", "empty_like", "empty_strided", "eye", "from_numpy", "frombuffer", "full",
    "full_like", "linspace", "logspace", "ones", "ones_like", "scalar_tensor", "tensor", "zeros", "zeros_like",
]  # fmt: skip
