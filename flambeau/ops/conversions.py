"""Tensors converted: to other dtypes, to NumPy, copied by `copy` and `deepcopy`, taken apart for pickle.

Imports core and neighbours in ops; NumPy where it is asked for. Read next: `factories.py`, `basic.py` (`to_dtype`).
"""

from __future__ import annotations

from typing import Any

from ..core import _core
from ..core._core import DTYPES, DType, Tensor, make_subclass, new_empty
from .basic import new_like, to_dtype
from .factories import array_view, check_place, frombuffer


def to_numpy(self, *, force=False):
    """The tensor as a NumPy array over the same memory; force=True detaches and converts first.

    >>> fb.ones(2).numpy()
    array([1., 1.], dtype=float32)
    """
    import numpy

    if force:
        self = self.detach()
    if self.requires_grad:
        raise RuntimeError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead, or numpy(force=True)"
        )
    if self.dtype.name == "bfloat16":
        raise TypeError("numpy: NumPy has no bfloat16; use x.float().numpy()")
    return numpy.asarray(memoryview(self)) if self.numel() else numpy.empty(self.shape, self.dtype.name)


def array(self, dtype=None, copy=None):
    """NumPy's way in: numpy.asarray(x) shares memory, numpy.array(x) copies."""
    found = to_numpy(self)
    if dtype is not None and found.dtype != dtype:
        return found.astype(dtype)
    return found.copy() if copy else found


def array_wrap(self, array, context=None, return_scalar=False):
    """What NumPy's ufuncs make of tensors, as a tensor; truth values become uint8, as PyTorch has it.

    >>> import numpy
    >>> numpy.add(fb.ones(2), numpy.ones(2))
    tensor([2., 2.], dtype=flambeau.float64)
    """
    return array_view(array.astype("uint8") if array.dtype == bool else array)


def backwards(self) -> Tensor:
    """reversed(x): the first dimension in the other order."""
    return self.flip(0) if self.ndim else self


def to(self, *args, dtype=None, device=None, non_blocking=False, copy=False, memory_format=None, other=None) -> Tensor:
    """x in another dtype, on another device, or like another tensor; x itself where nothing changes.

    >>> fb.ones(2).to(fb.int64)
    tensor([1, 1])
    """
    if len(args) == 1 and memory_format is dtype is device is other is None and not copy:
        if type(args[0]) is DType:
            return _core.converted(self, args[0])
        if args[0] == "cpu":
            return self
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
    if memory_format not in (None, "preserve_format"):
        out = out.contiguous(memory_format=memory_format)
    return out.clone() if copy and out is self else out


def cpu(self, memory_format=None) -> Tensor:
    """The tensor itself: it is on the CPU.

    >>> x = fb.ones(2)
    >>> x.cpu() is x
    True
    """
    return self


def type_as(self, other: Tensor) -> Tensor:
    """The tensor converted to another tensor's dtype.

    >>> fb.tensor([1, 2]).type_as(fb.ones(1))
    tensor([1., 2.])
    """
    return _core.converted(self, other.dtype)


def cuda(self, device=None, non_blocking=False, memory_format=None) -> Tensor:
    """Raises AssertionError: tensors are on the CPU.

    >>> fb.ones(1).cuda()
    Traceback (most recent call last):
        ...
    AssertionError: ...
    """
    check_place("cuda", "cuda" if device is None else device)
    return self


def converter(name: str, dtype: DType) -> Any:
    def convert(self, memory_format=None) -> Tensor:
        found = _core.converted(self, dtype)
        return found if memory_format is None else to(found, memory_format=memory_format)

    convert.__doc__ = f"""x converted to {dtype.name}; x itself if it has that dtype.

    >>> fb.tensor([0, 1]).{name}().dtype
    flambeau.{dtype.name}
    """
    return convert


def type_(self, dtype=None, non_blocking=False):
    """The name of the tensor's type, or the tensor converted to a dtype.

    >>> fb.ones(2).type(), fb.ones(2).type(fb.int64)
    ('flambeau.FloatTensor', tensor([1, 1]))
    """
    if dtype is None:
        return f"{_core.package_name()}.{TYPE_NAMES[self.dtype.name]}Tensor"
    if isinstance(dtype, str):
        wanted = dtype.rsplit(".", 1)[-1].removesuffix("Tensor")
        dtype = next(_core.dtype_named(n) for n, t in TYPE_NAMES.items() if t == wanted)
    return self.to(dtype)


TYPE_NAMES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "uint8": "Byte", "int8": "Char",
    "int16": "Short", "int32": "Int", "int64": "Long", "bool": "Bool", "complex64": "ComplexFloat",
    "complex128": "ComplexDouble", "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64",
}  # fmt: skip


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
        setattr(Tensor, name, converter(name, DTYPES[code]))
    Tensor.numpy, Tensor.__array__, Tensor.__array_priority__ = to_numpy, array, 1000
    Tensor.__array_wrap__, Tensor.__reversed__ = array_wrap, backwards
    Tensor.to, Tensor.type, Tensor.type_as = to, type_, type_as
    Tensor.cpu, Tensor.cuda = cpu, cuda
    Tensor.__copy__ = shallow_copy
    _core.set_hook("deepcopy", deepcopy)
    _core.set_hook("reduce", reduce)


install()
