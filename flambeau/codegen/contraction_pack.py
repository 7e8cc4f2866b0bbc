"""LLVM text of the pack kernel: to[k * to_k + i] = from[off[i] + k * from_k], fb_packing's meaning.

Three ways, chosen as it runs: where i runs in memory, vectors are copied; where k does, blocks of four columns are
transposed in registers; else elements go one by one. They are converted on the way. Imports ir's dtypes, Target.
Read next: `contraction_words.py`, `contraction_micro.py`, `runtime/contract.h`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from ..ir.expr import DTYPES
from .contraction_micro import lanes
from .llvm_ops import MEMORY, REGISTER, SUFFIX, convert, decode, wide
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
        self.block = min(self.width, 4)
        # How many of what goes along k, how many of those are complete, and the most that are left of a block of them.
        self.steps, self.complete, self.most_left = "%n", "%n", self.block - 1
        self.memory, self.register = MEMORY[source], REGISTER[dtype]
        self.source_size, self.size = DTYPES[source].size, DTYPES[dtype].size

    def module(self) -> str:
        self.do(f"%rows = alloca {wide('i64', self.width)}, align 64")
        self.do(f"%nowhere = alloca {wide(self.register, self.width)}, align 64")
        for slot, name in enumerate(FIELDS):
            self.do(f"%at.{name} = getelementptr i64, ptr %packing, i64 {slot}")
            self.do(f"%{name} = load {'ptr' if slot < 3 else 'i64'}, ptr %at.{name}, align 8")
        self.begin()
        self.do("%ordered = icmp eq ptr %off, null")
        self.do("%unit_i = icmp eq i64 %from_i, 1")
        self.do("%copied = and i1 %ordered, %unit_i")
        self.do("br i1 %copied, label %copy, label %other")
        self.lines.append("copy:")

        def columns(k: str) -> None:
            self.loop("ci", "ck.do", "%m", self.width, lambda i: self.copy(i, k))

        self.loop("ck", "copy", self.steps, 1, columns)
        self.do("br label %packed")
        self.lines.append("other:")
        self.do("%unit_k = icmp eq i64 %from_k, 1")
        self.do("br i1 %unit_k, label %transpose, label %single")
        self.lines.append("transpose:")
        self.do("%last = sub i64 %m, 1")
        self.loop("ti", "transpose", "%m", self.width, self.transpose)
        self.do("br label %packed")
        self.lines.append("single:")
        self.loop("si", "single", "%m", 1, self.single)
        self.do("br label %packed")
        self.lines.append("packed:")
        self.last_row()
        self.do("ret void")
        bits = self.target.vector_bits
        return "\n".join([
            "define void @pack(ptr noalias readonly %packing) #0 {", "start:", *self.lines, "}",
            f'attributes #0 = {{ nounwind "no-builtins" "target-cpu"="{self.target.cpu}" '
            f'"target-features"="{self.target.features}" '
            f'"prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}" }}', "",
        ])  # fmt: skip

    def begin(self) -> None:
        """What is to be known beforehand."""

    def last_row(self) -> None:
        """What is to be written at last."""

    def source_at(self, row: str, k: str) -> str:
        """The address of element k of the row that starts at an offset."""
        index = self.emit(f"add i64 {row}, {self.emit(f'mul i64 {k}, %from_k')}")
        return self.emit(f"getelementptr {self.memory}, ptr %from, i64 {index}")

    def target_at(self, i: str, k: str) -> str:
        index = self.emit(f"add i64 {i}, {self.emit(f'mul i64 {k}, %to_k')}")
        return self.emit(f"getelementptr {self.register}, ptr %to, i64 {index}")

    def mask(self, left: str, width: int) -> str:
        """The first `left` lanes."""
        t = wide("i32", width)
        least = self.emit(f"call i64 @llvm.smin.i64(i64 {left}, i64 {width})")
        first = self.emit(f"insertelement {t} poison, i32 {self.emit(f'trunc i64 {least} to i32')}, i64 0")
        count = self.emit(f"shufflevector {t} {first}, {t} poison, {t} zeroinitializer")
        return self.emit(f"icmp ult {t} <{', '.join(f'i32 {k}' for k in range(width))}>, {count}")

    def load(self, pointer: str, mask: str | None, width: int) -> str:
        m = wide(self.memory, width)
        if mask is None:
            bits = self.emit(f"load {m}, ptr {pointer}, align {self.source_size}")
        else:
            bits = self.emit(
                f"call {m} @llvm.masked.load.v{width}{SUFFIX.get(self.memory, self.memory)}.p0("
                f"ptr align {self.source_size} {pointer}, {wide('i1', width)} {mask}, {m} zeroinitializer)"
            )
        return self.converted(bits, width)

    def converted(self, bits: str, width: int) -> str:
        return convert(self.emit, decode(self.emit, bits, self.source, width), self.source, self.dtype, width)

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
        # What lies beside this panel is packed next, and rows are too far apart for the hardware to guess it.
        beside = self.emit(f"getelementptr {self.memory}, ptr {source}, i64 %m")
        self.do(f"call void @llvm.prefetch.p0(ptr {beside}, i32 0, i32 2, i32 1)")
        left = self.emit(f"sub i64 %m, {i}")
        self.do(f"br i1 {self.emit(f'icmp sge i64 {left}, {self.width}')}, label %ci.full, label %ci.part")
        for label, mask in (("ci.full", None), ("ci.part", left)):
            self.lines.append(f"{label}:")
            m = self.mask(mask, self.width) if mask else None
            self.store(self.load(source, m, self.width), target, m)
            if mask is None:
                self.do("br label %ci.done")
        self.do("br label %ci.done")
        self.lines.append("ci.done:")

    def transpose(self, i: str) -> None:
        """Rows i … i + width - 1, all k; rows from m on repeat the last, and aren't stored."""
        n, words = self.width, wide("i64", self.width)
        columns = self.mask(self.emit(f"sub i64 %m, {i}"), n)
        self.do("br i1 %ordered, label %tr.times, label %tr.table")
        self.lines.append("tr.times:")
        numbers = self.emit(f"add {words} {self.splat(i)}, <{', '.join(f'i64 {k}' for k in range(n))}>")
        numbers = self.emit(f"call {words} @llvm.umin.v{n}i64({words} {numbers}, {words} {self.splat('%last')})")
        times = self.emit(f"mul {words} {numbers}, {self.splat('%from_i')}")
        self.do("br label %tr.known")
        self.lines.append("tr.table:")
        at = self.emit(f"getelementptr i64, ptr %off, i64 {i}")
        first = self.splat(self.emit(f"load i64, ptr {at}, align 8"))
        table = self.emit(
            f"call {words} @llvm.masked.load.v{n}i64.p0(ptr align 8 {at}, {wide('i1', n)} {columns}, {words} {first})"
        )
        self.do("br label %tr.known")
        self.lines.append("tr.known:")
        self.do(f"store {words} {self.emit(f'phi {words} [{times}, %tr.times], [{table}, %tr.table]')}, ptr %rows")

        whole = self.emit(f"and i64 {self.complete}, {-self.block}")
        self.loop("tk", "tr.known", whole, self.block, lambda k: self.square(i, k, columns, None))
        left = self.emit(f"sub i64 {self.steps}, {whole}")
        self.do(f"br i1 {self.emit(f'icmp eq i64 {left}, 0')}, label %tr.done, label %tr.rest")
        self.lines.append("tr.rest:")
        self.square(i, whole, columns, left)
        self.do("br label %tr.done")
        self.lines.append("tr.done:")

    def square(self, i: str, k: str, columns: str, left: str | None) -> None:
        """All rows, k … k + block - 1, or `left` of these.

        Vector q takes rows q, q + block, q + 2 * block, … one after the other: then equal places of the vectors are to
        be exchanged within stretches of `block` lanes, which no instruction finds hard.
        """
        n, block, t = self.width, self.block, wide(self.register, self.width)
        rows, mask = [], self.row_mask(k, left) if left else None
        for lane in range(n):
            row = self.emit(f"load i64, ptr {self.emit(f'getelementptr i64, ptr %rows, i64 {lane}')}")
            rows.append(self.load(self.source_at(row, k), mask, block))
        vectors = [self.joined(rows[q::block]) for q in range(block)]
        distance = block // 2
        while distance:
            for q in range(block):
                if not q & distance:
                    low = [x if not x & distance else n + x - distance for x in range(n)]
                    high = [x + distance if not x & distance else n + x for x in range(n)]
                    a, b = vectors[q], vectors[q + distance]
                    for where, order in ((q, low), (q + distance, high)):
                        picks = ", ".join(f"i32 {x}" for x in order)
                        vectors[where] = self.emit(f"shufflevector {t} {a}, {t} {b}, <{n} x i32> <{picks}>")
            distance //= 2
        for step, value in enumerate(vectors[: self.most_left] if left else vectors):
            p = self.target_at(i, self.emit(f"add i64 {k}, {step}"))
            if left:
                p = self.emit(f"select i1 {self.emit(f'icmp sgt i64 {left}, {step}')}, ptr {p}, ptr %nowhere")
            self.store(value, p, columns)

    def row_mask(self, k: str, left: str) -> str:
        """What there is of a row's last `left` steps, from k on."""
        return self.mask(left, self.block)

    def joined(self, parts: list[str]) -> str:
        """Equal vectors, a power of two of them, end to end."""
        size = self.block
        while len(parts) > 1:
            t, picks = wide(self.register, size), ", ".join(f"i32 {x}" for x in range(2 * size))
            parts = [
                self.emit(f"shufflevector {t} {a}, {t} {b}, <{2 * size} x i32> <{picks}>")
                for a, b in zip(parts[::2], parts[1::2], strict=True)
            ]
            size *= 2
        return parts[0]

    def splat(self, value: str) -> str:
        t = wide("i64", self.width)
        first = self.emit(f"insertelement {t} poison, i64 {value}, i64 0")
        return self.emit(f"shufflevector {t} {first}, {t} poison, <{self.width} x i32> zeroinitializer")

    def row_offset(self, i: str) -> str:
        """off[i], or what stands for it."""
        self.do("br i1 %ordered, label %one.times, label %one.table")
        self.lines.append("one.times:")
        times = self.emit(f"mul i64 {i}, %from_i")
        self.do("br label %one.known")
        self.lines.append("one.table:")
        table = self.emit(f"load i64, ptr {self.emit(f'getelementptr i64, ptr %off, i64 {i}')}, align 8")
        self.do("br label %one.known")
        self.lines.append("one.known:")
        return self.emit(f"phi i64 [{times}, %one.times], [{table}, %one.table]")

    def single(self, i: str) -> None:
        row = self.row_offset(i)

        def element(k: str) -> None:
            bits = self.emit(f"load {self.memory}, ptr {self.source_at(row, k)}, align {self.source_size}")
            self.do(f"store {self.register} {self.converted(bits, 1)}, ptr {self.target_at(i, k)}, align {self.size}")

        self.loop("sk", "one.known", "%n", 1, element)
