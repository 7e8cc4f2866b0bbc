"""Replacing a file so that a kill or a full disk at any moment leaves the old file or the new one, never a mixture.

Imports the standard library only. Read next: `safetensors.py`, which writes through here.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any


def write_all(fd: int, pieces: Iterable[Any]) -> None:
    for piece in pieces:
        left = memoryview(piece).cast("B")
        while left:
            left = left[os.write(fd, left[: 1 << 30]) :]


def replace(path: str | os.PathLike, pieces: list[Any]) -> None:
    """Makes the bytes of `pieces` the content of path: new file beside it, fsync, rename over it, fsync of the folder.

    The new file takes the old one's permission bits; a symbolic link stays a link to the replaced target. What is not
    a regular file (a pipe, a device) is simply written to. OSError says that the old file stands.
    """
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    try:
        old = os.stat(path)
    except FileNotFoundError:
        old = None
    if old is not None and stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, "save: this is a folder; name a file in it", path)
    if old is not None and not stat.S_ISREG(old.st_mode):
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            write_all(fd, pieces)
        except OSError as error:
            raise explained(error, path, pieces, "it has no earlier content to keep") from None
        finally:
            os.close(fd)
        return
    remove_orphans(folder, name)
    temporary = os.path.join(folder, f".{name[:200]}.{os.urandom(8).hex()}.tmp")
    fd = -1
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        # The lock says that its writer lives; some file systems have none, and then nobody removes orphans.
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        write_all(fd, pieces)
        if old is not None:
            os.fchmod(fd, stat.S_IMODE(old.st_mode))
        os.fsync(fd)
        os.replace(temporary, path)
    except BaseException as error:
        if fd >= 0:
            with suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, OSError) and error.errno is not None:
            kept = "no file was left behind" if old is None else "the file that was there is unchanged"
            raise explained(error, path, pieces, kept) from None
        raise
    finally:
        if fd >= 0:
            os.close(fd)
    sync_folder(folder)


def explained(error: OSError, path: str, pieces: list[Any], kept: str) -> OSError:
    needed = sum(memoryview(piece).nbytes for piece in pieces)
    why = os.strerror(error.errno or 0)
    if error.errno == errno.ENOENT:
        why, kept = "there is no such folder", "make it first"
    return OSError(error.errno, f"save: {why} while writing {needed} bytes; {kept}", path)


def remove_orphans(folder: str, name: str) -> None:
    """Temporary files of writers that were killed: those whose lock nobody holds."""
    for path in glob.glob(os.path.join(glob.escape(folder), f".{glob.escape(name[:200])}.{'[0-9a-f]' * 16}.tmp")):
        with suppress(OSError):
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                # A live writer locks right after creating, so only a file a moment old may be alive and unlocked.
                if time.time() - os.fstat(fd).st_mtime > 1:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path)
            finally:
                os.close(fd)


def sync_folder(folder: str) -> None:
    # Some file systems can't sync a folder; the rename itself has already happened.
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
