"""Parameter and Buffer: tensors that a Module registers by being assigned one.

Imports the tensor core only. Read next: `modules/module.py`, whose `__setattr__` gives these types their meaning.
"""

from __future__ import annotations

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
