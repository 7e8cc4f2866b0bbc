"""Metric: a state, how a batch adds to it, and a formula.

A metric writes `measure(*batch) -> state` and `formula(state) -> value`, both without side effects. A state is named
tensors; states join by adding, those in `kept` by being put one behind the other. So a stream, a merge of processes
and the functional form are the same three lines. Imports flambeau's functions. Read next: `classification.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import flambeau as fb
from flambeau import Tensor

State = dict[str, Tensor]


class Metric:
    """Base of all metrics.

    >>> m = fb.metrics.Accuracy()
    >>> m.update(fb.tensor([0.9, 0.2]), fb.tensor([1, 1])).update(fb.tensor([0.7]), fb.tensor([1])).compute()
    tensor(0.6667, dtype=flambeau.float64)
    """

    kept: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._states: list[State] = []

    def measure(self, *batch: Any) -> State:
        """What a batch adds to the state."""
        raise NotImplementedError(f"{type(self).__name__} does not define measure(*batch)")

    def formula(self, state: State) -> Any:
        """The metric's value for a state."""
        raise NotImplementedError(f"{type(self).__name__} does not define formula(state)")

    def join(self, states: list[State]) -> State:
        """One state for several."""
        first, *others = states
        if not others:
            return first
        whole = {name: fb.cat([s[name] for s in states]) for name in self.kept}
        for name in first.keys() - whole.keys():
            total = first[name]
            for state in others:
                total = total + state[name]
            whole[name] = total
        return {name: whole[name] for name in first}

    def update(self, *batch: Any, **named: Any) -> Self:
        """Adds a batch to the state; returns the metric."""
        with fb.no_grad():
            self._states.append(self.measure(*batch, **named))
            if not self.kept and len(self._states) > 1:
                self._states = [self.join(self._states)]
        return self

    def state(self) -> State:
        """The state so far. Raises RuntimeError where nothing has been added."""
        if not self._states:
            raise RuntimeError(f"{type(self).__name__}: nothing to compute from; call update(...) with a batch first")
        with fb.no_grad():
            self._states = [self.join(self._states)]
        return self._states[0]

    def compute(self) -> Any:
        """The value for all batches since the beginning, or the last reset."""
        with fb.no_grad():
            return self.formula(self.state())

    def reset(self) -> Self:
        """Forgets all batches; returns the metric."""
        self._states = []
        return self

    def merge(self, *others: Self) -> Self:
        """Adds the states of other metrics of the same kind, such as those of other processes; returns the metric."""
        for other in others:
            if type(other) is not type(self):
                raise TypeError(
                    f"merge: a {type(self).__name__} takes states of its own kind, got {type(other).__name__}"
                )
        self._states = [*self._states, *(state for other in others for state in other._states)]
        return self

    def state_dict(self) -> State:
        """The state as tensors, to save or to send; empty where nothing has been added."""
        return dict(self.state()) if self._states else {}

    def load_state_dict(self, state: State) -> Self:
        """Takes a state that `state_dict` gave, in place of its own; returns the metric."""
        self._states = [dict(state)] if state else []
        return self

    def __call__(self, *batch: Any, **named: Any) -> Any:
        """The value for this batch alone, which is added to the state as well."""
        self.update(*batch, **named)
        with fb.no_grad():
            return self.formula(self.measure(*batch, **named))

    def __repr__(self) -> str:
        shown = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if k[0] != "_")
        return f"{type(self).__name__}({shown})"


def functional(metric: type[Metric], name: str, count: int = 2) -> Callable[..., Any]:
    """The metric's value for one batch as a function: of the batch and its weight, then the metric's settings."""

    def function(*batch: Any, weight: Any = None, **settings: Any) -> Any:
        if len(batch) != count:
            raise TypeError(f"{name}: takes {count} positional arguments, got {len(batch)}; settings go by name")
        made = metric(**settings)
        with fb.no_grad():
            measured = made.measure(*batch) if weight is None else made.measure(*batch, weight)
            return made.formula(measured)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The value of `{metric.__name__}(**settings)` for one batch. {metric.__doc__}"
    function.__module__ = metric.__module__
    return function


def double(x: Any) -> Tensor:
    """x as a float64 tensor that stands on no tape."""
    return fb.as_tensor(x).detach().to(fb.float64)


def weights(weight: Any, count: int, name: str) -> Tensor:
    """One float64 weight for each of count samples, 1 where none are given."""
    if weight is None:
        return fb.ones(count, dtype=fb.float64)
    found = double(weight).reshape(-1)
    if found.numel() != count:
        raise ValueError(f"{name}: needs one weight for each of {count} samples, got {found.numel()}")
    return found


def ratio(a: Tensor, b: Tensor, otherwise: float = 0.0) -> Tensor:
    """a / b, and `otherwise` where b is 0."""
    empty = b == 0
    return fb.where(empty, otherwise, a / fb.where(empty, 1.0, b))


def same_shape(name: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        raise ValueError(
            f"{name}: predictions and targets must have the same shape, got {list(input.shape)} and "
            f"{list(target.shape)}; use reshape or squeeze to bring them together"
        )
