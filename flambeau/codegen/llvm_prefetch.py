"""Cache lines asked for ahead of their use, where the processor doesn't see by itself what comes next.

A kernel that passes over a row several times waits for memory in the first pass and leaves it idle in the others: so
one of these asks for the next row. Nothing here changes a result. Imports ir and llvm_scope.
Read next: `columns.py`, which asks for rows ahead as well; `llvm.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from ..ir.expr import postorder, substitute
from ..ir.kernel import For, Kernel, Reduce, Statement, expressions
from .llvm_scope import Scope
from .statements import Prefetch


def hint(scope: Scope, address: str, offset: int) -> None:
    """Emits a request for the cache line `offset` bytes on, into the level-two cache.

    In the level-one cache rows a power of two apart have no room beside each other.
    """
    line = scope.emit(f"getelementptr i8, ptr {address}, i64 {offset}")
    scope.do(f"call void @llvm.prefetch.p0(ptr {line}, i32 0, i32 2, i32 1)")


def read_ahead(kernel: Kernel) -> Kernel:
    """The kernel whose last pass over a row but one, or the second of two, prefetches the next row."""
    *before, rows = kernel.body
    assert isinstance(rows, For)
    passes = [s for s in rows.body if isinstance(s, For | Reduce)]
    if rows.vector or len(passes) < 2:
        return kernel
    inputs = {name for name, b in kernel.buffers.items() if b.access == "r"}
    read = [x for x in postorder(*expressions(tuple(passes[:-1]))) if x.op == "load" and x.attr in inputs]

    def asking(s: Statement) -> Statement:
        """The pass, in whose innermost loop the lines are asked for."""
        if not isinstance(s, For | Reduce):
            return s
        if any(isinstance(inner, For | Reduce) for inner in s.body):
            return replace(s, body=tuple(map(asking, s.body)))
        ahead = [x for x in read if {rows.var, s.var} <= set(postorder(*x.args))]
        lines = [Prefetch(str(x.attr), substitute(x.args, {rows.var: rows.var + 1})[0]) for x in ahead]
        return replace(s, body=(*(cast(Statement, p) for p in lines), *s.body))

    chosen = passes[max(1, len(passes) - 2)]
    body = tuple(asking(s) if s is chosen else s for s in rows.body)
    return replace(kernel, body=(*before, replace(rows, body=body)))
