"""Weights of convolutions in another memory format.

Imports nn.modules. Read next: `clip_grad.py`.
"""

from __future__ import annotations

from typing import Any, TypeVar

from flambeau.nn.modules.conv import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d
from flambeau.nn.modules.module import Module

__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]

M = TypeVar("M", bound=Module)


def _convert(module: M, memory_format: Any, kinds: tuple[type, ...]) -> M:
    for part in module.modules():
        if isinstance(part, kinds):
            part.weight.data = part.weight.detach().clone(memory_format=memory_format)
    return module


def convert_conv2d_weight_memory_format(module: M, memory_format: Any) -> M:
    """Put the weights of all 2-d convolutions in `module` into `memory_format`; returns `module`.

    >>> import flambeau as fb
    >>> conv = fb.nn.utils.convert_conv2d_weight_memory_format(fb.nn.Conv2d(4, 4, 3), fb.channels_last)
    >>> conv.weight.is_contiguous(memory_format=fb.channels_last)
    True
    """
    return _convert(module, memory_format, (Conv2d, ConvTranspose2d))


def convert_conv3d_weight_memory_format(module: M, memory_format: Any) -> M:
    """Put the weights of all 3-d convolutions in `module` into `memory_format`; returns `module`.

    >>> conv = fb.nn.utils.convert_conv3d_weight_memory_format(fb.nn.Conv3d(2, 2, 3), fb.channels_last_3d)
    >>> conv.weight.stride()
    (54, 1, 18, 6, 2)
    """
    return _convert(module, memory_format, (Conv3d, ConvTranspose3d))
