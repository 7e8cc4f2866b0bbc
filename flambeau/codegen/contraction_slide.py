"""LLVM text of `slide` in runtime/contract.h: a window over one plane, for convolutions that don't mix channels.

A depthwise convolution has a few multiply-adds per element, so it is as fast as it reads and writes: the kernel is made
for one window (its size, stride and dilation), reads planes where they lie, and masks what falls outside, so nothing is
staged. Vectors run along columns; a few output rows at a time share what they load.

Imports ir's dtypes and Target. Read next: `runtime/slide.c`, `contraction_pack.py`, `contraction.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..ir.expr import DTYPES
from .contraction_micro import lanes
from .contraction_pack import Text
from .llvm_ops import REGISTER, SUFFIX, intrinsic, wide
from .target import Target

FIELDS = ("a", "b", "c", "a_row", "b_row", "c_row", "height", "width", "rows", "columns", "top", "left")
VIRTUAL = 16  # lanes of a weight gradient's sum, on every machine
MOST_TAPS = 64
KINDS = ("forward", "data", "weight")
MOVES = ("copy", "weave")  # without products


@dataclass(frozen=True, slots=True)
class Window:
    """Which of a convolution's three contractions, or which move; and the geometry along rows and columns."""

    kind: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)


def is_supported(dtype: str, window: Window, target: Target) -> bool:
    """Whether there is a kernel."""
    if window.kind in MOVES:
        return DTYPES[dtype].size >= 4 or target.vector_bits == 512
    return dtype[0] == "f" and window.taps <= MOST_TAPS and (window.kind != "data" or window.stride[1] <= 2)


def render(dtype: str, window: Window, target: Target) -> str:
    """The module whose entry is the `slide` of an fb_contraction for sums of `dtype`."""
    return Slide(dtype, window, target).module()


@dataclass(frozen=True, slots=True)
class Tap:
    """Tap `number` meets the element `row` rows and `column` columns from where the tile of outputs begins."""

    number: int
    row: int
    column: int


class Slide(Text):
    def __init__(self, dtype: str, window: Window, target: Target):
        super().__init__()
        self.dtype, self.window, self.target = dtype, window, target
        self.width, self.size = lanes(dtype, target), DTYPES[dtype].size
        self.scalar = f"i{8 * self.size}" if window.kind in MOVES else REGISTER[dtype]
        self.vector, self.mask_type = wide(self.scalar, self.width), wide("i1", self.width)
        self.suffix = f"v{self.width}{SUFFIX.get(self.scalar, self.scalar)}"
        self.columns32 = wide("i32", self.width)
        self.label = "start"

    def module(self) -> str:
        for slot, name in enumerate(FIELDS):
            self.do(f"%at.{name} = getelementptr i64, ptr %plane, i64 {slot}")
            self.do(f"%{name} = load {'ptr' if slot < 3 else 'i64'}, ptr %at.{name}, align 8")
        self.do("%width32 = trunc i64 %width to i32")
        self.do("%columns32 = trunc i64 %columns to i32")
        {
            "forward": self.forward, "data": self.data, "weight": self.weight, "copy": self.copy, "weave": self.weave
        }[self.window.kind]()  # fmt: skip
        self.do("ret void")
        bits = self.target.vector_bits
        return "\n".join([
            "define void @slide(ptr noalias readonly %plane) #0 {", "start:", *self.lines, "}",
            f'attributes #0 = {{ nounwind "no-builtins" "target-cpu"="{self.target.cpu}" '
            f'"target-features"="{self.target.features}" '
            f'"prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}" }}', "",
        ])  # fmt: skip

    # ---- what is computed --------------------------------------------------------------------------------------

    def forward(self) -> None:
        (height, width), (sh, sw), (dh, dw) = self.window.kernel, self.window.stride, self.window.dilation
        taps = [Tap(y * width + x, y * dh, x * dw) for y in range(height) for x in range(width)]
        columns = self.splat32("%columns32")

        def rows(first: str, count: int) -> None:
            base = self.sub(self.times(first, sh), "%top")
            outputs = [[Tap(t.number, t.row + i * sh, t.column) for t in taps] for i in range(count)]
            lines = self.lines_of("%a", base, "%a_row", outputs)

            def step(j: str, _: list[str]) -> list[str]:
                results = self.sums(outputs, lines, self.sub(self.times(j, sw), "%left"), sw)
                mask = self.below(j, 0, columns)
                for i, value in enumerate(results):
                    row = self.row("%c", self.plus(first, i), "%c_row")
                    self.store(value, self.element(row, j), mask)
                return []

            self.fold("0", "%columns", self.width, [], step)

        self.weights = self.splats(taps)
        self.by_rows("0", "%rows", rows)

    def data(self) -> None:
        """By phases of the stride: those of rows one after another, those of columns woven together."""
        (height, width), (sh, sw), (dh, dw) = self.window.kernel, self.window.stride, self.window.dilation
        every = [(y * width + x, y * dh, x * dw) for y in range(height) for x in range(width)]
        self.weights = self.splats([Tap(*t) for t in every])
        columns = self.splat32("%columns32")
        start = self.emit(f"udiv i64 %left, {sw}")
        end = self.emit(f"udiv i64 {self.plus(self.emit('add i64 %columns, %left'), sw - 1)}, {sw}")

        def phase(a: int) -> None:
            def rows(first: str, count: int) -> None:
                outputs = [
                    [
                        Tap(t, i + (a - y) // sh, (b - x) // sw)
                        for t, y, x in every
                        if (a - y) % sh == 0 and (b - x) % sw == 0
                    ]
                    for i in range(count)
                    for b in range(sw)
                ]
                lines = self.lines_of("%a", first, "%a_row", outputs)

                def step(j: str, _: list[str]) -> list[str]:
                    results = self.sums(outputs, lines, j, 1)
                    column = self.sub(self.times(j, sw), "%left")
                    for i in range(count):
                        at = self.sub(self.plus(self.times(self.plus(first, i), sh), a), "%top")
                        row = self.row("%c", at, "%c_row")
                        for p, value in enumerate(self.woven(results[i * sw : i * sw + sw])):
                            mask = self.below(column, p * self.width, columns)
                            self.store(value, self.element(row, self.plus(column, p * self.width)), mask)
                    return []

                self.fold(start, end, self.width, [], step)

            low, high = (
                self.emit(f"sdiv i64 {self.plus(x, sh - 1 - a)}, {sh}")
                for x in ("%top", self.emit("add i64 %rows, %top"))
            )
            self.by_rows(low, high, rows)

        for a in range(sh):
            phase(a)

    def weight(self) -> None:
        """c[t, lane] += the chain over rows and, in these, the columns congruent to lane modulo 16."""
        narrow, wide_, end = (f"{name}.{next(self.numbers)}" for name in ("narrow", "wide", "end"))
        is_narrow = self.emit(f"icmp ule i64 %columns, {VIRTUAL}")
        self.do(f"br i1 {is_narrow}, label %{narrow}, label %{wide_}")
        for label, down in ((narrow, True), (wide_, False)):
            self.label = label
            self.lines.append(f"{label}:")
            for half in range(0, VIRTUAL, self.width):
                self.weight_half(half, down)
            self.do(f"br label %{end}")
        self.lines.append(f"{end}:")

    def weight_half(self, half: int, down: bool) -> None:
        """The lanes of a vector. `down` is for rows of one vector: several of them share what they load."""
        (height, width), (sh, sw), (dh, dw) = self.window.kernel, self.window.stride, self.window.dilation
        taps = [Tap(y * width + x, y * dh, x * dw) for y in range(height) for x in range(width)]
        columns, most = self.splat32("%columns32"), 25 if self.target.registers == 32 else 9
        for group in (taps[first : first + most] for first in range(0, len(taps), most)):

            def rows(r: str, sums: list[str], count: int, group: list[Tap] = group) -> list[str]:
                moved = [[Tap(t.number, t.row + i * sh, t.column) for t in group] for i in range(count)]
                lines = self.lines_of("%a", self.sub(self.times(r, sh), "%top"), "%a_row", moved)
                others = [self.row("%b", self.plus(r, i), "%b_row") for i in range(count)]

                def step(j: str, sums: list[str]) -> list[str]:
                    inside = self.below(j, 0, columns)
                    x = self.loads(moved, lines, self.sub(self.times(j, sw), "%left"), sw)
                    for row, other in zip(moved, others, strict=True):
                        y = self.masked_load(self.element(other, j), inside)
                        sums = [self.multiply_add(x[t.row, t.column], y, s) for t, s in zip(row, sums, strict=True)]
                    return sums

                return step(str(half), sums) if down else self.fold(str(half), "%columns", VIRTUAL, sums, step)

            totals, whole = ["zeroinitializer"] * len(group), "0"
            if down and len(taps) <= 9:
                whole = self.emit("and i64 %rows, -4")
                totals = self.fold("0", whole, 4, totals, lambda r, sums: rows(r, sums, 4))
            totals = self.fold(whole, "%rows", 1, totals, lambda r, sums: rows(r, sums, 1))
            for tap, total in zip(group, totals, strict=True):
                at = self.element("%c", str(tap.number * VIRTUAL + half))
                before = self.emit(f"load {self.vector}, ptr {at}, align {self.size}")
                after = self.emit(f"fadd {self.vector} {before}, {total}")
                self.do(f"store {self.vector} {after}, ptr {at}, align {self.size}")

    def copy(self) -> None:
        stride = self.window.stride
        columns = self.splat32("%columns32")

        def row(r: str, _: list[str]) -> list[str]:
            lines = self.lines_of("%a", self.sub(self.times(r, stride[0]), "%top"), "%a_row", [[Tap(0, 0, 0)]])
            target = self.row("%c", r, "%c_row")

            def step(j: str, _: list[str]) -> list[str]:
                value = self.strided(lines[0][0], self.sub(self.times(j, stride[1]), "%left"), lines[0][1], stride[1])
                self.store(value, self.element(target, j), self.below(j, 0, columns))
                return []

            return self.fold("0", "%columns", self.width, [], step)

        self.fold("0", "%rows", 1, [], row)

    def weave(self) -> None:
        columns = self.splat32("%columns32")
        halves = [self.emit(f"lshr i64 {self.plus('%columns', more)}, 1") for more in (1, 0)]
        limits = [self.splat32(self.emit(f"trunc i64 {half} to i32")) for half in halves]

        def row(r: str, _: list[str]) -> list[str]:
            sources = [self.row("%a", r, "%a_row"), self.row("%b", r, "%b_row")]
            target = self.row("%c", r, "%c_row")

            def step(j: str, _: list[str]) -> list[str]:
                parts = [
                    self.masked_load(self.element(source, j), self.below(j, 0, limit))
                    for source, limit in zip(sources, limits, strict=True)
                ]
                column = self.times(j, 2)
                for p, value in enumerate(self.woven(parts)):
                    place = self.element(target, self.plus(column, p * self.width))
                    self.store(value, place, self.below(column, p * self.width, columns))
                return []

            return self.fold("0", halves[0], self.width, [], step)

        self.fold("0", "%rows", 1, [], row)

    # ---- tiles -------------------------------------------------------------------------------------------------

    def by_rows(self, low: str, high: str, body: Callable[[str, int], None]) -> None:
        """body(row, count) from row `low` on: several at a time, and the rest one by one."""
        together = 4 if self.window.taps <= 9 else 2 if self.window.taps <= 25 else 1
        count = self.sub(high, low)
        whole = self.emit(f"add i64 {low}, {self.emit(f'and i64 {count}, {-together}')}") if together > 1 else low

        def several(r: str, _: list[str]) -> list[str]:
            body(r, together)
            return []

        def one(r: str, _: list[str]) -> list[str]:
            body(r, 1)
            return []

        if together > 1:
            self.fold(low, whole, together, [], several)
        self.fold(whole, high, 1, [], one)

    def lines_of(self, base: str, first: str, pitch: str, outputs: list[list[Tap]]) -> dict[int, tuple[str, str]]:
        """For each row met: where it begins, and in all lanes how many of its columns exist, none if it doesn't."""
        found = {}
        for row in sorted({t.row for taps in outputs for t in taps}):
            at = self.plus(first, row)
            valid = self.emit(f"icmp ult i64 {at}, %height")
            found[row] = self.row(base, at, pitch), self.splat32(self.emit(f"select i1 {valid}, i32 %width32, i32 0"))
        return found

    def loads(
        self, outputs: list[list[Tap]], lines: dict[int, tuple[str, str]], column: str, step: int
    ) -> dict[tuple[int, int], str]:
        """What the taps meet, by (row, column); 0 where nothing is."""
        found: dict[tuple[int, int], str] = {}
        for t in (t for taps in outputs for t in taps):
            if (t.row, t.column) not in found:
                start, limit = lines[t.row]
                found[t.row, t.column] = self.strided(start, self.plus(column, t.column), limit, step)
        return found

    def sums(self, outputs: list[list[Tap]], lines: dict[int, tuple[str, str]], column: str, step: int) -> list[str]:
        """The chains of all outputs, added to +0."""
        x, results = self.loads(outputs, lines, column, step), []
        for taps in outputs:
            total = "zeroinitializer"
            for t in taps:
                total = self.multiply_add(self.weights[t.number], x[t.row, t.column], total)
            results.append(self.emit(f"fadd {self.vector} {total}, zeroinitializer"))
        return results

    def strided(self, start: str, column: str, limit: str, step: int) -> str:
        """Elements column, column + step, … of a row, those that it has."""
        n = self.width
        if step > 2:
            # Offsets in 64 bits: as numbers of columns they are far from overflow, as signed ones they extend.
            numbers = self.numbered(column, 0, step)
            mask = self.emit(f"icmp ult {self.columns32} {numbers}, {limit}")
            places = self.emit(f"getelementptr {self.scalar}, ptr {start}, {self.columns32} {numbers}")
            pointers = wide("ptr", n)
            return self.emit(
                f"call {self.vector} @llvm.masked.gather.{self.suffix}.v{n}p0({pointers} {places}, i32 {self.size}, "
                f"{self.mask_type} {mask}, {self.vector} zeroinitializer)"
            )
        parts = []
        for shift in (0, n - 1)[:step]:
            mask = self.below(column, shift, limit)
            parts.append(self.masked_load(self.element(start, self.plus(column, shift)), mask))
        if step == 1:
            return parts[0]
        # The second vector begins one early, so as not to read beyond the last element wanted.
        picks = [2 * i if 2 * i < n else n + 2 * i - (n - 1) for i in range(n)]
        return self.shuffled(parts[0], parts[1], picks)

    def woven(self, parts: list[str]) -> list[str]:
        """Vectors whose elements come from the parts in turn."""
        if len(parts) == 1:
            return parts
        n = self.width
        a, b = parts
        return [self.shuffled(a, b, [(half + i) // 2 + i % 2 * n for i in range(n)]) for half in (0, n)]

    # ---- instructions ------------------------------------------------------------------------------------------

    def fold(
        self, start: str, stop: str, step: int, values: list[str], body: Callable[[str, list[str]], list[str]]
    ) -> list[str]:
        """values = body(i, values) for i = start; i < stop; i += step; returns the last ones."""
        name, entered = f"l{next(self.numbers)}", self.label
        self.do(f"br label %{name}")
        self.lines.append(f"{name}:")
        place = len(self.lines)
        self.do(f"%{name}.in = icmp slt i64 %{name}.i, {stop}")
        self.do(f"br i1 %{name}.in, label %{name}.do, label %{name}.end")
        self.label = f"{name}.do"
        self.lines.append(f"{name}.do:")
        carried = [f"%{name}.v{k}" for k in range(len(values))]
        after = body(f"%{name}.i", carried)
        self.do(f"%{name}.after = add i64 %{name}.i, {step}")
        self.do(f"br label %{name}")
        phis = [f"  %{name}.i = phi i64 [{start}, %{entered}], [%{name}.after, %{self.label}]"]
        for value, first, last in zip(carried, values, after, strict=True):
            phis.append(f"  {value} = phi {self.vector} [{first}, %{entered}], [{last}, %{self.label}]")
        self.lines[place:place] = phis
        self.label = f"{name}.end"
        self.lines.append(f"{name}.end:")
        return carried

    def splats(self, taps: list[Tap]) -> dict[int, str]:
        found = {}
        for t in taps:
            at = self.element("%b", str(t.number))
            x = self.emit(f"load {self.scalar}, ptr {at}, align {self.size}")
            first = self.emit(f"insertelement {self.vector} poison, {self.scalar} {x}, i64 0")
            found[t.number] = self.emit(
                f"shufflevector {self.vector} {first}, {self.vector} poison, {self.columns32} zeroinitializer"
            )
        return found

    def splat32(self, value: str) -> str:
        t = self.columns32
        first = self.emit(f"insertelement {t} poison, i32 {value}, i64 0")
        return self.emit(f"shufflevector {t} {first}, {t} poison, {t} zeroinitializer")

    def numbered(self, first: str, shift: int, step: int) -> str:
        """first + shift, first + shift + step, …, one per lane."""
        t, steps = self.columns32, ", ".join(f"i32 {shift + k * step}" for k in range(self.width))
        return self.emit(f"add {t} {self.splat32(self.emit(f'trunc i64 {first} to i32'))}, <{steps}>")

    def below(self, first: str, shift: int, limits: str) -> str:
        """Which of first + shift, first + shift + 1, … are below the limits, and not negative."""
        return self.emit(f"icmp ult {self.columns32} {self.numbered(first, shift, 1)}, {limits}")

    def times(self, value: str, factor: int) -> str:
        return value if factor == 1 else self.emit(f"mul i64 {value}, {factor}")

    def plus(self, value: str, number: int) -> str:
        return value if number == 0 else self.emit(f"add i64 {value}, {number}")

    def sub(self, a: str, b: str) -> str:
        return self.emit(f"sub i64 {a}, {b}")

    def row(self, base: str, number: str, pitch: str) -> str:
        return self.element(base, self.emit(f"mul i64 {number}, {pitch}"))

    def element(self, base: str, index: str) -> str:
        return self.emit(f"getelementptr {self.scalar}, ptr {base}, i64 {index}")

    def shuffled(self, a: str, b: str, picks: list[int]) -> str:
        text = ", ".join(f"i32 {x}" for x in picks)
        return self.emit(f"shufflevector {self.vector} {a}, {self.vector} {b}, <{self.width} x i32> <{text}>")

    def masked_load(self, pointer: str, mask: str) -> str:
        return self.emit(
            f"call {self.vector} @llvm.masked.load.{self.suffix}.p0(ptr align {self.size} {pointer}, "
            f"{self.mask_type} {mask}, {self.vector} zeroinitializer)"
        )

    def store(self, value: str, pointer: str, mask: str) -> None:
        self.do(
            f"call void @llvm.masked.store.{self.suffix}.p0({self.vector} {value}, "
            f"ptr align {self.size} {pointer}, {self.mask_type} {mask})"
        )

    def multiply_add(self, a: str, b: str, c: str) -> str:
        v = self.vector
        return self.emit(f"call {v} {intrinsic('fma', self.scalar, self.width)}({v} {a}, {v} {b}, {v} {c})")
