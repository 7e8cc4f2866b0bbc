"""`torch.utils.tensorboard`: SummaryWriter writes scalars and texts as TensorBoard reads them, with nothing installed.

A file is a sequence of records: length, its checksum, an Event in protobuf wire format, its checksum. Imports nothing.
Source: TensorFlow's record_writer and event.proto.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import Any


def table() -> list[int]:
    found = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        found.append(n)
    return found


TABLE = table()


def masked_crc32c(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(n: int) -> bytes:
    out = bytearray()
    n &= 2**64 - 1
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def field(number: int, value: int | float | bytes | str) -> bytes:
    """A field in wire format: an integer, a double, or bytes (a string, a message)."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


class SummaryWriter:
    """SummaryWriter(log_dir): add_scalar, add_scalars and add_text into an event file of that folder.

    Other kinds of summaries raise NotImplementedError.

    >>> import os, tempfile
    >>> from flambeau.utils.tensorboard import SummaryWriter
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with SummaryWriter(folder) as writer:
    ...         writer.add_scalar("loss", 0.5, 1)
    ...     len(os.listdir(folder))
    1
    """

    def __init__(
        self,
        log_dir: str | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
    ) -> None:
        stamp = time.strftime("%b%d_%H-%M-%S")
        self.log_dir = str(log_dir or os.path.join("runs", f"{stamp}_{socket.gethostname()}{comment}"))
        os.makedirs(self.log_dir, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{id(self)}{filename_suffix}"
        self.file = open(os.path.join(self.log_dir, name), "wb")
        self.children: dict[str, SummaryWriter] = {}
        self.write(field(1, time.time()) + field(3, "brain.Event:2"))

    def write(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        self.file.write(length + masked_crc32c(length) + event + masked_crc32c(event))

    def add(self, summary: bytes, step: int | None, walltime: float | None) -> None:
        when = time.time() if walltime is None else float(walltime)
        self.write(field(1, when) + field(2, int(step or 0)) + field(5, field(1, summary)))

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """A number at a step."""
        value = varint(2 << 3 | 5) + struct.pack("<f", float(scalar_value))
        self.add(field(1, tag) + value, global_step, walltime)

    def add_scalars(
        self, main_tag: str, tag_scalar_dict: dict[str, Any], global_step: int | None = None, walltime: Any = None
    ) -> None:
        """Numbers under one heading, each in a file of its own as TensorBoard wants them."""
        for tag, value in tag_scalar_dict.items():
            folder = os.path.join(self.log_dir, f"{main_tag.replace('/', '_')}_{tag}")
            if folder not in self.children:
                self.children[folder] = SummaryWriter(folder)
            self.children[folder].add_scalar(main_tag, value, global_step, walltime)

    def add_text(self, tag: str, text_string: str, global_step: int | None = None, walltime: Any = None) -> None:
        """A text at a step."""
        tensor = field(1, 7) + field(2, field(2, field(1, 1))) + field(8, text_string)
        metadata = field(9, field(1, field(1, "text")))
        self.add(field(1, f"{tag}/text_summary") + metadata + field(8, tensor), global_step, walltime)

    def flush(self) -> None:
        """Hands what was added to the file."""
        for writer in (self, *self.children.values()):
            writer.file.flush()

    def close(self) -> None:
        """Closes the files."""
        for writer in (self, *self.children.values()):
            writer.file.close()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("add_"):
            raise NotImplementedError(f"SummaryWriter.{name}: only add_scalar(s) and add_text are written here")
        raise AttributeError(f"'SummaryWriter' object has no attribute {name!r}")


__all__ = ["SummaryWriter"]
