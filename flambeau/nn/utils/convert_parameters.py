"""Parameters as one vector, and back.

Imports the tensor core. Read next: `rnn.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

import flambeau as fb
from flambeau import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters, flattened and joined.

    >>> import flambeau as fb
    >>> fb.nn.utils.parameters_to_vector(fb.nn.Linear(3, 2).parameters()).shape
    flambeau.Size([8])
    """
    return fb.cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Let the parameters' data be slices of `vec`, in order.

    Raises:
        TypeError: where `vec` is not a tensor.

    >>> layer = fb.nn.Linear(2, 1)
    >>> fb.nn.utils.vector_to_parameters(fb.tensor([1.0, 2.0, 3.0]), layer.parameters())
    >>> layer.bias
    Parameter containing:
    tensor([3.], requires_grad=True)
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected a tensor, but got: {type(vec).__name__}")
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.data = vec[start:end].reshape(parameter.shape).data
        start = end
