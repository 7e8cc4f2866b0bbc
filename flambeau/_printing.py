"""How a tensor is shown: PyTorch's layout, digit for digit (`tensor([1.0000, 2.5000])`).

Takes anything with `shape`, `dtype`, `tolist` and indexing, and sparse tensors; of a large tensor only the edges are
read. Imports the standard library only. Read next: `core/tensor.pxi`, whose `__repr__` calls `tensor_repr`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Options:
    """precision: digits after the point; threshold: elements from which only `edgeitems` at each end are shown."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


PROFILES = {"default": Options(), "short": Options(precision=2, edgeitems=2), "full": Options(threshold=math.inf)}
options = Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Sets how tensors are printed; what isn't given stays, but sci_mode goes back to automatic.

    profile: 'default', 'short' (two digits, two edge items) or 'full' (nothing left out).

    >>> import flambeau as fb
    >>> fb.set_printoptions(precision=2)
    >>> fb.tensor([1.5, 2.25])
    tensor([1.50, 2.25])
    >>> fb.set_printoptions(profile="default")
    """
    global options
    if profile is not None and profile not in PROFILES:
        raise ValueError(f"set_printoptions: profile is one of {', '.join(PROFILES)}, got {profile!r}")
    chosen = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    given = {name: value for name, value in chosen.items() if value is not None}
    options = replace(PROFILES[profile] if profile else options, **given, sci_mode=sci_mode)  # type: ignore[arg-type]


def get_printoptions() -> dict[str, Any]:
    """The options in force, by name.

    >>> fb.get_printoptions()["precision"]
    4
    """
    return {name: getattr(options, name) for name in Options.__dataclass_fields__}


class Format:
    """How real numbers of one tensor are written: all with one width, in one of three styles."""

    def __init__(self, values: list[Any]) -> None:
        self.floating = any(isinstance(v, float) for v in values)
        if not self.floating:
            self.width = max((len(str(v)) for v in values), default=1)
            return
        # Zeros, infinities and NaN don't take part in the choice, nor in the width.
        counted = [v for v in values if v and math.isfinite(v)]
        sizes = [abs(v) for v in counted]
        self.whole = all(v == math.ceil(v) for v in counted)
        self.scientific = bool(options.sci_mode and counted)
        if options.sci_mode is None and counted:
            low, high = min(sizes), max(sizes)
            self.scientific = high / low > 1000 or high > 1e8 or low < 1e-4
        self.width = 1
        self.width = max((len(self.bare(v)) for v in counted), default=1)

    def bare(self, value: Any) -> str:
        if not self.floating:
            return str(value)
        if self.scientific:
            return f"{value:.{options.precision}e}"
        if self.whole:
            return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"
        return f"{value:.{options.precision}f}"

    def __call__(self, value: Any) -> str:
        return self.bare(value).rjust(self.width)


class ComplexFormat:
    """Real and imaginary parts, each with a Format of its own."""

    def __init__(self, values: list[complex]) -> None:
        self.real, self.imag = Format([v.real for v in values]), Format([v.imag for v in values])
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, value: complex) -> str:
        imag = f"{self.imag(value.imag)}j".lstrip()
        return f"{self.real(value.real)}{'' if imag[0] in '+-' else '+'}{imag}"


def edges(t: Any, shape: tuple[int, ...]) -> Any:
    """t as nested lists, with `...` where items are left out."""
    if not shape:
        return t.tolist()
    k = options.edgeitems
    if shape[0] <= 2 * k:
        return t.tolist() if len(shape) == 1 else [edges(t[i], shape[1:]) for i in range(shape[0])]
    if len(shape) == 1:
        return [*t[:k].tolist(), ..., *(t[shape[0] - k :].tolist() if k else [])]
    shown = [*range(k), *range(shape[0] - k, shape[0])]
    rows: list[Any] = [edges(t[i], shape[1:]) for i in shown]
    return [*rows[:k], ..., *rows[k:]]


def leaves(x: Any) -> Iterator[Any]:
    if isinstance(x, list):
        for item in x:
            yield from leaves(item)
    elif x is not ...:
        yield x


def layout(x: Any, depth: int, form: Format | ComplexFormat, indent: int) -> str:
    """Nested lists as brackets: rows filled to the line width, blank lines between matrices."""
    if depth == 0:
        return form(x)
    if depth == 1:
        items = [" ..." if item is ... and len(x) > 1 else "..." if item is ... else form(item) for item in x]
        per_line = max(1, (options.linewidth - indent) // (form.width + 2))
        lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    parts = ["..." if item is ... else layout(item, depth - 1, form, indent + 1) for item in x]
    return "[" + ("," + "\n" * (depth - 1) + " " * (indent + 1)).join(parts) + "]"


def elements(t: Any, indent: int) -> str:
    """The elements in brackets, for a place that `indent` characters stand before."""
    shape = tuple(t.shape)
    count = math.prod(shape)
    if count == 0:
        return "[]"
    plain = t.detach() if hasattr(t, "detach") else t
    values = edges(plain, shape) if count > options.threshold else plain.tolist()
    flat = list(leaves(values)) if shape else [values]
    form = ComplexFormat(flat) if "complex" in str(t.dtype) else Format(flat)
    return layout(values, len(shape), form, indent)


def tensor_repr(t: Any, default_dtype: str = "float32") -> str:
    """The text PyTorch would print for this tensor; default_dtype: the floating dtype that isn't mentioned."""
    if getattr(t, "layout", None) in PARTS:
        return sparse_repr(t, default_dtype)
    shape = tuple(t.shape)
    dtype = str(t.dtype).rpartition(".")[2]
    notes = []
    prefix = "tensor("
    if 0 in shape:
        if len(shape) != 1:
            notes.append(f"size={shape}")
        familiar = {default_dtype}
    else:
        if not options.edgeitems:
            notes.append(f"size={shape}")
        familiar = {default_dtype, "complex128" if default_dtype == "float64" else "complex64", "int64", "bool"}
    if dtype not in familiar:
        notes.append(f"dtype={t.dtype}")
    if getattr(t, "grad_fn", None) is not None:
        notes.append(f"grad_fn={repr(t.grad_fn).split(' object at ')[0]}>")
    elif getattr(t, "requires_grad", False):
        notes.append("requires_grad=True")
    return filled(prefix + elements(t, len(prefix)), notes, len(prefix)) + ")"


def filled(text: str, notes: list[str], margin: int) -> str:
    """text and notes, separated by commas, broken where a line would get too long."""
    column = len(text) - text.rfind("\n") + 1
    for note in notes:
        if column + len(note) + 2 > options.linewidth:
            text += ",\n" + " " * margin + note
            column = margin + len(note)
        else:
            text += ", " + note
            column += len(note) + 2
    return text


# ---- sparse tensors
PARTS = {
    "sparse_coo": ("_indices",),
    "sparse_csr": ("crow_indices", "col_indices"),
    "sparse_csc": ("ccol_indices", "row_indices"),
}


def part(name: str, t: Any, margin: int) -> str:
    """name=tensor(…), standing `margin` characters from the left."""
    prefix = f"{name}=tensor("
    note = f", size={tuple(t.shape)}" if 0 in t.shape else ""
    return prefix + elements(t, margin + len(prefix)) + note + ")"


def sparse_repr(t: Any, default_dtype: str) -> str:
    """Indices and values, and what the tensor is."""
    prefix = "tensor("
    margin = len(prefix)
    parts = [part(name.lstrip("_"), getattr(t, name)(), margin) for name in PARTS[t.layout]]
    parts.append(part("values", t._values(), margin))
    notes = [f"size={tuple(t.shape)}", f"nnz={t._nnz()}"]
    if str(t.dtype).rpartition(".")[2] not in {default_dtype, "complex64", "int64", "bool"}:
        notes.append(f"dtype={t.dtype}")
    notes.append(f"layout={t.layout}")
    if t.grad_fn is not None:
        notes.append(f"grad_fn={repr(t.grad_fn).split(' object at ')[0]}>")
    elif t.requires_grad:
        notes.append("requires_grad=True")
    text = prefix + (",\n" + " " * margin).join(parts)
    first = ",\n" + " " * margin if t.layout == "sparse_coo" else ", "
    return filled(text + first + notes[0], notes[1:], margin) + ")"
