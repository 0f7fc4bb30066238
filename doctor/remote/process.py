"""A process that can be read, be it alive or kept in a core file: its memory, and the files it was loaded from."""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from doctor.errors import CannotRead
from doctor.procfs.handle import ProcDir
from doctor.remote.elf import BadElf, Elf, Section, find_symbol, read_elf
from doctor.remote.mappings import Mapping, read_mappings
from doctor.remote.memory import LiveMemory, Memory


@dataclass(frozen=True)
class Binary:
    """An executable or library that a process has mapped."""

    path: str
    """As the process names it."""
    file: Path
    """Where doctor reads it."""
    elf: Elf
    bias: int

    def address(self, symbol: str) -> int | None:
        """Where the process has a symbol; None if this file does not define it, or is gone."""
        try:
            value = find_symbol(self.file, self.elf, symbol)
        except OSError:
            return None
        return None if value is None else value + self.bias

    def section(self, name: str) -> Section | None:
        """Where the process has a section of this file."""
        section = self.elf.sections.get(name)
        return section and Section(section.address + self.bias, section.size)


class Process(ABC):
    """A process whose memory can be read, be it alive or not."""

    page_size = mmap.PAGESIZE

    def __init__(self, pid: int, memory: Memory) -> None:
        self.pid = pid
        self.memory = memory

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in a message."""

    @abstractmethod
    def mappings(self) -> list[Mapping]:
        """What it has mapped, by address."""

    @abstractmethod
    def tids(self) -> list[int]:
        """The kernel's ids of its threads."""

    @abstractmethod
    def files(self, mapping: Mapping) -> Iterator[Path]:
        """Where the file of a mapping may be found; each of them may be missing, forbidden or another file."""

    @abstractmethod
    def lacks_file(self, path: str) -> CannotRead:
        """The error for a file without which the process cannot be read."""

    @abstractmethod
    def lacks_memory(self) -> CannotRead:
        """The error for memory of the interpreter that is not there."""

    def binary(self, mapped: Sequence[Mapping]) -> Binary | None:
        """The file that is mapped so; None where it cannot be read any more."""
        for file in self.files(mapped[0]):
            try:
                elf = read_elf(file)
            except (OSError, BadElf):
                continue
            bias = elf.bias(mapped, self.page_size)
            if bias is not None and self._has_mapped(elf, bias):
                return Binary(mapped[0].path, file, elf, bias)
        return None

    def _has_mapped(self, elf: Elf, bias: int) -> bool:
        """Whether the build id in memory is that of the file; a core file need not have it."""
        if elf.build_id is None:
            return True
        held = self.memory.read(bias + elf.build_id.address, len(elf.build_id.value))
        return elf.build_id.value.startswith(held)


class LiveProcess(Process):
    """A process that goes on running."""

    def __init__(self, proc: ProcDir) -> None:
        super().__init__(proc.pid, LiveMemory(proc))
        self._proc = proc

    @property
    def name(self) -> str:
        """See `Process.name`."""
        return f"process {self.pid}"

    def mappings(self) -> list[Mapping]:
        """What it has mapped now, by address.

        Raises:
            FileNotFoundError, ProcessLookupError: the process has ended.
            PermissionError: this user may not look.
        """
        return read_mappings(self._proc)

    def tids(self) -> list[int]:
        """The threads it has now.

        Raises:
            FileNotFoundError, ProcessLookupError: the process has ended.
        """
        return self._proc.tids()

    def files(self, mapping: Mapping) -> Iterator[Path]:
        """Through the kernel's links, which lead into other mount namespaces, and to files that were deleted."""
        proc = Path(f"/proc/{self.pid}")
        if not mapping.deleted:
            yield proc / "root" / mapping.path.lstrip("/")
        elif mapping.path == self._proc.readlink("exe").removesuffix(" (deleted)"):
            yield proc / "exe"
        yield proc / "map_files" / f"{mapping.start:x}-{mapping.end:x}"

    def lacks_file(self, path: str) -> CannotRead:
        """See `Process.lacks_file`."""
        return CannotRead(
            "file-replaced",
            f"{path} was deleted or replaced since {self.name} started, and this user may not read what it still holds",
            "run as root, or with CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE",
        )

    def lacks_memory(self) -> CannotRead:
        """See `Process.lacks_memory`."""
        return CannotRead("ended", f"{self.name} has just ended", "doctor ps lists Python processes")
