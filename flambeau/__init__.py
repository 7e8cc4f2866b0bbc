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

import importlib
from typing import TYPE_CHECKING, Any

from . import deferred as _deferred
from . import eager as _eager
from . import ops as ops
from ._printing import get_printoptions, set_printoptions, tensor_repr
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
from .dlpack import from_dlpack, to_dlpack
from .ops import *
from .ops import abs, all, any, max, min, pow, round, sum  # names that shadow Python's own are meant
from .ops.random import Generator, default_generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state
from .types import (
    BFloat16Tensor,
    BoolTensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
    e,
    finfo,
    iinfo,
    inf,
    nan,
    pi,
)

if TYPE_CHECKING:
    from . import autograd, nn, optim, utils
    from .serialization import load, save

__version__ = "0.1.0"

_core.set_hook("repr", lambda t: tensor_repr(t, get_default_dtype().name))

(bool, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64, complex64, complex128) = DTYPES
half, float, double, short, int, long = float16, float32, float64, int16, int32, int64
cfloat, cdouble = complex64, complex128
dtype = DType
strided = "strided"
contiguous_format, preserve_format, channels_last = "contiguous_format", "preserve_format", "channels_last"
channels_last_3d = "channels_last_3d"
newaxis = None

_subpackages = frozenset(
    ("autograd", "cli", "fft", "linalg", "nn", "optim", "serialization", "special", "testing", "types", "utils")
)


def __getattr__(name: str) -> Any:
    if name in _deferred.FUNCTIONS:
        return _deferred.load(name)
    if name in _subpackages:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'flambeau' has no attribute {name!r}")
