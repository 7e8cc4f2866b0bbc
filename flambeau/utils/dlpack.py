"""PyTorch's place for DLPack's two functions. Read next: `flambeau/dlpack.py`."""

from ..dlpack import from_dlpack, to_dlpack

__all__ = ["from_dlpack", "to_dlpack"]
