"""What types and functions are called: their module, and their qualified name.

Every function here raises `Unreadable` for what has no such name, or cannot be read.
"""

from __future__ import annotations

from doctor.remote.objects import dicts
from doctor.remote.objects.types import Kind, Look, Type
from doctor.remote.reader import Unreadable

_BUILTINS = "builtins"


def full_name(look: Look, of: Type) -> str:
    """The name of a type with its module, which is left out for those that are built in."""
    known = look.full_names.get(of.address)
    if known is None:
        module, name = _module_of_type(look, of), _qualname_of_type(look, of)
        known = look.full_names[of.address] = name if module in (None, _BUILTINS) else f"{module}.{name}"
    return known


def qualname(look: Look, address: int, kind: Kind) -> str:
    """Such as "Shop.Item"."""
    reader, layout = look.reader, look.reader.layout
    if kind == "type":
        return _qualname_of_type(look, look.type_at(address))
    if kind == "builtin":
        definition = reader.pointer(address + layout.builtin.definition)
        return reader.c_string(reader.pointer(definition + layout.builtin.definition_name))
    return look.text(reader.pointer(_function(look, address, kind) + layout.function.qualname))


def module(look: Look, address: int, kind: Kind) -> str | None:
    """The name of the module that a type or function says it belongs to."""
    if kind == "type":
        return _module_of_type(look, look.type_at(address))
    function = _function(look, address, kind)
    return _text_or_none(look, look.reader.pointer(function + look.reader.layout.function.module))


def _qualname_of_type(look: Look, of: Type) -> str:
    if of.on_heap:
        return look.text(look.reader.pointer(of.address + look.reader.layout.type.heap_qualname))
    return of.tp_name.rpartition(".")[2]


def _module_of_type(look: Look, of: Type) -> str | None:
    if of.on_heap:
        return _text_or_none(look, dicts.find(look, of.namespace, "__module__"))
    return of.tp_name.rpartition(".")[0] or _BUILTINS


def _function(look: Look, address: int, kind: Kind) -> int:
    """The function itself, which a method may bind."""
    if kind == "method":
        address = look.reader.pointer(address + look.reader.layout.method.function)
        kind = look.kind(look.type_of(address))
    if kind != "function":
        raise Unreadable(f"the {kind} at {address:#x} has no name")
    return address


def _text_or_none(look: Look, address: int | None) -> str | None:
    """Odd programs set what is no text, which says nothing."""
    if address and look.kind(look.type_of(address)) == "str":
        return look.text(address)
    return None
