"""`torch.nn.attention`: which kernels attention may use. There is one here, so the choice is checked and kept, no more.

Imports nothing above the standard library. Read next: `bias.py`, `ops/attention.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

WARN_FOR_UNFUSED_KERNELS = False


class SDPBackend(IntEnum):
    """The kernels that PyTorch has for attention.

    >>> fb.nn.attention.SDPBackend.MATH.name
    'MATH'
    """

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


class Allowed(threading.local):
    backends: tuple[SDPBackend, ...] = tuple(SDPBackend)[1:]


allowed = Allowed()


@contextmanager
def sdpa_kernel(backends: list[SDPBackend] | SDPBackend, set_priority: bool = False) -> Iterator[dict]:
    """Inside, attention is asked to use one of these kernels; here the one there is serves for each of them.

    set_priority: the list is in order of preference. Raises AssertionError for what isn't an SDPBackend, and
    RuntimeError for an empty list, which leaves no kernel to use.

    >>> from flambeau.nn.attention import SDPBackend, sdpa_kernel
    >>> q = fb.ones(1, 1, 2, 4)
    >>> with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH], set_priority=True):
    ...     fb.nn.functional.scaled_dot_product_attention(q, q, q).shape
    flambeau.Size([1, 1, 2, 4])
    """
    chosen = backends if isinstance(backends, list) else [backends]
    for backend in chosen:
        if not isinstance(backend, SDPBackend):
            raise AssertionError(
                f"sdpa_kernel: expected an SDPBackend or a list of them, got a {type(backend).__name__}: {backend!r}"
            )
    if not chosen:
        raise RuntimeError("sdpa_kernel: got an empty list, which leaves attention no kernel; name an SDPBackend")
    before, allowed.backends = allowed.backends, tuple(dict.fromkeys(chosen))
    try:
        yield {}
    finally:
        allowed.backends = before


__all__ = ["WARN_FOR_UNFUSED_KERNELS", "SDPBackend", "sdpa_kernel"]
