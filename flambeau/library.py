"""`torch.library`: operations of a program's own, written in Python, under names of their own in `torch.ops`.

An operation is a function and, if it has been given one, a derivative: then it runs as an `autograd.Function`. What
PyTorch's compiler would ask of it (register_fake) is kept. Imports autograd. Read next: `autograd/function.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .autograd import Function

OPERATIONS: dict[str, CustomOpDef] = {}


class CustomOpDef:
    """An operation made by `custom_op`: call it, and register its derivative with `register_autograd`.

    >>> half = fb.library.custom_op("shop::half_of", lambda x: x.detach() / 2)
    >>> half.register_autograd(lambda ctx, g: g / 2)
    >>> half, half(fb.ones(1, requires_grad=True)).requires_grad
    (<CustomOpDef(shop::half_of)>, True)
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._qualname, self._function = name, function
        self._signature = inspect.signature(function)
        self._applied: type[Function] | None = None
        self._fake: Callable[..., Any] | None = None
        self.__name__, self.__doc__ = name.rpartition("::")[2], function.__doc__

    def __repr__(self) -> str:
        return f"<CustomOpDef({self._qualname})>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = self._signature.bind(*args, **kwargs)
        given.apply_defaults()
        if self._applied is None:
            return self._function(*given.args, **given.kwargs)
        return self._applied.apply(*given.arguments.values())

    def register_autograd(
        self, backward: Callable[..., Any], /, *, setup_context: Callable[..., None] | None = None
    ) -> None:
        """backward(ctx, *grads) gives a gradient for each argument; setup_context(ctx, inputs, output) keeps for it."""
        function, names = self._function, list(self._signature.parameters)
        by_name = {n for n, p in self._signature.parameters.items() if p.kind is p.KEYWORD_ONLY}

        def forward(*args: Any) -> Any:
            named = dict(zip(names, args, strict=True))
            last = {n: named.pop(n) for n in by_name}
            return function(*named.values(), **last)

        def keep(ctx: Any, inputs: tuple, output: Any) -> None:
            if setup_context is None:
                return
            plain = tuple(x for n, x in zip(names, inputs, strict=True) if n not in by_name)
            if by_name:
                last = {n: x for n, x in zip(names, inputs, strict=True) if n in by_name}
                setup_context(ctx, plain, last, output)
            else:
                setup_context(ctx, plain, output)

        def spread(ctx: Any, *grads: Any) -> tuple:
            found = backward(ctx, *grads)
            found = found if isinstance(found, tuple) else (found,)
            return (*found, *(None,) * (len(names) - len(found)))

        methods = {"forward": forward, "setup_context": keep, "backward": spread}
        self._applied = type(self.__name__, (Function,), {n: staticmethod(m) for n, m in methods.items()})

    def register_kernel(self, device_types: Any, fn: Callable[..., Any] | None = None, /) -> Any:
        """Another function for a device: for "cpu" it takes the place of the first; others are kept from use."""
        kinds = (device_types,) if isinstance(device_types, str) or device_types is None else tuple(device_types)

        def register(fn: Callable[..., Any]) -> Callable[..., Any]:
            if "cpu" in kinds or None in kinds:
                self._function = fn
            return fn

        return register if fn is None else register(fn)

    def register_fake(self, fn: Callable[..., Any], /) -> Callable[..., Any]:
        """Kept: what gives results of the right shapes without computing, for a compiler."""
        self._fake = fn
        return fn


def custom_op(
    name: str, fn: Callable[..., Any] | None = None, /, *, mutates_args: str | Iterable[str] = (),
    device_types: str | Sequence[str] | None = None, schema: str | None = None, tags: Any = None,
) -> Any:  # fmt: skip
    """A decorator that makes a function an operation named "namespace::name", also found as torch.ops.namespace.name.

    mutates_args, schema and tags tell PyTorch's compiler about it and change nothing here. Raises ValueError for a name
    without a namespace.

    >>> @fb.library.custom_op("shop::double", mutates_args=())
    ... def double(x: fb.Tensor) -> fb.Tensor:
    ...     return fb.from_numpy(x.detach().numpy() * 2)
    >>> double.register_autograd(lambda ctx, g: g * 2)
    >>> x = fb.ones(2, requires_grad=True)
    >>> double(x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """
    if name.count("::") != 1 or not all(name.split("::")):
        raise ValueError(f"custom_op: the name is 'namespace::name', got {name!r}")

    def define(fn: Callable[..., Any]) -> CustomOpDef:
        made = OPERATIONS[name.partition(".")[0]] = CustomOpDef(name, fn)
        return made

    return define if fn is None else define(fn)


def operation(op: str | CustomOpDef) -> CustomOpDef:
    if isinstance(op, CustomOpDef):
        return op
    if op not in OPERATIONS:
        raise RuntimeError(f"library: there is no operation {op!r}; make it with custom_op. Made: {list(OPERATIONS)}")
    return OPERATIONS[op]


def register_autograd(
    op: str | CustomOpDef, backward: Callable[..., Any], /, *, setup_context: Callable[..., None] | None = None,
    lib: Any = None,
) -> None:  # fmt: skip
    """`CustomOpDef.register_autograd` of an operation by name.

    >>> _ = fb.library.custom_op("shop::same", lambda x: x.clone())
    >>> fb.library.register_autograd("shop::same", lambda ctx, g: g)
    """
    operation(op).register_autograd(backward, setup_context=setup_context)


def register_kernel(
    op: str | CustomOpDef, device_types: Any, func: Callable[..., Any] | None = None, /, *, lib: Any = None
) -> Any:
    """`CustomOpDef.register_kernel` of an operation by name.

    >>> thrice = fb.library.custom_op("shop::thrice", lambda x: x + x + x)
    >>> _ = fb.library.register_kernel("shop::thrice", "cpu", lambda x: x * 3)
    >>> thrice(2)
    6
    """
    return operation(op).register_kernel(device_types, func)


def register_fake(op: str | CustomOpDef, func: Callable[..., Any] | None = None, /, *, lib: Any = None) -> Any:
    """`CustomOpDef.register_fake` of an operation by name.

    >>> _ = fb.library.custom_op("shop::half", lambda x: x / 2)
    >>> _ = fb.library.register_fake("shop::half", lambda x: x)
    """
    found = operation(op)
    return found.register_fake if func is None else found.register_fake(func)


__all__ = ["CustomOpDef", "custom_op", "register_autograd", "register_fake", "register_kernel"]
