"""LLVM text of the pack kernel: to[k * to_k + i] = from[off[i] + k * from_k], fb_packing's meaning.

Three ways, chosen as it runs: where i runs in memory, vectors are copied; where k does, squares of lanes by lanes are
transposed in registers; else elements go one by one. bf16 and f16 become f32 on the way. Imports ir's dtypes, Target.
Read next: `contraction_micro.py`, `runtime/contract.h`, `contraction.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from ..ir.expr import DTYPES
from .contraction_micro import lanes
from .llvm_ops import MEMORY, REGISTER, SUFFIX, decode, wide
from .target import Target

FIELDS = ("from", "to", "off", "from_i", "from_k", "to_k", "m", "n")


class Text:
    """Lines of a function under construction; `emit` names results."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.numbers = itertools.count()

    def emit(self, instruction: str) -> str:
        result = f"%r{next(self.numbers)}"
        self.lines.append(f"  {result} = {instruction}")
        return result

    def do(self, instruction: str) -> None:
        self.lines.append("  " + instruction)

    def loop(self, name: str, entered_from: str, stop: str, step: int, body: Callable[[str], None]) -> None:
        """for name = 0; name < stop; name += step, in blocks `name`, `name.do`, …, `name.next`, `name.end`."""
        self.do(f"br label %{name}")
        self.lines.append(f"{name}:")
        self.do(f"%{name}.i = phi i64 [0, %{entered_from}], [%{name}.after, %{name}.next]")
        self.do(f"%{name}.in = icmp slt i64 %{name}.i, {stop}")
        self.do(f"br i1 %{name}.in, label %{name}.do, label %{name}.end")
        self.lines.append(f"{name}.do:")
        body(f"%{name}.i")
        self.do(f"br label %{name}.next")
        self.lines.append(f"{name}.next:")
        self.do(f"%{name}.after = add i64 %{name}.i, {step}")
        self.do(f"br label %{name}")
        self.lines.append(f"{name}.end:")


def render(source: str, dtype: str, target: Target) -> str:
    """The module whose entry is an fb_pack_kernel from operands of dtype `source` to sums of `dtype`."""
    return Packer(source, dtype, target).module()


class Packer(Text):
    def __init__(self, source: str, dtype: str, target: Target):
        super().__init__()
        self.source, self.dtype, self.target = source, dtype, target
        self.width = lanes(dtype, target)
        self.memory, self.register = MEMORY[source], REGISTER[dtype]
        self.source_size, self.size = DTYPES[source].size, DTYPES[dtype].size

    def module(self) -> str:
        for slot, name in enumerate(FIELDS):
            self.do(f"%at.{name} = getelementptr i64, ptr %packing, i64 {slot}")
            self.do(f"%{name} = load {'ptr' if slot < 3 else 'i64'}, ptr %at.{name}, align 8")
        self.do("%ordered = icmp eq ptr %off, null")
        self.do("%unit_i = icmp eq i64 %from_i, 1")
        self.do("%copied = and i1 %ordered, %unit_i")
        self.do("br i1 %copied, label %copy, label %other")
        self.lines.append("copy:")
        self.loop("ck", "copy", "%n", 1, lambda k: self.loop("ci", "ck.do", "%m", self.width, lambda i: self.copy(i, k)))
        self.do("ret void")
        self.lines.append("other:")
        self.do("%unit_k = icmp eq i64 %from_k, 1")
        self.do("br i1 %unit_k, label %transpose, label %single")
        self.lines.append("transpose:")
        self.do("%last = sub i64 %m, 1")
        self.loop("ti", "transpose", "%m", self.width, self.transpose)
        self.do("ret void")
        self.lines.append("single:")
        self.loop("si", "single", "%m", 1, self.single)
        self.do("ret void")
        bits = self.target.vector_bits
        return "\n".join([
            "define void @pack(ptr noalias readonly %packing) #0 {", "start:", *self.lines, "}",
            f'attributes #0 = {{ nounwind "no-builtins" "target-cpu"="{self.target.cpu}" '
            f'"target-features"="{self.target.features}" '
            f'"prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}" }}', "",
        ])  # fmt: skip

    def offset(self, i: str, name: str) -> str:
        """Where row i starts: off[i], or i * from_i."""
        self.do(f"br i1 %ordered, label %{name}.times, label %{name}.table")
        self.lines.append(f"{name}.times:")
        times = self.emit(f"mul i64 {i}, %from_i")
        self.do(f"br label %{name}.known")
        self.lines.append(f"{name}.table:")
        at = self.emit(f"getelementptr i64, ptr %off, i64 {i}")
        table = self.emit(f"load i64, ptr {at}, align 8")
        self.do(f"br label %{name}.known")
        self.lines.append(f"{name}.known:")
        return self.emit(f"phi i64 [{times}, %{name}.times], [{table}, %{name}.table]")

    def source_at(self, row: str, k: str) -> str:
        """The address of element k of the row that starts at an offset."""
        index = self.emit(f"add i64 {row}, {self.emit(f'mul i64 {k}, %from_k')}")
        return self.emit(f"getelementptr {self.memory}, ptr %from, i64 {index}")

    def target_at(self, i: str, k: str) -> str:
        index = self.emit(f"add i64 {i}, {self.emit(f'mul i64 {k}, %to_k')}")
        return self.emit(f"getelementptr {self.register}, ptr %to, i64 {index}")

    def mask(self, left: str) -> str:
        """The first `left` lanes."""
        t = wide("i32", self.width)
        least = self.emit(f"call i64 @llvm.smin.i64(i64 {left}, i64 {self.width})")
        first = self.emit(f"insertelement {t} poison, i32 {self.emit(f'trunc i64 {least} to i32')}, i64 0")
        count = self.emit(f"shufflevector {t} {first}, {t} poison, {t} zeroinitializer")
        return self.emit(f"icmp ult {t} <{', '.join(f'i32 {k}' for k in range(self.width))}>, {count}")

    def load(self, pointer: str, mask: str | None) -> str:
        m = wide(self.memory, self.width)
        if mask is None:
            bits = self.emit(f"load {m}, ptr {pointer}, align {self.source_size}")
        else:
            bits = self.emit(
                f"call {m} @llvm.masked.load.v{self.width}{SUFFIX.get(self.memory, self.memory)}.p0("
                f"ptr align {self.source_size} {pointer}, {wide('i1', self.width)} {mask}, {m} zeroinitializer)"
            )
        return decode(self.emit, bits, self.source, self.width)

    def store(self, value: str, pointer: str, mask: str | None) -> None:
        t = wide(self.register, self.width)
        if mask is None:
            self.do(f"store {t} {value}, ptr {pointer}, align {self.size}")
        else:
            self.do(
                f"call void @llvm.masked.store.v{self.width}{SUFFIX.get(self.register, self.register)}.p0({t} {value}, "
                f"ptr align {self.size} {pointer}, {wide('i1', self.width)} {mask})"
            )

    def copy(self, i: str, k: str) -> None:
        source, target = self.source_at(i, k), self.target_at(i, k)
        left = self.emit(f"sub i64 %m, {i}")
        self.do(f"br i1 {self.emit(f'icmp sge i64 {left}, {self.width}')}, label %ci.full, label %ci.part")
        for label, mask in (("ci.full", None), ("ci.part", left)):
            self.lines.append(f"{label}:")
            m = self.mask(mask) if mask else None
            self.store(self.load(source, m), target, m)
            if mask is None:
                self.do("br label %ci.done")
        self.do("br label %ci.done")
        self.lines.append("ci.done:")

    def transpose(self, i: str) -> None:
        """Rows i … i + width - 1, all k; rows from m on repeat the last, and aren't stored."""
        rows = []
        for lane in range(self.width):
            row = self.emit(f"call i64 @llvm.umin.i64(i64 {self.emit(f'add i64 {i}, {lane}')}, i64 %last)")
            rows.append(self.offset(row, f"row{lane}"))
        columns = self.mask(self.emit(f"sub i64 %m, {i}"))
        self.lines.append("  br label %tr\ntr:")

        def square(k: str) -> None:
            t, left = wide(self.register, self.width), self.emit(f"sub i64 %n, {k}")
            self.do(f"br i1 {self.emit(f'icmp sge i64 {left}, {self.width}')}, label %tk.full, label %tk.part")
            loaded = []
            for label in ("tk.full", "tk.part"):
                self.lines.append(f"{label}:")
                mask = self.mask(left) if label == "tk.part" else None
                loaded.append([self.load(self.source_at(row, k), mask) for row in rows])
                self.do("br label %tk.loaded")
            self.lines.append("tk.loaded:")
            square = [self.emit(f"phi {t} [{a}, %tk.full], [{b}, %tk.part]") for a, b in zip(*loaded, strict=True)]
            for step, value in enumerate(self.transposed(square)):
                if step:
                    self.do(f"%in.{step} = icmp sgt i64 {left}, {step}")
                    self.do(f"br i1 %in.{step}, label %tk.{step}, label %tk.done")
                    self.lines.append(f"tk.{step}:")
                self.store(value, self.target_at(i, self.emit(f"add i64 {k}, {step}")), columns)
            self.do("br label %tk.done")
            self.lines.append("tk.done:")

        self.loop("tk", "tr", "%n", self.width, square)

    def transposed(self, rows: list[str]) -> list[str]:
        """The square's columns: for each power of two, exchange the halves that lie off the diagonal."""
        t, n = wide(self.register, self.width), self.width
        distance = n // 2
        while distance:
            low = [k if not k & distance else n + k - distance for k in range(n)]
            high = [k + distance if not k & distance else n + k for k in range(n)]
            rows = list(rows)
            for i in range(n):
                if not i & distance:
                    a, b = rows[i], rows[i + distance]
                    for where, order in ((i, low), (i + distance, high)):
                        picks = ", ".join(f"i32 {k}" for k in order)
                        rows[where] = self.emit(f"shufflevector {t} {a}, {t} {b}, <{n} x i32> <{picks}>")
            distance //= 2
        return rows

    def single(self, i: str) -> None:
        row = self.offset(i, "one")
        self.lines.append("  br label %sr\nsr:")

        def element(k: str) -> None:
            bits = self.emit(f"load {self.memory}, ptr {self.source_at(row, k)}, align {self.source_size}")
            value = decode(self.emit, bits, self.source, 1)
            self.do(f"store {self.register} {value}, ptr {self.target_at(i, k)}, align {self.size}")

        self.loop("sk", "sr", "%n", 1, element)
