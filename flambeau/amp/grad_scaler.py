"""GradScaler: multiplies the loss so that small gradients survive half precision, and finds the factor as it goes.

Source: Micikevicius et al., "Mixed Precision Training", 2018. Imports core and ops.
"""

from __future__ import annotations

import warnings
from typing import Any

from ..core._core import DTYPES, Tensor
from ..ops.factories import tensor


class GradScaler:
    """scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update().

    A step with gradients that aren't finite is skipped, and the factor multiplied by backoff_factor; after
    growth_interval steps without any it is multiplied by growth_factor. With enabled=False nothing is done. For a
    device that isn't here ("cuda", PyTorch's default) it warns and is disabled.

    >>> scaler = fb.amp.GradScaler("cpu", init_scale=4.0)
    >>> scaler.scale(fb.tensor(0.5))
    tensor(2.)
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and device != "cpu":
            warnings.warn(
                f"GradScaler: device {device!r} isn't available, so it is disabled; use GradScaler('cpu')", stacklevel=2
            )
            enabled = False
        if enabled and not (growth_factor > 1.0 and backoff_factor < 1.0):
            raise ValueError(
                f"GradScaler: growth_factor must be above 1 and backoff_factor below 1, got {growth_factor} and "
                f"{backoff_factor}"
            )
        self._device, self._enabled, self._init_scale = device, enabled, init_scale
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._scale: float = init_scale
        self._growth_tracker = 0
        self._infinite: dict[int, bool] = {}  # optimizer -> whether its unscaled gradients have inf or nan
        self._stepped: set[int] = set()

    def scale(self, outputs: Any) -> Any:
        """outputs · scale; a tensor, or lists and tuples of them."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * tensor(self._scale, dtype=DTYPES[8])
        if isinstance(outputs, list | tuple):
            return type(outputs)(self.scale(x) for x in outputs)
        raise ValueError(f"GradScaler.scale: a tensor, list or tuple is expected, got {type(outputs).__name__}")

    def unscale_(self, optimizer: Any) -> None:
        """Divides the gradients of an optimizer's parameters by the scale; once between two updates."""
        if not self._enabled:
            return
        if id(optimizer) in self._infinite:
            raise RuntimeError("GradScaler.unscale_: it was already called for this optimizer since the last update()")
        if id(optimizer) in self._stepped:
            raise RuntimeError("GradScaler.unscale_: it is being called after step()")
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        infinite = False
        for g in grads:
            g.mul_(1.0 / self._scale)
            values = g._values() if g.is_sparse else g
            infinite = infinite or not values.isfinite().all().item()
        self._infinite[id(optimizer)] = infinite

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """optimizer.step() on unscaled gradients, unless some aren't finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("GradScaler.step: a closure isn't supported while the scaler is enabled")
        if id(optimizer) in self._stepped:
            raise RuntimeError("GradScaler.step: it was already called for this optimizer since the last update()")
        if id(optimizer) not in self._infinite:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        return None if self._infinite[id(optimizer)] else optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """The next scale: new_scale, or what the gradients since the last update say."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._infinite:
            raise RuntimeError("GradScaler.update: no gradients were unscaled or stepped with before")
        elif any(self._infinite.values()):
            self._scale *= self._backoff_factor
            self._growth_tracker = 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                self._scale *= self._growth_factor
                self._growth_tracker = 0
        self._infinite.clear()
        self._stepped.clear()

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The present factor; 1.0 where disabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """What the scale is multiplied by after growth_interval good steps."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Sets growth_factor."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by after a step that was skipped."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Sets backoff_factor."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many good steps in a row make the scale grow."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Sets growth_interval."""
        self._growth_interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        """The factor and counters, with PyTorch's keys; empty where disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up what state_dict() gave."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("GradScaler.load_state_dict: the state is empty; it was saved from a disabled scaler")
        self._scale, self._growth_factor = state_dict["scale"], state_dict["growth_factor"]
        self._backoff_factor, self._growth_interval = state_dict["backoff_factor"], state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]


__all__ = ["GradScaler"]
