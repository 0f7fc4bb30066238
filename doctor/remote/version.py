"""Which Python a process runs, told from its files alone, without touching it."""

from __future__ import annotations

import mmap
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from doctor.procfs.handle import GONE, ProcDir

_EXECUTABLE = re.compile(r"(?:^|/)(?:python|pypy)(\d(?:\.\d+)?)?[a-z]*$")
_LIBRARY = re.compile(r"/lib(?:python|pypy)(\d\.\d+)[a-z]*[\w-]*\.so")
_ANY_MINOR = re.compile(r"/python(\d\.\d+)t?/")


class Interpreter(NamedTuple):
    """The Python a process runs; `version` is None where the binary may not be read."""

    implementation: str
    version: str | None


def interpreter(proc: ProcDir, cmdline: tuple[str, ...]) -> Interpreter | None:
    """The interpreter of a process, or None for a process that is not Python."""
    try:
        exe = proc.readlink("exe").removesuffix(" (deleted)")
    except PermissionError:
        return _from_name(cmdline[0] if cmdline else "")
    except GONE:
        return None
    maps = _mapped_files(proc)
    library = next((path for path in maps if _LIBRARY.search(path)), None)
    if library is None and not _EXECUTABLE.search(exe):
        return None
    implementation = "PyPy" if "pypy" in (library or exe).rpartition("/")[2] else "CPython"
    minor = _minor(library or exe) or next((m[1] for path in maps if (m := _ANY_MINOR.search(path))), None)
    return Interpreter(implementation, _patch_version(proc, library, minor) or minor)


def _from_name(program: str) -> Interpreter | None:
    match = _EXECUTABLE.search(program)
    return Interpreter("PyPy" if "pypy" in program else "CPython", match[1]) if match else None


def _minor(path: str) -> str | None:
    match = _LIBRARY.search(path) or _EXECUTABLE.search(path)
    return match[1] if match and match[1] and "." in match[1] else None


def _mapped_files(proc: ProcDir) -> list[str]:
    try:
        lines = proc.read("maps").decode(errors="replace").splitlines()
    except (PermissionError, *GONE):
        return []
    fields = (line.split(maxsplit=5) for line in lines)
    return list(dict.fromkeys(row[5].removesuffix(" (deleted)") for row in fields if len(row) == 6))


def _patch_version(proc: ProcDir, library: str | None, minor: str | None) -> str | None:
    """The full version is a string constant of the binary, found beside its minor version."""
    if minor is None:
        return None
    path = f"/proc/{proc.pid}/root{library}" if library else f"/proc/{proc.pid}/exe"
    try:
        file = Path(path).stat()  # follows /proc/PID/exe even to a deleted file
        return _version_in(path, (file.st_dev, file.st_ino, file.st_mtime_ns), minor)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=64)
def _version_in(path: str, _identity: tuple[int, int, int], minor: str) -> str | None:
    """Searches a binary once, whichever process maps it.

    The linker may let the constant share the end of a longer string, such as the installation's prefix.
    """
    pattern = rb"(?<![\d.])(" + re.escape(minor.encode()) + rb"\.\d+(?:(?:a|b|rc)\d+)?)\+?\0"
    with Path(path).open("rb") as binary, mmap.mmap(binary.fileno(), 0, access=mmap.ACCESS_READ) as content:
        match = re.search(pattern, content)
        return match[1].decode() if match else None
