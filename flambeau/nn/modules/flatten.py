"""Flatten and Unflatten: layers that reshape.

Imports `module.py`. Read next: `linear.py`.
"""

from __future__ import annotations

from typing import Any

from flambeau import Tensor
from flambeau.nn.modules.module import Module


class Flatten(Module):
    """Join dimensions `start_dim` to `end_dim` into one.

    >>> import flambeau as fb
    >>> fb.nn.Flatten()(fb.ones(2, 3, 4)).shape
    flambeau.Size([2, 12])
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split dimension `dim` into several.

    >>> import flambeau as fb
    >>> fb.nn.Unflatten(1, (3, 4))(fb.ones(2, 12)).shape
    flambeau.Size([2, 3, 4])
    """

    def __init__(self, dim: int | str, unflattened_size: Any) -> None:
        super().__init__()
        sizes = tuple(unflattened_size) if isinstance(unflattened_size, (tuple, list)) else None
        if sizes is None or not all(isinstance(s, int) for s in sizes):
            raise TypeError(f"unflattened_size must be a tuple of ints, but found {unflattened_size!r}")
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, tuple(self.unflattened_size))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
