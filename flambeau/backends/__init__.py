"""`torch.backends`: the flags programs set on libraries of PyTorch's. They are kept and read back, and change nothing:
every kernel is generated here. Questions whether a library is there are answered truthfully. Imports nothing.
"""

from __future__ import annotations

from . import cpu, cuda, cudnn, mkl, mkldnn, mps, openmp, opt_einsum

__all__ = ["cpu", "cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp", "opt_einsum"]
