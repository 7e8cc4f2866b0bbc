"""Saving and loading: `save` and `load`, safe to kill and safe to point at a stranger's file.

What is written is safetensors: a flat dict of tensors under a name that ends in .safetensors, otherwise nested state
(`archive.py`). Programs under `flambeau run`, and others that say format="torch", write files that PyTorch reads
(`torchfile.py`). What is read: all of these, and PyTorch's older files (`pytorch.py`), through a pickle interpreter
that executes nothing unless weights_only=False asks for it. May import flambeau, when called.
Read next: `tensors.py`, `safetensors.py`, `archive.py`.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from .tensors import FormatError
from .trusted import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals


def save(
    obj: Any,
    f: str | os.PathLike | BinaryIO,
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
    *,
    format: str | None = None,
) -> None:
    """Writes obj to a path or an open binary file.

    obj: tensors, numbers, strings, bytes, None, dtypes, devices and sizes in dicts, lists, tuples and sets. A name that
    ends in .safetensors takes a flat dict of tensors. Views of one storage share it again after `load`.
    format: "safetensors", or "torch" for a file that PyTorch reads, which `flambeau run` writes where nothing is
    said; that one takes other objects too, pickled as PyTorch does. pickle_module, pickle_protocol and
    _use_new_zipfile_serialization are PyTorch's arguments and change nothing.
    A path is replaced atomically: a kill or a full disk leaves the old file as it was. Raises TypeError naming the
    place of what can't be stored, OSError where the disk refuses.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fb.save({"epoch": 3, "w": fb.ones(2)}, f"{folder}/state.pt")
    ...     fb.load(f"{folder}/state.pt")
    {'epoch': 3, 'w': tensor([1., 1.])}
    """
    from ..core import _core
    from . import archive, safetensors

    if format is None:
        format = "torch" if _core.package_name() == "torch" else "safetensors"
    if format not in ("safetensors", "torch"):
        raise ValueError(f"save: format is 'safetensors' or 'torch', got {format!r}")
    if not hasattr(f, "write") and os.fspath(f).endswith(".safetensors"):
        if not isinstance(obj, dict):
            raise TypeError(f"save: .safetensors holds a flat dict of tensors, got a {type(obj).__name__}")
        safetensors.save_file(obj, f)
    elif format == "torch":
        from .torchfile import assemble

        safetensors.write(f, assemble(obj))
    else:
        safetensors.write(f, safetensors.assemble(*archive.encode(obj)))


def load(
    f: str | os.PathLike | BinaryIO,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = True,
    mmap: bool | None = False,
    **pickle_load_args: Any,
) -> Any:
    """Reads what `save` or PyTorch's `torch.save` wrote; nothing in a file is executed unless weights_only=False.

    map_location: where tensors go that were saved on a device that isn't here ('cpu', a device, a dict, a function).
    weights_only: True reads data only, and objects of what `serialization.add_safe_globals` names. False unpickles a
    PyTorch file as Python does, which runs what its writer chose: for files you trust, such as whole pickled models;
    torch's names in it are found in flambeau. mmap: tensors become views of a private mapping of the file, read from
    disk when touched; checksums of tensors aren't verified then.
    pickle_module and pickle_load_args are PyTorch's and change nothing. Raises FormatError (a RuntimeError) for files
    that are truncated, corrupted or forged.

    >>> import io
    >>> file = io.BytesIO()
    >>> fb.save({"w": fb.ones(2)}, file)
    >>> _ = file.seek(0)
    >>> fb.load(file)
    {'w': tensor([1., 1.])}
    """
    from . import archive, pytorch, safetensors
    from .tensors import Source

    with Source(f, bool(mmap)) as source:
        start = source.read(0, min(source.size, 9))
        if start[:4] == b"PK\3\4":
            return pytorch.load_zip(source, map_location, weights_only is False)
        if safetensors.looks_like(start, source.size):
            contents = safetensors.read(source)
            if "flambeau.tree" in contents.metadata:
                return archive.decode(source, contents)
            return {name: contents.tensor(name) for name in contents.tensors}
        if start[:1] == b"\x80":
            return pytorch.load_legacy(source, map_location, weights_only is False)
        what = "is empty" if not source.size else "is truncated, or neither safetensors nor a PyTorch checkpoint"
        raise source.error(f"the file {what} (it begins with {start!r})" if source.size else f"the file {what}")


__all__ = [
    "FormatError", "add_safe_globals", "clear_safe_globals", "get_safe_globals", "load", "safe_globals", "save",
]  # fmt: skip
