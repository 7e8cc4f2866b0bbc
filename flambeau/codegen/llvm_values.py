"""Where the values of a kernel stand, and how they are read and written.

A value is computed when it is asked for, in the outermost scope where its variables live. Loads leave a loop only for
its guarded entry, and only if the loop doesn't write their buffer, so nothing is read that the kernel doesn't read.
Imports ir and its neighbours. Read next: `llvm.py` (statements), `llvm_ops.py` (single operations).
"""

from __future__ import annotations

from ..ir.expr import DTYPES, Expr, Reads, binary, const, load, postorder
from ..ir.kernel import LANES, Kernel, Store
from .llvm_ops import MEMORY, SUFFIX, apply, decode, encode, literal, wide
from .llvm_scope import Scope, picks, reverse, splat

IOTA = f"<{', '.join(f'i64 {k}' for k in range(LANES))}>"
# Cache lines and the widest vectors are 64 bytes: streaming stores want that alignment.
LINE = 64


class Values:
    """The values of one kernel; `scope` is where statements are being rendered.

    `pairs` are the buffers of complex numbers: what stands at an even place has its other part beside it.
    """

    def __init__(self, kernel: Kernel, pairs: frozenset[str] = frozenset()):
        self.kernel, self.pairs = kernel, pairs
        self.scope = Scope(None, "entry")
        self.pointers: dict[str, str] = {}
        self.dtypes = {name: b.dtype for name, b in kernel.buffers.items()}
        self.reads = Reads()
        self.streamed: Store | None = None

    def find(self, x: Expr, width: int) -> str | None:
        if x.op == "const":
            return literal(x.attr, x.dtype, width)  # type: ignore[arg-type]
        scope: Scope | None = self.scope
        while scope is not None:
            found = scope.values.get((x, width))
            if found is not None:
                return found
            scope = scope.parent
        return None

    def define(self, var: Expr) -> Expr | None:
        scope: Scope | None = self.scope
        while scope is not None:
            if var in scope.definitions:
                return scope.definitions[var]
            scope = scope.parent
        return None

    def place(self, x: Expr) -> tuple[int, bool]:
        """The depth of the scope x belongs to, and whether its value differs from lane to lane."""
        known = self.known_place(x)
        if known is not None:
            return known
        places = self.scope.places
        for y in postorder(x):
            if y not in places:
                found = self.known_place(y)
                if found is None:
                    found = (0, False)
                    for a in y.args:
                        depth, varies = places[a]
                        found = max(found[0], depth), found[1] or varies
                    if y.op == "load":
                        found = max(found[0], self.load_depth(str(y.attr))), found[1]
                    elif y.op == "var":
                        raise KeyError(f"{self.kernel.name}: {y.attr} is used where nothing defines it")
                places[y] = found
        return places[x]

    def known_place(self, x: Expr) -> tuple[int, bool] | None:
        scope: Scope | None = self.scope
        while scope is not None:
            found = scope.places.get(x)
            # A load's place, and that of all built on it, depends on the scope that asks.
            if found is not None and (scope is self.scope or not self.reads[x]):
                return found
            scope = scope.parent
        return None

    def load_depth(self, buffer: str) -> int:
        scope = self.scope
        while scope.keeps is not None and buffer not in scope.keeps:
            assert scope.parent is not None
            scope = scope.parent
        return scope.depth

    def varies(self, x: Expr) -> bool:
        return self.place(x)[1]

    def width_of(self, x: Expr) -> int:
        return self.scope.width if self.varies(x) else 1

    def value(self, x: Expr, width: int) -> str:
        """The register with x: one value (that of the first lane, where lanes differ), or one for each lane."""
        found = self.find(x, width)
        if found is not None:
            return found
        stack = [(x, width)]
        while stack:
            y, w = stack[-1]
            if self.find(y, w) is None:
                missing = [need for need in self.needs(y, w) if self.find(*need) is None]
                if missing:
                    stack.extend(missing)
                    continue
                self.compute(y, w)
            stack.pop()
        found = self.find(x, width)
        assert found is not None
        return found

    def needs(self, x: Expr, width: int) -> list[tuple[Expr, int]]:
        if width > 1 and not self.varies(x):
            return [(x, 1)]
        if x.op == "var":
            definition = self.define(x)
            return [(definition, width)] if definition is not None else [(x, 1)] if width > 1 else []
        if x.op == "load" and width > 1 and self.stride(x.args[0]) is not None:
            return [(x.args[0], 1)]
        return [(a, width) for a in x.args]

    def home(self, x: Expr) -> Scope:
        """The scope x is computed in."""
        depth, scope = self.place(x)[0], self.scope
        while scope.depth > depth:
            assert scope.parent is not None
            scope = scope.parent
        return scope

    def compute(self, x: Expr, width: int) -> None:
        scope, varies = self.home(x), self.varies(x)
        if width > 1 and not varies:
            result = splat(scope, self.value(x, 1), x.dtype, width)
        elif x.op == "var":
            definition = self.define(x)
            if definition is not None:
                result = self.value(definition, width)
            else:
                result = scope.emit(f"add <{width} x i64> {splat(scope, self.value(x, 1), 'i64', width)}, {IOTA}")
        elif x.op == "load":
            result = self.load(scope, x, width)
        else:
            result = apply(scope.emit, x, [self.value(a, width) for a in x.args], width)
        scope.values[x, width] = result

    def forget(self, buffers: set[str]) -> None:
        """Drops what was computed from buffers that are written now."""
        scope: Scope | None = self.scope
        while scope is not None:
            stale = [k for k in scope.values if k[0].op != "var" and self.reads[k[0]] & buffers]
            for k in stale:
                del scope.values[k]
            scope = scope.parent

    # Memory.

    def stride(self, x: Expr) -> Expr | None:
        """How far an index moves from lane to lane, where that is the same for all lanes."""
        if not self.varies(x):
            return const(0, "i64")
        if x is self.scope.lane:
            return const(1, "i64")
        if x.op == "var":
            definition = self.define(x)
            return self.stride(definition) if definition is not None else None
        if x.dtype != "i64" or x.op not in ("add", "sub", "mul", "neg"):
            return None
        parts = [self.stride(a) for a in x.args]
        if x.op == "mul":
            for factor, part in ((x.args[0], parts[1]), (x.args[1], parts[0])):
                if part is not None and not self.varies(factor):
                    return factor * part
            return None
        if None in parts:
            return None
        return const(0, "i64") - parts[0] if x.op == "neg" else binary(x.op, *parts)  # type: ignore[arg-type, operator]

    def unit_stride(self, x: Expr) -> int:
        """1 or -1 where an index moves by that much from lane to lane, else 0."""
        stride = self.stride(x)
        return stride.attr if stride is not None and stride.op == "const" and stride.attr in (1, -1) else 0  # type: ignore[return-value]

    def steps(self, stride: Expr, width: int) -> str:
        """0, 1, 2, … times a stride, computed where the stride is known."""
        if stride.op == "const":
            return f"<{', '.join(f'i64 {k * stride.attr}' for k in range(width))}>"  # type: ignore[operator]
        scope = self.home(stride)
        if stride not in scope.steps:
            scope.steps[stride] = scope.emit(
                f"mul <{width} x i64> {splat(scope, self.value(stride, 1), 'i64', width)}, {IOTA}"
            )
        return scope.steps[stride]

    def addresses(self, scope: Scope, buffer: str, index: Expr, width: int) -> str:
        """A pointer for each lane."""
        stride = self.stride(index)
        if stride is None:
            return self.address(scope, buffer, self.value(index, width), width)
        first = self.address(scope, buffer, self.value(index, 1))
        t = MEMORY[self.dtypes[buffer]]
        return scope.emit(f"getelementptr {t}, ptr {first}, <{width} x i64> {self.steps(stride, width)}")

    def address(self, scope: Scope, buffer: str, index: str, width: int = 1) -> str:
        t = MEMORY[self.dtypes[buffer]]
        return scope.emit(f"getelementptr {t}, ptr {self.pointers[buffer]}, {wide('i64', width)} {index}")

    def load(self, scope: Scope, x: Expr, width: int) -> str:
        buffer, dtype, index = str(x.attr), x.dtype, x.args[0]
        size, scalar = DTYPES[dtype].size, MEMORY[dtype]
        if width == 1:
            p = self.address(scope, buffer, self.value(index, 1))
            return decode(scope.emit, scope.emit(f"load {scalar}, ptr {p}, align {size}"), dtype, 1)
        stride = self.unit_stride(index)
        t, suffix, mask = wide(scalar, width), f"v{width}{SUFFIX.get(scalar, scalar)}", scope.mask
        if stride:
            p = self.address(scope, buffer, self.value(index, 1))
            if stride == -1:
                p = scope.emit(f"getelementptr {scalar}, ptr {p}, i64 {1 - width}")
            if mask is None:
                bits = scope.emit(f"load {t}, ptr {p}, align {size}")
            else:
                m = mask if stride == 1 else reverse(scope, mask, "i1", width)
                bits = scope.emit(
                    f"call {t} @llvm.masked.load.{suffix}.p0(ptr align {size} {p}, {wide('i1', width)} {m}, "
                    f"{t} zeroinitializer)"
                )
            return decode(scope.emit, bits if stride == 1 else reverse(scope, bits, scalar, width), dtype, width)
        even = self.even(buffer, index)
        if even is not None:
            return self.load_pair(scope, x, even, width)
        if self.stride(index) is const(2, "i64"):
            return decode(scope.emit, self.every_second(scope, buffer, index, width), dtype, width)
        p = self.addresses(scope, buffer, index, width)
        bits = scope.emit(
            f"call {t} @llvm.masked.gather.{suffix}.v{width}p0({wide('ptr', width)} align {size} {p}, "
            f"{wide('i1', width)} {mask or 'splat (i1 true)'}, {t} zeroinitializer)"
        )
        return decode(scope.emit, bits, dtype, width)

    def every_second(self, scope: Scope, buffer: str, index: Expr, width: int) -> str:
        """What stands at every second place, from two vectors of which the other one ends at the last lane's place."""
        size, scalar = DTYPES[self.dtypes[buffer]].size, MEMORY[self.dtypes[buffer]]
        t, lanes, suffix = wide(scalar, width), wide("i1", width), f"v{width}{SUFFIX.get(scalar, scalar)}"
        first = self.address(scope, buffer, self.value(index, 1))
        halves = []
        for start in (0, width - 1):
            p = scope.emit(f"getelementptr {scalar}, ptr {first}, i64 {start}") if start else first
            if scope.mask is None:
                halves.append(scope.emit(f"load {t}, ptr {p}, align {size}"))
                continue
            on = picks([(start + k) // 2 if (start + k) % 2 == 0 else width for k in range(width)])
            mask = scope.emit(f"shufflevector {lanes} {scope.mask}, {lanes} zeroinitializer, {on}")
            halves.append(
                scope.emit(
                    f"call {t} @llvm.masked.load.{suffix}.p0(ptr align {size} {p}, {lanes} {mask}, {t} zeroinitializer)"
                )
            )
        both = picks([2 * k if k < width // 2 else 2 * k + 1 for k in range(width)])
        return scope.emit(f"shufflevector {t} {halves[0]}, {t} {halves[1]}, {both}")

    def even(self, buffer: str, index: Expr) -> Expr | None:
        """The index of the real part, where an index moves through complex numbers one by one."""
        stride = self.stride(index) if buffer in self.pairs else None
        if stride is not const(2, "i64"):
            return None
        return index.args[0] if index.op == "add" and index.args[1] is const(1, "i64") else index

    def halves(self, scope: Scope, buffer: str, even: Expr, width: int) -> list[tuple[str, str]]:
        """Where the first `width` of the parts of complex numbers stand, and the rest; with the lanes that are on."""
        p = self.address(scope, buffer, self.value(even, 1))
        q = scope.emit(f"getelementptr {MEMORY[self.dtypes[buffer]]}, ptr {p}, i64 {width}")
        t, mask = wide("i1", width), scope.mask
        if mask is None:
            return [(p, ""), (q, "")]
        first, rest = (
            scope.emit(f"shufflevector {t} {mask}, {t} poison, {picks([k // 2 + start for k in range(width)])}")
            for start in (0, width // 2)
        )
        return [(p, first), (q, rest)]

    def load_pair(self, scope: Scope, x: Expr, even: Expr, width: int) -> str:
        """Both parts of complex numbers that lie side by side; the other one is known from now on."""
        buffer, dtype = str(x.attr), x.dtype
        size, scalar = DTYPES[dtype].size, MEMORY[dtype]
        t, suffix = wide(scalar, width), f"v{width}{SUFFIX.get(scalar, scalar)}"
        a, b = (
            scope.emit(
                f"call {t} @llvm.masked.load.{suffix}.p0(ptr align {size} {p}, {wide('i1', width)} {mask}, "
                f"{t} zeroinitializer)"
                if mask
                else f"load {t}, ptr {p}, align {size}"
            )
            for p, mask in self.halves(scope, buffer, even, width)
        )
        for part in (0, 1):
            lanes = picks(range(part, 2 * width, 2))
            value = scope.emit(f"shufflevector {t} {a}, {t} {b}, {lanes}")
            scope.values[load(buffer, dtype, even + part), width] = value
        return scope.values[x, width]

    def store_pair(self, real: Store, imag: Store) -> bool:
        """Writes both parts of complex numbers that lie side by side; False where these stores aren't that."""
        scope, buffer, width = self.scope, real.buffer, self.scope.width
        even = self.even(buffer, real.index) if width > 1 else None
        if even is None or imag.buffer != buffer or imag.index is not even + 1:
            return False
        scalar, size = MEMORY[self.dtypes[buffer]], DTYPES[self.dtypes[buffer]].size
        t, suffix = wide(scalar, width), f"v{width}{SUFFIX.get(scalar, scalar)}"
        a, b = self.value(real.value, width), self.value(imag.value, width)
        for start, (p, mask) in zip((0, width // 2), self.halves(scope, buffer, even, width), strict=True):
            lanes = picks([k // 2 + start + width * (k % 2) for k in range(width)])
            value = scope.emit(f"shufflevector {t} {a}, {t} {b}, {lanes}")
            if mask:
                scope.do(
                    f"call void @llvm.masked.store.{suffix}.p0({t} {value}, ptr align {size} {p}, "
                    f"{wide('i1', width)} {mask})"
                )
            else:
                scope.do(f"store {t} {value}, ptr {p}, align {size}")
        self.forget({buffer})
        return True

    def store(self, s: Store) -> None:
        scope, dtype, width = self.scope, self.dtypes[s.buffer], self.scope.width
        size, scalar = DTYPES[dtype].size, MEMORY[dtype]
        bits = encode(scope.emit, self.value(s.value, width), dtype, width)
        t, suffix, mask = wide(scalar, width), f"v{width}{SUFFIX.get(scalar, scalar)}", scope.mask
        if width == 1:
            scope.do(f"store {t} {bits}, ptr {self.address(scope, s.buffer, self.value(s.index, 1))}, align {size}")
        elif self.unit_stride(s.index) == 1:
            p = self.address(scope, s.buffer, self.value(s.index, 1))
            if mask is not None:
                scope.do(
                    f"call void @llvm.masked.store.{suffix}.p0({t} {bits}, ptr align {size} {p}, "
                    f"{wide('i1', width)} {mask})"
                )
            elif s is self.streamed:
                scope.do(f"store {t} {bits}, ptr {p}, align {min(LINE, width * size)}, !nontemporal !0")
            else:
                scope.do(f"store {t} {bits}, ptr {p}, align {size}")
        else:
            p = self.addresses(scope, s.buffer, s.index, width)
            scope.do(
                f"call void @llvm.masked.scatter.{suffix}.v{width}p0({t} {bits}, {wide('ptr', width)} align {size} "
                f"{p}, {wide('i1', width)} {mask or 'splat (i1 true)'})"
            )
        self.forget({s.buffer})
