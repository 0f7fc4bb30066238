"""The schema `doctor.diagnosis/1` for programs: the same diagnosis gives the same bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from doctor.model.diagnosis import Diagnosis
from doctor.renderers.base import Renderer, Terminal


class JsonRenderer(Renderer):
    """Prints all of a diagnosis, two spaces a level."""

    suffix = ".json"

    def render(self, diagnosis: Diagnosis, terminal: Terminal) -> str:  # noqa: ARG002 - JSON looks the same everywhere
        """The diagnosis as JSON, fields in the order of the schema and measurements by name."""
        return msgspec.json.format(_encode(diagnosis), indent=2).decode() + "\n"


def _encode(diagnosis: Diagnosis) -> bytes:
    try:
        return msgspec.json.encode(diagnosis, order="deterministic")
    except UnicodeEncodeError:  # lone surrogates, from a command line or a path that is not UTF-8
        return msgspec.json.encode(_encodable(msgspec.to_builtins(diagnosis, order="deterministic")))


def _encodable(value: Any) -> Any:
    """The same tree, with what UTF-8 cannot hold written out as a backslash escape."""
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case dict():
            return {_encodable(key): _encodable(item) for key, item in value.items()}
        case list() | tuple():
            return [_encodable(item) for item in value]
    return value
