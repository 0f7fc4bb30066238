"""What a process has mapped where: the map to everything else that is read from it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from doctor.procfs.handle import ProcDir

_DELETED = " (deleted)"


class Mapping(NamedTuple):
    """A range of addresses with one kind of content."""

    start: int
    end: int
    access: str
    """As in /proc/PID/maps, such as "rw-p"; "?" stands for a letter that is not known."""
    offset: int
    """Where in the file it begins, in bytes."""
    path: str
    """The file as the process names it, or a name such as "[heap]", or ""."""
    deleted: bool = False
    """Whether the file is no longer found under this path."""

    @property
    def is_file(self) -> bool:
        """Whether it shows a file."""
        return self.path.startswith("/")


def read_mappings(proc: ProcDir) -> list[Mapping]:
    """What a running process has mapped now, by address.

    Raises:
        FileNotFoundError, ProcessLookupError: the process has ended.
        PermissionError: this user may not look.
    """
    return [_parse(line) for line in os.fsdecode(proc.read("maps")).splitlines()]


def by_file(mappings: Iterable[Mapping]) -> list[list[Mapping]]:
    """The mappings of each file that has code in it, the executable's first as far as addresses tell.

    An executable lies below the libraries that are loaded after it.
    """
    files: dict[tuple[str, bool], list[Mapping]] = {}
    for mapping in mappings:
        if mapping.is_file:
            files.setdefault((mapping.path, mapping.deleted), []).append(mapping)
    return [file for file in files.values() if any(mapping.access[2] in "x?" for mapping in file)]


def named(start: int, end: int, access: str, offset: int, name: str) -> Mapping:
    """The mapping to which the kernel gives a name, which says too whether the file was deleted."""
    return Mapping(start, end, access, offset, name.removesuffix(_DELETED), name.endswith(_DELETED))


def _parse(line: str) -> Mapping:
    span, access, offset, _device, _inode, *name = line.split(maxsplit=5)
    start, _, end = span.partition("-")
    return named(int(start, 16), int(end, 16), access, int(offset, 16), name[0] if name else "")
