"""What an ELF file says about itself: machine, build id, what is loaded where, its sections and symbols.

pyelftools takes half a second to go through the symbols of a libpython, so the tables are searched as arrays.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG
from typing import IO, NamedTuple

import numpy as np
from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section as Table

from doctor.remote.mappings import Mapping

BROKEN = (
    ELFError,
    ConstructError,
    struct.error,
    ArithmeticError,
    LookupError,
    MemoryError,
    OSError,
    TypeError,
    ValueError,
)
"""What pyelftools raises for a file that is no ELF file, or a broken one."""

_MACHINES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64", "EM_386": "i386", "EM_ARM": "arm"}
_SYMBOL = np.dtype([("name", "<u4"), ("kind", "<u2"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")])
_UNDEFINED = 0
_NOTE_HEAD = struct.Struct("<III")
_NT_GNU_BUILD_ID = 3


class BadElf(Exception):
    """The file is no ELF file, or a broken one."""


class Section(NamedTuple):
    """Where the file wants a section to be loaded, and its size in bytes."""

    address: int
    size: int


class Load(NamedTuple):
    """Where a piece of the file begins, and where the file wants it to be loaded."""

    offset: int
    address: int


class SymbolTable(NamedTuple):
    """Where in the file the symbols are, and the strings that name them: offsets and sizes in bytes."""

    symbols: int
    symbols_size: int
    strings: int
    strings_size: int


class BuildId(NamedTuple):
    """What tells one build from any other, and where the file wants it to be loaded."""

    value: bytes
    address: int


class Note(NamedTuple):
    """A value that a PT_NOTE segment holds, and how far behind the start of the segment it begins."""

    owner: str
    kind: int
    value: bytes
    begin: int


@dataclass(frozen=True)
class Elf:
    """A file's description of itself."""

    machine: str
    """Such as "x86_64" and "aarch64"; a rare one by the name that the ELF standard has for it."""
    bits: int
    build_id: BuildId | None
    loads: tuple[Load, ...]
    sections: dict[str, Section]
    """Those that are loaded."""
    symbol_tables: tuple[SymbolTable, ...]
    """What other files may refer to, and then all, where that was not stripped."""

    def bias(self, mapped: Iterable[Mapping], page_size: int = mmap.PAGESIZE) -> int | None:
        """How far a process that has it mapped so has it from where the file wants to be; None: it is another file.

        Each piece that is loaded tells it. A file that is mapped as data too, or whose pieces share a page, may tell
        other values besides, but less often.
        """
        told = Counter(
            mapping.start - (load.address - load.address % page_size)
            for mapping in mapped
            for load in self.loads
            if mapping.offset == load.offset - load.offset % page_size
        )
        return told.most_common(1)[0][0] if told else None


def read_elf(path: Path) -> Elf:
    """The description of a file; every build is gone through only once.

    Raises:
        OSError: the file cannot be read.
        BadElf: the file is no ELF file.
    """
    return _describe(_File(_identity(path), path))


def find_symbol(path: Path, elf: Elf, name: str) -> int | None:
    """Where a file wants a symbol to be loaded; None if it does not define it.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        for table in elf.symbol_tables:
            strings = os.pread(file.fileno(), table.strings_size, table.strings)
            symbols = os.pread(file.fileno(), table.symbols_size, table.symbols)
            address = _search(symbols, strings, name)
            if address is not None:
                return address
    return None


def notes(content: bytes) -> Iterator[Note]:
    """The notes of a PT_NOTE segment, up to where it is cut off."""
    position = 0
    while position + _NOTE_HEAD.size <= len(content):
        owner_size, size, kind = _NOTE_HEAD.unpack_from(content, position)
        position += _NOTE_HEAD.size
        begin = position + _padded(owner_size)
        if begin + size > len(content):
            return
        owner = content[position : position + owner_size].rstrip(b"\0").decode("latin-1")
        yield Note(owner, kind, content[begin : begin + size], begin)
        position = begin + _padded(size)


def _padded(size: int) -> int:
    return (size + 3) & ~3


@dataclass(frozen=True)
class _File:
    """Equal to any other of the same identity, wherever that lies."""

    identity: tuple[int | bytes, ...]
    path: Path = field(compare=False)


def _identity(path: Path) -> tuple[int | bytes, ...]:
    """The build id, together with the size, because a file keeps its build id when it is stripped."""
    stat = path.stat()
    if not S_ISREG(stat.st_mode):  # a pipe in the place of a library would block whoever opens it
        raise BadElf(f"{path} is no file")
    with path.open("rb") as file:
        build_id = _build_id(_open(file))
    return (build_id.value, stat.st_size) if build_id else (stat.st_dev, stat.st_ino, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _describe(file: _File) -> Elf:
    with file.path.open("rb") as content:
        elf = _open(content)
        try:
            tables = {table.name: table for table in elf.iter_sections()}
            return Elf(
                machine=_MACHINES.get(elf["e_machine"], str(elf["e_machine"])),
                bits=elf.elfclass,
                build_id=_build_id(elf),
                loads=tuple(Load(load["p_offset"], load["p_vaddr"]) for load in elf.iter_segments("PT_LOAD")),
                sections={
                    name: Section(one["sh_addr"], one["sh_size"]) for name, one in tables.items() if one["sh_addr"]
                },
                symbol_tables=_symbol_tables(tables, file.path.stat().st_size) if elf.elfclass == 64 else (),
            )
        except BROKEN as error:
            raise BadElf(f"{file.path} is a broken ELF file: {error}") from None


def _open(file: IO[bytes]) -> ELFFile:
    try:
        return ELFFile(file)
    except BROKEN as error:
        raise BadElf(f"{file.name} is no ELF file: {error}") from None


def _build_id(elf: ELFFile) -> BuildId | None:
    try:
        for segment in elf.iter_segments("PT_NOTE"):
            for note in notes(segment.data()):
                if note.owner == "GNU" and note.kind == _NT_GNU_BUILD_ID:
                    return BuildId(note.value, segment["p_vaddr"] + note.begin)
    except BROKEN as error:
        raise BadElf(f"a broken ELF file: {error}") from None
    return None


def _symbol_tables(tables: dict[str, Table], file_size: int) -> tuple[SymbolTable, ...]:
    found = []
    for symbols, strings in ((".dynsym", ".dynstr"), (".symtab", ".strtab")):
        pair = [tables[name] for name in (symbols, strings) if name in tables]
        places = [(table["sh_offset"], table["sh_size"]) for table in pair if table["sh_type"] != "SHT_NOBITS"]
        if len(places) == 2 and all(offset + size <= file_size for offset, size in places):
            found.append(SymbolTable(*places[0], *places[1]))
    return tuple(found)


def _search(symbols: bytes, strings: bytes, name: str) -> int | None:
    """A symbol has its name as an offset into the strings, where a name may also be the end of a longer one."""
    table = np.frombuffer(symbols, _SYMBOL, count=len(symbols) // _SYMBOL.itemsize)
    offsets = [match.start() for match in re.finditer(re.escape(name.encode()) + rb"\0", strings)]
    values = table["value"][np.isin(table["name"], offsets) & (table["section"] != _UNDEFINED)]
    return int(values[0]) if len(values) else None
