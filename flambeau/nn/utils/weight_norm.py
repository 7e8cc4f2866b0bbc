"""Weight normalisation by a hook before `forward`: the form of old programs, with parameters `weight_g`, `weight_v`.

New programs use `parametrizations.weight_norm`. Imports nn.modules. Read next: `spectral_norm.py`.
"""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

from flambeau import Tensor
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter, is_lazy

__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]

M = TypeVar("M", bound=Module)


def norm_except(v: Tensor, dim: int) -> Tensor:
    """The norm of v over all dimensions but `dim`, which are kept with length 1; of all of v where dim is -1."""
    if dim == -1:
        return v.norm()
    others = [d for d in range(v.dim()) if d != dim]
    return v.norm(2, dim=others, keepdim=True) if others else v.abs()


def scaled(g: Tensor, v: Tensor, dim: int) -> Tensor:
    """v with norms g: v g / |v|."""
    return v * (g / norm_except(v, dim))


class WeightNorm:
    """The hook: sets `module.<name>` to `<name>_v` scaled to the norms `<name>_g`."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name, self.dim = name, -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Tensor:
        """The weight as it is now."""
        return scaled(getattr(module, self.name + "_g"), getattr(module, self.name + "_v"), self.dim)

    @staticmethod
    def apply(module: Module, name: str, dim: int | None) -> WeightNorm:
        """Split the parameter in two and register the hook; see `weight_norm`."""
        warnings.warn(
            "nn.utils.weight_norm is deprecated in favor of nn.utils.parametrizations.weight_norm",
            FutureWarning, stacklevel=3,
        )  # fmt: skip
        if any(isinstance(h, WeightNorm) and h.name == name for h in module._forward_pre_hooks.values()):
            raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
        hook = WeightNorm(name, dim)
        weight = getattr(module, name)
        if is_lazy(weight):
            raise ValueError("weight_norm: the module has parameters without shapes yet; call it once before")
        del module._parameters[name]
        module.register_parameter(name + "_g", Parameter(norm_except(weight, hook.dim).detach()))
        module.register_parameter(name + "_v", Parameter(weight.detach()))
        setattr(module, name, hook.compute_weight(module))
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module: Module) -> None:
        """Make the weight one parameter again."""
        weight = self.compute_weight(module)
        delattr(module, self.name)
        del module._parameters[self.name + "_g"], module._parameters[self.name + "_v"]
        setattr(module, self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Train direction `<name>_v` and norms `<name>_g` of a weight apart: w = g v / |v|; returns `module`.

    Salimans and Kingma, Weight normalization, 2016.

    Args:
        dim: the dimension along which each slice has a norm of its own; None for one norm.

    Raises:
        RuntimeError: where the parameter already has a weight norm.

    >>> layer = fb.nn.utils.weight_norm(fb.nn.Linear(3, 2))
    >>> sorted(name for name, _ in layer.named_parameters())
    ['bias', 'weight_g', 'weight_v']
    >>> layer.weight_g.shape
    flambeau.Size([2, 1])
    """
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Undo `weight_norm`; returns `module`. ValueError where there is none.

    >>> layer = fb.nn.utils.remove_weight_norm(fb.nn.utils.weight_norm(fb.nn.Linear(3, 2)))
    >>> sorted(name for name, _ in layer.named_parameters())
    ['bias', 'weight']
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
