"""`torch.__config__`: how flambeau is built and runs, in words. Imports flambeau when asked."""

from __future__ import annotations


def show() -> str:
    """A few lines on version, target and threads."""
    import flambeau as fb
    from flambeau.codegen.target import host

    return "\n".join([
        f"flambeau {fb.__version__}, built with:", "  - kernels generated at run time (LLVM)",
        f"  - CPU target {host().name}, vectors of {host().vector_bits} bits", f"  - {fb.get_num_threads()} threads",
        "  - no CUDA",
    ])  # fmt: skip


def parallel_info() -> str:
    """How many threads compute."""
    import flambeau as fb

    return f"flambeau's thread pool: {fb.get_num_threads()} threads"


__all__ = ["parallel_info", "show"]
