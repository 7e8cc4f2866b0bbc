"""functional_call and stack_module_state: modules as functions of their parameters. Imports core and ops.

Read next: `mapping.py`, `reverse.py`; `nn/modules/module.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..core._core import Tensor
from ..ops.joining import stack

Values = Mapping[str, Tensor]


def places(module: Any) -> dict[str, list[tuple[dict, str]]]:
    """Where each parameter and buffer stands, by each of its names: (registry, key); tied ones have several places."""
    shared: dict[int, list[tuple[dict, str]]] = {}
    names: dict[str, int] = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        for registry in (part._parameters, part._buffers):
            for key, value in registry.items():
                if value is not None:
                    names[f"{prefix}.{key}" if prefix else key] = id(value)
                    here = shared.setdefault(id(value), [])
                    if (id(registry), key) not in [(id(r), k) for r, k in here]:
                        here.append((registry, key))
    return {name: shared[which] for name, which in names.items()}


@contextmanager
def holding(module: Any, values: Values, tie_weights: bool, strict: bool) -> Iterator[None]:
    """Within, the module's parameters and buffers of those names are the given tensors."""
    found = places(module)
    unknown = [name for name in values if name not in found]
    if unknown and strict:
        raise RuntimeError(f"functional_call: unexpected keys {unknown}; the module has {sorted(found)}")
    missing = [name for name in found if name not in values]
    if missing and strict:
        covered = {(id(r), k) for name in values if name in found for r, k in found[name]}
        missing = [n for n in missing if not (tie_weights and any((id(r), k) in covered for r, k in found[n]))]
        if missing:
            raise RuntimeError(f"functional_call: missing keys {missing}; pass strict=False to keep the module's own")
    before: list[tuple[dict, str, Any]] = []
    given: dict[tuple[int, str], Tensor] = {}
    try:
        for name, value in values.items():
            if not isinstance(value, Tensor):
                raise TypeError(f"functional_call: {name} must be a tensor, got {type(value).__name__}")
            for registry, key in found.get(name, ())[: None if tie_weights else 1]:
                place = (id(registry), key)
                if given.setdefault(place, value) is not value:
                    raise ValueError(f"functional_call: {name} and a name tied to it got different values")
                before.append((registry, key, registry[key]))
                registry[key] = value
        yield
    finally:
        for registry, key, old in reversed(before):
            registry[key] = old


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Values | Sequence[Values],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with the given tensors in place of its parameters and buffers of those names.

    Several dicts count as one. What ties two names in the module ties them here, unless `tie_weights` is False.
    With `strict` every parameter and buffer must be given. Raises ValueError where dicts name the same one, or tied
    names get different tensors; RuntimeError for names that `strict` forbids.

    >>> layer = fb.nn.Linear(2, 1)
    >>> values = {"weight": fb.ones(1, 2), "bias": fb.zeros(1)}
    >>> fb.func.functional_call(layer, values, (fb.tensor([1.0, 2.0]),))
    tensor([3.])
    """
    if isinstance(parameter_and_buffer_dicts, Mapping):
        values = dict(parameter_and_buffer_dicts)
    elif isinstance(parameter_and_buffer_dicts, Sequence):
        values = {}
        for each in parameter_and_buffer_dicts:
            twice = values.keys() & each.keys()
            if twice:
                raise ValueError(f"functional_call: {sorted(twice)} stand in more than one dict")
            values.update(each)
    else:
        raise ValueError(
            f"functional_call: parameters and buffers come in a dict or a sequence of dicts, got "
            f"{type(parameter_and_buffer_dicts).__name__}"
        )
    given = () if args is None else args if isinstance(args, tuple) else (args,)
    with holding(module, values, tie_weights, strict):
        return module(*given, **(kwargs or {}))


def replace_all_batch_norm_modules_(root: Any) -> Any:
    """Takes running statistics from every batch norm below root, in place, so that vmap can run them; returns root.

    >>> net = fb.nn.Sequential(fb.nn.BatchNorm1d(2))
    >>> fb.func.replace_all_batch_norm_modules_(net)[0].running_mean is None
    True
    """
    for module in root.modules():
        if "running_mean" in module._buffers and "BatchNorm" in type(module).__name__:
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters and buffers of several modules of one kind, each stacked along a new first dimension for vmap.

    >>> models = [fb.nn.Linear(2, 1) for _ in range(3)]
    >>> parameters, buffers = fb.func.stack_module_state(models)
    >>> parameters["weight"].shape
    flambeau.Size([3, 1, 2])
    """
    if not models:
        raise RuntimeError("stack_module_state: expected at least one model, got none")
    if len({m.training for m in models}) > 1:
        raise RuntimeError("stack_module_state: expected all models to have one training mode; call train() or eval()")
    if len({type(m) for m in models}) > 1:
        kinds = sorted({type(m).__name__ for m in models})
        raise RuntimeError(f"stack_module_state: expected all models to be of one class, got {kinds}")

    def stacked(each: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        made = {}
        for name in each[0]:
            needed = {x[name].requires_grad for x in each}
            if len(needed) > 1:
                raise RuntimeError(f"stack_module_state: {name} requires grad in some of the models and not in others")
            made[name] = stack([x[name] for x in each]).detach().requires_grad_(needed.pop())
        return made

    return stacked([dict(m.named_parameters()) for m in models]), stacked([dict(m.named_buffers()) for m in models])
