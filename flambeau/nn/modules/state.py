"""`state_dict` and `load_state_dict`: a module's parameters and persistent buffers by name, out and in.

`Stateful` is this part of `Module`; names, order, metadata and messages are PyTorch's, so that checkpoints travel both
ways. Imports the tensor core. Read next: `module.py`.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flambeau as fb
from flambeau import Tensor
from flambeau.nn.modules.hooks import Hook, RemovableHandle
from flambeau.nn.parameter import Parameter, is_lazy

EXTRA_STATE_SUFFIX = "_extra_state"


class _Keys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


class IncompatibleKeys(_Keys):
    """What `load_state_dict(strict=False)` couldn't match."""

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys!r}, unexpected_keys={self.unexpected_keys!r})"

    __str__ = __repr__


class Stateful:
    """The part of `Module` that saves and loads; a class sets `_version` when the meaning of its entries changes."""

    _version: int | None = 1

    def _init_state_hooks(self) -> None:
        self.__dict__.update(
            _state_dict_hooks=OrderedDict(),
            _state_dict_pre_hooks=OrderedDict(),
            _load_state_dict_pre_hooks=OrderedDict(),
            _load_state_dict_post_hooks=OrderedDict(),
        )

    def get_extra_state(self) -> Any:
        """What else, besides tensors, `state_dict()` should hold; override together with `set_extra_state`."""
        raise RuntimeError("get_extra_state: not overridden; define get_extra_state() and set_extra_state() together")

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` returned."""
        raise RuntimeError("set_extra_state: not overridden; define get_extra_state() and set_extra_state() together")

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers of this module and those inside it, by dotted name, sharing their memory.

        Args:
            destination: a dictionary to fill instead of a new one.
            prefix: put before every name.
            keep_vars: return the parameters themselves instead of detached tensors.

        >>> import flambeau as fb
        >>> list(fb.nn.Linear(2, 3).state_dict())
        ['weight', 'bias']
        """
        if args:  # the positional form of old programs
            destination = args[0]
            prefix = args[1] if len(args) > 1 else prefix
            keep_vars = args[2] if len(args) > 2 else keep_vars
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            replaced = hook(self, destination, prefix, local_metadata)
            destination = destination if replaced is None else replaced
        return destination

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        for name, tensor in self._own_state():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if type(self).get_extra_state is not Stateful.get_extra_state:
            destination[prefix + EXTRA_STATE_SUFFIX] = self.get_extra_state()

    def _own_state(self) -> list[tuple[str, Tensor]]:
        persistent = ((k, b) for k, b in self._buffers.items() if k not in self._non_persistent_buffers_set)
        return [(k, t) for k, t in itertools.chain(self._parameters.items(), persistent) if t is not None]

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy the entries of `state_dict` into the parameters and buffers of the same names.

        Args:
            strict: raise where the names don't match exactly.
            assign: let the entries take the place of the module's tensors instead of copying their values.

        Returns the missing and unexpected names.

        Raises:
            RuntimeError: with every name that didn't match and every tensor of another shape.

        >>> import flambeau as fb
        >>> fb.nn.Linear(2, 3).load_state_dict(fb.nn.Linear(2, 3).state_dict())
        <All keys matched successfully>
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: expected a mapping of names to tensors, got {type(state_dict).__name__}")
        missing_keys: list[str] = []
        unexpected_keys: list[str] = []
        error_msgs: list[str] = []
        metadata = getattr(state_dict, "_metadata", None)
        entries: OrderedDict[str, Any] = OrderedDict(state_dict)
        if metadata is not None:
            entries._metadata = metadata

        def load(module: Any, entries: Mapping[str, Any], prefix: str) -> None:
            local_metadata = {} if metadata is None else metadata.get(prefix[:-1], {})
            if assign:
                local_metadata["assign_to_params_buffers"] = True
            module._load_from_state_dict(
                entries, prefix, local_metadata, True, missing_keys, unexpected_keys, error_msgs
            )
            for name, child in module._modules.items():
                if child is not None:
                    inner = f"{prefix}{name}."
                    load(child, {k: v for k, v in entries.items() if k.startswith(inner)}, inner)
            incompatible = IncompatibleKeys(missing_keys, unexpected_keys)
            for hook in module._load_state_dict_post_hooks.values():
                if hook(module, incompatible) is not None:
                    raise RuntimeError(
                        "load_state_dict: a post-hook must change the lists it is given, and return None"
                    )

        load(self, entries, "")
        if strict:
            for title, keys in (("Missing", missing_keys), ("Unexpected", unexpected_keys)):
                if keys:
                    names = ", ".join(f'"{k}"' for k in keys)
                    error_msgs.insert(0, f"{title} key(s) in state_dict: {names}. ")
            if len(error_msgs) > 1 and missing_keys and unexpected_keys:
                error_msgs[0], error_msgs[1] = error_msgs[1], error_msgs[0]
        if error_msgs:
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(error_msgs)
            )
        return IncompatibleKeys(missing_keys, unexpected_keys)

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], strict: bool,
        missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        """Load this module's own entries, not those of the modules inside; note in the lists what went wrong."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        assign = local_metadata.get("assign_to_params_buffers", False)
        own = dict(self._own_state())
        for name, tensor in own.items():
            key = prefix + name
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
            else:
                problem = self._load_tensor(name, tensor, key, state_dict[key], assign)
                if problem:
                    error_msgs.append(problem)
        extra = prefix + EXTRA_STATE_SUFFIX
        takes_extra = type(self).set_extra_state is not Stateful.set_extra_state
        if takes_extra and extra in state_dict:
            self.set_extra_state(state_dict[extra])
        elif takes_extra and strict:
            missing_keys.append(extra)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and not (key == extra and takes_extra):
                    head, dot, _ = key[len(prefix) :].partition(".")
                    if head not in own and not (dot and head in self._modules):
                        unexpected_keys.append(key)

    def _load_tensor(self, name: str, tensor: Tensor, key: str, value: Any, assign: bool) -> str | None:
        if not isinstance(value, Tensor):
            return (
                f'While copying the parameter named "{key}", expected a tensor from the checkpoint '
                f"but received {type(value)}"
            )
        if is_lazy(value):
            # A module that still waits for its shapes takes what waits too; any other one has nothing to take.
            if is_lazy(tensor):
                return None
            return (
                f'While copying the parameter named "{key}", got {value!r}: the checkpoint is of a module that was '
                "never called; call it once before saving"
            )
        if tensor.dim() == 0 and value.shape == (1,):  # scalars were saved as vectors of one element once
            value = value[0]
        if tensor.shape != value.shape:
            return (
                f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, "
                f"the shape in current model is {tensor.shape}."
            )
        try:
            if assign:
                if isinstance(tensor, Parameter) and not isinstance(value, Parameter):
                    value = Parameter(value, requires_grad=tensor.requires_grad)
                setattr(self, name, value)
            else:
                with fb.no_grad():
                    tensor.copy_(value)
        except Exception as error:
            return (
                f'While copying the parameter named "{key}", whose dimensions in the model are {tensor.shape} '
                f"and whose dimensions in the checkpoint are {value.shape}, an exception occurred : {error.args}."
            )
        return None

    def register_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(module, prefix, keep_vars)` before `state_dict` collects this module's entries."""
        return _register(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(module, state_dict, prefix, local_metadata)` after `state_dict` collected the entries."""

        def in_place(*args: Any) -> None:
            if hook(*args) is not None:
                raise RuntimeError("state_dict: a post-hook must change the dictionary it is given, and return None")

        return _register(self._state_dict_hooks, in_place)

    def _register_state_dict_hook(self, hook: Hook) -> RemovableHandle:
        return _register(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(module, state_dict, prefix, metadata, strict, missing, unexpected, errors)` before loading."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(self, hook: Hook, with_module: bool = False) -> RemovableHandle:
        return _register(self._load_state_dict_pre_hooks, _WithModule(hook, self) if with_module else hook)

    def register_load_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(module, incompatible_keys)` after loading; it may change the two lists."""
        return _register(self._load_state_dict_post_hooks, hook)


class _WithModule:
    """A hook bound to its module; copying the module copies the binding."""

    def __init__(self, hook: Callable[..., Any], module: Any) -> None:
        self.hook, self.module = hook, module

    def __call__(self, *args: Any) -> Any:
        return self.hook(self.module, *args)


def _register(hooks: OrderedDict[int, Hook], hook: Hook) -> RemovableHandle:
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle
