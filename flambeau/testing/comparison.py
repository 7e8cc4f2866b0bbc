"""`assert_close`: two results are equal within tolerances that their dtypes set, or an error says where they differ.

Containers are walked first: what can't be compared at all is an error before any value is looked at. Imports the
tensor core. Read next: `creation.py`.
"""

from __future__ import annotations

import cmath
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import flambeau as fb
from flambeau import Tensor

Message = str | Callable[[str], str] | None

# Relative and absolute tolerance of each dtype; integers and booleans must be equal.
TOLERANCES = {
    fb.float16: (1e-3, 1e-5),
    fb.bfloat16: (1.6e-2, 1e-5),
    fb.float32: (1.3e-6, 1e-5),
    fb.float64: (1e-7, 1e-7),
    fb.complex64: (1.3e-6, 1e-5),
    fb.complex128: (1e-7, 1e-7),
}
NUMBER_DTYPES = {int: fb.int64, bool: fb.int64, float: fb.float64, complex: fb.complex128}


class Mismatch(Exception):
    """What is to be raised, and at which item of nested containers."""

    def __init__(self, error: type[Exception], text: str, where: tuple[Any, ...] = ()) -> None:
        super().__init__(text)
        self.error, self.text, self.where = error, text, where

    def raised(self, message: Message) -> Exception:
        if isinstance(message, str):
            return self.error(message)
        text = self.text
        if self.where:
            text += "\n\nThe failure occurred for item " + "".join(f"[{key!r}]" for key in self.where)
        return self.error(message(text) if message else text)


@dataclass(frozen=True)
class Rules:
    """How two values are compared."""

    allow_subclasses: bool
    rtol: float | None
    atol: float | None
    equal_nan: bool
    check_device: bool
    check_dtype: bool
    check_layout: bool
    check_stride: bool

    def tolerances(self, *dtypes: Any) -> tuple[float, float]:
        if self.rtol is not None and self.atol is not None:
            return self.rtol, self.atol
        if self.rtol is not None or self.atol is not None:
            raise Mismatch(
                ValueError,
                "Both 'rtol' and 'atol' must be either specified or omitted, but got no "
                f"{'rtol' if self.rtol is None else 'atol'}.",
            )
        rtols, atols = zip(*(TOLERANCES.get(dtype, (0.0, 0.0)) for dtype in dtypes), strict=True)
        return max(rtols), max(atols)


class Pair(NamedTuple):
    """Two values that belong together, how they are compared, and where they stand."""

    compare: Callable[[Any, Any, Rules], None]
    actual: Any
    expected: Any
    where: tuple[Any, ...]


def assert_close(
    actual: Any, expected: Any, *, allow_subclasses: bool = True, rtol: float | None = None, atol: float | None = None,
    equal_nan: bool = False, check_device: bool = True, check_dtype: bool = True, check_layout: bool = True,
    check_stride: bool = False, msg: Message = None,
) -> None:  # fmt: skip
    """Raise AssertionError unless |actual - expected| <= atol + rtol |expected| everywhere.

    Tensors, NumPy arrays, numbers, booleans and None, also nested in sequences and mappings. Default tolerances follow
    the dtypes (the looser of two): (rtol, atol) is (1e-3, 1e-5) for float16, (1.6e-2, 1e-5) for bfloat16, (1.3e-6,
    1e-5) for float32 and complex64, (1e-7, 1e-7) for float64 and complex128, and equality for all others.

    Args:
        allow_subclasses: types may differ where one is a subclass of the other.
        rtol, atol: give both or none.
        equal_nan: two NaN are equal.
        check_device, check_dtype, check_layout, check_stride: whether those must be the same; where they needn't,
            tensors are brought together before their values are compared.
        msg: the error's text, or a function from the text that would be raised to another.

    Raises:
        AssertionError: where anything differs; says how many elements, and where they differ most.
        TypeError: where two values have no common type.
        ValueError: where only one tolerance is given.

    >>> import flambeau as fb
    >>> fb.testing.assert_close({"x": fb.tensor([1.0, 2.0])}, {"x": fb.tensor([1.0, 2.0000001])})
    >>> fb.testing.assert_close(fb.tensor([1, 2]), fb.tensor([1, 4]))
    Traceback (most recent call last):
    AssertionError: Tensor-likes are not equal!
    <BLANKLINE>
    Mismatched elements: 1 / 2 (50.0%)
    Greatest absolute difference: 2 at index (1,)
    Greatest relative difference: 0.5 at index (1,)
    """
    __tracebackhide__ = True  # pytest shows the caller's line
    rules = Rules(
        allow_subclasses, rtol, atol, equal_nan, check_device, check_dtype, check_layout, check_stride
    )  # fmt: skip
    try:
        pairs = list(_pairs(actual, expected, (), rules))
        for pair in pairs:
            try:
                pair.compare(pair.actual, pair.expected, rules)
            except Mismatch as mismatch:
                raise Mismatch(mismatch.error, mismatch.text, pair.where) from None
    except Mismatch as mismatch:
        error = mismatch.raised(msg)
    else:
        return
    raise error


def _pairs(actual: Any, expected: Any, where: tuple[Any, ...], rules: Rules) -> Iterator[Pair]:
    both = actual, expected
    if _are(both, Sequence) and not any(isinstance(x, str) for x in both):
        if len(actual) != len(expected):
            raise Mismatch(
                AssertionError, f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", where
            )
        for i in range(len(actual)):
            yield from _pairs(actual[i], expected[i], (*where, i), rules)
    elif _are(both, Mapping):
        if actual.keys() != expected.keys():
            missing, additional = expected.keys() - actual.keys(), actual.keys() - expected.keys()
            raise Mismatch(
                AssertionError,
                f"The keys of the mappings do not match:\nMissing keys in the actual mapping: {sorted(missing)}\n"
                f"Additional keys in the actual mapping: {sorted(additional)}",
                where,
            )
        for key in _in_order(actual):
            yield from _pairs(actual[key], expected[key], (*where, key), rules)
    else:
        yield _pair(actual, expected, where, rules)


def _are(values: Sequence[Any], types: Any) -> bool:
    return all(isinstance(x, types) for x in values)


def _in_order(mapping: Mapping[Any, Any]) -> list[Any]:
    try:
        return sorted(mapping)
    except TypeError:  # keys of several types
        return list(mapping)


def _pair(actual: Any, expected: Any, where: tuple[Any, ...], rules: Rules) -> Pair:
    both = actual, expected
    if actual is None or expected is None:
        return Pair(_compare_none, actual, expected, where)
    if _are(both, (bool, np.bool_)):
        return Pair(_compare_booleans, bool(actual), bool(expected), where)
    if _are(both, (int, float, complex, np.number)):
        x, y = (x.item() if isinstance(x, np.number) else x for x in both)
        return Pair(_compare_numbers, x, y, where)
    related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
    if related and (rules.allow_subclasses or type(actual) is type(expected)):
        try:
            x, y = (x if isinstance(x, Tensor) else fb.as_tensor(x) for x in both)
            return Pair(_compare_tensors, x, y, where)
        except (TypeError, ValueError, RuntimeError):
            pass  # nothing that a tensor can be made of
    raise Mismatch(
        TypeError,
        f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}.",
        where,
    )


def _compare_none(actual: Any, expected: Any, rules: Rules) -> None:
    if actual is not expected:
        raise Mismatch(AssertionError, f"None mismatch: {actual} is not {expected}")


def _compare_booleans(actual: bool, expected: bool, rules: Rules) -> None:
    if actual is not expected:
        raise Mismatch(AssertionError, f"Booleans mismatch: {actual} is not {expected}")


def _compare_numbers(actual: Any, expected: Any, rules: Rules) -> None:
    rtol, atol = rules.tolerances(NUMBER_DTYPES[type(actual)], NUMBER_DTYPES[type(expected)])
    if rules.check_dtype and type(actual) is not type(expected):
        raise Mismatch(AssertionError, f"The (d)types do not match: {type(actual)} != {type(expected)}.")
    if actual == expected or (rules.equal_nan and cmath.isnan(actual) and cmath.isnan(expected)):
        return
    difference = abs(actual - expected)
    if cmath.isfinite(difference) and difference <= atol + rtol * abs(expected):
        return
    raise Mismatch(AssertionError, _scalar_report(actual, expected, rtol, atol))


def _compare_tensors(actual: Tensor, expected: Tensor, rules: Rules) -> None:
    rtol, atol = rules.tolerances(actual.dtype, expected.dtype)
    _compare_attributes(actual, expected, rules)
    # What is compared is off the tape: values alone count.
    x, y = (_dense(t.detach()) for t in (actual, expected))
    if x.device != y.device:
        x, y = x.cpu(), y.cpu()
    dtype = fb.promote_types(x.dtype, y.dtype)
    x, y = x.to(dtype), y.to(dtype)
    matches = fb.isclose(x, y, rtol=rtol, atol=atol, equal_nan=rules.equal_nan)
    if not bool(matches.all()):
        report = _tensor_report(x, y, matches, rtol, atol) if x.ndim else _scalar_report(x.item(), y.item(), rtol, atol)
        raise Mismatch(AssertionError, report)


def _dense(x: Tensor) -> Tensor:
    return x if x.layout == fb.strided else x.to_dense()


def _compare_attributes(actual: Tensor, expected: Tensor, rules: Rules) -> None:
    dense = actual.layout == expected.layout == fb.strided
    checks: tuple[tuple[str, bool, Callable[[Tensor], Any]], ...] = (
        ("shape", True, lambda t: t.shape),
        ("layout", rules.check_layout, lambda t: t.layout),
        ("stride()", rules.check_stride and dense, lambda t: t.stride()),
        ("device", rules.check_device, lambda t: t.device),
        ("dtype", rules.check_dtype, lambda t: t.dtype),
    )
    for name, wanted, attribute in checks:
        if wanted and attribute(actual) != attribute(expected):
            raise Mismatch(
                AssertionError,
                f"The values for attribute '{name}' do not match: {attribute(actual)} != {attribute(expected)}.",
            )


def _scalar_report(actual: Any, expected: Any, rtol: float, atol: float) -> str:
    difference = abs(actual - expected)
    relative = difference / abs(expected) if expected else float("inf")
    summary = f"Expected {expected} but got {actual}."
    return _report("Scalars", summary, (difference, ""), (relative, ""), rtol, atol)


def _tensor_report(actual: Tensor, expected: Tensor, matches: Tensor, rtol: float, atol: float) -> str:
    count, wrong = matches.numel(), int((~matches).sum())
    if not (actual.is_floating_point() or actual.is_complex()):
        actual, expected = actual.long(), expected.long()  # differences of small integers overflow
    nothing = fb.zeros((), dtype=(actual - expected).abs().dtype)
    absolute = fb.where(matches, nothing, (actual - expected).abs())
    relative = absolute / expected.abs()
    relative = fb.where(matches, fb.zeros((), dtype=relative.dtype), relative)
    return _report(
        "Tensor-likes", f"Mismatched elements: {wrong} / {count} ({wrong / count:.1%})", _greatest(absolute),
        _greatest(relative), rtol, atol,
    )  # fmt: skip


def _greatest(difference: Tensor) -> tuple[Any, str]:
    flat = difference.reshape(-1)
    at = int(flat.argmax())
    index = tuple(int(i) for i in np.unravel_index(at, tuple(difference.shape)))
    return flat[at].item(), f" at index {index}"


def _report(
    what: str, summary: str, absolute: tuple[Any, str], relative: tuple[Any, str], rtol: float, atol: float
) -> str:
    exact = rtol == atol == 0
    lines = [f"{what} are not {'equal' if exact else 'close'}!", "", summary]
    for name, (value, place), limit in (("absolute", absolute, atol), ("relative", relative, rtol)):
        head = f"Greatest {name} difference" if place else f"{name.title()} difference"
        lines.append(f"{head}: {value}{place}" + ("" if exact else f" (up to {limit} allowed)"))
    return "\n".join(lines)


def assert_allclose(
    actual: Any, expected: Any, rtol: float | None = None, atol: float | None = None, equal_nan: bool = True,
    msg: str = "",
) -> None:  # fmt: skip
    """The deprecated forerunner of `assert_close`: dtypes may differ, NaN equals NaN, and tolerances are looser.

    >>> fb.testing.assert_allclose(fb.tensor([1.0]), fb.tensor([1.0 + 1e-6]))
    """
    __tracebackhide__ = True
    warnings.warn(
        "`flambeau.testing.assert_allclose()` is deprecated. Please use `flambeau.testing.assert_close()` instead.",
        FutureWarning,
        stacklevel=2,
    )
    x = actual if isinstance(actual, Tensor) else fb.tensor(actual)
    y = expected if isinstance(expected, Tensor) else fb.tensor(expected, dtype=x.dtype)
    if rtol is None and atol is None:
        loose = {fb.float16: (1e-3, 1e-3), fb.float32: (1e-4, 1e-5), fb.float64: (1e-5, 1e-8)}
        rtol, atol = (max(limits) for limits in zip(*(loose.get(t.dtype, (0.0, 0.0)) for t in (x, y)), strict=True))
    assert_close(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False, msg=msg or None)
