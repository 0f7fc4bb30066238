"""Lines of the code that a process runs, from the files as the process itself sees them.

A line is told only where it cannot mislead: from a file that has not been written since the process started. What a
process calls a file is its own choice, so nothing but regular Python files of a sane size is opened.
"""

from __future__ import annotations

import datetime
import os
import stat
from functools import lru_cache

from doctor.model.target import ProcessRef
from doctor.procfs.handle import GONE, ProcDir

_MOST_BYTES = 4 << 20


class SourceLines:
    """The source files of one process."""

    def __init__(self, ref: ProcessRef) -> None:
        self._ref = ref
        self._started_s = datetime.datetime.fromisoformat(ref.started_at).timestamp()
        self._lines = lru_cache(maxsize=64)(self._read)

    def line(self, file: str, number: int) -> str | None:
        """A line by its number, without its indent; None where it cannot be told."""
        lines = self._lines(file)
        return lines[number - 1].strip() if 0 < number <= len(lines) else None

    def _read(self, file: str) -> list[str]:
        if not file.endswith(".py") or "\0" in file:
            return []
        path = f"/proc/{self._ref.pid}/{'root' if file.startswith('/') else 'cwd/'}{file}"
        try:
            proc = ProcDir(self._ref.pid)
            try:
                content = self._content(path) if proc.stat().start_ticks == self._ref.start_ticks else b""
            finally:
                proc.close()
        except (OSError, *GONE):
            return []
        return content.decode(errors="replace").splitlines()

    def _content(self, path: str) -> bytes:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as opened:
            file = os.fstat(fd)
            if not stat.S_ISREG(file.st_mode) or file.st_size > _MOST_BYTES or file.st_ctime > self._started_s:
                return b""
            return opened.read(_MOST_BYTES)
