"""Compiled images on disk, one file each, shared by all processes of a user.

A file's name is the SHA-256 of everything its bytes depend on; its header tells a whole file from a torn or foreign
one, which is rebuilt. Files appear by rename, so readers see all or nothing. Where nothing can be written, kernels are
compiled anew in each process. The directory is $FLAMBEAU_CACHE, or flambeau below $XDG_CACHE_HOME or ~/.cache.
Imports nothing of the package but Target and the time at which ir was loaded. Read next: `native.py`, its only user.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import struct

from ..ir import LOADED
from .target import Target

MAGIC = b"flambeau"
HEADER = struct.Struct("<8sQ32s")


@functools.cache
def directory() -> str:
    """Where the files are."""
    chosen = os.environ.get("FLAMBEAU_CACHE")
    if chosen:
        return chosen
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "flambeau")


@functools.cache
def sources() -> tuple[str, ...]:
    """The files that decide an image's bytes."""
    here = os.path.dirname(os.path.abspath(__file__))
    ir = os.path.join(os.path.dirname(here), "ir")
    folders = (here, ir, os.path.join(ir, "functions"))
    return tuple(os.path.join(d, name) for d in folders for name in sorted(os.listdir(d)) if name.endswith(".py"))


@functools.cache
def fingerprint() -> bytes:
    """What stands for the renderer's version: the content of its sources."""
    digest = hashlib.sha256()
    for name in sources():
        with open(name, "rb") as f:
            digest.update(f.read())
    return digest.digest()


def changed() -> bool:
    """Whether a source is younger than the code that runs, which then isn't the version the fingerprint stands for."""
    try:
        return any(os.stat(name).st_mtime_ns >= LOADED for name in sources())
    except OSError:
        return True


@functools.cache
def trusted() -> bool:
    """Whether what was hashed is what runs. Later changes don't matter to who reads, only to who writes."""
    fingerprint()
    return not changed()


def key(text: str, target: Target) -> str:
    """The file name of the image of a kernel's text for a target."""
    digest = hashlib.sha256(fingerprint())
    digest.update(f"{target.name} {target.cpu} {target.features}\n{text}".encode())
    return digest.hexdigest()


def get(name: str) -> bytes | None:
    """The image, or None if there is none or the file isn't whole."""
    if not trusted():
        return None
    try:
        with open(os.path.join(directory(), name), "rb") as f:
            data = f.read()
    except OSError:
        return None
    if len(data) < HEADER.size:
        return None
    magic, length, checksum = HEADER.unpack_from(data)
    image = data[HEADER.size :]
    if magic != MAGIC or length != len(image) or checksum != hashlib.sha256(name.encode() + image).digest():
        return None
    return image


def put(name: str, image: bytes) -> None:
    """Writes the image for later processes; without a word where that isn't possible, or isn't their code's."""
    if changed():  # some of what rendered this may have been read before, some after
        return
    checksum = hashlib.sha256(name.encode() + image).digest()
    import tempfile  # slow to import, and only a miss needs it

    temporary = ""
    try:
        os.makedirs(directory(), mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=directory(), prefix="new-", delete=False) as f:
            temporary = f.name
            f.write(HEADER.pack(MAGIC, len(image), checksum) + image)
        os.replace(temporary, os.path.join(directory(), name))
    except OSError:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
