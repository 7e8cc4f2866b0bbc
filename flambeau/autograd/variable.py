"""Variable: what tensors with gradients were called before PyTorch 0.4. Imports core."""

from __future__ import annotations

import warnings
from typing import Any

from ..core._core import Tensor


class TensorLike(type):
    """The metaclass of Variable: every tensor is one."""

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, Tensor)


class Variable(metaclass=TensorLike):
    """Variable(data, requires_grad=False): a tensor over data's memory, as programs older than PyTorch 0.4 made them.

    >>> fb.autograd.Variable(fb.ones(1), requires_grad=True).requires_grad
    True
    """

    def __new__(cls, data: Any = None, requires_grad: bool = False, volatile: bool | None = None) -> Any:
        if volatile is not None:
            warnings.warn("volatile has had no effect since PyTorch 0.4; use torch.no_grad()", stacklevel=2)
        x = Tensor() if data is None else data.detach()
        return x.requires_grad_(requires_grad) if requires_grad else x


__all__ = ["Variable"]
