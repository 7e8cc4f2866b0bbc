"""Private helpers of PyTorch's modules that libraries import by name. May import everything."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any, TypeVar

import flambeau as fb
from flambeau._printing import tensor_repr
from flambeau.cli.names import asking
from flambeau.core import _core
from flambeau.nn import functional as F
from flambeau.utils._pytree import container_of

T = TypeVar("T")
Number = int | float | bool
Device = _core.device | str | int | None
_size = _core.Size | list[int] | tuple[int, ...]
ParamsT = _params_t = Iterable[Any]
text = ""  # stands for pieces of PyTorch's docstrings


def ntuple(n: int) -> Callable[[Any], tuple]:
    """x n times, or x itself where it is a sequence."""

    def parse(x: Any) -> tuple:
        return tuple(x) if isinstance(x, Iterable) and not isinstance(x, str) else tuple(repeat(x, n))

    return parse


single, pair, triple, quadruple = map(ntuple, (1, 2, 3, 4))


def reverse_repeat_tuple(t: Iterable[Any], n: int) -> tuple:
    return tuple(x for x in reversed(tuple(t)) for _ in range(n))


def consume_prefix_in_state_dict_if_present(state_dict: dict[str, Any], prefix: str) -> None:
    """Takes the prefix off the keys that have it, in place."""
    for key in [k for k in state_dict if k.startswith(prefix)]:
        state_dict[key.removeprefix(prefix)] = state_dict.pop(key)


def same(thing: T) -> T:
    """What a decorator that only matters to PyTorch's compiler returns."""
    return thing


def false(*args: Any, **kwargs: Any) -> bool:
    return False


def value_of(x: Any) -> Any:
    return x.item() if isinstance(x, _core.Tensor) else x


def square_root(x: Any) -> Any:
    return x.sqrt() if isinstance(x, _core.Tensor) else x**0.5


def fused_or_foreach(params: Any, differentiable: bool, use_fused: bool = False) -> tuple[bool, bool]:
    """Neither: a step is one loop here whatever the flag says."""
    return False, False


def view_as_real(params: list[Any], *states: list[Any]) -> None:
    """Replaces complex tensors by views of their parts, in place."""
    for i, p in enumerate(params):
        if p.is_complex():
            for each in (params, *states):
                each[i] = fb.view_as_real(each[i])


def scalar_dtype(is_fused: bool | None = None) -> Any:
    return fb.float64 if fb.get_default_dtype() is fb.float64 else fb.float32


def activation(name: str) -> Callable[..., Any]:
    if name not in ("relu", "gelu"):
        raise RuntimeError(f"activation should be relu/gelu, not {name}")
    return getattr(F, name)


def clones(module: Any, n: int) -> Any:
    return fb.nn.ModuleList([copy.deepcopy(module) for _ in range(n)])


def add_indent(text: str, spaces: int) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *(" " * spaces + line for line in rest)])


def torch_home() -> str:
    return os.path.dirname(fb.hub.get_dir())


def uniform(tensor: Any, a: float, b: float, generator: Any = None) -> Any:
    with fb.no_grad():
        return tensor.uniform_(a, b, generator=generator)


def gaussian(tensor: Any, mean: float, std: float, generator: Any = None) -> Any:
    with fb.no_grad():
        return tensor.normal_(mean, std, generator=generator)


def dict_flatten(d: dict[Any, T]) -> tuple[list[T], list[Any]]:
    return list(d.values()), list(d)


def dict_unflatten(values: Iterable[T], keys: list[Any]) -> dict[Any, T]:
    return dict(zip(keys, values, strict=True))


def is_leaf(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    return (is_leaf is not None and is_leaf(tree)) or container_of(tree) is None


def node_type(tree: Any) -> Any:
    return container_of(tree) or type(tree)


def tensor_text(t: Any, indent: int = 0) -> str:
    """A tensor's elements as they are printed, without what stands around them."""
    return tensor_repr(t.detach(), t.dtype.name).removeprefix("tensor(").removesuffix(")")


def named(name: str, *args: Any, **kwargs: Any) -> Callable[[T], T]:
    """A decorator that does nothing."""
    return same


class nothing:
    """A region in which nothing is otherwise."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None


class Absent:
    """A class of PyTorch's that nothing here is an instance of; each name has its own, made by `absent`."""

    path = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"flambeau has nothing like {self.path} yet{asking()}")


def absent(module: str, name: str) -> type[Absent]:
    """The class that stands for torch.module.name."""
    path = ".".join(filter(None, ("torch", module, name)))
    return type(name, (Absent,), {"path": path, "__module__": path.rpartition(".")[0]})


TensorMeta = type(_core.Tensor)
