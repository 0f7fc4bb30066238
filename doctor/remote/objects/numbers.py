"""The values of `int` and `float` objects."""

from __future__ import annotations

import struct

from doctor.remote.reader import Reader, Unreadable

_DIGIT_BITS = 30
_MOST_DIGITS = 1 << 16
_NEGATIVE, _TAG_BITS = 2, 3


def integer(reader: Reader, address: int) -> int:
    """The value of an `int`.

    Raises:
        Unreadable: it is none, or longer than half a million decimal digits.
    """
    count, negative = _size(reader, address)
    if count > _MOST_DIGITS:
        raise Unreadable(f"no int at {address:#x}")
    digits = struct.unpack(f"<{count}I", reader.bytes_at(address + reader.layout.int.digits, 4 * count))
    if count and (not digits[-1] or max(digits) >> _DIGIT_BITS):
        raise Unreadable(f"no int at {address:#x}")
    number = int("".join(f"{digit:0{_DIGIT_BITS}b}" for digit in reversed(digits)) or "0", 2)
    return -number if negative else number


def digit_count(reader: Reader, address: int) -> int:
    """How many digits an `int` is stored in.

    Raises:
        Unreadable: it is not mapped.
    """
    return _size(reader, address)[0]


def floating(reader: Reader, address: int) -> float:
    """The value of a `float`.

    Raises:
        Unreadable: it is not mapped.
    """
    number: float = struct.unpack("<d", reader.bytes_at(address + reader.layout.float.value, 8))[0]
    return number


def _size(reader: Reader, address: int) -> tuple[int, bool]:
    """How many digits there are, and whether they stand for a negative number."""
    layout = reader.layout
    if layout.int.tag is None:
        size = reader.signed(address + layout.object.var_size)
        return abs(size), size < 0
    tag = reader.pointer(address + layout.int.tag)
    return tag >> _TAG_BITS, tag & _NEGATIVE != 0
