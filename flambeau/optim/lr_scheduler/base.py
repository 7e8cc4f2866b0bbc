"""LRScheduler: sets the learning rates of an optimizer's groups, once an epoch or once a step.

A schedule gives `get_lr`, the next rates computed from the current ones, so that schedules can be chained; and where
there is one, `_get_closed_form_lr`, the rates as a function of the epoch alone. Attribute names are PyTorch's, since
they are the keys of `state_dict`. Imports `optimizer.py`. Read next: `decay.py`.
"""

from __future__ import annotations

import warnings
from typing import Any

from flambeau import Tensor
from flambeau.optim.optimizer import Optimizer


def set_value(group: dict[str, Any], key: str, value: Any) -> None:
    """Change a group's setting; in place where it is a tensor."""
    if isinstance(group[key], Tensor):
        group[key].fill_(float(value))
    else:
        group[key] = value


class LRScheduler:
    """Base class of schedules.

    Args:
        last_epoch: the epoch to resume from, -1 for a start.

    Raises:
        TypeError: where `optimizer` is none.
        KeyError: on resuming, where a group doesn't say its "initial_lr".

    >>> opt = fb.optim.SGD([fb.nn.Parameter(fb.ones(1))], lr=2.0)
    >>> schedule = fb.optim.lr_scheduler.StepLR(opt, 1)
    >>> isinstance(schedule, fb.optim.lr_scheduler.LRScheduler), schedule.last_epoch
    (True, 0)
    """

    last_epoch: int
    base_lrs: list[float]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                lr = group["lr"]
                group.setdefault("initial_lr", lr.clone() if isinstance(lr, Tensor) else lr)
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming scheduler with "
                    "last_epoch >= 0; "
                    "load the optimizer's state_dict first, or leave last_epoch at -1"
                )
        self.base_lrs = [_copy(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._is_initial = False
        self._get_lr_called_within_step = False
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count, self._is_initial = 0, True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict()` returned, here or in PyTorch."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Any]:
        """The rates set last, one for each group."""
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """The next rates, one for each group; called by `step`."""
        raise NotImplementedError(f"{type(self).__name__} doesn't define get_lr()")

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch, or to `epoch`, and set its rates; call it after `optimizer.step()`.

        >>> import flambeau as fb
        >>> opt = fb.optim.SGD([fb.nn.Parameter(fb.ones(1))], lr=1.0)
        >>> schedule = fb.optim.lr_scheduler.StepLR(opt, step_size=2, gamma=0.5)
        >>> for _ in range(3):
        ...     opt.step(); schedule.step()
        >>> schedule.get_last_lr()
        [0.5]
        """
        if self._step_count == 1 and not getattr(self.optimizer, "_opt_called", True):
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in the opposite "
                "order, or the "
                "first value of the learning rate schedule is skipped.", UserWarning, stacklevel=2,
            )  # fmt: skip
        self._step_count += 1
        if epoch is not None:
            warnings.warn(
                "The epoch parameter in `scheduler.step()` is deprecated; call `scheduler.step()` to step",
                UserWarning,
                stacklevel=2,
            )
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        self._get_lr_called_within_step = True
        try:
            if epoch is None:
                self.last_epoch += 1
                lrs = self.get_lr()
            else:
                self.last_epoch = epoch
                lrs = self._get_closed_form_lr() if hasattr(self, "_get_closed_form_lr") else self.get_lr()
        finally:
            self._get_lr_called_within_step = False
        self._set(lrs)

    def _set(self, lrs: list[Any]) -> None:
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            set_value(group, "lr", lr)
        self._last_lr = self._lrs()

    def _lrs(self) -> list[Any]:
        return [_copy(group["lr"]) for group in self.optimizer.param_groups]

    def _scaled(self, factor: float) -> list[Any]:
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def _warn_if_called_directly(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use `get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )


def _copy(lr: Any) -> Any:
    return lr.clone() if isinstance(lr, Tensor) else lr
