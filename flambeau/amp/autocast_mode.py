"""autocast: an Interpreter that casts the arguments of some operations on their way in.

LOWER names what runs in the lower precision, with convolutions and attention, which ask `together`; FULL names what
runs in float32. Everything else takes what it gets and promotes as always. Both follow PyTorch's lists for the CPU, but
for linear algebra and Fourier transforms, which have no half precision here. Casts are operations like others, so that
gradients pass through them, and a parameter is cast once in a region. Imports core and ops.
Read next: `core/interpreters.py`.
"""

from __future__ import annotations

import functools
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from ..core._core import DTYPES, Call, DType, Tensor, is_grad_enabled
from ..core.interpreters import Interpreter
from ..ops.basic import to_dtype

FLOAT16, BFLOAT16, FLOAT32 = DTYPES[6:9]
LOWER = frozenset(("matrix_product", "linear_rows", "recurrent_layer", "recurrent_step"))
FULL = frozenset(
    ("binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy_rows", "huber_loss", "kl_div")
    + ("l1_loss", "mse_loss", "nll_rows", "prod", "smooth_l1_loss")
)


class State(threading.local):
    """The region that a thread is in, and what would hold in one that doesn't say."""

    active: Casting | None = None
    lasting: autocast | None = None  # entered by set_autocast_enabled
    cpu_dtype: DType = BFLOAT16
    cuda_dtype: DType = FLOAT16
    cache_enabled: bool = True


state = State()


class Casting(Interpreter):
    """Casts to one dtype; in nested regions only the innermost one acts."""

    def __init__(self, dtype: DType, keep: bool, cache: dict) -> None:
        self.dtype, self.keep, self.cache = dtype, keep, cache

    def process(self, call: Call) -> Any:
        target = self.target(call.op) if state.active is self and call.writes is None else None
        if target is None:
            return call()
        return call.op(*(self.cast(x, target) for x in call.args), **call.kwargs)

    def together(self, tensors: Sequence[Tensor | None]) -> list:
        return [self.cast(x, self.dtype) for x in tensors] if state.active is self else list(tensors)

    def target(self, op: Any) -> DType | None:
        name = getattr(op, "name", None)
        if name in LOWER:
            return self.dtype
        return FLOAT32 if name in FULL else None

    def cast(self, x: Any, target: DType) -> Any:
        """x in the target dtype if it is a tensor of another floating dtype but float64."""
        if not isinstance(x, Tensor) or x.dtype is target or x.dtype not in (FLOAT16, BFLOAT16, FLOAT32):
            return x
        if not (self.keep and x.is_leaf and x.requires_grad and target is self.dtype):
            return to_dtype(x, target)
        key = (id(x), is_grad_enabled(), target)
        found = self.cache.get(key)
        if found is None or found[0]() is not x or found[1] != x._version:
            found = self.cache[key] = (weakref.ref(x), x._version, to_dtype(x, target))
        return found[2]


def default_dtype(device_type: str) -> DType:
    return state.cpu_dtype if device_type == "cpu" else state.cuda_dtype


class autocast:
    """Inside, matrix products, convolutions, attention and recurrent layers run in `dtype`, losses in float32.

    dtype is bfloat16 where none is given. Also a decorator. enabled=False switches an outer region off. float64 tensors
    are left alone. cache_enabled: parameters are cast once in the outermost region. A device_type that isn't here warns
    and does nothing, as in PyTorch.

    >>> with fb.autocast("cpu"):
    ...     (fb.ones(2, 2) @ fb.ones(2, 2)).dtype
    flambeau.bfloat16
    """

    def __init__(
        self, device_type: str, dtype: DType | None = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"autocast: device_type is a string such as 'cpu', got a {type(device_type).__name__}")
        self.device = self.device_type = device_type
        self.fast_dtype = default_dtype(device_type) if dtype is None else dtype
        if enabled and device_type != "cpu":
            warnings.warn(
                f"autocast: {device_type!r} isn't available, so autocast is disabled; use 'cpu'", stacklevel=2
            )
            enabled = False
        if enabled and self.fast_dtype not in (FLOAT16, BFLOAT16):
            warnings.warn(
                f"autocast: dtype is bfloat16 or float16, got {self.fast_dtype}, so autocast is disabled", stacklevel=2
            )
            enabled = False
        self._enabled = enabled
        self._cache_enabled = state.cache_enabled if cache_enabled is None else cache_enabled
        self._entered: list[tuple[Casting | None, Casting | None]] = []

    def __enter__(self) -> autocast:
        outer, own = state.active, None
        if self._enabled:
            own = Casting(self.fast_dtype, self._cache_enabled, {} if outer is None else outer.cache)
            own.__enter__()
        elif self.device_type != "cpu":
            own = outer  # another device's region says nothing about this one
        self._entered.append((outer, own if self._enabled else None))
        state.active = own
        return self

    def __exit__(self, *error: object) -> None:
        state.active, own = self._entered.pop()
        if own is not None:
            own.__exit__()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def within(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return within


def captured() -> Callable[[], AbstractContextManager]:
    """What makes the present region again, for a function that runs a second time."""
    active = state.active
    return nullcontext if active is None else lambda: autocast("cpu", active.dtype, cache_enabled=active.keep)


@contextmanager
def switched_off() -> Iterator[None]:
    before, state.active = state.active, None
    try:
        yield
    finally:
        state.active = before


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast does anything for tensors on that device: only for "cpu".

    >>> fb.amp.is_autocast_available("cpu")
    True
    """
    return device_type == "cpu"


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether this thread is in a region of autocast for that device ("cuda" where none is named, as in PyTorch).

    >>> with fb.amp.autocast("cpu"):
    ...     fb.is_autocast_enabled("cpu"), fb.is_autocast_enabled("cuda")
    (True, False)
    """
    return device_type == "cpu" and state.active is not None


def set_autocast_enabled(device_type: str | bool, enabled: bool | None = None) -> None:
    """Switches autocast on until it is switched off, or the rest of a region off; `with autocast(…)` ends by itself.

    One argument speaks of "cuda", as in PyTorch; there, and on other devices that aren't here, it changes nothing.

    >>> fb.set_autocast_enabled("cpu", True)
    >>> fb.is_autocast_enabled("cpu")
    True
    >>> fb.set_autocast_enabled("cpu", False)
    """
    if device_type != "cpu":
        return
    if state.lasting is not None:
        state.lasting.__exit__()
        state.lasting = None
    elif not enabled:
        state.active = None
    if enabled:
        state.lasting = autocast("cpu").__enter__()


def is_autocast_cpu_enabled() -> bool:
    """is_autocast_enabled("cpu").

    >>> with fb.amp.autocast("cpu"):
    ...     fb.is_autocast_cpu_enabled()
    True
    """
    return is_autocast_enabled("cpu")


def get_autocast_dtype(device_type: str) -> DType:
    """The dtype that autocast uses, or would use, for a device.

    >>> fb.get_autocast_dtype("cpu")
    flambeau.bfloat16
    """
    return state.active.dtype if device_type == "cpu" and state.active is not None else default_dtype(device_type)


def get_autocast_cpu_dtype() -> DType:
    """get_autocast_dtype("cpu").

    >>> fb.get_autocast_cpu_dtype()
    flambeau.bfloat16
    """
    return get_autocast_dtype("cpu")


def get_autocast_gpu_dtype() -> DType:
    """get_autocast_dtype("cuda").

    >>> fb.get_autocast_gpu_dtype()
    flambeau.float16
    """
    return get_autocast_dtype("cuda")


def set_autocast_dtype(device_type: str, dtype: DType) -> None:
    """The dtype of regions that don't name one.

    >>> fb.set_autocast_dtype("cpu", fb.float16)
    >>> fb.get_autocast_dtype("cpu")
    flambeau.float16
    >>> fb.set_autocast_dtype("cpu", fb.bfloat16)
    """
    setattr(state, "cpu_dtype" if device_type == "cpu" else "cuda_dtype", dtype)


def is_autocast_cache_enabled() -> bool:
    """Whether regions that don't say so keep the casts of parameters.

    >>> fb.is_autocast_cache_enabled()
    True
    """
    return state.cache_enabled


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Sets whether regions that don't say so keep the casts of parameters.

    >>> fb.set_autocast_cache_enabled(True)
    """
    state.cache_enabled = enabled


def clear_autocast_cache() -> None:
    """Forgets the casts of parameters that the present region keeps.

    >>> fb.clear_autocast_cache()
    """
    if state.active is not None:
        state.active.cache.clear()


def cast_tree(x: Any, dtype: DType) -> Any:
    if isinstance(x, Tensor):
        return to_dtype(x, dtype) if x.dtype in (FLOAT16, BFLOAT16, FLOAT32) and x.dtype is not dtype else x
    if isinstance(x, dict):
        return {k: cast_tree(v, dtype) for k, v in x.items()}
    return type(x)(cast_tree(v, dtype) for v in x) if type(x) in (list, tuple) else x


def custom_fwd(fwd: Any = None, *, device_type: str, cast_inputs: DType | None = None) -> Any:
    """Decorates a Function's forward: with cast_inputs it runs outside of autocast, on inputs of that dtype.

    >>> class Scale(fb.autograd.Function):
    ...     @staticmethod
    ...     @fb.amp.custom_fwd(device_type="cpu", cast_inputs=fb.float32)
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     @fb.amp.custom_bwd(device_type="cpu")
    ...     def backward(ctx, g):
    ...         return g * 2
    >>> with fb.amp.autocast("cpu"):
    ...     Scale.apply(fb.ones(1, dtype=fb.bfloat16)).dtype
    flambeau.float32
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorated(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx.autocast_dtype, inside = get_autocast_dtype(device_type), is_autocast_enabled(device_type)
        ctx.in_autocast = inside and cast_inputs is None
        if cast_inputs is None or not inside:
            return fwd(ctx, *args, **kwargs)
        with switched_off():
            return fwd(ctx, *cast_tree(args, cast_inputs), **cast_tree(kwargs, cast_inputs))

    return decorated


def custom_bwd(bwd: Any = None, *, device_type: str) -> Any:
    """Decorates a Function's backward: it runs in autocast if forward did.

    >>> class Scale(fb.autograd.Function):
    ...     @staticmethod
    ...     @fb.amp.custom_fwd(device_type="cpu")
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     @fb.amp.custom_bwd(device_type="cpu")
    ...     def backward(ctx, g):
    ...         return g * 2
    >>> x = fb.ones(1, requires_grad=True)
    >>> Scale.apply(x).backward()
    >>> x.grad
    tensor([2.])
    """
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorated(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, ctx.autocast_dtype) if ctx.in_autocast else switched_off():
            return bwd(ctx, *args, **kwargs)

    return decorated


__all__ = [
    "autocast", "clear_autocast_cache", "custom_bwd", "custom_fwd", "get_autocast_cpu_dtype", "get_autocast_dtype",
    "get_autocast_gpu_dtype", "is_autocast_available", "is_autocast_cache_enabled", "is_autocast_cpu_enabled",
    "is_autocast_enabled", "set_autocast_cache_enabled", "set_autocast_dtype", "set_autocast_enabled",
]  # fmt: skip
