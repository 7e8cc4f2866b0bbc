"""vmap: a function of one sample as a function of many, which runs once on all of them. Imports autograd, utils.

Read next: `autograd/batch.py` (what happens meanwhile), `reverse.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..autograd.batch import RANDOMNESS, Batch
from ..core._core import Tensor
from ..ops.joining import cat
from ..utils._pytree import TreeSpec, broadcast_prefix, tree_flatten, tree_unflatten

Dims = int | tuple | None


def is_dim(x: Any) -> bool:
    return x is None or isinstance(x, int)


def input_dims(name: str, in_dims: Any, leaves: list[Any], spec: TreeSpec) -> list[int | None]:
    """The mapped dimension of each leaf of the arguments, counted from the front; None where there is none."""
    where = f"vmap({name}, in_dims={in_dims})"
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"{where}: in_dims must be an int or a (nested) tuple that matches the inputs, got {type(in_dims).__name__}"
        )
    if not leaves:
        raise ValueError(f"vmap({name}): got no inputs; pass the tensors to map over as arguments")
    dims = broadcast_prefix(in_dims, spec, lambda x: x is None or not isinstance(x, (tuple, list, dict)))
    if dims is None:
        raise ValueError(f"{where}: in_dims doesn't match the structure of the inputs, {spec}")
    found: list[int | None] = []
    for x, d in zip(leaves, dims, strict=True):
        if not is_dim(d):
            raise ValueError(f"{where}: in_dims holds an int or None for each input, got {d!r}")
        if d is None:
            found.append(None)
            continue
        if not isinstance(x, Tensor):
            raise ValueError(
                f"{where}: in_dim {d} for an input of type {type(x).__name__}; only tensors can be mapped over, "
                "use None"
            )
        if not -x.ndim <= d < x.ndim:
            raise ValueError(
                f"{where}: in_dim {d} for a tensor of {x.ndim} dimensions, expected {-x.ndim} <= in_dim < {x.ndim}"
            )
        found.append(d % x.ndim)
    return found


def mapped_size(leaves: list[Any], dims: list[int | None]) -> int:
    sizes = [x.shape[d] for x, d in zip(leaves, dims, strict=True) if d is not None]
    if not sizes:
        raise ValueError("vmap: at least one input must be mapped, but in_dims is None for all of them")
    if len(set(sizes)) > 1:
        raise ValueError(f"vmap: mapped dimensions must have one size, got {sizes}")
    return sizes[0]


def collected(name: str, level: Batch, out: Any, out_dims: Any) -> tuple[list[Tensor], list[int | None], TreeSpec]:
    """The physical tensors of what a mapped function returned, and where their dimension of samples goes."""
    leaves, spec = tree_flatten(out)
    if is_dim(out_dims) or not isinstance(out_dims, (int, tuple, list, dict)):
        dims: list[Any] | None = [out_dims] * len(leaves)
    elif spec.is_leaf() and isinstance(out_dims, (tuple, list)) and len(out_dims) == 1:
        dims = list(out_dims)
    else:
        dims = broadcast_prefix(out_dims, spec, lambda x: not isinstance(x, (tuple, list, dict)))
    if dims is None:
        raise ValueError(
            f"vmap({name}, out_dims={out_dims}): out_dims doesn't match the structure of the outputs, {spec}"
        )
    found = []
    for x, d in zip(leaves, dims, strict=True):
        if not is_dim(d):
            raise ValueError(
                f"vmap({name}, out_dims={out_dims}): out_dims must be an int, None or a nested collection of them"
            )
        if d is None:
            if level.physical(x) is not None:
                raise ValueError(f"vmap({name}): `{name}` can't return a batched tensor where out_dims is None")
            found.append(x)
        elif not isinstance(x, Tensor):
            raise ValueError(
                f"vmap({name}): `{name}` must only return Tensors, got type {type(x)}; use out_dims=None for it"
            )
        else:
            found.append(level.physical(x) if level.physical(x) is not None else x.expand(level.size, *x.shape))
    return found, dims, spec


def placed(y: Any, d: int | None) -> Any:
    """y with its dimension of samples at d."""
    return y if d is None or d == 0 else y.movedim(0, d)


def vmap(
    func: Callable[..., Any],
    in_dims: Dims = 0,
    out_dims: Dims = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The function that applies func to each sample of its arguments, all at once.

    Arguments
        in_dims: which dimension of each positional argument holds the samples; None: the argument is the same for all.
            An int for all arguments, or a tuple like them, nested as they are. Keyword arguments aren't mapped.
        out_dims: where the dimension of samples goes in the results.
        randomness: whether drawing random numbers within func is an 'error', gives each sample 'different' ones or
            all the 'same'.
        chunk_size: how many samples run at once; all by default.

    Raises ValueError where arguments, in_dims and out_dims don't fit, RuntimeError where what func does depends on
    elements: `if x.sum() > 0`, x.item(), x[mask].

    >>> dot = fb.func.vmap(fb.dot)
    >>> dot(fb.tensor([[1.0, 2.0], [3.0, 4.0]]), fb.ones(2, 2))
    tensor([3., 7.])
    """
    if randomness not in RANDOMNESS:
        raise RuntimeError(f"vmap: randomness must be 'error', 'different' or 'same', got {randomness!r}")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0, got {chunk_size}")
    name = getattr(func, "__name__", type(func).__name__)

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        leaves, spec = tree_flatten(args)
        dims = input_dims(name, in_dims, leaves, spec)
        size = mapped_size(leaves, dims)
        front = [x if d is None or d == 0 else x.movedim(d, 0) for x, d in zip(leaves, dims, strict=True)]
        step = size if chunk_size is None else chunk_size
        parts = []
        for start in range(0, max(size, 1), max(step, 1)):
            stop = min(start + step, size)
            level = Batch(stop - start, randomness)
            whole = stop - start == size
            inner = [
                x if d is None else level.stand_in(x if whole else x[start:stop])
                for x, d in zip(front, dims, strict=True)
            ]
            with level:
                out = func(*tree_unflatten(inner, spec), **kwargs)
                parts.append(collected(name, level, out, out_dims))
        found, where, structure = parts[0]
        if len(parts) > 1:
            columns = zip(*(p[0] for p in parts), strict=True)
            found = [ys[0] if d is None else cat(ys) for ys, d in zip(columns, where, strict=True)]
        return tree_unflatten([placed(y, d) for y, d in zip(found, where, strict=True)], structure)

    return mapped
