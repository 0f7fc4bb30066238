"""Which Python a process runs, told from its files alone, without touching it."""

from __future__ import annotations

import mmap
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from doctor.procfs.handle import GONE, ProcDir
from doctor.remote.mappings import read_mappings

_EXECUTABLE = re.compile(r"(?:^|/)(?:python|pypy)(\d(?:\.\d+)?)?[a-z]*$")
_LIBRARY = re.compile(r"/lib(?:python|pypy)(\d\.\d+)[a-z]*[\w-]*\.so")
_ANY_MINOR = re.compile(r"/python(\d\.\d+)t?/")
_CACHE_TAG = re.compile(rb"cpython-(\d)(\d+)\0")
_LEVELS = {"a": "alpha", "b": "beta", "rc": "candidate", "": "final"}
_LEVEL_OF_NIBBLE = {0xA: "alpha", 0xB: "beta", 0xC: "candidate", 0xF: "final"}


class Version(NamedTuple):
    """As `sys.version_info`, which it compares like."""

    major: int
    minor: int
    micro: int
    level: str = "final"
    serial: int = 0

    @classmethod
    def of_text(cls, text: str) -> Version:
        """The version that is written so, such as "3.8.18" and "3.15.0b2".

        Raises:
            ValueError: it is none.
        """
        match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(a|b|rc|)(\d*)", text)
        if match is None:
            raise ValueError(f"{text!r} is no version")
        return cls(int(match[1]), int(match[2]), int(match[3]), _LEVELS[match[4]], int(match[5] or 0))

    @classmethod
    def of_hex(cls, number: int) -> Version:
        """The version that `sys.hexversion` has as this number.

        Raises:
            ValueError: it is none.
        """
        level = _LEVEL_OF_NIBBLE.get(number >> 4 & 0xF)
        if level is None or number >> 32:
            raise ValueError(f"{number:#x} is no version")
        return cls(number >> 24, number >> 16 & 0xFF, number >> 8 & 0xFF, level, number & 0xF)

    def __str__(self) -> str:
        short = next(short for short, level in _LEVELS.items() if level == self.level)
        return f"{self.major}.{self.minor}.{self.micro}" + (f"{short}{self.serial}" if short else "")


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


def version_in(path: Path, minor: str | None = None) -> str | None:
    """The full version that a CPython binary holds as a string constant; None: it holds none.

    The minor version makes sure that it is not that of another library. Without one it is taken from the binary.

    Raises:
        OSError: the file cannot be read.
    """
    file = path.stat()  # follows /proc/PID/exe even to a deleted file
    if not file.st_size:
        return None
    return _version_in(path, (file.st_dev, file.st_ino, file.st_mtime_ns), minor)


def is_python_file(path: str) -> bool:
    """Whether a file is an interpreter or its library, going by its name."""
    return bool(_LIBRARY.search(path) or _EXECUTABLE.search(path))


def _from_name(program: str) -> Interpreter | None:
    match = _EXECUTABLE.search(program)
    return Interpreter("PyPy" if "pypy" in program else "CPython", match[1]) if match else None


def _minor(path: str) -> str | None:
    match = _LIBRARY.search(path) or _EXECUTABLE.search(path)
    return match[1] if match and match[1] and "." in match[1] else None


def _mapped_files(proc: ProcDir) -> list[str]:
    try:
        mappings = read_mappings(proc)
    except (PermissionError, *GONE):
        return []
    return list(dict.fromkeys(mapping.path for mapping in mappings if mapping.path))


def _patch_version(proc: ProcDir, library: str | None, minor: str | None) -> str | None:
    if minor is None:
        return None
    try:
        return version_in(Path(f"/proc/{proc.pid}", f"root{library}" if library else "exe"), minor)
    except OSError:
        return None


@lru_cache(maxsize=64)
def _version_in(path: Path, _identity: tuple[int, int, int], minor: str | None) -> str | None:
    """Searches a binary once, whichever process maps it.

    The linker may let the constant share the end of a longer string, such as the installation's prefix.
    """
    with path.open("rb") as binary, mmap.mmap(binary.fileno(), 0, access=mmap.ACCESS_READ) as content:
        minor = minor or _tagged_minor(content)
        if minor is None:
            return None
        # A pattern that begins with text is searched for ten times faster than one that begins with a look behind.
        pattern = (
            re.escape(minor.encode())
            + rb"(?<![\d.]"
            + re.escape(minor.encode())
            + rb")\.\d+(?:(?:a|b|rc)\d+)?(?=\+?\0)"
        )
        match = re.search(pattern, content)
        return match[0].decode() if match else None


def _tagged_minor(content: mmap.mmap) -> str | None:
    """The minor version in the tag of the interpreter's .pyc files, a string constant too."""
    match = _CACHE_TAG.search(content)
    return f"{match[1].decode()}.{match[2].decode()}" if match else None
