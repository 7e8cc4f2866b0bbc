"""LLVM text of pack kernels for operands that share words: pairs of bf16, groups of four bytes.

An index map: element k % group of the word to[k / group * to_k + i] is from[off[i] + k * from_k], 0 past the last k.
Rows are transposed by words, as `contraction_pack.py` does it with single elements; rows that lie across are shifted
into one another. Bytes without sign have their highest bit turned (128 added to a signed one); the other side's panel
then ends in a row of -128 times its columns' sums, from which a micro-kernel starts.

Imports Target and its neighbours. Read next: `contraction_products.py`, `contraction.py`.
"""

from __future__ import annotations

from .contraction_pack import Packer
from .contraction_products import BYTES_DOT
from .llvm_ops import SUFFIX, wide
from .target import Target

TURNED = -0x7F7F7F80  # 128 in every byte


def render(source: str, sums: str, group: int, target: Target, turned: bool = False, starts: bool = False) -> str:
    """The module whose entry is an fb_pack_kernel of words of operands `source`, for sums of `sums`."""
    return Words(source, sums, group, target, turned, starts).module()


class Words(Packer):
    def __init__(self, source: str, sums: str, group: int, target: Target, turned: bool, starts: bool):
        super().__init__(source, sums, target)
        self.register, self.group = f"i{8 * self.size}", group
        self.steps, self.complete, self.most_left = "%steps", "%complete", self.block
        self.turned, self.starts = turned, starts
        self.step = group.bit_length() - 1

    def module(self) -> str:
        return super().module() + BYTES_DOT.declared("i32", self.width) + "\n" if self.starts else super().module()

    def begin(self) -> None:
        self.do(f"%steps.more = add i64 %n, {self.group - 1}")
        self.do(f"%steps = lshr i64 %steps.more, {self.step}")
        self.do(f"%complete = lshr i64 %n, {self.step}")

    def source_at(self, row: str, k: str) -> str:
        return super().source_at(row, self.emit(f"shl i64 {k}, {self.step}"))

    def store(self, value: str, pointer: str, mask: str | None) -> None:
        if self.turned:
            t = wide(self.register, self.width)
            value = self.emit(f"xor {t} {value}, splat (i32 {TURNED})")
        super().store(value, pointer, mask)

    def row_mask(self, k: str, left: str) -> str:
        elements = self.emit(f"sub i64 %n, {self.emit(f'shl i64 {k}, {self.step}')}")
        return self.mask(elements, self.block * self.group)

    def load(self, pointer: str, mask: str | None, width: int) -> str:
        """`width` words of a row."""
        value = self.elements(pointer, mask, width * self.group)
        return self.emit(f"bitcast {wide(self.memory, width * self.group)} {value} to {wide(self.register, width)}")

    def elements(self, pointer: str, mask: str | None, width: int) -> str:
        m = wide(self.memory, width)
        if mask is None:
            return self.emit(f"load {m}, ptr {pointer}, align {self.source_size}")
        return self.emit(
            f"call {m} @llvm.masked.load.v{width}{SUFFIX.get(self.memory, self.memory)}.p0("
            f"ptr align {self.source_size} {pointer}, {wide('i1', width)} {mask}, {m} zeroinitializer)"
        )

    def copy(self, i: str, k: str) -> None:
        """Words k of columns i … i + width - 1, of rows that run along i."""
        n, words, narrow, flags = self.width, wide(self.register, self.width), None, wide("i1", self.width)
        target, first = self.target_at(i, k), self.emit(f"shl i64 {k}, {self.step}")
        rows = [self.source_at(i, k)]
        for _ in range(1, self.group):
            rows.append(self.emit(f"getelementptr {self.memory}, ptr {rows[-1]}, i64 %from_k"))
        for row in rows:
            beside = self.emit(f"getelementptr {self.memory}, ptr {row}, i64 %m")
            self.do(f"call void @llvm.prefetch.p0(ptr {beside}, i32 0, i32 2, i32 1)")
        left = self.emit(f"sub i64 %m, {i}")
        there = self.emit(f"sub i64 %n, {first}")
        wide_enough, whole = self.emit(f"icmp sge i64 {left}, {n}"), self.emit(f"icmp sge i64 {there}, {self.group}")
        self.do(f"br i1 {self.emit(f'and i1 {wide_enough}, {whole}')}, label %ci.full, label %ci.part")
        for label in ("ci.full", "ci.part"):
            self.lines.append(f"{label}:")
            mask, word = self.mask(left, n) if label == "ci.part" else None, "zeroinitializer"
            for e, row in enumerate(rows):
                narrow = mask
                if mask:
                    is_there = self.emit(f"icmp sgt i64 {there}, {e}")
                    narrow = self.emit(f"select i1 {is_there}, {flags} {mask}, {flags} zeroinitializer")
                value = self.elements(row, narrow, n)
                value = self.emit(f"zext {wide(self.memory, n)} {value} to {words}")
                value = self.emit(f"shl {words} {value}, splat ({self.register} {8 * self.source_size * e})")
                word = self.emit(f"or {words} {word}, {value}")
            self.store(word, target, mask)
            self.do("br label %ci.done")
        self.lines.append("ci.done:")

    def single(self, i: str) -> None:
        row = self.row_offset(i)

        def word(k: str) -> None:
            first = self.emit(f"shl i64 {k}, {self.step}")
            value = "0"
            for e in range(self.group):
                at = self.emit(f"add i64 {first}, {e}")
                there = self.emit(f"icmp slt i64 {at}, %n")
                # Past the last k any element that is there will do: it isn't used.
                at = self.emit(f"select i1 {there}, i64 {at}, i64 0")
                index = self.emit(f"add i64 {row}, {self.emit(f'mul i64 {at}, %from_k')}")
                pointer = self.emit(f"getelementptr {self.memory}, ptr %from, i64 {index}")
                x = self.emit(f"load {self.memory}, ptr {pointer}, align {self.source_size}")
                x = self.emit(f"select i1 {there}, {self.memory} {x}, {self.memory} 0")
                x = self.emit(f"zext {self.memory} {x} to {self.register}")
                x = self.emit(f"shl {self.register} {x}, {8 * self.source_size * e}")
                value = self.emit(f"or {self.register} {value}, {x}")
            if self.turned:
                value = self.emit(f"xor {self.register} {value}, {TURNED}")
            self.do(f"store {self.register} {value}, ptr {self.target_at(i, k)}, align {self.size}")

        self.loop("sk", "one.known", self.steps, 1, word)

    def last_row(self) -> None:
        """-128 times the columns' sums, after the last row of words."""
        if not self.starts:
            return
        words = wide(self.register, self.width)

        def columns(i: str) -> None:
            mask = self.mask(self.emit(f"sub i64 %m, {i}"), self.width)
            self.do("br label %total")
            self.lines.append("total:")
            self.do("%total.k = phi i64 [0, %foot.do], [%total.next, %total.do]")
            self.do(f"%total.sum = phi {words} [zeroinitializer, %foot.do], [%total.more, %total.do]")
            self.do("%total.in = icmp slt i64 %total.k, %steps")
            self.do("br i1 %total.in, label %total.do, label %total.end")
            self.lines.append("total.do:")
            row = self.emit(
                f"call {words} @llvm.masked.load.v{self.width}{self.register}.p0(ptr align {self.size} "
                f"{self.target_at(i, '%total.k')}, {wide('i1', self.width)} {mask}, {words} zeroinitializer)"
            )
            self.lines += BYTES_DOT.text("i32", self.width, "%total.more", f"splat (i32 {TURNED})", row, "%total.sum")
            self.do("%total.next = add i64 %total.k, 1")
            self.do("br label %total")
            self.lines.append("total.end:")
            minus = self.emit(f"sub {words} zeroinitializer, %total.sum")
            super(Words, self).store(minus, self.target_at(i, "%steps"), mask)

        self.loop("foot", "packed", "%m", self.width, columns)
