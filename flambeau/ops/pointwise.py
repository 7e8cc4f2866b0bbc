"""Every pointwise op: importing this module declares them all, and `OPS` is the table.

One file for each family; each definition stands alone, and adding an op touches its family's file only. May import ir
only. Read next: `define.py` (the decorator), then `pointwise_arithmetic.py`.
"""

from . import (
    pointwise_activations,
    pointwise_arithmetic,
    pointwise_bounds,
    pointwise_complex,
    pointwise_logic,
    pointwise_losses,
    pointwise_special,
    pointwise_transcendental,
    pointwise_trigonometric,
)
from .define import OPS, PointwiseDef

FAMILIES = (
    pointwise_arithmetic,
    pointwise_bounds,
    pointwise_logic,
    pointwise_transcendental,
    pointwise_trigonometric,
    pointwise_activations,
    pointwise_losses,
    pointwise_special,
    pointwise_complex,
)

__all__ = ["FAMILIES", "OPS", "PointwiseDef"]
