"""FlopCounterMode: how many floating-point operations a region's products take, by module and by operation.

An Interpreter that looks at what matrix products, convolutions and attention are given; a multiply-add counts as two,
and what is done element by element isn't counted. Backward passes inside the region count too. Imports nn.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from ..core._core import Call, Tensor
from ..core.interpreters import Interpreter
from ..nn.modules.hooks import register_module_forward_hook, register_module_forward_pre_hook
from ..nn.modules.module import Module


def product(call: Call, result: Tensor) -> int:
    return 2 * result.numel() * call.args[0].shape[-1]


def convolution(call: Call, result: Tensor) -> int:
    return 2 * result.numel() * math.prod(call.args[1].shape[1:])


def convolution_data(call: Call, result: Tensor) -> int:
    return 2 * call.args[0].numel() * math.prod(call.args[1].shape[1:])


def convolution_weight(call: Call, result: Tensor) -> int:
    return 2 * call.args[0].numel() * math.prod(result.shape[1:])


def attention(call: Call, result: Any) -> int:
    query, key, value = call.args[:3]
    return 2 * math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


# Operation -> what it counts as, and how much. The gradients of attention compute five products where it has two.
COUNTED: dict[str, tuple[str, Callable[[Call, Any], int]]] = {
    "matrix_product": ("mm", product), "scaled_product": ("addmm", product), "linear_rows": ("addmm", product),
    "conv_forward": ("convolution", convolution), "conv_data": ("convolution", convolution_data),
    "conv_weight": ("convolution_backward", convolution_weight), "attention": ("attention", attention),
}  # fmt: skip


class FlopCounterMode(Interpreter):
    """Counts inside a `with` block; `display` prints the table at its end, down to `depth` levels of modules.

    >>> from flambeau.utils.flop_counter import FlopCounterMode
    >>> with FlopCounterMode(display=False) as counter:
    ...     y = fb.nn.Linear(8, 4)(fb.ones(2, 8))
    >>> counter.get_total_flops(), {name: dict(ops) for name, ops in counter.get_flop_counts().items()}
    (128, {'Global': {'addmm': 128}, 'Linear': {'addmm': 128}})
    """

    def __init__(
        self, mods: Any = None, depth: int = 2, display: bool = True, custom_mapping: dict[Any, Any] | None = None
    ) -> None:
        self.depth, self.display = depth, display
        self.flop_counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._inside: list[str] = []  # the modules that are running, outermost first
        self._paths: dict[int, str] = {}

    def get_total_flops(self) -> int:
        """All operations of the region."""
        return sum(self.flop_counts["Global"].values())

    def get_flop_counts(self) -> dict[str, dict[str, int]]:
        """Operations by module, "Global" for all, and by kind."""
        return {name: dict(ops) for name, ops in self.flop_counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """A table of modules, their operations and shares."""
        total, deepest = max(self.get_total_flops(), 1), self.depth if depth is None else depth
        rows = [("Module", "FLOP", "% Total")]
        for name, ops in self.flop_counts.items():
            if name.count(".") <= deepest:
                all_of_it = sum(ops.values())
                rows.append((name, f"{all_of_it:,}", f"{all_of_it / total:.2%}"))
                rows += [(f" - {op}", f"{n:,}", f"{n / total:.2%}") for op, n in ops.items()]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        return "\n".join(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows)

    def process(self, call: Call) -> Any:
        result = call()
        kind, count = COUNTED.get(getattr(call.op, "name", ""), (None, None))
        if kind is not None and count is not None:
            flops = count(call, result)
            for name in dict.fromkeys(("Global", *self._inside)):
                self.flop_counts[name][kind] += flops
        return result

    def _begin(self, module: Module, args: Any) -> None:
        if not self._inside:
            root = type(module).__name__
            self._paths = {id(m): f"{root}.{path}" if path else root for path, m in module.named_modules()}
        self._inside.append(self._paths.get(id(module), type(module).__name__))

    def _end(self, module: Module, args: Any, output: Any) -> None:
        self._inside.pop()

    def __enter__(self) -> FlopCounterMode:
        self.flop_counts.clear()
        self.flop_counts["Global"].clear()
        self._hooks = (
            register_module_forward_pre_hook(self._begin),
            register_module_forward_hook(self._end, always_call=True),
        )
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()
        self._inside.clear()
        if self.display:
            print(self.get_table())


__all__ = ["FlopCounterMode"]
