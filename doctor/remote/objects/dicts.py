"""What is in a dict, whose keys and values CPython keeps in many ways.

A table of keys has a part for hashing, which is skipped, and then its entries in the order of their insertion. A dict
has such a table for itself, or shares that of a class and has only an array of values.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from doctor.remote.memory import Words
from doctor.remote.objects import strings
from doctor.remote.objects.types import Look
from doctor.remote.reader import Reader, Unreadable

Pairs = Words
"""Addresses of keys and of their values, one pair a row."""

_PIECE = 4096
"""Entries that are read at once."""
_MOST_SEARCHED = 1 << 6
"""Pieces, of a quarter of a million entries together."""
_MOST_SLOTS = 1 << 40
_MOST_SHARED = 1 << 16
_GENERAL = 0


class _Head(NamedTuple):
    """The fields of a `PyDictObject`."""

    used: int
    keys: int
    values: int


class _Keys(NamedTuple):
    """The entries of a table of keys."""

    address: int
    entries: int
    words: int
    """Of an entry; the last two are the key and its value, which is nothing where the table is shared."""


def pieces(reader: Reader, address: int) -> Iterator[Pairs]:
    """All pairs of a dict, in order.

    Raises:
        Unreadable: it cannot be read, or was changed meanwhile.
    """
    head = _head(reader, address)
    found = 0
    for pairs in _pieces(reader, head):
        if _head(reader, address) != head:
            raise Unreadable(f"the dict at {address:#x} changed while it was read")
        found += len(pairs)
        yield pairs
    if found != head.used:
        raise Unreadable(f"the dict at {address:#x} has {found} entries where it says {head.used}")


def shared(reader: Reader, keys_address: int, values_address: int) -> Pairs:
    """The pairs of keys that belong to a class and values that belong to an instance of it."""
    keys = _keys(reader, keys_address)
    if keys.entries > _MOST_SHARED:
        raise Unreadable(f"no shared keys at {keys_address:#x}")
    order, items = _order(reader, values_address, keys.entries)
    pairs = _entries(reader, keys, 0, keys.entries)
    pairs[:, 1] = _words(reader, items, keys.entries)
    return _complete(pairs[order])


def find(look: Look, address: int, key: str) -> int | None:
    """The value of a `str` in a dict, None where it is not in it.

    Raises:
        Unreadable: the dict cannot be read, or was changed meanwhile.
    """
    for number, pairs in enumerate(pieces(look.reader, address)):
        if number == _MOST_SEARCHED:
            raise Unreadable(f"the dict at {address:#x} is too large to be searched")
        index = strings.index_of(look.reader, pairs[:, 0], key)
        if index is not None and look.kind(look.type_of(int(pairs[index, 0]))) == "str":
            return int(pairs[index, 1])
    return None


def _pieces(reader: Reader, head: _Head) -> Iterator[Pairs]:
    if head.values:
        yield shared(reader, head.keys, head.values)
        return
    keys = _keys(reader, head.keys)
    if head.used > keys.entries:
        raise Unreadable(f"no keys of a dict at {head.keys:#x}")
    for begin in range(0, keys.entries, _PIECE):
        yield _complete(_entries(reader, keys, begin, min(begin + _PIECE, keys.entries)))


def _head(reader: Reader, address: int) -> _Head:
    layout = reader.layout.dict
    content = reader.bytes_at(address, layout.values + 8)
    return _Head(*(struct.unpack_from("<Q", content, place)[0] for place in (layout.used, layout.keys, layout.values)))


def _keys(reader: Reader, address: int) -> _Keys:
    layout = reader.layout.dict_keys
    content = reader.bytes_at(address, layout.indices)
    count: int = struct.unpack_from("<q", content, layout.nentries)[0]
    if layout.log2_size is None:
        slots, index_bytes, words = _slots_until_310(struct.unpack_from("<q", content, layout.size or 0)[0])
    else:
        kind = content[layout.kind or 0]
        slots, index_bytes = 1 << content[layout.log2_size], 1 << content[layout.log2_index_bytes or 0]
        words = 3 if kind == _GENERAL else 2
    if not 0 <= count <= slots <= index_bytes <= 8 * slots or slots > _MOST_SLOTS:
        raise Unreadable(f"no keys of a dict at {address:#x}")
    return _Keys(address + layout.indices + index_bytes, count, words)


def _slots_until_310(slots: int) -> tuple[int, int, int]:
    width = 1 if slots <= 0xFF else 2 if slots <= 0xFFFF else 4 if slots <= 0xFFFFFFFF else 8
    return slots, slots * width, 3


def _entries(reader: Reader, keys: _Keys, begin: int, end: int) -> Pairs:
    words = _words(reader, keys.address + 8 * keys.words * begin, keys.words * (end - begin))
    pairs: Pairs = words.reshape(-1, keys.words)[:, -2:].copy()
    return pairs


def _order(reader: Reader, values: int, count: int) -> tuple[list[int], int]:
    """Which of the values there are, as they were inserted, and where the values are."""
    layout = reader.layout.dict_values
    if layout is None:
        return list(range(count)), values
    if layout.capacity is None:
        used = reader.bytes_at(values - 2, 1)[0]
        order = reader.bytes_at(values - 2 - used, used)[::-1]
    else:
        head = reader.bytes_at(values, layout.items)
        order = reader.bytes_at(values + layout.items + 8 * head[layout.capacity], head[layout.used or 0])
    if any(index >= count for index in order):
        raise Unreadable(f"no values of an instance at {values:#x}")
    return list(order), values + layout.items


def _words(reader: Reader, address: int, count: int) -> Words:
    return np.frombuffer(reader.bytes_at(address, 8 * count), "<u8")


def _complete(pairs: Pairs) -> Pairs:
    """Without those that were deleted, or are not inserted yet."""
    complete: Pairs = pairs[(pairs != 0).all(axis=1)]
    return complete
