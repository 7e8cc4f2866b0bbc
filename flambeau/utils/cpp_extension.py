"""`torch.utils.cpp_extension`, present so that programs can import it: C++ and CUDA extensions of PyTorch's can't be
loaded, as there is no libtorch; each name says so when it is called. Imports nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

CUDA_HOME = ROCM_HOME = None


def absent(name: str) -> Callable[..., NoReturn]:
    def call(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"cpp_extension.{name}: extensions for PyTorch's C++ interface can't be built for flambeau; write the op "
            "in Python as an autograd.Function, or over other operations"
        )

    call.__name__ = call.__qualname__ = name
    call.__doc__ = "Raises NotImplementedError: there is no libtorch to build against."
    return call


load, load_inline = absent("load"), absent("load_inline")
CppExtension, CUDAExtension = absent("CppExtension"), absent("CUDAExtension")
BuildExtension, include_paths = absent("BuildExtension"), absent("include_paths")

__all__ = ["BuildExtension", "CUDAExtension", "CppExtension", "include_paths", "load", "load_inline"]
