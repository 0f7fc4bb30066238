"""The layouts that CPython's headers tell, looked up by version.

There is one JSON file for each minor version, made by `scripts/generate_layouts.py`, and only the one asked for is
read. A file has an entry for each layout that any release of that minor version has.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from doctor.errors import UnknownLayout
from doctor.model.base import Value
from doctor.remote.layouts import Layout

Version = tuple[int, int, int]
Machine = Literal["x86_64", "aarch64"]

_FOLDER = Path(__file__).parent


class Entry(Value, frozen=True, kw_only=True):
    """A layout, and what has it."""

    releases: tuple[str, ...]
    machines: tuple[Machine, ...]
    layout: Layout
    debug_offsets: dict[str, int] = msgspec.field(default_factory=dict)
    """Where `_Py_DebugOffsets`, which exists from 3.13 on, has which word."""


class Table(Value, frozen=True, kw_only=True):
    """What is known of one release on one architecture."""

    layout: Layout
    checked: bool
    """The headers of this very release were read; if not, those of the releases around it, which agree."""
    debug_offsets: dict[str, int]


def layout(version: Version, machine: Machine) -> Layout:
    """Where a release keeps what; see `table`.

    Raises:
        UnknownLayout: there is no table for it.
    """
    return table(version, machine).layout


@cache
def table(version: Version, machine: Machine) -> Table:
    """What is known of a final release that has a GIL.

    A release whose headers were not read has the layout of its neighbours if they have the same one.

    Raises:
        UnknownLayout: the minor version is not known, or its releases differ around this one.
    """
    name = ".".join(map(str, version))
    at = {_patch(release): entry for entry in _entries(version[:2], machine) for release in entry.releases}
    below, above = (
        max((n for n in at if n <= version[2]), default=None),
        min((n for n in at if n >= version[2]), default=None),
    )
    around = [at[patch] for patch in (below, above) if patch is not None]
    if not around or around[0] is not around[-1]:
        raise unknown(f"CPython {name} on {machine}")
    return Table(layout=around[0].layout, checked=version[2] in at, debug_offsets=around[0].debug_offsets)


def final_release(text: str) -> Version:
    """The numbers of a version as CPython spells it.

    Raises:
        UnknownLayout: it is a pre-release or a development build, whose layout may be any.
    """
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", text)
    if not match:
        raise unknown(f"CPython {text}, which is no final release")
    return int(match[1]), int(match[2]), int(match[3])


def unknown(what: str) -> UnknownLayout:
    """The error for a Python that no table is for; it says which there are tables for."""
    first, *_, last = sorted(_minors())
    known = f"doctor knows the final releases of CPython {_dotted(first)} to {_dotted(last)} that have a GIL"
    return UnknownLayout("unknown-layout", f"there is no layout of {what}", f"{known}; a newer doctor may know more")


def _entries(minor: tuple[int, int], machine: Machine) -> list[Entry]:
    try:
        content = (_FOLDER / f"{_dotted(minor)}.json").read_bytes()
    except FileNotFoundError:
        return []
    return [entry for entry in msgspec.json.decode(content, type=list[Entry]) if machine in entry.machines]


def _minors() -> list[tuple[int, int]]:
    versions = (path.stem.split(".") for path in _FOLDER.glob("*.json"))
    return [(int(major), int(minor)) for major, minor in versions]


def _dotted(minor: tuple[int, int]) -> str:
    return f"{minor[0]}.{minor[1]}"


def _patch(release: str) -> int:
    return int(release.rpartition(".")[2])
