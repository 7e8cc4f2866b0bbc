"""DLPack, the protocol by which array libraries use each other's memory without a copy; both directions, CPU only.

The capsules are made and read in `core/dlpack.pxi`. Imports core only.
Source: https://data-apis.org/array-api/latest/design_topics/data_interchange.html.
"""

from __future__ import annotations

import warnings
from typing import Any

from .core import _core
from .core._core import Tensor

CPU = (1, 0)
VERSION = (1, 1)


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of another library's array, or of a DLPack capsule.

    copy=True always copies, copy=False never; None copies where it must. Raises BufferError for memory that isn't the
    CPU's, and for element types and strides that no tensor has.

    >>> import numpy
    >>> a = numpy.zeros(2, dtype="float32")
    >>> t = fb.from_dlpack(a)
    >>> a[1] = 3
    >>> t
    tensor([0., 3.])
    """
    if device is not None and _core.device(device).type != "cpu":
        raise BufferError(f"from_dlpack: this build has tensors on 'cpu' only, got {device!r}")
    made, writable = _core.from_dlpack_capsule(capsule_of(ext_tensor, copy))
    if not writable and not copy:
        warnings.warn(
            "from_dlpack: the memory isn't writable; writing to the tensor would write to it all the same. "
            "Pass copy=True",
            stacklevel=2,
        )
    return made.clone() if copy else made


def capsule_of(x: Any, copy: bool | None) -> Any:
    """What x.__dlpack__ gives: the newest form the producer knows."""
    if type(x).__name__ == "PyCapsule":
        return x
    if not hasattr(x, "__dlpack__"):
        raise TypeError(
            f"from_dlpack: an array with __dlpack__ or a DLPack capsule is needed, got {type(x).__name__}; "
            "use flambeau.tensor(data)"
        )
    where = tuple(x.__dlpack_device__()) if hasattr(x, "__dlpack_device__") else CPU
    if where[0] != CPU[0]:
        raise BufferError(
            f"from_dlpack: memory of the CPU is needed, got DLPack device {where}; move the array there first"
        )
    options = {} if copy is None else {"copy": copy}
    try:
        return x.__dlpack__(max_version=VERSION, **options)
    except TypeError:  # a producer from before DLPack 1.0
        return x.__dlpack__()


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule over a tensor's memory, in the form that every consumer knows.

    >>> fb.from_dlpack(fb.to_dlpack(fb.ones(2)))
    tensor([1., 1.])
    """
    return _core.dlpack_capsule(tensor, False)


def dlpack(
    self: Tensor, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
) -> Any:
    """A DLPack capsule over the tensor's memory; versioned where the consumer knows version 1.

    Raises BufferError for tensors that require grad and for devices other than the CPU.
    """
    if stream not in (None, -1):
        raise BufferError(f"__dlpack__: a tensor on the CPU has no streams, got stream={stream!r}")
    if dl_device is not None and tuple(dl_device) != CPU:
        raise BufferError(f"__dlpack__: the tensor is on the CPU, {CPU}; got dl_device={dl_device}")
    versioned = max_version is not None and max_version[0] >= 1
    if copy and self.requires_grad:
        raise BufferError("__dlpack__: a tensor that requires grad can't be exported; use x.detach()")
    return _core.dlpack_capsule(self.clone() if copy else self, versioned, bool(copy))


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """The device in DLPack's numbers: (1, 0), the CPU."""
    return CPU


Tensor.__dlpack__, Tensor.__dlpack_device__ = dlpack, dlpack_device  # type: ignore[attr-defined]

__all__ = ["from_dlpack", "to_dlpack"]
