"""CUDA devices: compiled text, memory and launch, through cuda-bindings, which is imported when it is needed.

One Device is one GPU's primary context and its default stream. Text is compiled by NVRTC, which needs no GPU; a cubin
from elsewhere is loaded as it is. Launches don't wait; `read` does. Imports nothing of the package.
Read next: `opencl.py` (the same for OpenCL), `codegen/cfamily.py` (the text).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

# C types of by-value arguments; anything else is a pointer.
TYPES = {
    "i8": ctypes.c_int8, "u8": ctypes.c_uint8, "i16": ctypes.c_int16, "u16": ctypes.c_uint16, "i32": ctypes.c_int32,
    "u32": ctypes.c_uint32, "i64": ctypes.c_int64, "u64": ctypes.c_uint64, "f32": ctypes.c_float,
    "f64": ctypes.c_double,
}  # fmt: skip


def check(answer: tuple, what: str) -> Any:
    """What a call of the bindings returned besides its status; RuntimeError where that is an error."""
    status, *rest = answer
    if status != 0:
        name = getattr(status, "name", str(status))
        raise (MemoryError if "OUT_OF_MEMORY" in name else RuntimeError)(f"cuda: {what} failed: {name}")
    return rest[0] if rest else None


def device_count() -> int:
    """How many GPUs there are; 0 without a driver. Raises ImportError without cuda-bindings."""
    from cuda.bindings import driver

    try:
        if driver.cuInit(0)[0] != 0:
            return 0
    except RuntimeError:  # the bindings found no driver library
        return 0
    return check(driver.cuDeviceGetCount(), "cuDeviceGetCount")


def compile(text: str, architecture: str, flags: Sequence[str] = ()) -> bytes:
    """The cubin of CUDA C text for an architecture such as sm_90; RuntimeError with NVRTC's messages where it fails."""
    from cuda.bindings import nvrtc

    program = check(nvrtc.nvrtcCreateProgram(text.encode(), b"kernel.cu", 0, [], []), "nvrtcCreateProgram")
    try:
        options = [f"--gpu-architecture={architecture}".encode(), *(f.encode() for f in flags)]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if status != 0:
            log = b" " * check(nvrtc.nvrtcGetProgramLogSize(program), "nvrtcGetProgramLogSize")
            check(nvrtc.nvrtcGetProgramLog(program, log), "nvrtcGetProgramLog")
            raise RuntimeError(f"cuda: compiling for {architecture} failed:\n{log.decode().strip()[:4000]}")
        image = b" " * check(nvrtc.nvrtcGetCUBINSize(program), "nvrtcGetCUBINSize")
        check(nvrtc.nvrtcGetCUBIN(program, image), "nvrtcGetCUBIN")
        return image
    finally:
        nvrtc.nvrtcDestroyProgram(program)


class Memory:
    """A stretch of a GPU's memory, freed with this object."""

    def __init__(self, driver: Any, nbytes: int) -> None:
        self.driver = driver
        self.address = int(check(driver.cuMemAlloc(max(1, nbytes)), f"allocating {nbytes} bytes"))

    def __del__(self) -> None:
        if hasattr(self, "address"):
            self.driver.cuMemFree(self.address)


class Device:
    """One GPU; RuntimeError where there is none, ImportError without cuda-bindings (`pip install flambeau[cuda]`)."""

    def __init__(self, ordinal: int = 0) -> None:
        count = device_count()
        if ordinal >= count:
            raise RuntimeError(f"cuda: device {ordinal} asked for, but there are {count}; is a driver installed?")
        from cuda.bindings import driver

        self.driver: Any = driver
        self.device: Any = check(driver.cuDeviceGet(ordinal), "cuDeviceGet")
        # Retained for good: the primary context is shared with every other library in the process.
        self.context: Any = check(driver.cuDevicePrimaryCtxRetain(self.device), "cuDevicePrimaryCtxRetain")
        check(driver.cuCtxSetCurrent(self.context), "cuCtxSetCurrent")

    @property
    def architecture(self) -> str:
        """The GPU's own, such as sm_90."""
        names = self.driver.CUdevice_attribute
        major, minor = (
            check(self.driver.cuDeviceGetAttribute(a, self.device), "cuDeviceGetAttribute")
            for a in (
                names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        return f"sm_{major}{minor}"

    def compile(self, text: str, flags: Sequence[str] = ()) -> Any:
        """The loaded program of CUDA C text."""
        return self.load(compile(text, self.architecture, flags))

    def load(self, image: bytes) -> Any:
        """The program of a cubin for this GPU's architecture."""
        return check(self.driver.cuModuleLoadData(image), "cuModuleLoadData")

    def allocate(self, nbytes: int) -> Memory:
        """Memory on the GPU; a MemoryError says how much was asked for."""
        return Memory(self.driver, nbytes)

    def write(self, memory: Memory, data: Any) -> None:
        """Copies a contiguous buffer (bytes, an array) to the GPU."""
        view = memoryview(data).cast("B")
        if view.nbytes:
            check(self.driver.cuMemcpyHtoD(memory.address, view, view.nbytes), "cuMemcpyHtoD")

    def read(self, memory: Memory, data: Any) -> None:
        """Copies the GPU's memory into a writable contiguous buffer, once what was launched before is done."""
        view = memoryview(data).cast("B")
        if view.nbytes:
            check(self.driver.cuMemcpyDtoH(view, memory.address, view.nbytes), "cuMemcpyDtoH")

    def launch(
        self, program: Any, name: str, types: Sequence[str], values: Sequence[Any], count: int, group: int = 256
    ) -> None:
        """Runs iterations [0, count) of a kernel, one thread each; `types` as `cfamily.parameter_types` has them."""
        if count == 0:
            return
        function = check(self.driver.cuModuleGetFunction(program, name.encode()), f"looking up {name}")
        given = [v.address if isinstance(v, Memory) else v for v in (*values, 0, count)]
        kinds = [TYPES.get(t, ctypes.c_void_p) for t in (*types, "i64", "i64")]
        blocks = -(-count // group)
        answer = self.driver.cuLaunchKernel(
            function, blocks, 1, 1, group, 1, 1, 0, 0, (tuple(given), tuple(kinds)), 0
        )  # fmt: skip
        check(answer, f"launching {name}")
