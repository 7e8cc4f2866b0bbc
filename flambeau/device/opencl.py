"""OpenCL devices: compiled text, memory and launch, through pyopencl, which is imported when a Device is made.

One Device is one in-order queue. Everything here waits for what it starts only where it must: `read` does, `launch`
doesn't. Imports nothing of the package. Read next: `cuda.py` (the same for CUDA), `codegen/cfamily.py` (the text).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

# C types of by-value arguments, as `struct` packs them.
FORMATS = {"i8": "b", "u8": "B", "i16": "h", "u16": "H", "i32": "i", "u32": "I", "i64": "q", "u64": "Q", "f32": "f",
           "f64": "d"}  # fmt: skip
CORRECT_DIVISION = "-cl-fp32-correctly-rounded-divide-sqrt"


def devices() -> list[Any]:
    """All devices of all platforms; none where OpenCL has no platform. Raises ImportError without pyopencl."""
    import pyopencl

    try:
        return [d for p in pyopencl.get_platforms() for d in p.get_devices()]
    except pyopencl.LogicError:  # the loader found no platform
        return []


class Device:
    """One OpenCL device and a queue on it.

    Raises RuntimeError where there is no device, ImportError without pyopencl (`pip install flambeau[opencl]`).
    """

    def __init__(self, device: Any = None) -> None:
        import pyopencl

        found = [device] if device is not None else devices()
        if not found:
            raise RuntimeError("opencl: no device; install a driver, or PoCL for the CPU: pip install flambeau[opencl]")
        self.cl: Any = pyopencl
        self.device: Any = found[0]
        self.context: Any = pyopencl.Context([self.device])
        self.queue: Any = pyopencl.CommandQueue(self.context)

    def differences(self) -> list[str]:
        """Where this device may give other bits than the CPU, by its own account; empty where it can't."""
        flags, config = self.cl.device_fp_config, self.device.single_fp_config
        wanted = {
            flags.DENORM: "float32 denormals are flushed to zero",
            flags.FMA: "float32 fma is rounded twice or slow",
            flags.CORRECTLY_ROUNDED_DIVIDE_SQRT: "float32 division and sqrt are off by an ulp or two",
        }
        found = [text for flag, text in wanted.items() if not config & flag]
        return found if self.device.double_fp_config else [*found, "there is no float64"]

    def compile(self, text: str, flags: Sequence[str] = ()) -> Any:
        """The program of OpenCL C text; RuntimeError with the compiler's messages where it fails."""
        config = self.device.single_fp_config
        if not config & self.cl.device_fp_config.CORRECTLY_ROUNDED_DIVIDE_SQRT:
            flags = [f for f in flags if f != CORRECT_DIVISION]
        try:
            return self.cl.Program(self.context, text).build(options=list(flags))
        except self.cl.RuntimeError as error:
            raise RuntimeError(f"opencl: compiling failed on {self.device.name}:\n{str(error)[:4000]}") from None

    def allocate(self, nbytes: int) -> Any:
        """Memory on the device; a MemoryError says how much was asked for."""
        try:
            # OpenCL has no empty buffers.
            return self.cl.Buffer(self.context, self.cl.mem_flags.READ_WRITE, max(1, nbytes))
        except (self.cl.MemoryError, self.cl.LogicError):
            raise MemoryError(f"opencl: {self.device.name} can't allocate {nbytes} bytes") from None

    def write(self, memory: Any, data: Any) -> None:
        """Copies a contiguous buffer (bytes, an array) to the device."""
        if memoryview(data).nbytes:
            self.cl.enqueue_copy(self.queue, memory, data)

    def read(self, memory: Any, data: Any) -> None:
        """Copies the device's memory into a writable contiguous buffer, once what was launched before is done."""
        if memoryview(data).nbytes:
            self.cl.enqueue_copy(self.queue, data, memory)

    def launch(
        self, program: Any, name: str, types: Sequence[str], values: Sequence[Any], count: int, group: int = 64
    ) -> None:
        """Runs iterations [0, count) of a kernel, one work-item each; `types` as `cfamily.parameter_types` has them."""
        if count == 0:
            return
        kernel = self.cl.Kernel(program, name)
        for k, (t, v) in enumerate(zip([*types, "i64", "i64"], [*values, 0, count], strict=True)):
            kernel.set_arg(k, v if t.endswith("*") else struct.pack(FORMATS[t], v))
        group = min(group, self.device.max_work_group_size)
        self.cl.enqueue_nd_range_kernel(self.queue, kernel, (-(-count // group) * group,), (group,))
