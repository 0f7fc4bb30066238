"""Line tables of code objects: which line an instruction belongs to, in the four formats CPython has had since 3.8.

Formats: Objects/lnotab_notes.txt of 3.8 and 3.10, Objects/locations.md of 3.11, in CPython's repository.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_NO_LINE = -128
_CODE_UNIT = 2
_MOST_BITS = 60
"""Of a number in a table; a damaged one might go on without an end."""
_ONE_LINE, _NO_COLUMNS, _LONG, _NONE = 10, 13, 14, 15
"""Kinds of entries since 3.11; those between share the meaning of the one before."""


class Lines(NamedTuple):
    """Instructions up to `end`, a byte offset into the code, belong to `line`; None for instructions of no line."""

    end: int
    line: int | None


def line_of(table: bytes, first_line: int, offset: int, version: tuple[int, int]) -> int | None:
    """The line of the instruction at a byte offset; None for code the compiler made up.

    A negative offset is that of a frame that has not begun, which is where its function begins.

    Raises:
        ValueError: the table is damaged.
    """
    if offset < 0:
        return first_line
    try:
        return next((entry.line for entry in _entries(table, first_line, version) if offset < entry.end), None)
    except IndexError:
        raise ValueError("a line table that ends within an entry") from None


def _entries(table: bytes, line: int, version: tuple[int, int]) -> Iterator[Lines]:
    if version >= (3, 11):
        return _locations(table, line)
    return _linetable(table, line) if version == (3, 10) else _lnotab(table, line)


def _lnotab(table: bytes, line: int) -> Iterator[Lines]:
    """Until 3.9: how far the next line's code is away, and how far the line; the last line goes on to the end."""
    end = 0
    for index in range(0, len(table), 2):
        end += table[index]
        yield Lines(end, line)
        line += _signed(table[index + 1])
    yield Lines(1 << 62, line)


def _linetable(table: bytes, line: int) -> Iterator[Lines]:
    """3.10: the length of a piece of code, and how far its line is from the line before."""
    end = 0
    for index in range(0, len(table), 2):
        end += table[index]
        step = _signed(table[index + 1])
        if step != _NO_LINE:
            line += step
        yield Lines(end, None if step == _NO_LINE else line)


def _locations(table: bytes, line: int) -> Iterator[Lines]:
    """Since 3.11: entries of varying length, which begin with the only byte whose highest bit is set."""
    index = end = 0
    while index < len(table):
        kind, units = table[index] >> 3 & 15, (table[index] & 7) + 1
        end += units * _CODE_UNIT
        if kind in (_NO_COLUMNS, _LONG):
            line += _signed_varint(table, index + 1)
        elif _ONE_LINE <= kind < _NO_COLUMNS:
            line += kind - _ONE_LINE
        yield Lines(end, None if kind == _NONE else line)
        index += 1
        while index < len(table) and not table[index] & 0x80:
            index += 1


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _signed_varint(table: bytes, index: int) -> int:
    """Groups of six bits, the lowest first; a set bit 6 says that there is more; the lowest bit of all is the sign."""
    value = shift = 0
    while shift < _MOST_BITS:
        value |= (table[index] & 63) << shift
        if not table[index] & 64:
            return -(value >> 1) if value & 1 else value >> 1
        index, shift = index + 1, shift + 6
    raise ValueError("a line table with a number that does not end")
