"""The interpreter of a program under test, to be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from doctor.remote.layouts import tables
from doctor.remote.layouts.tables import Machine
from doctor.remote.reader import Reader
from doctor.remote.runtime import find_runtime
from interpreters import Interpreter
from remote.parked import live


@contextmanager
def reading(pid: int, python: Interpreter) -> Iterator[tuple[Reader, int]]:
    """A reader of a process, and the address of its first interpreter state, which here is the only one."""
    with live(pid) as process:
        runtime = find_runtime(process)
        machine: Machine = "aarch64" if runtime.machine == "aarch64" else "x86_64"
        reader = Reader(process.memory, tables.layout(python.version, machine), python.version)
        yield reader, reader.pointer(runtime.address + reader.layout.runtime.interpreters_head)
