"""From a Kernel to the address of its machine code: rendered, compiled and loaded once, or taken from the cache.

LLVM is imported on the first miss only. FLAMBEAU_DEBUG prints on the way: 2 the names of kernels compiled, 4 the
kernel's text, 5 the LLVM text, 6 the assembly. Imports ir, device and its neighbours in codegen.
Read next: `llvm.py` (Kernel to text), `elf.py` (object to image), `cache.py` (images on disk), `device/cpu.py`.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any

from ..device import cpu
from ..ir.kernel import Kernel
from ..ir.text import format_kernel
from . import cache
from .target import Target, host

if TYPE_CHECKING:
    from llvmlite import binding

DEBUG = int(os.environ.get("FLAMBEAU_DEBUG", "0"))
_addresses: dict[str, int] = {}


def function(kernel: Kernel) -> int:
    """The address of the kernel's code on this machine, with the kernel ABI; the same for equal kernels."""
    text = format_kernel(kernel)
    address = _addresses.get(text)
    if address is None:
        address = _addresses[text] = cpu.load(image(kernel, text, host()))
    return address


def image(kernel: Kernel, text: str, target: Target) -> bytes:
    """The kernel's position-independent code for a target, from the cache or made now; `text` is its text form."""
    key = cache.key(text, target)
    found = cache.get(key)
    if found is None:
        found = build(kernel, target)
        cache.put(key, found)
    return found


def build(kernel: Kernel, target: Target) -> bytes:
    """Renders and compiles, no cache involved."""
    from .llvm import render

    if DEBUG >= 2:
        print(f"compile {kernel.name} for {target.name}", file=sys.stderr)
    if DEBUG >= 4:
        from ..ir.verify import verify

        print(kernel, file=sys.stderr)
        verify(kernel)
    text = render(kernel, target)
    if DEBUG >= 5:
        print(text, file=sys.stderr)
    if DEBUG >= 6:
        print(assembly(text, target), file=sys.stderr)
    return compile(text, target)


def compile(text: str, target: Target) -> bytes:
    """A flat image, entry at offset 0, of LLVM text that defines one function."""
    from .elf import flatten

    return flatten(object_code(text, target))


def object_code(text: str, target: Target) -> bytes:
    """The ELF object of LLVM text."""
    machine, module = parsed(text, target)
    return machine.emit_object(module)


def assembly(text: str, target: Target) -> str:
    machine, module = parsed(text, target)
    return machine.emit_assembly(module)


def parsed(text: str, target: Target) -> tuple[Any, binding.ModuleRef]:
    from llvmlite import binding

    machine = target_machine(target)
    module = binding.parse_assembly(text)
    module.triple = target.triple
    return machine, module


@functools.cache
def target_machine(target: Target) -> binding.TargetMachine:
    from llvmlite import binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    return binding.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small"
    )
