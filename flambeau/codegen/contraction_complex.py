"""LLVM text of the pack kernel for complex numbers: x + yi becomes the words (x, y) in one row, (-y, x) in the next.

Then a complex product is a real one: a's parts are read in turn as they lie in memory, and a sum's chain takes x's
products and y's in turn. Imports Target and its neighbours. Read next: `contraction_pack.py`, `contraction.py`.
"""

from __future__ import annotations

from ..ir.expr import DTYPES
from .contraction_pack import Packer
from .llvm_ops import wide
from .target import Target


def render(sums: str, target: Target) -> str:
    """The module whose entry is an fb_pack_kernel of complex numbers whose parts are `sums`."""
    return Complexes(sums, target).module()


class Complexes(Packer):
    def __init__(self, sums: str, target: Target):
        super().__init__(sums, sums, target)
        self.steps, self.word = "%elements", f"i{16 * self.size}"

    def begin(self) -> None:
        self.do("%elements = lshr i64 %n, 1")

    def source_at(self, row: str, k: str) -> str:
        index = self.emit(f"add i64 {row}, {self.emit(f'mul i64 {k}, %from_k')}")
        return self.emit(f"getelementptr {self.word}, ptr %from, i64 {index}")

    def copy(self, i: str, k: str) -> None:
        source = self.source_at(self.emit(f"lshr i64 {i}, 1"), k)
        mask = self.mask(self.emit(f"sub i64 %m, {i}"), self.width)
        self.store_both(self.load(source, mask, self.width), i, k, mask)

    def store_both(self, value: str, i: str, k: str, mask: str) -> None:
        """Vectors of (x, y) and of (-y, x), to rows 2k and 2k + 1."""
        n, t = self.width, wide(self.register, self.width)
        swapped = ", ".join(f"i32 {x ^ 1}" for x in range(n))
        turned = self.emit(f"shufflevector {t} {value}, {t} poison, <{n} x i32> <{swapped}>")
        minus = self.emit(f"fneg {t} {turned}")
        picks = ", ".join(f"i1 {'false' if x % 2 else 'true'}" for x in range(n))
        turned = self.emit(f"select {wide('i1', n)} <{picks}>, {t} {minus}, {t} {turned}")
        first = self.emit(f"shl i64 {k}, 1")
        self.store(value, self.target_at(i, first), mask)
        self.store(turned, self.target_at(i, self.emit(f"or i64 {first}, 1")), mask)

    def transpose(self, i: str) -> None:
        """A vector's worth of rows, one element of each at a time."""
        n, half = self.width, self.width // 2
        mask = self.mask(self.emit(f"sub i64 %m, {i}"), n)
        first, last = self.emit(f"lshr i64 {i}, 1"), self.emit("lshr i64 %last, 1")
        rows = []
        for lane in range(half):
            row = self.emit(f"call i64 @llvm.umin.i64(i64 {self.emit(f'add i64 {first}, {lane}')}, i64 {last})")
            rows.append(self.emit(f"mul i64 {row}, %from_i"))

        def column(k: str) -> None:
            t, value = wide(self.word, half), "poison"
            for lane, row in enumerate(rows):
                p = self.source_at(row, k)
                x = self.emit(f"load {self.word}, ptr {p}, align {DTYPES[self.dtype].size}")
                # One element fills a short vector, and is none itself.
                value = x if half == 1 else self.emit(f"insertelement {t} {value}, {self.word} {x}, i64 {lane}")
            both = self.emit(f"bitcast {t} {value} to {wide(self.register, n)}")
            self.store_both(both, i, k, mask)

        self.loop("tk", "ti.do", "%elements", 1, column)

    def single(self, i: str) -> None:
        """Two sums' columns belong to one element: every other i does both."""
        self.do(f"br i1 {self.emit(f'trunc i64 {i} to i1')}, label %one.done, label %one.do")
        self.lines.append("one.do:")
        row = self.emit(f"mul i64 {self.emit(f'lshr i64 {i}, 1')}, %from_i")

        def element(k: str) -> None:
            source, first = self.source_at(row, k), self.emit(f"shl i64 {k}, 1")
            second = self.emit(f"getelementptr {self.register}, ptr {source}, i64 1")
            x, y = (self.emit(f"load {self.register}, ptr {p}, align {self.size}") for p in (source, second))
            minus = self.emit(f"fneg {self.register} {y}")
            for k_to, pair in ((first, (x, y)), (self.emit(f"or i64 {first}, 1"), (minus, x))):
                for e, value in enumerate(pair):
                    p = self.target_at(self.emit(f"add i64 {i}, {e}"), k_to)
                    self.do(f"store {self.register} {value}, ptr {p}, align {self.size}")

        self.loop("sk", "one.do", "%elements", 1, element)
        self.do("br label %one.done")
        self.lines.append("one.done:")
