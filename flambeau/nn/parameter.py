"""Parameter and Buffer: tensors that a Module registers by being assigned one; and those whose shape comes later.

Imports the tensor core only. Read next: `modules/module.py`, whose `__setattr__` gives these types their meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsIndex

import flambeau as fb
from flambeau import Tensor
from flambeau.core._core import make_subclass


class Parameter(Tensor):
    """A tensor that is a learnable parameter: assigned to a module's attribute, it appears in `parameters()`.

    Args:
        data: the values; shared, not copied. None makes an empty tensor.
        requires_grad: whether gradients are accumulated in `.grad`, also when made inside `no_grad`.

    >>> import flambeau as fb
    >>> fb.nn.Parameter(fb.ones(2)).requires_grad
    True
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        return make_subclass(cls, fb.empty(0) if data is None else data, requires_grad)

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        pass  # __new__ did it all; Tensor's own would take the arguments for sizes

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), self.requires_grad)
        return memo[id(self)]

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return type(self), (self.data, self.requires_grad)


class Buffer(Tensor):
    """A tensor that belongs to a module's state without being learnt: assigned to an attribute, it appears in
    `buffers()`.

    Args:
        data: the values; shared, not copied. None makes an empty tensor.
        persistent: whether `state_dict()` holds it.

    >>> import flambeau as fb
    >>> m = fb.nn.Module()
    >>> m.mean = fb.nn.Buffer(fb.zeros(3))
    >>> list(m.state_dict())
    ['mean']
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        data = fb.empty(0) if data is None else data
        self = make_subclass(cls, data, data.requires_grad)
        self.persistent = persistent
        return self

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), persistent=self.persistent)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return _rebuild_buffer, (type(self), self.data, self.persistent)


def _rebuild_buffer(cls: type[Buffer], data: Tensor, persistent: bool) -> Buffer:
    return cls(data, persistent=persistent)


# Methods of an uninitialized tensor: those of its empty data.
_NEEDS_NO_SHAPE = {
    "bfloat16", "copy_", "cpu", "cuda", "double", "float", "get_device", "half", "is_complex", "is_floating_point",
    "size", "to",
}  # fmt: skip


class UninitializedTensorMixin:
    """A parameter or buffer whose shape is not known yet; `materialize` makes it one of the class `cls_to_become`."""

    cls_to_become: type[Tensor]

    def __getattribute__(self, name: str) -> Any:
        if name == "shape":
            raise RuntimeError(
                "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
                "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. "
                "Call `forward` to initialize the parameters before accessing their attributes."
            )
        if name in _NEEDS_NO_SHAPE:
            return getattr(super().__getattribute__("data"), name)
        own = name[0] == "_" or name in ("materialize", "detach", "requires_grad_")
        if not own and callable(getattr(Tensor, name, None)):
            raise ValueError(
                f"Attempted to use an uninitialized parameter in {name}. Modules that find their sizes by themselves "
                "need a first `forward` with a batch before their parameters can be used."
            )
        return super().__getattribute__(name)

    def materialize(self, shape: Sequence[int], device: Any = None, dtype: Any = None) -> None:
        """Take the shape, with values that are yet to be set, and become an ordinary parameter or buffer."""
        self.data: Tensor = fb.empty(
            tuple(shape), device=self.data.device if device is None else device,
            dtype=self.data.dtype if dtype is None else dtype,
        )  # fmt: skip
        self.__class__ = self.cls_to_become

    def detach(self) -> Any:
        """Itself: there are no values to share. So `state_dict()` holds what is still uninitialized as it is."""
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            memo[id(self)] = type(self)(*self._arguments())  # type: ignore[call-arg]
        return memo[id(self)]

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return type(self), self._arguments()

    def _arguments(self) -> tuple[Any, ...]:
        raise NotImplementedError


def is_lazy(param: Any) -> bool:
    """Whether `param` is a parameter or buffer whose shape is not known yet."""
    return isinstance(param, UninitializedTensorMixin)


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape is not known yet, as modules have that find their sizes at the first call.

    >>> import flambeau as fb
    >>> w = fb.nn.UninitializedParameter()
    >>> w.materialize((2, 3))
    >>> type(w).__name__, w.shape
    ('Parameter', flambeau.Size([2, 3]))
    """

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> UninitializedParameter:
        return make_subclass(cls, fb.empty(0, device=device, dtype=dtype), requires_grad)

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        pass

    def _arguments(self) -> tuple[Any, ...]:
        return self.requires_grad, None, self.data.dtype


class UninitializedBuffer(UninitializedTensorMixin, Buffer):
    """A buffer whose shape is not known yet, as modules have that find their sizes at the first call.

    >>> layer = fb.nn.LazyBatchNorm1d()
    >>> isinstance(layer.running_mean, fb.nn.UninitializedBuffer)
    True
    >>> y = layer(fb.ones(2, 3))
    >>> layer.running_mean.shape
    flambeau.Size([3])
    """

    cls_to_become = Buffer

    def __new__(
        cls, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> UninitializedBuffer:
        self = make_subclass(cls, fb.empty(0, device=device, dtype=dtype), requires_grad)
        self.persistent = persistent
        return self

    def __init__(
        self, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> None:
        pass

    def _arguments(self) -> tuple[Any, ...]:
        return self.requires_grad, None, self.data.dtype, self.persistent
