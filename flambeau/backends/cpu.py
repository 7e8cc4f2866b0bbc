"""`torch.backends.cpu`: what the processor can do. Imports codegen when asked."""

from __future__ import annotations


def get_cpu_capability() -> str:
    """PyTorch's name for the vectors in use.

    >>> fb.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512", "DEFAULT")
    True
    """
    from ..codegen.target import host

    return {512: "AVX512", 256: "AVX2"}.get(host().vector_bits, "DEFAULT")


__all__ = ["get_cpu_capability"]
