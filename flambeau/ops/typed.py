"""From an untyped definition and the operands' dtypes to typed Exprs: PyTorch's promotion, once per combination.

Operand i is the Expr variable `x<i>` at its storage dtype; results are Exprs at their storage dtype, casts included, so
whatever is derived from them (gradients, fused kernels) has the same roundings. May import ir and define.
Read next: `codegen/schedule.py` (typed Exprs to kernels), `eager/kernels.py` (who asks).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..ir.derive import add as add_gradients
from ..ir.derive import conj, convert, derivative, saved
from ..ir.expr import DTYPES, Expr, cast, const, postorder, promote, substitute, var
from .define import DOMAINS, PointwiseDef, static_names

# dtype codes in the core's order
NAMES = ("bool", "u8", "i8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64", "c64", "c128",
         "u16", "u32", "u64")  # fmt: skip
CODES = {name: code for code, name in enumerate(NAMES)}
PUBLIC = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64",
          "complex128", "uint16", "uint32", "uint64")  # fmt: skip
ZERO_DIM, NUMBER, DEFAULT = 16, 32, 63
PART = {"c64": "f32", "c128": "f64"}
NUMBER_DTYPES = ("bool", "i64", "f32", "c64")


@dataclass(frozen=True, slots=True)
class Typed:
    """Typed Exprs of one op. `inputs[i]` is operand i's variable, None for an attribute folded at its default."""

    exprs: tuple[Expr, ...]
    inputs: tuple[Expr | None, ...]
    is_number: tuple[bool, ...]


def result_type(keys: tuple[int, ...], default_float: str = "f32") -> str:
    """PyTorch's result dtype: tensors with dimensions first, then 0-dimensional ones, then Python numbers."""
    found: list[str | None] = [None, None, None]
    for key in keys:
        if key == DEFAULT:
            continue
        rank = 0 if key < ZERO_DIM else 1 if key < NUMBER else 2
        if rank < 2:
            dtype = NAMES[key & 15]
        else:
            dtype = {"f32": default_float, "c64": "c128" if default_float == "f64" else "c64"}.get(
                NUMBER_DTYPES[key - NUMBER], NUMBER_DTYPES[key - NUMBER]
            )
        before = found[rank]
        found[rank] = dtype if before is None else promote(before, dtype)
    return combine(found[0], combine(found[1], found[2])) or default_float


def combine(higher: str | None, lower: str | None) -> str | None:
    """Whichever category is higher decides; within one category the stronger kind of operand does."""
    if higher is None or lower is None:
        return higher or lower
    high, low = DTYPES[higher].kind, DTYPES[lower].kind
    if high == "c":
        return higher
    if high == "f":
        return ("c128" if higher == "f64" else "c64") if low == "c" else higher
    return promote(higher, lower) if high == "b" or low in "fc" else higher


def computation(dtype: str) -> str:
    return "f32" if dtype in ("f16", "bf16") else dtype


def typed(op: PointwiseDef, keys: tuple[int, ...], default_float: str = "f32") -> Typed:
    """The op's body on operands with these keys (see core/op.pxi)."""
    count = len(op.operands)
    attributes = [name for name in op.attributes if name not in static_names(op)]
    if op.promote == "exact" and all(key >= NUMBER for key in keys):
        default_float = "f64"  # a number on its own, to be stored: nothing is lost before it reaches its target
    promoting = tuple(k for name, k in zip(op.operands, keys, strict=False) if name not in op.kept)
    result = result_type(promoting, default_float)
    if op.promote == "float" and DTYPES[result].kind in "bui":
        result = default_float
    if DTYPES[result].kind not in DOMAINS[op.domain]:
        wanted = {"b": "bool", "u": "uint8", "i": "integer", "f": "floating", "c": "complex"}
        names = " or ".join(dict.fromkeys(wanted[k] for k in DOMAINS[op.domain]))
        raise NotImplementedError(
            f"{op.name}: takes {names} tensors, got {PUBLIC[CODES[result]]}; convert with x.to(dtype) first"
        )
    inner = result if op.promote == "exact" else computation(result)
    inputs: list[Expr | None] = []
    given: list[Any] = []
    numbers: list[bool] = []
    for i, key in enumerate(keys):
        number = key >= NUMBER
        numbers.append(number)
        if i < count:
            own = op.operands[i] in op.kept
            dtype = (inner if not own else "bool") if number else NAMES[key & 15]
            if number and dtype in PART and NUMBER_DTYPES[key - NUMBER] != "c64":
                dtype = PART[dtype]  # a real number beside complex tensors
            if own and dtype not in ("bool", "u8"):
                raise RuntimeError(
                    f"{op.name}: {op.operands[i]} must be a boolean tensor, got {PUBLIC[CODES[dtype]]}; compare, as in "
                    "x != 0"
                )
            x = var(f"x{i}", dtype)
            inputs.append(x)
            given.append(x if own else cast(x, inner))
            continue
        default = op.attributes[attributes[i - count]]
        if key == DEFAULT:
            inputs.append(None)
            given.append(default)
            continue
        if not number and NAMES[key & 15] in PART and inner in PART:
            # A kernel's argument has no room for it: the number comes as a tensor.
            x = var(f"x{i}", NAMES[key & 15])
            inputs.append(x)
            given.append(x)
            continue
        if not number:
            raise TypeError(f"{op.name}: {attributes[i - count]} must be a Python number, got a tensor; use .item()")
        kind = DTYPES[inner].kind
        weak = NUMBER_DTYPES[key - NUMBER]
        if kind in "bui" and weak in ("f32", "c64") and isinstance(default, int):
            raise TypeError(f"{op.name}: for integral tensors {attributes[i - count]} must be an integer, got a float")
        integer = isinstance(default, int) and weak in ("bool", "i64")
        real = PART.get(inner, inner) if weak != "c64" else inner
        x = var(f"x{i}", real if kind in "fc" else ("i64" if kind == "b" else inner) if integer else "f32")
        inputs.append(x)
        given.append(cast(x, inner) if integer else x)
    body = op.body(*given)
    exprs = body if isinstance(body, tuple) else (body,)
    exprs = tuple(e if isinstance(e, Expr) else const(e, inner) for e in exprs)
    exprs = tuple(cast(e, result) if e.dtype == inner != result else e for e in exprs)
    return Typed(exprs, tuple(inputs), tuple(numbers))


def override(op: PointwiseDef, t: Typed, seeds: tuple[Expr, ...], inner: str) -> tuple[Expr | None, ...]:
    """Gradients by the definition's own rule, which works at the computation dtype.

    A rule gives g · f'; the gradient of a holomorphic function is g · conj(f').
    """
    assert op.grad is not None
    attributes = [v for name, v in op.attributes.items() if name not in static_names(op)]
    values: list[Any] = []
    for i, x in enumerate(t.inputs):
        if x is None:
            values.append(attributes[i - len(op.operands)])
        elif i < len(op.operands) and op.operands[i] in op.kept:
            values.append(x)
        else:
            # abs, angle, … of complex numbers are real: what they are taken of stays complex.
            values.append(x if DTYPES[x.dtype].kind == "c" and DTYPES[inner].kind != "c" else cast(x, inner))
    (body,) = t.exprs
    unrounded = body.args[0] if body.op == "cast" and body.args[0].dtype == inner else body
    turned = conj if DTYPES[inner].kind == "c" else lambda g: g
    found = op.grad(turned(cast(seeds[0], inner)), unrounded, *values)
    found = found if isinstance(found, tuple) else (found,)
    return tuple(
        None if g is None or x is None else convert(turned(g if isinstance(g, Expr) else const(g, inner)), x.dtype)
        for g, x in zip(found, t.inputs, strict=False)
    )


@dataclass(frozen=True, slots=True)
class Derived:
    """The backward of a pointwise op for certain operand dtypes: itself a definition, so it can be derived again."""

    name: str
    form: Typed
    grad: None = None

    def typed(self, keys: tuple[int, ...]) -> Typed:
        """The fixed Exprs; a gradient that is absent arrives as the number 0."""
        is_number = tuple(k >= NUMBER for k in keys)
        real = {
            x: var(str(x.attr), PART[x.dtype])
            for k, x in zip(keys, self.form.inputs, strict=True)
            if NUMBER <= k < NUMBER + 3 and x is not None and x.dtype in PART
        }
        for key, x in zip(keys, self.form.inputs, strict=True):
            if key < NUMBER and x is not None and NAMES[key & 15] != x.dtype:
                raise TypeError(f"{self.name}: expected {PUBLIC[CODES[x.dtype]]}, got {PUBLIC[key & 15]}")
        exprs = substitute(self.form.exprs, {x: cast(y, x.dtype) for x, y in real.items()})
        return Typed(exprs, tuple(real.get(x, x) if x is not None else None for x in self.form.inputs), is_number)


@dataclass(frozen=True, slots=True)
class Backward:
    """`derived` computes, from the gradients and the operands `needs`, gradients `route[j]` for operand `wrt[j]`.

    A route of -1 passes the first gradient on as it is.
    """

    derived: Derived | None
    needs: tuple[int, ...]
    wrt: tuple[int, ...]
    route: tuple[int, ...]


def both(a: Expr | None, b: Expr | None) -> Expr | None:
    """a + b where None is nothing."""
    return b if a is None else a if b is None else add_gradients(a, b)


def backward(op: Any, t: Typed, wrt: tuple[int, ...], name: str) -> Backward:
    """How to go backward for operands `wrt`: what to save, and the Exprs of the gradients."""
    outs = tuple(var(f"out{j}", e.dtype) for j, e in enumerate(t.exprs))
    seeds = tuple(var(f"g{j}", e.dtype) for j, e in enumerate(t.exprs))
    variables = tuple(x for i in wrt if (x := t.inputs[i]) is not None)
    if getattr(op, "grad", None) is not None:
        (body,) = t.exprs
        inner = body.args[0].dtype if body.op == "cast" and DTYPES[body.dtype].size == 2 else body.dtype
        every = override(op, t, seeds, inner)
        grads: tuple[Expr | None, ...] = saved(t.exprs[0], tuple(every[i] for i in wrt), outs[0])
    else:
        grads = tuple(None for _ in wrt)
        for e, out, seed in zip(t.exprs, outs, seeds, strict=True):
            if DTYPES[e.dtype].kind not in "fc":
                continue
            part = saved(e, derivative(e, variables, seed), out)
            grads = tuple(map(both, grads, part))
    computed: list[Expr] = []
    route: list[int] = []
    for i, g in zip(wrt, grads, strict=True):
        x = t.inputs[i]
        assert x is not None
        if g is seeds[0]:
            route.append(-1)
            continue
        route.append(len(computed))
        computed.append(const(0, x.dtype) if g is None else cast(g, x.dtype))
    if not computed:
        return Backward(None, (), wrt, tuple(route))
    used = {n for n in postorder(*computed) if n.op == "var"}
    needs = [i for i, x in enumerate(t.inputs) if x in used] + [
        len(t.inputs) + j for j, o in enumerate(outs) if o in used
    ]
    operands = [*seeds, *(x for x in t.inputs if x in used), *(o for o in outs if o in used)]
    renamed = {x: var(f"x{k}", x.dtype) for k, x in enumerate(operands) if x is not None}
    form = Typed(substitute(tuple(computed), renamed), tuple(renamed.values()), (False,) * len(renamed))
    return Backward(Derived(name + "_backward", form), tuple(needs), wrt, tuple(route))
