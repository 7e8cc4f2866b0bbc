"""`torch.backends.cuda`: not there; its flags are kept. Imports nothing."""

from __future__ import annotations

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


__all__ = [
    "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp", "flash_sdp_enabled", "is_built", "matmul",
    "math_sdp_enabled", "mem_efficient_sdp_enabled",
]  # fmt: skip
