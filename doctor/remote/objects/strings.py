"""The text of `str` objects, one by one and many at once."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from doctor.remote.memory import Words
from doctor.remote.reader import MAX_TEXT, Reader, Unreadable, characters

_HEAD_SIZE = 128
"""Bytes that hold most names with all that stands before them."""


def head(reader: Reader, address: int) -> bytes:
    """The first bytes of an object that is a `str`, for `decoded`; fewer where the mapping ends."""
    return reader.memory.read(address, _HEAD_SIZE)


def heads(reader: Reader, addresses: Sequence[int]) -> list[bytes]:
    """The same of many, in a few system calls."""
    rows = np.zeros((len(addresses), _HEAD_SIZE), np.uint8)
    sizes = np.full(len(addresses), _HEAD_SIZE, np.uint64)
    got = reader.memory.gather(np.array(addresses, np.uint64), sizes, rows)
    return [row[:size].tobytes() for row, size in zip(rows, got.tolist(), strict=True)]


def decoded(reader: Reader, address: int, begin: bytes, limit: int = MAX_TEXT) -> str:
    """The value of the `str` that begins with these bytes.

    Raises:
        Unreadable: it is none, or has more characters than the limit.
    """
    length, width, is_ascii, compact = _shape(reader, begin)
    if not 0 <= length <= limit or width not in (1, 2, 4):
        raise Unreadable(f"no str at {address:#x}")
    layout = reader.layout.unicode
    size = length * width
    if not compact:
        return characters(reader.bytes_at(reader.pointer(address + layout.compact_size), size), width)
    start = layout.ascii_size if is_ascii else layout.compact_size
    content = begin[start : start + size]
    return characters(content if len(content) == size else reader.bytes_at(address + start, size), width)


def index_of(reader: Reader, addresses: Words, text: str) -> int | None:
    """Which of these objects is a `str` of this value, if all of them are `str`; a subclass of it is never found."""
    layout = reader.layout.unicode
    width = 4 if (highest := max(map(ord, text), default=0)) > 0xFFFF else 2 if highest > 0xFF else 1
    start = layout.ascii_size if highest < 0x80 else layout.compact_size
    content = np.frombuffer(b"".join(ord(character).to_bytes(width, "little") for character in text), np.uint8)
    rows = np.zeros((len(addresses), start + len(content)), np.uint8)
    got = reader.memory.gather(addresses, np.full(len(addresses), rows.shape[1], np.uint64), rows)
    same = (got == rows.shape[1]) & (rows[:, start:] == content).all(axis=1)
    wanted = len(text), width, highest < 0x80, True
    return next((n for n in np.flatnonzero(same).tolist() if _shape(reader, rows[n].tobytes()) == wanted), None)


def _shape(reader: Reader, begin: bytes) -> tuple[int, int, bool, bool]:
    """Characters, bytes of each, whether all are ASCII, and whether they follow what describes them."""
    layout = reader.layout.unicode
    if len(begin) < layout.ascii_size:
        raise Unreadable("a str is not mapped")
    length: int = struct.unpack_from("<q", begin, layout.length)[0]
    state: int = struct.unpack_from("<I", begin, layout.state)[0]
    flags = state >> layout.ascii_shift & 1, state >> layout.compact_shift & 1
    return length, state >> layout.kind_shift & 7, bool(flags[0]), bool(flags[1])
