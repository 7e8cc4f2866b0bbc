"""`_foreach_add` and its like: one operation over lists of tensors, as optimizers and averages of weights use them.

Each is the operation of that name applied to the first tensors, to the second ones, and so on; a number or tensor that
isn't in a list goes to all. In-place forms look at every shape before the first write. Functions are made when they
are asked for. Imports core; the operations by their public names. Read next: `ops/optimizer.py`, one kernel over lists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .core._core import Tensor, broadcast_shapes

# Where the operation for a tensor has another name: these take numbers too.
SAME = {"maximum": "clamp_min", "maximum_": "clamp_min_", "minimum": "clamp_max", "minimum_": "clamp_max_"}


def operation(name: str) -> Callable[..., Any]:
    """What does for one tensor what `_foreach_` + name does for each."""
    import flambeau

    if name == "norm":
        return lambda x, ord=2, dtype=None: flambeau.linalg.vector_norm(x, ord, dtype=dtype)
    if name == "powsum":
        return lambda x, ord=2, dtype=None: flambeau.sum(x.abs() ** ord, dtype=dtype)
    return getattr(Tensor if name.endswith("_") else flambeau, SAME.get(name, name))


def calls(name: str, args: tuple) -> list[tuple]:
    """The arguments of one call for each place in the lists."""
    lists = [x for x in args if isinstance(x, list | tuple)]
    if not lists or not all(lists):
        raise RuntimeError(f"{name}: a tensor list must have at least one tensor, got {len(args)} arguments: {args!r}")
    if len({len(x) for x in lists}) > 1:
        raise RuntimeError(f"{name}: lists must be of one length, got lengths {[len(x) for x in lists]}")
    columns = (x if isinstance(x, list | tuple) else (x,) * len(lists[0]) for x in args)
    return list(zip(*columns, strict=True))


def check_shapes(name: str, every: list[tuple]) -> None:
    for i, (target, *others) in enumerate(every):
        shapes = [x.shape for x in others if isinstance(x, Tensor)]
        if any(s != target.shape for s in shapes) and broadcast_shapes(target.shape, *shapes) != target.shape:
            raise RuntimeError(
                f"{name}: at place {i}, shapes {[list(s) for s in shapes]} don't broadcast to that of the tensor to "
                f"write, {list(target.shape)}; nothing has been written"
            )


def over_lists(name: str) -> Callable[..., tuple | None]:
    """The function `_foreach_` + name."""
    one, called, scaled = operation(name), f"_foreach_{name}", name.startswith(("addcdiv", "addcmul"))

    def each(*args: Any, **kwargs: Any) -> tuple | None:
        given = [kwargs.pop(k) for k in ("other", "tensors1", "tensor1", "tensor2", "scalar") if k in kwargs]
        given += [kwargs.pop(k) for k in ("exponent", "weight", "weights", "scalars", "value", "src") if k in kwargs]
        args = (*args, *given)
        if scaled and len(args) > 3 and isinstance(args[3], Tensor):
            args = (*args[:3], args[3].tolist())
        every = calls(called, args)
        if name.endswith("_"):
            check_shapes(called, every)
        if scaled:
            results = tuple(one(x, a, b, value=v[0] if v else 1, **kwargs) for x, a, b, *v in every)
        else:
            results = tuple(one(*call, **kwargs) for call in every)
        return None if name.endswith("_") else results

    each.__name__ = each.__qualname__ = called
    each.__module__ = __name__
    each.__doc__ = f"{name} of each tensor of a list, with what stands at its place in further lists."
    return each


def __getattr__(name: str) -> Any:
    if not name.startswith("_foreach_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = over_lists(name.removeprefix("_foreach_"))
    return made
