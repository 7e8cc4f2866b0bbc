"""How a sparse tensor is shown: its indices and values, then what it is. Imports the printer of dense tensors.

Read next: `_printing.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _printing
from ..core._core import Tensor, get_default_dtype

if TYPE_CHECKING:
    from .tensor import SparseTensor

NAMES = {
    "sparse_coo": ("indices",),
    "sparse_csr": ("crow_indices", "col_indices"),
    "sparse_csc": ("ccol_indices", "row_indices"),
}


def part(name: str, t: Tensor, margin: int) -> str:
    """name=tensor(…), standing `margin` characters from the left."""
    prefix = f"{name}=tensor("
    note = f", size={tuple(t.shape)}" if t.numel() == 0 else ""
    return prefix + _printing.elements(t, margin + len(prefix)) + note + ")"


def text(s: SparseTensor) -> str:
    """The text PyTorch would print for this tensor."""
    layout, margin = s.layout, len("tensor(")
    parts = [part(n, i, margin) for n, i in zip(NAMES[layout], s.structure.indices, strict=True)]
    parts.append(part("values", s.held, margin))
    notes = [f"size={tuple(s.shape)}", f"nnz={s.structure.nnz}"]
    if s.dtype.name not in (get_default_dtype().name, "complex64", "int64", "bool"):
        notes.append(f"dtype={s.dtype}")
    notes.append(f"layout=flambeau.{layout}")
    if s.grad_fn is not None:
        notes.append(f"grad_fn={repr(s.grad_fn).split(' object at ')[0]}>")
    elif s.requires_grad:
        notes.append("requires_grad=True")
    out = "tensor(" + (",\n" + " " * margin).join(parts)
    if layout == "sparse_coo":
        out += ",\n" + " " * margin
        column, separator = margin, ""
    else:
        column, separator = len(out) - out.rfind("\n") + 1, ", "
    for note in notes:
        if separator and column + len(note) + 2 > _printing.options.linewidth:
            out += ",\n" + " " * margin + note
            column = margin + len(note)
        else:
            out += separator + note
            column += len(note) + len(separator)
        separator = ", "
    return out + ")"
