"""The tree of modules: walking it, looking things up by dotted name, and applying a function to all tensors.

`Tree` is this part of `Module`. Imports the tensor core. Read next: `module.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import flambeau as fb
from flambeau import Tensor
from flambeau.nn.parameter import Parameter, is_lazy


class Tree:
    """Traversal, lookup and whole-tree changes of a module; each entry of `_modules` is a child."""

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """All modules of the tree with their dotted names, this one (named `prefix`) first, each once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Any]:
        """All modules of the tree, this one first, each once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """The modules directly inside this one, with their names, each once."""
        seen = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Any]:
        """The modules directly inside this one, each once."""
        for _, child in self.named_children():
            yield child

    def _named_members(
        self, members: Callable[[Any], Any], prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in members(module):
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield f"{path}.{name}" if path else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their dotted names; with `recurse=False` only this module's own.

        >>> import flambeau as fb
        >>> [name for name, _ in fb.nn.Sequential(fb.nn.Linear(2, 2)).named_parameters()]
        ['0.weight', '0.bias']
        """
        yield from self._named_members(lambda m: m._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once: what an optimizer is given."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their dotted names; with `recurse=False` only this module's own."""
        yield from self._named_members(lambda m: m._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Any:
        """The module with this dotted name; `""` is the module itself.

        Raises:
            AttributeError: with the name that isn't there and the module that lacks it.
        """
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(
                    f"{type(module).__name__} has no attribute `{name}`; get_submodule was asked for {target!r}"
                )
            module = getattr(module, name)
            if not isinstance(module, Tree):
                raise AttributeError(f"`{name}` is not an nn.Module; get_submodule was asked for {target!r}")
        return module

    def set_submodule(self, target: str, module: Any, strict: bool = False) -> None:
        """Put `module` at this dotted name; with `strict` there must be a module there already."""
        path, _, name = target.rpartition(".")
        if not name:
            raise ValueError(f"set_submodule: expected the dotted name of a submodule, got {target!r}")
        if not isinstance(module, Tree):
            raise ValueError(f"set_submodule: expected an nn.Module, got {type(module).__name__}")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{type(parent).__name__} has no attribute `{name}`; pass strict=False to add it")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Tree):
            raise AttributeError(f"`{name}` is not an nn.Module; set_submodule was asked for {target!r}")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with this dotted name; AttributeError where there is none."""
        return self._get_member(target, "_parameters", "an nn.Parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with this dotted name; AttributeError where there is none."""
        return self._get_member(target, "_buffers", "a buffer")

    def _get_member(self, target: str, registry: str, what: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`; it was asked for as {target!r}")
        if name not in getattr(module, registry) and not (
            registry == "_parameters" and isinstance(getattr(module, name), Parameter)
        ):
            raise AttributeError(f"`{name}` is not {what}")
        return getattr(module, name)

    def apply(self, fn: Callable[[Any], object]) -> Self:
        """Call `fn` on every module of the tree, children first; typically to initialise parameters."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        if recurse:
            for child in self.children():
                child._apply(fn)
        for name, parameter in self._parameters.items():
            if parameter is None:
                continue
            with fb.no_grad():
                applied = fn(parameter)
                grad = None if parameter.grad is None else fn(parameter.grad)
            if parameter.device.type == applied.device.type:
                parameter.data = applied
            else:
                parameter = Parameter(applied, parameter.requires_grad)
                self._parameters[name] = parameter
            if grad is not None:
                parameter.grad = grad
        for name, buffer in self._buffers.items():
            if is_lazy(buffer):
                buffer.data = fn(buffer)
            elif buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move and convert parameters and buffers in place: `to(device)`, `to(dtype)`, `to(device, dtype)`,
        `to(tensor)`.

        Only floating-point and complex tensors change their dtype, and only those of 4 or 5 dimensions their
        `memory_format`.

        Raises:
            TypeError: where the dtype is an integer type.
        """
        memory_format = kwargs.pop("memory_format", None)
        device, dtype, non_blocking = _parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            )

        def convert(t: Tensor) -> Tensor:
            converts = t.is_floating_point() or t.is_complex()
            wanted = dtype if converts else None
            # A memory format is for tensors of images and volumes: the others keep theirs.
            format = memory_format if memory_format is not None and t.dim() in (4, 5) else None
            return t.to(device=device, dtype=wanted, non_blocking=non_blocking, memory_format=format)

        return self._apply(convert)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Move parameters and buffers to `device` without copying their values."""
        return self._apply(lambda t: fb.empty_like(t, device=device), recurse)

    def type(self, dst_type: Any) -> Self:
        """Convert all parameters and buffers to a dtype."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self) -> Self:
        """Convert floating-point parameters and buffers to float32."""
        return self._to_floating(fb.float32)

    def double(self) -> Self:
        """Convert floating-point parameters and buffers to float64."""
        return self._to_floating(fb.float64)

    def half(self) -> Self:
        """Convert floating-point parameters and buffers to float16."""
        return self._to_floating(fb.float16)

    def bfloat16(self) -> Self:
        """Convert floating-point parameters and buffers to bfloat16."""
        return self._to_floating(fb.bfloat16)

    def _to_floating(self, dtype: Any) -> Self:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def cpu(self) -> Self:
        """Move parameters and buffers to the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Self:
        """Move parameters and buffers to a CUDA device."""
        return self._apply(lambda t: t.cuda(device))

    def share_memory(self) -> Self:
        """Move the memory of parameters and buffers to where other processes can map it."""
        return self._apply(lambda t: t.share_memory_())

    def train(self, mode: bool = True) -> Self:
        """Set training mode, which Dropout, BatchNorm and their like heed, in the whole tree."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation mode: `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Say of all parameters whether gradients are wanted: `requires_grad_(False)` freezes the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters: to None, or to zeros in place."""
        for parameter in self.parameters():
            if parameter.grad is None:
                continue
            if set_to_none:
                parameter.grad = None
            else:
                parameter.grad = parameter.grad.detach().zero_()


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, Any, bool]:
    device, dtype, non_blocking = (
        kwargs.pop("device", None),
        kwargs.pop("dtype", None),
        kwargs.pop("non_blocking", False),
    )
    if "tensor" in kwargs:
        args = (kwargs.pop("tensor"), *args)
    if kwargs or len(args) > 3:
        raise TypeError(f"to: expected a device, a dtype or a tensor, got {args} and {sorted(kwargs)}")
    for arg in args:
        if isinstance(arg, Tensor):
            device, dtype = arg.device, arg.dtype
        elif isinstance(arg, fb.dtype):
            dtype = arg
        elif isinstance(arg, bool):
            non_blocking = arg
        elif arg is not None:
            device = fb.device(arg)
    return device, dtype, non_blocking
