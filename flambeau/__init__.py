"""flambeau: a deep-learning framework with PyTorch's API whose every kernel is generated at run time.

>>> import flambeau as fb
>>> x = fb.tensor([1.0, 2.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4.])

This module only gathers names; subpackages (`nn`, `optim`, `utils`, …) load when they are first asked for.
Read next: `docs/architecture.md`, then `ops/` (what is computed) and `core/` (how fast).
"""

from __future__ import annotations

import importlib as _importlib
from math import e, inf, nan, pi
from typing import TYPE_CHECKING, Any

from . import deferred as _deferred
from . import device as _  # loaded before the class of that name takes its place
from . import ops as ops
from .autograd import enable_grad, inference_mode, no_grad, set_grad_enabled
from .core import _core
from .core._core import (
    DTYPES,
    DType,
    OutOfMemoryError,
    Size,
    Tensor,
    broadcast_shapes,
    device,
    empty_cache,
    get_default_dtype,
    get_num_threads,
    is_grad_enabled,
    is_inference_mode_enabled,
    memory_stats,
    promote_types,
    reset_peak_memory_stats,
    set_default_dtype,
    set_memory_limit,
    set_num_threads,
)
from .core.layouts import layout, sparse_coo, sparse_csc, sparse_csr, strided
from .ops import *
from .ops import abs, pow, round  # names that shadow Python's own are meant

if TYPE_CHECKING:
    from . import autograd, nn, optim, utils
    from .ops.random import Generator, default_generator, manual_seed
    from .serialization import load, save
    from .types import finfo, iinfo

__version__ = "0.1.0"

(bool, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64, complex64, complex128, uint16, uint32,
 uint64) = DTYPES  # fmt: skip
half, float, double, short, int, long = float16, float32, float64, int16, int32, int64
cfloat, cdouble = complex64, complex128
dtype = DType
newaxis = None

_subpackages = frozenset(
    ("__config__", "_dynamo", "_inductor", "accelerator", "amp", "backends", "compiler", "cpu", "cuda", "distributed")
    + ("futures", "hub", "jit", "library", "mps", "onnx", "overrides", "profiler", "random", "version", "xpu")
    + ("array_api", "autograd", "cli", "distributions", "fft", "func", "linalg", "metrics", "multiprocessing", "nn")
    + ("optim", "serialization", "signal", "sparse", "special", "testing", "types", "utils")
)
_internal = frozenset(("Any", "DTYPES", "DType", "TYPE_CHECKING", "annotations", "core", "deferred", "eager", "ops"))
__all__ = [n for n in {*globals()} - _internal - _subpackages | {*_deferred.FUNCTIONS} if n[0] != "_"]

_deferred.install()


def _repr(t: Tensor) -> str:
    if _core.interpreting() and hasattr(t, "_physical"):
        return f"BatchedTensor(bdim=0, value=\n    {t._physical[1]!r}\n)"
    return _importlib.import_module("._printing", __name__).tensor_repr(t, get_default_dtype().name)


_core.set_hook("repr", _repr)


def __getattr__(name: str) -> Any:
    if name in _deferred.FUNCTIONS:
        found = globals()[name] = _deferred.load(name)
        return found
    if name in _subpackages:
        return _importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'flambeau' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(n for n in _subpackages if n[0] != "_"), "__version__"})
