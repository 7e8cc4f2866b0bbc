"""Module: the base of every layer and model. Attributes that are parameters, buffers or modules are registered by name.

A module is called like a function; without hooks that costs one Python frame above `forward`. An error raised inside
`forward` gets a note that names the module's path in the model. The three mixins hold the rest: `tree.py` (walking and
converting), `state.py` (state_dict), `hooks.py`. Imports nothing else of nn but `parameter.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau import Tensor
from flambeau.nn.modules.hooks import (
    GLOBAL_BACKWARD_HOOKS,
    GLOBAL_BACKWARD_PRE_HOOKS,
    GLOBAL_FORWARD_HOOKS,
    GLOBAL_FORWARD_PRE_HOOKS,
    GLOBAL_REGISTRATION_HOOKS,
    Hookable,
    RemovableHandle,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from flambeau.nn.modules.state import IncompatibleKeys as _IncompatibleKeys
from flambeau.nn.modules.state import Stateful
from flambeau.nn.modules.tree import Tree
from flambeau.nn.parameter import Buffer, Parameter

# Where PyTorch programs import them from.
__all__ = [
    "Module", "RemovableHandle", "_IncompatibleKeys", "register_module_backward_hook",
    "register_module_buffer_registration_hook", "register_module_forward_hook", "register_module_forward_pre_hook",
    "register_module_full_backward_hook", "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook", "register_module_parameter_registration_hook",
]  # fmt: skip


class Module(Tree, Stateful, Hookable):
    """Base class of all layers and models: subclass it, assign layers in `__init__`, compute in `forward`.

    >>> import flambeau as fb
    >>> class Net(fb.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc = fb.nn.Linear(4, 2)
    ...     def forward(self, x):
    ...         return self.fc(x).relu()
    >>> Net()
    Net(
      (fc): Linear(in_features=4, out_features=2, bias=True)
    )
    >>> Net()(fb.ones(3, 4)).shape
    flambeau.Size([3, 2])
    """

    training: bool
    call_super_init: bool = False
    dump_patches: bool = False
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            if kwargs:
                what = f"got an unexpected keyword argument '{next(iter(kwargs))}'"
            else:
                what = f"takes 1 positional argument but {len(args) + 1} were given"
            raise TypeError(f"{type(self).__name__}.__init__() {what}")
        self.__dict__.update(training=True, _parameters={}, _buffers={}, _non_persistent_buffers_set=set(), _modules={})
        self._init_hooks()
        self._init_state_hooks()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass defines it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if (
                self._forward_hooks
                or self._forward_pre_hooks
                or self._backward_hooks
                or self._backward_pre_hooks
                or GLOBAL_FORWARD_HOOKS
                or GLOBAL_FORWARD_PRE_HOOKS
                or GLOBAL_BACKWARD_HOOKS
                or GLOBAL_BACKWARD_PRE_HOOKS
            ):
                return self._call_with_hooks(args, kwargs)
            return self.forward(*args, **kwargs)
        except Exception as error:
            _note_where(error, self)
            raise

    # Registration

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under `name`; None reserves the name, and `parameters()` and `state_dict()` leave it out.

        Raises:
            TypeError: where `param` is not a Parameter.
            KeyError: where `name` is empty, has a dot, or is taken.
            ValueError: where `param` was computed from other tensors.
        """
        self._check_name("parameter", name, self._registry("_parameters", "parameter"))
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{_type_name(param)}' object to parameter '{name}' (nn.Parameter or None required)"
            )
        if param is not None and param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created explicitly. "
                f"To express '{name}' as a function of another Tensor, compute the value in the forward() method."
            )
        self._parameters[name] = None if param is None else self._announce("parameter", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is part of the state but not learnt; `persistent=False` keeps it out of `state_dict()`.

        Raises:
            TypeError: where `tensor` is not a tensor.
            KeyError: where `name` is empty, has a dot, or is taken.
        """
        self._check_name("buffer", name, self._registry("_buffers", "buffer"))
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign '{_type_name(tensor)}' object to buffer '{name}' (Tensor or None required)")
        self._buffers[name] = self._announce("buffer", name, tensor)
        (self._non_persistent_buffers_set.discard if persistent else self._non_persistent_buffers_set.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a module inside this one under `name`; None reserves the name.

        Raises:
            TypeError: where `module` is not a Module.
            KeyError: where `name` is empty, has a dot, or is taken.
        """
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{_type_name(module)} is not a Module subclass")
        self._check_name("module", name, self._registry("_modules", "module"))
        self._modules[name] = self._announce("module", name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as `add_module`."""
        self.add_module(name, module)

    def _registry(self, registry: str, kind: str) -> dict[str, Any]:
        found = self.__dict__.get(registry)
        if found is None:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        return found

    def _check_name(self, kind: str, name: str, registry: dict[str, Any]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {_type_name(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if name not in registry and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def _announce(self, kind: str, name: str, value: Any) -> Any:
        for hook in GLOBAL_REGISTRATION_HOOKS[kind].values():
            replaced = hook(self, name, value)
            value = value if replaced is None else replaced
        return value

    # Attributes

    def __getattr__(self, name: str) -> Any:
        # Spelt out rather than looped: a layer's forward comes here for each parameter.
        attributes = self.__dict__
        if "_parameters" in attributes:
            found = attributes["_parameters"]
            if name in found:
                return found[name]
        if "_buffers" in attributes:
            found = attributes["_buffers"]
            if name in found:
                return found[name]
        if "_modules" in attributes:
            found = attributes["_modules"]
            if name in found:
                return found[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        attributes = self.__dict__
        if isinstance(value, Parameter):
            self._registry("_parameters", "parameters")
            self._forget(name, "__dict__", "_buffers", "_modules")
            self.register_parameter(name, value)
        elif name in attributes.get("_parameters", ()):
            if value is not None:
                what = f"cannot assign '{_type_name(value)}' as parameter '{name}'"
                raise TypeError(f"{what} (nn.Parameter or None expected)")
            self.register_parameter(name, None)
        elif isinstance(value, Module):
            modules = self._registry("_modules", "module")
            self._forget(name, "__dict__", "_parameters", "_buffers")
            modules[name] = self._announce("module", name, value)
        elif name in attributes.get("_modules", ()):
            if value is not None:
                what = f"cannot assign '{_type_name(value)}' as child module '{name}'"
                raise TypeError(f"{what} (nn.Module or None expected)")
            attributes["_modules"][name] = self._announce("module", name, None)
        elif isinstance(value, Buffer):
            self._registry("_buffers", "buffers")
            self._forget(name, "__dict__", "_parameters", "_modules")
            self.register_buffer(name, value, value.persistent)
        elif name in attributes.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                what = f"cannot assign '{_type_name(value)}' as buffer '{name}'"
                raise TypeError(f"{what} (nn.Buffer, Tensor or None expected)")
            attributes["_buffers"][name] = self._announce("buffer", name, value)
        else:
            object.__setattr__(self, name, value)

    def _forget(self, name: str, *registries: str) -> None:
        for registry in registries:
            found = self.__dict__ if registry == "__dict__" else self.__dict__.get(registry)
            if found is not None:
                found.pop(name, None)
        persistent = self.__dict__.get("_non_persistent_buffers_set")
        if persistent is not None:
            persistent.discard(name)

    def __delattr__(self, name: str) -> None:
        for registry in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__[registry]:
                del self.__dict__[registry][name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> Iterable[str]:
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers}
        return sorted(n for n in names if not n[:1].isdigit())

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._init_hooks()  # a module pickled by an older version may lack some
        self._init_state_hooks()
        self.__dict__.update(state)

    # Text

    def extra_repr(self) -> str:
        """What `repr` shows between the parentheses besides the modules inside; override it in a layer."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {_indented(repr(child))}" for name, child in self._modules.items()]
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({lines[0]})"
        body = "".join(f"\n  {line}" for line in lines + children)
        return f"{self._get_name()}({body}\n)" if body else f"{self._get_name()}()"


class _Where(str):
    """The note on an error that says in which module it was raised; knows that module, so that a parent can name it."""

    module: Module


def _note_where(error: Exception, module: Module) -> None:
    # Each module on the way out replaces the note by one with the path seen from itself, so the root has the last word.
    notes: list[str] = getattr(error, "__notes__", [])
    at = next((i for i, note in enumerate(notes) if isinstance(note, _Where)), None)
    culprit = module if at is None else notes[at].module
    path = next((path for path, m in module.named_modules() if m is culprit), "")
    shown = type(culprit).__name__ if culprit._modules else repr(culprit)
    where = _Where(
        f"raised in module {path}: {shown}, of {type(module).__name__}" if path else f"raised in module {shown}"
    )
    where.module = culprit
    if at is None:
        error.add_note(where)
    elif path:
        notes[at] = where


def _type_name(value: object) -> str:
    # As PyTorch's messages have it: the module too, unless it is a builtin.
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")
