"""The CPU as a device: turns images of machine code into functions the core can call. Imports core only.

Buffers and launching are the core's own (`core/_core.pyx`); there is nothing else a CPU needs.
"""

from __future__ import annotations


def load(image: bytes) -> int:
    """The address of an executable, page-aligned copy of a position-independent image, kept for good."""
    from ..core._core import load_code

    return load_code(image)
