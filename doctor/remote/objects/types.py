"""The types of remote objects, and with them whether there is an object at an address at all.

An address is believed to be an object if its type is a type, which is so if the type of that says that its instances
are types.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from doctor.remote.objects import strings
from doctor.remote.reader import MAX_TEXT, Reader, Unreadable

Kind = Literal[
    "NoneType", "bool", "int", "float", "str", "bytes", "tuple", "list", "dict", "set", "deque",
    "type", "module", "function", "method", "builtin", "weakref", "object",
]  # fmt: skip
"""How an object is laid out, which it shares with all instances of subclasses of its type."""

_INLINE_VALUES, _MANAGED_DICT, _IMMUTABLE, _HEAP, _READY, _TYPE = (1 << bit for bit in (2, 4, 8, 9, 12, 31))
_KIND_OF_FLAG: dict[int, Kind] = {
    1 << 24: "int",
    1 << 25: "list",
    1 << 26: "tuple",
    1 << 27: "bytes",
    1 << 28: "str",
    1 << 29: "dict",
    _TYPE: "type",
}
_KIND_OF_NAME: dict[str, Kind] = {
    "NoneType": "NoneType",
    "float": "float",
    "set": "set",
    "frozenset": "set",
    "frozendict": "dict",
    "collections.deque": "deque",
    "module": "module",
    "function": "function",
    "method": "method",
    "builtin_function_or_method": "builtin",
    "weakref": "weakref",
    "weakref.ReferenceType": "weakref",
}
"""Of the types made in C that no flag tells."""
_MOST_BASES = 1 << 10
_MOST_MEMBERS = 1 << 10
_LONGEST_NAME = 1 << 12
_OBJECTS = (6, 16)
"""The types of members that are objects, where a null pointer means None and where it means that there is nothing."""
_LARGEST = 1 << 24
"""Bytes of an instance, without its items."""


@dataclass(frozen=True)
class Type:
    """What `PyTypeObject` says. The addresses may be 0."""

    address: int
    flags: int
    tp_name: str
    """With the module only if it was made in C."""
    basicsize: int
    itemsize: int
    dictoffset: int
    namespace: int
    base: int
    bases: int
    """The tuple of itself and all its bases, in the order in which Python looks for attributes."""
    members: int

    @property
    def on_heap(self) -> bool:
        """Whether it was made while the program ran, be it by Python or C."""
        return bool(self.flags & _HEAP)

    @property
    def made_in_c(self) -> bool:
        """Whether its instances are certainly laid out as its name says; no class of Python code is immutable."""
        return not self.on_heap or bool(self.flags & _IMMUTABLE)

    @property
    def manages_dict(self) -> bool:
        """From 3.11 on: whether the `__dict__` of an instance is in front of it."""
        return bool(self.flags & _MANAGED_DICT)

    @property
    def inlines_values(self) -> bool:
        """From 3.13 on: whether the attributes of an instance are behind it."""
        return bool(self.flags & _INLINE_VALUES)


class Look:
    """A reader, and what it has found that stays while one looks: types, and the names of attributes.

    Every method raises `Unreadable` for what cannot be read.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        layout = reader.layout.type
        self._fields = [layout.flags, layout.basicsize, layout.itemsize, layout.dictoffset, layout.dict]
        self._fields += [layout.base, layout.mro, layout.members, layout.name, reader.layout.object.type]
        self._types: dict[int, Type] = {}
        self._metatypes: set[int] = set()
        self._kinds: dict[int, Kind] = {}
        self._mros: dict[int, tuple[Type, ...]] = {}
        self._slots: dict[int, list[tuple[str, int]]] = {}
        self._texts: dict[int, str] = {}
        self.full_names: dict[int, str] = {}
        """Those of types, for `names.full_name`."""

    def type_of(self, address: int) -> Type:
        """The type of an object."""
        return self.type_at(self.reader.pointer(address + self.reader.layout.object.type))

    def type_at(self, address: int) -> Type:
        """The type that is at this address."""
        known = self._types.get(address)
        if known is None:
            known = self._types[address] = self._read_type(address)
        return known

    def kind(self, of: Type) -> Kind:
        """How the instances of a type are laid out."""
        known = self._kinds.get(of.address)
        if known is None:
            known = self._kinds[of.address] = self._find_kind(of)
        return known

    def mro(self, of: Type) -> tuple[Type, ...]:
        """A type and all its bases, in the order in which Python looks for attributes."""
        known = self._mros.get(of.address)
        if known is None:
            known = self._mros[of.address] = tuple(map(self.type_at, self._bases(of)))
        return known

    def slots(self, of: Type) -> list[tuple[str, int]]:
        """Names and offsets of the attributes that instances of a type have outside of a `__dict__`."""
        known = self._slots.get(of.address)
        if known is None:
            known = self._slots[of.address] = list(self._find_slots(of))
        return known

    def text(self, address: int) -> str:
        """The value of a `str`, or of an instance of a subclass of it."""
        return self._text(address, strings.head(self.reader, address))

    def names(self, addresses: list[int]) -> list[str | None]:
        """The values of these `str`, None for what is no `str`; remembered, so for names that stay in use."""
        missing = [address for address in addresses if address not in self._texts]
        for address, head in zip(missing, strings.heads(self.reader, missing) if missing else [], strict=True):
            try:
                self._texts[address] = self._text(address, head, _LONGEST_NAME)
            except Unreadable:
                continue
        return [self._texts.get(address) for address in addresses]

    def _text(self, address: int, head: bytes, limit: int = MAX_TEXT) -> str:
        at = self.reader.layout.object.type
        if self.kind(self.type_at(int.from_bytes(head[at : at + 8], "little"))) != "str":
            raise Unreadable(f"no str at {address:#x}")
        return strings.decoded(self.reader, address, head, limit)

    def _read_type(self, address: int) -> Type:
        head = self.reader.bytes_at(address, max(self._fields) + 8)
        flags, *numbers, name, metatype = (struct.unpack_from("<q", head, place)[0] for place in self._fields)
        basicsize, itemsize, dictoffset, *addresses = numbers
        if not flags & _READY or not 0 < basicsize < _LARGEST or not 0 <= itemsize < _LARGEST:
            raise Unreadable(f"no type at {address:#x}")
        if not -_LARGEST < dictoffset < basicsize or not self._is_metatype(metatype):
            raise Unreadable(f"no type at {address:#x}")
        return Type(address, flags, self.reader.c_string(name), basicsize, itemsize, dictoffset, *addresses)

    def _is_metatype(self, address: int) -> bool:
        if address not in self._metatypes and self.reader.pointer(address + self.reader.layout.type.flags) & _TYPE:
            self._metatypes.add(address)
        return address in self._metatypes

    def _find_kind(self, of: Type) -> Kind:
        for flag, kind in _KIND_OF_FLAG.items():
            if of.flags & flag:
                return "bool" if of.made_in_c and of.tp_name == "bool" else kind
        seen = set[int]()
        while of.address not in seen and len(seen) < _MOST_BASES:
            if of.made_in_c and of.tp_name in _KIND_OF_NAME:
                return _KIND_OF_NAME[of.tp_name]
            if not of.base:
                return "object"
            seen.add(of.address)
            of = self.type_at(of.base)
        raise Unreadable(f"the bases of {of.tp_name} have no end")

    def _bases(self, of: Type) -> tuple[int, ...]:
        count = self.reader.signed(of.bases + self.reader.layout.object.var_size)
        if not 0 < count <= _MOST_BASES:
            raise Unreadable(f"{of.tp_name} has no bases")
        content = self.reader.bytes_at(of.bases + self.reader.layout.tuple.items, 8 * count)
        return struct.unpack(f"<{count}Q", content)

    def _find_slots(self, of: Type) -> Iterator[tuple[str, int]]:
        """Those of Python code, and those fields that C code shows."""
        layout = self.reader.layout.member
        for _, member in zip(range(_MOST_MEMBERS), self._members(of), strict=False):
            name, offset = (
                struct.unpack_from("<Q", member, place)[0]
                for place in (layout.definition_name, layout.definition_offset)
            )
            if struct.unpack_from("<i", member, layout.definition_type)[0] in _OBJECTS:
                yield self.reader.c_string(name), offset

    def _members(self, of: Type) -> Iterator[bytes]:
        """Each `PyMemberDef` of a type and its bases."""
        layout = self.reader.layout.member
        for base in self.mro(of):
            place = base.members
            while place:
                member = self.reader.bytes_at(place, layout.definition_size)
                if not any(member[layout.definition_name :][:8]):
                    break
                yield member
                place += layout.definition_size
