"""Writes docs/reference/parity.md (how many of PyTorch's public names are here) and the list of the others, with
reasons, in docs/reference/differences.md.

    python docs/parity.py            # after a name was added; tests/test_parity.py holds both pages to the truth

The names are PyTorch's own, read from version 2.13 (tests/data/pytorch_names.json).
"""

from __future__ import annotations

import importlib
import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "parity.md"
DIFFERENCES = ROOT / "docs" / "reference" / "differences.md"
NAMES = json.loads((ROOT / "tests" / "data" / "pytorch_names.json").read_text())
START, END = "<!-- names: made by docs/parity.py -->\n", "<!-- end of names -->\n"

# Names that don't concern a framework for tensors on this device: reason -> patterns of whole names.
APART = {
    "Other devices. There is the CPU; what asks for another one gets an error that says so.": (
        "AcceleratorError|Event|Stream|cuda|ipu|xpu|mtia|is_xpu|is_ipu|record_stream|get_device_module"
    ),
    "Quantised tensors, and floating dtypes of 8 bits, which PyTorch computes with on other devices only.": (
        "q_.*|.*quantize.*|int_repr|qscheme|float8_.*|scaled_.*mm|grouped_mm"
    ),
    "Complex numbers of two 16-bit floats: PyTorch marks them experimental; complex64 holds all of them.": (
        "complex32|chalf"
    ),
    "A hash of a tensor's bytes: PyTorch marks it experimental.": "hash_tensor",
    "Block-sparse layouts.": "(to_)?sparse_bs[rc](_tensor)?",
    "Nested (jagged) tensors.": "jagged|to_padded_tensor",
    "Tasks of TorchScript's interpreter.": "fork|wait",
    "Data pipes, deprecated by PyTorch.": (
        "DFIterDataPipe|DataChunk|IterDataPipe|MapDataPipe|argument_validation|functional_datapipe|"
        "guaranteed_datapipes_determinism|non_deterministic|runtime_validation.*"
    ),
    "Swapping of a module's tensors for others under their names: values are copied or, with `assign`, replaced.": (
        "module_load|swap_in_optimizer_params_and_state"
    ),
    "Storages as objects of a type: `Tensor.untyped_storage()` has what programs ask of one.": (
        "UntypedStorage|storage_type"
    ),
    "First-class dimensions (functorch's dims).": "index",
    "Tensor subclasses of one's own: Parameter and Buffer are made by their constructors.": "as_subclass",
    "Gradients of another dtype than their tensor.": "grad_dtype",
}


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


def title(namespace: str) -> str:
    return f"torch.{namespace}" if namespace else "torch"


def page() -> str:
    lines = ["# PyTorch's names", "", f"Made by `docs/parity.py` from the {NAMES['source']}. The names that are not"]
    lines += ["here, and why, stand in [differences](differences.md).", ""]
    lines += ["| namespace | here | missing | set apart | share of those that count |", "|---|---|---|---|---|"]
    for namespace, (present, missing, apart) in counted().items():
        share = len(present) / (len(present) + len(missing))
        other = sum(map(len, apart.values()))
        lines.append(f"| {title(namespace)} | {len(present)} | {len(missing)} | {other} | {share:.1%} |")
    return "\n".join(lines) + "\n"


def absent_names() -> str:
    """The names that are not here, by reason: the part of differences.md between the two marks."""
    table = counted()
    lines = []
    if any(missing for _, missing, _ in table.values()):
        lines += ["- Not written yet:"]
        for namespace, (_, names, _) in table.items():
            lines += [f"  - {title(namespace)}: " + ", ".join(f"`{n}`" for n in names)] * bool(names)
    for why in APART:
        names = sorted({n for _, _, apart in table.values() for n in apart.get(why, ())})
        if names:
            lines += [f"- {why}", "  " + ", ".join(f"`{n}`" for n in names)]
    return "\n".join(lines) + "\n"


def with_names(text: str) -> str:
    """The page of differences with its list of names made anew."""
    before, rest = text.split(START)
    return before + START + absent_names() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page())
    DIFFERENCES.write_text(with_names(DIFFERENCES.read_text()))
