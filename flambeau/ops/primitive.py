"""How an op that isn't pointwise is declared: a forward in Python over kernels, and its backward in terms of other ops.

`@primitive` makes an op of `forward(ctx, *arguments)`; `ctx.save(...)` keeps tensors for `vjp(ctx, *gradients)`.
`@generated` makes a kernel builder compile once per key, `@planned` remembers how kernels are launched;
`@planned_primitive` is both op and plan, and `@resolved` the public function in front of one. Imports core and ir.
"""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..core import _core
from ..core._core import Plan, Planned, PlannedPrimitive, Primitive, Resolution, Resolved, Tensor

if TYPE_CHECKING:
    from ..ir.kernel import Kernel

PRIMITIVES: dict[str, Primitive] = {}


def primitive(
    vjp: Callable[..., Any] | None = None, *, name: str = "", method: bool = False, writes: bool = False,
    direct: Callable[..., Any] | None = None,
):  # fmt: skip
    """Registers forward(ctx, *arguments) as an op.

    Gradients are returned for positional tensors, in order, those in lists included. `method` makes it a method of
    Tensor too; `writes` says that it writes its first argument and returns it. `direct` is called with positional
    arguments instead where nothing is recorded; it may return NotImplemented.
    """

    def register(forward: Callable[..., Any]) -> Primitive:
        op = Primitive(name or forward.__name__, forward, vjp, writes, forward.__doc__, direct)
        op.__module__, op.__qualname__ = forward.__module__, forward.__name__
        PRIMITIVES[op.name] = op
        if method:
            setattr(Tensor, op.name, op)
        return op

    return register


def without_ctx(forward: Callable[..., Any]) -> Any:
    """The signature that callers of an op see."""
    import inspect

    signature = inspect.signature(forward)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def parameters(build: Callable[..., Any]) -> Any:
    import inspect

    return inspect.signature(build)


_core.set_hook("signature", without_ctx)
_core.set_hook("parameters", parameters)
for kind in (Primitive, PlannedPrimitive):
    copyreg.pickle(kind, lambda op: op.__qualname__)  # by reference, as functions are


def generated(build: Callable[..., Kernel]) -> Callable[..., int]:
    """Turns build(*key) -> Kernel into key -> address of its machine code, compiled on the first call for a key."""

    @functools.cache
    def address(*key: Any) -> int:
        return _core.hooks["compile"](build(*key))

    return functools.wraps(build)(address)


def planned(*, strided: bool = False) -> Callable[[Callable[..., Plan]], Planned]:
    """Turns build(*tensors and parameters) -> Plan into a function that runs the plan, off the tape.

    build is asked once for tensors of the same dtypes and shapes and equal parameters; it sees contiguous tensors or,
    where plans are `strided`, any, and is asked for each of their strides.
    """
    return functools.partial(Planned, strided=strided)


def planned_primitive(
    vjp: Callable[..., Any] | None = None, *, name: str = "", strided: bool = False, shortcut: bool = False
):
    """Registers build(*tensors and parameters) -> Plan as an op that is differentiated by vjp(ctx, *gradients).

    ctx has the tensors that the plan `saves` as ctx.saved, and its `note` as ctx.note. A `shortcut` stands for several
    ops where no interpreter looks, and isn't registered.
    """

    def register(build: Callable[..., Plan]) -> PlannedPrimitive:
        work = Planned(build, strided)

        def forward(ctx: Any, *arguments: Any) -> Any:
            return work.carried_out(ctx, arguments)

        op = PlannedPrimitive(name or build.__name__, forward, vjp, work, build.__doc__)
        op.__module__, op.__qualname__ = build.__module__, build.__name__
        if not shortcut:
            PRIMITIVES[op.name] = op
        return op

    return register


def resolved(function: Callable[..., Tensor | Resolution]) -> Resolved:
    """A public function that checks its arguments and returns the Resolution they come to, or the result itself.

    A Resolution is remembered for tensors of the same dtypes, sizes and strides, recorded or not, and equal parameters:
    returned only where nothing else was looked at.
    """
    return functools.update_wrapper(Resolved(function), function)
