"""`torch.backends.cuda`: not there; its flags are kept. Imports nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

matmul = SimpleNamespace(
    allow_tf32=False, allow_fp16_reduced_precision_reduction=True, allow_bf16_reduced_precision_reduction=True
)
chosen = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True}


def is_built() -> bool:
    """False."""
    return False


def flash_sdp_enabled() -> bool:
    """What enable_flash_sdp was given; attention is one op here whatever it says."""
    return chosen["flash"]


def enable_flash_sdp(enabled: bool) -> None:
    """Kept; attention is one op here whatever it says."""
    chosen["flash"] = enabled


def mem_efficient_sdp_enabled() -> bool:
    """What enable_mem_efficient_sdp was given."""
    return chosen["mem_efficient"]


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Kept, as enable_flash_sdp."""
    chosen["mem_efficient"] = enabled


def math_sdp_enabled() -> bool:
    """What enable_math_sdp was given."""
    return chosen["math"]


def enable_math_sdp(enabled: bool) -> None:
    """Kept, as enable_flash_sdp."""
    chosen["math"] = enabled


def cudnn_sdp_enabled() -> bool:
    """What enable_cudnn_sdp was given."""
    return chosen["cudnn"]


def enable_cudnn_sdp(enabled: bool) -> None:
    """Kept, as enable_flash_sdp."""
    chosen["cudnn"] = enabled


@contextmanager
def sdp_kernel(
    enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True, enable_cudnn: bool = True
) -> Iterator[dict]:
    """The flags for a region: the older form of nn.attention.sdpa_kernel."""
    before = dict(chosen)
    chosen.update(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn)
    try:
        yield {}
    finally:
        chosen.update(before)


__all__ = [
    "cudnn_sdp_enabled", "enable_cudnn_sdp", "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp",
    "flash_sdp_enabled", "is_built", "math_sdp_enabled", "matmul", "mem_efficient_sdp_enabled", "sdp_kernel",
]  # fmt: skip
