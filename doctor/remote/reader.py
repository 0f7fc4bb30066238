"""Fields and strings out of another interpreter's memory, each validated or refused."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from doctor.remote.layouts import Layout
from doctor.remote.memory import Memory

MAX_TEXT = 1 << 20
"""Characters; longer strings are no names, and a longer length is more often a torn read."""

_CHARACTERS: dict[int, npt.DTypeLike] = {1: np.uint8, 2: np.uint16, 4: np.uint32}
"""Types of a character, by how many bytes it takes."""


class Unreadable(Exception):
    """What was read is not what it should be: it changed meanwhile, was never that, or is not mapped."""


def characters(content: bytes, width: int) -> str:
    """Text of so many bytes a character, in which a surrogate is a character of its own.

    Raises:
        Unreadable: a character is none.
    """
    try:
        return np.frombuffer(content, _CHARACTERS[width]).astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
    except UnicodeDecodeError:
        raise Unreadable("no character has that number") from None


class Reader(NamedTuple):
    """The memory of an interpreter together with the knowledge of how to read it.

    Every method raises `Unreadable` for what cannot be read.
    """

    memory: Memory
    layout: Layout
    version: tuple[int, int, int]

    @property
    def minor(self) -> tuple[int, int]:
        """Such as (3, 12)."""
        return self.version[:2]

    def bytes_at(self, address: int, size: int) -> bytes:
        """All of so many bytes."""
        content = self.memory.read(address, size)
        if len(content) < size:
            raise Unreadable(f"{size} bytes at {address:#x} are not mapped")
        return content

    def pointer(self, address: int) -> int:
        """A pointer, or any unsigned word."""
        return int.from_bytes(self.bytes_at(address, 8), "little")

    def signed(self, address: int) -> int:
        """A `Py_ssize_t`."""
        return int.from_bytes(self.bytes_at(address, 8), "little", signed=True)

    def int32(self, address: int) -> int:
        """A C int."""
        return int.from_bytes(self.bytes_at(address, 4), "little", signed=True)

    def c_string(self, address: int, limit: int = 512) -> str:
        """Text up to a NUL byte; what is longer than the limit is no name."""
        content, found, _ = self.memory.read(address, limit).partition(b"\0")
        if not found:
            raise Unreadable(f"no C string at {address:#x}")
        return content.decode("utf-8", "backslashreplace")

    def type_name(self, address: int) -> str:
        """`tp_name` of the object at an address."""
        type_address = self.pointer(address + self.layout.object.type)
        return self.c_string(self.pointer(type_address + self.layout.type.name))

    def text(self, address: int) -> str:
        """The value of a `str`, as names and paths are stored: in one piece."""
        unicode = self.layout.unicode
        head = self.bytes_at(address, unicode.compact_size)
        length = struct.unpack_from("<q", head, unicode.length)[0]
        state = struct.unpack_from("<I", head, unicode.state)[0]
        width = state >> unicode.kind_shift & 7
        compact = state >> unicode.compact_shift & 1
        if not compact or width not in _CHARACTERS or not 0 <= length <= MAX_TEXT:
            raise Unreadable(f"no str at {address:#x}")
        is_ascii = state >> unicode.ascii_shift & 1
        begin = unicode.ascii_size if is_ascii else unicode.compact_size
        return characters(self.bytes_at(address + begin, length * width), width)

    def content(self, address: int, limit: int = MAX_TEXT) -> bytes:
        """The value of a `bytes`."""
        size = self.signed(address + self.layout.object.var_size)
        if not 0 <= size <= limit:
            raise Unreadable(f"no bytes at {address:#x}")
        return self.bytes_at(address + self.layout.bytes.items, size)
