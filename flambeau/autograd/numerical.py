"""Derivatives against finite differences: gradcheck for the first order, gradgradcheck for the second, in both modes.

Imports core, ops and neighbours. Method: central differences, one input element at a time, in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..core._core import Tensor
from ..ops.factories import zeros_like
from ..ops.random import randn_like
from .engine import grad
from .modes import no_grad


class GradcheckError(RuntimeError):
    """A derivative differs from its finite differences.

    >>> class Wrong(fb.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g
    >>> x = fb.tensor([3.0], dtype=fb.float64, requires_grad=True)
    >>> try:
    ...     fb.autograd.gradcheck(Wrong.apply, x)
    ... except fb.autograd.GradcheckError as error:
    ...     print(type(error).__name__)
    GradcheckError
    """


def outputs_of(function: Callable[..., Any], inputs: Sequence[Any]) -> list[Tensor]:
    found = function(*inputs)
    found = found if isinstance(found, (tuple, list)) else (found,)
    return [y for y in found if isinstance(y, Tensor) and (y.is_floating_point() or y.is_complex())]


def components(x: Tensor) -> list[Tensor]:
    """Flat views of the real numbers that x is made of."""
    if x.is_complex():
        from ..core import _core

        half = x.dtype.to_real()
        flat = _core.raw_view(x.data, half, (x.numel(), 2), (2, 1), 2 * x.storage_offset())
        return [flat[:, 0], flat[:, 1]]
    return [x.data.view(-1)]


def numerical(function: Callable[..., Any], inputs: Sequence[Any], x: Tensor, eps: float) -> list[list[list[Tensor]]]:
    """[component][element] -> for each output, its central difference."""
    table = []
    with no_grad():
        for flat in components(x):
            rows = []
            for k in range(flat.numel()):
                kept = flat[k].item()
                flat[k] = kept + eps
                up = [y.clone() for y in outputs_of(function, inputs)]
                flat[k] = kept - eps
                down = [y.clone() for y in outputs_of(function, inputs)]
                flat[k] = kept
                rows.append([(a - b) / (2 * eps) for a, b in zip(up, down, strict=True)])
            table.append(rows)
    return table


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Whether derivatives agree with central differences (f(x + eps) - f(x - eps)) / 2 eps for float64 inputs.

    Those of backward, and with `check_forward_ad` those of forward mode.

    >>> fb.autograd.gradcheck(fb.sin, fb.linspace(0, 1, 3, dtype=fb.float64).requires_grad_(), check_forward_ad=True)
    True
    """
    if not (check_forward_ad or check_backward_ad):
        raise ValueError("gradcheck: at least one of check_forward_ad and check_backward_ad must be True")
    given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    analytical = [jacobian_by_backward] * check_backward_ad + [jacobian_by_forward] * check_forward_ad
    try:
        wanted = checked(given)
        for j, x in enumerate(wanted):
            table = numerical(func, given, x, eps)
            for compute in analytical:
                compare(table, compute(func, given, x), j, atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def checked(inputs: tuple) -> list[Tensor]:
    """The inputs to differentiate by."""
    wanted = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    if not wanted:
        raise ValueError("gradcheck: at least one input must require grad")
    for x in wanted:
        if x.dtype.name not in ("float64", "complex128"):
            raise ValueError(
                f"gradcheck: inputs must be float64 or complex128 for differences to mean anything, got {x.dtype}"
            )
        if not x.is_contiguous() and not x.is_complex():
            raise ValueError("gradcheck: inputs must be contiguous; call contiguous() before requires_grad_()")
    return wanted


# What a mode says of output i in direction d of the output (1 or i): (i, element of output, d) -> for each real
# component of the input, the derivative by each of its elements.
Jacobian = dict[tuple[int, int, complex], list[list[float]]]


def jacobian_by_backward(function: Callable[..., Any], inputs: tuple, x: Tensor) -> Jacobian:
    found: Jacobian = {}
    for i, y in enumerate(outputs_of(function, inputs)):
        if not y.requires_grad:
            continue
        for direction in (1.0, 1j) if y.is_complex() else (1.0,):
            for at in range(y.numel()):
                seed = zeros_like(y).contiguous()
                seed.view(-1)[at] = direction
                (g,) = grad([y], [x], [seed], retain_graph=True, allow_unused=True)
                rows = zeros_like(x) if g is None else g
                found[i, at, direction] = [r.reshape(-1).tolist() for r in components(rows.contiguous())]
    return found


def jacobian_by_forward(function: Callable[..., Any], inputs: tuple, x: Tensor) -> Jacobian:
    from .forward_ad import dual_level, make_dual, unpack_dual

    found: Jacobian = {}
    size = x.numel()
    for c, unit in enumerate((1.0, 1j) if x.is_complex() else (1.0,)):
        for k in range(size):
            tangent = zeros_like(x).contiguous()
            tangent.view(-1)[k] = unit
            with dual_level():
                dual = make_dual(x, tangent)
                outputs = outputs_of(function, [dual if z is x else z for z in inputs])
                pushed = [unpack_dual(y).tangent for y in outputs]
            for i, (y, t) in enumerate(zip(outputs, pushed, strict=True)):
                values = [0.0] * y.numel() if t is None else t.reshape(-1).tolist()
                for direction in (1.0, 1j) if y.is_complex() else (1.0,):
                    for at, value in enumerate(values):
                        rows = found.setdefault((i, at, direction), [[0.0] * size for _ in components(x)])
                        rows[c][k] = (complex(value) * complex(direction).conjugate()).real
    return found


def compare(table: list, found: Jacobian, j: int, atol: float, rtol: float) -> None:
    for (i, at, direction), by_component in found.items():
        for c, rows in enumerate(table):
            for k, row in enumerate(rows):
                difference = complex(row[i].reshape(-1)[at].item())
                expected = (difference * complex(direction).conjugate()).real
                got = by_component[c][k]
                if not abs(got - expected) <= atol + rtol * abs(expected):
                    raise GradcheckError(
                        f"gradcheck: Jacobian mismatch for output {i} (element {at}) with respect to input {j} "
                        f"(element {k}): numerical {expected}, analytical {got}"
                    )


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Whether derivatives of the backward agree with its finite differences.

    Those of its backward, and with `check_fwd_over_rev` those of forward mode.

    >>> x = fb.tensor([0.5, 2.0], dtype=fb.float64, requires_grad=True)
    >>> fb.autograd.gradgradcheck(fb.sin, (x,))
    True
    """
    given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    outputs = outputs_of(func, given)
    if grad_outputs is None:
        starts = [randn_like(y).requires_grad_() for y in outputs]
    else:
        starts = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    places = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]

    def first_order(*args: Any) -> tuple:
        ins, seeds = args[: len(given)], args[len(given) :]
        pairs = [(y, s) for y, s in zip(outputs_of(func, ins), seeds, strict=True) if y.requires_grad]
        found = grad(
            [p[0] for p in pairs], [ins[i] for i in places], [p[1] for p in pairs], create_graph=True, allow_unused=True
        )
        return tuple(g for g in found if g is not None)

    def differentiable(*args: Any) -> tuple:
        from .modes import enable_grad

        with enable_grad():
            return first_order(*args)

    return gradcheck(
        differentiable,
        (*given, *starts),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
    )
