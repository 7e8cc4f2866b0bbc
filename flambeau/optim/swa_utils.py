"""Averages of weights over the course of training: stochastic weight averaging, exponential moving averages.

Imports nn and the schedules. Read next: `lr_scheduler/base.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.nn.modules.batchnorm import _BatchNorm
from flambeau.nn.modules.module import Module
from flambeau.optim.lr_scheduler.base import LRScheduler
from flambeau.optim.lr_scheduler.cyclic import _for_each_group
from flambeau.optim.optimizer import Optimizer

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn",
    "update_bn",
]  # fmt: skip

Average = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverage = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The exponential moving average as an `avg_fn`: decay average + (1 - decay) current.

    Raises:
        ValueError: where decay is outside [0, 1].

    >>> average = fb.optim.swa_utils.get_ema_avg_fn(0.9)
    >>> average(fb.tensor([0.0]), fb.tensor([1.0]), 1)
    tensor([0.1000])
    """
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")

    def average(averaged: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        with fb.no_grad():
            return decay * averaged + (1 - decay) * current

    return average


def get_swa_avg_fn() -> Average:
    """The plain average as an `avg_fn`: average + (current - average) / (n + 1).

    >>> average = fb.optim.swa_utils.get_swa_avg_fn()
    >>> average(fb.tensor([1.0]), fb.tensor([4.0]), 2)
    tensor([2.])
    """

    def average(averaged: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        with fb.no_grad():
            return averaged + (current - averaged) / (num_averaged + 1)

    return average


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """The exponential moving average as a `multi_avg_fn`, written over the averages. Raises as `get_ema_avg_fn`.

    >>> averages = [fb.tensor([0.0])]
    >>> fb.optim.swa_utils.get_ema_multi_avg_fn(0.9)(averages, [fb.tensor([1.0])], 1)
    >>> averages
    [tensor([0.1000])]
    """
    average = get_ema_avg_fn(decay)
    return _over_lists(lambda n: 1 - decay, average)


def get_swa_multi_avg_fn() -> MultiAverage:
    """The plain average as a `multi_avg_fn`, written over the averages.

    >>> averages = [fb.tensor([1.0])]
    >>> fb.optim.swa_utils.get_swa_multi_avg_fn()(averages, [fb.tensor([4.0])], 2)
    >>> averages
    [tensor([2.])]
    """
    return _over_lists(lambda n: 1 / (float(n) + 1), get_swa_avg_fn())


def _over_lists(weight: Callable[[Any], float], average: Average) -> MultiAverage:
    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Any) -> None:
        with fb.no_grad():
            for a, c in zip(averaged, current, strict=True):
                if a.is_floating_point() or a.is_complex():
                    a.lerp_(c, weight(num_averaged))
                else:  # counters
                    a.copy_(average(a, c, num_averaged))

    return update


class AveragedModel(Module):
    """A copy of `model` whose parameters are the average of those seen by `update_parameters`.

    Args:
        device: where the average lives, if not where the model does.
        avg_fn: (average, current, number averaged so far) -> new average, for one parameter.
        multi_avg_fn: the same for lists, in place. Give one of the two, or none for the plain average.
        use_buffers: average buffers too, instead of copying them.

    Izmailov et al., Averaging weights leads to wider optima and better generalization, 2018.

    >>> import flambeau as fb
    >>> model = fb.nn.Linear(1, 1)
    >>> average = fb.optim.swa_utils.AveragedModel(model)
    >>> for value in (1.0, 3.0):
    ...     _ = fb.nn.init.constant_(model.weight, value)
    ...     average.update_parameters(model)
    >>> average.module.weight.item()
    2.0
    """

    n_averaged: Tensor

    def __init__(
        self, model: Module, device: Any = None, avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None, use_buffers: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", fb.tensor(0, dtype=fb.int64, device=device))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model computes."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take `model`'s present parameters into the average; the first ones are copied."""

        def tensors(m: Module) -> list[Tensor]:
            return [t.detach() for t in itertools.chain(m.parameters(), m.buffers() if self.use_buffers else ())]

        averaged = tensors(self.module)
        current = [c.to(a.device) for a, c in zip(averaged, tensors(model), strict=True)]
        if self.n_averaged == 0:
            for a, c in zip(averaged, current, strict=True):
                a.copy_(c)
        elif self.avg_fn is not None:
            for a, c in zip(averaged, current, strict=True):
                a.copy_(self.avg_fn(a, c, self.n_averaged.to(a.device)))
        elif averaged:
            (self.multi_avg_fn or get_swa_multi_avg_fn())(averaged, current, self.n_averaged)
        if not self.use_buffers:
            for mine, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
                mine.detach().copy_(theirs.detach())
        self.n_averaged += 1


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Set the running statistics of all batch norms in `model` to those over one pass through `loader`.

    A batch is a tensor, or a sequence whose first entry is the input.

    >>> model = fb.nn.BatchNorm1d(1)
    >>> fb.optim.swa_utils.update_bn([fb.tensor([[1.0], [3.0]])], model)
    >>> model.running_mean
    tensor([2.])
    """
    norms = {m: m.momentum for m in model.modules() if isinstance(m, _BatchNorm)}
    if not norms:
        return
    was_training = model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average of all batches
    with fb.no_grad():
        for batch in loader:
            input = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(input if device is None else input.to(device))
    for norm, momentum in norms.items():
        norm.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """From each group's rate to `swa_lr` within `anneal_epochs` epochs, then constant.

    Args:
        swa_lr: one rate, or one for each group.
        anneal_strategy: "cos" or "linear".

    Raises:
        ValueError: for another strategy, a negative number of epochs, or a wrong number of rates.

    >>> import flambeau as fb
    >>> opt = fb.optim.SGD([fb.nn.Parameter(fb.ones(1))], lr=1.0)
    >>> schedule = fb.optim.swa_utils.SWALR(opt, 0.5, anneal_epochs=2, anneal_strategy="linear")
    >>> for _ in range(2):
    ...     opt.step(); schedule.step(); print(opt.param_groups[0]["lr"])
    0.75
    0.5
    """

    def __init__(
        self, optimizer: Optimizer, swa_lr: float | list[float], anneal_epochs: int = 10,
        anneal_strategy: str = "cos", last_epoch: int = -1,
    ) -> None:  # fmt: skip
        rates = _for_each_group("swa_lr", optimizer, swa_lr)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["swa_lr"] = rate
        self._anneal_strategy, self.anneal_epochs = anneal_strategy, anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _part(self, step: int) -> float:
        part = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return part if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * part)) / 2

    def get_lr(self) -> list[Any]:
        self._warn_if_called_directly()
        step = max(1, self._step_count - 1) if self.anneal_epochs == 0 else self._step_count - 1
        before, now = self._part(step - 1), self._part(step)

        def next_rate(lr: Any, target: float) -> Any:
            start = target if before == 1 else (lr - before * target) / (1 - before)
            return target * now + start * (1 - now)

        return [next_rate(group["lr"], group["swa_lr"]) for group in self.optimizer.param_groups]
