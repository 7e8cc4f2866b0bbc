"""LLVM text of the micro-kernel: c[i, j] (+)= sum over k of a[i * a_row + a_off[k]] * b[j + b_off[k]], as fb_tile says.

The tile of sums stays in registers while k runs: for each k a few vectors of b, and each row's element of a broadcast
to all lanes. One tile after another goes down the rows, the tallest first, whichever of the heights in the table below
still fits. What an element of a is, and of b, and how they are multiplied, `contraction_products.py` has.
Imports ir's dtypes and Target. Read next: `contraction_pack.py`, `runtime/contract.h`, `contraction.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.expr import DTYPES
from .contraction_products import Product, product
from .llvm_ops import REGISTER, SUFFIX, wide
from .target import Target

# x86's control register: operands below the normal numbers are zeros, results too.
FLUSH = 0x8040
FIELDS = ("a", "b", "c", "a_off", "b_off", "a_row", "c_row", "m", "n", "k", "accumulate")
POINTERS = FIELDS[:5]


@dataclass(frozen=True, slots=True)
class Tile:
    """Heights a tile may have, its width in vectors, and whether the target can load part of a vector.

    `wide` are the heights of tiles twice as wide, for columns that `vectors` don't hold; none if empty.
    """

    heights: tuple[int, ...]
    vectors: int
    masked: bool
    wide: tuple[int, ...] = ()

    @property
    def widest(self) -> int:
        """Vectors in a panel of a matrix product."""
        return 2 * self.vectors if self.wide else self.vectors

    @property
    def shapes(self) -> dict[int, tuple[int, ...]]:
        """Heights by width in vectors, ascending."""
        found = dict.fromkeys((1, self.vectors), self.heights)
        return {**found, self.widest: self.wide} if self.wide else found


# By (bits of a vector, registers). Enough chains to hide the latency of a multiply-add, and enough rows for b's vectors
# to be loaded seldom; more rows measure the same and take longer to compile. Small tiles are for the last rows. A wide
# tile reads an element of a for four vectors of b, so a may come from the second-level cache (3 % at 1024²).
TILES = {
    (512, 32): Tile((8, 4, 2, 1), 2, True, (6, 4, 2, 1)),
    (256, 16): Tile((6, 3, 1), 2, True),
    (128, 32): Tile((8, 4, 2, 1), 3, False),
}
# With two sums for every element in registers, that of a chain and that of the chains before.
CHAINED = {
    (512, 32): Tile((7, 3, 1), 2, True),
    (256, 16): Tile((3, 1), 2, True),
    (128, 32): Tile((4, 2, 1), 3, False),
}


def tile(target: Target) -> Tile:
    return TILES[target.vector_bits, target.registers]


def lanes(dtype: str, target: Target) -> int:
    """Elements of a vector of sums."""
    return target.vector_bits // 8 // DTYPES[dtype].size


def render(dtype: str, target: Target, operand: str | None = None, starts: bool = False, chain: int = 0) -> str:
    """The module whose entry is an fb_micro_kernel for sums of `dtype` and words of `operand` (`dtype` too).

    With `starts`, b has a row after its last, of sums, that a block's sums start from. With a `chain`, a sum is a chain
    of so many products from +0, plus the next, and so on in order.
    """
    shape = CHAINED[target.vector_bits, target.registers] if chain else tile(target)
    width = lanes(dtype, target)
    how = product(operand or dtype, target)
    parts = [entry(dtype, shape, width)]
    parts += [
        block(dtype, how, height, vectors, width, shape.masked, starts, chain)
        for vectors, heights in shape.shapes.items()
        for height in heights
    ]
    parts.append(how.declared(dtype, width))
    parts.append(
        f'attributes #0 = {{ nounwind "no-builtins" "target-cpu"="{target.cpu}" "target-features"="{target.features}" '
        f'"prefer-vector-width"="{target.vector_bits}" "min-legal-vector-width"="{target.vector_bits}" }}\n'
    )
    return "\n".join(parts)


def entry(dtype: str, shape: Tile, width: int) -> str:
    """Loops over the rows: as long as the tallest tile fits, then the next."""
    size = DTYPES[dtype].size
    out = ["define void @contract(ptr noalias readonly %tile) #0 {", "start:"]
    for slot, name in enumerate(FIELDS):
        out.append(f"  %at.{name} = getelementptr i64, ptr %tile, i64 {slot}")
        out.append(f"  %{name} = load {'ptr' if name in POINTERS else 'i64'}, ptr %at.{name}, align 8")
    out += [f"  %a_bytes = mul i64 %a_row, {size}", f"  %c_bytes = mul i64 %c_row, {size}"]
    out += ["  %adding = icmp ne i64 %accumulate, 0"]
    blocks = {v: [f"v{v}.h{h}" for h in heights] for v, heights in shape.shapes.items()}
    *narrower, widest = blocks
    for v in narrower:
        out += [
            f"  %fits.{v} = icmp ule i64 %n, {v * width}",
            f"  br i1 %fits.{v}, label %{blocks[v][0]}, label %over.{v}",
        ]
        out.append(f"over.{v}:")
    out.append(f"  br label %{blocks[widest][0]}")
    entries = dict(zip(blocks, ["start", *(f"over.{v}" for v in narrower)], strict=True))
    for v, heights in shape.shapes.items():
        source, a, c, m = entries[v], "%a", "%c", "%m"
        for h, x, lower in zip(heights, blocks[v], [*blocks[v][1:], "end"], strict=True):
            # Two edges enter: from the height above (or the start), and round the loop.
            out += [
                f"{x}:",
                f"  %a.{x} = phi ptr [{a}, %{source}], [%next.a.{x}, %{x}.do]",
                f"  %c.{x} = phi ptr [{c}, %{source}], [%next.c.{x}, %{x}.do]",
                f"  %m.{x} = phi i64 [{m}, %{source}], [%next.m.{x}, %{x}.do]",
                f"  %fits.{x} = icmp uge i64 %m.{x}, {h}",
                f"  br i1 %fits.{x}, label %{x}.do, label %{lower}",
                f"{x}.do:",
                f"  call fastcc void @block.{h}.{v}(ptr %a.{x}, ptr %b, ptr %a_off, ptr %b_off, i64 %k, i64 %a_bytes, "
                f"ptr %c.{x}, i64 %c_bytes, i64 %n, i1 %adding)",
                f"  %step.a.{x} = mul i64 %a_bytes, {h}",
                f"  %next.a.{x} = getelementptr i8, ptr %a.{x}, i64 %step.a.{x}",
                f"  %step.c.{x} = mul i64 %c_bytes, {h}",
                f"  %next.c.{x} = getelementptr i8, ptr %c.{x}, i64 %step.c.{x}",
                f"  %next.m.{x} = sub i64 %m.{x}, {h}",
                f"  br label %{x}",
            ]
            source, a, c, m = x, f"%a.{x}", f"%c.{x}", f"%m.{x}"
    out += ["end:", "  ret void", "}"]
    return "\n".join(out)


def block(
    dtype: str, how: Product, height: int, vectors: int, width: int, masked: bool, starts: bool, chain: int
) -> str:
    """One tile of `height` rows and `vectors` vectors, of which any but the first, or the only one, may be partial."""
    scalar, size = REGISTER[dtype], DTYPES[dtype].size
    word = scalar if how.group == 1 else f"i{8 * size}"
    v, w = wide(scalar, width), wide(word, width)
    mask_type = wide("i1", width)
    sums = [(i, j) for i in range(height) for j in range(vectors)]
    partial = [vectors == 1 or j > 0 for j in range(vectors)]
    out = [
        f"define internal fastcc void @block.{height}.{vectors}(ptr %a, ptr %b, ptr %a_off, ptr %b_off, i64 %k, "
        "i64 %row, ptr %c, i64 %c_row, i64 %n, i1 %adding) #0 {",
        "start:",
    ]

    def load(name: str, pointer: str, j: int, whole: bool, kind: str = scalar) -> None:
        t = wide(kind, width)
        if whole:
            out.append(f"  {name} = load {t}, ptr {pointer}, align {size}")
        else:
            out.append(
                f"  {name} = call {t} @llvm.masked.load.v{width}{SUFFIX.get(kind, kind)}.p0(ptr align {size} "
                f"{pointer}, {mask_type} %mask.{j}, {t} zeroinitializer)"
            )

    for j in range(vectors):
        if partial[j]:
            t, iota = f"<{width} x i32>", ", ".join(f"i32 {k}" for k in range(width))
            out += [
                f"  %left.{j} = sub i64 %n, {j * width}",
                f"  %most.{j} = call i64 @llvm.smax.i64(i64 %left.{j}, i64 0)",
                f"  %count.{j} = trunc i64 %most.{j} to i32",
                f"  %first.{j} = insertelement {t} poison, i32 %count.{j}, i64 0",
                f"  %counts.{j} = shufflevector {t} %first.{j}, {t} poison, {t} zeroinitializer",
                f"  %mask.{j} = icmp ult {t} <{iota}>, %counts.{j}",
            ]
    # Three rows share a base, so that a row's address is a register plus a register.
    out.append("  %row2 = shl i64 %row, 1")
    out += [f"  %rows.{i} = mul i64 %row, {i}" for i in range(3, height, 3)]
    first = ["zeroinitializer"] * vectors
    if starts:
        out += [
            "  %at.begin = getelementptr i64, ptr %b_off, i64 %k",
            "  %off.begin = load i64, ptr %at.begin, align 8",
        ]
        out.append(f"  %row.begin = getelementptr {word}, ptr %b, i64 %off.begin")
        for j in range(vectors):
            out.append(f"  %at.begin.{j} = getelementptr {word}, ptr %row.begin, i64 {j * width}")
            load(f"%begin.{j}", f"%at.begin.{j}", j, not partial[j])
            first[j] = f"%begin.{j}"
    if how.flush:
        out += ["  %mode = alloca i32", "  %changed = alloca i32", "  call void @llvm.x86.sse.stmxcsr(ptr %mode)"]
        out += ["  %mode.was = load i32, ptr %mode", f"  %mode.is = or i32 %mode.was, {FLUSH}"]
        out += ["  store i32 %mode.is, ptr %changed", "  call void @llvm.x86.sse.ldmxcsr(ptr %changed)"]
    # c is far away as a rule: it is on its way while the products are summed.
    for i in range(height):
        out.append(f"  %c.{i}.0 = getelementptr i8, ptr {f'%c.{i - 1}.0, i64 %c_row' if i else '%c, i64 0'}")
        out += [f"  %c.{i}.{j} = getelementptr {scalar}, ptr %c.{i}.0, i64 {j * width}" for j in range(1, vectors)]
        out += [f"  call void @llvm.prefetch.p0(ptr %c.{i}.{j}, i32 1, i32 3, i32 1)" for j in range(vectors)]
    loop, before, begin, end, initial = "loop", "start", "0", "%k", first
    out += ["  %none = icmp eq i64 %k, 0", f"  br i1 %none, label %done, label %{'chain' if chain else 'loop'}"]
    if chain:
        loop, before, begin, end, initial = "chained", "chain", "%from", "%to", ["zeroinitializer"] * vectors
        out += ["chain:", "  %from = phi i64 [0, %start], [%to, %chained]"]
        out += [f"  %g.{i}.{j} = phi {v} [{first[j]}, %start], [%h.{i}.{j}, %chained]" for i, j in sums]
        out += [f"  %far = add i64 %from, {chain}", "  %to = call i64 @llvm.umin.i64(i64 %far, i64 %k)"]
        out.append("  br label %loop")
    out += ["loop:", f"  %i = phi i64 [{begin}, %{before}], [%next, %loop]"]
    out += [f"  %s.{i}.{j} = phi {v} [{initial[j]}, %{before}], [%t.{i}.{j}, %loop]" for i, j in sums]
    for x in "ab":
        out += [
            f"  %at.{x} = getelementptr i64, ptr %{x}_off, i64 %i",
            f"  %off.{x} = load i64, ptr %at.{x}, align 8",
            f"  %{x}k = getelementptr {word}, ptr %{x}, i64 %off.{x}",
        ]
    for j in range(vectors):
        out.append(f"  %bk.{j} = getelementptr {word}, ptr %bk, i64 {j * width}")
        load(f"%y.{j}", f"%bk.{j}", j, not (masked and partial[j]), word)
    for i in range(height):
        base = f"%base.{i // 3 * 3}" if i >= 3 else "%ak"
        if i % 3 == 0 and i:
            out.append(f"  {base} = getelementptr i8, ptr %ak, i64 %rows.{i}")
        out.append(f"  %ap.{i} = getelementptr i8, ptr {base}, i64 {('0', '%row', '%row2')[i % 3]}")
        out.append(f"  %x.{i} = load {word}, ptr %ap.{i}, align {size // how.group}")
        out.append(f"  %one.{i} = insertelement {w} poison, {word} %x.{i}, i64 0")
        out.append(f"  %all.{i} = shufflevector {w} %one.{i}, {w} poison, <{width} x i32> zeroinitializer")
        for j in range(vectors):
            out += how.text(dtype, width, f"%t.{i}.{j}", f"%all.{i}", f"%y.{j}", f"%s.{i}.{j}")
    out += ["  %next = add i64 %i, 1", f"  %more = icmp ult i64 %next, {end}"]
    out.append(f"  br i1 %more, label %loop, label %{'chained' if chain else 'done'}")
    if chain:
        out.append("chained:")
        out += [f"  %h.{i}.{j} = fadd {v} %g.{i}.{j}, %t.{i}.{j}" for i, j in sums]
        out += ["  %again = icmp ult i64 %to, %k", "  br i1 %again, label %chain, label %done"]
    out.append("done:")
    last = "h" if chain else "t"
    out += [f"  %r.{i}.{j} = phi {v} [{first[j]}, %start], [%{last}.{i}.{j}, %{loop}]" for i, j in sums]
    if how.flush:
        out.append("  call void @llvm.x86.sse.ldmxcsr(ptr %mode)")
    # To +0 if there is nothing to add to: then no sum is -0, and a product with 0 changes none.
    out.append("  br i1 %adding, label %add, label %store")
    add = "fadd" if dtype[0] == "f" else "add"
    for way in ("add", "store"):
        out.append(f"{way}:")
        for i, j in sums:
            before, z = f"%old.{i}.{j}" if way == "add" else "zeroinitializer", f"%{way}.{i}.{j}"
            if way == "add":
                load(before, f"%c.{i}.{j}", j, not partial[j])
            out.append(f"  {z} = {add} {v} {before}, %r.{i}.{j}")
            if partial[j]:
                out.append(
                    f"  call void @llvm.masked.store.v{width}{SUFFIX.get(scalar, scalar)}.p0({v} {z}, "
                    f"ptr align {size} %c.{i}.{j}, {mask_type} %mask.{j})"
                )
            else:
                out.append(f"  store {v} {z}, ptr %c.{i}.{j}, align {size}")
        out.append("  ret void")
    out.append("}")
    return "\n".join(out)
