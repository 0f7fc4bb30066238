"""A process that left a core file, plain or packed with gzip.

A core file has the memory that the process wrote to. What it only read of its executable and libraries is mostly left
out and is taken from these files, where they still are what the process had: their build ids tell.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from typing import IO, NamedTuple

from elftools.elf.constants import P_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import Segment

from doctor.errors import CannotRead
from doctor.remote.elf import BROKEN, notes
from doctor.remote.mappings import Mapping, by_file, named
from doctor.remote.memory import SegmentedMemory
from doctor.remote.process import Process

_GZIP, _ELF = b"\x1f\x8b", b"\x7fELF"
_NT_PRSTATUS, _NT_PRPSINFO, _NT_FILE = 1, 3, 0x46494C45
_STATUS = struct.Struct("<12xh18xi")
"""The signal that ended a thread, and the thread's id."""
_PROCESS = struct.Struct("<24xi28x80s")
"""The id of the process, and its command line."""
_COUNT = struct.Struct("<QQ")
"""Of files, and how many bytes a page has."""
_FILE = struct.Struct("<QQQ")
"""Where a file is mapped, from which of its pages on."""
_UNKNOWN = "?"


class _Segment(NamedTuple):
    """A range of addresses; of its first `size` bytes the file has what it had, from the offset on."""

    start: int
    end: int
    access: str
    offset: int
    size: int


class _Content(NamedTuple):
    """What a core file has in it."""

    segments: list[_Segment]
    notes: dict[int, list[bytes]]
    """The values of each kind."""
    data: memoryview
    truncated: bool


class CoreProcess(Process):
    """What a core file kept of a process.

    Raises:
        CannotRead: the file is no core file of a 64-bit process, or too little is left of it.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        core = _content(path)
        self._segments = core.segments
        self.truncated = core.truncated
        """Whether the end of the file is missing."""
        if not {_NT_PRSTATUS, _NT_PRPSINFO, _NT_FILE} <= core.notes.keys():
            raise _truncated(path) if core.truncated else _no_core(path, "has no list of threads and files")
        try:
            statuses = [_STATUS.unpack_from(status) for status in core.notes[_NT_PRSTATUS]]
            pid, command = _PROCESS.unpack_from(core.notes[_NT_PRPSINFO][0])
            self.page_size, self._files = _mapped_files(core.notes[_NT_FILE][0], core.segments)
        except struct.error:
            raise _no_core(path, "is broken") from None
        self._tids = [tid for _, tid in statuses]
        self.signal: int = statuses[0][0]
        """What ended the process, which its first thread got; 0 if it went on after it was copied."""
        self.command = command.rstrip(b"\0 ").decode("utf-8", "backslashreplace")
        """Its command line, of which the kernel keeps 80 bytes, and gcore but the program."""
        kept = [(segment.start, core.data[segment.offset :][: segment.size]) for segment in core.segments]
        super().__init__(pid, SegmentedMemory(kept))
        self.memory = SegmentedMemory([*kept, *self._left_out()])

    @property
    def name(self) -> str:
        """See `Process.name`."""
        return f"the process of {self._path}"

    def mappings(self) -> list[Mapping]:
        """What it had mapped, by address; what is in neither the core file nor a file is left out."""
        starts = {mapping.start for mapping in self._files}
        others = [Mapping(one.start, one.end, one.access, 0, "") for one in self._segments if one.start not in starts]
        return sorted([*self._files, *others])

    def tids(self) -> list[int]:
        """The threads it had, the one that crashed first."""
        return list(self._tids)

    def files(self, mapping: Mapping) -> Iterator[Path]:
        """Under the same path here."""
        yield Path(mapping.path)

    def lacks_file(self, path: str) -> CannotRead:
        """See `Process.lacks_file`."""
        state = "is another version here" if Path(path).exists() else "is not here"
        return CannotRead(
            "core-without-executable",
            f"{self._path} cannot be read without {path}, which {state}",
            "read it where the process ran, or bring that very file to the same path",
        )

    def lacks_memory(self) -> CannotRead:
        """See `Process.lacks_memory`."""
        if self.truncated:
            return _truncated(self._path)
        hint = "have core files made with the default of /proc/PID/coredump_filter, 33"
        return CannotRead("core-without-data", f"{self._path} was made without the data of the interpreter", hint)

    def _left_out(self) -> Iterator[tuple[int, memoryview]]:
        """What the process had from files and did not write to, out of these files."""
        for mapped in by_file(self._files):
            binary = self.binary(mapped)
            if binary is None:
                continue
            with binary.file.open("rb") as file:
                content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            for mapping in mapped:
                start = mapping.start + self._kept_size(mapping)
                if "w" not in mapping.access and start < mapping.end:
                    offset = mapping.offset + start - mapping.start
                    yield start, content[offset : offset + mapping.end - start]

    def _kept_size(self, mapping: Mapping) -> int:
        """How much of a mapping the core file has, or had before it was cut off."""
        return next((segment.size for segment in self._segments if segment.start == mapping.start), 0)


def _content(path: Path) -> _Content:
    with _unpacked(path) as (file, whole):
        loads, noted = _headers(path, file)
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    values: defaultdict[int, list[bytes]] = defaultdict(list)
    for piece in noted:
        for note in notes(data[piece.offset :][: piece.size].tobytes()):
            if note.owner == "CORE":
                values[note.kind].append(note.value)
    end = max((piece.offset + piece.size for piece in (*loads, *noted)), default=0)
    return _Content(loads, values, data, truncated=not whole or end > len(data))


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[IO[bytes], bool]]:
    """The file, unpacked if it is packed, and whether that could be done to its end."""
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        if not packed:
            yield file, True
            return
        with tempfile.TemporaryFile() as unpacked:
            whole = False
            with suppress(EOFError, BadGzipFile, zlib.error):
                shutil.copyfileobj(GzipFile(fileobj=file), unpacked)
                whole = True
            unpacked.flush()
            unpacked.seek(0)
            yield unpacked, whole


def _headers(path: Path, file: IO[bytes]) -> tuple[list[_Segment], list[_Segment]]:
    """Where the memory is in it, and the notes."""
    is_elf = file.read(len(_ELF)) == _ELF
    try:
        elf = ELFFile(file)
        if elf["e_type"] != "ET_CORE" or elf.elfclass != 64:
            raise _no_core(path, "is no core file of a 64-bit process")
        return list(map(_segment, elf.iter_segments("PT_LOAD"))), list(map(_segment, elf.iter_segments("PT_NOTE")))
    except BROKEN:
        raise _truncated(path) if is_elf else _no_core(path, "is no core file") from None


def _segment(header: Segment) -> _Segment:
    flags = (("r", P_FLAGS.PF_R), ("w", P_FLAGS.PF_W), ("x", P_FLAGS.PF_X))
    access = "".join(letter if header["p_flags"] & flag else "-" for letter, flag in flags) + _UNKNOWN
    start = header["p_vaddr"]
    return _Segment(start, start + header["p_memsz"], access, header["p_offset"], header["p_filesz"])


def _mapped_files(note: bytes, segments: list[_Segment]) -> tuple[int, list[Mapping]]:
    """The size of a page, and what was mapped; how it could be used is unknown where the core file has none of it."""
    access = {segment.start: segment.access for segment in segments}
    count, page_size = _COUNT.unpack_from(note)
    names_begin = _COUNT.size + count * _FILE.size
    places = _FILE.iter_unpack(note[_COUNT.size : names_begin])
    names = os.fsdecode(note[names_begin:]).split("\0")
    return page_size, [
        named(start, end, access.get(start, _UNKNOWN * 4), page * page_size, name)
        for (start, end, page), name in zip(places, names, strict=False)
    ]


def _truncated(path: Path) -> CannotRead:
    return CannotRead(
        "truncated-core",
        f"{path} is cut off before the memory of the interpreter",
        "look for a limit on its size (ulimit -c, systemd-coredump's ExternalSizeMax) or a full disk",
    )


def _no_core(path: Path, why: str) -> CannotRead:
    return CannotRead("not-a-core", f"{path} {why}", "gcore PID makes one, with gdb installed")
