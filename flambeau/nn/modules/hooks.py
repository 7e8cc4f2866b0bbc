"""Hooks of modules: functions called before and after `forward`, and when gradients reach a module's outputs and
inputs.

`Hookable` is the part of `Module` that registers and runs them; `Module.__call__` comes here only where there is a hook
to run. Hooks that apply to every module live in the `GLOBAL_…` dictionaries. Imports autograd. Read next: `module.py`.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.autograd.handles import RemovableHandle

Hook = Callable[..., Any]

GLOBAL_FORWARD_PRE_HOOKS: OrderedDict[int, Hook] = OrderedDict()
GLOBAL_FORWARD_HOOKS: OrderedDict[int, Hook] = OrderedDict()
GLOBAL_BACKWARD_PRE_HOOKS: OrderedDict[int, Hook] = OrderedDict()
GLOBAL_BACKWARD_HOOKS: OrderedDict[int, Hook] = OrderedDict()
GLOBAL_REGISTRATION_HOOKS: dict[str, OrderedDict[int, Hook]] = {
    "buffer": OrderedDict(), "module": OrderedDict(), "parameter": OrderedDict(),
}  # fmt: skip
_with_kwargs_globally: OrderedDict[int, bool] = OrderedDict()
_always_called_globally: OrderedDict[int, bool] = OrderedDict()
_old_kind_globally: OrderedDict[int, bool] = OrderedDict()


def _add(
    hooks: OrderedDict[int, Hook], hook: Hook, prepend: bool, *marks: tuple[OrderedDict[int, bool], bool]
) -> RemovableHandle:
    handle = RemovableHandle(hooks, *(mark for mark, _ in marks))
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    for mark, on in marks:
        if on:
            mark[handle.id] = True
    return handle


class Hookable:
    """The hooks of one module; the order is global hooks first, then the module's own in order of registration."""

    def _init_hooks(self) -> None:
        self.__dict__.update(
            _backward_pre_hooks=OrderedDict(),
            _backward_hooks=OrderedDict(),
            _is_full_backward_hook=None,
            _forward_hooks=OrderedDict(),
            _forward_hooks_with_kwargs=OrderedDict(),
            _forward_hooks_always_called=OrderedDict(),
            _forward_pre_hooks=OrderedDict(),
            _forward_pre_hooks_with_kwargs=OrderedDict(),
        )

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)`, or `hook(module, args, kwargs)`, before `forward`; what it returns replaces them.

        >>> import flambeau as fb
        >>> m = fb.nn.Identity()
        >>> with m.register_forward_pre_hook(lambda module, args: args[0] + 1):
        ...     m(fb.tensor(1))
        tensor(2)
        """
        return _add(self._forward_pre_hooks, hook, prepend, (self._forward_pre_hooks_with_kwargs, with_kwargs))

    def register_forward_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args, output)`, or `hook(module, args, kwargs, output)`, after `forward`.

        What it returns, unless None, replaces the output. With `always_call` it also runs where `forward` raised.
        """
        marks = (self._forward_hooks_with_kwargs, with_kwargs), (self._forward_hooks_always_called, always_call)
        return _add(self._forward_hooks, hook, prepend, *marks)

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` when the gradients of the outputs are known; it may replace them."""
        return _add(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` when the gradients of the module's inputs are known.

        What it returns, unless None, replaces `grad_input`. Raises RuntimeError on a module that has a hook of the old
        kind.
        """
        self._set_kind_of_backward_hooks(full=True)
        return _add(self._backward_hooks, hook, prepend)

    def register_backward_hook(self, hook: Hook) -> RemovableHandle:
        """The old form of `register_full_backward_hook`: sees the gradients of the last operation in `forward` only."""
        self._set_kind_of_backward_hooks(full=False)
        return _add(self._backward_hooks, hook, False)

    def _set_kind_of_backward_hooks(self, full: bool) -> None:
        if self._is_full_backward_hook is not None and self._is_full_backward_hook is not full:
            raise RuntimeError(
                "register_backward_hook and register_full_backward_hook cannot be mixed on one module; use only "
                "the latter"
            )
        self.__dict__["_is_full_backward_hook"] = full

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        called: set[int] = set()
        result = None
        try:
            return self._run_hooks_around_forward(args, kwargs, called)
        except Exception:
            for id_, hook, with_kwargs in self._all_forward_hooks():
                always = id_ in self._forward_hooks_always_called or id_ in _always_called_globally
                if not always or id_ in called:
                    continue
                try:
                    hook(self, args, kwargs, result) if with_kwargs else hook(self, args, result)
                except Exception as error:
                    warnings.warn(f"forward hook with always_call=True raised {error!r}; ignored", stacklevel=3)
            raise

    def _all_forward_hooks(self) -> list[tuple[int, Hook, bool]]:
        of_all = [(i, h, i in _with_kwargs_globally) for i, h in GLOBAL_FORWARD_HOOKS.items()]
        return of_all + [(i, h, i in self._forward_hooks_with_kwargs) for i, h in self._forward_hooks.items()]

    def _run_hooks_around_forward(self, args: tuple[Any, ...], kwargs: dict[str, Any], called: set[int]) -> Any:
        for id_, hook in (*GLOBAL_FORWARD_PRE_HOOKS.items(), *self._forward_pre_hooks.items()):
            if id_ in self._forward_pre_hooks_with_kwargs:
                replaced = hook(self, args, kwargs)
                if replaced is None:
                    continue
                if not (isinstance(replaced, tuple) and len(replaced) == 2):
                    raise RuntimeError(
                        f"forward pre-hook with kwargs must return None or (args, kwargs), got {replaced!r}"
                    )
                args, kwargs = replaced
            else:
                replaced = hook(self, args)
                if replaced is not None:
                    args = replaced if isinstance(replaced, tuple) else (replaced,)

        pre_hooks = [*GLOBAL_BACKWARD_PRE_HOOKS.values(), *self._backward_pre_hooks.values()]
        of_all, own = list(GLOBAL_BACKWARD_HOOKS.values()), list(self._backward_hooks.values())
        hooks = ([] if _old_kind_globally else of_all) + ([] if self._is_full_backward_hook is False else own)
        backward = _BackwardHooks(self, pre_hooks, hooks) if hooks or pre_hooks else None
        if backward is not None:
            args = backward.watch_inputs(args)
        result = self.forward(*args, **kwargs)
        for id_, hook, with_kwargs in self._all_forward_hooks():
            called.add(id_)
            replaced = hook(self, args, kwargs, result) if with_kwargs else hook(self, args, result)
            if replaced is not None:
                result = replaced
        if backward is not None:
            result = backward.watch_outputs(result)
        old_kind = (of_all if _old_kind_globally else []) + (own if self._is_full_backward_hook is False else [])
        if old_kind:
            self._watch_last_operation(result, old_kind)
        return result

    def _watch_last_operation(self, result: Any, hooks: list[Hook]) -> None:
        while not isinstance(result, Tensor):
            result = (
                next(v for v in result.values() if isinstance(v, Tensor)) if isinstance(result, dict) else result[0]
            )
        if result.grad_fn is not None:
            for hook in hooks:
                result.grad_fn.register_hook(
                    lambda grad_input, grad_output, hook=hook: hook(self, grad_input, grad_output)
                )


class _Watch(fb.autograd.Function):
    """The identity on its tensors; hands their gradients to a callback, which returns what to pass on."""

    @staticmethod
    def forward(ctx: Any, callback: Hook, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.callback = callback
        ctx.set_materialize_grads(False)
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return None, *ctx.callback(grads)


class _BackwardHooks:
    """Runs a module's full backward hooks during one backward pass: outputs first, then inputs."""

    def __init__(self, module: Any, pre_hooks: list[Hook], hooks: list[Hook]) -> None:
        self.module, self.pre_hooks, self.hooks = module, pre_hooks, hooks
        self.grad_outputs: tuple[Tensor | None, ...] | None = None
        self.inputs_watched: list[int] = []
        self.inputs_constant: list[tuple[int, Any, Any, Any]] = []
        self.n_inputs = 0

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.n_inputs = len(args)
        if self.hooks and fb.is_grad_enabled() and any(isinstance(a, Tensor) and a.requires_grad for a in args):
            tensors = [(i, a) for i, a in enumerate(args) if isinstance(a, Tensor)]
            self.inputs_watched = [i for i, a in tensors if a.requires_grad]
            self.inputs_constant = [(i, a.shape, a.dtype, a.device) for i, a in tensors if not a.requires_grad]
            args = _replace(args, self.inputs_watched, self._on_grad_inputs)
        return args

    def watch_outputs(self, result: Any) -> Any:
        outputs = (result,) if isinstance(result, Tensor) else result
        if not isinstance(outputs, tuple):
            warnings.warn(
                "backward hooks of a module need its output to be a tensor or a tuple of tensors, got "
                f"{type(result).__name__}; they will not be called", stacklevel=4,
            )  # fmt: skip
            return result
        watched = [i for i, o in enumerate(outputs) if isinstance(o, Tensor) and o.requires_grad]
        if not watched:
            return result
        self.n_outputs, self.outputs_watched = len(outputs), watched
        outputs = _replace(outputs, watched, self._on_grad_outputs)
        return outputs[0] if isinstance(result, Tensor) else outputs

    def _on_grad_outputs(self, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        full = _spread(grads, self.outputs_watched, self.n_outputs)
        for hook in self.pre_hooks:
            full = _checked(hook(self.module, full), full)
        self.grad_outputs = full
        if not self.inputs_watched:
            for hook in self.hooks:
                replaced = hook(self.module, (None,) * self.n_inputs, full)
                if replaced is not None and any(g is not None for g in replaced):
                    raise RuntimeError(
                        "backward hook: no input of this module requires a gradient, so the hook must return None, "
                        f"got {type(replaced).__name__}"
                    )
        return tuple(full[i] for i in self.outputs_watched)

    def _on_grad_inputs(self, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        if self.grad_outputs is None:
            return grads
        full = _spread(grads, self.inputs_watched, self.n_inputs, self.inputs_constant)
        for hook in self.hooks:
            full = _checked(hook(self.module, full, self.grad_outputs), full)
        self.grad_outputs = None
        return tuple(full[i] for i in self.inputs_watched)


def _replace(values: tuple[Any, ...], where: list[int], callback: Hook) -> tuple[Any, ...]:
    watched = iter(_Watch.apply(callback, *(values[i] for i in where)))
    new = [next(watched) if i in where else v for i, v in enumerate(values)]
    return type(values)(*new) if hasattr(values, "_fields") else tuple(new)


def _spread(
    grads: tuple[Tensor | None, ...], where: list[int], n: int, constant: Sequence[tuple[int, Any, Any, Any]] = ()
) -> tuple[Tensor | None, ...]:
    """One gradient for each of n values: zeros for tensors that need none, None for what isn't a tensor."""
    full: list[Tensor | None] = [None] * n
    for i, grad in zip(where, grads, strict=True):
        full[i] = grad
    for i, shape, dtype, device in constant:
        full[i] = fb.zeros(shape, dtype=dtype, device=device)
    return tuple(full)


def _checked(replaced: Any, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    if replaced is None:
        return grads
    replaced = replaced if isinstance(replaced, tuple) else (replaced,)
    if len(replaced) != len(grads):
        raise RuntimeError(
            f"backward hook returned an invalid number of gradients: got {len(replaced)}, expected {len(grads)}"
        )
    return replaced


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, args)` before every module's `forward`; what it returns replaces the arguments."""
    return _add(GLOBAL_FORWARD_PRE_HOOKS, hook, False)


def register_module_forward_hook(
    hook: Hook, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call `hook(module, args, output)` after every module's `forward`; what it returns replaces the output."""
    marks = (_with_kwargs_globally, with_kwargs), (_always_called_globally, always_call)
    return _add(GLOBAL_FORWARD_HOOKS, hook, False, *marks)


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, grad_output)` for every module when the gradients of its outputs are known."""
    return _add(GLOBAL_BACKWARD_PRE_HOOKS, hook, False)


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, grad_input, grad_output)` for every module when the gradients of its inputs are known.

    Raises:
        RuntimeError: while there is a hook of the old kind.
    """
    _check_kind(mixed=bool(_old_kind_globally))
    return _add(GLOBAL_BACKWARD_HOOKS, hook, False)


def register_module_backward_hook(hook: Hook) -> RemovableHandle:
    """The old form of `register_module_full_backward_hook`: sees the gradients of the last operation in `forward`
    only.
    """
    _check_kind(mixed=len(GLOBAL_BACKWARD_HOOKS) > len(_old_kind_globally))
    return _add(GLOBAL_BACKWARD_HOOKS, hook, False, (_old_kind_globally, True))


def _check_kind(mixed: bool) -> None:
    if mixed:
        raise RuntimeError(
            "register_module_backward_hook and register_module_full_backward_hook cannot be mixed; use only the latter"
        )


def register_module_buffer_registration_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, name, buffer)` whenever a buffer is registered; what it returns replaces the buffer."""
    return _add(GLOBAL_REGISTRATION_HOOKS["buffer"], hook, False)


def register_module_module_registration_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, name, submodule)` whenever a submodule is registered; what it returns replaces it."""
    return _add(GLOBAL_REGISTRATION_HOOKS["module"], hook, False)


def register_module_parameter_registration_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, name, parameter)` whenever a parameter is registered; what it returns replaces it."""
    return _add(GLOBAL_REGISTRATION_HOOKS["parameter"], hook, False)
