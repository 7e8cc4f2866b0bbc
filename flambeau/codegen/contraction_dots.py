"""LLVM text of the kernel for one row times a matrix, `dots` in runtime/contract.h, which reads b in order of memory.

b[j * row + k]: a vector's worth of rows is read a whole cache line at a time, transposed in registers, and its columns
multiplied and added in the order of k. b[k * row + j]: eight rows at a time are multiplied and added to sums that wait
in memory. Either way every sum is the chain that it is in the micro-kernel.

Imports ir's dtypes and Target. Read next: `contraction_micro.py`, `runtime/contract.h`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir.expr import DTYPES
from .contraction_micro import FIELDS, POINTERS, lanes
from .contraction_pack import Text
from .contraction_products import product
from .llvm_ops import REGISTER, SUFFIX, wide
from .target import Target

LANE_BYTES = 16  # stretches of a vector within which most shuffles work
GROUP = 8  # rows added at a time


def render(dtype: str, target: Target) -> str:
    """The module whose entry is the `dots` of an fb_contraction for sums of `dtype`."""
    return Dots(dtype, target).module()


class Dots(Text):
    def __init__(self, dtype: str, target: Target):
        super().__init__()
        self.dtype, self.target, self.width = dtype, target, lanes(dtype, target)
        self.multiply_add = product(dtype, target).text
        self.scalar, self.size = REGISTER[dtype], DTYPES[dtype].size
        self.vector = wide(self.scalar, self.width)
        self.suffix = f"v{self.width}{SUFFIX.get(self.scalar, self.scalar)}"

    def module(self) -> str:
        n, bits = self.width, self.target.vector_bits
        self.do(f"%rows = alloca [{n} x ptr], align 64")
        self.do(f"%columns = alloca [{n} x {self.vector}], align 64")
        self.do(f"%sum = alloca {self.vector}, align 64")
        for slot, name in enumerate(FIELDS):
            self.do(f"%at.{name} = getelementptr i64, ptr %tile, i64 {slot}")
            self.do(f"%{name} = load {'ptr' if name in POINTERS else 'i64'}, ptr %at.{name}, align 8")
        self.do("%last = sub i64 %n, 1")
        self.do(f"%whole = and i64 %k, {-n}")
        self.do("%rest = sub i64 %k, %whole")
        self.do("%adding = icmp ne i64 %accumulate, 0")
        self.do("%across = icmp eq ptr %b_off, null")
        self.do("br i1 %across, label %columns.first, label %rows.first")
        self.lines.append("columns.first:")
        self.loop("j", "columns.first", "%n", n, self.rows)
        self.do("ret void")
        self.lines.append("rows.first:")
        self.do(f"%grouped = and i64 %k, {-GROUP}")
        self.do("%single = sub i64 %k, %grouped")
        self.do(f"%n.whole = and i64 %n, {-n}")
        self.do("%n.rest = sub i64 %n, %n.whole")
        self.loop("g", "rows.first", "%grouped", GROUP, lambda k: self.add_rows("g", k, GROUP))
        self.loop("s", "g.end", "%single", 1, lambda k: self.add_rows("s", self.emit(f"add i64 %grouped, {k}"), 1))
        self.along("out", "s.end", self.emit_sums)
        self.do("ret void")
        return "\n".join([
            "define void @dots(ptr noalias readonly %tile) #0 {", "start:", *self.lines, "}",
            f'attributes #0 = {{ nounwind "no-builtins" "target-cpu"="{self.target.cpu}" '
            f'"target-features"="{self.target.features}" '
            f'"prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}" }}', "",
        ])  # fmt: skip

    def rows(self, j: str) -> None:
        """Rows j … j + width - 1; those from n on repeat the last, and their sums aren't stored."""
        for i in range(self.width):
            row = self.emit(f"call i64 @llvm.umin.i64(i64 {self.emit(f'add i64 {j}, {i}')}, i64 %last)")
            start = self.emit(f"getelementptr {self.scalar}, ptr %b, i64 {self.emit(f'mul i64 {row}, %a_row')}")
            self.do(f"store ptr {start}, ptr {self.place('%rows', 'ptr', str(i))}")
        self.do(f"store {self.vector} zeroinitializer, ptr %sum")
        self.loop("kk", "j.do", "%whole", self.width, self.square)
        self.do("%none = icmp eq i64 %rest, 0")
        self.do("br i1 %none, label %store, label %part")
        self.lines.append("part:")
        for column, value in enumerate(self.transposed("%whole", self.mask("%rest"))):
            self.do(f"store {self.vector} {value}, ptr {self.place('%columns', self.vector, str(column))}")
        self.loop("kr", "part", "%rest", 1, self.single)
        self.do("br label %store")
        self.lines.append("store:")
        out = self.emit(f"getelementptr {self.scalar}, ptr %c, i64 {j}")
        mask = self.mask(self.emit(f"sub i64 %n, {j}"))
        # To +0 if there is nothing to add to, as in the micro-kernel.
        use = self.emit(f"select i1 %adding, {wide('i1', self.width)} {mask}, {wide('i1', self.width)} zeroinitializer")
        before, total = self.masked_load(out, use), self.emit(f"load {self.vector}, ptr %sum")
        after = self.emit(f"{'fadd' if self.dtype[0] == 'f' else 'add'} {self.vector} {before}, {total}")
        self.store(after, out, mask)

    def along(self, name: str, entered_from: str, body: Callable[[str, str | None], None]) -> None:
        """body(j, mask) for vectors of columns, whole ones and at last a partial one."""
        self.loop(name, entered_from, "%n.whole", self.width, lambda j: body(j, None))
        self.do(f"%{name}.none = icmp eq i64 %n.rest, 0")
        self.do(f"br i1 %{name}.none, label %{name}.over, label %{name}.last")
        self.lines.append(f"{name}.last:")
        body("%n.whole", self.mask("%n.rest"))
        self.do(f"br label %{name}.over")
        self.lines.append(f"{name}.over:")

    def add_rows(self, name: str, k: str, count: int) -> None:
        """sums += a[k + i] * row k + i of b for i < count, one after the other; the first k starts them from +0."""
        first = self.emit(f"icmp eq i64 {k}, 0")
        factors, rows = [], []
        for i in range(count):
            at = self.emit(f"add i64 {k}, {i}")
            offset = self.emit(f"load i64, ptr {self.place('%a_off', 'i64', at)}")
            x = self.emit(f"load {self.scalar}, ptr {self.place('%a', self.scalar, offset)}, align {self.size}")
            factors.append(self.splat(x))
            rows.append(self.place("%b", self.scalar, self.emit(f"mul i64 {at}, %a_row")))

        def body(j: str, mask: str | None) -> None:
            place = self.place("%b_off", self.scalar, j)
            total = self.emit(
                f"select i1 {first}, {self.vector} zeroinitializer, {self.vector} {self.load(place, mask)}"
            )
            for factor, row in zip(factors, rows, strict=True):
                result = f"%t{next(self.numbers)}"
                value = self.load(self.place(row, self.scalar, j), mask)
                self.lines += self.multiply_add(self.dtype, self.width, result, factor, value, total)
                total = result
            self.store(total, place, mask)

        self.along(f"{name}.along", f"{name}.do", body)

    def emit_sums(self, j: str, mask: str | None) -> None:
        """c[j] = (c[j] or +0) + sum, for a vector."""
        out, total = self.place("%c", self.scalar, j), self.load(self.place("%b_off", self.scalar, j), mask)
        before = self.emit(f"select i1 %adding, {self.vector} {self.load(out, mask)}, {self.vector} zeroinitializer")
        add = "fadd" if self.dtype[0] == "f" else "add"
        self.store(self.emit(f"{add} {self.vector} {before}, {total}"), out, mask)

    def load(self, pointer: str, mask: str | None) -> str:
        if mask is not None:
            return self.masked_load(pointer, mask)
        return self.emit(f"load {self.vector}, ptr {pointer}, align {self.size}")

    def store(self, value: str, pointer: str, mask: str | None) -> None:
        if mask is None:
            self.do(f"store {self.vector} {value}, ptr {pointer}, align {self.size}")
        else:
            self.do(
                f"call void @llvm.masked.store.{self.suffix}.p0({self.vector} {value}, "
                f"ptr align {self.size} {pointer}, {wide('i1', self.width)} {mask})"
            )

    def square(self, k: str) -> None:
        total = self.emit(f"load {self.vector}, ptr %sum")
        for column, value in enumerate(self.transposed(k, None)):
            total = self.add_product(total, self.emit(f"add i64 {k}, {column}"), value)
        self.do(f"store {self.vector} {total}, ptr %sum")

    def single(self, column: str) -> None:
        value = self.emit(f"load {self.vector}, ptr {self.place('%columns', self.vector, column)}")
        total = self.emit(f"load {self.vector}, ptr %sum")
        total = self.add_product(total, self.emit(f"add i64 %whole, {column}"), value)
        self.do(f"store {self.vector} {total}, ptr %sum")

    def add_product(self, total: str, k: str, value: str) -> str:
        offset = self.emit(f"load i64, ptr {self.place('%a_off', 'i64', k)}")
        x = self.emit(f"load {self.scalar}, ptr {self.place('%a', self.scalar, offset)}, align {self.size}")
        result = f"%t{next(self.numbers)}"
        self.lines += self.multiply_add(self.dtype, self.width, result, self.splat(x), value, total)
        return result

    def transposed(self, k: str, mask: str | None) -> list[str]:
        """Columns k … k + width - 1 of the rows.

        Pairs of blocks of rows become one until there is one: first by interleaving within lanes of 16 bytes, then by
        parting even lanes from odd ones. Each is one instruction where vectors are made of such lanes.
        """
        n, lane = self.width, LANE_BYTES // self.size
        vectors = []
        for i in range(n):
            row = self.emit(f"load ptr, ptr {self.place('%rows', 'ptr', str(i))}")
            p = self.place(row, self.scalar, k)
            whole = f"load {self.vector}, ptr {p}, align {self.size}"
            vectors.append(
                (self.emit(whole) if mask is None else self.masked_load(p, mask), [(i, c) for c in range(n)])
            )
        kinds, run = 1, 1
        while kinds < n:
            if run < lane:
                low = [x // lane * lane + x % lane // (2 * run) * run + x % run + x // run % 2 * n for x in range(n)]
                step = lane // 2
            else:
                low, step = [x // lane * 2 * lane + x % lane for x in range(n)], lane
            merged = []
            for block in range(0, len(vectors), 2 * kinds):
                for (a, a_is), (b, b_is) in zip(
                    vectors[block : block + kinds], vectors[block + kinds : block + 2 * kinds], strict=True
                ):
                    for picks in (low, [x + step for x in low]):
                        text = ", ".join(f"i32 {x}" for x in picks)
                        both = a_is + b_is
                        merged.append((
                            self.emit(f"shufflevector {self.vector} {a}, {self.vector} {b}, <{n} x i32> <{text}>"),
                            [both[x] for x in picks],
                        ))  # fmt: skip
            vectors, kinds, run = merged, 2 * kinds, 2 * run
        columns = {elements[0][1]: (value, elements) for value, elements in vectors}
        if any(columns[c][1] != [(i, c) for i in range(n)] for c in range(n)):
            raise AssertionError(f"transposing {n} rows of {self.dtype} went astray")
        return [columns[c][0] for c in range(n)]

    def place(self, base: str, kind: str, index: str) -> str:
        return self.emit(f"getelementptr {kind}, ptr {base}, i64 {index}")

    def masked_load(self, pointer: str, mask: str) -> str:
        return self.emit(
            f"call {self.vector} @llvm.masked.load.{self.suffix}.p0(ptr align {self.size} {pointer}, "
            f"{wide('i1', self.width)} {mask}, {self.vector} zeroinitializer)"
        )

    def mask(self, left: str) -> str:
        """The first `left` lanes."""
        t = wide("i64", self.width)
        counts = self.splat(left, "i64")
        return self.emit(f"icmp slt {t} <{', '.join(f'i64 {x}' for x in range(self.width))}>, {counts}")

    def splat(self, value: str, kind: str | None = None) -> str:
        t = wide(kind or self.scalar, self.width)
        first = self.emit(f"insertelement {t} poison, {kind or self.scalar} {value}, i64 0")
        return self.emit(f"shufflevector {t} {first}, {t} poison, <{self.width} x i32> zeroinitializer")
