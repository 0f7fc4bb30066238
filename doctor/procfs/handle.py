"""One process's /proc directory, held open.

Every read goes through the same directory descriptor, so a PID that the kernel hands to another process is never
mistaken for the first: once the process is gone, reads fail.
"""

from __future__ import annotations

import os

from doctor.procfs.parse import Stat, parse_stat

GONE = (FileNotFoundError, ProcessLookupError)
"""What a read raises when the process, thread or descriptor has ended."""

_CHUNK = 1 << 16


class ProcDir:
    """/proc/PID of one process. Counts what it reads, for the cost a capture states.

    Raises:
        FileNotFoundError: there is no such process.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.bytes_read = 0
        self._fd = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Lets go of the directory."""
        os.close(self._fd)

    def read(self, name: str) -> bytes:
        """The whole of a file below /proc/PID.

        Raises:
            FileNotFoundError, ProcessLookupError: the process or thread has ended.
            PermissionError: this user may not read it.
        """
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            content = chunk = os.read(fd, _CHUNK)
            while chunk:
                chunk = os.read(fd, _CHUNK)
                content += chunk
        finally:
            os.close(fd)
        self.bytes_read += len(content)
        return content

    def read_memory(self, address: int, size: int) -> bytes:
        """Bytes of the process's memory; shorter or empty where it is not mapped.

        Raises:
            PermissionError: this user may not trace the process.
        """
        fd = os.open("mem", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            content = os.pread(fd, size, address)
        except (OSError, OverflowError):
            return b""
        finally:
            os.close(fd)
        self.bytes_read += len(content)
        return content

    def readlink(self, name: str) -> str:
        """Where a link below /proc/PID leads; bytes that are not UTF-8 are shown as escapes."""
        return os.readlink(os.fsencode(name), dir_fd=self._fd).decode("utf-8", "backslashreplace")

    def names(self, name: str) -> list[str]:
        """The entries of a directory below /proc/PID."""
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            return os.listdir(fd)  # noqa: PTH208 - pathlib lists no descriptors
        finally:
            os.close(fd)

    def stat(self) -> Stat:
        """The process's own stat line."""
        return parse_stat(self.read("stat"))

    def tids(self) -> list[int]:
        """Its threads."""
        return [int(name) for name in self.names("task")]

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        try:
            return self.stat().state not in "ZX"
        except GONE:
            return False

    def may_trace(self) -> bool:
        """Whether this user may read what needs ptrace rights: memory, system calls, descriptors."""
        try:
            os.close(os.open("mem", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd))
        except PermissionError:
            return False
        except GONE:
            return True
        return True
