"""Schedules made of schedules: one after the other, or all at once.

Imports `base.py`. Read next: `decay.py`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from flambeau.optim.lr_scheduler.base import LRScheduler, set_value
from flambeau.optim.lr_scheduler.plateau import ReduceLROnPlateau
from flambeau.optim.optimizer import Optimizer


class _Composed(LRScheduler):
    _schedulers: list[LRScheduler]

    def _check(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
        if not schedulers:
            raise ValueError(f"{type(self).__name__} expects at least one scheduler, but got no scheduler.")
        for i, scheduler in enumerate(schedulers):
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(
                    f"{type(self).__name__} does not support `ReduceLROnPlateau`, whose step needs a metric; "
                    f"got one at index {i}"
                )
            if getattr(scheduler, "optimizer", None) is not optimizer:
                raise ValueError(
                    f"{type(self).__name__} expects all schedulers to belong to the same optimizer, but the one "
                    f"at index {i} doesn't"
                )

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, the schedules by their own state."""
        state = {key: value for key, value in self.__dict__.items() if key not in ("optimizer", "_schedulers")}
        state["_schedulers"] = [scheduler.state_dict() for scheduler in self._schedulers]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict()` returned, here or in PyTorch."""
        self.__dict__.update({key: value for key, value in state_dict.items() if key != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)


def _unstep(scheduler: Any) -> None:
    for inner in getattr(scheduler, "_schedulers", ()):
        _unstep(inner)
    if hasattr(scheduler, "last_epoch"):
        scheduler.last_epoch -= 1


class SequentialLR(_Composed):
    """Schedules one after the other: the next takes over at each of `milestones`.

    >>> import flambeau as fb
    >>> from flambeau.optim.lr_scheduler import ConstantLR, ExponentialLR, SequentialLR
    >>> opt = fb.optim.SGD([fb.nn.Parameter(fb.ones(1))], lr=1.0)
    >>> schedule = SequentialLR(opt, [ConstantLR(opt, 0.5), ExponentialLR(opt, 0.5)], milestones=[2])
    >>> for _ in range(3):
    ...     opt.step(); schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        self._check(optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than the number of "
                "milestone "
                f"points, but got number of schedulers {len(schedulers)} and the number of milestones to be "
                f"equal to {len(milestones)}"
            )
        self._schedulers, self._milestones = schedulers, milestones
        self.last_epoch, self.optimizer = last_epoch + 1, optimizer
        # Every schedule set its first rate when it was made: undo that, and let the first begin alone.
        for group in optimizer.param_groups:
            set_value(group, "lr", group["initial_lr"])
        for scheduler in schedulers:
            _unstep(scheduler)
        schedulers[0]._initial_step()
        self._last_lr = schedulers[0].get_last_lr()

    def step(self) -> None:  # type: ignore[override]
        """Go to the next epoch."""
        self.last_epoch += 1
        at = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[at]
        if at > 0 and self._milestones[at - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_Composed):
    """All schedules step together, each from the rates the one before left.

    >>> from flambeau.optim import lr_scheduler
    >>> opt = fb.optim.SGD([fb.nn.Parameter(fb.ones(1))], lr=1.0)
    >>> chain = lr_scheduler.ChainedScheduler([lr_scheduler.ExponentialLR(opt, 0.5), lr_scheduler.StepLR(opt, 2, 0.1)])
    >>> for _ in range(3):
    ...     opt.step()
    ...     chain.step()
    ...     print(round(chain.get_last_lr()[0], 4))
    0.5
    0.025
    0.0125
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if schedulers:
            optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        self._check(optimizer, schedulers)  # type: ignore[arg-type]
        self._schedulers, self.optimizer = list(schedulers), optimizer  # type: ignore[assignment]
        self._last_lr = self._lrs()

    def step(self) -> None:  # type: ignore[override]
        """Go to the next epoch."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._lrs()
