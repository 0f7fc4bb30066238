"""The elements of tuples, lists, sets and deques: where each of them is.

They are read in pieces, and after each piece it is made sure that the object has not changed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import numpy as np

from doctor.remote.layouts import Layout
from doctor.remote.memory import Words
from doctor.remote.objects.types import Kind
from doctor.remote.reader import Reader, Unreadable

_PIECE = 4096
"""Elements that are read at once."""
_MOST = 1 << 48
_DELETED = np.uint64((1 << 64) - 1)
"""The hash that stands where an element of a set was deleted."""


def elements(reader: Reader, address: int, kind: Kind) -> Iterator[int]:
    """The addresses of all elements, in order.

    Raises:
        Unreadable: it is of a kind that has none, cannot be read, or was changed meanwhile.
    """
    fields = _fields(reader.layout).get(kind)
    if fields is None:
        raise Unreadable(f"the {kind} at {address:#x} has no elements")
    head = _head(reader, address, fields)
    if head[0] > _MOST:
        raise Unreadable(f"no {kind} at {address:#x}")
    for piece in _PIECES[kind](reader, address, *head):
        if not piece.all() or _head(reader, address, fields) != head:
            raise Unreadable(f"the {kind} at {address:#x} changed while it was read")
        yield from piece.tolist()


def _fields(layout: Layout) -> dict[Kind, tuple[int, ...]]:
    """What tells where the elements are, their number first."""
    size = layout.object.var_size
    return {
        "tuple": (size,),
        "list": (size, layout.list.items),
        "set": (layout.set.used, layout.set.mask, layout.set.table),
        "deque": (size, layout.deque.left_block, layout.deque.left_index),
    }


def _head(reader: Reader, address: int, fields: tuple[int, ...]) -> tuple[int, ...]:
    first, end = min(fields), max(fields) + 8
    content = reader.bytes_at(address + first, end - first)
    return tuple(struct.unpack_from("<Q", content, field - first)[0] for field in fields)


def _tuple(reader: Reader, address: int, count: int) -> Iterator[Words]:
    yield from _array(reader, address + reader.layout.tuple.items, count)


def _list(reader: Reader, _: int, count: int, items: int) -> Iterator[Words]:
    yield from _array(reader, items, count)


def _set(reader: Reader, address: int, used: int, mask: int, table: int) -> Iterator[Words]:
    found = 0
    if mask & mask + 1 or not used <= mask < _MOST:
        raise Unreadable(f"no set at {address:#x}")
    for words in _array(reader, table, 2 * (mask + 1)):
        keys, hashes = words[::2], words[1::2]
        keys = keys[(keys != 0) & (hashes != _DELETED)]
        found += len(keys)
        yield keys
    if found != used:
        raise Unreadable(f"the set at {address:#x} has {found} elements where it says {used}")


def _deque(reader: Reader, address: int, count: int, block: int, index: int) -> Iterator[Words]:
    layout = reader.layout.deque
    if index >= layout.block_length:
        raise Unreadable(f"no deque at {address:#x}")
    while count:
        content = reader.bytes_at(block, layout.block_right + 8)
        words = np.frombuffer(content, "<u8", layout.block_length, layout.block_items)[index:][:count]
        yield words
        count -= len(words)
        index = 0
        block = int.from_bytes(content[layout.block_right :], "little")


def _array(reader: Reader, address: int, count: int) -> Iterator[Words]:
    for begin in range(0, count, _PIECE):
        size = min(count - begin, _PIECE)
        yield np.frombuffer(reader.bytes_at(address + 8 * begin, 8 * size), "<u8")


_PIECES: dict[Kind, Callable[..., Iterator[Words]]] = {"tuple": _tuple, "list": _list, "set": _set, "deque": _deque}
