"""Values as JSON text: the same value gives the same bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from doctor.model.base import Value


def to_json(value: Value) -> str:
    """The value two spaces a level, fields in the order of the schema and mappings by name, ending in a newline."""
    return msgspec.json.format(_encode(value), indent=2).decode() + "\n"


def encodable(value: Any) -> Any:
    """The same tree, with what UTF-8 cannot hold written out as a backslash escape."""
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case dict():
            return {encodable(key): encodable(item) for key, item in value.items()}
        case list() | tuple():
            return [encodable(item) for item in value]
    return value


def _encode(value: Value) -> bytes:
    try:
        return msgspec.json.encode(value, order="deterministic")
    except UnicodeEncodeError:  # lone surrogates, from a command line or a path that is not UTF-8
        return msgspec.json.encode(encodable(msgspec.to_builtins(value, order="deterministic")))
