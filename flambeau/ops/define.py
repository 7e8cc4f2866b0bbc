"""How an op is declared: the `pointwise` decorator, the registry it fills, and the makers of test samples.

A definition is plain data (`PointwiseDef`); everything else about the op is derived from it elsewhere. May
import ir only. Read next: `pointwise.py`, then the families `pointwise_*.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

# Which kinds of dtype (`ir.expr.Type.kind`) an op's domain names.
DOMAINS = {
    "any": "buifc",
    "real": "buif",
    "number": "uif",
    "int": "bui",
    "integer": "ui",
    "float": "f",
    "bool": "b",
    "complex": "c",
    "number+complex": "uifc",
    "float+complex": "fc",
}  # fmt: skip
PROMOTIONS = ("default", "float", "exact")


class Samples(NamedTuple):
    """Where a test may draw an operand from: `kind` uniform, nonzero, integers or booleans, within [low, high]."""

    kind: str
    low: float = 0.0
    high: float = 1.0


def uniform(low: float, high: float) -> Samples:
    """Real numbers in [low, high]."""
    return Samples("uniform", low, high)


def nonzero(low: float, high: float) -> Samples:
    """Real numbers whose absolute value is in [low, high], of either sign."""
    return Samples("nonzero", low, high)


def positive(high: float = 4.0) -> Samples:
    """Real numbers in [0.1, high]."""
    return Samples("uniform", 0.1, high)


def integers(low: int, high: int) -> Samples:
    """Whole numbers low … high."""
    return Samples("integers", low, high)


def booleans() -> Samples:
    return Samples("booleans")


class PointwiseDef(NamedTuple):
    """One pointwise op.

    body       function of Exprs of the computation dtype: operands, then attributes, in order
    operands   names of the tensor operands; `kept` are those that stay out of promotion (a condition)
    attributes name -> default. Numbers reach the body as Exprs; the `static` ones, and any bool, string or None,
               reach it as they are and specialise the kernel
    samples    one Samples for each operand
    like       the PyTorch function that is the same
    inplace    a Tensor method `name_` exists; method: a Tensor method `name` exists
    domain     key of DOMAINS: which dtypes are accepted
    promote    "default": operands promote each other; "float": integers then become float32; both compute f16 and bf16
               in f32 and round the result. "exact": as default, but f16 and bf16 are handed to the body as they are
    grad       None, or a function (g, out, *operands, *attributes) -> a tuple with one Expr or None for each operand
    refuse     None, or a function (name, *operands) of tensors and numbers that is called before integers are computed,
               and raises where integers have no result
    """

    name: str
    body: Callable[..., Any]
    operands: tuple[str, ...]
    attributes: dict[str, Any]
    samples: tuple[Samples, ...]
    like: str
    doc: str
    inplace: bool
    method: bool
    aliases: tuple[str, ...]
    domain: str
    promote: str
    grad: Callable[..., tuple] | None
    kept: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    refuse: Callable[..., None] | None = None


def static_names(op: PointwiseDef) -> tuple[str, ...]:
    """Attributes that reach the body as they are and choose a variant of the op."""
    return tuple(
        name
        for name, value in op.attributes.items()
        if name in op.static or value is None or isinstance(value, (bool, str))
    )


OPS: dict[str, PointwiseDef] = {}


def pointwise(
    samples: Samples | tuple[Samples, ...],
    like: str = "",
    *,
    inplace: bool = False,
    method: bool = False,
    aliases: tuple[str, ...] = (),
    domain: str = "real",
    promote: str = "default",
    grad: Callable[..., tuple] | None = None,
    refuse: Callable[..., None] | None = None,
    name: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers the decorated scalar function as a pointwise op and returns it unchanged, so that bodies can share it.

    Parameters without a default are tensor operands (PyTorch's `input` and `other` are called x and y), those with one
    are attributes. An operand annotated `bool` keeps out of promotion; an attribute annotated `int` is static.
    `like` defaults to torch's function of the same name.
    """
    if domain not in DOMAINS or promote not in PROMOTIONS:
        raise ValueError(
            f"pointwise: domain {domain!r} is one of {sorted(DOMAINS)}, promote {promote!r} of {PROMOTIONS}"
        )

    def register(body: Callable[..., Any]) -> Callable[..., Any]:
        op = name or body.__name__
        # By hand: inspect.signature for every op would be a tenth of the package's import time.
        names = body.__code__.co_varnames[: body.__code__.co_argcount]
        defaults = body.__defaults__ or ()
        count = len(names) - len(defaults)
        operands, attributes = names[:count], dict(zip(names[count:], defaults, strict=True))
        annotated = body.__annotations__
        each = (samples,) * len(operands) if isinstance(samples, Samples) else samples
        if op in OPS:
            raise ValueError(f"pointwise: {op} is defined twice")
        if len(each) != len(operands):
            raise ValueError(f"pointwise: {op} has {len(each)} samples for operands {operands}")
        OPS[op] = PointwiseDef(
            name=op,
            body=body,
            operands=operands,
            attributes=attributes,
            samples=each,
            like=like or "torch." + op,
            doc=body.__doc__ or "",
            inplace=inplace,
            method=method or inplace,
            aliases=aliases,
            domain=domain,
            promote=promote,
            grad=grad,
            kept=tuple(n for n in operands if annotated.get(n) in ("bool", bool)),
            static=tuple(n for n in attributes if annotated.get(n) in ("int", int)),
            refuse=refuse,
        )
        return body

    return register
