"""Optimizer: parameter groups, state, hooks, and saving and loading them in PyTorch's form.

A subclass gives the settings in `defaults` and the arithmetic in `_update`, which gets a group and those of its
parameters that have a gradient. A subclass may also override `step`, as PyTorch programs do. Imports the tensor core
and nn's hook handle. Read next: `sgd.py`.
"""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.core import _core
from flambeau.nn.modules.hooks import Hook, RemovableHandle

Params = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]

_global_pre_hooks: OrderedDict[int, Hook] = OrderedDict()
_global_post_hooks: OrderedDict[int, Hook] = OrderedDict()
_HOOKS = (
    "_optimizer_step_pre_hooks", "_optimizer_step_post_hooks", "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks", "_optimizer_load_state_dict_pre_hooks", "_optimizer_load_state_dict_post_hooks",
)  # fmt: skip


class _Required:
    """The default of a setting that every group must give."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(step)
    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        self._opt_called = True
        pre, post = self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks
        if not (pre or post or _global_pre_hooks or _global_post_hooks):
            return step(self, *args, **kwargs)
        given = (self, *args)  # hooks see the optimizer among the arguments, as in PyTorch
        for hook in chain(_global_pre_hooks.values(), pre.values()):
            replaced = hook(self, given, kwargs)
            if replaced is not None:
                if not (isinstance(replaced, tuple) and len(replaced) == 2):
                    raise RuntimeError(
                        f"{type(self).__name__}.step: a pre-hook must return None or (args, kwargs), got {replaced!r}"
                    )
                given, kwargs = replaced
        result = step(*given, **kwargs)
        for hook in chain(post.values(), _global_post_hooks.values()):
            hook(self, given, kwargs)
        return result

    return hooked


class Optimizer:
    """Base class of all optimizers.

    Args:
        params: parameters, or (name, parameter) pairs, or dictionaries with "params" and settings of their own.
        defaults: the settings of groups that don't say otherwise.

    Raises:
        TypeError: where params is a single tensor or holds something else than leaf tensors.
        ValueError: where it is empty, or a parameter comes twice.

    >>> w = fb.nn.Parameter(fb.ones(2))
    >>> opt = fb.optim.SGD([{"params": [w], "lr": 0.5}], lr=0.1)
    >>> isinstance(opt, fb.optim.Optimizer), opt.param_groups[0]["lr"]
    (True, 0.5)
    """

    state: defaultdict[Tensor, dict[str, Any]]
    param_groups: list[dict[str, Any]]
    _takes_sparse = False  # whether `_update` understands sparse gradients
    _takes_complex = True  # complex parameters are updated as pairs of real numbers

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.step)  # type: ignore[method-assign]

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        if defaults.get("fused"):
            for other, message in (("differentiable", "`fused` does not support `differentiable`"),
                                   ("foreach", "`fused` and `foreach` cannot be `True` together.")):  # fmt: skip
                if defaults.get(other):
                    raise RuntimeError(message)
        self._init_hooks()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got a Tensor; "
                "put it into a list"
            )
        self.state = defaultdict(dict)
        self.param_groups = []
        groups: list[Any] = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def _init_hooks(self) -> None:
        for name in _HOOKS:
            setattr(self, name, OrderedDict())
        self._opt_called = False

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own, for instance layers that are unfrozen later.

        >>> import flambeau as fb
        >>> p, q = fb.nn.Parameter(fb.ones(2)), fb.nn.Parameter(fb.ones(3))
        >>> opt = fb.optim.SGD([p], lr=0.1)
        >>> opt.add_param_group({"params": [q], "lr": 0.01})
        >>> [group["lr"] for group in opt.param_groups]
        [0.1, 0.01]
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        given = param_group["params"]
        if isinstance(given, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of sets changes"
            )
        entries = [given] if isinstance(given, Tensor) else list(given)
        named = [isinstance(e, tuple) for e in entries]
        if any(named):
            if not all(named):
                raise ValueError("all optimizer params should be with/without names. Some param names are missing")
            param_group["param_names"] = [name for name, _ in entries]
            entries = [p for _, p in entries]
        for p in entries:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not (self.defaults.get("differentiable") or p.is_leaf or getattr(p, "retains_grad", False)):
                raise ValueError("can't optimize a non-leaf Tensor; it was computed from others, so optimize those")
        param_group["params"] = entries
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        if len({id(p) for p in entries}) != len(entries):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error",
                stacklevel=3,
            )
        if self.param_groups and ("param_names" in param_group) != ("param_names" in self.param_groups[0]):
            raise ValueError("all optimizer param groups should be with/without names")
        known = {id(p) for group in self.param_groups for p in group["params"]}
        if any(id(p) in known for p in entries):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    @_with_hooks
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient; `closure`, if given, computes the loss, which is returned."""
        loss = None
        if closure is not None:
            with fb.enable_grad():
                loss = closure()
        with fb.set_grad_enabled(bool(self.defaults.get("differentiable"))):
            for group in self.param_groups:
                params, grads = [], []
                for p in group["params"]:
                    grad = p.grad
                    if grad is not None:
                        if p.is_complex():
                            self._update_complex(group, p, grad)
                            continue
                        if grad.layout != "strided" and not self._takes_sparse:
                            name = type(self).__name__
                            hint = ", please consider SparseAdam instead" if name == "Adam" else ""
                            raise RuntimeError(f"{name} does not support sparse gradients{hint}")
                        params.append(p)
                        grads.append(grad)
                if params:
                    self._update(group, params, grads)
        return loss

    def _update_complex(self, group: dict[str, Any], p: Tensor, grad: Tensor) -> None:
        """`_update` of the real view of p, with p's state in real views too."""
        if not self._takes_complex:
            raise RuntimeError(f"{type(self).__name__} does not support complex parameters")
        real = fb.view_as_real(p)
        if p in self.state:
            self.state[real] = {k: fb.view_as_real(v) if _is_complex(v) else v for k, v in self.state[p].items()}
        self._update(group, [real], [fb.view_as_real(grad)])
        for key, value in self.state.pop(real, {}).items():
            paired = isinstance(value, Tensor) and value.shape == real.shape
            self.state[p][key] = fb.view_as_complex(value) if paired else value

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        raise NotImplementedError(f"{type(self).__name__} defines neither step() nor _update()")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset all gradients: to None, or to zeros in place."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = p.grad.detach().zero_()

    # Saving and loading

    def state_dict(self) -> dict[str, Any]:
        """State and settings, parameters by number: {"state": {0: …}, "param_groups": [{…, "params": [0, …]}]}."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        for group in self.param_groups:
            for p in group["params"]:
                numbers.setdefault(id(p), len(numbers))
        groups = [
            {**{k: v for k, v in group.items() if k != "params"}, "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        state = {numbers[id(k)] if isinstance(k, Tensor) else k: v for k, v in self.state.items()}
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            replaced = hook(self, result)
            result = result if replaced is None else replaced
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict()` returned, here or in PyTorch; parameters are matched by their order.

        Raises:
            ValueError: where groups or their sizes differ.
        """
        state_dict = dict(state_dict)
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            replaced = hook(self, state_dict)
            state_dict = state_dict if replaced is None else replaced
        saved_groups = deepcopy(state_dict["param_groups"])
        if len(saved_groups) != len(self.param_groups):
            raise ValueError(
                f"loaded state dict has a different number of parameter groups: {len(saved_groups)} for "
                f"{len(self.param_groups)}"
            )
        for i, (mine, saved) in enumerate(zip(self.param_groups, saved_groups, strict=True)):
            if len(mine["params"]) != len(saved["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: "
                    f"group {i} has {len(saved['params'])} for {len(mine['params'])}"
                )
        by_number = dict(
            zip(
                chain.from_iterable(g["params"] for g in saved_groups),
                chain.from_iterable(g["params"] for g in self.param_groups),
                strict=True,
            )
        )
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in by_number:
                state[by_number[key]] = _fitted(by_number[key], value)
            else:
                state[key] = value
        for mine, saved in zip(self.param_groups, saved_groups, strict=True):
            saved["params"] = mine["params"]
            if "param_names" in mine and "param_names" not in saved:
                saved["param_names"] = mine["param_names"]
        self.__setstate__({"state": state, "param_groups": saved_groups})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_opt_called" not in self.__dict__:
            self._init_hooks()
        for group in self.param_groups:  # groups saved before a setting existed
            for name, default in self.defaults.items():
                group.setdefault(name, default)
        for values in self.state.values():  # `step` was a plain number once
            if isinstance(values, dict) and isinstance(values.get("step"), (int, float)) and self._counts_in_tensors:
                values["step"] = fb.tensor(float(values["step"]), dtype=fb.float32)

    _counts_in_tensors = True

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])

    # Hooks

    def _register(self, hooks: str, hook: Hook, prepend: bool = False) -> RemovableHandle:
        registry: OrderedDict[int, Hook] = getattr(self, hooks)
        handle = RemovableHandle(registry)
        registry[handle.id] = hook
        if prepend:
            registry.move_to_end(handle.id, last=False)
        return handle

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return new (args, kwargs)."""
        return self._register("_optimizer_step_pre_hooks", hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return self._register("_optimizer_step_post_hooks", hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before `state_dict`."""
        return self._register("_optimizer_state_dict_pre_hooks", hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after `state_dict`; it may return another one."""
        return self._register("_optimizer_state_dict_post_hooks", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before loading; it may return another one."""
        return self._register("_optimizer_load_state_dict_pre_hooks", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` after loading."""
        return self._register("_optimizer_load_state_dict_post_hooks", hook, prepend)


def _is_complex(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_complex()


def _fitted(param: Tensor, state: Any, key: str | None = None) -> Any:
    """Loaded state on the parameter's device and in its dtype; counters and coefficients stay float32 on the CPU."""
    if isinstance(state, Tensor):
        if key in ("step", "mu_product", "eta", "mu"):
            return state.to(dtype=fb.float32)
        follows = param.is_floating_point() or param.is_complex()
        return state.to(device=param.device, dtype=param.dtype if follows else None)
    if isinstance(state, dict):
        return {k: _fitted(param, v, k) for k, v in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(_fitted(param, v) for v in state)
    return state


def register_optimizer_step_pre_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` before each step of every optimizer."""
    handle = RemovableHandle(_global_pre_hooks)
    _global_pre_hooks[handle.id] = hook
    return handle


def register_optimizer_step_post_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` after each step of every optimizer."""
    handle = RemovableHandle(_global_post_hooks)
    _global_post_hooks[handle.id] = hook
    return handle


def check_settings(differentiable: bool = False, **minima: Any) -> None:
    """Refuse settings below 0, betas outside [0, 1), and a rate that would have to be differentiated.

    Raises:
        ValueError: with the setting's name and value.
    """
    if differentiable and any(isinstance(v, Tensor) and v.requires_grad for v in minima.values()):
        raise ValueError("differentiable=True goes through parameters and gradients, not through the settings")
    for name, value in minima.items():
        if name == "betas":
            for i, beta in enumerate(value):
                if not 0.0 <= beta < 1.0:
                    raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        elif isinstance(value, Tensor) and value.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        elif not value >= 0.0:
            shown = {"lr": "learning rate", "eps": "epsilon value"}.get(name, f"{name} value")
            raise ValueError(f"Invalid {shown}: {value}")


def new_step() -> Tensor:
    """A step counter: PyTorch keeps it as a 0-d float32 tensor on the CPU."""
    return fb.tensor(0.0, dtype=fb.float32)


def count_steps(states: list[dict[str, Any]]) -> list[float]:
    """Counts each parameter's steps up by one; the numbers of steps now."""
    return _core.count_up([s["step"] for s in states])


def decay_numbers(group: dict[str, Any]) -> tuple[float, float]:
    """The first numbers of each update rule: the weight decay, and what a decoupled one leaves of a parameter."""
    return float(group["weight_decay"]), 1 - float(group["lr"]) * float(group["weight_decay"])


def decayed(param: Tensor, grad: Tensor, weight_decay: float, maximize: bool) -> Tensor:
    """±grad + weight_decay p."""
    grad = -grad if maximize else grad
    return grad + param * weight_decay if weight_decay else grad
