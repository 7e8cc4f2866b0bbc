"""Cache misses: what the core asks for when it has no kernel, no derivative or no rule of its own yet.

Joins ops (what to compute) and codegen (how). Its modules load at the first miss and install the core's hooks.
Read next: `kernels.py`, `programs.py`, then `core/pointwise.pxi` for the warm path.
"""
