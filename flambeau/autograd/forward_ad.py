"""Forward mode as programs ask for it: levels, dual tensors, and what they are made of.

Imports core and neighbours. Read next: `dual.py` (what happens inside a level), `func/forward.py` (jvp and linearize).
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from ..core._core import Tensor
from .dual import Dual
from .modes import Mode


class UnpackedDualTensor(NamedTuple):
    """A dual tensor's value, and its tangent or None.

    >>> import flambeau.autograd.forward_ad as ad
    >>> with ad.dual_level():
    ...     print(ad.unpack_dual(ad.make_dual(fb.tensor(3.0), fb.tensor(1.0)) ** 2))
    UnpackedDualTensor(primal=tensor(9.), tangent=tensor(6.))
    """

    primal: Tensor
    tangent: Tensor | None


class Levels(threading.local):
    entered: tuple[Dual, ...] = ()


levels = Levels()


def enter_dual_level() -> int:
    """Begins a level of forward mode; returns its number.

    >>> from flambeau.autograd import forward_ad
    >>> forward_ad.enter_dual_level()
    0
    >>> forward_ad.exit_dual_level()
    """
    level = Dual()
    level.__enter__()
    levels.entered = (*levels.entered, level)
    return len(levels.entered) - 1


def exit_dual_level(*, level: int | None = None) -> None:
    """Ends the innermost level, where all tensors lose the tangents that they have there.

    >>> from flambeau.autograd import forward_ad
    >>> level = forward_ad.enter_dual_level()
    >>> forward_ad.exit_dual_level(level=level)
    """
    if not levels.entered:
        raise RuntimeError("exit_dual_level: no level has been entered")
    if level is not None and level != len(levels.entered) - 1:
        raise RuntimeError(
            f"exit_dual_level: level {level} isn't the innermost, {len(levels.entered) - 1}; leave that one first"
        )
    levels.entered[-1].__exit__()
    levels.entered = levels.entered[:-1]


class dual_level(Mode):
    """A context in which tensors have tangents; they are gone when it ends. Levels nest.

    >>> import flambeau.autograd.forward_ad as fwAD
    >>> with fwAD.dual_level():
    ...     x = fwAD.make_dual(fb.tensor(3.0), fb.tensor(1.0))
    ...     fwAD.unpack_dual(x * x).tangent
    tensor(6.)
    """

    def __enter__(self) -> int:  # type: ignore[override]
        return enter_dual_level()

    def __exit__(self, *error: object) -> None:
        exit_dual_level()


def at(level: int | None, what: str) -> Dual:
    """The level of that number; the innermost without one."""
    if not levels.entered:
        raise RuntimeError(f"{what}: no level exists; enter one with dual_level()")
    number = len(levels.entered) - 1 if level is None else level
    if not 0 <= number < len(levels.entered):
        raise RuntimeError(f"{what}: level {level} doesn't exist; there are {len(levels.entered)}")
    return levels.entered[number]


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A tensor over the same memory, whose tangent is `tangent`, for the time of a level; `tensor` itself has none.

    Both must have one shape; `tensor` is floating or complex, and `tangent` is converted to its dtype.

    >>> import flambeau.autograd.forward_ad as fwAD
    >>> with fwAD.dual_level():
    ...     x = fwAD.make_dual(fb.zeros(2), fb.tensor([1.0, 2.0]))
    ...     fwAD.unpack_dual(x.sin() + 1)
    UnpackedDualTensor(primal=tensor([1., 1.]), tangent=tensor([1., 2.]))
    """
    dual = at(level, "make_dual")
    check_dual("make_dual", tensor, tangent)
    return dual.make(tensor, tangent)


def check_dual(name: str, tensor: Any, tangent: Any) -> None:
    """Whether a tensor can have that tangent."""
    for what, x in (("tensor", tensor), ("tangent", tangent)):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: {what} must be a tensor, got {type(x).__name__}")
        if not (x.is_floating_point() or x.is_complex()):
            raise ValueError(f"{name}: {what} must be floating or complex, got {x.dtype}; use x.float()")
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            f"{name}: the tangent must have the tensor's shape {list(tensor.shape)}, got {list(tangent.shape)}"
        )
    if tangent.is_complex() and not tensor.is_complex():
        raise RuntimeError(f"{name}: a {tangent.dtype} tangent doesn't fit a {tensor.dtype} tensor; use tangent.real")


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value and the tangent that a tensor has in a level; None for a tangent that was never given.

    >>> import flambeau.autograd.forward_ad as fwAD
    >>> fwAD.unpack_dual(fb.tensor(3.0))
    UnpackedDualTensor(primal=tensor(3.), tangent=None)
    """
    if not levels.entered and level is None:
        return UnpackedDualTensor(tensor, None)
    return UnpackedDualTensor(*at(level, "unpack_dual").unpack(tensor))


__all__ = [
    "UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual",
]  # fmt: skip
