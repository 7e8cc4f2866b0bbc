"""Turns an ELF object, as LLVM emits it, into one flat image that runs wherever it is copied: entry point at offset 0.

The sections with code and constants are laid out one after the other and the relocations between them applied; all of
them are relative to the place, so nothing is left to do at load time. An object that refers to anything outside
itself is refused: kernels call nothing. Imports nothing of the package. Read next: `native.py`.
"""

from __future__ import annotations

import struct

ALLOCATED, EXECUTABLE = 0x2, 0x4
SYMBOL_TABLE, RELOCATIONS, NO_BITS = 2, 4, 8
X86_64, AARCH64 = 62, 183
# aarch64: how far the immediate of a load or store, or of an add, is scaled.
LOW_12 = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}


def flatten(data: bytes) -> bytes:
    """The image of an x86-64 or aarch64 relocatable object; an aarch64 image must be placed on a 4 KiB boundary."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("elf: not a little-endian 64-bit ELF object")
    (machine,) = struct.unpack_from("<H", data, 18)
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    # Of each section: name, type, flags, address, offset, length, link, info, alignment, entry size.
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + k * size) for k in range(count)]

    image, starts = bytearray(), {}
    for k in sorted(range(count), key=lambda k: not sections[k][2] & EXECUTABLE):
        _, kind, flags, _, offset, length, _, _, alignment, _ = sections[k]
        if flags & ALLOCATED and length and text_at(data, sections[names][4] + sections[k][0]) != ".eh_frame":
            if kind == NO_BITS:
                raise ValueError("elf: a kernel can't have variables")
            image += bytes(-len(image) % max(alignment, 1))
            starts[k] = len(image)
            image += data[offset : offset + length]

    for s in sections:
        if s[1] == RELOCATIONS and s[7] in starts:
            symbols = sections[s[6]]
            for at in range(s[4], s[4] + s[5], 24):
                place, info, addend = struct.unpack_from("<QQq", data, at)
                name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", data, symbols[4] + (info >> 32) * 24)
                if section not in starts:
                    raise ValueError(f"elf: a kernel refers to {text_at(data, sections[symbols[6]][4] + name)!r}")
                relocate(image, machine, info & 0xFFFFFFFF, starts[s[7]] + place, starts[section] + value + addend)
    return bytes(image)


def text_at(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode()


def undefined(data: bytes) -> list[str]:
    """Names an object refers to and doesn't define."""
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + k * size) for k in range(count)]
    found = []
    for s in sections:
        if s[1] == SYMBOL_TABLE:
            for at in range(s[4] + 24, s[4] + s[5], 24):
                name, _, _, section, _, _ = struct.unpack_from("<IBBHQQ", data, at)
                if section == 0:
                    found.append(text_at(data, sections[s[6]][4] + name))
    return found


def relocate(image: bytearray, machine: int, kind: int, place: int, target: int) -> None:
    """Points the field at `place` to `target`, both offsets in the image."""
    distance = target - place
    if (machine, kind) in ((X86_64, 2), (X86_64, 4), (AARCH64, 261)):
        struct.pack_into("<i", image, place, distance)
        return
    if (machine, kind) in ((X86_64, 24), (AARCH64, 260)):
        struct.pack_into("<q", image, place, distance)
        return
    (word,) = struct.unpack_from("<I", image, place)
    if machine == AARCH64 and kind == 275:
        pages = (target >> 12) - (place >> 12)
        word |= (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
    elif machine == AARCH64 and kind in LOW_12:
        word |= (target & 0xFFF) >> LOW_12[kind] << 10
    elif machine == AARCH64 and kind in (282, 283):
        word |= distance >> 2 & 0x3FFFFFF
    else:
        raise ValueError(f"elf: relocation {kind} of machine {machine} isn't relative to its place")
    struct.pack_into("<I", image, place, word)
