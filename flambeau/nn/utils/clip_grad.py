"""Clipping of gradients, by their total norm or by value; scaling and clamping are one pass over all of them.

Imports the tensor core and the fused updates. Read next: `convert_parameters.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import flambeau as fb
from flambeau import Tensor
from flambeau.ops.optimizer import clamp_many_, scale_many_
from flambeau.ops.reductions import norm2


def _tensors(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def _grads(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    grads = (p.grad for p in _tensors(parameters))
    return [g for g in grads if g is not None]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors as if they were one vector.

    Raises:
        RuntimeError: with `error_if_nonfinite`, where it is infinite or NaN.

    >>> fb.nn.utils.get_total_norm([fb.tensor([3.0]), fb.tensor([[4.0]])])
    tensor(5.)
    """
    tensors = _tensors(tensors)
    if not tensors:
        return fb.tensor(0.0)
    order = float(norm_type)
    dense = all(t.is_floating_point() and t.layout == "strided" for t in tensors)
    if order == 2 and dense and not fb.is_grad_enabled():
        norms = [norm2(t, None, False) for t in tensors]  # the reduction itself: there is nothing to record
    else:
        norms = [t.norm(order) for t in tensors]
    total = fb.stack(norms).norm(order)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot "
            "be clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients in place by max_norm / (total_norm + 1e-6) where that is below 1.

    >>> p = fb.zeros(2, requires_grad=True)
    >>> p.grad = fb.tensor([3.0, 4.0])
    >>> fb.nn.utils.clip_grads_with_norm_(p, 1.0, fb.tensor(5.0))
    >>> p.grad
    tensor([0.6000, 0.8000])
    """
    grads = _grads(parameters)
    if grads:
        with fb.no_grad():
            factor = float((max_norm / (total_norm + 1e-6)).clamp(max=1.0))
            if factor == 1.0:
                return
            scale_many_([fb.view_as_real(g) if g.is_complex() else g for g in grads if g.layout == "strided"], factor)
            for g in grads:
                if g.layout != "strided":
                    g.mul_(factor)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """Scale the gradients in place so that their total norm is at most `max_norm`; returns the norm they had.

    >>> import flambeau as fb
    >>> p = fb.nn.Parameter(fb.zeros(2))
    >>> p.grad = fb.tensor([3.0, 4.0])
    >>> fb.nn.utils.clip_grad_norm_(p, 1.0), p.grad
    (tensor(5.), tensor([0.6000, 0.8000]))
    """
    parameters = _tensors(parameters)
    with fb.no_grad():
        total = get_total_norm(_grads(parameters), norm_type, error_if_nonfinite)
        clip_grads_with_norm_(parameters, max_norm, total)
    return total


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """The old name of `clip_grad_norm_`.

    >>> p = fb.zeros(2, requires_grad=True)
    >>> p.grad = fb.tensor([3.0, 4.0])
    >>> fb.nn.utils.clip_grad_norm(p, 1.0)
    tensor(5.)
    >>> p.grad
    tensor([0.6000, 0.8000])
    """
    warnings.warn("nn.utils.clip_grad_norm is deprecated; use clip_grad_norm_", FutureWarning, stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Clamp the gradients in place to [-clip_value, clip_value].

    >>> p = fb.zeros(2, requires_grad=True)
    >>> p.grad = fb.tensor([0.5, -4.0])
    >>> fb.nn.utils.clip_grad_value_(p, 1.0)
    >>> p.grad
    tensor([ 0.5000, -1.0000])
    """
    grads = _grads(parameters)
    if grads:
        with fb.no_grad():
            clamp_many_(grads, float(clip_value))
