"""autograd.functional: Jacobians, Hessians and their products with vectors, of a function at a point.

Inputs and outputs are tensors or tuples of them. Backward products go by the tape, forward ones by `dual.py`; a
Jacobian is the products with all unit vectors, one after the other or, with `vectorize`, all at once in a Batch.
Imports core, ops and neighbours. Read next: `batch.py`, `dual.py`; `func/`, the same as transforms that nest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ..core import _core
from ..core._core import Tensor
from ..ops.factories import ones_like, zeros, zeros_like
from ..ops.joining import stack
from .batch import mapped
from .engine import grad
from .modes import enable_grad, set_grad_enabled
from .recording import Recording

Tensors: TypeAlias = Tensor | tuple[Tensor, ...]

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


# ---- arguments
def as_tuple(name: str, what: str, x: Any) -> tuple[Tensor, ...]:
    """A tensor or a tuple of tensors as a tuple. Raises TypeError for anything else."""
    found = (x,) if isinstance(x, Tensor) else x
    if not isinstance(found, tuple) or not all(isinstance(t, Tensor) for t in found):
        raise TypeError(f"{name}: {what} must be a Tensor or a tuple of Tensors, got {type(x).__name__}")
    return found


def like(model: Any, values: Sequence[Any]) -> Any:
    """values as the model was given: one, or a tuple."""
    return tuple(values) if isinstance(model, tuple) else values[0]


def prepared(inputs: Sequence[Tensor], create_graph: bool) -> tuple[Tensor, ...]:
    """Inputs on the tape: connected to what they come from where the graph goes on, else on their own."""
    made = []
    with enable_grad():
        for x in inputs:
            connected = create_graph and x.requires_grad
            y = x.view_as(x) if connected or _core.interpreting() else x.detach()
            made.append(y if y.requires_grad else y.requires_grad_())
    return tuple(made)


def outputs_of(name: str, func: Callable[..., Any], inputs: Sequence[Tensor], strict: bool) -> tuple[Any, tuple]:
    with enable_grad():
        out = func(*inputs)
    found = as_tuple(name, "the outputs of the function", out)
    for i, y in enumerate(found):
        if strict and not y.requires_grad:
            raise RuntimeError(f"{name}: output {i} does not depend on the inputs, which strict mode doesn't allow")
    return out, found


def vector(name: str, v: Any, of: Sequence[Tensor], whose: str) -> tuple[Tensor, ...]:
    """The vector of a product, checked against what it multiplies; 1 where that is a single element."""
    if v is None:
        if len(of) != 1 or of[0].numel() != 1:
            raise RuntimeError(f"{name}: v can only be None where the {whose} is a single Tensor with a single element")
        return (ones_like(of[0].detach()),)
    found = as_tuple(name, "v", v)
    if len(found) != len(of):
        raise RuntimeError(f"{name}: v must hold {len(of)} tensors, one for each {whose}, got {len(found)}")
    for i, (a, b) in enumerate(zip(found, of, strict=True)):
        if a.shape != b.shape:
            raise RuntimeError(f"{name}: v has invalid size: entry {i} must be {list(b.shape)}, got {list(a.shape)}")
    return found


def scalar(name: str, found: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if len(found) != 1 or found[0].numel() != 1:
        raise RuntimeError(f"{name}: the Tensor returned by the function should contain a single element")
    return found


def finished(values: Sequence[Tensor], create_graph: bool) -> list[Tensor]:
    return list(values) if create_graph or _core.interpreting() else [x.detach() for x in values]


def unit_rows(tensors: Sequence[Tensor]) -> list[Tensor]:
    """For each tensor, rows in which one element of all of them is 1: (their elements together, *its shape)."""
    total = sum(x.numel() for x in tensors)
    rows, start = [], 0
    for x in tensors:
        row = zeros(total, x.numel(), dtype=x.dtype)
        row.diagonal(-start).fill_(1)
        rows.append(row.reshape(total, *x.shape))
        start += x.numel()
    return rows


# ---- products
def pulled(
    name: str,
    outs: Sequence[Tensor],
    ins: Sequence[Tensor],
    seeds: Sequence[Tensor],
    create: bool,
    strict: bool = False,
) -> list[Tensor]:
    """vᵀ J, with zeros for inputs that have no part in the outputs."""
    pairs = [(y, v) for y, v in zip(outs, seeds, strict=True) if y.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(ins)
    if pairs:
        found = grad([y for y, _ in pairs], ins, [v for _, v in pairs], True, create, allow_unused=True)
    for i, g in enumerate(found):
        if strict and g is None:
            raise RuntimeError(f"{name}: the output is independent of input {i}, which strict mode doesn't allow")
        if strict and create and g is not None and not g.requires_grad:
            raise RuntimeError(
                f"{name}: the jacobian with respect to input {i} is independent of the input, which strict mode "
                "doesn't allow"
            )
    return [zeros_like(x) if g is None else g for x, g in zip(ins, found, strict=True)]


def pushed(
    name: str, func: Callable[..., Any], inputs: Sequence[Tensor], v: Sequence[Tensor], strict: bool = False
) -> tuple[Any, list[Tensor], list[Tensor]]:
    """func's output, as it is and as a list, and J v for each."""
    from .dual import Dual

    with Dual() as level:
        duals = [level.make(x, t) for x, t in zip(inputs, v, strict=True)]
        out = func(*duals)
        found = as_tuple(name, "the outputs of the function", out)
        parts = [level.unpack(y) for y in found]
    for i, (_, tangent) in enumerate(parts):
        if strict and tangent is None:
            raise RuntimeError(f"{name}: output {i} does not depend on the inputs, which strict mode doesn't allow")
    along = [zeros_like(y) if t is None else t for y, t in parts]
    return out, [y for y, _ in parts], along


def vjp(
    func: Callable[..., Any],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """func(*inputs) and vᵀ J, one tensor for each input; v is shaped as the outputs.

    >>> fb.autograd.functional.vjp(lambda x: x * x, fb.tensor([1.0, 2.0]), fb.ones(2))
    (tensor([1., 4.]), tensor([2., 4.]))
    """
    ins = prepared(as_tuple("vjp", "the inputs", inputs), create_graph)
    out, found = outputs_of("vjp", func, ins, strict)
    grads = pulled("vjp", found, ins, vector("vjp", v, found, "output"), create_graph, strict)
    return like(out, finished(found, create_graph)), like(inputs, finished(grads, create_graph))


def jvp(
    func: Callable[..., Any],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """func(*inputs) and J v, one tensor for each output; v is shaped as the inputs.

    >>> fb.autograd.functional.jvp(lambda x: x * x, fb.tensor([1.0, 2.0]), fb.ones(2))
    (tensor([1., 4.]), tensor([2., 4.]))
    """
    given = as_tuple("jvp", "the inputs", inputs)
    direction = vector("jvp", v, given, "input")
    with set_grad_enabled(create_graph or _core.is_grad_enabled()):
        ins = prepared(given, True) if create_graph else tuple(x.detach() for x in given)
        out, found, along = pushed("jvp", func, ins, direction, strict)
    return like(out, finished(found, create_graph)), like(out, finished(along, create_graph))


def gradient_function(name: str, func: Callable[..., Any], strict: bool) -> Callable[..., tuple]:
    """inputs -> (output, *gradients), on the tape, of a function with one number as its output."""

    def run(*inputs: Tensor) -> tuple:
        _, found = outputs_of(name, func, inputs, strict)
        scalar(name, found)
        return found[0], *pulled(name, found, inputs, [ones_like(found[0].detach())], True, strict)

    return run


def vhp(
    func: Callable[..., Any],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """func(*inputs), one number, and vᵀ H of its Hessian H, backward twice; v is shaped as the inputs.

    >>> fb.autograd.functional.vhp(lambda x: (x**3).sum(), fb.tensor([1.0, 2.0]), fb.ones(2))
    (tensor(9.), tensor([ 6., 12.]))
    """
    given = as_tuple("vhp", "the inputs", inputs)
    ins = prepared(given, create_graph)
    direction = vector("vhp", v, given, "input")
    out, *grads = gradient_function("vhp", func, strict)(*ins)
    found = pulled("vhp", grads, ins, direction, create_graph, strict)
    return finished([out], create_graph)[0], like(inputs, finished(found, create_graph))


def hvp(
    func: Callable[..., Any],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """func(*inputs), one number, and H v of its Hessian H, forward over backward; v is shaped as the inputs.

    >>> fb.autograd.functional.hvp(lambda x: (x**3).sum(), fb.tensor([1.0, 2.0]), fb.ones(2))
    (tensor(9.), tensor([ 6., 12.]))
    """
    given = as_tuple("hvp", "the inputs", inputs)
    ins = prepared(given, create_graph)
    direction = vector("hvp", v, given, "input")
    with enable_grad():
        _, primals, along = pushed("hvp", gradient_function("hvp", func, strict), ins, direction)
    return finished(primals, create_graph)[0], like(inputs, finished(along[1:], create_graph))


# ---- matrices
def rows_of(product: Callable[..., Sequence[Tensor]], rows: Sequence[Tensor], vectorize: bool) -> list[Tensor]:
    """What a product gives for each row, stacked."""
    if vectorize:
        return mapped(product, rows)
    each = [product(*(r[i] for r in rows)) for i in range(rows[0].shape[0])]
    return [stack(column) for column in zip(*each, strict=True)]


def jacobian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of func at inputs: of the output's shape and then the input's; a nest where there are several.

    Arguments
        create_graph: the result stays on the tape, to be differentiated again.
        strict: outputs and gradients that don't depend on the inputs are an error instead of zeros.
        vectorize: all rows at once, as vmap would have it.
        strategy: 'reverse-mode', or 'forward-mode', which is cheaper for more outputs than inputs (with `vectorize`).

    >>> fb.autograd.functional.jacobian(lambda x: x**2, fb.tensor([1.0, 3.0]))
    tensor([[2., 0.],
            [0., 6.]])
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(f"jacobian: strategy must be 'forward-mode' or 'reverse-mode', got {strategy!r}")
    if strict and vectorize:
        raise RuntimeError(
            "jacobian: strict=True and vectorize=True are not supported together; set one of them to False"
        )
    if strategy == "forward-mode" and create_graph:
        raise NotImplementedError("jacobian: create_graph=True needs strategy='reverse-mode'")
    if strategy == "forward-mode" and not vectorize:
        raise NotImplementedError("jacobian: strategy='forward-mode' is only implemented for vectorize=True")
    given = as_tuple("jacobian", "the inputs", inputs)
    if strategy == "forward-mode":
        return forward_jacobian(func, inputs, given)
    ins = prepared(given, create_graph)
    out, outs = outputs_of("jacobian", func, ins, strict)

    def pull(*seeds: Tensor) -> list[Tensor]:
        return pulled("jacobian", outs, ins, seeds, create_graph, strict)

    found = rows_of(pull, unit_rows(outs), vectorize) if any(y.numel() for y in outs) else []
    nested, start = [], 0
    for y in outs:
        parts = [g[start : start + y.numel()].reshape((*y.shape, *x.shape)) for g, x in zip(found, ins, strict=True)]
        nested.append(like(inputs, finished(parts, create_graph)))
        start += y.numel()
    return like(out, nested)


def forward_jacobian(func: Callable[..., Any], inputs: Tensors, given: tuple[Tensor, ...]) -> Any:
    shapes: list[Any] = []

    def push(*tangents: Tensor) -> list[Tensor]:
        out, found, along = pushed("jacobian", func, given, tangents)
        shapes[:] = [out, [y.shape for y in found]]
        return along

    columns = mapped(push, unit_rows(given))
    out, outs = shapes
    nested = []
    for y, shape in zip(columns, outs, strict=True):
        parts, start = [], 0
        for x in given:
            parts.append(y[start : start + x.numel()].movedim(0, -1).reshape((*shape, *x.shape)))
            start += x.numel()
        nested.append(like(inputs, finished(parts, False)))
    return like(out, nested)


def hessian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of func, which returns one number: the Jacobian of its gradient. Arguments as there.

    >>> fb.autograd.functional.hessian(lambda x: (x**3).sum(), fb.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    given = as_tuple("hessian", "the inputs", inputs)
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError("hessian: outer_jacobian_strategy must be 'forward-mode' or 'reverse-mode'")
    gradient = gradient_function("hessian", func, strict)

    def gradients(*xs: Tensor) -> Any:
        if outer_jacobian_strategy == "reverse-mode":
            return like(inputs, gradient(*xs)[1:])
        recording = Recording("hessian", xs)
        _, found = outputs_of("hessian", func, recording.seen, False)
        seed = ones_like(scalar("hessian", found)[0].detach())
        return like(inputs, recording.gradients(recording.outputs(found), [seed], True, True))

    point = inputs if isinstance(inputs, tuple) else given[0]
    return jacobian(gradients, point, create_graph, strict, vectorize, outer_jacobian_strategy)
