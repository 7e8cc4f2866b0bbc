"""`torch.nn.attention.bias`: the two causal masks for queries and keys of different lengths.

Imports ops. Read next: `ops/attention.py`.
"""

from __future__ import annotations

import warnings

from ...core._core import DTYPES, Tensor
from ...ops.factories import ones
from ...ops.triangles import tril


def causal_upper_left(*size: int) -> Tensor:
    """Query i sees keys 0 … i: a boolean mask (queries, keys).

    >>> from flambeau.nn.attention.bias import causal_upper_left
    >>> causal_upper_left(2, 3)
    tensor([[ True, False, False],
            [ True,  True, False]])
    """
    return mask("causal_upper_left", size, 0)


def causal_lower_right(*size: int) -> Tensor:
    """The last query sees all keys, each one before it one less: a boolean mask (queries, keys).

    >>> from flambeau.nn.attention.bias import causal_lower_right
    >>> causal_lower_right(2, 3)
    tensor([[ True,  True, False],
            [ True,  True,  True]])
    """
    if len(size) == 2 and size[0] > size[1]:
        warnings.warn(
            f"causal_lower_right: with {size[0]} queries and {size[1]} keys, the first queries see nothing",
            stacklevel=2,
        )
    return mask("causal_lower_right", size, size[-1] - size[0] if len(size) == 2 else 0)


def mask(name: str, size: tuple[int, ...], diagonal: int) -> Tensor:
    if len(size) != 2:
        raise RuntimeError(f"{name}: takes the numbers of queries and of keys, got {len(size)} numbers: {size}")
    return tril(ones(*size, dtype=DTYPES[0]), diagonal)


__all__ = ["causal_lower_right", "causal_upper_left"]
