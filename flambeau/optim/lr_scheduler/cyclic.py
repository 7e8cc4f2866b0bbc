"""Schedules that go up and down, with momentum going the other way: CyclicLR and OneCycleLR, stepped after every batch.

Imports `base.py`. Read next: `plateau.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flambeau.optim.lr_scheduler.base import LRScheduler, set_value
from flambeau.optim.optimizer import Optimizer


def _for_each_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        return [value] * len(optimizer.param_groups)
    if len(value) != len(optimizer.param_groups):
        raise ValueError(f"expected {len(optimizer.param_groups)} values for {name}, got {len(value)}")
    return list(value)


def _uses_beta1(optimizer: Optimizer) -> bool:
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
    return "betas" in optimizer.defaults


def _set_momentum(group: dict[str, Any], momentum: float, use_beta1: bool) -> None:
    if use_beta1:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


class CyclicLR(LRScheduler):
    """Triangles between base_lr and max_lr, `step_size_up` batches up and `step_size_down` down. Smith, 2015.

    Args:
        mode: triangular; triangular2, half as high each cycle; exp_range, gamma^batch as high.
        scale_fn, scale_mode: the height as a function of one's own, of the cycle or of the batch ("iterations").
        cycle_momentum: move momentum, or β₁, from max_momentum to base_momentum and back.

    >>> opt = fb.optim.SGD([fb.nn.Parameter(fb.ones(1))], lr=1.0, momentum=0.9)
    >>> schedule = fb.optim.lr_scheduler.CyclicLR(opt, 0.1, 1.0, step_size_up=2)
    >>> rates = []
    >>> for _ in range(5):
    ...     opt.step()
    ...     schedule.step()
    ...     rates.append(round(schedule.get_last_lr()[0], 4))
    >>> rates
    [0.55, 1.0, 0.55, 0.1, 0.55]
    """

    def __init__(
        self, optimizer: Optimizer, base_lr: float | list[float], max_lr: float | list[float], step_size_up: int = 2000,
        step_size_down: int | None = None, mode: str = "triangular", gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle", cycle_momentum: bool = True,
        base_momentum: float = 0.8, max_momentum: float = 0.9, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError("mode is invalid and scale_fn is None")
        if last_epoch == -1:
            for lr, group in zip(_for_each_group("base_lr", optimizer, base_lr), optimizer.param_groups, strict=True):
                set_value(group, "lr", lr)
        self.max_lrs = _for_each_group("max_lr", optimizer, max_lr)
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        self.mode, self.gamma = mode, gamma
        self.scale_mode = (
            "iterations" if scale_fn is None and mode == "exp_range" else "cycle" if scale_fn is None else scale_mode
        )
        self._scale_fn_custom = scale_fn
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta1(optimizer)
            self.base_momentums = _for_each_group("base_momentum", optimizer, base_momentum)
            self.max_momentums = _for_each_group("max_momentum", optimizer, max_momentum)
            if last_epoch == -1:
                for low, high, group in zip(
                    self.base_momentums, self.max_momentums, optimizer.param_groups, strict=True
                ):
                    _set_momentum(group, high, self.use_beta1)
                    group["max_momentum"], group["base_momentum"] = high, low
        super().__init__(optimizer, last_epoch)
        self.base_lrs = _for_each_group("base_lr", optimizer, base_lr)

    def scale_fn(self, x: float) -> float:
        """How high the triangle is, as a part of its full height."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        return {
            "triangular": lambda: 1.0,
            "triangular2": lambda: 1 / 2.0 ** (x - 1),
            "exp_range": lambda: self.gamma**x,
        }[self.mode]()

    def get_lr(self) -> list[Any]:
        self._warn_if_called_directly()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        height *= self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            for low, high, group in zip(
                self.base_momentums, self.max_momentums, self.optimizer.param_groups, strict=True
            ):
                _set_momentum(group, high - (high - low) * height, self.use_beta1)
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; of a callable object as `scale_fn`, its attributes."""
        state = super().state_dict()
        custom = state.pop("_scale_fn_custom")
        state["_scale_fn_custom"] = (
            custom.__dict__.copy() if hasattr(custom, "__dict__") and type(custom).__name__ != "function" else None
        )
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict()` returned; a function as `scale_fn` stays."""
        state = dict(state_dict)
        attributes = state.pop("_scale_fn_custom", None)
        if attributes is not None:
            self._scale_fn_custom.__dict__.update(attributes)
        super().load_state_dict(state)


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)


def _line(start: float, end: float, part: float) -> float:
    return (end - start) * part + start


class OneCycleLR(LRScheduler):
    """One rise from max_lr / div_factor to max_lr over `pct_start` of all steps, then a fall to initial /
    final_div_factor.

    Smith and Topin, Super-convergence, 2017. Step it after every batch.

    Args:
        total_steps: or epochs and steps_per_epoch.
        anneal_strategy: "cos" or "linear".
        three_phase: fall to the initial rate as fast as it rose, and only then further.

    Raises:
        ValueError: where the number of steps isn't known, or is exceeded.

    >>> opt = fb.optim.SGD([fb.nn.Parameter(fb.ones(1))], lr=1.0, momentum=0.9)
    >>> schedule = fb.optim.lr_scheduler.OneCycleLR(opt, 1.0, total_steps=6)
    >>> rates = []
    >>> for _ in range(5):
    ...     opt.step()
    ...     schedule.step()
    ...     rates.append(round(schedule.get_last_lr()[0], 4))
    >>> rates
    [0.9944, 0.8117, 0.4626, 0.1335, 0.0]
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: float | list[float], total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None, pct_start: float = 0.3, anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85, max_momentum: float | list[float] = 0.95, div_factor: float = 25.0,
        final_div_factor: float = 1e4, three_phase: bool = False, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        for name, value in (("total_steps", total_steps), ("epochs", epochs), ("steps_per_epoch", steps_per_epoch)):
            if value is not None and (not isinstance(value, int) or value <= 0):
                raise ValueError(f"Expected positive integer {name}, but got {value}")
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
            total_steps = epochs * steps_per_epoch
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self.total_steps = total_steps
        rise = float(pct_start * total_steps) - 1
        phases = [(rise, "initial_lr", "max_lr", "max_momentum", "base_momentum")]
        if three_phase:
            phases.append((2 * pct_start * total_steps - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"))
            phases.append((total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"))
        else:
            phases.append((total_steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"))
        keys = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
        self._schedule_phases: list[dict[str, Any]] = [dict(zip(keys, phase, strict=True)) for phase in phases]
        self._anneal_func_type = anneal_strategy
        if last_epoch == -1:
            for group, peak in zip(optimizer.param_groups, _for_each_group("max_lr", optimizer, max_lr), strict=True):
                group["initial_lr"] = peak / div_factor
                group["max_lr"] = peak
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta1(optimizer)
            if last_epoch == -1:
                lows = _for_each_group("base_momentum", optimizer, base_momentum)
                highs = _for_each_group("max_momentum", optimizer, max_momentum)
                for group, low, high in zip(optimizer.param_groups, lows, highs, strict=True):
                    _set_momentum(group, high, self.use_beta1)
                    group["max_momentum"], group["base_momentum"] = high, low
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._warn_if_called_directly()
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"Tried to step {step} times. The specified number of total steps is {self.total_steps}; make "
                "OneCycleLR "
                "with the number of batches it will see"
            )
        start = 0.0
        for phase in self._schedule_phases:  # the last one holds whatever is left
            end = phase["end_step"]
            if step <= end or phase is self._schedule_phases[-1]:
                break
            start = end
        part = (step - start) / (end - start)
        anneal = _cosine if self._anneal_func_type == "cos" else _line
        lrs = []
        for group in self.optimizer.param_groups:
            lrs.append(anneal(group[phase["start_lr"]], group[phase["end_lr"]], part))
            if self.cycle_momentum:
                momentum = anneal(group[phase["start_momentum"]], group[phase["end_momentum"]], part)
                _set_momentum(group, momentum, self.use_beta1)
        return lrs
