"""Writes docs/reference/parity.md: which of PyTorch's public names are here, and why the others aren't.

    python docs/parity.py            # after a name was added; tests/test_parity.py holds the page to the truth

The names are PyTorch's own, read from version 2.13 (tests/data/pytorch_names.json).
"""

from __future__ import annotations

import importlib
import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "parity.md"
NAMES = json.loads((ROOT / "tests" / "data" / "pytorch_names.json").read_text())

# Names that don't concern a framework for dense tensors on this device: reason -> patterns of whole names.
APART = {
    "other devices": "AcceleratorError|Event|Stream|cuda|ipu|xpu|mtia|is_xpu|is_ipu|record_stream|get_device_module",
    "quantised tensors": "q_.*|.*quantize.*|int_repr|qscheme|chalf|complex32|float8_.*|scaled_.*mm|grouped_mm",
    "sparse tensors (a later step)": (
        ".*sparse.*|col_indices.*|crow_indices.*|indices.*|values.*|coalesce|is_coalesced|hspmm|smm|sspaddmm|dense_dim|"
        "to_dense|SparseAdam|nonzero_static"
    ),
    "jagged and padded tensors": "jagged|to_padded_tensor|segment_reduce",
    "automatic mixed precision (a later step)": ".*autocast.*|GradScaler",
    "compiler and control-flow operators (a later step)": "compile|cond|while_loop|vmap|fork|wait",
    "copies of views: x.op().clone() is the same": ".*_copy|.*_copy_",
    "internals": (
        "UntypedStorage|from_file|hash_tensor|const_data_ptr|dim_order|grad_dtype|module_load|storage_type|as_subclass|"
        "layout|memory_format|conv_tbc|swap_in_optimizer_params_and_state|LinearCrossEntropyOptions|index|"
        "unsafe_chunk|unsafe_split|share_memory_|uint16|uint32|uint64"
    ),
    "data pipes, deprecated by PyTorch": (
        "DFIterDataPipe|DataChunk|IterDataPipe|MapDataPipe|argument_validation|functional_datapipe|"
        "guaranteed_datapipes_determinism|non_deterministic|runtime_validation.*"
    ),
}  # fmt: skip


def here(namespace: str, name: str) -> bool:
    """Whether flambeau has the name."""
    if namespace == "Tensor":
        return hasattr(importlib.import_module("flambeau").Tensor, name)
    return hasattr(importlib.import_module(f"flambeau.{namespace}" if namespace else "flambeau"), name)


def reason(name: str) -> str | None:
    return next((why for why, pattern in APART.items() if re.fullmatch(pattern, name)), None)


def counted() -> dict[str, tuple[list[str], list[str], dict[str, list[str]]]]:
    """For each namespace: names that are here, names that are missing, and those set apart by reason."""
    found = {}
    for namespace, names in NAMES["namespaces"].items():
        present = [n for n in names if here(namespace, n)]
        absent = [n for n in names if n not in present]
        apart: dict[str, list[str]] = {}
        for n in absent:
            why = reason(n)
            if why is not None:
                apart.setdefault(why, []).append(n)
        found[namespace] = present, [n for n in absent if reason(n) is None], apart
    return found


def page() -> str:
    lines = ["# PyTorch's names", "", f"Made by `docs/parity.py` from the {NAMES['source']}.", ""]
    lines += ["| namespace | here | missing | set apart | share of those that count |", "|---|---|---|---|---|"]
    table = counted()
    for namespace, (present, missing, apart) in table.items():
        share = len(present) / (len(present) + len(missing))
        other = sum(map(len, apart.values()))
        lines.append(
            f"| torch{'.' if namespace else ''}{namespace} | {len(present)} | {len(missing)} | {other} | {share:.1%} |"
        )
    lines += ["", "## Missing", ""]
    for namespace, (_, missing, _) in table.items():
        if missing:
            lines += [f"- torch{'.' if namespace else ''}{namespace}: " + ", ".join(missing)]
    lines += ["", "## Set apart", ""]
    for why in APART:
        names = sorted({n for _, _, apart in table.values() for n in apart.get(why, ())})
        if names:
            lines += [f"- {why}: " + ", ".join(names)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
