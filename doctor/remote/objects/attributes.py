"""The attributes that an object has for itself: those of its `__dict__`, wherever that is, and those in slots."""

from __future__ import annotations

from collections.abc import Iterator

from doctor.remote.objects import dicts, numbers
from doctor.remote.objects.types import Look, Type
from doctor.remote.reader import Reader

_PIECE = 256
"""Names that are read at once."""


def attributes(look: Look, address: int, of: Type) -> Iterator[tuple[str, int]]:
    """Names and addresses of all attributes of an object of this type.

    Raises:
        Unreadable: they cannot be read, or were changed meanwhile.
    """
    for piece in _namespace(look, address, of):
        for begin in range(0, len(piece), _PIECE):
            pairs = piece[begin : begin + _PIECE]
            names = look.names(pairs[:, 0].tolist())
            yield from (
                (name, value) for name, value in zip(names, pairs[:, 1].tolist(), strict=True) if name is not None
            )
    for name, offset in look.slots(of):
        value = look.reader.pointer(address + offset)
        if value:
            yield name, value


def _namespace(look: Look, address: int, of: Type) -> Iterator[dicts.Pairs]:
    reader = look.reader
    if reader.layout.object.managed_dict is not None and of.manages_dict:
        yield from _managed(reader, address, of, reader.layout.object.managed_dict)
    elif of.dictoffset:
        found = reader.pointer(_dict_pointer(look, address, of))
        if found:
            yield from dicts.pieces(reader, found)


def _managed(reader: Reader, address: int, of: Type, before: int) -> Iterator[dicts.Pairs]:
    found = reader.pointer(address - before)
    values = _values(reader, address, of, found)
    if values:
        yield dicts.shared(reader, reader.pointer(of.address + reader.layout.type.cached_keys), values)
    elif found:
        yield from dicts.pieces(reader, found)


def _values(reader: Reader, address: int, of: Type, managed: int) -> int:
    """Where the values are that are in no dict; 0 if they are in one."""
    layout = reader.layout
    if layout.object.managed_values is not None:
        return reader.pointer(address - layout.object.managed_values)
    if layout.dict_values is None or layout.dict_values.valid is None:
        return managed + 1 if managed & 1 else 0
    place = address + of.basicsize
    inline = of.inlines_values and not managed and reader.bytes_at(place + layout.dict_values.valid, 1) != b"\0"
    return place if inline else 0


def _dict_pointer(look: Look, address: int, of: Type) -> int:
    """Where the address of the `__dict__` is; in objects of varying length that is told from the end."""
    if of.dictoffset > 0:
        return address + of.dictoffset
    reader = look.reader
    if look.kind(of) == "int":
        count = numbers.digit_count(reader, address)
    else:
        count = abs(reader.signed(address + reader.layout.object.var_size))
    size = of.basicsize + of.itemsize * count
    return address + (size + 7 & ~7) + of.dictoffset
