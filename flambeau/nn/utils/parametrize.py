"""Parametrizations: a module's tensor as a function of other tensors, which are what is trained.

`module.weight` becomes a property that calls the modules in `module.parametrizations.weight`, a chain from what is
stored (`original`, or `original0`, `original1`, …) to what `forward` uses; assigning to it goes through the chain's
`right_inverse`. Imports nn.modules. Read next: `parametrizations.py`.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.nn.modules.container import ModuleDict, ModuleList
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization", "remove_parametrizations",
    "transfer_parametrizations_and_params", "type_before_parametrizations",
]  # fmt: skip

_caching = 0  # how many `cached()` blocks are open
_cache: dict[tuple[int, str], Tensor] = {}


@contextmanager
def cached() -> Iterator[None]:
    """Within, each parametrized tensor is computed once, at its first use: for weights shared or used in a loop.

    >>> import flambeau as fb
    >>> from flambeau.nn.utils import parametrize
    >>> layer = fb.nn.utils.parametrizations.weight_norm(fb.nn.Linear(2, 2))
    >>> with parametrize.cached():
    ...     layer.weight is layer.weight
    True
    """
    global _caching
    _caching += 1
    try:
        yield
    finally:
        _caching -= 1
        if not _caching:
            _cache.clear()


def _register(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _check_like(new: Any, old: Tensor, what: str, shape: bool = True) -> None:
    if not isinstance(new, Tensor):
        raise ValueError(f"{what} must return a tensor. Got {type(new).__name__}.")
    if new.dtype != old.dtype:
        raise ValueError(
            f"{what} may not change the dtype, got {new.dtype} for {old.dtype}; pass unsafe=True to allow it"
        )
    if shape and new.shape != old.shape:
        raise ValueError(
            f"{what} may not change the shape, got {new.shape} for {old.shape}; pass unsafe=True to allow it"
        )


class ParametrizationList(ModuleList):
    """The chain of parametrizations of one tensor, and what it starts from.

    Args:
        modules: the chain, in the order they are applied.
        original: the tensor's value so far; goes through the chain's `right_inverse`s where there are such.
        unsafe: don't check that dtype and shape stay.

    Raises:
        ValueError: where a result isn't a tensor, or changes its dtype or shape.

    >>> layer = fb.nn.utils.parametrizations.orthogonal(fb.nn.Linear(2, 2))
    >>> type(layer.parametrizations.weight).__name__, len(layer.parametrizations.weight)
    ('ParametrizationList', 1)
    """

    original: Tensor
    unsafe: bool

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        before = original.detach()
        new: Any = original
        with fb.no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    try:
                        new = module.right_inverse(new)
                    except NotImplementedError:
                        pass  # a chain that can't be inverted starts from the value as it is
        self.is_tensor = isinstance(new, Tensor)
        if self.is_tensor:
            self.ntensors = 1
            _check_like(new, original, "right_inverse, of one tensor,", shape=False)
            original.data = new.detach()
            _register(self, "original", original)
        else:
            if not isinstance(new, Sequence) or not all(isinstance(t, Tensor) for t in new):
                raise ValueError(
                    "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                    f"Got {type(new).__name__}"
                )
            self.ntensors = len(new)
            for i, tensor in enumerate(new):
                if isinstance(original, Parameter):
                    tensor = Parameter(tensor, original.requires_grad)
                _register(self, f"original{i}", tensor.requires_grad_(original.requires_grad))
        if not unsafe:
            _check_like(self(), before, "A parametrization")

    def _originals(self) -> list[Tensor]:
        return [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Set what is stored so that the chain gives `value`, as far as its `right_inverse`s go.

        Raises:
            RuntimeError: where a parametrization has none.
            ValueError: where the result doesn't fit what is stored.
        """
        new: Any = value
        with fb.no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
                new = module.right_inverse(new)
            if not self.is_tensor and (not isinstance(new, Sequence) or len(new) != self.ntensors):
                raise ValueError(f"'right_inverse' must return a sequence of {self.ntensors} tensors, got {new!r}")
            values = [new] if self.is_tensor else list(new)
            for tensor, original in zip(values, self._originals(), strict=True):
                _check_like(tensor, original, "`right_inverse`", shape=False)
            for tensor, original in zip(values, self._originals(), strict=True):
                original.data = tensor.detach()

    def forward(self) -> Tensor:
        """The tensor: the chain applied to what is stored."""
        first, *others = self
        x = first(*self._originals())
        for module in others:
            x = module(x)
        return x


def _give_own_class(module: Module) -> None:
    cls = type(module)

    def no_pickle(self: Module) -> Any:
        raise RuntimeError(
            "Serialization of parametrized modules is only supported through state_dict(); save that, and build the "
            "module and its parametrizations again before loading it"
        )

    def copy(self: Module, memo: dict[int, Any]) -> Module:
        if id(self) not in memo:
            memo[id(self)] = replica = type(self).__new__(type(self))
            replica.__dict__.update(deepcopy(self.__dict__, memo))
            for slot in copyreg._slotnames(type(self)):  # type: ignore[attr-defined]
                if hasattr(self, slot):
                    setattr(replica, slot, deepcopy(getattr(self, slot), memo))
        return memo[id(self)]

    body: dict[str, Any] = {"__getstate__": no_pickle}
    if not hasattr(cls, "__deepcopy__"):
        body["__deepcopy__"] = copy
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), body)


def _property(name: str) -> property:
    def value(self: Module) -> Tensor:
        chain = self.parametrizations[name]
        if not _caching:
            return chain()
        key = id(self), name
        if key not in _cache:
            _cache[key] = chain()
        return _cache[key]

    def assign(self: Module, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(value, assign)


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let `module`'s tensor of that name be what `parametrization` makes of the one it has now; returns `module`.

    A second one is applied to the result of the first. `module` gets a class of its own, `Parametrized…`; its
    parameters are then named `parametrizations.<name>.original`, or `original0`, … where `right_inverse` returns
    several tensors.

    Args:
        unsafe: the parametrization may change dtype and shape.

    Raises:
        ValueError: where there is no such parameter or buffer, or the result doesn't have its dtype and shape.

    >>> import flambeau as fb
    >>> class Symmetric(fb.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).mT
    >>> layer = fb.nn.utils.parametrize.register_parametrization(fb.nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.mT).all()), [name for name, _ in layer.named_parameters()]
    (True, ['bias', 'parametrizations.weight.original'])
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        chain = module.parametrizations[tensor_name]
        if not unsafe:
            before = getattr(module, tensor_name)
            after = parametrization(before)
            _check_like(after, before, "A parametrization")
            if hasattr(parametrization, "right_inverse"):
                try:
                    back = parametrization.right_inverse(after)
                except NotImplementedError:
                    pass
                else:
                    _check_like(back, before, "right_inverse")
        chain.append(parametrization)
        chain.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        chain = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _give_own_class(module)
            module.parametrizations = ModuleDict()
        setattr(type(module), tensor_name, _property(tensor_name))
        module.parametrizations[tensor_name] = chain
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
            f"'{tensor_name}'"
        )
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module's tensor of that name, or where None any of its tensors, is parametrized.

    >>> layer = fb.nn.utils.parametrizations.weight_norm(fb.nn.Linear(2, 2))
    >>> P = fb.nn.utils.parametrize
    >>> P.is_parametrized(layer), P.is_parametrized(layer, "bias")
    (True, False)
    """
    parametrizations = module.__dict__.get("_modules", {}).get("parametrizations")
    if not isinstance(parametrizations, ModuleDict):
        return False
    return len(parametrizations) > 0 if tensor_name is None else tensor_name in parametrizations


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make the tensor an ordinary parameter or buffer again; returns `module`.

    Args:
        leave_parametrized: with its present value; otherwise with the original one.

    Raises:
        ValueError: where it isn't parametrized, or several originals would have to become one.

    >>> layer = fb.nn.utils.parametrizations.orthogonal(fb.nn.Linear(2, 2))
    >>> layer = fb.nn.utils.parametrize.remove_parametrizations(layer, "weight")
    >>> type(layer.weight).__name__, (layer.weight @ layer.weight.T).allclose(fb.eye(2), atol=1e-6)
    ('Parameter', True)
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    chain = module.parametrizations[tensor_name]
    if chain.is_tensor:
        original = chain.original
        if leave_parametrized:
            with fb.no_grad():
                original.data = getattr(module, tensor_name).detach()
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        original = Parameter(value) if value.requires_grad else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors."
        )
    cls = type(module)
    delattr(cls, tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = cls.__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The module's class without its parametrizations.

    >>> layer = fb.nn.utils.parametrizations.orthogonal(fb.nn.Linear(2, 2))
    >>> type(layer).__name__, fb.nn.utils.parametrize.type_before_parametrizations(layer).__name__
    ('ParametrizedLinear', 'Linear')
    """
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Give `to_module` the parametrizations of `from_module`, and what they start from; returns `to_module`.

    Args:
        tensor_name: only this tensor's.

    >>> P = fb.nn.utils.parametrize
    >>> a, b = fb.nn.utils.parametrizations.orthogonal(fb.nn.Linear(2, 2)), fb.nn.Linear(2, 2)
    >>> _ = P.transfer_parametrizations_and_params(a, b)
    >>> fb.equal(a.weight, b.weight)
    True
    """
    if not is_parametrized(from_module):
        return to_module
    for name in list(from_module.parametrizations) if tensor_name is None else [tensor_name]:
        source = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name)))
        for parametrization in source:
            register_parametrization(to_module, name, parametrization)
        target = to_module.parametrizations[name]
        names = ["original"] if source.is_tensor else [f"original{i}" for i in range(source.ntensors)]
        for original in names:
            setattr(target, original, getattr(source, original))
    return to_module
