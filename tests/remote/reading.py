"""The interpreter of a program under test, to be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from doctor.remote.attach import attach
from doctor.remote.reader import Reader
from remote.parked import live


@contextmanager
def reading(pid: int) -> Iterator[tuple[Reader, int]]:
    """A reader of a process, and the address of its first interpreter state, which here is the only one."""
    with live(pid) as process:
        reader, runtime = attach(process)
        yield reader, reader.pointer(runtime.address + reader.layout.runtime.interpreters_head)
