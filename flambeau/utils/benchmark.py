"""`torch.utils.benchmark`: Timer and its Measurement, over timeit. Imports flambeau when asked."""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable
from typing import Any


class Measurement:
    """Times of a statement in seconds a run.

    >>> m = fb.utils.benchmark.Measurement(10, [1.0, 3.0], "two blocks of ten")
    >>> m.median
    0.2
    """

    def __init__(self, number_per_run: int, raw_times: list[float], label: str) -> None:
        self.number_per_run, self.raw_times, self.label = number_per_run, raw_times, label

    @property
    def times(self) -> list[float]:
        """Seconds of one run, for each measurement."""
        return [t / self.number_per_run for t in self.raw_times]

    @property
    def mean(self) -> float:
        """The mean of times."""
        return statistics.fmean(self.times)

    @property
    def median(self) -> float:
        """The median of times."""
        return statistics.median(self.times)

    @property
    def iqr(self) -> float:
        """The distance of the quartiles of times."""
        if len(self.times) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.times, n=4, method="inclusive")
        return high - low

    def __repr__(self) -> str:
        units = (("s", 1), ("ms", 1e3), ("us", 1e6))
        unit, scale = next(((u, s) for u, s in units if self.median * s >= 1), ("ns", 1e9))
        runs = f"{len(self.times)} measurement{'s' * (len(self.times) > 1)}, {self.number_per_run} runs each"
        median = f"Median: {self.median * scale:.2f} {unit}"
        return f"<{type(self).__module__}.Measurement>\n{self.label}\n  {median}\n  {runs}"


class Timer:
    """Timer(stmt, setup, globals=...): times a statement; num_threads threads compute meanwhile.

    >>> from flambeau.utils.benchmark import Timer
    >>> Timer("x + x", globals={"x": fb.ones(4)}).timeit(10).number_per_run
    10
    """

    def __init__(
        self,
        stmt: str = "pass",
        setup: str = "pass",
        global_setup: str = "",
        timer: Callable[[], float] = timeit.default_timer,
        globals: dict[str, Any] | None = None,
        label: str | None = None,
        sub_label: str | None = None,
        description: str | None = None,
        env: str | None = None,
        num_threads: int = 1,
        language: str = "python",
    ) -> None:
        if str(language).lower() not in ("python", "language.python", "py"):
            raise ValueError("Timer: only Python statements are timed here")
        exec(global_setup, globals if globals is not None else {})
        self.timer = timeit.Timer(stmt, setup, timer, globals)
        self.label = ": ".join(x for x in (label, sub_label, description) if x) or str(stmt)
        self.num_threads = num_threads

    def run(self, number: int) -> float:
        import flambeau as fb

        before = fb.get_num_threads()
        fb.set_num_threads(self.num_threads)
        try:
            return self.timer.timeit(number)
        finally:
            fb.set_num_threads(before)

    def timeit(self, number: int = 1000000) -> Measurement:
        """One measurement of `number` runs, after a few to warm up."""
        self.run(max(number // 100, 1))
        return Measurement(number, [self.run(number)], self.label)

    def blocked_autorange(self, callback: Any = None, min_run_time: float = 0.2) -> Measurement:
        """Measurements of as many runs as make the clock negligible, for min_run_time seconds in all."""
        number = 1
        while (taken := self.run(number)) < min_run_time / 100:
            number *= 10
        times = [taken]
        while sum(times) < min_run_time:
            times.append(self.run(number))
            if callback is not None:
                callback(number, times[-1])
        return Measurement(number, times, self.label)

    def adaptive_autorange(
        self, threshold: float = 0.1, *, min_run_time: float = 0.01, max_run_time: float = 10.0, callback: Any = None
    ) -> Measurement:
        """blocked_autorange for longer and longer, until the quartiles are within threshold of the median."""
        span = min_run_time
        while True:
            found = self.blocked_autorange(callback, span)
            if found.iqr < threshold * found.median or span >= max_run_time:
                return found
            span *= 2


__all__ = ["Measurement", "Timer"]
