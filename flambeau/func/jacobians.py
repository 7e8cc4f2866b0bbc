"""jacfwd and hessian: Jacobians by going forward. Imports func's neighbours. Read next: `reverse.py`, `forward.py`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..autograd.functional import unit_rows
from ..autograd.recording import released
from ..core._core import Tensor
from ..utils._pytree import tree_flatten, tree_unflatten
from .forward import jvp
from .mapping import vmap
from .reverse import Argnums, jacrev, positions, replaced


def jacfwd(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    randomness: str = "error",
) -> Callable[..., Any]:
    """The function that returns the Jacobian of func by going forward, once for all elements of its arguments.

    The same as :func:`jacrev`, and cheaper where there are fewer inputs than outputs.

    >>> fb.func.jacfwd(lambda x: x**2)(fb.tensor([1.0, 3.0]))
    tensor([[2., 0.],
            [0., 6.]])
    """
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"jacfwd: `chunk_size` should be greater than 0, got {chunk_size}")

    @functools.wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        at = positions("jacfwd", argnums, len(args))
        leaves, spec = tree_flatten([args[i] for i in at])

        def of_leaves(*xs: Any) -> Any:
            return func(*replaced(args, at, tree_unflatten(xs, spec)), **kwargs)

        aside: list[Any] = []

        def push(*tangents: Any) -> Any:
            _, along, *aux = jvp(of_leaves, tuple(leaves), tangents, has_aux=has_aux)
            aside[:] = tree_flatten(aux)
            return along, tuple(x for x in aside[0] if isinstance(x, Tensor))

        pushed = vmap(push, out_dims=(-1, 0), chunk_size=chunk_size, randomness=randomness)
        along, beside = pushed(*unit_rows(leaves))
        columns, out_spec = tree_flatten(along)
        columns = [released(y) for y in columns]
        result = []
        for y in columns:
            parts, start = [], 0
            for x in leaves:
                parts.append(y[..., start : start + x.numel()].reshape((*y.shape[:-1], *x.shape)))
                start += x.numel()
            nested = tree_unflatten(parts, spec)
            result.append(nested[0] if isinstance(argnums, int) else tuple(nested))
        whole = tree_unflatten(result, out_spec)
        if not has_aux:
            return whole
        first = (released(x[0]) for x in beside)
        (aux,) = tree_unflatten([next(first) if isinstance(x, Tensor) else x for x in aside[0]], aside[1])
        return whole, aux

    return jacobian


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """The function that returns the second derivatives of func: the Jacobian, by going forward, of its gradient.

    >>> fb.func.hessian(lambda x: (x**3).sum())(fb.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)
