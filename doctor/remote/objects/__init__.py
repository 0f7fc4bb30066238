"""A view of an object in another process.

    pool = Remote(reader, address)
    pool.type_name                    "concurrent.futures.thread.ThreadPoolExecutor"
    pool["_max_workers"].value        5
    [item["fn"].qualname for item in pool["_work_queue"]["_queue"]]

A view is an address and nothing else: each question reads memory, which may have changed since the last one. So cycles
are harmless, and every answer is validated. What cannot be read, be it torn, foreign or not there, raises `Unreadable`
and nothing else; whoever asks says "could not read", or asks again.

All that is reached from one view shares what was learnt of types and of the names of attributes. These may change too,
so begin with a new `Remote` for each look at a process that runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from doctor.remote.objects import attributes, dicts, names, numbers, sequences
from doctor.remote.objects.types import Kind, Look, Type
from doctor.remote.reader import Reader, Unreadable

__all__ = ["MANY", "Remote", "Unreadable"]

MANY = 1 << 20
"""How many elements are read of one object, unless another limit is given."""

_MOST_ATTRIBUTES = 1 << 14
"""That are searched for one of them."""

Scalar = bool | int | float | str | bytes | None


class Remote:
    """A view of the object at an address. Every use may raise `Unreadable`.

    It is laid out as its type's flags and bases say, so an `OrderedDict` is read as the dict it is, a `namedtuple` as
    a tuple and an `IntEnum` as an int, besides their attributes.
    """

    __slots__ = ("_look", "address")

    def __init__(self, reader: Reader | Look, address: int) -> None:
        self._look = reader if isinstance(reader, Look) else Look(reader)
        self.address = address

    @property
    def type(self) -> Remote:
        """Its class, whose attributes are those that the class has for itself."""
        return Remote(self._look, self._type.address)

    @property
    def type_name(self) -> str:
        """The name of its type with the module, such as "collections.OrderedDict" and "int"."""
        return names.full_name(self._look, self._type)

    def is_a(self, type_name: str) -> bool:
        """Whether the type of this name, or a subclass of it, is its type."""
        return any(names.full_name(self._look, base) == type_name for base in self._look.mro(self._type))

    @property
    def value(self) -> Scalar:
        """What it is, if it is None, a bool, int, float, str or bytes, or of a subclass of these."""
        reader, address = self._look.reader, self.address
        match self._kind:
            case "NoneType":
                return None
            case "bool":
                return bool(numbers.integer(reader, address))
            case "int":
                return numbers.integer(reader, address)
            case "float":
                return numbers.floating(reader, address)
            case "str":
                return self._look.text(address)
            case "bytes":
                return reader.content(address)
            case kind:
                raise Unreadable(f"the {kind} at {address:#x} has no value")

    def __getitem__(self, attribute: str) -> Remote:
        """An attribute it has for itself, be it in its `__dict__` or a slot; so also a global of a module."""
        for name, address in islice(self._attributes(), _MOST_ATTRIBUTES):
            if name == attribute:
                return Remote(self._look, address)
        raise Unreadable(f"the object at {self.address:#x} has no {attribute}")

    def attributes(self, limit: int = MANY) -> Iterator[tuple[str, Remote]]:
        """All attributes it has for itself, at most so many."""
        return ((name, Remote(self._look, address)) for name, address in islice(self._attributes(), limit))

    def __len__(self) -> int:
        """Elements of a container, or characters or bytes; where it is more than were iterated over there were more."""
        layout = self._look.reader.layout
        kind = self._kind
        place = {"dict": layout.dict.used, "set": layout.set.used, "str": layout.unicode.length}.get(kind)
        if kind in ("tuple", "list", "deque", "bytes"):
            place = layout.object.var_size
        count = -1 if place is None else self._look.reader.signed(self.address + place)
        if count < 0:
            raise Unreadable(f"the {kind} at {self.address:#x} has no length")
        return count

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Remote]:
        return self.elements()

    def elements(self, limit: int = MANY) -> Iterator[Remote]:
        """At most so many elements of a tuple, list, set or deque, or keys of a dict."""
        if self._kind == "dict":
            return (key for key, _ in self.items(limit))
        found = sequences.elements(self._look.reader, self.address, self._kind)
        return (Remote(self._look, address) for address in islice(found, limit))

    def items(self, limit: int = MANY) -> Iterator[tuple[Remote, Remote]]:
        """At most so many keys of a dict with their values."""
        self._require("dict")
        pairs = (pair for piece in dicts.pieces(self._look.reader, self.address) for pair in piece.tolist())
        return ((Remote(self._look, key), Remote(self._look, value)) for key, value in islice(pairs, limit))

    def get(self, key: str) -> Remote | None:
        """What a dict has for a `str`, None if that is not among its keys."""
        self._require("dict")
        found = dicts.find(self._look, self.address, key)
        return None if found is None else Remote(self._look, found)

    @property
    def function(self) -> Remote:
        """The function of a bound method."""
        self._require("method")
        return self._at(self._look.reader.layout.method.function)

    @property
    def self(self) -> Remote:
        """What a method is bound to; for a function made in C that is no method it is its module."""
        layout = self._look.reader.layout
        return self._at(layout.method.self if self._require("method", "builtin") == "method" else layout.builtin.self)

    @property
    def referent(self) -> Remote:
        """What a weak reference refers to: None once that is gone."""
        self._require("weakref")
        return self._at(self._look.reader.layout.weakref.referent)

    @property
    def qualname(self) -> str:
        """`__qualname__` of a class, function or method; of a function made in C its name alone."""
        return names.qualname(self._look, self.address, self._kind)

    @property
    def module(self) -> str | None:
        """`__module__` of a class, function or method written in Python; None where it says none."""
        return names.module(self._look, self.address, self._kind)

    def __repr__(self) -> str:
        return f"Remote({self.address:#x})"

    @property
    def _type(self) -> Type:
        return self._look.type_of(self.address)

    @property
    def _kind(self) -> Kind:
        return self._look.kind(self._type)

    def _attributes(self) -> Iterator[tuple[str, int]]:
        return attributes.attributes(self._look, self.address, self._type)

    def _at(self, place: int) -> Remote:
        return Remote(self._look, self._look.reader.pointer(self.address + place))

    def _require(self, *kinds: Kind) -> Kind:
        kind = self._kind
        if kind not in kinds:
            raise Unreadable(f"the {kind} at {self.address:#x} is no {' or '.join(kinds)}")
        return kind
