"""L-BFGS, with or without a line search that meets the strong Wolfe conditions.

Imports `optimizer.py`. Read next: `lr_scheduler/`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.optim.optimizer import Optimizer, Params

Point = tuple[float, float, Tensor, float]  # step length, loss, gradient, slope along the direction


def _cubic_minimum(
    x1: float, f1: float, g1: float, x2: float, f2: float, g2: float, bounds: tuple[float, float] | None = None
) -> float:
    """Where the cubic with these values and slopes has its minimum, within bounds; their middle where it has none."""
    low, high = bounds if bounds is not None else (min(x1, x2), max(x1, x2))
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1 * d1 - g1 * g2
    if square < 0:
        return (low + high) / 2
    d2 = square**0.5
    if x1 <= x2:
        at = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
    else:
        at = x1 - (x1 - x2) * ((g1 + d2 - d1) / (g1 - g2 + 2 * d2))
    return min(max(at, low), high)


def _strong_wolfe(
    evaluate: Callable[[float], tuple[float, Tensor]], direction: Tensor, t: float, start: Point, largest: float,
    tolerance_change: float, c1: float = 1e-4, c2: float = 0.9, max_ls: int = 25,
) -> tuple[Point, int]:  # fmt: skip
    """A step that lowers the loss enough (c1) at a slope flat enough (c2); and how often the loss was evaluated.

    Nocedal and Wright, Numerical optimization, algorithms 3.5 and 3.6, with cubic interpolation.
    """
    _, loss0, _, slope0 = start

    def at(t: float) -> Point:
        loss, grad = evaluate(t)
        return t, loss, grad, float((grad * direction).sum())

    def too_high(point: Point) -> bool:
        return point[1] > loss0 + c1 * point[0] * slope0

    def flat(point: Point) -> bool:
        return abs(point[3]) <= -c2 * slope0

    previous, current, evaluations, iteration = start, at(t), 1, 0
    bracket: list[Point] = []
    found = False
    while iteration < max_ls:
        if too_high(current) or (iteration > 1 and current[1] >= previous[1]) or current[3] >= 0:
            found = not too_high(current) and not (iteration > 1 and current[1] >= previous[1]) and flat(current)
            bracket = [current] if found else [previous, current]
            break
        if flat(current):
            bracket, found = [current], True
            break
        t = current[0]
        bounds = t + 0.01 * (t - previous[0]), t * 10
        following = _cubic_minimum(previous[0], previous[1], previous[3], t, current[1], current[3], bounds)
        previous, current = current, at(following)
        evaluations += 1
        iteration += 1
    if not bracket:
        bracket = [start, current]

    stuck = False
    low, high = (0, len(bracket) - 1) if bracket[0][1] <= bracket[-1][1] else (1, 0)
    while not found and iteration < max_ls:
        (ta, fa, _, ga), (tb, fb_, _, gb) = bracket
        if abs(tb - ta) * largest < tolerance_change:
            break
        t = _cubic_minimum(ta, fa, ga, tb, fb_, gb)
        least, most = min(ta, tb), max(ta, tb)
        margin = 0.1 * (most - least)
        if min(most - t, t - least) < margin:  # too near an end: twice in a row is once too often
            if stuck or t >= most or t <= least:
                t = most - margin if abs(t - most) < abs(t - least) else least + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        new = at(t)
        evaluations += 1
        iteration += 1
        if too_high(new) or new[1] >= bracket[low][1]:
            bracket[high] = new
            low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
        else:
            if flat(new):
                found = True
            elif new[3] * (bracket[high][0] - bracket[low][0]) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = new
    return bracket[low], evaluations


def _real(t: Tensor) -> Tensor:
    """A complex tensor as pairs of real numbers."""
    return fb.view_as_real(t) if t.is_complex() else t


class LBFGS(Optimizer):
    """Quasi-Newton steps from the last `history_size` changes of parameters and gradients; one group only.

    `step` needs a closure that clears the gradients, computes the loss, calls backward and returns the loss; it is
    called several times. Liu and Nocedal, 1989.

    Args:
        max_iter: iterations in one step; max_eval: evaluations in one step, 1.25 max_iter where None.
        tolerance_grad, tolerance_change: stop when the largest gradient, or the change, gets this small.
        line_search_fn: None, or "strong_wolfe".

    >>> w = fb.nn.Parameter(fb.tensor([5.0, -3.0]))
    >>> opt = fb.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     opt.zero_grad()
    ...     loss = ((w - fb.tensor([1.0, 2.0])) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> opt.step(closure).item()
    41.0
    >>> w.data
    tensor([1.0000, 2.0000])
    """

    _counts_in_tensors = False

    def __init__(
        self, params: Params, lr: float | Tensor = 1, max_iter: int = 20, max_eval: int | None = None,
        tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:  # fmt: skip
        if not lr >= 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if line_search_fn not in (None, "strong_wolfe"):
            raise RuntimeError(f"only 'strong_wolfe' is supported, got {line_search_fn!r}")
        super().__init__(params, {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        })  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._params = self.param_groups[0]["params"]

    def _flat_grad(self) -> Tensor:
        return fb.cat([_real(fb.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in self._params])

    def _move(self, start: list[Tensor], t: float, direction: Tensor) -> None:
        offset = 0
        for p, origin in zip((_real(p.detach()) for p in self._params), start, strict=True):
            end = offset + p.numel()
            p.copy_(origin + direction[offset:end].reshape(p.shape) * t)
            offset = end

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Run up to `max_iter` iterations; returns the loss before the first."""

        def evaluated() -> Any:
            with fb.enable_grad():
                return closure()

        with fb.no_grad():
            return self._step(evaluated)

    def _step(self, closure: Callable[[], Any]) -> Any:
        group, state = self.param_groups[0], self.state[self._params[0]]
        lr, tolerance_change = float(group["lr"]), group["tolerance_change"]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss = closure()
        loss, evaluations, iterations = float(first_loss), 1, 0
        state["func_evals"] += 1
        grad = self._flat_grad()
        if float(grad.abs().max()) <= group["tolerance_grad"]:
            return first_loss
        while iterations < group["max_iter"]:
            iterations += 1
            state["n_iter"] += 1
            direction = self._direction(state, grad, group["history_size"])
            state["prev_flat_grad"] = grad.clone()
            state["prev_loss"] = before = loss
            t = min(1.0, 1.0 / float(grad.abs().sum())) * lr if state["n_iter"] == 1 else lr
            slope = float((grad * direction).sum())
            if slope > -tolerance_change:
                break
            spent = 0
            start = [_real(p.detach()).clone() for p in self._params]
            if group["line_search_fn"] == "strong_wolfe":

                def evaluate(
                    t: float, start: list[Tensor] = start, direction: Tensor = direction
                ) -> tuple[float, Tensor]:
                    self._move(start, t, direction)
                    return float(closure()), self._flat_grad()

                largest = float(direction.abs().max())
                found, spent = _strong_wolfe(
                    evaluate, direction, t, (0.0, loss, grad, slope), largest, tolerance_change
                )
                t, loss, grad = found[:3]
                self._move(start, t, direction)
            else:
                self._move(start, t, direction)
                if iterations != group["max_iter"]:
                    loss, spent = float(closure()), 1
                    grad = self._flat_grad()
            state.update(d=direction, t=t)
            evaluations += spent
            state["func_evals"] += spent
            if iterations == group["max_iter"] or evaluations >= group["max_eval"]:
                break
            if float(grad.abs().max()) <= group["tolerance_grad"]:
                break
            if float((direction * t).abs().max()) <= tolerance_change or abs(loss - before) < tolerance_change:
                break
        return first_loss

    @staticmethod
    def _direction(state: dict[str, Any], grad: Tensor, history_size: int) -> Tensor:
        """-H g by the two-loop recursion, after taking the last step into the history."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -grad
        changes, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        change, step = grad - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = change.dot(step)
        if curvature > 1e-10:
            if len(changes) == history_size:
                for history in (changes, steps, ro):
                    history.pop(0)
            changes.append(change)
            steps.append(step)
            ro.append(1.0 / curvature)
            state["H_diag"] = curvature / change.dot(change)
        factors = state.setdefault("al", [None] * history_size)
        direction = -grad
        for i in reversed(range(len(changes))):
            factors[i] = steps[i].dot(direction) * ro[i]
            direction = direction - changes[i] * factors[i]
        direction = direction * state["H_diag"]
        for i in range(len(changes)):
            direction = direction + steps[i] * (factors[i] - changes[i].dot(direction) * ro[i])
        return direction
