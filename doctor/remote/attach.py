"""From a process to the interpreter in it, ready to be read."""

from __future__ import annotations

from typing import NamedTuple, cast

from doctor.errors import UnknownLayout
from doctor.remote.layouts import debug_offsets
from doctor.remote.layouts.tables import Machine, Table, final_release, table
from doctor.remote.process import Process
from doctor.remote.reader import Reader
from doctor.remote.runtime import Runtime, find_runtime

_FIRST_WITH_OFFSETS = (3, 13)


class Attached(NamedTuple):
    """An interpreter that can be read."""

    reader: Reader
    runtime: Runtime


def attach(process: Process) -> Attached:
    """The interpreter in a process.

    Raises:
        CannotRead: there is none that doctor can read.
        UnknownLayout: doctor does not know where this version keeps things.
        FileNotFoundError, ProcessLookupError: the process has ended.
        PermissionError: this user may not read the process.
    """
    runtime = find_runtime(process)
    version = final_release(str(runtime.version))
    known = _table(process, runtime, version)
    return Attached(Reader(process.memory, known.layout, version), runtime)


def _table(process: Process, runtime: Runtime, version: tuple[int, int, int]) -> Table:
    machine = cast(Machine, runtime.machine)
    if version < _FIRST_WITH_OFFSETS:
        return table(version, machine)
    told, known = debug_offsets.read(process.memory.read(runtime.address, debug_offsets.ENOUGH), machine)
    if told != version:
        raise UnknownLayout("damaged-debug-offsets", f"{process.name} calls itself two versions", "report this")
    return known
