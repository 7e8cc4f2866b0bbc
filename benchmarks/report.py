"""A row of the table, and the two ways to print it."""

from __future__ import annotations

import datetime
import statistics
from dataclasses import dataclass, field

from .case import Case


@dataclass
class Row:
    """What was measured of one case. In `samples` and `megabytes` True is the module under test, False is torch."""

    case: Case
    limits: dict[str, float]
    samples: dict[bool, list[float]] = field(default_factory=dict)
    megabytes: dict[bool, float] = field(default_factory=dict)
    reference: float = 0.0
    limit_seconds: float | None = None
    limit_megabytes: float | None = None
    error: str = ""

    def median(self, ours: bool) -> float | None:
        return statistics.median(self.samples[ours]) if ours in self.samples else None

    @property
    def ratios(self) -> list[float]:
        """Our time over torch's, of samples taken one after the other."""
        return [a / b for a, b in zip(self.samples.get(True, ()), self.samples.get(False, ()), strict=False) if b]

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def spread(self) -> float | None:
        """Half the distance between the quartiles of the ratios, relative to their median."""
        if len(self.ratios) < 4:
            return None
        low, middle, high = statistics.quantiles(self.ratios, n=4)
        return (high - low) / 2 / middle

    @property
    def share(self) -> tuple[float, str] | None:
        """The part of the machine's limit that was reached, and which limit."""
        ours = self.median(True)
        if ours and self.case.flops and self.case.peak in self.limits:
            return self.case.flops / ours / self.limits[self.case.peak], PEAKS[self.case.peak]
        if ours and self.case.traffic and "copy" in self.limits:
            return self.case.traffic / ours / self.limits["copy"], "copy"
        return None

    @property
    def over_budget(self) -> bool:
        ours = self.median(True)
        if self.case.budget is None or not self.reference:
            return False
        return ours is None or min(self.samples[True]) > self.case.budget * self.reference

    @property
    def figures(self) -> list[tuple[str, bool | None]]:
        """Each figure to reach, and whether it was; None where it couldn't be told."""
        ours, found = self.median(True), []
        if self.limit_seconds is not None:
            found.append((f"≤ {self.limit_seconds:g} s", None if ours is None else ours <= self.limit_seconds))
        if self.limit_megabytes is not None:
            reached = self.megabytes[True] <= self.limit_megabytes if True in self.megabytes else None
            found.append((f"≤ {self.limit_megabytes} MB", reached))
        elif self.case.reach is not None:
            found.append((f"≤ {self.case.reach:.2f}×", None if self.ratio is None else self.ratio <= self.case.reach))
        if self.case.below is not None:
            found.append((f"< {self.case.below:g} {self.case.unit}", None if ours is None else ours < self.case.below))
        if self.case.share is not None:
            reached = None if self.share is None else self.share[0] >= self.case.share
            found.append((f"≥ {self.case.share:.0%} of copy", reached))
        return found

    def shown(self, ours: bool) -> str:
        """What was measured of a side, with its unit."""
        value = self.median(ours)
        if value is None:
            return "–"
        if self.case.unit != "s":
            return f"{value:.0f} {self.case.unit}"
        return _seconds(value) + (f", {self.megabytes[ours]:.0f} MB" if ours in self.megabytes else "")

    def cells(self) -> list[str]:
        """name, our time, torch's, ratio, spread, share of the limit, figures to reach, reached."""
        words = {True: "yes", False: "NO", None: "–"}
        return [
            self.case.title,
            self.shown(True),
            self.shown(False),
            "–" if self.ratio is None else f"{self.ratio:.2f}×",
            "–" if self.spread is None else f"±{self.spread:.0%}",
            "–" if self.share is None else f"{self.share[0]:.0%} of {self.share[1]}",
            ", ".join(figure for figure, _ in self.figures) or "–",
            ", ".join(words[reached] for _, reached in self.figures) or "–",
        ]


PEAKS = {"fma": "FMA", "bf16": "bf16", "int8": "int8"}
SAME_WEIGHTS = "Same weights, bit for bit, after 100 steps at 1, 2, 3, 4 and 8 threads"
HEADINGS = ["case", "flambeau", "torch", "ratio", "spread", "of limit", "reach", "reached"]
WIDTHS = [62, 16, 16, 7, 6, 12, 24, 9]


def _seconds(value: float) -> str:
    unit, name = next(((u, n) for u, n in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")) if value >= u), (1e-9, "ns"))
    digits = value / unit
    return f"{digits:.0f} {name}" if digits >= 100 else f"{digits:.3g} {name}"


def as_text(row: Row) -> str:
    """One line for the terminal."""
    line = "  ".join(cell.ljust(width) for cell, width in zip(row.cells(), WIDTHS, strict=True)).rstrip()
    if row.reference and (ours := row.median(True)):
        line += f"  {ours / row.reference:.1f} of {row.case.budget:g} units" + (" OVER" if row.over_budget else "")
    return f"{line}  [{row.error}]" if row.error else line


def as_markdown(
    rows: list[Row], versions: list[str], machine: str, limits: dict[str, float], checks: dict[str, bool]
) -> str:
    """The whole table as a page."""
    lines = [
        "# Benchmark results",
        "",
        f"{' against '.join(versions)}, 2 threads, {datetime.date.today()}. {machine}.",
        "",
        "Times are medians of samples taken in turn, A B A B …; a ratio is the median of our time over PyTorch's in the"
        " same turn, its spread half the distance between the quartiles. "
        "Written by `python -m benchmarks --against PYTHON --write FILE`.",
        "",
    ]
    if limits:
        peaks = (f"{name} {limits[kind] / 1e9:.0f} Gop/s" for kind, name in PEAKS.items() if kind in limits)
        speeds = f"copy {limits['copy'] / 1e9:.0f} GB/s, {', '.join(peaks)}"
        lines += [f"The machine's limits in the same run: {speeds}.", ""]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    lines += [""] + [f"{SAME_WEIGHTS}, {name}: {'yes' if same else '**no**'}." for name, same in checks.items()]
    failed = [f"- {row.case.title}: {row.error}" for row in rows if row.error]
    lines += ["", "Cases that failed:", "", *failed] if failed else []
    return "\n".join(lines).rstrip() + "\n"
