"""PyTorch's process-wide switches: those that mean something here act, the others say what always holds.

Imports core only.
"""

from __future__ import annotations

from typing import Any

from .core import _core
from .core._core import DTYPES, device, get_num_threads, set_default_dtype
from .ops.factories import check_place

_warn_always = False
_deterministic_mode = 0
_precision = "highest"


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted: every algorithm here is deterministic, whatever the mode and the number of threads.

    >>> fb.use_deterministic_algorithms(True)
    >>> fb.are_deterministic_algorithms_enabled()
    True
    >>> fb.use_deterministic_algorithms(False)
    """
    set_deterministic_debug_mode(0 if not mode else 1 if warn_only else 2)


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was given last; every algorithm is deterministic either way.

    >>> fb.are_deterministic_algorithms_enabled()
    False
    """
    return _deterministic_mode != 0


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """The `warn_only` that `use_deterministic_algorithms` was given last.

    >>> fb.is_deterministic_algorithms_warn_only_enabled()
    False
    """
    return _deterministic_mode == 1


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """0 "default", 1 "warn" or 2 "error"; nothing here is ever nondeterministic.

    >>> fb.set_deterministic_debug_mode("warn")
    >>> fb.get_deterministic_debug_mode()
    1
    >>> fb.set_deterministic_debug_mode(0)
    """
    global _deterministic_mode
    names = {"default": 0, "warn": 1, "error": 2}
    mode = names.get(debug_mode, -1) if isinstance(debug_mode, str) else debug_mode
    if mode not in (0, 1, 2):
        raise RuntimeError(
            f"set_deterministic_debug_mode: one of {list(names)} or 0, 1, 2 is needed, got {debug_mode!r}"
        )
    _deterministic_mode = mode


def get_deterministic_debug_mode() -> int:
    """The mode in force: 0, 1 or 2, as `set_deterministic_debug_mode` names them.

    >>> fb.get_deterministic_debug_mode()
    0
    """
    return _deterministic_mode


def set_float32_matmul_precision(precision: str) -> None:
    """ "highest", "high" or "medium"; products of float32 are always computed in float32.

    >>> fb.set_float32_matmul_precision("high")
    >>> fb.get_float32_matmul_precision()
    'high'
    >>> fb.set_float32_matmul_precision("highest")
    """
    global _precision
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"set_float32_matmul_precision: 'highest', 'high' or 'medium' is needed, got {precision!r}")
    _precision = precision


def get_float32_matmul_precision() -> str:
    """The name that `set_float32_matmul_precision` was given last.

    >>> fb.get_float32_matmul_precision()
    'highest'
    """
    return _precision


def set_default_device(where: Any) -> None:
    """The device that factories use: "cpu", the only one of this build.

    >>> fb.set_default_device("cpu")
    >>> fb.get_default_device()
    device(type='cpu')
    """
    check_place("set_default_device", where)


def get_default_device() -> Any:
    """The device that factories use.

    >>> fb.get_default_device()
    device(type='cpu')
    """
    return device("cpu")


def set_default_tensor_type(t: Any) -> None:
    """Sets the default dtype by a tensor type, FloatTensor or its name.

    >>> fb.set_default_tensor_type(fb.DoubleTensor)
    >>> fb.ones(1).dtype
    flambeau.float64
    >>> fb.set_default_tensor_type(fb.FloatTensor)
    """
    names = {"Float": 8, "Double": 9, "Half": 6, "BFloat16": 7}
    text = t if isinstance(t, str) else t.__name__
    kind = text.rpartition(".")[2].removesuffix("Tensor")
    if kind not in names:
        raise TypeError(f"set_default_tensor_type: a floating CPU tensor type is needed, got {text}")
    set_default_dtype(DTYPES[names[kind]])


def get_num_interop_threads() -> int:
    """How many operations run at once: one; its work is shared by `get_num_threads()` threads.

    >>> fb.get_num_interop_threads()
    1
    """
    return 1


def set_num_interop_threads(num: int) -> None:
    """Accepted: operations run one after the other.

    >>> fb.set_num_interop_threads(1)
    """
    if num < 1:
        raise RuntimeError(f"set_num_interop_threads: at least one thread is needed, got {num}")


def set_warn_always(b: bool) -> None:
    """Whether a warning is shown each time rather than once.

    >>> fb.set_warn_always(False)
    """
    global _warn_always
    import warnings

    _warn_always = bool(b)
    if b:
        warnings.simplefilter("always")


def is_warn_always_enabled() -> bool:
    """Whether `set_warn_always` asked for every warning.

    >>> fb.is_warn_always_enabled()
    False
    """
    return _warn_always


def set_flush_denormal(mode: bool) -> bool:
    """Returns False: denormal numbers are always kept.

    >>> fb.set_flush_denormal(True)
    False
    """
    return False


def is_anomaly_enabled() -> bool:
    """Whether anomaly detection is on.

    >>> fb.is_anomaly_enabled()
    False
    """
    on = _core.swap_anomaly(False)
    _core.swap_anomaly(on)
    return on


def set_anomaly_enabled(mode: bool, check_nan: bool = True) -> None:
    """Switches anomaly detection on or off.

    >>> fb.set_anomaly_enabled(True)
    >>> fb.is_anomaly_enabled()
    True
    >>> fb.set_anomaly_enabled(False)
    """
    _core.swap_anomaly(mode)


def typename(obj: Any) -> str:
    """The name of an object's type; of a tensor, by its dtype.

    >>> fb.typename(fb.ones(1))
    'flambeau.FloatTensor'
    """
    if isinstance(obj, _core.Tensor):
        return obj.type()
    kind = obj if isinstance(obj, type) else type(obj)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def is_storage(obj: Any) -> bool:
    """Whether an object is the memory of a tensor.

    >>> fb.is_storage(fb.ones(1).untyped_storage())
    True
    """
    return isinstance(obj, _core.Storage)


__all__ = [
    "are_deterministic_algorithms_enabled", "get_default_device", "get_deterministic_debug_mode",
    "get_float32_matmul_precision", "get_num_interop_threads", "get_num_threads", "is_anomaly_enabled",
    "is_deterministic_algorithms_warn_only_enabled", "is_storage", "is_warn_always_enabled", "set_anomaly_enabled",
    "set_default_device", "set_default_tensor_type", "set_deterministic_debug_mode", "set_float32_matmul_precision",
    "set_flush_denormal", "set_num_interop_threads", "set_warn_always", "typename", "use_deterministic_algorithms",
]  # fmt: skip
