"""`torch._dynamo` as far as programs touch it: settings of a compiler that isn't used are kept, and marks do nothing.

Imports compiler. Read next: `nn/compiled.py`.
"""

from __future__ import annotations

from types import SimpleNamespace

from .compiler import allow_in_graph, disable, is_compiling, reset

config = SimpleNamespace(suppress_errors=False, cache_size_limit=8, verbose=False)

__all__ = ["allow_in_graph", "config", "disable", "is_compiling", "reset"]
